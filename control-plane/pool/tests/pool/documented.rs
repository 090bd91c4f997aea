//! Every failure that is documented or known of Fly (platform notes §1.7 and §7),
//! as a row: when it strikes, and how the pool comes out of it.
//!
//! What is no single call's failure has a test of its own, here or where it belongs: a refused token (§1.7 401 and 403),
//! a lost snapshot and a lagging clock (§1.10; `tests/integration/resume.rs`), a host that is away, lists that lag
//! (§1.9), calls that hang (§7.2, `slow`), orphan volumes (§7.1, `orphans`), a machine stuck in `replacing` (§7.5,
//! `slow`), `wait` beyond a minute (§7.6, the client's tests), an image that is slow (§7.6, `slow`), rate limits (§7.11,
//! `fly::pace`), scaling (§7.13, `plan`), the body of a stop (§7.14, the client's), the cap (§7.15, `money`), sprites
//! (§7.16, `sprites`).
//!
//! The pool runs nothing in machines, so `exec` (§7.7) cannot fail it. Nor does it update machines: an update that ends
//! stopped (§7.5) is one that has stopped, whoever did it. `replaced` (§7.14) is what a machine's former version is:
//! `wait` alone says so, and what it would mean of a machine stands in the tests of `policy`.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use emulator::Script;
use fly::MachineState as At;
use kernel::{Ctx, Reconciler};
use pool::machines::{self, Machine};
use pool::plan::{Action, Demand, Outlook, Reason};
use wire::event::kind;
use wire::machine::MachineState;

use crate::fault::{
    TOO_LARGE, answering, delaying, dropping, failing, gone_app, lost_and_then_refused, machine, restarting, stopping,
};
use crate::world::{APP, World, migrations, one_region, settings, waiting};

/// What is going on when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    Create,
    Wake,
    Sleep,
    /// A step waits until it sleeps.
    WaitedSleep,
    Destroy,
}

impl During {
    const fn is_sleep(self) -> bool {
        matches!(self, Self::Sleep | Self::WaitedSleep)
    }
}

/// How the pool comes out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As if nothing had been: the same machine.
    Same,
    /// Another machine in the same region, in the same row.
    Anew,
    /// Another machine in the next region.
    Elsewhere,
    /// It sleeps on, as it is, and can be woken later.
    Asleep,
    /// Nothing is left, neither row nor machine nor volume.
    Nothing,
}

const REPLACED: &str = "deadline_exceeded: machine failed to reach desired state, suspended, currently replaced";
/// Failures that are our token's and no machine's.
pub(crate) const REFUSALS_OF_A_TOKEN: [&str; 2] = ["bad-token", "forbidden"];

