//! Which exit code and which cure each failure has, and what a list shows.

use std::time::Duration;

use spawner::{EndRecord, Mode, ProcessRef, Status};
use wire::execution::Outcome;
use wire::id::TaskId;

use super::*;
use crate::args::Global;

fn id() -> ExecutionId {
    "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70".parse().expect("an id")
}

fn invocation() -> Invocation {
    let global = Global {
        url: None,
        api_key_file: None,
        data: ".bifrost".into(),
        json: false,
        reason: None,
        color: crate::args::ColorChoice::Never,
    };
    Invocation::new(global, kit::Vars::default())
}

#[test]
fn a_start_that_fails_has_a_code_of_its_own_and_a_cure() {
    let text = || "why".to_owned();
    for (error, code) in [
        (SpawnError::Refused { field: "branch", message: text() }, Code::Usage),
        (SpawnError::TooMany { running: 8 }, Code::TryLater),
        (SpawnError::SessionInUse { agent: text(), session: text(), by: id() }, Code::TryLater),
        (SpawnError::Worktree(text()), Code::Data),
        (SpawnError::Install { message: text(), said: String::new() }, Code::SetupFailed),
        (SpawnError::Process(text()), Code::Unavailable),
        (SpawnError::Timeout(Duration::from_secs(20)), Code::TimedOut),
        (SpawnError::Interrupted, Code::Cancelled),
    ] {
        let name = error.code();
        let failure = classify(&not_started(&invocation(), error));
        assert_eq!((failure.code, failure.help.is_some()), (code, true), "{name}");
    }
}

#[test]
fn what_cannot_be_done_with_an_agent_has_a_code_and_a_cure() {
    for (error, code) in [
        (FleetError::NotFound(id()), Code::NotFound),
        (FleetError::StillRuns(id()), Code::TryLater),
        (FleetError::NotRunning(id()), Code::Data),
        (FleetError::NoTerminal(id()), Code::Data),
        (FleetError::TakenUp { id: id(), runtime: None }, Code::TryLater),
        (FleetError::Refused("why".into()), Code::Data),
        (FleetError::NotSaved("why".into()), Code::Data),
    ] {
        let name = error.to_string();
        let failure = classify(&refusal(error));
        assert_eq!((failure.code, failure.help.is_some()), (code, true), "{name}");
    }
}

#[test]
fn a_row_says_since_when_it_is_so() {
    let now = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
    let ago = |seconds| now - chrono::TimeDelta::seconds(seconds);
    let handle = AgentHandle {
        id: id(),
        task_id: TaskId::mint(now, [0; 10]),
        branch: "fix/login".into(),
        worktree: "/w".into(),
        repository: "/r".into(),
        agent: "/usr/bin/bash".into(),
        process: ProcessRef::Detached,
        mode: Mode::Local,
        has_terminal: true,
        timeout_seconds: 60,
        grace_ms: 1,
        spawned_at: ago(600),
        server: None,
    };
    let end = EndRecord { ended_at: ago(5), outcome: Outcome::TimedOut, exit: None, message: None, report: None };
    let running = Agent { handle, status: Status::Running, end: None, runtime: None };
    let ended = Agent { status: Status::Ended(Outcome::TimedOut), end: Some(end), ..running.clone() };
    let left = Stray { id: id(), session: format!("fleet-{}", id()), worktree: "/w".into() };
    for (listed, expect) in [
        (Listed::Agent(Box::new(running)), ["running", "bash", "10 min ago", "fix/login"]),
        (Listed::Agent(Box::new(ended)), ["timed_out", "bash", "5 s ago", "fix/login"]),
        (stray(left), ["stray", "-", "-", "-"]),
    ] {
        assert_eq!(row(&listed, now)[1..], expect);
        let json = serde_json::to_value(&listed).expect("plain data");
        assert_eq!((&json["id"], &json["status"]), (&id().to_string().into(), &expect[0].into()));
    }
}
