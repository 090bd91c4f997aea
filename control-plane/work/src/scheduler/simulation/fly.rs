//! A model of Fly, cheap enough for millions of arrivals: machines with states and
//! hosts, volumes, lists that lag behind both, prices, rate limits, and failures
//! from a seed.

pub(super) mod lists;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;

use fly::{Action, Advice, MachineState as At};

use lists::Gone;

/// Milliseconds since the simulation began.
pub(super) type Millis = u64;
pub(super) const SECOND: Millis = 1_000;
pub(super) const MINUTE: Millis = 60 * SECOND;
pub(super) const HOUR: Millis = 60 * MINUTE;
/// How far the list of machines lags behind at most, whatever the seed: of Fly's a second is known, and the pool waits
/// for so long. That of volumes may lag further, and one that is made twice for that is an orphan.
const LAG_MOST: Millis = 5 * SECOND;
const VOLUMES_LAG_MOST: Millis = 30 * SECOND;
/// How long a machine may be on its way out.
const GOING_MOST: Millis = 10 * MINUTE;
/// In place of a machine or volume: a call that is counted for the whole app.
pub(super) const OF_APP: usize = usize::MAX;

/// Chance that repeats for a seed (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) fn permille(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }
}

/// What each day has cost, in picodollars times milliseconds a second.
#[derive(Debug, Clone, Default)]
pub(super) struct Bill(BTreeMap<u64, u128>);

impl Bill {
    pub(super) fn add(&mut self, mut from: Millis, to: Millis, rate: u64) {
        while from < to && rate > 0 {
            let day = from / (24 * HOUR);
            let end = ((day + 1) * 24 * HOUR).min(to);
            *self.0.entry(day).or_default() += u128::from(end - from) * u128::from(rate);
            from = end;
        }
    }

    fn of(&self, days: RangeInclusive<u64>) -> u128 {
        self.0.range(days).map(|(_, cost)| cost).sum()
    }

    pub(super) fn micros(&self, days: RangeInclusive<u64>) -> i64 {
        micros(self.of(days))
    }
}

/// In millionths of a dollar.
fn micros(cost: u128) -> i64 {
    i64::try_from(cost.div_ceil(1_000 * 1_000_000)).unwrap_or(i64::MAX)
}

/// A refusal, as far as the pool looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) advice: Advice,
    pub(super) status: Option<u16>,
}

fn refusal(advice: Advice, status: u16) -> Refusal {
    Refusal { advice, status: Some(status) }
}

/// A machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) name: (usize, u32),
    pub(super) state: At,
    /// When it comes to another state, and which.
    next: Option<(Millis, At)>,
    pub(super) volume: usize,
    /// Different after each boot; a resume that keeps the memory changes nothing.
    pub(super) boot: u64,
    /// Its host is away: it does nothing and takes no order but its destruction.
    pub(super) is_lost: bool,
    /// Its runner does not come up in this boot.
    pub(super) is_deaf: bool,
    pub(super) made: Millis,
    /// When lists begin to have it.
    listed_from: Millis,
    meter: Meter,
}

/// A volume.
#[derive(Debug, Clone, Copy)]
struct Volume {
    name: usize,
    /// When lists begin to have it.
    listed_from: Millis,
    meter: Meter,
}

/// What something costs at present, in picodollars a second, and since when.
#[derive(Debug, Clone, Copy)]
struct Meter {
    from: Millis,
    rate: u64,
}

/// Picodollars a second: of a machine awake and asleep, and of a volume as long as it exists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    pub(super) awake: u64,
    pub(super) asleep: u64,
    pub(super) volume: u64,
}

