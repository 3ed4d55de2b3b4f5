//! The rows of a dataset version whose keys an alignment found: how they are read from the version that they are part of,
//! each time anew, so that the owner's consent rule of today decides. The keys stay where the node keeps them: they are in order,
//! and of each block of them the first is held.

use tacit_psi::Schema;
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Values};

use super::desk::KEPT_BYTES;
use super::params::{self, KeyPart};

/// Keys of a block: of each the first is held while the others are read when they are needed.
const BLOCK_KEYS: usize = 256;

/// What an alignment kept, as its node reads it: records of [`KEPT_BYTES`].
pub trait Records: Send + Sync {
    /// How many there are.
    fn count(&self) -> u64;

    /// Reads whole records from number `first` on.
    ///
    /// # Errors
    /// What keeps them from being read.
    fn read(&self, first: u64, out: &mut [[u8; KEPT_BYTES]]) -> Result<(), Fault>;
}

/// The matched keys of one owner.
pub struct Selection {
    schema: Schema,
    columns: Vec<String>,
    keys: Keys,
}

enum Keys {
    /// In order, where the node keeps them, and the first of each block.
    Kept(Box<dyn Records>, Vec<[u8; KEPT_BYTES]>),
    /// All of them, in order: those of before there was an order.
    Held(Vec<[u8; KEPT_BYTES]>),
}

impl Keys {
    fn new(records: Box<dyn Records>) -> Result<Self, Fault> {
        let mut firsts = Vec::new();
        let mut last: Option<[u8; KEPT_BYTES]> = None;
        for number in 0..records.count().div_ceil(BLOCK_KEYS as u64) {
            let block = block(records.as_ref(), number)?;
            firsts.extend(block.first());
            let ascends = last.iter().chain(&block).is_sorted_by(|a, b| a < b);
            if !ascends {
                return Self::all(records.as_ref()).map(Self::Held);
            }
            last = block.last().copied();
        }
        Ok(Self::Kept(records, firsts))
    }

