//! A provisioning that is killed at any of its calls, before or after the provider
//! has carried it out, is taken up by the next process and comes to its end. So is
//! what comes of one whose row was abandoned meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use fly::{Machine, MachineState as At, NewMachine, NewVolume, Volume};
use kernel::{Ctx, Reconciler as _};
use pool::plan::Action;
use pool::{Answer, MachineProvider, Provision, Settings, SharedProvider, Watch, machines};
use tokio::sync::Notify;
use wire::machine::MachineState;

use crate::world::{World, migrations, provision, settings};

/// Longer than anything takes that nothing holds up: no machine is given up here for a process that starts slowly.
const BEATS: usize = 5;

/// Passes calls on, and does not return from one of them until it is told to.
#[derive(Debug)]
struct Killed {
    provider: SharedProvider,
    calls: AtomicUsize,
    at: usize,
    is_carried_out: bool,
    died: Notify,
    goes_on: Notify,
}

impl Killed {
    fn new(world: &World, at: usize, is_carried_out: bool) -> (Arc<Self>, Provision) {
        let killed = Arc::new(Self {
            provider: Arc::clone(&world.provider),
            calls: AtomicUsize::new(0),
            at,
            is_carried_out,
            died: Notify::new(),
            goes_on: Notify::new(),
        });
        let provider: SharedProvider = Arc::clone(&killed) as SharedProvider;
        let provision = provision(&provider, &world.settings, world.work());
        (killed, provision)
    }

    async fn wait(&self) {
        self.died.notify_one();
        self.goes_on.notified().await;
    }

    fn pass<'a, T: Send + 'a>(&'a self, call: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let is_last = self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
            if !is_last {
                return call.await;
            }
            if !self.is_carried_out {
                self.wait().await;
                return call.await;
            }
            let answer = call.await;
            self.wait().await;
            answer
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
    fn address(&self) -> String {
        self.provider.address()
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
    let (killed, provision) = Killed::new(world, at, is_carried_out);
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
            machines::destroy(&world.ctx, &world.work(), id, true).await.map(|_| 1).expect("ordered")
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
            for _ in 0..BEATS {
                world.beat().await;
                world.keep_up().await;
            }
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

/// What the first machine costs an hour, and all have cost this month.
async fn this_month(world: &World) -> (i64, i64) {
    let report = pool::money::report(&world.ctx, &world.settings).await.expect("adds up");
    let month = report.spending.iter().find(|spending| spending.period == wire::cost::Period::Month);
    (report.machines.first().map_or(0, |machine| machine.hourly_micros), month.expect("reported").spent_micros)
}

kernel::on_both! { migrations();
    async fn what_comes_of_a_creation_whose_row_was_abandoned_is_counted_and_reaped(ctx) {
        // Volumes are listed, one is made, and in the next step the machine.
        for (at, is_carried_out) in [(2, false), (2, true), (3, false), (3, true)] {
            let one = Settings { machines_max: 1, ..settings() };
            let mut world = World::with(&ctx, "", one).await;
            world.beat().await;
            world.apply(Action::Create).await;
            let id = world.row().await.id;
            let (killed, provision) = Killed::new(&world, at, is_carried_out);
            let what = format!("call {at}, carried out: {is_carried_out}");
            let steps = async {
                while world.rows().await.iter().any(|row| row.state == MachineState::Creating) {
                    provision.step_all(&ctx).await.expect("steps");
                }
            };
            let meanwhile = async {
                killed.died.notified().await;
                machines::abandon(&ctx, &world.work(), id, "it takes too long", false).await.expect("abandoned");
                let look = Watch::new(Arc::clone(&world.provider), Arc::clone(&world.settings));
                look.tick(&ctx).await.expect("looks");
                assert_eq!(world.apply(Action::Create).await, 0, "{what}: it may come yet");
                killed.goes_on.notify_one();
            };
            tokio::join!(steps, meanwhile);
            world.pass(TimeDelta::minutes(11)).await;
            world.skip_a_week().await;
            assert_eq!(world.there().await, (vec![], 0), "{what}");
            assert_eq!(world.apply(Action::Create).await, 1, "{what}");
            world.settle().await;
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn a_machine_that_nobody_knew_of_for_hours_has_cost_since_it_was_made_and_once(ctx) {
        for is_compared_first in [false, true] {
            let mut world = World::new(&ctx, "").await;
            world.beat().await;
            let before = this_month(&world).await.1;
            world.apply(Action::Create).await;
            assert!(killed_at(&world, 3, true).await);
            ctx.clock.advance(Duration::from_secs(8 * 3_600));
            if is_compared_first {
                world.watch.tick(&ctx).await.expect("compares");
            }
            world.settle().await;
            let (hourly, spent) = this_month(&world).await;
            assert!((hourly * 8..hourly * 9).contains(&(spent - before)), "{hourly} an hour, {before} to {spent}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn a_kill_at_any_call_leaves_one_machine_or_none(ctx) {
        for way in [Way::Up, Way::Sleep, Way::Wake, Way::Anew, Way::Down] {
            survives_every_kill(&ctx, way).await;
        }
    }
}
