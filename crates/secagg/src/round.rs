//! One round: the terms, the masked vectors, one agreed set of survivors, the openings, the sum.
//!
//! This file holds what every seat does. The aggregator's part is in [`crate::hub`].

use std::collections::BTreeSet;

use tacit_crypto::seal::seal_once;
use tacit_crypto::{Prg, PublicPoint, SecretScalar, SignedPrg};
use tacit_protocol::{Abort, Blame, Concealed, Offence, Party, chunk_buffer};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step, wire};

use crate::blind::Release;
use crate::epoch::{Epoch, Stage, record};
use crate::hub;
use crate::keys::{self, RoundKeys};
use crate::mask::{Masker, add_bytes};
use crate::merkle::Secret;
use crate::messages::{DIGEST_BYTES, Digest, HEADER_BYTES, Header, Opening, Quorum, Receipt, Terms, Unmask, Vote};
use crate::plan::{Delivery, Outcome, Round, round_phase as phase};
use crate::quorum;
use crate::relay::from_aggregator;
use crate::signed::{Kind, Signed, first_forged};
use crate::vector::{Source, Vector};
use crate::verify::{self, List};

/// Sums one vector of every surviving seat.
///
/// # Errors
/// [`Abort::Local`] for a source that does not fit the round, a round key that was used before, or
/// the source's own fault; [`Abort::Quorum`] when fewer than U_min survive or too few vote or open;
/// [`Abort::Missing`] when the aggregator was lost or this seat's vector came too late;
/// [`Abort::Misbehaved`] with blame; [`Abort::Undisclosed`] when the job does not list the opening.
pub async fn aggregate(
    party: &mut Party,
    epoch: &mut Epoch,
    round: &Round,
    input: impl Source,
) -> Result<Outcome, Abort> {
    if input.width() != round.width || input.len() != round.len || round.len == 0 {
        let what = format!("{} elements for a round of {}", input.len(), round.len);
        return Err(Abort::Local(Fault::new(Code::JobInternal, what)));
    }
    verify::check(&epoch.plan.params, round)?;
    party.narrow(epoch.plan.aggregator);
    let keys = epoch.consume(party, round.index).await?;
    if epoch.is_aggregator(party) {
        hub::run(party, epoch, round, keys, input).await
    } else {
        follow(party, epoch, round, keys, input).await
    }
}

/// A seat other than the aggregator.
async fn follow(
    party: &mut Party,
    epoch: &mut Epoch,
    round: &Round,
    keys: RoundKeys,
    input: impl Source,
) -> Result<Outcome, Abort> {
    let mut member = Member::enter(party, epoch, round, keys).await?;
    member.send_masked(party, epoch, input).await?;
    let survivors = member.agree_survivors(party, epoch).await?;
    member.vote(party, epoch, &survivors).await?;
    member.open(party, epoch, &survivors).await?;
    member.finish(party, epoch, survivors).await
}

/// The survivors as one signed list fixed them.
pub(crate) struct Agreed {
    pub seats: BTreeSet<Seat>,
    /// H(U).
    pub hash: Hash,
    /// The list with its claim, in verify mode.
    pub list: Option<List>,
}

impl Agreed {
    /// From headers in order of seat, and in verify mode the signed list that claims their sum.
    pub fn new(tr: &Hash, headers: &[Signed], list: Option<List>) -> Self {
        let hash = list.as_ref().map_or_else(|| verify::agreed_hash(tr, headers, None), |list| list.hash);
        Self { seats: headers.iter().map(|h| h.seat).collect(), hash, list }
    }
}

/// A seat within a round.
pub(crate) struct Member<'a> {
    pub round: &'a Round,
    pub keys: RoundKeys,
    pub tr: Hash,
    pub participants: Vec<Seat>,
    pub release: Option<Release>,
    pub header: Option<Signed>,
    /// The aggregator's signed terms.
    pub start: Signed,
    /// The aggregator's signed list of survivors.
    pub survivors: Option<Signed>,
    /// The masked vector, where its tags will be asked for.
    pub kept: Option<Vec<u8>>,
}

