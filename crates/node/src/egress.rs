//! What leaves the node in one attempt, counted where frames are written.

use std::collections::BTreeMap;

use tacit_types::{NodeId, Step};

/// Payload bytes by peer and kind.
#[derive(Default)]
pub struct Egress {
    sent: BTreeMap<(NodeId, &'static str), u64>,
    deals: bool,
}

impl Egress {
    /// That of a seat which deals, or of another.
    pub fn new(deals: bool) -> Self {
        Self { deals, ..Self::default() }
    }

    /// Adds a protocol frame.
    pub fn add(&mut self, peer: NodeId, step: Step, bytes: u64) {
        *self.sent.entry((peer, kind(step, self.deals))).or_insert(0) += bytes;
    }

    /// Adds a report to the coordinator.
    pub fn add_control(&mut self, peer: NodeId, bytes: u64) {
        *self.sent.entry((peer, "control")).or_insert(0) += bytes;
    }

    /// Takes the entries out.
    pub fn take(&mut self) -> Vec<(NodeId, &'static str, u64)> {
        core::mem::take(&mut self.sent).into_iter().map(|((peer, kind), bytes)| (peer, kind, bytes)).collect()
    }
}

/// The kind of a protocol message, for the ledger: what its bytes are, in words.
fn kind(step: Step, deals: bool) -> &'static str {
    if step == tacit_jobs::session::AGREE {
        return "session agreement";
    }
    if tacit_jobs::session::is_confirmation(step) {
        return "completion votes";
    }
    match tacit_jobs::session::phase_name(step) {
        // What a dealer sends while others compute is randomness, and no number of anybody's.
        "compute" if deals => "randomness",
        "compute" => "masked numbers",
        "align" => "masked points",
        "seeds" if deals => "dealt seeds",
        other => other,
    }
}
