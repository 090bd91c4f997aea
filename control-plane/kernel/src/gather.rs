//! Requests of one kind, carried out together: whatever waits when a step before it
//! is done goes into one transaction. Nobody waits for company: on an idle system a
//! request is carried out at once and alone.
//!
//! As many steps run beside each other as the database has use for: one where there
//! is one writer, several on a server, whose processors would else wait for the
//! network and the disk of one transaction after another.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use kit::Tasks;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::{Error, Result};

/// The most requests carried out in one step.
const TOGETHER: usize = 256;
/// The most that wait; who comes then is told to come again.
const WAITING: usize = 2_048;

/// What can be carried out for several at once.
pub trait Batch: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + Sync + 'static;
    /// What is answered.
    type Answer: Send + 'static;
    /// Its name, for logs and metrics.
    const NAME: &'static str;

    /// Carries all of them out, in one transaction, and answers each in their order. A request that cannot be
    /// right has its own error and is no harm to the others; where the whole fails, nothing has happened.
    fn carry_out(&self, requests: &[Self::Request]) -> impl Future<Output = Result<Vec<Result<Self::Answer>>>> + Send;
}

/// Where requests of one kind come together. Clones share it; it ends when the last is gone.
pub struct Gather<B: Batch>(mpsc::Sender<Waiting<B>>);

impl<B: Batch> Clone for Gather<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Batch> fmt::Debug for Gather<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gather").field(&B::NAME).finish()
    }
}

struct Waiting<B: Batch> {
    request: B::Request,
    answer: oneshot::Sender<Result<B::Answer>>,
}

/// Why a request was not taken, or not answered.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("{WAITING} requests of this kind wait already")]
    Full,
    #[error("the server is stopping")]
    Stopping,
    #[error("what it depends on does not answer: {0}")]
    WithTheOthers(String),
}

fn unavailable(why: Unheard) -> Error {
    Error::Unavailable { dependency: "the server's room for requests of this kind", source: Box::new(why) }
}

impl<B: Batch> Gather<B> {
    /// Starts carrying out what will be asked, so many steps at once ([`crate::Db::writers`]).
    pub fn start(tasks: &Tasks, steps: NonZeroUsize, batch: B) -> Self {
        let (sender, receiver) = mpsc::channel::<Waiting<B>>(WAITING);
        let (receiver, batch) = (Arc::new(Mutex::new(receiver)), Arc::new(batch));
        for _ in 0..steps.get() {
            let (receiver, batch) = (Arc::clone(&receiver), Arc::clone(&batch));
            tasks.spawn(B::NAME, async move {
                let mut waiting = Vec::with_capacity(TOGETHER);
                while receiver.lock().await.recv_many(&mut waiting, TOGETHER).await > 0 {
                    // Who has gone away while waiting wants nothing any more.
                    waiting.retain(|one| !one.answer.is_closed());
                    if !waiting.is_empty() {
                        step(&*batch, waiting.drain(..)).await;
                    }
                }
            });
        }
        Self(sender)
    }

    /// Has the request carried out with those that wait beside it.
    pub async fn ask(&self, request: B::Request) -> Result<B::Answer> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Waiting { request, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => unavailable(Unheard::Full),
            mpsc::error::TrySendError::Closed(_) => unavailable(Unheard::Stopping),
        })?;
        answered.await.unwrap_or_else(|_| Err(unavailable(Unheard::Stopping)))
    }
}

async fn step<B: Batch>(batch: &B, waiting: impl Iterator<Item = Waiting<B>>) {
    let (requests, answers): (Vec<_>, Vec<_>) = waiting.map(|one| (one.request, one.answer)).unzip();
    metrics::histogram!("gathered_requests", "kind" => B::NAME).record(u32::try_from(requests.len()).unwrap_or(0));
    match carry_out(batch, &requests).await {
        Ok(said) => said.into_iter().zip(answers).for_each(|(said, answer)| drop(answer.send(said))),
        Err(error) if requests.len() > 1 => one_by_one(batch, requests, answers, &error).await,
        Err(error) => {
            let Some(answer) = answers.into_iter().next() else { return };
            drop(answer.send(Err(error)));
        }
    }
}

/// A bug in one step must not end all later ones.
async fn carry_out<B: Batch>(batch: &B, requests: &[B::Request]) -> Result<Vec<Result<B::Answer>>> {
    let step = AssertUnwindSafe(batch.carry_out(requests)).catch_unwind().await;
    step.unwrap_or_else(|_| Err(Error::Internal(anyhow::anyhow!("carrying out {} panicked", B::NAME))))
}

async fn alone<B: Batch>(batch: &B, request: B::Request) -> Result<B::Answer> {
    let said = carry_out(batch, std::slice::from_ref(&request)).await?.pop();
    said.unwrap_or_else(|| Err(Error::Internal(anyhow::anyhow!("{} gave no answer", B::NAME))))
}

/// Something in the group broke it: each by itself, so that only that fails.
async fn one_by_one<B: Batch>(
    batch: &B,
    requests: Vec<B::Request>,
    answers: Vec<oneshot::Sender<Result<B::Answer>>>,
    error: &Error,
) {
    tracing::debug!(kind = B::NAME, %error, cause = error.causes(), "carried out one by one");
    let mut away: Option<String> = None;
    for (request, answer) in requests.into_iter().zip(answers) {
        let said = match &away {
            Some(why) => Err(unavailable(Unheard::WithTheOthers(why.clone()))),
            None => alone(batch, request).await,
        };
        // Each would wait as long for what does not answer.
        if let Err(error @ Error::Unavailable { .. }) = &said
            && !error.is_transaction_conflict()
        {
            away.get_or_insert_with(|| error.causes());
        }
        drop(answer.send(said));
    }
}

#[cfg(test)]
mod tests;
