//! The task's state machine (SM-1, rows CAIRN-14, CAIRN-25, CAIRN-26, CAIRN-29,
//! decision C-2). Pure.

use std::fmt;

use wire::execution::Outcome;
use wire::task::TaskStatus::{self, Assigned, Cancelled, Completed, Failed, InProgress, Ready, Split};

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The scheduler, or a person, gave it to a worker.
    Assign,
    /// The worker began.
    Start,
    /// An execution ended.
    Finish(Outcome),
    /// The worker was lost as often as is bearable.
    LostTooOften,
    /// Somebody called it off.
    Cancel,
    /// Nobody had it when its deadline passed.
    Expire,
    /// Somebody wants it tried again.
    Retry,
    /// It was replaced by its parts.
    Split,
    /// The last of its parts was completed.
    PartsDone,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assign => "assigned",
            Self::Start => "started",
            Self::Finish(_) | Self::PartsDone => "ended",
            Self::LostTooOften => "given up",
            Self::Cancel => "cancelled",
            Self::Expire => "expired",
            Self::Retry => "retried",
            Self::Split => "split",
        })
    }
}

/// The event cannot happen to a task in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {status} cannot be {event}; only one that is {} can", in_words(&sources(*event), "or"))]
pub(crate) struct Illegal {
    pub(crate) status: TaskStatus,
    pub(crate) event: Event,
}

/// The states in which the event can happen.
pub(crate) fn sources(event: Event) -> Vec<TaskStatus> {
    TaskStatus::ALL.iter().copied().filter(|status| step(*status, event).is_ok()).collect()
}

/// States as a list for a person.
fn in_words(statuses: &[TaskStatus], last: &str) -> String {
    match statuses {
        [] => "none".into(),
        [only] => only.to_string(),
        [first @ .., end] => {
            let first: Vec<&str> = first.iter().map(|status| status.as_str()).collect();
            format!("{} {last} {end}", first.join(", "))
        }
    }
}

/// Decides the next state.
pub(crate) fn step(status: TaskStatus, event: Event) -> Result<TaskStatus, Illegal> {
    Ok(match (status, event) {
        (Ready, Event::Assign) => Assigned,
        (Assigned, Event::Start) => InProgress,
        // A worker may be done before its word that it began has arrived.
        (Assigned | InProgress, Event::Finish(outcome)) => after(outcome),
        (Assigned | InProgress, Event::LostTooOften) => Failed,
        (Ready | Assigned | InProgress | Failed, Event::Cancel) => Cancelled,
        (Ready, Event::Expire) => Failed,
        (Failed, Event::Retry) => Ready,
        (Ready | Failed, Event::Split) => Split,
        (Split, Event::PartsDone) => Completed,
        (status, event) => return Err(Illegal { status, event }),
    })
}

/// What an outcome means for a task: a lost worker, or one that gives it back, must not bring back what somebody has called off,
/// and not for ever what may be what kills workers. `losses` counts this one in.
pub(crate) fn end_of(outcome: Outcome, is_called_off: bool, losses: i32, losses_max: i32) -> Event {
    match outcome {
        Outcome::WorkerLost | Outcome::Preempted | Outcome::Released if is_called_off => {
            Event::Finish(Outcome::Cancelled)
        }
        Outcome::WorkerLost if losses >= losses_max => Event::LostTooOften,
        outcome => Event::Finish(outcome),
    }
}

fn after(outcome: Outcome) -> TaskStatus {
    match outcome {
        Outcome::Succeeded => Completed,
        Outcome::Failed | Outcome::SetupFailed | Outcome::TimedOut | Outcome::IdleTimedOut | Outcome::Stalled => Failed,
        Outcome::Cancelled => Cancelled,
        Outcome::WorkerLost | Outcome::Preempted | Outcome::Released => Ready,
    }
}

/// What a person may set by hand (row CAIRN-14); everything else has a command of its own.
fn settable(from: TaskStatus) -> &'static [TaskStatus] {
    match from {
        Ready => &[Assigned],
        Assigned => &[InProgress],
        InProgress => &[Completed, Failed],
        Failed => &[Ready],
        Completed | Split | Cancelled => &[],
    }
}

