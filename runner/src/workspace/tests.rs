//! Repositories that mean harm or are merely odd, and volumes without room.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::testing::{PATIENCE, Remote, Scene, SmallVolume, kinds, names_below, output, until};
use wire::event::{Stream, kind};
use wire::execution::{Failure, Outcome};
use wire::worker::Completion;

/// Commits entries that no file system needs to be able to hold.
async fn commit_entries(remote: &Remote, entries: &[(&str, &str, &str)]) {
    for (mode, path, text) in entries {
        let file = remote.path().join(".git/content");
        fs::write(&file, text).expect("writes");
        let blob = remote.git(&["hash-object", "-w", "--no-filters", &file.to_string_lossy()]).await;
        remote.git(&["update-index", "--add", "--cacheinfo", mode, &blob, path]).await;
    }
    let tree = remote.git(&["write-tree"]).await;
    let commit = remote.git(&["commit-tree", &tree, "-m", "odd", "-p", "HEAD"]).await;
    remote.git(&["update-ref", "HEAD", &commit]).await;
}

#[tokio::test]
async fn names_that_differ_in_case_or_are_not_text_are_checked_out_as_they_are() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    fs::write(remote.path().join(OsStr::from_bytes(b"not-\xff-text")), "bytes\n").expect("writes");
    remote.commit(&[("Clash", "large\n"), ("clash", "small\n"), ("clash.d/x", "1\n"), ("Clash.d/x", "2\n")]).await;
    let script = "cat Clash clash clash.d/x Clash.d/x not-*-text; git status --porcelain; echo more >> not-*-text";
    // The second time out of a spare, if it was ready.
    for _ in 0..2 {
        let (completion, events) = scene.run(&remote, script).await;
        assert_eq!(output(&events, Stream::Stdout), "large\nsmall\n1\n2\nbytes\n");
        assert_eq!(completion.outcome, Outcome::Succeeded);
        let background = scene.room.background.clone();
        tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("gets ready");
    }
}

/// Commits one file under a path that git makes no commit of.
async fn commit_refused(remote: &Remote, directory: &str) {
    let blob = remote.git(&["rev-parse", "HEAD:README"]).await;
    let inner = remote.git(&["rev-parse", "HEAD^{tree}"]).await;
    let id = |text: &str| -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("ASCII"));
        digits.map(|two| u8::from_str_radix(two, 16).expect("hexadecimal")).collect()
    };
    let entry = |mode: &str, name: &str, object: &str| [format!("{mode} {name}\0").into_bytes(), id(object)].concat();
    let file = remote.path().join(".git/tree");
    fs::write(&file, [entry("40000", directory, &inner), entry("100644", "README", &blob)].concat()).expect("writes");
    let tree = remote.git(&["hash-object", "-t", "tree", "-w", "--literally", &file.to_string_lossy()]).await;
    let commit = remote.git(&["commit-tree", &tree, "-m", "refused", "-p", "HEAD"]).await;
    remote.git(&["update-ref", "HEAD", &commit]).await;
}

#[tokio::test]
async fn a_path_that_no_machine_can_check_out_is_named_and_leaves_nothing() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let head = remote.git(&["rev-parse", "HEAD"]).await;
    let long = vec!["d".repeat(200); 20].join("/");
    let longest = format!("{long}/{}", "f".repeat(4_096 - long.len() - 1));
    let deepest = format!("{}/f", vec!["d".repeat(200); 21].join("/"));
    for (path, said) in [
        // Git says no more than 4,096 bytes, so that it comes to no reason here.
        (&longest[..], format!("error: unable to create file {}…", &longest[..371])),
        (&deepest, format!("fatal: cannot create directory at '{}…", &deepest[..365])),
        (&"e".repeat(256), format!("error: unable to create file {}: File name too long", "e".repeat(256))),
        ("..", "error: invalid path '../.gitignore'".to_owned()),
        (".git", "error: invalid path '.git/.gitignore'".to_owned()),
        (".GIT", "error: invalid path '.GIT/.gitignore'".to_owned()),
    ] {
        match path.len() {
            0..=4 => commit_refused(&remote, path).await,
            _ => commit_entries(&remote, &[("100644", path, "deep")]).await,
        }
        let bad = remote.git(&["rev-parse", "HEAD"]).await;
        let (completion, events) = scene.run(&remote, "echo ran").await;
        assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::CheckoutFailed)));
        let url = remote.url();
        let cure = "rename or shorten that path, or name another commit";
        let expect = format!("the commit {bad} of {url} cannot be checked out ({said}); {cure}");
        assert_eq!(completion.message, Some(expect));
        assert!(!kinds(&events).contains(&kind::VOLUME_DAMAGED));
        assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
        assert!(names_below(&scene.room.volume.root().join("workspaces")).is_empty());
        // What is left of it keeps no other commit from being checked out.
        let lease = scene.lease(&remote, Some(&head), &["cat", "README"]);
        let (_, events) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(output(&events, Stream::Stdout), "hello\n");
        remote.git(&["reset", "--quiet", "--soft", &head]).await;
        remote.git(&["read-tree", &head]).await;
    }
}

