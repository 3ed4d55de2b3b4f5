//! The keys that an alignment found as the rows of a later job: which of them a row has, by words that are the same at both
//! owners, in the order that both have. No list of keys has to come from outside then, and none leaves a node.

use tacit_psi::Schema;
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Values};

use super::desk::KEPT_BYTES;
use super::ordered::Key;
use super::params::{self, KeyPart};
use super::select::Records;

/// The column of words that a batch gets. None of a dataset has that name.
pub const FOUND_COLUMN: &str = "";

/// The keys that an alignment found, in order, and how rows are known by them.
pub struct FoundKeys {
    schema: Schema,
    columns: Vec<String>,
    keys: Vec<Key>,
}

/// What a key is called.
fn word(key: &Key) -> String {
    format!("{:032x}", u128::from_be_bytes(*key))
}

impl FoundKeys {
    /// From what the alignment kept: records as [`Keep`](super::Keep) took them, of matched keys.
    ///
    /// # Errors
    /// `data.too_large` for more keys than a job has `room` for: the owners alone may know how many there are; `store.corrupt` for what is no whole number of keys; those of the records.
    pub fn new(key: &[KeyPart], columns: &[String], records: &dyn Records, room: u64) -> Result<Self, Fault> {
        let schema = params::schema(key)?;
        let bytes = records.bytes();
        if !bytes.is_multiple_of(KEPT_BYTES as u64) || columns.len() != key.len() {
            return Err(Fault::new(Code::StoreCorrupt, "the kept keys of an alignment"));
        }
        if bytes / KEPT_BYTES as u64 > room {
            let what = format!("the job has room for {room} rows, and the alignment found more keys");
            return Err(Fault::new(Code::DataTooLarge, what));
        }
        // why: a job has room for KEYS_MAX keys at the most.
        let mut keys: Vec<Key> = vec![[0; KEPT_BYTES]; (bytes / KEPT_BYTES as u64) as usize];
        records.read(0, keys.as_flattened_mut())?;
        keys.sort_unstable();
        Ok(Self { schema, columns: columns.to_vec(), keys })
    }

    /// The words of the keys, in the order that all owners have.
    pub fn words(&self) -> Vec<String> {
        self.keys.iter().map(word).collect()
    }

    /// Has a query read the key's columns as well.
    pub fn widen(&self, query: &mut LocalQuery) {
        let more: Vec<String> = self.columns.iter().filter(|c| !query.columns.contains(c)).cloned().collect();
        query.columns.extend(more);
    }

    /// The batch with the word of each row's key beside it: NULL for a row without one, or with one that was not found.
    ///
    /// # Errors
    /// `data.column_unknown`, `data.column_type`: of the columns, never of a value.
    pub fn mark(&self, mut batch: Columns) -> Result<Columns, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let of_key = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let keys = self.schema.keys(&Columns { rows: batch.rows, columns: of_key })?;
        let found = |key: &[u8; KEPT_BYTES]| self.keys.binary_search(key).is_ok().then(|| word(key));
        let words = keys.iter().map(|key| key.as_ref().ok().and_then(|key| key.first_chunk()).and_then(found));
        let words: Vec<Option<String>> = words.collect();
        let valid = words.iter().map(Option::is_some).collect();
        let values = Values::Text(words.into_iter().map(Option::unwrap_or_default).collect());
        batch.columns.push(Column { name: FOUND_COLUMN.to_owned(), values, valid: Some(valid) });
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::keys::{Wanted, found};

    fn parts() -> Vec<KeyPart> {
        vec![KeyPart { name: "id".into(), steps: vec!["trim/1".into(), "fold/1".into()] }]
    }

    fn batch(ids: &[&str]) -> Columns {
        let text =
            |name: &str, list: Vec<String>| Column { name: name.into(), values: Values::Text(list), valid: None };
        let ids = ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        Columns { rows: ids.len(), columns: vec![text("customer", ids)] }
    }

    /// What an alignment keeps of these keys.
    fn kept(ids: &[&str]) -> Vec<u8> {
        let keys = params::schema(&parts()).unwrap().keys(&batch(ids)).unwrap();
        keys.iter().flat_map(|key| key.as_ref().unwrap()[..KEPT_BYTES].to_vec()).collect()
    }

    fn of(ids: &[&str], room: u64) -> Result<FoundKeys, Fault> {
        FoundKeys::new(&parts(), &["customer".to_owned()], &kept(ids), room)
    }

    #[test]
    fn rows_are_known_by_the_keys_that_were_found_in_any_form_of_them() {
        let (ours, theirs) = (of(&["ann", "bob", "cid"], 4).unwrap(), of(&["cid", "ann", "bob"], 4).unwrap());
        assert_eq!(ours.words(), theirs.words());
        let marked = ours.mark(batch(&[" BOB ", "dot", "ann", "Bob"])).unwrap();
        let (own, list) = found(&ours.words(), 4).unwrap();
        assert_eq!(Wanted::decode_any(&own.unwrap()).unwrap().rows(), 3);
        let wanted = Wanted::decode(&list, 4).unwrap();
        let column = marked.get(FOUND_COLUMN).unwrap();
        let places: Vec<_> = (0..4).map(|row| wanted.places(column, row).to_vec()).collect();
        assert!(places[0] == places[3] && places[0] != places[2] && places[0].len() == 1, "{places:?}");
        assert_eq!(places[1], Vec::<u32>::new());
        // What fills the list up is no row's.
        assert!(wanted.places(&batch(&["-3"]).columns[0], 0) == [3] && places.iter().all(|p| p != &[3]));
    }

    #[test]
    fn more_keys_than_there_is_room_for_and_what_is_no_key_are_refused() {
        assert!(of(&["ann", "bob"], 2).is_ok());
        assert_eq!(of(&["ann", "bob"], 1).err().map(|f| f.code), Some(Code::DataTooLarge));
        let cut = kept(&["ann"])[1..].to_vec();
        let cut = FoundKeys::new(&parts(), &["customer".to_owned()], &cut, 9);
        assert_eq!(cut.err().map(|f| f.code), Some(Code::StoreCorrupt));
        assert!(of(&["ann"], 9).unwrap().mark(Columns { rows: 0, columns: Vec::new() }).is_err());
        // An alignment that found nothing has nothing to count.
        let none = of(&[], 2).unwrap();
        let (own, list) = found(&none.words(), 2).unwrap();
        assert!(own.is_none() && Wanted::decode(&list, 2).unwrap().rows() == 2);
    }
}
