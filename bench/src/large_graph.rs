//! A large graph of tasks in the database, and what the server makes of it over HTTP:
//! the lists, the changes that touch many, the looks ahead. On each database, with a
//! million tasks and three million dependencies, and with ten thousand.
//!
//! The rows are written past the server, which would take long over so many; everything
//! that is measured is asked of the server.

mod ask;
mod fill;

use std::path::{Path, PathBuf};

use clap::Args;
use kit::Tasks;
use serde_json::json;

use self::ask::Asked;
use self::fill::{Database, Size};
use crate::memory::{megabytes, peak};
use crate::report::{Figure, Report, Target, Unit};
use crate::sample::Sample;
use crate::system::{self, Launch};

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
    /// A Postgres server on which a database may be made, such as postgres://postgres@127.0.0.1:5432/postgres
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Postgres' own client, which writes the rows
    #[arg(long, value_name = "FILE", default_value = "psql")]
    psql: PathBuf,
    /// Where the SQLite database is while it is measured; a temporary directory unless said otherwise
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Tasks of the large graph, with three times as many dependencies
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    tasks: u32,
    /// Tasks of the small graph
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    small: u32,
    /// How often each question is asked
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u32,
}

/// What beads publishes for ten thousand issues, a tenth of which is wanted.
const SMALL_TARGETS: [(&str, f64); 4] =
    [("ready list", 3.0), ("claim", 1.8), ("close 100 tasks", 190.0), ("refuse a circle", 7.0)];
/// What is wanted with a million tasks.
const LARGE_TARGETS: [(&str, f64); 5] = [
    ("ready list", 10.0),
    ("create a task", 5.0),
    ("close one that 1,000 need", 100.0),
    ("critical path", 2_000.0),
    ("search", 20.0),
];
/// The most megabytes of the server, with the emulator and the event store in its process.
const MEMORY_TARGET: f64 = 400.0;

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let sizes = [
        (Size { tasks: arguments.small, hubs: arguments.rounds }, &SMALL_TARGETS[..]),
        (Size { tasks: arguments.tasks, hubs: arguments.rounds }, &LARGE_TARGETS[..]),
    ];
    for (size, targets) in sizes {
        let directory = match &arguments.directory {
            Some(directory) => tempfile::tempdir_in(directory)?,
            None => tempfile::tempdir()?,
        };
        let sqlite = Database::sqlite(directory.path());
        of_database(arguments, &sqlite, size, targets, tasks, report).await?;
        let Some(server) = &arguments.postgres else {
            report.say("left out: Postgres, whose server is not named");
            continue;
        };
        let postgres = Database::postgres(&arguments.psql, server).await?;
        let measured = of_database(arguments, &postgres, size, targets, tasks, report).await;
        postgres.drop_it().await?;
        measured?;
    }
    Ok(report.finish()?)
}

async fn of_database(
    arguments: &Arguments,
    database: &Database,
    size: Size,
    targets: &[(&str, f64)],
    tasks: &Tasks,
    report: &mut Report,
) -> anyhow::Result<()> {
    let label = format!("{}, {} tasks", database.name(), size.tasks);
    let url = database.url();
    let settings = [("DATABASE_URL", url.as_str())];
    let launch = Launch { bifrost: Path::new(&arguments.bifrost), settings: &settings, directory: None };
    // The first start makes the tables.
    system::during(launch, tasks, async |_| Ok(())).await?;
    report.say(&format!("{label}: writing the rows"));
    database.fill(size).await?;
    report.say(&format!("{label}: asking"));
    let (asked, most) = system::during(launch, tasks, async |system| {
        let asked = ask::everything(system, size, arguments.rounds).await?;
        Ok((asked, peak(system.process_id)?))
    })
    .await?;
    for Asked { name, sample } in asked {
        report.row(&json!({ "graph": label, "asked": name, "p50": sample.percentile(50) }))?;
        let p50 = targets.iter().find(|(wanted, _)| name.starts_with(wanted)).map(|(_, most)| *most);
        let target = Target { p50, ..Target::default() };
        report.figure(Figure { name: format!("{label}: {name}"), unit: Unit::Milliseconds, sample, target })?;
    }
    let sample: Sample = [megabytes(most)].into_iter().collect();
    let target = Target { p50: Some(MEMORY_TARGET), ..Target::default() };
    report.figure(Figure { name: format!("{label}: peak memory of the server"), unit: Unit::Megabytes, sample, target })
}
