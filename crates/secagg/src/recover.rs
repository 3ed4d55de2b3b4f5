//! From openings to masks: drops what does not match a commitment, interpolates each secret once t
//! shares are there, checks it against the dealer's signed keys, and derives the masks to take off.

use std::collections::BTreeMap;

use tacit_crypto::seal::open_once;
use tacit_crypto::shamir::Lagrange;
use tacit_crypto::{Prg, PublicPoint, Secret as Hidden, SecretScalar, SignedPrg};
use tacit_protocol::{Abort, Blame, Offence, Seating};
use tacit_types::{Hash, Seat, Step, wire};

use crate::epoch::Epoch;
use crate::evidence::Share;
use crate::keys;
use crate::merkle::{Place, Secret, Shape};
use crate::messages::{Opening, Unmask};
use crate::round::{Agreed, Member};
use crate::signed::{Kind, Signed};

/// b of each survivor and s of each other seat that left masks with one. They are no secrets any more.
pub(crate) type Opened = Vec<(Seat, [u8; 32])>;

/// What the aggregator has of each dealer's secret.
struct Wanted {
    secret: Secret,
    shape: Shape,
    /// Each holder's place among the dealer's holders.
    groups: BTreeMap<Seat, usize>,
    shares: BTreeMap<Seat, SecretScalar>,
}

fn opening_keys(epoch: &Epoch, member: &Member<'_>, agreed: &Agreed) -> BTreeMap<Seat, Hidden<[u8; 32]>> {
    let hub = epoch.plan.aggregator;
    let others = agreed.seats.iter().copied().filter(|s| *s != hub);
    let peers: Vec<(Seat, PublicPoint)> =
        others.filter_map(|s| Some((s, epoch.peer(s, member.round.index)?.seal))).collect();
    let points: Vec<PublicPoint> = peers.iter().map(|(_, point)| *point).collect();
    let agreements = member.keys.seal.agree_all(&points);
    let key = |((seat, _), agreement): (&(Seat, _), _)| (*seat, keys::opening_key(&member.tr, &agreement, *seat, hub));
    peers.iter().zip(agreements).map(key).collect()
}

/// The openings of one round.
pub(crate) struct Recovery<'a> {
    tr: Hash,
    rho: u16,
    /// What the survivors seal their openings under.
    opening_keys: BTreeMap<Seat, Hidden<[u8; 32]>>,
    agreed: &'a Agreed,
    threshold: usize,
    wanted: BTreeMap<Seat, Wanted>,
    /// Signed openings, kept while a dealer may still have to be convicted with them.
    signed: Vec<Signed>,
    /// Dealers of which t shares are missing.
    open: usize,
}

impl<'a> Recovery<'a> {
    pub fn new(epoch: &Epoch, member: &'a Member<'_>, agreed: &'a Agreed) -> Self {
        let survives = |s: &Seat| agreed.seats.contains(s);
        let needs = |dealer: &Seat| {
            // A lost seat left its mask with survivors only if it has some for neighbours.
            survives(dealer) || epoch.topology.neighbours(*dealer).iter().any(survives)
        };
        let want = |dealer: Seat| {
            let secret = if survives(&dealer) { Secret::Own } else { Secret::Mask };
            let holders = epoch.topology.holders(dealer);
            let shape = Shape { holders: holders.len(), keys: epoch.stages.len() };
            let groups = holders.into_iter().enumerate().map(|(group, seat)| (seat, group)).collect();
            (dealer, Wanted { secret, shape, groups, shares: BTreeMap::new() })
        };
        let wanted: BTreeMap<Seat, Wanted> = member.participants.iter().copied().filter(needs).map(want).collect();
        Self {
            tr: member.tr,
            rho: member.round.index,
            opening_keys: opening_keys(epoch, member, agreed),
            agreed,
            threshold: usize::from(epoch.plan.params.threshold()),
            open: wanted.len(),
            wanted,
            signed: Vec::new(),
        }
    }

    /// Whether t shares of every wanted secret are there.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Opens a sealed message of openings.
    pub fn unseal(&self, from: Seat, sealed: &[u8]) -> Option<Signed> {
        let signed = Signed::read(&open_once(self.opening_keys.get(&from)?, &self.tr.0, sealed)?)?;
        (signed.seat == from).then_some(signed)
    }

