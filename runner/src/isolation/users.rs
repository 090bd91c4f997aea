//! Whom commands run as: each execution as a user that the one before was not, and no
//! person or service is.
//!
//! On the disk everything is the runner's. A mount shows it as the execution's own, by
//! a mapping that the kernel keeps for us; the next execution's is made when one ends,
//! while nobody waits for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use super::enter;

/// Nobody's: systemd leaves them unused (its list of users and groups, "UIDs and GIDs").
pub(super) const IDS: Range<u32> = 60_578..61_184;
/// Whose the files are that several workspaces share: nothing ever runs as this user, and commands may read them.
pub(super) const KEEPER: u32 = 60_322;

/// Whom one execution's commands run as.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) id: u32,
    /// Shows what belongs to the runner as if it belonged to this user, and what belongs to [`KEEPER`] as it is.
    pub(super) mapping: Arc<File>,
}

/// The users of the executions that run.
#[derive(Debug)]
pub(super) struct Users(Mutex<Turns>);

#[derive(Debug)]
struct Turns {
    next: u32,
    ready: Option<Owner>,
    of: BTreeMap<String, Owner>,
}

impl Users {
    /// Makes the first one ready, which tells whether this machine can.
    pub(super) fn find() -> io::Result<Self> {
        // Two runners of one computer begin elsewhere.
        let next = IDS.start + std::process::id() % (IDS.end - IDS.start);
        let users = Self(Mutex::new(Turns { next, ready: None, of: BTreeMap::new() }));
        users.turns().make_ready()?;
        Ok(users)
    }

    /// The execution's user, from its first command to its end.
    pub(super) fn of(&self, execution: &str) -> io::Result<Owner> {
        let mut turns = self.turns();
        if let Some(owner) = turns.of.get(execution) {
            return Ok(owner.clone());
        }
        turns.make_ready()?;
        let owner = turns.ready.take().expect("was made ready");
        turns.of.insert(execution.to_owned(), owner.clone());
        Ok(owner)
    }

    /// The execution is over, and the next one's user is made ready. Blocks for a moment.
    pub(super) fn end(&self, execution: &str) -> io::Result<()> {
        let mut turns = self.turns();
        turns.of.remove(execution);
        turns.make_ready()
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn make_ready(&mut self) -> io::Result<()> {
        if self.ready.is_some() {
            return Ok(());
        }
        let id = self.next;
        self.next = if id + 1 < IDS.end { id + 1 } else { IDS.start };
        self.ready = Some(Owner { id, mapping: Arc::new(mapping(id)?) });
        Ok(())
    }
}

/// The mapping by which what is the runner's on the disk is the user's in a mount: held by a file of the kernel, since
/// the process that it was made in ends at once.
fn mapping(user: u32) -> io::Result<File> {
    let mut command = kit::process::command("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    enter::before_exec(&mut command, enter::new_user_namespace);
    let mut child = command.as_std_mut().spawn()?;
    let mapped = || {
        let id = child.id();
        let (own_user, own_group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        for (kind, own) in [("uid_map", own_user), ("gid_map", own_group)] {
            // What belongs to somebody who is not in the list can be replaced by nobody.
            fs::write(format!("/proc/{id}/{kind}"), format!("{own} {user} 1\n{KEEPER} {KEEPER} 1\n"))?;
        }
        File::open(format!("/proc/{id}/ns/user"))
    };
    let mapping = mapped();
    child.kill()?;
    child.wait()?;
    mapping
}
