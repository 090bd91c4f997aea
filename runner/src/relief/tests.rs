//! A volume that is full of other repositories recovers, and loses nothing that nobody pushed.

use wire::execution::Outcome;
use wire::worker::repository_name;

use super::*;
use crate::orders::Orders;
use crate::testing::{PATIENCE, Remote, Scene, SmallVolume, git, until};
use crate::volume;

/// A repository that takes more than three megabytes, which nothing makes smaller.
async fn large(number: u64) -> Remote {
    let remote = Remote::new().await;
    let blocks =
        (0..100_000_u64).flat_map(|block| *blake3::hash(&[number, block].map(u64::to_le_bytes).concat()).as_bytes());
    std::fs::write(remote.path().join("noise"), blocks.collect::<Vec<u8>>()).expect("writes");
    remote.commit(&[]).await;
    remote
}

async fn succeed(scene: &mut Scene, remote: &Remote, script: &str) {
    let (completion, _) = scene.run(remote, script).await;
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    let background = scene.room.background.clone();
    tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("ends");
}

fn name(remote: &Remote) -> String {
    repository_name(&remote.url())
}

#[tokio::test]
async fn on_a_small_volume_the_mirrors_that_were_used_least_lately_make_room_for_others() {
    let small = SmallVolume::mount(14);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let mut remotes = Vec::new();
    for number in 0..5 {
        remotes.push(large(number).await);
    }
    for remote in &remotes {
        succeed(&mut scene, remote, "test -s noise").await;
        assert!(scene.room.volume.repository_names().contains(&name(remote)));
    }
    let kept = scene.room.volume.repository_names();
    assert!(!kept.contains(&name(&remotes[0])) && !kept.contains(&name(&remotes[1])), "{kept:?}");
    succeed(&mut scene, &remotes[0], "test -s noise").await;
}

#[tokio::test]
async fn on_a_small_volume_a_mirror_with_work_that_nobody_pushed_stays() {
    let small = SmallVolume::mount(14);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let worked_on = large(0).await;
    succeed(&mut scene, &worked_on, "echo mine > new").await;
    for number in 1..5 {
        succeed(&mut scene, &large(number).await, "test -s noise").await;
    }
    assert!(scene.room.volume.repository_names().contains(&name(&worked_on)));
    let work = git(&scene.room.volume.mirror(&name(&worked_on)), &["for-each-ref", "refs/bifrost/wip"]).await;
    assert!(!work.is_empty());
    succeed(&mut scene, &worked_on, "test ! -e new").await;
}

#[tokio::test]
async fn a_mirror_stays_for_as_long_as_anything_needs_it() {
    let mut scene = Scene::new().await;
    let (worked_on, other) = (Remote::new().await, Remote::new().await);
    succeed(&mut scene, &worked_on, "echo mine > new").await;
    let mirror = scene.room.volume.mirror(&name(&worked_on));
    let room = scene.room.clone();
    let stays = async |in_use: &str| {
        relieve(&room, u64::MAX, in_use).await.expect("relieves");
        mirror.exists()
    };
    // Its workspace is there still.
    assert!(stays("").await);
    succeed(&mut scene, &other, "true").await;
    assert!(stays("").await, "a checkpoint and a reference");
    let work = git(&mirror, &["for-each-ref", "--format=%(refname)", "refs/bifrost/wip"]).await;
    git(&mirror, &["update-ref", "-d", &work]).await;
    assert!(stays("").await, "a checkpoint with something in it");
    for id in room.volume.checkpoint_ids().expect("lists") {
        volume::remove(&room.volume.checkpoint(id)).expect("removes");
    }
    git(&mirror, &["update-ref", &work, "refs/remotes/origin/main"]).await;
    assert!(stays("").await, "a reference");
    git(&mirror, &["update-ref", "-d", &work]).await;
    let aside = room.volume.root().join("quarantine/1.work.x/.git/objects/info");
    kit::files::make_private(&aside).expect("makes");
    std::fs::write(aside.join("alternates"), format!("{}\n", mirror.join("objects").display())).expect("writes");
    assert!(stays("").await, "work that was set aside");
    volume::remove(&room.volume.root().join("quarantine/1.work.x")).expect("removes");
    let turn = room.turns.take(&name(&worked_on), &Orders::none()).await.expect("its turn");
    assert!(stays("").await, "somebody fetches into it");
    drop(turn);
    let unprepared = room.background.begin(&name(&worked_on)).expect("nobody does");
    assert!(stays("").await, "a spare is made from it");
    drop(unprepared);
    assert!(stays(&name(&worked_on)).await, "it is in use");
    assert!(!stays("").await, "nothing needs it");
    assert_eq!(room.volume.repository_names(), [name(&other)], "its workspace is there still");
}
