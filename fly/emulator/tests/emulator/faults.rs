//! Failures on purpose, as a client meets them.

use std::time::Duration;

use fly::{Advice, HostStatus, MachineState, MachineUpdate, StopOptions};

use kit::Clock;

use crate::world::*;

/// Starts a machine that is refused by the named failure, creates one that is, and compares the advice.
async fn check(world: &World, id: &str, action: &str, failure: &str, expected: Advice) {
    let script = format!("[[call]]\naction = '{action}'\neffect = {{ failure = '{failure}' }}");
    let replaced = world.http("PUT", "/control/faults").body(script).send().await.expect("answered");
    assert_eq!(replaced.status(), 204, "{failure}");
    let update = MachineUpdate { config: script_config(), ..MachineUpdate::default() };
    let error = match action {
        "create_machine" => world.machines.create_machine(APP, &script_of("new")).await.map(drop),
        "create_volume" => world.machines.create_volume(APP, &fly::NewVolume::default()).await.map(drop),
        "create_app" => world.machines.create_app(&app()).await,
        "read_machine" => world.machines.machine(APP, id).await.map(drop),
        "list_machines" => world.machines.machines(APP).await.map(drop),
        "start" => world.machines.start(APP, id).await,
        "acquire_lease" => world.machines.acquire_lease(APP, id, "test", Duration::from_secs(9)).await.map(drop),
        "write_metadata" => world.machines.set_metadata(APP, id, "key", "value").await,
        "stop" => world.machines.stop(APP, id, &StopOptions::default()).await,
        "update_machine" => world.machines.update(APP, id, &update).await.map(drop),
        other => panic!("nobody calls {other}"),
    };
    assert_eq!(error.expect_err("it fails on purpose").advice(), expected, "{action} {failure}");
    let told = world.http("GET", "/control/faults").send().await.expect("answered");
    let counts: serde_json::Value = told.json().await.expect("JSON");
    assert!(counts["call"][0]["fired"].as_u64() > Some(0), "{action} {failure}: {counts}");
}

fn app() -> fly::NewApp {
    fly::NewApp { name: "another".to_owned(), org_slug: "personal".to_owned(), network: None }
}

fn script_of(name: &str) -> fly::NewMachine {
    script(name, "exec sleep 1000")
}

fn script_config() -> fly::MachineConfig {
    script_of("").config
}

