//! The joint half of a score on shares: owners of data and of a model compute, and each sends its summands of what came
//! out to the recipient in a masked sum. The dealer's half is the same with nothing in it.

use std::sync::Arc;

use tacit_crypto::Transcript;
use tacit_mpc::{HANDED_WORDS, Sink, Source, Terms};
use tacit_protocol::{Abort, Party};
use tacit_types::{Code, Fault, NodeId, Seat};
use zeroize::Zeroizing;

use super::checked;
use super::circuit::{Circuit, Input};
use super::hand;
use super::params::{ScoreParams, Unknown};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// What one party brings to the inputs of a kind.
pub(super) trait Values<I>: Send + Sync {
    /// Writes rows of an input from `row` on: words row by row, or packed bits without gaps.
    ///
    /// # Errors
    /// `job.internal` for an input that this party does not have.
    fn fill(&mut self, input: I, row: usize, out: &mut [u64]) -> Result<(), Fault>;
}

/// An input that this party does not have.
pub(super) fn not_ours() -> Fault {
    Fault::new(Code::JobInternal, "an input of the plan that this party does not have")
}

/// Writes numbers until the words are full.
///
/// # Errors
/// `job.internal` when there are too few.
pub(super) fn put(out: &mut [u64], values: &mut dyn Iterator<Item = i64>) -> Result<(), Fault> {
    for slot in out.iter_mut() {
        *slot = values.next().ok_or_else(not_ours)? as u64;
    }
    Ok(())
}

/// Packs bits from `row` on, for rows below `rows`; the others are zero.
pub(super) fn pack(out: &mut [u64], row: usize, rows: usize, bit: impl Fn(usize) -> bool) {
    for (i, word) in out.iter_mut().enumerate() {
        let from = row + i * 64;
        let bits = (from..rows.min(from + 64)).filter(|r| bit(*r));
        *word = bits.fold(0, |word, r| word | 1 << (r - from));
    }
}

/// The joint half.
pub(super) struct SharedJoint<I> {
    pub params: ScoreParams,
    pub circuit: Arc<Circuit<I>>,
    /// Whether each row is there and usable, at an owner of data.
    pub known: Vec<bool>,
    pub values: Box<dyn Values<I>>,
}

impl<I: Copy + Send + Sync + 'static> JointHalf for SharedJoint<I> {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(score(*self, party, context))
    }
}

impl<I: Copy + Send + Sync> Source for SharedJoint<I> {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        let row = first_row as usize;
        match self.circuit.inputs.get(input as usize).ok_or_else(not_ours)? {
            Input::Own(own) => self.values.fill(*own, row, out),
            Input::Rows => {
                // None is shown as known when the job is refused for one that this owner lacks.
                let whole = self.params.unknown != Unknown::Refuse || self.known.iter().all(|k| *k);
                let shows = |r: usize| whole && self.known.get(r).copied().unwrap_or(false);
                pack(out, row, self.params.rows as usize, shows);
                Ok(())
            }
        }
    }
}

/// This party's summands of what comes out.
#[derive(Default)]
struct Summands {
    values: Zeroizing<Vec<u64>>,
    unknown: Zeroizing<Vec<u64>>,
    /// In verified mode.
    key: Zeroizing<Vec<u64>>,
}

impl Sink for Summands {
    fn take(&mut self, output: u32, _: u64, _: Vec<u64>) -> Result<(), Fault> {
        Err(Fault::new(Code::JobInternal, format!("output {output} was opened")))
    }

    fn summands(&mut self, output: u32, _: u64, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        let list = if output == 0 { &mut self.values } else { &mut self.unknown };
        list.extend_from_slice(&words);
        Ok(())
    }

    fn key(&mut self, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.key = words;
        Ok(())
    }
}

impl Summands {
    /// The numbers that the recipient may open, each of so many words.
    fn numbers(&mut self, params: &ScoreParams, words: usize) -> Zeroizing<Vec<u64>> {
        let rows = params.rows as usize * words;
        self.values.resize(rows, 0);
        // With `refuse` every row is unknown or none is, so that one tells it.
        self.unknown.resize(params.numbers() as usize * words - rows, 0);
        let mut numbers = core::mem::take(&mut self.values);
        numbers.extend_from_slice(&self.unknown);
        numbers
    }
}

/// The cells of a seat for the masked sum: as many as the recipient may open. The dealer's are zero.
async fn cells(
    mut summands: Summands,
    party: &mut Party,
    params: &ScoreParams,
    terms: &Terms,
) -> Result<Vec<u64>, Abort> {
    if params.verified.is_none() {
        return Ok(core::mem::take(&mut *summands.numbers(params, 1)));
    }
    let mut cells = summands.numbers(params, HANDED_WORDS);
    if party.seat() == terms.dealer {
        cells.resize(checked::cells(params.numbers()) as usize, 0);
    } else {
        let seed = checked::seed(party, &terms.parties, terms.step_ms).await?;
        let first = terms.parties.first() == Some(&party.seat());
        checked::seal(&mut cells, &summands.key, &seed, first);
    }
    Ok(core::mem::take(&mut *cells))
}

/// The seat of an owner.
fn seat(context: &JointContext, owner: &NodeId) -> Result<Seat, Abort> {
    let seat = context.owners.iter().position(|o| o == owner).and_then(|i| u16::try_from(i).ok());
    seat.map(Seat).ok_or_else(|| Abort::Local(Fault::new(Code::RefusedParties, "a party of the job has no seat")))
}

async fn score<I: Copy + Send + Sync + 'static>(
    mut half: SharedJoint<I>,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let circuit = half.circuit.clone();
    let terms = Terms {
        plan: circuit.plan.clone(),
        context: context.session,
        parties: circuit.parties.iter().map(|p| seat(&context, p)).collect::<Result<_, _>>()?,
        dealer: seat(&context, &circuit.dealer)?,
        step_base: session::COMPUTE_ROUND,
        step_ms: context.step_ms,
    };
    let mut summands = Summands::default();
    if party.seat() == terms.dealer {
        tacit_mpc::deal(&mut party, &terms).await?;
    } else {
        tacit_mpc::compute(&mut party, &terms, &mut half, &mut summands).await?;
    }
    let cells = cells(summands, &mut party, &half.params, &terms).await?;
    let query = Transcript::new("tacit-score/1/shared").fixed(&terms.hash().0).u64(cells.len() as u64).finish();
    hand::over(party, &context, &half.params, query, cells).await
}
