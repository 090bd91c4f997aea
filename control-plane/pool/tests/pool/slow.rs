//! What takes its time at Fly: sleep that a step waits for, calls that hang, a look that fails after a lost answer,
//! an image that comes late, and an update that never ends.

use std::time::Duration;

use chrono::TimeDelta;
use fly::{MachineState as At, MachineUpdate};
use pool::Settings;
use pool::plan::Action;
use wire::event::kind;
use wire::machine::MachineState;

use crate::documented::{During, End, check, strike};
use crate::fault::{delaying, dropping, failing, machine};
use crate::world::{APP, World, migrations, settings};

/// Longer than any client waits.
const FOREVER_MS: u32 = 600_000;

kernel::on_both! { migrations();
    async fn a_step_that_waits_sees_the_machine_fall_asleep(ctx) {
        let mut world = World::with(&ctx, "", Settings { step_wait: Duration::from_secs(20), ..settings() }).await;
        world.up().await;
        let id = world.row().await.id;
        world.apply(Action::Suspend(id)).await;
        assert_eq!(world.row().await.state, MachineState::Suspending);
        // It is on its way when it is first asked for.
        world.script(&machine("{ stay_in = { state = 'suspending', for_ms = 300 } }")).await;
        assert_eq!(world.provision.step_all(&ctx).await.expect("steps"), 1);
        assert!(world.has_every_fault_struck().await);
        assert_eq!(world.row().await.state, MachineState::Suspended);
        world.stop().await;
    }

    async fn a_call_that_hangs_is_given_up_and_doubles_nothing(ctx) {
        for (during, action, end) in [
            (During::Create, "list_volumes", End::Same),
            (During::Create, "create_volume", End::Same),
            (During::Create, "create_machine", End::Same),
            (During::Wake, "start", End::Same),
            (During::Sleep, "read_machine", End::Same),
            (During::Sleep, "suspend", End::Same),
            (During::Destroy, "destroy_machine", End::Nothing),
            (During::Destroy, "list_machines", End::Nothing),
            (During::Destroy, "destroy_volume", End::Nothing),
        ] {
            let mut world = World::new(&ctx, "").await;
            world.gives_up_after(Duration::from_millis(500));
            let script = delaying(action, FOREVER_MS);
            if during == During::Create {
                world.script(&script).await;
            }
            strike(&mut world, during, &script).await;
            assert!(world.has_every_fault_struck().await, "{action}");
            check(&mut world, during, end).await;
            if end == End::Same {
                world.destroy().await;
            }
            world.stop().await;
        }
    }

    async fn a_creation_is_not_doubled_where_its_answer_and_the_look_for_it_are_both_lost(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.beat().await;
        for look in ["unavailable", "rate-limited", "not-found", "flyd-timeout", "bad-gateway"] {
            let blind = failing("list_machines", look, 99);
            world.script(&[dropping("create_machine", "after"), blind.clone()].join("\n")).await;
            world.apply(Action::Create).await;
            while world.row().await.failures == 0 {
                world.provision.step_all(&ctx).await.expect("steps");
            }
            assert!(world.has_every_fault_struck().await, "{look}");
            // Nor does it say anything of the machine that there is no room for another by then.
            world.script(&[failing("create_machine", "no-candidate-host", 1), blind].join("\n")).await;
            ctx.clock.advance(Duration::from_secs(10));
            world.provision.step_all(&ctx).await.expect("steps");
            assert!(world.has_every_fault_struck().await, "{look}");
            let row = world.row().await;
            assert_eq!((row.state, row.provider_id, row.failures), (MachineState::Creating, None, 2), "{look}");
            world.script("").await;
            world.settle().await;
            let row = world.row().await;
            assert_eq!((row.state, row.generation, row.region.as_deref()), (MachineState::Ready, 0, Some("iad")));
            assert_eq!(world.there().await, (vec![(row.name, At::Started)], 1), "{look}");
            world.destroy().await;
        }
        world.stop().await;
    }

    async fn a_machine_whose_image_comes_late_is_waited_for(ctx) {
        let mut world = World::new(&ctx, &machine("{ stick_in = 'created' }")).await;
        world.apply(Action::Create).await;
        world.pass(TimeDelta::minutes(9)).await;
        let waits = world.row().await;
        assert_eq!((waits.state, waits.restarts, &waits.error), (MachineState::Starting, 0, &None));
        assert_eq!(world.there().await, (vec![(waits.name.clone(), At::Created)], 1));
        world.poke().await;
        world.keep_up().await;
        world.settle().await;
        let row = world.row().await;
        assert_eq!((row.state, row.generation, row.restarts), (MachineState::Ready, 0, 0));
        assert_eq!(row.provider_id, waits.provider_id);
        assert_eq!(world.told(kind::MACHINE_RECOVERY).await.len(), 0);
        assert_eq!(world.there().await, (vec![(row.name, At::Started)], 1));
        world.stop().await;
    }

    async fn a_machine_that_sticks_in_somebodys_update_is_made_anew_with_what_is_on_its_disk(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let before = world.row().await;
        world.script(&machine("{ stick_in = 'replacing' }")).await;
        let id = before.provider_id.as_deref().expect("runs");
        let config = world.machines.machine(APP, id).await.expect("is there").config.expect("its host is there");
        let update = MachineUpdate { config, current_version: None, launch: Default::default() };
        world.machines.update(APP, id, &update).await.expect("is updated");
        assert!(world.has_every_fault_struck().await);
        assert_eq!(world.there().await.0, [(before.name.clone(), At::Replacing)]);
        // Nobody hears its worker any more.
        ctx.clock.advance(Duration::from_secs(301));
        pool::workers::disable_stale(&ctx).await.expect("looks");
        world.pass(TimeDelta::minutes(9)).await;
        assert_eq!((world.row().await.state, world.row().await.generation), (MachineState::Starting, 0));
        world.settle().await;
        let after = world.row().await;
        assert_eq!((after.id, after.state, after.generation), (before.id, MachineState::Ready, 1));
        assert_eq!(after.volume_source_id, before.volume_provider_id);
        world.skip_an_hour().await;
        assert_eq!(world.there().await, (vec![(after.name, At::Started)], 1));
        world.stop().await;
    }
}
