//! A recurring load is seen coming.

use chrono::{DateTime, Utc};
use kernel::Migration;
use wire::machine::MachineState;

use super::plan::{Hour, WEEK, hour_of, machines};
use super::*;
use crate::plan as pool_plan;

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

/// Twelve tasks at once, ten minutes of work each, every Monday at nine; the given weeks ago.
fn mondays(now: DateTime<Utc>, weeks: &[i64]) -> Vec<Hour> {
    let nine = hour_of("2026-11-23T09:00:00Z".parse::<DateTime<Utc>>().expect("a time"));
    assert!(hour_of(now) >= nine - 1);
    weeks.iter().map(|week| Hour { hour: nine - week * WEEK, arrivals: 12, burst: 12, busy_seconds: 7_200 }).collect()
}

#[test]
fn what_recurs_is_expected_ten_minutes_ahead_and_for_its_hour() {
    let check = |at: &str, weeks: &[i64], expect| {
        let now: DateTime<Utc> = at.parse().expect("a time");
        let history = mondays(now, weeks);
        let first = Some(hour_of(now) - 5 * WEEK);
        assert_eq!(machines(&history, first, 5, now), expect, "{at} {weeks:?}");
    };
    check("2026-11-23T08:49:00Z", &[1, 2, 3, 4], 0);
    check("2026-11-23T08:50:00Z", &[1, 2, 3, 4], 3);
    check("2026-11-23T09:30:00Z", &[1, 2, 3, 4], 3);
    check("2026-11-23T10:00:00Z", &[1, 2, 3, 4], 0);
    check("2026-11-23T08:55:00Z", &[1], 0);
    check("2026-11-23T08:55:00Z", &[1, 2], 2);
    check("2026-11-23T08:55:00Z", &[], 0);
}

#[test]
fn weeks_before_the_history_began_do_not_speak_against_a_pattern() {
    let now: DateTime<Utc> = "2026-11-23T08:55:00Z".parse().expect("a time");
    let first = Some(hour_of(now) - 2 * WEEK - 10);
    assert_eq!(machines(&mondays(now, &[1, 2]), first, 5, now), 3);
    assert_eq!(machines(&mondays(now, &[1, 2]), None, 5, now), 0);
}

#[test]
fn long_work_needs_machines_however_evenly_it_comes() {
    let now: DateTime<Utc> = "2026-11-23T09:10:00Z".parse().expect("a time");
    let hour = |week| Hour { hour: hour_of(now) - week * WEEK, arrivals: 60, burst: 5, busy_seconds: 60 * 300 };
    let history: Vec<Hour> = (1..=4).map(hour).collect();
    assert_eq!(machines(&history, Some(0), 5, now), 5);
}

kernel::on_both! { migrations();
    async fn machines_are_woken_before_the_queue_would_ask_for_them_and_inside_the_cap(ctx) {
        ctx.clock.set("2026-11-23T08:50:00Z".parse().expect("a time"));
        let now = ctx.now();
        let mut tx = ctx.begin("test").await.expect("begins");
        for hour in mondays(now, &[4, 3, 2, 1]) {
            record(&mut tx, &hour, now).await.expect("records");
        }
        for (prewarm, cap, expect) in [(false, 10, 0), (true, 10, 3), (true, 2, 2)] {
            let settings = Settings { prewarm, machines_max: cap, ..Settings::default() };
            let view = crate::machines::view(&mut tx, &settings, now).await.expect("looks");
            let plan = pool_plan::plan(&view, &pool_plan::Demand::default(), (&settings).into(), now);
            assert_eq!(plan.actions, vec![pool_plan::Action::Create; expect], "prewarm {prewarm} cap {cap}");
        }
        // Nine o'clock comes, and twelve tasks at once: nobody else has to be woken.
        let settings = Settings { prewarm: true, ..Settings::default() };
        crate::machines::apply(&ctx, &mut tx, &settings, &[pool_plan::Action::Create; 3]).await.expect("applies");
        let mut view = crate::machines::view(&mut tx, &settings, now).await.expect("looks");
        view.machines.iter_mut().for_each(|machine| machine.state = MachineState::Ready);
        let demand = pool_plan::Demand { queued: 12, ..pool_plan::Demand::default() };
        assert_eq!(pool_plan::plan(&view, &demand, (&settings).into(), now).actions, []);
    }

    async fn hours_that_have_ended_are_missing_until_they_are_recorded(ctx) {
        let now = ctx.now();
        let this = hour_of(now);
        let mut tx = ctx.begin("test").await.expect("begins");
        assert_eq!(missing(&mut tx, now, 9).await.expect("looks"), [this - 1]);
        record(&mut tx, &Hour { hour: this - 4, ..Hour::default() }, now).await.expect("records");
        assert_eq!(missing(&mut tx, now, 2).await.expect("looks"), [this - 3, this - 2]);
        record(&mut tx, &Hour { hour: this - 1, ..Hour::default() }, now).await.expect("records");
        assert_eq!(missing(&mut tx, now, 9).await.expect("looks"), [0_i64; 0]);
    }
}
