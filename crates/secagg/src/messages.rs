//! The bodies of the messages and the most bytes that each may have.

use serde::{Deserialize, Serialize};
use tacit_crypto::SealPublic;
use tacit_types::wire::Blob;
use tacit_types::{Hash, Seat};

use crate::plan::{Delivery, Round};
use crate::signed::Signed;
use crate::vector::Width;

/// The encoded bytes of a [`Signed`] beside its body.
pub(crate) const SIGNED_BYTES: usize = 4 + 32 + 4 + 2 + 8 + 64;

/// Set-up, step 1: a node takes part.
#[derive(Serialize, Deserialize)]
pub(crate) struct Accept {
    /// To the nonce that the bundle reveals.
    pub commitment: Hash,
}

/// Set-up, step 2, from the aggregator: everyone who accepted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Roll {
    pub accepts: Vec<Signed>,
}

/// The public half of one round key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeySet {
    /// S, for pair masks.
    pub mask: [u8; 32],
    /// E, for sealing.
    pub seal: [u8; 32],
    /// H(b).
    pub own: Hash,
}

/// Set-up, step 3: a node's nonce and keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Bundle {
    /// The roll that this node has seen.
    pub roll: Hash,
    pub nonce: [u8; 32],
    /// One for each round key.
    pub keys: Vec<KeySet>,
}

/// One line of the book.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub seat: Seat,
    pub nonce: [u8; 32],
    /// The hash of the bundle's body.
    pub bundle: Hash,
}

/// Set-up, step 4, from the aggregator: everyone's nonces and hashes, and the bundles of the
/// receiver's neighbours and of the aggregator.
#[derive(Serialize, Deserialize)]
pub(crate) struct Book {
    pub entries: Vec<Entry>,
    pub bundles: Vec<Signed>,
}

/// The body of a dealer's signed root.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Root {
    pub root: Hash,
    /// The hash of the dealer's bundle, so that the two convict together.
    pub bundle: Hash,
    /// Holders and round keys, so that the shape of the tree is known without the graph.
    pub holders: u16,
    pub keys: u16,
    /// Shares that give a secret: fewer convict nobody.
    pub threshold: u16,
}

/// Set-up, step 5, from each dealer to each of its neighbours.
#[derive(Serialize, Deserialize)]
pub(crate) struct Deal {
    pub root: Signed,
    /// From the holder's commitments up to the root.
    pub path: Vec<Hash>,
    /// The sealed shares of s and b, one for each round key.
    pub sealed: Vec<Blob>,
}

/// Set-up, step 6: which deals a node holds, with their roots, and who failed to deal.
#[derive(Serialize, Deserialize)]
pub(crate) struct Dealt {
    pub roots: Vec<Signed>,
    /// Neighbours without a deal, and whether one came that does not open.
    pub complaints: Vec<(Seat, bool)>,
}

/// Set-up, step 7, from the aggregator: who takes part in the epoch.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ready {
    pub participants: Vec<Seat>,
}

/// Round, step 1, from the aggregator: the terms.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub query: Hash,
    pub model_root: Option<Hash>,
    pub width: Width,
    pub len: u64,
    pub recipient: Option<SealPublic>,
    pub participants: Vec<Seat>,
}

impl Terms {
    pub fn new(round: &Round, participants: Vec<Seat>) -> Self {
        Self {
            query: round.query,
            model_root: round.model_root,
            width: round.width,
            len: round.len as u64,
            recipient: match &round.delivery {
                Delivery::Nodes(_) => None,
                Delivery::Recipient { key, .. } => Some(*key),
            },
            participants,
        }
    }

    /// Whether everything but the participants is what this seat was told by the job.
    pub fn agree_with(&self, round: &Round) -> bool {
        *self == Self::new(round, self.participants.clone())
    }
}

/// Round, step 2: signed at the end of the masked stream.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// BLAKE3 of the masked bytes.
    pub root: Hash,
    /// The commitment to the release point; zeroes when the sum goes to the nodes.
    pub release: Hash,
}

