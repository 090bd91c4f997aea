//! Real remotes, good, bad and absent.

use super::Remote as Distant;
use super::*;
use crate::git::credential::{Credentials, Source};
use crate::orders::Halt;
use crate::testing::faulty::{Fault, FaultyRemote};
use crate::testing::{PATIENCE, Remote, Scene, git, kinds, names_below, output, subject, until};
use std::path::Path;
use std::time::Duration;
use wire::event::{Event, Stream};
use wire::execution::Outcome;

mod at_once;
mod faults;

async fn fetch(scene: &mut Scene, remote: &str, reference: Option<&str>) -> (Result<Obtained, NotReady>, Vec<Event>) {
    let spec = TaskSpec {
        repository: remote.to_owned(),
        reference: reference.map(Into::into),
        command: vec!["true".into()],
        env: Default::default(),
        ..TaskSpec::default()
    };
    let room = scene.room.clone();
    let story = Story::new(room.recorder.clone(), subject(), Orders::none());
    scene.collect(async { obtain(&room, &story, &spec, Told::ByFiles).await }).await
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
    git(empty.path(), &["init", "--quiet", "--bare"]).await;
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

/// The references of a mirror under which work is that nobody pushed.
async fn kept(mirror: &Path) -> Vec<String> {
    let listed = git(mirror, &["for-each-ref", "--format=%(refname)", "refs/bifrost/wip"]).await;
    listed.lines().map(Into::into).collect()
}

fn aside(scene: &Scene) -> Vec<String> {
    let entries = std::fs::read_dir(scene.room.volume.root().join("quarantine")).expect("lists").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn each_piece_of_work_that_a_damaged_mirror_gives_out_is_rescued_and_the_rest_of_it_stays_aside_as_work() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    for name in ["first", "second"] {
        scene.run(&remote, &format!("echo {name} > mine")).await;
    }
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let [first, second] = &kept(&mirror).await[..] else { panic!("one of each") };
    let blob = git(&mirror, &["rev-parse", &format!("{second}:mine")]).await;
    let blob = Path::new("objects").join(&blob[..2]).join(&blob[2..]);
    let whole = std::fs::read(mirror.join(&blob)).expect("is loose");
    std::fs::remove_file(mirror.join(&blob)).expect("removes");
    let silent = format!("refs/bifrost/wip/{}", subject().execution_id);
    std::fs::write(mirror.join(&silent), "").expect("writes");
    // Of a directory without these git itself says that it is no repository.
    std::fs::remove_file(mirror.join("HEAD")).expect("removes");
    std::fs::write(mirror.join("config"), "\0").expect("writes");
    let (obtained, events) = fetch(&mut scene, &remote.url(), None).await;
    assert_eq!(obtained.expect("cloned anew").cache, Cache::Miss);
    assert_eq!(kept(&mirror).await, std::slice::from_ref(first));
    assert_eq!(git(&mirror, &["show", &format!("{first}:mine")]).await, "first");
    assert_eq!(kinds(&events), [kind::VOLUME_DAMAGED; 2]);
    let told = events[1].payload.get();
    assert!(told.contains(second) && told.contains(&silent) && !told.contains(first), "{told}");
    let [name] = &aside(&scene)[..] else { panic!("{:?}", aside(&scene)) };
    assert!(name.contains(".work."), "{name}");
    // It is tried again with the next clone, and what has another place then is no work any more.
    let place = scene.room.volume.root().join("quarantine").join(name);
    std::fs::write(place.join(&blob), whole).expect("writes");
    std::fs::remove_file(place.join(&silent)).expect("removes");
    std::fs::remove_file(mirror.join("HEAD")).expect("removes");
    fetch(&mut scene, &remote.url(), None).await.0.expect("cloned anew");
    assert_eq!(kept(&mirror).await, [first.clone(), second.clone()]);
    assert_eq!(git(&mirror, &["show", &format!("{second}:mine")]).await, "second");
    let left = aside(&scene);
    assert!(left.len() == 2 && left.iter().all(|name| name.contains(".repos.")), "{left:?}");
}

#[tokio::test]
async fn a_runner_that_is_killed_with_a_mirror_set_aside_rescues_its_work_all_the_same() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    scene.run(&remote, "echo mine > mine").await;
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let work = kept(&mirror).await;
    // So far it had come.
    scene.room.volume.quarantine_work(&mirror, &scene.room.mark()).expect("moves");
    let mut scene = scene.reopened().await;
    let obtained = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned");
    assert_eq!((obtained.cache, work.len(), kept(&mirror).await), (Cache::Miss, 1, work));
    assert!(aside(&scene).iter().all(|name| name.contains(".repos.")), "{:?}", aside(&scene));
}

