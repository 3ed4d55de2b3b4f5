//! What a log says about money, leaf by leaf: which plans are in force, what is corrected and disputed, what was
//! charged and settled. Whoever issues a statement and whoever verifies one follow the log with this.
//!
//! It keeps the usage lines of every receipt, so its memory grows with the log, by less than the log's own bytes.

mod due;

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::Statement;
use tacit_crypto::statement::Envelope;
use tacit_types::unit::Class;
use tacit_types::{Attempt, Code, ContractId, Fault, Hash, JobId, NodeId, Unit, UnixMillis};

use super::plan::PricePlan;
use super::statement::{
    Charge, Correction, Dispute, Due, LeafRef, MONEY_VERSION, Outcome, Period, PeriodClose, Ruling, Settlement,
    UnitSum, Valuation,
};
use super::{Money, net};
use crate::leaf::Leaf;
use crate::merkle::leaf_hash;
use crate::receipt::{JointReceipt, Verdict, check_attestation};
use crate::record::{Quantity, Status, UsageRecord};
use crate::verify::{Beside, CLOCK_SKEW_MILLIS_MAX};

/// A receipt, as far as money goes.
#[derive(Debug)]
struct Receipt {
    hash: Hash,
    issued: UnixMillis,
    contracts: BTreeSet<ContractId>,
    parties: Vec<NodeId>,
    lines: Vec<Line>,
    /// Whether it has a result.
    ok: bool,
    /// From which size of the log it is whole: no fault, and every party that took part has attested.
    whole_at: Option<u64>,
}

#[derive(Debug)]
struct Line {
    unit: Unit,
    class: Class,
    party: NodeId,
    /// None for a commitment.
    quantity: Option<u64>,
}

#[derive(Debug)]
struct Plan {
    plan: PricePlan,
    /// The leaf of the last signature that it needed.
    since: u64,
    /// Each period that was charged, with the leaves of its charges.
    periods: BTreeMap<Period, Vec<u64>>,
}

#[derive(Debug)]
struct Disputed {
    hash: Hash,
    plan: Hash,
    receipt: u64,
    line: Option<u32>,
    by: NodeId,
    ruled: Option<(u64, Outcome)>,
}

#[derive(Debug)]
struct Charged {
    hash: Hash,
    charge: Charge,
    settled: Option<u64>,
}

/// What a log says about money.
#[derive(Debug, Default)]
pub struct Ledger {
    origin: String,
    receipts: BTreeMap<u64, Receipt>,
    /// Attempts that have a receipt: a second one of the same is not billed.
    attempts: BTreeSet<(JobId, Attempt)>,
    /// The receipt of a record's digest.
    digests: BTreeMap<Hash, u64>,
    /// Records that lack attestations, with who has to attest them.
    incomplete: BTreeMap<Hash, (UsageRecord, BTreeSet<NodeId>)>,
    /// Leaf and number of each attestation of a party.
    attested: BTreeMap<NodeId, Vec<(u64, u64)>>,
    /// The latest time of issue of a receipt.
    newest: UnixMillis,
    closed: BTreeMap<NodeId, Period>,
    /// Who has signed a body that needs several.
    signed: BTreeMap<Hash, BTreeSet<NodeId>>,
    plans: BTreeMap<Hash, Plan>,
    /// By plan, receipt and line: from which leaf on which quantity holds.
    corrections: BTreeMap<(Hash, u64, u32), Vec<(u64, u64)>>,
    disputes: BTreeMap<u64, Disputed>,
    /// The disputes about a receipt, by plan and receipt.
    disputed: BTreeMap<(Hash, u64), Vec<u64>>,
    valuations: BTreeMap<(Hash, Period), (u64, Valuation)>,
    charges: BTreeMap<u64, Charged>,
}

