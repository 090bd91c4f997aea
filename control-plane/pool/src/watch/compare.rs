//! The comparison itself: pure, so that every mismatch is a row of a test.

use chrono::{DateTime, Utc};
use wire::id::MachineId;
use wire::machine::{MachineState, OrphanKind};

use crate::machines::{Machine, volume_prefix};
use crate::orphans::Orphan;
use crate::provision::POOL_KEY;

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
        /// Its id at the provider.
        provider_id: String,
        /// Where it is.
        region: String,
    },
    /// A machine that should be booting has stopped: provisioning should look at it now.
    Stalled(MachineId),
    /// A machine or volume of this pool without a row.
    Orphan(Orphan),
}

impl Finding {
    pub(super) fn orphan(&self) -> Option<&Orphan> {
        match self {
            Self::Orphan(orphan) => Some(orphan),
            Self::Row { .. } | Self::Nameless { .. } | Self::Stalled(_) => None,
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
    let mut findings: Vec<Finding> = settled.filter_map(|machine| follow(machine, there)).collect();
    let machines = unknown(known, there).filter(|found| is_ours(found, pool));
    findings.extend(machines.map(|found| orphan(OrphanKind::Machine, &found.id, &found.name, &found.region)));
    let volumes = volumes
        .iter()
        .filter(|volume| volume.name.starts_with(&volume_prefix(pool)) && !volume.state.contains("destroy"))
        .filter(|volume| !known.volume_ids.contains(&volume.id) && !known.volume_names.contains(&volume.name));
    findings.extend(volumes.map(|volume| orphan(OrphanKind::Volume, &volume.id, &volume.name, &volume.region)));
    findings
}

/// How many machines the provider has that no row knows, whoever's they are.
pub(super) fn strangers(known: &Known, there: &[fly::Machine]) -> usize {
    unknown(known, there).count()
}

fn unknown<'a>(known: &'a Known, there: &'a [fly::Machine]) -> impl Iterator<Item = &'a fly::Machine> {
    let is_known = |found: &fly::Machine| {
        let is_former = |row: &Machine| row.former_provider_id.as_ref() == Some(&found.id);
        known.machines.iter().any(|row| row.name == found.name || is_former(row))
    };
    there.iter().filter(move |found| !is_going(found.state) && !is_known(found))
}

fn orphan(kind: OrphanKind, provider_id: &str, name: &str, region: &str) -> Finding {
    let (provider_id, name, region) = (provider_id.to_owned(), name.to_owned(), region.to_owned());
    Finding::Orphan(Orphan { kind, provider_id, name, region })
}

fn follow(machine: &Machine, there: &[fly::Machine]) -> Option<Finding> {
    use MachineState::{Creating, Destroyed, Destroying, Draining, Ready, Resuming, Starting, Suspended, Suspending};
    use fly::MachineState as At;
    let named = there.iter().find(|found| found.name == machine.name);
    if let (None, Some(named)) = (&machine.provider_id, named) {
        let (provider_id, region) = (named.id.clone(), named.region.clone());
        return Some(Finding::Nameless { id: machine.id, provider_id, region });
    }
    let found = there.iter().find(|found| Some(&found.id) == machine.provider_id.as_ref()).map(|found| found.state);
    let to = |to, why: &str| Some(Finding::Row { id: machine.id, from: machine.state, to, why: why.to_owned() });
    match (machine.state, found) {
        // Still being made, or going anyway: provisioning looks itself.
        (Creating | Destroying | Destroyed, _) => None,
        (_, None | Some(At::Destroyed | At::Destroying | At::LaunchFailed)) => {
            to(Destroying, "the machine is gone at the provider")
        }
        (Ready | Draining, Some(At::Stopped | At::Failed)) => to(Starting, "the machine has stopped"),
        (Ready | Draining, Some(At::Suspended)) => to(Resuming, "the machine was suspended by somebody else"),
        (Suspended, Some(At::Started)) => to(Suspending, "the machine runs although it should sleep"),
        (Starting | Resuming, Some(At::Stopped | At::Failed)) => Some(Finding::Stalled(machine.id)),
        (Ready | Draining | Starting | Resuming | Suspending | Suspended, Some(_)) => None,
    }
}

/// Whether nothing has to be done for it to be gone.
fn is_going(state: fly::MachineState) -> bool {
    matches!(state, fly::MachineState::Destroying | fly::MachineState::Destroyed | fly::MachineState::LaunchFailed)
}

fn is_ours(found: &fly::Machine, pool: &str) -> bool {
    let metadata = found.config.as_ref().map(|config| &config.metadata);
    metadata.and_then(|metadata| metadata.get(POOL_KEY)).is_some_and(|name| name == pool)
}

#[cfg(test)]
mod tests;
