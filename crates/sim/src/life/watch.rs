//! What must hold of a job's life. The observer sees every disk, every message and every answer.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::Statement;
use tacit_engine::Terminal;
use tacit_engine::control::{Finished, FromNode, ToNode};
use tacit_governance::JobSpec;
use tacit_jobs::JointOutput;
use tacit_protocol::{Abort, Message};
use tacit_receipts::merkle::{MemTree, leaf_hash, root};
use tacit_receipts::{Attestation, Bundle, JointReceipt, Status, verify_bundle};
use tacit_types::{Attempt, Code, Hash, JobId, wire};

use super::cast::Cast;
use super::coordinator::Key as Kept;
use super::node::{Key, admitted_under};
use super::world::World;
use crate::bug::Bug;
use crate::run::{Check, broken, holds};

/// What the observer remembers.
#[derive(Default)]
pub(super) struct Watch {
    /// How a job ended, and who said so first.
    ends: BTreeMap<JobId, (Terminal, String)>,
    /// Attempts that a node has begun.
    begun: BTreeSet<(usize, JobId, u32)>,
    /// The attempt in which a node's masked input has left it.
    masked: BTreeMap<(usize, JobId), u32>,
    /// The answer to a request that must be answered alike, by node and request.
    answers: BTreeMap<(usize, Hash), FromNode>,
    /// Attestations that have left a node, by number in its chain.
    attested: BTreeMap<(usize, u64), Hash>,
    /// Cells opened, by node, job, attempt and disclosure.
    opened: BTreeMap<(usize, JobId, u32, String), u64>,
    /// Checkpoints that were given out with a quorum.
    published: BTreeMap<u64, Hash>,
    /// Admissions that left a node, as the coordinator keeps them.
    pub admissions: BTreeMap<(usize, JobId), Vec<u8>>,
    /// What each witness has cosigned.
    pub cosigned: BTreeMap<usize, BTreeMap<u64, Hash>>,
    /// Who handed out its part of which result's key.
    released: BTreeSet<(usize, JobId)>,
    /// Admissions that were seen to be the node's own.
    pub own_admissions: BTreeSet<(usize, JobId)>,
    /// The record that honest nodes hand out their parts for.
    pub finished_with: BTreeMap<JobId, Hash>,
    /// What a party has voted for, by node, job and attempt, until it hears that the result is dropped.
    pub votes: BTreeMap<(usize, JobId, u32), Finished>,
    /// What those who ended an attempt well hold of it.
    pub ended_alike: BTreeMap<(JobId, u32), (Hash, Vec<tacit_types::Seat>)>,
}

/// A request in one word.
pub(super) fn word(request: &ToNode) -> &'static str {
    match request {
        ToNode::Admit { .. } => "admit",
        ToNode::Plan { .. } => "plan",
        ToNode::Reserve { .. } => "reserve",
        ToNode::Start { .. } => "start",
        ToNode::Cancel { .. } => "cancel",
        ToNode::Attest { .. } => "attest",
        ToNode::Cosign { .. } => "cosign",
        ToNode::Logged { .. } => "logged",
        ToNode::Close { .. } => "close",
        ToNode::Ping => "ping",
        ToNode::Held => "held",
        ToNode::Promised { .. } => "promised",
    }
}

