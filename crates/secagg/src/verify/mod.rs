//! Verify mode: every survivor recomputes the masks and checks the sum against signed tags, so that
//! an aggregator can give a wrong sum to nobody, nor different sums to two.
//!
//! The aggregator commits to the sum of the masked vectors, over the whole numbers, in the very list
//! of survivors that is voted on. Coefficients are drawn from the hash that the votes are for; each
//! survivor signs the tag of its vector beside its vote. With the result come the sum of the masked
//! vectors, the opened secrets and the tags; where a tag is missing or wrong, the vector itself, which
//! its owner's signed header fixes. A survivor checks that all of it fits and takes the masks off with
//! its own hands. `docs/protocols/secagg.md` has the argument.

pub(crate) mod evidence;
pub(crate) mod hub;
pub(crate) mod masks;
pub(crate) mod member;
pub(crate) mod pieces;
pub mod price;
pub(crate) mod tag;

use serde::{Deserialize, Serialize};
use tacit_protocol::Seating;
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, Seat};

use crate::keys;
use crate::messages::{Caps, Header, Survivors};
use crate::params::Params;
use crate::plan::{Phase, Round};
use crate::signed::{Kind, Signed, first_forged};
use pieces::Shape;
use tag::{TAG_BYTES, Tag};

/// Bytes of all the vectors of a round that is verified: the aggregator keeps them until every tag is
/// checked, since it must show the vector of a seat that was lost before it sent its tag.
pub const VERIFIED_BYTES_MAX: usize = 256 << 20;

/// Phase numbers of verify mode within a round's steps, after those of every round.
pub(crate) mod phase {
    pub const TAGS: u16 = 9;
    pub const PROOF: u16 = 10;
    pub const MASKED_SUM: u16 = 11;
    pub const SHOWN: u16 = 12;
}

/// What verify mode adds to [`crate::PHASES`].
pub const VERIFY_PHASES: &[Phase] = &[
    Phase { setup: false, number: phase::TAGS, name: "tags" },
    Phase { setup: false, number: phase::PROOF, name: "proof" },
    Phase { setup: false, number: phase::MASKED_SUM, name: "masked_sum" },
    Phase { setup: false, number: phase::SHOWN, name: "shown" },
];

/// Bytes of a claim.
pub(crate) const CLAIM_BYTES: usize = 4 + 8 + 32;

/// What the aggregator says that the masked vectors add up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub shape: Shape,
    /// Of the tree over the cells of the sum and their carries.
    pub root: Hash,
}

/// Step 4 in verify mode: U with all headers, and the claim.
#[derive(Serialize, Deserialize)]
pub(crate) struct ClaimedSurvivors {
    pub headers: Vec<Signed>,
    pub claim: Claim,
}

/// Step 5b, beside the vote: the tags of a seat's vector, piece by piece.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tags {
    /// H(U), from which the coefficients follow.
    pub survivors: Hash,
    pub tags: Vec<[u8; TAG_BYTES]>,
}

/// Step 8 in verify mode, from the aggregator: what the sum is checked with.
#[derive(Serialize, Deserialize)]
pub(crate) struct Proof {
    /// H(U).
    pub survivors: Hash,
    /// Signed tags, in order of seat.
    pub tags: Vec<Signed>,
    /// Survivors whose vectors are shown instead, in order of seat.
    pub shown: Vec<Seat>,
    /// b of each survivor and s of each other participant with a surviving neighbour, in order of seat.
    pub secrets: Vec<(Seat, [u8; 32])>,
}

/// Step 8 in verify mode, from the aggregator, when there is a recipient: the pieces of the blinded sum.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PieceDigest {
    /// H(U).
    pub survivors: Hash,
    pub leaves: Vec<Hash>,
}

/// The list of survivors of a verified round.
pub(crate) struct List {
    pub signed: Signed,
    /// Each survivor with the root of its vector.
    pub roots: Vec<(Seat, Hash)>,
    headers: Vec<Signed>,
    pub claim: Claim,
    /// H(U).
    pub hash: Hash,
}

impl List {
    /// Parses a list, whose vectors are none that a round would not verify; no signature is checked.
    pub fn read(signed: &Signed) -> Option<Self> {
        let body = signed.open::<ClaimedSurvivors>().filter(|_| signed.kind == Kind::Survivors)?;
        if body.claim.shape.bytes() > VERIFIED_BYTES_MAX {
            return None;
        }
        let roots = body.headers.iter().map(|h| Some((h.seat, h.open::<Header>()?.root))).collect::<Option<_>>()?;
        let hash = agreed_hash(&signed.scope, &body.headers, Some(&body.claim));
        Some(Self { signed: signed.clone(), roots, headers: body.headers, claim: body.claim, hash })
    }

