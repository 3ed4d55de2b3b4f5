//! A node's own attestation in a receipt.

use tacit_crypto::{Statement, sha256};
use tacit_engine::api::PAGE_MAX;
use tacit_receipts::{Attestation, JointReceipt};
use tacit_types::{Code, Fault, Hash, NodeId, StatementId};

/// A search for a node's own attestation, wherever a receipt carries it and whomever it calls absent: nothing holds it to an
/// order. Where attestations are carried by hash, each must be had until it is found.
pub(crate) struct Carried {
    own: Vec<NodeId>,
    usage: Hash,
    found: Option<Statement<Attestation>>,
    /// What is left to ask for, the likeliest first.
    ids: Vec<StatementId>,
}

impl Carried {
    /// The search for an attestation of a node that has had these keys.
    pub(crate) fn new(receipt: &JointReceipt, (own, keys): (&NodeId, &[NodeId])) -> Self {
        let (record, carried) = (&receipt.record, &receipt.attestations);
        let hash = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(StatementId);
        let mut ids: Vec<StatementId> = carried.iter().filter_map(|bytes| hash(bytes)).collect();
        let absent = |party: &NodeId| receipt.absent.iter().any(|absent| absent.party == *party);
        let mut attested = record.parties.iter().filter(|entry| !absent(&entry.party));
        if let Some(at) = attested.position(|entry| entry.party == *own).filter(|at| *at < ids.len()) {
            ids.swap(0, at);
        }
        let mut search = Self { own: keys.to_vec(), usage: record.digest(), found: None, ids };
        search.look(carried.iter().map(|bytes| bytes.as_slice()));
        search
    }

    fn look<'a>(&mut self, statements: impl IntoIterator<Item = &'a [u8]>) {
        let (own, usage) = (&self.own, self.usage);
        let signed = statements.into_iter().filter_map(|bytes| Statement::<Attestation>::verify(bytes).ok());
        self.found = signed.into_iter().find(|said| own.contains(&said.signer()) && said.body().usage == usage);
    }

    /// The hashes to ask for next; none when the search is over.
    pub(crate) fn page(&self) -> &[StatementId] {
        let page = self.ids.get(..PAGE_MAX as usize).unwrap_or(&self.ids);
        if self.found.is_some() { &[] } else { page }
    }

    /// Takes the statements of the first hashes that were asked for.
    ///
    /// # Errors
    /// `log.corrupt` for none, more than were asked for, or another than asked for.
    pub(crate) fn take(&mut self, held: &[Vec<u8>]) -> Result<(), Fault> {
        let page = self.page();
        let right = page.iter().zip(held).all(|(id, bytes)| sha256(bytes).0 == id.0);
        if held.is_empty() || held.len() > page.len() || !right {
            return Err(Fault::new(Code::LogCorrupt, "an attestation that a receipt names is not to be had"));
        }
        self.ids.drain(..held.len());
        self.look(held.iter().map(Vec::as_slice));
        Ok(())
    }

    pub(crate) fn found(self) -> Option<Statement<Attestation>> {
        self.found
    }
}
