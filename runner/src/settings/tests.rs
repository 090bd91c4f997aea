//! What is taken, what is refused and how, and what it does.

use super::*;
use crate::testing::{Remote, Scene, git, output};
use wire::event::{PhasePayload, Stream};
use wire::execution::{Outcome, Phase};

#[test]
fn a_complaint_names_the_line_the_key_and_the_cure() {
    for (text, expect) in [
        ("\n[setup]\ncomands = []", &["line 3:", "`comands`", "`commands`"][..]),
        ("[setup]\ncommands = [\n  [\"true\"],\n  [],\n]", &["line 4:", "setup.commands", "as a list"]),
        (
            "[setup]\ncommands = [[\"a\"], \"npm ci\"]",
            &["line 2: setup.commands[1]: invalid type: string", "sequence", "a list of lists, such as [[\"npm\""],
        ),
        ("[setup]\ncommands = \"npm ci\"", &["line 2: setup.commands: invalid type: string", "a list of lists"]),
        ("[setup]\ncommands = [[\"a\", 3]]", &["line 2: setup.commands[0][1]: invalid type: integer `3`"]),
        ("[env]\nGOOD = \"1\"\n\"BAD NAME\" = \"x\"", &["line 3:", "env.BAD NAME", "use letters"]),
        ("[env]\nBIFROST_TASK_ID = \"x\"", &["line 2:", "env.BIFROST_TASK_ID"]),
        (
            "[env]\nNUMBER = 1",
            &["line 2: env.NUMBER: invalid type: integer `1`, expected a string; write the value in quotes"],
        ),
        ("env = 1", &["line 1: env: invalid type", "write it as a table: [env]"]),
        ("services.db = \"x\"", &["line 1: services.db: invalid type"]),
        ("[services]\ndb.command = \"x\"", &["line 2: services.db.command: invalid type", "write a list"]),
        ("[timeouts]\nsetup_seconds = \"5\"", &["line 2: timeouts.setup_seconds: invalid type", "whole number"]),
        ("[timeouts]\nsetup_seconds = -5", &["line 2: timeouts.setup_seconds: invalid value", "whole number"]),
        ("[cache]\npaths = \"target\"", &["line 2: cache.paths: invalid type", "[\"target\"]"]),
        ("[cache]\npaths = [\"ok\", \"../up\"]", &["line 2:", "cache.paths", "../up", "inside the repository"]),
        ("[cache]\npaths = [\"/etc\"]", &["line 2:", "/etc"]),
        ("[cache]\npaths = [\".git/hooks\"]", &["line 2:", ".git/hooks"]),
        ("[setup]\ndependency_files = [\"../up\"]", &["line 2:", "setup.dependency_files", "inside the repository"]),
        ("[setup]\ndependency_env = [\"A=b\"]", &["line 2:", "setup.dependency_env", "\"A=b\"", "use letters"]),
        ("[timeouts]\ninstall_seconds = 0", &["line 2:", "timeouts.install_seconds", "from 1 to 86400"]),
        (
            "[setup]\ncommands = [[\"a\"], [\"b\"]]\n[timeouts]\nsetup_seconds = 43201",
            &["line 2:", "may take 86402 seconds together, and 86400 are the most", "lower their timeouts"],
        ),
        ("[services.db]\nready = [\"true\"]", &["line 1: services.db: missing field `command`"]),
        ("[services.db]\ncommand = []", &["line 2:", "services.db.command"]),
        ("[services.db]\ncommand = [\"x\"]\ntimeout_seconds = 100000", &["line 3:", "services.db.timeout_seconds"]),
        (
            "[checkout]\nsubmodules = \"no\"",
            &["line 2: checkout.submodules: invalid type", "true or false, without quotes"],
        ),
        ("nonsense", &["line 1:"]),
    ] {
        let complaint = Settings::parse(text).expect_err(text);
        assert!(complaint.starts_with(".bifrost.toml line "), "{complaint}");
        assert!(expect.iter().all(|word| complaint.contains(word)), "{text:?}: {complaint}");
    }
}

#[test]
fn what_is_no_file_is_called_what_it_is() {
    let tree = tempfile::tempdir().expect("a directory");
    let place = tree.path().join(FILE);
    let check = |expect: &str| {
        let refused = Settings::read(tree.path()).expect_err("refused");
        let NotReady::Failed { failure: Failure::InvalidSettings, message } = refused else { panic!("{refused:?}") };
        assert!(message.starts_with(&format!(".bifrost.toml {expect}")), "{message}");
        crate::volume::remove(&place).expect("removes");
    };
    std::fs::create_dir(&place).expect("makes");
    check("is a directory;");
    std::os::unix::fs::symlink("elsewhere", &place).expect("links");
    check("is a symbolic link, which is not followed;");
    std::fs::write(&place, vec![b'#'; 262_145]).expect("writes");
    check("has 262145 bytes, and 262144 are the most;");
}

