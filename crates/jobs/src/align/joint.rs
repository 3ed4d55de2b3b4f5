//! The joint half of two owners: their lists are brought together, each keeps what it may learn, and the recipient hears
//! that it was done.

use tacit_governance::AlignLevel;
use tacit_protocol::{Abort, Audience, Blame, Concealed, Disclosure, Offence, Party};
use tacit_psi::{Host, Level, Mode, Outcome, Resume, Terms, intersect};
use tacit_secagg::{Collection, Vector};
use tacit_types::{Code, Fault, Hash, NodeId, Seat, Step, Unit};

use super::desk::{KEPT_BYTES, Kept};
use super::list::List;
use super::params::{AlignMode, AlignParams};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session::{self, Given};

/// Points of a batch.
pub(super) const BATCH: u32 = 4096;
/// Batches between two states: what a crash costs.
const CHECKPOINT: u32 = 4;
/// How many steps' time may go by while a whole list is masked and sorted, or while the peer still reads its rows.
pub(super) const PATIENCE: u64 = 4;

/// The step in which every party says how many keys it has.
const SIZES: Step = Step::new(session::ALIGN_ROUND, 1);
/// The first round of the exchange itself.
pub(super) const EXCHANGE_ROUND: u16 = session::ALIGN_ROUND + 1;

/// What the level opens to the nodes. It counts the most that the parameters allow.
pub(super) fn opening(params: &AlignParams) -> Disclosure {
    let max = params.keys_max();
    let (what, cells_max) = match params.level {
        AlignLevel::Receiver => ("matched keys, to the receiver", max),
        AlignLevel::Both => ("matched keys, to both", max),
        AlignLevel::Spine => ("ids of the union, and how many match", 2 * max),
        AlignLevel::Count => ("number of matched keys, to the collector", 1),
    };
    Disclosure { what: what.into(), to: Audience::Nodes, cells_max }
}

/// The sizes of the lists, which every party tells the others.
pub(super) fn sizes(parties: usize) -> Disclosure {
    Disclosure { what: "sizes of the lists".into(), to: Audience::Nodes, cells_max: 2 * parties as u64 }
}

/// What the recipient learns.
pub(super) fn result(cells: u64) -> Disclosure {
    Disclosure { what: "result".into(), to: Audience::Recipient, cells_max: cells }
}

/// The seat of an owner.
pub(super) fn seat_of(context: &JointContext, owner: &NodeId) -> Result<Seat, Abort> {
    let place = context.owners.iter().position(|o| o == owner);
    place
        .map(|i| Seat(i as u16))
        .ok_or_else(|| Abort::Local(Fault::new(Code::RefusedParties, "an owner of the key has no seat")))
}

/// The joint half of `align/v1`.
pub(super) struct AlignJoint(pub Result<(AlignParams, List), Fault>);

pub(super) fn two(list: Result<(AlignParams, List), Fault>) -> Box<dyn JointHalf> {
    Box::new(AlignJoint(list))
}

impl JointHalf for AlignJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(async move {
            let (params, list) = self.0?;
            align(params, list, party, context).await
        })
    }
}

/// The terms of the exchange, the same at both parties.
fn terms(params: &AlignParams, context: &JointContext, run: Hash) -> Result<Terms, Abort> {
    let seats: Vec<Seat> = params.owners.iter().map(|o| seat_of(context, &o.owner)).collect::<Result<_, _>>()?;
    let learner = params.learner.map(|l| seat_of(context, &l)).transpose()?;
    let receiver = learner.or(seats.first().copied());
    let sender = seats.iter().copied().find(|s| Some(*s) != receiver);
    let (Some(receiver), Some(sender)) = (receiver, sender) else {
        return Err(Abort::Local(Fault::new(Code::RefusedParties, "an alignment has two owners")));
    };
    Ok(Terms {
        level: match params.level {
            AlignLevel::Receiver => Level::Receiver,
            AlignLevel::Both => Level::Both,
            AlignLevel::Spine => Level::Spine,
            AlignLevel::Count => Level::Cardinality { both: false },
        },
        mode: match params.mode {
            AlignMode::DoubleMask => Mode::DoubleMask,
            AlignMode::Oprf => Mode::Oprf,
        },
        context: run,
        receiver,
        sender,
        disclosure: opening(params),
        items_max: params.keys_max(),
        items_min: params.size.unwrap_or(params.keys_min),
        batch: BATCH,
        checkpoint: CHECKPOINT,
        step_base: EXCHANGE_ROUND,
        begin_ms: PATIENCE * context.step_ms,
        step_ms: PATIENCE * context.step_ms,
    })
}

