//! The joint half: count, search, release.

use tacit_crypto::{Transcript, cbor};
use tacit_protocol::{Abort, Party};
use tacit_secagg::{Delivery, Epoch, Outcome, Round, Vector};
use tacit_types::{Code, Fault, Hash, Seat, Unit};

use super::fold::Local;
use super::mask::{Mask, rank};
use super::params::StatsParams;
use super::{QUANTILE_BINS, TRIES, counts_disclosure, quantile_disclosure, result_disclosure};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session::{self, Given};

/// One party's contribution, ready for the protocol.
pub struct StatsJoint {
    pub(super) params: StatsParams,
    pub(super) local: Local,
}

impl JointHalf for StatsJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(run(*self, party, context))
    }
}

async fn run(half: StatsJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    let rounds = TRIES as u16 * (2 + half.params.quantile_rounds() as u16);
    let epoch = session::begin(&mut party, &context, rounds, half.params.checked).await?;
    let mut run = Run { half, party, context, epoch, next_round: 0, given: Given::default(), retried: false };
    for _ in 0..TRIES {
        if let Some(output) = run.attempt().await? {
            return Ok(output);
        }
    }
    Err(Abort::Local(Fault::new(Code::JobPeerLost, "parties were lost between counting and releasing, twice")))
}

struct Run {
    half: StatsJoint,
    party: Party,
    context: JointContext,
    epoch: Epoch,
    next_round: u16,
    given: Given,
    retried: bool,
}

impl Run {
    /// Counts, searches and releases over one set of parties. `None` when a party was lost after
    /// the counts were opened: then the release is not handed out, and everything is done again
    /// over the parties that are left, because the floor was checked for another set.
    async fn attempt(&mut self) -> Result<Option<JointOutput>, Abort> {
        let params = self.half.params.clone();
        let counts = Vector::W64(self.half.local.counts(&params));
        let counted =
            self.sum(self.query("counts").finish(), &counts, Delivery::Nodes(counts_disclosure(&params))).await?;
        let joint = words(&counted)?;
        possible(&joint, counted.survivors.len() as u64, params.rows_max)?;
        let mut mask = Mask::new(&params, &joint, self.context.cohort);
        let told = Told { joint: &joint, survivors: &counted.survivors };
        let Some(values) = self.search(&params, &mut mask, &told).await? else { return Ok(None) };
        let release = Vector::W128(self.half.local.release(&params, &mask, &values));
        let delivery = Delivery::Recipient { key: self.context.recipient, disclosure: result_disclosure(&params) };
        let query = told.bind(self.query("release"), values.iter().copied());
        let outcome = self.sum(query, &release, delivery).await?;
        let again = u16::from(self.retried);
        self.retried = true;
        let (cells_out, cells_suppressed) = mask.tally();
        let output = session::output(outcome, self.given, cells_out, cells_suppressed)?;
        // Nobody votes for a sum over others than those for whom the floor was checked.
        if output.survivors != counted.survivors
            || !session::confirm(&mut self.party, &self.context, again, &output).await?
        {
            return Ok(None);
        }
        self.given.meter(&mut self.party)?;
        self.party.meter(Unit::CellOut, cells_out)?;
        self.party.meter(Unit::CellSuppressed, cells_suppressed)?;
        Ok(Some(output))
    }

    async fn sum(&mut self, query: Hash, input: &Vector, delivery: Delivery) -> Result<Outcome, Abort> {
        let index = self.next_round;
        self.next_round += 1;
        self.given.add(input);
        let round = Round { index, query, model_root: None, width: input.width(), len: input.len(), delivery };
        tacit_secagg::aggregate(&mut self.party, &mut self.epoch, &round, input).await
    }

    /// The hash of the next round's query.
    fn query(&self, phase: &str) -> Transcript {
        query(phase, self.next_round, &self.half.params)
    }

    /// Narrows the bracket of every quantile, all of them in each round. Gives the fixed-point
    /// values, or `None` when a party was lost meanwhile.
    async fn search(
        &mut self,
        params: &StatsParams,
        mask: &mut Mask,
        told: &Told<'_>,
    ) -> Result<Option<Vec<i128>>, Abort> {
        let mut targets = Target::all(params, mask);
        for _ in 0..params.quantile_rounds() {
            let counts: Vec<u64> = targets
                .iter()
                .flat_map(|t| t.count(self.half.local.quantiles.get(t.column).map_or(&[], Vec::as_slice)))
                .collect();
            let delivery = Delivery::Nodes(quantile_disclosure(params));
            let brackets = targets.iter().flat_map(|t| [t.low, t.high, i128::from(t.rank)]);
            let query = told.bind(self.query("quantiles"), brackets);
            let outcome = self.sum(query, &Vector::W64(counts), delivery).await?;
            if outcome.survivors != told.survivors {
                return Ok(None);
            }
            for (target, bins) in targets.iter_mut().zip(words(&outcome)?.chunks(QUANTILE_BINS)) {
                target.narrow(bins);
            }
        }
        Ok(Some(targets.iter().map(|t| t.low).collect()))
    }
}

