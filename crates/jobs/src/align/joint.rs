//! The joint half of an alignment: the owners' lists are brought together, each keeps what it may learn, and the recipient
//! hears that it was done.

use tacit_governance::{AlignLevel, MatchesShown, Shown};
use tacit_protocol::{Abort, Audience, Blame, Concealed, Disclosure, Offence, Party};
use tacit_psi::terms::BATCHES_A_STEP;
use tacit_psi::{Common, Host, Level, Mode, Outcome, Resume, Terms, intersect, star};
use tacit_receipts::record::cardinality_bucket;
use tacit_types::{Code, Fault, Hash, NodeId, Seat, Step};

use super::desk::{KEPT_BYTES, Kept};
use super::list::List;
use super::matched::Matched;
use super::params::{AlignMode, AlignParams};
use crate::kind::{JointContext, JointFuture, JointHalf, JointOutput};
use crate::session::{self, Given, Handed};

/// Points of a batch.
pub(super) const BATCH: u32 = 4096;
/// Batches between two states: what a crash costs.
const CHECKPOINT: u32 = 4;
/// How many steps' time may go by between two messages; more where whole lists are masked and sorted between them.
pub(super) const PATIENCE: u64 = 4;
pub(super) use crate::session::READING;

/// The step in which every party says how many keys it has, and what its contract lets a receipt show. Phase 1 was the step of
/// before, which said the first alone: two nodes of different age wait for each other, and neither blames the other.
const SIZES: Step = Step::new(session::ALIGN_ROUND, 2);
/// The first round of the exchange itself.
pub(super) const EXCHANGE_ROUND: u16 = session::ALIGN_ROUND + 1;

