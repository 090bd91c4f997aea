//! Background tasks that are named, owned and awaited: a process ends when its
//! tasks have ended, and they end when told.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owns tasks and the signal that ends them. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Some tasks did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} background tasks did not end in time")]
pub struct StillRunning(pub usize);

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task; it must end soon after [`Tasks::stopping`] resolves.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(future.instrument(tracing::debug_span!("task", name))))
    }

    /// Starts a task that is dropped where it stands when the stop is given.
    pub fn spawn_until_stopped<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            stop.run_until_cancelled(future).await;
        });
    }

    /// Resolves when the stop is given.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Whether the stop was given.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Gives the stop; [`Tasks::stop_within`] also waits.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Tasks that stop with these, or earlier by themselves.
    pub fn child(&self) -> Self {
        Self { tracker: self.tracker.clone(), stop: self.stop.child_token() }
    }

    /// Gives the stop and waits until every task has ended.
    pub async fn stop_within(&self, limit: Duration) -> Result<(), StillRunning> {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.map_err(|_| StillRunning(self.tracker.len()))
    }
}

/// Runs what blocks, such as work on files, where it holds nobody up. A panic in there is one here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // It is never cancelled while the process lives, so it has panicked: so do we.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Resolves at the first SIGINT or SIGTERM after this call, also at one that comes before the first poll: called before
/// a program says that it is ready, it leaves no moment in which a signal ends the process with nothing cleaned up.
pub fn termination() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_ends_every_task_and_waits_for_it() {
        let tasks = Tasks::new();
        let inner = tasks.clone();
        let handle = tasks.spawn("test", async move {
            inner.stopping().await;
            "ended"
        });
        tasks.spawn_until_stopped("endless", std::future::pending());
        assert_eq!(tasks.stop_within(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(handle.await.expect("no panic"), "ended");
    }

    #[tokio::test]
    async fn a_signal_that_comes_before_anybody_waits_for_it_is_not_missed() {
        let told = termination();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).expect("raised");
        told.await;
    }

    #[tokio::test]
    async fn a_task_that_will_not_end_is_counted() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending::<()>());
        assert_eq!(tasks.stop_within(Duration::from_millis(1)).await, Err(StillRunning(1)));
    }
}
