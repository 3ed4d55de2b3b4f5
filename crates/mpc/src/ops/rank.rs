//! Bands and the largest: what a job may disclose instead of a score.

use zeroize::Zeroizing;

use crate::ops::bits::{DoubleBits, Selection, select, to_ring};
use crate::ops::sign::{Comparison, less_than};
use crate::plan::cost_parts::{comparison, open_planes, open_words};
use crate::prep::{Dealing, Stock};
use crate::value::Share;
use crate::wire::{Flow, Lane, Task, together};

/// A comparison with each edge, and a double bit for each answer.
pub struct BandMaterial {
    comparison: Comparison,
    bits: Vec<DoubleBits>,
}

impl BandMaterial {
    /// Bytes that are dealt for `n` values of so many bits, of which `out` of each answer are read.
    pub const fn fixed_bytes(n: usize, (bits, out): (u8, u8), edges: usize) -> usize {
        Comparison::fixed_bytes(n, bits, edges) + edges * DoubleBits::fixed_bytes(n, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, (bits, out): (u8, u8), edges: usize) -> Self {
        let comparison = Comparison::draw(stock, n, bits, edges);
        Self { comparison, bits: (0..edges).map(|_| DoubleBits::draw(stock, n, out)).collect() }
    }

    /// Deals what [`BandMaterial::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, (bits, out): (u8, u8), edges: usize) {
        Comparison::deal(dealing, n, bits, edges);
        (0..edges).for_each(|_| DoubleBits::deal(dealing, n, out));
    }
}

/// For each edge the numbers 0 and 1 of "x is below it". Four rounds: a comparison's, then 1 bit for each
/// element and edge.
pub(crate) async fn below(lane: &Lane, x: &Share, edges: &[u64], material: BandMaterial) -> Vec<Share> {
    let bits = less_than(lane, x, edges, material.comparison).await;
    let tasks = bits.iter().zip(material.bits).map(|(b, d)| -> Task<'_, Share> { Box::pin(to_ring(lane, b, d)) });
    together(tasks.collect()).await
}

/// How many of the public edges are not above x: the number of its band, from 0. Four rounds.
pub async fn band(lane: &Lane, x: &Share, edges: &[u64], material: BandMaterial) -> Share {
    let below = below(lane, x, edges, material).await;
    let all = if lane.leads() { edges.len() as u64 } else { 0 };
    let mut out = Share::new(vec![all; x.len()]);
    for share in &below {
        out.0.iter_mut().zip(share.0.iter()).for_each(|(o, b)| *o = o.wrapping_sub(*b));
    }
    out
}

pub(crate) fn band_flows(parties: usize, n: usize, bits: u8, edges: usize) -> Vec<Vec<Flow>> {
    let mut rounds = comparison(parties, n, bits, edges);
    rounds.push(vec![open_planes(parties, n, 1); edges]);
    rounds
}

/// Pairs of each level of a tournament among so many columns.
fn levels(columns: usize) -> Vec<usize> {
    let (mut left, mut pairs) = (columns, Vec::new());
    while left > 1 {
        pairs.push(left / 2);
        left = left.div_ceil(2);
    }
    pairs
}

/// For each level a comparison of every pair, and the selection of the larger one's number and column.
pub struct ArgMaxMaterial(Vec<(Comparison, Selection, Option<Selection>)>);

impl ArgMaxMaterial {
    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, rows: usize, columns: usize) -> Self {
        let levels = levels(columns);
        let last = levels.len().saturating_sub(1);
        let draw = |(i, pairs): (usize, &usize)| {
            let n = rows * pairs;
            let (comparison, column) = (Comparison::draw(stock, n, 64, 1), Selection::draw(stock, n, 64));
            (comparison, column, (i < last).then(|| Selection::draw(stock, n, 64)))
        };
        Self(levels.iter().enumerate().map(draw).collect())
    }

    /// Deals what [`ArgMaxMaterial::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, rows: usize, columns: usize) {
        let levels = levels(columns);
        for (i, pairs) in levels.iter().enumerate() {
            let n = rows * pairs;
            Comparison::deal(dealing, n, 64, 1);
            Selection::deal(dealing, n, 64);
            if i + 1 < levels.len() {
                Selection::deal(dealing, n, 64);
            }
        }
    }
}

