//! The joint half of every job on shares of ids: the owners find that they hold the same ids, compute the plan, and each
//! sends its summands of what is handed out to the recipient in a masked sum. The dealer's half is the same with nothing
//! in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tacit_crypto::Transcript;
use tacit_mpc::{Sink, Source, Terms};
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::{Code, Fault, Hash, NodeId, Seat, Step};
use zeroize::Zeroizing;

use super::{Circuit, OnShares, Spine, Values};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session::{self, Given, Handed};

/// The step in which the owners compare their ids.
const IDS: Step = Step::new(session::ALIGN_ROUND, 1);

/// An owner's part.
struct Own {
    values: Box<dyn Values>,
    ids: Hash,
}

struct SharesJoint {
    job: Arc<dyn OnShares>,
    own: Option<Own>,
}

/// The joint half of an owner, with what its local half gave.
pub fn brings(job: Arc<dyn OnShares>, spine: &Spine, values: Box<dyn Values>) -> Box<dyn JointHalf> {
    Box::new(SharesJoint { job, own: Some(Own { values, ids: spine.hash() }) })
}

/// The dealer's joint half.
pub fn deals(job: Arc<dyn OnShares>) -> Box<dyn JointHalf> {
    Box::new(SharesJoint { job, own: None })
}

impl JointHalf for SharesJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(run(*self, party, context))
    }
}

impl Source for Own {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        if first_row != 0 {
            return Err(Fault::new(Code::JobInternal, "a plan on ids has no inputs by row"));
        }
        self.values.fill(input, out)
    }
}

/// This party's summands, by output.
#[derive(Default)]
struct Summands(BTreeMap<u32, Zeroizing<Vec<u64>>>);

impl Sink for Summands {
    fn take(&mut self, output: u32, _: u64, _: Vec<u64>) -> Result<(), Fault> {
        Err(Fault::new(Code::JobInternal, format!("output {output} was opened")))
    }

    fn summands(&mut self, output: u32, _: u64, words: Zeroizing<Vec<u64>>) -> Result<(), Fault> {
        self.0.entry(output).or_default().extend_from_slice(&words);
        Ok(())
    }
}

/// The seat of an owner.
fn seat(context: &JointContext, owner: &NodeId) -> Result<Seat, Abort> {
    let seat = context.owners.iter().position(|o| o == owner).and_then(|i| u16::try_from(i).ok());
    seat.map(Seat).ok_or_else(|| Abort::Local(Fault::new(Code::RefusedParties, "a party of the job has no seat")))
}

/// Compares the ids with the other owners, and with nobody else.
async fn compare(party: &mut Party, owners: &[Seat], ids: &Hash, step_ms: u64) -> Result<(), Abort> {
    let others: Vec<Seat> = owners.iter().copied().filter(|s| *s != party.seat()).collect();
    for other in &others {
        party.post(*other, IDS, ids.0.to_vec())?;
    }
    let until = party.now().plus(step_ms);
    let heard = party.gather(&others, IDS, ids.0.len(), until).await?.all(IDS)?;
    for (seat, body) in heard {
        let theirs: [u8; 32] = body.try_into().map_err(|_| Blame::seat(seat, Offence::Malformed).at(IDS))?;
        if theirs != ids.0 {
            let what = "the owners hold ids of different alignments: nothing can be matched by them";
            return Err(Abort::Local(Fault::new(Code::RefusedDataset, what)));
        }
    }
    Ok(())
}

async fn run(mut half: SharesJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, session::READING * context.step_ms).await?;
    let Circuit { plan, parties, dealer, numbers } = half.job.circuit(context.cohort)?;
    let owners: Vec<Seat> = parties.iter().map(|p| seat(&context, p)).collect::<Result<_, _>>()?;
    let terms = Terms {
        plan,
        context: context.session,
        parties: owners.clone(),
        dealer: seat(&context, &dealer)?,
        step_base: session::COMPUTE_ROUND,
        step_ms: context.step_ms,
    };
    let mut summands = Summands::default();
    match &mut half.own {
        None => tacit_mpc::deal(&mut party, &terms).await?,
        Some(own) => {
            compare(&mut party, &owners, &own.ids, context.step_ms).await?;
            tacit_mpc::compute(&mut party, &terms, own, &mut summands).await?;
        }
    }
    drop(half.own);
    let mut cells: Vec<u64> = summands.0.values().flat_map(|words| words.iter().copied()).collect();
    if party.seat() == terms.dealer {
        cells.resize(numbers as usize, 0);
    }
    if cells.len() as u64 != numbers {
        return Err(Abort::Local(Fault::new(Code::JobInternal, "the plan handed out another number of numbers")));
    }
    let query = Transcript::new("tacit-shares/1/sums").fixed(&terms.hash().0).u64(numbers).finish();
    // Whether a number is told is nobody's to know but the recipient's, so each is metered as one that is.
    let (disclosure, given, released) = (half.job.disclosure(), Given::of(&cells), numbers);
    session::hand(&mut party, &context, Handed { disclosure, query, cells, given, each: Vec::new(), released }).await
}
