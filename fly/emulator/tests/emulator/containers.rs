//! Machines that are containers, on an engine that is none (rows RU-32, T-2.9).

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use emulator::{Config, Kind};
use fly::{Machine, MachineState, NewMachine, StopOptions};
use kit::Tasks;
use serde_json::json;

use crate::engine::{self, Engine, files};
use crate::world::*;

async fn world(engine: &Engine) -> World {
    World::with(|config| Config { machines: in_containers(&engine.socket()), ..config }).await
}

fn one() -> NewMachine {
    let mut new = script("one", "exec sleep 1000");
    new.config.env.insert("TOKEN".to_owned(), "hunter2".to_owned());
    new
}

#[tokio::test]
async fn a_machine_is_a_container_from_its_start_to_its_stop() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let volume = world.volume().await;
    let id = world.run(&with_volume(one(), &volume)).await.id;
    let container = engine.container().expect("made");
    assert_eq!((container.name.as_str(), container.status), (format!("bifrost-{id}").as_str(), "running"));
    assert_eq!(container.body["Entrypoint"], json!(["sh", "-c", "exec sleep 1000"]));
    let mount = &container.body["HostConfig"]["Mounts"][0];
    let at = world.data.path().canonicalize().expect("there").join("volumes").join(&volume.id);
    assert_eq!((&mount["Source"], &mount["Target"]), (&json!(at), &json!("/.sprite")));
    until("its output is kept", || world.log(&id) == "hello\ntrouble\n").await;

    world.machines.suspend(APP, &id).await.expect("suspended");
    assert_eq!(engine.container().expect("there").status, "paused");
    world.machines.start(APP, &id).await.expect("resumed");
    assert_eq!(engine.container().expect("there").status, "running");
    assert_eq!(engine.asked("/containers/create"), 1, "it went on where it was");

    let stop = StopOptions { signal: Some("SIGHUP".to_owned()), timeout: None };
    world.machines.stop(APP, &id, &stop).await.expect("stopped");
    world.until(&id, MachineState::Stopped).await;
    assert!(engine.container().is_none(), "a stop drops the root");
    assert_eq!(engine.asked("kill?signal=SIGHUP"), 1);
    assert_eq!(world.log(&id), "hello\ntrouble\nbye\n");

    world.machines.start(APP, &id).await.expect("started anew");
    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    assert!(engine.container().is_none());
    world.stop().await;
}

#[tokio::test]
async fn a_script_that_asks_for_clocks_that_lag_is_refused() {
    let engine = Engine::start();
    let lag = "[[machine]]\neffect = { clock_lag = { by_ms = 1 } }";
    let world = world(&engine).await;
    let refused = world.http("PUT", "/control/faults").body(lag).send().await.expect("answered");
    assert_eq!(refused.status(), 400);
    let data = world.stop().await;
    let config = Config {
        machines: in_containers(&engine.socket()),
        faults: emulator::Script::from_toml(lag).expect("a script"),
        ..Config::from_vars(data.path().to_owned(), &mut kit::Vars::from_pairs([("PATH", "/bin")]))
    };
    let error = start_with(config, &Tasks::new()).await.expect_err("refused");
    assert!(std::error::Error::source(&error).is_some_and(|why| why.to_string().contains("let machines be processes")));
}

