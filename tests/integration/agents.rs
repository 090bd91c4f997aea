//! A coding agent is asked, works on a machine, and is shown live.

use serde_json::Value;
use wire::agent::AgentUsage;
use wire::event::kind;
use world::World;

use crate::commands::json;

#[tokio::test]
async fn the_mock_agent_does_what_its_prompt_says() {
    let world = World::start().await;
    let prompt = world.directory().join("prompt");
    let script = "I begin.\nwrite NOTES hello\ncommit Add notes\npush notes\nusage 1200 80 0.01\nAll done.\n";
    std::fs::write(&prompt, script).expect("writes");
    let prompt = prompt.display().to_string();
    let asked = world.bifrost(&["run", "--agent", "mock", "--session", "s-1", "--prompt", &prompt]).output().await;
    assert_eq!((asked.code, asked.stdout.as_str()), (0, "I begin.\nAll done.\n"), "{}", asked.stderr);
    assert_eq!(world.repository.git(&["log", "-1", "--format=%s", "notes"]).await.trim(), "Add notes");
    let task = json(&world, &["tasks", "list"]).await[0].clone();
    assert_eq!((&task["status"], &task["title"]), (&Value::from("completed"), &Value::from("I begin.")));
    let executed = &task["execution"];
    assert_eq!(executed["tokens"], Value::from(1280), "{executed}");
    let events = json(&world, &["events", "get", task["id"].as_str().expect("an id")]).await;
    let report = events.as_array().expect("a list").iter().find(|event| event["type"] == "agent.report");
    let report = &report.expect("told")["payload"];
    assert_eq!((&report["session"], &report["input_tokens"]), (&Value::from("s-1"), &Value::from(1200)));
    assert_eq!((&report["cost_dollars"], &report["message"]), (&Value::from("0.01"), &Value::from("All done.")));
    world.finish().await;
}

/// Row RU-34.
#[tokio::test]
async fn a_projects_tokens_are_the_sum_of_what_each_request_of_its_agents_took() {
    let world = World::start().await;
    for (number, script) in
        ["usage 1200 80 0.01\nusage 7 3 0\nDone.\n", "usage 500 20 0\nfail no\n", "usage 41 1 0\ncrash 1\n"]
            .iter()
            .enumerate()
    {
        let prompt = world.directory().join(format!("prompt-{number}"));
        std::fs::write(&prompt, script).expect("writes");
        let prompt = prompt.display().to_string();
        world.bifrost(&["run", "--project", "web", "--agent", "mock", "--prompt", &prompt]).output().await;
    }
    let feed = world.events().feed(0, 1_000).await.expect("answers").events;
    let told = feed.iter().filter(|event| event.kind == kind::AGENT_USAGE);
    let told: Vec<AgentUsage> = told.map(|event| serde_json::from_str(event.payload.get()).expect("usage")).collect();
    let mut took: Vec<_> = told.iter().map(|usage| usage.input_tokens + usage.output_tokens).collect();
    took.sort_unstable();
    assert_eq!(took, [10, 42, 520, 1280]);
    let projects = world.control().projects().await.expect("lists");
    let tokens: Vec<_> = projects.iter().map(|project| (project.name.as_str(), project.tokens)).collect();
    assert_eq!(tokens, [("web", 1852)]);
    world.finish().await;
}

#[tokio::test]
async fn an_agent_that_does_not_exit_after_its_result_is_ended_well() {
    let world = World::plan().set("BIFROST_AGENT_EXIT_SECONDS", 1).in_one_process().start().await;
    let prompt = world.directory().join("prompt");
    std::fs::write(&prompt, "linger 600\nAll done.\n").expect("writes");
    let prompt = prompt.display().to_string();
    let asked = world.bifrost(&["run", "--agent", "mock", "--prompt", &prompt]).output().await;
    assert_eq!((asked.code, asked.stdout.as_str()), (0, "All done.\n"), "{}", asked.stderr);
    assert!(asked.stderr.contains("has said how it ended and does not exit"), "{}", asked.stderr);
    let task = json(&world, &["tasks", "list"]).await[0].clone();
    assert_eq!((&task["status"], &task["execution"]["outcome"]), (&"completed".into(), &"succeeded".into()));
    world.finish().await;
}

#[tokio::test]
async fn an_agent_that_asked_remembers_its_session_on_the_machine_that_has_its_checkpoint() {
    let world = World::start().await;
    let (first, answer) = (world.directory().join("prompt"), world.directory().join("answer"));
    let script = "write PLAN begun\nask Which colour?\nappend PLAN {answer}\ncommit Decide\npush plan\nRemembered.\n";
    std::fs::write(&first, script).expect("writes");
    std::fs::write(&answer, "blue\n").expect("writes");
    let asked = world.bifrost(&["run", "--agent", "mock", "--prompt", &first.display().to_string()]).output().await;
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    // It says itself how it is answered, on standard input; here from a file.
    let cure = asked.stderr.split_once("(bifrost ").and_then(|(_, rest)| rest.split_once(')')).expect("named").0;
    let answer = answer.display().to_string();
    let cure = cure.strip_suffix(" -").expect("reads standard input");
    let words: Vec<&str> = cure.split(' ').chain([answer.as_str()]).collect();
    let forked = world.bifrost(&words).output().await;
    assert_eq!((forked.code, forked.stdout.as_str()), (0, "Remembered.\n"), "{}", forked.stderr);
    assert_eq!(world.repository.git(&["show", "plan:PLAN"]).await, "begun\nblue\n");
    world.finish().await;
}

#[tokio::test]
async fn an_agent_that_fails_says_why_and_one_that_crashes_or_asks_has_failed() {
    let world = World::start().await;
    for (script, code, expect) in [
        ("fail the tests are red\n", 1, "the tests are red"),
        ("crash 0\n", 1, "the agent ended without a result"),
        ("ask Which colour?\nwrite NOTES {answer}\n", 1, "the agent asks: Which colour?; answer it with a task that"),
    ] {
        let prompt = world.directory().join("prompt");
        std::fs::write(&prompt, script).expect("writes");
        let prompt = prompt.display().to_string();
        let asked = world.bifrost(&["run", "--agent", "mock", "--prompt", &prompt]).output().await;
        assert_eq!(asked.code, code, "{script}: {}", asked.stderr);
        assert!(asked.stderr.contains(expect), "{script}: {}", asked.stderr);
    }
    world.finish().await;
}
