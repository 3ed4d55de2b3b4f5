//! The part of one node in a job: what it answers, and what it must have made durable before it
//! answers. Every request can be repeated and gets the answer that the first one got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tacit_crypto::statement::Link;
use tacit_crypto::{Keyring, SigningKey, Statement, sha256};
use tacit_governance::admission::meters;
use tacit_governance::{Admission, JobSpec, Judgement, Ledger, ProviderRef, Refusal, Request, SignedContract, judge};
use tacit_jobs::session::Given;
use tacit_protocol::Blame;
use tacit_receipts::money::PricePlan;
use tacit_receipts::record::Role;
use tacit_receipts::{
    Attestation, Figure, JointReceipt, KeyHistory, KeyRole, LogProof, Promise, Quorum, SeenCheckpoint, Status,
    UsageRecord, VerifierKey,
};
use tacit_types::wire::Blob;
use tacit_types::{Attempt, Code, ContractId, Fault, Hash, JobId, NodeId, StatementId, UnixMillis};

use crate::control::{Finish, Finished, FromNode, Linked, Outlook, Terminal};
use crate::evidence::{self, Saw};
use crate::kept::Kept;
use crate::record::{self, Own};

/// What a node keeps of a job for ever.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerJob {
    /// The signed job as it was offered.
    pub bytes: Blob,
    /// The signed admission or refusal.
    pub answer: Blob,
    /// Whether it is an admission.
    pub admitted: bool,
    /// The highest attempt that this node has begun. It begins none of that number again.
    pub attempt: u32,
    /// When it began that one; zero for one that it gave up before.
    pub began: UnixMillis,
    /// Whether this party's masked input has left it in any attempt.
    pub input_sent: bool,
    /// How the last attempt ended here.
    pub finished: Option<Finished>,
    /// What this node saw of the others in it.
    pub saw: Saw,
    /// Whether the coordinator has acknowledged that.
    pub reported: bool,
    /// This party's part of the result's key. It is handed out after the receipt is logged.
    pub release: Option<Blob>,
    /// The digest of the record that this node attested, and the attestation.
    pub attested: Option<(Hash, Blob)>,
    /// The receipt's place and leaf, once they were proven.
    pub receipt: Option<(u64, Blob, Blob)>,
    /// How the job ended.
    pub terminal: Option<Terminal>,
    /// What this party will attest of the attempt that runs, once it has voted for its end.
    pub kept: Option<Kept>,
    /// Whether the last attempt ended here as it was kept, after a restart: the verdict was never heard.
    pub untold: bool,
    /// Whether the job has ended here, the last attempt well, and no record of it was attested.
    pub owed: bool,
    /// What each party has given in the last attempt, by seat, where not all have given alike.
    pub each: Vec<Given>,
}

/// An attestation to be stored in one transaction with the issuer's chain.
pub struct Attested {
    /// Its number.
    pub seq: u64,
    /// Its id, the next one's `prev`.
    pub id: StatementId,
}

/// What an attestation says beside that its party agrees.
pub struct Saying {
    /// Its place in its issuer's chain.
    pub link: Link,
    /// What the node has seen of the log.
    pub seen: Option<SeenCheckpoint>,
    /// Figures that it commits to.
    pub figures: Vec<Figure>,
    /// The links of the record's attempt, where that had any here.
    pub links: Option<Linked>,
}

/// The node's keys and pins, the same for every job.
pub struct WorkerContext<'a> {
    /// The node's key.
    pub key: &'a SigningKey,
    /// The node's id: its first key.
    pub node: NodeId,
    /// The keys that parties have had.
    pub keys: Arc<KeyHistory>,
    /// The owner's root key.
    pub owner: NodeId,
    /// The log's origin.
    pub origin: &'a str,
    /// The coordinator's key, which signs receipts.
    pub coordinator: NodeId,
    /// The time.
    pub now: UnixMillis,
}

/// The longest time from now for which a coordinator may promise a receipt, in milliseconds: a week.
pub const PROMISE_MILLIS_MAX: u64 = 7 * 86_400_000;

/// The decisions of a node. It has no state of its own: jobs and reservations are the driver's.
pub struct Worker;

