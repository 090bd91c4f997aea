//! Tables and properties of the planner.

use proptest::prelude::*;
use wire::cost::Period;
use wire::machine::MachineState::{self, *};

use super::*;
use crate::money::policy::TooSmall;

const LIMITS: Limits = Limits {
    machines_max: 10,
    queue_per_machine: 5,
    suspend_after: Duration::from_secs(5),
    destroy_after: Duration::from_secs(3_600),
    machine_age_max: Duration::from_secs(24 * 3_600),
    machine_executions_max: 100,
    coming_max: Duration::from_secs(600),
    budget_reserve: Duration::from_secs(100),
    budget_margin: Duration::from_secs(10),
    has_volumes: true,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

fn id(number: u8) -> MachineId {
    MachineId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

fn machine(number: u8, state: MachineState) -> Facts {
    let since = now() - TimeDelta::seconds(60);
    Facts {
        id: id(number),
        state,
        state_since: since,
        refusals: 0,
        load: 0,
        idle_since: None,
        repositories: vec![],
        wear: Wear::default(),
    }
}

fn machines(states: &[MachineState]) -> View {
    let machines = states.iter().zip(0..).map(|(state, number)| machine(number, *state)).collect();
    View { machines, ..View::default() }
}

fn queue(queued: usize) -> Demand {
    Demand { queued, ..Demand::default() }
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
    check(&[Ready; 10], 500, &[], Outlook::Cap { machines_max: 10, strangers: 0 });
    check(&[Destroying; 10], 1, &[], Outlook::Cap { machines_max: 10, strangers: 0 });
}

#[test]
fn a_machine_that_does_not_come_is_not_waited_for_and_counts_against_the_cap() {
    for state in [Creating, Starting, Resuming] {
        let mut view = machines(&[state]);
        view.machines[0].state_since = now() - TimeDelta::seconds(599);
        assert_eq!(decide(&view, &queue(1)).outlook, Outlook::Coming(1), "{state}");
        view.machines[0].state_since = now() - TimeDelta::seconds(600);
        let plan_with = |machines_max| plan(&view, &queue(1), Limits { machines_max, ..LIMITS }, now());
        let made = Plan { actions: vec![Action::Create], outlook: Outlook::Coming(1) };
        assert_eq!(plan_with(2), made, "{state}");
        assert_eq!(plan_with(1).outlook, Outlook::Cap { machines_max: 1, strangers: 0 }, "{state}");
        let of_slow_boots = Limits { coming_max: Duration::from_secs(601), ..LIMITS };
        assert_eq!(plan(&view, &queue(1), of_slow_boots, now()).outlook, Outlook::Coming(1), "{state}");
    }
}

#[test]
fn the_machine_that_holds_the_wanted_repository_is_woken_first() {
    let mut view = machines(&[Suspended, Suspended, Suspended]);
    view.machines[1].repositories = vec!["b".into()];
    view.machines[2].state_since = now();
    let wants = |repository: &str| Demand { queued: 1, repositories: vec![repository.into()], machines: vec![] };
    assert_eq!(decide(&view, &wants("b")).actions, [Action::Resume(id(1))]);
    assert_eq!(decide(&view, &wants("elsewhere")).actions, [Action::Resume(id(2))], "the last used");
}

#[test]
fn the_machine_that_alone_has_what_is_needed_is_woken_kept_and_not_destroyed_and_no_other_is_made() {
    let needs = |machine: u8| Demand { machines: vec![id(machine)], ..Demand::default() };
    let view = machines(&[Suspended, Suspended, Ready, Draining]);
    let decided = decide(&view, &needs(1));
    assert_eq!((decided.actions, decided.outlook), (vec![Action::Resume(id(1))], Outlook::Coming(2)));
    assert_eq!(decide(&view, &needs(2)).actions, []);
    assert_eq!(decide(&view, &needs(3)).actions, [Action::Keep(id(3))]);
    assert_eq!(decide(&machines(&[Ready]), &needs(0)).outlook, Outlook::QueueShort { active: 1 });
    let mut old = machines(&[Suspended]);
    old.machines[0].state_since = now() - TimeDelta::days(9);
    assert_eq!(decide(&old, &needs(0)).actions, [Action::Resume(id(0))]);
}

/// The decided allocation (row FLY-029): a pool, not a machine for each repository.
#[test]
fn many_repositories_share_as_few_machines_as_the_queue_asks_for() {
    let repositories: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let demand = Demand { queued: 5, repositories, machines: vec![] };
    assert_eq!(decide(&View::default(), &demand).actions, [Action::Create]);
    let mut view = machines(&[Ready, Suspended, Suspended]);
    view.machines[2].repositories = vec!["29".into()];
    assert_eq!(decide(&view, &demand).actions, []);
    let long = Demand { queued: 6, ..demand };
    assert_eq!(decide(&view, &long).actions, [Action::Resume(id(2))], "the one that holds any of them");
}

#[test]
fn an_idle_machine_sleeps_and_a_long_sleeper_is_destroyed() {
    let check = |state, load, idle_seconds: Option<i64>, since_seconds: i64, expect: Option<Action>| {
        let mut facts = machine(0, state);
        facts.load = load;
        facts.idle_since = idle_seconds.map(|seconds| now() - TimeDelta::seconds(seconds));
        facts.state_since = now() - TimeDelta::seconds(since_seconds);
        let view = View { machines: vec![facts], ..View::default() };
        assert_eq!(decide(&view, &queue(0)).actions, Vec::from_iter(expect), "{state} {load} {idle_seconds:?}");
    };
    check(Ready, 0, Some(5), 60, Some(Action::Drain(id(0))));
    check(Ready, 0, Some(4), 60, None);
    check(Ready, 1, None, 60, None);
    check(Suspended, 0, None, 3_599, None);
    check(Suspended, 0, None, 3_600, Some(Action::Destroy(id(0))));

    let mut sleeper = machine(0, Suspended);
    sleeper.state_since = now() - TimeDelta::days(90);
    let mut view = View { machines: vec![sleeper], ..View::default() };
    assert!(view.asks_for_kept(LIMITS, now()));
    view.kept.insert(id(0));
    assert_eq!(decide(&view, &queue(0)).actions, [], "it alone has somebody's work");
    let allowance =
        Allowance { period: Period::Day, budget_micros: 1, spent_micros: 1, ends_at: now() + TimeDelta::hours(1) };
    view.purse = Purse { allowances: vec![allowance], awake_rate: 1, ..Purse::default() };
    assert_eq!(decide(&view, &queue(0)).actions, [], "also where the budget is used up");
}

#[test]
fn after_failures_new_machines_are_made_ever_more_slowly() {
    let check = |count, seconds_ago, expect_rest: bool| {
        let last = now() - TimeDelta::seconds(seconds_ago);
        let given_up = Some(GivenUp { count, last, error: "no".into() });
        let plan = decide(&View { given_up, ..View::default() }, &queue(1));
        assert_eq!(plan.actions.is_empty(), expect_rest, "{count} failures, {seconds_ago} s ago: {plan:?}");
    };
    check(1, 9, true);
    check(1, 10, false);
    check(3, 39, true);
    check(3, 40, false);
    check(30, 299, true);
    check(30, 300, false);
}

/// One machine, changed.
fn one(state: MachineState, change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = machine(0, state);
    change(&mut facts);
    facts
}

fn view_of(facts: impl IntoIterator<Item = Facts>) -> View {
    let machines = facts.into_iter().zip(0..).map(|(facts, number)| Facts { id: id(number), ..facts });
    View { machines: machines.collect(), ..View::default() }
}

#[test]
fn as_many_as_are_to_be_warm_are_awake_and_stay_so() {
    let idle = || one(Ready, |facts| facts.idle_since = Some(now() - TimeDelta::seconds(60)));
    let check = |facts: Vec<Facts>, warm, actions: &[Action]| {
        let view = View { warm, ..view_of(facts) };
        assert_eq!(decide(&view, &queue(0)), Plan { actions: actions.to_vec(), outlook: Outlook::Calm }, "{warm} warm");
    };
    check(vec![], 2, &[Action::Create, Action::Create]);
    check(vec![machine(0, Suspended)], 2, &[Action::Resume(id(0)), Action::Create]);
    check(vec![idle(), idle()], 2, &[]);
    check(vec![idle(), idle()], 1, &[Action::Drain(id(0))]);
    check(vec![], 99, &[Action::Create; 10]);
}

#[test]
fn strangers_at_the_provider_count_against_the_cap() {
    let view = View { strangers: 9, ..View::default() };
    let plan = decide(&view, &queue(500));
    assert_eq!(plan.actions, [Action::Create]);
    let view = View { strangers: 10, ..View::default() };
    assert_eq!(decide(&view, &queue(1)).outlook, Outlook::Cap { machines_max: 10, strangers: 10 });
}

#[test]
fn while_the_provider_is_closed_nothing_is_made_or_woken() {
    let closed = |seconds| Some(Closed { until: now() + TimeDelta::seconds(seconds), why: "full".into() });
    let view = View { closed: closed(1), ..machines(&[Suspended]) };
    let trouble = Outlook::Trouble { error: "full".into(), until: now() + TimeDelta::seconds(1) };
    assert_eq!(decide(&view, &queue(1)), Plan { actions: vec![], outlook: trouble });
    let view = View { closed: closed(0), ..machines(&[Suspended]) };
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Resume(id(0))]);
    // Where no region gives one, those there are woken all the same.
    let full = View { full: closed(1), ..machines(&[Suspended]) };
    let trouble = Outlook::Trouble { error: "full".into(), until: now() + TimeDelta::seconds(1) };
    assert_eq!(decide(&full, &queue(1)).actions, [Action::Resume(id(0))]);
    let none = View { machines: vec![], ..full };
    assert_eq!(decide(&none, &queue(1)), Plan { actions: vec![], outlook: trouble });
}

