//! Answers to the coordinator. What must not be lost is committed before the answer leaves.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_engine::control::{FromNode, Outlook, ToNode};
use tacit_engine::{Assignment, Saying, Worker, WorkerJob, record};
use tacit_governance::{JobSpec, Ledger, SignedContract, SitePolicy, admission, lifecycle};
use tacit_protocol::Blame;
use tacit_receipts::{
    AddCheckpoint, KeyHistory, KeyRole, LogProof, Opening, Quorum, SeenCheckpoint, UsageRecord, VerifierKey,
    WitnessRefusal,
};
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, ContractId, Fault, JobId, NodeId, UnixMillis};

use crate::daemon::{Inner, Slot};
use crate::egress::job_of;
use crate::ledger::{self, Whose};
use crate::openings;
use crate::runner;
use crate::site::{self, Current};
use crate::store::{AttestationRow, Charge, Noisy, OPEN_ROWS_MAX, Tx};
use crate::{align, asked};

/// The longest time that a slot is kept for an attempt, in milliseconds.
pub const RESERVED_MS_MAX: u64 = 60_000;
/// Refusals that are in memory alone until they were attested.
pub const REFUSED_IN_MEMORY_MAX: usize = 64;

/// Refused jobs that take no place on the disk. The coordinator may still ask to have the end of one
/// attested; when it is gone from here, that job gets no receipt.
#[derive(Default)]
pub(crate) struct Refused(Mutex<VecDeque<(JobId, WorkerJob)>>);

impl Refused {
    fn inner(&self) -> MutexGuard<'_, VecDeque<(JobId, WorkerJob)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a job; the oldest gives way.
    fn keep(&self, id: JobId, job: WorkerJob) {
        let mut kept = self.inner();
        if kept.iter().any(|(known, _)| *known == id) {
            return;
        }
        if kept.len() >= REFUSED_IN_MEMORY_MAX {
            kept.pop_front();
        }
        kept.push_back((id, job));
    }

    pub(crate) fn get(&self, id: &JobId) -> Option<WorkerJob> {
        self.inner().iter().find(|(known, _)| known == id).map(|(_, job)| job.clone())
    }

    fn put(&self, id: &JobId, job: WorkerJob) {
        if let Some((_, kept)) = self.inner().iter_mut().find(|(known, _)| known == id) {
            *kept = job;
        }
    }

    fn forget(&self, id: &JobId) {
        self.inner().retain(|(known, _)| known != id);
    }
}

impl Inner {
    /// The bytes that answer a request, counted; `None` for bytes that are none.
    pub(crate) async fn respond(self: &Arc<Self>, peer: NodeId, bytes: &[u8]) -> Option<Vec<u8>> {
        let request: ToNode = wire::decode(bytes).ok()?;
        let job = job_of(&request);
        let answer = self.carry_out(request).await;
        let bytes = wire::encode(&answer);
        self.ledger.answer(peer, job, &answer, bytes.len() as u64);
        Some(bytes)
    }

    /// The answer to a request.
    pub(crate) async fn carry_out(self: &Arc<Self>, request: ToNode) -> FromNode {
        let answer = match request {
            ToNode::Admit { job, contracts } => self.admit(job, &contracts).await,
            ToNode::Plan { job, contracts } => self.plan(&job, &contracts).await,
            ToNode::Reserve { job, attempt, ttl_ms } => self.reserve(job, attempt, ttl_ms).await,
            ToNode::Start { assignment } => self.start(assignment).await,
            ToNode::Cancel { job, attempt, code } => self.cancel_attempt(&job, attempt, code).await,
            ToNode::Attest { job, record, evidence } => self.attest_asked(&job, &record, &evidence).await,
            ToNode::Cosign { request } => self.cosign_for(&request).await,
            ToNode::Logged { job, leaf, proof, beside } => self.logged(&job, &leaf, &proof, &beside).await,
            ToNode::Close { job, terminal } => {
                let closed = self.close(&job, terminal).await;
                self.unclosed.fetch_or(closed.is_err(), Ordering::Relaxed);
                closed
            }
            ToNode::Ping => Ok(FromNode::Done),
            ToNode::Promised { job, promise } => self.promised(&job, &promise).await,
            ToNode::Held => Ok(FromNode::Held(self.witnesses.seen().await.map(|seen| Blob(seen.note)))),
        };
        answer.unwrap_or_else(|fault| {
            tracing::warn!(%fault, "a request of the coordinator was not carried out");
            FromNode::Failed(fault)
        })
    }

