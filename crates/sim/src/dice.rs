//! The one source of chance: every choice of a run follows from its seed and a label.

use tacit_crypto::{Rng, Secret, Seed, Transcript};

/// A seeded generator for one purpose. Two purposes never share one, so that a choice more in one
/// place does not move every choice in the others.
pub struct Dice(Rng);

impl Dice {
    /// The generator of a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let hash = Transcript::new("tacit-sim/1/dice").u64(seed).bytes(purpose.as_bytes()).finish();
        Self(Rng::from_seed(&Secret::new(hash.0)))
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// Fresh bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.0.bytes()
    }

    /// A seed for a machine.
    pub fn seed(&mut self) -> Seed {
        self.0.seed()
    }
}
