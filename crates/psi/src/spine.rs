//! L3: pseudorandom ids for the union of the keys, of which nobody knows which are both parties' (after Buddhavarapu et al.
//! 2020, with fresh masks on the differences).
//!
//! With secret scalars a1, a2 of one party and b1, b2 of the other, F(x) = a1 b1 H(x) serves to compare and
//! U(x) = a2 b2 F(x) is the id. Each party gets F of its own keys in an order that it cannot follow, and U of them in its
//! own; ids of the keys that only the peer has it asks for under a mask t that is used for nothing else.

use tacit_crypto::Transcript;
use tacit_protocol::{Abort, Offence, Party};
use tacit_types::{Code, Fault, Hash};
use zeroize::Zeroizing;

use crate::exchange::{self, Proven, Shape, Work};
use crate::hash::{Tagger, tag_bytes};
use crate::items;
use crate::keyset::{KeySet, REF_BYTES};
use crate::mask::{self, half, masked, points_of, sorted};
use crate::outcome::{Outcome, Spine, UID_BYTES};
use crate::session::{COMPARE, Host, NAME, Session, Trouble};
use crate::sort::{Join, Side};
use crate::storage::{Log, Reader, Storage, Writer};
use crate::terms::Terms;
use tacit_crypto::points::{Encoding, Multiplier};

/// Files of a run of this level.
mod files {
    pub(super) const MASKED: u32 = 0;
    pub(super) const MASKED_SORTED: u32 = 1;
    pub(super) const OWN: u32 = 2;
    pub(super) const OWN_SORTED: u32 = 3;
    pub(super) const THEIRS: u32 = 4;
    pub(super) const THEIRS_SORTED: u32 = 5;
    pub(super) const OTHERS: u32 = 6;
    pub(super) const OTHERS_SORTED: u32 = 7;
    pub(super) const UNION: u32 = 8;
    pub(super) const UNION_SORTED: u32 = 9;
    pub(super) const ASKED: u32 = 10;
}

/// The first exchange: own keys' ids, and the peer's comparable elements.
struct First {
    terms: Terms,
    masked: Log,
    compare: Multiplier,
    /// Takes the peer's points on to both of our masks.
    name: Multiplier,
    /// Adds our second mask.
    second: Multiplier,
    tags: Tagger,
    tag: usize,
    uids: Tagger,
    own: Log,
    /// Tag and element of the peer's keys.
    theirs: Log,
}

impl Work for First {
    fn points(&mut self, host: &mut Host<'_>, k: u64) -> Result<Vec<u8>, Trouble> {
        Ok(points_of(host, &self.terms, &self.masked, k)?)
    }

    fn answer(&mut self, host: &mut Host<'_>, k: u64, points: &[Encoding]) -> Result<Vec<u8>, Trouble> {
        let elements = items::multiply(host.workers, &self.compare, points)?;
        let tagger = &self.tags;
        let hashes = items::hashes(host.workers, elements.len(), |i| tagger.plain(&elements[i])); // proof: below the length.
        let mut records = Vec::with_capacity(elements.len() * self.theirs.width);
        for (hash, element) in hashes.iter().zip(&elements) {
            records.extend_from_slice(&hash[..self.tag]); // proof: a tag has 16 bytes at the most.
            records.extend_from_slice(element);
        }
        self.theirs.put(host.storage, k * u64::from(self.terms.batch), &records)?;
        Ok(items::multiply(host.workers, &self.name, points)?.as_flattened().to_vec())
    }

    fn take(&mut self, host: &mut Host<'_>, k: u64, answer: &[u8]) -> Result<(), Trouble> {
        let (first, count) = self.terms.batch_of(self.masked.count, k);
        let elements = items::multiply(host.workers, &self.second, answer.as_chunks::<32>().0)?;
        let records = self.masked.get(host.storage, first, count)?;
        let mut own = Vec::with_capacity(count * self.own.width);
        for (element, record) in elements.iter().zip(records.chunks_exact(mask::MASKED_WIDTH)) {
            own.extend_from_slice(&self.uids.plain(element)[..UID_BYTES]); // proof: a hash has 32 bytes.
            own.extend_from_slice(record.get(32..).unwrap_or_default());
        }
        Ok(self.own.put(host.storage, first, &own)?)
    }
}