    /// Decides once; a repeat gets the stored answer. Quota, consumed id and answer are one
    /// transaction. What names no contract of this owner's, or is refused when many refusals are kept,
    /// takes no place on the disk: it is refused alike whenever it comes.
    async fn admit(&self, job: Blob, offered: &[Vec<Blob>]) -> Result<FromNode, Fault> {
        let parsed = JobSpec::verify(&job)?;
        let id = JobSpec::id(&parsed);
        self.knows_all().await?;
        let now = crate::now();
        let site = site::now(self.site.as_ref()).await?;
        let mut tx = ledger::begin(&self.store, &parsed.body().kind).await?;
        if let Some(known) = tx.job(&id).await? {
            return Ok(known.decision());
        }
        let consumed = tx.recounted(&id).await?;
        let keys = self.known.keys();
        let (offered, plans) = (Worker::contracts(offered), Worker::price_plans(offered, &keys));
        let decide = |ledger: &Ledger<'_>| {
            let named = |c: &&SignedContract| parsed.body().contracts.contains(&c.id()) && c.signed_by(&ledger.owner);
            (Worker::decide(&parsed, ledger, now).err(), ledger.contracts.iter().any(|c| named(&c)), {
                Worker::admit(&job, ledger, &self.context(now))
            })
        };
        let (refusal, ours, record) = ledger::with(
            &mut tx,
            self.whose(&keys, site.as_ref()),
            parsed.body(),
            (offered, plans),
            consumed,
            now,
            decide,
        )
        .await?;
        let record: WorkerJob = record?;
        if let Some(fault) = refusal {
            if !ours || !tx.keeps_refusal(now).await? {
                // why: with the job's own time the same bytes come out again, and nothing has to be kept.
                let job = Worker::refuse(&job, id, fault, &self.context(parsed.body().created_at));
                let answer = job.decision();
                self.refused.keep(id, job);
                return Ok(answer);
            }
        } else if !tx.takes_job(now).await? {
            return Err(Fault::new(Code::JobBusy, format!("{OPEN_ROWS_MAX} jobs are open here; no more are taken")));
        }
        let charge = if record.admitted { charged(&record) } else { None };
        tx.insert_job(&id, &record, charge, parsed.body().expires_at, now).await?;
        if let Some(noisy) = noisy(&record, parsed.body()) {
            tx.charge(&id, &noisy).await?;
        }
        tx.commit().await?;
        tracing::info!(job = %id.short(), admitted = record.admitted, "decided");
        Ok(record.decision())
    }

    /// Decides and forgets: nothing of a plan is kept.
    async fn plan(&self, job: &Blob, offered: &[Vec<Blob>]) -> Result<FromNode, Fault> {
        let parsed = match JobSpec::verify(job) {
            Ok(parsed) => parsed,
            Err(fault) => return Ok(FromNode::Planned(Outlook { objection: Some(fault), ..Outlook::default() })),
        };
        self.knows_all().await?;
        let now = crate::now();
        let site = site::now(self.site.as_ref()).await?;
        let (mut tx, id) = (ledger::begin(&self.store, &parsed.body().kind).await?, JobSpec::id(&parsed));
        let consumed = tx.job(&id).await?.is_some() || tx.recounted(&id).await?;
        let keys = self.known.keys();
        let offered = (Worker::contracts(offered), Worker::price_plans(offered, &keys));
        let decide = |ledger: &Ledger<'_>| {
            let contract = admission::covering(parsed.body(), ledger).map(|c| (c.id(), c.body().clone()));
            (Worker::outlook(&parsed, ledger, now), contract)
        };
        let (mut outlook, contract) =
            ledger::with(&mut tx, self.whose(&keys, site.as_ref()), parsed.body(), offered, consumed, now, decide)
                .await?;
        // why: the transaction keeps nothing, and holds the one connection.
        drop(tx);
        if let (Some((id, terms)), false) = (contract, outlook.meters.is_empty()) {
            let own = self.keys.root.id();
            outlook.meters.extend(asked::meter(&self.store, &id, &terms, parsed.body(), &own, now).await?);
            let of = (&terms, parsed.body());
            outlook.meters.extend(align::meters(&self.store, &self.home, &own, of, now).await?);
        }
        Ok(FromNode::Planned(outlook))
    }

    fn whose<'a>(&self, keys: &'a KeyHistory, site: Option<&'a Current>) -> Whose<'a> {
        let site = site.map(|site| &**site as &(dyn SitePolicy + Sync));
        Whose { owner: self.keys.root.id(), coordinator: self.coordinator, keys, site }
    }

    async fn reserve(&self, job: JobId, attempt: Attempt, ttl_ms: u64) -> Result<FromNode, Fault> {
        self.knows_all().await?;
        let Some(known) = self.store.job(&job).await? else { return Err(unknown(&job)) };
        if let Some((_, why)) = self.store.halted_jobs(crate::now()).await?.into_iter().find(|(id, _)| *id == job) {
            return Err(why);
        }
        if !known.admitted || attempt.0 <= known.attempt {
            return Err(Fault::new(Code::RefusedReplayed, format!("{attempt} of job {}", job.short())));
        }
        let now = crate::now();
        unexpired(known.job()?.body(), now)?;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| slot.cancel.is_some() || slot.until > now);
        match slots.get(&job) {
            // An earlier attempt is still ending here: its slot is not this one's.
            Some(slot) if slot.cancel.is_some() => return Ok(FromNode::Busy),
            None if slots.len() >= self.config.slots as usize => {
                // The coordinator asks for what is free by its own count. What is only kept, and for longest, it
                // has given up: a job that was reserved and did not begin is reserved again.
                let kept = slots.iter().filter(|(_, slot)| slot.cancel.is_none());
                let Some(oldest) = kept.min_by_key(|(_, slot)| slot.until).map(|(job, _)| *job) else {
                    return Ok(FromNode::Busy);
                };
                slots.remove(&oldest);
            }
            _ => {}
        }
        slots.insert(job, Slot { attempt, until: now.plus(ttl_ms.min(RESERVED_MS_MAX)), cancel: None });
        Ok(FromNode::Reserved)
    }

    /// Begins an attempt: the number is burned on disk before anything else happens.
    async fn start(self: &Arc<Self>, assignment: Assignment) -> Result<FromNode, Fault> {
        let (id, attempt) = (assignment.job, assignment.attempt);
        let now = crate::now();
        let Some(known) = self.store.job(&id).await? else { return Err(unknown(&id)) };
        if known.attempt == attempt.0 {
            // A repeat: it runs, or has run and its report is on the way.
            return Ok(FromNode::Started);
        }
        let Some(contract) = admitted_under(&known) else {
            return Err(Fault::new(Code::RefusedReplayed, format!("job {} was refused here", id.short())));
        };
        let parsed = known.job()?;
        let mut session = tacit_engine::session::check(&parsed, &assignment, &self.keys.node_id)?;
        let keys = self.known.keys();
        if !keys.speaks(KeyRole::Node, &self.keys.node_id, &self.signing.id(), now) {
            let what = format!("this node signs with {}, which does not hold", self.signing.id().short());
            return Err(Fault::new(Code::ReceiptKeyRetired, what));
        }
        session.seating = session.seating.signing(|id| keys.holding(KeyRole::Node, id, now));
        // Before a slot or a number is taken: a card may show another key than the one that is pinned.
        for seated in &assignment.seats {
            self.store.put_party(&seated.card, &seated.address).await?;
        }
        let mut tx = self.store.begin().await?;
        let Some(mut job) = tx.job(&id).await? else { return Err(unknown(&id)) };
        if job.attempt == attempt.0 {
            return Ok(FromNode::Started);
        }
        unexpired(parsed.body(), now)?;
        in_force(&mut tx, &contract, now).await?;
        let cancel = self.occupy(&id, attempt)?;
        let begun = async {
            job.begin(attempt, now)?;
            tx.put_job(&id, &job).await?;
            tx.forget_records(&id).await?;
            tx.forget_asserted(&id).await?;
            tx.commit().await
        };
        if let Err(fault) = begun.await {
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            return Err(fault);
        }
        self.spawn(runner::run(self.clone(), parsed, assignment, session, cancel));
        Ok(FromNode::Started)
    }

    /// Turns the reservation into a running slot.
    fn occupy(&self, job: &JobId, attempt: Attempt) -> Result<tokio::sync::mpsc::Receiver<Code>, Fault> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot =
            slots.get_mut(job).filter(|slot| slot.attempt == attempt && slot.cancel.is_none()).ok_or_else(|| {
                Fault::new(Code::JobBusy, format!("no slot is kept for {attempt} of job {}", job.short()))
            })?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        slot.cancel = Some(sender);
        Ok(receiver)
    }

    /// Stops an attempt, or sees to it that it never begins here: an order to begin may be on its way.
    async fn cancel_attempt(&self, id: &JobId, attempt: Attempt, code: Code) -> Result<FromNode, Fault> {
        // One that is beginning holds the database until its number is durable.
        let mut tx = self.store.begin().await?;
        let Some(mut job) = tx.job(id).await? else { return Err(unknown(id)) };
        if job.decline(attempt, code) {
            tx.put_job(id, &job).await?;
            tx.commit().await?;
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).retain(|job, s| job != id || s.cancel.is_some());
            self.reports.notify_one();
            return Ok(FromNode::Done);
        }
        if job.attempt == attempt.0 {
            self.cancel(id, code);
            return Ok(FromNode::Started);
        }
        Ok(FromNode::Done)
    }

    /// Tells the attempt that runs to stop at the next step.
    pub(crate) fn cancel(&self, job: &JobId, code: Code) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancel) = slots.get(job).and_then(|slot| slot.cancel.as_ref()) {
            // why: a full channel holds an order to stop already.
            let _ = cancel.try_send(code);
        }
    }

    /// Attests with a number of the chain that is not used yet.
    async fn attest_asked(&self, id: &JobId, bytes: &[u8], evidence: &[Blame]) -> Result<FromNode, Fault> {
        self.caught_up().await?;
        self.attest(id, bytes, evidence).await
    }

    pub(crate) async fn attest(&self, id: &JobId, bytes: &[u8], evidence: &[Blame]) -> Result<FromNode, Fault> {
        let now = crate::now();
        let seen = self.witnesses.seen().await.map(|seen| SeenCheckpoint { size: seen.size, root: seen.root });
        let parties = self.store.parties().await?;
        let mut tx = self.store.begin().await?;
        let kept = tx.job(id).await?;
        let Some(mut job) = kept.clone().or_else(|| self.refused.get(id)) else { return Err(unknown(id)) };
        let parsed: UsageRecord =
            tacit_crypto::cbor::decode(bytes).map_err(|e| Fault::new(Code::ReceiptRecord, format!("it is {e}")))?;
        let node_of =
            |root: &NodeId| parties.iter().find(|(_, card, _)| card.root == *root).map(|(_, card, _)| card.node);
        record::check_parties(&parsed, job.job()?.body(), node_of)?;
        let link = tacit_receipts::receipt::next_link(tx.chain().await?);
        let openings = openings::of(&mut tx, &self.keys.root.id(), self.keys.node_id, &job, &parsed).await?;
        let figures = openings.iter().map(Opening::figure).collect();
        let links = tx.links(id).await?.filter(|links| links.attempt == parsed.attempt);
        let links = links.and_then(|links| links.linked(&self.keys.node_id));
        let saying = Saying { link, seen, figures, links };
        let (answer, attested) = job.attest_with(bytes, evidence, saying, &self.context(now))?;
        if let Some(attested) = attested {
            let disputed = parsed.disputed().count();
            if disputed > 0 {
                tracing::warn!(job = %id.short(), lines = disputed, "observers differ on usage lines: not billed until a ruling");
            }
            openings::keep(&self.home, &mut crate::os_rng()?, &openings)?;
            tx.forget_asserted(id).await?;
            let statement = job.attested.as_ref().map(|(_, statement)| statement.0.clone()).unwrap_or_default();
            tx.put_attestation(attested.seq, &AttestationRow { job: *id, id: attested.id, statement }).await?;
            tx.put_job(id, &job).await?;
            // why: they were checked with the record, whose hashes are of no use without them.
            tx.put_evidence(id, parsed.attempt, evidence, now).await?;
            tx.commit().await?;
            if kept.is_none() {
                self.refused.put(id, job);
            }
        }
        Ok(answer)
    }

    /// Cosigns for the coordinator.
    async fn cosign_for(&self, request: &[u8]) -> Result<FromNode, Fault> {
        match self.cosign(&AddCheckpoint::parse(request)?).await? {
            Ok(line) => Ok(FromNode::Cosigned(line.to_string())),
            Err(WitnessRefusal::Stale(size)) => Ok(FromNode::WitnessHolds(size)),
            Err(refusal) => Err(Fault::new(refusal.code(), refusal.to_string())),
        }
    }

    /// Checks receipt, proof and quorum, stores them, and hands out this node's part of the key.
    async fn logged(&self, id: &JobId, leaf: &[u8], proof: &[u8], beside: &[Blob]) -> Result<FromNode, Fault> {
        let now = crate::now();
        let known = match self.store.job(id).await? {
            Some(known) => known,
            None => self.refused.get(id).ok_or_else(|| unknown(id))?,
        };
        let quorum = self.quorum(&known).await?;
        // What an older database has forgotten may be a revocation.
        let unknowing = self.knows_all().await.err();
        let mut tx = self.store.begin().await?;
        let mut job = tx.job(id).await?.unwrap_or(known);
        let log_key = self.log_chain().key_of(&LogProof::parse(proof)?, &quorum)?;
        let answer = job
            .release(leaf, proof, beside, &log_key, &quorum, &self.context(now))
            .inspect_err(|_| self.known.read_on())?;
        tx.put_job(id, &job).await?;
        // The last gate: what was revoked while it ran keeps its receipt, and nobody opens its result.
        let halted = match (&answer, admitted_under(&job)) {
            (FromNode::Released(_), _) if unknowing.is_some() => unknowing,
            (FromNode::Released(_), Some(contract)) => halted(&mut tx, &contract, now).await?,
            _ => None,
        };
        if let Some(fault) = halted {
            tx.commit().await?;
            return Err(fault);
        }
        if job.release.is_some() && matches!(answer, FromNode::Released(_)) {
            align::catalogue(&mut tx, &self.keys, &self.home, id, &job, now).await?;
        }
        if let Some(own) = job.logged_attestation(leaf) {
            tx.attestation_logged(&own).await?;
        }
        if let (Some((usage, _)), Some(_)) = (&job.attested, &job.receipt) {
            tx.promise_kept(usage).await?;
        }
        tx.commit().await?;
        Ok(answer)
    }

    /// The witnesses of the job's own providers: keys from their cards, whose roots the job names,
    /// so that a coordinator cannot bring its own.
    async fn quorum(&self, job: &WorkerJob) -> Result<Quorum, Fault> {
        let parsed = job.job()?;
        let parties = self.store.parties().await?;
        // The list may be older than a party of this job: then it is fetched once more.
        if let Ok(quorum) =
            crate::trust::provider_quorum(parsed.body(), &parties, &self.listed_witnesses(), &self.known.keys())
        {
            return Ok(quorum);
        }
        self.refresh_log().await?;
        crate::trust::provider_quorum(parsed.body(), &parties, &self.listed_witnesses(), &self.known.keys())
    }

    pub(crate) fn listed_witnesses(&self) -> Vec<VerifierKey> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().flat_map(|l| &l.witnesses).filter_map(|text| VerifierKey::parse(text).ok()).collect()
    }

    async fn close(&self, id: &JobId, terminal: tacit_engine::Terminal) -> Result<FromNode, Fault> {
        let state = terminal.word();
        align::forget(&self.home, id, terminal == tacit_engine::Terminal::Succeeded);
        if !self.store.close_job(id, terminal).await? {
            self.refused.forget(id);
            return Ok(FromNode::Done);
        }
        tracing::info!(job = %id.short(), state, "ended");
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).retain(|job, s| job != id || s.cancel.is_some());
        Ok(FromNode::Done)
    }
}

