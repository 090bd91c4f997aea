//! The world that the integration tests live in: the real programs as real
//! processes on loopback addresses and a directory of their own, which a test
//! starts, kills and starts again, and looks at only as a user or an operator could.
//!
//! It promises: worlds do not meet, however many run at once; a world that is
//! dropped leaves no process, and one that is [finished](World::finish) has been
//! searched for anything left over. Nothing in it waits for time to pass: every
//! wait is [for a level](until) and has a limit.

mod command_line;
mod database;
mod image;
mod leftovers;
mod level;
mod processes;
mod record;
mod repository;
mod scene;
mod service;
mod sprites;
mod world;

pub use command_line::{CommandLine, Output, Running, program};
pub use image::install_runner;
pub use level::{PATIENCE, until};
pub use processes::Process;
pub use record::{Record, Streams, note};
pub use repository::Repository;
pub use scene::Plan;
pub use service::Service;
pub use world::World;