    fn all(records: &dyn Records) -> Result<Vec<[u8; KEPT_BYTES]>, Fault> {
        let mut all = Vec::new();
        for number in 0..records.count().div_ceil(BLOCK_KEYS as u64) {
            all.extend(block(records, number)?);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Whether each of some keys, which ascend, is one of these.
    fn have(&self, keys: &[[u8; KEPT_BYTES]]) -> Result<Vec<bool>, Fault> {
        let (records, firsts) = match self {
            Keys::Held(all) => return Ok(keys.iter().map(|key| all.binary_search(key).is_ok()).collect()),
            Keys::Kept(records, firsts) => (records, firsts),
        };
        let mut read: Option<(u64, Vec<[u8; KEPT_BYTES]>)> = None;
        let mut have = Vec::with_capacity(keys.len());
        for key in keys {
            // The last block that begins with the key or before it.
            let Some(number) = firsts.partition_point(|first| first <= key).checked_sub(1) else {
                have.push(false);
                continue;
            };
            let number = number as u64;
            if read.as_ref().is_none_or(|(held, _)| *held != number) {
                read = Some((number, block(records.as_ref(), number)?));
            }
            have.push(read.as_ref().is_some_and(|(_, keys)| keys.binary_search(key).is_ok()));
        }
        Ok(have)
    }
}

/// A block of the records.
fn block(records: &dyn Records, number: u64) -> Result<Vec<[u8; KEPT_BYTES]>, Fault> {
    let first = number * BLOCK_KEYS as u64;
    let count = records.count().saturating_sub(first).min(BLOCK_KEYS as u64);
    let mut out = vec![[0; KEPT_BYTES]; count as usize];
    records.read(first, &mut out)?;
    Ok(out)
}

impl Selection {
    /// From what the alignment kept: records as [`Keep`](super::Keep) took them, of matched keys.
    ///
    /// # Errors
    /// `refused.parameters` for a key that is none; `store.corrupt` for another number of columns; those of the records.
    pub fn new(key: &[KeyPart], columns: &[String], records: Box<dyn Records>) -> Result<Self, Fault> {
        let schema = params::schema(key)?;
        if columns.len() != key.len() {
            return Err(Fault::new(Code::StoreCorrupt, "the kept keys of an alignment"));
        }
        Ok(Self { schema, columns: columns.to_vec(), keys: Keys::new(records)? })
    }

    /// Has a query read the key's columns as well. Gives those that it did not read before.
    pub fn widen(&self, query: &mut LocalQuery) -> Vec<String> {
        let more: Vec<String> = self.columns.iter().filter(|c| !query.columns.contains(c)).cloned().collect();
        query.columns.extend(more.iter().cloned());
        more
    }

    /// The rows of a batch whose keys matched, without the columns that [`Selection::widen`] added.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`: of the columns, never of a value; those of the records.
    pub fn take(&self, batch: &Columns, added: &[String]) -> Result<Columns, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let of_key = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let keys = self.schema.keys(&Columns { rows: batch.rows, columns: of_key })?;
        let kept = |key: &[u8; 32]| key.first_chunk::<KEPT_BYTES>().copied();
        let of_rows = keys.iter().enumerate().filter_map(|(row, key)| Some((kept(key.as_ref().ok()?)?, row)));
        // In the order of keys, so that no block is read twice for a batch.
        let mut of_rows: Vec<([u8; KEPT_BYTES], usize)> = of_rows.collect();
        of_rows.sort_unstable();
        let (keys, rows): (Vec<_>, Vec<usize>) = of_rows.into_iter().unzip();
        let mut wanted = vec![false; batch.rows];
        for (row, has) in rows.into_iter().zip(self.keys.have(&keys)?) {
            wanted[row] = has; // proof: a row of the batch.
        }
        let columns = batch.columns.iter().filter(|c| !added.contains(&c.name)).map(|c| narrow(c, &wanted)).collect();
        Ok(Columns { rows: wanted.iter().filter(|w| **w).count(), columns })
    }
}

/// The wanted values of a column.
fn narrow(column: &Column, wanted: &[bool]) -> Column {
    fn some<T: Clone>(all: &[T], wanted: &[bool]) -> Vec<T> {
        all.iter().zip(wanted).filter(|(_, w)| **w).map(|(value, _)| value.clone()).collect()
    }
    let values = match &column.values {
        Values::Int(all) => Values::Int(some(all, wanted)),
        Values::Float(all) => Values::Float(some(all, wanted)),
        Values::Text(all) => Values::Text(some(all, wanted)),
    };
    Column { name: column.name.clone(), values, valid: column.valid.as_ref().map(|v| some(v, wanted)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn rows_of_matched_keys_are_left_in_order_and_without_what_was_read_for_the_key() {
        let key = [KeyPart { name: "id".into(), steps: vec!["nfkc/1".into(), "trim/1".into(), "fold/1".into()] }];
        let schema = params::schema(&key).unwrap();
        let records: Vec<u8> =
            ["ann", "carl"].iter().flat_map(|id| schema.key([Some(*id)]).unwrap()[..KEPT_BYTES].to_vec()).collect();
        let selection = Selection::new(&key, &["who".into()], Listed::of(&records)).unwrap();
        let mut query = LocalQuery { view: "v".into(), columns: vec!["x".into()], filter: None };
        let added = selection.widen(&mut query);
        assert_eq!((query.columns, added.clone()), (vec!["x".to_owned(), "who".into()], vec!["who".to_owned()]));
        let texts = ["Carl ", "bob", "ＡＮＮ", "ann", "ann"].map(String::from).to_vec();
        let who = Column {
            name: "who".into(),
            values: Values::Text(texts),
            valid: Some(vec![true, true, true, false, true]),
        };
        let x = Column {
            name: "x".into(),
            values: Values::Int(vec![1, 2, 3, 4, 5]),
            valid: Some(vec![false, true, true, true, true]),
        };
        let batch = Columns { rows: 5, columns: vec![x, who] };
        let left = selection.take(&batch, &added).unwrap();
        assert_eq!(left.rows, 3);
        let [x] = &left.columns[..] else { panic!("{} columns", left.columns.len()) };
        assert!(x.values == Values::Int(vec![1, 3, 5]) && x.valid == Some(vec![false, true, true]));
        assert_eq!(selection.take(&batch, &[]).unwrap().columns.len(), 2, "a column that was asked for stays");
        let other = Selection::new(&key, &["who".into(), "x".into()], Listed::of(&records));
        assert_eq!(other.err().map(|f| f.code), Some(Code::StoreCorrupt));
    }

    /// Records in memory, and how many were read.
    struct Listed(Vec<[u8; KEPT_BYTES]>, Arc<AtomicUsize>);

    impl Listed {
        fn of(bytes: &[u8]) -> Box<dyn Records> {
            Box::new(Self(bytes.as_chunks().0.to_vec(), Arc::default()))
        }
    }

    impl Records for Listed {
        fn count(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&self, first: u64, out: &mut [[u8; KEPT_BYTES]]) -> Result<(), Fault> {
            self.1.fetch_add(out.len(), Ordering::Relaxed);
            out.copy_from_slice(&self.0[first as usize..first as usize + out.len()]);
            Ok(())
        }
    }

    #[test]
    fn keys_are_found_where_they_are_kept_whatever_their_number_and_order() {
        let number = |i: u64| u128::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        for count in [0, 1, 2, 255, 256, 257, 512, 3000u64] {
            // Every other number is a key.
            let mut all: Vec<[u8; KEPT_BYTES]> = (0..count).map(|i| number(2 * i)).collect();
            let mut asked: Vec<[u8; KEPT_BYTES]> = (0..2 * count + 2).map(number).collect();
            asked.extend([[0; KEPT_BYTES], [255; KEPT_BYTES], number(0)]);
            asked.sort_unstable();
            let found = |all: &Vec<[u8; KEPT_BYTES]>, sorted: bool| {
                let keys = Keys::new(Box::new(Listed(all.clone(), Arc::default()))).unwrap();
                assert_eq!(matches!(keys, Keys::Kept(..)), sorted, "{count}");
                keys.have(&asked).unwrap()
            };
            let plain: Vec<bool> = asked.iter().map(|key| all.contains(key)).collect();
            // As nodes of before have kept them.
            assert_eq!(found(&all, all.is_sorted()), plain, "{count}, in another order");
            all.sort_unstable();
            assert_eq!(found(&all, true), plain, "{count}, in order");
        }
    }

    #[test]
    fn of_each_block_one_key_is_held_and_none_is_read_twice_for_a_batch() {
        let all: Vec<[u8; KEPT_BYTES]> = (0..100_000u128).map(|i| (i << 64).to_be_bytes()).collect();
        let read = Arc::<AtomicUsize>::default();
        let keys = Keys::new(Box::new(Listed(all.clone(), read.clone()))).unwrap();
        let Keys::Kept(_, firsts) = &keys else { panic!("they are in order") };
        assert_eq!(firsts.len(), all.len().div_ceil(BLOCK_KEYS));
        assert_eq!(read.swap(0, Ordering::Relaxed), all.len(), "looked through once");
        assert_eq!(keys.have(&all[..1000]).unwrap(), vec![true; 1000]);
        assert_eq!(read.load(Ordering::Relaxed), 4 * BLOCK_KEYS);
    }
}
