//! What a person is to see of a task: a pure function from its events to what
//! happens now, what is done, and how it ended. It neither prints nor waits.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wire::budget::BudgetView;
use wire::event::{
    AssignedPayload, FinishedPayload, LogPayload, PhasePayload, RequeuedPayload, StoredEvent, Stream, kind,
};
use wire::execution::{Cache, ExecutionView, Exit, Failure, Outcome, Phase, PhaseTiming};
use wire::pull_request::PullRequest;
use wire::task::{TaskStatus, TaskView};
use wire::test_report::TestReport;
use wire::why::{ReasonCode, Why};

use crate::duration::{micros_between, show_micros};
use crate::exit;
use crate::output::one_line;

/// The next thing to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Show {
    /// This goes on now.
    Now {
        /// Which part of the wait.
        phase: Phase,
        /// Why it takes its time, if that is known.
        detail: Option<String>,
    },
    /// This is over.
    Done {
        /// Which part, how long and how.
        timing: PhaseTiming,
        /// A word about it, such as the package manager.
        detail: Option<String>,
    },
    /// The command wrote this.
    Output {
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// Something worth a line.
    Note(String),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Our exit code.
    pub(crate) code: u8,
    /// One line with the timings.
    pub(crate) summary: String,
    /// What went wrong, where the command's own output does not say it.
    pub(crate) trouble: Option<Trouble>,
}

/// What went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// What went wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// Why a checkpoint was put back.
#[derive(Deserialize)]
struct Restored {
    /// Because the task begins from it; else because something was damaged.
    #[serde(default)]
    asked: bool,
}

/// What the control plane says of an attempt that failed.
#[derive(Deserialize)]
struct Failed {
    /// Why, for a person.
    #[serde(default)]
    message: Option<String>,
}

/// What is known of a task so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    queued_since: Option<DateTime<Utc>>,
    phases: Vec<PhaseTiming>,
    last_reason: Option<(Phase, String)>,
    /// What is known of how the attempt ended that ended last.
    said: Option<String>,
}

impl Progress {
    /// Takes the next event. What this version does not know shows nothing.
    pub(crate) fn event(&mut self, event: &StoredEvent) -> Vec<Show> {
        match event.kind.as_str() {
            kind::TASK_SUBMITTED => self.queued(event.created_at),
            kind::TASK_REQUEUED => {
                let reason = read::<RequeuedPayload>(event).and_then(|payload| payload.reason);
                let reason = reason.map(|reason| one_line(&reason).replace('_', " "));
                let words: Vec<String> =
                    std::iter::once("queued again".into()).chain(reason).chain(self.said.take()).collect();
                let mut shows = vec![Show::Note(words.join(": "))];
                shows.extend(self.queued(event.created_at));
                shows
            }
            kind::TASK_ASSIGNED => self.assigned(event),
            kind::EXECUTION_PHASE => read(event).map(|payload| self.phase(payload)).into_iter().collect(),
            kind::EXECUTION_LOG => read::<LogPayload>(event)
                .map(|payload| Show::Output { stream: payload.stream, bytes: payload.data.to_bytes() })
                .into_iter()
                .collect(),
            kind::EXECUTION_FINISHED => read(event).map(|payload| self.finished(payload)).unwrap_or_default(),
            kind::TASK_FAILED => {
                // A runner knows nothing of the budget that let it give its command no more time.
                let told = read::<Failed>(event).and_then(|failed| failed.message);
                self.said = told.as_deref().map(one_line).or(self.said.take());
                Vec::new()
            }
            kind::TESTS_REPORT => {
                let report = read::<TestReport>(event);
                report.map(|report| Show::Note(format!("tests: {}", report.headline()))).into_iter().collect()
            }
            kind::PULL_REQUEST_OPENED => {
                let opened = read::<PullRequest>(event);
                opened
                    .map(|it| Show::Note(format!("pull request #{}: {}", it.number, one_line(&it.url))))
                    .into_iter()
                    .collect()
            }
            kind::CHECKPOINT_RESTORED if read::<Restored>(event).is_some_and(|restored| restored.asked) => {
                vec![Show::Note("the workspace begins as a checkpoint left it".into())]
            }
            kind::CHECKPOINT_RESTORED => {
                vec![Show::Note("the machine's caches were damaged and restored from a checkpoint".into())]
            }
            kind::WORK_NOT_PUSHED => {
                vec![Show::Note("what nobody pushed cannot be pushed, and is kept on its machine alone".into())]
            }
            kind::BUDGET_ALERT => read::<BudgetView>(event).map(|it| Show::Note(alert(&it))).into_iter().collect(),
            kind::VOLUME_DAMAGED => vec![Show::Note("something damaged on the machine's volume was set aside".into())],
            _ => Vec::new(),
        }
    }

