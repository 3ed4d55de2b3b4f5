//! A run's beginning and end: terms, sizes and keys compared, secrets drawn or taken up again, and at last one signed hash
//! of everything that was said.

use std::collections::VecDeque;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use serde::{Deserialize, Serialize};
use tacit_crypto::agree::derive;
use tacit_crypto::seal::{open_once, seal_once};
use tacit_crypto::{Secret, Signature, Transcript, sha256};
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::{Code, Fault, Hash, Millis, Seat, wire};
use zeroize::Zeroizing;

use crate::exchange::{AHEAD, Key};
use crate::keyset::{KeySet, files};
use crate::proof;
use crate::storage::Storage;
use crate::terms::{CHECKPOINT_BATCHES_MAX, Level, Mode, Role, Terms};
use crate::workers::Workers;
use tacit_crypto::points::Encoding;

/// Bytes of the first message: schema, terms, an offer to continue.
const AGREE_BYTES: usize = 32 + 32 + 32 + 8;
/// Bytes of the last one: hash and signature.
const END_BYTES: usize = 32 + 64;
/// Bytes of an opening.
const OPEN_BYTES: usize = 32 + 16 + 32;
/// Begins a record of the state. A record of nothing else says that there is none any more.
pub const STATE_LABEL: &[u8] = b"tacit-psi/1/state\n";
/// Bytes of a record of the state.
pub const STATE_BYTES_MAX: usize = 64 << 10;
/// Values that a chain remembers: the peers' states may be so far apart.
const HISTORY: usize = CHECKPOINT_BATCHES_MAX as usize + AHEAD as usize + 2;

/// What a run works with on its own machine.
pub struct Host<'a> {
    /// Where lists lie. The key set lies in it too.
    pub storage: &'a mut dyn Storage,
    /// Who computes.
    pub workers: &'a dyn Workers,
    /// Bytes that sorting may hold.
    pub memory: usize,
    /// Which of several runs over one key set this is, from 0: each has files of its own in the storage.
    pub run: u16,
    /// How a run is taken up again after a crash, if it is.
    pub resume: Option<Resume<'a>>,
}

/// What a run needs to be taken up again, beside the storage of the attempt that was interrupted.
pub struct Resume<'a> {
    /// A key of this node alone, under which states are sealed.
    pub key: &'a Secret<[u8; 32]>,
    /// The last record that the run persisted in an earlier attempt.
    pub state: Option<&'a [u8]>,
}

impl Host<'_> {
    /// A file of this run.
    pub(crate) fn file(&self, number: u32) -> u32 {
        files::SESSION + u32::from(self.run) * files::SESSION_FILES + number
    }
}

/// What stopped a computation on a message.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The peer.
    Peer(Offence),
    /// This machine.
    Host(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Trouble::Host(fault)
    }
}

/// What a party says of its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Fresh in each session.
    pub nonce: [u8; 32],
    /// Distinct keys in either half of the key space; where it is not divided, all of them and none.
    pub halves: [u64; 2],
    /// The public part of the key by which the party answers, zeroes where answers have none.
    pub public: Encoding,
}

impl Open {
    /// Decodes an opening.
    ///
    /// # Errors
    /// Of another length or form.
    pub fn decode(bytes: &[u8]) -> Result<Self, wire::WireError> {
        wire::decode_capped(bytes, OPEN_BYTES)
    }

    pub(crate) fn items(&self) -> u64 {
        self.halves[0].saturating_add(self.halves[1])
    }
}

/// Hashes of everything that went one way, one value after each message, of which the last ones are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Chain {
    next: u64,
    values: VecDeque<Hash>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { next: 0, values: VecDeque::from([Hash([0; 32])]) }
    }

    /// The value after `k` messages, if it is remembered.
    fn at(&self, k: u64) -> Option<&Hash> {
        let back = usize::try_from(self.next.checked_sub(k)?).ok()?;
        self.values.get((self.values.len() - 1).checked_sub(back)?)
    }

    /// Adds message `k`. `false` when it was there with other bytes.
    pub(crate) fn add(&mut self, k: u64, body: &[u8]) -> bool {
        let Some(before) = self.at(k) else { return false };
        let value = Transcript::new("tacit-psi/1/chain").fixed(&before.0).fixed(&sha256(body).0).finish();
        if k < self.next {
            return self.at(k + 1) == Some(&value);
        }
        self.next += 1;
        self.values.push_back(value);
        if self.values.len() > HISTORY {
            self.values.pop_front();
        }
        true
    }

    /// Messages that were added.
    pub(crate) fn len(&self) -> u64 {
        self.next
    }

    pub(crate) fn last(&self) -> Hash {
        self.values.back().copied().unwrap_or(Hash([0; 32])) // proof: a chain has at least one value.
    }

    fn is_sound(&self) -> bool {
        (1..=HISTORY).contains(&self.values.len()) && self.values.len() as u64 <= self.next + 1
    }
}

