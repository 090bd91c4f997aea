//! Agents in roles, over the real wire; only the agents are made up. What a role gets, in which order, and what it is
//! told by those before it (rows TEST-BIF-140, RU-28, RU-29, RU-42, RU-11). Where machines play the roles, the mock agent is asked (RU-30, RU-40).

use std::cell::RefCell;

use client::control::Control;
use serde_json::Value;
use wire::claim::{Claim, NewClaim, ReleaseClaim};
use wire::execution::{ExecutionResult, Outcome};
use wire::id::TaskId;
use wire::metadata::{AGENT_TYPE_KEY, NewMetadata};
use wire::split::{NewSubtask, Split};
use wire::task::{TaskChange, TaskStatus, TaskView};
use world::{CommandLine, PATIENCE, World, until};

use crate::commands::json;
use crate::readme::words;

const ROLES: &str = include_str!("../../docs/roles.md");

/// What the tester of docs/roles.md has to say.
const FAILURE: &str = "2 of 9 failed: login, logout";

/// What the agents of docs/roles.md do, where the machines' agent is the mock one: each the way its role would.
const PROMPTS: [(&str, &str); 2] = [
    ("People should be able to log in.", r"write GOAL.md By name and password.\ncommit The goal\npush main"),
    ("Mend that.", r"write FIXED yes\ncommit Mended\npush main"),
];
/// Red until somebody has mended it, and says what it misses.
const MAKEFILE: &str = "test:\n\t@test -f GOAL.md\n\t@test -f FIXED && echo ok 1 - login \\\n\
                        \t|| { echo not ok 1 - login; echo '# nobody can log in'; }\n";

/// Who did what, in the order in which they began.
type Diary = RefCell<Vec<String>>;

/// A block of docs/roles.md: the name behind its language, and its text.
fn blocks() -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in ROLES.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => (),
        }
    }
    blocks
}

/// A file of docs/roles.md.
fn block(name: &str) -> String {
    let called = |info: &str| info.split(' ').nth(1) == Some(name);
    blocks().into_iter().find(|(info, _)| called(info)).expect("the document shows it").1
}

/// The same in the world's directory, with what a reader puts in the place of names.
fn file(world: &World, name: &str, known: &[(&str, String)]) -> String {
    let text = known.iter().fold(block(name), |text, (word, is)| text.replace(word, is));
    let path = world.directory().join(name);
    std::fs::write(&path, text).expect("the world's directory may be written");
    path.to_str().expect("a plain path").to_owned()
}

/// What comes next for a role, waited for.
async fn next(control: &Control, role: &str, diary: &Diary) -> Claim {
    let ask = NewClaim {
        worker: Some(format!("the {role}")),
        agent_type: Some(role.into()),
        start: true,
        wait_seconds: Some(30),
        ..NewClaim::default()
    };
    let what = format!("there is something for the {role}");
    let claim = until(&what, PATIENCE, async || control.claim(&ask).await.expect("may claim").pop()).await;
    diary.borrow_mut().push(format!("{role}: {}", claim.task.title));
    claim
}

async fn end(control: &Control, claim: &Claim, word: Result<(), &str>) {
    let result = ExecutionResult {
        success: word.is_ok(),
        fence: Some(claim.fence),
        cost_dollars: None,
        tokens: None,
        error_message: word.err().map(str::to_owned),
    };
    control.complete_execution(claim.execution_id, &result).await.expect("it is still this agent's");
}

/// An agent in a role: has these words for the tasks that come, one for each, and gives the tasks.
async fn works(control: &Control, role: &str, diary: &Diary, words: &[Result<(), &str>]) -> Vec<TaskView> {
    let mut tasks = Vec::new();
    for word in words {
        let claim = next(control, role, diary).await;
        end(control, &claim, *word).await;
        tasks.push(claim.task);
    }
    tasks
}

