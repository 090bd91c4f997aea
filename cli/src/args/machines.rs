//! What can be written after `bifrost machines` and `bifrost cost`.

use clap::{ArgGroup, Subcommand};
use wire::id::{MachineId, VolumeId};

#[derive(Subcommand)]
pub(crate) enum MachinesCommand {
    /// List the machines of the pool
    #[command(after_help = super::help::machines::LIST)]
    List,
    /// Show one machine: where it stands, what it has been through, what was tried to mend it
    #[command(after_help = super::help::machines::SHOW)]
    Show {
        /// The machine's id
        id: MachineId,
    },
    /// Declare a machine's batch over: it saves a checkpoint and sleeps until work wakes it
    #[command(after_help = super::help::machines::SUSPEND)]
    Suspend {
        /// The machine's id
        id: MachineId,
    },
    /// Wake a machine that sleeps, if the budgets pay for that
    #[command(after_help = super::help::machines::RESUME)]
    Resume {
        /// The machine's id
        id: MachineId,
    },
    /// Destroy a machine with its volume and what is on it
    #[command(after_help = super::help::machines::DESTROY)]
    Destroy {
        /// The machine's id
        id: MachineId,
        /// Also one whose worker has work, which is given to another, or whose volume alone has somebody's, which is lost
        #[arg(long)]
        force: bool,
    },
    /// Give a machine up that the provider neither mends nor destroys; what is left of it is reaped later
    #[command(
        after_help = super::help::machines::ABANDON,
        group = ArgGroup::new("which").required(true).args(["id", "app"])
    )]
    Abandon {
        /// The machine's id
        id: Option<MachineId>,
        /// Instead of one, all machines of the pool, whose app of this name is gone at the provider
        #[arg(long, value_name = "APP")]
        app: Option<String>,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also one whose volume alone has somebody's work: it is lost
        #[arg(long)]
        force: bool,
    },
    /// Destroy a volume that was kept, when its machine was given up or moved, for the work on it
    #[command(after_help = super::help::machines::DISCARD)]
    Discard {
        /// The volume's id, as `bifrost machines sweep` shows it
        volume: VolumeId,
    },
    /// Show what the provider has that no row knows, and volumes that are kept for the work on them
    #[command(after_help = super::help::machines::SWEEP)]
    Sweep {
        /// Destroy what carries this pool's mark now, with what is on it, whatever its age and origin
        #[arg(long)]
        reap: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum CostCommand {
    /// Show what each machine costs, what the day and the month have cost, and where that leads
    #[command(after_help = super::help::machines::COST_REPORT)]
    Report,
    /// Say what should not be: machines over the cap or without work, orphans, budgets used up. The exit
    /// code is 0 only if there is nothing
    #[command(after_help = super::help::machines::COST_CHECK)]
    Check,
}
