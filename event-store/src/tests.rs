//! A whole event store over HTTP, asked by the real client.

mod access;
mod disk;
mod operating;
mod sender;
mod serving;
mod world;