fn rows() -> Vec<(During, String, End)> {
    use During::{Create, Destroy, Sleep, WaitedSleep, Wake};
    use End::{Anew, Asleep, Elsewhere, Nothing, Same};
    vec![
        // §1.7, in its order.
        (Create, failing("create_volume", "volume-capacity", 1), Elsewhere),
        (Create, failing("create_machine", "volume-not-found", 1), Anew),
        (Sleep, failing("read_machine", "invalid-machine-id", 1), Same),
        (Create, failing("create_machine", "region-quota", 1), Elsewhere),
        (Wake, failing("start", "region-quota", 1), Asleep),
        (Wake, failing("start", "not-found", 1), Anew),
        (Create, failing("create_machine", "flyd-timeout", 1), Same),
        (Create, failing("create_volume", "flyd-timeout", 1), Same),
        (Wake, failing("start", "flyd-timeout", 3), Same),
        (Create, failing("create_machine", "host-memory", 1), Elsewhere),
        (Create, failing("create_machine", "host-cpus", 1), Elsewhere),
        (Wake, failing("start", "host-memory", 1), Anew),
        (Wake, failing("start", "host-cpus", 1), Anew),
        (Create, failing("create_machine", "region-full", 1), Elsewhere),
        (Wake, failing("start", "region-full", 1), Asleep),
        (Wake, failing("start", "lease-held", 3), Same),
        (Sleep, failing("suspend", "lease-held", 2), Same),
        (Destroy, failing("destroy_machine", "lease-held", 3), Nothing),
        (Wake, failing("start", "host-drained", 1), Anew),
        (Wake, failing("start", "host-disabled", 1), Anew),
        (Create, failing("create_machine", "volume-host-full", 1), Anew),
        (Wake, failing("start", "still-active", 3), Same),
        (Wake, failing("start", "still-created", 3), Same),
        (Wake, failing("start", "being-replaced", 3), Same),
        (Create, failing("create_machine", "stale-secrets", 3), Same),
        (Create, failing("create_machine", "host-ips", 1), Elsewhere),
        (Wake, failing("start", "host-ips", 1), Anew),
        (Create, failing("create_machine", "concurrent-update", 1), Same),
        (Wake, failing("start", "concurrent-update", 3), Same),
        (Sleep, failing("suspend", "concurrent-update", 2), Same),
        (Destroy, failing("destroy_machine", "concurrent-update", 3), Nothing),
        (Sleep, failing("suspend", "stale-version", 2), Same),
        (Create, failing("create_machine", "no-candidate-host", 1), Elsewhere),
        (Wake, failing("start", "no-candidate-host", 1), Asleep),
        (Create, failing("create_machine", "machine-limit", 1), Nothing),
        (Wake, failing("start", "machine-limit", 1), Asleep),
        (Wake, answering("start", 402, "the organization is suspended", 1), Asleep),
        (Create, failing("create_app", "name-taken", 1), Same),
        (Create, failing("create_machine", "rate-limited", 2), Same),
        (Create, failing("list_volumes", "rate-limited", 2), Same),
        (Create, failing("create_machine", "internal", 1), Same),
        (Create, failing("create_volume", "internal", 1), Same),
        (Create, failing("create_machine", "bad-gateway", 1), Same),
        (Create, failing("create_machine", "unavailable", 1), Same),
        (Wake, failing("start", "unavailable", 4), Same),
        (Destroy, failing("destroy_machine", "internal", 4), Nothing),
        (Create, answering("create_machine", 400, "invalid_argument: no such guest", 1), Nothing),
        (Create, answering("create_machine", 422, "validation failed", 1), Nothing),
        (Create, answering("create_volume", 400, "invalid_argument: size", 1), Nothing),
        (Create, failing("create_machine", "host-drained", 1), Anew),
        (Create, failing("create_machine", "not-found", 3), Same),
        (Create, failing("create_volume", "rate-limited", 2), Same),
        (Wake, failing("start", "rate-limited", 3), Same),
        (Wake, failing("start", "internal", 3), Same),
        (Wake, failing("start", "bad-gateway", 3), Same),
        (Sleep, failing("suspend", "flyd-timeout", 2), Same),
        (Sleep, failing("suspend", "rate-limited", 2), Same),
        (Sleep, failing("suspend", "internal", 2), Same),
        (Sleep, failing("suspend", "bad-gateway", 2), Same),
        (Sleep, failing("suspend", "unavailable", 2), Same),
        (Sleep, failing("read_machine", "unavailable", 3), Same),
        (Sleep, failing("suspend", "not-found", 1), Anew),
        (Destroy, failing("destroy_machine", "flyd-timeout", 3), Nothing),
        (Destroy, failing("destroy_machine", "rate-limited", 3), Nothing),
        (Destroy, failing("destroy_machine", "not-found", 1), Nothing),
        (Destroy, failing("destroy_volume", "unavailable", 3), Nothing),
        (Create, failing("read_app", "unavailable", 3), Same),
        (Sleep, stopping(&failing("stop", "flyd-timeout", 3)), Same),
        (Sleep, stopping(&failing("stop", "lease-held", 2)), Same),
        (Sleep, stopping(&failing("stop", "concurrent-update", 2)), Same),
        (Sleep, stopping(&failing("stop", "stale-version", 2)), Same),
        (Sleep, stopping(&failing("stop", "host-disabled", 2)), Same),
        (Sleep, stopping(&failing("stop", "rate-limited", 2)), Same),
        (Sleep, stopping(&failing("stop", "internal", 3)), Same),
        (Sleep, stopping(&failing("stop", "bad-gateway", 3)), Same),
        (Sleep, stopping(&failing("stop", "unavailable", 3)), Same),
        (Sleep, stopping(&failing("stop", "not-found", 1)), Anew),
        (Create, restarting(&failing("restart", "flyd-timeout", 2)), Same),
        (Create, restarting(&failing("restart", "lease-held", 2)), Same),
        (Create, restarting(&failing("restart", "concurrent-update", 2)), Same),
        (Create, restarting(&failing("restart", "rate-limited", 2)), Same),
        (Create, restarting(&failing("restart", "internal", 2)), Same),
        (Create, restarting(&failing("restart", "bad-gateway", 2)), Same),
        (Create, restarting(&failing("restart", "unavailable", 2)), Same),
        (Create, restarting(&failing("restart", "not-found", 1)), Anew),
        (Create, restarting(&failing("restart", "host-memory", 1)), Anew),
        (Create, restarting(&failing("restart", "host-drained", 1)), Anew),
        // One whose boot has failed cannot be put to sleep either.
        (Create, restarting(&failing("restart", "region-full", 1)), Anew),
        // §1.4: a wait that succeeds, one that is over too early, of itself or said to be, and one that fails.
        (WaitedSleep, delaying("wait", 1), Same),
        (WaitedSleep, machine("{ stay_in = { state = 'suspending', for_ms = 1500 } }"), Same),
        (WaitedSleep, failing("wait", "flyd-timeout", 2), Same),
        (WaitedSleep, stopping(&failing("wait", "flyd-timeout", 2)), Same),
        (WaitedSleep, failing("wait", "rate-limited", 2), Same),
        (WaitedSleep, failing("wait", "internal", 2), Same),
        (WaitedSleep, failing("wait", "bad-gateway", 2), Same),
        (WaitedSleep, failing("wait", "unavailable", 2), Same),
        (WaitedSleep, answering("wait", 400, "invalid_argument: value must be inside range [1s, 1m0s]", 2), Same),
        (WaitedSleep, stopping(&failing("wait", "internal", 2)), Same),
        (WaitedSleep, failing("wait", "not-found", 1), Anew),
        // §7.14: somebody has given it another configuration meanwhile.
        (WaitedSleep, answering("wait", 408, REPLACED, 2), Same),
        (WaitedSleep, dropping("wait", "before"), Same),
        (WaitedSleep, dropping("wait", "after"), Same),
        // §7.2: an answer that is lost doubles nothing.
        (Create, dropping("create_machine", "after"), Same),
        (Create, dropping("create_machine", "before"), Same),
        (Create, dropping("create_volume", "after"), Same),
        (Create, dropping("create_volume", "before"), Same),
        (Wake, dropping("start", "after"), Same),
        (Wake, dropping("start", "before"), Same),
        (Sleep, dropping("suspend", "after"), Same),
        (Sleep, dropping("suspend", "before"), Same),
        (Sleep, stopping(&dropping("stop", "after")), Same),
        (Sleep, stopping(&dropping("stop", "before")), Same),
        (Create, restarting(&dropping("restart", "after")), Same),
        (Create, restarting(&dropping("restart", "before")), Same),
        (Destroy, dropping("destroy_machine", "after"), Nothing),
        (Destroy, dropping("destroy_volume", "after"), Nothing),
        // §7.3: a list lacks what was made, and its name leads to it.
        (Create, dropping("create_machine", "after") + "\n" + &machine("'unlisted'"), Same),
        (Create, lost_and_then_refused(), Same),
        // §1.3, §7.5, §7.12: stuck, failed for ever, destroyed before it is gone.
        (Create, machine("{ stick_in = 'starting' }"), Anew),
        (Create, machine("{ stick_in = 'created' }"), Anew),
        (Wake, machine("{ stick_in = 'starting' }"), Anew),
        (Sleep, machine("{ stick_in = 'suspending' }"), Anew),
        (Sleep, answering("suspend", 400, TOO_LARGE, 9) + "\n" + &machine("{ stick_in = 'stopping' }"), Anew),
        (Destroy, machine("{ stick_in = 'destroying' }"), Nothing),
        (Create, machine("'fail_to_boot'"), Same),
        // §7.9: a stale volume id.
        (Create, answering("create_machine", 400, "volume not found", 1), Anew),
        // §1.10, §7.12: a machine that cannot be suspended is stopped.
        (Sleep, answering("suspend", 400, TOO_LARGE, 9), Same),
        // §1.11: a volume that is still attached.
        (Destroy, answering("destroy_volume", 412, "failed_precondition: volume is attached", 3), Nothing),
        // §7.10: a lease runs out half-way; the pool itself takes none.
        (Wake, failing("start", "lease-lost", 2), Same),
        (Sleep, failing("suspend", "lease-lost", 2), Same),
        (Destroy, failing("destroy_machine", "lease-lost", 2), Nothing),
        // §7.17: the registry lags behind a push.
        (Create, failing("create_machine", "image-unknown", 3), Same),
        // §7.18: the app is corrupted. Every call answers 404, and nothing that is in it counts as gone.
        (Create, gone_app(12), Same),
        (Wake, gone_app(12), Same),
        (Sleep, gone_app(12), Same),
        (Destroy, gone_app(12), Nothing),
    ]
}

