//! Orphans, and what an operator does by hand.

use std::time::Duration;

use chrono::TimeDelta;
use fly::{MachineConfig, NewMachine, NewVolume};
use kernel::{Ctx, Reconciler as _, audit};
use pool::plan::Action;
use pool::{Provider, Settings, machines, orphans};
use wire::audit::AuditEntry;
use wire::event::kind;
use wire::machine::{AppAbandonment, MachineState};

use crate::documented::REFUSALS_OF_A_TOKEN;
use crate::world::{APP, World, migrations, settings};

/// A machine that the pool did not make.
async fn made_by_hand(world: &World, name: &str, pool: Option<&str>) -> fly::Machine {
    let marks = pool.map(|name| ("bifrost_pool".to_owned(), name.to_owned()));
    made(world, NewMachine { name: name.into(), ..NewMachine::default() }, marks).await
}

async fn made(world: &World, new: NewMachine, marks: impl IntoIterator<Item = (String, String)>) -> fly::Machine {
    let config = MachineConfig {
        image: "example/image:1".into(),
        init: fly::Init { exec: Some(["sleep", "300"].map(str::to_owned).to_vec()), ..fly::Init::default() },
        metadata: marks.into_iter().collect(),
        ..MachineConfig::default()
    };
    world.machines.create_machine(APP, &NewMachine { config, ..new }).await.expect("is made")
}

async fn orphaned(world: &World) {
    made_by_hand(world, "orphan", Some("p1")).await;
    made_by_hand(world, "stranger", None).await;
    for name in ["sprite_p1_lost", "data"] {
        world
            .machines
            .create_volume(APP, &NewVolume { name: name.into(), ..NewVolume::default() })
            .await
            .expect("is made");
    }
}

pub(crate) async fn audited(ctx: &Ctx, action: &str) -> Vec<AuditEntry> {
    let tenant = wire::id::TenantId::mint(ctx.now(), [1; 10]);
    let all = audit::list(ctx, tenant, &audit::Filter::default()).await.expect("lists");
    all.entries.into_iter().filter(|entry| entry.action == action).collect()
}

