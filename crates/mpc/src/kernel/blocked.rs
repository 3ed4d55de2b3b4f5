//! The blocked product for vector registers: panels of both operands are packed once and tiles of the result stay in
//! registers (K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
//!
//! A wide product is cut into those that the processor has. Each element of an operand is packed as several words, its
//! parts, so that the innermost loop only multiplies and adds.

use zeroize::Zeroizing;

/// Elements along the inner dimension that are packed at a time.
const DEPTH: usize = 128;
/// Columns of the right operand that are packed at a time: with [`DEPTH`] less than half of a second-level cache.
const COLUMNS: usize = 240;

/// A tile of the result in registers.
pub(super) trait Tile: Copy {
    /// Rows of a tile.
    const ROWS: usize;
    /// Columns of a tile.
    const COLUMNS: usize;
    /// Parts of an element of the left operand.
    const LEFT: usize;
    /// Parts of an element of the right operand.
    const RIGHT: usize;

    /// A part of an element of the left operand.
    fn left(self, x: u64, part: usize) -> u64;

    /// A part of an element of the right operand.
    fn right(self, x: u64, part: usize) -> u64;

    /// The product of a packed panel of the left operand with one of the right: `tile[r * COLUMNS + c]`. For each step
    /// along the inner dimension a panel has first part 0 of every row (or column), then part 1, and so on.
    ///
    /// # Safety
    /// The processor has the instructions of this tile.
    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]);
}

/// Most elements that a tile has.
pub(super) const TILE: usize = 144;

/// `out += a * b`, row-major m x k, k x n, m x n.
///
/// # Safety
/// The processor has the instructions of `T`.
pub(super) unsafe fn gemm<T: Tile>(form: T, k: usize, n: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
    if k == 0 || n == 0 {
        return;
    }
    let columns = COLUMNS.next_multiple_of(T::COLUMNS).min(n.next_multiple_of(T::COLUMNS));
    let depth = DEPTH.min(k);
    // The panels hold secrets, so they are erased.
    let mut left = Zeroizing::new(vec![0; T::ROWS * T::LEFT * depth]);
    let mut right = Zeroizing::new(vec![0; columns * T::RIGHT * depth]);
    let mut tile = Zeroizing::new([0; TILE]);
    for from_column in (0..n).step_by(columns) {
        let width = columns.min(n - from_column);
        for from in (0..k).step_by(depth) {
            let steps = depth.min(k - from);
            pack_right(form, n, &b[from * n..(from + steps) * n], from_column, width, &mut right);
            let rows = a.chunks(k * T::ROWS).zip(out.chunks_mut(n * T::ROWS));
            for (a, out) in rows {
                pack_left(form, k, a, from, steps, &mut left);
                let left = &left[..T::ROWS * T::LEFT * steps];
                let panels = right.chunks_exact(T::COLUMNS * T::RIGHT * steps);
                for (panel, column) in panels.zip((from_column..from_column + width).step_by(T::COLUMNS)) {
                    // SAFETY: the caller's promise.
                    unsafe { T::product(left, panel, &mut tile) };
                    add::<T>(&tile, n, out, column);
                }
            }
        }
    }
}

/// Adds a tile to the rows of `out` from `column` on, as far as they reach.
fn add<T: Tile>(tile: &[u64; TILE], n: usize, out: &mut [u64], column: usize) {
    let width = T::COLUMNS.min(n - column);
    for (row, tile) in out.chunks_exact_mut(n).zip(tile.chunks_exact(T::COLUMNS)) {
        for (o, t) in row[column..column + width].iter_mut().zip(tile) {
            *o = o.wrapping_add(*t);
        }
    }
}

/// Packs steps `from .. from + steps` of up to `ROWS` rows; what stands for rows that are not there is not looked at.
fn pack_left<T: Tile>(form: T, k: usize, a: &[u64], from: usize, steps: usize, out: &mut [u64]) {
    for (r, row) in a.chunks_exact(k).enumerate() {
        for (x, step) in row[from..from + steps].iter().zip(out.chunks_exact_mut(T::ROWS * T::LEFT)) {
            for part in 0..T::LEFT {
                step[part * T::ROWS + r] = form.left(*x, part);
            }
        }
    }
}

/// Packs `width` columns of some rows as panels of `COLUMNS`; what stands for columns that are not there
/// is not looked at.
fn pack_right<T: Tile>(form: T, n: usize, b: &[u64], from_column: usize, width: usize, out: &mut [u64]) {
    let steps = b.len() / n;
    let panels = out.chunks_exact_mut(T::COLUMNS * T::RIGHT * steps);
    for (panel, column) in panels.zip((0..width).step_by(T::COLUMNS)) {
        let here = T::COLUMNS.min(width - column);
        for (line, step) in b.chunks_exact(n).zip(panel.chunks_exact_mut(T::COLUMNS * T::RIGHT)) {
            let line = &line[from_column + column..from_column + column + here];
            for (part, words) in step.chunks_exact_mut(T::COLUMNS).enumerate() {
                for (w, y) in words.iter_mut().zip(line) {
                    *w = form.right(*y, part);
                }
            }
        }
    }
}
