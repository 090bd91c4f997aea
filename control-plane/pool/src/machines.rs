//! The registry of machines and their volumes (row FLY-036): what the pool has
//! decided to have, where each stands, and the transitions between.
//!
//! A state changes only by a guarded update from the state that was looked at,
//! and each change is an event.

mod operate;
pub(crate) mod store;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{MachineId, VolumeId};
use wire::machine::{MachineState, MachineView, OrphanKind};

use crate::orphans::Orphan;
use crate::plan::{Action, Closed, Reason, View};
use crate::recovery::{Disk, Rung, newly_stuck};
use crate::regions::Rests;
use crate::regions::policy as order;
use crate::{CAPACITY_NUDGE, DISKS_NUDGE, LOST_NUDGE, Provision, Settings, WORKERS_NUDGE, money, orphans, workers};

pub use operate::{abandon, abandon_app, destroy, resume, suspend};

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
    /// The volume at the provider that its own is to be a copy of.
    pub volume_source_id: Option<String>,
    /// Whether its volume stays when it goes, for the work on it.
    pub is_volume_kept: bool,
    /// Whether a worker has had its volume, or what that is to be a copy of: then something may be on it.
    pub is_volume_used: bool,
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
    /// How often it was made anew.
    pub generation: i32,
    /// The provider's id of the machine that it replaces, which has to go first.
    pub former_provider_id: Option<String>,
    /// The image that it runs.
    pub image: String,
    /// The one that it ran before, until it has come up with another; empty where there is none.
    pub former_image: String,
    /// Executions that its worker was given since it was made.
    pub executions: i64,
    /// How often it was to be woken and had to boot.
    pub cold_starts: i32,
    /// How far its recovery has come.
    pub rung: Rung,
    /// For how many minutes it was reported to be stuck.
    pub stuck_minutes: i32,
    /// Why it is being replaced, if it is.
    pub retiring: Option<String>,
    /// How often in a row it was refused.
    pub refusals: i32,
    /// Executions that its worker has.
    pub load: i32,
}

impl From<Machine> for MachineView {
    fn from(machine: Machine) -> Self {
        let recovery = match (machine.rung, machine.stuck_minutes) {
            (Rung::Look, 0) => None,
            (rung, 0) => Some(rung.as_str().to_owned()),
            (rung, minutes) => Some(format!("stuck for {minutes} minutes; {}", rung.as_str())),
        };
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
            image: machine.image,
            executions: machine.executions,
            cold_starts: machine.cold_starts,
            retiring: machine.retiring,
            recovery,
        }
    }
}

/// Every machine that is not destroyed, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Machine>> {
    let mut tx = ctx.read("pool.machines.list").await?;
    store::list(&mut tx).await
}

/// One machine that is not destroyed.
pub async fn get(ctx: &Ctx, id: MachineId) -> Result<Machine> {
    let machines = list(ctx).await?;
    machines.into_iter().find(|machine| machine.id == id).ok_or(Error::NotFound { what: "machine" })
}

/// Whether a machine is there and stays: what is on its disk can still be had.
pub async fn stays(tx: &mut Tx, id: MachineId) -> Result<bool> {
    Ok(store::state(tx, id).await?.is_some_and(|(state, _)| !is_going(state)))
}

