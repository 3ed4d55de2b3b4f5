//! Products by tiles of bytes (AMX-INT8). An element is cut into bytes, its limbs, and a product in Z_2^64 is the sum of
//! the products of limbs l and m with l + m < 8, times 2^(8 (l + m)). The processor multiplies a tile of 16 x 64 bytes by
//! one of 64 x 16 and adds to 16 x 16 sums of 32 bits.
//!
//! The inner loop takes two tiles of one operand, the standing one, and slides over limbs of the other, for two sums of
//! limbs at a time: four tiles of sums, two of the standing operand, two of the sliding one, which is all eight, with ten
//! loads for twelve products.

use core::arch::asm;
use core::arch::x86_64::*;
use core::marker::PhantomData;

use zeroize::{Zeroize, Zeroizing};

use super::Bound;
use super::shuffle::{lanes_transposed, order, transposed};

/// Limbs of an element.
const LIMBS: usize = 8;
/// Steps along the inner dimension that one tile holds.
const STEPS: usize = 64;
/// Rows or columns of a tile of sums.
const SIDE: usize = 16;
/// Bytes of a tile.
const TILE: usize = 1024;
/// Inner steps that are packed at a time.
const DEPTH: usize = 1024;
/// Rows that are packed at a time: with [`DEPTH`] steps 4 MiB.
const ROWS: usize = 512;
/// Columns that are packed at a time: with [`DEPTH`] steps less than half of a second-level cache.
const COLUMNS: usize = 96;

// A sum of 32 bits takes, for each step, at most LIMBS products of bytes.
const _: () = assert!(DEPTH * LIMBS * 255 * 255 <= u32::MAX as usize);

/// Whether the processor has tiles and the system lets this process use them. Asking the system is what grants it
/// (Linux, `Documentation/arch/x86/xstate.rst`); it concerns the whole process and stays.
pub(super) fn permitted() -> bool {
    is_x86_feature_detected!("xsave") && has_tiles() && granted()
}

fn has_tiles() -> bool {
    const TILES: u32 = 1 << 24;
    const BYTES: u32 = 1 << 25;
    const STATE: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: the caller found the feature, and the instruction is enabled wherever AVX was found.
    features & TILES != 0 && features & BYTES != 0 && unsafe { enabled_state() } & STATE == STATE
}

#[cfg(target_os = "linux")]
fn granted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: the call reads and writes no memory of this process.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") REQUEST, in("rsi") TILE_DATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn granted() -> bool {
    false
}

/// The tiles of this thread, all of 16 x 64 bytes, while the value lives. They are cleared after it.
struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// # Safety
    /// [`permitted`] was true.
    unsafe fn configure() -> Self {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            rows: [u8; 16],
        }
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        bytes[..8].fill(STEPS as u16);
        rows[..8].fill(SIDE as u8);
        let configuration = Configuration { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows };
        // SAFETY: the processor has the instruction, and the sixty-four bytes are a valid configuration.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Self(PhantomData)
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: the processor has the instruction, since the value exists.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// A row of a tile.
#[derive(Clone, Copy, Default, Zeroize)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Lines of a tile.
const LINES: usize = TILE / 64;

/// Sums of 32 bits by sum of limbs, for two tiles of the result.
#[derive(Zeroize)]
#[repr(align(64))]
struct Sums([[[u32; SIDE * SIDE]; 2]; LIMBS]);

/// Which operand stands. The one that stands has fewer limbs or as many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Left,
    Right,
}

/// Limbs and biases of both operands, and which one stands.
#[derive(Clone, Copy)]
struct Form {
    standing: Standing,
    left: Cut,
    right: Cut,
}

/// How the elements of an operand are cut.
#[derive(Clone, Copy)]
struct Cut {
    limbs: usize,
    bias: u64,
    /// Tiles side by side in a panel.
    tiles: usize,
}

impl Form {
    fn new(bound: Bound) -> Self {
        let cut = |bits: u32, tiles| match bits {
            64 => Cut { limbs: LIMBS, bias: 0, tiles },
            bits => Cut { limbs: bits.div_ceil(8) as usize, bias: super::gemm::bias(bits), tiles },
        };
        match bound {
            Bound::None => Self { standing: Standing::Left, left: cut(64, 2), right: cut(64, 1) },
            Bound::Left(bits) => Self { standing: Standing::Left, left: cut(bits, 2), right: cut(64, 1) },
            Bound::Right(bits) => Self { standing: Standing::Right, left: cut(64, 1), right: cut(bits, 2) },
        }
    }
}

