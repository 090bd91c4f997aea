//! What the pool should do next, as a pure function of what is there, what is
//! wanted and the time. Actions only; what they mean for the provider is decided
//! when they are carried out.
//!
//! The rule for growth (row FLY-037): one more machine while more than
//! `queue_per_machine` tasks wait for each active one, and one when there is none.
//! As many as are to be kept warm are awake anyway. A suspended machine is woken
//! before a new one is made, the one that holds the wanted repository first. Never
//! more than `machines_max` exist, and never more are awake than the budgets pay
//! for until they can be put to sleep.
//!
//! A machine that is too old, has done too much or runs another image is replaced:
//! one at a time, only when as many as are needed are awake without it, and only
//! while nothing says that another could not be had where it is. One whose
//! disk would go with it is not while that alone has somebody's work.

mod asleep;
mod outlook;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use wire::id::MachineId;
use wire::machine::MachineState;

use crate::money::policy::{Allowance, Purse};
use asleep::Asleep;
pub use outlook::Outlook;

/// A machine, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which one.
    pub id: MachineId,
    /// Where it stands.
    pub state: MachineState,
    /// Since when.
    pub state_since: DateTime<Utc>,
    /// How often in a row it was refused.
    pub refusals: i32,
    /// Executions its worker has.
    pub load: i32,
    /// Since when its worker has none.
    pub idle_since: Option<DateTime<Utc>>,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
    /// How much it has been through.
    pub wear: Wear,
}

/// How much a machine has been through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wear {
    /// When the provider made it, once it has.
    pub made_at: Option<DateTime<Utc>>,
    /// Executions that its worker was given.
    pub executions: i64,
    /// Whether it runs another image than new machines would, and that is not known to fail.
    pub is_outdated: bool,
    /// Whether it is being replaced: it gets no more work.
    pub is_retiring: bool,
}

/// Everything the decision depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Every machine that is not destroyed.
    pub machines: Vec<Facts>,
    /// Machines that the provider lists, or may list soon, and no row knows: they count against the cap.
    pub strangers: usize,
    /// Machines that were given up lately, and when the last of them was.
    pub given_up: Option<GivenUp>,
    /// Machines to be kept awake, by schedule and forecast.
    pub warm: usize,
    /// What the budgets allow.
    pub purse: Purse,
    /// Why no machine can be made or woken, and until when.
    pub closed: Option<Closed>,
    /// Why no machine can be made in any region, or none with the image, and until when; those there can be woken.
    pub full: Option<Closed>,
    /// Machines that cannot be woken or made for now, because they were refused, and why.
    pub resting: BTreeMap<MachineId, Closed>,
    /// Machines whose region gave none lately: another could not be made in their place. Woken they can be.
    pub without_room: BTreeSet<MachineId>,
    /// Machines that alone have somebody's work, as the caller knows: they sleep on, however long nobody needs them,
    /// and are not replaced where their disk would go with them. Filled only where it matters: see
    /// [`View::asks_for_kept`].
    pub kept: BTreeSet<MachineId>,
}

impl View {
    /// How many work, or are about to.
    fn active(&self) -> usize {
        self.machines.iter().filter(|machine| is_active(machine.state)).count()
    }

    /// Why a machine rests, if it does.
    fn rest_of(&self, machine: MachineId, now: DateTime<Utc>) -> Option<&Closed> {
        self.resting.get(&machine).filter(|rest| rest.until > now)
    }

    /// Whether there is a machine that would lose its disk, unless it is kept.
    pub fn asks_for_kept(&self, limits: Limits, now: DateTime<Utc>) -> bool {
        let is_worn = |machine| !limits.has_volumes && worn_out(machine, limits, now).is_some();
        self.machines.iter().any(|machine| has_overslept(machine, limits, now) || is_worn(machine))
    }
}

/// Machines that were given up within the last ten minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: DateTime<Utc>,
    /// What was wrong with it.
    pub error: String,
}

/// The provider gives no machine for now, or not this one: our token is refused, there is no room, or it was refused for
/// another reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub why: String,
}

/// What is waiting for a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// Tasks that no worker could take.
    pub queued: usize,
    /// The repositories they want, the most urgent task's first.
    pub repositories: Vec<String>,
    /// Machines that have what no other has and some further task needs, each once: they are woken for it.
    pub machines: Vec<MachineId>,
}

