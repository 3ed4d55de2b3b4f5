//! Three or more parties, one of which learns how many keys all have and not which. Every list goes around the ring, is
//! masked and shuffled by each party, and ends as tags at the collector, who can tell how many keys any of the parties have
//! in common: `docs/protocols/psi.md` says so, and a job that uses this must.
//!
//! The keys of one party may stand in groups, for each of which is counted. The number of its group goes around with a
//! key, for everybody to see.

use std::collections::BTreeMap;

use curve25519_dalek::scalar::Scalar;
use tacit_crypto::agree::derive;
use tacit_crypto::points::{Encoding, Multiplier};
use tacit_crypto::{Secret, Signature, Transcript};
use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Offence, Party};
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step};
use zeroize::Zeroizing;

use crate::exchange::{ascending, held};
use crate::groups::{GroupSet, RING_GROUPS_MAX};
use crate::hash::{DST, Expander, TAG_BYTES_MAX, Tagger};
use crate::items;
use crate::keyset::{Key, KeySet, Part, files};
use crate::mask::half;
use crate::session::{Chain, Host, Trouble};
use crate::sort::{Join, Side, sort};
use crate::storage::{Log, Reader, Storage, Writer};
use crate::terms::{BATCH_ITEMS_MAX, BATCH_ITEMS_MIN, ITEMS_MAX, patience};

/// Parties of a ring.
pub const RING_PARTIES_MAX: usize = 16;
const TAG: usize = TAG_BYTES_MAX;
/// Bytes of an element of the group.
const POINT: usize = 32;
/// Bytes of the first message: hash of terms and schema, distinct keys. Whose keys stand in groups adds those of each.
const OPEN_BYTES: usize = 32 + 32 + 8;

/// The terms of one count.
#[derive(Clone, Debug)]
pub struct RingTerms {
    /// The parties, in the order in which lists go around.
    pub seats: Vec<Seat>,
    /// The one of them that learns the count.
    pub collector: Seat,
    /// The job, the attempt and what the run is for: different in any two runs.
    pub context: Hash,
    /// Under which the counts are opened: [`openings`] of them.
    pub disclosure: Disclosure,
    /// Distinct keys that any party may bring, and must.
    pub items_max: u64,
    /// The least.
    pub items_min: u64,
    /// Distinct keys that others have announced before the run: they may bring no other number. Each party's own matter, and
    /// not among what all compare.
    pub announced: BTreeMap<Seat, u64>,
    /// The groups in which the keys of one party stand.
    pub groups: Option<RingGroups>,
    /// Points of a batch.
    pub batch: u32,
    /// Steps are numbered from round `step_base` on, upwards and past it.
    pub step_base: u16,
    /// Milliseconds that a message may take. Before the first of a list, and before the first tags, it may be as much more for
    /// each [`BATCHES_A_STEP`](crate::terms::BATCHES_A_STEP) batches of all lists: a list is masked and sorted before it goes on.
    pub step_ms: u64,
}

/// Groups of one party's keys. Each that has any has as many as a list must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RingGroups {
    /// Whose.
    pub seat: Seat,
    /// How many.
    pub count: usize,
    /// Distinct keys of all of them at the most.
    pub items_max: u64,
}

/// What a party brings.
#[derive(Clone, Copy)]
pub enum RingKeys<'a> {
    /// Its keys.
    Plain(&'a KeySet),
    /// Its keys, each in a group.
    Grouped(&'a GroupSet),
}

impl RingKeys<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Plain(keys) => keys.len(),
            Self::Grouped(keys) => keys.len(),
        }
    }

    fn schema(&self) -> Hash {
        match self {
            Self::Plain(keys) => keys.schema(),
            Self::Grouped(keys) => keys.schema(),
        }
    }

    /// Keys of each group.
    fn groups(&self) -> &[u64] {
        match self {
            Self::Plain(_) => &[],
            Self::Grouped(keys) => keys.sizes(),
        }
    }

    fn read(&self, storage: &mut dyn Storage, first: u64, count: usize) -> Result<(Vec<Key>, Vec<u8>), Fault> {
        match self {
            Self::Plain(keys) => Ok((keys.read(storage, Part::All, first, count)?, Vec::new())),
            Self::Grouped(keys) => keys.read(storage, first, count),
        }
    }
}

