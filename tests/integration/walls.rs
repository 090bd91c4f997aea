//! What a task's command reaches of the system that runs it, and what it may say to it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use github::fake::Host;
use tempfile::TempDir;
use wire::event::{IsolationPayload, MissingWall, kind};
use wire::execution::Wall;
use wire::task::TaskStatus;
use world::{PATIENCE, Plan, Process, World, until};

use crate::commands::json;

/// Who runs our image, by Dockerfile.runner.
const USER: u32 = 10_001;
/// Whom commands run as that have a user of their own, by docs/isolation.md.
const USERS: std::ops::Range<u32> = 60_578..61_184;
/// What the kernel says of a process that may nothing and cannot come to.
const NO_RIGHTS: &str = "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\n\
                         CapBnd:0000000000000000\nCapAmb:0000000000000000\nNoNewPrivs:1\n";

/// A runner as it is in our image, and a repository that its user reaches.
struct Image {
    directory: TempDir,
    host: Host,
}

impl Image {
    async fn lay_out() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
        let image = Self { host: Host::start(&directory.path().join("host"), "token").await, directory };
        std::fs::create_dir(image.volume()).expect("made");
        // As Fly does with a volume that it mounts.
        chown(image.volume(), Some(USER), Some(USER)).expect("root may");
        world::install_runner(&image.program()).await;
        image
    }

    fn volume(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("bifrost-runner")
    }

    /// A world whose one machine starts it as its user, so.
    fn plan(&self, how: &[&str]) -> Plan {
        let text = |path: &Path| path.to_str().expect("plain").to_owned();
        let volume = format!("BIFROST_SPRITE_DIR={}", text(&self.volume()));
        let user = [format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()];
        let words = ["setpriv"].into_iter().chain(user.iter().map(String::as_str)).chain(how.iter().copied());
        // The volume is no part of the emulator's machine.
        let words = words.chain(["env", "--unset=FLY_EMULATOR_ROOT", &volume]);
        let words: Vec<String> = words.map(str::to_owned).chain([text(&self.program())]).collect();
        let command = serde_json::to_string(&words).expect("words");
        World::plan().set("BIFROST_RUNNER_COMMAND", command).set("BIFROST_MAX_MACHINES", 1)
    }

    /// What a script says, and which walls its record tells of.
    async fn say(&self, world: &World, script: &str) -> (String, IsolationPayload) {
        let task = world.submit_in(&self.host.url(), script).await;
        let ended = world.until_task(task, TaskStatus::Completed).await;
        let execution = ended.execution.expect("it had one").id;
        let record = until("the record is whole", PATIENCE, async || {
            Some(world.record(task).await).filter(|record| record.count(kind::EXECUTION_FINISHED) == 1)
        });
        let record = record.await;
        let told = record.events.iter().find(|event| event.kind == kind::EXECUTION_ISOLATION).expect("it is told");
        (record.output_of(execution).stdout, serde_json::from_str(told.payload.get()).expect("a payload"))
    }

    /// What the kernel says of the runner's own rights.
    fn rights(&self) -> String {
        let runs_it = |process: &Process| process.arguments == [self.program().to_string_lossy()];
        let runner = Process::all_of(self.directory.path()).into_iter().find(runs_it).expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", runner.pid)).expect("it is alive");
        let wanted =
            status.lines().filter(|line| ["Uid:", "Cap", "NoNewPrivs:"].iter().any(|word| line.starts_with(word)));
        wanted.map(|line| line.replace('\t', " ") + "\n").collect()
    }
}

impl Drop for Image {
    /// Whatever a failed test has left.
    fn drop(&mut self) {
        Process::all_of(self.directory.path()).iter().for_each(Process::kill);
    }
}

#[tokio::test]
async fn a_walled_command_of_the_images_runner_has_a_user_of_its_own_and_no_capability() {
    let image = Image::lay_out().await;
    let world = image.plan(&[]).start().await;
    let volume = image.volume().display().to_string();
    let script = format!(
        "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\t'; ls {volume} {volume}/workspaces | wc -l; \
         cat {volume}/spool/* 2>/dev/null; for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; done 2>/dev/null \
         | grep -E 'TOKEN|BIFROST_CONTROL_URL'; id -u"
    );
    let mut users = Vec::new();
    for _ in 0..2 {
        let (said, IsolationPayload { walls, missing, .. }) = image.say(&world, &script).await;
        assert_eq!((&walls[..], &missing[..]), (Wall::ALL, &[][..]));
        let user = said.strip_prefix(NO_RIGHTS).unwrap_or_else(|| panic!("{said}"));
        let (seen, user) = user.trim_end().rsplit_once('\n').expect("two lines");
        // The directories on the way to its workspace, their listings' names and an empty line between them.
        assert_eq!(seen.trim(), "7", "{said}");
        users.push(user.parse().expect("a number"));
    }
    assert!(users.iter().all(|user| USERS.contains(user)) && users[0] != users[1], "{users:?}");
    let needed = "00000000002801e3";
    let rights =
        format!("Uid: {USER} {USER} {USER} {USER}\nCapInh: 0000000000000000\nCapPrm: {needed}\nCapEff: {needed}\n");
    let has = image.rights();
    assert!(has.starts_with(&rights) && has.ends_with("CapAmb: 0000000000000000\nNoNewPrivs: 1\n"), "{has}");
    world.finish().await;
}

