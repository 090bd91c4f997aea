//! Whole executions: real git, real processes, a real volume.

use super::*;
use crate::testing::{PATIENCE, Remote, Scene, git, kinds, names_below, output};
use wire::agent::AgentReport;
use wire::checkpoint::KeptWork;
use wire::event::{Event, FinishedPayload, PhasePayload};
use wire::execution::Exit;
use wire::worker::repository_name;

fn phases(events: &[Event]) -> Vec<(Phase, Option<Cache>)> {
    let phases = events.iter().filter(|event| event.kind == kind::EXECUTION_PHASE);
    let phases = phases.map(|event| serde_json::from_str::<PhasePayload>(event.payload.get()).expect("a phase"));
    phases.filter(|phase| phase.micros.is_some()).map(|phase| (phase.phase, phase.cache)).collect()
}

fn finished(events: &[Event]) -> FinishedPayload {
    let last = events.last().expect("something was told");
    assert_eq!(last.kind, kind::EXECUTION_FINISHED);
    serde_json::from_str(last.payload.get()).expect("a finish")
}

#[tokio::test]
async fn a_command_runs_in_its_repository_and_the_story_is_told_in_order() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let head = remote.git(&["rev-parse", "HEAD"]).await;
    for cache in [Cache::Miss, Cache::Hit] {
        let script = "cat README; git log --format=%s; git status --porcelain; echo oops >&2; exit 3";
        let (completion, events) = scene.run(&remote, script).await;
        assert_eq!(output(&events, Stream::Stdout), "hello\nwork\n");
        assert_eq!(output(&events, Stream::Stderr), "oops\n");
        assert_eq!((completion.outcome, completion.exit), (Outcome::Failed, Some(Exit::Code(3))));
        assert_eq!(completion.commit.as_ref(), Some(&head));
        let expect = [
            (Phase::Clone, Some(cache)),
            (Phase::Dependencies, Some(Cache::Unused)),
            (Phase::Running, None),
            (Phase::Checkpoint, None),
        ];
        assert_eq!(phases(&events), expect);
        assert_eq!(completion.phases.iter().map(|timing| (timing.phase, timing.cache)).collect::<Vec<_>>(), expect);
        assert_eq!(finished(&events).outcome, Outcome::Failed);
        let only_logs_between: Vec<&str> =
            kinds(&events).into_iter().filter(|kind| *kind != kind::EXECUTION_LOG).collect();
        let phase = kind::EXECUTION_PHASE;
        let walls = kind::EXECUTION_ISOLATION;
        let saved = kind::CHECKPOINT_SAVED;
        let finish = kind::EXECUTION_FINISHED;
        assert_eq!(only_logs_between, [phase, phase, phase, phase, walls, phase, phase, phase, saved, phase, finish]);
    }
}

#[tokio::test]
async fn a_command_asks_the_egress_proxy_in_the_name_of_its_execution() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let room = Arc::get_mut(&mut scene.room).expect("nobody else has it");
    room.environment.insert("HTTPS_PROXY".to_owned(), "http://10.0.0.1:3128".to_owned());
    for (grant, pass, expected) in [
        (Some("v1.a.b"), None, "http://bifrost:v1.a.b@10.0.0.1:3128\n"),
        (Some("v1.a.b"), Some("p1.a.b"), "http://bifrost:p1.a.b@10.0.0.1:3128\n"),
        (None, None, "http://10.0.0.1:3128\n"),
    ] {
        let mut lease = scene.lease(&remote, None, &["printenv", "HTTPS_PROXY"]);
        (lease.grant, lease.egress_pass) = (grant.map(str::to_owned), pass.map(str::to_owned));
        let (_, events) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(output(&events, Stream::Stdout), expected);
    }
}

#[tokio::test]
async fn a_set_up_that_fails_says_why_and_leaves_no_workspace() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let lease = scene.lease(&remote, Some("none"), &["true"]);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let completion = completion.expect("not lost");
    assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::UnknownReference)));
    assert!(completion.message.expect("a message").contains("no branch, tag or commit"));
    assert_eq!(finished(&events).failure, Some(Failure::UnknownReference));
    assert_eq!(phases(&events), [(Phase::Clone, None)]);
    assert_eq!(scene.room.volume.execution_ids().expect("lists"), []);
}

