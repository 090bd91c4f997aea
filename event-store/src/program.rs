//! The program `bifrost-events`: its arguments, and its life from start to stop.

mod commands;
mod failure;
mod screen;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use kit::{Clock, Tasks, Vars};
use tokio::net::TcpListener;

use crate::engine::EngineArguments;
use crate::{Config, Keep};

pub use commands::{Backup, Export, Migrate, Operation, Restore, Verify, carry_out};
pub use failure::{Failure, Trouble};

/// What a stop leaves to everything together.
const STOP: Duration = Duration::from_secs(10);

/// The arguments of `bifrost-events`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Address and port to listen on; a name such as fly-local-6pn is looked up.
    #[arg(long, env = "BIFROST_EVENTS_LISTEN", default_value = "127.0.0.1:7601", value_name = "ADDR")]
    pub listen: String,
    /// Directory of the database; made if missing.
    #[arg(long, env = "BIFROST_EVENTS_DATA", default_value = "data", value_name = "DIR", global = true)]
    pub data: PathBuf,
    /// Listen on an address that is neither loopback nor private. Requests are signed, but not
    /// encrypted: whoever is on the way reads them.
    #[arg(long)]
    pub allow_public: bool,
    /// What keeps the events.
    #[command(flatten)]
    pub engine: EngineArguments,
    /// What is kept; what is not said here may be in the environment.
    #[command(flatten)]
    pub keep: Keep,
}

/// Runs an event store until SIGINT or SIGTERM, or until it cannot go on.
pub async fn run(arguments: Arguments, mut vars: Vars) -> anyhow::Result<()> {
    let filter: String = vars.or("BIFROST_LOG", "info".into());
    let config = Config::from_vars(&mut vars, arguments.data);
    let engine = arguments.engine.config(&mut vars);
    let config = config.map(|config| Config { engine, keep: arguments.keep.or(config.keep), ..config });
    if let Some(config) = &config {
        config.check(&mut vars);
    }
    vars.finish()?;
    let config = config.context("the environment is not usable")?;
    kit::telemetry::init_logs(&filter);
    let metrics = kit::telemetry::init_metrics();
    if let Err(error) = crate::serve::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is; it bounds the connections");
    }
    let listener = bind(&arguments.listen, arguments.allow_public).await?;
    let tasks = Tasks::new();
    let told = kit::tasks::termination();
    crate::start(config, listener, Clock::system(), Some(metrics), &tasks).await?;
    tokio::select! {
        () = told => (),
        () = tasks.stopping() => {
            tasks.stop_within(STOP).await?;
            anyhow::bail!("the event store stopped by itself; its log says why");
        }
    }
    Ok(tasks.stop_within(STOP).await?)
}

/// Binds the address, which must be loopback or private unless `allow_public` is given.
pub async fn bind(address: &str, allow_public: bool) -> anyhow::Result<TcpListener> {
    let found = tokio::net::lookup_host(address).await;
    let found = found.with_context(|| format!("cannot look up the address to listen on, {address}; give HOST:PORT"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if let Some(public) = addresses.iter().find(|address| !allow_public && !is_private(address.ip())) {
        anyhow::bail!(
            "{public} is not a private address; listen on a loopback or private one, or give --allow-public \
             if everybody who can reach it may"
        );
    }
    let first = addresses.first().copied().with_context(|| format!("{address} is the name of no address"))?;
    kit::net::listen(first)
        .await
        .with_context(|| format!("cannot listen on {address}; is another program listening there?"))
}

/// Loopback, or of a network that is not routed to the internet. Not the unspecified address,
/// which means all of them.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_private_networks_are_private() {
        for address in ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fdaa:0:1::2", "fe80::1"] {
            assert!(is_private(address.parse().expect("an address")), "{address}");
        }
        for address in ["0.0.0.0", "::", "8.8.8.8", "172.32.0.1", "2a09:8280::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(address.parse().expect("an address")), "{address}");
        }
    }

    #[tokio::test]
    async fn a_public_address_must_be_asked_for_in_as_many_words() {
        let refused = bind("0.0.0.0:0", false).await.expect_err("public").to_string();
        assert!(refused.contains("--allow-public"), "{refused}");
        bind("0.0.0.0:0", true).await.expect("binds");
        bind("127.0.0.1:0", false).await.expect("binds");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let first = bind("127.0.0.1:0", false).await.expect("binds");
        let address = first.local_addr().expect("bound").to_string();
        let error = bind(&address, false).await.expect_err("taken").to_string();
        assert!(error.contains(&address) && error.contains("another program"), "{error}");
    }
}
