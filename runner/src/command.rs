//! The command itself: started in a group of its own, its output told as it
//! comes, ended when its time is over or somebody says so, and nothing of it left
//! when this returns.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kit::process::Sig;
use kit::tasks::blocking;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use wire::event::{Stream, kind};
use wire::execution::{Exit, Outcome};

use crate::agent::reading::Reading;
use crate::channel::Signs;
use crate::isolation::{Isolation, Openings};
use crate::leftovers;
use crate::orders::{Halt, NotOurs, Orders};
use crate::process::Group;
use crate::record::Story;
use crate::terminal::{Input, Life, Master, Player, Stage, Terminal};

mod activity;
mod commits;
mod connections;
pub(crate) mod environment;
pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod redaction;
use activity::{Activity, Seen};
use commits::Commits;
use output::{Chunker, Pieces};
use program::NotRunnable;
use redaction::{Redactor, Secrets};

/// Output that follows other output sooner than this is told together.
const GATHER: Duration = Duration::from_millis(10);
/// How long output is read on after the command has ended, while something it started holds the pipe.
const LINGER: Duration = Duration::from_millis(500);
/// How long the rest of the pipe may take to read once nothing can write to it.
const DRAIN: Duration = Duration::from_millis(100);
/// How long a command is held until it is known whether it is still ours: longer than it takes to register and to ask.
/// Nobody is judged by the control plane's silence, so it goes on then.
pub(crate) const HELD_AT_MOST: Duration = Duration::from_secs(30);
/// How often a silent command is looked at within its idle timeout.
const LOOKS: u32 = 4;
const READ_BYTES: usize = 64 * 1024;

/// What to run, where, and within which bounds.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Program and arguments.
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    /// All of the command's environment.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) grace: Duration,
    /// How long it is held at most where it may be somebody else's by now.
    pub(crate) hold: Duration,
    /// How long an agent may take to exit once it has said how it ended.
    pub(crate) agent_exit: Duration,
    pub(crate) output_bytes: u64,
    /// What it reads on its standard input; nothing when absent.
    pub(crate) input: Option<Arc<File>>,
    /// Where those who watch find it.
    pub(crate) stage: Arc<Stage>,
    /// Whether it gets a terminal in place of pipes.
    pub(crate) has_terminal: bool,
    /// What it says of itself while it runs.
    pub(crate) signs: watch::Receiver<Signs>,
    /// What keeps it apart, and what it sees all the same.
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) openings: Openings,
    /// What must not be told of what it says.
    pub(crate) secrets: Secrets,
}

/// What ended a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It ended by itself.
    Itself,
    /// An agent had said how it ended, and did not exit.
    Concluded,
    Timeout,
    IdleTimeout,
    Stalled,
    Halt(Halt),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) cause: Cause,
    pub(crate) truncated_bytes: u64,
}

/// What the end of a command means for its execution (pure); nothing where nothing may be said.
pub(crate) fn outcome(cause: Cause, exit: Exit) -> Option<Outcome> {
    Some(match (cause, exit) {
        // What an agent said decides.
        (Cause::Itself, Exit::Code(0)) | (Cause::Concluded, _) => Outcome::Succeeded,
        (Cause::Itself, Exit::Code(_) | Exit::Signal(_)) | (Cause::Halt(Halt::DiskExceeded(_)), _) => Outcome::Failed,
        (Cause::Timeout, _) => Outcome::TimedOut,
        (Cause::IdleTimeout, _) => Outcome::IdleTimedOut,
        (Cause::Stalled, _) => Outcome::Stalled,
        (Cause::Halt(Halt::Cancelled), _) => Outcome::Cancelled,
        // Its machine went away under it: that spends no attempt.
        (Cause::Halt(Halt::Stopping), _) => Outcome::WorkerLost,
        (Cause::Halt(Halt::LeaseLost), _) => return None,
    })
}

/// Runs the command to its end and tells its output, or, of an agent's, what `reading` makes of it.
pub(crate) async fn run(job: &Job, story: &mut Story, reading: Option<&mut Reading<'_>>) -> Ended {
    let refused = match start(job) {
        Ok((child, master)) => return supervise(job, story, child, master, reading).await,
        Err(refused) => refused,
    };
    story.log(Stream::Stderr, format!("bifrost: {refused}\n").into_bytes()).await;
    Ended { exit: Exit::Code(refused.code()), cause: Cause::Itself, truncated_bytes: 0 }
}

