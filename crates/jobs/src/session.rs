//! What every joint half begins with: all seats agree on the job, the roster and the attempt
//! before any input moves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tacit_crypto::SealKey;
use tacit_protocol::{Abort, Disclosure, Party};
use tacit_secagg::{Blinded, Collection, Epoch, Outcome, Plan, Release, Vector};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, Seat, Step, Unit, wire};

use crate::kind::{JointContext, JointOutput, OpenedVector};

/// The step of the agreement, before any round of a protocol.
pub const AGREE: Step = Step::new(0, 1);
/// How many steps' time a party waits for a peer that still reads its rows: who has few rows, or none, is done with them long
/// before who has many. Of an attempt of up to some minutes that is all; the attempt's end is the bound there. A peer that is
/// gone is heard of at once.
pub(crate) const READING: u64 = 32;

/// The first round number that a kind's protocols may use.
pub const FIRST_ROUND: u16 = 1;

/// Exchanges the session hash with every seat over the direct links, for each of which this waits so long: a seat begins when
/// it has read its rows.
///
/// # Errors
/// [`Abort::Disagreement`] naming the seats that hold another hash, [`Abort::Missing`] for silent
/// ones: nothing of this party's input has left at that point.
pub async fn agree(party: &mut Party, session: &Hash, wait_ms: u64) -> Result<(), Abort> {
    party.progress(AGREE);
    let until = party.now().plus(wait_ms);
    let echoes = party.exchange(AGREE, session.as_bytes(), 32, until).await?.all(AGREE)?;
    let seats: Vec<Seat> =
        echoes.iter().filter(|(_, echo)| echo.as_slice() != session.as_bytes()).map(|(s, _)| *s).collect();
    if seats.is_empty() { Ok(()) } else { Err(Abort::Disagreement { seats }) }
}

/// Agrees with every seat, then deals keys for `rounds` aggregations, whose sums every seat checks where `checked` says so.
///
/// # Errors
/// Those of [`agree`] and of the aggregation's set-up.
pub async fn begin(party: &mut Party, context: &JointContext, rounds: u16, checked: bool) -> Result<Epoch, Abort> {
    agree(party, &context.session, context.step_ms).await?;
    let params = tacit_secagg::Params::new(party.seating().len() as u16)?;
    let plan = Plan {
        params: if checked { params.verified() } else { params },
        context: context.session,
        rounds,
        aggregator: context.aggregator,
        step_ms: context.step_ms,
        step_base: FIRST_ROUND,
    };
    tacit_secagg::setup(party, &plan).await
}

/// What a party has given to aggregations under masks. It follows from lengths and widths, so it is the same number at
/// every party, and the same for all inputs. Of lists of keys it is their lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Given {
    /// Cells.
    pub cells: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Given {
    /// Of summands of eight bytes.
    pub(crate) fn of(cells: &[u64]) -> Self {
        let cells = cells.len() as u64;
        Self { cells, bytes: cells * 8 } // proof: they are in memory.
    }

    /// Adds one more vector.
    pub fn add(&mut self, vector: &Vector) {
        let cells = vector.len() as u64;
        self.cells += cells;
        self.bytes += cells * vector.width().bytes() as u64;
    }

    /// Meters it.
    ///
    /// # Errors
    /// [`Abort::Local`] when a counter would overflow.
    pub fn meter(self, party: &mut Party) -> Result<(), Abort> {
        party.meter(Unit::CellIn, self.cells)?;
        party.meter(Unit::PayloadByte, self.bytes)
    }
}

/// What a joint half hands to its node after its last, blind aggregation.
///
/// # Errors
/// [`Abort::Local`] when the aggregation was not blind.
pub fn output(outcome: Outcome, given: Given, cells_out: u64, cells_suppressed: u64) -> Result<JointOutput, Abort> {
    let internal = || Abort::Local(Fault::new(Code::JobInternal, "the last aggregation was not blind"));
    let release = outcome.release.ok_or_else(internal)?;
    Ok(JointOutput {
        package: outcome.blinded.map(|b| wire::encode(&b)),
        made: outcome.made,
        release: wire::encode(&release),
        survivors: outcome.survivors,
        cells_in: given.cells,
        payload_bytes: given.bytes,
        cells_out,
        cells_suppressed,
        each: Vec::new(),
    })
}

