//! What is due: the close of a party and the charge of a plan, as the leaves of the log give them.

use std::collections::BTreeMap;

use tacit_types::unit::Class;
use tacit_types::{Code, Fault, Hash, NodeId};

use super::{Ledger, Plan, Receipt};
use crate::money::amount::too_large;
use crate::money::plan::{Counted, PricePlan};
use crate::money::rate::{Usage, rate};
use crate::money::share::share;
use crate::money::statement::{
    CAUSES_MAX, Charge, Due, MONEY_VERSION, Outcome, Period, PeriodClose, SUMS_MAX, UnitSum,
};
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

fn off(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptPeriod, what)
}

/// What a period was used for under a plan, and the leaves that changed it since the receipts.
struct Used {
    usage: Usage,
    causes: Vec<u64>,
    /// Lines that are left out because their observers differ.
    disputed: u64,
}

impl Ledger {
    /// A party's close of a period: as the party signs it, and as everyone else counts it.
    ///
    /// # Errors
    /// `receipt.amount` when a sum overflows, `receipt.period_close` for more than [`SUMS_MAX`] sums.
    pub fn close(&self, party: &NodeId, period: Period) -> Result<PeriodClose, Fault> {
        let all = self.attested.get(party).map_or(&[][..], Vec::as_slice);
        // Leaves come in order, so the period's are together.
        let from = all.partition_point(|(leaf, _)| *leaf < period.first);
        let numbers: Vec<u64> =
            all.iter().skip(from).take_while(|(leaf, _)| period.holds(*leaf)).map(|(_, seq)| *seq).collect();
        let (mut sums, mut disputed) = (BTreeMap::new(), 0u64);
        for (_, receipt) in self.receipts.range(period.first..period.end.max(period.first)) {
            if !receipt.ok || !receipt.parties.contains(party) {
                continue;
            }
            for line in receipt.lines.iter().filter(|l| l.class != Class::C) {
                if !line.differing.is_empty() {
                    disputed = disputed.saturating_add(1);
                    continue;
                }
                for contract in &receipt.contracts {
                    let sum: &mut u64 = sums.entry((*contract, line.unit)).or_default();
                    let quantity = line.quantity.unwrap_or_default();
                    *sum = sum.checked_add(quantity).ok_or_else(|| too_large("a sum of usage"))?;
                }
            }
        }
        if sums.len() > SUMS_MAX {
            let what = format!("{} sums; {SUMS_MAX} fit: close a shorter period", sums.len());
            return Err(Fault::new(Code::ReceiptPeriodClose, what));
        }
        let sum = |((contract, unit), quantity)| UnitSum { contract, unit, quantity };
        Ok(PeriodClose {
            version: MONEY_VERSION,
            origin: self.origin.clone(),
            period,
            first_seq: numbers.iter().min().copied(),
            last_seq: numbers.iter().max().copied(),
            count: numbers.len() as u64,
            sums: sums.into_iter().map(sum).collect(),
            disputed: Some(disputed).filter(|lines| *lines > 0),
        })
    }