/// What the level opens to the nodes: an answer to each key of who learns. It counts the most that the parameters allow.
pub(super) fn opening(params: &AlignParams) -> Disclosure {
    let max = params.keys_max();
    let others = params.owners.len().saturating_sub(1) as u64;
    let (what, cells_max) = match params.level {
        AlignLevel::Receiver if others > 1 => {
            ("which of its keys each other owner has, to the receiver", others.saturating_mul(max))
        }
        AlignLevel::Receiver => ("which of its keys the other has, to the receiver", max),
        AlignLevel::Both => ("which of its keys the other has, to both", 2 * max),
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

pub(super) fn half(list: Result<(AlignParams, List), Fault>) -> Box<dyn JointHalf> {
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

/// The terms of the exchanges, the same at all parties: one between two owners, or the receiver's with each other owner,
/// one after the other.
fn terms(params: &AlignParams, context: &JointContext, list: &List) -> Result<Vec<Terms>, Abort> {
    let seats: Vec<Seat> = params.owners.iter().map(|o| seat_of(context, &o.owner)).collect::<Result<_, _>>()?;
    let learner = params.learner.map(|l| seat_of(context, &l)).transpose()?;
    let Some(receiver) = learner.or(seats.first().copied()) else {
        return Err(Abort::Local(Fault::new(Code::RefusedParties, "an alignment has owners")));
    };
    let senders = seats.iter().copied().filter(|s| *s != receiver);
    let run = list.context("tacit-align/1/context");
    let many = seats.len() > 2;
    let terms = senders.enumerate().map(|(turn, sender)| Terms {
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
        context: if many { list.context_of("tacit-align/1/star", turn as u64) } else { run },
        receiver,
        sender,
        disclosure: opening(params),
        books: None,
        items_max: params.keys_max(),
        items_min: params.size.unwrap_or(params.keys_min),
        announced: None,
        batch: BATCH,
        checkpoint: CHECKPOINT,
        step_base: EXCHANGE_ROUND + turn as u16, // proof: fewer turns than the owners of one job.
        begin_ms: patience(params, context, turn as u64),
        step_ms: PATIENCE * context.step_ms,
    });
    Ok(terms.collect())
}

/// How long a party waits for an exchange with the receiver to begin that has so many before it. Between its messages an
/// exchange is held to far less, and the attempt as a whole to what the operator has signed.
fn patience(params: &AlignParams, context: &JointContext, before: u64) -> u64 {
    let batches = params.keys_max().div_ceil(u64::from(BATCH));
    (1 + before * (1 + batches / BATCHES_A_STEP)).saturating_mul(PATIENCE * context.step_ms)
}

/// What is booked for an exchange with the receiver: the keys of its list, each of which gets an answer. The receipt has the
/// power of two not below it, so where the contracts show no single list it is no more than what they show: the keys of all lists
/// together, as far as the parameters let one list have so many.
fn booked(params: &AlignParams, lists: &[u64], shown: Shown, receiver: Seat) -> u64 {
    let all = lists.iter().fold(0, |sum: u64, list| sum.saturating_add(*list));
    match lists.get(receiver.index()) {
        Some(list) if shown.each_list => *list,
        _ => all.min(params.keys_max()),
    }
}

async fn align(
    params: AlignParams,
    mut list: List,
    mut party: Party,
    context: JointContext,
) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, READING * context.step_ms).await?;
    let mut terms = terms(&params, &context, &list)?;
    let (keys, _) = list.keys(&params)?;
    let owners = params.owners.len();
    let cells = if params.level == AlignLevel::Both { 4 } else { owners as u64 };
    party.reveal(&sizes(owners), cells, Concealed::new(()))?;
    let (lists, shown) =
        all_offered(&mut party, &context, &params, (keys.len(), list.desk.shown, list.desk.sole)).await?;
    list.others(&lists, keys.len())?;
    // What was counted against a contract's limit is what may come.
    for run in &mut terms {
        let peer = if party.seat() == run.receiver { run.sender } else { run.receiver };
        run.announced = lists.get(peer.index()).copied();
        run.books = Some(booked(&params, &lists, shown, run.receiver));
    }
    let rows = list.rows();
    let desk = &mut list.desk;
    let mut host = Host {
        storage: desk.storage.as_mut(),
        workers: desk.workers.as_ref(),
        memory: desk.memory,
        run: 0,
        resume: Some(Resume { key: &desk.key, state: desk.state.as_deref() }),
    };
    let found = match &terms[..] {
        [one] => Found::Two(intersect(&mut party, one, &keys, &mut host).await?),
        many => Found::All(star(&mut party, many, &keys, &mut host).await?),
    };
    if terms.len() > 1 {
        settle(&mut party, &context, &params, &terms).await?;
    }
    let mut matched = 0;
    // Durable before this party votes: once it has, the job may succeed without it. What a job finds that does not is removed.
    match &found {
        Found::Two(Outcome::Set(set)) => {
            matched = if params.level == AlignLevel::Both { set.matches() } else { 0 };
            let mut keys = Matched::new(&rows);
            set.matched(desk.storage.as_mut(), &mut |storage, at| keys.put(storage, &at))?;
            keys.keep(desk)?;
        }
        Found::All(Some(common)) => {
            let mut keys = Matched::new(&rows);
            common.each(desk.storage.as_mut(), &mut |storage, at| keys.put(storage, &at))?;
            keys.keep(desk)?;
        }
        Found::Two(Outcome::Spine(spine)) => {
            matched = spine.matches();
            let mut kept = Kept { records: 0, width: 2 * KEPT_BYTES, rows: 0 };
            let keep = &mut desk.keep;
            spine.each_with(desk.storage.as_mut(), &mut |storage, uid, at| {
                let key = List::own_key(&rows, storage, &at)?;
                kept.records += 1;
                kept.rows += if key.is_some() { at.len() as u64 } else { 0 };
                keep.put(&[&uid, &key.unwrap_or_default()[..KEPT_BYTES]].concat()) // proof: a hash is longer.
            })?;
            desk.keep.done(kept)?;
        }
        Found::Two(Outcome::Cardinality(_) | Outcome::Nothing) | Found::All(None) => {}
    }
    let query = list.context("tacit-align/1/done");
    let metered = metered(matched, shown.matches, context.cohort.rows);
    hand(&mut party, &context, result(1), query, vec![1], (Offer::of(lists, shown), metered)).await
}

/// What stands in the receipt for so many matches that both know: nothing for fewer than the floor, of which a reader of the
/// log could tell single persons.
fn metered(matched: u64, shown: MatchesShown, floor: u64) -> u64 {
    if matched < floor {
        return 0;
    }
    match shown {
        MatchesShown::Never => 0,
        MatchesShown::Bucket => cardinality_bucket(matched),
        MatchesShown::Exact => matched,
    }
}

/// What the exchanges of a job have found.
enum Found {
    /// Of two owners.
    Two(Outcome),
    /// Of more: what all have, at the receiver.
    All(Option<Common>),
}

/// Of three and more owners, who are done one after the other: all wait for the last, and book what the receiver has learnt
/// of the others too, because every party attests the same openings.
async fn settle(party: &mut Party, context: &JointContext, params: &AlignParams, runs: &[Terms]) -> Result<(), Abort> {
    let done = Step::new(EXCHANGE_ROUND + runs.len() as u16, 1); // proof: fewer runs than the owners of one job.
    party.progress(done);
    let until = party.now().plus(patience(params, context, runs.len() as u64));
    party.exchange(done, &[], 0, until).await?.all(done)?;
    let me = party.seat();
    let others = runs.iter().filter(|run| ![run.receiver, run.sender].contains(&me));
    let cells = others.filter_map(|run| run.books).sum();
    party.reveal(&opening(params), cells, Concealed::new(()))
}

/// What the parties are metered by.
pub(super) enum Offer {
    /// Each by the same number: queries, or the keys that all offer together.
    Alike(u64),
    /// Each, by seat, by the keys that it offers.
    Each(Vec<u64>),
}

impl Offer {
    /// Lists of these lengths, of which a receipt shows so much.
    pub fn of(lists: Vec<u64>, shown: Shown) -> Self {
        if shown.each_list {
            return Offer::Each(lists);
        }
        Offer::Alike(lists.iter().fold(0, |sum, list| sum.saturating_add(*list)))
    }
}

/// How many keys each party offers, by seat. Each party learns each size in the exchange as well. Each also says what its
/// contract lets a receipt show of lists and matches. Under one contract all say the same, or who says otherwise is to blame;
/// under several the least of it holds, and whoever says less than its contract has less metered.
pub(super) async fn all_offered(
    party: &mut Party,
    context: &JointContext,
    params: &AlignParams,
    (own, allowed, sole): (u64, Shown, bool),
) -> Result<(Vec<u64>, Shown), Abort> {
    let until = party.now().plus(PATIENCE * context.step_ms);
    let body = [&own.to_be_bytes()[..], &[allowed.number()]].concat();
    let mut shown = allowed;
    let said = party.exchange(SIZES, &body, body.len(), until).await?.all(SIZES)?;
    let mut sizes = vec![own; party.seating().len()];
    for (seat, body) in said {
        let blame = |offence| Blame::seat(seat, offence).at(SIZES);
        let malformed = || blame(Offence::Malformed);
        let Some((size, [number])) = body.split_first_chunk::<8>() else { return Err(malformed()) };
        let size = u64::from_be_bytes(*size);
        let theirs = Shown::of_number(*number).ok_or_else(malformed)?;
        if sole && theirs != allowed {
            return Err(malformed());
        }
        shown = shown.least(theirs);
        let fits = context.owners.get(seat.index()).is_some_and(|owner| params.offers(owner).contains(&size));
        if !fits {
            return Err(blame(Offence::BadSize));
        }
        if let Some(place) = sizes.get_mut(seat.index()) {
            *place = size;
        }
    }
    Ok((sizes, shown))
}

/// Sums the cells of all seats for the recipient, and meters what was offered and what the contracts show of the matches.
pub(super) async fn hand(
    party: &mut Party,
    context: &JointContext,
    disclosure: Disclosure,
    query: Hash,
    cells: Vec<u64>,
    (offer, matched): (Offer, u64),
) -> Result<JointOutput, Abort> {
    let give = |keys: u64| Given { cells: keys, bytes: keys.saturating_mul(32) };
    let each: Vec<Given> = match &offer {
        Offer::Alike(_) => Vec::new(),
        Offer::Each(lists) => lists.iter().copied().map(give).collect(),
    };
    let given = match &offer {
        Offer::Alike(keys) => give(*keys),
        Offer::Each(_) => each.get(party.seat().index()).copied().unwrap_or_default(),
    };
    session::hand(party, context, Handed { disclosure, query, cells, given, each, released: matched }).await
}
