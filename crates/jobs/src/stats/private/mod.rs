//! The private form: one sum of noisy numbers for the recipient, and nothing beside it.
//!
//! No count is opened to the nodes and no cell is held back, because either would tell what the noise hides; see decision
//! 27. Every number moves by at most [`SumNoise::units`] with one row of one owner: a row counts as so many units, and a sum
//! is scaled so that the job's bound is so many. Each owner adds its part of the noise before it masks.

use serde::Deserialize;
use tacit_dp::{Crowd, Delta, EPSILON_MAX_MICRO, Sampler, SumNoise};
use tacit_protocol::{Abort, Party};
use tacit_secagg::verify::price::Priced;
use tacit_secagg::{Delivery, Params, Round, Vector, Width};
use tacit_types::{Code, Fault, Hash, Step, Unit};

use super::fold::Local;
use super::joint::query;
use super::params::{Measure, Statistic, StatsParams};
use super::result_disclosure;
use crate::decimal::Decimal;
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session::{self, Given};

pub mod open;

/// Numbers of a private release, each of which every party draws noise for.
pub const NUMBERS_MAX: usize = 1 << 14;
/// The largest delta, in parts of 10^15: one in a hundred thousand.
pub const DELTA_FEMTO_MAX: u64 = 10_000_000_000;
/// The mechanism's name, in receipts and results.
pub const MECHANISM: &str = "skellam";
/// The delta of a job that states none, in parts of 10^15: one in 10^9.
const DELTA_FEMTO_DEFAULT: u64 = 1_000_000;

/// What a release may cost, in the signed parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Privacy {
    /// Epsilon in millionths.
    #[n(1)]
    pub epsilon_micro: u64,
    /// Delta in parts of 10^15.
    #[n(2)]
    pub delta_femto: u64,
    /// Parties that may tell their own noise to the recipient; at least as many as the sum itself withstands, and one, when
    /// absent.
    #[n(3)]
    pub colluders: Option<u16>,
}

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    epsilon: Decimal,
    delta: Option<Decimal>,
    colluders: Option<u16>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what))
}

/// A positive decimal in parts of ten to the minus `scale`.
fn parts(name: &str, value: Decimal, scale: u32) -> Result<u64, Fault> {
    let units = u128::try_from(value.units).ok().filter(|units| *units > 0);
    let whole = units.and_then(|units| units.checked_mul(10u128.pow(scale)));
    let by = 10u128.pow(u32::from(value.scale));
    match whole.filter(|whole| whole % by == 0).and_then(|whole| u64::try_from(whole / by).ok()) {
        Some(parts) => Ok(parts),
        None => {
            wrong(format!("privacy: {name} is {value}; it is above 0, with {scale} digits after the point at most"))
        }
    }
}

impl Privacy {
    /// Reads what a person wrote.
    ///
    /// # Errors
    /// `refused.parameters` naming the field.
    pub(super) fn read(written: &Written) -> Result<Self, Fault> {
        Ok(Self {
            epsilon_micro: parts("epsilon", written.epsilon, 6)?,
            delta_femto: written.delta.map_or(Ok(DELTA_FEMTO_DEFAULT), |delta| parts("delta", delta, 15))?,
            colluders: written.colluders,
        })
    }

    /// The parties of a job, as far as its noise rests on them.
    ///
    /// # Errors
    /// `refused.parties`, `refused.parameters`.
    fn crowd(&self, parties: usize) -> Result<Crowd, Fault> {
        let seats = Params::new(u16::try_from(parties).unwrap_or(u16::MAX))?;
        let least = seats.corrupt().max(1);
        let colluders = self.colluders.unwrap_or(least);
        if colluders < least {
            return wrong(format!("privacy: colluders is {colluders}; of {parties} parties it is {least} at least"));
        }
        Ok(Crowd { parties: parties as u16, survivors_min: seats.survivors_min(), colluders })
    }
}

/// Numbers of one cell of a measure: its rows with a value, their sum, the sum of their squares, as far as the statistics
/// need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Needs {
    count: bool,
    sum: bool,
    squares: bool,
}

impl Needs {
    fn of(measure: &Measure) -> Self {
        let count = measure.statistics.iter().any(|s| *s != Statistic::Sum);
        Self { count, sum: measure.needs_sum(), squares: measure.needs_squares() }
    }