/// The hash of a round's query, to which more can be added.
pub(super) fn query(phase: &str, index: u16, params: &StatsParams) -> Transcript {
    Transcript::new("tacit-stats/2/query").bytes(phase.as_bytes()).u64(u64::from(index)).bytes(&cbor::encode(params))
}

/// What a party was told by the aggregator, and chooses by what it gives.
struct Told<'a> {
    joint: &'a [u64],
    survivors: &'a [Seat],
}

impl Told<'_> {
    /// Binds a query to it, and to what came of the quantiles so far. An aggregator that tells one party
    /// other counts than the rest could have it answer for a cell or a bracket alone; so the parties share
    /// no mask unless they were told alike.
    fn bind(&self, query: Transcript, quantiles: impl Iterator<Item = i128>) -> Hash {
        let joint: Vec<u8> = self.joint.iter().flat_map(|w| w.to_le_bytes()).collect();
        let survivors: Vec<u8> = self.survivors.iter().flat_map(|s| s.0.to_le_bytes()).collect();
        let quantiles: Vec<u8> = quantiles.flat_map(i128::to_le_bytes).collect();
        query.bytes(&joint).bytes(&survivors).bytes(&quantiles).finish()
    }
}

/// The opened counts.
fn words(outcome: &Outcome) -> Result<Vec<u64>, Abort> {
    match &outcome.sum {
        Some(Vector::W64(words)) => Ok(words.clone()),
        _ => Err(Abort::Local(Fault::new(Code::JobInternal, "the joint counts were not opened"))),
    }
}

/// Checks that the joint counts are some that `parties` can have. A sum of masked words can be any
/// word: a party that lies about its counts must not decide with it how the others' floor is computed.
fn possible(joint: &[u64], parties: u64, rows_max: u64) -> Result<(), Abort> {
    let good = |c: &[u64]| c[0] <= rows_max.saturating_mul(parties) && c[1] <= parties && c[1] <= c[0];
    if joint.chunks_exact(2).all(good) {
        return Ok(());
    }
    let what = "the joint counts are none that the parties can have: one of them states wrong counts";
    Err(Abort::Local(Fault::new(Code::JobValueOutOfRange, what)))
}

impl Local {
    /// This party's counts, in the order in which [`Mask::new`] reads them: for every cell its rows and whether it
    /// has any.
    fn counts(&self, params: &StatsParams) -> Vec<u64> {
        let mut out = Vec::with_capacity(params.count_cells());
        let mut put = |rows: u64| out.extend([rows, u64::from(rows > 0)]);
        self.rows.iter().for_each(|r| put(*r));
        for (measure, moments) in params.measures.iter().zip(&self.measures) {
            let carriers: &[u64] = if measure.needs_sum() { &moments.carriers } else { &[] };
            moments.count.iter().chain(&moments.empty).chain(carriers).for_each(|n| put(*n));
        }
        for histogram in &self.histograms {
            histogram.counts.iter().chain([&histogram.empty]).for_each(|n| put(*n));
        }
        self.quantiles.iter().for_each(|v| put(v.len() as u64));
        if let Some(m) = &self.matrix {
            [m.count, m.incomplete, m.twice, m.carriers].iter().chain(&m.gaps).for_each(|n| put(*n));
        }
        out
    }

    /// This party's part of the release: a flag and the values for a cell that passes, zeroes for
    /// one that does not.
    fn release(&self, params: &StatsParams, mask: &Mask, quantiles: &[i128]) -> Vec<u128> {
        let mut out: Vec<u128> = Vec::with_capacity(params.release_cells());
        let mut put = |open: bool, values: &[i128]| {
            out.push(u128::from(open));
            out.extend(values.iter().map(|v| if open { *v as u128 } else { 0 }));
        };
        for (rows, open) in self.rows.iter().zip(&mask.rows) {
            put(*open, &[i128::from(*rows)]);
        }
        for ((measure, moments), open) in params.measures.iter().zip(&self.measures).zip(&mask.measures) {
            for (cell, open) in open.iter().enumerate() {
                let mut values = vec![i128::from(moments.count[cell])];
                values.extend(measure.needs_sum().then(|| moments.sum[cell]));
                values.extend(measure.needs_squares().then(|| moments.squares[cell]));
                put(*open, &values);
            }
        }
        for (count, open) in self.histograms.iter().flat_map(|h| &h.counts).zip(mask.histograms.iter().flatten()) {
            put(*open, &[i128::from(*count)]);
        }
        for (value, open) in quantiles.iter().zip(mask.quantiles.iter().flatten()) {
            put(*open, &[*value]);
        }
        if let Some(matrix) = &self.matrix {
            let mut values = vec![i128::from(matrix.count)];
            values.extend(&matrix.sums);
            values.extend(&matrix.products);
            put(mask.matrix, &values);
        }
        out
    }
}

/// The search for one quantile.
struct Target {
    column: usize,
    open: bool,
    /// The rank looked for among the values at or above `low`, from 1.
    rank: u64,
    /// The bracket, both ends included, in fixed point.
    low: i128,
    high: i128,
}

