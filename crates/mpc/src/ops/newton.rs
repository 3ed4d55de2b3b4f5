//! Reciprocal and reciprocal square root: the number is brought into one binade by comparisons with
//! powers of two, then Newton's iteration.

use std::collections::VecDeque;

use crate::fx::Fx;
use crate::ops::mul::{Triple, multiply};
use crate::ops::rank::{self, BandMaterial};
use crate::ops::trunc::{Truncation, truncate};
use crate::plan::cost_parts::open_words;
use crate::prep::{Dealing, Stock};
use crate::value::Share;
use crate::wire::{Flow, Lane};

/// Fraction bits inside the iteration.
const F: u8 = 26;
const ITERATIONS: usize = 3;
/// Bits of the widest input.
pub(crate) const INPUT_BITS_MAX: u8 = 33;

/// A function of 0 < x: 1 / x, or 1 / sqrt(x) with `root`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inverse {
    /// The format of x.
    pub from: Fx,
    /// Fraction bits of the result.
    pub f: u8,
    /// Whether of the square root.
    pub root: bool,
}

/// One multiplication or truncation of the iteration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Move {
    Times,
    Shift(u8),
}

enum Material {
    Times(Triple),
    Shift(Truncation, u8),
}

impl Inverse {
    /// Digits of base 2, or 4 for the root, of the widest input.
    fn digits(self) -> u8 {
        let bits = self.from.b - 1;
        if self.root { bits.div_ceil(2) } else { bits }
    }

    /// Bits of the input once it is brought into the highest binade.
    fn normal_bits(self) -> u8 {
        if self.root { 2 * self.digits() } else { self.digits() }
    }

    /// The powers below which x is looked for.
    fn edges(self) -> Vec<u64> {
        let step = if self.root { 2 } else { 1 };
        (1..self.digits()).map(|j| 1u64 << (step * j)).collect()
    }

    /// The last shift, from the product's fraction to the result's; `None` where it is not a shift right.
    pub(crate) fn last_shift(self) -> Option<u8> {
        let down = if self.root { self.from.f / 2 } else { self.from.f };
        (self.digits() + F).checked_sub(down)?.checked_sub(self.f)
    }

    fn moves(self) -> Vec<Move> {
        let mut moves = vec![Move::Times];
        if self.normal_bits() > F {
            moves.push(Move::Shift(self.normal_bits() - F));
        }
        moves.push(Move::Shift(if self.root { 4 } else { 3 }));
        for _ in 0..ITERATIONS {
            moves.extend([Move::Times, Move::Shift(F), Move::Times]);
            moves.extend(if self.root {
                vec![Move::Shift(F), Move::Times, Move::Shift(F + 1)]
            } else {
                vec![Move::Shift(F)]
            });
        }
        moves.extend([Move::Times, Move::Shift(self.last_shift().unwrap_or(0))]);
        moves
    }
}

/// Everything that an inverse draws.
pub struct InverseMaterial {
    below: BandMaterial,
    moves: VecDeque<Material>,
}

impl InverseMaterial {
    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, inverse: Inverse) -> Self {
        let below = BandMaterial::draw(stock, n, (64, 64), inverse.edges().len());
        let draw = |m: Move| match m {
            Move::Times => Material::Times(Triple::draw(stock, n, 64)),
            Move::Shift(by) => Material::Shift(Truncation::draw(stock, n, 64, 64), by),
        };
        Self { below, moves: inverse.moves().into_iter().map(draw).collect() }
    }

    /// Deals what [`InverseMaterial::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, inverse: Inverse) {
        BandMaterial::deal(dealing, n, (64, 64), inverse.edges().len());
        for m in inverse.moves() {
            match m {
                Move::Times => Triple::deal(dealing, n, 64),
                Move::Shift(by) => Truncation::deal(dealing, n, (64, 64), by),
            }
        }
    }
}