/// How often what goes wrong, in a thousand calls or boots.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) capacity: u64,
    pub(super) quota: u64,
    pub(super) ambiguous: u64,
    pub(super) transient: u64,
    pub(super) host_full: u64,
    pub(super) stuck: u64,
    pub(super) lost_snapshot: u64,
    pub(super) deaf: u64,
    /// Destructions that take minutes.
    pub(super) slow_to_go: u64,
    /// How far lists lag behind at most.
    pub(super) lag: Millis,
    pub(super) volumes_lag: Millis,
    /// Whether a refusal comes before a machine's name is compared with those that there are.
    pub(super) refuses_first: bool,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        capacity: 0,
        quota: 0,
        ambiguous: 0,
        transient: 0,
        host_full: 0,
        stuck: 0,
        lost_snapshot: 0,
        deaf: 0,
        slow_to_go: 0,
        lag: 0,
        volumes_lag: 0,
        refuses_first: false,
    };

    pub(super) fn roll(dice: &mut Dice) -> Self {
        let mut up_to = |most: u64| dice.below(most + 1);
        Self {
            capacity: up_to(150),
            quota: up_to(10),
            ambiguous: up_to(100),
            transient: up_to(100),
            host_full: up_to(60),
            stuck: up_to(40),
            lost_snapshot: up_to(200),
            deaf: up_to(40),
            slow_to_go: up_to(100),
            lag: up_to(LAG_MOST),
            volumes_lag: up_to(VOLUMES_LAG_MOST),
            refuses_first: up_to(1) == 1,
        }
    }
}

/// Fly.
#[derive(Debug)]
pub(super) struct Fly {
    pub(super) machines: Vec<Machine>,
    /// Those that are not destroyed: of a week most are.
    existing: BTreeSet<usize>,
    /// How many volumes were ever made.
    volumes: usize,
    /// Those that exist.
    existing_volumes: BTreeMap<usize, Volume>,
    /// What is destroyed and lists still have.
    gone: VecDeque<Gone>,
    pub(super) faults: Faults,
    pub(super) dice: Dice,
    prices: Prices,
    /// What each day has cost, but for what the meters have run since.
    billed: Bill,
    calls: HashMap<(Action, usize), VecDeque<Millis>>,
    boots: u64,
}

impl Fly {
    pub(super) fn new(dice: Dice, faults: Faults, prices: Prices) -> Self {
        Self {
            machines: Vec::new(),
            existing: BTreeSet::new(),
            volumes: 0,
            existing_volumes: BTreeMap::new(),
            gone: VecDeque::new(),
            faults,
            dice,
            prices,
            billed: Bill::default(),
            calls: HashMap::new(),
            boots: 0,
        }
    }

    /// Counts a call; Fly's limit is one a second with three at once, five and ten for reading a machine.
    pub(super) fn count(&mut self, action: Action, subject: usize, now: Millis) {
        let (per_second, burst) = if action == Action::ReadMachine { (5, 10) } else { (1, 3) };
        let calls = self.calls.entry((action, subject)).or_default();
        // A call that waited for its turn may come before one that was counted already.
        calls.insert(calls.partition_point(|at| *at <= now), now);
        let last = calls.back().copied().unwrap_or(now);
        while calls.front().is_some_and(|first| *first + 10 * SECOND <= last) {
            calls.pop_front();
        }
        assert!(calls.len() <= burst + 10 * per_second, "too many calls to {action} {subject} at {now}");
        let at_once = calls.iter().rev().skip_while(|at| **at > now).take_while(|at| **at == now).count();
        assert!(at_once <= burst, "{at_once} calls to {action} {subject} at {now}");
    }

    /// Drops the calls that no limit is about any more.
    pub(super) fn forget_calls(&mut self, now: Millis) {
        self.calls.retain(|_, calls| calls.back().is_some_and(|last| *last + 20 * SECOND > now));
    }

    /// What exists, as it was when somebody last looked.
    pub(super) fn existing(&self) -> impl ExactSizeIterator<Item = (usize, &Machine)> {
        self.existing.iter().map(|id| (*id, &self.machines[*id]))
    }

    /// When a volume was made, if it still exists.
    pub(super) fn volume_made(&self, id: usize) -> Option<Millis> {
        self.existing_volumes.get(&id).map(|volume| volume.meter.from)
    }

    pub(super) fn has_volumes(&self) -> bool {
        !self.existing_volumes.is_empty()
    }

    /// A machine as it is now.
    pub(super) fn look(&mut self, id: usize, now: Millis) -> &mut Machine {
        let due = self.machines[id].next.filter(|(at, _)| *at <= now);
        if let Some((at, state)) = due {
            self.enter(id, state, at);
        }
        &mut self.machines[id]
    }

