//! The ladder, rung by rung (row FLY-035).

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::testing::{Remote, Scene, kinds};

/// Two executions of one repository: the second workspace is there, both are saved.
async fn two_runs() -> (Scene, Remote, [Manifest; 2]) {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    scene.run(&remote, "echo first > made").await;
    scene.run(&remote, "echo second > made; rm README").await;
    let ids = scene.room.volume.checkpoint_ids().expect("lists");
    let read = |id| checkpoint::verify(&scene.room.volume, id).expect("whole");
    let manifests = [read(ids[0]), read(ids[1])];
    (scene, remote, manifests)
}

async fn checked(scene: &mut Scene) -> Vec<String> {
    let room = scene.room.clone();
    let ((), events) = scene.collect(check(&room)).await;
    kinds(&events).into_iter().map(Into::into).collect()
}

fn tree(scene: &Scene, manifest: &Manifest) -> PathBuf {
    scene.room.volume.workspace(manifest.subject.execution_id)
}

fn damage_checkpoint(scene: &Scene, manifest: &Manifest) {
    fs::write(scene.room.volume.checkpoint(manifest.checkpoint_id).join("listing"), "bad").expect("writes");
}

#[tokio::test]
async fn a_healthy_volume_is_left_alone() {
    let (mut scene, _remote, [_, second]) = two_runs().await;
    assert_eq!(checked(&mut scene).await, [kind::VOLUME_CHECKED]);
    assert_eq!(fs::read_to_string(tree(&scene, &second).join("made")).expect("reads"), "second\n");
    assert_eq!(checked(&mut Scene::new().await).await, [""; 0]);
}

