//! The ledger for people: what is in force, who has signed, what is on hold, what was charged.

use std::collections::BTreeSet;

use tacit_types::unit::Class;
use tacit_types::{ContractId, Hash, NodeId, Unit, UnixMillis};

use super::Ledger;
use crate::money::plan::PricePlan;
use crate::money::statement::{Charge, LeafRef, Outcome, Period};

/// A dispute and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DisputeView {
    /// The dispute, or the receipt on a line of which observers differ.
    pub at: LeafRef,
    /// Whether it is the latter: nobody has signed a dispute.
    pub automatic: bool,
    /// The plan.
    pub plan: Hash,
    /// The leaf of the receipt.
    pub receipt: u64,
    /// The usage line; none for all of them.
    pub line: Option<u32>,
    /// Who disputes.
    pub by: Vec<NodeId>,
    /// The leaf of the ruling in force, and what it says.
    pub ruled: Option<(u64, Outcome)>,
}

/// A charge and its settlement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChargeView<'a> {
    /// The charge.
    pub at: LeafRef,
    /// What it says.
    pub charge: &'a Charge,
    /// The leaf of the settlement that took it.
    pub settled: Option<u64>,
}

/// A usage line as money has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineView {
    /// The unit.
    pub unit: Unit,
    /// Whose use it is.
    pub party: NodeId,
    /// The quantity in the receipt.
    pub recorded: u64,
    /// With the corrections in force under the plan.
    pub now: u64,
    /// Whether an open dispute holds it.
    pub held: bool,
    /// Whether a ruling took it out.
    pub void: bool,
}

impl Ledger {
    /// Plans in force with the leaf of the last signature that each needed, by hash.
    pub fn plans(&self) -> impl Iterator<Item = (&Hash, &PricePlan, u64)> {
        self.plans.iter().map(|(id, plan)| (id, &plan.plan, plan.since))
    }

    /// Plans in force under a contract.
    pub fn plans_of(&self, contract: &ContractId) -> impl Iterator<Item = (&Hash, &PricePlan, u64)> {
        self.plans().filter(move |(_, plan, _)| plan.contract == *contract)
    }

    /// Who has signed a body that several must sign; by the hash of its CBOR.
    pub fn signed(&self, body: &Hash) -> BTreeSet<NodeId> {
        self.signed.get(body).cloned().unwrap_or_default()
    }

    /// Every charge, in the order of the log.
    pub fn charges(&self) -> impl Iterator<Item = ChargeView<'_>> {
        self.charges.iter().map(|(index, c)| ChargeView {
            at: LeafRef { index: *index, hash: c.hash },
            charge: &c.charge,
            settled: c.settled,
        })
    }

    /// Every dispute, in the order of the log. A line on which observers differ is one for each plan that rates its receipt.
    pub fn disputes(&self) -> impl Iterator<Item = DisputeView> {
        let mut leaves: BTreeSet<u64> = self.disputes.keys().copied().collect();
        leaves.extend(&self.differing);
        leaves.into_iter().flat_map(move |leaf| self.disputes_at(leaf))
    }

    /// The disputes of a leaf: that which it is; or of a receipt, those of the lines on which observers differ.
    pub fn disputes_at(&self, leaf: u64) -> Vec<DisputeView> {
        let mut views = Vec::new();
        if let Some(d) = self.disputes.get(&leaf) {
            let (at, by) = (LeafRef { index: leaf, hash: d.hash }, d.by.iter().copied().collect());
            let (plan, receipt, line, ruled) = (d.plan, d.receipt, d.line, d.ruled);
            views.push(DisputeView { at, automatic: false, plan, receipt, line, by, ruled });
        }
        let Some(receipt) = self.differing.get(&leaf).and_then(|leaf| self.receipts.get(leaf)) else { return views };
        for id in self.plans.iter().filter(|(_, plan)| plan.rates(leaf, receipt)).map(|(id, _)| id) {
            let lines = (0u32..).zip(&receipt.lines).filter_map(|(line, _)| self.differs(id, leaf, line));
            views.extend(lines.map(|found| DisputeView {
                at: LeafRef { index: leaf, hash: receipt.hash },
                automatic: true,
                plan: *found.plan,
                receipt: leaf,
                line: found.line,
                by: found.by.iter().copied().collect(),
                ruled: found.ruled,
            }));
        }
        views
    }

    /// Whether every party of a receipt's use has attested it.
    pub fn is_whole(&self, leaf: u64) -> bool {
        self.receipts.get(&leaf).is_some_and(|receipt| receipt.whole_at.is_some())
    }

    /// A receipt's contracts, time of issue and hash.
    pub fn receipt_at(&self, leaf: u64) -> Option<(&BTreeSet<ContractId>, UnixMillis, LeafRef)> {
        let receipt = self.receipts.get(&leaf)?;
        Some((&receipt.contracts, receipt.issued, LeafRef { index: leaf, hash: receipt.hash }))
    }

    /// When the newest receipt was issued.
    pub fn newest(&self) -> UnixMillis {
        self.newest
    }

    /// The period that a party closed last.
    pub fn closed(&self, party: &NodeId) -> Option<Period> {
        self.closed.get(party).copied()
    }

    /// The lines of a receipt under a plan that could be billed, with their places.
    pub fn lines(&self, plan: &Hash, leaf: u64) -> Vec<(u32, LineView)> {
        let Some(receipt) = self.receipts.get(&leaf) else { return Vec::new() };
        let signed = self.disputed.get(&(*plan, leaf)).into_iter().flatten().filter_map(|at| self.disputes.get(at));
        let mut about: Vec<_> = signed.map(|d| (d.line, d.ruled)).collect();
        let differing = (0u32..).zip(&receipt.lines).filter_map(|(line, _)| self.differs(plan, leaf, line));
        about.extend(differing.map(|found| (found.line, found.ruled)));
        let view = |(index, line): (u32, &super::Line)| {
            let recorded = line.quantity.filter(|_| line.class != Class::C)?;
            let mut bars = about.iter().filter(|(of, _)| of.is_none_or(|of| of == index)).map(|(_, ruled)| *ruled);
            let now = self.quantity(plan, leaf, index, recorded, u64::MAX);
            let void = bars.clone().any(|ruled| ruled.is_some_and(|(_, outcome)| outcome == Outcome::Void));
            let held = bars.any(|ruled| ruled.is_none());
            Some((index, LineView { unit: line.unit, party: line.party, recorded, now, held, void }))
        };
        (0u32..).zip(&receipt.lines).filter_map(view).collect()
    }
}
