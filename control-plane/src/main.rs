//! `bifrost-control`: the control plane alone, as deployed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control_plane::Arguments;

/// Bifrost's control plane. Without a command it serves
#[derive(Parser)]
#[command(name = "bifrost-control", version)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the server that listens at this address whether it is up: for the health check of an image
    Health,
}

/// How it ends where its environment is not usable, as `bifrost control-plane` does: `EX_CONFIG`.
const CONFIGURATION: u8 = 78;

#[expect(clippy::print_stderr, reason = "what a program ends for goes there")]
fn main() -> ExitCode {
    let Err(error) = ask_or_serve(Cli::parse()) else { return ExitCode::SUCCESS };
    eprintln!("Error: {error:?}");
    if error.is::<kit::vars::BadEnvironment>() { CONFIGURATION.into() } else { ExitCode::FAILURE }
}

fn ask_or_serve(cli: Cli) -> anyhow::Result<()> {
    let Cli { arguments, command } = cli;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Some(Command::Health) => Ok(runtime.block_on(kit::health::ask(&arguments.listen))?),
        None => {
            let vars = kit::Vars::from_process();
            kit::telemetry::init_logs(vars.text("BIFROST_LOG").unwrap_or("info"));
            runtime.block_on(control_plane::run(arguments, vars))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_command_it_serves_and_a_health_check_asks_where_it_listens() {
        let read =
            |words: &[&str]| Cli::try_parse_from([&["bifrost-control", "--listen", "[::]:7600"], words].concat());
        assert!(read(&[]).expect("reads").command.is_none());
        let Cli { arguments, command } = read(&["health"]).expect("reads");
        assert!(matches!(command, Some(Command::Health)));
        assert_eq!(arguments.listen, "[::]:7600");
    }
}