impl Worker {
    /// Decides on a job that is not known here yet.
    ///
    /// # Errors
    /// `refused.malformed` for bytes that are not a job at all: there is nothing to sign about.
    pub fn admit(bytes: &[u8], ledger: &Ledger<'_>, context: &WorkerContext<'_>) -> Result<WorkerJob, Fault> {
        let job = JobSpec::verify(bytes)?;
        let subject = JobSpec::id(&job).to_string();
        let decision = Self::decide(&job, ledger, context.now);
        match decision {
            Ok(admission) => {
                let signed = Statement::sign(context.key, &subject, context.now, None, admission);
                Ok(WorkerJob::decided(bytes, signed.bytes(), true))
            }
            Err(fault) => Ok(Self::refuse(bytes, JobSpec::id(&job), fault, context)),
        }
    }

    /// A refusal, signed at the context's time.
    pub fn refuse(bytes: &[u8], id: JobId, fault: Fault, context: &WorkerContext<'_>) -> WorkerJob {
        let refusal = Refusal {
            job: id,
            owner: context.owner,
            code: fault.code,
            reason: fault.what,
            at: context.now,
            offered: Hash(id.0),
        };
        let signed = Statement::sign(context.key, &id.to_string(), context.now, None, refusal);
        WorkerJob::decided(bytes, signed.bytes(), false)
    }

    /// The decision without its consequences.
    ///
    /// # Errors
    /// The refusal.
    pub fn decide(job: &Statement<JobSpec>, ledger: &Ledger<'_>, now: UnixMillis) -> Result<Admission, Fault> {
        Self::judge(job, ledger, now).decision
    }

    /// The decision without its consequences, with the rule that it rests on.
    pub fn judge(job: &Statement<JobSpec>, ledger: &Ledger<'_>, now: UnixMillis) -> Judgement {
        judge(&Self::request(job, ledger, now), ledger)
    }

    fn request<'a>(job: &'a Statement<JobSpec>, ledger: &Ledger<'_>, now: UnixMillis) -> Request<'a> {
        let spec = job.body();
        let parts = tacit_jobs::Parts::of(spec);
        let plan = tacit_jobs::kind(&spec.kind).and_then(|k| k.plan(&spec.params, &parts));
        let online = plan.as_ref().ok().and_then(|plan| plan.online());
        let align = plan.as_ref().ok().and_then(|plan| plan.aligns());
        let feeds = plan.as_ref().map(|plan| plan.feeds()).unwrap_or_default();
        let facts = plan.map(|plan| plan.facts(&ledger.owner));
        Request { job, facts, online, align, feeds, rerun: tacit_jobs::review::given, now }
    }

    /// How the job would be decided, and the limits that it meets.
    pub fn outlook(job: &Statement<JobSpec>, ledger: &Ledger<'_>, now: UnixMillis) -> Outlook {
        let request = Self::request(job, ledger, now);
        let judged = judge(&request, ledger);
        let objection = judged.decision.err();
        let rule = objection.as_ref().map_or_else(String::new, |_| judged.rule.word().to_owned());
        Outlook { objection, rule, meters: meters(&request, ledger) }
    }

    /// Collects the contracts that came with a request; broken ones are left out, which the decision
    /// then finds missing.
    pub fn contracts(offered: &[Vec<Blob>]) -> Vec<SignedContract> {
        let signatures = |list: &Vec<Blob>| {
            let plain = list.iter().map(|b| b.0.as_slice()).filter(|bytes| !is_price_plan(bytes));
            SignedContract::collect(plain).ok()
        };
        offered.iter().filter_map(signatures).collect()
    }

    /// Collects the signatures over price plans that came with a request, each under the id for which its key spoke; broken ones
    /// are left out.
    pub fn price_plans(offered: &[Vec<Blob>], keys: &KeyHistory) -> PricePlans {
        let mut plans = PricePlans::default();
        for statement in offered.iter().flatten().filter_map(|b| Statement::<PricePlan>::verify(b).ok()) {
            let plan = statement.body();
            let signers =
                plans.0.entry((plan.contract, plan.terms())).or_insert_with(|| (plan.clone(), BTreeSet::new()));
            signers.1.extend(keys.speaker(&statement.signer(), statement.envelope().issued_at));
        }
        plans
    }
}

fn is_price_plan(bytes: &[u8]) -> bool {
    Statement::<PricePlan>::verify(bytes).is_ok()
}

/// Price plans by contract and terms, and who has signed each.
#[derive(Default)]
pub struct PricePlans(BTreeMap<(ContractId, Hash), (PricePlan, BTreeSet<NodeId>)>);

