//! Machines that are containers of a real engine, podman's: what the kernel then
//! says of them, and that they outlive a killed emulator. Named by `podman`, so
//! that `scripts/test` can leave them out where there is none.

use std::path::PathBuf;
use std::time::Duration;

use emulator::Config;
use emulator::podman::Podman;
use fly::{MachineState, NewMachine, StopOptions};
use kit::Vars;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::*;

/// Names an image in podman's store with `sh`, `sleep`, `id`, `cat` and `ip`, which `scripts/test` makes.
const IMAGE: &str = "BIFROST_TEST_IMAGE";
const SKIPPED: &str = "skipped: BIFROST_TEST_IMAGE names no image for podman";
/// Podman's service and the image, for as long as this is there.
struct Engine {
    podman: Podman,
    image: String,
    _directory: TempDir,
}

impl Engine {
    /// Nothing where there is no podman, or no image for it.
    async fn start() -> Option<Self> {
        let image = Vars::from_process().text(IMAGE)?.to_owned();
        let directory = tempfile::tempdir().expect("a directory");
        let podman = Podman::start(directory.path()).await.expect("podman serves");
        Some(Self { podman, image, _directory: directory })
    }

    fn socket(&self) -> PathBuf {
        self.podman.socket()
    }

    fn machine(&self, name: &str, text: &str) -> NewMachine {
        let mut new = script(name, text);
        new.config.image.clone_from(&self.image);
        new
    }
}

async fn exec(world: &World, id: &str, command: &[&str]) -> Value {
    let request = world.http("POST", &format!("/v1/apps/{APP}/machines/{id}/exec"));
    request.json(&json!({ "command": command })).send().await.expect("answered").json().await.expect("JSON")
}

