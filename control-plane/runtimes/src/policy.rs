//! What is to be done about a trigger (pure).

use chrono::{DateTime, TimeDelta, Utc};
use wire::runtime::{Management, RuntimeState, TriggerReason, TriggerState, TriggerView, Via};

/// The intervals. None of them is in the rows; these are ours (decision C-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A runtime whose supervisor was silent for so long is stale. Supervisors heartbeat every 30 seconds.
    pub silence: TimeDelta,
    /// How long an agent has to read what was written.
    pub ack_within: TimeDelta,
    /// How often a trigger is written to the terminal.
    pub attempts: i32,
    /// How long a trigger waits before nobody wants it written any more.
    pub expires: TimeDelta,
    /// For so long the same key is the same trigger after it was delivered.
    pub dedupe: TimeDelta,
    /// Triggers of one runtime in a minute.
    pub per_minute: i64,
    /// Triggers of one runtime that wait.
    pub waiting: i64,
    /// How long what has ended is kept for people to look at.
    pub keep: TimeDelta,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence: TimeDelta::seconds(90),
            ack_within: TimeDelta::seconds(60),
            attempts: 3,
            expires: TimeDelta::hours(1),
            dedupe: TimeDelta::minutes(10),
            per_minute: 30,
            waiting: 100,
            keep: TimeDelta::days(7),
        }
    }
}

/// A runtime, as far as triggers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) state: RuntimeState,
    pub(crate) management: Management,
    pub(crate) is_paused: bool,
    pub(crate) can_resume: bool,
    pub(crate) read_cursor: i64,
}

/// What is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until then or until something happens.
    Wait(Option<DateTime<Utc>>),
    /// The supervisor is to write it.
    Write(Via),
    /// It has ended.
    End(TriggerState, TriggerReason),
}

/// How a runtime does.
pub(crate) fn state(
    last_heartbeat_at: DateTime<Utc>,
    gone_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    settings: &Settings,
) -> RuntimeState {
    match gone_at {
        Some(_) => RuntimeState::Gone,
        None if now - last_heartbeat_at >= settings.silence => RuntimeState::Stale,
        None => RuntimeState::Live,
    }
}

/// Decides about the first trigger of a runtime that has not ended.
pub(crate) fn step(trigger: &TriggerView, receiver: &Receiver, now: DateTime<Utc>, settings: &Settings) -> Step {
    let has_been_read = trigger.written_at.is_some() && receiver.read_cursor >= trigger.number;
    if has_been_read {
        return Step::End(TriggerState::Delivered, TriggerReason::Acknowledged);
    }
    if receiver.state == RuntimeState::Gone {
        return Step::End(TriggerState::Failed, TriggerReason::RuntimeGone);
    }
    let expires_at = trigger.created_at + settings.expires;
    if now >= expires_at {
        return Step::End(TriggerState::Failed, TriggerReason::Expired);
    }
    let is_held = receiver.is_paused && !trigger.forced;
    if receiver.state == RuntimeState::Stale || receiver.management == Management::Unmanaged || is_held {
        return Step::Wait(Some(expires_at));
    }
    let may_try = trigger.not_before.is_none_or(|time| time <= now);
    match (trigger.state, trigger.written_at) {
        _ if !may_try => Step::Wait(trigger.not_before),
        (TriggerState::Written, Some(written)) if now < written + settings.ack_within => {
            Step::Wait(Some(written + settings.ack_within))
        }
        _ if trigger.attempts == 0 => Step::Write(Via::Terminal),
        _ => again(trigger, receiver, settings),
    }
}