/// `out += a * b`, row-major m x k, k x n, m x n; the bias of a bounded operand is left in. A bound has 1 to 56 bits.
///
/// # Safety
/// [`permitted`] was true.
pub(super) unsafe fn gemm(k: usize, n: usize, bound: Bound, a: &[u64], b: &[u64], out: &mut [u64]) {
    let form = Form::new(bound);
    let panel = |rows: usize, cut: Cut| rows.div_ceil(SIDE * cut.tiles) * cut.tiles * cut.limbs * LINES;
    let blocks = DEPTH.min(k).div_ceil(STEPS);
    // The panels and the sums hold secrets, so they are erased.
    let rows = ROWS.min(a.len() / k);
    let mut left = Zeroizing::new(vec![Line::default(); panel(rows, form.left) * blocks]);
    let mut right = Zeroizing::new(vec![Line::default(); panel(COLUMNS.min(n), form.right) * blocks]);
    let mut sums = Zeroizing::new([(); 2].map(|()| Sums([[[0; SIDE * SIDE]; 2]; LIMBS])));
    for from in (0..k).step_by(DEPTH) {
        let steps = DEPTH.min(k - from);
        let b = &b[from * n..(from + steps) * n];
        for (a, out) in a.chunks(ROWS * k).zip(out.chunks_mut(ROWS * n)) {
            // SAFETY: tiles come with the instructions of all that is called here.
            unsafe {
                pack_left(form.left, k, a, from, steps, &mut left);
                for column in (0..n).step_by(COLUMNS) {
                    let width = COLUMNS.min(n - column);
                    pack_right(form.right, n, b, column, width, &mut right);
                    let tiles = Tiles::configure();
                    let place = &mut Place { n, column, width, out };
                    block(form, steps.div_ceil(STEPS), &left, &right, &mut sums, place);
                    drop(tiles);
                }
            }
        }
    }
}

/// Where in the result a block lies.
struct Place<'a> {
    n: usize,
    column: usize,
    width: usize,
    /// Whole rows.
    out: &'a mut [u64],
}

/// All products of packed rows with packed columns. Sums are put together one step late, so that the processor does not
/// wait for the tiles of sums that it has just stored.
///
/// # Safety
/// Tiles are configured.
unsafe fn block(form: Form, blocks: usize, left: &[Line], right: &[Line], sums: &mut [Sums; 2], place: &mut Place<'_>) {
    let rows = place.out.len() / place.n;
    let lines = |cut: Cut| cut.tiles * cut.limbs * blocks * LINES;
    let limbs = form.left.limbs.min(form.right.limbs);
    let [mut now, mut before] = sums.each_mut();
    let mut late = None;
    for (left, row) in left.chunks_exact(lines(form.left)).zip((0..rows).step_by(SIDE * form.left.tiles)) {
        for (right, column) in
            right.chunks_exact(lines(form.right)).zip((0..place.width).step_by(SIDE * form.right.tiles))
        {
            let (standing, sliding) = match form.standing {
                Standing::Left => (left, right),
                Standing::Right => (right, left),
            };
            // SAFETY: the panels have `blocks` blocks of these limbs, and tiles are configured.
            unsafe { products(form.standing, limbs, blocks, standing, sliding, now) };
            if let Some((row, column)) = late.replace((row, column)) {
                place.add(form.standing, before, row, column);
            }
            core::mem::swap(&mut now, &mut before);
        }
    }
    if let Some((row, column)) = late {
        place.add(form.standing, before, row, column);
    }
}

impl Place<'_> {
    /// Adds two tiles of the result, the first of which begins at this row and column of the block.
    fn add(&mut self, standing: Standing, sums: &Sums, row: usize, column: usize) {
        for tile in 0..2 {
            let (row, column) = match standing {
                Standing::Left => (row + tile * SIDE, column),
                Standing::Right => (row, column + tile * SIDE),
            };
            if row * self.n < self.out.len() && column < self.width {
                let width = SIDE.min(self.width - column);
                // SAFETY: tiles come with AVX-512.
                unsafe { widen(sums, tile, self.n, &mut self.out[row * self.n..], self.column + column, width) };
            }
        }
    }
}

/// Blocks of steps whose tiles stay in the first cache while all sums of limbs go over them.
const NEAR: usize = 2;

