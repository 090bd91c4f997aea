//! Real commands behind real walls, each of which tries to get past one. The tests with `walled` in their names need a
//! machine on which every wall can stand: root, and a kernel from 5.12 (`scripts/test` counts those that it leaves out).

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use rustix::thread::UnshareFlags;

use super::*;
use crate::git::credential::{Credentials, Source};
use crate::orders::{Halt, Orders};
use crate::testing::{Remote, Scene, is_running, output};
use wire::event::{Event, Stream, kind};
use wire::execution::{Exit, Failure, Outcome};

/// A scene with walls whose volume others may pass to, or not.
async fn scene(directory: tempfile::TempDir, is_open: bool) -> Scene {
    let mode = if is_open { 0o755 } else { 0o700 };
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).expect("ours");
    Scene::in_directory(directory, |config| config.isolation = Demand::On).await
}

/// A scene in which all walls stand.
async fn walled() -> Scene {
    walled_with(&[]).await
}

/// The same, with tools that are scripts.
async fn walled_with(tools: &[(&str, &str)]) -> Scene {
    let directory = in_tmp();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).expect("makes");
    for (name, script) in tools {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).expect("writes");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let scene = Scene::in_directory(directory, |config| {
        config.isolation = Demand::Required;
        config.tool_environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", bin.display()));
    });
    let scene = scene.await;
    let payload = scene.room.isolation.payload();
    assert_eq!(payload.walls, Wall::ALL, "a test of all walls needs them: {:?}", payload.missing);
    scene
}

fn in_tmp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A command that takes long, and that is none of another process with these tests.
fn long(number: u32) -> String {
    format!("sleep {number}.{}", std::process::id())
}

/// What the script says on a repository with two files, and how it ended.
async fn say(scene: &mut Scene, script: &str) -> (String, Option<Exit>) {
    let (said, exit, _) = say_on(scene, &Remote::new().await, script).await;
    (said, exit)
}

async fn say_on(scene: &mut Scene, remote: &Remote, script: &str) -> (String, Option<Exit>, Vec<Event>) {
    let (completion, events) = scene.run(remote, script).await;
    let told = events.iter().find(|event| event.kind == kind::EXECUTION_ISOLATION);
    let told = told.unwrap_or_else(|| panic!("{completion:?}"));
    let payload: IsolationPayload = serde_json::from_str(told.payload.get()).expect("a payload");
    assert_eq!(payload, scene.room.isolation.payload());
    (output(&events, Stream::Stdout), completion.exit, events)
}

#[tokio::test]
async fn a_walled_command_sees_of_the_volume_only_what_is_its_own() {
    let mut scene = walled().await;
    let volume = scene.room.volume.root().to_owned();
    let secrets = ["spool/secret", "quarantine/other/secret", "workspaces/other/secret", "repos/other/objects/secret"];
    for name in secrets {
        let path = volume.join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("makes");
        fs::write(path, "secret").expect("writes");
    }
    let shown = volume.display();
    let script = format!(
        "pwd; ls {shown}; ls {shown}/workspaces | wc -l; git log --format=%s; git status --short; \
         for f in {}; do cat {shown}/$f /proc/self/cwd/../../$f 2>/dev/null; done; find {shown} -name secret; \
         touch {shown}/x 2>/dev/null || echo closed; \
         echo mine > file; echo kept > $HOME/k; echo kept > $TMPDIR/k",
        secrets.join(" ")
    );
    let (said, exit) = say(&mut scene, &script).await;
    let id = scene.room.volume.execution_ids().expect("lists").into_iter().next_back().expect("has run");
    let tree = scene.room.volume.workspace(id);
    let expect = format!("{}\nexecutions\nrepos\nworkspaces\n1\nwork\nclosed\n", tree.display());
    assert_eq!((said.as_str(), exit), (expect.as_str(), Some(Exit::Code(0))));
    assert_eq!(fs::read_to_string(tree.join("file")).expect("written"), "mine\n");
    let own = scene.room.volume.execution(id);
    assert!(own.join("home/k").exists() && own.join("tmp/k").exists());
}

