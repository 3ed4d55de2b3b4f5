//! Offline verification: everything that a log says, checked against keys that the verifier brings.
//!
//! [`Verifier`] takes the leaves one at a time, so that a log of any length is verified in memory of
//! 64 bytes a leaf and what its receipts have metered; [`verify_bundle`] drives it over an evidence
//! file. What no log can show stays open and is said so: parties who all collude to hide a job.

mod heads;
mod keys;
mod shards;

use core::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::statement::Envelope;
use tacit_crypto::{Keyring, Statement, sha256};
use tacit_types::{Attempt, Code, Fault, Hash, JobId, NodeId, StatementId, UnixMillis};

use crate::bundle::{Bundle, PartyKey, Proven, Trust};
use crate::cases::{Cases, Said};
use crate::chain::Chains;
use crate::checkpoint::{Checkpoint, Cosigned, Quorum};
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::{GENESIS_LEAVES, Genesis, KeyEvent, Leaf};
use crate::merkle::{MemTree, leaf_hash, verify_inclusion};
use crate::money::{LeafRef, Ledger, Money};
use crate::note::SignedNote;
use crate::papers;
use crate::proof::LogProof;
use crate::receipt::{Attestation, JointReceipt, Verdict, check_attestation_of};
use crate::record::{Status, UsageRecord};
use crate::report::{NOTICES_MAX, Notice, Report, Scope, TrustSource};
use crate::rotation::LogChain;
use crate::tiles::{CHECKPOINT_PATH, TRUST_PATH, TileRead, TileReader, beside_path};

/// By how many milliseconds clocks of honest parties may differ.
pub const CLOCK_SKEW_MILLIS_MAX: u64 = 300_000;

/// A receipt without the attestations of parties that took part, by key and name.
struct Incomplete {
    leaf: u64,
    record: UsageRecord,
    missing: BTreeMap<NodeId, String>,
}

/// Gives the attestation statement of a hash, for receipts that carry attestations by hash.
pub type Beside<'a> = dyn Fn(&StatementId) -> Option<Vec<u8>> + 'a;

/// Checks a log leaf by leaf.
pub struct Verifier<'a> {
    trust: &'a Trust,
    /// The log that is read: the first is that of the trust file.
    origin: String,
    /// The number of its first leaf.
    first: u64,
    /// The logs before it.
    past: Vec<MemTree>,
    /// What its genesis has to continue.
    continues: Option<Hash>,
    /// It continues a log that is not read.
    alone: bool,
    /// How it ended, once it has.
    ended: Option<shards::Ended>,
    /// The log's keys: the pinned one and what follows from it, as far as it was read.
    log: LogChain,
    quorum: Quorum,
    keyring: Keyring,
    keys: BTreeMap<NodeId, Vec<&'a PartyKey>>,
    /// Which later keys speak for the parties and witnesses of the trust file.
    history: KeyHistory,
    ids: BTreeSet<(KeyRole, NodeId)>,
    beside: &'a Beside<'a>,
    whole: bool,
    tree: MemTree,
    chains: Chains,
    attempts: BTreeMap<(JobId, Attempt), u64>,
    digests: BTreeSet<Hash>,
    /// Records that a late attestation is for: digest to leaf.
    late: BTreeMap<Hash, u64>,
    /// Receipts that lack the attestations of parties which took part.
    incomplete: BTreeMap<Hash, Incomplete>,
    /// Receipts without a result of which a party never attested.
    unattested: u64,
    /// The latest time of issue of a receipt and its leaf.
    newest: Option<(UnixMillis, u64)>,
    flawed: BTreeSet<u64>,
    ledger: Ledger,
    cases: Cases,
    unchecked: BTreeMap<String, u64>,
    report: Report,
}

