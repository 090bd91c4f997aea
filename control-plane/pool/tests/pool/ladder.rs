//! The recovery ladder, rung by rung, and machines that are replaced on purpose.

use pool::Settings;
use pool::plan::{Action, Reason};
use wire::event::kind;
use wire::machine::MachineState;

use crate::world::{World, migrations, settings};

kernel::on_both! { migrations();
    async fn a_worker_that_never_reports_in_has_its_machine_climb_the_whole_ladder(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.are_workers_deaf = true;
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!(world.rows().await, []);
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

    async fn a_new_image_rolls_over_sleeping_machines_one_at_a_time(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.up().await;
        for row in world.rows().await {
            world.apply(Action::Suspend(row.id)).await;
        }
        world.settle().await;
        let mut next = settings();
        next.provider.image = "example/image:2".into();
        let settings: std::sync::Arc<Settings> = next.into();
        world.provision = crate::world::provision(&world.provider, &settings, world.work());
        world.settings = settings;
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
