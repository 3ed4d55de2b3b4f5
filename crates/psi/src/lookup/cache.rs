//! The cache of an unbalanced search: the holder's keys under its function, sorted and shipped once. What says of which
//! list, key and age it is stands in a [`Header`]; the tags lie on a shelf that outlives jobs.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha256};
use tacit_crypto::agree::derive;
use tacit_crypto::points::{Encoding, Multiplier};
use tacit_crypto::{Secret, Transcript, sha256};
use tacit_types::{Code, Fault, Hash, UnixMillis};
use zeroize::Zeroizing;

use crate::hash::{DST, Expander, Tagger, tag_bytes};
use crate::items;
use crate::keyset::{KeySet, Part, files};
use crate::session::Host;
use crate::sort::sort;
use crate::storage::{Log, Reader, Storage, Writer};

/// Queries that a tag is long enough for: so many of one epoch have one wrong match with a probability of 2^-40.
pub const QUERIES_OF_AN_EPOCH: u64 = 1 << 24;
/// Keys of one cache.
pub const CACHE_KEYS_MAX: u64 = 1 << 28;
/// Bytes of a header.
pub const HEADER_BYTES: usize = 8 + 32 + 32 + 8 + 8 + 1 + 32 + 32;
/// Begins a header.
const MAGIC: [u8; 8] = *b"tclook01";
/// Tags between two entries of the index: what one search reads.
pub(super) const BLOCK: u64 = 128;
/// Bytes of an entry of the index: the beginning of a block's first tag.
const ENTRY_BYTES: usize = 8;
/// Bytes of a record on the shelf: header, list, tags that are there, and what tells a whole record from a torn one.
const RECORD_BYTES: usize = HEADER_BYTES + 32 + 8 + 32;
/// Records of whole caches: one is written while the other stays.
const SLOTS: [u32; 2] = [0, 1];
/// The record of a cache that is on its way.
const PARTIAL: u32 = 2;
/// How far the number of an epoch may lie ahead of the clock: epochs of one moment are numbered one after the other.
const AHEAD_MS: u64 = 60_000;
/// The first file of tags.
const BODIES: u32 = 16;

/// What a cache is of. Immutable: one epoch of one series has one header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose lists are searched, by whom and in which form.
    pub series: Hash,
    /// The digest of the key's schema: its columns and the steps that make values comparable.
    pub schema: Hash,
    /// When the function's key was drawn, in milliseconds: later epochs have greater numbers.
    pub epoch: u64,
    /// Tags.
    pub keys: u64,
    /// Bytes of a tag.
    pub width: u8,
    /// The public part of the function's key.
    pub public: Encoding,
    /// SHA-256 of all tags.
    pub digest: Hash,
}

impl Header {
    /// The bytes that go over the wire.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let (epoch, keys) = (self.epoch.to_be_bytes(), self.keys.to_be_bytes());
        let parts =
            [&MAGIC[..], &self.series.0, &self.schema.0, &epoch, &keys, &[self.width], &self.public, &self.digest.0];
        let mut out = [0; HEADER_BYTES];
        out.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        out
    }

    /// From bytes; `None` for others than [`Header::bytes`] makes, or a cache beyond the limits.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
            let (head, rest) = bytes.split_first_chunk::<N>()?;
            *bytes = rest;
            Some(head)
        }
        let mut left = bytes.strip_prefix(&MAGIC)?;
        let header = Self {
            series: Hash(*take(&mut left)?),
            schema: Hash(*take(&mut left)?),
            epoch: u64::from_be_bytes(*take(&mut left)?),
            keys: u64::from_be_bytes(*take(&mut left)?),
            width: take::<1>(&mut left)?[0],
            public: *take(&mut left)?,
            digest: Hash(*take(&mut left)?),
        };
        let sound = left.is_empty()
            && header.keys <= CACHE_KEYS_MAX
            && usize::from(header.width) == tag_bytes(header.keys, QUERIES_OF_AN_EPOCH);
        sound.then_some(header)
    }

    /// What names the cache.
    pub fn id(&self) -> Hash {
        sha256(&self.bytes())
    }

    /// A query for a key that the holder does not have matches with a probability of 2 to the minus this at the most.
    pub fn wrong_match_bits(&self) -> u32 {
        8 * u32::from(self.width) - (u64::BITS - self.keys.max(1).saturating_sub(1).leading_zeros())
    }

    pub(super) fn tagger(&self) -> Tagger {
        let epoch = Transcript::new("tacit-lookup/1/epoch").fixed(&self.series.0).fixed(&self.schema.0).u64(self.epoch);
        Tagger::new(&epoch.finish(), &self.public, "lookup")
    }

    fn body(&self) -> u32 {
        BODIES + 2 * (self.epoch as u32 & 0x3fff_ffff) // proof: 30 bits, doubled, fit with 16 more.
    }

    /// The tags.
    pub(super) fn tags(&self) -> Log {
        Log { file: self.body(), width: self.width.into(), count: self.keys }
    }

    fn index(&self) -> Log {
        Log { file: self.body() + 1, width: ENTRY_BYTES, count: self.keys.div_ceil(BLOCK) }
    }
}

