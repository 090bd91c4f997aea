//! The ledger and the budgets, on both databases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kernel::{Ctx, Migration, Reconciler as _};
use wire::cost::CostProblem;

use super::*;
use crate::Provider;
use crate::machines::store::{Made, set_provider_id, set_volume};
use crate::machines::{self, Machine, shift};
use crate::orphans::{Due, Look, Size};
use crate::plan::Action;

fn migrations() -> Vec<Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

const HOUR: u64 = 3_600;
/// A micro-dollar a second awake, a hundredth of that asleep.
const AWAKE: u64 = 1_000_000;
const ASLEEP: u64 = 10_000;

async fn machine(ctx: &Ctx, settings: &Settings) -> Machine {
    let mut tx = ctx.begin("test").await.expect("begins");
    assert_eq!(machines::apply(ctx, &mut tx, settings, &[Action::Create]).await.expect("applies"), 1);
    tx.commit(()).await.expect("commits");
    let all = machines::list(ctx).await.expect("lists");
    all.into_iter().find(|machine| machine.state == MachineState::Creating).expect("one")
}

/// The provider has made it, with its volume.
async fn made(ctx: &Ctx, settings: &Settings) -> Machine {
    let machine = machine(ctx, settings).await;
    let mut tx = ctx.begin("test").await.expect("begins");
    let name = machine.name.clone();
    set_volume(&mut tx, machine.volume_id, &format!("vol_{name}"), "iad", ctx.now()).await.expect("notes");
    let made = Made { provider_id: &name, region: "iad", at: ctx.now(), awake_rate: AWAKE, asleep_rate: ASLEEP };
    set_provider_id(&mut tx, machine.id, &made).await.expect("notes");
    tx.commit(()).await.expect("commits");
    shifted(ctx, machine.id, MachineState::Creating, MachineState::Ready).await;
    machine
}

async fn shifted(ctx: &Ctx, id: MachineId, from: MachineState, to: MachineState) {
    let mut tx = ctx.begin("test").await.expect("begins");
    assert!(shift(ctx, &mut tx, id, from, to, None).await.expect("shifts"));
    tx.commit(()).await.expect("commits");
}

async fn spent_now(ctx: &Ctx, period: Period) -> i64 {
    let mut tx = ctx.begin("test").await.expect("begins");
    spent(&mut tx, period, ctx.now()).await.expect("sums")
}

/// What its volume costs in so long.
fn volume(seconds: u64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "small")]
    policy::cost_micros(fly::price::stored(10 * 1_024), seconds as f64)
}

/// What a machine as they are made by default costs awake for so long.
fn awake(seconds: f64) -> i64 {
    policy::cost_micros(Settings::default().provider.dearest_rate(), seconds)
}

/// What it stores in so long: its volume, and its image and memory while it sleeps.
fn stored(seconds: f64) -> i64 {
    policy::cost_micros(fly::price::stored(10 * 1_024) + fly::price::stored(700 + 2_048), seconds)
}

fn secs(seconds: u64) -> f64 {
    Duration::from_secs(seconds).as_secs_f64()
}

/// A machine that is awake and that no row knows.
fn lone(provider_id: &str, made_at: Option<DateTime<Utc>>) -> Orphan {
    Orphan {
        kind: OrphanKind::Machine,
        provider_id: provider_id.into(),
        name: provider_id.into(),
        region: "iad".into(),
        row: None,
        is_awake: true,
        made_at,
        size: None,
    }
}

fn lone_volume(provider_id: &str, made_at: DateTime<Utc>) -> Orphan {
    Orphan { kind: OrphanKind::Volume, is_awake: false, ..lone(provider_id, Some(made_at)) }
}

/// The provider is looked at, by a process that does so since then.
async fn note(ctx: &Ctx, settings: &Settings, seen: &[Orphan], since: Option<DateTime<Utc>>) -> Vec<Due> {
    let strangers = seen.iter().filter(|orphan| orphan.kind == OrphanKind::Machine).count();
    let look = Look { began: ctx.now(), since, seen, going: &[], strangers };
    crate::orphans::note(ctx, settings, &look).await.expect("notes")
}

