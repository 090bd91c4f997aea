//! What must not be missed: behind closed doors, and among what is ignored.

use std::ffi::OsString;

use super::*;
use crate::checkpoint::restore;
use crate::checkpoint::tests::newest;
use crate::testing::{Remote, Scene, git};
use wire::worker::repository_name;

const WHO: &str = "git config --global user.name n; git config --global user.email e@example.org;";

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
