//! Saving and putting back, with everything a tree can hold.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use wire::worker::repository_name;

use super::prune::outdated;
use super::*;
use crate::orders::{Halt, Pulse};
use crate::testing::{Remote, Scene, SmallVolume, git, names_below};
use crate::workspace::Marker;

/// Every file and link of a tree but git's own, with its mode and content.
pub(super) fn picture(tree: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
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

pub(super) fn newest(scene: &Scene) -> Manifest {
    let id = scene.room.volume.checkpoint_ids().expect("lists").pop().expect("one");
    verify(&scene.room.volume, id).expect("whole")
}

pub(super) const SCRIPT: &str = r#"
    echo changed >> src/lib.txt; chmod +x README; rm gone/with-its-directory; rmdir gone
    mkdir -p new/deep; echo new > new/deep/file; ln -s ../README new/link; ln -s /nowhere new/dangling
    printf x > "$(printf 'odd-\377-name')"; echo no > ignored; mkdir node_modules; echo no > node_modules/x
    rm becomes-directory; mkdir becomes-directory; echo in > becomes-directory/file
    rm becomes-link; ln -s README becomes-link; mkfifo pipe; : > empty
    git init -q nested; echo kept > nested/file
    printf '%0200d' 7 > "$(printf '%0150d' 0)"
"#;

pub(super) async fn remote() -> Remote {
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
    let half = volume::unfinished(&scene.room.volume.checkpoint(whole[0]));
    kit::files::make_private(&half).expect("makes");
    let scene = scene.reopened().await;
    assert!(!half.exists());
    assert_eq!(scene.room.volume.checkpoint_ids().expect("lists"), whole);
}

#[tokio::test]
async fn a_checkpoint_that_alone_has_work_is_kept_whatever_else_is_saved_and_told_of() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    // More than a commit is made of.
    scene.run(&remote, "truncate -s 33M large").await;
    let (large, id) = (newest(&scene), scene.room.volume.checkpoint_ids().expect("lists")[0]);
    assert!(large.uncommitted.is_some() && large.unpushed.is_empty());
    scene.run(&remote, "git checkout -q -b fix; echo x > x; git add x; git commit -qm x").await;
    let branch = newest(&scene);
    for _ in 0..6 {
        scene.run(&remote, "true").await;
    }
    let ids = scene.room.volume.checkpoint_ids().expect("lists");
    assert!(ids.contains(&id) && !ids.contains(&branch.checkpoint_id) && ids.len() == 6, "{ids:?}");
    let told: Vec<_> = kept_work(&scene.room.volume).expect("lists").into_iter().map(|work| work.reference).collect();
    assert_eq!(branch.unpushed.len(), 2, "where it stood, and its branch");
    let of_branch = branch.unpushed.iter().cloned();
    let expect: Vec<String> = of_branch.chain([format!("checkpoints/{id}")]).collect();
    assert_eq!(told, expect);
    // What is merged is told of no more, once the next work is saved.
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    remote
        .git(&[
            "fetch",
            "--quiet",
            mirror.to_str().expect("text"),
            &format!("{}:refs/heads/merged", branch.unpushed[0]),
        ])
        .await;
    scene.run(&remote, "echo y > y").await;
    let told = kept_work(&scene.room.volume).expect("lists");
    assert!(told.iter().all(|work| work.execution_id != branch.subject.execution_id), "{told:?}");
}

#[tokio::test]
async fn what_was_not_committed_is_a_commit_of_the_mirror() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let script = "echo changed >> src/lib.txt; rm README; echo new > \"$(printf 'a \"b\\nc')\"; ln -s x link; chmod +x .gitignore";
    scene.run(&remote, script).await;
    let manifest = newest(&scene);
    let wip = format!("refs/bifrost/wip/{}", manifest.subject.execution_id);
    assert_eq!(manifest.unpushed, std::slice::from_ref(&wip));
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let listed = git(&mirror, &["ls-tree", "-r", "--format=%(objectmode) %(path)", &wip]).await;
    let expect = [
        "100755 .gitignore",
        "100644 \"a \\\"b\\nc\"",
        "100644 becomes-directory",
        "100644 becomes-link",
        "100644 gone/with-its-directory",
        "120000 link",
        "100644 src/lib.txt",
    ];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expect);
    assert_eq!(git(&mirror, &["show", &format!("{wip}:src/lib.txt")]).await, "one\nchanged");
    assert_eq!(git(&mirror, &["rev-parse", &format!("{wip}^")]).await, manifest.commit);
}

