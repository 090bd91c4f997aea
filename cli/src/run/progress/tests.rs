//! Whole stories of tasks, and everything that is shown of them.

use serde_json::{Value, json};

use super::*;

const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

fn at(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).expect("in range")
}

fn event(kind: &str, millis: i64, payload: Value) -> StoredEvent {
    let event = json!({ "seq": 1, "id": ID, "type": kind, "task_id": ID, "execution_id": ID, "producer": "p",
        "created_at": at(millis), "schema_version": 1, "payload": payload });
    serde_json::from_str(&event.to_string()).expect("an event as the store gives it")
}

/// A task that was submitted at 0 and whose execution ended at the given time.
fn task(status: &str, ended: i64, execution: Value) -> TaskView {
    let mut whole = json!({ "id": ID, "task_id": ID, "number": 1, "agent_type": "command", "assigned_at": at(0),
        "cost_dollars": "0", "phases": [], "completed_at": at(ended) });
    whole.as_object_mut().expect("an object").extend(execution.as_object().expect("an object").clone());
    let task = json!({ "id": ID, "title": "t", "description": "", "status": status, "priority": 3, "attempts": 1,
        "created_at": at(0), "updated_at": at(ended), "execution": whole });
    serde_json::from_value(task).expect("a task as the API shows it")
}

fn why(code: &str, message: &str) -> Why {
    let why = json!({ "task_id": ID, "status": "ready", "reasons": [{ "code": code, "message": message },
        { "code": "queued", "message": "farther away" }] });
    serde_json::from_value(why).expect("an answer as the API gives it")
}

fn now(phase: Phase, detail: Option<&str>) -> Show {
    Show::Now { phase, detail: detail.map(str::to_owned) }
}

fn done(phase: Phase, micros: u64, cache: Option<Cache>, detail: Option<&str>) -> Show {
    Show::Done { timing: PhaseTiming { phase, micros, cache }, detail: detail.map(str::to_owned) }
}

fn output(stream: Stream, bytes: &[u8]) -> Show {
    Show::Output { stream, bytes: bytes.to_vec() }
}

/// A run on a new machine, from its submission to its end.
fn first_run() -> Vec<StoredEvent> {
    vec![
        event("task.submitted", 0, json!({})),
        event("task.assigned", 322, json!({ "machine_micros": 310_000, "worker_id": ID })),
        event("task.started", 323, json!({})),
        event("execution.phase", 323, json!({ "phase": "clone" })),
        event("execution.phase", 863, json!({ "phase": "clone", "micros": 540_000, "cache": "miss" })),
        event("execution.phase", 864, json!({ "phase": "dependencies", "detail": "npm" })),
        event(
            "execution.phase",
            867,
            json!({ "phase": "dependencies", "micros": 3_000, "cache": "hit", "detail": "npm" }),
        ),
        event("execution.phase", 868, json!({ "phase": "running" })),
        event("execution.log", 900, json!({ "seq": 0, "stream": "stdout", "text": "one\n" })),
        event("execution.log", 901, json!({ "seq": 1, "stream": "stderr", "base64": "/wA=" })),
        event("execution.phase", 1_238, json!({ "phase": "running", "micros": 380_000 })),
        event("execution.finished", 1_239, json!({ "outcome": "succeeded", "exit": { "code": 0 } })),
        event("task.completed", 1_240, json!({})),
        event("something.newer", 1_240, json!([1, 2])),
    ]
}

fn tell(progress: &mut Progress, events: &[StoredEvent]) -> Vec<Show> {
    events.iter().flat_map(|event| progress.event(event)).collect()
}

#[test]
fn a_run_is_shown_phase_by_phase_and_ends_with_its_timings() {
    let mut progress = Progress::default();
    assert_eq!(
        tell(&mut progress, &first_run()),
        [
            now(Phase::Queued, None),
            done(Phase::Queued, 12_000, None, None),
            done(Phase::Machine, 310_000, None, None),
            now(Phase::Clone, None),
            done(Phase::Clone, 540_000, Some(Cache::Miss), None),
            now(Phase::Dependencies, Some("npm")),
            done(Phase::Dependencies, 3_000, Some(Cache::Hit), Some("npm")),
            now(Phase::Running, None),
            output(Stream::Stdout, b"one\n"),
            output(Stream::Stderr, &[0xff, 0]),
            done(Phase::Running, 380_000, None, None),
        ]
    );
    let ended = task("completed", 1_240, json!({ "outcome": "succeeded", "exit": { "code": 0 } }));
    let summary = "completed in 1.24 s · queued 12 ms · machine 310 ms · clone 540 ms · dependencies cached 3 ms \
        · running 380 ms";
    assert_eq!(progress.end(&ended), Ending { code: 0, summary: summary.into(), trouble: None });
}

