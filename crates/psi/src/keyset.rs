//! A party's keys: distinct, in order of their hashes, each with the rows that have it.

use tacit_crypto::Transcript;
use tacit_types::limits::ROWS_MAX;
use tacit_types::{Code, Columns, Fault, Hash};

use crate::hash::KeyHash;
use crate::schema::{NoKey, Schema};
use crate::sort::sort;
use crate::storage::{Log, Reader, Storage, Writer};

/// Files of a key set and of everything that is computed from it; the host's storage has no others of these numbers.
pub(crate) mod files {
    /// Keys of either half.
    pub(crate) const KEYS: [u32; 2] = [0, 1];
    /// Rows in order of their keys, of either half.
    pub(crate) const ROWS: [u32; 2] = [2, 3];
    /// Keys with rows, unsorted and sorted.
    pub(crate) const INPUT: u32 = 4;
    pub(crate) const SORTED: u32 = 5;
    /// Keys with their groups.
    pub(crate) const GROUPED: u32 = 6;
    /// The first file of a session; each session of several has so many.
    pub(crate) const SESSION: u32 = 16;
    pub(crate) const SESSION_FILES: u32 = 16;
    /// Runs of sorting: past the files of every session.
    pub(crate) const SCRATCH: u32 = 1 << 21;
    const _: () = assert!(SESSION + (u16::MAX as u32 + 1) * SESSION_FILES <= SCRATCH);
}

/// Bytes of a key's record: hash, number of its first row, how many rows.
const KEY_WIDTH: usize = 32 + REF_BYTES;
/// Bytes of a reference to a key's rows: half, number of the first, how many.
pub(crate) const REF_BYTES: usize = 1 + 8 + 4;
const ROW_WIDTH: usize = 8;

/// A reference to the rows of a key, as it stands in records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RowsRef {
    pub half: u8,
    pub first: u64,
    pub count: u32,
}

impl RowsRef {
    pub(crate) fn bytes(self) -> [u8; REF_BYTES] {
        let mut out = [0; REF_BYTES];
        out[0] = self.half;
        out[1..9].copy_from_slice(&self.first.to_be_bytes());
        out[9..].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// From the end of a record.
    pub(crate) fn of(record: &[u8]) -> Option<Self> {
        let (half, rest) = record.last_chunk::<REF_BYTES>()?.split_first()?;
        let (first, count) = rest.split_first_chunk::<8>()?;
        let count = count.first_chunk::<4>()?;
        Some(Self { half: *half, first: u64::from_be_bytes(*first), count: u32::from_be_bytes(*count) })
    }
}

/// One distinct key.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub hash: KeyHash,
    pub rows: RowsRef,
}

/// Rows that have no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// A value was absent or empty.
    pub empty: u64,
    /// A value had no form that the steps accept.
    pub unusable: u64,
}

/// Takes rows in.
pub struct KeySetBuilder {
    schema: Schema,
    writer: Writer,
    memory: usize,
    rows: u64,
    left_out: LeftOut,
}

impl KeySetBuilder {
    /// For rows in the form of a schema, holding about `memory` bytes while they are sorted.
    pub fn new(schema: Schema, memory: usize) -> Self {
        Self { schema, writer: Writer::new(files::INPUT, 40), memory, rows: 0, left_out: LeftOut::default() }
    }

    /// Takes the next rows in: key columns in the schema's order. Rows are numbered from 0 in the order in which they come.
    ///
    /// # Errors
    /// Those of [`Schema::keys`] and of the storage; `data.too_large` beyond [`ROWS_MAX`] rows.
    pub fn push(&mut self, storage: &mut dyn Storage, batch: &Columns) -> Result<(), Fault> {
        for key in self.schema.keys(batch)? {
            self.push_key(storage, key)?;
        }
        Ok(())
    }

