//! Another configuration: versions, leases, and what a machine keeps.

use std::time::Duration;

use fly::{Advice, Launch, MachineConfig, MachineState, MachineUpdate, NewMachine};
use serde_json::{Value, json};

use crate::world::*;

fn stopped() -> Launch {
    Launch { skip_launch: true, ..Launch::default() }
}

fn update(text: &str) -> MachineUpdate {
    MachineUpdate { config: script("", text).config, ..MachineUpdate::default() }
}

#[tokio::test]
async fn an_update_replaces_the_process_and_makes_a_version() {
    let world = World::start().await;
    let before = world.run(&script("one", "echo old; exec sleep 1000")).await;
    until("the old one runs", || world.log(&before.id).contains("old") && states(&before.id).len() == 1).await;
    let old = states(&before.id);
    let mut new = update("echo new; exec sleep 1000");
    new.current_version = Some(before.instance_id.clone());
    let after = world.machines.update(APP, &before.id, &new).await.expect("updated");
    assert_ne!(after.instance_id, before.instance_id);
    world
        .machines
        .wait(APP, &before.id, MachineState::Started, Some(&after.instance_id), PATIENCE)
        .await
        .expect("started");
    until("the new one runs", || world.log(&before.id).contains("new") && states(&before.id).len() == 1).await;
    assert_ne!(states(&before.id)[0].0, old[0].0);

    let versions = world.machines.versions(APP, &before.id).await.expect("read");
    let ids: Vec<&str> = versions.iter().map(|version| version.version.as_str()).collect();
    assert_eq!(ids, [after.instance_id.as_str(), before.instance_id.as_str()]);
    assert_eq!(versions[1].user_config, before.config);
    world.stop().await;
}

#[tokio::test]
async fn a_field_is_changed_and_what_this_client_does_not_know_stays() {
    let world = World::start().await;
    let volume = world.volume().await;
    let mut new = serde_json::to_value(with_volume(script("one", "exec sleep 1000"), &volume)).expect("JSON");
    let config = &mut new["config"];
    config["services"] = json!([{"protocol": "tcp", "internal_port": 80, "ports": [{"port": 443}]}]);
    config["checks"] = json!({"alive": {"type": "tcp", "port": 80, "interval": "15s"}});
    config["guest"]["kernel_args"] = json!(["quiet"]);
    config["init"]["tty"] = json!(true);
    config["mounts"][0]["extend_threshold_percent"] = json!(80);
    config["restart"]["gpu_bid_price"] = json!(0.5);
    let sent = config.clone();
    let created = world.http("POST", &format!("/v1/apps/{APP}/machines")).json(&new).send().await.expect("answered");
    let id = created.json::<Value>().await.expect("JSON")["id"].as_str().expect("an id").to_owned();
    world.until(&id, MachineState::Started).await;

    let mut config = world.machines.machine(APP, &id).await.expect("read").config.expect("a configuration");
    config.env.insert("GIVEN".to_owned(), "anew".to_owned());
    let update = MachineUpdate { config, ..MachineUpdate::default() };
    world.machines.update(APP, &id, &update).await.expect("updated");
    let shown = world.http("GET", &format!("/v1/apps/{APP}/machines/{id}")).send().await.expect("answered");
    let mut expected = sent;
    expected["env"]["GIVEN"] = json!("anew");
    assert_eq!(shown.json::<Value>().await.expect("JSON")["config"], expected);
    world.stop().await;
}

#[tokio::test]
async fn an_update_of_another_version_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let machine = world.run(&script("one", "exec sleep 1000")).await;
    let mut late = update("exec sleep 2000");
    late.current_version = Some("01OLD".to_owned());
    let error = world.machines.update(APP, &machine.id, &late).await.expect_err("too late");
    assert_eq!((error.status(), error.advice()), (Some(409), Advice::LookAgain));
    assert_eq!(world.machines.machine(APP, &machine.id).await.expect("read").config, machine.config);
    world.stop().await;
}

#[tokio::test]
async fn a_suspended_machine_that_is_updated_starts_anew_and_one_that_is_not_launched_stops() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    world.machines.suspend(APP, &id).await.expect("suspended");
    world.machines.update(APP, &id, &update("echo new; exec sleep 1000")).await.expect("updated");
    world.until(&id, MachineState::Started).await;
    until("the new one runs", || world.log(&id).contains("new")).await;
    let skipped = MachineUpdate { launch: stopped(), ..update("exec sleep 3000") };
    world.machines.update(APP, &id, &skipped).await.expect("updated");
    world.until(&id, MachineState::Stopped).await;
    world.machines.start(APP, &id).await.expect("started");
    until("the newest runs", || !running(&["sleep", "3000"]).is_empty()).await;
    world.stop().await;
}

