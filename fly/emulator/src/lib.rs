//! A local Machines API: the routes, states and refusals of Fly's, over HTTP, with
//! machines that are processes of this computer, or containers. Linux only.
//!
//! It promises: what was acknowledged survives a `kill -9`; a machine's processes
//! live on through one and are found again; a clean stop leaves no process; a
//! signal reaches no process but a machine's own; volumes outlive machines.
//! Processes are not isolated: such a machine sees this computer with its user's
//! rights. Containers are, as far as their engine can (`container/plan.rs`).

mod api;
mod config;
mod container;
mod decode;
mod document;
mod driver;
mod faults;
mod id;
mod layout;
mod machine;
#[cfg(feature = "podman")]
pub mod podman;
mod process;
mod refusal;
mod registry;
mod secret_key;
mod sizes;
#[cfg(feature = "sprites")]
pub mod sprites;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kit::{Chance, Clock, Tasks};
use tokio::net::TcpListener;

pub use config::{BadFaults, Config, Kind, MachineOptions, MachinesAs, NoContainers, Options, Words};
pub use container::{BadAddress, EngineAddress, NETWORK, NoEngine, NoImage, Settings, ensure_image, gateway};
pub use faults::{BadScript, Script};
pub use machine::SHUTDOWN_GRACE;

use registry::Registry;

/// A running emulator; it ends with the tasks it was started with.
#[derive(Debug, Clone)]
pub struct Emulator {
    address: SocketAddr,
}

impl Emulator {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for `fly::Machines`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Why an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error("cannot use {path} as the emulator's data; check that it is a directory you may write to")]
    Data {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another emulator has the directory.
    #[error("another emulator is using {path}; stop it, or choose another data directory")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// A file of its state cannot be understood.
    #[error("{path} is damaged or was written by another version; move it away to go on without it")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is odd about it.
        #[source]
        source: serde_json::Error,
    },
    /// The container engine cannot be used.
    #[error("machines cannot be containers; start the engine, or name it with --engine or DOCKER_HOST")]
    Engine(#[source] NoEngine),
    /// The fault script asks for what its machines cannot do.
    #[error("the fault script cannot be used")]
    Faults(#[source] BadScript),
    /// It has no address.
    #[error("the emulator's listening address cannot be read")]
    Address(#[source] std::io::Error),
}

/// Recovers what an earlier emulator left in the data directory and serves the API from then on.
///
/// Everything runs in `tasks`: when they stop, requests are answered to their end, started machines
/// stop, suspended ones lose their memory and stay `suspended`, and no process of a machine is left.
pub async fn start(
    config: Config,
    listener: TcpListener,
    clock: Clock,
    chance: Chance,
    tasks: &Tasks,
) -> Result<Emulator, StartError> {
    let address = listener.local_addr().map_err(StartError::Address)?;
    let token = config.token.clone();
    let registry = Arc::new(Registry::recover(config, clock, chance, tasks.clone()).await?);
    let app = api::router(Arc::clone(&registry), token);
    let stopping = tasks.clone();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async move { stopping.stopping().await });
    tasks.spawn("emulator", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the emulator stopped serving");
        }
    });
    tracing::info!(%address, "the emulator serves the Machines API");
    Ok(Emulator { address })
}
