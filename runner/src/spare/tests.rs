//! Workspaces out of spares: as good as fresh ones, and never two out of one.

use std::time::Duration;

use super::*;
use crate::mirror::Told;
use crate::testing::{PATIENCE, Remote, Scene, git, names_below, output, subject, until};
use wire::event::Stream;
use wire::execution::Outcome;

/// Runs a script, and waits until the next execution's spare is there.
async fn run(scene: &mut Scene, remote: &Remote, script: &str) -> String {
    let (completion, events) = scene.run(remote, script).await;
    let said = output(&events, Stream::Stdout);
    assert_eq!(completion.outcome, Outcome::Succeeded, "{said}{}", output(&events, Stream::Stderr));
    let background = scene.room.background.clone();
    tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("gets ready");
    said
}

fn spares(scene: &Scene) -> Vec<PathBuf> {
    scene.room.volume.spares().expect("lists")
}

/// A mark on the spare by which it is known again in the workspace that is made of it.
fn mark(scene: &Scene, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(spares(scene)[0].join("tree").join(name)).expect("is there").ino()
}

#[tokio::test]
async fn the_next_workspace_is_the_spare_and_looks_like_a_fresh_one() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let look = "ls -i README | cut -d' ' -f1; git status --porcelain --ignored; git log -1 --format=%s; \
                git branch --all; git config --list --local; cat README src/lib.txt; ls -A .git/hooks; git fsck 2>&1";
    let fresh = run(&mut scene, &remote, look).await;
    let inode = mark(&scene, "README");
    let said = run(&mut scene, &remote, look).await;
    let without_inode = |said: &str| said.split_once('\n').expect("lines").1.to_owned();
    assert_eq!(said.lines().next(), Some(&*inode.to_string()));
    assert_eq!(without_inode(&said), without_inode(&fresh));
}

#[tokio::test]
async fn a_spare_is_brought_on_to_what_is_new_upstream() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    run(&mut scene, &remote, "true").await;
    let inode = mark(&scene, "src/lib.txt");
    remote.git(&["rm", "--quiet", "README"]).await;
    remote.commit(&[("new/file", "new\n")]).await;
    let look = "ls -A; ls -i src/lib.txt | cut -d' ' -f1; cat new/file; git status --porcelain";
    let said = run(&mut scene, &remote, look).await;
    assert_eq!(said, format!(".git\n.gitignore\nnew\nsrc\n{inode}\nnew\n"));
    // And back again, to a commit of long ago.
    let old = remote.git(&["rev-parse", "HEAD~1"]).await;
    let lease = scene.lease(&remote, Some(&old), &["sh", "-c", "ls; git status --porcelain"]);
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(output(&events, Stream::Stdout), "README\nsrc\n");
}

#[tokio::test]
async fn a_spare_whose_commit_is_gone_from_the_mirror_is_brought_on_all_the_same() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    run(&mut scene, &remote, "true").await;
    let (spare, inode) = (spares(&scene)[0].clone(), mark(&scene, "src/lib.txt"));
    let mut marker = read(&spare).expect("reads").expect("is whole");
    marker.commit = "0123456789abcdef0123456789abcdef01234567".into();
    fs::write(spare.join(MARKER), serde_json::to_vec(&marker).expect("plain")).expect("writes");
    remote.commit(&[("README", "newer\n")]).await;
    let said = run(&mut scene, &remote, "ls -i src/lib.txt | cut -d' ' -f1; cat README; git status --porcelain").await;
    assert_eq!(said, format!("{inode}\nnewer\n"));
}

#[tokio::test]
async fn nothing_that_ran_before_is_in_a_spare() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let dirty = "echo x > ignored; echo x > untracked; echo x >> README; git config user.name x; \
                 git update-index --assume-unchanged src/lib.txt; git sparse-checkout set --cone new; \
                 mkdir -p .git/hooks; echo x > .git/hooks/post-checkout; git branch b; git stash || true";
    run(&mut scene, &remote, dirty).await;
    run(&mut scene, &remote, dirty).await;
    let look = "ls -A . .git/hooks; git status --porcelain --ignored; git ls-files -v; git config --list --local | \
                grep -e user -e sparse; git branch; git stash list; cat README";
    let said = run(&mut scene, &remote, &format!("{look}; true")).await;
    let expect = ".:\n.git\n.gitignore\nREADME\nsrc\nH .gitignore\nH README\nH src/lib.txt\n* (no branch)\nhello\n";
    assert_eq!(said, expect);
}

