//! What a seat keeps between the set-up and the last round of an epoch.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::SecretScalar;
use tacit_protocol::{Abort, Blame, Party};
use tacit_types::{Code, Fault, Hash, Seat};

use crate::graph::Topology;
use crate::keys::{PeerKeys, RoundKeys};
use crate::merkle::{Secret, Shape};
use crate::messages::Entry;
use crate::plan::Plan;
use crate::signed::{Kind, Signed};

/// How far a round key has gone. It only ever goes forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Dealt and not used.
    Fresh,
    /// Taken for a round; the transcript is known once the terms are.
    Used(Option<Hash>),
    /// This seat has decided to open its shares.
    Opened,
    /// This seat has promised never to open them.
    Refused,
}

/// The shares that one dealer gave to this seat.
pub(crate) struct Held {
    /// The commitments to all of this seat's shares, in the order of the group's leaves.
    pub commitments: Vec<Hash>,
    /// From this seat's group up to the root.
    pub outer: Vec<Hash>,
    /// The shares of s and of b, one pair for each round key; taken out and erased with the round.
    pub shares: Vec<Option<(SecretScalar, SecretScalar)>>,
}

/// The keys and shares of one set-up. Nothing here can be cloned, printed or stored: a crashed epoch
/// is lost, and the next one has new keys.
pub struct Epoch {
    pub(crate) plan: Plan,
    pub(crate) t1: Hash,
    pub(crate) topology: Topology,
    pub(crate) participants: Vec<Seat>,
    /// This seat's round keys, each taken out before its first use.
    pub(crate) own: Vec<Option<RoundKeys>>,
    pub(crate) stages: Vec<Stage>,
    /// T_r and the participants of each round that this seat entered.
    pub(crate) entered: BTreeMap<u16, (Hash, Vec<Seat>)>,
    /// Decoded keys of neighbours, and at the aggregator of everyone.
    pub(crate) peers: BTreeMap<Seat, Vec<PeerKeys>>,
    /// Signed bundles, for evidence: at the aggregator, and at everyone who checks sums.
    pub(crate) bundles: BTreeMap<Seat, Signed>,
    /// What T1 is the hash of beside T0, for evidence.
    pub(crate) roll: Hash,
    pub(crate) entries: Vec<Entry>,
    /// Signed roots, at the aggregator.
    pub(crate) roots: BTreeMap<Seat, (Signed, Hash)>,
    /// Who said that it holds each dealer's shares under that root, at the aggregator.
    pub(crate) holders: BTreeMap<Seat, BTreeSet<Seat>>,
    /// What each seat said that it holds, at the aggregator, for evidence.
    pub(crate) dealt: BTreeMap<Seat, Signed>,
    pub(crate) held: BTreeMap<Seat, Held>,
    pub(crate) complaints: Vec<Blame>,
}

impl Epoch {
    /// The seats that hold keys and shares of this epoch.
    pub fn participants(&self) -> &[Seat] {
        &self.participants
    }

    /// T1, the hash of everything that the set-up agreed on.
    pub fn transcript(&self) -> Hash {
        self.t1
    }

    /// Misbehaviour that the set-up survived. Of dealers without a deal nobody can tell whether they
    /// or the network failed, so that blame convicts no one.
    pub fn complaints(&self) -> &[Blame] {
        &self.complaints
    }

    /// Round keys that are not used yet.
    pub fn rounds_left(&self) -> u16 {
        self.stages.iter().filter(|s| **s == Stage::Fresh).count() as u16
    }

    pub(crate) fn is_aggregator(&self, party: &Party) -> bool {
        party.seat() == self.plan.aggregator
    }

    /// Takes a round key out for good, and makes that durable before anyone can use it.
    ///
    /// # Errors
    /// [`Abort::Local`] when there is no such key or it was taken before.
    pub(crate) async fn consume(&mut self, party: &mut Party, rho: u16) -> Result<RoundKeys, Abort> {
        let keys = self.own.get_mut(usize::from(rho)).and_then(Option::take).ok_or_else(|| {
            Abort::Local(Fault::new(Code::JobInternal, format!("round key {rho} does not exist or was used before")))
        })?;
        self.set_stage(rho, Stage::Used(None));
        party.persist(record("consume", &self.t1, rho, &self.t1)).await?;
        Ok(keys)
    }

    pub(crate) fn stage(&self, rho: u16) -> Option<Stage> {
        self.stages.get(usize::from(rho)).copied()
    }

    pub(crate) fn set_stage(&mut self, rho: u16, stage: Stage) {
        if let Some(slot) = self.stages.get_mut(usize::from(rho)) {
            *slot = stage;
        }
    }

    /// The seat's keys of a round; `None` when its bundle is not known here.
    pub(crate) fn peer(&self, seat: Seat, rho: u16) -> Option<&PeerKeys> {
        self.peers.get(&seat)?.get(usize::from(rho))
    }

    /// Promises never to open a share for a round that this seat entered and that failed. With enough
    /// such promises no one can ever open that round, so it may be run again; see [`Epoch::burden`] and
    /// [`crate::never::is_certificate`].
    ///
    /// # Errors
    /// [`Abort::Local`] when the round was not entered or this seat has opened its shares.
    pub async fn promise_never_to_open(&mut self, party: &mut Party, rho: u16) -> Result<Signed, Abort> {
        let Some(Stage::Used(Some(tr))) = self.stage(rho) else {
            let what = format!("round {rho} was not entered, or its shares are opened or refused");
            return Err(Abort::Local(Fault::new(Code::JobInternal, what)));
        };
        self.set_stage(rho, Stage::Refused);
        self.erase_shares(rho);
        party.persist(record("never", &self.t1, rho, &tr)).await?;
        Ok(Signed::new(party, Kind::NoUnmask, &tr, 0, &crate::messages::Never {}))
    }

    /// Erases every share of a round.
    pub(crate) fn erase_shares(&mut self, rho: u16) {
        for held in self.held.values_mut() {
            if let Some(slot) = held.shares.get_mut(usize::from(rho)) {
                slot.take();
            }
        }
    }
}

impl Held {
    /// The share of one kind with its path, taken out together with the other kind, which is erased.
    pub(crate) fn open(&mut self, rho: u16, secret: Secret) -> Option<([u8; 32], Vec<Hash>)> {
        let (mask, own) = self.shares.get_mut(usize::from(rho))?.take()?;
        let share = match secret {
            Secret::Mask => mask,
            Secret::Own => own,
        };
        let mut path = crate::merkle::Tree::new(self.commitments.clone()).path(Shape::leaf(rho, secret));
        path.extend_from_slice(&self.outer);
        Some((*share.to_bytes().expose_secret(), path))
    }
}

/// A durable record: what was decided, in which epoch and round, about which transcript.
pub(crate) fn record(what: &str, t1: &Hash, rho: u16, about: &Hash) -> Vec<u8> {
    [b"tacit-secagg/1/", what.as_bytes(), b"/", &t1.0, &rho.to_le_bytes(), &about.0].concat()
}