impl PricePlans {
    /// Whether the payer and every payee of a plan of these terms have signed it. The terms name them: the hash of the
    /// terms is what all parties of the contract signed.
    pub fn signed(&self, contract: &ContractId, terms: &Hash) -> bool {
        let plan = self.0.get(&(*contract, *terms));
        plan.is_some_and(|(plan, by)| plan.check().is_ok() && plan.signers().all(|signer| by.contains(signer)))
    }
}

impl WorkerJob {
    fn decided(bytes: &[u8], answer: &[u8], admitted: bool) -> Self {
        Self {
            bytes: Blob(bytes.to_vec()),
            answer: Blob(answer.to_vec()),
            admitted,
            attempt: 0,
            began: UnixMillis(0),
            input_sent: false,
            finished: None,
            saw: Saw::default(),
            reported: true,
            release: None,
            attested: None,
            receipt: None,
            terminal: None,
            kept: None,
            untold: false,
            owed: false,
            each: Vec::new(),
        }
    }

    /// The answer to `Admit`, first or repeated.
    pub fn decision(&self) -> FromNode {
        if self.admitted { FromNode::Admitted(self.answer.clone()) } else { FromNode::Refused(self.answer.clone()) }
    }

    /// The job, checked when it was admitted.
    ///
    /// # Errors
    /// `store.corrupt` when the stored bytes are not the job any more.
    pub fn job(&self) -> Result<Statement<JobSpec>, Fault> {
        JobSpec::verify(&self.bytes).map_err(|f| Fault::new(Code::StoreCorrupt, f.what))
    }

    /// This owner's part of the job.
    ///
    /// # Errors
    /// `store.corrupt`.
    pub fn provider(&self, owner: &NodeId) -> Result<ProviderRef, Fault> {
        let job = self.job()?;
        job.body().provider(owner).cloned().ok_or_else(|| Fault::new(Code::StoreCorrupt, "a job without this owner"))
    }

    /// Whether an attempt may begin; the driver stores the value before it does. An attempt of a
    /// number that was begun before is never begun again: after a crash it is burned.
    ///
    /// # Errors
    /// `refused.*` for a job that was refused or has ended, `refused.replayed` for a burned attempt,
    /// `job.peer_lost` for a new attempt after this party's masked input has left it once.
    pub fn begin(&mut self, attempt: Attempt, now: UnixMillis) -> Result<(), Fault> {
        if !self.admitted || self.terminal.is_some() || self.attested.is_some() {
            return Err(Fault::new(Code::RefusedReplayed, "the job was refused or has ended here"));
        }
        if attempt.0 <= self.attempt {
            return Err(Fault::new(Code::RefusedReplayed, format!("{attempt} was begun before")));
        }
        if self.input_sent {
            let what = "a masked input of this job has left this node before; it does not mask another";
            return Err(Fault::new(Code::JobPeerLost, what));
        }
        (self.attempt, self.began) = (attempt.0, now);
        self.finished = None;
        self.saw = Saw::default();
        self.reported = true;
        self.release = None;
        (self.kept, self.untold) = (None, false);
        self.each.clear();
        Ok(())
    }

    /// Takes what each party has given in an attempt, before the vote for its end and before the end.
    pub fn gave(&mut self, attempt: Attempt, each: Vec<Given>) {
        if attempt.0 == self.attempt && self.finished.is_none() {
            self.each = each;
        }
    }

    /// Takes what was seen of the others in an attempt, before its end. What is too long to travel the driver keeps apart.
    pub fn see(&mut self, attempt: Attempt, saw: Saw) {
        if attempt.0 == self.attempt && self.finished.is_none() {
            self.saw = Saw { blames: evidence::travelling(&saw.blames), transcripts: saw.transcripts };
        }
    }

    /// Takes the end of an attempt.
    pub fn finish(&mut self, attempt: Attempt, finished: Finished, release: Option<Vec<u8>>) {
        if attempt.0 == self.attempt && self.finished.is_none() {
            self.finished = Some(finished);
            self.release = release.map(Blob).or(self.release.take());
            self.reported = false;
            self.kept = None;
        }
    }

    /// What a restarted node makes of an attempt that was running when it stopped: the end for which it had voted, or none.
    pub fn burn(&mut self) -> bool {
        let running = self.is_running();
        if running && !self.resume() {
            self.finished = Some(Finished::Failed {
                code: Code::JobPeerLost,
                step: None,
                seat: None,
                hint: "the node was restarted; the attempt is burned".into(),
                // That it leaves is durable before it does.
                input_sent: self.input_sent,
            });
            self.reported = false;
        }
        running
    }