/// What the seats hand over at the end: summands of numbers for the recipient, and what of it is metered.
pub(crate) struct Handed {
    /// What the recipient learns.
    pub disclosure: Disclosure,
    /// What is summed, alike at every seat.
    pub query: Hash,
    /// This seat's summands.
    pub cells: Vec<u64>,
    /// What this party has given.
    pub given: Given,
    /// What each has given, by seat, where not all have given alike.
    pub each: Vec<Given>,
    /// Numbers that are metered as released.
    pub released: u64,
}

/// Sums the cells of all seats for the recipient. Each seat makes its part of the key durable before it says that it is done.
///
/// # Errors
/// Those of [`tacit_secagg::collect`]; `job.peer_lost` when a seat's part of the key did not become durable.
pub(crate) async fn hand(party: &mut Party, context: &JointContext, handed: Handed) -> Result<JointOutput, Abort> {
    let Handed { disclosure, query, cells, given, each, released } = handed;
    let plan = Collection {
        context: context.session,
        query,
        collector: context.aggregator,
        step_ms: context.step_ms,
        round: COLLECT_ROUND,
        recipient: context.recipient,
        disclosure,
    };
    let outcome = tacit_secagg::collect(party, &plan, &Vector::W64(cells)).await?;
    let output = JointOutput { each, ..output(outcome, given, released, 0)? };
    if !confirm(party, context, 0, &output).await? {
        return Err(Abort::Local(Fault::new(Code::JobPeerLost, "a party was lost before its release was durable")));
    }
    given.meter(party)?;
    party.meter(Unit::CellOut, released)?;
    party.meter(Unit::CellSuppressed, 0)?;
    Ok(output)
}

/// The recipient's part: takes the blinding away with its key and every survivor's release.
///
/// # Errors
/// `receipt.invalid` when a release is missing or is not the one committed to; `job.not_ours` when
/// the key is another.
pub fn unblind(key: &SealKey, package: &[u8], releases: &BTreeMap<Seat, Vec<u8>>) -> Result<OpenedVector, Fault> {
    let invalid = |what: &str| Fault::new(Code::ReceiptInvalid, format!("the sealed result: {what}"));
    let blinded: Blinded = wire::decode_capped(package, MESSAGE_BYTES_MAX).map_err(|e| invalid(&e.to_string()))?;
    let releases = releases
        .iter()
        .map(|(seat, bytes)| wire::decode::<Release>(bytes).map(|r| (*seat, r)))
        .collect::<Result<BTreeMap<_, _>, _>>()
        .map_err(|e| invalid(&e.to_string()))?;
    let survivors = blinded.survivors().len();
    match tacit_secagg::unblind(key, &blinded, &releases)? {
        Vector::W128(cells) => Ok(OpenedVector { cells, survivors }),
        Vector::W64(cells) => Ok(OpenedVector { cells: cells.into_iter().map(u128::from).collect(), survivors }),
        _ => Err(invalid("another width")),
    }
}

/// What the parties of a sealed result committed to of its key.
pub struct Committed(Blinded);

impl Committed {
    /// Of a sealed result; `None` for bytes that need no key, as the summary of a window.
    pub fn of(package: &[u8]) -> Option<Self> {
        let mut blinded: Blinded = wire::decode_capped(package, MESSAGE_BYTES_MAX).ok()?;
        blinded.vector = wire::Blob::default();
        Some(Self(blinded))
    }

    /// Whether a party's part of the key is the one that it committed to; `None` for a seat that has no part in it.
    pub fn fits(&self, seat: Seat, release: &[u8]) -> Option<bool> {
        self.0.commits(seat, wire::decode::<Release>(release).ok().as_ref())
    }
}

/// The last step of a joint half: every survivor has made its release durable. The round number lies
/// above those of every aggregation.
const CONFIRM_ROUND: u16 = 0x7000;

