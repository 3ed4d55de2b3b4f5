//! Promises of the coordinator: each is kept until its receipt is seen, and one that was not kept becomes evidence.
//!
//! A node that attests is told by when the receipt will be in the log. Once that time is over, it looks for the receipt in
//! its own mirror. Only a head that witnesses saw after the deadline convicts: the coordinator may be down, or the mirror
//! old. Then the node writes promise and log into one file for the regulator, and refuses this coordinator's jobs until the
//! receipt is there after all or its owner forgives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tacit_archive::Folder;
use tacit_engine::control::FromNode;
use tacit_engine::record::witness_threshold;
use tacit_receipts::bundle::BUNDLE_BYTES_MAX;
use tacit_receipts::tiles::{CHECKPOINT_PATH, beside_path};
use tacit_receipts::{Bundle, KeyRole, Leaf, Quorum, TileRead, TileReader, VerifierKey};
use tacit_types::{Code, Fault, Hash, JobId};

use crate::align::apart;
use crate::daemon::Inner;
use crate::files::write_whole;
use crate::mirror::{self, MIRROR_FOLDER};
use crate::store::{PromiseRow, PromiseStanding};

/// The folder of evidence against the coordinator in the node's own.
pub const UNKEPT_FOLDER: &str = "unkept";
/// How often the node looks for promises whose time is over.
const PAUSE: Duration = Duration::from_secs(2);

/// Where the evidence of an unkept promise is: an evidence bundle.
pub fn evidence_path(home: &Path, usage: &Hash) -> PathBuf {
    home.join(UNKEPT_FOLDER).join(format!("{usage}.bundle"))
}

impl Inner {
    /// Keeps the coordinator's promise for the record that was attested here.
    pub(crate) async fn promised(&self, id: &JobId, bytes: &[u8]) -> Result<FromNode, Fault> {
        let mut tx = self.store.begin().await?;
        let Some(job) = tx.job(id).await?.or_else(|| self.refused.get(id)) else {
            return Err(Fault::new(Code::JobUnknown, format!("job {}", id.short())));
        };
        // What the coordinator signs with a key that is not known here, the log may name.
        let promised = job.promised(bytes, &self.context(crate::now())).inspect_err(|_| self.known.read_on())?;
        if let Some((promise, seen)) = promised {
            let row = PromiseRow {
                usage: promise.usage,
                job: *id,
                deadline: promise.deadline,
                seen,
                standing: PromiseStanding::Open,
                statement: bytes.to_vec(),
            };
            tx.put_promise(&row).await?;
            tx.commit().await?;
        }
        Ok(FromNode::Done)
    }

    /// The witnesses of every party that is known here, by the keys of their cards.
    async fn witnesses_of_all(&self) -> Result<Quorum, Fault> {
        let parties = self.store.parties().await?;
        let known = |key: &VerifierKey| parties.iter().any(|(_, card, _)| card.witness == key.key());
        let keys: Vec<VerifierKey> = self.listed_witnesses().into_iter().filter(known).collect();
        let threshold = witness_threshold(keys.len());
        let mut quorum = Quorum::new(keys, threshold)?;
        quorum.follow(&self.known.keys());
        Ok(quorum)
    }
}

/// How far the mirror was searched for each receipt.
type Searched = BTreeMap<Hash, u64>;

/// Looks for promises whose time is over, as long as the node runs.
pub(crate) async fn watch(inner: Arc<Inner>) {
    let mut searched = Searched::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Err(fault) = look(&inner, &mut searched).await {
            tracing::debug!(%fault, "the coordinator's promises could not be checked yet");
        }
    }
}

async fn look(inner: &Inner, searched: &mut Searched) -> Result<(), Fault> {
    let now = crate::now();
    let due: Vec<PromiseRow> = inner.store.promises().await?.into_iter().filter(|row| row.deadline < now).collect();
    searched.retain(|usage, _| due.iter().any(|row| row.usage == *usage));
    if due.is_empty() {
        return Ok(());
    }
    let folder = Folder::new(inner.home.join(MIRROR_FOLDER));
    let Some(note) = folder.read(CHECKPOINT_PATH) else { return Ok(()) };
    let (head, _) = inner.log_chain().open(&note)?;
    let size = head.checkpoint().size;
    let quorum = inner.witnesses_of_all().await?;
    let witnessed = quorum.check(head.note()).ok().and_then(|cosigned| cosigned.latest());
    for row in due {
        let from = searched.get(&row.usage).copied().unwrap_or(row.seen);
        if apart(|| holds(inner, &folder, (from, size), &row.usage))? {
            tracing::info!(job = %row.job.short(), "a promised receipt is in the log");
            let mut tx = inner.store.begin().await?;
            tx.promise_kept(&row.usage).await?;
            tx.commit().await?;
            continue;
        }
        searched.insert(row.usage, size);
        if row.standing == PromiseStanding::Open && witnessed.is_some_and(|at| at > row.deadline) {
            apart(|| write_evidence(inner, &folder, (&note, size), &row))?;
            let mut tx = inner.store.begin().await?;
            tx.promise_is(&row.usage, PromiseStanding::Unkept).await?;
            tx.commit().await?;
            let (job, deadline) = (row.job.short(), row.deadline);
            tracing::error!(%job, %deadline, "the coordinator did not keep a promise; its jobs are refused from now on");
        }
    }
    Ok(())
}

/// Whether the coordinator's receipt for a record is among these leaves of the mirror.
fn holds(inner: &Inner, folder: &Folder, (from, size): (u64, u64), usage: &Hash) -> Result<bool, Fault> {
    let (reader, keys) = (TileReader::new(folder, size), inner.known.keys());
    for index in from..size {
        if let Ok(Leaf::Receipt(receipt)) = Leaf::read(&reader.leaf(index)?)
            && keys.signed_for(KeyRole::Coordinator, &inner.coordinator, receipt.envelope())
            && receipt.body().record.digest() == *usage
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes promise and witnessed log as one evidence bundle, which `tacit-verify` reads with a trust file. Of a log that is too
/// long for a bundle there are the promise and the mirror itself.
fn write_evidence(inner: &Inner, folder: &Folder, (note, size): (&[u8], u64), row: &PromiseRow) -> Result<(), Fault> {
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    TileReader::new(folder, size).check(&mut |_, leaf| {
        bytes += leaf.len();
        if bytes < BUNDLE_BYTES_MAX / 2 {
            leaves.push(leaf);
        }
        Ok(())
    })?;
    if leaves.len() as u64 != size {
        tracing::warn!(size, "the log is too long for one file of evidence: keep the mirror beside the promise");
        return Ok(());
    }
    let beside = leaves.iter().flat_map(|leaf| mirror::beside(leaf));
    let beside: Vec<_> = beside.filter_map(|id| folder.read(&beside_path(&id))).map(Into::into).collect();
    let mut bundle = Bundle::whole(None, note.to_vec(), leaves);
    (bundle.beside, bundle.promises) = (beside, vec![row.statement.clone().into()]);
    let path = evidence_path(&inner.home, &row.usage);
    let parent = inner.home.join(UNKEPT_FOLDER);
    std::fs::create_dir_all(&parent).map_err(|e| crate::files::io_fault(&parent, &e))?;
    write_whole(&path, &bundle.to_bytes())
}