    /// Takes the reasons why the task waits; the same one is shown once.
    pub(crate) fn waiting(&mut self, why: &Why) -> Option<Show> {
        let nearest = why.reasons.first()?;
        let phase = match nearest.code {
            ReasonCode::MachineComing | ReasonCode::ProviderTrouble => Phase::Machine,
            ReasonCode::Dependency
            | ReasonCode::Queued
            | ReasonCode::MachineCap
            | ReasonCode::MachineBudget
            | ReasonCode::QueueShort
            | ReasonCode::NothingToRun
            | ReasonCode::NotBefore
            | ReasonCode::Held
            | ReasonCode::ConcurrencyLimit
            | ReasonCode::RateLimit
            | ReasonCode::Budget => Phase::Queued,
            // It no longer waits: its own events say more.
            ReasonCode::Assigned | ReasonCode::Running | ReasonCode::Cancelling | ReasonCode::Finished => return None,
        };
        let reason = (phase, one_line(&nearest.message));
        if self.last_reason.as_ref() == Some(&reason) {
            return None;
        }
        self.last_reason = Some(reason.clone());
        Some(Show::Now { phase, detail: Some(reason.1) })
    }

    /// The end of the task.
    pub(crate) fn end(&self, task: &TaskView) -> Ending {
        let execution = task.execution.as_ref();
        let ended_at = execution.and_then(|execution| execution.completed_at).unwrap_or(task.updated_at);
        let total = show_micros(micros_between(task.created_at, ended_at));
        let mut parts = vec![headline(task, &total)];
        parts.extend(self.timings(execution).iter().filter_map(part));
        Ending { code: exit::of_task(task), summary: parts.join(" · "), trouble: trouble(task) }
    }

    fn finished(&mut self, payload: FinishedPayload) -> Vec<Show> {
        self.said = payload.message.as_deref().map(one_line);
        match payload.truncated_bytes {
            0 => Vec::new(),
            bytes => vec![Show::Note(format!("{bytes} bytes of output are left out: it was longer than the limit"))],
        }
    }

    fn queued(&mut self, since: DateTime<Utc>) -> Vec<Show> {
        *self = Self { queued_since: Some(since), ..Self::default() };
        vec![Show::Now { phase: Phase::Queued, detail: None }]
    }

    fn assigned(&mut self, event: &StoredEvent) -> Vec<Show> {
        let Some(since) = self.queued_since else { return Vec::new() };
        let waited = micros_between(since, event.created_at);
        let machine = read::<AssignedPayload>(event).and_then(|payload| payload.machine_micros);
        let machine = machine.map(|micros| micros.min(waited));
        let queued = Some((Phase::Queued, waited - machine.unwrap_or(0)));
        let spans = queued.into_iter().chain(machine.map(|micros| (Phase::Machine, micros)));
        spans.map(|(phase, micros)| self.done(PhaseTiming { phase, micros, cache: None }, None)).collect()
    }

    fn phase(&mut self, payload: PhasePayload) -> Show {
        let detail = payload.detail.map(|detail| short_commit(one_line(&detail)));
        match payload.micros {
            None => Show::Now { phase: payload.phase, detail },
            Some(micros) => self.done(PhaseTiming { phase: payload.phase, micros, cache: payload.cache }, detail),
        }
    }

    fn done(&mut self, timing: PhaseTiming, detail: Option<String>) -> Show {
        self.phases.push(timing.clone());
        Show::Done { timing, detail }
    }

    /// What the events told, and what only the task itself knows, in the order of the phases.
    fn timings(&self, execution: Option<&ExecutionView>) -> Vec<PhaseTiming> {
        let told = execution.map(|execution| execution.phases.as_slice()).unwrap_or_default();
        let all = || self.phases.iter().rev().chain(told);
        Phase::ALL.iter().filter_map(|phase| all().find(|timing| timing.phase == *phase).cloned()).collect()
    }
}

fn alert(budget: &BudgetView) -> String {
    let BudgetView { project, period, spent_dollars, allocated_dollars, .. } = budget;
    let whose = project.as_deref().map_or_else(|| "all tasks".into(), |name| format!("project {}", one_line(name)));
    format!("{spent_dollars} of {allocated_dollars} dollars are spent of the budget of {whose} for this {period}")
}

/// A commit's id cut to what tells it from others; anything else as it is.
fn short_commit(text: String) -> String {
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { text[..12].to_owned() } else { text }
}

/// How a cache's answer is put into a word; nothing where there is none to tell.
pub(crate) fn cache_word(phase: Phase, cache: Option<Cache>) -> Option<&'static str> {
    match (cache?, phase) {
        (Cache::Hit, _) => Some("cached"),
        (Cache::Unused, _) => Some("none"),
        (Cache::Miss, Phase::Clone) => Some("fetched"),
        (Cache::Miss, Phase::Dependencies) => Some("installed"),
        (Cache::Miss, Phase::Queued | Phase::Machine | Phase::Running | Phase::Checkpoint) => None,
    }
}

fn read<T: DeserializeOwned>(event: &StoredEvent) -> Option<T> {
    serde_json::from_str(event.payload.get()).ok()
}

