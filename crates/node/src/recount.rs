//! What this node has used of contracts and budgets, and its database does not know because it was restored from before.
//!
//! A database that is older than what the node has signed would give spent quota again. Before the node admits anything it
//! reads the coordinator's log, up to a head that is no older than what this node has seen by any trace that it has, and
//! counts each job of its own that the database does not know. What counts against it is its own signature alone: the
//! admission, which the coordinator keeps, says what the job took; where that is not to be had, the attestation in the log
//! stands for the most that such a job can take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tacit_archive::Folder;
use tacit_crypto::Statement;
use tacit_engine::api::PAGE_MAX;
use tacit_engine::{FromCoordinator, ToCoordinator, WorkerJob};
use tacit_governance::{Admission, JobSpec, PrivacyCost, SignedContract};
use tacit_net::Connection;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::tiles::{CHECKPOINT_PATH, TILE_WIDTH};
use tacit_receipts::witness::Seen;
use tacit_receipts::{
    Attestation, JointReceipt, Leaf, Peaks, SignedCheckpoint, Status, TileRead, TileReader, UsageRecord,
};
use tacit_types::limits::ROWS_MAX;
use tacit_types::wire::Blob;
use tacit_types::{Code, ContractId, Fault, JobId, NodeId, StatementId};

use crate::daemon::Inner;
use crate::mirror::MIRROR_FOLDER;
use crate::store::{Recounted, Tx};
use crate::{align, asked, client};

/// How long a job waits for the log to be read. The coordinator asks again.
const WAIT: Duration = Duration::from_secs(3);

/// How often the coordinator is asked for a head that others have seen already, and the pause between: a head is cosigned before
/// it is published.
const HEAD_TRIES: u32 = 5;
const HEAD_PAUSE: Duration = Duration::from_millis(100);

/// How far the log was looked through since the node was started.
#[derive(Default)]
pub(crate) struct Recount {
    /// Whether it was looked through to its end once.
    done: AtomicBool,
    scan: tokio::sync::Mutex<Option<Scan>>,
}