fn start(job: &Job) -> Result<(Child, Option<Master>), NotRunnable> {
    let name = job.arguments.first().map(String::as_str).unwrap_or_default();
    let path = job.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let program = program::find(name, path, &job.directory)?;
    let failed = |error: io::Error| NotRunnable::NotExecutable(format!("{name} ({error})"));
    let terminal = job.has_terminal.then(Terminal::open).transpose().map_err(failed)?;
    // A terminal is a session's.
    let mut command = match terminal {
        Some(_) => kit::process::session(&program),
        None => kit::process::command(&program),
    };
    command.arg0(name).args(&job.arguments[1..]).current_dir(&job.directory);
    command.env_clear().envs(&job.environment).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(input) = &job.input {
        command.stdin(input.try_clone().map_err(failed)?);
    }
    let master = terminal.map(|terminal| terminal.lend(&mut command)).transpose().map_err(failed)?;
    let walls = job.isolation.enclose_with(&mut command, &job.openings, job.has_terminal);
    let child = walls.and_then(|()| command.spawn());
    child.map(|child| (child, master)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => match job.isolation.covering(&program, &job.openings) {
            Some(within) => NotRunnable::OutOfSight { name: name.to_owned(), within },
            // The file is there, so it is the interpreter on its first line that is not.
            None => NotRunnable::NotFound(format!("the interpreter of {name}")),
        },
        _ => failed(error),
    })
}

async fn supervise(
    job: &Job,
    story: &mut Story,
    mut child: Child,
    master: Option<Master>,
    reading: Option<&mut Reading<'_>>,
) -> Ended {
    let group = Group::of(&child);
    let terminal = master.as_ref().map(|master| master.name.clone());
    let life = Life { pid: child.id().unwrap_or_default(), terminal, typed: 0 };
    let player = job.stage.enter(story.subject().execution_id, life);
    let mut watch = Watch::new(job, &mut child, master, player, story, reading);
    let exit = loop {
        let step = watch.next(&mut child, story).await;
        if let Some(exit) = watch.take(step, &group, story).await {
            break exit;
        }
    };
    group.signal(Sig::SIGKILL);
    let execution = story.subject().execution_id;
    blocking(move || leftovers::end(execution)).await;
    watch.let_go();
    watch.drain().await;
    watch.tell_usages(story).await;
    for (stream, bytes) in watch.pieces {
        story.log(stream, bytes).await;
    }
    Ended { exit, cause: watch.cause, truncated_bytes: watch.chunker.truncated() }
}

/// A pipe or a terminal.
type Output = Box<dyn AsyncRead + Send + Unpin>;

/// What can happen while a command runs.
#[derive(Debug)]
enum Step {
    Read(Stream, usize),
    /// The command says that it goes on.
    GoesOn,
    /// Somebody who watches typed, or has another window.
    Input(Input),
    /// There is room for one more event.
    MayTell,
    Gathered,
    Exited(io::Result<ExitStatus>),
    LingeredEnough,
    /// Nothing was said for a part of the idle timeout.
    MayBeIdle,
    Looked(Seen),
    /// Nothing was said for the length of the stall timeout.
    MayHaveStalled,
    MustEnd(Cause),
    MustDie,
    /// The machine may have slept.
    MayBeLost,
    /// While the command was held.
    Answered(Result<(), NotOurs>),
}

/// A command that is stopped until somebody says whose it is.
struct Held {
    since: Instant,
    answer: Pin<Box<dyn Future<Output = Result<(), NotOurs>> + Send>>,
}

/// Everything that is watched at once.
struct Watch<'a, 'd> {
    stdout: Option<Output>,
    stderr: Option<Output>,
    master: Option<Master>,
    player: Player,
    buffers: [Vec<u8>; 2],
    chunker: Chunker,
    redactor: Redactor<'a>,
    pieces: Pieces,
    reading: Option<&'a mut Reading<'d>>,
    orders: Orders,
    signs: watch::Receiver<Signs>,
    cause: Cause,
    exit: Option<Exit>,
    deadline: Instant,
    idle_timeout: Option<Duration>,
    idle_deadline: Option<Instant>,
    look_at: Option<Instant>,
    activity: Activity,
    /// A look that is under way.
    looking: Option<Pin<Box<dyn Future<Output = Seen> + Send>>>,
    stall_timeout: Option<Duration>,
    stall_deadline: Option<Instant>,
    commits: Commits,
    agent_exit: Duration,
    /// When an agent that has said how it ended is ended.
    over_at: Option<Instant>,
    grace: Duration,
    die_at: Option<Instant>,
    linger_until: Option<Instant>,
    told_at: Option<Instant>,
    isolation: Arc<Isolation>,
    /// What belongs to the execution besides its workspace.
    own: PathBuf,
    doubts: Option<watch::Receiver<()>>,
    held: Option<Held>,
    hold: Duration,
}

