//! How a command fails: with a documented exit code, and with what to do about it.

use std::{fmt, io};

use crate::archive::{Damage, Error};
use crate::log::OpenError;

/// Why a command failed, sorted by what somebody who called it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The command line is wrong.
    Usage,
    /// The log or the backup is not what was once stored.
    Damaged,
    /// What was named does not exist.
    Missing,
    /// What is to be made exists, or cannot be made.
    CannotCreate,
    /// Reading or writing failed, such as a full disk.
    InputOutput,
    /// It is in use; later it may not be.
    InUse,
    /// The database is another version's.
    Version,
    /// Ctrl-C, or a signal to end.
    Interrupted,
}

impl Trouble {
    /// Every kind with its exit code and what it means, for the help text. The numbers up to 78 are
    /// those of `sysexits.h`.
    pub const ALL: [(Self, u8, &'static str); 8] = [
        (Self::Usage, 64, "the command line is wrong, or what it names cannot be used"),
        (Self::Damaged, 65, "the log, the backup or a saved head is not what was once stored"),
        (Self::Missing, 66, "there is no such log or backup"),
        (Self::CannotCreate, 73, "what is to be made exists already, or cannot be made"),
        (Self::InputOutput, 74, "reading or writing failed, such as on a full disk"),
        (Self::InUse, 75, "another process uses it; stop that one, or try again later"),
        (Self::Version, 78, "the database has a schema version that does not fit"),
        (Self::Interrupted, 130, "interrupted"),
    ];

    /// For the operating system.
    pub fn exit_code(self) -> u8 {
        let row = Self::ALL.iter().find(|(trouble, ..)| *trouble == self);
        row.expect("every kind has a row").1
    }
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// What kind of failure.
    pub trouble: Trouble,
    /// What to do about it.
    pub help: String,
    cause: anyhow::Error,
}

impl Failure {
    /// Whether nobody reads our standard output any more, as after `| head`.
    pub fn is_closed_output(&self) -> bool {
        let mut causes = self.cause.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn new(trouble: Trouble, cause: anyhow::Error, help: impl Into<String>) -> Self {
        Self { trouble, help: help.into(), cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.cause)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (trouble, help) = sort(&error);
        Self::new(trouble, error.into(), help)
    }
}

fn sort(error: &Error) -> (Trouble, &'static str) {
    match error {
        Error::Missing(_) => (Trouble::Missing, "name the event store's data directory with --data DIR"),
        Error::Occupied(_) => {
            (Trouble::CannotCreate, "name another directory with --data DIR, or move the log that is there away")
        }
        Error::Copy(_) => (
            Trouble::CannotCreate,
            "name another directory with --data DIR; a store with --engine jetstream copies the stream into an empty one",
        ),
        Error::Exists(_) => (Trouble::CannotCreate, "choose another name, or remove the file first"),
        Error::Busy(_) => (Trouble::InUse, "let it finish, or choose another name"),
        Error::Unchained { .. } => {
            (Trouble::Version, "start the event store of this version on it once: it chains what is there")
        }
        Error::NotBack { .. } => {
            (Trouble::Version, "this only goes back; a newer event store migrates its database when it starts")
        }
        Error::Damaged { damage, .. } => (Trouble::Damaged, cure(damage)),
        Error::Full(_) => (Trouble::InputOutput, "make room, or choose another disk; nothing was left behind"),
        Error::Read { .. } => (Trouble::InputOutput, "check who owns the file, and the disk that it is on"),
        Error::Write { .. } => (Trouble::InputOutput, "check that the directory exists and who owns it"),
        Error::Unconfirmed => (Trouble::Usage, "back the log up, then add --yes"),
        Error::Interrupted => (Trouble::Interrupted, "nothing was changed and nothing left behind"),
        Error::Open(OpenError::Directory { .. }) => {
            (Trouble::CannotCreate, "name one that you may write with --data DIR")
        }
        Error::Open(OpenError::InUse(_)) => (Trouble::InUse, "stop the event store, then call this again"),
        Error::Open(OpenError::Newer { .. }) => {
            (Trouble::Version, "the newer program takes it back for this one: bifrost-events migrate --to VERSION")
        }
        Error::Open(OpenError::Database { .. }) => (Trouble::InputOutput, "verify says whether it is damaged"),
    }
}

fn cure(damage: &Damage) -> &'static str {
    match damage {
        Damage::HeadTooOld { .. } => "hold the log against a newer head, and save a new one now and then",
        Damage::CutOff { .. } | Damage::Rewritten { .. } => {
            "keep a copy of the files, ask who had access to them, and look for a backup that does contain the head"
        }
        Damage::Structure { .. } => "stop the store, then back up what can be read with export and restore a backup",
        Damage::Link { .. }
        | Damage::Gap { .. }
        | Damage::Row { .. }
        | Damage::Pages { .. }
        | Damage::Unreadable { .. } => "keep a copy of the files, then restore the newest backup that verifies",
    }
}
