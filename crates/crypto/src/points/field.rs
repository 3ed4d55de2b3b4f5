//! Eight elements of the field of 2^255 - 19, one in each lane, as five limbs of 51 bits.
//!
//! The multiplier takes 52 bits of each operand, so a limb has one bit to spare. *Reduced* limbs are below 2^51 + 2^15;
//! every function here takes reduced elements and gives reduced ones, unless it says *loose*: one sum or difference whose
//! carries have not been moved, to be passed to [`carry`].

use core::arch::x86_64::*;

/// Eight field elements.
#[derive(Clone, Copy)]
pub(super) struct F(pub [__m512i; 5]);

/// Limbs of one element.
pub(super) type Limbs = [u64; 5];

const LOW: i64 = (1 << 51) - 1;
/// Twice the prime: more than any reduced limb, so that differences stay positive.
const TWICE_P: Limbs = [(1 << 52) - 38, (1 << 52) - 2, (1 << 52) - 2, (1 << 52) - 2, (1 << 52) - 2];

/// The curve's constant d (RFC 9496, section 4.1), and those that follow from it.
pub(super) const D: Limbs = [929955233495203, 466365720129213, 1662059464998953, 2033849074728123, 1442794654840575];
/// 2 d.
pub(super) const D2: Limbs = [1859910466990425, 932731440258426, 1072319116312658, 1815898335770999, 633789495995903];
/// SQRT_M1.
pub(super) const SQRT_M1: Limbs =
    [1718705420411056, 234908883556509, 2233514472574048, 2117202627021982, 765476049583133];
/// SQRT_AD_MINUS_ONE.
pub(super) const SQRT_AD_MINUS_ONE: Limbs =
    [2241493124984347, 425987919032274, 2207028919301688, 1220490630685848, 974799131293748];
/// INVSQRT_A_MINUS_D.
pub(super) const INVSQRT_A_MINUS_D: Limbs =
    [278908739862762, 821645201101625, 8113234426968, 1777959178193151, 2118520810568447];
/// ONE_MINUS_D_SQ.
pub(super) const ONE_MINUS_D_SQ: Limbs =
    [1136626929484150, 1998550399581263, 496427632559748, 118527312129759, 45110755273534];
/// D_MINUS_ONE_SQ.
pub(super) const D_MINUS_ONE_SQ: Limbs =
    [1507062230895904, 1572317787530805, 683053064812840, 317374165784489, 1572899562415810];

/// One element in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn splat(limbs: &Limbs) -> F {
    let mut r = [_mm512_setzero_si512(); 5];
    for k in 0..5 {
        r[k] = _mm512_set1_epi64(limbs[k] as i64);
    }
    F(r)
}

/// A number below 2^51 in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn small(number: u64) -> F {
    splat(&[number, 0, 0, 0, 0])
}

/// Moves the carries of loose limbs below 2^62 once.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn carry(r: [__m512i; 5]) -> F {
    let low = _mm512_set1_epi64(LOW);
    let mut out = [_mm512_setzero_si512(); 5];
    // The carry of limb 4 has weight 2^255, which is 19.
    out[0] = _mm512_madd52lo_epu64(_mm512_and_si512(r[0], low), _mm512_srli_epi64(r[4], 51), _mm512_set1_epi64(19));
    for k in 1..5 {
        out[k] = _mm512_add_epi64(_mm512_and_si512(r[k], low), _mm512_srli_epi64(r[k - 1], 51));
    }
    F(out)
}

/// Takes ten columns of a product to five limbs: column k + 5 has 19 times the weight of column k.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn fold(z: [__m512i; 10]) -> F {
    let mut r = [_mm512_setzero_si512(); 5];
    for k in 0..5 {
        let h = z[k + 5];
        let times3 = _mm512_add_epi64(_mm512_add_epi64(h, h), h);
        r[k] = _mm512_add_epi64(_mm512_add_epi64(z[k], times3), _mm512_slli_epi64(h, 4));
    }
    carry(r)
}

/// a b. A high half has weight 2^52, twice that of the next column, so the high halves are summed and doubled before the low
/// halves come to them.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn mul(a: &F, b: &F) -> F {
    let mut z = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in 0..5 {
            z[i + j + 1] = _mm512_madd52hi_epu64(z[i + j + 1], a.0[i], b.0[j]);
        }
    }
    for column in &mut z[1..] {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..5 {
        for j in 0..5 {
            z[i + j] = _mm512_madd52lo_epu64(z[i + j], a.0[i], b.0[j]);
        }
    }
    fold(z)
}

