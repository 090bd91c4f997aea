//! The crash test: fifty tasks run, and as many are claimed, while the control plane, the event store, the
//! emulator and the runners are killed at random moments and started again at
//! once. Then everything that was acknowledged must have happened, once, and
//! nothing may be left over.

mod audit;
mod storm;

use kit::{Chance, Vars};
use world::{PATIENCE, Service, World};

use self::storm::{Storm, Target};

/// Repeats the kills of an earlier run, as far as two runs can be alike.
const SEED: &str = "BIFROST_TEST_SEED";

const APART: [Target; 5] = [
    Target::Program(Service::ControlPlane),
    Target::Program(Service::EventStore),
    Target::Program(Service::Emulator),
    Target::Runner,
    Target::Runner,
];
const TOGETHER: [Target; 2] = [Target::Program(Service::System), Target::Runner];

#[tokio::test]
async fn fifty_tasks_survive_a_hundred_kills() {
    let world = plan().start().await;
    ride_out(world, Storm { tasks: 50, claims: 50, kills: 100, targets: &APART }).await;
}

#[tokio::test]
async fn tasks_in_postgres_survive_kills_too() {
    let world = plan().on_postgres().start().await;
    ride_out(world, Storm { tasks: 15, claims: 30, kills: 30, targets: &APART }).await;
}

#[tokio::test]
async fn tasks_survive_kills_of_the_whole_system() {
    let world = plan().in_one_process().start().await;
    ride_out(world, Storm { tasks: 15, claims: 30, kills: 30, targets: &TOGETHER }).await;
}

fn plan() -> world::Plan {
    // A task may lose its worker any number of times here: it is not the task that kills it.
    World::plan().set("BIFROST_MAX_MACHINES", 4).set("BIFROST_WORKER_LOSSES_MAX", 1_000)
}

async fn ride_out(mut world: World, storm: Storm) {
    let mut vars = Vars::from_process();
    let seed: u64 = vars.or(SEED, u64::from_le_bytes(Chance::system().bytes()));
    vars.finish().expect("the seed is a number");
    say(&format!("to repeat these kills: {SEED}={seed}"));
    let acknowledged = storm.rage(&mut world, &Chance::seeded(seed)).await;
    world.until_up().await;
    audit::check(&world, &acknowledged, 2 * PATIENCE).await;
    world.finish().await;
}

/// For a person who wants to know why a run failed, or what it was like.
#[expect(clippy::print_stdout, reason = "the test's output is where that person looks")]
fn say(text: &str) {
    println!("{text}");
}