#[tokio::test]
async fn uncommitted_work_stands_on_the_commits_before_it_and_both_are_given_back() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let who = "git config user.name n; git config user.email e@example.org";
    let commit = "git checkout -q -b fix; git rm -q README; echo two > two; git add two; git commit -q -m two";
    scene.run(&remote, &format!("{who}; {commit}; echo three > three; echo more >> two")).await;
    let manifest = newest(&scene);
    let id = manifest.subject.execution_id;
    let (wip, branch) = (format!("refs/bifrost/wip/{id}"), format!("refs/bifrost/branches/{id}/fix"));
    assert_eq!(manifest.unpushed, [wip.clone(), branch.clone()]);
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let fix = git(&mirror, &["rev-parse", &branch]).await;
    assert_eq!(git(&mirror, &["rev-parse", &format!("{wip}^")]).await, fix);
    assert_eq!(git(&mirror, &["show", &format!("{wip}:two")]).await, "two\nmore");
    let tree = scene.room.volume.workspace(id);
    let expect = picture(&tree);
    restore(&scene.room, &manifest).await.expect("puts back");
    assert_eq!(picture(&tree), expect);
    assert_eq!(git(&tree, &["symbolic-ref", "HEAD"]).await, "refs/heads/fix");
    assert_eq!(git(&tree, &["rev-parse", "HEAD"]).await, fix);
    assert_eq!(git(&tree, &["status", "--porcelain"]).await, "M two\n?? three");
}

#[tokio::test]
async fn unfinished_work_is_pushed_where_that_is_wanted_and_stays_where_it_cannot_be() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let mut lease = scene.lease(&remote, None, &["sh", "-c", "echo new > new"]);
    lease.spec.push_unfinished = true;
    scene.carry_out(&lease, Orders::none()).await;
    let wip = format!("refs/bifrost/wip/{}", lease.execution_id);
    assert_eq!(remote.git(&["show", &format!("{wip}:new")]).await, "new");
    // Such a repository takes no references of this kind.
    remote.git(&["config", "transfer.hideRefs", "refs/bifrost"]).await;
    let mut refused = scene.lease(&remote, None, &["sh", "-c", "echo new > new"]);
    refused.spec.push_unfinished = true;
    let (completion, events) = scene.carry_out(&refused, Orders::none()).await;
    assert_eq!(completion.expect("told").outcome, wire::execution::Outcome::Succeeded);
    let told = events.iter().find(|event| event.kind == kind::WORK_NOT_PUSHED).expect("told");
    assert!(told.payload.get().contains(&refused.execution_id.to_string()), "{}", told.payload);
    assert_eq!(newest(&scene).unpushed, [format!("refs/bifrost/wip/{}", refused.execution_id)]);
    let there = remote.git(&["-c", "transfer.hideRefs=", "for-each-ref", "refs/bifrost/wip"]).await;
    assert_eq!(there.lines().count(), 1, "{there}");
}

#[tokio::test]
async fn unfinished_work_of_a_lease_that_turns_out_lost_is_pushed_nowhere_and_kept() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let pulse = Arc::new(Pulse::default());
    let (commander, orders) = Orders::new();
    let mut lease = scene.lease(&remote, None, &["sh", "-c", "echo new > new"]);
    lease.spec.push_unfinished = true;
    let room = scene.room.clone();
    let working = crate::execution::carry_out(&room, &lease, orders.under(Arc::clone(&pulse)));
    // A machine that slept hears of it only because it asks.
    let hearing = async {
        pulse.wanted().await;
        commander.halt(Halt::LeaseLost);
    };
    let ((completion, ()), events) = scene.collect(async { tokio::join!(working, hearing) }).await;
    assert_eq!(completion, None);
    assert!(!crate::testing::kinds(&events).contains(&kind::WORK_NOT_PUSHED), "nothing is said any more");
    assert_eq!(remote.git(&["for-each-ref", "refs/bifrost"]).await, "");
    let kept = kept_work(&scene.room.volume).expect("lists");
    let expect = format!("refs/bifrost/wip/{}", lease.execution_id);
    assert_eq!(kept.into_iter().map(|work| work.reference).collect::<Vec<_>>(), [expect]);
}

