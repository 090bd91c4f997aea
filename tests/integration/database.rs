//! The control plane's database, kept and checked as an operator does it.

use world::World;

use crate::commands::json;

#[tokio::test]
async fn the_database_is_backed_up_beside_a_running_system_and_restored_elsewhere() {
    let world = World::plan().in_one_process().start().await;
    let task = world.submit("true").await;
    world.until_task(task, wire::task::TaskStatus::Completed).await;
    let path = |name: &str| world.directory().join(name).to_str().expect("is text").to_owned();
    let (kept, elsewhere) = (path("kept.db"), path("elsewhere"));
    let backed_up = json(&world, &["db", "backup", &kept]).await;
    let tables = backed_up["tables"].as_array().expect("tables");
    assert!(tables.iter().any(|tally| tally["table"] == "tasks" && tally["rows"] == 1), "{backed_up}");
    let restored = json(&world, &["db", "restore", &kept, "--data", &elsewhere]).await;
    assert_eq!(restored, backed_up);
    for data in [world.data().to_str().expect("is text"), &elsewhere] {
        let findings = json(&world, &["db", "check", "--data", data]).await;
        let problems = findings.as_array().expect("findings").iter().map(|finding| &finding["problems"]);
        assert!(
            problems.clone().count() >= 4 && problems.clone().all(|found| found == &serde_json::json!([])),
            "{findings}"
        );
    }
    for (arguments, code) in [
        (&["db", "backup", &kept][..], 73),
        (&["db", "restore", &kept, "--data", &elsewhere], 73),
        (&["db", "restore", "nothing.db", "--data", &path("new")], 66),
        (&["db", "check", "--data", &path("nothing")], 66),
        (&["db", "copy", &kept, "mysql://x"], 64),
        (&["db", "copy", &kept, &kept], 64),
    ] {
        let output = world.bifrost(arguments).output().await;
        assert_eq!(output.code, code, "{arguments:?}: {}", output.stderr);
    }
    world.finish().await;
}
