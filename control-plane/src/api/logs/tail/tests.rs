//! The last lines are those of the whole text, however it was cut into pieces, and no more is held than may be.

use chrono::DateTime;
use proptest::prelude::*;
use wire::event::Stream;
use wire::id::EventId;

use super::*;

fn event(seq: u64, word: &str, payload: Box<RawValue>) -> StoredEvent {
    StoredEvent {
        seq,
        id: EventId::mint(DateTime::UNIX_EPOCH, [1; 10]),
        kind: word.into(),
        task_id: None,
        execution_id: Some(ExecutionId::mint(DateTime::UNIX_EPOCH, [2; 10])),
        producer: "p".into(),
        created_at: DateTime::UNIX_EPOCH,
        schema_version: 1,
        payload,
    }
}

fn piece(seq: u64, bytes: &[u8]) -> StoredEvent {
    let stream = if seq.is_multiple_of(2) { Stream::Stdout } else { Stream::Stderr };
    event(seq + 1, kind::EXECUTION_LOG, raw(&LogPayload { seq, stream, data: LogData::from_bytes(bytes.to_vec()) }))
}

fn other(seq: u64) -> StoredEvent {
    event(seq, kind::EXECUTION_FINISHED, RawValue::from_string("{}".into()).expect("JSON"))
}

fn pieces(said: &[&str]) -> Vec<StoredEvent> {
    (0..).zip(said).map(|(seq, text)| piece(seq, text.as_bytes())).collect()
}

/// What is left of these: the places, and all that their pieces say.
fn last(mut tail: Tail, events: Vec<StoredEvent>) -> (Vec<u64>, String) {
    events.into_iter().for_each(|event| tail.take(event));
    let left = tail.finish();
    let said: Vec<u8> = left.iter().filter_map(output).flat_map(|piece| piece.data.to_bytes()).collect();
    (left.iter().map(|event| event.seq).collect(), String::from_utf8(said).expect("text"))
}

#[test]
fn the_last_lines_begin_where_a_line_begins() {
    for (said, lines, expect) in [
        (&["a\nb\nc\n"][..], 2, "b\nc\n"),
        (&["a\nb\nc"], 2, "b\nc"),
        (&["a\n", "b\n", "c\n"], 2, "b\nc\n"),
        (&["a\nb", "b\nc", "c"], 2, "bb\ncc"),
        (&["a\nb", "b\nc", "c\n"], 1, "cc\n"),
        (&["a\n", "\n", "\n"], 2, "\n\n"),
        (&["a\nb\n"], 2, "a\nb\n"),
        (&["a\nb\n"], 9, "a\nb\n"),
        (&["a", "b", "c"], 1, "abc"),
        (&[], 3, ""),
    ] {
        assert_eq!(last(Tail::new(lines), pieces(said)).1, expect, "{said:?} {lines}");
    }
}

#[test]
fn what_else_happened_is_told_from_there_on() {
    let record = || vec![other(1), piece(1, b"a\n"), other(3), piece(3, b"b\n"), other(5)];
    assert_eq!(last(Tail::new(1), record()), (vec![3, 4, 5], "b\n".to_owned()));
    assert_eq!(last(Tail::new(9), record()).0, [1, 2, 3, 4, 5], "all of it, where that is not so much");
}

#[test]
fn a_piece_that_was_written_twice_counts_once() {
    let mut twice = pieces(&["a\n", "b\n"]);
    twice.extend(pieces(&["a\n", "b\n", "c\n"]));
    assert_eq!(last(Tail::new(2), twice).1, "b\nc\n");
}

#[test]
fn bytes_that_are_no_text_stay_what_they_are() {
    let mut tail = Tail::new(1);
    tail.take(piece(0, b"a\n\xff\xfe\n"));
    let left = output(&tail.finish()[0]).expect("output");
    assert_eq!(left.data, LogData::from_bytes(b"\xff\xfe\n".to_vec()));
}

#[test]
fn lines_without_end_are_cut_where_they_would_be_too_much() {
    let long = "x".repeat(100);
    let (places, said) = last(Tail::within(5, 400), pieces(&[&long, &long, &long, "end\n"]));
    assert!(places.len() < 4 && said.ends_with("xend\n"), "{places:?}");
    let mut tail = Tail::within(5, 400);
    (0..1_000).for_each(|seq| tail.take(piece(seq, b"xx")));
    assert!(tail.bytes <= 400 && tail.kept.len() < 20);
}

proptest! {
    #[test]
    fn they_are_those_of_the_whole_text_however_it_was_cut_into_pieces(
        said in prop::collection::vec("[ab\n]{0,6}", 0..12), lines in 1_u32..8,
    ) {
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        let whole = said.concat();
        let all: Vec<&str> = whole.split_inclusive('\n').collect();
        let expect = all[all.len().saturating_sub(lines as usize)..].concat();
        prop_assert_eq!(last(Tail::new(lines), pieces(&said)).1, expect);
    }
}
