//! The registry of machines and their volumes (row FLY-036): what the pool has
//! decided to have, where each stands, and the transitions between.
//!
//! A state changes only by a guarded update from the state that was looked at,
//! and each change is an event.

pub(crate) mod store;

use chrono::{DateTime, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{MachineId, VolumeId};
use wire::machine::{MachineState, MachineView};

use crate::plan::{Action, View};
use crate::{CAPACITY_NUDGE, LOST_NUDGE, Provision, Settings, WORKERS_NUDGE, workers};

/// A machine that is not destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id in the pool.
    pub id: MachineId,
    /// Its name at the provider; made from the id, so that a repeated create finds it.
    pub name: String,
    /// Its id at the provider, once known.
    pub provider_id: Option<String>,
    /// Where it is.
    pub region: Option<String>,
    /// Where it stands.
    pub state: MachineState,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// When the provider is asked next.
    pub next_try_at: DateTime<Utc>,
    /// Failed calls in a row in this state.
    pub failures: i32,
    /// Starts in this state.
    pub restarts: i32,
    /// By when its worker has to report in, once it was seen running or was started.
    pub report_by: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub error: Option<String>,
    /// Its volume.
    pub volume_id: VolumeId,
    /// Its volume's name at the provider.
    pub volume_name: String,
    /// Its volume's id at the provider, once known.
    pub volume_provider_id: Option<String>,
    /// The number of its current batch.
    pub batch: i64,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
    /// When its worker was heard last.
    pub worker_heard_at: Option<DateTime<Utc>>,
    /// Since when its worker has nothing to do.
    pub idle_since: Option<DateTime<Utc>>,
    /// When the pool decided to have it.
    pub created_at: DateTime<Utc>,
}

impl From<Machine> for MachineView {
    fn from(machine: Machine) -> Self {
        Self {
            id: machine.id,
            name: machine.name,
            provider_id: machine.provider_id,
            region: machine.region,
            state: machine.state,
            volume_id: Some(machine.volume_id),
            repositories: machine.repositories,
            error: machine.error,
            created_at: machine.created_at,
            state_since: machine.state_since,
        }
    }
}

/// Every machine that is not destroyed, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Machine>> {
    let mut tx = ctx.read("pool.machines.list").await?;
    store::list(&mut tx).await
}

/// What the names of a pool's volumes begin with: a volume carries no metadata at Fly.
pub(crate) fn volume_prefix(pool: &str) -> String {
    format!("sprite_{pool}_")
}

/// Fly allows lower case letters, digits and underscores in a volume's name, 30 characters at most.
fn volume_name(settings: &Settings, id: VolumeId) -> String {
    name_of(&volume_prefix(&settings.provider.pool_name), id.uuid())
}

/// A name that the same id always gives: a repeated create finds the first.
fn name_of(prefix: &str, id: uuid::Uuid) -> String {
    format!("{prefix}{}", &id.simple().to_string()[20..])
}

/// What the planner looks at.
pub async fn view(tx: &mut Tx, now: DateTime<Utc>) -> Result<View> {
    let machines = store::facts(tx).await?;
    let given_up = store::given_up_since(tx, now - chrono::TimeDelta::minutes(10)).await?;
    Ok(View { machines, given_up })
}

/// Writes the planner's decision down, in the transaction that decided it.
pub async fn apply(ctx: &Ctx, tx: &mut Tx, settings: &Settings, actions: &[Action]) -> Result<usize> {
    let mut changed = 0;
    for action in actions {
        changed += usize::from(match action {
            Action::Create => create(ctx, tx, settings).await?,
            Action::Resume(id) => shift(ctx, tx, *id, MachineState::Suspended, MachineState::Resuming, None).await?,
            Action::Keep(id) => shift(ctx, tx, *id, MachineState::Draining, MachineState::Ready, None).await?,
            Action::Drain(id) => drain(ctx, tx, *id).await?,
            Action::Destroy(id) => shift(ctx, tx, *id, MachineState::Suspended, MachineState::Destroying, None).await?,
        });
    }
    Ok(changed)
}

async fn create(ctx: &Ctx, tx: &mut Tx, settings: &Settings) -> Result<bool> {
    // The cap is checked again where the row is written: the view may be another replica's past.
    let exist = store::count_existing(tx).await?;
    if exist >= settings.machines_max.min(wire::limit::MACHINES_MAX) {
        return Ok(false);
    }
    let (machine, volume) = (ctx.id(MachineId::mint), ctx.id(VolumeId::mint));
    let names = store::Names { machine: name_of("sprite-", machine.uuid()), volume: volume_name(settings, volume) };
    store::insert(tx, machine, volume, &names, &settings.provider.region, ctx.now()).await?;
    announce(ctx, tx, machine, MachineState::Creating, None).await?;
    let change = Change::created(&json!({ "state": MachineState::Creating, "volume_id": volume }))?;
    audit::write(ctx, tx, "machine.created", &Entity::shared("machine", machine), &change).await?;
    tx.nudge(Provision::NUDGE);
    Ok(true)
}

async fn drain(ctx: &Ctx, tx: &mut Tx, id: MachineId) -> Result<bool> {
    let drained = shift(ctx, tx, id, MachineState::Ready, MachineState::Draining, None).await?;
    if drained {
        store::begin_next_batch(tx, id).await?;
        tx.nudge(WORKERS_NUDGE);
    }
    Ok(drained)
}

/// Moves a machine on if it still stands where it was seen; says whether it did.
pub(crate) async fn shift(
    ctx: &Ctx,
    tx: &mut Tx,
    id: MachineId,
    from: MachineState,
    to: MachineState,
    error: Option<&str>,
) -> Result<bool> {
    if !store::set_state(tx, id, from, to, error, ctx.now()).await? {
        return Ok(false);
    }
    announce(ctx, tx, id, to, error).await?;
    let change = Change::between(&json!({ "state": from }), &json!({ "state": to }))?;
    let change = if let Some(error) = error { change.because(error) } else { change };
    audit::write(ctx, tx, kind::MACHINE_STATE, &Entity::shared("machine", id), &change).await?;
    metrics::counter!("machine_transitions_total", "to" => to.as_str()).increment(1);
    tx.nudge(Provision::NUDGE);
    match to {
        MachineState::Ready | MachineState::Suspended | MachineState::Destroyed => tx.nudge(CAPACITY_NUDGE),
        MachineState::Resuming => tx.nudge(WORKERS_NUDGE),
        MachineState::Starting | MachineState::Destroying => {
            workers::disable_of_machine(tx, id).await?;
            tx.nudge(LOST_NUDGE);
        }
        MachineState::Creating | MachineState::Draining | MachineState::Suspending => (),
    }
    Ok(true)
}

async fn announce(ctx: &Ctx, tx: &mut Tx, id: MachineId, state: MachineState, error: Option<&str>) -> Result<()> {
    let payload = json!({ "machine_id": id, "state": state, "error": error });
    outbox::push(ctx, tx, kind::MACHINE_STATE, About::default(), &payload).await
}
