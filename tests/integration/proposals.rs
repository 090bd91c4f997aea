//! Work is found elsewhere, proposed once, and done when a person has accepted it (row FR-18).

use github::fake::Host;
use serde_json::Value;
use world::World;

use crate::commands::json;

const TOKEN: &str = "token-of-a-fake-host";

#[tokio::test]
async fn an_issue_becomes_a_task_once_and_ends_as_a_pull_request_when_it_is_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = Host::start(&directory.path().join("host"), TOKEN).await;
    let credentials = directory.path().join("credentials");
    kit::files::replace(&credentials, host.credentials().as_bytes(), 0o600).expect("writes");
    let world = World::plan().in_one_process().set("BIFROST_GIT_CREDENTIALS", credentials.display()).start().await;
    host.open_issue(7, "Say hello", &["bug"]);
    let url = host.url();
    let sources = directory.path().join("sources.toml");
    let text = format!(
        "[[source]]\nkind = \"github\"\nrepository = \"{url}\"\ntoken = \"HOST_TOKEN\"\n[source.task.spec]\nrepository = \"{url}\"\n\
         pull_request = {{}}\nagent = {{ name = \"mock\", prompt = \"write HELLO {{title}}\" }}\n"
    );
    std::fs::write(&sources, text).expect("writes");
    let file = sources.display().to_string();
    let scan = async |more: &[&str]| {
        let line = [&["proposals", "scan", &file], more].concat();
        let scanned = world.bifrost(&line).env("HOST_TOKEN", TOKEN).output().await;
        assert_eq!(scanned.code, 0, "{}", scanned.stderr);
        scanned
    };
    assert!(scan(&["--dry-run"]).await.stdout.contains("github:owner/name#7"));
    assert_eq!(json(&world, &["proposals", "list"]).await, Value::Array(vec![]));
    assert!(scan(&[]).await.stderr.contains("1 thing is to be done, 1 of them new"));
    assert!(scan(&[]).await.stderr.contains("1 thing is to be done, 0 of them new"));
    let proposals = json(&world, &["proposals", "list"]).await;
    let task = proposals[0]["task"]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (proposals.as_array().map(Vec::len), &proposals[0]["task"]["title"]),
        (Some(1), &Value::from("Say hello"))
    );
    let why = world.bifrost(&["tasks", "why", &task]).output().await;
    assert!(why.stdout.contains("it is a proposal, which somebody has to accept"), "{}", why.stdout);

    let accepted = world.bifrost(&["proposals", "accept", &task]).output().await;
    assert_eq!(accepted.stdout, format!("{task} accepted\n"), "{}", accepted.stderr);
    world.until_task(task.parse().expect("an id"), wire::task::TaskStatus::Completed).await;
    let pulls = host.pulls();
    assert_eq!((pulls.len(), pulls[0].title.as_str()), (1, "Say hello"));
    assert_eq!(host.git(&["show", &format!("{}:HELLO", pulls[0].head)]), "Say hello");
    let again = world.bifrost(&["proposals", "accept", &task]).output().await;
    assert!(again.code != 0 && again.stderr.contains("no proposal that waits"), "{}", again.stderr);
    assert!(scan(&[]).await.stderr.contains("0 of them new"));
    world.finish().await;
}
