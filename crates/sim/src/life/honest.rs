//! What honest parties can count on whoever else lies. The first part is checked after every event.

use tacit_crypto::Statement;
use tacit_engine::{Finished, WorkerJob, evidence};
use tacit_governance::Admission;
use tacit_protocol::Blame;
use tacit_receipts::{Attestation, Bundle, JointReceipt, LogProof, Status, UsageRecord};
use tacit_types::{Attempt, Code, Hash, JobId, Seat, wire};

use super::cast::ORIGIN;
use super::coordinator::Key as Kept;
use super::node::Key;
use super::watch::Watch;
use super::world::World;
use crate::run::{Check, broken, holds};

impl World {
    /// Checked after every event.
    pub fn honest_nodes_are_safe(&mut self) -> Check {
        let honest: Vec<usize> = (0..self.nodes.len()).filter(|i| self.is_honest(*i)).collect();
        for i in honest {
            self.no_honest_node_runs_without_its_own_admission(i)?;
            self.no_honest_owner_gives_more_than_its_quota(i)?;
        }
        Ok(())
    }

    fn no_honest_node_runs_without_its_own_admission(&mut self, i: usize) -> Check {
        let me = self.cast.owners[i].node.id();
        let running: Vec<JobId> = self.nodes[i].runs.keys().copied().collect();
        for id in running {
            let row = self.nodes[i].disk.durable(&Key::Job(id));
            let job = row.and_then(|row| wire::decode::<WorkerJob>(row).ok());
            let answer = job.filter(|job| job.admitted).map(|job| job.answer);
            let Some(answer) = answer else {
                return broken(
                    "no_honest_node_runs_without_its_own_admission",
                    format!("node {i}, job {}", id.short()),
                );
            };
            if self.watch.own_admissions.contains(&(i, id)) {
                continue;
            }
            let own = Statement::<Admission>::verify(&answer).is_ok_and(|a| a.signer() == me && a.body().job == id);
            holds(own, "no_honest_node_runs_without_its_own_admission", || format!("node {i}, job {}", id.short()))?;
            self.watch.own_admissions.insert((i, id));
        }
        Ok(())
    }

    fn no_honest_owner_gives_more_than_its_quota(&self, i: usize) -> Check {
        for terms in &self.cast.contracts {
            let used = self.nodes[i].charged(&terms.id);
            holds(used <= terms.jobs, "no_quota_is_exceeded", || format!("node {i}: {used} of {} jobs", terms.jobs))?;
        }
        Ok(())
    }

    /// What an honest party signs names no honest party as a cheat, none that refused without a word of its own, and no
    /// refusal of a job of which the party itself ended an attempt well.
    pub fn no_party_is_accused_over_signatures_of_those_who_cannot_know(
        &self,
        i: usize,
        id: &JobId,
        record: &[u8],
    ) -> Check {
        let name = "no_party_is_accused_over_signatures_of_those_who_cannot_know";
        let Ok(record) = tacit_crypto::cbor::decode::<UsageRecord>(record) else { return Ok(()) };
        let own = self.nodes[i].job(id);
        let well = own.as_ref().is_some_and(|job| matches!(job.finished, Some(Finished::Ok { .. })));
        let just = match record.status {
            Status::Aborted { code: Code::JobMisbehaved, seat: Some(seat), .. } => !self.is_honest(seat.index()),
            Status::Refused { seat: Some(seat), .. } if seat.index() == i => own.is_some_and(|job| !job.admitted),
            Status::Refused { .. } => !well,
            _ => true,
        };
        holds(just, name, || format!("node {i}, job {}: {:?}", id.short(), record.status))
    }

