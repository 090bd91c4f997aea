//! The spool across crashes, lost cursors and full bounds.

use tempfile::TempDir;

use super::*;

const PLENTY: u64 = 1_000_000;

/// Files of at least twenty bytes.
fn open(directory: &TempDir) -> (Spool, u64) {
    Spool::open_with(directory.path(), 20).expect("opens")
}

fn append(spool: &Spool, lines: &[&str]) {
    for line in lines {
        assert!(spool.append(format!("{line}\n").as_bytes(), 0, PLENTY).expect("writes"));
    }
}

/// Everything from the place on, a batch at a time.
fn read_all(spool: &Spool, mut from: u64, most_lines: usize, most_bytes: usize) -> Vec<Vec<String>> {
    let mut batches = Vec::new();
    while let Some(Batch { lines, end }) = spool.read(from, most_lines, most_bytes).expect("reads") {
        batches.push(lines.into_iter().map(|line| String::from_utf8(line).expect("is text")).collect());
        from = end;
    }
    batches
}

fn segments(directory: &TempDir) -> usize {
    let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    names.filter_map(|path| segment_start(&path)).count()
}

#[test]
fn lines_come_back_in_order_within_both_bounds() {
    let directory = TempDir::new().unwrap();
    let (spool, start) = open(&directory);
    append(&spool, &["one", "two", "three", "four", "five", "six"]);
    assert_eq!(segments(&directory), 2);
    let expect: Vec<Vec<&str>> = vec![vec!["one", "two"], vec!["three", "four"], vec!["five"], vec!["six"]];
    assert_eq!(read_all(&spool, start, 2, 1_000), expect);
    let expect: Vec<Vec<&str>> = vec![vec!["one", "two"], vec!["three"], vec!["four"], vec!["five"], vec!["six"]];
    assert_eq!(read_all(&spool, start, 100, 9), expect);
    let expect = ["one", "two", "three", "four", "five", "six"].map(|line| vec![line]);
    assert_eq!(read_all(&spool, start, 100, 0), expect, "a line larger than the bound goes alone");
}

#[test]
fn what_was_not_acknowledged_is_there_after_a_crash_and_a_torn_line_is_not() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    append(&spool, &["one", "two"]);
    spool.acknowledge(4).unwrap();
    drop(spool);
    let torn = OpenOptions::new().append(true).open(segment(directory.path(), 0)).unwrap();
    (&torn).write_all(b"thr").unwrap();
    let (spool, acknowledged) = open(&directory);
    append(&spool, &["four"]);
    assert_eq!(read_all(&spool, acknowledged, 9, 99), [["two", "four"]]);
}

#[test]
fn files_are_deleted_when_all_of_them_was_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    for _ in 0..50 {
        append(&spool, &["a line of twenty byte"]);
        spool.acknowledge(spool.end()).unwrap();
        assert!(segments(&directory) <= 2);
    }
    let end = spool.end();
    drop(spool);
    let (spool, acknowledged) = open(&directory);
    assert_eq!((spool.end(), acknowledged), (end, end));
}

#[test]
fn a_lost_cursor_only_means_sending_again() {
    for damage in [None, Some(""), Some("garbage\n")] {
        let directory = TempDir::new().unwrap();
        let (spool, _) = open(&directory);
        append(&spool, &["one"]);
        spool.acknowledge(spool.end()).unwrap();
        drop(spool);
        match damage {
            None => fs::remove_file(directory.path().join("cursor")).unwrap(),
            Some(text) => fs::write(directory.path().join("cursor"), text).unwrap(),
        }
        let (spool, acknowledged) = open(&directory);
        assert_eq!(read_all(&spool, acknowledged, 9, 99), [["one"]], "{damage:?}");
    }
}

#[test]
fn lines_that_a_power_cut_took_do_not_stop_those_that_follow() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    append(&spool, &["one", "two"]);
    spool.acknowledge(spool.end()).unwrap();
    drop(spool);
    // The cursor reached the disk, the lines before it did not.
    fs::write(segment(directory.path(), 0), "on").unwrap();
    let (spool, acknowledged) = open(&directory);
    append(&spool, &["three"]);
    assert_eq!(read_all(&spool, acknowledged, 9, 99), [["three"]]);
    assert_eq!(read_all(&spool, 0, 9, 99), [["three"]]);
}

#[test]
fn a_hole_with_nothing_behind_it_is_passed_over() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    append(&spool, &["one", "two"]);
    spool.acknowledge(8).unwrap();
    drop(spool);
    // The power takes a line, and after another restart the cursor is lost as well.
    fs::write(segment(directory.path(), 0), "one\n").unwrap();
    drop(open(&directory));
    fs::remove_file(directory.path().join("cursor")).unwrap();
    let (spool, acknowledged) = open(&directory);
    assert_eq!(read_all(&spool, acknowledged, 9, 99), [vec!["one"], vec![]]);
    assert_eq!(spool.read(spool.end(), 9, 99).unwrap(), None);
}

#[test]
fn a_full_spool_takes_no_more_until_something_was_acknowledged() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    assert!(spool.append(b"larger than the bound\n", 0, 10).unwrap(), "alone it goes in");
    assert!(!spool.append(b"x\n", 0, 10).unwrap());
    assert!(spool.append(b"x\n", 22, 10).unwrap());
}

#[test]
fn refused_lines_are_kept_within_a_bound() {
    let directory = TempDir::new().unwrap();
    let (spool, _) = open(&directory);
    let line = vec![b'x'; 1_500_000];
    let kept: Vec<bool> = (0..4).map(|_| spool.set_aside("was refused", &line).unwrap()).collect();
    assert_eq!(kept, [true, true, false, false]);
    let size = fs::metadata(directory.path().join("rejected.jsonl")).unwrap().len();
    assert!(size <= REJECTED_BYTES_MAX, "{size}");
}

#[test]
fn a_second_process_is_refused() {
    let directory = TempDir::new().unwrap();
    let held = open(&directory);
    assert_eq!(Spool::open(directory.path()).expect_err("is held").kind(), io::ErrorKind::ResourceBusy);
    drop(held);
    open(&directory);
}
