//! A whole event store over HTTP, asked by the real client.

mod access;
mod clocks;
mod connections;
mod disk;
mod faults;
mod grants;
mod operating;
mod reimport;
mod sender;
mod serving;
mod world;
