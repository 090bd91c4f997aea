//! Tables of the recovery ladder.

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
        rung: Rung::Look,
        is_host_well: true,
    }
}

#[test]
fn a_machine_that_runs_is_never_stopped_before_its_time() {
    assert_eq!(boot(machine(0, 0, None), At::Started, now()), Boot::GrantTime);
    assert_eq!(boot(machine(599, 2, None), At::Started, now()), Boot::GrantTime);
    let until = now() + TimeDelta::seconds(7);
    assert_eq!(boot(machine(300, 0, Some(7)), At::Started, now()), Boot::Wait(until));
}

#[test]
fn one_that_sleeps_is_started_without_a_look_once() {
    assert!(is_first_look(None, 0, 0));
    for (report_by, failures, restarts) in [(Some(now()), 0, 0), (None, 1, 0), (None, 0, 1)] {
        assert!(!is_first_look(report_by, failures, restarts), "{report_by:?} {failures} {restarts}");
    }
}

#[test]
fn what_goes_is_looked_at_the_more_seldom_the_longer_it_takes() {
    for (seconds, expect) in [(0, 1), (8, 1), (80, 10), (480, 60), (3_600, 60)] {
        let wait = goes_until(now() - TimeDelta::seconds(seconds), now()) - now();
        assert_eq!(wait, TimeDelta::seconds(expect), "{seconds}");
    }
}

#[test]
fn one_that_had_its_time_climbs_rung_by_rung() {
    let overdue = |rung| boot(Booting { rung, ..machine(300, 0, Some(0)) }, At::Started, now());
    assert_eq!(overdue(Rung::Look), Boot::Restart);
    assert_eq!(overdue(Rung::Restart), Boot::Stop);
    for rung in [Rung::StopStart, Rung::Recreate, Rung::OtherRegion] {
        assert!(matches!(overdue(rung), Boot::Climb(Trouble::Unresponsive, _)), "{rung:?}");
    }
}

#[test]
fn one_that_does_not_run_is_started_a_few_times() {
    for at in [At::Stopped, At::Suspended] {
        assert_eq!(boot(machine(1, 0, None), at, now()), Boot::Start);
        assert_eq!(boot(machine(1, 2, Some(9)), at, now()), Boot::Start);
        assert!(matches!(boot(machine(1, 3, Some(9)), at, now()), Boot::Climb(Trouble::Unresponsive, _)));
    }
}

#[test]
fn one_that_sleeps_on_a_host_that_is_away_is_left_there_and_one_that_runs_has_its_time() {
    let away = Booting { is_host_well: false, ..machine(1, 0, None) };
    for at in [At::Stopped, At::Suspended] {
        assert!(matches!(boot(away, at, now()), Boot::Climb(Trouble::Refused, _)), "{at:?}");
    }
    assert_eq!(boot(away, At::Started, now()), Boot::GrantTime);
}

#[test]
fn a_passing_state_is_waited_for_and_not_for_ever() {
    for at in [At::Created, At::Creating, At::Starting, At::Stopping, At::Suspending, At::Replacing, At::Unknown] {
        assert!(matches!(boot(machine(599, 0, None), at, now()), Boot::Wait(_)), "{at:?}");
        let late = boot(machine(600, 0, None), at, now());
        assert!(matches!(late, Boot::Climb(..) | Boot::Start), "{at:?}: {late:?}");
        let restarted = Booting { rung: Rung::Restart, ..machine(600, 0, Some(1)) };
        assert!(matches!(boot(restarted, at, now()), Boot::Wait(_)), "{at:?}: it has just been restarted");
    }
}

#[test]
fn a_failed_boot_is_restarted_once_and_what_is_gone_is_made_anew() {
    assert_eq!(boot(machine(0, 0, None), At::Failed, now()), Boot::Restart);
    let again = boot(Booting { rung: Rung::Restart, ..machine(0, 0, None) }, At::Failed, now());
    assert!(matches!(again, Boot::Climb(Trouble::Unresponsive, _)));
    for at in [At::Destroyed, At::Destroying, At::LaunchFailed, At::Replaced] {
        assert!(matches!(boot(machine(0, 0, None), at, now()), Boot::Climb(Trouble::Vanished, _)), "{at:?}");
    }
}

