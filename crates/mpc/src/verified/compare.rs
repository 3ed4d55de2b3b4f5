//! Comparison on authenticated bits. Every dealt bit carries a code, so this tree is the one with the fewest dealt bits:
//! blocks of three bits, joined two at a time, and no more bits than the format of the number has.
//!
//! For x of b bits, c = x + r is opened. x < t if bit b of (c - t) - r is set: bit b of both and the borrow from below,
//! which is "r is greater than c - t" on the lower b bits. In a block "greater" and "equal" are linear in products of r's
//! bits; two blocks join to (g1 + e1 g0, e1 e0) by opening masked bits and using dealt products of the masks. "Equal" of
//! the lowest part is never needed.

use zeroize::Zeroizing;

use super::auth::{Auth, AuthBits};
use super::desk::{Desk, Item};
use super::maker::{Draw, Maker};
use super::ops::{DoubleBits, shifted, signs, times, to_ring, top};
use crate::ops::bits::spread;
use crate::ops::tree::planes_of;
use crate::ops::trunc::{OFFSET, public_part};
use crate::value::{Words, bit_words};
use crate::wire::{Task, together};

/// Bits of a block.
const BLOCK: usize = 3;

/// Parts that are left before each level of joins, for numbers of so many bits.
fn parts(bits: usize) -> impl Iterator<Item = usize> {
    let mut left = bits.div_ceil(BLOCK);
    core::iter::from_fn(move || {
        let now = left;
        left = left.div_ceil(2);
        (now > 1).then_some(now)
    })
}

/// Masked bits that are opened at each level, for one edge.
pub(crate) fn opened_planes(bits: usize) -> Vec<usize> {
    parts(bits).map(|parts| 3 * (parts / 2) - 1).collect()
}

/// Masks of one join: of the upper "equal", the lower "greater", the lower "equal" where it is needed; and the products
/// of the first with the others.
struct Join<M: Maker> {
    e1: M::Bits,
    g0: M::Bits,
    e0: Option<M::Bits>,
    e1g0: M::Bits,
    e1e0: Option<M::Bits>,
}

fn both(a: &[u64], b: &[u64]) -> Words {
    Zeroizing::new(a.iter().zip(b).map(|(a, b)| a & b).collect())
}

impl<M: Maker> Join<M> {
    fn make(m: &mut M, n: usize, lowest: bool) -> Self {
        let (e1, g0) = (m.free_bits(n), m.free_bits(n));
        let e0 = (!lowest).then(|| m.free_bits(n));
        let e1g0 = m.fixed_bits(n, || both(M::clear_bits(&e1), M::clear_bits(&g0)));
        let e1e0 = e0.as_ref().map(|e0| m.fixed_bits(n, || both(M::clear_bits(&e1), M::clear_bits(e0))));
        Self { e1, g0, e0, e1g0, e1e0 }
    }
}

/// A random r as a number and as bits, products of its bits by block, and for each edge the masks of a tree.
pub(crate) struct Comparison<M: Maker> {
    r: M::Num,
    /// Products of the bits of each block, by subset, from 1.
    blocks: Vec<Vec<M::Bits>>,
    /// Bit `b`, which decides.
    top: M::Bits,
    /// Of each edge, of each level.
    trees: Vec<Vec<Vec<Join<M>>>>,
}

/// One bit of each number.
fn plane(r: &[u128], bits: &[usize]) -> Words {
    let mask = bits.iter().fold(0u64, |m, b| m | 1 << b);
    let mut out = Zeroizing::new(vec![0u64; bit_words(r.len())]);
    for (i, r) in r.iter().enumerate() {
        // Whether all of these bits are set, without a branch.
        let missing = !(*r as u64) & mask;
        let all = 1 ^ ((missing | missing.wrapping_neg()) >> 63);
        if let Some(word) = out.get_mut(i / 64) {
            *word |= all << (i % 64);
        }
    }
    out
}

impl<M: Maker> Comparison<M> {
    pub fn make(m: &mut M, n: usize, bits: usize, edges: usize) -> Self {
        let r = m.free(n);
        let mut blocks = Vec::new();
        for first in (0..bits).step_by(BLOCK) {
            let width = BLOCK.min(bits - first);
            let mut products = Vec::new();
            for set in 1..1usize << width {
                let chosen: Vec<usize> = (0..width).filter(|b| set >> b & 1 == 1).map(|b| first + b).collect();
                products.push(m.fixed_bits(n, || plane(M::clear(&r), &chosen)));
            }
            blocks.push(products);
        }
        let top = m.fixed_bits(n, || plane(M::clear(&r), &[bits]));
        let trees = (0..edges).map(|_| {
            parts(bits).map(|parts| (0..parts / 2).map(|pair| Join::make(m, n, pair == 0)).collect()).collect()
        });
        let trees = trees.collect();
        Self { r, blocks, top, trees }
    }
}

