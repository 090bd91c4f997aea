//! Machines and leases, as the Machines API takes and gives them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::MachineConfig;
use crate::lenient::{null_as_default, time_if_readable};

/// A machine to create. Its name is unique in its app, and so the key by which an
/// ambiguous create is cleared up: [`crate::Advice::Adopt`] gives the id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewMachine {
    /// Unique in the app.
    pub name: String,
    /// A region, or several in order of preference, such as `iad,dfw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What it runs.
    pub config: MachineConfig,
    /// How it comes up.
    #[serde(flatten)]
    pub launch: Launch,
}

/// What a machine becomes: all of its configuration, for none of the old one stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineUpdate {
    /// What it is to run. Its volume cannot change.
    pub config: MachineConfig,
    /// Its `instance_id` as last seen; somebody else's update since then refuses this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// How it comes up.
    #[serde(flatten)]
    pub launch: Launch,
}

/// How a machine comes up that is made or updated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Make it without starting it, or leave it stopped.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub skip_launch: bool,
    /// Keep requests from it until it is uncordoned.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub skip_service_registration: bool,
    /// Give it none of its app's secrets.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub skip_secrets: bool,
    /// The version that its app's secrets must have reached on its host, as [`crate::Machines::set_secrets`] gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_secrets_version: Option<u64>,
    /// Seconds for which it is then the caller's alone: the answer has the lease's nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ttl: Option<u32>,
}

/// A version that a machine has or had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineVersion {
    /// The `instance_id` that it had.
    pub version: String,
    /// What it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_config: Option<MachineConfig>,
}

/// Which machines to list; all when nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFilter {
    /// Destroyed ones as well, as long as Fly remembers them.
    pub include_deleted: bool,
    /// Those in this region.
    pub region: Option<String>,
    /// Those in one of these states: created, started, stopped or suspended.
    pub states: Vec<MachineState>,
    /// Those that have all of these marks.
    pub metadata: BTreeMap<String, String>,
}

impl MachineFilter {
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let mut query = Vec::new();
        if self.include_deleted {
            query.push(("include_deleted".to_owned(), "true".to_owned()));
        }
        query.extend(self.region.iter().map(|region| ("region".to_owned(), region.clone())));
        if !self.states.is_empty() {
            let states: Vec<&str> = self.states.iter().map(|state| state.as_str()).collect();
            query.push(("state".to_owned(), states.join(",")));
        }
        query.extend(self.metadata.iter().map(|(key, value)| (format!("metadata.{key}"), value.clone())));
        query
    }
}

/// A machine, as the API shows it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its id, stable for its life.
    pub id: String,
    /// Its name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// Where it stands; `started` says nothing about its program being ready.
    pub state: MachineState,
    /// Where it really is, whatever was asked for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub region: String,
    /// Its version; another after each update.
    #[serde(default, deserialize_with = "null_as_default")]
    pub instance_id: String,
    /// Its address on the private network; may change.
    #[serde(default, deserialize_with = "null_as_default")]
    pub private_ip: String,
    /// When this is not [`HostStatus::Ok`], `config` is missing and metadata may be lost.
    #[serde(default, deserialize_with = "null_as_default")]
    pub host_status: HostStatus,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<MachineConfig>,
    /// What is known of it while its host does not answer: never enough to make another from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete_config: Option<MachineConfig>,
    /// When it was made.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// Proves the lease that was asked for with the creation or the update that this answers; a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("state", &self.state)
            .field("region", &self.region)
            .field("instance_id", &self.instance_id)
            .field("private_ip", &self.private_ip)
            .field("host_status", &self.host_status)
            .field("config", &self.config)
            .field("incomplete_config", &self.incomplete_config)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

/// Where a machine stands, in Fly's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Made, not started; its image may still be pulled.
    Created,
    /// Being made.
    Creating,
    /// Being started, or resumed.
    Starting,
    /// Its process runs.
    Started,
    /// Being stopped.
    Stopping,
    /// Its process ended; its root file system is reset at the next start.
    Stopped,
    /// Its memory is being saved.
    Suspending,
    /// Its memory is saved; the next start resumes it, or boots it if that was lost.
    Suspended,
    /// Being started again.
    Restarting,
    /// Its configuration is being changed.
    Updating,
    /// Its version is being replaced.
    Replacing,
    /// This version was replaced.
    Replaced,
    /// Being destroyed.
    Destroying,
    /// Gone for good.
    Destroyed,
    /// Its boot failed; only an update, a restart or destruction helps.
    Failed,
    /// Its first start failed; it will be destroyed.
    LaunchFailed,
    /// Moved to another host.
    Migrated,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl MachineState {
    /// Fly's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Creating => "creating",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Restarting => "restarting",
            Self::Updating => "updating",
            Self::Replacing => "replacing",
            Self::Replaced => "replaced",
            Self::Destroying => "destroying",
            Self::Destroyed => "destroyed",
            Self::Failed => "failed",
            Self::LaunchFailed => "launch_failed",
            Self::Migrated => "migrated",
            Self::Unknown => "unknown",
        }
    }

    /// Whether Fly is about to move it on to another state.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Creating
            | Self::Starting
            | Self::Stopping
            | Self::Suspending
            | Self::Restarting
            | Self::Updating
            | Self::Replacing
            | Self::Destroying
            | Self::LaunchFailed => true,
            Self::Created
            | Self::Started
            | Self::Stopped
            | Self::Suspended
            | Self::Replaced
            | Self::Destroyed
            | Self::Failed
            | Self::Migrated
            | Self::Unknown => false,
        }
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a host answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostStatus {
    /// It does.
    #[default]
    Ok,
    /// It does not.
    Unreachable,
    /// Fly does not know, or says something this version does not know.
    #[serde(other)]
    Unknown,
}

/// How to stop a machine; what is absent comes from its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Such as `SIGTERM`.
    pub signal: Option<String>,
    /// How long until it is killed.
    pub timeout: Option<Duration>,
}

/// The right to change a machine, for a while.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Proves the right; a secret.
    pub nonce: String,
    /// Unix seconds.
    pub expires_at: i64,
    /// Whose token took it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub owner: String,
    /// What for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub description: String,
    /// The machine's version when it was taken.
    #[serde(default, deserialize_with = "null_as_default")]
    pub version: String,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("expires_at", &self.expires_at)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}
