//! The comparison itself: pure, so that every mismatch is a row of a test.

use chrono::{DateTime, Utc};
use wire::id::{MachineId, VolumeId};
use wire::machine::{MachineState, OrphanKind};

use crate::machines::{Machine, volume_prefix};
use crate::orphans::{Orphan, Size};
use crate::provision::{MACHINE_KEY, POOL_KEY, is_marked, mark};

/// What the registry knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Machines that are not destroyed.
    pub(super) machines: Vec<Machine>,
    /// The provider's ids of volumes that have a row.
    pub(super) volume_ids: Vec<String>,
    /// Names of volumes whose id is not known yet.
    pub(super) volume_names: Vec<String>,
}

/// One mismatch.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finding {
    /// A row has to follow what happened.
    Row {
        /// The row.
        id: MachineId,
        /// Where it was seen.
        from: MachineState,
        /// Where it should be.
        to: MachineState,
        /// What happened.
        why: String,
    },
    /// A machine whose id at the provider was never stored: a crash came between.
    Nameless {
        /// The row.
        id: MachineId,
        /// What the provider has.
        found: Box<fly::Machine>,
    },
    /// A machine that should be booting has stopped: provisioning should look at it now.
    Stalled(MachineId),
    /// A list has no machine for this row. Lists may lag, so it is asked for by its id before anything is believed.
    Missing {
        /// The row.
        id: MachineId,
        /// Its id at the provider.
        provider_id: String,
        /// Where it was seen.
        from: MachineState,
        /// Where provisioning makes it anew with its volume, or ends it.
        to: MachineState,
    },
    /// The provider has moved a machine to another host, and its volume has another id since.
    Moved {
        /// The volume's row.
        volume: VolumeId,
        /// What it is called at the provider now.
        provider_id: String,
    },
    /// A machine or volume of this pool without a row.
    Orphan(Orphan),
}

impl Finding {
    pub(super) fn orphan(&self) -> Option<&Orphan> {
        match self {
            Self::Orphan(orphan) => Some(orphan),
            Self::Row { .. } | Self::Nameless { .. } | Self::Stalled(_) | Self::Missing { .. } | Self::Moved { .. } => {
                None
            }
        }
    }
}

/// Every mismatch between the registry and the provider's lists, which were asked for at `began`.
pub(super) fn compare(
    known: &Known,
    there: &[fly::Machine],
    volumes: &[fly::Volume],
    pool: &str,
    began: DateTime<Utc>,
) -> Vec<Finding> {
    // A row that moved while the provider was being asked is looked at the next time.
    let settled = known.machines.iter().filter(|machine| machine.state_since < began);
    let settled: Vec<&Machine> = settled.collect();
    let mut findings: Vec<Finding> = settled.iter().filter_map(|machine| follow(machine, there)).collect();
    let moved: Vec<_> = settled.iter().filter_map(|machine| moved(machine, there, volumes)).collect();
    let machines = unknown(known, there).filter(|found| !is_going(found.state) && is_ours(found, pool));
    findings.extend(machines.map(|found| Finding::Orphan(lone_machine(found))));
    let volumes = volumes
        .iter()
        .filter(|volume| volume.name.starts_with(&volume_prefix(pool)) && !volume.state.contains("destroy"))
        .filter(|volume| !known.volume_ids.contains(&volume.id) && !known.volume_names.contains(&volume.name))
        .filter(|volume| !moved.iter().any(|(_, id)| *id == volume.id));
    findings.extend(volumes.map(|volume| Finding::Orphan(lone_volume(volume))));
    findings.extend(moved.into_iter().map(|(volume, provider_id)| Finding::Moved { volume, provider_id }));
    findings
}

/// The row of a machine's volume, and the volume of its name that the machine has in its place.
fn moved(machine: &Machine, there: &[fly::Machine], volumes: &[fly::Volume]) -> Option<(VolumeId, String)> {
    let known = machine.volume_provider_id.as_ref()?;
    let found = there.iter().find(|found| Some(&found.id) == machine.provider_id.as_ref())?;
    let mounted = found.config.as_ref()?.mounts.first()?.volume.as_ref()?;
    let is_ours = |volume: &&fly::Volume| volume.id == *mounted && volume.name == machine.volume_name;
    let volume = volumes.iter().find(is_ours).filter(|volume| volume.id != *known)?;
    Some((machine.volume_id, volume.id.clone()))
}

/// How many machines the provider has that no row knows, whoever's they are. One that is going is there until it is gone.
pub(super) fn strangers(known: &Known, there: &[fly::Machine]) -> usize {
    unknown(known, there).filter(|found| !is_gone(found.state)).count()
}