/// A header as it stands on a shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record {
    pub header: Header,
    /// The digest of the holder's distinct keys; zeroes at who asks.
    pub list: Hash,
    /// Tags that are there.
    pub have: u64,
}

impl Record {
    fn bytes(&self) -> Vec<u8> {
        let body = [&self.header.bytes()[..], &self.list.0, &self.have.to_be_bytes()].concat();
        let check = sha256(&body);
        [body, check.0.to_vec()].concat()
    }

    fn read(shelf: &mut dyn Storage, file: u32) -> Option<Self> {
        let mut bytes = [0; RECORD_BYTES];
        shelf.read(file, 0, &mut bytes).ok()?;
        let (body, check) = bytes.split_last_chunk::<32>()?;
        let (body, have) = (sha256(body).0 == *check).then(|| body.split_last_chunk::<8>())??;
        let (header, list) = body.split_last_chunk::<32>()?;
        let record = Self { header: Header::decode(header)?, list: Hash(*list), have: u64::from_be_bytes(*have) };
        (record.have <= record.header.keys).then_some(record)
    }
}

/// The whole cache of the latest epoch on a shelf.
pub(super) fn latest(shelf: &mut dyn Storage) -> Option<Record> {
    let all = SLOTS.map(|slot| Record::read(shelf, slot));
    all.into_iter().flatten().max_by_key(|r| r.header.epoch)
}

/// The cache that is on its way, as far as it is durable.
pub(super) fn partial(shelf: &mut dyn Storage) -> Option<Record> {
    Record::read(shelf, PARTIAL)
}

/// The epoch of the newest cache on a shelf, whole or on its way; `None` where there is none.
pub fn newest_epoch(shelf: &mut dyn Storage) -> Option<u64> {
    [latest(shelf), partial(shelf)].into_iter().flatten().map(|r| r.header.epoch).max()
}

/// Makes a cache the latest one, in place of the one before the last.
pub(super) fn publish(shelf: &mut dyn Storage, record: &Record) -> Result<(), Fault> {
    let held = SLOTS.map(|slot| Record::read(shelf, slot));
    let older = match &held {
        [Some(a), Some(b)] => usize::from(a.header.epoch > b.header.epoch),
        [None, _] => 0,
        [_, None] => 1,
    };
    shelf.sync()?;
    // proof: `older` is 0 or 1, and there are two slots.
    shelf.write(SLOTS[older], 0, &record.bytes())?;
    shelf.sync()?;
    if let Some(gone) = held[older].filter(|gone| gone.header.body() != record.header.body()) {
        discard(shelf, &gone.header)?;
    }
    Ok(())
}

/// Notes how much of a cache has come, durably.
pub(super) fn note(shelf: &mut dyn Storage, record: &Record) -> Result<(), Fault> {
    shelf.sync()?;
    shelf.write(PARTIAL, 0, &record.bytes())?;
    shelf.sync()
}

/// Forgets the tags of a cache.
pub(super) fn discard(shelf: &mut dyn Storage, header: &Header) -> Result<(), Fault> {
    shelf.remove(header.body())?;
    shelf.remove(header.body() + 1)
}

/// The holder's cache with the key of its function.
pub struct Cache {
    /// What it is of.
    pub header: Header,
    pub(super) key: Zeroizing<Scalar>,
}