    fn words(self) -> usize {
        [self.count, self.sum, self.squares].into_iter().filter(|need| *need).count()
    }
}

/// Checks what does not depend on who takes part.
///
/// # Errors
/// `refused.statistic` for what has no private form; `refused.parameters` naming the field.
pub(super) fn check(params: &StatsParams, privacy: &Privacy) -> Result<(), Fault> {
    let without = |what: &str| Err(Fault::new(Code::RefusedStatistic, format!("{what} with `privacy`")));
    if !params.quantiles.is_empty() {
        return without("quantiles");
    }
    if params.matrix.is_some() {
        return without("a matrix");
    }
    let epsilon = privacy.epsilon_micro;
    if !(1..=EPSILON_MAX_MICRO).contains(&epsilon) {
        let most = EPSILON_MAX_MICRO / 1_000_000;
        return wrong(format!("privacy: epsilon is {epsilon} millionths; it is above 0, and {most} at most"));
    }
    if !(1..=DELTA_FEMTO_MAX).contains(&privacy.delta_femto) {
        return wrong("privacy: delta is above 0, and 0.00001 at most");
    }
    for measure in params.measures.iter().filter(|m| m.needs_sum()) {
        if params.largest(&measure.value)? <= 0 {
            return wrong(format!("privacy: the bound of `{}` is too small", measure.value.column));
        }
    }
    let numbers = numbers(params);
    if numbers > NUMBERS_MAX {
        return wrong(format!("privacy: {numbers} numbers; a private release has at most {NUMBERS_MAX}"));
    }
    Ok(())
}

/// The noise of a private job.
///
/// # Errors
/// As [`check`]; `refused.parties`; `refused.parameters` for a budget that is too small for what is asked for.
pub fn plan(params: &StatsParams, privacy: &Privacy, parties: usize) -> Result<SumNoise, Fault> {
    check(params, privacy)?;
    let delta = Delta::from_femto(privacy.delta_femto)?;
    let numbers = numbers(params) as u64;
    SumNoise::plan(touched(params), numbers, privacy.epsilon_micro, delta, &privacy.crowd(parties)?)
}

/// Numbers of the release.
pub fn numbers(params: &StatsParams) -> usize {
    let words: usize = params.measures.iter().map(|m| Needs::of(m).words()).sum();
    let bins: usize = params.histograms.iter().map(StatsParams::bins).sum();
    params.cells() * (1 + words) + bins
}

/// Numbers of the release that one row changes: those of the total and of one group, and one bin of each histogram.
fn touched(params: &StatsParams) -> u64 {
    let words: usize = params.measures.iter().map(|m| Needs::of(m).words()).sum();
    let tables = 1 + usize::from(params.group_by.is_some());
    (tables * (1 + words) + params.histograms.len()) as u64
}

/// The only sum.
pub fn rounds(params: &StatsParams) -> Vec<Priced> {
    vec![Priced { width: Width::W128, len: numbers(params) as u64, blind: true }]
}

/// `value` in units of which `largest` has `units`, a power of two, rounded down; so two values that differ by at most
/// `largest` differ by at most `units` afterwards. Digit by digit, because the product may need more than 128 bits, and
/// without a branch on the value.
fn scaled(value: i128, largest: i128, units: u64) -> i128 {
    let (mut whole, mut rest) = (value.div_euclid(largest), value.rem_euclid(largest));
    for _ in 0..units.trailing_zeros() {
        rest *= 2;
        let carry = i128::from(rest >= largest);
        whole = 2 * whole + carry;
        rest -= largest * carry;
    }
    whole
}

impl Local {
    /// This party's numbers in units, without noise.
    fn private(&self, params: &StatsParams, units: u64) -> Result<Vec<u128>, Fault> {
        let count = |rows: u64| u128::from(rows) * u128::from(units);
        let mut out: Vec<u128> = self.rows.iter().map(|rows| count(*rows)).collect();
        for (measure, moments) in params.measures.iter().zip(&self.measures) {
            let (needs, largest) = (Needs::of(measure), params.largest(&measure.value)?);
            for (rows, (sum, squares)) in moments.count.iter().zip(moments.sum.iter().zip(&moments.squares)) {
                out.extend(needs.count.then(|| count(*rows)));
                out.extend(needs.sum.then(|| scaled(*sum, largest, units) as u128));
                out.extend(needs.squares.then(|| scaled(*squares, largest * largest, units) as u128));
            }
        }
        out.extend(self.histograms.iter().flat_map(|bins| &bins.counts).map(|rows| count(*rows)));
        Ok(out)
    }
}

