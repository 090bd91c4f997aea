//! The log without HTTP: groups, duplicates, conflicts, a full disk, a clean end.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use wire::id::TaskId;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).expect("in range")
}

fn open(directory: &TempDir) -> (Log, Writer) {
    Log::open(directory.path(), now()).expect("opens")
}

/// An event whose id is made of the number.
fn event(number: u8) -> NewEvent {
    let payload = Bytes::from(format!("{{\"number\": {number}}}"));
    NewEvent {
        id: EventId::mint(now(), [number; 10]),
        kind: "test".into(),
        task_id: Some(TaskId::mint(now(), [1; 10])),
        execution_id: None,
        producer: "tests".into(),
        created_at: now(),
        schema_version: 1,
        payload: Payload::within(&payload, std::str::from_utf8(&payload).unwrap()),
    }
}

fn batch(events: impl IntoIterator<Item = NewEvent>) -> Batch {
    let claim = Arc::new(Semaphore::new(0)).try_acquire_many_owned(0).expect("nothing is always free");
    Batch::new(events.into_iter().collect(), claim)
}

fn receipt(number: u8, seq: u64, duplicate: bool) -> Receipt {
    Receipt { id: event(number).id, seq, duplicate }
}

/// Transactions in the write-ahead log: frames that say how large the database is after them.
fn commits_in_journal(directory: &TempDir) -> usize {
    let journal = fs::read(directory.path().join("events.db-wal")).expect("there is a journal");
    let page = u32::from_be_bytes(journal[8..12].try_into().unwrap()) as usize;
    journal[32..].chunks_exact(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

async fn stored(log: &Log) -> Vec<u64> {
    let selection = Selection { task: None, filter: Filter::default(), after: 0, limit: 1_000, bytes: usize::MAX };
    let page = log.read(selection, |out, row| out.extend_from_slice(&row.seq.to_le_bytes())).await.expect("reads");
    page.bytes.chunks_exact(8).map(|seq| u64::from_le_bytes(seq.try_into().unwrap())).collect()
}

/// Follows the chain from where the log begins, and says where it ends.
pub(crate) fn assert_whole(directory: &Path) -> Head {
    let database = Connection::open(directory.join(DATABASE)).unwrap();
    let start = |row: &rusqlite::Row<'_>| Ok(Head { seq: row.get(0)?, link: Link::read(row.get_ref(1)?)? });
    let mut head = database.query_row("SELECT seq, link FROM start", [], start).unwrap_or(Head::START);
    let mut events = database.prepare(&format!("SELECT {}, link FROM events ORDER BY seq", COLUMNS)).unwrap();
    let mut rows = events.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let event = Row::read(row).unwrap();
        head = head.then(event.digest());
        assert_eq!((head.seq, head.link), (event.seq, Link::read(row.get_ref("link").unwrap()).unwrap()));
    }
    head
}

#[tokio::test]
async fn requests_that_wait_together_share_one_commit() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    let before = commits_in_journal(&directory);
    let mut appends: Vec<_> = (0..20).map(|number| Box::pin(log.append(batch([event(number)])))).collect();
    for append in &mut appends {
        assert_eq!(append.now_or_never(), None);
    }
    let running = thread::spawn(move || writer.run());
    for (index, answer) in join_all(appends).await.into_iter().enumerate() {
        assert_eq!(answer, Ok(vec![receipt(index as u8, index as u64 + 1, false)]));
    }
    assert_eq!(commits_in_journal(&directory), before + 1);
    log.close().await;
    running.join().unwrap();
}

