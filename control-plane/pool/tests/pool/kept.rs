//! Volumes that outlive their machines for the work on them, and machines that are not destroyed for it.

use chrono::TimeDelta;
use kernel::Ctx;
use pool::plan::Action;
use pool::{kept, machines, orphans};
use wire::event::kind;
use wire::machine::KeptVolumeView;

use crate::operator::audited;
use crate::world::{APP, World, migrations, one_region};

const WHAT: &str = "1 pinned checkpoint";

async fn listed(ctx: &Ctx) -> Vec<KeptVolumeView> {
    orphans::last_sweep(ctx).await.expect("shows").kept
}

/// A machine that vanishes again before its worker has reported in, so that it is given up.
async fn give_up(world: &mut World) {
    world.are_workers_deaf = true;
    for _ in 0..2 {
        let gone = world.row().await.provider_id;
        world.machines.destroy(APP, gone.as_deref().expect("is there"), true).await.expect("destroyed");
        for _ in 0..20 {
            world.beat().await;
            if world.rows().await.iter().all(|row| row.provider_id.is_some() && row.provider_id != gone) {
                break;
            }
        }
    }
    assert_eq!(world.rows().await, [], "it was given up");
}

kernel::on_both! { migrations();
    async fn a_machine_that_is_given_up_leaves_its_volume_if_that_alone_has_work(ctx) {
        let mut world = World::with(&ctx, "", one_region()).await;
        world.up().await;
        let row = world.row().await;
        world.said.has(row.id, WHAT);
        give_up(&mut world).await;
        world.skip_an_hour().await;
        let volumes = world.machines.volumes(APP).await.expect("lists");
        let volumes: Vec<_> = volumes.into_iter().map(|volume| volume.id).collect();
        assert_eq!(volumes, Vec::from_iter(row.volume_provider_id), "it is there, and no orphan");
        let kept = listed(&ctx).await;
        assert_eq!((kept.len(), kept[0].id, kept[0].machine_id), (1, row.volume_id, Some(row.id)));
        assert_eq!((kept[0].what.as_str(), kept[0].provider_id.as_ref()), (WHAT, volumes.first()));
        let told = world.told(kind::VOLUME_KEPT).await;
        assert_eq!((told.len(), told[0]["what"].as_str()), (1, Some(WHAT)));
        assert!(told[0]["cure"].as_str().is_some_and(|cure| cure.ends_with(&format!("discard {}", row.volume_id))));
        assert_eq!(audited(&ctx, kind::VOLUME_KEPT).await.len(), 1);

        assert_eq!(orphans::approve(&ctx).await.expect("approves").orphans, []);
        world.pass(TimeDelta::seconds(60)).await;
        assert_eq!(world.there().await.1, 1, "reaping is for orphans");
        kept::discard(&ctx, &world.settings, row.volume_id).await.expect("discards");
        world.beat().await;
        assert_eq!((world.there().await, listed(&ctx).await), ((vec![], 0), vec![]));
        assert_eq!(audited(&ctx, "volume.discarded").await.len(), 1);
        let again = kept::discard(&ctx, &world.settings, row.volume_id).await;
        assert_eq!(again.expect_err("is gone").code(), "not_found");
        world.stop().await;
    }

    async fn a_machine_that_is_given_up_without_work_leaves_nothing(ctx) {
        let mut world = World::with(&ctx, "", one_region()).await;
        world.up().await;
        give_up(&mut world).await;
        assert_eq!((world.there().await, listed(&ctx).await), ((vec![], 0), vec![]));
        assert_eq!(world.told(kind::VOLUME_KEPT).await, Vec::<serde_json::Value>::new());
        world.stop().await;
    }

    async fn a_machine_that_is_moved_leaves_the_volume_with_work_behind_for_longer_than_an_hour(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let row = world.row().await;
        world.said.has(row.id, WHAT);
        world.suspend().await;
        // Deaf, it climbs the whole ladder: a copy, which has the work as well, and an empty volume elsewhere.
        world.are_workers_deaf = true;
        assert_eq!(world.apply(Action::Resume(row.id)).await, 1);
        world.settle().await;
        assert_eq!(world.rows().await, []);
        world.skip_an_hour().await;
        assert_eq!(world.there().await, (vec![], 2), "what was empty is gone");
        let kept = listed(&ctx).await;
        assert_eq!(kept.iter().map(|volume| volume.machine_id).collect::<Vec<_>>(), [Some(row.id); 2]);
        assert_eq!(kept[1].id, row.volume_id, "the newest comes first");
        world.stop().await;
    }

    async fn nobody_takes_a_machine_that_alone_has_work_without_saying_so(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.up().await;
        let ids: Vec<_> = world.rows().await.into_iter().map(|row| row.id).collect();
        ids.iter().for_each(|id| world.said.has(*id, WHAT));
        let work = world.work();
        let refused = [
            machines::destroy(&ctx, &work, ids[0], false).await.expect_err("has work"),
            machines::abandon(&ctx, &work, ids[1], "why", false).await.expect_err("has work"),
        ];
        for (refused, order) in refused.iter().zip(["destroy", "abandon"]) {
            assert_eq!(refused.code(), "machine_has_work");
            let message = refused.to_string();
            assert!(message.contains(WHAT) && message.contains(&format!("machines {order} --force")), "{message}");
        }
        assert_eq!(world.there().await.0.len(), 2);
        machines::destroy(&ctx, &work, ids[0], true).await.expect("ordered");
        machines::destroy(&ctx, &work, ids[0], false).await.expect("it is going already");
        machines::abandon(&ctx, &work, ids[1], "why", true).await.expect("ordered");
        world.pass(TimeDelta::seconds(60)).await;
        assert_eq!((world.there().await, listed(&ctx).await), ((vec![], 1), vec![]), "nobody's volume stays a while");
        world.skip_a_week().await;
        assert_eq!(world.there().await, (vec![], 0));
        world.stop().await;
    }
}
