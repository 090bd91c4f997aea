//! What is nowhere else is told of, wherever on the volume it lies.

use std::fs;

use super::*;
use crate::testing::{Remote, Scene};

/// One execution with work that nobody pushed.
async fn worked() -> (Scene, Remote, ExecutionId) {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    scene.run(&remote, "echo mine > mine").await;
    let id = scene.room.volume.execution_ids().expect("lists")[0];
    (scene, remote, id)
}

fn told(scene: &Scene) -> Vec<KeptWork> {
    kept_work(&scene.room.volume).expect("lists")
}

/// One that no commit stands for.
fn without_commit(execution_id: ExecutionId, repository: &str, reference: String) -> KeptWork {
    KeptWork { execution_id, repository: repository.to_owned(), reference, commit: String::new() }
}

#[tokio::test]
async fn a_workspace_is_told_of_for_as_long_as_it_is_not_saved_and_when_it_was_set_aside() {
    let (mut scene, remote, id) = worked().await;
    let name = repository_name(&remote.url());
    let in_mirror = told(&scene);
    let [KeptWork { reference, commit, .. }] = &in_mirror[..] else { panic!("{in_mirror:?}") };
    assert!(*reference == format!("refs/bifrost/wip/{id}") && commit.len() == 40, "{in_mirror:?}");

    let mut marker = Marker::read(&scene.room.volume, id).expect("reads").expect("is there");
    marker.saved = None;
    marker.write(&scene.room.volume).expect("writes");
    let unsaved = without_commit(id, &name, format!("workspaces/{id}"));
    assert!(unsaved.is_unsaved());
    assert_eq!(told(&scene), [unsaved, in_mirror[0].clone()]);

    // What it is of, nobody can tell any more but by what it borrows from.
    fs::write(scene.room.volume.execution(id).join("execution.json"), "{").expect("writes");
    assert_eq!(told(&scene)[0], without_commit(id, KeptWork::UNKNOWN, format!("workspaces/{id}")));
    let room = scene.room.clone();
    scene.collect(crate::health::settle_all(&room)).await;
    let aside = scene.room.volume.work_aside().expect("lists");
    let [place] = &aside[..] else { panic!("{aside:?}") };
    let expect = without_commit(id, &name, format!("aside/{}", volume::file_name(place)));
    assert_eq!(told(&scene), [in_mirror[0].clone(), expect]);
}

#[tokio::test]
async fn what_a_mirror_has_that_was_set_aside_is_told_of_by_its_references_and_no_commit() {
    let (scene, remote, id) = worked().await;
    let name = repository_name(&remote.url());
    let aside = scene.room.volume.quarantine_work(&scene.room.volume.mirror(&name), "mark").expect("moves");
    let reference = format!("aside/{}/refs/bifrost/wip/{id}", volume::file_name(&aside));
    assert_eq!(told(&scene), [without_commit(id, &name, reference)]);
}
