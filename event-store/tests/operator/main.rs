//! What an operator calls: the commands of `bifrost-events`, their results and exit codes,
//! and that neither a signal nor a full disk leaves anything behind.

use std::path::Path;
use std::process::Stdio;

use kit::process::{Sig, command, signal_group};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use wire::event::{Link, SignedHead};
use wire::signature::Key;

mod page;
mod program;

use program::{DEADLINE, event, key, listening, start};

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).expect("is JSON")
    }
}

fn bifrost_events(data: &Path, arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
    command.args(arguments).arg("--data").arg(data).env_remove("FLY_EVENT_SECRET");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that finds what it does not name in the directory, and the store's secret in its environment.
fn in_directory(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_bifrost-events"));
    command.args(arguments).current_dir(directory).env("FLY_EVENT_SECRET", key().reveal());
    command.env_remove("BIFROST_EVENTS_DATA").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn ended(mut command: Command) -> Ended {
    let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("ends").expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("is text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

async fn call(data: &Path, arguments: &[&str]) -> Ended {
    ended(bifrost_events(data, arguments)).await
}

/// A data directory in which so many events were stored.
async fn stored(count: u64) -> TempDir {
    let data = TempDir::new().expect("a directory");
    let (mut child, store) = start(data.path()).await;
    for first in (0..count).step_by(1_000) {
        let events: Vec<_> = (first..count.min(first + 1_000)).map(event).collect();
        store.append(&events).await.expect("stores");
    }
    signal_group(child.id().expect("runs"), Sig::SIGTERM).expect("is told to stop");
    tokio::time::timeout(DEADLINE, child.wait()).await.expect("stops").expect("ends");
    data
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("reads");
    entries.map(|entry| entry.expect("reads").file_name().into_string().expect("is text")).collect()
}

fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().expect("is text").to_owned()
}

fn save_head(path: &str, secret: &Key, head: &Value) {
    let link: Link = head["link"].as_str().expect("is there").parse().expect("is a link");
    let head = SignedHead::sign(secret, head["seq"].as_u64().expect("is there"), link, chrono::DateTime::UNIX_EPOCH);
    std::fs::write(path, serde_json::to_string(&head).expect("serializes")).expect("writes");
}

#[tokio::test]
async fn a_log_is_verified_backed_up_restored_and_exported_beside_a_running_store() {
    let (data, out) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let (mut child, store) = start(data.path()).await;
    store.append(&(0..100).map(event).collect::<Vec<_>>()).await.expect("stores");
    let verified = call(data.path(), &["verify", "--json"]).await;
    assert_eq!(
        (verified.code, verified.json()["verified"].clone(), verified.stderr.as_str()),
        (Some(0), true.into(), "")
    );
    let head = verified.json()["head"].clone();
    assert_eq!((head["seq"].clone(), verified.json()["events"].clone()), (100.into(), 100.into()));

    let (kept, file, restored) = (path(&out, "head.json"), path(&out, "backup.db"), out.path().join("restored"));
    save_head(&kept, &key(), &head);
    let mut with_secret = bifrost_events(data.path(), &["verify", "--head", &kept]);
    with_secret.env("FLY_EVENT_SECRET", key().reveal());
    let checked = ended(with_secret).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{checked:?}");

    let backed_up = call(data.path(), &["backup", &file, "--json"]).await;
    assert_eq!((backed_up.code, &backed_up.json()["head"]), (Some(0), &head));
    let in_use = call(data.path(), &["restore", &file]).await;
    assert!(in_use.code == Some(75) && in_use.stderr.contains("in use by another event store"), "{in_use:?}");
    assert_eq!(call(data.path(), &["migrate", "--to", "1", "--yes"]).await.code, Some(75));
    store.append(&[event(100)]).await.expect("the store is still well");

    assert_eq!(call(&restored, &["restore", &file]).await.code, Some(0));
    let since = call(&restored, &["verify", "--since-head", &kept, "--quick", "--json"]).await;
    assert_eq!((since.code, &since.json()["events"]), (Some(0), &0.into()), "{since:?}");
    assert!(since.stderr.contains("is not checked: FLY_EVENT_SECRET is not set"), "{since:?}");
    let exported = call(&restored, &["export", "--after", "98"]).await;
    assert_eq!((exported.code, exported.stdout.lines().count()), (Some(0), 2), "{exported:?}");
    child.kill().await.expect("is killed");
}

#[tokio::test]
async fn every_trouble_has_its_exit_code_and_its_cure() {
    let (data, out) = (stored(50).await, TempDir::new().expect("a directory"));
    let (file, head, other) = (path(&out, "backup.db"), path(&out, "head.json"), path(&out, "other.json"));
    assert_eq!(call(data.path(), &["backup", &file]).await.code, Some(0));
    let newest = call(data.path(), &["verify", "--json"]).await.json()["head"].clone();
    save_head(&head, &key(), &newest);
    save_head(&other, &Key::from_bytes([2; 32]), &newest);
    let nowhere = TempDir::new().expect("a directory");
    let link = "0".repeat(64);
    for (data, arguments, code, message) in [
        (nowhere.path(), &["verify"][..], 66, "name the event store's data directory with --data"),
        (nowhere.path(), &["restore", &path(&out, "none.db")], 66, "there is no event log at"),
        (data.path(), &["backup", &file], 73, "choose another name"),
        (data.path(), &["backup", "/proc/nowhere/backup.db"], 74, "cannot write /proc/nowhere/backup.db"),
        (data.path(), &["restore", &file], 73, "there is an event log in"),
        (data.path(), &["verify", "--head", &file], 64, "bifrost events head --save FILE"),
        (data.path(), &["verify", "--head", &other], 65, "was not signed with this event store's secret"),
        (data.path(), &["verify", "--after", "7", "--link", &link], 65, "history was rewritten"),
        (data.path(), &["verify", "--after", "99", "--link", &link], 65, "events were cut off"),
        (data.path(), &["migrate", "--to", "1"], 64, "add --yes"),
        (data.path(), &["migrate", "--to", "99", "--yes"], 78, "cannot be taken back to 99"),
        (data.path(), &["export", "--since", "yesterday"], 2, "such as 2026-11-21T05:00:00Z"),
        (data.path(), &["verify", "--after", "7"], 2, "--link"),
    ] {
        let mut command = bifrost_events(data, arguments);
        command.env("FLY_EVENT_SECRET", key().reveal());
        let ended = ended(command).await;
        assert!(ended.code == Some(code) && ended.stderr.contains(message), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
    assert_eq!(names(nowhere.path()), Vec::<String>::new(), "a restore of nothing makes nothing");
}

#[tokio::test]
async fn damage_is_named_on_both_streams() {
    let data = stored(50).await;
    let database = data.path().join("events.db");
    let mut bytes = std::fs::read(&database).expect("reads");
    let producer = event(0).producer;
    let place = (0..bytes.len()).rfind(|at| bytes[*at..].starts_with(producer.as_bytes())).expect("is there");
    bytes[place] ^= 1;
    std::fs::write(&database, bytes).expect("writes");
    let verified = call(data.path(), &["verify", "--json"]).await;
    let damage = verified.json()["damage"].clone();
    let seq = damage["seq"].as_u64().expect("is named");
    assert_eq!((verified.code, &verified.json()["verified"]), (Some(65), &false.into()));
    assert_eq!((&damage["found"]["kind"], &verified.json()["events"]), (&"link".into(), &(seq - 1).into()));
    assert!(verified.stderr.contains(&format!("event {seq} is not what was stored")), "{verified:?}");
}

#[tokio::test]
async fn each_kind_of_damage_can_be_told_as_json() {
    let data = stored(50).await;
    let database = data.path().join("events.db");
    let bytes = std::fs::read(&database).expect("reads");
    for (damaged, kind) in [(bytes[..bytes.len() / 2].to_vec(), None), (b"no database".repeat(99), Some("unreadable"))]
    {
        std::fs::write(&database, damaged).expect("writes");
        let verified = call(data.path(), &["verify", "--json"]).await;
        assert_eq!(verified.code, Some(65), "{verified:?}");
        let damage = verified.json()["damage"].clone();
        assert!(damage["detail"].is_string() && damage["found"]["kind"].is_string(), "{damage}");
        assert!(kind.is_none_or(|kind| damage["found"]["kind"] == kind), "{damage}");
    }
}

#[tokio::test]
async fn a_backup_that_is_interrupted_or_killed_leaves_no_half_file() {
    let (data, out) = (stored(20_000).await, TempDir::new().expect("a directory"));
    let file = path(&out, "backup.db");
    let mut cut_short = 0;
    for (round, signal) in [Sig::SIGINT, Sig::SIGTERM, Sig::SIGKILL, Sig::SIGKILL, Sig::SIGKILL].into_iter().enumerate()
    {
        let mut child = bifrost_events(data.path(), &["backup", &file]).spawn().expect("starts");
        let partial = out.path().join(".backup.db.partial");
        let begun = tokio::time::timeout(DEADLINE, async {
            let enough = round as u64 * 400_000;
            while !std::fs::metadata(&partial).is_ok_and(|found| found.len() > enough) && !Path::new(&file).exists() {
                tokio::task::yield_now().await;
            }
        });
        begun.await.expect("begins");
        signal_group(child.id().expect("runs"), signal).expect("is signalled");
        let status = tokio::time::timeout(DEADLINE, child.wait()).await.expect("ends").expect("ends");
        if Path::new(&file).exists() {
            assert_eq!(call(data.path(), &["verify", &file]).await.code, Some(0), "it was whole before the signal");
            std::fs::remove_file(&file).expect("removes");
            continue;
        }
        cut_short += 1;
        if signal != Sig::SIGKILL {
            assert_eq!((status.code(), names(out.path())), (Some(130), vec![]));
        }
    }
    assert!(cut_short > 0, "every backup was whole before its signal");
    assert_eq!(call(data.path(), &["backup", &file]).await.code, Some(0));
    assert_eq!(names(out.path()), ["backup.db"], "what was killed is taken over");
}

/// In a mount namespace of its own, where a small file system can be made; says so where that is not allowed.
#[tokio::test]
async fn a_full_disk_refuses_a_backup_a_restore_and_an_export_and_keeps_nothing_of_them() {
    let (data, out) = (stored(20_000).await, TempDir::new().expect("a directory"));
    let (file, small) = (path(&out, "backup.db"), path(&out, "small"));
    assert_eq!(call(data.path(), &["backup", &file]).await.code, Some(0));
    std::fs::create_dir(&small).expect("makes");
    let target = format!("{small}/new");
    let data = data.path().to_str().expect("is text");
    for arguments in [
        ["backup", &target, "--data", data],
        ["restore", &file, "--data", &target],
        ["export", "--data", data, &format!("--output={target}")],
    ] {
        // Mounts a file system of 1 MiB, runs the program, then lists what is left on it.
        let script = "mount -t tmpfs -o size=1m small \"$1\" || exit 99
            small=$1; shift; \"$@\"; code=$?; find \"$small\" -type f -size +0 >&2; exit $code";
        let mut namespace = command("unshare");
        namespace.args(["--mount", "--map-root-user", "sh", "-c", script, "sh", &small]);
        namespace.arg(env!("CARGO_BIN_EXE_bifrost-events")).args(arguments);
        let ended = ended(namespace).await;
        if ended.code == Some(99) || ended.stderr.starts_with("unshare:") {
            eprintln!("skipped: no file system can be mounted here: {}", ended.stderr);
            return;
        }
        assert_eq!(ended.code, Some(74), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("there is no room left"), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 2, "{arguments:?} left something: {ended:?}");
    }
}

#[tokio::test]
async fn without_a_command_it_serves_and_the_help_tells_every_exit_code() {
    let data = TempDir::new().expect("a directory");
    let (mut child, store) = start(data.path()).await;
    store.ready().await.expect("serves");
    child.kill().await.expect("is killed");
    let help = call(data.path(), &["--help"]).await.stdout;
    for (_, code, meaning) in event_store::program::Trouble::ALL {
        assert!(help.contains(&format!("\n  {code:<5} {meaning}")), "{code} in {help}");
    }
    for subcommand in ["verify", "backup", "restore", "export", "migrate"] {
        let help = call(data.path(), &[subcommand, "--help"]).await.stdout;
        assert!(help.contains(&format!("Examples:\n  bifrost-events {subcommand}")), "{help}");
    }
}

#[tokio::test]
async fn a_health_check_succeeds_while_the_store_listens_and_fails_when_it_does_not() {
    let data = tempfile::tempdir().expect("a directory");
    let (mut child, address) = listening(data.path()).await;
    // Neither the data nor the secret is needed.
    let ask = async || call(data.path(), &["--listen", &address, "health"]).await;
    let ended = ask().await;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    child.kill().await.expect("ends");
    let ended = ask().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&format!("no healthy server answers at {address}")), "{ended:?}");
}
