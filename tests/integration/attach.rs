//! Attaching to a command that runs: what it says is seen as it comes, and what is typed reaches it where it has a
//! terminal and one asked to type.

use std::process::Stdio;

use client::socket::{Said, Socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wire::attach::{Closed, Word};
use wire::id::TaskId;
use wire::task::{NewTask, TaskStatus};
use world::{PATIENCE, World, until};

/// Says what its terminal is, and then every line that it is told, until it is told `end`.
const ECHO: &str = "stty -echo; test -t 0 && test -t 1 && echo a terminal of $(stty size); \
                    while read line; do echo told: $line, $(stty size); [ \"$line\" != end ] || exit 0; done";

async fn running(world: &World, task: &NewTask) -> TaskId {
    let submitted = world.control().submit(task, "0197f0a45b1e7c3a").await.expect("is accepted");
    world.until_task(submitted.id, TaskStatus::InProgress).await;
    submitted.id
}

/// Attaches as soon as the command runs: its task is in progress a moment before.
async fn attached(world: &World, task: TaskId, write: bool) -> (Socket, Word) {
    until("the command runs", PATIENCE, async || {
        let mut socket = world.control().attach(task, write).await.expect("attaches");
        match socket.next().await.expect("the runner comes") {
            Said::Word(Word::Closed { why: Closed::NotRunning }) => None,
            Said::Word(word) => Some((socket, word)),
            Said::Bytes(bytes) => panic!("{bytes:?} before any word"),
        }
    })
    .await
}

fn with_terminal(world: &World, script: &str) -> NewTask {
    let mut task = world.script(script);
    task.spec.as_mut().expect("is a command").terminal = true;
    task
}

/// What is said until it has the text, words left out; the last word, if it came before.
async fn until_said(socket: &mut Socket, text: &str) -> Result<String, Option<Closed>> {
    let mut said = String::new();
    while !said.contains(text) {
        match socket.next().await {
            Some(Said::Bytes(bytes)) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Some(Said::Word(Word::Closed { why })) => return Err(Some(why)),
            Some(Said::Word(_)) => (),
            None => return Err(None),
        }
    }
    Ok(said)
}

/// Reads to the last word.
async fn closed(socket: &mut Socket) -> Option<Closed> {
    until_said(socket, "\0 is never said").await.expect_err("has an end")
}

#[tokio::test]
async fn who_attaches_to_a_terminal_sees_types_and_resizes() {
    let world = World::start().await;
    let task = running(&world, &with_terminal(&world, ECHO)).await;
    let (mut socket, opened) = attached(&world, task, true).await;
    assert_eq!(opened, Word::Opened { terminal: true, write: true });
    // What was said before is shown too.
    until_said(&mut socket, "a terminal of 24 80").await.expect("is shown");
    assert!(socket.say(Word::Resize { rows: 40, columns: 132 }).await && socket.send(b"hello\n").await);
    until_said(&mut socket, "told: hello, 40 132").await.expect("answers");
    let (mut other, opened) = attached(&world, task, false).await;
    assert_eq!(opened, Word::Opened { terminal: true, write: false });
    until_said(&mut other, "told: hello").await.expect("is shown what was said last");
    // Who only watches is not passed on: nobody hears this.
    assert!(other.send(b"end\n").await && socket.send(b"again\n").await);
    until_said(&mut other, "told: again").await.expect("is shown");
    assert!(socket.send(b"end\n").await);
    assert_eq!(
        (closed(&mut socket).await, closed(&mut other).await),
        (Some(Closed::CommandEnded), Some(Closed::CommandEnded))
    );
    world.until_task(task, TaskStatus::Completed).await;
    let execution = &world.executions(task).await[0];
    let log = world.record(task).await.output_of(execution.id).stdout;
    let told: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("told: ")?.split(',').next()).collect();
    assert_eq!(told, ["hello", "again", "end"], "{log}");
    world.finish().await;
}

#[tokio::test]
async fn a_command_without_a_terminal_can_be_watched_and_one_that_ended_cannot() {
    let world = World::start().await;
    let script = format!("{}; exit 3", world.gated("watched"));
    let task = running(&world, &world.script(&script)).await;
    let id = task.to_string();
    // Also of one whose workspace is still made ready.
    let refused = world.bifrost(&["attach", &id, "--write"]).output().await;
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(refused.stderr.contains("--terminal"), "{}", refused.stderr);
    let mut watching = world.bifrost(&["attach", &id]).spawn();
    assert_eq!(watching.line().await, "started");
    let (mut socket, opened) = attached(&world, task, false).await;
    assert_eq!(opened, Word::Opened { terminal: false, write: false });
    until_said(&mut socket, "started").await.expect("is shown");
    world.open("watched");
    assert_eq!(closed(&mut socket).await, Some(Closed::CommandEnded));
    let watched = watching.output().await;
    assert_eq!((watched.code, watched.stdout.as_str()), (3, "done\n"), "{}", watched.stderr);
    world.until_task(task, TaskStatus::Failed).await;
    let late = world.control().attach(task, false).await.expect_err("has ended");
    assert_eq!(late.code(), Some("not_running"));
    let late = world.bifrost(&["attach", &id]).output().await;
    assert_eq!(late.code, 65, "{}", late.stderr);
    assert!(late.stderr.contains("has ended: it is failed"), "{}", late.stderr);
    assert!(late.stderr.contains(&format!("bifrost tasks logs {id}")), "{}", late.stderr);
    world.finish().await;
}

#[tokio::test]
async fn what_comes_through_a_pipe_is_typed_and_whoever_only_watches_can_leave() {
    let world = World::start().await;
    let script = format!("read -r line; echo \"told: $line\"; {}; exit 5", world.gated("heard"));
    let task = running(&world, &with_terminal(&world, &script)).await;
    let id = task.to_string();
    let typed = world.directory().join("typed");
    std::fs::write(&typed, "hello\n").expect("writes");
    let mut piped = world.bifrost(&["attach", &id, "--write"]).reading(&typed).spawn();
    while !piped.line().await.starts_with("told: hello") {}

    // A terminal of its own, which only looks on.
    let bifrost = [world.program().to_str().expect("a plain path"), "--url", &world.url(), "attach", &id].join(" ");
    let mut looking = kit::process::command("script");
    looking.args(["--quiet", "--return", "--command", &bifrost, "/dev/null"]).env("BIFROST_API_KEY", world.api_key());
    let looking = looking.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut looking = looking.expect("util-linux has it");
    let (mut keys, mut shown) = (looking.stdin.take().expect("is piped"), looking.stdout.take().expect("is piped"));
    let mut seen = Vec::new();
    let mut until = async |words: &str| {
        while !String::from_utf8_lossy(&seen).contains(words) {
            let mut buffer = [0; 1024];
            let length = shown.read(&mut buffer).await.expect("reads");
            assert_ne!(length, 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..length]);
        }
    };
    until("attached, to look on; Ctrl-] detaches").await;
    keys.write_all(b"not shown\x1d").await.expect("types");
    until("detached; the task goes on").await;
    assert!(looking.wait().await.expect("ends").success());
    assert!(!String::from_utf8_lossy(&seen).contains("not shown"));

    world.open("heard");
    assert_eq!(piped.output().await.code, 5);
    world.until_task(task, TaskStatus::Failed).await;
    world.finish().await;
}
