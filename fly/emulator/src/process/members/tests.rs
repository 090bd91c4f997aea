//! Tables of processes, and who of them is the machine's.

use super::*;

const fn process(pid: i32, parent: i32, session: i32, start_ticks: u64) -> Process {
    Process { pid, parent, session, state: b'S', start_ticks }
}

#[track_caller]
fn check(table: &[Process], init: Option<i32>, since_ticks: u64, marked: &[i32], expected: &[i32]) {
    let root = Root { machine_id: "m".to_owned(), init, since_ticks };
    let found: Vec<i32> = select(table, &root, |pid| marked.contains(&pid)).iter().map(|found| found.pid).collect();
    assert_eq!(found, expected);
}

#[test]
fn descendants_belong_however_deep_and_parents_come_first() {
    let table = [process(40, 30, 10, 4), process(30, 20, 10, 3), process(20, 10, 10, 2), process(10, 5, 10, 1)];
    check(&table, Some(10), 1, &[], &[10, 20, 30, 40]);
}

#[test]
fn a_child_with_a_session_of_its_own_belongs_and_so_do_its_children() {
    let table = [process(10, 5, 10, 1), process(20, 10, 20, 2), process(30, 20, 20, 3)];
    check(&table, Some(10), 1, &[], &[10, 20, 30]);
}

#[test]
fn an_orphan_of_the_session_belongs() {
    let table = [process(10, 5, 10, 1), process(20, 1, 10, 2)];
    check(&table, Some(10), 1, &[], &[10, 20]);
}

#[test]
fn a_daemon_that_left_everything_is_known_by_its_mark_and_so_are_its_children() {
    let table = [process(10, 5, 10, 1), process(20, 1, 20, 2), process(30, 20, 20, 3), process(40, 1, 40, 4)];
    check(&table, Some(10), 1, &[20], &[10, 20, 30]);
}

#[test]
fn strangers_and_whoever_is_older_than_the_machine_do_not_belong() {
    let table = [process(10, 5, 10, 5), process(5, 1, 5, 1), process(20, 1, 10, 4), process(30, 5, 5, 9)];
    check(&table, Some(10), 5, &[20], &[10]);
}

#[test]
fn once_its_init_is_gone_the_session_number_means_nothing() {
    let table = [process(20, 1, 10, 2), process(10, 1, 10, 3)];
    check(&table, None, 1, &[20], &[20]);
}

#[test]
fn neither_the_first_process_nor_this_one_ever_belongs() {
    let own = i32::try_from(std::process::id()).expect("a pid");
    let table = [process(1, 0, 1, 0), process(own, 1, 1, 1)];
    check(&table, Some(1), 0, &[1, own], &[]);
}

#[test]
fn the_dead_do_not_count() {
    let dead = Process { state: b'Z', ..process(10, 5, 10, 1) };
    check(&[dead, process(20, 1, 10, 2)], Some(10), 1, &[], &[20]);
}

#[test]
fn a_table_with_a_loop_is_survived() {
    let table = [process(10, 20, 10, 1), process(20, 10, 10, 2)];
    check(&table, Some(10), 1, &[], &[10, 20]);
}