#[tokio::test]
async fn no_walled_command_takes_a_wall_down() {
    for is_open in [true, false] {
        let mut scene = scene(in_tmp(), is_open).await;
        assert_eq!(scene.room.isolation.stands(Wall::User), is_open);
        assert!(scene.room.isolation.stands(Wall::Files));
        let volume = scene.room.volume.root().display().to_string();
        fs::write(scene.room.volume.spool().join("secret"), "secret").expect("writes");
        let script = format!(
            "try() {{ \"$@\" >/dev/null 2>&1; cat {volume}/spool/secret /proc/1/root/{volume}/spool/secret 2>/dev/null; }}; \
             try umount {volume}; try umount -l {volume}; try mount -o remount,rw {volume}; \
             try unshare --user --map-root-user --mount umount {volume}; \
             unshare --user --map-root-user --mount sh -c 'umount {volume}; cat {volume}/spool/secret' 2>/dev/null; \
             try nsenter --target 1 --mount cat {volume}/spool/secret; try chroot /proc/1/root true; \
             try mount --bind / /mnt; mknod $TMPDIR/disk b 254 0 2>/dev/null && head -c 1 $TMPDIR/disk 2>/dev/null; echo stays"
        );
        let (said, _) = say(&mut scene, &script).await;
        assert_eq!(said, "stays\n", "with a user of its own: {is_open}");
    }
}

#[tokio::test]
async fn a_walled_command_sees_no_other_process_and_leaves_none() {
    let mut scene = walled().await;
    let sleeps = [86_411, 86_412, 86_413].map(long);
    let [first, second, third] = &sleeps;
    let script = format!(
        "echo $$; ls -d /proc/[0-9]* | wc -l; setsid {first} >/dev/null & \
         (setsid sh -c 'trap \"\" TERM HUP; {second}' >/dev/null &) ; env -i setsid {third} >/dev/null 2>&1 & echo done"
    );
    let (said, exit) = say(&mut scene, &script).await;
    let numbers: Vec<u32> = said.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(numbers.len() == 2 && numbers[0] == 2 && numbers[1] <= 5, "{said}");
    assert_eq!(exit, Some(Exit::Code(0)));
    assert!(!sleeps.iter().any(|sleep| is_running(sleep)));
}

#[tokio::test]
async fn a_walled_command_reads_and_signals_no_process_of_the_machine() {
    for is_open in [true, false] {
        let mut scene = scene(in_tmp(), is_open).await;
        let runner = std::process::id();
        // Of another group than the runner, as a service of the machine is.
        let mut other = kit::process::command("sleep").arg("86414").spawn().expect("starts");
        let number = other.id().expect("runs");
        let script = format!(
            "for p in {runner} {number}; do cat /proc/$p/environ /proc/$p/cmdline 2>/dev/null; \
             kill -0 $p 2>/dev/null && echo there; kill -KILL $p 2>/dev/null && echo killed; done; \
             trap '' TERM; kill -TERM -1 2>/dev/null; echo alone; kill -KILL -1"
        );
        let (said, _) = say(&mut scene, &script).await;
        assert_eq!(said, "alone\n", "with a user of its own: {is_open}");
        assert_eq!(other.try_wait().expect("asks"), None, "the machine's process is still there");
        other.kill().await.expect("ends");
    }
}

#[tokio::test]
async fn a_walled_command_sees_no_shared_memory_of_others_and_leaves_none() {
    let mut scene = walled().await;
    let segments = || fs::read_to_string("/proc/sysvipc/shm").expect("reads").lines().count();
    let made = kit::process::command("ipcmk").args(["--shmem", "4096", "--mode", "0666"]).output().await.expect("runs");
    let made = String::from_utf8(made.stdout).expect("text");
    let number = made.trim().rsplit(' ').next().expect("a number").to_owned();
    let before = segments();
    assert!(before > 1, "one was made: {made}");
    let script = format!(
        "tail -n +2 /proc/sysvipc/shm; ipcrm --shmem-id {number} 2>/dev/null; ipcmk --shmem 4096 >/dev/null; \
         tail -n +2 /proc/sysvipc/shm | wc -l; ls /dev/shm /dev/mqueue 2>/dev/null | grep -v :; echo x > /dev/shm/x"
    );
    let (said, _) = say(&mut scene, &script).await;
    let after = segments();
    let removed = kit::process::command("ipcrm").args(["--shmem-id", &number]).status().await;
    assert!(removed.expect("runs").success());
    assert_eq!((said.as_str(), after), ("1\n", before));
    assert!(!Path::new("/dev/shm/x").exists());
}

