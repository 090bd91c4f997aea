//! Chance as an argument: the operating system's, or a seeded one that repeats.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, RngExt, SeedableRng, TryRng};

/// Gives bytes that nobody can guess, or, seeded, the same bytes each time.
#[derive(Debug, Clone)]
pub struct Chance(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<StdRng>>),
}

impl Chance {
    /// The operating system's generator; fit for secrets.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Repeats for the same seed; clones share it. For tests only.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// As many bytes as asked for.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        match &self.0 {
            Source::System => SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes"),
            Source::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes),
        }
        bytes
    }

    /// A whole number below `bound`; 0 when the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        match &self.0 {
            Source::System => u64::from_le_bytes(self.bytes()) % bound,
            Source::Seeded(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..bound),
        }
    }

    /// As many random bytes as asked for, in hexadecimal digits.
    pub fn hex<const N: usize>(&self) -> String {
        self.bytes::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(Chance::seeded(7).bytes::<16>(), Chance::seeded(7).bytes::<16>());
        assert_ne!(Chance::seeded(7).bytes::<16>(), Chance::seeded(8).bytes::<16>());
        assert_ne!(Chance::system().bytes::<16>(), Chance::system().bytes::<16>());
        assert!((0..100).all(|_| Chance::seeded(1).below(3) < 3));
    }
}
