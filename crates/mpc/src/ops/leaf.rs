//! Leaf selection: packed bits times a vector of numbers, row by row.

use zeroize::Zeroizing;

use crate::kernel::{dot_bits, dot_signs};
use crate::ops::bits::{bit, spread};
use crate::pack::packed;
use crate::prep::{Dealing, Stock};
use crate::value::{BitShare, Masked, Owned, Pad, Share, Words, bit_words};
use crate::wire::Lane;

/// Rows, and leaves of a row: a multiple of 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaves {
    /// Rows.
    pub rows: usize,
    /// Leaves of all trees, a multiple of 64.
    pub leaves: usize,
}

impl Leaves {
    fn count(self) -> usize {
        self.rows * self.leaves
    }
}

/// Masks of one party's bits and of another's numbers, and shares of their products.
pub struct LeafPads {
    bits: Option<Pad>,
    numbers: Option<Pad>,
    products: Words,
    out: u8,
}

impl LeafPads {
    /// Bytes that are dealt for sums of which `out` bits are read.
    pub const fn fixed_bytes(at: Leaves, out: u8) -> usize {
        packed(at.rows * at.leaves, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, (at, out): (Leaves, u8), bits: usize, numbers: usize, me: usize) -> Self {
        let mut own = |who: usize, count: usize| {
            if who == me {
                Some(stock.pad(count))
            } else {
                stock.skip(count);
                None
            }
        };
        let (bits, numbers) = (own(bits, bit_words(at.count())), own(numbers, at.count()));
        Self { bits, numbers, products: stock.fixed_packed(at.count(), out), out }
    }

    /// Deals what [`LeafPads::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, (at, out): (Leaves, u8), bits: usize, numbers: usize) {
        let rho = dealing.own(bits, bit_words(at.count()));
        let mut v = dealing.own(numbers, at.count());
        v.iter_mut().enumerate().for_each(|(i, v)| *v &= bit(&rho, i).wrapping_neg());
        dealing.fix_packed(v, out);
    }
}

/// For each row the sum of one party's numbers where another party's bits are set. One round: the owner of
/// the bits sends 1 bit a leaf, the owner of the numbers the bits that are read of the sum, to each other; as many a leaf
/// are dealt. With a = m + (1 - 2 m) rho and y = d + v: a y = a d + m v + (1 - 2 m) rho v.
pub async fn select_leaves(lane: &Lane, at: Leaves, bits: &Owned, numbers: &Owned, pads: LeafPads) -> Share {
    let count = at.count();
    let both = crate::Group::one(bits.owner).with(numbers.owner);
    let (mut hidden_bits, mut hidden_numbers, mut v) = (None, None, None);
    if let Some(pad) = pads.bits {
        hidden_bits = Some(bits.share_bits(count).blind(pad).0);
    }
    if let Some(pad) = pads.numbers {
        let (blinded, pad) = numbers.share(count).blind(pad);
        (hidden_numbers, v) = (Some(blinded), Some(pad));
    }
    // Products are shared among all parties; those who own no operand need the opened bits for their part.
    let [m, d] = lane
        .round([
            lane.tell(bits.owner, lane.all(), bit_words(count), 64, hidden_bits),
            lane.tell(numbers.owner, both, count, pads.out, hidden_numbers),
        ])
        .await;
    let mut out = Vec::with_capacity(at.rows);
    let stride = at.leaves / 64;
    for row in 0..at.rows {
        let (words, lanes) = (row * stride..(row + 1) * stride, row * at.leaves..(row + 1) * at.leaves);
        let m = &m.0[words.clone()]; // proof: the answers have the asked lengths.
        let mut sum = dot_signs(m, &pads.products[lanes.clone()]); // proof: drawn with `count` words.
        if let Some(own) = &bits.words {
            sum = sum.wrapping_add(dot_bits(&own[words], &d.0[lanes.clone()])); // proof: as checked at input.
        }
        if let Some(v) = &v {
            sum = sum.wrapping_add(dot_bits(m, &v.0[lanes]));
        }
        out.push(sum);
    }
    Share::new(out)
}

/// Masks of shared bits, also in the ring, and shares of their products with a masked vector's pad.
pub struct SharedLeafPads {
    rho: Pad,
    rho_ring: Share,
    products: Share,
}

impl SharedLeafPads {
    /// Bytes that are dealt for sums of which `out` bits are read.
    pub const fn fixed_bytes(at: Leaves, out: u8) -> usize {
        2 * packed(at.rows * at.leaves, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, at: Leaves, out: u8) -> Self {
        let count = at.count();
        Self {
            rho: stock.pad(bit_words(count)),
            rho_ring: Share(stock.fixed_packed(count, out)),
            products: Share(stock.fixed_packed(count, out)),
        }
    }

    /// Deals what [`SharedLeafPads::draw`] draws; `v` is the pad of the vector.
    pub fn deal(dealing: &mut Dealing<'_>, at: Leaves, out: u8, v: &[u64]) {
        let rho = spread(&dealing.free_bits(bit_words(at.count())), at.count());
        let products: Words = rho
            .chunks_exact(at.leaves.max(1))
            .flat_map(|row| row.iter().zip(v).map(|(r, v)| r.wrapping_neg() & v))
            .collect::<Vec<u64>>()
            .into();
        dealing.fix_packed(rho, out);
        dealing.fix_packed(products, out);
    }
}

/// For each row the sum of one party's weights where shared bits are set; the weights are a masked vector
/// that was opened before, once for all rows. One round; 1 bit a leaf to each other party; twice the bits that are read of
/// the sum a leaf are dealt. With b = m + (1 - 2 m) rho and w = f + v: b w = m w + (1 - 2 m)(rho f + rho v).
pub async fn select_weights(lane: &Lane, at: Leaves, bits: &BitShare, w: &Masked, pads: SharedLeafPads) -> Share {
    let (blinded, _) = bits.blind(pads.rho);
    let [m] = lane.round([lane.open_bits(blinded)]).await;
    let stride = at.leaves / 64;
    let mut out = Vec::with_capacity(at.rows);
    for row in 0..at.rows {
        let lanes = row * at.leaves..(row + 1) * at.leaves;
        let m = &m.0[row * stride..(row + 1) * stride]; // proof: the answer has the asked length.
        let rho_w: Words = Zeroizing::new(
            pads.rho_ring.0[lanes.clone()] // proof: drawn with `count` words.
                .iter()
                .zip(&w.difference)
                .zip(&pads.products.0[lanes])
                .map(|((r, f), p)| r.wrapping_mul(*f).wrapping_add(*p))
                .collect(),
        );
        let mut sum = dot_signs(m, &rho_w);
        if let Some(clear) = &w.clear {
            sum = sum.wrapping_add(dot_bits(m, clear));
        }
        out.push(sum);
    }
    Share::new(out)
}
