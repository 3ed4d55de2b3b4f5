//! Which form of the product a shape and a level get.

use zeroize::Zeroizing;

use super::{Level, gemv, portable};

/// What is publicly known of the elements of an operand: as signed integers they have at most `bits` bits, that is, they
/// lie in `-2^(bits-1) .. 2^(bits-1)`. Products are faster for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Nothing.
    None,
    /// The left operand has at most so many bits, with its sign.
    Left(u32),
    /// The right operand has at most so many bits, with its sign.
    Right(u32),
}

/// Bits up to which a bound makes a product faster.
pub const BOUND_BITS_MAX: u32 = 40;

/// Products below this many are not worth packing.
const PACKED_MIN: usize = 1 << 10;

/// Columns from which on a product by tiles is faster than one product with a vector for each.
const COLUMNS_MIN: usize = 8;

pub(super) fn gemm(level: Level, k: usize, n: usize, bound: Bound, a: &[u64], b: &[u64], out: &mut [u64]) {
    if n == 1 {
        return gemv::gemv(level, k, a, b, out);
    }
    if k == 0 || n == 0 || a.len() * n < PACKED_MIN {
        return portable::gemm(k, n, a, b, out);
    }
    if n < COLUMNS_MIN && k >= COLUMNS_MIN {
        return columns(level, k, n, a, b, out);
    }
    #[cfg(target_arch = "x86_64")]
    wide(level, k, n, bound, a, b, out);
    #[cfg(not(target_arch = "x86_64"))]
    portable::gemm(k, n, a, b, out);
}

#[cfg(target_arch = "x86_64")]
fn wide(level: Level, k: usize, n: usize, bound: Bound, a: &[u64], b: &[u64], out: &mut [u64]) {
    use super::{amx, blocked, tiles};
    let bound = match bound {
        Bound::Left(bits) | Bound::Right(bits) if bits == 0 || bits > BOUND_BITS_MAX || level > Level::Ifma => {
            Bound::None
        }
        kept => kept,
    };
    let level = if level == Level::Amx && !fills_tiles(a.len() / k, k, n) { Level::Ifma } else { level };
    // SAFETY: the level runs here, and its instructions are those of the tile.
    unsafe {
        match (level, bound) {
            (Level::Amx, bound) => amx::gemm(k, n, bound, a, b, out),
            (Level::Ifma, Bound::None) => blocked::gemm(tiles::Ifma, k, n, a, b, out),
            (Level::Ifma, Bound::Left(bits)) => {
                blocked::gemm(tiles::IfmaNarrowLeft(bias(bits)), k, n, a, b, out);
            }
            (Level::Ifma, Bound::Right(bits)) => {
                blocked::gemm(tiles::IfmaNarrowRight(bias(bits)), k, n, a, b, out);
            }
            (Level::Avx512, _) => blocked::gemm(tiles::Avx512, k, n, a, b, out),
            (Level::Avx2, _) => blocked::gemm(tiles::Avx2, k, n, a, b, out),
            (Level::Portable, _) => portable::gemm(k, n, a, b, out),
        }
    }
    match bound {
        Bound::None => {}
        Bound::Left(bits) => unbias_left(bias(bits), n, b, out),
        Bound::Right(bits) => unbias_right(bias(bits), k, n, a, out),
    }
}

/// Whether tiles of bytes are worth their padding: they multiply by thirty-two, sixteen and sixty-four, wanted or not,
/// and are more than twice as fast.
#[cfg(target_arch = "x86_64")]
fn fills_tiles(m: usize, k: usize, n: usize) -> bool {
    m.next_multiple_of(32) * k.next_multiple_of(64) * n.next_multiple_of(16) <= 2 * m * k * n.next_multiple_of(16)
}

/// Rows that [`columns`] multiplies by each column in turn, so that they stay in a near cache.
const NEAR_ROWS: usize = 32;

/// A product with few columns: one product with a vector for each.
fn columns(level: Level, k: usize, n: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
    let mut column = Zeroizing::new(vec![0; k * n]);
    for (j, column) in column.chunks_exact_mut(k).enumerate() {
        column.iter_mut().zip(b[j..].iter().step_by(n)).for_each(|(c, y)| *c = *y);
    }
    let mut sums = Zeroizing::new([0; NEAR_ROWS]);
    for (rows, out) in a.chunks(NEAR_ROWS * k).zip(out.chunks_mut(NEAR_ROWS * n)) {
        let sums = &mut sums[..rows.len() / k];
        for (j, column) in column.chunks_exact(k).enumerate() {
            sums.fill(0);
            gemv::gemv(level, k, rows, column, sums);
            out[j..].iter_mut().step_by(n).zip(sums.iter()).for_each(|(o, sum)| *o = o.wrapping_add(*sum));
        }
    }
}

/// What makes a signed integer of `bits` bits one without a sign.
pub(super) fn bias(bits: u32) -> u64 {
    1 << (bits - 1)
}

/// Takes `bias * b` off, summed over the inner dimension: what the bias of every left element has added.
fn unbias_left(bias: u64, n: usize, b: &[u64], out: &mut [u64]) {
    let mut sums = Zeroizing::new(vec![0u64; n]);
    for line in b.chunks_exact(n) {
        sums.iter_mut().zip(line).for_each(|(sum, y)| *sum = sum.wrapping_add(*y));
    }
    sums.iter_mut().for_each(|sum| *sum = sum.wrapping_mul(bias));
    for row in out.chunks_exact_mut(n) {
        row.iter_mut().zip(sums.iter()).for_each(|(o, sum)| *o = o.wrapping_sub(*sum));
    }
}

/// Takes `a * bias` off, summed over the inner dimension: what the bias of every right element has added.
fn unbias_right(bias: u64, k: usize, n: usize, a: &[u64], out: &mut [u64]) {
    for (row, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        let sum = row.iter().fold(0u64, |sum, x| sum.wrapping_add(*x)).wrapping_mul(bias);
        out.iter_mut().for_each(|o| *o = o.wrapping_sub(sum));
    }
}