/// Refuses what may not be set by hand, with what may.
pub(crate) fn check_set(from: TaskStatus, to: TaskStatus) -> Result<(), String> {
    match settable(from) {
        legal if legal.contains(&to) => Ok(()),
        [] => Err(format!("a task that is {from} cannot be set to {to}, nor to anything else")),
        legal => {
            Err(format!("a task that is {from} cannot be set to {to}; it can be set to {}", in_words(legal, "or")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand_exactly_five_transitions_are_allowed() {
        let allowed: Vec<_> = TaskStatus::ALL
            .iter()
            .flat_map(|from| TaskStatus::ALL.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| check_set(*from, *to).is_ok())
            .collect();
        let expect =
            [(Ready, Assigned), (Assigned, InProgress), (InProgress, Completed), (InProgress, Failed), (Failed, Ready)];
        assert_eq!(allowed, expect);
    }

    #[test]
    fn a_final_task_stays_as_it_is_except_that_a_failed_one_may_be_retried_or_called_off() {
        let events = [
            Event::Assign,
            Event::Start,
            Event::LostTooOften,
            Event::Cancel,
            Event::Expire,
            Event::Retry,
            Event::Split,
            Event::PartsDone,
        ];
        let finishes = Outcome::ALL.iter().copied().map(Event::Finish);
        for event in events.into_iter().chain(finishes) {
            for status in [Completed, Split, Cancelled] {
                let expect = match (status, event) {
                    (Split, Event::PartsDone) => Ok(Completed),
                    _ => Err(Illegal { status, event }),
                };
                assert_eq!(step(status, event), expect);
            }
            let expect = match event {
                Event::Retry => Ok(Ready),
                Event::Cancel => Ok(Cancelled),
                Event::Split => Ok(Split),
                _ => Err(Illegal { status: Failed, event }),
            };
            assert_eq!(step(Failed, event), expect);
        }
    }

    #[test]
    fn a_lost_worker_brings_nothing_back_that_was_called_off_and_nothing_for_ever() {
        assert_eq!(end_of(Outcome::WorkerLost, false, 1, 3), Event::Finish(Outcome::WorkerLost));
        assert_eq!(end_of(Outcome::WorkerLost, true, 1, 3), Event::Finish(Outcome::Cancelled));
        assert_eq!(end_of(Outcome::Released, true, 1, 3), Event::Finish(Outcome::Cancelled));
        assert_eq!(end_of(Outcome::Released, false, 3, 3), Event::Finish(Outcome::Released));
        assert_eq!(end_of(Outcome::WorkerLost, false, 3, 3), Event::LostTooOften);
        assert_eq!(end_of(Outcome::Succeeded, true, 3, 3), Event::Finish(Outcome::Succeeded));
    }

    #[test]
    fn a_lost_worker_and_a_more_urgent_task_make_a_task_ready_again() {
        for status in [Assigned, InProgress] {
            for outcome in [Outcome::WorkerLost, Outcome::Preempted] {
                assert_eq!(step(status, Event::Finish(outcome)), Ok(Ready));
            }
        }
        assert_eq!(end_of(Outcome::Preempted, true, 0, 3), Event::Finish(Outcome::Cancelled));
    }

    #[test]
    fn what_is_illegal_is_told_with_from_to_and_what_is_legal() {
        let told = |status, event| step(status, event).expect_err("illegal").to_string();
        assert_eq!(
            told(Completed, Event::Cancel),
            "a task that is completed cannot be cancelled; only one that is ready, assigned, in_progress or failed can"
        );
        assert_eq!(told(Ready, Event::Retry), "a task that is ready cannot be retried; only one that is failed can");
        for (from, to, expect) in [
            (Ready, Completed, "a task that is ready cannot be set to completed; it can be set to assigned"),
            (
                InProgress,
                Ready,
                "a task that is in_progress cannot be set to ready; it can be set to completed or failed",
            ),
            (Split, Ready, "a task that is split cannot be set to ready, nor to anything else"),
        ] {
            assert_eq!(check_set(from, to), Err(expect.to_owned()));
        }
    }
}