#[test]
fn a_machine_is_made_anew_with_its_disk_where_that_can_be() {
    use Disk::{Copy, Keep, New};
    use Remedy::{GiveUp, OtherRegion, Recreate};
    use Trouble::{HostFull, Refused, Region, Unresponsive, Vanished, VolumeLost};
    let full = Region(Shortage::Capacity);
    for (trouble, rung, has_volume, has_other_region, expect) in [
        (Refused, Rung::Look, true, true, GiveUp),
        (Unresponsive, Rung::StopStart, true, true, Recreate(Copy)),
        (Unresponsive, Rung::Look, false, true, Recreate(New)),
        (Unresponsive, Rung::Recreate, true, true, OtherRegion),
        (Unresponsive, Rung::Recreate, true, false, GiveUp),
        (Unresponsive, Rung::OtherRegion, true, true, GiveUp),
        (Vanished, Rung::Look, true, false, Recreate(Keep)),
        (Vanished, Rung::Look, false, false, Recreate(New)),
        (Vanished, Rung::Recreate, true, true, OtherRegion),
        (HostFull, Rung::Look, true, false, Recreate(Copy)),
        (HostFull, Rung::Recreate, true, false, GiveUp),
        (VolumeLost, Rung::Look, true, false, Recreate(New)),
        (full, Rung::Look, true, true, OtherRegion),
        (full, Rung::OtherRegion, true, true, OtherRegion),
        (full, Rung::Look, true, false, GiveUp),
    ] {
        let case = Case {
            state: MachineState::Creating,
            rung,
            has_volume,
            is_used: false,
            has_other_region,
            has_former_image: false,
            is_disk_paid_for: true,
        };
        assert_eq!(remedy(trouble, case), expect, "{trouble:?} {case:?}");
    }
}

#[test]
fn neither_a_machine_that_is_there_nor_a_disk_with_something_on_it_goes_for_a_refusal_that_is_none_of_its_own() {
    use MachineState::{Creating, Resuming, Starting, Suspending};
    use Remedy::{OtherRegion, Recreate, Wait};
    let regions = [Trouble::Region(Shortage::Capacity), Trouble::Region(Shortage::Quota)];
    let check = |trouble, state, is_used, rung, expect| {
        for has_other_region in [false, true] {
            let case = Case {
                state,
                rung,
                has_volume: true,
                is_used,
                has_other_region,
                has_former_image: false,
                is_disk_paid_for: true,
            };
            assert_eq!(remedy(trouble, case), expect, "{trouble:?} {case:?}");
        }
    };
    for trouble in regions.into_iter().chain([Trouble::Refused]) {
        for rung in [Rung::Look, Rung::Recreate, Rung::OtherRegion] {
            check(trouble, Creating, true, rung, Wait);
            check(trouble, Starting, false, rung, Wait);
            check(trouble, Resuming, true, rung, Wait);
        }
    }
    for state in [Creating, Starting, Resuming] {
        check(Trouble::HostFull, state, true, Rung::Look, Recreate(Disk::Copy));
        check(Trouble::HostFull, state, true, Rung::Recreate, Wait);
    }
    check(Trouble::Unresponsive, Creating, true, Rung::Recreate, Wait);
    for state in [Starting, Resuming, Suspending] {
        let own_disk = |is_used| Case {
            state,
            rung: Rung::StopStart,
            has_volume: false,
            is_used,
            has_other_region: false,
            has_former_image: false,
            is_disk_paid_for: true,
        };
        assert_eq!(remedy(Trouble::Unresponsive, own_disk(true)), Wait, "{state}");
        assert_eq!(remedy(Trouble::Unresponsive, own_disk(false)), Recreate(Disk::New), "{state}");
        assert_eq!(remedy(Trouble::Vanished, own_disk(true)), Recreate(Disk::New), "{state}: it is gone anyway");
    }
    let worker_is_silent = Case {
        state: Starting,
        rung: Rung::Recreate,
        has_volume: true,
        is_used: true,
        has_other_region: true,
        has_former_image: false,
        is_disk_paid_for: true,
    };
    assert_eq!(remedy(Trouble::Unresponsive, worker_is_silent), OtherRegion, "that is the machine's own");
}

