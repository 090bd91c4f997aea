//! The provider's app that the machines belong to: made when it is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fly::{Advice, Machines, NewApp};
use kernel::{Ctx, Error, Reconciler, Result};

use crate::Settings;

/// The reconciler that makes sure of the app, once.
#[derive(Debug)]
pub struct EnsureApp {
    machines: Machines,
    settings: Arc<Settings>,
    is_there: AtomicBool,
}

impl EnsureApp {
    /// With the provider's client.
    pub fn new(machines: Machines, settings: Arc<Settings>) -> Self {
        Self { machines, settings, is_there: AtomicBool::new(false) }
    }
}

impl Reconciler for EnsureApp {
    const NAME: &'static str = "ensure-app";
    const EVERY: Duration = Duration::from_secs(5);

    async fn tick(&self, _: &Ctx) -> Result<usize> {
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let provider = &self.settings.provider;
        let found = match self.machines.app(&provider.app).await {
            // A token that may only use the app cannot make it, and need not.
            Err(error) if error.advice() == Advice::Gone => {
                let new = NewApp { name: provider.app.clone(), org_slug: provider.org.clone(), network: None };
                self.machines.create_app(&new).await
            }
            found => found.map(drop),
        };
        found.map_err(|error| Error::Unavailable { dependency: "the Machines API", source: Box::new(error) })?;
        self.is_there.store(true, Ordering::Relaxed);
        Ok(0)
    }
}
