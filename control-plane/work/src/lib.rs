//! Work: tasks, what they need of each other, their executions, the scheduler that matches them with workers,
//! and the leases under which workers carry them out.
//!
//! It promises that a task has one owner at a time (an execution is leased and
//! fenced), that nothing acknowledged is lost (a task whose worker was lost is
//! ready again, and that spends no attempt), and that every wait has a reason
//! that comes from the function that decided.

pub mod assignments;
pub mod claims;
pub mod dependencies;
pub mod executions;
pub mod leases;
mod lost;
pub mod metadata;
pub mod outcomes;
pub mod prioritize;
mod scheduler;
mod settings;
pub mod split;
pub mod tasks;

use kernel::{Migration, Sql};

pub use lost::LostWork;
pub use scheduler::{Scheduler, why};
pub use settings::Settings;

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[
    kernel::migration!("20261121000300_work_tasks_and_executions"),
    kernel::migration!("20261121000400_work_dependencies"),
    kernel::migration!("20261121000500_work_search"),
    kernel::migration!("20261121000600_work_metadata"),
    kernel::migration!("20261129002200_work_versions_and_parents"),
    kernel::migration!("20261129003100_work_conditions"),
    kernel::migration!("20261129005200_work_claims"),
];

/// This slice's statements, for the test that prepares all of them.
pub fn statements() -> Vec<(&'static str, Sql)> {
    [
        tasks::store::STATEMENTS,
        dependencies::store::STATEMENTS,
        dependencies::places::store::STATEMENTS,
        executions::store::STATEMENTS,
        metadata::store::STATEMENTS,
        outcomes::store::STATEMENTS,
        assignments::store::STATEMENTS,
        prioritize::store::STATEMENTS,
    ]
    .concat()
}

#[cfg(test)]
mod tests;