/// Sums of products of limbs of a panel of two tiles, `blocks` blocks of steps of `limbs` limbs each, with one of one
/// tile and eight limbs.
///
/// # Safety
/// Tiles are configured and the panels have that many lines.
unsafe fn products(standing: Standing, limbs: usize, blocks: usize, pair: &[Line], slide: &[Line], sums: &mut Sums) {
    assert!(pair.len() == 2 * limbs * blocks * LINES && slide.len() == LIMBS * blocks * LINES); // why: the asm reads them.
    for from in (0..blocks).step_by(NEAR) {
        let near = NEAR.min(blocks - from);
        let (pair, slide) = (&pair[from * 2 * limbs * LINES..], &slide[from * LIMBS * LINES..]);
        for top in [1, 3, 5, 7] {
            // With limb l of the pair go limbs `top - l` and `top - l - 1` of the other; the last one may lack the latter.
            let both = limbs.min(top);
            let single = usize::from(top < limbs);
            let sum = sums.0[top - 1..].as_mut_ptr();
            // SAFETY: by the assertion, and since `near` blocks follow, all tiles read lie in the panels; the four tiles
            // of sums lie in `sums`, two sums of limbs from `top - 1` on.
            unsafe {
                let pair = pair.as_ptr();
                let slide = slide.as_ptr().add(top * LINES);
                match standing {
                    Standing::Left => window_left(pair, slide, limbs, near, both, single, from == 0, sum),
                    Standing::Right => window_right(pair, slide, limbs, near, both, single, from == 0, sum),
                }
            }
        }
    }
}

/// A product with the pair on the left.
macro_rules! pair_left {
    ($sum:literal, $pair:literal, $slide:literal) => {
        concat!("tdpbuud ", $sum, ", ", $pair, ", ", $slide, "\n")
    };
}

/// A product with the pair on the right.
macro_rules! pair_right {
    ($sum:literal, $pair:literal, $slide:literal) => {
        concat!("tdpbuud ", $sum, ", ", $slide, ", ", $pair, "\n")
    };
}

/// One limb of the pair with two of the sliding operand: the one in `$now`, and the next below, which `$next` gets.
macro_rules! step {
    ($tdp:ident, $now:literal, $next:literal) => {
        concat!(
            "tileloadd tmm4, [{p} + {w}]\n",
            "tileloadd tmm5, [{p} + {w} + 1024]\n",
            $tdp!("tmm2", "tmm4", $now),
            "sub {s}, 1024\n",
            concat!("tileloadd ", $next, ", [{s} + {w}]\n"),
            $tdp!("tmm3", "tmm5", $now),
            "add {p}, 2048\n",
            $tdp!("tmm0", "tmm4", $next),
            $tdp!("tmm1", "tmm5", $next),
        )
    };
}

/// The last limb of the pair, if there is one, with the limb in `$now`.
macro_rules! last {
    ($tdp:ident, $now:literal) => {
        concat!(
            "test {single}, {single}\n",
            "jz 6f\n",
            "tileloadd tmm4, [{p} + {w}]\n",
            "tileloadd tmm5, [{p} + {w} + 1024]\n",
            $tdp!("tmm2", "tmm4", $now),
            $tdp!("tmm3", "tmm5", $now),
        )
    };
}