#[tokio::test]
async fn a_fetch_that_is_called_off_leaves_no_lock_and_no_half_mirror() {
    let (scene, remote) = (Scene::new().await, Remote::new().await);
    let (commander, orders) = Orders::new();
    commander.halt(Halt::Cancelled);
    let remote = Distant { room: &scene.room, orders: &orders, url: &remote.url(), told: Told::ByFiles };
    let mirror = scene.room.volume.mirror("x");
    let stopped = remote.clone(&mirror, &Wanted::Default.refspecs()).await;
    assert!(matches!(stopped, Err(Trouble::NotReady(NotReady::Halted(Halt::Cancelled)))));
    assert!(names_below(&scene.room.volume.root().join("repos")).is_empty());
}

#[tokio::test]
async fn a_remote_that_hangs_or_hangs_up_is_unreachable_and_leaves_nothing() {
    let mut scene = Scene::with(|config| config.limits.git = Duration::from_millis(300)).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("git://{}/x", listener.local_addr().expect("an address"));
    assert_eq!(failure(&mut scene, &url, None).await, Failure::RepositoryUnreachable);
    let hanging_up = std::thread::spawn(move || drop(listener.accept()));
    assert_eq!(failure(&mut scene, &url, None).await, Failure::RepositoryUnreachable);
    hanging_up.join().expect("ends");
    assert!(names_below(&scene.room.volume.root().join("repos")).is_empty());
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_clones_clones_afresh() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.set_nonblocking(true).expect("sets");
    let url = format!("git://{}/x", listener.local_addr().expect("an address"));
    let held = std::cell::Cell::new(None);
    {
        let cloning = fetch(&mut scene, &url, None);
        tokio::pin!(cloning);
        let asked = async {
            let accept = || listener.accept().map(|accepted| held.set(Some(accepted))).is_ok();
            until(async || accept()).await;
        };
        tokio::select! {
            _ = &mut cloning => panic!("nobody answers"),
            asked = tokio::time::timeout(PATIENCE, asked) => asked.expect("it asks"),
        }
        // Dropped where it stands, as a kill does.
    }
    assert!(!names_below(&scene.room.volume.root().join("repos")).is_empty());
    let mut scene = scene.reopened().await;
    assert!(names_below(&scene.room.volume.root().join("repos")).is_empty());
    let obtained = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned");
    assert_eq!(obtained.cache, Cache::Miss);
}

#[tokio::test]
async fn a_remote_that_lies_about_a_reference_costs_nobody_a_good_mirror() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let good = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned").commit;
    let lied = remote.commit(&[("README", "new\n")]).await;
    let blob = remote.git(&["rev-parse", "HEAD:README"]).await;
    let object = |id: &str| remote.path().join(".git/objects").join(&id[..2]).join(&id[2..]);
    std::fs::remove_file(object(&blob)).expect("is loose");
    assert_eq!(failure(&mut scene, &remote.url(), None).await, Failure::RepositoryUnreachable);
    let (obtained, _) = fetch(&mut scene, &remote.url(), Some(&good)).await;
    assert_eq!(obtained.expect("still there").cache, Cache::Hit);
    assert_ne!(good, lied);
}

