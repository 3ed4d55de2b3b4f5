//! What leaves the node in one attempt, counted where frames are written.

use std::collections::BTreeMap;

use tacit_types::{NodeId, Step};

/// Payload bytes by peer and kind.
#[derive(Default)]
pub struct Egress(BTreeMap<(NodeId, &'static str), u64>);

impl Egress {
    /// Adds a protocol frame.
    pub fn add(&mut self, peer: NodeId, step: Step, bytes: u64) {
        *self.0.entry((peer, kind(step))).or_insert(0) += bytes;
    }

    /// Adds a report to the coordinator.
    pub fn add_control(&mut self, peer: NodeId, bytes: u64) {
        *self.0.entry((peer, "control")).or_insert(0) += bytes;
    }

    /// Takes the entries out.
    pub fn take(&mut self) -> Vec<(NodeId, &'static str, u64)> {
        core::mem::take(&mut self.0).into_iter().map(|((peer, kind), bytes)| (peer, kind, bytes)).collect()
    }
}

/// The kind of a protocol message, for the ledger: what its bytes are, in words.
fn kind(step: Step) -> &'static str {
    if step == tacit_jobs::session::AGREE {
        return "session agreement";
    }
    if tacit_jobs::session::is_confirmation(step) {
        return "completion votes";
    }
    tacit_jobs::session::phase_name(step)
}
