//! The table of exit codes, row by row.

use serde_json::json;

use super::*;

fn task(status: &str, execution: serde_json::Value) -> TaskView {
    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    const AT: &str = "2026-11-21T00:00:00Z";
    let mut view = json!({ "id": ID, "title": "t", "description": "", "status": status, "priority": 3,
        "attempts": 1, "created_at": AT, "updated_at": AT });
    if let serde_json::Value::Object(given) = execution {
        let mut full = json!({ "id": ID, "task_id": ID, "number": 1, "agent_type": "command", "assigned_at": AT,
            "cost_dollars": "0", "phases": [] });
        full.as_object_mut().expect("an object").extend(given);
        view["execution"] = full;
    }
    serde_json::from_value(view).expect("a task as the API shows it")
}

#[test]
fn a_finished_task_gives_its_commands_code_or_a_documented_one() {
    for (status, execution, code) in [
        ("completed", json!({ "outcome": "succeeded", "exit": { "code": 0 } }), 0),
        ("failed", json!({ "outcome": "failed", "exit": { "code": 3 } }), 3),
        ("failed", json!({ "outcome": "failed", "exit": { "code": 127 } }), 127),
        ("failed", json!({ "outcome": "failed", "exit": { "signal": 9 } }), 137),
        ("failed", json!({ "outcome": "failed", "exit": { "code": 0 } }), 1),
        ("failed", json!({ "outcome": "failed", "exit": { "code": 256 } }), 70),
        ("failed", json!({ "outcome": "failed" }), 70),
        ("failed", json!({ "outcome": "setup_failed", "failure": "repository_not_found" }), 66),
        ("failed", json!({ "outcome": "setup_failed", "failure": "unknown_reference" }), 65),
        ("failed", json!({ "outcome": "setup_failed", "failure": "repository_unreachable" }), 69),
        ("failed", json!({ "outcome": "setup_failed", "failure": "install_failed" }), 125),
        ("failed", json!({ "outcome": "setup_failed", "failure": "machine_fault" }), 70),
        ("failed", json!({ "outcome": "setup_failed", "failure": "set_up_step_failed" }), 125),
        ("failed", json!({ "outcome": "setup_failed", "failure": "not_isolated" }), 78),
        ("failed", json!({ "outcome": "setup_failed" }), 70),
        ("failed", json!({ "outcome": "timed_out", "exit": { "signal": 15 } }), 124),
        ("failed", json!({ "outcome": "idle_timed_out", "exit": { "signal": 15 } }), 124),
        ("failed", json!({ "outcome": "stalled", "exit": { "signal": 15 } }), 124),
        ("failed", json!({ "outcome": "worker_lost" }), 75),
        ("failed", json!(null), 70),
        ("cancelled", json!({ "outcome": "cancelled", "exit": { "signal": 15 } }), 130),
        ("cancelled", json!(null), 130),
        ("split", json!(null), 70),
    ] {
        assert_eq!(of_task(&task(status, execution.clone())), code, "{status} {execution}");
    }
}

#[test]
fn our_own_codes_stay_clear_of_what_commands_use() {
    let numbers: Vec<u8> = Code::ALL.iter().map(|code| code.number()).collect();
    assert_eq!(numbers, [64, 65, 66, 69, 70, 73, 74, 75, 77, 78, 79, 124, 125, 130]);
}

#[test]
fn an_error_without_a_code_is_sorted_by_its_cause() {
    let broken_pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let own = failure(Code::NoPermission, "no", "ask");
    let environment = kit::vars::BadEnvironment(vec!["PORT: bad".into()]);
    for (error, code) in [
        (anyhow::Error::from(broken_pipe).context("writing the list"), Code::InputOutput),
        (own.context("listing tasks"), Code::NoPermission),
        (environment.into(), Code::Configuration),
        (anyhow::anyhow!("surprise"), Code::Internal),
    ] {
        assert_eq!(classify(&error).code, code, "{error:#}");
    }
}

#[test]
fn a_command_ends_the_same_under_either_name_of_the_event_store() {
    for (trouble, number, _) in Trouble::ALL {
        assert_eq!(of_trouble(trouble).number(), number, "{trouble:?}");
    }
}

#[test]
fn only_a_closed_output_is_passed_over_in_silence() {
    let io_error = |kind| anyhow::Error::from(std::io::Error::from(kind)).context("writing the list");
    assert!(is_closed_output(&io_error(std::io::ErrorKind::BrokenPipe)));
    assert!(!is_closed_output(&io_error(std::io::ErrorKind::StorageFull)));
    assert!(!is_closed_output(&failure(Code::Internal, "broken pipe", "")));
}