#[test]
fn an_attempt_that_was_lost_is_told_and_its_timings_forgotten() {
    let mut progress = Progress::default();
    tell(&mut progress, &first_run()[..10]);
    let again = [
        event("execution.finished", 1_999, json!({ "outcome": "setup_failed", "message": "no room\nleft" })),
        event("task.requeued", 2_000, json!({ "reason": "worker_lost" })),
        event("task.assigned", 2_005, json!({})),
        event("execution.phase", 2_006, json!({ "phase": "clone", "micros": 1_000, "cache": "hit" })),
        event("execution.phase", 2_006, json!({ "phase": "dependencies", "micros": 0, "cache": "unused" })),
    ];
    assert_eq!(
        tell(&mut progress, &again),
        [
            Show::Note("queued again: worker lost: no room left".into()),
            now(Phase::Queued, None),
            done(Phase::Queued, 5_000, None, None),
            done(Phase::Clone, 1_000, Some(Cache::Hit), None),
            done(Phase::Dependencies, 0, Some(Cache::Unused), None),
        ]
    );
    let ended = task("failed", 3_000, json!({ "outcome": "failed", "exit": { "code": 3 } }));
    let summary = "failed with exit code 3 after 3.00 s · queued 5 ms · clone cached 1 ms";
    assert_eq!(progress.end(&ended), Ending { code: 3, summary: summary.into(), trouble: None });
}

#[test]
fn that_a_budget_ended_the_attempt_is_told_and_not_that_it_outran_a_timeout() {
    let mut progress = Progress::default();
    let spent = "the task's budget of dollars is spent, and its command was ended";
    let of_runner = json!({ "outcome": "timed_out", "message": "the command ran longer than its timeout of 9 s" });
    let failed = json!({ "reason": "timed_out", "failure": "dollars_spent", "message": spent });
    let again = [
        event("execution.finished", 1_999, of_runner),
        event("task.failed", 2_000, failed),
        event("task.requeued", 2_000, json!({ "reason": "failure_strategy" })),
    ];
    let note = Show::Note(format!("queued again: failure strategy: {spent}"));
    assert_eq!(tell(&mut progress, &again), [note, now(Phase::Queued, None)]);
}

#[test]
fn timings_that_only_the_task_knows_complete_the_line() {
    let mut progress = Progress::default();
    tell(&mut progress, &[event("execution.phase", 5, json!({ "phase": "clone", "micros": 2_000 }))]);
    let phases = json!([{ "phase": "queued", "micros": 1_000 }, { "phase": "clone", "micros": 9_000 },
        { "phase": "running", "micros": 4_000 }]);
    let ended = task("completed", 10, json!({ "outcome": "succeeded", "phases": phases }));
    assert_eq!(progress.end(&ended).summary, "completed in 10 ms · queued 1 ms · clone 2 ms · running 4 ms");
}

#[test]
fn a_reason_for_waiting_is_shown_once_and_under_the_phase_it_belongs_to() {
    let mut progress = Progress::default();
    let shown: Vec<Option<Show>> = [
        why("machine_cap", "10 of 10 machines are busy"),
        why("machine_cap", "10 of 10 machines are busy"),
        why("machine_coming", "a machine\nis being resumed"),
        why("machine_cap", "10 of 10 machines are busy"),
        why("running", "a worker is on it"),
    ]
    .iter()
    .map(|why| progress.waiting(why))
    .collect();
    assert_eq!(
        shown,
        [
            Some(now(Phase::Queued, Some("10 of 10 machines are busy"))),
            None,
            Some(now(Phase::Machine, Some("a machine is being resumed"))),
            Some(now(Phase::Queued, Some("10 of 10 machines are busy"))),
            None,
        ]
    );
}