    /// Takes the next row in by its key.
    ///
    /// # Errors
    /// Those of the storage; `data.too_large` beyond [`ROWS_MAX`] rows.
    pub fn push_key(&mut self, storage: &mut dyn Storage, key: Result<KeyHash, NoKey>) -> Result<(), Fault> {
        if self.rows == ROWS_MAX {
            return Err(Fault::new(Code::DataTooLarge, format!("more than {ROWS_MAX} rows")));
        }
        match key {
            Ok(key) => self.writer.push(storage, &[&key, &self.rows.to_be_bytes()])?,
            Err(NoKey::Empty) => self.left_out.empty += 1,
            Err(NoKey::Unusable) => self.left_out.unusable += 1,
        }
        self.rows += 1;
        Ok(())
    }

    /// Sorts the keys and joins the rows of equal ones.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn finish(self, storage: &mut dyn Storage) -> Result<KeySet, Fault> {
        let unsorted = self.writer.finish(storage)?;
        let sorted = sort(storage, &unsorted, files::SORTED, files::SCRATCH, self.memory)?;
        unsorted.remove(storage)?;
        let mut halves = Halves::new();
        let mut digest = Transcript::new("tacit-psi/1/input").fixed(&self.schema.digest().0).u64(self.rows);
        let mut reader = Reader::new(&sorted);
        let mut held: Option<KeyHash> = None;
        while let Some(record) = reader.next(storage)? {
            let Some((key, row)) = record.split_first_chunk::<32>() else { continue };
            let (key, row) = (*key, row.to_vec());
            if held != Some(key)
                && let Some(done) = held.replace(key)
            {
                digest = digest.fixed(&done).u64(halves.close(storage, &done)?.into());
            }
            halves.row(storage, &key, &row)?;
        }
        if let Some(done) = held {
            digest = digest.fixed(&done).u64(halves.close(storage, &done)?.into());
        }
        sorted.remove(storage)?;
        let (keys, rows) = halves.finish(storage)?;
        let set = KeySet { schema: self.schema.digest(), digest: digest.finish(), keys, rows, left_out: self.left_out };
        Ok(set)
    }
}

/// The key's half of the key space, a public bit of its hash that says nothing of where the hash stands in order.
fn half(key: &KeyHash) -> usize {
    usize::from(key[31] & 1)
}

struct Halves {
    keys: [Writer; 2],
    rows: [Writer; 2],
    written: [u64; 2],
    open: u32,
}

impl Halves {
    fn new() -> Self {
        Self {
            keys: files::KEYS.map(|file| Writer::new(file, KEY_WIDTH)),
            rows: files::ROWS.map(|file| Writer::new(file, ROW_WIDTH)),
            written: [0; 2],
            open: 0,
        }
    }

    fn row(&mut self, storage: &mut dyn Storage, key: &KeyHash, row: &[u8]) -> Result<(), Fault> {
        self.open += 1; // proof: there are at most ROWS_MAX rows.
        self.rows[half(key)].push(storage, &[row])
    }

    /// The rows of a key are all there. Gives how many.
    fn close(&mut self, storage: &mut dyn Storage, key: &KeyHash) -> Result<u32, Fault> {
        let half = half(key);
        let count = std::mem::take(&mut self.open);
        let rows = RowsRef { half: half as u8, first: self.written[half], count };
        self.written[half] += u64::from(count);
        self.keys[half].push(storage, &[key, &rows.bytes()])?;
        Ok(count)
    }

    fn finish(self, storage: &mut dyn Storage) -> Result<([Log; 2], [Log; 2]), Fault> {
        let mut done = |[a, b]: [Writer; 2]| Ok::<_, Fault>([a.finish(storage)?, b.finish(storage)?]);
        Ok((done(self.keys)?, done(self.rows)?))
    }
}

/// Distinct keys in order of their hashes, in two halves of the key space, with their rows.
#[derive(Clone)]
pub struct KeySet {
    schema: Hash,
    digest: Hash,
    keys: [Log; 2],
    rows: [Log; 2],
    left_out: LeftOut,
}

impl KeySet {
    /// Distinct keys.
    pub fn len(&self) -> u64 {
        self.keys.iter().map(|k| k.count).sum()
    }

