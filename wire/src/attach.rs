//! Attaching to a running command: what crosses the WebSockets between a person's
//! terminal, the control plane and the runner.
//!
//! Binary messages are the bytes themselves: from the runner what the command says,
//! to it what is typed. Text messages are [`Word`]s in JSON.

use serde::{Deserialize, Serialize};

use crate::task::text_enum;

/// The longest message of either kind, in bytes.
pub const MESSAGE_BYTES: usize = 64 * 1024;

/// What is said besides the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Word {
    /// The first word of the runner: what is there.
    Opened {
        /// Whether the command has a terminal, so that it can be typed to.
        terminal: bool,
        /// Whether what is typed is passed on.
        write: bool,
    },
    /// The person's terminal has this size now.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in one.
        columns: u16,
    },
    /// So many pieces of output were passed over, since they came faster than they were taken.
    Skipped {
        /// How many.
        pieces: u64,
    },
    /// The last word, and why it is.
    Closed {
        /// Why.
        why: Closed,
    },
}

text_enum! {
    /// Why an attachment ends.
    Closed, "end of an attachment" {
        /// The command has ended.
        CommandEnded = "command_ended",
        /// The machine has no such command: it makes the workspace ready for it, or it has just ended.
        NotRunning = "not_running",
        /// The machine did not answer.
        RunnerAway = "runner_away",
        /// Somebody took what was sent too slowly.
        TooSlow = "too_slow",
        /// The server stops.
        ServerStops = "server_stops",
    }
}

impl Closed {
    /// Whether attaching again may well succeed, if the task still runs.
    pub fn may_pass(self) -> bool {
        match self {
            Self::NotRunning | Self::RunnerAway | Self::TooSlow | Self::ServerStops => true,
            Self::CommandEnded => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for (word, text) in [
            (Word::Opened { terminal: true, write: false }, r#"{"kind":"opened","terminal":true,"write":false}"#),
            (Word::Resize { rows: 24, columns: 80 }, r#"{"kind":"resize","rows":24,"columns":80}"#),
            (Word::Closed { why: Closed::CommandEnded }, r#"{"kind":"closed","why":"command_ended"}"#),
        ] {
            assert_eq!(serde_json::to_string(&word).expect("writes"), text);
            assert_eq!(serde_json::from_str::<Word>(text).expect("reads"), word);
        }
    }
}
