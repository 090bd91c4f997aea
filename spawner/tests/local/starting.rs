//! Starting: what is there afterwards, what nobody else sees of it, and that nothing is left
//! of a start that failed (rows T-2.2 and T-2.8).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use spawner::{AgentEnvironment, NewAgent, ProcessRef, SpawnError, Status, What};
use wire::agent::AgentSpec;
use wire::execution::Outcome;

use crate::scene::{Scene, alone, command, git, mock, until};

#[tokio::test]
async fn an_agent_works_in_a_worktree_of_its_own_and_says_how_it_ended_tmux() {
    let scene = Scene::new().await;
    let prompt = "write NOTES hello\ncommit Add notes\nusage 1200 80 0.01\nAll done.";
    let handle = scene.start(&mock("fix/login", prompt)).await.expect("starts");
    assert!(matches!(&handle.process, ProcessRef::Tmux { session, .. } if *session == format!("fleet-{}", handle.id)));
    let end = scene.ended(&handle).await;
    assert_eq!(end.outcome, Outcome::Succeeded);
    let report = end.report.expect("an agent says it");
    assert_eq!((report.input_tokens, report.output_tokens, report.cost_dollars.as_deref()), (1200, 80, Some("0.01")));
    assert!(report.session.is_some_and(|session| session.starts_with("mock-")));
    assert_eq!(fs::read_to_string(handle.worktree.join("NOTES")).expect("is there"), "hello\n");
    assert_eq!(git(&scene.repository, &["log", "-1", "--format=%s", "fix/login"]).await, "Add notes");
    assert!(!scene.repository.join("NOTES").exists(), "the person's own files are left alone");
    scene.shown(&handle, "All done.").await;
}

#[tokio::test]
async fn outside_a_session_it_is_the_same() {
    let scene = Scene::new().await;
    let handle = scene.start(&alone(mock("fix/login", "write NOTES hello\ncommit Add notes\nAll done."))).await;
    let handle = handle.expect("starts");
    assert_eq!(handle.process, ProcessRef::Detached);
    assert_eq!(scene.ended(&handle).await.outcome, Outcome::Succeeded);
    assert_eq!(git(&scene.repository, &["log", "-1", "--format=%s", "fix/login"]).await, "Add notes");
    scene.shown(&handle, "All done.").await;
}

