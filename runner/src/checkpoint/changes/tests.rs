//! What must not be missed: in submodules and other repositories, behind closed doors, and among what is ignored.

use std::ffi::{OsStr, OsString};

use super::*;
use crate::checkpoint::tests::{newest, picture};
use crate::checkpoint::{kept_work, restore, verify};
use crate::orders::Orders;
use crate::testing::{Remote, Scene, git, output};
use wire::event::Stream;
use wire::execution::Outcome;
use wire::worker::repository_name;

const WHO: &str = "git config --global user.name n; git config --global user.email e@example.org;";

/// A repository with another in `part`.
async fn with_part() -> (Remote, Remote) {
    let (remote, part) = (Remote::new().await, Remote::new().await);
    remote.git(&["submodule", "--quiet", "add", &part.url(), "part"]).await;
    remote.commit(&[]).await;
    (remote, part)
}

/// What a commit of the mirror has, by mode and path.
async fn listed(scene: &Scene, remote: &Remote, commit: &str) -> String {
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    git(&mirror, &["ls-tree", "-r", "--format=%(objectmode) %(path)", commit]).await
}

#[tokio::test]
async fn changes_in_a_submodule_are_in_the_checkpoint_and_no_part_of_a_commit() {
    let (mut scene, (remote, _part)) = (Scene::new().await, with_part().await);
    scene.run(&remote, "true").await;
    let clean = newest(&scene);
    assert!(clean.files == 0 && clean.left.is_empty(), "{clean:?}");
    let (_, events) = scene.run(&remote, "echo more >> part/README; echo new > part/new; echo mine > mine").await;
    assert!(output(&events, Stream::Stderr).contains("in no commit: the repository part"));
    let manifest = newest(&scene);
    assert!(manifest.is_alone() && manifest.uncommitted.is_none(), "{manifest:?}");
    let wip = &manifest.unpushed[0];
    let expect = "100644 .gitignore\n100644 .gitmodules\n100644 README\n100644 mine\n160000 part\n100644 src/lib.txt";
    assert_eq!(listed(&scene, &remote, wip).await, expect);
    let tree = scene.room.volume.workspace(manifest.subject.execution_id);
    let expect = picture(&tree);
    restore(&scene.room, &manifest).await.expect("puts back");
    assert_eq!(picture(&tree), expect);
    let room = scene.room.clone();
    let ((), events) = scene.collect(crate::health::check(&room)).await;
    assert_eq!(crate::testing::kinds(&events), [wire::event::kind::VOLUME_CHECKED]);
    assert_eq!(git(&tree.join("part"), &["status", "--porcelain"]).await, "M README\n?? new");
    // A command wrote it, and the runner has git look there.
    assert!(!tree.join(".git/modules/part/config").exists());
    // It outlives others, and a task that begins there has it as it was.
    for _ in 0..6 {
        scene.run(&remote, "true").await;
    }
    let mut lease =
        scene.lease(&remote, None, &["sh", "-c", "cat part/README part/new; git -C part status --porcelain"]);
    lease.spec.checkpoint = Some(manifest.checkpoint_id);
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(output(&events, Stream::Stdout), "hello\nmore\nnew\n M README\n?? new\n");
}

#[tokio::test]
async fn commits_in_a_submodule_are_kept_wherever_they_are() {
    let commit = "cd part; echo own > own; git add own; git commit -qm own; git rev-parse HEAD >&2";
    for rest in [
        "",
        "git checkout -q HEAD~",
        "git checkout -qb fix",
        "git branch fix; git checkout -q HEAD~",
        "git tag fix; git checkout -q HEAD~; rm -rf ../.git/modules/part/logs",
        "git reset -q --soft HEAD~; git stash -q",
        "cd ..; rm -rf part",
    ] {
        let (mut scene, (remote, _part)) = (Scene::new().await, with_part().await);
        let (_, events) = scene.run(&remote, &format!("{WHO} {commit}; {rest}")).await;
        let said = output(&events, Stream::Stderr);
        let own = said.lines().next().expect("a commit");
        let manifest = newest(&scene);
        assert!(manifest.is_alone(), "{rest}: {said}");
        restore(&scene.room, &manifest).await.expect("puts back");
        let tree = scene.room.volume.workspace(manifest.subject.execution_id);
        assert_eq!(git(&tree.join(".git/modules/part"), &["show", &format!("{own}:own")]).await, "own", "{rest}");
        if !rest.contains("rm -rf part") {
            assert_eq!(git(&tree.join("part"), &["rev-parse", own]).await, own, "{rest}");
        }
        if let Some(wip) = manifest.unpushed.first()
            && !rest.contains("rm -rf part")
        {
            assert!(listed(&scene, &remote, wip).await.contains("160000 part"), "{rest}");
        }
    }
}