/// Numbers that a collector can tell of so many parties: how many keys each set of two and more has in common; of those with
/// whom the groups are, in each of so many groups.
pub fn openings(parties: usize, groups: usize) -> u64 {
    let parties = parties.clamp(1, RING_PARTIES_MAX);
    let (all, with_one) = ((1u64 << parties) - 1 - parties as u64, (1u64 << (parties - 1)) - 1);
    all - with_one + with_one * groups.max(1) as u64 // proof: the sets with one party are among all.
}

fn wrong(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::ArgsInvalid, what))
}

impl RingTerms {
    /// The hash that all parties compare.
    pub fn hash(&self) -> Hash {
        let mut hash = Transcript::new("tacit-psi/1/ring").fixed(&self.context.0).u64(self.seats.len() as u64);
        for seat in &self.seats {
            hash = hash.u64(seat.0.into());
        }
        if let Some(groups) = &self.groups {
            hash = hash.bytes(b"groups").u64(groups.seat.0.into()).u64(groups.count as u64).u64(groups.items_max);
        }
        hash.u64(self.collector.0.into())
            .bytes(self.disclosure.what.as_bytes())
            .u64(self.disclosure.to as u64)
            .u64(self.disclosure.cells_max)
            .u64(self.items_max)
            .u64(self.items_min)
            .u64(self.batch.into())
            .u64(self.step_base.into())
            .finish()
    }

    /// Steps that a run takes at the most.
    pub fn steps(&self) -> u64 {
        let longest = self.groups.map_or(0, |g| g.items_max).max(self.items_max);
        2 + (self.seats.len() as u64 + 1) * (longest.div_ceil(u64::from(self.batch.max(1))) + 1)
    }

    fn check(&self, party: &Party) -> Result<usize, Abort> {
        let mut distinct = self.seats.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let seated = distinct.iter().all(|s| s.index() < party.seating().len());
        let size = (2..=RING_PARTIES_MAX).contains(&self.seats.len());
        if distinct.len() != self.seats.len() || !seated || !size || !self.seats.contains(&self.collector) {
            return Err(wrong("a ring has 2 to 16 different seats, one of which collects"));
        }
        if self.items_max == 0 || self.items_max > ITEMS_MAX || self.items_min > self.items_max {
            return Err(wrong("the numbers of keys of a party are no range"));
        }
        if let Some(groups) = &self.groups {
            let sound = (1..=RING_GROUPS_MAX).contains(&groups.count) && self.seats.contains(&groups.seat);
            if !sound || groups.items_max < self.items_min || groups.items_max > ITEMS_MAX {
                return Err(wrong("groups are 1 to 65, of one of the seats, with room for one list"));
            }
        }
        if !(BATCH_ITEMS_MIN..=BATCH_ITEMS_MAX).contains(&self.batch) {
            return Err(wrong("batches of that size"));
        }
        if (u64::from(self.step_base) << 16) + self.steps() >= 1 << 32 {
            return Err(wrong("the steps do not fit after the first"));
        }
        let seat = party.seat();
        self.seats.iter().position(|s| *s == seat).ok_or_else(|| wrong("this seat has no part in the ring"))
    }

    /// Groups of a seat's keys, 0 for none.
    fn groups_of(&self, seat: Seat) -> usize {
        self.groups.filter(|g| g.seat == seat).map_or(0, |g| g.count)
    }

    /// Whether a seat may bring so many keys, of which so many are in each group.
    fn fits(&self, seat: Seat, items: u64, groups: &[u64]) -> bool {
        let most = self.groups.filter(|g| g.seat == seat).map_or(self.items_max, |g| g.items_max);
        let sum = groups.iter().try_fold(0u64, |sum, size| sum.checked_add(*size));
        (self.items_min..=most).contains(&items)
            && groups.len() == self.groups_of(seat)
            && (groups.is_empty() || sum == Some(items))
            && groups.iter().all(|size| *size == 0 || (self.items_min..=self.items_max).contains(size))
    }

    pub(crate) fn step(&self, i: u64) -> Step {
        Step((u32::from(self.step_base) << 16) + i as u32) // proof: `check` has found that all steps fit.
    }

    fn until(&self, party: &Party) -> Millis {
        party.now().plus(self.step_ms)
    }

    fn batch_of(&self, items: u64, k: u64) -> (u64, usize) {
        let first = (k * u64::from(self.batch)).min(items);
        (first, (items - first).min(u64::from(self.batch)) as usize)
    }
}

