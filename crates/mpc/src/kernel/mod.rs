//! The arithmetic that runs over every element: products in Z_2^64, inner products with packed bits, bit-planes. The only
//! module of this crate with unsafe code.
//!
//! Unsafe is needed to call a function compiled for instructions that were found at run time, and to load and store
//! registers. Every kernel has a plain twin in [`portable`] that the tests hold it to, bit for bit, at each [`Level`] of
//! the processor. Nothing here branches on an element or indexes by one: shapes and bounds are public, and the
//! instructions used take the same time for all operands.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
mod bits;
#[cfg(target_arch = "x86_64")]
mod blocked;
mod erase;
mod gemm;
mod gemv;
mod gf64;
mod level;
mod portable;
mod probe;
#[cfg(target_arch = "x86_64")]
mod shuffle;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod vector;

pub use bits::Word;
pub use erase::ErasedBytes;
pub use gemm::{BOUND_BITS_MAX, Bound};
pub use level::Level;
pub use probe::probe;
pub use vector::{vectorized, vectorized_at};

/// `out += a * b` for row-major matrices of m x k, k x n and m x n elements, wrapping.
pub fn gemm(m: usize, k: usize, n: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
    gemm_at(Level::detect(), m, k, n, Bound::None, a, b, out);
}

/// As [`gemm`], faster by what is publicly known of an operand. If an element lies outside its bound the result is
/// another, and nothing else happens.
pub fn gemm_bounded(m: usize, k: usize, n: usize, bound: Bound, a: &[u64], b: &[u64], out: &mut [u64]) {
    gemm_at(Level::detect(), m, k, n, bound, a, b, out);
}

/// As [`gemm_bounded`] with chosen instructions; the best ones here if those are absent.
#[allow(clippy::too_many_arguments)] // why: the shape, the bound and the operands of one product, as in every such library.
pub fn gemm_at(level: Level, m: usize, k: usize, n: usize, bound: Bound, a: &[u64], b: &[u64], out: &mut [u64]) {
    assert!(a.len() == m * k && b.len() == k * n && out.len() == m * n, "shapes"); // why: shapes come from the plan.
    gemm::gemm(level.max(Level::detect()), k, n, bound, a, b, out);
}

/// `out += a * x` for a row-major matrix of m x k elements, wrapping.
pub fn gemv(m: usize, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    gemv_at(Level::detect(), m, k, a, x, out);
}

/// As [`gemv`] with chosen instructions; the best ones here if those are absent.
pub fn gemv_at(level: Level, m: usize, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    assert!(a.len() == m * k && x.len() == k && out.len() == m, "shapes"); // why: shapes come from the plan.
    gemv::gemv(level.max(Level::detect()), k, a, x, out);
}

/// `out += transpose(a) * x` for a row-major matrix of m x k elements, wrapping: `x` has m, `out` k.
pub fn gemv_transposed(m: usize, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    gemv_transposed_at(Level::detect(), m, k, a, x, out);
}

/// As [`gemv_transposed`] with chosen instructions; the best ones here if those are absent.
pub fn gemv_transposed_at(level: Level, m: usize, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    assert!(a.len() == m * k && x.len() == m && out.len() == k, "shapes"); // why: shapes come from the plan.
    gemv::gemv_transposed(level.max(Level::detect()), k, a, x, out);
}

/// The sum of those words whose bit is set, wrapping. Bit i is bit `i % 64` of word `i / 64`; there is a bit for each word.
pub fn dot_bits<W: Word>(bits: &[u64], words: &[W]) -> W {
    dot_bits_at(Level::detect(), bits, words)
}

/// As [`dot_bits`] with chosen instructions; the best ones here if those are absent.
pub fn dot_bits_at<W: Word>(level: Level, bits: &[u64], words: &[W]) -> W {
    assert!(bits.len() >= words.len().div_ceil(64), "shapes"); // why: shapes come from the plan.
    W::sums(level.max(Level::detect()), bits, words).0
}

/// The sum of all words, those negated whose bit is set, wrapping: bits with 1 - 2 b for b.
pub fn dot_signs<W: Word>(bits: &[u64], words: &[W]) -> W {
    dot_signs_at(Level::detect(), bits, words)
}

/// As [`dot_signs`] with chosen instructions; the best ones here if those are absent.
pub fn dot_signs_at<W: Word>(level: Level, bits: &[u64], words: &[W]) -> W {
    assert!(bits.len() >= words.len().div_ceil(64), "shapes"); // why: shapes come from the plan.
    let (selected, all) = W::sums(level.max(Level::detect()), bits, words);
    all.minus(selected).minus(selected)
}

/// The 64 bit-planes of words, least significant first, each of `ceil(words.len() / 64)` words, in which bit `i % 64` of
/// word `i / 64` is that of `words[i]`. Bits past the end are zero.
pub fn planes(words: &[u64], planes: &mut [u64]) {
    planes_at(Level::detect(), words, planes);
}

/// As [`planes`] with chosen instructions; the best ones here if those are absent.
pub fn planes_at(level: Level, words: &[u64], planes: &mut [u64]) {
    assert!(planes.len() == 64 * words.len().div_ceil(64), "shapes"); // why: shapes come from the plan.
    bits::planes(level.max(Level::detect()), words, planes);
}

/// The inverse of [`planes`]; bits past the end are not looked at.
pub fn unplanes(planes: &[u64], words: &mut [u64]) {
    unplanes_at(Level::detect(), planes, words);
}

/// As [`unplanes`] with chosen instructions; the best ones here if those are absent.
pub fn unplanes_at(level: Level, planes: &[u64], words: &mut [u64]) {
    assert!(planes.len() == 64 * words.len().div_ceil(64), "shapes"); // why: shapes come from the plan.
    bits::unplanes(level.max(Level::detect()), planes, words);
}

/// The sum of `factors[i] * values[i]` in GF(2^64).
pub(crate) fn gf_dot(factors: &[u64], values: &[u64]) -> u64 {
    gf64::dot(false, factors, values)
}

#[cfg(test)]
mod tests;
