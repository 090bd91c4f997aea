//! `bifrost-bench`: measures Bifrost as a user meets it, through its programs and
//! its HTTP interfaces, and prints what it found beside what is wanted.
//!
//! It judges nothing: a figure that is not reached is shown, and is no failure.

mod checkpoint;
mod events;
mod large_graph;
mod main_job;
mod memory;
mod planner;
mod report;
mod repository;
mod sample;
mod system;
mod tasks;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kit::Tasks;

use crate::report::Report;

/// Measure Bifrost
#[derive(Parser)]
#[command(name = "bifrost-bench", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Write each single measurement and each figure as a JSON object on its own line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// The main job on this computer: start-up, submit to first output, memory
    MainJob(main_job::Arguments),
    /// Checkpoints of a large tree, and beside them what one would use instead
    Checkpoint(checkpoint::Arguments),
    /// Workspaces out of caches, and beside them git, npm, tar and cp
    Workspace(workspace::Arguments),
    /// The event store, and beside it what one would use instead: throughput, latency, memory, start-up
    Events(events::Arguments),
    /// Tasks from creation to completion by workers outside the pool, and beside it other queues over PostgreSQL
    Tasks(tasks::Arguments),
    /// A graph of a million tasks on each database: lists, changes, searches, the critical path, memory
    Graph(large_graph::Arguments),
    /// The scheduler's decision over many tasks and machines
    Planner(planner::Arguments),
    /// Says 20 MB in a second for ten seconds: the command of a task that is measured
    #[command(hide = true)]
    Talk,
    /// Changes files: the command of a task that is measured
    #[command(hide = true)]
    Change {
        #[arg(long)]
        files: usize,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { what, json } = Arguments::parse();
    let tasks = Tasks::new();
    let (told, stop) = (kit::tasks::termination(), tasks.clone());
    tasks.spawn_until_stopped("signals", async move {
        told.await;
        stop.stop();
    });
    let mut report = Report::new(json);
    let measured = match &what {
        What::MainJob(arguments) => main_job::measure(arguments, &tasks, &mut report).await,
        What::Checkpoint(arguments) => checkpoint::measure(arguments, &tasks, &mut report).await,
        What::Workspace(arguments) => workspace::measure(arguments, &tasks, &mut report).await,
        What::Events(arguments) => events::measure(arguments, &tasks, &mut report).await,
        What::Tasks(arguments) => tasks::measure(arguments, &tasks, &mut report).await,
        What::Graph(arguments) => large_graph::measure(arguments, &tasks, &mut report).await,
        What::Planner(arguments) => planner::measure(arguments, &mut report),
        What::Change { files } => checkpoint::change(*files),
        What::Talk => main_job::output::talk().map_err(Into::into),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.failed(&error);
            ExitCode::FAILURE
        }
    }
}
