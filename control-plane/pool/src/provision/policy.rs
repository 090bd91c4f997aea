//! What to do with a machine whose worker should report in: pure, so that every
//! state of the provider is a row of a test.
//!
//! A machine that runs is given its time; one that does not is started; one that
//! had its time is restarted, a few times; one that the provider itself has given
//! up, or that stands in a passing state for too long, is given up here too.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::MachineState as At;

/// Starts of a machine whose worker does not report in, before it is given up.
const RESTARTS_MAX: i32 = 3;

/// A booting machine, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Booting {
    /// Since when its worker should report in.
    pub(super) since: DateTime<Utc>,
    /// Starts since then.
    pub(super) restarts: i32,
    /// By when its worker has to report in, once it was seen running or was started.
    pub(super) report_by: Option<DateTime<Utc>>,
    /// The time a first boot takes, image and all.
    pub(super) patience: Duration,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Boot {
    /// Start it.
    Start,
    /// Stop it; it is started when it is next looked at.
    Stop,
    /// It runs, and gets so long to report in.
    GrantTime,
    /// Look again then.
    Wait(DateTime<Utc>),
    /// It is of no use.
    GiveUp(String),
}

/// Decides.
pub(super) fn boot(machine: Booting, at: At, now: DateTime<Utc>) -> Boot {
    let boot_over = machine.since + TimeDelta::from_std(machine.patience).unwrap_or(TimeDelta::days(1)) <= now;
    let soon = Boot::Wait(now + TimeDelta::milliseconds(500));
    match at {
        At::Started => match machine.report_by {
            None => Boot::GrantTime,
            Some(until) if now < until => Boot::Wait(until),
            Some(_) if machine.restarts >= RESTARTS_MAX => Boot::GiveUp("its worker never reported in".into()),
            Some(_) => Boot::Stop,
        },
        At::Stopped | At::Suspended if machine.restarts >= RESTARTS_MAX => {
            Boot::GiveUp("its runner keeps ending before it reports in; see the machine's log".into())
        }
        At::Stopped | At::Suspended => Boot::Start,
        // The provider launches it by itself when its image is there.
        At::Created if !boot_over => soon,
        At::Created => Boot::Start,
        At::Destroyed | At::Destroying | At::Failed | At::LaunchFailed | At::Replaced => {
            Boot::GiveUp(format!("the provider says that it is {}", at.as_str()))
        }
        _ if boot_over => Boot::GiveUp(format!("it has been {} for too long", at.as_str())),
        _ => soon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).expect("in range")
    }

    fn machine(age_seconds: i64, restarts: i32, report_in: Option<i64>) -> Booting {
        Booting {
            since: now() - TimeDelta::seconds(age_seconds),
            restarts,
            report_by: report_in.map(|seconds| now() + TimeDelta::seconds(seconds)),
            patience: Duration::from_secs(600),
        }
    }

    #[test]
    fn a_machine_that_runs_is_never_stopped_before_its_time() {
        assert_eq!(boot(machine(0, 0, None), At::Started, now()), Boot::GrantTime);
        assert_eq!(boot(machine(599, 2, None), At::Started, now()), Boot::GrantTime);
        let until = now() + TimeDelta::seconds(7);
        assert_eq!(boot(machine(300, 0, Some(7)), At::Started, now()), Boot::Wait(until));
        assert_eq!(boot(machine(300, 0, Some(0)), At::Started, now()), Boot::Stop);
        assert!(matches!(boot(machine(300, 3, Some(0)), At::Started, now()), Boot::GiveUp(_)));
    }

    #[test]
    fn one_that_does_not_run_is_started_a_few_times() {
        for at in [At::Stopped, At::Suspended] {
            assert_eq!(boot(machine(1, 0, None), at, now()), Boot::Start);
            assert_eq!(boot(machine(1, 2, Some(9)), at, now()), Boot::Start);
            assert!(matches!(boot(machine(1, 3, Some(9)), at, now()), Boot::GiveUp(_)));
        }
    }

    #[test]
    fn a_passing_state_is_waited_for_and_not_for_ever() {
        for at in [At::Created, At::Creating, At::Starting, At::Stopping, At::Suspending, At::Replacing, At::Unknown] {
            assert!(matches!(boot(machine(599, 0, None), at, now()), Boot::Wait(_)), "{at:?}");
            let late = boot(machine(600, 0, None), at, now());
            assert!(matches!(late, Boot::GiveUp(_) | Boot::Start), "{at:?}: {late:?}");
        }
    }

    #[test]
    fn what_the_provider_has_given_up_is_given_up() {
        for at in [At::Destroyed, At::Destroying, At::Failed, At::LaunchFailed] {
            assert!(matches!(boot(machine(0, 0, None), at, now()), Boot::GiveUp(_)), "{at:?}");
        }
    }
}
