//! Products of a matrix with one vector, which are as fast as memory gives the matrix.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use super::Level;
use super::portable;

/// `out += a * x`, row-major m x k.
pub(super) fn gemv(level: Level, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx | Level::Ifma | Level::Avx512 if k >= 4 => {
            // SAFETY: the level runs here, and its instructions are those of these functions.
            unsafe { if k <= SHORT_MAX { gemv_short_512(k, a, x, out) } else { gemv_512(k, a, x, out) } }
        }
        // One scalar product a cycle is more than memory feeds.
        _ => portable::gemv(k, a, x, out),
    }
}

/// `out += transpose(a) * x`, row-major m x k.
pub(super) fn gemv_transposed(level: Level, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx | Level::Ifma | Level::Avx512 if k >= 4 => {
            // SAFETY: the level runs here, and its instructions are those of this function.
            unsafe { gemv_transposed_512(k, a, x, out) }
        }
        _ => portable::gemv_transposed(k, a, x, out),
    }
}

/// A mask of the first `count` lanes.
#[cfg(target_arch = "x86_64")]
fn lanes(count: usize) -> u8 {
    ((1u16 << count) - 1) as u8
}

/// Up to eight words, zero from there on. `words` has eight or fewer.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) fn load(words: &[u64]) -> __m512i {
    // SAFETY: lanes beyond the slice are masked off, and a masked lane is not read.
    unsafe { _mm512_maskz_loadu_epi64(lanes(words.len()), words.as_ptr().cast()) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(super) fn store(words: &mut [u64], value: __m512i) {
    // SAFETY: lanes beyond the slice are masked off, and a masked lane is not written.
    unsafe { _mm512_mask_storeu_epi64(words.as_mut_ptr().cast(), lanes(words.len()), value) }
}

/// Elements of the longest vector that stays in registers.
#[cfg(target_arch = "x86_64")]
const SHORT_MAX: usize = 64;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn gemv_short_512(k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    let mut vector = [_mm512_setzero_si512(); SHORT_MAX / 8];
    for (v, x) in vector.iter_mut().zip(x.chunks(8)) {
        *v = load(x);
    }
    let (whole, rest) = vector.split_at(k / 8);
    let last = rest.first().copied().unwrap_or(_mm512_setzero_si512());
    for (row, out) in a.chunks_exact(k).zip(out) {
        let (chunks, tail) = row.as_chunks::<8>();
        let mut sum = _mm512_mullo_epi64(load(tail), last);
        for (a, x) in chunks.iter().zip(whole) {
            sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(load(a), *x));
        }
        *out = out.wrapping_add(_mm512_reduce_add_epi64(sum) as u64);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn gemv_512(k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    for (row, out) in a.chunks_exact(k).zip(out) {
        let mut sums = [_mm512_setzero_si512(); 4];
        let (wide, rest) = (row.as_chunks::<32>().0, &row[k - k % 32..]);
        for (a, x) in wide.iter().zip(x.as_chunks::<32>().0) {
            for (sum, (a, x)) in sums.iter_mut().zip(a.as_chunks::<8>().0.iter().zip(x.as_chunks::<8>().0)) {
                *sum = _mm512_add_epi64(*sum, _mm512_mullo_epi64(load(a), load(x)));
            }
        }
        for (sum, (a, x)) in sums.iter_mut().zip(rest.chunks(8).zip(x[k - k % 32..].chunks(8))) {
            *sum = _mm512_add_epi64(*sum, _mm512_mullo_epi64(load(a), load(x)));
        }
        let sum = _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
        *out = out.wrapping_add(_mm512_reduce_add_epi64(sum) as u64);
    }
}

/// Four rows at a time, so that the sums are read and written once for four.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq")]
fn gemv_transposed_512(k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    for (rows, x) in a.chunks(4 * k).zip(x.chunks(4)) {
        for (i, sums) in out.chunks_mut(8).enumerate() {
            let mut sum = load(sums);
            for (row, x) in rows.chunks_exact(k).zip(x) {
                let a = load(&row[8 * i..8 * i + sums.len()]);
                sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(a, _mm512_set1_epi64(*x as i64)));
            }
            store(sums, sum);
        }
    }
}
