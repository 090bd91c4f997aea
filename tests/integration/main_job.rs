//! The main job: a command, run in a repository on a machine, and shown live.

use std::fs::File;
use std::os::fd::AsRawFd;

use kit::Vars;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::{Value, json};
use wire::machine::MachineState;
use world::{CommandLine, Process, Repository, World};

#[tokio::test]
async fn a_commands_streams_and_exit_code_pass_through() {
    let world = World::start().await;
    for (script, code, stdout, stderr) in [
        ("cat README.md; echo oops >&2", 0, "A repository to run things in.\n", "oops\n"),
        ("printf out; exit 3", 3, "out", ""),
        ("kill -TERM $$", 143, "", ""),
    ] {
        let output = world.bifrost(&["run", "--", "sh", "-c", script]).output().await;
        assert_eq!((output.code, output.stdout.as_str()), (code, stdout), "{}", output.stderr);
        assert!(output.stderr.contains(stderr), "{}", output.stderr);
    }
    world.finish().await;
}

#[tokio::test]
async fn the_second_run_wakes_the_machine_and_finds_its_clone() {
    let world = World::start().await;
    let first = world.bifrost(&["run", "--", "true"]).output().await;
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stderr.contains("clone: fetched"), "{}", first.stderr);
    let asleep = world.until_machine(MachineState::Suspended).await;
    let second = world.bifrost(&["run", "--", "true"]).output().await;
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert!(second.stderr.contains("clone: cached"), "{}", second.stderr);
    let machines = world.control().machines().await.expect("lists");
    assert_eq!(machines.iter().map(|machine| machine.id).collect::<Vec<_>>(), [asleep.id]);
    world.finish().await;
}

#[tokio::test]
async fn without_a_server_the_system_lives_as_long_as_the_command() {
    let home = tempfile::tempdir().expect("a directory");
    let repository = Repository::create(home.path().join("repository")).await;
    let run = async |clone: &str| {
        let call = CommandLine::new(home.path(), ["run", "--", "cat", "README.md"]).in_directory(repository.path());
        let output = call.output().await;
        assert_eq!((output.code, output.stdout.as_str()), (0, "A repository to run things in.\n"), "{}", output.stderr);
        assert!(output.stderr.contains(clone), "{}", output.stderr);
        assert_eq!(Process::all_of(home.path()), []);
    };
    run("clone: fetched").await;
    run("clone: cached").await;
}

#[tokio::test]
async fn a_command_has_nothing_open_that_the_callers_shell_had() {
    let home = tempfile::tempdir().expect("a directory");
    let repository = Repository::create(home.path().join("repository")).await;
    let open = File::open(home.path()).expect("opens");
    fcntl(&open, FcntlArg::F_SETFD(FdFlag::empty())).expect("sets");
    let number = open.as_raw_fd().to_string();
    let looks = ["run", "--", "sh", "-c", "test ! -e /proc/self/fd/$0", &number];
    let output = CommandLine::new(home.path(), looks).in_directory(repository.path()).output().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test]
async fn with_json_every_line_is_an_object_and_the_last_is_the_ended_task() {
    let world = World::start().await;
    let output = world.bifrost(&["run", "--json", "--", "sh", "-c", "echo out; exit 4"]).output().await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    let lines: Vec<Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    let (first, last) = (lines.first().expect("some"), lines.last().expect("some"));
    assert_eq!(first["task"]["status"], "ready");
    assert_eq!((&last["task"]["status"], &last["task"]["execution"]["exit"]["code"]), (&json!("failed"), &json!(4)));
    assert!(lines.iter().any(|line| line["event"]["type"] == "execution.log"), "{lines:?}");
    world.finish().await;
}

#[tokio::test]
async fn dependencies_are_installed_once() {
    // The one package manager that is there wherever these tests are; it needs to find its toolchains.
    let vars = Vars::from_process();
    let home = vars.text("HOME").map(|home| format!("{home}/.rustup"));
    let toolchains = vars.text("RUSTUP_HOME").map(str::to_owned).or(home).unwrap_or_default();
    let world = World::plan().in_one_process().set("RUSTUP_HOME", toolchains).start().await;
    let manifest =
        "[package]\nname = \"sample\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\npath = \"lib.rs\"\n";
    let lock = "version = 4\n\n[[package]]\nname = \"sample\"\nversion = \"0.1.0\"\n";
    world.repository.commit(&[("Cargo.toml", manifest), ("Cargo.lock", lock), ("lib.rs", "")]).await;
    for expect in ["dependencies: installed, cargo", "dependencies: cached, cargo"] {
        let output = world.bifrost(&["run", "--", "true"]).output().await;
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(output.stderr.contains(expect), "{}", output.stderr);
    }
    // Row TEST-BIF-139.
    let page = world.metrics().await;
    for phase in ["clone", "dependencies"] {
        for result in ["hit", "miss"] {
            let line = format!("execution_caches_total{{phase=\"{phase}\",result=\"{result}\"}} 1");
            assert!(page.contains(&line), "{line}: {page}");
        }
    }
    world.finish().await;
}

#[tokio::test]
async fn a_task_in_postgres_runs_like_any_other() {
    let world = World::plan().on_postgres().start().await;
    let output = world.bifrost(&["run", "--", "sh", "-c", "cat README.md; exit 5"]).output().await;
    assert_eq!((output.code, output.stdout.as_str()), (5, "A repository to run things in.\n"), "{}", output.stderr);
    world.finish().await;
}
