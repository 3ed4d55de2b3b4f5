//! Transcripts and derived keys. Every preimage begins with `tacit-secagg/1/` and a word; every field
//! is of fixed width or prefixed with its length. A mask key is bound to the whole history of its
//! round, so parties that were told different things share no mask.

use tacit_crypto::agree::derive;
use tacit_crypto::{Agreement, PrgSeed, PublicPoint, Rng, Secret, SecretScalar, Transcript};
use tacit_protocol::Seating;
use tacit_types::{Hash, Seat};

use crate::messages::{Entry, KeySet};
use crate::plan::Plan;

/// The cipher suite: AES-256-CTR masks, Ristretto, HKDF-SHA256, AES-256-GCM, Ed25519, BLAKE3.
const SUITE: u64 = 1;

/// T0: what the job fixed before anyone spoke. The first step number tells one epoch of a job from
/// the next.
pub(crate) fn t0(plan: &Plan, seating: &Seating) -> Hash {
    let t = Transcript::new("tacit-secagg/1/T0")
        .fixed(&plan.context.0)
        .u64(SUITE)
        .u64(u64::from(plan.step_base))
        .u64(u64::from(plan.rounds))
        .u64(u64::from(plan.aggregator.0));
    let t = plan.params.absorb(t).u64(seating.len() as u64);
    seating.seats().filter_map(|s| seating.node(s)).fold(t, |t, node| t.fixed(node.as_bytes())).finish()
}

/// The hash of the roll: who accepted, with which commitments to nonces.
pub(crate) fn roll_hash(t0: &Hash, commitments: &[(Seat, Hash)]) -> Hash {
    let t = Transcript::new("tacit-secagg/1/roll").fixed(&t0.0).u64(commitments.len() as u64);
    commitments.iter().fold(t, |t, (seat, c)| t.u64(u64::from(seat.0)).fixed(&c.0)).finish()
}

/// The commitment to a nonce.
pub(crate) fn nonce_commitment(t0: &Hash, seat: Seat, nonce: &[u8; 32]) -> Hash {
    Transcript::new("tacit-secagg/1/nonce").fixed(&t0.0).u64(u64::from(seat.0)).fixed(nonce).finish()
}

/// T1: the set-up with every participant's keys.
pub(crate) fn t1(t0: &Hash, roll: &Hash, entries: &[Entry]) -> Hash {
    let t = Transcript::new("tacit-secagg/1/T1").fixed(&t0.0).fixed(&roll.0);
    let t = t.u64(entries.len() as u64);
    entries.iter().fold(t, |t, e| t.u64(u64::from(e.seat.0)).fixed(&e.nonce).fixed(&e.bundle.0)).finish()
}

/// T_r: one round, from the exact signed bytes of its terms, which name the round key, query, model
/// root, ring, length, delivery and participants.
pub(crate) fn round(t1: &Hash, rho: u16, terms: &[u8]) -> Hash {
    Transcript::new("tacit-secagg/1/Tr").fixed(&t1.0).u64(u64::from(rho)).bytes(terms).finish()
}

/// H(U): one list of survivors with the hashes of their headers.
pub(crate) fn survivors(tr: &Hash, headers: impl ExactSizeIterator<Item = (Seat, Hash)>) -> Hash {
    let t = Transcript::new("tacit-secagg/1/U").fixed(&tr.0).u64(headers.len() as u64);
    headers.fold(t, |t, (seat, hash)| t.u64(u64::from(seat.0)).fixed(&hash.0)).finish()
}

/// H(b): the public commitment to a self mask.
pub(crate) fn self_hash(seat: Seat, rho: u16, b: &SecretScalar) -> Hash {
    Transcript::new("tacit-secagg/1/b")
        .u64(u64::from(seat.0))
        .u64(u64::from(rho))
        .fixed(b.to_bytes().expose_secret())
        .finish()
}

