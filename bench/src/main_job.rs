//! The main job, measured as a user meets it: the release build of `bifrost`
//! started on empty data directories, tasks submitted over HTTP, their output
//! read from the stream that `bifrost run` reads.

mod clone_to_result;
mod first_byte;
mod memory;
pub(crate) mod output;
mod told;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kit::Tasks;
use serde_json::json;

use self::first_byte::{Asleep, PARTS};
use crate::memory::megabytes;
use crate::report::{Figure, Report, Target, Unit, milliseconds};
use crate::repository::Repository;
use crate::sample::Sample;
use crate::system::{self, Launch, STAY_AWAKE};

/// How long memory settles after the last task.
const IDLE: Duration = Duration::from_secs(10);
/// Machines go to sleep as soon as they have nothing to do.
const SLEEP_AT_ONCE: [(&str, &str); 1] = [("BIFROST_SUSPEND_AFTER_MS", "0")];

/// A program is also started from other directories than this one.
fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The `bifrost` to measure, from a release build
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    bifrost: PathBuf,
    /// A `bifrost` from a dev build, whose start-up is measured too
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    dev_bifrost: Option<PathBuf>,
    /// Starts on an empty data directory
    #[arg(long, value_name = "N", default_value_t = 10)]
    starts: usize,
    /// Tasks on a machine that is awake
    #[arg(long, value_name = "N", default_value_t = 100)]
    warm_rounds: usize,
    /// Tasks on a machine that sleeps
    #[arg(long, value_name = "N", default_value_t = 30)]
    suspended_rounds: usize,
    /// Also clone this checkout, build the clone from nothing and run the README's command in it
    #[arg(long, value_name = "DIR")]
    cold: Option<PathBuf>,
}

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let repository = Repository::make(&directory.path().join("repository")).await?;
    let bifrost = arguments.bifrost.as_path();

    starts(bifrost, "cold start to ready", Some(500.0), arguments.starts, tasks, report).await?;
    if let Some(dev) = &arguments.dev_bifrost {
        starts(dev, "cold start to ready, dev build", None, arguments.starts, tasks, report).await?;
    }
    warm(bifrost, &repository, arguments.warm_rounds, tasks, report).await?;
    suspended(bifrost, &repository, arguments.suspended_rounds, tasks, report).await?;
    much_output(bifrost, &repository, tasks, report).await?;
    clone_to_result::twice(bifrost, &repository, tasks, report).await?;
    if let Some(checkout) = &arguments.cold {
        clone_to_result::from_nothing(checkout, tasks, report).await?;
    }
    Ok(report.finish()?)
}

async fn starts(
    bifrost: &Path,
    name: &'static str,
    p99: Option<f64>,
    rounds: usize,
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.say(&format!("{name}: {rounds} rounds"));
    let mut sample = Sample::default();
    for round in 0..rounds {
        let launch = Launch { bifrost, settings: &[], directory: None };
        let ready_after = system::during(launch, tasks, async |system| Ok(system.ready_after)).await?;
        report.row(&json!({ "measured": name, "round": round, "ms": milliseconds(ready_after) }))?;
        sample.take(milliseconds(ready_after));
    }
    report.figure(Figure {
        name: name.into(),
        unit: Unit::Milliseconds,
        sample,
        target: Target { p99, ..Target::default() },
    })
}

async fn warm(
    bifrost: &Path,
    repository: &Repository,
    rounds: usize,
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = "submit to first byte, warm machine";
    report.say(&format!("{name}: {rounds} rounds"));
    let launch = Launch { bifrost, settings: &STAY_AWAKE, directory: None };
    let (found, usages) = system::during(launch, tasks, async |system| {
        let found = first_byte::rounds(system, repository, rounds, Asleep::Never, name, report).await?;
        report.say(&format!("memory, {} s after the last task", IDLE.as_secs()));
        tokio::time::sleep(IDLE).await;
        Ok((found, memory::of_system(system.process_id)?))
    })
    .await?;
    first_bytes(name, found, Target { p50: Some(50.0), p99: Some(200.0), ..Target::default() }, report)?;
    report.row(&json!({ "measured": "memory", "up": usages.up, "runner": usages.runners }))?;
    for (name, bytes, p99) in [
        ("idle memory of `bifrost up`, RSS", usages.up.resident, Some(80.0)),
        ("idle memory of `bifrost up`, PSS", usages.up.proportional, None),
        ("idle memory of the runner, RSS", usages.runners.resident, None),
        ("idle memory of the runner, PSS", usages.runners.proportional, None),
    ] {
        let sample = [megabytes(bytes)].into_iter().collect();
        report.figure(Figure {
            name: name.into(),
            unit: Unit::Megabytes,
            sample,
            target: Target { p99, ..Target::default() },
        })?;
    }
    Ok(())
}

async fn suspended(
    bifrost: &Path,
    repository: &Repository,
    rounds: usize,
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = "submit to first byte, suspended machine";
    report.say(&format!("{name}: {rounds} rounds"));
    let launch = Launch { bifrost, settings: &SLEEP_AT_ONCE, directory: None };
    let found = system::during(launch, tasks, async |system| {
        first_byte::rounds(system, repository, rounds, Asleep::BeforeEach, name, report).await
    })
    .await?;
    first_bytes(name, found, Target { p50: Some(150.0), ..Target::default() }, report)
}

async fn much_output(
    bifrost: &Path,
    repository: &Repository,
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.say("a command that says 20 MB in a second");
    let runner = output::runner(bifrost)?;
    let settings = [STAY_AWAKE[0], output::KEEP, ("BIFROST_RUNNER_COMMAND", runner.as_str())];
    let launch = Launch { bifrost, settings: &settings, directory: None };
    let found = system::during(launch, tasks, async |system| output::measure(system, repository, IDLE).await).await?;
    let output::Found { idle, rate, peak } = found;
    let at_most = |bound| Target { p99: Some(bound), ..Target::default() };
    for (name, unit, value, target) in [
        ("idle memory of bifrost-runner, RSS", Unit::Megabytes, megabytes(idle.runners.resident), at_most(15.0)),
        (
            "idle memory of bifrost-runner, PSS",
            Unit::Megabytes,
            megabytes(idle.runners.proportional),
            Target::default(),
        ),
        (
            "200 MB of output in 10 s, none lost",
            Unit::MegabytesPerSecond,
            rate,
            Target { at_least: Some(19.9), ..Target::default() },
        ),
        ("  the most memory of bifrost-runner", Unit::Megabytes, megabytes(peak), at_most(64.0)),
    ] {
        report.figure(Figure { name: name.into(), unit, sample: [value].into_iter().collect(), target })?;
    }
    Ok(())
}

/// The whole way, and below it its parts.
fn first_bytes(
    name: &'static str,
    found: Vec<first_byte::Round>,
    target: Target,
    report: &mut Report,
) -> anyhow::Result<()> {
    let figure = |name: &str, sample, target| Figure { name: name.into(), unit: Unit::Milliseconds, sample, target };
    report.figure(figure(name, found.iter().map(|round| round.total).collect(), target))?;
    for (index, part) in PARTS.iter().enumerate() {
        let sample = found.iter().map(|round| round.parts[index]).collect();
        report.figure(figure(part.shown, sample, Target::default()))?;
    }
    Ok(())
}
