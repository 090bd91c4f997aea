//! Whether events are in the log already, without writing anything.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use wire::event::Receipt;
use wire::id::EventId;

use super::entry::{Batch, COLUMNS, NewEvent, Row};
use super::{AppendError, Log};

impl Log {
    /// The receipts of a batch whose every event is stored; nothing while one is not. An id that
    /// is taken by other content, in the log or in the batch, is a conflict either way.
    pub(crate) async fn known(&self, batch: &Arc<Batch>) -> Result<Option<Vec<Receipt>>, AppendError> {
        // What is behind the head is not on disk yet, and may never be.
        let (batch, newest) = (batch.clone(), self.head().seq);
        let found = self.readers.ask(move |connection| look_up(connection, &batch.events, newest)).await;
        found.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "whether events are known cannot be told");
            Err(AppendError::Failed)
        })
    }
}

fn look_up(
    connection: &Connection,
    events: &[NewEvent],
    newest: u64,
) -> rusqlite::Result<Result<Option<Vec<Receipt>>, AppendError>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1 AND seq <= ?2"))?;
    let mut receipts = Vec::with_capacity(events.len());
    let mut new: HashMap<EventId, &NewEvent> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let stored = statement.query_row(params![event.id.uuid().as_bytes(), newest], |row| {
            let stored = Row::read(row)?;
            Ok((stored.seq, stored.is_same_as(event)))
        });
        match stored.optional()? {
            Some((seq, true)) => receipts.push(Receipt { id: event.id, seq, duplicate: true }),
            None if *new.entry(event.id).or_insert(event) == event => (),
            Some((_, false)) | None => return Ok(Err(AppendError::Conflict { index, id: event.id })),
        }
    }
    Ok(Ok((receipts.len() == events.len()).then_some(receipts)))
}
