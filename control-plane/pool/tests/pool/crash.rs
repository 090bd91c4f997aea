//! A provisioning that is killed at any of its calls, before or after the provider
//! has carried it out, is taken up by the next process and comes to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fly::{Machine, MachineState as At, NewMachine, NewVolume, Volume};
use kernel::Ctx;
use pool::plan::Action;
use pool::{Answer, MachineProvider, SharedProvider};
use tokio::sync::Notify;
use wire::machine::MachineState;

use crate::world::{World, migrations, provision};

/// Passes calls on, and at one of them never returns.
#[derive(Debug)]
struct Killed {
    provider: SharedProvider,
    calls: AtomicUsize,
    at: usize,
    is_carried_out: bool,
    died: Notify,
}

impl Killed {
    fn pass<'a, T: Send + 'a>(&'a self, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let is_last = self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
            if !is_last {
                return call.await;
            }
            if self.is_carried_out {
                drop(call.await);
            }
            self.died.notify_one();
            std::future::pending().await
        })
    }
}

impl MachineProvider for Killed {
    fn name(&self) -> &'static str {
        self.provider.name()
    }
    fn token_cure(&self) -> &'static str {
        self.provider.token_cure()
    }
    fn prepare(&self) -> Answer<'_, ()> {
        self.provider.prepare()
    }
    fn has_volumes(&self) -> bool {
        self.provider.has_volumes()
    }
    fn machines(&self) -> Answer<'_, Vec<Machine>> {
        self.pass(self.provider.machines())
    }
    fn machine<'a>(&'a self, id: &'a str) -> Answer<'a, Machine> {
        self.pass(self.provider.machine(id))
    }
    fn create_machine<'a>(&'a self, new: &'a NewMachine) -> Answer<'a, Machine> {
        self.pass(self.provider.create_machine(new))
    }
    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.start(id))
    }
    fn suspend<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.suspend(id))
    }
    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.stop(id))
    }
    fn restart<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.restart(id))
    }
    fn wait<'a>(&'a self, id: &'a str, state: At, limit: Duration) -> Answer<'a, ()> {
        self.pass(self.provider.wait(id, state, limit))
    }
    fn destroy<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.destroy(id))
    }
    fn volumes(&self) -> Answer<'_, Vec<Volume>> {
        self.pass(self.provider.volumes())
    }
    fn create_volume<'a>(&'a self, new: &'a NewVolume) -> Answer<'a, Volume> {
        self.pass(self.provider.create_volume(new))
    }
    fn destroy_volume<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass(self.provider.destroy_volume(id))
    }
}

/// Runs steps until the given call, and drops them there; says whether it came to that call.
async fn killed_at(world: &World, at: usize, is_carried_out: bool) -> bool {
    let killed = Arc::new(Killed {
        provider: Arc::clone(&world.provider),
        calls: AtomicUsize::new(0),
        at,
        is_carried_out,
        died: Notify::new(),
    });
    let provider: SharedProvider = Arc::clone(&killed) as SharedProvider;
    let provision = provision(&provider, &world.settings, world.work());
    for _ in 0..6 {
        tokio::select! {
            stepped = provision.step_all(&world.ctx) => {
                stepped.expect("steps are recorded");
            }
            () = killed.died.notified() => return true,
        }
        world.ctx.clock.advance(Duration::from_secs(2));
    }
    false
}

/// What is under way when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Sleep,
    Wake,
    Anew,
    Down,
}

async fn begin(world: &mut World, way: Way) {
    if way != Way::Up {
        world.up().await;
    }
    if matches!(way, Way::Wake | Way::Anew) {
        world.suspend().await;
    }
    let id = world.rows().await.first().map(|row| row.id);
    match (way, id) {
        (Way::Sleep, Some(id)) => world.apply(Action::Suspend(id)).await,
        (Way::Wake, Some(id)) => world.apply(Action::Resume(id)).await,
        (Way::Anew, Some(id)) => world.apply(Action::Retire(id, pool::plan::Reason::Age)).await,
        (Way::Down, Some(id)) => {
            pool::machines::destroy(&world.ctx, &world.work(), id, true).await.map(|_| 1).expect("ordered")
        }
        _ => world.apply(Action::Create).await,
    };
}

async fn survives_every_kill(ctx: &Ctx, way: Way) {
    for is_carried_out in [false, true] {
        for at in 1.. {
            let mut world = World::new(ctx, "").await;
            begin(&mut world, way).await;
            let was_killed = killed_at(&world, at, is_carried_out).await;
            world.settle().await;
            let states: Vec<_> = world.rows().await.into_iter().map(|row| row.state).collect();
            let (machines, volumes) = world.there().await;
            let what = format!("{way:?} killed at call {at}, carried out: {is_carried_out}");
            match way {
                Way::Down => assert_eq!((states.as_slice(), machines.len(), volumes), ([].as_slice(), 0, 0), "{what}"),
                Way::Sleep => assert_eq!(
                    (states.as_slice(), machines.len(), volumes),
                    ([MachineState::Suspended].as_slice(), 1, 1),
                    "{what}"
                ),
                Way::Up | Way::Wake | Way::Anew => assert_eq!(
                    (states.as_slice(), machines.len(), volumes),
                    ([MachineState::Ready].as_slice(), 1, 1),
                    "{what}"
                ),
            }
            if !states.is_empty() {
                world.destroy().await;
            }
            world.stop().await;
            if !was_killed {
                assert!(at > 1, "{way:?} makes calls");
                break;
            }
        }
    }
}

kernel::on_both! { migrations();
    async fn a_kill_at_any_call_leaves_one_machine_or_none(ctx) {
        for way in [Way::Up, Way::Sleep, Way::Wake, Way::Anew, Way::Down] {
            survives_every_kill(&ctx, way).await;
        }
    }
}