#[test]
fn what_a_person_must_know_is_a_note() {
    let budget = |project: Option<&str>| {
        json!({ "id": ID, "project": project, "period": "week", "allocated_dollars": "10.00", "spent_dollars": "8.50",
            "reserved_dollars": "0", "alert_threshold": "0.8", "alerted": true, "period_start": at(0),
            "period_end": at(1), "created_at": at(0) })
    };
    for (event, note) in [
        (
            event("execution.finished", 1, json!({ "outcome": "succeeded", "truncated_bytes": 7 })),
            Some("7 bytes of output are left out: it was longer than the limit"),
        ),
        (event("execution.finished", 1, json!({ "outcome": "succeeded" })), None),
        (
            event("checkpoint.restored", 1, json!({})),
            Some("the machine's caches were damaged and restored from a checkpoint"),
        ),
        (event("volume.damaged", 1, json!({})), Some("something damaged on the machine's volume was set aside")),
        (
            event("budget.alert", 1, budget(Some("web"))),
            Some("8.50 of 10.00 dollars are spent of the budget of project web for this week"),
        ),
        (
            event("budget.alert", 1, budget(None)),
            Some("8.50 of 10.00 dollars are spent of the budget of all tasks for this week"),
        ),
        (event("checkpoint.saved", 1, json!({})), None),
        (event("execution.log", 1, json!({ "not": "a log" })), None),
    ] {
        let expect: Vec<Show> = note.map(|note| Show::Note(note.into())).into_iter().collect();
        assert_eq!(Progress::default().event(&event), expect, "{}", event.kind);
    }
}

#[test]
fn every_end_has_its_headline_and_its_cure() {
    let cure = |failure| Some(exit::cure(failure));
    let retry = format!("see `bifrost machines list`, then `bifrost tasks retry {ID}`");
    let not_found = "the program must be in the repository or on the machine's PATH, and be executable";
    for (status, execution, headline, trouble) in [
        ("cancelled", json!({ "outcome": "cancelled" }), "cancelled after 1.00 s", None),
        ("failed", json!({ "outcome": "failed", "exit": { "signal": 9 } }), "killed by signal 9 after 1.00 s", None),
        (
            "failed",
            json!({ "outcome": "failed", "exit": { "code": 127 }, "error_message": "nope: no such program" }),
            "failed with exit code 127 after 1.00 s",
            Some(("nope: no such program", Some(not_found))),
        ),
        (
            "failed",
            json!({ "outcome": "failed", "exit": { "code": 3 }, "error_message": "the command exited with code 3" }),
            "failed with exit code 3 after 1.00 s",
            None,
        ),
        (
            "failed",
            json!({ "outcome": "failed", "exit": { "signal": 9 },
                "error_message": "signal 9 killed the command; the kernel ended 1 of its processes" }),
            "killed by signal 9 after 1.00 s",
            Some(("signal 9 killed the command; the kernel ended 1 of its processes", None)),
        ),
        (
            "failed",
            json!({ "outcome": "failed", "exit": { "signal": 15 }, "failure": "disk_exceeded",
                "error_message": "its files took 2 bytes" }),
            "ended for want of disk after 1.00 s",
            Some(("its files took 2 bytes", cure(Failure::DiskExceeded))),
        ),
        (
            "failed",
            json!({ "outcome": "setup_failed", "failure": "not_isolated", "error_message": "no user" }),
            "could not be set up: failed after 1.00 s",
            Some(("no user", cure(Failure::NotIsolated))),
        ),
        (
            "failed",
            json!({ "outcome": "timed_out", "exit": { "signal": 15 } }),
            "timed out after 1.00 s",
            Some(("the command ran longer than its timeout", Some("give it more with --timeout"))),
        ),
        (
            "failed",
            json!({ "outcome": "timed_out", "exit": { "signal": 15 }, "failure": "dollars_spent",
                "error_message": "the budget is spent" }),
            "out of its budget after 1.00 s",
            Some(("the budget is spent", Some("give it more with --budget-dollars"))),
        ),
        ("failed", json!({ "outcome": "failed", "exit": { "code": 0 } }), "failed after 1.00 s", None),
        (
            "failed",
            json!({ "outcome": "failed", "exit": { "code": 127 }, "error_message": "no tests", "tests": {
                "success": false, "passed": 0, "failed": 0, "skipped": 0, "duration_ms": 0 } }),
            "failed with exit code 127 after 1.00 s",
            Some(("no tests", Some("name their command: bifrost run --tests -- CMD"))),
        ),
        (
            "failed",
            json!({ "outcome": "setup_failed", "failure": "unknown_reference", "error_message": "no ref x" }),
            "could not be set up: failed after 1.00 s",
            Some(("no ref x", cure(Failure::UnknownReference))),
        ),
        (
            "failed",
            json!({ "outcome": "worker_lost" }),
            "lost with its worker after 1.00 s",
            Some(("its worker was lost too often", Some(retry.as_str()))),
        ),
    ] {
        let ended = task(status, 1_000, execution);
        let trouble = trouble.map(|(message, help)| Trouble { message: message.into(), help: help.map(str::to_owned) });
        let expect = Ending { code: exit::of_task(&ended), summary: headline.into(), trouble };
        assert_eq!(Progress::default().end(&ended), expect);
    }
}