#[test]
fn no_disk_is_made_that_is_not_paid_for() {
    use MachineState::{Creating, Resuming, Starting, Suspending};
    use Remedy::{Recreate, Wait};
    let check = |trouble, state, rung, has_volume, expect| {
        let case = Case {
            state,
            rung,
            has_volume,
            is_used: false,
            has_other_region: true,
            has_former_image: false,
            is_disk_paid_for: false,
        };
        assert_eq!(remedy(trouble, case), expect, "{trouble:?} {case:?}");
    };
    check(Trouble::HostFull, Resuming, Rung::Look, true, Wait);
    check(Trouble::VolumeLost, Creating, Rung::Look, true, Wait);
    check(Trouble::Region(Shortage::Capacity), Creating, Rung::Look, false, Wait);
    for rung in [Rung::StopStart, Rung::Recreate] {
        check(Trouble::Unresponsive, Starting, rung, true, Wait);
        check(Trouble::Unresponsive, Suspending, rung, true, Recreate(Disk::Keep));
    }
    check(Trouble::Vanished, Suspending, Rung::Recreate, true, Wait);
    check(Trouble::Vanished, Starting, Rung::Look, true, Recreate(Disk::Keep));
    check(Trouble::Unresponsive, Starting, Rung::OtherRegion, true, Remedy::GiveUp);
}

#[test]
fn a_machine_that_does_not_come_up_with_another_image_has_its_own_again() {
    use MachineState::{Creating, Starting};
    let case = |state, rung| Case {
        state,
        rung,
        has_volume: true,
        is_used: true,
        has_other_region: true,
        has_former_image: true,
        is_disk_paid_for: true,
    };
    for rung in [Rung::Look, Rung::StopStart, Rung::Recreate] {
        assert_eq!(remedy(Trouble::Unresponsive, case(Starting, rung)), Remedy::FormerImage, "{rung:?}");
        assert_eq!(remedy(Trouble::Unresponsive, case(Creating, rung)), Remedy::FormerImage, "{rung:?}");
    }
    assert_eq!(remedy(Trouble::Vanished, case(Starting, Rung::Look)), Remedy::Recreate(Disk::Keep));
    assert_eq!(
        remedy(Trouble::Vanished, case(Starting, Rung::Recreate)),
        Remedy::FormerImage,
        "its launch fails again"
    );
    assert_eq!(remedy(Trouble::Refused, case(Creating, Rung::Look)), Remedy::FormerImage);
    let full = Trouble::Region(Shortage::Capacity);
    assert_eq!(remedy(full, case(Creating, Rung::Look)), Remedy::Wait, "that is not the image's fault");
}

#[test]
fn every_advice_means_one_thing_in_each_state() {
    use MachineState::{Creating, Destroying, Resuming, Starting, Suspending};
    let check = |state, advice: Advice, status: u16, expect: Stumble| {
        let failed = Failed { state, advice: advice.clone(), status: Some(status), ..late_by(0, false) };
        assert_eq!(stumble(&failed), expect, "{state} {advice:?} {status}");
    };
    let climb = Stumble::Climb;
    check(Creating, Advice::AnotherRegion, 422, climb(Trouble::Region(Shortage::Capacity)));
    check(Creating, Advice::RestRegion, 403, climb(Trouble::Region(Shortage::Quota)));
    check(Creating, Advice::RecreateElsewhere, 412, climb(Trouble::HostFull));
    check(Creating, Advice::RecreateElsewhere, 400, climb(Trouble::VolumeLost));
    check(Creating, Advice::GiveUp, 422, climb(Trouble::Refused));
    check(Resuming, Advice::GiveUp, 422, climb(Trouble::Refused));
    check(Resuming, Advice::RestRegion, 403, climb(Trouble::Region(Shortage::Quota)));
    check(Suspending, Advice::RestRegion, 403, Stumble::Retry);
    check(Creating, Advice::GiveUp, 401, Stumble::TokenRefused);
    check(Creating, Advice::Gone, 404, Stumble::Retry);
    check(Creating, Advice::LookAgain, 408, Stumble::Retry);
    check(Creating, Advice::SlowDown, 429, Stumble::Retry);
    check(Resuming, Advice::SlowDown, 429, Stumble::Retry);
    check(Creating, Advice::Undo, 200, Stumble::GiveUp);
    check(Starting, Advice::RecreateElsewhere, 409, climb(Trouble::HostFull));
    check(Resuming, Advice::AnotherRegion, 409, climb(Trouble::Region(Shortage::Capacity)));
    check(Resuming, Advice::Gone, 404, climb(Trouble::Vanished));
    check(Resuming, Advice::WaitAndRetry, 412, Stumble::Retry);
    check(Suspending, Advice::Gone, 404, climb(Trouble::Vanished));
    check(Suspending, Advice::GiveUp, 400, Stumble::Retry);
    check(Destroying, Advice::GiveUp, 400, Stumble::Retry);
    check(Creating, Advice::GiveUp, 403, Stumble::TokenRefused);
    check(Destroying, Advice::GiveUp, 401, Stumble::TokenRefused);
}

