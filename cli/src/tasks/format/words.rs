//! What other programs' words mean here.

use wire::task::{Priority, TaskStatus};

/// A priority in somebody else's words (decision C-35): 5 is the most urgent here.
pub(super) fn priority(word: &str) -> Result<Priority, String> {
    let number = match word.trim().to_lowercase().as_str() {
        "" | "none" | "no priority" => return Ok(Priority::default()),
        "p0" | "p1" | "urgent" | "critical" | "high" | "highest" | "5" => 5,
        "p2" | "4" => 4,
        "p3" | "medium" | "normal" | "3" => 3,
        "p4" | "2" => 2,
        "low" | "lowest" | "1" => 1,
        _ => return Err(format!("priority: {word:?} is none of 1 to 5, P0 to P4, urgent, high, medium and low")),
    };
    Priority::try_from(number).map_err(|error| format!("priority: {error}"))
}

/// A status in somebody else's words: what is neither over nor called off is to be done.
pub(super) fn status(word: &str) -> Option<TaskStatus> {
    match word.trim().to_lowercase().as_str() {
        "closed" | "done" | "completed" | "complete" | "resolved" | "merged" => Some(TaskStatus::Completed),
        "canceled" | "cancelled" | "duplicate" | "not_planned" | "wontfix" | "won't fix" | "tombstone" => {
            Some(TaskStatus::Cancelled)
        }
        "failed" => Some(TaskStatus::Failed),
        _ => None,
    }
}
