//! The runner's parts without a machine around them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use wire::agent::AgentSpec;

use super::*;

fn whose() -> Whose {
    let subject = crate::testing::subject();
    Whose { task_id: subject.task_id, execution_id: subject.execution_id }
}

fn environment() -> BTreeMap<String, String> {
    let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
    [("PATH".to_owned(), path), ("MY_TOKEN".to_owned(), "hunter2-hunter2".to_owned())].into()
}

fn spec(command: &[&str], prompt: Option<&str>) -> TaskSpec {
    let agent =
        prompt.map(|prompt| AgentSpec { name: "parrot".into(), prompt: prompt.into(), model: None, session: None });
    TaskSpec {
        repository: "/r".into(),
        terminal: agent.is_none(),
        command: command.iter().map(ToString::to_string).collect(),
        agent,
        timeout_seconds: Some(60),
        ..TaskSpec::default()
    }
}

/// An agent that says what it was told.
fn drivers() -> Drivers {
    let parrot =
        "[parrot]\nprogram = \"cat\"\n[[parrot.read]]\nsays = \"/text\"\nmessage = \"/text\"\nends = \"succeeded\"\n";
    Drivers::built_in().and(parrot).expect("is well formed")
}

/// Runs it, types, and gives how it ended and what it said.
async fn ran(spec: &TaskSpec, typed: &[&str], halted: impl Future<Output = ()>) -> (Finished, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (drivers, environment) = (drivers(), environment());
    let work = Work {
        whose: whose(),
        spec,
        drivers: &drivers,
        directory: directory.path(),
        own: directory.path(),
        environment: &environment,
        grace: Duration::from_secs(60),
        before: Taken::default(),
    };
    check(&work).expect("can be started");
    let (sender, keys) = mpsc::channel(8);
    for keys in typed {
        sender.try_send(Input::Typed(keys.as_bytes().to_vec())).expect("has room");
    }
    let mut said = Vec::new();
    let finished = run(&work, keys, halted, watch::Sender::default(), |bytes| said.extend_from_slice(bytes))
        .await
        .expect("starts");
    (finished, String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn a_command_has_a_terminal_and_its_secrets_are_not_shown() {
    let script = "tty >/dev/null && read -r line && echo \"got $line, $MY_TOKEN\"; exit 7";
    let (finished, said) = ran(&spec(&["sh", "-c", script], None), &["word\r"], std::future::pending()).await;
    assert_eq!((finished.outcome, finished.exit), (Outcome::Failed, Some(Exit::Code(7))));
    assert!(said.contains("got word, [secret]"), "{said}");
}

#[tokio::test]
async fn a_command_has_a_channel_that_is_heard() {
    let directory = tempfile::tempdir().expect("a directory");
    let (drivers, environment) = (drivers(), environment());
    let script = "[ \"$BIFROST_CHANNEL\" = \"$PWD/channel\" ] && until [ -e heard ]; do sleep 0.02; done";
    let spec = spec(&["sh", "-c", script], None);
    let work = Work {
        whose: whose(),
        spec: &spec,
        drivers: &drivers,
        directory: directory.path(),
        own: directory.path(),
        environment: &environment,
        grace: Duration::from_secs(60),
        before: Taken::default(),
    };
    let (_sender, keys) = mpsc::channel(1);
    let running = run(&work, keys, std::future::pending(), watch::Sender::default(), |_| ());
    let saying = async {
        let socket = directory.path().join("channel");
        crate::testing::until(async || socket.exists()).await;
        channel::say(&socket, None, None).await.expect("is heard");
        fs::write(directory.path().join("heard"), "").expect("writes");
    };
    let both = async { tokio::join!(running, saying) };
    let (finished, ()) = tokio::time::timeout(crate::testing::PATIENCE, both).await.expect("ends");
    assert_eq!(finished.expect("starts").outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn who_looks_after_a_command_knows_its_process_its_terminal_and_what_was_typed_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let (drivers, environment) = (drivers(), environment());
    let spec = spec(&["sh", "-c", "tty; echo $$; read -r line"], None);
    let work = Work {
        whose: whose(),
        spec: &spec,
        drivers: &drivers,
        directory: directory.path(),
        own: directory.path(),
        environment: &environment,
        grace: Duration::from_secs(60),
        before: Taken::default(),
    };
    let (sender, keys) = mpsc::channel(8);
    let life: watch::Sender<Option<Life>> = watch::Sender::default();
    let mut watched = life.subscribe();
    let mut said = Vec::new();
    let seen = async {
        watched.wait_for(Option::is_some).await.expect("runs");
        sender.send(Input::Typed(b"word\r".to_vec())).await.expect("has room");
        watched.wait_for(|life| life.as_ref().is_some_and(|life| life.typed == 5)).await.expect("runs").clone()
    };
    let (finished, seen) =
        tokio::join!(run(&work, keys, std::future::pending(), life, |bytes| said.extend_from_slice(bytes)), seen);
    let (said, seen) = (String::from_utf8_lossy(&said).into_owned(), seen.expect("it ran"));
    assert_eq!(finished.expect("starts").outcome, Outcome::Succeeded, "{said}");
    // What was typed may be echoed between the two.
    for told in [seen.terminal.expect("has one").display().to_string(), seen.pid.to_string()] {
        assert!(said.lines().any(|line| line == told), "{told}: {said:?}");
    }
    assert_eq!(*watched.borrow_and_update(), None, "it has ended");
}

#[tokio::test]
async fn an_agent_is_told_its_prompt_and_understood() {
    let (finished, said) = ran(&spec(&[], Some("{\"text\": \"hello\"}")), &[], std::future::pending()).await;
    assert_eq!((finished.outcome, said.as_str()), (Outcome::Succeeded, "hello\n"));
    assert_eq!(finished.report.and_then(|report| report.message).as_deref(), Some("hello"));
}

#[tokio::test]
async fn what_is_called_off_is_ended() {
    let script = "while :; do read -r line; done";
    let (finished, _) = ran(&spec(&["sh", "-c", script], None), &[], std::future::ready(())).await;
    assert_eq!(finished.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn dependencies_come_from_the_store_the_second_time_and_a_failure_says_what_was_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (bin, log) = (at("bin"), at("log"));
    fs::create_dir(&bin).expect("makes");
    let script = format!(
        "#!/bin/sh\ntest \"$1\" = --version && exec echo 1\necho \"$*\" >> '{}'\ntest -e fail && echo behind >&2 && exit 1\n\
         mkdir node_modules && echo x > node_modules/x\n",
        log.display()
    );
    for name in ["npm", "node"] {
        fs::write(bin.join(name), &script).expect("writes");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("sets");
    }
    let mut environment = environment();
    environment.insert("PATH".into(), format!("{}:{}", bin.display(), environment["PATH"]));
    let install_in = async |tree: &Path| {
        fs::create_dir_all(tree).expect("makes");
        fs::write(tree.join("package.json"), "{\"dependencies\": {\"a\": \"1\"}}").expect("writes");
        fs::write(tree.join("package-lock.json"), "{}").expect("writes");
        let (store, home, temporary) = (at("store"), at("home"), at("tmp"));
        let place = Place {
            store: &store,
            tree,
            home: &home,
            temporary: &temporary,
            environment: &environment,
            within: Duration::from_secs(60),
        };
        install(&place, whose(), &Clock::system(), &Chance::system()).await
    };
    for name in ["one", "two"] {
        assert_eq!(install_in(&at(name)).await.expect("installs").detail, ["npm"]);
        assert_eq!(fs::read_to_string(at(name).join("node_modules/x")).expect("is there"), "x\n");
    }
    assert_eq!(fs::read_to_string(&log).expect("was called"), "ci --no-audit --no-fund\n", "once, and frozen");
    fs::create_dir(at("three")).expect("makes");
    fs::write(at("three/fail"), "").expect("writes");
    fs::write(at("three/.npmrc"), "another=key").expect("writes");
    let error = install_in(&at("three")).await.expect_err("fails");
    assert!(error.said.contains("behind"), "{error:?}");
    assert!(error.message.contains("npm ci"), "{error}");
}
