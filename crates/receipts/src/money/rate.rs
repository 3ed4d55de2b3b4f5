//! Rating: usage lines and a plan give the charge of a period. A pure function of sums, so the order of the receipts
//! cannot matter.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault, NodeId, Unit};

use super::amount::{AMOUNT_FEN_MAX, fen, too_large};
use super::plan::{Counted, Price, PricePlan, Regime, Schedule};

/// What was used in a period: by unit and by the party whose use it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage(BTreeMap<(Unit, NodeId), u64>);

impl Usage {
    /// Adds a quantity. Units of class C may be added and are never rated.
    ///
    /// # Errors
    /// `receipt.amount` when the sum overflows.
    pub fn add(&mut self, unit: Unit, party: NodeId, quantity: u64) -> Result<(), Fault> {
        let sum = self.0.entry((unit, party)).or_default();
        *sum = sum.checked_add(quantity).ok_or_else(|| overflow(unit))?;
        Ok(())
    }

    /// A party's own use of a unit.
    pub fn own(&self, unit: Unit, party: &NodeId) -> u64 {
        self.0.get(&(unit, *party)).copied().unwrap_or_default()
    }

    /// The use that a price counts.
    ///
    /// # Errors
    /// `receipt.amount` when the sum overflows.
    pub fn counted(&self, plan: &PricePlan, price: &Price) -> Result<u64, Fault> {
        let of_unit = self.0.iter().filter(|((unit, _), _)| *unit == price.unit);
        let counts = |party: &NodeId| price.counted == Counted::Every || plan.payees.binary_search(party).is_ok();
        of_unit
            .filter(|((_, party), _)| counts(party))
            .try_fold(0u64, |sum, (_, quantity)| sum.checked_add(*quantity))
            .ok_or_else(|| overflow(price.unit))
    }
}

fn overflow(unit: Unit) -> Fault {
    Fault::new(Code::ReceiptAmount, format!("the sum of {} overflows", unit.word()))
}

/// Why a line of a charge is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Item {
    /// A unit was used.
    #[n(0)]
    Use,
    /// A period passed.
    #[n(1)]
    Subscription,
    /// Up to a minimum: of the unit that the line names, else of the plan.
    #[n(2)]
    Minimum,
    /// Down to a maximum: of the unit that the line names, else of the plan.
    #[n(3)]
    Maximum,
    /// Down to the revenue that the regime permits.
    #[n(4)]
    Permitted,
}

/// A line of a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ChargeLine {
    /// Why.
    #[n(1)]
    pub item: Item,
    /// The unit, for a line of one.
    #[n(2)]
    pub unit: Option<Unit>,
    /// How much was used, what is free included; 1 for a subscription, else 0.
    #[n(3)]
    pub quantity: u64,
    /// Fen; below zero for a reduction.
    #[n(4)]
    pub fen: i64,
}

/// A rated period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rated {
    /// A line for each price, then what was added or taken off; they add up to the total.
    pub lines: Vec<ChargeLine>,
    /// Fen.
    pub total: u64,
    /// Permitted revenue that the next period may use beside its own.
    pub carried: u64,
}

/// Rates a period. `carried` is what the period before left of its permitted revenue; 0 for the first.
///
/// Each unit is rounded once, half even. Its minimum and maximum come after, then the subscription, then the plan's
/// minimum and maximum, last what the regime permits.
///
/// # Errors
/// Those of [`PricePlan::check`]; `receipt.amount` when a sum overflows or passes [`AMOUNT_FEN_MAX`].
pub fn rate(plan: &PricePlan, usage: &Usage, carried: u64) -> Result<Rated, Fault> {
    plan.check()?;
    let mut bill = Bill::default();
    for price in &plan.prices {
        let quantity = usage.counted(plan, price)?;
        let charged = quantity.saturating_sub(price.free);
        let unit = price.unit.word();
        let cost = fen(micro(&price.schedule, charged).ok_or_else(|| too_large(unit))?, unit)?;
        bill.add(Item::Use, Some(price.unit), quantity, signed(cost)?)?;
        bill.bound(Some(price.unit), cost, price.minimum, price.maximum)?;
    }
    if plan.subscription > 0 {
        bill.add(Item::Subscription, None, 1, signed(plan.subscription)?)?;
    }
    bill.bound(None, bill.total, plan.minimum, plan.maximum)?;
    let carried = match plan.regime {
        Regime::Market | Regime::FreePublicInterest => 0,
        Regime::Guided { revenue_max, carry_max, .. } => {
            let allowed = revenue_max.checked_add(carried).ok_or_else(|| too_large("the permitted revenue"))?;
            bill.lower(Item::Permitted, None, bill.total, allowed)?;
            allowed.saturating_sub(bill.total).min(carry_max)
        }
    };
    Ok(Rated { lines: bill.lines, total: bill.total, carried })
}

/// What a quantity costs in millionths; none when it overflows.
fn micro(schedule: &Schedule, quantity: u64) -> Option<i128> {
    let product = |quantity: u64, micro: u64| i128::from(quantity).checked_mul(i128::from(micro));
    match schedule {
        Schedule::Each { micro } => product(quantity, *micro),
        Schedule::Volume { tiers } => {
            let tier = tiers.iter().find(|t| t.up_to.is_none_or(|up_to| quantity <= up_to))?;
            product(quantity, tier.micro)
        }
        Schedule::Graduated { tiers } => {
            let (mut below, mut sum) = (0, 0i128);
            for tier in tiers {
                let up_to = tier.up_to.unwrap_or(u64::MAX).min(quantity);
                sum = sum.checked_add(product(up_to.saturating_sub(below), tier.micro)?)?;
                below = up_to;
            }
            Some(sum)
        }
    }
}

fn signed(fen: u64) -> Result<i64, Fault> {
    i64::try_from(fen).map_err(|_| too_large("an amount"))
}

/// Lines with their running total, which never leaves 0 to [`AMOUNT_FEN_MAX`].
#[derive(Default)]
struct Bill {
    lines: Vec<ChargeLine>,
    total: u64,
}

impl Bill {
    fn add(&mut self, item: Item, unit: Option<Unit>, quantity: u64, fen: i64) -> Result<(), Fault> {
        self.total = self
            .total
            .checked_add_signed(fen)
            .filter(|total| *total <= AMOUNT_FEN_MAX)
            .ok_or_else(|| too_large("the charge"))?;
        self.lines.push(ChargeLine { item, unit, quantity, fen });
        Ok(())
    }

    /// Brings `part` of the total, that of a unit or the whole, between its bounds.
    fn bound(&mut self, unit: Option<Unit>, part: u64, least: Option<u64>, most: Option<u64>) -> Result<(), Fault> {
        if let Some(missing) = least.and_then(|least| least.checked_sub(part)).filter(|missing| *missing > 0) {
            self.add(Item::Minimum, unit, 0, signed(missing)?)?;
        }
        most.map_or(Ok(()), |most| self.lower(Item::Maximum, unit, part, most))
    }

    fn lower(&mut self, item: Item, unit: Option<Unit>, part: u64, most: u64) -> Result<(), Fault> {
        match part.checked_sub(most) {
            Some(over) if over > 0 => self.add(item, unit, 0, -signed(over)?),
            _ => Ok(()),
        }
    }
}
