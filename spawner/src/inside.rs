//! What runs in an agent's terminal: it reads what it is to do, once, starts the agent,
//! shows and notes what it says, ends it when its time is over, and writes down how it
//! ended. While it lives it holds the agent's lock.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kit::{Chance, Clock, Vars};
use nix::fcntl::OFlag;
use runner::local::{self, Finished, Input, Life, Whose, Work};
use runner::{Drivers, Taken};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use wire::execution::Outcome;
use wire::id::ExecutionId;
use wire::task::TaskSpec;

use crate::config::read_drivers;
use crate::fleet;
use crate::handle::{Desk, EndRecord, Job, Registered, Session};
use crate::supervisor::{self, For, Supervisor};
use crate::takeup;
use crate::{TURN_WITHIN, turn};

/// What was typed and is not yet taken.
const TYPED: usize = 64;
/// A log of twice as many bytes loses its older half.
const LOG_BYTES: u64 = 16 * 1024 * 1024;

/// Runs the agent whose directory this is, to its end. `vars` say in which tmux that is, if in any.
pub async fn run(root: &Path, vars: &Vars, clock: &Clock, chance: &Chance) -> anyhow::Result<()> {
    let desk = Desk::at(root);
    let _alive = kit::lock::take(&desk.alive(), kit::lock::PATIENCE)?.context("this agent runs already")?;
    let job = take_job(&desk);
    // Whoever types as soon as it is ready finds somebody who will listen. In a pane of tmux there is no such pipe.
    let _ear = pipe(&desk).ok();
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
    let life = watch::Sender::default();
    let supervisor = match &job.registration {
        Some(registration) => {
            let supervisor = Supervisor::new(&desk, &job, registration, life.subscribe(), vars, clock, chance).await;
            // The agent runs without it as well.
            supervisor.map_err(|error| note_problem(&desk, &error)).ok()
        }
        None => None,
    };
    let finished = supervise(&desk, &job, &mut log, life, supervisor.as_ref()).await;
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
    desk.write_end(&EndRecord { ended_at: clock.now(), outcome, exit, message, report })?;
    if let Some(supervisor) = supervisor {
        supervisor.farewell().await;
    }
    Ok(())
}

fn note_problem(desk: &Desk, error: &io::Error) {
    let registered = Registered { id: None, problem: Some(format!("the agent is not supervised: {error}")) };
    if let Err(error) = desk.write_runtime(&registered) {
        tracing::warn!("what is wrong cannot be noted: {error}");
    }
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

/// Runs it, and takes its session up again for as long as words wait for it there and its time is not over.
async fn supervise(
    desk: &Desk,
    job: &Job,
    log: &mut Log,
    life: watch::Sender<Option<Life>>,
    supervisor: Option<&Supervisor>,
) -> anyhow::Result<Finished> {
    let drivers = read_drivers(job.drivers.as_deref()).map_err(anyhow::Error::msg)?;
    let mut environment = job.environment.0.clone();
    if supervisor.is_some() {
        environment.insert(supervisor::VARIABLE.into(), desk.acks().to_string_lossy().into_owned());
    }
    let mut seat = Seat::take(desk, job, life)?;
    let deadline = Instant::now() + Duration::from_secs(job.spec.timeout_seconds());
    let given = job.agent().and_then(|agent| takeup::given_session(&drivers, agent));
    if let (Some(supervisor), Some(session)) = (supervisor, given) {
        supervisor.can_resume(&session);
    }
    let mut finished = seat.run(&drivers, &environment, &job.spec, log, supervisor).await?;
    let (Some(supervisor), Some(agent)) = (supervisor, job.agent()) else { return Ok(unanswered(finished)) };
    desk.leave_terminal()?;
    while let Some(session) = takeup::session_of(&drivers, agent, &finished) {
        if let Err(error) = enter(desk, job.id, Session { agent: agent.name.clone(), id: session.clone() }).await {
            log.add(format!("bifrost: its session is not taken up again: {error:#}\n").as_bytes());
            break;
        }
        supervisor.can_resume(&session);
        let asks = finished.report.as_ref().is_some_and(|report| report.asks.is_some());
        let order = tokio::select! {
            order = supervisor.next_words(if asks { For::AnAnswer } else { For::WhatWaits }) => order,
            () = seat.halt.given() => None,
            () = sleep_until(deadline) => {
                if asks {
                    finished.outcome = Outcome::TimedOut;
                    finished.message = Some("nobody has answered its question in time".into());
                }
                None
            }
        };
        let Some(order) = order else { break };
        let left = deadline.saturating_duration_since(Instant::now());
        let spec = takeup::again(&job.spec, agent, session, &order.text, left);
        let again = match seat.run(&drivers, &environment, &spec, log, Some(supervisor)).await {
            Ok(again) => again,
            // How it ended before stays how it ended.
            Err(error) => {
                log.add(format!("bifrost: its session cannot be taken up again: {error:#}\n").as_bytes());
                supervisor.answer(&order, false).await;
                break;
            }
        };
        supervisor.answer(&order, again.outcome == Outcome::Succeeded).await;
        finished = takeup::joined(finished, again);
    }
    Ok(unanswered(finished))
}

/// An agent that ended with a question, which nobody will answer any more, has not done its work.
fn unanswered(finished: Finished) -> Finished {
    let question = finished.report.as_ref().and_then(|report| report.asks.clone());
    match question {
        Some(question) if finished.outcome == Outcome::Succeeded => {
            let message = Some(format!("it asked, and nobody answered: {question}"));
            Finished { outcome: Outcome::Failed, message, ..finished }
        }
        _ => finished,
    }
}

/// Notes that the agent is in a session, unless another one of this computer is.
async fn enter(desk: &Desk, own: ExecutionId, session: Session) -> anyhow::Result<()> {
    let base = desk.root().parent().context("the agent's directory is in none")?;
    let turn = turn(&fleet::lock(base), TURN_WITHIN).await?;
    let _turn = turn.context("others take too long to start")?;
    if let Some(other) = fleet::in_session(base, own, &session)? {
        anyhow::bail!("{other} is in it");
    }
    Ok(desk.write_session(&session)?)
}

/// Where the agent sits: what it is shown on, what is typed, and what ends it.
struct Seat<'a> {
    desk: &'a Desk,
    job: &'a Job,
    is_seen: bool,
    has_keys: bool,
    keys: pipe::Receiver,
    halt: Halt,
    life: watch::Sender<Option<Life>>,
    /// By the runs so far, which are all of one session.
    taken: Taken,
    _raw: Option<Raw>,
}

