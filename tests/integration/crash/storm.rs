//! The storm: kills at random moments, and meanwhile people who submit tasks,
//! agents that claim some and complete them, and programs that append events, each
//! until it is acknowledged.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::control::Control;
use client::events::EventStore;
use kit::Chance;
use tokio::time::interval;
use wire::claim::{Claim, NewClaim};
use wire::event::Event;
use wire::execution::ExecutionResult;
use wire::id::{EventId, ExecutionId, TaskId};
use wire::limit::LEASE_SECONDS_MIN;
use wire::task::NewTask;
use world::{PATIENCE, Process, Service, World, note, until};

use super::say;

/// Kills come so many beats after each other, up to the second number.
const BEAT: Duration = Duration::from_millis(25);
const BEATS: (u64, u64) = (2, 14);
/// A storm that finds no runner to kill, for none lives long enough, goes on until so many times the kills.
const KILLS_AT_MOST: usize = 5;

/// How bad it gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storm {
    pub(super) tasks: usize,
    /// Tasks that agents outside the pool claim.
    pub(super) claims: usize,
    /// So many at least, and on until everything was hit.
    pub(super) kills: usize,
    /// What is killed; what is named twice is killed twice as often.
    pub(super) targets: &'static [Target],
}

/// What the system has promised during the storm.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Tasks, and what each one's command writes to standard output.
    pub(super) tasks: BTreeMap<TaskId, String>,
    /// Tasks that were claimed, and the execution whose end was acknowledged.
    pub(super) claimed: BTreeMap<TaskId, ExecutionId>,
    pub(super) events: Vec<EventId>,
}

/// Something to kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Program(Service),
    Runner,
}

impl Storm {
    pub(super) async fn rage(self, world: &mut World, chance: &Chance) -> Acknowledged {
        let kills = AtomicUsize::new(0);
        let scripts: Vec<Script> = (0..self.tasks).map(|number| Script::new(world, number, chance)).collect();
        let (control, store) = (world.control(), world.events());
        let clock = kit::Clock::system();
        let events = async {
            let mut acknowledged = Vec::new();
            let mut beat = interval(BEAT);
            while kills.load(Ordering::Relaxed) < self.kills {
                beat.tick().await;
                let event = note(EventId::mint(clock.now(), Chance::system().bytes()));
                acknowledged.extend(append(&store, event).await);
            }
            acknowledged
        };
        let tasks = async {
            let mut acknowledged = BTreeMap::new();
            for (number, script) in scripts.into_iter().enumerate() {
                // Spread over the storm, so that there is always something to lose.
                let due = number * self.kills / self.tasks;
                let patience = 2 * PATIENCE;
                until("the storm goes on", patience, async || (kills.load(Ordering::Relaxed) >= due).then_some(()))
                    .await;
                acknowledged.insert(submit(&control, &script.task, number).await, script.writes);
            }
            acknowledged
        };
        let claimed = async {
            let claimed = RefCell::new(BTreeMap::new());
            let submitted = async {
                for number in 0..self.claims {
                    let due = number * self.kills / self.claims;
                    let what = "the storm goes on";
                    until(what, 2 * PATIENCE, async || (kills.load(Ordering::Relaxed) >= due).then_some(())).await;
                    submit(&control, &for_claims(number), 1_000 + number).await;
                }
            };
            let claimer = |name: &'static str| claim_until(&control, name, self.claims, &claimed);
            tokio::join!(submitted, claimer("one"), claimer("two"));
            claimed.into_inner()
        };
        let ((), tasks, events, claimed) = tokio::join!(self.kill(world, chance, &kills), tasks, events, claimed);
        Acknowledged { tasks, claimed, events }
    }

