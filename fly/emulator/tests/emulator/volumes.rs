//! Volumes: settings, sizes, snapshots and copies, also through a kill.

use std::fs;

use fly::{NewVolume, VolumeUpdate};

use crate::world::*;

#[tokio::test]
async fn a_volume_grows_never_shrinks_and_keeps_its_settings() {
    let world = World::start().await;
    let volume = world.volume().await;
    assert_ne!(volume.zone, world.volume().await.zone, "each is on a host of its own");
    assert!(!world.machines.extend_volume(APP, &volume.id, 10).await.expect("extended"));
    for size_gb in [9, 501] {
        let error = world.machines.extend_volume(APP, &volume.id, size_gb).await.expect_err("no size");
        assert_eq!(error.status(), Some(400), "{size_gb}");
    }
    let update = VolumeUpdate { snapshot_retention: Some(7), auto_backup_enabled: Some(false) };
    let updated = world.machines.update_volume(APP, &volume.id, &update).await.expect("updated");
    assert_eq!((updated.size_gb, updated.snapshot_retention), (10, Some(7)));
    let wrong = VolumeUpdate { snapshot_retention: Some(61), ..VolumeUpdate::default() };
    assert_eq!(world.machines.update_volume(APP, &volume.id, &wrong).await.expect_err("wrong").status(), Some(400));
    let data = world.stop().await;
    let world = World::on(data).await;
    assert_eq!(world.machines.volume(APP, &volume.id).await.expect("read"), updated);
    world.stop().await;
}

#[tokio::test]
async fn a_snapshot_holds_what_was_there_and_a_fork_what_is() {
    let world = World::start().await;
    let volume = world.volume().await;
    world.machines.extend_volume(APP, &volume.id, 5).await.expect("extended");
    let directory = |id: &str| world.data.path().join("volumes").join(id);
    fs::write(directory(&volume.id).join("cache"), "old").expect("written");
    world.machines.create_snapshot(APP, &volume.id).await.expect("made");
    fs::write(directory(&volume.id).join("cache"), "new").expect("written");

    let snapshots = world.machines.snapshots(APP, &volume.id).await.expect("listed");
    assert_eq!((snapshots.len(), snapshots[0].size, snapshots[0].retention_days), (1, 3, Some(5)));
    let of = |snapshot_id, source_volume_id| NewVolume {
        name: "copy".to_owned(),
        snapshot_id,
        source_volume_id,
        ..NewVolume::default()
    };
    for (new, expected) in
        [(of(Some(snapshots[0].id.clone()), None), "old"), (of(None, Some(volume.id.clone())), "new")]
    {
        let copy = world.machines.create_volume(APP, &new).await.expect("made");
        assert_eq!(fs::read_to_string(directory(&copy.id).join("cache")).expect("there"), expected);
        assert_eq!(copy.size_gb, 5, "a copy is as large, unless it is to be larger");
        let less = NewVolume { size_gb: Some(4), ..new.clone() };
        assert!(world.machines.create_volume(APP, &less).await.is_err(), "there is no room for all of it");
    }
    let snapshot = world.data.path().join("snapshots").join(&snapshots[0].id);
    world.machines.destroy_volume(APP, &volume.id).await.expect("deleted");
    assert!(!snapshot.exists());
    world.stop().await;
}

#[tokio::test]
async fn machines_volumes_snapshots_and_secrets_survive_a_kill() {
    let data = Data::new();
    let program = Program::start(data.path()).await;
    create_app(&program.machines).await;
    let volume = volume(&program.machines).await;
    program.machines.create_snapshot(APP, &volume.id).await.expect("made");
    program.machines.extend_volume(APP, &volume.id, 8).await.expect("extended");
    program.machines.set_secrets(APP, &[("A".to_owned(), Some("b".to_owned()))].into()).await.expect("set");
    let mut new = with_volume(script("one", "exec sleep 1000"), &volume);
    new.launch.skip_launch = true;
    program.machines.create_machine(APP, &new).await.expect("created");
    let before = (
        program.machines.machines(APP).await.expect("listed"),
        program.machines.volumes(APP).await.expect("listed"),
        program.machines.snapshots(APP, &volume.id).await.expect("listed"),
        program.machines.secrets(APP).await.expect("listed"),
    );
    assert_eq!((before.0.len(), before.1.len(), before.2.len(), before.3.len()), (1, 1, 1, 1));
    program.kill().await;
    // As if the kill had come while a snapshot was being copied.
    let half_made = data.path().join("snapshots/vs_half");
    fs::create_dir(&half_made).expect("made");

    let program = Program::start(data.path()).await;
    let after = (
        program.machines.machines(APP).await.expect("listed"),
        program.machines.volumes(APP).await.expect("listed"),
        program.machines.snapshots(APP, &volume.id).await.expect("listed"),
        program.machines.secrets(APP).await.expect("listed"),
    );
    assert_eq!(after, before);
    assert!(!half_made.exists());
    assert!(program.terminate().await.success());
}