    /// Whether no row has a key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that have no key and never match.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// What tells this input from any other: schema, distinct keys, how many rows have each, and how many rows there are. In
    /// which order they came is no part of it, for a database gives them as it likes; what a run keeps of keys refers to rows
    /// by their place among those of equal keys, which is the same in any order.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Every distinct key's hash, in an order that all lists of a schema have: by the last bit of its last byte, then by the
    /// hash itself.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn each(
        &self,
        storage: &mut dyn Storage,
        take: &mut dyn FnMut(&KeyHash) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for log in &self.keys {
            let mut reader = Reader::new(log);
            while let Some(record) = reader.next(storage)? {
                record.first_chunk::<32>().map_or(Ok(()), &mut *take)?;
            }
        }
        Ok(())
    }

    pub(crate) fn schema(&self) -> Hash {
        self.schema
    }

    pub(crate) fn halves(&self) -> [u64; 2] {
        [self.keys[0].count, self.keys[1].count]
    }

    /// Keys `first` to `first + count` of some halves, one after the other.
    pub(crate) fn read(
        &self,
        storage: &mut dyn Storage,
        part: Part,
        first: u64,
        count: usize,
    ) -> Result<Vec<Key>, Fault> {
        let mut out = Vec::with_capacity(count);
        let (mut skip, mut left) = (first, count as u64);
        for log in self.keys.iter().enumerate().filter(|(h, _)| part.has(*h)).map(|(_, log)| log) {
            let here = left.min(log.count.saturating_sub(skip));
            if here > 0 {
                let bytes = log.get(storage, skip, here as usize)?;
                out.extend(
                    bytes.chunks_exact(KEY_WIDTH).filter_map(|record| {
                        Some(Key { hash: *record.first_chunk::<32>()?, rows: RowsRef::of(record)? })
                    }),
                );
            }
            skip = skip.saturating_sub(log.count);
            left -= here;
        }
        Ok(out)
    }

    /// The hashes of the keys to which the references in a list belong, in the order of [`KeySet::each`]. The list is in order.
    pub(crate) fn of_rows(
        &self,
        storage: &mut dyn Storage,
        rows: &Log,
        take: &mut dyn FnMut(&KeyHash),
    ) -> Result<(), Fault> {
        let mut wanted = Reader::new(rows);
        let mut next = wanted.next(storage)?.map(<[u8]>::to_vec);
        for log in &self.keys {
            let mut reader = Reader::new(log);
            while let Some(record) = reader.next(storage)? {
                let Some(at) = &next else { return Ok(()) };
                if let Some((key, own)) = record.split_first_chunk::<32>()
                    && own == at
                {
                    take(key);
                    next = wanted.next(storage)?.map(<[u8]>::to_vec);
                }
            }
        }
        Ok(())
    }

    /// The rows of one key, in order.
    pub(crate) fn rows(&self, storage: &mut dyn Storage, at: RowsRef) -> Result<Vec<u64>, Fault> {
        let Some(log) = self.rows.get(usize::from(at.half)) else { return Ok(Vec::new()) };
        let bytes = log.get(storage, at.first, at.count as usize)?;
        Ok(bytes.as_chunks::<ROW_WIDTH>().0.iter().map(|b| u64::from_be_bytes(*b)).collect())
    }
}

/// Which keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// All.
    All,
    /// One half of the key space.
    Half(usize),
}

impl Part {
    pub(crate) fn has(self, half: usize) -> bool {
        match self {
            Part::All => true,
            Part::Half(own) => own == half,
        }
    }

    /// How many of a list in two halves.
    pub(crate) fn count(self, halves: [u64; 2]) -> u64 {
        halves.iter().enumerate().filter(|(h, _)| self.has(*h)).map(|(_, n)| n).sum()
    }
}

#[cfg(test)]
mod tests {
    use tacit_types::{Column, Values};

    use super::*;
    use crate::schema::KeyColumn;
    use crate::storage::InMemory;