/// "Greater" and, where it is needed, "equal".
struct Part {
    g: AuthBits,
    e: Option<AuthBits>,
}

/// A block's part: r against the public c, of which `nc` are the complements of its bits.
fn block(desk: &Desk, products: &[AuthBits], nc: &[&[u64]], lowest: bool) -> Part {
    let (n, words) = (products.first().map_or(0, |p| p.bits), nc.first().map_or(0, |p| p.len()));
    let public = |bits: &mut dyn Iterator<Item = usize>| -> Vec<u64> {
        let mut all = vec![u64::MAX; words];
        for plane in bits.filter_map(|b| nc.get(b)) {
            all.iter_mut().zip(*plane).for_each(|(a, p)| *a &= p);
        }
        all
    };
    let (mut g, mut e) = (AuthBits::zero(n), AuthBits::zero(n));
    if !lowest {
        e.xor_public(&desk.keys, &public(&mut (0..nc.len())));
    }
    for (set, share) in (1usize..).zip(products) {
        // r has a one and c a zero at the lowest of the set, and above that they agree.
        let low = set.trailing_zeros() as usize;
        g.xor_where(&public(&mut (low..nc.len()).filter(|b| *b == low || set >> b & 1 == 0)), share);
        if !lowest {
            e.xor_where(&public(&mut (0..nc.len()).filter(|b| set >> b & 1 == 0)), share);
        }
    }
    Part { g, e: (!lowest).then_some(e) }
}

/// x y from the opened differences, the masks and their product.
fn product(
    desk: &Desk,
    (x, mask_x): (&[u64], &AuthBits),
    (y, mask_y): (&[u64], &AuthBits),
    both: &AuthBits,
) -> AuthBits {
    let mut out = both.copy();
    out.xor_where(x, mask_y);
    out.xor_where(y, mask_x);
    out.xor_public(&desk.keys, &x.iter().zip(y).map(|(x, y)| x & y).collect::<Vec<u64>>());
    out
}

/// One level of joins, from the lowest part up; one left over goes on as it is.
async fn level(desk: &Desk, parts: Vec<Part>, joins: &[Join<Draw<'_>>]) -> Vec<Part> {
    let mut items = Vec::new();
    for (join, pair) in joins.iter().zip(parts.chunks(2)) {
        let [low, high] = pair else { continue };
        if let Some(e1) = &high.e {
            items.push(Item::Bits(e1.under(&join.e1)));
        }
        items.push(Item::Bits(low.g.under(&join.g0)));
        if let (Some(e0), Some(mask)) = (&low.e, &join.e0) {
            items.push(Item::Bits(e0.under(mask)));
        }
    }
    let mut opened = desk.open_all(items).await.into_iter();
    let mut next = || opened.next().unwrap_or_default();
    let (mut out, mut rest) = (Vec::new(), parts.into_iter());
    for join in joins {
        let (Some(_), Some(high)) = (rest.next(), rest.next()) else { break };
        let (e1, g0) = (next(), next());
        let mut g = high.g;
        g.xor(&product(desk, (&e1, &join.e1), (&g0, &join.g0), &join.e1g0));
        let e = match (&join.e0, &join.e1e0) {
            (Some(mask), Some(both)) => Some(product(desk, (&e1, &join.e1), (&next(), mask), both)),
            _ => None,
        };
        out.push(Part { g, e });
    }
    out.extend(rest);
    out
}

/// What is below one edge, from the opened c.
async fn below(desk: &Desk, at: &Comparison<Draw<'_>>, tree: &[Vec<Join<Draw<'_>>>], c: &[u64], edge: u64) -> AuthBits {
    let words = bit_words(c.len());
    let planes = planes_of(c.iter().map(|c| c.wrapping_sub(edge)));
    let complements: Vec<u64> = planes.iter().map(|w| !w).collect();
    let mut parts = Vec::new();
    let mut first = 0;
    for products in &at.blocks {
        let width = (products.len() + 1).trailing_zeros() as usize;
        let nc: Vec<&[u64]> = (first..first + width).map(|b| &complements[b * words..(b + 1) * words]).collect(); // proof: 64 planes.
        parts.push(block(desk, products, &nc, first == 0));
        first += width;
    }
    for joins in tree {
        parts = level(desk, parts, joins).await;
    }
    let mut less = parts.into_iter().next().map_or_else(|| AuthBits::zero(c.len()), |p| p.g);
    less.xor(&at.top);
    less.xor_public(&desk.keys, &planes[first * words..(first + 1) * words]); // proof: 64 planes, at most 62 bits below.
    less
}