#[tokio::test]
async fn podman_runs_a_machine_with_no_rights_no_way_out_and_its_volume() {
    let Some(podman) = Engine::start().await else { return eprintln!("{SKIPPED}") };
    let world = World::with(|config| Config { machines: in_containers(&podman.socket()), ..config }).await;
    let volume = world.volume().await;
    let text = "exec 2>&1; touch /root-is-writable; echo kept > /.sprite/kept; echo to the log; exec sleep 1000";
    let id = world.run(&with_volume(podman.machine("one", text), &volume)).await.id;
    until("it has run", || world.log(&id).contains("to the log")).await;
    assert!(world.log(&id).contains("Read-only file system"), "{}", world.log(&id));
    assert!(world.data.path().join("volumes").join(&volume.id).join("kept").exists());

    let status = exec(&world, &id, &["cat", "/proc/1/status"]).await["stdout"].as_str().expect("text").to_owned();
    // NET_BIND_SERVICE is the tenth capability.
    for line in ["CapBnd:\t0000000000000400", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t10001\t10001\t10001\t10001"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    let routes = exec(&world, &id, &["ip", "route"]).await;
    let routes = routes["stdout"].as_str().expect("text");
    assert!(!routes.is_empty() && !routes.contains("default"), "{routes}");
    let mounts = exec(&world, &id, &["cat", "/proc/mounts"]).await;
    let mounts = mounts["stdout"].as_str().expect("text");
    let temporary = mounts.lines().find(|line| line.contains(" /tmp ")).expect("a /tmp");
    assert!(temporary.contains("nosuid") && temporary.contains("noexec"), "{temporary}");
    let unshared = exec(&world, &id, &["unshare", "-r", "true"]).await;
    assert_ne!(unshared["exit_code"], 0, "the profile lets nobody make namespaces: {unshared}");

    world.machines.suspend(APP, &id).await.expect("suspended");
    world.machines.start(APP, &id).await.expect("resumed");
    assert_eq!(world.state(&id).await, MachineState::Started);
    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    world.stop().await;
}

#[tokio::test]
async fn podman_keeps_machines_while_their_emulator_is_killed() {
    let Some(podman) = Engine::start().await else { return eprintln!("{SKIPPED}") };
    let data = Data::new();
    let program = Program::in_containers(data.path(), &podman.socket()).await;
    create_app(&program.machines).await;
    let run = async |name: &str, text: &str| {
        let machine = program.machines.create_machine(APP, &podman.machine(name, text)).await.expect("created");
        program.machines.wait(APP, &machine.id, MachineState::Started, None, PATIENCE).await.expect("started");
        machine.id
    };
    let lived = run("lived", "echo once; exec sleep 1000").await;
    let slept = run("slept", "exec sleep 1000").await;
    program.machines.suspend(APP, &slept).await.expect("suspended");
    let log = data.path().join("machines").join(&lived).join("log");
    until("its output is kept", || std::fs::read(&log).is_ok_and(|log| log == b"once\n")).await;
    program.kill().await;

    let program = Program::in_containers(data.path(), &podman.socket()).await;
    assert_eq!(program.machines.machine(APP, &lived).await.expect("there").state, MachineState::Started);
    assert_eq!(program.machines.machine(APP, &slept).await.expect("there").state, MachineState::Suspended);
    until("it was started once", || std::fs::read(&log).is_ok_and(|log| log == b"once\n")).await;
    program.machines.start(APP, &slept).await.expect("resumed");
    for id in [&lived, &slept] {
        program.machines.destroy(APP, id, true).await.expect("destroyed");
    }
    assert!(program.terminate().await.success());
}

#[tokio::test]
async fn podman_tells_how_a_container_has_ended() {
    let Some(podman) = Engine::start().await else { return eprintln!("{SKIPPED}") };
    let world = World::with(|config| Config { machines: in_containers(&podman.socket()), ..config }).await;
    for (text, code) in [("exit 3", 3), ("exec /no/such/program", 127)] {
        let machine = world.machines.create_machine(APP, &podman.machine("one", text)).await.expect("created");
        world.until(&machine.id, MachineState::Stopped).await;
        let events = world.machines.events(APP, &machine.id).await.expect("read");
        let exit = events.iter().find_map(fly::MachineEvent::exit).expect("an exit");
        assert_eq!(exit.exit_code, Some(code), "{text}: {}", world.log(&machine.id));
        world.machines.destroy(APP, &machine.id, true).await.expect("destroyed");
    }
    let mut missing = podman.machine("missing", "true");
    missing.config.init.exec = Some(vec!["no-such-program".to_owned()]);
    let machine = world.machines.create_machine(APP, &missing).await.expect("created");
    world.until(&machine.id, MachineState::Stopped).await;
    assert!(world.log(&machine.id).contains("cannot start"), "{}", world.log(&machine.id));
    world.stop().await;
}

/// Rows T-2.4b and T-2.10.
#[tokio::test]
async fn podman_stops_what_listens_and_kills_what_does_not_and_removes_both() {
    let Some(podman) = Engine::start().await else { return eprintln!("{SKIPPED}") };
    let world = World::with(|config| Config { machines: in_containers(&podman.socket()), ..config }).await;
    let deaf = "trap '' TERM; echo up; while :; do sleep 1; done";
    for (name, text, stop) in [
        ("polite", "trap 'echo told; exit 0' TERM; echo up; while :; do sleep 1; done", Some(60)),
        ("deaf", deaf, Some(1)),
        ("hurried", deaf, None),
    ] {
        let id = world.run(&podman.machine(name, text)).await.id;
        until("it is deaf by now", || world.log(&id).contains("up")).await;
        let timeout = Some(Duration::from_secs(stop.unwrap_or(60)));
        world.machines.stop(APP, &id, &StopOptions { signal: None, timeout }).await.expect("asked");
        match stop {
            Some(_) => world.until(&id, MachineState::Stopped).await,
            // While podman waits for it.
            None => world.machines.destroy(APP, &id, true).await.expect("destroyed"),
        }
        let mut listed = podman.podman.command();
        listed.args(["ps", "--all", "--quiet", "--filter"]).arg(format!("label=bifrost-machine-id={id}"));
        let listed = listed.output().await.expect("lists");
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "", "{name}: {}", world.log(&id));
        assert_eq!(world.log(&id).contains("told"), name == "polite");
    }
    world.stop().await;
}
