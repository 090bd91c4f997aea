//! What a use-case is given: the database, time, chance, and wake-up calls.

use chrono::{DateTime, Utc};
use kit::{Chance, Clock};

use crate::{Db, Nudges, Result, Tx};

/// Handed to every use-case and reconciler, first. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// The database.
    pub db: Db,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// Wake-up calls.
    pub nudges: Nudges,
}

impl Ctx {
    /// A context over an open database.
    pub fn new(db: Db, clock: Clock, chance: Chance) -> Self {
        Self { db, clock, chance, nudges: Nudges::default() }
    }

    /// The time, in whole microseconds.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A new id, from the context's time and chance: `ctx.id(TaskId::mint)`.
    pub fn id<T>(&self, mint: fn(DateTime<Utc>, [u8; 10]) -> T) -> T {
        mint(self.clock.now(), self.chance.bytes())
    }

    /// Begins a transaction that writes. On SQLite it is the only one.
    pub async fn begin(&self, name: &'static str) -> Result<Tx> {
        Tx::begin(self, name).await
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub async fn read(&self, name: &'static str) -> Result<Tx> {
        Tx::read(self, name).await
    }
}