impl<'a> Seat<'a> {
    fn take(desk: &'a Desk, job: &'a Job, life: watch::Sender<Option<Life>>) -> io::Result<Self> {
        let has_keys = job.spec.terminal && io::stdin().is_terminal();
        Ok(Self {
            desk,
            job,
            is_seen: io::stdout().is_terminal(),
            has_keys,
            _raw: has_keys.then(Raw::enter).transpose()?,
            halt: Halt::listen()?,
            keys: if has_keys { own_terminal()? } else { pipe(desk)? },
            life,
            taken: Taken::default(),
        })
    }

    async fn run(
        &mut self,
        drivers: &Drivers,
        environment: &BTreeMap<String, String>,
        spec: &TaskSpec,
        log: &mut Log,
        supervisor: Option<&Supervisor>,
    ) -> anyhow::Result<Finished> {
        let work = Work {
            whose: Whose { task_id: self.job.task_id, execution_id: self.job.id },
            spec,
            drivers,
            directory: &self.job.worktree,
            own: &self.desk.own(),
            environment,
            grace: Duration::from_millis(self.job.grace_ms),
            before: self.taken,
        };
        let (sender, typed) = mpsc::channel(TYPED);
        let show = |bytes: &[u8]| {
            if self.is_seen {
                let mut out = io::stdout().lock();
                // A terminal that is gone shows nothing; the log has it.
                drop(out.write_all(bytes).and_then(|()| out.flush()));
            }
            log.add(bytes);
        };
        let beside = async {
            if let Some(supervisor) = supervisor {
                supervisor.beside(spec).await;
            }
            std::future::pending::<()>().await;
        };
        let finished = tokio::select! {
            finished = local::run(&work, typed, self.halt.given(), self.life.clone(), show) => finished?,
            error = type_keys(&mut self.keys, self.has_keys, sender) => return Err(error.into()),
            () = beside => unreachable!("it is pending in the end"),
        };
        self.taken = finished.report.as_ref().map(Taken::by).into_iter().fold(self.taken, Taken::and);
        Ok(finished)
    }
}

/// That somebody ends this process, or closes its terminal.
struct Halt {
    signals: [Signal; 3],
    is_given: bool,
}

impl Halt {
    fn listen() -> io::Result<Self> {
        let signals = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
        let [terminate, hangup, interrupt] = signals.map(signal);
        Ok(Self { signals: [terminate?, hangup?, interrupt?], is_given: false })
    }

    /// Resolves once it was given, however often it is asked.
    async fn given(&mut self) {
        let [terminate, hangup, interrupt] = &mut self.signals;
        if !self.is_given {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = hangup.recv() => (),
                _ = interrupt.recv() => (),
            }
        }
        self.is_given = true;
    }
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
async fn type_keys(keys: &mut pipe::Receiver, has_window: bool, to: mpsc::Sender<Input>) -> io::Error {
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
