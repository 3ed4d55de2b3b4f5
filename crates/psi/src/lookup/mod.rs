//! Few keys against very many, `tacit-lookup/1`: the holder ships its keys once, under a function that it alone can compute,
//! and who asks has its own keys evaluated blindly, in any number of runs, and finds them in what was shipped. The argument
//! is in `docs/protocols/psi.md`.

mod cache;

use curve25519_dalek::scalar::Scalar;
use tacit_crypto::points::{Base, Encoding, Multiplier};
use tacit_crypto::{Secret, Signature, Transcript, sha256};
use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Offence, Party};
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step};
use zeroize::Zeroizing;

pub use self::cache::{CACHE_KEYS_MAX, Cache, HEADER_BYTES, Header, Maker, QUERIES_OF_AN_EPOCH, cache, newest_epoch};
use self::cache::{Finder, Intake, Record};
use crate::exchange::AHEAD;
use crate::hash::{DST, Expander};
use crate::items::{self, Blinds};
use crate::keyset::{KeySet, Part, REF_BYTES};
use crate::proof::{self, About, PROOF_BYTES};
use crate::session::{Host, Trouble};
use crate::star::Common;
use crate::storage::{Storage, Writer};
use crate::terms::{BATCH_ITEMS_MAX, BATCH_ITEMS_MIN, ITEMS_MAX};

/// Tags of one message of the cache, at the most.
pub const SHIP_TAGS_MAX: u32 = 1 << 16;
/// Messages of the cache between two notes of how far it is.
const NOTE_EVERY: u64 = 16;
/// The file of what was found, after those of a cache that is made in the same storage.
const FOUND: u32 = 8;
/// Bytes of the first message: schema and terms.
const AGREE_BYTES: usize = 64;
/// Bytes of the second from who asks: two caches by name, with the tags that are there of each.
const HELD_BYTES: usize = 2 * (32 + 8);
/// Bytes of the last message: hash and signature.
const END_BYTES: usize = 32 + 64;

/// What both parties of a run agree on before anything else is sent.
#[derive(Clone, Debug)]
pub struct LookupTerms {
    /// The job and the attempt: different in any two runs, because no run is taken up again.
    pub context: Hash,
    /// Whose lists are searched, by whom and in which form: the caches of a series follow on each other.
    pub series: Hash,
    /// Who asks and learns.
    pub asker: Seat,
    /// Who holds the large list.
    pub holder: Seat,
    /// Under which the result is opened. It counts the queries.
    pub disclosure: Disclosure,
    /// Queries of the run: the asker's distinct keys, neither more nor fewer.
    pub queries: u64,
    /// Distinct keys that the holder must have.
    pub keys_min: u64,
    /// Distinct keys that the holder may have, at most [`CACHE_KEYS_MAX`].
    pub keys_max: u64,
    /// Queries of a batch.
    pub batch: u32,
    /// Tags of one message of the cache: a multiple of 128, at most [`SHIP_TAGS_MAX`].
    pub ship: u32,
    /// Steps are numbered from round `step_base` on, upwards and past it.
    pub step_base: u16,
    /// Milliseconds that the holder may take to make its cache before it begins.
    pub begin_ms: u64,
    /// Milliseconds that a message may take after that.
    pub step_ms: u64,
}

/// What a party brings beside its keys.
pub enum Role<'a> {
    /// Holds the large list; [`cache`] has made this of it.
    Holder(&'a Cache),
    /// Asks.
    Asker {
        /// The least epoch that is good: an older one has expired.
        oldest: u64,
        /// Keys of the cache that this party has room for, which may be fewer than the terms allow.
        keys_max: u64,
    },
}

fn wrong(what: impl Into<String>) -> Abort {
    Abort::Local(Fault::new(Code::ArgsInvalid, what))
}

impl LookupTerms {
    /// The hash that both parties compare.
    pub fn hash(&self) -> Hash {
        Transcript::new("tacit-lookup/1/terms")
            .fixed(&self.context.0)
            .fixed(&self.series.0)
            .u64(self.asker.0.into())
            .u64(self.holder.0.into())
            .bytes(self.disclosure.what.as_bytes())
            .u64(self.disclosure.to as u64)
            .u64(self.disclosure.cells_max)
            .u64(self.queries)
            .u64(self.keys_min)
            .u64(self.keys_max)
            .u64(self.batch.into())
            .u64(self.ship.into())
            .u64(self.step_base.into())
            .finish()
    }