#[tokio::test]
async fn a_branch_that_leads_to_no_commit_is_refused_and_costs_nobody_a_good_mirror() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    assert_eq!(scene.run(&remote, "true").await.0.outcome, Outcome::Succeeded);
    let blob = remote.git(&["rev-parse", "HEAD:README"]).await;
    // Git itself would not write it.
    std::fs::write(remote.path().join(".git/refs/heads/main"), format!("{blob}\n")).expect("writes");
    let (completion, events) = scene.run(&remote, "true").await;
    assert_eq!(completion.failure, Some(Failure::UnknownReference), "{completion:?}");
    assert!(!kinds(&events).contains(&kind::VOLUME_DAMAGED), "{:?}", kinds(&events));
    remote.git(&["update-ref", "-d", "refs/heads/main"]).await;
    remote.commit(&[("README", "new\n")]).await;
    let (obtained, _) = fetch(&mut scene, &remote.url(), None).await;
    assert_eq!(obtained.expect("fetched").cache, Cache::Hit);
}

#[tokio::test]
async fn files_and_git_tell_the_same_of_a_mirror() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.git(&["tag", "--annotate", "--message=x", "v1"]).await;
    remote.git(&["tag", "light"]).await;
    remote.git(&["branch", "fix/it"]).await;
    let mirror = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned").mirror;
    remote.commit(&[("README", "new\n")]).await;
    remote.git(&["branch", "--delete", "fix/it"]).await;
    fetch(&mut scene, &remote.url(), None).await.0.expect("fetched");
    let by_git = list(&scene.room, &mirror, &Orders::none()).await.expect("listed");
    let by_files = references::files::read(&mirror).expect("read").expect("can be told");
    assert_eq!(by_files.packed(), by_git.packed());
    assert_eq!(by_files.resolve(&Wanted::Default), by_git.resolve(&Wanted::Default));
    // What a new tag leads to is not in its file.
    remote.git(&["tag", "--annotate", "--message=y", "v2"]).await;
    fetch(&mut scene, &remote.url(), None).await.0.expect("fetched");
    assert_eq!(references::files::read(&mirror).expect("read"), None);
}

#[tokio::test]
async fn a_remote_that_serves_a_different_history_is_followed() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let first = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned").commit;
    std::fs::remove_dir_all(remote.path().join(".git")).expect("removes");
    remote.git(&["init", "--quiet", "--initial-branch=main"]).await;
    let other = remote.commit(&[("other", "x")]).await;
    let obtained = fetch(&mut scene, &remote.url(), Some("main")).await.0.expect("fetched");
    assert_eq!((obtained.commit, obtained.cache), (other, Cache::Hit));
    // What was there before is still known by its id.
    assert_eq!(fetch(&mut scene, &remote.url(), Some(&first)).await.0.expect("there").commit, first);
}

#[tokio::test]
async fn two_executions_that_need_the_same_new_mirror_clone_it_once() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let lease = scene.lease(&remote, None, &["true"]);
    let room = scene.room.clone();
    let obtain_it = async || {
        let story = Story::new(room.recorder.clone(), subject(), Orders::none());
        obtain(&room, &story, &lease.spec, Told::ByFiles).await.expect("obtained").cache
    };
    let (caches, _) = scene.collect(async { tokio::join!(obtain_it(), obtain_it()) }).await;
    assert_eq!(caches, (Cache::Miss, Cache::Hit));
}

#[tokio::test]
async fn a_large_repository_comes_without_contents_and_fetches_them_when_they_are_needed() {
    let mut scene = Scene::with(|config| config.limits.partial_above = 0).await;
    let remote = Remote::with(&[("README", "old\n"), ("large", "large\n")]).await;
    remote.commit(&[("README", "new\n")]).await;
    for name in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        remote.git(&["config", name, "true"]).await;
    }
    let look = "cat README; git show HEAD~1:README; git status --porcelain; git log --oneline | wc -l";
    for _ in 0..2 {
        let (completion, events) = scene.run(&remote, look).await;
        let said = output(&events, Stream::Stdout);
        assert_eq!(completion.outcome, Outcome::Succeeded, "{}", output(&events, Stream::Stderr));
        assert_eq!(said, "new\nold\n\n2\n".replace("\n\n", "\n"));
    }
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    assert!(partial::is_partial(&mirror));
    let missing = git(&mirror, &["rev-list", "--objects", "--all", "--missing=print"]).await;
    let old = remote.git(&["rev-parse", "HEAD~1:README"]).await;
    assert!(missing.contains(&format!("?{old}")), "only what was checked out is in the mirror: {missing}");
    // What is new upstream comes without contents, too.
    remote.commit(&[("README", "newer\n")]).await;
    let (_, events) = scene.run(&remote, "cat README").await;
    assert_eq!(output(&events, Stream::Stdout), "newer\n");
}