#[tokio::test]
async fn every_documented_failure_can_be_had_and_gives_its_advice() {
    use Advice::{AnotherRegion, GiveUp, Gone, LookAgain, RecreateElsewhere, RestRegion, SlowDown, WaitAndRetry};
    let world = World::start().await;
    let id = world.run(&script_of("one")).await.id;
    for (action, failure, expected) in [
        ("create_volume", "volume-capacity", AnotherRegion),
        ("create_machine", "volume-not-found", RecreateElsewhere),
        ("read_machine", "invalid-machine-id", GiveUp),
        ("list_machines", "bad-token", GiveUp),
        ("create_machine", "region-quota", RestRegion),
        ("create_machine", "forbidden", GiveUp),
        ("start", "not-found", Gone),
        ("create_machine", "app-corrupted", Gone),
        ("update_machine", "lease-lost", LookAgain),
        ("acquire_lease", "lease-lost", Gone),
        ("create_machine", "flyd-timeout", LookAgain),
        ("stop", "flyd-timeout", WaitAndRetry),
        ("start", "host-memory", RecreateElsewhere),
        ("create_machine", "host-memory", AnotherRegion),
        ("start", "host-cpus", RecreateElsewhere),
        ("start", "host-ips", RecreateElsewhere),
        ("create_machine", "host-ips", AnotherRegion),
        ("create_machine", "region-full", AnotherRegion),
        ("update_machine", "concurrent-update", LookAgain),
        ("start", "lease-held", WaitAndRetry),
        ("start", "host-drained", RecreateElsewhere),
        ("start", "host-disabled", RecreateElsewhere),
        ("create_machine", "volume-host-full", RecreateElsewhere),
        ("start", "still-active", WaitAndRetry),
        ("start", "still-created", WaitAndRetry),
        ("start", "being-replaced", WaitAndRetry),
        ("create_machine", "stale-secrets", WaitAndRetry),
        ("write_metadata", "stale-version", LookAgain),
        ("create_machine", "image-unknown", WaitAndRetry),
        ("update_machine", "image-unknown", WaitAndRetry),
        ("create_machine", "no-candidate-host", AnotherRegion),
        ("create_machine", "machine-limit", GiveUp),
        ("create_app", "name-taken", GiveUp),
        ("create_machine", "rate-limited", SlowDown),
        ("create_machine", "internal", LookAgain),
        ("start", "bad-gateway", WaitAndRetry),
        ("create_machine", "unavailable", LookAgain),
    ] {
        check(&world, &id, action, failure, expected).await;
    }
    assert_eq!(world.machines.machines(APP).await.expect("listed").len(), 1, "what was refused was not done");
    world.stop().await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_done_and_found_again() {
    let world = World::failing(
        "[[call]]\naction = 'create_machine'\nwhen = { target = 'one', times = 1 }\neffect = { drop = 'after' }\n\
         [[call]]\naction = 'create_machine'\nwhen = { target = 'two', times = 1 }\neffect = { drop = 'before' }",
    )
    .await;
    let lost = world.machines.create_machine(APP, &script_of("one")).await.expect_err("no answer");
    assert_eq!((lost.status(), lost.advice()), (None, Advice::LookAgain));
    let there = world.machines.machines(APP).await.expect("listed").remove(0);
    let again = world.machines.create_machine(APP, &script_of("one")).await.expect_err("there already");
    assert_eq!(again.advice(), Advice::Adopt(there.id));

    let unsent = world.machines.create_machine(APP, &script_of("two")).await.expect_err("no answer");
    assert_eq!(unsent.advice(), Advice::LookAgain);
    assert_eq!(world.machines.machines(APP).await.expect("listed").len(), 1);
    world.machines.create_machine(APP, &script_of("two")).await.expect("created at last");
    world.stop().await;
}

#[tokio::test]
async fn an_answer_of_ones_own_and_a_delay_are_given() {
    let world = World::failing(
        "[[call]]\naction = 'list_volumes'\neffect = { answer = { status = 418, error = 'tea', code = 'pot' } }\n\
         [[call]]\naction = 'read_app'\nwhen = { times = 1 }\neffect = { delay_ms = 30 }",
    )
    .await;
    let error = world.machines.volumes(APP).await.expect_err("refused").to_string();
    assert!(error.contains("tea") && error.contains("418"), "{error}");
    world.machines.app(APP).await.expect("only later");
    world.stop().await;
}

#[tokio::test]
async fn a_machine_sticks_where_the_script_says_until_it_is_poked() {
    let world = World::failing(
        "[[machine]]\nwhen = { target = 'one', times = 1 }\neffect = { stick_in = 'starting' }\n\
         [[machine]]\nwhen = { target = 'two' }\neffect = { stick_in = 'replacing' }",
    )
    .await;
    let one = world.machines.create_machine(APP, &script_of("one")).await.expect("created").id;
    let wait = world.machines.wait(APP, &one, MachineState::Started, None, Duration::from_secs(1)).await;
    assert!(wait.expect_err("it sticks").to_string().contains("currently starting"));
    assert_eq!(world.poke(&one).await, "started");

    let two = world.run(&script_of("two")).await.id;
    let update = MachineUpdate { config: script_config(), ..MachineUpdate::default() };
    world.machines.update(APP, &two, &update).await.expect("accepted");
    assert_eq!(world.state(&two).await, MachineState::Replacing);
    let error = world.machines.start(APP, &two).await.expect_err("being replaced");
    assert_eq!((error.status(), error.advice()), (Some(412), Advice::WaitAndRetry));
    world.poke(&two).await;
    world.until(&two, MachineState::Started).await;
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_sticks_in_its_destruction_each_time_outlives_force() {
    let world = World::failing("[[machine]]\neffect = { stick_in = 'destroying' }").await;
    let one = world.run(&script_of("one")).await.id;
    for _ in 0..3 {
        world.machines.destroy(APP, &one, true).await.expect("accepted");
        assert_eq!(world.state(&one).await, MachineState::Destroying);
    }
    world.http("PUT", "/control/faults").body("").send().await.expect("answered");
    world.machines.destroy(APP, &one, true).await.expect("accepted");
    world.until(&one, MachineState::Destroyed).await;
    world.stop().await;
}

#[tokio::test]
async fn a_machine_takes_its_time_where_the_script_says() {
    let world = World::failing(
        "[[machine]]\nwhen = { target = 'one', times = 1 }\neffect = { stay_in = { state = 'created', for_ms = 10000 } }\n\
         [[machine]]\nwhen = { target = 'one' }\neffect = { stay_in = { state = 'suspending', for_ms = 3600000 } }\n\
         [[machine]]\nwhen = { target = 'one' }\neffect = { stay_in = { state = 'destroying', for_ms = 3600000 } }",
    )
    .await;
    let one = world.machines.create_machine(APP, &script_of("one")).await.expect("created").id;
    assert_eq!(world.state(&one).await, MachineState::Created);
    let error = world.machines.start(APP, &one).await.expect_err("its image is pulled yet");
    assert_eq!((error.status(), error.advice()), (Some(412), Advice::WaitAndRetry));
    world.until(&one, MachineState::Started).await;

    world.machines.suspend(APP, &one).await.expect("accepted");
    let wait = world.machines.wait(APP, &one, MachineState::Suspended, None, Duration::from_secs(1)).await;
    assert!(wait.expect_err("it takes an hour").to_string().contains("currently suspending"));
    assert!(!are_frozen(&states(&one)));
    assert_eq!(world.poke(&one).await, "suspended", "a poke ends the time");
    world.machines.destroy(APP, &one, false).await.expect("accepted");
    assert_eq!(world.state(&one).await, MachineState::Destroying);
    assert_eq!(world.poke(&one).await, "destroyed");
    world.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_still_created_is_destroyed_and_survives_a_stop_of_the_emulator() {
    let slow = "[[machine]]\neffect = { stay_in = { state = 'created', for_ms = 3600000 } }";
    let world = World::failing(slow).await;
    let one = world.machines.create_machine(APP, &script_of("one")).await.expect("created").id;
    let two = world.machines.create_machine(APP, &script_of("two")).await.expect("created").id;
    world.machines.destroy(APP, &one, false).await.expect("destroyed");
    assert_eq!(world.state(&one).await, MachineState::Destroyed);
    let world = World::on(world.stop().await).await;
    world.until(&two, MachineState::Started).await;
    world.stop().await;
}

/// Tells the seconds since 1970 whenever somebody asks by a file in its root.
const TELLS_TIME: &str =
    "echo ready; while :; do if test -e ask; then rm ask; date +%s.%N | cut -c1-14; fi; sleep 0.01; done";

async fn ask_time(world: &World, id: &str, asked: usize) -> f64 {
    std::fs::write(world.root(id).join("ask"), "").expect("written");
    until("it answers", || world.log(id).lines().count() > asked && world.log(id).ends_with('\n')).await;
    world.log(id).lines().last().expect("a line").parse().expect("a time")
}

fn now() -> f64 {
    Clock::system().now().timestamp_millis() as f64 / 1_000.0
}

#[tokio::test]
async fn a_resumed_machines_clock_is_behind_until_it_is_set_right() {
    let world = World::failing(
        "[[machine]]\nwhen = { nth = [1] }\neffect = { clock_lag = { by_ms = 180000 } }\n\
         [[machine]]\nwhen = { nth = [1] }\neffect = { clock_lag = { by_ms = 7200000, for_ms = 15000 } }",
    )
    .await;
    let id = world.run(&script("one", TELLS_TIME)).await.id;
    until("it runs", || world.log(&id).contains("ready")).await;
    assert!((now() - ask_time(&world, &id, 1).await).abs() < 60.0, "it goes right before the first suspension");

    for (asked, behind) in [(2, 180.0), (3, 7_200.0)] {
        world.machines.suspend(APP, &id).await.expect("suspended");
        world.machines.start(APP, &id).await.expect("resumed");
        let lag = now() - ask_time(&world, &id, asked).await;
        assert!((behind - 60.0..behind + 60.0).contains(&lag), "{lag} for {behind}");
    }
    let mut asked = 4;
    while now() - ask_time(&world, &id, asked).await > 60.0 {
        asked += 1;
        assert!(asked < 2_000, "it is never set right");
    }
    world.machines.suspend(APP, &id).await.expect("suspended");
    world.machines.start(APP, &id).await.expect("resumed");
    assert!((now() - ask_time(&world, &id, asked + 1).await).abs() < 60.0, "no rule is for the third");
    world.stop().await;
}

#[tokio::test]
async fn a_lost_snapshot_is_a_cold_start_that_nobody_is_told_of() {
    let world = World::failing("[[machine]]\nwhen = { nth = [2] }\neffect = 'lose_snapshot'").await;
    let id = world.run(&script("one", "echo boot; test -e kept && echo root; touch kept; exec sleep 1000")).await.id;
    until("it runs", || world.root(&id).join("kept").exists()).await;
    for boots in [1, 2] {
        world.machines.suspend(APP, &id).await.expect("suspended");
        world.machines.start(APP, &id).await.expect("started");
        assert_eq!(world.state(&id).await, MachineState::Started);
        until("it boots or goes on", || world.log(&id).matches("boot").count() == boots).await;
    }
    until("it has its root", || world.log(&id).ends_with("boot\nroot\n")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_boot_that_fails_is_overcome_by_a_restart() {
    let world = World::failing("[[machine]]\nwhen = { times = 1 }\neffect = 'fail_to_boot'").await;
    let id = world.machines.create_machine(APP, &script_of("one")).await.expect("created").id;
    world.until(&id, MachineState::Failed).await;
    assert_eq!(world.machines.start(APP, &id).await.expect_err("failed").status(), Some(412));
    world.machines.restart(APP, &id, &StopOptions::default()).await.expect("restarted");
    world.until(&id, MachineState::Started).await;
    world.stop().await;
}

#[tokio::test]
async fn an_image_that_the_registry_does_not_know_yet_is_there_a_little_later() {
    let late = "[[call]]\naction = 'create_machine'\nwhen = { times = 2 }\neffect = { failure = 'image-unknown' }";
    let world = World::failing(late).await;
    for _ in 0..2 {
        let error = world.machines.create_machine(APP, &script_of("one")).await.expect_err("not yet");
        assert_eq!((error.status(), error.advice()), (Some(422), Advice::WaitAndRetry));
    }
    world.run(&script_of("one")).await;
    world.stop().await;
}

#[tokio::test]
async fn an_update_may_end_with_a_machine_that_stays_stopped() {
    let world = World::failing("[[machine]]\nwhen = { times = 1 }\neffect = 'stop_after_update'").await;
    let id = world.run(&script_of("one")).await.id;
    let before = world.machines.machine(APP, &id).await.expect("read").instance_id;
    let update = MachineUpdate { config: script_config(), ..MachineUpdate::default() };
    world.machines.update(APP, &id, &update).await.expect("accepted");
    world.until(&id, MachineState::Stopped).await;
    assert_ne!(world.machines.machine(APP, &id).await.expect("read").instance_id, before, "it has its configuration");
    world.machines.update(APP, &id, &update).await.expect("accepted");
    world.until(&id, MachineState::Started).await;
    world.stop().await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_hides_the_configuration_and_takes_no_orders() {
    let world = World::start().await;
    let volume = world.volume().await;
    let id = world.run(&with_volume(script_of("one"), &volume)).await.id;
    let unreachable = "[[machine]]\nwhen = { target = 'one' }\neffect = { host = 'unreachable' }";
    world.http("PUT", "/control/faults").body(unreachable).send().await.expect("answered");
    let machine = world.machines.machine(APP, &id).await.expect("read");
    assert_eq!((machine.host_status, machine.config.is_none()), (HostStatus::Unreachable, true));
    assert!(machine.incomplete_config.is_some_and(|config| config.env.is_empty() && !config.image.is_empty()));
    assert_eq!(world.machines.volume(APP, &volume.id).await.expect("read").host_status, HostStatus::Unreachable);
    let error = world.machines.suspend(APP, &id).await.expect_err("nobody there");
    assert_eq!((error.status(), error.advice()), (Some(408), Advice::WaitAndRetry));

    world.http("PUT", "/control/faults").body("").send().await.expect("answered");
    world.machines.suspend(APP, &id).await.expect("it is back");
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_script_is_refused_and_the_old_one_stays() {
    let world = World::failing("[[call]]\naction = 'list_volumes'\neffect = { failure = 'internal' }").await;
    let refused = world.http("PUT", "/control/faults").body("[[call]]\nefect = 1").send().await.expect("answered");
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.expect("text").contains("efect"));
    world.machines.volumes(APP).await.expect_err("still failing");
    world.stop().await;
}