    fn shipped(&self) -> u64 {
        self.keys_max.div_ceil(u64::from(self.ship.max(1)))
    }

    fn batches(&self) -> u64 {
        self.queries.div_ceil(u64::from(self.batch.max(1)))
    }

    fn first_query(&self) -> u64 {
        3 + self.shipped()
    }

    fn last(&self) -> u64 {
        self.first_query() + 2 * self.batches()
    }

    fn check(&self, party: &Party, role: &Role<'_>) -> Result<Seat, Abort> {
        let seated = |s: Seat| s.index() < party.seating().len();
        if self.asker == self.holder || !seated(self.asker) || !seated(self.holder) {
            return Err(wrong("who asks and who holds are not two seats of the job"));
        }
        let sizes = (1..=ITEMS_MAX).contains(&self.queries) && self.keys_max <= CACHE_KEYS_MAX;
        if !sizes || self.keys_min > self.keys_max || !(BATCH_ITEMS_MIN..=BATCH_ITEMS_MAX).contains(&self.batch) {
            let (least, most) = (self.keys_min, self.keys_max);
            return Err(wrong(format!(
                "{} queries in batches of {}, {least} to {most} keys",
                self.queries, self.batch
            )));
        }
        if self.ship == 0 || self.ship > SHIP_TAGS_MAX || !u64::from(self.ship).is_multiple_of(cache::BLOCK) {
            return Err(wrong(format!("{} tags of the cache at once", self.ship)));
        }
        if (u64::from(self.step_base) << 16) + self.last() >= 1 << 32 {
            return Err(wrong("the steps do not fit after the first"));
        }
        match (party.seat(), role) {
            (me, Role::Asker { .. }) if me == self.asker => Ok(self.holder),
            (me, Role::Holder(cache)) if me == self.holder && cache.header.series == self.series => Ok(self.asker),
            _ => Err(wrong("this seat has another part in the search, or a cache of another series")),
        }
    }

    fn step(&self, i: u64) -> Step {
        Step((u32::from(self.step_base) << 16) + i as u32) // proof: `check` has found that all steps fit.
    }
}

/// One run, with a hash of everything that was said in either direction.
struct Run<'a> {
    party: &'a mut Party,
    terms: &'a LookupTerms,
    peer: Seat,
    /// What this party said, and what the peer said.
    said: [Hash; 2],
}

impl Run<'_> {
    fn until(&self) -> Millis {
        self.party.now().plus(self.terms.step_ms)
    }

    fn blame(&self, offence: Offence, step: u64) -> Abort {
        Blame::seat(self.peer, offence).at(self.terms.step(step))
    }

    fn trouble(&self, trouble: Trouble, step: u64) -> Abort {
        match trouble {
            Trouble::Peer(offence) => self.blame(offence, step),
            Trouble::Host(fault) => Abort::Local(fault),
        }
    }

    fn add(&mut self, way: usize, step: u64, body: &[u8]) {
        let before = &self.said[way]; // proof: 0 or 1.
        self.said[way] =
            Transcript::new("tacit-lookup/1/said").fixed(&before.0).u64(step).fixed(&sha256(body).0).finish();
    }

    async fn send(&mut self, step: u64, body: Vec<u8>) -> Result<(), Abort> {
        self.add(0, step, &body);
        let until = self.until();
        self.party.send(self.peer, self.terms.step(step), body, until).await
    }

    /// Receives the message of a step: exactly so many bytes.
    async fn receive(&mut self, step: u64, bytes: usize) -> Result<Vec<u8>, Abort> {
        let until = self.until();
        self.receive_until(step, bytes, until).await
    }

    async fn receive_until(&mut self, step: u64, bytes: usize, until: Millis) -> Result<Vec<u8>, Abort> {
        self.party.forget_of(self.peer, self.terms.step(step));
        // Room for a body that is longer than announced, so that it is blamed for that.
        let body = self.party.receive(self.peer, self.terms.step(step), 2 * bytes + 64, until).await?;
        if body.len() != bytes {
            return Err(self.blame(Offence::BadCount, step));
        }
        self.add(1, step, &body);
        Ok(body)
    }

    async fn agree(&mut self, schema: &Hash) -> Result<(), Abort> {
        self.party.progress(self.terms.step(0));
        let hash = self.terms.hash();
        self.send(0, [schema.0, hash.0].concat()).await?;
        let until = self.party.now().plus(self.terms.begin_ms);
        let body = self.receive_until(0, AGREE_BYTES, until).await?;
        if body[32..] != hash.0 {
            return Err(Abort::Disagreement { seats: vec![self.peer] });
        }
        if body[..32] != schema.0 {
            let what = "the parties make their keys of different columns, or by different steps";
            return Err(Abort::Local(Fault::new(Code::JobDisagreement, what)));
        }
        Ok(())
    }

    /// Compares one signed hash of everything that was said.
    async fn end(&mut self) -> Result<(), Abort> {
        let step = self.terms.last();
        let mut said = self.said;
        if self.party.seat() == self.terms.holder {
            said.reverse();
        }
        let hash =
            Transcript::new("tacit-lookup/1/end").fixed(&self.terms.hash().0).fixed(&said[0].0).fixed(&said[1].0);
        let hash = hash.finish();
        let signed = [b"tacit-lookup/1/end\n", &hash.0[..]].concat();
        let signature = self.party.sign(&signed);
        self.send(step, [&hash.0[..], &signature.0].concat()).await?;
        let body = self.receive(step, END_BYTES).await?;
        let (theirs, signature) = body.split_first_chunk::<32>().ok_or_else(|| self.blame(Offence::Malformed, step))?;
        let signature = signature.first_chunk::<64>().map(|s| Signature(*s));
        let signed = [b"tacit-lookup/1/end\n", &theirs[..]].concat();
        if !signature.is_some_and(|s| self.party.verify(self.peer, &signed, &s)) {
            return Err(self.blame(Offence::Signature, step));
        }
        if *theirs != hash.0 {
            return Err(self.blame(Offence::Equivocation, step));
        }
        let until = self.until();
        self.party.flush(until).await
    }
}