/// The id of the first task of an import.
fn first(imported: &Value) -> TaskId {
    imported[0]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id")
}

/// The plan of docs/roles.md with four agents, of which the tester is content the second time.
async fn engineering(world: World) {
    let strategy = json(&world, &["strategies", "add", &file(&world, "mend.json", &[])]).await;
    let strategy = strategy["id"].as_str().expect("an id").to_owned();
    let plan = file(&world, "plan.jsonl", &[("STRATEGY", strategy)]);
    let imported = json(&world, &["tasks", "import", &plan]).await;
    let tests: TaskId = imported[3]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let (control, diary) = (world.control(), Diary::default());
    let (_, _, developed, tested) = tokio::join!(
        works(&control, "architect", &diary, &[Ok(())]),
        works(&control, "preparer", &diary, &[Ok(())]),
        works(&control, "developer", &diary, &[Ok(()), Ok(())]),
        works(&control, "tester", &diary, &[Err(FAILURE), Ok(())]),
    );
    let expect = [
        "architect: Design the login",
        "preparer: Prepare the ground",
        "developer: Write the login",
        "tester: Test the login",
        "developer: Mend what failed: Test the login",
        "tester: Test the login",
    ];
    assert_eq!(*diary.borrow(), expect);
    assert_eq!(developed[1].description, format!("The tester says:\n{FAILURE}"), "the developer is told");
    assert_eq!((tested[0].id, tested[1].id), (tests, tests));
    let done = control.task(tests).await.expect("is there");
    assert_eq!((done.status, done.attempts), (TaskStatus::Completed, 2));
    world.finish().await;
}

#[tokio::test]
async fn four_roles_work_in_order_and_a_failed_test_goes_back_to_the_developer() {
    engineering(World::plan().in_one_process().start().await).await;
}

#[tokio::test]
async fn four_roles_work_in_order_on_postgres_as_well() {
    engineering(World::plan().on_postgres().start().await).await;
}

/// What the machines' agents said, of the tasks that have this title.
async fn told(world: &World, title: &str) -> String {
    let listed = json(world, &["tasks", "list"]).await;
    let task = listed.as_array().expect("a list").iter().find(|task| task["title"] == title).expect("listed");
    let id = task["id"].as_str().expect("an id");
    world.bifrost(&["tasks", "logs", id]).output().await.stdout
}