    fn enter(&mut self, id: usize, state: At, now: Millis) {
        let rate = match state {
            At::Starting | At::Started | At::Stopping | At::Suspending | At::Restarting | At::Destroying => {
                self.prices.awake
            }
            At::Stopped | At::Suspended => self.prices.asleep,
            _ => 0,
        };
        let machine = &mut self.machines[id];
        machine.next = None;
        machine.state = state;
        if state == At::Destroyed && self.existing.remove(&id) {
            self.still_listed(Gone::machine(id), self.faults.lag, now);
        }
        let machine = &mut self.machines[id];
        let meter = std::mem::replace(&mut machine.meter, Meter { from: now, rate });
        self.billed.add(meter.from, now, meter.rate);
    }

    /// What these days have cost so far, in millionths of a dollar.
    pub(super) fn cost_micros(&self, days: RangeInclusive<u64>, now: Millis) -> i64 {
        let begin = days.start() * 24 * HOUR;
        let machines = self.existing().map(|(_, machine)| machine.meter);
        let open = machines.chain(self.existing_volumes.values().map(|volume| volume.meter));
        let open = open.map(|meter| u128::from(now.saturating_sub(meter.from.max(begin))) * u128::from(meter.rate));
        micros(self.billed.of(days) + open.sum::<u128>())
    }

    fn transient(&mut self, action: Action) -> Option<Refusal> {
        if !self.dice.permille(self.faults.transient) {
            return None;
        }
        let needs_a_look = matches!(action, Action::CreateMachine | Action::CreateVolume | Action::Restart);
        let advice = if needs_a_look { Advice::LookAgain } else { Advice::WaitAndRetry };
        Some(match self.dice.below(3) {
            0 => refusal(Advice::SlowDown, 429),
            1 => refusal(advice, 503),
            _ => Refusal { advice, status: None },
        })
    }

    /// A create may be carried out and its answer be lost.
    pub(super) fn create_volume(&mut self, name: usize, now: Millis) -> Result<usize, Refusal> {
        self.count(Action::CreateVolume, OF_APP, now);
        if let Some(refusal) = self.transient(Action::CreateVolume) {
            return Err(refusal);
        }
        if self.dice.permille(self.faults.capacity) {
            return Err(refusal(Advice::AnotherRegion, 400));
        }
        self.volumes += 1;
        let meter = Meter { from: now, rate: self.prices.volume };
        let listed_from = now + self.dice.below(self.faults.volumes_lag + 1);
        self.existing_volumes.insert(self.volumes, Volume { name, listed_from, meter });
        self.answer(self.volumes)
    }

    /// Unless it is lost.
    fn answer(&mut self, made: usize) -> Result<usize, Refusal> {
        match self.dice.permille(self.faults.ambiguous) {
            true => Err(Refusal { advice: Advice::LookAgain, status: None }),
            false => Ok(made),
        }
    }

    /// A name is given once. Whether that or the lack of room is found out first, Fly does not say.
    pub(super) fn create_machine(&mut self, name: (usize, u32), volume: usize, now: Millis) -> Result<usize, Refusal> {
        self.count(Action::CreateMachine, OF_APP, now);
        if self.faults.refuses_first {
            self.has_room()?;
        }
        self.refresh(now);
        if let Some((id, _)) = self.existing().find(|(_, machine)| machine.name == name) {
            return Err(refusal(Advice::Adopt(id.to_string()), 409));
        }
        if !self.faults.refuses_first {
            self.has_room()?;
        }
        assert!(self.existing_volumes.contains_key(&volume), "a machine with a volume that is gone");
        let listed_from = now + self.dice.below(self.faults.lag + 1);
        self.machines.push(Machine {
            name,
            state: At::Created,
            next: None,
            volume,
            boot: 0,
            is_lost: false,
            is_deaf: false,
            made: now,
            listed_from,
            meter: Meter { from: now, rate: 0 },
        });
        let id = self.machines.len() - 1;
        self.existing.insert(id);
        self.boot(id, 10 * SECOND, now);
        self.answer(id)
    }

    fn has_room(&mut self) -> Result<(), Refusal> {
        if let Some(refusal) = self.transient(Action::CreateMachine) {
            return Err(refusal);
        }
        if self.dice.permille(self.faults.quota) {
            return Err(refusal(Advice::RestRegion, 403));
        }
        if self.dice.permille(self.faults.capacity) {
            return Err(refusal(Advice::AnotherRegion, 422));
        }
        if self.dice.permille(self.faults.host_full) {
            return Err(refusal(Advice::RecreateElsewhere, 412));
        }
        Ok(())
    }