/// Runs the terms. `keys` are the asker's queries, or the holder's list, which is there for its schema; `shelf` is where
/// caches of the series lie. Gives the asker its keys that the holder has, and the holder nothing.
///
/// Nothing is given before both have signed one hash of everything that was said. The holder counts the queries before it
/// runs this: an attempt that is cut off has used them.
///
/// # Errors
/// [`Abort::Disagreement`] for other terms; [`Abort::Local`] with `job.disagreement` for another schema, `args.invalid` for
/// terms that cannot be, `refused.cohort` for another number of queries, `refused.alignment` for an epoch that has expired
/// or is older than one that was held before, and the storages' own faults; [`Abort::Undisclosed`] when the job does not
/// list the opening; [`Abort::Missing`] for a lost peer; [`Abort::Misbehaved`] with `BadPoint`, `Unordered`, `BadCount`,
/// `BadSize`, `BadKey`, `Malformed`, `BadOpening` (a proof, or a cache that is not what its header says), `Signature` or
/// `Equivocation`.
pub async fn lookup(
    party: &mut Party,
    terms: &LookupTerms,
    keys: &KeySet,
    host: &mut Host<'_>,
    shelf: &mut dyn Storage,
    role: Role<'_>,
) -> Result<Option<Common>, Abort> {
    let peer = terms.check(party, &role)?;
    let asks = matches!(role, Role::Asker { .. });
    if asks && keys.len() != terms.queries {
        let what = format!("{} distinct keys, {} queries were agreed on", keys.len(), terms.queries);
        return Err(Abort::Local(Fault::new(Code::RefusedCohort, what)));
    }
    let mut run = Run { party, terms, peer, said: [Hash([0; 32]); 2] };
    run.agree(&keys.schema()).await?;
    run.party.reveal(&terms.disclosure, terms.queries, Concealed::new(()))?;
    match role {
        Role::Holder(cache) => {
            ship(&mut run, cache, shelf).await?;
            answer(&mut run, cache, host).await?;
            run.end().await?;
            Ok(None)
        }
        Role::Asker { oldest, keys_max } => {
            let header = take(&mut run, keys.schema(), shelf, (oldest, keys_max)).await?;
            let found = ask(&mut run, &header, keys, host, shelf).await?;
            run.end().await?;
            Ok(Some(found))
        }
    }
}

