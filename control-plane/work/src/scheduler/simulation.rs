//! The proof in simulation: the pure planners, of tasks and of machines, the
//! recovery ladder and the budgets against a model of Fly with failures from a
//! seed. After every step the promises are checked; a failure prints its seed, and
//! `BIFROST_TEST_SEED` repeats it.
//!
//! What is simulated is the decisions. The code that carries them out is a few
//! lines here, and is tested against the emulator in `pool`.

mod fly;
mod tests;
mod world;

use fly::{Dice, Faults, Millis};
use world::Scenario;

/// One seed's scenario: how much comes in how long, what goes wrong, what bounds there are.
fn scenario(seed: u64, arrivals: usize, span: Millis) -> Scenario {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let faults = if seed.is_multiple_of(10) { Faults::NONE } else { Faults::roll(&mut dice) };
    let cap = 2 + usize::try_from(dice.below(9)).expect("small");
    Scenario {
        arrivals,
        span,
        faults,
        cap,
        warm: usize::try_from(dice.below(3)).expect("small").min(cap),
        // A quarter has a budget that is felt.
        is_poor: seed % 4 == 3,
        is_poor_for_long: seed % 8 == 7,
        // Half of those have the storage of fewer machines than they may have.
        stored: if seed % 16 < 8 { cap } else { cap.div_ceil(2) },
        host_failures: dice.below(6),
        dice,
    }
}
