//! A plan from the command line: tasks that need each other, from a file to their end.

use wire::task::TaskStatus;
use world::World;

use crate::commands::json;

#[tokio::test]
async fn the_tasks_of_a_file_run_when_what_they_need_is_done() {
    let world = World::start().await;
    let line = |title: &str, script: &str, needs: &[&str]| {
        let mut task = serde_json::to_value(world.script(script)).expect("plain data");
        task["title"] = title.into();
        task["key"] = title.into();
        task["needs"] = needs.into();
        task
    };
    let plan = [line("test", "true", &["build"]), line("build", &world.gated("build"), &[])];
    let file = world.directory().join("plan.jsonl");
    std::fs::write(&file, plan.map(|line| format!("{line}\n")).concat()).expect("may be written");
    let submitted = json(&world, &["tasks", "import", file.to_str().expect("a plain path")]).await;
    let id = |place: usize| submitted[place]["id"].as_str().expect("an id").to_owned();
    let (test, build) = (id(0), id(1));
    let why = json(&world, &["tasks", "why", &test]).await;
    assert_eq!(
        (&why["reasons"][0]["code"], &why["reasons"][0]["task_id"]),
        (&"dependency".into(), &build.clone().into())
    );
    assert_eq!(json(&world, &["tasks", "ready", &test]).await["unsatisfied"][0], build.as_str());
    assert_eq!(json(&world, &["tasks", "blocks", &build]).await["tasks"][0]["id"], test.as_str());
    let dot = world.bifrost(&["tasks", "graph", "--dot"]).output().await;
    assert!(dot.stdout.contains(&format!("\"{build}\" -> \"{test}\";")), "{}", dot.stdout);
    world.open("build");
    let ended = world.until_task(test.parse().expect("an id"), TaskStatus::Completed).await;
    let needed = world.control().task(build.parse().expect("an id")).await.expect("is there");
    let started = ended.execution.and_then(|execution| execution.started_at);
    assert!(started >= needed.execution.and_then(|execution| execution.completed_at), "it began behind its end");
    let deleted = world.bifrost(&["tasks", "delete", &build]).output().await;
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    world.finish().await;
}
