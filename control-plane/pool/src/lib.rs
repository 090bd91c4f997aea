//! The pool: machines, their volumes and the workers on them.
//!
//! It promises that there is no machine without a row and no row without a
//! machine for long (intent is written before the provider is called, and both
//! sides are compared afterwards), that never more machines exist than the cap
//! allows, and that a machine counts as capacity only once its worker has
//! reported in.
//!
//! [`plan`] decides, purely. [`machines::apply`] writes the decision down.
//! [`Provision`] carries it out and [`Watch`] notices what happened meanwhile.

mod app;
mod credentials;
pub mod forecast;
pub mod kept;
pub mod machines;
pub mod money;
pub mod orphans;
pub mod plan;
mod provider;
mod provision;
pub mod regions;
mod settings;
mod sprites;
pub mod warm;
mod watch;
pub mod workers;

use std::time::Duration;

use chrono::TimeDelta;
use kernel::{Ctx, Migration, Sql, migration};
use kit::backoff::Backoff;

pub use app::EnsureApp;
pub use credentials::Credentials;
pub use kept::{SharedWork, WorkOnDisks};
pub use money::Ledger;
pub use provider::{Answer, FlyMachines, MachineProvider, SharedProvider};
pub use provision::{Provision, policy as recovery};
pub use settings::{Provider, Settings, Sprites};
pub use sprites::{SPRITES_REGION, SpriteMachines};
pub use watch::Watch;
pub use workers::StaleWorkers;

/// Nudged when a worker may have something new to hear.
pub const WORKERS_NUDGE: &str = "workers";
/// Nudged when capacity may have changed, so that waiting work should be looked at.
pub const CAPACITY_NUDGE: &str = "scheduler";
/// Nudged when a worker was lost with whatever it was doing.
pub const LOST_NUDGE: &str = "lost-work";
/// Nudged when a machine goes with what is on its disk.
pub const DISKS_NUDGE: &str = "lost-checkpoints";

/// Waits between tries of what was refused and harms nobody meanwhile.
const SELDOM: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(3_600) };

/// How long to wait after so many refusals in a row; the first is 1.
fn ever_later(ctx: &Ctx, refusals: i32) -> TimeDelta {
    let wait = SELDOM.wait(u32::try_from(refusals).unwrap_or(u32::MAX), &ctx.chance);
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[
    migration!("20261121000200_pool_machines_volumes_workers"),
    migration!("20261129002100_pool_agent_types"),
    migration!("20261129005100_pool_worker_names"),
    migration!("20261129007100_pool_recovery"),
    migration!("20261129007200_pool_money"),
    migration!("20261129007300_pool_arrivals"),
    migration!("20261130001000_pool_kept_volumes"),
    migration!("20261130002000_pool_unforeseen_orphans"),
    migration!("20261130002100_pool_void_observation"),
    migration!("20261130002200_pool_refused_volumes"),
    migration!("20261130002300_pool_rests"),
    migration!("20261130002400_pool_former_images"),
    migration!("20261130002500_pool_refused_orphans"),
    migration!("20261130002600_pool_abandoned_creations"),
    migration!("20261130002700_pool_costly_orphans"),
];

/// This slice's statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    [
        machines::store::STATEMENTS,
        workers::store::STATEMENTS,
        orphans::store::STATEMENTS,
        kept::store::STATEMENTS,
        regions::store::STATEMENTS,
        money::STATEMENTS,
        forecast::STATEMENTS,
    ]
    .concat()
}
