//! That requests go together, that none harms another, and that nothing is left unanswered.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;

/// Doubles numbers, and remembers which it was given together. An odd number is refused, 13 breaks whatever it
/// is in, 666 panics, and 500 finds the database away.
struct Double {
    seen: Arc<Mutex<Vec<Vec<u32>>>>,
    gate: Arc<Semaphore>,
}

impl Batch for Double {
    type Request = u32;
    type Answer = u32;
    const NAME: &'static str = "double";

    async fn carry_out(&self, requests: &[u32]) -> Result<Vec<Result<u32>>> {
        self.gate.acquire().await.expect("is open").forget();
        self.seen.lock().expect("whole").push(requests.to_vec());
        assert!(!requests.contains(&666), "the number of the beast");
        if requests.contains(&13) {
            return Err(Error::conflict("unlucky", "13"));
        }
        if requests.contains(&500) {
            return Err(Error::Unavailable { dependency: "the database", source: "gone".into() });
        }
        Ok(requests.iter().map(|n| if n % 2 == 0 { Ok(2 * n) } else { Err(Error::invalid("n", "is odd")) }).collect())
    }
}

/// The answers to the numbers, of which all but the first wait while that is carried out; and what went together.
async fn ask(numbers: &[u32]) -> (Vec<Result<u32>>, Vec<Vec<u32>>) {
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let tasks = Tasks::new();
    let gather = Gather::start(&tasks, NonZeroUsize::MIN, Double { seen: Arc::clone(&seen), gate: Arc::clone(&gate) });
    let open = async {
        // The others are polled before this: they wait by now.
        gate.add_permits(1_000);
    };
    let (answers, ()) = tokio::join!(join_all(numbers.iter().map(|n| gather.ask(*n))), open);
    let seen = seen.lock().expect("whole").clone();
    (answers, seen)
}

fn codes(answers: &[Result<u32>]) -> Vec<&'static str> {
    answers.iter().map(|answer| answer.as_ref().map_or_else(Error::code, |_| "ok")).collect()
}

#[tokio::test]
async fn what_waits_is_carried_out_together_and_each_has_its_own_answer() {
    let (answers, seen) = ask(&[2, 4, 5, 6]).await;
    assert_eq!(codes(&answers), ["ok", "ok", "invalid", "ok"]);
    assert_eq!(answers[3].as_ref().ok(), Some(&12));
    assert_eq!(seen, [[2, 4, 5, 6]]);
}

#[tokio::test]
async fn what_breaks_a_group_fails_alone() {
    for (breaks, code) in [(13, "unlucky"), (666, "internal")] {
        let (answers, seen) = ask(&[2, breaks, 4]).await;
        assert_eq!(codes(&answers), ["ok", code, "ok"]);
        assert_eq!(seen, [vec![2, breaks, 4], vec![2], vec![breaks], vec![4]]);
    }
}

#[tokio::test]
async fn when_the_database_is_away_nobody_waits_for_it_in_turn() {
    let (answers, seen) = ask(&[500, 2, 4]).await;
    assert_eq!(codes(&answers), ["unavailable"; 3]);
    assert_eq!(seen, [vec![500, 2, 4], vec![500]]);
}

#[tokio::test]
async fn who_comes_when_too_many_wait_is_told_to_come_again() {
    let numbers = vec![2; WAITING + 10];
    let (answers, _) = ask(&numbers).await;
    let refused = codes(&answers).iter().filter(|code| **code == "unavailable").count();
    assert_eq!(refused, 10);
}

#[tokio::test]
async fn who_has_gone_away_wants_nothing_any_more() {
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let gather =
        Gather::start(&Tasks::new(), NonZeroUsize::MIN, Double { seen: Arc::clone(&seen), gate: Arc::clone(&gate) });
    let mut first = std::pin::pin!(gather.ask(2));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    tokio::task::yield_now().await;
    let mut gone = Box::pin(gather.ask(4));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(gone);
    let mut last = std::pin::pin!(gather.ask(6));
    assert!(futures_util::poll!(last.as_mut()).is_pending());
    gate.add_permits(10);
    assert_eq!((first.await.ok(), last.await.ok()), (Some(4), Some(12)));
    assert_eq!(*seen.lock().expect("whole"), [[2], [6]]);
}

#[tokio::test]
async fn where_several_steps_run_at_once_none_waits_for_another_and_nothing_is_done_twice() {
    let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let both = NonZeroUsize::MIN.saturating_add(1);
    let gather = Gather::start(&Tasks::new(), both, Double { seen: Arc::clone(&seen), gate: Arc::clone(&gate) });
    let mut all = Vec::new();
    for number in [2, 4, 6, 8] {
        let mut asked = Box::pin(gather.ask(number));
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
        // Whichever step is free takes it.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        all.push(asked);
    }
    gate.add_permits(10);
    let answers: Vec<Option<u32>> = join_all(all).await.into_iter().map(Result::ok).collect();
    assert_eq!(answers, [Some(4), Some(8), Some(12), Some(16)]);
    let mut seen = seen.lock().expect("whole").clone();
    seen.sort();
    assert_eq!(seen, [vec![2], vec![4], vec![6, 8]]);
}
