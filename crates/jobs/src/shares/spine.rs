//! The ids of an alignment as one owner has them: the place of each of its keys among all.

use tacit_crypto::Transcript;
use tacit_psi::Schema;
use tacit_psi::Storage;
use tacit_psi::sort::sort;
use tacit_psi::storage::{Log, Writer};
use tacit_types::{Code, Column, Columns, Fault, Hash, LocalQuery};

use crate::align::ordered::{Key, Ordered};
use crate::align::{KEPT_BYTES, KeyPart, Records, params};

/// Bytes of a record: an id, and what is kept of this owner's key; zeroes where it has none.
pub(crate) const RECORD_BYTES: usize = 2 * KEPT_BYTES;
/// Bytes of an own key with its place.
const OWN_BYTES: usize = KEPT_BYTES + 4;
/// Records that are read at a time.
const READ_RECORDS: usize = 1 << 12;
/// Files of own keys: as they come, and in order; and the first that sorting takes.
const OWN_FILES: [u32; 3] = [0, 1, 2];

/// Room for own keys.
pub struct Room {
    /// Bytes of them that are held. Where there may be more, all lie in the storage.
    pub memory: usize,
    /// Where they lie then.
    pub storage: Box<dyn Storage>,
}

/// All ids, and which of them are this owner's keys.
pub struct Spine {
    schema: Schema,
    columns: Vec<String>,
    own: Own,
    ids: u64,
    hash: Hash,
}

/// What is kept of each own key, ascending, and the place of its id.
enum Own {
    Held(Vec<(Key, u32)>),
    Stored(Box<dyn Storage>, Log, Ordered),
}

/// Own keys on their way into order.
enum Gather {
    Held(Vec<(Key, u32)>),
    Stored(Room, Writer),
}

fn corrupt() -> Fault {
    Fault::new(Code::StoreCorrupt, "the kept ids of an alignment")
}

impl Gather {
    fn put(&mut self, key: Key, place: u32) -> Result<(), Fault> {
        match self {
            Gather::Held(own) => {
                own.push((key, place));
                Ok(())
            }
            Gather::Stored(room, writer) => writer.push(room.storage.as_mut(), &[&key, &place.to_be_bytes()]),
        }
    }

    fn finish(self) -> Result<Own, Fault> {
        match self {
            Gather::Held(mut own) => {
                own.sort_unstable();
                let ascends = own.is_sorted_by(|(a, _), (b, _)| a < b);
                if ascends { Ok(Own::Held(own)) } else { Err(corrupt()) }
            }
            Gather::Stored(Room { memory, mut storage }, writer) => {
                let [_, into, scratch] = OWN_FILES;
                let all = writer.finish(storage.as_mut())?;
                let own = sort(storage.as_mut(), &all, into, scratch, memory)?;
                all.remove(storage.as_mut())?;
                let mut read = |at: u64, out: &mut [u8]| storage.read(own.file, at, out);
                let ordered = Ordered::new(own.count, OWN_BYTES, &mut read)?.ok_or_else(corrupt)?;
                Ok(Own::Stored(storage, own, ordered))
            }
        }
    }
}

impl Own {
    /// The place of each of some keys that is an own one, and which of them it is. They ascend.
    fn find(&mut self, keys: &[Key], found: &mut dyn FnMut(usize, u32)) -> Result<(), Fault> {
        match self {
            Own::Held(own) => {
                for (at, key) in keys.iter().enumerate() {
                    let place = own.binary_search_by(|(own, _)| own.cmp(key)).ok().and_then(|i| own.get(i));
                    place.into_iter().for_each(|(_, place)| found(at, *place));
                }
                Ok(())
            }
            Own::Stored(storage, log, ordered) => {
                let mut read = |at: u64, out: &mut [u8]| storage.read(log.file, at, out);
                let mut take = |at: usize, record: &[u8]| {
                    let place = record.get(KEPT_BYTES..).and_then(|place| place.try_into().ok());
                    place.into_iter().for_each(|place| found(at, u32::from_be_bytes(place)));
                };
                ordered.find(keys, &mut read, &mut take)
            }
        }
    }
}