pub(crate) fn fixed_bytes(rows: usize, columns: usize) -> usize {
    let levels = levels(columns);
    let selections = |i: usize| if i + 1 < levels.len() { 2 } else { 1 };
    let level = |(i, pairs): (usize, &usize)| {
        Comparison::fixed_bytes(rows * pairs, 64, 1) + selections(i) * Selection::fixed_bytes(rows * pairs, 64)
    };
    levels.iter().enumerate().map(level).sum()
}

pub(crate) fn flows(parties: usize, rows: usize, columns: usize) -> Vec<Vec<Flow>> {
    let levels = levels(columns);
    let mut rounds = Vec::new();
    for (i, pairs) in levels.iter().enumerate() {
        let n = rows * pairs;
        rounds.extend(comparison(parties, n, 64, 1));
        let one = [open_planes(parties, n, 1), open_words(parties, n, 64)];
        rounds.push(one.repeat(if i + 1 < levels.len() { 2 } else { 1 }));
    }
    rounds
}

/// Every second column of a matrix of `width` columns, from `first`, `pairs` of them.
fn column_pairs(x: &Share, width: usize, first: usize, pairs: usize) -> Vec<u64> {
    x.0.chunks_exact(width).flat_map(|row| (0..pairs).map(move |p| row[2 * p + first])).collect() // proof: 2 pairs fit.
}

fn difference(a: &[u64], b: &[u64]) -> Share {
    Share::new(a.iter().zip(b).map(|(a, b)| a.wrapping_sub(*b)).collect())
}

/// The winners of a level, and the odd column that had no partner.
fn winners(x: &Share, width: usize, pairs: usize, gain: &Share) -> Share {
    let rows = x.0.chunks_exact(width).zip(gain.0.chunks_exact(pairs));
    let mut out = Vec::with_capacity(x.len().div_ceil(2));
    for (row, gain) in rows {
        out.extend(gain.iter().enumerate().map(|(p, g)| row[2 * p].wrapping_add(*g))); // proof: 2 pairs fit.
        out.extend(row.get(2 * pairs..).unwrap_or_default());
    }
    Share::new(out)
}

/// The column of the largest number of each row, from 0, the first of equals; differences must not
/// overflow. Four rounds for each halving: a comparison's, then a selection of two vectors.
pub async fn argmax(lane: &Lane, x: &Share, columns: usize, material: ArgMaxMaterial) -> Share {
    let rows = x.len() / columns.max(1);
    let lead = u64::from(lane.leads());
    let mut numbers = x.map(|w| w);
    let mut places = Share(Zeroizing::new((0..x.len()).map(|i| (i % columns) as u64 * lead).collect()));
    let mut width = columns;
    for ((comparison, column, number), pairs) in material.0.into_iter().zip(levels(columns)) {
        let (a, b) = (column_pairs(&numbers, width, 0, pairs), column_pairs(&numbers, width, 1, pairs));
        let less = less_than(lane, &difference(&a, &b), &[0], comparison).await;
        let Some(less) = less.first() else { break };
        let (c, d) = (column_pairs(&places, width, 0, pairs), column_pairs(&places, width, 1, pairs));
        let (step, gain) = (difference(&d, &c), difference(&b, &a));
        let mut tasks: Vec<Task<'_, Share>> = vec![Box::pin(select(lane, less, &step, column))];
        if let Some(number) = number {
            tasks.push(Box::pin(select(lane, less, &gain, number)));
        }
        let mut chosen = together(tasks).await.into_iter();
        if let Some(step) = chosen.next() {
            places = winners(&places, width, pairs, &step);
        }
        if let Some(gain) = chosen.next() {
            numbers = winners(&numbers, width, pairs, &gain);
        }
        width = width.div_ceil(2);
    }
    debug_assert!(places.len() == rows);
    places
}
