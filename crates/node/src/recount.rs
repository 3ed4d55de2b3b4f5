//! What this node has used of contracts and budgets, and its database does not know because it was restored from before.
//!
//! A database that is older than what the node has signed would give spent quota again. Before the node admits anything it
//! reads the coordinator's log, up to a head that is no older than what this node has seen by any trace that it has, and
//! counts each job of its own that the database does not know. What counts against it is its own signature alone: the
//! admission, which the coordinator keeps, says what the job took; where that is not to be had, the attestation in the log
//! stands for the most that such a job can take. What the node was told, as a revocation, it is told again by its own memos.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tacit_archive::Folder;
use tacit_crypto::{Body, Statement, sha256};
use tacit_engine::api::PAGE_MAX;
use tacit_engine::recount::{counted, refused_by};
use tacit_engine::{FromCoordinator, ToCoordinator, WorkerJob};
use tacit_governance::{Admission, JobSpec};
use tacit_net::Connection;
use tacit_receipts::keys::PARTY_ROTATIONS_MAX;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH, beside_path};
use tacit_receipts::{
    Attestation, Checkpoint, JointReceipt, KeyHistory, KeyRole, Leaf, Memo, PartyRotation, Peaks, SignedCheckpoint,
    TileRead, TileReader, UsageRecord,
};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, JobId, NodeId, StatementId, UnixMillis};

use crate::carried::Carried;
use crate::daemon::Inner;
use crate::mirror::MIRROR_FOLDER;
use crate::store::Tx;
use crate::{align, asked, client};

/// How long a job waits for the log to be read. The coordinator asks again.
const WAIT: Duration = Duration::from_secs(3);

/// How often the coordinator is asked for a head that others have seen already, and the pause between: a head is cosigned before
/// it is published.
const HEAD_TRIES: u32 = 5;
const HEAD_PAUSE: Duration = Duration::from_millis(100);

/// The pause between two looks for the key of a stranger.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);

/// How far the log was looked through since the node was started.
#[derive(Default)]
pub(crate) struct Recount {
    /// Whether it was looked through to its end once.
    done: AtomicBool,
    scan: tokio::sync::Mutex<Option<Scan>>,
}

/// A head of the log: leaves and root.
pub(crate) type Head = (u64, Hash);

#[derive(Default)]
pub(crate) struct Scan {
    peaks: Peaks,
    /// The roots of heads that the log has signed, by their leaves, to be met on the way.
    heads: BTreeMap<u64, Hash>,
    /// Whether something was found that the database did not know.
    behind: bool,
    /// The files of the mirror lead to another root: the coordinator is asked for every leaf.
    without_mirror: bool,
    /// Changes of parties' keys that were read and lead to no head yet.
    rotations: Vec<(u64, Statement<PartyRotation>)>,
    /// As [`Scan::met`] gives them.
    met: Vec<(u64, Hash)>,
}

impl Scan {
    /// Keeps a head that the log has signed. Whether it was not known.
    ///
    /// # Errors
    /// `log.fork` for another root than that of a head with as many leaves.
    pub(crate) fn await_head(&mut self, (size, root): Head) -> Result<bool, Fault> {
        match self.heads.insert(size, root) {
            Some(known) if known != root => {
                self.heads.insert(size, known);
                Err(forked(size, "two signed heads have different roots"))
            }
            known => Ok(known.is_none()),
        }
    }

    /// Keeps that a memo of this node was met, until the leaves lead to a head.
    pub(crate) fn meet_memo(&mut self, memo: &Memo) {
        self.met.push((memo.number, memo.tag));
    }

    /// This node's memos that were met and lead to no head yet: numbers and tags.
    pub(crate) fn met(&self) -> &[(u64, Hash)] {
        &self.met
    }

    /// Takes a leaf.
    ///
    /// # Errors
    /// Those of [`Scan::meet`].
    pub(crate) fn push(&mut self, leaf: &[u8]) -> Result<(), Fault> {
        self.peaks.push(leaf_hash(leaf));
        self.meet()
    }

