//! The reader of a log that feeds the rules.

use std::collections::{BTreeMap, BTreeSet};

use tacit_types::{Attempt, Code, ContractId, JobId, NodeId, UnixMillis};

use super::rules;
use super::{ALERTS_PER_RULE_MAX, Alert, Alerts, Known, Rule};
use crate::bundle::Trust;
use crate::cases::Cases;
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::Leaf;
use crate::merkle::leaf_hash;
use crate::money::LeafRef;
use crate::receipt::Promise;
use crate::record::{Status, UsageRecord};
use crate::report::Report;
use crate::rotation::LogChain;
use tacit_crypto::Statement;

/// A receipt, as far as rules look at it.
pub(super) struct Use {
    pub(super) at: LeafRef,
    pub(super) record: UsageRecord,
}

/// Reads a log leaf by leaf, beside its verifier.
pub struct Watch<'a> {
    pub(super) trust: &'a Trust,
    pub(super) known: &'a Known,
    /// The log's keys, as far as they were read; none for an unusable trust.
    log: Option<LogChain>,
    pub(super) uses: Vec<Use>,
    pub(super) hashes: BTreeMap<u64, LeafRef>,
    pub(super) digests: BTreeSet<tacit_types::Hash>,
    attempts: BTreeSet<(JobId, Attempt)>,
    pub(super) cases: Cases,
    pub(super) keys: KeyHistory,
    ids: BTreeSet<(KeyRole, NodeId)>,
    next: u64,
}

impl<'a> Watch<'a> {
    /// A reader of the log that `trust` is for.
    pub fn new(trust: &'a Trust, known: &'a Known) -> Self {
        Self {
            trust,
            known,
            log: trust.chain().ok(),
            uses: Vec::new(),
            hashes: BTreeMap::new(),
            digests: BTreeSet::new(),
            attempts: BTreeSet::new(),
            cases: Cases::new(&trust.origin),
            keys: trust.history().unwrap_or_default(),
            ids: trust.ids(),
            next: 0,
        }
    }

    /// Takes the next leaf in. What cannot be read is the verifier's to name.
    pub fn leaf(&mut self, bytes: &[u8]) {
        let at = LeafRef { index: self.next, hash: leaf_hash(bytes) };
        self.next = self.next.saturating_add(1);
        self.hashes.insert(at.index, at);
        let receipt = match Leaf::read(bytes) {
            Ok(Leaf::Receipt(receipt)) => receipt,
            Ok(Leaf::KeyRotation(rotation)) => {
                // why: one that does not follow is the verifier's to name.
                let _ = self.log.as_mut().map(|log| log.follow(&rotation, Some(at.index)));
                return;
            }
            Ok(Leaf::PartyRotation(rotation)) => {
                let ids = &self.ids;
                // why: one that does not follow is the verifier's to name.
                let _ = self.keys.follow(&rotation, Some(at.index), &|role, key| ids.contains(&(role, *key)));
                return;
            }
            Ok(Leaf::Case(envelope, said)) => {
                let envelope = self.keys.spoken(&envelope);
                let hashes = &self.hashes;
                // why: a step that does not fit has no effect, and is the verifier's to name.
                let _ = self.cases.push(at, &envelope, &said, &|leaf| hashes.get(&leaf).map(|l| l.hash));
                return;
            }
            _ => return,
        };
        if !self.keys.signed_for(KeyRole::Coordinator, &self.trust.coordinator, receipt.envelope()) {
            return;
        }
        let record = receipt.into_body().record;
        self.digests.insert(record.digest());
        // A second receipt of one attempt is no second use.
        if self.attempts.insert((record.job, record.attempt)) {
            self.uses.push(Use { at, record });
        }
    }

    /// Ends the log with its newest checkpoint, what the verifier found, and promises that someone kept.
    pub fn finish(self, report: &Report, checkpoint: &[u8], promises: &[Vec<u8>]) -> Alerts {
        let mut found = Vec::new();
        rules::findings(&self, report, &mut found);
        let latest = self.cosigned(checkpoint);
        rules::witnesses(&self, &latest, &mut found);
        rules::promises(&self, promises, &mut found);
        rules::quotas(&self, &mut found);
        rules::budgets(&self, &mut found);
        rules::refusals(&self, &mut found);
        rules::in_force(&self, &mut found);
        rules::borders(&self, &mut found);
        rules::cases(&self, &mut found);
        found.sort_by_key(|a: &Alert| {
            (core::cmp::Reverse(a.level), a.rule, a.leaves.first().map(|l| l.index), a.about.clone())
        });
        let (mut counts, mut alerts) = (BTreeMap::<Rule, usize>::new(), Alerts::default());
        for alert in found {
            let count = counts.entry(alert.rule).or_default();
            *count += 1;
            if *count <= ALERTS_PER_RULE_MAX {
                alerts.alerts.push(alert);
            } else {
                alerts.omitted = alerts.omitted.saturating_add(1);
            }
        }
        alerts
    }

    /// When each witness cosigned the checkpoint, by name; none for one that has not.
    fn cosigned(&self, checkpoint: &[u8]) -> BTreeMap<String, Option<UnixMillis>> {
        let Ok(mut quorum) = self.trust.witness_quorum() else { return BTreeMap::new() };
        quorum.follow(&self.keys);
        let mut times: BTreeMap<String, Option<UnixMillis>> =
            quorum.witnesses().iter().map(|w| (w.name().to_owned(), None)).collect();
        if let Some((signed, _)) = self.log.as_ref().and_then(|log| log.open(checkpoint).ok()) {
            times.extend(quorum.count(signed.note()).by.into_iter().map(|(name, at)| (name, Some(at))));
        }
        times
    }

    /// The newest leaf.
    pub(super) fn newest(&self) -> Option<LeafRef> {
        self.hashes.values().next_back().copied()
    }

    /// Jobs that a contract's quota was used for, in the order of the log: every attempt that began counts its job once.
    pub(super) fn jobs_of(&self, contract: &ContractId) -> Vec<&Use> {
        let mut jobs = BTreeSet::new();
        let of = |u: &&Use| {
            u.record.contracts.contains(contract)
                && !matches!(u.record.status, Status::Refused { .. })
                && jobs.insert(u.record.job)
        };
        self.uses.iter().filter(of).collect()
    }
}

/// A promise that the coordinator gave, when the statement holds.
pub(super) fn promise(trust: &Trust, keys: &KeyHistory, bytes: &[u8]) -> Option<Promise> {
    let statement = Statement::<Promise>::verify(bytes).ok()?;
    let signed = keys.signed_for(KeyRole::Coordinator, &trust.coordinator, statement.envelope());
    signed.then(|| statement.into_body())
}

/// The rule that a verifier's finding belongs to.
pub(super) fn rule_of(code: Code) -> Rule {
    match code {
        Code::ReceiptSequenceGap | Code::ReceiptOmitted | Code::ReceiptAttestationMissing => Rule::Gap,
        Code::ReceiptPromiseUnkept => Rule::Promise,
        Code::LogFork | Code::LogRollback | Code::ReceiptSequenceFork => Rule::Fork,
        Code::LogQuorum => Rule::WitnessLag,
        _ => Rule::Invalid,
    }
}