#[tokio::test]
async fn a_walled_command_has_a_user_of_its_own_and_what_it_makes_is_the_runners() {
    let mut scene = walled().await;
    let secret = scene.directory.path().join("secret");
    fs::write(&secret, "x").expect("writes");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("ours");
    let script = format!(
        "id -un; id -u; id -G; echo new > new; echo more >> README; stat -c %u new README .; \
         cat {secret} 2>/dev/null || echo closed; echo x > $HOME/x && echo home; \
         git -c user.name=a -c user.email=a@b commit --quiet --all --message=mine && git log -1 --format=%s; \
         test -S $BIFROST_CHANNEL && test -w $BIFROST_CHANNEL && echo $BIFROST_CHANNEL; \
         grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t'",
        secret = secret.display()
    );
    let (said, exit) = say(&mut scene, &script).await;
    let lines: Vec<&str> = said.lines().collect();
    let user = lines[1];
    assert!(users::IDS.contains(&user.parse().expect("a number")), "{said}");
    let mut expect = vec![USER_NAME, user, user, user, user, user, "closed", "home", "mine", "/var/tmp/channel"];
    expect.extend(["CapInh:0000000000000000", "CapPrm:0000000000000000", "CapEff:0000000000000000"]);
    expect.extend(["CapBnd:0000000000000000", "CapAmb:0000000000000000", "NoNewPrivs:1"]);
    assert_eq!((lines, exit), (expect, Some(Exit::Code(0))));
    let id = scene.room.volume.execution_ids().expect("lists")[0];
    let new = scene.room.volume.workspace(id).join("new");
    assert_eq!(fs::metadata(new).expect("is there").uid(), nix::unistd::geteuid().as_raw());
    // The next one is somebody else.
    let (next, _) = say(&mut scene, "id -u").await;
    assert!(users::IDS.contains(&next.trim().parse().expect("a number")) && next.trim() != user, "{next} and {user}");
}

#[tokio::test]
async fn what_a_walled_command_leaves_is_saved_carried_on_and_cleared_away() {
    let mut scene = walled().await;
    let remote = Remote::new().await;
    let commit = "git -c user.name=a -c user.email=a@b commit --quiet";
    let leave = format!(
        "git switch --quiet --create mine; echo one > one; git add one; {commit} --message=one; echo two > two; \
         chmod 000 two; mkdir shut; echo three > shut/three; chmod 555 shut; rm README; ln -s /etc/passwd link"
    );
    let (completion, _) = scene.run(&remote, &leave).await;
    let saved = completion.checkpoint.expect("is saved");
    assert_eq!((completion.exit, saved.deleted), (Some(Exit::Code(0)), 1));
    let first = scene.room.volume.execution_ids().expect("lists")[0];
    let manifest = crate::checkpoint::verify(&scene.room.volume, saved.id).expect("is whole");
    let named = |part: &str| manifest.unpushed.iter().any(|name| name.contains(part));
    assert!(named("refs/bifrost/wip/") && named("mine"), "{:?}", manifest.unpushed);
    // The next begins there, behind walls of its own; of the first nothing is left but the checkpoint.
    let look = "git branch --show-current; git log -1 --format=%s; stat -c '%a %u' two; chmod 600 two; cat two \
                shut/three; test ! -e README && rm -rf shut && echo cleared";
    let mut lease = scene.lease(&remote, None, &["sh", "-c", look]);
    lease.spec.checkpoint = Some(saved.id);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let completion = completion.expect("not lost");
    let said = output(&events, Stream::Stdout);
    let user = said.lines().find_map(|line| line.strip_prefix("0 ")).expect("whose the file is");
    let expect = format!("mine\none\n0 {user}\ntwo\nthree\ncleared\n");
    assert_eq!((&said, completion.exit), (&expect, Some(Exit::Code(0))), "{completion:?}");
    assert!(users::IDS.contains(&user.parse().expect("a number")), "its own: {user}");
    assert!(completion.checkpoint.is_some());
    assert!(!scene.room.volume.workspace(first).exists() && !scene.room.volume.execution(first).exists());
}

const NPM: &str = "[ \"$1\" = --version ] && echo 10 && exit\n\
                   mkdir -p node_modules/thing && id -u > node_modules/thing/who && echo a > node_modules/thing/code\n\
                   echo 0600 > node_modules/thing/closed && chmod 600 node_modules/thing/closed\n\
                   ls -d /proc/[0-9]* | wc -l > node_modules/thing/seen\n\
                   cat $npm_config_cache/seen 2>/dev/null; mkdir -p $npm_config_cache && echo x > $npm_config_cache/seen";

