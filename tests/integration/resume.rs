//! What a machine finds when it wakes: a clock that is behind, and connections that
//! are dead without a sign of it.

use std::time::Duration;

use kit::{Clock, Tasks};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire::execution::Outcome;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{PATIENCE, World, until};

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