/// Everything that was said, by direction and kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Chains {
    pub points_out: Chain,
    pub points_in: Chain,
    pub answers_out: Chain,
    pub answers_in: Chain,
}

impl Chains {
    fn new() -> Self {
        let [points_out, points_in, answers_out, answers_in] = core::array::from_fn(|_| Chain::new());
        Self { points_out, points_in, answers_out, answers_in }
    }

    fn is_sound(&self) -> bool {
        [&self.points_out, &self.points_in, &self.answers_out, &self.answers_in].iter().all(|c| c.is_sound())
    }
}

/// The part of a state that is no secret.
#[derive(Serialize, Deserialize)]
struct StateBody {
    terms: Hash,
    input: Hash,
    ours: Open,
    theirs: Open,
    done: u64,
    /// Batches that needed no peer and are done.
    aside: u64,
    /// The last point of the peer's in those batches, where its points are in order.
    last: Option<Encoding>,
    chains: Chains,
}

/// A run that has begun.
pub(crate) struct Session {
    pub terms: Terms,
    pub role: Role,
    pub peer: Seat,
    pub id: Hash,
    pub ours: Open,
    pub theirs: Open,
    /// Batches of the first exchange that are done.
    pub done: u64,
    /// Batches that needed no peer and are done.
    pub aside: u64,
    /// The last point of the peer's in those batches, where its points are in order and nothing of them is said again.
    pub last: Option<Encoding>,
    pub chains: Chains,
    /// What was said after the first exchange.
    pub rest: Chains,
    /// The first message of this party and of the peer.
    agreed: [Hash; 2],
    input: Hash,
    seed: Secret<[u8; 32]>,
}

impl Session {
    /// A secret scalar of this session for one use.
    pub(crate) fn scalar(&self, use_: &str) -> Zeroizing<Scalar> {
        scalar_of(&self.seed, use_)
    }

    /// A key of ours by which answers are proven, and its public part.
    pub(crate) fn key(&self, scalar: Zeroizing<Scalar>) -> Key {
        let public = RistrettoPoint::mul_base(&scalar).compress().to_bytes();
        Key { scalar, public, nonces: self.derive("nonces") }
    }

    /// The public part of the key by which the peer proves its answers.
    ///
    /// # Errors
    /// `BadKey` blame for one that is none.
    pub(crate) fn proven_by(&self, public: &Encoding, step: u64) -> Result<Encoding, Abort> {
        proof::public(public).map(|_| *public).ok_or_else(|| self.blame(Offence::BadKey, step))
    }

    /// Secret bytes of this session for one use.
    pub(crate) fn derive<const N: usize>(&self, use_: &str) -> Secret<[u8; N]> {
        from_seed(&self.seed, use_)
    }

    /// A step of this run's.
    pub(crate) fn blame(&self, offence: Offence, step: u64) -> Abort {
        Blame::seat(self.peer, offence).at(self.terms.step(step))
    }

    /// A message of our own that is another than before.
    pub(crate) fn changed(&self) -> Abort {
        let what = "what was sent before the interruption cannot be made again: the stored lists have changed";
        Abort::Local(Fault::new(Code::RefusedDataset, what))
    }

    pub(crate) fn trouble(&self, trouble: Trouble, step: u64) -> Abort {
        match trouble {
            Trouble::Peer(offence) => self.blame(offence, step),
            Trouble::Host(fault) => Abort::Local(fault),
        }
    }

    /// Until when a message may take before which the peer masks or sorts whole lists.
    pub(crate) fn until_of_lists(&self, party: &Party) -> Millis {
        self.terms.until_of_lists(party, self.ours.items().saturating_add(self.theirs.items()))
    }

