//! The kernels in plain code: what every other form is held to, and what runs where there is no other.

use zeroize::Zeroizing;

use super::Word;

/// `out += a * b`, row-major m x k, k x n, m x n.
pub(super) fn gemm(k: usize, n: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
    if k == 0 || n == 0 {
        return;
    }
    for (row, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (x, line) in row.iter().zip(b.chunks_exact(n)) {
            for (o, y) in out.iter_mut().zip(line) {
                *o = o.wrapping_add(x.wrapping_mul(*y));
            }
        }
    }
}

/// `out += a * x`, row-major m x k.
pub(super) fn gemv(k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    if k == 0 {
        return;
    }
    for (row, out) in a.chunks_exact(k).zip(out) {
        *out = row.iter().zip(x).fold(*out, |sum, (a, x)| sum.wrapping_add(a.wrapping_mul(*x)));
    }
}

/// `out += transpose(a) * x`, row-major m x k.
pub(super) fn gemv_transposed(k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    if k == 0 {
        return;
    }
    for (row, x) in a.chunks_exact(k).zip(x) {
        for (o, a) in out.iter_mut().zip(row) {
            *o = o.wrapping_add(a.wrapping_mul(*x));
        }
    }
}

/// The sum of the words whose bit is set, and that of all.
pub(super) fn sums<W: Word>(bits: &[u64], words: &[W]) -> (W, W) {
    let (mut selected, mut all) = (W::default(), W::default());
    for (mask, words) in bits.iter().zip(words.chunks(64)) {
        for (i, w) in words.iter().enumerate() {
            selected = selected.plus(w.where_set(mask >> i & 1));
            all = all.plus(*w);
        }
    }
    (selected, all)
}

/// The 64 bit-planes of words.
pub(super) fn planes(words: &[u64], planes: &mut [u64]) {
    let stride = words.len().div_ceil(64);
    let mut square = Zeroizing::new([0; 64]);
    for (at, words) in words.chunks(64).enumerate() {
        square.fill(0);
        square.iter_mut().zip(words).for_each(|(s, w)| *s = *w);
        transpose(&mut square);
        planes.iter_mut().skip(at).step_by(stride).zip(square.iter()).for_each(|(p, s)| *p = *s);
    }
}

/// The words of 64 bit-planes.
pub(super) fn unplanes(planes: &[u64], words: &mut [u64]) {
    let stride = words.len().div_ceil(64);
    let mut square = Zeroizing::new([0; 64]);
    for (at, words) in words.chunks_mut(64).enumerate() {
        square.iter_mut().zip(planes.iter().skip(at).step_by(stride)).for_each(|(s, p)| *s = *p);
        transpose(&mut square);
        words.iter_mut().zip(square.iter()).for_each(|(w, s)| *w = *s);
    }
}

/// Transposes a square of bits, half by half (H. Warren, "Hacker's Delight", section 7-3).
fn transpose(square: &mut [u64; 64]) {
    let (mut half, mut mask) = (32, 0xffff_ffff_u64);
    while half != 0 {
        for k in (0..64).filter(|k| k & half == 0) {
            let swapped = ((square[k] >> half) ^ square[k + half]) & mask;
            square[k] ^= swapped << half;
            square[k + half] ^= swapped;
        }
        half >>= 1;
        mask ^= mask << half;
    }
}
