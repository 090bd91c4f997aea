//! Follows one task to its end, or to what is there of it, over a connection that may break: it resumes
//! behind the last message, and hands on every event once, in order.

pub(crate) mod seen;

use std::time::Duration;

use client::sse::{Message, Messages};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use wire::event::StoredEvent;
use wire::id::TaskId;
use wire::task::TaskView;
use wire::why::Why;

use self::seen::Seen;
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::outage::{Outage, PATIENCE, Step};

/// The longest to wait for the head of the answer.
const CONNECT: Duration = Duration::from_secs(15);
/// A stream that was silent for so long is opened anew: a dead connection looks just the same.
const SILENCE: Duration = Duration::from_secs(30);

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something happened.
    Event(StoredEvent),
    /// The task waits.
    Waiting(Why),
    /// The task has ended, or no more of it was asked for; nothing comes after it.
    End(Box<TaskView>),
    /// Contact to the server was lost and is sought.
    Lost,
}

/// How much of a task's record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, to the task's end.
    Whole,
    /// From where so many last lines of output begin.
    Last {
        /// So many.
        lines: u32,
        /// Whether to the task's end, or as far as it is written.
        follow: bool,
    },
}

/// One task's stream of messages.
pub(crate) struct Follow<'a> {
    server: &'a Server,
    task: TaskId,
    extent: Extent,
    chance: kit::Chance,
    stream: Option<Stream>,
    last_id: Option<String>,
    outage: Outage,
    retry_at: Option<Instant>,
    seen: Seen,
}

struct Stream {
    messages: Messages,
    opened_at: Instant,
}

impl<'a> Follow<'a> {
    /// Begins when it is first asked for.
    pub(crate) fn new(server: &'a Server, task: TaskId, extent: Extent, chance: kit::Chance) -> Self {
        Self {
            server,
            task,
            extent,
            chance,
            stream: None,
            last_id: None,
            outage: Outage::default(),
            retry_at: None,
            seen: Seen::default(),
        }
    }

    /// The next that was heard. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Heard> {
        loop {
            let Some(stream) = &mut self.stream else {
                if let Some(heard) = self.open().await? {
                    return Ok(heard);
                }
                continue;
            };
            match timeout(SILENCE, stream.messages.next()).await {
                Ok(Some(message)) => {
                    self.outage.over();
                    if let Some(heard) = self.take(message)? {
                        return Ok(heard);
                    }
                }
                Ok(None) => {
                    let held = stream.opened_at.elapsed();
                    self.stream = None;
                    self.outage.held_for(held);
                    if let Some(heard) = self.broken("the stream ended too early")? {
                        return Ok(heard);
                    }
                }
                Err(_) => self.stream = None,
            }
        }
    }

    async fn open(&mut self) -> anyhow::Result<Option<Heard>> {
        if let Some(at) = self.retry_at {
            tokio::time::sleep_until(at).await;
        }
        let (follow, lines) = match self.extent {
            Extent::Whole => (true, None),
            Extent::Last { lines, follow } => (follow, Some(lines)),
        };
        let opening = self.server.control.logs(self.task, self.last_id.as_deref(), follow, lines);
        match timeout(CONNECT, opening).await {
            Ok(Ok(messages)) => {
                self.stream = Some(Stream { messages, opened_at: Instant::now() });
                Ok(None)
            }
            Ok(Err(error)) if !error.is_transient() => Err(self.server.explain(error).into()),
            Ok(Err(error)) => self.broken(&error.to_string()),
            Err(_) => self.broken("the server does not answer"),
        }
    }

    fn broken(&mut self, reason: &str) -> anyhow::Result<Option<Heard>> {
        match self.outage.broke(Instant::now(), &self.chance) {
            Step::Retry { at, is_news } => {
                self.retry_at = Some(at);
                Ok(is_news.then_some(Heard::Lost))
            }
            Step::GiveUp => {
                let message = format!(
                    "no contact to the server at {} for {} s: {reason}",
                    self.server.control.base(),
                    PATIENCE.as_secs()
                );
                let cure = format!("the task goes on without us: bifrost tasks logs {} --follow", self.task);
                Err(failure(Code::Unavailable, message, cure))
            }
        }
    }

    fn take(&mut self, message: Message) -> anyhow::Result<Option<Heard>> {
        let heard = match message.event.as_str() {
            "event" => {
                let event: StoredEvent = parse(&message)?;
                self.seen.is_new(&event).then_some(Heard::Event(event))
            }
            "waiting" => Some(Heard::Waiting(parse(&message)?)),
            "end" => Some(Heard::End(Box::new(parse(&message)?))),
            // A newer server may say more.
            _ => None,
        };
        // A new connection knows no id until it has given one.
        if message.id.is_some() {
            self.last_id = message.id;
        }
        Ok(heard)
    }
}

fn parse<T: DeserializeOwned>(message: &Message) -> anyhow::Result<T> {
    serde_json::from_str(&message.data).map_err(|error| {
        let message =
            format!("the server sent a message {:?} that this version does not understand: {error}", message.event);
        failure(Code::Internal, message, "use the same version of bifrost on both ends")
    })
}