impl Demand {
    /// Whether nothing waits for a machine.
    fn is_none(&self) -> bool {
        self.queued == 0 && self.machines.is_empty()
    }
}

/// The bounds of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`crate::Settings::cap`].
    pub machines_max: usize,
    /// See [`crate::Settings::queue_per_machine`].
    pub queue_per_machine: usize,
    /// See [`crate::Settings::suspend_after`].
    pub suspend_after: Duration,
    /// See [`crate::Settings::destroy_after`].
    pub destroy_after: Duration,
    /// See [`crate::Settings::machine_age_max`].
    pub machine_age_max: Duration,
    /// See [`crate::Settings::machine_executions_max`].
    pub machine_executions_max: i64,
    /// For so long a machine that is made or woken is waited for, before another is.
    pub coming_max: Duration,
    /// See [`crate::Settings::budget_reserve`].
    pub budget_reserve: Duration,
    /// See [`crate::Settings::budget_margin`].
    pub budget_margin: Duration,
    /// See [`crate::Provider::has_volumes`].
    pub has_volumes: bool,
}

impl From<&crate::Settings> for Limits {
    fn from(settings: &crate::Settings) -> Self {
        Self {
            machines_max: settings.cap(),
            queue_per_machine: settings.queue_per_machine.max(1),
            suspend_after: settings.suspend_after,
            destroy_after: settings.destroy_after,
            machine_age_max: settings.machine_age_max,
            machine_executions_max: settings.machine_executions_max,
            // A boot that may take longer is waited for as well.
            coming_max: settings.boot_patience.max(Duration::from_secs(600)),
            budget_reserve: settings.budget_reserve,
            budget_margin: settings.budget_margin,
            has_volumes: settings.provider.has_volumes(),
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make a machine.
    Create,
    /// Wake a suspended one.
    Resume(MachineId),
    /// Keep one whose batch had been declared over.
    Keep(MachineId),
    /// Declare a batch over: checkpoint, then suspend.
    Drain(MachineId),
    /// Put one to sleep at once, whatever it does: it can no longer be paid for.
    Suspend(MachineId),
    /// Give one no more work, and then another in its place.
    Retire(MachineId, Reason),
    /// Destroy one that was suspended for long.
    Destroy(MachineId),
}

/// Why a machine is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is too old.
    Age,
    /// It has done too much.
    Executions,
    /// It runs another image than new machines would.
    Image,
}

impl Reason {
    /// For the row and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "it has reached the age at which machines are replaced",
            Self::Executions => "it has done as many executions as a machine may",
            Self::Image => "the runner's image has changed",
        }
    }
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// What waiting work is told.
    pub outlook: Outlook,
}

/// Decides what to do next. Pure.
pub fn plan(view: &View, demand: &Demand, limits: Limits, now: DateTime<Utc>) -> Plan {
    let mut actions = Vec::new();
    if let Some(allowance) = save(view, limits, now, &mut actions) {
        let outlook = if demand.is_none() { Outlook::Calm } else { Outlook::budget(allowance, &view.purse, limits) };
        return Plan { actions, outlook };
    }
    let kept = with_state(view, MachineState::Draining).filter(|machine| !machine.wear.is_retiring);
    let kept = kept.filter(|machine| demand.queued > 0 || demand.machines.contains(&machine.id));
    actions.extend(kept.map(|machine| Action::Keep(machine.id)));
    let outlook = grow(view, demand, limits, now, &mut actions);
    let retired = retire(view, demand, limits, now, &mut actions);
    wind_down(view, demand, limits, now, retired, &mut actions);
    Plan { actions, outlook }
}

/// How many sleepers may be destroyed: until they are gone they may cost what those do that are awake, and none of
/// those is to be put to sleep for that.
fn may_go(view: &View, limits: Limits, now: DateTime<Utc>, actions: &[Action]) -> usize {
    let comes = |action: &&Action| matches!(action, Action::Create | Action::Resume(_) | Action::Retire(..));
    let awake = view.active() + actions.iter().filter(comes).count();
    match view.purse.awake_max(now, limits.budget_margin, 0) {
        Some((awake_max, _)) if awake > 0 => awake_max.saturating_sub(awake),
        Some(_) | None => usize::MAX,
    }
}

