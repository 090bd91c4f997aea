//! What an attempt left is listed, begun from, and kept; and tests decide.

use std::collections::BTreeSet;
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
pub(crate) fn of_volumes(world: &World, part: &str, ending: &str) -> Vec<PathBuf> {
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

/// Kills the runner while the level holds, which passes by itself: the runner stands still before it is looked at whether
/// the level held on. Whether that was so; where it was too late, the runner goes on.
async fn kill_runner_while(world: &World, what: &str, holds: impl Fn() -> bool, is_over: impl Fn() -> bool) -> bool {
    until(what, PATIENCE, async || (holds() || is_over()).then_some(())).await;
    let runners = world.runners();
    for runner in &runners {
        runner.freeze().await;
    }
    let is_hit = holds() && !is_over();
    runners.iter().for_each(if is_hit { world::Process::kill } else { world::Process::thaw });
    is_hit
}

/// Every checkpoint there is; old ones go.
fn manifests(world: &World) -> BTreeSet<PathBuf> {
    of_volumes(world, "/checkpoints/", "/manifest.json").into_iter().collect()
}

/// So often a kill may come too late.
const TRIES: usize = 10;

#[tokio::test]
async fn a_runner_killed_while_it_saves_loses_nothing_of_what_it_was_saving() {
    let world = World::start().await;
    for _ in 0..TRIES {
        let there = manifests(&world);
        let task = world.submit(NOISE).await;
        let is_saving = || !of_volumes(&world, "/chunks/", ".unfinished").is_empty();
        let is_saved = || !manifests(&world).is_subset(&there);
        let is_hit = kill_runner_while(&world, "something is being saved", is_saving, is_saved).await;
        world.until_task(task, TaskStatus::Completed).await;
        if !is_hit {
            continue;
        }
        let (execution, sum) = said(&world, task, 1).await;
        let listed = json(&world, &["checkpoints", "list", &task.to_string()]).await;
        let listed = listed.as_array().expect("a list");
        let of_first = listed.iter().find(|one| one["execution_id"] == execution.to_string());
        let id = text(&of_first.expect("it was saved when the runner was back")["id"]).to_owned();
        let forked = world.bifrost(&["checkpoints", "fork", &id, "--", "sha256sum", "noise"]).output().await;
        assert_eq!((forked.code, forked.stdout.trim()), (0, sum.as_str()), "{}", forked.stderr);
        return world.finish().await;
    }
    panic!("no kill came while something was being saved");
}

#[tokio::test]
async fn a_runner_killed_while_it_puts_a_checkpoint_back_begins_again() {
    let world = World::start().await;
    let task = world.submit(NOISE).await;
    world.until_task(task, TaskStatus::Completed).await;
    let (_, sum) = said(&world, task, 1).await;
    let id = text(&json(&world, &["checkpoints", "list"]).await[0]["id"]).to_owned();
    for _ in 0..TRIES {
        // Else the workspace before would have it all, and nothing were to be put back.
        let other = world.submit("true").await;
        world.until_task(other, TaskStatus::Completed).await;
        let there = manifests(&world);
        let fork = world.bifrost(&["checkpoints", "fork", &id, "--", "sha256sum", "noise"]).spawn();
        let is_put_back = || !of_volumes(&world, "/workspaces/", ".bifrost-unfinished").is_empty();
        let is_over = || !manifests(&world).is_subset(&there);
        let is_hit = kill_runner_while(&world, "it is being put back", is_put_back, is_over).await;
        let forked = fork.output().await;
        assert_eq!((forked.code, forked.stdout.lines().last()), (0, Some(sum.as_str())), "{}", forked.stderr);
        if is_hit {
            return world.finish().await;
        }
    }
    panic!("no kill came while a checkpoint was being put back");
}

#[tokio::test]
async fn a_runner_killed_while_it_pushes_unfinished_work_pushes_it_when_it_is_back() {
    let world = World::start().await;
    let (hooks, begun, gate) =
        (world.directory().join("hooks"), world.directory().join("begun"), world.directory().join("gate"));
    std::fs::create_dir(&hooks).expect("makes");
    // Holds what is pushed when all of it has come and nothing of it counts yet.
    let hook =
        format!("#!/bin/sh\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.02; done\n", begun.display(), gate.display());
    kit::files::replace(&hooks.join("pre-receive"), hook.as_bytes(), 0o755).expect("writes");
    world.repository.git(&["config", "core.hooksPath", &hooks.to_string_lossy()]).await;
    let script = "head -c 3000000 /dev/urandom > mine";
    let ran = world.bifrost(&["run", "--push-unfinished", "--", "sh", "-c", script]).spawn();
    until("the push is held", PATIENCE, async || begun.exists().then_some(())).await;
    kill_runners(&world);
    // As if its machine went with it: what it had started would push on.
    let is_pushing = |word: &String| word == "push" || word.contains("receive-pack");
    let mut left = world.processes();
    left.retain(|process| process.arguments.iter().any(is_pushing));
    left.iter().for_each(world::Process::kill);
    until("nothing pushes on", PATIENCE, async || (!left.iter().any(world::Process::is_alive)).then_some(())).await;
    let pushed = async || world.repository.git(&["for-each-ref", "--format=%(refname)", "refs/bifrost/wip"]).await;
    assert_eq!(pushed().await, "", "nothing of it was there");
    kit::files::replace(&gate, b"", 0o644).expect("writes");
    let ran = ran.output().await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let pushed = pushed().await;
    // The attempt that was lost and the one that was not.
    assert_eq!(pushed.lines().count(), 2, "{pushed}");
    for reference in pushed.lines() {
        assert_eq!(world.repository.git(&["cat-file", "-s", &format!("{reference}:mine")]).await.trim(), "3000000");
    }
    world.finish().await;
}