    /// Compares what was read with the head of as many leaves, when one is known.
    ///
    /// # Errors
    /// `log.fork` where it has another root.
    pub(crate) fn meet(&self) -> Result<(), Fault> {
        match self.heads.get(&self.peaks.size()) {
            Some(root) if *root != self.peaks.root() => {
                Err(forked(self.peaks.size(), "the leaves lead to another root than that of a signed head"))
            }
            _ => Ok(()),
        }
    }
}

impl Recount {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// For tests of nodes that have no coordinator.
    #[cfg(test)]
    pub(crate) fn skip(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// As after a start.
    #[cfg(test)]
    pub(crate) fn hold(&self) {
        self.done.store(false, Ordering::Release);
    }

    /// As after a start with another database.
    #[cfg(test)]
    pub(crate) async fn begin_anew(&self) {
        *self.scan.lock().await = None;
        self.hold();
    }
}

fn holds(leaf: &[u8], part: &[u8]) -> bool {
    leaf.windows(part.len()).any(|bytes| bytes == part)
}

fn forked(size: u64, what: &str) -> Fault {
    Fault::new(Code::LogFork, format!("at {size} leaves: {what}"))
}

fn unexpected() -> Fault {
    Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")
}

impl Inner {
    /// Holds what needs the ledger until the log was looked through since the start.
    ///
    /// # Errors
    /// `refused.ledger_behind` with what is missing.
    pub(crate) async fn caught_up(&self) -> Result<(), Fault> {
        if self.recount.is_done() {
            return Ok(());
        }
        let behind = |what: String| Fault::new(Code::RefusedLedgerBehind, what);
        match tokio::time::timeout(WAIT, self.recount(None)).await {
            Ok(done) => done.map_err(|fault| behind(fault.to_string())),
            Err(_) => Err(behind("the log is being read".into())),
        }
    }

    /// As [`Inner::caught_up`], while there is a coordinator to ask. Whether nothing is left to do.
    pub(crate) async fn catches_up(&self) -> bool {
        if self.to_coordinator.borrow().is_none() {
            return true;
        }
        let done = self.caught_up().await;
        done.inspect_err(|fault| tracing::debug!(%fault, "no job is admitted yet")).is_ok()
    }

    /// Whether nothing is held any more.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.recount.is_done()
    }

    /// Looks through the log to its newest head, and counts what the database does not know. With a head that the mirror has
    /// just sealed it goes on to that one, which ends no wait. What was done of it stays done when it fails or is given up.
    ///
    /// # Errors
    /// Those of the connection and the database; `log.rollback` for a head behind what was seen; `log.fork` where
    /// the leaves do not lead to the head.
    pub(crate) async fn recount(&self, sealed: Option<&[u8]>) -> Result<(), Fault> {
        let connection = self.to_coordinator.borrow().clone();
        let connection = connection.ok_or_else(|| Fault::new(Code::NetUnreachable, "the coordinator"))?;
        let mut guard = self.recount.scan.lock().await;
        if sealed.is_none() && self.recount.is_done() {
            return Ok(());
        }
        let scan = match &mut *guard {
            Some(scan) => scan,
            none => none.insert(Scan { peaks: self.store.looked().await?, ..Scan::default() }),
        };
        let mut least = scan.peaks.size();
        for head in self.own_heads().await {
            least = least.max(head.0);
            self.await_head(scan, head).await?;
        }
        let head = match sealed {
            Some(note) => Some(self.opened(note)?),
            None => self.newest(&connection, scan, least).await?,
        };
        if head.as_ref().is_some_and(|head| head.checkpoint().size < scan.peaks.size()) {
            return Ok(());
        }
        if let Err(fault) = self.read_to(&connection, scan, head.as_ref()).await {
            // What does not lead to a head is read again from what did, by turns from the mirror and from the coordinator.
            if fault.code == Code::LogFork {
                scan.peaks = self.store.looked().await?;
                scan.rotations.clear();
                scan.met.clear();
                scan.without_mirror = !scan.without_mirror;
            }
            return Err(fault);
        }
        if let Some(head) = &head {
            scan.behind |= self.witnesses.recall(&self.store, head).await?;
        }
        if scan.behind || self.store.looked().await? != scan.peaks {
            let mut tx = self.store.begin().await?;
            let keys = self.follow_keys(&mut tx, &scan.rotations).await?;
            tx.memos_met(scan.met()).await?;
            tx.set_looked(&scan.peaks).await?;
            if scan.behind {
                tx.is_behind(crate::now()).await?;
            }
            tx.commit().await?;
            scan.rotations.clear();
            scan.met.clear();
            if let Some(keys) = keys {
                self.known.follow(keys);
            }
        }
        scan.heads = scan.heads.split_off(&scan.peaks.size());
        if sealed.is_none() {
            self.recount.done.store(true, Ordering::Release);
        }
        if core::mem::take(&mut scan.behind) {
            let jobs = self.store.was_behind().await?.map_or(0, |(_, jobs)| jobs);
            tracing::warn!(
                jobs,
                "the database is from before what this node has signed; jobs were counted from the log, and what the node was \
                 told was taken from there; what was signed or registered since the backup is to be brought again: \
                 `tacit doctor` says more"
            );
        }
        Ok(())
    }

