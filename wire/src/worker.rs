//! The worker protocol: register → poll for an instruction → heartbeat while
//! executing → complete. A worker asks, the control plane answers; nobody ever
//! connects to a worker.
//!
//! Every call may be repeated after a lost answer. A lease carries a fence: once
//! the execution was given to somebody else, or ended, the old fence is refused
//! with 409 and code `lease_lost`.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{HeldCheckpoint, KeptWork, SavedCheckpoint};
use crate::execution::{Exit, Failure, Outcome, PhaseTiming};
use crate::id::{AttachmentId, CheckpointId, ExecutionId, MachineId, TaskId, WorkerId};
use crate::pull_request::PullRequest;
use crate::task::{TaskSpec, text_enum};
use crate::test_report::TestReport;

/// The version of this protocol that a runner of this build speaks.
pub const PROTOCOL: u32 = 1;

/// The environment a machine's runner is started with; the machine's token is the one secret in it.
pub mod env {
    /// Where the control plane listens for workers, an `http` or `https` URL.
    pub const CONTROL_URL: &str = "BIFROST_CONTROL_URL";
    /// Which machine this is, in the pool's numbering.
    pub const MACHINE_ID: &str = "BIFROST_MACHINE_ID";
    /// Proves it; good for registration only.
    pub const MACHINE_TOKEN: &str = "BIFROST_MACHINE_TOKEN";
    /// Where the machine's volume is mounted; `/.sprite` when absent.
    pub const SPRITE_DIR: &str = "BIFROST_SPRITE_DIR";
    /// In a sprite: the hold on it that its runner keeps alive.
    pub const SPRITE_HOLD: &str = "BIFROST_SPRITE_HOLD";
    /// What commands do not see, paths with colons.
    pub const HIDE: &str = "BIFROST_HIDE";
    /// Set by the emulator's process driver: the directory that stands for the machine's `/`.
    pub const MACHINE_ROOT: &str = "FLY_EMULATOR_ROOT";
    /// How an operator steers runners, wherever they are: nothing here names a file.
    pub const STEERING: [&str; 10] = [
        "BIFROST_ISOLATION",
        "BIFROST_MEMORY_BYTES",
        "BIFROST_DISK_BYTES",
        "BIFROST_SPARES",
        "BIFROST_PARTIAL_CLONE_BYTES",
        "BIFROST_DEPENDENCY_BYTES",
        "BIFROST_GRACE_SECONDS",
        "BIFROST_AGENT_EXIT_SECONDS",
        "BIFROST_OUTPUT_BYTES",
        "BIFROST_SPOOL_BYTES",
    ];
    /// By each of these programs learn of a proxy: some read small letters, some capitals.
    pub const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
}

/// Sent to `POST /v1/workers/register`, with the machine's token as bearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Register {
    /// The machine the worker runs on.
    pub machine_id: MachineId,
    /// Different after each start of the runner process: what an earlier boot was doing is lost.
    pub boot: uuid::Uuid,
    /// The protocol it speaks.
    pub protocol: u32,
    /// The runner's version, for people.
    pub version: String,
    /// Executions it takes at once.
    pub capacity: u32,
    /// The repositories its volume holds, by [`crate::worker::repository_name`].
    #[serde(default)]
    pub repositories: Vec<String>,
}

/// The answer to [`Register`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    /// Its name from now on.
    pub worker_id: WorkerId,
    /// The bearer for all its further calls.
    pub token: String,
    /// How long a lease lasts without a heartbeat.
    pub lease_seconds: u64,
    /// How often to heartbeat.
    pub heartbeat_seconds: u64,
    /// Where and how its events go.
    pub events: EventAccess,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered").field("worker_id", &self.worker_id).finish_non_exhaustive()
    }
}

/// Where the event store is and the key that a machine signs with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventAccess {
    /// The event store's base URL.
    pub url: String,
    /// Names the key in the `bifrost-key-id` header.
    pub key_id: String,
    /// The key, as `whsec_…`.
    pub key: String,
}

