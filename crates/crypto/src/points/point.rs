//! Eight points of the Edwards curve behind ristretto255, one in each lane, in extended coordinates (Hisil, Wong, Carter and
//! Dawson 2008) with a = -1, and the maps of RFC 9496.

use core::arch::x86_64::*;

use super::field::*;
use super::{Encoding, erase};

/// Eight points: x = X / Z, y = Y / Z, x y = T / Z.
#[derive(Clone, Copy)]
pub(super) struct P {
    pub x: F,
    pub y: F,
    pub z: F,
    pub t: F,
}

/// A point as a summand: Y + X, Y - X, 2 Z, 2 d T.
#[derive(Clone, Copy)]
pub(super) struct Summand {
    pub plus: F,
    pub minus: F,
    pub z2: F,
    pub t2d: F,
}

/// A point with Z = 1 as a summand.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub plus: F,
    pub minus: F,
    pub t2d: F,
}

/// The identity.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn identity() -> P {
    P { x: small(0), y: small(1), z: small(1), t: small(0) }
}

/// A point as a summand.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn summand(p: &P) -> Summand {
    Summand { plus: add(&p.y, &p.x), minus: sub(&p.y, &p.x), z2: add(&p.z, &p.z), t2d: mul(&p.t, &splat(&D2)) }
}

/// 2 P. T is left as it was unless it is asked for: the next doubling does not read it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn double<const WITH_T: bool>(p: &P) -> P {
    let (a, b, zz) = (sq(&p.x), sq(&p.y), sq(&p.z));
    let s = sq(&add(&p.x, &p.y));
    // All four factors have the opposite sign of the paper's; each product has two of them.
    let sum = add_loose(a.0, &b);
    let difference = sub_loose(a.0, &b);
    let e = carry(sub_loose(sum, &s));
    let f = carry(add_loose(add_loose(difference, &zz), &zz));
    let (g, h) = (carry(difference), carry(sum));
    P { x: mul(&e, &f), y: mul(&g, &h), z: mul(&f, &g), t: if WITH_T { mul(&e, &h) } else { p.t } }
}

/// P + Q. T is left as it was unless it is asked for.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn plus<const WITH_T: bool>(p: &P, q: &Summand) -> P {
    let d = mul(&p.z, &q.z2);
    finish::<WITH_T>(p, &q.plus, &q.minus, &q.t2d, &d)
}

/// P + Q for Q with Z = 1.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn plus_affine(p: &P, q: &Affine) -> P {
    let d = add(&p.z, &p.z);
    finish::<true>(p, &q.plus, &q.minus, &q.t2d, &d)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn finish<const WITH_T: bool>(p: &P, plus: &F, minus: &F, t2d: &F, d: &F) -> P {
    let a = mul(&sub(&p.y, &p.x), minus);
    let b = mul(&add(&p.y, &p.x), plus);
    let c = mul(&p.t, t2d);
    let (e, f, g, h) = (sub(&b, &a), sub(d, &c), add(d, &c), add(&b, &a));
    P { x: mul(&e, &f), y: mul(&g, &h), z: mul(&f, &g), t: if WITH_T { mul(&e, &h) } else { p.t } }
}

/// P to 8 P.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn multiples(p: &P) -> [Summand; 8] {
    let one = summand(p);
    let mut table = [one; 8];
    let mut multiple = *p;
    for entry in &mut table[1..] {
        multiple = plus::<true>(&multiple, &one);
        *entry = summand(&multiple);
    }
    table
}

/// Eight points with a weight each.
pub(super) struct Weighed {
    table: [Summand; 8],
    /// Weights, low and high words, raised by 8 in each of their 32 digits of 4 bits.
    words: [__m512i; 2],
    /// Lanes in which that went beyond 128 bits.
    over: __mmask8,
}

/// Digits of a weight.
const DIGITS: usize = 32;

impl Weighed {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    pub(super) fn new(p: &P, weights: [u128; 8]) -> Self {
        let (mut low, mut high, mut over) = ([0i64; 8], [0i64; 8], 0);
        for (lane, weight) in weights.into_iter().enumerate() {
            let (raised, carry) = weight.overflowing_add(u128::from_le_bytes([0x88; 16]));
            (low[lane], high[lane]) = (raised as i64, (raised >> 64) as i64);
            over |= u8::from(carry) << lane;
        }
        let register = |[a, b, c, d, e, f, g, h]: [i64; 8]| _mm512_set_epi64(h, g, f, e, d, c, b, a);
        Self { table: multiples(p), words: [register(low), register(high)], over }
    }

