//! The rows of a dataset version whose keys an alignment found: how they are read from the version that they are part of,
//! each time anew, so that the owner's consent rule of today decides.

use tacit_psi::Schema;
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Values};

use super::desk::KEPT_BYTES;
use super::params::{self, KeyPart};

/// The matched keys of one owner.
pub struct Selection {
    schema: Schema,
    columns: Vec<String>,
    keys: Vec<[u8; KEPT_BYTES]>,
}

impl Selection {
    /// From what the alignment kept: `records` as [`Keep`](super::Keep) took them, of matched keys.
    ///
    /// # Errors
    /// `refused.parameters` for a key that is none; `store.corrupt` for bytes that are no whole records.
    pub fn new(key: &[KeyPart], columns: &[String], records: &[u8]) -> Result<Self, Fault> {
        let schema = params::schema(key)?;
        let (keys, rest) = records.as_chunks::<KEPT_BYTES>();
        if !rest.is_empty() || columns.len() != key.len() {
            return Err(Fault::new(Code::StoreCorrupt, "the kept keys of an alignment"));
        }
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        Ok(Self { schema, columns: columns.to_vec(), keys })
    }

    /// Matched keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key matched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
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
    /// `data.column_unknown`, `data.column_type`: of the columns, never of a value.
    pub fn take(&self, batch: &Columns, added: &[String]) -> Result<Columns, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let of_key = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let keys = self.schema.keys(&Columns { rows: batch.rows, columns: of_key })?;
        let matched =
            |key: &[u8; 32]| key.first_chunk::<KEPT_BYTES>().is_some_and(|key| self.keys.binary_search(key).is_ok());
        let wanted: Vec<bool> = keys.iter().map(|key| key.as_ref().is_ok_and(matched)).collect();
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
    use super::*;

    #[test]
    fn rows_of_matched_keys_are_left_in_order_and_without_what_was_read_for_the_key() {
        let key = [KeyPart { name: "id".into(), steps: vec!["nfkc/1".into(), "trim/1".into(), "fold/1".into()] }];
        let schema = params::schema(&key).unwrap();
        let records: Vec<u8> =
            ["ann", "carl"].iter().flat_map(|id| schema.key([Some(*id)]).unwrap()[..KEPT_BYTES].to_vec()).collect();
        let selection = Selection::new(&key, &["who".into()], &records).unwrap();
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
        assert!(Selection::new(&key, &["who".into()], &records[1..]).is_err());
    }
}
