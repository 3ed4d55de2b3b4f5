//! What the coordinator promises to each party that has attested: by when the receipt will be in the log.

use std::collections::BTreeSet;

use tacit_crypto::{SigningKey, Statement};
use tacit_engine::{Job, ToNode};
use tacit_receipts::Promise;
use tacit_types::wire::Blob;
use tacit_types::{Hash, NodeId, UnixMillis};

/// The promise of one job, and who has it. A restart signs another one; what parties have of before still binds.
#[derive(Default)]
pub(crate) struct Promises {
    signed: Option<(Hash, Blob)>,
    given: BTreeSet<NodeId>,
}

impl Promises {
    /// What is still to be handed out. The first attestation sets the deadline for all.
    pub(crate) fn owed(
        &mut self,
        job: &Job,
        root: &SigningKey,
        (now, promise_ms): (UnixMillis, u64),
    ) -> Vec<(NodeId, ToNode)> {
        let Some((usage, attested)) = job.promises() else { return Vec::new() };
        if self.signed.as_ref().is_none_or(|(signed, _)| *signed != usage) {
            let promise = Promise { usage, deadline: now.plus(promise_ms) };
            let statement = Statement::sign(root, &job.id().to_string(), now, None, promise);
            self.signed = Some((usage, Blob(statement.bytes().to_vec())));
        }
        let Some((_, promise)) = &self.signed else { return Vec::new() };
        let owed = attested.into_iter().filter(|node| !self.given.contains(node));
        owed.map(|node| (node, ToNode::Promised { job: job.id(), promise: promise.clone() })).collect()
    }

    /// A party has it.
    pub(crate) fn given(&mut self, node: NodeId) {
        self.given.insert(node);
    }
}