/// Runs a ring over this party's keys. The collector gets how many all have, of each group where there are groups; `None`
/// for all others.
///
/// # Errors
/// As those of [`intersect`](crate::intersect).
pub async fn ring(
    party: &mut Party,
    terms: &RingTerms,
    keys: RingKeys<'_>,
    host: &mut Host<'_>,
) -> Result<Option<Vec<u64>>, Abort> {
    let place = terms.check(party)?;
    let Sizes { lists: sizes, groups } = open(party, terms, keys).await?;
    party.reveal(&terms.disclosure, openings(terms.seats.len(), groups.len()), Concealed::new(()))?;
    let seed: Secret<[u8; 32]> = party.rng().seed();
    let wide: Secret<[u8; 64]> = derive(b"tacit-psi/1/ring", seed.expose_secret(), &[]);
    let mask = half(&Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose_secret())));
    let mut run = Run { terms, place, sizes, groups, mask, step: 1 };
    let mut list = run.masked(party, keys, host).await?;
    for hop in 1..terms.seats.len() {
        list = run.hop(party, host, &list, hop).await?;
    }
    run.collect(party, host, &list).await
}

/// What the parties say of their lists.
struct Sizes {
    /// Keys of each, in the order of the seats.
    lists: Vec<u64>,
    /// Keys of each group, where there are groups.
    groups: Vec<u64>,
}

/// Compares terms and schemas and learns the sizes.
async fn open(party: &mut Party, terms: &RingTerms, keys: RingKeys<'_>) -> Result<Sizes, Abort> {
    let (me, items) = (party.seat(), keys.len());
    if keys.groups().len() != terms.groups_of(me) {
        return Err(wrong("the keys of one seat, and of no other, stand in groups"));
    }
    if !terms.fits(me, items, keys.groups()) {
        let what = format!("{items} distinct keys, {} to {} are asked for", terms.items_min, terms.items_max);
        return Err(Abort::Local(Fault::new(Code::RefusedCohort, what)));
    }
    let others: Vec<Seat> = terms.seats.iter().copied().filter(|s| *s != me).collect();
    let mut body = [&terms.hash().0[..], &keys.schema().0, &items.to_le_bytes()].concat();
    keys.groups().iter().for_each(|size| body.extend_from_slice(&size.to_le_bytes()));
    for seat in &others {
        party.post(*seat, terms.step(0), body.clone())?;
    }
    let (until, cap) = (terms.until(party), 4 * OPEN_BYTES + 8 * terms.groups.map_or(0, |g| g.count));
    let messages = party.gather(&others, terms.step(0), cap, until).await?.all(terms.step(0))?;
    let mut sizes = BTreeMap::from([(me, items)]);
    let mut groups = keys.groups().to_vec();
    let mut differ = Vec::new();
    for (seat, message) in &messages {
        let blame = |offence| Blame::seat(*seat, offence).at(terms.step(0));
        let Some(Opening { theirs, schema, size, of_groups }) = opened(message) else {
            return Err(blame(Offence::Malformed));
        };
        if theirs != terms.hash().0 {
            differ.push(*seat);
            continue;
        }
        if of_groups.len() != terms.groups_of(*seat) {
            return Err(blame(Offence::Malformed));
        }
        if schema != keys.schema().0 {
            let what = "the parties make their keys of different columns, or by different steps";
            return Err(Abort::Local(Fault::new(Code::JobDisagreement, what)));
        }
        if !terms.fits(*seat, size, &of_groups) || terms.announced.get(seat).is_some_and(|n| *n != size) {
            return Err(blame(Offence::BadSize));
        }
        sizes.insert(*seat, size);
        groups.extend(of_groups);
    }
    if !differ.is_empty() {
        return Err(Abort::Disagreement { seats: differ });
    }
    Ok(Sizes { lists: terms.seats.iter().filter_map(|s| sizes.get(s).copied()).collect(), groups })
}

/// What the first message of a party says: hash of terms, schema, distinct keys, and those of each group.
struct Opening {
    theirs: [u8; 32],
    schema: [u8; 32],
    size: u64,
    of_groups: Vec<u64>,
}