#[tokio::test]
async fn links_that_lead_out_of_a_repository_are_followed_by_nobody_of_ours() {
    let outside = tempfile::tempdir().expect("a directory");
    for name in ["package.json", "settings.toml", "attributes"] {
        fs::write(outside.path().join(name), "[nonsense] filter=lfs").expect("writes");
    }
    let to = |name: &str| outside.path().join(name).to_string_lossy().into_owned();
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let links = [("package.json", "package.json"), (".gitattributes", "attributes"), ("up", "")];
    let links: Vec<(&str, String)> = links.iter().map(|(name, target)| (*name, to(target))).collect();
    let entries: Vec<_> = links.iter().map(|(name, target)| ("120000", *name, target.as_str())).collect();
    commit_entries(&remote, &entries).await;
    let (completion, _) = scene.run(&remote, "test -L up").await;
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    commit_entries(&remote, &[("120000", ".bifrost.toml", &to("settings.toml"))]).await;
    let (completion, _) = scene.run(&remote, "true").await;
    assert_eq!(completion.failure, Some(Failure::InvalidSettings));
    assert!(completion.message.expect("a message").contains("is a symbolic link, which is not followed"));
    assert_eq!(names_below(outside.path()).len(), 3);
}

fn is_for_want_of_room(completion: &Completion) {
    let message = completion.message.clone().unwrap_or_default();
    assert_eq!(completion.failure, Some(Failure::MachineFault), "{message}");
    assert!(message.contains("free space"), "{message}");
}

#[tokio::test]
async fn a_clone_that_fills_a_small_volume_says_so_and_leaves_room_for_another() {
    let small = SmallVolume::mount(4);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let (large, remote) = (Remote::new().await, Remote::new().await);
    let noise: Vec<u8> =
        (0..2_000_000_u64).flat_map(|number| blake3::hash(&number.to_le_bytes()).as_bytes()[..8].to_vec()).collect();
    fs::write(large.path().join("noise"), noise).expect("writes");
    large.commit(&[]).await;
    is_for_want_of_room(&scene.run(&large, "true").await.0);
    assert!(names_below(&scene.room.volume.root().join("repos")).is_empty());
    assert_eq!(scene.run(&remote, "true").await.0.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_checkout_that_fills_a_small_volume_says_so_and_leaves_nothing() {
    let small = SmallVolume::mount(4);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = Remote::new().await;
    remote.commit(&[("zeros", &"0".repeat(8_000_000))]).await;
    is_for_want_of_room(&scene.run(&remote, "true").await.0);
    assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
    remote.git(&["rm", "--quiet", "zeros"]).await;
    remote.commit(&[]).await;
    assert_eq!(scene.run(&remote, "true").await.0.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn on_a_small_volume_what_nobody_saved_is_saved_before_a_checkout_fails_for_its_room() {
    let small = SmallVolume::mount(12);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = Remote::with(&[("zeros", &"0".repeat(8_000_000))]).await;
    assert_eq!(scene.run(&remote, "echo new > work").await.0.outcome, Outcome::Succeeded);
    let [earlier] = scene.room.volume.execution_ids().expect("lists")[..] else { panic!("one workspace") };
    let mut marker = Marker::read(&scene.room.volume, earlier).expect("reads").expect("is there");
    let saved = marker.saved.take().expect("saved");
    scene.room.volume.discard(&scene.room.volume.checkpoint(saved), "gone").expect("goes");
    marker.write(&scene.room.volume).expect("writes");
    let (completion, _) = scene.run(&remote, "true").await;
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    assert_eq!(scene.room.volume.checkpoint_ids().expect("lists").len(), 2);
    assert!(!scene.room.volume.execution_ids().expect("lists").contains(&earlier));
}

#[tokio::test]
async fn a_spare_for_which_a_small_volume_has_no_room_fails_nothing() {
    let small = SmallVolume::mount(12);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = Remote::new().await;
    remote.commit(&[("zeros", &"0".repeat(8_000_000))]).await;
    for _ in 0..2 {
        let (completion, _) = scene.run(&remote, "test $(stat -c %s zeros) = 8000000").await;
        assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
        let background = scene.room.background.clone();
        tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("ends");
        assert!(names_below(&scene.room.volume.root().join("spares")).is_empty());
    }
}

#[tokio::test]
async fn what_filled_a_small_volume_goes_as_soon_as_it_is_saved() {
    let small = SmallVolume::mount(24);
    let mut scene = Scene::with(|config| config.sprite_dir = small.path()).await;
    let remote = Remote::new().await;
    let (completion, _) = scene.run(&remote, "echo work > work; head -c 40M /dev/zero > fill; true").await;
    assert_eq!(completion.outcome, Outcome::Succeeded, "{:?}", completion.message);
    assert!(!scene.room.volume.is_tight().expect("looks"));
    assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
    assert_eq!(scene.room.volume.checkpoint_ids().expect("lists").len(), 1);
    assert_eq!(scene.run(&remote, "true").await.0.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn who_commits_is_known_unless_somebody_says_otherwise() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let commit = "git commit --quiet --allow-empty -m x && git log -1 --format='%an <%ae>'";
    for (first, expect) in [
        ("", "Bifrost <bifrost@localhost>\n"),
        ("git config --global user.name Her; ", "Her <bifrost@localhost>\n"),
        ("git config user.email his@example.com; ", "Bifrost <his@example.com>\n"),
        ("export GIT_AUTHOR_NAME=Them; ", "Them <bifrost@localhost>\n"),
    ] {
        let (_, events) = scene.run(&remote, &format!("{first}{commit}")).await;
        assert_eq!(output(&events, Stream::Stdout), expect, "{first}");
    }
}