impl<'a> Verifier<'a> {
    /// A verifier of a whole log, whose leaves come in order from 0, or of single leaves.
    ///
    /// # Errors
    /// `receipt.bundle` for an unusable trust.
    pub fn new(trust: &'a Trust, source: TrustSource, scope: Scope, beside: &'a Beside<'a>) -> Result<Self, Fault> {
        trust.check()?;
        let mut keys: BTreeMap<NodeId, Vec<&PartyKey>> = BTreeMap::new();
        for party in &trust.parties {
            keys.entry(party.key).or_default().push(party);
        }
        let (log, quorum) = (trust.chain()?, trust.witness_quorum()?);
        let mut report = Report::new(trust, source, scope);
        if source == TrustSource::FromBundle {
            report.notice(Notice::Unpinned);
        }
        if quorum.threshold() == 0 {
            report.notice(Notice::NoWitness);
        }
        Ok(Self {
            trust,
            origin: trust.origin.clone(),
            first: 0,
            past: Vec::new(),
            continues: None,
            alone: false,
            ended: None,
            log,
            quorum,
            keyring: Keyring::default(),
            keys,
            history: trust.history()?,
            ids: trust.ids(),
            beside,
            whole: scope == Scope::WholeLog,
            tree: MemTree::default(),
            chains: Chains::default(),
            attempts: BTreeMap::new(),
            digests: BTreeSet::new(),
            late: BTreeMap::new(),
            incomplete: BTreeMap::new(),
            unattested: 0,
            newest: None,
            flawed: BTreeSet::new(),
            ledger: Ledger::new(&trust.origin),
            cases: Cases::new(&trust.origin),
            unchecked: BTreeMap::new(),
            report,
        })
    }

    /// Checks the next leaf of a whole log.
    pub fn leaf(&mut self, bytes: &[u8]) {
        let index = self.number();
        let hash = leaf_hash(bytes);
        self.tree.push(hash);
        self.any_leaf(LeafRef { index, hash }, bytes);
    }

