//! A task whose work is proposed to its repository's host (rows TEST-BIF-138, RU-4).

use github::fake::Host;
use serde_json::Value;
use world::World;

use crate::commands::json;

const TOKEN: &str = "token-of-a-fake-host";

/// The agent of a security audit finds a dependency that is to be replaced, and its work becomes a pull request,
/// whose number is recorded.
#[tokio::test]
async fn an_audit_of_dependencies_ends_with_the_number_of_a_pull_request() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = Host::start(&directory.path().join("host"), TOKEN).await;
    let credentials = directory.path().join("credentials");
    kit::files::replace(&credentials, host.credentials().as_bytes(), 0o600).expect("writes");
    let world = World::plan().in_one_process().set("BIFROST_GIT_CREDENTIALS", credentials.display()).start().await;
    let prompt = directory.path().join("audit.md");
    let script = "I look for dependencies with known faults.\nwrite requirements.txt left-pad==1.3.0\n\
                  commit Replace left-pad 1.0.0\nusage 900 100 0.02\nOne dependency was replaced.\n";
    std::fs::write(&prompt, script).expect("writes");
    let prompt = prompt.display().to_string();
    let url = host.url();
    let title = "Audit the dependencies";
    let audit = ["run", "--repo", &url, "--agent", "mock", "--prompt", &prompt, "--title", title, "--pull-request"];
    let asked = world.bifrost(&audit).output().await;
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    let page = url.replace(".git", "/pull/1");
    assert!(asked.stderr.contains(&format!("pull request #1: {page}")), "{}", asked.stderr);

    let task = json(&world, &["tasks", "list"]).await[0].clone();
    let recorded = &task["execution"]["pull_request"];
    assert_eq!((&recorded["number"], &recorded["url"]), (&Value::from(1), &Value::from(page.as_str())), "{task}");
    let id = task["id"].as_str().expect("an id");
    let shown = world.bifrost(&["tasks", "show", id]).output().await;
    assert!(shown.stdout.contains(&format!("pull request  #1 {page}")), "{}", shown.stdout);
    let events = json(&world, &["events", "get", id]).await;
    let told = events.as_array().expect("a list").iter().find(|event| event["type"] == "pull_request.opened");
    assert_eq!(told.expect("told")["payload"], *recorded);
    let pulls = host.pulls();
    assert_eq!((pulls.len(), pulls[0].title.as_str(), pulls[0].base.as_str()), (1, title, "main"));
    assert!(pulls[0].body.contains(id), "{}", pulls[0].body);
    let branch = format!("bifrost/{id}");
    assert_eq!(host.git(&["show", &format!("{branch}:requirements.txt")]), "left-pad==1.3.0");
    assert!(![world.logs(), events.to_string(), asked.stderr].iter().any(|text| text.contains(TOKEN)));

    // The branch and the pull request of a task are its own, however often it is tried; a repository without a host
    // is refused before anything runs.
    let local = world.bifrost(&["run", "--pull-request", "--", "true"]).output().await;
    assert!(
        local.code == 64 && local.stderr.contains("--pull-request needs a repository at a host"),
        "{}",
        local.stderr
    );
    world.finish().await;
}
