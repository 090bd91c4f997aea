//! Who may ask for what: tenants, API keys, permissions.
//!
//! A permission is a type, and a handler that needs one names it in its
//! arguments; there is no other source of a tenant. Keys are kept as SHA-256
//! hashes: they are long and random, so nothing slower would add safety.

mod keys;
pub mod permission;

use kernel::{Migration, Sql};
pub use keys::{Caller, KnownKeys, authenticate, ensure_bootstrap_key};

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[kernel::migration!("20261121000100_access_tenants_and_keys")];

/// This slice's statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    keys::store::STATEMENTS.to_vec()
}
