//! Agents on a person's computer are managed runtimes of the control plane, and are told what is triggered for them
//! (rows ORK-6.1 to ORK-6.5). Tests that need tmux have it in their names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use client::control::AuditFilter;
use serde_json::Value;
use wire::id::RuntimeId;
use wire::runtime::{
    Backend, Management, NewRuntime, NewTrigger, Pause, RuntimeState, RuntimeView, TriggerReason, TriggerState,
    TriggerView, Via,
};
use world::{CommandLine, Output, PATIENCE, Process, Service, World, until};

use crate::commands::json;

/// Whatever a shell would take for its own.
const WORDS: &str = "$(touch nope) ; `touch nope` \"quotes\" 'and' #{pid} \\ %s";
/// Says every line that it is told.
const ECHO: &str = "while read -r line; do printf 'got:%s\\n' \"$line\"; done";

/// A call of `bifrost agents`, whose tmux is the world's own.
fn agents(world: &World, arguments: &[&str]) -> CommandLine {
    let call = world.bifrost(&[&["agents"], arguments].concat());
    call.env("BIFROST_AGENTS_TMUX_SOCKET", world.directory().join("tmux"))
}

async fn done(call: CommandLine) -> Output {
    let output = call.output().await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    output
}

/// An agent that was started.
struct Agent {
    id: String,
    runtime: RuntimeView,
}

/// Starts a script with a terminal, and waits until it is registered.
async fn started(world: &World, options: &[&str], script: &str) -> Agent {
    start(world, agents(world, &[&["start", "--branch", "work"], options, &["--", "sh", "-c", script]].concat())).await
}

async fn start(world: &World, call: CommandLine) -> Agent {
    let id = done(call).await.stdout.trim().to_owned();
    let listed = json(world, &["agents", "list"]).await;
    assert_eq!(listed[0]["server"], world.url(), "{listed}");
    let runtime = until("it is registered", PATIENCE, async || {
        let listed = json(world, &["agents", "list"]).await;
        let runtime: RuntimeId = listed[0]["runtime"]["id"].as_str()?.parse().expect("is an id");
        world.control().runtime(runtime).await.ok()
    })
    .await;
    Agent { id, runtime }
}

async fn until_runtime(world: &World, id: RuntimeId, state: RuntimeState) -> RuntimeView {
    let what = format!("the runtime is {state}");
    until(&what, PATIENCE, async || world.control().runtime(id).await.ok().filter(|runtime| runtime.state == state))
        .await
}

async fn trigger(world: &World, id: RuntimeId, text: &str) -> TriggerView {
    let new = NewTrigger { text: text.into(), dedupe_key: None };
    world.control().trigger(id, &new).await.expect("is taken")
}

/// Waits until the trigger of this number stands so.
async fn until_trigger(world: &World, id: RuntimeId, number: i64, state: TriggerState) -> TriggerView {
    let what = format!("trigger {number} is {state}");
    until(&what, PATIENCE, async || {
        let triggers = world.control().triggers(id).await.ok()?;
        triggers.into_iter().find(|trigger| trigger.number == number && trigger.state == state)
    })
    .await
}

/// Waits until the agent has shown a line.
async fn until_shown(world: &World, agent: &Agent, line: &str) {
    until(line, PATIENCE, async || {
        let logs = done(agents(world, &["logs", &agent.id])).await;
        logs.stdout.lines().any(|shown| shown == line).then_some(())
    })
    .await;
}

/// The reason codes of a trigger's way, the first one first.
async fn reasons(world: &World, trigger: &TriggerView) -> Vec<String> {
    let filter = AuditFilter { entity_id: Some(trigger.id.to_string()), ..AuditFilter::default() };
    let page = world.control().audit(&filter).await.expect("is kept");
    page.entries.into_iter().rev().filter_map(|entry| entry.reason).collect()
}

async fn end(world: World, agent: &Agent) {
    done(agents(&world, &["kill", &agent.id])).await;
    until_runtime(&world, agent.runtime.id, RuntimeState::Gone).await;
    world.finish().await;
}