/// A day's budget that pays for so many seconds of one machine.
fn purse(seconds: i64) -> Purse {
    let ends_at = now() + TimeDelta::hours(1);
    let allowance = Allowance { period: Period::Day, budget_micros: seconds, spent_micros: 0, ends_at };
    Purse { allowances: vec![allowance], awake_rate: 1_000_000, ..Purse::default() }
}

#[test]
fn no_machine_is_admitted_that_the_budget_does_not_pay_for() {
    let check = |seconds, states: &[MachineState], actions: &[Action], refused: bool| {
        let view = View { purse: purse(seconds), ..machines(states) };
        let plan = decide(&view, &queue(500));
        assert_eq!(plan.actions, actions, "{seconds} seconds, {states:?}");
        assert_eq!(matches!(plan.outlook, Outlook::Budget { .. }), refused, "{:?}", plan.outlook);
    };
    check(100, &[], &[Action::Create], false);
    check(299, &[], &[Action::Create; 2], false);
    check(150, &[Suspended, Suspended], &[Action::Resume(id(1))], false);
    check(150, &[Ready], &[], true);
}

#[test]
fn nobody_is_told_to_wait_for_a_period_that_pays_for_no_machine_either() {
    let view = View { purse: purse(99), ..View::default() };
    let too_small = TooSmall { period: Period::Day, budget_micros: 99, least_micros: 100 };
    assert_eq!(decide(&view, &queue(1)), Plan { actions: vec![], outlook: Outlook::TooSmall(too_small) });
}