    fn build(values: &[Option<&str>], memory: usize) -> (KeySet, InMemory) {
        let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![] }]).unwrap();
        let mut storage = InMemory::default();
        let mut builder = KeySetBuilder::new(schema, memory);
        for chunk in values.chunks(1000) {
            let valid = chunk.iter().map(Option::is_some).collect();
            let texts = chunk.iter().map(|v| v.unwrap_or_default().to_owned()).collect();
            let column = Column { name: "id".into(), values: Values::Text(texts), valid: Some(valid) };
            builder.push(&mut storage, &Columns { rows: chunk.len(), columns: vec![column] }).unwrap();
        }
        (builder.finish(&mut storage).unwrap(), storage)
    }

    #[test]
    fn keys_are_distinct_sorted_and_have_their_rows() {
        let texts: Vec<String> = (0..30_000).map(|i| (i % 7001).to_string()).collect();
        let mut values: Vec<Option<&str>> = texts.iter().map(|t| Some(t.as_str())).collect();
        values.extend([None, Some("")]);
        let (set, mut storage) = build(&values, 1 << 18);
        assert_eq!((set.len(), set.left_out()), (7001, LeftOut { empty: 2, unusable: 0 }));
        let mut seen = 0;
        for (h, count) in set.halves().into_iter().enumerate() {
            assert!(count > 3000, "the halves are even");
            let keys = set.read(&mut storage, Part::Half(h), 0, count as usize).unwrap();
            assert!(keys.windows(2).all(|w| w[0].hash < w[1].hash));
            for key in keys {
                let rows = set.rows(&mut storage, key.rows).unwrap();
                assert!(rows.windows(2).all(|w| w[1] == w[0] + 7001), "{rows:?}");
                assert!(rows.len() == 4 || rows.len() == 5);
                seen += rows.len();
            }
        }
        assert_eq!(seen, 30_000);
        let all = set.read(&mut storage, Part::All, 0, 7001).unwrap();
        let mut each = Vec::new();
        set.each(&mut storage, &mut |key| {
            each.push(*key);
            Ok(())
        })
        .unwrap();
        assert!(each.iter().eq(all.iter().map(|k| &k.hash)));
        let across = set.read(&mut storage, Part::All, set.halves()[0] - 2, 4).unwrap();
        assert_eq!(across[3].hash, all[set.halves()[0] as usize + 1].hash);
    }

    #[test]
    fn the_digest_tells_inputs_apart() {
        let of = |values: &[Option<&str>]| build(values, 0).0.digest();
        let one = of(&[Some("a"), Some("b")]);
        assert_eq!(one, of(&[Some("a"), Some("b")]));
        assert_eq!(one, of(&[Some("b"), Some("a")]), "a database gives rows in any order");
        assert_ne!(one, of(&[Some("a"), Some("c")]));
        assert_ne!(one, of(&[Some("a"), Some("b"), Some("b")]));
        assert_ne!(one, of(&[Some("a"), Some("b"), None]));
        assert_ne!(of(&[Some("a"), Some("a"), Some("b")]), of(&[Some("a"), Some("b"), Some("b")]));
    }

    #[test]
    fn in_any_order_keys_refer_to_their_rows_alike() {
        let texts: Vec<String> = (0..500).map(|i| (i % 170).to_string()).collect();
        let forth: Vec<Option<&str>> = texts.iter().map(|t| Some(t.as_str())).collect();
        let back: Vec<Option<&str>> = forth.iter().rev().copied().collect();
        let ((a, mut in_a), (b, mut in_b)) = (build(&forth, 0), build(&back, 0));
        let all = |set: &KeySet, storage: &mut InMemory| set.read(storage, Part::All, 0, 170).unwrap();
        for (x, y) in all(&a, &mut in_a).iter().zip(all(&b, &mut in_b)) {
            assert!(x.hash == y.hash && x.rows == y.rows);
            let mut rows = b.rows(&mut in_b, y.rows).unwrap();
            rows.iter_mut().for_each(|row| *row = 499 - *row);
            rows.reverse();
            assert_eq!(a.rows(&mut in_a, x.rows).unwrap(), rows);
        }
    }
}