/// Bytes of the signed header at the end of a masked stream.
pub(crate) const HEADER_BYTES: usize = SIGNED_BYTES + 64;

/// Round, step 3, from the aggregator: it holds this masked vector.
#[derive(Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The hash of the header's body.
    pub header: Hash,
}

/// Round, step 4, from the aggregator: U with all headers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Survivors {
    pub headers: Vec<Signed>,
}

/// Round, step 5: a node's one vote.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    /// H(U).
    pub survivors: Hash,
}

/// Round, step 6, from the aggregator: enough votes for one U among the receiver's holders.
#[derive(Serialize, Deserialize)]
pub(crate) struct Quorum {
    pub survivors: Hash,
    /// The threshold that the aggregator claims to meet.
    pub need: u16,
    pub votes: Vec<Signed>,
}

/// One opened share.
#[derive(Serialize, Deserialize)]
pub(crate) struct Opening {
    pub dealer: Seat,
    /// Of b where the dealer survives, of s where it does not.
    pub share: [u8; 32],
    /// From the share's commitment up to the dealer's root.
    pub path: Vec<Hash>,
}

/// Round, step 7: all the openings of a node.
#[derive(Serialize, Deserialize)]
pub(crate) struct Unmask {
    /// T1, so that the body convicts together with what the opener said it holds.
    pub epoch: Hash,
    /// H(U).
    pub survivors: Hash,
    pub openings: Vec<Opening>,
}

/// Round, step 8, from the aggregator: signed at the end of the stream of the sum, or alone when the
/// sum goes to a recipient.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    pub survivors: Hash,
    /// BLAKE3 of the sum's bytes, blinded ones where there is a recipient.
    pub root: Hash,
}

/// Bytes of the signed digest.
pub(crate) const DIGEST_BYTES: usize = SIGNED_BYTES + 64;

/// The body of a promise not to open.
#[derive(Serialize, Deserialize)]
pub(crate) struct Never {}

/// The most bytes of a message, given the number of seats and of round keys.
#[derive(Clone, Copy)]
pub(crate) struct Caps {
    pub seats: usize,
    pub keys: usize,
}

/// Hashes of the longest path in a tree of commitments: 1,024 holders, 32 round keys, two kinds.
pub(crate) const PATH_MAX: usize = 10 + 5 + 1;

impl Caps {
    pub fn accept(self) -> usize {
        SIGNED_BYTES + 32
    }

    pub fn roll(self) -> usize {
        8 + self.seats * self.accept()
    }

    pub fn bundle(self) -> usize {
        SIGNED_BYTES + 32 + 32 + 8 + 96 * self.keys
    }

    pub fn book(self) -> usize {
        16 + self.seats * (66 + self.bundle())
    }

    pub fn deal(self) -> usize {
        SIGNED_BYTES + 70 + 8 + 32 * PATH_MAX + 8 + self.keys * (8 + SEALED_SHARES_BYTES)
    }

    pub fn dealt(self) -> usize {
        SIGNED_BYTES + 16 + self.seats * (SIGNED_BYTES + 70 + 3)
    }

    pub fn ready(self) -> usize {
        SIGNED_BYTES + 8 + 2 * self.seats
    }

    pub fn start(self) -> usize {
        SIGNED_BYTES + 32 + 33 + 4 + 8 + 33 + 8 + 2 * self.seats
    }

    pub fn receipt(self) -> usize {
        SIGNED_BYTES + 32
    }

    pub fn survivors(self) -> usize {
        SIGNED_BYTES + 8 + self.seats * HEADER_BYTES
    }

    pub fn vote(self) -> usize {
        SIGNED_BYTES + 32
    }

    pub fn quorum(self) -> usize {
        SIGNED_BYTES + 32 + 2 + 8 + self.seats * self.vote()
    }

    pub fn unmask(self) -> usize {
        16 + SIGNED_BYTES + 64 + 8 + self.seats * (2 + 32 + 8 + 32 * PATH_MAX)
    }
}

/// Bytes of two shares and the tag.
pub(crate) const SEALED_SHARES_BYTES: usize = 64 + 16;
