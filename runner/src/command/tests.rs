//! Real processes, bounded by times that are short for a person and long for a machine.

use std::fs;
use std::path::Path;

use super::*;
use crate::agent::driver::Drivers;
use crate::agent::reading::{Taken, Verdict};
use crate::isolation::Demand;
use crate::orders::{Commander, Pulse};
use crate::record::Recorder;
use crate::testing::{PATIENCE, Scene, logs, output, subject, until};
use wire::agent::AgentUsage;
use wire::event::Event;

fn job(scene: &Scene, script: &str) -> Job {
    Job {
        arguments: ["sh", "-c", script].map(Into::into).into(),
        directory: scene.directory.path().to_owned(),
        environment: scene.room.environment.clone(),
        timeout: PATIENCE,
        idle_timeout: None,
        stall_timeout: None,
        grace: Duration::from_millis(200),
        hold: PATIENCE,
        agent_exit: PATIENCE,
        output_bytes: 1 << 30,
        input: None,
        stage: Arc::default(),
        has_terminal: false,
        signs: watch::channel(Signs::default()).1,
        isolation: scene.room.isolation.clone(),
        openings: Openings::default(),
        secrets: Secrets::default(),
    }
}

async fn run_job(scene: &mut Scene, mut job: Job, orders: Orders) -> (Ended, Vec<Event>) {
    let subject = subject();
    job.environment.insert(leftovers::MARK.into(), subject.execution_id.to_string());
    let mut story = Story::new(scene.room.recorder.clone(), subject, orders);
    scene.collect(async { run(&job, &mut story, None).await }).await
}

fn ended(cause: Cause, exit: Exit) -> Ended {
    Ended { exit, cause, truncated_bytes: 0 }
}

