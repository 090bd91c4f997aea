//! What a machine's processes see, and that suspend and clean stops reach all of them.

use std::collections::BTreeMap;
use std::fs;

use emulator::Config;
use fly::{MachineState, StopOptions};

use crate::world::*;

/// One child in the init's session, one in a session of its own, one that left its parents and its
/// session, and one without any environment.
const FAMILY: &str = "sleep 1001 & setsid sleep 1002 & (setsid sleep 1003 &) ; env -i sleep 1004 & wait";

async fn family(world: &World) -> String {
    let id = world.run(&script("family", FAMILY)).await.id;
    // One that is about to become its program would be missed by the next look.
    let runs = |own: &[(i32, char)], seconds| {
        running(&["sleep", seconds]).iter().any(|(pid, _)| own.iter().any(|(other, _)| other == pid))
    };
    until("the family runs", || {
        let own = states(&id);
        let all_run = ["1001", "1002", "1003"].iter().all(|seconds| runs(&own, seconds));
        own.len() == 4 && all_run && unmarked_child(&id).is_some()
    })
    .await;
    id
}

/// The process of the family that carries no mark is known by its parent.
fn unmarked_child(id: &str) -> Option<(i32, char)> {
    let parents: Vec<i32> = states(id).iter().map(|(pid, _)| *pid).collect();
    running(&["sleep", "1004"])
        .into_iter()
        .find(|(pid, _)| parent(*pid).is_some_and(|parent| parents.contains(&parent)))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_machine_sees_its_own_environment_and_three_variables_of_this_computer() {
    let world = World::start().await;
    let volume = world.volume().await;
    let new = with_volume(script("one", "pwd; readlink .sprite; exec env"), &volume);
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    world.until(&machine.id, MachineState::Stopped).await;

    let log = world.log(&machine.id);
    let mut lines = log.lines();
    let data = world.data.path().canonicalize().expect("there");
    let root = data.join("machines").join(&machine.id).join("root").display().to_string();
    assert_eq!(lines.next(), Some(root.as_str()));
    assert_eq!(lines.next(), Some(data.join("volumes").join(&volume.id).display().to_string().as_str()));
    let mut env: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    for lent_or_the_shells_own in ["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"] {
        env.remove(lent_or_the_shells_own);
    }
    let expected = BTreeMap::from([
        ("FLY_ALLOC_ID", machine.id.as_str()),
        ("FLY_APP_NAME", APP),
        ("FLY_EMULATOR_ROOT", root.as_str()),
        ("FLY_IMAGE_REF", "example/image:1"),
        ("FLY_MACHINE_ID", machine.id.as_str()),
        ("FLY_MACHINE_VERSION", machine.instance_id.as_str()),
        ("FLY_PRIVATE_IP", "127.0.0.1"),
        ("FLY_REGION", "local"),
        ("FLY_VM_MEMORY_MB", "256"),
        ("GIVEN", "yes"),
        ("PRIMARY_REGION", "local"),
    ]);
    assert_eq!(env, expected);
    world.stop().await;
}

#[tokio::test]
async fn what_every_machine_is_told_is_so_whatever_its_configuration_says() {
    let fixed_env: BTreeMap<String, String> = [("GIVEN".to_owned(), "otherwise".to_owned())].into();
    let world = World::with(|config| Config { fixed_env, ..config }).await;
    let machine = world.machines.create_machine(APP, &script("one", "echo $GIVEN")).await.expect("created");
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(world.log(&machine.id), "otherwise\n");
    world.stop().await;
}

#[tokio::test]
async fn a_suspend_freezes_every_process_and_a_start_thaws_them() {
    let world = World::start().await;
    let id = family(&world).await;
    let before: Vec<i32> = states(&id).iter().map(|(pid, _)| *pid).collect();
    for _ in 0..3 {
        world.machines.suspend(APP, &id).await.expect("suspended");
        assert_eq!(world.state(&id).await, MachineState::Suspended);
        assert!(are_frozen(&states(&id)), "{:?}", states(&id));
        assert_eq!(unmarked_child(&id).expect("there").1, 'T');
        world.machines.suspend(APP, &id).await.expect("twice is no error");

        world.machines.start(APP, &id).await.expect("resumed");
        assert_eq!(world.state(&id).await, MachineState::Started);
        until("all run", || states(&id).iter().all(|(_, state)| *state != 'T')).await;
        assert_ne!(unmarked_child(&id).expect("there").1, 'T');
    }
    assert_eq!(states(&id).iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), before);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_forks_all_the_time_is_frozen_as_a_whole() {
    let world = World::start().await;
    let forks = "while :; do setsid true; done & while :; do true | true; done & wait";
    let id = world.run(&script("busy", forks)).await.id;
    until("it forks", || states(&id).len() > 2).await;
    for _ in 0..10 {
        world.machines.suspend(APP, &id).await.expect("suspended");
        let frozen = states(&id);
        assert!(are_frozen(&frozen), "{frozen:?}");
        assert_eq!(states(&id), frozen);
        world.machines.start(APP, &id).await.expect("resumed");
    }
    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    assert_eq!(states(&id), []);
    world.stop().await;
}

#[tokio::test]
async fn a_stop_of_a_suspended_machine_drops_its_memory_and_its_root() {
    let world = World::start().await;
    let id = family(&world).await;
    world.machines.suspend(APP, &id).await.expect("suspended");
    assert!(world.root(&id).exists());
    world.machines.stop(APP, &id, &StopOptions::default()).await.expect("stopped");
    assert_eq!(world.state(&id).await, MachineState::Stopped);
    assert_eq!(states(&id), []);
    assert!(!world.root(&id).exists());
    world.stop().await;
}

#[tokio::test]
async fn a_machine_too_large_to_be_saved_is_not_suspended() {
    let world = World::start().await;
    let mut new = script("large", "exec sleep 1000");
    (new.config.guest.cpus, new.config.guest.memory_mb) = (2, 4_096);
    let id = world.run(&new).await.id;
    assert_eq!(world.machines.suspend(APP, &id).await.expect_err("too large").status(), Some(412));
    assert_eq!(world.state(&id).await, MachineState::Started);
    world.stop().await;
}

#[tokio::test]
async fn a_clean_stop_leaves_no_process_and_the_next_emulator_goes_on() {
    let world = World::start().await;
    let volume = world.volume().await;
    let remembers = "test -e seen && echo again; echo x > seen; echo y > .sprite/cache; echo up; exec sleep 1000";
    let suspended = world.run(&with_volume(script("suspended", remembers), &volume)).await.id;
    until("it runs", || world.log(&suspended).contains("up")).await;
    world.machines.suspend(APP, &suspended).await.expect("suspended");
    let started = family(&world).await;
    let unmarked = unmarked_child(&started).expect("there").0;

    let data = world.stop().await;
    assert_eq!((states(&started), states(&suspended)), (vec![], vec![]));
    assert!(running(&["sleep", "1004"]).iter().all(|(pid, _)| *pid != unmarked));

    let world = World::on(data).await;
    assert_eq!(world.state(&started).await, MachineState::Stopped);
    assert_eq!(world.state(&suspended).await, MachineState::Suspended);
    world.machines.start(APP, &suspended).await.expect("booted, for its memory is lost");
    until("it has its root", || world.log(&suspended).ends_with("again\nup\n")).await;
    assert_eq!(world.machines.volume(APP, &volume.id).await.expect("there").id, volume.id);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_does_not_listen_is_ended_by_a_clean_stop_too() {
    let world = World::start().await;
    let mut new = script("deaf", "trap '' TERM; echo up; while :; do sleep 1000; done");
    new.config.stop_config.as_mut().expect("configured").timeout = Some("100ms".to_owned());
    let id = world.run(&new).await.id;
    until("it runs", || world.log(&id).contains("up")).await;
    world.stop().await;
    assert_eq!(states(&id), []);
}
