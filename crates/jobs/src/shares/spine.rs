//! The ids of an alignment as one owner has them: the place of each of its keys among all.

use tacit_crypto::Transcript;
use tacit_psi::Schema;
use tacit_types::{Code, Column, Columns, Fault, Hash, LocalQuery};

use crate::align::{KEPT_BYTES, KeyPart, params};

/// Bytes of a record: an id, and what is kept of this owner's key; zeroes where it has none.
pub(crate) const RECORD_BYTES: usize = 2 * KEPT_BYTES;

/// All ids, and which of them are this owner's keys.
pub struct Spine {
    schema: Schema,
    columns: Vec<String>,
    /// What is kept of a key, ascending, and the place of its id.
    own: Vec<([u8; KEPT_BYTES], u32)>,
    ids: u64,
    hash: Hash,
}

impl Spine {
    /// From what the alignment kept: `records` as [`Keep`](crate::align::Keep) took them, of ids.
    ///
    /// # Errors
    /// `refused.parameters` for a key that is none; `store.corrupt` for bytes that are no whole records of ascending ids.
    pub fn new(key: &[KeyPart], columns: &[String], records: &[u8]) -> Result<Self, Fault> {
        let corrupt = || Fault::new(Code::StoreCorrupt, "the kept ids of an alignment");
        let schema = params::schema(key)?;
        let (records, rest) = records.as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() || columns.len() != key.len() {
            return Err(corrupt());
        }
        let mut own = Vec::new();
        let mut hash = Transcript::new("tacit-shares/1/ids");
        let mut last: Option<&[u8]> = None;
        for (place, record) in records.iter().enumerate() {
            let (id, kept) = record.split_at(KEPT_BYTES); // proof: a record is twice as long.
            if last.replace(id).is_some_and(|last| last >= id) {
                return Err(corrupt());
            }
            hash = hash.bytes(id);
            let kept: [u8; KEPT_BYTES] = kept.try_into().map_err(|_| corrupt())?;
            if kept != [0; KEPT_BYTES] {
                own.push((kept, u32::try_from(place).map_err(|_| corrupt())?));
            }
        }
        own.sort_unstable();
        if own.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(corrupt());
        }
        Ok(Self { schema, columns: columns.to_vec(), own, ids: records.len() as u64, hash: hash.finish() })
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
    /// `data.column_unknown`, `data.column_type`: of the columns, never of a value.
    pub fn place(&self, batch: Columns) -> Result<Placed, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let of_key = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let keys = self.schema.keys(&Columns { rows: batch.rows, columns: of_key })?;
        let find = |key: &[u8; 32]| {
            let kept = key.first_chunk::<KEPT_BYTES>()?;
            let at = self.own.binary_search_by(|(own, _)| own.cmp(kept)).ok()?;
            self.own.get(at).map(|(_, place)| *place)
        };
        let places = keys.iter().map(|key| key.as_ref().ok().and_then(find)).collect();
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

    fn spine(keys: &[Option<&str>]) -> Spine {
        Spine::new(&key(), &["who".into()], &records(keys)).unwrap()
    }

    #[test]
    fn a_row_stands_where_its_key_does_and_the_ids_are_alike_at_both() {
        let ours = spine(&[None, Some("carl"), None, Some("ann")]);
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
        let of = |records: &[u8]| Spine::new(&key(), &["who".into()], records).map(|_| ()).map_err(|f| f.code);
        let fine = records(&[None, Some("carl"), Some("ann")]);
        assert_eq!(of(&fine), Ok(()));
        let corrupt = Err(Code::StoreCorrupt);
        assert_eq!(of(&fine[1..]), corrupt);
        assert_eq!(of(&[&fine[..], &fine[..RECORD_BYTES]].concat()), corrupt, "an id twice");
        assert_eq!(of(&records(&[Some("ann"), Some("ann")])), corrupt, "a key twice");
        assert!(Spine::new(&key(), &[], &fine).is_err());
    }
}