#[tokio::test]
async fn unfinished_work_that_a_small_volume_of_the_remote_has_no_room_for_stays_here_whole() {
    let small = SmallVolume::mount(8);
    let remote = Remote::in_directory(small.directory(), &[("README", "hello\n")]).await;
    let mut scene = Scene::new().await;
    let mut lease = scene.lease(&remote, None, &["sh", "-c", "head -c 12000000 /dev/urandom > noise"]);
    lease.spec.push_unfinished = true;
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let completion = completion.expect("told");
    assert_eq!((completion.outcome, completion.message), (wire::execution::Outcome::Succeeded, None));
    let told = events.iter().find(|event| event.kind == kind::WORK_NOT_PUSHED).expect("told");
    assert!(told.payload.get().contains("No space left on device"), "{}", told.payload);
    assert_eq!(remote.git(&["for-each-ref", "refs/bifrost"]).await, "");
    let manifest = newest(&scene);
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    assert_eq!(git(&mirror, &["cat-file", "-s", &format!("{}:noise", manifest.unpushed[0])]).await, "12000000");
    // The remote is none the worse for it, and takes what it has room for.
    remote.git(&["fsck", "--strict"]).await;
    lease = scene.lease(&remote, None, &["sh", "-c", "echo little > little"]);
    lease.spec.push_unfinished = true;
    scene.carry_out(&lease, Orders::none()).await;
    let wip = format!("refs/bifrost/wip/{}", lease.execution_id);
    assert_eq!(remote.git(&["show", &format!("{wip}:little")]).await, "little");
}

#[tokio::test]
async fn a_reference_goes_once_its_work_is_on_a_branch_of_the_remote() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let who = "git config user.name n; git config user.email e@example.org";
    let (first, _) =
        scene.run(&remote, &format!("{who}; git checkout -q -b fix; echo x > x; git add x; git commit -q -m x")).await;
    assert_eq!(first.outcome, wire::execution::Outcome::Succeeded);
    let kept = newest(&scene);
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let list = async || {
        git(&mirror, &["for-each-ref", "--format=%(refname)", "refs/bifrost/wip", "refs/bifrost/branches"]).await
    };
    assert_eq!(list().await.lines().count(), 2);
    let wip = format!("refs/bifrost/wip/{}", kept.subject.execution_id);
    git(&mirror, &["push", "-q", &remote.url(), &format!("{wip}:refs/heads/merged")]).await;
    scene.run(&remote, "echo y > y").await;
    assert_eq!(list().await, format!("refs/bifrost/wip/{}", newest(&scene).subject.execution_id));
}

#[tokio::test]
async fn a_task_begins_where_a_checkpoint_of_another_execution_ended() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, "echo from the first > made; rm README").await;
    let first = newest(&scene);
    remote.commit(&[("later", "x")]).await;
    let mut lease = scene.lease(&remote, None, &["sh", "-c", "cat made; test ! -e README && test ! -e later"]);
    lease.spec.checkpoint = Some(first.checkpoint_id);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let completion = completion.expect("told");
    assert_eq!(
        (completion.outcome, completion.commit),
        (wire::execution::Outcome::Succeeded, Some(first.commit.clone()))
    );
    assert_eq!(crate::testing::output(&events, wire::event::Stream::Stdout), "from the first\n");
    assert!(crate::testing::kinds(&events).contains(&kind::CHECKPOINT_RESTORED));
    let saved = completion.checkpoint.expect("saved");
    assert_eq!((saved.files, saved.deleted, saved.changes.len()), (1, 1, 2));
    // A checkpoint that is gone, or damaged, is told by name; nothing runs instead.
    fs::write(scene.room.volume.checkpoint(first.checkpoint_id).join(LISTING), "bad").expect("writes");
    let unknown = CheckpointId::mint(scene.room.clock.now(), [9; 10]);
    for (id, expect) in [(first.checkpoint_id, "damaged"), (unknown, "is gone: it is not on this machine")] {
        let mut lease = scene.lease(&remote, None, &["true"]);
        lease.spec.checkpoint = Some(id);
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        let completion = completion.expect("told");
        assert_eq!(completion.failure, Some(wire::execution::Failure::CheckpointGone));
        let message = completion.message.expect("says why");
        assert!(message.contains(expect), "{message}");
    }
}

