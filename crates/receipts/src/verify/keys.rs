//! Who speaks: the keys of parties and witnesses, as trust file and log give them.

use std::borrow::Cow;

use minicbor::bytes::ByteVec;
use tacit_crypto::Statement;
use tacit_crypto::statement::Envelope;
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use super::Verifier;
use crate::keys::{KeyRole, PartyRotation};

impl Verifier<'_> {
    /// Whether the trust file gives an id to a party at a leaf.
    fn held(&self, id: &NodeId, leaf: u64) -> bool {
        self.keys.get(id).is_some_and(|spans| spans.iter().any(|p| p.holds_at(leaf)))
    }

    /// The id for which a key signed at a leaf, when it held then.
    pub(super) fn in_time(&self, leaf: u64, envelope: &Envelope) -> Result<NodeId, Fault> {
        let newest = self.newest.map_or(UnixMillis(0), |(at, _)| at);
        self.history.check_held(KeyRole::Node, &envelope.signer, leaf, (envelope.issued_at, newest))
    }

    /// The party whose key signed what stands at a leaf: the trust file has its id there, and the key held.
    pub(super) fn speaker(&self, leaf: u64, envelope: &Envelope) -> Result<NodeId, Fault> {
        let id = self.in_time(leaf, envelope)?;
        if self.held(&id, leaf) {
            return Ok(id);
        }
        let what = format!("a {} of {}", envelope.kind, envelope.signer.short());
        Err(Fault::new(Code::ReceiptPartyUnknown, what))
    }

    /// What is the coordinator's to sign: with its key that held.
    pub(super) fn by_coordinator(&mut self, leaf: u64, envelope: &Envelope) {
        let newest = self.newest.map_or(UnixMillis(0), |(at, _)| at);
        let times = (envelope.issued_at, newest);
        match self.history.check_held(KeyRole::Coordinator, &envelope.signer, leaf, times) {
            Ok(id) if id == self.trust.coordinator => {}
            Ok(_) => {
                let what = format!("signed by {}", envelope.signer.short());
                self.flaw(leaf, Fault::new(Code::ReceiptCoordinator, what));
            }
            Err(fault) => self.flaw(leaf, fault),
        }
    }

    /// What a party says, under its id.
    pub(super) fn spoken<'e>(&self, leaf: u64, envelope: &'e Envelope) -> Result<Cow<'e, Envelope>, Fault> {
        self.speaker(leaf, envelope)?;
        Ok(self.history.spoken(envelope))
    }

    /// The next key of a party or a witness, named by the one before.
    pub(super) fn party_rotation(&mut self, index: u64, statement: &Statement<PartyRotation>) {
        let ids = &self.ids;
        match self.history.follow(statement, Some(index), &|role, key| ids.contains(&(role, *key))) {
            Ok(()) => self.quorum.follow(&self.history),
            Err(fault) => self.flaw(index, fault),
        }
    }

    /// Changes that somebody shows beside the log. One that does not follow helps nobody to a key.
    pub(super) fn followed<'b>(&mut self, shown: impl Iterator<Item = &'b ByteVec>) {
        let ids = &self.ids;
        // why: each is signed by the key that goes; what is left out here is unknown, and a finding where it signs.
        let _ = self.history.take(shown.map(|bytes| bytes.as_slice()), &|role, key| ids.contains(&(role, *key)));
        self.quorum.follow(&self.history);
    }
}
