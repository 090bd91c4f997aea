//! `bifrost-emulator`: a local Machines API as a program of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use emulator::{Config, Options};
use kit::{Chance, Clock, Tasks, Vars};

/// A little more than machines get to stop.
const STOP_WITHIN: Duration = Duration::from_secs(emulator::SHUTDOWN_GRACE.as_secs() + 10);

/// Serves the Fly Machines API on this computer, with machines that are processes or containers.
///
/// FLY_API_TOKEN, when set, is the token that every request must carry. BIFROST_LOG filters the log.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7602")]
    listen: SocketAddr,
    /// Where to keep machines and volumes.
    #[arg(long, value_name = "DIR", default_value = ".bifrost/emulator")]
    data: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, data, options } = Arguments::parse();
    kit::process::keep_inherited_files().context("machines would share what this program was started with")?;
    options.check().context("add --machines container, or leave the option out")?;
    let mut vars = Vars::from_process();
    kit::telemetry::init_logs(&vars.or("BIFROST_LOG", "info".to_owned()));
    let config = Config::from_vars(data, &mut vars);
    let config = config.with_machines(&options.machines, options.egress_proxy.clone(), &mut vars).with(&options)?;
    vars.finish()?;

    let listener = kit::net::listen(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; stop what uses it, or choose another with --listen"))?;
    let tasks = Tasks::new();
    let told = kit::tasks::termination();
    emulator::start(config, listener, Clock::system(), Chance::system(), &tasks).await?;
    told.await;
    tasks.stop_within(STOP_WITHIN).await.context("the emulator did not stop cleanly")
}