#[test]
fn what_may_have_been_made_is_not_looked_for_before_a_list_would_have_it() {
    use MachineState::{Creating, Destroying, Resuming, Suspending};
    for (state, advice, expect) in [
        (Creating, Advice::LookAgain, LIST_LAG),
        (Creating, Advice::WaitAndRetry, Duration::ZERO),
        (Creating, Advice::Gone, Duration::ZERO),
        // These have an id, by which they are read.
        (Resuming, Advice::LookAgain, Duration::ZERO),
        (Suspending, Advice::LookAgain, Duration::ZERO),
        (Destroying, Advice::LookAgain, Duration::ZERO),
    ] {
        assert_eq!(least_wait(state, &advice), expect, "{state} {advice:?}");
    }
}

#[test]
fn an_image_is_waited_for_as_long_as_a_registry_may_be_behind_a_push() {
    for (failures, was_missing, expect) in [(0, false, false), (8, false, false), (9, false, true), (0, true, true)] {
        assert_eq!(is_image_missing(failures, was_missing), expect, "{failures} {was_missing}");
    }
}

/// A wake that failed after so many others while the provider is well.
fn late_by(failures: i32, is_late: bool) -> Failed {
    let (state, advice) = (MachineState::Resuming, Advice::WaitAndRetry);
    Failed { state, advice, status: None, is_late, is_provider_well: true, failures }
}

#[test]
fn one_that_is_given_time_is_not_late_until_the_next_rung_has_had_its_own() {
    let at = |seconds: i64| now() + TimeDelta::seconds(seconds);
    let is_late = |until, report_by| is_late(until, report_by, Duration::from_secs(30), now());
    for (until, report_by, expect) in [
        (None, None, false),
        (Some(at(0)), None, false),
        (Some(at(-1)), None, true),
        (Some(at(-1)), Some(at(5)), false),
        (Some(at(-1)), Some(at(-30)), false),
        (Some(at(-1)), Some(at(-31)), true),
        (Some(at(1)), Some(at(-31)), false),
    ] {
        assert_eq!(is_late(until, report_by), expect, "{until:?} {report_by:?}");
    }
}

#[test]
fn an_outage_of_the_provider_costs_no_machine() {
    let failed = |is_late, is_provider_well| Failed { is_provider_well, ..late_by(0, is_late) };
    assert_eq!(stumble(&failed(false, true)), Stumble::Retry);
    assert_eq!(stumble(&failed(true, false)), Stumble::Retry);
    assert_eq!(stumble(&failed(true, true)), Stumble::Climb(Trouble::Unresponsive));
    // Where the whole app answers that it is gone, no machine of it is.
    let gone = |is_late, is_provider_well| Failed { advice: Advice::Gone, ..failed(is_late, is_provider_well) };
    assert_eq!(stumble(&gone(false, false)), Stumble::Retry);
    assert_eq!(stumble(&gone(true, false)), Stumble::Retry);
    assert_eq!(stumble(&gone(false, true)), Stumble::Climb(Trouble::Vanished));
}

