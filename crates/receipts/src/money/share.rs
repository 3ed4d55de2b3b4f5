//! How the payees divide what is paid. Shares add up to the amount always: a fen that a rule cannot place goes by
//! largest remainder, ties to the lesser party id.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::Transcript;
use tacit_types::{Code, Fault, Hash, NodeId};

use super::amount::{PPM, half_even, largest_remainder, too_large};
use super::plan::{PLAYERS_MAX, PricePlan, Split};
use super::rate::Usage;
use super::statement::{Period, Valuation};
use crate::receipt::SeenCheckpoint;

/// What a party gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// The party.
    pub party: NodeId,
    /// Fen.
    pub fen: u64,
}

/// Divides an amount as a plan says: the commission first, then among the payees. Ascending by party, each once;
/// whoever takes the commission and is a payee as well has one share.
///
/// # Errors
/// What [`PricePlan::check`] gives; `receipt.unagreed` when the split needs a valuation and there is none; `receipt.plan` when the valuation is not
/// the one that the split needs; `receipt.amount` on overflow.
pub fn share(plan: &PricePlan, total: u64, usage: &Usage, valuation: Option<&Valuation>) -> Result<Vec<Share>, Fault> {
    plan.check()?;
    let commission = match &plan.commission {
        None => 0,
        Some(commission) => {
            let product = i128::from(total) * i128::from(commission.ppm);
            u64::try_from(half_even(product, i128::from(PPM))).map_err(|_| too_large("the commission"))?
        }
    };
    let rest = total.checked_sub(commission).ok_or_else(|| too_large("the commission"))?;
    let mut shares: BTreeMap<NodeId, u64> =
        largest_remainder(rest, &weights(plan, usage, valuation)?)?.into_iter().collect();
    if let Some(taker) = &plan.commission {
        let own = shares.entry(taker.party).or_default();
        *own = own.checked_add(commission).ok_or_else(|| too_large("the commission"))?;
    }
    Ok(shares.into_iter().map(|(party, fen)| Share { party, fen }).collect())
}

fn weights(plan: &PricePlan, usage: &Usage, valuation: Option<&Valuation>) -> Result<Vec<(NodeId, u128)>, Fault> {
    let payees = plan.payees.iter().copied();
    Ok(match &plan.split {
        Split::Equal => payees.map(|p| (p, 1)).collect(),
        Split::Fixed { parts } => payees.zip(parts.iter().map(|part| u128::from(*part))).collect(),
        Split::Proportional { unit } => payees.map(|p| (p, u128::from(usage.own(*unit, &p)))).collect(),
        Split::LeaveOneOut | Split::Shapley | Split::ShapleySampled { .. } => {
            let missing = || Fault::new(Code::ReceiptUnagreed, "the valuation that the split needs");
            let worth = worth(plan, valuation.ok_or_else(missing)?)?;
            // A party that harms the whole is not paid for it, and pays nothing either.
            payees.zip(worth.into_iter().map(|w| u128::try_from(w).unwrap_or_default())).collect()
        }
    })
}

/// The coalitions whose values a split looks at, the empty one aside; bit i is the i-th payee. None for a plan that
/// does not pass its own check.
pub fn coalitions(plan: &PricePlan, period: &Period, seed: Option<&SeenCheckpoint>) -> BTreeSet<u32> {
    if plan.check().is_err() {
        return BTreeSet::new();
    }
    let n = plan.payees.len().min(PLAYERS_MAX);
    let whole = whole(n);
    match &plan.split {
        Split::Equal | Split::Fixed { .. } | Split::Proportional { .. } => BTreeSet::new(),
        Split::LeaveOneOut => {
            (0..n).map(|i| whole & !(1 << i)).chain([whole]).filter(|coalition| *coalition != 0).collect()
        }
        Split::Shapley => (1..=whole).collect(),
        Split::ShapleySampled { samples } => seed.map_or_else(BTreeSet::new, |seed| {
            let mut found = BTreeSet::new();
            for order in orders(plan, period, seed, *samples) {
                order.iter().fold(0u32, |before, player| {
                    found.insert(before | 1 << player);
                    before | 1 << player
                });
            }
            found
        }),
    }
}

fn whole(n: usize) -> u32 {
    u32::try_from((1u64 << n.min(PLAYERS_MAX)) - 1).unwrap_or(u32::MAX)
}