impl<'a> Member<'a> {
    /// Step 1: the terms, which this seat checks against what the job told it.
    async fn enter(party: &mut Party, epoch: &mut Epoch, round: &'a Round, keys: RoundKeys) -> Result<Self, Abort> {
        let (hub, rho) = (epoch.plan.aggregator, round.index);
        let step = epoch.plan.round_step(rho, phase::START);
        let until = party.now().plus(3 * epoch.plan.step_ms);
        let cap = epoch.plan.caps().start();
        let signed: Signed = from_aggregator(party, hub, step, cap, until).await?;
        if !signed.is(party.seating(), Kind::Start, &epoch.t1, u32::from(rho), hub) {
            return Err(Blame::seat(hub, Offence::Signature).at(step));
        }
        let terms: Terms = signed.open().ok_or_else(|| Blame::seat(hub, Offence::Malformed).at(step))?;
        if !terms.agree_with(round) {
            let expected = wire::encode(&Terms::new(round, terms.participants));
            return Err(Blame::seat(hub, Offence::WrongRoot).with(signed.bytes()).with(expected).at(step));
        }
        let sorted = terms.participants.windows(2).all(|pair| pair[0] < pair[1]);
        if !sorted || !terms.participants.iter().all(|s| epoch.participants.contains(s)) {
            return Err(Blame::seat(hub, Offence::Malformed).with(signed.bytes()).at(step));
        }
        if !terms.participants.contains(&party.seat()) {
            return Err(Abort::Missing { step, seats: vec![party.seat()] });
        }
        Self::with_terms(party, epoch, round, keys, &signed, terms.participants)
    }

    /// Fixes the round's transcript.
    ///
    /// # Errors
    /// [`Abort::Quorum`] below U_min, or when too few of this seat's own holders take part: in a drawn
    /// graph the aggregator could otherwise leave out a seat's honest neighbours and keep the rest.
    pub fn with_terms(
        party: &Party,
        epoch: &mut Epoch,
        round: &'a Round,
        keys: RoundKeys,
        signed: &Signed,
        participants: Vec<Seat>,
    ) -> Result<Self, Abort> {
        let step = epoch.plan.round_step(round.index, phase::START);
        let holders = epoch.topology.holders(party.seat());
        let near = holders.iter().filter(|s| participants.binary_search(s).is_ok()).count();
        let floors = [(participants.len(), epoch.plan.params.survivors_min()), (near, epoch.plan.params.threshold())];
        if let Some((have, need)) = floors.into_iter().find(|(have, need)| *have < usize::from(*need)) {
            return Err(Abort::Quorum { step, have: have as u16, need });
        }
        let tr = keys::round(&epoch.t1, round.index, &signed.body);
        party.signs_over(tr);
        epoch.set_stage(round.index, Stage::Used(Some(tr)));
        epoch.entered.insert(round.index, (tr, participants.clone()));
        let kept = epoch.plan.params.is_verified().then(Vec::new);
        let start = signed.clone();
        Ok(Self { round, keys, tr, participants, release: None, header: None, start, survivors: None, kept })
    }

    fn step(&self, epoch: &Epoch, number: u16) -> Step {
        epoch.plan.round_step(self.round.index, number)
    }