/// A mirror with work that nobody pushed, which is told of here, and without a blob of the remote's: git finds that out
/// when it checks the file out. The lease is on a commit that is known.
async fn without_a_blob() -> (Scene, Remote, Lease, Vec<KeptWork>) {
    // A spare would hide the damage: what it holds is not read from the mirror again.
    let mut scene = Scene::with(|config| config.limits.spares = 0).await;
    let remote = Remote::new().await;
    scene.run(&remote, "echo mine > mine").await;
    let kept = checkpoint::kept_work(&scene.room.volume).expect("lists");
    assert_eq!(kept.len(), 1);
    let blob = remote.git(&["rev-parse", "HEAD:README"]).await;
    let objects = scene.room.volume.mirror(&repository_name(&remote.url())).join("objects");
    std::fs::remove_file(objects.join(&blob[..2]).join(&blob[2..])).expect("a small fetch is kept loose");
    let head = remote.git(&["rev-parse", "HEAD"]).await;
    let lease = scene.lease(&remote, Some(&head), &["cat", "README"]);
    (scene, remote, lease, kept)
}

#[tokio::test]
async fn a_mirror_whose_objects_are_damaged_is_cloned_anew_with_what_nobody_pushed() {
    let (mut scene, remote, lease, kept) = without_a_blob().await;
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(completion.expect("not lost").outcome, Outcome::Succeeded);
    assert_eq!(output(&events, Stream::Stdout), "hello\n");
    assert!(kinds(&events).contains(&kind::VOLUME_DAMAGED));
    assert_eq!(checkpoint::kept_work(&scene.room.volume).expect("lists"), kept);
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    assert_eq!(git(&mirror, &["show", &format!("{}:mine", kept[0].reference)]).await, "mine");
}

#[tokio::test]
async fn a_mirror_whose_objects_are_damaged_is_put_back_where_the_remote_is_gone() {
    let (mut scene, remote, lease, kept) = without_a_blob().await;
    drop(remote);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(completion.expect("not lost").failure, Some(Failure::RepositoryNotFound));
    assert!(kinds(&events).contains(&kind::VOLUME_DAMAGED));
    assert_eq!(checkpoint::kept_work(&scene.room.volume).expect("lists"), kept);
    assert_eq!(names_below(&scene.room.volume.root().join("quarantine")).len(), 0);
}

#[tokio::test]
async fn a_command_sees_nothing_of_an_earlier_one_nor_the_runners_secrets() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let script =
        "echo s > secret; echo s > $HOME/secret; echo s > $TMPDIR/secret; git config user.name x; git branch b";
    scene.run(&remote, script).await;
    let (completion, events) = scene.run(&remote, "env; git branch --all; git config --list --local").await;
    assert_eq!(completion.outcome, Outcome::Succeeded);
    let said = output(&events, Stream::Stdout);
    assert!(!said.contains("the-machine-token") && !said.contains("BIFROST_MACHINE"), "{said}");
    assert!(!said.contains("user.name"), "{said}");
    assert!(!said.lines().any(|line| line.trim() == "b"), "{said}");
    assert!(said.contains("remotes/origin/main") && said.contains("CI=true"), "{said}");
    let left = names_below(scene.room.volume.root());
    assert_eq!(left.into_iter().filter(|path| path.ends_with("secret")).count(), 0);
    assert_eq!(scene.room.volume.execution_ids().expect("lists").len(), 1);
}

#[tokio::test]
async fn the_newest_five_of_seven_checkpoints_remain() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let mut saved = Vec::new();
    for round in 0..7 {
        scene.run(&remote, &format!("echo {round} > made")).await;
        saved.extend(scene.room.volume.checkpoint_ids().expect("lists").pop());
    }
    assert_eq!(scene.room.volume.checkpoint_ids().expect("lists"), saved[2..]);
    for id in &saved[2..] {
        checkpoint::verify(&scene.room.volume, *id).expect("whole");
    }
}

