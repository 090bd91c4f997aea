//! The task's state machine (SM-1, rows CAIRN-14, CAIRN-25, CAIRN-26, CAIRN-29,
//! decision C-2). Pure.

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
    /// Somebody wants it tried again.
    Retry,
}

/// The event cannot happen to a task in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {status} cannot do that")]
pub(crate) struct Illegal {
    pub(crate) status: TaskStatus,
    pub(crate) event: Event,
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
        (Failed, Event::Retry) => Ready,
        (status, event) => return Err(Illegal { status, event }),
    })
}

/// What an outcome means for a task: a lost worker, or one that gives it back, must not bring back what somebody has called off,
/// and not for ever what may be what kills workers. `losses` counts this one in.
pub(crate) fn end_of(outcome: Outcome, is_called_off: bool, losses: i32, losses_max: i32) -> Event {
    match outcome {
        Outcome::WorkerLost | Outcome::Released if is_called_off => Event::Finish(Outcome::Cancelled),
        Outcome::WorkerLost if losses >= losses_max => Event::LostTooOften,
        outcome => Event::Finish(outcome),
    }
}

fn after(outcome: Outcome) -> TaskStatus {
    match outcome {
        Outcome::Succeeded => Completed,
        Outcome::Failed | Outcome::SetupFailed | Outcome::TimedOut | Outcome::IdleTimedOut => Failed,
        Outcome::Cancelled => Cancelled,
        Outcome::WorkerLost | Outcome::Released => Ready,
    }
}

/// What a person may set by hand (row CAIRN-14); everything else has a command of its own.
pub(crate) fn may_set(from: TaskStatus, to: TaskStatus) -> bool {
    match from {
        Ready => to == Assigned,
        Assigned => to == InProgress,
        InProgress => matches!(to, Completed | Failed),
        Failed => to == Ready,
        Completed | Split | Cancelled => false,
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
            .filter(|(from, to)| may_set(*from, *to))
            .collect();
        let expect =
            [(Ready, Assigned), (Assigned, InProgress), (InProgress, Completed), (InProgress, Failed), (Failed, Ready)];
        assert_eq!(allowed, expect);
    }

    #[test]
    fn a_final_task_stays_as_it_is_except_that_a_failed_one_may_be_retried_or_called_off() {
        let events = [Event::Assign, Event::Start, Event::LostTooOften, Event::Cancel, Event::Retry];
        let finishes = Outcome::ALL.iter().copied().map(Event::Finish);
        for event in events.into_iter().chain(finishes) {
            for status in [Completed, Split, Cancelled] {
                assert_eq!(step(status, event), Err(Illegal { status, event }));
            }
            let expect = match event {
                Event::Retry => Ok(Ready),
                Event::Cancel => Ok(Cancelled),
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
    fn a_lost_worker_makes_its_task_ready_again() {
        for status in [Assigned, InProgress] {
            assert_eq!(step(status, Event::Finish(Outcome::WorkerLost)), Ok(Ready));
        }
    }
}