/// The process ids that the command printed.
fn pids(events: &[Event]) -> Vec<i32> {
    output(events, Stream::Stdout).split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

#[test]
fn every_end_has_one_outcome() {
    for (cause, exit, expect) in [
        (Cause::Itself, Exit::Code(0), Some(Outcome::Succeeded)),
        (Cause::Itself, Exit::Code(3), Some(Outcome::Failed)),
        (Cause::Itself, Exit::Signal(9), Some(Outcome::Failed)),
        (Cause::Concluded, Exit::Signal(15), Some(Outcome::Succeeded)),
        (Cause::Timeout, Exit::Code(0), Some(Outcome::TimedOut)),
        (Cause::IdleTimeout, Exit::Signal(15), Some(Outcome::IdleTimedOut)),
        (Cause::Stalled, Exit::Signal(15), Some(Outcome::Stalled)),
        (Cause::Halt(Halt::Cancelled), Exit::Code(0), Some(Outcome::Cancelled)),
        (Cause::Halt(Halt::Stopping), Exit::Signal(15), Some(Outcome::WorkerLost)),
        (Cause::Halt(Halt::LeaseLost), Exit::Code(0), None),
    ] {
        assert_eq!(outcome(cause, exit), expect, "{cause:?} {exit:?}");
    }
}

#[tokio::test]
async fn output_is_told_in_order_stream_by_stream_with_every_byte() {
    let mut scene = Scene::new().await;
    let script = r"printf 'a\n'; printf 'b\n' >&2; printf '\377\376\n' >&2; printf 'z\303\263\305\202w' ";
    let job = job(&scene, script);
    let (end, events) = run_job(&mut scene, job, Orders::none()).await;
    assert_eq!(end, ended(Cause::Itself, Exit::Code(0)));
    let logs = logs(&events);
    assert_eq!(logs.iter().map(|log| log.seq).collect::<Vec<_>>(), (0..logs.len() as u64).collect::<Vec<_>>());
    assert_eq!(output(&events, Stream::Stdout), "a\nzółw");
    let stderr: Vec<u8> =
        logs.iter().filter(|log| log.stream == Stream::Stderr).flat_map(|log| log.data.to_bytes()).collect();
    assert_eq!(stderr, b"b\n\xff\xfe\n");
}

#[tokio::test]
async fn a_flood_is_told_whole_up_to_the_limit_and_counted_beyond() {
    let mut scene = Scene::new().await;
    let script = "head -c 3000000 /dev/zero | tr '\\0' x";
    for (limit, told, truncated) in [(1 << 30, 3_000_000, 0), (1_000_000, 1_000_000, 2_000_000)] {
        let job = Job { output_bytes: limit, ..job(&scene, script) };
        let (end, events) = run_job(&mut scene, job, Orders::none()).await;
        assert_eq!((end.exit, end.truncated_bytes), (Exit::Code(0), truncated));
        assert_eq!(output(&events, Stream::Stdout).len(), told);
    }
}

#[tokio::test]
async fn a_command_ends_at_its_timeout_or_when_it_is_silent() {
    let mut scene = Scene::new().await;
    let short = Duration::from_millis(300);
    let by_term = Exit::Signal(15);
    let slow = Job { timeout: short, ..job(&scene, "while :; do echo x; sleep 0.05; done") };
    assert_eq!(run_job(&mut scene, slow, Orders::none()).await.0, ended(Cause::Timeout, by_term));
    let silent = Job { idle_timeout: Some(short), ..job(&scene, "echo x; sleep 60") };
    assert_eq!(run_job(&mut scene, silent, Orders::none()).await.0, ended(Cause::IdleTimeout, by_term));
    let talking = "for i in 1 2 3 4 5 6 7 8 9 10; do echo x; sleep 0.25; done";
    let talking = Job { idle_timeout: Some(Duration::from_secs(2)), ..job(&scene, talking) };
    assert_eq!(run_job(&mut scene, talking, Orders::none()).await.0, ended(Cause::Itself, Exit::Code(0)));
}

#[tokio::test]
async fn a_silent_command_is_not_idle_while_it_computes_or_data_comes_and_goes() {
    let mut scene = Scene::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    // A model that answers by a word now and then, and one that is asked and says nothing.
    let streaming = async {
        let (mut stream, _) = listener.accept().await.expect("it connects");
        let mut beat = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..15 {
            beat.tick().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"word\n").await.expect("it listens");
        }
    };
    let idle_timeout = Some(Duration::from_secs(2));
    let connected = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 >/dev/null");
    let bash = |script: &str| Job {
        arguments: ["bash", "-c", script].map(Into::into).into(),
        idle_timeout,
        ..job(&scene, "")
    };
    let (computes, listens) = (bash("timeout 3 sh -c 'while :; do :; done'; exit 0"), bash(&connected));
    let left = bash("(setsid timeout 3 sh -c 'while :; do :; done' &); sleep 3");
    let waits = bash(&connected);
    for job in [computes, left] {
        assert_eq!(run_job(&mut scene, job, Orders::none()).await.0, ended(Cause::Itself, Exit::Code(0)));
    }
    let ((end, _), ()) = tokio::join!(run_job(&mut scene, listens, Orders::none()), streaming);
    assert_eq!(end, ended(Cause::Itself, Exit::Code(0)));
    let silent = async {
        let held = listener.accept().await.expect("it connects");
        std::future::pending::<()>().await;
        drop(held);
    };
    tokio::select! {
        (end, _) = run_job(&mut scene, waits, Orders::none()) => {
            assert_eq!(end, ended(Cause::IdleTimeout, Exit::Signal(15)), "an open connection is no work");
        }
        () = silent => unreachable!("it says nothing for ever"),
    }
}

#[tokio::test]
async fn a_command_has_stalled_when_it_neither_speaks_nor_commits() {
    let mut scene = Scene::new().await;
    crate::testing::git(scene.directory.path(), &["init", "--quiet"]).await;
    let commit = "git -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m x";
    let stall_timeout = Some(Duration::from_secs(2));
    let back_and_forth = format!("{commit}; while :; do git checkout -q -B a; git reset -q --hard; sleep 0.5; done");
    for script in ["sleep 60", &back_and_forth] {
        let silent = Job { stall_timeout, timeout: Duration::from_secs(20), ..job(&scene, script) };
        let (end, _) = run_job(&mut scene, silent, Orders::none()).await;
        assert_eq!(end, ended(Cause::Stalled, Exit::Signal(15)), "{script}");
    }
    // The machine woke with its clock behind, and the runner knows better; files still get the machine's times.
    let clock = &scene.room.clock;
    assert!(clock.correct(&clock.correction(), chrono::TimeDelta::minutes(10)));
    // Each for longer than the timeout in all: one only speaks, one only commits, also in a worktree of its own.
    for script in [
        "for i in 1 2 3 4 5 6; do echo x; sleep 0.5; done".to_owned(),
        format!("for i in 1 2 3 4 5 6; do {commit}; sleep 0.5; done"),
        format!("git worktree add --quiet w && cd w && for i in 1 2 3 4 5 6; do {commit}; sleep 0.5; done"),
    ] {
        let busy = Job { stall_timeout, ..job(&scene, &script) };
        let (end, events) = run_job(&mut scene, busy, Orders::none()).await;
        assert_eq!(end, ended(Cause::Itself, Exit::Code(0)), "{script}: {events:?}");
    }
}