    async fn kill(self, world: &mut World, chance: &Chance, kills: &AtomicUsize) {
        let mut hits: BTreeMap<Target, usize> = BTreeMap::new();
        let mut beat = interval(BEAT);
        let is_over = |hits: &BTreeMap<Target, usize>, so_far| {
            let spared_none = self.targets.iter().all(|target| hits.contains_key(target));
            so_far >= self.kills && (spared_none || so_far >= KILLS_AT_MOST * self.kills)
        };
        while !is_over(&hits, kills.load(Ordering::Relaxed)) {
            for _ in 0..BEATS.0 + chance.below(BEATS.1 - BEATS.0) {
                beat.tick().await;
            }
            let target = self.targets[pick(chance, self.targets.len())];
            let is_hit = match target {
                Target::Program(service) => {
                    world.kill(service).await;
                    world.launch(service);
                    true
                }
                Target::Runner => kill_one(&world.runners(), chance),
            };
            if is_hit {
                *hits.entry(target).or_default() += 1;
                kills.fetch_add(1, Ordering::Relaxed);
            }
        }
        say(&format!("killed: {hits:?}"));
        assert!(self.targets.iter().all(|target| hits.contains_key(target)), "somebody was spared: {hits:?}");
    }
}

fn pick(chance: &Chance, of: usize) -> usize {
    usize::try_from(chance.below(of as u64)).expect("is smaller than a length")
}

fn kill_one(runners: &[Process], chance: &Chance) -> bool {
    let Some(runner) = runners.get(pick(chance, runners.len())) else { return false };
    runner.kill();
    true
}

/// A task that takes its time, and what it writes.
struct Script {
    task: NewTask,
    writes: String,
}

impl Script {
    fn new(world: &World, number: usize, chance: &Chance) -> Self {
        let lines = 5 + pick(chance, 10);
        let writes = (1..=lines).map(|line| format!("task {number} line {line}\n")).collect();
        let script = format!(
            "i=1; while [ $i -le {lines} ]; do echo task {number} line $i; echo aside >&2; i=$((i+1)); sleep 0.06; done"
        );
        Self { task: world.script(&script), writes }
    }
}

/// A task that no machine of the pool takes.
fn for_claims(number: usize) -> NewTask {
    let text = format!("{{\"title\": \"claimed {number}\"}}");
    serde_json::from_str(&text).expect("a task")
}

/// Claims and completes until so many ends were acknowledged, whoever claimed them.
async fn claim_until(control: &Control, name: &str, count: usize, claimed: &RefCell<BTreeMap<TaskId, ExecutionId>>) {
    let claim = NewClaim {
        worker: Some(name.to_owned()),
        lease_seconds: Some(LEASE_SECONDS_MIN),
        start: true,
        wait_seconds: Some(1),
        ..NewClaim::default()
    };
    let mut beat = interval(BEAT);
    while claimed.borrow().len() < count {
        beat.tick().await;
        // What a lost answer took is ready again when its lease has run out.
        let claims = match control.claim(&claim).await {
            Ok(claims) => claims,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                continue;
            }
        };
        for claim in claims {
            if complete(control, &claim).await {
                let earlier = claimed.borrow_mut().insert(claim.task.id, claim.execution_id);
                assert_eq!(earlier, None, "a task was completed twice");
            }
        }
    }
}

/// Completes until it is acknowledged, or refused because the lease was lost.
async fn complete(control: &Control, claim: &Claim) -> bool {
    let result = ExecutionResult {
        success: true,
        fence: Some(claim.fence),
        cost_dollars: None,
        tokens: None,
        error_message: None,
    };
    until("a completion is answered", PATIENCE, async || {
        match control.complete_execution(claim.execution_id, &result).await {
            Ok(_) => Some(true),
            Err(error) if error.code() == Some("lease_lost") => Some(false),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                None
            }
        }
    })
    .await
}

/// Submits until it is acknowledged; the key makes one task of however many tries.
async fn submit(control: &Control, task: &NewTask, number: usize) -> TaskId {
    let key = format!("storm-{number}");
    let what = format!("task {number} is accepted");
    until(&what, PATIENCE, async || match control.submit(task, &key).await {
        Ok(task) => Some(task.id),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    })
    .await
}

/// Appends once; nothing is promised unless it is acknowledged.
async fn append(store: &EventStore, event: Event) -> Option<EventId> {
    match store.append(std::slice::from_ref(&event)).await {
        Ok(appended) => Some(appended.events[0].id),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    }
}
