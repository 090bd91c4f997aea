//! Sprites in place of machines: the real runner, which the sprite itself starts.

use emulator::sprites::Seen;
use fly::SpriteStatus;
use wire::event::kind;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use world::{PATIENCE, Process, World, until};

/// Waits until the only sprite stands so.
async fn until_sprite(world: &World, status: SpriteStatus) -> Seen {
    until(&format!("a sprite is {status:?}"), PATIENCE, async || {
        world.sprites().seen().into_iter().find(|sprite| sprite.status == status)
    })
    .await
}

async fn runs(world: &World, word: &str) {
    let task = world.submit(&format!("echo {word}; cat README.md")).await;
    let ended = world.until_task(task, TaskStatus::Completed).await;
    let execution = ended.execution.expect("it had one").id;
    let expect = format!("{word}\nA repository to run things in.\n");
    until("the record is whole", PATIENCE, async || {
        let record = world.record(task).await;
        let is_whole = record.count(kind::EXECUTION_FINISHED) == 1 && record.output_of(execution).stdout == expect;
        is_whole.then_some(())
    })
    .await;
}

/// How the kernel says that the sprite's runner stands: `T` is stopped.
fn runner_state(world: &World) -> Option<String> {
    let is_runner =
        |process: &Process| process.arguments.first().is_some_and(|word| word.ends_with("/bin/bifrost-runner"));
    let runner = world.processes().into_iter().find(is_runner)?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", runner.pid)).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().next().map(str::to_owned)
}

#[tokio::test]
async fn tasks_run_in_a_sprite_that_sleeps_between_them_and_wakes_with_its_processes_or_without() {
    let world = World::plan().on_sprites().start().await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let seen = until_sprite(&world, SpriteStatus::Running).await;
    let starts = |seen: &Seen| seen.service.as_ref().map(|(_, starts)| *starts);
    assert_eq!(starts(&seen), Some(1));
    until("the runner has prolonged the hold that the control plane took", PATIENCE, async || {
        let seen = world.sprites().seen();
        (seen[0].holds == [("bifrost".to_owned(), "5m".to_owned())]).then_some(())
    })
    .await;
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;

    // Warm: nothing in it moves until it is woken, and then it is the same runner.
    until_sprite(&world, SpriteStatus::Warm).await;
    let machine = world.until_machine(MachineState::Suspended).await;
    // Whoever waits for a processor stops when it has one.
    until("the runner stands still", PATIENCE, async || (runner_state(&world).as_deref() == Some("T")).then_some(()))
        .await;
    runs(&world, "second").await;
    until_sprite(&world, SpriteStatus::Warm).await;
    let again = world.until_machine(MachineState::Suspended).await;
    assert_eq!((again.id, again.cold_starts), (machine.id, 0));
    assert_eq!(starts(&world.sprites().seen()[0]), Some(1));

    // Cold: its processes are gone, and the sprite starts the runner anew.
    world.sprites().grow_cold(&seen.name).await;
    assert_eq!(runner_state(&world), None);
    runs(&world, "third").await;
    until_sprite(&world, SpriteStatus::Warm).await;
    let last = world.until_machine(MachineState::Suspended).await;
    assert_eq!((last.id, last.cold_starts), (machine.id, 1));
    let seen = world.sprites().seen();
    assert_eq!((seen.len(), starts(&seen[0])), (1, Some(2)));
    world.finish().await;
}

#[tokio::test]
async fn a_sprite_that_nobody_needs_is_destroyed() {
    let world = World::plan().on_sprites().set("BIFROST_DESTROY_AFTER_SECONDS", 1).start().await;
    runs(&world, "once").await;
    let control = world.control();
    until("nothing is left", PATIENCE, async || {
        let rows = control.machines().await.expect("lists");
        let rows = rows.iter().filter(|machine| machine.state != MachineState::Destroyed).count();
        ((rows, world.sprites().seen().len()) == (0, 0)).then_some(())
    })
    .await;
    world.finish().await;
}
