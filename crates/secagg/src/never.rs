//! The certificate under which a failed round may be run again.

use std::collections::BTreeSet;

use tacit_protocol::Seating;
use tacit_types::{Hash, Seat};

use crate::epoch::Epoch;
use crate::params::{Graph, Params};
use crate::signed::{Kind, Signed};

/// Whether these promises show that nobody can ever open a round on a complete graph: `n - t + 1 + c`
/// distinct seats have signed that they never will, so even if `c` of them lie, fewer than `t` are
/// left to open. For a round on a drawn graph, [`Burden`] knows the neighbourhoods.
pub fn is_certificate(seating: &Seating, params: &Params, transcript: &Hash, promises: &[Signed]) -> bool {
    if params.graph() != Graph::Complete || seating.len() != usize::from(params.seats()) {
        return false;
    }
    promised(seating, transcript, promises).len() >= usize::from(certificate_seats(params))
}

/// Promises that must come from the holders of one secret.
///
/// With h holders of which at most x collude, `h - t + 1 + x` promises leave at most `t - 1` holders
/// that have not promised or lie. On a complete graph the holders are all n and x is c. On a drawn
/// graph h is k + 1, and `2t > h + x` holds in every neighbourhood but with a chance of 2^-40 (the
/// first bound of [`crate::tails`]), so x is at most `2t - h - 1` and t promises are enough.
pub fn certificate_seats(params: &Params) -> u16 {
    match params.graph() {
        Graph::Complete => params.seats() - params.threshold() + 1 + params.corrupt(),
        Graph::Harary { .. } => params.threshold(),
    }
}

/// What promises must show before one round that a seat entered may be run again over the same data:
/// that no participant's secrets can ever be opened, of neither kind. What every participant has sent
/// then stays masked for good, alone and in any sum.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Burden {
    transcript: Hash,
    /// The holders of each participant's secrets; once where everyone holds everyone's.
    pub(crate) groups: Vec<BTreeSet<Seat>>,
    need: usize,
}

impl Burden {
    /// The round, T_r: what promises are about.
    pub fn transcript(&self) -> Hash {
        self.transcript
    }

    /// Whether these promises show it. A seat counts once, a promise about another round not at all.
    pub fn is_met(&self, seating: &Seating, promises: &[Signed]) -> bool {
        let promised = promised(seating, &self.transcript, promises);
        self.groups.iter().all(|holders| holders.intersection(&promised).count() >= self.need)
    }
}

impl Epoch {
    /// What a certificate for a round must show; `None` for a round that this seat never entered, of
    /// which nothing of its own has left.
    pub fn burden(&self, rho: u16) -> Option<Burden> {
        let (transcript, participants) = self.entered.get(&rho)?;
        let groups = match self.plan.params.graph() {
            Graph::Complete => vec![(0..self.plan.params.seats()).map(Seat).collect()],
            Graph::Harary { .. } => {
                participants.iter().map(|dealer| self.topology.holders(*dealer).into_iter().collect()).collect()
            }
        };
        Some(Burden { transcript: *transcript, groups, need: usize::from(certificate_seats(&self.plan.params)) })
    }
}

/// Who has signed a promise about a round.
fn promised(seating: &Seating, transcript: &Hash, promises: &[Signed]) -> BTreeSet<Seat> {
    promises.iter().filter(|p| p.is(seating, Kind::NoUnmask, transcript, 0, p.seat)).map(|p| p.seat).collect()
}
