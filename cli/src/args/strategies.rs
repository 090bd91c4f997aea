//! What can be written after `bifrost strategies`.

use std::path::PathBuf;

use clap::Subcommand;
use wire::id::FailureStrategyId;

#[derive(Subcommand)]
pub(crate) enum StrategiesCommand {
    /// List the failure strategies, by name
    List,
    /// Show one failure strategy
    Show {
        /// Its id
        id: FailureStrategyId,
    },
    /// Make a failure strategy
    Add {
        /// A file with the strategy in JSON, or - for standard input
        file: PathBuf,
    },
    /// Change a failure strategy; what the file does not name stays
    Update {
        /// Its id
        id: FailureStrategyId,
        /// A file with the changes in JSON, or - for standard input
        file: PathBuf,
    },
    /// Delete a failure strategy; tasks that name it fail without one
    Delete {
        /// Its id
        id: FailureStrategyId,
    },
}
