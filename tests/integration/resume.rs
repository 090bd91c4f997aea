//! What a machine finds when it wakes: what it had (row FLY-031) or what has become of that (FLY-035), a clock that is
//! behind, and connections that are dead without a sign of it.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use kit::{Clock, Tasks};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::event::{StoredEvent, kind};
use wire::execution::Outcome;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{PATIENCE, Record, World, until};

use crate::checkpoints::of_volumes;
use crate::commands;

/// The poll that a suspended runner left open would be given up after forty seconds.
const AT_ONCE: Duration = Duration::from_secs(25);

#[tokio::test]
async fn a_runner_that_wakes_with_a_clock_behind_signs_and_tells_by_the_control_planes() {
    let world = World::start().await;
    // Twice what the event store takes, and never set right.
    world.let_fail("[[machine]]\neffect = { clock_lag = { by_ms = 600000 } }").await;
    let first = world.submit("true").await;
    world.until_task(first, TaskStatus::Completed).await;
    let machine = world.until_machine(MachineState::Suspended).await;

    let second = world.submit("echo awake").await;
    world.until_task(second, TaskStatus::Completed).await;
    world.until_output(second, "awake").await;
    let log = world.runner_log(&machine);
    let corrected = "the clock is corrected by the server's";
    assert!(log.contains(corrected), "{log}");
    assert!(!log.contains("signing by the event store's clock"), "it was refused first: {log}");
    let now = Clock::system().now();
    for event in world.record(second).await.events {
        assert!((now - event.created_at).abs().to_std().expect("positive") < PATIENCE, "{event:?} at {now}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_runner_that_wakes_on_dead_connections_opens_new_ones_at_once() {
    let (relay, tasks) = (Relay::open().await, Tasks::new());
    let world = World::plan().set("BIFROST_PUBLIC_URL", relay.url()).start().await;
    let deaden = relay.serve(&world.url(), &tasks);
    // What shows a runner that it was suspended.
    world.let_fail("[[machine]]\neffect = { clock_lag = { by_ms = 10000 } }").await;
    let first = world.submit("true").await;
    world.until_task(first, TaskStatus::Completed).await;
    world.until_machine(MachineState::Suspended).await;
    deaden.send_replace(());

    let second = world.submit("true").await;
    let ended = tokio::time::timeout(AT_ONCE, world.until_task(second, TaskStatus::Completed)).await;
    ended.expect("it does not wait for an answer that never comes");
    world.finish().await;
    tasks.stop_within(PATIENCE).await.expect("ends");
}

#[tokio::test]
async fn a_runner_that_slept_at_work_keeps_its_lease_over_new_connections() {
    let (relay, tasks) = (Relay::open().await, Tasks::new());
    let world = World::plan().set("BIFROST_PUBLIC_URL", relay.url()).start().await;
    let deaden = relay.serve(&world.url(), &tasks);
    world.let_fail("[[machine]]\neffect = { clock_lag = { by_ms = 10000 } }").await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let machine = world.until_machine(MachineState::Ready).await.provider_id.expect("it was made");
    let provider = world.provider();
    provider.suspend(world.app(), &machine).await.expect("suspended");
    deaden.send_replace(());
    provider.start(world.app(), &machine).await.expect("resumed");

    // Longer than the lease lasts without a heartbeat.
    let leases = tokio::time::Instant::now() + Duration::from_secs(6);
    until("a lease has passed", PATIENCE, async || (tokio::time::Instant::now() > leases).then_some(())).await;
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;
    let outcomes: Vec<_> = world.executions(task).await.iter().map(|execution| execution.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Succeeded)]);
    world.finish().await;
    tasks.stop_within(PATIENCE).await.expect("ends");
}

/// Its workspace is what a batch leaves on a machine.
const BATCH: &str = "test -f deps/installed || exit 9; echo mine > marker; echo changed > README.md";
const SETTINGS: &str = "[setup]\ncommands = [[\"sh\", \"-c\", \"test -f deps/installed || { mkdir deps; echo fresh > \
                        deps/installed; }\"]]\n[cache]\npaths = [\"deps\"]\n";

