//! One append: from what jobs hand in to a signed head that is durable.

use tacit_crypto::{Statement, cbor, sha256};
use tacit_engine::Input;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::beside_path;
use tacit_receipts::{
    Absent, Attestation, Checkpoint, Genesis, JointReceipt, SignedCheckpoint, TileReader, UsageRecord, assemble,
};
use tacit_types::{Code, Fault, Hash, JobId, NodeId, StatementId, UnixMillis};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{AppendRequest, LogService, Waiter, blocking};
use crate::driver::Post;
use crate::limits::{BATCH_MAX, OWN_QUORUM_WAIT};
use crate::store::{Change, LeafRow};

/// What this log takes in, as its first leaf says it.
const POLICY: &str = "Receipts of job attempts, each over one usage record, attested by the parties that took part \
                      and signed by the coordinator; key events; nothing else.";

/// An entry and whose it is.
struct Entry {
    bytes: Vec<u8>,
    receipt: Option<AppendRequest>,
}

impl LogService {
    /// Appends what is pending. A job whose receipt is in the log gets that very leaf.
    pub(super) async fn append(&mut self) -> Result<(), Fault> {
        let now = self.parts.clock.now();
        if now < self.log.at() {
            return Err(Fault::new(Code::LogClock, format!("it is {now}; the last append was at {}", self.log.at())));
        }
        let count = self.pending.len().min(BATCH_MAX);
        let mut entries = Vec::new();
        let mut beside = Vec::new();
        let mut unloggable: Vec<(mpsc::Sender<Post>, Fault)> = Vec::new();
        let mut kept: Vec<AppendRequest> = Vec::new();
        for request in self.pending.drain(..count).collect::<Vec<_>>() {
            match self.parts.store.receipt_place(&request.job).await {
                Ok(Some(place)) => self.wait_for(place, None, request).await?,
                Ok(None) => match self.receipt(&request, now) {
                    Ok((bytes, more)) => {
                        beside.extend(more);
                        entries.push(Entry { bytes, receipt: Some(request) });
                    }
                    Err(fault) => unloggable.push((request.reply.clone(), fault)),
                },
                Err(fault) => {
                    kept.push(request);
                    self.pending.splice(0..0, kept.drain(..));
                    return Err(fault);
                }
            }
        }
        for (reply, fault) in unloggable {
            tracing::warn!(%fault, "a receipt cannot be logged");
            let _ = reply.send(Post::Input(Input::NotLogged(fault), None)).await;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let event = self.preface(&mut entries, now);
        let result = self.grow(&mut entries, beside, event, now).await;
        if result.is_err() {
            // Nothing was signed: the same requests are tried again.
            let again = entries.into_iter().filter_map(|entry| entry.receipt);
            self.pending.splice(0..0, again);
        }
        result
    }

    /// The receipt's leaf, and the attestations that stand beside the log.
    fn receipt(&self, request: &AppendRequest, now: UnixMillis) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
        let malformed = |what: &str| Fault::new(Code::ReceiptRecord, what);
        let record: UsageRecord = cbor::decode(&request.record).map_err(malformed)?;
        let verify = |bytes: &tacit_types::wire::Blob| {
            Statement::<Attestation>::verify(bytes)
                .map_err(|e| Fault::new(Code::ReceiptAttestationInvalid, e.to_string()))
        };
        let attestations = request.attestations.iter().map(verify).collect::<Result<Vec<_>, _>>()?;
        let absent = |(party, code): &(NodeId, Code)| Absent { party: *party, code: *code };
        let assembled = assemble(record, &attestations, request.absent.iter().map(absent).collect())?;
        let receipt: Statement<JointReceipt> = assembled.receipt.sign(&self.parts.keys.root, now)?;
        Ok((receipt.bytes().to_vec(), assembled.beside))
    }

    /// Puts the log's policy and its keys before the receipts, where they are due. The hash of the key
    /// event then in force.
    fn preface(&self, entries: &mut Vec<Entry>, now: UnixMillis) -> Hash {
        let root = &self.parts.keys.root;
        let origin = self.origin().to_owned();
        let event = self.roster().key_event(root.id(), &self.parts.keys.verifier);
        let hash = sha256(&cbor::encode(&event));
        let first = self.log.size() == 0;
        if first || self.keys_event != Some(hash) {
            let bytes = Statement::sign(root, &origin, now, None, event).bytes().to_vec();
            entries.insert(0, Entry { bytes, receipt: None });
        }
        if first {
            let genesis = Genesis { version: 1, origin: origin.clone(), policy: POLICY.into(), continues: None };
            let bytes = Statement::sign(root, &origin, now, None, genesis).bytes().to_vec();
            entries.insert(0, Entry { bytes, receipt: None });
        }
        hash
    }

    /// Writes the files, signs the head, makes both durable. On an error nothing has changed.
    async fn grow(
        &mut self,
        entries: &mut Vec<Entry>,
        beside: Vec<Vec<u8>>,
        event: Hash,
        now: UnixMillis,
    ) -> Result<(), Fault> {
        let leaves: Vec<Vec<u8>> = entries.iter().map(|e| e.bytes.clone()).collect();
        let mut plan = self.log.plan(&leaves, &|_| None, now)?;
        let mut files: Vec<(String, Vec<u8>)> =
            std::mem::take(&mut plan.writes).into_iter().map(|f| (f.path, f.bytes)).collect();
        files.extend(beside.into_iter().map(|bytes| (beside_path(&StatementId(sha256(&bytes).0)), bytes)));
        let folder = self.parts.folder.clone();
        blocking(move || folder.write_all(&files)).await?;
        let head = self.sign(&plan.checkpoint)?;
        let row = |(entry, place): (&Entry, &u64)| LeafRow {
            place: *place,
            hash: leaf_hash(&entry.bytes),
            job: entry.receipt.as_ref().map(|r| r.job),
        };
        let rows = entries.iter().zip(&plan.indices).map(row).collect();
        let change = Change::Append { leaves: rows, head: head.to_bytes(), at: now, keys: Some(event) };
        self.parts.store.write(change).await?;
        let indices = std::mem::take(&mut plan.indices);
        self.log.commit(plan)?;
        (self.head, self.keys_event) = (head, Some(event));
        for (entry, place) in std::mem::take(entries).into_iter().zip(indices) {
            if let Some(request) = entry.receipt {
                self.wait_for(place, Some(entry.bytes), request).await?;
            }
        }
        Ok(())
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, Fault> {
        checkpoint.sign(&self.parts.keys.verifier, &self.parts.keys.log)
    }

    /// Has a receipt handed out once the checkpoint that covers it is published.
    async fn wait_for(&mut self, place: u64, leaf: Option<Vec<u8>>, request: AppendRequest) -> Result<(), Fault> {
        let leaf = match leaf {
            Some(leaf) => leaf,
            None => {
                let (folder, size) = (self.parts.folder.clone(), self.log.size());
                blocking(move || TileReader::new(&folder, size).leaf(place)).await?
            }
        };
        let AppendRequest { nodes, reply, .. } = request;
        let patient_until = Instant::now() + OWN_QUORUM_WAIT;
        self.waiting.push(Waiter { place, leaf, nodes, patient_until, reply });
        Ok(())
    }
}

/// The job of a leaf, if it is a receipt.
pub(super) fn job_of(leaf: &[u8]) -> Option<JobId> {
    Statement::<JointReceipt>::verify(leaf).ok().map(|receipt| receipt.body().record.job)
}