fn part(timing: &PhaseTiming) -> Option<String> {
    let cached = match timing.cache {
        Some(Cache::Unused) => return None,
        Some(Cache::Hit) => " cached",
        Some(Cache::Miss) | None => "",
    };
    Some(format!("{}{cached} {}", timing.phase, show_micros(timing.micros)))
}

fn headline(task: &TaskView, total: &str) -> String {
    let execution = task.execution.as_ref();
    match task.status {
        TaskStatus::Completed => format!("completed in {total}"),
        TaskStatus::Cancelled => format!("cancelled after {total}"),
        TaskStatus::Split => format!("split into other tasks after {total}"),
        TaskStatus::Ready | TaskStatus::Assigned | TaskStatus::InProgress => format!("{} after {total}", task.status),
        TaskStatus::Failed => match execution.and_then(|execution| execution.outcome) {
            Some(Outcome::TimedOut) if execution.is_some_and(|execution| is_spent(execution.failure)) => {
                format!("out of its budget after {total}")
            }
            Some(Outcome::TimedOut) => format!("timed out after {total}"),
            Some(Outcome::IdleTimedOut) => format!("ended for its silence after {total}"),
            Some(Outcome::Stalled) => format!("stalled, and ended after {total}"),
            Some(Outcome::SetupFailed) => format!("could not be set up: failed after {total}"),
            Some(Outcome::WorkerLost) => format!("lost with its worker after {total}"),
            _ if execution.and_then(|execution| execution.failure) == Some(Failure::DiskExceeded) => {
                format!("ended for want of disk after {total}")
            }
            Some(
                Outcome::Failed | Outcome::Succeeded | Outcome::Cancelled | Outcome::Preempted | Outcome::Released,
            )
            | None => match execution.and_then(|execution| execution.exit) {
                // What it came to shows elsewhere: in its tests, or in what its agent said.
                Some(Exit::Code(0)) | None => format!("failed after {total}"),
                Some(Exit::Code(code)) => format!("failed with exit code {code} after {total}"),
                Some(Exit::Signal(signal)) => format!("killed by signal {signal} after {total}"),
            },
        },
    }
}

/// Whether a command's end says that its task may use no more.
fn is_spent(failure: Option<Failure>) -> bool {
    matches!(failure, Some(Failure::MachineTimeSpent | Failure::DollarsSpent))
}

fn is_agents(task: &TaskView) -> bool {
    task.spec.as_ref().is_some_and(|spec| spec.agent.is_some())
}

/// What a runner tells, but for the exit alone of a command: that one has had its say on standard error.
fn trouble(task: &TaskView) -> Option<Trouble> {
    let execution = task.execution.as_ref().filter(|_| task.status == TaskStatus::Failed)?;
    let said = execution.error_message.as_deref().map(one_line);
    let (fallback, help) = match execution.outcome? {
        Outcome::SetupFailed => ("the workspace could not be made ready", execution.failure.map(exit::cure)),
        Outcome::TimedOut if is_spent(execution.failure) => {
            ("the task's budget is spent", execution.failure.map(exit::cure))
        }
        Outcome::TimedOut => ("the command ran longer than its timeout", Some("give it more with --timeout")),
        Outcome::IdleTimedOut => {
            ("the command was silent for longer than its idle timeout", Some("give it more with --idle-timeout"))
        }
        Outcome::Stalled => (
            "the command neither said nor committed anything for longer than its stall timeout",
            Some("give it more with --stall-timeout"),
        ),
        Outcome::WorkerLost => {
            ("its worker was lost too often", Some("see `bifrost machines list`, then `bifrost tasks retry ID`"))
        }
        Outcome::Failed if execution.tests.as_ref().is_some_and(|tests| tests.command.is_empty()) => {
            ("the repository has no tests that are known here", Some("name their command: bifrost run --tests -- CMD"))
        }
        // With these there may have been no command that could have said anything.
        Outcome::Failed if matches!(execution.exit, Some(Exit::Code(126 | 127)) | None) && said.is_some() => {
            ("", Some("the program must be in the repository or on the machine's PATH, and be executable"))
        }
        // What its tests came to is told by their report, not by the command.
        Outcome::Failed if execution.tests.as_ref().is_some_and(|tests| !tests.success) => {
            ("the tests failed", Some("see which and why with: bifrost tests ID"))
        }
        // An agent's result is not in its output, nor is what its machine did to a command.
        Outcome::Failed if said.is_some() && (is_agents(task) || said != execution.exit.map(Exit::told)) => {
            ("", execution.failure.map(exit::cure))
        }
        Outcome::Failed | Outcome::Succeeded | Outcome::Cancelled | Outcome::Preempted | Outcome::Released => {
            return None;
        }
    };
    let message = said.unwrap_or_else(|| fallback.into());
    let help = help.map(|help| help.replace(" ID", &format!(" {}", task.id)));
    Some(Trouble { message, help })
}

#[cfg(test)]
mod tests;
