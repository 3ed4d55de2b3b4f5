//! What verification asks of checkpoints: that the log signed them, with a key that held then, and that witnesses saw them.

use tacit_crypto::Statement;
use tacit_types::{Code, Fault, UnixMillis};

use super::Verifier;
use crate::checkpoint::{Checkpoint, Cosigned, SignedCheckpoint};
use crate::keys::KeyRole;
use crate::merkle::root;
use crate::money::Valuation;
use crate::receipt::Promise;
use crate::report::Notice;
use crate::rotation::KeyRotation;

impl Verifier<'_> {
    /// The checkpoint, when the log signed it.
    pub(super) fn head(&mut self, bytes: &[u8]) -> (Option<Checkpoint>, Cosigned) {
        let (signed, by) = match self.log.open(bytes) {
            Ok(opened) => opened,
            Err(fault) => {
                self.find(None, fault.code, fault.what);
                return (None, Cosigned::default());
            }
        };
        let head = signed.checkpoint().clone();
        if head.origin != self.origin {
            self.find(None, Code::LogSignature, format!("the checkpoint is of the log {:?}", head.origin));
        }
        let newest = self.newest.map_or(UnixMillis(0), |(at, _)| at);
        let cosigned = self.quorum.count_behind(signed.note(), newest);
        if let Err(fault) = self.quorum.enough(cosigned.clone()) {
            self.find(None, fault.code, fault.what);
        }
        if let Err(fault) = self.log.check_held(&by, cosigned.latest(), self.first.saturating_add(head.size)) {
            self.find(None, fault.code, fault.what);
        }
        self.report.size = head.size;
        self.report.root = head.root.to_string();
        self.ignored(&signed, cosigned.by.len());
        self.report.cosigned = cosigned.by.iter().map(|(name, at)| format!("{name} {at}")).collect();
        (Some(head), cosigned)
    }

    /// Says how many signature lines of a note count for nothing.
    pub(super) fn ignored(&mut self, signed: &SignedCheckpoint, counted: usize) {
        let note = signed.note();
        let own = self.log.keys().filter(|held| matches!(note.check(&held.key), Ok(Some(_)))).count();
        let count = note.signatures().len().saturating_sub(own.saturating_add(counted)) as u64;
        if count > 0 {
            self.report.notice(Notice::LinesIgnored { count });
        }
    }

    /// A checkpoint that someone kept must be one of this log's own past.
    pub(super) fn kept(&mut self, note: &[u8]) {
        let (signed, by) = match self.log.open(note) {
            Ok(opened) => opened,
            Err(fault) => return self.find(None, fault.code, format!("a kept checkpoint: {}", fault.what)),
        };
        self.ignored(&signed, 0);
        let head = signed.checkpoint();
        let seen = self.quorum.count(signed.note()).latest();
        if let Err(fault) = self.log.check_held(&by, seen, self.first.saturating_add(head.size)) {
            return self.find(None, fault.code, format!("a kept checkpoint: {}", fault.what));
        }
        let (size, here) = (head.size, self.tree.size());
        if head.origin != self.origin {
            self.find(None, Code::LogSignature, format!("a kept checkpoint is of the log {:?}", head.origin));
        } else if size > here {
            self.find(None, Code::LogRollback, format!("a kept checkpoint has {size} leaves; here are {here}"));
        } else if root(&self.tree, size).ok() != Some(head.root) {
            self.find(None, Code::LogFork, format!("a kept checkpoint has another root at {size} leaves"));
        }
    }

    pub(super) fn promise(&mut self, bytes: &[u8], cosigned: &Cosigned) {
        let promise = match Statement::<Promise>::verify(bytes) {
            Ok(promise)
                if self.history.signed_for(KeyRole::Coordinator, &self.trust.coordinator, promise.envelope()) =>
            {
                promise
            }
            Ok(_) => return self.find(None, Code::ReceiptCoordinator, "a kept promise"),
            Err(error) => return self.find(None, Code::ReceiptMalformed, format!("a kept promise: {error}")),
        };
        let Promise { usage, deadline } = promise.body();
        if self.digests.contains(usage) {
            return;
        }
        // Only a witness's clock after the deadline convicts: the log could be an old copy.
        if cosigned.latest().is_some_and(|at| at > *deadline) {
            self.find(None, Code::ReceiptPromiseUnkept, format!("record {}, due {deadline}", usage.short()));
        } else {
            self.report.notice(Notice::PromisePending { usage: usage.short() });
        }
    }

    /// The checkpoint from which a valuation draws is one of this log, and witnesses saw it.
    pub(super) fn drawn(&self, valuation: &Valuation) -> Result<(), Fault> {
        let Some((seed, note)) = valuation.seed.zip(valuation.note.as_ref()) else { return Ok(()) };
        let (signed, by) = self.log.open(note)?;
        let cosigned = self.quorum.check(signed.note())?;
        let head = signed.checkpoint();
        self.log.check_held(&by, cosigned.latest(), self.first.saturating_add(head.size))?;
        let same = head.origin == self.origin && (head.size, head.root) == (seed.size, seed.root);
        if same && root(&self.tree, seed.size).ok() == Some(seed.root) {
            return Ok(());
        }
        Err(Fault::new(Code::LogFork, format!("the checkpoint of {} leaves that it draws from", seed.size)))
    }

    /// The next key of the log, named by the one before.
    pub(super) fn key_rotation(&mut self, index: u64, statement: &Statement<KeyRotation>) {
        if let Err(fault) = self.log.follow(statement, Some(index)) {
            self.flaw(index, fault);
        }
    }
}