#[tokio::test]
async fn no_argument_holds_a_prompt_or_a_secret_and_no_shell_is_called_tmux() {
    let mut scene = Scene::new().await;
    scene.config.git = scene.wrap("git", "");
    scene.config.tmux = scene.wrap("tmux", "env >> \"$0.env\"");
    let secret = AgentEnvironment([("MY_TOKEN".to_owned(), "hunter2-hunter2".to_owned())].into());
    let script = "test \"$MY_TOKEN\" = hunter2-hunter2 && echo well: $MY_TOKEN";
    let one = NewAgent { environment: secret.clone(), ..command("one", &["sh", "-c", script]) };
    let one = scene.start(&one).await.expect("starts");
    let two = NewAgent { environment: secret, ..mock("two", "say prompt-prompt") };
    let two = scene.start(&two).await.expect("starts");
    assert_eq!(scene.ended(&one).await.outcome, Outcome::Succeeded);
    assert_eq!(scene.ended(&two).await.outcome, Outcome::Succeeded);
    let lines = scene.shown(&one, "well: ").await;
    assert!(lines.iter().all(|line| !line.contains("hunter2")), "{lines:?}");
    let calls = scene.called("git") + &scene.called("tmux");
    let environment = fs::read_to_string(scene.root().join("wrapped-tmux.env")).expect("was called");
    for word in ["hunter2", "prompt-prompt", "well"] {
        assert!(!calls.contains(word) && !environment.contains(word), "{calls}");
    }
    let path = one.worktree.display();
    assert!(calls.contains(&format!("[worktree][add][--quiet][{path}][one]")), "{calls}");
    let own = one.worktree.parent().expect("has one").display();
    assert!(
        calls.contains(&format!("[-c][{path}][--][{}][inside][{own}]", env!("CARGO_BIN_EXE_bifrost-inside"))),
        "{calls}"
    );
    for handle in [one, two] {
        let own = handle.worktree.parent().expect("has one").join(".agent");
        assert!(!own.join("job.json").exists(), "what is secret is read and gone");
        assert_eq!(fs::metadata(own).expect("is there").permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn what_is_secret_lies_in_a_file_that_nobody_else_reads() {
    let mut scene = Scene::new().await;
    // In place of the terminal: notes the mode of what it was to read, and complains.
    let note = scene.root().join("mode");
    let inside = scene.root().join("inside");
    let text =
        format!("#!/bin/sh\nstat -c %a \"$1/.agent/job.json\" > '{}'\necho no > \"$1/.agent/ready\"\n", note.display());
    fs::write(&inside, text).expect("writes");
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).expect("sets");
    scene.config.inside = vec![inside.into()];
    let error = scene.start(&alone(mock("a", "x"))).await.expect_err("complains");
    assert!(matches!(&error, SpawnError::Process(complaint) if complaint == "no"), "{error}");
    assert_eq!(fs::read_to_string(note).expect("noted"), "600\n");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn hooks_are_there_and_git_does_not_see_them() {
    let mut scene = Scene::new().await;
    let hooks = scene.root().join("hooks");
    fs::create_dir_all(hooks.join(".claude")).expect("makes");
    fs::write(hooks.join(".claude/settings.json"), "{}").expect("writes");
    scene.config.hooks = Some(hooks);
    let handle = scene.start(&alone(mock("a", "write NOTES x\ncommit Add notes"))).await.expect("starts");
    assert_eq!(scene.ended(&handle).await.outcome, Outcome::Succeeded);
    assert!(handle.worktree.join(".claude/settings.json").exists());
    assert_eq!(git(&scene.repository, &["show", "--name-only", "--format=", "a"]).await, "NOTES");
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused_before_anything_happens() {
    let scene = Scene::new().await;
    for name in ["../../etc/passwd", "a b", "$(id)", "-x", "a..b", "a.lock", "a/", "HEAD/", &"x".repeat(129)] {
        let error = scene.start(&mock(name, "x")).await.expect_err(name);
        assert!(matches!(error, SpawnError::Refused { field: "branch", .. }), "{name}: {error}");
    }
    let error = scene.start(&mock("a", " ")).await.expect_err("no prompt");
    assert_eq!(error.code(), "INVALID");
    assert!(!scene.config.base.exists());
}

#[tokio::test]
async fn what_is_no_repository_with_a_commit_is_told_from_a_branch_that_cannot_be_had() {
    let mut scene = Scene::new().await;
    let (plain, empty) = (scene.root().join("plain"), scene.root().join("empty"));
    fs::create_dir(&plain).expect("makes");
    fs::create_dir(&empty).expect("makes");
    git(&empty, &["init", "--quiet"]).await;
    for (repository, code, said) in [
        (scene.root().join("missing"), "NO_REPOSITORY", "there is no directory "),
        (plain, "NO_REPOSITORY", "is no git repository that can be used"),
        (empty, "NO_COMMIT", "has no commit yet"),
    ] {
        scene.config.repository = repository;
        let error = scene.start(&mock("a", "x")).await.expect_err(code);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(!scene.config.base.exists());
}

#[tokio::test]
async fn an_agent_that_is_not_known_is_refused_with_those_that_are() {
    let scene = Scene::new().await;
    let nobody = AgentSpec { name: "nobody".into(), prompt: "x".into(), model: None, session: None };
    let error = scene.start(&NewAgent { what: What::Agent(nobody), ..mock("a", "x") }).await.expect_err("is unknown");
    assert_eq!(error.code(), "UNKNOWN_AGENT");
    assert!(error.to_string().starts_with("no agent is called nobody; there are claude_code, codex,"), "{error}");
    assert!(!scene.config.base.exists());
}

#[tokio::test]
async fn a_command_that_is_an_agent_has_a_session_that_can_be_gone_on_with() {
    let scene = Scene::new().await;
    let named = |name: &str, session: Option<&str>| {
        let session = session.map(str::to_owned);
        AgentSpec { name: name.into(), prompt: String::new(), model: None, session }
    };
    for (resume, expect) in [
        (named("mock", None), "session"),
        (named("nobody", Some("s-1")), "agent"),
        (named("mock", Some("a b")), "agent"),
    ] {
        let error = scene.start(&NewAgent { resume: Some(resume), ..command("a", &["cat"]) }).await;
        let error = error.expect_err(expect);
        assert!(matches!(error, SpawnError::Refused { field, .. } if field == expect), "{error}");
    }
    assert!(!scene.config.base.exists());
    let new = NewAgent { resume: Some(named("mock", Some("s-1"))), ..alone(command("a", &["cat"])) };
    let handle = scene.start(&new).await.expect("starts");
    assert_eq!((handle.agent.as_str(), handle.has_terminal), ("mock", true));
    scene.kill(&handle).await.expect("ends");
}

#[tokio::test]
async fn of_the_agents_that_go_on_with_one_session_one_runs_at_a_time() {
    let scene = Scene::new().await;
    let goes_on = |branch: &str, session: &str| {
        let mut new = alone(mock(branch, "stall 600"));
        if let What::Agent(spec) = &mut new.what {
            spec.session = Some(session.to_owned());
        }
        new
    };
    let (one, two) = (goes_on("a", "s-1"), goes_on("b", "s-1"));
    let (first, second) = tokio::join!(scene.start(&one), scene.start(&two));
    let (handle, refused) = match (first, second) {
        (Ok(handle), Err(refused)) | (Err(refused), Ok(handle)) => (handle, refused),
        both => panic!("one of two may: {both:?}"),
    };
    assert!(matches!(&refused, SpawnError::SessionInUse { by, .. } if *by == handle.id), "{refused}");
    let as_command = AgentSpec { name: "mock".into(), prompt: String::new(), model: None, session: Some("s-1".into()) };
    let as_command = NewAgent { resume: Some(as_command), ..alone(command("c", &["cat"])) };
    let refused = scene.start(&as_command).await.expect_err("it is the same session");
    assert_eq!(refused.code(), "SESSION_IN_USE");
    let other = scene.start(&goes_on("d", "s-2")).await.expect("another session");
    for handle in [&handle, &other] {
        scene.kill(handle).await.expect("ends");
    }
    let again = scene.start(&as_command).await.expect("nobody is in it any more");
    scene.kill(&again).await.expect("ends");
}

#[tokio::test]
async fn a_branch_that_is_checked_out_elsewhere_fails_as_a_worktree_and_stays() {
    let scene = Scene::new().await;
    let error = scene.start(&mock("main", "x")).await.expect_err("is in use");
    assert_eq!(error.code(), "WORKTREE_FAILED", "{error}");
    assert_ne!(git(&scene.repository, &["branch", "--list", "main"]).await, "");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn a_branch_that_was_there_is_worked_on_and_stays_when_that_fails() {
    let scene = Scene::new().await;
    git(&scene.repository, &["branch", "old"]).await;
    scene.start(&alone(command("old", &["no-such-program"]))).await.expect_err("fails");
    assert_ne!(git(&scene.repository, &["branch", "--list", "old"]).await, "");
    let handle = scene.start(&alone(mock("old", "write NOTES x\ncommit More"))).await.expect("starts");
    scene.ended(&handle).await;
    assert_eq!(git(&scene.repository, &["log", "--format=%s", "old"]).await, "More\nfirst");
}

#[tokio::test]
async fn hooks_that_would_write_over_the_repository_are_taken_back() {
    let mut scene = Scene::new().await;
    let hooks = scene.root().join("hooks");
    fs::create_dir(&hooks).expect("makes");
    fs::write(hooks.join("README"), "mine").expect("writes");
    scene.config.hooks = Some(hooks);
    let error = scene.start(&mock("a", "x")).await.expect_err("is there");
    assert!(error.to_string().starts_with("WORKTREE_FAILED: the hooks: the repository has README itself"), "{error}");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn a_worktree_that_git_makes_only_half_is_taken_back() {
    let mut scene = Scene::new().await;
    let fail = "case \" $* \" in *' worktree add '*) git \"$@\"; echo 'fatal: no room' >&2; exit 1;; esac";
    scene.config.git = scene.wrap("git", fail);
    let error = scene.start(&mock("a", "x")).await.expect_err("fails");
    assert_eq!(
        error.to_string(),
        format!("WORKTREE_FAILED: {}/wrapped-git worktree failed: fatal: no room", scene.root().display())
    );
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn an_install_that_fails_is_taken_back_and_says_what_was_said() {
    let mut scene = Scene::new().await;
    scene.commit(&scene.repository, "package.json", "{\"dependencies\": {\"a\": \"1\"}}").await;
    scene.commit(&scene.repository, "package-lock.json", "{}").await;
    let programs = scene.root().join("programs");
    fs::create_dir(&programs).expect("makes");
    let script = "#!/bin/sh\ncase $1 in --version) echo 1;; *) echo \"npm $*: lockfile is behind\" >&2; seq 60 >&2; exit 1;; \
         esac\n";
    for name in ["npm", "node"] {
        fs::write(programs.join(name), script).expect("writes");
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).expect("sets");
    }
    let path = format!("{}:{}", programs.display(), scene.config.environment["PATH"]);
    scene.config.environment.insert("PATH".into(), path);
    let error = scene.start(&mock("a", "x")).await.expect_err("fails");
    assert_eq!(error.code(), "INSTALL_FAILED");
    let SpawnError::Install { said, message } = error else { panic!("{error}") };
    assert!(said.contains("npm ci --no-audit --no-fund: lockfile is behind\n1\n2\n"), "{said}");
    assert!(said.ends_with("60"), "{said}");
    assert!(!message.contains("log"), "there is none: {message}");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn a_tmux_that_fails_is_taken_back_tmux() {
    let mut scene = Scene::new().await;
    let fail = "case \" $* \" in *' new-session '*) tmux \"$@\"; echo 'no server' >&2; exit 1;; esac";
    scene.config.tmux = scene.wrap("tmux", fail);
    let error = scene.start(&command("a", &["cat"])).await.expect_err("fails");
    assert_eq!(error.code(), "PROCESS_FAILED", "{error}");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_taken_back() {
    let scene = Scene::new().await;
    let error = scene.start(&command("a", &["no-such-program"])).await.expect_err("fails");
    assert!(error.to_string().contains("PROCESS_FAILED: no-such-program: not found"), "{error}");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn a_terminal_that_never_says_anything_times_out_and_is_taken_back() {
    let mut scene = Scene::new().await;
    scene.config.inside = vec![scene.wrap("tail", "exec tail -f /dev/null \"$@\"").into()];
    scene.config.start_within = Duration::from_millis(200);
    for new in [mock("a", "x"), alone(mock("a", "x"))] {
        let error = scene.start(&new).await.expect_err("takes too long");
        assert_eq!(error.code(), "TIMEOUT", "{error}");
        scene.assert_nothing_left("a").await;
    }
    let base = scene.config.base.to_string_lossy().into_owned();
    until("no terminal is left", async || {
        let lines = fs::read_dir("/proc").expect("lists").flatten().map(|entry| fs::read(entry.path().join("cmdline")));
        let mut lines = lines.flatten().map(|line| String::from_utf8_lossy(&line).into_owned());
        (!lines.any(|line| line.contains(&base))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_terminal_that_ends_at_once_is_noticed() {
    let mut scene = Scene::new().await;
    scene.config.inside = vec!["true".into()];
    let error = scene.start(&alone(mock("a", "x"))).await.expect_err("ends");
    assert!(error.to_string().contains("ended at once"), "{error}");
    scene.assert_nothing_left("a").await;
}

#[tokio::test]
async fn no_more_run_at_once_than_may() {
    let mut scene = Scene::new().await;
    scene.config.agents_max = 1;
    let first = scene.start(&alone(command("a", &["cat"]))).await.expect("starts");
    let error = scene.start(&alone(command("b", &["cat"]))).await.expect_err("is one too many");
    assert!(matches!(error, SpawnError::TooMany { running: 1 }), "{error}");
    scene.kill(&first).await.expect("ends");
    assert!(!scene.status(&first).await.is_active());
    let second = scene.start(&alone(command("b", &["cat"]))).await.expect("starts");
    assert_eq!(scene.status(&second).await, Status::Running);
    scene.kill(&second).await.expect("ends");
}

#[tokio::test]
async fn of_two_who_begin_one_branch_at_once_one_has_it_and_keeps_it() {
    let scene = Scene::new().await;
    for round in 0..5 {
        let new = alone(mock(&format!("race-{round}"), "write a b"));
        let (one, other) = tokio::join!(scene.start(&new), scene.start(&new));
        let (won, lost) = match (one, other) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("{both:?}"),
        };
        assert_eq!(lost.code(), "WORKTREE_FAILED", "{lost}");
        scene.ended(&won).await;
        let head = git(&won.worktree, &["rev-parse", "--verify", "HEAD"]).await;
        assert_eq!(head, git(&scene.repository, &["rev-parse", "HEAD"]).await);
    }
}