#[tokio::test]
async fn a_submodule_that_was_brought_on_is_a_change_of_one_line() {
    let (mut scene, (remote, part)) = (Scene::new().await, with_part().await);
    let newer = part.commit(&[("newer", "x")]).await;
    scene.run(&remote, "git -C part fetch -q; git -C part checkout -q origin/main").await;
    let manifest = newest(&scene);
    assert!(!manifest.is_alone() && manifest.files == 0, "{manifest:?}");
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    assert_eq!(git(&mirror, &["rev-parse", &format!("{}:part", manifest.unpushed[0])]).await, newer);
    let mut lease = scene.lease(&remote, None, &["ls", "part"]);
    lease.spec.checkpoint = Some(manifest.checkpoint_id);
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(output(&events, Stream::Stdout), "README\nnewer\nsrc\n");
}

#[tokio::test]
async fn submodules_in_submodules_and_new_ones_are_kept_as_well() {
    let (mut scene, inner, (remote, part)) = (Scene::new().await, Remote::new().await, with_part().await);
    part.git(&["submodule", "--quiet", "add", &inner.url(), "inner"]).await;
    part.commit(&[]).await;
    remote.git(&["submodule", "--quiet", "update", "--remote", "part"]).await;
    remote.commit(&[]).await;
    let add = format!("git -c protocol.file.allow=always submodule --quiet add {} added", inner.url());
    scene.run(&remote, &format!("echo new > part/inner/new; {add}; echo mine > added/mine")).await;
    let manifest = newest(&scene);
    let named = ["the repository added", "the repository part", "the repository part/inner"];
    assert_eq!(manifest.left, named);
    let made = listed(&scene, &remote, &manifest.unpushed[0]).await;
    assert!(made.contains("160000 added\n") && made.contains("160000 part\n") && !made.contains("mine"), "{made}");
    let script = "cat part/inner/new added/mine; git -C part/inner status --porcelain; git -C added status --porcelain";
    let mut lease = scene.lease(&remote, None, &["sh", "-c", script]);
    lease.spec.checkpoint = Some(manifest.checkpoint_id);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let said = output(&events, Stream::Stdout);
    assert_eq!(said, "new\nmine\n?? new\n?? mine\n", "{:?}", completion.expect("told").message);
}

#[tokio::test]
async fn a_commit_on_top_of_others_leaves_submodules_as_those_have_them() {
    let (mut scene, (remote, part)) = (Scene::new().await, with_part().await);
    let newer = part.commit(&[("newer", "x")]).await;
    let commit = format!("git update-index --cacheinfo 160000,{newer},part; git commit -qm up");
    scene.run(&remote, &format!("{WHO} {commit}; echo mine > mine")).await;
    let manifest = newest(&scene);
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    assert_eq!(git(&mirror, &["rev-parse", &format!("{}:part", manifest.unpushed[0])]).await, newer);
}

#[tokio::test]
async fn a_submodule_that_leads_elsewhere_has_nothing_read_there() {
    let (mut scene, (remote, _part)) = (Scene::new().await, with_part().await);
    let other = Remote::with(&[("secret", "of another\n")]).await;
    scene.run(&other, "true").await;
    let theirs = scene.room.volume.mirror(&repository_name(&other.url())).display().to_string();
    for trick in [
        format!("echo 'gitdir: {theirs}' > part/.git"),
        format!("rm -rf part; ln -s {theirs} part"),
        format!("rm -rf .git/modules/part/objects; ln -s {theirs}/objects .git/modules/part/objects"),
        format!("echo {theirs}/objects > .git/modules/part/objects/info/alternates; echo x > part/x"),
        "rm .git/modules/part/index; mkfifo .git/modules/part/index; echo x > part/x".to_owned(),
    ] {
        let (completion, _) = scene.run(&remote, &trick).await;
        assert_eq!(completion.outcome, Outcome::Succeeded, "{trick}");
        let manifest = newest(&scene);
        let saved = crate::checkpoint::listing(&scene.room.volume, &manifest).expect("reads");
        let saved: Vec<_> = saved.iter().flat_map(|listing| listing.entries()).map(|entry| entry.path()).collect();
        assert!(saved.iter().all(|path| !path.ends_with("alternates")), "{trick}: {saved:?}");
        let objects = saved.iter().filter(|path| path.starts_with(".git/modules/part/objects"));
        assert!(trick.contains("alternates") || trick.contains("mkfifo") || objects.count() == 0, "{trick}: {saved:?}");
    }
}

