//! Who may speak: keys and tokens that are wrong, or were right once.

use client::control::Control;
use client::worker::Worker;
use uuid::Uuid;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use wire::worker::{Heartbeat, PROTOCOL, Register, env};
use world::World;

#[tokio::test]
async fn another_key_opens_nothing() {
    let world = World::start().await;
    for key in ["wrong", "bifrost_0000000000000000000000000000000000000000"] {
        let control = Control::new(&world.url(), key);
        assert_eq!(control.machines().await.expect_err("is refused").status(), Some(401));
        assert_eq!(control.submit(&world.script("true"), "once").await.expect_err("is refused").status(), Some(401));
    }
    assert_eq!(world.control().tasks(Default::default()).await.expect("lists"), []);
    world.finish().await;
}

#[tokio::test]
async fn the_token_of_an_earlier_boot_is_refused() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    // Its own runner is asleep, so that we speak for the machine undisturbed.
    let machine = world.until_machine(MachineState::Suspended).await;
    let provider_id = machine.provider_id.clone().expect("was made");
    let config = world.provider().machine(world.app(), &provider_id).await.expect("is there").config;
    let token = config.expect("its host is there").env[env::MACHINE_TOKEN].clone();
    let boot = async |boot: u128, token: &str| {
        let register = Register {
            machine_id: machine.id,
            boot: Uuid::from_u128(boot),
            protocol: PROTOCOL,
            version: "test".into(),
            capacity: 1,
            repositories: Vec::new(),
        };
        Worker::register(&world.url(), token, &register).await.map(|(worker, _)| worker)
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