    /// Gives an attempt up that was not begun: it never will be, however late an order to begin it comes.
    /// `false` when it was begun, or given up before.
    pub fn decline(&mut self, attempt: Attempt, code: Code) -> bool {
        if attempt.0 <= self.attempt || !self.admitted || self.terminal.is_some() || self.attested.is_some() {
            return false;
        }
        (self.attempt, self.began) = (attempt.0, UnixMillis(0));
        self.finished = Some(Finished::Failed {
            code,
            step: None,
            seat: None,
            hint: "it was given up before it began here".into(),
            input_sent: false,
        });
        self.saw = Saw::default();
        self.release = None;
        self.reported = false;
        (self.kept, self.untold) = (None, false);
        true
    }

    /// The report that the coordinator has not acknowledged. Links are the driver's to add.
    pub fn report(&self, id: JobId) -> Option<Finish> {
        let finished = self.finished.clone().filter(|_| !self.reported)?;
        let blames = self.saw.blames.clone();
        Some(Finish { job: id, attempt: Attempt(self.attempt), finished, blames, links: None })
    }

    /// Attests a record, or gives the attestation that was given for the same record before. A node
    /// attests one record of a job that ended well, and no other record after it. Once the job has ended here it attests
    /// a record with a result alone, and only where it has ended the attempt well.
    ///
    /// # Errors
    /// `receipt.record` when the record is not what this node metered.
    pub fn attest(
        &mut self,
        bytes: &[u8],
        evidence: &[Blame],
        link: Link,
        seen: Option<SeenCheckpoint>,
        context: &WorkerContext<'_>,
    ) -> Result<(FromNode, Option<Attested>), Fault> {
        let saying = Saying { link, seen, figures: Vec::new(), links: None };
        self.attest_with(bytes, evidence, saying, context)
    }

    /// As [`WorkerJob::attest`], with what else the attestation says.
    ///
    /// # Errors
    /// Those of [`WorkerJob::attest`].
    pub fn attest_with(
        &mut self,
        bytes: &[u8],
        evidence: &[Blame],
        Saying { link, seen, figures, links }: Saying,
        context: &WorkerContext<'_>,
    ) -> Result<(FromNode, Option<Attested>), Fault> {
        let invalid = |what: &str| Fault::new(Code::ReceiptRecord, what);
        let record: UsageRecord = tacit_crypto::cbor::decode(bytes).map_err(invalid)?;
        let digest = record.digest();
        if let Some((attested, statement)) = &self.attested {
            return if *attested == digest {
                Ok((FromNode::Attested(statement.clone()), None))
            } else {
                Err(invalid("another record of this job was attested before"))
            };
        }
        if self.terminal.is_some() && !(self.owed && record.status == Status::Ok) {
            return Err(invalid("the job has ended here without it"));
        }
        let job = self.job()?;
        record::check(
            &record,
            &Own {
                job: &job,
                origin: context.origin,
                node: context.node,
                keys: &context.keys,
                root: context.owner,
                dataset: job.body().provider(&context.owner).map(|p| p.dataset),
                attempt: Attempt(self.attempt),
                finished: self.finished.as_ref(),
                each: &self.each,
                input_sent: self.input_sent,
                admitted: self.admitted,
                began: Some(self.began).filter(|at| at.0 > 0),
                refusal: Statement::<Refusal>::verify(&self.answer).ok().map(|refusal| refusal.body().code),
                untold: self.untold,
                evidence,
                saw: &self.saw,
                links: links.as_ref(),
                now: context.now,
            },
        )?;
        let role = record.party(&context.node).map_or(Role::Input, |entry| entry.role);
        let transcript = record::attested_root(&record, &context.node, links.as_ref());
        let said = Attestation { figures, transcript, ..Attestation::agreeing(&record, role, seen) };
        let statement = said.sign(context.key, &record, context.now, link);
        let attested = Attested { seq: link.seq, id: statement.id() };
        self.attested = Some((digest, Blob(statement.bytes().to_vec())));
        if self.owed {
            self.forgive();
        }
        let answer = FromNode::Attested(Blob(statement.bytes().to_vec()));
        Ok((answer, Some(attested)))
    }