/// a^2. What stands off the diagonal counts twice.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sq(a: &F) -> F {
    let a = &a.0;
    let mut z = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            z[i + j + 1] = _mm512_madd52hi_epu64(z[i + j + 1], a[i], a[j]);
        }
    }
    for column in &mut z[2..9] {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..5 {
        for j in i + 1..5 {
            z[i + j] = _mm512_madd52lo_epu64(z[i + j], a[i], a[j]);
        }
        z[2 * i + 1] = _mm512_madd52hi_epu64(z[2 * i + 1], a[i], a[i]);
    }
    for column in &mut z[1..] {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..5 {
        z[2 * i] = _mm512_madd52lo_epu64(z[2 * i], a[i], a[i]);
    }
    fold(z)
}

/// a + b, loose.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add_loose(a: [__m512i; 5], b: &F) -> [__m512i; 5] {
    let mut r = a;
    for k in 0..5 {
        r[k] = _mm512_add_epi64(r[k], b.0[k]);
    }
    r
}

/// a - b, loose. `a` may be loose.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sub_loose(a: [__m512i; 5], b: &F) -> [__m512i; 5] {
    let mut r = a;
    for k in 0..5 {
        r[k] = _mm512_add_epi64(r[k], _mm512_sub_epi64(_mm512_set1_epi64(TWICE_P[k] as i64), b.0[k]));
    }
    r
}

/// a + b.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add(a: &F, b: &F) -> F {
    carry(add_loose(a.0, b))
}

/// a - b.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sub(a: &F, b: &F) -> F {
    carry(sub_loose(a.0, b))
}

/// -a.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn neg(a: &F) -> F {
    carry(sub_loose([_mm512_setzero_si512(); 5], a))
}

/// `b` in the lanes of the mask, `a` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn select(mask: __mmask8, a: &F, b: &F) -> F {
    let mut r = a.0;
    for k in 0..5 {
        r[k] = _mm512_mask_blend_epi64(mask, a.0[k], b.0[k]);
    }
    F(r)
}

/// The limbs of the only representative below the prime.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn freeze(a: &F) -> F {
    let (low, nineteen) = (_mm512_set1_epi64(LOW), _mm512_set1_epi64(19));
    let mut r = a.0;
    // Reduced limbs are below 2^52, so one pass leaves less than 2^255 + 19, and limb 0 at most 19 over.
    for k in 0..4 {
        r[k + 1] = _mm512_add_epi64(r[k + 1], _mm512_srli_epi64(r[k], 51));
        r[k] = _mm512_and_si512(r[k], low);
    }
    r[0] = _mm512_madd52lo_epu64(r[0], _mm512_srli_epi64(r[4], 51), nineteen);
    r[4] = _mm512_and_si512(r[4], low);
    // q is 1 where the value is the prime or more: then value + 19 reaches 2^255.
    let mut q = _mm512_srli_epi64(_mm512_add_epi64(r[0], nineteen), 51);
    for limb in &r[1..] {
        q = _mm512_srli_epi64(_mm512_add_epi64(*limb, q), 51);
    }
    r[0] = _mm512_madd52lo_epu64(r[0], q, nineteen);
    for k in 0..4 {
        r[k + 1] = _mm512_add_epi64(r[k + 1], _mm512_srli_epi64(r[k], 51));
        r[k] = _mm512_and_si512(r[k], low);
    }
    r[4] = _mm512_and_si512(r[4], low);
    F(r)
}

/// Lanes whose element is negative: odd, in the sense of RFC 9496, section 4.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn is_negative(a: &F) -> __mmask8 {
    _mm512_test_epi64_mask(freeze(a).0[0], _mm512_set1_epi64(1))
}

/// Lanes whose element is zero.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn is_zero(a: &F) -> __mmask8 {
    let [a, b, c, d, e] = freeze(a).0;
    let any = _mm512_or_si512(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d)), e);
    _mm512_testn_epi64_mask(any, any)
}

/// The non-negative one of a and -a.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn abs(a: &F) -> F {
    select(is_negative(a), a, &neg(a))
}

/// Two elements, each squared `times` times. Squarings of one follow from each other, so two are taken side by side to keep
/// the multipliers busy.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn squares(a: &[F; 2], times: usize) -> [F; 2] {
    let [mut x, mut y] = *a;
    for _ in 0..times {
        x = sq(&x);
        y = sq(&y);
    }
    [x, y]
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn mul2(a: &[F; 2], b: &[F; 2]) -> [F; 2] {
    [mul(&a[0], &b[0]), mul(&a[1], &b[1])]
}

