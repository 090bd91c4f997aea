//! `bifrost up` as a child process on a data directory of its own, stopped
//! cleanly whatever comes of the measurement.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use client::control::Control;
use kit::process::Sig;
use kit::{Chance, Tasks};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wire::execution::{ExecutionView, Outcome, Phase, PhaseTiming};
use wire::task::NewTask;

/// What of our environment the programs see: no setting of somebody's own, so that defaults are measured.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// Machines stay awake for the whole measurement.
pub(crate) const STAY_AWAKE: [(&str, &str); 1] = [("BIFROST_SUSPEND_AFTER_MS", "3600000")];
/// The longest a start may take before it counts as failed.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The longest a stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// One question to `/ready`.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// The longest one task may take, installing from nothing included.
pub(crate) const TASK_LIMIT: Duration = Duration::from_secs(900);
/// Between two looks at a task.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Of a log that ends a failure.
const LOG_LINES: usize = 20;

/// Which program to start, and with which settings besides the defaults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) bifrost: &'a Path,
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// Where its data directory is made; with other temporary files where nothing is said.
    pub(crate) directory: Option<&'a Path>,
}

/// A system that is ready.
#[derive(Debug)]
pub(crate) struct System {
    /// A client with its key.
    pub(crate) control: Control,
    /// That key, for more clients.
    pub(crate) key: String,
    /// The id of its process.
    pub(crate) process_id: u32,
    /// From the start of the process until `/ready` said yes.
    pub(crate) ready_after: Duration,
}

impl System {
    /// Runs a task to its end, which must be a good one.
    pub(crate) async fn run(&self, task: &NewTask) -> anyhow::Result<ExecutionView> {
        let submitted = self.control.submit(task, &Chance::system().hex::<16>()).await?;
        let deadline = Instant::now() + TASK_LIMIT;
        let execution = loop {
            let task = self.control.task(submitted.id).await?;
            match task.execution {
                Some(execution) if execution.completed_at.is_some() => break execution,
                _ if Instant::now() > deadline => bail!("a task takes longer than {TASK_LIMIT:?}"),
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        ensure!(execution.outcome == Some(Outcome::Succeeded), "a task failed: {:?}", execution.error_message);
        Ok(execution)
    }

    /// One more client, with a connection of its own.
    pub(crate) fn client(&self) -> Control {
        Control::new(self.control.base(), &self.key)
    }
}

/// A program of ours, with nothing of our environment but what it needs to find its tools.
pub(crate) fn program(bifrost: &Path) -> Command {
    let mut command = kit::process::command(bifrost);
    let vars = kit::Vars::from_process();
    command.env_clear().envs(PASSED_ON.iter().filter_map(|name| Some((*name, vars.text(name)?))));
    command
}

/// Starts a system on an empty data directory, measures, and stops it.
pub(crate) async fn during<T>(
    launch: Launch<'_>,
    tasks: &Tasks,
    measure: impl AsyncFnOnce(&System) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut up = Up::start(launch)?;
    let measuring = async {
        let system = up.ready().await?;
        measure(&system).await
    };
    let measured = tokio::select! {
        measured = measuring => measured,
        () = tasks.stopping() => Err(anyhow!("interrupted")),
    };
    let stopped = up.stop().await;
    let measured = measured.map_err(|error| anyhow!("{error:#}; the system's log ends with:\n{}", up.end_of_log()))?;
    stopped?;
    Ok(measured)
}

/// The process, from its start to its end.
struct Up {
    child: Child,
    started: Instant,
    /// Made before the start, so that its own cost is not measured.
    http: reqwest::Client,
    log: PathBuf,
    _directory: TempDir,
}

/// What `bifrost up --json` says once it listens.
#[derive(Deserialize)]
struct Welcome {
    control_plane: String,
    api_key_file: PathBuf,
}

impl Up {
    fn start(launch: Launch<'_>) -> anyhow::Result<Self> {
        let http = kit::http::client(QUESTION_LIMIT);
        let directory = launch.directory.map_or_else(tempfile::tempdir, tempfile::tempdir_in)?;
        let log = directory.path().join("log");
        let mut command = program(launch.bifrost);
        command.args(["up", "--json", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        command.envs(launch.settings.iter().copied());
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("{} cannot be started", launch.bifrost.display()))?;
        Ok(Self { child, started, http, log, _directory: directory })
    }

    async fn ready(&mut self) -> anyhow::Result<System> {
        let Ok(welcome) = tokio::time::timeout(START_LIMIT, self.welcome()).await else {
            bail!("the system was not ready within {START_LIMIT:?}")
        };
        let ready_after = self.started.elapsed();
        let Welcome { control_plane, api_key_file } = welcome?;
        let key = std::fs::read_to_string(&api_key_file)?;
        let process_id = self.child.id().context("`bifrost up` has ended")?;
        let key = key.trim().to_owned();
        Ok(System { control: Control::new(&control_plane, &key), key, process_id, ready_after })
    }

    /// What it says once it listens; comes back when it is ready.
    async fn welcome(&mut self) -> anyhow::Result<Welcome> {
        let stdout = self.child.stdout.take().context("its output is read once")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let welcome: Welcome = serde_json::from_str(&line.context("`bifrost up` ended before it was ready")?)?;
        while !self.is_ready(&welcome.control_plane).await {
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(welcome)
    }

    async fn is_ready(&self, url: &str) -> bool {
        let answer = self.http.get(format!("{url}/ready")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks it to stop, which takes its machines along, and waits for that.
    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process_id) = self.child.id() {
            kit::process::signal_group(process_id, Sig::SIGTERM)?;
        }
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(status) => ensure!(status?.success(), "`bifrost up` did not end well"),
            Err(_) => bail!("`bifrost up` did not stop within {STOP_LIMIT:?}"),
        }
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// How a phase of an execution went.
pub(crate) fn phase(execution: &ExecutionView, phase: Phase) -> anyhow::Result<&PhaseTiming> {
    execution.phases.iter().find(|timing| timing.phase == phase).context("the phase is missing")
}
