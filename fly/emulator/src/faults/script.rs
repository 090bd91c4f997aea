//! Pure: what a fault script may say, and what is wrong with one that says
//! something else.

use std::time::Duration;

use fly::{Action, HostStatus};
use kit::Chance;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::documented::Documented;
use super::pattern::Pattern;
use crate::api;
use crate::machine::State;
use crate::refusal::Refusal;

/// A longer delay than any client of ours waits.
const LONGEST_DELAY_MS: u64 = 600_000;
/// Nothing that Fly was seen to do takes longer.
const LONGEST_STAY_MS: u64 = 86_400_000;
/// A probability has so many steps.
const CHANCES: u64 = 1 << 32;

/// A script, as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What chance goes by.
    #[serde(default)]
    pub(super) seed: u64,
    /// Calls that fail; the first rule that is for a call decides.
    #[serde(default, rename = "call")]
    pub(super) calls: Vec<CallRule>,
    /// What goes wrong with machines.
    #[serde(default, rename = "machine")]
    pub(super) machines: Vec<MachineRule>,
}

/// Which calls fail, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallRule {
    /// Any when absent.
    #[serde(default, deserialize_with = "served")]
    pub(super) action: Option<Action>,
    #[serde(default)]
    pub(super) when: Conditions,
    pub(super) effect: CallEffect,
}

/// An action of a call that is served here. The client has others, which are of the Sprites API.
fn served<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Action>, D::Error> {
    let wanted = String::deserialize(from)?;
    let known: Vec<(String, Action)> = api::actions().into_iter().map(|action| (name(action), action)).collect();
    let found = known.iter().find(|(name, _)| *name == wanted).map(|(_, action)| *action);
    found.map(Some).ok_or_else(|| {
        let known: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
        D::Error::custom(format!("unknown variant `{wanted}`, expected one of {}", known.join(", ")))
    })
}

/// An action's name in a script.
fn name(action: Action) -> String {
    serde_json::json!(action).as_str().unwrap_or_default().to_owned()
}

/// Which machines go wrong, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineRule {
    #[serde(default)]
    pub(super) when: Conditions,
    pub(super) effect: MachineEffect,
}

/// When a rule is for something, and when it then lets it fail; always, when nothing is said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditions {
    app: Option<Pattern>,
    /// A machine's or volume's id or name.
    target: Option<Pattern>,
    /// Only these of all that the rule is for, counted from 1.
    nth: Option<Vec<u64>>,
    /// At most so often.
    times: Option<u64>,
    /// With this probability.
    chance: Option<f64>,
}

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallEffect {
    /// One of Fly's known failures.
    Failure(Documented),
    /// Any answer.
    Answer(Answer),
    /// It is carried out so much later.
    DelayMs(u64),
    /// No answer comes.
    Drop(Moment),
}

/// When the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    /// Nothing was done.
    Before,
    /// It was done, and nobody learns of it.
    After,
}

/// An answer in place of the real one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    status: u16,
    error: String,
    /// The word for programs, `status` in the body.
    #[serde(default)]
    code: Option<String>,
}

impl Answer {
    pub(crate) fn refusal(self) -> Refusal {
        Refusal { word: self.code, ..Refusal::new(self.status, self.error) }
    }
}

/// What goes wrong with a machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MachineEffect {
    /// It comes into this state and does not get further.
    StickIn(State),
    /// It takes its time in this state.
    StayIn(StayIn),
    /// Its boot fails.
    FailToBoot,
    /// It gets its new configuration, and stays stopped.
    StopAfterUpdate,
    /// What it had in memory is lost when it is resumed.
    LoseSnapshot,
    /// A list leaves it out, as one that lags behind does.
    Unlisted,
    /// Its clock is behind when it is resumed.
    ClockLag(ClockLag),
    /// Its host does not answer.
    Host(SilentHost),
}

/// What is wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SilentHost {
    /// It does not answer.
    Unreachable,
    /// Nobody knows.
    Unknown,
}

