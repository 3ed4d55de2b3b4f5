//! Sums that nobody with a seat can read: every node also adds a mask that only the recipient can
//! take off, and only with the point that the node hands out once the receipt is logged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tacit_crypto::{Prg, PublicPoint, SealKey, SealPublic, SignedPrg};
use tacit_protocol::Seating;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, Seat};

use crate::keys;
use crate::mask::apply_masks;
use crate::messages::Header;
use crate::signed::{Kind, Signed, first_forged};
use crate::vector::{Vector, Width};

/// A node's release point R_i. Worth nothing without the recipient's secret key, and the recipient's
/// key is worth nothing without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The compressed Ristretto point.
    pub point: [u8; 32],
}

impl Release {
    /// What the node's signed header commits to.
    pub(crate) fn commitment(&self, tr: &Hash, seat: Seat) -> Hash {
        keys::release_commitment(tr, seat, &self.point)
    }
}

/// A sum under the survivors' blinding. To anyone but the recipient it is a uniformly random vector.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blinded {
    /// T_r, the round.
    pub transcript: Hash,
    /// The recipient.
    pub recipient: SealPublic,
    /// The ring.
    pub width: Width,
    /// Little-endian elements.
    pub vector: Blob,
    /// The survivors' signed headers, which commit to the release points.
    pub headers: Vec<Signed>,
}

impl Blinded {
    /// The seats in the sum, in order.
    pub fn survivors(&self) -> Vec<Seat> {
        self.headers.iter().map(|h| h.seat).collect()
    }

    /// Whether a release is the one that a survivor's header commits to; `None` for who is no survivor.
    pub fn commits(&self, seat: Seat, release: Option<&Release>) -> Option<bool> {
        let header = self.headers.iter().find(|h| h.seat == seat)?.open::<Header>();
        let fits = |(header, release): (Header, &Release)| {
            release.commitment(&self.transcript, seat) == header.release
                && PublicPoint::from_bytes(&release.point).is_some()
        };
        Some(header.zip(release).is_some_and(fits))
    }

    /// Whether every survivor signed its header for this round.
    pub fn verify(&self, seating: &Seating) -> bool {
        let all: Vec<&Signed> = self.headers.iter().collect();
        all.iter().all(|h| h.claims(Kind::Header, &self.transcript, 0, h.seat)) && first_forged(seating, &all).is_none()
    }
}

/// Takes the blinding off.
///
/// # Errors
/// `job.not_ours` when the sum is blinded for another key; `receipt.invalid` when a survivor's
/// release is missing or is not the one that it committed to, or the vector is malformed.
pub fn unblind(key: &SealKey, blinded: &Blinded, releases: &BTreeMap<Seat, Release>) -> Result<Vector, Fault> {
    let invalid = |what: String| Fault::new(Code::ReceiptInvalid, what);
    if key.public() != blinded.recipient {
        return Err(Fault::new(Code::JobNotOurs, "the sum is blinded for another key"));
    }
    let recipient = key.public().point().ok_or_else(|| invalid("the recipient's key".into()))?;
    let mut sum = Vector::from_bytes(blinded.width, &blinded.vector)
        .ok_or_else(|| invalid("the blinded vector is not whole elements".into()))?;
    let mut masks = Vec::with_capacity(blinded.headers.len());
    for (i, signed) in blinded.headers.iter().enumerate() {
        let seat = signed.seat;
        if blinded.headers.iter().take(i).any(|h| h.seat == seat) {
            return Err(invalid(format!("{seat} stands twice")));
        }
        let header: Header = signed.open().ok_or_else(|| invalid(format!("the header of {seat}")))?;
        let release = releases.get(&seat).ok_or_else(|| invalid(format!("no release of {seat}")))?;
        if release.commitment(&blinded.transcript, seat) != header.release {
            return Err(invalid(format!("the release of {seat} is not the one it committed to")));
        }
        let point = PublicPoint::from_bytes(&release.point)
            .ok_or_else(|| invalid(format!("the release of {seat} is not a group element")))?;
        let agreement = key.scalar().agree(&point);
        let seed = keys::blind_seed(&blinded.transcript, seat, &point, &recipient, &agreement);
        masks.push(SignedPrg { prg: Prg::new(&seed), subtract: true });
    }
    apply_masks(&mut sum, &masks);
    Ok(sum)
}
