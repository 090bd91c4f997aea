//! Backup, restore, export and the way back to an older schema, on real files.

use std::collections::BTreeSet;
use std::fs;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use wire::event::StoredEvent;
use wire::id::{EventId, TaskId};

use super::*;
use crate::engine::COPY_MARK;
use crate::log::{Batch, Log, NewEvent, Payload};

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

fn task(number: u64) -> TaskId {
    TaskId::mint(now(), [number as u8; 10])
}

/// An event whose id, task and time are made of the number.
pub(super) fn event(number: u64, payload: &str) -> NewEvent {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    NewEvent {
        id: EventId::mint(now(), random),
        kind: format!("test.{}", number % 3),
        task_id: Some(task(number % 4)),
        execution_id: None,
        producer: "tests".into(),
        created_at: now() + chrono::TimeDelta::seconds(number as i64),
        schema_version: 1,
        payload: Payload::within(&payload, std::str::from_utf8(&payload).expect("is text")),
    }
}

/// Does something while a store has the directory open; what is given is appended and acknowledged.
pub(super) fn while_running<T>(data: &Path, work: impl FnOnce(&dyn Fn(Vec<NewEvent>)) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    let (log, writer) = Log::open(data, now()).expect("opens");
    let writing = std::thread::spawn(move || writer.run());
    let done = work(&|events| {
        let claim = Arc::new(Semaphore::new(0)).try_acquire_many_owned(0).expect("nothing is always free");
        runtime.block_on(log.append(Batch::new(events, claim))).expect("stores");
    });
    runtime.block_on(log.close());
    drop(log);
    writing.join().expect("ends well");
    done
}

/// A closed log with these events.
pub(super) fn store_with(events: impl IntoIterator<Item = NewEvent>) -> TempDir {
    let data = TempDir::new().expect("a directory");
    while_running(data.path(), |append| append(events.into_iter().collect()));
    data
}

fn numbered(count: u64) -> TempDir {
    store_with((1..=count).map(|number| event(number, &format!("{{\"number\": {number}}}"))))
}