/// Whether a step is one of the confirmation.
pub fn is_confirmation(step: Step) -> bool {
    step.round() >= CONFIRM_ROUND
}

/// The round number of a sum without drop-out.
pub const COLLECT_ROUND: u16 = 0x6000;

/// The step in which the parties of a verified computation agree on the seed of their seal, before the sum.
pub const SEAL: Step = Step::new(COLLECT_ROUND, 0);

/// The first round number of a computation on shares, whose steps are numbered on from it through later rounds.
pub const COMPUTE_ROUND: u16 = 0x1000;
/// The first round number of an exchange of keys, whose steps are numbered on from it through later rounds.
/// It lies below that of the sum for the recipient, because who has gone through an exchange forgets what lies before it.
pub const ALIGN_ROUND: u16 = 0x0800;
/// The round number that no step of such an exchange reaches.
const ALIGN_END: u16 = COMPUTE_ROUND;

/// The round number that no step of a computation reaches: a plan has fewer than 2^30 steps.
const COMPUTE_END: u16 = 0x5000;

/// The round number of a window of calls; its steps are numbered on from it, up to those of the sum without drop-out.
pub const ONLINE_ROUND: u16 = 0x5000;

/// Whether a step is one of an exchange of keys. It carries nothing that a later attempt could not carry again: such an
/// exchange goes on in another attempt, with the same input or with fresh secrets.
fn is_align(step: Step) -> bool {
    (ALIGN_ROUND..ALIGN_END).contains(&step.round())
}

/// The step of a window, counted from its first.
fn online(step: Step) -> Option<u32> {
    (ONLINE_ROUND..COLLECT_ROUND).contains(&step.round()).then(|| step.0 - Step::new(ONLINE_ROUND, 0).0)
}

/// The step of a computation on shares, counted from its first.
fn computed(step: Step) -> Option<u32> {
    (COMPUTE_ROUND..COMPUTE_END).contains(&step.round()).then(|| step.0 - Step::new(COMPUTE_ROUND, 0).0)
}

/// The name of a protocol's phase, for progress and for the egress ledger.
pub fn phase_name(step: Step) -> &'static str {
    match online(step) {
        Some(0) => return "point",
        Some(1) => return "ready",
        Some(_) => return "calls",
        None => {}
    }
    match computed(step) {
        Some(0) => return "terms",
        Some(1) => return "seeds",
        Some(_) => return "compute",
        None => {}
    }
    if is_align(step) {
        return "align";
    }
    if step == SEAL {
        return "seal";
    }
    if step.round() == COLLECT_ROUND {
        return tacit_secagg::COLLECT_PHASES.get(usize::from(step.phase())).copied().unwrap_or("protocol");
    }
    let setup = step.round() == FIRST_ROUND;
    let mut phases = tacit_secagg::PHASES.iter().chain(tacit_secagg::verify::VERIFY_PHASES);
    phases.find(|p| p.setup == setup && p.number == step.phase()).map_or("protocol", |p| p.name)
}

/// Whether a step carries this party's masked input, after which an attempt is not repeated. Of a computation on
/// shares these are all steps after the agreement and the seeds.
pub fn is_input(step: Step) -> bool {
    // From the owner's word that it is ready on, so that no answer waits for a disk.
    if let Some(number) = online(step) {
        return number >= 1;
    }
    if let Some(number) = computed(step) {
        return number >= 2;
    }
    if is_align(step) {
        return false;
    }
    let phase = if step.round() == COLLECT_ROUND { "share" } else { "masked" };
    step.round() > FIRST_ROUND && !is_confirmation(step) && phase_name(step) == phase
}

/// The label of a record of [`confirm`], which no record of a protocol below has.
const VOTE_LABEL: &[u8] = b"tacit-vote/1/";

/// Bytes of a sealed result that is made durable before the vote for it: two million rows of scores and more. Of a larger one
/// the aggregator has nothing after a crash between its vote and its end, and the attempt fails.
pub const VOTE_PACKAGE_BYTES_MAX: usize = 32 << 20;