    /// Ends the verification of a whole log with its checkpoint, the checkpoints and the promises
    /// that someone kept.
    pub fn finish<'b>(
        self,
        checkpoint: &[u8],
        kept: impl IntoIterator<Item = &'b [u8]>,
        promises: impl IntoIterator<Item = &'b [u8]>,
    ) -> Report {
        self.finish_books(checkpoint, kept, promises).0
    }

    /// The same, with what the log says about money and about cases.
    pub fn finish_books<'b>(
        mut self,
        checkpoint: &[u8],
        kept: impl IntoIterator<Item = &'b [u8]>,
        promises: impl IntoIterator<Item = &'b [u8]>,
    ) -> (Report, Ledger, Cases) {
        let (head, cosigned) = self.head(checkpoint);
        if let Some(head) = &head {
            self.covers(head);
        } else if self.tree.size() < GENESIS_LEAVES {
            self.find(None, Code::LogGenesis, format!("{} leaves", self.tree.size()));
        }
        for note in kept {
            self.kept(note);
        }
        for gap in self.chains.gaps() {
            let who = self.name_of(&gap.issuer);
            let numbers =
                if gap.first == gap.last { gap.first.to_string() } else { format!("{} to {}", gap.first, gap.last) };
            self.find(Some(gap.leaf), Code::ReceiptSequenceGap, format!("{who}: number {numbers}"));
        }
        for (digest, leaf) in core::mem::take(&mut self.late) {
            if !self.digests.contains(&digest) && !self.alone {
                self.find(Some(leaf), Code::ReceiptOmitted, format!("record {}", digest.short()));
            }
        }
        for incomplete in core::mem::take(&mut self.incomplete).into_values() {
            self.missing(&incomplete);
        }
        for promise in promises {
            self.promise(promise, &cosigned);
        }
        self.close(&cosigned)
    }

    /// Ends the verification of single leaves: each must be in the checkpoint's tree.
    pub fn finish_single(mut self, checkpoint: &[u8], proven: &[Proven]) -> Report {
        let (head, cosigned) = self.head(checkpoint);
        self.report.notice(Notice::Single);
        for one in proven {
            let hash = leaf_hash(&one.leaf);
            self.any_leaf(LeafRef { index: one.index, hash }, &one.leaf);
            let Some(head) = &head else { continue };
            if let Err(fault) = verify_inclusion(&hash, one.index, head.size, &one.proof, &head.root) {
                self.flaw(one.index, fault);
            }
        }
        self.close(&cosigned).0
    }

    fn find(&mut self, leaf: Option<u64>, code: Code, what: impl Into<String>) {
        self.report.find(leaf, code, what.into());
    }

    /// A finding that makes the receipt of its leaf invalid.
    fn flaw(&mut self, leaf: u64, fault: Fault) {
        self.flawed.insert(leaf);
        self.find(Some(leaf), fault.code, fault.what);
    }

    fn name_of(&self, key: &NodeId) -> String {
        let known = self.keys.get(&self.history.id_of(KeyRole::Node, key)).and_then(|spans| spans.first());
        known.map_or_else(|| key.short(), |party| format!("{} ({})", party.name, key.short()))
    }

    fn any_leaf(&mut self, at: LeafRef, bytes: &[u8]) {
        let index = at.index;
        self.report.leaves = self.report.leaves.saturating_add(1);
        let leaf = match Leaf::read_with(bytes, &self.keyring) {
            Ok(leaf) => leaf,
            Err(fault) => return self.flaw(index, fault),
        };
        self.behind_end(index);
        let place = index.saturating_sub(self.first);
        if self.whole && place < GENESIS_LEAVES {
            let fits = matches!((place, &leaf), (0, Leaf::Genesis(_)) | (1, Leaf::KeyEvent(_)));
            if !fits {
                self.find(Some(index), Code::LogGenesis, format!("a leaf of type {:?}", leaf.kind()));
            }
        }
        match leaf {
            Leaf::Genesis(statement) => self.genesis(index, &statement),
            Leaf::KeyEvent(statement) => self.key_event(index, &statement),
            Leaf::KeyRotation(statement) => self.key_rotation(index, &statement),
            Leaf::PartyRotation(statement) => self.party_rotation(index, &statement),
            Leaf::ShardChange(statement) => self.shard_change(index, &statement),
            Leaf::Receipt(statement) => self.receipt(at, &statement),
            Leaf::Attestation(statement) => self.late_attestation(index, &statement),
            Leaf::Money(envelope, money) => self.money(at, &envelope, &money),
            Leaf::Case(envelope, said) => self.case(at, &envelope, &said),
            // It speaks to the node that signed it alone.
            Leaf::Memo(_) => {}
            Leaf::Other(envelope) => tally(&mut self.unchecked, &envelope.kind),
        }
    }

    fn genesis(&mut self, index: u64, statement: &Statement<Genesis>) {
        self.by_coordinator(index, statement.envelope());
        if index != self.first || statement.body().origin != self.origin {
            self.find(Some(index), Code::LogGenesis, "a second beginning, or that of another log");
        }
        self.follows(index, statement.body());
    }

    fn key_event(&mut self, index: u64, statement: &Statement<KeyEvent>) {
        self.by_coordinator(index, statement.envelope());
        let (event, trust) = (statement.body(), self.trust);
        let mut same = event.coordinator == trust.coordinator
            && self.log.keys().any(|held| held.key.to_string() == event.log_key)
            && event.witnesses == trust.witnesses
            && event.quorum == trust.quorum;
        for card in &event.parties {
            let id = self.history.id_of(KeyRole::Node, &card.key);
            same &= self.keys.get(&id).is_some_and(|spans| spans.iter().any(|p| p.name == card.name));
        }
        if !same {
            self.report.notice(Notice::KeysDiffer { leaf: index });
        }
    }

    fn receipt(&mut self, at: LeafRef, statement: &Statement<JointReceipt>) {
        let index = at.index;
        self.report.receipts = self.report.receipts.saturating_add(1);
        self.by_coordinator(index, statement.envelope());
        let receipt = statement.body();
        let record = &receipt.record;
        if let Err(fault) = record.check() {
            self.flaw(index, fault);
        }
        if record.origin != self.origin {
            self.flaw(index, Fault::new(Code::ReceiptRecord, format!("it is for the log {:?}", record.origin)));
        }
        if statement.envelope().subject != record.subject() {
            self.flaw(index, Fault::new(Code::ReceiptRecord, "another job in the header than in the record"));
        }
        for entry in &record.parties {
            match self.keys.get(&entry.party).and_then(|spans| spans.iter().find(|p| p.holds_at(index))) {
                None => {
                    let what = format!("{} ({})", entry.name, entry.party.short());
                    self.flaw(index, Fault::new(Code::ReceiptPartyUnknown, what));
                }
                Some(known) if known.name != entry.name => {
                    let what = format!("{} here, {} in the trust file", entry.name, known.name);
                    self.flaw(index, Fault::new(Code::ReceiptPartyName, what));
                }
                Some(_) => {}
            }
        }
        if let Some(first) = self.attempts.get(&(record.job, record.attempt)).copied() {
            let what = format!("job {}, {}: first at leaf {first}", record.job.short(), record.attempt);
            self.flaw(index, Fault::new(Code::ReceiptDuplicate, what));
        } else {
            self.attempts.insert((record.job, record.attempt), index);
        }
        self.digests.insert(record.digest());
        self.times(index, statement);
        let id_of = |key: &NodeId| self.history.id_of(KeyRole::Node, key);
        let attested = receipt.attested_with(self.beside, &self.keyring, &id_of);
        for fault in attested.faults {
            self.flaw(index, fault);
        }
        let missing: BTreeMap<NodeId, String> =
            receipt.missing().map(|entry| (entry.party, entry.name.to_string())).collect();
        let whole = missing.is_empty();
        if !whole {
            let incomplete = Incomplete { leaf: index, record: record.clone(), missing };
            if self.whole {
                // A later leaf may complete it.
                self.incomplete.insert(record.digest(), incomplete);
            } else {
                self.missing(&incomplete);
            }
        }
        for attestation in &attested.held {
            let who = self.history.id_of(KeyRole::Node, &attestation.signer());
            if let Err(fault) = self.in_time(index, attestation.envelope()) {
                self.flaw(index, fault);
            }
            self.attestation(index, attestation, who);
            let (signed, closed) = (attestation.envelope().issued_at, statement.envelope().issued_at);
            if signed.plus(CLOCK_SKEW_MILLIS_MAX) < record.ended || closed.plus(CLOCK_SKEW_MILLIS_MAX) < signed {
                let what = format!("{} attested at {signed}", self.name_of(&attestation.signer()));
                self.flaw(index, Fault::new(Code::ReceiptTime, what));
            }
        }
        if whole {
            self.disputed(index, record);
        }
        if self.complete() {
            let sound = !self.flawed.contains(&index);
            self.ledger.receipt(at, statement.envelope().issued_at, record, sound, whole);
        }
    }

    /// That observers have signed different counts can be said once all who took part have attested the record, and nothing is
    /// wrong with it. Whose attestation lacks has signed nothing.
    fn disputed(&mut self, leaf: u64, record: &UsageRecord) {
        let count = record.disputed().count() as u64;
        if count > 0 && !self.flawed.contains(&leaf) {
            self.report.notice(Notice::LinesDisputed { leaf, count });
        }
        let count = record.disputed_links().len() as u64;
        if count > 0 && !self.flawed.contains(&leaf) {
            self.report.notice(Notice::LinksDisputed { leaf, count });
        }
    }

    /// A statement of money: by a key that may sign it, and as the leaves before it have it. Of single leaves only
    /// what stands in the statement itself can be checked.
    fn money(&mut self, at: LeafRef, envelope: &Envelope, money: &Money) {
        let spoken;
        let envelope = if money.is_coordinators() {
            self.by_coordinator(at.index, envelope);
            envelope
        } else {
            match self.spoken(at.index, envelope) {
                Ok(own) => spoken = own,
                Err(fault) => return self.flaw(at.index, fault),
            }
            &*spoken
        };
        let checked = match money {
            _ if !self.complete() => money.check(),
            Money::Valuation(valuation) => self.drawn(valuation).and_then(|()| self.ledger.push(at, envelope, money)),
            _ => self.ledger.push(at, envelope, money),
        };
        if let Err(fault) = checked {
            self.flaw(at.index, fault);
        }
    }

    /// A statement of a case: by a party, and as the leaves before it have it. Of a single leaf only what stands in
    /// the statement itself can be checked.
    fn case(&mut self, at: LeafRef, envelope: &Envelope, said: &Said) {
        let spoken = match self.spoken(at.index, envelope) {
            Ok(spoken) => spoken,
            Err(fault) => return self.flaw(at.index, fault),
        };
        let envelope = &*spoken;
        let (tree, past, first) = (&self.tree, &self.past, self.first);
        let before = |leaf: u64| shards::hash_of((past, tree, first), leaf).filter(|_| leaf < at.index);
        let checked = if self.complete() { self.cases.push(at, envelope, said, &before) } else { said.check() };
        if let Err(fault) = checked {
            self.flaw(at.index, fault);
        }
    }

    /// A use that a party took part in and never signed is a flaw. Of an attempt without a result there is
    /// no use, and the receipt says who was away.
    fn missing(&mut self, incomplete: &Incomplete) {
        if incomplete.missing.is_empty() {
            return;
        }
        if incomplete.record.status != Status::Ok {
            self.unattested = self.unattested.saturating_add(1);
            return;
        }
        for name in incomplete.missing.values() {
            let what = format!("{name} took part and is listed as absent");
            self.flaw(incomplete.leaf, Fault::new(Code::ReceiptAttestationMissing, what));
        }
    }

    /// A receipt is issued after its job ended, and not before the receipts that precede it.
    fn times(&mut self, index: u64, statement: &Statement<JointReceipt>) {
        let at = statement.envelope().issued_at;
        if at.plus(CLOCK_SKEW_MILLIS_MAX) < statement.body().record.ended {
            let what = format!("issued at {at}, before the job ended at {}", statement.body().record.ended);
            self.flaw(index, Fault::new(Code::ReceiptTime, what));
        }
        match self.newest {
            Some((newest, leaf)) if newest > at => {
                if self.whole && at.plus(CLOCK_SKEW_MILLIS_MAX) < newest {
                    let what = format!("issued at {at}, behind leaf {leaf} of {newest}");
                    self.flaw(index, Fault::new(Code::ReceiptTime, what));
                }
            }
            _ => self.newest = Some((at, index)),
        }
    }

    /// What holds for every attestation, in a receipt or late: the chain, the checkpoint seen, the
    /// verdict.
    fn attestation(&mut self, index: u64, attestation: &Statement<Attestation>, signer: NodeId) {
        if let (true, Some(link)) = (self.complete(), attestation.envelope().link) {
            self.ledger.attested(signer, link.seq, index);
            if let Err(what) = self.chains.push(signer, link, attestation.id(), index) {
                let what = format!("{}: {what}", self.name_of(&signer));
                self.flaw(index, Fault::new(Code::ReceiptSequenceFork, what));
            }
        }
        if let Verdict::Disputes { code } = attestation.body().verdict {
            let what = format!("{}: {code}", self.name_of(&signer));
            self.flaw(index, Fault::new(Code::ReceiptDisputed, what));
        }
        let Some(seen) = attestation.body().seen else { return };
        // Whoever attests has seen the log before its attestation was in it.
        if let Err(fault) = self.has_seen(index, &seen) {
            self.find(Some(index), fault.code, format!("{} {}", self.name_of(&signer), fault.what));
        }
    }

    fn late_attestation(&mut self, index: u64, statement: &Statement<Attestation>) {
        let signer = match self.speaker(index, statement.envelope()) {
            Ok(signer) => signer,
            Err(fault) => return self.find(Some(index), fault.code, fault.what),
        };
        if statement.envelope().link.is_none() {
            self.find(Some(index), Code::ReceiptAttestationInvalid, "a late attestation without a sequence number");
        }
        let digest = statement.body().usage;
        self.late.entry(digest).or_insert(index);
        let mut completed = None;
        if let Some(incomplete) = self.incomplete.get_mut(&digest)
            && check_attestation_of(&signer, &incomplete.record, &digest, statement).is_ok()
        {
            let lacked = incomplete.missing.remove(&signer).is_some();
            if lacked && incomplete.missing.is_empty() {
                self.ledger.whole(&digest, index);
                completed = Some((incomplete.leaf, incomplete.record.clone()));
            }
        }
        self.attestation(index, statement, signer);
        if let Some((leaf, record)) = completed.filter(|_| !self.flawed.contains(&index)) {
            self.disputed(leaf, &record);
        }
    }

    fn close(mut self, cosigned: &Cosigned) -> (Report, Ledger, Cases) {
        if let (Some((issued, leaf)), Some(latest)) = (self.newest, cosigned.latest())
            && latest.plus(CLOCK_SKEW_MILLIS_MAX) < issued
        {
            let what = format!("issued at {issued}; the witnesses cosigned it by {latest}");
            self.flaw(leaf, Fault::new(Code::ReceiptTime, what));
        }
        let flawed = self.attempts.values().filter(|leaf| self.flawed.contains(leaf)).count() as u64;
        let twice = self.report.receipts.saturating_sub(self.attempts.len() as u64);
        self.report.valid = self.report.receipts.saturating_sub(flawed).saturating_sub(twice);
        // By a witness's clock: what is missed by that time was missed.
        for case in self.cases.iter() {
            if let Some(due) = cosigned.latest().and_then(|now| case.overdue(now)) {
                self.report.notice(Notice::CaseOverdue { leaf: case.at.index, due: due.to_string() });
            }
        }
        if self.unattested > 0 {
            self.report.notice(Notice::Unattested { count: self.unattested });
        }
        let unchecked = core::mem::take(&mut self.unchecked);
        for (kind, count) in unchecked {
            self.report.notice(Notice::Unchecked { kind, count });
        }
        self.report.log_keys.extend(self.log.shown());
        self.report.party_keys = self.history.shown();
        self.report.faults.sort_by_key(|finding| finding.leaf.map_or(0, |leaf| leaf.saturating_add(1)));
        (self.report, self.ledger, self.cases)
    }
}

