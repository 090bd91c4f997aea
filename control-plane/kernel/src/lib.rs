//! What every slice of the control plane stands on, without a product word in
//! it: the context, the transaction over two databases, the error, background
//! work, the outbox, repeated requests, the audit.
//!
//! A use-case begins a [`Tx`], decides, stores, pushes what the outside must
//! learn into the outbox, and commits; all of it happens or none.

mod actor;
pub mod audit;
mod class;
mod ctx;
mod db;
mod error;
mod gather;
pub mod idempotency;
mod journal;
mod leader;
mod line;
mod migrate;
mod nudges;
pub mod outbox;
mod plans;
mod reconcile;
mod request;
pub mod schema;
mod sql;
mod sqlite;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transfer;
mod tx;
mod wall;

pub use actor::Actor;
pub use class::Class;
pub use ctx::Ctx;
pub use db::{Address, BadAddress, Db, POOL, Pool};
pub use error::{Error, Result};
pub use gather::{Batch, Gather};
pub use journal::Journal;
pub use leader::Election;
pub use line::share_nudges;
pub use migrate::{Migration, NewerDatabase, migrate, revert};
pub use nudges::Nudges;
pub use reconcile::{Gap, Reconciler, drive, drive_everywhere};
pub use request::RequestScope;
pub use sql::{Sql, hex, id_list, moment, rows};
pub use tx::{Inner, Tx};
pub use wall::unwalled;

/// The kernel's own tables.
pub const MIGRATIONS: &[Migration] = &[
    migration!("20261121000000_kernel_outbox_and_idempotency"),
    migration!("20261129001100_kernel_leadership"),
    migration!("20261129004000_kernel_audit"),
    migration!("20261129004100_kernel_outbox_places"),
];

/// The kernel's own statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    let (audit, idempotency) = (audit::store::STATEMENTS, idempotency::store::STATEMENTS);
    let (leader, wall, schema) = (leader::store::STATEMENTS, wall::store::STATEMENTS, schema::STATEMENTS);
    let plans = plans::STATEMENTS;
    [migrate::STATEMENTS, plans, outbox::store::STATEMENTS, idempotency, audit, leader, wall, schema].concat()
}

// Used by the macros of this package inside other packages.
#[doc(hidden)]
pub use sqlx as __sqlx;
