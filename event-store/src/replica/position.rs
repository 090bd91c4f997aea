//! How much of the stream is in the log on this machine.
//!
//! It is kept in a small file beside the database, written now and then and always
//! behind the log: messages that are applied again change nothing, since the log knows
//! their events by id. The file also says which stream the log is a copy of.

use std::io;
use std::path::Path;

use async_nats::jetstream::stream::Info;
use serde::{Deserialize, Serialize};

use super::OpenError;
use crate::engine::COPY_MARK;

/// A place in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The stream's name.
    pub(super) stream: String,
    /// When it was made, in microseconds: one of the same name made later is another.
    pub(super) made_at_us: i64,
    /// The last message that is in the log; 0 before the first.
    pub(super) sequence: u64,
    /// That message's id.
    pub(super) message: String,
    /// The log's newest event then.
    pub(super) event: u64,
}

impl Position {
    fn start(stream: &Info) -> Self {
        Self {
            stream: stream.config.name.clone(),
            made_at_us: made_at_us(stream),
            sequence: 0,
            message: String::new(),
            event: 0,
        }
    }

    /// Takes the place up again, or begins at the start where the log is empty. `newest` is
    /// its last event.
    pub(super) fn open(directory: &Path, stream: &Info, newest: u64) -> Result<Self, OpenError> {
        let path = directory.join(COPY_MARK);
        let failed = |source| OpenError::Position { path: path.clone(), source };
        let Some(text) = kit::files::read_if_exists(&path).map_err(failed)? else {
            if newest > 0 {
                return Err(OpenError::NotACopy(directory.to_owned()));
            }
            let start = Self::start(stream);
            start.save(directory).map_err(failed)?;
            return Ok(start);
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
        if (&found.stream, found.made_at_us) != (&stream.config.name, made_at_us(stream)) {
            return Err(OpenError::OtherStream { directory: directory.to_owned(), found: found.stream });
        }
        // A database from a backup has less than the file says: everything is applied again.
        Ok(if found.event > newest { Self::start(stream) } else { found })
    }

    /// Blocks its thread for a sync.
    pub(super) fn save(&self, directory: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).expect("a position is plain data");
        kit::files::replace(&directory.join(COPY_MARK), &text, 0o600)
    }
}

pub(super) fn made_at_us(stream: &Info) -> i64 {
    stream.created.unix_timestamp() * 1_000_000 + i64::from(stream.created.microsecond())
}
