//! Real commands behind real walls. Where this kernel builds a wall for nobody, what needs it is passed over, visibly.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::orders::{Halt, Orders};
use crate::testing::{Remote, Scene, is_running, output};
use wire::event::{Stream, kind};
use wire::execution::{Exit, Failure, Outcome};

/// A scene with walls whose volume others may pass to, or not.
async fn scene(directory: tempfile::TempDir, is_open: bool) -> Scene {
    let mode = if is_open { 0o755 } else { 0o700 };
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("ours");
    Scene::in_directory(directory, |config| config.isolation = Demand::On).await
}

fn in_tmp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn stands(scene: &Scene, walls: &[Wall]) -> bool {
    let payload = scene.room.isolation.payload();
    let all = walls.iter().all(|wall| payload.walls.contains(wall));
    if !all {
        eprintln!("passed over: of {walls:?} this machine builds only some: {payload:?}");
    }
    all
}

/// What the script says on a repository with two files, and how it ended.
async fn say(scene: &mut Scene, script: &str) -> (String, Option<Exit>) {
    let remote = Remote::new().await;
    let (completion, events) = scene.run(&remote, script).await;
    assert!(events.iter().any(|event| event.kind == kind::EXECUTION_ISOLATION));
    let said = output(&events, Stream::Stdout);
    (said, completion.exit)
}

#[tokio::test]
async fn of_the_volume_a_command_sees_only_what_is_its_own() {
    let mut scene = scene(in_tmp(), false).await;
    if !stands(&scene, &[Wall::Files]) {
        return;
    }
    let volume = scene.room.volume.root().display().to_string();
    let script = format!(
        "pwd; ls {volume} {volume}/workspaces | wc -l; git log --format=%s; git status --short; \
         touch {volume}/x 2>/dev/null || echo closed; echo mine > file; echo kept > $HOME/k; echo kept > $TMPDIR/k; \
         ls -a ..; umount {volume} 2>/dev/null || echo stays"
    );
    let (said, exit) = say(&mut scene, &script).await;
    let id = scene.room.volume.execution_ids().expect("lists")[0];
    let tree = scene.room.volume.workspace(id);
    let expect = format!("{}\n7\nwork\nclosed\n.\n..\n{id}\nstays\n", tree.display());
    assert_eq!((said.as_str(), exit), (expect.as_str(), Some(Exit::Code(0))));
    assert_eq!(fs::read_to_string(tree.join("file")).expect("written"), "mine\n");
    assert!(
        scene.room.volume.execution(id).join("home/k").exists()
            && scene.room.volume.execution(id).join("tmp/k").exists()
    );
}

#[tokio::test]
async fn a_command_sees_no_other_process_and_leaves_none() {
    let mut scene = scene(in_tmp(), false).await;
    if !stands(&scene, &[Wall::Processes]) {
        return;
    }
    let script = "echo $$; ls -d /proc/[0-9]* | wc -l; setsid sleep 86411 >/dev/null & \
                  (setsid sh -c 'trap \"\" TERM HUP; sleep 86412' >/dev/null &) ; echo done";
    let (said, exit) = say(&mut scene, script).await;
    let numbers: Vec<u32> = said.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == 2 && numbers[1] <= 5, "{said}");
    assert_eq!(exit, Some(Exit::Code(0)));
    assert!(!is_running("sleep 86411") && !is_running("sleep 86412"));
}

