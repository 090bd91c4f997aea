//! Tasks as the API speaks of them: what goes in, what comes out, the states,
//! and the specification a runner carries out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::admission::{check_key, check_name};
use crate::agent::AgentSpec;
use crate::budget::{TaskBudget, TaskBudgetView};
use crate::egress;
use crate::execution::ExecutionView;
use crate::id::{CheckpointId, ScheduleId, TaskId};
use crate::limit;
use crate::pull_request::PullRequestSpec;
use crate::test_report::TestsSpec;

macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {$($(#[$vmeta])* #[serde(rename = $text)] $variant,)*}

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text on the wire and in the database.
            pub fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $text,)*}
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::task::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($crate::task::UnknownWord { what: $what, expected: &[$($text,)*] }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::task::UnknownWord;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}
pub(crate) use text_enum;

/// A word that is not one of the values a field knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownWord {
    /// What the field is.
    pub what: &'static str,
    /// What it may say.
    pub expected: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {}: expected one of {}", self.what, self.expected.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

text_enum! {
    /// Where a task stands (rows CAIRN-9, CAIRN-14, decision C-1).
    TaskStatus, "task status" {
        /// May start as soon as its dependencies and the caps allow.
        Ready = "ready",
        /// Promised to a worker that has not begun.
        Assigned = "assigned",
        /// A worker is on it.
        InProgress = "in_progress",
        /// Done, with success.
        Completed = "completed",
        /// Done, without success; may be retried.
        Failed = "failed",
        /// Replaced by its parts.
        Split = "split",
        /// Called off; the end.
        Cancelled = "cancelled",
    }
}

impl TaskStatus {
    /// Whether nothing will happen to the task unless somebody asks.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Split | Self::Cancelled => true,
            Self::Ready | Self::Assigned | Self::InProgress => false,
        }
    }
}

/// How urgent, 1 to 5; 5 is the most urgent (decision C-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = i16, minimum = 1, maximum = 5))]
pub struct Priority(i16);

impl Priority {
    /// As a number, 1 to 5.
    pub fn get(self) -> i16 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(3)
    }
}

impl TryFrom<i16> for Priority {
    type Error = PriorityOutOfRange;
    fn try_from(value: i16) -> Result<Self, PriorityOutOfRange> {
        if (1..=5).contains(&value) { Ok(Self(value)) } else { Err(PriorityOutOfRange) }
    }
}

impl From<Priority> for i16 {
    fn from(priority: Priority) -> i16 {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = PriorityOutOfRange;
    fn from_str(text: &str) -> Result<Self, PriorityOutOfRange> {
        text.parse::<i16>().map_err(|_| PriorityOutOfRange)?.try_into()
    }
}

/// A priority is a whole number from 1 (least urgent) to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority must be a whole number from 1 (least urgent) to 5 (most urgent)")]
pub struct PriorityOutOfRange;

/// What a runner is to do. A task without one is a note for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskSpec {
    /// Where to clone from: an `https`, `ssh`, `git` or `file` URL.
    pub repository: String,
    /// A branch, a tag or a commit; the remote's default branch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Program and arguments; no shell reads them. Absent where an agent is asked instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What a coding agent is asked to do, in place of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,
    /// Variables added to the command's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it may reach through the egress proxy besides what every task may: `HOST`, which is port 443, `HOST:PORT`, or
    /// `*.SUFFIX` for everything below. Hosts with private addresses are the operator's to allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<String>,
    /// Whether the command gets a terminal, to which somebody can attach and type. Its output is then one stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
    /// The longest the command may run, in seconds; 1,800 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// The longest the command may be silent and idle, in seconds; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    /// The longest the command may go on without output and without a commit, in seconds; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout_seconds: Option<u64>,
    /// Tests to run in the workspace, after the command or agent has ended well, or in place of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestsSpec>,
    /// The workspace begins as this checkpoint left it, in place of a clean checkout of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointId>,
    /// Work that nobody pushed is pushed to the repository under `refs/bifrost/wip/<execution>`, besides being kept
    /// on the machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub push_unfinished: bool,
    /// Once it has ended well, what it changed is proposed to the repository's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestSpec>,
}

