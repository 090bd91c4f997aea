//! Commands that are ended: by their timeouts, by Ctrl-C, by somebody else.

use wire::execution::Outcome;
use wire::task::TaskStatus;
use wire::why::ReasonCode;
use world::{PATIENCE, World, until};

/// A number of seconds that no other process waits for.
const LONG: &str = "86417";

async fn until_gone(world: &World, argument: &str) {
    until("the command's processes are gone", PATIENCE, async || {
        world.processes_with(argument).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_that_runs_or_is_silent_for_too_long_is_ended_with_all_its_processes() {
    let world = World::start().await;
    for (options, said, outcome) in [
        (["--timeout", "1s"], "timed out", Outcome::TimedOut),
        (["--idle-timeout", "1s"], "silence", Outcome::IdleTimedOut),
        (["--stall-timeout", "1s"], "stalled", Outcome::Stalled),
    ] {
        // The second process leaves the command's group and would outlive it.
        let script = format!("setsid sleep {LONG} & sleep {LONG}");
        let arguments = [&["run"], &options[..], &["--", "sh", "-c", &script]].concat();
        let output = world.bifrost(&arguments).output().await;
        assert_eq!(output.code, 124, "{}", output.stderr);
        assert!(output.stderr.contains(said) && output.stderr.contains(options[0]), "{}", output.stderr);
        let task = &world.control().tasks(&Default::default()).await.expect("lists");
        let ended = task.iter().filter_map(|task| task.execution.as_ref()?.outcome).any(|ended| ended == outcome);
        assert!(ended, "{task:?}");
        until_gone(&world, LONG).await;
    }
    world.finish().await;
}

#[tokio::test]
async fn an_interrupt_cancels_the_task_and_ends_its_processes() {
    let world = World::start().await;
    let script = format!("echo started; sleep {LONG}");
    let mut run = world.bifrost(&["run", "--", "sh", "-c", &script]).spawn();
    assert_eq!(run.line().await, "started");
    run.interrupt();
    let output = run.output().await;
    assert_eq!(output.code, 130, "{}", output.stderr);
    let tasks = world.control().tasks(&Default::default()).await.expect("lists");
    assert_eq!(tasks.iter().map(|task| task.status).collect::<Vec<_>>(), [TaskStatus::Cancelled]);
    until_gone(&world, LONG).await;
    world.finish().await;
}

#[tokio::test]
async fn a_second_interrupt_leaves_a_task_alone_that_takes_its_time_to_end() {
    let world = World::start().await;
    let script = format!("trap '' TERM; {}", world.gated("end"));
    let mut run = world.bifrost(&["run", "--", "sh", "-c", &script]).spawn();
    assert_eq!(run.line().await, "started");
    let control = world.control();
    let task = control.tasks(&Default::default()).await.expect("lists").remove(0).id;
    run.interrupt();
    until("the task is being cancelled", PATIENCE, async || {
        let why = control.why(task).await.expect("answers");
        why.reasons.iter().any(|reason| reason.code == ReasonCode::Cancelling).then_some(())
    })
    .await;
    run.interrupt();
    let output = run.output().await;
    assert_eq!(output.code, 130, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("bifrost tasks logs {task} --follow")), "{}", output.stderr);
    world.open("end");
    world.until_task(task, TaskStatus::Cancelled).await;
    world.finish().await;
}

#[tokio::test]
async fn a_task_that_somebody_else_cancels_ends_the_run_that_watches_it() {
    let world = World::start().await;
    let mut run = world.bifrost(&["run", "--", "sh", "-c", &world.gated("never")]).spawn();
    assert_eq!(run.line().await, "started");
    let task = &world.control().tasks(&Default::default()).await.expect("lists")[0];
    let cancel = world.bifrost(&["tasks", "cancel", &task.id.to_string()]).output().await;
    assert_eq!(cancel.code, 0, "{}", cancel.stderr);
    let output = run.output().await;
    assert_eq!(output.code, 130, "{}", output.stderr);
    world.finish().await;
}