/// The masks that a seat shares with others, in their order. Both derive a mask, the one with the smaller seat adds it.
pub(crate) fn pair_seeds(
    tr: &Hash,
    (seat, secret, public): (Seat, &SecretScalar, &PublicPoint),
    peers: &[(Seat, PublicPoint)],
) -> Vec<PrgSeed> {
    let points: Vec<PublicPoint> = peers.iter().map(|(_, point)| *point).collect();
    let seed = |(agreement, peer): (Agreement, &(Seat, PublicPoint))| {
        let (mine, theirs) = ((seat, public), (peer.0, &peer.1));
        let (low, high) = if seat < peer.0 { (mine, theirs) } else { (theirs, mine) };
        let seats = (low.0.0.to_le_bytes(), high.0.0.to_le_bytes());
        let info: [&[u8]; 5] = [b"tacit-secagg/1/mask", &seats.0, &seats.1, low.1.as_bytes(), high.1.as_bytes()];
        agreement.derive(&tr.0, &info)
    };
    secret.agree_all(&points).into_iter().zip(peers).map(seed).collect()
}

/// A seat's own mask, opened when the seat survives.
pub(crate) fn self_seed(tr: &Hash, seat: Seat, b: &SecretScalar) -> PrgSeed {
    derive(&tr.0, b.to_bytes().expose_secret(), &[b"tacit-secagg/1/self", &seat.0.to_le_bytes()])
}

/// The mask that only the recipient can take off.
pub(crate) fn blind_seed(
    tr: &Hash,
    seat: Seat,
    release: &PublicPoint,
    recipient: &PublicPoint,
    a: &Agreement,
) -> PrgSeed {
    a.derive(&tr.0, &[b"tacit-secagg/1/blind", &seat.0.to_le_bytes(), release.as_bytes(), recipient.as_bytes()])
}

/// The commitment to a release point in a signed header.
pub(crate) fn release_commitment(tr: &Hash, seat: Seat, point: &[u8; 32]) -> Hash {
    Transcript::new("tacit-secagg/1/release").fixed(&tr.0).u64(u64::from(seat.0)).fixed(point).finish()
}

/// The key that seals `from`'s shares to `to`. It seals one message.
pub(crate) fn share_key(t1: &Hash, agreement: &Agreement, from: Seat, to: Seat, rho: u16) -> Secret<[u8; 32]> {
    agreement.derive(&t1.0, &[b"tacit-secagg/1/share", &from.0.to_le_bytes(), &to.0.to_le_bytes(), &rho.to_le_bytes()])
}

/// The key that seals a seat's openings to the aggregator. It seals one message.
pub(crate) fn opening_key(tr: &Hash, agreement: &Agreement, from: Seat, to: Seat) -> Secret<[u8; 32]> {
    agreement.derive(&tr.0, &[b"tacit-secagg/1/open", &from.0.to_le_bytes(), &to.0.to_le_bytes()])
}

/// What a sealed share is bound to.
pub(crate) fn share_context(t1: &Hash, rho: u16, from: Seat, to: Seat) -> Vec<u8> {
    [&t1.0[..], &rho.to_le_bytes(), &from.0.to_le_bytes(), &to.0.to_le_bytes()].concat()
}

/// One round key's secrets of one seat. Erased on drop; used once.
pub(crate) struct RoundKeys {
    /// s, the pair masks.
    pub mask: SecretScalar,
    /// S = s G.
    pub mask_public: PublicPoint,
    /// e, the sealing of shares and openings.
    pub seal: SecretScalar,
    /// b, the self mask.
    pub own: SecretScalar,
}

impl RoundKeys {
    pub fn random(rng: &mut Rng) -> Self {
        let mask = SecretScalar::random(rng);
        let mask_public = mask.public();
        Self { mask, mask_public, seal: SecretScalar::random(rng), own: SecretScalar::random(rng) }
    }

    /// The public half.
    pub fn public(&self, seat: Seat, rho: u16) -> KeySet {
        KeySet {
            mask: *self.mask_public.as_bytes(),
            seal: *self.seal.public().as_bytes(),
            own: self_hash(seat, rho, &self.own),
        }
    }
}

/// A peer's public keys of one round key, decoded.
#[derive(Clone, Copy)]
pub(crate) struct PeerKeys {
    /// S.
    pub mask: PublicPoint,
    /// E.
    pub seal: PublicPoint,
    /// H(b).
    pub own: Hash,
}

impl PeerKeys {
    /// Decodes; `None` for the identity and non-canonical points.
    pub fn decode(keys: &KeySet) -> Option<Self> {
        Some(Self {
            mask: PublicPoint::from_bytes(&keys.mask)?,
            seal: PublicPoint::from_bytes(&keys.seal)?,
            own: keys.own,
        })
    }
}