/// It was not written, or not read: once more, then by another way, then no more.
fn again(trigger: &TriggerView, receiver: &Receiver, settings: &Settings) -> Step {
    let in_vain = match trigger.state {
        TriggerState::Pending => TriggerReason::WriteFailed,
        _ => TriggerReason::Unacknowledged,
    };
    match trigger.via {
        Some(Via::Resume) => Step::End(TriggerState::Failed, in_vain),
        _ if trigger.attempts < settings.attempts => Step::Write(Via::Terminal),
        _ if receiver.can_resume => Step::Write(Via::Resume),
        _ => Step::End(TriggerState::Failed, in_vain),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::types::Uuid;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + second, 0).expect("in range")
    }

    fn receiver() -> Receiver {
        Receiver {
            state: RuntimeState::Live,
            management: Management::Managed,
            is_paused: false,
            can_resume: false,
            read_cursor: 0,
        }
    }

    fn trigger() -> TriggerView {
        TriggerView {
            id: Uuid::nil().into(),
            runtime_id: Uuid::nil().into(),
            number: 1,
            text: "go on".into(),
            dedupe_key: None,
            forced: false,
            state: TriggerState::Pending,
            reason: TriggerReason::Queued,
            via: None,
            attempts: 0,
            not_before: None,
            created_at: at(0),
            written_at: None,
            ended_at: None,
        }
    }

    fn written(attempts: i32, via: Via) -> TriggerView {
        let (state, written_at) = (TriggerState::Written, Some(at(10)));
        TriggerView { state, written_at, attempts, via: Some(via), ..trigger() }
    }

    const WRITE: Step = Step::Write(Via::Terminal);

    #[test]
    fn a_trigger_goes_its_way_by_the_clock() {
        let resumable = Receiver { can_resume: true, ..receiver() };
        let resume = Step::Write(Via::Resume);
        let failed =
            |attempts| TriggerView { attempts, via: Some(Via::Terminal), not_before: Some(at(5)), ..trigger() };
        let unread = Step::End(TriggerState::Failed, TriggerReason::Unacknowledged);
        for (what, trigger, receiver, second, expect) in [
            ("is written at once", trigger(), receiver(), 0, WRITE),
            (
                "was deferred",
                TriggerView { not_before: Some(at(5)), ..trigger() },
                receiver(),
                4,
                Step::Wait(Some(at(5))),
            ),
            ("was deferred long enough", TriggerView { not_before: Some(at(5)), ..trigger() }, receiver(), 5, WRITE),
            ("waits to be read", written(1, Via::Terminal), receiver(), 69, Step::Wait(Some(at(70)))),
            ("was not read", written(1, Via::Terminal), receiver(), 70, WRITE),
            ("was not read by the last time", written(3, Via::Terminal), receiver(), 70, unread),
            ("may be resumed", written(3, Via::Terminal), resumable, 70, resume),
            ("was resumed in vain", written(4, Via::Resume), resumable, 70, unread),
            ("could not be written", failed(1), receiver(), 4, Step::Wait(Some(at(5)))),
            ("is tried again", failed(1), receiver(), 5, WRITE),
            (
                "could never be written",
                failed(3),
                receiver(),
                5,
                Step::End(TriggerState::Failed, TriggerReason::WriteFailed),
            ),
            ("could never be written there", failed(3), resumable, 5, resume),
            (
                "has waited for an hour",
                trigger(),
                receiver(),
                3_600,
                Step::End(TriggerState::Failed, TriggerReason::Expired),
            ),
        ] {
            assert_eq!(step(&trigger, &receiver, at(second), &Settings::default()), expect, "{what}");
        }
    }

    #[test]
    fn only_what_was_written_can_have_been_read() {
        let read = Receiver { read_cursor: 1, ..receiver() };
        let delivered = Step::End(TriggerState::Delivered, TriggerReason::Acknowledged);
        assert_eq!(step(&written(1, Via::Terminal), &read, at(11), &Settings::default()), delivered);
        assert_eq!(step(&trigger(), &read, at(11), &Settings::default()), WRITE);
        // What was read is delivered even where the runtime has ended since.
        let gone = Receiver { state: RuntimeState::Gone, ..read };
        assert_eq!(step(&written(1, Via::Terminal), &gone, at(11), &Settings::default()), delivered);
    }

    #[test]
    fn nothing_is_written_where_nobody_may() {
        let wait = Step::Wait(Some(at(3_600)));
        let forced = TriggerView { forced: true, ..trigger() };
        for (receiver, plain, by_force) in [
            (Receiver { is_paused: true, ..receiver() }, wait, WRITE),
            (Receiver { state: RuntimeState::Stale, ..receiver() }, wait, wait),
            (Receiver { management: Management::Unmanaged, ..receiver() }, wait, wait),
        ] {
            assert_eq!(step(&trigger(), &receiver, at(1), &Settings::default()), plain);
            assert_eq!(step(&forced, &receiver, at(1), &Settings::default()), by_force);
        }
        let gone = Receiver { state: RuntimeState::Gone, ..receiver() };
        let over = Step::End(TriggerState::Failed, TriggerReason::RuntimeGone);
        assert_eq!(step(&trigger(), &gone, at(1), &Settings::default()), over);
    }

    #[test]
    fn a_silent_runtime_is_stale_after_ninety_seconds() {
        let of = |second, gone| state(at(0), gone, at(second), &Settings::default());
        assert_eq!(
            [of(89, None), of(90, None), of(0, Some(at(0)))],
            [RuntimeState::Live, RuntimeState::Stale, RuntimeState::Gone]
        );
    }
}
