//! Tables and properties of the scheduler's decision.

use std::time::Duration;

use pool::money::policy::TooSmall;
use pool::plan::{Facts, Wear};
use proptest::prelude::*;
use wire::cost::Period;
use wire::id::{MachineId, TenantId};
use wire::machine::MachineState;

use super::*;

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

pub(crate) fn task(number: u8) -> TaskId {
    TaskId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

fn worker(number: u8) -> WorkerId {
    WorkerId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

fn machine(number: u8) -> MachineId {
    MachineId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

pub(crate) fn tenant() -> TenantId {
    TenantId::mint(DateTime::UNIX_EPOCH, [9; 10])
}

/// Tasks of one moment and one priority, which are taken in the order of their ids.
pub(crate) fn waiting(repositories: &[&str]) -> Vec<Waiting> {
    let waiting = |(name, number): (&&str, u8)| Waiting {
        task: task(number),
        priority: Priority::default(),
        created_at: now(),
        repository: (*name).into(),
        machine: None,
        estimate_micros: 0,
    };
    repositories.iter().zip(0..).map(waiting).collect()
}

fn queue(project: Option<&str>, keys: &[&str], tasks: Vec<Waiting>) -> Queue {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    Queue { lane: Lane::of(tenant(), project, &keys), tasks }
}

fn rooms(holdings: &[&[&str]]) -> Vec<Room> {
    let room = |(held, number): (&&[&str], u8)| Room {
        worker: worker(number),
        machine: Some(machine(number)),
        free: 1,
        repositories: held.iter().map(|name| (*name).to_owned()).collect(),
    };
    holdings.iter().zip(0..).map(room).collect()
}

fn snapshot(waiting: Vec<Waiting>, rooms: Vec<Room>) -> Snapshot {
    let ready = rooms.iter().zip(0..).map(|(_, number): (_, u8)| Facts {
        id: machine(number),
        state: MachineState::Ready,
        state_since: now(),
        refusals: 0,
        load: 0,
        idle_since: Some(now()),
        repositories: vec![],
        wear: Wear::default(),
    });
    let limits = Limits { destroy_after: Duration::from_secs(3_600), ..Limits::from(&pool::Settings::default()) };
    Snapshot {
        queues: vec![queue(None, &[], waiting)],
        rules: Rules::default(),
        shares: Shares::default(),
        machines: View { machines: ready.collect(), ..View::default() },
        rooms,
        limits,
    }
}

fn assigned(waiting: Vec<Waiting>, rooms: Vec<Room>) -> Vec<(TaskId, WorkerId)> {
    given(&plan(&snapshot(waiting, rooms), now()))
}

fn given(plan: &Plan) -> Vec<(TaskId, WorkerId)> {
    plan.assignments.iter().map(|assignment| (assignment.task, assignment.worker)).collect()
}

#[test]
fn a_task_goes_to_the_worker_that_holds_its_repository() {
    let given = assigned(waiting(&["b", "a"]), rooms(&[&["a"], &["b"]]));
    assert_eq!(given, [(task(0), worker(1)), (task(1), worker(0))]);
}

#[test]
fn a_task_that_one_machine_alone_can_take_waits_for_it_and_has_none_made() {
    let bound = |to: u8| vec![Waiting { machine: Some(machine(to)), ..waiting(&["a"]).remove(0) }];
    assert_eq!(assigned(bound(1), rooms(&[&["a"], &["b"]])), [(task(0), worker(1))]);
    let mut busy = snapshot(bound(1), rooms(&[&["a"], &["b"]]));
    busy.rooms.remove(1);
    let decided = plan(&busy, now());
    assert_eq!((given(&decided), decided.machines, decided.left), (vec![], vec![], 0));
    busy.machines.machines[1].state = MachineState::Suspended;
    assert_eq!(plan(&busy, now()).machines, [Action::Resume(machine(1))]);
    // Its machine is gone: whoever takes it says that the checkpoint is.
    assert_eq!(assigned(bound(9), rooms(&[&["b"]])), [(task(0), worker(0))]);
}

#[test]
fn a_task_without_a_holder_leaves_the_holder_to_the_task_that_wants_it() {
    let given = assigned(waiting(&["new", "a"]), rooms(&[&["a"], &["z"]]));
    assert_eq!(given, [(task(0), worker(1)), (task(1), worker(0))]);
}

#[test]
fn affinity_starves_nobody() {
    let given = assigned(waiting(&["new"]), rooms(&[&["a"]]));
    assert_eq!(given, [(task(0), worker(0))]);
}

#[test]
fn an_urgent_task_is_taken_before_an_earlier_one() {
    // The order is the snapshot's; the first gets the only room.
    let plan = plan(&snapshot(waiting(&["a", "a"]), rooms(&[&["a"]])), now());
    assert_eq!(given(&plan), [(task(0), worker(0))]);
    assert_eq!((plan.machines, plan.outlook), (vec![], Outlook::QueueShort { active: 1 }));
}

#[test]
fn a_machine_that_gets_work_is_not_sent_to_sleep_in_the_same_breath() {
    let mut snapshot = snapshot(waiting(&["a"]), rooms(&[&["a"], &["b"]]));
    snapshot.limits.suspend_after = Duration::ZERO;
    assert_eq!(plan(&snapshot, now()).machines, [Action::Drain(machine(1))]);
}

#[test]
fn every_wait_has_a_reason() {
    let outlooks = [
        Outlook::Calm,
        Outlook::Coming(2),
        Outlook::QueueShort { active: 1 },
        Outlook::Cap { machines_max: 10, strangers: 0 },
        Outlook::Budget { period: Period::Day, budget_micros: 10_000, until: now() },
        Outlook::TooSmall(TooSmall { period: Period::Day, budget_micros: 10_000, least_micros: 80_000 }),
        Outlook::Trouble { error: "no capacity".into(), until: now() },
    ];
    for outlook in outlooks {
        for ahead in [0, 1, 7] {
            let reasons = reasons(&outlook, ahead);
            assert!(!reasons.is_empty(), "{outlook:?}");
            assert_eq!(reasons.iter().any(|reason| reason.message.contains("ahead")), ahead > 0);
        }
    }
}

#[test]
fn that_machines_were_given_up_is_not_said_where_none_can_be_had() {
    let trouble = Outlook::Trouble { error: "no capacity".into(), until: now() };
    let told: Vec<_> = pool_reasons(&trouble).into_iter().map(|reason| reason.message).collect();
    assert_eq!(told, ["no machine can be had now; it is tried again later: no capacity"]);
}

#[test]
fn of_a_budget_the_cents_are_told_and_of_the_cap_what_is_not_the_pools() {
    let told = |outlook: &Outlook| pool_reasons(outlook).into_iter().map(|reason| reason.message).collect::<String>();
    let budget = Outlook::Budget { period: Period::Day, budget_micros: 10_000, until: now() };
    assert_eq!(told(&budget), "the machines' budget of $0.01 for the day pays for no more");
    let cap = |strangers| told(&Outlook::Cap { machines_max: 3, strangers });
    assert_eq!(cap(0), "all machines are busy and the cap of 3 is reached");
    assert!(cap(1).ends_with("is reached, against which 1 machine counts that is not the pool's"), "{}", cap(1));
    assert!(cap(2).ends_with("2 machines count that are not the pool's"), "{}", cap(2));
}

fn needed(number: u8, status: TaskStatus) -> Unsatisfied {
    let dependency_type = wire::dependency::DependencyType::Hard;
    let (condition, group) = (Condition::Completed, None);
    Unsatisfied { task: task(number), title: format!("t{number}"), status, dependency_type, condition, group }
}

#[test]
fn a_blocked_task_is_told_first_what_will_not_come_by_itself() {
    let statuses = [TaskStatus::InProgress, TaskStatus::Failed, TaskStatus::Ready, TaskStatus::Cancelled];
    let in_the_way: Vec<Unsatisfied> = (0..).zip(statuses).map(|(number, status)| needed(number, status)).collect();
    let named: Vec<_> = blocked(&in_the_way).into_iter().map(|reason| reason.task_id).collect();
    assert_eq!(named, [Some(task(1)), Some(task(3)), Some(task(0)), Some(task(2))]);
}

#[test]
fn of_many_tasks_in_the_way_twenty_are_named_and_the_rest_is_counted() {
    let many: Vec<Unsatisfied> = (0..23).map(|number| needed(number, TaskStatus::Ready)).collect();
    let reasons = blocked(&many);
    assert_eq!(reasons.iter().filter(|reason| reason.task_id.is_some()).count(), 20);
    assert_eq!(reasons.last().map(|reason| reason.message.as_str()), Some("it needs 3 more tasks"));
    assert!(reasons.iter().all(|reason| reason.code == ReasonCode::Dependency));
}

#[test]
fn a_closed_lane_keeps_no_worker_and_asks_for_no_machine() {
    let mut snapshot = snapshot(vec![], rooms(&[&["a"]]));
    let held = waiting(&["a", "a", "a"]);
    let free = vec![Waiting { task: task(7), priority: Priority::try_from(1).expect("valid"), ..held[0].clone() }];
    snapshot.queues = vec![queue(Some("held"), &[], held), queue(Some("free"), &[], free)];
    let hold = crate::admission::policy::Hold { owner: "o".into(), reason: "r".into(), until: None };
    snapshot.rules.holds.insert((tenant(), crate::admission::policy::Target::Project("held".into())), vec![hold]);
    let plan = plan(&snapshot, now());
    assert_eq!(given(&plan), [(task(7), worker(0))]);
    assert_eq!((plan.left, plan.outlook), (0, Outlook::Calm), "what is held is no demand");
}

#[test]
fn of_a_lane_with_a_limit_as_many_start_as_may_and_no_machine_comes_for_the_rest() {
    let mut snapshot = snapshot(vec![], rooms(&[&["a"], &["b"], &["c"]]));
    snapshot.queues = vec![queue(None, &["k"], waiting(&["a", "b", "c"]))];
    let limit = crate::admission::policy::Limit { max_running: Some(2), bucket: None };
    snapshot.rules.limits.insert((tenant(), "k".into()), limit);
    let plan = plan(&snapshot, now());
    assert_eq!(given(&plan), [(task(0), worker(0)), (task(1), worker(1))]);
    assert_eq!((plan.left, plan.closed.len()), (0, 1));
}

proptest! {
    #[test]
    fn no_task_goes_twice_no_worker_takes_more_than_its_room_and_no_room_stays_empty_while_work_waits(
        tasks in proptest::collection::vec(0_u8..4, 0..40),
        frees in proptest::collection::vec((1_usize..4, 0_u8..4), 0..8),
    ) {
        let names: Vec<String> = tasks.iter().map(|name| format!("r{name}")).collect();
        let waiting: Vec<Waiting> = waiting(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let rooms: Vec<Room> = frees.iter().zip(0..).map(|((free, held), number)| Room {
            worker: worker(number), machine: None, free: *free, repositories: vec![format!("r{held}")],
        }).collect();
        let room: usize = rooms.iter().map(|room| room.free).sum();
        let given = assigned(waiting.clone(), rooms.clone());
        prop_assert_eq!(given.len(), room.min(waiting.len()));
        for at in &rooms {
            prop_assert!(given.iter().filter(|(_, to)| *to == at.worker).count() <= at.free);
        }
        let mut once: Vec<TaskId> = given.iter().map(|(task, _)| *task).collect();
        once.dedup();
        prop_assert_eq!(once.len(), given.len());
        let first: Vec<TaskId> = waiting.iter().take(given.len()).map(|waiting| waiting.task).collect();
        prop_assert_eq!(once, first);
    }
}
