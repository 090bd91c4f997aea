//! A machine's first process: watched by its pidfd, whether this emulator started
//! it or an earlier one did.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use super::identity::{Held, Identity};
use super::members::Root;
use super::table;

/// How a process ended; neither is known of one that an earlier emulator started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Whether it was ended because it took more memory than it had; only containers tell.
    pub(crate) is_out_of_memory: bool,
}

/// A machine's first process.
#[derive(Debug)]
pub(crate) struct Init {
    identity: Identity,
    ended: AsyncFd<OwnedFd>,
    /// Only the emulator that started it learns how it ended.
    child: Option<Child>,
}

impl Init {
    /// Takes charge of a process that was just started.
    pub(crate) fn of_child(child: Child, boot_id: &str) -> io::Result<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or_else(vanished)?;
        // Nobody but this child can have the id: it is a zombie at worst until it is reaped below.
        let seen = table::one(pid)?.ok_or_else(vanished)?;
        let held = Held::open(&seen)?.ok_or_else(vanished)?;
        let identity = Identity { pid, start_ticks: seen.start_ticks, boot_id: boot_id.to_owned() };
        Ok(Self { identity, ended: watch(held.fd)?, child: Some(child) })
    }

    /// Takes charge of what an earlier emulator started, if it still runs.
    pub(crate) fn adopt(identity: &Identity, boot_id: &str) -> io::Result<Option<Self>> {
        if identity.boot_id != boot_id {
            return Ok(None);
        }
        let Some(held) = Held::by_start(identity.pid, identity.start_ticks)? else { return Ok(None) };
        if table::one(identity.pid)?.is_none_or(|process| process.is_dead()) {
            return Ok(None);
        }
        Ok(Some(Self { identity: identity.clone(), ended: watch(held.fd)?, child: None }))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the machine's processes are found by now.
    pub(crate) fn root(&self, machine_id: &str) -> io::Result<Root> {
        let Identity { pid, start_ticks, .. } = self.identity;
        // A child of ours keeps its id until it is reaped, an adopted process only while it lives.
        let is_its_own = self.child.is_some() || Held::by_start(pid, start_ticks)?.is_some();
        Ok(Root { machine_id: machine_id.to_owned(), init: is_its_own.then_some(pid), since_ticks: start_ticks })
    }

    /// Resolves when it has ended. It is not reaped by that.
    pub(crate) async fn ended(&self) {
        // The descriptor stays readable for good, so the readiness is never cleared.
        drop(self.ended.readable().await);
    }

    /// Sends a signal to this one process.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.ended, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// How it ended; waits for that.
    pub(crate) async fn reap(mut self) -> Exit {
        self.ended().await;
        let Some(child) = &mut self.child else { return Exit::default() };
        match child.wait().await {
            Ok(status) => Exit { code: status.code(), signal: status.signal(), is_out_of_memory: false },
            Err(error) => {
                tracing::warn!(%error, "how a machine's process ended is not known");
                Exit::default()
            }
        }
    }
}

/// Lets the runtime tell when the descriptor is readable.
#[expect(unsafe_code, reason = "a promise about the descriptor that the type system cannot check")]
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is valid while it lives, and `AsyncFd` neither replaces nor closes it before its end.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn vanished() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the process vanished before it could be watched")
}
