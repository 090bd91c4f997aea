//! What can be written after `bifrost proposals`.

use std::path::PathBuf;

use clap::Subcommand;
use wire::id::TaskId;

#[derive(Subcommand)]
pub(crate) enum ProposalsCommand {
    /// List the proposals that wait for somebody, the newest first
    #[command(after_help = super::help::proposals::LIST)]
    List,
    /// Look for work in trackers and repositories, and propose what is new
    #[command(after_help = super::help::proposals::SCAN)]
    Scan {
        /// A TOML file that says where to look, or - for standard input
        file: PathBuf,
        /// Show what is found, and propose nothing
        #[arg(long)]
        dry_run: bool,
        /// Look again and again, with such a pause between, as in 1h, until it is ended
        #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds, conflicts_with = "dry_run")]
        every: Option<u64>,
    },
    /// Let proposed tasks start
    #[command(after_help = super::help::proposals::ACCEPT)]
    Accept {
        /// The tasks' ids
        #[arg(required = true, value_name = "TASK")]
        ids: Vec<TaskId>,
    },
}
