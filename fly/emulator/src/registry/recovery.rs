//! What an earlier emulator has left: records are read, machines are found again
//! or noted as ended, and what is without a record is removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fly::Turnstile;
use kit::{Chance, Clock, Tasks};

use super::machines::{Runnable, runnable};
use super::{Contents, Registry, VolumeRecord};
use crate::faults::Faults;
use crate::layout::{self, Layout};
use crate::machine::{Actor, Record, blocking};
use crate::process::{self, Root};
use crate::{Config, StartError};

/// What the data directory holds.
struct Remains {
    contents: Contents,
    machines: Vec<Record>,
    /// Machines of which processes run, whether there is a record of them or not.
    running: BTreeSet<String>,
    boot_id: String,
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
        let (layout, lock, remains) = blocking(move || {
            let (layout, lock) = Layout::open(&data)?;
            let remains = read(&layout)?;
            Ok::<_, StartError>((layout, lock, remains))
        })
        .await?;
        let Remains { contents, machines, running, boot_id } = remains;
        let registry = Arc::new(Self {
            layout,
            clock,
            chance,
            tasks,
            host_env: config.host_env,
            boot_id,
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
        let Runnable { config, stop, volumes } = runnable(&record.config).map_err(|refusal| {
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
    let unreadable = |source| StartError::Data { path: "/proc".into(), source };
    let running = process::machines_with_processes().map_err(unreadable)?;
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
    let mut machines = Vec::new();
    for id in layout::names(&layout.machines(), "")? {
        match layout::read::<Record>(&layout.machine_file(&id))? {
            Some(record) => machines.push(record),
            None => {
                end_left_over(&id, &running);
                remove_left_over(&layout.machine_dir(&id));
            }
        }
    }
    let boot_id = process::boot_id().map_err(unreadable)?;
    Ok(Remains { contents, machines, running, boot_id })
}

/// A machine whose creation or destruction was cut short may have processes.
fn end_left_over(id: &str, running: &BTreeSet<String>) {
    if running.contains(id)
        && let Err(error) = process::kill(&Root::marked(id))
    {
        tracing::error!(fly.machine.id = id, %error, "processes of a machine without a record still run");
    }
}

fn remove_left_over(path: &Path) {
    let shown = path.display();
    match layout::remove(path) {
        Ok(()) => tracing::info!(path = %shown, "removed what a creation or deletion that was cut short has left"),
        Err(error) => tracing::warn!(path = %shown, %error, "what a deletion has left cannot be removed"),
    }
}