impl Ledger {
    /// The ledger of a log's first leaf on.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Takes a receipt in. `sound` says that the verifier found no fault in it; `whole`, that every party which took
    /// part has attested.
    pub fn receipt(&mut self, leaf: LeafRef, issued: UnixMillis, record: &UsageRecord, sound: bool, whole: bool) {
        let line = |line: &crate::record::UsageLine| Line {
            unit: line.unit,
            class: line.class,
            // why: a record whose lines name no seat is not sound, and not billed.
            party: record.parties.get(line.party.index()).map_or(NodeId([0; 32]), |p| p.party),
            quantity: match line.quantity {
                Quantity::Plain(quantity) => Some(quantity),
                Quantity::Committed(_) => None,
            },
        };
        let first = self.attempts.insert((record.job, record.attempt));
        let receipt = Receipt {
            hash: leaf.hash,
            issued,
            contracts: record.contracts.iter().copied().collect(),
            parties: record.parties.iter().map(|p| p.party).collect(),
            lines: record.lines.iter().map(line).collect(),
            ok: sound && first && record.status == Status::Ok,
            whole_at: whole.then_some(leaf.index),
        };
        self.newest = self.newest.max(issued);
        self.receipts.insert(leaf.index, receipt);
        self.digests.entry(record.digest()).or_insert(leaf.index);
    }

    /// A late attestation at `leaf` was the last that a record lacked.
    pub fn whole(&mut self, digest: &Hash, leaf: u64) {
        let receipt = self.digests.get(digest).and_then(|at| self.receipts.get_mut(at));
        if let Some(receipt) = receipt.filter(|r| r.whole_at.is_none()) {
            receipt.whole_at = Some(leaf);
        }
    }

    /// A party's attestation is in a leaf, inside a receipt or alone.
    pub fn attested(&mut self, party: NodeId, seq: u64, leaf: u64) {
        self.attested.entry(party).or_default().push((leaf, seq));
    }

    /// Takes a leaf of a log in that is verified otherwise, as the coordinator does with its own and a node with what
    /// it witnesses. `beside` gives the attestation of a hash.
    ///
    /// # Errors
    /// What [`Leaf::read`] and [`Ledger::push`] give; the checkpoint of a valuation is not looked at.
    pub fn follow(&mut self, index: u64, bytes: &[u8], beside: &Beside<'_>) -> Result<(), Fault> {
        let leaf = LeafRef { index, hash: leaf_hash(bytes) };
        match Leaf::read(bytes)? {
            Leaf::Receipt(statement) => self.follow_receipt(leaf, &statement, beside),
            Leaf::Attestation(statement) => {
                if let Some(link) = statement.envelope().link {
                    self.attested(statement.signer(), link.seq, index);
                }
                let digest = statement.body().usage;
                if let Some((record, missing)) = self.incomplete.get_mut(&digest)
                    && check_attestation(record, &digest, &statement).is_ok()
                    && missing.remove(&statement.signer())
                    && missing.is_empty()
                {
                    self.whole(&digest, index);
                }
            }
            Leaf::Money(envelope, money) => self.push(leaf, &envelope, &money)?,
            Leaf::Genesis(_) | Leaf::KeyEvent(_) | Leaf::Other(_) => {}
        }
        Ok(())
    }

    fn follow_receipt(&mut self, leaf: LeafRef, statement: &Statement<JointReceipt>, beside: &Beside<'_>) {
        let receipt = statement.body();
        let attested = receipt.attested(beside);
        let agreed = attested.held.iter().all(|a| a.body().verdict == Verdict::Agrees);
        let sound = agreed && attested.faults.is_empty() && receipt.record.check().is_ok();
        let missing: BTreeSet<NodeId> = receipt.missing().map(|entry| entry.party).collect();
        self.receipt(leaf, statement.envelope().issued_at, &receipt.record, sound, missing.is_empty());
        if !missing.is_empty() {
            self.incomplete.insert(receipt.record.digest(), (receipt.record.clone(), missing));
        }
        for attestation in &attested.held {
            if let Some(link) = attestation.envelope().link {
                self.attested(attestation.signer(), link.seq, leaf.index);
            }
        }
    }

    /// Takes a statement in, and says what is wrong with it. What is wrong has no effect, but for a charge: it
    /// counts as it was issued, so that one wrong charge is one fault.
    ///
    /// # Errors
    /// What is wrong, in the code of the statement's kind.
    pub fn push(&mut self, leaf: LeafRef, envelope: &Envelope, money: &Money) -> Result<(), Fault> {
        money.check()?;
        if let Some(origin) = money.origin().filter(|origin| *origin != self.origin) {
            return Err(Fault::new(Code::ReceiptRecord, format!("it is for the log {origin:?}")));
        }
        let signer = envelope.signer;
        match money {
            Money::Plan(plan) => self.plan(leaf, signer, plan),
            Money::Close(close) => self.close_of(leaf, signer, close),
            Money::Charge(charge) => self.charged(leaf, charge),
            Money::Settlement(settlement) => self.settled(leaf, settlement),
            Money::Correction(correction) => self.correction(leaf, signer, correction),
            Money::Dispute(dispute) => self.dispute(leaf, envelope, dispute),
            Money::Ruling(ruling) => self.ruling(leaf, signer, ruling),
            Money::Valuation(valuation) => self.valuation(leaf, signer, valuation),
        }
    }