impl From<SilentHost> for HostStatus {
    fn from(host: SilentHost) -> Self {
        match host {
            SilentHost::Unreachable => Self::Unreachable,
            SilentHost::Unknown => Self::Unknown,
        }
    }
}

/// How long a machine stays in a state on its way to another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StayIn {
    pub(super) state: State,
    for_ms: u64,
}

/// How far a resumed machine's clock is behind, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClockLag {
    by_ms: u64,
    /// Then it is set right, as NTP would; until the machine is suspended or stopped when absent.
    #[serde(default)]
    for_ms: Option<u64>,
}

impl StayIn {
    pub(super) const fn time(&self) -> Duration {
        Duration::from_millis(self.for_ms)
    }
}

impl ClockLag {
    pub(crate) const fn by(self) -> Duration {
        Duration::from_millis(self.by_ms)
    }

    pub(crate) fn time(self) -> Option<Duration> {
        self.for_ms.map(Duration::from_millis)
    }
}

/// A script cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadScript(pub(crate) String);

impl BadScript {
    /// In words that are not a programming language's.
    fn read(error: &dyn std::error::Error) -> Self {
        let words = [
            ("expected u64", "expected a whole number, 0 or more"),
            ("expected u16", "expected a whole number, 0 or more"),
            ("expected f64", "expected a number"),
            ("expected a sequence", "expected a list"),
            ("expected a map", "expected a table"),
        ];
        let text = words.into_iter().fold(error.to_string(), |text, (found, plain)| text.replace(found, plain));
        let text = without_types(&text, "expected struct ", "expected a table");
        Self(without_types(&text, "expected enum ", "expected a word, or a table with one of its names"))
    }
}

/// The text with other words in place of these and the name of a type after them.
fn without_types(text: &str, words: &str, plain: &str) -> String {
    let mut parts = text.split(words);
    let first = parts.next().unwrap_or_default().to_owned();
    parts
        .fold(first, |text, part| text + plain + part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric()))
}

impl Script {
    /// Reads a script: in JSON where it begins as an object does, which no TOML can, else in TOML.
    pub fn from_either(text: &str) -> Result<Self, BadScript> {
        if text.trim_start().starts_with('{') { Self::from_json(text) } else { Self::from_toml(text) }
    }

    /// Reads a script in TOML.
    pub fn from_toml(text: &str) -> Result<Self, BadScript> {
        toml::from_str(text).map_err(|error| BadScript::read(&error)).and_then(Self::checked)
    }

    /// Reads a script in JSON, with the same fields.
    pub fn from_json(text: &str) -> Result<Self, BadScript> {
        let mut from = serde_json::Deserializer::from_str(text);
        let read = serde_path_to_error::deserialize(&mut from).map_err(|error| {
            let BadScript(said) = BadScript::read(error.inner());
            let path = error.path().to_string();
            BadScript(if path == "." { said } else { format!("{path}: {said}") })
        });
        let read = read.and_then(|script| from.end().map(|()| script).map_err(|error| BadScript::read(&error)));
        read.and_then(Self::checked)
    }

    /// Whether it asks for clocks that are behind.
    pub(crate) fn lets_clocks_lag(&self) -> bool {
        self.machines.iter().any(|rule| matches!(rule.effect, MachineEffect::ClockLag(_)))
    }

    fn checked(self) -> Result<Self, BadScript> {
        for (index, CallRule { when, effect, .. }) in self.calls.iter().enumerate() {
            let place = format!("call[{index}]");
            when.check(&place)?;
            check_call_effect(effect, &place)?;
        }
        for (index, MachineRule { when, effect }) in self.machines.iter().enumerate() {
            let place = format!("machine[{index}]");
            when.check(&place)?;
            check_machine_effect(effect, when, &place)?;
        }
        Ok(self)
    }
}

