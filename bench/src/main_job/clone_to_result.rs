//! From nothing to the result of the README's main-job command.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kit::Tasks;
use serde_json::json;
use tokio::process::Command;

use crate::report::{Figure, Report, Target, Unit, milliseconds};
use crate::repository::Repository;
use crate::system;

/// The README's command, behind `bifrost`.
const MAIN_JOB: [&str; 7] = ["run", "--repo", ".", "--", "sh", "-c", "git log -1 --oneline && ls"];
/// From clone to result on two cores.
const WANTED_MS: f64 = 360_000.0;

/// Runs the command twice on one data directory, each time with a system that lives as long as
/// the command: the first makes a machine and clones, the second finds both.
pub(super) async fn twice(
    bifrost: &Path,
    repository: &Repository,
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    for name in ["first `bifrost run`, start to end", "second `bifrost run`, start to end"] {
        let mut command = system::program(bifrost);
        command.args(MAIN_JOB).env("BIFROST_DATA", data.path()).current_dir(&repository.directory);
        one(name, timed(command, tasks).await?, Target::default(), report)?;
    }
    Ok(())
}

/// Clones the checkout, builds the clone as `cargo run` would with nothing built before, and runs
/// the command in it. What cargo downloads is there already.
pub(super) async fn from_nothing(checkout: &Path, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let clone = directory.path().join("bifrost");
    let target = directory.path().join("target");

    let mut command = kit::process::command("git");
    command.args(["clone", "--quiet", "--no-local"]).arg(checkout.canonicalize()?).arg(&clone);
    let cloned = timed(command, tasks).await?;
    one("cold: git clone", cloned, Target::default(), report)?;

    let mut command = kit::process::command("cargo");
    command.args(["build", "--locked"]).env("CARGO_TARGET_DIR", &target).current_dir(&clone);
    let built = timed(command, tasks).await?;
    one("cold: cargo build", built, Target::default(), report)?;

    let mut command = system::program(&target.join("debug/bifrost"));
    command.args(MAIN_JOB).current_dir(&clone);
    let run = timed(command, tasks).await?;
    one("cold: bifrost run", run, Target::default(), report)?;
    let target = Target { p50: Some(WANTED_MS), ..Target::default() };
    one("cold: from clone to result", cloned + built + run, target, report)
}

fn one(name: &'static str, took: Duration, target: Target, report: &mut Report) -> anyhow::Result<()> {
    report.row(&json!({ "measured": name, "ms": milliseconds(took) }))?;
    let sample = [milliseconds(took)].into_iter().collect();
    report.figure(Figure { name: name.into(), unit: Unit::Milliseconds, sample, target })
}

/// How long the command takes from its start to its end, which must be a good one.
async fn timed(mut command: Command, tasks: &Tasks) -> anyhow::Result<Duration> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let output = tokio::select! {
        output = command.output() => output.with_context(|| format!("{program} cannot be started"))?,
        () = tasks.stopping() => anyhow::bail!("interrupted"),
    };
    let took = began.elapsed();
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}
