//! Checkpoints: what an execution left in its workspace, saved on its machine's volume, as the machine tells of
//! it and as answers show it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{CheckpointId, ExecutionId, MachineId, TaskId};
use crate::task::text_enum;

/// A checkpoint, as its runner tells of it: with the end of its execution, or as the body of
/// `PUT /v1/workers/{id}/checkpoints/{checkpoint_id}`. Telling again is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SavedCheckpoint {
    /// Its id; later ones of a machine sort behind it.
    pub id: CheckpointId,
    /// The execution whose workspace it holds.
    pub execution_id: ExecutionId,
    /// The commit that was checked out, against which it is measured.
    pub commit: String,
    /// When it was saved.
    pub saved_at: DateTime<Utc>,
    /// Files and links that were changed or added.
    pub files: u64,
    /// Files and links that were deleted.
    pub deleted: u64,
    /// Bytes that the machine's store of checkpoints has grown by.
    pub stored_bytes: u64,
    /// References of the machine's mirror that keep commits and files which nobody pushed.
    #[serde(default)]
    pub unpushed: Vec<String>,
    /// What differs from the commit, by path: the first [`crate::limit::CHECKPOINT_PATHS`].
    #[serde(default)]
    pub changes: Vec<FileChange>,
}

/// One path that differs from the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileChange {
    /// Where, relative to the workspace; bytes that are no UTF-8 show as U+FFFD.
    pub path: String,
    /// What became of it.
    pub change: ChangeKind,
    /// Its length in bytes; 0 where it is gone.
    #[serde(default)]
    pub bytes: u64,
    /// Equal for equal content and mode; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

text_enum! {
    /// What became of a file.
    ChangeKind, "change of a file" {
        /// It was changed or added.
        Written = "written",
        /// It was deleted.
        Deleted = "deleted",
    }
}

/// A checkpoint that a machine has now, as its polls name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldCheckpoint {
    /// Which one.
    pub id: CheckpointId,
    /// Whether it is kept whatever else is saved.
    #[serde(default)]
    pub pinned: bool,
}

/// Work that nobody pushed and that a machine alone has, as its polls name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptWork {
    /// The execution that left it.
    pub execution_id: ExecutionId,
    /// The repository, as [`crate::worker::repository_name`] calls it, or [`Self::UNKNOWN`].
    pub repository: String,
    /// Where it is: a reference of the repository's mirror, by whose commit a task can ask for it; `checkpoints/<id>` where
    /// a checkpoint alone has it; `workspaces/<execution>` where it was not saved; or `aside/…` in the volume's quarantine.
    pub reference: String,
    /// The commit there; of a checkpoint the one that was checked out, and empty where git cannot give it out.
    pub commit: String,
}

impl KeptWork {
    /// In place of a repository, of a workspace that does not say which one it is of: its task's.
    pub const UNKNOWN: &'static str = "unknown";

    /// What an execution has, or may have, left in its workspace, and nobody has saved.
    pub fn unsaved(execution_id: ExecutionId, repository: String) -> Self {
        Self { execution_id, repository, reference: format!("workspaces/{execution_id}"), commit: String::new() }
    }

    /// Whether it is that.
    pub fn is_unsaved(&self) -> bool {
        self.reference == format!("workspaces/{}", self.execution_id)
    }
}

/// Work that a machine alone has, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptWorkView {
    /// The machine.
    pub machine_id: MachineId,
    /// The task whose execution left it.
    pub task_id: TaskId,
    /// What it is.
    #[serde(flatten)]
    pub work: KeptWork,
    /// Where the repository was cloned from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When that execution was made.
    pub began_at: DateTime<Utc>,
}

/// A checkpoint, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckpointView {
    /// Its id.
    pub id: CheckpointId,
    /// The task whose execution it is of.
    pub task_id: TaskId,
    /// The execution whose workspace it holds.
    pub execution_id: ExecutionId,
    /// The machine that has it.
    pub machine_id: MachineId,
    /// Where the repository was cloned from.
    pub repository: String,
    /// The commit that was checked out.
    pub commit: String,
    /// When it was saved.
    pub saved_at: DateTime<Utc>,
    /// Files and links that were changed or added.
    pub files: u64,
    /// Files and links that were deleted.
    pub deleted: u64,
    /// Bytes that the machine's store of checkpoints has grown by.
    pub stored_bytes: u64,
    /// References of the machine's mirror that keep what nobody pushed.
    pub unpushed: Vec<String>,
    /// Whether it is to be kept whatever else is saved.
    pub pinned: bool,
    /// Whether its machine has heard that.
    pub pin_is_heard: bool,
}

/// A checkpoint with what it holds: the answer of `GET /v1/checkpoints/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckpointDetail {
    /// The checkpoint.
    #[serde(flatten)]
    pub checkpoint: CheckpointView,
    /// What differs from its commit, by path.
    pub changes: Vec<FileChange>,
    /// How many more paths differ that are not named here.
    pub unnamed: u64,
}

/// What differs between two checkpoints of one repository: the answer of `GET /v1/checkpoints/{id}/diff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckpointDiff {
    /// The earlier one.
    pub from: CheckpointId,
    /// The later one.
    pub to: CheckpointId,
    /// Whether both began with the same commit; where not, what differs between the commits is not told.
    pub same_commit: bool,
    /// Paths that are not the same in both, in order.
    pub paths: Vec<PathDiff>,
    /// Whether one of them has more paths than are known here, which may differ as well.
    pub is_cut: bool,
}

/// A path that is not the same in two checkpoints. Absent on one side: there it is as in the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PathDiff {
    /// Where.
    pub path: String,
    /// How the first has it.
    pub from: Option<FileChange>,
    /// How the second has it.
    pub to: Option<FileChange>,
}

/// Sent to `POST /v1/tasks/{id}/restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Restore {
    /// The checkpoint that the task's next attempt begins from; the newest one of its executions when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_id: Option<CheckpointId>,
}
