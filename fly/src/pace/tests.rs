//! Turns under Fly's limits, at given times.

use super::*;

#[test]
fn a_burst_is_free_and_then_a_second_each() {
    let limiter = Limiter::new(Pace::Fly);
    let now = Instant::now();
    let waits: Vec<u64> = (0..6)
        .map(|_| limiter.reserve(Action::CreateMachine, "app", now).expect("short queue").as_millis() as u64)
        .collect();
    assert_eq!(waits, [0, 0, 0, 1_000, 2_000, 3_000]);
}

#[test]
fn reading_one_machine_may_be_five_times_as_often() {
    let limiter = Limiter::new(Pace::Fly);
    let now = Instant::now();
    let waits: Vec<u64> = (0..12)
        .map(|_| limiter.reserve(Action::ReadMachine, "id", now).expect("short queue").as_millis() as u64)
        .collect();
    assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 400]);
}

#[test]
fn actions_and_subjects_do_not_wait_for_each_other_and_rest_restores_the_burst() {
    let limiter = Limiter::new(Pace::Fly);
    let now = Instant::now();
    for _ in 0..3 {
        limiter.reserve(Action::Start, "a", now).expect("short queue");
    }
    assert_eq!(limiter.reserve(Action::Start, "b", now), Ok(Duration::ZERO));
    assert_eq!(limiter.reserve(Action::Suspend, "a", now), Ok(Duration::ZERO));
    let rested = now + Duration::from_secs(3);
    let waits = [(); 4].map(|()| limiter.reserve(Action::Start, "a", rested).expect("short queue").as_secs());
    assert_eq!(waits, [0, 0, 0, 1]);
}

#[test]
fn a_queue_longer_than_a_minute_is_refused_and_takes_no_turn() {
    let limiter = Limiter::new(Pace::Fly);
    let now = Instant::now();
    let taken = (0..1_000).take_while(|_| limiter.reserve(Action::CreateMachine, "app", now).is_ok()).count();
    assert_eq!(taken, 63);
    let later = now + Duration::from_secs(1);
    assert!(limiter.reserve(Action::CreateMachine, "app", later).is_ok());
}

#[test]
fn subjects_that_owe_nothing_are_forgotten() {
    let limiter = Limiter::new(Pace::Fly);
    let now = Instant::now();
    for machine in 0..10_000_u32 {
        let now = now + Duration::from_secs(u64::from(machine));
        limiter.reserve(Action::Start, &machine.to_string(), now).expect("short queue");
    }
    assert!(limiter.next.lock().expect("not poisoned").len() <= SUBJECTS + 1);
}

#[test]
fn a_turnstile_turns_away_what_comes_too_fast() {
    let turnstile = Turnstile::default();
    let passed: Vec<bool> = (0..5).map(|_| turnstile.lets_pass(Action::Start, "a")).collect();
    assert_eq!(passed, [true, true, true, false, false]);
    assert!(turnstile.lets_pass(Action::Start, "b"));
}

#[test]
fn no_more_than_ten_sprites_are_made_in_any_minute_whatever_their_names() {
    let limiter = Limiter::new(Pace::Fly);
    let began = Instant::now();
    let mut made = Vec::new();
    for second in 0..300 {
        let wait =
            limiter.reserve(Action::CreateSprite, &format!("sprite-{second}"), began + Duration::from_secs(second));
        made.extend(wait.map(|wait| second + wait.as_secs()));
    }
    assert_eq!(made[..5], [0, 1, 2, 8, 16]);
    let most = made.iter().map(|first| made.iter().filter(|at| (*first..first + 60).contains(*at)).count()).max();
    assert_eq!(most, Some(10));
}