    /// Every key that this node has had, those included that were read and lead to no head yet.
    fn own_keys(&self, scan: &Scan) -> Vec<NodeId> {
        let id = self.keys.node_id;
        let known = self.known.keys();
        let of = |change: &PartyRotation| (change.role, change.id) == (KeyRole::Node, id);
        let read = scan.rotations.iter().map(|(_, change)| change.body()).filter(|change| of(change));
        let later = known.keys_of(KeyRole::Node, &id).iter().map(|span| span.key);
        [id, self.signing.id()].into_iter().chain(later).chain(read.map(|change| change.new)).collect()
    }

    /// Keeps changes of parties' keys that the log has, and gives the keys that there are now; none where nothing has changed.
    /// Of two that name a successor the log's first counts: the other is left out.
    async fn follow_keys(
        &self,
        tx: &mut Tx<'_>,
        rotations: &[(u64, Statement<PartyRotation>)],
    ) -> Result<Option<KeyHistory>, Fault> {
        if rotations.is_empty() {
            return Ok(None);
        }
        let mut keys = KeyHistory::clone(&self.known.keys());
        for (leaf, change) in rotations {
            match keys.follow_any(change, Some(*leaf)) {
                Ok(()) => tx.put_party_rotation(*leaf, change.bytes()).await?,
                Err(fault) => tracing::warn!(leaf, %fault, "a change of a party's key in the log is not followed"),
            }
        }
        Ok(Some(keys))
    }

    /// Reads on in the log when a key was shown that speaks for nobody known: it may be a peer's next.
    pub(crate) async fn follow_strangers(self: std::sync::Arc<Self>) {
        loop {
            self.known.stranger().await;
            let connection = self.to_coordinator.borrow().clone();
            if let Some(connection) = connection {
                let looked = async {
                    let asked = client::ask(&connection, &self.ledger, &ToCoordinator::Checkpoint).await?;
                    let FromCoordinator::Checkpoint(note) = asked else { return Err(unexpected()) };
                    self.recount(Some(&note)).await
                };
                if let Err(fault) = looked.await {
                    tracing::debug!(%fault, "the log was not read for new keys");
                }
            }
            tokio::time::sleep(STRANGER_PAUSE).await;
        }
    }

    /// A head of the coordinator's log.
    pub(crate) fn opened(&self, note: &[u8]) -> Result<SignedCheckpoint, Fault> {
        let head = self.log_chain().open(note)?.0;
        if head.checkpoint().origin != self.config.coordinator.origin {
            return Err(Fault::new(Code::LogUnknown, format!("a head of the log {:?}", head.checkpoint().origin)));
        }
        Ok(head)
    }

    /// The heads that the witness and the mirror have.
    async fn own_heads(&self) -> impl Iterator<Item = Head> + use<> {
        let seen = self.witnesses.seen().await.map(|seen| (seen.size, seen.root));
        seen.into_iter().chain(self.mirrored().map(|(_, head)| (head.size, head.root)))
    }

