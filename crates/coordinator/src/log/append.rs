//! One append: from what jobs hand in to a signed head that is durable.

use tacit_crypto::{Body, SigningKey, Statement, cbor, sha256};
use tacit_engine::Input;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::{TILE_LEVELS_MAX, TILE_WIDTH, beside_path, entries_path, tile_path};
use tacit_receipts::{
    Absent, Attestation, Checkpoint, Genesis, JointReceipt, KeyRole, KeyRotation, PartyRotation, SignedCheckpoint,
    TileReader, UsageRecord, assemble_with,
};
use tacit_types::{Code, Fault, Hash, JobId, NodeId, StatementId, UnixMillis};
use tokio::time::Instant;

use super::{AppendRequest, Content, LogService, Reply, Waiter, blocking};
use crate::driver::Post;
use crate::limits::{BATCH_MAX, OWN_QUORUM_WAIT};
use crate::store::{Change, LeafRow};

/// What this log takes in, as its first leaf says it.
const POLICY: &str = "Receipts of job attempts, each over one usage record, attested by the parties that took part \
                      and signed by the coordinator; attestations that came after their receipt; price \
                      plans, closes of periods, charges, settlements, disputes and what corrects and ends them; key \
                      events; nothing else.";

/// An entry and whose it is.
struct Entry {
    bytes: Vec<u8>,
    request: Option<AppendRequest>,
}

impl Entry {
    /// The log's own.
    fn own(bytes: Vec<u8>) -> Self {
        Self { bytes, request: None }
    }

    /// Whether it changes the log's key, or that which signs receipts.
    fn is_rotation(&self) -> bool {
        let signs = |change: &Statement<PartyRotation>| change.body().role == KeyRole::Coordinator;
        Statement::<KeyRotation>::verify(&self.bytes).is_ok()
            || Statement::<PartyRotation>::verify(&self.bytes).is_ok_and(|change| signs(&change))
    }

