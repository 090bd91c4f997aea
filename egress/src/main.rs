//! `bifrost-egress`: the egress proxy as a program of its own. See [`egress::program`].

use clap::{Parser, Subcommand};
use egress::program::{self, Arguments};
use kit::Vars;

/// The only way out of the machines' network: a proxy that lets through what is on an allow-list,
/// and writes down what was asked for. Without a command it serves, and needs BIFROST_EVENTS_URL and
/// FLY_EVENT_SECRET in the environment
#[derive(Parser)]
#[command(name = "bifrost-egress", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the proxy that listens at this address whether it is up: for the health check of an image
    Health,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { arguments, command } = Cli::parse();
    if let Some(Command::Health) = command {
        return Ok(kit::health::ask(&arguments.listen).await?);
    }
    let vars = Vars::from_process();
    kit::telemetry::init_logs(vars.text("BIFROST_LOG").unwrap_or("info"));
    program::run(arguments, vars).await
}