#[tokio::test]
async fn roles_are_played_by_machines_and_what_their_tests_say_goes_back_to_the_developers_agent() {
    let directory = tempfile::tempdir().expect("a directory");
    let agents = directory.path().join("agents.toml");
    let like_mock = block("agents.toml").replace("claude_code", "mock").replace("codex", "mock");
    std::fs::write(&agents, like_mock).expect("writes");
    let world = World::plan().in_one_process().set("BIFROST_AGENTS", agents.display()).start().await;
    world.repository.git(&["config", "receive.denyCurrentBranch", "ignore"]).await;
    world.repository.commit(&[("Makefile", MAKEFILE)]).await;
    let mut known = vec![("REPOSITORY", world.repository.url())];
    known.extend(PROMPTS.map(|(asked, does)| (asked, does.to_owned())));
    let strategy = json(&world, &["strategies", "add", &file(&world, "mended_by_an_agent.json", &known)]).await;
    known.push(("STRATEGY", strategy["id"].as_str().expect("an id").to_owned()));
    let imported = json(&world, &["tasks", "import", &file(&world, "on_machines.jsonl", &known)]).await;
    let tests: TaskId = imported[1]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    world.until_task(tests, TaskStatus::Completed).await;
    let outcomes: Vec<_> = world.executions(tests).await.iter().map(|execution| execution.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Failed), Some(Outcome::Succeeded)]);
    let owner = told(&world, "Say what a login is").await;
    assert!(owner.starts_with("You are the product owner."), "{owner}");
    let developer = told(&world, "Mend what failed: Test the login").await;
    assert!(developer.starts_with("You are a developer."), "{developer}");
    for said in ["1 of 1 test failed: login", "nobody can log in"] {
        assert!(developer.contains(said), "{said}: {developer}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_tester_that_is_never_content_is_left_to_a_person() {
    let world = World::plan().in_one_process().start().await;
    let strategy = json(&world, &["strategies", "add", &file(&world, "mend.json", &[])]).await;
    let strategy = strategy["id"].as_str().expect("an id");
    let line = format!(r#"{{"title":"Test it","metadata":{{"agent_type":"tester","strategy_id":"{strategy}"}}}}"#);
    let path = world.directory().join("one.jsonl");
    std::fs::write(&path, line).expect("may be written");
    let task = first(&json(&world, &["tasks", "import", path.to_str().expect("a plain path")]).await);
    let (control, diary) = (world.control(), Diary::default());
    tokio::join!(
        works(&control, "tester", &diary, &[Err("red"), Err("red again"), Err("still red")]),
        works(&control, "developer", &diary, &[Ok(()), Ok(())]),
    );
    let left = control.task(task).await.expect("is there");
    assert_eq!((left.status, left.attempts, left.waits_for), (TaskStatus::Failed, 3, 0));
    let why = json(&world, &["tasks", "metadata", "get", &task.to_string(), "escalated"]).await;
    assert!(why.to_string().contains("3 times"), "{why}");
    world.finish().await;
}

#[tokio::test]
async fn a_vague_task_is_detailed_by_an_analyst_and_split_by_a_lead_into_parts_for_roles() {
    const WANTED: &str = "By name and password; five wrong ones lock the account for an hour.";
    let world = World::plan().in_one_process().start().await;
    let whole = first(&json(&world, &["tasks", "import", &file(&world, "wish.jsonl", &[])]).await);
    let (control, diary) = (world.control(), Diary::default());
    let analyst = async {
        let claim = next(&control, "analyst", &diary).await;
        let change = TaskChange { description: Some(WANTED.into()), ..TaskChange::default() };
        control.update(claim.task.id, &change, None).await.expect("may be said");
        let lead = NewMetadata { key: AGENT_TYPE_KEY.into(), value: "lead".into() };
        control.set_metadata(claim.task.id, &lead).await.expect("may be set");
        control.release_execution(claim.execution_id, &ReleaseClaim::default()).await.expect("is the analyst's");
        claim.task
    };
    let part = |title: &str, role: &str, depends_on: &[usize]| NewSubtask {
        title: title.into(),
        description: WANTED.into(),
        agent_type: Some(role.into()),
        depends_on: depends_on.to_vec(),
        ..NewSubtask::default()
    };
    let lead = async {
        let claim = next(&control, "lead", &diary).await;
        let parts =
            [part("Write it", "developer", &[]), part("Test it", "tester", &[0]), part("Describe it", "writer", &[1])];
        let split = Split { subtasks: parts.to_vec(), execution_id: Some(claim.execution_id) };
        control.split(claim.task.id, &split).await.expect("is the lead's");
        claim.task
    };
    let (vague, detailed, developed, tested, described) = tokio::join!(
        analyst,
        lead,
        works(&control, "developer", &diary, &[Ok(())]),
        works(&control, "tester", &diary, &[Ok(())]),
        works(&control, "writer", &diary, &[Ok(())]),
    );
    assert_eq!((vague.id, vague.description.as_str()), (whole, ""));
    assert_eq!((detailed.id, detailed.description.as_str()), (whole, WANTED));
    let title = &vague.title;
    let expect = [
        format!("analyst: {title}"),
        format!("lead: {title}"),
        "developer: Write it".into(),
        "tester: Test it".into(),
        "writer: Describe it".into(),
    ];
    assert_eq!(*diary.borrow(), expect, "nobody develops what nobody has detailed");
    for tasks in [developed, tested, described] {
        assert_eq!(tasks[0].description, WANTED);
    }
    let done = control.task(whole).await.expect("is there");
    assert_eq!((done.status, done.attempts), (TaskStatus::Completed, 0), "neither of the two spent an attempt");
    world.finish().await;
}

#[tokio::test]
async fn a_planners_agent_hands_over_to_an_executors() {
    let world = World::plan().in_one_process().start().await;
    let goal = first(&json(&world, &["tasks", "import", &file(&world, "goal.jsonl", &[])]).await);
    let claims = |role: &str| world.bifrost(&["claim", "--as", role, "--agent-type", role, "--wait=1h", "--json"]);
    // It waits from the start, and the planner's task is nothing for it.
    let executor = claims("executor").spawn();
    let planned = claimed(claims("planner")).await;
    assert_eq!(planned[0]["task"]["id"], goal.to_string());
    let steps = file(&world, "steps.jsonl", &[("TASK", goal.to_string())]);
    let step = first(&json(&world, &["tasks", "import", &steps]).await);
    let why = json(&world, &["tasks", "why", &step.to_string()]).await;
    assert_eq!(why["reasons"][0]["code"], "dependency", "no step is taken before the plan is done");
    json(&world, &["complete", execution(&planned)]).await;
    let taken: Value = serde_json::from_str(&executor.output().await.stdout).expect("is JSON");
    assert_eq!(taken[0]["task"]["id"], step.to_string());
    json(&world, &["complete", execution(&taken)]).await;
    for (task, role) in [(goal, "planner"), (step, "executor")] {
        let attempts = world.executions(task).await;
        let ends: Vec<_> = attempts.iter().map(|one| (one.agent_type.as_str(), one.outcome)).collect();
        assert_eq!(ends, [(role, Some(Outcome::Succeeded))]);
    }
    world.finish().await;
}

async fn claimed(call: CommandLine) -> Value {
    let output = call.output().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("is JSON")
}

fn execution(claims: &Value) -> &str {
    claims[0]["execution_id"].as_str().expect("an id")
}

/// What `STRATEGY`, `TASK` and `EXECUTION` stand for after a command.
fn learn(known: &mut Vec<(&'static str, String)>, command: &str, printed: &Value) {
    let found = match command {
        "strategies" => vec![("STRATEGY", &printed["id"])],
        "claim" => vec![("TASK", &printed[0]["task"]["id"]), ("EXECUTION", &printed[0]["execution_id"])],
        _ => vec![],
    };
    for (word, is) in found {
        known.retain(|(other, _)| *other != word);
        known.push((word, is.as_str().expect("an id").to_owned()));
    }
}

#[tokio::test]
async fn every_command_about_roles_runs_as_it_stands() {
    let world = World::plan().in_one_process().start().await;
    let (mut known, mut ran) = (Vec::new(), 0);
    let sessions = blocks().into_iter().filter(|(info, _)| info == "sh");
    for (number, (_, session)) in sessions.enumerate() {
        if number == 1 {
            // "The preparer and the developer do the same in their turn."
            let (control, diary) = (world.control(), Diary::default());
            works(&control, "preparer", &diary, &[Ok(())]).await;
            works(&control, "developer", &diary, &[Ok(())]).await;
        }
        for line in session.lines() {
            let mut arguments = words(line);
            assert_eq!(arguments.remove(0), "bifrost", "nobody runs this line of docs/roles.md: {line}");
            for word in &mut arguments {
                if word.ends_with(".json") || word.ends_with(".jsonl") {
                    *word = file(&world, word, &known);
                }
                if let Some((_, is)) = known.iter().find(|(name, _)| word == name) {
                    *word = is.clone();
                }
            }
            let printed = json(&world, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
            learn(&mut known, &arguments[0], &printed);
            ran += 1;
        }
    }
    assert!(ran >= 20, "only {ran} commands were found");
    world.finish().await;
}