/// The holder sends what the asker lacks of the cache.
async fn ship(run: &mut Run<'_>, cache: &Cache, shelf: &mut dyn Storage) -> Result<(), Abort> {
    let body = run.receive(1, HELD_BYTES).await?;
    let id = cache.header.id();
    let mut from = 0;
    for held in body.as_chunks::<40>().0 {
        if let Some((name, have)) = held.split_first_chunk::<32>()
            && *name == id.0
        {
            from = have.first_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n)).max(from);
        }
    }
    let (keys, ship) = (cache.header.keys, u64::from(run.terms.ship));
    if from > keys || (from != keys && !from.is_multiple_of(ship)) {
        return Err(run.blame(Offence::BadCount, 1));
    }
    run.send(2, [&cache.header.bytes()[..], &from.to_be_bytes()].concat()).await?;
    let tags = cache.header.tags();
    while from < keys {
        let count = (keys - from).min(ship);
        let step = 3 + from / ship;
        let body = tags.get(shelf, from, count as usize)?;
        run.party.progress(run.terms.step(step));
        run.send(step, body).await?;
        from += count;
    }
    Ok(())
}

/// The asker takes the header, and what it lacks of the cache.
async fn take(
    run: &mut Run<'_>,
    schema: Hash,
    shelf: &mut dyn Storage,
    (oldest, keys_max): (u64, u64),
) -> Result<Header, Abort> {
    let (whole, partial) = (cache::latest(shelf), cache::partial(shelf));
    let named = |held: &Option<Record>| {
        let (id, have) = held.map_or((Hash([0; 32]), 0), |r| (r.header.id(), r.have));
        [&id.0[..], &have.to_be_bytes()].concat()
    };
    run.send(1, [named(&whole), named(&partial)].concat()).await?;
    let body = run.receive(2, HEADER_BYTES + 8).await?;
    let (header, from) = body.split_at(HEADER_BYTES);
    let header = Header::decode(header).ok_or_else(|| run.blame(Offence::Malformed, 2))?;
    let from = from.first_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
    let held = [whole, partial].into_iter().flatten().filter(|r| r.header == header).map(|r| r.have).max();
    if header.series != run.terms.series || header.schema != schema || held.unwrap_or(0) != from {
        return Err(run.blame(Offence::Malformed, 2));
    }
    if !(run.terms.keys_min..=run.terms.keys_max).contains(&header.keys) {
        return Err(run.blame(Offence::BadSize, 2));
    }
    if Base::new(&header.public).is_none() {
        return Err(run.blame(Offence::BadKey, 2));
    }
    if let Some(before) = whole.map(|r| r.header) {
        if header.epoch < before.epoch {
            let what = "the holder's cache is of an epoch before the one that was held already";
            return Err(Abort::Local(Fault::new(Code::RefusedAlignment, what)));
        }
        if header.epoch == before.epoch && header != before {
            return Err(run.blame(Offence::Equivocation, 2));
        }
    }
    if header.epoch < oldest {
        return Err(Abort::Local(Fault::new(Code::RefusedAlignment, "the epoch of the holder's cache has expired")));
    }
    if header.keys > keys_max {
        let what = format!("the holder's cache has {} keys, and this node takes {keys_max}", header.keys);
        return Err(Abort::Local(Fault::new(Code::DataTooLarge, what)));
    }
    if whole.is_some_and(|r| r.header == header) {
        return Ok(header);
    }
    if let Some(gone) = partial.filter(|r| r.header != header && whole.is_none_or(|w| w.header != r.header)) {
        cache::discard(shelf, &gone.header)?;
    }
    let ship = u64::from(run.terms.ship);
    let mut intake = Intake::new(shelf, Record { header, list: Hash([0; 32]), have: from })?;
    while intake.record.have < header.keys {
        let step = 3 + intake.record.have / ship;
        let count = (header.keys - intake.record.have).min(ship) as usize;
        run.party.progress(run.terms.step(step));
        let body = run.receive(step, count * usize::from(header.width)).await?;
        if !intake.take(shelf, &body)? {
            return Err(run.blame(Offence::Unordered, step));
        }
        if (step - 2).is_multiple_of(NOTE_EVERY) {
            cache::note(shelf, &intake.record)?;
        }
    }
    let record = intake.record;
    if !intake.ends_whole() {
        cache::note(shelf, &Record { have: 0, ..record })?;
        return Err(run.blame(Offence::BadOpening, 2));
    }
    cache::publish(shelf, &record)?;
    Ok(header)
}

