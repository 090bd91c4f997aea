//! What can be written after `bifrost runtimes`.

use std::path::PathBuf;

use clap::Subcommand;
use wire::id::RuntimeId;

#[derive(Subcommand)]
pub(crate) enum RuntimesCommand {
    /// List agents' terminals, and how they do
    #[command(after_help = super::help::runtimes::LIST)]
    List,
    /// Show what was to be typed to an agent, the newest first
    #[command(after_help = super::help::runtimes::TRIGGERS)]
    Triggers {
        /// The runtime's id
        id: RuntimeId,
    },
    /// Have words typed to an agent, when nobody else types there
    #[command(after_help = super::help::runtimes::TRIGGER)]
    Trigger {
        /// The runtime's id
        id: RuntimeId,
        /// The words: a file, or - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
        /// While words of the same key wait, or were read in the last ten minutes, these are none
        #[arg(long, value_name = "KEY", conflicts_with = "force")]
        dedupe: Option<String>,
        /// Whoever types there, and although the runtime is paused; --reason says why
        #[arg(long, requires = "reason")]
        force: bool,
    },
    /// Have nothing typed to an agent until it is resumed; words for it wait; --reason says why
    #[command(after_help = super::help::runtimes::PAUSE)]
    Pause {
        /// The runtime's id
        id: RuntimeId,
    },
    /// Have the words that wait typed
    #[command(after_help = super::help::runtimes::RESUME)]
    Resume {
        /// The runtime's id
        id: RuntimeId,
    },
    /// Say that a runtime has ended: what waits for it fails, and it stays in the list for a while, as gone
    #[command(after_help = super::help::runtimes::REMOVE)]
    Remove {
        /// The runtime's id
        id: RuntimeId,
    },
}