#[tokio::test]
async fn a_machine_keeps_its_volume_through_an_update() {
    let world = World::start().await;
    let volume = world.volume().await;
    let id = world.run(&with_volume(script("one", "exec sleep 1000"), &volume)).await.id;
    let error = world.machines.update(APP, &id, &update("true")).await.expect_err("its volume is not named");
    assert_eq!(error.status(), Some(400));
    let config = with_volume(script("", "test -d .sprite && echo here; exec sleep 1000"), &volume).config;
    let kept = MachineUpdate { config, ..MachineUpdate::default() };
    world.machines.update(APP, &id, &kept).await.expect("updated");
    until("the volume is there", || world.log(&id).contains("here")).await;
    world.stop().await;
}

#[tokio::test]
async fn whoever_holds_the_lease_updates_and_cordons() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let lease = world.machines.acquire_lease(APP, &id, "rolling", Duration::from_secs(60)).await.expect("leased");
    assert_eq!(world.machines.lease(APP, &id).await.expect("read").nonce, lease.nonce);
    assert_eq!(world.machines.update(APP, &id, &update("true")).await.expect_err("held").status(), Some(409));
    assert_eq!(world.machines.cordon(APP, &id).await.expect_err("held").status(), Some(409));
    let holder = world.machines.under(&lease.nonce);
    holder.cordon(APP, &id).await.expect("cordoned");
    holder.update(APP, &id, &update("exec sleep 1000")).await.expect("updated");
    holder.uncordon(APP, &id).await.expect("uncordoned");
    let longer = holder.acquire_lease(APP, &id, "rolling", Duration::from_secs(600)).await.expect("prolonged");
    assert!(longer.nonce == lease.nonce && longer.expires_at > lease.expires_at);
    let kinds: Vec<String> =
        world.machines.events(APP, &id).await.expect("read").into_iter().map(|event| event.kind).collect();
    assert!(["cordon", "update", "uncordon"].iter().all(|kind| kinds.iter().any(|seen| seen == kind)), "{kinds:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_lease_comes_with_a_creation_or_an_update_where_it_is_asked_for() {
    let world = World::start().await;
    let new =
        NewMachine { launch: Launch { lease_ttl: Some(60), ..Launch::default() }, ..script("one", "exec sleep 1000") };
    let created = world.machines.create_machine(APP, &new).await.expect("created");
    let (id, nonce) = (created.id.as_str(), created.nonce.expect("a nonce"));
    world.until(id, MachineState::Started).await;
    assert_eq!(world.machines.suspend(APP, id).await.expect_err("it is its maker's").status(), Some(409));
    world.machines.release_lease(APP, id, &nonce).await.expect("released");

    let leased = MachineUpdate { launch: Launch { lease_ttl: Some(60), ..stopped() }, ..update("exec sleep 1000") };
    let nonce = world.machines.update(APP, id, &leased).await.expect("updated").nonce.expect("a nonce");
    assert_eq!(world.machines.lease(APP, id).await.expect("read").nonce, nonce);
    assert_eq!(world.machines.machine(APP, id).await.expect("read").nonce, None);
    world.machines.under(&nonce).update(APP, id, &update("exec sleep 1000")).await.expect("it is the holder's");
    world.stop().await;
}

#[tokio::test]
async fn a_machine_sees_its_apps_secrets_from_its_next_start_on() {
    let world = World::start().await;
    let values = [("API_KEY".to_owned(), Some("hunter2".to_owned())), ("GIVEN".to_owned(), Some("no".to_owned()))];
    assert_eq!(world.machines.set_secrets(APP, &values.into()).await.expect("set"), 1);
    let machine = world.run(&script("one", "echo $API_KEY $GIVEN; exec sleep 1000")).await;
    until("it has them", || world.log(&machine.id).contains("hunter2 yes")).await;
    let names: Vec<String> =
        world.machines.secrets(APP).await.expect("read").into_iter().map(|secret| secret.name).collect();
    assert_eq!(names, ["API_KEY", "GIVEN"]);
    assert!(machine.config.is_some_and(|config: MachineConfig| !config.env.contains_key("API_KEY")));

    world.machines.set_secrets(APP, &[("API_KEY".to_owned(), None)].into()).await.expect("removed");
    world.machines.restart(APP, &machine.id, &fly::StopOptions::default()).await.expect("restarted");
    until("it is gone", || world.log(&machine.id).ends_with("yes\nyes\n")).await;
    world.stop().await;
}