impl Spine {
    /// From what the alignment kept: `records` as [`Keep`](crate::align::Keep) took them, of ids. They are read in pieces.
    ///
    /// # Errors
    /// `refused.parameters` for a key that is none; `store.corrupt` for bytes that are no whole records of ascending ids;
    /// those of the records and of the storage.
    pub fn new(key: &[KeyPart], columns: &[String], records: &dyn Records, room: Room) -> Result<Self, Fault> {
        let schema = params::schema(key)?;
        let bytes = records.bytes();
        if !bytes.is_multiple_of(RECORD_BYTES as u64) || columns.len() != key.len() {
            return Err(corrupt());
        }
        let ids = bytes / RECORD_BYTES as u64;
        let fits = ids.saturating_mul(OWN_BYTES as u64) <= room.memory as u64;
        let mut own = match fits {
            true => Gather::Held(Vec::new()),
            false => Gather::Stored(room, Writer::new(OWN_FILES[0], OWN_BYTES)),
        };
        let mut hash = Transcript::new("tacit-shares/1/ids");
        let (mut last, mut place): (Option<Key>, u64) = (None, 0);
        while place < ids {
            let count = (ids - place).min(READ_RECORDS as u64) as usize;
            let mut piece = vec![[[0; KEPT_BYTES]; 2]; count];
            records.read(place * RECORD_BYTES as u64, piece.as_flattened_mut().as_flattened_mut())?;
            for [id, kept] in piece {
                if last.replace(id).is_some_and(|last| last >= id) {
                    return Err(corrupt());
                }
                hash = hash.bytes(&id);
                if kept != [0; KEPT_BYTES] {
                    own.put(kept, u32::try_from(place).map_err(|_| corrupt())?)?;
                }
                place += 1;
            }
        }
        let (own, hash) = (own.finish()?, hash.finish());
        Ok(Self { schema, columns: columns.to_vec(), own, ids, hash })
    }

    /// Ids of all owners.
    pub fn ids(&self) -> u64 {
        self.ids
    }

    /// The ids by a hash: the same at every owner of one alignment.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Has a query read the key's columns as well.
    pub fn widen(&self, query: &mut LocalQuery) {
        let more: Vec<String> = self.columns.iter().filter(|c| !query.columns.contains(c)).cloned().collect();
        query.columns.extend(more);
    }

    /// The rows of a batch with their places.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`: of the columns, never of a value; those of the storage.
    pub fn place(&mut self, batch: Columns) -> Result<Placed, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let of_key = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let keys = self.schema.keys(&Columns { rows: batch.rows, columns: of_key })?;
        let kept = |key: &[u8; 32]| key.first_chunk::<KEPT_BYTES>().copied();
        let of_rows = keys.iter().enumerate().filter_map(|(row, key)| Some((kept(key.as_ref().ok()?)?, row)));
        let mut of_rows: Vec<(Key, usize)> = of_rows.collect();
        of_rows.sort_unstable();
        let (keys, rows): (Vec<Key>, Vec<usize>) = of_rows.into_iter().unzip();
        let mut places = vec![None; batch.rows];
        self.own.find(&keys, &mut |at, place| places[rows[at]] = Some(place))?; // proof: a row of the batch.
        Ok(Placed { columns: batch, places })
    }
}

/// Rows with their places among the ids. They are no [`Columns`], and nothing makes columns of them: no fold that reads rows
/// takes them.
///
/// ```compile_fail
/// fn fold(fold: &mut dyn tacit_jobs::Fold, rows: &tacit_jobs::shares::Placed) { fold.take(rows).unwrap(); }
/// ```
/// ```compile_fail
/// fn columns(rows: tacit_jobs::shares::Placed) -> tacit_types::Columns { rows.into() }
/// ```
/// ```compile_fail
/// fn columns(rows: tacit_jobs::shares::Placed) -> tacit_types::Columns { rows.columns }
/// ```
/// What may be done compiles:
///
/// ```
/// fn fold(fold: &mut dyn tacit_jobs::shares::SharesFold, rows: &tacit_jobs::shares::Placed) {
///     fold.take(rows, &mut |_, _| ()).unwrap();
/// }
/// ```
pub struct Placed {
    columns: Columns,
    places: Vec<Option<u32>>,
}

