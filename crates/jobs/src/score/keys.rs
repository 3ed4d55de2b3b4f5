//! The list of keys that names the rows to score: what the operator seals and the owners' nodes look up.

use std::collections::BTreeMap;

use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Column, Fault, Values};

/// Keys of one job: it bounds what each seat and the recipient hold, all of which is there until the job is over. A longer
/// list is a batch of jobs.
pub const KEYS_MAX: u64 = 1 << 20;
/// Bytes of one key.
pub const KEY_BYTES_MAX: usize = 128;
/// The name of the attachment.
pub const ATTACHMENT: &str = "keys";

/// The bytes of a list, for sealing.
///
/// # Errors
/// `args.invalid` naming the first key that is empty or too long, or when there are none or too many.
pub fn encode<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<(u64, Vec<u8>), Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let mut list = Vec::new();
    for (i, key) in keys.into_iter().enumerate() {
        if i as u64 >= KEYS_MAX {
            return Err(invalid(format!("more than {KEYS_MAX} keys")));
        }
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(invalid(format!("key {} has {} bytes, of 1 to {KEY_BYTES_MAX}", i + 1, key.len())));
        }
        list.push(Blob(key.as_bytes().to_vec()));
    }
    if list.is_empty() {
        return Err(invalid("no key at all".into()));
    }
    Ok((list.len() as u64, wire::encode(&list)))
}

/// Whether a column can hold keys.
///
/// # Errors
/// `data.column_type` for fractions.
pub fn check(column: &Column) -> Result<(), Fault> {
    match &column.values {
        Values::Float(_) => Err(Fault::new(Code::DataColumnType, format!("`{}` holds fractions", column.name))),
        Values::Int(_) | Values::Text(_) => Ok(()),
    }
}

/// Where each key stands in the list. A key may stand more than once.
pub struct Wanted {
    places: BTreeMap<Vec<u8>, Vec<u32>>,
    rows: usize,
}

impl Wanted {
    /// Takes a list of `rows` keys.
    ///
    /// # Errors
    /// `refused.parameters` when the bytes are not such a list.
    pub fn decode(bytes: &[u8], rows: u64) -> Result<Self, Fault> {
        let wrong = |what: String| Fault::new(Code::RefusedParameters, format!("the list of keys: {what}"));
        let cap = tacit_governance::attachment::ATTACHMENT_BYTES_MAX;
        let list: Vec<Blob> = wire::decode_capped(bytes, cap).map_err(|e| wrong(e.to_string()))?;
        if list.len() as u64 != rows || rows > KEYS_MAX {
            return Err(wrong(format!("it has {} keys, the job names {rows}", list.len())));
        }
        let mut places: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
        for (i, key) in list.into_iter().enumerate() {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(wrong(format!("key {} has {} bytes", i + 1, key.len())));
            }
            places.entry(key.0).or_default().push(i as u32);
        }
        Ok(Self { places, rows: rows as usize })
    }

    /// Takes a list of any number of keys.
    ///
    /// # Errors
    /// Those of [`Wanted::decode`].
    pub fn decode_any(bytes: &[u8]) -> Result<Self, Fault> {
        let rows = wire::decode_capped::<Vec<Blob>>(bytes, tacit_governance::attachment::ATTACHMENT_BYTES_MAX);
        Self::decode(bytes, rows.map_or(0, |list| list.len() as u64))
    }

    /// The different keys, ascending.
    pub fn distinct(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.places.keys().map(Vec::as_slice)
    }

    /// The number of keys.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The places of the key in a row of the key column; none when it is not wanted, or NULL.
    pub fn places(&self, column: &Column, row: usize) -> &[u32] {
        if !column.is_valid(row) {
            return &[];
        }
        let found = match &column.values {
            Values::Text(list) => list.get(row).and_then(|text| self.places.get(text.as_bytes())),
            Values::Int(list) => list.get(row).and_then(|n| self.places.get(n.to_string().as_bytes())),
            // A fraction is no key: its text is not one thing.
            Values::Float(_) => None,
        };
        found.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: Values, valid: Option<Vec<bool>>) -> Column {
        Column { name: "id".into(), values, valid }
    }

    #[test]
    fn keys_are_found_by_their_text_wherever_they_stand() {
        let (rows, bytes) = encode(["7", "b", "7", "007"]).unwrap();
        let wanted = Wanted::decode(&bytes, rows).unwrap();
        assert_eq!((rows, wanted.rows()), (4, 4));
        assert_eq!(wanted.distinct().collect::<Vec<_>>(), [&b"007"[..], b"7", b"b"]);
        let ints = column(Values::Int(vec![7, 8, 7]), Some(vec![true, true, false]));
        assert_eq!([0, 1, 2].map(|row| wanted.places(&ints, row).to_vec()), [vec![0, 2], vec![], vec![]]);
        let texts = column(Values::Text(["b", "007", "B", ""].map(String::from).to_vec()), None);
        assert_eq!(
            [0, 1, 2, 3, 9].map(|row| wanted.places(&texts, row).to_vec()),
            [vec![1], vec![3], vec![], vec![], vec![]]
        );
        assert!(wanted.places(&column(Values::Float(vec![7.0]), None), 0).is_empty());
    }

    #[test]
    fn a_list_of_another_form_or_number_is_refused() {
        let (rows, bytes) = encode(["a", "b"]).unwrap();
        assert!(Wanted::decode(&bytes, rows + 1).is_err());
        assert!(Wanted::decode(&bytes[..bytes.len() - 1], rows).is_err());
        assert!(Wanted::decode(&[bytes.as_slice(), &[0]].concat(), rows).is_err());
        assert!(Wanted::decode(&wire::encode(&vec![Blob(vec![1; KEY_BYTES_MAX + 1])]), 1).is_err());
        assert!(Wanted::decode(&wire::encode(&vec![Blob(vec![])]), 1).is_err());
        assert!(Wanted::decode(&wire::encode(&vec![Blob(vec![1; KEY_BYTES_MAX])]), 1).is_ok());
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        assert!(encode(["a", ""]).unwrap_err().what.contains("key 2"));
        assert!(encode([long.as_str()]).is_err());
        assert!(encode(std::iter::empty()).is_err());
        assert!(encode(std::iter::repeat_n("k", KEYS_MAX as usize + 1)).is_err());
    }
}