    /// Digit i of each lane, between -8 and 7.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn digit(&self, i: usize) -> __m512i {
        let bits = _mm512_srlv_epi64(self.words[i / 16], _mm512_set1_epi64(4 * (i % 16) as i64));
        _mm512_sub_epi64(_mm512_and_si512(bits, _mm512_set1_epi64(15)), _mm512_set1_epi64(8))
    }
}

/// The sum of weighed points, lane by lane (Straus): all are doubled together.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sum(all: &[Weighed]) -> P {
    let mut q = identity();
    for w in all {
        let digit = _mm512_maskz_set1_epi64(w.over, 1);
        q = plus::<true>(&q, &scan(&w.table, digit));
    }
    for i in (0..DIGITS).rev() {
        for _ in 0..3 {
            q = double::<false>(&q);
        }
        q = double::<true>(&q);
        for w in all {
            q = plus::<true>(&q, &scan(&w.table, w.digit(i)));
        }
    }
    q
}

/// k P for one k in digits of 4 bits, each 8 too high. The digit's multiple is found by looking at all of them.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn multiply(p: &P, digits: &[u8; 64]) -> P {
    let table = multiples(p);
    let mut q = identity();
    for (i, digit) in digits.iter().enumerate().rev() {
        for _ in 0..3 {
            q = double::<false>(&q);
        }
        q = double::<true>(&q);
        let chosen = scan(&table, _mm512_set1_epi64(i64::from(*digit) - 8));
        q = if i == 0 { plus::<true>(&q, &chosen) } else { plus::<false>(&q, &chosen) };
    }
    q
}

/// Each lane's multiple for its digit between -8 and 7, negated where it is negative.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn scan(table: &[Summand; 8], digit: __m512i) -> Summand {
    let size = _mm512_abs_epi64(digit);
    let (zero, one) = (small(0), small(1));
    let mut chosen = Summand { plus: one, minus: one, z2: small(2), t2d: zero };
    for (i, entry) in table.iter().enumerate() {
        let this = _mm512_cmpeq_epi64_mask(size, _mm512_set1_epi64(i as i64 + 1));
        chosen.plus = select(this, &chosen.plus, &entry.plus);
        chosen.minus = select(this, &chosen.minus, &entry.minus);
        chosen.z2 = select(this, &chosen.z2, &entry.z2);
        chosen.t2d = select(this, &chosen.t2d, &entry.t2d);
    }
    let negative = _mm512_movepi64_mask(digit);
    Summand {
        plus: select(negative, &chosen.plus, &chosen.minus),
        minus: select(negative, &chosen.minus, &chosen.plus),
        z2: chosen.z2,
        t2d: select(negative, &chosen.t2d, &neg(&chosen.t2d)),
    }
}

/// DECODE (RFC 9496, section 4.3.1) of twice eight encodings: the points, and lanes that are no encoding or that of the
/// identity.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn decode(encodings: [[&Encoding; 8]; 2]) -> [(P, __mmask8); 2] {
    let one = small(1);
    let s = [load(encodings[0]), load(encodings[1])];
    let parts = [decode_parts(&s[0]), decode_parts(&s[1])];
    let vu = [mul(&parts[0].2, &parts[0].1), mul(&parts[1].2, &parts[1].1)];
    let roots = sqrt_ratio(&[one, one], &vu);
    [decode_end(encodings[0], &s[0], &parts[0], &roots[0]), decode_end(encodings[1], &s[1], &parts[1], &roots[1])]
}

/// u2, u2^2, v and u1 of the RFC.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn decode_parts(s: &F) -> (F, F, F, F) {
    let (one, ss) = (small(1), sq(s));
    let (u1, u2) = (sub(&one, &ss), add(&one, &ss));
    let u2_squared = sq(&u2);
    let v = neg(&add(&mul(&splat(&D), &sq(&u1)), &u2_squared));
    (u2, u2_squared, v, u1)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn decode_end(
    encodings: [&Encoding; 8],
    s: &F,
    (u2, _, v, u1): &(F, F, F, F),
    (was_square, root): &(__mmask8, F),
) -> (P, __mmask8) {
    let mut bad = is_negative(s) | is_zero(s) | !*was_square;
    for (lane, (again, given)) in store(s).iter().zip(encodings).enumerate() {
        bad |= u8::from(again != given) << lane;
    }
    let den_x = mul(root, u2);
    let den_y = mul(&mul(root, &den_x), v);
    let x = abs(&mul(&add(s, s), &den_x));
    let y = mul(u1, &den_y);
    let t = mul(&x, &y);
    bad |= is_negative(&t) | is_zero(&y);
    (P { x, y, z: small(1), t }, bad)
}