fn unknown(job: &JobId) -> Fault {
    Fault::new(Code::JobUnknown, format!("job {}", job.short()))
}

/// An operator signs until when its job may begin: whoever schedules does not choose a later time.
fn unexpired(spec: &JobSpec, now: UnixMillis) -> Result<(), Fault> {
    match now >= spec.expires_at {
        true => Err(Fault::new(Code::RefusedJobExpired, format!("it expired at {}", spec.expires_at))),
        false => Ok(()),
    }
}

/// An admission is good for as long as its contract: whoever schedules does not choose when.
///
/// Nor does whoever can turn this machine's clock back: time goes on from the latest that the node has acted at.
pub(crate) async fn in_force(tx: &mut Tx<'_>, id: &ContractId, now: UnixMillis) -> Result<(), Fault> {
    let before = tx.high_water(now).await?;
    let now = now.max(before);
    let contracts = tx.contracts().await?;
    let contract = contracts.iter().find(|c| c.id() == *id);
    let contract =
        contract.ok_or_else(|| Fault::new(Code::RefusedContractUnknown, format!("contract {}", id.short())))?;
    lifecycle::standing(contract, &contracts, &tx.revoked().await?, &tx.orders().await?, now)?;
    // A trustee may have rejected it since.
    if let Some(lacking) = contract.unapproved().first() {
        return Err(Fault::new(Code::RefusedApproval, format!("contract {}: {lacking}", id.short())));
    }
    let ends = contract.body().ends();
    if now >= ends {
        let what = format!("contract {} was valid until {ends}", id.short());
        return Err(Fault::new(Code::RefusedContractExpired, what));
    }
    Ok(())
}

