//! The end of a period: which charges and settlements a coordinator issues then. It follows from the log and three
//! numbers, so a close that was cut off goes on where it stopped, and issues nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use tacit_types::{Code, Fault, Hash, UnixMillis};

use super::{Ledger, Plan};
use crate::money::statement::{Charge, Period, SETTLED_CHARGES_MAX, Settlement};

/// Where a period ends, and what is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Cut {
    /// Receipts that were issued before this time are the period's.
    #[n(1)]
    pub until: UnixMillis,
    /// The size of the log that is looked at.
    #[n(2)]
    pub as_of: u64,
}

/// A charge that a plan should have and cannot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withheld {
    /// The plan.
    pub plan: Hash,
    /// Why.
    pub fault: Fault,
}

impl Ledger {
    /// The leaf after the last receipt that was issued before a time, of the first `as_of` leaves. Leaves of another
    /// kind that follow it are before the end as well.
    pub fn end(&self, until: UnixMillis, as_of: u64) -> u64 {
        let late = self.receipts.range(..as_of).rev().take_while(|(_, receipt)| receipt.issued >= until);
        late.last().map_or(as_of, |(leaf, _)| *leaf)
    }

    /// The charges that a cut calls for and the log does not have yet: of every plan that was in force, its next
    /// period up to the cut, and again those of its earlier periods that corrections, rulings, disputes or late
    /// attestations have changed. In the order of the plans' hashes.
    ///
    /// A plan whose charge cannot be made is withheld, and holds up no other.
    pub fn due(&self, cut: Cut) -> (Vec<Charge>, Vec<Withheld>) {
        let (mut charges, mut withheld) = (Vec::new(), Vec::new());
        for (id, plan) in self.plans.iter().filter(|(_, plan)| plan.since < cut.as_of) {
            let next = self.next(plan, cut).map(|period| self.charge(id, period, cut.as_of));
            let seen = |period: &&Period| plan.periods.get(*period).is_some_and(|c| !self.looked(c, cut.as_of));
            let again = plan.periods.keys().filter(seen).map(|period| self.charge(id, *period, cut.as_of));
            // What the next period carries in is what the log has before its earlier periods are charged again.
            for charge in next.map(|c| (c, false)).into_iter().chain(again.map(|c| (c, true))) {
                match charge {
                    (Ok(charge), true) if !changes(&charge) => {}
                    (Ok(charge), _) => charges.push(charge),
                    (Err(fault), _) => withheld.push(Withheld { plan: *id, fault }),
                }
            }
        }
        (charges, withheld)
    }

    /// The period of a plan that a cut would charge next; none when there is nothing to charge, or no such plan.
    pub fn upcoming(&self, plan: &Hash, cut: Cut) -> Option<Period> {
        self.plans.get(plan).and_then(|plan| self.next(plan, cut))
    }

    /// Whether one of some charges has looked at this size of the log, or at more.
    fn looked(&self, charges: &[u64], as_of: u64) -> bool {
        charges.iter().filter_map(|leaf| self.charges.get(leaf)).any(|c| c.charge.as_of >= as_of)
    }

    /// The period of a plan from its last charge to a cut; none when there is no time in between.
    fn next(&self, plan: &Plan, cut: Cut) -> Option<Period> {
        let (first, from) = match plan.periods.last_key_value() {
            Some((last, _)) => (last.end, last.until),
            None => (plan.since, plan.plan.valid_from),
        };
        let until = cut.until.min(plan.plan.valid_until);
        let end = self.end(until, cut.as_of);
        // What came into force after the cut begins with the next one.
        let begun = !plan.periods.is_empty() || first < end;
        (begun && from < until).then_some(Period { first, end: end.max(first), from, until })
    }

    /// The settlements of every charge up to a size of the log that none has taken: one of each currency, more where
    /// one would pass a cap.
    ///
    /// # Errors
    /// What [`Ledger::settlement`] gives for a single charge.
    pub fn owed(&self, as_of: u64) -> Result<Vec<Settlement>, Fault> {
        let mut by_currency: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (leaf, charge) in self.unsettled().filter(|(_, charge)| charge.as_of <= as_of) {
            by_currency.entry(&self.known(&charge.plan)?.plan.currency).or_default().push(leaf);
        }
        let mut settlements = Vec::new();
        for (currency, leaves) in by_currency {
            let mut parts: Vec<&[u64]> = leaves.chunks(SETTLED_CHARGES_MAX).rev().collect();
            while let Some(part) = parts.pop() {
                let set: BTreeSet<u64> = part.iter().copied().collect();
                match self.settlement(currency, &set) {
                    Ok(settlement) => settlements.push(settlement),
                    Err(fault) if fault.code == Code::ReceiptSettlement && part.len() > 1 => {
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.extend([right, left]);
                    }
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(settlements)
    }
}

/// Whether a charge of a period that was charged before says anything new.
fn changes(charge: &Charge) -> bool {
    charge.due != 0 || !charge.causes.is_empty() || charge.shares.iter().any(|share| share.fen != 0)
}
