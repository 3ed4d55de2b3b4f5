//! A sum without drop-out, for two and more seats: every seat masks its vector against every other and
//! against the recipient, and one of them adds. Nothing is ever unmasked but by the recipient, so there
//! are no shares, no survivors and no votes: whoever is lost ends the attempt.
//!
//! It is the form for scores. Partial scores of a split model are summed by it, and the additive shares in
//! which a computation on shares ends are handed over by it: the pair masks are a fresh sharing of zero, so
//! even the recipient and the collector together see nothing of a single share.
//!
//! 1. Each seat sends every other a signed one-time point E. The transcript T is bound to all of them.
//! 2. Each seat sends the collector its vector plus a mask from each pair's agreement, added by the one and
//!    subtracted by the other, plus the mask that only the recipient can take off; signed, with the hash of
//!    the bytes and the commitment to its release, as in a round of the aggregation.
//! 3. The collector adds, checks each hash and signature, and signs the digest of the sum.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::{Prg, PublicPoint, SealPublic, SecretScalar, SignedPrg, Transcript};
use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Offence, Party};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step};

use crate::blind::{Blinded, Release};
use crate::keys;
use crate::mask::{Masker, add_bytes};
use crate::messages::{HEADER_BYTES, Header};
use crate::plan::Outcome;
use crate::signed::{Kind, Signed};
use crate::vector::{Source, Vector};

/// One sum. Every seat holds an equal one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collection {
    /// Everything that the job fixed: it must differ between any two attempts.
    pub context: Hash,
    /// The hash of what is summed.
    pub query: Hash,
    /// The seat that adds. It contributes too.
    pub collector: Seat,
    /// Milliseconds that one step may take.
    pub step_ms: u64,
    /// The round number of its steps.
    pub round: u16,
    /// The recipient's key.
    pub recipient: SealPublic,
    /// The disclosure under which the releases are made.
    pub disclosure: Disclosure,
}

/// Phase numbers within the round.
pub(crate) mod phase {
    pub const POINT: u16 = 1;
    pub const MASKED: u16 = 2;
    pub const RESULT: u16 = 3;
}

/// The names of the phases by number, for progress and for the egress ledger.
pub const COLLECT_PHASES: [&str; 4] = ["protocol", "point", "share", "collected"];

/// Bytes of a signed body of 32 bytes.
const SIGNED_HASH_BYTES: usize = HEADER_BYTES - 32;

/// Sums one vector of every seat for the recipient.
///
/// # Errors
/// [`Abort::Missing`] for any seat that is lost; [`Abort::Misbehaved`]; [`Abort::Undisclosed`];
/// [`Abort::Local`] when there is but one seat or the recipient's key is none.
pub async fn collect(party: &mut Party, plan: &Collection, input: impl Source) -> Result<Outcome, Abort> {
    if party.seating().len() < 2 || plan.collector.index() >= party.seating().len() || input.len() == 0 {
        let what = "a sum of fewer than two seats or of nothing, or a collector without a seat";
        return Err(Abort::Local(Fault::new(Code::RefusedParties, what)));
    }
    let mut run = Run::agree(party, plan, input.width(), input.len()).await?;
    let cells = input.len() as u64;
    let blinded = if party.seat() == plan.collector {
        Some(run.gather(party, input).await?)
    } else {
        run.send(party, input).await?;
        run.wait(party).await?;
        None
    };
    let release = party.reveal(&plan.disclosure, cells, Concealed::new(run.release))?;
    Ok(Outcome { survivors: party.seating().seats().collect(), blinded, release: Some(release), ..Outcome::default() })
}

struct Run<'a> {
    plan: &'a Collection,
    width: crate::Width,
    len: usize,
    /// T.
    transcript: Hash,
    masks: Vec<SignedPrg>,
    release: Release,
}

impl<'a> Run<'a> {
    fn step(&self, number: u16) -> Step {
        Step::new(self.plan.round, number)
    }

    fn bytes(&self) -> usize {
        self.len * self.width.bytes()
    }

