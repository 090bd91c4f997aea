//! How long to try for a server that is away. Pure but for the chance handed in.

use std::time::Duration;

use kit::Chance;
use kit::backoff::Backoff;
use tokio::time::Instant;

/// How long to try before giving up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// What a person is told of it.
pub(crate) const LOST: &str = "lost contact to the server; trying again for up to 60 s";
/// A connection that held for so long was a good one, even if nothing was said on it.
const GOOD: Duration = Duration::from_secs(10);
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(5) };

/// The current trouble, if there is any.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    failures: u32,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Try again then; `is_news` says whether nobody was told of this outage yet.
    Retry {
        /// When.
        at: Instant,
        /// Whether it is the first failure of this outage.
        is_news: bool,
    },
    /// It has lasted too long.
    GiveUp,
}

impl Outage {
    /// The connection could not be made, or broke.
    pub(crate) fn broke(&mut self, now: Instant, chance: &Chance) -> Step {
        let is_news = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= PATIENCE {
            return Step::GiveUp;
        }
        self.failures += 1;
        // The last try is at the end of the patience, not up to a whole wait after it.
        let at = (now + BACKOFF.wait(self.failures, chance)).min(since + PATIENCE);
        Step::Retry { at, is_news }
    }

    /// The server was heard.
    pub(crate) fn over(&mut self) {
        *self = Self::default();
    }

    /// A connection has broken that was open for so long.
    pub(crate) fn held_for(&mut self, open: Duration) {
        if open >= GOOD {
            self.over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_given_up_after_a_minute() {
        let (mut outage, chance, start) = (Outage::default(), Chance::seeded(1), Instant::now());
        let (mut now, mut news, mut tries) = (start, 0, 0);
        while let Step::Retry { at, is_news } = outage.broke(now, &chance) {
            assert!(at > now && at - now <= BACKOFF.most);
            (now, news, tries) = (at, news + u32::from(is_news), tries + 1);
        }
        assert_eq!((now - start, news), (PATIENCE, 1));
        assert!((12..40).contains(&tries), "{tries}");
        assert!(LOST.contains(&format!("{} s", PATIENCE.as_secs())));
    }

    #[test]
    fn a_server_that_hangs_up_at_once_is_still_away_and_one_that_held_is_not() {
        let (mut outage, chance, start) = (Outage::default(), Chance::seeded(1), Instant::now());
        let much_later = start + PATIENCE * 10;
        outage.broke(start, &chance);
        outage.held_for(Duration::from_millis(5));
        assert_eq!(outage.broke(much_later, &chance), Step::GiveUp);
        outage.held_for(GOOD);
        assert!(matches!(outage.broke(much_later, &chance), Step::Retry { is_news: true, .. }));
        outage.over();
        assert!(matches!(outage.broke(much_later, &chance), Step::Retry { is_news: true, .. }));
    }
}