#[tokio::test]
async fn a_command_has_a_user_of_its_own_and_what_it_makes_is_the_runners() {
    let mut scene = scene(in_tmp(), true).await;
    if !stands(&scene, Wall::ALL) {
        return;
    }
    let secret = scene.directory.path().join("secret");
    fs::write(&secret, "x").expect("writes");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("ours");
    let script = format!(
        "id -un; id -u; id -G; echo new > new; echo more >> README; stat -c %u new README .; \
         cat {secret} 2>/dev/null || echo closed; echo x > $HOME/x && echo home; \
         git -c user.name=a -c user.email=a@b commit --quiet --all --message=mine && git log -1 --format=%s; \
         grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status | tr -d '\\t' | head -2",
        secret = secret.display()
    );
    let (said, exit) = say(&mut scene, &script).await;
    let lines: Vec<&str> = said.lines().collect();
    let user = USER.to_string();
    let expect = [USER_NAME, &user, &user, &user, &user, &user, "closed", "home", "mine", "CapEff:0000000000000000"];
    assert_eq!((&lines[..10], exit), (&expect[..], Some(Exit::Code(0))), "{said}");
    let id = scene.room.volume.execution_ids().expect("lists")[0];
    let new = scene.room.volume.workspace(id).join("new");
    assert_eq!(fs::metadata(new).expect("is there").uid(), nix::unistd::geteuid().as_raw());
}

#[tokio::test]
async fn a_command_has_a_tmp_of_its_own() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let mut scene = scene(elsewhere, true).await;
    if !stands(&scene, &[Wall::Files]) {
        return;
    }
    let name = format!("/tmp/bifrost-isolation-{}", std::process::id());
    fs::write(&name, "the machine's").expect("writes");
    let (said, _) =
        say(&mut scene, &format!("cat {name} 2>/dev/null; echo own > {name}; cat {name}; ls /dev/shm")).await;
    assert_eq!(said, "own\n");
    assert_eq!(fs::read_to_string(&name).expect("is there"), "the machine's");
    fs::remove_file(&name).expect("ours");
}

#[tokio::test]
async fn a_command_ends_behind_walls_as_it_does_without() {
    let mut scene = scene(in_tmp(), true).await;
    let signalled = |signal| Some(Exit::Signal(signal));
    for (script, expect) in [
        ("exit 7", Some(Exit::Code(7))),
        ("kill -KILL $$", signalled(9)),
        ("kill -SEGV $$", signalled(11)),
        ("exec /no/such/program", Some(Exit::Code(127))),
    ] {
        assert_eq!(say(&mut scene, script).await.1, expect, "{script}");
    }
    // Called off: one that tidies up, and one that does not listen.
    let remote = Remote::new().await;
    for (trap, expect) in [("echo tidy; exit 7", Exit::Code(7)), ("", Exit::Signal(9))] {
        let script = format!("trap '{trap}' TERM; echo ready; while :; do sleep 0.02; done");
        let lease = scene.lease(&remote, None, &["sh", "-c", &script]);
        let (commander, orders) = Orders::new();
        let room = scene.room.clone();
        let work = crate::execution::carry_out(&room, &lease, orders);
        let call_off = |events: &[wire::event::Event]| {
            if output(events, Stream::Stdout).contains("ready") {
                commander.halt(Halt::Cancelled);
            }
        };
        let (completion, _) = scene.watch(work, call_off).await;
        let completion = completion.expect("the lease was not lost");
        assert_eq!((completion.outcome, completion.exit), (Outcome::Cancelled, Some(expect)), "{trap:?}");
    }
}

#[tokio::test]
async fn nothing_runs_where_every_wall_is_demanded_and_one_is_missing() {
    let directory = in_tmp();
    // Nobody else may pass, so that no other user reaches the volume.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let mut scene = Scene::in_directory(directory, |config| config.isolation = Demand::Required).await;
    let remote = Remote::new().await;
    let (completion, events) = scene.run(&remote, "echo it ran").await;
    assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::MachineFault)));
    let message = completion.message.expect("says why");
    assert!(message.contains("BIFROST_ISOLATION=required") && message.contains("user ("), "{message}");
    assert_eq!(output(&events, Stream::Stdout), "");
}

#[tokio::test]
async fn the_probe_leaves_nothing_behind() {
    let scene = scene(in_tmp(), true).await;
    assert!(!scene.room.volume.trial().exists());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("reads");
    assert!(!mounts.contains(&scene.directory.path().display().to_string()), "{mounts}");
}
