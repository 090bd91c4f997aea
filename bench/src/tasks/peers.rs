//! What one would use instead: queues of others over the same PostgreSQL, each with
//! its own worker in its own language (`bench/peers`), as its documentation has it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use clap::Args;

use super::comparison::{Speed, System};

/// Where the peers are; one that is not named is left out.
#[derive(Debug, Args)]
pub(crate) struct Programs {
    /// The `node` that runs pg-boss and graphile-worker
    #[arg(long, value_name = "FILE")]
    node: Option<PathBuf>,
    /// The directory of their drivers, with the packages in its `node_modules`
    #[arg(long, value_name = "DIR", requires = "node")]
    node_drivers: Option<PathBuf>,
    /// The `python` that has Procrastinate installed
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Procrastinate's driver
    #[arg(long, value_name = "FILE", default_value = "bench/peers/procrastinate_peer.py")]
    python_driver: PathBuf,
}

/// A program that measures a peer: creates so many jobs, does them with so many workers, and says how fast.
pub(crate) struct Driver<'a> {
    program: &'a Path,
    script: PathBuf,
}

impl Programs {
    /// What measures the peer; nothing where it is not there.
    pub(crate) fn driver(&self, system: System) -> Option<Driver<'_>> {
        let of_node = |name: &str| {
            let program = self.node.as_deref()?;
            Some(Driver { program, script: self.node_drivers.as_ref()?.join(name) })
        };
        match system {
            System::PgBoss => of_node("pg-boss.mjs"),
            System::GraphileWorker => of_node("graphile-worker.mjs"),
            System::Procrastinate => {
                Some(Driver { program: self.python.as_deref()?, script: self.python_driver.clone() })
            }
            System::Postgres | System::Sqlite => None,
        }
    }
}

impl Driver<'_> {
    /// Has it measured.
    pub(crate) async fn run(&self, url: &str, jobs: usize, workers: usize) -> anyhow::Result<Speed> {
        let mut command = kit::process::command(self.program);
        command.arg(&self.script).arg(url).args([jobs.to_string(), workers.to_string()]);
        let output = command.stdin(Stdio::null()).output().await;
        let output = output.with_context(|| format!("{} cannot be started", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("it said nothing");
        ensure!(output.status.success(), "{} failed: {last}", self.script.display());
        serde_json::from_slice(&output.stdout).with_context(|| format!("{} gave no figures", self.script.display()))
    }
}
