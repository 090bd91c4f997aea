//! What can be written after `bifrost checkpoints` and `bifrost tests`.

use clap::{Args, Subcommand};
use wire::id::{CheckpointId, TaskId};

use super::RunArguments;

#[derive(Subcommand)]
pub(crate) enum CheckpointsCommand {
    /// List what machines have saved of workspaces, the newest first
    #[command(after_help = super::help::machines::CHECKPOINTS_LIST)]
    List {
        /// Only of this task's attempts
        #[arg(value_name = "TASK")]
        task: Option<TaskId>,
    },
    /// Show one checkpoint, and what differs in it from its commit
    #[command(after_help = super::help::machines::CHECKPOINTS_SHOW)]
    Show {
        /// Its id
        #[arg(value_name = "CHECKPOINT")]
        id: CheckpointId,
    },
    /// List the files that are not the same in two checkpoints of one repository
    #[command(after_help = super::help::machines::CHECKPOINTS_DIFF)]
    Diff {
        /// The one
        #[arg(value_name = "CHECKPOINT")]
        from: CheckpointId,
        /// The other
        #[arg(value_name = "OTHER")]
        to: CheckpointId,
    },
    /// List the commits, branches and changes that nobody pushed and machines alone have
    #[command(after_help = super::help::machines::CHECKPOINTS_KEPT)]
    Kept,
    /// Have a task's next attempt begin from a checkpoint; a task that has failed is ready again
    #[command(after_help = super::help::machines::CHECKPOINTS_RESTORE)]
    Restore {
        /// The task
        #[arg(value_name = "TASK")]
        task: TaskId,
        /// The checkpoint [default: the newest of the task's attempts]
        #[arg(value_name = "CHECKPOINT")]
        checkpoint: Option<CheckpointId>,
    },
    /// Run something new that begins as a checkpoint left the workspace
    #[command(after_help = super::help::machines::CHECKPOINTS_FORK)]
    Fork(Box<ForkArguments>),
    /// Keep checkpoints whatever else is saved on their machines
    #[command(after_help = super::help::machines::CHECKPOINTS_PIN)]
    Pin {
        /// Their ids
        #[arg(required = true, value_name = "CHECKPOINT")]
        ids: Vec<CheckpointId>,
    },
    /// Let checkpoints go with the others of their age
    #[command(after_help = super::help::machines::CHECKPOINTS_UNPIN)]
    Unpin {
        /// Their ids
        #[arg(required = true, value_name = "CHECKPOINT")]
        ids: Vec<CheckpointId>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ForkArguments {
    /// The checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) id: CheckpointId,
    /// What to run; the repository is the checkpoint's
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

#[derive(Debug, Args)]
pub(crate) struct TestsArguments {
    /// The task
    #[arg(value_name = "TASK")]
    pub(crate) id: TaskId,
}