/// Does something with nobody looking on.
pub(crate) fn quiet<T>(work: impl FnOnce(&Watch<'_>) -> T) -> T {
    work(&Watch { stop: Arc::default(), progress: &|_, _, _| () })
}

/// Does something that is stopped at its first sign of this stage.
fn stopped_at<T>(stage: Stage, work: impl FnOnce(&Watch<'_>) -> T) -> T {
    let stop = Arc::<AtomicBool>::default();
    let seen = stop.clone();
    work(&Watch { stop, progress: &move |now, _, _| seen.store(now == stage, Ordering::Relaxed) })
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("reads");
    entries.map(|entry| entry.expect("reads").file_name().into_string().expect("is text")).collect()
}

fn report_of(path: &Path) -> Report {
    quiet(|watch| verify(path, &Wanted::whole(), watch)).expect("can be looked at")
}

#[test]
fn a_backup_of_a_running_store_is_one_whole_file_with_all_that_was_acknowledged() {
    let (data, out) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    while_running(data.path(), |append| {
        append((1..=50).map(|number| event(number, "{}")).collect());
        let copied = quiet(|watch| {
            let next = std::cell::Cell::new(51);
            // The store is written to at every step of the copy.
            let progress = |_, _, _| append(vec![event(next.replace(next.get() + 1), "{}")]);
            backup(data.path(), &file, &Watch { stop: watch.stop.clone(), progress: &progress })
        });
        let report = copied.expect("is backed up");
        assert_eq!((report.damage, report.events), (None, 50));
    });
    assert_eq!(names(out.path()), ["backup.db".to_owned()].into());
    assert_eq!(report_of(&file).events, 50);
}

#[test]
fn a_restored_log_goes_on_where_the_backup_ended() {
    let (data, out) = (numbered(30), TempDir::new().expect("a directory"));
    let (file, restored) = (out.path().join("backup.db"), out.path().join("new/data"));
    let head = quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up").head;
    assert_eq!(quiet(|watch| restore(&file, &restored, watch)).expect("is restored").head, head);
    while_running(&restored, |append| append(vec![event(31, "{}")]));
    let kept = Wanted { heads: vec![head], ..Wanted::whole() };
    let report = quiet(|watch| verify(&restored.join(DATABASE), &kept, watch)).expect("can be looked at");
    assert_eq!((report.events, report.damage), (31, None));
}

#[test]
fn a_restore_takes_the_place_of_an_empty_log_and_of_no_other() {
    let (data, out) = (numbered(3), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up");
    let empty = TempDir::new().expect("a directory");
    while_running(empty.path(), |_| {
        let refused = quiet(|watch| restore(&file, empty.path(), watch));
        assert!(matches!(refused, Err(Error::Open(OpenError::InUse(_)))), "{refused:?}");
    });
    assert_eq!(quiet(|watch| restore(&file, empty.path(), watch)).expect("is restored").events, 3);
    let other = numbered(5);
    let refused = quiet(|watch| restore(&file, other.path(), watch));
    assert!(matches!(refused, Err(Error::Occupied(_))), "{refused:?}");
    assert_eq!(report_of(&other.path().join(DATABASE)).events, 5);
}

#[test]
fn a_restore_leaves_the_copy_of_a_stream_alone() {
    let (data, out, copy) = (numbered(3), TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up");
    fs::write(copy.path().join(COPY_MARK), "{}").expect("is written");
    let refused = quiet(|watch| restore(&file, copy.path(), watch));
    assert!(matches!(refused, Err(Error::Copy(_))), "{refused:?}");
    assert!(!copy.path().join(DATABASE).exists());
}

#[test]
fn a_damaged_log_gives_no_backup_and_a_damaged_backup_no_log() {
    let (data, out) = (numbered(30), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up");
    for path in [data.path().join(DATABASE), file.clone()] {
        let connection = Connection::open(path).expect("opens");
        connection.execute("UPDATE events SET payload = '{}' WHERE seq = 7", []).expect("updates");
    }
    let (second, restored) = (out.path().join("second.db"), TempDir::new().expect("a directory"));
    for refused in
        [quiet(|watch| backup(data.path(), &second, watch)), quiet(|watch| restore(&file, restored.path(), watch))]
    {
        assert!(matches!(refused, Err(Error::Damaged { damage: Damage::Link { seq: 7 }, .. })), "{refused:?}");
    }
    assert_eq!(names(out.path()), ["backup.db".to_owned()].into());
    assert_eq!(names(restored.path()), ["lock".to_owned()].into());
}

#[test]
fn an_interrupted_backup_or_restore_leaves_nothing() {
    let (data, out) = (numbered(300), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up");
    for stage in [Stage::Copying, Stage::Verifying, Stage::CheckingPages] {
        let (second, restored) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let stopped = stopped_at(stage, |watch| backup(data.path(), &second.path().join("b"), watch));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert_eq!(names(second.path()), BTreeSet::new());
        let stopped = stopped_at(stage, |watch| restore(&file, restored.path(), watch));
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        assert_eq!(names(restored.path()), ["lock".to_owned()].into());
    }
}

#[test]
fn a_file_that_is_there_is_never_written_over() {
    let (data, out) = (numbered(3), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    fs::write(&file, "precious").expect("writes");
    for target in [file.clone(), data.path().join(DATABASE)] {
        let refused = quiet(|watch| backup(data.path(), &target, watch));
        assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(&file).expect("reads"), "precious");
}

#[test]
fn what_a_killed_backup_left_is_taken_over_and_a_living_one_is_left_alone() {
    let (data, out) = (numbered(3), TempDir::new().expect("a directory"));
    let file = out.path().join("backup.db");
    let living = Partial::new(&file).expect("begins");
    let refused = quiet(|watch| backup(data.path(), &file, watch));
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        fs::write(partial::with_suffix(living.path(), suffix), "half of a backup").expect("writes");
    }
    std::mem::forget(living);
    // The lock would end with the killed process; here the descriptor lives on, so the file is made anew.
    let left = out.path().join(".backup.db.partial");
    fs::rename(&left, out.path().join("x")).expect("renames");
    fs::rename(out.path().join("x"), out.path().join("y")).expect("renames");
    fs::copy(out.path().join("y"), &left).expect("copies");
    fs::remove_file(out.path().join("y")).expect("removes");
    quiet(|watch| backup(data.path(), &file, watch)).expect("is backed up");
    assert_eq!(names(out.path()), ["backup.db".to_owned()].into());
}

#[test]
fn what_is_not_there_is_named() {
    let out = TempDir::new().expect("a directory");
    let nowhere = out.path().join("nowhere");
    for refused in [
        quiet(|watch| verify(&nowhere, &Wanted::whole(), watch)).map(drop),
        quiet(|watch| backup(&nowhere, &out.path().join("b"), watch)).map(drop),
        quiet(|watch| restore(&nowhere, &out.path().join("data"), watch)).map(drop),
        quiet(|watch| export(&nowhere, &Selected::default(), Format::Csv, &mut Vec::new(), watch)).map(drop),
        quiet(|watch| migrate(&nowhere, 1, watch, |_| Ok(()))).map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Missing(_))), "{refused:?}");
    }
    assert_eq!(names(out.path()), BTreeSet::new());
}

fn exported(data: &TempDir, selected: &Selected, format: Format) -> String {
    let mut out = Vec::new();
    quiet(|watch| export(data.path(), selected, format, &mut out, watch)).expect("exports");
    String::from_utf8(out).expect("is text")
}

fn numbers(data: &TempDir, selected: &Selected) -> Vec<u64> {
    let text = exported(data, selected, Format::Ndjson);
    text.lines().map(|line| serde_json::from_str::<StoredEvent>(line).expect("is an event").seq).collect()
}

#[test]
fn an_export_holds_what_was_selected() {
    let data = numbered(24);
    let at = |number: i64| Some(now() + chrono::TimeDelta::seconds(number));
    let everything = Selected::default;
    for (selected, expect) in [
        (everything(), (1..=24).collect::<Vec<_>>()),
        (Selected { task: Some(task(1)), ..everything() }, vec![1, 5, 9, 13, 17, 21]),
        (Selected { kind: Some("test.0".into()), after: 12, ..everything() }, vec![15, 18, 21, 24]),
        (Selected { since: at(5), until: at(8), ..everything() }, vec![5, 6, 7]),
        (Selected { task: Some(task(1)), kind: Some("test.0".into()), ..everything() }, vec![9, 21]),
        (Selected { after: 24, ..everything() }, vec![]),
        (Selected { after: 1_000, ..everything() }, vec![]),
    ] {
        assert_eq!(numbers(&data, &selected), expect, "{selected:?}");
    }
}

#[test]
fn a_long_export_goes_over_many_snapshots() {
    let data = numbered(0);
    while_running(data.path(), |append| {
        for begin in (1..=25_000).step_by(5_000) {
            append((begin..begin + 5_000).map(|number| event(number, "0")).collect());
        }
    });
    assert_eq!(numbers(&data, &Selected::default()), (1..=25_000).collect::<Vec<_>>());
    assert_eq!(report_of(&data.path().join(DATABASE)).events, 25_000);
}

#[test]
fn a_payload_keeps_its_bytes_but_for_line_breaks_between_tokens() {
    let data = store_with([event(1, "{\"a\": 1.10,  \"b\":\"x\\ny\"}"), event(2, "[1,\r\n\t2]")]);
    let text = exported(&data, &Selected::default(), Format::Ndjson);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with(",\"payload\":{\"a\": 1.10,  \"b\":\"x\\ny\"}}"), "{}", lines[0]);
    assert!(lines[1].ends_with(",\"payload\":[1,  \t2]}"), "{}", lines[1]);
    let mut out = Vec::new();
    let told = quiet(|watch| export(data.path(), &Selected::default(), Format::Ndjson, &mut out, watch));
    assert_eq!(told.expect("exports").joined, 1);
}

#[test]
fn csv_quotes_what_must_be_quoted() {
    let data = store_with([event(3, "{\"a\": \"b\",\r\n\"c\":1}"), event(4, "7")]);
    let (three, four) = (event(3, ""), event(4, ""));
    let expect = format!(
        "seq,id,type,task_id,execution_id,producer,created_at,schema_version,payload\r\n\
         1,{},test.0,{},,tests,2023-11-14T22:13:23Z,1,\"{{\"\"a\"\": \"\"b\"\",\r\n\"\"c\"\":1}}\"\r\n\
         2,{},test.1,{},,tests,2023-11-14T22:13:24Z,1,7\r\n",
        three.id,
        task(3),
        four.id,
        task(0),
    );
    assert_eq!(exported(&data, &Selected::default(), Format::Csv), expect);
}

#[test]
fn going_back_says_what_is_lost_and_an_older_program_can_use_the_log() {
    let data = numbered(5);
    let path = data.path().join(DATABASE);
    let unconfirmed = quiet(|watch| migrate(data.path(), 1, watch, |_| Err(Error::Unconfirmed)));
    assert!(matches!(unconfirmed, Err(Error::Unconfirmed)), "{unconfirmed:?}");
    assert_eq!(report_of(&path).events, 5);
    let plan = quiet(|watch| migrate(data.path(), 1, watch, |_| Ok(()))).expect("goes back");
    let known = schema::known(MIGRATIONS);
    assert_eq!((plan.from, plan.to, plan.losses.len()), (known, 1, known as usize - 1));
    assert!(plan.losses.iter().any(|loss| loss.contains("hash chain")), "{:?}", plan.losses);
    // As the program of version 1 did.
    let insert =
        "INSERT INTO events VALUES (6, x'00112233445566778899aabbccddeeff', 'old', NULL, NULL, 'tests', 0, 1, '{}')";
    Connection::open(&path).expect("opens").execute(insert, []).expect("inserts");
    while_running(data.path(), |append| append(vec![event(7, "{}")]));
    assert_eq!(report_of(&path).events, 7);
}

#[test]
fn going_back_is_refused_where_a_store_runs_forward_and_from_the_future() {
    let data = numbered(1);
    while_running(data.path(), |_| {
        let refused = quiet(|watch| migrate(data.path(), 1, watch, |_| Ok(())));
        assert!(matches!(refused, Err(Error::Open(OpenError::InUse(_)))), "{refused:?}");
    });
    let known = schema::known(MIGRATIONS);
    let same = quiet(|watch| migrate(data.path(), known, watch, |_| panic!("nothing is lost"))).expect("is there");
    assert_eq!((same.from, same.to), (known, known));
    let forward = quiet(|watch| migrate(data.path(), known + 1, watch, |_| Ok(())));
    assert!(matches!(forward, Err(Error::NotBack { .. })), "{forward:?}");
    let future = "INSERT INTO schema_migrations VALUES (99, 'of the future', 0)";
    Connection::open(data.path().join(DATABASE)).expect("opens").execute(future, []).expect("inserts");
    let refused = quiet(|watch| migrate(data.path(), 1, watch, |_| Ok(())));
    assert!(matches!(refused, Err(Error::Open(OpenError::Newer { found: 99, .. }))), "{refused:?}");
}
