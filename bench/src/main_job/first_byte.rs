//! From the submission of a task to the first byte of its command's output on
//! the stream that `bifrost run` reads, and where the time goes in between.
//!
//! The parts are the differences between the times that the events themselves
//! carry; all processes are on one computer and so go by one clock.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use client::sse::Messages;
use kit::{Chance, Clock};
use serde_json::json;
use tokio::time::{sleep, timeout};
use wire::event::{LogPayload, PhasePayload, StoredEvent, kind};
use wire::execution::{Cache, Phase};
use wire::machine::MachineState;
use wire::task::{NewTask, TaskView};

use super::told::Told;
use crate::report::{Report, milliseconds};
use crate::repository::Repository;
use crate::system::System;

/// The longest one round may take.
const ROUND_LIMIT: Duration = Duration::from_secs(60);
/// Before each round, so that what the one before left to do is done: the system is idle, as measured.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at the machines.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A part of the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// In the table.
    pub(super) shown: &'static str,
    /// In JSON.
    key: &'static str,
}

/// The parts, in order. Each ends where the next begins.
pub(super) const PARTS: [Part; 7] = [
    Part { shown: "  submit: until the task is stored", key: "submit" },
    Part { shown: "  queue: until it is given to a worker", key: "queue" },
    Part { shown: "  hand over: until the runner begins", key: "hand_over" },
    Part { shown: "  clone: until the commit is checked out", key: "clone" },
    Part { shown: "  dependencies: until they are ready", key: "dependencies" },
    Part { shown: "  command: until the runner has its first byte", key: "command" },
    Part { shown: "  record: until the reader of the stream has it", key: "record" },
];

/// Whether the machine sleeps when a task is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asleep {
    /// It stays awake.
    Never,
    /// It went to sleep after the task before.
    BeforeEach,
}

/// What one round took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    pub(super) total: f64,
    pub(super) parts: [f64; PARTS.len()],
}

/// Runs one task to make a machine that holds the repository, then measures so many.
pub(super) async fn rounds(
    system: &System,
    repository: &Repository,
    rounds: usize,
    asleep: Asleep,
    name: &str,
    report: &Report,
) -> anyhow::Result<Vec<Round>> {
    let task = repository.task("echo x", vec!["echo".into(), "x".into()]);
    timeout(ROUND_LIMIT, round(system, &task)).await.context("the first task takes too long")??;
    let mut found = Vec::with_capacity(rounds);
    for number in 0..rounds {
        rest(system, asleep).await?;
        let (round, ended) = timeout(ROUND_LIMIT, round(system, &task)).await.context("a task takes too long")??;
        ensure!(has_cached_clone(&ended), "the task ran where its repository was not held: {ended:?}");
        let parts: serde_json::Map<_, _> =
            PARTS.iter().zip(round.parts).map(|(part, took)| (part.key.to_owned(), took.into())).collect();
        report.row(&json!({ "measured": name, "round": number, "ms": round.total, "parts": parts }))?;
        found.push(round);
    }
    Ok(found)
}

/// Waits until the machine stands as it should before a task.
async fn rest(system: &System, asleep: Asleep) -> anyhow::Result<()> {
    let resting = async {
        while asleep == Asleep::BeforeEach && !all_suspended(system).await? {
            sleep(LOOK_EVERY).await;
        }
        sleep(PAUSE).await;
        Ok(())
    };
    timeout(ROUND_LIMIT, resting).await.context("the machine does not go to sleep")?
}

async fn all_suspended(system: &System) -> anyhow::Result<bool> {
    let machines = system.control.machines().await?;
    Ok(machines.iter().all(|machine| machine.state == MachineState::Suspended))
}

fn has_cached_clone(task: &TaskView) -> bool {
    let phases = task.execution.as_ref().map(|execution| execution.phases.as_slice()).unwrap_or_default();
    phases.iter().any(|timing| timing.phase == Phase::Clone && timing.cache == Some(Cache::Hit))
}