    /// The job, when the entry is its receipt.
    fn receipt_of(&self) -> Option<JobId> {
        match self.request.as_ref()?.content {
            Content::Receipt { job, .. } => Some(job),
            Content::Statement { .. } | Content::Charge { .. } | Content::Settlement { .. } => None,
        }
    }
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
        let mut unloggable: Vec<(Reply, Fault)> = Vec::new();
        // All that can fail is looked up before a request is taken out of the queue.
        let mut standing = Vec::with_capacity(count);
        for request in self.pending.iter().take(count) {
            standing.push(self.standing(&request.content).await?);
        }
        for (request, standing) in self.pending.drain(..count).collect::<Vec<_>>().into_iter().zip(standing) {
            let doubled = |entries: &[Entry]| match &request.content {
                Content::Statement { statement, .. } => entries.iter().any(|entry| entry.bytes == statement.0),
                Content::Receipt { .. } | Content::Charge { .. } | Content::Settlement { .. } => false,
            };
            match standing {
                Some((place, leaf)) => self.wait_for(place, leaf, request),
                // Handed in twice at once: the party asks again.
                None if doubled(&entries) => {}
                None => match self.leaf(&request, now) {
                    Ok((bytes, more)) => {
                        beside.extend(more);
                        entries.push(Entry { bytes, request: Some(request) });
                    }
                    Err(fault) => unloggable.push((request.content.reply(), fault)),
                },
            }
        }
        for (reply, fault) in unloggable {
            tracing::warn!(%fault, "a leaf cannot be logged");
            if let Reply::Job(job) = reply {
                let _ = job.send(Post::Input(Input::NotLogged(fault), None)).await;
            }
        }
        if entries.is_empty() {
            return Ok(());
        }
        let event = self.preface(&mut entries, now);
        let result = self.grow(&mut entries, beside, event, now).await;
        if result.is_err() {
            // Nothing was signed: the same requests are tried again.
            let again = entries.into_iter().filter_map(|entry| entry.request);
            self.pending.splice(0..0, again);
        }
        result
    }

    /// The place and the bytes of the leaf that the log has already of what is to be appended.
    async fn standing(&self, content: &Content) -> Result<Option<(u64, Vec<u8>)>, Fault> {
        let place = match content {
            Content::Receipt { job, .. } => self.parts.store.receipt_place(job).await?,
            Content::Statement { statement, .. } => self.parts.store.leaf_place(&leaf_hash(statement)).await?,
            // Whoever issues these asks for each once, and looks at the log before it asks again.
            Content::Charge { .. } | Content::Settlement { .. } => None,
        };
        let Some(place) = place else { return Ok(None) };
        let (folder, size) = (self.parts.folder.clone(), self.log.size());
        let leaf = blocking(move || TileReader::new(&folder, size).leaf(place)).await?;
        Ok(Some((place, leaf)))
    }

    /// The leaf, and the attestations that stand beside the log.
    fn leaf(&self, request: &AppendRequest, now: UnixMillis) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
        let root = &self.parts.keys.sign;
        let (record, attestations, absent) = match &request.content {
            Content::Statement { statement, .. } => return Ok((statement.0.clone(), Vec::new())),
            Content::Charge { charge, .. } => return Ok((signed(root, now, charge.as_ref()), Vec::new())),
            Content::Settlement { settlement, .. } => return Ok((signed(root, now, settlement.as_ref()), Vec::new())),
            Content::Receipt { record, attestations, absent, .. } => (record, attestations, absent),
        };
        let malformed = |what: &str| Fault::new(Code::ReceiptRecord, what);
        let record: UsageRecord = cbor::decode(record).map_err(malformed)?;
        let verify = |bytes: &tacit_types::wire::Blob| {
            Statement::<Attestation>::verify(bytes)
                .map_err(|e| Fault::new(Code::ReceiptAttestationInvalid, e.to_string()))
        };
        let attestations = attestations.iter().map(verify).collect::<Result<Vec<_>, _>>()?;
        let of = |(party, code): &(NodeId, Code)| Absent { party: *party, code: *code };
        let roster = self.roster();
        let id_of = |key: &NodeId| roster.keys().id_of(KeyRole::Node, key);
        let assembled = assemble_with(record, &attestations, absent.iter().map(of).collect(), &id_of)?;
        let receipt: Statement<JointReceipt> = assembled.receipt.sign(root, now)?;
        Ok((receipt.bytes().to_vec(), assembled.beside))
    }

    /// Puts the log's policy and its keys before the receipts, where they are due. The hash of the key
    /// event then in force.
    fn preface(&self, entries: &mut Vec<Entry>, now: UnixMillis) -> Hash {
        let root = &self.parts.keys.sign;
        let origin = self.origin().to_owned();
        let event = self.roster().key_event(self.parts.keys.id, &self.parts.keys.verifier);
        let hash = sha256(&cbor::encode(&event));
        let first = self.log.size() == 0;
        // What names the key comes before what it signs, whoever has handed it in too.
        for change in self.announced.iter().rev() {
            let own = entries.iter().position(|entry| entry.bytes == *change).map(|at| entries.remove(at));
            entries.insert(0, own.unwrap_or_else(|| Entry::own(change.clone())));
        }
        if first || self.keys_event != Some(hash) {
            let bytes = Statement::sign(root, &origin, now, None, event).bytes().to_vec();
            // A change of the log's key comes first: it shows where the key of the event is from.
            let changes = entries.iter().take_while(|entry| !first && entry.is_rotation()).count();
            entries.insert(changes, Entry::own(bytes));
        }
        if first {
            let genesis = Genesis { version: 1, origin: origin.clone(), policy: POLICY.into(), continues: None };
            let bytes = Statement::sign(root, &origin, now, None, genesis).bytes().to_vec();
            entries.insert(0, Entry::own(bytes));
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
        let stale = unsigned_between(self.log.size(), plan.checkpoint.size);
        blocking(move || {
            folder.remove_all(&stale)?;
            folder.write_all(&files)
        })
        .await?;
        let head = self.sign(&plan.checkpoint)?;
        let row = |(entry, place): (&Entry, &u64)| LeafRow {
            place: *place,
            hash: leaf_hash(&entry.bytes),
            job: entry.receipt_of(),
        };
        let rows = entries.iter().zip(&plan.indices).map(row).collect();
        let change = Change::Append { leaves: rows, head: head.to_bytes(), at: now, keys: Some(event) };
        self.parts.store.write(change).await?;
        let indices = std::mem::take(&mut plan.indices);
        self.log.commit(plan)?;
        self.durable.send_replace(self.log.size());
        (self.head, self.keys_event) = (head, Some(event));
        self.announced.clear();
        for (entry, place) in std::mem::take(entries).into_iter().zip(indices) {
            if let Some(request) = entry.request {
                self.wait_for(place, entry.bytes, request);
            }
        }
        Ok(())
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint) -> Result<SignedCheckpoint, Fault> {
        self.parts.keys.sign(checkpoint, self.parts.clock.now())
    }

    /// Has a receipt handed out once the checkpoint that covers it is published.
    fn wait_for(&mut self, place: u64, leaf: Vec<u8>, request: AppendRequest) {
        let AppendRequest { nodes, content, .. } = request;
        let reply = content.reply();
        let patient_until = Instant::now() + OWN_QUORUM_WAIT;
        self.waiting.push(Waiter { place, leaf, nodes, patient_until, reply });
    }
}

