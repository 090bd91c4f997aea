//! Tables of what lets a task start and what does not.

use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::admission::LaneId;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
}

fn later(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

fn tenant() -> TenantId {
    TenantId::mint(DateTime::UNIX_EPOCH, [9; 10])
}

fn lane(project: Option<&str>, keys: &[&str]) -> Lane {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    Lane::of(tenant(), project, &keys)
}

fn rate(tokens: i64, per_seconds: i64, burst: i64) -> RateLimit {
    RateLimit { tokens, per_seconds, burst: Some(burst) }
}

fn budget(project: Option<&str>, allocated_micros: i64) -> Budget {
    Budget {
        id: BudgetId::mint(DateTime::UNIX_EPOCH, [1; 10]),
        tenant: tenant(),
        project: project.map(str::to_owned),
        period: Period::Day,
        allocated_micros,
        spent_micros: 0,
        reserved_micros: 0,
        reservation_micros: None,
        ends_at: later(3_600),
    }
}

fn codes(obstacles: &[Obstacle]) -> Vec<&'static str> {
    obstacles.iter().map(Obstacle::refusal).collect()
}

#[test]
fn a_lane_is_named_by_its_project_and_its_keys_in_any_order() {
    assert_eq!(lane(None, &[]).id, LaneId(tenant().uuid()));
    assert_eq!(lane(Some("p"), &["a", "b"]), lane(Some("p"), &["b", "a"]));
    let all =
        [lane(None, &[]), lane(Some("a"), &[]), lane(None, &["a"]), lane(Some("a"), &["b"]), lane(None, &["a", "b"])];
    let mut ids: Vec<LaneId> = all.iter().map(|lane| lane.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn a_hold_keeps_what_it_names_until_its_time_is_over() {
    let hold = |until| Hold { owner: "o".into(), reason: "r".into(), until };
    let held = |target: Target, until, lane: &Lane| {
        let rules = Rules { holds: HashMap::from([((tenant(), target), vec![hold(until)])]), ..Rules::default() };
        !rules.obstacles(lane, 0, now()).is_empty()
    };
    let (project, key) = (Target::Project("p".into()), Target::Key("k".into()));
    assert!(held(Target::Everything, None, &lane(None, &[])));
    assert!(held(project.clone(), Some(later(1)), &lane(Some("p"), &[])));
    assert!(held(key.clone(), None, &lane(Some("q"), &["a", "k"])));
    assert!(!held(project.clone(), Some(later(0)), &lane(Some("p"), &[])), "its time is over");
    assert!(!held(project, None, &lane(Some("q"), &["p"])));
    assert!(!held(key, None, &lane(Some("k"), &[])));
}

#[test]
fn a_bucket_fills_evenly_up_to_its_burst() {
    let bucket = Bucket { rate: rate(10, 60, 3), level_micros: 0, level_at: now() };
    assert_eq!(bucket.next_token_at(now()), Some(later(6)));
    assert_eq!(bucket.level(later(6)), TOKEN);
    assert_eq!(bucket.next_token_at(later(6)), None);
    assert_eq!(bucket.level(later(86_400)), 3 * TOKEN);
    // A third of a token each second: the wait is rounded up, so that the token is there when it is over.
    let third = Bucket { rate: rate(1, 3, 1), ..bucket };
    let next = third.next_token_at(later(1)).expect("not yet");
    assert!(third.level(next) >= TOKEN && next <= later(3) + TimeDelta::microseconds(1));
    assert_eq!(bucket.level(now() - TimeDelta::days(1)), 0, "a clock that was put back takes nothing away");
}

#[test]
fn a_key_lets_as_many_start_as_it_may() {
    let limit = Limit {
        max_running: Some(2),
        bucket: Some(Bucket { rate: rate(1, 60, 5), level_micros: TOKEN, level_at: now() }),
    };
    let mut rules = Rules { limits: HashMap::from([((tenant(), "k".into()), limit)]), ..Rules::default() };
    let lane = lane(None, &["k"]);
    assert_eq!(rules.admit(&lane, 0, now()).expect("may").buckets[0].1.level_micros, 0);
    assert_eq!(codes(&rules.admit(&lane, 0, now()).expect_err("no token")), ["rate_limit"]);
    rules.admit(&lane, 0, later(60)).expect("may again");
    assert_eq!(codes(&rules.admit(&lane, 0, later(120)).expect_err("two run")), ["concurrency_limit"]);
    rules.admit(&Lane::of(tenant(), None, &[]), 0, now()).expect("others may");
}

#[test]
fn of_a_schedule_that_queues_one_task_is_in_hand_at_a_time() {
    let mut rules = Rules::default();
    let lane = lane(None, &["schedule:x"]);
    rules.admit(&lane, 0, now()).expect("the first may");
    assert_eq!(codes(&rules.admit(&lane, 0, now()).expect_err("the second waits")), ["concurrency_limit"]);
}

#[test]
fn money_is_set_aside_in_every_budget_that_pays() {
    let mut rules =
        Rules { budgets: vec![budget(None, 100), budget(Some("p"), 60), budget(Some("q"), 0)], ..Rules::default() };
    let p = lane(Some("p"), &[]);
    assert_eq!(
        rules.admit(&p, 40, now()).expect("pays").reserved.iter().map(|(_, micros)| *micros).collect::<Vec<_>>(),
        [40, 40]
    );
    let refused = rules.admit(&p, 40, now()).expect_err("20 are left");
    assert_eq!((codes(&refused), Reason::from(refused[0].clone()).until), (vec!["over_budget"], Some(later(3_600))));
    rules.admit(&p, 20, now()).expect("the rest does");
    assert_eq!(codes(&rules.admit(&p, 0, now()).expect_err("nothing is left")), ["over_budget"]);
    rules.admit(&lane(None, &[]), 40, now()).expect("another project's budget is its own");
    assert_eq!(
        codes(&rules.admit(&lane(Some("q"), &[]), 0, now()).expect_err("a budget of nothing")),
        ["over_budget", "over_budget"]
    );
}

#[test]
fn what_a_budget_says_is_set_aside_goes_before_the_estimate() {
    let fixed = Budget { reservation_micros: Some(30), ..budget(None, 100) };
    let mut rules = Rules { budgets: vec![fixed], ..Rules::default() };
    let admitted = (0..5).filter(|_| rules.admit(&lane(None, &[]), 1_000, now()).is_ok()).count();
    assert_eq!(admitted, 3);
}

#[test]
fn periods_begin_at_midnight_a_week_on_monday() {
    let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    for (period, start, end) in [
        (Period::Day, "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
        (Period::Week, "2026-12-28T00:00:00Z", "2027-01-04T00:00:00Z"),
        (Period::Month, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ] {
        assert_eq!(period_of(period, at("2026-12-31T23:59:59.999999Z")), (at(start), at(end)));
        assert_eq!(period_of(period, at(end)).0, at(end), "the end is the next one's beginning");
    }
}

#[test]
fn the_price_of_machines_is_rounded_up_and_the_estimate_is_the_effort_or_else_the_timeout() {
    assert_eq!(machine_micros(3_600, 16_500), 16_500);
    assert_eq!(machine_micros(1, 16_500), 5);
    assert_eq!(machine_micros(0, 16_500), 0);
    assert_eq!(expected_seconds(Some(2), Some(600)), 120);
    assert_eq!(expected_seconds(None, Some(600)), 600);
    assert_eq!(expected_seconds(None, None), 1_800);
}

proptest! {
    #[test]
    fn no_budget_is_ever_set_aside_beyond_its_end(
        allocated in 0_i64..200,
        asks in proptest::collection::vec((0_i64..60, prop::bool::ANY), 0..40),
    ) {
        let mut rules = Rules { budgets: vec![budget(None, allocated), budget(Some("p"), allocated / 2)], ..Rules::default() };
        for (estimate, is_of_project) in asks {
            let lane = lane(is_of_project.then_some("p"), &[]);
            let before = rules.clone();
            if rules.admit(&lane, estimate, now()).is_err() {
                prop_assert_eq!(&rules, &before, "a refusal changes nothing");
            }
            for budget in &rules.budgets {
                prop_assert!(budget.spent_micros + budget.reserved_micros <= budget.allocated_micros);
            }
        }
    }
}
