//! What is remembered of a machine, on disk and to be shown. It may hold secrets,
//! so it does not print itself.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use fly::Guest;
use kit::Chance;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::lease::Lease;
use super::state::State;
use super::words::unable;
use crate::driver::Trace;
use crate::id;
use crate::process::Exit;
use crate::refusal::Refusal;

/// As many of the newest as the API can show.
const EVENTS: usize = 50;
/// Earlier versions that are remembered.
const VERSIONS: usize = 20;

/// A machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) instance_id: String,
    pub(crate) state: State,
    /// As it was sent, with fields that this emulator does nothing about.
    pub(crate) config: Map<String, Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// Oldest first.
    pub(crate) events: Vec<LogEntry>,
    pub(crate) lease: Option<Lease>,
    /// Its init or its container, while that runs.
    pub(crate) process: Option<Trace>,
    /// What that was told besides its configuration.
    #[serde(default)]
    pub(crate) fixed_env: BTreeMap<String, String>,
    /// When it was started again because its init had ended.
    pub(crate) restarts: Vec<DateTime<Utc>>,
    /// What it was before its updates, oldest first.
    #[serde(default)]
    pub(crate) versions: Vec<Version>,
    /// Whether requests are to be kept from it. No proxy is here that would send any.
    #[serde(default)]
    pub(crate) is_cordoned: bool,
    /// What it may take of its memory, where that was changed since its boot.
    #[serde(default)]
    pub(crate) memory_limit_mb: Option<u32>,
}

/// What a machine was before an update.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) instance_id: String,
    pub(crate) config: Map<String, Value>,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) id: String,
    /// Such as `start` or `exit`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The state it led to.
    pub(crate) status: String,
    pub(crate) source: Source,
    /// In milliseconds.
    pub(crate) timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Value>,
}

/// Who made something happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A caller of the API.
    User,
    /// The platform.
    Flyd,
}

impl Record {
    /// Notes what happened and led to the present state.
    pub(super) fn note(
        &mut self,
        kind: &str,
        source: Source,
        request: Option<Value>,
        now: DateTime<Utc>,
        chance: &Chance,
    ) {
        let excess = (self.events.len() + 1).saturating_sub(EVENTS);
        self.events.drain(..excess);
        self.events.push(LogEntry {
            id: id::ulid(now, chance),
            kind: kind.to_owned(),
            status: self.state.as_str().to_owned(),
            source,
            timestamp: now.timestamp_millis(),
            request,
        });
    }

    /// Gives it another configuration, and with that another version.
    pub(super) fn replace_config(&mut self, config: Map<String, Value>, now: DateTime<Utc>, chance: &Chance) {
        let instance_id = std::mem::replace(&mut self.instance_id, id::ulid(now, chance));
        let config = std::mem::replace(&mut self.config, config);
        let excess = (self.versions.len() + 1).saturating_sub(VERSIONS);
        self.versions.drain(..excess);
        self.versions.push(Version { instance_id, config });
    }

    /// What it runs as, if it is started; without that it is not up to what `verb` says.
    pub(crate) fn running(&self, verb: &str) -> Result<&Trace, Refusal> {
        let trace = self.process.as_ref().filter(|_| self.state == State::Started);
        trace.ok_or_else(|| unable(verb, self.state))
    }

    /// What it may take of its memory now, in MB.
    pub(crate) fn memory_limit(&self) -> u32 {
        let configured = || self.config.get("guest")?.get("memory_mb")?.as_u64()?.try_into().ok();
        self.memory_limit_mb.or_else(configured).unwrap_or(Guest::default().memory_mb)
    }

    /// Its metadata; it is part of the configuration.
    pub(crate) fn metadata(&self) -> Map<String, Value> {
        self.config.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default()
    }
}

/// What the API tells about an exit; a code or signal that nobody learnt of is absent.
pub(super) fn exit_event(exit: Exit, requested_stop: bool, restarting: bool, now: DateTime<Utc>) -> Value {
    let mut event = json!({
        "requested_stop": requested_stop,
        "restarting": restarting,
        "oom_killed": exit.is_out_of_memory,
        "exited_at": now.timestamp_millis(),
    });
    if let Some(code) = exit.code {
        event["exit_code"] = json!(code);
        event["guest_exit_code"] = json!(code);
    }
    if let Some(signal) = exit.signal {
        event["signal"] = json!(signal);
        event["guest_signal"] = json!(signal);
    }
    json!({ "exit_event": event })
}
