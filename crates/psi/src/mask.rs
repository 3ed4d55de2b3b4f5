//! Mode A: every key is masked by both parties, in either order with the same outcome (Meadows 1986; Huberman, Franklin and
//! Hogg 1999). For the set at the receiver or both, and for the cardinality.

use curve25519_dalek::scalar::Scalar;
use tacit_protocol::{Abort, Party};
use tacit_types::{Fault, Hash};
use zeroize::Zeroizing;

use crate::exchange::{self, Proven, Shape, Work};
use crate::hash::{DST, Expander, Tagger, tag_bytes};
use crate::items;
use crate::keyset::{KeySet, Part, REF_BYTES};
use crate::outcome::{Alignment, Outcome};
use crate::same;
use crate::session::{Host, MASK, Session, Trouble};
use crate::sort::{Join, Side, sort};
use crate::storage::{Log, Reader, Storage, Writer};
use crate::terms::{Level, Role, Terms};
use tacit_crypto::points::{Encoding, Multiplier};

/// Files of a run in this mode.
mod files {
    pub(super) const MASKED: u32 = 0;
    pub(super) const MASKED_SORTED: u32 = 1;
    pub(super) const OWN: u32 = 2;
    pub(super) const OWN_SORTED: u32 = 3;
    pub(super) const THEIRS: u32 = 4;
    pub(super) const THEIRS_SORTED: u32 = 5;
    pub(super) const MATCHED: u32 = 6;
    pub(super) const ALONE: u32 = 7;
    pub(super) const FOUND: u32 = 8;
}

/// Bytes of a masked key: encoding, rows.
pub(crate) const MASKED_WIDTH: usize = 32 + REF_BYTES;

/// Sorts a list of this run. The unsorted one stays only where an interrupted run may need it again.
pub(crate) fn sorted(session: &Session, host: &mut Host<'_>, log: Log, file: u32) -> Result<Log, Fault> {
    let into = host.file(file);
    let sorted = sort(host.storage, &log, into, crate::keyset::files::SCRATCH, host.memory)?;
    if session.terms.checkpoint == 0 {
        log.remove(host.storage)?;
    }
    Ok(sorted)
}

/// A scalar's half, for points that are doubled when they are encoded.
pub(crate) fn half(scalar: &Scalar) -> Multiplier {
    Multiplier::new(&Zeroizing::new(scalar * Scalar::from(2u8).invert()))
}

/// Masks all keys and sorts them by what they became, which shuffles them.
pub(crate) async fn masked(
    party: &mut Party,
    session: &Session,
    keys: &KeySet,
    host: &mut Host<'_>,
    mask: &Multiplier,
    [unsorted, into]: [u32; 2],
) -> Result<Log, Abort> {
    let items = keys.len();
    if session.done > 0 {
        // A run that goes on has them.
        return Ok(Log { count: items, ..Log::new(host.file(into), MASKED_WIDTH) });
    }
    let expander = Expander::new(DST);
    let mut writer = Writer::new(host.file(unsorted), MASKED_WIDTH);
    for k in 0..session.terms.batches(items) {
        let (first, count) = session.terms.batch_of(items, k);
        let batch = keys.read(host.storage, Part::All, first, count)?;
        let points = items::hash_multiply(host.workers, &expander, mask, &batch);
        for (key, point) in batch.iter().zip(&points) {
            writer.push(host.storage, &[point, &key.rows.bytes()])?;
        }
        party.pause().await?;
    }
    let log = writer.finish(host.storage)?;
    let into = host.file(into);
    let sorted = sort(host.storage, &log, into, crate::keyset::files::SCRATCH, host.memory)?;
    log.remove(host.storage)?;
    Ok(sorted)
}

/// The points of one batch of masked keys.
pub(crate) fn points_of(host: &mut Host<'_>, terms: &Terms, masked: &Log, k: u64) -> Result<Vec<u8>, Fault> {
    let (first, count) = terms.batch_of(masked.count, k);
    let records = masked.get(host.storage, first, count)?;
    let mut out = Vec::with_capacity(32 * count);
    records.chunks_exact(MASKED_WIDTH).for_each(|r| out.extend_from_slice(r.get(..32).unwrap_or_default()));
    Ok(out)
}