/// What a party makes durable around its vote, for its node to act on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Vote {
    /// It is about to vote for this end: from now on the others may count on it.
    For(JointOutput),
    /// The result that it voted for is dropped.
    Dropped,
}

impl Vote {
    fn record(&self) -> Vec<u8> {
        [VOTE_LABEL, &wire::encode(self)].concat()
    }

    /// Whether a record that a joint half had persisted is one of these.
    pub fn is(record: &[u8]) -> bool {
        record.starts_with(VOTE_LABEL)
    }

    /// Reads such a record; `None` for every other.
    pub fn of(record: &[u8]) -> Option<Self> {
        wire::decode_capped(record.strip_prefix(VOTE_LABEL)?, MESSAGE_BYTES_MAX).ok()
    }
}

/// Makes what this party will attest durable, its release with it, and learns whether every survivor has done so: a
/// result whose key a lost party still held could never be opened, nor its receipt be signed by all. `false` means that a
/// survivor was lost, so the result must be made again without it; nobody hands out a release of this one.
///
/// The aggregator decides for all, so that no two parties go different ways.
///
/// # Errors
/// [`Abort::Missing`] when the aggregator is lost.
pub async fn confirm(
    party: &mut Party,
    context: &JointContext,
    attempt: u16,
    output: &JointOutput,
) -> Result<bool, Abort> {
    let (vote, verdict) = (Step::new(CONFIRM_ROUND + attempt, 1), Step::new(CONFIRM_ROUND + attempt, 2));
    party.progress(vote);
    if output.package.as_ref().is_none_or(|package| package.len() <= VOTE_PACKAGE_BYTES_MAX) {
        party.persist(Vote::For(output.clone()).record()).await?;
    }
    let until = party.now().plus(context.step_ms);
    if party.seat() == context.aggregator {
        let others: Vec<Seat> = output.survivors.iter().copied().filter(|s| *s != party.seat()).collect();
        let votes = party.gather(&others, vote, 1, until).await?;
        let all = votes.missing.is_empty();
        if !all {
            // Before anyone hears of it: what is dropped for others must not be this party's end after a restart.
            party.persist(Vote::Dropped.record()).await?;
        }
        let heard: Vec<Seat> = votes.messages.keys().copied().collect();
        party.broadcast(&heard, verdict, &[u8::from(all)], party.now().plus(context.step_ms)).await?;
        return Ok(all);
    }
    party.send(context.aggregator, vote, vec![1], until).await?;
    // The aggregator waits for others as long as this party would, so the verdict may take twice that.
    let all = party.receive(context.aggregator, verdict, 1, until.plus(context.step_ms)).await? == [1];
    if !all {
        party.persist(Vote::Dropped.record()).await?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_each_protocol_have_numbers_and_names_of_their_own() {
        let last = Step(Step::new(COMPUTE_ROUND, 0).0 + (1 << 30) - 1);
        assert!(last.round() < COMPUTE_END && COMPUTE_END < COLLECT_ROUND && COLLECT_ROUND < CONFIRM_ROUND);
        let named = |steps: &[Step]| steps.iter().map(|s| (phase_name(*s), is_input(*s))).collect::<Vec<_>>();
        let compute = [0, 1, 2, 0xffff].map(|phase| Step::new(COMPUTE_ROUND, phase));
        assert_eq!(named(&compute), [("terms", false), ("seeds", false), ("compute", true), ("compute", true)]);
        assert_eq!(named(&[Step::new(COMPUTE_ROUND + 1, 0), last]), [("compute", true); 2]);
        let collect = [0, 1, 2, 3, 4].map(|phase| phase_name(Step::new(COLLECT_ROUND, phase)));
        assert_eq!(collect, ["seal", "point", "share", "collected", "protocol"]);
        let others = [AGREE, Step::new(CONFIRM_ROUND, 1), Step::new(COLLECT_ROUND, 1), Step::new(COMPUTE_END, 0)];
        assert!(others.iter().chain([&SEAL]).all(|s| phase_name(*s) != "compute" && !is_input(*s)));
        assert!(is_input(Step::new(COLLECT_ROUND, 2)));
    }
}
