//! Sprites, their checkpoints, what they may reach and what they run by themselves, as
//! the Sprites API takes and gives them.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::MachineState;
use crate::lenient::{null_as_default, time_if_readable};

/// A sprite: a machine that keeps its disk for ever, sleeps when nothing holds it awake, and wakes by
/// being asked for something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sprite {
    /// Unique in the organisation; it is its id as well.
    pub name: String,
    /// Where it stands.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: SpriteStatus,
    /// Marks that it was made with.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// When it was made.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// Where a sprite stands, in the API's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpriteStatus {
    /// It runs, and is paid for.
    Running,
    /// It sleeps with its processes: it wakes in a few hundred milliseconds.
    Warm,
    /// It sleeps without them: it boots, in a second or two.
    Cold,
    /// A word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl SpriteStatus {
    /// The same in the words of machines, which the pool keeps. What sleeps without its processes is a
    /// machine that has stopped: with its disk, and to be started.
    pub const fn as_machine(self) -> MachineState {
        match self {
            Self::Running => MachineState::Started,
            Self::Warm => MachineState::Suspended,
            Self::Cold => MachineState::Stopped,
            Self::Unknown => MachineState::Unknown,
        }
    }
}

impl SpriteStatus {
    /// Whether it stands where a machine of that state does: both kinds of sleep are one, for it falls from
    /// one into the other by itself.
    pub(crate) const fn is_like(self, state: MachineState) -> bool {
        match state {
            MachineState::Suspended | MachineState::Stopped => matches!(self, Self::Warm | Self::Cold),
            MachineState::Started => matches!(self, Self::Running),
            _ => false,
        }
    }
}

/// A page of an organisation's sprites.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct SpritePage {
    /// The sprites.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sprites: Vec<Sprite>,
    /// Whether there are more.
    #[serde(default, deserialize_with = "null_as_default")]
    pub has_more: bool,
    /// Where the next page begins.
    #[serde(default)]
    pub next_continuation_token: Option<String>,
}

/// A saved disk; no memory is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpriteCheckpoint {
    /// Such as `v7`.
    pub id: String,
    /// What was said about it.
    #[serde(default)]
    pub comment: Option<String>,
    /// When it was saved.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub create_time: Option<DateTime<Utc>>,
    /// Whether the platform saved it by itself.
    #[serde(default, deserialize_with = "null_as_default")]
    pub is_auto: bool,
}

/// What a sprite may reach, by name; private addresses never.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpritePolicy {
    /// The rules.
    #[serde(default, deserialize_with = "null_as_default")]
    pub rules: Vec<SpriteRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SpriteRule {
    /// About one name.
    Domain {
        /// The name, or one with `*.` before it.
        domain: String,
        /// What becomes of it.
        action: SpriteAction,
    },
    /// Rules that the platform keeps, such as `defaults`.
    Include {
        /// Their name.
        include: String,
    },
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpriteAction {
    /// It is looked up.
    Allow,
    /// It is not.
    Deny,
}

/// A program that a sprite runs by itself: it starts with it, and anew when it has ended.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpriteService {
    /// The program.
    pub cmd: String,
    /// Its arguments.
    #[serde(default, deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    /// Its environment, which may hold secrets.
    #[serde(default, deserialize_with = "null_as_default")]
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
}

/// Of its environment only the names.
impl fmt::Debug for SpriteService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("SpriteService").field("cmd", &self.cmd).field("args", &self.args).field("env", &names).finish()
    }
}

/// How a program in a sprite ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpriteExit {
    /// Its exit code.
    pub code: u8,
    /// What it printed, as the API sends it: each piece behind the number of its stream. Nothing says
    /// where a piece ends, so it is for people to read.
    pub output: Vec<u8>,
}

impl SpriteExit {
    /// What it printed, in one line.
    pub(crate) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let words = text.split(|letter: char| letter.is_control() || letter.is_whitespace());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}
