//! What can be written after `bifrost strategies`.

use std::path::PathBuf;

use clap::Subcommand;
use wire::id::FailureStrategyId;

#[derive(Subcommand)]
pub(crate) enum StrategiesCommand {
    /// List the failure strategies, by name
    #[command(after_help = super::help::strategies::LIST)]
    List,
    /// Show one failure strategy
    #[command(after_help = super::help::strategies::SHOW)]
    Show {
        /// Its id
        id: FailureStrategyId,
    },
    /// Make a failure strategy
    #[command(after_help = super::help::strategies::ADD)]
    Add {
        /// A file with the strategy in JSON, or - for standard input
        file: PathBuf,
    },
    /// Change a failure strategy; what the file does not name stays
    #[command(after_help = super::help::strategies::UPDATE)]
    Update {
        /// Its id
        id: FailureStrategyId,
        /// A file with the changes in JSON, or - for standard input
        file: PathBuf,
    },
    /// Delete a failure strategy; tasks that name it fail without one
    #[command(after_help = super::help::strategies::DELETE)]
    Delete {
        /// Its id
        id: FailureStrategyId,
    },
}