#[test]
fn no_sleeper_is_destroyed_where_that_would_put_a_busy_one_to_sleep() {
    let overslept = || one(Suspended, |facts| facts.state_since = now() - TimeDelta::hours(2));
    let check = |seconds, awake: bool, destroyed: &[MachineId]| {
        let working = awake.then(|| one(Ready, |facts| facts.load = 1));
        let view = View { purse: purse(seconds), ..view_of([overslept(), overslept()].into_iter().chain(working)) };
        let destroyed: Vec<_> = destroyed.iter().map(|id| Action::Destroy(*id)).collect();
        assert_eq!(decide(&view, &queue(0)).actions, destroyed, "{seconds} seconds");
    };
    check(19, true, &[]);
    check(29, true, &[id(0)]);
    check(39, true, &[id(0), id(1)]);
    check(0, false, &[id(0), id(1)]);
    // One that is woken in the same breath counts as well.
    let view = View { purse: purse(100), ..view_of([machine(0, Suspended), overslept()]) };
    let needs = Demand { machines: vec![id(0)], ..Demand::default() };
    let tight = Limits { budget_margin: Duration::from_secs(100), ..LIMITS };
    assert_eq!(plan(&view, &needs, tight, now()).actions, [Action::Resume(id(0))]);
}

#[test]
fn what_a_budget_no_longer_pays_for_is_put_to_sleep_the_idle_first() {
    let working = || one(Ready, |facts| facts.load = 1);
    let view = View { purse: purse(19), ..view_of([working(), machine(0, Ready)]) };
    let plan = decide(&view, &queue(3));
    assert_eq!(plan.actions, [Action::Suspend(id(1))]);
    assert!(matches!(plan.outlook, Outlook::TooSmall(TooSmall { period: Period::Day, .. })));
    let view = View { purse: purse(9), ..view_of([working(), machine(0, Ready)]) };
    assert_eq!(decide(&view, &queue(0)).actions, [Action::Suspend(id(1)), Action::Suspend(id(0))]);
    let view = View { purse: purse(20), ..view_of([working(), machine(0, Ready)]) };
    assert_eq!(decide(&view, &queue(0)).actions, []);
}

