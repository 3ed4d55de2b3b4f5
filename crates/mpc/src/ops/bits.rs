//! Shared bits with shared numbers: bit to ring, selection, and the conjunction of owners' bits.

use zeroize::Zeroizing;

use crate::pack::packed;
use crate::prep::{Dealing, Stock};
use crate::value::{BitShare, Owned, Pad, Share, Words, bit_words};
use crate::wire::Lane;

/// Bit `i` of a packed vector, as 0 or 1.
pub(crate) fn bit(words: &[u64], i: usize) -> u64 {
    words.get(i / 64).map_or(0, |w| w >> (i % 64) & 1)
}

/// The words 0 and 1 of a vector of bits.
pub(crate) fn spread(bits: &[u64], n: usize) -> Words {
    let mut out = Zeroizing::new(Vec::with_capacity(n));
    for (w, word) in bits.iter().enumerate() {
        let here = n.saturating_sub(w * 64).min(64);
        out.extend((0..here).map(|i| word >> i & 1));
    }
    out
}

/// A random bit shared both ways: under exclusive or, and in the ring.
pub struct DoubleBits {
    pad: Pad,
    ring: Share,
}

impl DoubleBits {
    /// Bytes that are dealt for `n` bits, as numbers of which `out` bits are read.
    pub const fn fixed_bytes(n: usize, out: u8) -> usize {
        packed(n, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, out: u8) -> Self {
        Self { pad: stock.pad(bit_words(n)), ring: Share(stock.fixed_packed(n, out)) }
    }

    /// Deals what [`DoubleBits::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, out: u8) {
        let rho = dealing.free_bits(bit_words(n));
        dealing.fix_packed(spread(&rho, n), out);
    }
}

/// The bits as ring elements 0 and 1. One round; 1 bit a bit to each other party; dealt are as many bits a bit as are
/// read of the element.
pub async fn to_ring(lane: &Lane, bits: &BitShare, double: DoubleBits) -> Share {
    let (blinded, _) = bits.blind(double.pad);
    let [m] = lane.round([lane.open_bits(blinded)]).await;
    let lead = u64::from(lane.leads());
    let mut ring = double.ring;
    for (i, r) in ring.0.iter_mut().enumerate() {
        let m = bit(&m.0, i);
        *r = m.wrapping_mul(lead).wrapping_add(1u64.wrapping_sub(2 * m).wrapping_mul(*r));
    }
    ring
}

/// A double bit, a pad, and the share of their product.
pub struct Selection {
    bits: DoubleBits,
    pad: Pad,
    product: Share,
    out: u8,
}

impl Selection {
    /// Bytes that are dealt for `n` selections of which `out` bits are read.
    pub const fn fixed_bytes(n: usize, out: u8) -> usize {
        2 * packed(n, out)
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize, out: u8) -> Self {
        let bits = DoubleBits::draw(stock, n, out);
        Self { bits, pad: stock.pad(n), product: Share(stock.fixed_packed(n, out)), out }
    }

    /// Deals what [`Selection::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, out: u8) {
        let rho = dealing.free_bits(bit_words(n));
        dealing.fix_packed(spread(&rho, n), out);
        let mut a = dealing.free(n);
        a.iter_mut().enumerate().for_each(|(i, a)| *a &= bit(&rho, i).wrapping_neg());
        dealing.fix_packed(a, out);
    }
}

/// The value where the bit is one, else zero. One round; the bits that are read of it and 1 more an element to each other
/// party; twice the bits an element are dealt.
pub async fn select(lane: &Lane, bits: &BitShare, x: &Share, s: Selection) -> Share {
    let (m, _) = bits.blind(s.bits.pad);
    let (e, _) = x.blind(s.pad);
    let [m, e] = lane.round([lane.open_bits(m), lane.open(e, s.out)]).await;
    let mut z = s.product;
    for (i, z) in z.0.iter_mut().enumerate() {
        let m = bit(&m.0, i);
        let rho_x = e.0[i].wrapping_mul(s.bits.ring.0[i]).wrapping_add(*z); // proof: lengths as asked.
        *z = m.wrapping_mul(x.0[i]).wrapping_add(1u64.wrapping_sub(2 * m).wrapping_mul(rho_x));
    }
    z
}

/// The most bits that one conjunction takes.
pub const FAN_IN_MAX: usize = 4;

/// One input of a conjunction.
pub enum Conjunct<'a> {
    /// Bits that one party knows.
    Owned(&'a Owned),
    /// Shared bits.
    Shared(&'a BitShare),
}

impl Conjunct<'_> {
    fn owner(&self) -> Option<usize> {
        match self {
            Conjunct::Owned(x) => Some(x.owner),
            Conjunct::Shared(_) => None,
        }
    }
}