/// The events of a task that say what was found of a volume, or put back into it.
fn looked_after(record: &Record) -> Vec<(String, Value)> {
    let kinds = [kind::VOLUME_CHECKED, kind::VOLUME_DAMAGED, kind::CHECKPOINT_RESTORED];
    let of_volumes = record.events.iter().filter(|event| kinds.contains(&event.kind.as_str()));
    let payload = |event: &StoredEvent| serde_json::from_str(event.payload.get()).expect("is JSON");
    of_volumes.map(|event| (event.kind.clone(), payload(event))).collect()
}

/// The file that a task has left in its workspace.
fn marker(world: &World) -> PathBuf {
    let found = of_volumes(world, "/workspaces/", "/marker");
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[tokio::test]
async fn what_a_batch_left_is_there_when_its_machine_wakes() {
    let world = World::start().await;
    world.repository.commit(&[(".bifrost.toml", SETTINGS), (".gitignore", "deps\n")]).await;
    let first = world.submit(BATCH).await;
    world.until_task(first, TaskStatus::Completed).await;
    let machine = world.until_machine(MachineState::Suspended).await;
    let checkpoint =
        commands::json(&world, &["checkpoints", "list"]).await[0]["id"].as_str().expect("an id").to_owned();
    let left = std::fs::metadata(marker(&world)).expect("it is there while it sleeps");
    let look = "cat marker README.md deps/installed; stat -c %i marker";
    let woken = world.bifrost(&["checkpoints", "fork", &checkpoint, "--", "sh", "-c", look]).output().await;
    assert_eq!(woken.code, 0, "{}", woken.stderr);
    assert_eq!(woken.stdout, format!("mine\nchanged\nfresh\n{}\n", left.ino()), "the same file");
    assert!(woken.stderr.contains("clone: cached"), "{}", woken.stderr);
    let machines = world.control().machines().await.expect("lists");
    assert_eq!(machines.iter().map(|machine| machine.id).collect::<Vec<_>>(), [machine.id]);
    world.finish().await;
}

#[tokio::test]
async fn what_was_damaged_while_a_machine_slept_is_put_back_before_it_works_on() {
    let world = World::start().await;
    // What shows a runner that it was suspended.
    world.let_fail("[[machine]]\neffect = { clock_lag = { by_ms = 10000 } }").await;
    let first = world.submit("echo mine > marker").await;
    world.until_task(first, TaskStatus::Completed).await;
    world.until_machine(MachineState::Suspended).await;
    let before = looked_after(&world.record(first).await).len();
    std::fs::write(marker(&world), "not mine\n").expect("writes");
    let second = world.submit("true").await;
    world.until_task(second, TaskStatus::Completed).await;
    let found = until("it was looked at", PATIENCE, async || {
        let found = looked_after(&world.record(first).await).split_off(before);
        found.iter().any(|(kind, _)| kind == kind::VOLUME_CHECKED).then_some(found)
    })
    .await;
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, [kind::VOLUME_DAMAGED, kind::CHECKPOINT_RESTORED, kind::VOLUME_CHECKED]);
    assert_eq!(found[2].1, json!({ "health": "rolled_back" }));
    world.finish().await;
}

/// Stands between runners and the control plane.
struct Relay {
    listener: TcpListener,
    deaths: watch::Sender<()>,
}

impl Relay {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { listener, deaths: watch::Sender::new(()) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("it has one"))
    }

    /// Begins to carry; gives back what deadens: from then on nothing comes through the connections that there are,
    /// and neither end learns of it.
    fn serve(self, to: &str, tasks: &Tasks) -> watch::Sender<()> {
        let Self { listener, deaths } = self;
        let to = to.trim_start_matches("http://").to_owned();
        let (dead, connections) = (deaths.clone(), tasks.clone());
        tasks.spawn_until_stopped("relay", async move {
            loop {
                let (near, _) = listener.accept().await.expect("somebody connects");
                let far = TcpStream::connect(&to).await.expect("the control plane is there");
                connections.spawn_until_stopped("relayed", carry(near, far, dead.subscribe()));
            }
        });
        deaths
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut deaths: watch::Receiver<()>) {
    tokio::select! {
        carried = copy_bidirectional(&mut near, &mut far) => drop(carried),
        _ = deaths.changed() => std::future::pending().await,
    }
}