    /// Keeps a head that the log has signed, to be met. One that was passed already since the last look that is kept is met
    /// from there.
    async fn await_head(&self, scan: &mut Scan, head: Head) -> Result<(), Fault> {
        if scan.await_head(head)? && head.0 < scan.peaks.size() {
            let looked = self.store.looked().await?;
            if looked.size() < head.0 {
                // What is read again may be other leaves than those that were read.
                scan.rotations.retain(|(leaf, _)| *leaf < looked.size());
                scan.met.clear();
                scan.peaks = looked;
            }
        }
        Ok(())
    }

    /// The coordinator's newest head, no older than what others have seen, and of so many leaves at the least, which this
    /// node has seen; none before there is one.
    async fn newest(
        &self,
        connection: &Connection,
        scan: &mut Scan,
        own: u64,
    ) -> Result<Option<SignedCheckpoint>, Fault> {
        let mut others = 0;
        for head in self.seen_by_others().await? {
            others = others.max(head.0);
            self.await_head(scan, head).await?;
        }
        let mut size = 0;
        for _ in 0..HEAD_TRIES {
            let head = self.head_of(connection).await?;
            size = head.as_ref().map_or(0, |head| head.checkpoint().size);
            if size >= own.max(others) {
                return Ok(head);
            }
            tokio::time::sleep(HEAD_PAUSE).await;
        }
        let what =
            format!("the coordinator shows {size} leaves of its log; this node has seen {own}, another {others}");
        Err(Fault::new(Code::LogRollback, what))
    }

