//! Trees that are gone on with, and workspaces that are mended where they are.

use std::collections::BTreeMap;

use wire::event::{Event, kind};
use wire::execution::Outcome;
use wire::id::ExecutionId;

use super::super::tests::{SCRIPT, halting_git, newest, picture, remote};
use super::super::{pin, restore, verify};
use super::*;
use crate::health;
use crate::testing::{PATIENCE, Remote, Scene, kinds, names_below, until};

/// What a command does to a workspace that began from a checkpoint of `SCRIPT`.
const SPOILS: &str = r"
    echo spoilt > README; echo spoilt > new/deep/file; rm empty; echo more >> src/lib.txt; echo odd > gone
    echo no > ignored; mkdir node_modules; echo no > node_modules/x; mkfifo other-pipe; mkdir -p left/empty
    rm -r becomes-directory; ln -s /etc becomes-directory; rm becomes-link; mkdir becomes-link; echo x > becomes-link/x
    ln .gitignore second-name; chmod 0777 new; chmod 4755 new/plain; echo more > nested/more
    echo '*' > .gitignore; echo '[core] fsmonitor = touch /tmp/never' >> .git/config
    mkdir -p .git/hooks; echo exit 1 > .git/hooks/pre-commit; git checkout -q -b elsewhere
";

async fn scene() -> (Scene, Remote) {
    let scene = Scene::with(|config| {
        config.limits.spares = 0;
        let bin = halting_git(config.sprite_dir.parent().expect("has one"));
        let path = format!("{}:{}", bin.display(), config.tool_environment["PATH"]);
        config.tool_environment.insert("PATH".into(), path);
    });
    let (mut scene, remote) = (scene.await, remote().await);
    scene.run(&remote, &format!("{SCRIPT}\necho plain > new/plain; echo kept > new/kept")).await;
    (scene, remote)
}

/// Runs a script in a workspace that begins from a checkpoint; whether the checkpoint was put back in place.
async fn begin(scene: &mut Scene, remote: &Remote, manifest: &Manifest, script: &str) -> (ExecutionId, bool) {
    let mut lease = scene.lease(remote, None, &["sh", "-c", script]);
    lease.spec.checkpoint = Some(manifest.checkpoint_id);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(completion.expect("told").outcome, Outcome::Succeeded);
    until(async || scene.room.background.is_idle()).await;
    (lease.execution_id, is_in_place(&events))
}

