//! The one error of use-cases: closed, blind to transports, with a stable code
//! for each kind. What leaves the process is decided at the edge.

use std::borrow::Cow;
use std::error::Error as StdError;

use wire::task::FieldError;

/// Postgres: a serialization failure, a deadlock.
const TRANSACTION_CONFLICTS: [&str; 2] = ["40001", "40P01"];
/// Postgres: a statement took longer than its class may.
const QUERY_CANCELED: &str = "57014";
/// SQLite: somebody else is writing.
const SQLITE_BUSY: u32 = 5;

/// What a use-case gives back.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a use-case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, or it is another tenant's.
    #[error("there is no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The state of things does not allow it.
    #[error("{message}")]
    Conflict {
        /// Stable, for programs.
        code: &'static str,
        /// What stands in the way and what to do.
        message: String,
    },
    /// It was asked for more often than may be.
    #[error("{message}")]
    TooMany {
        /// Stable, for programs.
        code: &'static str,
        /// What the bound is.
        message: String,
        /// When to ask again, in seconds from now.
        seconds: u64,
    },
    /// What was asked was meant for an earlier version of the thing.
    #[error("{message}")]
    Stale {
        /// Which version it is at, and for which the request was made.
        message: String,
    },
    /// What was sent cannot be right.
    #[error("{field}: {message}")]
    Invalid {
        /// The field at fault, as a dotted path.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// Nobody known is asking.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Somebody known is asking for what they may not do.
    #[error("the key does not carry the permission {permission}")]
    Forbidden {
        /// The permission that would be needed.
        permission: &'static str,
    },
    /// Something this depends on does not answer; the same request may succeed later.
    #[error("{dependency} is unavailable")]
    Unavailable {
        /// What does not answer.
        dependency: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A bug, or a failure nobody planned for. Its text never leaves the process.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// A conflict with its code.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// A wrong field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// The chain of causes, for the log; empty where there is none.
    pub fn causes(&self) -> String {
        let chain = std::iter::successors(StdError::source(self), |cause| StdError::source(*cause));
        chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Whether two transactions stood in each other's way and this one gave way: it left nothing, and may be
    /// made again.
    pub fn is_transaction_conflict(&self) -> bool {
        self.database_code().is_some_and(|code| match code.len() {
            5 => TRANSACTION_CONFLICTS.contains(&code.as_ref()),
            _ => code.parse::<u32>().is_ok_and(|number| number & 0xff == SQLITE_BUSY),
        })
    }

    /// The code with which the database refused.
    fn database_code(&self) -> Option<Cow<'_, str>> {
        let Self::Unavailable { source, .. } = self else { return None };
        source.downcast_ref::<sqlx::Error>()?.as_database_error()?.code()
    }

    /// Stable and made for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Conflict { code, .. } | Self::TooMany { code, .. } => code,
            Self::Stale { .. } => "stale_version",
            Self::Invalid { .. } => "invalid",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden { .. } => "forbidden",
            Self::Unavailable { .. } if self.database_code().as_deref() == Some(QUERY_CANCELED) => "statement_timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::invalid(error.field, error.message)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as Sql;
        match &error {
            Sql::Io(_) | Sql::Tls(_) | Sql::PoolTimedOut | Sql::PoolClosed | Sql::WorkerCrashed => {
                Self::Unavailable { dependency: "the database", source: Box::new(error) }
            }
            Sql::Database(refused) if is_passing(refused.code().as_deref()) => {
                Self::Unavailable { dependency: "the database", source: Box::new(error) }
            }
            _ => Self::Internal(anyhow::Error::new(error).context("a statement failed")),
        }
    }
}

/// Refusals that pass by themselves: SQLite's BUSY (5), FULL (13) and IOERR (10) families, Postgres'
/// connection (08), resource (53), operator (57) and serialization (40) classes, and a transaction that stood still.
fn is_passing(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    if code.len() == 5 {
        return ["08", "25P03", "53", "57", "40"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 5 | 10 | 13))
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, Connection as _};

    use super::*;

    #[tokio::test]
    async fn a_busy_database_is_a_conflict_and_another_refusal_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("x.db")).create_if_missing(true);
        let options = options.busy_timeout(std::time::Duration::ZERO);
        let mut first = options.connect().await.unwrap();
        let writing = first.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let mut second = options.connect().await.unwrap();
        let busy = Error::from(second.begin_with("BEGIN IMMEDIATE").await.expect_err("somebody is writing"));
        assert!(busy.is_transaction_conflict(), "{}", busy.causes());
        drop(writing);
        let unknown = sqlx::query("SELECT * FROM no_such_table").execute(&mut second).await;
        assert!(!Error::from(unknown.expect_err("there is none")).is_transaction_conflict());
    }
}