    /// A plan that is in force.
    pub fn plan_in_force(&self, id: &Hash) -> Option<&PricePlan> {
        self.plans.get(id).map(|p| &p.plan)
    }

    /// Charges that no settlement has taken yet.
    pub fn unsettled(&self) -> impl Iterator<Item = (u64, &Charge)> {
        self.charges.iter().filter(|(_, c)| c.settled.is_none()).map(|(leaf, c)| (*leaf, &c.charge))
    }

    fn known(&self, plan: &Hash) -> Result<&Plan, Fault> {
        let unagreed =
            || Fault::new(Code::ReceiptUnagreed, format!("price plan {} is not in force here", plan.short()));
        self.plans.get(plan).ok_or_else(unagreed)
    }

    /// Notes a signature under a body that everyone of a plan signs; says whether it is in force now.
    fn sign(&mut self, plan: &PricePlan, body: Hash, signer: NodeId, alone: Option<NodeId>) -> Result<bool, Fault> {
        let may = plan.signers().any(|s| *s == signer) || alone == Some(signer);
        if !may {
            let what = format!("{} signed and is no party of the price plan", signer.short());
            return Err(Fault::new(Code::ReceiptUnagreed, what));
        }
        let signed = self.signed.entry(body).or_default();
        signed.insert(signer);
        Ok(alone == Some(signer) || plan.signers().all(|s| signed.contains(s)))
    }

    fn plan(&mut self, leaf: LeafRef, signer: NodeId, plan: &PricePlan) -> Result<(), Fault> {
        let id = plan.id();
        if self.sign(plan, id, signer, None)? {
            self.plans.entry(id).or_insert(Plan { plan: plan.clone(), since: leaf.index, periods: BTreeMap::new() });
        }
        Ok(())
    }

    /// The receipt that a statement under a plan refers to.
    fn original(&self, plan: &PricePlan, original: &LeafRef, line: Option<u32>) -> Result<&Receipt, String> {
        let at = original.index;
        let receipt = self.receipts.get(&at).ok_or_else(|| format!("leaf {at} is no receipt before it"))?;
        if receipt.hash != original.hash {
            return Err(format!("leaf {at} has the hash {}", receipt.hash.short()));
        }
        if !receipt.contracts.contains(&plan.contract) {
            return Err(format!("leaf {at} is not under the plan's contract"));
        }
        match line {
            Some(line) if usize::try_from(line).is_ok_and(|line| line >= receipt.lines.len()) => {
                Err(format!("leaf {at} has no usage line {line}"))
            }
            _ => Ok(receipt),
        }
    }

