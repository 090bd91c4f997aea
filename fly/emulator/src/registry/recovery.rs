//! What an earlier emulator has left: records are read, machines are found again
//! or noted as ended, and what is without a record is removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fly::Turnstile;
use kit::tasks::blocking;
use kit::{Chance, Clock, Tasks};

use super::machines::Runnable;
use super::{Contents, Registry, VolumeRecord};
use crate::driver::Driver;
use crate::faults::Faults;
use crate::layout::{self, Layout};
use crate::machine::{Actor, Record};
use crate::{Config, StartError};

/// What the data directory holds.
struct Remains {
    contents: Contents,
    machines: Vec<Record>,
    /// Machines without a record: their creation or destruction was cut short.
    left_over: Vec<String>,
}

impl Registry {
    /// Takes the data directory and everything in it, and serves its machines from then on.
    pub(crate) async fn recover(
        config: Config,
        clock: Clock,
        chance: Chance,
        tasks: Tasks,
    ) -> Result<Arc<Self>, StartError> {
        let data = config.data;
        let (layout, lock) = blocking(move || Layout::open(&data)).await?;
        let driver = Driver::open(&config.machines, &layout, tasks.clone(), chance.clone()).await?;
        driver.check_script(&config.faults).map_err(StartError::Faults)?;
        let running = driver.machines().await?;
        let read_layout = layout.clone();
        let Remains { contents, machines, mut left_over } = blocking(move || read(&read_layout)).await?;
        let known: BTreeSet<&str> = machines.iter().map(|record| record.id.as_str()).collect();
        for id in running.iter().filter(|id| driver.knows_its_own() && !known.contains(id.as_str())) {
            left_over.push(id.clone());
        }
        for id in left_over {
            remove_left_over_machine(&layout, &driver, &id, &running).await;
        }
        let registry = Arc::new(Self {
            layout,
            clock,
            chance,
            tasks,
            driver,
            fixed_env: config.fixed_env,
            default_program: config.default_program,
            faults: Faults::new(config.faults),
            is_manual: config.is_manual,
            turnstile: config.keeps_rate_limits.then(Turnstile::default),
            changing: Mutex::new(()),
            contents: Mutex::new(contents),
            _lock: lock,
        });
        for record in machines {
            let has_remains = running.contains(&record.id);
            Self::take_up(&registry, record, has_remains).await?;
        }
        Ok(registry)
    }

    async fn take_up(registry: &Arc<Self>, record: Record, has_remains: bool) -> Result<(), StartError> {
        let Runnable { config, stop, volumes } = registry.known(&record.config).map_err(|refusal| {
            let path = registry.layout.machine_file(&record.id);
            StartError::Damaged { path, source: serde::de::Error::custom(refusal.error) }
        })?;
        let (view, orders) = registry.contents().insert(&record, volumes);
        let mut actor = Actor::new(Arc::clone(registry), record, config, stop, view);
        actor.recover(has_remains).await;
        registry.tasks.spawn("emulator-machine", actor.run(orders));
        Ok(())
    }
}

fn read(layout: &Layout) -> Result<Remains, StartError> {
    let mut contents = Contents::default();
    for name in layout::names(&layout.apps(), ".json")? {
        if let Some(app) = layout::read(&layout.app_file(&name))? {
            contents.apps.insert(name, app);
        }
    }
    for id in layout::names(&layout.volumes(), ".json")? {
        if let Some(volume) = layout::read(&layout.volume_file(&id))? {
            contents.volumes.insert(id, volume);
        }
    }
    for id in layout::names(&layout.volumes(), "")? {
        if !id.ends_with(".json") && !contents.volumes.contains_key(&id) {
            remove_left_over(&layout.volume_dir(&id));
        }
    }
    let recorded: BTreeSet<&str> = contents.volumes.values().flat_map(VolumeRecord::snapshot_ids).collect();
    for id in layout::names(&layout.snapshots(), "")? {
        if !recorded.contains(id.as_str()) {
            remove_left_over(&layout.snapshot_dir(&id));
        }
    }
    let (mut machines, mut left_over) = (Vec::new(), Vec::new());
    for id in layout::names(&layout.machines(), "")? {
        match layout::read::<Record>(&layout.machine_file(&id))? {
            Some(record) => machines.push(record),
            None => left_over.push(id),
        }
    }
    Ok(Remains { contents, machines, left_over })
}

/// Of such a machine something may run.
async fn remove_left_over_machine(layout: &Layout, driver: &Driver, id: &str, running: &BTreeSet<String>) {
    if running.contains(id)
        && let Err(error) = driver.end_remains(id).await
    {
        tracing::error!(fly.machine.id = id, %error, "processes of a machine without a record still run");
    }
    let directory = layout.machine_dir(id);
    blocking(move || remove_left_over(&directory)).await;
}

fn remove_left_over(path: &Path) {
    let shown = path.display();
    match layout::remove(path) {
        Ok(()) => tracing::info!(path = %shown, "removed what a creation or deletion that was cut short has left"),
        Err(error) => tracing::warn!(path = %shown, %error, "what a deletion has left cannot be removed"),
    }
}
