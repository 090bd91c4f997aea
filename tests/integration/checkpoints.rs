//! What an attempt left is listed, begun from, and kept; and tests decide.

use std::path::PathBuf;

use serde_json::Value;
use wire::id::{ExecutionId, TaskId};
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{PATIENCE, World, until};

use crate::commands::json;

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[tokio::test]
async fn what_an_attempt_left_is_where_another_begins() {
    let world = World::start().await;
    let failed = world.bifrost(&["run", "--", "sh", "-c", "echo first > made; rm README*; exit 7"]).output().await;
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    let listed = json(&world, &["checkpoints", "list"]).await;
    let (task, checkpoint) = (text(&listed[0]["task_id"]).to_owned(), text(&listed[0]["id"]).to_owned());
    let shown = json(&world, &["checkpoints", "show", &checkpoint]).await;
    let paths: Vec<&str> = shown["changes"].as_array().expect("a list").iter().map(|one| text(&one["path"])).collect();
    assert!(paths.contains(&"made"), "{shown}");
    let script = "cat made; echo second > made";
    let forked = world.bifrost(&["checkpoints", "fork", &checkpoint, "--", "sh", "-c", script]).output().await;
    assert_eq!((forked.code, forked.stdout.as_str()), (0, "first\n"), "{}", forked.stderr);
    let listed = json(&world, &["checkpoints", "list"]).await;
    let newest = text(&listed[0]["id"]).to_owned();
    let diff = json(&world, &["checkpoints", "diff", &checkpoint, &newest]).await;
    assert_eq!(diff["paths"].as_array().expect("a list").len(), 1, "{diff}");
    assert_eq!(diff["paths"][0]["path"], "made");
    // What a task begins from is kept, and its machine has heard so.
    let kept = listed.as_array().expect("a list").iter().find(|one| one["id"] == checkpoint.as_str()).expect("listed");
    assert_eq!(kept["pinned"], true);
    // Its machine sleeps by now, and is woken for it.
    world.until_machine(MachineState::Suspended).await;
    let restored = json(&world, &["checkpoints", "restore", &task]).await;
    assert_eq!(restored["spec"]["checkpoint"], checkpoint.as_str());
    let followed = world.bifrost(&["tasks", "logs", &task, "--follow"]).output().await;
    assert!(followed.stderr.contains("begins as a checkpoint left it"), "{}", followed.stderr);
    world.finish().await;
}

#[tokio::test]
async fn tests_decide_and_an_agent_hears_of_them_in_its_next_attempt() {
    let world = World::start().await;
    let red = "echo ok 1 - a; echo not ok 2 - b; echo '# expected 7'";
    let ran = world.bifrost(&["run", "--tests", "--", "sh", "-c", red]).output().await;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("tests: 1 of 2 tests failed: b"), "{}", ran.stderr);
    let task = text(&json(&world, &["tasks", "list"]).await[0]["id"]).to_owned();
    let report = json(&world, &["tests", &task]).await;
    assert_eq!((&report["failed"], &report["failures"][0]["message"]), (&Value::from(1), &Value::from("expected 7")));
    let shown = world.bifrost(&["tests", &task]).output().await;
    assert!(shown.stdout.contains("\nb\n    expected 7\n"), "{}", shown.stdout);
    world
        .repository
        .commit(&[("Makefile", "test:\n\t@test -f FIXED && echo ok 1 - fixed || echo not ok 1 - fixed\n")])
        .await;
    let prompt = world.directory().join("prompt");
    std::fs::write(&prompt, "I look.\n").expect("writes");
    let prompt = prompt.display().to_string();
    let asked = world.bifrost(&["run", "--agent", "mock", "--tests", "--prompt", &prompt]).output().await;
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    let listed = json(&world, &["tasks", "list", "--status", "failed"]).await;
    let asked = listed.as_array().expect("a list").iter().find(|task| task["title"] == "I look.").expect("listed");
    let id = text(&asked["id"]).to_owned();
    world.bifrost(&["tasks", "retry", &id]).output().await;
    // The mock agent says whatever it does not understand, and so what it was told.
    let followed = world.bifrost(&["tasks", "logs", &id, "--follow"]).output().await;
    assert!(followed.stdout.contains("1 of 1 test failed: fixed"), "{}", followed.stdout);
    world.finish().await;
}

