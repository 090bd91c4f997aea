//! What is done for the next execution while this one's command runs: what is out of
//! the way is removed, a spare checkout and spares of what was installed are made, the
//! mirror is kept in order, and the package managers' caches are kept to their size.
//!
//! Nothing waits for it and nothing fails with it; it ends where it stands when the
//! runner does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::Tasks;
use kit::tasks::{StillRunning, blocking};
use tokio::task::JoinHandle;
use wire::execution::Cache;
use wire::worker::repository_name;

use crate::dependencies::{self, Ready};
use crate::mirror::{self, Obtained};
use crate::orders::Orders;
use crate::room::Room;
use crate::spare;

/// No repository is called so.
const TRASH: &str = "trash";

/// Work in the background. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    tasks: Tasks,
    /// The names of the repositories that something is being done for, and [`TRASH`].
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Background {
    /// Makes ready what the repository's next execution will ask for, whose tree is as large as that of this index. Where
    /// that is under way, it is enough. Caches are looked after where something was installed just now.
    pub(crate) fn prepare_next(
        &self,
        room: &Arc<Room>,
        repository: &str,
        obtained: &Obtained,
        index: &Path,
        ready: &Ready,
    ) {
        let Some(turn) = self.begin(&repository_name(repository)) else { return };
        let (room, repository) = (room.clone(), repository.to_owned());
        let (obtained, index, trees) = (obtained.clone(), index.to_owned(), ready.trees.clone());
        let is_installed = ready.cache == Some(Cache::Miss);
        self.tasks.spawn_until_stopped("next execution", async move {
            let orders = Orders::none();
            if let Err(error) = spare::make(&room, &repository, &obtained, &index, &orders).await {
                tracing::warn!("no spare of {repository} could be made: {error}");
            }
            if let Err(error) = dependencies::make_spares(&room, &trees, &orders).await {
                tracing::warn!("no spares of what {repository} needs could be made: {error}");
            }
            mirror::upkeep::keep(&room, &repository, &orders).await;
            dependencies::keep_caches(&room, is_installed).await;
            drop(turn);
        });
    }

    /// Removes what was discarded. Where that is under way, the rest waits for the next time.
    pub(crate) fn empty_trash(&self, room: &Arc<Room>) {
        let Some(turn) = self.begin(TRASH) else { return };
        let room = room.clone();
        self.tasks.spawn_until_stopped("trash", async move {
            let emptied = blocking(move || room.volume.empty_trash()).await;
            if let Err(error) = emptied {
                tracing::warn!("what was discarded could not be removed: {error}");
            }
            drop(turn);
        });
    }

    /// Reads on while other things are done.
    pub(crate) fn listen(&self, reading: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let tasks = self.tasks.clone();
        self.tasks.spawn("service output", async move {
            tokio::select! {
                () = reading => (),
                () = tasks.stopping() => (),
            }
        })
    }

    /// Ends what is under way, where it stands.
    pub(crate) async fn stop(&self, within: Duration) -> Result<(), StillRunning> {
        self.tasks.stop_within(within).await
    }

    /// Keeps everything from being done for the repository of this name; nothing where something is.
    pub(crate) fn begin(&self, what: &str) -> Option<Turn> {
        let is_new = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned());
        is_new.then(|| Turn { busy: self.busy.clone(), what: what.to_owned() })
    }

    /// Whether nothing is under way.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A turn at one of them, until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    busy: Arc<Mutex<BTreeSet<String>>>,
    what: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.what);
    }
}
