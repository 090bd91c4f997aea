//! Remotes that stop in the middle, and remotes that lie, over HTTP.

use super::*;

/// What no compression makes small.
fn noise(bytes: usize) -> String {
    (0..bytes as u64 / 64).map(|number| blake3::hash(&number.to_le_bytes()).to_hex().to_string()).collect()
}

const FAULTS: [Fault; 3] =
    [Fault::Holds { after: 20_000 }, Fault::Resets { after: 20_000 }, Fault::Closes { after: 20_000 }];

/// For one git: soon over where nothing else ends it, yet long enough for a busy machine to come to the pack.
fn bound(fault: &Fault) -> Duration {
    if matches!(fault, Fault::Holds { .. }) { Duration::from_secs(12) } else { PATIENCE }
}

/// Nothing of what was under way is left, and everything that is there is whole.
async fn check_whole(scene: &Scene, remote: &str) {
    let mirror = scene.room.volume.mirror(&repository_name(remote));
    git(&mirror, &["fsck", "--strict"]).await;
    let left: Vec<_> =
        names_below(&mirror).into_iter().filter(|name| name.to_string_lossy().contains("tmp_")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(scene.room.volume.repository_names(), [repository_name(remote)]);
    assert_eq!(names_below(&scene.room.volume.root().join("quarantine")).len(), 0);
}

#[tokio::test]
async fn a_remote_that_stops_in_the_middle_of_a_pack_costs_nobody_a_good_mirror() {
    for fault in FAULTS {
        let mut scene = Scene::with(|config| config.limits.git = bound(&fault)).await;
        let remote = Remote::new().await;
        let served = FaultyRemote::start(remote.path().join(".git"), None).await;
        let good = fetch(&mut scene, &served.url(), None).await.0.expect("cloned").commit;
        let new = remote.commit(&[("noise", &noise(100_000))]).await;
        served.fail(fault.clone());
        let (failed, events) = fetch(&mut scene, &served.url(), None).await;
        let is_unreachable = matches!(&failed, Err(NotReady::Failed { failure: Failure::RepositoryUnreachable, .. }));
        assert!(is_unreachable, "{fault:?}: {failed:?}");
        assert_eq!((served.hits(), kinds(&events)), (1, vec![]), "{fault:?}: {failed:?}");
        check_whole(&scene, &served.url()).await;
        // What was there is there, and so is what comes next.
        assert_eq!(fetch(&mut scene, &served.url(), Some(&good)).await.0.expect("there").cache, Cache::Hit);
        served.mend();
        let obtained = fetch(&mut scene, &served.url(), None).await.0.expect("fetched");
        assert_eq!((obtained.commit, obtained.cache), (new, Cache::Hit), "{fault:?}");
        check_whole(&scene, &served.url()).await;
    }
}

#[tokio::test]
async fn a_clone_that_is_cut_off_in_the_middle_of_its_pack_leaves_nothing() {
    for fault in FAULTS {
        let mut scene = Scene::with(|config| config.limits.git = bound(&fault)).await;
        let remote = Remote::with(&[("noise", &noise(100_000))]).await;
        let served = FaultyRemote::start(remote.path().join(".git"), None).await;
        served.fail(fault.clone());
        assert_eq!(failure(&mut scene, &served.url(), None).await, Failure::RepositoryUnreachable, "{fault:?}");
        assert_eq!(served.hits(), 1, "{fault:?}");
        assert!(names_below(&scene.room.volume.root().join("repos")).is_empty(), "{fault:?}");
        served.mend();
        assert_eq!(fetch(&mut scene, &served.url(), None).await.0.expect("cloned").cache, Cache::Miss);
        check_whole(&scene, &served.url()).await;
    }
}

#[tokio::test]
async fn a_remote_that_lies_about_where_a_branch_is_gives_nobody_another_commit() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let served = FaultyRemote::start(remote.path().join(".git"), None).await;
    let good = fetch(&mut scene, &served.url(), None).await.0.expect("cloned").commit;
    let new = remote.commit(&[("new", "x")]).await;
    let nowhere = "0123456789012345678901234567890123456789".to_owned();
    for (says, hears, expect) in [
        // A commit that the remote has not, and says so when it is asked for it.
        ([new.clone(), nowhere.clone()], None, Failure::UnknownReference),
        // One that it has not, in whose place it sends another.
        ([new.clone(), nowhere.clone()], Some([nowhere.clone(), new.clone()]), Failure::RepositoryUnreachable),
    ] {
        served.fail(Fault::Lies { says, hears });
        assert_eq!(failure(&mut scene, &served.url(), None).await, expect);
        check_whole(&scene, &served.url()).await;
        assert_eq!(fetch(&mut scene, &served.url(), Some(&good)).await.0.expect("there").cache, Cache::Hit);
        assert!(served.hits() > 0);
    }
    served.mend();
    assert_eq!(fetch(&mut scene, &served.url(), None).await.0.expect("fetched").commit, new);
}