/// Those of them that are this pool's and are going.
pub(super) fn going<'a>(known: &'a Known, there: &'a [fly::Machine], pool: &str) -> Vec<&'a str> {
    let is_still_there = |found: &&fly::Machine| is_going(found.state) && !is_gone(found.state) && is_ours(found, pool);
    unknown(known, there).filter(is_still_there).map(|found| found.id.as_str()).collect()
}

fn unknown<'a>(known: &'a Known, there: &'a [fly::Machine]) -> impl Iterator<Item = &'a fly::Machine> {
    let is_known = |found: &fly::Machine| {
        let is_former = |row: &Machine| row.former_provider_id.as_ref() == Some(&found.id);
        known.machines.iter().any(|row| row.name == found.name || is_former(row))
    };
    there.iter().filter(move |found| !is_known(found))
}

fn lone_machine(found: &fly::Machine) -> Orphan {
    use fly::MachineState::{Stopped, Suspended};
    Orphan {
        kind: OrphanKind::Machine,
        provider_id: found.id.clone(),
        name: found.name.clone(),
        region: found.region.clone(),
        row: mark(found, MACHINE_KEY).and_then(|id| id.parse().ok()),
        is_awake: !matches!(found.state, Suspended | Stopped),
        made_at: found.created_at,
        size: found.config.as_ref().map(|config| Size::Guest(config.guest.clone())),
    }
}

fn lone_volume(volume: &fly::Volume) -> Orphan {
    Orphan {
        kind: OrphanKind::Volume,
        provider_id: volume.id.clone(),
        name: volume.name.clone(),
        region: volume.region.clone(),
        row: None,
        is_awake: false,
        made_at: volume.created_at,
        // A list may leave it out.
        size: (volume.size_gb > 0).then_some(Size::Gigabytes(volume.size_gb)),
    }
}

fn follow(machine: &Machine, there: &[fly::Machine]) -> Option<Finding> {
    use MachineState::{Creating, Destroyed, Destroying, Draining, Ready, Resuming, Starting, Suspended, Suspending};
    use fly::MachineState as At;
    let named = there.iter().find(|found| found.name == machine.name && is_marked(found, machine.id));
    if let (None, Some(named)) = (&machine.provider_id, named) {
        return Some(Finding::Nameless { id: machine.id, found: Box::new(named.clone()) });
    }
    let provider_id = machine.provider_id.as_ref();
    let found = there.iter().find(|found| Some(&found.id) == provider_id).map(|found| found.state);
    let found = found.filter(|state| !is_going(*state));
    let to = |to, why: &str| Some(Finding::Row { id: machine.id, from: machine.state, to, why: why.to_owned() });
    match (machine.state, found) {
        // Still being made, or going anyway: provisioning looks itself.
        (Creating | Destroying | Destroyed, _) => None,
        (Ready | Draining | Suspended, None) => provider_id.map(|provider_id| Finding::Missing {
            id: machine.id,
            provider_id: provider_id.clone(),
            from: machine.state,
            // Without a volume there is nothing to go on with.
            to: match machine.state {
                _ if machine.volume_provider_id.is_none() => Destroying,
                Suspended => Resuming,
                _ => Starting,
            },
        }),
        // Provisioning asks for it by its id.
        (Starting | Resuming, None) => Some(Finding::Stalled(machine.id)),
        (Suspending, None) => None,
        (Ready | Draining, Some(At::Stopped | At::Failed)) => to(Starting, "the machine has stopped"),
        (Ready | Draining, Some(At::Suspended)) => to(Resuming, "the machine was suspended by somebody else"),
        (Suspended, Some(At::Started)) => to(Suspending, "the machine runs although it should sleep"),
        (Starting | Resuming, Some(At::Stopped | At::Failed)) => Some(Finding::Stalled(machine.id)),
        (Ready | Draining | Starting | Resuming | Suspending | Suspended, Some(_)) => None,
    }
}

/// Whether nothing has to be done for it to be gone.
pub(super) fn is_going(state: fly::MachineState) -> bool {
    state == fly::MachineState::Destroying || is_gone(state)
}

fn is_gone(state: fly::MachineState) -> bool {
    matches!(state, fly::MachineState::Destroyed | fly::MachineState::LaunchFailed)
}

fn is_ours(found: &fly::Machine, pool: &str) -> bool {
    mark(found, POOL_KEY).is_some_and(|name| name == pool)
}

#[cfg(test)]
mod tests;