/// The second exchange: ids of the keys that only the peer has.
struct Second {
    terms: Terms,
    /// The peer's elements that we lack, under a mask of their own.
    others: Log,
    second: Multiplier,
    /// Takes that mask off and puts our second one on.
    change: Multiplier,
    uids: Tagger,
    union: Writer,
}

impl Work for Second {
    fn points(&mut self, host: &mut Host<'_>, k: u64) -> Result<Vec<u8>, Trouble> {
        let (first, count) = self.terms.batch_of(self.others.count, k);
        Ok(self.others.get(host.storage, first, count)?)
    }

    fn answer(&mut self, host: &mut Host<'_>, _: u64, points: &[Encoding]) -> Result<Vec<u8>, Trouble> {
        Ok(items::multiply(host.workers, &self.second, points)?.as_flattened().to_vec())
    }

    fn take(&mut self, host: &mut Host<'_>, _: u64, answer: &[u8]) -> Result<(), Trouble> {
        for element in items::multiply(host.workers, &self.change, answer.as_chunks::<32>().0)? {
            self.union.push(host.storage, &[&self.uids.plain(&element)[..UID_BYTES]])?; // proof: a hash has 32 bytes.
        }
        Ok(())
    }
}

/// Runs the level.
pub(crate) async fn run(
    party: &mut Party,
    session: &mut Session,
    keys: &KeySet,
    host: &mut Host<'_>,
) -> Result<Outcome, Abort> {
    let (ours, theirs) = (session.ours.items(), session.theirs.items());
    let (compare, second, once) = (session.scalar(COMPARE), session.scalar(NAME), session.scalar("once"));
    let masked = masked(party, session, keys, host, &half(&compare), [files::MASKED, files::MASKED_SORTED]).await?;
    // By these keys either party answers: by both its masks together, and by the second alone.
    let both = Zeroizing::new(*compare * *second);
    let (named, added) = (session.key(both.clone()), session.key(second.clone()));
    let theirs_named = session.proven_by(&session.theirs.public, 1)?;
    let body = exchange::both(party, session, 2, added.public.to_vec()).await?;
    let theirs_added = body.first_chunk::<32>().ok_or_else(|| session.blame(Offence::Malformed, 2))?;
    let theirs_added = session.proven_by(theirs_added, 2)?;
    let tag = tag_bytes(ours, theirs);
    let uids = Tagger::new(&session.id, &[0; 32], "uid");
    let mut work = First {
        terms: session.terms.clone(),
        masked,
        compare: half(&compare),
        name: half(&both),
        second: half(&second),
        tags: Tagger::new(&session.id, &[0; 32], "compare"),
        tag,
        uids: uids.clone(),
        own: Log::new(host.file(files::OWN), UID_BYTES + REF_BYTES),
        theirs: Log::new(host.file(files::THEIRS), tag + 32),
    };
    let proven = Proven { what: "own ids", key: Some(named), public: Some(theirs_named) };
    let shape = Shape { points: [ours, theirs], answers: [32, 32], sorted: true, first: 3, proven };
    exchange::points(party, session, host, &shape, &mut work, true).await?;
    let First { mut own, theirs: mut kept, .. } = work;
    (own.count, kept.count) = (ours, theirs);
    let own = sorted(session, host, own, files::OWN_SORTED)?;
    let kept = sorted(session, host, kept, files::THEIRS_SORTED)?;
    let (others, step) = others(party, session, host, &kept, tag, shape.end(session)).await?;
    let matches = theirs - others.count;
    let asked = ask(party, session, host, &others, &half(&once)).await?;
    let mut work = Second {
        terms: session.terms.clone(),
        others: asked,
        second: half(&second),
        change: half(&Zeroizing::new(*second * *Zeroizing::new(once.invert()))),
        uids,
        union: Writer::new(host.file(files::UNION), UID_BYTES),
    };
    let points = [others.count, ours.saturating_sub(matches)];
    let proven = Proven { what: "ids of others", key: Some(added), public: Some(theirs_added) };
    let shape = Shape { points, answers: [32, 32], sorted: true, first: step, proven };
    exchange::points(party, session, host, &shape, &mut work, false).await?;
    let end = shape.end(session);
    let union = union(session, host, work.union, &own, end, ours + theirs - matches)?;
    session.end(party, end, &union.1).await?;
    Ok(Outcome::Spine(Spine { keys: keys.clone(), own, union: union.0, matches }))
}

