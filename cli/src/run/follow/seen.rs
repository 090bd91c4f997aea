//! Which events were handed on already. A server that was restarted may repeat
//! some, and a runner that lost an answer may have written some twice. Pure.

use std::collections::HashMap;

use wire::event::{LogPayload, StoredEvent, kind};
use wire::id::ExecutionId;

/// Remembers places, not events, so it stays small however long a task runs.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: u64,
    next_output: HashMap<ExecutionId, u64>,
}

impl Seen {
    /// Whether this event is to be handed on; asked again about the same one it says no.
    pub(crate) fn is_new(&mut self, event: &StoredEvent) -> bool {
        if event.seq <= self.last {
            return false;
        }
        self.last = event.seq;
        let (kind::EXECUTION_LOG, Some(execution)) = (event.kind.as_str(), event.execution_id) else { return true };
        let Ok(output) = serde_json::from_str::<LogPayload>(event.payload.get()) else { return true };
        let next = self.next_output.entry(execution).or_default();
        if output.seq < *next {
            return false;
        }
        *next = output.seq + 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIRST: &str = "0197f0a4-5b1e-7c3a-9d55-000000000001";
    const SECOND: &str = "0197f0a4-5b1e-7c3a-9d55-000000000002";

    fn output(seq: u64, execution: &str, piece: u64) -> StoredEvent {
        let event = json!({ "seq": seq, "id": FIRST, "type": "execution.log", "execution_id": execution,
            "producer": "p", "created_at": "2026-11-21T00:00:00Z", "schema_version": 1,
            "payload": { "seq": piece, "stream": "stdout", "text": format!("{piece}\n") } });
        serde_json::from_str(&event.to_string()).expect("an event as the store gives it")
    }

    /// What is handed on of these (place, execution, piece).
    fn handed_on(events: &[(u64, &str, u64)]) -> Vec<u64> {
        let mut seen = Seen::default();
        let is_new = |event: &&(u64, &str, u64)| seen.is_new(&output(event.0, event.1, event.2));
        events.iter().filter(is_new).map(|event| event.0).collect()
    }

    #[test]
    fn a_stream_that_begins_again_repeats_nothing() {
        let once: Vec<_> = (1..=5).map(|seq| (seq, FIRST, seq - 1)).collect();
        for cut in 0..=once.len() {
            let repeated = [&once[..cut], &once[..]].concat();
            assert_eq!(handed_on(&repeated), [1, 2, 3, 4, 5], "cut at {cut}");
        }
    }

    #[test]
    fn a_piece_that_was_written_twice_is_shown_once() {
        assert_eq!(handed_on(&[(1, FIRST, 0), (2, FIRST, 1), (3, FIRST, 0), (4, FIRST, 1), (5, FIRST, 2)]), [1, 2, 5]);
    }

    #[test]
    fn another_execution_counts_from_the_beginning() {
        assert_eq!(handed_on(&[(1, FIRST, 0), (2, FIRST, 1), (3, SECOND, 0), (4, SECOND, 1)]), [1, 2, 3, 4]);
    }
}