/// What each payee is worth to the whole, in a scale of the split's own.
fn worth(plan: &PricePlan, valuation: &Valuation) -> Result<Vec<i128>, Fault> {
    let wrong = |what: &str| Fault::new(Code::ReceiptPlan, format!("the valuation: {what}"));
    let n = plan.payees.len();
    let seed = valuation.seed.as_ref();
    if matches!(plan.split, Split::ShapleySampled { .. }) != seed.is_some() {
        return Err(wrong("a checkpoint is named for sampling and for nothing else"));
    }
    let values: BTreeMap<u32, i128> = valuation.values.iter().map(|v| (v.coalition, i128::from(v.value))).collect();
    if !coalitions(plan, &valuation.period, seed).iter().eq(values.keys()) {
        return Err(wrong("its coalitions are not those that the split looks at"));
    }
    // proof: the keys are exactly the coalitions asked for below; the empty one is worth nothing.
    let value = |coalition: u32| values.get(&coalition).copied().unwrap_or_default();
    let whole = whole(n);
    Ok(match &plan.split {
        Split::ShapleySampled { samples } => {
            let mut sums = vec![0i128; n];
            for order in orders(plan, &valuation.period, seed.unwrap_or(&NOWHERE), *samples) {
                let mut before = 0u32;
                for player in order {
                    let after = before | 1 << player;
                    if let Some(sum) = sums.get_mut(player) {
                        *sum += value(after) - value(before);
                    }
                    before = after;
                }
            }
            sums
        }
        Split::Shapley => (0..n).map(|i| shapley(n, i, &value)).collect(),
        _ => (0..n).map(|i| value(whole) - value(whole & !(1 << i))).collect(),
    })
}

const NOWHERE: SeenCheckpoint = SeenCheckpoint { size: 0, root: Hash([0; 32]) };

/// n! times the Shapley value of one of at most six players (Shapley 1953, formula 13).
fn shapley(n: usize, player: usize, value: &dyn Fn(u32) -> i128) -> i128 {
    let factorial = |k: usize| (1..=k as i128).product::<i128>();
    let without = (0..=whole(n)).filter(|coalition| coalition & (1 << player) == 0);
    without
        .map(|coalition| {
            let size = coalition.count_ones() as usize;
            let weight = factorial(size) * factorial(n.saturating_sub(size + 1));
            weight * (value(coalition | 1 << player) - value(coalition))
        })
        .sum()
}

/// The orders of arrival of a sampled Shapley value: shuffles (Durstenfeld) by draws from SHA-256 in counter mode,
/// seeded from plan, period and checkpoint.
fn orders(plan: &PricePlan, period: &Period, seed: &SeenCheckpoint, samples: u32) -> Vec<Vec<usize>> {
    let seed = Transcript::new("tacit-money/1/shapley")
        .fixed(&plan.id().0)
        .u64(period.first)
        .u64(period.end)
        .u64(seed.size)
        .fixed(&seed.root.0)
        .finish();
    let mut draws = Draws { seed, block: 0, left: Vec::new() };
    let n = plan.payees.len().min(PLAYERS_MAX);
    let order = |_| {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, draws.below(i as u64 + 1) as usize);
        }
        order
    };
    (0..samples).map(order).collect()
}

/// A stream of numbers that any implementation can repeat.
struct Draws {
    seed: Hash,
    block: u64,
    left: Vec<u64>,
}

impl Draws {
    fn next(&mut self) -> u64 {
        loop {
            if let Some(number) = self.left.pop() {
                return number;
            }
            let block = Transcript::new("tacit-money/1/draw").fixed(&self.seed.0).u64(self.block).finish();
            self.block += 1;
            let word = |eight: &[u8]| eight.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
            self.left = block.0.rchunks(8).map(word).collect();
        }
    }

    /// A number below `bound`, each as likely: what would favour the lesser ones is drawn again.
    fn below(&mut self, bound: u64) -> u64 {
        let fair = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let number = self.next();
            if number <= fair {
                return number % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_that_would_favour_the_lesser_numbers_is_drawn_again() {
        let draws = |left: &[u64]| Draws { seed: Hash([0; 32]), block: 0, left: left.to_vec() };
        // The last multiple of 3 is the largest number itself, so that one is over; of 4, none is.
        assert_eq!(draws(&[4, u64::MAX]).below(3), 1);
        assert_eq!(draws(&[4, u64::MAX - 1]).below(3), 2);
        assert_eq!(draws(&[5, u64::MAX - 2]).below(3), 1);
        assert_eq!(draws(&[4, u64::MAX]).below(4), 3);
    }
}