struct Masks {
    terms: Terms,
    masked: Log,
    mask: Multiplier,
    tagger: Tagger,
    tag: usize,
    /// Tags of own keys with their rows, as the peer gives them.
    own: Log,
    /// Tags of the peer's keys.
    theirs: Log,
    /// Whether answers go to the peer, and the tags of its keys are kept.
    gives: bool,
    keeps: bool,
    /// Whether answers are elements, which can be proven, and not their tags.
    proven: bool,
}

impl Masks {
    fn tags(&self, host: &Host<'_>, elements: &[Encoding]) -> Vec<u8> {
        let tagger = &self.tagger;
        let hashes = items::hashes(host.workers, elements.len(), |i| tagger.plain(&elements[i])); // proof: below the length.
        let mut tags = Vec::with_capacity(self.tag * hashes.len());
        hashes.iter().for_each(|h| tags.extend_from_slice(&h[..self.tag])); // proof: a tag has 16 bytes at the most.
        tags
    }
}

impl Work for Masks {
    fn points(&mut self, host: &mut Host<'_>, k: u64) -> Result<Vec<u8>, Trouble> {
        Ok(points_of(host, &self.terms, &self.masked, k)?)
    }

    fn answer(&mut self, host: &mut Host<'_>, k: u64, points: &[Encoding]) -> Result<Vec<u8>, Trouble> {
        let elements = items::multiply(host.workers, &self.mask, points)?;
        if self.gives && self.proven {
            return Ok(elements.as_flattened().to_vec());
        }
        let tags = self.tags(host, &elements);
        if self.keeps {
            self.theirs.put(host.storage, k * u64::from(self.terms.batch), &tags)?;
        }
        Ok(if self.gives { tags } else { Vec::new() })
    }

    fn take(&mut self, host: &mut Host<'_>, k: u64, answer: &[u8]) -> Result<(), Trouble> {
        let (first, count) = self.terms.batch_of(self.masked.count, k);
        let records = self.masked.get(host.storage, first, count)?;
        let made = if self.proven { self.tags(host, answer.as_chunks::<32>().0) } else { Vec::new() };
        let tags = if self.proven { &made } else { answer };
        let mut own = Vec::with_capacity(count * self.own.width);
        for (tag, record) in tags.chunks_exact(self.tag).zip(records.chunks_exact(MASKED_WIDTH)) {
            own.extend_from_slice(tag);
            own.extend_from_slice(record.get(32..).unwrap_or_default());
        }
        Ok(self.own.put(host.storage, first, &own)?)
    }
}

/// Runs the mode for a level that reveals the set or the cardinality.
pub(crate) async fn run(
    party: &mut Party,
    session: &mut Session,
    keys: &KeySet,
    host: &mut Host<'_>,
) -> Result<Outcome, Abort> {
    let receives = session.role == Role::Receiver;
    let level = session.terms.level;
    let (set, learns, tells) = match level {
        Level::Both => (true, true, true),
        Level::Cardinality { both } => (false, both || receives, both || !receives),
        Level::Receiver | Level::Spine => (true, receives, !receives),
    };
    let scalar = session.scalar(MASK);
    let mask = half(&scalar);
    let masked = masked(party, session, keys, host, &mask, [files::MASKED, files::MASKED_SORTED]).await?;
    let (ours, theirs) = (session.ours.items(), session.theirs.items());
    let tag = tag_bytes(ours, theirs);
    let mut work = Masks {
        terms: session.terms.clone(),
        masked,
        mask,
        tagger: Tagger::new(&session.id, &[0; 32], "mask"),
        tag,
        own: Log::new(host.file(files::OWN), tag + REF_BYTES),
        theirs: Log::new(host.file(files::THEIRS), tag),
        gives: set && tells,
        keeps: learns || !set,
        // Who learns alone has nothing to compare with the peer, and does not take its word.
        proven: level == Level::Receiver,
    };
    let width = if work.proven { 32 } else { tag };
    let answers = [work.gives, set && learns].map(|due| if due { width } else { 0 });
    let mut proven = Proven { what: "keys", ..Proven::default() };
    match (work.proven, receives) {
        (true, true) => proven.public = Some(session.proven_by(&session.theirs.public, 1)?),
        (true, false) => proven.key = Some(session.key(scalar)),
        (false, _) => {}
    }
    let shape = Shape { points: [ours, theirs], answers, sorted: true, first: 2, proven };
    exchange::points(party, session, host, &shape, &mut work, true).await?;
    let Masks { mut own, theirs: mut kept, .. } = work;
    (own.count, kept.count) = (ours, theirs);
    if set {
        set_of(party, session, keys, host, shape.end(session), learns.then_some((own, kept))).await
    } else {
        let kept = sorted(session, host, kept, files::THEIRS_SORTED)?;
        count_of(party, session, host, shape.end(session), &kept, learns, tells).await
    }
}

