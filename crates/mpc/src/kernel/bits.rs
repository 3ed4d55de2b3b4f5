//! Packed bits with words: inner products, and words as bit-planes.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use super::{Level, portable};

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

/// A ring element with which bits are multiplied: `u32` or `u64`.
pub trait Word: sealed::Sealed + Copy + Default + 'static {
    /// The wrapping sum.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The wrapping difference.
    #[must_use]
    fn minus(self, other: Self) -> Self;
    /// The word where `bit`, which is 0 or 1, is 1, else zero.
    #[must_use]
    fn where_set(self, bit: u64) -> Self;
    /// The sum of the selected words, and that of all.
    #[doc(hidden)]
    fn sums(level: Level, bits: &[u64], words: &[Self]) -> (Self, Self);
}

macro_rules! word {
    ($t:ty, $form:ident) => {
        impl Word for $t {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn where_set(self, bit: u64) -> Self {
                self & (bit as $t).wrapping_neg()
            }

            fn sums(level: Level, bits: &[u64], words: &[Self]) -> (Self, Self) {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Amx | Level::Ifma | Level::Avx512 => {
                        // SAFETY: the level runs here, and its instructions are those of this function.
                        unsafe { $form(bits, words) }
                    }
                    _ => portable::sums(bits, words),
                }
            }
        }
    };
}

word!(u64, sums_64);
word!(u32, sums_32);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sums_64(bits: &[u64], words: &[u64]) -> (u64, u64) {
    let (mut selected, mut all) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (mask, words) in bits.iter().zip(words.chunks(64)) {
        for (i, words) in words.chunks(8).enumerate() {
            let v = super::gemv::load(words);
            selected = _mm512_mask_add_epi64(selected, (mask >> (8 * i)) as u8, selected, v);
            all = _mm512_add_epi64(all, v);
        }
    }
    (_mm512_reduce_add_epi64(selected) as u64, _mm512_reduce_add_epi64(all) as u64)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sums_32(bits: &[u64], words: &[u32]) -> (u32, u32) {
    let (mut selected, mut all) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (mask, words) in bits.iter().zip(words.chunks(64)) {
        for (i, words) in words.chunks(16).enumerate() {
            let here = ((1u32 << words.len()) - 1) as u16;
            // SAFETY: lanes beyond the slice are masked off, and a masked lane is not read.
            let v = unsafe { _mm512_maskz_loadu_epi32(here, words.as_ptr().cast()) };
            selected = _mm512_mask_add_epi32(selected, (mask >> (16 * i)) as u16, selected, v);
            all = _mm512_add_epi32(all, v);
        }
    }
    (_mm512_reduce_add_epi32(selected) as u32, _mm512_reduce_add_epi32(all) as u32)
}

/// The 64 bit-planes of words, each of `ceil(words.len() / 64)` words.
pub(super) fn planes(level: Level, words: &[u64], planes: &mut [u64]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx | Level::Ifma => {
            // SAFETY: the level runs here, and its instructions are those of this function.
            unsafe { planes_512(words, planes) }
        }
        _ => portable::planes(words, planes),
    }
}

/// The words of 64 bit-planes.
pub(super) fn unplanes(level: Level, planes: &[u64], words: &mut [u64]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Amx | Level::Ifma => {
            // SAFETY: the level runs here, and its instructions are those of this function.
            unsafe { unplanes_512(planes, words) }
        }
        _ => portable::unplanes(planes, words),
    }
}

/// A square of eight registers of eight words.
#[cfg(target_arch = "x86_64")]
type Square = [__m512i; 8];

/// Transposes the bits of each word as a square of eight by eight, the bytes of which come in reverse.
///
/// The instruction gives bit i of a byte as the product of byte 7 - i of the matrix with the byte of the vector. With
/// the bytes of the identity as vectors, byte j of the result has bit j of byte 7 - i of the matrix as its bit i.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,gfni")]
fn bits_transposed(matrix: __m512i) -> __m512i {
    let identity = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    _mm512_gf2p8affine_epi64_epi8::<0>(identity, matrix)
}

/// Sixty-four words become their bit-planes: word j of register i becomes the bits of plane 8 i + j.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vbmi,gfni")]
fn square_planes(words: Square) -> Square {
    use super::shuffle::{order, transposed};
    let (reversed, gathered) = (order(|limb, e| (7 - e) * 8 + limb), order(|bit, group| group * 8 + bit));
    let mut v = words;
    for v in &mut v {
        *v = _mm512_permutexvar_epi8(reversed, *v);
    }
    let mut v = transposed(v);
    for v in &mut v {
        *v = _mm512_permutexvar_epi8(gathered, bits_transposed(*v));
    }
    v
}

/// The inverse of [`square_planes`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vbmi,gfni")]
fn square_words(planes: Square) -> Square {
    use super::shuffle::{order, transposed};
    let (reversed, gathered) = (order(|group, bit| (7 - bit) * 8 + group), order(|e, limb| limb * 8 + e));
    let mut v = planes;
    for v in &mut v {
        *v = bits_transposed(_mm512_permutexvar_epi8(reversed, *v));
    }
    let mut v = transposed(v);
    for v in &mut v {
        *v = _mm512_permutexvar_epi8(gathered, *v);
    }
    v
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vbmi,gfni")]
fn planes_512(words: &[u64], planes: &mut [u64]) {
    use super::gemv::{load, store};
    let stride = words.len().div_ceil(64);
    // Eight squares at a time, so that eight words of a plane are written together.
    let mut squares = [[_mm512_setzero_si512(); 8]; 8];
    for (at, words) in words.chunks(512).enumerate() {
        let count = words.len().div_ceil(64);
        for (square, words) in squares.iter_mut().zip(words.chunks(64)) {
            let mut v = [_mm512_setzero_si512(); 8];
            for (v, words) in v.iter_mut().zip(words.chunks(8)) {
                *v = load(words);
            }
            *square = square_planes(v);
        }
        for byte in 0..8 {
            let mut v = [_mm512_setzero_si512(); 8];
            for (v, square) in v.iter_mut().zip(&squares) {
                *v = square[byte];
            }
            for (bit, v) in super::shuffle::transposed(v).into_iter().enumerate() {
                let from = (8 * byte + bit) * stride + 8 * at;
                store(&mut planes[from..from + count], v);
            }
        }
    }
    wipe(&mut squares);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vbmi,gfni")]
fn unplanes_512(planes: &[u64], words: &mut [u64]) {
    use super::gemv::{load, store};
    let stride = words.len().div_ceil(64);
    let mut squares = [[_mm512_setzero_si512(); 8]; 8];
    for (at, words) in words.chunks_mut(512).enumerate() {
        let count = words.len().div_ceil(64);
        for byte in 0..8 {
            let mut v = [_mm512_setzero_si512(); 8];
            for (bit, v) in v.iter_mut().enumerate() {
                let from = (8 * byte + bit) * stride + 8 * at;
                *v = load(&planes[from..from + count]);
            }
            for (square, v) in squares.iter_mut().zip(super::shuffle::transposed(v)) {
                square[byte] = v;
            }
        }
        for (square, words) in squares.iter().zip(words.chunks_mut(64)) {
            for (words, v) in words.chunks_mut(8).zip(square_words(*square)) {
                store(words, v);
            }
        }
    }
    wipe(&mut squares);
}

/// Erases what the registers left in memory.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn wipe(squares: &mut [Square; 8]) {
    for v in squares.as_flattened_mut() {
        // SAFETY: a reference to a register in memory is valid and aligned.
        unsafe { core::ptr::write_volatile(v, _mm512_setzero_si512()) };
    }
}
