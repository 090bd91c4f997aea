//! The house rules that a machine can hold: what ARCHITECTURE.md and
//! CONTRIBUTING.md promise about the shape of this repository.
//!
//! Each rule is a pure function from a [`Tree`] of files to a list of
//! [`Offence`]s, so that its own tests can show it failing on a few lines.
//! `tests/house_rules.rs` holds the real repository against all of them.

pub mod dockerfiles;
pub mod floors;
pub mod fly_toml;
pub mod links;
pub mod migrations;
pub mod process_starts;
pub mod pure;
pub mod rust_source;
pub mod shape;
pub mod tables;
pub mod tree;
pub mod variables;
pub mod words;

pub use tree::{Offence, Tree};
