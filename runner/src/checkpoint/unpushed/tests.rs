//! Commits beside the branches, and files that git keeps in another form than they lie there in.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::checkpoint::tests::newest;
use crate::testing::{PATIENCE, Remote, Scene, git, names_below, output, until};
use wire::event::Stream;
use wire::worker::repository_name;

const WHO: &str = "git config --global user.name n; git config --global user.email e@example.org;";
const COMMIT: &str = "echo own > own; git add own; git commit -qm own; git rev-parse HEAD";

fn mirror(scene: &Scene, remote: &Remote) -> PathBuf {
    scene.room.volume.mirror(&repository_name(&remote.url()))
}

#[tokio::test]
async fn a_commit_that_no_branch_leads_to_is_kept() {
    for rest in [
        "git checkout -qb fix origin/main",
        "git commit -q --amend -m other",
        "git reset -q --hard HEAD~; git checkout -q origin/main",
        "git tag here; git checkout -q origin/main; rm -r .git/logs",
        "git tag here; git checkout -q origin/main; git pack-refs --all; rm -r .git/logs",
        "git tag -a -m here here; git checkout -q origin/main; rm -r .git/logs",
        "git worktree add -q \"$TMPDIR/there\" HEAD; git checkout -q origin/main; rm -r .git/logs",
        "git notes --ref=x add -C $(git rev-parse HEAD:own) HEAD; git checkout -q origin/main; rm -r .git/logs; \
         git update-ref refs/notes/y $(git rev-parse ORIG_HEAD 2>/dev/null || git rev-parse refs/notes/x); true",
    ] {
        let (mut scene, remote) = (Scene::new().await, Remote::new().await);
        let (_, events) = scene.run(&remote, &format!("{WHO} {COMMIT}; {rest}")).await;
        let said = output(&events, Stream::Stdout);
        let own = said.lines().next().expect("a commit");
        let manifest = newest(&scene);
        let commits = format!("refs/bifrost/commits/{}/", manifest.subject.execution_id);
        let kept: Vec<_> = manifest.unpushed.iter().filter_map(|name| name.strip_prefix(&commits)).collect();
        if rest.contains("notes") {
            let at = git(&mirror(&scene, &remote), &["log", "--format=%s", kept[0]]).await;
            assert!(at.starts_with("Notes added by"), "{at}");
        } else {
            assert_eq!(kept, [own], "{rest}");
        }
        assert_eq!(git(&mirror(&scene, &remote), &["cat-file", "-t", kept[0]]).await, "commit", "{rest}");
    }
}

#[tokio::test]
async fn of_commits_that_stand_on_one_another_the_last_is_kept_however_many_there_are() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let many = "for n in $(seq 40); do git commit -q --allow-empty -m $n; done";
    let amended = "for n in $(seq 5); do git commit -q --amend --allow-empty -m again-$n; done";
    let script =
        format!("{WHO} git checkout -qb fix; {many}; git checkout -q --detach; {amended}; git checkout -q fix");
    scene.run(&remote, &script).await;
    let manifest = newest(&scene);
    let beside = manifest.unpushed.iter().filter(|name| is_beside_branches(name)).count();
    assert_eq!((beside, manifest.unpushed.len()), (5, 7), "{:?}", manifest.unpushed);
    // What is on a branch alone takes no look at more.
    scene.run(&remote, &format!("{WHO} git checkout -qb fix; {many}")).await;
    assert!(newest(&scene).unpushed.iter().all(|name| !is_beside_branches(name)));
}

#[tokio::test]
async fn every_stash_is_kept() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let script = "for n in 1 2 3; do echo $n > README; git stash -q; done; git rev-parse stash@{0} stash@{1} stash@{2}";
    let (_, events) = scene.run(&remote, &format!("{WHO} {script}")).await;
    let said = output(&events, Stream::Stdout);
    let manifest = newest(&scene);
    for (commit, content) in said.lines().zip(["3", "2", "1"]) {
        let shown = git(&mirror(&scene, &remote), &["show", &format!("{commit}:README")]).await;
        assert_eq!(shown, content);
    }
    assert_eq!(said.lines().count(), 3);
    assert_eq!(manifest.unpushed.len(), 3, "{:?}", manifest.unpushed);
    let reached = git(&mirror(&scene, &remote), &["rev-list", "--no-walk", "--glob=refs/bifrost"]).await;
    assert!(said.lines().all(|commit| reached.contains(commit)), "{reached}");
}

