//! Requests of this process whose messages have not come back yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wire::event::Receipt;

use crate::log::AppendError;

/// The header that tells whose request a message was.
pub(super) const HEADER_REQUEST: &str = "Bifrost-Request";

/// What became of a request.
pub(super) type Answer = Result<Vec<Receipt>, AppendError>;

/// By request. As many as there are requests in memory.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<String, oneshot::Sender<Answer>>>);

/// One request's wait; forgotten when dropped.
pub(super) struct Expected {
    waiting: Arc<Waiting>,
    request: String,
    answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    pub(super) fn expect(self: &Arc<Self>, request: &str) -> Expected {
        let (teller, answer) = oneshot::channel();
        self.requests().insert(request.to_owned(), teller);
        Expected { waiting: self.clone(), request: request.to_owned(), answer }
    }

    /// A request of another process, or one that is waited for no longer, is none of ours.
    pub(super) fn tell(&self, request: &str, answer: Answer) {
        if let Some(teller) = self.requests().remove(request) {
            teller.send(answer).ok();
        }
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected {
    pub(super) async fn come(mut self) -> Answer {
        // Not told before it is forgotten, unless the follower has ended.
        (&mut self.answer).await.unwrap_or(Err(AppendError::Closed))
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.requests().remove(&self.request);
    }
}
