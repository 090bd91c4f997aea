//! `bifrost run`: submits a command, shows it live, and ends as it ended. Uses
//! the server that is named, or brings the whole system up for as long as it takes.

pub(crate) mod display;
pub(crate) mod follow;
mod interrupts;
pub(crate) mod progress;
pub(crate) mod submission;

use std::future::Future;
use std::pin::Pin;

use wire::checkpoint::CheckpointView;
use wire::id::TaskId;
use wire::task::{NewTask, TaskView};

use self::display::{Display, TaskLine};
use self::follow::{Extent, Follow, Heard};
use self::interrupts::Interrupts;
use crate::args::RunArguments;
use crate::connect::{self, Server};
use crate::exit::{Code, failure, is_closed_output};
use crate::invocation::Invocation;
use crate::outage::LOST;
use crate::up;

/// Runs the command; gives its exit code.
pub(crate) async fn run(invocation: &Invocation, arguments: &RunArguments) -> anyhow::Result<u8> {
    let is_remote = connect::url(&invocation.global)?.is_some();
    if arguments.detach && !is_remote {
        return leave_running(invocation, arguments).await;
    }
    let task = submission::prepare(invocation, arguments).await?;
    if is_remote {
        let server = Server::find(invocation)?;
        let attendance = Attendance { invocation, server: &server, is_embedded: false };
        return if arguments.detach { attendance.detach(&task).await } else { attendance.attend(&task).await };
    }
    let embedded = up::start_embedded(invocation, &invocation.prepare_data()?).await?;
    let server = Server::embedded(&embedded.url, &embedded.api_key, invocation);
    let ended = Attendance { invocation, server: &server, is_embedded: true }.attend(&task).await;
    embedded.stop().await;
    ended
}

/// Submits the command to the system that is up in the data directory, and leaves it there.
async fn leave_running(invocation: &Invocation, arguments: &RunArguments) -> anyhow::Result<u8> {
    let Some(running) = up::running(invocation).await? else {
        let message = "--detach needs a server that stays: without one, the task would stop with this command";
        return Err(failure(Code::Usage, message, "start `bifrost up`, or name a server with --url or BIFROST_URL"));
    };
    let task = submission::prepare(invocation, arguments).await?;
    let server = Server::embedded(&running.url, &running.api_key, invocation);
    Attendance { invocation, server: &server, is_embedded: false }.detach(&task).await
}

/// Runs something that begins from a checkpoint, on the server that knows of it; gives its exit code.
pub(crate) async fn fork(
    invocation: &Invocation,
    server: &Server,
    checkpoint: &CheckpointView,
    arguments: &RunArguments,
) -> anyhow::Result<u8> {
    let task = submission::from_checkpoint(invocation, arguments, checkpoint)?;
    let attendance = Attendance { invocation, server, is_embedded: false };
    if arguments.detach { attendance.detach(&task).await } else { attendance.attend(&task).await }
}

/// One task, from its submission until it ends or is left.
struct Attendance<'a> {
    invocation: &'a Invocation,
    server: &'a Server,
    is_embedded: bool,
}

/// A call to the server that is under way.
type Call<'a> = Pin<Box<dyn Future<Output = anyhow::Result<TaskView>> + 'a>>;

impl Attendance<'_> {
    async fn detach(&self, task: &NewTask) -> anyhow::Result<u8> {
        let submitted = self.submit(task).await?;
        let output = self.invocation.output;
        if output.is_json {
            output.json(&TaskLine { task: &submitted })?;
        } else {
            output.line(&submitted.id.to_string())?;
            output.say(&format!("follow it with: {}", follow_command(submitted.id)));
        }
        Ok(0)
    }

    async fn attend(&self, task: &NewTask) -> anyhow::Result<u8> {
        let mut interrupts = Interrupts::listen()?;
        let submitted = tokio::select! {
            submitted = self.submit(task) => submitted?,
            () = interrupts.next() => {
                let message = "interrupted before the server had confirmed the task";
                return Err(failure(Code::Cancelled, message, "see `bifrost tasks list` for whether it has it"));
            }
        };
        let mut display = Display::live(self.invocation.output);
        let ended = match display.submitted(&submitted) {
            Ok(()) => self.follow(submitted.id, &mut interrupts, &mut display).await,
            Err(error) => Err(error),
        };
        display.clear();
        if ended.as_ref().is_err_and(is_closed_output) {
            self.say_how_to_find(submitted.id, &mut display);
        }
        ended
    }

    async fn submit(&self, task: &NewTask) -> anyhow::Result<TaskView> {
        let idempotency_key = self.invocation.chance.hex::<16>();
        self.server.ask(async |control| control.submit(task, &idempotency_key).await).await
    }

    async fn follow(&self, id: TaskId, interrupts: &mut Interrupts, display: &mut Display) -> anyhow::Result<u8> {
        let mut follow = Follow::new(self.server, id, Extent::Whole, self.invocation.chance.clone());
        let mut cancelling: Option<Call<'_>> = None;
        let mut is_interrupted = false;
        loop {
            tokio::select! {
                heard = follow.next() => match heard? {
                    Heard::Event(event) => display.event(&event)?,
                    Heard::Waiting(why) => display.waiting(&why)?,
                    Heard::Lost => display.say(LOST),
                    Heard::End(task) => return display.end(&task),
                },
                () = interrupts.next() => {
                    if is_interrupted {
                        self.say_how_to_find(id, display);
                        return Ok(Code::Cancelled.number());
                    }
                    is_interrupted = true;
                    display.say("cancelling the task; Ctrl-C again leaves it alone");
                    cancelling = Some(Box::pin(self.server.ask(async move |control| control.cancel(id).await)));
                }
                cancelled = finish(&mut cancelling), if cancelling.is_some() => {
                    cancelling = None;
                    if let Err(error) = cancelled {
                        display.say(&format!("the task cannot be cancelled: {error:#}"));
                    }
                }
            }
        }
    }

    fn say_how_to_find(&self, id: TaskId, display: &mut Display) {
        if self.is_embedded {
            display.say(&format!("the system stops with this command; task {id} goes on at its next start"));
        } else {
            display.say(&format!("leaving task {id} to the server; follow it with: {}", follow_command(id)));
        }
    }
}

async fn finish(call: &mut Option<Call<'_>>) -> anyhow::Result<TaskView> {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

fn follow_command(id: TaskId) -> String {
    format!("bifrost tasks logs {id} --follow")
}