fn opened(message: &[u8]) -> Option<Opening> {
    let (theirs, rest) = message.split_first_chunk::<32>()?;
    let (schema, rest) = rest.split_first_chunk::<32>()?;
    let (numbers, []) = rest.as_chunks::<8>() else { return None };
    let mut numbers = numbers.iter().map(|n| u64::from_le_bytes(*n));
    Some(Opening { theirs: *theirs, schema: *schema, size: numbers.next()?, of_groups: numbers.collect() })
}

struct Run<'a> {
    terms: &'a RingTerms,
    place: usize,
    sizes: Vec<u64>,
    /// Keys of each group, where there are groups.
    groups: Vec<u64>,
    mask: Multiplier,
    step: u64,
}

/// The next list of points of a party, as it comes in: each record is an item and, where the list has groups, the number of
/// one.
pub(crate) struct Incoming {
    from: Seat,
    count: u64,
    /// Bytes of an item.
    item: usize,
    /// Keys that are still to come of each group.
    left: Vec<u64>,
    chain: Chain,
    last: Option<Vec<u8>>,
}

impl Run<'_> {
    /// The seat so many places further on.
    fn seat(&self, further: usize) -> Seat {
        let n = self.terms.seats.len();
        self.terms.seats.get((self.place + further) % n).copied().unwrap_or(self.terms.collector) // proof: below the length.
    }

    /// The size of the list of the party so many places further on.
    fn size(&self, further: usize) -> u64 {
        self.sizes.get((self.place + further) % self.sizes.len().max(1)).copied().unwrap_or(0)
    }

    /// Keys of each group of the list of the party so many places further on, if it has groups.
    fn groups(&self, further: usize) -> &[u64] {
        if self.terms.groups_of(self.seat(further)) == 0 { &[] } else { &self.groups }
    }

    /// Until when a message may take before which whole lists are worked on.
    fn until_of_lists(&self, party: &Party) -> Millis {
        let all = self.sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        party.now().plus(patience(self.terms.step_ms, all.div_ceil(u64::from(self.terms.batch))))
    }

    /// Until when batch `k` of a list may take: the first one comes when the list is whole and in order.
    fn until(&self, party: &Party, k: u64) -> Millis {
        if k == 0 { self.until_of_lists(party) } else { self.terms.until(party) }
    }

    async fn masked(&self, party: &mut Party, keys: RingKeys<'_>, host: &mut Host<'_>) -> Result<Log, Abort> {
        let expander = Expander::new(DST);
        let mut writer = Writer::new(host.file(0), POINT + usize::from(!keys.groups().is_empty()));
        for k in 0..keys.len().div_ceil(self.terms.batch.into()) {
            let (first, count) = self.terms.batch_of(keys.len(), k);
            let (batch, groups) = keys.read(host.storage, first, count)?;
            let points = items::hash_multiply(host.workers, &expander, &self.mask, &batch);
            push_all(host.storage, &mut writer, &points, &groups)?;
            party.pause().await?;
        }
        let log = writer.finish(host.storage)?;
        Ok(sorted(host, log, 1)?)
    }

    /// Passes a list on and takes the one behind it, masks and shuffles it.
    async fn hop(&mut self, party: &mut Party, host: &mut Host<'_>, list: &Log, hop: usize) -> Result<Log, Abort> {
        let n = self.terms.seats.len();
        let before = self.seat(n - 1);
        let mut incoming = Incoming::new(before, self.size(n - hop), POINT, self.groups(n - hop));
        let mut chain = Chain::new();
        let mut writer = Writer::new(host.file(2), incoming.width());
        let batch = u64::from(self.terms.batch);
        let batches = list.count.div_ceil(batch).max(incoming.count.div_ceil(batch));
        for k in 0..batches {
            let step = self.step + k;
            self.send(party, host, (self.seat(1), list), (step, k), &mut chain)?;
            party.forget(self.terms.step(step));
            let until = self.until(party, k);
            let body = incoming.next(party, self.terms, step, k, until).await?;
            if let Some(body) = &body {
                let records = body.chunks_exact(incoming.width()).filter_map(<[u8]>::split_first_chunk::<POINT>);
                let (points, groups): (Vec<Encoding>, Vec<&[u8]>) = records.map(|(p, group)| (*p, group)).unzip();
                let points = items::multiply(host.workers, &self.mask, &points);
                let points = points.map_err(|t| incoming.trouble(t, self.terms.step(step)))?;
                push_all(host.storage, &mut writer, &points, &groups.concat())?;
            }
            let until = self.until(party, k);
            held(party, self.seat(1), body.is_some(), until).await?;
        }
        self.step += batches_of(self.terms, &self.sizes);
        self.sign(party, self.seat(1), &chain)?;
        incoming.end(party, self.terms, self.step).await?;
        self.step += 1;
        let log = writer.finish(host.storage)?;
        Ok(sorted(host, log, 3 + hop as u32 % 2)?)
    }

    fn send(
        &self,
        party: &mut Party,
        host: &mut Host<'_>,
        (to, list): (Seat, &Log),
        (step, k): (u64, u64),
        chain: &mut Chain,
    ) -> Result<(), Abort> {
        let (first, count) = self.terms.batch_of(list.count, k);
        if count == 0 {
            return Ok(());
        }
        let body = list.get(host.storage, first, count)?;
        chain.add(k, &body);
        party.post(to, self.terms.step(step), body)
    }

    /// Signs what a seat was sent.
    fn sign(&self, party: &mut Party, to: Seat, chain: &Chain) -> Result<(), Abort> {
        let message = end(self.terms, party.seat(), to, &chain.last());
        let signature = party.sign(&message);
        party.post(to, self.terms.step(self.step), signature.0.to_vec())
    }

    /// Gives the tags of the list that this party has in the end to the collector, who counts.
    async fn collect(&mut self, party: &mut Party, host: &mut Host<'_>, list: &Log) -> Result<Option<Vec<u64>>, Abort> {
        let tags = self.tags(host, list)?;
        let batch = u64::from(self.terms.batch);
        if party.seat() != self.terms.collector {
            let mut chain = Chain::new();
            for k in 0..tags.count.div_ceil(batch) {
                self.send(party, host, (self.terms.collector, &tags), (self.step + k, k), &mut chain)?;
                // The collector reads one list after the other.
                let until = self.until_of_lists(party);
                party.flush(until).await?;
            }
            self.step += batches_of(self.terms, &self.sizes);
            self.sign(party, self.terms.collector, &chain)?;
            let until = self.until_of_lists(party);
            party.flush(until).await?;
            return Ok(None);
        }
        let mut common = tags;
        let width = TAG + usize::from(!self.groups.is_empty());
        for further in 1..self.terms.seats.len() {
            // A party has in the end the list of the party after it.
            let mut incoming = Incoming::new(self.seat(further), self.size(further + 1), TAG, self.groups(further + 1));
            let mut writer = Writer::new(host.file(6 + further as u32 % 2), width);
            let mut join = Join::new(&common, TAG);
            for k in 0..incoming.count.div_ceil(batch) {
                let until = self.until(party, k);
                let body = incoming.next(party, self.terms, self.step + k, k, until).await?.unwrap_or_default();
                for record in body.chunks_exact(incoming.width()) {
                    // One of the lists alone has groups.
                    let mut keep = |storage: &mut dyn Storage, side: Side<'_>| match side {
                        Side::Both(held) => {
                            let group = held.get(TAG).max(record.get(TAG)).copied().unwrap_or(0);
                            writer.push(storage, &[&record[..TAG], &[group][..width - TAG]]) // proof: one byte, or none.
                        }
                        Side::Left(_) | Side::Right => Ok(()),
                    };
                    join.right(host.storage, record, &mut keep)?;
                }
            }
            incoming.end(party, self.terms, self.step + batches_of(self.terms, &self.sizes)).await?;
            common = writer.finish(host.storage)?;
        }
        let until = self.terms.until(party);
        party.flush(until).await?;
        self.counts(host, &common).map(Some).map_err(Abort::Local)
    }

    /// How many keys are in common, of each group where there are groups.
    fn counts(&self, host: &mut Host<'_>, common: &Log) -> Result<Vec<u64>, Fault> {
        if self.groups.is_empty() {
            return Ok(vec![common.count]);
        }
        let mut counts = vec![0u64; self.groups.len()];
        let mut reader = Reader::new(common);
        while let Some(record) = reader.next(host.storage)? {
            let group = record.get(TAG).and_then(|group| counts.get_mut(usize::from(*group)));
            group.into_iter().for_each(|count| *count += 1); // proof: no more than the list has keys.
        }
        Ok(counts)
    }

    fn tags(&self, host: &mut Host<'_>, list: &Log) -> Result<Log, Fault> {
        let tagger = Tagger::new(&self.terms.hash(), &[0; 32], "ring");
        let mut writer = Writer::new(host.file(5), TAG + list.width - POINT); // proof: a record begins with a point.
        let mut reader = Reader::new(list);
        while let Some((point, group)) = reader.next(host.storage)?.and_then(<[u8]>::split_first_chunk::<POINT>) {
            let (hash, group) = (tagger.plain(point), group.to_vec());
            writer.push(host.storage, &[&hash[..TAG], &group])?; // proof: a hash has 32 bytes.
        }
        let log = writer.finish(host.storage)?;
        sorted(host, log, 8)
    }
}