impl std::fmt::Debug for EventAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventAccess").field("url", &self.url).field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// Sent to `POST /v1/workers/{id}/next`; held open until there is something to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Poll {
    /// The longest to hold the request, in seconds, at most 30.
    pub wait_seconds: u64,
    /// What it is working on. An assigned execution that is missing here is handed out again.
    #[serde(default)]
    pub running: Vec<Running>,
    /// The newest batch it has saved a checkpoint for.
    #[serde(default)]
    pub checkpointed_batch: Option<i64>,
    /// The repositories its volume holds now.
    #[serde(default)]
    pub repositories: Vec<String>,
    /// Every checkpoint its volume holds now; absent from runners that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Vec<HeldCheckpoint>>,
    /// The work on its volume that nobody pushed, the newest first; absent from runners that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<KeptWork>>,
    /// Whether it comes when somebody attaches to what it runs.
    #[serde(default)]
    pub attaches: bool,
}

/// One execution a worker has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Running {
    /// Which one.
    pub execution_id: ExecutionId,
    /// The fence of its lease.
    pub fence: i64,
    /// Whether the worker is already ending it.
    #[serde(default)]
    pub cancelling: bool,
}

/// The answer to [`Poll`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Instruction {
    /// Nothing yet: poll again.
    Wait,
    /// Carry this out.
    Execute(Box<Lease>),
    /// End this execution: its command gets SIGTERM, then SIGKILL.
    Cancel {
        /// Which one.
        execution_id: ExecutionId,
    },
    /// Somebody attaches to this execution's command: connect to
    /// `GET /v1/workers/{id}/attachments/{attachment}`, see [`crate::attach`]. Sent only to workers that say that they
    /// [`attach`](Poll::attaches).
    Attach {
        /// Where to connect.
        attachment: AttachmentId,
        /// Which one.
        execution_id: ExecutionId,
        /// Whether what comes from there is typed to the command.
        write: bool,
    },
    /// The batch is over: save a checkpoint, then poll with its number.
    Checkpoint {
        /// The number of the batch.
        batch: i64,
    },
    /// Keep a checkpoint whatever else is saved, or no longer; then poll anew. Said only to runners that tell of
    /// their checkpoints.
    Pin {
        /// Which one.
        checkpoint_id: CheckpointId,
        /// Whether it is to be kept.
        pinned: bool,
    },
}

/// The right, and the duty, to carry out one execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lease {
    /// The attempt.
    pub execution_id: ExecutionId,
    /// The task.
    pub task_id: TaskId,
    /// Goes with every word about this execution.
    pub fence: i64,
    /// What to do.
    pub spec: TaskSpec,
    /// Lets the machine write the execution's events: sent along with them as it is, see
    /// [`crate::grant`]. Absent from control planes before grants, and for workers without a machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What the egress proxy is asked with in the grant's place, see [`crate::egress`]. Absent where the task names no
    /// hosts of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_pass: Option<String>,
}

/// Sent to `POST /v1/workers/{id}/heartbeat` (row CAIRN-53).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heartbeat {
    /// What it is working on; each of these leases is renewed.
    #[serde(default)]
    pub running: Vec<Running>,
}

/// The answer to [`Heartbeat`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeartbeatReply {
    /// Executions that are no longer this worker's: stop them, say nothing more of them.
    #[serde(default)]
    pub lost: Vec<ExecutionId>,
}

/// Sent to `POST /v1/workers/{id}/executions/{execution_id}/start` when work begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Start {
    /// The fence of the lease.
    pub fence: i64,
}

/// Sent to `POST /v1/workers/{id}/executions/{execution_id}/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Completion {
    /// The fence of the lease.
    pub fence: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// How the command's process ended, if it ran.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Why the workspace could not be made ready.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What went wrong, for a person.
    #[serde(default)]
    pub message: Option<String>,
    /// The commit that was checked out.
    #[serde(default)]
    pub commit: Option<String>,
    /// How long each phase took.
    #[serde(default)]
    pub phases: Vec<PhaseTiming>,
    /// Tokens of models that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// What it cost besides the machine, in dollars, as a decimal string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<String>,
    /// The checkpoint that holds what it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<SavedCheckpoint>,
    /// What came of its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestReport>,
    /// The pull request that its work is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequest>,
    /// For how much longer the machine is to stay awake, as the command asked; at most
    /// [`crate::limit::BUSY_SECONDS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_seconds: Option<u64>,
}