#[tokio::test]
async fn of_a_workspace_that_began_from_a_checkpoint_only_what_was_touched_since_is_read_to_save_it() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, "for n in 1 2 3 4 5; do echo $n > $n; done").await;
    let mut lease = scene.lease(&remote, None, &["true"]);
    lease.spec.checkpoint = Some(newest(&scene).checkpoint_id);
    scene.carry_out(&lease, Orders::none()).await;
    // As if it was not saved yet.
    let saved = newest(&scene);
    let restored = listing(&scene.room.volume, &saved).expect("reads").expect("has files");
    fs::remove_dir_all(scene.room.volume.checkpoint(saved.checkpoint_id)).expect("removes");
    let mut marker = Marker::read(&scene.room.volume, lease.execution_id).expect("reads").expect("is there");
    assert!(marker.begun.is_some());
    let paths = marker.paths(&scene.room.volume);
    let read_of = async |marker: &Marker| {
        let changes = changes::find(&scene.room.git, &paths).await.expect("looks");
        let stored = store(&scene.room, marker, &paths.tree, &changes).expect("stores").expect("has files");
        (stored.listing.entries().iter().map(snapshot::Entry::digest).collect::<Vec<_>>(), stored.read)
    };
    // Until the clock has gone on far enough for a change of the last file to show.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while read_of(&marker).await.1 > 0 {
        assert!(std::time::Instant::now() < deadline);
        marker.begun = Some(restored.clone().write_for(&paths.tree, &paths.own().join(BEGUN)).expect("writes"));
    }
    for (name, text) in [("1", "other"), ("2", "2\n"), ("new", "new")] {
        fs::write(paths.tree.join(name), text).expect("writes");
    }
    fs::remove_file(paths.tree.join("3")).expect("removes");
    let (digests, read) = read_of(&marker).await;
    assert_eq!(read, 3);
    marker.begun = None;
    assert_eq!(read_of(&marker).await, (digests, 5));
}

/// A git that, where told to by a file with the number of a call, says that it was called and goes no further.
pub(super) fn halting_git(directory: &Path) -> PathBuf {
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    let (bin, at) = (directory.join("bin"), directory.display());
    let script = format!(
        "#!/bin/sh\nif read -r left 2> /dev/null < {at}/left; then\n  \
         [ \"$left\" = 1 ] && {{ touch {at}/halted; exec sleep 600; }}\n  echo $((left - 1)) > {at}/left\nfi\n\
         PATH='{path}' exec git \"$@\"\n"
    );
    fs::create_dir(&bin).expect("makes");
    fs::write(bin.join("git"), script).expect("writes");
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).expect("sets");
    bin
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_puts_a_workspace_back_has_lost_nothing() {
    let scene = Scene::with(|config| {
        let bin = halting_git(config.sprite_dir.parent().expect("has one"));
        let path = format!("{}:{}", bin.display(), config.tool_environment["PATH"]);
        config.tool_environment.insert("PATH".into(), path);
    });
    let (mut scene, remote) = (scene.await, remote().await);
    let who = "git config user.name n; git config user.email e@example.org";
    scene.run(&remote, &format!("{who}; echo x > x; git add x; git commit -qm x; echo made > made; rm README")).await;
    let manifest = newest(&scene);
    let tree = scene.room.volume.workspace(manifest.subject.execution_id);
    let expect = picture(&tree);
    let [left, halted] = ["left", "halted"].map(|name| scene.directory.path().join(name));
    let mut kills = 0;
    for call in 1.. {
        fs::write(&left, format!("{call}\n")).expect("writes");
        let is_back = {
            let restoring = restore(&scene.room, &manifest);
            tokio::pin!(restoring);
            let is_halted = crate::testing::until(async || halted.exists());
            tokio::select! {
                restored = &mut restoring => restored.map(|()| true).expect("puts back"),
                is_halted = tokio::time::timeout(crate::testing::PATIENCE, is_halted) => is_halted.map(|()| false).expect("begins"),
            }
            // Dropped where it stands, as a kill does.
        };
        fs::remove_file(&left).expect("removes");
        if is_back {
            break;
        }
        fs::remove_file(&halted).expect("removes");
        kills += 1;
        let room = scene.room.clone();
        scene.collect(health::check(&room)).await;
        // What is half put back is nobody's work, and what it is put back from is there.
        assert_eq!(newest(&scene), manifest, "{call}");
        assert!(!tree.exists() || picture(&tree) == expect, "{call}");
    }
    assert!(kills > 2, "{kills}");
    assert_eq!(picture(&tree), expect);
    let room = scene.room.clone();
    let ((), events) = scene.collect(health::check(&room)).await;
    assert_eq!(crate::testing::kinds(&events), [kind::VOLUME_CHECKED]);
}