impl Incoming {
    pub(crate) fn new(from: Seat, count: u64, item: usize, groups: &[u64]) -> Self {
        Self { from, count, item, left: groups.to_vec(), chain: Chain::new(), last: None }
    }

    /// Bytes of a record.
    fn width(&self) -> usize {
        self.item + usize::from(!self.left.is_empty())
    }

    /// Batch `k`, which must have the announced length, go on in order and keep to the announced groups; `None` past the
    /// end.
    pub(crate) async fn next(
        &mut self,
        party: &mut Party,
        terms: &RingTerms,
        step: u64,
        k: u64,
        until: Millis,
    ) -> Result<Option<Vec<u8>>, Abort> {
        let (_, count) = terms.batch_of(self.count, k);
        if count == 0 {
            return Ok(None);
        }
        let step = terms.step(step);
        // Of this seat alone: at the collector others have sent theirs under the same steps, and are read after it.
        party.forget_of(self.from, step);
        let body = party.receive(self.from, step, 2 * count * self.width() + 64, until).await?;
        let blame = |offence| Blame::seat(self.from, offence).at(step);
        if body.len() != count * self.width() {
            return Err(blame(Offence::BadCount));
        }
        for record in body.chunks_exact(self.width()) {
            let (item, group) = record.split_at(self.item); // proof: a record begins with its item.
            ascending(self.last.as_deref(), item).map_err(|t| self.trouble(t, step))?;
            self.last = Some(item.to_vec());
            if let Some(group) = group.first() {
                let left = self.left.get_mut(usize::from(*group)).ok_or_else(|| blame(Offence::Malformed))?;
                *left = left.checked_sub(1).ok_or_else(|| blame(Offence::BadCount))?;
            }
        }
        self.chain.add(k, &body);
        Ok(Some(body))
    }

