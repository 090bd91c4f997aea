//! The commands beside `bifrost run`: each shows or steers what the server has.

use serde_json::Value;
use wire::cost::CostProblem;
use wire::task::TaskStatus;
use wire::why::ReasonCode;
use world::{PATIENCE, Service, World, until};

/// What the command prints as JSON.
pub(crate) async fn json(world: &World, arguments: &[&str]) -> Value {
    let output = world.bifrost(&[arguments, &["--json"]].concat()).output().await;
    assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", output.stdout))
}

#[tokio::test]
async fn a_task_left_to_the_server_is_listed_shown_and_followed_to_its_end() {
    let world = World::start().await;
    let detached = world.bifrost(&["run", "--detach", "--title", "later", "--", "sh", "-c", &world.gated("end")]);
    let detached = detached.output().await;
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let id = detached.stdout.trim();
    let mut logs = world.bifrost(&["tasks", "logs", id, "--follow"]).spawn();
    assert_eq!(logs.line().await, "started");
    let mut last = world.bifrost(&["tasks", "logs", id, "-n", "1", "--follow"]).spawn();
    assert_eq!(last.line().await, "started");
    let reason = &json(&world, &["tasks", "why", id]).await["reasons"][0]["code"];
    assert_eq!(reason, "running");
    world.open("end");
    assert_eq!(logs.output().await.stdout, "done\n");
    assert_eq!(last.output().await.stdout, "done\n");
    let shown = json(&world, &["tasks", "show", id]).await;
    assert_eq!((&shown["title"], &shown["status"]), (&Value::from("later"), &Value::from("completed")));
    assert_eq!(json(&world, &["tasks", "list", "--status", "completed"]).await[0]["id"], id);
    let replayed = world.bifrost(&["tasks", "logs", id]).output().await;
    assert_eq!(replayed.stdout, "started\ndone\n", "{}", replayed.stderr);
    let last = world.bifrost(&["tasks", "logs", id, "--lines", "1"]).output().await;
    assert_eq!(last.stdout, "done\n", "{}", last.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_failed_task_is_ready_again_after_a_retry() {
    let world = World::start().await;
    let flag = world.directory().join("flag");
    let task = world.submit(&format!("test -e {}", flag.display())).await;
    let failed = world.until_task(task, TaskStatus::Failed).await;
    assert_eq!(failed.attempts, 1);
    std::fs::write(&flag, "").expect("may be written");
    let retried = world.bifrost(&["tasks", "retry", &task.to_string()]).output().await;
    assert_eq!(retried.code, 0, "{}", retried.stderr);
    let completed = world.until_task(task, TaskStatus::Completed).await;
    assert_eq!(completed.attempts, 2);
    world.finish().await;
}

#[tokio::test]
async fn the_records_files_are_kept_beside_the_server() {
    let world = World::plan().in_one_process().start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let verified = json(&world, &["events", "verify"]).await;
    assert_eq!(verified["verified"], true);
    let kept = world.directory().join("head.json");
    let kept = kept.to_str().expect("is text");
    let head = json(&world, &["events", "head", "--save", kept]).await;
    assert!(head["seq"].as_u64() >= verified["head"]["seq"].as_u64(), "{head}");
    let against = world.bifrost(&["events", "verify", "--head", kept]).output().await;
    assert_eq!((against.code, against.stderr.as_str()), (0, ""), "{}", against.stdout);
    let file = world.directory().join("record.db");
    let file = file.to_str().expect("is text");
    let backed_up = json(&world, &["events", "backup", file]).await;
    assert!(backed_up["head"]["seq"].as_u64() >= verified["head"]["seq"].as_u64(), "{backed_up}");
    assert_eq!(json(&world, &["events", "verify", file]).await["head"], backed_up["head"]);
    let exported = world.bifrost(&["events", "export", "--task", &task.to_string()]).output().await;
    let first: Value = serde_json::from_str(exported.stdout.lines().next().expect("a line")).expect("is JSON");
    assert_eq!((exported.code, &first["type"]), (0, &Value::from("task.submitted")));
    let restored = world.directory().join("restored");
    let restored = restored.to_str().expect("is text");
    assert_eq!(json(&world, &["events", "restore", file, "--data", restored]).await["head"], backed_up["head"]);
    let refused = world.bifrost(&["events", "migrate", "--to", "1", "--yes"]).output().await;
    assert_eq!(refused.code, 75, "{}", refused.stderr);
    assert!(refused.stderr.contains("stop the event store"), "{}", refused.stderr);
    world.finish().await;
}

#[tokio::test]
async fn machines_workers_and_the_record_can_be_seen_and_the_doctor_finds_all_well() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let machines = json(&world, &["machines", "list"]).await;
    let workers = json(&world, &["workers", "list"]).await;
    assert_eq!(workers[0]["machine_id"], machines[0]["id"]);
    let events = json(&world, &["events", "get", &task.to_string()]).await;
    assert_eq!(events[0]["type"], "task.submitted");
    let tail = world.bifrost(&["events", "tail", "--after", "0", "--no-follow"]).output().await;
    assert_eq!(tail.code, 0, "{}", tail.stderr);
    assert!(tail.stdout.contains("task.submitted"), "{}", tail.stdout);
    let doctor = world.bifrost(&["doctor"]).output().await;
    assert_eq!(doctor.code, 0, "{}{}", doctor.stdout, doctor.stderr);
    world.finish().await;
}

#[tokio::test]
async fn that_the_provider_refuses_the_servers_token_shows_where_people_look() {
    let mut world = World::start().await;
    world.let_fail("[[call]]\neffect = { failure = 'bad-token' }").await;
    let doctor = until("the doctor finds it", PATIENCE, async || {
        let doctor = world.bifrost(&["doctor"]).output().await;
        (doctor.code == 78).then_some(doctor)
    })
    .await;
    let refused = "no machine is made or woken: the Machines API refuses the control plane's token: set FLY_API_TOKEN";
    let ill =
        format!("machines: 0 of at most 10, and the provider refuses the control plane's token\n  help: {refused}");
    assert!(doctor.stdout.contains(&ill), "{}", doctor.stdout);
    let doctor = world.bifrost(&["doctor", "--json"]).output().await;
    let rows: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    assert!(rows[8]["cure"].as_str().is_some_and(|cure| cure.starts_with(refused)), "{rows}");

    let list = world.bifrost(&["machines", "list"]).output().await;
    assert!(list.stderr.contains(refused) && !list.stderr.contains("brings one up"), "{}", list.stderr);
    assert_eq!(json(&world, &["machines", "list"]).await, Value::Array(Vec::new()));
    let sweep = world.bifrost(&["machines", "sweep", "--reap"]).output().await;
    assert!(sweep.stderr.contains(refused) && !sweep.stderr.contains("no orphans\n"), "{}", sweep.stderr);

    let check = world.bifrost(&["cost", "check"]).output().await;
    assert_eq!(check.code, 1, "{}", check.stderr);
    assert!(check.stdout.contains(&format!("token_refused: {refused}")), "{}", check.stdout);
    let check = world.bifrost(&["cost", "check", "--json"]).output().await;
    let cost: Value = serde_json::from_str(&check.stdout).expect("JSON");
    assert_eq!((check.code, &cost["findings"][0]["problem"]), (1, &Value::from("token_refused")));

    let report = world.bifrost(&["cost", "report"]).output().await;
    assert!(report.code == 0 && report.stderr.contains(&format!("warning: {refused}")), "{report:?}");

    let task = world.submit("true").await;
    let why = until("the task says why it waits", PATIENCE, async || {
        let why = world.control().why(task).await.expect("answers");
        why.reasons.into_iter().find(|reason| reason.code == ReasonCode::ProviderTrouble)
    })
    .await;
    assert!(why.message.starts_with("no machine can be had now"), "{}", why.message);
    assert!(why.message.contains("set FLY_API_TOKEN"), "{}", why.message);

    world.let_fail("").await;
    // A token that was refused to an earlier process is tried at once.
    world.restart(Service::ControlPlane).await;
    world.until_task(task, TaskStatus::Completed).await;
    let doctor = world.bifrost(&["doctor"]).output().await;
    assert_eq!(doctor.code, 0, "{}{}", doctor.stdout, doctor.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_check_of_costs_right_after_a_machine_was_given_up_has_looked_at_the_provider() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let machines = json(&world, &["machines", "list"]).await;
    let id = machines[0]["id"].as_str().expect("an id");
    let given_up = json(&world, &["machines", "abandon", id, "--reason", "its host is away", "--force"]).await;
    assert_eq!(given_up["state"], "destroyed");
    assert!(given_up["state_since"].as_str() > machines[0]["state_since"].as_str(), "{given_up}");
    let check = world.bifrost(&["cost", "check", "--json"]).output().await;
    let cost: wire::cost::CostView = serde_json::from_str(&check.stdout).expect("JSON");
    let problems: Vec<_> = cost.findings.iter().map(|finding| finding.problem).collect();
    assert!(check.code == 1 && problems.contains(&CostProblem::Orphan), "what it left is there: {problems:?}");
    assert!(!problems.contains(&CostProblem::NotCompared), "{problems:?}");
    world.finish().await;
}

#[tokio::test]
async fn what_keeps_the_first_task_from_a_machine_is_said_where_there_is_none() {
    let world = World::plan().set("BIFROST_BUDGET_DAY_DOLLARS", "0.01").start().await;
    let list = world.bifrost(&["machines", "list"]).output().await;
    assert_eq!(list.code, 0, "{list:?}");
    assert!(list.stderr.contains("no machines, and no task brings one up now: the machines' budget of"), "{list:?}");
    world.finish().await;
}

#[tokio::test]
async fn an_image_that_no_registry_has_shows_where_people_look() {
    let world = World::start().await;
    world.let_fail("[[call]]\naction = 'create_machine'\neffect = { failure = 'image-unknown' }").await;
    let task = world.submit("true").await;
    let listed = until("the machine says what it is refused for", PATIENCE, async || {
        let machines = json(&world, &["machines", "list"]).await;
        machines[0]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(listed.starts_with("the image ") && listed.contains("BIFROST_RUNNER_IMAGE"), "{listed}");
    world.let_fail("").await;
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}

#[tokio::test]
async fn machines_of_an_app_that_was_deleted_are_given_up_with_one_command() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let machines = json(&world, &["machines", "list"]).await;
    let abandon = ["machines", "abandon", "--app", world.app(), "--reason", "deleted by hand"];
    let refused = world.bifrost(&abandon).output().await;
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(refused.stderr.contains("so its machines can be destroyed"), "{}", refused.stderr);

    world.provider().delete_app(world.app()).await.expect("deleted");
    let given_up = world.bifrost(&abandon).output().await;
    assert_eq!((given_up.code, Some(given_up.stdout.trim())), (0, machines[0]["id"].as_str()), "{}", given_up.stderr);
    assert_eq!(json(&world, &["machines", "list"]).await, Value::Array(Vec::new()));
    // What is left over is looked for there in the end.
    let anew = fly::NewApp { name: world.app().to_owned(), org_slug: "personal".to_owned(), network: None };
    world.provider().create_app(&anew).await.expect("made");
    world.finish().await;
}

#[tokio::test]
async fn a_task_for_people_is_created_watched_assigned_begun_and_completed() {
    let world = World::start().await;
    let mut list = world.bifrost(&["tasks", "list", "--project", "web", "--watch", "--json"]).spawn();
    assert_eq!(list.line().await, "[]");
    let create = ["tasks", "create", "Write it", "--project", "web", "--tag", "docs", "--budget-dollars", "1"];
    let created = world.bifrost(&create).output().await;
    assert_eq!(created.code, 0, "{}", created.stderr);
    let id = created.stdout.trim();
    let shown: Value = serde_json::from_str(&list.line().await).expect("is JSON");
    assert_eq!((&shown[0]["id"], &shown[0]["project"]), (&Value::from(id), &Value::from("web")));
    let queue = json(&world, &["queue"]).await;
    assert_eq!((&queue["for_claims"], &queue["in_hand"]), (&Value::from(1), &Value::from(0)));
    let worker = json(&world, &["workers", "add", "person"]).await["id"].as_str().expect("an id").to_owned();
    assert_eq!(json(&world, &["tasks", "assign", id, &worker]).await["status"], "assigned");
    let execution = json(&world, &["tasks", "start", id, "--worker", &worker]).await["id"].clone();
    assert_eq!(json(&world, &["queue"]).await["in_hand"], 1);
    json(&world, &["complete", execution.as_str().expect("an id")]).await;
    let task = json(&world, &["tasks", "show", id]).await;
    assert_eq!((&task["status"], &task["budget"]["dollars"]), (&Value::from("completed"), &Value::from("1.000000")));
    drop(list);
    world.finish().await;
}