impl<'a, 'd> Watch<'a, 'd> {
    fn new(
        job: &'a Job,
        child: &mut Child,
        master: Option<Master>,
        player: Player,
        story: &Story,
        reading: Option<&'a mut Reading<'d>>,
    ) -> Self {
        let now = Instant::now();
        let said = child.stdout.take().map(|stdout| Box::new(stdout) as Output);
        let shown = master.as_ref().and_then(|master| Some(Box::new(master.output().ok()?) as Output));
        Self {
            stdout: shown.or(said),
            stderr: child.stderr.take().map(|stderr| Box::new(stderr) as Output),
            master,
            player,
            buffers: [vec![0; READ_BYTES], vec![0; READ_BYTES]],
            chunker: Chunker::new(job.output_bytes),
            redactor: Redactor::new(&job.secrets),
            pieces: Pieces::new(),
            reading,
            orders: story.orders().clone(),
            signs: job.signs.clone(),
            cause: Cause::Itself,
            exit: None,
            deadline: now + job.timeout,
            idle_timeout: job.idle_timeout,
            idle_deadline: job.idle_timeout.map(|idle| now + idle),
            look_at: job.idle_timeout.map(|idle| now + idle / LOOKS),
            activity: Activity::of(story.subject().execution_id, child.id()),
            looking: None,
            stall_timeout: job.stall_timeout,
            stall_deadline: job.stall_timeout.map(|stall| now + stall),
            commits: Commits::of(&job.directory),
            agent_exit: job.agent_exit,
            over_at: None,
            grace: job.grace,
            die_at: None,
            linger_until: None,
            told_at: None,
            isolation: job.isolation.clone(),
            own: job.openings.execution.clone(),
            doubts: story.orders().doubts(),
            held: None,
            hold: job.hold,
        }
    }

    /// Waits for whatever happens next. What was read is told before more is read; while nobody
    /// takes it the command waits, but its time goes on.
    async fn next(&mut self, child: &mut Child, story: &Story) -> Step {
        let is_told = self.pieces.is_empty();
        let is_running = self.exit.is_none();
        let may_end = is_running && self.cause == Cause::Itself;
        // Its time stands still while it is held.
        let may_tire = may_end && self.held.is_none();
        let gather_until = self.told_at.filter(|_| self.chunker.is_waiting()).map(|told| told + GATHER);
        let [out, err] = &mut self.buffers;
        tokio::select! {
            length = read(&mut self.stdout, out), if is_told => Step::Read(Stream::Stdout, length),
            length = read(&mut self.stderr, err), if is_told => Step::Read(Stream::Stderr, length),
            () = story.may_tell(), if !is_told => Step::MayTell,
            status = child.wait(), if is_running => Step::Exited(status),
            () = heard(&mut self.signs), if may_end => Step::GoesOn,
            input = self.player.typed(), if is_running => Step::Input(input),
            halt = self.orders.halted(), if may_end => Step::MustEnd(Cause::Halt(halt)),
            () = sleep_until(self.deadline), if may_tire => Step::MustEnd(Cause::Timeout),
            () = reached(self.look_at), if may_tire => Step::MayBeIdle,
            seen = looked(&mut self.looking), if may_tire => Step::Looked(seen),
            () = reached(self.stall_deadline), if may_tire => Step::MayHaveStalled,
            () = reached(self.over_at), if may_tire && is_told => Step::MustEnd(Cause::Concluded),
            () = doubted(&mut self.doubts), if may_tire => Step::MayBeLost,
            answer = answered(&mut self.held), if may_end => Step::Answered(answer),
            () = reached(self.die_at), if is_running => Step::MustDie,
            () = reached(self.linger_until) => Step::LingeredEnough,
            () = reached(gather_until), if is_told => Step::Gathered,
        }
    }

