//! `bifrost up --machines container`: tasks of real runners in containers of podman,
//! whose network leads nowhere but through the egress proxy. Named by `podman`, so that
//! `scripts/test` can leave it out where there is none.

mod image;

use std::net::Ipv4Addr;
use std::path::Path;

use emulator::podman::Podman;
use emulator::{EngineAddress, NETWORK, Settings};
use github::fake::Host;
use serde_json::Value;
use wire::event::{EgressPayload, EgressVerdict, kind};
use wire::id::TaskId;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{CommandLine, Output, PATIENCE, World, until};

use image::Image;

/// Names an image of podman's where containers can be run; `scripts/test` has tried.
const SOME_IMAGE: &str = "BIFROST_TEST_IMAGE";
const RULE: &str = "the test's git";
const NOT_LISTED: &str = "not-listed.example.org";

/// Row RU-44 as decision C-19 has it: a machine that is the boundary by itself needs no walls within.
#[tokio::test]
async fn a_task_runs_a_container_of_podman_where_the_machine_is_the_boundary() {
    let Some(image) = kit::Vars::from_process().text(SOME_IMAGE).map(str::to_owned) else {
        return eprintln!("skipped: {SOME_IMAGE} names no image, so there may be no podman");
    };
    let directory = tempfile::tempdir().expect("a directory");
    let podman = Podman::start(directory.path()).await.expect("podman serves");
    let world = World::plan().set("BIFROST_ISOLATION", "off").in_one_process().start().await;
    let configuration = format!("CONTAINERS_CONF={}", podman.configuration().display());
    let inside = ["podman", "run", "--rm", "--network", "none", &image, "echo", "from inside"];
    let run = world.bifrost(&[&["run", "--env", &configuration, "--"], &inside[..]].concat()).output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "from inside\n"), "{}", run.stderr);
    world.finish().await;
}

