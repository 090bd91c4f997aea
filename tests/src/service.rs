//! The programs of a world and the processes they run in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kit::process::{Sig, signal_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::level::{PATIENCE, until};

/// A program of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `bifrost control-plane`
    ControlPlane,
    /// `bifrost emulator`
    Emulator,
    /// `bifrost event-store`
    EventStore,
    /// `bifrost up`: all three in one process.
    System,
}

impl Service {
    /// The subcommand that runs it.
    pub fn command(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Emulator => "emulator",
            Self::EventStore => "event-store",
            Self::System => "up",
        }
    }
}

/// A program that runs, and the files that its output goes to.
#[derive(Debug)]
pub(crate) struct Program {
    service: Service,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it. Its log goes on where an earlier process's has ended; its output begins anew.
    pub(crate) fn start(service: Service, mut command: Command, logs: &Path) -> Self {
        let log = logs.join(format!("{}.log", service.command()));
        let append = File::options().create(true).append(true).open(&log).expect("the log may be written");
        let output = File::create(output_of(service, logs)).expect("the output may be written");
        let child = command.stdout(Stdio::from(output)).stderr(Stdio::from(append)).spawn();
        Self { service, child: child.expect("the program starts"), log }
    }

    /// Ends it at once, wherever it is. It must not have ended by itself.
    pub(crate) async fn kill(mut self) {
        self.must_run();
        self.child.kill().await.expect("a process of ours can be killed");
    }

    /// Ends it as an operator would.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let leader = self.child.id().expect("it has not ended by itself");
        signal_group(leader, Sig::SIGTERM).expect("a process of ours can be signalled");
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not stop", self.service.command())).expect("it was started here")
    }

    /// Waits until somebody answers at the URL.
    pub(crate) async fn answers(&mut self, url: &str) {
        let http = kit::http::client(PATIENCE);
        let what = format!("the {} answers at {url}", self.service.command());
        until(&what, PATIENCE, async || {
            self.must_run();
            http.get(url).send().await.ok()
        })
        .await;
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().expect("it was started here") {
            panic!("the {} ended by itself with {status}:\n{}", self.service.command(), tail(&self.log));
        }
    }

    /// Starts its end without waiting for it.
    pub(crate) fn begin_kill(&mut self) {
        self.child.start_kill().ok();
    }
}

/// The file of what it printed.
pub(crate) fn output_of(service: Service, logs: &Path) -> PathBuf {
    logs.join(format!("{}.out", service.command()))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