#[tokio::test]
async fn package_managers_run_walled_and_no_walled_command_changes_what_others_get_of_them() {
    let mut scene = walled_with(&[("node", "echo v20"), ("npm", NPM)]).await;
    let manifest = ("package.json", r#"{"dependencies":{"thing":"1"}}"#);
    let remote = Remote::with(&[manifest, ("package-lock.json", "{}")]).await;
    let harm = "cd node_modules/thing; cat who closed; for f in who code seen; do \
                (echo harm >> $f) 2>/dev/null; chmod 777 $f 2>/dev/null; touch -d '2001-01-01' $f 2>/dev/null; done; \
                cat code; echo own > code.new && mv code.new code && cat code; echo more >> closed; rm who; ls; \
                cd ../..; rm -r node_modules && echo removed";
    let mut installed_by = None;
    for _ in 0..3 {
        let (said, exit, events) = say_on(&mut scene, &remote, harm).await;
        let user: u32 = said.lines().next().and_then(|line| line.parse().ok()).expect("who installed it");
        // What was kept is of the first execution.
        assert!(users::IDS.contains(&user) && *installed_by.get_or_insert(user) == user, "{said}");
        let expect = format!("{user}\n0600\na\nown\nclosed\ncode\nseen\nremoved\n");
        assert_eq!((said.as_str(), exit), (expect.as_str(), Some(Exit::Code(0))));
        assert!(!events.iter().any(|event| event.kind == kind::VOLUME_DAMAGED), "{events:#?}");
    }
    let (said, _, _) = say_on(&mut scene, &remote, "cat node_modules/thing/seen").await;
    assert!(said.trim().parse::<u32>().is_ok_and(|seen| seen <= 6), "it saw few processes: {said}");
}

#[tokio::test]
async fn a_walled_command_uses_the_tools_caches_that_are_shown_to_it() {
    let cargo = "[ \"$1\" = --version ] && echo 1 && exit\n\
                 grep -q away Cargo.lock && exit 101\nmkdir -p $CARGO_HOME && echo fetched > $CARGO_HOME/crate";
    let mvn = "[ \"$1\" = --version ] && echo 3 && exit\necho fetched > ${MAVEN_ARGS#*=}/jar";
    let mut scene = walled_with(&[("cargo", cargo), ("java", "echo 21"), ("mvn", mvn)]).await;
    let remote = Remote::with(&[("Cargo.toml", ""), ("Cargo.lock", "away"), ("pom.xml", "")]).await;
    let script =
        "cat ${MAVEN_ARGS#*=}/jar; cat $CARGO_HOME/crate 2>/dev/null; echo own > $CARGO_HOME/own && echo fetches";
    let caches = scene.room.volume.use_packages(&wire::worker::repository_name(&remote.url())).expect("makes");
    fs::create_dir(caches.join("maven")).expect("makes");
    assert_eq!(say_on(&mut scene, &remote, script).await.0, "fetched\nfetches\n");
    remote.commit(&[("Cargo.lock", "there")]).await;
    assert_eq!(say_on(&mut scene, &remote, script).await.0, "fetched\nfetched\nfetches\n");
}

#[tokio::test]
async fn set_up_commands_services_and_tests_run_walled() {
    let mut scene = walled().await;
    let sleep = long(86_415);
    let settings = format!(
        "[setup]\ncommands = [[\"sh\", \"-c\", \"id -u > who; ls -d /proc/[0-9]* | wc -l >> who\"]]\n\
         [services.one]\ncommand = [\"sh\", \"-c\", \"id -u > served; exec {sleep}\"]\n\
         ready = [\"sh\", \"-c\", \"id -u > asked && test -s served\"]\n"
    );
    let remote = Remote::with(&[(".bifrost.toml", &settings), ("README", "x")]).await;
    let mut lease = scene.lease(&remote, None, &["sh", "-c", "cat served asked who"]);
    let tests = serde_json::json!({ "command": ["sh", "-c", "id -u"] });
    lease.spec.tests = Some(serde_json::from_value(tests).expect("tests"));
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let said = output(&events, Stream::Stdout);
    let lines: Vec<&str> = said.lines().collect();
    let user = lines[0];
    assert!(users::IDS.contains(&user.parse().expect("a number")), "{said}");
    assert_eq!((&lines[..3], lines.last()), (&[user; 3][..], Some(&user)), "{completion:?} {said}");
    assert!(lines[3].parse::<u32>().is_ok_and(|seen| seen <= 6), "{said}");
    assert!(!is_running(&sleep));
}

#[tokio::test]
async fn a_silent_walled_command_is_at_work_while_data_comes_on_its_connection() {
    let mut scene = walled().await;
    let remote = Remote::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 >/dev/null");
    let mut lease = scene.lease(&remote, None, &["bash", "-c", &script]);
    lease.spec.idle_timeout_seconds = Some(2);
    let answering = async {
        let (mut stream, _) = listener.accept().await.expect("it connects");
        let mut beat = tokio::time::interval(std::time::Duration::from_millis(200));
        for _ in 0..15 {
            beat.tick().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"word\n").await.expect("it listens");
        }
    };
    let ((completion, _), ()) = tokio::join!(scene.carry_out(&lease, Orders::none()), answering);
    assert_eq!(completion.expect("not lost").outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_walled_command_has_a_tmp_of_its_own() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let mut scene = scene(elsewhere, true).await;
    let told = scene.room.isolation.payload();
    assert!(told.walls.contains(&Wall::Files));
    assert_eq!(told.shared, [Path::new("/var/tmp")], "the volume is there");
    let name = format!("/tmp/bifrost-isolation-{}", std::process::id());
    fs::write(&name, "the machine's").expect("writes");
    let (said, _) =
        say(&mut scene, &format!("cat {name} 2>/dev/null; echo own > {name}; cat {name}; ls /dev/shm")).await;
    assert_eq!(said, "own\n");
    assert_eq!(fs::read_to_string(&name).expect("is there"), "the machine's");
    fs::remove_file(&name).expect("ours");
}

#[tokio::test]
async fn a_walled_command_that_only_the_machine_sees_is_told_where_it_lies() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let mut scene = scene(elsewhere, true).await;
    let covered = tempfile::tempdir_in("/tmp").expect("a directory");
    let program = covered.path().join("tool");
    fs::copy("/bin/true", &program).expect("copies");
    let remote = Remote::new().await;
    let lease = scene.lease(&remote, None, &[&program.to_string_lossy()]);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(completion.expect("not lost").exit, Some(Exit::Code(127)));
    let said = output(&events, Stream::Stderr);
    assert!(
        said.contains(
            "/tool: not found; it lies in /tmp, and commands see their own in its place; install it elsewhere"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn a_command_ends_behind_walls_as_it_does_without() {
    for demand in [Demand::On, Demand::Off] {
        let directory = in_tmp();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let mut scene = Scene::in_directory(directory, |config| config.isolation = demand).await;
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
            let call_off = |events: &[Event]| {
                if output(events, Stream::Stdout).contains("ready") {
                    commander.halt(Halt::Cancelled);
                }
            };
            let (completion, _) = scene.watch(work, call_off).await;
            let completion = completion.expect("the lease was not lost");
            assert_eq!((completion.outcome, completion.exit), (Outcome::Cancelled, Some(expect)), "{trap:?}");
        }
    }
}

#[tokio::test]
async fn a_walled_command_opens_no_file_of_credentials() {
    let directory = in_tmp();
    let (file, other) = (directory.path().join("credentials"), directory.path().join("other"));
    fs::write(&file, "https://me:secret@example.org").expect("writes");
    std::os::unix::fs::symlink(&file, &other).expect("links");
    // So that the command runs as the runner's user, who could read it.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let scene = Scene::in_directory(directory, |config| {
        config.isolation = Demand::On;
        let program = std::env::current_exe().expect("has one");
        config.credentials = Some(Credentials { program, source: Source::File(file.clone()) });
    });
    let mut scene = scene.await;
    assert!(scene.room.isolation.stands(Wall::Files) && !scene.room.isolation.stands(Wall::User));
    let script = format!(
        "cat {0} {1} 2>/dev/null; umount {0} 2>/dev/null; cat {0} 2>/dev/null",
        file.display(),
        other.display()
    );
    assert_eq!(say(&mut scene, &script).await.0, "");
}

