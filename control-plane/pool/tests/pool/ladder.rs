//! The recovery ladder, rung by rung, and machines that are replaced on purpose.

use chrono::TimeDelta;
use pool::machines::{self, Machine};
use pool::plan::{Action, Reason};
use wire::event::kind;
use wire::machine::MachineState;

use crate::fault::{dropping, failing, machine};
use crate::world::{ROUNDS, World, migrations};

kernel::on_both! { migrations();
    async fn a_worker_that_never_reports_in_has_its_machine_climb_the_whole_ladder(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.are_workers_deaf = true;
        world.apply(Action::Create).await;
        while !world.rows().await.is_empty() {
            world.beat().await;
            world.keep_up().await;
        }
        let how: Vec<_> = world.told(kind::MACHINE_RECOVERY).await.iter().map(|told| told["how"].as_str().expect("text").to_owned()).collect();
        assert_eq!(how, [
            "restarted", "stopped and started", "made anew on another host", "made anew in another region", "given up",
        ]);
        let stuck = world.told(kind::MACHINE_STUCK).await;
        assert!(stuck.iter().any(|told| told["minutes"] == 5) && stuck.iter().any(|told| told["minutes"] == 10), "{stuck:?}");
        world.skip_an_hour().await;
        assert_eq!(world.there().await, (vec![], 0), "nothing is left behind");
        world.stop().await;
    }

    async fn a_rung_whose_call_fails_is_tried_again(ctx) {
        let refused = ["internal", "flyd-timeout", "lease-held", "rate-limited"].map(|failure| {
            [failing("restart", failure, 2), failing("stop", failure, 4), failing("read_machine", failure, 2)].join("\n")
        });
        let lost = ["before", "after"].map(|moment| [dropping("restart", moment), dropping("stop", moment)].join("\n"));
        for (script, has_slept) in refused.iter().chain(&lost).flat_map(|script| [(script, false), (script, true)]) {
            let mut world = World::new(&ctx, "").await;
            let told = world.told(kind::MACHINE_RECOVERY).await.len();
            if has_slept {
                world.up().await;
                world.suspend().await;
                world.apply(Action::Resume(world.row().await.id)).await;
            } else {
                world.apply(Action::Create).await;
            }
            world.script(script).await;
            world.are_workers_deaf = true;
            while world.told(kind::MACHINE_RECOVERY).await.len() < told + 2 {
                world.beat().await;
                world.keep_up().await;
            }
            assert!(world.has_every_fault_struck().await, "{script}");
            world.are_workers_deaf = false;
            world.script(&failing("start", "unavailable", 4)).await;
            world.settle().await;
            assert!(world.has_every_fault_struck().await, "{script}");
            let how = world.told(kind::MACHINE_RECOVERY).await;
            let how: Vec<_> = how[told..].iter().map(|told| told["how"].as_str().expect("text")).collect();
            assert_eq!(how, ["restarted", "stopped and started"], "{script}");
            let row = world.row().await;
            assert_eq!((row.state, row.generation), (MachineState::Ready, 0), "{script}");
            assert_eq!(world.there().await.1, 1, "{script}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn a_machine_that_takes_its_time_to_stop_is_started_then(ctx) {
        let mut world = World::new(&ctx, &machine("{ stick_in = 'stopping' }")).await;
        world.are_workers_deaf = true;
        world.apply(Action::Create).await;
        world.beat().await;
        while world.told(kind::MACHINE_RECOVERY).await.len() < 2 {
            world.keep_up().await;
            world.beat().await;
        }
        world.pass(TimeDelta::seconds(50)).await;
        assert!(world.has_every_fault_struck().await);
        let waits = world.row().await;
        assert_eq!((waits.state, waits.generation), (MachineState::Starting, 0));
        world.poke().await;
        world.are_workers_deaf = false;
        world.keep_up().await;
        world.settle().await;
        assert_eq!((world.row().await.state, world.row().await.provider_id), (MachineState::Ready, waits.provider_id));
        world.stop().await;
    }

    async fn a_machine_made_anew_on_another_host_has_a_copy_of_its_volume(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        world.script("[[call]]\naction = 'start'\nwhen = { times = 1 }\neffect = { failure = 'host-memory' }").await;
        world.wake().await;
        let after = world.row().await;
        assert_eq!(after.id, before.id);
        assert_eq!(after.volume_source_id, before.volume_provider_id);
        assert_ne!(after.provider_id, before.provider_id);
        assert_eq!(world.there().await.1, 2, "what was replaced is kept for a while");
        world.skip_an_hour().await;
        assert_eq!(world.there().await.1, 1);
        world.stop().await;
    }

    async fn a_machine_for_which_the_budget_pays_no_second_disk_sleeps_with_its_own(ctx) {
        ctx.clock.set("2026-11-23T06:00:00Z".parse().expect("a time"));
        let mut world = World::new(&ctx, "").await;
        // One machine takes 78,369 of a day, and a volume 49,316.
        world.has_budget(100_000);
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        let full = "[[call]]\naction = 'start'\nwhen = { times = 1 }\neffect = { failure = 'host-memory' }";
        world.script(full).await;
        world.wake().await;
        let poor = world.row().await;
        assert_eq!((poor.state, poor.volume_id, poor.refusals), (MachineState::Suspended, before.volume_id, 1));
        assert_eq!(poor.provider_id, before.provider_id);
        assert!(poor.error.as_ref().is_some_and(|why| why.contains("budget")), "{:?}", poor.error);
        assert_eq!(world.there().await.1, 1);
        world.has_budget(140_000);
        world.script(full).await;
        world.wake().await;
        let rich = world.row().await;
        assert_eq!((rich.state, rich.volume_source_id), (MachineState::Ready, before.volume_provider_id));
        assert_eq!(world.there().await.1, 2);
        world.stop().await;
    }

    async fn a_worker_that_is_heard_and_never_done_saving_is_put_to_sleep_after_ten_minutes(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let id = world.row().await.id;
        let worker = pool::workers::list(&ctx).await.expect("lists").remove(0).id;
        world.apply(Action::Drain(id)).await;
        let began = world.row().await.state_since;
        while world.row().await.state == MachineState::Draining {
            let minutes = (ctx.now() - began).num_minutes();
            assert!(minutes <= 10, "it drains for ever");
            let mut tx = ctx.begin("test").await.expect("begins");
            pool::workers::heartbeat(&mut tx, worker, ctx.now()).await.expect("is heard");
            tx.commit(()).await.expect("commits");
            world.beat().await;
        }
        assert_eq!((world.row().await.state_since - began).num_minutes(), 10, "it is given its time");
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Suspended);
        world.stop().await;
    }

    async fn a_retired_machine_is_replaced_with_its_volume_and_todays_image(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let before = world.row().await;
        assert_eq!(world.apply(Action::Retire(before.id, Reason::Age)).await, 1);
        assert_eq!(world.row().await.state, MachineState::Ready, "it has its last work done");
        let mut tx = ctx.begin("test").await.expect("begins");
        let free = pool::workers::available(&mut tx, ctx.now(), std::time::Duration::from_secs(45)).await.expect("looks");
        drop(tx);
        assert_eq!(free, [], "and gets no more");
        world.apply(Action::Drain(before.id)).await;
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.state, after.generation, after.retiring), (MachineState::Ready, 1, None));
        assert_eq!((after.volume_id, after.executions), (before.volume_id, 0));
        assert_eq!(world.there().await.1, 1);
        world.stop().await;
    }

    async fn a_sleeper_for_which_there_is_no_room_is_not_replaced_and_keeps_its_volume(ctx) {
        let mut world = World::new(&ctx, "").await;
        let before = world.aged_sleeper().await;
        world.script("[[call]]\naction = 'create_machine'\neffect = { failure = 'no-candidate-host' }").await;
        assert_eq!(world.plan(0).await.0, [Action::Retire(before.id, Reason::Age)]);
        world.pass(TimeDelta::minutes(12)).await;
        world.skip_an_hour().await;
        let waits = world.row().await;
        assert_eq!((waits.state, &waits.volume_provider_id), (MachineState::Creating, &before.volume_provider_id));
        assert_eq!((world.there().await.0, world.there().await.1), (vec![], 1));
        world.script("").await;
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.state, after.volume_provider_id), (MachineState::Ready, before.volume_provider_id));
        world.stop().await;
    }

    async fn a_machine_whose_former_one_does_not_go_is_not_waited_for(ctx) {
        let mut world = World::new(&ctx, "").await;
        let before = world.aged_sleeper().await;
        world.script("[[machine]]\neffect = { stick_in = 'destroying' }").await;
        assert_eq!(world.plan(0).await.0, [Action::Retire(before.id, Reason::Age)]);
        world.pass(TimeDelta::minutes(9)).await;
        assert_eq!(world.plan(1).await.0, [], "it is coming");
        world.pass(TimeDelta::minutes(2)).await;
        let waits = world.row().await;
        assert_eq!((waits.state, waits.former_provider_id), (MachineState::Creating, before.provider_id));
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.script("").await;
        world.settle().await;
        let states: Vec<_> = world.rows().await.into_iter().map(|row| (row.state, row.generation)).collect();
        assert_eq!(states, [(MachineState::Ready, 1), (MachineState::Ready, 0)]);
        world.stop().await;
    }

    async fn a_machine_that_was_to_be_replaced_sleeps_where_its_region_has_no_room_by_then(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let before = world.row().await;
        world.apply(Action::Retire(before.id, Reason::Age)).await;
        world.script("[[call]]\naction = 'create_volume'\nwhen = { times = 1 }\neffect = { failure = 'volume-capacity' }").await;
        world.apply(Action::Create).await;
        world.beat().await;
        world.apply(Action::Drain(before.id)).await;
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.state, after.generation, after.retiring), (MachineState::Suspended, 0, None));
        world.stop().await;
    }

    async fn an_image_that_does_not_come_up_costs_no_volume_and_halts_the_rollout(ctx) {
        let all = [
            "[[machine]]\nwhen = { target = '*-1' }\neffect = 'fail_to_boot'",
            "[[call]]\naction = 'create_machine'\nwhen = { target = '*-1' }\neffect = { failure = 'image-unknown' }",
            "[[call]]\naction = 'create_machine'\nwhen = { target = '*-1' }\neffect = { answer = { status = 400, error = 'invalid image' } }",
        ];
        for (number, broken) in (1..).zip(all) {
            let mut world = World::new(&ctx, "").await;
            world.up().await;
            world.up().await;
            for row in world.rows().await {
                world.apply(Action::Suspend(row.id)).await;
            }
            world.settle().await;
            let volumes = |rows: &[Machine]| rows.iter().map(|row| row.volume_provider_id.clone()).collect::<Vec<_>>();
            let before = volumes(&world.rows().await);
            world.script(broken).await;
            world.has_image(&format!("example/image:2.{number}"));
            for _ in 0..120 {
                world.plan(0).await;
                world.beat().await;
            }
            let rows = world.rows().await;
            assert_eq!(volumes(&rows), before, "{broken}");
            let images: Vec<_> = rows.iter().map(|row| (row.image.as_str(), row.state)).collect();
            assert_eq!(images, [("example/image:1", MachineState::Suspended); 2], "{broken}");
            let mut generations: Vec<_> = rows.iter().map(|row| row.generation).collect();
            generations.sort_unstable();
            assert_eq!(generations, [0, 2], "{broken}: one was replaced, and put back");
            // Another image is tried anew.
            world.script("").await;
            world.has_image(&format!("example/image:3.{number}"));
            let retired = matches!(world.plan(0).await.0.as_slice(), [Action::Retire(_, Reason::Image)]);
            assert!(retired, "{broken}");
            world.settle().await;
            for row in world.rows().await {
                machines::destroy(&ctx, &world.work(), row.id, true).await.expect("ordered");
            }
            world.settle().await;
            world.stop().await;
        }
    }

    async fn an_image_that_did_not_come_up_is_tried_again_by_one_machine_ever_more_seldom(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        world.script("[[machine]]\neffect = 'fail_to_boot'").await;
        world.has_image("example/image:2");
        for (minutes, failures) in [(0, 1), (31, 2), (61, 3)] {
            ctx.clock.advance(std::time::Duration::from_secs(60 * minutes));
            world.beat().await;
            assert!(matches!(world.plan(0).await.0.as_slice(), [Action::Retire(_, Reason::Image)]), "{failures}");
            for _ in 0..ROUNDS {
                world.beat().await;
                if world.row().await.image == before.image {
                    break;
                }
            }
            world.script("").await;
            world.settle().await;
            let row = world.row().await;
            assert_eq!((&row.image, &row.volume_provider_id), (&before.image, &before.volume_provider_id));
            world.suspend().await;
            world.script("[[machine]]\neffect = 'fail_to_boot'").await;
            assert_eq!(world.plan(0).await.0, [], "{failures}");
        }
        world.script("").await;
        ctx.clock.advance(std::time::Duration::from_secs(3 * 3_600));
        world.beat().await;
        assert_eq!(world.plan(0).await.0, [Action::Retire(before.id, Reason::Image)]);
        world.settle().await;
        assert_eq!(world.row().await.image, "example/image:2");
        world.stop().await;
    }

    async fn a_machine_that_is_refused_says_nothing_about_its_image(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await.id;
        world.script("[[call]]\naction = 'create_machine'\nwhen = { times = 1 }\neffect = { failure = 'machine-limit' }").await;
        world.has_image("example/image:2");
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!(world.rows().await.len(), 1, "the new one was given up");
        ctx.clock.advance(std::time::Duration::from_secs(300));
        world.beat().await;
        assert_eq!(world.plan(0).await.0, [Action::Retire(before, Reason::Image)]);
        world.stop().await;
    }

    async fn an_image_with_which_a_machine_has_come_up_since_is_rolled_out(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        world.has_image("example/image:2");
        world.are_workers_deaf = true;
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!(world.rows().await.len(), 1, "the new one was given up");
        ctx.clock.advance(std::time::Duration::from_secs(900));
        assert_eq!(world.plan(0).await.0, []);
        world.are_workers_deaf = false;
        world.beat().await;
        world.apply(Action::Create).await;
        world.settle().await;
        assert!(matches!(world.plan(0).await.0.as_slice(), [Action::Retire(_, Reason::Image), ..]));
        world.stop().await;
    }

    async fn a_new_image_rolls_over_sleeping_machines_one_at_a_time(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.up().await;
        for row in world.rows().await {
            world.apply(Action::Suspend(row.id)).await;
        }
        world.settle().await;
        world.has_image("example/image:2");
        for _ in 0..200 {
            world.plan(0).await;
            world.beat().await;
            let rows = world.rows().await;
            let under_way = rows.iter().filter(|row| row.retiring.is_some()).count();
            assert!(under_way <= 1, "{rows:?}");
            if rows.iter().all(|row| row.image == "example/image:2" && row.state == MachineState::Suspended) {
                let images = world.machines.machines(crate::world::APP).await.expect("lists");
                let images = images.into_iter().filter(|machine| machine.state != fly::MachineState::Destroyed);
                let images: Vec<_> = images.filter_map(|machine| Some(machine.config?.image)).collect();
                assert_eq!(images, ["example/image:2", "example/image:2"]);
                return world.stop().await;
            }
        }
        panic!("never all of one image: {:?}", world.rows().await);
    }
}
