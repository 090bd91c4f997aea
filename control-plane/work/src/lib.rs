//! Work: tasks, what they need of each other, their executions, the scheduler that matches them with workers,
//! and the leases under which workers carry them out.
//!
//! It promises that a task has one owner at a time (an execution is leased and
//! fenced), that nothing acknowledged is lost (a task whose worker was lost is
//! ready again, and that spends no attempt), and that every wait has a reason
//! that comes from the function that decided.

mod admission;
pub mod assignments;
pub mod budgets;
pub mod checkpoints;
pub mod claims;
mod critical_path;
pub mod dependencies;
pub mod executions;
mod forecast;
pub mod holds;
pub mod kept;
pub mod leases;
pub mod limits;
mod lost;
pub mod metadata;
pub mod outcomes;
pub mod prioritize;
pub mod projects;
pub mod proposals;
pub mod queue;
mod scheduler;
pub mod schedules;
mod settings;
pub mod split;
pub mod strategies;
pub mod tasks;
mod timers;

use kernel::{Migration, Sql};

pub use critical_path::critical_path;
pub use forecast::forecast;
pub use lost::LostWork;
pub use scheduler::{Arrivals, PlannerLoad, Scheduler, tell_waiting, why};
pub use settings::{Settings, micros_per_hour};
pub use timers::Timers;

/// This slice's tables.
pub const MIGRATIONS: &[Migration] = &[
    kernel::migration!("20261121000300_work_tasks_and_executions"),
    kernel::migration!("20261121000400_work_dependencies"),
    kernel::migration!("20261121000500_work_search"),
    kernel::migration!("20261121000600_work_metadata"),
    kernel::migration!("20261129002200_work_versions_and_parents"),
    kernel::migration!("20261129002300_work_failure_strategies"),
    kernel::migration!("20261129003100_work_conditions"),
    kernel::migration!("20261129003200_work_lists_and_search"),
    kernel::migration!("20261129006100_work_admission"),
    kernel::migration!("20261129006200_work_schedules"),
    kernel::migration!("20261129009500_work_claims"),
    kernel::migration!("20261129012000_work_checkpoints_and_tests"),
    kernel::migration!("20261129013000_work_tasks_of_projects_and_states"),
    kernel::migration!("20261129014000_work_short_searches"),
    kernel::migration!("20261129020000_work_pull_requests"),
    kernel::migration!("20261129021000_work_proposals"),
    kernel::migration!("20261129025000_work_own_keys"),
    kernel::migration!("20261129026000_work_spent_of_projects"),
    kernel::migration!("20261129027000_work_kept"),
    kernel::migration!("20261129028000_work_machine_rates"),
    kernel::migration!("20261130002800_work_bounds_of_executions"),
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
        critical_path::store::STATEMENTS,
        forecast::store::STATEMENTS,
        tasks::search::store::STATEMENTS,
        strategies::store::STATEMENTS,
        admission::store::STATEMENTS,
        holds::store::STATEMENTS,
        limits::store::STATEMENTS,
        budgets::store::STATEMENTS,
        projects::store::STATEMENTS,
        proposals::store::STATEMENTS,
        queue::store::STATEMENTS,
        schedules::store::STATEMENTS,
        checkpoints::store::STATEMENTS,
        kept::store::STATEMENTS,
    ]
    .concat()
}

#[cfg(test)]
mod tests;