/// Masks of each input and shares of the products of every two or more masks.
pub struct Conjunction {
    pads: Vec<Option<Pad>>,
    /// By subset of the inputs; empty where one mask or none is in it.
    products: Vec<Words>,
}

fn larger_subsets(inputs: usize) -> impl Iterator<Item = usize> {
    (0..1usize << inputs).filter(|s| s.count_ones() >= 2)
}

impl Conjunction {
    /// Words that are dealt for `n` conjunctions of so many inputs.
    pub fn fixed_words(n: usize, inputs: usize) -> usize {
        larger_subsets(inputs).count() * bit_words(n)
    }

    /// Draws this party's part; `owners` as the inputs have them.
    pub fn draw(stock: &mut Stock, n: usize, owners: &[Option<usize>], me: usize) -> Self {
        let words = bit_words(n);
        let pads = owners.iter().map(|owner| {
            if owner.is_none_or(|o| o == me) {
                Some(stock.pad(words))
            } else {
                stock.skip(words);
                None
            }
        });
        let pads = pads.collect();
        let mut products: Vec<Words> = (0..1usize << owners.len()).map(|_| Zeroizing::new(Vec::new())).collect();
        for s in larger_subsets(owners.len()) {
            products[s] = stock.fixed(words); // proof: a subset is below their number.
        }
        Self { pads, products }
    }

    /// Deals what [`Conjunction::draw`] draws.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, owners: &[Option<usize>]) {
        let words = bit_words(n);
        let draw = |o: &Option<usize>| match o {
            Some(owner) => dealing.own(*owner, words),
            None => dealing.free_bits(words),
        };
        let pads: Vec<Words> = owners.iter().map(draw).collect();
        for s in larger_subsets(owners.len()) {
            let mut all: Words = Zeroizing::new(vec![u64::MAX; words]);
            for pad in pads.iter().enumerate().filter(|(i, _)| s >> i & 1 == 1).map(|(_, p)| p) {
                all.iter_mut().zip(pad.iter()).for_each(|(a, p)| *a &= p);
            }
            dealing.fix_bits(all);
        }
    }
}

/// The conjunction of two to four bits. One round; 1 bit for each conjunction: an owner's from the owner
/// to each other party, a shared one's from everyone to everyone. 2^k - k - 1 bits are dealt for k inputs.
pub async fn and(lane: &Lane, n: usize, inputs: &[Conjunct<'_>], c: Conjunction) -> BitShare {
    let words = bit_words(n);
    let mut asks = Vec::with_capacity(inputs.len());
    // Each party's summand of each mask: an owned mask is its owner's alone.
    let mut masks: Vec<Option<BitShare>> = Vec::with_capacity(inputs.len());
    for (input, pad) in inputs.iter().zip(c.pads) {
        let shared = match input {
            Conjunct::Owned(x) => x.words.is_some().then(|| x.share_bits(n)),
            Conjunct::Shared(x) => Some(BitShare::new(n, x.words.clone())),
        };
        let (blinded, mask) = match (shared, pad) {
            (Some(x), Some(pad)) => {
                let (blinded, mask) = x.blind(pad);
                (Some(blinded), Some(mask))
            }
            _ => (None, None),
        };
        asks.push(match (input.owner(), blinded) {
            (Some(owner), blinded) => lane.tell(owner, lane.all(), words, 64, blinded),
            (None, Some(blinded)) => lane.open_bits(blinded),
            (None, None) => lane.tell(0, lane.all(), 0, 64, None),
        });
        masks.push(mask);
    }
    let opened = lane.round_of(asks).await;
    let mut out = Zeroizing::new(vec![0u64; words]);
    let lead = u64::from(lane.leads()).wrapping_neg();
    for (subset, product) in c.products.iter().enumerate() {
        for (w, out) in out.iter_mut().enumerate() {
            // The product of the opened differences outside the subset, times the masks in it.
            let word = |m: &crate::value::Public| m.0.get(w).copied().unwrap_or(0);
            let outside = opened.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 0);
            let public = outside.fold(u64::MAX, |all, (_, m)| all & word(m));
            let inside = match subset.count_ones() {
                0 => lead,
                1 => {
                    let mask = masks.get(subset.trailing_zeros() as usize).and_then(Option::as_ref);
                    mask.map_or(0, |m| m.words[w]) // proof: a mask has `words` words.
                }
                _ => product[w], // proof: drawn with `words` words.
            };
            *out ^= public & inside;
        }
    }
    BitShare::new(n, out)
}