/// Submits the task and follows it to its end, as `bifrost run` does.
async fn round(system: &System, task: &NewTask) -> anyhow::Result<(Round, TaskView)> {
    let clock = Clock::system();
    let idempotency_key = Chance::system().hex::<16>();
    let mut marks = Marks::default();
    let began = Instant::now();
    marks.submitted_at = Some(clock.now());
    let submitted = system.control.submit(task, &idempotency_key).await?;
    let mut messages = system.control.logs(submitted.id, None, true, None).await?;
    loop {
        let Told::Event(event) = Told::next(&mut messages).await? else { bail!("the task ended without output") };
        marks.take(&event);
        if event.kind == kind::EXECUTION_LOG {
            let output: LogPayload = serde_json::from_str(event.payload.get())?;
            ensure!(output.data.to_bytes() == b"x\n", "the command wrote something else: {output:?}");
            break;
        }
    }
    let total = milliseconds(began.elapsed());
    marks.read_at = Some(clock.now());
    let parts = marks.parts().context("an event of the way is missing")?;
    Ok((Round { total, parts }, ended(&mut messages).await?))
}

async fn ended(messages: &mut Messages) -> anyhow::Result<TaskView> {
    loop {
        if let Told::End(task) = Told::next(messages).await? {
            return Ok(*task);
        }
    }
}

/// When each part of the way ended.
#[derive(Debug, Default, PartialEq)]
struct Marks {
    submitted_at: Option<DateTime<Utc>>,
    stored_at: Option<DateTime<Utc>>,
    assigned_at: Option<DateTime<Utc>>,
    begun_at: Option<DateTime<Utc>>,
    cloned_at: Option<DateTime<Utc>>,
    prepared_at: Option<DateTime<Utc>>,
    written_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
}

impl Marks {
    fn take(&mut self, event: &StoredEvent) {
        let at = match event.kind.as_str() {
            kind::TASK_SUBMITTED => &mut self.stored_at,
            kind::TASK_ASSIGNED => &mut self.assigned_at,
            kind::EXECUTION_LOG => &mut self.written_at,
            kind::EXECUTION_PHASE => {
                let Ok(phase) = serde_json::from_str::<PhasePayload>(event.payload.get()) else { return };
                match (phase.phase, phase.micros.is_some()) {
                    (Phase::Clone, false) => &mut self.begun_at,
                    (Phase::Clone, true) => &mut self.cloned_at,
                    (Phase::Dependencies, true) => &mut self.prepared_at,
                    _ => return,
                }
            }
            _ => return,
        };
        *at = Some(event.created_at);
    }

    /// The parts in milliseconds, once every mark is there.
    fn parts(&self) -> Option<[f64; PARTS.len()]> {
        let marks = [
            self.submitted_at?,
            self.stored_at?,
            self.assigned_at?,
            self.begun_at?,
            self.cloned_at?,
            self.prepared_at?,
            self.written_at?,
            self.read_at?,
        ];
        let mut parts = [0.0; PARTS.len()];
        for (part, pair) in parts.iter_mut().zip(marks.windows(2)) {
            *part = (pair[1] - pair[0]).as_seconds_f64() * 1_000.0;
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, at_ms: i64, payload: serde_json::Value) -> StoredEvent {
        let event = json!({ "seq": 1, "id": "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70", "type": kind, "producer": "p",
            "created_at": DateTime::from_timestamp_millis(at_ms), "schema_version": 1, "payload": payload });
        serde_json::from_str(&event.to_string()).expect("an event as the store gives it")
    }

    #[test]
    fn the_parts_are_the_spans_between_the_events() {
        let at = DateTime::from_timestamp_millis;
        let mut marks = Marks { submitted_at: at(0), ..Marks::default() };
        for event in [
            event("task.submitted", 1, json!({})),
            event("task.assigned", 3, json!({})),
            event("task.started", 4, json!({})),
            event("execution.phase", 6, json!({ "phase": "clone" })),
            event("execution.phase", 10, json!({ "phase": "clone", "micros": 4_000 })),
            event("execution.phase", 11, json!({ "phase": "dependencies" })),
            event("execution.phase", 15, json!({ "phase": "dependencies", "micros": 4_000 })),
            event("execution.log", 21, json!({})),
        ] {
            marks.take(&event);
        }
        assert_eq!(marks.parts(), None, "the last mark is missing");
        marks.read_at = at(28);
        assert_eq!(marks.parts(), Some([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
    }
}
