//! Workspaces, measured as a user meets them: `bifrost up` runs tasks of a large repository and of an
//! application with many packages, and says itself how long its phases took; beside it, in turns and on the
//! same disk, what one would do instead with git, npm, tar and cp.
//!
//! Ours is the whole phase: for the repository asking the remote, finding the commit and a clean tree at it;
//! for the dependencies asking the tools, finding the key and putting every file into place after comparing it.

mod modules;
mod peers;
mod upstream;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use kit::Tasks;
use serde_json::json;
use tokio::time::sleep;
use wire::execution::{Cache, Phase};
use wire::task::{NewTask, TaskSpec};

use self::upstream::Upstream;
use crate::report::{Figure, Report, Target, Unit, milliseconds};
use crate::sample::Sample;
use crate::system::{self, LOOK_EVERY, Launch, STAY_AWAKE, System, TASK_LIMIT};

/// Commits that are new upstream between two executions.
const NEW_COMMITS: usize = 20;
pub(crate) const OURS: &str = "bifrost";

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The `bifrost` to measure, from a release build
    #[arg(long, value_name = "FILE")]
    bifrost: PathBuf,
    /// Where everything is made; not a file system in memory [default: beside this program]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A repository to copy, in place of one that is made; its branch must be `main`
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// Files of the repository that is made
    #[arg(long, value_name = "N", default_value_t = 2_500)]
    files: usize,
    /// Commits of it
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    commits: usize,
    /// A directory with package.json and package-lock.json [default: an application of more than 1,000 packages]
    #[arg(long, value_name = "DIR")]
    application: Option<PathBuf>,
    /// Leave the dependencies out, which need npm and its registry
    #[arg(long)]
    no_application: bool,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
}

/// One operation of one system.
#[derive(Debug)]
struct Measured {
    what: What,
    who: &'static str,
    sample: Sample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Same,
    Newer,
    Modules,
    /// The same for an execution that follows at once, so that nothing is ready for it.
    ModulesAtOnce,
}

impl What {
    const ALL: [Self; 4] = [Self::Same, Self::Newer, Self::Modules, Self::ModulesAtOnce];

    const fn name(self) -> &'static str {
        match self {
            Self::Same => "workspace, nothing new upstream",
            Self::Newer => "workspace, 20 commits on",
            Self::Modules => "node_modules, cache hit",
            Self::ModulesAtOnce => "node_modules, cache hit at once after another",
        }
    }

    /// How many times ours the other's is to be; what is not named here is shown only. To take at most
    /// 1.3 times as long is 1 / 1.3 of it.
    fn wanted(self, who: &str) -> Option<f64> {
        match (self, who) {
            (Self::Same, peers::CLONE) => Some(50.0),
            (Self::Newer, peers::CLONE) => Some(30.0),
            (Self::Same | Self::Newer, peers::RESET) | (Self::Modules, modules::COPY) => Some(1.0 / 1.3),
            (Self::Modules, modules::NPM) => Some(20.0),
            (Self::Modules, modules::TAR) => Some(2.0),
            _ => None,
        }
    }
}

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let beside = std::env::current_exe()?.parent().map(Path::to_owned).context("this program is nowhere")?;
    let directory = tempfile::tempdir_in(arguments.directory.as_deref().unwrap_or(&beside))?;
    let place = directory.path();
    report.say("making the repository");
    let upstream = match &arguments.repository {
        Some(from) => Upstream::copy(from, &place.join("upstream")).await?,
        None => Upstream::make(&place.join("upstream"), arguments.files, arguments.commits).await?,
    };
    let mut found = Vec::new();
    let launch = Launch { bifrost: &arguments.bifrost, settings: &STAY_AWAKE, directory: Some(place) };
    system::during(launch, tasks, async |system| {
        checkouts(system, &upstream, place, arguments.rounds, &mut found, report).await?;
        if !arguments.no_application {
            modules::rounds(system, arguments, place, &mut found, report).await?;
        }
        Ok(())
    })
    .await?;
    figures(&found, report)?;
    Ok(report.finish()?)
}