#[test]
fn what_is_being_destroyed_costs_and_holds_nothing_up_once_it_is_gone() {
    let going = |purse: Purse, states: &[MachineState]| {
        let going = states.iter().filter(|state| **state == Destroying).count();
        View { purse: Purse { going, ..purse }, ..machines(states) }
    };
    // Nobody who works is kept from it where both are paid for, and nobody else comes.
    assert_eq!(decide(&going(purse(299), &[Ready, Destroying]), &queue(500)).actions, []);
    assert_eq!(decide(&going(purse(300), &[Ready, Destroying]), &queue(500)).actions, [Action::Create]);
    assert_eq!(decide(&going(purse(20), &[Ready, Destroying]), &queue(1)).actions, []);
    assert_eq!(decide(&going(purse(19), &[Ready, Destroying]), &queue(1)).actions, [Action::Suspend(id(0))]);
    // What nobody needs may go, whatever goes already.
    let mut sleeper = machine(0, Suspended);
    sleeper.state_since = now() - TimeDelta::days(90);
    let view = View { purse: Purse { going: 1, ..purse(0) }, ..view_of([sleeper, machine(0, Destroying)]) };
    assert_eq!(decide(&view, &queue(0)).actions, [Action::Destroy(id(0))]);
}

#[test]
fn a_worn_machine_is_replaced_when_it_can_be_spared() {
    let old = |facts: &mut Facts| facts.wear.made_at = Some(now() - TimeDelta::days(1));
    let busy = |facts: &mut Facts| facts.load = 1;
    let check = |facts: Vec<Facts>, queued, warm, actions: &[Action]| {
        let view = View { warm, ..view_of(facts) };
        assert_eq!(decide(&view, &queue(queued)).actions, actions, "{queued} waiting, {warm} warm: {view:?}");
    };
    let retire = |number, reason| Action::Retire(id(number), reason);
    check(vec![one(Suspended, old)], 0, 0, &[retire(0, Reason::Age)]);
    check(vec![one(Ready, old)], 0, 0, &[retire(0, Reason::Age)]);
    check(vec![one(Ready, |facts| facts.wear.executions = 100)], 0, 0, &[retire(0, Reason::Executions)]);
    check(vec![one(Ready, |facts| facts.wear.is_outdated = true)], 0, 0, &[retire(0, Reason::Image)]);
    check(vec![one(Ready, |facts| facts.wear.executions = 99)], 0, 0, &[]);
    // One at a time.
    check(vec![one(Suspended, old), one(Suspended, old)], 0, 0, &[retire(0, Reason::Age)]);
    let retiring = |facts: &mut Facts| (facts.wear.is_retiring, facts.load) = (true, 1);
    check(vec![one(Ready, retiring), one(Ready, old)], 0, 0, &[]);
    // It has its last work done, and then it goes, whatever waits.
    check(vec![one(Ready, |facts| facts.wear.is_retiring = true), machine(0, Ready)], 3, 0, &[Action::Drain(id(0))]);
    // Never below what is needed: another comes first.
    check(vec![one(Ready, old)], 3, 0, &[Action::Create]);
    check(vec![one(Ready, old)], 0, 1, &[Action::Create]);
    check(
        vec![one(Ready, |facts| {
            old(facts);
            busy(facts)
        })],
        0,
        0,
        &[Action::Create],
    );
    check(
        vec![
            one(Ready, |facts| {
                old(facts);
                busy(facts)
            }),
            machine(0, Ready),
        ],
        0,
        0,
        &[retire(0, Reason::Age)],
    );
    check(vec![one(Ready, old), machine(0, Ready)], 5, 0, &[retire(0, Reason::Age)]);
    check(vec![one(Ready, old), machine(0, Ready)], 6, 0, &[Action::Create]);
}

