//! What is known of agents while they run and when they have ended (rows T-2.4a to c, T-2.5
//! and ORK-6.2c).

use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::process::{Sig, signal_group};
use spawner::{FleetError, Haste, NewAgent, Status, Stray};
use wire::execution::{Exit, Outcome};
use wire::id::ExecutionId;

use crate::scene::{Scene, alone, command, mock, until};

#[tokio::test]
async fn only_our_own_sessions_are_listed_and_only_while_they_run_tmux() {
    let scene = Scene::new().await;
    let handle = scene.start(&command("a", &["cat"])).await.expect("starts");
    let mut foreign = kit::process::command("tmux");
    foreign.arg("-S").arg(scene.root().join("tmux")).args([
        "new-session",
        "-d",
        "-s",
        "fleet-of-ships",
        "--",
        "tail",
        "-f",
        "/dev/null",
    ]);
    assert!(foreign.status().await.expect("runs").success());
    assert!(spawner::is_alive(&scene.config, handle.id).await.expect("is known"));
    assert_eq!(spawner::list_active(&scene.config).await.expect("lists"), std::slice::from_ref(&handle));
    let killed = scene.kill(&handle).await.expect("ends");
    assert_eq!(killed.status, Status::Ended(Outcome::Cancelled));
    assert!(!spawner::is_alive(&scene.config, handle.id).await.expect("is known"));
    assert_eq!(spawner::list_active(&scene.config).await.expect("lists"), []);
    let mut left = kit::process::command("tmux");
    let left = left.arg("-S").arg(scene.root().join("tmux")).args(["list-sessions", "-F", "#S"]).output().await;
    assert_eq!(String::from_utf8_lossy(&left.expect("runs").stdout), "fleet-of-ships\n");
}

/// Opens a session as somebody might, on the scene's own server.
async fn session(scene: &Scene, name: &str, directory: &Path) {
    let mut command = kit::process::command("tmux");
    command.arg("-S").arg(scene.root().join("tmux")).args(["new-session", "-d", "-s", name, "-c"]).arg(directory);
    assert!(command.args(["--", "tail", "-f", "/dev/null"]).status().await.expect("runs").success());
}

#[tokio::test]
async fn a_session_whose_directory_is_gone_is_a_stray_that_can_be_ended_and_others_are_left_alone_tmux() {
    let scene = Scene::new().await;
    let known = scene.start(&command("a", &["cat"])).await.expect("starts");
    let [lost, elsewhere]: [ExecutionId; 2] = [1, 2].map(|seed| ExecutionId::mint(scene.clock.now(), [seed; 10]));
    let base = scene.config.base.clone();
    let (ours, theirs) = (base.join(lost.to_string()), scene.root().join("others").join(elsewhere.to_string()));
    for (name, directory) in [
        (format!("fleet-{lost}"), ours.join("fix/login")),
        (format!("fleet-{elsewhere}"), theirs.join("fix/login")),
        ("fleet-of-ships".to_owned(), ours.join("fix/login")),
    ] {
        fs::create_dir_all(&directory).expect("makes");
        session(&scene, &name, &directory).await;
    }
    fs::remove_dir_all(&ours).expect("removes");
    fs::remove_dir_all(&theirs).expect("removes");
    let stray = Stray { id: lost, session: format!("fleet-{lost}"), worktree: ours.join("fix/login") };
    assert_eq!(spawner::strays(&scene.config).await.expect("lists"), std::slice::from_ref(&stray));
    assert_eq!(spawner::list_active(&scene.config).await.expect("lists"), std::slice::from_ref(&known));
    for id in [known.id, elsewhere] {
        let refused = spawner::end_stray(&scene.config, id).await.expect_err("is none");
        assert!(matches!(refused, FleetError::NotFound(_)), "{refused}");
    }
    assert_eq!(spawner::end_stray(&scene.config, lost).await.expect("ends"), stray);
    assert_eq!(spawner::strays(&scene.config).await.expect("lists"), []);
    let mut left = kit::process::command("tmux");
    let left = left.arg("-S").arg(scene.root().join("tmux")).args(["list-sessions", "-F", "#S"]).output().await;
    assert_eq!(String::from_utf8_lossy(&left.expect("runs").stdout).lines().count(), 3);
}

#[tokio::test]
async fn without_tmux_there_are_no_strays() {
    let mut scene = Scene::new().await;
    scene.config.tmux = "/no/such/tmux".into();
    assert_eq!(spawner::strays(&scene.config).await.expect("lists"), []);
}

#[tokio::test]
async fn one_whose_process_was_killed_is_not_alive_although_it_was_never_told_tmux() {
    let scene = Scene::new().await;
    for new in [command("a", &["cat"]), alone(command("b", &["cat"]))] {
        let handle = scene.start(&new).await.expect("starts");
        let own = handle.worktree.ancestors().nth(1).expect("has one").join(".agent");
        let supervisor = fs::read_to_string(own.join("supervisor")).expect("runs").parse().expect("a number");
        signal_group(supervisor, Sig::SIGKILL).expect("signals");
        until("it is seen", async || (scene.status(&handle).await == Status::Lost).then_some(())).await;
        assert!(!spawner::is_alive(&scene.config, handle.id).await.expect("is known"));
        let ended = scene.kill(&handle).await.expect("ends what is left");
        assert_eq!(ended.status, Status::Ended(Outcome::Cancelled));
    }
}

