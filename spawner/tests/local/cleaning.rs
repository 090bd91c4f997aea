//! Cleaning up: what is safe goes, and what is not is saved first (row T-2.4d).

use std::fs;
use std::path::Path;

use spawner::{AgentHandle, Cleaned, FleetError};

use crate::scene::{Scene, alone, command, git, mock};

async fn clean(scene: &Scene, handle: &AgentHandle) -> Result<Cleaned, FleetError> {
    spawner::cleanup(&scene.config, handle.id, &scene.clock).await
}

/// Runs a mock agent to its end.
async fn ran(scene: &Scene, branch: &str, prompt: &str) -> AgentHandle {
    let handle = scene.start(&alone(mock(branch, prompt))).await.expect("starts");
    scene.ended(&handle).await;
    handle
}

/// A clone of the remote into which the snapshot was fetched.
async fn rescued(scene: &Scene, snapshot: &Path, id: &str) -> std::path::PathBuf {
    let elsewhere = scene.root().join("elsewhere");
    git(scene.root(), &["clone", "--quiet", &scene.root().join("remote").to_string_lossy(), "elsewhere"]).await;
    let bundle = snapshot.join("work.bundle").to_string_lossy().into_owned();
    git(&elsewhere, &["fetch", "--quiet", &bundle, &format!("refs/bifrost/fleet/{id}/work:refs/heads/rescued")]).await;
    git(&elsewhere, &["checkout", "--quiet", "rescued"]).await;
    elsewhere
}

#[tokio::test]
async fn what_was_pushed_goes_without_a_snapshot() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "fix/login", "write NOTES hello\ncommit Add notes\npush fix/login").await;
    git(&scene.repository, &["fetch", "--quiet"]).await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    assert_eq!((cleaned.snapshot, cleaned.branch_deleted), (None, true));
    scene.assert_nothing_left("fix/login").await;
    let error = clean(&scene, &handle).await.expect_err("is gone");
    assert!(matches!(error, FleetError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_branch_on_which_nothing_was_done_goes() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "nothing to do").await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    assert_eq!((cleaned.snapshot, cleaned.branch_deleted), (None, true));
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn commits_and_files_that_nobody_pushed_survive_in_the_snapshot_and_the_branch_stays() {
    let scene = Scene::new().await;
    let prompt = "write NOTES hello\ncommit Add notes\nwrite NOTES changed\nwrite new/FILE more\nappend README second";
    let handle = ran(&scene, "fix/login", prompt).await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    assert!(!cleaned.branch_deleted && !handle.worktree.exists());
    assert_eq!(git(&scene.repository, &["log", "-1", "--format=%s", "fix/login"]).await, "Add notes");
    assert_eq!(git(&scene.repository, &["for-each-ref", "refs/bifrost"]).await, "");
    assert_eq!(git(&scene.repository, &["status", "--porcelain"]).await, "", "git does not see snapshots");
    let snapshot = cleaned.snapshot.expect("was taken");
    assert!(snapshot.starts_with(scene.repository.join(".fleet-snapshots")), "{snapshot:?}");
    let label = fs::read_to_string(snapshot.join("snapshot.json")).expect("says what it is");
    assert!(label.contains("\"commits\": 1") && label.contains("\"has_uncommitted\": true"), "{label}");
    // Even if all of the repository were lost.
    let elsewhere = rescued(&scene, &snapshot, &handle.id.to_string()).await;
    let read = |name: &str| fs::read_to_string(elsewhere.join(name)).expect(name);
    assert_eq!(
        (read("NOTES"), read("new/FILE"), read("README")),
        ("changed\n".into(), "more\n".into(), "first\nsecond\n".into())
    );
    assert_eq!(git(&elsewhere, &["log", "--format=%s", "-2"]).await, "Not committed by mock on fix/login\nAdd notes");
}

#[tokio::test]
async fn a_branch_that_was_merged_goes_and_what_was_not_committed_is_saved() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "write NOTES hello\ncommit Add notes\nwrite MORE x").await;
    git(&scene.repository, &["merge", "--quiet", "a"]).await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    assert!(cleaned.branch_deleted);
    let snapshot = cleaned.snapshot.expect("was taken");
    let elsewhere = rescued(&scene, &snapshot, &handle.id.to_string()).await;
    assert_eq!(fs::read_to_string(elsewhere.join("MORE")).expect("is there"), "x\n");
}

