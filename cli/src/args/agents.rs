//! What can be written after `bifrost agents`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use wire::id::{ExecutionId, TaskId};

use super::EnvArgument;
use super::help::agents as help;
use crate::duration::parse_seconds;

#[derive(Subcommand)]
pub(crate) enum AgentsCommand {
    /// Start a coding agent, or a command with a terminal, in a worktree of its own
    #[command(after_help = help::START)]
    Start(Box<StartArguments>),
    /// List the agents that run, and those that have ended and were not cleaned up
    #[command(after_help = help::LIST)]
    List,
    /// Print the last lines that an agent showed
    #[command(after_help = help::LOGS)]
    Logs {
        /// The agent's id
        #[arg(value_parser = parse_agent)]
        id: ExecutionId,
        /// So many
        #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
        lines: usize,
    },
    /// Type the text on standard input to an agent, and Enter; it waits for whoever types there
    #[command(after_help = help::SEND)]
    Send {
        /// The agent's id
        #[arg(value_parser = parse_agent)]
        id: ExecutionId,
        /// Wait for nobody; --reason says why
        #[arg(long, requires = "reason")]
        force: bool,
    },
    /// Say, as an agent or a hook of it, that what was typed there was read
    #[command(after_help = help::ACK)]
    Ack {
        /// The newest trigger that was read [default: all that was typed]
        #[arg(long, value_name = "N")]
        through: Option<i64>,
    },
    /// Look into an agent's terminal, or, where it is in tmux, print the command for that
    #[command(after_help = help::ATTACH)]
    Attach {
        /// The agent's id
        #[arg(value_parser = parse_agent)]
        id: ExecutionId,
    },
    /// End agents; their work stays where it is
    #[command(after_help = help::KILL)]
    Kill {
        /// The agents' ids
        #[arg(required = true, value_name = "ID", value_parser = parse_agent)]
        ids: Vec<ExecutionId>,
        /// Without time to end in order: what they have not written is lost
        #[arg(long)]
        now: bool,
    },
    /// Remove the worktrees of agents that have ended; what nobody pushed is saved first
    #[command(after_help = help::CLEANUP)]
    Cleanup {
        /// The agents' ids
        #[arg(required_unless_present = "all_ended", value_name = "ID", value_parser = parse_agent)]
        ids: Vec<ExecutionId>,
        /// Every agent that has ended
        #[arg(long, conflicts_with = "ids")]
        all_ended: bool,
    },
    /// Be what runs in an agent's terminal
    #[command(hide = true)]
    Inside {
        /// The agent's directory
        directory: PathBuf,
    },
}

/// Reads the id of an agent, which is that of its execution.
fn parse_agent(text: &str) -> Result<ExecutionId, String> {
    text.parse().map_err(|_| "not the id of an agent: `bifrost agents list` shows them".to_owned())
}

#[derive(Args)]
#[command(group = ArgGroup::new("work").args(["prompt", "command"]).required(true))]
pub(crate) struct StartArguments {
    /// The branch to work on; made from HEAD where there is none
    #[arg(long)]
    pub(crate) branch: String,
    /// Ask this coding agent: claude_code, codex, gemini, opencode or mock; beside a command, what that is
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// What the agent is to do: a file, or - for standard input
    #[arg(long, value_name = "FILE", requires = "agent")]
    pub(crate) prompt: Option<PathBuf>,
    /// The model that the agent is to use [default: the agent's]
    #[arg(long, requires = "agent")]
    pub(crate) model: Option<String>,
    /// A session of the agent to go on with, as `bifrost agents list --json` named it; that of a command is taken up
    /// again, with what waits for it, once the command has ended
    #[arg(long, requires = "agent")]
    pub(crate) session: Option<String>,
    /// The repository, or a directory in it [default: BIFROST_AGENTS_REPO, then the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,
    /// A variable for the agent; with the name alone, the value is taken from the own environment
    #[arg(long, value_name = "K[=V]", value_parser = EnvArgument::parse)]
    pub(crate) env: Vec<EnvArgument>,
    /// The longest that it may run, such as 30m or 2h [default: BIFROST_AGENTS_TIMEOUT_MINUTES, then 1h]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub(crate) timeout: Option<u64>,
    /// Keep its terminal in the background, without tmux
    #[arg(long)]
    pub(crate) no_tmux: bool,
    /// Files to copy into the worktree, such as settings of the agent; git does not see them there
    #[arg(long, value_name = "DIR")]
    pub(crate) hooks: Option<PathBuf>,
    /// Do not register its terminal with the server; nothing is typed to it from there then
    #[arg(long)]
    pub(crate) no_register: bool,
    /// The task that it works on, for its variable BIFROST_TASK_ID [default: a new id]
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskId>,
    /// The command and its arguments, which gets the terminal; no shell reads them
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}