#[test]
fn everything_may_be_left_out() {
    let settings = Settings::parse("").expect("empty");
    assert!(settings.checkout.submodules && settings.setup.dependencies && settings.variables().is_empty());
    let text = include_str!("../../../docs/workspaces.md");
    let example = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let settings = Settings::parse(example).expect("the documented example is good");
    assert!(settings.commands().count() > 0 && !settings.cached().is_empty() && !settings.services.is_empty());
}

/// Runs a script in a repository with these settings.
async fn run(settings: &str, script: &str) -> (wire::worker::Completion, String, String) {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.commit(&[(FILE, settings)]).await;
    let (completion, events) = scene.run(&remote, script).await;
    (completion, output(&events, Stream::Stdout), output(&events, Stream::Stderr))
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_before_anything_runs() {
    let (completion, said, _) = run("[setup]\ncommands = [[\"touch\", \"/tmp\"], []]", "echo ran").await;
    assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::InvalidSettings)));
    assert!(completion.message.expect("a message").starts_with(".bifrost.toml line 2: setup.commands"));
    assert_eq!(said, "");
}

#[tokio::test]
async fn set_up_commands_run_in_order_with_the_variables_of_the_file() {
    let settings = "[setup]\ncommands = [[\"sh\", \"-c\", \"echo $WHO > made\"], [\"cp\", \"made\", \"copied\"]]\n\
                    [env]\nWHO = \"me\"";
    let (completion, said, _) = run(settings, "cat copied; echo $WHO").await;
    assert_eq!((completion.outcome, &*said), (Outcome::Succeeded, "me\nme\n"));
}

#[tokio::test]
async fn what_the_set_up_did_is_told_with_its_time_where_there_was_any() {
    let command = "commands = [[\"true\"]]";
    let service = "[services.db]\ncommand = [\"sleep\", \"60\"]\n";
    for (text, expect) in [
        (String::new(), None),
        (format!("[setup]\n{command}"), Some("1 set-up command in 290 ms")),
        (
            format!("[setup]\ncommands = [[\"a\"], [\"b\"]]\n{service}"),
            Some("2 set-up commands and 1 service in 290 ms"),
        ),
        (service.to_owned(), Some("1 service in 290 ms")),
    ] {
        let settings = Settings::parse(&text).expect("is good");
        assert_eq!(settings.told(Duration::from_micros(290_900)).as_deref(), expect);
    }
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.commit(&[(FILE, &format!("[setup]\n{command}"))]).await;
    let (_, events) = scene.run(&remote, "true").await;
    let phases = events.iter().filter(|event| event.kind == wire::event::kind::EXECUTION_PHASE);
    let phases = phases.map(|event| serde_json::from_str::<PhasePayload>(event.payload.get()).expect("a phase"));
    let ended = phases.filter(|phase| phase.phase == Phase::Dependencies && phase.micros.is_some());
    let details: Vec<_> = ended.filter_map(|phase| phase.detail).collect();
    assert!(details.len() == 1 && details[0].starts_with("1 set-up command in "), "{details:?}");
}

#[tokio::test]
async fn a_set_up_command_that_fails_is_named() {
    for (settings, expect) in [
        ("[setup]\ncommands = [[\"sh\", \"-c\", \"echo why; exit 3\"]]", "exit status: 3"),
        ("[setup]\ncommands = [[\"no-such-program\"]]", "cannot be started"),
        (
            "[setup]\ncommands = [[\"sh\", \"-c\", \"echo why; sleep 60\"]]\n[timeouts]\nsetup_seconds = 1",
            "timeouts.setup_seconds",
        ),
    ] {
        let (completion, said, log) = run(settings, "echo ran").await;
        assert_eq!(completion.failure, Some(Failure::SetUpStepFailed), "{settings}");
        let message = completion.message.expect("a message");
        assert!(message.contains("setup.commands[0]") && message.contains(expect), "{message}");
        assert_eq!((said.as_str(), log.contains("why")), ("", !expect.starts_with("cannot")));
    }
}

