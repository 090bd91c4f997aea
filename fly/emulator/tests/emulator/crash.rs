//! The real program, killed: nothing acknowledged is lost, and its machines go on.

use std::fs;
use std::path::Path;

use fly::MachineState;
use kit::Tasks;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::world::*;

async fn run(program: &Program, name: &str, text: &str) -> String {
    let machine = program.machines.create_machine(APP, &script(name, text)).await.expect("created");
    program.machines.wait(APP, &machine.id, MachineState::Started, None, PATIENCE).await.expect("started");
    machine.id
}

async fn state(program: &Program, id: &str) -> MachineState {
    program.machines.machine(APP, id).await.expect("readable").state
}

fn log(data: &Path, id: &str) -> String {
    fs::read_to_string(data.join("machines").join(id).join("log")).unwrap_or_default()
}

#[tokio::test]
async fn a_killed_emulator_comes_back_to_its_machines() {
    let data = Data::new();
    let program = Program::start(data.path()).await;
    create_app(&program.machines).await;
    let volume = volume(&program.machines).await;
    let lived = with_volume(script("lived", "echo y > .sprite/cache; sleep 1001 & setsid sleep 1002 & wait"), &volume);
    let lived = program.machines.create_machine(APP, &lived).await.expect("created").id;
    let slept = run(&program, "slept", "setsid sleep 1002 & wait").await;
    let died = run(&program, "died", "exec sleep 1000").await;
    until("all run", || states(&lived).len() == 3 && states(&slept).len() == 2).await;
    program.machines.suspend(APP, &slept).await.expect("suspended");
    program.kill().await;

    let before = states(&lived);
    assert_eq!(before.len(), 3);
    kill(Pid::from_raw(states(&died)[0].0), Signal::SIGKILL).expect("killed");
    until("it is gone", || states(&died).is_empty()).await;

    let program = Program::start(data.path()).await;
    assert_eq!(state(&program, &lived).await, MachineState::Started);
    assert_eq!(state(&program, &slept).await, MachineState::Suspended);
    assert_eq!(state(&program, &died).await, MachineState::Stopped);
    let newest = &program.events(&died).await[0];
    assert_eq!((&newest["type"], &newest["status"]), (&json!("exit"), &json!("stopped")));
    assert_eq!(pids(&states(&lived)), pids(&before));
    assert!(are_frozen(&states(&slept)));
    program.machines.start(APP, &slept).await.expect("resumed");
    until("it runs", || states(&slept).iter().all(|(_, state)| *state != 'T')).await;
    program.machines.start(APP, &died).await.expect("started anew");
    assert!(data.path().join("volumes").join(&volume.id).join("cache").exists());

    // An adopted machine's end is seen, and whatever it leaves is ended.
    let init = pids(&before)[0];
    kill(Pid::from_raw(init), Signal::SIGKILL).expect("killed");
    program.machines.wait(APP, &lived, MachineState::Stopped, None, PATIENCE).await.expect("stopped");
    assert_eq!(states(&lived), []);

    assert!(program.terminate().await.success());
    assert_eq!((states(&slept), states(&died)), (vec![], vec![]));
}

fn pids(states: &[(i32, char)]) -> Vec<i32> {
    states.iter().map(|(pid, _)| *pid).collect()
}

#[tokio::test]
async fn whatever_was_answered_before_a_kill_is_so_after_it() {
    let data = Data::new();
    let mut program = Program::start(data.path()).await;
    create_app(&program.machines).await;
    let id = run(&program, "one", "echo up; exec sleep 1000").await;
    for round in 1..=3 {
        program.machines.suspend(APP, &id).await.expect("suspended");
        program.kill().await;
        program = Program::start(data.path()).await;
        assert_eq!(state(&program, &id).await, MachineState::Suspended, "round {round}");
        assert!(are_frozen(&states(&id)), "round {round}");

        program.machines.start(APP, &id).await.expect("resumed");
        program.machines.set_metadata(APP, &id, "round", &round.to_string()).await.expect("set");
        program.kill().await;
        program = Program::start(data.path()).await;
        assert_eq!(state(&program, &id).await, MachineState::Started, "round {round}");
        until("it runs", || !are_frozen(&states(&id))).await;
        assert_eq!(program.machines.metadata(APP, &id).await.expect("read")["round"], round.to_string());
    }
    assert_eq!(log(data.path(), &id), "up\n", "it was never started again");

    program.machines.destroy(APP, &id, true).await.expect("destroyed");
    program.kill().await;
    let program = Program::start(data.path()).await;
    assert_eq!(program.machines.machines(APP).await.expect("listed"), []);
    assert_eq!(states(&id), []);
    assert!(program.terminate().await.success());
}

#[tokio::test]
async fn a_clock_that_was_behind_is_set_right_by_the_next_emulator() {
    let data = Data::new();
    let program = Program::start(data.path()).await;
    create_app(&program.machines).await;
    let lag = "[[machine]]\neffect = { clock_lag = { by_ms = 7200000 } }";
    let put = kit::http::client(PATIENCE).put(format!("{}/control/faults", program.url())).body(lag);
    assert_eq!(put.send().await.expect("answered").status(), 204);
    let id = run(&program, "one", "while :; do date +%s; sleep 0.05; done").await;
    let behind = || {
        let told: i64 = log(data.path(), &id).lines().last()?.parse().ok()?;
        Some(kit::Clock::system().now().timestamp() - told)
    };
    until("it runs", || behind().is_some_and(|seconds| seconds < 3_600)).await;
    program.machines.suspend(APP, &id).await.expect("suspended");
    program.machines.start(APP, &id).await.expect("resumed");
    until("its clock is behind", || behind().is_some_and(|seconds| seconds > 3_600)).await;
    program.kill().await;

    let program = Program::start(data.path()).await;
    until("its clock is right", || behind().is_some_and(|seconds| seconds < 3_600)).await;
    assert!(program.terminate().await.success());
}

#[tokio::test]
async fn a_machine_whose_record_was_never_finished_leaves_nothing() {
    let data = Data::new();
    let program = Program::start(data.path()).await;
    create_app(&program.machines).await;
    let id = run(&program, "one", "sleep 1001 & setsid sleep 1002 & wait").await;
    until("all run", || states(&id).len() == 3).await;
    program.kill().await;
    // As if the kill had come between the end of a record and the end of its files.
    let directory = data.path().join("machines").join(&id);
    fs::remove_file(directory.join("machine.json")).expect("removed");

    let program = Program::start(data.path()).await;
    assert_eq!(states(&id), []);
    assert!(!directory.exists());
    assert!(program.terminate().await.success());
}

#[tokio::test]
async fn a_second_emulator_on_the_same_directory_is_refused() {
    let world = World::start().await;
    let error = start_on(world.data.path(), &Tasks::new()).await.expect_err("in use").to_string();
    assert!(error.contains("another emulator is using"), "{error}");
    let data = world.stop().await;
    World::on(data).await.stop().await;
}

#[tokio::test]
async fn a_damaged_record_is_named_and_not_thrown_away() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let data = world.stop().await;
    let record = data.path().join("machines").join(&id).join("machine.json");
    fs::write(&record, "{").expect("written");
    let error = start_on(data.path(), &Tasks::new()).await.expect_err("damaged").to_string();
    assert!(error.contains("machine.json") && error.contains("move it away"), "{error}");
    assert!(record.exists());
}
