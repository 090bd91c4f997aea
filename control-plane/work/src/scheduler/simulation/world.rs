//! The pool's side: rows, a queue, and the pure planners over both. Every event
//! moves one thing on; after each the promises are checked.

mod machines;
mod orphans;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::{Action, Advice, MachineState as At};
use pool::money::policy::{self as money, Allowance, Purse};
use pool::plan::{Action as Order, Closed, Facts, GivenUp, Limits, View, Wear, is_active};
use pool::recovery::{self, Boot, Booting, Case, Disk, Failed, Remedy, Rung, Sleep, Stumble, Tired, Trouble};
use pool::regions::policy::{self as order, Rest};
use wire::cost::Period;
use wire::id::{MachineId, WorkerId};
use wire::machine::MachineState as State;
use wire::task::Priority;

use super::super::order::Shares;
use super::super::plan::{Queue, Room, Snapshot, Waiting, plan};
use super::fly::{Bill, Dice, Faults, Fly, HOUR, MINUTE, Machine, Millis, OF_APP, Prices, Refusal, SECOND};
use crate::admission::Lane;
use crate::admission::policy::Rules;
use orphans::Orphans;

const REGIONS: usize = 3;
const SUSPEND_AFTER: Millis = 30 * SECOND;
const DESTROY_AFTER: Millis = 2 * HOUR;
/// How long a volume that was replaced is kept, in case something on it is still wanted.
const RELEASED_KEEP: Millis = HOUR;
/// How often the pool compares its rows with the provider's lists. Here something follows from that more seldom.
const COMPARE_EVERY: Millis = 2 * SECOND;
/// Tasks that are shown to the planner at once.
const BATCH: usize = 50;
/// A micro-dollar a second awake; the rest in the proportion that it has by default.
const PRICES: Prices = Prices { awake: 1_000_000, asleep: 35_000, volume: 132_000 };
/// How long a step's answer takes.
const LATENCY: Millis = 100;
/// How much later anything begins than a flawless pool of as many machines would begin it, where no budget keeps it
/// waiting. What a cap makes wait that is too small for the work is so told from what the planners do.
const LATE: Millis = 2 * HOUR;
/// So many that stand behind it in the queue may be begun before a task, for the sake of what machines hold. However long a
/// small budget keeps all waiting, nobody starves by that.
const OVERTAKEN: usize = 12;

/// What is simulated.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) arrivals: usize,
    pub(super) span: Millis,
    pub(super) faults: Faults,
    pub(super) cap: usize,
    pub(super) warm: usize,
    /// Whether a day's budget is felt, and a month's besides.
    pub(super) is_poor: bool,
    pub(super) is_poor_for_long: bool,
    /// So many machines a budget has the storage of, all the time.
    pub(super) stored: usize,
    pub(super) host_failures: u64,
    pub(super) dice: Dice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    Plan,
    /// Look whether a row needs a step.
    Step(usize),
    /// The step's call is made.
    Call(usize),
    /// A runner has come up, in this boot.
    Report {
        row: usize,
        boot: u64,
    },
    /// A worker has done its task, in this boot.
    Done {
        row: usize,
        boot: u64,
        task: usize,
    },
    /// A worker has saved what it had.
    Saved(usize),
    /// Nobody has heard of the machine for five minutes.
    Silent {
        row: usize,
        boot: u64,
    },
    Watch,
    HostFails,
}

#[derive(Debug, Clone)]
struct Task {
    arrived: Millis,
    takes: Millis,
    /// When a flawless pool would begin it: one of as many machines, which are always awake and never fail.
    ideal: Millis,
    repository: String,
    on: Option<usize>,
    /// How many that came later were begun while it waited.
    overtaken: usize,
    done: bool,
}

/// What a run came to: also whether what it is to prove anything about happened at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The longest that anybody waited.
    pub(super) longest: Millis,
    /// Machines that were made anew, and given up.
    pub(super) made_anew: u64,
    pub(super) given_up: u64,
    /// Machines that a budget put to sleep, and that were replaced for their age or work.
    pub(super) saved: u64,
    pub(super) retired: u64,
    /// Work that was lost with its machine and given out again.
    pub(super) lost: u64,
    /// Machines that were stuck for ten minutes.
    pub(super) stuck: u64,
    /// Looks at machines that were not gone yet, and things of Fly that no row knew.
    pub(super) slow_to_go: u64,
    pub(super) orphans: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.longest = self.longest.max(other.longest);
        self.made_anew += other.made_anew;
        self.given_up += other.given_up;
        self.saved += other.saved;
        self.retired += other.retired;
        self.lost += other.lost;
        self.stuck += other.stuck;
        self.slow_to_go += other.slow_to_go;
        self.orphans += other.orphans;
    }
}

