//! `bifrost attach`: a running command's output as it comes and, where it has a
//! terminal and one asks to write, one's own terminal as its, or what comes through a
//! pipe as what is typed there. A connection that breaks is made anew while the task
//! runs.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::Duration;

use client::socket::{Said, Socket};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use wire::attach::{Closed, Word};
use wire::id::TaskId;
use wire::task::{TaskStatus, TaskView};

use crate::args::AttachArguments;
use crate::connect::Server;
use crate::count::counted;
use crate::exit::{self, Code, failure};
use crate::invocation::Invocation;

/// Ctrl-] as telnet has it: no program uses it.
pub(crate) const DETACH: u8 = 0x1d;
/// What is typed and not yet sent.
const TYPED: usize = 64;
const PAUSE: Duration = Duration::from_secs(1);
/// The end of a command may be told so much later than its last output: its work is saved before.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Attaches until the command has ended, or one detaches.
pub(crate) async fn attach(invocation: &Invocation, arguments: &AttachArguments) -> anyhow::Result<u8> {
    let server = Server::find(invocation)?;
    let (mut typed, mut was_there) = (None, false);
    loop {
        let socket = server.control.attach(arguments.task, arguments.write).await;
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) if error.is_transient() => {
                invocation.output.warn(&format!("{error}; trying again"));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            // It ended while the connection was being made anew.
            Err(error) if error.code() == Some("not_running") && was_there => break,
            Err(error) if error.code() == Some("not_running") => {
                let task = server.ask(async |control| control.task(arguments.task).await).await?;
                return Err(nothing_runs(&task));
            }
            Err(error) => return Err(server.explain(error).into()),
        };
        was_there = true;
        match follow(invocation, socket, arguments, &mut typed).await? {
            End::Detached => {
                invocation.output.say("detached; the task goes on");
                return Ok(0);
            }
            End::Broken => tokio::time::sleep(PAUSE).await,
            End::Closed(why) if why.may_pass() => tokio::time::sleep(PAUSE).await,
            End::Closed(_) => break,
        }
    }
    ended(&server, arguments.task).await
}

/// That there is nothing to attach to, and where to look in place of it.
fn nothing_runs(task: &TaskView) -> anyhow::Error {
    let TaskView { id, status, .. } = task;
    if status.is_final() {
        let cure = format!("see what its command wrote with: bifrost tasks logs {id}");
        return failure(Code::Data, format!("task {id} has ended: it is {status}"), cure);
    }
    let cure = format!("see what it waits for with: bifrost tasks why {id}");
    failure(Code::Data, format!("task {id} does not run now: it is {status}"), cure)
}

/// How an attachment ended.
enum End {
    Detached,
    Broken,
    Closed(Closed),
}

/// What ended a wait.
enum Step {
    Said(Option<Said>),
    Typed(Option<Vec<u8>>),
    Resized,
    Interrupted,
}

