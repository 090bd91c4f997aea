//! Who hears of a commit.

use chrono::DateTime;
use futures_util::FutureExt;

use super::*;

fn task(number: u8) -> TaskId {
    TaskId::mint(DateTime::UNIX_EPOCH, [number; 10])
}

/// A log with nothing behind it: what the writer does when a group is on disk.
struct Commits {
    head: watch::Sender<Head>,
    followed: Arc<Followed>,
}

impl Commits {
    fn new() -> Self {
        Self { head: watch::Sender::new(Head::START), followed: Arc::default() }
    }

    fn news(&self, task: Option<TaskId>) -> News {
        News::of(self.head.subscribe(), task.map(|task| self.followed.follow(task)))
    }

    fn commit(&self, newest: u64, tasks: &[TaskId]) {
        self.head.send_replace(Head { seq: newest, ..Head::START });
        self.followed.announce(newest, tasks.iter().copied());
    }
}

/// The newest number, if there are news.
fn heard(news: &mut News) -> Option<u64> {
    news.wait().now_or_never().flatten().map(|()| news.newest())
}

#[test]
fn a_follower_of_a_task_hears_of_that_task_only_and_one_of_all_hears_of_everything() {
    let commits = Commits::new();
    let (mut of_one, mut of_two, mut of_all) =
        (commits.news(Some(task(1))), commits.news(Some(task(2))), commits.news(None));
    commits.commit(3, &[task(1), task(1), task(3)]);
    assert_eq!([&mut of_one, &mut of_two, &mut of_all].map(heard), [Some(3), None, Some(3)]);
    commits.commit(4, &[]);
    commits.commit(6, &[task(2), task(1)]);
    assert_eq!([&mut of_one, &mut of_two, &mut of_all].map(heard), [Some(6), Some(6), Some(6)]);
    assert_eq!([&mut of_one, &mut of_two, &mut of_all].map(heard), [None; 3]);
}

#[test]
fn what_was_committed_before_one_looked_is_told_once() {
    let commits = Commits::new();
    let mut of_one = commits.news(Some(task(1)));
    commits.commit(1, &[task(1)]);
    commits.commit(2, &[task(1)]);
    assert_eq!(of_one.newest(), 2);
    assert_eq!(heard(&mut of_one), None);
}

#[test]
fn a_task_that_nobody_follows_any_more_is_forgotten() {
    let commits = Commits::new();
    let (first, second, other) =
        (commits.news(Some(task(1))), commits.news(Some(task(1))), commits.news(Some(task(2))));
    assert_eq!(commits.followed.lock().len(), 2);
    drop((first, other));
    assert_eq!(commits.followed.lock().len(), 1);
    drop(second);
    assert!(commits.followed.lock().is_empty());
    let mut again = commits.news(Some(task(1)));
    commits.commit(1, &[task(1)]);
    assert_eq!(heard(&mut again), Some(1));
}