/// The holder answers queries, each batch with a proof that the key is the cache's.
async fn answer(run: &mut Run<'_>, cache: &Cache, host: &mut Host<'_>) -> Result<(), Abort> {
    let quarter = Zeroizing::new(*cache.key * Scalar::from(4u8).invert());
    // The points come doubled, so that this gives half the key times each.
    let evaluate = Multiplier::new(&quarter);
    let (id, context) = (cache.header.id(), run.terms.context);
    for k in 0..run.terms.batches() {
        let step = run.terms.first_query() + 2 * k;
        let count = count_of(run.terms, k);
        let body = run.receive(step, 32 * count).await?;
        run.party.progress(run.terms.step(step));
        let points = body.as_chunks::<32>().0;
        let answers = items::multiply(host.workers, &evaluate, points).map_err(|t| run.trouble(t, step))?;
        let about = about(&id, &cache.header.public, &context, k);
        let mut nonce = |_: &Hash| {
            let wide: Zeroizing<[u8; 64]> = Zeroizing::new(run.party.rng().bytes());
            Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
        };
        let proof = proof::prove(host.workers, &about, &cache.key, &mut nonce, points, &answers);
        let proof = proof.ok_or_else(|| run.blame(Offence::BadPoint, step))?;
        run.send(step + 1, [answers.as_flattened(), &proof].concat()).await?;
    }
    Ok(())
}

fn about<'a>(cache: &'a Hash, public: &'a Encoding, run: &'a Hash, batch: u64) -> About<'a> {
    About { protocol: "tacit-lookup/1", scope: cache, public, run, batch, halved: true }
}

fn count_of(terms: &LookupTerms, k: u64) -> usize {
    let first = k * u64::from(terms.batch);
    (terms.queries - first.min(terms.queries)).min(u64::from(terms.batch)) as usize
}

/// The asker's blinded queries, and what it finds.
async fn ask(
    run: &mut Run<'_>,
    header: &Header,
    keys: &KeySet,
    host: &mut Host<'_>,
    shelf: &mut dyn Storage,
) -> Result<Common, Abort> {
    let seed: Secret<[u8; 40]> = Secret::new(run.party.rng().bytes());
    let blinds = Blinds::new(&seed);
    let public = Base::new(&header.public).ok_or_else(|| run.blame(Offence::BadKey, 2))?;
    let (expander, tagger, finder) = (Expander::new(DST), header.tagger(), Finder::new(shelf, header)?);
    let (id, context) = (header.id(), run.terms.context);
    let mut matched = Writer::new(host.file(FOUND), REF_BYTES);
    let mut under_way: std::collections::VecDeque<Vec<Encoding>> = std::collections::VecDeque::new();
    let (batches, mut sent) = (run.terms.batches(), 0);
    for k in 0..batches {
        let first = |k: u64| k * u64::from(run.terms.batch);
        while sent < batches.min(k + AHEAD) {
            let some = keys.read(host.storage, Part::All, first(sent), count_of(run.terms, sent))?;
            let g = Base::generator();
            let points = items::hash_blind(host.workers, &expander, g, &blinds, first(sent), &some);
            let step = run.terms.first_query() + 2 * sent;
            run.send(step, points.as_flattened().to_vec()).await?;
            under_way.push_back(points);
            sent += 1;
        }
        let step = run.terms.first_query() + 2 * k + 1;
        let count = count_of(run.terms, k);
        let body = run.receive(step, 32 * count + PROOF_BYTES).await?;
        let bad = |offence| Blame::seat(run.peer, offence).at(run.terms.step(step));
        let (answers, proof) = body.split_last_chunk::<PROOF_BYTES>().ok_or_else(|| bad(Offence::Malformed))?;
        let answers = answers.as_chunks::<32>().0;
        let points = under_way.pop_front().unwrap_or_default();
        let elements = items::unblind(host.workers, &public, &blinds, first(k), answers);
        let elements = elements.map_err(|t| run.trouble(t, step))?;
        let about = about(&id, &header.public, &context, k);
        proof::check(host.workers, &about, &points, answers, proof).map_err(bad)?;
        let some = keys.read(host.storage, Part::All, first(k), count)?;
        for (key, element) in some.iter().zip(&elements) {
            let tag = tagger.keyed(&key.hash, element);
            if finder.has(shelf, tag.get(..header.width.into()).unwrap_or(&tag))? {
                matched.push(host.storage, &[&key.rows.bytes()])?;
            }
        }
    }
    Ok(Common::of(keys, matched.finish(host.storage)?))
}