#[tokio::test]
async fn a_damaged_workspace_is_put_back_from_its_checkpoint() {
    let (mut scene, _remote, [_, second]) = two_runs().await;
    let tree = tree(&scene, &second);
    for round in 0..5 {
        match round {
            0 => fs::write(tree.join("made"), "other").expect("writes"),
            1 => fs::remove_file(tree.join("src/lib.txt")).expect("removes"),
            2 => fs::write(tree.join("README"), "back").expect("writes"),
            3 => fs::write(tree.join(".git/HEAD"), "").expect("writes"),
            _ => fs::remove_dir_all(&tree).expect("removes"),
        }
        assert_eq!(
            checked(&mut scene).await,
            [kind::VOLUME_DAMAGED, kind::CHECKPOINT_RESTORED, kind::VOLUME_CHECKED],
            "round {round}"
        );
        assert_eq!(fs::read_to_string(tree.join("made")).expect("reads"), "second\n");
        assert!(tree.join("src/lib.txt").exists() && !tree.join("README").exists(), "round {round}");
        assert_eq!(checked(&mut scene).await, [kind::VOLUME_CHECKED], "round {round}");
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_is_set_aside_and_saved_anew_from_a_good_workspace() {
    let (mut scene, _remote, [first, second]) = two_runs().await;
    damage_checkpoint(&scene, &second);
    assert_eq!(checked(&mut scene).await, [kind::VOLUME_DAMAGED, kind::CHECKPOINT_SAVED, kind::VOLUME_CHECKED]);
    let ids = scene.room.volume.checkpoint_ids().expect("lists");
    assert_eq!((ids.len(), ids[0]), (2, first.checkpoint_id));
    let anew = checkpoint::verify(&scene.room.volume, ids[1]).expect("whole");
    assert_eq!((anew.subject, anew.files, anew.deleted), (second.subject, second.files, second.deleted));
}

#[tokio::test]
async fn a_damaged_pack_is_noticed_as_the_damage_of_what_needs_it() {
    let (mut scene, _remote, [first, second]) = two_runs().await;
    let chunks = scene.room.volume.chunks();
    let newest = crate::testing::names_below(&chunks).into_iter().filter(|name| name.extension().is_some()).max();
    fs::write(chunks.join(newest.expect("one")), "bad").expect("writes");
    assert_eq!(checked(&mut scene).await, [kind::VOLUME_DAMAGED, kind::CHECKPOINT_SAVED, kind::VOLUME_CHECKED]);
    let ids = scene.room.volume.checkpoint_ids().expect("lists");
    assert_eq!((ids.len(), ids[0]), (2, first.checkpoint_id));
    let anew = checkpoint::verify(&scene.room.volume, ids[1]).expect("whole");
    assert_eq!((anew.subject, anew.files), (second.subject, second.files));
}

#[tokio::test]
async fn a_workspace_that_is_replaced_is_kept_aside() {
    let (mut scene, _remote, [_, second]) = two_runs().await;
    fs::write(tree(&scene, &second).join("made"), "precious").expect("writes");
    checked(&mut scene).await;
    let aside = scene.room.volume.root().join("quarantine");
    let kept = crate::testing::names_below(&aside).into_iter().find(|path| path.ends_with("made")).expect("kept");
    assert_eq!(fs::read_to_string(aside.join(kept)).expect("reads"), "precious");
}

#[tokio::test]
async fn an_older_workspace_whose_checkpoint_is_gone_is_saved_anew_and_goes() {
    let (mut scene, remote, [_, second]) = two_runs().await;
    fs::remove_dir_all(scene.room.volume.checkpoint(second.checkpoint_id)).expect("removes");
    scene.run(&remote, "echo third > made").await;
    assert!(!tree(&scene, &second).exists());
    let ids = scene.room.volume.checkpoint_ids().expect("lists").into_iter();
    let kept = ids.map(|id| checkpoint::verify(&scene.room.volume, id).expect("whole"));
    assert!(kept.into_iter().any(|manifest| manifest.subject == second.subject && manifest.files == second.files));
}

#[tokio::test]
async fn where_both_are_damaged_the_newest_good_checkpoint_is_put_back() {
    let (mut scene, _remote, [first, second]) = two_runs().await;
    damage_checkpoint(&scene, &second);
    fs::remove_file(tree(&scene, &second).join(".git/HEAD")).expect("removes");
    let damaged = kind::VOLUME_DAMAGED;
    assert_eq!(checked(&mut scene).await, [damaged, damaged, damaged, kind::CHECKPOINT_RESTORED, kind::VOLUME_CHECKED]);
    assert!(!tree(&scene, &second).exists());
    assert_eq!(fs::read_to_string(tree(&scene, &first).join("made")).expect("reads"), "first\n");
}

#[tokio::test]
async fn where_nothing_is_good_the_next_execution_starts_afresh() {
    let (mut scene, remote, [first, second]) = two_runs().await;
    damage_checkpoint(&scene, &first);
    damage_checkpoint(&scene, &second);
    fs::remove_file(tree(&scene, &second).join(".git/HEAD")).expect("removes");
    fs::remove_dir_all(scene.room.volume.root().join("repos")).expect("removes");
    fs::create_dir(scene.room.volume.root().join("repos")).expect("makes");
    let damaged = kind::VOLUME_DAMAGED;
    assert_eq!(checked(&mut scene).await, [damaged, damaged, damaged, kind::VOLUME_CHECKED]);
    assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
    let (completion, _) = scene.run(&remote, "cat README").await;
    assert_eq!(completion.outcome, wire::execution::Outcome::Succeeded);
}

#[tokio::test]
async fn unsaved_work_that_was_set_aside_outlives_later_damage() {
    let (mut scene, remote, [_, second]) = two_runs().await;
    let made = std::ffi::OsStr::new("made");
    let is_kept = |scene: &Scene, text: &str| {
        let aside = scene.room.volume.root().join("quarantine");
        let names = crate::testing::names_below(&aside).into_iter();
        names
            .filter(|path| path.file_name() == Some(made))
            .any(|path| fs::read_to_string(aside.join(path)).is_ok_and(|read| read == text))
    };
    let id = second.subject.execution_id;
    fs::write(scene.room.volume.execution(id).join("execution.json"), "{").expect("writes");
    checked(&mut scene).await;
    for round in 0..3 {
        scene.run(&remote, &format!("echo {round} > made")).await;
        let ids = scene.room.volume.checkpoint_ids().expect("lists");
        let newest = checkpoint::verify(&scene.room.volume, *ids.last().expect("some")).expect("whole");
        fs::write(tree(&scene, &newest).join("made"), round.to_string()).expect("writes");
        checked(&mut scene).await;
    }
    let kept = ["second\n", "0", "1", "2"].map(|text| is_kept(&scene, text));
    assert_eq!(kept, [true, false, true, true], "the work, and the last two that a checkpoint holds");
}

#[tokio::test]
async fn a_workspace_whose_marker_cannot_be_read_is_set_aside() {
    let (mut scene, _remote, [_, second]) = two_runs().await;
    let id = second.subject.execution_id;
    fs::write(scene.room.volume.execution(id).join("execution.json"), "{").expect("writes");
    assert_eq!(checked(&mut scene).await, [kind::VOLUME_DAMAGED]);
    assert!(!tree(&scene, &second).exists());
    let kept = crate::testing::names_below(&scene.room.volume.root().join("quarantine"));
    assert!(kept.iter().any(|path| path.ends_with("made")), "{kept:?}");
}
