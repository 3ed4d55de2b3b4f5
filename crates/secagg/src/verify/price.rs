//! What checked sums cost beside plain ones, in bytes of message bodies. Rounds and exchanges are as many.

use super::pieces::Shape;
use super::tag::TAG_BYTES;
use super::{CLAIM_BYTES, VERIFIED_BYTES_MAX};
use crate::messages::{DIGEST_BYTES, SIGNED_BYTES};
use crate::vector::Width;

/// The vector of a round, as far as its price goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priced {
    /// The ring.
    pub width: Width,
    /// Elements.
    pub len: u64,
    /// Whether a recipient gets the sum, and not the nodes.
    pub blind: bool,
}

/// Bytes that parties send beyond those of plain sums. Exact in a complete graph while nobody is lost or lies: the vector
/// of each survivor that is lost before its tags goes to every other one, and a drawn graph shows more bundles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Price {
    /// Each seat but the aggregator, to it.
    pub member: u64,
    /// The aggregator, to all others.
    pub aggregator: u64,
}

/// Prices rounds of so many seats.
pub fn price(seats: usize, rounds: impl IntoIterator<Item = Priced>) -> Price {
    let (n, mut each, mut member) = (seats, 0usize, 0usize);
    for round in rounds {
        let shape = Shape { width: round.width, len: round.len };
        let tags = SIGNED_BYTES + 32 + 8 + TAG_BYTES * shape.pieces();
        let proof = SIGNED_BYTES + 32 + 8 + n * tags + 8 + 8 + n * (2 + 32);
        each = each.saturating_add(CLAIM_BYTES + proof + shape.carries());
        // The masked sum goes out in place of the sum, or beside the digest of the blinded one.
        let pieces = SIGNED_BYTES + 32 + 8 + 32 * shape.pieces();
        each = if round.blind { each.saturating_add(shape.bytes() + pieces) } else { each } - DIGEST_BYTES;
        member = member.saturating_add(tags);
    }
    Price { member: member as u64, aggregator: each.saturating_mul(n.saturating_sub(1)) as u64 }
}

/// Whether the aggregator of so many seats may keep the vectors of a checked round: see [`VERIFIED_BYTES_MAX`].
pub fn fits(seats: usize, width: Width, len: u64) -> bool {
    Shape { width, len }.bytes().saturating_mul(seats) <= VERIFIED_BYTES_MAX
}
