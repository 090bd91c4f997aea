//! Which worker suits a task best. Pure.

use pool::workers::Worker;

/// What a task asks of its worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Requirement {
    /// The type of agent; any where there is none.
    pub(crate) agent_type: Option<String>,
    /// Estimated minutes of work.
    pub(crate) effort_minutes: Option<i32>,
}

/// The worker with the least to do of those that can take the task and have room; of several with as much, the
/// one with the most room left, and then the one that registered first.
pub(crate) fn best<'a>(workers: &'a [Worker], requirement: &Requirement) -> Option<&'a Worker> {
    let able = workers.iter().filter(|worker| is_capable(worker, requirement) && has_room(worker));
    able.min_by_key(|worker| (worker.current_load, -worker.capacity, worker.registered_at, worker.id))
}

fn is_capable(worker: &Worker, requirement: &Requirement) -> bool {
    let takes_type = requirement.agent_type.as_ref().is_none_or(|wanted| worker.agent_types.contains(wanted));
    let most = worker.metadata.get("max_effort_minutes").and_then(serde_json::Value::as_i64);
    let takes_effort = most.is_none_or(|most| i64::from(requirement.effort_minutes.unwrap_or(0)) <= most);
    takes_type && takes_effort
}

fn has_room(worker: &Worker) -> bool {
    worker.current_load < worker.capacity
}

/// Why there is no best one, for a person.
pub(crate) fn why_nobody(workers: &[Worker], requirement: &Requirement) -> String {
    let capable = workers.iter().filter(|worker| is_capable(worker, requirement)).count();
    let what = match (&requirement.agent_type, requirement.effort_minutes) {
        (Some(agent_type), Some(minutes)) => format!("work of {minutes} minutes for agents of type {agent_type}"),
        (Some(agent_type), None) => format!("work for agents of type {agent_type}"),
        (None, Some(minutes)) => format!("work of {minutes} minutes"),
        (None, None) => "work".into(),
    };
    match capable {
        0 => format!("no registered worker that was heard lately takes {what}"),
        1 => format!("the one worker that takes {what} has no room"),
        _ => format!("none of the {capable} workers that take {what} has room"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::json;
    use wire::id::WorkerId;
    use wire::worker::WorkerStatus;

    use super::*;

    fn worker(number: u128, load: i32, capacity: i32, agent_types: &[&str]) -> Worker {
        Worker {
            id: WorkerId::from(uuid::Uuid::from_u128(number)),
            machine_id: None,
            tenant: None,
            name: None,
            boot: None,
            worker_type: "t".into(),
            capacity,
            current_load: load,
            status: WorkerStatus::Idle,
            last_heartbeat: DateTime::<Utc>::UNIX_EPOCH,
            registered_at: DateTime::<Utc>::UNIX_EPOCH,
            repositories: vec![],
            agent_types: agent_types.iter().map(ToString::to_string).collect(),
            machine_since: None,
            machine_rate: None,
            metadata: json!({}),
        }
    }

    #[track_caller]
    fn check(workers: &[Worker], requirement: &Requirement, expect: Option<u128>) {
        let found = best(workers, requirement).map(|worker| worker.id.uuid().as_u128());
        assert_eq!(found, expect, "{}", why_nobody(workers, requirement));
    }

    #[test]
    fn the_least_loaded_capable_worker_with_room_is_chosen() {
        let of = |agent_type: &str| Requirement { agent_type: Some(agent_type.into()), effort_minutes: None };
        let any = Requirement::default();
        let workers =
            [worker(1, 3, 5, &["a"]), worker(2, 1, 2, &["a", "b"]), worker(3, 1, 3, &["a"]), worker(4, 0, 0, &["a"])];
        check(&workers[..2], &of("a"), Some(2));
        check(&workers, &of("a"), Some(3));
        check(&workers, &of("b"), Some(2));
        check(&workers, &of("c"), None);
        check(&workers, &any, Some(3));
        check(&[worker(1, 2, 2, &["a"])], &any, None);
        check(&[], &any, None);
        check(&[worker(2, 0, 1, &["a"]), worker(1, 0, 1, &["a"])], &any, Some(1));
    }

    #[test]
    fn a_worker_may_take_small_tasks_only() {
        let small = Worker { metadata: json!({ "max_effort_minutes": 30 }), ..worker(1, 0, 1, &["a"]) };
        let of = |effort_minutes| Requirement { agent_type: None, effort_minutes };
        for (minutes, expect) in [(None, Some(1)), (Some(30), Some(1)), (Some(31), None)] {
            check(std::slice::from_ref(&small), &of(minutes), expect);
        }
    }

    #[test]
    fn who_finds_nobody_is_told_why() {
        let of = |agent_type: &str| Requirement { agent_type: Some(agent_type.into()), effort_minutes: Some(5) };
        let full = [worker(1, 1, 1, &["a"])];
        assert_eq!(
            why_nobody(&full, &of("a")),
            "the one worker that takes work of 5 minutes for agents of type a has no room"
        );
        assert_eq!(
            why_nobody(&full, &of("b")),
            "no registered worker that was heard lately takes work of 5 minutes for agents of type b"
        );
    }
}
