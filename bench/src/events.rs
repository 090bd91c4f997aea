//! The event store, and beside it what one would use instead, all in one run on
//! the same disk: 1 KiB events, each durable before its acknowledgement.
//!
//! Every run begins with a new, empty database, and everything that our store has
//! acknowledged is asked for afterwards: an event that is lost or there twice ends
//! the measurement (row FLY-026).

mod case;
mod comparison;
mod http;
mod large;
mod load;
pub(crate) mod machine;
mod outcome;
pub(crate) mod peers;
mod records;
mod running;
mod runs;
pub(crate) mod server;
mod sqlite;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kit::Tasks;
use serde_json::json;

use self::case::{CASES, System};
use self::comparison::Run;
use self::peers::Programs;
use self::runs::{Bench, Generator, Measured};
use crate::memory::megabytes;
use crate::report::{Figure, Report, Target, Unit};
use crate::sample::Sample;

/// Under which memory counts.
const MOST_CONNECTIONS: usize = 256;
/// On disk, when a start has to be as fast as ever.
const MOST_EVENTS: usize = 10_000_000;

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The `bifrost-events` to measure, from a release build
    #[arg(long, value_name = "FILE", required_unless_present = "url")]
    bifrost_events: Option<PathBuf>,
    /// Measure the store that runs at this URL instead, and nothing else; FLY_EVENT_SECRET signs
    #[arg(long, value_name = "URL", conflicts_with_all = ["bifrost_events", "directory", "full", "only_large"])]
    url: Option<String>,
    /// Where all data goes while it is measured; beside the program unless said otherwise
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Rounds over every case and system, whose medians are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// How long each case is measured
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// How long each case warms up
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    warm_up: f64,
    #[command(flatten)]
    programs: Programs,
    /// Events that are on disk when reads and starts are measured
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: usize,
    /// Also start with ten million events on disk, which takes minutes and 15 GB to write
    #[arg(long)]
    full: bool,
    /// Only writes: no reads and starts
    #[arg(long)]
    no_large: bool,
    /// Only reads and starts: no writes
    #[arg(long, conflicts_with = "no_large")]
    only_large: bool,
    /// Only these systems
    #[arg(long, value_enum, value_name = "SYSTEM", value_delimiter = ',')]
    systems: Vec<System>,
    /// Only cases with so many connections
    #[arg(long, value_name = "N", value_delimiter = ',')]
    connections: Vec<usize>,
}

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let generator = Generator {
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        time: Duration::from_secs_f64(arguments.seconds),
        tasks,
    };
    let measuring = async {
        if let Some(url) = &arguments.url {
            return running::measure(url, arguments, &generator, report).await;
        }
        let program = arguments.bifrost_events.as_deref().context("--bifrost-events FILE is missing")?;
        let program = std::path::absolute(program)?;
        let directory = arguments.directory.as_deref().or(program.parent()).context("the program has no directory")?;
        report.say(&format!("all data in {}, which is {}", directory.display(), machine::file_system(directory)?));
        let bench = Bench { program: &program, programs: &arguments.programs, directory, generator };
        if !arguments.only_large {
            writes(arguments, &bench, report).await?;
        }
        if !arguments.no_large {
            let more = arguments.full.then_some(MOST_EVENTS);
            large::measure(&bench, arguments.events, more, report).await?;
        }
        Ok(report.finish()?)
    };
    // What is dropped in its middle takes its servers and its data along.
    tokio::select! {
        measured = measuring => measured,
        () = tasks.stopping() => bail!("interrupted"),
    }
}

/// Every case on every system, in turns.
async fn writes(arguments: &Arguments, bench: &Bench<'_>, report: &mut Report) -> anyhow::Result<()> {
    let mut systems = systems(arguments, report);
    let (mut runs, mut peaks, mut syncs) = (Vec::new(), Sample::default(), Sample::default());
    for round in 0..arguments.rounds {
        syncs.take_all(machine::syncs(bench.new_directory()?.path())?);
        report.row(&json!({ "round": round, "load_average": machine::load_average()? }))?;
        for case in CASES.into_iter().filter(|case| is_wanted(&arguments.connections, &case.connections)) {
            for system in systems.clone() {
                let measured = bench.run(case, system).await.with_context(|| format!("{system:?}, {}", case.name));
                let Measured { label, outcome, memory } = match measured {
                    Err(error) if system.is_peer() && !bench.generator.tasks.is_stopping() => {
                        report.say(&format!("left out from here on: {error:#}"));
                        systems.retain(|other| *other != system);
                        continue;
                    }
                    measured => measured?,
                };
                let run = Run { round, case, system, label, speed: outcome.speed(case.batch) };
                report.say(&format!("round {round}, {}, {}: {:.0}/s", case.name, run.label, run.speed.per_second));
                report.row(&run)?;
                runs.push(run);
                if let Some(memory) = memory.filter(|_| case.connections == MOST_CONNECTIONS) {
                    report.row(&json!({ "round": round, "memory": memory }))?;
                    peaks.take(megabytes(memory.peak));
                }
            }
        }
    }
    let lines = comparison::lines(&runs);
    for line in &lines {
        report.row(line)?;
    }
    report.print(&comparison::table(&lines))?;
    let most = |p50| Target { p50: Some(p50), ..Target::default() };
    for (name, unit, sample, target) in [
        ("write and sync 4 KiB", Unit::Milliseconds, syncs, Target::default()),
        ("p99 as times of p50, 64 connections", Unit::Times, comparison::spread(&runs, 64), most(5.0)),
        ("p50 as times of SQLite's, 1 connection", Unit::Times, comparison::p50_times(&runs, 1), most(1.5)),
        ("peak memory, 256 connections", Unit::Megabytes, peaks, Target { p99: Some(64.0), ..Target::default() }),
    ] {
        if sample.count() > 0 {
            report.figure(Figure { name: name.into(), unit, sample, target })?;
        }
    }
    Ok(())
}

/// Those that are wanted and there.
fn systems(arguments: &Arguments, report: &Report) -> Vec<System> {
    let wanted = System::value_variants().iter().copied().filter(|system| is_wanted(&arguments.systems, system));
    let (there, missing): (Vec<_>, Vec<_>) =
        wanted.partition(|system| !system.is_peer() || arguments.programs.of(*system).is_some());
    for system in missing {
        report.say(&format!("left out: {system:?}, whose programs are not named"));
    }
    there
}

/// Whether a list that may be empty lets it through.
fn is_wanted<T: PartialEq>(only: &[T], it: &T) -> bool {
    only.is_empty() || only.contains(it)
}
