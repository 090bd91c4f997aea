//! What runs in an agent's terminal: it reads what it is to do, once, starts the agent,
//! shows and notes what it says, ends it when its time is over, and writes down how it
//! ended. While it lives it holds the agent's lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kit::Clock;
use nix::fcntl::OFlag;
use runner::local::{self, Finished, Input, Whose, Work};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wire::execution::Outcome;

use crate::config::read_drivers;
use crate::handle::{Desk, EndRecord, Job};

/// What was typed and is not yet taken.
const TYPED: usize = 64;
/// A log of twice as many bytes loses its older half.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Runs the agent whose directory this is, to its end.
pub async fn run(root: &Path, clock: &Clock) -> anyhow::Result<()> {
    let desk = Desk::at(root);
    let _alive = kit::lock::take(&desk.alive(), kit::lock::PATIENCE)?.context("this agent runs already")?;
    let job = take_job(&desk);
    let job = match (job, say_ready(&desk)) {
        (Ok(job), Ok(ready)) => {
            fs::write(desk.supervisor(), std::process::id().to_string())?;
            answer(ready, "ok")?;
            job
        }
        (Err(error), Ok(ready)) => {
            answer(ready, &format!("{error:#}").replace('\n', " "))?;
            return Err(error);
        }
        (_, Err(error)) => return Err(error).context("whoever started this is gone"),
    };
    let mut log = Log::open(&desk)?;
    let finished = supervise(&desk, &job, &mut log).await;
    let finished = finished.unwrap_or_else(|error| Finished {
        outcome: Outcome::Failed,
        exit: None,
        message: Some(format!("{error:#}")),
        report: None,
    });
    if let Some(message) = &finished.message {
        log.add(format!("bifrost: {message}\n").as_bytes());
    }
    let Finished { outcome, exit, message, report } = finished;
    Ok(desk.write_end(&EndRecord { ended_at: clock.now(), outcome, exit, message, report })?)
}

/// Reads what is to be done; from then on it is nowhere but here.
fn take_job(desk: &Desk) -> anyhow::Result<Job> {
    let text = fs::read(desk.job()).context("there is nothing to do here")?;
    fs::remove_file(desk.job())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Whoever starts the agent waits for this; nobody may have waited for so long.
fn say_ready(desk: &Desk) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(desk.ready())
}

fn answer(mut ready: File, word: &str) -> io::Result<()> {
    ready.write_all(format!("{word}\n").as_bytes())
}

async fn supervise(desk: &Desk, job: &Job, log: &mut Log) -> anyhow::Result<Finished> {
    let drivers = read_drivers(job.drivers.as_deref()).map_err(anyhow::Error::msg)?;
    let work = Work {
        whose: Whose { task_id: job.task_id, execution_id: job.id },
        spec: &job.spec,
        drivers: &drivers,
        directory: &job.worktree,
        own: &desk.own(),
        environment: &job.environment.0,
        grace: Duration::from_millis(job.grace_ms),
    };
    let is_seen = io::stdout().is_terminal();
    let has_keys = job.spec.terminal && io::stdin().is_terminal();
    let _raw = has_keys.then(Raw::enter).transpose()?;
    let (sender, typed) = mpsc::channel(TYPED);
    let show = |bytes: &[u8]| {
        if is_seen {
            let mut out = io::stdout().lock();
            // A terminal that is gone shows nothing; the log has it.
            drop(out.write_all(bytes).and_then(|()| out.flush()));
        }
        log.add(bytes);
    };
    let halted = halted()?;
    let keys = if has_keys { own_terminal()? } else { pipe(desk)? };
    tokio::select! {
        finished = local::run(&work, typed, halted, show) => Ok(finished?),
        error = type_keys(keys, has_keys, sender) => Err(error.into()),
    }
}

/// Resolves when somebody ends this process, or closes its terminal.
fn halted() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// The terminal, opened once more: reading it without waiting must not change how it is written.
fn own_terminal() -> io::Result<pipe::Receiver> {
    let name = termios::ttyname(rustix::stdio::stdin(), Vec::new())?;
    let flags = rustix::fs::OFlags::RDONLY
        | rustix::fs::OFlags::NONBLOCK
        | rustix::fs::OFlags::NOCTTY
        | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
    pipe::Receiver::from_owned_fd_unchecked(opened)
}

/// What is typed where there is no terminal but the agent's own.
fn pipe(desk: &Desk) -> io::Result<pipe::Receiver> {
    // Open for writing as well, so that it does not end when whoever typed has gone.
    pipe::OpenOptions::new().read_write(true).open_receiver(desk.keys())
}

/// Passes on what is typed, and the size of the window. Comes back only when that is no longer possible.
async fn type_keys(mut keys: pipe::Receiver, has_window: bool, to: mpsc::Sender<Input>) -> io::Error {
    let mut resized = match signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return error,
    };
    let mut buffer = vec![0; 4096];
    let mut is_resized = has_window;
    loop {
        if std::mem::take(&mut is_resized)
            && let Ok(size) = termios::tcgetwinsize(io::stdout())
        {
            let (rows, columns) = (size.ws_row, size.ws_col);
            // Whoever no longer listens has ended.
            drop(to.send(Input::Resized { rows, columns }).await);
        }
        tokio::select! {
            read = keys.read(&mut buffer) => match read {
                Ok(length @ 1..) => drop(to.send(Input::Typed(buffer[..length].to_vec())).await),
                // The terminal was closed; a signal says so as well, and ends the agent in order.
                Ok(0) | Err(_) => std::future::pending().await,
            },
            _ = resized.recv() => is_resized = has_window,
        }
    }
}

/// One's own terminal, passing everything on; as it was before once this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to complain to.
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0).ok();
    }
}

/// What the agent said, the last of it.
struct Log {
    desk: Desk,
    file: File,
    written: u64,
}

impl Log {
    fn open(desk: &Desk) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(desk.log())?;
        let written = file.metadata()?.len();
        Ok(Self { desk: desk.clone(), file, written })
    }

    /// A log that cannot be written stops nothing.
    fn add(&mut self, bytes: &[u8]) {
        if self.written > LOG_BYTES
            && fs::rename(self.desk.log(), self.desk.earlier_log()).is_ok()
            && let Ok(log) = Self::open(&self.desk)
        {
            *self = log;
        }
        self.written += bytes.len() as u64;
        if let Err(error) = self.file.write_all(bytes) {
            tracing::warn!("the log cannot be written: {error}");
        }
    }
}
