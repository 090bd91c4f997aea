//! What the transactions of one HTTP request have in common: whether it has seen what is not on disk yet.
//!
//! This follows the request by itself, as a task-local, and not through arguments, so that no handler can
//! forget it. Outside of a request, in background work, there is no such scope: transactions wait at their
//! beginning instead of at the end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static CURRENT: RequestScope;
}

/// One request. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RequestScope(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A transaction was begun whose sight no later commit has covered.
    has_seen: AtomicBool,
    has_committed: AtomicBool,
}

impl RequestScope {
    /// Runs what the request does.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// The request that is running here, if one is.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Whether its answer may rest on what is not on disk yet.
    pub fn has_seen(&self) -> bool {
        self.0.has_seen.load(Ordering::Relaxed)
    }

    /// Whether it has changed anything for good.
    pub fn has_committed(&self) -> bool {
        self.0.has_committed.load(Ordering::Relaxed)
    }

    pub(crate) fn sees(&self) {
        self.0.has_seen.store(true, Ordering::Relaxed);
    }

    /// A commit's own sync covers whatever was seen before.
    pub(crate) fn commits(&self) {
        self.0.has_seen.store(false, Ordering::Relaxed);
        self.0.has_committed.store(true, Ordering::Relaxed);
    }
}
