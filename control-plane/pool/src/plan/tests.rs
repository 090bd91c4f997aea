//! Tables and properties of the planner.

use proptest::prelude::*;
use wire::machine::MachineState::{self, *};

use super::*;

const LIMITS: Limits = Limits {
    machines_max: 10,
    queue_per_machine: 5,
    suspend_after: Duration::from_secs(5),
    destroy_after: Duration::from_secs(3_600),
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

fn id(number: u8) -> MachineId {
    MachineId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

fn machine(number: u8, state: MachineState) -> Facts {
    let since = now() - TimeDelta::seconds(60);
    Facts { id: id(number), state, state_since: since, load: 0, idle_since: None, repositories: vec![] }
}

fn machines(states: &[MachineState]) -> View {
    let machines = states.iter().zip(0..).map(|(state, number)| machine(number, *state)).collect();
    View { machines, given_up: None }
}

fn queue(queued: usize) -> Demand {
    Demand { queued, repositories: vec![] }
}

fn decide(view: &View, demand: &Demand) -> Plan {
    plan(view, demand, LIMITS, now())
}

#[test]
fn growth_follows_the_queue_depth() {
    let check = |states: &[MachineState], queued, actions: &[Action], outlook| {
        let expect = Plan { actions: actions.to_vec(), outlook };
        assert_eq!(decide(&machines(states), &queue(queued)), expect, "{states:?} with {queued} waiting");
    };
    use Action::{Create, Keep, Resume};
    check(&[], 1, &[Create], Outlook::Coming(1));
    check(&[], 6, &[Create, Create], Outlook::Coming(2));
    check(&[Ready], 5, &[], Outlook::QueueShort { active: 1 });
    check(&[Ready], 6, &[Create], Outlook::Coming(1));
    check(&[Ready, Starting], 10, &[], Outlook::Coming(1));
    check(&[Suspended], 1, &[Resume(id(0))], Outlook::Coming(1));
    check(&[Suspending], 1, &[], Outlook::Coming(1));
    check(&[Draining], 1, &[Keep(id(0))], Outlook::Coming(1));
    check(&[Destroying], 1, &[Create], Outlook::Coming(1));
    check(&[Ready; 10], 500, &[], Outlook::Cap { machines_max: 10 });
    check(&[Destroying; 10], 1, &[], Outlook::Cap { machines_max: 10 });
}

#[test]
fn the_machine_that_holds_the_wanted_repository_is_woken_first() {
    let mut view = machines(&[Suspended, Suspended, Suspended]);
    view.machines[1].repositories = vec!["b".into()];
    view.machines[2].state_since = now();
    let wants = |repository: &str| Demand { queued: 1, repositories: vec![repository.into()] };
    assert_eq!(decide(&view, &wants("b")).actions, [Action::Resume(id(1))]);
    assert_eq!(decide(&view, &wants("elsewhere")).actions, [Action::Resume(id(2))], "the last used");
}

#[test]
fn an_idle_machine_sleeps_and_a_long_sleeper_is_destroyed() {
    let check = |state, load, idle_seconds: Option<i64>, since_seconds: i64, expect: Option<Action>| {
        let mut facts = machine(0, state);
        facts.load = load;
        facts.idle_since = idle_seconds.map(|seconds| now() - TimeDelta::seconds(seconds));
        facts.state_since = now() - TimeDelta::seconds(since_seconds);
        let view = View { machines: vec![facts], given_up: None };
        assert_eq!(decide(&view, &queue(0)).actions, Vec::from_iter(expect), "{state} {load} {idle_seconds:?}");
    };
    check(Ready, 0, Some(5), 60, Some(Action::Drain(id(0))));
    check(Ready, 0, Some(4), 60, None);
    check(Ready, 1, None, 60, None);
    check(Suspended, 0, None, 3_599, None);
    check(Suspended, 0, None, 3_600, Some(Action::Destroy(id(0))));
}

#[test]
fn after_failures_new_machines_are_made_ever_more_slowly() {
    let check = |count, seconds_ago, expect_rest: bool| {
        let last = now() - TimeDelta::seconds(seconds_ago);
        let given_up = Some(GivenUp { count, last, error: "no".into() });
        let plan = decide(&View { machines: vec![], given_up }, &queue(1));
        assert_eq!(plan.actions.is_empty(), expect_rest, "{count} failures, {seconds_ago} s ago: {plan:?}");
    };
    check(1, 9, true);
    check(1, 10, false);
    check(3, 39, true);
    check(3, 40, false);
    check(30, 299, true);
    check(30, 300, false);
}

proptest! {
    #[test]
    fn never_more_machines_than_the_cap_and_never_two_actions_for_one(
        states in proptest::collection::vec(proptest::sample::select(MachineState::ALL), 0..12),
        queued in 0_usize..400,
        machines_max in 1_usize..=10,
    ) {
        let view = View { machines: machines(&states).machines.into_iter().filter(|m| m.state != Destroyed).collect(), given_up: None };
        let limits = Limits { machines_max, ..LIMITS };
        let plan = plan(&view, &queue(queued), limits, now());
        let created = plan.actions.iter().filter(|action| **action == Action::Create).count();
        prop_assert!(created == 0 || view.machines.len() + created <= machines_max);
        let mut named: Vec<MachineId> = plan.actions.iter().filter_map(|action| match action {
            Action::Create => None,
            Action::Resume(id) | Action::Keep(id) | Action::Drain(id) | Action::Destroy(id) => Some(*id),
        }).collect();
        let before = named.len();
        named.sort();
        named.dedup();
        prop_assert_eq!(named.len(), before);
    }

    #[test]
    fn waiting_work_is_never_told_that_all_is_calm(
        states in proptest::collection::vec(proptest::sample::select(MachineState::ALL), 0..12),
        queued in 1_usize..400,
    ) {
        let plan = decide(&machines(&states), &queue(queued));
        prop_assert!(plan.outlook != Outlook::Calm);
    }
}