    /// The masks of this seat's vector: its own, one with each neighbour, and the recipient's.
    ///
    /// # Errors
    /// [`Abort::Local`] when the recipient's key is no key.
    pub fn masks(&mut self, party: &mut Party, epoch: &Epoch) -> Result<Vec<SignedPrg>, Abort> {
        let me = party.seat();
        let own = keys::self_seed(&self.tr, me, &self.keys.own);
        let mut masks = vec![SignedPrg { prg: Prg::new(&own), subtract: false }];
        let near = epoch.topology.neighbours(me).into_iter().filter(|s| self.participants.contains(s));
        let peers: Vec<_> = near.filter_map(|s| Some((s, epoch.peer(s, self.round.index)?.mask))).collect();
        let mine = (me, &self.keys.mask, &self.keys.mask_public);
        for (seed, (peer, _)) in keys::pair_seeds(&self.tr, mine, &peers).iter().zip(&peers) {
            masks.push(SignedPrg { prg: Prg::new(seed), subtract: me > *peer });
        }
        if let Delivery::Recipient { key, .. } = &self.round.delivery {
            let recipient = key.point().ok_or_else(|| {
                Abort::Local(Fault::new(Code::RefusedRecipient, "the recipient's key is not a group element"))
            })?;
            let (mask, release) = self.blind(party, &recipient);
            masks.push(mask);
            self.release = Some(release);
        }
        Ok(masks)
    }

    fn blind(&self, party: &mut Party, recipient: &PublicPoint) -> (SignedPrg, Release) {
        let me = party.seat();
        let secret = SecretScalar::random(party.rng());
        let point = secret.public();
        let seed = keys::blind_seed(&self.tr, me, &point, recipient, &secret.agree(recipient));
        (SignedPrg { prg: Prg::new(&seed), subtract: false }, Release { point: *point.as_bytes() })
    }

    /// The signed header of a masked vector with this BLAKE3 root.
    pub fn sign_header(&mut self, party: &Party, root: Hash) -> Signed {
        let release = self.release.map_or(Hash([0; 32]), |r| r.commitment(&self.tr, party.seat()));
        let header = Signed::new(party, Kind::Header, &self.tr, 0, &Header { root, release });
        self.header = Some(header.clone());
        header
    }