#[tokio::test]
async fn a_service_runs_beside_the_command_and_ends_with_it() {
    let settings = "[services.thing]\ncommand = [\"sh\", \"-c\", \"echo up > up; exec sleep 54321\"]\n\
                    ready = [\"test\", \"-s\", \"up\"]";
    let (completion, said, _) = run(settings, "cat up; pgrep -f 'sleep 5432[1]' > /dev/null && echo alive").await;
    assert_eq!((completion.outcome, &*said), (Outcome::Succeeded, "up\nalive\n"));
    assert!(!crate::testing::is_running("sleep 54321"));
}

#[tokio::test]
async fn a_service_that_does_not_come_up_fails_the_set_up_and_its_words_are_kept() {
    for (settings, expect) in [
        ("command = [\"sh\", \"-c\", \"echo broken; exit 1\"]\nready = [\"false\"]", "ended with exit status: 1"),
        (
            "command = [\"sh\", \"-c\", \"echo broken; exit 1\"]\n\
             [services.later]\ncommand = [\"sleep\", \"60\"]\nready = [\"sleep\", \"1\"]",
            "ended with exit status: 1 before the command began",
        ),
        (
            "command = [\"sh\", \"-c\", \"echo broken >&2\"]\nready = [\"sleep\", \"0.5\"]",
            "ended with exit status: 0 before the command began",
        ),
        (
            "command = [\"sh\", \"-c\", \"until [ -e up ]; do sleep 0.01; done; echo broken; exit 7\"]\n\
             [services.other]\ncommand = [\"sh\", \"-c\", \"touch up; sleep 60\"]\nready = [\"sleep\", \"0.5\"]",
            "ended with exit status: 7 before the command began",
        ),
        ("command = [\"sleep\", \"60\"]\nready = [\"false\"]\ntimeout_seconds = 1", "timeout_seconds"),
        ("command = [\"no-such-program\"]", "cannot be started"),
    ] {
        let (completion, _, log) = run(&format!("[services.db]\n{settings}"), "echo ran").await;
        let message = completion.message.expect("a message");
        assert_eq!(completion.failure, Some(Failure::SetUpStepFailed), "{message}");
        assert!(message.contains("services.db") && message.contains(expect), "{message}");
        assert_eq!(log.contains("broken"), expect.starts_with("ended"), "{log}");
    }
}

#[tokio::test]
async fn what_the_ready_command_of_a_service_said_last_is_told_without_the_secrets() {
    let says = "command = [\"sh\", \"-c\", \"echo I am slow; exec sleep 60\"]\ntimeout_seconds = 1\n";
    let asks = "ready = [\"sh\", \"-c\", \"echo refused $MY_TOKEN; printf why >&2; exit 1\"]";
    let hangs = "ready = [\"sh\", \"-c\", \"[ -e asked ] && exec sleep 60; touch asked; echo it waits; exit 1\"]";
    for (ready, expect) in [(asks, "refused [secret]\nwhy\n"), (hangs, "it waits\n")] {
        let settings = format!("[services.db]\n{says}{ready}\n[env]\nMY_TOKEN = \"hunter2-hunter2\"");
        let (completion, _, log) = run(&settings, "echo ran").await;
        assert_eq!(completion.failure, Some(Failure::SetUpStepFailed), "{settings}");
        let asked = "bifrost: what the ready command of the service db said last:\n";
        assert_eq!(log, format!("{asked}{expect}bifrost: what the service db said:\nI am slow\n"));
    }
}

#[tokio::test]
async fn a_service_that_ends_is_noticed_while_another_waits_for_it() {
    let settings = "[services.db]\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n\
                    [services.web]\ncommand = [\"sleep\", \"60\"]\nready = [\"false\"]";
    let message = run(settings, "true").await.0.message.expect("a message");
    assert!(message.contains("services.db") && message.contains("ended with exit status: 3"), "{message}");
}

#[tokio::test]
async fn what_a_set_up_command_or_a_service_says_is_told_without_the_secrets() {
    let says = "command = [\"sh\", \"-c\", \"echo it is $MY_TOKEN; echo so is $MY_TOKEN >&2; exit 1\"]";
    for settings in [
        format!("[setup]\n{}]", says.replace("command = ", "commands = [")),
        format!("[services.db]\n{says}\nready = [\"false\"]"),
    ] {
        let settings = format!("{settings}\n[env]\nMY_TOKEN = \"hunter2-hunter2\"");
        let (completion, _, log) = run(&settings, "echo ran").await;
        assert_eq!(completion.failure, Some(Failure::SetUpStepFailed), "{settings}");
        assert_eq!(log, "it is [secret]\nso is [secret]\n", "{settings}");
    }
}

