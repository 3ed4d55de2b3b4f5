//! The logistic function as a sine series (Boura et al., SCN 2018): one round, for training alone. A
//! recipient of scores applies it in clear.

use zeroize::Zeroizing;

use crate::fx::Fx;
use crate::group::Group;
use crate::prep::{Dealing, Stock};
use crate::value::{Blinded, Pad, Share, Words};
use crate::wire::{Flow, Lane};

/// Fraction bits of a dealt sine, and of a public coefficient.
const SINE_BITS: u32 = 22;
const COEFFICIENT_BITS: u32 = 20;
/// Fraction bits of the result.
pub(crate) const RESULT_BITS: u8 = (SINE_BITS + COEFFICIENT_BITS) as u8;
/// Odd harmonics that are dealt, for either range.
const HARMONICS: usize = 16;

/// Coefficients of odd harmonics, in units of 2^-30, for |x| <= 8 with period 32: error below 4e-5. The
/// unused ones are zero, so that both ranges have one shape.
const NARROW: [i64; HARMONICS] =
    [642_153_545, 135_814_906, 38_722_229, 11_207_645, 3_298_235, 930_465, 305_836, 56_544, 0, 0, 0, 0, 0, 0, 0, 0];
/// For |x| <= 16 with period 64: error below 2.5e-5.
const WIDE: [i64; HARMONICS] = [
    672_846_895,
    198_320_549,
    94_529_527,
    49_334_997,
    26_370_764,
    14_191_549,
    7_652_227,
    4_128_481,
    2_227_761,
    1_202_158,
    648_744,
    350_077,
    188_930,
    101_944,
    55_026,
    41_883,
];

/// The most that |x| may be.
pub(crate) const RANGE_MAX: u32 = 16;

/// Bits of the opened difference: fraction bits and those of the period.
pub(crate) fn period_bits(x: Fx) -> u32 {
    u32::from(x.f) + if is_narrow(x) { 5 } else { 6 }
}

fn is_narrow(x: Fx) -> bool {
    u32::from(x.b) - 1 <= u32::from(x.f) + 3
}

/// Sine and cosine of a full turn's part `at / 2^bits`, by operations that give the same bits everywhere:
/// parties on different machines must agree on the public factors to the last bit.
fn turn(at: u64, bits: u32) -> (f64, f64) {
    let at = if bits >= 3 { at } else { at << (3 - bits) };
    let bits = bits.max(3);
    let eighth = 1u64 << (bits - 3);
    let quarter = (at.wrapping_add(eighth) >> (bits - 2)) & 3;
    let rest = at.wrapping_sub(quarter << (bits - 2)) & ((1 << bits) - 1);
    // The rest is within an eighth of a turn of zero, on either side.
    let signed = if rest >= 1 << (bits - 1) { rest as i64 - (1i64 << bits) } else { rest as i64 };
    let angle = signed as f64 / (1u64 << bits) as f64 * core::f64::consts::TAU;
    let square = angle * angle;
    let series = |start: f64, first: u32| {
        let (mut term, mut sum, mut k) = (start, start, f64::from(first));
        for _ in 0..9 {
            term = -term * square / (k * (k + 1.0));
            sum += term;
            k += 2.0;
        }
        sum
    };
    let (s, c) = (series(angle, 2), series(1.0, 1));
    match quarter {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// Sines and cosines of the odd multiples.
fn odd_multiples(at: u64, bits: u32) -> impl Iterator<Item = (f64, f64)> {
    (0..HARMONICS as u64).map(move |k| turn(at.wrapping_mul(2 * k + 1) & ((1u64 << bits) - 1), bits))
}

fn fixed(x: f64, bits: u32) -> u64 {
    (x * (1u64 << bits) as f64).round() as i64 as u64
}

/// A pad r, and shares of the sines and cosines of its odd multiples.
pub struct Sines {
    r: Pad,
    sines: Words,
}

const fn fixed_words(n: usize) -> usize {
    2 * HARMONICS * n
}

pub(crate) const fn fixed_bytes(n: usize) -> usize {
    8 * fixed_words(n)
}

pub(crate) fn flows(parties: usize, n: usize, x: Fx) -> Vec<Vec<Flow>> {
    let all = Group::first(parties);
    vec![vec![Flow { from: all, to: all, count: n as u64, bits: period_bits(x) as u8 }]]
}

impl Sines {
    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize) -> Self {
        Self { r: stock.pad(n), sines: stock.fixed(fixed_words(n)) }
    }

    /// Deals what [`Sines::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, x: Fx) {
        let bits = period_bits(x);
        let r = dealing.free(n);
        let pairs = r.iter().flat_map(|r| odd_multiples(r & ((1 << bits) - 1), bits));
        let words = pairs.flat_map(|(s, c)| [fixed(s, SINE_BITS), fixed(c, SINE_BITS)]);
        dealing.fix(Zeroizing::new(words.collect()));
    }
}

/// 1 / (1 + e^-x) with 42 fraction bits, for |x| <= 16. One round; fraction bits and 5 or 6 more an
/// element to each other party; 256 bytes an element are dealt.
///
/// sin(w (c - r)) = sin(w c) cos(w r) - cos(w c) sin(w r): with c open it is linear in what was dealt.
pub async fn sigmoid(lane: &Lane, x: &Share, format: Fx, material: Sines) -> Share {
    let bits = period_bits(format);
    let (Blinded(c), _) = x.blind_up(material.r);
    let [c] = lane.round([lane.open(Blinded(c), bits as u8)]).await;
    let coefficients = if is_narrow(format) { &NARROW } else { &WIDE };
    let half = if lane.leads() { 1u64 << (SINE_BITS + COEFFICIENT_BITS - 1) } else { 0 };
    let one = |(c, dealt): (&u64, &[u64])| {
        let mut sum = half;
        for ((s, cosine), (dealt, a)) in odd_multiples(*c, bits).zip(dealt.as_chunks::<2>().0.iter().zip(coefficients))
        {
            let a = *a as f64 / (1u64 << 30) as f64;
            let ([sine_r, cosine_r], s, t) =
                (dealt, fixed(a * s, COEFFICIENT_BITS), fixed(a * cosine, COEFFICIENT_BITS));
            sum = sum.wrapping_add(s.wrapping_mul(*cosine_r)).wrapping_sub(t.wrapping_mul(*sine_r));
        }
        sum
    };
    Share::new(c.0.iter().zip(material.sines.chunks_exact(2 * HARMONICS)).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_those_of_the_library() {
        for bits in [1u32, 3, 21, 37] {
            for i in 0..1000u64 {
                let at = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & ((1 << bits) - 1);
                let (s, c) = turn(at, bits);
                let angle = at as f64 / (1u64 << bits) as f64 * core::f64::consts::TAU;
                assert!((s - angle.sin()).abs() < 1e-12 && (c - angle.cos()).abs() < 1e-12, "{at} of {bits}");
            }
        }
    }

    #[test]
    fn the_series_are_as_close_as_stated() {
        for (coefficients, range, period, error) in [(&NARROW, 8.0, 32.0, 4e-5), (&WIDE, 16.0, 64.0, 2.5e-5)] {
            for i in -4000..=4000 {
                let x = f64::from(i) / 4000.0 * range;
                let term = |(k, a): (usize, &i64)| {
                    (core::f64::consts::TAU * (2 * k + 1) as f64 * x / period).sin() * *a as f64 / (1u64 << 30) as f64
                };
                let y = 0.5 + coefficients.iter().enumerate().map(term).sum::<f64>();
                assert!((y - 1.0 / (1.0 + (-x).exp())).abs() < error, "at {x}");
            }
        }
    }
}