kernel::on_both! { migrations();
    async fn a_machine_costs_what_it_was_seen_to_be(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let machine = made(&ctx, &settings).await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        assert_eq!(spent_now(&ctx, Period::Day).await, 3_600 + volume(HOUR), "before anything is written down");
        shifted(&ctx, machine.id, MachineState::Ready, MachineState::Suspending).await;
        ctx.clock.advance(Duration::from_secs(100));
        shifted(&ctx, machine.id, MachineState::Suspending, MachineState::Suspended).await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        // Asleep it costs its memory and its volume only.
        let expect = 3_700 + 36 + volume(2 * HOUR + 100);
        assert!((spent_now(&ctx, Period::Day).await - expect).abs() <= 2);
        shifted(&ctx, machine.id, MachineState::Suspended, MachineState::Destroying).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        settle_volume(&mut tx, machine.volume_id, ctx.now()).await.expect("settles");
        machines::store::volume_destroyed(&mut tx, machine.volume_id).await.expect("notes");
        tx.commit(()).await.expect("commits");
        shifted(&ctx, machine.id, MachineState::Destroying, MachineState::Destroyed).await;
        let total = spent_now(&ctx, Period::Month).await;
        ctx.clock.advance(Duration::from_secs(9 * HOUR));
        assert_eq!(spent_now(&ctx, Period::Month).await, total, "what is gone costs nothing more");
    }

    async fn the_ledger_survives_a_restart_and_keeps_days_apart(ctx) {
        ctx.clock.set("2026-11-30T23:00:00Z".parse().expect("a time"));
        let settings = Arc::new(Settings::default());
        made(&ctx, &settings).await;
        for _ in 0..120 {
            ctx.clock.advance(Duration::from_secs(60));
            // Another process each time: nothing is kept in memory.
            Ledger::new(Arc::clone(&settings)).tick(&ctx).await.expect("writes");
        }
        assert_eq!(ctx.now(), "2026-12-01T01:00:00Z".parse::<DateTime<Utc>>().expect("a time"));
        assert!((spent_now(&ctx, Period::Day).await - 3_600 - volume(HOUR)).abs() <= 2);
        assert!((spent_now(&ctx, Period::Month).await - 3_600 - volume(HOUR)).abs() <= 2, "December is an hour old");
    }

    async fn a_budget_admits_no_machine_that_it_does_not_pay_for(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let (hour, storage) = (awake(3_600.0), stored(24.0 * 3_600.0));
        // For two machines for the whole of tomorrow, and both awake for an hour.
        let budget_day_micros = Some(2 * (hour + storage) + 10);
        let settings = Settings { budget_day_micros, ..Settings::default() };
        let mut tx = ctx.begin("test").await.expect("begins");
        let admitted = machines::apply(&ctx, &mut tx, &settings, &[Action::Create; 5]).await.expect("applies");
        assert_eq!(admitted, 2, "whatever the plan says");
        drop(tx);
        let one = made(&ctx, &settings).await;
        shifted(&ctx, one.id, MachineState::Ready, MachineState::Suspended).await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        assert!(machines::resume(&ctx, &settings, one.id).await.is_ok());
        let poor = Settings { budget_day_micros: Some(hour / 2), ..Settings::default() };
        shifted(&ctx, one.id, MachineState::Resuming, MachineState::Suspended).await;
        let refused = machines::resume(&ctx, &poor, one.id).await.expect_err("too dear");
        assert_eq!(refused.code(), "machine_budget");
        let mut tx = ctx.begin("test").await.expect("begins");
        assert_eq!(machines::apply(&ctx, &mut tx, &poor, &[Action::Resume(one.id)]).await.expect("applies"), 0);
    }

    async fn nothing_is_made_that_tomorrow_could_not_store(ctx) {
        ctx.clock.set("2026-11-23T23:00:00Z".parse().expect("a time"));
        let admitted = async |budget| {
            let settings = Settings { budget_day_micros: Some(budget), ..Settings::default() };
            let mut tx = ctx.begin("test").await.expect("begins");
            machines::apply(&ctx, &mut tx, &settings, &[Action::Create; 5]).await.expect("applies")
        };
        let (hour, day) = (awake(3_600.0), stored(24.0 * 3_600.0));
        assert_eq!(admitted(hour + day - 1).await, 0, "though what is left of today would do");
        assert_eq!(admitted(hour + day).await, 1);
        assert_eq!(admitted(2 * (hour + day)).await, 2);
    }

    async fn a_machine_that_goes_is_paid_for_until_it_is_gone(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let (going, asleep) = (made(&ctx, &settings).await, made(&ctx, &settings).await);
        shifted(&ctx, going.id, MachineState::Ready, MachineState::Destroying).await;
        shifted(&ctx, asleep.id, MachineState::Ready, MachineState::Suspended).await;
        let budget_day_micros = Some(2 * awake(3_600.0) + 2 * stored(18.0 * 3_600.0) - 10);
        let poor = Settings { budget_day_micros, ..settings };
        let refused = machines::resume(&ctx, &poor, asleep.id).await.expect_err("it goes still");
        assert_eq!(refused.code(), "machine_budget");
        shifted(&ctx, going.id, MachineState::Destroying, MachineState::Destroyed).await;
        assert!(machines::resume(&ctx, &poor, asleep.id).await.is_ok());
    }

    async fn what_no_row_knows_has_cost_since_it_was_made_and_costs_until_it_is_gone(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let hours = TimeDelta::hours;
        let (machine, disk) = (lone("m1", Some(ctx.now() - hours(2))), lone_volume("vol_1", ctx.now() - hours(30)));
        let both = [machine.clone(), disk.clone()];
        note(&ctx, &settings, &both, None).await;
        note(&ctx, &settings, &both, None).await;
        let day = async |spent: i64, what: &str| {
            let now = spent_now(&ctx, Period::Day).await;
            assert!((now - spent).abs() <= 2, "{what}: {now} and not {spent}");
        };
        let of = |awake_for: u64, volume_for: u64| awake(secs(awake_for)) + volume(volume_for);
        day(of(2 * HOUR, 6 * HOUR), "what it was yesterday is yesterday's").await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        day(of(3 * HOUR, 7 * HOUR), "before anything is written down").await;
        Ledger::new(Arc::new(settings.clone())).tick(&ctx).await.expect("writes");
        day(of(3 * HOUR, 7 * HOUR), "written down").await;
        let seen = report(&ctx, &settings).await.expect("reports");
        assert_eq!(seen.spending[0].forecast_micros - seen.spending[0].spent_micros, of(17 * HOUR, 17 * HOUR));
        // It is seen asleep from now on.
        note(&ctx, &settings, &[Orphan { is_awake: false, ..machine.clone() }, disk.clone()], None).await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        let asleep = |seconds: u64| stored(secs(seconds)) - volume(seconds);
        day(of(3 * HOUR, 8 * HOUR) + asleep(HOUR), "asleep").await;
        // A list that lags lacks it for a while.
        note(&ctx, &settings, std::slice::from_ref(&disk), None).await;
        ctx.clock.advance(Duration::from_secs(100));
        note(&ctx, &settings, &both, None).await;
        day(of(3 * HOUR + 100, 8 * HOUR + 100) + asleep(HOUR), "charged once for all of its time").await;
        note(&ctx, &settings, &[], None).await;
        let gone = spent_now(&ctx, Period::Day).await;
        ctx.clock.advance(Duration::from_secs(HOUR));
        assert_eq!(spent_now(&ctx, Period::Day).await, gone, "what is gone costs nothing more");
    }

    async fn what_is_reaped_costs_nothing_more(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let (settings, machine) = (Settings::default(), [lone("m1", Some(ctx.now()))]);
        let since = Some(ctx.now() - TimeDelta::seconds(1));
        note(&ctx, &settings, &machine, since).await;
        ctx.clock.advance(Duration::from_secs(100));
        let due = note(&ctx, &settings, &machine, since).await;
        ctx.clock.advance(Duration::from_secs(100));
        for orphan in &due {
            crate::orphans::reaped(&ctx, orphan, None).await.expect("notes");
        }
        assert_eq!(due.len(), 1);
        ctx.clock.advance(Duration::from_secs(HOUR));
        assert!((spent_now(&ctx, Period::Day).await - awake(200.0)).abs() <= 2);
    }

    async fn a_stranger_is_told_of_also_when_a_machine_was_reaped_just_now(ctx) {
        let (settings, before) = (Settings::default(), ctx.now() - TimeDelta::hours(1));
        let seen = [lone("m1", Some(ctx.now()))];
        note(&ctx, &settings, &seen, Some(before)).await;
        ctx.clock.advance(settings.orphan_age);
        for due in note(&ctx, &settings, &seen, Some(before)).await {
            crate::orphans::reaped(&ctx, &due, None).await.expect("notes");
        }
        let told = async |going: &[&str]| {
            ctx.clock.advance(Duration::from_secs(40));
            let look = Look { began: ctx.now(), since: None, seen: &[], going, strangers: 1 };
            crate::orphans::note(&ctx, &settings, &look).await.expect("notes");
            let report = report(&ctx, &settings).await.expect("adds up");
            report.findings.iter().map(|finding| finding.problem).collect::<Vec<_>>()
        };
        assert_eq!(told(&["m1"]).await, [], "it goes");
        assert_eq!(told(&[]).await, [CostProblem::Stranger], "it is gone, and another has come");
    }

    async fn what_no_row_knows_costs_what_it_was_made_as(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let large = fly::Guest { cpu_kind: "performance".into(), cpus: 2, memory_mb: 8_192, ..fly::Guest::default() };
        let strange = fly::Guest { cpus: 3, ..fly::Guest::default() };
        let of = |id: &str, size| Orphan { region: "fra".into(), size: Some(size), ..lone(id, Some(ctx.now())) };
        let disk = Orphan { size: Some(Size::Gigabytes(100)), ..lone_volume("v1", ctx.now()) };
        let seen = [of("m1", Size::Guest(large.clone())), of("m2", Size::Guest(strange)), disk];
        note(&ctx, &Settings::default(), &seen, None).await;
        ctx.clock.advance(Duration::from_secs(100));
        let expect = fly::price::started(&large, "fra") + fly::price::stored(100 * 1_024);
        let expect = policy::cost_micros(expect, 100.0) + awake(100.0);
        assert!((spent_now(&ctx, Period::Day).await - expect).abs() <= 3, "what nobody has is as one of ours");
    }

    async fn a_volume_whose_size_nobody_says_costs_what_its_row_says_or_as_one_that_is_made_now(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let large = Provider { volume_gb: 100, ..settings.provider.clone() };
        let known = machine(&ctx, &Settings { provider: large, ..settings.clone() }).await;
        shifted(&ctx, known.id, MachineState::Creating, MachineState::Destroyed).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        machines::store::volume_destroyed(&mut tx, known.volume_id).await.expect("notes");
        tx.commit(()).await.expect("commits");
        let ours = Orphan { name: known.volume_name, ..lone_volume("vol_1", ctx.now()) };
        note(&ctx, &settings, &[ours, lone_volume("vol_2", ctx.now())], None).await;
        let mut tx = ctx.read("test").await.expect("begins");
        let lone = store::lone(&mut tx).await.expect("reads");
        let rates: BTreeSet<u64> = lone.iter().map(|lone| lone.asleep_rate).collect();
        assert_eq!(rates, [10, 100].map(stored_gb).into());
    }

    async fn what_a_row_was_charged_for_is_not_charged_again_when_it_has_ended(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let (machine, since) = (made(&ctx, &settings).await, ctx.now());
        ctx.clock.advance(Duration::from_secs(HOUR));
        let mut tx = ctx.begin("test").await.expect("begins");
        settle_volume(&mut tx, machine.volume_id, ctx.now()).await.expect("settles");
        machines::store::volume_destroyed(&mut tx, machine.volume_id).await.expect("notes");
        tx.commit(()).await.expect("commits");
        shifted(&ctx, machine.id, MachineState::Ready, MachineState::Destroyed).await;
        ctx.clock.advance(Duration::from_secs(10));
        let left = Orphan { name: machine.name, row: Some(machine.id), ..lone("m1", Some(since)) };
        let disk = Orphan { name: machine.volume_name, ..lone_volume("vol_1", since) };
        note(&ctx, &settings, &[left, disk], None).await;
        ctx.clock.advance(Duration::from_secs(10));
        let expect = 3_600 + awake(20.0) + volume(HOUR + 20);
        let spent = spent_now(&ctx, Period::Day).await;
        assert!((spent - expect).abs() <= 2, "{spent} and not {expect}");
    }

    async fn what_no_row_knows_is_paid_for_before_anything_is_admitted(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings { budget_day_micros: Some(1_000_000), ..Settings::default() };
        let of_purse = async |settings: &Settings| {
            let mut tx = ctx.begin("test").await.expect("begins");
            let purse = purse(&mut tx, settings, ctx.now()).await.expect("reads");
            (purse.storage_rate, purse.going)
        };
        let (day, none) = (24 * HOUR, of_purse(&settings).await);
        let five: Vec<_> = (0..5).map(|number| lone(&format!("m{number}"), Some(ctx.now()))).collect();
        // What one of them costs until midnight leaves nothing of a budget for four.
        let (rate, asleep) = (settings.provider.dearest_rate(), fly::price::stored(700 + 2_048));
        let poor = Settings { budget_day_micros: Some(4 * awake(secs(day))), ..settings.clone() };
        let admitted = async |settings: &Settings| {
            let mut tx = ctx.begin("test").await.expect("begins");
            machines::apply(&ctx, &mut tx, settings, &[Action::Create]).await.expect("applies")
        };
        let strangers = Look { began: ctx.now(), since: None, seen: &[], going: &[], strangers: 5 };
        crate::orphans::note(&ctx, &settings, &strangers).await.expect("notes");
        assert_eq!((of_purse(&settings).await, admitted(&poor).await), (none, 1), "another's are another's to pay");
        note(&ctx, &settings, &five, None).await;
        assert_eq!(of_purse(&settings).await, (none.0 + 5 * rate, 0), "they stay, and nobody puts them to sleep");
        assert_eq!(admitted(&poor).await, 0);
        let sleepers: Vec<_> = five.iter().map(|one| Orphan { is_awake: false, ..one.clone() }).collect();
        note(&ctx, &settings, &[sleepers, vec![lone_volume("vol_1", ctx.now())]].concat(), None).await;
        assert_eq!(of_purse(&settings).await, (none.0 + 5 * asleep + fly::price::stored(10 * 1_024), 0));
        assert_eq!(admitted(&poor).await, 1);
        note(&ctx, &settings, &five, None).await;
        crate::orphans::approve(&ctx).await.expect("approves");
        assert_eq!(of_purse(&settings).await, (none.0 + 5 * asleep, 5), "they are awake until they are reaped");
        note(&ctx, &settings, &[], None).await;
        note(&ctx, &settings, &five, Some(ctx.now() - TimeDelta::seconds(1))).await;
        assert_eq!(of_purse(&settings).await, (none.0 + 5 * asleep, 5), "and so by rule");
        let reports = Settings { reap_orphans: false, ..settings.clone() };
        assert_eq!(of_purse(&reports).await, (none.0 + 5 * rate, 0), "or are not");
    }

    async fn a_creation_that_was_abandoned_may_yet_cost(ctx) {
        let settings = Settings { budget_day_micros: Some(1_000_000), ..Settings::default() };
        let machine = machine(&ctx, &settings).await;
        shifted(&ctx, machine.id, MachineState::Creating, MachineState::Destroyed).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        machines::store::count_on(&mut tx, machine.id, ctx.now() + TimeDelta::minutes(10)).await.expect("notes");
        let going = [ctx.now(), ctx.now() + TimeDelta::minutes(11)];
        for (now, expect) in going.into_iter().zip([1, 0]) {
            assert_eq!(purse(&mut tx, &settings, now).await.expect("reads").going, expect);
        }
    }

    async fn what_is_there_counts_with_what_it_costs_where_that_is_more(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let large = Settings { provider: Provider { volume_gb: 100, ..Settings::default().provider }, ..Settings::default() };
        let machine = made(&ctx, &large).await;
        let made_of = Made { provider_id: "dear", region: "eze", at: ctx.now(), awake_rate: 9_000_000, asleep_rate: 8_000_000 };
        let mut tx = ctx.begin("test").await.expect("begins");
        set_provider_id(&mut tx, machine.id, &made_of).await.expect("notes");
        let settings = Settings { budget_day_micros: Some(1), ..Settings::default() };
        let purse = purse(&mut tx, &settings, ctx.now()).await.expect("reads");
        assert_eq!((purse.awake_rate, purse.storage_rate), (9_000_000, 8_000_000 + fly::price::stored(100 * 1_024)));
        assert_eq!(purse.new_storage_rate, fly::price::stored(10 * 1_024) + fly::price::stored(700 + 2_048));
    }

    async fn the_cap_and_the_budget_hold_whoever_asks_at_once(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        // Row FLY-038: as many as ask want more than all may have.
        let settings = Settings::default();
        let ask = async |actions: &[Action]| {
            let other = kernel::testing::another(&ctx);
            let mut tx = other.begin("test").await.expect("begins");
            let admitted = machines::apply(&other, &mut tx, &settings, actions).await.expect("applies");
            tx.commit(admitted).await.expect("commits")
        };
        let all = join_all((0..6).map(|_| ask(&[Action::Create; 7]))).await;
        assert_eq!(all.iter().sum::<usize>(), settings.cap(), "{all:?}");
        assert_eq!(machines::list(&ctx).await.expect("lists").len(), settings.cap());

        // What is asleep is woken by operators too, and the day pays for one.
        let asleep: Vec<_> = machines::list(&ctx).await.expect("lists").into_iter().map(|machine| machine.id).collect();
        for id in &asleep {
            shifted(&ctx, *id, MachineState::Creating, MachineState::Suspended).await;
        }
        let (hour, storage) = (awake(3_600.0), stored(18.0 * 3_600.0));
        let cap = i64::try_from(settings.cap()).expect("few");
        let budget_day_micros = Some(cap * storage + hour + hour / 2);
        let poor = Settings { budget_day_micros, ..settings.clone() };
        let wake = async |id| {
            let other = kernel::testing::another(&ctx);
            machines::resume(&other, &poor, id).await.is_ok()
        };
        let woken = join_all(asleep.into_iter().map(wake)).await;
        assert_eq!(woken.into_iter().filter(|woken| *woken).count(), 1);
    }

    async fn each_threshold_is_told_once_in_its_period(ctx) {
        ctx.clock.set("2026-11-23T00:00:00Z".parse().expect("a time"));
        let settings = Arc::new(Settings { budget_day_micros: Some(100_000), ..Settings::default() });
        let ledger = Ledger::new(Arc::clone(&settings));
        made(&ctx, &Settings::default()).await;
        let told = async || {
            let mut tx = ctx.begin("test").await.expect("begins");
            let pending = kernel::outbox::pending(&mut tx, 1_000).await.expect("reads");
            pending.into_iter().filter(|event| event.kind == wire::event::kind::COST_ALERT).count()
        };
        let mut counts = Vec::new();
        for _ in 0..60 {
            ctx.clock.advance(Duration::from_secs(HOUR));
            ledger.tick(&ctx).await.expect("writes");
            counts.push(told().await);
        }
        assert_eq!((counts[7], counts[8], counts[22]), (0, 1, 3), "{counts:?}");
        assert_eq!(counts[59], 7, "the next day's anew: {counts:?}");
    }

    async fn the_report_says_what_runs_and_what_should_not(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings { budget_day_micros: Some(30_000), ..Settings::default() };
        let machine = made(&ctx, &Settings::default()).await;
        let mut tx = ctx.begin("test").await.expect("begins");
        machines::store::set_idle_since(&mut tx, machine.id, Some(ctx.now())).await.expect("notes");
        tx.commit(()).await.expect("commits");
        let look = Look { began: ctx.now(), since: None, seen: &[], going: &[], strangers: 0 };
        crate::orphans::note(&ctx, &settings, &look).await.expect("notes");
        ctx.clock.advance(Duration::from_secs(240));
        let seen = report(&ctx, &settings).await.expect("reports");
        assert_eq!((seen.machines.len(), seen.machines[0].hourly_micros), (1, 3_600 + volume(HOUR)));
        let problems = |seen: &wire::cost::CostView| seen.findings.iter().map(|finding| finding.problem).collect::<Vec<_>>();
        assert_eq!(problems(&seen), [CostProblem::Forecast], "it would be awake until midnight");
        let rich = Settings::default();
        assert_eq!(problems(&report(&ctx, &rich).await.expect("reports")), []);
        ctx.clock.advance(Duration::from_secs(600));
        let tight = Settings { machines_max: 0, ..Settings::default() };
        let found = problems(&report(&ctx, &tight).await.expect("reports"));
        assert_eq!(found, [CostProblem::Idle, CostProblem::OverCap, CostProblem::NotCompared]);
        let kept = Settings { warm: "* 00:00-24:00 1".parse().expect("reads"), ..Settings::default() };
        assert_eq!(problems(&report(&ctx, &kept).await.expect("reports")), [CostProblem::NotCompared]);
    }
}

