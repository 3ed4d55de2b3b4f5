//! Tiles of the blocked product in registers, one for each way that a processor multiplies wide integers.

use core::arch::x86_64::*;

use super::blocked::{TILE, Tile};

/// An array of eight words as a register.
#[target_feature(enable = "avx512f")]
fn load(words: &[u64; 8]) -> __m512i {
    // SAFETY: sixty-four readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn store(words: &mut [u64; 8], value: __m512i) {
    // SAFETY: sixty-four writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx512f")]
fn broadcast(word: u64) -> __m512i {
    _mm512_set1_epi64(word as i64)
}

/// Bits of the lower part of an element that is cut in two so that both parts times 40 bits are exact, or exact modulo
/// what is kept, in the low 52 bits of a product.
const CUT: u32 = 12;
const LOW: u64 = (1 << CUT) - 1;
/// Bits of the operand that [`CUT`] leaves room for.
const NARROW: u32 = 40;

/// 64 x 64 bits by three products of 52 bits. With a = l + 2^40 h and b = c + 2^12 d, modulo 2^64:
/// a b = l c + 2^12 (l d + (2^28 h) b), where l c < 2^52 is exact, and the other two are needed modulo 2^52, which is
/// what the instruction gives; of b it takes the low 52 bits, and h has 24 bits, so that 2^28 h b is exact modulo 2^52.
#[derive(Clone, Copy)]
pub(super) struct Ifma;

impl Tile for Ifma {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const LEFT: usize = 2;
    const RIGHT: usize = 3;

    #[inline(always)]
    fn left(self, x: u64, part: usize) -> u64 {
        if part == 0 { x & ((1 << NARROW) - 1) } else { (x >> NARROW) << (52 - 24) }
    }

    #[inline(always)]
    fn right(self, x: u64, part: usize) -> u64 {
        [x & LOW, x >> CUT, x][part]
    }

    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn run(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
            let mut low = [[_mm512_setzero_si512(); 2]; 6];
            let mut high = low;
            for (a, b) in left.as_chunks::<12>().0.iter().zip(right.as_chunks::<48>().0) {
                let (b, _) = b.as_chunks::<8>();
                let (c, d, e) = ([load(&b[0]), load(&b[1])], [load(&b[2]), load(&b[3])], [load(&b[4]), load(&b[5])]);
                for r in 0..6 {
                    let (l, h) = (broadcast(a[r]), broadcast(a[6 + r]));
                    for v in 0..2 {
                        low[r][v] = _mm512_madd52lo_epu64(low[r][v], l, c[v]);
                        high[r][v] = _mm512_madd52lo_epu64(high[r][v], l, d[v]);
                        high[r][v] = _mm512_madd52lo_epu64(high[r][v], h, e[v]);
                    }
                }
            }
            finish(low.as_flattened(), high.as_flattened(), tile);
        }
        // SAFETY: the caller's promise.
        unsafe { run(left, right, tile) }
    }
}

#[target_feature(enable = "avx512f")]
fn finish(low: &[__m512i], high: &[__m512i], tile: &mut [u64; TILE]) {
    for ((low, high), words) in low.iter().zip(high).zip(tile.as_chunks_mut::<8>().0) {
        store(words, _mm512_add_epi64(*low, _mm512_slli_epi64::<CUT>(*high)));
    }
}

/// As [`Ifma`], for a left operand that is below 2^40 when this is added to it: two products.
#[derive(Clone, Copy)]
pub(super) struct IfmaNarrowLeft(pub u64);

impl Tile for IfmaNarrowLeft {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const LEFT: usize = 1;
    const RIGHT: usize = 2;

    #[inline(always)]
    fn left(self, x: u64, _: usize) -> u64 {
        x.wrapping_add(self.0)
    }

    #[inline(always)]
    fn right(self, x: u64, part: usize) -> u64 {
        [x & LOW, x >> CUT][part]
    }

    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn run(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
            let mut low = [[_mm512_setzero_si512(); 2]; 6];
            let mut high = low;
            for (a, b) in left.as_chunks::<6>().0.iter().zip(right.as_chunks::<32>().0) {
                let (b, _) = b.as_chunks::<8>();
                let (c, d) = ([load(&b[0]), load(&b[1])], [load(&b[2]), load(&b[3])]);
                for r in 0..6 {
                    let l = broadcast(a[r]);
                    for v in 0..2 {
                        low[r][v] = _mm512_madd52lo_epu64(low[r][v], l, c[v]);
                        high[r][v] = _mm512_madd52lo_epu64(high[r][v], l, d[v]);
                    }
                }
            }
            finish(low.as_flattened(), high.as_flattened(), tile);
        }
        // SAFETY: the caller's promise.
        unsafe { run(left, right, tile) }
    }
}

