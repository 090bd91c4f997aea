//! The driver `process`: a machine is a process of this computer and everything
//! that it has started.
//!
//! No signal can reach a reused process id: a process is held by a pidfd that was
//! opened first and then checked against its start time.

pub(crate) mod clock;
mod exec;
mod freezing;
mod identity;
mod init;
mod listing;
mod members;
mod root;
mod spawn;
mod table;

pub(crate) use exec::{Program, execute};
pub(crate) use freezing::{freeze, kill, thaw};
pub(crate) use identity::{Identity, boot_id};
pub(crate) use init::{Exit, Init};
pub(crate) use listing::{Listed, list};
pub(crate) use members::{MARK, Root, machines_with_processes};
pub(crate) use root::{drop_root, log_line, open_log, place};
pub(crate) use spawn::{Launch, spawn};
