//! How an execution that is under way is told to end before its time.

use tokio::sync::watch;

/// Why an execution must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Somebody called it off.
    Cancelled,
    /// It belongs to somebody else now: nothing more may be said about it.
    LeaseLost,
    /// The runner itself was told to stop.
    Stopping,
}

/// Gives the order.
#[derive(Debug, Clone)]
pub(crate) struct Commander(watch::Sender<Option<Halt>>);

/// Hears it. Clones hear the same.
#[derive(Debug, Clone)]
pub(crate) struct Orders(watch::Receiver<Option<Halt>>);

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
        (Commander(sender), Self(receiver))
    }

    /// For work that nobody calls off.
    pub(crate) fn none() -> Self {
        Self::new().1
    }

    /// The order that stands now.
    pub(crate) fn standing(&self) -> Option<Halt> {
        *self.0.borrow()
    }

    /// Resolves when there is an order; never where nobody can give one any more.
    pub(crate) async fn halted(&self) -> Halt {
        let mut receiver = self.0.clone();
        let given = receiver.wait_for(Option::is_some).await.ok().and_then(|halt| *halt);
        match given {
            Some(halt) => halt,
            None => std::future::pending().await,
        }
    }
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
}
