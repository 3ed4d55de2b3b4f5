//! Comparison: a masked opening, then a tree on dealt bits; and ReLU with truncation on top of it.

use zeroize::Zeroizing;

use crate::ops::bits::{bit, spread};
use crate::ops::tree::{self, LOWER, MONOMIALS, NODES, Planes, TREE_PRODUCTS, UPPER};
use crate::ops::trunc::{lower, offset, public_part, upper};
use crate::pack::packed;
use crate::prep::{Dealing, Stock};
use crate::value::{BitShare, Pad, Share, Words, bit_words};
use crate::wire::Lane;

/// A random r as bits and in the ring, the products of its bits, and for each edge the masks of a tree.
///
/// r has as many bits as the comparison looks at. The tree is one of 64 bits: what it compares stands at the top of its
/// words, above zeroes, so that carries and the sign are where they are in 64 bits.
pub struct Comparison {
    bits: u8,
    r_bits: Words,
    r: Pad,
    monomials: Words,
    lower: Pad,
    upper: Pad,
    products: Words,
}

impl Comparison {
    /// Bytes that are dealt for `n` values of so many bits and so many edges.
    pub const fn fixed_bytes(n: usize, bits: u8, edges: usize) -> usize {
        packed(n, bits) + 8 * (MONOMIALS + TREE_PRODUCTS * edges) * bit_words(n)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, bits: u8, edges: usize) -> Self {
        let words = bit_words(n);
        let mut r_bits = stock.free(64 * words);
        r_bits.iter_mut().take(usize::from(64 - bits) * words).for_each(|w| *w = 0);
        Self {
            bits,
            r_bits,
            r: Pad(stock.fixed_packed(n, bits)),
            monomials: stock.fixed(MONOMIALS * words),
            lower: stock.pad(edges * LOWER * words),
            upper: stock.pad(edges * UPPER * words),
            products: stock.fixed(edges * TREE_PRODUCTS * words),
        }
    }

    /// Deals what [`Comparison::draw`] draws; gives r.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, bits: u8, edges: usize) -> Words {
        let words = bit_words(n);
        let mut planes = dealing.free_bits(64 * words);
        planes.iter_mut().take(usize::from(64 - bits) * words).for_each(|w| *w = 0);
        let mut r: Words = Zeroizing::new(tree::words_of(&planes, n));
        r.iter_mut().for_each(|r| *r >>= 64 - bits);
        dealing.fix_packed(Zeroizing::new(r.to_vec()), bits);
        let mut monomials = Vec::with_capacity(MONOMIALS * words);
        tree::bit_products(&planes, words, &mut monomials);
        dealing.fix_bits(Zeroizing::new(monomials));
        let lower = dealing.free_bits(edges * LOWER * words);
        let upper = dealing.free_bits(edges * UPPER * words);
        let mut products = Vec::with_capacity(edges * TREE_PRODUCTS * words);
        for edge in 0..edges {
            let lower = &lower[edge * LOWER * words..][..LOWER * words]; // proof: drawn so long, here and below.
            let upper = &upper[edge * UPPER * words..][..UPPER * words];
            let planes: Vec<&[u64]> = lower.chunks_exact(words).chain(upper.chunks_exact(words)).collect();
            let mut rest = &planes[..];
            for inputs in NODES {
                let (masks, later) = rest.split_at(inputs);
                tree::mask_products(masks, words, &mut products);
                rest = later;
            }
        }
        dealing.fix_bits(Zeroizing::new(products));
        r
    }
}

/// For each edge t the bits x < t, one vector after another, each padded to whole words; and x + r modulo 2^k.
///
/// With material of k bits it is correct for every x with x - t in [-2^(k-1), 2^(k-1)). Three rounds; each party sends to
/// each other k bits an element, and for each edge and 64 elements 27 + 6 words; k bits an element and
/// `(169 + 96 edges) ceil(n / 64)` words are dealt.
async fn compare(lane: &Lane, x: &Share, edges: &[u64], material: Comparison) -> (Vec<BitShare>, Vec<u64>) {
    let (n, words) = (x.len(), bit_words(x.len()));
    let (c, _) = x.blind_up(material.r);
    let [c] = lane.round([lane.open(c, material.bits)]).await;
    let up = 64 - material.bits;
    let trees: Vec<Planes<'_>> = (0..edges.len())
        .map(|edge| Planes {
            words,
            lead: lane.leads(),
            // proof: drawn for so many edges.
            lower_masks: &material.lower.0[edge * LOWER * words..][..LOWER * words],
            upper_masks: &material.upper.0[edge * UPPER * words..][..UPPER * words],
            products: &material.products[edge * TREE_PRODUCTS * words..][..TREE_PRODUCTS * words],
        })
        .collect();
    let (mut first, mut kept, mut tops) = (Vec::new(), Vec::new(), Vec::new());
    for (tree, edge) in trees.iter().zip(edges) {
        let planes = tree::planes_of(c.0.iter().map(|c| c.wrapping_sub(*edge) << up));
        let (lower, keep) = tree.lower(&material.r_bits, &material.monomials, &planes);
        first.extend_from_slice(&lower);
        kept.push(keep);
        tops.push(planes[63 * words..].to_vec()); // proof: 64 planes.
    }
    let opened = open_planes(lane, first, &material.lower).await;
    let mut second = Vec::new();
    for (i, (tree, keep)) in trees.iter().zip(&mut kept).enumerate() {
        second.extend_from_slice(&tree.upper(&opened[i * LOWER * words..][..LOWER * words], keep)); // proof: as asked.
    }
    let opened = open_planes(lane, second, &material.upper).await;
    let mut out = Vec::with_capacity(edges.len());
    for (i, (tree, keep)) in trees.iter().zip(&kept).enumerate() {
        let mut less = Zeroizing::new(tree.root(&opened[i * UPPER * words..][..UPPER * words], keep)); // proof: as asked.
        // The top bit of c - r is that of c, of r, and the borrow from below.
        less.iter_mut().zip(&material.r_bits[63 * words..]).for_each(|(l, r)| *l ^= r);
        if lane.leads() {
            less.iter_mut().zip(&tops[i]).for_each(|(l, c)| *l ^= c);
        }
        out.push(BitShare::new(n, less));
    }
    (out, c.0)
}