/// The files of the machines' volumes whose path has these parts.
fn of_volumes(world: &World, part: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![world.data()];
    while let Some(directory) = directories.pop() {
        // What goes while one looks is not there.
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let text = path.to_string_lossy().into_owned();
            if text.contains(part) && text.ends_with(ending) {
                found.push(path.clone());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !text.ends_with("/objects") {
                directories.push(path);
            }
        }
    }
    found
}

fn kill_runners(world: &World) {
    world.runners().iter().for_each(world::Process::kill);
}

/// What the first line of an execution's output says.
async fn said(world: &World, task: TaskId, number: i32) -> (ExecutionId, String) {
    let executions = world.executions(task).await;
    let id = executions.iter().find(|execution| execution.number == number).expect("there was one").id;
    let record = world.record(task).await;
    (id, record.output_of(id).stdout.lines().next().unwrap_or_default().to_owned())
}

const NOISE: &str = "head -c 40000000 /dev/urandom > noise; sha256sum noise";

#[tokio::test]
async fn a_runner_killed_while_it_saves_loses_nothing_of_what_it_was_saving() {
    let world = World::start().await;
    let task = world.submit(NOISE).await;
    until("something is being saved", PATIENCE, async || {
        let is_under_way = !of_volumes(&world, "/chunks/", ".unfinished").is_empty();
        (is_under_way || !of_volumes(&world, "/checkpoints/", "/manifest.json").is_empty()).then_some(())
    })
    .await;
    kill_runners(&world);
    world.until_task(task, TaskStatus::Completed).await;
    let (execution, sum) = said(&world, task, 1).await;
    let listed = json(&world, &["checkpoints", "list", &task.to_string()]).await;
    let of_first = listed.as_array().expect("a list").iter().find(|one| one["execution_id"] == execution.to_string());
    let id = text(&of_first.expect("it was saved when the runner was back")["id"]).to_owned();
    let forked = world.bifrost(&["checkpoints", "fork", &id, "--", "sha256sum", "noise"]).output().await;
    assert_eq!((forked.code, forked.stdout.trim()), (0, sum.as_str()), "{}", forked.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_runner_killed_while_it_puts_a_checkpoint_back_begins_again() {
    let world = World::start().await;
    let task = world.submit(NOISE).await;
    world.until_task(task, TaskStatus::Completed).await;
    let (_, sum) = said(&world, task, 1).await;
    let id = text(&json(&world, &["checkpoints", "list"]).await[0]["id"]).to_owned();
    let fork = world.bifrost(&["checkpoints", "fork", &id, "--", "sha256sum", "noise"]).spawn();
    until("it is being put back", PATIENCE, async || {
        let is_under_way = !of_volumes(&world, "/workspaces/", ".bifrost-unfinished").is_empty();
        let is_over = of_volumes(&world, "/checkpoints/", "/manifest.json").len() > 1;
        (is_under_way || is_over).then_some(())
    })
    .await;
    kill_runners(&world);
    let forked = fork.output().await;
    assert_eq!((forked.code, forked.stdout.lines().last()), (0, Some(sum.as_str())), "{}", forked.stderr);
    world.finish().await;
}

/// Whether a pack was taken in: what is pushed here is too much for single objects.
fn has_pack(objects: &std::path::Path) -> bool {
    std::fs::read_dir(objects.join("pack")).is_ok_and(|mut packs| packs.next().is_some())
}

#[tokio::test]
async fn a_runner_killed_while_it_pushes_unfinished_work_pushes_it_when_it_is_back() {
    let world = World::start().await;
    let script = "head -c 30000000 /dev/urandom > mine";
    let ran = world.bifrost(&["run", "--push-unfinished", "--", "sh", "-c", script]).spawn();
    let objects = world.repository.path().join(".git/objects");
    until("the push has begun", PATIENCE, async || {
        // Where git keeps what comes in until all of it is there.
        let names = std::fs::read_dir(&objects).into_iter().flatten().flatten();
        let mut names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with("tmp_objdir") || name == "pack" && has_pack(&objects)).then_some(())
    })
    .await;
    kill_runners(&world);
    let ran = ran.output().await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let pushed = world.repository.git(&["for-each-ref", "--format=%(refname)", "refs/bifrost/wip"]).await;
    // The attempt that was lost and the one that was not.
    assert_eq!(pushed.lines().count(), 2, "{pushed}");
    for reference in pushed.lines() {
        assert_eq!(world.repository.git(&["cat-file", "-s", &format!("{reference}:mine")]).await.trim(), "30000000");
    }
    world.finish().await;
}