#[tokio::test]
async fn a_pinned_checkpoint_outlives_those_saved_after_it() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    scene.run(&remote, "echo precious > made").await;
    let first = newest(&scene);
    pin(&scene.room.volume, first.checkpoint_id, true).expect("pins");
    for round in 0..7 {
        scene.run(&remote, &format!("echo {round} > made")).await;
    }
    let there = held(&scene.room.volume).expect("lists");
    assert_eq!(there.len(), 6);
    assert_eq!(there.iter().filter(|one| one.pinned).map(|one| one.id).collect::<Vec<_>>(), [first.checkpoint_id]);
    verify(&scene.room.volume, first.checkpoint_id).expect("whole");
    pin(&scene.room.volume, first.checkpoint_id, false).expect("unpins");
    scene.run(&remote, "echo last > made").await;
    let there = held(&scene.room.volume).expect("lists");
    assert!(there.len() == 5 && there.iter().all(|one| one.id != first.checkpoint_id), "{there:?}");
}

#[tokio::test]
async fn on_a_full_small_volume_nothing_half_is_saved_and_the_workspace_stays_until_it_can_be() {
    let small = SmallVolume::mount(24);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = remote().await;
    let (completion, _) = scene.run(&remote, "head -c 15000000 /dev/urandom > noise").await;
    assert_eq!((completion.outcome, completion.checkpoint), (wire::execution::Outcome::Succeeded, None));
    let volume = scene.room.volume.clone();
    assert_eq!(volume.checkpoint_ids().expect("lists"), []);
    let chunks = names_below(&volume.chunks());
    assert!(chunks.iter().all(|name| name.extension().is_none()), "{chunks:?}");
    let id = volume.execution_ids().expect("lists")[0];
    let noise = volume.workspace(id).join("noise");
    assert_eq!(fs::metadata(&noise).expect("stays").len(), 15_000_000);
    fs::File::options().write(true).open(&noise).expect("opens").set_len(1_000_000).expect("makes room");
    let room = scene.room.clone();
    scene.collect(health::settle_all(&room)).await;
    assert_eq!(newest(&scene).files, 1);
}

