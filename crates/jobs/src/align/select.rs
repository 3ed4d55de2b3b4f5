//! The rows of a dataset version whose keys an alignment found: how they are read from the version that they are part of,
//! each time anew, so that the owner's consent rule of today decides. The keys stay where the node keeps them.

use tacit_psi::Schema;
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Values};

use super::desk::KEPT_BYTES;
use super::ordered::{BLOCK_RECORDS, Key, Ordered};
use super::params::{self, KeyPart};

/// Records that an alignment kept, as its node reads them: keys of [`KEPT_BYTES`], or ids with a key each.
pub trait Records: Send + Sync {
    /// Bytes of all of them.
    fn bytes(&self) -> u64;

    /// Reads bytes from one of them on.
    ///
    /// # Errors
    /// What keeps them from being read.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Fault>;
}

/// Records in memory.
impl Records for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Fault> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let bytes = rest.and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(bytes.ok_or_else(|| Fault::new(Code::StoreCorrupt, "records end too early"))?);
        Ok(())
    }
}

/// The matched keys of one owner.
pub struct Selection {
    schema: Schema,
    columns: Vec<String>,
    keys: Keys,
}

enum Keys {
    /// In order, where the node keeps them.
    Kept(Box<dyn Records>, Ordered),
    /// All of them, in order: those of before there was an order.
    Held(Vec<Key>),
}

impl Keys {
    fn new(records: Box<dyn Records>) -> Result<Self, Fault> {
        let count = records.bytes() / KEPT_BYTES as u64;
        match Ordered::new(count, KEPT_BYTES, &mut |at, out| records.read(at, out))? {
            Some(ordered) => Ok(Self::Kept(records, ordered)),
            None => Self::all(records.as_ref()).map(Self::Held),
        }
    }

    fn all(records: &dyn Records) -> Result<Vec<Key>, Fault> {
        let (mut all, mut at, end) = (Vec::new(), 0, records.bytes());
        while at < end {
            let mut block = vec![[0; KEPT_BYTES]; BLOCK_RECORDS.min(((end - at) / KEPT_BYTES as u64) as usize)];
            records.read(at, block.as_flattened_mut())?;
            at += (KEPT_BYTES * block.len().max(1)) as u64;
            all.append(&mut block);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Whether each of some keys, which ascend, is one of these.
    fn have(&self, keys: &[Key]) -> Result<Vec<bool>, Fault> {
        match self {
            Keys::Held(all) => Ok(keys.iter().map(|key| all.binary_search(key).is_ok()).collect()),
            Keys::Kept(records, ordered) => {
                let mut have = vec![false; keys.len()];
                let mut found = |place: usize, _: &[u8]| have[place] = true; // proof: a place among the keys.
                ordered.find(keys, &mut |at, out| records.read(at, out), &mut found)?;
                Ok(have)
            }
        }
    }
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
        let mut of_rows: Vec<(Key, usize)> = of_rows.collect();
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
        let selection = Selection::new(&key, &["who".into()], Box::new(records.clone())).unwrap();
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
        let other = Selection::new(&key, &["who".into(), "x".into()], Box::new(records));
        assert_eq!(other.err().map(|f| f.code), Some(Code::StoreCorrupt));
    }

    /// Records in memory, and how many were read.
    struct Listed(Vec<u8>, Arc<AtomicUsize>);

    impl Listed {
        fn of(all: &[Key]) -> Self {
            Self(all.as_flattened().to_vec(), Arc::default())
        }
    }

    impl Records for Listed {
        fn bytes(&self) -> u64 {
            self.0.bytes()
        }

        fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Fault> {
            self.1.fetch_add(out.len() / KEPT_BYTES, Ordering::Relaxed);
            self.0.read(at, out)
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
                let keys = Keys::new(Box::new(Listed::of(all))).unwrap();
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
        let keys = Keys::new(Box::new(Listed(Listed::of(&all).0, read.clone()))).unwrap();
        let Keys::Kept(_, ordered) = &keys else { panic!("they are in order") };
        assert_eq!(ordered.held(), all.len().div_ceil(BLOCK_RECORDS));
        assert_eq!(read.swap(0, Ordering::Relaxed), all.len(), "looked through once");
        assert_eq!(keys.have(&all[..1000]).unwrap(), vec![true; 1000]);
        assert_eq!(read.load(Ordering::Relaxed), 4 * BLOCK_RECORDS);
    }
}
