//! How an execution that is under way is told to end before its time, and asks whether it may go on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long to wait for the word that a lease is still ours: longer than one lasts that nobody renews.
pub(crate) const CONFIRMED_WITHIN: Duration = Duration::from_secs(120);

/// Why an execution must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Somebody called it off.
    Cancelled,
    /// It belongs to somebody else now: nothing more may be said about it.
    LeaseLost,
    /// The runner itself was told to stop.
    Stopping,
    /// Its files take more of the volume than it may have.
    DiskExceeded(Excess),
}

/// What an execution has on the disk, and what it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Excess {
    pub(crate) used_bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used_bytes, limit_bytes } = self;
        write!(
            f,
            "its files took {used_bytes} bytes of the disk, more than the {limit_bytes} that an execution may have on \
             this machine, and it was ended; let it leave less in its workspace, home and temporary directory, or \
             raise BIFROST_DISK_BYTES"
        )
    }
}

/// Gives the order.
#[derive(Debug, Clone)]
pub(crate) struct Commander(watch::Sender<Option<Halt>>);

/// Hears it. Clones hear the same.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    halt: watch::Receiver<Option<Halt>>,
    /// Orders that the execution itself gave cause for; those from outside go before them.
    own: Option<watch::Receiver<Option<Halt>>>,
    /// Absent for work that nobody has leased.
    pulse: Option<Arc<Pulse>>,
}

/// The heartbeats of whoever holds the leases, and a way to ask for one.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    wanted: Notify,
    /// The machine may have slept.
    doubts: watch::Sender<()>,
    /// When the newest one was sent that was answered.
    heard: watch::Sender<Option<Instant>>,
}

impl Pulse {
    /// Resolves when somebody cannot wait for the next heartbeat.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether what is leased is still ours is doubtful from now on, until a heartbeat is answered.
    pub(crate) fn doubt(&self) {
        self.doubts.send_replace(());
    }

    /// One that was sent then was answered, and whatever it said of lost leases is known.
    pub(crate) fn heard(&self, sent: Instant) {
        self.heard.send_replace(Some(sent));
    }
}

/// Why work that reaches beyond this machine must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotOurs {
    #[error("it was called off")]
    Halted(Halt),
    #[error("the control plane does not say whether the task is still this machine's")]
    Unanswered,
}

impl Commander {
    /// The first order stands, except that a lost lease goes before everything.
    pub(crate) fn halt(&self, halt: Halt) {
        self.0.send_if_modified(|standing| {
            let changes = standing.is_none() || (halt == Halt::LeaseLost && *standing != Some(Halt::LeaseLost));
            if changes {
                *standing = Some(halt);
            }
            changes
        });
    }

    /// The order that stands now.
    pub(crate) fn standing(&self) -> Option<Halt> {
        *self.0.borrow()
    }
}

impl Orders {
    /// No order yet, and somebody to give one.
    pub(crate) fn new() -> (Commander, Self) {
        let (sender, receiver) = watch::channel(None);
        (Commander(sender), Self { halt: receiver, own: None, pulse: None })
    }

    /// The same for work under a lease that this keeps alive.
    pub(crate) fn under(self, pulse: Arc<Pulse>) -> Self {
        Self { pulse: Some(pulse), ..self }
    }

    /// The same, and somebody who looks after the work itself and may end it as well.
    pub(crate) fn looked_after(self) -> (Commander, Self) {
        let (sender, receiver) = watch::channel(None);
        (Commander(sender), Self { own: Some(receiver), ..self })
    }

    /// For work that nobody calls off.
    pub(crate) fn none() -> Self {
        Self::new().1
    }

    /// The order that stands now.
    pub(crate) fn standing(&self) -> Option<Halt> {
        let own = || self.own.as_ref().and_then(|own| *own.borrow());
        (*self.halt.borrow()).or_else(own)
    }

    /// Changes when it becomes doubtful whether the work is still ours; absent for work that nobody has leased.
    pub(crate) fn doubts(&self) -> Option<watch::Receiver<()>> {
        self.pulse.as_ref().map(|pulse| pulse.doubts.subscribe())
    }

    /// Asks whether the work is still ours, before it reaches beyond this machine: a machine that was suspended may
    /// have lost its lease and not know it. Only an answer to a question that was sent after this was called counts.
    pub(crate) async fn confirm(&self, within: Duration) -> Result<(), NotOurs> {
        self.ask(within, |_| true).await
    }

    /// As [`Orders::confirm`], for what is done with the work of a command that has ended: whoever called that off still
    /// wants it, and only a lost lease forbids it.
    pub(crate) async fn confirm_lease(&self, within: Duration) -> Result<(), NotOurs> {
        self.ask(within, |halt| halt == Halt::LeaseLost).await
    }