/// Puts to sleep what the budgets no longer pay for, idle machines first; says which budget it was.
fn save(view: &View, limits: Limits, now: DateTime<Utc>, actions: &mut Vec<Action>) -> Option<Allowance> {
    let (awake_max, allowance) = view.purse.awake_max(now, limits.budget_margin, 0)?;
    let surplus = view.active().saturating_sub(awake_max);
    if surplus == 0 {
        return None;
    }
    let mut able: Vec<&Facts> =
        view.machines.iter().filter(|m| matches!(m.state, MachineState::Ready | MachineState::Draining)).collect();
    able.sort_by_key(|machine| (machine.load, machine.id));
    actions.extend(able.into_iter().take(surplus).map(|machine| Action::Suspend(machine.id)));
    Some(allowance)
}

/// How far the pool may still grow.
struct Growth<'a> {
    view: &'a View,
    limits: Limits,
    now: DateTime<Utc>,
    active: usize,
    serving: usize,
    coming: usize,
    exist: usize,
    made: usize,
    asleep: Asleep<'a>,
}

/// Why it may not.
enum Bar {
    Cap,
    Budget(Allowance),
    Trouble(String, DateTime<Utc>),
}

impl From<&Closed> for Bar {
    fn from(closed: &Closed) -> Self {
        Self::Trouble(closed.why.clone(), closed.until)
    }
}

impl<'a> Growth<'a> {
    fn new(view: &'a View, limits: Limits, now: DateTime<Utc>) -> Self {
        Self {
            view,
            limits,
            now,
            active: view.active(),
            serving: serving(view, limits, now).count(),
            coming: serving(view, limits, now).filter(|machine| is_coming(machine.state)).count(),
            exist: view.machines.len() + view.strangers,
            made: 0,
            asleep: Asleep::new(
                with_state(view, MachineState::Suspended).filter(|machine| view.rest_of(machine.id, now).is_none()),
            ),
        }
    }

    /// A machine that sleeps and that nothing can stand in for, or why not. One that does not sleep is no matter.
    fn this_one(&mut self, machine: MachineId, actions: &mut Vec<Action>) -> Result<(), Bar> {
        self.open()?;
        let is_missed = |facts: &Facts| facts.id == machine && !is_serving(self.view, facts, self.limits, self.now);
        if let Some(rest) = self.view.rest_of(machine, self.now)
            && self.view.machines.iter().any(is_missed)
        {
            return Err(Bar::from(rest));
        }
        self.affordable(self.made)?;
        if self.asleep.take_this(machine) {
            actions.push(Action::Resume(machine));
            self.comes();
        }
        Ok(())
    }

    /// One more is on its way.
    fn comes(&mut self) {
        self.active += 1;
        self.serving += 1;
        self.coming += 1;
    }

    /// Whether the provider gives any machine.
    fn open(&self) -> Result<(), Bar> {
        match self.view.closed.as_ref().filter(|closed| closed.until > self.now) {
            Some(closed) => Err(Bar::from(closed)),
            None => Ok(()),
        }
    }

    /// One more machine awake, or why not.
    fn one_more(&mut self, wanted: &[String], actions: &mut Vec<Action>) -> Result<(), Bar> {
        self.open()?;
        self.affordable(self.made)?;
        if let Some(machine) = self.asleep.take(wanted) {
            actions.push(Action::Resume(machine));
        } else if self.exist >= self.limits.machines_max {
            // One that rests takes a place under the cap.
            let resting = self.view.machines.iter().filter_map(|machine| self.view.rest_of(machine.id, self.now));
            return Err(resting.min_by_key(|rest| rest.until).map_or(Bar::Cap, Bar::from));
        } else if let Some(full) = self.view.full.as_ref().filter(|full| full.until > self.now) {
            return Err(Bar::from(full));
        } else if let Some((error, until)) = resting(self.view.given_up.as_ref(), self.now) {
            return Err(Bar::Trouble(error, until));
        } else {
            self.affordable(self.made + 1)?;
            actions.push(Action::Create);
            self.exist += 1;
            self.made += 1;
        }
        self.comes();
        Ok(())
    }