/// Counts a leaf of an unknown type; types beyond [`NOTICES_MAX`] are counted together.
fn tally(unchecked: &mut BTreeMap<String, u64>, kind: &str) {
    // The type is the signer's text: escaped and cut, it cannot upset a terminal or the page.
    let mut kind: String = kind.escape_debug().take(64).collect();
    if unchecked.len() >= NOTICES_MAX && !unchecked.contains_key(&kind) {
        kind = "...".into();
    }
    let count = unchecked.entry(kind).or_default();
    *count = count.saturating_add(1);
}

/// Verifies an evidence bundle against the trust that the verifier brings; without one against the
/// bundle's own, which the report then says first.
///
/// # Errors
/// `receipt.bundle` when the bytes are no bundle, or no trust is at hand. Everything that a readable
/// bundle gets wrong is a finding of the report.
pub fn verify_bundle(bytes: &[u8], trust: Option<&Trust>) -> Result<Report, Fault> {
    verify_bundle_watched(bytes, trust, &mut |_, _| {})
}

/// As [`verify_bundle`]; tells `watch` after each leaf of a whole log how many are read, of how many.
///
/// # Errors
/// Those of [`verify_bundle`].
pub fn verify_bundle_watched(
    bytes: &[u8],
    trust: Option<&Trust>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Report, Fault> {
    let bundle = Bundle::parse(bytes)?;
    let (trust, source) = match (trust, &bundle.trust) {
        (Some(own), _) => (own, TrustSource::Pinned),
        (None, Some(theirs)) => (theirs, TrustSource::FromBundle),
        (None, None) => return Err(Fault::new(Code::ReceiptBundle, "no trust file was given and the bundle has none")),
    };
    let by_id: BTreeMap<StatementId, &[u8]> =
        bundle.beside.iter().map(|bytes| (StatementId(sha256(bytes).0), bytes.as_slice())).collect();
    let used = RefCell::new(BTreeSet::new());
    let beside = |id: &StatementId| {
        let bytes = by_id.get(id)?;
        used.borrow_mut().insert(*id);
        Some(bytes.to_vec())
    };
    let scope = if bundle.leaves.is_empty() { Scope::SingleLeaves } else { Scope::WholeLog };
    let mut verifier = Verifier::new(trust, source, scope, &beside)?;
    if scope == Scope::SingleLeaves {
        // Whoever gives single leaves gives the changes of the key as well: each is signed by the one before it.
        let theirs = bundle.trust.iter().flat_map(|theirs| &theirs.rotations);
        // why: one that does not follow helps nobody to a key.
        let _ = verifier.log.take(theirs.map(|rotation| rotation.as_slice()));
        verifier.followed(bundle.trust.iter().flat_map(|theirs| &theirs.party_rotations));
    }
    if bundle.trust.as_ref().is_some_and(|theirs| theirs != trust) {
        verifier.report.notice(Notice::TrustDiffers);
    }
    let mut report = if scope == Scope::SingleLeaves {
        verifier.finish_single(&bundle.checkpoint, &bundle.proven)
    } else {
        let size = bundle.leaves.len() as u64;
        for (read, leaf) in (1..).zip(&bundle.leaves) {
            verifier.leaf(leaf);
            watch(read, size);
        }
        let kept = bundle.kept.iter().map(|note| note.as_slice());
        verifier.finish(&bundle.checkpoint, kept, bundle.promises.iter().map(|promise| promise.as_slice()))
    };
    papers::look(&bundle, trust, &mut report);
    let unused = bundle.beside.len().saturating_sub(used.borrow().len()) as u64;
    if unused > 0 {
        report.notice(Notice::BesideUnused { count: unused });
    }
    Ok(report)
}

/// Verifies one leaf with its proof file, as a party does with each receipt it is handed.
///
/// # Errors
/// `receipt.bundle` for an unusable trust. Everything else is a finding of the report.
pub fn verify_single(leaf: &[u8], proof: &LogProof, trust: &Trust, beside: &Beside<'_>) -> Result<Report, Fault> {
    let verifier = Verifier::new(trust, TrustSource::Pinned, Scope::SingleLeaves, beside)?;
    let proven = Proven { index: proof.index, leaf: leaf.to_vec().into(), proof: proof.hashes.clone() };
    Ok(verifier.finish_single(&proof.note, &[proven]))
}

/// Verifies a log from its files: every hash tile, every entry bundle, every leaf. Attestations by
/// hash are read at [`beside_path`]. Without a trust of the verifier's own, the one at
/// [`TRUST_PATH`] is used, which the report then says first.
///
/// # Errors
/// `receipt.bundle` when there is no usable trust, `log.malformed` or `log.signature` when there is
/// no checkpoint that the log signed: without one the size of the log is not known.
pub fn verify_files(files: &dyn TileRead, trust: Option<&Trust>) -> Result<Report, Fault> {
    verify_files_watched(files, trust, &mut |_, _, _| {})
}

/// As [`verify_files`]; tells `watch` after each leaf how many are read, of how many, and shows it the leaf.
///
/// # Errors
/// Those of [`verify_files`].
pub fn verify_files_watched(
    files: &dyn TileRead,
    trust: Option<&Trust>,
    watch: &mut dyn FnMut(u64, u64, &[u8]),
) -> Result<Report, Fault> {
    verify_logs_watched(&[files], trust, watch)
}

/// As [`verify_files_watched`], of logs that follow each other, oldest first, as one history: `trust` is for the first of them, and
/// leaves are numbered on.
///
/// # Errors
/// Those of [`verify_files`]; `log.shard` when a log does not lead to the next one.
pub fn verify_logs_watched(
    logs: &[&dyn TileRead],
    trust: Option<&Trust>,
    watch: &mut dyn FnMut(u64, u64, &[u8]),
) -> Result<Report, Fault> {
    let theirs;
    let (trust, source) = match trust {
        Some(own) => (own, TrustSource::Pinned),
        None => {
            let none = || Fault::new(Code::ReceiptBundle, "no trust file was given and the log has none beside it");
            theirs = Trust::parse(&logs.first().and_then(|files| files.read(TRUST_PATH)).ok_or_else(none)?)?;
            (&theirs, TrustSource::FromBundle)
        }
    };
    let beside = |id: &StatementId| logs.iter().find_map(|files| files.read(&beside_path(id)));
    let mut verifier = Verifier::new(trust, source, Scope::WholeLog, &beside)?;
    let mut last: Option<Vec<u8>> = None;
    for files in logs {
        if let Some(note) = last.take() {
            verifier.next_log(&note)?;
        }
        let note = files
            .read(CHECKPOINT_PATH)
            .ok_or_else(|| Fault::new(Code::LogMalformed, format!("{CHECKPOINT_PATH} is missing")))?;
        // Before the leaves are read it is not known which keys the log has had: what the head says is looked at in the end.
        let known = verifier.log.open(&note).map(|_| ());
        let size = Checkpoint::parse(SignedNote::parse(&note)?.text())?.size;
        let first = verifier.first;
        let read = TileReader::new(*files, size).check(&mut |index, leaf| {
            verifier.leaf(&leaf);
            watch(first.saturating_add(index).saturating_add(1), first.saturating_add(size), &leaf);
            Ok(())
        });
        if verifier.log.open(&note).is_err() {
            known?;
        }
        if let Err(fault) = read {
            verifier.find(None, fault.code, fault.what);
        }
        last = Some(note);
    }
    let note = last.ok_or_else(|| Fault::new(Code::LogMalformed, "there is no log"))?;
    Ok(verifier.finish(&note, [], []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_types_are_escaped_cut_and_bounded() {
        let mut unchecked = BTreeMap::new();
        tally(&mut unchecked, "\u{1b}[2J");
        tally(&mut unchecked, &"x".repeat(100));
        assert_eq!(unchecked.keys().map(String::as_str).collect::<Vec<_>>(), ["\\u{1b}[2J", &"x".repeat(64)]);
        (2..NOTICES_MAX).for_each(|i| tally(&mut unchecked, &format!("kind-{i}")));
        assert_eq!((unchecked.len(), unchecked.contains_key("...")), (NOTICES_MAX, false));
        ["kind-5", "new", "newer"].iter().for_each(|kind| tally(&mut unchecked, kind));
        assert_eq!((unchecked.len(), unchecked["..."], unchecked["kind-5"]), (NOTICES_MAX + 1, 2, 2));
    }
}