/// The element derivation function (RFC 9496, section 4.3.4) of eight times 64 uniform bytes.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn derive(first: [&[u8; 32]; 8], second: [&[u8; 32]; 8]) -> P {
    let t = [load(first), load(second)];
    let parts = [map_parts(&t[0]), map_parts(&t[1])];
    let roots = sqrt_ratio(&[parts[0].1, parts[1].1], &[parts[0].2, parts[1].2]);
    let p = map_end(&t[0], &parts[0], &roots[0]);
    let q = map_end(&t[1], &parts[1], &roots[1]);
    plus::<true>(&p, &summand(&q))
}

/// r, u and v of MAP.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn map_parts(t: &F) -> (F, F, F) {
    let (one, d) = (small(1), splat(&D));
    let r = mul(&splat(&SQRT_M1), &sq(t));
    let u = mul(&add(&r, &one), &splat(&ONE_MINUS_D_SQ));
    let v = mul(&neg(&add(&one, &mul(&r, &d))), &add(&r, &d));
    (r, u, v)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn map_end(t: &F, (r, _, v): &(F, F, F), (was_square, root): &(__mmask8, F)) -> P {
    let one = small(1);
    let other = neg(&abs(&mul(root, t)));
    let s = select(*was_square, &other, root);
    let c = select(*was_square, r, &neg(&one));
    let n = sub(&mul(&mul(&c, &sub(r, &one)), &splat(&D_MINUS_ONE_SQ)), v);
    let ss = sq(&s);
    let w0 = mul(&add(&s, &s), v);
    let w1 = mul(&n, &splat(&SQRT_AD_MINUS_ONE));
    let (w2, w3) = (sub(&one, &ss), add(&one, &ss));
    P { x: mul(&w0, &w3), y: mul(&w2, &w1), z: mul(&w1, &w3), t: mul(&w0, &w2) }
}

/// What the encoding of a doubled point is made of, before the inversion that all points share.
#[derive(Clone, Copy)]
struct Doubled {
    e: F,
    f: F,
    g: F,
    h: F,
    eg: F,
    fh: F,
    /// e f g h, or 1 where that is zero.
    product: F,
    /// Lanes whose doubled point is the identity.
    identity: __mmask8,
    /// The product of all before.
    before: F,
}

/// The encodings of 2 P for each P: doubling makes the square root in ENCODE (RFC 9496, section 4.3.2) one of a known
/// square, so that inversions are all that is left, and those are done together (Montgomery 1987).
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn encode_doubled(points: &[P], mut out: impl FnMut(usize, [Encoding; 8])) {
    let (one, d) = (small(1), splat(&D));
    let mut before = one;
    let mut parts = Vec::with_capacity(points.len());
    for p in points {
        let (xx, yy, zz, dtt) = (sq(&p.x), sq(&p.y), sq(&p.z), mul(&sq(&p.t), &d));
        let e = mul(&p.x, &add(&p.y, &p.y));
        let (f, g, h) = (add(&zz, &dtt), add(&yy, &xx), sub(&zz, &dtt));
        let (eg, fh) = (mul(&e, &g), mul(&f, &h));
        let product = mul(&eg, &fh);
        let identity = is_zero(&product);
        let product = select(identity, &product, &one);
        parts.push(Doubled { e, f, g, h, eg, fh, product, identity, before });
        before = mul(&before, &product);
    }
    let mut inverse = invert(&before);
    for (i, part) in parts.iter().enumerate().rev() {
        let own = mul(&inverse, &part.before);
        inverse = mul(&inverse, &part.product);
        out(i, store(&encode_end(part, &select(part.identity, &own, &small(0)))));
    }
    let nothing = Doubled { e: one, f: one, g: one, h: one, eg: one, fh: one, product: one, identity: 0, before: one };
    erase(&mut parts, nothing);
}

/// s of the encoding, from 1 / (e f g h).
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn encode_end(part: &Doubled, inverse: &F) -> F {
    let (i, a_minus_d) = (splat(&SQRT_M1), splat(&INVSQRT_A_MINUS_D));
    let z_inverse = mul(&part.eg, inverse);
    let t_inverse = mul(&part.fh, inverse);
    // The rotation by a point of order four, where x y of the doubled point is negative.
    let rotate = is_negative(&mul(&part.eg, &z_inverse));
    let e = select(rotate, &part.e, &part.g);
    let g = select(rotate, &part.g, &neg(&part.e));
    let h = select(rotate, &part.h, &mul(&part.f, &i));
    let magic = select(rotate, &a_minus_d, &i);
    let flip = is_negative(&mul(&mul(&h, &e), &z_inverse));
    let g = select(flip, &g, &neg(&g));
    abs(&mul(&sub(&h, &g), &mul(&magic, &mul(&g, &t_inverse))))
}