async fn tmux(world: &World, arguments: &[&str]) -> String {
    let mut command = kit::process::command("tmux");
    let output = command.arg("-S").arg(world.directory().join("tmux")).args(arguments).output().await.expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// No process of the world but its servers has the key in its environment, and none in its arguments.
fn assert_key_is_nowhere(world: &World, agent: &Agent) {
    let key = world.api_key();
    let read = |pid: i32, name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let has = |text: Vec<u8>| text.windows(key.len()).any(|window| window == key.as_bytes());
    let processes = world.processes();
    let pid = i32::try_from(agent.runtime.registered.pid).expect("is small");
    assert!(processes.iter().any(|process| process.pid == pid), "the agent is one of {processes:?}");
    for Process { pid, arguments, .. } in &processes {
        assert!(!has(read(*pid, "environ")) && !has(read(*pid, "cmdline")), "{arguments:?}");
    }
}

/// It is listed with all that is known of it, told literally, and said to be delivered when it has read.
async fn is_told(world: &World, agent: &Agent) {
    let id = agent.runtime.id;
    let asked = world.directory().join("words");
    fs::write(&asked, format!("{WORDS}\n")).expect("writes");
    let asked = asked.display().to_string();
    done(world.bifrost(&["runtimes", "trigger", &id.to_string(), &asked])).await;
    let told = until_trigger(world, id, 1, TriggerState::Delivered).await;
    assert_eq!((told.via, told.attempts, told.reason), (Some(Via::Terminal), 1, TriggerReason::Acknowledged));
    assert_eq!(reasons(world, &told).await, ["queued", "written", "acknowledged"]);
    until_shown(world, agent, &format!("got:{WORDS}")).await;
    let worktree = json(world, &["agents", "list"]).await[0]["worktree"].as_str().map(PathBuf::from);
    assert!(!worktree.expect("has one").join("nope").exists(), "no shell has read it");
    assert_eq!(world.control().runtime(id).await.expect("is there").read_cursor, 1);
    assert_key_is_nowhere(world, agent);
}

#[tokio::test]
async fn an_agent_in_a_pane_is_a_runtime_and_is_told_in_its_own_words_tmux() {
    let world = World::start().await;
    let task = world.submit("true").await;
    let agent = started(&world, &["--task", &task.to_string()], ECHO).await;
    let session = format!("fleet-{}", agent.id);
    let listed = json(&world, &["runtimes", "list"]).await;
    let known: NewRuntime = serde_json::from_value(only(&listed[0], &agent.runtime.registered)).expect("is one");
    let expect = NewRuntime {
        session_id: session.clone(),
        agent: "sh".into(),
        host: fs::read_to_string("/proc/sys/kernel/hostname").expect("has one").trim().to_owned(),
        pid: agent.runtime.registered.pid,
        backend: Backend::Tmux,
        target: format!("{session}:0.0"),
        management: Management::Managed,
        can_resume: false,
        task_id: Some(task),
    };
    assert_eq!(known, expect);
    assert_eq!((&listed[0]["state"], &listed[0]["waiting"]), (&Value::from("live"), &Value::from(0)));
    is_told(&world, &agent).await;
    let pane = tmux(&world, &["capture-pane", "-p", "-J", "-t", &format!("{session}:0.0")]).await;
    assert!(pane.contains(WORDS), "{pane}");
    let environments =
        tmux(&world, &["show-environment", "-g"]).await + &tmux(&world, &["show-environment", "-t", &session]).await;
    assert!(!environments.contains(&world.api_key()) && environments.contains("HOME="), "{environments}");
    end(world, &agent).await;
}

/// Of a listed runtime what its supervisor says of it.
fn only(listed: &Value, registered: &NewRuntime) -> Value {
    let fields = serde_json::to_value(registered).expect("is an object");
    let fields = fields.as_object().expect("is one").keys();
    fields.map(|field| (field.clone(), listed[field].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn an_agent_in_the_background_is_a_runtime_as_well() {
    let world = World::start().await;
    let agent = started(&world, &["--no-tmux"], ECHO).await;
    let NewRuntime { backend, target, task_id, .. } = &agent.runtime.registered;
    assert_eq!((*backend, *task_id), (Backend::Pty, None));
    assert!(target.starts_with("/dev/pts/"), "{target}");
    is_told(&world, &agent).await;
    end(world, &agent).await;
}

#[tokio::test]
async fn what_a_program_does_not_read_is_written_and_not_delivered_until_it_does() {
    let world = World::start().await;
    let agent = started(&world, &["--no-tmux"], &format!("{}; {ECHO}", world.gated("reads"))).await;
    let id = agent.runtime.id;
    until_shown(&world, &agent, "started").await;
    trigger(&world, id, "hello").await;
    let written = until_trigger(&world, id, 1, TriggerState::Written).await;
    assert_eq!((written.attempts, world.control().runtime(id).await.expect("is there").read_cursor), (1, 0));
    // What comes behind it waits for it.
    trigger(&world, id, "again").await;
    until("its supervisor has asked for more", PATIENCE, async || {
        let seen = world.control().runtime(id).await.ok()?.last_heartbeat_at;
        (seen > written.written_at?).then_some(())
    })
    .await;
    let waiting: Vec<_> = world.control().triggers(id).await.expect("lists").iter().map(|one| one.state).collect();
    assert_eq!(waiting, [TriggerState::Pending, TriggerState::Written]);
    world.open("reads");
    until_trigger(&world, id, 2, TriggerState::Delivered).await;
    until_shown(&world, &agent, "got:again").await;
    end(world, &agent).await;
}

#[tokio::test]
async fn an_agent_may_say_itself_what_it_has_read() {
    let world = World::start().await;
    let program = world.program().display().to_string();
    let acks = format!("{program} busy && echo heard; {program} agents ack --through 9; {program} agents ack");
    let says = format!("{}; {acks}; exec tail -f /dev/null", world.gated("acks"));
    let agent = started(&world, &["--no-tmux"], &says).await;
    trigger(&world, agent.runtime.id, "hello").await;
    until_trigger(&world, agent.runtime.id, 1, TriggerState::Written).await;
    world.open("acks");
    until_trigger(&world, agent.runtime.id, 1, TriggerState::Delivered).await;
    until_shown(&world, &agent, "read through 1").await;
    let logs = done(agents(&world, &["logs", &agent.id])).await.stdout;
    assert!(logs.contains("through: must be from 0 to 1"), "{logs}");
    // It says that it goes on to its runner, which is not who is told what it has read.
    assert!(logs.lines().any(|line| line == "heard"), "{logs}");
    let nobody = agents(&world, &["ack"]).output().await;
    assert_eq!(nobody.code, 64, "{}", nobody.stderr);
    assert!(nobody.stderr.contains("BIFROST_AGENT is not set"), "{}", nobody.stderr);
    end(world, &agent).await;
}

#[tokio::test]
async fn a_paused_runtime_queues_and_one_that_is_resumed_drains() {
    let world = World::start().await;
    let agent = started(&world, &["--no-tmux"], ECHO).await;
    let (id, control) = (agent.runtime.id, world.control());
    control.pause_runtime(id, &Pause { reason: "I work in there".into() }).await.expect("is paused");
    for text in ["one", "two"] {
        trigger(&world, id, text).await;
    }
    let forced = forced(&world, id).await;
    until_shown(&world, &agent, "got:now").await;
    // It was asked for after the others, and did not wait for them; they are told behind it.
    assert_eq!(until_trigger(&world, id, forced.number, TriggerState::Delivered).await.text, "now");
    assert_eq!(control.runtime(id).await.expect("is there").waiting, 2);
    control.resume_runtime(id).await.expect("is resumed");
    assert_eq!(until_trigger(&world, id, forced.number + 2, TriggerState::Delivered).await.text, "two");
    until_shown(&world, &agent, "got:two").await;
    end(world, &agent).await;
}

async fn forced(world: &World, id: RuntimeId) -> TriggerView {
    let asked = world.directory().join("forced");
    fs::write(&asked, "now").expect("writes");
    let (id, asked) = (id.to_string(), asked.display().to_string());
    let refused = world.bifrost(&["runtimes", "trigger", &id, &asked, "--force"]).output().await;
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    let forced = json(world, &["runtimes", "trigger", &id, &asked, "--force", "--reason", "it burns"]).await;
    serde_json::from_value(forced[0].clone()).expect("is one")
}

#[tokio::test]
async fn who_types_is_given_way_to_and_what_waits_for_that_is_in_the_audit() {
    let world = World::start().await;
    let rules = [("QUIET", "3600"), ("RECHECK", "1"), ("DEFER", "2")];
    let call = agents(&world, &["start", "--branch", "work", "--no-tmux", "--", "sh", "-c", ECHO]);
    let call =
        rules.iter().fold(call, |call, (name, value)| call.env(&format!("BIFROST_AGENTS_{name}_SECONDS"), value));
    let agent = start(&world, call).await;
    // As `bifrost agents attach` notes it.
    let root = json(&world, &["agents", "list"]).await[0]["worktree"].as_str().map(PathBuf::from).expect("has one");
    fs::write(root.parent().expect("has one").join(".agent/typed"), "").expect("writes");
    trigger(&world, agent.runtime.id, "hello").await;
    let told = until_trigger(&world, agent.runtime.id, 1, TriggerState::Delivered).await;
    let reasons = reasons(&world, &told).await;
    assert_eq!((reasons[0].as_str(), reasons[1].as_str()), ("queued", "human_typing"), "{reasons:?}");
    assert_eq!(reasons[reasons.len() - 2..], ["written", "acknowledged"], "{reasons:?}");
    assert!(told.ended_at.expect("has ended") - told.created_at >= chrono::TimeDelta::seconds(2));
    end(world, &agent).await;
}

#[tokio::test]
async fn nothing_is_typed_to_what_a_person_started() {
    let world = World::start().await;
    let theirs = NewRuntime {
        session_id: "mine".into(),
        agent: "codex".into(),
        host: "desk".into(),
        pid: 7,
        backend: Backend::Tmux,
        target: "main:0.0".into(),
        management: Management::Unmanaged,
        can_resume: false,
        task_id: None,
    };
    let runtime = world.control().register_runtime(&theirs).await.expect("is known");
    for _ in 0..2 {
        let new = NewTrigger { text: "hello".into(), dedupe_key: None };
        let refused = world.control().trigger(runtime.id, &new).await.expect_err("is refused");
        assert_eq!((refused.status(), refused.code()), (Some(409), Some("runtime_unmanaged")));
        assert!(refused.to_string().contains("bifrost agents start"), "{refused}");
    }
    assert_eq!(world.control().triggers(runtime.id).await.expect("lists"), []);
    world.finish().await;
}

#[tokio::test]
async fn a_runtime_ends_with_its_agent_and_so_does_what_waits_for_it() {
    let world = World::start().await;
    let agent = started(&world, &["--no-tmux"], &format!("{}; {ECHO}", world.gated("never"))).await;
    let id = agent.runtime.id;
    trigger(&world, id, "one").await;
    until_trigger(&world, id, 1, TriggerState::Written).await;
    trigger(&world, id, "two").await;
    let pid = i32::try_from(agent.runtime.registered.pid).expect("is small");
    world.processes().iter().find(|process| process.pid == pid).expect("it runs").kill();
    until_runtime(&world, id, RuntimeState::Gone).await;
    for number in [1, 2] {
        let failed = until_trigger(&world, id, number, TriggerState::Failed).await;
        assert_eq!(failed.reason, TriggerReason::RuntimeGone);
    }
    let late = world.control().trigger(id, &NewTrigger { text: "three".into(), dedupe_key: None }).await;
    assert_eq!(late.expect_err("is gone").code(), Some("runtime_gone"));
    world.finish().await;
}

#[tokio::test]
async fn a_runtime_is_gone_at_once_when_its_agent_is_killed_with_its_supervisor() {
    let world = World::start().await;
    let agent = started(&world, &["--no-tmux"], ECHO).await;
    done(agents(&world, &["kill", &agent.id, "--now"])).await;
    assert_eq!(world.control().runtime(agent.runtime.id).await.expect("is known").state, RuntimeState::Gone);
    world.finish().await;
}

#[tokio::test]
async fn an_agent_outlives_its_control_plane_and_is_told_when_that_is_back() {
    let mut world = World::start().await;
    let agent = started(&world, &["--no-tmux"], ECHO).await;
    let id = agent.runtime.id;
    world.kill(Service::ControlPlane).await;
    assert_eq!(json(&world, &["agents", "list"]).await[0]["status"], "running");
    world.run(Service::ControlPlane).await;
    trigger(&world, id, "hello").await;
    until_trigger(&world, id, 1, TriggerState::Delivered).await;
    // One that was forgotten is registered again, as the same.
    world.control().deregister_runtime(id).await.expect("is forgotten");
    until_runtime(&world, id, RuntimeState::Live).await;
    trigger(&world, id, "again").await;
    until_trigger(&world, id, 2, TriggerState::Delivered).await;
    until_shown(&world, &agent, "got:again").await;
    end(world, &agent).await;
}

/// Adds an agent called `slow` by the file that comes back: it notes its arguments and what it is told, and ends when
/// the gate `ends` is open.
fn slow_agent(world: &World) -> String {
    let at = |name: &str| world.directory().join(name).display().to_string();
    let script = format!(
        "#!/bin/sh\necho '{{\"session\": \"s-9\"}}'\necho \"$@\" >> {}\ncat >> {}\n{}\n\
         echo \"{{\\\"type\\\": \\\"end\\\", \\\"tokens\\\": $(wc -l < {})00}}\"\n",
        at("arguments"),
        at("told"),
        world.gated("ends"),
        at("arguments")
    );
    fs::write(at("agent"), script).expect("writes");
    fs::set_permissions(at("agent"), fs::Permissions::from_mode(0o755)).expect("sets");
    let driver = format!(
        "[slow]\nprogram = \"{}\"\narguments = [\"{{session}}\"]\nsession = [\"--session\", \"{{}}\"]\n\
         counts_session = true\n[[slow.read]]\nsession = \"/session\"\n[[slow.read]]\n\
         when = {{ \"/type\" = \"end\" }}\ninput_tokens = [\"/tokens\"]\ntotal = true\nends = \"succeeded\"\n",
        at("agent")
    );
    fs::write(at("drivers.toml"), driver).expect("writes");
    at("drivers.toml")
}

/// Starts a program that reads nothing in its terminal until it leaves, with a session in which its agent can be told.
async fn start_in_session(world: &World) -> Agent {
    let options = ["start", "--branch", "work", "--no-tmux", "--agent", "slow", "--session", "s-1"];
    let leaves = world.gated("leaves");
    let call = agents(world, &[&options[..], &["--", "sh", "-c", &leaves]].concat());
    start(world, call.env("BIFROST_AGENTS", slow_agent(world))).await
}

/// What the agent was given as arguments, and what it was told.
fn noted(world: &World) -> (String, String) {
    let read = |name: &str| fs::read_to_string(world.directory().join(name)).expect("is there");
    (read("arguments"), read("told"))
}

async fn until_succeeded(world: &World) {
    until("it has ended", PATIENCE, async || {
        (json(world, &["agents", "list"]).await[0]["status"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_reads_nothing_while_it_runs_is_told_by_its_session() {
    let world = World::start().await;
    let prompt = world.directory().join("prompt");
    fs::write(&prompt, "begin\n").expect("writes");
    let prompt = prompt.display().to_string();
    let call = agents(&world, &["start", "--branch", "work", "--no-tmux", "--agent", "slow", "--prompt", &prompt]);
    let agent = start(&world, call.env("BIFROST_AGENTS", slow_agent(&world))).await;
    let id = agent.runtime.id;
    assert!(!agent.runtime.registered.can_resume, "its session is not known yet");
    until_shown(&world, &agent, "started").await;
    trigger(&world, id, WORDS).await;
    assert_eq!(world.control().triggers(id).await.expect("lists")[0].state, TriggerState::Pending);
    world.open("ends");
    let told = until_trigger(&world, id, 1, TriggerState::Delivered).await;
    assert_eq!((told.via, told.attempts), (Some(Via::Resume), 1));
    assert_eq!(reasons(&world, &told).await, ["queued", "resumed", "acknowledged"]);
    assert_eq!(noted(&world), ("\n--session s-9\n".into(), format!("begin\n{WORDS}")));
    until_runtime(&world, id, RuntimeState::Gone).await;
    until_succeeded(&world).await;
    // Each of its two runs took a hundred, and it says what its session has taken.
    let report = &json(&world, &["agents", "list"]).await[0]["end"]["report"];
    assert_eq!(report["input_tokens"], 200, "{report}");
    world.finish().await;
}

#[tokio::test]
async fn an_agent_that_asks_waits_for_its_answer_and_goes_on_with_it() {
    let world = World::start().await;
    let (prompt, words) = (world.directory().join("prompt"), world.directory().join("words"));
    fs::write(&prompt, "ask Which colour?\nwrite NOTES {answer}\ncommit Paint it {answer}\nAll done.\n")
        .expect("writes");
    fs::write(&words, "light green\n").expect("writes");
    let prompt = prompt.display().to_string();
    let agent = start(
        &world,
        agents(&world, &["start", "--branch", "work", "--no-tmux", "--agent", "mock", "--prompt", &prompt]),
    )
    .await;
    until_shown(&world, &agent, "Which colour?").await;
    // Its turn has to be over: until then nobody reads.
    let sent = until("the answer is taken", PATIENCE, async || {
        let sent = agents(&world, &["send", &agent.id]).reading(&words).output().await;
        (sent.code == 0).then_some(sent)
    })
    .await;
    assert!(sent.stdout.contains("trigger 1 waits"), "{}", sent.stdout);
    let told = until_trigger(&world, agent.runtime.id, 1, TriggerState::Delivered).await;
    assert_eq!((told.via, told.text.as_str()), (Some(Via::Resume), "light green"));
    until_succeeded(&world).await;
    until_runtime(&world, agent.runtime.id, RuntimeState::Gone).await;
    assert_eq!(world.repository.git(&["log", "-1", "--format=%s", "work"]).await.trim(), "Paint it light green");
    assert_eq!(world.repository.git(&["show", "work:NOTES"]).await, "light green\n");
    let logs = done(agents(&world, &["logs", &agent.id, "--lines", "9"])).await.stdout;
    assert!(logs.ends_with("Which colour?\nAll done.\n"), "{logs}");
    world.finish().await;
}

#[tokio::test]
async fn a_question_that_nobody_answers_runs_into_the_agents_time() {
    let world = World::start().await;
    let prompt = world.directory().join("prompt");
    fs::write(&prompt, "ask Which colour?\n").expect("writes");
    let options = ["start", "--branch", "work", "--no-tmux", "--agent", "mock", "--timeout", "8s", "--prompt"];
    let agent = start(&world, agents(&world, &[&options[..], &[&prompt.display().to_string()]].concat())).await;
    until("it has ended", PATIENCE, async || {
        (json(&world, &["agents", "list"]).await[0]["status"] == "timed_out").then_some(())
    })
    .await;
    until_shown(&world, &agent, "Which colour?").await;
    until_shown(&world, &agent, "bifrost: nobody has answered its question in time").await;
    world.finish().await;
}

#[tokio::test]
async fn what_an_agent_did_not_read_in_its_terminal_is_given_to_its_session_when_it_has_ended() {
    let world = World::start().await;
    let agent = start_in_session(&world).await;
    let NewRuntime { session_id, agent: name, can_resume, .. } = &agent.runtime.registered;
    assert_eq!((session_id.as_str(), name.as_str(), *can_resume), ("s-1", "slow", true));
    until_shown(&world, &agent, "started").await;
    trigger(&world, agent.runtime.id, WORDS).await;
    until_trigger(&world, agent.runtime.id, 1, TriggerState::Written).await;
    world.open("ends");
    world.open("leaves");
    let told = until_trigger(&world, agent.runtime.id, 1, TriggerState::Delivered).await;
    assert_eq!(told.via, Some(Via::Resume));
    assert_eq!(reasons(&world, &told).await, ["queued", "written", "write_failed", "resumed", "acknowledged"]);
    assert_eq!(noted(&world), ("--session s-1\n".into(), WORDS.into()));
    until_succeeded(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn what_nobody_acknowledges_is_written_again_and_then_given_to_the_agents_session() {
    let world = World::plan().set("BIFROST_TRIGGER_ACK_SECONDS", 1).start().await;
    let agent = start_in_session(&world).await;
    let id = agent.runtime.id;
    until_shown(&world, &agent, "started").await;
    trigger(&world, id, WORDS).await;
    until("it was written as often as it may be", PATIENCE, async || {
        let trigger = world.control().triggers(id).await.ok()?.remove(0);
        (trigger.reason == TriggerReason::AckTimeout && trigger.attempts == 3).then_some(())
    })
    .await;
    // Two of its programs at once would each write down what the other does not know.
    assert!(!world.directory().join("arguments").exists(), "its session was taken up while it ran");
    world.open("ends");
    world.open("leaves");
    let told = until_trigger(&world, id, 1, TriggerState::Delivered).await;
    let reasons = reasons(&world, &told).await;
    let written: Vec<_> = reasons.iter().take_while(|reason| *reason != "write_failed").collect();
    assert_eq!(written[..4], ["queued", "written", "ack_timeout", "ack_timeout"], "{reasons:?}");
    assert_eq!(reasons[reasons.len() - 2..], ["resumed", "acknowledged"], "{reasons:?}");
    assert_eq!(noted(&world), ("--session s-1\n".into(), WORDS.into()));
    until_succeeded(&world).await;
    world.finish().await;
}

#[tokio::test]
async fn words_that_are_sent_while_a_session_is_taken_up_again_wait_for_it_and_whoever_sends_them_is_told_so() {
    let world = World::start().await;
    let agent = start_in_session(&world).await;
    let id = agent.runtime.id;
    until_shown(&world, &agent, "started").await;
    trigger(&world, id, WORDS).await;
    until_trigger(&world, id, 1, TriggerState::Written).await;
    world.open("leaves");
    until("its session is taken up again", PATIENCE, async || {
        world.directory().join("arguments").exists().then_some(())
    })
    .await;
    let words = world.directory().join("words");
    fs::write(&words, "and this\n").expect("writes");
    let said = done(agents(&world, &["send", &agent.id]).reading(&words)).await;
    assert!(said.stdout.contains("was sent nothing yet: trigger 2 waits"), "{}", said.stdout);
    let hint = format!("bifrost runtimes triggers {id}");
    assert!(said.stderr.contains(&hint) || !said.stderr.contains("see what"), "{}", said.stderr);
    world.open("ends");
    let told = until_trigger(&world, id, 2, TriggerState::Delivered).await;
    assert_eq!((told.via, told.text.as_str()), (Some(Via::Resume), "and this"));
    until_succeeded(&world).await;
    assert_eq!(noted(&world).1, format!("{WORDS}and this"));
    world.finish().await;
}

#[tokio::test]
async fn nothing_is_registered_where_nobody_asked_for_it() {
    let world = World::start().await;
    let started = agents(&world, &["start", "--branch", "work", "--no-tmux", "--no-register", "--", "sh", "-c", ECHO]);
    let id = done(started).await.stdout.trim().to_owned();
    let listed = json(&world, &["agents", "list"]).await;
    assert_eq!((listed[0].get("server"), listed[0].get("runtime")), (None, None), "{listed}");
    done(agents(&world, &["kill", &id])).await;
    assert_eq!(world.control().runtimes().await.expect("lists"), []);
    world.finish().await;
}