#[tokio::test]
async fn an_event_that_comes_again_is_answered_as_before() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch([event(1)])).await.expect("stores");
    let again = log.append(batch([event(2), event(1), event(2)])).await;
    assert_eq!(again, Ok(vec![receipt(2, 2, false), receipt(1, 1, true), receipt(2, 2, true)]));
    assert_eq!(stored(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_conflict_takes_back_its_request_and_no_other_of_the_group() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    let changed = NewEvent { kind: "changed".into(), ..event(1) };
    let mut appends = [
        Box::pin(log.append(batch([event(1)]))),
        Box::pin(log.append(batch([event(2), event(3), changed]))),
        Box::pin(log.append(batch([event(4)]))),
    ];
    for append in &mut appends {
        assert_eq!(append.now_or_never(), None);
    }
    thread::spawn(move || writer.run());
    let answers = join_all(appends).await;
    assert_eq!(answers[0], Ok(vec![receipt(1, 1, false)]));
    assert_eq!(answers[1], Err(AppendError::Conflict { index: 2, id: event(1).id }));
    assert_eq!(answers[2], Ok(vec![receipt(4, 2, false)]));
    assert_eq!(stored(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_full_disk_stores_nothing_and_leaves_no_gap() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    writer.limit_pages(10);
    thread::spawn(move || writer.run());
    log.append(batch([event(1)])).await.expect("there is room for one");
    let large = Bytes::from(format!("\"{}\"", "x".repeat(100_000)));
    let large = NewEvent { payload: Payload::within(&large, std::str::from_utf8(&large).unwrap()), ..event(2) };
    assert_eq!(log.append(batch([event(3), large])).await, Err(AppendError::DiskFull));
    assert_eq!(log.append(batch([event(4)])).await, Ok(vec![receipt(4, 2, false)]));
    assert_eq!(stored(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_close_answers_what_was_accepted() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    let mut accepted: Vec<_> = (0..QUEUE - 1).map(|_| Box::pin(log.append(batch([event(1)])))).collect();
    for append in &mut accepted {
        assert_eq!(append.now_or_never(), None);
    }
    log.close().await;
    assert_eq!(log.append(batch([event(2)])).await, Err(AppendError::QueueFull));
    thread::spawn(move || writer.run()).join().unwrap();
    assert!(join_all(accepted).await.iter().all(Result::is_ok));
    assert_eq!(log.append(batch([event(2)])).await, Err(AppendError::Closed));
}

#[tokio::test]
async fn a_probe_goes_through_the_disk() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    let before = commits_in_journal(&directory);
    thread::spawn(move || writer.run());
    assert_eq!(log.probe().await, Ok(()));
    assert_eq!(commits_in_journal(&directory), before + 1);
}

#[tokio::test]
async fn the_chain_goes_on_from_where_old_events_were_deleted() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch((0..10).map(event))).await.expect("stores");
    let link = log.link(4).await.expect("reads").expect("is there");
    let record = |last| PrunedPayload { first: 1, last, link: wire::event::Link(*link.as_bytes()) };
    log.prune(&record(4), now()).await.expect("deletes");
    // What is gone already changes nothing, whoever asks for it.
    log.prune(&record(2), now()).await.expect("deletes nothing");
    assert_eq!(stored(&log).await, (5..=12).collect::<Vec<_>>());
    assert_eq!(assert_whole(directory.path()), log.head());
}

#[tokio::test]
async fn an_id_that_was_deleted_is_free_again() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch([event(1), event(2)])).await.expect("stores");
    let link = log.link(1).await.expect("reads").expect("is there");
    let record = PrunedPayload { first: 1, last: 1, link: wire::event::Link(*link.as_bytes()) };
    log.prune(&record, now()).await.expect("deletes");
    assert_eq!(log.append(batch([event(1), event(2)])).await, Ok(vec![receipt(1, 4, false), receipt(2, 2, true)]));
}

#[tokio::test]
async fn a_journal_that_is_left_to_others_is_never_folded_in() {
    let directory = TempDir::new().unwrap();
    let (log, mut writer) = open(&directory);
    writer.leave_journal().expect("can be set");
    let running = thread::spawn(move || writer.run());
    let large = || Bytes::from(format!("\"{}\"", "x".repeat(1_000_000)));
    for number in 0..10 {
        let payload = large();
        let payload = Payload::within(&payload, std::str::from_utf8(&payload).unwrap());
        log.append(batch([NewEvent { payload, ..event(number) }])).await.expect("stores");
    }
    log.close().await;
    running.join().unwrap();
    let size = |name| fs::metadata(directory.path().join(name)).unwrap().len();
    assert!(size(JOURNAL) > 10_000_000 && size(DATABASE) < 1_000_000);
    drop(log);
    assert_eq!(stored(&open(&directory).0).await.len(), 10);
}

