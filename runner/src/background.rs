//! What is done for the next execution while this one's command runs: a spare
//! checkout, the mirror kept in order, and the package managers' caches kept to their size.
//!
//! Nothing waits for it and nothing fails with it; it ends where it stands when the
//! runner does.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::Tasks;
use kit::tasks::StillRunning;
use tokio::task::JoinHandle;

use crate::dependencies;
use crate::mirror::{self, Obtained};
use crate::orders::Orders;
use crate::room::Room;
use crate::spare;

/// Work in the background. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    tasks: Tasks,
    /// The repositories that something is being done for.
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Background {
    /// Makes ready what the repository's next execution will ask for. Where that is under way, it is enough. Caches are
    /// looked after where something was installed just now.
    pub(crate) fn prepare_next(&self, room: &Arc<Room>, repository: &str, obtained: &Obtained, is_installed: bool) {
        let Some(turn) = self.begin(repository) else { return };
        let (room, repository, obtained) = (room.clone(), repository.to_owned(), obtained.clone());
        self.tasks.spawn_until_stopped("next execution", async move {
            let orders = Orders::none();
            if let Err(error) = spare::make(&room, &repository, &obtained, &orders).await {
                tracing::warn!("no spare of {repository} could be made: {error}");
            }
            mirror::upkeep::keep(&room, &repository, &orders).await;
            dependencies::keep_caches(&room, is_installed).await;
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

    fn begin(&self, repository: &str) -> Option<Turn> {
        let is_new = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned());
        is_new.then(|| Turn { busy: self.busy.clone(), repository: repository.to_owned() })
    }

    /// Whether nothing is under way.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// One repository's turn, until this is dropped.
struct Turn {
    busy: Arc<Mutex<BTreeSet<String>>>,
    repository: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.repository);
    }
}
