//! Everything that knows Fly.io: a typed client of the Machines API, and what to
//! do about each of its refusals.
//!
//! It promises: every call has a deadline; only what may safely be repeated is
//! repeated; Fly's rate limits are kept on this side; a token or a machine's
//! environment is never printed. It decides nothing about which machines there
//! should be.

mod app;
mod call;
mod config;
mod error;
mod machine;
mod machines;
mod pace;
mod token;
mod volume;

pub use app::{App, NewApp, Organization};
pub use config::{Guest, Init, MachineConfig, Mount, Restart, RestartPolicy, StopConfig};
pub use error::{Action, Advice, Error};
pub use machine::{HostStatus, Lease, Machine, MachineState, NewMachine, StopOptions};
pub use machines::Machines;
pub use pace::Pace;
pub use token::{BadToken, Token};
pub use volume::{NewVolume, Volume};
