//! What the stream that `bifrost run` reads tells of a task: its events, and how it ended.

use anyhow::{Context, ensure};
use client::sse::Messages;
use wire::event::StoredEvent;
use wire::task::TaskView;

/// A message of the stream.
#[derive(Debug)]
pub(super) enum Told {
    Event(StoredEvent),
    /// The last one: the task has succeeded.
    End(Box<TaskView>),
}

impl Told {
    /// The next one; a task that did not succeed is an error.
    pub(super) async fn next(messages: &mut Messages) -> anyhow::Result<Self> {
        loop {
            let message = messages.next().await.context("the stream broke")?;
            match message.event.as_str() {
                "event" => return Ok(Self::Event(serde_json::from_str(&message.data)?)),
                "end" => {
                    let task: TaskView = serde_json::from_str(&message.data)?;
                    let succeeded = task.execution.as_ref().and_then(|execution| execution.success);
                    ensure!(succeeded == Some(true), "the task did not succeed: {task:?}");
                    return Ok(Self::End(Box::new(task)));
                }
                _ => (),
            }
        }
    }
}
