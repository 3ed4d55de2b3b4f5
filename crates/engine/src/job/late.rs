//! An attestation that comes after the job has ended.
//!
//! A party's chain moves on when it signs. Its answer may be lost with a connection, or come when the
//! coordinator has given it up and closed the receipt without it. The party then hands the statement in
//! until it is in the log: its chain has no gap that nobody can explain.

use super::*;

/// What becomes of a late attestation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    /// The receipt carries it: nothing is to be done.
    InReceipt,
    /// The job had no receipt. It is open again until it has one, over this attestation.
    Reopened,
    /// The receipt was closed without it: the statement becomes a leaf of its own.
    OwnLeaf,
}

impl Job {
    /// The record of a job that is over, with what shows its convictions, for a party that took part in a result and whose
    /// attestation it lacks; `None` for every other.
    pub fn lacks(&self, node: &NodeId) -> Option<(Blob, Vec<Blame>)> {
        let p = self.parties.iter().find(|p| p.member.node == *node)?;
        let with_result = self.receipt.is_some() && self.record()?.status == Status::Ok;
        let lacks = self.is_over() && with_result && p.attestation.is_none() && self.must_attest(p);
        Some((self.record.clone().filter(|_| lacks)?, self.evidence.clone()))
    }

    /// Takes a late attestation of a job that is over. One party's word counts once: a second statement of
    /// the same party is refused. The driver stores the value before it acts on the answer.
    ///
    /// # Errors
    /// `job.not_finished` while the job is open, `receipt.record` when there is no record or another
    /// attestation of this party is known, and those of `check_attestation`.
    pub fn late(&mut self, now: UnixMillis, node: &NodeId, bytes: &[u8]) -> Result<Late, Fault> {
        if !self.is_over() {
            return Err(Fault::new(Code::JobNotFinished, format!("job {}", self.id.short())));
        }
        let refused = |what: &str| Fault::new(Code::ReceiptRecord, what);
        let record = self.record().ok_or_else(|| refused("the job has ended without a record"))?;
        let statement = Statement::<Attestation>::verify(bytes)
            .map_err(|e| Fault::new(Code::ReceiptAttestationInvalid, e.to_string()))?;
        if !signed(&self.keys, now, node, statement.envelope()) {
            return Err(Fault::new(Code::ReceiptAttestationInvalid, "another party's attestation"));
        }
        tacit_receipts::receipt::check_attestation_of(node, &record, &record.digest(), &statement)?;
        let carried = self.receipt.as_ref().map(|(_, leaf, _)| {
            Statement::<JointReceipt>::verify(leaf).is_ok_and(|receipt| receipt.body().carries(&statement.id()))
        });
        let p = self.party(node).ok_or_else(|| refused("no party of the job"))?;
        let name = p.member.name.clone();
        let before = p.attestation.replace(Blob(bytes.to_vec()));
        if before.as_ref().is_some_and(|before| before.0 != bytes) {
            p.attestation = before;
            return Err(refused("another attestation of this party is known"));
        }
        match carried {
            Some(true) => Ok(Late::InReceipt),
            Some(false) => {
                self.note(now, "attested_late", Some(name), "");
                Ok(Late::OwnLeaf)
            }
            // It was handed to the log before, which could not take it.
            None if p.attestation == before => Err(refused("the log cannot take its receipt")),
            None => {
                self.note(now, "attested_late", Some(name), "");
                self.state = State::Logging;
                Ok(Late::Reopened)
            }
        }
    }
}
