//! `bifrost-egress`: the egress proxy as a program of its own. See [`egress::program`].

use clap::Parser;
use egress::program::{self, Arguments};
use kit::Vars;

/// The only way out of the machines' network: a proxy that lets through what is on an allow-list,
/// and writes down what was asked for. Needs BIFROST_EVENTS_URL and FLY_EVENT_SECRET
#[derive(Parser)]
#[command(name = "bifrost-egress", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { arguments } = Cli::parse();
    let vars = Vars::from_process();
    kit::telemetry::init_logs(vars.text("BIFROST_LOG").unwrap_or("info"));
    program::run(arguments, vars).await
}