kernel::on_both! { migrations();
    async fn orphans_are_reported_first_and_reaped_by_rule_and_strangers_are_spared(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        orphaned(&world).await;
        world.beat().await;
        let sweep = orphans::last_sweep(&ctx).await.expect("shows");
        assert_eq!((sweep.orphans.len(), sweep.strangers), (2, 2));
        assert!(sweep.orphans.iter().all(|orphan| orphan.reaped_at.is_none() && orphan.sightings == 1));
        let mut tx = ctx.begin("test").await.expect("begins");
        let view = machines::view(&mut tx, &world.settings, ctx.now()).await.expect("looks");
        drop(tx);
        assert_eq!(view.strangers, 2, "both count against the cap");
        world.pass(TimeDelta::seconds(30)).await;
        let (machines, volumes) = world.there().await;
        let mut names: Vec<_> = machines.into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!((names, volumes), (vec![world.row().await.name, "stranger".to_owned()], 3), "disks are kept");
        world.skip_a_week().await;
        assert_eq!(world.there().await.1, 2);
        let what: Vec<_> = world.told(kind::MACHINE_ORPHAN).await.iter().map(|told| told["what"].clone()).collect();
        assert_eq!(what, ["found", "found", "reaped", "reaped"]);
        world.stop().await;
    }

    async fn an_orphan_that_is_not_destroyed_is_asked_for_ever_more_seldom_and_at_once_when_an_operator_says_so(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.beat().await;
        made_by_hand(&world, "orphan", Some("p1")).await;
        world.script("[[call]]\naction = 'destroy_machine'\nwhen = { times = 20 }\neffect = { failure = 'lease-held' }").await;
        world.pass(TimeDelta::hours(2)).await;
        assert_eq!(world.there().await.0.len(), 1, "nobody has asked twenty times");
        let sweep = orphans::last_sweep(&ctx).await.expect("shows");
        assert!(sweep.orphans[0].error.as_ref().is_some_and(|error| error.contains("lease")), "{sweep:?}");
        world.script("").await;
        orphans::approve(&ctx).await.expect("approves");
        world.beat().await;
        assert_eq!(world.there().await.0, []);
        world.stop().await;
    }

    async fn where_reaping_is_off_an_operator_approves_it(ctx) {
        let only_report = Settings { reap_orphans: false, ..settings() };
        let mut world = World::with(&ctx, "", only_report).await;
        world.beat().await;
        orphaned(&world).await;
        world.pass(TimeDelta::seconds(60)).await;
        assert_eq!(orphans::last_sweep(&ctx).await.expect("shows").orphans.len(), 2);
        assert_eq!(world.there().await.0.len(), 2);
        orphans::approve(&ctx).await.expect("approves");
        world.beat().await;
        assert_eq!(world.there().await.0.len(), 1);
        assert_eq!(audited(&ctx, "orphans.approved").await.len(), 1);
        assert_eq!(audited(&ctx, "orphan.reaped").await.len(), 2);
        world.stop().await;
    }

    async fn a_worker_is_known_with_the_price_of_its_machine_where_that_is(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let price = i64::try_from(fly::price::started(&world.settings.provider.guest(), "iad")).expect("is small");
        let workers = pool::workers::list(&ctx).await.expect("lists");
        assert_eq!(workers.iter().map(|worker| worker.machine_rate).collect::<Vec<_>>(), [Some(price)]);
        world.stop().await;
    }

    async fn what_a_lost_database_knew_stays_until_an_operator_approves(ctx) {
        kernel::testing::with_sqlite(&migrations(), |lost| async move {
            let mut world = World::new(&lost, "").await;
            world.up().await;
            world.suspend().await;
            world.up().await;
            world.start_on(&ctx);
            world.beat().await;
            world.skip_a_week().await;
            assert_eq!((world.there().await.0.len(), world.there().await.1), (2, 2), "asleep and awake");
            // A list may lag, and a process end: what is there again is no newer for that.
            world.script("[[machine]]\neffect = 'unlisted'").await;
            world.beat().await;
            world.script("").await;
            world.beat().await;
            world.start_on(&ctx);
            world.skip_a_week().await;
            assert_eq!((world.there().await.0.len(), world.there().await.1), (2, 2));
            let sweep = orphans::last_sweep(&ctx).await.expect("shows");
            assert!(sweep.orphans.iter().all(|orphan| orphan.needs_approval && orphan.reaped_at.is_none()), "{sweep:?}");
            assert_eq!((sweep.orphans.len(), sweep.strangers), (4, 2));
            orphans::approve(&world.ctx).await.expect("approves");
            world.beat().await;
            world.beat().await;
            assert_eq!(world.there().await, (vec![], 0));
            world.stop().await;
        })
        .await;
    }

    async fn what_a_lost_database_left_awake_is_on_the_bill_until_it_is_reaped(ctx) {
        kernel::testing::with_sqlite(&migrations(), |lost| async move {
            lost.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
            let day = 24 * 15_820;
            let mut world = World::with(&lost, "", Settings { budget_day_micros: Some(day), ..settings() }).await;
            world.up().await;
            world.start_on(&ctx);
            lost.clock.advance(Duration::from_secs(2 * 3_600));
            world.beat().await;
            world.beat().await;
            assert_eq!(world.apply(Action::Create).await, 0, "what is awake for ever leaves nothing of the day");
            let today = async |world: &World| {
                let report = pool::money::report(&world.ctx, &world.settings).await.expect("adds up");
                (report.spending[0].spent_micros, report.spending[0].forecast_micros)
            };
            let (spent, forecast) = today(&world).await;
            assert!((2 * 15_820..3 * 15_820).contains(&spent), "{spent} in two hours");
            assert!(forecast > 18 * 15_820, "{forecast} until midnight");
            orphans::approve(&world.ctx).await.expect("approves");
            world.beat().await;
            world.beat().await;
            let (spent, forecast) = today(&world).await;
            assert_eq!(forecast, spent);
            assert_eq!(world.apply(Action::Create).await, 1);
            world.stop().await;
        })
        .await;
    }

    async fn what_was_made_after_the_backup_that_was_restored_stays(ctx) {
        kernel::testing::with_sqlite(&migrations(), |lost| async move {
            let mut world = World::new(&lost, "").await;
            world.up().await;
            world.suspend().await;
            kernel::transfer::copy(&lost, &ctx, &migrations(), &mut |_, _| ()).await.expect("a backup, restored");
            world.up().await;
            world.start_on(&ctx);
            world.skip_a_week().await;
            assert_eq!(world.rows().await.len(), 1);
            assert_eq!((world.there().await.0.len(), world.there().await.1), (2, 2), "one that the backup knows");
            let sweep = orphans::last_sweep(&ctx).await.expect("shows");
            assert_eq!(sweep.orphans.iter().map(|orphan| orphan.needs_approval).collect::<Vec<_>>(), [true, true]);
            // What comes from now on is seen to come.
            orphaned(&world).await;
            world.pass(TimeDelta::seconds(30)).await;
            assert_eq!(world.there().await.0.len(), 3, "the stranger is spared, and what needs an approval");
            world.stop().await;
        })
        .await;
    }

    async fn what_sleeps_in_a_database_that_was_restored_is_not_destroyed_for_having_slept_for_long(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let id = world.row().await.id;
        let mut destroyed = Vec::new();
        ctx.clock.advance(Duration::from_secs(3 * 24 * 3_600));
        for hours in [0, 23, 2] {
            orphans::begin(&ctx).await.expect("begins");
            world.beat().await;
            for _ in 0..hours {
                ctx.clock.advance(Duration::from_secs(3_600));
                world.beat().await;
            }
            let now = ctx.now();
            let mut tx = ctx.begin("test").await.expect("begins");
            let view = machines::view(&mut tx, &world.settings, now).await.expect("looks");
            let plan = pool::plan::plan(&view, &pool::plan::Demand::default(), (&*world.settings).into(), now);
            destroyed.push(plan.actions.contains(&Action::Destroy(id)));
        }
        assert_eq!(destroyed, [false, false, true]);
        world.stop().await;
    }

    async fn an_abandoned_machine_is_over_at_once_and_what_is_left_of_it_is_reaped(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let id = world.row().await.id;
        ctx.clock.advance(Duration::from_secs(60));
        assert_eq!(machines::abandon(&ctx, &world.work(), id, " ", false).await.expect_err("says nothing").code(), "invalid");
        let gone = machines::abandon(&ctx, &world.work(), id, "its host is away", false).await.expect("abandoned");
        assert_eq!((gone.state, gone.state_since), (MachineState::Destroyed, ctx.now()));
        assert_eq!(world.rows().await, []);
        assert_eq!(machines::abandon(&ctx, &world.work(), id, "again", false).await.expect_err("is over").code(), "not_found");
        world.pass(TimeDelta::seconds(40)).await;
        assert_eq!(world.there().await, (vec![], 1), "its disk is kept");
        world.skip_a_week().await;
        assert_eq!(world.there().await, (vec![], 0));
        let entries = audited(&ctx, kind::MACHINE_STATE).await;
        assert_eq!(entries[0].reason.as_deref(), Some("abandoned: its host is away"));
        world.stop().await;
    }

    async fn where_the_app_was_deleted_all_rows_end_with_one_order(ctx) {
        // The first machine has to be made anew, and its first volume is kept for a while.
        let stale = "[[call]]\naction = 'create_machine'\nwhen = { times = 1 }\n\
                     effect = { answer = { status = 400, error = 'volume not found' } }";
        let mut world = World::new(&ctx, stale).await;
        world.up().await;
        world.up().await;
        assert_eq!(world.there().await.1, 3);
        let of = |app: &str, reason: &str| AppAbandonment { app: app.into(), reason: reason.into() };
        let deleted = of(APP, "deleted with flyctl apps destroy");
        for (what, code) in [(&deleted, "app_answers"), (&of("another", "r"), "invalid"), (&of(APP, " "), "invalid")] {
            let refused = machines::abandon_app(&ctx, &world.provider, &world.settings, what).await;
            assert_eq!(refused.expect_err("refused").code(), code, "{what:?}");
        }
        machines::destroy(&ctx, &world.work(), world.row().await.id, true).await.expect("ordered");
        world.machines.delete_app(APP).await.expect("deleted");
        world.pass(TimeDelta::minutes(20)).await;
        let states: Vec<_> = world.rows().await.into_iter().map(|row| row.state).collect();
        assert_eq!(states, [MachineState::Destroying, MachineState::Ready], "a fault of Fly's looks the same");

        world.script("[[call]]\neffect = { failure = 'unavailable' }").await;
        let refused = machines::abandon_app(&ctx, &world.provider, &world.settings, &deleted).await;
        assert_eq!(refused.expect_err("nobody says that it is gone").code(), "unavailable");
        for failure in REFUSALS_OF_A_TOKEN {
            world.script(&format!("[[call]]\neffect = {{ failure = '{failure}' }}")).await;
            let refused = machines::abandon_app(&ctx, &world.provider, &world.settings, &deleted).await;
            let refused = refused.expect_err("nobody may look");
            assert_eq!(refused.code(), "token_refused", "{failure}");
            assert!(refused.to_string().contains("set FLY_API_TOKEN"), "{refused}");
        }
        world.script("").await;
        let gone = machines::abandon_app(&ctx, &world.provider, &world.settings, &deleted).await.expect("abandoned");
        let gone: Vec<_> = gone.iter().map(|machine| (machine.state, machine.state_since)).collect();
        assert_eq!(gone, [(MachineState::Destroyed, ctx.now()); 2]);
        assert_eq!(world.rows().await, []);
        let cost = pool::money::report(&ctx, &world.settings).await.expect("reports");
        assert!(cost.spending.iter().all(|one| one.spent_micros > 0 && one.forecast_micros == one.spent_micros), "{cost:?}");
        let entries = audited(&ctx, kind::MACHINE_STATE).await;
        let reason = Some("abandoned: deleted with flyctl apps destroy");
        assert_eq!(entries.iter().filter(|entry| entry.reason.as_deref() == reason).count(), 2);
        assert!(machines::abandon_app(&ctx, &world.provider, &world.settings, &deleted).await.expect("nothing left").is_empty());
        world.beat().await;
        world.beat().await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready, "the app was made anew");
        world.stop().await;
    }

    async fn an_app_whose_runners_have_a_network_of_their_own_is_made_anew_when_a_control_plane_starts_alone(ctx) {
        let runner_env = vec![("https_proxy".to_owned(), "http://egress.flycast:3128".to_owned())];
        let provider = Provider { runner_env, ..settings().provider };
        let mut world = World::with(&ctx, "", Settings { provider, ..settings() }).await;
        world.up().await;
        world.machines.delete_app(APP).await.expect("deleted");
        let deleted = AppAbandonment { app: APP.into(), reason: "deleted".into() };
        machines::abandon_app(&ctx, &world.provider, &world.settings, &deleted).await.expect("abandoned");
        world.beat().await;
        world.beat().await;
        assert!(world.machines.machines(APP).await.is_err(), "it would be in the organisation's network");
        world.start_on(&ctx);
        world.beat().await;
        assert!(world.machines.machines(APP).await.is_ok());
        world.stop().await;
    }

    async fn an_operator_suspends_resumes_and_destroys(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let id = world.row().await.id;
        assert_eq!(machines::suspend(&ctx, id).await.expect("ordered").state, MachineState::Draining);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Suspended, "a worker that is silent saves nothing more");
        machines::resume(&ctx, &world.settings, id).await.expect("ordered");
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        let unknown = wire::id::MachineId::mint(ctx.now(), [9; 10]);
        assert_eq!(machines::suspend(&ctx, unknown).await.expect_err("no such").code(), "not_found");
        let mut tx = ctx.begin("test").await.expect("begins");
        let worker = pool::workers::available(&mut tx, ctx.now(), Duration::from_secs(45)).await.expect("looks");
        pool::workers::set_loads(&mut tx, &[(&worker[0], 1)], ctx.now()).await.expect("notes");
        tx.commit(()).await.expect("commits");
        let busy = machines::destroy(&ctx, &world.work(), id, false).await.expect_err("busy");
        assert_eq!(busy.code(), "machine_busy");
        assert!(busy.to_string().contains("bifrost machines destroy --force"), "{busy}");
        machines::destroy(&ctx, &world.work(), id, true).await.expect("ordered");
        world.settle().await;
        assert_eq!((world.rows().await, world.there().await), (vec![], (vec![], 0)));
        world.stop().await;
    }

    async fn no_machine_is_made_before_a_control_plane_has_looked_at_what_there_is(ctx) {
        let one = Settings { machines_max: 1, ..settings() };
        let mut world = World::with(&ctx, "", one).await;
        world.beat().await;
        // While it was down, somebody made a machine.
        let stranger = made_by_hand(&world, "stranger", None).await;
        orphans::begin(&ctx).await.expect("begins");
        assert_eq!(orphans::last_sweep(&ctx).await.expect("shows").compared_at, None);
        assert_eq!(world.apply(Action::Create).await, 0, "nobody has looked");
        world.beat().await;
        assert_eq!(world.apply(Action::Create).await, 0, "it is counted");
        world.machines.destroy(APP, &stranger.id, true).await.expect("destroyed");
        world.beat().await;
        // Nor is one made where looking has failed for long.
        world.script("[[call]]\naction = 'list_machines'\neffect = { failure = 'unavailable' }").await;
        world.pass(TimeDelta::seconds(100)).await;
        assert_eq!(world.apply(Action::Create).await, 0, "that was long ago");
        world.script("").await;
        let mut nudged = ctx.nudges.subscribe(pool::CAPACITY_NUDGE);
        nudged.borrow_and_update();
        world.beat().await;
        assert!(nudged.has_changed().expect("is there"), "whoever waits is told at once");
        assert_eq!(world.apply(Action::Create).await, 1);
        world.settle().await;
        world.stop().await;
    }

    async fn an_abandoned_machine_counts_until_it_is_gone(ctx) {
        let one = Settings { machines_max: 1, ..settings() };
        let mut world = World::with(&ctx, "", one).await;
        world.up().await;
        let (id, name) = (world.row().await.id, world.row().await.name);
        machines::abandon(&ctx, &world.work(), id, "its host is away", false).await.expect("abandoned");
        assert_eq!(world.apply(Action::Create).await, 0, "it was not looked for");
        world.beat().await;
        assert!(world.there().await.0.iter().any(|(there, _)| *there == name));
        assert_eq!(world.apply(Action::Create).await, 0, "it is there");
        world.pass(TimeDelta::seconds(40)).await;
        assert_eq!(world.there().await.0, []);
        assert_eq!(world.apply(Action::Create).await, 1);
        world.settle().await;
        world.stop().await;
    }

    async fn what_there_is_is_looked_at_as_soon_as_the_app_is_there(ctx) {
        let mut world = World::new(&ctx, "").await;
        orphans::begin(&ctx).await.expect("begins");
        let mut nudged = ctx.nudges.subscribe(pool::Watch::NUDGE);
        nudged.borrow_and_update();
        world.app.tick(&ctx).await.expect("makes it");
        assert!(nudged.has_changed().expect("is there"));
        world.beat().await;
        assert_eq!(world.apply(Action::Create).await, 1);
        world.settle().await;
        world.stop().await;
    }

    async fn a_machine_of_its_name_is_adopted_where_it_is_if_it_carries_the_rows_mark(ctx) {
        for is_marked in [true, false] {
            let mut world = World::new(&ctx, "").await;
            world.beat().await;
            world.apply(Action::Create).await;
            let row = world.row().await;
            let marks = is_marked.then(|| ("bifrost_machine".to_owned(), row.id.to_string()));
            let new = NewMachine { name: row.name.clone(), region: Some("ewr".into()), ..NewMachine::default() };
            let there = made(&world, new, marks).await;
            // Nobody looks meanwhile: its volume first, and then itself.
            for _ in 0..2 {
                world.provision.step_all(&ctx).await.expect("steps");
            }
            let row = world.row().await;
            if is_marked {
                assert_eq!((row.provider_id, row.region.as_deref()), (Some(there.id), Some("ewr")));
                world.settle().await;
            } else {
                assert_eq!((row.provider_id, row.generation), (None, 1));
                world.settle().await;
                let row = world.row().await;
                assert_eq!((row.state, row.region.as_deref()), (MachineState::Ready, Some("iad")));
                assert!(world.there().await.0.contains(&(there.name, fly::MachineState::Started)), "it is another's");
            }
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn the_cap_counts_what_the_provider_has(ctx) {
        let one = Settings { machines_max: 2, ..settings() };
        let mut world = World::with(&ctx, "", one).await;
        world.beat().await;
        orphaned(&world).await;
        world.beat().await;
        assert_eq!(world.apply(Action::Create).await, 0, "two are there that no row knows");
        world.pass(TimeDelta::seconds(40)).await;
        assert_eq!(world.apply(Action::Create).await, 1, "the orphan is gone");
        assert_eq!(world.apply(Action::Create).await, 0);
        world.stop().await;
    }
}