#[tokio::test]
async fn commits_beside_the_branch_are_saved_as_well() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "write NOTES hello\ncommit On the branch").await;
    git(&handle.worktree, &["checkout", "--quiet", "--detach", "main"]).await;
    scene.commit(&handle.worktree, "BESIDE", "x").await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    let bundle = cleaned.snapshot.expect("was taken").join("work.bundle").to_string_lossy().into_owned();
    let heads = git(&scene.repository, &["bundle", "list-heads", &bundle]).await;
    assert_eq!(heads.lines().count(), 2, "{heads}");
    let elsewhere = rescued(&scene, Path::new(&bundle).parent().expect("has one"), &handle.id.to_string()).await;
    assert!(elsewhere.join("BESIDE").exists());
}

#[tokio::test]
async fn a_repository_without_a_remote_is_saved_whole() {
    let scene = Scene::new().await;
    git(&scene.repository, &["remote", "remove", "origin"]).await;
    let handle = ran(&scene, "a", "write NOTES hello\ncommit Add notes").await;
    let snapshot = clean(&scene, &handle).await.expect("cleans").snapshot.expect("was taken");
    let bundle = snapshot.join("work.bundle").to_string_lossy().into_owned();
    let target = scene.root().join("fresh");
    git(scene.root(), &["init", "--quiet", "fresh"]).await;
    git(&target, &["fetch", "--quiet", &bundle, &format!("refs/bifrost/fleet/{}/work:refs/heads/rescued", handle.id)])
        .await;
    assert_eq!(git(&target, &["log", "--format=%s", "rescued"]).await, "Add notes\nfirst");
}

#[tokio::test]
async fn nothing_is_removed_where_a_snapshot_cannot_be_proven() {
    let mut scene = Scene::new().await;
    let handle = ran(&scene, "a", "write NOTES hello\ncommit Add notes").await;
    // A bundle that has lost its last bytes on the way to the disk.
    let damage = "case \" $* \" in *' bundle create '*) git \"$@\" && truncate -s -30 \"$4\"; exit;; esac";
    scene.config.git = scene.wrap("git", damage);
    let error = clean(&scene, &handle).await.expect_err("is damaged");
    assert!(matches!(error, FleetError::NotSaved(_)), "{error}");
    assert!(handle.worktree.join("NOTES").exists());
    let left = fs::read_dir(scene.repository.join(".fleet-snapshots")).expect("lists").count();
    assert_eq!(left, 1, "only what hides it from git");
    scene.config.git = "git".into();
    assert!(clean(&scene, &handle).await.expect("cleans").snapshot.is_some());
}