/// The lifecycle and the isolation are asked for as an operator would, by the repository's own scripts.
#[tokio::test]
async fn tasks_run_in_containers_of_podman_and_reach_what_is_listed() {
    if kit::Vars::from_process().text(SOME_IMAGE).is_none() {
        return eprintln!("skipped: {SOME_IMAGE} names no image, so there may be no podman");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let podman = Podman::start(directory.path()).await.expect("podman serves");
    let image = Image::make(&podman, directory.path()).await;
    let gateway = gateway(&podman).await;
    // This computer has the gateway's address only while there is a machine.
    let host = Host::start_on(Ipv4Addr::UNSPECIFIED, &directory.path().join("host"), "token").await;
    let repository = host.url().replace("0.0.0.0", &gateway);
    let allow = allow(directory.path(), &repository);
    let plan = World::plan().set("BIFROST_DESTROY_AFTER_SECONDS", 1).in_one_process();
    let plan = plan.arguments(&["--machines", "container", "--egress-allow", &allow]);
    let plan = plan.set("DOCKER_HOST", podman.url()).set("BIFROST_RUNNER_IMAGE", image.name());
    let world = plan.start().await;

    // It is less patient than this test, so that it says what is missing.
    let lifecycle =
        script(&world, "e2e-lifecycle", &["--repo", &repository, "--within", "25", "--resume-within", "25"]).await;
    let task = lifecycle.lines().find_map(|line| line.strip_prefix("e2e: task ")).expect("it says which task");
    let request = until_asked(&world, task.parse().expect("an id"), &gateway).await;
    assert_eq!((request.verdict, request.rule.as_deref()), (EgressVerdict::Allowed, Some(RULE)));

    let host = format!("{NOT_LISTED}:80");
    let asks = ["git", "ls-remote", &format!("http://{host}/one.git")];
    let run = ["run", "--detach", "--repo", &repository, "--egress", &host, "--"];
    let own = world.bifrost(&[&run[..], &asks].concat()).output().await;
    let own = own.stdout.trim().parse().unwrap_or_else(|_| panic!("{own:?}"));
    let request = until_asked(&world, own, NOT_LISTED).await;
    assert_eq!((request.verdict, request.rule.as_deref()), (EgressVerdict::Unresolved, Some("of the task")));
    world.until_task(own, TaskStatus::Failed).await;

    let command = format!("git ls-remote http://{NOT_LISTED}/one.git; echo asked; exec sleep 86421");
    let task = world.submit_in(&repository, &command).await;
    world.until_output(task, "asked").await;
    assert_eq!(until_asked(&world, task, NOT_LISTED).await.verdict, EgressVerdict::NotListed);
    let shown = world.bifrost(&["egress", "show", &task.to_string()]).output().await;
    let refusal = shown.stdout.lines().find(|line| line.contains(NOT_LISTED)).map(str::split_whitespace);
    let words: Vec<_> = refusal.unwrap_or_else(|| panic!("{shown:?}")).collect();
    assert!(words.contains(&"not_listed") && words.contains(&format!("{NOT_LISTED}:80").as_str()), "{words:?}");
    let machine = world.until_machine(MachineState::Ready).await.provider_id.expect("it runs");
    let events = url_inside(&gateway, &world.welcome()["event_store"]);
    script(&world, "test-isolation.sh", &[&machine, "--events", &events]).await;
    // The script notices a way out: what listens on all addresses of this computer is one.
    let outside = authority(&repository);
    let open = try_script(&world, "test-isolation.sh", &[&machine, "--events", &events, "--outside", outside]).await;
    assert!(open.code == 1 && open.stderr.contains(&format!("reaches {outside}")), "{open:?}");
    let data = world.data();
    assert_eq!(containers(&podman, &data).await.lines().count(), 1);
    let cancelled = world.bifrost(&["tasks", "cancel", &task.to_string()]).output().await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    world.until_task(task, TaskStatus::Cancelled).await;
    world.finish().await;
    assert_eq!(containers(&podman, &data).await, "");
}

/// A file of rules by which machines may reach the repository's host and nothing else.
fn allow(directory: &Path, repository: &str) -> String {
    let authority = authority(repository);
    let path = directory.join("allow.toml");
    let rules = format!("[[group]]\nname = \"{RULE}\"\nhosts = [\"{authority}\"]\nprivate = true\n");
    std::fs::write(&path, rules).expect("written");
    path.to_str().expect("a plain path").to_owned()
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    url.trim_start_matches("http://").split('/').next().expect("a host and a port")
}

/// Where machines find what is at this URL of the loopback.
fn url_inside(gateway: &str, url: &Value) -> String {
    let (_, port) = url.as_str().and_then(|url| url.rsplit_once(':')).expect("a URL with a port");
    format!("http://{gateway}:{port}")
}

/// The ids of all containers of the system that has the data directory.
async fn containers(podman: &Podman, data: &Path) -> String {
    let mark = format!("label=bifrost-data={}", data.join("emulator").display());
    let list = podman.command().args(["ps", "--all", "--quiet", "--filter", &mark]).output().await;
    let list = list.expect("podman is installed");
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    String::from_utf8(list.stdout).expect("text")
}

/// The address that this computer has among machines; their network is made if it is missing.
async fn gateway(podman: &Podman) -> String {
    let engine = EngineAddress::Socket(podman.socket());
    let settings = Settings { engine, network: NETWORK.to_owned(), egress_proxy: None };
    emulator::gateway(&settings).await.expect("podman makes the network")
}

/// What one of the scripts prints, which passes.
async fn script(world: &World, name: &str, arguments: &[&str]) -> String {
    let output = try_script(world, name, arguments).await;
    assert_eq!(output.code, 0, "{name}: {}{}\n{}", output.stdout, output.stderr, world.logs());
    output.stdout
}

/// How one of the scripts ends that is told of the world's server and its Machines API.
async fn try_script(world: &World, name: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a directory");
    let welcome = world.welcome();
    let token = std::fs::read_to_string(world.data().join("machines-api-token")).expect("is there");
    let script = CommandLine::script(name, home.path()).arguments(arguments);
    let script = script.env("BIFROST_URL", world.url()).env("BIFROST_API_KEY", world.api_key());
    let script = script.env("FLY_FLAPS_BASE_URL", welcome["machines_api"].as_str().expect("a URL"));
    script.env("FLY_API_TOKEN", token.trim()).output().await
}

/// What the egress proxy has recorded of a task that asked for the host.
async fn until_asked(world: &World, task: TaskId, host: &str) -> EgressPayload {
    until(&format!("task {task} has asked for {host}"), PATIENCE, async || {
        let events = world.record(task).await.events.into_iter().filter(|event| event.kind == kind::EGRESS_REQUEST);
        let mut asked = events.map(|event| serde_json::from_str(event.payload.get()).expect("an egress payload"));
        asked.find(|request: &EgressPayload| request.host == host)
    })
    .await
}
