//! `bifrost-events`, the event store as a program of its own. See [`event_store::program`].

use clap::Parser;
use event_store::program::{self, Arguments};

/// A durable log of signed events behind HTTP. Needs FLY_EVENT_SECRET in the environment.
#[derive(Parser)]
#[command(name = "bifrost-events", version)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    program::run(Cli::parse().arguments, kit::Vars::from_process()).await
}