/// A row of the registry.
#[derive(Debug, Clone)]
struct Row {
    state: State,
    since: Millis,
    machine: Option<usize>,
    former: Option<usize>,
    volume: Option<usize>,
    volume_name: usize,
    old_volumes: Vec<Released>,
    region: usize,
    generation: u32,
    rung: Rung,
    failures: i32,
    restarts: i32,
    report_by: Option<Millis>,
    next_try: Millis,
    in_flight: bool,
    /// The call that had its turn.
    granted: Option<(Action, usize)>,
    task: Option<usize>,
    idle_since: Option<Millis>,
    made_at: Option<Millis>,
    executions: i64,
    is_retiring: bool,
    repository: Option<String>,
    heard_boot: u64,
    stuck: i32,
    /// Whether a worker has had its volume.
    is_used: bool,
    refusals: u32,
    rests_until: Millis,
}

/// A volume that was replaced.
#[derive(Debug, Clone, Copy)]
struct Released {
    id: Option<usize>,
    name: usize,
    since: Millis,
}

pub(super) struct World {
    scenario: Scenario,
    now: Millis,
    events: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    number: u64,
    fly: Fly,
    tasks: Vec<Task>,
    undone: usize,
    waiting: VecDeque<usize>,
    rows: Vec<Row>,
    /// The rows that may have something left: of a week most have not.
    open: BTreeSet<usize>,
    limits: Limits,
    rests: BTreeMap<usize, (Millis, u32)>,
    given_up: Option<(u32, Millis)>,
    orphans: Orphans,
    /// How many names of volumes were given.
    volumes: usize,
    plan_due: Option<Millis>,
    turns: BTreeMap<(Action, usize), Millis>,
    /// When the next comparison asks for each list.
    comparisons: BTreeMap<Action, Millis>,
    ledger: Bill,
    accrued_until: Vec<Millis>,
    last_arrival: Millis,
    /// When a task last ended.
    last_end: Millis,
    /// Millionths of a dollar, and for how long.
    budgets: Vec<(Period, i64)>,
    seen: Seen,
}

impl World {
    pub(super) fn new(mut scenario: Scenario) -> Self {
        let mut dice = scenario.dice.clone();
        let fly = Fly::new(Dice(dice.roll()), scenario.faults, PRICES);
        let budgets = scenario.is_poor.then(|| (Period::Day, awake_of_day(&scenario) + stored_of_day(&scenario)));
        scenario.dice = dice;
        Self {
            now: 0,
            events: BinaryHeap::new(),
            number: 0,
            fly,
            tasks: Vec::new(),
            undone: scenario.arrivals,
            waiting: VecDeque::new(),
            rows: Vec::new(),
            open: BTreeSet::new(),
            limits: limits(scenario.cap),
            rests: BTreeMap::new(),
            given_up: None,
            orphans: Orphans::new(),
            volumes: 0,
            plan_due: None,
            turns: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            ledger: Bill::default(),
            accrued_until: Vec::new(),
            last_arrival: 0,
            last_end: 0,
            budgets: budgets.into_iter().collect(),
            seen: Seen::default(),
            scenario,
        }
    }