    /// Takes a seat's openings in; each that does not match its dealer's root is dropped with blame.
    pub fn take(&mut self, epoch: &Epoch, seating: &Seating, signed: Signed, blames: &mut Vec<Blame>) {
        let from = signed.seat;
        let body = signed.open::<Unmask>().filter(|u| u.survivors == self.agreed.hash && u.epoch == epoch.t1);
        let Some(body) = body.filter(|_| signed.is(seating, Kind::Unmask, &self.tr, 0, from)) else {
            return blames.push(Blame::seat(from, Offence::Malformed));
        };
        for opening in body.openings {
            let dealer = opening.dealer;
            let (Some(wanted), Some((_, root))) = (self.wanted.get_mut(&dealer), epoch.roots.get(&dealer)) else {
                continue;
            };
            if wanted.shares.len() >= self.threshold {
                continue;
            }
            // Who has not said that it holds this dealer's shares under this root is not asked.
            let holds = epoch.holders.get(&dealer).is_some_and(|h| h.contains(&from));
            let Some(group) = wanted.groups.get(&from).filter(|_| holds) else { continue };
            let place = Place { dealer, holder: from, rho: self.rho, secret: wanted.secret };
            let fits = wanted.shape.opens(&epoch.t1, place, *group, &opening.share, &opening.path, root);
            let Some(share) = SecretScalar::from_canonical(&opening.share).filter(|_| fits) else {
                let said = epoch.dealt.get(&from).map(Signed::bytes).unwrap_or_default();
                blames.push(Blame::seat(from, Offence::BadOpening).with(said).with(signed.bytes()));
                continue;
            };
            wanted.shares.insert(from, share);
            if wanted.shares.len() == self.threshold {
                self.open -= 1;
            }
        }
        self.signed.push(signed);
    }

    /// Every mask to take off the sum, and the secrets that they follow from.
    ///
    /// # Errors
    /// [`Abort::Quorum`] when some secret has too few shares; `Inconsistent` blame of a dealer whose
    /// committed shares do not give the secret of its signed keys.
    pub fn masks(&self, epoch: &Epoch, step: Step) -> Result<(Vec<SignedPrg>, Opened), Abort> {
        let mut weights: BTreeMap<Vec<u16>, Lagrange> = BTreeMap::new();
        let (mut masks, mut opened) = (Vec::new(), Vec::new());
        for (dealer, wanted) in &self.wanted {
            let need = self.threshold as u16;
            let quorum = || Abort::Quorum { step, have: wanted.shares.len() as u16, need };
            if wanted.shares.len() < self.threshold {
                return Err(quorum());
            }
            let indices: Vec<u16> = wanted.shares.keys().map(|s| s.0).collect();
            if !weights.contains_key(&indices) {
                weights.insert(indices.clone(), Lagrange::new(&indices).ok_or_else(quorum)?);
            }
            let secret = weights.get(&indices).and_then(|w| w.combine(wanted.shares.values())).ok_or_else(quorum)?;
            let keys = epoch.peer(*dealer, self.rho).ok_or_else(quorum)?;
            let genuine = match wanted.secret {
                Secret::Own => keys::self_hash(*dealer, self.rho, &secret) == keys.own,
                Secret::Mask => secret.public() == keys.mask,
            };
            if !genuine {
                return Err(self.convict(epoch, *dealer, wanted).at(step));
            }
            opened.push((*dealer, *secret.to_bytes().expose_secret()));
            match wanted.secret {
                Secret::Own => {
                    let seed = keys::self_seed(&self.tr, *dealer, &secret);
                    masks.push(SignedPrg { prg: Prg::new(&seed), subtract: true });
                }
                Secret::Mask => self.pair_masks(epoch, *dealer, &secret, &mut masks),
            }
        }
        Ok((masks, opened))
    }

    /// What the survivors added with a lost seat, taken off: the sign is the opposite of theirs.
    fn pair_masks(&self, epoch: &Epoch, lost: Seat, secret: &SecretScalar, masks: &mut Vec<SignedPrg>) {
        let near = epoch.topology.neighbours(lost).into_iter().filter(|s| self.agreed.seats.contains(s));
        let peers: Vec<_> = near.filter_map(|s| Some((s, epoch.peer(s, self.rho)?.mask))).collect();
        let seeds = keys::pair_seeds(&self.tr, (lost, secret, &secret.public()), &peers);
        for (seed, (seat, _)) in seeds.iter().zip(&peers) {
            masks.push(SignedPrg { prg: Prg::new(seed), subtract: *seat < lost });
        }
    }

    /// Evidence against a dealer: its signed keys, its signed root, and t shares that match the root.
    fn convict(&self, epoch: &Epoch, dealer: Seat, wanted: &Wanted) -> Blame {
        let mut blame = Blame::seat(dealer, Offence::Inconsistent);
        if let (Some(bundle), Some((root, _))) = (epoch.bundles.get(&dealer), epoch.roots.get(&dealer)) {
            blame = blame.with(bundle.bytes()).with(root.bytes());
        }
        let share = |signed: &Signed| {
            let (holder, root) = (signed.seat, &epoch.roots.get(&dealer)?.1);
            let place = Place { dealer, holder, rho: self.rho, secret: wanted.secret };
            let group = *wanted.groups.get(&holder).filter(|_| wanted.shares.contains_key(&holder))?;
            let fits = |o: &Opening| wanted.shape.opens(&epoch.t1, place, group, &o.share, &o.path, root);
            let openings = signed.open::<Unmask>()?.openings.into_iter();
            let opening = openings.filter(|o| o.dealer == dealer).find(fits)?;
            Some(Share { holder, opening })
        };
        blame.with(wire::encode(&self.signed.iter().filter_map(share).collect::<Vec<Share>>()))
    }
}
