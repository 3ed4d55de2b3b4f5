//! The aggregator's part of a round: it contributes like every seat, adds what arrives, has the
//! survivors agreed on, and takes the masks off with what they open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tacit_crypto::pieces::Root;
use tacit_protocol::{Abort, Blame, Concealed, Offence, Party};
use tacit_types::wire::Blob;
use tacit_types::{Hash, Millis, Seat, Step};

use crate::blind::Blinded;
use crate::epoch::Epoch;
use crate::keys::RoundKeys;
use crate::mask::Masker;
use crate::messages::{DIGEST_BYTES, Digest, HEADER_BYTES, Header, Quorum, Receipt, Survivors, Terms};
use crate::params::Graph;
use crate::plan::{Delivery, Outcome, Plan, Round, round_phase as phase};
use crate::recover::{Opened, Recovery};
use crate::relay::{Collector, spread};
use crate::round::{Agreed, Member, is_vote};
use crate::signed::{Kind, Signed};
use crate::sum::Sum;
use crate::vector::Source;
use crate::verify::hub::Watch;
use crate::verify::{ClaimedSurvivors, List, PieceDigest};

/// Bytes of vectors that are on their way in but not complete: beyond this, senders wait.
pub const STAGING_BYTES_MAX: usize = 64 << 20;
/// The same where the graph is drawn: what the many others have in flight takes the rest.
pub const STAGING_OF_MANY_BYTES_MAX: usize = 16 << 20;

/// How many vectors may be on their way in at once.
fn slots(plan: &Plan, round: &Round) -> usize {
    let most = match plan.params.graph() {
        Graph::Complete => STAGING_BYTES_MAX,
        Graph::Harary { .. } => STAGING_OF_MANY_BYTES_MAX,
    };
    (most / (round.len * round.width.bytes()).max(1)).max(1)
}

/// Milliseconds for all vectors to come in: one step for as many as fit at once.
pub(crate) fn masked_ms(plan: &Plan, round: &Round) -> u64 {
    let turns = usize::from(plan.params.seats()).div_ceil(slots(plan, round)) as u64;
    plan.step_ms.saturating_mul(turns)
}

/// Runs a round at the aggregator.
pub(crate) async fn run(
    party: &mut Party,
    epoch: &mut Epoch,
    round: &Round,
    keys: RoundKeys,
    input: impl Source,
) -> Result<Outcome, Abort> {
    let member = start(party, epoch, round, keys).await?;
    let sum = Sum::of(round.width, Vec::new());
    let watch = epoch.plan.params.is_verified().then(|| Watch::new(round));
    let mut hub = Hub { member, sum, headers: Vec::new(), blames: Vec::new(), watch };
    let done = hub.sum_up(party, epoch, input).await;
    party.accuse(&hub.blames);
    let (agreed, root) = done?;
    hub.deliver(party, epoch, agreed, root).await
}

/// Step 1: the terms, to all participants that are not known to be lost.
async fn start<'a>(
    party: &mut Party,
    epoch: &mut Epoch,
    round: &'a Round,
    keys: RoundKeys,
) -> Result<Member<'a>, Abort> {
    let step = epoch.plan.round_step(round.index, phase::START);
    party.progress(step);
    let gone = party.gone();
    let participants: Vec<Seat> = epoch.participants.iter().copied().filter(|s| !gone.contains(s)).collect();
    let terms = Terms::new(round, participants.clone());
    let signed = Signed::new(party, Kind::Start, &epoch.t1, u32::from(round.index), &terms);
    let until = party.now().plus(epoch.plan.step_ms);
    spread(party, step, participants.clone(), signed.bytes(), until).await?;
    Member::with_terms(party, epoch, round, keys, &signed, participants)
}

struct Hub<'a> {
    member: Member<'a>,
    /// Every vector with a header, and of each that is on its way in exactly the chunks that its [`Staging`] keeps.
    sum: Sum,
    headers: Vec<Signed>,
    blames: Vec<Blame>,
    /// What a verified round keeps.
    watch: Option<Watch>,
}

/// A vector on its way in. Each chunk is added to the sum at once, while it lies in a cache from its hashing, and kept
/// until the vector is complete and its signed header fits. What does not get that far is subtracted again: sums in a
/// ring wrap, so that nothing of it is left, and no sum is opened while a vector is in staging.
struct Staging {
    /// What has been added: the chunks as they came, each with its offset, in order.
    chunks: Vec<(usize, Vec<u8>)>,
    /// Of the vector, joined from what the driver hashed where the chunks arrived. A verified round has
    /// another root.
    root: Option<Root>,
    tail: Vec<u8>,
    until: Millis,
}