/// Whether a transaction waits for another to end.
async fn is_anybody_waiting(ctx: &Ctx) -> bool {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let kernel::Db::Postgres(pool) = &ctx.db else { return false };
    sqlx::query_as::<_, (i64,)>(waiting).fetch_one(pool).await.expect("is told").0 > 0
}

/// SQLite has one writer.
#[tokio::test]
async fn what_changes_while_the_ledger_is_written_is_charged_once_on_postgres() {
    kernel::testing::with_postgres(&migrations(), |ctx| async move {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let settings = Settings::default();
        let (first, second) = (made(&ctx, &settings).await, made(&ctx, &settings).await);
        ctx.clock.advance(Duration::from_secs(100));
        let mut tx = ctx.begin("test").await.expect("begins");
        settle_machine(&mut tx, first.id, ctx.now()).await.expect("settles");
        let (ledger, other) = (Ledger::new(Arc::new(settings)), kernel::testing::another(&ctx));
        let meanwhile = async {
            while !is_anybody_waiting(&ctx).await {
                tokio::task::yield_now().await;
            }
            shifted(&ctx, second.id, MachineState::Ready, MachineState::Draining).await;
            tx.commit(()).await.expect("commits");
        };
        let (written, ()) = futures_util::future::join(ledger.tick(&other), meanwhile).await;
        written.expect("writes");
        let spent = spent_now(&ctx, Period::Day).await;
        assert!((spent - 2 * (100 + volume(100))).abs() <= 4, "{spent}");
    })
    .await;
}
