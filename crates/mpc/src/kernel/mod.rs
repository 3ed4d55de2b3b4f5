//! The arithmetic that runs over every element: products in Z_2^64 and inner products with packed bits.

/// `out += a * b` for row-major matrices of m x k, k x n and m x n elements, wrapping.
pub fn gemm(m: usize, k: usize, n: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
    assert!(a.len() == m * k && b.len() == k * n && out.len() == m * n, "shapes"); // why: shapes come from the plan.
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

/// `out += a * x` for a row-major matrix of m x k elements, wrapping.
pub fn gemv(m: usize, k: usize, a: &[u64], x: &[u64], out: &mut [u64]) {
    gemm(m, k, 1, a, x, out);
}

/// The sum of those words of `w` whose bit is set, wrapping. Bit i is bit `i % 64` of word `i / 64`.
pub fn dot_bits(bits: &[u64], w: &[u64]) -> u64 {
    let select = |(i, w): (usize, &u64)| (bits[i / 64] >> (i % 64) & 1).wrapping_neg() & w; // why: callers give a bit for each word.
    w.iter().enumerate().map(select).fold(0, u64::wrapping_add)
}