impl Staging {
    fn new(until: Millis, root: Option<Root>) -> Self {
        Self { chunks: Vec::new(), root, tail: Vec::with_capacity(HEADER_BYTES), until }
    }

    /// Takes a chunk in and adds it: what lies before `bytes` is the vector, the rest its header.
    fn take(&mut self, sum: &mut Sum, offset: usize, mut chunk: Vec<u8>, known: &tacit_crypto::Pieces, bytes: usize) {
        let body = chunk.len().min(bytes.saturating_sub(offset));
        self.tail.extend_from_slice(chunk.get(body..).unwrap_or_default());
        chunk.truncate(body);
        if let Some(root) = &mut self.root {
            root.push(&chunk, known);
        }
        sum.add(offset, &chunk);
        self.chunks.push((offset, chunk));
    }

    /// Gives the vector up: the sum is as if it had never come.
    fn leave(self, sum: &mut Sum) {
        self.chunks.iter().for_each(|(offset, chunk)| sum.subtract(*offset, chunk));
    }

    /// BLAKE3 of the whole vector.
    fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for (_, chunk) in &self.chunks {
            hasher.update(chunk);
        }
        Hash(hasher.finalize().into())
    }
}

impl Hub<'_> {
    fn round(&self) -> &Round {
        self.member.round
    }

    fn bytes(&self) -> usize {
        self.round().len * self.round().width.bytes()
    }

    fn step(&self, epoch: &Epoch, number: u16) -> Step {
        epoch.plan.round_step(self.round().index, number)
    }

    /// Adds this seat's own masked vector.
    fn add_own(&mut self, party: &mut Party, epoch: &Epoch, input: impl Source) -> Result<(), Abort> {
        let masks = self.member.masks(party, epoch)?;
        let mut masker = Masker::new(input, masks);
        let mut hasher = blake3::Hasher::new();
        let chunk_bytes = party.seating().chunk_bytes();
        let (bytes, mut own) = (self.bytes(), Vec::with_capacity(self.bytes()));
        loop {
            let at = own.len();
            masker.next(&mut own, at.saturating_add(chunk_bytes).min(bytes))?;
            let chunk = own.get(at..).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            hasher.update(chunk);
            self.member.keep(chunk);
        }
        self.sum = Sum::of(self.round().width, own);
        let root = self.member.root(hasher);
        let header = self.member.sign_header(party, root);
        if let (Some(watch), Some(kept)) = (&mut self.watch, self.member.kept.take()) {
            watch.keep(party.seat(), kept);
        }
        self.headers.push(header);
        Ok(())
    }

    /// Steps 1 to 8 without the sum's delivery: who is in it, and the root of what the masks leave.
    async fn sum_up(
        &mut self,
        party: &mut Party,
        epoch: &mut Epoch,
        input: impl Source,
    ) -> Result<(Agreed, Hash), Abort> {
        self.add_own(party, epoch, input)?;
        self.add_others(party, epoch).await?;
        let agreed = self.settle(party, epoch).await?;
        let (secrets, root) = self.unmask(party, epoch, &agreed).await?;
        self.prove(party, epoch, &agreed, secrets).await?;
        Ok((agreed, root))
    }

    /// Steps 2 and 3: adds each vector that is complete by the deadline, and gives a receipt for it.
    async fn add_others(&mut self, party: &mut Party, epoch: &Epoch) -> Result<(), Abort> {
        let step = self.step(epoch, phase::MASKED);
        party.progress(step);
        let deadline = party.now().plus(masked_ms(&epoch.plan, self.round()));
        let me = party.seat();
        let mut waiting: BTreeSet<Seat> = self.member.participants.iter().copied().filter(|s| *s != me).collect();
        let mut staging: BTreeMap<Seat, Staging> = BTreeMap::new();
        let (bytes, verified) = (self.bytes(), self.watch.is_some());
        let at_once = slots(&epoch.plan, self.round());
        let share = party.seating().widened_bytes() / at_once as u64;
        if !verified {
            party.hash_ahead(step);
        }
        while let Some((from, until)) = self.admit(party, &mut waiting, &mut staging, at_once, deadline) {
            // Who may send stays the same until a vector begins, ends or runs out of time.
            while let Some(chunk) = party.chunk(&from, step, until).await? {
                let seat = chunk.from;
                let begins = waiting.remove(&seat);
                let turn = party.now().plus(epoch.plan.step_ms);
                if chunk.total != (bytes + HEADER_BYTES) as u64 {
                    self.blames.push(Blame::seat(seat, Offence::Malformed));
                    break;
                }
                let vector = staging
                    .entry(seat)
                    .or_insert_with(|| Staging::new(turn, (!verified).then(|| Root::new(bytes as u64))));
                party.widen(seat, share.min(chunk.total - chunk.offset - chunk.bytes.len() as u64)); // proof: a chunk ends within its message.
                vector.take(&mut self.sum, chunk.offset as usize, chunk.bytes, &chunk.pieces, bytes);
                let ended = if chunk.last { staging.remove(&seat) } else { None };
                let ends = ended.is_some();
                if let Some(vector) = ended {
                    self.complete(party, epoch, seat, vector).await?;
                }
                if begins || ends {
                    break;
                }
            }
        }
        staging.into_values().for_each(|vector| vector.leave(&mut self.sum));
        self.headers.sort_by_key(|h| h.seat);
        Ok(())
    }

    /// Who may send now, and until when: those whose vectors are on their way, and others while there
    /// is room for another. `None` when nobody is left or the time is over.
    fn admit(
        &mut self,
        party: &Party,
        waiting: &mut BTreeSet<Seat>,
        staging: &mut BTreeMap<Seat, Staging>,
        at_once: usize,
        deadline: Millis,
    ) -> Option<(BTreeSet<Seat>, Millis)> {
        let (gone, now) = (party.gone(), party.now());
        waiting.retain(|s| !gone.contains(s));
        let over = staging.extract_if(.., |s, vector| gone.contains(s) || now >= vector.until);
        over.for_each(|(_, vector)| vector.leave(&mut self.sum));
        let mut from: BTreeSet<Seat> = staging.keys().copied().collect();
        if staging.len() < at_once {
            from.extend(waiting.iter());
        }
        let until = staging.values().map(|v| v.until).min().unwrap_or(deadline).min(deadline);
        (!from.is_empty() && now < deadline).then_some((from, until))
    }

    async fn complete(
        &mut self,
        party: &mut Party,
        epoch: &Epoch,
        seat: Seat,
        mut vector: Staging,
    ) -> Result<(), Abort> {
        let (mut root, verified) = (vector.root.take().and_then(Root::finish), self.watch.is_some());
        if let Some(watch) = &mut self.watch {
            let mut whole = Vec::with_capacity(vector.chunks.iter().map(|(_, chunk)| chunk.len()).sum());
            vector.chunks.iter().for_each(|(_, chunk)| whole.extend_from_slice(chunk));
            root = Some(watch.keep(seat, whole));
        }
        let signed = Signed::read(&vector.tail);
        let signed = signed.filter(|s| s.is(party.seating(), Kind::Header, &self.member.tr, 0, seat));
        // Before a seat is blamed the machine hashes for itself: what a driver hashed amiss is not the sender's fault.
        let fits = |claimed: Hash| Some(claimed) == root || (!verified && claimed == vector.hash());
        let Some(signed) = signed.filter(|s| s.open::<Header>().is_some_and(|h| fits(h.root))) else {
            self.blames.push(Blame::seat(seat, Offence::BadInput));
            self.watch.iter_mut().for_each(|watch| watch.forget(seat));
            vector.leave(&mut self.sum);
            return Ok(());
        };
        let body = Receipt { header: signed.body_hash() };
        let receipt = Signed::new(party, Kind::Receipt, &self.member.tr, u32::from(seat.0), &body);
        self.headers.push(signed);
        let now = party.now();
        spread(party, self.step(epoch, phase::RECEIPT), [seat], receipt.bytes(), now).await
    }

    /// Adds to the sum what no seat has sent, where a test wants a lying aggregator.
    #[cfg(any(test, feature = "cheat"))]
    fn lie(&mut self) {
        let Some(extra) = crate::cheat::extra(self.round()) else { return };
        self.sum.add(0, &extra);
        // A seat that nobody has: in the claimed sum, and in no list.
        if let Some(watch) = &mut self.watch {
            watch.keep(Seat(u16::MAX), extra);
        }
    }

    /// Steps 4 to 6: the list of survivors, the votes for it, and enough votes to everyone.
    async fn settle(&mut self, party: &mut Party, epoch: &Epoch) -> Result<Agreed, Abort> {
        let step = self.step(epoch, phase::SURVIVORS);
        party.progress(step);
        #[cfg(any(test, feature = "cheat"))]
        self.lie();
        let signed = match &mut self.watch {
            None => {
                Signed::new(party, Kind::Survivors, &self.member.tr, 0, &Survivors { headers: self.headers.clone() })
            }
            Some(watch) => {
                let body = ClaimedSurvivors { headers: self.headers.clone(), claim: watch.claim() };
                Signed::new(party, Kind::Survivors, &self.member.tr, 0, &body)
            }
        };
        let list = self.watch.as_ref().and_then(|_| List::read(&signed));
        let agreed = Agreed::new(&self.member.tr, &self.headers, list);
        let need = epoch.plan.params.survivors_min();
        if agreed.seats.len() < usize::from(need) {
            return Err(Abort::Quorum { step, have: agreed.seats.len() as u16, need });
        }
        let until = party.now().plus(epoch.plan.step_ms);
        spread(party, step, self.member.participants.clone(), signed.bytes(), until).await?;
        let votes = self.collect_votes(party, epoch, &agreed).await?;
        self.hand_out_votes(party, epoch, &agreed, &votes).await?;
        Ok(agreed)
    }

    async fn collect_votes(
        &mut self,
        party: &mut Party,
        epoch: &Epoch,
        agreed: &Agreed,
    ) -> Result<BTreeMap<Seat, Signed>, Abort> {
        let (me, step) = (party.seat(), self.step(epoch, phase::VOTE));
        party.progress(step);
        let own = self.member.sign_vote(party, epoch, agreed).await?;
        let mut votes = BTreeMap::from([(me, own)]);
        let until = party.now().plus(epoch.plan.step_ms);
        let from = agreed.seats.iter().copied().filter(|s| *s != me);
        let mut collector = Collector::new(step, epoch.plan.caps().vote(), from, until);
        let need = usize::from(epoch.plan.params.threshold());
        // In a drawn graph each seat counts its own neighbours, so every vote is waited for.
        let enough = |n: usize| epoch.plan.params.graph() == Graph::Complete && n >= need;
        while !enough(votes.len()) {
            let Some((seat, bytes)) = collector.next(party, &mut self.blames).await? else { break };
            match Signed::read(&bytes) {
                Some(v)
                    if v.seat == seat && is_vote(&v, &self.member.tr, &agreed.hash) && v.verify(party.seating()) =>
                {
                    votes.insert(seat, v);
                }
                Some(v) => self.blames.push(Blame::seat(seat, Offence::Malformed).with(v.bytes())),
                None => self.blames.push(Blame::seat(seat, Offence::Malformed)),
            }
        }
        if votes.len() < need {
            return Err(Abort::Quorum { step, have: votes.len() as u16, need: need as u16 });
        }
        Ok(votes)
    }

    async fn hand_out_votes(
        &self,
        party: &mut Party,
        epoch: &Epoch,
        agreed: &Agreed,
        votes: &BTreeMap<Seat, Signed>,
    ) -> Result<(), Abort> {
        let step = self.step(epoch, phase::QUORUM);
        party.progress(step);
        let need = epoch.plan.params.threshold();
        let mut messages: BTreeMap<Seat, Arc<[u8]>> = BTreeMap::new();
        for seat in agreed.seats.iter().copied().filter(|s| *s != party.seat()) {
            let holders = epoch.topology.holders(seat);
            let votes: Vec<Signed> =
                holders.iter().filter_map(|h| votes.get(h)).take(usize::from(need)).cloned().collect();
            // A neighbourhood without enough votes opens nothing; its seats time out.
            if votes.len() == usize::from(need) {
                let body = Quorum { survivors: agreed.hash, need, votes };
                let signed = Signed::new(party, Kind::Quorum, &self.member.tr, u32::from(seat.0), &body);
                messages.insert(seat, signed.bytes().into());
            }
        }
        let until = party.now().plus(epoch.plan.step_ms);
        party.fan_out(step, &messages, until).await.map(|_| ())
    }

    /// Steps 7 and 8: collects openings until every mask is known, then takes all masks off.
    /// Gives the opened secrets, and the hash of the sum's bytes.
    async fn unmask(&mut self, party: &mut Party, epoch: &mut Epoch, agreed: &Agreed) -> Result<(Opened, Hash), Abort> {
        let step = self.step(epoch, phase::UNMASK);
        party.progress(step);
        let me = party.seat();
        let own = self.member.sign_openings(party, epoch, agreed).await?;
        let mut recovery = Recovery::new(epoch, &self.member, agreed);
        recovery.take(epoch, party.seating(), own, &mut self.blames);
        let until = party.now().plus(epoch.plan.step_ms);
        let from = agreed.seats.iter().copied().filter(|s| *s != me);
        let mut collector = Collector::new(step, epoch.plan.caps().unmask(), from, until);
        while !recovery.is_complete() {
            let Some((seat, sealed)) = collector.next(party, &mut self.blames).await? else { break };
            match recovery.unseal(seat, &sealed) {
                Some(signed) => recovery.take(epoch, party.seating(), signed, &mut self.blames),
                None => self.blames.push(Blame::seat(seat, Offence::Malformed)),
            }
        }
        let (masks, secrets) = recovery.masks(epoch, step)?;
        let root = self.sum.unmask(&masks);
        Ok((secrets, root))
    }

    /// Step 8 of a verified round: what the others check the sum with.
    async fn prove(&mut self, party: &mut Party, epoch: &Epoch, agreed: &Agreed, secrets: Opened) -> Result<(), Abort> {
        let (Some(watch), Some(list)) = (&self.watch, &agreed.list) else { return Ok(()) };
        let tags = watch.collect(party, epoch, self.member.round, list, &mut self.blames).await?;
        watch.prove(party, epoch, self.member.round, list, tags, secrets).await
    }

    /// Step 8: opens the sum to the nodes, or keeps the blinded one for the recipient.
    async fn deliver(self, party: &mut Party, epoch: &Epoch, agreed: Agreed, root: Hash) -> Result<Outcome, Abort> {
        let step = self.step(epoch, phase::RESULT);
        party.progress(step);
        let round = self.member.round;
        let (cells, until) = (round.len as u64, party.now().plus(epoch.plan.step_ms));
        let others: Vec<Seat> = agreed.seats.iter().copied().filter(|s| *s != party.seat()).collect();
        let survivors: Vec<Seat> = agreed.seats.iter().copied().collect();
        let tr = self.member.tr;
        let digest = |party: &Party| Signed::new(party, Kind::Result, &tr, 0, &Digest { survivors: agreed.hash, root });
        match &round.delivery {
            Delivery::Nodes(disclosure) if agreed.list.is_some() => {
                // Every survivor takes the masks off itself.
                let bytes = party.reveal(disclosure, cells, Concealed::new(self.sum.into_bytes()))?;
                let sum = Sum::vector(round.width, &bytes);
                Ok(Outcome { survivors, sum: Some(sum), blames: self.blames, ..Outcome::default() })
            }
            Delivery::Nodes(disclosure) => {
                let mut bytes = party.reveal(disclosure, cells, Concealed::new(self.sum.into_bytes()))?;
                let sum = Sum::vector(round.width, &bytes);
                let signed = digest(party).bytes();
                debug_assert_eq!(signed.len(), DIGEST_BYTES);
                bytes.extend_from_slice(&signed);
                spread(party, step, others, bytes, until).await?;
                Ok(Outcome { survivors, sum: Some(sum), blames: self.blames, ..Outcome::default() })
            }
            Delivery::Recipient { key, disclosure } => {
                let vector = Blob(self.sum.into_bytes());
                let signed = match &agreed.list {
                    None => digest(party),
                    Some(list) => {
                        let leaves = list.claim.shape.leaves(&vector, &[]);
                        Signed::new(party, Kind::Result, &tr, 0, &PieceDigest { survivors: agreed.hash, leaves })
                    }
                };
                spread(party, step, others, signed.bytes(), until).await?;
                let blinded =
                    Blinded { transcript: tr, recipient: *key, width: round.width, vector, headers: self.headers };
                let opened = Concealed::new((blinded, self.member.release));
                let (blinded, release) = party.reveal(disclosure, cells, opened)?;
                Ok(Outcome { survivors, blinded: Some(blinded), release, blames: self.blames, ..Outcome::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tacit_protocol::Disclosure;

    use super::*;
    use crate::params::Params;
    use crate::vector::Width;

    #[test]
    fn vectors_take_turns_beyond_the_staging_limit() {
        let disclosure = Disclosure { what: "sum".into(), to: tacit_protocol::Audience::Nodes, cells_max: 1 };
        let round = |len| Round {
            index: 0,
            query: Hash([0; 32]),
            model_root: None,
            width: Width::W64,
            len,
            delivery: Delivery::Nodes(disclosure.clone()),
        };
        let plan = Plan {
            params: Params::new(7).unwrap(),
            context: Hash([0; 32]),
            rounds: 1,
            aggregator: Seat(0),
            step_ms: 10,
            step_base: 0,
        };
        let most = STAGING_BYTES_MAX / 8;
        for (len, at_once) in [(1, most), (most / 2, 2), (most / 2 + 1, 1), (most, 1), (most + 1, 1)] {
            assert_eq!(slots(&plan, &round(len)), at_once, "{len}");
        }
        assert_eq!(masked_ms(&plan, &round(most / 2)), 40);
        assert_eq!(masked_ms(&plan, &round(most + 1)), 70);
        assert_eq!(masked_ms(&plan, &round(10)), 10);
    }
}
