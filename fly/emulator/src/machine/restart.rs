//! Pure: what the restart policy says when an init has ended by itself.

use chrono::{DateTime, TimeDelta, Utc};
use fly::{MachineConfig, RestartPolicy};

use super::state::Verdict;
use crate::process::Exit;

/// Fly's default for `on-failure`.
const RETRIES: u32 = 10;
/// Only restarts within so many seconds count.
const WINDOW_SECONDS: i64 = 5 * 60;

/// The restarts that still count.
pub(super) fn recent(restarts: &[DateTime<Utc>], now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    restarts.iter().copied().filter(|at| now - *at < TimeDelta::seconds(WINDOW_SECONDS)).collect()
}

/// What follows. An exit of which nothing is known counts as a failure.
pub(super) fn verdict(config: &MachineConfig, exit: Exit, recent_restarts: usize) -> Verdict {
    let retries = config.restart.max_retries.unwrap_or(RETRIES);
    let is_restarted = match config.restart.policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit.code != Some(0) && recent_restarts < retries as usize,
        // There is no market here that could call a machine back.
        RestartPolicy::No | RestartPolicy::SpotPrice | RestartPolicy::Unknown(_) => false,
    };
    match (is_restarted, config.auto_destroy) {
        (true, _) => Verdict::Again,
        (false, true) => Verdict::Vanish,
        (false, false) => Verdict::Stay,
    }
}

#[cfg(test)]
mod tests {
    use fly::Restart;

    use super::*;

    const CLEAN: Exit = exit(Some(0), None);
    const FAILED: Exit = exit(Some(3), None);
    const KILLED: Exit = exit(None, Some(9));
    const UNKNOWN: Exit = exit(None, None);

    const fn exit(code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { code, signal, is_out_of_memory: false }
    }

    #[test]
    fn policies_decide_as_documented() {
        use RestartPolicy::{Always, No, OnFailure, SpotPrice};
        use Verdict::{Again, Stay, Vanish};
        for (policy, max_retries, auto_destroy, exit, restarts, expected) in [
            (No, None, false, FAILED, 0, Stay),
            (No, None, true, FAILED, 0, Vanish),
            (SpotPrice, None, false, FAILED, 0, Stay),
            (Always, None, true, CLEAN, 1_000, Again),
            (OnFailure, None, false, CLEAN, 0, Stay),
            (OnFailure, None, true, CLEAN, 0, Vanish),
            (OnFailure, None, true, FAILED, 0, Again),
            (OnFailure, None, false, KILLED, 9, Again),
            (OnFailure, None, false, UNKNOWN, 0, Again),
            (OnFailure, None, false, FAILED, 10, Stay),
            (OnFailure, Some(2), true, FAILED, 2, Vanish),
            (OnFailure, Some(0), false, FAILED, 0, Stay),
        ] {
            let restart = Restart { policy, max_retries, ..Restart::default() };
            let config = MachineConfig { restart, auto_destroy, ..MachineConfig::default() };
            assert_eq!(verdict(&config, exit, restarts), expected, "{config:?} {exit:?} after {restarts}");
        }
    }

    #[test]
    fn only_the_last_five_minutes_count() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000);
        let restarts = [600, 700, 701, 1_000].map(|second| DateTime::UNIX_EPOCH + TimeDelta::seconds(second));
        assert_eq!(recent(&restarts, now), restarts[2..]);
    }
}