    /// Step 1: one-time points, and the masks that follow from them.
    async fn agree(party: &mut Party, plan: &'a Collection, width: crate::Width, len: usize) -> Result<Self, Abort> {
        let (me, step) = (party.seat(), Step::new(plan.round, phase::POINT));
        party.progress(step);
        let recipient = plan.recipient.point().ok_or_else(|| {
            Abort::Local(Fault::new(Code::RefusedRecipient, "the recipient's key is not a group element"))
        })?;
        let scope = Transcript::new("tacit-secagg/1/collect")
            .fixed(&plan.context.0)
            .fixed(&plan.query.0)
            .u64(u64::from(plan.collector.0))
            .u64(u64::from(width.bits()))
            .u64(len as u64)
            .fixed(&plan.recipient.0)
            .u64(party.seating().len() as u64)
            .finish();
        let secret = SecretScalar::random(party.rng());
        let public = secret.public();
        let signed = Signed::new(party, Kind::Point, &scope, 0, public.as_bytes());
        let until = party.now().plus(plan.step_ms);
        let heard = party.exchange(step, &signed.bytes(), SIGNED_HASH_BYTES, until).await?.all(step)?;
        let mut points: BTreeMap<Seat, (PublicPoint, Hash)> = BTreeMap::from([(me, (public, signed.body_hash()))]);
        for (seat, bytes) in heard {
            let malformed = || Blame::seat(seat, Offence::Malformed).at(step);
            let theirs = Signed::read(&bytes).ok_or_else(malformed)?;
            if !theirs.is(party.seating(), Kind::Point, &scope, 0, seat) {
                return Err(Blame::seat(seat, Offence::Signature).at(step));
            }
            let point =
                theirs.open::<[u8; 32]>().and_then(|raw| PublicPoint::from_bytes(&raw)).ok_or_else(malformed)?;
            points.insert(seat, (point, theirs.body_hash()));
        }
        let all = Transcript::new("tacit-secagg/1/collect/points").fixed(&scope.0);
        let transcript = points.values().fold(all, |t, (_, hash)| t.fixed(&hash.0)).finish();
        let peers: Vec<(Seat, PublicPoint)> =
            points.iter().filter(|(seat, _)| **seat != me).map(|(seat, (point, _))| (*seat, *point)).collect();
        let seeds = keys::pair_seeds(&transcript, (me, &secret, &public), &peers);
        let pair = |(seed, (seat, _)): (_, &(Seat, _))| SignedPrg { prg: Prg::new(&seed), subtract: me > *seat };
        let mut masks: Vec<SignedPrg> = seeds.into_iter().zip(&peers).map(pair).collect();
        let own = SecretScalar::random(party.rng());
        let point = own.public();
        let seed = keys::blind_seed(&transcript, me, &point, &recipient, &own.agree(&recipient));
        masks.push(SignedPrg { prg: Prg::new(&seed), subtract: false });
        Ok(Self { plan, width, len, transcript, masks, release: Release { point: *point.as_bytes() } })
    }

    fn header(&self, party: &Party, root: Hash) -> Signed {
        let release = self.release.commitment(&self.transcript, party.seat());
        Signed::new(party, Kind::Header, &self.transcript, 0, &Header { root, release })
    }

    /// Step 2 of a seat that does not add.
    async fn send(&mut self, party: &mut Party, input: impl Source) -> Result<(), Abort> {
        let step = self.step(phase::MASKED);
        party.progress(step);
        let mut masker = Masker::new(input, core::mem::take(&mut self.masks));
        let mut hasher = blake3::Hasher::new();
        let until = self.patience(party);
        let chunk_bytes = party.seating().chunk_bytes();
        let total = self.bytes() + HEADER_BYTES;
        let mut message = party.open(self.plan.collector, step, total as u64);
        loop {
            let mut chunk = Vec::with_capacity(chunk_bytes.min(self.bytes()));
            masker.next(&mut chunk, chunk_bytes)?;
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            message.write_chunk(chunk, until).await?;
        }
        let header = self.header(message.party(), Hash(hasher.finalize().into()));
        message.write(&header.bytes(), until).await?;
        message.finish(until).await
    }

    /// Vectors come one after the other through one link, so each gets a step's time.
    fn patience(&self, party: &Party) -> Millis {
        party.now().plus(self.plan.step_ms.saturating_mul(party.seating().len() as u64))
    }