    /// A cold start; it may stick on the way, and its runner may not come up.
    fn boot(&mut self, id: usize, takes: Millis, now: Millis) {
        self.boots += 1;
        let (boot, is_deaf) = (self.boots, self.dice.permille(self.faults.deaf));
        self.enter(id, At::Starting, now);
        let is_stuck = self.dice.permille(self.faults.stuck);
        let machine = &mut self.machines[id];
        (machine.boot, machine.is_deaf) = (boot, is_deaf);
        machine.next = (!is_stuck).then_some((now + takes, At::Started));
    }

    fn order(&mut self, id: usize, action: Action, now: Millis) -> Result<At, Refusal> {
        self.count(action, id, now);
        let state = self.look(id, now).state;
        if matches!(state, At::Destroying | At::Destroyed) {
            return Err(refusal(Advice::Gone, 404));
        }
        if self.machines[id].is_lost {
            return Err(refusal(Advice::WaitAndRetry, 408));
        }
        self.transient(action).map_or(Ok(state), Err)
    }

    pub(super) fn start(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        match self.order(id, Action::Start, now)? {
            At::Suspended | At::Stopped if self.dice.permille(self.faults.host_full) => {
                Err(refusal(Advice::RecreateElsewhere, 409))
            }
            At::Suspended if !self.dice.permille(self.faults.lost_snapshot) => {
                self.enter(id, At::Started, now);
                Ok(())
            }
            At::Suspended | At::Stopped => {
                self.boot(id, 3 * SECOND, now);
                Ok(())
            }
            At::Started => Ok(()),
            _ => Err(refusal(Advice::WaitAndRetry, 412)),
        }
    }

    pub(super) fn restart(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        self.order(id, Action::Restart, now)?;
        self.boot(id, 3 * SECOND, now);
        Ok(())
    }

    pub(super) fn stop(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        self.order(id, Action::Stop, now)?;
        self.enter(id, At::Stopping, now);
        self.machines[id].next = Some((now + 2 * SECOND, At::Stopped));
        Ok(())
    }

    pub(super) fn suspend(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        match self.order(id, Action::Suspend, now)? {
            At::Started => {
                self.enter(id, At::Suspending, now);
                let is_stuck = self.dice.permille(self.faults.stuck);
                self.machines[id].next = (!is_stuck).then_some((now + SECOND, At::Suspended));
                Ok(())
            }
            At::Suspending | At::Suspended => Ok(()),
            _ => Err(refusal(Advice::LookAgain, 412)),
        }
    }

    pub(super) fn read(&mut self, id: usize, now: Millis) -> Result<At, Refusal> {
        self.count(Action::ReadMachine, id, now);
        match self.look(id, now).state {
            At::Destroyed => Err(refusal(Advice::Gone, 404)),
            state => self.transient(Action::ReadMachine).map_or(Ok(state), Err),
        }
    }

    /// By force, which helps against everything but a lost connection. It may take minutes.
    pub(super) fn destroy(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        self.count(Action::DestroyMachine, id, now);
        let state = self.look(id, now).state;
        if let Some(refusal) = self.transient(Action::DestroyMachine) {
            return Err(refusal);
        }
        if matches!(state, At::Destroying | At::Destroyed) {
            return Ok(());
        }
        if !self.dice.permille(self.faults.slow_to_go) {
            self.enter(id, At::Destroyed, now);
            return Ok(());
        }
        self.enter(id, At::Destroying, now);
        self.machines[id].next = Some((now + self.dice.below(GOING_MOST), At::Destroyed));
        Ok(())
    }

    pub(super) fn destroy_volume(&mut self, id: usize, now: Millis) -> Result<(), Refusal> {
        self.count(Action::DestroyVolume, id, now);
        if let Some(refusal) = self.transient(Action::DestroyVolume) {
            return Err(refusal);
        }
        self.refresh(now);
        if self.existing().any(|(_, machine)| machine.volume == id) {
            return Err(refusal(Advice::WaitAndRetry, 412));
        }
        if let Some(Volume { name, meter, .. }) = self.existing_volumes.remove(&id) {
            self.billed.add(meter.from, now, meter.rate);
            self.still_listed(Gone::volume(id, name), self.faults.volumes_lag, now);
        }
        Ok(())
    }
}
