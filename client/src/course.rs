//! What a deliverer of events makes of the store's answers. Both have one: the
//! sender for its spool, the control plane for its outbox.
//!
//! After a failure nothing is posted to a store that does not answer its probe
//! (row TEL-3a). A batch that is refused for good is halved until the event that
//! is at fault stands alone, so that it holds up no other. Only the store's own
//! word about the events is for good.

use bytes::Bytes;

use crate::Error;
use crate::events::EventStore;

/// How the next request is made, after what came of those before it.
#[derive(Debug, Clone)]
pub struct Course {
    limit: usize,
    most: usize,
    failures: u32,
}

/// What came of a request.
#[derive(Debug)]
pub enum Offered {
    /// The store has every event of it.
    Taken,
    /// The store does not answer its probe, so nothing was posted.
    Away(Error),
    /// The store took nothing this time: the same events again, later.
    Later(Error),
    /// Some of the events are refused for good: the same again, fewer at once.
    Split,
    /// The only event is refused for good.
    Refused(Error),
}

impl Course {
    /// Starts with as many events in a request as there will ever be.
    pub fn new(limit: usize) -> Self {
        Self { limit, most: limit, failures: 0 }
    }

    /// How many events the next request may carry.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Attempts in a row that failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Another store, or something else that may have ended the failures: it is probed, but need
    /// not wait for what went before.
    pub fn forgive(&mut self) {
        self.failures = self.failures.min(1);
    }

    /// Notes that an attempt failed before it came to a request.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Asks a store that nothing is sent to whether it answers.
    pub async fn look(&mut self, store: &EventStore) -> Result<(), Error> {
        match store.health().await {
            Ok(()) => {
                self.failures = 0;
                Ok(())
            }
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }

    /// Posts `count` events that stand in the body, with the grants that they need, after a failure
    /// behind a probe. Giving this up changes nothing here.
    pub async fn offer(&mut self, store: &EventStore, body: Bytes, grants: &[String], count: usize) -> Offered {
        if self.failures > 0
            && let Err(error) = store.health().await
        {
            self.failed();
            return Offered::Away(error);
        }
        let answer = store.append_body(body, grants).await.map(drop);
        self.judge(answer, count)
    }

    fn judge(&mut self, answer: Result<(), Error>, count: usize) -> Offered {
        match answer {
            Err(error) if !is_final(&error) => {
                self.failed();
                return Offered::Later(error);
            }
            Err(_) if count > 1 => {
                self.failures = 0;
                self.most = count / 2;
                return Offered::Split;
            }
            Ok(()) | Err(_) => (),
        }
        self.failures = 0;
        self.most = self.most.saturating_mul(2).min(self.limit);
        match answer {
            Ok(()) => Offered::Taken,
            Err(error) => Offered::Refused(error),
        }
    }
}

/// Whether the store itself has said that it will never take these events as they are.
fn is_final(error: &Error) -> bool {
    let Error::Refused(problem) = error else { return false };
    // A proxy's refusal says nothing about the events.
    problem.code != "not_a_problem_document" && matches!(problem.status, 400 | 403 | 409 | 413 | 422)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::problem::Problem;

    fn refused(status: u16, code: &str) -> Error {
        Error::Refused(Box::new(Problem::new(status, "", code, "")))
    }

    #[test]
    fn only_the_stores_own_word_about_the_events_is_final() {
        for status in [400, 403, 409, 413, 422] {
            assert!(is_final(&refused(status, "invalid")), "{status}");
            assert!(!is_final(&refused(status, "not_a_problem_document")), "{status} of a proxy");
        }
        for status in [401, 404, 408, 429, 500, 503, 507] {
            assert!(!is_final(&refused(status, "x")), "{status}");
        }
    }

    /// Offers these events, of which `bad` are refused for good, until none is left.
    fn walk(limit: usize, events: usize, bad: &[usize]) -> (Vec<usize>, usize) {
        let (mut course, mut next, mut requests, mut aside) = (Course::new(limit), 0, 0, Vec::new());
        while next < events {
            let count = course.most().min(events - next);
            let is_bad = (next..next + count).any(|event| bad.contains(&event));
            requests += 1;
            match course.judge(if is_bad { Err(refused(400, "invalid")) } else { Ok(()) }, count) {
                Offered::Taken => next += count,
                Offered::Refused(_) => {
                    aside.push(next);
                    next += 1;
                }
                Offered::Split => (),
                Offered::Away(_) | Offered::Later(_) => unreachable!("nothing was postponed"),
            }
        }
        (aside, requests)
    }

    #[test]
    fn halving_finds_exactly_the_events_that_are_at_fault() {
        for bad in [&[][..], &[0], &[99], &[41, 42], &[0, 50, 99]] {
            let (aside, requests) = walk(100, 100, bad);
            assert_eq!(aside, bad);
            assert!(requests <= 1 + 20 * bad.len(), "{requests} requests for {bad:?}");
        }
    }

    #[test]
    fn failures_are_counted_until_the_store_takes_something() {
        let mut course = Course::new(10);
        for failures in 1..=3 {
            assert!(matches!(course.judge(Err(refused(503, "busy")), 10), Offered::Later(_)));
            assert_eq!((course.failures(), course.most()), (failures, 10));
        }
        course.forgive();
        assert_eq!(course.failures(), 1);
        assert!(matches!(course.judge(Ok(()), 10), Offered::Taken));
        assert_eq!(course.failures(), 0);
    }
}