#[tokio::test]
async fn a_mirror_has_outgrown_the_bound_when_its_objects_have_more_bytes() {
    let scene = Scene::new().await;
    let mirror = scene.room.volume.mirror("x");
    kit::files::make_private(&mirror.join("objects/pack")).expect("makes");
    std::fs::write(mirror.join("objects/pack/tmp_pack_x"), [0; 2_000]).expect("writes");
    tokio::time::timeout(PATIENCE, partial::outgrown(&mirror, 1_999)).await.expect("is larger");
    let outgrown = partial::outgrown(&mirror, 2_000);
    tokio::select! {
        biased;
        () = outgrown => panic!("it is not larger"),
        () = std::future::ready(()) => (),
    }
}

#[tokio::test]
async fn a_mirror_is_started_from_a_bundle_or_another_machines_copy() {
    for is_bundle in [true, false] {
        let (mut scene, remote) = (Scene::new().await, Remote::new().await);
        let seeds = scene.room.volume.root().join("seeds");
        let name = repository_name(&remote.url());
        let seed = if is_bundle { seeds.join(format!("{name}.bundle")) } else { seeds.join(&name) };
        let seed_path = seed.to_string_lossy().into_owned();
        match is_bundle {
            true => remote.git(&["bundle", "create", "--quiet", &seed_path, "--all"]).await,
            false => remote.git(&["clone", "--quiet", "--bare", ".", &seed_path]).await,
        };
        let seeded = remote.git(&["rev-parse", "HEAD"]).await;
        let newer = remote.commit(&[("newer", "x")]).await;
        // The remote no longer has what the seed has, so it can only have come from there.
        let orphan = remote.git(&["commit-tree", &format!("{newer}^{{tree}}"), "-m", "rewritten"]).await;
        remote.git(&["reset", "--quiet", "--hard", &orphan]).await;
        let obtained = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned");
        assert_eq!((&obtained.commit, obtained.cache), (&orphan, Cache::Miss));
        assert_eq!(git(&obtained.mirror, &["cat-file", "-t", &seeded]).await, "commit");
        assert_eq!(fetch(&mut scene, &remote.url(), Some("main")).await.0.expect("fetched").commit, orphan);
    }
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let seed = scene.room.volume.root().join("seeds").join(format!("{}.bundle", repository_name(&remote.url())));
    std::fs::write(seed, "no bundle").expect("writes");
    fetch(&mut scene, &remote.url(), None).await.0.expect("cloned all the same");
}

fn packs(mirror: &Path) -> usize {
    let names = names_below(&mirror.join("objects/pack"));
    names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "pack")).count()
}