/// An answer in a few words.
pub(super) fn answer_word(answer: &FromNode) -> String {
    match answer {
        FromNode::Failed(fault) => fault.to_string(),
        FromNode::WitnessHolds(size) => format!("holds {size}"),
        FromNode::Admitted(_) => "admitted".into(),
        FromNode::Refused(_) => "refused".into(),
        FromNode::Attested(_) => "attested".into(),
        FromNode::Cosigned(_) => "cosigned".into(),
        FromNode::Released(_) => "released".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

impl Watch {
    /// Someone learns how a job ended.
    pub fn ended(&mut self, id: &JobId, who: &str, terminal: &Terminal, restored: bool) -> Check {
        // A coordinator with an old state may have forgotten an end that it told.
        if restored {
            return Ok(());
        }
        let (first, by) = self.ends.entry(*id).or_insert_with(|| (terminal.clone(), who.to_owned()));
        holds(first == terminal, "the_terminal_state_is_the_same_on_every_side", || {
            format!("job {}: {first:?} to {by}, {terminal:?} to {who}", id.short())
        })
    }

    pub fn an_attempt_is_begun_once(&mut self, node: usize, id: &JobId, attempt: Attempt) -> Check {
        let fresh = self.begun.insert((node, *id, attempt.0));
        holds(fresh, "an_attempt_is_begun_once", || format!("node {node}, {attempt} of job {}", id.short()))
    }

    pub fn who_masked_once_takes_part_in_no_other_attempt(&self, node: usize, id: &JobId, attempt: Attempt) -> Check {
        let before = self.masked.get(&(node, *id)).copied().filter(|before| *before != attempt.0);
        holds(before.is_none(), "who_masked_once_takes_part_in_no_other_attempt", || {
            format!("node {node}, {attempt} of job {} after attempt {before:?}", id.short())
        })
    }

    pub fn what_is_asked_is_durable_first(&self, durable: bool, node: usize, request: &ToNode) -> Check {
        holds(durable, "what_is_asked_is_durable_first", || format!("{} to node {node}", word(request)))
    }

    pub fn nothing_is_opened_outside_the_spec(
        &mut self,
        spec: &JobSpec,
        (node, job, attempt): (usize, JobId, u32),
        what: &str,
        cells: u64,
    ) -> Check {
        let plan = tacit_jobs::kind(&spec.kind).and_then(|kind| kind.plan(&spec.params, &tacit_jobs::Parts::of(spec)));
        let listed = plan.map(|plan| plan.disclosures()).unwrap_or_default();
        let total = self.opened.entry((node, job, attempt, what.to_owned())).or_default();
        *total += cells;
        let most = listed.iter().find(|d| d.what == what).map_or(0, |d| d.cells_max);
        holds(*total <= most, "nothing_is_opened_outside_the_spec", || {
            format!("node {node}: {total} cells of {what}, listed {most}")
        })
    }

    pub fn the_meter_agrees(&self, node: usize, metered: u64, output: &JointOutput, planted: bool) -> Check {
        holds(planted || metered == output.cells_in, "the_meter_agrees_with_the_report", || {
            format!("node {node}: {metered} cells metered, {} reported", output.cells_in)
        })
    }

    /// Connections let nothing altered through, and every machine is honest but that of a node that lies; a coordinator
    /// that lies can give them different jobs.
    pub fn blame_names_only_a_guilty_seat(
        &self,
        node: usize,
        abort: &Abort,
        misled: bool,
        guilty: impl Fn(tacit_types::Seat) -> bool,
    ) -> Check {
        let blamed = match abort {
            Abort::Disagreement { .. } => !misled,
            Abort::Misbehaved { .. } => !abort.seat().is_some_and(guilty),
            other => matches!(other, Abort::Misbehaved { .. } | Abort::Undisclosed(_)),
        };
        holds(!blamed, "blame_names_only_a_guilty_seat", || format!("node {node}: {abort}"))
    }

    /// A checkpoint goes out with its quorum.
    pub fn published(&mut self, size: u64, checkpoint: Hash) -> Check {
        let first = *self.published.entry(size).or_insert(checkpoint);
        holds(first == checkpoint, "the_log_only_grows", || format!("two histories of {size} leaves"))
    }

    /// A witness cosigns.
    pub fn cosigned(&mut self, node: usize, size: u64, checkpoint: Hash) -> Check {
        let seen = self.cosigned.entry(node).or_default();
        let largest = seen.last_key_value().map_or(0, |(size, _)| *size);
        let first = *seen.entry(size).or_insert(checkpoint);
        holds(first == checkpoint && size >= largest, "a_witness_cosigns_one_history", || {
            format!("witness {node}: {size} leaves after {largest}")
        })
    }
}

impl World {
    /// Checks an answer as it leaves a node.
    pub fn check_answer(&mut self, i: usize, request: &ToNode, answer: &FromNode) -> Check {
        match (request, answer) {
            (ToNode::Admit { job, .. }, FromNode::Admitted(_) | FromNode::Refused(_)) => {
                self.an_admission_is_durable_and_charged(i, job, answer)?;
                self.a_repeated_request_gets_the_answer_of_the_first(i, request, answer)
            }
            (ToNode::Attest { job, record, evidence }, FromNode::Attested(bytes)) => {
                self.no_party_is_accused_over_signatures_of_those_who_cannot_know(i, job, record)?;
                self.an_attestation_is_of_what_the_node_observed(i, job, record, evidence)?;
                self.attestation_chains_are_gap_free(i, bytes)?;
                self.a_repeated_request_gets_the_answer_of_the_first(i, request, answer)
            }
            (ToNode::Logged { job, leaf, proof, .. }, FromNode::Released(_)) => {
                if !self.has(Bug::AcceptWithoutProof) && !self.has(Bug::ReleaseBeforeQuorum) {
                    self.no_part_of_a_key_leaves_without_a_receipt_in_a_cosigned_checkpoint(i, leaf, proof)?;
                }
                self.no_two_honest_nodes_finish_with_different_records(i, job, leaf)?;
                self.watch.released.insert((i, *job));
                self.a_part_of_a_key_leaves_only_for_a_witnessed_complete_receipt(i, job, leaf)
            }
            _ => Ok(()),
        }
    }

    fn a_repeated_request_gets_the_answer_of_the_first(
        &mut self,
        i: usize,
        request: &ToNode,
        answer: &FromNode,
    ) -> Check {
        let key = match request {
            ToNode::Admit { job, .. } => tacit_crypto::sha256(job),
            other => tacit_crypto::sha256(&wire::encode(other)),
        };
        let first = self.watch.answers.entry((i, key)).or_insert_with(|| answer.clone());
        holds(first == answer, "a_repeated_request_gets_the_answer_of_the_first", || {
            format!("node {i}, {}: {} and then {}", word(request), answer_word(first), answer_word(answer))
        })
    }

    fn an_admission_is_durable_and_charged(&self, i: usize, bytes: &[u8], answer: &FromNode) -> Check {
        let Ok(parsed) = JobSpec::verify(bytes) else { return Ok(()) };
        let id = JobSpec::id(&parsed);
        let disk = &self.nodes[i].disk;
        let job = disk.durable(&Key::Job(id)).and_then(|row| wire::decode::<tacit_engine::WorkerJob>(row).ok());
        let durable = job.as_ref().is_some_and(|job| job.decision() == *answer);
        holds(durable, "what_is_answered_is_durable_first", || format!("node {i}, job {}", id.short()))?;
        let Some(contract) = job.as_ref().filter(|job| job.admitted).and_then(admitted_under) else { return Ok(()) };
        let charged = disk.durable(&Key::Charged(id)).is_some();
        holds(charged, "quota_is_charged_before_a_release", || format!("node {i}, job {}", id.short()))?;
        let terms = self.cast.contracts.iter().find(|c| c.id == contract);
        let (used, most) = (self.nodes[i].charged(&contract), terms.map_or(0, |t| t.jobs));
        let jobs = self.nodes[i].admitted(&contract);
        holds(used == jobs, "a_job_is_charged_once", || format!("node {i}: {used} charges for {jobs} jobs"))?;
        holds(used <= most, "no_quota_is_exceeded", || format!("node {i}: {used} of {most} jobs"))
    }

    fn attestation_chains_are_gap_free(&mut self, i: usize, bytes: &[u8]) -> Check {
        let wrong = |what: String| broken("attestation_chains_are_gap_free", what);
        let Ok(statement) = Statement::<Attestation>::verify(bytes) else {
            return wrong(format!("node {i}: unreadable"));
        };
        let Some(link) = statement.envelope().link else { return wrong(format!("node {i}: no link")) };
        let id = Hash(statement.id().0);
        let first = *self.watch.attested.entry((i, link.seq)).or_insert(id);
        holds(first == id, "attestation_chains_are_gap_free", || format!("node {i}: number {} twice", link.seq))?;
        let before = link.seq.checked_sub(1).map(|seq| self.watch.attested.get(&(i, seq)).copied());
        let fits = match before {
            None => link.prev == Hash([0; 32]),
            // An attestation that died with its answer is in the chain and was never seen.
            Some(before) => before.is_none_or(|before| before == link.prev),
        };
        holds(fits, "attestation_chains_are_gap_free", || {
            format!("node {i}: number {} has another before it", link.seq)
        })?;
        let chain = self.nodes[i].disk.durable(&Key::Chain).and_then(|row| wire::decode::<(u64, [u8; 32])>(row).ok());
        holds(chain.is_some_and(|(seq, _)| seq >= link.seq), "what_is_answered_is_durable_first", || {
            format!("node {i}: attestation {}", link.seq)
        })
    }

    fn a_part_of_a_key_leaves_only_for_a_witnessed_complete_receipt(&self, i: usize, id: &JobId, leaf: &[u8]) -> Check {
        let wrong = |what: &str| {
            broken("a_part_of_a_key_leaves_only_for_a_witnessed_complete_receipt", format!("node {i}: {what}"))
        };
        let Ok(receipt) = Statement::<JointReceipt>::verify(leaf) else { return wrong("no receipt") };
        let record = &receipt.body().record;
        if record.job != *id || record.status != Status::Ok {
            return wrong("another job or no success");
        }
        let held = receipt.body().attested(&|_| None);
        if !receipt.body().complete(&held.held.iter().map(Statement::signer).collect()) {
            return wrong("an attestation is missing");
        }
        let leaves = self.leaves();
        let restored = self.is_misled();
        let Some(index) = leaves.iter().position(|l| l == leaf) else {
            return if restored { Ok(()) } else { wrong("the log does not have it") };
        };
        let witnesses = self.nodes.iter().filter(|n| n.ever_seen() > index as u64).count();
        if witnesses < self.cast.quorum.threshold() && !restored {
            return wrong(&format!("{witnesses} witnesses have seen it"));
        }
        let charged = self.nodes[i].disk.durable(&Key::Charged(*id)).is_some();
        holds(charged, "quota_is_charged_before_a_release", || format!("node {i}, job {}", id.short()))
    }

    /// Checks a protocol message as it leaves a node.
    pub fn check_message(&mut self, i: usize, job: JobId, attempt: Attempt, message: &Message, input: bool) -> Check {
        let disk = &self.nodes[i].disk;
        let from = Key::Record(job, attempt.0, 0)..=Key::Record(job, attempt.0, u64::MAX);
        let records = disk.all_durable().range(from).map(|(_, row)| row.as_slice());
        let name = format!("{} {attempt}", job.short());
        self.wiretap.sent(i, &name, records, message)?;
        if self.is_honest(i) {
            self.a_vote_leaves_once_what_it_stands_for_is_durable(i, job, message)?;
        }
        if !input {
            return Ok(());
        }
        self.watch.masked.insert((i, job), attempt.0);
        let kept = disk.durable(&Key::Job(job)).and_then(|row| wire::decode::<tacit_engine::WorkerJob>(row).ok());
        holds(kept.is_some_and(|kept| kept.input_sent), "a_masked_input_leaves_once_the_disk_says_so", || {
            format!("node {i}, {attempt} of job {}", job.short())
        })
    }

    /// Whether nothing is left to wait for.
    pub fn is_over(&self) -> bool {
        let jobs = self.coordinator.jobs().all(|(_, job)| job.is_over());
        let knows = |id: &JobId, node: &super::node::Node| node.job(id).is_none_or(|job| job.terminal.is_some());
        let there = |i: &usize| self.lives[i + 1].up && self.is_honest(*i);
        let alive = || (0..self.nodes.len()).filter(there).map(|i| &self.nodes[i]);
        let told = self.coordinator.jobs().all(|(id, _)| alive().all(|node| knows(id, node)));
        let logged = alive().all(|node| node.unlogged().is_empty() && node.owed().is_empty());
        jobs && told && logged && self.operator.is_content() && alive().all(|node| node.runs.is_empty())
    }

    /// Whether the witnesses that are left are fewer than a quorum: then no receipt can be
    /// witnessed, and its job waits.
    fn lacks_witnesses(&self) -> bool {
        let alive = (0..self.nodes.len()).filter(|i| self.lives[i + 1].up && self.is_honest(*i)).count();
        alive < self.cast.quorum.threshold()
    }

    /// Checks what is left when nothing moves any more.
    pub fn check_end(&mut self) -> Check {
        for i in 0..self.nodes.len() {
            let running: Vec<JobId> = self.nodes[i].runs.keys().copied().collect();
            running.iter().for_each(|job| self.close_books(i, job));
        }
        self.ledger.bytes_sent_are_received_or_lost()?;
        let excused = self.is_misled() || self.lacks_witnesses();
        if !excused {
            self.everything_ends_within_its_bound()?;
            self.every_attestation_is_in_the_log()?;
            self.each_ended_job_has_exactly_one_receipt_and_each_receipt_one_job()?;
        }
        self.no_round_key_is_used_twice()?;
        self.a_conviction_is_of_a_liar_and_can_be_shown()?;
        self.the_log_only_grows_and_every_issued_receipt_is_in_it()?;
        self.the_log_holds_nothing_else()?;
        if self.is_misled() || self.has_liar() || self.coordinator.book.published < 3 {
            Ok(())
        } else {
            self.the_auditor_finds_nothing()
        }
    }

    /// Who has not heard of an end, for people.
    fn who_waits(&self) -> String {
        let there = |i: usize| self.lives[i + 1].up && self.is_honest(i);
        for (i, node) in self.nodes.iter().enumerate().filter(|(i, _)| there(*i)) {
            if let Some((id, _)) = node.jobs().iter().find(|(_, job)| job.terminal.is_none()) {
                return format!("node {i} does not know the end of job {}", id.short());
            }
            if let Some(id) = node.runs.keys().next() {
                return format!("node {i} still runs job {}", id.short());
            }
            if let Some((seq, id, _)) = node.unlogged().first() {
                return format!("node {i} has attestation {seq}, of job {}, not in the log", id.short());
            }
            if let Some(id) = node.owed().first() {
                return format!("node {i} has not attested the record of job {}", id.short());
            }
        }
        "the operator waits".into()
    }

    fn everything_ends_within_its_bound(&self) -> Check {
        let stuck = self.coordinator.jobs().find(|(_, job)| !job.is_over());
        holds(self.is_over(), "everything_ends_within_its_bound", || match stuck {
            Some((id, job)) => format!("job {} is {} after {} ms", id.short(), job.state(), self.queue.now()),
            None => format!("{} after {} ms", self.who_waits(), self.queue.now()),
        })?;
        for order in &self.operator.orders {
            let coordinator = order.id.and_then(|id| self.coordinator.job(&id));
            let end = coordinator.and_then(|job| job.terminal());
            holds(
                order.refused || (end.is_some() && end == order.ended.as_ref()),
                "each_job_ends_in_one_terminal_state",
                || format!("{end:?} at the coordinator, {:?} at the operator", order.ended),
            )?;
        }
        Ok(())
    }

    fn each_ended_job_has_exactly_one_receipt_and_each_receipt_one_job(&self) -> Check {
        let wrong = |what: String| broken("each_ended_job_has_exactly_one_receipt_and_each_receipt_one_job", what);
        let mut receipts: BTreeMap<JobId, usize> = BTreeMap::new();
        for receipt in self.receipts() {
            let record = &receipt.body().record;
            *receipts.entry(record.job).or_default() += 1;
            let Some(job) = self.coordinator.job(&record.job) else { return wrong("a receipt of no job".into()) };
            let begun = self.watch.begun.iter().any(|(_, id, a)| *id == record.job && *a == record.attempt.0);
            if record.status == Status::Ok && !begun {
                return wrong(format!("{} of job {} was never begun", record.attempt, record.job.short()));
            }
            let succeeded = job.terminal() == Some(&Terminal::Succeeded);
            if succeeded != (record.status == Status::Ok) && succeeded {
                return wrong(format!("job {} succeeded and its receipt says otherwise", record.job.short()));
            }
        }
        for (id, job) in self.coordinator.jobs() {
            let count = receipts.get(id).copied().unwrap_or(0);
            let silent =
                job.terminal().and_then(Terminal::code) == Some(Code::JobUnreachable) || job.receipt().is_none();
            if count > 1 || (count == 0 && !silent) {
                return wrong(format!("job {} has {count} receipts", id.short()));
            }
            if job.terminal() == Some(&Terminal::Succeeded) && (job.receipt().is_none() || count != 1) {
                return wrong(format!("job {} succeeded with {count} receipts", id.short()));
            }
        }
        Ok(())
    }

    fn no_round_key_is_used_twice(&self) -> Check {
        for (i, node) in self.nodes.iter().enumerate() {
            let mut once = BTreeSet::new();
            let all = node.disk.all();
            for row in all.iter().filter(|(key, _)| matches!(key, Key::Record(..))).map(|(_, row)| row) {
                let Some(record) = crate::wiretap::record(row) else { continue };
                let first = once.insert((record.kind.to_owned(), record.epoch, record.round));
                holds(first, "a_round_key_is_used_once", || format!("node {i}: {} twice", record.kind))?;
            }
        }
        Ok(())
    }

    fn the_log_only_grows_and_every_issued_receipt_is_in_it(&self) -> Check {
        let wrong = |what: String| broken("the_log_only_grows_and_every_issued_receipt_is_in_it", what);
        if self.is_misled() {
            return Ok(());
        }
        let leaves = self.leaves();
        let mut tree = MemTree::default();
        leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
        for (size, published) in &self.watch.published {
            if root(&tree, *size).ok() != Some(*published) {
                return wrong(format!("the checkpoint of {size} leaves is not of this log"));
            }
        }
        for (id, job) in self.coordinator.jobs() {
            if let Some((index, leaf, _)) = job.receipt()
                && leaves.get(*index as usize) != Some(&leaf.0)
            {
                return wrong(format!("the receipt of job {} is not leaf {index}", id.short()));
            }
        }
        Ok(())
    }

    /// Everything that an auditor with the log and the keys would find, except what a receipt says of
    /// itself: that a party was silent.
    fn the_auditor_finds_nothing(&self) -> Check {
        let cast: &Cast = self.cast;
        let Some(note) = self.coordinator.disk.read(&Kept::Published) else { return Ok(()) };
        let size = self.coordinator.book.published as usize;
        let leaves: Vec<Vec<u8>> = self.leaves().into_iter().take(size).collect();
        let bundle = Bundle::whole(None, note.clone(), leaves).to_bytes();
        let report = match verify_bundle(&bundle, Some(&cast.trust)) {
            Ok(report) => report,
            Err(fault) => return broken("the_auditor_finds_nothing", fault.to_string()),
        };
        self.a_job_whose_parties_all_came_back_ends_with_a_receipt_that_verifies(&report)?;
        let somebody_stays_away = self.lives[1..=self.nodes.len()].iter().any(|life| !life.up);
        let expected = |code: Code| {
            // Who went for ever has signed nothing, or took what it had signed with it, and its number is missing too.
            ((somebody_stays_away || self.clocks_are_far_apart()) && code == Code::ReceiptAttestationMissing)
                || (somebody_stays_away && code == Code::ReceiptSequenceGap)
                || (!self.faults.skew.is_empty() && code == Code::ReceiptTime)
                || (self.has(Bug::ReleaseBeforeQuorum) && code == Code::LogQuorum)
        };
        let found = report.faults.iter().find(|finding| !expected(finding.code));
        holds(found.is_none(), "the_auditor_finds_nothing", || format!("{found:?}"))
    }
}