/// Runs a script in a group.
async fn in_group(groups: &Groups, name: &str, script: &str) -> std::process::ExitStatus {
    let entrance = groups.entrance(name).expect("is made");
    let mut command = kit::process::command("sh");
    command.args(["-c", script]).stderr(Stdio::null());
    enter::before_exec(&mut command, move || Ok(rustix::io::write(&entrance, b"0").map(|_| ())?));
    command.status().await.expect("runs")
}

#[tokio::test]
async fn what_a_walled_command_started_ends_with_its_control_group() {
    rights::take(Demand::On).expect("takes them");
    let groups = Groups::unbounded().expect("control groups of version 2");
    let (name, sleep) = (format!("test-{}", std::process::id()), long(86_418));
    let script =
        format!("setsid env -i {sleep} >/dev/null 2>&1 & cat /proc/self/cgroup | grep -q \"^0::.*/bifrost-test\"");
    assert!(in_group(&groups, &name, &script).await.success());
    let begins = crate::testing::until(async || is_running(&sleep));
    tokio::time::timeout(crate::testing::PATIENCE, begins).await.expect("begins");
    let ended = groups.clone();
    let starved = blocking(move || ended.disband(&name).and_then(|first| Ok((first, ended.disband(&name)?))));
    assert_eq!(starved.await.expect("is removed"), (0, 0));
    assert!(!is_running(&sleep));
}