#[tokio::test]
async fn where_the_images_runner_may_nothing_a_walled_command_is_kept_apart_by_a_user_namespace() {
    for how in ["--no-new-privs", "--bounding-set=-all", "--bounding-set=-sys_admin"] {
        let image = Image::lay_out().await;
        let world = image.plan(&[how]).start().await;
        let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\t'; id -u";
        let (said, IsolationPayload { walls, missing, .. }) = image.say(&world, script).await;
        assert_eq!(
            (said, &walls[..]),
            (format!("{NO_RIGHTS}{USER}\n"), &[Wall::Files, Wall::Processes, Wall::Ipc][..])
        );
        let [MissingWall { wall: Wall::User, reason }] = &missing[..] else { panic!("{missing:?}") };
        assert!(reason.contains("cap_sys_admin"), "{how}: {reason}");
        let nothing = "CapPrm: 0000000000000000\nCapEff: 0000000000000000\n";
        assert!(image.rights().contains(nothing), "{how}: {}", image.rights());
        world.finish().await;
    }
}

#[tokio::test]
async fn a_walled_command_of_a_local_system_sees_neither_its_keys_nor_its_processes() {
    let world = World::plan().in_one_process().start().await;
    let data = world.data().canonicalize().expect("is there").display().to_string();
    let script = format!(
        "cat {data}/api-key 2>/dev/null; find {data} -maxdepth 1 -type f; ls {data}; \
         for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; done | grep -E 'TOKEN|BIFROST_CONTROL_URL'; echo looked"
    );
    let run = world.bifrost(&["run", "--", "sh", "-c", &script]).output().await;
    // The way to its own workspace, and nothing beside it.
    assert_eq!((run.code, run.stdout.lines().count()), (0, 2), "{} {}", run.stdout, run.stderr);
    assert!(run.stdout.ends_with("\nlooked\n"), "{}", run.stdout);
    let task = json(&world, &["tasks", "list"]).await[0].clone();
    let events = json(&world, &["events", "get", task["id"].as_str().expect("an id")]).await;
    let told = events.as_array().expect("a list").iter().find(|event| event["type"] == "execution.isolation");
    let walls = &told.expect("told")["payload"]["walls"];
    assert!(["files", "processes", "ipc"].iter().all(|wall| walls.to_string().contains(wall)), "{walls}");
    world.finish().await;
}

#[tokio::test]
async fn a_walled_agent_that_is_the_runner_itself_runs_where_it_does_not_see_the_runner() {
    let (covered, volume) = (tempfile::tempdir_in("/tmp"), tempfile::tempdir_in("/var/tmp"));
    let (covered, volume) = (covered.expect("a directory"), volume.expect("a directory"));
    let program = covered.path().join("bifrost-runner");
    world::install_runner(&program).await;
    let volume = format!("BIFROST_SPRITE_DIR={}", volume.path().join("volume").display());
    let words = ["env", "--unset=FLY_EMULATOR_ROOT", &volume, program.to_str().expect("plain")];
    let world = World::plan().set("BIFROST_RUNNER_COMMAND", serde_json::to_string(&words).expect("words"));
    let world = world.start().await;
    let seen = world.bifrost(&["run", "--", "ls", program.to_str().expect("plain")]).output().await;
    assert_ne!(seen.code, 0, "{}", seen.stdout);
    let prompt = world.directory().join("prompt");
    std::fs::write(&prompt, "I ran.\n").expect("writes");
    let asked = ["run", "--agent", "mock", "--prompt", prompt.to_str().expect("plain")];
    let asked = world.bifrost(&asked).output().await;
    assert_eq!((asked.code, asked.stdout.as_str()), (0, "I ran.\n"), "{}", asked.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_silent_command_at_work_behind_walls_is_not_idle() {
    let world = World::start().await;
    let script = "timeout 4 sh -c 'while :; do :; done'; echo done";
    let run = world.bifrost(&["run", "--idle-timeout", "2s", "--", "sh", "-c", script]).output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{}", run.stderr);
    let run = world.bifrost(&["run", "--idle-timeout", "1s", "--", "sleep", "86418"]).output().await;
    assert_eq!(run.code, 124, "{}", run.stderr);
    world.finish().await;
}

#[tokio::test]
async fn a_command_that_says_that_it_is_busy_may_be_silent() {
    let world = World::start().await;
    let program = world.program().display().to_string();
    let script = format!("for round in 1 2 3 4 5 6 7 8; do sleep 0.5; {program} busy; done; echo done");
    let run = world.bifrost(&["run", "--idle-timeout", "2s", "--", "sh", "-c", &script]).output().await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "done\n"), "{}", run.stderr);
    let too_long =
        format!("{program} busy --for 2h; echo $?; {program} busy --for 5s --reason 'a person reads'; echo $?");
    let run = world.bifrost(&["run", "--", "sh", "-c", &too_long]).output().await;
    let mut lines = run.stdout.lines();
    assert_ne!(lines.next(), Some("0"), "an hour is the most");
    assert_eq!(lines.next(), Some("0"), "{} {}", run.stdout, run.stderr);
    let tasks = json(&world, &["tasks", "list"]).await;
    assert!(tasks.as_array().expect("a list").iter().all(|task| task["status"] == "completed"), "{tasks}");
    world.finish().await;
}
