//! Noise that each party adds to its own summand, so that any sum that is opened carries enough of it.
//!
//! A sum of Skellam numbers is one, of the sum of their variances. So with `n` parties of whom at least `survivors_min`
//! are in an opened sum, and at most `colluders` of those take their own noise away again, each adds the whole variance
//! divided by `survivors_min - colluders`. More survivors only add noise.
//!
//! [`SumNoise::plan`] goes from the budget of a release to that part. What a number may change by is counted in units; the
//! finer the unit, the nearer is Skellam noise to normal noise, and the wider its table. The unit is chosen so that a table
//! stays short.

use tacit_types::{Code, Fault};

use crate::account::{Delta, EPSILON_MAX_MICRO, Spending, least_variance};
use crate::noise::Mechanism;
use crate::ratio::Ratio;

/// Units by which one record changes a number at most are a power of two up to this.
pub const UNITS_MAX: u64 = 1 << 20;
/// The variance of one party's part from which on no finer units are taken: a deviation of 512, a table of some ten
/// thousand entries.
pub const PART_VARIANCE_MAX: u64 = 1 << 18;
/// Numbers that one record changes in one release.
pub const TOUCHED_MAX: u64 = 1 << 12;

/// How much of one release one record moves: `touched` numbers, each by at most `units`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sensitivity {
    touched: u64,
    units: u64,
}

impl Sensitivity {
    /// Of `touched` numbers that each change by at most `units`.
    ///
    /// # Errors
    /// `refused.parameters` unless both are at least 1 and at most [`TOUCHED_MAX`] and [`UNITS_MAX`].
    pub fn new(touched: u64, units: u64) -> Result<Self, Fault> {
        if (1..=TOUCHED_MAX).contains(&touched) && (1..=UNITS_MAX).contains(&units) {
            return Ok(Self { touched, units });
        }
        let what =
            format!("noise: a record changes {touched} numbers by {units}; at most {TOUCHED_MAX} by {UNITS_MAX}");
        Err(Fault::new(Code::RefusedParameters, what))
    }

    /// The sum of the magnitudes of all changes.
    pub const fn l1(self) -> u64 {
        self.touched * self.units
    }

    /// The sum of their squares.
    pub const fn l2_squared(self) -> u64 {
        self.touched * self.units * self.units
    }
}

/// Who adds noise, and who of them may not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crowd {
    /// Parties that add noise.
    pub parties: u16,
    /// The fewest of them over which a sum is opened.
    pub survivors_min: u16,
    /// Those among them that may tell their own noise to whoever reads the sum.
    pub colluders: u16,
}

impl Crowd {
    /// Parties in an opened sum whose noise nobody else knows.
    ///
    /// # Errors
    /// `refused.parameters` when no honest party is sure to be left.
    pub fn honest(&self) -> Result<u16, Fault> {
        let left = self.survivors_min.min(self.parties).checked_sub(self.colluders);
        left.filter(|honest| *honest > 0).ok_or_else(|| {
            let what = format!(
                "noise: of {} survivors {} may collude: none is left to add it",
                self.survivors_min, self.colluders
            );
            Fault::new(Code::RefusedParameters, what)
        })
    }
}

/// The part of each party in Skellam noise of this variance.
///
/// # Errors
/// `refused.parameters` when no honest party is sure to be left, or for a variance that cannot be divided.
pub fn part(variance: Ratio, crowd: &Crowd) -> Result<Mechanism, Fault> {
    Ok(Mechanism::Skellam { variance: variance.divided(u64::from(crowd.honest()?))? })
}

/// Noise for one release that many parties make together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SumNoise {
    units: u64,
    whole: Ratio,
    part: Ratio,
}

impl SumNoise {
    /// The least noise under which a release of `numbers` numbers, of which one record changes `touched`, costs at most
    /// `epsilon_micro` at `delta`, whoever of the crowd drops out or colludes.
    ///
    /// # Errors
    /// `refused.parameters` for no budget, one above [`EPSILON_MAX_MICRO`], a crowd without honest survivors, and noise that
    /// is too wide for a table.
    pub fn plan(touched: u64, numbers: u64, epsilon_micro: u64, delta: Delta, crowd: &Crowd) -> Result<Self, Fault> {
        if !(1..=EPSILON_MAX_MICRO).contains(&epsilon_micro) {
            let what = format!("epsilon: {epsilon_micro} millionths; 1 to {EPSILON_MAX_MICRO} are possible");
            return Err(Fault::new(Code::RefusedParameters, what));
        }
        let honest = u64::from(crowd.honest()?);
        // Each party draws two Poisson numbers for each number of the release.
        let draws = numbers.saturating_mul(2 * u64::from(crowd.parties));
        let least = |units: u64| {
            let moved = Sensitivity::new(touched, units)?;
            let cost = |variance| Spending::skellam(moved.l1(), moved.l2_squared(), variance, draws);
            let whole = least_variance(epsilon_micro, delta, cost)?;
            Ok::<_, Fault>(Self { units, whole, part: whole.divided(honest)? })
        };
        let coarse = least(1)?;
        let mut units = 1;
        // Per unit the variance falls a little as units become finer, so that none of these is too wide.
        while units < UNITS_MAX && coarse.part.ceiling().saturating_mul(4 * units * units) <= PART_VARIANCE_MAX {
            units *= 2;
        }
        let this = if units == 1 { coarse } else { least(units)? };
        crate::Sampler::fits(this.mechanism())?;
        Ok(this)
    }

