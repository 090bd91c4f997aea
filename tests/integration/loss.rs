//! The loss of any one process while a task runs: the task ends once, and its
//! record is whole.

use wire::event::kind;
use wire::execution::Outcome;
use wire::id::TaskId;
use wire::task::TaskStatus;
use world::{PATIENCE, Service, World, until};

/// The task ended well, said what it had to say, and its attempts ended so.
async fn check(world: &World, task: TaskId, outcomes: &[Outcome]) {
    let ended = world.until_task(task, TaskStatus::Completed).await;
    assert_eq!(ended.attempts, 1);
    let executions = world.executions(task).await;
    // What a worker was promised that was gone already never began, and counts for nothing.
    let begun: Vec<_> = executions.iter().filter(|execution| execution.started_at.is_some()).collect();
    assert_eq!(begun.iter().filter_map(|execution| execution.outcome).collect::<Vec<_>>(), outcomes);
    let last = begun.last().expect("it had one").id;
    let expect = "started\ndone\n";
    until("the record is whole", PATIENCE, async || {
        let record = world.record(task).await;
        let is_whole = record.count(kind::TASK_COMPLETED) == 1 && record.output_of(last).stdout == expect;
        is_whole.then_some(())
    })
    .await;
}

async fn running(world: &World) -> TaskId {
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    task
}

#[tokio::test]
async fn a_task_outlives_its_runner_and_the_lost_attempt_does_not_count() {
    let world = World::start().await;
    let task = running(&world).await;
    world.runners().iter().for_each(world::Process::kill);
    world.until_outcome(task, Outcome::WorkerLost).await;
    world.until_output(task, "started").await;
    world.open("end");
    check(&world, task, &[Outcome::WorkerLost, Outcome::Succeeded]).await;
    world.finish().await;
}

#[tokio::test]
async fn a_task_runs_on_while_the_machines_api_is_down() {
    let mut world = World::start().await;
    let task = running(&world).await;
    world.kill(Service::Emulator).await;
    world.open("end");
    check(&world, task, &[Outcome::Succeeded]).await;
    world.run(Service::Emulator).await;
    world.finish().await;
}

#[tokio::test]
async fn a_task_runs_on_while_the_control_plane_is_down_and_ends_once() {
    let mut world = World::start().await;
    let task = running(&world).await;
    world.kill(Service::ControlPlane).await;
    world.open("end");
    world.run(Service::ControlPlane).await;
    check(&world, task, &[Outcome::Succeeded]).await;
    world.finish().await;
}

#[tokio::test]
async fn output_written_while_the_event_store_is_down_arrives_in_order_and_whole() {
    let mut world = World::start().await;
    let count = |from: u32, to: u32| format!("i={from}; while [ $i -le {to} ]; do echo line $i; i=$((i+1)); done");
    let script = format!("{}; {}; {}", count(1, 500), world.gated("end"), count(501, 1_000));
    let task = world.submit(&script).await;
    world.until_output(task, "started").await;
    world.kill(Service::EventStore).await;
    world.open("end");
    let ended = world.until_task(task, TaskStatus::Completed).await;
    world.run(Service::EventStore).await;
    let lines = |from: u32, to: u32| (from..=to).map(|line| format!("line {line}\n")).collect::<String>();
    let expect = format!("{}started\ndone\n{}", lines(1, 500), lines(501, 1_000));
    let execution = ended.execution.expect("it had one").id;
    until("all output is in the record", PATIENCE, async || {
        let record = world.record(task).await;
        (record.count(kind::EXECUTION_FINISHED) == 1 && record.output_of(execution).stdout == expect).then_some(())
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn a_task_in_postgres_outlives_the_control_plane_and_its_runner() {
    let mut world = World::plan().on_postgres().start().await;
    let task = running(&world).await;
    world.restart(Service::ControlPlane).await;
    world.runners().iter().for_each(world::Process::kill);
    world.until_outcome(task, Outcome::WorkerLost).await;
    world.until_output(task, "started").await;
    world.open("end");
    check(&world, task, &[Outcome::WorkerLost, Outcome::Succeeded]).await;
    world.finish().await;
}