    /// Runs until nothing is left.
    pub(super) fn run(mut self) -> Seen {
        self.sow();
        let mut ended_by = None;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            self.happen(event);
            self.check();
            if self.is_over() {
                ended_by = Some(at);
                break;
            }
            // Everything had its time: arrivals, a budget's days, and the sleep before the end. However long a small
            // budget takes with much work, some of it ends.
            let since = if self.budgets.is_empty() { self.last_arrival } else { self.last_arrival.max(self.last_end) };
            let days = if self.scenario.is_poor_for_long { 24 + 31 } else { 24 };
            assert!(at < since + days * 24 * HOUR, "no end: {:?}", self.left());
        }
        assert!(ended_by.is_some(), "it stands still: {:?}", self.left());
        assert!(self.tasks.iter().all(|task| task.done), "tasks were lost: {:?}", self.left());
        assert_eq!(self.fly.existing().len(), 0, "a machine leaked");
        assert!(!self.fly.has_volumes(), "a volume leaked");
        self.seen
    }

    fn sow(&mut self) {
        let (arrivals, span) = (self.scenario.arrivals, self.scenario.span);
        let mut at = 0;
        let mut free: BinaryHeap<Reverse<Millis>> = (0..self.scenario.cap).map(|_| Reverse(0)).collect();
        for task in 0..arrivals {
            // Some come in bursts, and some work is long.
            let gap = 2 * span / u64::try_from(arrivals).unwrap_or(1);
            at += if self.scenario.dice.permille(300) { 0 } else { self.scenario.dice.below(gap.max(1)) };
            let most = if self.scenario.dice.permille(50) { 20 * MINUTE } else { 3 * MINUTE };
            let takes = SECOND + self.scenario.dice.below(most);
            let repository = format!("r{}", self.scenario.dice.below(6));
            let ideal = free.pop().map_or(at, |Reverse(from)| from.max(at));
            free.push(Reverse(ideal + takes));
            self.tasks.push(Task { arrived: at, takes, ideal, repository, on: None, overtaken: 0, done: false });
            self.at(at, Event::Arrive(task));
        }
        self.last_arrival = at;
        if self.scenario.is_poor && self.scenario.is_poor_for_long {
            // So that it takes some months.
            let work: u64 = self.tasks.iter().map(|task| task.takes).sum();
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let work = money::cost_micros(PRICES.awake, work as f64 / 1e3);
            let awake = (2 * awake_of_day(&self.scenario)).max(work / 3);
            self.budgets.push((Period::Month, awake + 31 * stored_of_day(&self.scenario)));
        }
        for _ in 0..self.scenario.host_failures {
            let when = self.scenario.dice.below(at.max(1));
            self.at(when, Event::HostFails);
        }
        self.at(0, Event::Watch);
    }

    fn at(&mut self, at: Millis, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at.max(self.now), self.number, event)));
    }

    fn plan_soon(&mut self, after: Millis) {
        let at = self.now + after;
        if self.plan_due.is_none_or(|due| due > at || due < self.now) {
            self.plan_due = Some(at);
            self.at(at, Event::Plan);
        }
    }

    fn is_over(&self) -> bool {
        self.now > self.last_arrival
            && self.undone == 0
            && !self.open.iter().any(|row| self.rows[*row].is_open())
            && self.fly.existing().len() == 0
            && !self.fly.has_volumes()
    }

    /// The rows of machines that are not destroyed.
    fn live(&self) -> impl Iterator<Item = (usize, &Row)> {
        let rows = self.open.iter().map(|number| (*number, &self.rows[*number]));
        rows.filter(|(_, row)| row.state != State::Destroyed)
    }

    fn left(&self) -> String {
        let (undone, rows) = (self.undone, self.live().collect::<Vec<_>>());
        format!("{undone} tasks, at {} ms, {rows:?}", self.now)
    }

    /// The promises, after every step.
    fn check(&mut self) {
        if self.is_within_bounds() {
            return;
        }
        // Something may be over that nobody has looked at since.
        self.fly.refresh(self.now);
        let existing = self.fly.existing().len();
        assert!(existing <= self.scenario.cap, "{existing} machines and a cap of {}", self.scenario.cap);
        for (period, budget) in &self.budgets {
            let cost = self.fly.cost_micros(self.days_of(*period), self.now);
            assert!(cost <= *budget, "{cost} spent of {budget} in a {period}");
        }
    }

    fn is_within_bounds(&self) -> bool {
        let is_paid =
            |(period, budget): &(Period, i64)| self.fly.cost_micros(self.days_of(*period), self.now) <= *budget;
        self.fly.existing().len() <= self.scenario.cap && self.budgets.iter().all(is_paid)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(task) => {
                self.waiting.push_back(task);
                self.plan_soon(200);
            }
            Event::Plan => {
                if self.plan_due == Some(self.now) {
                    self.plan_due = None;
                    self.decide();
                }
            }
            Event::Step(row) => self.step(row),
            Event::Call(row) => self.call(row),
            Event::Report { row, boot } => self.report(row, boot),
            Event::Done { row, boot, task } => self.done(row, boot, task),
            Event::Saved(row) => {
                if self.rows[row].state == State::Draining {
                    self.shift(row, State::Suspending);
                }
            }
            Event::Silent { row, boot } => self.silent(row, boot),
            Event::Watch => self.watch(),
            Event::HostFails => self.host_fails(),
        }
    }

    // What the scheduler does.

    fn decide(&mut self) {
        let now = time(self.now);
        self.accrue_all();
        self.accrue_orphans();
        let snapshot = self.snapshot();
        let plan = plan(&snapshot, now);
        for order in plan.machines {
            self.order(order);
        }
        for assignment in plan.assignments {
            self.assign(index(assignment.task.uuid()), index(assignment.worker.uuid()));
        }
        // What is decided by time alone.
        if self.live().any(|(_, row)| row.state == State::Ready && row.task.is_none()) {
            self.plan_soon(SUSPEND_AFTER);
        }
        if self.live().next().is_some() || !self.waiting.is_empty() {
            self.plan_soon(5 * MINUTE);
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let waiting: Vec<Waiting> = self
            .waiting
            .iter()
            .take(BATCH)
            .map(|task| Waiting {
                task: id(*task).into(),
                priority: Priority::default(),
                created_at: time(self.tasks[*task].arrived),
                repository: self.tasks[*task].repository.clone(),
                machine: None,
                estimate_micros: 0,
            })
            .collect();
        let free = |row: &Row| row.state == State::Ready && row.task.is_none() && !row.is_retiring;
        let room = |(number, row): (usize, &Row)| Room {
            worker: WorkerId::from(id(number)),
            machine: Some(id(number).into()),
            free: 1,
            repositories: row.repository.iter().cloned().collect(),
        };
        Snapshot {
            queues: vec![Queue { lane: Lane::of(id(0).into(), None, &[]), tasks: waiting }],
            rules: Rules::default(),
            shares: Shares::default(),
            rooms: self.live().filter(|(_, row)| free(row)).map(room).collect(),
            machines: self.view(),
            limits: self.limits,
        }
    }

    fn view(&mut self) -> View {
        let strangers = self.strangers();
        let facts = |(number, row): (usize, &Row)| Facts {
            id: MachineId::from(id(number)),
            state: row.state,
            state_since: time(row.since),
            refusals: i32::try_from(row.refusals).expect("few"),
            load: i32::from(row.task.is_some()),
            idle_since: row.idle_since.map(time),
            repositories: row.repository.iter().cloned().collect(),
            wear: Wear {
                made_at: row.made_at.map(time),
                executions: row.executions,
                is_outdated: false,
                is_retiring: row.is_retiring,
            },
        };
        View {
            machines: self.live().map(facts).collect(),
            strangers,
            given_up: self.given_up.filter(|(_, last)| last + 10 * MINUTE > self.now).map(|(count, last)| GivenUp {
                count,
                last: time(last),
                error: "no".into(),
            }),
            // Nobody is kept warm for ever, or it would never end.
            warm: if self.now < self.last_arrival { self.scenario.warm } else { 0 },
            purse: self.purse(),
            closed: None,
            full: order::all_rest(&regions(), &self.resting(), time(self.now)).map(Closed::from),
            resting: self.live().filter_map(|(number, row)| Some((id(number).into(), self.rest_of(row)?))).collect(),
            without_room: self
                .live()
                .filter(|(_, row)| self.is_full(row))
                .map(|(number, _)| id(number).into())
                .collect(),
            kept: BTreeSet::new(),
        }
    }

    fn purse(&self) -> Purse {
        let allowance = |(period, budget_micros): &(Period, i64)| Allowance {
            period: *period,
            budget_micros: *budget_micros,
            spent_micros: self.ledger.micros(self.days_of(*period)),
            ends_at: money::end(*period, time(self.now)),
        };
        // Each machine that there is has a volume, or is to have one.
        let machines = self.live().count() as u64;
        let replaced: usize = self.open.iter().map(|row| self.rows[*row].old_volumes.len()).sum();
        let (going, stored) = self.orphans_cost();
        Purse {
            allowances: self.budgets.iter().map(allowance).collect(),
            awake_rate: PRICES.awake,
            new_storage_rate: PRICES.asleep + PRICES.volume,
            storage_rate: machines * (PRICES.asleep + PRICES.volume) + replaced as u64 * PRICES.volume + stored,
            going: going + self.live().filter(|(_, row)| row.state == State::Destroying).count(),
        }
    }

    /// Whether another disk may be made for a machine that is on its way, as the pool asks.
    fn pays_for_disk(&self) -> bool {
        let awake = self.live().filter(|(_, row)| is_active(row.state)).count();
        self.purse().pays_for_disk(PRICES.volume, awake, time(self.now), self.limits.budget_reserve)
    }

    /// Today, or the days of this month until today.
    fn days_of(&self, period: Period) -> RangeInclusive<u64> {
        let began = millis(money::begin(period, time(self.now)));
        began / (24 * HOUR)..=self.now / (24 * HOUR)
    }

    /// Why a machine cannot be had for now, if it cannot.
    fn rest_of(&self, row: &Row) -> Option<Closed> {
        (row.rests_until > self.now).then(|| Closed { until: time(row.rests_until), why: "no room".into() })
    }

    /// Whether its region gives no machine for now.
    fn is_full(&self, row: &Row) -> bool {
        self.rests.get(&row.region).is_some_and(|(until, _)| *until > self.now)
    }

    fn resting(&self) -> Vec<Rest> {
        let rest = |(region, (until, _)): (&usize, &(Millis, u32))| Rest {
            region: region_name(*region),
            until: time(*until),
            why: "full".into(),
        };
        self.rests.iter().map(rest).collect()
    }

    /// Cap and budget hold in the transaction that writes, as they do in the pool.
    fn order(&mut self, order: Order) {
        match order {
            Order::Create => {
                let rows = self.live().count();
                let rests = self.resting();
                let region = order::choose(&regions(), &rests, time(self.now), None).map(region_number);
                let strangers = self.strangers();
                let Some(region) = region.filter(|_| rows + strangers < self.scenario.cap) else { return };
                self.open.insert(self.rows.len());
                let volume_name = self.new_volume();
                self.rows.push(Row { volume_name, ..Row::new(region, self.now) });
                self.accrued_until.push(self.now);
                self.at(self.now, Event::Step(self.rows.len() - 1));
            }
            Order::Resume(id) => self.shift_from(id, State::Suspended, State::Resuming),
            Order::Keep(id) => self.shift_from(id, State::Draining, State::Ready),
            Order::Drain(id) => self.shift_from(id, State::Ready, State::Draining),
            Order::Destroy(id) => self.shift_from(id, State::Suspended, State::Destroying),
            Order::Suspend(id) => {
                self.seen.saved += 1;
                self.shift_from(id, State::Ready, State::Suspending);
                self.shift_from(id, State::Draining, State::Suspending);
            }
            Order::Retire(id, _) => {
                let row = index(id.uuid());
                self.seen.retired += 1;
                self.rows[row].is_retiring = true;
                match self.rows[row].state {
                    State::Suspended => self.make_anew(row, Disk::Keep, self.rows[row].region, Rung::Look),
                    _ => self.plan_soon(SECOND),
                }
            }
        }
    }

    fn assign(&mut self, task: usize, row: usize) {
        assert!(self.tasks[task].on.is_none() && !self.tasks[task].done, "task {task} would run twice");
        let Some(at) = self.waiting.iter().position(|waits| *waits == task) else {
            panic!("task {task} does not wait")
        };
        for passed in self.waiting.iter().take(at) {
            self.tasks[*passed].overtaken += 1;
            assert!(self.tasks[*passed].overtaken <= OVERTAKEN, "task {passed} is passed over for task {task}");
        }
        self.waiting.remove(at);
        let waited = self.now - self.tasks[task].arrived;
        self.seen.longest = self.seen.longest.max(waited);
        let late = self.now - self.tasks[task].ideal.max(self.tasks[task].arrived);
        assert!(
            !self.budgets.is_empty() || late < LATE,
            "task {task} has waited for {waited} ms, {late} ms of it needlessly"
        );
        self.tasks[task].on = Some(row);
        let machine = self.rows[row].machine.expect("a ready machine");
        let boot = self.fly.look(machine, self.now).boot;
        let known = &mut self.rows[row];
        assert!(known.task.is_none() && known.state == State::Ready, "{known:?}");
        known.task = Some(task);
        known.idle_since = None;
        known.executions += 1;
        known.repository = Some(self.tasks[task].repository.clone());
        self.at(self.now + self.tasks[task].takes, Event::Done { row, boot, task });
    }

    fn done(&mut self, row: usize, boot: u64, task: usize) {
        let is_running = |machine: &Machine| machine.boot == boot && machine.state == At::Started && !machine.is_lost;
        if self.rows[row].task != Some(task) || self.tasks[task].on != Some(row) {
            return;
        }
        let Some(machine) = self.rows[row].machine else { return };
        let there = self.fly.look(machine, self.now).clone();
        if !is_running(&there) {
            // It is lost, and found out.
            return;
        }
        assert!(!self.tasks[task].done, "task {task} ran twice");
        self.tasks[task].done = true;
        self.undone -= 1;
        self.last_end = self.now;
        self.tasks[task].on = None;
        self.rows[row].task = None;
        self.rows[row].idle_since = Some(self.now);
        self.plan_soon(200);
    }

    /// What a worker had is lost and waits anew, before all others.
    fn lose_work(&mut self, row: usize) {
        if let Some(task) = self.rows[row].task.take()
            && self.tasks[task].on == Some(row)
        {
            self.seen.lost += 1;
            self.tasks[task].on = None;
            self.waiting.push_front(task);
            self.plan_soon(200);
        }
    }
}

