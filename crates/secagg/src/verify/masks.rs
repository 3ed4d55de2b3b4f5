//! The masks of a sum, made again from what was opened.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::{Prg, PublicPoint, SecretScalar, SignedPrg};
use tacit_types::{Hash, Seat};

use crate::graph::Topology;
use crate::keys::{self, PeerKeys};

/// Where the masks of a round come from.
pub(crate) struct Opened<'a> {
    pub tr: Hash,
    pub rho: u16,
    pub topology: &'a Topology,
    pub participants: &'a [Seat],
    pub survivors: &'a BTreeSet<Seat>,
    /// b of survivors, s of the others.
    pub secrets: &'a [(Seat, [u8; 32])],
}

/// Why the masks cannot be made.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Unmade {
    /// A secret is missing, doubled, too many, or has no keys to be checked with.
    Incomplete,
    /// This seat's secret is not that of its signed keys.
    Wrong(Seat),
}

impl Opened<'_> {
    /// Every mask to take off the sum.
    ///
    /// # Errors
    /// The first seat whose secret is missing or wrong.
    pub fn masks<'k>(&self, keys_of: impl Fn(Seat) -> Option<&'k PeerKeys>) -> Result<Vec<SignedPrg>, Unmade> {
        let secrets: BTreeMap<Seat, &[u8; 32]> = self.secrets.iter().map(|(seat, s)| (*seat, s)).collect();
        let wanted = |s: &&Seat| self.survivors.contains(s) || self.near(**s).next().is_some();
        let wanted: Vec<Seat> = self.participants.iter().filter(wanted).copied().collect();
        if secrets.len() != self.secrets.len() || !secrets.keys().eq(wanted.iter()) {
            return Err(Unmade::Incomplete);
        }
        let mut masks = Vec::new();
        for (seat, bytes) in secrets {
            let theirs = keys_of(seat).ok_or(Unmade::Incomplete)?;
            let survives = self.survivors.contains(&seat);
            let secret = genuine(seat, self.rho, survives, bytes, theirs).ok_or(Unmade::Wrong(seat))?;
            if survives {
                let seed = keys::self_seed(&self.tr, seat, &secret);
                masks.push(SignedPrg { prg: Prg::new(&seed), subtract: true });
                continue;
            }
            let public: PublicPoint = theirs.mask;
            let known = |peer: Seat| Some((peer, keys_of(peer)?.mask));
            let peers: Option<Vec<_>> = self.near(seat).map(known).collect();
            let peers = peers.ok_or(Unmade::Incomplete)?;
            for (seed, (peer, _)) in keys::pair_seeds(&self.tr, (seat, &secret, &public), &peers).iter().zip(&peers) {
                // The sign is the opposite of the survivor's.
                masks.push(SignedPrg { prg: Prg::new(seed), subtract: *peer < seat });
            }
        }
        Ok(masks)
    }

    /// A lost seat's surviving neighbours: they added a mask with it.
    fn near(&self, lost: Seat) -> impl Iterator<Item = Seat> {
        self.topology.neighbours(lost).into_iter().filter(|s| self.survivors.contains(s))
    }
}

/// The secret, if it is the one of these keys.
pub(crate) fn genuine(seat: Seat, rho: u16, own: bool, bytes: &[u8; 32], keys: &PeerKeys) -> Option<SecretScalar> {
    let secret = SecretScalar::from_canonical(bytes)?;
    let fits = if own { keys::self_hash(seat, rho, &secret) == keys.own } else { secret.public() == keys.mask };
    fits.then_some(secret)
}
