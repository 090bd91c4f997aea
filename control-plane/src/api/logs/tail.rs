//! Pure: a record from where the last lines of the task's output begin.
//!
//! A line is what ends with a line's end, or with the output. Those of both streams count together, as they were
//! written. However much was said, no more of it is held here than what is asked for, and of no more than so many bytes.

use std::collections::{HashMap, VecDeque};

use serde_json::value::RawValue;
use wire::event::{LogData, LogPayload, StoredEvent, kind};
use wire::id::ExecutionId;

/// The most that is given back of a record, however long its lines are.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The end of a record, as far as it was seen.
#[derive(Debug)]
pub(super) struct Tail {
    /// So many lines.
    wanted: usize,
    bytes_max: usize,
    kept: VecDeque<Kept>,
    line_ends: usize,
    bytes: usize,
    /// A runner that lost an answer may have written a piece twice.
    next_piece: HashMap<ExecutionId, u64>,
}

#[derive(Debug)]
struct Kept {
    event: StoredEvent,
    /// Nothing where it is no output.
    piece: Option<(LogPayload, Vec<u8>)>,
    line_ends: usize,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.event.payload.get().len()
    }
}

impl Tail {
    pub(super) fn new(lines: u32) -> Self {
        Self::within(lines, BYTES_MAX)
    }

    fn within(lines: u32, bytes_max: usize) -> Self {
        Self {
            wanted: usize::try_from(lines).unwrap_or(usize::MAX),
            bytes_max,
            kept: VecDeque::new(),
            line_ends: 0,
            bytes: 0,
            next_piece: HashMap::new(),
        }
    }

    /// Takes the next event of the record in.
    pub(super) fn take(&mut self, event: StoredEvent) {
        let piece = output(&event);
        if let (Some(piece), Some(execution)) = (&piece, event.execution_id) {
            let next = self.next_piece.entry(execution).or_default();
            if piece.seq < *next {
                return;
            }
            *next = piece.seq + 1;
        }
        let piece = piece.map(|piece| {
            let bytes = piece.data.to_bytes();
            (piece, bytes)
        });
        let line_ends = piece.as_ref().map_or(0, |(_, bytes)| count(bytes));
        let kept = Kept { event, piece, line_ends };
        self.line_ends += line_ends;
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
        // The end of the line before the first that is wanted stays: it says where that begins.
        while self.kept.len() > 1
            && (self.bytes > self.bytes_max || self.line_ends - self.kept[0].line_ends > self.wanted)
        {
            self.drop_first();
        }
    }

    /// The record from where the last lines begin; the piece that they begin in without what is before them.
    pub(super) fn finish(mut self) -> Vec<StoredEvent> {
        let last = self.kept.iter().rev().find_map(|kept| kept.piece.as_ref()?.1.last());
        let unfinished = usize::from(last.is_some_and(|byte| *byte != b'\n'));
        let mut before = (self.line_ends + unfinished).saturating_sub(self.wanted);
        while let Some(first) = self.kept.front_mut().filter(|_| before > 0) {
            if let Some((piece, bytes)) = &mut first.piece
                && let Some(rest) = behind(bytes, before).filter(|rest| !rest.is_empty())
            {
                piece.data = LogData::from_bytes(rest.to_vec());
                first.event.payload = raw(piece);
                break;
            }
            before -= first.line_ends;
            self.drop_first();
        }
        self.kept.into_iter().map(|kept| kept.event).collect()
    }

    fn drop_first(&mut self) {
        if let Some(first) = self.kept.pop_front() {
            self.line_ends -= first.line_ends;
            self.bytes -= first.bytes();
        }
    }
}

fn output(event: &StoredEvent) -> Option<LogPayload> {
    (event.kind == kind::EXECUTION_LOG).then(|| serde_json::from_str(event.payload.get()).ok()).flatten()
}

fn count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// What comes after so many ends of lines, if there are so many.
fn behind(bytes: &[u8], line_ends: usize) -> Option<&[u8]> {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
    ends.nth(line_ends.checked_sub(1)?).map(|place| &bytes[place..])
}

fn raw(piece: &LogPayload) -> Box<RawValue> {
    serde_json::value::to_raw_value(piece).expect("a piece of output is plain data")
}

#[cfg(test)]
mod tests;