    /// The next charge of a plan for a period: as the coordinator issues it, and as everyone else rates it. For a
    /// period that was charged before, the difference to that.
    ///
    /// # Errors
    /// `receipt.unagreed` when the plan, or a valuation that its split needs, is not in force; `receipt.period` when
    /// the period is not the next one or one of those charged, or receipts lie outside its times;
    /// `receipt.not_billable` for a commitment where a quantity is rated; what [`rate`] and [`share`] give.
    pub fn charge(&self, id: &Hash, period: Period, as_of: u64) -> Result<Charge, Fault> {
        let plan = self.known(id)?;
        if plan.since >= as_of {
            return Err(Fault::new(Code::ReceiptUnagreed, "the price plan was not in force yet"));
        }
        let before = plan.before(&period, as_of)?;
        let used = self.used(id, plan, &period, as_of)?;
        let valuation = self.valued(id, &period).filter(|(since, _)| *since < as_of);
        let charges: Vec<&Charge> =
            before.iter().filter_map(|leaf| self.charges.get(leaf)).map(|c| &c.charge).collect();
        let carried_in = match charges.first() {
            // A correction does not reach into later periods: the allowance stays what it was.
            Some(first) => first.carried_in,
            None => plan.last_before(&period).and_then(|l| self.charges.get(&l)).map_or(0, |c| c.charge.carried_out),
        };
        if charges.last().is_some_and(|last| last.as_of > as_of) {
            return Err(off("the charge before it looked at a larger log"));
        }
        let rated = rate(&plan.plan, &used.usage, carried_in)?;
        let mut shares: BTreeMap<NodeId, i128> = BTreeMap::new();
        for part in share(&plan.plan, rated.total, &used.usage, valuation.map(|(_, v)| v))? {
            *shares.entry(part.party).or_default() += i128::from(part.fen);
        }
        for due in charges.iter().flat_map(|c| &c.shares) {
            *shares.entry(due.party).or_default() -= i128::from(due.fen);
        }
        let sum: i128 = charges.iter().map(|c| i128::from(c.due)).sum();
        let before = u64::try_from(sum).map_err(|_| too_large("what was charged before"))?;
        let narrow = |fen: i128| i64::try_from(fen).map_err(|_| too_large("what is due"));
        let seen = charges.last().map_or(0, |last| last.as_of);
        let causes: Vec<u64> = used.causes.into_iter().filter(|leaf| *leaf >= seen).collect();
        if causes.len() > CAUSES_MAX {
            let what = format!("{} corrections and rulings; charge as of a smaller log first", causes.len());
            return Err(Fault::new(Code::ReceiptCharge, what));
        }
        let due = |(party, fen)| narrow(fen).map(|fen| Due { party, fen });
        Ok(Charge {
            version: MONEY_VERSION,
            origin: self.origin.clone(),
            plan: *id,
            period,
            as_of,
            lines: rated.lines,
            total: rated.total,
            before,
            due: narrow(i128::from(rated.total) - i128::from(before))?,
            carried_in,
            carried_out: rated.carried,
            shares: shares.into_iter().map(due).collect::<Result<_, _>>()?,
            causes,
            valuation: valuation.filter(|_| plan.plan.split.needs_valuation()).map(|(since, _)| *since),
            disputed: Some(used.disputed).filter(|lines| *lines > 0),
        })
    }

    /// Sums the receipts of a period that count: with a result, whole, after the plan, and neither on hold nor void.
    fn used(&self, id: &Hash, plan: &Plan, period: &Period, as_of: u64) -> Result<Used, Fault> {
        let mut used = Used { usage: Usage::default(), causes: Vec::new(), disputed: 0 };
        let first = period.first.max(plan.since.saturating_add(1));
        for (leaf, receipt) in self.receipts.range(first..period.end.max(first)) {
            if !receipt.contracts.contains(&plan.plan.contract) {
                continue;
            }
            let (early, late) = (receipt.issued.plus(CLOCK_SKEW_MILLIS_MAX), period.until.plus(CLOCK_SKEW_MILLIS_MAX));
            if early < period.from || receipt.issued >= late {
                return Err(off(format!("the receipt of leaf {leaf} was issued at {}, outside of it", receipt.issued)));
            }
            if receipt.ok && receipt.whole_at.is_some_and(|at| at < as_of) {
                self.add(&mut used, id, &plan.plan, *leaf, receipt, as_of)?;
            }
        }
        used.causes.sort_unstable();
        used.causes.dedup();
        Ok(used)
    }

    fn add(
        &self,
        used: &mut Used,
        id: &Hash,
        plan: &PricePlan,
        leaf: u64,
        receipt: &Receipt,
        as_of: u64,
    ) -> Result<(), Fault> {
        let signed = self.disputed.get(&(*id, leaf)).into_iter().flatten().filter(|at| **at < as_of);
        let signed = signed.filter_map(|at| self.disputes.get(at)).map(|d| (d.line, d.ruled, false));
        // Whatever plan rates the receipt has its disputed lines in dispute, from the receipt on.
        let differing = (0u32..).zip(&receipt.lines).filter(|(_, line)| !line.differing.is_empty()).map(|(line, _)| {
            let ruled = self.line_rulings.get(&(*id, leaf, line)).map(|r| r.ruled);
            (Some(line), ruled, true)
        });
        let disputes: Vec<_> = signed
            .chain(differing)
            .map(|(line, ruled, differ)| (line, ruled.filter(|(at, _)| *at < as_of), differ))
            .collect();
        used.causes.extend(disputes.iter().filter_map(|(_, ruled, _)| ruled.map(|(at, _)| at)));
        let open = disputes.iter().filter(|(_, ruled, differ)| *differ && ruled.is_none()).count() as u64;
        used.disputed = used.disputed.saturating_add(open);
        for (index, line) in (0u32..).zip(&receipt.lines) {
            let key = (*id, leaf, index);
            let changed = self.corrections.get(&key).into_iter().flatten().map(|(since, _)| *since);
            used.causes.extend(changed.filter(|since| *since < as_of));
            let barred = |(of, ruled, _): &(Option<u32>, Option<(u64, Outcome)>, bool)| {
                of.is_none_or(|of| of == index) && ruled.is_none_or(|(_, outcome)| outcome == Outcome::Void)
            };
            if line.class == Class::C || disputes.iter().any(barred) {
                continue;
            }
            let Some(recorded) = line.quantity else {
                let counts = |c: Counted| c == Counted::Every || plan.payees.binary_search(&line.party).is_ok();
                if plan.price(line.unit).is_some_and(|price| counts(price.counted)) {
                    let what = format!("line {index} of leaf {leaf} is a commitment");
                    return Err(Fault::new(Code::ReceiptNotBillable, what));
                }
                continue;
            };
            used.usage.add(line.unit, line.party, self.quantity(id, leaf, index, recorded, as_of))?;
        }
        Ok(())
    }
}