#[tokio::test]
async fn a_mirror_without_contents_of_many_packs_is_put_in_order_and_still_fetches_what_it_lacks() {
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    // With the git of this machine, and an older one where there is one.
    for directories in [path.clone(), format!("/usr/bin:/bin:{path}")] {
        let scene = Scene::with(|config| {
            config.limits.partial_above = 0;
            config.tool_environment.insert("PATH".into(), directories);
        });
        let (mut scene, remote) = (scene.await, Remote::new().await);
        for name in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
            remote.git(&["config", name, "true"]).await;
        }
        let old = remote.git(&["rev-parse", "HEAD:README"]).await;
        let hidden = remote.commit(&[("README", "newer\n")]).await;
        scene.run(&remote, "echo mine > mine").await;
        let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
        remote.git(&["reset", "--quiet", "--hard", "HEAD~1"]).await;
        // Each fetch keeps what came in a pack of its own.
        for number in 0..51 {
            remote.commit(&[("README", &format!("{number}\n"))]).await;
            fetch(&mut scene, &remote.url(), None).await.0.expect("fetched");
        }
        assert!(packs(&mirror) > 50, "{}", packs(&mirror));
        upkeep::keep(&scene.room, &remote.url(), &Orders::none()).await;
        assert_eq!(packs(&mirror), 2);
        assert_eq!(git(&mirror, &["cat-file", "-t", &hidden]).await, "commit");
        git(&mirror, &["fsck", "--strict"]).await;
        let work = kept(&mirror).await;
        assert_eq!(git(&mirror, &["show", &format!("{}:mine", work[0])]).await, "mine");
        let missing = git(&mirror, &["rev-list", "--objects", "--all", "--missing=print"]).await;
        assert!(missing.contains(&format!("?{old}")), "{missing}");
        let (completion, events) = scene.run(&remote, &format!("cat README; git cat-file -p {old}")).await;
        assert_eq!(completion.outcome, Outcome::Succeeded, "{}", output(&events, Stream::Stderr));
        assert_eq!(output(&events, Stream::Stdout), "50\nhello\n");
    }
}

#[tokio::test]
async fn a_mirror_of_many_packs_is_put_in_order_and_loses_nothing() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let hidden = remote.commit(&[("hidden", "x")]).await;
    let mirror = fetch(&mut scene, &remote.url(), None).await.0.expect("cloned").mirror;
    remote.git(&["reset", "--quiet", "--hard", "HEAD~1"]).await;
    fetch(&mut scene, &remote.url(), None).await.0.expect("fetched");
    // Each keeps what came in a pack of its own.
    for number in 0..22 {
        remote.commit(&[("file", &number.to_string())]).await;
        git(
            &mirror,
            &["-c", "fetch.unpackLimit=1", "fetch", "--quiet", &remote.url(), "+refs/heads/*:refs/remotes/origin/*"],
        )
        .await;
    }
    assert!(packs(&mirror) > 20);
    upkeep::keep(&scene.room, &remote.url(), &Orders::none()).await;
    assert!(packs(&mirror) < 5, "{}", packs(&mirror));
    assert_eq!(git(&mirror, &["cat-file", "-t", &hidden]).await, "commit");
    git(&mirror, &["fsck", "--strict"]).await;
    let obtained = fetch(&mut scene, &remote.url(), None).await.0.expect("fetched");
    assert_eq!(obtained.commit, remote.git(&["rev-parse", "HEAD"]).await);
}

#[tokio::test]
async fn what_is_known_of_submodules_is_put_in_order_with_the_mirror() {
    let (scene, remote) = (Scene::new().await, Remote::new().await);
    let known = scene.room.volume.submodules(&repository_name(&remote.url()));
    begin(&scene.room, &known, &Orders::none()).await.expect("made");
    for number in 0..22 {
        remote.commit(&[("file", &number.to_string())]).await;
        let to = "+refs/heads/*:refs/submodules/one/refs/heads/*";
        git(&known, &["-c", "fetch.unpackLimit=1", "fetch", "--quiet", &remote.url(), to]).await;
    }
    assert!(packs(&known) > 20);
    upkeep::keep(&scene.room, &remote.url(), &Orders::none()).await;
    assert!(packs(&known) < 5, "{}", packs(&known));
    git(&known, &["fsck", "--strict"]).await;
}

/// A remote that speaks HTTP and asks who we are.
async fn asking(remote: &Remote, authorization: &'static str) -> wiremock::MockServer {
    use wiremock::matchers::{any, header};
    remote.git(&["update-server-info"]).await;
    let (server, root) = (wiremock::MockServer::start().await, remote.path().join(".git"));
    let serve = move |request: &wiremock::Request| {
        let path = request.url.path().trim_start_matches('/').to_owned();
        match std::fs::read(root.join(path)) {
            Ok(bytes) => wiremock::ResponseTemplate::new(200).set_body_raw(bytes, "text/plain"),
            Err(_) => wiremock::ResponseTemplate::new(404),
        }
    };
    let known = wiremock::Mock::given(header("authorization", authorization)).respond_with(serve);
    known.with_priority(1).mount(&server).await;
    let refuse = wiremock::ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"x\"");
    wiremock::Mock::given(any()).respond_with(refuse).with_priority(2).mount(&server).await;
    server
}

