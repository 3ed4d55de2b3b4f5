//! What a party makes durable around its vote, and what follows from that after a death.

use tacit_engine::control::{Finished, Package};
use tacit_engine::evidence::Saw;
use tacit_engine::{Kept, WorkerJob};
use tacit_governance::admission::CLOCK_SKEW_MAX_MS;
use tacit_jobs::session::{Vote, is_confirmation};
use tacit_protocol::Message;
use tacit_receipts::Status;
use tacit_receipts::report::Report;
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, Hash, JobId};

use super::node::{Key, job_row};
use super::watch::Watch;
use super::world::World;
use crate::run::{Check, broken, holds};

/// The phase of a vote, and of the verdict, in a confirmation.
const VOTE: u16 = 1;

/// The sealed result as it is kept and reported: its hash at a party that has made it and does not bring it.
pub(super) fn package(bytes: Option<Vec<u8>>, made: Option<Hash>) -> Option<Package> {
    let known = made.map(|hash| Package::Known { hash });
    bytes.map(|bytes| Package::Inline(Blob(bytes))).or(known)
}

impl World {
    /// The row that a vote makes durable.
    pub fn voted(&mut self, i: usize, id: JobId, attempt: Attempt, vote: Vote) -> Vec<(Key, Vec<u8>)> {
        let usage = self.nodes[i].runs[&id].usage();
        let Some(mut job) = self.nodes[i].job(&id) else { return Vec::new() };
        self.watch.votes.remove(&(i, id, attempt.0));
        match vote {
            Vote::For(mut output) => {
                let finished = Finished::Ok {
                    package: package(output.package.take(), output.made),
                    survivors: output.survivors,
                    cells_in: output.cells_in,
                    payload_bytes: output.payload_bytes,
                    cells_out: output.cells_out,
                    cells_suppressed: output.cells_suppressed,
                    opened: usage.opened.clone().into_iter().collect(),
                };
                let kept = job.vote(attempt, Kept::new(finished, &Saw::of(&usage, None), output.release));
                self.found(holds(kept.is_ok(), "what_is_voted_for_can_be_kept", || format!("{kept:?}")));
            }
            Vote::Dropped => job.drop_vote(attempt),
        }
        vec![job_row(id, &job)]
    }

    /// What was voted for is on the disk, as far as the node believes.
    pub fn vote_is_kept(&mut self, i: usize, id: JobId, attempt: Attempt) {
        if let Some(Kept { finished, .. }) = self.nodes[i].job(&id).and_then(|job| job.kept) {
            self.watch.votes.insert((i, id, attempt.0), finished);
        }
    }

    /// A vote, or a verdict for the result, leaves once the disk holds what the party will attest of it.
    pub fn a_vote_leaves_once_what_it_stands_for_is_durable(&self, i: usize, id: JobId, message: &Message) -> Check {
        let step = message.address.step;
        if !is_confirmation(step) || !(step.phase() == VOTE || message.body == [1]) {
            return Ok(());
        }
        let row = self.nodes[i].disk.durable(&Key::Job(id));
        let job = row.and_then(|row| wire::decode::<WorkerJob>(row).ok());
        // Of a job that has ended at this node it attests no attempt any more.
        let kept = job.is_some_and(|job| job.kept.is_some() || job.terminal.is_some());
        holds(kept, "a_vote_leaves_once_what_it_stands_for_is_durable", || format!("node {i}, job {}", id.short()))
    }

    /// How an attempt ended at a party that has voted, it says as it voted, whether it died meanwhile or not.
    pub fn who_voted_says_what_it_voted_for(&self, i: usize, id: &JobId, attempt: Attempt, said: &Finished) -> Check {
        let voted = self.watch.votes.get(&(i, *id, attempt.0));
        holds(voted.is_none_or(|voted| voted == said), "who_voted_says_what_it_voted_for", || {
            format!("node {i}, {attempt} of job {}: {voted:?}, and says {said:?}", id.short())
        })
    }

    /// Whether clocks differ by more than is allowed: a node does not sign what lies in its future.
    pub fn clocks_are_far_apart(&self) -> bool {
        let (first, last) = (self.faults.skew.iter().min(), self.faults.skew.iter().max());
        first.zip(last).is_some_and(|(first, last)| last.abs_diff(*first) >= CLOCK_SKEW_MAX_MS)
    }

    /// A receipt with a result lacks no attestation once every party of it is there again, and a reader counts it as valid.
    pub fn a_job_whose_parties_all_came_back_ends_with_a_receipt_that_verifies(&self, report: &Report) -> Check {
        let came_back = self.lives[1..=self.nodes.len()].iter().all(|life| life.up);
        if !came_back || self.clocks_are_far_apart() {
            return Ok(());
        }
        let name = "a_job_whose_parties_all_came_back_ends_with_a_receipt_that_verifies";
        for receipt in self.receipts().iter().filter(|receipt| receipt.body().record.status == Status::Ok) {
            let id = receipt.body().record.job;
            let Some((place, _, _)) = self.coordinator.job(&id).and_then(|job| job.receipt()) else { continue };
            let missing = |code| code == Code::ReceiptAttestationMissing;
            if let Some(fault) = report.faults.iter().find(|f| f.leaf == Some(*place) && missing(f.code)) {
                return broken(name, format!("job {}: {}", id.short(), fault.what));
            }
        }
        Ok(())
    }
}

impl Watch {
    /// An attempt has ended at a party without the verdict, or without a vote.
    pub fn heard_no_verdict(&mut self, i: usize, id: &JobId) {
        self.votes.retain(|(node, job, _), _| *node != i || job != id);
    }
}
