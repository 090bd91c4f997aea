//! When a task's record is whole, so that a follower may be told the end. Pure.
//!
//! A runner writes `execution.finished` last, and the control plane writes the
//! task's own end after it has heard of that; but a lost worker, or an event
//! store that was away, leaves one of them out.

use std::collections::BTreeSet;

use wire::event::{StoredEvent, kind};
use wire::execution::Outcome;
use wire::id::ExecutionId;
use wire::task::TaskView;

/// What was seen of a record so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    finished: BTreeSet<ExecutionId>,
    end_seen: bool,
}

impl Record {
    /// Takes the next event of the task in.
    pub(super) fn take(&mut self, event: &StoredEvent) {
        match event.kind.as_str() {
            kind::EXECUTION_FINISHED => self.finished.extend(event.execution_id),
            kind::TASK_COMPLETED | kind::TASK_FAILED | kind::TASK_CANCELLED => self.end_seen = true,
            kind::TASK_REQUEUED => self.end_seen = false,
            _ => (),
        }
    }

    /// Whether nothing more will come of a task that stands like this.
    pub(super) fn is_whole(&self, task: &TaskView) -> bool {
        if !task.status.is_final() || !self.end_seen {
            return false;
        }
        let Some(execution) = &task.execution else { return true };
        // Who never began, or was lost, does not write an end.
        let was_taken = matches!(execution.outcome, Some(Outcome::WorkerLost | Outcome::Preempted));
        let silent = execution.started_at.is_none() || was_taken;
        silent || self.finished.contains(&execution.id)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use wire::execution::ExecutionView;
    use wire::id::{EventId, TaskId, WorkerId};
    use wire::task::{Priority, TaskStatus};

    use super::*;

    fn execution() -> ExecutionId {
        ExecutionId::mint(DateTime::UNIX_EPOCH, [1; 10])
    }

    fn event(word: &str) -> StoredEvent {
        StoredEvent {
            seq: 1,
            id: EventId::mint(DateTime::UNIX_EPOCH, [2; 10]),
            kind: word.into(),
            task_id: None,
            execution_id: Some(execution()),
            producer: "p".into(),
            created_at: DateTime::UNIX_EPOCH,
            schema_version: 1,
            payload: serde_json::value::RawValue::from_string("{}".into()).expect("JSON"),
        }
    }

    fn task(status: TaskStatus, outcome: Option<Outcome>, started: bool) -> TaskView {
        let at = DateTime::UNIX_EPOCH;
        let attempt = outcome.map(|outcome| ExecutionView {
            id: execution(),
            task_id: TaskId::mint(at, [3; 10]),
            number: 1,
            agent_type: "command".into(),
            worker_id: Some(WorkerId::mint(at, [4; 10])),
            assigned_at: at,
            started_at: started.then_some(at),
            completed_at: Some(at),
            duration_seconds: None,
            cost_dollars: "0".into(),
            tokens: 0,
            success: None,
            outcome: Some(outcome),
            exit: None,
            failure: None,
            error_message: None,
            commit: None,
            phases: vec![],
            tests: None,
            pull_request: None,
            parent_execution_id: None,
        });
        TaskView {
            id: TaskId::mint(at, [3; 10]),
            title: "t".into(),
            description: String::new(),
            status,
            priority: Priority::default(),
            effort_estimate: None,
            spec: None,
            attempts: 0,
            waits_for: 0,
            execution: attempt,
            project: None,
            keys: vec![],
            not_before: None,
            deadline: None,
            overdue: false,
            budget: None,
            schedule_id: None,
            waiting: None,
            version: 1,
            created_at: at,
            updated_at: at,
        }
    }

    #[test]
    fn a_record_is_whole_when_both_have_written_the_end_who_should() {
        use Outcome::{Cancelled, Succeeded, WorkerLost};
        use TaskStatus::{Completed, Failed, InProgress};
        let check = |events: &[&str], task: TaskView, expect| {
            let mut record = Record::default();
            events.iter().for_each(|word| record.take(&event(word)));
            assert_eq!(record.is_whole(&task), expect, "{events:?} {:?}", task.status);
        };
        check(&["execution.finished", "task.completed"], task(Completed, Some(Succeeded), true), true);
        check(&["task.completed"], task(Completed, Some(Succeeded), true), false);
        check(&["execution.finished"], task(Completed, Some(Succeeded), true), false);
        check(&["execution.finished", "task.completed"], task(InProgress, None, true), false);
        check(&["task.cancelled"], task(TaskStatus::Cancelled, None, false), true);
        check(&["task.cancelled"], task(TaskStatus::Cancelled, Some(Cancelled), false), true);
        check(&["task.failed"], task(Failed, Some(WorkerLost), true), true);
        check(&["task.failed", "task.requeued"], task(Completed, Some(Succeeded), true), false);
    }
}