    /// Receives the message of a step: exactly so many bytes.
    pub(crate) async fn receive(
        &self,
        party: &mut Party,
        step: u64,
        bytes: usize,
        until: Millis,
    ) -> Result<Vec<u8>, Abort> {
        // Room for a body that is longer than announced, so that it is blamed for that.
        let body = party.receive(self.peer, self.terms.step(step), 2 * bytes + 64, until).await?;
        if body.len() == bytes { Ok(body) } else { Err(self.blame(Offence::BadCount, step)) }
    }

    pub(crate) fn post(&self, party: &mut Party, step: u64, body: Vec<u8>) -> Result<(), Abort> {
        party.post(self.peer, self.terms.step(step), body)
    }

    /// The state as a record, sealed under a key of this node.
    pub(crate) fn seal(&self, party: &mut Party, key: &Secret<[u8; 32]>) -> Vec<u8> {
        let body = StateBody {
            terms: self.terms.hash(),
            input: self.input,
            ours: self.ours,
            theirs: self.theirs,
            done: self.done,
            aside: self.aside,
            last: self.last,
            chains: self.chains.clone(),
        };
        let mut plain = Zeroizing::new(self.seed.expose_secret().to_vec());
        plain.extend_from_slice(&wire::encode(&body));
        let salt: [u8; 32] = party.rng().bytes();
        let once = derive(&salt, key.expose_secret(), &[STATE_LABEL]);
        [STATE_LABEL, &salt, &seal_once(&once, STATE_LABEL, &plain)].concat()
    }

    /// Compares one signed hash of everything that was said, and of `extra`, which both must have.
    pub(crate) async fn end(&self, party: &mut Party, step: u64, extra: &Hash) -> Result<(), Abort> {
        let (a, b) = (&self.chains, &self.rest);
        let out = [&a.points_out, &a.answers_out, &b.points_out, &b.answers_out].map(Chain::last);
        let in_ = [&a.points_in, &a.answers_in, &b.points_in, &b.answers_in].map(Chain::last);
        let mut ways = [(self.agreed[0], out), (self.agreed[1], in_)];
        if self.role == Role::Sender {
            ways.reverse();
        }
        let mut hash = Transcript::new("tacit-psi/1/end").fixed(&self.id.0).fixed(&extra.0);
        for (agreed, chains) in &ways {
            hash = chains.iter().fold(hash.fixed(&agreed.0), |hash, value| hash.fixed(&value.0));
        }
        let hash = hash.finish();
        let signature = party.sign(&[b"tacit-psi/1/end\n", &hash.0[..]].concat());
        self.post(party, step, [&hash.0[..], &signature.0].concat())?;
        // The peer may sort what it has before it ends.
        let until = self.until_of_lists(party);
        let body = self.receive(party, step, END_BYTES, until).await?;
        let (theirs, signature) = body.split_first_chunk::<32>().ok_or_else(|| self.blame(Offence::Malformed, step))?;
        let signature = signature.first_chunk::<64>().map(|s| Signature(*s));
        let signed = [b"tacit-psi/1/end\n", &theirs[..]].concat();
        if !signature.is_some_and(|s| party.verify(self.peer, &signed, &s)) {
            return Err(self.blame(Offence::Signature, step));
        }
        if *theirs != hash.0 {
            return Err(self.blame(Offence::Equivocation, step));
        }
        let until = self.until_of_lists(party);
        party.flush(until).await
    }
}

fn from_seed<const N: usize>(seed: &Secret<[u8; 32]>, use_: &str) -> Secret<[u8; N]> {
    derive(b"tacit-psi/1/secret", seed.expose_secret(), &[use_.as_bytes()])
}

/// The use of the seed for the scalar of a party's keyed function.
pub(crate) const FUNCTION: &str = "function";
/// That for the one mask.
pub(crate) const MASK: &str = "mask";
/// Those for the two masks of a spine.
pub(crate) const COMPARE: &str = "compare";
pub(crate) const NAME: &str = "name";

/// An earlier attempt's state, opened.
pub(crate) struct Opened {
    seed: Secret<[u8; 32]>,
    body: StateBody,
}

impl Opened {
    fn id(&self, role: Role) -> Hash {
        id(&self.body.terms, role, &self.body.ours, &self.body.theirs)
    }
}

