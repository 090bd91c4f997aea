//! A thousand seeds, two whole weeks, and a quiet one.

use std::ops::Range;

use super::fly::HOUR;
use super::world::{Seen, World};
use super::*;

/// Seeds, and arrivals of each: a thousand weeks of ten thousand are for a build that is quick.
const SEEDS: u64 = 1_000;
const ARRIVALS: usize = 150;
/// Seeds with a whole week of ten thousand arrivals, where `BIFROST_TEST_WEEKS` names no more: `scripts/simulate`.
const WEEKS: u64 = 2;
const WEEK_ARRIVALS: usize = 10_000;

/// Runs the seeds on two threads; one that breaks a promise is named.
fn prove(seeds: Range<u64>, arrivals: usize, span: Millis) -> Seen {
    let only = kit::Vars::from_process().text("BIFROST_TEST_SEED").and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = only.map_or_else(|| seeds.collect(), |seed| vec![seed]);
    let run = |seeds: &[u64]| {
        let mut seen = Seen::default();
        for seed in seeds {
            let ran = std::panic::catch_unwind(|| World::new(scenario(*seed, arrivals, span)).run());
            seen.add(ran.unwrap_or_else(|_| panic!("a promise is broken; repeat it with BIFROST_TEST_SEED={seed}")));
        }
        seen
    };
    let (left, right) = seeds.split_at(seeds.len() / 2);
    std::thread::scope(|scope| {
        let left = scope.spawn(|| run(left));
        let mut seen = run(right);
        seen.add(left.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        seen
    })
}

#[test]
fn no_seed_breaks_a_promise() {
    let seen = prove(0..SEEDS, ARRIVALS, 3 * HOUR);
    let Seen { longest: _, made_anew, given_up, saved, retired, lost, stuck, slow_to_go, orphans } = seen;
    let happened = [made_anew, given_up, saved, retired, lost, stuck, slow_to_go, orphans];
    let is_whole = kit::Vars::from_process().text("BIFROST_TEST_SEED").is_none();
    assert!(!is_whole || happened.iter().all(|times| *times > 0), "it proves nothing of what did not happen: {seen:?}");
}

#[test]
fn no_week_of_ten_thousand_arrivals_breaks_a_promise() {
    let asked = kit::Vars::from_process().text("BIFROST_TEST_WEEKS").map(|weeks| weeks.parse().expect("a number"));
    prove(0..asked.unwrap_or(WEEKS), WEEK_ARRIVALS, 7 * 24 * HOUR);
}

#[test]
fn a_quiet_provider_serves_everybody_within_the_hour() {
    let calm =
        Scenario { faults: Faults::NONE, host_failures: 0, is_poor: false, cap: 10, ..scenario(1, 400, 8 * HOUR) };
    let seen = World::new(calm).run();
    // Up to five wait for one machine, and some work takes twenty minutes.
    assert!(seen.longest < HOUR, "{seen:?}");
    assert_eq!((seen.made_anew, seen.given_up, seen.lost), (0, 0, 0), "{seen:?}");
}