struct Scan {
    peaks: Peaks,
    /// What the witness remembered when the scan began, to be met on the way.
    seen: Option<Seen>,
    /// Whether something was found that the database did not know.
    behind: bool,
    /// The files of the mirror lead to another root: the coordinator is asked for every leaf.
    without_mirror: bool,
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
            none => none.insert(Scan {
                peaks: self.store.looked().await?,
                seen: self.witnesses.seen().await,
                behind: false,
                without_mirror: false,
            }),
        };
        let head = match sealed {
            Some(note) => Some(self.opened(note)?),
            None => self.newest(&connection, scan).await?,
        };
        if head.as_ref().is_some_and(|head| head.checkpoint().size < scan.peaks.size()) {
            return Ok(());
        }
        if let Err(fault) = self.read_to(&connection, scan, head.as_ref()).await {
            // What does not lead to a head is read again from what did, by turns from the mirror and from the coordinator.
            if fault.code == Code::LogFork {
                scan.peaks = self.store.looked().await?;
                scan.without_mirror = !scan.without_mirror;
            }
            return Err(fault);
        }
        if let Some(head) = &head {
            scan.behind |= self.witnesses.recall(&self.store, head).await?;
        }
        if scan.behind || self.store.looked().await? != scan.peaks {
            let mut tx = self.store.begin().await?;
            tx.set_looked(&scan.peaks).await?;
            if scan.behind {
                tx.is_behind(crate::now()).await?;
            }
            tx.commit().await?;
        }
        if sealed.is_none() {
            self.recount.done.store(true, Ordering::Release);
        }
        if core::mem::take(&mut scan.behind) {
            let jobs = self.store.was_behind().await?.map_or(0, |(_, jobs)| jobs);
            tracing::warn!(
                jobs,
                "the database is from before what this node has signed; jobs were counted from the log"
            );
        }
        Ok(())
    }

    /// A head of the coordinator's log.
    pub(crate) fn opened(&self, note: &[u8]) -> Result<SignedCheckpoint, Fault> {
        let head = self.log_chain().open(note)?.0;
        if head.checkpoint().origin != self.config.coordinator.origin {
            return Err(Fault::new(Code::LogUnknown, format!("a head of the log {:?}", head.checkpoint().origin)));
        }
        Ok(head)
    }

    /// The coordinator's newest head, no older than what this node and others have seen; none before there is one.
    async fn newest(&self, connection: &Connection, scan: &Scan) -> Result<Option<SignedCheckpoint>, Fault> {
        let (own, others) = (self.floor(scan).await, self.seen_by_others().await?);
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

    /// Leaves that the log has at the least: by the witness, the mirror and the last look.
    async fn floor(&self, scan: &Scan) -> u64 {
        let seen = self.witnesses.seen().await.map_or(0, |seen| seen.size);
        scan.peaks.size().max(seen).max(self.mirrored().map_or(0, |(_, size)| size))
    }

    /// The files of the mirror, and how many leaves they have.
    fn mirrored(&self) -> Option<(Folder, u64)> {
        let folder = Folder::new(self.home.join(MIRROR_FOLDER));
        let head = self.opened(&folder.read(CHECKPOINT_PATH)?).ok()?;
        Some((folder, head.checkpoint().size))
    }

    /// Takes leaf after leaf up to a head.
    async fn read_to(
        &self,
        connection: &Connection,
        scan: &mut Scan,
        head: Option<&SignedCheckpoint>,
    ) -> Result<(), Fault> {
        let Some(head) = head.map(SignedCheckpoint::checkpoint) else { return Ok(()) };
        let fork = |what: &str| Fault::new(Code::LogFork, format!("{what} {} leaves", head.size));
        while scan.peaks.size() < head.size {
            for leaf in self.leaves(connection, scan, head.size).await? {
                self.take(connection, scan, &leaf).await?;
                scan.peaks.push(leaf_hash(&leaf));
                let other = |seen: &Seen| seen.size == scan.peaks.size() && seen.root != scan.peaks.root();
                if scan.seen.as_ref().is_some_and(other) {
                    return Err(fork("another root than this node cosigned, on the way to"));
                }
            }
        }
        match scan.peaks.root() == head.root {
            true => Ok(()),
            false => Err(fork("another root than its head has, of")),
        }
    }

    /// The next leaves below a size, some of them.
    async fn leaves(&self, connection: &Connection, scan: &Scan, size: u64) -> Result<Vec<Vec<u8>>, Fault> {
        let from = scan.peaks.size();
        if let Some((folder, held)) = self.mirrored().filter(|(_, held)| *held > from && !scan.without_mirror) {
            let read = align::apart(|| TileReader::new(&folder, held).entries(from / TILE_WIDTH));
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
        let own = self.signing.id();
        // Every statement that names this node has its key's bytes.
        if !leaf.windows(own.0.len()).any(|bytes| *bytes == own.0) {
            return Ok(());
        }
        match Leaf::read(leaf) {
            Ok(Leaf::Receipt(receipt)) => self.take_receipt(connection, scan, receipt.body()).await,
            Ok(Leaf::Attestation(attestation)) if attestation.signer() == own => {
                let mut tx = self.store.begin().await?;
                scan.behind |= chain_on(&mut tx, &attestation).await?;
                tx.commit().await
            }
            _ => Ok(()),
        }
    }

    async fn take_receipt(
        &self,
        connection: &Connection,
        scan: &mut Scan,
        receipt: &JointReceipt,
    ) -> Result<(), Fault> {
        let (record, own) = (&receipt.record, self.signing.id());
        let Some(entry) = record.party(&own) else { return Ok(()) };
        let known = self.store.job(&record.job).await?;
        if known.as_ref().is_some_and(|job| job.attested.is_some()) || self.refused.get(&record.job).is_some() {
            return Ok(());
        }
        let attestation = self.own_attestation(connection, receipt).await?;
        // Of a refused job nothing was taken by who refused it, who alone attests that.
        let refused = matches!(record.status, Status::Refused { seat, .. }
            if attestation.is_some() || seat.is_some_and(|s| record.parties.get(s.index()) == Some(entry)));
        let papers = match (&known, refused) {
            (None, false) => self.papers(connection, &record.job).await?,
            _ => None,
        };
        let mut tx = self.store.begin().await?;
        let mut found = match &attestation {
            Some(attestation) => chain_on(&mut tx, attestation).await?,
            None => false,
        };
        let spec = match (tx.job(&record.job).await?, &attestation) {
            (Some(job), Some(attestation)) => {
                found = true;
                ended(&mut tx, job, record, attestation).await?
            }
            (None, _) if !refused && !tx.recounted(&record.job).await? => {
                let rows = match (&papers, &attestation) {
                    (Some((admission, spec)), _) => vec![exact(record, admission, spec.as_ref())],
                    (None, Some(_)) => at_most(record, &own, &tx.contracts().await?),
                    (None, None) => Vec::new(),
                };
                found |= !rows.is_empty();
                for row in &rows {
                    tx.put_recounted(row).await?;
                }
                papers.and_then(|(admission, spec)| Some((admission, spec?)))
            }
            _ => None,
        };
        if let Some((admission, spec)) = &spec {
            self.recount_rest(&mut tx, record, admission, spec).await?;
        }
        tx.commit().await?;
        scan.behind |= found;
        Ok(())
    }

    /// This node's own attestation of a receipt, which may carry it by hash alone.
    async fn own_attestation(
        &self,
        connection: &Connection,
        receipt: &JointReceipt,
    ) -> Result<Option<Statement<Attestation>>, Fault> {
        let (own, record) = (self.signing.id(), &receipt.record);
        let absent = |party: &NodeId| receipt.absent.iter().any(|absent| absent.party == *party);
        let mut carried = record.parties.iter().filter(|entry| !absent(&entry.party)).zip(&receipt.attestations);
        let Some((_, bytes)) = carried.find(|(entry, _)| entry.party == own) else { return Ok(None) };
        let statement = match <[u8; 32]>::try_from(bytes.as_slice()) {
            Err(_) => bytes.to_vec(),
            Ok(hash) => {
                let asked = ToCoordinator::Beside(vec![StatementId(hash)]);
                let FromCoordinator::Beside(held) = client::ask(connection, &self.ledger, &asked).await? else {
                    return Err(unexpected());
                };
                held.into_iter().next().map(|bytes| bytes.0).unwrap_or_default()
            }
        };
        let signed = Statement::<Attestation>::verify(&statement).ok();
        Ok(signed.filter(|said| said.signer() == own && said.body().usage == record.digest()))
    }

    /// This node's own admission of a job, and the job, as the coordinator keeps them.
    async fn papers(&self, connection: &Connection, id: &JobId) -> Result<Option<(Admission, Option<JobSpec>)>, Fault> {
        let (job, answers) = match client::ask(connection, &self.ledger, &ToCoordinator::Papers(*id)).await {
            Ok(FromCoordinator::Papers { job, answers }) => (job, answers),
            Ok(_) => return Err(unexpected()),
            Err(fault) if matches!(fault.code, Code::JobUnknown | Code::JobNotOurs) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let own = |said: &Statement<Admission>| said.signer() == self.signing.id() && said.body().job == *id;
        let admission = answers.iter().filter_map(|bytes| Statement::<Admission>::verify(bytes).ok()).find(own);
        let spec = JobSpec::verify(&job).ok().filter(|job| JobSpec::id(job) == *id);
        Ok(admission.map(|admission| (admission.into_body(), spec.map(Statement::into_body))))
    }

    /// Counts what a job that ran took beside quota and budget: an alignment, and keys of which only the number is known.
    async fn recount_rest(
        &self,
        tx: &mut Tx<'_>,
        record: &UsageRecord,
        admission: &Admission,
        spec: &JobSpec,
    ) -> Result<(), Fault> {
        let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
        let (Ok(plan), true) = (plan, record.attempt.0 > 0) else { return Ok(()) };
        if plan.aligns().is_some() {
            tx.recount_alignment(&record.job, &align::owners(spec), record.ended).await?;
        }
        let owner = self.keys.root.id();
        let contracts = tx.contracts().await?;
        let contract = contracts.iter().find(|c| c.id() == admission.contract);
        if let (Some(contract), Some(score), Some(_)) = (contract, plan.facts(&owner).score, spec.provider(&owner)) {
            let limit = asked::limit(contract, spec, record.started);
            if let Some(limit) = limit.filter(|limit| limit.period.until > crate::now()) {
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

/// The most that a job can have taken by its record: under each contract that it names, once, with as many rows as a job
/// scores at the most.
pub(crate) fn at_most(record: &UsageRecord, own: &NodeId, contracts: &[SignedContract]) -> Vec<Recounted> {
    let scores = |c: &SignedContract| c.body().scoring.is_some() || !c.body().models.is_empty();
    let dataset = record.party(own).and_then(|entry| entry.dataset);
    let charges = record.privacy.iter().filter(|charge| dataset == Some(charge.dataset));
    let cost = charges.fold(PrivacyCost::default(), |sum, charge| {
        sum.and(PrivacyCost { epsilon_micro: charge.epsilon_micro, delta_femto: charge.delta_femto })
    });
    let dataset = dataset.filter(|_| cost != PrivacyCost::default());
    let row = |(i, contract): (usize, &ContractId)| {
        let known = contracts.iter().find(|c| c.id() == *contract);
        let rows = if known.is_none_or(scores) { ROWS_MAX } else { 0 };
        // The cost is the dataset's, once, whatever the contract.
        let (dataset, cost) = if i == 0 { (dataset, cost) } else { (None, PrivacyCost::default()) };
        Recounted { job: record.job, contract: *contract, rows, dataset, cost, question: None }
    };
    record.contracts.iter().enumerate().map(row).collect()
}

/// What an admission says that its job took.
fn exact(record: &UsageRecord, admission: &Admission, spec: Option<&JobSpec>) -> Recounted {
    let answered = admission.privacy.is_some() && record.status == Status::Ok;
    Recounted {
        job: admission.job,
        contract: admission.contract,
        rows: admission.rows,
        dataset: admission.dataset.filter(|_| admission.privacy.is_some()),
        cost: admission.privacy.unwrap_or_default(),
        question: spec.filter(|_| answered).map(JobSpec::question),
    }
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