#[tokio::test]
async fn a_machines_secrets_are_in_no_argument_and_in_no_file_but_its_record() {
    let engine = Engine::start();
    let world = world(&engine).await;
    world.run(&one()).await;
    assert!(
        engine.container().expect("made").body["Env"].as_array().expect("a list").contains(&json!("TOKEN=hunter2"))
    );
    assert_eq!(engine.asked("hunter2"), 0);
    let secret = b"hunter2";
    for (path, content) in files(world.data.path()) {
        if content.windows(secret.len()).any(|bytes| bytes == secret) {
            assert!(path.ends_with("machine.json"), "{}", path.display());
            let mode = path.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_clean_stop_of_the_emulator_removes_every_container() {
    let engine = Engine::start();
    let world = world(&engine).await;
    world.run(&one()).await;
    let suspended = world.run(&script("two", "exec sleep 1000")).await.id;
    world.machines.suspend(APP, &suspended).await.expect("suspended");
    world.stop().await;
    assert_eq!(engine.state.contents().containers.len(), 0);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_pulled_and_one_that_cannot_be_fails_the_machine() {
    let engine = Engine::start();
    engine.state.contents().images.push("other".to_owned());
    let world = world(&engine).await;
    let pulled = world.run(&one()).await.id;
    assert_eq!(engine.asked("/images/create?fromImage=example"), 1);
    world.machines.destroy(APP, &pulled, true).await.expect("destroyed");

    engine.state.contents().images = vec!["other".to_owned()];
    engine.state.contents().cannot_pull = Some("manifest unknown".to_owned());
    let machine = world.machines.create_machine(APP, &one()).await.expect("created");
    world.until(&machine.id, MachineState::Failed).await;
    assert!(world.log(&machine.id).contains("manifest unknown"), "{}", world.log(&machine.id));
    assert!(engine.container().is_none());
    world.stop().await;
}

#[tokio::test]
async fn whether_the_image_of_machines_is_there_or_can_be_had_is_known_before_there_is_a_machine() {
    let engine = Engine::start();
    engine.state.contents().images.push("here".to_owned());
    let Kind::Container(settings) = in_containers(&engine.socket()) else { panic!("of containers") };
    emulator::ensure_image(&settings, "here").await.expect("it is here");
    assert_eq!(engine.asked("/images/create"), 0);
    emulator::ensure_image(&settings, "elsewhere").await.expect("it is pulled");
    assert_eq!(engine.asked("/images/create?fromImage=elsewhere"), 1);
    engine.state.contents().cannot_pull = Some("manifest unknown".to_owned());
    let refused = emulator::ensure_image(&settings, "nowhere").await.expect_err("nobody has it").to_string();
    assert!(refused.contains("has no image nowhere") && refused.contains("manifest unknown"), "{refused}");
}

#[tokio::test]
async fn a_container_that_does_not_start_is_removed_and_the_machine_says_why() {
    let engine = Engine::start();
    let world = world(&engine).await;
    for (message, state, code) in [
        ("exec: \"nope\": executable file not found in $PATH", MachineState::Stopped, Some(127)),
        ("exec: \"nope\": permission denied", MachineState::Stopped, Some(126)),
        ("the disk is full", MachineState::Failed, None),
    ] {
        engine.state.contents().cannot_start = Some(message.to_owned());
        let machine = world.machines.create_machine(APP, &one()).await.expect("created");
        world.until(&machine.id, state).await;
        assert!(engine.container().is_none(), "{message}");
        assert!(world.log(&machine.id).contains(message));
        assert_eq!(exit_code(&world, &machine).await, code);
        world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    }
    world.stop().await;
}

async fn exit_code(world: &World, machine: &Machine) -> Option<i64> {
    let events = world.machines.events(APP, &machine.id).await.expect("read");
    events.iter().find_map(fly::MachineEvent::exit).and_then(|exit| exit.exit_code)
}

#[tokio::test]
async fn an_end_by_itself_is_seen_with_its_code_and_whether_memory_was_short() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let machine = world.run(&one()).await;
    engine.end(137, true);
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(exit_code(&world, &machine).await, Some(137));
    let events = world.machines.events(APP, &machine.id).await.expect("read");
    assert!(events.iter().find_map(fly::MachineEvent::exit).is_some_and(|exit| exit.oom_killed));
    assert!(engine.container().is_none());
    assert!(world.log(&machine.id).ends_with("bye\n"), "all that it has printed is kept");
    world.stop().await;
}

/// One that does not end when it is told to.
fn deaf(timeout: Option<&str>) -> NewMachine {
    let mut new = one();
    new.config.env.insert("DEAF".to_owned(), "yes".to_owned());
    new.config.stop_config.as_mut().expect("has one").timeout = timeout.map(str::to_owned);
    new
}

/// Row T-2.4b: the engine stops it, then it is killed, then removed; the next step comes when the grace is over.
const STOPPED_THEN_REMOVED: [&str; 3] = ["POST stop?t=1", "POST kill?signal=SIGKILL", "DELETE force=true&v=true"];

#[tokio::test]
async fn a_machine_that_does_not_listen_is_stopped_then_killed_when_its_time_is_over_then_removed() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let id = world.run(&deaf(None)).await.id;
    let stop = StopOptions { signal: None, timeout: Some(Duration::from_secs(1)) };
    world.machines.stop(APP, &id, &stop).await.expect("asked");
    world.until(&id, MachineState::Stopped).await;
    assert!(engine.container().is_none());
    assert_eq!(engine.endings(), STOPPED_THEN_REMOVED);
    world.stop().await;
}

#[tokio::test]
async fn an_engine_that_kills_what_it_stops_need_not_be_told_to() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let machine = world.run(&deaf(None)).await;
    let stop = StopOptions { signal: None, timeout: Some(Duration::from_secs(60)) };
    world.machines.stop(APP, &machine.id, &stop).await.expect("asked");
    until("it is told to stop", || engine.asked("/stop?t=60") == 1).await;
    engine.end(137, false);
    world.until(&machine.id, MachineState::Stopped).await;
    assert_eq!(exit_code(&world, &machine).await, Some(137));
    world.stop().await;
}

#[tokio::test]
async fn a_container_has_thirty_seconds_to_end_unless_its_machine_says_otherwise() {
    let engine = Engine::start();
    let world = world(&engine).await;
    for (name, timeout, asked) in [("usual", None, 30), ("own", Some("60s"), 60), ("part", Some("1500ms"), 2)] {
        let mut new = one();
        new.name = name.to_owned();
        new.config.stop_config.as_mut().expect("has one").timeout = timeout.map(str::to_owned);
        let id = world.run(&new).await.id;
        assert_eq!(engine.container().expect("made").body["StopTimeout"], asked);
        world.machines.stop(APP, &id, &StopOptions::default()).await.expect("stopped");
        world.until(&id, MachineState::Stopped).await;
        assert_eq!(engine.asked(&format!("/stop?t={asked}")), 1, "{name}");
    }
    world.stop().await;
}

#[tokio::test]
async fn at_the_emulators_end_no_container_has_longer_than_that() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let mut new = one();
    new.config.stop_config.as_mut().expect("has one").timeout = Some("60s".to_owned());
    world.run(&new).await;
    world.stop().await;
    let grace = emulator::SHUTDOWN_GRACE.as_secs();
    assert_eq!((grace, engine.asked(&format!("/stop?t={grace}"))), (30, 1));
    assert_eq!(engine.state.contents().containers.len(), 0);
}

