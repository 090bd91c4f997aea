//! Giving tasks to workers that no machine of the pool carries: the best one for
//! a task, the next tasks for whoever has room, and a worker for a task that
//! cannot wait.

use serde::{Deserialize, Serialize};

use crate::id::{ExecutionId, TaskId, WorkerId};
use crate::worker::WorkerView;

/// A task that was given to a worker: the answer of `POST /v1/tasks/{id}/assign-optimal` (row CAIRN-51).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AssignedTask {
    /// The task.
    pub task_id: TaskId,
    /// The execution, which begins when the worker says so.
    pub execution_id: ExecutionId,
    /// The worker, with what it has now.
    pub worker: WorkerView,
}

/// Sent to `POST /v1/tasks/assign-batch` (row CAIRN-52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AssignBatch {
    /// How many tasks to assign at most, 1 to 100.
    pub count: usize,
}

/// Sent to `POST /v1/tasks/{id}/preempt` (row CAIRN-54).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preempt {
    /// The worker that is to have the task.
    pub target_worker_id: WorkerId,
}

/// The answer to [`Preempt`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preempted {
    /// What was given to whom.
    #[serde(flatten)]
    pub assigned: AssignedTask,
    /// The task that had to make way and is ready again; absent where the worker had room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempted_task_id: Option<TaskId>,
    /// Its execution, which has ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preempted_execution_id: Option<ExecutionId>,
}