/// The matches of two lists of tags that this party has, if it learns them.
async fn set_of(
    party: &mut Party,
    session: &mut Session,
    keys: &KeySet,
    host: &mut Host<'_>,
    end: u64,
    lists: Option<(Log, Log)>,
) -> Result<Outcome, Abort> {
    let mut last = end;
    let outcome = match lists {
        None => Outcome::Nothing,
        Some((own, theirs)) => {
            let own = sorted(session, host, own, files::OWN_SORTED)?;
            let theirs = sorted(session, host, theirs, files::THEIRS_SORTED)?;
            // The order of what the peer answered is its own, so equal tags show only now.
            distinct(host, &own, theirs.width).map_err(|t| session.trouble(t, end))?;
            let set = align(session, keys, host, &own, &theirs)?;
            // Where both learn, neither takes the other's word for it.
            if let (Level::Both, [matched]) = (session.terms.level, &set.matched[..]) {
                let found = same::digest(keys, host, matched, files::FOUND)?;
                last = same::same(party, session, host, &found, end).await?;
            }
            Outcome::Set(set)
        }
    };
    session.end(party, last, &Hash([0; 32])).await?;
    Ok(outcome)
}

/// Refuses a sorted list that has a tag twice.
fn distinct(host: &mut Host<'_>, log: &Log, tag: usize) -> Result<(), Trouble> {
    let mut reader = Reader::new(log);
    let mut last: Option<Vec<u8>> = None;
    while let Some(record) = reader.next(host.storage)? {
        let record = record.get(..tag).unwrap_or(record);
        exchange::ascending(last.as_deref(), record)?;
        last = Some(record.to_vec());
    }
    Ok(())
}

fn align(session: &Session, keys: &KeySet, host: &mut Host<'_>, own: &Log, theirs: &Log) -> Result<Alignment, Fault> {
    let tag = theirs.width;
    let mut matched = Writer::new(host.file(files::MATCHED), REF_BYTES);
    let mut alone = Writer::new(host.file(files::ALONE), REF_BYTES);
    let mut peer_alone = 0;
    let mut on = |storage: &mut dyn Storage, side: Side<'_>| match side {
        Side::Both(record) => matched.push(storage, &[record.get(tag..).unwrap_or_default()]),
        Side::Left(record) => alone.push(storage, &[record.get(tag..).unwrap_or_default()]),
        Side::Right => {
            peer_alone += 1;
            Ok(())
        }
    };
    let mut join = Join::new(own, tag);
    let mut reader = Reader::new(theirs);
    while let Some(record) = reader.next(host.storage)?.map(<[u8]>::to_vec) {
        join.right(host.storage, &record, &mut on)?;
    }
    join.finish(host.storage, &mut on)?;
    Ok(Alignment {
        keys: keys.clone(),
        receiver: session.role == Role::Receiver,
        matched: vec![matched.finish(host.storage)?],
        alone: vec![alone.finish(host.storage)?],
        peer_alone,
    })
}

/// How many tags two parties have in common: each gives the tags of the other's keys in order, so that nobody can tell which
/// key has which.
async fn count_of(
    party: &mut Party,
    session: &mut Session,
    host: &mut Host<'_>,
    first: u64,
    kept: &Log,
    learns: bool,
    tells: bool,
) -> Result<Outcome, Abort> {
    let width = kept.width;
    let mut common = 0u64;
    let mut join = Join::new(kept, width);
    let mut count = |_: &mut dyn Storage, side: Side<'_>| {
        common += u64::from(matches!(side, Side::Both(_)));
        Ok(())
    };
    let mut on = |storage: &mut dyn Storage, record: &[u8]| Ok(join.right(storage, record, &mut count)?);
    let expected = if learns { session.ours.items() } else { 0 };
    let out = tells.then_some(kept);
    let end = exchange::lists(party, session, host, first, [width, width], out, expected, &mut on).await?;
    session.end(party, end, &Hash([0; 32])).await?;
    Ok(if learns { Outcome::Cardinality(common) } else { Outcome::Nothing })
}