/// A statement of money that is the coordinator's to sign.
fn signed<T: Body + Clone>(root: &SigningKey, now: UnixMillis, body: &T) -> Vec<u8> {
    Statement::sign(root, "money", now, None, body.clone()).bytes().to_vec()
}

/// Partial tiles of sizes between two heads in a row. No head was signed over them: what lies there was
/// written for an append that a crash cut off before its head, perhaps over other leaves.
fn unsigned_between(old: u64, new: u64) -> Vec<String> {
    let mut paths = Vec::new();
    let mut partial = |path: &dyn Fn(u64, u64) -> String, from: u64, to: u64| {
        for hashes in from.saturating_add(1)..to {
            let (index, width) = ((hashes - 1) / TILE_WIDTH, (hashes - 1) % TILE_WIDTH + 1);
            if width < TILE_WIDTH {
                paths.push(path(index, width));
            }
        }
    };
    partial(&entries_path, old, new);
    for level in 0..TILE_LEVELS_MAX {
        let hashes = |size: u64| size >> (8 * u32::from(level));
        partial(&|index, width| tile_path(level, index, width), hashes(old), hashes(new));
    }
    paths
}

/// The job of a leaf, if it is a receipt.
pub(super) fn job_of(leaf: &[u8]) -> Option<JobId> {
    Statement::<JointReceipt>::verify(leaf).ok().map(|receipt| receipt.body().record.job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_between_two_heads_are_no_heads() {
        assert!(unsigned_between(7, 8).is_empty());
        let tiles = |from, to| unsigned_between(from, to).into_iter().filter(|p| p.starts_with("tile/0/")).collect();
        let found: Vec<String> = tiles(123, 126);
        assert_eq!(found, ["tile/0/000.p/124", "tile/0/000.p/125"]);
        let found: Vec<String> = tiles(254, 259);
        assert_eq!(found, ["tile/0/000.p/255", "tile/0/001.p/1", "tile/0/001.p/2"]);
        let all = unsigned_between(255, 258);
        assert_eq!(all, ["tile/entries/001.p/1", "tile/0/001.p/1"]);
        assert!(unsigned_between(250, 1030).contains(&"tile/1/000.p/3".to_owned()));
    }

    #[test]
    fn what_a_crash_left_is_removed_and_nothing_else() {
        let home = tempfile::TempDir::new().unwrap();
        let folder = tacit_archive::Folder::new(home.path().to_owned());
        let file = |width: u64| (tile_path(0, 0, width), vec![width as u8]);
        folder.write_all(&[file(7), file(8), file(9)]).unwrap();
        folder.remove_all(&unsigned_between(7, 9)).unwrap();
        let left = [7, 8, 9].map(|width| tacit_receipts::TileRead::read(&folder, &tile_path(0, 0, width)).is_some());
        assert_eq!(left, [true, false, true]);
    }
}