    fn affordable(&self, new: usize) -> Result<(), Bar> {
        match self.view.purse.awake_max(self.now, self.limits.budget_reserve, new) {
            Some((awake_max, allowance)) if self.active >= awake_max => Err(Bar::Budget(allowance)),
            Some(_) | None => Ok(()),
        }
    }
}

fn grow(view: &View, demand: &Demand, limits: Limits, now: DateTime<Utc>, actions: &mut Vec<Action>) -> Outlook {
    let mut growth = Growth::new(view, limits, now);
    let queue_asks =
        |serving: usize| demand.queued > 0 && (serving == 0 || demand.queued > limits.queue_per_machine * serving);
    let mut bar = demand.machines.iter().find_map(|machine| growth.this_one(*machine, actions).err());
    while queue_asks(growth.serving) || growth.serving < view.warm {
        if let Err(why) = growth.one_more(&demand.repositories, actions) {
            bar = bar.or(Some(why));
            break;
        }
    }
    match bar {
        _ if demand.is_none() => Outlook::Calm,
        // Machines on their way will serve the queue even when no more may come.
        _ if growth.coming > 0 => Outlook::Coming(growth.coming),
        None => Outlook::QueueShort { active: growth.serving },
        // That fewer are warm than should be holds up nobody whom the machines there will serve.
        Some(_) if !queue_asks(growth.serving) && demand.machines.is_empty() => {
            Outlook::QueueShort { active: growth.serving }
        }
        Some(Bar::Cap) => Outlook::Cap { machines_max: limits.machines_max, strangers: view.strangers },
        Some(Bar::Budget(allowance)) => Outlook::budget(allowance, &view.purse, limits),
        Some(Bar::Trouble(error, until)) => Outlook::Trouble { error, until },
    }
}

/// How many machines what waits and what is kept warm need awake.
fn needed(view: &View, demand: &Demand, limits: Limits) -> usize {
    demand.queued.div_ceil(limits.queue_per_machine).max(view.warm)
}

/// Begins to replace one machine, if none is being replaced and it can be spared; says which.
fn retire(
    view: &View,
    demand: &Demand,
    limits: Limits,
    now: DateTime<Utc>,
    actions: &mut Vec<Action>,
) -> Option<MachineId> {
    // A disk that waits until there is room for its machine may wait for long.
    let is_under_way = |machine: &Facts| {
        (machine.wear.is_retiring || is_coming(machine.state)) && view.rest_of(machine.id, now).is_none()
    };
    if view.machines.iter().any(is_under_way)
        || resting(view.given_up.as_ref(), now).is_some()
        || actions.iter().any(|action| matches!(action, Action::Create | Action::Resume(_)))
    {
        return None;
    }
    let worn = |machine: &Facts| Some((machine.id, machine.state, machine.load, worn_out(machine, limits, now)?));
    let can_be_placed =
        |machine: &Facts| !view.without_room.contains(&machine.id) && view.rest_of(machine.id, now).is_none();
    let may_go = |machine: &&Facts| can_be_placed(machine) && (limits.has_volumes || !view.kept.contains(&machine.id));
    let mut worn: Vec<_> = view.machines.iter().filter(may_go).filter_map(worn).collect();
    worn.sort_by_key(|(id, state, load, _)| (*state != MachineState::Suspended, *load, *id));
    let (id, state, _, reason) = *worn.first()?;
    let mut growth = Growth::new(view, limits, now);
    growth.open().ok()?;
    match state {
        // It is made anew, and so is awake for a while.
        MachineState::Suspended => growth.affordable(0).ok()?,
        MachineState::Ready if growth.serving > needed(view, demand, limits) && growth.serving > busy(view) => (),
        // Another has to be there first; where none may come, this one goes on.
        MachineState::Ready => {
            growth.one_more(&demand.repositories, actions).ok();
            return None;
        }
        _ => return None,
    }
    actions.push(Action::Retire(id, reason));
    Some(id)
}

fn busy(view: &View) -> usize {
    view.machines.iter().filter(|machine| machine.load > 0).count()
}