#[test]
fn nothing_is_replaced_while_another_may_not_be_had() {
    let old = |facts: &mut Facts| facts.wear.made_at = Some(now() - TimeDelta::days(1));
    let trouble = |seconds| Closed { until: now() + TimeDelta::seconds(seconds), why: "full".into() };
    for state in [Ready, Suspended] {
        let check = |change: &dyn Fn(&mut View, i64)| {
            for (seconds, actions) in [(0, vec![Action::Retire(id(0), Reason::Age)]), (1, vec![])] {
                let mut view = view_of([one(state, old)]);
                change(&mut view, seconds);
                assert_eq!(decide(&view, &queue(0)).actions, actions, "{view:?}");
            }
        };
        check(&|view, seconds| view.closed = Some(trouble(seconds)));
        check(&|view, seconds| view.resting = [(id(0), trouble(seconds))].into());
        check(&|view, seconds| view.without_room = (seconds > 0).then_some(id(0)).into_iter().collect());
        check(&|view, seconds| {
            let last = now() - TimeDelta::seconds(10 - seconds);
            view.given_up = Some(GivenUp { count: 1, last, error: "no".into() });
        });
    }
}

#[test]
fn a_sleeper_that_rests_is_not_woken_and_another_is_or_is_made() {
    let rests = |view: &mut View, number: u8| {
        view.resting.insert(id(number), Closed { until: now() + TimeDelta::seconds(9), why: "full".into() });
    };
    let mut view = machines(&[Suspended, Suspended]);
    rests(&mut view, 1);
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Resume(id(0))]);
    rests(&mut view, 0);
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Create]);
    let alone_has_it = Demand { machines: vec![id(1)], ..Demand::default() };
    let trouble = Outlook::Trouble { error: "full".into(), until: now() + TimeDelta::seconds(9) };
    assert_eq!(decide(&view, &alone_has_it), Plan { actions: vec![], outlook: trouble.clone() });
    let at_the_cap = Limits { machines_max: 2, ..LIMITS };
    assert_eq!(plan(&view, &queue(1), at_the_cap, now()), Plan { actions: vec![], outlook: trouble });
    // One that works is there, wherever that is.
    let mut view = machines(&[Ready]);
    rests(&mut view, 0);
    let needs_it = Demand { machines: vec![id(0)], ..Demand::default() };
    assert_eq!(decide(&view, &needs_it).outlook, Outlook::QueueShort { active: 1 });
    // Nor is one waited for that was refused on its way, and it is told where that takes the last place.
    let mut view = machines(&[Creating]);
    assert_eq!(decide(&view, &queue(1)).actions, []);
    rests(&mut view, 0);
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Create]);
    let the_only_one = Limits { machines_max: 1, ..LIMITS };
    assert!(matches!(plan(&view, &queue(1), the_only_one, now()).outlook, Outlook::Trouble { .. }));
    // One that was refused and has rested is woken after the others.
    let mut view = machines(&[Suspended, Suspended]);
    view.machines[1].refusals = 1;
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Resume(id(0))]);
    // Where its region gives no machine, one that is there can be woken.
    view.without_room = [id(0), id(1)].into();
    assert_eq!(decide(&view, &queue(1)).actions, [Action::Resume(id(0))]);
}