#[tokio::test]
async fn work_in_a_worktree_that_goes_with_the_workspace_is_a_commit() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    for (at, place) in [("HEAD", "$TMPDIR"), ("-b fix", "$HOME")] {
        let commit =
            format!("cd {place}/there; {COMMIT} > own-id; git rm -q README; echo more >> own; echo new > 'new one'");
        let script = format!("{WHO} git worktree add -q {place}/there {at}; {commit}; mkdir closed; echo x > closed/x");
        scene.run(&remote, &format!("{script}; chmod 000 closed")).await;
        let manifest = newest(&scene);
        let name = format!("refs/bifrost/commits/{}/worktree-0", manifest.subject.execution_id);
        assert!(manifest.unpushed.contains(&name), "{:?}", manifest.unpushed);
        let listed = git(&mirror(&scene, &remote), &["ls-tree", "-r", "--name-only", &name]).await;
        assert_eq!(listed, ".gitignore\nclosed/x\nnew one\nown\nown-id\nsrc/lib.txt");
        assert_eq!(git(&mirror(&scene, &remote), &["show", &format!("{name}:own")]).await, "own\nmore");
        assert_eq!(git(&mirror(&scene, &remote), &["log", "-1", "--format=%s", &format!("{name}^")]).await, "own");
    }
}

#[tokio::test]
async fn a_worktree_with_too_much_for_a_commit_is_set_aside_with_the_workspace() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let (completion, events) =
        scene.run(&remote, "git worktree add -q $TMPDIR/there; truncate -s 300M $TMPDIR/there/large").await;
    assert!(completion.checkpoint.is_none());
    let said = output(&events, Stream::Stderr);
    assert!(said.contains("in another worktree of the repository cannot be kept: it is more than"), "{said}");
    scene.run(&remote, "true").await;
    let aside = names_below(&scene.room.volume.root().join("quarantine"));
    assert!(aside.iter().any(|path| path.ends_with(".git/worktree-0/large")), "{aside:?}");
}

#[tokio::test]
async fn a_log_that_names_what_is_not_there_keeps_nobody_from_saving() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let gone = "1".repeat(40);
    let forged = format!("echo \"$(git rev-parse HEAD) {gone} n <e> 1 +0000\treset: moving\" >> .git/logs/HEAD");
    scene.run(&remote, &format!("{WHO} git config user.name $(printf 'n\\351'); {COMMIT}; {forged}")).await;
    assert_eq!(newest(&scene).unpushed.len(), 1);
}

