//! The program around the control plane: arguments, environment, signals.

use std::path::PathBuf;

use anyhow::Context;
use kit::{Chance, Clock, Vars};

use crate::Config;

/// The arguments of `bifrost-control` and of `bifrost control-plane`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7600", env = "BIFROST_LISTEN")]
    pub listen: String,
    /// The data directory: embedded database, API key, secret
    #[arg(long, value_name = "DIR", default_value = ".bifrost", env = "BIFROST_DATA")]
    pub data: PathBuf,
    /// postgres://… or a file; a file in the data directory by default
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

/// Runs the control plane until SIGINT or SIGTERM.
pub async fn run(arguments: Arguments, mut vars: Vars) -> anyhow::Result<()> {
    let (clock, chance) = (Clock::system(), Chance::system());
    let data = &arguments.data;
    std::fs::create_dir_all(data).with_context(|| format!("cannot create the data directory {}", data.display()))?;
    let config = Config::from_vars(&mut vars, data, arguments.database_url.as_deref(), &chance);
    vars.finish()?;
    let config = config.expect("whatever is missing was a problem");
    let address = tokio::net::lookup_host(&arguments.listen).await.ok().and_then(|mut found| found.next());
    let address = address.with_context(|| format!("{} is no address to listen on", arguments.listen))?;
    let listener = kit::net::listen(address)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", arguments.listen))?;
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let metrics = kit::telemetry::init_metrics();
    let told = kit::tasks::termination();
    let running = crate::start(config, listener, clock, chance, metrics).await?;
    tracing::info!(address, "the control plane serves");
    told.await;
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}