pub(crate) async fn strike(world: &mut World, during: During, script: &str) {
    if during == During::Create {
        return world.up().await;
    }
    world.up().await;
    if during == During::Wake {
        world.suspend().await;
    }
    world.script(script).await;
    match during {
        During::Wake => world.wake().await,
        During::Sleep | During::WaitedSleep => world.suspend().await,
        During::Destroy => world.destroy().await,
        During::Create => (),
    }
}

pub(crate) async fn check(world: &mut World, during: During, end: End) {
    let rows = world.rows().await;
    // One that had to be made anew is awake.
    let sleeps = (during.is_sleep() && end == End::Same) || end == End::Asleep;
    let wanted = if sleeps { MachineState::Suspended } else { MachineState::Ready };
    let found: Vec<_> =
        rows.iter().map(|row| (row.state, row.generation, row.region.as_deref().unwrap_or("none"))).collect();
    match end {
        End::Same | End::Asleep => assert_eq!(found, [(wanted, 0, "iad")]),
        End::Anew => assert_eq!(found, [(wanted, 1, "iad")]),
        End::Elsewhere => assert_eq!(found, [(wanted, 1, "ewr")]),
        End::Nothing => assert_eq!(found, []),
    }
    // Replaced volumes are kept for an hour.
    world.skip_an_hour().await;
    let (machines, volumes) = world.there().await;
    let count = usize::from(end != End::Nothing);
    assert_eq!((machines.len(), volumes), (count, count), "{machines:?}");
    if end == End::Elsewhere {
        assert_eq!(world.told(kind::REGION_RESTS).await.len(), 1);
    }
    if end == End::Asleep {
        assert!(rows[0].error.is_some(), "{rows:?}");
        world.wake().await;
        let row = world.row().await;
        assert_eq!((row.state, row.generation, row.error), (MachineState::Ready, 0, None));
    }
}