/// For each edge the bits x < t, and x + r.
pub(crate) async fn compare(
    desk: &Desk,
    x: &Auth,
    edges: &[u64],
    material: Comparison<Draw<'_>>,
) -> (Vec<AuthBits>, Vec<u64>) {
    let [c] = desk.open([Item::Number(x.plus(&material.r))]).await;
    let mut tasks: Vec<Task<'_, AuthBits>> = Vec::with_capacity(edges.len());
    for (edge, tree) in edges.iter().zip(&material.trees) {
        tasks.push(Box::pin(below(desk, &material, tree, &c, *edge)));
    }
    let less = together(tasks).await;
    (less, c)
}

/// A comparison with each edge, and a double bit for each answer.
pub(crate) struct Bands<M: Maker> {
    comparison: Comparison<M>,
    bits: Vec<DoubleBits<M>>,
}

impl<M: Maker> Bands<M> {
    pub fn make(m: &mut M, n: usize, bits: usize, edges: usize) -> Self {
        let comparison = Comparison::make(m, n, bits, edges);
        Self { comparison, bits: (0..edges).map(|_| DoubleBits::make(m, n)).collect() }
    }
}

/// How many of the public edges are not above x.
pub(crate) async fn band(desk: &Desk, x: &Auth, edges: &[u64], material: Bands<Draw<'_>>) -> Auth {
    let (less, _) = compare(desk, x, edges, material.comparison).await;
    let tasks = less.iter().zip(material.bits).map(|(b, d)| -> Task<'_, Auth> { Box::pin(to_ring(desk, b, d)) });
    let below = together(tasks.collect()).await;
    let mut out = Auth::public(&desk.keys, &vec![edges.len() as u64; x.len()]);
    below.iter().for_each(|b| out.subtract(b));
    out
}

/// A comparison with zero, a double bit, and what truncates where that bit is set.
pub(crate) struct Rectifier<M: Maker> {
    comparison: Comparison<M>,
    rho: DoubleBits<M>,
    shifted: M::Num,
    top: M::Num,
    rho_shifted: M::Num,
    rho_top: M::Num,
}

impl<M: Maker> Rectifier<M> {
    pub fn make(m: &mut M, n: usize, bits: usize, by: u8) -> Self {
        let comparison = Comparison::make(m, n, bits, 1);
        let rho = DoubleBits::make(m, n);
        let shifted = m.fixed(n, || shifted(M::clear(&comparison.r), by));
        let top = m.fixed(n, || top(M::clear(&comparison.r), by));
        let rho_shifted = m.fixed(n, || times(M::clear(&rho.ring), M::clear(&shifted)));
        let rho_top = m.fixed(n, || times(M::clear(&rho.ring), M::clear(&top)));
        Self { comparison, rho, shifted, top, rho_shifted, rho_top }
    }
}

/// max(x, 0) / 2^by, rounded down or one unit higher; zero exactly for negative x.
pub(crate) async fn rectify(desk: &Desk, x: &Auth, by: u8, material: Rectifier<Draw<'_>>) -> Auth {
    let Rectifier { comparison, rho, shifted, top, rho_shifted, rho_top } = material;
    let (negative, c) = compare(desk, x, &[0], comparison).await;
    let Some(negative) = negative.into_iter().next() else { return Auth::zero(x.len()) };
    let [mut m] = desk.open([Item::Bits(negative.under(&rho.bits))]).await;
    // From here on m is the bit "not negative" under rho.
    m.iter_mut().for_each(|w| *w = !*w);
    let parts: Vec<(u64, u64)> = c.iter().map(|c| public_part(c.wrapping_add(OFFSET), 64, by)).collect();
    let (part, flip) = (|| parts.iter().map(|p| p.0), || parts.iter().map(|p| p.1));
    let mut plain = top.times(flip());
    plain.subtract(&shifted);
    plain.add_public(&desk.keys, part());
    let mut under = rho.ring.times(part());
    under.add_times(flip(), &rho_top);
    under.subtract(&rho_shifted);
    let mut y = plain.times(spread(&m, x.len()).iter().copied());
    y.add_times(signs(&m, x.len()), &under);
    y
}