/// One thing that is wrong with what was sent: the field and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// The field at fault, as a dotted path.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

pub(crate) fn wrong(field: &'static str, message: impl Into<String>) -> FieldError {
    FieldError { field, message: message.into() }
}

impl TaskSpec {
    /// Refuses what no runner could carry out, before any work.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_repository(&self.repository)?;
        if let Some(reference) = &self.reference {
            check_reference(reference)?;
        }
        self.tests.as_ref().map_or(Ok(()), TestsSpec::validate)?;
        self.check_pull_request()?;
        match &self.agent {
            None if self.command.is_empty() && self.tests.is_some() => (),
            None => check_words("spec.command", &self.command)?,
            Some(agent) if self.command.is_empty() => agent.validate()?,
            Some(_) => return Err(wrong("spec.agent", "and spec.command exclude each other; leave one out")),
        }
        if self.terminal && self.agent.is_some() {
            let message = "is for commands; an agent is understood by what it prints without one";
            return Err(wrong("spec.terminal", message));
        }
        self.check_env()?;
        egress::check(&self.egress)?;
        for (field, seconds) in [
            ("spec.timeout_seconds", self.timeout_seconds),
            ("spec.idle_timeout_seconds", self.idle_timeout_seconds),
            ("spec.stall_timeout_seconds", self.stall_timeout_seconds),
        ] {
            if seconds.is_some_and(|s| s == 0 || s > limit::TIMEOUT_SECONDS_MAX) {
                return Err(wrong(field, format!("must be from 1 to {} seconds (7 days)", limit::TIMEOUT_SECONDS_MAX)));
            }
        }
        Ok(())
    }

    /// The bound on the command's run time, in seconds.
    pub fn timeout_seconds(&self) -> u64 {
        self.timeout_seconds.unwrap_or(limit::TIMEOUT_SECONDS_DEFAULT)
    }

    fn check_pull_request(&self) -> Result<(), FieldError> {
        let Some(pull_request) = &self.pull_request else { return Ok(()) };
        let is_at_a_host = ["https://", "http://", "ssh://"].iter().any(|scheme| self.repository.starts_with(scheme));
        if !is_at_a_host {
            let message = "needs a repository at a host with GitHub's API, such as https://github.com/OWNER/NAME";
            return Err(wrong("spec.pull_request", message));
        }
        pull_request.validate()
    }

    fn check_env(&self) -> Result<(), FieldError> {
        const FIELD: &str = "spec.env";
        if self.env.len() > limit::ENV_VARIABLES {
            return Err(wrong(FIELD, format!("has more than {} variables", limit::ENV_VARIABLES)));
        }
        if self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > limit::ENV_BYTES {
            return Err(wrong(FIELD, format!("is longer than {} bytes in all", limit::ENV_BYTES)));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || name.chars().any(char::is_whitespace) {
                return Err(wrong(FIELD, format!("has a name that is not one: {name:?}")));
            }
            if value.contains('\0') {
                return Err(wrong(FIELD, format!("has a NUL character in the value of {name}")));
            }
        }
        Ok(())
    }
}

/// Refuses a program and arguments that no process could be started with.
pub(crate) fn check_words(field: &'static str, command: &[String]) -> Result<(), FieldError> {
    if command.first().is_none_or(String::is_empty) {
        return Err(wrong(field, "names no program; give at least one argument, such as [\"make\", \"test\"]"));
    }
    if command.len() > limit::COMMAND_ARGUMENTS {
        return Err(wrong(field, format!("has more than {} arguments", limit::COMMAND_ARGUMENTS)));
    }
    if command.iter().map(String::len).sum::<usize>() > limit::COMMAND_BYTES {
        return Err(wrong(field, format!("is longer than {} bytes in all", limit::COMMAND_BYTES)));
    }
    if command.iter().any(|argument| argument.contains('\0')) {
        return Err(wrong(field, "contains a NUL character, which no program can be given"));
    }
    Ok(())
}