#[tokio::test]
async fn a_commit_has_files_as_git_would_have_added_them() {
    let attributes = "*.txt text eol=crlf\n*.auto text=auto\n*.bin filter=lfs diff=lfs merge=lfs -text\n*.key filter=git-crypt\n\
                      *.id ident\n*.raw -text\n*.utf16 working-tree-encoding=UTF-16\n";
    let remote = Remote::with(&[
        (".gitattributes", attributes),
        (".bifrost.toml", "[checkout]\nlfs_pointers = true\n"),
        ("pulled.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\nsize 5\n"),
        ("secret.key", "closed"),
    ])
    .await;
    // What was committed with such line ends keeps them, whatever the attribute says.
    let file = remote.path().join("old.auto");
    fs::write(&file, "a\r\nb\r\n").expect("writes");
    let blob = remote.git(&["hash-object", "-w", "--no-filters", "old.auto"]).await;
    remote.git(&["update-index", "--add", "--cacheinfo", "100644", &blob, "old.auto"]).await;
    remote.git(&["commit", "-qm", "line ends"]).await;
    let mut scene = Scene::new().await;
    let script = "printf 'a\\r\\nb\\r\\n' > new.txt; printf 'a\\r\\n' > new.auto; printf 'a\\r\\nc\\r\\n' > old.auto; \
                  printf hello > pulled.bin; printf 'other content' > new.bin; printf plain > secret.key; printf plain > new.key; \
                  printf '$Id: 5 $' > new.id; printf 'a\\r\\n' > new.raw; printf a | iconv -t UTF-16 > new.utf16; printf x > plain";
    let (completion, events) = scene.run(&remote, script).await;
    let manifest = newest(&scene);
    let wip = &manifest.unpushed[0];
    let show = async |path: &str| {
        let mirror = mirror(&scene, &remote);
        let output = kit::process::command("git")
            .arg("-C")
            .arg(mirror)
            .args(["cat-file", "blob", &format!("{wip}:{path}")])
            .output();
        String::from_utf8(output.await.expect("runs").stdout).expect("text")
    };
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:";
    for (path, expect) in [
        ("new.txt", "a\nb\n"),
        ("new.auto", "a\n"),
        ("old.auto", "a\r\nc\r\n"),
        ("secret.key", "closed"),
        ("new.key", ""),
        ("new.id", "$Id$"),
        ("new.raw", "a\r\n"),
        ("new.utf16", "a"),
        ("plain", "x"),
    ] {
        assert_eq!(show(path).await, expect, "{path}: {:?}", completion.message);
    }
    assert!(show("new.bin").await.starts_with(pointer) && show("new.bin").await.ends_with("\nsize 13\n"));
    let changed = git(&mirror(&scene, &remote), &["diff-tree", "-r", "--name-only", &manifest.commit, wip]).await;
    assert!(!changed.contains("pulled.bin") && !changed.contains(".key"), "{changed}");
    let left = ["new.key (filter git-crypt)", "secret.key (filter git-crypt)", "the content of new.bin (Git LFS)"];
    assert_eq!(manifest.left, left);
    assert!(output(&events, Stream::Stderr).contains("in no commit: new.key (filter git-crypt), secret.key"));
    // On top of a commit, what is left out is as it is there.
    let commit = format!("{WHO} printf sealed > secret.key; git -c filter.git-crypt.clean=cat commit -qam sealed");
    scene.run(&remote, &format!("{commit}; printf plain > secret.key; printf plain > new.key; echo x > x")).await;
    let manifest = newest(&scene);
    let secret = git(&mirror(&scene, &remote), &["show", &format!("{}:secret.key", manifest.unpushed[0])]).await;
    assert_eq!(secret, "sealed");
    assert!(manifest.is_alone());
}

/// A git that notes what it is asked to do.
fn noting(directory: &Path) -> String {
    let script = format!("#!/bin/sh\necho \"$1\" >> {}/asked\nexec /usr/bin/git \"$@\"\n", directory.display());
    fs::write(directory.join("git"), script).expect("writes");
    fs::set_permissions(directory.join("git"), fs::Permissions::from_mode(0o700)).expect("may be run");
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    format!("{}:{path}", directory.display())
}

#[tokio::test]
async fn where_nothing_is_unusual_git_is_started_no_more_often() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = noting(directory.path());
    let scene = Scene::with(|config| {
        config.tool_environment.insert("PATH".into(), path);
    });
    let (mut scene, remote) = (scene.await, Remote::new().await);
    remote.commit(&[(".gitattributes", "* text=auto\n")]).await;
    remote.git(&["tag", "-a", "-m", "one", "v1"]).await;
    for (script, expect) in [
        ("true", "ls-files"),
        ("echo more >> README", "ls-files -c rev-parse rev-list for-each-ref rev-list"),
        (
            "git checkout -qb fix; echo x > x; git add x; git commit -qm x; git commit -q --allow-empty -m y",
            "ls-files ls-files for-each-ref fetch rev-parse -c rev-parse update-ref rev-list for-each-ref rev-list",
        ),
    ] {
        scene.run(&remote, &format!("{WHO} {script}")).await;
        let background = scene.room.background.clone();
        tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("gets ready");
        fs::write(directory.path().join("asked"), "").expect("writes");
        let id = scene.room.volume.execution_ids().expect("lists").pop().expect("one");
        let marker = Marker::read(&scene.room.volume, id).expect("reads").expect("is there");
        crate::checkpoint::save(&scene.room, marker, &Orders::none()).await.expect("saves");
        let asked = fs::read_to_string(directory.path().join("asked")).expect("reads");
        assert_eq!(asked.split_whitespace().collect::<Vec<_>>().join(" "), expect, "{script}");
    }
}