    /// What a node has signed it would sign again after looking at its own books.
    pub fn an_attestation_is_of_what_the_node_observed(
        &self,
        i: usize,
        id: &JobId,
        record: &[u8],
        evidence: &[Blame],
    ) -> Check {
        let Some(mut fresh) = self.nodes[i].job(id) else { return Ok(()) };
        (fresh.attested, fresh.terminal) = (None, None);
        let link = tacit_receipts::receipt::next_link(None);
        let checked = fresh.attest(record, evidence, link, None, &self.context(i));
        holds(checked.is_ok(), "an_attestation_is_of_what_the_node_observed", || {
            format!("node {i}, job {}: {:?}", id.short(), checked.err().map(|fault| fault.to_string()))
        })
    }

    /// The parts of a result's key that honest nodes hand out are for one record, which each of them has signed.
    pub fn no_two_honest_nodes_finish_with_different_records(&mut self, i: usize, id: &JobId, leaf: &[u8]) -> Check {
        let Ok(receipt) = Statement::<JointReceipt>::verify(leaf) else { return Ok(()) };
        let (own, of_leaf) = (self.nodes[i].job(id).and_then(|job| job.attested), receipt.body().record.digest());
        let own = own.map_or(Hash([0; 32]), |(digest, _)| digest);
        let first = *self.watch.finished_with.entry(*id).or_insert(of_leaf);
        holds(first == own && first == of_leaf, "no_two_honest_nodes_finish_with_different_records", || {
            format!("job {}: node {i} attested {own:?} and releases for {of_leaf:?}, another for {first:?}", id.short())
        })
    }

    /// Enough honest witnesses have seen the receipt in one history, or enough but for those that lie.
    pub fn is_witnessed(&self, leaf: &[u8], proof: &[u8]) -> bool {
        let proven = LogProof::parse(proof).and_then(|p| p.verify(leaf, ORIGIN, &self.cast.log_key, &self.cast.quorum));
        let Ok(proven) = proven else { return false };
        let head = proven.checkpoint().checkpoint();
        let seen = |i: &usize| self.is_honest(*i) && self.watch.has_cosigned(*i, head.size, head.root);
        let honest = (0..self.nodes.len()).filter(seen).count();
        honest + usize::from(self.has_liar()) >= self.cast.quorum.threshold()
    }

    pub fn no_result_is_opened_without_a_receipt_in_a_cosigned_checkpoint(&self, leaf: &[u8], proof: &[u8]) -> Check {
        let name = "no_result_is_opened_without_a_receipt_in_a_cosigned_checkpoint";
        holds(self.is_witnessed(leaf, proof), name, || "the operator has opened one".into())
    }

    pub fn no_part_of_a_key_leaves_without_a_receipt_in_a_cosigned_checkpoint(
        &self,
        i: usize,
        leaf: &[u8],
        proof: &[u8],
    ) -> Check {
        let name = "no_part_of_a_key_leaves_without_a_receipt_in_a_cosigned_checkpoint";
        holds(self.is_witnessed(leaf, proof), name, || format!("node {i}"))
    }

    /// Receipts that convict, for the report.
    pub fn convicted(&self) -> Vec<(bool, usize)> {
        let all = self.receipts().into_iter().filter(|r| !r.body().record.convictions.is_empty());
        all.map(|r| (r.body().record.status == Status::Ok, r.body().attestations.len())).collect()
    }