#[tokio::test]
async fn on_a_full_small_volume_nothing_is_put_back_and_the_checkpoint_stays_whole() {
    let small = SmallVolume::mount(40);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = remote().await;
    scene.run(&remote, "head -c 9000000 /dev/urandom > noise").await;
    let manifest = newest(&scene);
    let filler = scene.room.volume.root().join("filler");
    fs::write(scene.room.volume.workspace(manifest.subject.execution_id).join("noise"), "damaged").expect("writes");
    let space = nix::sys::statvfs::statvfs(scene.room.volume.root()).expect("tells");
    let free = usize::try_from(space.blocks_available() * space.fragment_size()).expect("fits");
    fs::write(&filler, vec![7; free - 2_000_000]).expect("fills");
    let room = scene.room.clone();
    scene.collect(health::check(&room)).await;
    assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
    verify(&scene.room.volume, manifest.checkpoint_id).expect("whole");
    fs::remove_file(&filler).expect("removes");
    let mut lease = scene.lease(&remote, None, &["stat", "--format=%s", "noise"]);
    lease.spec.checkpoint = Some(manifest.checkpoint_id);
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(crate::testing::output(&events, wire::event::Stream::Stdout), "9000000\n");
}

#[test]
fn of_each_repository_the_newest_few_stay() {
    let id = |number: u128| CheckpointId::from(uuid::Uuid::from_u128(number));
    let checkpoints: Vec<(CheckpointId, String)> =
        (0..10).map(|number| (id(number), if number % 5 == 0 { "rare" } else { "often" }.to_owned())).collect();
    assert_eq!(outdated(&checkpoints, 5, 100), [3, 2, 1].map(id));
    assert_eq!(outdated(&checkpoints, 2, 100), [7, 6, 4, 3, 2, 1].map(id));
    assert_eq!(outdated(&checkpoints, 5, 3), [6, 5, 4, 3, 2, 1, 0].map(id));
    assert_eq!(outdated(&[], 5, 100), []);
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
async fn an_older_checkpoint_that_is_damaged_is_set_aside_and_told_and_the_others_needless_chunks_go() {
    for (name, text) in [(LISTING, Some("bad")), (MANIFEST, Some("bad")), (LISTING, None), (MANIFEST, None)] {
        let (mut scene, remote) = (Scene::new().await, remote().await);
        scene.run(&remote, "head -c 3000000 /dev/urandom > noise").await;
        scene.run(&remote, "echo damaged > made").await;
        let damaged = newest(&scene).checkpoint_id;
        let path = scene.room.volume.checkpoint(damaged).join(name);
        text.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).expect("damages");
        let mut told = Vec::new();
        for round in 0..5 {
            told.extend(scene.run(&remote, &format!("echo {round} > made")).await.1);
        }
        let store = Store::new(&scene.room.volume.chunks()).expect("opens");
        assert!(store.bytes().expect("adds") < 10_000, "{name} {text:?}");
        let ids = scene.room.volume.checkpoint_ids().expect("lists");
        assert!(ids.len() == 5 && !ids.contains(&damaged), "{ids:?}");
        ids.into_iter().for_each(|id| drop(verify(&scene.room.volume, id).expect("whole")));
        let of_it = |event: &&wire::event::Event| event.payload.get().contains(&damaged.to_string());
        let told: Vec<_> = told.iter().filter(|event| event.kind == kind::VOLUME_DAMAGED).filter(of_it).collect();
        assert_eq!(told.len(), 1, "{name} {text:?}");
        let aside = names_below(&scene.room.volume.root().join("quarantine"));
        let is_kept = aside.iter().any(|path| path.to_string_lossy().contains(&damaged.to_string()));
        assert!(is_kept, "{aside:?}");
    }
}

