//! A whole event store over HTTP, asked by the real client: the same on either engine.

mod access;
#[cfg(feature = "jetstream")]
mod jetstream;
#[cfg(feature = "jetstream")]
mod nats;
mod sender;
mod serving;
mod world;
