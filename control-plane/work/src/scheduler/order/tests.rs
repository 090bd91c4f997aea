//! Who is served in which order, told as the letters of their projects.

use chrono::{DateTime, TimeDelta};
use wire::id::TaskId;
use wire::task::Priority;

use super::*;

fn tenant(number: u8) -> TenantId {
    TenantId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

/// So many tasks of a project, the first `age` seconds after the beginning, one each second.
fn queue(of: TenantId, project: &str, priority: i16, age: i64, count: i64) -> Queue {
    let task = |number: i64| Waiting {
        task: TaskId::mint(DateTime::UNIX_EPOCH, [u8::try_from(number % 250).expect("fits"); 10]),
        priority: Priority::try_from(priority).expect("valid"),
        created_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(age + number),
        repository: "r".into(),
        machine: None,
        estimate_micros: 0,
    };
    Queue { lane: Lane::of(of, Some(project), &[]), tasks: (0..count).map(task).collect() }
}

/// The projects of the next so many that are served, and everybody's shares afterwards.
fn serve(queues: &[Queue], shares: &Shares, count: usize) -> (String, Shares) {
    let mut line = Line::new(queues, shares);
    let mut order = String::new();
    for _ in 0..count {
        let Some((place, _)) = line.next() else { break };
        order.push_str(queues[place].lane.project.as_deref().expect("has one"));
        line.take(place);
        line.serve(place);
    }
    let mut shares = shares.clone();
    for (owner, started) in line.served() {
        let weight = shares.get(&owner).map_or(1, |share| share.weight);
        shares.insert(owner, Share { weight, started: Some(started) });
    }
    (order, shares)
}

fn weigh(of: TenantId, project: &str, weight: i32) -> (Owner, Share) {
    (Owner::Project(of, project.into()), Share { weight, started: None })
}

#[test]
fn a_thousand_tasks_do_not_keep_one_of_another_project_waiting() {
    let queues = [queue(tenant(1), "a", 3, 0, 200), queue(tenant(1), "b", 3, 1_000, 2)];
    assert_eq!(serve(&queues, &Shares::default(), 6).0, "ababaa");
}

#[test]
fn priority_comes_before_turns() {
    let queues = [queue(tenant(1), "a", 3, 0, 2), queue(tenant(1), "b", 5, 10, 3)];
    assert_eq!(serve(&queues, &Shares::default(), 5).0, "bbbaa");
}

#[test]
fn a_project_is_served_as_often_as_it_weighs() {
    let shares = Shares::from([weigh(tenant(1), "a", 3), weigh(tenant(1), "b", 1)]);
    let queues = [queue(tenant(1), "a", 3, 0, 100), queue(tenant(1), "b", 3, 0, 100)];
    let (order, _) = serve(&queues, &shares, 40);
    assert_eq!(order.matches('a').count(), 30, "{order}");
}

#[test]
fn a_tenant_with_many_projects_gets_no_more_than_one_with_one() {
    let mut queues: Vec<Queue> = ["a", "b", "c", "d"].map(|name| queue(tenant(1), name, 3, 0, 100)).into();
    queues.push(queue(tenant(2), "x", 3, 50, 100));
    let (order, _) = serve(&queues, &Shares::default(), 40);
    assert_eq!(order.matches('x').count(), 20, "{order}");
    assert_eq!(order.matches('a').count(), 5, "{order}");
}

#[test]
fn who_was_away_has_saved_nothing_up_and_who_comes_anew_is_next() {
    let (a, b) = (queue(tenant(1), "a", 3, 0, 100), queue(tenant(1), "b", 3, 0, 100));
    let (_, shares) = serve(&[a.clone(), b.clone()], &Shares::default(), 2);
    let (_, shares) = serve(std::slice::from_ref(&a), &shares, 30);
    let new = queue(tenant(1), "n", 3, 5_000, 10);
    let (order, _) = serve(&[a, b, new], &shares, 9);
    assert_eq!(order.matches('b').count(), 3, "{order}");
    assert!(order[..2].contains('n'), "{order}");
}

#[test]
fn the_foremost_lanes_are_those_whose_turn_comes_first() {
    let head = |queue: Queue| Head {
        priority: queue.tasks[0].priority,
        since: (queue.tasks[0].created_at, queue.tasks[0].task),
        lane: queue.lane,
    };
    let heads = vec![
        head(queue(tenant(1), "old", 3, 0, 1)),
        head(queue(tenant(1), "urgent", 5, 9, 1)),
        head(queue(tenant(1), "new", 3, 5, 1)),
    ];
    let served = Share { weight: 1, started: Some(0) };
    let shares = Shares::from([(Owner::Project(tenant(1), "old".into()), served)]);
    let order: Vec<_> = foremost(heads, &shares, 2).into_iter().filter_map(|head| head.lane.project).collect();
    assert_eq!(order, ["urgent", "new"]);
}