#[tokio::test]
async fn what_a_checkpoint_of_another_version_may_need_stays() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    for script in ["head -c 3000000 /dev/urandom > noise", "echo newer > made"] {
        scene.run(&remote, script).await;
    }
    let of_another_version = |scene: &Scene| {
        let Manifest { checkpoint_id, repository, .. } = newest(scene);
        let manifest = serde_json::json!({ "version": VERSION + 1, "repository": repository });
        let directory = scene.room.volume.checkpoint(checkpoint_id);
        fs::write(directory.join(MANIFEST), manifest.to_string()).expect("writes");
        (checkpoint_id, directory.join(ALONE))
    };
    let (newer, alone) = of_another_version(&scene);
    fs::write(alone, "").expect("writes");
    scene.run(&remote, "echo another > made").await;
    let (other, alone) = of_another_version(&scene);
    volume::remove(&alone).expect("removes");
    for round in 0..7 {
        scene.run(&remote, &format!("echo {round} > made")).await;
    }
    assert!(!scene.room.volume.checkpoint_ids().expect("lists").contains(&other), "it goes in its turn");
    let store = Store::new(&scene.room.volume.chunks()).expect("opens");
    assert!(store.bytes().expect("adds") > 2_900_000);
    assert!(scene.room.volume.checkpoint_ids().expect("lists").contains(&newer));
    // Also where it is the newest, and there is no workspace that would be saved.
    for id in scene.room.volume.execution_ids().expect("lists") {
        workspace::discard(&scene.room, id).expect("removes");
    }
    let ids = scene.room.volume.checkpoint_ids().expect("lists").into_iter().filter(|id| *id != newer);
    ids.for_each(|id| fs::remove_dir_all(scene.room.volume.checkpoint(id)).expect("removes"));
    let room = scene.room.clone();
    scene.collect(health::check(&room)).await;
    assert!(scene.room.volume.checkpoint_ids().expect("lists").contains(&newer));
}

#[tokio::test]
async fn ids_go_on_when_the_clock_is_put_back() {
    let scene = Scene::new().await;
    let late = CheckpointId::mint(scene.room.clock.now() + TimeDelta::days(1), [0xff; 10]);
    kit::files::make_private(&scene.room.volume.checkpoint(late)).expect("makes");
    assert!(next_id(&scene.room).expect("mints") > late);
}

/// What a command can write so that git asks a remote, by a program of the command's, for an object that is missing.
const PROMISES: &str = r#"
    set -e
    git config user.name x; git config user.email x@example.org
    git clone --quiet --bare . "$TMPDIR/other"
    echo y > g; git add g; git commit --quiet --message=y; git branch kept
    object=$(git rev-parse HEAD:g)
    git push --quiet "$TMPDIR/other" HEAD:refs/heads/y
    printf '#!/bin/sh\ntouch "%s/asked"\nexec git-upload-pack "$@"\n' "$PLACE" > "$TMPDIR/up"; chmod +x "$TMPDIR/up"
    git config core.repositoryformatversion 1; git config extensions.partialClone other
    git config remote.other.url "$TMPDIR/other"; git config remote.other.promisor true
    git config remote.other.uploadpack "$TMPDIR/up"
    rm -f ".git/objects/$(echo $object | cut -c1-2)/$(echo $object | cut -c3-)"
"#;

#[tokio::test]
async fn a_workspace_whose_repository_promises_objects_has_no_program_of_it_run_with_any_git() {
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    for directories in [path.clone(), format!("/usr/bin:/bin:{path}")] {
        let scene = Scene::with(|config| {
            config.tool_environment.insert("PATH".into(), directories);
        });
        let (mut scene, remote) = (scene.await, remote().await);
        // As git before 2.45 does, which asks without being told to.
        let room = Arc::get_mut(&mut scene.room).expect("nobody else has it");
        room.git = room.git.with([("GIT_NO_LAZY_FETCH".to_owned(), "0".to_owned())].into());
        let place = scene.directory.path().join("place");
        fs::create_dir(&place).expect("makes");
        let mut lease = scene.lease(&remote, None, &["sh", "-c", PROMISES]);
        lease.spec.env.insert("PLACE".into(), place.to_string_lossy().into_owned());
        let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
        let said = crate::testing::output(&events, wire::event::Stream::Stderr);
        assert_eq!(completion.expect("not lost").outcome, wire::execution::Outcome::Succeeded, "{said}");
        assert!(!place.join("asked").exists(), "{said}");
    }
}

#[tokio::test]
async fn commits_in_a_repository_without_its_contents_are_kept_as_well() {
    let mut scene = Scene::with(|config| config.limits.partial_above = 0).await;
    let remote = remote().await;
    remote.commit(&[("README", "newer\n")]).await;
    for name in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        remote.git(&["config", name, "true"]).await;
    }
    let script = "git config user.name x; git config user.email x@example.org; echo y > src/lib.txt; git mv README R; \
                  git commit --quiet --all --message=one; git checkout --quiet -b fix; git reset --quiet --soft HEAD; \
                  git show HEAD~1:README > old; git add old; git commit --quiet --message=two";
    let (_, events) = scene.run(&remote, script).await;
    let manifest = newest(&scene);
    let said = crate::testing::output(&events, wire::event::Stream::Stderr);
    let id = manifest.subject.execution_id;
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let kept = git(&mirror, &["log", "--format=%s", &format!("refs/bifrost/branches/{id}/fix")]).await;
    assert_eq!(kept, "two\none\nwork\nwork", "{said}");
}