async fn come_out((during, script, end): &(During, String, End), ctx: Ctx) {
    let at_first = if *during == During::Create { script } else { "" };
    let settings = if *during == During::WaitedSleep { waiting() } else { settings() };
    let mut world = World::with(&ctx, at_first, settings).await;
    strike(&mut world, *during, script).await;
    assert!(world.has_every_fault_struck().await, "nothing failed");
    check(&mut world, *during, *end).await;
    world.stop().await;
}

/// The rows of one moment, each with a database of its own.
macro_rules! comes_out {
    ($($name:ident: $during:ident),*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn sqlite() {
                for row in rows().iter().filter(|(during, ..)| *during == During::$during) {
                    println!("{row:?}");
                    kernel::testing::with_sqlite(&migrations(), |ctx| come_out(row, ctx)).await;
                }
            }

            #[tokio::test]
            async fn postgres() {
                for row in rows().iter().filter(|(during, ..)| *during == During::$during) {
                    println!("{row:?}");
                    kernel::testing::with_postgres(&migrations(), |ctx| come_out(row, ctx)).await;
                }
            }
        }
    )*};
}

comes_out! {
    the_pool_comes_out_of_every_failure_of_a_creation: Create,
    the_pool_comes_out_of_every_failure_of_a_start: Wake,
    the_pool_comes_out_of_every_failure_of_a_suspension: Sleep,
    the_pool_comes_out_of_every_failure_of_a_wait: WaitedSleep,
    the_pool_comes_out_of_every_failure_of_a_destruction: Destroy
}

/// The emulator names the failures that it knows where it is asked for one that it does not know.
#[test]
fn every_failure_that_the_emulator_knows_is_in_a_row() {
    let refused = Script::from_toml(&failing("start", "no-such", 1)).expect_err("unknown").to_string();
    let (_, known) = refused.split_once("expected one of ").expect("names all");
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    let rows = rows();
    let named = rows.iter().flat_map(|(_, script, _)| script.split("failure = '").skip(1));
    let named = named.map(|rest| rest.split_once('\'').expect("ends").0);
    let named: BTreeSet<&str> = named.chain(REFUSALS_OF_A_TOKEN).collect();
    assert!(known.len() > 30, "{refused}");
    assert_eq!(known, named);
}

/// Whether the report of the costs says that the token is refused, and what to do about it.
async fn refused(world: &World) -> bool {
    let report = pool::money::report(&world.ctx, &world.settings).await.expect("adds up");
    let refusal = report.refusal_of_token();
    let says = |finding: &wire::cost::CostFinding| finding.message.contains("set FLY_API_TOKEN");
    assert!(refusal.is_none_or(says), "{refusal:?}");
    refusal.is_some()
}

