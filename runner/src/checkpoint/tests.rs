//! Saving and putting back, with everything a tree can hold.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::testing::{Remote, Scene, names_below};
use crate::workspace::Marker;

/// Every file and link of a tree but git's own, with its mode and content.
fn picture(tree: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let names = names_below(tree).into_iter().filter(|name| !name.starts_with(".git"));
    let content = |name: &PathBuf| {
        let path = tree.join(name);
        let meta = fs::symlink_metadata(&path).expect("is there");
        if meta.is_symlink() {
            return Some((0, fs::read_link(&path).expect("reads").as_os_str().as_bytes().to_vec()));
        }
        meta.is_file().then(|| (meta.permissions().mode() & 0o777, fs::read(&path).expect("reads")))
    };
    names.filter_map(|name| Some((name.clone(), content(&name)?))).collect()
}

fn newest(scene: &Scene) -> Manifest {
    let id = scene.room.volume.checkpoint_ids().expect("lists").pop().expect("one");
    verify(&scene.room.volume, id).expect("whole")
}

const SCRIPT: &str = r#"
    echo changed >> src/lib.txt; chmod +x README; rm gone/with-its-directory; rmdir gone
    mkdir -p new/deep; echo new > new/deep/file; ln -s ../README new/link; ln -s /nowhere new/dangling
    printf x > "$(printf 'odd-\377-name')"; echo no > ignored; mkdir node_modules; echo no > node_modules/x
    rm becomes-directory; mkdir becomes-directory; echo in > becomes-directory/file
    rm becomes-link; ln -s README becomes-link; mkfifo pipe; : > empty
    git init -q nested; echo kept > nested/file
    printf '%0200d' 7 > "$(printf '%0150d' 0)"
"#;

async fn remote() -> Remote {
    Remote::with(&[
        ("README", "hello\n"),
        ("src/lib.txt", "one\n"),
        (".gitignore", "ignored\n"),
        ("gone/with-its-directory", "x"),
        ("becomes-directory", "x"),
        ("becomes-link", "x"),
    ])
    .await
}

#[tokio::test]
async fn a_workspace_comes_back_as_it_was_left() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, SCRIPT).await;
    let manifest = newest(&scene);
    let tree = scene.room.volume.workspace(manifest.subject.execution_id);
    let mut expect = picture(&tree);
    let odd = PathBuf::from(OsStr::from_bytes(b"odd-\xff-name"));
    assert!(expect.contains_key(&odd) && expect.contains_key(Path::new("nested/file")));
    expect.retain(|path, _| path != Path::new("ignored") && !path.starts_with("node_modules"));
    restore(&scene.room, &manifest).await.expect("puts back");
    assert_eq!(picture(&tree), expect);
    let marker = Marker::read(&scene.room.volume, manifest.subject.execution_id).expect("reads").expect("is there");
    assert_eq!(marker.saved, Some(manifest.checkpoint_id));
}

#[tokio::test]
async fn where_nothing_changed_there_is_a_manifest_and_nothing_else() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, "touch README; cat README > copy; rm copy").await;
    let manifest = newest(&scene);
    assert_eq!((manifest.files, manifest.deleted.len(), &manifest.listing), (0, 0, &None));
    let held = names_below(&scene.room.volume.checkpoint(manifest.checkpoint_id));
    assert_eq!(held, [PathBuf::from(MANIFEST)]);
}

#[tokio::test]
async fn every_kind_of_damage_is_noticed() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, SCRIPT).await;
    let manifest = newest(&scene);
    let directory = scene.room.volume.checkpoint(manifest.checkpoint_id);
    for name in [MANIFEST, LISTING] {
        let whole = fs::read(directory.join(name)).expect("reads");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x80;
        for damaged in [&b""[..], &whole[..whole.len() - 1], &flipped] {
            fs::write(directory.join(name), damaged).expect("writes");
            verify(&scene.room.volume, manifest.checkpoint_id).expect_err("damaged");
        }
        fs::remove_file(directory.join(name)).expect("removes");
        verify(&scene.room.volume, manifest.checkpoint_id).expect_err("missing");
        fs::write(directory.join(name), &whole).expect("writes");
    }
    verify(&scene.room.volume, manifest.checkpoint_id).expect("whole again");
}

#[tokio::test]
async fn half_a_checkpoint_is_gone_after_a_restart() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, "true").await;
    let whole = scene.room.volume.checkpoint_ids().expect("lists");
    let half = scene.room.volume.unfinished(&scene.room.volume.checkpoint(whole[0]));
    volume::make_private(&half).expect("makes");
    let scene = scene.reopened().await;
    assert!(!half.exists());
    assert_eq!(scene.room.volume.checkpoint_ids().expect("lists"), whole);
}

#[tokio::test]
async fn a_hostile_manifest_removes_nothing_outside_the_workspace() {
    let (mut scene, remote) = (Scene::new().await, Remote::with(&[("README", "x")]).await);
    scene.run(&remote, "rm README").await;
    let mut manifest = newest(&scene);
    let outside = scene.directory.path().join("outside");
    fs::write(&outside, "precious").expect("writes");
    for path in [PathBuf::from("../../../outside"), outside.clone()] {
        manifest.deleted[0] = RelativePath::new(&path);
        restore(&scene.room, &manifest).await.expect_err("refused");
        assert_eq!(fs::read_to_string(&outside).expect("reads"), "precious");
    }
}

#[tokio::test]
async fn what_checkpoints_share_is_stored_once_and_goes_with_the_last_of_them() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let noise = "head -c 3000000 /dev/urandom > noise";
    scene.run(&remote, noise).await;
    let large = newest(&scene);
    assert!(large.stored_bytes > 2_900_000, "{}", large.stored_bytes);
    let kept = scene.room.volume.workspace(large.subject.execution_id).join("noise");
    let again = fs::read(&kept).expect("reads");
    let shared = scene.directory.path().join("shared");
    fs::write(&shared, &again).expect("writes");
    scene.run(&remote, &format!("cp {} noise; echo more > more", shared.display())).await;
    let second = newest(&scene);
    assert!(second.files == 2 && second.stored_bytes < 1_000, "{}", second.stored_bytes);
    for round in 0..5 {
        scene.run(&remote, &format!("echo {round} > small")).await;
    }
    let store = Store::new(&scene.room.volume.chunks()).expect("opens");
    assert!(store.bytes().expect("adds") < 10_000);
}

#[tokio::test]
async fn ids_go_on_when_the_clock_is_put_back() {
    let scene = Scene::new().await;
    let late = CheckpointId::mint(scene.room.clock.now() + chrono::TimeDelta::days(1), [0xff; 10]);
    volume::make_private(&scene.room.volume.checkpoint(late)).expect("makes");
    assert!(next_id(&scene.room).expect("mints") > late);
}