#[tokio::test]
async fn a_repository_that_leads_elsewhere_is_not_read_by_the_runner() {
    let (mut scene, remote) = (Scene::new().await, remote().await);
    let other = Remote::with(&[("secret", "of another\n")]).await;
    scene.run(&other, "true").await;
    let secret = other.git(&["rev-parse", "HEAD"]).await;
    let place = |remote: &Remote| scene.room.volume.mirror(&repository_name(&remote.url()));
    let (mirror, theirs) = (place(&remote), place(&other).display().to_string());
    for trick in [
        format!(
            "rm -rf .git/refs; ln -s {theirs}/refs .git/refs; echo {theirs}/objects > .git/objects/info/alternates"
        ),
        format!("echo {theirs}/objects >> .git/objects/info/alternates; echo {secret} > .git/refs/heads/kept"),
        format!(
            "rm -rf .git/objects/pack; ln -s {theirs}/objects/pack .git/objects/pack; echo {secret} > .git/refs/heads/kept"
        ),
        format!("rm -rf .git; ln -s {theirs} .git"),
        "rm -f .git/packed-refs; mkfifo .git/packed-refs".to_owned(),
        "rm -f .git/HEAD; mkfifo .git/HEAD".to_owned(),
    ] {
        let lease = scene.lease(&remote, None, &["sh", "-c", &format!("{trick}; true")]);
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(completion.expect("not lost").outcome, wire::execution::Outcome::Succeeded, "{trick}");
        let kept = git(&mirror, &["rev-list", "--all"]).await;
        assert!(!kept.contains(&secret), "{trick}: {kept}");
    }
}

/// Commits, and puts another object in the place of one that was committed: of a file, a tree, or the commit itself.
fn forging(what: &str) -> String {
    format!(
        "set -e; git config user.name x; git config user.email x@example.org\n\
         echo mine > mine; git add mine; git commit --quiet --message=mine\n\
         place() {{ echo .git/objects/$(echo $1 | cut -c1-2)/$(echo $1 | cut -c3-); }}\n\
         other=$(echo other | git hash-object -w --stdin); object=$(git rev-parse {what})\n\
         cp -f $(place $other) $(place $object)\n"
    )
}

#[tokio::test]
async fn commits_that_are_not_what_they_say_are_kept_nowhere_and_lost_nowhere() {
    for what in ["HEAD:mine", "HEAD^{tree}", "HEAD"] {
        let (mut scene, remote) = (Scene::new().await, remote().await);
        let mut lease = scene.lease(&remote, None, &["sh", "-c", &forging(what)]);
        lease.spec.push_unfinished = true;
        let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
        let completion = completion.expect("not lost");
        let said = crate::testing::output(&events, wire::event::Stream::Stderr);
        assert_eq!((completion.outcome, completion.checkpoint), (wire::execution::Outcome::Succeeded, None), "{said}");
        assert!(said.contains("no checkpoint could be saved"), "{what}: {said}");
        let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
        for place in [&mirror, remote.path()] {
            assert_eq!(git(place, &["for-each-ref", "refs/bifrost/wip", "refs/bifrost/branches"]).await, "", "{what}");
        }
        git(&mirror, &["fsck", "--strict"]).await;
        // The workspace is set aside before it would go, and that is told.
        let (_, events) = scene.run(&remote, "true").await;
        assert!(crate::testing::kinds(&events).contains(&kind::VOLUME_DAMAGED), "{what}");
        let aside = names_below(&scene.room.volume.root().join("quarantine"));
        assert!(aside.iter().any(|path| path.ends_with("mine")), "{what}: {aside:?}");
    }
}