    /// Units by which one record changes a number at most: what a party sums is counted in this many parts of the largest
    /// change, and rounded down once, at the end.
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// The variance that every opened sum carries, in squared units, if as many collude as may.
    pub const fn whole(&self) -> Ratio {
        self.whole
    }

    /// The variance that each party adds, in squared units.
    pub const fn part(&self) -> Ratio {
        self.part
    }

    /// What each party draws from, once for each number.
    pub const fn mechanism(&self) -> Mechanism {
        Mechanism::Skellam { variance: self.part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(parties: u16, survivors_min: u16, colluders: u16) -> Crowd {
        Crowd { parties, survivors_min, colluders }
    }

    #[test]
    fn the_honest_survivors_carry_the_whole() {
        let whole = Ratio::new(900, 1).unwrap();
        assert_eq!(part(whole, &crowd(7, 5, 2)), Ok(Mechanism::Skellam { variance: Ratio::new(300, 1).unwrap() }));
        assert_eq!(part(whole, &crowd(7, 7, 0)), Ok(Mechanism::Skellam { variance: Ratio::new(900, 7).unwrap() }));
        assert_eq!(part(whole, &crowd(2, 5, 1)), Ok(Mechanism::Skellam { variance: whole }), "two are no five");
        for (survivors, colluders) in [(3, 3), (2, 3), (0, 0)] {
            assert_eq!(part(whole, &crowd(9, survivors, colluders)).unwrap_err().code, Code::RefusedParameters);
        }
    }

    #[test]
    fn a_planned_sum_costs_what_it_may_and_a_quarter_less_noise_costs_more() {
        let delta = Delta::from_femto(1_000_000_000).unwrap();
        for (touched, epsilon, crowd) in
            [(1, 1_000_000, crowd(3, 3, 1)), (6, 100_000, crowd(10, 7, 3)), (40, 3_000_000, crowd(3, 3, 2))]
        {
            let noise = SumNoise::plan(touched, 100, epsilon, delta, &crowd).unwrap();
            let moved = Sensitivity::new(touched, noise.units()).unwrap();
            let draws = 200 * u64::from(crowd.parties);
            let cost = |variance| {
                Spending::skellam(moved.l1(), moved.l2_squared(), variance, draws)
                    .unwrap()
                    .epsilon_micro(delta)
                    .unwrap()
            };
            // What the honest survivors carry at least.
            let honest = u64::from(crowd.honest().unwrap());
            let carried = Ratio::new(noise.part().num() * honest, noise.part().den()).unwrap();
            assert!(cost(carried) <= epsilon, "{touched} {epsilon}");
            assert!(cost(Ratio::new(noise.whole().num() - 1, 4).unwrap()) > epsilon, "{touched} {epsilon}");
            assert!(noise.units() > 1 && noise.part().ceiling() <= PART_VARIANCE_MAX, "{noise:?}");
            assert!(noise.part().ceiling() * 5 > PART_VARIANCE_MAX, "as fine as they may be: {noise:?}");
        }
    }

    #[test]
    fn what_cannot_be_hidden_is_refused() {
        let delta = Delta::from_femto(1_000_000_000).unwrap();
        let refused = |touched, numbers, epsilon, crowd| {
            SumNoise::plan(touched, numbers, epsilon, delta, &crowd).unwrap_err().code == Code::RefusedParameters
        };
        let good = crowd(3, 3, 1);
        assert!(SumNoise::plan(1, 1, EPSILON_MAX_MICRO, delta, &good).is_ok());
        assert!(refused(1, 1, 0, good) && refused(1, 1, EPSILON_MAX_MICRO + 1, good));
        assert!(refused(0, 1, 1_000_000, good) && refused(TOUCHED_MAX + 1, 1, 1_000_000, good));
        assert!(refused(1, 1, 1_000_000, crowd(3, 3, 3)));
        assert!(refused(64, 1, 1_000, good), "epsilon of a thousandth for 64 numbers needs too wide a table");
        assert!(Sensitivity::new(1, UNITS_MAX + 1).is_err() && Sensitivity::new(TOUCHED_MAX, UNITS_MAX).is_ok());
        // The largest fit without overflow.
        let most = Sensitivity::new(TOUCHED_MAX, UNITS_MAX).unwrap();
        assert_eq!((most.l1(), most.l2_squared()), (1 << 32, 1 << 52));
    }
}
