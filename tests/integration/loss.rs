//! The loss of any one process while a task runs: the task ends once, and its
//! record is whole.

use std::collections::BTreeSet;
use std::path::Path;

use github::fake::Host;
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

#[tokio::test]
async fn a_runner_killed_while_it_clones_clones_when_it_is_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = Host::start(directory.path(), "token").await;
    host.stall(true);
    let world = World::start().await;
    let run = world.bifrost(&["run", "--repo", &host.url(), "--", "git", "log", "--format=%s"]).spawn();
    until("it is being cloned", PATIENCE, async || (host.fetches() > 0).then_some(())).await;
    host.stall(false);
    world.runners().iter().for_each(world::Process::kill);
    let run = run.output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "The first\n"), "{}", run.stderr);
    world.finish().await;
}

/// A package manager that says when it has begun, and goes on when it may.
fn slow_npm(begun: &Path, gate: &Path) -> String {
    format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 10.0.0 && exit\nmkdir -p node_modules/half; echo half > node_modules/half/a\n\
         touch {}\nwhile [ ! -e {} ]; do sleep 0.02; done\nmkdir -p node_modules/whole; echo whole > node_modules/whole/b\n",
        begun.display(),
        gate.display()
    )
}

#[tokio::test]
async fn a_runner_killed_while_it_installs_installs_anew_and_nothing_half_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (begun, gate) = (directory.path().join("begun"), directory.path().join("gate"));
    for (name, script) in [("npm", slow_npm(&begun, &gate)), ("node", "#!/bin/sh\necho v20\n".into())] {
        kit::files::replace(&directory.path().join(name), script.as_bytes(), 0o755).expect("writes");
    }
    let path = kit::Vars::from_process().text("PATH").unwrap_or_default().to_owned();
    let world =
        World::plan().in_one_process().set("PATH", format!("{}:{path}", directory.path().display())).start().await;
    world.repository.commit(&[("package.json", "{\"dependencies\":{\"a\":\"1\"}}"), ("package-lock.json", "{}")]).await;
    let show = ["run", "--", "find", "node_modules", "-type", "f"];
    let run = world.bifrost(&show).spawn();
    until("it is being installed", PATIENCE, async || begun.exists().then_some(())).await;
    world.runners().iter().for_each(world::Process::kill);
    kit::files::replace(&gate, b"", 0o644).expect("writes");
    let run = run.output().await;
    let expect = ["node_modules/half/a", "node_modules/whole/b"];
    let files = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!((run.code, files(&run.stdout)), (0, files(&expect.join("\n"))), "{}", run.stderr);
    // What is kept for the next one is whole as well.
    std::fs::remove_file(&begun).expect("was there");
    let again = world.bifrost(&show).output().await;
    assert_eq!((again.code, files(&again.stdout)), (0, files(&expect.join("\n"))), "{}", again.stderr);
    assert!(!begun.exists(), "it was installed anew");
    world.finish().await;
}
