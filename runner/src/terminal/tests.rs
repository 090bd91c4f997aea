//! That a command's terminal is its own, with walls and without, and that nobody who watches holds it up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tokio::sync::broadcast::error::TryRecvError;
use wire::event::{Event, Stream};
use wire::execution::{Exit, Outcome};

use super::*;
use crate::isolation::Demand;
use crate::orders::{Halt, Orders};
use crate::testing::{Remote, Scene, output, subject};

async fn scene(demand: Demand) -> Scene {
    // Not in a home that others may not pass.
    let directory = tempfile::tempdir_in("/tmp").expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    Scene::in_directory(directory, |config| config.isolation = demand).await
}

/// Runs a script with a terminal, at which somebody types a text, once, as soon as another was said.
async fn typed(scene: &mut Scene, script: &str, texts: &[(&str, &str)]) -> (Option<Exit>, String) {
    let remote = Remote::new().await;
    let mut lease = scene.lease(&remote, None, &["sh", "-c", script]);
    lease.spec.terminal = true;
    let room = scene.room.clone();
    let mut texts = texts.iter();
    let mut next = texts.next();
    let types = |events: &[Event]| {
        let Some((_, keys)) = next.filter(|(said, _)| output(events, Stream::Stdout).contains(said)) else { return };
        let seat = room.stage.watch(lease.execution_id).expect("it runs");
        let terminal = seat.typed.expect("it has a terminal");
        terminal.try_send(Input::Typed(keys.as_bytes().to_vec())).expect("has room");
        next = texts.next();
    };
    let (completion, events) = scene.watch(crate::execution::carry_out(&room, &lease, Orders::none()), types).await;
    (completion.expect("the lease was not lost").exit, output(&events, Stream::Stdout))
}

#[tokio::test]
async fn what_is_typed_reaches_the_command_and_its_keys_are_signals_with_walls_and_without() {
    for demand in [Demand::On, Demand::Off] {
        let script = "trap 'exit 9' INT; test -t 0 && test -t 2 && echo ready; read line; echo told $line >&2; \
                      while :; do sleep 0.02; done";
        let (exit, said) = typed(&mut scene(demand).await, script, &[("ready", "hello\n"), ("told", "\x03")]).await;
        assert_eq!(exit, Some(Exit::Code(9)), "{demand:?}: {said}");
        assert!(said.contains("ready\r\nhello\r\ntold hello\r\n"), "{demand:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_command_with_a_terminal_is_called_off_as_any_other() {
    for demand in [Demand::On, Demand::Off] {
        let mut scene = scene(demand).await;
        let remote = Remote::new().await;
        let script = "trap 'echo tidy; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
        let mut lease = scene.lease(&remote, None, &["sh", "-c", script]);
        lease.spec.terminal = true;
        let (commander, orders) = Orders::new();
        let room = scene.room.clone();
        let call_off = |events: &[Event]| {
            if output(events, Stream::Stdout).contains("ready") {
                commander.halt(Halt::Cancelled);
            }
        };
        let (completion, _) = scene.watch(crate::execution::carry_out(&room, &lease, orders), call_off).await;
        let completion = completion.expect("the lease was not lost");
        assert_eq!((completion.outcome, completion.exit), (Outcome::Cancelled, Some(Exit::Code(7))), "{demand:?}");
        assert!(room.stage.watch(lease.execution_id).is_none(), "nobody is on the stage any more");
    }
}

#[tokio::test]
async fn who_comes_later_sees_what_was_said_last_and_who_is_too_slow_is_told_so() {
    let stage = Arc::new(Stage::default());
    let (mine, another) = (subject().execution_id, subject().execution_id);
    let player = stage.enter(mine, Life::default());
    player.say(&vec![b'a'; RECENT_BYTES]);
    player.say(b"bc");
    assert!(stage.watch(another).is_none());
    let mut seat = stage.watch(mine).expect("it runs");
    assert!(seat.typed.is_none());
    assert_eq!((seat.recent.len(), seat.recent.ends_with(b"abc")), (RECENT_BYTES, true));
    for _ in 0..BEHIND + 3 {
        player.say(b"d");
    }
    assert_eq!(seat.said.try_recv(), Err(TryRecvError::Lagged(3)));
    drop(player);
    assert!(stage.watch(mine).is_none());
}
