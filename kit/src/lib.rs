//! What every process of ours needs and no product word belongs to: time,
//! chance, the environment, tasks that end at shutdown, child processes, an HTTP
//! client with deadlines, durable small files, telemetry.
//!
//! These are handed in, never reached for, so that a test can hold the clock and
//! the dice. `clippy.toml` bans the ways around them.

pub mod backoff;
pub mod chance;
pub mod clock;
pub mod files;
pub mod health;
#[cfg(all(feature = "testing", target_os = "linux"))]
pub mod hosts;
pub mod http;
pub mod lock;
pub mod net;
pub mod process;
#[cfg(feature = "testing")]
pub mod starting;
pub mod tasks;
pub mod telemetry;
pub mod vars;

pub use chance::Chance;
pub use clock::Clock;
pub use tasks::Tasks;
pub use vars::Vars;
