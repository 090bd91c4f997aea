//! The simulation on graphs of a few tasks.

use super::*;

fn task(priority: i16, minutes: i64, needs: &[usize]) -> Played {
    let needs = needs.iter().map(|on| Needed { on: Target::Task(*on), group: None }).collect();
    Played { priority, minutes, stuck: None, needs }
}

fn either(minutes: i64, any: &[Target]) -> Played {
    let needs = any.iter().map(|on| Needed { on: on.clone(), group: Some("g".into()) }).collect();
    Played { priority: 3, minutes, stuck: None, needs }
}

#[track_caller]
fn check(tasks: &[Played], machines: usize, at_once: usize, expect: &[(usize, usize, i64, i64)]) -> Play {
    let play = play(tasks, machines, at_once);
    let runs: Vec<_> = play.runs.iter().map(|run| (run.task, run.machine, run.start, run.end)).collect();
    assert_eq!(runs, expect);
    play
}

#[test]
fn tasks_go_by_priority_then_age_as_machines_come_free() {
    let tasks = [task(3, 10, &[]), task(5, 20, &[]), task(3, 5, &[]), task(5, 5, &[0])];
    let expect = [(1, 1, 0, 20), (0, 2, 0, 10), (3, 2, 10, 15), (2, 2, 15, 20)];
    let play = check(&tasks, 2, 1, &expect);
    assert_eq!((play.end, play.machine_minutes, play.machines_used), (20, 40, 2));
    assert_eq!(play.runs[3].ready, 0, "it could have begun at once");
    assert_eq!((play.times.length, play.times.path), (20, vec![1]));
}

#[test]
fn with_machines_enough_the_critical_path_is_the_end() {
    let tasks = [task(3, 10, &[]), task(3, 30, &[0]), task(3, 5, &[0]), task(3, 10, &[1, 2])];
    let play = check(&tasks, 9, 1, &[(0, 1, 0, 10), (1, 1, 10, 40), (2, 2, 10, 15), (3, 1, 40, 50)]);
    assert_eq!((play.end, play.times.length, play.times.waves), (50, 50, vec![1, 2, 2, 3]));
    assert_eq!(play.machine_minutes, 55);
}

#[test]
fn a_machine_that_works_on_two_at_once_is_paid_once() {
    let play = check(
        &[task(3, 10, &[]), task(3, 20, &[]), task(3, 5, &[])],
        1,
        2,
        &[(0, 1, 0, 10), (1, 1, 0, 20), (2, 1, 10, 15)],
    );
    assert_eq!((play.machine_minutes, play.machines_used), (20, 1));
}

#[test]
fn of_a_group_the_first_lets_a_task_begin_and_once() {
    let tasks = [
        task(3, 10, &[]),
        task(3, 20, &[]),
        either(5, &[Target::Task(0), Target::Task(1)]),
        either(1, &[Target::Task(1), Target::True]),
    ];
    check(&tasks, 9, 1, &[(0, 1, 0, 10), (1, 2, 0, 20), (3, 3, 0, 1), (2, 1, 10, 15)]);
}

#[test]
fn what_needs_what_will_not_come_waits_with_all_behind_it() {
    let never = || Target::Never("it needs merged of x".into());
    let mut failed = task(3, 10, &[]);
    failed.stuck = Some("it has failed".into());
    let tasks = [
        failed,
        task(3, 5, &[0]),
        task(3, 5, &[1]),
        either(5, &[never(), Target::Task(4)]),
        task(3, 5, &[]),
        either(5, &[never(), Target::Task(0)]),
    ];
    let play = check(&tasks, 2, 1, &[(4, 1, 0, 5), (3, 1, 5, 10)]);
    let waiting: Vec<_> = play.waiting.iter().map(|(task, why)| (*task, why.as_str())).collect();
    let expect = [
        (0, "it has failed"),
        (1, "it needs task 0, which would not begin"),
        (2, "it needs task 1, which would not begin"),
        (5, "it needs merged of x, and so it is with all of group g"),
    ];
    assert_eq!(waiting, expect);
}

#[test]
fn nothing_and_tasks_of_no_length_come_to_an_end() {
    assert_eq!(check(&[], 1, 1, &[]).end, 0);
    check(&[task(3, 0, &[]), task(3, 0, &[0])], 1, 1, &[(0, 1, 0, 0), (1, 1, 0, 0)]);
}
