//! The emulator over real HTTP, with the real client and real processes.

mod api;
mod conformance;
mod crash;
mod lifecycle;
mod processes;
mod world;