async fn follow(
    invocation: &Invocation,
    mut socket: Socket,
    arguments: &AttachArguments,
    typed: &mut Option<mpsc::Receiver<Vec<u8>>>,
) -> anyhow::Result<End> {
    let (mut own, mut is_written) = (None, false);
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        let step = tokio::select! {
            said = socket.next() => Step::Said(said),
            keys = next(typed) => Step::Typed(keys),
            _ = resized.recv(), if is_written => Step::Resized,
            _ = tokio::signal::ctrl_c() => Step::Interrupted,
        };
        match step {
            Step::Said(None) => return Ok(End::Broken),
            Step::Said(Some(Said::Bytes(bytes))) => write(&bytes)?,
            Step::Said(Some(Said::Word(Word::Closed { why }))) => return Ok(End::Closed(why)),
            Step::Said(Some(Said::Word(Word::Opened { terminal, write }))) => {
                if arguments.write && !terminal {
                    let cure = "submit it with --terminal to type to it; without --write its output is shown";
                    return Err(failure(Code::Usage, "the task's command has no terminal", cure));
                }
                is_written = write;
                if std::io::stdin().is_terminal() {
                    let how = if write { "attached" } else { "attached, to look on" };
                    invocation.output.say(&format!("{how}; Ctrl-] detaches"));
                    own = Some(if write { Own::passing_on()? } else { Own::listening()? });
                }
                if write || own.is_some() {
                    typed.get_or_insert_with(read_keys);
                }
                if write {
                    resize(&mut socket).await;
                }
            }
            Step::Said(Some(Said::Word(Word::Skipped { pieces }))) => {
                let pieces = counted(pieces, "piece of output was", "pieces of output were");
                invocation.output.warn(&format!("{pieces} passed over; the log has all of it"));
            }
            Step::Said(Some(Said::Word(Word::Resize { .. }))) => (),
            Step::Typed(Some(keys)) => {
                let is_last = own.is_some() && keys.contains(&DETACH);
                let keys = if is_last { keys.split(|key| *key == DETACH).next().unwrap_or_default() } else { &keys };
                if is_written && !keys.is_empty() && !socket.send(keys).await {
                    return Ok(End::Broken);
                }
                if is_last {
                    socket.close().await;
                    return Ok(End::Detached);
                }
            }
            Step::Resized => resize(&mut socket).await,
            // All of a pipe is passed on, and the command goes on.
            Step::Typed(None) if own.is_none() => *typed = None,
            Step::Typed(None) | Step::Interrupted => {
                socket.close().await;
                return Ok(End::Detached);
            }
        }
    }
}

pub(crate) async fn next(typed: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.recv().await,
        None => std::future::pending().await,
    }
}

/// Reads keys on a thread of its own, which ends with the program: a terminal cannot be asked to give up a read.
pub(crate) fn read_keys() -> mpsc::Receiver<Vec<u8>> {
    let (sender, typed) = mpsc::channel(TYPED);
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    typed
}

async fn resize(socket: &mut Socket) {
    if let Ok(size) = termios::tcgetwinsize(std::io::stdin()) {
        // Without it the command's lines break elsewhere, and no more.
        socket.say(Word::Resize { rows: size.ws_row, columns: size.ws_col }).await;
    }
}

fn write(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

async fn ended(server: &Server, task: TaskId) -> anyhow::Result<u8> {
    let deadline = tokio::time::Instant::now() + TOLD_WITHIN;
    loop {
        let task = server.control.task(task).await.map_err(|error| server.explain(error))?;
        if task.status.is_final() {
            return Ok(exit::of_task(&task));
        }
        // It runs again, elsewhere or later, or nobody tells how it ended: that it ended here is known.
        if task.status != TaskStatus::InProgress || tokio::time::Instant::now() >= deadline {
            return Ok(0);
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

/// One's own terminal; as it was before once this is dropped.
pub(crate) struct Own(Termios);

impl Own {
    /// Every key is somebody else's.
    pub(crate) fn passing_on() -> std::io::Result<Self> {
        Self::changed(Termios::make_raw)
    }

    /// Keys come one by one and are not shown; those that interrupt still do.
    fn listening() -> std::io::Result<Self> {
        Self::changed(|modes| modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO))
    }

    fn changed(change: impl FnOnce(&mut Termios)) -> std::io::Result<Self> {
        let before = termios::tcgetattr(std::io::stdin())?;
        let mut modes = before.clone();
        change(&mut modes);
        termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self(before))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // There is nobody left to complain to.
        termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_attaches_to_what_does_not_run_is_told_where_to_look() {
        const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
        for (status, said, cure) in [
            ("failed", "has ended: it is failed", "tasks logs"),
            ("completed", "has ended: it is completed", "tasks logs"),
            ("ready", "does not run now: it is ready", "tasks why"),
        ] {
            let task = serde_json::json!({
                "id": ID, "title": "t", "description": "", "status": status, "priority": 3, "attempts": 1,
                "created_at": "2026-11-21T09:00:00Z", "updated_at": "2026-11-21T09:00:00Z",
            });
            let refusal = exit::classify(&nothing_runs(&serde_json::from_value(task).expect("a task")));
            assert_eq!(refusal.message, format!("task {ID} {said}"));
            assert!(refusal.help.expect("there is a cure").ends_with(&format!("bifrost {cure} {ID}")));
        }
    }
}