/// Rows RU-6 and RU-18.
#[tokio::test]
async fn a_program_that_is_told_to_end_stops_and_removes_what_does_not_listen_and_ends() {
    let engine = Engine::start();
    let data = Data::new();
    let program = Program::in_containers(data.path(), &engine.socket()).await;
    create_app(&program.machines).await;
    let machine = program.machines.create_machine(APP, &deaf(Some("1s"))).await.expect("created");
    program.machines.wait(APP, &machine.id, MachineState::Started, None, PATIENCE).await.expect("started");
    let ended = tokio::time::timeout(emulator::SHUTDOWN_GRACE, program.terminate()).await.expect("within its grace");
    assert!(ended.success());
    assert_eq!(engine.endings(), STOPPED_THEN_REMOVED);
    assert!(engine.container().is_none());
}

#[tokio::test]
async fn podman_without_root_keeps_ids_however_it_says_what_it_is() {
    use engine::Kind::{Docker, Podman, RootlessDocker, RootlessPodman4, RootlessPodman5};
    for (kind, is_podman, expect) in [
        (Docker, false, json!(null)),
        (RootlessDocker, false, json!(null)),
        (Podman, true, json!(null)),
        (RootlessPodman4, true, json!("keep-id")),
        (RootlessPodman5, true, json!("keep-id")),
    ] {
        let engine = Engine::start();
        engine.state.contents().kind = kind;
        let world = world(&engine).await;
        world.run(&one()).await;
        let host = engine.container().expect("made").body["HostConfig"].clone();
        assert_eq!(host["UsernsMode"], expect, "{kind:?}");
        // Podman takes the profile as a file.
        let profile = host["SecurityOpt"][1].as_str().expect("text").to_owned();
        assert_eq!(profile.ends_with("/fleet-seccomp.json"), is_podman, "{kind:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_killed_emulator_finds_its_containers_again_and_no_other() {
    let engine = Engine::start();
    let data = Data::new();
    let program = Program::in_containers(data.path(), &engine.socket()).await;
    create_app(&program.machines).await;
    let create = async |name: &str| {
        let machine = program.machines.create_machine(APP, &script(name, "exec sleep 1000")).await.expect("created");
        program.machines.wait(APP, &machine.id, MachineState::Started, None, PATIENCE).await.expect("started");
        machine.id
    };
    let (lived, slept, died) = (create("lived").await, create("slept").await, create("died").await);
    let lost = create("lost").await;
    program.machines.suspend(APP, &slept).await.expect("suspended");
    let log = data.path().join("machines").join(&lived).join("log");
    until("its output is kept", || std::fs::read(&log).is_ok_and(|log| log == b"hello\ntrouble\n")).await;
    program.kill().await;

    {
        let mut contents = engine.state.contents();
        let dead = contents.containers.values_mut().find(|container| container.name.ends_with(&died)).expect("there");
        dead.status = "exited";
        // Row T-2.5: of another data directory, and somebody else's who uses one of our words.
        let mut strange = dead.clone();
        strange.body["Labels"]["bifrost-data"] = json!("/elsewhere");
        strange.name = "bifrost-strange".to_owned();
        let mut foreign = dead.clone();
        foreign.body["Labels"].as_object_mut().expect("labels").remove("dixie-fleet");
        foreign.body["Labels"]["bifrost-machine-id"] = json!("foreign");
        foreign.name = "bifrost-foreign".to_owned();
        contents.containers.extend([("strange".to_owned(), strange), ("foreign".to_owned(), foreign)]);
    }
    std::fs::remove_dir_all(data.path().join("machines").join(&lost)).expect("removed");

    let program = Program::in_containers(data.path(), &engine.socket()).await;
    for (id, state) in
        [(&lived, MachineState::Started), (&slept, MachineState::Suspended), (&died, MachineState::Stopped)]
    {
        assert_eq!(program.machines.machine(APP, id).await.expect("there").state, state);
    }
    let names: Vec<String> = engine.state.contents().containers.values().map(|one| one.name.clone()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for theirs in ["bifrost-strange", "bifrost-foreign"] {
        assert!(names.contains(&theirs.to_owned()), "{names:?}");
    }
    until("nothing is in the log twice", || std::fs::read(&log).is_ok_and(|log| log == b"hello\ntrouble\n")).await;
    assert!(program.terminate().await.success());
}

#[tokio::test]
async fn an_engine_that_cannot_be_used_is_named_with_what_to_do() {
    let start = async |engine: &Engine| {
        let data = Data::new();
        let config = Config::from_vars(data.path().to_owned(), &mut kit::Vars::default());
        let config = Config { machines: in_containers(&engine.socket()), ..config };
        let started = start_with(config, &Tasks::new()).await;
        format!("{:#}", anyhow::Error::from(started.expect_err("unusable")))
    };
    let engine = Engine::start();
    let leads_out = json!({ "Name": "fleet-egress", "Internal": false });
    engine.state.contents().networks.insert("fleet-egress".to_owned(), leads_out);
    let error = start(&engine).await;
    assert!(error.contains("not internal") && error.contains("DOCKER_HOST"), "{error}");
    std::fs::remove_file(engine.socket()).expect("removed");
    let error = start(&engine).await;
    assert!(error.contains("engine.sock") && error.contains("start the engine"), "{error}");
}

#[tokio::test]
async fn a_container_needs_an_image_and_no_command() {
    let engine = Engine::start();
    let world = world(&engine).await;
    let mut new = one();
    new.config.init.exec = None;
    world.run(&new).await;
    new.config.image.clear();
    new.name = "two".to_owned();
    let refused = world.machines.create_machine(APP, &new).await.expect_err("no image");
    assert_eq!(refused.status(), Some(400));
    world.stop().await;
}