/// The four tiles of sums for two sums of limbs: tmm0 and tmm1 for the lower, tmm2 and tmm3 for the upper.
macro_rules! window {
    ($name:ident, $tdp:ident) => {
        /// # Safety
        /// Tiles are configured; `blocks` blocks of tiles are readable, from `pair` on and, up to the limb that
        /// `slide` points at, around `slide`; four tiles are readable and writable at `sums`. `both` is not 0.
        #[allow(clippy::too_many_arguments)] // why: the registers of one piece of assembly.
        unsafe fn $name(
            pair: *const Line,
            slide: *const Line,
            limbs: usize,
            blocks: usize,
            both: usize,
            single: usize,
            fresh: bool,
            sums: *mut [[u32; SIDE * SIDE]; 2],
        ) {
            // SAFETY: the caller's promise.
            unsafe {
                asm!(
                    "test {fresh}, {fresh}",
                    "jnz 2f",
                    "tileloadd tmm0, [{sums} + {w}]",
                    "tileloadd tmm1, [{sums} + {w} + 1024]",
                    "tileloadd tmm2, [{sums} + {w} + 2048]",
                    "tileloadd tmm3, [{sums} + {w} + 3072]",
                    "jmp 3f",
                    "2:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "3:",
                    "mov {p}, {pair}",
                    "mov {s}, {slide}",
                    "mov {i}, {both}",
                    "tileloadd tmm6, [{s} + {w}]",
                    "4:",
                    step!($tdp, "tmm6", "tmm7"),
                    "dec {i}",
                    "jz 5f",
                    step!($tdp, "tmm7", "tmm6"),
                    "dec {i}",
                    "jnz 4b",
                    last!($tdp, "tmm6"),
                    "jmp 6f",
                    "5:",
                    last!($tdp, "tmm7"),
                    "6:",
                    "add {pair}, {pair_bytes}",
                    "add {slide}, 8192",
                    "dec {blocks}",
                    "jnz 3b",
                    "tilestored [{sums} + {w}], tmm0",
                    "tilestored [{sums} + {w} + 1024], tmm1",
                    "tilestored [{sums} + {w} + 2048], tmm2",
                    "tilestored [{sums} + {w} + 3072], tmm3",
                    p = out(reg) _,
                    s = out(reg) _,
                    i = out(reg) _,
                    pair = inout(reg) pair => _,
                    slide = inout(reg) slide => _,
                    blocks = inout(reg) blocks => _,
                    both = in(reg) both,
                    single = in(reg) single,
                    fresh = in(reg) usize::from(fresh),
                    pair_bytes = in(reg) 2 * limbs * TILE,
                    sums = in(reg) sums,
                    w = in(reg) 64usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

window!(window_left, pair_left);
window!(window_right, pair_right);

/// Adds one tile of the result, all sums of limbs put together, to `width` columns from `column` on of up to sixteen rows
/// of `out`.
#[target_feature(enable = "avx512f")]
fn widen(sums: &Sums, tile: usize, n: usize, out: &mut [u64], column: usize, width: usize) {
    for (r, row) in out.chunks_exact_mut(n).take(SIDE).enumerate() {
        let sum = |limb: usize| {
            // SAFETY: a row of a tile of sums has sixteen words, readable and aligned.
            unsafe { _mm512_load_si512(sums.0[limb][tile].as_ptr().add(SIDE * r).cast()) }
        };
        // Of the upper four only the low 32 bits are left when they have their place.
        let upper = _mm512_add_epi32(sum(4), _mm512_slli_epi32::<8>(sum(5)));
        let upper = _mm512_add_epi32(upper, _mm512_slli_epi32::<16>(sum(6)));
        let upper = _mm512_add_epi32(upper, _mm512_slli_epi32::<24>(sum(7)));
        let lower = [sum(0), sum(1), sum(2), sum(3)];
        for (half, words) in row[column..column + width].chunks_mut(8).enumerate() {
            let part = |x: __m512i| {
                let part = if half == 0 { _mm512_castsi512_si256(x) } else { _mm512_extracti64x4_epi64::<1>(x) };
                _mm512_cvtepu32_epi64(part)
            };
            let total = _mm512_add_epi64(part(lower[0]), _mm512_slli_epi64::<8>(part(lower[1])));
            let total = _mm512_add_epi64(total, _mm512_slli_epi64::<16>(part(lower[2])));
            let total = _mm512_add_epi64(total, _mm512_slli_epi64::<24>(part(lower[3])));
            let total = _mm512_add_epi64(total, _mm512_slli_epi64::<32>(part(upper)));
            super::gemv::store(words, _mm512_add_epi64(super::gemv::load(words), total));
        }
    }
}

/// Packs inner steps `from .. from + steps` of rows: panels of `tiles` tiles, in each the blocks of steps, in each the
/// limbs, in each the tiles. What is not there is of no account in rows and a limb of the bias in steps, where the other
/// operand has zero.
#[target_feature(enable = "avx512f,avx512vbmi")]
fn pack_left(cut: Cut, k: usize, a: &[u64], from: usize, steps: usize, panels: &mut [Line]) {
    let blocks = steps.div_ceil(STEPS);
    let group = SIDE * cut.tiles;
    let order = order(|limb, element| element * 8 + limb);
    let bias = _mm512_set1_epi64(cut.bias as i64);
    let panels = panels.chunks_exact_mut(cut.tiles * cut.limbs * blocks * LINES);
    for (panel, rows) in panels.zip(a.chunks(k * group)) {
        for (r, row) in rows.chunks_exact(k).enumerate() {
            let row = &row[from..from + steps];
            let place = r / SIDE * LINES + r % SIDE;
            for (words, block) in row.chunks(STEPS).zip(panel.chunks_exact_mut(cut.tiles * cut.limbs * LINES)) {
                let mut v = [_mm512_setzero_si512(); 8];
                for (v, words) in v.iter_mut().zip(words.chunks(8)) {
                    *v = _mm512_add_epi64(super::gemv::load(words), bias);
                }
                let limbs = limbs(v, order);
                for (line, v) in block[place..].iter_mut().step_by(cut.tiles * LINES).zip(&limbs[..cut.limbs]) {
                    put(line, *v);
                }
            }
        }
    }
}

/// Packs `width` columns from `column` on of some rows, which are the inner steps. Four steps of a column lie side by
/// side, as the instruction wants its right operand. Steps that are not there are zero.
#[target_feature(enable = "avx512f,avx512vbmi")]
fn pack_right(cut: Cut, n: usize, b: &[u64], column: usize, width: usize, panels: &mut [Line]) {
    let steps = b.len() / n;
    let group = SIDE * cut.tiles;
    let bias = _mm512_set1_epi64(cut.bias as i64);
    // A register has two columns of four steps, step by step.
    let order = order(|limb, element| (element % 4 * 2 + element / 4) * 8 + limb);
    let (block_lines, panel_lines) =
        (cut.tiles * cut.limbs * LINES, cut.tiles * cut.limbs * steps.div_ceil(STEPS) * LINES);
    for (four, rows) in b.chunks(4 * n).enumerate() {
        let (block, line) = (four / LINES, four % LINES);
        for offset in (0..width.next_multiple_of(group)).step_by(SIDE) {
            let mut halves = [[_mm512_setzero_si512(); 4]; 2];
            let (from, to) = (offset.min(width), (offset + SIDE).min(width));
            for (step, row) in rows.chunks_exact(n).enumerate() {
                for (half, words) in halves.iter_mut().zip(row[column + from..column + to].chunks(8)) {
                    half[step] = _mm512_add_epi64(super::gemv::load(words), bias);
                }
            }
            let (l, r) = (lanes_transposed(halves[0]), lanes_transposed(halves[1]));
            let limbs = limbs([l[0], l[1], l[2], l[3], r[0], r[1], r[2], r[3]], order);
            let (panel, tile) = (offset / group, offset % group / SIDE);
            let first = panel * panel_lines + block * block_lines + tile * LINES + line;
            for (line, v) in panels[first..].iter_mut().step_by(cut.tiles * LINES).zip(&limbs[..cut.limbs]) {
                put(line, *v);
            }
        }
    }
    // Steps that the last block lacks.
    let lines = steps.div_ceil(4) % LINES;
    if lines > 0 {
        for panel in panels.chunks_exact_mut(panel_lines).take(width.div_ceil(group)) {
            for tile in panel[panel_lines - block_lines..].chunks_exact_mut(LINES) {
                tile[lines..].fill(Line::default());
            }
        }
    }
}

/// The limbs of eight registers of eight words, each with its own byte order within a limb.
#[target_feature(enable = "avx512f,avx512vbmi")]
fn limbs(mut v: [__m512i; 8], order: __m512i) -> [__m512i; 8] {
    for v in &mut v {
        *v = _mm512_permutexvar_epi8(order, *v);
    }
    transposed(v)
}

#[target_feature(enable = "avx512f")]
fn put(line: &mut Line, v: __m512i) {
    // SAFETY: sixty-four writable bytes, aligned as the type says.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), v) }
}

/// Products of limbs that a product of elements takes.
pub(super) fn limb_products(bound: Bound) -> u64 {
    let form = Form::new(bound);
    let limbs = form.left.limbs.min(form.right.limbs);
    (0..limbs).map(|limb| LIMBS - limb).sum::<usize>() as u64
}

/// Multiplies tiles that stay where they are, four at a time; gives how many products of bytes that was.
///
/// # Safety
/// [`permitted`] was true.
pub(super) unsafe fn probe(passes: u64) -> u64 {
    if passes == 0 {
        return 0;
    }
    // SAFETY: the caller's promise; the assembly reads and writes no memory.
    unsafe {
        let tiles = Tiles::configure();
        asm!(
            "tilezero tmm6",
            "tilezero tmm7",
            "2:",
            "tdpbuud tmm0, tmm6, tmm7",
            "tdpbuud tmm1, tmm6, tmm7",
            "tdpbuud tmm2, tmm6, tmm7",
            "tdpbuud tmm3, tmm6, tmm7",
            "dec {passes}",
            "jnz 2b",
            passes = inout(reg) passes => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem),
        );
        drop(tiles);
    }
    passes * 4 * (SIDE * SIDE * STEPS) as u64
}