#[tokio::test]
async fn a_command_is_held_to_its_memory_limit_and_its_processes() {
    let directory = in_tmp();
    let mut scene = Scene::in_directory(directory, |config| {
        config.isolation = Demand::On;
        config.limits.memory_bytes = Some(32 << 20);
    })
    .await;
    assert_eq!(scene.room.isolation.payload().memory_bytes, Some(32 << 20));
    let remote = Remote::new().await;
    let (completion, _) = scene.run(&remote, "head -c 200000000 /dev/zero | tail -n 1 | wc -c; exit 1").await;
    let message = completion.message.expect("says why");
    assert!(
        message.contains("of its processes ended because together they wanted more than the 33554432"),
        "{message}"
    );
    assert_eq!(completion.exit, Some(Exit::Code(1)), "who waits for the command was none of them");
    let (said, exit) = say(&mut scene, "cat /sys/fs/cgroup/$(sed -n s,^0::,,p /proc/self/cgroup)/pids.max").await;
    assert_eq!((said.as_str(), exit), ("8192\n", Some(Exit::Code(0))));
}

/// This program, where others may pass.
fn program_in(directory: &Path) -> PathBuf {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("ours");
    let program = directory.join("program");
    fs::copy(std::env::current_exe().expect("has one"), &program).expect("copies");
    program
}

