//! What a log says about money, leaf by leaf: which plans are in force, what is corrected and disputed, what was
//! charged and settled. Whoever issues a statement and whoever verifies one follow the log with this.
//!
//! It keeps the usage lines of every receipt, so its memory grows with the log. A line on which observers differ is kept
//! once, whatever plans there are; what is ruled on it, once for each plan that rates it.

mod due;
mod period;
mod said;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::statement::Envelope;
use tacit_crypto::{Keyring, Statement};
use tacit_types::unit::Class;
use tacit_types::{Attempt, Code, ContractId, Fault, Hash, JobId, NodeId, Seat, Unit, UnixMillis};

use super::plan::PricePlan;
use super::statement::{Charge, Due, LeafRef, MONEY_VERSION, Outcome, Period, Settlement, Valuation};
use super::{Money, net};
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::Leaf;
use crate::merkle::leaf_hash;
use crate::receipt::{JointReceipt, Verdict, check_attestation_of};
use crate::record::{Quantity, Status, UsageRecord};
use crate::verify::Beside;

pub use period::{Cut, Withheld};
pub use view::{ChargeView, DisputeView, LineView};

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
    /// Those whose count is another.
    differing: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Plan {
    plan: PricePlan,
    /// The leaf of the last signature that it needed.
    since: u64,
    /// Each period that was charged, with the leaves of its charges.
    periods: BTreeMap<Period, Vec<u64>>,
}

/// A dispute that a party has signed.
#[derive(Debug)]
struct Disputed {
    /// Of the dispute's leaf.
    hash: Hash,
    plan: Hash,
    receipt: u64,
    line: Option<u32>,
    /// Who disputes: it may say that the use stands.
    by: BTreeSet<NodeId>,
    ruled: Option<(u64, Outcome)>,
}

/// What is ruled, under one plan, on a line on which observers differ.
#[derive(Debug)]
struct LineRuling {
    ruled: (u64, Outcome),
    /// Those who have let it stand, where these are the differing observers alone: whoever else has a part in the plan was not
    /// heard.
    alone: Option<BTreeSet<NodeId>>,
}

/// A dispute of either kind.
struct Found<'a> {
    plan: &'a Hash,
    known: &'a Plan,
    line: Option<u32>,
    by: &'a BTreeSet<NodeId>,
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
    /// Receipts with a result of which observers differ on a line. Each such line is in dispute from its receipt on, under every
    /// plan that rates the receipt.
    differing: BTreeSet<u64>,
    /// By plan, receipt and line.
    line_rulings: BTreeMap<(Hash, u64, u32), LineRuling>,
    valuations: BTreeMap<(Hash, Period), (u64, Valuation)>,
    charges: BTreeMap<u64, Charged>,
    /// Which keys speak for which parties, where it follows a log by itself.
    keys: KeyHistory,
}

