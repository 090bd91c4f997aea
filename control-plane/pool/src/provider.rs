//! Where machines come from, as the pool sees it: the few calls that a provider
//! must answer (decision C-16). They speak in the words of the Machines API, and
//! so do their refusals, whose advice the pool follows. There are two: machines of
//! Fly's or of the emulator's, and sprites (`crate::sprites`).
//!
//! Every call is safe to repeat: names are made from ids, what is gone is
//! destroyed already, and a create that clashes says which id to adopt.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fly::{Advice, Error, Machine, MachineState, Machines, NewApp, NewMachine, NewVolume, StopOptions, Volume};

/// What a provider answers.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Makes, shows and moves machines.
pub trait MachineProvider: fmt::Debug + Send + Sync + 'static {
    /// What it is called, in errors.
    fn name(&self) -> &'static str;

    /// What a person must do when it refuses our token.
    fn token_cure(&self) -> &'static str;

    /// Where it is called, and what says so.
    fn address(&self) -> String;

    /// Makes sure of whatever machines are made in, and that our token is good.
    fn prepare(&self) -> Answer<'_, ()>;

    /// Whether a machine's disk is a volume of its own, which outlives it. Where it is not, no volume is
    /// ever asked for, and the disk goes with the machine.
    fn has_volumes(&self) -> bool;

    /// Every machine there is.
    fn machines(&self) -> Answer<'_, Vec<Machine>>;

    /// One machine.
    fn machine<'a>(&'a self, id: &'a str) -> Answer<'a, Machine>;

    /// Makes a machine, and starts it.
    fn create_machine<'a>(&'a self, new: &'a NewMachine) -> Answer<'a, Machine>;

    /// Starts a machine, or wakes it.
    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Puts a machine to sleep.
    fn suspend<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Stops a machine; only its disk stays.
    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Stops a machine and starts it, also one whose boot has failed.
    fn restart<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Waits until a machine stands so, at most so long.
    fn wait<'a>(&'a self, id: &'a str, state: MachineState, limit: Duration) -> Answer<'a, ()>;

    /// Destroys a machine, whatever it is doing.
    fn destroy<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Every volume there is; none where machines keep their own disks.
    fn volumes(&self) -> Answer<'_, Vec<Volume>>;

    /// Makes a volume.
    fn create_volume<'a>(&'a self, new: &'a NewVolume) -> Answer<'a, Volume>;

    /// Destroys a volume and what is on it.
    fn destroy_volume<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;
}

/// A provider, shared by those who call it.
pub type SharedProvider = Arc<dyn MachineProvider>;

/// Machines of one app of Fly's, or of the emulator's.
#[derive(Debug, Clone)]
pub struct FlyMachines {
    machines: Machines,
    app: String,
    org: String,
}

impl FlyMachines {
    /// Machines of this app; it is made in the organisation where it is missing.
    pub fn new(machines: Machines, settings: &crate::Provider) -> Self {
        Self { machines, app: settings.app.clone(), org: settings.org.clone() }
    }
}

impl MachineProvider for FlyMachines {
    fn name(&self) -> &'static str {
        "the Machines API"
    }

    fn token_cure(&self) -> &'static str {
        "set FLY_API_TOKEN to one that may use the runner app, and start the control plane again"
    }

    fn address(&self) -> String {
        format!("it is called at {}, for which FLY_FLAPS_BASE_URL names another address", self.machines.url())
    }

    fn prepare(&self) -> Answer<'_, ()> {
        Box::pin(async {
            match self.machines.app(&self.app).await {
                // A token that may only use the app cannot make it, and need not.
                Err(error) if error.advice() == Advice::Gone => {
                    let new = NewApp { name: self.app.clone(), org_slug: self.org.clone(), network: None };
                    self.machines.create_app(&new).await
                }
                found => found.map(drop),
            }
        })
    }

    fn has_volumes(&self) -> bool {
        true
    }

    fn machines(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(self.machines.machines(&self.app))
    }

    fn machine<'a>(&'a self, id: &'a str) -> Answer<'a, Machine> {
        Box::pin(self.machines.machine(&self.app, id))
    }

    fn create_machine<'a>(&'a self, new: &'a NewMachine) -> Answer<'a, Machine> {
        Box::pin(self.machines.create_machine(&self.app, new))
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.machines.start(&self.app, id))
    }

    fn suspend<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.machines.suspend(&self.app, id))
    }

    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.machines.stop(&self.app, id, &StopOptions::default()).await })
    }

    fn restart<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.machines.restart(&self.app, id, &StopOptions::default()).await })
    }

    fn wait<'a>(&'a self, id: &'a str, state: MachineState, limit: Duration) -> Answer<'a, ()> {
        Box::pin(self.machines.wait(&self.app, id, state, None, limit))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.machines.destroy(&self.app, id, true))
    }

    fn volumes(&self) -> Answer<'_, Vec<Volume>> {
        Box::pin(self.machines.volumes(&self.app))
    }

    fn create_volume<'a>(&'a self, new: &'a NewVolume) -> Answer<'a, Volume> {
        Box::pin(self.machines.create_volume(&self.app, new))
    }

    fn destroy_volume<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.machines.destroy_volume(&self.app, id))
    }
}