/// One party's contribution.
pub(super) struct PrivateJoint {
    pub(super) params: StatsParams,
    pub(super) local: Local,
    pub(super) noise: SumNoise,
}

impl JointHalf for PrivateJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(run(*self, party, context))
    }
}

/// Sums once. A party that is lost meanwhile is missing in the sum, whose survivors carry noise enough; one that is lost
/// between the sum and the vote for it ends the attempt, because a second release over others would tell the lost party's
/// numbers with less noise than its part of one.
async fn run(half: PrivateJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    let PrivateJoint { params, local, noise } = half;
    let mut epoch = session::begin(&mut party, &context, 1, params.checked).await?;
    let mut numbers = local.private(&params, noise.units()).map_err(Abort::Local)?;
    Sampler::new(noise.mechanism()).map_err(Abort::Local)?.add(&mut numbers, party.rng());
    let input = Vector::W128(numbers);
    let delivery = Delivery::Recipient { key: context.recipient, disclosure: result_disclosure(&params) };
    let round =
        Round { index: 0, query: release(&params), model_root: None, width: Width::W128, len: input.len(), delivery };
    let outcome = tacit_secagg::aggregate(&mut party, &mut epoch, &round, &input).await?;
    let (have, need) = (outcome.survivors.len() as u16, context.cohort.contributors);
    if have < need {
        return Err(Abort::Quorum { step: Step::new(session::FIRST_ROUND, 0), have, need });
    }
    let mut given = Given::default();
    given.add(&input);
    let output = session::output(outcome, given, input.len() as u64, 0)?;
    if !session::confirm(&mut party, &context, 0, &output).await? {
        let what = "a party was lost between the sum and the vote for it";
        return Err(Abort::Local(Fault::new(Code::JobPeerLost, what)));
    }
    given.meter(&mut party)?;
    party.meter(Unit::CellOut, output.cells_out)?;
    party.meter(Unit::CellSuppressed, 0)?;
    Ok(output)
}

/// The hash of the query. It covers the parameters, so parties whose jobs differ share no mask.
fn release(params: &StatsParams) -> Hash {
    query("private", 0, params).finish()
}

/// The variance of a sum over so many parties as a part of one row's units, squared.
fn variance(noise: &SumNoise, survivors: usize) -> f64 {
    let part = noise.part().num() as f64 / noise.part().den() as f64;
    part * survivors as f64 / (noise.units() as f64).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_moves_no_number_further_than_its_bound() {
        for (largest, units) in [(7i128, 8u64), (1 << 115, 1 << 20), (1_000_003, 1 << 10), (5, 1)] {
            let k = i128::from(units);
            for value in [-3 * largest, -largest - 1, -1, 0, 1, largest / 2, largest, 9 * largest + 2] {
                let at = scaled(value, largest, units);
                assert_eq!(scaled(value + largest, largest, units), at + k, "{value} of {largest}");
                if largest < 1 << 60 {
                    assert_eq!(at, (value * k).div_euclid(largest), "{value} of {largest} in {units}");
                }
                for less in [1, largest / 3, largest - 1] {
                    let moved = scaled(value + less, largest, units) - at;
                    assert!((0..=k).contains(&moved), "{value} + {less} of {largest}: {moved}");
                }
            }
        }
    }

    #[test]
    fn decimals_become_whole_parts() {
        let decimal = |text: &str| Decimal::parse(text).unwrap();
        assert_eq!(parts("epsilon", decimal("0.25"), 6), Ok(250_000));
        assert_eq!(parts("delta", decimal("0.000000000001"), 15), Ok(1000));
        assert_eq!(parts("epsilon", decimal("1.0000000000"), 6), Ok(1_000_000));
        for bad in ["0", "-1", "0.0000001", "9000000000000000000"] {
            assert_eq!(parts("epsilon", decimal(bad), 6).unwrap_err().code, Code::RefusedParameters, "{bad}");
        }
    }
}
