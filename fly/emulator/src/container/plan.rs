//! Pure: what the engine is asked for when a machine starts, with every rule of
//! row T-2.3.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fly::{Guest, Init};
use serde_json::{Value, json};

/// Marks a container as one of ours (row T-2.3d), in the backlog's word and in ours.
pub(super) const FLEET: [&str; 2] = ["dixie-fleet", "bifrost-fleet"];
/// Names the task that it was made for.
const TASK: [&str; 2] = ["fleet-task-id", "bifrost-task-id"];
/// The machine that it is.
pub(super) const MACHINE: &str = "bifrost-machine-id";
/// The data directory of its emulator.
pub(super) const DATA: &str = "bifrost-data";
/// The metadata by which a machine says what task it is made for.
const TASK_KEYS: [&str; 2] = ["fleet-task-id", "bifrost_task"];

/// Where a machine does not say how large it is (row T-2.3a).
const MEMORY_MB: u32 = 2_048;
const CPUS: u32 = 2;
/// More than any build needs, and few enough that a fork bomb ends.
const PROCESSES: u32 = 4_096;
/// How long the engine waits before it kills, where the machine does not say (row T-2.4b).
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// A machine, as far as its container goes.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) machine_id: String,
    pub(crate) image: String,
    pub(crate) init: Init,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Nothing where it takes what there is.
    pub(crate) guest: Option<Guest>,
    /// Where its volumes are seen, and where they are.
    pub(crate) mounts: Vec<(String, PathBuf)>,
    /// Such as `SIGTERM`.
    pub(crate) stop_signal: &'static str,
    pub(crate) stop_within: Option<Duration>,
    /// Where its log is.
    pub(crate) directory: PathBuf,
}

/// What all containers have in common.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) network: String,
    pub(super) user: (u32, u32),
    /// The profile, or for podman the file that it is in.
    pub(super) seccomp: String,
    /// Whether ids in the container are those outside: podman without root (row T-2.3c).
    pub(super) keeps_ids: bool,
    pub(super) data: String,
}

/// The container's name: one machine has one.
pub(super) fn name(machine_id: &str) -> String {
    format!("bifrost-{machine_id}")
}

/// The body of `POST /containers/create`.
pub(super) fn create(wanted: &Wanted, rules: &Rules) -> Value {
    let (user, group) = rules.user;
    let env: Vec<String> = wanted.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let stop_within = wanted.stop_within.unwrap_or(GRACE);
    let mut body = json!({
        "Image": wanted.image,
        "Env": env,
        "Labels": labels(wanted, rules),
        "User": format!("{user}:{group}"),
        "Tty": false,
        "OpenStdin": false,
        "StopSignal": wanted.stop_signal,
        "StopTimeout": seconds(stop_within),
        "HostConfig": host(wanted, rules),
    });
    match &wanted.init.exec {
        Some(exec) if !exec.is_empty() => {
            body["Entrypoint"] = json!(exec);
            body["Cmd"] = json!([]);
        }
        _ => {
            if let Some(entrypoint) = &wanted.init.entrypoint {
                body["Entrypoint"] = json!(entrypoint);
            }
            if let Some(command) = &wanted.init.cmd {
                body["Cmd"] = json!(command);
            }
        }
    }
    body
}

/// An engine counts in seconds, and gives nobody less time than was asked for.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn labels(wanted: &Wanted, rules: &Rules) -> BTreeMap<&'static str, String> {
    let task = TASK_KEYS.iter().find_map(|key| wanted.metadata.get(*key)).unwrap_or(&wanted.machine_id);
    let fleet = FLEET.iter().map(|name| (*name, "true".to_owned()));
    let task = TASK.iter().map(|name| (*name, task.clone()));
    let own = [(MACHINE, wanted.machine_id.clone()), (DATA, rules.data.clone())];
    fleet.chain(task).chain(own).collect()
}

fn host(wanted: &Wanted, rules: &Rules) -> Value {
    let memory_mb = wanted.guest.as_ref().map_or(MEMORY_MB, |guest| guest.memory_mb);
    let cpus = wanted.guest.as_ref().map_or(CPUS, |guest| guest.cpus);
    let memory = u64::from(memory_mb) << 20;
    let mounts: Vec<Value> = wanted
        .mounts
        .iter()
        .map(|(path, directory)| json!({ "Type": "bind", "Source": directory, "Target": path, "ReadOnly": false }))
        .collect();
    let mut host = json!({
        "ReadonlyRootfs": true,
        "Tmpfs": { "/tmp": "rw,noexec,nosuid,nodev,size=256m,mode=1777" },
        "Memory": memory,
        // As much as memory: no swap.
        "MemorySwap": memory,
        "NanoCpus": u64::from(cpus) * 1_000_000_000,
        "PidsLimit": PROCESSES,
        "CapDrop": ["ALL"],
        "CapAdd": ["NET_BIND_SERVICE"],
        "SecurityOpt": ["no-new-privileges", format!("seccomp={}", rules.seccomp)],
        "Privileged": false,
        "NetworkMode": rules.network,
        "Mounts": mounts,
        "AutoRemove": false,
        "RestartPolicy": { "Name": "no" },
        "LogConfig": { "Type": "json-file", "Config": { "max-size": "8m" } },
    });
    if rules.keeps_ids {
        host["UsernsMode"] = json!("keep-id");
    }
    host
}

#[cfg(test)]
mod tests;
