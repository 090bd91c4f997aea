//! Tasks from creation to completion by workers outside the pool, on Postgres and
//! on SQLite, and beside it what one would use instead, all in one run: no-op jobs,
//! each durable before its acknowledgement.
//!
//! Every run begins with a new, empty database. A run in which not every job was
//! done exactly once ends the measurement.

mod comparison;
mod load;
mod peers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use kit::Tasks;
use kit::process::Sig;
use serde_json::json;
use tokio::task::block_in_place;

use self::comparison::{Run, Speed, System};
use self::peers::Programs;
use crate::events::machine;
use crate::events::peers::postgres;
use crate::events::server::Server;
use crate::report::{Figure, Report, Target, Unit};
use crate::sample::Sample;
use crate::system::{self, Launch};

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The `bifrost` to measure, from a release build
    #[arg(long, value_name = "FILE")]
    bifrost: PathBuf,
    /// The directory of PostgreSQL's server programs; without it only SQLite is measured
    #[arg(long, value_name = "DIR")]
    postgres: Option<PathBuf>,
    #[command(flatten)]
    programs: Programs,
    /// Where all data goes while it is measured; beside the program unless said otherwise
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Rounds over every case and system, whose medians are shown
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Tasks of each run, in hundreds
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    tasks: usize,
    /// Workers that claim at once
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 50])]
    workers: Vec<usize>,
    /// Tasks that are submitted one by one to a worker that waits
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    latencies: usize,
}

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let program = std::path::absolute(&arguments.bifrost)?;
    let directory = arguments.directory.as_deref().or(program.parent()).context("the program has no directory")?;
    report.say(&format!("all data in {}, which is {}", directory.display(), machine::file_system(directory)?));
    let measuring = async {
        let data = tempfile::tempdir_in(directory)?;
        let server = match &arguments.postgres {
            Some(programs) => Some(postgres::start(programs, data.path(), 1).await?),
            None => None,
        };
        let address = server.as_ref().map(|peer| peer.server.address);
        let bench = Bench { arguments, program: &program, directory, address, tasks };
        let measured = bench.measure(report).await;
        if let Some(peer) = server {
            stop(peer.server, peer.end).await?;
        }
        measured?;
        Ok(report.finish()?)
    };
    // What is dropped in its middle takes its servers and its data along.
    tokio::select! {
        measured = measuring => measured,
        () = tasks.stopping() => bail!("interrupted"),
    }
}

async fn stop(server: Server, signal: Sig) -> anyhow::Result<()> {
    server.stop(signal).await
}

/// What every run is given.
struct Bench<'a> {
    arguments: &'a Arguments,
    program: &'a Path,
    directory: &'a Path,
    /// Of the PostgreSQL that everybody uses.
    address: Option<SocketAddr>,
    tasks: &'a Tasks,
}

impl Bench<'_> {
    async fn measure(&self, report: &mut Report) -> anyhow::Result<()> {
        let mut systems = self.systems(report);
        let mut runs: Vec<Run> = Vec::new();
        for round in 0..self.arguments.rounds {
            report.row(&json!({ "round": round, "load_average": machine::load_average()? }))?;
            for workers in &self.arguments.workers {
                for system in systems.clone() {
                    let speed = match self.run(system, *workers).await.with_context(|| format!("{system:?}")) {
                        Err(error) if system.is_peer() && !self.tasks.is_stopping() => {
                            report.say(&format!("left out from here on: {error:#}"));
                            systems.retain(|other| *other != system);
                            continue;
                        }
                        speed => speed?,
                    };
                    let run = Run { round, workers: *workers, system, speed };
                    report.say(&format!("round {round}, {workers} workers, {}", run.in_words()));
                    report.row(&run)?;
                    runs.push(run);
                }
            }
        }
        let lines = comparison::lines(&runs);
        for line in &lines {
            report.row(line)?;
        }
        report.print(&comparison::table(&lines))?;
        for system in systems.into_iter().filter(|system| !system.is_peer()) {
            let sample = self.latencies(system).await?;
            let target = Target { p50: Some(5.0), p99: Some(20.0), ..Target::default() };
            let name = format!("submit to start, idle, {}", system.label());
            report.figure(Figure { name, unit: Unit::Milliseconds, sample, target })?;
        }
        Ok(())
    }

    /// Those that are there.
    fn systems(&self, report: &Report) -> Vec<System> {
        let is_there = |system: &System| match system {
            System::Sqlite => true,
            System::Postgres => self.address.is_some(),
            peer => self.address.is_some() && self.arguments.programs.driver(*peer).is_some(),
        };
        let (there, missing): (Vec<_>, Vec<_>) = System::ALL.into_iter().partition(is_there);
        for system in missing {
            report.say(&format!("left out: {}, whose programs are not named", system.label()));
        }
        there
    }

    async fn run(&self, system: System, workers: usize) -> anyhow::Result<Speed> {
        let count = self.arguments.tasks;
        match system {
            System::Sqlite => self.ours(&[], workers).await,
            System::Postgres => {
                let database = self.database()?;
                let speed = self.ours(&[("DATABASE_URL", &database.url)], workers).await;
                database.drop()?;
                speed
            }
            peer => {
                let database = self.database()?;
                let driver = self.arguments.programs.driver(peer).context("its programs are not named")?;
                let speed = driver.run(&database.url, count, workers).await;
                database.drop()?;
                speed
            }
        }
    }

    /// The whole system, as `bifrost up` starts it.
    async fn ours(&self, settings: &[(&str, &str)], workers: usize) -> anyhow::Result<Speed> {
        let launch = Launch { bifrost: self.program, settings, directory: Some(self.directory) };
        let count = self.arguments.tasks;
        system::during(launch, self.tasks, async |system| {
            let created = load::create(system, self.tasks, count).await?;
            let ended = load::work(system, self.tasks, count, workers).await?;
            let per_second = |span: std::time::Duration| load::rate(count, span);
            Ok(Speed { created_per_second: per_second(created), per_second: per_second(ended), version: None })
        })
        .await
    }

    async fn latencies(&self, system: System) -> anyhow::Result<Sample> {
        let database = if system == System::Postgres { Some(self.database()?) } else { None };
        let settings: Vec<(&str, &str)> =
            database.iter().map(|database| ("DATABASE_URL", database.url.as_str())).collect();
        let launch = Launch { bifrost: self.program, settings: &settings, directory: Some(self.directory) };
        let count = self.arguments.latencies;
        let sample = system::during(launch, self.tasks, async |system| load::latencies(system, count).await).await;
        database.map_or(Ok(()), Database::drop)?;
        sample
    }

    /// A new, empty database.
    fn database(&self) -> anyhow::Result<Database> {
        let address = self.address.context("there is no PostgreSQL")?;
        let name = format!("bench_{}", kit::Chance::system().hex::<8>());
        block_in_place(|| postgres::execute(address, &format!("CREATE DATABASE {name}")))?;
        Ok(Database { address, url: format!("postgres://postgres@{address}/{name}"), name })
    }
}

/// A database of one run.
struct Database {
    address: SocketAddr,
    name: String,
    url: String,
}

impl Database {
    fn drop(self) -> anyhow::Result<()> {
        block_in_place(|| postgres::execute(self.address, &format!("DROP DATABASE {} WITH (FORCE)", self.name)))
    }
}