    /// Notes what happened; the exit comes back when there is nothing more to wait for.
    async fn take(&mut self, step: Step, group: &Group, story: &mut Story) -> Option<Exit> {
        match step {
            Step::Read(stream, 0) => match stream {
                Stream::Stdout => self.stdout = None,
                Stream::Stderr => self.stderr = None,
            },
            Step::Read(stream, length) => {
                self.take_output(stream, length);
                self.tell_usages(story).await;
            }
            Step::GoesOn => {
                self.put_off();
                self.over_at = self.over_at.map(|_| self.over_from(Instant::now()));
            }
            Step::Input(input) => self.pass_on(input).await,
            Step::MayTell => {
                let (stream, bytes) = self.pieces.remove(0);
                story.log(stream, bytes).await;
                self.told_at = Some(Instant::now());
            }
            Step::Gathered => self.chunker.flush(&mut self.pieces),
            Step::Exited(status) => {
                self.exit = Some(exit(status));
                self.linger_until = Some(Instant::now() + LINGER);
            }
            Step::LingeredEnough => return self.exit,
            Step::MayBeIdle => {
                self.look_at = None;
                self.looking = Some(Box::pin(self.activity.look()));
            }
            Step::Looked(seen) => self.judge(seen, group),
            Step::MayHaveStalled => {
                match self.stall_timeout.and_then(|stall| self.commits.since(story.machine_now(), stall)) {
                    Some(left) => self.stall_deadline = Some(Instant::now() + left),
                    None => self.end(Cause::Stalled, group),
                }
            }
            Step::MustEnd(cause) => self.end(cause, group),
            Step::MayBeLost => self.hold(),
            Step::Answered(Err(NotOurs::Halted(halt))) => self.end(Cause::Halt(halt), group),
            Step::Answered(Ok(()) | Err(NotOurs::Unanswered)) => self.let_go(),
            Step::MustDie => {
                self.die_at = None;
                group.signal(Sig::SIGKILL);
            }
        }
        let is_over = self.stdout.is_none() && self.stderr.is_none() && self.pieces.is_empty();
        self.exit.filter(|_| is_over)
    }

    fn end(&mut self, cause: Cause, group: &Group) {
        self.cause = match cause {
            Cause::Timeout | Cause::IdleTimeout | Cause::Stalled if self.is_over() => Cause::Concluded,
            cause => cause,
        };
        if let (Cause::Concluded, Some(reading)) = (self.cause, &mut self.reading) {
            reading.seal();
            let words = b"bifrost: the agent has said how it ended and does not exit, so it is ended\n";
            self.chunker.push(Stream::Stderr, words, &mut self.pieces);
        }
        // What is somebody else's goes no step further.
        let grace = match (&self.held, cause) {
            (Some(_), Cause::Halt(Halt::LeaseLost)) => Duration::ZERO,
            _ => {
                self.let_go();
                self.grace
            }
        };
        self.die_at = Some(Instant::now() + grace);
        group.signal(Sig::SIGTERM);
    }

    /// Stops the command where it stands, where the machine can do that, and asks whether it is still ours.
    fn hold(&mut self) {
        match self.isolation.hold(&self.own, true) {
            Ok(true) => {
                let (orders, hold) = (self.orders.clone(), self.hold);
                let answer = Box::pin(async move { orders.confirm(hold).await });
                self.held = Some(Held { since: Instant::now(), answer });
            }
            Ok(false) => (),
            Err(error) => tracing::warn!("a command goes on although it may be somebody else's: {error}"),
        }
    }

    /// Has a command that was held go on, and gives it the time back.
    fn let_go(&mut self) {
        let Some(held) = self.held.take() else { return };
        if let Err(error) = self.isolation.hold(&self.own, false) {
            tracing::warn!("a command that was held does not go on: {error}");
        }
        let lost = held.since.elapsed();
        self.deadline += lost;
        let others = [&mut self.idle_deadline, &mut self.look_at, &mut self.stall_deadline, &mut self.over_at];
        for deadline in others {
            *deadline = deadline.map(|deadline| deadline + lost);
        }
    }

    /// Hands on what somebody typed; a command that takes none of it for a while loses it.
    async fn pass_on(&mut self, input: Input) {
        let Some(master) = &mut self.master else { return };
        let done = match input {
            Input::Typed(keys) => {
                let typed = master.type_keys(&keys).await;
                if typed.is_ok() {
                    self.player.typed_on(keys.len());
                }
                typed
            }
            Input::Resized { rows, columns } => master.resize(rows, columns),
        };
        if let Err(error) = done {
            tracing::debug!("what was typed did not reach the command: {error}");
        }
    }

    /// That a silent command is at work counts for the idle timeout as if it had said so.
    fn judge(&mut self, seen: Seen, group: &Group) {
        let now = Instant::now();
        if self.activity.has_worked(seen) {
            self.idle_deadline = self.idle_timeout.map(|idle| self.quiet_until(now) + idle);
        } else if self.idle_deadline.is_some_and(|deadline| deadline <= now) {
            return self.end(Cause::IdleTimeout, group);
        }
        let next = self.idle_timeout.map(|idle| now + idle / LOOKS);
        self.look_at = next.min(self.idle_deadline);
    }

