//! Exact truncation: never the local kind of SecureML, which fails catastrophically for some masks.

use zeroize::Zeroizing;

use crate::pack::{low_mask, packed};
use crate::prep::{Dealing, Stock};
use crate::value::{Pad, Share, Words};
use crate::wire::Lane;

/// Of words of 64 bits: what is added so that a value of |x| < 2^62 is not negative.
pub(crate) const OFFSET: u64 = offset(64);
/// Of words of 64 bits: all but the top one.
pub(crate) const LOW: u64 = low(64);

/// What is added so that a value of |x| < 2^(bits-2) is not negative.
pub(crate) const fn offset(bits: u8) -> u64 {
    1 << (bits - 2)
}

/// All of so many bits but the top one.
pub(crate) const fn low(bits: u8) -> u64 {
    low_mask(bits - 1)
}

/// The bits in which a number of a format of `b` bits is compared, and cut by `by` bits: one more than it has, so that a
/// difference with another of its format fits, and room for what is cut off. At most 64.
pub(crate) const fn domain(b: u8, by: u8) -> u8 {
    let (wide, cut) = (b + 1, by + 2);
    if wide > cut { wide } else { cut }
}

/// A pad r of `bits` bits, and shares of its lower bits shifted right and of its top bit in place.
pub struct Truncation {
    r: Pad,
    shifted: Share,
    top: Share,
    bits: u8,
}

impl Truncation {
    /// Bytes that are dealt for `n` values of which `out` bits are read.
    pub const fn fixed_bytes(n: usize, out: u8) -> usize {
        2 * packed(n, out)
    }

    /// Draws this party's part, for values of `bits` bits as [`truncate`] takes them, and `out` of what comes out.
    pub fn draw(stock: &mut Stock, n: usize, bits: u8, out: u8) -> Self {
        let r = stock.pad(n);
        Self { r, shifted: Share(stock.fixed_packed(n, out)), top: Share(stock.fixed_packed(n, out)), bits }
    }

    /// Deals what [`Truncation::draw`] draws, for a shift by `by` bits, 0 to `bits` less two.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, (bits, out): (u8, u8), by: u8) {
        let r = dealing.free(n);
        dealing.fix_packed(lower(&r, bits, by), out);
        dealing.fix_packed(upper(&r, bits, by), out);
    }
}

/// Of each r of so many bits: what is below its top bit, shifted.
pub(crate) fn lower(r: &[u64], bits: u8, by: u8) -> Words {
    Zeroizing::new(r.iter().map(|r| (r & low(bits)) >> by).collect())
}

/// Of each r of so many bits: its top bit, shifted.
pub(crate) fn upper(r: &[u64], bits: u8, by: u8) -> Words {
    Zeroizing::new(r.iter().map(|r| (r >> (bits - 1) & 1) << (bits - 1 - by)).collect())
}

/// The public part of x >> by from the opened c = x + 2^(bits-2) + r modulo 2^bits, and the sign of the top bit's share.
pub(crate) fn public_part(c: u64, bits: u8, by: u8) -> (u64, u64) {
    let top = c >> (bits - 1) & 1;
    let part = ((c & low(bits)) >> by).wrapping_add(top << (bits - 1 - by)).wrapping_sub(offset(bits) >> by);
    (part, 1u64.wrapping_sub(2 * top))
}

/// x / 2^by, rounded down or one unit higher, for |x| < 2^(k-2), with material of k bits. One round; each party sends k
/// bits an element to each other; twice the bits of what comes out are dealt.
///
/// x' = x + 2^(k-2) is in [0, 2^(k-1)). With c = x' + r modulo 2^k, c = c' + 2^(k-1) c_top and r = r' + 2^(k-1) r_top:
/// x' = c' - r' + 2^(k-1) (c_top xor r_top) as integers, and shifting c' and r' apart loses at most one borrow.
pub async fn truncate(lane: &Lane, x: &Share, by: u8, t: Truncation) -> Share {
    let lead = u64::from(lane.leads());
    let (c, _) = x.map(|w| w.wrapping_add(offset(t.bits).wrapping_mul(lead))).blind_up(t.r);
    let [c] = lane.round([lane.open(c, t.bits)]).await;
    let mut y = t.top;
    for ((y, shifted), c) in y.0.iter_mut().zip(t.shifted.0.iter()).zip(&c.0) {
        let (part, sign) = public_part(*c, t.bits, by);
        *y = part.wrapping_mul(lead).wrapping_add(sign.wrapping_mul(*y)).wrapping_sub(*shifted);
    }
    y
}