fn check_repository(repository: &str) -> Result<(), FieldError> {
    const FIELD: &str = "spec.repository";
    if repository.is_empty() || repository.len() > limit::REPOSITORY_CHARS {
        return Err(wrong(FIELD, format!("must be a URL of 1 to {} characters", limit::REPOSITORY_CHARS)));
    }
    let Some((scheme, rest)) = repository.split_once("://") else {
        return Err(wrong(FIELD, "must be a URL such as https://github.com/owner/name or file:///srv/git/name"));
    };
    if !["https", "http", "ssh", "git", "file"].contains(&scheme) {
        return Err(wrong(FIELD, format!("has the scheme {scheme:?}; use https, http, ssh, git or file")));
    }
    if repository.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong(FIELD, "contains white space or a control character; write it as %20 and the like"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
        || (scheme != "ssh" && authority.contains('@'))
    {
        return Err(wrong(FIELD, "carries a credential; leave it out, secrets never travel in URLs"));
    }
    Ok(())
}

fn check_reference(reference: &str) -> Result<(), FieldError> {
    if is_reference(reference) {
        return Ok(());
    }
    Err(wrong("spec.reference", "is not a branch, tag or commit name (see git-check-ref-format)"))
}

/// Refuses what cannot be a branch's name.
pub(crate) fn check_branch(field: &'static str, branch: &str) -> Result<(), FieldError> {
    if is_reference(branch) && !branch.starts_with("refs/") && branch != "HEAD" {
        return Ok(());
    }
    Err(wrong(field, "is not the name of a branch, such as main or fix/login (see git-check-ref-format)"))
}

fn is_reference(reference: &str) -> bool {
    // git-check-ref-format(1), and nothing that git could read as an option.
    let ill_formed = reference.is_empty()
        || reference.len() > limit::REPOSITORY_CHARS
        || reference.starts_with(['-', '/', '.'])
        || reference.ends_with(['/', '.'])
        || reference.ends_with(".lock")
        || ["..", "//", "@{", "/."].iter().any(|bad| reference.contains(bad))
        || reference.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c));
    !ill_formed
}

/// A new task, as sent to `POST /v1/tasks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewTask {
    /// One line, 1 to 500 characters.
    pub title: String,
    /// Up to 65,536 characters.
    #[serde(default)]
    pub description: String,
    /// 1 to 5, 5 first; 3 when absent.
    #[serde(default)]
    pub priority: Priority,
    /// Estimated minutes of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort_estimate: Option<i32>,
    /// What a runner is to do; absent for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<TaskSpec>,
    /// The project that it belongs to, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it uses and others use too, such as `db-migrations`: limits and holds are set for keys. Up to 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// It does not start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// When it has not been given to anybody by then, it fails; when it has, it is marked as overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// What it may use in its whole life; a retry does not reset it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<TaskBudget>,
}

impl NewTask {
    /// Refuses a task that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_title(&self.title)?;
        check_description(&self.description)?;
        check_effort(self.effort_estimate)?;
        self.project.as_deref().map_or(Ok(()), |name| check_name("project", name))?;
        check_keys(&self.keys)?;
        check_times(self.not_before, self.deadline)?;
        self.budget.as_ref().map_or(Ok(()), TaskBudget::validate)?;
        self.spec.as_ref().map_or(Ok(()), TaskSpec::validate)
    }
}

/// Changes to a task, as sent to `PATCH /v1/tasks/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskChange {
    /// One line, 1 to 500 characters.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Up to 65,536 characters.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Only along the lines of the task's state machine.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// 1 to 5, 5 first.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Estimated minutes of work, or null for no estimate.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i32>))]
    pub effort_estimate: Option<Option<i32>>,
    /// Another project, or null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub project: Option<Option<String>>,
    /// Other keys, in place of those it has.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Another time before which it does not start, or null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DateTime<Utc>>))]
    pub not_before: Option<Option<DateTime<Utc>>>,
    /// Another deadline, or null for none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<DateTime<Utc>>))]
    pub deadline: Option<Option<DateTime<Utc>>>,
    /// Another budget in place of the one it has, or null for none; what was used stays counted.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<TaskBudget>))]
    pub budget: Option<Option<TaskBudget>>,
}