#[tokio::test]
async fn a_branch_whose_name_means_harm_is_not_taken_or_is_only_a_name() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.git(&["branch", "harmless"]).await;
    let served = FaultyRemote::start(remote.path().join(".git"), None).await;
    // Each as long as `harmless`.
    for (name, is_taken) in [
        ("../../xx", false),
        ("..//..//", false),
        ("a.lock/b", false),
        ("x\u{1b}[31myy", false),
        ("-dashed-", true),
        ("$(id)`x`", true),
    ] {
        let mut scene = Scene::new().await;
        let says = ["refs/heads/harmless".to_owned(), format!("refs/heads/{name}")];
        served.fail(Fault::Lies { says, hears: None });
        let (completion, events) = {
            let mut lease = scene.lease(&remote, None, &["git", "for-each-ref", "--format=%(refname)"]);
            lease.spec.repository = served.url();
            scene.carry_out(&lease, Orders::none()).await
        };
        let completion = completion.expect("not lost");
        assert_eq!((completion.outcome, &completion.message), (Outcome::Succeeded, &None), "{name}");
        let mut expect = vec!["refs/remotes/origin/main".to_owned()];
        if is_taken {
            expect.insert(0, format!("refs/remotes/origin/{name}"));
        }
        assert_eq!(output(&events, Stream::Stdout).lines().collect::<Vec<_>>(), expect, "{name}");
        check_whole(&scene, &served.url()).await;
        assert!(names_below(scene.directory.path()).iter().all(|path| !path.ends_with("xx")), "{name}");
    }
    assert!(fetch(&mut scene, &served.url(), Some("../../xx")).await.0.is_err());
}

#[tokio::test]
async fn a_clone_that_turns_out_large_while_it_comes_is_given_up_for_one_without_contents() {
    let mut scene = Scene::with(|config| config.limits.partial_above = 20_000).await;
    let remote = Remote::with(&[("README", "old\n")]).await;
    // So many that git keeps them in a pack, which grows as it comes.
    let (noise, names) = (noise(256_000), (0..128).map(|number| format!("noise/{number}")).collect::<Vec<_>>());
    let files = names.iter().zip(noise.as_bytes().chunks(2_000));
    let files: Vec<_> = files.map(|(name, part)| (name.as_str(), std::str::from_utf8(part).expect("text"))).collect();
    remote.commit(&files).await;
    remote.commit(&[("README", "new\n")]).await;
    for name in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        remote.git(&["config", name, "true"]).await;
    }
    let served = FaultyRemote::start(remote.path().join(".git"), None).await;
    served.fail(Fault::Holds { after: 60_000 });
    let mut lease =
        scene.lease(&remote, None, &["sh", "-c", "cat README; cat noise/* | wc -c; git show HEAD~2:README"]);
    lease.spec.repository = served.url();
    let once_given_up = async {
        // The first clone is held for good; that another one comes shows that it was given up.
        until(async || served.hits() == 2).await;
        served.mend();
    };
    let room = scene.room.clone();
    let work = async { tokio::join!(crate::execution::carry_out(&room, &lease, Orders::none()), once_given_up).0 };
    let (completion, events) = scene.collect(work).await;
    let completion = completion.expect("not lost");
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    assert_eq!(output(&events, Stream::Stdout), "new\n256000\nold\n");
    let mirror = scene.room.volume.mirror(&repository_name(&served.url()));
    assert!(partial::is_partial(&mirror));
    assert_eq!(scene.room.volume.repository_names(), [repository_name(&served.url())]);
    // Of what was sent before, nothing is left; of what is not checked out, nothing came but what was asked for.
    remote.git(&["rm", "-rq", "noise"]).await;
    let smaller = remote.commit(&[]).await;
    let obtained = fetch(&mut scene, &served.url(), None).await.0.expect("fetched");
    assert_eq!((obtained.commit, obtained.cache), (smaller, Cache::Hit));
}