/// Why the results under a contract are not handed out any more: a party has revoked or suspended it.
async fn halted(tx: &mut Tx<'_>, id: &ContractId, now: UnixMillis) -> Result<Option<Fault>, Fault> {
    let (revoked, orders) = (tx.revoked().await?, tx.orders().await?);
    let contracts = tx.contracts().await?;
    let contract = contracts.iter().find(|c| c.id() == *id);
    Ok(contract.and_then(|c| lifecycle::standing(c, &[], &revoked, &orders, now).err()))
}

/// The contract that an admission rests on; `None` for a job that was refused.
pub(crate) fn admitted_under(job: &WorkerJob) -> Option<ContractId> {
    charged(job).map(|charge| charge.contract)
}

/// What this node's own admission takes from a privacy budget; `None` for a job that has none.
fn noisy(job: &WorkerJob, spec: &JobSpec) -> Option<Noisy> {
    let admission = admission(job).filter(|_| job.admitted)?;
    Some(Noisy { dataset: admission.dataset, cost: admission.privacy?, question: spec.question() })
}

pub(crate) fn admission(job: &WorkerJob) -> Option<tacit_governance::Admission> {
    tacit_crypto::Statement::verify(&job.answer).ok().map(tacit_crypto::Statement::into_body)
}

/// What this node's own admission takes from the contract.
fn charged(job: &WorkerJob) -> Option<Charge> {
    let admission = admission(job)?;
    Some(Charge { contract: admission.contract, rows: admission.rows })
}