    async fn ask(&self, within: Duration, forbids: impl Fn(Halt) -> bool + Copy) -> Result<(), NotOurs> {
        if let Some(pulse) = &self.pulse {
            let (since, mut heard) = (Instant::now(), pulse.heard.subscribe());
            pulse.wanted.notify_one();
            tokio::select! {
                biased;
                halt = self.given(forbids) => return Err(NotOurs::Halted(halt)),
                answer = tokio::time::timeout(within, heard.wait_for(|sent| sent.is_some_and(|sent| sent >= since))) => {
                    if !matches!(answer, Ok(Ok(_))) {
                        return Err(NotOurs::Unanswered);
                    }
                }
            }
        }
        self.standing().filter(|halt| forbids(*halt)).map_or(Ok(()), |halt| Err(NotOurs::Halted(halt)))
    }

    /// Resolves when there is an order; never where nobody can give one any more.
    pub(crate) async fn halted(&self) -> Halt {
        self.given(|_| true).await
    }

    /// As [`Orders::halted`], for orders of some kinds.
    async fn given(&self, wanted: impl Fn(Halt) -> bool + Copy) -> Halt {
        tokio::select! {
            biased;
            halt = given(Some(&self.halt), wanted) => halt,
            halt = given(self.own.as_ref(), wanted) => halt,
        }
    }
}

async fn given(orders: Option<&watch::Receiver<Option<Halt>>>, wanted: impl Fn(Halt) -> bool) -> Halt {
    if let Some(orders) = orders {
        let mut receiver = orders.clone();
        if let Some(halt) = receiver.wait_for(|halt| halt.is_some_and(&wanted)).await.ok().and_then(|halt| *halt) {
            return halt;
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_order_stands_unless_the_lease_is_lost() {
        let (commander, orders) = Orders::new();
        assert_eq!(orders.standing(), None);
        commander.halt(Halt::Stopping);
        commander.halt(Halt::Cancelled);
        assert_eq!(orders.halted().await, Halt::Stopping);
        commander.halt(Halt::LeaseLost);
        commander.halt(Halt::Cancelled);
        assert_eq!(orders.standing(), Some(Halt::LeaseLost));
    }

    #[tokio::test]
    async fn an_order_from_outside_goes_before_one_that_the_work_gave_cause_for() {
        let (commander, orders) = Orders::new();
        let (keeper, orders) = orders.looked_after();
        let excess = Halt::DiskExceeded(Excess { used_bytes: 2, limit_bytes: 1 });
        keeper.halt(excess);
        assert_eq!((orders.standing(), orders.halted().await), (Some(excess), excess));
        commander.halt(Halt::LeaseLost);
        assert_eq!((orders.standing(), orders.halted().await), (Some(Halt::LeaseLost), Halt::LeaseLost));
    }

    #[tokio::test]
    async fn only_an_answer_to_a_question_sent_after_it_was_asked_confirms() {
        const SOON: Duration = Duration::from_millis(50);
        assert_eq!(Orders::none().confirm(SOON).await, Ok(()), "nobody has leased it");
        let pulse = Arc::new(Pulse::default());
        let (commander, orders) = Orders::new();
        let orders = orders.under(Arc::clone(&pulse));
        let before = Instant::now();
        pulse.heard(before);
        let answers = async {
            pulse.wanted().await;
            pulse.heard(before);
            tokio::task::yield_now().await;
            pulse.heard(Instant::now());
        };
        let (confirmed, ()) = tokio::join!(orders.confirm(Duration::from_secs(60)), answers);
        assert_eq!(confirmed, Ok(()));
        pulse.heard(before);
        assert_eq!(orders.confirm(SOON).await, Err(NotOurs::Unanswered));
        commander.halt(Halt::LeaseLost);
        assert_eq!(orders.confirm(SOON).await, Err(NotOurs::Halted(Halt::LeaseLost)));
    }

    #[tokio::test]
    async fn of_work_that_was_called_off_only_a_lost_lease_forbids_what_is_done_with_it() {
        const LONG: Duration = Duration::from_secs(60);
        let pulse = Arc::new(Pulse::default());
        let (commander, orders) = Orders::new();
        let orders = orders.under(Arc::clone(&pulse));
        commander.halt(Halt::Cancelled);
        assert_eq!(orders.confirm(LONG).await, Err(NotOurs::Halted(Halt::Cancelled)));
        let answers = async {
            pulse.wanted().await;
            pulse.heard(Instant::now());
        };
        assert_eq!(tokio::join!(orders.confirm_lease(LONG), answers).0, Ok(()));
        let answers = async {
            pulse.wanted().await;
            commander.halt(Halt::LeaseLost);
        };
        let lost = Err(NotOurs::Halted(Halt::LeaseLost));
        assert_eq!(tokio::join!(orders.confirm_lease(LONG), answers).0, lost);
        assert_eq!(orders.confirm_lease(LONG).await, lost);
    }
}
