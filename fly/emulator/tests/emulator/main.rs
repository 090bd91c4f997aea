//! The emulator over real HTTP, with the real client and real processes.

mod api;
mod conformance;
mod crash;
mod documentation;
mod faults;
mod lifecycle;
mod manual;
mod organizations;
mod processes;
mod updates;
mod volumes;
mod world;
