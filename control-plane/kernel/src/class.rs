//! How long a statement may take on Postgres, by what it is for (row T-1.10b). One that takes longer is
//! cancelled by the server, and whoever asked hears `statement_timeout`. On SQLite a read holds nobody up, and who
//! cannot write within the pool's connection timeout is refused.

use std::time::Duration;

/// What transactions are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits for the answer.
    Request,
    /// Work that happens by itself; its next tick is the retry.
    #[default]
    Background,
    /// Migrations and copies: they take what they take.
    Maintenance,
}

impl Class {
    /// The longest that one statement may take; none without a bound.
    pub const fn statement_timeout(self) -> Option<Duration> {
        match self {
            Self::Request => Some(Duration::from_secs(10)),
            Self::Background => Some(Duration::from_secs(60)),
            Self::Maintenance => None,
        }
    }
}