kernel::on_both! { migrations();
    async fn a_refused_token_is_said_once_and_not_stormed_against(ctx) {
        for failure in REFUSALS_OF_A_TOKEN {
            let mut world = World::new(&ctx, &failing("create_volume", failure, 1)).await;
            let told = world.told(kind::PROVIDER_REFUSED).await.len();
            world.apply(Action::Create).await;
            world.beat().await;
            world.beat().await;
            assert_eq!(world.told(kind::PROVIDER_REFUSED).await.len(), told + 1, "{failure}");
            let now = world.ctx.now();
            let mut tx = world.ctx.begin("test").await.expect("begins");
            let view = machines::view(&mut tx, &world.settings, now).await.expect("looks");
            drop(tx);
            let closed = view.closed.expect("nothing can be made");
            assert!(closed.why.contains("set FLY_API_TOKEN") && closed.until > now, "{closed:?}");
            assert!(refused(&world).await, "{failure}");
            world.script(&failing("read_app", failure, 9)).await;
            assert_eq!(world.provision.step_all(&world.ctx).await.expect("looks"), 0, "nobody calls");
            ctx.clock.advance(std::time::Duration::from_secs(60));
            assert!(refused(&world).await, "also when it is time to try it again");
            world.pass(TimeDelta::seconds(40)).await;
            assert_eq!(world.told(kind::PROVIDER_REFUSED).await.len(), told + 1, "said once");
            world.script("").await;
            world.settle().await;
            assert_eq!(world.row().await.state, MachineState::Ready);
            assert!(!refused(&world).await, "{failure}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn a_token_that_may_read_and_not_change_anything_is_said_once_and_tried_ever_more_seldom(ctx) {
        for during in [During::Create, During::Wake, During::Destroy] {
            let mut world = World::new(&ctx, "").await;
            let told = world.told(kind::PROVIDER_REFUSED).await.len();
            if during != During::Create {
                world.up().await;
                world.suspend().await;
            }
            let writes = ["create_volume", "start", "destroy_machine"].map(|action| failing(action, "forbidden", 12));
            world.script(&writes.join("\n")).await;
            let (state, calm) = match during {
                During::Create => (MachineState::Creating, false),
                During::Wake => (MachineState::Resuming, false),
                _ => (MachineState::Destroying, true),
            };
            if calm {
                machines::destroy(&ctx, &world.work(), world.row().await.id, true).await.expect("ordered");
            } else {
                assert_eq!(world.plan(1).await.0.len(), 1, "{during:?}");
            }
            world.beat().await;
            let until = ctx.now() + TimeDelta::minutes(25);
            while ctx.now() < until {
                let row = world.row().await;
                assert_eq!(row.state, state, "it was asked a dozen times");
                assert!(row.error.as_ref().is_some_and(|error| error.contains("set FLY_API_TOKEN")), "{row:?}");
                assert!(refused(&world).await, "{during:?}");
                let mut tx = ctx.begin("test").await.expect("begins");
                let view = machines::view(&mut tx, &world.settings, ctx.now()).await.expect("looks");
                drop(tx);
                let demand = Demand { queued: 1, ..Demand::default() };
                let plan = pool::plan::plan(&view, &demand, (&*world.settings).into(), ctx.now());
                assert!(plan.actions.is_empty() && matches!(plan.outlook, Outlook::Trouble { .. }), "{during:?}: {plan:?}");
                world.beat().await;
            }
            assert_eq!(world.told(kind::PROVIDER_REFUSED).await.len(), told + 1, "said once: {during:?}");
            world.script("").await;
            world.settle().await;
            if !calm {
                let row = world.row().await;
                assert_eq!((row.state, row.error), (MachineState::Ready, None));
                world.destroy().await;
            }
            assert_eq!((world.rows().await, world.there().await), (vec![], (vec![], 0)));
            assert!(!refused(&world).await, "{during:?}");
            world.stop().await;
        }
    }

    async fn a_machine_that_is_woken_while_nothing_may_be_read_says_what_it_waits_for(ctx) {
        for failure in REFUSALS_OF_A_TOKEN {
            let mut world = World::new(&ctx, "").await;
            world.up().await;
            world.suspend().await;
            world.script(&format!("[[call]]\neffect = {{ failure = '{failure}' }}")).await;
            world.watch.tick(&ctx).await.expect("learns of it");
            machines::resume(&ctx, &world.settings, world.row().await.id).await.expect("ordered");
            assert_eq!(world.provision.step_all(&ctx).await.expect("looks"), 0, "nobody calls");
            let row = world.row().await;
            assert_eq!(row.state, MachineState::Resuming, "{failure}");
            assert!(row.error.as_ref().is_some_and(|error| error.contains("set FLY_API_TOKEN")), "{row:?}");
            world.script("").await;
            world.settle().await;
            let row = world.row().await;
            assert_eq!((row.state, row.error), (MachineState::Ready, None), "{failure}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn where_several_machines_wait_for_another_token_one_tries_it(ctx) {
        let mut world = World::new(&ctx, &failing("create_volume", "forbidden", 99)).await;
        for _ in 0..3 {
            world.apply(Action::Create).await;
        }
        world.beat().await;
        ctx.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(world.provision.step_all(&ctx).await.expect("steps"), 1);
        assert_eq!(world.provision.step_all(&ctx).await.expect("steps"), 0);
        world.script("").await;
        world.settle().await;
        assert_eq!(world.rows().await.len(), 3);
        world.stop().await;
    }

    async fn while_a_refused_token_is_tried_again_no_sleeper_is_replaced(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let before = world.row().await;
        world.script(&failing("create_volume", "forbidden", 99)).await;
        world.apply(Action::Create).await;
        world.beat().await;
        ctx.clock.advance(std::time::Duration::from_secs(60));
        assert_eq!(world.apply(Action::Retire(before.id, Reason::Age)).await, 0, "another could not be made");
        let after = machines::get(&ctx, before.id).await.expect("is there");
        assert_eq!((after.state, after.generation), (MachineState::Suspended, 0));
        world.stop().await;
    }

    async fn a_token_that_is_accepted_after_a_restart_goes_on_with_the_machine_that_waits(ctx) {
        let mut world = World::new(&ctx, &failing("create_volume", "forbidden", 99)).await;
        world.apply(Action::Create).await;
        world.beat().await;
        world.script("").await;
        let database = world.ctx.clone();
        world.start_on(&database);
        world.app.tick(&ctx).await.expect("asks");
        assert_eq!(world.plan(1).await.0, [], "it is coming");
        assert_eq!(world.provision.step_all(&ctx).await.expect("steps"), 1, "at once");
        world.settle().await;
        assert_eq!(world.rows().await.len(), 1);
        world.stop().await;
    }

    async fn a_lost_snapshot_is_noticed_and_the_machine_goes_on(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        world.script("[[machine]]\neffect = 'lose_snapshot'").await;
        world.boot_anew().await;
        world.wake().await;
        let row = world.row().await;
        assert_eq!((row.state, row.cold_starts, row.generation), (MachineState::Ready, 1, 0));
        assert_eq!(world.told(kind::MACHINE_COLD_START).await.len(), 1);
        world.script("").await;
        world.suspend().await;
        world.wake().await;
        assert_eq!(world.row().await.cold_starts, 1, "a snapshot that was kept is none");
        world.stop().await;
    }

    async fn a_host_that_is_away_costs_the_machine_and_not_its_row(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let name = world.row().await.name;
        world.script(&format!("[[machine]]\nwhen = {{ target = '{name}' }}\neffect = {{ host = 'unreachable' }}")).await;
        // Nobody hears its worker any more.
        ctx.clock.advance(std::time::Duration::from_secs(301));
        pool::workers::disable_stale(&ctx).await.expect("looks");
        world.are_workers_deaf = true;
        world.pass(TimeDelta::seconds(60)).await;
        assert_eq!(world.row().await.state, MachineState::Starting);
        world.are_workers_deaf = false;
        world.settle().await;
        let row = world.row().await;
        assert_eq!(row.state, MachineState::Ready);
        let (machines, _) = world.there().await;
        assert_eq!(machines, [(row.name, At::Started)]);
        world.stop().await;
    }

    async fn a_sleeper_whose_host_is_away_is_left_there_and_another_is_woken(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.up().await;
        for row in world.rows().await {
            world.apply(Action::Suspend(row.id)).await;
        }
        world.settle().await;
        let rows = world.rows().await;
        let [Action::Resume(first)] = world.plan(1).await.0[..] else { panic!("one is woken") };
        let away = rows.iter().find(|row| row.id == first).expect("is there");
        let other = rows.iter().find(|row| row.id != first).expect("is there");
        let script = format!("[[machine]]\nwhen = {{ target = '{}' }}\neffect = {{ host = 'unreachable' }}", away.name);
        world.script(&script).await;
        for _ in 0..4 {
            world.provision.step_all(&ctx).await.expect("steps");
            ctx.clock.advance(std::time::Duration::from_secs(1));
        }
        let left = machines::get(&ctx, first).await.expect("is there");
        assert_eq!((left.state, left.error.as_deref()), (MachineState::Suspended, Some("its host does not answer")));
        assert_eq!(world.plan(1).await.0, [Action::Resume(other.id)]);
        world.script("").await;
        world.settle().await;
        world.apply(Action::Resume(first)).await;
        world.settle().await;
        let after = machines::get(&ctx, first).await.expect("is there");
        assert_eq!((after.state, &after.provider_id, after.generation), (MachineState::Ready, &away.provider_id, 0));
        assert_eq!(after.volume_provider_id, away.volume_provider_id);
        world.stop().await;
    }

    async fn what_may_have_been_made_is_made_again_only_once_a_list_would_have_it(ctx) {
        let mut world = World::new(&ctx, "").await;
        for action in ["create_volume", "create_machine"] {
            world.beat().await;
            world.script(&dropping(action, "before")).await;
            world.apply(Action::Create).await;
            while world.row().await.failures == 0 {
                world.provision.step_all(&ctx).await.expect("steps");
            }
            let (row, volumes) = (world.row().await, world.there().await.1);
            assert_eq!(row.state, MachineState::Creating, "{action}");
            assert!(row.next_try_at - ctx.now() >= TimeDelta::seconds(2), "{action}: {row:?}");
            assert_eq!(volumes, usize::from(action == "create_machine"));
            world.settle().await;
            world.destroy().await;
        }
        world.stop().await;
    }

    async fn a_list_that_lags_behind_costs_no_machine(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let (before, volume) = (world.row().await, world.volume().await);
        for state in [MachineState::Ready, MachineState::Suspended] {
            world.script("[[machine]]\neffect = 'unlisted'").await;
            world.pass(TimeDelta::seconds(60)).await;
            world.script("").await;
            let row = world.row().await;
            assert_eq!((row.state, row.generation), (state, before.generation));
            world.suspend().await;
        }
        assert_eq!(world.volume().await, volume);
        world.stop().await;
    }

    async fn a_machine_that_is_gone_is_made_anew_with_its_volume(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let volume = world.volume().await;
        for is_asleep in [false, true] {
            if is_asleep {
                world.suspend().await;
            }
            let before = world.row().await;
            world.machines.destroy(APP, before.provider_id.as_deref().expect("runs"), true).await.expect("destroyed");
            world.beat().await;
            world.settle().await;
            let row = world.row().await;
            assert_eq!((row.id, row.generation), (before.id, before.generation + 1));
            assert_eq!(world.volume().await, volume, "with what is on it");
        }
        world.skip_an_hour().await;
        assert_eq!(world.there().await.1, 1);
        world.stop().await;
    }

    async fn where_every_region_is_full_nothing_is_made_until_the_first_has_rested(ctx) {
        let mut world = World::new(&ctx, "[[call]]\naction = 'create_machine'\neffect = { failure = 'region-full' }").await;
        world.up().await;
        assert_eq!(world.rows().await, []);
        assert_eq!(world.apply(Action::Create).await, 0, "both regions rest");
        let (machines, volumes) = world.there().await;
        assert_eq!(machines.len(), 0);
        world.script("").await;
        world.pass(TimeDelta::seconds(120)).await;
        world.up().await;
        assert_eq!(world.row().await.region.as_deref(), Some("iad"), "the first choice again");
        world.skip_an_hour().await;
        assert_eq!(world.there().await.1, 1, "{volumes} were there");
        world.stop().await;
    }

    async fn a_sleeper_that_is_refused_is_left_alone_and_woken_when_it_has_rested(ctx) {
        for (failure, minutes) in [("region-quota", 30), ("region-full", 2), ("machine-limit", 1)] {
            let mut world = World::with(&ctx, "", one_region()).await;
            world.up().await;
            world.suspend().await;
            let before = world.row().await;
            world.script(&failing("start", failure, 1)).await;
            assert_eq!(world.plan(1).await.0, [Action::Resume(before.id)], "{failure}");
            world.settle().await;
            let refused = world.row().await;
            let same = |row: &Machine| (row.provider_id.clone(), row.volume_provider_id.clone(), row.generation);
            assert_eq!((refused.state, same(&refused)), (MachineState::Suspended, same(&before)), "{failure}");
            if failure != "machine-limit" {
                let (actions, outlook) = world.plan(1).await;
                assert_eq!(actions, [], "{failure}");
                assert!(matches!(outlook, Outlook::Trouble { .. }), "{failure}: {outlook:?}");
            }
            ctx.clock.advance(std::time::Duration::from_secs(60 * minutes + 5));
            assert_eq!(world.plan(1).await.0, [Action::Resume(before.id)], "{failure}");
            world.settle().await;
            let after = world.row().await;
            assert_eq!((after.state, same(&after), after.refusals), (MachineState::Ready, same(&before), 0), "{failure}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn while_one_sleeper_rests_another_is_woken_or_made(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        world.suspend().await;
        let refused = world.row().await.id;
        world.script("[[call]]\naction = 'start'\neffect = { failure = 'region-full' }").await;
        world.wake().await;
        assert_eq!(world.plan(1).await.0, [Action::Create]);
        world.settle().await;
        let regions: Vec<_> = world.rows().await.into_iter().map(|row| (row.id == refused, row.region)).collect();
        assert_eq!(regions, [(true, Some("iad".to_owned())), (false, Some("ewr".to_owned()))]);
        world.stop().await;
    }

    async fn a_sleeper_is_woken_where_another_machine_could_not_be_made(ctx) {
        let mut world = World::with(&ctx, "", one_region()).await;
        world.up().await;
        world.suspend().await;
        let sleeper = world.row().await.id;
        world.script(&failing("create_volume", "volume-capacity", 9)).await;
        world.apply(Action::Create).await;
        world.settle().await;
        assert_eq!(world.told(kind::REGION_RESTS).await.len(), 1);
        assert_eq!(world.plan(1).await.0, [Action::Resume(sleeper)]);
        world.settle().await;
        assert_eq!(world.row().await.state, MachineState::Ready);
        world.stop().await;
    }

    async fn a_disk_waits_for_room_and_is_not_left_behind(ctx) {
        for (full, refusal) in [
            ("create_volume", failing("create_volume", "no-candidate-host", 99)),
            ("create_machine", failing("create_machine", "no-candidate-host", 99)),
            ("unpaid", answering("create_volume", 402, "no candidate host is paid for", 99)),
        ] {
            let mut world = World::new(&ctx, "").await;
            world.up().await;
            world.suspend().await;
            let before = world.row().await;
            world.script(&(failing("start", "host-memory", 1) + "\n" + &refusal)).await;
            assert_eq!(world.apply(Action::Resume(before.id)).await, 1);
            world.pass(TimeDelta::minutes(2)).await;
            world.skip_an_hour().await;
            let waits = world.row().await;
            assert_eq!((waits.state, waits.region.as_deref()), (MachineState::Creating, Some("iad")), "{full}");
            assert!(waits.error.is_some_and(|error| error.contains("candidate host")), "{full}");
            assert_eq!(world.there().await.1, 1, "{full}: it, or the copy of it");
            world.script("").await;
            world.settle().await;
            let after = world.row().await;
            let source = after.volume_source_id.clone();
            assert_eq!((after.state, source), (MachineState::Ready, before.volume_provider_id), "{full}");
            world.skip_an_hour().await;
            assert_eq!(world.there().await.1, 1, "{full}");
            world.destroy().await;
            world.stop().await;
        }
    }

    async fn one_bad_volume_holds_up_no_other_and_is_asked_for_ever_more_seldom(ctx) {
        let mut world = World::new(&ctx, "").await;
        world.up().await;
        let bad = world.volume().await.expect("has one");
        for _ in 0..2 {
            world.suspend().await;
            world.script("[[call]]\naction = 'start'\nwhen = { times = 1 }\neffect = { failure = 'host-memory' }").await;
            world.wake().await;
        }
        assert_eq!(world.there().await.1, 3, "two were replaced, the bad one first");
        let script = format!(
            "[[call]]\naction = 'destroy_volume'\nwhen = {{ target = '{bad}', times = 20 }}\n\
             effect = {{ answer = {{ status = 412, error = 'failed_precondition: volume is attached' }} }}"
        );
        world.script(&script).await;
        world.skip_an_hour().await;
        assert_eq!(world.there().await.1, 2, "the other is gone");
        world.pass(TimeDelta::minutes(30)).await;
        assert_eq!(world.there().await.1, 2, "nobody has asked twenty times");
        world.script("").await;
        world.skip_an_hour().await;
        assert_eq!(world.there().await.1, 1);
        world.stop().await;
    }

    async fn one_bad_machine_holds_up_no_other(ctx) {
        let mut world = World::with(&ctx, "", settings()).await;
        world.apply(Action::Create).await;
        let bad = world.row().await.name;
        ctx.clock.advance(std::time::Duration::from_secs(1));
        world.script(&format!("[[call]]\naction = 'create_machine'\nwhen = {{ target = '{bad}' }}\neffect = {{ failure = 'internal' }}")).await;
        world.apply(Action::Create).await;
        for _ in 0..12 {
            world.beat().await;
        }
        let states: Vec<_> = world.rows().await.into_iter().map(|row| row.state).collect();
        assert_eq!(states, [MachineState::Creating, MachineState::Ready]);
        world.stop().await;
    }
}