impl Target {
    fn all(params: &StatsParams, mask: &Mask) -> Vec<Self> {
        let mut targets = Vec::with_capacity(params.quantile_targets());
        for (column, quantiles) in params.quantiles.iter().enumerate() {
            let (low, high) = params.bracket(quantiles);
            let n = mask.quantile_rows.get(column).copied().unwrap_or(0);
            for (i, probability) in quantiles.probabilities.iter().enumerate() {
                let open = mask.quantiles.get(column).and_then(|c| c.get(i)).copied().unwrap_or(false);
                targets.push(Self { column, open, rank: rank(n, *probability), low, high });
            }
        }
        targets
    }

    /// The width of a bin that covers the bracket.
    fn width(&self) -> i128 {
        ((self.high - self.low) / QUANTILE_BINS as i128) + 1
    }

    /// This party's counts in each bin of the bracket; zeroes for a quantile that is not released.
    fn count(&self, sorted: &[i64]) -> Vec<u64> {
        let width = self.width();
        let below = |x: i128| sorted.partition_point(|v| i128::from(*v) < x);
        (0..QUANTILE_BINS as i128)
            .map(|bin| {
                let from = self.low + bin * width;
                let to = (from + width).min(self.high + 1);
                if self.open && from < to { (below(to) - below(from)) as u64 } else { 0 }
            })
            .collect()
    }

    /// Goes into the bin that holds the rank.
    fn narrow(&mut self, bins: &[u64]) {
        if !self.open {
            return;
        }
        let width = self.width();
        for (bin, count) in bins.iter().enumerate() {
            if self.rank <= *count {
                let from = self.low + bin as i128 * width;
                (self.low, self.high) = (from, (from + width - 1).min(self.high));
                return;
            }
            self.rank -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_order_statistic() {
        let values: Vec<i64> = (0..1000).map(|i| (i * i) % 777 - 300).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        for probability in [1, 250_000, 500_000, 999_999] {
            let rank = rank(1000, probability);
            let mut target = Target { column: 0, open: true, rank, low: -100_000, high: 100_000 };
            let mut rounds = 0;
            while target.low < target.high {
                let bins = target.count(&sorted);
                target.narrow(&bins);
                rounds += 1;
            }
            assert_eq!(target.low, i128::from(sorted[rank as usize - 1]), "{probability}");
            assert_eq!(rounds, 3, "200,001 values, 256-fold a round");
        }
    }

    fn value(column: &str) -> super::super::params::Scaled {
        super::super::params::Scaled { column: column.into(), whole: true, bound: crate::Decimal::whole(100) }
    }

    fn job() -> StatsParams {
        use super::super::params::{Histogram, Matrix, Measure, Quantiles, Statistic};
        let edge = crate::Decimal::whole;
        StatsParams {
            group_by: None,
            measures: vec![Measure { value: value("a"), statistics: vec![Statistic::Sum] }],
            histograms: vec![Histogram { column: "a".into(), edges: vec![edge(0), edge(50)] }],
            quantiles: vec![Quantiles {
                value: value("a"),
                probabilities: vec![400_000, 410_000, 420_000, 450_000, 520_000, 600_000],
                low: edge(0),
                high: edge(100),
            }],
            matrix: Some(Matrix { values: vec![value("a"), value("b")], correlation: false }),
            filter: None,
            rows_max: 1000,
            checked: false,
            privacy: None,
        }
    }

    #[test]
    fn a_release_is_bound_to_the_counts_that_chose_its_cells() {
        let seats = [Seat(0), Seat(1), Seat(2)];
        let hash = |joint: &[u64], seats: &[Seat], values: &[i128]| {
            Told { joint, survivors: seats }.bind(query("release", 1, &job()), values.iter().copied())
        };
        let good = hash(&[9, 3, 4, 1], &seats, &[7]);
        assert_eq!(good, hash(&[9, 3, 4, 1], &seats, &[7]));
        // Two cells the other way round leave every tally as it was.
        for other in [
            hash(&[4, 1, 9, 3], &seats, &[7]),
            hash(&[9, 3, 5, 1], &seats, &[7]),
            hash(&[9, 3, 4, 1], &seats[..2], &[7]),
            hash(&[9, 3, 4, 1], &seats, &[8]),
            hash(&[9, 3, 4], &seats, &[1, 7]),
            query("release", 1, &job()).finish(),
        ] {
            assert_ne!(good, other);
        }
    }

    #[test]
    fn impossible_counts_end_the_job_and_nothing_else() {
        assert!(possible(&[3000, 3, 0, 0, 50, 2], 3, 1000).is_ok());
        for counts in [[3001, 3], [5, 4], [0, 1], [u64::MAX, 3], [1 << 63, 3], [5, u64::MAX]] {
            let Err(abort) = possible(&counts, 3, 1000) else { panic!("{counts:?}") };
            assert_eq!(abort.code(), Code::JobValueOutOfRange);
        }
    }
}