#[tokio::test]
async fn two_executions_at_once_never_get_the_same_spare() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    run(&mut scene, &remote, "true").await;
    let scripts = ["echo one > README; cat README", "cat README"];
    let leases = scripts.map(|script| scene.lease(&remote, None, &["sh", "-c", script]));
    let room = scene.room.clone();
    let both = async {
        let create = async |lease: &wire::worker::Lease| {
            let story = crate::record::Story::new(room.recorder.clone(), subject(), Orders::none());
            let obtained = crate::mirror::obtain(&room, &story, &lease.spec, Told::ByFiles).await.expect("obtained");
            let url = &lease.spec.repository;
            workspace::create(&room, story.orders(), story.subject(), url, &obtained).await.expect("created")
        };
        tokio::join!(create(&leases[0]), create(&leases[1]))
    };
    let ((one, two), _) = scene.collect(both).await;
    assert_ne!(one.tree, two.tree);
    for paths in [one, two] {
        assert_eq!(git(&paths.tree, &["status", "--porcelain"]).await, "");
        assert_eq!(fs::read_to_string(paths.tree.join("README")).expect("reads"), "hello\n");
    }
    assert!(spares(&scene).is_empty());
}

#[tokio::test]
async fn a_spare_that_is_not_whole_is_no_spare() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    for damage in ["spare.json", "index", "tree", "tree/.git"] {
        run(&mut scene, &remote, "true").await;
        volume::remove(&spares(&scene)[0].join(damage)).expect("removes");
        let said = run(&mut scene, &remote, "git status --porcelain; cat README").await;
        assert_eq!(said, "hello\n", "{damage}");
    }
}

#[tokio::test]
async fn after_a_loss_of_power_a_spare_is_compared_with_its_commit() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    run(&mut scene, &remote, "true").await;
    let spare = spares(&scene)[0].clone();
    fs::write(spare.join("tree/README"), "").expect("empties");
    let mut marker = read(&spare).expect("reads").expect("is whole");
    marker.boot = "an earlier one".into();
    fs::write(spare.join(MARKER), serde_json::to_vec(&marker).expect("plain")).expect("writes");
    assert_eq!(run(&mut scene, &remote, "cat README; git status --porcelain").await, "hello\n");
}

#[tokio::test]
async fn what_a_killed_runner_was_building_is_gone_when_it_starts_again() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    run(&mut scene, &remote, "true").await;
    let spare = spares(&scene)[0].clone();
    fs::rename(&spare, volume::unfinished(&spare)).expect("as if it were half made");
    let mut scene = scene.reopened().await;
    assert!(names_below(&scene.room.volume.root().join("spares")).is_empty());
    assert_eq!(run(&mut scene, &remote, "cat README").await, "hello\n");
    assert_eq!(spares(&scene), [spare]);
}

#[tokio::test]
async fn only_so_many_spares_are_kept_and_none_where_none_is_wanted() {
    let mut scene = Scene::with(|config| config.limits.spares = 2).await;
    let remotes = [Remote::new().await, Remote::new().await, Remote::new().await];
    for remote in &remotes {
        run(&mut scene, remote, "true").await;
    }
    assert_eq!(spares(&scene).len(), 2);
    assert!(!scene.room.volume.spare(&repository_name(&remotes[0].url())).exists());
    let mut scene = Scene::with(|config| config.limits.spares = 0).await;
    run(&mut scene, &remotes[0], "true").await;
    assert!(spares(&scene).is_empty());
}

#[tokio::test]
async fn an_index_is_newer_than_its_files_once_their_second_is_over_and_no_change_is_missed() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    for (since, is_newer) in [(0, false), (1, true)] {
        run(&mut scene, &remote, "true").await;
        let tree = spares(&scene)[0].join("tree");
        let (index, file) = (tree.join(".git/index"), tree.join("README"));
        // As if all of it had been checked out at the beginning of some second.
        let made = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let date = |path: &Path, time| {
            File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("sets");
        };
        git(&tree, &["config", "core.trustctime", "false"]).await;
        date(&file, made);
        git(&tree, &["update-index", "--refresh"]).await;
        date(&index, made);
        let now = made + Duration::from_millis(since * 1_000 + 500);
        settle(&index, now).expect("settles");
        let dated = fs::metadata(&index).expect("is there").modified().expect("a time");
        assert_eq!(dated, if is_newer { now } else { made });
        // As long as what was there, and written at once.
        fs::write(&file, "HELLO\n").expect("writes");
        date(&file, now);
        assert_eq!(git(&tree, &["diff-files", "--name-only"]).await, "README", "{since} s");
    }
}