#[tokio::test]
async fn cached_directories_are_handed_on_and_only_those() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let settings = "[cache]\npaths = [\"ignored\", \"deep/er\"]";
    remote.commit(&[(FILE, settings), (".gitignore", "ignored\ndeep\nother\n")]).await;
    let build =
        "ls ignored deep/er other 2> /dev/null; mkdir -p ignored deep/er other; touch ignored/a deep/er/b other/c";
    for expect in ["", "deep/er:\nb\n\nignored:\na\n", "deep/er:\nb\n\nignored:\na\n"] {
        let (_, events) = scene.run(&remote, build).await;
        assert_eq!(output(&events, Stream::Stdout), expect);
    }
}

#[tokio::test]
async fn a_cached_directory_that_leads_elsewhere_is_left_alone() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.commit(&[(FILE, "[cache]\npaths = [\"one\", \"way/there\"]"), (".gitignore", "one\nway\n")]).await;
    let outside = tempfile::tempdir().expect("a directory");
    put_something(outside.path());
    let script = format!("ln -s {0} one; ln -s {0} way", outside.path().display());
    scene.run(&remote, &script).await;
    let (_, events) = scene.run(&remote, "ls").await;
    assert_eq!(output(&events, Stream::Stdout), "README\nsrc\n");
    assert!(outside.path().join("there/precious").exists());
}

fn put_something(outside: &Path) {
    std::fs::create_dir(outside.join("there")).expect("makes");
    std::fs::write(outside.join("there/precious"), "x").expect("writes");
}

#[tokio::test]
async fn submodules_are_fetched_unless_they_are_not_wanted() {
    let (mut scene, remote, part) = (Scene::new().await, Remote::new().await, Remote::new().await);
    remote.git(&["submodule", "--quiet", "add", &part.url(), "part"]).await;
    remote.commit(&[]).await;
    let (completion, events) = scene.run(&remote, "cat part/README; git status --porcelain").await;
    assert_eq!((completion.message, output(&events, Stream::Stdout)), (None, "hello\n".to_owned()));
    remote.commit(&[(FILE, "[checkout]\nsubmodules = false")]).await;
    let (_, events) = scene.run(&remote, "ls part").await;
    assert_eq!(output(&events, Stream::Stdout), "");
    remote.git(&["rm", "--quiet", FILE]).await;
    let text = format!("[submodule \"part\"]\n\tpath = part\n\turl = {}-gone\n", part.url());
    remote.commit(&[(".gitmodules", &text)]).await;
    let (completion, _) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::RepositoryUnreachable));
    let message = completion.message.expect("a message");
    assert!(message.contains("submodules of") && message.contains("checkout.submodules = false"), "{message}");
}

#[tokio::test]
async fn files_in_lfs_are_found_in_every_directory() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.commit(&[(".gitattributes", "# *.bin filter=lfs\n*.bin filter=lfsx\n"), ("deep/er/other", "x")]).await;
    assert_eq!(scene.run(&remote, "true").await.0.message, None);
    remote.commit(&[("deep/er/.gitattributes", "*.bin filter=lfs -text\n")]).await;
    let (completion, _) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::InvalidSettings));
    assert!(completion.message.expect("a message").contains("(deep/er/.gitattributes says filter=lfs)"));
}

#[tokio::test]
async fn files_in_lfs_are_found_in_submodules_that_are_wanted() {
    let (mut scene, remote, part) = (Scene::new().await, Remote::new().await, Remote::new().await);
    part.commit(&[("in/.gitattributes", "*.bin filter=lfs -text\n")]).await;
    remote.git(&["submodule", "--quiet", "add", &part.url(), "part"]).await;
    remote.commit(&[]).await;
    let (completion, _) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::InvalidSettings));
    assert!(completion.message.expect("a message").contains("(part/in/.gitattributes says filter=lfs)"));
    remote.commit(&[(FILE, "[checkout]\nsubmodules = false")]).await;
    assert_eq!(scene.run(&remote, "true").await.0.message, None);
}

#[tokio::test]
async fn files_in_lfs_are_refused_by_name_unless_pointers_will_do() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.commit(&[(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")]).await;
    let (completion, _) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::InvalidSettings));
    assert!(completion.message.expect("a message").contains("checkout.lfs_pointers = true"));
    remote.commit(&[(FILE, "[checkout]\nlfs_pointers = true")]).await;
    assert_eq!(scene.run(&remote, "true").await.0.outcome, Outcome::Succeeded);
    assert_eq!(git(remote.path(), &["status", "--porcelain"]).await, "");
}
