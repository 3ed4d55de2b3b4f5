//! What a party will attest, from its vote on.
//!
//! Once a party's vote has left, the others may end the attempt with a result that has its input in it. Its node has made
//! durable before what it reports and attests of that: its own counts, what it opened, what it saw, its part of the
//! result's key. A node that was killed meanwhile goes on from there; only the verdict it has not heard, so it lets stand what
//! a lost vote explains.

use serde::{Deserialize, Serialize};
use tacit_receipts::Window;
use tacit_types::wire::{self, Blob};
use tacit_types::{Attempt, Code, Fault};

use crate::control::{Finished, Package};
use crate::evidence::{self, Saw};
use crate::worker::WorkerJob;

/// Bytes of what is kept of one attempt: a sealed result that fits a report, evidence as it travels, survivors, transcripts.
pub const KEPT_BYTES_MAX: usize = 1 << 20;

/// The end for which a party votes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// How the attempt ends here, if the verdict is that it does.
    pub finished: Finished,
    /// What this node saw of the others in it.
    pub saw: Saw,
    /// This party's part of the result's key.
    pub release: Blob,
}

impl Kept {
    /// With the evidence that travels.
    pub fn new(finished: Finished, saw: &Saw, release: Vec<u8>) -> Self {
        let saw = Saw { blames: evidence::travelling(&saw.blames), transcripts: saw.transcripts.clone() };
        Self { finished, saw, release: Blob(release) }
    }
}

impl WorkerJob {
    /// Keeps what this party will attest of the attempt that runs; the driver stores the value before the vote leaves. Of a
    /// job that has ended here nothing is kept.
    ///
    /// # Errors
    /// `receipt.too_large` over [`KEPT_BYTES_MAX`]: the party does not vote.
    pub fn vote(&mut self, attempt: Attempt, kept: Kept) -> Result<(), Fault> {
        let bytes = wire::encode(&kept).len();
        if bytes > KEPT_BYTES_MAX {
            let what = format!("what this party would attest takes {bytes} bytes; at most {KEPT_BYTES_MAX}");
            return Err(Fault::new(Code::ReceiptTooLarge, what));
        }
        if attempt.0 == self.attempt && self.is_running() {
            self.kept = Some(kept);
        }
        Ok(())
    }

    /// Drops what was kept of an attempt: the verdict is against it. The driver stores the value before the attempt goes on.
    pub fn drop_vote(&mut self, attempt: Attempt) {
        if attempt.0 == self.attempt {
            self.kept = None;
        }
    }

    /// Goes on, after a restart, from what was kept of the attempt that was running. Whether there was anything.
    pub(crate) fn resume(&mut self) -> bool {
        let Some(Kept { finished, saw, release }) = self.kept.take() else { return false };
        (self.finished, self.saw, self.release) = (Some(finished), saw, Some(release));
        (self.untold, self.reported) = (true, false);
        true
    }

    /// Whether an attempt runs here, as far as is known.
    pub(crate) fn is_running(&self) -> bool {
        self.attempt > 0 && self.finished.is_none() && self.terminal.is_none()
    }

    /// At the end of a job: what is needed of the end to attest it later stays, if it was not attested.
    pub(crate) fn settle_kept(&mut self) {
        self.kept = None;
        let well = matches!(self.finished, Some(Finished::Ok { .. }));
        if self.terminal.is_none() {
            self.owed = well && self.admitted && self.attested.is_none();
        }
        let owed = self.owed;
        if let Some(Finished::Ok { package, .. }) = &mut self.finished {
            *package = package.take().filter(|_| owed).map(commitment);
        }
    }

    /// Asks no more for the record of an attempt that ended well here: there is none with a result that lacks this party's
    /// attestation, or none that it attests.
    pub fn forgive(&mut self) {
        self.owed = false;
        self.settle_kept();
    }
}

/// A sealed result without its bytes. What a window counted is its own summary.
fn commitment(package: Package) -> Package {
    match &package {
        Package::Inline(bytes) if Window::parse(bytes).is_err() => {
            Package::Deposited { hash: package.hash(), bytes: bytes.len() as u64 }
        }
        _ => package,
    }
}