    /// Steps 2 and 3 of the collector.
    async fn gather(&mut self, party: &mut Party, input: impl Source) -> Result<Blinded, Abort> {
        let step = self.step(phase::MASKED);
        party.progress(step);
        let mut sum = Vector::zeroes(self.width, self.len);
        let own = self.add_own(party, &mut sum, input)?;
        let mut waiting: BTreeMap<Seat, Incoming> =
            party.others().into_iter().map(|seat| (seat, Incoming::default())).collect();
        let mut headers = BTreeMap::from([(party.seat(), own)]);
        let until = self.patience(party);
        while !waiting.is_empty() {
            let from: BTreeSet<Seat> = waiting.keys().copied().collect();
            let Some(chunk) = party.chunk(&from, step, until).await? else {
                return Err(Abort::Missing { step, seats: from.into_iter().collect() });
            };
            let Some(state) = waiting.get_mut(&chunk.from) else { continue };
            let malformed = || Blame::seat(chunk.from, Offence::Malformed).at(step);
            if chunk.total != (self.bytes() + HEADER_BYTES) as u64 {
                return Err(malformed());
            }
            let offset = chunk.offset as usize;
            let body = chunk.bytes.len().min(self.bytes().saturating_sub(offset));
            let (body, tail) = chunk.bytes.split_at(body);
            state.hasher.update(body);
            add_bytes(&mut sum, offset, body);
            state.tail.extend_from_slice(tail);
            if !chunk.last {
                continue;
            }
            let root = Hash(state.hasher.finalize().into());
            let signed = Signed::read(&state.tail).ok_or_else(malformed)?;
            if !signed.is(party.seating(), Kind::Header, &self.transcript, 0, chunk.from) {
                return Err(Blame::seat(chunk.from, Offence::Signature).at(step));
            }
            if signed.open::<Header>().is_none_or(|h| h.root != root) {
                return Err(Blame::seat(chunk.from, Offence::BadInput).with(signed.bytes()).at(step));
            }
            headers.insert(chunk.from, signed);
            waiting.remove(&chunk.from);
        }
        let vector = Blob(sum.to_bytes());
        let (others, step) = (party.others(), self.step(phase::RESULT));
        let digest = Signed::new(party, Kind::Result, &self.transcript, 0, &Hash(*blake3::hash(&vector).as_bytes()));
        let until = party.now().plus(self.plan.step_ms);
        party.broadcast(&others, step, &digest.bytes(), until).await?;
        let recipient = self.plan.recipient;
        let headers = headers.into_values().collect();
        Ok(Blinded { transcript: self.transcript, recipient, width: self.width, vector, headers })
    }

    fn add_own(&mut self, party: &Party, sum: &mut Vector, input: impl Source) -> Result<Signed, Abort> {
        let mut masker = Masker::new(input, core::mem::take(&mut self.masks));
        let mut hasher = blake3::Hasher::new();
        let chunk_bytes = party.seating().chunk_bytes();
        let (mut chunk, mut offset) = (Vec::with_capacity(chunk_bytes.min(self.bytes())), 0);
        loop {
            chunk.clear();
            masker.next(&mut chunk, chunk_bytes)?;
            if chunk.is_empty() {
                return Ok(self.header(party, Hash(hasher.finalize().into())));
            }
            hasher.update(&chunk);
            add_bytes(sum, offset, &chunk);
            offset += chunk.len();
        }
    }

    /// Step 3 of a seat that does not add: all vectors were there.
    async fn wait(&self, party: &mut Party) -> Result<(), Abort> {
        let (step, collector) = (self.step(phase::RESULT), self.plan.collector);
        party.progress(step);
        let until = self.patience(party).plus(self.plan.step_ms);
        let bytes = party.receive(collector, step, SIGNED_HASH_BYTES, until).await?;
        let signed = Signed::read(&bytes).ok_or_else(|| Blame::seat(collector, Offence::Malformed).at(step))?;
        if signed.is(party.seating(), Kind::Result, &self.transcript, 0, collector) {
            Ok(())
        } else {
            Err(Blame::seat(collector, Offence::Signature).at(step))
        }
    }
}

/// A vector on its way in.
#[derive(Default)]
struct Incoming {
    hasher: blake3::Hasher,
    tail: Vec<u8>,
}