async fn checkouts(
    system: &System,
    upstream: &Upstream,
    place: &Path,
    rounds: usize,
    found: &mut Vec<Measured>,
    report: &Report,
) -> anyhow::Result<()> {
    let peers = peers::Trees::make(upstream, &place.join("peers")).await?;
    run(system, &upstream.url(), Phase::Clone).await?;
    for round in 0..rounds {
        report.say(&format!("workspaces: round {} of {rounds}", round + 1));
        for what in [What::Same, What::Newer] {
            if what == What::Newer {
                upstream.advance(NEW_COMMITS).await?;
            }
            Spare::Checkout.made(place).await?;
            quiet();
            let (ours, cache) = run(system, &upstream.url(), Phase::Clone).await?;
            ensure!(cache == Some(Cache::Hit), "the machine did not hold the repository");
            take(found, what, OURS, milliseconds(ours), round, report)?;
            for (who, took) in peers.measure(upstream, quiet).await? {
                take(found, what, who, milliseconds(took), round, report)?;
            }
        }
    }
    Ok(())
}

/// Runs a task of the repository that does nothing, and gives how long the phase took.
async fn run(system: &System, repository: &str, phase: Phase) -> anyhow::Result<(Duration, Option<Cache>)> {
    let spec = TaskSpec {
        repository: repository.to_owned(),
        command: vec!["true".into()],
        env: Default::default(),
        ..TaskSpec::default()
    };
    let task = NewTask { title: "a workspace".into(), spec: Some(spec), ..NewTask::default() };
    let execution = system.run(&task).await?;
    let timing = system::phase(&execution, phase)?;
    Ok((Duration::from_micros(timing.micros), timing.cache))
}

/// What a machine makes ready in the background.
#[derive(Debug, Clone, Copy)]
enum Spare {
    Checkout,
    Installation,
}

impl Spare {
    /// Waits until the machine has made one.
    async fn made(self, place: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + TASK_LIMIT;
        while !self.is_below(place, 0) {
            ensure!(Instant::now() < deadline, "no spare is made");
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Whether a finished one lies somewhere below. Nothing else that a volume holds is looked through.
    fn is_below(self, directory: &Path, depth: usize) -> bool {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
            let (path, name) = (entry.path(), entry.file_name());
            let is_finished = !name.to_string_lossy().starts_with('.');
            if directory.ends_with("deps/spares") {
                return matches!(self, Self::Installation) && is_finished;
            }
            if directory.ends_with("spares") {
                return matches!(self, Self::Checkout) && is_finished && path.join("spare.json").exists();
            }
            let others =
                ["workspaces", "trees", "files", "repos", "package-caches", "peers", "upstream", "application"];
            !others.iter().any(|other| name == *other) && depth < 8 && self.is_below(&path, depth + 1)
        })
    }
}

/// What the last one left to be written is not the next one's work.
fn quiet() {
    nix::unistd::sync();
}

fn take(
    found: &mut Vec<Measured>,
    what: What,
    who: &'static str,
    value: f64,
    round: usize,
    report: &Report,
) -> anyhow::Result<()> {
    report.row(&json!({ "measured": what.name(), "of": who, "round": round, "ms": value }))?;
    match found.iter_mut().find(|measured| measured.what == what && measured.who == who) {
        Some(measured) => measured.sample.take(value),
        None => found.push(Measured { what, who, sample: [value].into_iter().collect() }),
    }
    Ok(())
}

fn figures(found: &[Measured], report: &mut Report) -> anyhow::Result<()> {
    for what in What::ALL {
        let of = || found.iter().filter(move |measured| measured.what == what);
        for Measured { who, sample, .. } in of() {
            let (name, unit) = (format!("{}, {who}", what.name()), Unit::Milliseconds);
            report.figure(Figure { name, unit, sample: sample.clone(), target: Target::default() })?;
        }
        let Some(ours) = of().find(|measured| measured.who == OURS) else { continue };
        for Measured { who, sample, .. } in of().filter(|measured| measured.who != OURS) {
            let name = format!("{}, {who} against ours", what.name());
            let target = Target { at_least: what.wanted(who), ..Target::default() };
            report.figure(Figure { name, unit: Unit::Times, sample: sample.over(&ours.sample), target })?;
        }
    }
    Ok(())
}