#[tokio::test]
async fn commits_that_nobody_pushed_are_kept_in_the_mirror() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    remote.git(&["config", "receive.denyCurrentBranch", "ignore"]).await;
    let commit = "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m";
    let script = format!("{commit} one; git branch keep; git push -q origin HEAD:refs/heads/pushed; {commit} two");
    let lease = scene.lease(&remote, None, &["sh", "-ec", &script]);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(completion.expect("not lost").outcome, Outcome::Succeeded, "{}", output(&events, Stream::Stderr));
    let mirror = scene.room.volume.mirror(&repository_name(&remote.url()));
    let wip = format!("refs/bifrost/wip/{}", lease.execution_id);
    assert_eq!(git(&mirror, &["log", "-1", "--format=%s", &wip]).await, "two");
    assert_eq!(git(&mirror, &["for-each-ref", "--format=%(refname)", "refs/bifrost/branches"]).await, "");
    // It stays when the workspace is gone and the mirror is fetched again.
    scene.run(&remote, "true").await;
    assert_eq!(git(&mirror, &["log", "-1", "--format=%s", &wip]).await, "two");
}

#[tokio::test]
async fn an_execution_that_is_called_off_before_its_command_ran_says_so() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    for (halt, expect) in [
        (Halt::Cancelled, Some(Outcome::Cancelled)),
        (Halt::Stopping, Some(Outcome::WorkerLost)),
        (Halt::LeaseLost, None),
    ] {
        let (commander, orders) = Orders::new();
        commander.halt(halt);
        let lease = scene.lease(&remote, None, &["true"]);
        let (completion, events) = scene.carry_out(&lease, orders).await;
        assert_eq!(completion.map(|completion| completion.outcome), expect);
        assert_eq!(events.is_empty(), expect.is_none(), "{halt:?}");
    }
}

#[tokio::test]
async fn a_lost_lease_ends_the_command_in_silence_but_saves_its_work() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let lease = scene.lease(&remote, None, &["sh", "-c", "echo work > made; echo ready; sleep 600"]);
    let (commander, orders) = Orders::new();
    let room = scene.room.clone();
    let (completion, events) = scene
        .watch(carry_out(&room, &lease, orders), |events| {
            if output(events, Stream::Stdout) == "ready\n" {
                commander.halt(Halt::LeaseLost);
            }
        })
        .await;
    assert_eq!(completion, None);
    assert_eq!(events.last().map(|event| event.kind.as_str()), Some(kind::EXECUTION_LOG));
    let saved = scene.room.volume.checkpoint_ids().expect("lists");
    assert_eq!(checkpoint::verify(&scene.room.volume, saved[0]).expect("whole").files, 1);
}

#[tokio::test]
async fn a_specification_that_should_have_been_refused_is() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let good = scene.lease(&remote, None, &["true"]);
    for (repository, reference, expect) in [
        ("ext::sh -c id", None, Failure::RepositoryNotFound),
        ("--upload-pack=id", None, Failure::RepositoryNotFound),
        (&good.spec.repository[..], Some("--all"), Failure::UnknownReference),
        (&good.spec.repository, Some("a b"), Failure::UnknownReference),
    ] {
        let mut lease = good.clone();
        lease.spec.repository = repository.to_owned();
        lease.spec.reference = reference.map(Into::into);
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(completion.expect("not lost").failure, Some(expect), "{repository} {reference:?}");
    }
}