#[tokio::test]
async fn what_git_cannot_delete_goes_all_the_same_but_not_what_is_locked() {
    let mut scene = Scene::new().await;
    let handle = ran(&scene, "a", "nothing").await;
    let path = handle.worktree.to_string_lossy().into_owned();
    git(&scene.repository, &["worktree", "lock", "--reason=mine", &path]).await;
    let error = clean(&scene, &handle).await.expect_err("is locked").to_string();
    assert!(error.contains("locked") && handle.worktree.exists(), "{error}");
    git(&scene.repository, &["worktree", "unlock", &path]).await;
    let half = "case \" $* \" in *' worktree remove '*) echo \"error: failed to delete 'x': Permission denied\" >&2; exit 1;; esac";
    scene.config.git = scene.wrap("git", half);
    assert!(clean(&scene, &handle).await.expect("cleans").branch_deleted);
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn what_is_written_while_a_snapshot_is_taken_is_not_lost() {
    let mut scene = Scene::new().await;
    let handle = ran(&scene, "a", "write NOTES hello").await;
    let late = handle.worktree.join("LATE");
    let write = format!("case \" $* \" in *' bundle create '*) echo x > '{}';; esac", late.display());
    scene.config.git = scene.wrap("git", &write);
    let error = clean(&scene, &handle).await.expect_err("is not in it").to_string();
    assert!(error.contains("still changes"), "{error}");
    assert!(late.exists() && handle.worktree.join("NOTES").exists());
}

#[tokio::test]
async fn a_repository_within_the_worktree_stops_it() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "nothing").await;
    git(&handle.worktree, &["init", "--quiet", "inner"]).await;
    scene.commit(&handle.worktree.join("inner"), "WORK", "x").await;
    let error = clean(&scene, &handle).await.expect_err("is not saved").to_string();
    assert!(error.contains("inner") && error.contains("a repository of its own"), "{error}");
    assert!(handle.worktree.join("inner/WORK").exists());
}

#[tokio::test]
async fn one_that_still_runs_is_left_alone() {
    let scene = Scene::new().await;
    let handle = scene.start(&alone(command("a", &["cat"]))).await.expect("starts");
    let error = clean(&scene, &handle).await.expect_err("runs");
    assert!(matches!(error, FleetError::StillRuns(_)), "{error}");
    scene.kill(&handle).await.expect("ends");
    assert!(clean(&scene, &handle).await.expect("cleans").branch_deleted);
}

#[tokio::test]
async fn hooks_are_no_work() {
    let mut scene = Scene::new().await;
    let hooks = scene.root().join("hooks");
    fs::create_dir(&hooks).expect("makes");
    fs::write(hooks.join("HOOK"), "x").expect("writes");
    scene.config.hooks = Some(hooks);
    let handle = ran(&scene, "a", "nothing").await;
    assert_eq!(clean(&scene, &handle).await.expect("cleans").snapshot, None);
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn what_an_agent_made_beside_its_worktree_is_not_removed_with_it() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "fix/login", "write NOTES hello").await;
    let beside = handle.worktree.with_file_name("helper");
    git(&handle.worktree, &["worktree", "add", "--quiet", "--detach", &beside.to_string_lossy()]).await;
    fs::write(beside.join("mine"), "x").expect("writes");
    let error = clean(&scene, &handle).await.expect_err("is refused").to_string();
    assert!(error.contains(&beside.to_string_lossy().into_owned()), "{error}");
    assert!(handle.worktree.join("NOTES").exists() && beside.join("mine").exists());
    git(&scene.repository, &["worktree", "remove", "--force", &beside.to_string_lossy()]).await;
    assert!(clean(&scene, &handle).await.expect("cleans").snapshot.is_some());
}

#[tokio::test]
async fn what_is_ignored_and_was_staged_all_the_same_is_saved() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "write .gitignore made").await;
    fs::write(handle.worktree.join("made"), "by force").expect("writes");
    git(&handle.worktree, &["add", "--force", "made"]).await;
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    let elsewhere = rescued(&scene, &cleaned.snapshot.expect("was saved"), &handle.id.to_string()).await;
    assert_eq!(fs::read_to_string(elsewhere.join("made")).expect("is there"), "by force");
}

#[tokio::test]
async fn what_git_was_told_to_pass_over_is_saved() {
    let scene = Scene::new().await;
    let handle = ran(&scene, "a", "say done").await;
    git(&handle.worktree, &["update-index", "--assume-unchanged", "README"]).await;
    fs::write(handle.worktree.join("README"), "changed by the agent").expect("writes");
    let cleaned = clean(&scene, &handle).await.expect("cleans");
    let elsewhere = rescued(&scene, &cleaned.snapshot.expect("was saved"), &handle.id.to_string()).await;
    assert_eq!(fs::read_to_string(elsewhere.join("README")).expect("is there"), "changed by the agent");
}
