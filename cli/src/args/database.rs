//! What can be written after `bifrost db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DatabaseArguments, help};

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Carry everything from one database to another, which must be empty
    #[command(after_help = help::DATABASE_COPY)]
    Copy {
        /// Where from: a file, or postgres://user@host/name
        from: String,
        /// Where to: a file that is not there yet, or an empty database on Postgres
        to: String,
    },
    /// Write the whole database into a new file, beside a running control plane
    #[command(after_help = help::DATABASE_BACKUP)]
    Backup(DatabaseFile),
    /// Make a backup the content of a database that has none
    #[command(after_help = help::DATABASE_RESTORE)]
    Restore(DatabaseFile),
    /// Check versions, tables, pages, links between tables and walls between tenants
    #[command(after_help = help::DATABASE_CHECK)]
    Check {
        #[command(flatten)]
        database: DatabaseArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DatabaseFile {
    /// The backup
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
}
