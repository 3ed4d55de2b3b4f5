//! Products of one fixed point by a scalar of its own in each lane.
//!
//! The multiples 1 to 16 of 32^i B lie limb by limb in two registers, so that a digit selects its multiple by permuting
//! registers: every lane reads the whole table, and no address follows from a scalar.

use core::arch::x86_64::*;

use super::Encoding;
use super::field::*;
use super::point::*;

/// Digits of 5 bits of a scalar below 2^252 that is raised by 16 in each of them.
const DIGITS: usize = 51;
/// Multiples of each power.
const MULTIPLES: usize = 16;
/// Limbs of a multiple: Y + X, Y - X, 2 d X Y.
const LIMBS: usize = 15;

/// The sum of 16 * 32^i, little-endian: added to a scalar it makes each digit 16 too high, so that none needs a carry.
const RAISE: [u8; 32] = {
    let mut out = [0u8; 32];
    let mut i = 0;
    while i < DIGITS {
        let bit = 5 * i + 4;
        out[bit / 8] |= 1 << (bit % 8);
        i += 1;
    }
    out
};

/// The multiples of a point.
pub(super) struct Table(Vec<[[u64; MULTIPLES]; LIMBS]>);

impl Table {
    /// Of the point of a valid encoding.
    pub(super) fn new(encoding: &Encoding) -> Self {
        // SAFETY: `Base` makes a table only where the lanes run.
        unsafe { build(encoding) }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn build(encoding: &Encoding) -> Table {
    let mut power = decode([[encoding; 8]; 2])[0].0;
    let mut table = vec![[[0; MULTIPLES]; LIMBS]; DIGITS];
    for place in &mut table {
        let one = summand(&power);
        let mut multiple = power;
        for m in 0..MULTIPLES {
            let inverse = invert(&multiple.z);
            let (x, y) = (mul(&multiple.x, &inverse), mul(&multiple.y, &inverse));
            let t2d = mul(&mul(&x, &y), &splat(&D2));
            for (part, f) in [add(&y, &x), sub(&y, &x), t2d].iter().enumerate() {
                for (limb, register) in freeze(f).0.into_iter().enumerate() {
                    place[5 * part + limb][m] = lanes(register)[0];
                }
            }
            multiple = plus::<true>(&multiple, &one);
        }
        for _ in 0..5 {
            power = double::<true>(&power);
        }
    }
    Table(table)
}

/// P + r B, or P - r B, with a scalar below 2^252 for each lane.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add_multiple(p: &P, table: &Table, scalars: [&[u8; 32]; 8], subtract: bool) -> P {
    let mut raised = [[0u8; 32]; 8];
    for (raised, scalar) in raised.iter_mut().zip(scalars) {
        *raised = *scalar;
        super::raise(raised, &RAISE);
    }
    let words = words(raised.each_ref());
    zeroize::Zeroize::zeroize(&mut raised);
    let mut q = *p;
    for (i, place) in table.0.iter().enumerate() {
        q = plus_affine(&q, &chosen(place, digit(&words, i), subtract));
    }
    q
}

/// Digit i of each lane, between -16 and 15.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn digit(words: &[__m512i; 4], i: usize) -> __m512i {
    let (word, shift) = (5 * i / 64, 5 * i % 64);
    let mut bits = _mm512_srlv_epi64(words[word], _mm512_set1_epi64(shift as i64));
    if shift > 59 && word < 3 {
        let rest = _mm512_sllv_epi64(words[word + 1], _mm512_set1_epi64(64 - shift as i64));
        bits = _mm512_or_si512(bits, rest);
    }
    _mm512_sub_epi64(_mm512_and_si512(bits, _mm512_set1_epi64(31)), _mm512_set1_epi64(16))
}

/// Each lane's multiple: that of the digit's size, negated where the digit is negative or all are to be subtracted.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn chosen(place: &[[u64; MULTIPLES]; LIMBS], digit: __m512i, subtract: bool) -> Affine {
    let size = _mm512_abs_epi64(digit);
    let index = _mm512_sub_epi64(size, _mm512_set1_epi64(1));
    let zero = _mm512_testn_epi64_mask(size, size);
    let negative = _mm512_movepi64_mask(digit) ^ if subtract { 0xff } else { 0 };
    let mut limbs = [_mm512_setzero_si512(); LIMBS];
    for (limb, entries) in limbs.iter_mut().zip(place) {
        // SAFETY: sixteen words are two registers; the instruction needs no alignment.
        let (low, high) = unsafe {
            let at: *const __m512i = entries.as_ptr().cast();
            (_mm512_loadu_si512(at), _mm512_loadu_si512(at.add(1)))
        };
        *limb = _mm512_permutex2var_epi64(low, index, high);
    }
    let part = |k: usize| F([limbs[k], limbs[k + 1], limbs[k + 2], limbs[k + 3], limbs[k + 4]]);
    let (one, none) = (small(1), small(0));
    let (plus, minus, t2d) =
        (select(zero, &part(0), &one), select(zero, &part(5), &one), select(zero, &part(10), &none));
    Affine {
        plus: select(negative, &plus, &minus),
        minus: select(negative, &minus, &plus),
        t2d: select(negative, &t2d, &neg(&t2d)),
    }
}
