//! The event store's stream of one task, for as long as somebody listens. A
//! store that is away, silent or slow to answer is asked again, behind the last
//! event; every wait has a bound, and none is lost when the listener is woken
//! by something else meanwhile.

use std::pin::Pin;
use std::time::Duration;

use client::events::EventStore;
use client::sse::{Message, Messages};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use wire::id::TaskId;

/// The longest that the store may take to begin its answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Between tries to reach the store.
const PAUSE: Duration = Duration::from_millis(250);
/// The store may have nothing to say for longer; but then asking again costs little,
/// and a connection whose other end is gone is noticed.
const SILENCE: Duration = Duration::from_secs(45);

/// One task's stream.
pub(super) struct Feed {
    events: EventStore,
    task: TaskId,
    link: Link,
}

enum Link {
    /// Not before then is the store asked again.
    Pausing(Instant),
    Connecting(Pin<Box<dyn Future<Output = Option<Messages>> + Send>>),
    Open {
        messages: Box<Messages>,
        /// Then it has been silent for too long.
        until: Instant,
    },
}

impl Feed {
    pub(super) fn new(events: EventStore, task: TaskId) -> Self {
        Self { events, task, link: Link::Pausing(Instant::now()) }
    }

    /// The next message behind the given place. May be dropped and called again: nothing is lost.
    pub(super) async fn next(&mut self, after: u64) -> Message {
        loop {
            match &mut self.link {
                Link::Pausing(until) => {
                    sleep_until(*until).await;
                    self.link = Link::Connecting(Box::pin(connect(self.events.clone(), self.task, after)));
                }
                Link::Connecting(connecting) => {
                    self.link = match connecting.await {
                        Some(messages) => Link::Open { messages: Box::new(messages), until: Instant::now() + SILENCE },
                        None => Link::Pausing(Instant::now() + PAUSE),
                    };
                }
                Link::Open { messages, until } => match timeout_at(*until, messages.next()).await {
                    Ok(Some(message)) => {
                        *until = Instant::now() + SILENCE;
                        return message;
                    }
                    Ok(None) | Err(_) => self.link = Link::Pausing(Instant::now() + PAUSE),
                },
            }
        }
    }
}

async fn connect(events: EventStore, task: TaskId, after: u64) -> Option<Messages> {
    timeout(CONNECT, events.follow(Some(task), after)).await.ok()?.ok()
}

#[cfg(test)]
mod tests;