    /// Checks that the receipt is in a cosigned checkpoint and gives this party's part of the
    /// result's key: the only place where it leaves the node. `beside` are the attestations of a receipt
    /// that carries them by hash.
    ///
    /// # Errors
    /// `receipt.invalid` and the codes of the log when the leaf is not the coordinator's receipt
    /// over the record that this node attested, complete, and proven.
    pub fn release(
        &mut self,
        leaf: &[u8],
        proof: &[u8],
        beside: &[Blob],
        log: &VerifierKey,
        quorum: &Quorum,
        context: &WorkerContext<'_>,
    ) -> Result<FromNode, Fault> {
        let invalid = |what: &str| Fault::new(Code::ReceiptInvalid, what);
        let parsed = LogProof::parse(proof)?;
        let receipt = Statement::<JointReceipt>::verify(leaf).map_err(|e| invalid(&e.to_string()))?;
        if !context.keys.signed_for(KeyRole::Coordinator, &context.coordinator, receipt.envelope()) {
            return Err(invalid("not signed by the coordinator"));
        }
        let record = &receipt.body().record;
        let attested = self.attested.as_ref().map(|(digest, _)| *digest);
        if attested != Some(record.digest()) {
            return Err(invalid("it is not over the record that this node attested"));
        }
        let included = parsed.verify_behind(leaf, context.origin, log, quorum, record.ended)?;
        self.receipt = Some((included.index(), Blob(leaf.to_vec()), Blob(proof.to_vec())));
        if record.status != Status::Ok {
            return Ok(FromNode::Done);
        }
        let beside: BTreeMap<StatementId, &Blob> = beside.iter().map(|b| (StatementId(sha256(b).0), b)).collect();
        let id_of = |key: &NodeId| context.keys.id_of(KeyRole::Node, key);
        let beside = |id: &StatementId| beside.get(id).map(|b| b.0.clone());
        let held = receipt.body().attested_with(&beside, &Keyring::default(), &id_of);
        let signers = held.held.iter().map(|said| id_of(&said.signer())).collect();
        if !receipt.body().complete(&signers) {
            return Err(invalid("a party that took part has not attested"));
        }
        match &self.release {
            Some(release) => Ok(FromNode::Released(release.clone())),
            None => Err(invalid("this node has no part in the result's key")),
        }
    }

    /// Reads the coordinator's promise to log the record that this node has attested, and from which leaf on its receipt
    /// is to be looked for. `None` when the receipt is there already.
    ///
    /// # Errors
    /// `receipt.malformed` for what is no statement; `receipt.invalid` for one that the coordinator has not signed or that is
    /// about another record; `receipt.time` for a deadline later than [`PROMISE_MILLIS_MAX`] from now.
    pub fn promised(&self, bytes: &[u8], context: &WorkerContext<'_>) -> Result<Option<(Promise, u64)>, Fault> {
        let invalid = |what: &str| Fault::new(Code::ReceiptInvalid, format!("a promise: {what}"));
        let statement = Statement::<Promise>::verify(bytes)
            .map_err(|e| Fault::new(Code::ReceiptMalformed, format!("a promise: {e}")))?;
        if !context.keys.signed_for(KeyRole::Coordinator, &context.coordinator, statement.envelope()) {
            return Err(invalid("not signed by the coordinator"));
        }
        let promise = statement.into_body();
        let Some((_, own)) = self.attested.as_ref().filter(|(digest, _)| *digest == promise.usage) else {
            return Err(invalid("it is not about the record that this node attested"));
        };
        if promise.deadline > context.now.plus(PROMISE_MILLIS_MAX) {
            return Err(Fault::new(Code::ReceiptTime, format!("a promise for {}", promise.deadline)));
        }
        if self.receipt.is_some() {
            return Ok(None);
        }
        // What this node had seen of the log when it attested was there before the receipt.
        let seen = Statement::<Attestation>::verify(own).ok().and_then(|own| own.into_body().seen);
        Ok(Some((promise, seen.map_or(0, |seen| seen.size))))
    }

    /// The id of this node's attestation when the receipt, which [`WorkerJob::release`] has checked, carries it.
    pub fn logged_attestation(&self, leaf: &[u8]) -> Option<StatementId> {
        let (_, statement) = self.attested.as_ref()?;
        let id = StatementId(sha256(statement).0);
        Statement::<JointReceipt>::verify(leaf).is_ok_and(|r| r.body().carries(&id)).then_some(id)
    }

    /// Takes the end of the job. The sealed result is the coordinator's to keep from now on.
    pub fn close(&mut self, terminal: Terminal) {
        self.settle_kept();
        self.terminal.get_or_insert(terminal);
        self.reported = true;
    }
}