/// Runs some of these tests in another process; tells how many passed, and none may fail.
fn run_tests(mut program: Command, arguments: &[&str]) -> usize {
    let ended = program.args(arguments).current_dir("/").as_std_mut().output().expect("starts");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    let passed = said.split_once("test result: ok. ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    passed.unwrap_or_else(|| panic!("{said}"))
}

/// Runs the test of this name again as somebody else; the closure makes its process theirs.
fn again_as_another(name: &str, step: impl FnMut(&CStr) -> io::Result<()> + Send + Sync + 'static) {
    let directory = in_tmp();
    let mut command = kit::process::command(program_in(directory.path()));
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("makes");
    let root = CString::new(root.as_os_str().as_bytes()).expect("a path");
    let mut step = step;
    enter::before_exec(&mut command, move || step(&root));
    assert_eq!(run_tests(command, &["--exact", &format!("isolation::tests::{name}")]), 1);
}

/// Runs tests again as our image runs the runner: by a user that is not root, with what the program's file may.
fn again_as_the_image(arguments: &[&str]) -> usize {
    let directory = in_tmp();
    let program = program_in(directory.path());
    let mut set = kit::process::command("setcap");
    set.arg(rights::of_image()).arg(&program);
    assert!(set.as_std_mut().status().expect("is there").success());
    let mut command = kit::process::command(&program);
    enter::before_exec(&mut command, || become_user(10_001));
    run_tests(command, &[arguments, &["--test-threads=1"]].concat())
}

#[test]
fn every_walled_command_is_kept_apart_by_the_images_runner_as_it_is_by_root() {
    // All but those that are about others.
    let names = ["walled", "behind_walls", "--skip=without_r", "--skip=no_walled_command_is", "--skip=every_walled"];
    assert!(again_as_the_image(&names) > 10);
}

#[test]
fn the_images_runner_keeps_a_command_to_its_memory_limit() {
    let name = "isolation::tests::a_command_is_held_to_its_memory_limit_and_its_processes";
    assert_eq!(again_as_the_image(&["--exact", name]), 1);
}

fn become_nobody() -> io::Result<()> {
    become_user(65_534)
}

fn become_user(id: u32) -> io::Result<()> {
    let (user, group) = (rustix::process::Uid::from_raw(id), rustix::process::Gid::from_raw(id));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
}

/// Nobody in a changed root may make user namespaces, and so no wall can stand.
fn become_nobody_in_a_changed_root(root: &CStr) -> io::Result<()> {
    enter::unshare(UnshareFlags::NEWNS)?;
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind_recursive(c"/", root)?;
    rustix::process::chroot(root)?;
    rustix::process::chdir(c"/")?;
    become_nobody()
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[tokio::test]
async fn a_walled_command_of_a_runner_without_rights_is_kept_apart_by_a_user_namespace() {
    if is_root() {
        let name = "a_walled_command_of_a_runner_without_rights_is_kept_apart_by_a_user_namespace";
        return again_as_another(name, |_| become_nobody());
    }
    let mut scene = scene(in_tmp(), true).await;
    let IsolationPayload { walls, missing, .. } = scene.room.isolation.payload();
    assert_eq!(walls, [Wall::Files, Wall::Processes, Wall::Ipc]);
    assert!(matches!(&missing[..], [MissingWall { wall: Wall::User, reason }] if reason.contains("cap_sys_admin")));
    let secret = scene.room.volume.spool().join("secret");
    fs::write(&secret, "secret").expect("writes");
    let sleep = long(86_416);
    let script = format!(
        "id -u; cat /proc/self/oom_score_adj; cat {} 2>/dev/null; cat /proc/{runner}/environ 2>/dev/null; kill -KILL {runner} 2>/dev/null; \
         ls -d /proc/[0-9]* | wc -l; grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr -d '\t'; \
         unshare --user --map-root-user --mount umount {} 2>/dev/null; echo more >> README; setsid {sleep} & echo ends",
        secret.display(),
        scene.room.volume.root().display(),
        runner = std::process::id(),
    );
    let (said, exit) = say(&mut scene, &script).await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[2].parse::<u32>().is_ok_and(|seen| seen <= 6), "{said}");
    let expect = ["65534", "500", lines[2], "CapEff:0000000000000000", "NoNewPrivs:1", "ends"];
    assert_eq!((&lines[..], exit), (&expect[..], Some(Exit::Code(0))));
    assert!(!is_running(&sleep));
    let (said, _) = say(&mut scene, "echo the next").await;
    assert_eq!(said, "the next\n");
}

#[tokio::test]
async fn where_no_walled_command_is_possible_one_runs_without_walls_and_the_record_says_so() {
    if is_root() {
        let name = "where_no_walled_command_is_possible_one_runs_without_walls_and_the_record_says_so";
        return again_as_another(name, become_nobody_in_a_changed_root);
    }
    let mut scene = scene(in_tmp(), true).await;
    let IsolationPayload { walls, missing, .. } = scene.room.isolation.payload();
    assert_eq!(walls, []);
    assert_eq!(missing.iter().map(|missing| missing.wall).collect::<Vec<_>>(), Wall::ALL);
    assert!(missing.iter().all(|missing| !missing.reason.is_empty()), "{missing:?}");
    let sleep = long(86_417);
    let script = format!("echo more >> README; git status --short; setsid {sleep} & echo ends");
    let (said, exit) = say(&mut scene, &script).await;
    assert_eq!((said.as_str(), exit), (" M README\nends\n", Some(Exit::Code(0))));
    // Found by its mark, as without walls.
    assert!(!is_running(&sleep));
}

#[tokio::test]
async fn a_runner_closes_itself_unless_the_emulator_has_to_know_it() {
    let directory = in_tmp();
    for is_emulated in [true, false] {
        let config = crate::config::Config { is_emulated, ..crate::testing::config(directory.path()) };
        let tasks = kit::Tasks::new();
        tasks.stop();
        crate::run(config, kit::Clock::system(), kit::Chance::system(), &tasks).await.expect("ends");
        assert_eq!(nix::sys::prctl::get_dumpable(), Ok(is_emulated));
    }
}

#[tokio::test]
async fn a_command_of_the_runners_user_reads_nothing_of_the_runner_without_walls() {
    if is_root() {
        let name = "a_command_of_the_runners_user_reads_nothing_of_the_runner_without_walls";
        return again_as_another(name, |_| become_nobody());
    }
    let mut scene = Scene::new().await;
    let script = format!(
        "cd /proc/{}; for f in environ maps mem auxv; do head -c 1 $f >/dev/null 2>&1 && echo $f; done; \
         ls fd root >/dev/null 2>&1 && echo entered; grep -zc ^BIFROST_TASK_ID= /proc/self/environ",
        std::process::id()
    );
    // It and what it starts are as open as ever.
    assert_eq!(say(&mut scene, &script).await.0, "1\n");
}

#[tokio::test]
async fn a_walled_command_of_a_container_without_root_is_kept_apart_too() {
    let map = fs::read_to_string("/proc/self/uid_map").expect("reads");
    if map.split_whitespace().next_back() != Some("1") {
        let name = "isolation::tests::a_walled_command_of_a_container_without_root_is_kept_apart_too";
        let program = std::env::current_exe().expect("has one");
        let mut again = kit::process::command("unshare");
        again.args(["--user", "--map-root-user"]).arg(program).args(["--exact", name]);
        let ended = again.output().await.expect("starts");
        let said = String::from_utf8_lossy(&ended.stdout);
        return assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }
    let mut scene = scene(in_tmp(), true).await;
    assert_eq!(scene.room.isolation.payload().walls, [Wall::Files, Wall::Processes, Wall::Ipc]);
    let volume = scene.room.volume.root().display();
    let script = format!("id -u; umount {volume} 2>/dev/null; ls {volume}/spool 2>/dev/null; echo more >> README");
    assert_eq!(say(&mut scene, &script).await, ("0\n".to_owned(), Some(Exit::Code(0))));
}

#[tokio::test]
async fn nothing_runs_where_every_wall_is_demanded_and_one_is_missing() {
    let directory = in_tmp();
    // Nobody else may pass, so that no other user reaches the volume.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("ours");
    let mut scene = Scene::in_directory(directory, |config| config.isolation = Demand::Required).await;
    let remote = Remote::new().await;
    let (completion, events) = scene.run(&remote, "echo it ran").await;
    assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::NotIsolated)));
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