/// Tells null, which takes a value away, from absence, which leaves it.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Refuses null where there is no value to take away.
fn there<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl TaskChange {
    /// Refuses a change that breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        self.title.as_deref().map_or(Ok(()), check_title)?;
        self.description.as_deref().map_or(Ok(()), check_description)?;
        self.project.as_ref().and_then(Option::as_deref).map_or(Ok(()), |name| check_name("project", name))?;
        self.keys.as_deref().map_or(Ok(()), check_keys)?;
        check_times(self.not_before.flatten(), self.deadline.flatten())?;
        self.budget.as_ref().and_then(Option::as_ref).map_or(Ok(()), TaskBudget::validate)?;
        check_effort(self.effort_estimate.flatten())
    }

    /// Whether it changes what admission looks at.
    pub fn concerns_admission(&self) -> bool {
        self.project.is_some()
            || self.keys.is_some()
            || self.not_before.is_some()
            || self.deadline.is_some()
            || self.budget.is_some()
    }
}

fn check_keys(keys: &[String]) -> Result<(), FieldError> {
    if keys.len() > limit::KEYS_PER_TASK {
        return Err(wrong("keys", format!("must be at most {}", limit::KEYS_PER_TASK)));
    }
    keys.iter().try_for_each(|key| check_key("keys", key))?;
    let twice = keys.iter().enumerate().find(|(place, key)| keys[..*place].contains(key));
    twice.map_or(Ok(()), |(_, key)| Err(wrong("keys", format!("names {key:?} twice"))))
}

fn check_times(not_before: Option<DateTime<Utc>>, deadline: Option<DateTime<Utc>>) -> Result<(), FieldError> {
    use chrono::Datelike as _;
    for (field, time) in [("not_before", not_before), ("deadline", deadline)] {
        if time.is_some_and(|time| !(1970..9000).contains(&time.year())) {
            return Err(wrong(field, "must be a time of the years 1970 to 8999"));
        }
    }
    if not_before.zip(deadline).is_some_and(|(not_before, deadline)| deadline <= not_before) {
        return Err(wrong("deadline", "must be later than `not_before`"));
    }
    Ok(())
}

fn check_title(title: &str) -> Result<(), FieldError> {
    if title.trim().is_empty() || title.chars().count() > limit::TITLE_CHARS {
        return Err(wrong("title", format!("must have 1 to {} characters", limit::TITLE_CHARS)));
    }
    if title.chars().any(char::is_control) {
        return Err(wrong("title", "must be one line, without control characters; the rest goes into `description`"));
    }
    Ok(())
}

fn check_description(description: &str) -> Result<(), FieldError> {
    if description.chars().count() > limit::DESCRIPTION_CHARS || description.contains('\0') {
        return Err(wrong("description", format!("must have at most {} characters", limit::DESCRIPTION_CHARS)));
    }
    Ok(())
}

fn check_effort(minutes: Option<i32>) -> Result<(), FieldError> {
    if minutes.is_some_and(|m| m < 0) {
        return Err(wrong("effort_estimate", "must be a number of minutes, zero or more"));
    }
    Ok(())
}

/// A task, as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// One line.
    pub title: String,
    /// The rest of the story.
    pub description: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// 1 to 5, 5 first.
    pub priority: Priority,
    /// Estimated minutes of work.
    pub effort_estimate: Option<i32>,
    /// What a runner does for it.
    pub spec: Option<TaskSpec>,
    /// Attempts that count; an attempt lost with its worker does not.
    pub attempts: i32,
    /// Of how many things that it needs (hard) none is true yet: each dependency is one, and each group of them; it
    /// starts when there are none.
    #[serde(default)]
    pub waits_for: i32,
    /// Its newest execution.
    pub execution: Option<ExecutionView>,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it uses and others use too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// It does not start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// By when it should have been started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// Whether its deadline passed before its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// What it may use in its whole life, and has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<TaskBudgetView>,
    /// The schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_id: Option<ScheduleId>,
    /// In lists, what a ready task waits for, in one line: the nearest obstacle of `why`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// Moves with every change of its title, description, status, priority or estimate, and when it is called off:
    /// what `ETag` shows and `If-Match` is compared with. 0 from servers that did not count yet.
    #[serde(default)]
    pub version: i64,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When anything of it last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests;