fn worn_out(machine: &Facts, limits: Limits, now: DateTime<Utc>) -> Option<Reason> {
    let Wear { made_at, executions, is_outdated, is_retiring } = machine.wear;
    if is_retiring || !matches!(machine.state, MachineState::Ready | MachineState::Suspended) {
        return None;
    }
    if is_outdated {
        return Some(Reason::Image);
    }
    if executions >= limits.machine_executions_max {
        return Some(Reason::Executions);
    }
    made_at.filter(|made_at| past(*made_at, limits.machine_age_max, now)).map(|_| Reason::Age)
}

/// Whether and until when no new machine should be made, after some had to be given up.
fn resting(given_up: Option<&GivenUp>, now: DateTime<Utc>) -> Option<(String, DateTime<Utc>)> {
    let given_up = given_up?;
    let seconds = (5_i64 << given_up.count.min(6)).min(300);
    let until = given_up.last + TimeDelta::seconds(seconds);
    (until > now).then(|| (given_up.error.clone(), until))
}

/// Batches that are over, sleepers that nobody has needed for long.
fn wind_down(
    view: &View,
    demand: &Demand,
    limits: Limits,
    now: DateTime<Utc>,
    retired: Option<MachineId>,
    actions: &mut Vec<Action>,
) {
    let mut awake = serving(view, limits, now).count();
    let mut overslept = Vec::new();
    for machine in view.machines.iter().filter(|machine| Some(machine.id) != retired) {
        if machine.state == MachineState::Ready && machine.load == 0 {
            let is_idle = machine.idle_since.is_some_and(|since| past(since, limits.suspend_after, now));
            let is_spare = demand.queued == 0 && is_idle && awake > view.warm;
            if is_spare || machine.wear.is_retiring {
                actions.push(Action::Drain(machine.id));
                awake -= 1;
            }
        } else if demand.queued == 0
            && !demand.machines.contains(&machine.id)
            && !actions.contains(&Action::Resume(machine.id))
        {
            overslept.extend(destroy(view, machine, limits, now));
        }
    }
    overslept.truncate(may_go(view, limits, now, actions));
    actions.append(&mut overslept);
}

fn destroy(view: &View, machine: &Facts, limits: Limits, now: DateTime<Utc>) -> Option<Action> {
    let is_over = has_overslept(machine, limits, now) && !view.kept.contains(&machine.id);
    is_over.then_some(Action::Destroy(machine.id))
}

fn has_overslept(machine: &Facts, limits: Limits, now: DateTime<Utc>) -> bool {
    machine.state == MachineState::Suspended && past(machine.state_since, limits.destroy_after, now)
}

fn past(since: DateTime<Utc>, limit: Duration, now: DateTime<Utc>) -> bool {
    (now - since).to_std().is_ok_and(|age| age >= limit)
}

/// Working, or about to. A machine on its way to sleep counts: it is back sooner than a new one is made.
pub fn is_active(state: MachineState) -> bool {
    match state {
        MachineState::Creating
        | MachineState::Starting
        | MachineState::Resuming
        | MachineState::Ready
        | MachineState::Draining
        | MachineState::Suspending => true,
        MachineState::Suspended | MachineState::Destroying | MachineState::Destroyed => false,
    }
}

/// Whether a machine works, or is about to. One that was refused on its way is not, nor one that has been on it for
/// long: nobody waits for those, and they only count against the cap.
fn is_serving(view: &View, machine: &Facts, limits: Limits, now: DateTime<Utc>) -> bool {
    match machine.state {
        MachineState::Creating | MachineState::Starting | MachineState::Resuming => {
            view.rest_of(machine.id, now).is_none() && !past(machine.state_since, limits.coming_max, now)
        }
        state => is_active(state),
    }
}

fn serving(view: &View, limits: Limits, now: DateTime<Utc>) -> impl Iterator<Item = &Facts> {
    view.machines.iter().filter(move |machine| is_serving(view, machine, limits, now))
}

fn is_coming(state: MachineState) -> bool {
    is_active(state) && state != MachineState::Ready
}

fn with_state(view: &View, state: MachineState) -> impl Iterator<Item = &Facts> {
    view.machines.iter().filter(move |machine| machine.state == state)
}

#[cfg(test)]
mod tests;
