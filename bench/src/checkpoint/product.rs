//! The same through `bifrost up`: what it says of the phases of tasks that leave the tree behind, change it, and begin
//! from what the first one left.
//!
//! A checkpoint is the whole phase: finding what differs from the commit, keeping what git keeps of it, and the store. To
//! begin from one is the whole phase as well: finding the repository's commit, proving that the checkpoint is there, and a
//! workspace that is as it says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use kit::Tasks;
use serde::Deserialize;
use wire::event::kind;
use wire::execution::{ExecutionView, Phase};
use wire::id::{CheckpointId, TaskId};

use super::{CHANGED, OURS, What, quiet, tree};
use crate::report::milliseconds;
use crate::repository::Repository;
use crate::system::{self, Launch, STAY_AWAKE, System};

const EVENTS_MAX: u32 = 1_000;

/// What the event says of a checkpoint that was put back.
#[derive(Deserialize)]
struct Restored {
    #[serde(default)]
    in_place: bool,
}

/// One round, on an empty data directory.
pub(super) async fn round(
    bifrost: &Path,
    place: &Path,
    tree: &Path,
    tasks: &Tasks,
) -> anyhow::Result<Vec<(What, &'static str, f64)>> {
    let repository = Repository::make(&place.join("repository")).await?;
    let launch = Launch { bifrost, settings: &STAY_AWAKE, directory: Some(place) };
    system::during(launch, tasks, async |system| measure(system, &repository, tree).await).await
}

async fn measure(
    system: &System,
    repository: &Repository,
    tree: &Path,
) -> anyhow::Result<Vec<(What, &'static str, f64)>> {
    let (from, program) = (tree.to_string_lossy(), std::env::current_exe()?);
    // A machine that holds the repository.
    run(system, repository, &["true"], None).await?;
    let (execution, first) = run(system, repository, &["cp", "-a", &format!("{from}/."), "."], None).await?;
    let first_took = took(&execution, Phase::Checkpoint)?;
    // Another task comes between, so that nothing of the tree is in the workspace that is there.
    run(system, repository, &["true"], None).await?;
    let change = [&program.to_string_lossy(), "change", "--files", &CHANGED.to_string()];
    quiet();
    let (execution, _) = run(system, repository, &change, Some(first)).await?;
    let restored_took = took(&execution, Phase::Clone)?;
    ensure!(!is_in_place(system, execution.task_id).await?, "the tree was there already");
    let next_took = took(&execution, Phase::Checkpoint)?;
    quiet();
    // The tree and nothing else, but for what the repository has.
    let others = ["--exclude=.git", "--exclude=README.md", "--exclude=?.txt"];
    let compare = [&["diff", "--recursive", "--brief"], &others[..], &[&from, "."]].concat();
    let (execution, _) = run(system, repository, &compare, Some(first)).await?;
    ensure!(is_in_place(system, execution.task_id).await?, "the machine made a new workspace");
    let found = [
        (What::First, first_took),
        (What::Next, next_took),
        (What::Rewind, took(&execution, Phase::Clone)?),
        (What::Restore, restored_took),
    ];
    Ok(found.map(|(what, took)| (what, OURS, took)).into())
}

/// Runs a command where nothing or a checkpoint is, and gives what it left.
async fn run(
    system: &System,
    repository: &Repository,
    command: &[&str],
    checkpoint: Option<CheckpointId>,
) -> anyhow::Result<(ExecutionView, CheckpointId)> {
    let command = command.iter().map(ToString::to_string).collect();
    let mut task = repository.task("a checkpoint", command);
    if let (Some(spec), Some(checkpoint)) = (&mut task.spec, checkpoint) {
        spec.checkpoint = Some(checkpoint);
    }
    let execution = system.run(&task).await?;
    let saved = system.control.checkpoints(Some(execution.task_id)).await?;
    let saved = saved.first().context("the task left no checkpoint")?.id;
    Ok((execution, saved))
}

fn took(execution: &ExecutionView, phase: Phase) -> anyhow::Result<f64> {
    Ok(milliseconds(Duration::from_micros(system::phase(execution, phase)?.micros)))
}

async fn is_in_place(system: &System, task: TaskId) -> anyhow::Result<bool> {
    let page = system.control.task_events(task, 0, EVENTS_MAX).await?;
    let restored = page.events.iter().find(|stored| stored.kind == kind::CHECKPOINT_RESTORED);
    let restored = restored.context("nothing was put back")?;
    Ok(serde_json::from_str::<Restored>(restored.payload.get())?.in_place)
}

/// The command of a task: changes so many files below where it runs.
pub(crate) fn change(files: usize) -> anyhow::Result<()> {
    Ok(tree::change(Path::new("."), files)?)
}