text_enum! {
    /// How a worker does (row CAIRN-50).
    WorkerStatus, "worker status" {
        /// Has work.
        Active = "active",
        /// Waits for work.
        Idle = "idle",
        /// Silent for too long, or its machine is paused or gone.
        Disabled = "disabled",
    }
}

/// A worker, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerView {
    /// Its id.
    pub id: WorkerId,
    /// The machine it runs on, if the pool made it.
    pub machine_id: Option<MachineId>,
    /// The name by which it claims tasks, if it came by a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What kind of work it takes; `command` for plain commands.
    pub worker_type: String,
    /// Executions it takes at once.
    pub capacity: i32,
    /// Executions it has.
    pub current_load: i32,
    /// How it does.
    pub status: WorkerStatus,
    /// When it was last heard.
    pub last_heartbeat: chrono::DateTime<chrono::Utc>,
    /// The repositories its volume holds.
    pub repositories: Vec<String>,
    /// The types of agent whose work it takes.
    #[serde(default)]
    pub agent_types: Vec<String>,
    /// Anything else it told about itself.
    pub metadata: serde_json::Value,
}

/// A worker that no machine of the pool carries, as sent to `POST /v1/workers` (row CAIRN-50).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewWorker {
    /// What kind of worker it is, such as `claude_code`; 1 to 100 characters.
    pub worker_type: String,
    /// Executions it takes at once, 1 to 100; 1 when absent.
    #[serde(default = "one")]
    pub capacity: i32,
    /// The types of agent whose work it takes, up to 100; its own type when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_types: Vec<String>,
    /// Anything else it wants to tell, up to 16 KiB. A number under `max_effort_minutes` keeps larger tasks away
    /// from it.
    #[serde(default)]
    pub metadata: serde_json::Value,
}

fn one() -> i32 {
    1
}

/// Changes to such a worker, as sent to `PATCH /v1/workers/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerChange {
    /// See [`NewWorker::worker_type`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<String>,
    /// See [`NewWorker::capacity`]. Below what it has at the moment, it gets nothing more until it is done with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i32>,
    /// See [`NewWorker::agent_types`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_types: Option<Vec<String>>,
    /// See [`NewWorker::metadata`]; it replaces what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

/// The name a repository's mirror has on every machine: readable, and different for different URLs, whoever chooses
/// them: what is kept for a repository is found by it.
///
/// ```
/// let name = wire::worker::repository_name("https://example.org/owner/Some Thing.git/");
/// assert!(name.starts_with("Some-Thing-"), "{name}");
/// assert_eq!(name, wire::worker::repository_name("https://example.org/owner/Some Thing"));
/// ```
pub fn repository_name(url: &str) -> String {
    use sha2::{Digest, Sha256};
    let plain = url.trim_end_matches('/');
    let plain = plain.strip_suffix(".git").unwrap_or(plain).trim_end_matches('/');
    let digest = Sha256::digest(plain.as_bytes());
    let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let last = plain.rsplit(['/', ':']).next().unwrap_or_default();
    let readable: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(48).collect();
    format!("{}-{short}", readable.trim_start_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_of_an_older_or_a_newer_control_plane_is_read() {
        let lease = |more: &str| {
            let id = uuid::Uuid::nil();
            let spec = r#"{"repository":"https://example.org/a","command":["true"]}"#;
            let text = format!(r#"{{"execution_id":"{id}","task_id":"{id}","fence":1,"spec":{spec}{more}}}"#);
            serde_json::from_str::<Lease>(&text).expect("reads").grant
        };
        assert_eq!(lease(""), None);
        assert_eq!(lease(r#","grant":"v1.a.b""#).as_deref(), Some("v1.a.b"));
        assert_eq!(lease(r#","what_comes_next":[1]"#), None);
    }
}
