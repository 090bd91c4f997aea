//! What this worker has in hand, seen by everything that talks about it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::id::ExecutionId;
use wire::worker::{Lease, Running};

use crate::orders::{Commander, Halt, Orders, Pulse};

/// At most one execution under way, and one that was given out when the other's end was already
/// known to the control plane but not yet here.
#[derive(Debug, Default)]
pub(super) struct Board {
    hands: Mutex<Hands>,
    pub(super) pulse: Arc<Pulse>,
}

#[derive(Debug, Default)]
struct Hands {
    current: Option<Hand>,
    waiting: Option<(Hand, Box<Work>)>,
}

#[derive(Debug)]
struct Hand {
    execution_id: ExecutionId,
    fence: i64,
    commander: Commander,
}

/// A lease to carry out, with the ear for what is said about it meanwhile.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) lease: Lease,
    pub(super) commander: Commander,
    pub(super) orders: Orders,
}

/// What became of a lease that was handed in.
#[derive(Debug)]
pub(super) enum Taken {
    /// To be begun now.
    Begin(Box<Work>),
    /// It will be begun when the current one has ended.
    Waits,
    /// It is in hand already, or there is no room for it.
    Ignored,
}

impl Board {
    /// Takes a lease in hand.
    pub(super) fn take(&self, lease: Lease) -> Taken {
        let mut hands = self.hands();
        let known = |hand: &Hand| hand.execution_id == lease.execution_id;
        if hands.current.as_ref().is_some_and(known) || hands.waiting.is_some() {
            return Taken::Ignored;
        }
        let (commander, orders) = Orders::new();
        let orders = orders.under(Arc::clone(&self.pulse));
        let hand = Hand { execution_id: lease.execution_id, fence: lease.fence, commander: commander.clone() };
        let work = Box::new(Work { lease, commander, orders });
        if hands.current.is_some() {
            hands.waiting = Some((hand, work));
            return Taken::Waits;
        }
        hands.current = Some(hand);
        Taken::Begin(work)
    }

    /// The current execution has ended; the one that waited is to be begun.
    pub(super) fn end_current(&self) -> Option<Box<Work>> {
        let mut hands = self.hands();
        let (hand, work) = match hands.waiting.take() {
            Some((hand, work)) => (Some(hand), Some(work)),
            None => (None, None),
        };
        hands.current = hand;
        work
    }

    /// Gives an order about one execution; whether it is in hand and had none before.
    pub(super) fn halt(&self, id: ExecutionId, halt: Halt) -> bool {
        let hands = self.hands();
        let hand = hands.all().find(|hand| hand.execution_id == id);
        let is_new = hand.is_some_and(|hand| hand.commander.standing().is_none());
        if let Some(hand) = hand {
            hand.commander.halt(halt);
        }
        is_new
    }

    /// Gives an order about everything in hand.
    pub(super) fn halt_all(&self, halt: Halt) {
        self.hands().all().for_each(|hand| hand.commander.halt(halt));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.hands().current.is_none()
    }

    /// As the protocol names what is in hand.
    pub(super) fn running(&self) -> Vec<Running> {
        let running = |hand: &Hand| Running {
            execution_id: hand.execution_id,
            fence: hand.fence,
            cancelling: hand.commander.standing().is_some(),
        };
        self.hands().all().map(running).collect()
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn all(&self) -> impl Iterator<Item = &Hand> {
        self.current.iter().chain(self.waiting.iter().map(|(hand, _)| hand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::TaskId;
    use wire::task::TaskSpec;

    fn lease(number: u8) -> Lease {
        let spec = TaskSpec {
            repository: "file:///r".into(),
            command: vec!["true".into()],
            env: Default::default(),
            ..TaskSpec::default()
        };
        let execution_id = ExecutionId::from(uuid::Uuid::from_u128(number.into()));
        Lease {
            execution_id,
            task_id: TaskId::from(uuid::Uuid::nil()),
            fence: number.into(),
            spec,
            grant: None,
            egress_pass: None,
        }
    }

    #[test]
    fn a_second_delivery_is_ignored_and_a_next_lease_waits_for_its_turn() {
        let board = Board::default();
        assert!(board.is_idle());
        assert!(matches!(board.take(lease(1)), Taken::Begin(_)));
        assert!(matches!(board.take(lease(1)), Taken::Ignored));
        assert!(matches!(board.take(lease(2)), Taken::Waits));
        assert!(matches!(board.take(lease(2)), Taken::Ignored));
        assert_eq!(board.running().iter().map(|running| running.fence).collect::<Vec<_>>(), [1, 2]);
        let next = board.end_current().expect("one waits");
        assert_eq!(next.lease.fence, 2);
        assert!(board.end_current().is_none() && board.is_idle());
    }

    #[test]
    fn an_order_reaches_its_execution_once() {
        let board = Board::default();
        let id = lease(1).execution_id;
        assert!(!board.halt(id, Halt::Cancelled));
        let Taken::Begin(work) = board.take(lease(1)) else { panic!("idle") };
        assert!(board.halt(id, Halt::Cancelled) && !board.halt(id, Halt::Cancelled));
        assert_eq!(work.orders.standing(), Some(Halt::Cancelled));
        assert!(board.running()[0].cancelling);
    }
}