    /// The survivors' headers, in order of seat.
    pub fn headers(&self) -> &[Signed] {
        &self.headers
    }

    /// A survivor's header.
    pub fn header(&self, seat: Seat) -> Option<&Signed> {
        self.headers.iter().find(|h| h.seat == seat)
    }

    /// The root that a survivor's header gives.
    pub fn root(&self, seat: Seat) -> Option<Hash> {
        self.roots.iter().find(|(s, _)| *s == seat).map(|(_, root)| *root)
    }
}

/// H(U): the survivors, their headers, and in verify mode the claim.
pub(crate) fn agreed_hash(tr: &Hash, headers: &[Signed], claim: Option<&Claim>) -> Hash {
    let survivors = keys::survivors(tr, headers.iter().map(|h| (h.seat, h.body_hash())));
    match claim {
        None => survivors,
        Some(claim) => tacit_crypto::Transcript::new("tacit-secagg/1/claimed")
            .fixed(&survivors.0)
            .u64(u64::from(claim.shape.width.bits()))
            .u64(claim.shape.len)
            .fixed(&claim.root.0)
            .finish(),
    }
}

/// The headers of a list of either mode, and the claim.
pub(crate) fn read_headers(signed: &Signed, verified: bool) -> Option<(Vec<Signed>, Option<Claim>)> {
    if verified {
        signed.open::<ClaimedSurvivors>().map(|body| (body.headers, Some(body.claim)))
    } else {
        signed.open::<Survivors>().map(|body| (body.headers, None))
    }
}

/// A round's shape.
pub(crate) fn shape(round: &Round) -> Shape {
    Shape { width: round.width, len: round.len as u64 }
}

/// Checks that a round can be verified within [`VERIFIED_BYTES_MAX`]; always so when it is not to be.
///
/// # Errors
/// `refused.parameters`.
pub(crate) fn check(params: &Params, round: &Round) -> Result<(), Fault> {
    if !params.is_verified() || price::fits(usize::from(params.seats()), round.width, round.len as u64) {
        return Ok(());
    }
    let what = format!("{} vectors of {} elements are more than a verified round keeps", params.seats(), round.len);
    Err(Fault::new(Code::RefusedParameters, what))
}

impl Proof {
    /// The sum of all tags of a piece that its parties signed, once the proof is whole: every survivor is
    /// tagged or shown, once, and every tag is its seat's, for this list and of the right shape.
    /// `None` when it is not.
    pub fn tagged(&self, seating: &Seating, list: &List) -> Option<Vec<Tag>> {
        let (tr, pieces) = (&list.signed.scope, list.claim.shape.pieces());
        let mut seats: Vec<Seat> = self.tags.iter().map(|t| t.seat).chain(self.shown.iter().copied()).collect();
        seats.sort_unstable();
        let everyone = seats.iter().eq(list.roots.iter().map(|(seat, _)| seat));
        let ours = self.tags.iter().all(|t| t.claims(Kind::Tags, tr, 0, t.seat));
        let all: Vec<&Signed> = self.tags.iter().collect();
        if self.survivors != list.hash || !everyone || !ours || first_forged(seating, &all).is_some() {
            return None;
        }
        let mut sums = vec![Tag::default(); pieces];
        for signed in &self.tags {
            let tags = read_tags(signed, list)?;
            sums.iter_mut().zip(tags).for_each(|(sum, tag)| *sum = sum.plus(tag));
        }
        Some(sums)
    }
}

/// A seat's tags, when they are for this list and of its shape.
pub(crate) fn read_tags(signed: &Signed, list: &List) -> Option<Vec<Tag>> {
    let body = signed.open::<Tags>().filter(|_| signed.kind == Kind::Tags)?;
    if body.survivors != list.hash || body.tags.len() != list.claim.shape.pieces() {
        return None;
    }
    body.tags.iter().map(Tag::from_bytes).collect()
}

/// The most bytes of a seat's tags.
pub(crate) fn tags_cap(caps: Caps, shape: Shape) -> usize {
    caps.vote() + 8 + TAG_BYTES * shape.pieces()
}

/// The most bytes of the digest of a blinded sum.
pub(crate) fn pieces_cap(caps: Caps, shape: Shape) -> usize {
    caps.vote() + 8 + 32 * shape.pieces()
}

/// The most bytes of a proof.
pub(crate) fn proof_cap(caps: Caps, shape: Shape) -> usize {
    let tags = caps.seats.saturating_mul(tags_cap(caps, shape));
    tags.saturating_add(caps.receipt() + 24 + caps.seats * (2 + 2 + 32)).min(MESSAGE_BYTES_MAX)
}
