//! What releases cost, in whole numbers that are rounded up from the noise to the epsilon: every party of a job, on whatever
//! machine, writes down the same.

use tacit_types::{Code, Fault};

use crate::fixed;
use crate::ratio::Ratio;

/// Draws that one account may hold.
pub const DRAWS_MAX: u64 = 1 << 40;
/// The greatest epsilon that is given, in millionths. A greater one promises nobody anything.
pub const EPSILON_MAX_MICRO: u64 = 20_000_000;
/// The orders of the Rényi curve.
pub const ORDERS: [u32; 80] = orders();
/// Costs of zero-concentrated and Rényi privacy are in parts of this.
const UNIT: u128 = 1_000_000_000_000;
/// What a table's distance from its distribution takes of delta in each draw, in parts of 10^24: (1 + e^20) 2^-96 is less
/// than 2^-64, which is 54,211 of them.
const DELTA_OF_A_DRAW: u128 = 54_211;
/// One, in the parts in which delta is shared out.
const DELTA_PARTS: u128 = 1_000_000_000_000_000_000_000_000;
/// Orders between the whole ones, in eighths, at which a concentrated cost is converted too.
const EIGHTHS: core::ops::RangeInclusive<u128> = 9..=64;

const fn orders() -> [u32; 80] {
    let mut orders = [0; 80];
    let mut i = 0;
    while i < 80 {
        // 2 to 64, then in steps of a quarter of the power of two before.
        let past = i as u32 + 2;
        orders[i] = if past <= 64 { past } else { (1 << (6 + (past - 65) / 4)) / 4 * (5 + (past - 65) % 4) };
        i += 1;
    }
    orders
}

/// The chance with which a bound may fail, in parts of 10^15.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Delta(u64);

impl Delta {
    /// So many parts of 10^15.
    ///
    /// # Errors
    /// `refused.parameters` unless it lies between 0 and 1.
    pub fn from_femto(parts: u64) -> Result<Self, Fault> {
        if (1..1_000_000_000_000_000).contains(&parts) {
            return Ok(Self(parts));
        }
        Err(Fault::new(Code::RefusedParameters, format!("delta: {parts}e-15 does not lie between 0 and 1")))
    }

    /// In parts of 10^15.
    pub const fn femto(self) -> u64 {
        self.0
    }
}

/// What has been spent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spending {
    /// Epsilon in millionths, while all of it was pure.
    pure: Option<u64>,
    /// Zero-concentrated privacy, while all of it was.
    rho: Option<u64>,
    /// By order.
    curve: [u64; ORDERS.len()],
    draws: u64,
}

impl Default for Spending {
    fn default() -> Self {
        Self { pure: Some(0), rho: Some(0), curve: [0; ORDERS.len()], draws: 0 }
    }
}

impl Spending {
    /// A release of `draws` numbers with discrete Laplace noise: pure, the sensitivity by its scale. `l1` is how much
    /// one record changes all numbers together.
    ///
    /// # Errors
    /// `refused.parameters` for a cost that is out of all bounds.
    pub fn laplace(l1: u64, scale: Ratio, draws: u64) -> Result<Self, Fault> {
        let micro = u128::from(l1) * 1_000_000 * u128::from(scale.den());
        Self::pure(count(micro.div_ceil(u128::from(scale.num())))?, draws)
    }

    /// A release that is epsilon-private without a delta, which is (epsilon^2 / 2)-concentrated (Bun and Steinke 2016,
    /// proposition 3.3).
    ///
    /// # Errors
    /// As for [`Spending::laplace`].
    pub fn pure(epsilon_micro: u64, draws: u64) -> Result<Self, Fault> {
        let rho = (u128::from(epsilon_micro) * u128::from(epsilon_micro)).div_ceil(2);
        let whole = count(u128::from(epsilon_micro) * 1_000_000)?;
        let mut spending = Self::concentrated(count(rho)?, draws)?;
        spending.curve.iter_mut().for_each(|cost| *cost = whole.min(*cost));
        spending.pure = Some(epsilon_micro);
        Ok(spending)
    }

    /// A release of `draws` numbers with discrete Gaussian noise: `l2_squared` / (2 variance), as for the continuous one
    /// (Canonne, Kamath and Steinke 2020, theorem 4 and, for many numbers, theorem 14).
    ///
    /// # Errors
    /// As for [`Spending::laplace`].
    pub fn gaussian(l2_squared: u64, variance: Ratio, draws: u64) -> Result<Self, Fault> {
        let above = product(&[l2_squared.into(), variance.den().into(), UNIT]).ok_or_else(unbounded)?;
        Self::concentrated(count(above.div_ceil(2 * u128::from(variance.num())))?, draws)
    }

    /// A release of `draws` numbers with Skellam noise of this variance in all (Agarwal, Kairouz and Liu 2021,
    /// theorem 3.5 and corollary 3.6). `l1` is at least the root of `l2_squared`.
    ///
    /// # Errors
    /// As for [`Spending::laplace`].
    pub fn skellam(l1: u64, l2_squared: u64, variance: Ratio, draws: u64) -> Result<Self, Fault> {
        let (num, den) = (u128::from(variance.num()), u128::from(variance.den()));
        let mut spending = Self { pure: None, rho: None, draws: checked(draws)?, ..Self::default() };
        for (order, cost) in ORDERS.iter().zip(&mut spending.curve) {
            let order = u128::from(*order);
            let normal = product(&[order, l2_squared.into(), den, UNIT]).ok_or_else(unbounded)?.div_ceil(2 * num);
            let flat = product(&[3, l1.into(), den, UNIT]).ok_or_else(unbounded)?.div_ceil(2 * num);
            let near = product(&[2 * order - 1, l2_squared.into()])
                .and_then(|squares| squares.checked_add(6 * u128::from(l1)))
                .and_then(|sum| product(&[sum, den, den, UNIT]))
                .map(|above| above.div_ceil(4 * num * num));
            *cost = count(normal.checked_add(near.map_or(flat, |near| near.min(flat))).ok_or_else(unbounded)?)?;
        }
        Ok(spending)
    }

