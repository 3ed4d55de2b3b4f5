//! What the transcripts of a round are hashes of, for someone who saw nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tacit_protocol::Seating;
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Hash, Seat, wire};

use crate::epoch::Epoch;
use crate::graph::Topology;
use crate::keys::{self, PeerKeys};
use crate::messages::{Bundle, Entry, Terms};
use crate::params::Params;
use crate::plan::Plan;
use crate::signed::{Kind, Signed};

/// The preimage of T1, with the bundles that matter. Who signed over T1, or over what follows from it, signed all of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Story {
    context: Hash,
    pub params: Params,
    rounds: u16,
    aggregator: Seat,
    step_base: u16,
    roll: Hash,
    pub entries: Vec<Entry>,
    bundles: Vec<Signed>,
}

impl Story {
    /// What this epoch agreed on, with the bundles of some seats.
    pub fn of(epoch: &Epoch, seats: &BTreeSet<Seat>) -> Self {
        let plan = &epoch.plan;
        let bundles = epoch.bundles.iter().filter(|(seat, _)| seats.contains(seat)).map(|(_, b)| b.clone()).collect();
        Self {
            context: plan.context,
            params: plan.params,
            rounds: plan.rounds,
            aggregator: plan.aggregator,
            step_base: plan.step_base,
            roll: epoch.roll,
            entries: epoch.entries.clone(),
            bundles,
        }
    }

    /// The terms and the story under which `offender` signed bodies over `tr`, from its signed terms and the story's bytes.
    /// `None` when they are not those of `tr`.
    pub fn under(
        seating: &Seating,
        offender: Seat,
        tr: &Hash,
        start: &[u8],
        story: &[u8],
    ) -> Option<(Terms, u16, Self)> {
        let start = Signed::read(start).filter(|s| s.verify(seating))?;
        let story: Self = wire::decode_capped(story, MESSAGE_BYTES_MAX).ok()?;
        let rho = u16::try_from(start.slot).ok()?;
        let ours = start.kind == Kind::Start && start.seat == offender && start.scope == story.t1(seating);
        let fits = ours && keys::round(&start.scope, rho, &start.body) == *tr;
        fits.then_some((start.open()?, rho, story))
    }

    fn t1(&self, seating: &Seating) -> Hash {
        let plan = Plan {
            params: self.params,
            context: self.context,
            rounds: self.rounds,
            aggregator: self.aggregator,
            step_ms: 0,
            step_base: self.step_base,
        };
        keys::t1(&keys::t0(&plan, seating), &self.roll, &self.entries)
    }

    /// Who shares masks with whom.
    pub fn topology(&self, seating: &Seating) -> Topology {
        Topology::draw(self.params.graph(), &self.t1(seating), self.entries.iter().map(|e| e.seat).collect())
    }

    /// The keys of one round of those whose signed bundles are here and are those of the book.
    pub fn keys(&self, seating: &Seating, rho: u16) -> BTreeMap<Seat, PeerKeys> {
        let entry = |seat: Seat| self.entries.iter().find(|e| e.seat == seat);
        let keys = |signed: &Signed| {
            entry(signed.seat).filter(|e| e.bundle == signed.body_hash() && signed.verify(seating))?;
            let keys = signed.open::<Bundle>()?.keys.get(usize::from(rho)).copied()?;
            Some((signed.seat, PeerKeys::decode(&keys)?))
        };
        self.bundles.iter().filter_map(keys).collect()
    }
}