#[tokio::test]
async fn what_a_killed_runner_left_is_saved_before_it_goes() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let lease = scene.lease(&remote, None, &["sh", "-c", "echo work > made; echo ready; sleep 600"]);
    let room = scene.room.clone();
    // Dropping the execution where it stands is what a kill does, but for the command itself.
    let cut_off = tokio::time::timeout(PATIENCE, async {
        let mut work = Box::pin(carry_out(&room, &lease, Orders::none()));
        let mut events = Vec::new();
        while output(&events, Stream::Stdout) != "ready\n" {
            tokio::select! {
                _ = &mut work => panic!("it sleeps"),
                Some(crate::record::Entry::Event(event)) = scene.entries.recv() => events.push(event),
            }
        }
    });
    cut_off.await.expect("it gets ready");
    drop(room);
    let mut scene = scene.reopened().await;
    let (completion, events) = scene.run(&remote, "ls").await;
    assert_eq!(completion.outcome, Outcome::Succeeded);
    assert_eq!(output(&events, Stream::Stdout), "README\nsrc\n");
    assert_eq!(kinds(&events).iter().filter(|kind| **kind == kind::CHECKPOINT_SAVED).count(), 2);
    let saved = scene.room.volume.checkpoint_ids().expect("lists");
    let manifest = checkpoint::verify(&scene.room.volume, saved[0]).expect("whole");
    assert_eq!((manifest.subject.execution_id, manifest.files), (lease.execution_id, 1));
}

/// An agent that is a shell script: it gets its prompt as its standard input.
const SCRIPTED: &str = r#"
[scripted]
program = "sh"
arguments = ["-s", "{session}"]
session = ["again-{}"]
environment = { FLAVOUR = "plain", KEY = "none" }
[[scripted.read]]
when = { "/type" = "say" }
says = "/text"
[[scripted.read]]
when = { "/type" = "end" }
session = "/session"
message = "/message"
input_tokens = ["/tokens"]
cost_dollars = "/cost"
ends = "/failed"
"#;

async fn ask(prompt: &str, session: Option<&str>) -> (Completion, Vec<Event>) {
    let scripted = |config: &mut crate::config::Config| {
        config.drivers = agent::driver::Drivers::built_in().and(SCRIPTED).expect("reads");
    };
    let (mut scene, remote) = (Scene::with(scripted).await, Remote::new().await);
    let mut lease = scene.lease(&remote, None, &[]);
    lease.spec.command = Vec::new();
    lease.spec.env = [("KEY".to_owned(), "mine".to_owned())].into();
    let (prompt, session) = (prompt.to_owned(), session.map(Into::into));
    lease.spec.agent = Some(wire::agent::AgentSpec { name: "scripted".into(), prompt, model: None, session });
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    (completion.expect("not lost"), events)
}

#[tokio::test]
async fn an_agent_reads_its_prompt_and_its_report_is_told() {
    let prompt = r#"
        echo '{"type":"say","text":"I look."}'
        echo "{\"type\":\"say\",\"text\":\"$FLAVOUR $KEY $1 $(cat README)\"}"
        echo made > made
        echo '{"type":"end","failed":false,"session":"s-9","message":"Done.","tokens":12,"cost":0.5}'
    "#;
    let (completion, events) = ask(prompt, Some("s-8")).await;
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    assert_eq!((completion.tokens, completion.cost_dollars.as_deref()), (Some(12), Some("0.5")));
    let shown = output(&events, Stream::Stdout);
    assert!(shown.starts_with("I look.\nplain mine again-s-8 "), "{shown}");
    let told = events.iter().find(|event| event.kind == kind::AGENT_REPORT).expect("told");
    let report: AgentReport = serde_json::from_str(told.payload.get()).expect("a report");
    assert_eq!((report.agent.as_str(), report.session.as_deref()), ("scripted", Some("s-9")));
    assert_eq!((report.input_tokens, report.cost_dollars.as_deref()), (12, Some("0.5")));
    assert!(kinds(&events).contains(&kind::CHECKPOINT_SAVED));
}