impl Placed {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.columns.rows
    }

    /// The place of a row; none where its key has no id.
    pub fn place(&self, row: usize) -> Option<usize> {
        self.places.get(row).copied().flatten().map(|place| place as usize)
    }

    /// A column.
    ///
    /// # Errors
    /// `data.column_unknown`.
    pub fn column(&self, name: &str) -> Result<&Column, Fault> {
        self.columns.get(name).ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tacit_psi::InMemory;
    use tacit_types::Values;

    use super::*;

    fn key() -> [KeyPart; 1] {
        [KeyPart { name: "id".into(), steps: vec!["trim/1".into(), "fold/1".into()] }]
    }

    /// Ids with this owner's keys, or none.
    fn records(keys: &[Option<&str>]) -> Vec<u8> {
        let schema = params::schema(&key()).unwrap();
        let kept = |key: &Option<&str>| key.map_or([0; 32], |key| schema.key([Some(key)]).unwrap());
        let record = |(i, key): (usize, &Option<&str>)| [&[i as u8; KEPT_BYTES][..], &kept(key)[..KEPT_BYTES]].concat();
        keys.iter().enumerate().flat_map(record).collect()
    }

    /// What a host writes down of sorting.
    #[derive(Default)]
    struct Told(InMemory, Arc<AtomicU64>);

    impl Storage for Told {
        fn write(&mut self, file: u32, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
            self.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.0.write(file, offset, bytes)
        }
        fn read(&mut self, file: u32, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
            self.0.read(file, offset, out)
        }
        fn remove(&mut self, file: u32) -> Result<(), Fault> {
            self.0.remove(file)
        }
        fn sync(&mut self) -> Result<(), Fault> {
            self.0.sync()
        }
    }

    fn room(memory: usize) -> Room {
        Room { memory, storage: Box::new(InMemory::default()) }
    }

    fn spine(keys: &[Option<&str>]) -> Spine {
        Spine::new(&key(), &["who".into()], &records(keys), room(1 << 20)).unwrap()
    }

    #[test]
    fn a_row_stands_where_its_key_does_and_the_ids_are_alike_at_both() {
        let mut ours = spine(&[None, Some("carl"), None, Some("ann")]);
        let theirs = spine(&[Some("carl"), None, Some("dot"), Some("eve")]);
        assert_eq!((ours.ids(), ours.hash()), (4, theirs.hash()));
        assert_ne!(ours.hash(), spine(&[None, Some("carl"), None]).hash());
        let mut query = LocalQuery { view: "v".into(), columns: vec!["x".into()], filter: None };
        ours.widen(&mut query);
        assert_eq!(query.columns, ["x", "who"]);
        let texts = ["Carl ", "bob", "ANN", "ann", "ann"].map(String::from).to_vec();
        let valid = Some(vec![true, true, true, false, true]);
        let who = Column { name: "who".into(), values: Values::Text(texts), valid };
        let placed = ours.place(Columns { rows: 5, columns: vec![who] }).unwrap();
        let places: Vec<Option<usize>> = (0..6).map(|row| placed.place(row)).collect();
        assert_eq!(places, [Some(1), None, Some(3), None, Some(3), None]);
        assert_eq!((placed.rows(), placed.column("who").is_ok(), placed.column("x").is_ok()), (5, true, false));
        let other = Column { name: "x".into(), values: Values::Int(vec![1]), valid: None };
        assert!(ours.place(Columns { rows: 1, columns: vec![other] }).is_err());
    }

    #[test]
    fn what_no_alignment_kept_is_no_spine() {
        let with = |records: &[u8], memory| {
            Spine::new(&key(), &["who".into()], &records.to_vec(), room(memory)).map(|_| ()).map_err(|f| f.code)
        };
        let of = |records: &[u8]| {
            let held = with(records, 1 << 20);
            assert_eq!(with(records, 0), held, "wherever they lie");
            held
        };
        let fine = records(&[None, Some("carl"), Some("ann")]);
        assert_eq!(of(&fine), Ok(()));
        let corrupt = Err(Code::StoreCorrupt);
        assert_eq!(of(&fine[1..]), corrupt);
        assert_eq!(of(&[&fine[..], &fine[..RECORD_BYTES]].concat()), corrupt, "an id twice");
        assert_eq!(of(&records(&[Some("ann"), Some("ann")])), corrupt, "a key twice");
        assert!(Spine::new(&key(), &[], &fine, room(0)).is_err());
    }

    #[test]
    fn ids_that_memory_has_no_room_for_lie_in_files_and_are_found_alike() {
        let text = |i: usize| format!("k{i}");
        let schema = params::schema(&key()).unwrap();
        // One in three is the other owner's.
        let kept = |i: usize| if i.is_multiple_of(3) { [0; 32] } else { schema.key([Some(text(i).as_str())]).unwrap() };
        let count = READ_RECORDS + 7000;
        let record = |i: usize| [&(i as u128 + 1).to_be_bytes()[..], &kept(i)[..KEPT_BYTES]].concat();
        let records: Vec<u8> = (0..count).flat_map(record).collect();
        let most = count * OWN_BYTES;
        let places = |memory: usize| {
            let written = Arc::<AtomicU64>::default();
            let room = Room { memory, storage: Box::new(Told(InMemory::default(), written.clone())) };
            let mut spine = Spine::new(&key(), &["who".into()], &records, room).unwrap();
            // The first and the last, ids without a key, and keys without an id, in no order.
            let texts: Vec<String> = (0..count + 50).rev().map(|i| text(i * 7919 % (count + 50))).collect();
            let who = Column { name: "who".into(), values: Values::Text(texts), valid: None };
            let placed = spine.place(Columns { rows: count + 50, columns: vec![who] }).unwrap();
            let all: Vec<Option<usize>> = (0..count + 50).map(|row| placed.place(row)).collect();
            (all, spine.hash(), spine.ids(), written.load(Ordering::Relaxed) > 0)
        };
        let (held, hash, ids, wrote) = places(most);
        assert!(!wrote && ids == count as u64, "there is room");
        let expected = |i: usize| (i < count && !i.is_multiple_of(3)).then_some(i);
        assert!(held.iter().zip((0..count + 50).rev()).all(|(place, i)| *place == expected(i * 7919 % (count + 50))));
        // One byte less than all of them take, and next to nothing.
        for memory in [most - 1, 1] {
            let stored = places(memory);
            assert!(stored == (held.clone(), hash, ids, true), "with {memory} bytes");
        }
    }
}
