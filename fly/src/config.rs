//! A machine's configuration. Its environment may hold secrets, so `Debug`
//! prints the names of variables and never a value. What is not known here is
//! kept as it came: a configuration that is read, changed and sent as an update
//! loses nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Others;
use crate::lenient::{go_duration, null_as_default};

/// What a machine runs, with what, and when it ends.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// The image, best pinned by its digest.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The environment of its processes.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it runs instead of the image's own command.
    #[serde(default, deserialize_with = "null_as_default")]
    pub init: Init,
    /// Its processors and memory; Fly's smallest when absent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub guest: Guest,
    /// Its volume; Fly allows one.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// What happens when its process ends; `on-failure` when absent.
    #[serde(default, deserialize_with = "null_as_default")]
    pub restart: Restart,
    /// Whether it is destroyed when its process ends. Its volume is not.
    #[serde(default, deserialize_with = "null_as_default")]
    pub auto_destroy: bool,
    /// Searchable marks. A machine without `fly_process_group` is left alone by `fly deploy`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How it is asked to stop, and how long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_config: Option<StopConfig>,
    /// What else there is, such as `services` and `checks`.
    #[serde(flatten)]
    pub others: Others,
}

impl fmt::Debug for MachineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineConfig")
            .field("image", &self.image)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("init", &self.init)
            .field("guest", &self.guest)
            .field("mounts", &self.mounts)
            .field("restart", &self.restart)
            .field("auto_destroy", &self.auto_destroy)
            .field("metadata", &self.metadata)
            .field("stop_config", &self.stop_config)
            .field("others", &self.others)
            .finish()
    }
}

/// The command of a machine. `exec` replaces everything, otherwise it is `entrypoint` and then `cmd`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// Runs instead of the image's entrypoint and command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Swap; a machine with swap cannot be suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_size_mb: Option<u32>,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

impl Init {
    /// The argument vector that these fields make; empty when the image decides.
    pub fn command(&self) -> Vec<String> {
        let parts = match &self.exec {
            Some(exec) if !exec.is_empty() => vec![exec],
            Some(_) | None => [&self.entrypoint, &self.cmd].into_iter().flatten().collect(),
        };
        parts.into_iter().flatten().cloned().collect()
    }
}

/// Processors and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ShownGuest")]
pub struct Guest {
    /// `shared` or `performance`.
    pub cpu_kind: String,
    /// How many.
    pub cpus: u32,
    /// A multiple of 256. Suspend needs at most 2048.
    pub memory_mb: u32,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

impl Default for Guest {
    /// Fly's smallest.
    fn default() -> Self {
        Self { cpu_kind: "shared".to_owned(), cpus: 1, memory_mb: 256, others: Others::default() }
    }
}

/// The same as it comes: what is missing is as in Fly's smallest.
#[derive(Deserialize)]
struct ShownGuest {
    cpu_kind: Option<String>,
    cpus: Option<u32>,
    memory_mb: Option<u32>,
    #[serde(flatten)]
    others: Others,
}

impl From<ShownGuest> for Guest {
    fn from(shown: ShownGuest) -> Self {
        let smallest = Self::default();
        Self {
            cpu_kind: shown.cpu_kind.unwrap_or(smallest.cpu_kind),
            cpus: shown.cpus.unwrap_or(smallest.cpus),
            memory_mb: shown.memory_mb.unwrap_or(smallest.memory_mb),
            others: shown.others,
        }
    }
}

/// A volume in a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Where it is seen; absolute.
    #[serde(default, deserialize_with = "null_as_default")]
    pub path: String,
    /// The volume's name, where no id is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The size of a volume that is made on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_gb: Option<u32>,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

/// What happens when a machine's process ends by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// When it is started again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub policy: RestartPolicy,
    /// For `on-failure`: how often; 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

/// When a machine whose process ended is started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// However it ended.
    Always,
    /// When it ended with anything but 0. Fly shows a policy that was never set as an empty text.
    #[default]
    #[serde(alias = "")]
    OnFailure,
    /// When there is spare capacity at its price.
    SpotPrice,
    /// A word that this version does not know.
    #[serde(untagged)]
    Unknown(String),
}

/// How a machine is asked to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopConfig {
    /// Such as `SIGTERM`; `SIGINT` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long until it is killed, such as `30s`; 5 s when absent, at most 300 s.
    #[serde(default, deserialize_with = "go_duration", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// What else there is.
    #[serde(flatten)]
    pub others: Others,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_read_in_all_the_ways_that_fly_writes_it() {
        let shown = json!({
            "image": "flyio/example", "env": null, "metadata": null, "mounts": null, "guest": null,
            "init": {"exec": null, "entrypoint": null, "cmd": null, "tty": false}, "restart": {"policy": ""},
            "stop_config": {"timeout": 10_000_000_000_u64}, "services": [{"autostop": "suspend"}], "auto_destroy": null,
        });
        let others = |value| serde_json::from_value::<Others>(value).expect("an object");
        let expected = MachineConfig {
            image: "flyio/example".to_owned(),
            init: Init { others: others(json!({"tty": false})), ..Init::default() },
            stop_config: Some(StopConfig { timeout: Some("10000ms".to_owned()), ..StopConfig::default() }),
            others: others(json!({"services": [{"autostop": "suspend"}]})),
            ..MachineConfig::default()
        };
        assert_eq!(serde_json::from_value::<MachineConfig>(shown).expect("a configuration"), expected);
        let restart: Restart = serde_json::from_value(json!({"policy": "brand-new"})).expect("a policy");
        assert_eq!(restart.policy, RestartPolicy::Unknown("brand-new".to_owned()));
        assert_eq!(serde_json::to_value(restart).expect("JSON"), json!({"policy": "brand-new"}));
    }

    #[test]
    fn what_is_not_known_is_kept_and_not_printed() {
        let shown = json!({"files": [{"guest_path": "/a", "raw_value": "hunter2"}], "guest": {"gpu_kind": "hunter2"}});
        let config: MachineConfig = serde_json::from_value(shown).expect("a configuration");
        let printed = format!("{config:?}");
        assert!(printed.contains("files") && printed.contains("gpu_kind"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn the_command_is_exec_or_else_entrypoint_and_cmd() {
        let words = |text: &str| Some(text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let init = |exec, entrypoint, cmd| Init { exec, entrypoint, cmd, ..Init::default() };
        assert_eq!(init(words("a b"), words("c"), words("d")).command(), ["a", "b"]);
        assert_eq!(init(None, words("c d"), words("e")).command(), ["c", "d", "e"]);
        assert_eq!(init(words(""), None, words("e")).command(), ["e"]);
        assert!(init(None, None, None).command().is_empty());
    }
}
