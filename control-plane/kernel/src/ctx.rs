//! What a use-case is given: the database, time, chance, wake-up calls, and
//! who asks for it.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use kit::{Chance, Clock};

use crate::{Actor, Db, Nudges, Result, Tx};

/// Who acts where nobody was named: the control plane as a whole.
const NOBODY_ELSE: Actor = Actor::System("control-plane");

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
    asking: Arc<Asking>,
}

/// On whose behalf something is done, and why.
#[derive(Debug, Default)]
struct Asking {
    actor: OnceLock<Actor>,
    reason: Option<String>,
}

impl Ctx {
    /// A context over an open database.
    pub fn new(db: Db, clock: Clock, chance: Chance) -> Self {
        Self { db, clock, chance, nudges: Nudges::default(), asking: Arc::default() }
    }

    /// The same for one request, of somebody who is not known yet: see [`Ctx::identify`].
    pub fn of_request(&self, reason: Option<String>) -> Self {
        Self { asking: Arc::new(Asking { actor: OnceLock::new(), reason }), ..self.clone() }
    }

    /// The same for what this part of the control plane does by itself.
    pub fn of_system(&self, part: &'static str) -> Self {
        let asking = Asking { actor: Actor::System(part).into(), reason: None };
        Self { asking: Arc::new(asking), ..self.clone() }
    }

    /// Notes who asks, for this context and its clones. The first word counts.
    pub fn identify(&self, actor: Actor) {
        self.asking.actor.set(actor).ok();
    }

    /// Who asks.
    pub fn actor(&self) -> Actor {
        self.asking.actor.get().copied().unwrap_or(NOBODY_ELSE)
    }

    /// Why, in the words of whoever asks.
    pub fn reason(&self) -> Option<&str> {
        self.asking.reason.as_deref()
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