#[tokio::test]
async fn no_program_of_a_submodule_that_came_out_of_a_checkpoint_is_run() {
    let (mut scene, (remote, _part)) = (Scene::new().await, with_part().await);
    let place = scene.directory.path().join("asked");
    let program = format!("printf '#!/bin/sh\\ntouch {}\\n' > run; chmod +x run", place.display());
    // One that only looks like a submodule at the next checkout, with its configuration.
    let forged = "git init -q new; git -C new commit -q --allow-empty -m x; git -C new config core.fsmonitor $PWD/run; \
                  git config -f .gitmodules submodule.new.path new; git config -f .gitmodules submodule.new.url ./new; \
                  git add .gitmodules new; git commit -qm new; git -C new commit -q --allow-empty -m y";
    let configured = "git -C part config core.fsmonitor $PWD/run; echo more >> part/README";
    for script in [forged, configured] {
        scene.run(&remote, &format!("{WHO} {program}; {script}; rm -f {}", place.display())).await;
        let mut lease = scene.lease(&remote, None, &["true"]);
        lease.spec.checkpoint = Some(newest(&scene).checkpoint_id);
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(completion.expect("told").message, None, "{script}");
        assert!(!place.exists(), "{script}");
    }
}

#[tokio::test]
async fn a_checkpoint_with_another_repository_in_it_is_kept() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let commit = "git init -q other; cd other; echo x > x; git add x; git commit -qm x";
    scene.run(&remote, &format!("{WHO} {commit}")).await;
    let manifest = newest(&scene);
    assert_eq!(manifest.left, ["the repository other"]);
    for _ in 0..6 {
        scene.run(&remote, "true").await;
    }
    verify(&scene.room.volume, manifest.checkpoint_id).expect("is there");
    let told = kept_work(&scene.room.volume).expect("lists");
    assert!(told.iter().any(|work| work.reference == format!("checkpoints/{}", manifest.checkpoint_id)), "{told:?}");
}

/// A git that, as in our image, has no rights but its user's.
fn without_rights(directory: &Path) -> OsString {
    let script = "#!/bin/sh\nexec setpriv --bounding-set=-dac_override,-dac_read_search /usr/bin/git \"$@\"\n";
    fs::create_dir(directory).expect("makes");
    fs::write(directory.join("git"), script).expect("writes");
    fs::set_permissions(directory.join("git"), fs::Permissions::from_mode(0o700)).expect("may be run");
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    [directory.as_os_str(), OsStr::new(&path)].join(OsStr::new(":"))
}

#[tokio::test]
async fn what_a_command_closed_is_opened_and_saved() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = without_rights(&directory.path().join("bin")).into_string().expect("text");
    let mut scene = Scene::with(|config| {
        config.tool_environment.insert("PATH".into(), path);
    })
    .await;
    let remote = Remote::with(&[("kept/README", "x"), ("README", "x")]).await;
    for (script, expect) in [
        ("mkdir -p closed/in; echo x > closed/in/file; chmod 000 closed", "closed/in/file"),
        ("mkdir -p closed/in; echo x > closed/in/file; chmod 000 closed/in", "closed/in/file"),
        ("mkdir closed; echo x > closed/file; chmod 444 closed", "closed/file"),
        ("echo more >> kept/README; chmod 000 kept", "kept/README"),
        ("echo x > file; chmod 000 file", "file"),
    ] {
        scene.run(&remote, script).await;
        let manifest = newest(&scene);
        let listing = crate::checkpoint::listing(&scene.room.volume, &manifest).expect("reads").expect("some");
        let saved: Vec<_> = listing.entries().iter().map(|entry| entry.path()).collect();
        assert_eq!(saved, [Path::new(expect)], "{script}");
        assert_eq!(manifest.unpushed.len(), 1, "{script}");
    }
}

#[tokio::test]
async fn what_was_added_by_force_is_saved_although_it_is_ignored() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let base = "echo one > ignored; git add -f ignored";
    for (script, expect) in [
        (base.to_owned(), "one"),
        (format!("{base}; echo two > ignored"), "two"),
        (format!("{WHO} {base}; git commit -qm forced"), "one"),
        (format!("{WHO} {base}; git commit -qm forced; echo two > ignored; echo x > x"), "two"),
    ] {
        scene.run(&remote, &script).await;
        let manifest = newest(&scene);
        let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
        let wip = format!("{}:ignored", manifest.unpushed[0]);
        assert_eq!(git(&mirror, &["show", &wip]).await, expect, "{script}");
        let tree = scene.room.volume.workspace(manifest.subject.execution_id);
        restore(&scene.room, &manifest).await.expect("puts back");
        assert_eq!(fs::read_to_string(tree.join("ignored")).expect("reads"), format!("{expect}\n"), "{script}");
        let room = scene.room.clone();
        let ((), events) = scene.collect(crate::health::check(&room)).await;
        let told = crate::testing::kinds(&events).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told, [wire::event::kind::VOLUME_CHECKED], "{script}");
    }
    // What nobody added is still nobody's work.
    scene.run(&remote, "echo x > ignored; git status > /dev/null").await;
    assert_eq!(newest(&scene).files, 0);
}