    /// Keeps a part of the masked vector in verify mode.
    pub fn keep(&mut self, chunk: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(chunk);
        }
    }

    /// The root of the masked vector: its hash, in verify mode that of its pieces.
    pub fn root(&self, hasher: blake3::Hasher) -> Hash {
        let whole = || Hash(hasher.finalize().into());
        self.kept.as_ref().map_or_else(whole, |kept| verify::shape(self.round).tree(kept, &[]).root())
    }

    /// Step 2: encodes, masks and sends a chunk at a time, and signs the hash of what was sent.
    async fn send_masked(&mut self, party: &mut Party, epoch: &Epoch, input: impl Source) -> Result<(), Abort> {
        let step = self.step(epoch, phase::MASKED);
        party.progress(step);
        let masks = self.masks(party, epoch)?;
        let mut masker = Masker::new(input, masks);
        let mut hasher = blake3::Hasher::new();
        let until = party.now().plus(hub::masked_ms(&epoch.plan, self.round));
        let bytes = self.round.len * self.round.width.bytes();
        let chunk_bytes = party.seating().chunk_bytes();
        party.may_widen(epoch.plan.aggregator);
        let mut message = party.open(epoch.plan.aggregator, step, (bytes + HEADER_BYTES) as u64);
        loop {
            let mut chunk = chunk_buffer(chunk_bytes.min(bytes + HEADER_BYTES));
            masker.next(&mut chunk, chunk_bytes)?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            self.keep(&chunk);
            message.write_chunk(chunk, until).await?;
        }
        let root = self.root(hasher);
        let header = self.sign_header(message.party(), root);
        message.write(&header.bytes(), until).await?;
        message.finish(until).await
    }

    /// Step 4: the list of survivors, with every header.
    async fn agree_survivors(&mut self, party: &mut Party, epoch: &Epoch) -> Result<Agreed, Abort> {
        let (hub, step) = (epoch.plan.aggregator, self.step(epoch, phase::SURVIVORS));
        let wait = hub::masked_ms(&epoch.plan, self.round) + 2 * epoch.plan.step_ms;
        let until = party.now().plus(wait);
        let verified = epoch.plan.params.is_verified();
        let cap = epoch.plan.caps().survivors() + verify::CLAIM_BYTES;
        let signed: Signed = from_aggregator(party, hub, step, cap, until).await?;
        if !signed.is(party.seating(), Kind::Survivors, &self.tr, 0, hub) {
            return Err(Blame::seat(hub, Offence::Signature).at(step));
        }
        let malformed = || Blame::seat(hub, Offence::Malformed).with(signed.bytes()).at(step);
        let (headers, claim) = verify::read_headers(&signed, verified).ok_or_else(malformed)?;
        if claim.is_some_and(|claim| claim.shape != verify::shape(self.round)) {
            return Err(malformed());
        }
        let mut last = None;
        for header in &headers {
            let in_order = last.is_none_or(|l| l < header.seat);
            let listed = self.participants.binary_search(&header.seat).is_ok();
            if !in_order || !listed || !header.claims(Kind::Header, &self.tr, 0, header.seat) {
                return Err(malformed());
            }
            last = Some(header.seat);
        }
        let neighbours: BTreeSet<Seat> = epoch.topology.holders(party.seat()).into_iter().collect();
        let to_verify: Vec<&Signed> = headers.iter().filter(|h| verified || neighbours.contains(&h.seat)).collect();
        if first_forged(party.seating(), &to_verify).is_some() {
            return Err(malformed());
        }
        let list = if verified { Some(List::read(&signed).ok_or_else(malformed)?) } else { None };
        let agreed = Agreed::new(&self.tr, &headers, list);
        let need = epoch.plan.params.survivors_min();
        if agreed.seats.len() < usize::from(need) {
            return Err(quorum::blame(epoch, &self.start, &signed).at(step));
        }
        self.survivors = Some(signed.clone());
        match headers.iter().find(|h| h.seat == party.seat()) {
            Some(listed) if Some(listed) == self.header.as_ref() => Ok(agreed),
            Some(_) => Err(malformed()),
            None => Err(self.left_out(party, epoch, &signed).await?),
        }
    }

    /// Left out of U: the aggregator's fault if it receipted this seat's vector.
    async fn left_out(&self, party: &mut Party, epoch: &Epoch, survivors: &Signed) -> Result<Abort, Abort> {
        let (hub, me) = (epoch.plan.aggregator, party.seat());
        let step = self.step(epoch, phase::RECEIPT);
        let now = party.now();
        let gathered = party.gather(&[hub], step, epoch.plan.caps().receipt(), now).await?;
        let receipt = gathered.messages.get(&hub).and_then(|bytes| Signed::read(bytes));
        let ours = self.header.as_ref().map(Signed::body_hash);
        Ok(match receipt {
            Some(r)
                if r.is(party.seating(), Kind::Receipt, &self.tr, u32::from(me.0), hub)
                    && r.open::<Receipt>().map(|body| body.header) == ours =>
            {
                Blame::seat(hub, Offence::LeftOut).with(r.bytes()).with(survivors.bytes()).at(step)
            }
            _ => Abort::Missing { step: self.step(epoch, phase::MASKED), seats: vec![me] },
        })
    }

    /// The one vote of this seat for one set of survivors, durable before anyone sees it.
    pub async fn sign_vote(&self, party: &mut Party, epoch: &Epoch, agreed: &Agreed) -> Result<Signed, Abort> {
        party.persist(record("vote", &epoch.t1, self.round.index, &agreed.hash)).await?;
        Ok(Signed::new(party, Kind::Vote, &self.tr, 0, &Vote { survivors: agreed.hash }))
    }

    /// Steps 5 and 6: votes, and waits for the votes of enough of its holders.
    async fn vote(&mut self, party: &mut Party, epoch: &Epoch, agreed: &Agreed) -> Result<(), Abort> {
        let hub = epoch.plan.aggregator;
        let step = self.step(epoch, phase::VOTE);
        party.progress(step);
        let vote = self.sign_vote(party, epoch, agreed).await?;
        let until = party.now().plus(epoch.plan.step_ms);
        party.send(hub, step, vote.bytes(), until).await?;
        verify::member::send_tags(self, party, epoch, agreed).await?;
        let step = self.step(epoch, phase::QUORUM);
        let cap = epoch.plan.caps().quorum();
        let signed: Signed = from_aggregator(party, hub, step, cap, until.plus(2 * epoch.plan.step_ms)).await?;
        let slot = u32::from(party.seat().0);
        if !signed.is(party.seating(), Kind::Quorum, &self.tr, slot, hub) {
            return Err(Blame::seat(hub, Offence::Signature).at(step));
        }
        let malformed = || Blame::seat(hub, Offence::Malformed).with(signed.bytes()).at(step);
        let body: Quorum = signed.open().ok_or_else(malformed)?;
        let need = epoch.plan.params.threshold();
        let mut electors: BTreeSet<Seat> = epoch.topology.holders(party.seat()).into_iter().collect();
        let votes: Vec<&Signed> = body.votes.iter().collect();
        let counts = quorum::counts(&body, &self.tr, &body.survivors, &electors, need);
        if !counts || first_forged(party.seating(), &votes).is_some() {
            return Err(quorum::blame(epoch, &self.start, &signed).at(step));
        }
        electors.retain(|seat| agreed.seats.contains(seat));
        if !quorum::counts(&body, &self.tr, &agreed.hash, &electors, need) {
            // Good votes for another list than the aggregator gave to this seat, or of seats that are not in it.
            let list = self.survivors.as_ref().map(Signed::bytes).unwrap_or_default();
            return Err(quorum::blame(epoch, &self.start, &signed).with(list).at(step));
        }
        Ok(())
    }

    /// This seat's openings for a settled set of survivors: of b for who is in it, of s for who is
    /// not, one kind for each dealer, and the rest is erased. The decision is durable first.
    pub async fn sign_openings(&self, party: &mut Party, epoch: &mut Epoch, agreed: &Agreed) -> Result<Signed, Abort> {
        let rho = self.round.index;
        if epoch.stage(rho) != Some(Stage::Used(Some(self.tr))) {
            return Err(Abort::Local(Fault::new(Code::JobInternal, format!("round {rho} was opened or refused"))));
        }
        epoch.set_stage(rho, Stage::Opened);
        party.persist(record("open", &epoch.t1, rho, &agreed.hash)).await?;
        let mut openings = Vec::new();
        for (dealer, held) in &mut epoch.held {
            if !self.participants.contains(dealer) {
                continue;
            }
            let secret = if agreed.seats.contains(dealer) { Secret::Own } else { Secret::Mask };
            if let Some((share, path)) = held.open(rho, secret) {
                openings.push(Opening { dealer: *dealer, share, path });
            }
        }
        epoch.erase_shares(rho);
        Ok(Signed::new(party, Kind::Unmask, &self.tr, 0, &Unmask { epoch: epoch.t1, survivors: agreed.hash, openings }))
    }

    /// Step 7: opens, sealed to the aggregator.
    async fn open(&mut self, party: &mut Party, epoch: &mut Epoch, agreed: &Agreed) -> Result<(), Abort> {
        let step = self.step(epoch, phase::UNMASK);
        party.progress(step);
        let signed = self.sign_openings(party, epoch, agreed).await?;
        let (me, hub) = (party.seat(), epoch.plan.aggregator);
        let theirs = epoch
            .peer(hub, self.round.index)
            .ok_or_else(|| Abort::Local(Fault::new(Code::JobInternal, "the aggregator's keys are not known")))?;
        let key = keys::opening_key(&self.tr, &self.keys.seal.agree(&theirs.seal), me, hub);
        let sealed = seal_once(&key, &self.tr.0, &signed.bytes());
        let until = party.now().plus(epoch.plan.step_ms);
        party.send(hub, step, sealed, until).await
    }

    /// Step 8: the sum, or the digest of the blinded one.
    async fn finish(self, party: &mut Party, epoch: &Epoch, agreed: Agreed) -> Result<Outcome, Abort> {
        if agreed.list.is_some() {
            return verify::member::finish(self, party, epoch, agreed).await;
        }
        let step = self.step(epoch, phase::RESULT);
        party.progress(step);
        let until = party.now().plus(3 * epoch.plan.step_ms);
        let cells = self.round.len as u64;
        let disclosure = self.round.delivery.disclosure();
        let survivors = agreed.seats.iter().copied().collect();
        match &self.round.delivery {
            Delivery::Nodes(_) => {
                let sum = self.receive_sum(party, epoch, step, &agreed, until).await?;
                let sum = party.reveal(disclosure, cells, Concealed::new(sum))?;
                Ok(Outcome { survivors, sum: Some(sum), ..Outcome::default() })
            }
            Delivery::Recipient { .. } => {
                let hub = epoch.plan.aggregator;
                let signed: Signed = from_aggregator(party, hub, step, DIGEST_BYTES, until).await?;
                self.check_digest(party, epoch, step, &agreed, &signed)?;
                let release = party.reveal(disclosure, cells, Concealed::new(self.release))?;
                Ok(Outcome { survivors, release, ..Outcome::default() })
            }
        }
    }

    async fn receive_sum(
        &self,
        party: &mut Party,
        epoch: &Epoch,
        step: Step,
        agreed: &Agreed,
        until: Millis,
    ) -> Result<Vector, Abort> {
        let hub = epoch.plan.aggregator;
        let bytes = self.round.len * self.round.width.bytes();
        let mut sum = Vector::zeroes(self.round.width, self.round.len);
        let mut hasher = blake3::Hasher::new();
        let mut tail = Vec::with_capacity(DIGEST_BYTES);
        let from = BTreeSet::from([hub]);
        while let Some(chunk) = party.chunk(&from, step, until).await? {
            if chunk.total != (bytes + DIGEST_BYTES) as u64 {
                return Err(Blame::seat(hub, Offence::Malformed).at(step));
            }
            let offset = chunk.offset as usize;
            let (body, rest) = chunk.bytes.split_at(chunk.bytes.len().min(bytes.saturating_sub(offset)));
            hasher.update(body);
            add_bytes(&mut sum, offset, body);
            tail.extend_from_slice(rest);
        }
        if tail.len() < DIGEST_BYTES {
            return Err(Abort::Missing { step, seats: vec![hub] });
        }
        let signed = Signed::read(&tail).ok_or_else(|| Blame::seat(hub, Offence::Malformed).at(step))?;
        let digest = self.check_digest(party, epoch, step, agreed, &signed)?;
        if digest.root != Hash(hasher.finalize().into()) {
            return Err(Blame::seat(hub, Offence::BadSum).with(signed.bytes()).at(step));
        }
        Ok(sum)
    }

    fn check_digest(
        &self,
        party: &Party,
        epoch: &Epoch,
        step: Step,
        agreed: &Agreed,
        signed: &Signed,
    ) -> Result<Digest, Abort> {
        let hub = epoch.plan.aggregator;
        if !signed.is(party.seating(), Kind::Result, &self.tr, 0, hub) {
            return Err(Blame::seat(hub, Offence::Signature).at(step));
        }
        match signed.open::<Digest>() {
            Some(digest) if digest.survivors == agreed.hash => Ok(digest),
            _ => Err(Blame::seat(hub, Offence::BadSum).with(signed.bytes()).at(step)),
        }
    }
}

/// Whether a body is a vote for these survivors; its signature is not checked here.
pub(crate) fn is_vote(signed: &Signed, tr: &Hash, survivors: &Hash) -> bool {
    signed.claims(Kind::Vote, tr, 0, signed.seat) && signed.open::<Vote>().is_some_and(|v| v.survivors == *survivors)
}

const _: () = assert!(HEADER_BYTES < MESSAGE_BYTES_MAX);