/// As [`Ifma`], for a right operand that is below 2^40 when this is added to it: two products.
#[derive(Clone, Copy)]
pub(super) struct IfmaNarrowRight(pub u64);

impl Tile for IfmaNarrowRight {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const LEFT: usize = 2;
    const RIGHT: usize = 1;

    #[inline(always)]
    fn left(self, x: u64, part: usize) -> u64 {
        [x & LOW, x >> CUT][part]
    }

    #[inline(always)]
    fn right(self, x: u64, _: usize) -> u64 {
        x.wrapping_add(self.0)
    }

    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn run(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
            let mut low = [[_mm512_setzero_si512(); 2]; 6];
            let mut high = low;
            for (a, b) in left.as_chunks::<12>().0.iter().zip(right.as_chunks::<16>().0) {
                let (b, _) = b.as_chunks::<8>();
                let b = [load(&b[0]), load(&b[1])];
                for r in 0..6 {
                    let (c, d) = (broadcast(a[r]), broadcast(a[6 + r]));
                    for v in 0..2 {
                        low[r][v] = _mm512_madd52lo_epu64(low[r][v], c, b[v]);
                        high[r][v] = _mm512_madd52lo_epu64(high[r][v], d, b[v]);
                    }
                }
            }
            finish(low.as_flattened(), high.as_flattened(), tile);
        }
        // SAFETY: the caller's promise.
        unsafe { run(left, right, tile) }
    }
}

/// The instruction for 64-bit products, which costs three.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

impl Tile for Avx512 {
    const ROWS: usize = 6;
    const COLUMNS: usize = 24;
    const LEFT: usize = 1;
    const RIGHT: usize = 1;

    #[inline(always)]
    fn left(self, x: u64, _: usize) -> u64 {
        x
    }

    #[inline(always)]
    fn right(self, x: u64, _: usize) -> u64 {
        x
    }

    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
        #[target_feature(enable = "avx512f,avx512dq")]
        fn run(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
            let mut sums = [[_mm512_setzero_si512(); 3]; 6];
            for (a, b) in left.as_chunks::<6>().0.iter().zip(right.as_chunks::<24>().0) {
                let (b, _) = b.as_chunks::<8>();
                let b = [load(&b[0]), load(&b[1]), load(&b[2])];
                for (sums, a) in sums.iter_mut().zip(a) {
                    let a = broadcast(*a);
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = _mm512_add_epi64(*sum, _mm512_mullo_epi64(a, b));
                    }
                }
            }
            for (sum, words) in sums.as_flattened().iter().zip(tile.as_chunks_mut::<8>().0) {
                store(words, *sum);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { run(left, right, tile) }
    }
}

/// Three products of 32 bits: a b = l m + 2^32 (l n + h m) modulo 2^64, for halves l, h of a and m, n of b.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

impl Tile for Avx2 {
    const ROWS: usize = 4;
    const COLUMNS: usize = 4;
    const LEFT: usize = 2;
    const RIGHT: usize = 2;

    #[inline(always)]
    fn left(self, x: u64, part: usize) -> u64 {
        x >> (32 * part)
    }

    #[inline(always)]
    fn right(self, x: u64, part: usize) -> u64 {
        x >> (32 * part)
    }

    unsafe fn product(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
        #[target_feature(enable = "avx2")]
        fn run(left: &[u64], right: &[u64], tile: &mut [u64; TILE]) {
            let mut low = [_mm256_setzero_si256(); 4];
            let mut high = low;
            for (a, b) in left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0) {
                // SAFETY: twice thirty-two readable bytes; the loads need no alignment.
                let (m, n) =
                    unsafe { (_mm256_loadu_si256(b.as_ptr().cast()), _mm256_loadu_si256(b[4..].as_ptr().cast())) };
                for r in 0..4 {
                    let (l, h) = (_mm256_set1_epi64x(a[r] as i64), _mm256_set1_epi64x(a[4 + r] as i64));
                    // The instruction takes the low half of each word.
                    low[r] = _mm256_add_epi64(low[r], _mm256_mul_epu32(l, m));
                    high[r] = _mm256_add_epi64(high[r], _mm256_mul_epu32(l, n));
                    high[r] = _mm256_add_epi64(high[r], _mm256_mul_epu32(h, m));
                }
            }
            for ((low, high), words) in low.iter().zip(high).zip(tile.as_chunks_mut::<4>().0) {
                let sum = _mm256_add_epi64(*low, _mm256_slli_epi64::<32>(high));
                // SAFETY: thirty-two writable bytes; the store needs no alignment.
                unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), sum) };
            }
        }
        // SAFETY: the caller's promise.
        unsafe { run(left, right, tile) }
    }
}
