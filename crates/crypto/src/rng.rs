//! The one random generator: ChaCha20 from a 32-byte seed that the caller brings. A daemon brings
//! operating-system randomness, the simulator its own seed.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};

use crate::secret::Secret;

/// The seed of an [`Rng`].
pub type Seed = Secret<[u8; 32]>;

/// A cryptographic random generator (ChaCha20, RFC 8439 block function).
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// A generator from a seed.
    pub fn from_seed(seed: &Seed) -> Self {
        Self(ChaCha20Rng::from_seed(*seed.expose_secret()))
    }

    /// An independent generator, seeded from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(&self.seed())
    }

    /// Thirty-two fresh bytes as a seed.
    pub fn seed(&mut self) -> Seed {
        Secret::new(self.bytes())
    }

    /// Fresh bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0u8; N];
        self.0.fill_bytes(&mut out);
        out
    }

    /// A number below `bound` without bias (Lemire 2019, algorithm 5), or 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.0.next_u64()) * u128::from(bound);
            if (wide as u64) >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }
}

impl TryRng for Rng {
    type Error = core::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.0.next_u32())
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.next_u64())
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill_bytes(dst);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_forks_differ() {
        let mut a = Rng::from_seed(&Secret::new([7; 32]));
        let mut b = Rng::from_seed(&Secret::new([7; 32]));
        assert_eq!(a.bytes::<16>(), b.bytes::<16>());
        assert_ne!(a.fork().bytes::<16>(), a.fork().bytes::<16>());
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut rng = Rng::from_seed(&Secret::new([1; 32]));
        let mut seen = [0u32; 10];
        for _ in 0..100_000 {
            seen[rng.below(10) as usize] += 1;
        }
        // Each cell is binomial(1e5, 0.1): 10,000 with a standard deviation of 95.
        assert!(seen.iter().all(|n| n.abs_diff(10_000) < 600), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }
}
