//! Signed bodies: the only thing that one seat believes of another. A body is signed over its kind,
//! the transcript that it belongs to and its slot, so it means nothing anywhere else, and two
//! different bodies for one slot convict their signer.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tacit_crypto::Transcript;
use tacit_crypto::sign::{Signature, verify_batch};
use tacit_protocol::{Party, Seating};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Hash, Seat};

/// What a signed body is. The numbers are part of every signature and never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A seat takes part, with a commitment to its nonce.
    Accept,
    /// A seat's nonce and public keys.
    Bundle,
    /// The root of a dealer's share commitments.
    Root,
    /// The deals that a seat holds, and its complaints.
    Dealt,
    /// The aggregator's list of participants of the epoch.
    Ready,
    /// The aggregator's terms of a round.
    Start,
    /// The header of a masked vector.
    Header,
    /// The aggregator's receipt for a masked vector.
    Receipt,
    /// The aggregator's list of survivors.
    Survivors,
    /// A seat's vote for one list of survivors.
    Vote,
    /// The aggregator's collection of votes.
    Quorum,
    /// A seat's openings.
    Unmask,
    /// The aggregator's digest of the sum.
    Result,
    /// A seat's promise never to open anything for a round.
    NoUnmask,
    /// The tags of a seat's masked vector.
    Tags,
    /// What the aggregator says that a sum is checked with.
    Proof,
    /// A seat's one-time point for a sum without drop-out.
    Point,
}

/// A body with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// What it is.
    pub kind: Kind,
    /// The transcript it belongs to.
    pub scope: Hash,
    /// The slot within the transcript, where a seat may sign several.
    pub slot: u32,
    /// The signer's seat.
    pub seat: Seat,
    /// The exact signed bytes.
    pub body: Blob,
    /// Over all of the above.
    pub signature: Signature,
}

impl Signed {
    /// Signs a body with the party's key.
    pub(crate) fn new(party: &Party, kind: Kind, scope: &Hash, slot: u32, body: &impl Serialize) -> Self {
        let body = Blob(wire::encode(body));
        let seat = party.seat();
        let signature = party.sign(message(kind, scope, slot, seat, &body).as_bytes());
        Self { kind, scope: *scope, slot, seat, body, signature }
    }

    /// Signs a body as a seat whose key the test holds.
    #[cfg(test)]
    pub(crate) fn with_key(key: &tacit_crypto::SigningKey, seat: Seat, like: &Signed, body: &impl Serialize) -> Self {
        let body = Blob(wire::encode(body));
        let signature = key.sign(message(like.kind, &like.scope, like.slot, seat, &body).as_bytes());
        Self { seat, body, signature, ..like.clone() }
    }

    /// Parses bytes; no signature is checked yet.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        wire::decode_capped(bytes, MESSAGE_BYTES_MAX).ok()
    }

    /// The bytes that [`Signed::read`] parses.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Whether it claims to be this message.
    pub(crate) fn claims(&self, kind: Kind, scope: &Hash, slot: u32, seat: Seat) -> bool {
        (self.kind, self.scope, self.slot, self.seat) == (kind, *scope, slot, seat)
    }

    /// Whether the signature is the seat's.
    pub fn verify(&self, seating: &Seating) -> bool {
        let keys = seating.verifiers(self.seat);
        keys.iter().any(|key| key.verify(self.message().as_bytes(), &self.signature))
    }

    /// Whether it is this message, signed by that seat.
    pub(crate) fn is(&self, seating: &Seating, kind: Kind, scope: &Hash, slot: u32, seat: Seat) -> bool {
        self.claims(kind, scope, slot, seat) && self.verify(seating)
    }

    /// The body, when its bytes are the encoding of a `T`.
    pub(crate) fn open<T: DeserializeOwned>(&self) -> Option<T> {
        wire::decode_capped(&self.body, MESSAGE_BYTES_MAX).ok()
    }

    /// The hash of the body.
    pub(crate) fn body_hash(&self) -> Hash {
        Transcript::new("tacit-secagg/1/body").bytes(&self.body).finish()
    }

    fn message(&self) -> Hash {
        message(self.kind, &self.scope, self.slot, self.seat, &self.body)
    }
}

fn message(kind: Kind, scope: &Hash, slot: u32, seat: Seat, body: &[u8]) -> Hash {
    Transcript::new("tacit-secagg/1/signed")
        .u64(kind as u64)
        .fixed(&scope.0)
        .u64(u64::from(slot))
        .u64(u64::from(seat.0))
        .bytes(body)
        .finish()
}

/// The first of these whose signature is not its seat's; `None` when all are.
pub(crate) fn first_forged<'a>(seating: &Seating, all: &[&'a Signed]) -> Option<&'a Signed> {
    let messages: Vec<Hash> = all.iter().map(|s| s.message()).collect();
    let (mut items, mut rest) = (Vec::with_capacity(all.len()), true);
    for (s, m) in all.iter().zip(&messages) {
        match seating.verifiers(s.seat) {
            [key] => items.push((key, m.as_bytes().as_slice(), s.signature)),
            // While one key gives way to another, either may have signed.
            _ => rest &= s.verify(seating),
        }
    }
    if rest && verify_batch(&items) {
        return None;
    }
    all.iter().find(|s| !s.verify(seating)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Secret, SigningKey};

    #[test]
    fn while_a_key_gives_way_to_another_either_signs() {
        let key = |seed: u8| SigningKey::from_seed(&Secret::new([seed; 32]));
        let [one, two, next, thief] = [1, 2, 3, 4].map(key);
        let plain = Seating::new(vec![one.id(), two.id()]).unwrap();
        let (a, b) = (plain.seat_of(&one.id()).unwrap(), plain.seat_of(&two.id()).unwrap());
        let overlap = plain.clone().signing(|id| match *id == one.id() {
            true => vec![one.id(), next.id()],
            false => vec![*id],
        });
        let like = Signed {
            kind: Kind::Accept,
            scope: Hash([7; 32]),
            slot: 0,
            seat: a,
            body: Blob::default(),
            signature: one.sign(b""),
        };
        let by = |key: &SigningKey, seat: Seat| Signed::with_key(key, seat, &like, &1u8);
        let other = by(&two, b);
        for good in [by(&one, a), by(&next, a)] {
            assert_eq!(first_forged(&overlap, &[&good, &other]), None);
        }
        let forged = by(&thief, a);
        assert_eq!(first_forged(&overlap, &[&other, &forged]), Some(&forged));
        let forged = by(&next, b);
        assert_eq!(first_forged(&overlap, &[&by(&next, a), &forged]), Some(&forged));
        let early = by(&next, a);
        assert_eq!(first_forged(&plain, &[&early, &other]), Some(&early));
    }
}