fn is_in_place(events: &[Event]) -> bool {
    let restored = events.iter().find(|event| event.kind == kind::CHECKPOINT_RESTORED);
    restored.is_some_and(|event| event.payload.get().contains(r#""in_place":true"#))
}

fn inodes(tree: &Path) -> BTreeMap<PathBuf, u64> {
    let inode = |path: PathBuf| Some((path.clone(), fs::symlink_metadata(tree.join(path)).ok()?.ino()));
    picture(tree).into_keys().filter_map(inode).collect()
}

#[tokio::test]
async fn a_task_that_begins_from_a_checkpoint_goes_on_in_the_tree_of_the_one_before_as_if_it_was_a_new_one() {
    let (mut scene, remote) = scene().await;
    let first = newest(&scene);
    let home = scene.room.volume.workspace(first.subject.execution_id);
    restore(&scene.room, &first).await.expect("puts back");
    let (expect, directories) = (picture(&home), directories(&home));
    let (second, _) = begin(&mut scene, &remote, &first, SPOILS).await;
    let before = inodes(&scene.room.volume.workspace(second));
    let (third, is_in_place) = begin(&mut scene, &remote, &first, "git status --porcelain > /dev/null").await;
    let tree = scene.room.volume.workspace(third);
    assert!(is_in_place);
    assert_eq!((picture(&tree), self::directories(&tree)), (expect, directories));
    let stayed: Vec<PathBuf> = inodes(&tree)
        .into_iter()
        .filter(|(path, inode)| before.get(path) == Some(inode))
        .map(|(path, _)| path)
        .collect();
    let touched =
        ["README", "new/deep/file", "empty", "src/lib.txt", "becomes-directory/file", "becomes-link", "new/plain"];
    assert!(touched.iter().all(|name| !stayed.contains(&name.into())), "{stayed:?}");
    for name in ["new/link", "new/dangling", "new/kept", "nested/file"] {
        assert!(stayed.contains(&name.into()), "{name}: {stayed:?}");
    }
    let text = |name: &str| fs::read_to_string(tree.join(name)).expect("reads");
    assert_eq!(text(".gitignore"), "ignored\n");
    assert!(!text(".git/config").contains("fsmonitor") && !tree.join(".git/hooks").exists());
    assert_eq!(text(".git/HEAD"), format!("{}\n", first.commit));
    // It is saved like any other, and what was taken over is gone.
    assert_eq!(newest(&scene).files, first.files);
    assert!(!scene.room.volume.workspace(second).exists() && !scene.room.volume.execution(second).exists());
}

fn directories(tree: &Path) -> BTreeMap<PathBuf, u32> {
    let names = names_below(tree).into_iter().filter(|name| !name.starts_with(".git"));
    let mode = |name: PathBuf| {
        let meta = fs::symlink_metadata(tree.join(&name)).expect("is there");
        meta.is_dir().then(|| (name, meta.mode()))
    };
    names.filter_map(mode).collect()
}

#[tokio::test]
async fn a_tree_with_submodules_or_of_another_commit_is_not_gone_on_with() {
    let (mut scene, remote) = scene().await;
    let first = newest(&scene);
    remote.commit(&[("later", "x")]).await;
    scene.run(&remote, "true").await;
    let (_, is_in_place) = begin(&mut scene, &remote, &first, "test ! -e later && cat new/kept").await;
    assert!(!is_in_place);
    let inner = Remote::with(&[("inner", "x")]).await;
    remote.git(&["submodule", "--quiet", "add", &inner.url(), "module"]).await;
    remote.commit(&[]).await;
    scene.run(&remote, "echo made > made").await;
    let with_module = newest(&scene);
    let (id, is_in_place) = begin(&mut scene, &remote, &with_module, "cat made module/inner").await;
    assert!(!is_in_place && !scene.room.volume.execution(id).join("former").exists());
}

#[tokio::test]
async fn a_damaged_workspace_is_mended_where_it_is_and_what_was_damaged_is_kept() {
    let (mut scene, _remote) = scene().await;
    let manifest = newest(&scene);
    let tree = scene.room.volume.workspace(manifest.subject.execution_id);
    let (expect, before) = (picture(&tree), inodes(&tree));
    for (name, text) in [("new/kept", "precious"), ("src/lib.txt", "other"), ("stray", "stray"), ("gone", "a file")] {
        fs::write(tree.join(name), text).expect("writes");
    }
    fs::remove_file(tree.join("empty")).expect("removes");
    let room = scene.room.clone();
    let ((), events) = scene.collect(health::check(&room)).await;
    assert_eq!(kinds(&events), [kind::VOLUME_DAMAGED, kind::CHECKPOINT_RESTORED, kind::VOLUME_CHECKED]);
    assert!(is_in_place(&events));
    assert_eq!(picture(&tree), expect);
    let moved: Vec<PathBuf> = inodes(&tree)
        .into_iter()
        .filter(|(path, inode)| before.get(path) != Some(inode))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(moved, ["empty", "new/kept", "src/lib.txt"].map(PathBuf::from));
    let aside = scene.room.volume.root().join("quarantine");
    let kept = |name: &str| names_below(&aside).into_iter().find(|path| path.ends_with(name)).expect(name);
    for (name, text) in [("new/kept", "precious"), ("src/lib.txt", "other"), ("stray", "stray"), ("gone", "a file")] {
        assert_eq!(fs::read_to_string(aside.join(kept(name))).expect("reads"), text);
    }
    kept(".git/HEAD");
    let ((), events) = scene.collect(health::check(&room)).await;
    assert_eq!(kinds(&events), [kind::VOLUME_CHECKED]);
}

/// Does it again and again, each time killed at a later call of git, until it is not killed any more; how often it was.
async fn killed_ever_later(scene: &mut Scene, mut attempt: impl AsyncFnMut(&mut Scene, usize)) -> usize {
    let halted = scene.directory.path().join("halted");
    for call in 1.. {
        attempt(scene, call).await;
        match halted.exists() {
            true => fs::remove_file(&halted).expect("removes"),
            false => return call - 1,
        }
    }
    unreachable!("some call is the last")
}

/// Goes on until it is done or git was called so often; then it is dropped where it stands, as a kill does.
async fn until_killed<T>(scene: &mut Scene, call: usize, work: impl Future<Output = T>) -> Option<T> {
    let [left, halted] = ["left", "halted"].map(|name| scene.directory.path().join(name));
    fs::write(&left, format!("{call}\n")).expect("writes");
    let work = Box::pin(work);
    let either = async {
        tokio::select! {
            done = work => Some(done),
            () = until(async || halted.exists()) => None,
        }
    };
    let done = tokio::time::timeout(PATIENCE, scene.collect(either)).await.expect("begins").0;
    fs::remove_file(&left).expect("removes");
    done
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_mends_a_workspace_mends_it_when_it_starts_again() {
    let (mut scene, _remote) = scene().await;
    let manifest = newest(&scene);
    let tree = scene.room.volume.workspace(manifest.subject.execution_id);
    let expect = picture(&tree);
    let kills = killed_ever_later(&mut scene, async |scene, call| {
        fs::write(tree.join("new/kept"), "damaged").expect("writes");
        fs::write(tree.join("README"), "damaged").expect("writes");
        let room = scene.room.clone();
        until_killed(scene, call, health::check(&room)).await;
        scene.collect(health::check(&room)).await;
        assert_eq!(picture(&tree), expect, "{call}");
        assert_eq!(newest(scene), manifest, "{call}");
    });
    assert!(kills.await > 5);
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_goes_on_in_the_tree_of_the_task_before_has_lost_nothing() {
    let (mut scene, remote) = scene().await;
    let first = newest(&scene);
    // More executions follow than checkpoints are kept.
    pin(&scene.room.volume, first.checkpoint_id, true).expect("pins");
    let kills = killed_ever_later(&mut scene, async |scene, call| {
        begin(scene, &remote, &first, "echo spoilt > new/kept; echo more > more").await;
        let second = newest(scene);
        let mut lease = scene.lease(&remote, None, &["cat", "new/kept"]);
        lease.spec.checkpoint = Some(first.checkpoint_id);
        let room = scene.room.clone();
        until_killed(scene, call, crate::execution::carry_out(&room, &lease, Orders::none())).await;
        let ((), events) = scene.collect(health::check(&room)).await;
        assert!(!kinds(&events).contains(&kind::VOLUME_DAMAGED), "{call}: {events:?}");
        for manifest in [&first, &second] {
            verify(&scene.room.volume, manifest.checkpoint_id).expect("whole");
        }
        begin(scene, &remote, &first, "test $(cat new/kept) = kept && test ! -e more").await;
    });
    assert!(kills.await > 5);
}