/// Two elements to the power 2^250 - 1, and to the power 11.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn power(z: &[F; 2]) -> ([F; 2], [F; 2]) {
    let z2 = squares(z, 1);
    let z9 = mul2(&squares(&z2, 2), z);
    let z11 = mul2(&z9, &z2);
    let ones5 = mul2(&squares(&z11, 1), &z9);
    let ones10 = mul2(&squares(&ones5, 5), &ones5);
    let ones20 = mul2(&squares(&ones10, 10), &ones10);
    let ones40 = mul2(&squares(&ones20, 20), &ones20);
    let ones50 = mul2(&squares(&ones40, 10), &ones10);
    let ones100 = mul2(&squares(&ones50, 50), &ones50);
    let ones200 = mul2(&squares(&ones100, 100), &ones100);
    (mul2(&squares(&ones200, 50), &ones50), z11)
}

/// 1 / z, or 0 of 0.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn invert(z: &F) -> F {
    let (ones250, z11) = power(&[*z, *z]);
    mul(&squares(&ones250, 5)[0], &z11[0])
}

/// SQRT_RATIO_M1 (RFC 9496, section 4.2) of two fractions: lanes in which it was a square, and the root.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sqrt_ratio(u: &[F; 2], v: &[F; 2]) -> [(__mmask8, F); 2] {
    let v3 = mul2(&squares(v, 1), v);
    let v7 = mul2(&squares(&v3, 1), v);
    // (p - 5) / 8 is 2^252 - 3.
    let uv7 = mul2(u, &v7);
    let root = mul2(&squares(&power(&uv7).0, 2), &uv7);
    let root = mul2(&mul2(u, &v3), &root);
    [fitted(&u[0], &v[0], &root[0]), fitted(&u[1], &v[1], &root[1])]
}

/// Turns a root of plus or minus u / v, or of those times the root of -1, into the answer.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn fitted(u: &F, v: &F, r: &F) -> (__mmask8, F) {
    let i = splat(&SQRT_M1);
    let check = mul(v, &sq(r));
    let correct = is_zero(&sub(&check, u));
    let flipped = is_zero(&add(&check, u));
    let flipped_i = is_zero(&add(&check, &mul(u, &i)));
    let turned = mul(r, &i);
    (correct | flipped, abs(&select(flipped | flipped_i, r, &turned)))
}

/// Eight elements from 32 little-endian bytes each, without bit 255.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn load(bytes: [&[u8; 32]; 8]) -> F {
    let [a, b, c, d] = words(bytes);
    let low = _mm512_set1_epi64(LOW);
    let cut = |v: __m512i| _mm512_and_si512(v, low);
    F([
        cut(a),
        cut(_mm512_or_si512(_mm512_srli_epi64(a, 51), _mm512_slli_epi64(b, 13))),
        cut(_mm512_or_si512(_mm512_srli_epi64(b, 38), _mm512_slli_epi64(c, 26))),
        cut(_mm512_or_si512(_mm512_srli_epi64(c, 25), _mm512_slli_epi64(d, 39))),
        cut(_mm512_srli_epi64(d, 12)),
    ])
}

/// The four 64-bit words of 32 bytes, lane by lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn words(bytes: [&[u8; 32]; 8]) -> [__m512i; 4] {
    let mut out = [_mm512_setzero_si512(); 4];
    for (k, out) in out.iter_mut().enumerate() {
        let mut lanes = [0; 8];
        for (lane, bytes) in lanes.iter_mut().zip(bytes) {
            *lane = i64::from_le_bytes(bytes.as_chunks::<8>().0[k]); // proof: 32 bytes are four words.
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        *out = _mm512_set_epi64(h, g, f, e, d, c, b, a);
    }
    out
}

/// The canonical 32 bytes of eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn store(a: &F) -> [[u8; 32]; 8] {
    let [a, b, c, d, e] = freeze(a).0;
    let words = [
        _mm512_or_si512(a, _mm512_slli_epi64(b, 51)),
        _mm512_or_si512(_mm512_srli_epi64(b, 13), _mm512_slli_epi64(c, 38)),
        _mm512_or_si512(_mm512_srli_epi64(c, 26), _mm512_slli_epi64(d, 25)),
        _mm512_or_si512(_mm512_srli_epi64(d, 39), _mm512_slli_epi64(e, 12)),
    ];
    let mut out = [[0; 32]; 8];
    for (k, word) in words.into_iter().enumerate() {
        for (out, word) in out.iter_mut().zip(lanes(word)) {
            out.as_chunks_mut::<8>().0[k] = word.to_le_bytes(); // proof: 32 bytes are four words.
        }
    }
    out
}

/// The lanes of a register.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn lanes(register: __m512i) -> [u64; 8] {
    let mut out = [0; 8];
    // SAFETY: the array has the 64 bytes that are written, and the instruction needs no alignment.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), register) };
    out
}