fn check_call_effect(effect: &CallEffect, place: &str) -> Result<(), BadScript> {
    match effect {
        CallEffect::Answer(Answer { status, .. }) if !(400..=599).contains(status) => {
            Err(BadScript(format!("{place}.effect.answer.status: {status} is no refusal; take 400 to 599")))
        }
        CallEffect::DelayMs(delay) if !(1..=LONGEST_DELAY_MS).contains(delay) => {
            Err(BadScript(format!("{place}.effect.delay_ms: take 1 to {LONGEST_DELAY_MS}")))
        }
        CallEffect::Failure(_) | CallEffect::Answer(_) | CallEffect::DelayMs(_) | CallEffect::Drop(_) => Ok(()),
    }
}

fn check_machine_effect(effect: &MachineEffect, when: &Conditions, place: &str) -> Result<(), BadScript> {
    match effect {
        MachineEffect::StickIn(state) => check_way(*state, &format!("{place}.effect.stick_in")),
        MachineEffect::StayIn(stay) => {
            check_way(stay.state, &format!("{place}.effect.stay_in.state"))?;
            check_time(stay.for_ms, &format!("{place}.effect.stay_in.for_ms"))
        }
        MachineEffect::ClockLag(ClockLag { by_ms, for_ms }) => {
            check_time(*by_ms, &format!("{place}.effect.clock_lag.by_ms"))?;
            for_ms.map_or(Ok(()), |time| check_time(time, &format!("{place}.effect.clock_lag.for_ms")))
        }
        MachineEffect::Host(_) if when.nth.is_some() || when.times.is_some() || when.chance.is_some() => Err(
            BadScript(format!("{place}.effect.host: a host is counted by no calls; leave out nth, times and chance")),
        ),
        MachineEffect::FailToBoot
        | MachineEffect::StopAfterUpdate
        | MachineEffect::LoseSnapshot
        | MachineEffect::Unlisted
        | MachineEffect::Host(_) => Ok(()),
    }
}

/// A machine that is created to be started is on its way as well.
fn check_way(state: State, place: &str) -> Result<(), BadScript> {
    if !state.is_settled() || state == State::Created {
        return Ok(());
    }
    Err(BadScript(format!(
        "{place}: a machine stays in {:?} anyhow; take created, starting, stopping, suspending, restarting, \
         replacing or destroying",
        state.as_str()
    )))
}

fn check_time(ms: u64, place: &str) -> Result<(), BadScript> {
    if (1..=LONGEST_STAY_MS).contains(&ms) {
        return Ok(());
    }
    Err(BadScript(format!("{place}: take 1 to {LONGEST_STAY_MS}")))
}

impl Conditions {
    fn check(&self, place: &str) -> Result<(), BadScript> {
        if self.nth.as_ref().is_some_and(|nth| nth.is_empty() || nth.contains(&0)) {
            return Err(BadScript(format!("{place}.when.nth: name at least one, counted from 1")));
        }
        if self.times == Some(0) {
            return Err(BadScript(format!("{place}.when.times: take at least 1")));
        }
        if self.chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err(BadScript(format!("{place}.when.chance: take 0 to 1")));
        }
        Ok(())
    }

    pub(super) fn matches(&self, app: &str, targets: &[String]) -> bool {
        self.app.as_ref().is_none_or(|pattern| pattern.matches(app))
            && self.target.as_ref().is_none_or(|pattern| targets.iter().any(|target| pattern.matches(target)))
    }

    /// Whether it lets fail what is the `seen`th of its kind, when it let fail `fired` before.
    pub(super) fn are_due(&self, seen: u64, fired: u64, chance: &Chance) -> bool {
        self.nth.as_ref().is_none_or(|nth| nth.contains(&seen))
            && self.times.is_none_or(|times| fired < times)
            && self.chance.is_none_or(|odds| (chance.below(CHANCES) as f64) < odds * CHANCES as f64)
    }
}

impl CallEffect {
    /// How long a call is kept waiting.
    pub(crate) const fn delay(&self) -> Option<Duration> {
        match self {
            Self::DelayMs(delay) => Some(Duration::from_millis(*delay)),
            Self::Failure(_) | Self::Answer(_) | Self::Drop(_) => None,
        }
    }
}