#[tokio::test]
async fn an_agent_is_given_its_key_and_nothing_else_that_runs_is() {
    let keyed = SCRIPTED.replace("[scripted]\n", "[scripted]\nkeys = [\"FRIENDS_WORD\"]\n");
    let config = |config: &mut crate::config::Config| {
        config.drivers = agent::driver::Drivers::built_in().and(&keyed).expect("reads");
        let vars = kit::Vars::from_pairs([("FRIENDS_WORD", "mellon-mellon")]);
        config.keys = agent::keys::Keys::of_environment(&vars, &config.drivers);
    };
    let look = "printf %s \"${FRIENDS_WORD:-nothing}\" | base64";
    let set_up = format!("[setup]\ncommands = [[\"sh\", \"-c\", '{look} >> seen']]\n");
    let (mut scene, remote) = (Scene::with(config).await, Remote::with(&[(".bifrost.toml", &set_up)]).await);
    let mut lease = scene.lease(&remote, None, &[]);
    let prompt = format!("{look} >> seen; echo $FRIENDS_WORD; echo '{{\"type\":\"end\",\"failed\":false}}'");
    let agent = wire::agent::AgentSpec { name: "scripted".into(), prompt, model: None, session: None };
    lease.spec.agent = Some(agent);
    let tests = ["sh", "-c", &format!("{look} >> seen; cat seen")].map(Into::into).to_vec();
    lease.spec.tests = Some(wire::test_report::TestsSpec { command: tests, format: None, report: None });
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    let said = output(&events, Stream::Stdout);
    // Base64 of "nothing", of the key, and of "nothing"; in clear it is told nobody.
    assert!(
        said.contains("[secret]\n") && said.ends_with("bm90aGluZw==\nbWVsbG9uLW1lbGxvbg==\nbm90aGluZw==\n"),
        "{said}"
    );
    for event in &events {
        assert!(!event.payload.get().contains("mellon"), "{}", event.payload.get());
    }
    // A task that says which it is to have is heard.
    lease = scene.lease(&remote, None, &[]);
    let prompt = format!("{look}; echo '{{\"type\":\"end\",\"failed\":false}}'");
    lease.spec.agent = Some(wire::agent::AgentSpec { name: "scripted".into(), prompt, model: None, session: None });
    lease.spec.env = [("FRIENDS_WORD".to_owned(), "nothing".to_owned())].into();
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert!(output(&events, Stream::Stdout).contains("bm90aGluZw=="));
}

#[tokio::test]
async fn an_agents_word_decides_not_only_its_exit() {
    let no_access = "echo '{\"type\":\"end\",\"failed\":true,\"message\":\"no access\"}'";
    let done = "echo '{\"type\":\"end\",\"failed\":false}'";
    let with_3 = "the command exited with code 3";
    for (prompt, outcome, message) in [
        (no_access.to_owned(), Outcome::Failed, Some("no access")),
        ("echo '{\"type\":\"end\",\"failed\":true}'; exit 3".to_owned(), Outcome::Failed, Some(with_3)),
        ("echo nothing".to_owned(), Outcome::Failed, Some("the agent ended without a result")),
        (format!("{done}; exit 3"), Outcome::Failed, Some(with_3)),
        (format!("{done}; exec sleep 600"), Outcome::Succeeded, None),
        (format!("{no_access}; exec sleep 600"), Outcome::Failed, Some("no access")),
    ] {
        let (completion, _) = ask(&prompt, None).await;
        assert_eq!((completion.outcome, completion.message.as_deref()), (outcome, message), "{prompt}");
    }
}

#[tokio::test]
async fn a_long_prompt_reaches_an_agent_that_reads_it_late() {
    let filler = "# filler\n".repeat(20_000);
    let prompt = format!("{filler}echo '{{\"type\":\"end\",\"failed\":false}}'");
    assert_eq!(ask(&prompt, None).await.0.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn an_agent_that_nobody_knows_is_refused_by_name() {
    let (mut scene, remote) = (Scene::new().await, Remote::new().await);
    let mut lease = scene.lease(&remote, None, &[]);
    lease.spec.command = Vec::new();
    lease.spec.agent =
        Some(wire::agent::AgentSpec { name: "nobody".into(), prompt: "x".into(), model: None, session: None });
    let completion = scene.carry_out(&lease, Orders::none()).await.0.expect("not lost");
    assert_eq!((completion.outcome, completion.failure), (Outcome::SetupFailed, Some(Failure::UnknownAgent)));
    assert!(completion.message.is_some_and(|message| message.contains("claude_code, codex")));
}
