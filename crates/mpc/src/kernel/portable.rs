//! The kernels in plain code: what every other form is held to, and what runs where there is no other.

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