/// Opens a sealed state. A record of other terms or another key counts as none.
fn unseal(terms: &Hash, resume: &Resume<'_>) -> Option<Opened> {
    let sealed = resume.state?.strip_prefix(STATE_LABEL)?;
    if sealed.len() > STATE_BYTES_MAX {
        return None;
    }
    let (salt, sealed) = sealed.split_first_chunk::<32>()?;
    let once = derive(salt, resume.key.expose_secret(), &[STATE_LABEL]);
    let plain = Zeroizing::new(open_once(&once, STATE_LABEL, sealed)?);
    let (seed, rest) = plain.split_first_chunk::<32>()?;
    let body: StateBody = wire::decode_capped(rest, STATE_BYTES_MAX).ok()?;
    (body.terms == *terms && body.chains.is_sound()).then(|| Opened { seed: Secret::new(*seed), body })
}

fn id(terms: &Hash, role: Role, ours: &Open, theirs: &Open) -> Hash {
    let (receiver, sender) = if role == Role::Receiver { (ours, theirs) } else { (theirs, ours) };
    let mut hash = Transcript::new("tacit-psi/1/session").fixed(&terms.0);
    for open in [receiver, sender] {
        hash = hash.bytes(&wire::encode(open));
    }
    hash.finish()
}

/// Compares schema and terms, then sizes; draws secrets, or takes those of an interrupted attempt up again when both
/// parties hold the same one.
///
/// # Errors
/// `refused.dataset` when the state is of another input: its secrets on new keys would link the two.
pub(crate) async fn begin(
    party: &mut Party,
    terms: &Terms,
    keys: &KeySet,
    resume: Option<&Resume<'_>>,
) -> Result<Session, Abort> {
    let role = terms.check(party)?;
    let hash = terms.hash();
    let peer = if role == Role::Receiver { terms.sender } else { terms.receiver };
    let items = keys.len();
    if items > terms.items_max || items < terms.items_min {
        let what = format!("{items} distinct keys, {} to {} are asked for", terms.items_min, terms.items_max);
        return Err(Abort::Local(Fault::new(Code::RefusedCohort, what)));
    }
    let opened = interrupted(terms, keys, resume)?;
    let offer = opened.as_ref().map(|o| (o.id(role), o.body.done));
    let (taken, agreed) = agree(party, terms, peer, keys.schema(), &hash, offer).await?;
    if opened.is_some() && taken.is_none() {
        // The files that it tells of are written over from here on; whoever opened it again would find others.
        party.persist(STATE_LABEL.to_vec()).await?;
    }
    let continued = opened.filter(|_| taken.is_some());
    let aside = continued.as_ref().map_or(0, |o| o.body.aside);
    let (seed, ours, known) = match continued {
        Some(o) => {
            let last = o.body.last.filter(|_| taken == Some(o.body.done));
            (o.seed, o.body.ours, Some((o.body.theirs, o.body.chains, last)))
        }
        None => {
            let seed = party.rng().seed();
            let ours =
                Open { nonce: party.rng().bytes(), halves: halves(terms, keys), public: public(terms, role, &seed) };
            (seed, ours, None)
        }
    };
    party.post(peer, terms.step(1), wire::encode(&ours))?;
    let until = terms.until(party);
    let body = party.receive(peer, terms.step(1), 4 * OPEN_BYTES, until).await?;
    let blame = |offence| Blame::seat(peer, offence).at(terms.step(1));
    let theirs = Open::decode(&body).map_err(|_| blame(Offence::Malformed))?;
    let size = theirs.items();
    if !(terms.items_min..=terms.items_max).contains(&size) || terms.announced.is_some_and(|n| n != size) {
        return Err(blame(Offence::BadSize));
    }
    let (chains, last) = match known {
        Some((before, ..)) if before != theirs => return Err(blame(Offence::Equivocation)),
        Some((_, chains, last)) => (chains, last),
        None => (Chains::new(), None),
    };
    Ok(Session {
        id: id(&hash, role, &ours, &theirs),
        terms: terms.clone(),
        role,
        peer,
        ours,
        theirs,
        done: taken.unwrap_or(0),
        aside,
        last,
        chains,
        rest: Chains::new(),
        agreed,
        input: keys.digest(),
        seed,
    })
}

/// What the state says of an interrupted run of these terms, if it is of one.
///
/// # Errors
/// `refused.dataset` when that run had another input.
pub(crate) fn interrupted(terms: &Terms, keys: &KeySet, resume: Option<&Resume<'_>>) -> Result<Option<Opened>, Abort> {
    let opened = resume.filter(|_| terms.checkpoint > 0).and_then(|r| unseal(&terms.hash(), r));
    if opened.as_ref().is_some_and(|o| o.body.input != keys.digest()) {
        let what = "the keys are not those of the interrupted run, whose secrets may not meet others";
        return Err(Abort::Local(Fault::new(Code::RefusedDataset, what)));
    }
    Ok(opened)
}

