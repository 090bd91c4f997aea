//! The emulator over real HTTP, with the real client and real processes.

mod api;
mod certificates;
mod conformance;
mod containers;
mod crash;
mod documentation;
mod engine;
mod faults;
mod foreign;
mod inside;
mod lifecycle;
mod manual;
mod organizations;
mod podman;
mod processes;
mod updates;
mod volumes;
mod world;
