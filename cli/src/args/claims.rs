//! What can be written after `bifrost claim`, `renew`, `complete` and `release`.

use clap::Args;
use wire::id::{ExecutionId, WorkerId};

use crate::duration::parse_seconds;

#[derive(Args)]
pub(crate) struct ClaimArguments {
    /// The name of the worker that claims; a new one is registered
    #[arg(long = "as", env = "BIFROST_WORKER", value_name = "NAME", default_value = "cli")]
    pub(crate) worker: String,
    /// A worker that was registered by hand, instead of a name
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker_id: Option<WorkerId>,
    /// What kind of agent works on it [default: agent]
    #[arg(long, value_name = "TYPE")]
    pub(crate) agent_type: Option<String>,
    /// At most so many tasks
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) limit: u32,
    /// How long the claim lasts unless it is renewed, such as 10m or 8h
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, default_value = "5m")]
    pub(crate) lease: u64,
    /// Only a task that carries this tag; several are all needed
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Also tasks with a spec, which the pool would run otherwise
    #[arg(long)]
    pub(crate) include_spec: bool,
    /// Wait where nothing is ready, for ever or as long as is said
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, num_args = 0..=1, require_equals = true,
          default_missing_value = "7d")]
    pub(crate) wait: Option<u64>,
}

#[derive(Args)]
pub(crate) struct RenewArguments {
    /// The execution's id, as the claim gave it
    pub(crate) execution: ExecutionId,
    /// How long it is to last from now on
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, default_value = "5m")]
    pub(crate) lease: u64,
}

#[derive(Args)]
pub(crate) struct CompleteArguments {
    /// The executions' ids, as `bifrost claim` or `bifrost tasks start` gave them
    #[arg(required = true, value_name = "EXECUTION")]
    pub(crate) executions: Vec<ExecutionId>,
    /// It did not end well
    #[arg(long)]
    pub(crate) failed: bool,
    /// What went wrong
    #[arg(long, value_name = "TEXT", requires = "failed")]
    pub(crate) message: Option<String>,
    /// What it cost, in dollars
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) cost: Option<String>,
    /// Tokens of models that it used
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<i64>,
}

#[derive(Args)]
pub(crate) struct ReleaseArguments {
    /// The execution's id, as the claim gave it
    pub(crate) execution: ExecutionId,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
