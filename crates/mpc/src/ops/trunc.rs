//! Exact truncation: never the local kind of SecureML, which fails catastrophically for some masks.

use zeroize::Zeroizing;

use crate::prep::{Dealing, Stock};
use crate::value::{Pad, Share};
use crate::wire::Lane;

/// What is added so that a value of |x| < 2^62 is not negative.
pub(crate) const OFFSET: u64 = 1 << 62;
/// The lower 63 bits.
pub(crate) const LOW: u64 = u64::MAX >> 1;

/// A pad r, and shares of its lower 63 bits shifted right and of its top bit in place.
pub struct Truncation {
    r: Pad,
    shifted: Share,
    top: Share,
}

impl Truncation {
    /// Words that are dealt for `n` values.
    pub const fn fixed_words(n: usize) -> usize {
        2 * n
    }

    /// Draws this party's part.
    pub fn draw(stock: &mut Stock, n: usize) -> Self {
        Self { r: stock.pad(n), shifted: Share(stock.fixed(n)), top: Share(stock.fixed(n)) }
    }

    /// Deals what [`Truncation::draw`] draws, for a shift by `by` bits, 0 to 62.
    pub fn deal(dealing: &mut Dealing<'_>, n: usize, by: u8) {
        let r = dealing.free(n);
        dealing.fix(Zeroizing::new(r.iter().map(|r| (r & LOW) >> by).collect()));
        dealing.fix(Zeroizing::new(r.iter().map(|r| (r >> 63) << (63 - by)).collect()));
    }
}

/// The public part of x >> by from the opened c = x + 2^62 + r, and the sign of the top bit's share.
pub(crate) fn public_part(c: u64, by: u8) -> (u64, u64) {
    let top = c >> 63;
    let part = ((c & LOW) >> by).wrapping_add(top << (63 - by)).wrapping_sub(OFFSET >> by);
    (part, 1u64.wrapping_sub(2 * top))
}

/// x / 2^by, rounded down or one unit higher, for |x| < 2^62. One round; each party sends 8 bytes an
/// element to each other; 16 bytes an element are dealt.
///
/// x' = x + 2^62 is in [0, 2^63), so with c = x' + r, c = c' + 2^63 c63 and r = r' + 2^63 r63:
/// x' = c' - r' + 2^63 (c63 xor r63) as integers, and shifting c' and r' apart loses at most one borrow.
pub async fn truncate(lane: &Lane, x: &Share, by: u8, t: Truncation) -> Share {
    let lead = u64::from(lane.leads());
    let (c, _) = x.map(|w| w.wrapping_add(OFFSET.wrapping_mul(lead))).blind_up(t.r);
    let [c] = lane.round([lane.open(c, 64)]).await;
    let mut y = t.top;
    for ((y, shifted), c) in y.0.iter_mut().zip(t.shifted.0.iter()).zip(&c.0) {
        let (part, sign) = public_part(*c, by);
        *y = part.wrapping_mul(lead).wrapping_add(sign.wrapping_mul(*y)).wrapping_sub(*shifted);
    }
    y
}
