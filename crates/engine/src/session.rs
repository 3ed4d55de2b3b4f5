//! What all seats of an attempt must hold alike before any input moves.

use tacit_crypto::{Statement, Transcript};
use tacit_governance::{JobSpec, PartyCard};
use tacit_protocol::Seating;
use tacit_types::{Code, Fault, Hash, NodeId, Seat};

use crate::control::Assignment;

/// A checked assignment.
pub struct Session {
    /// Seats.
    pub seating: Seating,
    /// This node's seat.
    pub seat: Seat,
    /// The aggregator's seat.
    pub aggregator: Seat,
    /// Names, roots and addresses by seat.
    pub parties: Vec<(PartyCard, String)>,
    /// The hash that every seat echoes.
    pub hash: Hash,
}

/// Checks an assignment against the admitted job: each party of the job has exactly one seat, and
/// its card is signed by the root key that the job names. So whoever relays the assignment can
/// neither swap a key nor add a node.
///
/// # Errors
/// `refused.parties`.
pub fn check(job: &Statement<JobSpec>, assignment: &Assignment, node: &NodeId) -> Result<Session, Fault> {
    let wrong = |what: &str| Fault::new(Code::RefusedParties, format!("assignment: {what}"));
    let named = job.body().seated();
    let mut parties = Vec::new();
    for seated in &assignment.seats {
        let card = PartyCard::verify(&seated.card)?.into_body();
        if !named.contains(&card.root) {
            return Err(wrong("a party that has no part in the job"));
        }
        parties.push((card, seated.address.clone()));
    }
    parties.sort_by_key(|(card, _)| card.node);
    let mut roots: Vec<NodeId> = parties.iter().map(|(card, _)| card.root).collect();
    roots.sort_unstable();
    roots.dedup();
    if roots.len() != named.len() || parties.len() != named.len() {
        return Err(wrong("not every party of the job has exactly one seat"));
    }
    let seating = Seating::new(parties.iter().map(|(card, _)| card.node).collect()).ok_or(wrong("a node twice"))?;
    let seat = seating.seat_of(node).ok_or(wrong("no seat for this node"))?;
    let aggregator = seating.seat_of(&assignment.aggregator).ok_or(wrong("no seat for the aggregator"))?;
    let mut hash = Transcript::new("tacit/1/session")
        .fixed(assignment.job.as_bytes())
        .u64(u64::from(assignment.attempt.0))
        .u64(u64::from(aggregator.0))
        .u64(parties.len() as u64);
    for (card, _) in &parties {
        hash = hash.fixed(card.root.as_bytes()).fixed(card.node.as_bytes());
    }
    Ok(Session { seating, seat, aggregator, parties, hash: hash.finish() })
}