/// What the holder's node brings to a cache.
pub struct Maker<'a> {
    /// Where caches lie, of this series alone.
    pub shelf: &'a mut dyn Storage,
    /// A key of this node for the series: an epoch's function follows from it.
    pub key: &'a Secret<[u8; 32]>,
    /// Whose lists are searched, by whom and in which form.
    pub series: Hash,
    /// The time.
    pub now: UnixMillis,
    /// Milliseconds that an epoch lasts.
    pub lasts: u64,
}

fn function(maker: &Maker<'_>, epoch: u64) -> Zeroizing<Scalar> {
    let info = [&maker.series.0[..], &epoch.to_be_bytes()];
    let wide: Secret<[u8; 64]> = derive(b"tacit-lookup/1/function", maker.key.expose_secret(), &info);
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose_secret()))
}

/// Distinct keys as one value, whatever rows have them.
fn list(keys: &KeySet, storage: &mut dyn Storage) -> Result<Hash, Fault> {
    let mut hash = Sha256::new();
    keys.each(storage, &mut |key| {
        hash.update(key);
        Ok(())
    })?;
    Ok(Hash(hash.finalize().into()))
}

/// The cache of a list: the one on the shelf where it is of the same keys and its epoch lasts, else one of a new epoch with
/// a key of its own. A changed list never meets an old key: two caches under one key would show which keys came and went.
///
/// # Errors
/// `refused.cohort` for more keys than a cache may have; those of the storages.
pub fn cache(maker: &mut Maker<'_>, keys: &KeySet, host: &mut Host<'_>) -> Result<Cache, Fault> {
    if keys.len() > CACHE_KEYS_MAX {
        return Err(Fault::new(Code::RefusedCohort, format!("{} distinct keys, at most {CACHE_KEYS_MAX}", keys.len())));
    }
    let list = list(keys, host.storage)?;
    let before = latest(maker.shelf);
    let lasts = |r: &Record| {
        r.list == list
            && r.header.series == maker.series
            && r.header.schema == keys.schema()
            && r.header.epoch <= maker.now.0.saturating_add(AHEAD_MS)
            && maker.now.0.saturating_sub(r.header.epoch) < maker.lasts
    };
    if let Some(record) = before.filter(lasts)
        && whole(maker.shelf, &record.header)
    {
        return Ok(Cache { header: record.header, key: function(maker, record.header.epoch) });
    }
    let epoch = before.map_or(0, |r| r.header.epoch.saturating_add(1)).max(maker.now.0);
    let key = function(maker, epoch);
    let mut header = Header {
        series: maker.series,
        schema: keys.schema(),
        epoch,
        keys: 0,
        width: tag_bytes(keys.len(), QUERIES_OF_AN_EPOCH) as u8,
        public: RistrettoPoint::mul_base(&key).compress().to_bytes(),
        digest: Hash([0; 32]),
    };
    let sorted = tagged(&header, &key, keys, host)?;
    let mut reader = Reader::new(&sorted);
    let mut writer = Writer::new(header.body(), sorted.width);
    let (mut digest, mut last) = (Sha256::new(), Vec::new());
    while let Some(tag) = reader.next(host.storage)? {
        // Two keys of one tag are one in a list without repeats; that happens once in 2^40 lists.
        if tag != last.as_slice() {
            digest.update(tag);
            writer.push(maker.shelf, &[tag])?;
            last.clear();
            last.extend_from_slice(tag);
        }
    }
    sorted.remove(host.storage)?;
    header.keys = writer.finish(maker.shelf)?.count;
    header.digest = Hash(digest.finalize().into());
    publish(maker.shelf, &Record { header, list, have: header.keys })?;
    Ok(Cache { header, key })
}

/// Whether the tags of a header are there to their end.
fn whole(shelf: &mut dyn Storage, header: &Header) -> bool {
    let tags = header.tags();
    tags.count.checked_sub(1).is_none_or(|last| tags.get(shelf, last, 1).is_ok())
}

