//! Pure: what a webhook hears of, and what a receiver's answer means (rows
//! CAIRN-40, CAIRN-42).

use std::time::Duration;

use wire::event::kind;

/// Waits before each further attempt (row CAIRN-42).
const WAITS: [Duration; 3] = [Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(300)];
/// The longest wait that a receiver may ask for.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// The event of a new task, as receivers know it.
const TASK_CREATED: &str = "task.created";

/// What receivers call an event of the record. They know five of a task (row CAIRN-40): whatever else
/// changes one is an update. The rest keeps its name.
pub(crate) fn told_as(kind: &str, changes_task: bool) -> &str {
    match kind {
        kind::TASK_SUBMITTED => TASK_CREATED,
        kind::TASK_COMPLETED | kind::TASK_FAILED | kind::TASK_DELETED => kind,
        _ if changes_task => kind::TASK_UPDATED,
        _ => kind,
    }
}

/// Whether one of the patterns is the type, or stands for it.
pub(crate) fn wants(patterns: &[String], event_type: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => event_type.starts_with(prefix),
        None => pattern == event_type,
    })
}

/// Whether it is a type, all of a kind, or everything.
pub(crate) fn is_pattern(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let is_of_kind = |(kind, last): (&str, &str)| kind.split('.').all(is_word) && (last == "*" || is_word(last));
    text.len() <= 100 && (text == "*" || text.rsplit_once('.').is_some_and(is_of_kind))
}

/// Why no event that receivers hear of matches the pattern, if so.
pub(crate) fn fault_of(pattern: &str) -> Option<String> {
    if !is_pattern(pattern) {
        return Some("must be an event type such as task.created, all of a kind such as task.*, or *".into());
    }
    let told = told_as(pattern, is_of_a_task(pattern));
    if told != pattern {
        return Some(format!("is told as {told}; subscribe to that"));
    }
    let mut types = kind::ALL.iter().copied().chain([TASK_CREATED]);
    let unknown = !types.any(|kind| wants(&[pattern.to_owned()], kind));
    unknown.then(|| "is no type of event that there is; docs/webhooks.md lists them".to_owned())
}

/// Whether the record's event of this type changes a task, and so is told as one of the five.
fn is_of_a_task(kind: &str) -> bool {
    matches!(
        kind,
        kind::TASK_ASSIGNED
            | kind::TASK_STARTED
            | kind::TASK_CANCELLED
            | kind::TASK_REQUEUED
            | kind::TASK_OVERDUE
            | kind::TASK_SPLIT
    )
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The receiver answered.
    Status {
        /// With this.
        code: u16,
        /// And asked to be left alone for so long.
        retry_after: Option<Duration>,
    },
    /// It did not, in time.
    Nothing,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The message was taken.
    Delivered,
    /// The receiver does not want this one, now or later.
    Refused,
    /// Again after so long, and nothing else meanwhile.
    Retry(Duration),
    /// It was tried often enough, or there is no such receiver any more: nothing is sent until somebody looks.
    GiveUp,
}

/// Judges the answer to the attempt with this number, from 1. Only what may pass by itself is tried again: no
/// answer, a failure of the receiver's (5xx), and its two ways to say "later" (408, 429).
pub(crate) fn judge(answer: Answer, attempt: i32) -> Verdict {
    match answer {
        Answer::Status { code: 200..=299, .. } => Verdict::Delivered,
        Answer::Status { code: 410, .. } => Verdict::GiveUp,
        Answer::Status { code: 408 | 429 | 500..=599, retry_after } => again(attempt, retry_after),
        Answer::Nothing => again(attempt, None),
        Answer::Status { .. } => Verdict::Refused,
    }
}

fn again(attempt: i32, retry_after: Option<Duration>) -> Verdict {
    let wait = usize::try_from(attempt - 1).ok().and_then(|done| WAITS.get(done));
    wait.map_or(Verdict::GiveUp, |wait| Verdict::Retry((*wait).max(retry_after.unwrap_or_default().min(WAIT_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn receivers_hear_of_five_changes_of_a_task_by_the_rows_names() {
        for (kind, changes_task, expect) in [
            ("task.submitted", true, "task.created"),
            ("task.assigned", true, "task.updated"),
            ("task.started", true, "task.updated"),
            ("task.requeued", true, "task.updated"),
            ("task.cancelled", true, "task.updated"),
            ("task.something_new", true, "task.updated"),
            ("task.completed", true, "task.completed"),
            ("task.failed", true, "task.failed"),
            ("task.deleted", true, "task.deleted"),
            ("task.metadata_set", false, "task.metadata_set"),
            ("machine.state", false, "machine.state"),
        ] {
            assert_eq!(told_as(kind, changes_task), expect, "{kind}");
        }
    }

    #[test]
    fn a_pattern_is_a_type_or_stands_for_all_of_a_kind() {
        let wants = |pattern: &str, event_type| wants(&[pattern.to_owned()], event_type);
        assert!(wants("task.created", "task.created") && !wants("task.created", "task.updated"));
        assert!(wants("task.*", "task.updated") && !wants("task.*", "tasks.updated") && wants("*", "machine.state"));
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused() {
        for good in ["*", "task.*", "task.created", "task.metadata_set", "webhook.deactivated"] {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for bad in
            ["", "task", "task.", ".created", "Task.created", "task.cre*", "*.created", "a b.c", "**", "task.*.x"]
        {
            assert!(fault_of(bad).is_some_and(|fault| fault.contains("such as task.created")), "{bad}");
        }
        for unknown in ["task.creatd", "tsk.created", "tsk.*"] {
            assert!(fault_of(unknown).is_some_and(|fault| fault.contains("no type of event")), "{unknown}");
        }
        for (renamed, told) in
            [("task.submitted", "task.created"), ("task.cancelled", "task.updated"), ("task.split", "task.updated")]
        {
            assert_eq!(fault_of(renamed), Some(format!("is told as {told}; subscribe to that")));
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_after_30_seconds_2_minutes_and_5_minutes() {
        let status = |code| Answer::Status { code, retry_after: None };
        for (answer, expect) in [
            (status(200), Verdict::Delivered),
            (status(204), Verdict::Delivered),
            (status(301), Verdict::Refused),
            (status(400), Verdict::Refused),
            (status(404), Verdict::Refused),
            (status(410), Verdict::GiveUp),
            (status(408), Verdict::Retry(seconds(30))),
            (status(429), Verdict::Retry(seconds(30))),
            (status(500), Verdict::Retry(seconds(30))),
            (status(599), Verdict::Retry(seconds(30))),
            (Answer::Nothing, Verdict::Retry(seconds(30))),
        ] {
            assert_eq!(judge(answer, 1), expect, "{answer:?}");
        }
        let waits: Vec<Verdict> = (1..=4).map(|attempt| judge(status(503), attempt)).collect();
        let expect =
            [Verdict::Retry(seconds(30)), Verdict::Retry(seconds(120)), Verdict::Retry(seconds(300)), Verdict::GiveUp];
        assert_eq!(waits, expect);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_and_not_for_any() {
        let asks = |after| judge(Answer::Status { code: 429, retry_after: Some(seconds(after)) }, 1);
        assert_eq!(asks(5), Verdict::Retry(seconds(30)));
        assert_eq!(asks(90), Verdict::Retry(seconds(90)));
        assert_eq!(asks(1_000_000), Verdict::Retry(seconds(3_600)));
    }
}