impl Plan {
    /// Whether a receipt can be in a period of this plan: issued while it holds, give or take what clocks may differ, and after it
    /// came into force. Its disputed lines are in dispute under it then, and under no plan that is over or has yet to begin.
    pub(super) fn rates(&self, leaf: u64, receipt: &Receipt) -> bool {
        let (early, until) =
            (receipt.issued.plus(CLOCK_SKEW_MILLIS_MAX), self.plan.valid_until.plus(CLOCK_SKEW_MILLIS_MAX));
        receipt.contracts.contains(&self.plan.contract)
            && self.since < leaf
            && self.plan.valid_from <= early
            && receipt.issued < until
    }

    /// The leaves of the charges of a period, which is one of those charged or the next.
    fn before(&self, period: &Period, as_of: u64) -> Result<&[u64], Fault> {
        if period.from < self.plan.valid_from || period.until > self.plan.valid_until {
            return Err(off("it is outside the validity of the price plan"));
        }
        if period.end > as_of {
            return Err(off("it is not over"));
        }
        if let Some(charges) = self.periods.get(period) {
            return Ok(charges);
        }
        let follows = match self.periods.last_key_value() {
            Some((last, _)) => last.is_followed_by(period),
            // Nothing that the plan could rate is left out before the first.
            None => period.first <= self.since.saturating_add(1),
        };
        if follows { Ok(&[]) } else { Err(off("it neither was charged before nor follows the last one charged")) }
    }

    /// The newest charge of the period before.
    fn last_before(&self, period: &Period) -> Option<u64> {
        self.periods.range(..period).next_back().and_then(|(_, charges)| charges.last().copied())
    }
}

/// Says in what a charge differs from the one that the log gives.
pub(super) fn compare(stated: &Charge, ours: &Charge) -> Result<(), Fault> {
    if stated == ours {
        return Ok(());
    }
    let what = if stated.total != ours.total {
        format!("{} fen in all; the receipts give {}", stated.total, ours.total)
    } else if stated.lines != ours.lines {
        let differs = |(a, b): &(_, _)| a != b;
        let at = stated.lines.iter().zip(&ours.lines).position(|pair| differs(&pair));
        format!("line {} is not the rated one", at.unwrap_or(stated.lines.len().min(ours.lines.len())))
    } else if stated.before != ours.before {
        format!("{} fen were charged before; the log has {}", stated.before, ours.before)
    } else if (stated.carried_in, stated.carried_out) != (ours.carried_in, ours.carried_out) {
        let (a, b, c, d) = (stated.carried_in, stated.carried_out, ours.carried_in, ours.carried_out);
        format!("permitted revenue of {a} came in and {b} goes on; the log gives {c} and {d}")
    } else if stated.disputed != ours.disputed {
        let [a, b] = [stated, ours].map(|c| c.disputed.unwrap_or_default());
        format!("it leaves {a} disputed lines out; the log has {b}")
    } else if stated.causes != ours.causes {
        format!("it names {:?} as its causes; the log has {:?}", stated.causes, ours.causes)
    } else if let Some((a, b)) = stated.shares.iter().zip(&ours.shares).find(|(a, b)| a != b) {
        format!("{} gets {} fen; the split gives {} {}", a.party.short(), a.fen, b.party.short(), b.fen)
    } else {
        "its shares or its valuation are not those of the plan".into()
    };
    Err(Fault::new(Code::ReceiptCharge, what))
}