/// Opens planes under masks that stay in use.
async fn open_planes(lane: &Lane, planes: Vec<u64>, masks: &Pad) -> Vec<u64> {
    let share = BitShare::new(planes.len() * 64, Zeroizing::new(planes));
    let (blinded, _) = share.blind(Pad(Zeroizing::new(masks.0.to_vec())));
    let [opened] = lane.round([lane.open_bits(blinded)]).await;
    opened.0
}

/// The bits x < t for each public edge t. Costs and range as the comparison's above: three rounds.
pub async fn less_than(lane: &Lane, x: &Share, edges: &[u64], material: Comparison) -> Vec<BitShare> {
    compare(lane, x, edges, material).await.0
}

/// A comparison with zero, a double bit, and what truncates where that bit is set.
pub struct Rectifier {
    comparison: Comparison,
    rho: Pad,
    rho_ring: Share,
    shifted: Share,
    top: Share,
    rho_shifted: Share,
    rho_top: Share,
}

impl Rectifier {
    /// Bytes that are dealt for `n` values of so many bits, of which `out` of what comes out are read.
    pub const fn fixed_bytes(n: usize, bits: u8, out: u8) -> usize {
        Comparison::fixed_bytes(n, bits, 1) + 5 * packed(n, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, bits: u8, out: u8) -> Self {
        let comparison = Comparison::draw(stock, n, bits, 1);
        let rho = stock.pad(bit_words(n));
        let [rho_ring, shifted, top, rho_shifted, rho_top] =
            core::array::from_fn(|_| Share(stock.fixed_packed(n, out)));
        Self { comparison, rho, rho_ring, shifted, top, rho_shifted, rho_top }
    }

    /// Deals what [`Rectifier::draw`] draws, for a shift by `by` bits.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, (bits, out): (u8, u8), by: u8) {
        let r = Comparison::deal(dealing, n, bits, 1);
        let rho = spread(&dealing.free_bits(bit_words(n)), n);
        let (shifted, top) = (lower(&r, bits, by), upper(&r, bits, by));
        let times = |x: &Words| -> Words { Zeroizing::new(x.iter().zip(rho.iter()).map(|(x, r)| x * r).collect()) };
        let (rho_shifted, rho_top) = (times(&shifted), times(&top));
        for value in [rho, shifted, top, rho_shifted, rho_top] {
            dealing.fix_packed(value, out);
        }
    }
}

/// max(x, 0) / 2^by for |x| < 2^(k-2) with material of k bits, rounded down or one unit higher; zero exactly for
/// negative x.
///
/// Four rounds; each party sends to each other k bits an element, then 27 + 6 + 1 words for 64 elements; k bits and five
/// times those of what comes out an element are dealt, and `265 ceil(n / 64)` words.
pub async fn rectify(lane: &Lane, x: &Share, by: u8, material: Rectifier) -> Share {
    let Rectifier { comparison, rho, rho_ring, shifted, top, rho_shifted, rho_top } = material;
    let bits = comparison.bits;
    let (negative, c) = compare(lane, x, &[0], comparison).await;
    let negative = negative.into_iter().next().unwrap_or(BitShare::new(0, Zeroizing::new(Vec::new())));
    let (blinded, _) = negative.blind(rho);
    let [m] = lane.round([lane.open_bits(blinded)]).await;
    let lead = u64::from(lane.leads());
    let mut y = rho_ring;
    for (i, y) in y.0.iter_mut().enumerate() {
        // m is the bit "not negative" under rho. proof: all vectors have the length of x.
        let m = bit(&m.0, i) ^ 1;
        let (part, sign) = public_part(c[i].wrapping_add(offset(bits)), bits, by);
        let plain = part.wrapping_mul(lead).wrapping_add(sign.wrapping_mul(top.0[i])).wrapping_sub(shifted.0[i]);
        let under_rho =
            part.wrapping_mul(*y).wrapping_add(sign.wrapping_mul(rho_top.0[i])).wrapping_sub(rho_shifted.0[i]);
        *y = m.wrapping_mul(plain).wrapping_add(1u64.wrapping_sub(2 * m).wrapping_mul(under_rho));
    }
    y
}
