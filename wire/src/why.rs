//! Why a task waits: the answer of `why`, from the same function that decided.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::task::{TaskStatus, text_enum};

text_enum! {
    /// What a task waits for, for a program to branch on.
    ReasonCode, "reason" {
        /// It says nothing to run: it is a note for people.
        NothingToRun = "nothing_to_run",
        /// A task that it needs is not completed.
        Dependency = "dependency",
        /// Its own time has not come.
        NotBefore = "not_before",
        /// Somebody holds it, its project, a key of it, or everything.
        Held = "held",
        /// As many tasks with a key of it are in hand as may be.
        ConcurrencyLimit = "concurrency_limit",
        /// Tasks with a key of it have started as often as they may for now.
        RateLimit = "rate_limit",
        /// A budget is used up, its own or its project's.
        Budget = "budget",
        /// Others are ahead of it.
        Queued = "queued",
        /// A machine is being made or woken for the queue.
        MachineComing = "machine_coming",
        /// As many machines as allowed exist, and all are busy.
        MachineCap = "machine_cap",
        /// The machines' budget for the day or the month pays for no more.
        MachineBudget = "machine_budget",
        /// The queue is too short to be worth another machine; the ones there will do.
        QueueShort = "queue_short",
        /// The provider refuses or fails; it is asked again.
        ProviderTrouble = "provider_trouble",
        /// It is promised to a worker that has not begun.
        Assigned = "assigned",
        /// A worker is on it.
        Running = "running",
        /// It was called off and its worker is ending it.
        Cancelling = "cancelling",
        /// It is over.
        Finished = "finished",
    }
}

/// One thing a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reason {
    /// What it is.
    pub code: ReasonCode,
    /// The same for a person.
    pub message: String,
    /// The task that stands in the way, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// The answer of `GET /v1/tasks/{id}/why`, the nearest obstacle first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Why {
    /// The task.
    pub task_id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// What it waits for.
    pub reasons: Vec<Reason>,
}
