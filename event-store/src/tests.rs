//! A whole event store over HTTP, asked by the real client: the same on either engine.

mod access;
mod clocks;
mod connections;
mod faults;
mod grants;
#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "jetstream")]
mod nats;
mod operating;
mod reimport;
mod sender;
mod serving;
mod small_volumes;
mod world;
