//! Whether a connection is of any use: requests begin on it, or one is under way.
//!
//! hyper's own deadline for a head sets a timer for every request. Here there is
//! one for each connection, which looks now and then whether anything has moved.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// The begun and the ended requests of one connection, counted together: odd while one is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<AtomicUsize>);

impl Turns {
    /// A request has begun: its head is whole.
    pub(super) fn begin(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Resolves when no request was under way, and none began, from one look to the next.
    pub(super) async fn silence(&self, between_looks: Duration) {
        let mut seen = 0;
        loop {
            tokio::time::sleep(between_looks).await;
            if self.is_silent_since(&mut seen) {
                return;
            }
        }
    }

    fn is_silent_since(&self, seen: &mut usize) -> bool {
        let turns = self.0.load(Ordering::Relaxed);
        let before = std::mem::replace(seen, turns);
        turns == before && turns.is_multiple_of(2)
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct UnderWay(Turns);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer; the request is under way until it was handed out.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Body,
    /// Held, never read.
    pub(super) _under_way: UnderWay,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_silent_when_nothing_begins_and_nothing_is_under_way_between_two_looks() {
        let (turns, mut seen) = (Turns::default(), 0);
        assert!(turns.is_silent_since(&mut seen), "nothing ever began");
        let request = turns.begin();
        assert!(!turns.is_silent_since(&mut seen), "one has begun");
        assert!(!turns.is_silent_since(&mut seen), "it is under way");
        drop(request);
        assert!(!turns.is_silent_since(&mut seen), "it has ended since");
        drop(turns.begin());
        assert!(!turns.is_silent_since(&mut seen), "another one came and went");
        assert!(turns.is_silent_since(&mut seen));
    }
}