    /// The head that the coordinator shows.
    async fn head_of(&self, connection: &Connection) -> Result<Option<SignedCheckpoint>, Fault> {
        match client::ask(connection, &self.ledger, &ToCoordinator::Checkpoint).await {
            Ok(FromCoordinator::Checkpoint(note)) => self.opened(&note).map(Some),
            Ok(_) => Err(unexpected()),
            Err(fault) if fault.code == Code::ReceiptPending => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The files of the mirror, and their head.
    fn mirrored(&self) -> Option<(Folder, Checkpoint)> {
        let folder = Folder::new(self.home.join(MIRROR_FOLDER));
        let head = self.opened(&folder.read(CHECKPOINT_PATH)?).ok()?;
        Some((folder, head.checkpoint().clone()))
    }

    /// Takes leaf after leaf up to a head.
    async fn read_to(
        &self,
        connection: &Connection,
        scan: &mut Scan,
        head: Option<&SignedCheckpoint>,
    ) -> Result<(), Fault> {
        let Some(head) = head.map(SignedCheckpoint::checkpoint) else { return Ok(()) };
        scan.meet()?;
        while scan.peaks.size() < head.size {
            for leaf in self.leaves(connection, scan, head.size).await? {
                self.take(connection, scan, &leaf).await?;
                scan.push(&leaf)?;
            }
            // Files are read without a pause, and who waits for so long only is to be answered.
            tokio::task::yield_now().await;
        }
        match scan.peaks.root() == head.root {
            true => Ok(()),
            false => Err(forked(head.size, "the leaves lead to another root than their head has")),
        }
    }

    /// The next leaves below a size, some of them.
    async fn leaves(&self, connection: &Connection, scan: &Scan, size: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let from = scan.peaks.size();
        if let Some((folder, held)) = self.mirrored().filter(|(_, held)| held.size > from && !scan.without_mirror) {
            let read = align::apart(|| TileReader::new(&folder, held.size).entries(from / TILE_WIDTH));
            let read = read.map(|bundle| bundle.into_iter().skip((from % TILE_WIDTH) as usize));
            if let Ok(leaves) = read.map(|leaves| leaves.take((size - from) as usize).collect::<Vec<_>>())
                && !leaves.is_empty()
            {
                return Ok(leaves);
            }
        }
        let limit = PAGE_MAX.min(u32::try_from(size - from).unwrap_or(PAGE_MAX));
        let asked = client::ask(connection, &self.ledger, &ToCoordinator::Leaves { from, limit }).await?;
        let FromCoordinator::Leaves(mut page) = asked else { return Err(unexpected()) };
        page.truncate(limit as usize);
        if page.is_empty() {
            return Err(Fault::new(Code::LogCorrupt, format!("leaf {from} is not to be had")));
        }
        Ok(page.into_iter().map(|leaf| leaf.0).collect())
    }

    /// Takes a leaf, when it is about this node.
    async fn take(&self, connection: &Connection, scan: &mut Scan, leaf: &[u8]) -> Result<(), Fault> {
        if holds(leaf, PartyRotation::TYPE.as_bytes())
            && let Ok(Leaf::PartyRotation(change)) = Leaf::read(leaf)
        {
            if change.body().origin != self.config.coordinator.origin {
                return Ok(());
            }
            if scan.rotations.len() >= PARTY_ROTATIONS_MAX {
                return Err(Fault::new(Code::LogCorrupt, "more changes of keys than a log may have"));
            }
            scan.rotations.push((scan.peaks.size(), change));
            return Ok(());
        }
        // Every statement that names this node has its id's bytes, or those of a key that it has had.
        let own = self.own_keys(scan);
        if !own.iter().any(|key| holds(leaf, &key.0)) {
            return Ok(());
        }
        match Leaf::read(leaf) {
            Ok(Leaf::Receipt(receipt)) => self.take_receipt(connection, scan, (receipt.body(), &own)).await,
            Ok(Leaf::Attestation(attestation)) if own.contains(&attestation.signer()) => {
                let mut tx = self.store.begin().await?;
                scan.behind |= chain_on(&mut tx, &attestation).await?;
                tx.commit().await
            }
            Ok(Leaf::Memo(memo)) if own.contains(&memo.signer()) => {
                let news = self.take_memo(Some(connection), scan, &memo).await?;
                scan.behind |= news;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn take_receipt(
        &self,
        connection: &Connection,
        scan: &mut Scan,
        (receipt, keys): (&JointReceipt, &[NodeId]),
    ) -> Result<(), Fault> {
        let (record, own) = (&receipt.record, self.keys.node_id);
        if record.party(&own).is_none() {
            return Ok(());
        }
        let known = self.store.job(&record.job).await?;
        if known.as_ref().is_some_and(|job| job.attested.is_some()) || self.refused.get(&record.job).is_some() {
            return Ok(());
        }
        let mut carried = Carried::new(receipt, (&own, keys));
        while !carried.page().is_empty() {
            let held = self.beside(connection, carried.page()).await?;
            carried.take(&held)?;
        }
        let attestation = carried.found();
        let papers = match (&known, refused_by(record, &own)) {
            (None, false) => self.papers(connection, &record.job, keys).await?,
            _ => None,
        };
        let mut tx = self.store.begin().await?;
        let mut found = match &attestation {
            Some(attestation) => chain_on(&mut tx, attestation).await?,
            None => false,
        };
        let (mut again, mut rest) = (false, None);
        match (tx.job(&record.job).await?, &attestation) {
            (Some(job), Some(attestation)) => {
                found = true;
                rest = ended(&mut tx, job, record, attestation).await?;
            }
            (Some(_), None) => {}
            (None, said) => {
                again = tx.recounted(&record.job).await?;
                let rows = counted(record, &own, papers.as_ref(), said.is_some(), &tx.contracts().await?);
                // What was counted by a record that this node has not attested may lack what the attested one shows.
                for row in rows.iter().filter(|_| !again || said.is_some()) {
                    match (again, &row.question) {
                        (false, _) => tx.put_recounted(row).await?,
                        (true, Some(question)) => tx.recounted_asked(&record.job, question).await?,
                        (true, None) => {}
                    }
                }
                found |= !again && !rows.is_empty();
                rest = papers.filter(|_| !again || said.is_some());
            }
        }
        if let Some((admission, spec)) = &rest {
            // Only what this node has attested says when it was.
            let now = crate::now();
            let span = if attestation.is_some() { (record.started, record.ended) } else { (now, now) };
            self.recount_rest(&mut tx, record, span, admission, spec, !again).await?;
        }
        tx.commit().await?;
        scan.behind |= found;
        Ok(())
    }

    /// Attestations that are carried by hash: the first of them, from the mirror or else from the coordinator.
    async fn beside(&self, connection: &Connection, ids: &[StatementId]) -> Result<Vec<Vec<u8>>, Fault> {
        let folder = Folder::new(self.home.join(MIRROR_FOLDER));
        let kept = |id: &StatementId| folder.read(&beside_path(id)).filter(|bytes| sha256(bytes).0 == id.0);
        let kept: Vec<Vec<u8>> = ids.iter().map_while(kept).collect();
        if !kept.is_empty() {
            return Ok(kept);
        }
        match client::ask(connection, &self.ledger, &ToCoordinator::Beside(ids.to_vec())).await? {
            FromCoordinator::Beside(held) => Ok(held.into_iter().map(|bytes| bytes.0).collect()),
            _ => Err(unexpected()),
        }
    }

    /// This node's own admission of a job, and the job, as the coordinator keeps them.
    async fn papers(
        &self,
        connection: &Connection,
        id: &JobId,
        keys: &[NodeId],
    ) -> Result<Option<(Admission, JobSpec)>, Fault> {
        let (job, answers) = match client::ask(connection, &self.ledger, &ToCoordinator::Papers(*id)).await {
            Ok(FromCoordinator::Papers { job, answers }) => (job, answers),
            Ok(_) => return Err(unexpected()),
            Err(fault) if matches!(fault.code, Code::JobUnknown | Code::JobNotOurs) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let own = |said: &Statement<Admission>| keys.contains(&said.signer()) && said.body().job == *id;
        let admission = answers.iter().filter_map(|bytes| Statement::<Admission>::verify(bytes).ok()).find(own);
        let Some(admission) = admission else { return Ok(None) };
        // What is admitted here is a job that verifies.
        let spec = JobSpec::verify(&job).ok().filter(|job| JobSpec::id(job) == *id).ok_or_else(unexpected)?;
        Ok(Some((admission.into_body(), spec.into_body())))
    }

    /// Counts what a job that ran took beside quota and budget: an alignment, and where they are not counted yet, keys of which
    /// only the number is known.
    async fn recount_rest(
        &self,
        tx: &mut Tx<'_>,
        record: &UsageRecord,
        (started, ended): (UnixMillis, UnixMillis),
        admission: &Admission,
        spec: &JobSpec,
        keys: bool,
    ) -> Result<(), Fault> {
        let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
        let (Ok(plan), true) = (plan, record.attempt.0 > 0) else { return Ok(()) };
        if plan.aligns().is_some() {
            let with = align::with(spec, &self.keys.root.id());
            tx.recount_alignment(&record.job, &with, ended).await?;
        }
        let owner = self.keys.root.id();
        let contracts = tx.contracts().await?;
        let contract = contracts.iter().find(|c| c.id() == admission.contract);
        if let (Some(contract), Some(score), Some(_)) = (contract, plan.facts(&owner).score, spec.provider(&owner)) {
            let limit = asked::limit(contract, spec, started);
            if let Some(limit) = limit.filter(|limit| keys && limit.period.until > crate::now()) {
                tx.ask_unknown(&limit, score.rows, crate::now()).await?;
            }
        }
        Ok(())
    }
}

/// A job that is known here has ended since: it begins no more, and nothing else is attested of it.
async fn ended(
    tx: &mut Tx<'_>,
    mut job: WorkerJob,
    record: &UsageRecord,
    attestation: &Statement<Attestation>,
) -> Result<Option<(Admission, JobSpec)>, Fault> {
    job.attested = Some((record.digest(), Blob(attestation.bytes().to_vec())));
    tx.put_job(&record.job, &job).await?;
    let spec = job.job()?.into_body();
    Ok(crate::serve::admission(&job).map(|admission| (admission, spec)))
}

/// Moves this node's chain of attestations on to one that it has signed and does not remember. Whether it did.
async fn chain_on(tx: &mut Tx<'_>, attestation: &Statement<Attestation>) -> Result<bool, Fault> {
    let Some(link) = attestation.envelope().link else { return Ok(false) };
    if tx.chain().await?.is_some_and(|(seq, _)| seq >= link.seq) {
        return Ok(false);
    }
    tx.set_chain(link.seq, attestation.id()).await?;
    Ok(true)
}