    fn concentrated(rho: u64, draws: u64) -> Result<Self, Fault> {
        let mut spending = Self { pure: None, rho: Some(rho), draws: checked(draws)?, ..Self::default() };
        for (order, cost) in ORDERS.iter().zip(&mut spending.curve) {
            *cost = count(u128::from(*order) * u128::from(rho))?;
        }
        Ok(spending)
    }

    /// Both, one after the other or side by side on the same records.
    ///
    /// # Errors
    /// As for [`Spending::laplace`].
    pub fn and(&self, other: &Self) -> Result<Self, Fault> {
        let both = |a: Option<u64>, b: Option<u64>| a.zip(b).and_then(|(a, b)| a.checked_add(b));
        let mut curve = self.curve;
        for (sum, more) in curve.iter_mut().zip(other.curve) {
            *sum = sum.checked_add(more).ok_or_else(unbounded)?;
        }
        let (pure, rho) = (both(self.pure, other.pure), both(self.rho, other.rho));
        Ok(Self { pure, rho, curve, draws: checked(self.draws.saturating_add(other.draws))? })
    }

    /// Zero-concentrated privacy in parts of 10^12, while all of it was.
    pub const fn rho(&self) -> Option<u64> {
        self.rho
    }

    /// Epsilon for this delta in millionths, rounded up: the least that one of the bounds gives.
    ///
    /// # Errors
    /// `refused.parameters` when the draws alone use delta up, or no bound is at most [`EPSILON_MAX_MICRO`].
    pub fn epsilon_micro(&self, delta: Delta) -> Result<u64, Fault> {
        let of_draws = u128::from(self.draws) * DELTA_OF_A_DRAW;
        let left = (u128::from(delta.0) * 1_000_000_000).checked_sub(of_draws).filter(|left| *left > 0);
        let left = left.ok_or_else(|| {
            let what = format!("delta: {} draws of noise take more of it than there is", self.draws);
            Fault::new(Code::RefusedParameters, what)
        })?;
        let chance = pico(fixed::ln(DELTA_PARTS, left)) + 2;
        let of_curve = ORDERS.iter().zip(&self.curve).map(|(order, cost)| {
            let order = u128::from(*order);
            i128::from(*cost).saturating_add(beyond(order, 1, chance))
        });
        let of_rho = self.rho.into_iter().flat_map(|rho| {
            let cost = move |order: u128| (order * u128::from(rho)).div_ceil(8).cast_signed();
            EIGHTHS.map(move |order| cost(order).saturating_add(beyond(order, 8, chance)))
        });
        let least = of_curve.chain(of_rho).min().unwrap_or(i128::MAX).max(0);
        let micro = u64::try_from(least.cast_unsigned().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let micro = micro.min(self.pure.unwrap_or(u64::MAX));
        if micro <= EPSILON_MAX_MICRO { Ok(micro) } else { Err(unbounded()) }
    }
}

/// The least variance, in quarters, whose cost is within epsilon and delta. `cost` falls as the variance grows.
///
/// # Errors
/// `refused.parameters` when none is.
pub fn least_variance(
    epsilon_micro: u64,
    delta: Delta,
    cost: impl Fn(Ratio) -> Result<Spending, Fault>,
) -> Result<Ratio, Fault> {
    let within = |quarters: u64| {
        let spent = Ratio::new(quarters, 4).and_then(&cost).and_then(|spent| spent.epsilon_micro(delta));
        spent.is_ok_and(|epsilon| epsilon <= epsilon_micro)
    };
    let (mut low, mut high) = (0, crate::RATIO_MAX);
    if !within(high) {
        return Err(unbounded());
    }
    while low + 1 < high {
        let middle = low.midpoint(high);
        if within(middle) { high = middle } else { low = middle }
    }
    Ratio::new(high, 4)
}

/// What epsilon is above the Rényi cost at the order `num / den`, in parts of 10^12, rounded up (Canonne, Kamath and Steinke
/// 2020, proposition 12). `chance` is the logarithm of 1/delta.
fn beyond(num: u128, den: u128, chance: i128) -> i128 {
    // Each logarithm is right to the last place, so that one more is above it.
    let shrink = pico(fixed::ln(num, num - den)) - 1;
    let rest = (chance - pico(fixed::ln(num, den)) + 1) * den.cast_signed();
    let by = (num - den).cast_signed();
    rest.div_euclid(by) + 1 - shrink
}

/// A logarithm in parts of 10^12, rounded down.
fn pico(ln: u128) -> i128 {
    // Below 64 in 120 places: 46 bits and 80 fit.
    (((ln >> 40) * UNIT) >> 80).cast_signed()
}

fn product(factors: &[u128]) -> Option<u128> {
    factors.iter().try_fold(1u128, |all, factor| all.checked_mul(*factor))
}

fn count(value: u128) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| unbounded())
}

fn checked(draws: u64) -> Result<u64, Fault> {
    if draws <= DRAWS_MAX {
        return Ok(draws);
    }
    Err(Fault::new(Code::RefusedParameters, format!("noise: {draws} draws; an account holds {DRAWS_MAX}")))
}

fn unbounded() -> Fault {
    let what = format!("noise: too little for these records: epsilon would be above {}", EPSILON_MAX_MICRO / 1_000_000);
    Fault::new(Code::RefusedParameters, what)
}

#[cfg(test)]
mod tests;
