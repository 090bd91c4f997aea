//! What happened to a machine, as the Machines API tells it.

use serde::{Deserialize, Serialize};

use crate::lenient::null_as_default;

/// Something that happened to a machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineEvent {
    /// Its id.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// Such as `start`, `exit` or `update`.
    #[serde(default, deserialize_with = "null_as_default", rename = "type")]
    pub kind: String,
    /// The state it led to.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// `user` for a caller of the API, `flyd` for the platform.
    #[serde(default, deserialize_with = "null_as_default")]
    pub source: String,
    /// In milliseconds.
    #[serde(default, deserialize_with = "null_as_default")]
    pub timestamp: i64,
    /// More about some of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
}

impl MachineEvent {
    /// How its program ended, if that is what happened.
    pub fn exit(&self) -> Option<&ExitEvent> {
        let request = self.request.as_ref()?;
        let monitored = request.monitor_event.as_ref().and_then(|monitor| monitor.exit_event.as_ref());
        monitored.or(request.exit_event.as_ref())
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Request {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_event: Option<ExitEvent>,
    /// Where both are there, this one knows better.
    #[serde(default, rename = "MonitorEvent", skip_serializing_if = "Option::is_none")]
    monitor_event: Option<MonitorEvent>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct MonitorEvent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_event: Option<ExitEvent>,
}

/// How a machine's program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitEvent {
    /// Its code; Fly's own when the machine rather than the program ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i64>,
    /// Whether it was ended because memory ran out.
    #[serde(default, deserialize_with = "null_as_default")]
    pub oom_killed: bool,
    /// Whether somebody had asked for it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub requested_stop: bool,
    /// Whether the machine is started again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub restarting: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_monitor_knows_better_how_a_program_ended() {
        let both = json!({"type": "exit", "request": {
            "exit_event": {"exit_code": 0}, "restart_count": 1,
            "MonitorEvent": {"exit_event": {"exit_code": 137, "oom_killed": true, "signal": -1}},
        }});
        let event: MachineEvent = serde_json::from_value(both).expect("an event");
        assert_eq!(event.exit().map(|exit| (exit.exit_code, exit.oom_killed)), Some((Some(137), true)));
        let plain = json!({"type": "exit", "request": {"exit_event": {"exit_code": 3, "exited_at": "2026-05-14"}}});
        let event: MachineEvent = serde_json::from_value(plain).expect("an event");
        assert_eq!(event.exit().and_then(|exit| exit.exit_code), Some(3));
        assert_eq!(MachineEvent::default().exit(), None);
    }
}
