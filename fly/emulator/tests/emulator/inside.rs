//! What is asked of a machine that runs: its processes, a signal, a program, its
//! memory. What is told is what this computer's own tables say.

use fly::MachineState;
use serde_json::{Value, json};

use crate::world::*;

fn path(id: &str, rest: &str) -> String {
    format!("/v1/apps/{APP}/machines/{id}/{rest}")
}

/// The status, and the answer in JSON.
async fn ask(world: &World, method: &str, path: &str, body: Value) -> (u16, Value) {
    let request = world.http(method, path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.expect("answered");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn exec(world: &World, id: &str, body: Value) -> Value {
    let (status, answer) = ask(world, "POST", &path(id, "exec"), body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test]
async fn a_machines_processes_are_listed_with_where_they_listen() {
    let world = World::start().await;
    let listener = format!("{} --listen 127.0.0.1:0 --data inner", env!("CARGO_BIN_EXE_bifrost-emulator"));
    let mut new = script("one", &format!("sleep 1000 & exec {listener}"));
    new.config.env.insert("BIFROST_LOG".to_owned(), "info".to_owned());
    let id = world.run(&new).await.id;
    until("it listens", || world.log(&id).contains("\"address\":\"")).await;
    let log = world.log(&id);
    let address = log.split("\"address\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an address");

    let (status, listed) = ask(&world, "GET", &path(&id, "ps?sort_by=command&order=desc"), Value::Null).await;
    assert_eq!(status, 200);
    let of = |field: &str| listed.as_array().expect("a list").iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("command"), [json!("sleep 1000"), json!(listener)]);
    let mut own: Vec<i32> = states(&id).into_iter().map(|(pid, _)| pid).collect();
    let mut pids: Vec<i32> = of("pid").iter().filter_map(|pid| pid.as_i64()?.try_into().ok()).collect();
    own.sort_unstable();
    pids.sort_unstable();
    assert_eq!(pids, own);
    let root = world.root(&id).canonicalize().expect("there");
    assert!(of("directory").iter().all(|directory| *directory == json!(root)), "{listed}");
    assert!(of("rss").iter().all(|bytes| bytes.as_u64().is_some_and(|bytes| bytes > 4_096)), "{listed}");
    let sockets = json!([{"proto": "tcp", "address": address}]);
    assert_eq!(of("listen_sockets"), [json!([]), sockets]);

    let (status, refused) = ask(&world, "GET", &path(&id, "ps?sort_by=beauty"), Value::Null).await;
    assert_eq!((status, refused["error"].as_str().map(|text| text.starts_with("invalid_argument"))), (400, Some(true)));
    world.stop().await;
}

#[tokio::test]
async fn a_signal_is_really_sent_and_one_that_kills_goes_by_the_restart_policy() {
    let world = World::start().await;
    let waits = "trap 'echo heard' USR1; echo ready; while :; do sleep 0.01; done";
    let id = world.run(&script("one", waits)).await.id;
    until("it listens", || world.log(&id).contains("ready")).await;
    let to = path(&id, "signal");
    let signal = |name: &str| ask(&world, "POST", &to, json!({ "signal": name }));
    assert_eq!(signal("SIGUSR1").await, (200, json!({"ok": true})));
    until("it is heard", || world.log(&id).contains("heard")).await;
    assert_eq!(world.state(&id).await, MachineState::Started);
    for unknown in ["SIGSTOP", "9"] {
        assert_eq!(signal(unknown).await.0, 400, "{unknown}");
    }
    assert_eq!(signal("SIGKILL").await.0, 200);
    world.until(&id, MachineState::Stopped).await;
    let (status, refused) = signal("SIGTERM").await;
    let why = "failed_precondition: unable to signal machine from current state: 'stopped'";
    assert_eq!((status, refused["error"].as_str()), (412, Some(why)));
    world.stop().await;
}

#[tokio::test]
async fn a_program_runs_in_the_machine_and_its_output_is_told() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let script = "pwd; echo $FLY_MACHINE_ID $GIVEN; cat; echo bad >&2; exit 3";
    let told = exec(&world, &id, json!({"command": ["sh", "-c", script], "stdin": "given"})).await;
    let root = world.root(&id).canonicalize().expect("there");
    let stdout = format!("{}\n{id} yes\ngiven", root.display());
    assert_eq!(told, json!({"exit_code": 3, "exit_signal": 0, "stdout": stdout, "stderr": "bad\n"}));
    let told = exec(&world, &id, json!({"cmd": "echo 'two words' one"})).await;
    assert_eq!(told["stdout"], "two words one\n");
    let told = exec(&world, &id, json!({"command": ["sh", "-c", "kill -TERM $$"]})).await;
    assert_eq!((&told["exit_code"], &told["exit_signal"]), (&json!(0), &json!(15)));

    let (status, refused) = ask(&world, "POST", &path(&id, "exec"), json!({"command": ["/no/such/program"]})).await;
    assert_eq!((status, refused["error"].as_str().map(|text| text.contains("/no/such/program"))), (412, Some(true)));
    for (body, field) in
        [(json!({}), "command"), (json!({"cmd": "echo '"}), "cmd"), (json!({"command": [""]}), "command")]
    {
        let (status, refused) = ask(&world, "POST", &path(&id, "exec"), body).await;
        let said = format!("invalid_argument: {field}: ");
        assert_eq!(
            (status, refused["error"].as_str().map(|text| text.starts_with(&said))),
            (400, Some(true)),
            "{refused}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_takes_too_long_ends_with_all_that_it_has_started() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    let body = json!({"command": ["sh", "-c", "sleep 2001 & sleep 2002"], "timeout": 1});
    let (status, late) = ask(&world, "POST", &path(&id, "exec"), body).await;
    assert_eq!((status, late["error"].as_str()), (408, Some("deadline_exceeded: the program still runs")));
    until("both are gone", || running(&["sleep", "2001"]).is_empty() && running(&["sleep", "2002"]).is_empty()).await;
    assert_eq!(world.state(&id).await, MachineState::Started);
    world.stop().await;
}

#[tokio::test]
async fn what_a_program_leaves_in_the_background_is_the_machines() {
    let world = World::start().await;
    let id = world.run(&script("one", "exec sleep 1000")).await.id;
    exec(&world, &id, json!({"command": ["sh", "-c", "sleep 3001 >/dev/null 2>&1 &"]})).await;
    until("both run", || states(&id).len() == 2 && running(&["sleep", "3001"]).len() == 1).await;
    world.machines.suspend(APP, &id).await.expect("suspended");
    world.until(&id, MachineState::Suspended).await;
    assert!(are_frozen(&running(&["sleep", "3001"])));
    let (status, refused) = ask(&world, "POST", &path(&id, "exec"), json!({"command": ["true"]})).await;
    let why = "failed_precondition: unable to exec in machine from current state: 'suspended'";
    assert_eq!((status, refused["error"].as_str()), (412, Some(why)));
    assert_eq!(ask(&world, "GET", &path(&id, "ps"), Value::Null).await.0, 412);
    world.machines.destroy(APP, &id, true).await.expect("destroyed");
    assert!(running(&["sleep", "3001"]).is_empty());
    world.stop().await;
}

#[tokio::test]
async fn memory_has_a_limit_until_the_next_boot_and_what_is_taken_shows() {
    let world = World::start().await;
    let mut new = script("one", "exec sleep 1000");
    new.config.guest.memory_mb = 512;
    let id = world.run(&new).await.id;
    let (status, memory) = ask(&world, "GET", &path(&id, "memory"), Value::Null).await;
    assert_eq!((status, &memory["limit_mb"]), (200, &json!(512)));
    assert!(memory["available_mb"].as_u64().is_some_and(|left| (1..512).contains(&left)), "{memory}");
    let (status, memory) = ask(&world, "PUT", &path(&id, "memory"), json!({"limit_mb": 256})).await;
    assert_eq!((status, &memory["limit_mb"]), (200, &json!(256)));
    for megabytes in [0, 513] {
        let (status, refused) = ask(&world, "PUT", &path(&id, "memory"), json!({ "limit_mb": megabytes })).await;
        let why = "invalid_argument: limit_mb must be inside range [1, 512]";
        assert_eq!((status, refused["error"].as_str()), (400, Some(why)));
    }
    let reclaimed = ask(&world, "POST", &path(&id, "memory/reclaim"), json!({"amount_mb": 100})).await;
    assert_eq!(reclaimed, (200, json!({"actual_mb": 0})));
    world.machines.restart(APP, &id, &fly::StopOptions::default()).await.expect("restarted");
    world.until(&id, MachineState::Started).await;
    assert_eq!(ask(&world, "GET", &path(&id, "memory"), Value::Null).await.1["limit_mb"], 512);
    world.machines.stop(APP, &id, &fly::StopOptions::default()).await.expect("stopped");
    world.until(&id, MachineState::Stopped).await;
    assert_eq!(ask(&world, "GET", &path(&id, "memory"), Value::Null).await.0, 412);
    world.stop().await;
}
