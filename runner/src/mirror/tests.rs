//! Real remotes, good, bad and absent.

use super::Remote as Distant;
use super::*;
use crate::orders::Halt;
use crate::testing::{Remote, Scene, kinds, names_below, subject};
use wire::event::Event;

async fn fetch(scene: &mut Scene, remote: &str, reference: Option<&str>) -> (Result<Obtained, NotReady>, Vec<Event>) {
    let spec = TaskSpec {
        repository: remote.to_owned(),
        reference: reference.map(Into::into),
        command: vec!["true".into()],
        agent: None,
        env: Default::default(),
        timeout_seconds: None,
        idle_timeout_seconds: None,
    };
    let room = scene.room.clone();
    let story = Story::new(room.recorder.clone(), subject(), Orders::none());
    scene.collect(async { obtain(&room, &story, &spec).await }).await
}

async fn failure(scene: &mut Scene, remote: &str, reference: Option<&str>) -> Failure {
    match fetch(scene, remote, reference).await.0 {
        Err(NotReady::Failed { failure, message }) => {
            assert!(message.contains(remote), "{message}");
            failure
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn branches_tags_commits_and_the_default_are_found_and_followed() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let first = remote.git(&["rev-parse", "HEAD"]).await;
    remote.git(&["tag", "--annotate", "--message=x", "v1"]).await;
    remote.git(&["tag", "light"]).await;
    remote.git(&["checkout", "--quiet", "-b", "fix/it"]).await;
    let second = remote.commit(&[("fix", "x")]).await;
    remote.git(&["checkout", "--quiet", "main"]).await;
    remote.git(&["update-ref", "refs/pull/7/head", &second]).await;
    let mut cache = Cache::Miss;
    for (reference, expect) in [
        (None, &first),
        (Some("main"), &first),
        (Some("fix/it"), &second),
        (Some("refs/heads/fix/it"), &second),
        (Some("v1"), &first),
        (Some("light"), &first),
        (Some(&first[..]), &first),
        (Some(&second[..9]), &second),
        (Some("refs/pull/7/head"), &second),
    ] {
        let obtained = fetch(&mut scene, &remote.url(), reference).await.0.expect("found");
        assert_eq!((&obtained.commit, obtained.cache), (expect, cache), "{reference:?}");
        cache = Cache::Hit;
    }
    let third = remote.commit(&[("more", "x")]).await;
    assert_eq!(fetch(&mut scene, &remote.url(), None).await.0.expect("found").commit, third);
    assert_eq!(scene.room.volume.repository_names(), [repository_name(&remote.url())]);
}

#[tokio::test]
async fn a_commit_that_is_there_needs_no_remote_and_one_on_no_branch_is_asked_for() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let hidden = remote.commit(&[("hidden", "x")]).await;
    remote.git(&["reset", "--quiet", "--hard", "HEAD~1"]).await;
    remote.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]).await;
    let url = remote.url();
    assert_eq!(fetch(&mut scene, &url, Some(&hidden)).await.0.expect("asked for").commit, hidden);
    drop(remote);
    assert_eq!(fetch(&mut scene, &url, Some(&hidden)).await.0.expect("there").cache, Cache::Hit);
    assert_eq!(failure(&mut scene, &url, Some("main")).await, Failure::RepositoryNotFound);
}

#[tokio::test]
async fn what_is_wrong_with_a_remote_is_told_apart() {
    let (mut scene, remote, empty) =
        (Scene::new().await, Remote::new().await, tempfile::tempdir().expect("a directory"));
    crate::testing::git(empty.path(), &["init", "--quiet", "--bare"]).await;
    let empty = format!("file://{}", empty.path().display());
    let url = remote.url();
    let absent = "0123456789012345678901234567890123456789";
    for (remote, reference, expect) in [
        (&url[..], Some("no-such-branch"), Failure::UnknownReference),
        (&url, Some(absent), Failure::UnknownReference),
        (&url, Some("abcdef"), Failure::UnknownReference),
        (&url, Some("refs/pull/8/head"), Failure::UnknownReference),
        (&empty, None, Failure::UnknownReference),
        ("file:///no/such/repository", None, Failure::RepositoryNotFound),
        ("http://127.0.0.1:9/x", None, Failure::RepositoryUnreachable),
        ("git://127.0.0.1:9/x", None, Failure::RepositoryUnreachable),
    ] {
        assert_eq!(failure(&mut scene, remote, reference).await, expect, "{remote} {reference:?}");
    }
    let kept = scene.room.volume.repository_names();
    assert!(!kept.contains(&repository_name("file:///no/such/repository")), "{kept:?}");
}

#[tokio::test]
async fn a_damaged_mirror_is_set_aside_and_cloned_anew() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let expect = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned").commit;
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    for round in 0..4 {
        match round {
            0 => std::fs::remove_file(mirror.join("HEAD")).expect("removes"),
            1 => std::fs::write(mirror.join("config"), "\0\0\0\0").expect("writes"),
            2 => std::fs::remove_dir_all(mirror.join("objects")).expect("removes"),
            _ => {
                for name in names_below(&mirror.join("objects")) {
                    let path = mirror.join("objects").join(name);
                    if path.is_file() {
                        std::fs::remove_file(&path).expect("removes");
                        std::fs::write(&path, "garbage").expect("writes");
                    }
                }
            }
        }
        let (obtained, events) = fetch(&mut scene, &remote.url(), None).await;
        let obtained = obtained.expect("cloned anew");
        assert_eq!((&obtained.commit, obtained.cache), (&expect, Cache::Miss), "round {round}");
        assert_eq!(kinds(&events), [kind::VOLUME_DAMAGED], "round {round}");
    }
    assert_eq!(std::fs::read_dir(scene.room.volume.root().join("quarantine")).expect("lists").count(), 2);
}

#[tokio::test]
async fn a_fetch_that_is_called_off_leaves_no_lock_and_no_half_mirror() {
    let (scene, remote) = (Scene::new().await, Remote::new().await);
    let (commander, orders) = Orders::new();
    commander.halt(Halt::Cancelled);
    let remote = Distant { room: &scene.room, orders: &orders, url: &remote.url() };
    let mirror = scene.room.volume.mirror("x");
    let stopped = remote.clone(&mirror, &Wanted::Default.refspecs()).await;
    assert!(matches!(stopped, Err(Trouble::NotReady(NotReady::Halted(Halt::Cancelled)))));
    assert!(names_below(&scene.room.volume.root().join("repos")).is_empty());
}