    fn correction(&mut self, leaf: LeafRef, signer: NodeId, correction: &Correction) -> Result<(), Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptCorrection, what);
        let plan = self.known(&correction.plan)?.plan.clone();
        let (at, index) = (correction.original.index, correction.line);
        let receipt = self.original(&plan, &correction.original, Some(index)).map_err(wrong)?;
        let line = usize::try_from(index).ok().and_then(|i| receipt.lines.get(i));
        let recorded = line.filter(|l| l.class != Class::C).and_then(|l| l.quantity);
        let recorded =
            recorded.ok_or_else(|| wrong(format!("line {index} of leaf {at} has no quantity that could be billed")))?;
        let now = self.quantity(&correction.plan, at, index, recorded, u64::MAX);
        if now != correction.was {
            return Err(wrong(format!("line {index} of leaf {at} has {now}, not {}", correction.was)));
        }
        if let Some(dispute) = correction.dispute {
            let fits = |d: &Disputed| d.plan == correction.plan && d.receipt == at && d.line.is_none_or(|l| l == index);
            if !self.disputes.get(&dispute).is_some_and(fits) {
                return Err(wrong(format!("leaf {dispute} is no dispute about line {index} of leaf {at}")));
            }
        }
        if self.sign(&plan, correction.id(), signer, plan.arbiter)? {
            let key = (correction.plan, at, index);
            self.corrections.entry(key).or_default().push((leaf.index, correction.quantity));
        }
        Ok(())
    }

    /// The quantity of a line as the corrections below a size of the log leave it.
    fn quantity(&self, plan: &Hash, receipt: u64, line: u32, recorded: u64, as_of: u64) -> u64 {
        let corrected = self.corrections.get(&(*plan, receipt, line));
        corrected
            .and_then(|list| list.iter().rev().find(|(since, _)| *since < as_of))
            .map_or(recorded, |(_, quantity)| *quantity)
    }

    fn dispute(&mut self, leaf: LeafRef, envelope: &Envelope, dispute: &Dispute) -> Result<(), Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptDispute, what);
        let plan = &self.known(&dispute.plan)?.plan;
        if !plan.signers().any(|s| *s == envelope.signer) {
            return Err(wrong(format!("{} is no party of the price plan", envelope.signer.short())));
        }
        let receipt = self.original(plan, &dispute.original, dispute.line).map_err(wrong)?;
        let until = receipt.issued.plus(plan.dispute_window_ms);
        // The signer chooses its time; the receipts before it in the log say whether that can be true.
        if envelope.issued_at > until || self.newest > until.plus(CLOCK_SKEW_MILLIS_MAX) {
            return Err(wrong(format!("leaf {} could be disputed until {until}", dispute.original.index)));
        }
        let disputed = Disputed {
            hash: leaf.hash,
            plan: dispute.plan,
            receipt: dispute.original.index,
            line: dispute.line,
            by: envelope.signer,
            ruled: None,
        };
        self.disputed.entry((disputed.plan, disputed.receipt)).or_default().push(leaf.index);
        self.disputes.insert(leaf.index, disputed);
        Ok(())
    }

    fn ruling(&mut self, leaf: LeafRef, signer: NodeId, ruling: &Ruling) -> Result<(), Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptDispute, what);
        let at = ruling.dispute.index;
        let dispute = self.disputes.get(&at).filter(|d| d.hash == ruling.dispute.hash);
        let dispute = dispute.ok_or_else(|| wrong(format!("leaf {at} of that hash is no dispute before it")))?;
        if dispute.ruled.is_some() {
            return Err(wrong(format!("the dispute of leaf {at} is ruled already")));
        }
        let withdrawn = ruling.outcome == Outcome::Stands && signer == dispute.by;
        let plan = self.known(&dispute.plan)?.plan.clone();
        let alone = if withdrawn { Some(signer) } else { plan.arbiter };
        let body = tacit_crypto::sha256(&tacit_crypto::cbor::encode(ruling));
        if self.sign(&plan, body, signer, alone)?
            && let Some(dispute) = self.disputes.get_mut(&at)
        {
            dispute.ruled = Some((leaf.index, ruling.outcome));
        }
        Ok(())
    }

    fn valuation(&mut self, leaf: LeafRef, signer: NodeId, valuation: &Valuation) -> Result<(), Fault> {
        let plan = self.known(&valuation.plan)?.plan.clone();
        let wrong = |what: &str| Err(Fault::new(Code::ReceiptPlan, format!("the valuation: {what}")));
        if !plan.split.needs_valuation() {
            return wrong("the split of the plan needs none");
        }
        // A checkpoint from before the period's end could be known while its use can still be steered.
        if valuation.seed.is_some_and(|seed| seed.size < valuation.period.end || seed.size > leaf.index) {
            return wrong(
                "its checkpoint is of a size before the period's end, or of one that the log has not reached",
            );
        }
        let key = (valuation.plan, valuation.period);
        if self.valuations.contains_key(&key) {
            return wrong("there is one in force for the period");
        }
        let body = tacit_crypto::sha256(&tacit_crypto::cbor::encode(valuation));
        if self.sign(&plan, body, signer, plan.arbiter)? {
            self.valuations.insert(key, (leaf.index, valuation.clone()));
        }
        Ok(())
    }

    fn close_of(&mut self, leaf: LeafRef, signer: NodeId, close: &PeriodClose) -> Result<(), Fault> {
        let period = close.period;
        if period.end > leaf.index {
            return Err(Fault::new(Code::ReceiptPeriod, "it was closed before it was over"));
        }
        if self.closed.get(&signer).is_some_and(|last| !last.is_followed_by(&period)) {
            return Err(Fault::new(Code::ReceiptPeriod, "it does not follow the party's last close"));
        }
        self.closed.insert(signer, period);
        let ours = self.close(&signer, period)?;
        if *close == ours {
            return Ok(());
        }
        let numbers = |c: &PeriodClose| match c.first_seq.zip(c.last_seq) {
            Some((first, last)) => format!("{} attestations, {first} to {last}", c.count),
            None => format!("{} attestations", c.count),
        };
        let (said, found) = (numbers(close), numbers(&ours));
        let differs = close.sums.iter().find(|sum| !ours.sums.contains(sum));
        let lacks = ours.sums.iter().find(|sum| !close.sums.contains(sum));
        let what = match differs.or(lacks) {
            _ if said != found => format!("{said}; the log has {found}"),
            Some(sum) => {
                let of = |c: &PeriodClose| {
                    let same = |s: &&UnitSum| (s.contract, s.unit) == (sum.contract, sum.unit);
                    c.sums.iter().find(same).map_or(0, |s| s.quantity)
                };
                format!("{} {} under {}; the log has {}", of(close), sum.unit.word(), sum.contract.short(), of(&ours))
            }
            None => format!("{said}, differently written"),
        };
        Err(Fault::new(Code::ReceiptPeriodClose, what))
    }

    fn charged(&mut self, leaf: LeafRef, charge: &Charge) -> Result<(), Fault> {
        if charge.as_of > leaf.index {
            return Err(Fault::new(Code::ReceiptPeriod, "it looks at leaves that come after it"));
        }
        let ours = self.charge(&charge.plan, charge.period, charge.as_of)?;
        if let Some(plan) = self.plans.get_mut(&charge.plan) {
            plan.periods.entry(charge.period).or_default().push(leaf.index);
        }
        self.charges.insert(leaf.index, Charged { hash: leaf.hash, charge: charge.clone(), settled: None });
        due::compare(charge, &ours)
    }

    /// The settlement of charges that stand in the log: as the coordinator issues it.
    ///
    /// # Errors
    /// `receipt.settlement` when one is no charge in that currency, is settled already, or the result passes a cap.
    pub fn settlement(&self, currency: &str, leaves: &BTreeSet<u64>) -> Result<Settlement, Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptSettlement, what);
        let mut charges = Vec::new();
        let mut owed: Vec<(NodeId, &[Due])> = Vec::new();
        for leaf in leaves {
            let charged = self.charges.get(leaf).ok_or_else(|| wrong(format!("leaf {leaf} is no charge before it")))?;
            if let Some(first) = charged.settled {
                return Err(wrong(format!("the charge of leaf {leaf} was settled at leaf {first}")));
            }
            let plan = &self.known(&charged.charge.plan)?.plan;
            if plan.currency != currency {
                return Err(wrong(format!("the charge of leaf {leaf} is in {}", plan.currency)));
            }
            charges.push(LeafRef { index: *leaf, hash: charged.hash });
            owed.push((plan.payer, &charged.charge.shares));
        }
        let (positions, transfers) = net::net(owed)?;
        let (version, origin) = (MONEY_VERSION, self.origin.clone());
        let settlement = Settlement { version, origin, currency: currency.to_owned(), charges, positions, transfers };
        settlement.check()?;
        Ok(settlement)
    }

    fn settled(&mut self, leaf: LeafRef, settlement: &Settlement) -> Result<(), Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ReceiptSettlement, what));
        let leaves = settlement.charges.iter().map(|c| c.index).collect();
        let ours = self.settlement(&settlement.currency, &leaves)?;
        if let Some((theirs, own)) = settlement.charges.iter().zip(&ours.charges).find(|(a, b)| a != b) {
            return wrong(format!("leaf {} has the hash {}", own.index, theirs.hash.short()));
        }
        for charge in &leaves {
            if let Some(charged) = self.charges.get_mut(charge) {
                charged.settled = Some(leaf.index);
            }
        }
        let stated = settlement.positions.iter().find(|p| !ours.positions.contains(p));
        let missing = ours.positions.iter().find(|p| !settlement.positions.contains(p));
        if let Some(position) = stated.or(missing) {
            let of = |s: &Settlement| s.positions.iter().find(|p| p.party == position.party).map_or(0, |p| p.fen);
            let who = position.party.short();
            return wrong(format!("{who} gets {} fen; the charges give {}", of(settlement), of(&ours)));
        }
        if settlement.transfers != ours.transfers {
            return wrong("the payments are not the netted ones of its charges".into());
        }
        Ok(())
    }
}
