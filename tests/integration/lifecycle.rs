//! The life of a runner, whole (row RU-1): it starts, runs while its agent speaks on both channels, is paused, goes on,
//! and leaves nothing behind.

use serde_json::Value;
use wire::execution::Outcome;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{PATIENCE, Process, World, until};

use crate::commands::json;

/// A number of seconds that no other process waits for.
const LONG: &str = "86423";

/// An agent that is a shell script: it gets its prompt as its standard input.
const SCRIPTED: &str = r#"
[scripted]
program = "sh"
arguments = ["-s"]
[[scripted.read]]
when = { "/type" = "end" }
message = "/message"
input_tokens = ["/tokens"]
ends = "/failed"
"#;

#[tokio::test]
async fn a_runner_starts_runs_is_paused_goes_on_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (agents, prompt) = (directory.path().join("agents.toml"), directory.path().join("prompt"));
    std::fs::write(&agents, SCRIPTED).expect("writes");
    let world = World::plan().in_one_process().set("BIFROST_AGENTS", agents.display()).start().await;

    // It starts and runs: calls say that the agent goes on, its JSON that it stops, and with how many tokens.
    let program = world.program().display().to_string();
    // It has no terminal on its channels, nor one to open.
    let headless =
        "for channel in 0 1 2; do test ! -t $channel || exit 9; done\n! (: < /dev/tty) 2> /dev/null || exit 8\n";
    let script = format!(
        "{headless}setsid sleep {LONG} &\nfor round in 1 2 3 4 5 6 7 8; do sleep 0.7; {program} busy; done\n\
         echo '{{\"type\":\"end\",\"failed\":false,\"message\":\"Done.\",\"tokens\":12}}'\n"
    );
    std::fs::write(&prompt, script).expect("writes");
    let prompt = prompt.display().to_string();
    let options = ["run", "--agent", "scripted", "--idle-timeout", "4s", "--prompt", &prompt];
    let asked = world.bifrost(&options).output().await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    let executed = json(&world, &["tasks", "list"]).await[0]["execution"].clone();
    assert_eq!((&executed["outcome"], &executed["tokens"]), (&Value::from("succeeded"), &Value::from(12)));
    assert_eq!(world.processes_with(LONG), [], "it leaves no process of its agent");

    // It is paused, and goes on where it was.
    let (machine, runners) = (world.until_machine(MachineState::Suspended).await, world.runners());
    assert_eq!(runners.len(), 1);
    let again = world.bifrost(&["run", "--", "true"]).output().await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stderr.contains("clone: cached"), "{}", again.stderr);
    let machines = world.control().machines().await.expect("lists");
    assert_eq!(machines.iter().map(|machine| machine.id).collect::<Vec<_>>(), [machine.id]);
    assert_eq!(world.runners(), runners, "the same process");

    // It is told to end, in the middle of something.
    let task = world.submit(&format!("setsid sleep {LONG} & {}", world.gated("end"))).await;
    world.until_output(task, "started").await;
    let left = [world.processes_with(LONG), runners].concat();
    assert!(left.len() > 1, "{left:?}");
    world.runners().iter().for_each(Process::terminate);
    until("nothing of it is left", PATIENCE, async || (!left.iter().any(Process::is_alive)).then_some(())).await;
    world.until_outcome(task, Outcome::WorkerLost).await;
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}