/// The tags of all keys in order.
fn tagged(header: &Header, key: &Scalar, keys: &KeySet, host: &mut Host<'_>) -> Result<Log, Fault> {
    const AT_ONCE: u64 = 1 << 14;
    let (expander, tagger) = (Expander::new(DST), header.tagger());
    // The client's elements come doubled, and so do these.
    let multiplier = Multiplier::new(key);
    let mut writer = Writer::new(host.file(0), header.width.into());
    let mut first = 0;
    while first < keys.len() {
        let count = (keys.len() - first).min(AT_ONCE) as usize;
        let some = keys.read(host.storage, Part::All, first, count)?;
        let elements = items::hash_multiply(host.workers, &expander, &multiplier, &some);
        let hashes = items::hashes(host.workers, some.len(), |i| tagger.keyed(&some[i].hash, &elements[i])); // proof: as many elements as keys.
        for hash in &hashes {
            writer.push(host.storage, &[hash.get(..header.width.into()).unwrap_or(hash)])?;
        }
        first += count as u64;
    }
    let all = writer.finish(host.storage)?;
    let into = host.file(1);
    let sorted = sort(host.storage, &all, into, files::SCRATCH, host.memory)?;
    all.remove(host.storage)?;
    Ok(sorted)
}

/// Takes tags in at who asks: in strict order, with an index beside them.
pub(super) struct Intake {
    pub record: Record,
    digest: Sha256,
    last: Option<Vec<u8>>,
}

impl Intake {
    /// After the tags that are there already, read again for their digest.
    pub fn new(shelf: &mut dyn Storage, record: Record) -> Result<Self, Fault> {
        let mut digest = Sha256::new();
        let mut reader = Reader::new(&Log { count: record.have, ..record.header.tags() });
        let mut last = None;
        while let Some(tag) = reader.next(shelf)? {
            digest.update(tag);
            last = Some(tag.to_vec());
        }
        Ok(Self { record, digest, last })
    }

    /// Takes whole tags; where they do not ascend, the place of the first that does not.
    pub fn take(&mut self, shelf: &mut dyn Storage, tags: &[u8]) -> Result<bool, Fault> {
        let width = usize::from(self.record.header.width);
        let mut entries = Vec::new();
        let mut first_entry = None;
        for (place, tag) in (self.record.have..).zip(tags.chunks_exact(width)) {
            if self.last.as_deref().is_some_and(|last| last >= tag) {
                return Ok(false);
            }
            self.last = Some(tag.to_vec());
            if place.is_multiple_of(BLOCK) {
                first_entry.get_or_insert(place / BLOCK);
                entries.extend_from_slice(&entry(tag));
            }
        }
        self.digest.update(tags);
        let header = &self.record.header;
        let mut log = Log { count: self.record.have, ..header.tags() };
        log.put(shelf, self.record.have, tags)?;
        if let Some(first) = first_entry {
            let mut index = Log { count: first, ..header.index() };
            index.put(shelf, first, &entries)?;
        }
        self.record.have += (tags.len() / width) as u64;
        Ok(true)
    }

    /// Ends the intake: whether everything is there and is what the header says.
    pub fn ends_whole(self) -> bool {
        self.record.have == self.record.header.keys && self.digest.finalize()[..] == self.record.header.digest.0
    }
}

/// The beginning of a tag, which is never shorter: tags have 8 bytes and more.
fn entry(tag: &[u8]) -> [u8; ENTRY_BYTES] {
    tag.first_chunk::<ENTRY_BYTES>().copied().unwrap_or_default()
}

/// Finds tags in a cache that has come.
pub(super) struct Finder {
    tags: Log,
    index: Vec<[u8; ENTRY_BYTES]>,
}

impl Finder {
    /// Reads the index.
    pub fn new(shelf: &mut dyn Storage, header: &Header) -> Result<Self, Fault> {
        let index = header.index();
        let bytes = index.get(shelf, 0, index.count as usize)?;
        Ok(Self { tags: header.tags(), index: bytes.as_chunks::<ENTRY_BYTES>().0.to_vec() })
    }

    /// Whether a tag is there.
    pub fn has(&self, shelf: &mut dyn Storage, tag: &[u8]) -> Result<bool, Fault> {
        let wanted = entry(tag);
        // Blocks of which the first tag begins like the wanted one may all have it, and so may the one before them.
        let from = self.index.partition_point(|e| *e < wanted).saturating_sub(1);
        let to = self.index.partition_point(|e| *e <= wanted);
        for block in from..to {
            let first = block as u64 * BLOCK;
            let count = (self.tags.count - first).min(BLOCK) as usize;
            let bytes = self.tags.get(shelf, first, count)?;
            let records: Vec<&[u8]> = bytes.chunks_exact(self.tags.width).collect();
            if records.binary_search(&tag).is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