impl Row {
    fn new(region: usize, now: Millis) -> Self {
        Self {
            state: State::Creating,
            since: now,
            machine: None,
            former: None,
            volume: None,
            volume_name: 0,
            old_volumes: Vec::new(),
            region,
            generation: 0,
            rung: Rung::Look,
            failures: 0,
            restarts: 0,
            report_by: None,
            next_try: now,
            in_flight: false,
            granted: None,
            task: None,
            idle_since: None,
            made_at: None,
            executions: 0,
            is_retiring: false,
            repository: None,
            heard_boot: 0,
            stuck: 0,
            is_used: false,
            refusals: 0,
            rests_until: 0,
        }
    }

    /// Whether it was ordered to boot and nobody has looked at it since.
    fn is_first_look(&self) -> bool {
        recovery::is_first_look(self.report_by.map(time), self.failures, self.restarts)
    }

    /// Whether something of it is left.
    fn is_open(&self) -> bool {
        self.state != State::Destroyed || !self.old_volumes.is_empty()
    }
}

fn limits(cap: usize) -> Limits {
    Limits::from(&pool::Settings {
        machines_max: cap,
        suspend_after: Duration::from_millis(SUSPEND_AFTER),
        destroy_after: Duration::from_millis(DESTROY_AFTER),
        machine_age_max: Duration::from_secs(6 * 3_600),
        machine_executions_max: 60,
        ..pool::Settings::default()
    })
}

