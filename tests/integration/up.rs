//! `bifrost up`: the whole system in one process, which stops cleanly and comes
//! back from a `kill -9` with everything that was acknowledged.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use wire::event::Event;
use wire::execution::Outcome;
use wire::id::EventId;
use wire::machine::{MachineState, MachineView};
use wire::task::TaskStatus;
use world::{Service, World, note};

#[tokio::test]
async fn it_says_where_everything_is_and_keeps_its_key_to_itself() {
    let world = World::plan().in_one_process().start().await;
    let welcome = world.welcome();
    assert_eq!(welcome["control_plane"], world.url());
    world.events().health().await.expect("the event store is where it says");
    world.provider().app(world.app()).await.expect("the Machines API is where it says");
    let key = world.data().join("api-key");
    assert_eq!(welcome["api_key_file"], key.to_str().expect("a plain path"));
    assert_eq!(std::fs::metadata(&key).expect("is there").permissions().mode() & 0o777, 0o600);
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}

#[tokio::test]
async fn it_stops_cleanly_while_a_task_runs_and_runs_it_again() {
    let mut world = World::plan().in_one_process().start().await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    world.stop(Service::System).await;
    assert_eq!(world.processes(), []);
    world.open("end");
    world.run(Service::System).await;
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}

#[tokio::test]
async fn at_another_address_it_has_its_sleeping_machine_with_its_volume() {
    let mut world = World::plan().in_one_process().start().await;
    let first = world.bifrost(&["run", "--", "true"]).output().await;
    assert!(first.stderr.contains("clone: fetched"), "{}", first.stderr);
    let asleep = world.until_machine(MachineState::Suspended).await;
    world.stop(Service::System).await;
    world.move_on();
    world.run(Service::System).await;
    let second = world.bifrost(&["run", "--", "true"]).output().await;
    assert!(second.stderr.contains("clone: cached"), "{}", second.stderr);
    only_started(&world, &asleep).await;
    world.finish().await;
}

#[tokio::test]
async fn killed_while_a_task_runs_it_has_its_machine_at_another_address() {
    let mut world = World::plan().in_one_process().start().await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let awake = world.until_machine(MachineState::Ready).await;
    world.kill(Service::System).await;
    world.move_on();
    world.open("end");
    world.run(Service::System).await;
    world.until_task(task, TaskStatus::Completed).await;
    only_started(&world, &awake).await;
    world.finish().await;
}

/// Its machine is the one that it was, and nobody had to wait until a worker should have reported.
async fn only_started(world: &World, machine: &MachineView) {
    let machines = world.control().machines().await.expect("lists");
    let ids = |machine: &MachineView| (machine.id, machine.provider_id.clone());
    assert_eq!(machines.iter().map(ids).collect::<Vec<_>>(), [ids(machine)]);
    let id = machine.provider_id.as_deref().expect("it is made");
    let events = world.provider().events(world.app(), id).await.expect("answers");
    assert!(events.iter().all(|event| event.kind != "restart"), "{events:?}");
}

#[tokio::test]
async fn after_a_kill_everything_acknowledged_is_there_and_each_task_ends_once() {
    let mut world = World::plan().in_one_process().set("BIFROST_MAX_MACHINES", 1).start().await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(world.submit(&world.gated("end")).await);
    }
    world.until_output(tasks[0], "started").await;
    let events: Vec<Event> = (0..20).map(|_| note(world.event_id())).collect();
    world.events().append(&events).await.expect("are acknowledged");
    world.restart(Service::System).await;
    world.open("end");
    for task in &tasks {
        world.until_task(*task, TaskStatus::Completed).await;
        let executions = world.executions(*task).await;
        let ends = executions.iter().filter(|execution| execution.outcome == Some(Outcome::Succeeded)).count();
        assert_eq!(ends, 1, "{executions:?}");
    }
    let feed = world.events().feed(0, 1_000).await.expect("answers").events;
    let there: BTreeSet<EventId> = feed.iter().map(|event| event.id).collect();
    assert!(events.iter().all(|event| there.contains(&event.id)));
    world.finish().await;
}
