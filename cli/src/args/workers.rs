//! What can be written after `bifrost workers`.

use clap::{Args, Subcommand};
use wire::id::WorkerId;

#[derive(Subcommand)]
pub(crate) enum WorkersCommand {
    /// List the registered workers
    #[command(after_help = super::help::machines::WORKERS_LIST)]
    List,
    /// Show one worker
    #[command(after_help = super::help::machines::WORKERS_SHOW)]
    Show {
        /// The worker's id
        id: WorkerId,
    },
    /// Register a worker that you run yourself; the pool's register by themselves
    #[command(after_help = super::help::machines::WORKERS_ADD)]
    Add {
        /// What kind of worker it is, such as claude_code
        worker_type: String,
        #[command(flatten)]
        about: AboutWorker,
    },
    /// Change such a worker; what is not named stays
    #[command(after_help = super::help::machines::WORKERS_UPDATE)]
    Update {
        /// The worker's id
        id: WorkerId,
        /// What kind of worker it is
        #[arg(long = "type", value_name = "TYPE")]
        worker_type: Option<String>,
        #[command(flatten)]
        about: AboutWorker,
    },
    /// Forget such a worker, which must have no work
    #[command(after_help = super::help::machines::WORKERS_REMOVE)]
    Remove {
        /// The worker's id
        id: WorkerId,
    },
    /// Say that such a worker is alive; after five silent minutes it is given nothing more
    #[command(after_help = super::help::machines::WORKERS_HEARTBEAT)]
    Heartbeat {
        /// The worker's id
        id: WorkerId,
        /// How many executions it has
        #[arg(long, value_name = "NUMBER")]
        load: Option<i32>,
    },
    /// List the workers that were silent for five minutes, and disable them
    #[command(after_help = super::help::machines::WORKERS_STALE)]
    Stale,
}

/// What can be said about a worker.
#[derive(Args)]
pub(crate) struct AboutWorker {
    /// How many executions it takes at once, 1 to 100 [default for a new one: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) capacity: Option<i32>,
    /// A type of agent whose work it takes; may be repeated [default for a new one: its own type]
    #[arg(long = "for", value_name = "AGENT_TYPE")]
    pub(crate) agent_types: Vec<String>,
    /// Anything else about it, as JSON
    #[arg(long, value_name = "JSON", value_parser = parse_json)]
    pub(crate) metadata: Option<serde_json::Value>,
}

fn parse_json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}