    /// A receipt convicts nobody who did as it should, and a party that has attested it can show why.
    pub fn a_conviction_is_of_a_liar_and_can_be_shown(&self) -> Check {
        let wrong = |what: String| broken("a_conviction_is_of_a_liar_and_can_be_shown", what);
        for receipt in self.receipts() {
            let record = &receipt.body().record;
            let Some(seating) = evidence::seating(record, tacit_receipts::KeyHistory::none()) else {
                return wrong("no seating".into());
            };
            for named in &record.convictions {
                if self.is_honest(named.seat.index()) {
                    return wrong(format!("{} is convicted of {}", named.seat, named.offence));
                }
                let shows = |blame: &Blame| {
                    evidence::conviction(blame).as_ref() == Some(named) && evidence::convicts(&seating, blame)
                };
                let kept = |i: usize| self.nodes[i].job(&record.job).map(|job| job.saw.blames).unwrap_or_default();
                let honest = (0..self.nodes.len()).filter(|i| self.is_honest(*i));
                let Some(blame) = honest.flat_map(kept).find(shows) else {
                    return wrong(format!("nobody can show the {} of {}", named.offence, named.seat));
                };
                let Some(note) = self.coordinator.disk.read(&Kept::Published) else { continue };
                let published = self.coordinator.book.published as usize;
                let leaves: Vec<Vec<u8>> = self.leaves().into_iter().take(published).collect();
                let bundle = Bundle::whole(None, note.clone(), leaves).to_bytes();
                let exported = evidence::encode(&blame);
                let told = evidence::convict(&exported, &bundle, Some(&self.cast.trust));
                // A liar with more than one trick may have spoilt the receipt itself.
                let one_trick = self.faults.rogue.as_ref().is_some_and(|rogue| rogue.tricks.len() == 1);
                if told.as_ref().is_ok_and(|told| told.conviction != *named) || (one_trick && told.is_err()) {
                    return wrong(format!("offline: {told:?}"));
                }
            }
        }
        Ok(())
    }

    /// The log has what it says that it takes: its own two kinds, receipts, and attestations of parties over
    /// records that receipts before them carry.
    pub fn the_log_holds_nothing_else(&self) -> Check {
        let mut records: Vec<UsageRecord> = Vec::new();
        for (place, leaf) in self.leaves().iter().enumerate() {
            let wrong = |what: &str| broken("the_log_holds_nothing_else", format!("leaf {place}: {what}"));
            if let Ok(receipt) = Statement::<JointReceipt>::verify(leaf) {
                records.push(receipt.into_body().record);
            } else if let Ok(attestation) = Statement::<Attestation>::verify(leaf) {
                let of = |record: &&UsageRecord| record.digest() == attestation.body().usage;
                let Some(record) = records.iter().find(of) else { return wrong("an attestation of no record here") };
                if record.party(&attestation.signer()).is_none() {
                    return wrong("an attestation of a stranger");
                }
            } else if place >= 2 {
                return wrong("neither a receipt nor an attestation");
            }
        }
        Ok(())
    }
}

impl Watch {
    /// Honest nodes that ended an attempt well agree on job, roster, attempt and aggregator, and on whose input is
    /// in the result.
    pub fn honest_nodes_end_an_attempt_alike(
        &mut self,
        (node, job, attempt): (usize, JobId, Attempt),
        session: Hash,
        survivors: &[Seat],
    ) -> Check {
        let first = self.ended_alike.entry((job, attempt.0)).or_insert_with(|| (session, survivors.to_vec()));
        holds(first.0 == session && first.1 == survivors, "honest_nodes_end_an_attempt_alike", || {
            format!("node {node}, {attempt} of job {}: {survivors:?}, another {:?}", job.short(), first.1)
        })
    }

    /// At most one history of a size has a quorum, of those whose witnesses are honest.
    pub fn one_history_has_a_quorum(&self, size: u64, threshold: usize, honest: impl Fn(usize) -> bool) -> Check {
        let mut roots: std::collections::BTreeMap<[u8; 32], usize> = std::collections::BTreeMap::new();
        for (_, seen) in self.cosigned.iter().filter(|(node, _)| honest(**node)) {
            if let Some(root) = seen.get(&size) {
                *roots.entry(root.0).or_default() += 1;
            }
        }
        let quorums = roots.values().filter(|n| **n >= threshold).count();
        holds(quorums <= 1, "one_history_has_a_quorum", || format!("{quorums} of {size} leaves"))
    }

    pub fn has_cosigned(&self, node: usize, size: u64, root: Hash) -> bool {
        self.cosigned.get(&node).and_then(|seen| seen.get(&size)) == Some(&root)
    }
}
