//! Typing to agents (rows ORK-6.2b and ORK-6.4c to e).

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use spawner::FleetError;

use crate::scene::{Scene, alone, command, mock, until};

#[tokio::test]
async fn a_text_arrives_as_it_is_and_in_no_argument_tmux() {
    let mut scene = Scene::new().await;
    scene.config.tmux = scene.wrap("tmux", "");
    let text = "$(touch nope) `id` #{pid} 'quoted' \"twice\" \\ ; Enter";
    for new in [command("a", &["cat"]), alone(command("b", &["cat"]))] {
        let handle = scene.start(&new).await.expect("starts");
        let sent = spawner::send(&scene.config, handle.id, text, None, &scene.clock, &mut || ()).await.expect("sends");
        assert_eq!((sent.bytes, sent.typed_over, sent.forced), (text.len(), false, None));
        let lines = scene.shown(&handle, text).await;
        assert!(lines.iter().any(|line| line == text), "{lines:?}");
        assert!(!handle.worktree.join("nope").exists());
        scene.kill(&handle).await.expect("ends");
    }
    let calls = scene.called("tmux");
    assert!(calls.contains("[paste-buffer]") && !calls.contains("quoted"), "{calls}");
}

#[tokio::test]
async fn a_program_that_wants_to_know_is_told_what_was_pasted_tmux() {
    let scene = Scene::new().await;
    let asks = "printf '\\033[?2004hup\\n'; exec cat -v";
    let handle = scene.start(&command("a", &["sh", "-c", asks])).await.expect("starts");
    scene.shown(&handle, "up").await;
    spawner::send(&scene.config, handle.id, "one\ntwo", None, &scene.clock, &mut || ()).await.expect("sends");
    scene.shown(&handle, "two^[[201~").await;
}

#[tokio::test]
async fn who_scrolls_back_keeps_no_text_from_its_program_tmux() {
    let scene = Scene::new().await;
    let handle = scene.start(&command("a", &["sh", "-c", "read -r line && echo got $line && read -r line"])).await;
    let handle = handle.expect("starts");
    let mut scroll = kit::process::command("tmux");
    let target = format!("=fleet-{}:", handle.id);
    scroll.arg("-S").arg(scene.root().join("tmux")).args(["copy-mode", "-t", &target]);
    assert!(scroll.status().await.expect("runs").success());
    spawner::send(&scene.config, handle.id, "word", None, &scene.clock, &mut || ()).await.expect("sends");
    scene.shown(&handle, "got word").await;
}

#[tokio::test]
async fn who_types_is_given_way_to_for_as_long_as_the_rules_say_unless_somebody_has_a_reason() {
    let mut scene = Scene::new().await;
    scene.config.rules.recheck = Duration::from_millis(50);
    scene.config.rules.defer_max = Duration::from_millis(200);
    let handle = scene.start(&alone(command("a", &["cat"]))).await.expect("starts");
    spawner::press_by_hand(&scene.config, handle.id, b"by hand\r").await.expect("types");
    scene.shown(&handle, "by hand").await;
    let mut waited = false;
    let sent = spawner::send(&scene.config, handle.id, "one", None, &scene.clock, &mut || waited = true).await;
    let sent = sent.expect("sends");
    assert!(waited && sent.typed_over && sent.waited_ms >= 200, "{sent:?}");
    scene.shown(&handle, "one").await;
    spawner::press_by_hand(&scene.config, handle.id, b"more").await.expect("types");
    let sent = spawner::send(&scene.config, handle.id, "two", Some("it burns"), &scene.clock, &mut || ()).await;
    let sent = sent.expect("sends");
    assert_eq!((sent.typed_over, sent.forced.as_deref()), (false, Some("it burns")));
    let record = fs::read_to_string(handle.worktree.parent().expect("has one").join(".agent/sent.jsonl"));
    let record = record.expect("is kept");
    assert!(record.lines().count() == 2 && record.contains("it burns") && !record.contains("two"), "{record}");
    scene.kill(&handle).await.expect("ends");
    let error = spawner::send(&scene.config, handle.id, "x", None, &scene.clock, &mut || ()).await.expect_err("ended");
    assert!(matches!(error, FleetError::NotRunning(_)), "{error}");
}

#[tokio::test]
async fn who_is_attached_with_tmux_is_given_way_to_tmux() {
    let mut scene = Scene::new().await;
    scene.config.rules.recheck = Duration::from_millis(50);
    scene.config.rules.defer_max = Duration::from_millis(200);
    let handle = scene.start(&command("a", &["cat"])).await.expect("starts");
    let sent = spawner::send(&scene.config, handle.id, "one", None, &scene.clock, &mut || ()).await.expect("sends");
    assert!(!sent.typed_over && sent.waited_ms < 200, "nobody is there: {sent:?}");
    // It counts as typed when somebody comes.
    let tmux = || {
        let mut command = kit::process::command("tmux");
        command.arg("-S").arg(scene.root().join("tmux")).stdout(Stdio::piped());
        command
    };
    let session = format!("fleet-{}", handle.id);
    let _attached = tmux().args(["-C", "attach", "-t", &session]).stdin(Stdio::piped()).spawn().expect("starts");
    until("somebody is attached", async || {
        let clients = tmux().args(["list-clients", "-t", &session]).output().await.expect("runs").stdout;
        (!clients.is_empty()).then_some(())
    })
    .await;
    let sent = spawner::send(&scene.config, handle.id, "two", None, &scene.clock, &mut || ()).await.expect("sends");
    assert!(sent.typed_over && sent.waited_ms >= 200, "{sent:?}");
    scene.shown(&handle, "two").await;
}

#[tokio::test]
async fn an_agent_with_a_prompt_reads_nothing_more() {
    let scene = Scene::new().await;
    let handle = scene.start(&alone(mock("a", "stall 60"))).await.expect("starts");
    let error =
        spawner::send(&scene.config, handle.id, "x", None, &scene.clock, &mut || ()).await.expect_err("no terminal");
    assert!(matches!(error, FleetError::NoTerminal(_)), "{error}");
    scene.kill(&handle).await.expect("ends");
}

#[tokio::test]
async fn a_message_that_gives_way_to_a_person_holds_no_other_up() {
    let mut scene = Scene::new().await;
    (scene.config.rules.quiet, scene.config.rules.defer_max) = (Duration::from_secs(3_600), Duration::from_secs(3_600));
    let handle = scene.start(&alone(command("a", &["cat"]))).await.expect("starts");
    spawner::press_by_hand(&scene.config, handle.id, b"by hand\r").await.expect("types");
    let (told, waits) = tokio::sync::oneshot::channel();
    let mut told = Some(told);
    let mut waiting = || told.take().into_iter().for_each(|told| told.send(()).expect("somebody waits for it"));
    let patient = spawner::send(&scene.config, handle.id, "later", None, &scene.clock, &mut waiting);
    let urgent = async {
        waits.await.expect("the first waits");
        spawner::send(&scene.config, handle.id, "now", Some("it burns"), &scene.clock, &mut || ()).await
    };
    let sent = tokio::select! {
        sent = patient => panic!("somebody types: {sent:?}"),
        sent = urgent => sent.expect("sends"),
    };
    assert_eq!(sent.forced.as_deref(), Some("it burns"));
    scene.shown(&handle, "now").await;
}