#[test]
fn a_disk_that_waits_for_room_does_not_hold_up_the_replacement_of_others() {
    let old = |facts: &mut Facts| facts.wear.made_at = Some(now() - TimeDelta::days(1));
    let waits = one(Creating, |facts| facts.wear.is_retiring = true);
    let mut view = view_of([one(Suspended, old), waits]);
    assert_eq!(decide(&view, &queue(0)).actions, []);
    view.resting = [(id(1), Closed { until: now() + TimeDelta::seconds(1), why: "full".into() })].into();
    assert_eq!(decide(&view, &queue(0)).actions, [Action::Retire(id(0), Reason::Age)]);
}

#[test]
fn a_worn_machine_whose_disk_goes_with_it_stays_while_that_alone_has_work() {
    let old = |facts: &mut Facts| facts.wear.made_at = Some(now() - TimeDelta::days(1));
    let own_disks = Limits { has_volumes: false, ..LIMITS };
    for state in [Ready, Suspended] {
        let mut view = view_of([one(state, old)]);
        assert!(view.asks_for_kept(own_disks, now()) && !view.asks_for_kept(LIMITS, now()), "{state}");
        let retire = [Action::Retire(id(0), Reason::Age)];
        assert_eq!(plan(&view, &queue(0), own_disks, now()).actions, retire, "{state}");
        view.kept.insert(id(0));
        assert_eq!(plan(&view, &queue(0), own_disks, now()).actions, [], "{state}");
        assert_eq!(plan(&view, &queue(0), LIMITS, now()).actions, retire, "{state}: its volume stays");
    }
}

#[test]
fn many_sleepers_and_a_long_queue_are_not_compared_pairwise() {
    let count = 3_000_u32;
    let held = |number: u32| Facts {
        id: MachineId::mint(
            DateTime::UNIX_EPOCH,
            [[0; 6].as_slice(), &number.to_be_bytes()].concat().try_into().expect("ten"),
        ),
        repositories: vec![number.to_string()],
        ..machine(0, Suspended)
    };
    let view = View { machines: (0..count).map(held).collect(), ..View::default() };
    let wanted: Vec<String> = (0..count).rev().map(|number| number.to_string()).collect();
    let demand = Demand { queued: count as usize, repositories: wanted, machines: vec![] };
    let limits = Limits { machines_max: count as usize, queue_per_machine: 1, ..LIMITS };
    let woken: Vec<Action> = (0..count).rev().map(|number| Action::Resume(held(number).id)).collect();
    assert_eq!(plan(&view, &demand, limits, now()).actions, woken, "each for the task that wants it");
}

fn without_destroyed(states: &[MachineState]) -> View {
    let mut view = machines(states);
    view.machines.retain(|machine| machine.state != Destroyed);
    view
}

proptest! {
    #[test]
    fn never_more_machines_than_the_cap_and_never_two_actions_for_one(
        states in proptest::collection::vec(proptest::sample::select(MachineState::ALL), 0..12),
        queued in 0_usize..400,
        machines_max in 1_usize..=10,
    ) {
        let view = without_destroyed(&states);
        let limits = Limits { machines_max, ..LIMITS };
        let plan = plan(&view, &queue(queued), limits, now());
        let created = plan.actions.iter().filter(|action| **action == Action::Create).count();
        prop_assert!(created == 0 || view.machines.len() + created <= machines_max);
        let mut named: Vec<MachineId> = plan.actions.iter().filter_map(|action| match action {
            Action::Create => None,
            Action::Resume(id) | Action::Keep(id) | Action::Drain(id) | Action::Suspend(id) | Action::Retire(id, _)
            | Action::Destroy(id) => Some(*id),
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
