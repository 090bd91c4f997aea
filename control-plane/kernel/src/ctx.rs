//! What a use-case is given: the database, time, chance, wake-up calls, and
//! who asks for it.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use kit::{Chance, Clock};
use wire::id::TenantId;

use crate::leader::Leadership;
use crate::{Actor, Class, Db, Nudges, Result, Tx};

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
    class: Class,
    /// Whether transactions see every tenant's rows, whoever asks.
    is_across_tenants: bool,
    pub(crate) leadership: Leadership,
    /// The epoch in which background work may write; none where nobody else could lead.
    epoch: Option<i64>,
}

/// On whose behalf something is done, and why.
#[derive(Debug, Default)]
struct Asking {
    actor: OnceLock<Actor>,
    reason: Option<String>,
    /// Whose rows the transactions of a request see, once that is known.
    tenant: OnceLock<TenantId>,
}

impl Ctx {
    /// A context over an open database.
    pub fn new(db: Db, clock: Clock, chance: Chance) -> Self {
        Self {
            db,
            clock,
            chance,
            nudges: Nudges::default(),
            asking: Arc::default(),
            class: Class::default(),
            is_across_tenants: false,
            leadership: Leadership::Ours,
            epoch: None,
        }
    }

    /// The same for one request, of somebody who is not known yet: see [`Ctx::identify`].
    pub fn of_request(&self, reason: Option<String>) -> Self {
        let asking = Asking { reason, ..Asking::default() };
        Self { asking: Arc::new(asking), class: Class::Request, ..self.clone() }
    }

    /// The same for what this part of the control plane does by itself.
    pub fn of_system(&self, part: &'static str) -> Self {
        let asking = Asking { actor: Actor::System(part).into(), ..Asking::default() };
        Self { asking: Arc::new(asking), ..self.clone() }
    }

    /// Notes who asks, for this context and its clones. The first word counts.
    pub fn identify(&self, actor: Actor) {
        self.asking.actor.set(actor).ok();
    }

    /// From now on, transactions of this context and its clones see only this tenant's rows (on Postgres; the
    /// `WHERE` of every statement says so too). The first word counts.
    pub fn belongs_to(&self, tenant: TenantId) {
        self.asking.tenant.set(tenant).ok();
    }

    /// The same, but transactions see every tenant's rows: for a decision about what all tenants share, such as the
    /// order of the queue. Whatever is told of it must not show another tenant's rows.
    pub fn across_tenants(&self) -> Self {
        Self { is_across_tenants: true, ..self.clone() }
    }

    /// The same for migrations and copies, which take what they take.
    pub fn of_maintenance(&self) -> Self {
        Self { class: Class::Maintenance, ..self.clone() }
    }

    /// The same for background work, if this process leads it.
    pub(crate) fn led(&self) -> Option<Self> {
        self.leadership.led().map(|epoch| Self { epoch, ..self.clone() })
    }

    /// The same on connections of its own, which a busy pool holds up no longer; nobody asks for it.
    pub(crate) fn apart(&self) -> Self {
        Self { db: self.db.apart(), ..Self::new(self.db.clone(), self.clock.clone(), self.chance.clone()) }
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Whose rows transactions see; everybody's without one.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        if self.is_across_tenants { None } else { self.asking.tenant.get().copied() }
    }

    pub(crate) fn epoch(&self) -> Option<i64> {
        self.epoch
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
        self.check_lead()?;
        Tx::begin(self, name).await
    }

    /// Begins a transaction that only reads, and sees one moment.
    pub async fn read(&self, name: &'static str) -> Result<Tx> {
        self.check_lead()?;
        Tx::read(self, name).await
    }

    /// Background work that was begun as the leader ends with the lead.
    fn check_lead(&self) -> Result<()> {
        self.epoch.map_or(Ok(()), |epoch| self.leadership.check(epoch))
    }
}