#[tokio::test]
async fn one_whose_session_is_gone_is_not_alive_although_its_process_is_tmux() {
    let scene = Scene::new().await;
    let deaf = "trap '' TERM; echo up; while :; do read -r line; done";
    let handle = scene.start(&command("a", &["sh", "-c", deaf])).await.expect("starts");
    scene.shown(&handle, "up").await;
    let mut close = kit::process::command("tmux");
    let session = format!("=fleet-{}", handle.id);
    close.arg("-S").arg(scene.root().join("tmux")).args(["kill-session", "-t", &session]);
    assert!(close.status().await.expect("runs").success());
    let own = handle.worktree.ancestors().nth(1).expect("has one").join(".agent");
    assert!(!spawner::is_alive(&scene.config, handle.id).await.expect("is known"));
    assert!(kit::lock::is_held(&own.join("alive")).expect("looks"), "it has its grace");
    let ended = spawner::kill(&scene.config, handle.id, Haste::AtOnce, &scene.clock).await.expect("ends");
    assert_eq!(ended.status, Status::Ended(Outcome::Cancelled));
}

#[tokio::test]
async fn killing_asks_first_and_insists_after_the_grace() {
    let mut scene = Scene::new().await;
    let polite = "trap 'echo asked; exit 7' TERM; echo up; while :; do read -r line; done";
    let polite = scene.start(&alone(command("polite", &["sh", "-c", polite]))).await.expect("starts");
    scene.shown(&polite, "up").await;
    let ended = scene.kill(&polite).await.expect("ends").end.expect("ended");
    assert_eq!((ended.outcome, ended.exit), (Outcome::Cancelled, Some(Exit::Code(7))));
    scene.shown(&polite, "asked").await;
    scene.config.grace = Duration::from_millis(100);
    let deaf = "trap '' TERM; echo up; while :; do read -r line; done";
    let deaf = scene.start(&alone(command("deaf", &["sh", "-c", deaf]))).await.expect("starts");
    scene.shown(&deaf, "up").await;
    let ended = scene.kill(&deaf).await.expect("ends").end.expect("ended");
    assert_eq!((ended.outcome, ended.exit), (Outcome::Cancelled, Some(Exit::Signal(9))));
    let again = scene.kill(&deaf).await.expect("is no error");
    assert_eq!(again.end, Some(ended));
}

#[tokio::test]
async fn one_in_a_hurry_waits_for_no_grace() {
    let scene = Scene::new().await;
    let deaf = "trap '' TERM; echo up; while :; do read -r line; done";
    let deaf = scene.start(&alone(command("deaf", &["sh", "-c", deaf]))).await.expect("starts");
    scene.shown(&deaf, "up").await;
    let ended = spawner::kill(&scene.config, deaf.id, Haste::AtOnce, &scene.clock).await.expect("ends");
    assert_eq!(ended.status, Status::Ended(Outcome::Cancelled));
}

#[tokio::test]
async fn one_that_runs_for_too_long_is_ended_with_its_work_intact() {
    let scene = Scene::new().await;
    let new = NewAgent { timeout: Some(Duration::from_secs(1)), ..mock("a", "write NOTES hello\nstall 60") };
    let handle = scene.start(&alone(new)).await.expect("starts");
    let end = scene.ended(&handle).await;
    assert_eq!(end.outcome, Outcome::TimedOut);
    assert!(end.message.expect("says so").contains("longer than its timeout of 1 s"));
    assert_eq!(fs::read_to_string(handle.worktree.join("NOTES")).expect("is there"), "hello\n");
}

#[tokio::test]
async fn the_last_lines_are_shown_while_it_runs_and_afterwards_tmux() {
    let scene = Scene::new().await;
    let script = "for n in 1 2 3 4 5; do echo line $n; done; read -r line";
    for new in [command("a", &["sh", "-c", script]), alone(command("b", &["sh", "-c", script]))] {
        let handle = scene.start(&new).await.expect("starts");
        scene.shown(&handle, "line 5").await;
        let last = async || spawner::logs(&scene.config, handle.id, 2).await.expect("reads");
        assert_eq!(last().await, ["line 4", "line 5"]);
        spawner::send(&scene.config, handle.id, "end", None, &scene.clock, &mut || ()).await.expect("sends");
        scene.ended(&handle).await;
        assert_eq!(last().await, ["line 5", "end"]);
    }
}

#[tokio::test]
async fn an_agent_that_fails_says_why() {
    let scene = Scene::new().await;
    let handle = scene.start(&alone(mock("a", "fail it is broken"))).await.expect("starts");
    let end = scene.ended(&handle).await;
    assert_eq!((end.outcome, end.message.as_deref()), (Outcome::Failed, Some("it is broken")));
    assert_eq!(scene.shown(&handle, "broken").await, ["bifrost: it is broken"]);
}

#[tokio::test]
async fn a_log_is_shown_without_what_only_a_terminal_understands() {
    let scene = Scene::new().await;
    let says = r"printf '\033]0;title\007\033[1;31mred\033[0m and plain\r\n'; exec sleep 60";
    let handle = scene.start(&alone(command("work", &["sh", "-c", says]))).await.expect("starts");
    let lines = scene.shown(&handle, "and plain").await;
    assert_eq!(lines, ["red and plain"]);
    scene.kill(&handle).await.expect("ends");
}