/// In tests, for which of the peer's elements a party that lies asks for the ids.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    Matched,
    Every,
    /// So many that it lacks.
    Some(u64),
}

#[cfg(test)]
fn asks(session: &Session) -> impl Fn(bool, u64) -> bool + Send + use<> {
    let lie = session.terms.asks;
    move |matched, before| match lie {
        None => !matched,
        Some(Asks::Matched) => matched,
        Some(Asks::Every) => true,
        Some(Asks::Some(count)) => !matched && before < count,
    }
}

/// A party asks for the ids of all elements that it lacks.
#[cfg(not(test))]
fn asks(_: &Session) -> impl Fn(bool, u64) -> bool + Send + use<> {
    |matched, _| !matched
}

/// The peer's comparable elements that none of ours equals, and the step after the comparison. Sorted tags go both ways.
async fn others(
    party: &mut Party,
    session: &mut Session,
    host: &mut Host<'_>,
    kept: &Log,
    tag: usize,
    first: u64,
) -> Result<(Log, u64), Abort> {
    let mut writer = Writer::new(host.file(files::OTHERS), 32);
    let mut join = Join::new(kept, tag);
    let (asks, mut asked) = (asks(session), 0);
    let mut pick = |storage: &mut dyn Storage, side: Side<'_>| match side {
        Side::Left(record) | Side::Both(record) if asks(matches!(side, Side::Both(_)), asked) => {
            asked += 1;
            writer.push(storage, &[record.get(tag..).unwrap_or_default()])
        }
        _ => Ok(()),
    };
    let mut on = |storage: &mut dyn Storage, record: &[u8]| Ok(join.right(storage, record, &mut pick)?);
    let ours = session.ours.items();
    let step = exchange::lists(party, session, host, first, [tag, tag], Some(kept), ours, &mut on).await?;
    join.finish(host.storage, &mut pick)?;
    Ok((writer.finish(host.storage)?, step))
}

/// Those elements under a mask of their own, sorted by what they become.
async fn ask(
    party: &mut Party,
    session: &Session,
    host: &mut Host<'_>,
    others: &Log,
    once: &Multiplier,
) -> Result<Log, Abort> {
    let mut writer = Writer::new(host.file(files::OTHERS_SORTED), 32);
    for k in 0..session.terms.batches(others.count) {
        let (first, count) = session.terms.batch_of(others.count, k);
        let records = others.get(host.storage, first, count)?;
        let Ok(points) = items::multiply(host.workers, once, records.as_chunks::<32>().0) else {
            let what = "stored elements are no longer elements";
            return Err(Abort::Local(Fault::new(Code::JobInternal, what)));
        };
        for point in &points {
            writer.push(host.storage, &[point])?;
        }
        party.pause().await?;
    }
    let log = writer.finish(host.storage)?;
    Ok(sorted(session, host, log, files::ASKED)?)
}

/// All ids in order, with their hash. There must be as many different ones as the sizes say.
fn union(
    session: &Session,
    host: &mut Host<'_>,
    mut writer: Writer,
    own: &Log,
    step: u64,
    expected: u64,
) -> Result<(Log, Hash), Abort> {
    let mut reader = Reader::new(own);
    while let Some(uid) = reader.next(host.storage)?.map(|r| r.get(..UID_BYTES).unwrap_or(r).to_vec()) {
        writer.push(host.storage, &[&uid])?;
    }
    let log = writer.finish(host.storage)?;
    let log = sorted(session, host, log, files::UNION_SORTED)?;
    let mut reader = Reader::new(&log);
    let mut last: Option<Vec<u8>> = None;
    let mut hash = Transcript::new("tacit-psi/1/union");
    while let Some(uid) = reader.next(host.storage)? {
        exchange::ascending(last.as_deref(), uid).map_err(|t| session.trouble(t, step))?;
        hash = hash.bytes(uid);
        last = Some(uid.to_vec());
    }
    if log.count != expected {
        return Err(session.blame(Offence::BadCount, step));
    }
    Ok((log, hash.finish()))
}