#[tokio::test]
async fn a_silent_command_that_says_it_goes_on_is_left_alone() {
    let mut scene = Scene::new().await;
    let channel = crate::channel::Channel::open(scene.directory.path()).expect("opens");
    let short = Some(Duration::from_secs(2));
    // By a word now and then, or by one that says for how long.
    for busy_for in [None, Some(Duration::from_secs(600))] {
        let job = Job { signs: channel.signs(), idle_timeout: short, stall_timeout: short, ..job(&scene, "sleep 4") };
        let mut beat = tokio::time::interval(Duration::from_millis(500));
        let busy = async {
            loop {
                beat.tick().await;
                crate::channel::say(&channel.path, busy_for, None).await.expect("is heard");
                if busy_for.is_some() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let work = run_job(&mut scene, job, Orders::none());
        tokio::select! {
            (end, _) = work => assert_eq!(end, ended(Cause::Itself, Exit::Code(0)), "{busy_for:?}"),
            () = channel.serve(Secrets::default()) => unreachable!("it serves for ever"),
            () = busy => unreachable!("it says so for ever"),
        }
    }
}

/// What the mock agent prints.
const ENDS: &str = r#"printf '{"type":"end","failed":false}\nsaid\n'"#;
const GOES_ON: &str = r#"printf '{"type":"end","failed":true}\n{"type":"say"}\n'"#;
const FAILS: &str = r#"echo '{"type":"end","failed":true}'"#;

/// Runs a script that prints what the mock agent prints; `meanwhile` once its log has a line.
async fn run_agent(scene: &mut Scene, job: Job, meanwhile: impl Future<Output = ()>) -> (Ended, Verdict, Vec<Event>) {
    let drivers = Drivers::built_in();
    let mut reading = Reading::new(drivers.get("mock").expect("known"), "mock", Taken::default());
    let mut story = Story::new(scene.room.recorder.clone(), subject(), Orders::none());
    let has_said = tokio::sync::Notify::new();
    let work = async {
        tokio::select! {
            ended = run(&job, &mut story, Some(&mut reading)) => ended,
            () = async { has_said.notified().await; meanwhile.await; std::future::pending().await } => unreachable!(),
        }
    };
    let look = |events: &[Event]| {
        if output(events, Stream::Stdout).contains("said") {
            has_said.notify_one();
        }
    };
    let (ended, events) = scene.watch(work, look).await;
    (ended, reading.conclude().verdict, events)
}

#[tokio::test]
async fn what_each_request_of_an_agent_took_is_told_when_it_says_so() {
    let mut scene = Scene::new().await;
    let script = r#"for n in 1 2 3; do echo "{\"type\":\"usage\",\"input_tokens\":$n,\"output_tokens\":1}"; done; echo '{"type":"end"}'"#;
    let job = job(&scene, script);
    let (_, _, events) = run_agent(&mut scene, job, std::future::pending()).await;
    let told = events.iter().filter(|event| event.kind == kind::AGENT_USAGE);
    let told: Vec<AgentUsage> = told.map(|event| serde_json::from_str(event.payload.get()).expect("usage")).collect();
    let of = |input_tokens| AgentUsage { agent: "mock".into(), input_tokens, output_tokens: 1 };
    assert_eq!(told, [of(1), of(2), of(3)]);
}

#[tokio::test]
async fn an_agent_that_does_not_exit_is_ended_and_what_it_had_said_counts() {
    let mut scene = Scene::new().await;
    let agent_exit = Duration::from_millis(300);
    let waits = "exec sleep 600";
    for (script, exit, verdict) in [
        (format!("{ENDS}; {waits}"), Exit::Signal(15), Verdict::Succeeded),
        (format!("{FAILS}; {waits}"), Exit::Signal(15), Verdict::Failed),
        (format!("trap '' TERM; {ENDS}; sleep 600"), Exit::Signal(9), Verdict::Succeeded),
        // It says of its being ended that it failed; and it goes on, and then comes to another end.
        (
            format!("late() {{ {FAILS}; exit 7; }}; trap late TERM; {ENDS}; sleep 600 & wait"),
            Exit::Code(7),
            Verdict::Succeeded,
        ),
        (format!("{GOES_ON}; sleep 1; {ENDS}; {waits}"), Exit::Signal(15), Verdict::Succeeded),
    ] {
        let job = Job { agent_exit, ..job(&scene, &script) };
        let (end, said, events) = run_agent(&mut scene, job, async {}).await;
        assert_eq!((end, said), (ended(Cause::Concluded, exit), verdict), "{script}: {events:?}");
        assert!(output(&events, Stream::Stderr).contains("has said how it ended and does not exit"), "{events:?}");
    }
    // Whatever time is over meanwhile, it is not for what was asked of it.
    let short = Duration::from_millis(300);
    let timed = Job { timeout: short, ..job(&scene, &format!("{ENDS}; {waits}")) };
    let (end, said, _) = run_agent(&mut scene, timed, async {}).await;
    assert_eq!((end.cause, said), (Cause::Concluded, Verdict::Succeeded));
    let goes_on = Job { timeout: short, ..job(&scene, &format!("{GOES_ON}; {waits}")) };
    assert_eq!(run_agent(&mut scene, goes_on, async {}).await.0.cause, Cause::Timeout);
}

#[tokio::test]
async fn an_agent_that_says_after_its_result_that_it_goes_on_is_left_alone() {
    let mut scene = Scene::new().await;
    let channel = crate::channel::Channel::open(scene.directory.path()).expect("opens");
    for busy in [None, Some(Duration::from_secs(600))] {
        let (signs, agent_exit) = (channel.signs(), Duration::from_secs(2));
        let job = Job { signs, agent_exit, ..job(&scene, &format!("{ENDS}; sleep 4")) };
        let mut beat = tokio::time::interval(Duration::from_millis(500));
        let says_so = async {
            loop {
                beat.tick().await;
                crate::channel::say(&channel.path, busy, None).await.expect("is heard");
                if busy.is_some() {
                    return;
                }
            }
        };
        tokio::select! {
            (end, said, _) = run_agent(&mut scene, job, says_so) => {
                assert_eq!((end, said), (ended(Cause::Itself, Exit::Code(0)), Verdict::Succeeded), "{busy:?}");
            }
            () = channel.serve(Secrets::default()) => unreachable!("it serves for ever"),
        }
    }
}

/// Runs the script, and calls it off when it has printed a line.
async fn cancel_when_ready(scene: &mut Scene, job: Job) -> (Ended, Vec<Event>) {
    let (commander, orders) = Orders::new();
    let mut story = Story::new(scene.room.recorder.clone(), subject(), orders);
    let work = async { run(&job, &mut story, None).await };
    let call_off = |events: &[Event]| {
        if output(events, Stream::Stdout).contains('\n') {
            commander.halt(Halt::Cancelled);
        }
    };
    scene.watch(work, call_off).await
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_is_killed_and_one_that_minds_it_may_tidy_up() {
    let mut scene = Scene::new().await;
    let cancelled = Cause::Halt(Halt::Cancelled);
    let deaf = job(&scene, "trap '' TERM; echo ready; while :; do sleep 60; done");
    assert_eq!(cancel_when_ready(&mut scene, deaf).await.0, ended(cancelled, Exit::Signal(9)));
    let script = "trap 'echo tidy; exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    let polite = Job { grace: PATIENCE, ..job(&scene, script) };
    let (end, events) = cancel_when_ready(&mut scene, polite).await;
    assert_eq!(end, ended(cancelled, Exit::Code(7)));
    assert_eq!(output(&events, Stream::Stdout), "ready\ntidy\n");
}

#[tokio::test]
async fn a_cancelled_command_takes_its_grandchildren_with_it() {
    let mut scene = Scene::new().await;
    // One in the group, one in a session of its own, one orphaned in a session of its own.
    let script = "sleep 600 & echo $!; setsid sleep 601 & echo $!; (setsid sleep 602 & echo $!); wait";
    let job = job(&scene, script);
    let (commander, orders) = Orders::new();
    let subject = subject();
    let mut story = Story::new(scene.room.recorder.clone(), subject, orders);
    let work = async { run(&job, &mut story, None).await };
    let (end, events) = scene
        .watch(work, |events| {
            if pids(events).len() == 3 {
                commander.halt(Halt::Cancelled);
            }
        })
        .await;
    assert_eq!(end.cause, Cause::Halt(Halt::Cancelled));
    let pids = pids(&events);
    assert_eq!(pids.len(), 3, "{pids:?}");
    assert_eq!(pids.into_iter().filter(|pid| leftovers::exists(*pid)).count(), 0);
}

#[tokio::test]
async fn a_background_process_neither_holds_the_end_up_nor_survives_it() {
    let mut scene = Scene::new().await;
    let job = job(&scene, "sleep 600 & echo $!; (setsid sleep 601 >/dev/null 2>&1 & echo $!)");
    let (end, events) = run_job(&mut scene, job, Orders::none()).await;
    assert_eq!(end, ended(Cause::Itself, Exit::Code(0)));
    let pids = pids(&events);
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert_eq!(pids.into_iter().filter(|pid| leftovers::exists(*pid)).count(), 0);
}

#[tokio::test]
async fn a_command_whose_output_nobody_takes_still_ends_in_time() {
    let scene = Scene::new().await;
    let (recorder, _entries) = Recorder::new(
        crate::testing::config(scene.directory.path()).machine_id,
        scene.room.clock.clone(),
        scene.room.chance.clone(),
    );
    let mut story = Story::new(recorder, subject(), Orders::none());
    let job = Job { timeout: Duration::from_secs(1), ..job(&scene, "exec yes 0123456789abcdef") };
    let run = run(&job, &mut story, None);
    let is_alive = || crate::testing::is_running("yes 0123456789abcdef");
    let gone = async {
        for wanted in [true, false] {
            until(async || is_alive() == wanted).await;
        }
    };
    // The queue stays full, so the last pieces cannot be told; but the command is gone.
    let ended = async {
        tokio::select! {
            _ = run => (),
            () = gone => (),
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the command is gone");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_gives_the_codes_of_a_shell() {
    let mut scene = Scene::new().await;
    fs::write(scene.directory.path().join("plain"), "x").expect("writes");
    for (name, code, words) in [("no-such-program", 127, "not found"), ("./plain", 126, "not executable")] {
        let job = Job { arguments: vec![name.into()], ..job(&scene, "") };
        let (end, events) = run_job(&mut scene, job, Orders::none()).await;
        assert_eq!(end, ended(Cause::Itself, Exit::Code(code)));
        let said = output(&events, Stream::Stderr);
        assert!(said.contains(name) && said.contains(words), "{said}");
    }
}

/// The most memory that this process has had, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("reads");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("is there");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn a_gigabyte_on_one_line_takes_little_memory() {
    const SAID: u64 = 1_000_000_000;
    const KEPT: u64 = 1 << 20;
    let mut scene = Scene::new().await;
    let before = peak_memory();
    let job = Job { output_bytes: KEPT, ..job(&scene, &format!("head -c {SAID} /dev/zero | tr '\\0' x")) };
    let (end, events) = run_job(&mut scene, job, Orders::none()).await;
    assert_eq!((end.exit, end.truncated_bytes), (Exit::Code(0), SAID - KEPT));
    assert_eq!(output(&events, Stream::Stdout).len() as u64, KEPT);
    let grown = peak_memory() - before;
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_secret_is_told_to_nobody() {
    let mut scene = Scene::new().await;
    let script = "printf 'it is hunter2-'; sleep 0.1; echo 'hunter2, and'; echo hunter2-hunter2 >&2; printf hunter2-";
    let job = Job { secrets: Secrets::new(["hunter2-hunter2"]), ..job(&scene, script) };
    let (_, events) = run_job(&mut scene, job, Orders::none()).await;
    assert_eq!(output(&events, Stream::Stdout), "it is [secret], and\nhunter2-");
    assert_eq!(output(&events, Stream::Stderr), "[secret]\n");
}

/// What a command meets whose machine may have slept: told of the doubt once it has said something, and answered as
/// soon as `answer` comes back.
async fn doubted(
    scene: &mut Scene,
    job: Job,
    answer: impl AsyncFnOnce(&Commander, &Pulse, &Path),
) -> (Ended, Vec<Event>) {
    let pulse = Arc::new(Pulse::default());
    let (commander, orders) = Orders::new();
    let subject = subject();
    let own = scene.room.volume.execution(subject.execution_id);
    let (said, mut hears) = watch::channel(false);
    let openings = Openings { execution: own.clone(), ..Openings::default() };
    let mut job = Job { isolation: Arc::new(Isolation::in_groups()), openings, ..job };
    job.environment.insert(leftovers::MARK.into(), subject.execution_id.to_string());
    let isolation = job.isolation.clone();
    let mut story = Story::new(scene.room.recorder.clone(), subject, orders.under(Arc::clone(&pulse)));
    let doubting = async {
        hears.wait_for(|said| *said).await.expect("says something");
        pulse.doubt();
        // It is asked once the command is held.
        pulse.wanted().await;
        answer(&commander, &pulse, &own).await;
        std::future::pending::<()>().await
    };
    let running = async {
        tokio::select! {
            ended = run(&job, &mut story, None) => ended,
            () = doubting => unreachable!("it waits for ever"),
        }
    };
    let done = scene
        .watch(running, |events| {
            said.send_replace(!output(events, Stream::Stdout).is_empty());
        })
        .await;
    blocking(move || isolation.disband(&own)).await;
    done
}

#[tokio::test]
async fn a_walled_command_whose_machine_slept_is_held_until_it_is_known_to_be_ours_and_loses_no_time() {
    let mut scene = Scene::with(|config| config.isolation = Demand::On).await;
    let (idle, place) = (Duration::from_millis(400), scene.directory.path().to_owned());
    let script = "echo a; until [ -e go ]; do sleep 0.02; done; echo b; touch went";
    for unanswered in [false, true] {
        for name in ["go", "went"] {
            fs::remove_file(place.join(name)).ok();
        }
        let hold = if unanswered { idle * 2 } else { PATIENCE };
        let job = Job { idle_timeout: Some(idle), hold, ..job(&scene, script) };
        let (end, events) = doubted(&mut scene, job, async |_, pulse, _| {
            fs::write(place.join("go"), "").expect("writes");
            if !unanswered {
                let since = Instant::now();
                until(async || since.elapsed() > idle * 2).await;
                assert!(!place.join("went").exists());
                pulse.heard(Instant::now());
            }
        })
        .await;
        assert_eq!(end, ended(Cause::Itself, Exit::Code(0)), "{unanswered}");
        assert_eq!(output(&events, Stream::Stdout), "a\nb\n");
    }
}

#[tokio::test]
async fn a_walled_command_that_was_lost_while_its_machine_slept_does_nothing_more() {
    let mut scene = Scene::with(|config| config.isolation = Demand::On).await;
    let went = scene.directory.path().join("went");
    let goes_on = "while :; do sleep 0.02; [ -e go ] && touch went; done";
    let script = format!("trap 'touch went' TERM; echo a; setsid sh -c '{goes_on}' & {goes_on}");
    let job = Job { grace: PATIENCE, ..job(&scene, &script) };
    let go = scene.directory.path().join("go");
    let (end, _) = doubted(&mut scene, job, async |commander, _, _| {
        fs::write(&go, "").expect("writes");
        commander.halt(Halt::LeaseLost);
    })
    .await;
    assert_eq!(end, ended(Cause::Halt(Halt::LeaseLost), Exit::Signal(9)));
    assert!(!went.exists());
}
