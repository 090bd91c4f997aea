//! Work that nobody pushed, out of mirrors that were set aside because they are damaged. It is taken over into the mirror
//! that is made in their place before that one has its name: whoever is killed meanwhile leaves them as they are, and
//! whoever clones the repository next tries again. A mirror that cannot give all of it out stays aside as work.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use wire::event::kind;

use super::{Damaged, fetch_arguments, partial};
use crate::checkpoint::unpushed;
use crate::git::{GitError, Place};
use crate::orders::{Halt, Orders};
use crate::record::Story;
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume::{self, former_name};

/// For a mirror that lost its own.
const CONFIGURATION: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n";
/// Where nothing is, and nothing is asked for.
const HEAD: &str = "ref: refs/heads/none\n";
/// So many references are named in an event.
const NAMED: usize = 20;

/// A mirror that was set aside, after its work was taken over as far as that can be.
#[derive(Debug)]
pub(super) struct Rescued {
    aside: PathBuf,
    /// The references whose work it did not give out.
    left: Vec<String>,
}

/// Whether there is, or may be, work in a mirror that nobody pushed.
pub(super) fn has_work(mirror: &Path, name: &str) -> bool {
    unpushed::listed(mirror, name).map_or(true, |work| !work.is_empty())
}

/// Takes over what mirrors of this name have that were set aside.
pub(super) async fn rescue(room: &Room, orders: &Orders, name: &str, mirror: &Path) -> Result<Vec<Rescued>, NotReady> {
    let volume = room.volume.clone();
    let aside = blocking(move || volume.work_aside()).await;
    let aside = aside.map_err(|error| NotReady::machine("looking for work that was set aside", &error))?;
    let mut rescued = Vec::new();
    for aside in aside.into_iter().filter(|aside| former_name(aside) == name) {
        let left = match take_over(room, orders, name, &aside, mirror).await {
            Ok(left) => left,
            Err(NotTaken::Halted(halt)) => return Err(NotReady::Halted(halt)),
            // It keeps nobody from a repository that can be had.
            Err(NotTaken::Io(error)) => vec![format!("refs/bifrost ({error})")],
        };
        rescued.push(Rescued { aside, left });
    }
    Ok(rescued)
}

/// Why it is not known what was taken over.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("it was called off")]
    Halted(Halt),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Gives git the two small files without which it takes the directory for no repository at all.
fn make_readable(aside: &Path) -> io::Result<()> {
    volume::swap_in(&aside.join("HEAD"), HEAD.as_bytes())?;
    if partial::is_partial(aside) { Ok(()) } else { volume::swap_in(&aside.join("config"), CONFIGURATION.as_bytes()) }
}

/// Fetches all of it at once, and where one reference keeps the others from it, each by itself. Gives those that are not
/// there then.
async fn take_over(
    room: &Room,
    orders: &Orders,
    name: &str,
    aside: &Path,
    mirror: &Path,
) -> Result<Vec<String>, NotTaken> {
    make_readable(aside)?;
    let all = unpushed::KEPT.map(|place| format!("+{place}/*:{place}/*"));
    fetch(room, orders, aside, mirror, &all).await?;
    for reference in left(name, aside, mirror)? {
        fetch(room, orders, aside, mirror, &[format!("+{reference}:{reference}")]).await?;
    }
    Ok(left(name, aside, mirror)?)
}

/// Only an order is an error: what did not come shows by what is there.
async fn fetch(room: &Room, orders: &Orders, aside: &Path, mirror: &Path, refspecs: &[String]) -> Result<(), NotTaken> {
    let mut arguments = fetch_arguments(aside.as_os_str());
    arguments.extend(refspecs.iter().map(Into::into));
    match room.git.run(Place::bare(mirror), arguments, b"", orders).await {
        Err(GitError::Halted(halt)) => Err(NotTaken::Halted(halt)),
        Err(error) => {
            tracing::warn!("unpushed work stays in {}: {error}", aside.display());
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// The references of the one mirror that the other does not have as they are there.
fn left(name: &str, aside: &Path, mirror: &Path) -> io::Result<Vec<String>> {
    let there: BTreeSet<_> = unpushed::listed(mirror, name)?.into_iter().collect();
    let missing = unpushed::listed(aside, name)?.into_iter().filter(|work| !there.contains(work));
    Ok(missing.map(|work| work.reference).collect())
}

/// Lets go of the mirrors whose work has another place now, and tells of what the others did not give out.
pub(super) async fn settle(room: &Room, story: &Story, mirror: &Path, rescued: Vec<Rescued>) {
    for Rescued { aside, left } in rescued {
        if left.is_empty() {
            let (volume, place, keep) = (room.volume.clone(), mirror.to_owned(), room.limits.quarantined);
            let path = aside.clone();
            if let Err(error) = blocking(move || volume.has_no_work(&path, &place, keep)).await {
                tracing::warn!("{} counts as work that is nowhere else: {error}", aside.display());
            }
            continue;
        }
        let shown = left.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = left.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let name = volume::file_name(&aside);
        let reason = format!("it does not give out whole what nobody pushed, and stays in quarantine: {shown}{more}");
        tracing::warn!("the mirror {name}: {reason}");
        story.tell(kind::VOLUME_DAMAGED, &Damaged { what: "unpushed work", name: &name, reason: &reason }).await;
    }
}