/// So that a day's budget is felt: little more than half an hour of all machines awake.
fn awake_of_day(scenario: &Scenario) -> i64 {
    i64::try_from(scenario.cap).unwrap_or(1) * 86_400 / 40 + 6_000
}

/// For the storage of so many machines.
fn stored_of_day(scenario: &Scenario) -> i64 {
    let rate = (PRICES.asleep + PRICES.volume) * scenario.stored as u64;
    money::cost_micros(rate, 86_400.0)
}

fn time(at: Millis) -> DateTime<Utc> {
    // A midnight.
    let begin = DateTime::from_timestamp(1_794_960_000, 0).expect("in range");
    begin + TimeDelta::milliseconds(i64::try_from(at).expect("in range"))
}

fn millis(at: DateTime<Utc>) -> Millis {
    u64::try_from((at - time(0)).num_milliseconds()).unwrap_or(0)
}

fn millis_of(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).expect("in range")
}

fn id(number: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128(number as u128)
}

fn index(id: uuid::Uuid) -> usize {
    usize::try_from(id.as_u128()).expect("one of ours")
}

fn region_name(region: usize) -> String {
    ["iad", "ewr", "ord"][region].to_owned()
}

fn region_number(name: &str) -> usize {
    (0..REGIONS).find(|region| region_name(*region) == name).expect("one of ours")
}

fn regions() -> Vec<String> {
    (0..REGIONS).map(region_name).collect()
}