    /// There was a sign of life.
    fn put_off(&mut self) {
        let now = Instant::now();
        let quiet_until = self.quiet_until(now);
        self.idle_deadline = self.idle_timeout.map(|idle| quiet_until + idle);
        self.look_at = self.idle_timeout.map(|idle| now + idle / LOOKS);
        self.looking = None;
        self.stall_deadline = self.stall_timeout.map(|stall| quiet_until + stall);
    }

    /// Until when it has said that it is busy.
    fn quiet_until(&self, now: Instant) -> Instant {
        now + self.signs.borrow().busy_left(now).unwrap_or_default()
    }

    /// When an agent that says nothing more from now on is ended, were this the end: not before the time is over for
    /// which it is busy.
    fn over_from(&self, now: Instant) -> Instant {
        self.quiet_until(now) + self.agent_exit
    }

    /// Whether an agent has said how it ended, and is not busy with more.
    fn is_over(&self) -> bool {
        self.over_at.is_some_and(|at| at <= Instant::now() + self.agent_exit)
    }

    /// Notes whether an agent has said how it ended.
    fn mind_the_end(&mut self, now: Instant) {
        if !self.reading.as_ref().is_some_and(|reading| reading.is_over()) {
            self.over_at = None;
        } else if self.over_at.is_none() {
            self.over_at = Some(now + self.agent_exit);
            // What it said on its channel before is over as well.
            self.signs.mark_unchanged();
        }
    }

    fn take_output(&mut self, stream: Stream, length: usize) {
        let now = Instant::now();
        self.put_off();
        let buffer = match stream {
            Stream::Stdout => &self.buffers[0],
            Stream::Stderr => &self.buffers[1],
        };
        let said = match (&mut self.reading, stream) {
            (Some(reading), Stream::Stdout) => reading.take(&buffer[..length]),
            _ => buffer[..length].to_vec(),
        };
        self.mind_the_end(now);
        let said = self.redactor.pass(stream, said);
        self.player.say(&said);
        self.chunker.push(stream, &said, &mut self.pieces);
        if self.told_at.is_none_or(|told| now >= told + GATHER) {
            self.chunker.flush(&mut self.pieces);
        }
    }

    async fn tell_usages(&mut self, story: &mut Story) {
        for usage in self.reading.as_mut().map(|reading| reading.usages()).unwrap_or_default() {
            story.tell(kind::AGENT_USAGE, &usage).await;
        }
    }

    /// Reads what is still in the pipes, and gives the last pieces.
    async fn drain(&mut self) {
        let until = Instant::now() + DRAIN;
        while self.stdout.is_some() || self.stderr.is_some() {
            let [out, err] = &mut self.buffers;
            let (stream, length) = tokio::select! {
                length = read(&mut self.stdout, out) => (Stream::Stdout, length),
                length = read(&mut self.stderr, err) => (Stream::Stderr, length),
                () = sleep_until(until) => break,
            };
            match (length, stream) {
                (0, Stream::Stdout) => self.stdout = None,
                (0, Stream::Stderr) => self.stderr = None,
                _ => self.take_output(stream, length),
            }
        }
        if let Some(reading) = &mut self.reading {
            let said = self.redactor.pass(Stream::Stdout, reading.finish());
            self.chunker.push(Stream::Stdout, &said, &mut self.pieces);
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            self.chunker.push(stream, &self.redactor.finish(stream), &mut self.pieces);
        }
        self.chunker.finish(&mut self.pieces);
    }
}

/// Never for a stream that has ended; 0 when it ends or breaks.
async fn read(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Never while there is no look under way.
async fn looked(looking: &mut Option<Pin<Box<dyn Future<Output = Seen> + Send>>>) -> Seen {
    match looking {
        Some(look) => {
            let seen = look.await;
            *looking = None;
            seen
        }
        None => std::future::pending().await,
    }
}

/// Never for work that nobody has leased.
async fn doubted(doubts: &mut Option<watch::Receiver<()>>) {
    match doubts {
        Some(doubts) => heard(doubts).await,
        None => std::future::pending().await,
    }
}

/// Never while the command is not held.
async fn answered(held: &mut Option<Held>) -> Result<(), NotOurs> {
    match held {
        Some(held) => held.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Never once nobody can say anything any more.
async fn heard<T>(signs: &mut watch::Receiver<T>) {
    if signs.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn exit(status: io::Result<ExitStatus>) -> Exit {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(0)),
        },
        // Somebody else waited for it; what it said is lost.
        Err(error) => {
            tracing::warn!("the exit of a command could not be read: {error}");
            Exit::Code(1)
        }
    }
}

#[cfg(test)]
mod tests;