pub(crate) fn fixed_bytes(n: usize, inverse: Inverse) -> usize {
    let one = |m: &Move| if *m == Move::Times { Triple::fixed_bytes(n, 64) } else { Truncation::fixed_bytes(n, 64) };
    BandMaterial::fixed_bytes(n, (64, 64), inverse.edges().len()) + inverse.moves().iter().map(one).sum::<usize>()
}

pub(crate) fn flows(parties: usize, n: usize, inverse: Inverse) -> Vec<Vec<Flow>> {
    let mut rounds = rank::band_flows(parties, n, 64, inverse.edges().len());
    let open = open_words(parties, n, 64);
    rounds.extend(inverse.moves().iter().map(|m| vec![open; if *m == Move::Times { 2 } else { 1 }]));
    rounds
}

/// The arithmetic of one run.
struct Engine<'a> {
    lane: &'a Lane,
    moves: VecDeque<Material>,
}

impl Engine<'_> {
    /// The product, shifted by the next move.
    async fn times(&mut self, x: &Share, y: &Share) -> Share {
        let z = match self.moves.pop_front() {
            Some(Material::Times(triple)) => multiply(self.lane, x, y, triple).await,
            _ => Share::new(Vec::new()),
        };
        self.shift(z).await
    }

    async fn shift(&mut self, x: Share) -> Share {
        match self.moves.pop_front() {
            Some(Material::Shift(t, by)) => truncate(self.lane, &x, by, t).await,
            Some(other) => {
                self.moves.push_front(other);
                x
            }
            None => x,
        }
    }

    /// `constant - factor x`.
    fn affine(&self, constant: u64, factor: u64, x: &Share) -> Share {
        let constant = if self.lane.leads() { constant } else { 0 };
        x.map(|x| constant.wrapping_sub(factor.wrapping_mul(x)))
    }
}

/// 1 / x or 1 / sqrt(x) for 0 < x, to about 2^-22 of itself; anything for other x. Rounds and bytes as the
/// plan counts them: a band's, then two for most of the nine or twelve products.
pub async fn inverse(lane: &Lane, x: &Share, inverse: Inverse, material: InverseMaterial) -> Share {
    let n = x.len();
    let below = rank::below(lane, x, &inverse.edges(), material.below).await;
    let lead = u64::from(lane.leads());
    // The factors that bring x, and its inverse, to the highest digit: one more for each power above x.
    let (mut scale, mut back) = (Share::new(vec![lead; n]), Share::new(vec![lead; n]));
    let last = u32::from(inverse.digits());
    for (j, below) in (1..last).zip(&below) {
        let rest = last - 1 - j;
        let (a, b) = if inverse.root { (3u64 << (2 * rest), 1u64 << rest) } else { (1u64 << rest, 1u64 << rest) };
        for (i, t) in below.0.iter().enumerate() {
            scale.0[i] = scale.0[i].wrapping_add(t.wrapping_mul(a)); // proof: all have the length of x.
            back.0[i] = back.0[i].wrapping_add(t.wrapping_mul(b));
        }
    }
    let mut engine = Engine { lane, moves: material.moves };
    let bits = inverse.normal_bits();
    let v = if bits > F {
        engine.times(x, &scale).await
    } else {
        // Nothing to shift: the first move is the product alone, the next belongs to the first guess.
        let product = match engine.moves.pop_front() {
            Some(Material::Times(triple)) => multiply(lane, x, &scale, triple).await,
            _ => Share::new(Vec::new()),
        };
        product.map(|w| w << (F - bits))
    };
    let y = if inverse.root { engine.affine(34 << F, 19, &v) } else { engine.affine((45 << F) / 2, 15, &v) };
    let mut y = engine.shift(y).await;
    for _ in 0..ITERATIONS {
        if inverse.root {
            let square = engine.times(&y, &y).await;
            let m = engine.times(&v, &square).await;
            y = engine.times(&y, &engine.affine(3 << F, 1, &m)).await;
        } else {
            let m = engine.times(&v, &y).await;
            y = engine.times(&y, &engine.affine(2 << F, 1, &m)).await;
        }
    }
    engine.times(&y, &back).await
}
