//! What a task's command reaches of the system that runs it, and what it may say to it.

use world::World;

use crate::commands::json;

#[tokio::test]
async fn a_walled_command_of_a_local_system_sees_neither_its_keys_nor_its_processes() {
    let world = World::plan().in_one_process().start().await;
    let data = world.data().canonicalize().expect("is there").display().to_string();
    let script = format!(
        "cat {data}/api-key 2>/dev/null; find {data} -maxdepth 1 -type f; ls {data}; \
         for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; done | grep -E 'TOKEN|BIFROST_CONTROL_URL'; echo looked"
    );
    let run = world.bifrost(&["run", "--", "sh", "-c", &script]).output().await;
    // The way to its own workspace, and nothing beside it.
    assert_eq!((run.code, run.stdout.lines().count()), (0, 2), "{} {}", run.stdout, run.stderr);
    assert!(run.stdout.ends_with("\nlooked\n"), "{}", run.stdout);
    let task = json(&world, &["tasks", "list"]).await[0].clone();
    let events = json(&world, &["events", "get", task["id"].as_str().expect("an id")]).await;
    let told = events.as_array().expect("a list").iter().find(|event| event["type"] == "execution.isolation");
    let walls = &told.expect("told")["payload"]["walls"];
    assert!(["files", "processes", "ipc"].iter().all(|wall| walls.to_string().contains(wall)), "{walls}");
    world.finish().await;
}

#[tokio::test]
async fn a_silent_command_at_work_behind_walls_is_not_idle() {
    let world = World::start().await;
    let script = "timeout 4 sh -c 'while :; do :; done'; echo done";
    let run = world.bifrost(&["run", "--idle-timeout", "2s", "--", "sh", "-c", script]).output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{}", run.stderr);
    let run = world.bifrost(&["run", "--idle-timeout", "1s", "--", "sleep", "86418"]).output().await;
    assert_eq!(run.code, 124, "{}", run.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_command_that_says_that_it_is_busy_may_be_silent() {
    let world = World::start().await;
    let program = world.program().display().to_string();
    let script = format!("for round in 1 2 3 4 5 6 7 8; do sleep 0.5; {program} busy; done; echo done");
    let run = world.bifrost(&["run", "--idle-timeout", "2s", "--", "sh", "-c", &script]).output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{}", run.stderr);
    let too_long =
        format!("{program} busy --for 2h; echo $?; {program} busy --for 5s --reason 'a person reads'; echo $?");
    let run = world.bifrost(&["run", "--", "sh", "-c", &too_long]).output().await;
    let mut lines = run.stdout.lines();
    assert_ne!(lines.next(), Some("0"), "an hour is the most");
    assert_eq!(lines.next(), Some("0"), "{} {}", run.stdout, run.stderr);
    let tasks = json(&world, &["tasks", "list"]).await;
    assert!(tasks.as_array().expect("a list").iter().all(|task| task["status"] == "completed"), "{tasks}");
    world.finish().await;
}