/// As a hardened service does: whoever asks for a namespace or to give capabilities up is refused, whatever they are.
#[expect(unsafe_code, reason = "no library that we have makes filters of system calls")]
fn refuse_changes_of_rights() -> io::Result<()> {
    let instruction = |code, jt, jf, k| nix::libc::sock_filter { code, jt, jf, k };
    let [unshare, capset] =
        [nix::libc::SYS_unshare, nix::libc::SYS_capset].map(|number| u32::try_from(number).expect("small"));
    let refused = nix::libc::SECCOMP_RET_ERRNO | u32::try_from(nix::libc::EPERM).expect("a small number");
    // Load the call's number; if it is one of those, refuse it; let all others be made.
    let mut program = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 1, 0, unshare),
        instruction(0x15, 0, 1, capset),
        instruction(0x06, 0, 0, refused),
        instruction(0x06, 0, 0, nix::libc::SECCOMP_RET_ALLOW),
    ];
    let filter = nix::libc::sock_fprog { len: 5, filter: program.as_mut_ptr() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the program lives until the call has copied it.
    let done =
        unsafe { nix::libc::prctl(nix::libc::PR_SET_SECCOMP, nix::libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[tokio::test]
async fn a_command_runs_without_walls_where_nobody_may_make_any() {
    if is_root() {
        let name = "a_command_runs_without_walls_where_nobody_may_make_any";
        return again_as_another(name, |_| become_nobody());
    }
    let scene = Scene::new().await;
    let own = scene.directory.path().join("own");
    fs::create_dir(&own).expect("makes");
    let openings = Openings {
        own: vec![own.clone()],
        read: Vec::new(),
        temporary: own.clone(),
        directory: own.clone(),
        execution: own.clone(),
        home: own.clone(),
        formerly: Vec::new(),
    };
    let isolation = Isolation { demand: Demand::On, ..Isolation::default() };
    let mut command = kit::process::command("true");
    enter::before_exec(&mut command, refuse_changes_of_rights);
    isolation.enclose(&mut command, &openings).expect("is enclosed");
    assert!(command.status().await.expect("it starts").success());
}
