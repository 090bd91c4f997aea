//! The table of states, by cases and by walking it at random.

use proptest::prelude::*;

use super::Effect::*;
use super::Event::*;
use super::State::*;
use super::*;

#[track_caller]
fn check(state: State, event: Event, next: State, effects: &[Effect]) {
    assert_eq!(step(state, event), Ok((next, effects.to_vec())));
}

#[test]
fn a_machine_is_launched_suspended_resumed_stopped_and_destroyed() {
    check(Created, Launch, Starting, &[Boot]);
    check(Starting, Up, Started, &[]);
    check(Started, Suspend, Suspending, &[Freeze]);
    check(Suspending, Frozen, Suspended, &[]);
    check(Suspended, Start, Starting, &[Resume]);
    check(Started, Stop, Stopping, &[AskToStop]);
    check(Stopping, InitEnded(Verdict::Again), Stopped, &[DropRoot]);
    check(Stopped, Destroy { force: false }, Destroying, &[Kill, Remove]);
    check(Destroying, Removed, Destroyed, &[]);
}

#[test]
fn an_end_by_itself_goes_by_the_verdict() {
    for state in [Starting, Started] {
        check(state, InitEnded(Verdict::Stay), Stopped, &[DropRoot]);
        check(state, InitEnded(Verdict::Again), Restarting, &[DropRoot, AwaitRestart]);
        check(state, InitEnded(Verdict::Vanish), Destroying, &[Kill, Remove]);
    }
}

#[test]
fn what_is_not_stopped_is_not_destroyed_without_force() {
    for state in [Starting, Started, Stopping, Suspending, Restarting, Replacing] {
        let event = Destroy { force: false };
        assert_eq!(step(state, event), Err(Illegal { state, event }));
        check(state, Destroy { force: true }, Destroying, &[Kill, Remove]);
    }
}

#[test]
fn a_start_waits_for_what_is_still_going_on() {
    for state in [Created, Stopping, Suspending, Restarting, Replacing, Failed, Destroying, Destroyed] {
        assert_eq!(step(state, Start), Err(Illegal { state, event: Start }));
    }
}

#[test]
fn another_configuration_is_started_with_unless_that_is_skipped() {
    let launched = Replace { launch: true };
    check(Started, launched, Replacing, &[AskToStop]);
    check(Replacing, InitEnded(Verdict::Stay), Starting, &[DropRoot, Boot]);
    check(Replacing, StopOverdue, Starting, &[Kill, DropRoot, Boot]);
    check(Suspended, launched, Starting, &[Kill, DropRoot, Boot]);
    check(Stopped, launched, Starting, &[Boot]);
    let skipped = Replace { launch: false };
    check(Started, skipped, Stopping, &[AskToStop]);
    check(Suspended, skipped, Stopped, &[Kill, DropRoot]);
    check(Stopped, skipped, Stopped, &[]);
}

#[test]
fn a_failed_boot_is_overcome_by_an_update_a_restart_or_destruction_only() {
    check(Starting, BootFailed, Failed, &[DropRoot]);
    assert_eq!(step(Failed, Start), Err(Illegal { state: Failed, event: Start }));
    check(Failed, Restart, Starting, &[Boot]);
    check(Failed, Replace { launch: true }, Starting, &[Boot]);
    check(Failed, Destroy { force: false }, Destroying, &[Kill, Remove]);
    check(Failed, Recovered(Found::Gone(Verdict::Stay)), Failed, &[Kill, DropRoot]);
}

#[test]
fn a_lost_snapshot_keeps_the_root() {
    check(Suspended, InitEnded(Verdict::Again), Suspended, &[]);
    check(Suspended, Shutdown, Suspended, &[Kill]);
    check(Suspended, Recovered(Found::Gone(Verdict::Stay)), Suspended, &[]);
}

#[test]
fn after_a_crash_each_machine_is_taken_where_it_was_acknowledged() {
    check(Started, Recovered(Found::Alive), Started, &[Thaw]);
    check(Started, Recovered(Found::Gone(Verdict::Stay)), Stopped, &[DropRoot]);
    check(Suspended, Recovered(Found::Alive), Suspending, &[Freeze]);
    check(Stopping, Recovered(Found::Alive), Stopped, &[Kill, DropRoot]);
    check(Created, Recovered(Found::Gone(Verdict::Stay)), Starting, &[Kill, DropRoot, Boot]);
    check(Destroying, Recovered(Found::Alive), Destroying, &[Kill, Remove]);
}

fn events() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![Just(Verdict::Stay), Just(Verdict::Again), Just(Verdict::Vanish)];
    prop_oneof![
        prop_oneof![Just(Launch), Just(Start), Just(Suspend), Just(Stop), Just(Restart), Just(Shutdown)],
        any::<bool>().prop_map(|force| Destroy { force }),
        any::<bool>().prop_map(|launch| Replace { launch }),
        Just(BootFailed),
        prop_oneof![Just(Up), Just(Frozen), Just(FreezeFailed), Just(StopOverdue), Just(RestartDue), Just(Removed)],
        verdict.clone().prop_map(InitEnded),
        verdict.prop_map(|verdict| Recovered(Found::Gone(verdict))),
        Just(Recovered(Found::Alive)),
    ]
}

proptest! {
    #[test]
    fn however_it_goes_destroyed_is_the_end_and_a_stop_leaves_no_root(walk in prop::collection::vec(events(), 1..60)) {
        let mut state = Created;
        for event in walk {
            let Ok((next, effects)) = step(state, event) else { continue };
            if state == Destroyed {
                prop_assert_eq!(next, Destroyed);
            }
            // A failed boot has dropped it already.
            if next == Stopped && !matches!(state, Stopped | Failed) {
                prop_assert!(effects.contains(&DropRoot));
            }
            // What could still have processes gives no root away before they have ended.
            if effects.contains(&DropRoot) && !matches!(event, InitEnded(_) | BootFailed | Recovered(Found::Gone(_))) {
                prop_assert!(effects.contains(&Kill));
            }
            // Where something is on its way, an effect will say how it went.
            let is_followed = effects.iter().any(|effect| matches!(effect, Boot | Resume | Freeze | Remove));
            if matches!(next, Starting | Suspending | Destroying) && next != state {
                prop_assert!(is_followed);
            }
            state = next;
        }
    }
}