async fn align(
    params: AlignParams,
    mut list: List,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let terms = terms(&params, &context, list.context("tacit-align/1/context"))?;
    let (keys, _) = list.keys(&params)?;
    let cells = if params.level == AlignLevel::Both { 4 } else { 2 };
    party.reveal(&sizes(2), cells, Concealed::new(()))?;
    let offered = all_offered(&mut party, &context, &params, keys.len()).await?;
    let rows = list.rows();
    let desk = &mut list.desk;
    let mut host = Host {
        storage: desk.storage.as_mut(),
        workers: desk.workers.as_ref(),
        memory: desk.memory,
        run: 0,
        resume: Some(Resume { key: &desk.key, state: desk.state.as_deref() }),
    };
    let outcome = intersect(&mut party, &terms, &keys, &mut host).await?;
    let mut kept = Kept { records: 0, width: KEPT_BYTES, rows: 0 };
    let mut matched = 0;
    match &outcome {
        Outcome::Set(set) => {
            matched = if params.level == AlignLevel::Both { set.matches() } else { 0 };
            set.matched(desk.storage.as_mut(), &mut |storage, at| {
                let Some(first) = at.first() else { return Ok(()) };
                let key = List::key_of(&rows, storage, *first)?;
                kept.records += 1;
                kept.rows += at.len() as u64;
                desk.keep.put(&key[..KEPT_BYTES]) // proof: a hash is longer.
            })?;
        }
        Outcome::Spine(spine) => {
            matched = spine.matches();
            kept.width = 2 * KEPT_BYTES;
            spine.each_with(desk.storage.as_mut(), &mut |storage, uid, at| {
                // What was padded has no row.
                let first = at.first().filter(|row| **row < rows.count);
                let key = first.map_or(Ok([0; 32]), |row| List::key_of(&rows, storage, *row))?;
                kept.records += 1;
                kept.rows += if first.is_some() { at.len() as u64 } else { 0 };
                desk.keep.put(&[&uid, &key[..KEPT_BYTES]].concat()) // proof: as above.
            })?;
        }
        Outcome::Cardinality(_) | Outcome::Nothing => {}
    }
    // Before this party votes: once it has, the job may succeed without it. What a job finds that does not is removed.
    if matches!(outcome, Outcome::Set(_) | Outcome::Spine(_)) {
        list.desk.keep.done(kept)?;
    }
    let query = list.context("tacit-align/1/done");
    hand(&mut party, &context, result(1), query, vec![1], (offered, matched)).await
}

/// How many keys all parties offer together: what the job is metered by, the same number at every party. Each party learns
/// each size in the exchange as well; whoever sees the receipt learns the sum alone.
pub(super) async fn all_offered(
    party: &mut Party,
    context: &JointContext,
    params: &AlignParams,
    own: u64,
) -> Result<u64, Abort> {
    let until = party.now().plus(PATIENCE * context.step_ms);
    let said = party.exchange(SIZES, &own.to_be_bytes(), 8, until).await?.all(SIZES)?;
    let least = params.size.unwrap_or(params.keys_min);
    let mut sum = own;
    for (seat, body) in said {
        let blame = |offence| Blame::seat(seat, offence).at(SIZES);
        let size = u64::from_be_bytes(body.try_into().map_err(|_| blame(Offence::Malformed))?);
        if !(least..=params.keys_max()).contains(&size) {
            return Err(blame(Offence::BadSize));
        }
        sum = sum.saturating_add(size);
    }
    Ok(sum)
}

/// Sums the cells of all seats for the recipient, and meters what was offered and what both have learnt.
pub(super) async fn hand(
    party: &mut Party,
    context: &JointContext,
    disclosure: Disclosure,
    query: Hash,
    cells: Vec<u64>,
    (offered, matched): (u64, u64),
) -> Result<JointOutput, Abort> {
    let plan = Collection {
        context: context.session,
        query,
        collector: context.aggregator,
        step_ms: context.step_ms,
        round: session::COLLECT_ROUND,
        recipient: context.recipient,
        disclosure,
    };
    let outcome = tacit_secagg::collect(party, &plan, &Vector::W64(cells)).await?;
    let given = Given { cells: offered, bytes: offered.saturating_mul(32) };
    let output = session::output(outcome, given, matched, 0)?;
    if !session::confirm(party, context, 0, &output).await? {
        return Err(Abort::Local(Fault::new(Code::JobPeerLost, "a party was lost before its release was durable")));
    }
    given.meter(party)?;
    party.meter(Unit::CellOut, matched)?;
    party.meter(Unit::CellSuppressed, 0)?;
    Ok(output)
}