/// Lets git have a password for every remote that asks.
fn give_credential(config: &mut crate::config::Config, password: &str) {
    use std::os::unix::fs::PermissionsExt;
    // A stand-in for this program, which a test has no path to: it answers as `answer` does.
    let program = config.sprite_dir.with_file_name("a helper");
    std::fs::write(&program, "#!/bin/sh\n[ $1-$3 = git-credential-get ] && cat \"$2\"\n").expect("writes");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("sets");
    let file = config.sprite_dir.with_file_name("the file");
    std::fs::write(&file, format!("username=bot\npassword={password}\n")).expect("writes");
    config.credentials = Some(Credentials { program, source: Source::File(file) });
}

#[tokio::test]
async fn credentials_come_from_the_helper_and_are_nowhere_else() {
    let remote = Remote::new().await;
    // The name and password of `bot:hunter2`.
    let server = asking(&remote, "Basic Ym90Omh1bnRlcjI=").await;
    assert_eq!(failure(&mut Scene::new().await, &server.uri(), None).await, Failure::RepositoryUnreachable);
    let mut scene = Scene::with(|config| give_credential(config, "hunter2")).await;
    let (obtained, events) = fetch(&mut scene, &server.uri(), None).await;
    obtained.expect("cloned");
    assert!(!format!("{events:?}").contains("hunter2"));
    for name in names_below(scene.room.volume.root()) {
        let bytes = std::fs::read(scene.room.volume.root().join(&name)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{name:?}");
    }
}

/// The arguments and the environment of every process of this computer that we may look at.
fn arguments_and_environments() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("lists").flatten();
    let files = processes.flat_map(|process| ["cmdline", "environ"].map(|name| process.path().join(name)));
    files.filter_map(|file| Some(String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned())).collect()
}

#[tokio::test]
async fn no_process_is_given_a_credential_by_its_arguments_or_its_environment() {
    // No other test has these: the second is the name and the password as they go over the wire.
    let secrets = ["window-7f3ac2", "Ym90OndpbmRvdy03ZjNhYzI="];
    let remote = Remote::with(&[("README", "hello\n")]).await;
    let served = FaultyRemote::start(remote.path().join(".git"), Some(&format!("Basic {}", secrets[1]))).await;
    let mut scene = Scene::with(|config| give_credential(config, secrets[0])).await;
    let room = scene.room.clone();
    for (at, round) in ["clone", "fetch", "push"].into_iter().enumerate() {
        let mut lease = scene.lease(&remote, None, &["sh", "-c", "echo new > new"]);
        (lease.spec.repository, lease.spec.push_unfinished) = (served.url(), round == "push");
        if round == "fetch" {
            remote.commit(&[("more", "x")]).await;
        }
        served.fail(Fault::Holds { after: 0 });
        let while_it_is_used = async {
            until(async || served.hits() > at).await;
            let seen = arguments_and_environments();
            served.mend();
            seen
        };
        let work = async { tokio::join!(crate::execution::carry_out(&room, &lease, Orders::none()), while_it_is_used) };
        let ((completion, seen), _) = scene.collect(work).await;
        assert_eq!(completion.expect("not lost").outcome, Outcome::Succeeded, "{round}");
        assert!(
            seen.iter().any(|text| text.contains("remote-http") && text.contains(&served.url())),
            "{round}: it was used"
        );
        let told: Vec<_> = seen.iter().filter(|text| secrets.iter().any(|secret| text.contains(secret))).collect();
        assert!(told.is_empty(), "{round}: {told:?}");
    }
    assert_eq!(remote.git(&["for-each-ref", "refs/bifrost/wip"]).await.lines().count(), 1);
}
