//! Who may speak: keys and tokens that are wrong, or were right once.

use client::control::Control;
use client::events::{EventStore, Signer};
use client::worker::Worker;
use kit::Clock;
use serde_json::value::RawValue;
use uuid::Uuid;
use wire::event::{Event, SCHEMA_VERSION, kind};
use wire::id::MachineId;
use wire::machine::MachineState;
use wire::signature::Key;
use wire::task::TaskStatus;
use wire::worker::{EventAccess, Heartbeat, PROTOCOL, Register, env};
use world::World;

#[tokio::test]
async fn another_key_opens_nothing() {
    let world = World::start().await;
    for key in ["wrong", "bifrost_0000000000000000000000000000000000000000"] {
        let control = Control::new(&world.url(), key);
        assert_eq!(control.machines().await.expect_err("is refused").status(), Some(401));
        assert_eq!(control.submit(&world.script("true"), "once").await.expect_err("is refused").status(), Some(401));
    }
    assert_eq!(world.control().tasks(&Default::default()).await.expect("lists"), []);
    world.finish().await;
}

#[tokio::test]
async fn the_token_of_an_earlier_boot_is_refused() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let (machine, token) = asleep(&world).await;
    let boot = async |boot, token: &str| {
        Worker::register(&world.url(), token, &hello(machine, boot), &Clock::system()).await.map(|(worker, _)| worker)
    };
    assert_eq!(boot(1, "wrong").await.expect_err("is refused").status(), Some(401));
    let first = boot(1, &token).await.expect("is taken in");
    first.heartbeat(&Heartbeat::default()).await.expect("is heard");
    let second = boot(2, &token).await.expect("is taken in");
    assert_eq!(first.heartbeat(&Heartbeat::default()).await.expect_err("is refused").status(), Some(401));
    second.heartbeat(&Heartbeat::default()).await.expect("is heard");
    world.finish().await;
}

#[tokio::test]
async fn a_stolen_machines_key_writes_into_no_record_that_is_not_its_own() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let (machine, token) = asleep(&world).await;
    let (_, registered) =
        Worker::register(&world.url(), &token, &hello(machine, 1), &Clock::system()).await.expect("is taken in");
    let EventAccess { url, key, key_id } = registered.events;
    let key = Key::parse(&key).expect("is one");
    let (clock, chance) = (Clock::system(), kit::Chance::system());
    let written = |execution_id| Event {
        id: world.event_id(),
        kind: kind::EXECUTION_LOG.into(),
        task_id: Some(task),
        execution_id,
        producer: key_id.clone(),
        created_at: clock.now(),
        schema_version: SCHEMA_VERSION,
        payload: RawValue::NULL.to_owned(),
    };
    let events = [written(None), written(Some(Uuid::from_u128(1).into()))];
    let store = EventStore::new(&url, Signer { key, key_id: Some(key_id.clone()), clock: clock.clone(), chance });
    for event in &events {
        let refused = store.append(std::slice::from_ref(event)).await.expect_err("is refused");
        assert_eq!((refused.status(), refused.code()), (Some(403), Some("not_granted")));
    }
    world.finish().await;
}

#[tokio::test]
async fn a_command_finds_no_secret_and_neither_does_who_reads_arguments_or_logs() {
    let world = World::start().await;
    let task = world.submit(&format!("env; {}", world.gated("end"))).await;
    world.until_output(task, "started").await;
    let machine = world.control().machines().await.expect("lists").remove(0);
    let provider_id = machine.provider_id.expect("it runs");
    let config = world.provider().machine(world.app(), &provider_id).await.expect("is there").config;
    let machine_token = config.expect("its host is there").env[env::MACHINE_TOKEN].clone();
    let execution = world.control().task(task).await.expect("answers").execution.expect("it runs").id;
    let environment = world.record(task).await.output_of(execution).stdout;
    let arguments = world.processes().into_iter().flat_map(|process| process.arguments).collect::<Vec<_>>().join("\n");
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;
    let logs = world.logs();
    for (what, text) in [("environment", environment), ("arguments", arguments), ("logs", logs)] {
        assert!(!text.is_empty(), "{what}");
        for secret in world.secrets().iter().chain([&machine_token]) {
            assert!(!text.contains(secret.as_str()), "a secret is among the {what}");
        }
    }
    world.finish().await;
}

/// A machine and its token. Its own runner is asleep, so that we speak for it undisturbed.
async fn asleep(world: &World) -> (MachineId, String) {
    let machine = world.until_machine(MachineState::Suspended).await;
    let provider_id = machine.provider_id.expect("was made");
    let config = world.provider().machine(world.app(), &provider_id).await.expect("is there").config;
    (machine.id, config.expect("its host is there").env[env::MACHINE_TOKEN].clone())
}

fn hello(machine_id: MachineId, boot: u128) -> Register {
    Register {
        machine_id,
        boot: Uuid::from_u128(boot),
        protocol: PROTOCOL,
        version: "test".into(),
        capacity: 1,
        repositories: Vec::new(),
    }
}
