//! The manual mode: nothing moves by itself.

use emulator::Config;
use fly::{MachineState, StopOptions};

use crate::world::*;

async fn manual() -> World {
    World::with(|config| Config { is_manual: true, ..config }).await
}

#[tokio::test]
async fn machines_move_when_they_are_poked() {
    let world = manual().await;
    let id = world.machines.create_machine(APP, &script("one", "exec sleep 1000")).await.expect("created").id;
    world
        .machines
        .wait(APP, &id, MachineState::Started, None, std::time::Duration::from_secs(1))
        .await
        .expect_err("held");
    assert_eq!((world.state(&id).await, states(&id)), (MachineState::Starting, vec![]));
    assert_eq!(world.poke(&id).await, "started");
    assert_eq!(states(&id).len(), 1);

    world.machines.suspend(APP, &id).await.expect("accepted");
    assert_eq!(world.state(&id).await, MachineState::Suspending);
    assert!(!are_frozen(&states(&id)));
    assert_eq!(world.poke(&id).await, "suspended");
    world.machines.start(APP, &id).await.expect("accepted");
    assert_eq!(world.machines.start(APP, &id).await.expect_err("on its way").status(), Some(412));
    assert_eq!(world.poke(&id).await, "started");

    world.machines.stop(APP, &id, &StopOptions::default()).await.expect("accepted");
    assert_eq!((world.state(&id).await, states(&id).len()), (MachineState::Stopping, 1));
    world.poke(&id).await;
    world.until(&id, MachineState::Stopped).await;
    assert_eq!(world.poke(&id).await, "stopped", "whoever is not held needs no poke");

    world.machines.destroy(APP, &id, false).await.expect("accepted");
    assert_eq!(world.state(&id).await, MachineState::Destroying);
    assert_eq!(world.poke(&id).await, "destroyed");
    world.stop().await;
}

#[tokio::test]
async fn a_clean_stop_waits_for_no_poke() {
    let world = manual().await;
    let id = world.machines.create_machine(APP, &script("one", "exec sleep 1000")).await.expect("created").id;
    let held = world.machines.create_machine(APP, &script("two", "exec sleep 1000")).await.expect("created").id;
    world.poke(&id).await;
    world.machines.stop(APP, &id, &StopOptions::default()).await.expect("accepted");
    let data = world.stop().await;
    assert_eq!(states(&id), []);
    let world = World::on(data).await;
    assert_eq!(world.state(&id).await, MachineState::Stopped);
    assert_eq!(world.state(&held).await, MachineState::Stopped);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_held_on_its_way_to_sleep_is_asked_to_stop_with_the_emulator() {
    let world = manual().await;
    let asked = "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let id = world.machines.create_machine(APP, &script("one", asked)).await.expect("created").id;
    world.poke(&id).await;
    until("the script runs", || world.log(&id).contains("up")).await;
    world.machines.suspend(APP, &id).await.expect("accepted");
    let data = world.stop().await;
    let log = std::fs::read_to_string(data.path().join("machines").join(&id).join("log")).expect("a log");
    assert!(log.ends_with("asked\n"), "{log}");
}

#[tokio::test]
async fn a_held_machine_is_destroyed_by_force() {
    let world = World::failing("[[machine]]\neffect = { stick_in = 'stopping' }").await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    world.machines.stop(APP, &id, &StopOptions::default()).await.expect("accepted");
    assert_eq!(world.machines.destroy(APP, &id, false).await.expect_err("it is stopping").status(), Some(412));
    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    assert_eq!((world.state(&id).await, states(&id)), (MachineState::Destroyed, vec![]));
    world.stop().await;
}