    /// The sender's signature over all of it.
    async fn end(&self, party: &mut Party, terms: &RingTerms, step: u64) -> Result<(), Abort> {
        let (until, at) = (terms.until(party), terms.step(step));
        let body = party.receive(self.from, at, 256, until).await?;
        let message = end(terms, self.from, party.seat(), &self.chain.last());
        let signature = body.try_into().ok().map(Signature);
        if signature.is_some_and(|s: Signature| party.verify(self.from, &message, &s)) {
            return Ok(());
        }
        Err(Blame::seat(self.from, Offence::Signature).at(at))
    }

    fn trouble(&self, trouble: Trouble, step: Step) -> Abort {
        match trouble {
            Trouble::Peer(offence) => Blame::seat(self.from, offence).at(step),
            Trouble::Host(fault) => Abort::Local(fault),
        }
    }
}

/// Steps that any list may take.
fn batches_of(terms: &RingTerms, sizes: &[u64]) -> u64 {
    sizes.iter().copied().max().unwrap_or(0).div_ceil(u64::from(terms.batch))
}

/// Writes points, each with its group where they have any.
fn push_all(storage: &mut dyn Storage, writer: &mut Writer, points: &[Encoding], groups: &[u8]) -> Result<(), Fault> {
    let mut groups = groups.chunks(1);
    points.iter().try_for_each(|point| writer.push(storage, &[point, groups.next().unwrap_or_default()]))
}

fn end(terms: &RingTerms, from: Seat, to: Seat, chain: &Hash) -> Vec<u8> {
    [&b"tacit-psi/1/ring\n"[..], &terms.hash().0, &from.0.to_le_bytes(), &to.0.to_le_bytes(), &chain.0].concat()
}

fn sorted(host: &mut Host<'_>, log: Log, file: u32) -> Result<Log, Fault> {
    let into = host.file(file);
    let sorted = sort(host.storage, &log, into, files::SCRATCH, host.memory)?;
    log.remove(host.storage)?;
    Ok(sorted)
}