/// The sizes of the halves where they are needed, else all keys as one.
fn halves(terms: &Terms, keys: &KeySet) -> [u64; 2] {
    match (terms.level, terms.mode) {
        (Level::Both, Mode::Oprf) => keys.halves(),
        _ => [keys.len(), 0],
    }
}

/// The public part of the key by which a party answers, where it has one: that of its keyed function, or of its masks where
/// answers are proven.
fn public(terms: &Terms, role: Role, seed: &Secret<[u8; 32]>) -> Encoding {
    let scalar = match (terms.mode, terms.level) {
        (Mode::Oprf, Level::Both) => scalar_of(seed, FUNCTION),
        (Mode::Oprf, _) if role == Role::Sender => scalar_of(seed, FUNCTION),
        (Mode::DoubleMask, Level::Receiver) if role == Role::Sender => scalar_of(seed, MASK),
        (Mode::DoubleMask, Level::Spine) => {
            Zeroizing::new(*scalar_of(seed, COMPARE) * *scalar_of(seed, NAME)) // proof: neither is zero but once in 2^252.
        }
        _ => return [0; 32],
    };
    RistrettoPoint::mul_base(&scalar).compress().to_bytes()
}

fn scalar_of(seed: &Secret<[u8; 32]>, use_: &str) -> Zeroizing<Scalar> {
    let wide: Secret<[u8; 64]> = from_seed(seed, use_);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose_secret()))
}

/// Compares schema and terms. Gives the batch from which both can go on, if both hold the same session, and the hashes of
/// what was said.
async fn agree(
    party: &mut Party,
    terms: &Terms,
    peer: Seat,
    schema: Hash,
    hash: &Hash,
    offer: Option<(Hash, u64)>,
) -> Result<(Option<u64>, [Hash; 2]), Abort> {
    let (offered, done) = offer.unwrap_or((Hash([0; 32]), 0));
    let body = [&schema.0[..], &hash.0, &offered.0, &done.to_le_bytes()].concat();
    let said = sha256(&body);
    party.post(peer, terms.step(0), body)?;
    let until = party.now().plus(terms.begin_ms);
    let body = party.receive(peer, terms.step(0), 4 * AGREE_BYTES, until).await?;
    let malformed = || Blame::seat(peer, Offence::Malformed).at(terms.step(0));
    let (hashes, rest) = body.as_chunks::<32>();
    let [their_schema, their_terms, their_offer] = hashes else { return Err(malformed()) };
    let their_done = u64::from_le_bytes(rest.try_into().map_err(|_| malformed())?);
    if *their_terms != hash.0 {
        return Err(Abort::Disagreement { seats: vec![peer] });
    }
    if *their_schema != schema.0 {
        let what = "the parties make their keys of different columns, or by different steps";
        return Err(Abort::Local(Fault::new(Code::JobDisagreement, what)));
    }
    let same = offer.is_some() && *their_offer == offered.0;
    let near = done.abs_diff(their_done) <= u64::from(CHECKPOINT_BATCHES_MAX);
    Ok(((same && near).then(|| done.min(their_done)), [said, sha256(&body)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_repeats_from_changes_and_remembers_enough() {
        let mut chain = Chain::new();
        for k in 0..200u64 {
            assert!(chain.add(k, &k.to_le_bytes()));
        }
        assert!(chain.is_sound());
        let last = chain.last();
        assert!(!chain.add(201, b"a gap"));
        for k in 200 - HISTORY as u64 + 1..200 {
            assert!(chain.add(k, &k.to_le_bytes()), "a repeat of {k}");
            assert!(!chain.add(k, b"another"), "a change of {k}");
        }
        assert!(!chain.add(200 - HISTORY as u64, &(200 - HISTORY as u64).to_le_bytes()), "forgotten");
        assert_eq!(chain.last(), last);
    }

    #[test]
    fn openings_are_read_back_and_nothing_else_is() {
        let open = Open { nonce: [1; 32], halves: [2, u64::MAX], public: [3; 32] };
        let bytes = wire::encode(&open);
        assert_eq!(bytes.len(), OPEN_BYTES);
        assert_eq!(Open::decode(&bytes), Ok(open));
        assert!(Open::decode(&bytes[1..]).is_err());
        assert!(Open::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert_eq!(open.items(), u64::MAX);
    }
}
