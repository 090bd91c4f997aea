//! What a volume has of somebody's work and nothing else has, as the control plane hears of it: a machine that has any is
//! not let go. Where git can give it out it is told of by its commit; what was not saved, and what was set aside, lies on
//! the volume for whoever looks there, so it has none.

use std::io;
use std::path::Path;

use wire::checkpoint::KeptWork;
use wire::id::ExecutionId;
use wire::limit::KEPT_PER_MACHINE;
use wire::worker::repository_name;

use super::format::Manifest;
use super::{alone, unpushed};
use crate::volume::{self, Volume, former_name};
use crate::workspace::{self, Marker};

/// All of it, the newest first: under references of mirrors, in checkpoints that alone have it, in workspaces that are
/// not saved, and in what was set aside.
pub(crate) fn kept_work(volume: &Volume) -> io::Result<Vec<KeptWork>> {
    let mut found: Vec<KeptWork> = Vec::new();
    for name in volume.repository_names() {
        found.extend(unpushed::listed(&volume.mirror(&name), &name)?);
    }
    found.extend(alone(volume, &volume.checkpoint_ids()?).into_iter().map(of_checkpoint));
    for id in volume.execution_ids()? {
        found.extend(of_workspace(volume, id)?);
    }
    for aside in volume.work_aside()? {
        found.extend(of_aside(&aside)?);
    }
    found.sort_by(|one, other| other.cmp(one));
    found.truncate(KEPT_PER_MACHINE);
    Ok(found)
}

fn of_checkpoint(manifest: Manifest) -> KeptWork {
    KeptWork {
        execution_id: manifest.subject.execution_id,
        repository: repository_name(&manifest.repository),
        reference: format!("checkpoints/{}", manifest.checkpoint_id),
        commit: manifest.commit,
    }
}

fn of_workspace(volume: &Volume, id: ExecutionId) -> io::Result<Option<KeptWork>> {
    if workspace::is_saved(volume, id)? {
        return Ok(None);
    }
    let repository = Marker::read(volume, id)?.map(|marker| repository_name(&marker.repository));
    Ok(Some(KeptWork::unsaved(id, repository.unwrap_or_else(|| KeptWork::UNKNOWN.to_owned()))))
}

/// A workspace, or a mirror with all that it had.
fn of_aside(aside: &Path) -> io::Result<Vec<KeptWork>> {
    let place = format!("aside/{}", volume::file_name(aside));
    let name = former_name(aside);
    let Ok(execution_id) = name.parse() else {
        let work = unpushed::listed(aside, &name)?.into_iter();
        let aside = |work: KeptWork| KeptWork {
            reference: format!("{place}/{}", work.reference),
            commit: String::new(),
            ..work
        };
        return Ok(work.map(aside).collect());
    };
    let repository = unpushed::borrowed(aside).unwrap_or_else(|| KeptWork::UNKNOWN.to_owned());
    Ok(vec![KeptWork { execution_id, repository, reference: place, commit: String::new() }])
}

#[cfg(test)]
mod tests;