impl Ledger {
    /// The ledger of a log's first leaf on.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), keys: KeyHistory::new(origin), ..Self::default() }
    }

    /// Goes on with the log that comes after, whose leaves are numbered on.
    pub fn turn(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
        self.keys.also(origin);
    }

    /// Takes a receipt in. `sound` says that the verifier found no fault in it; `whole`, that every party which took
    /// part has attested.
    pub fn receipt(&mut self, leaf: LeafRef, issued: UnixMillis, record: &UsageRecord, sound: bool, whole: bool) {
        let seated = |seat: &Seat| record.parties.get(seat.index()).map(|p| p.party);
        let line = |line: &crate::record::UsageLine| Line {
            unit: line.unit,
            class: line.class,
            // why: a record whose lines name no seat is not sound, and not billed.
            party: seated(&line.party).unwrap_or(NodeId([0; 32])),
            differing: line.differing.iter().filter_map(|s| seated(&s.seat)).collect(),
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
        if receipt.ok && receipt.lines.iter().any(|line| !line.differing.is_empty()) {
            self.differing.insert(leaf.index);
        }
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
        let keys = Keyring::default();
        self.follow_read(LeafRef { index, hash: leaf_hash(bytes) }, &Leaf::read_with(bytes, &keys)?, beside, &keys)
    }

    /// As [`Ledger::follow`], for a leaf that was read, with keys that are decoded once for many leaves.
    ///
    /// # Errors
    /// What [`Ledger::push`] gives.
    pub fn follow_read(&mut self, at: LeafRef, leaf: &Leaf, beside: &Beside<'_>, keys: &Keyring) -> Result<(), Fault> {
        let index = at.index;
        match leaf {
            Leaf::Receipt(statement) => self.follow_receipt(at, statement, beside, keys),
            Leaf::Attestation(statement) => {
                let who = self.keys.id_of(KeyRole::Node, &statement.signer());
                if let Some(link) = statement.envelope().link {
                    self.attested(who, link.seq, index);
                }
                let digest = statement.body().usage;
                if let Some((record, missing)) = self.incomplete.get_mut(&digest)
                    && check_attestation_of(&who, record, &digest, statement).is_ok()
                    && missing.remove(&who)
                    && missing.is_empty()
                {
                    self.whole(&digest, index);
                }
            }
            Leaf::Money(envelope, money) => self.push(at, envelope, money)?,
            // Whose the id is and whether a key held in its time is for who verifies the log.
            Leaf::PartyRotation(statement) => {
                let id = statement.body().id;
                self.keys.follow(statement, Some(index), &|_, key| *key == id)?;
            }
            Leaf::Genesis(_) | Leaf::KeyEvent(_) | Leaf::KeyRotation(_) | Leaf::ShardChange(_) => {}
            Leaf::Case(..) | Leaf::Memo(_) | Leaf::Other(_) => {}
        }
        Ok(())
    }

    fn follow_receipt(
        &mut self,
        leaf: LeafRef,
        statement: &Statement<JointReceipt>,
        beside: &Beside<'_>,
        keys: &Keyring,
    ) {
        let receipt = statement.body();
        let id_of = |key: &NodeId| self.keys.id_of(KeyRole::Node, key);
        let attested = receipt.attested_with(beside, keys, &id_of);
        let agreed = attested.held.iter().all(|a| a.body().verdict == Verdict::Agrees);
        let sound = agreed && attested.faults.is_empty() && receipt.record.check().is_ok();
        let missing: BTreeSet<NodeId> = receipt.missing().map(|entry| entry.party).collect();
        self.receipt(leaf, statement.envelope().issued_at, &receipt.record, sound, missing.is_empty());
        if !missing.is_empty() {
            self.incomplete.insert(receipt.record.digest(), (receipt.record.clone(), missing));
        }
        for attestation in &attested.held {
            if let Some(link) = attestation.envelope().link {
                let who = self.keys.id_of(KeyRole::Node, &attestation.signer());
                self.attested(who, link.seq, leaf.index);
            }
        }
    }

    /// Takes a statement in, and says what is wrong with it. What is wrong has no effect, but for a charge: it
    /// counts as it was issued, so that one wrong charge is one fault.
    ///
    /// # Errors
    /// What is wrong, in the code of the statement's kind.
    pub fn push(&mut self, leaf: LeafRef, envelope: &Envelope, money: &Money) -> Result<(), Fault> {
        self.fits(money)?;
        let spoken = self.keys.spoken(envelope);
        let envelope = &*spoken;
        let signer = envelope.signer;
        match money {
            Money::Plan(plan) => self.plan(leaf, signer, plan),
            Money::Close(close) => self.close_of(leaf, signer, close),
            Money::Charge(charge) => self.charged(leaf, charge),
            Money::Settlement(settlement) => self.settled(leaf, settlement),
            Money::Correction(correction) => self.correction(leaf, signer, correction),
            Money::Dispute(dispute) => self.dispute(leaf, envelope, dispute),
            Money::Answer(answer) => self.answer(leaf, signer, answer),
            Money::Ruling(ruling) => self.ruling(leaf, signer, ruling),
            Money::Valuation(valuation) => self.valuation(leaf, signer, valuation),
        }
    }

    /// The checks that a statement passes by itself, and that it is for this log.
    fn fits(&self, money: &Money) -> Result<(), Fault> {
        money.check()?;
        match money.origin().filter(|origin| *origin != self.origin) {
            Some(origin) => Err(Fault::new(Code::ReceiptRecord, format!("it is for the log {origin:?}"))),
            None => Ok(()),
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

    /// The quantity of a line as the corrections below a size of the log leave it.
    fn quantity(&self, plan: &Hash, receipt: u64, line: u32, recorded: u64, as_of: u64) -> u64 {
        let corrected = self.corrections.get(&(*plan, receipt, line));
        corrected
            .and_then(|list| list.iter().rev().find(|(since, _)| *since < as_of))
            .map_or(recorded, |(_, quantity)| *quantity)
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
