//! How fast this processor multiplies when nothing has to be brought to it: the limit of a product of matrices.

use core::hint::black_box;

use super::{Bound, Level};

/// Does `passes` times some multiplications and additions of ring elements on registers alone, by the innermost
/// instructions of a level (the best one here if it is absent). Gives how many products of the ring that was.
pub fn probe(level: Level, bound: Bound, passes: u64) -> u64 {
    match level.max(Level::detect()) {
        #[cfg(target_arch = "x86_64")]
        Level::Amx => {
            // SAFETY: the level runs here.
            let products = unsafe { super::amx::probe(passes) };
            products / super::amx::limb_products(bound)
        }
        #[cfg(target_arch = "x86_64")]
        Level::Ifma => {
            // SAFETY: the level runs here, and its instructions are those of this function.
            let products = unsafe { x86::ifma(passes) };
            products / if matches!(bound, Bound::None) { 3 } else { 2 }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            // SAFETY: the level runs here, and its instructions are those of this function.
            unsafe { x86::wide(passes) }
        }
        _ => scalar(passes),
    }
}

/// Twelve independent sums, enough to cover the latency of any of the instructions.
const SUMS: usize = 12;

fn scalar(passes: u64) -> u64 {
    let mut sums = [1u64; SUMS];
    for pass in 0..passes {
        for sum in &mut sums {
            *sum = sum.wrapping_add(black_box(pass).wrapping_mul(pass));
        }
    }
    black_box(sums);
    passes * SUMS as u64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;
    use core::hint::black_box;

    use super::SUMS;

    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn ifma(passes: u64) -> u64 {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let (mut a, b) = (_mm512_set1_epi64(black_box(3)), _mm512_set1_epi64(black_box(5)));
        for _ in 0..passes {
            for sum in &mut sums {
                *sum = _mm512_madd52lo_epu64(*sum, a, b);
            }
            a = sums[0];
        }
        black_box(sums);
        passes * 8 * SUMS as u64
    }

    #[target_feature(enable = "avx512f,avx512dq")]
    pub(super) fn wide(passes: u64) -> u64 {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let (a, b) = (_mm512_set1_epi64(black_box(3)), _mm512_set1_epi64(black_box(5)));
        for _ in 0..passes {
            for sum in &mut sums {
                *sum = _mm512_add_epi64(_mm512_mullo_epi64(*sum, a), b);
            }
        }
        black_box(sums);
        passes * 8 * SUMS as u64
    }
}