#[test]
fn what_may_have_been_made_is_looked_for_before_another_is_made_in_its_place() {
    let state = MachineState::Creating;
    let check = |advice: &Advice, failures, expect| {
        let failed = Failed { state, advice: advice.clone(), ..late_by(failures, true) };
        assert_eq!(stumble(&failed), expect, "{advice:?} {failures}");
    };
    let climb = Stumble::Climb(Trouble::Unresponsive);
    check(&Advice::LookAgain, 0, Stumble::Retry);
    check(&Advice::LookAgain, 9, Stumble::Retry);
    check(&Advice::LookAgain, 10, climb.clone());
    check(&Advice::WaitAndRetry, 0, climb);
}

#[test]
fn that_too_much_is_asked_for_is_said_of_a_wake_and_not_of_the_machine() {
    let late = |state| Failed { state, advice: Advice::SlowDown, status: Some(429), ..late_by(0, true) };
    assert_eq!(stumble(&late(MachineState::Resuming)), Stumble::Climb(Trouble::Refused));
    assert_eq!(stumble(&late(MachineState::Starting)), Stumble::Climb(Trouble::Refused));
    assert_eq!(stumble(&late(MachineState::Creating)), Stumble::Climb(Trouble::Unresponsive));
}

#[test]
fn sleep_is_asked_for_then_a_stop_and_then_another_machine() {
    let check = |minutes, failures, at, expect| {
        let machine = Tired { since: now() - TimeDelta::minutes(minutes), failures };
        assert_eq!(suspend(machine, at, now()), expect, "{minutes} {failures} {at:?}");
    };
    check(0, 0, At::Started, Sleep::Suspend);
    check(0, 3, At::Started, Sleep::Stop);
    check(9, 0, At::Suspending, Sleep::Wait);
    check(10, 0, At::Suspending, Sleep::Stop);
    check(10, 0, At::Stopping, Sleep::Wait);
    check(20, 0, At::Suspending, Sleep::Climb(Trouble::Unresponsive));
    check(20, 0, At::Stopping, Sleep::Climb(Trouble::Unresponsive));
    check(99, 0, At::Suspended, Sleep::Asleep);
    check(0, 0, At::Created, Sleep::Asleep);
    check(0, 0, At::Destroyed, Sleep::Climb(Trouble::Vanished));
    check(0, 0, At::Failed, Sleep::Stop);
}

#[test]
fn a_worker_is_waited_for_while_it_is_heard_and_not_for_ever() {
    let check = |heard_after: Option<i64>, patience, expect| {
        let heard_at = heard_after.map(|seconds| now() + TimeDelta::seconds(seconds));
        let until = drains_until(now(), heard_at, Duration::from_secs(patience));
        assert_eq!((until - now()).num_seconds(), expect, "{heard_after:?} {patience}");
    };
    check(None, 60, 60);
    check(Some(-300), 60, 60);
    check(Some(5), 60, 65);
    check(Some(539), 60, 599);
    check(Some(541), 60, 600);
    check(Some(6_000), 60, 600);
    check(None, 6_000, 600);
}

#[test]
fn a_machine_is_stuck_after_five_minutes_and_again_after_ten() {
    let check = |state, minutes, reported, expect| {
        let since = now() - TimeDelta::minutes(minutes);
        assert_eq!(newly_stuck(state, since, reported, now()), expect, "{state} {minutes} {reported}");
    };
    for state in [MachineState::Creating, MachineState::Suspending, MachineState::Destroying, MachineState::Draining] {
        check(state, 4, 0, None);
        check(state, 5, 0, Some(5));
        check(state, 9, 5, None);
        check(state, 10, 5, Some(10));
        check(state, 99, 0, Some(10));
        check(state, 99, 10, None);
    }
    for state in [MachineState::Ready, MachineState::Suspended, MachineState::Destroyed] {
        check(state, 99, 0, None);
    }
}

#[test]
fn rungs_read_back() {
    for rung in Rung::ALL {
        assert_eq!(Rung::from_number(rung.number()), rung);
    }
}
