//! A machine's life: created, started, suspended, stopped, restarted, destroyed.

use std::fs;
use std::time::Duration;

use fly::{Advice, HostStatus, MachineState, NewVolume, Restart, RestartPolicy, StopOptions};

use crate::world::*;

#[tokio::test]
async fn a_machine_is_created_started_and_told_about() {
    let world = World::start().await;
    let new = script("one", "exec sleep 1000");
    let created = world.machines.create_machine(APP, &new).await.expect("created");
    assert_eq!((created.state, created.name.as_str()), (MachineState::Created, "one"));
    world.until(&created.id, MachineState::Started).await;
    let machine = world.machines.machine(APP, &created.id).await.expect("readable");
    assert_eq!((machine.host_status, machine.private_ip.as_str()), (HostStatus::Ok, "127.0.0.1"));
    assert_eq!(machine.config.expect("a config").env, new.config.env);
    assert_eq!(world.machines.machines(APP).await.expect("listed").len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_not_launched_rests_until_it_is_started() {
    let world = World::start().await;
    let mut new = script("one", "exec sleep 1000");
    new.launch.skip_launch = true;
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    assert_eq!(world.state(&machine.id).await, MachineState::Stopped);
    assert_eq!(states(&machine.id), []);
    world.machines.start(APP, &machine.id).await.expect("started");
    assert_eq!(world.state(&machine.id).await, MachineState::Started);
    world.machines.start(APP, &machine.id).await.expect("twice is no error");
    world.stop().await;
}

#[tokio::test]
async fn a_name_is_given_once_and_free_again_after_destruction() {
    let world = World::start().await;
    let first = world.run(&script("one", "exec sleep 1000")).await;
    let error = world.machines.create_machine(APP, &script("one", "true")).await.expect_err("taken");
    assert_eq!((error.status(), error.advice()), (Some(409), Advice::Adopt(first.id.clone())));
    world.machines.destroy(APP, &first.id, true).await.expect("destroyed");
    world.run(&script("one", "exec sleep 1000")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_stop_asks_first_keeps_the_volume_and_drops_the_root() {
    let world = World::start().await;
    let volume = world.volume().await;
    let asked =
        "trap 'echo asked; exit 0' TERM; echo a > .sprite/kept; echo b > lost; echo up; while :; do sleep 0.01; done";
    let machine = world.run(&with_volume(script("one", asked), &volume)).await;
    until("the script runs", || world.log(&machine.id).contains("up")).await;
    assert!(world.root(&machine.id).join("lost").exists());
    world.machines.stop(APP, &machine.id, &StopOptions::default()).await.expect("accepted");
    world.until(&machine.id, MachineState::Stopped).await;
    world.machines.stop(APP, &machine.id, &StopOptions::default()).await.expect("twice is no error");
    assert!(world.log(&machine.id).ends_with("up\nasked\n"));
    assert!(!world.root(&machine.id).exists());
    let kept = world.data.path().join("volumes").join(&volume.id).join("kept");
    assert_eq!(fs::read_to_string(kept).expect("kept"), "a\n");
    assert_eq!(states(&machine.id), []);
    world.stop().await;
}

#[tokio::test]
async fn whoever_does_not_listen_is_killed() {
    let world = World::start().await;
    let machine = world.run(&script("one", "trap '' TERM INT; echo up; while :; do sleep 1000; done")).await;
    until("the script runs", || world.log(&machine.id).contains("up")).await;
    let options = StopOptions { signal: Some("SIGINT".to_owned()), timeout: Some(Duration::from_millis(50)) };
    world.machines.stop(APP, &machine.id, &options).await.expect("accepted");
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(states(&machine.id), []);
    world.stop().await;
}

#[tokio::test]
async fn a_start_is_refused_while_a_stop_goes_on() {
    let world = World::start().await;
    let machine = world.run(&script("one", "trap '' TERM; echo up; while :; do sleep 1000; done")).await;
    until("the script runs", || world.log(&machine.id).contains("up")).await;
    world.machines.stop(APP, &machine.id, &StopOptions::default()).await.expect("accepted");
    let error = world.machines.start(APP, &machine.id).await.expect_err("still stopping");
    assert_eq!((error.status(), error.advice()), (Some(412), Advice::WaitAndRetry));
    world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    world.stop().await;
}

#[tokio::test]
async fn an_init_that_ends_leaves_a_stopped_machine_and_no_process() {
    let world = World::start().await;
    let new = script("one", "sleep 1000 & setsid sleep 1000 & kill -9 $$");
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(states(&machine.id), []);
    let events = world.http("GET", &format!("/v1/apps/{APP}/machines/{}/events", machine.id)).send().await;
    let events: serde_json::Value = events.expect("answered").json().await.expect("JSON");
    let exit = &events[0];
    assert_eq!((exit["type"].as_str(), exit["status"].as_str()), (Some("exit"), Some("stopped")));
    assert_eq!(exit["request"]["exit_event"]["signal"], 9);
    assert_eq!(exit["request"]["exit_event"]["requested_stop"], false);
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_machine_that_has_ended_and_says_why() {
    let world = World::start().await;
    let mut new = script("one", "");
    new.config.init.exec = Some(vec!["no-such-program".to_owned()]);
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    world.until(&machine.id, MachineState::Stopped).await;
    assert!(world.log(&machine.id).contains("cannot start: no-such-program"), "{}", world.log(&machine.id));
    world.stop().await;
}

#[tokio::test]
async fn failures_are_restarted_as_often_as_the_policy_says() {
    let world = World::start().await;
    let mut new = script("one", "echo run; exit 3");
    new.config.restart = Restart { policy: RestartPolicy::OnFailure, max_retries: Some(2), ..Restart::default() };
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    until("three runs", || world.log(&machine.id).matches("run\n").count() == 3).await;
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(world.log(&machine.id).matches("run\n").count(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_restart_ends_one_process_and_starts_another() {
    let world = World::start().await;
    let machine = world.run(&script("one", "echo $$; exec sleep 1000")).await;
    until("the first run", || world.log(&machine.id).lines().count() == 1).await;
    let restart = world.http("POST", &format!("/v1/apps/{APP}/machines/{}/restart?timeout=5", machine.id));
    assert_eq!(restart.send().await.expect("answered").status(), 200);
    until("the second run", || world.log(&machine.id).lines().count() == 2).await;
    world.until(&machine.id, MachineState::Started).await;
    assert_eq!(states(&machine.id).len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_auto_destroyed_machine_is_gone_and_its_volume_is_not() {
    let world = World::start().await;
    let volume = world.volume().await;
    let mut new = with_volume(script("one", "exit 0"), &volume);
    new.config.auto_destroy = true;
    let machine = world.machines.create_machine(APP, &new).await.expect("created");
    world.until(&machine.id, MachineState::Destroyed).await;
    assert_eq!(world.machines.machines(APP).await.expect("listed"), []);
    assert_eq!(world.machines.volume(APP, &volume.id).await.expect("there").attached_machine_id, None);
    world.stop().await;
}

#[tokio::test]
async fn what_runs_is_destroyed_by_force_only() {
    let world = World::start().await;
    let machine = world.run(&script("one", "sleep 1000 & exec sleep 1000")).await;
    let error = world.machines.destroy(APP, &machine.id, false).await.expect_err("it runs");
    assert_eq!(error.status(), Some(412));
    world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    assert_eq!(states(&machine.id), []);
    assert_eq!(world.state(&machine.id).await, MachineState::Destroyed);
    world.machines.destroy(APP, &machine.id, true).await.expect("gone is no error");
    until("its files are gone", || !world.data.path().join("machines").join(&machine.id).exists()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_volume_is_one_machines_and_deleted_only_when_it_is_nobodys() {
    let world = World::start().await;
    let volume = world.volume().await;
    let machine = world.run(&with_volume(script("one", "exec sleep 1000"), &volume)).await;
    let attached = world.machines.volume(APP, &volume.id).await.expect("there").attached_machine_id;
    assert_eq!(attached.as_deref(), Some(machine.id.as_str()));
    let second = with_volume(script("two", "exec sleep 1000"), &volume);
    let error = world.machines.create_machine(APP, &second).await.expect_err("taken");
    assert_eq!(error.status(), Some(412));
    let error = world.machines.destroy_volume(APP, &volume.id).await.expect_err("in use");
    assert_eq!((error.status(), error.advice()), (Some(412), Advice::WaitAndRetry));

    world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    world.machines.destroy_volume(APP, &volume.id).await.expect("deleted");
    assert!(!world.data.path().join("volumes").join(&volume.id).exists());
    let error = world.machines.create_machine(APP, &second).await.expect_err("gone");
    assert_eq!((error.status(), error.advice()), (Some(400), Advice::RecreateElsewhere));
    world.stop().await;
}

#[tokio::test]
async fn a_machine_is_where_its_volume_is() {
    let world = World::start().await;
    let new = NewVolume { name: "cache".to_owned(), region: Some("fra".to_owned()), ..NewVolume::default() };
    let volume = world.machines.create_volume(APP, &new).await.expect("created");
    let mut elsewhere = with_volume(script("one", "exec sleep 1000"), &volume);
    elsewhere.region = Some("iad".to_owned());
    let error = world.machines.create_machine(APP, &elsewhere).await.expect_err("not there");
    assert_eq!(error.status(), Some(400));
    let machine = world.run(&with_volume(script("one", "exec sleep 1000"), &volume)).await;
    assert_eq!(machine.region, "fra");
    world.stop().await;
}

#[tokio::test]
async fn deleting_an_app_takes_everything_of_it_along() {
    let world = World::start().await;
    let volume = world.volume().await;
    let machine = world.run(&with_volume(script("one", "exec sleep 1000"), &volume)).await;
    let deleted = world.http("DELETE", &format!("/v1/apps/{APP}")).send().await.expect("answered");
    assert_eq!(deleted.status(), 202);
    assert_eq!(states(&machine.id), []);
    assert_eq!(world.machines.app(APP).await.expect_err("gone").status(), Some(404));
    create_app(&world.machines).await;
    assert_eq!(world.machines.volumes(APP).await.expect("listed"), []);
    world.stop().await;
}
