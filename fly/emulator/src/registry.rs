//! Everything there is: apps, machines and volumes, by name and id. What is told
//! to a caller is on disk before.
//!
//! A machine's record belongs to its actor; here are its address and its latest view.

mod apps;
mod certificates;
mod machines;
mod recovery;
mod volumes;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fly::Turnstile;
use kit::{Chance, Clock, Tasks};
use tokio::sync::{mpsc, watch};

pub(crate) use apps::{AddressRecord, AppRecord, SecretRecord};
pub(crate) use certificates::{CertificateRecord, Which, no_certificate};
pub(crate) use machines::{MachineUpdate, NewMachine, understand};
pub(crate) use volumes::{NewVolume, SnapshotRecord, VolumeRecord, VolumeUpdate, regions};

use crate::driver::Driver;
use crate::faults::Faults;
use crate::layout::Layout;
use crate::machine::{Command, Record};

/// Every machine's address.
pub(crate) const PRIVATE_IP: &str = "127.0.0.1";
/// Where things are when nobody says so.
pub(crate) const REGION: &str = "local";
/// Orders that may wait for one machine; more callers wait with theirs.
const ORDERS: usize = 16;
/// Destroyed machines that can still be read.
const REMEMBERED: usize = 256;

/// Everything there is.
pub(crate) struct Registry {
    pub(crate) layout: Layout,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) tasks: Tasks,
    /// What machines run as.
    pub(crate) driver: Driver,
    /// What every machine is told.
    pub(crate) fixed_env: BTreeMap<String, String>,
    /// What a machine runs whose configuration names no program.
    pub(crate) default_program: Vec<String>,
    pub(crate) faults: Faults,
    /// Whether machines wait to be poked wherever they are on their way.
    pub(crate) is_manual: bool,
    /// Fly's rate limits, where they are asked for.
    pub(crate) turnstile: Option<Turnstile>,
    /// Held while a record of an app or a volume is changed, so that its file is never older than what was told.
    changing: Mutex<()>,
    contents: Mutex<Contents>,
    /// Held until the last machine's actor is done.
    _lock: File,
}

#[derive(Default)]
struct Contents {
    apps: BTreeMap<String, AppRecord>,
    machines: BTreeMap<String, Handle>,
    volumes: BTreeMap<String, VolumeRecord>,
    destroyed: VecDeque<Arc<Record>>,
}

/// Where a machine's orders go and what it looks like.
#[derive(Clone)]
struct Handle {
    orders: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<Record>>,
    /// The volumes it has.
    volumes: Vec<String>,
}

impl Registry {
    /// No lock is held across a wait, and nothing that holds it panics half-way through a change.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
