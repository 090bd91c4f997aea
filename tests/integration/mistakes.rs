//! Mistakes of the caller: each has an exit code of its own and a message that
//! names what is wrong and what to do.

use std::net::TcpListener;
use std::path::Path;

use sqlx::{Connection, SqliteConnection};
use world::{CommandLine, Output, Service, World};

#[track_caller]
fn check(output: &Output, code: i32, said: &[&str]) {
    assert_eq!(output.code, code, "{}", output.stderr);
    for words in said {
        assert!(output.stderr.contains(words), "does not say {words:?}:\n{}", output.stderr);
    }
}

#[tokio::test]
async fn a_repository_that_cannot_be_used_is_told_from_one_that_is_not_there() {
    let world = World::start().await;
    let plain = world.directory().join("plain");
    std::fs::create_dir(&plain).expect("may be written");
    let plain = plain.to_str().expect("a plain path");
    for (options, code, said) in [
        (&["--repo", "no/such/folder"][..], 66, &["no/such/folder"][..]),
        (&["--repo", plain], 66, &[plain, "git"]),
        (&["--repo", "file:///no/such/repository"], 66, &["--repo"]),
        (&["--ref", "no-such-branch"], 65, &["no-such-branch"]),
        (&["--repo", "http://127.0.0.1:1/owner/name"], 69, &["git ls-remote"]),
    ] {
        let arguments = [&["run"], options, &["--", "true"]].concat();
        check(&world.bifrost(&arguments).output().await, code, said);
    }
    world.finish().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_told_from_one_that_is_not_there() {
    let world = World::start().await;
    check(&world.bifrost(&["run", "--", "no-such-command"]).output().await, 127, &["no-such-command"]);
    check(&world.bifrost(&["run", "--", "./README.md"]).output().await, 126, &["README.md", "executable"]);
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_key_and_a_server_that_is_not_there_are_named() {
    let world = World::start().await;
    let wrong_key = world.bifrost(&["run", "--", "true"]).env("BIFROST_API_KEY", "wrong").output().await;
    check(&wrong_key, 77, &["BIFROST_API_KEY", "api-key"]);
    let nobody = world.bifrost(&["tasks", "list"]).env("BIFROST_URL", "http://127.0.0.1:1").output().await;
    check(&nobody, 69, &["http://127.0.0.1:1"]);
    world.finish().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("is bound").to_string();
    for service in ["up", "control-plane", "event-store", "emulator"] {
        let call = CommandLine::new(home.path(), [service, "--listen", &address]);
        let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let call = call.env("FLY_EVENT_SECRET", secret).env("FLY_API_TOKEN", "any");
        let call = call.env("BIFROST_ALLOW_UNPINNED_IMAGE", "true");
        let output = call.env("BIFROST_EVENTS_URL", "http://127.0.0.1:1").output().await;
        assert!(output.code >= 64, "{service}: {}", output.code);
        check(&output, output.code, &[&address]);
    }
}

#[tokio::test]
async fn an_option_about_containers_is_refused_where_machines_are_processes() {
    let home = tempfile::tempdir().expect("a directory");
    for words in [
        &["up", "--engine", "unix:///nowhere"][..],
        &["up", "--network", "n"],
        &["up", "--egress-host", "git.example.org"],
        &["emulator", "--engine", "unix:///nowhere"],
        &["emulator", "--network", "n"],
    ] {
        let output = CommandLine::new(home.path(), [words, &["--listen", "127.0.0.1:0"]].concat()).output().await;
        check(&output, 64, &[words[1], "add --machines container"]);
    }
}

#[tokio::test]
async fn a_fault_script_that_is_missing_or_wrong_is_named_with_the_field() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("faults.toml");
    let script = file.to_str().expect("a plain path");
    let call = || CommandLine::new(home.path(), ["emulator", "--listen", "127.0.0.1:0", "--faults", script]);
    check(&call().output().await, 66, &[script, "--faults"]);
    std::fs::write(&file, "[[call]]\neffect = { delay_ms = 0 }").expect("may be written");
    check(&call().output().await, 65, &[script, "call[0].effect.delay_ms", "docs/emulator.md"]);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("may be written");
    // Not even root may make files in these two.
    for data in [file.as_path(), Path::new("/proc/self")] {
        let data = data.to_str().expect("a plain path");
        for arguments in [&["up", "--data", data][..], &["run", "--data", data, "--repo", "file:///any", "--", "true"]]
        {
            let output = CommandLine::new(home.path(), arguments).output().await;
            check(&output, 73, &[data, "--data"]);
        }
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let mut world = World::start().await;
    world.stop(Service::ControlPlane).await;
    let file = world.data().join("control.db");
    let mut database = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("opens");
    let later = "INSERT INTO schema_migrations (name, applied_at) VALUES ('99991231235959_later', '')";
    sqlx::raw_sql(later).execute(&mut database).await.expect("is written");
    let refused = world.start_anyway(Service::ControlPlane).await;
    check(&refused, refused.code, &["newer", "99991231235959_later"]);
    assert!(refused.code >= 64, "{}", refused.code);
    let back = "DELETE FROM schema_migrations WHERE name = '99991231235959_later'";
    let done = sqlx::raw_sql(back).execute(&mut database).await.expect("is written");
    assert_eq!(done.rows_affected(), 1);
    database.close().await.expect("closes");
    world.run(Service::ControlPlane).await;
    world.finish().await;
}
