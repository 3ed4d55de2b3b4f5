use tacit_crypto::Rng;
use tacit_types::{Code, Fault};

use crate::fixed::{ONE, exp_neg, mul, ratio};
use crate::ratio::Ratio;

/// Entries of one table, which bounds the time of a draw and the memory: 2 MiB.
pub const TABLE_ENTRIES_MAX: usize = 1 << 17;
/// A table differs from its distribution by less than two to the minus this, as total variation.
pub const DISTANCE_BITS: u32 = 96;
/// A weight below this, of 2^127 at the peak, ends a table.
const TAIL: u128 = 1 << 20;

/// A distribution over whole numbers: the weight of each, added up.
pub(crate) struct Table {
    first: i64,
    /// Ascending; the last is the total.
    cumulative: Vec<u128>,
}

impl Table {
    /// The magnitude of discrete Laplace noise, P(k) ~ e^(-|k|/scale).
    pub fn laplace(scale: Ratio) -> Result<Self, Fault> {
        Self::magnitudes(|k| exp_neg(k * u128::from(scale.den()), u128::from(scale.num())))
    }

    /// The magnitude of discrete Gaussian noise, P(k) ~ e^(-k^2/(2 variance)).
    pub fn gaussian(variance: Ratio) -> Result<Self, Fault> {
        Self::magnitudes(|k| exp_neg(k * k * u128::from(variance.den()), 2 * u128::from(variance.num())))
    }

    /// Poisson numbers, from the peak outwards: P(k + 1) = P(k) mean / (k + 1).
    pub fn poisson(mean: Ratio) -> Result<Self, Fault> {
        let (num, den) = (u128::from(mean.num()), u128::from(mean.den()));
        let peak = num / den;
        let (mut below, mut weight, mut k) = (Vec::new(), ONE, peak);
        while k > 0 && below.len() <= TABLE_ENTRIES_MAX {
            weight = mul(weight, ratio(k * den, num));
            if weight < TAIL {
                break;
            }
            below.push(weight);
            k -= 1;
        }
        // why: below 2^40.
        let first = peak as i64 - below.len() as i64;
        let mut weights: Vec<u128> = below.into_iter().rev().chain([ONE]).collect();
        (weight, k) = (ONE, peak);
        while weights.len() <= TABLE_ENTRIES_MAX {
            k += 1;
            weight = mul(weight, ratio(num, k * den));
            if weight < TAIL {
                break;
            }
            weights.push(weight);
        }
        Self::new(first, weights)
    }

    /// Weights of 0, 1, 2, ... of which all but the first stand for both signs.
    fn magnitudes(weight: impl Fn(u128) -> u128) -> Result<Self, Fault> {
        // why: bounded by the entries of a table, which `new` checks.
        let weights = (1..=TABLE_ENTRIES_MAX as u128).map(weight).take_while(|w| *w >= TAIL / 2);
        Self::new(0, core::iter::once(ONE / 2).chain(weights).collect())
    }

    fn new(first: i64, weights: Vec<u128>) -> Result<Self, Fault> {
        let entries = weights.len();
        if entries > TABLE_ENTRIES_MAX {
            let what =
                format!("noise: it is spread too far; a table has {TABLE_ENTRIES_MAX} entries: use coarser units");
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        // The total stays below 2^128.
        let shift = entries.next_power_of_two().trailing_zeros();
        let mut total = 0;
        let cumulative = weights
            .into_iter()
            .map(|weight| {
                total += weight >> shift;
                total
            })
            .collect();
        Ok(Self { first, cumulative })
    }

    /// The weight of a number.
    #[cfg(test)]
    pub fn weight(&self, k: i64) -> u128 {
        let Ok(i) = usize::try_from(k - self.first) else { return 0 };
        let up_to = |i: usize| self.cumulative.get(i).copied();
        up_to(i).map_or(0, |sum| sum - i.checked_sub(1).and_then(up_to).unwrap_or(0))
    }

    /// The sum of all weights.
    pub fn total(&self) -> u128 {
        self.cumulative.last().copied().unwrap_or(1)
    }

    /// Draws a number. Every entry is read and none decides on a branch; how often the generator is asked does not
    /// depend on what is drawn.
    pub fn draw(&self, rng: &mut Rng) -> i64 {
        let total = self.total();
        let mask = u128::MAX >> total.leading_zeros();
        let place = loop {
            let place = u128::from_le_bytes(rng.bytes()) & mask;
            if place < total {
                break place;
            }
        };
        self.first + self.cumulative.iter().map(|c| i64::from(*c <= place)).sum::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_more_than_a_table_has_is_refused() {
        assert_eq!(Table::new(0, vec![1; TABLE_ENTRIES_MAX]).unwrap().cumulative.len(), TABLE_ENTRIES_MAX);
        assert!(Table::new(0, vec![1; TABLE_ENTRIES_MAX + 1]).is_err());
        let wide = Ratio::new(1 << 40, 1).unwrap();
        for table in [Table::laplace(wide), Table::gaussian(wide), Table::poisson(wide)] {
            assert_eq!(table.err().map(|f| f.code), Some(Code::RefusedParameters));
        }
    }

    /// Peaks of all entries at once: the total of the largest table has room.
    #[test]
    fn the_largest_total_fits() {
        let table = Table::new(0, vec![ONE; TABLE_ENTRIES_MAX]).unwrap();
        assert_eq!(table.total(), (ONE >> 17) * TABLE_ENTRIES_MAX as u128);
    }

    #[test]
    fn a_draw_takes_each_number_by_its_weight() {
        let table = Table { first: -3, cumulative: vec![1, 1, 4] };
        let mut rng = Rng::from_seed(&tacit_crypto::Secret::new([5; 32]));
        let mut seen = [0u32; 3];
        (0..4000).for_each(|_| seen[(table.draw(&mut rng) + 3) as usize] += 1);
        assert!(seen[0].abs_diff(1000) < 120 && seen[1] == 0, "{seen:?}");
    }
}