#[tokio::test]
async fn a_page_ends_at_either_bound_and_says_so() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch((0..10).map(event))).await.expect("stores");
    let selection = Selection { task: None, filter: Filter::default(), after: 0, limit: 4, bytes: usize::MAX };
    let render: Render = |out, _| out.push(b'.');
    let page = |selection| log.read(selection, render);
    let full = Page { bytes: b"....".to_vec(), seen: 4, is_full: true };
    assert_eq!(page(selection.clone()).await.unwrap(), full);
    assert_eq!(page(Selection { limit: 1_000, bytes: 4, ..selection.clone() }).await.unwrap(), full);
    let rest = Page { bytes: b"..".to_vec(), seen: 10, is_full: false };
    assert_eq!(page(Selection { after: 8, ..selection.clone() }).await.unwrap(), rest);
    let filter = Filter { kind: Some("other".into()), since: None };
    let none = Page { bytes: vec![], seen: 10, is_full: false };
    assert_eq!(page(Selection { filter, ..selection }).await.unwrap(), none);
}

#[test]
fn a_second_process_is_refused() {
    let directory = TempDir::new().unwrap();
    let first = open(&directory);
    assert!(matches!(Log::open(directory.path(), now()), Err(OpenError::InUse(_))));
    drop(first);
    open(&directory);
}

#[test]
fn a_newer_database_is_refused_with_the_cure() {
    let directory = TempDir::new().unwrap();
    drop(open(&directory));
    let database = Connection::open(directory.path().join("events.db")).unwrap();
    database.execute("INSERT INTO schema_migrations VALUES (99, 'of the future', 0)", []).unwrap();
    let Err(error) = Log::open(directory.path(), now()) else { panic!("a newer database was opened") };
    assert!(error.to_string().contains("schema version 99, this program knows only 3"), "{error}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(error) = Log::open(&file.join("data"), now()) else { panic!("opened below a file") };
    assert!(error.to_string().starts_with("cannot write to the data directory"), "{error}");
}

#[tokio::test]
async fn readers_who_leave_take_no_connection_with_them() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch((0..10).map(event))).await.expect("stores");
    for _ in 0..10 {
        let mut reads: Vec<_> = (0..READERS).map(|_| Box::pin(stored(&log))).collect();
        // Begun, and given up.
        reads.iter_mut().for_each(|read| drop(read.now_or_never()));
        drop(reads);
        assert_eq!(stored(&log).await.len(), 10);
    }
}

#[test]
fn the_engine_has_no_known_fault_in_its_journal() {
    // Up to 3.51.2 two who fold the journal in and one who writes could damage a database.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[tokio::test]
async fn deleted_events_are_forgotten_by_the_task_index() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch((0..10).map(event))).await.expect("stores");
    let link = log.link(7).await.expect("reads").expect("is there");
    let record = PrunedPayload { first: 1, last: 7, link: wire::event::Link(*link.as_bytes()) };
    log.prune(&record, now()).await.expect("prunes");
    let task = Some(TaskId::mint(now(), [1; 10]));
    let selection = Selection { task, filter: Filter::default(), after: 0, limit: 100, bytes: usize::MAX };
    let page = log.read(selection, |out, _| out.push(b'.')).await.expect("reads");
    assert_eq!(page.bytes, b"...");
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    assert_eq!(postings::faults(&database, log.head().seq).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_index_that_lacks_an_event_or_names_another_tasks_is_found() {
    let directory = TempDir::new().unwrap();
    let (log, writer) = open(&directory);
    thread::spawn(move || writer.run());
    log.append(batch((0..100).map(event))).await.expect("stores");
    let database = Connection::open(directory.path().join(DATABASE)).unwrap();
    let faults = || postings::faults(&database, 100).unwrap();
    assert_eq!(faults(), Vec::<String>::new());
    database.execute("UPDATE events SET task_id = zeroblob(16) WHERE seq = 50", []).unwrap();
    assert_eq!(faults(), ["the task index is wrong in the run that ends at event 100"]);
    database
        .execute("UPDATE events SET task_id = (SELECT task_id FROM events WHERE seq = 1) WHERE seq = 50", [])
        .unwrap();
    let places: Vec<u64> = (1..=100).filter(|place| *place != 60).collect();
    let run = postings::Run { task: TaskId::mint(now(), [1; 10]), places };
    database.execute("UPDATE runs SET places = ?1", [run.packed()]).unwrap();
    assert_eq!(faults(), ["the task index lacks 1 events"]);
}