/// Whether nothing brings a machine back.
pub const fn is_going(state: MachineState) -> bool {
    matches!(state, MachineState::Destroying | MachineState::Destroyed)
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

/// What the names of machines begin with.
pub(crate) const MACHINE_PREFIX: &str = "sprite-";

/// The name of a machine that was made anew so often: the one before it may still have its own.
fn machine_name(id: MachineId, generation: i32) -> String {
    let name = name_of(MACHINE_PREFIX, id.uuid());
    if generation == 0 { name } else { format!("{name}-{generation}") }
}

/// Whether a row was once about this, however that ended.
pub(crate) async fn was_known(tx: &mut Tx, orphan: &Orphan) -> Result<bool> {
    match orphan.kind {
        OrphanKind::Volume => store::knew_volume(tx, &orphan.name).await,
        OrphanKind::Machine => {
            let Some(id) = orphan.row else { return Ok(false) };
            // A later generation than the row's was made by a database that is newer than this one.
            let generation = store::generation(tx, id).await?;
            Ok(generation.is_some_and(|last| (0..=last).any(|number| machine_name(id, number) == orphan.name)))
        }
    }
}

/// What the planner looks at.
pub async fn view(tx: &mut Tx, settings: &Settings, now: DateTime<Utc>) -> Result<View> {
    let image = &settings.provider.image;
    let rests = Rests::read(tx).await?;
    let seen = store::facts(tx, (!rests.has_image_failed(image, now)).then_some(image.as_str())).await?;
    let closed = token_rest(&rests, &seen, now).or_else(|| rests.away(now));
    let missing = rests.missing_image(image).filter(|missing| missing.until > now);
    let rests = rests.regions();
    let rest = |seen: &store::Seen| closed.clone().or_else(|| own_rest(seen, now));
    let resting = seen.iter().filter_map(|seen| Some((seen.facts.id, rest(seen)?))).collect();
    let is_full = |seen: &&store::Seen| order::rests(&rests, seen.region.as_deref(), now);
    let without_room = seen.iter().filter(is_full).map(|seen| seen.facts.id).collect();
    let given_up = store::given_up_since(tx, now - chrono::TimeDelta::minutes(10)).await?;
    Ok(View {
        machines: seen.into_iter().map(|seen| seen.facts).collect(),
        resting,
        without_room,
        strangers: orphans::strangers(tx).await? + store::count_abandoned(tx, now).await?,
        given_up,
        warm: settings.warm.machines(now).max(crate::forecast::machines(tx, settings, now).await?),
        purse: money::purse(tx, settings, now).await?,
        closed,
        full: missing.or_else(|| order::all_rest(&settings.provider.regions, &rests, now).map(Closed::from)),
        kept: BTreeSet::new(),
    })
}

fn own_rest(seen: &store::Seen, now: DateTime<Utc>) -> Option<Closed> {
    seen.rest.clone().filter(|rest| rest.until > now)
}

/// Why and until when nobody counts on the token.
fn token_rest(rests: &Rests, seen: &[store::Seen], now: DateTime<Utc>) -> Option<Closed> {
    rests
        .token(now, |state| seen.iter().any(|seen| seen.facts.state.as_str() == state && own_rest(seen, now).is_none()))
}

/// Cap and budgets are counted over all machines, which no lock on a row guards: whoever decides about machines does
/// so alone.
pub(crate) async fn decide_alone(tx: &mut Tx) -> Result<()> {
    const LOCK: i64 = 7_603;
    tx.alone(LOCK).await
}

/// Writes the planner's decision down, in the transaction that decided it.
pub async fn apply(ctx: &Ctx, tx: &mut Tx, settings: &Settings, actions: &[Action]) -> Result<usize> {
    if !actions.is_empty() {
        decide_alone(tx).await?;
    }
    let mut changed = 0;
    for action in actions {
        changed += usize::from(match action {
            Action::Create => create(ctx, tx, settings).await?,
            Action::Resume(id) => wake(ctx, tx, settings, *id).await?,
            Action::Keep(id) => shift(ctx, tx, *id, MachineState::Draining, MachineState::Ready, None).await?,
            Action::Drain(id) => drain(ctx, tx, *id).await?,
            Action::Suspend(id) => sleep_now(ctx, tx, *id).await?,
            Action::Retire(id, reason) => retire(ctx, tx, settings, *id, *reason).await?,
            Action::Destroy(id) => shift(ctx, tx, *id, MachineState::Suspended, MachineState::Destroying, None).await?,
        });
    }
    Ok(changed)
}

async fn create(ctx: &Ctx, tx: &mut Tx, settings: &Settings) -> Result<bool> {
    // Cap and budgets are checked again where the row is written: the view may be another replica's past.
    let Some(strangers) = orphans::strangers_for_sure(tx, ctx.now()).await? else { return Ok(false) };
    let exist = store::count_existing(tx).await? + store::count_abandoned(tx, ctx.now()).await? + strangers;
    if exist >= settings.cap() || !money::pays_for_one_more(tx, settings, 1, ctx.now()).await? {
        return Ok(false);
    }
    let rests = Rests::read(tx).await?.regions();
    let Some(region) = order::choose(&settings.provider.regions, &rests, ctx.now(), None) else { return Ok(false) };
    let (id, volume) = (ctx.id(MachineId::mint), ctx.id(VolumeId::mint));
    insert_volume(ctx, tx, settings, volume, region, None, false).await?;
    let image = &settings.provider.image;
    let row = store::MachineRow { id, name: &machine_name(id, 0), region, volume, image, former_image: "" };
    store::insert(tx, &row, ctx.now()).await?;
    announce(ctx, tx, id, MachineState::Creating, None).await?;
    let change = Change::created(&json!({ "state": MachineState::Creating, "volume_id": volume, "region": region }))?;
    audit::write(ctx, tx, "machine.created", &Entity::shared("machine", id), &change).await?;
    tx.nudge(Provision::NUDGE);
    Ok(true)
}

async fn insert_volume(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    id: VolumeId,
    region: &str,
    source_id: Option<&str>,
    is_used: bool,
) -> Result<()> {
    let size_gb = settings.provider.volume_gb;
    let rate = settings.provider.volume_rate();
    let name = volume_name(settings, id);
    let volume = store::VolumeRow { id, name: &name, region, source_id, size_gb, rate, is_used };
    store::insert_volume(tx, &volume, ctx.now()).await
}

async fn wake(ctx: &Ctx, tx: &mut Tx, settings: &Settings, id: MachineId) -> Result<bool> {
    if !money::pays_for_one_more(tx, settings, 0, ctx.now()).await? {
        return Ok(false);
    }
    shift(ctx, tx, id, MachineState::Suspended, MachineState::Resuming, None).await
}

async fn drain(ctx: &Ctx, tx: &mut Tx, id: MachineId) -> Result<bool> {
    let drained = shift(ctx, tx, id, MachineState::Ready, MachineState::Draining, None).await?;
    if drained {
        store::begin_next_batch(tx, id).await?;
        tx.nudge(WORKERS_NUDGE);
    }
    Ok(drained)
}

/// Whatever it is doing stays in its memory, and is given to another if it sleeps for long.
async fn sleep_now(ctx: &Ctx, tx: &mut Tx, id: MachineId) -> Result<bool> {
    let why = Some("the budget for machines is used up");
    for from in [MachineState::Ready, MachineState::Draining] {
        if shift(ctx, tx, id, from, MachineState::Suspending, why).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A machine that sleeps is made anew at once; one that works gets no more work first.
async fn retire(ctx: &Ctx, tx: &mut Tx, settings: &Settings, id: MachineId, reason: Reason) -> Result<bool> {
    if !store::retire(tx, id, reason.as_str()).await? {
        return Ok(false);
    }
    let machine = store::list(tx).await?.into_iter().find(|machine| machine.id == id);
    if let Some(machine) = machine.filter(|machine| machine.state == MachineState::Suspended) {
        let is_paid_for = money::pays_for_one_more(tx, settings, 0, ctx.now()).await?;
        if !is_paid_for || !can_be_placed(tx, &machine, ctx.now()).await? {
            store::retired(tx, id).await?;
            return Ok(false);
        }
        tell_retired(id, reason);
        return replace_in_place(ctx, tx, settings, &machine).await;
    }
    tell_retired(id, reason);
    // The next look drains it once its worker has nothing to do.
    tx.nudge(CAPACITY_NUDGE);
    Ok(true)
}

fn tell_retired(id: MachineId, reason: Reason) {
    tracing::info!(machine.id = %id, reason = reason.as_str(), "a machine is replaced");
    metrics::counter!("machines_retired_total", "reason" => reason.as_str()).increment(1);
}

/// Whether nothing says that a machine could not be made where this one is.
pub(crate) async fn can_be_placed(tx: &mut Tx, machine: &Machine, now: DateTime<Utc>) -> Result<bool> {
    let rests = Rests::read(tx).await?;
    if rests.away(now).is_some() || order::rests(&rests.regions(), machine.region.as_deref(), now) {
        return Ok(false);
    }
    // Where machines stand matters only to steps that are refused.
    let seen = if rests.refused_steps().is_empty() { Vec::new() } else { store::facts(tx, None).await? };
    Ok(token_rest(&rests, &seen, now).is_none())
}

/// What a machine that is made anew is to run, and the last that it came up with where that is another: not what no
/// machine comes up with for now, where it has something else.
async fn images<'a>(
    tx: &mut Tx,
    settings: &'a Settings,
    machine: &'a Machine,
    now: DateTime<Utc>,
) -> Result<(&'a str, &'a str)> {
    let Machine { image: own, former_image: former, .. } = machine;
    let new = &settings.provider.image;
    let came_up_with = if former.is_empty() { own } else { former };
    let image = match came_up_with.is_empty() {
        false if Rests::read(tx).await?.has_image_failed(new, now) => came_up_with,
        _ => new,
    };
    Ok((image, if image == came_up_with { "" } else { came_up_with }))
}

/// Has a machine that is being replaced made anew, with its volume and the image of today.
pub(crate) async fn replace_in_place(ctx: &Ctx, tx: &mut Tx, settings: &Settings, machine: &Machine) -> Result<bool> {
    let region = machine.region.clone().unwrap_or_else(|| settings.provider.first_region().to_owned());
    let anew = Anew { disk: Disk::Keep, region: &region, rung: Rung::Look, has_former_image: false, why: None };
    make_anew(ctx, tx, settings, machine, &anew).await
}

/// How a machine is made anew.
pub(crate) struct Anew<'a> {
    /// What becomes of its volume.
    pub(crate) disk: Disk,
    /// Where.
    pub(crate) region: &'a str,
    /// How far its recovery has come with that.
    pub(crate) rung: Rung,
    /// Whether it runs again what it ran before its image was changed.
    pub(crate) has_former_image: bool,
    /// What was wrong with it, if anything.
    pub(crate) why: Option<&'a str>,
}

/// Has the provider make a machine anew, in the same row; says whether it still stood where it was seen.
/// What it was before is destroyed first, so that never more machines exist than rows.
pub(crate) async fn make_anew(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    machine: &Machine,
    anew: &Anew<'_>,
) -> Result<bool> {
    let now = ctx.now();
    let volume = match anew.disk {
        Disk::Keep => machine.volume_id,
        Disk::Copy | Disk::New => {
            let id = ctx.id(VolumeId::mint);
            let source_id = machine.volume_provider_id.as_deref().filter(|_| anew.disk == Disk::Copy);
            let is_used = source_id.is_some() && machine.is_volume_used;
            insert_volume(ctx, tx, settings, id, anew.region, source_id, is_used).await?;
            id
        }
    };
    money::settle_machine(tx, machine.id, now).await?;
    let name = machine_name(machine.id, machine.generation + 1);
    let Anew { region, rung, why, .. } = *anew;
    let (image, former_image) = match anew.has_former_image {
        true => (machine.former_image.as_str(), ""),
        false => images(tx, settings, machine, now).await?,
    };
    let row = store::MachineRow { id: machine.id, name: &name, region, volume, image, former_image };
    if !store::replace(tx, machine.state, &row, rung, why, now).await? {
        return Ok(false);
    }
    if volume != machine.volume_id {
        store::release_volume(tx, machine.volume_id, now).await?;
    }
    follow_up(ctx, tx, machine.id, machine.state, MachineState::Creating, why).await?;
    workers::disable_of_machine(tx, machine.id).await?;
    tx.nudge(LOST_NUDGE);
    Ok(true)
}

/// Reports a machine that has been on its way for five minutes, and has it acted on after ten.
pub(crate) async fn report_stuck(ctx: &Ctx, tx: &mut Tx, machine: &Machine) -> Result<bool> {
    let now = ctx.now();
    let Some(minutes) = newly_stuck(machine.state, machine.state_since, machine.stuck_minutes, now) else {
        return Ok(false);
    };
    let state = machine.state;
    tracing::warn!(machine.id = %machine.id, %state, minutes, "a machine is stuck");
    metrics::counter!("machines_stuck_total", "state" => state.as_str()).increment(1);
    store::stuck(tx, machine.id, minutes, minutes >= crate::recovery::STUCK_ACT_MINUTES, now).await?;
    let payload = json!({ "machine_id": machine.id, "state": state, "minutes": minutes, "error": machine.error });
    outbox::push(ctx, tx, kind::MACHINE_STUCK, About::default(), &payload).await?;
    tx.nudge(Provision::NUDGE);
    Ok(true)
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
    // Until now it has cost what it costs where it stood.
    money::settle_machine(tx, id, ctx.now()).await?;
    if !store::set_state(tx, id, from, to, error, ctx.now()).await? {
        return Ok(false);
    }
    follow_up(ctx, tx, id, from, to, error).await?;
    Ok(true)
}

async fn follow_up(
    ctx: &Ctx,
    tx: &mut Tx,
    id: MachineId,
    from: MachineState,
    to: MachineState,
    error: Option<&str>,
) -> Result<()> {
    announce(ctx, tx, id, to, error).await?;
    let change = Change::between(&json!({ "state": from }), &json!({ "state": to }))?;
    let change = if let Some(error) = error { change.because(error) } else { change };
    audit::write(ctx, tx, kind::MACHINE_STATE, &Entity::shared("machine", id), &change).await?;
    metrics::counter!("machine_transitions_total", "to" => to.as_str()).increment(1);
    tx.nudge(Provision::NUDGE);
    if is_going(to) {
        tx.nudge(DISKS_NUDGE);
    }
    match to {
        MachineState::Ready | MachineState::Suspended | MachineState::Destroyed => tx.nudge(CAPACITY_NUDGE),
        MachineState::Resuming => tx.nudge(WORKERS_NUDGE),
        MachineState::Starting | MachineState::Destroying => {
            workers::disable_of_machine(tx, id).await?;
            tx.nudge(LOST_NUDGE);
        }
        MachineState::Creating | MachineState::Draining | MachineState::Suspending => (),
    }
    Ok(())
}

async fn announce(ctx: &Ctx, tx: &mut Tx, id: MachineId, state: MachineState, error: Option<&str>) -> Result<()> {
    let payload = json!({ "machine_id": id, "state": state, "error": error });
    outbox::push(ctx, tx, kind::MACHINE_STATE, About::default(), &payload).await
}
