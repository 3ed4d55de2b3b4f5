//! The list of keys that names the rows to score: what the operator seals and the owners' nodes look up.

use core::hash::Hasher as _;
use std::hash::DefaultHasher;

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

/// The words of keys that an alignment found as a list, and the same filled up to `rows` with what no row has.
///
/// # Errors
/// `args.invalid` for more than [`KEYS_MAX`].
pub fn found(words: &[String], rows: u64) -> Result<(Option<Vec<u8>>, Vec<u8>), Fault> {
    let filling: Vec<String> = (words.len() as u64..rows.min(KEYS_MAX + 1)).map(|i| format!("-{i}")).collect();
    let list = |words: &mut dyn Iterator<Item = &String>| encode(words.map(String::as_str)).map(|(_, list)| list);
    let own = if words.is_empty() { None } else { Some(list(&mut words.iter())?) };
    Ok((own, list(&mut words.iter().chain(&filling))?))
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
    /// Begun with a hash of the whole list: none can be made whose keys fall together.
    hasher: DefaultHasher,
    /// The keys, one after the other.
    bytes: Vec<u8>,
    /// Where each key ends, by its place in the list.
    ends: Vec<u32>,
    /// The places, in the order of hash, key and place.
    order: Vec<u32>,
    /// The hashes, in that order.
    hashes: Vec<u64>,
    /// By the highest bits of a hash, where its places begin in that order, and their end at last.
    buckets: Vec<u32>,
    /// The bits of a hash below those.
    shift: u32,
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
        let mut hasher = DefaultHasher::new();
        hasher.write(&tacit_crypto::sha256(bytes).0);
        let mut it = Self {
            hasher,
            bytes: Vec::with_capacity(bytes.len()),
            ends: Vec::with_capacity(list.len()),
            order: Vec::new(),
            hashes: Vec::new(),
            buckets: Vec::new(),
            // About one key in each.
            shift: u64::BITS - (rows.max(2).ilog2()),
        };
        let mut order: Vec<(u64, u32)> = Vec::with_capacity(list.len());
        for (place, key) in (0..).zip(list) {
            if key.is_empty() || key.len() > KEY_BYTES_MAX {
                return Err(wrong(format!("key {} has {} bytes", u64::from(place) + 1, key.len())));
            }
            it.bytes.extend_from_slice(&key);
            // why: a list is smaller than an attachment, which is below 2^32.
            it.ends.push(it.bytes.len() as u32);
            order.push((it.hash(&key), place));
        }
        order.sort_unstable_by(|a, b| (a.0, it.key(a.1), a.1).cmp(&(b.0, it.key(b.1), b.1)));
        let count = 1u64 << (u64::BITS - it.shift);
        it.buckets = (0..=count).map(|b| order.partition_point(|(hash, _)| hash >> it.shift < b) as u32).collect();
        (it.hashes, it.order) = order.into_iter().unzip();
        Ok(it)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.clone();
        hasher.write(key);
        hasher.finish()
    }

    /// The key at a place in the list.
    fn key(&self, place: u32) -> &[u8] {
        let end = |place: u32| self.ends.get(place as usize).map_or(0, |end| *end as usize);
        self.bytes.get(place.checked_sub(1).map_or(0, end)..end(place)).unwrap_or_default()
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
        let mut keys: Vec<&[u8]> = self.order.iter().map(|place| self.key(*place)).collect();
        keys.dedup();
        keys.sort_unstable();
        keys.into_iter()
    }

    /// The number of keys.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The places of a key, ascending; none when it is not wanted.
    fn of(&self, key: &[u8]) -> &[u32] {
        let hash = self.hash(key);
        let bucket = (hash >> self.shift) as usize;
        let edge = |at: usize| self.buckets.get(at).map_or(0, |edge| *edge as usize);
        let (from, to) = (edge(bucket), edge(bucket + 1));
        let hashes = self.hashes.get(from..to).unwrap_or_default();
        let first = hashes.iter().take_while(|other| **other < hash).count();
        let same = hashes.iter().skip(first).take_while(|other| **other == hash).count();
        let places = self.order.get(from + first..from + first + same).unwrap_or_default();
        let first = places.partition_point(|place| self.key(*place) < key);
        let found = places.get(first..).unwrap_or_default();
        found.get(..found.partition_point(|place| self.key(*place) == key)).unwrap_or_default()
    }

    /// The places of the key in a row of the key column; none when it is not wanted, or NULL.
    pub fn places(&self, column: &Column, row: usize) -> &[u32] {
        if !column.is_valid(row) {
            return &[];
        }
        match &column.values {
            Values::Text(list) => list.get(row).map_or(&[], |text| self.of(text.as_bytes())),
            Values::Int(list) => list.get(row).map_or(&[], |n| self.of(n.to_string().as_bytes())),
            // A fraction is no key: its text is not one thing.
            Values::Float(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
    fn any_list_is_looked_up_as_a_map_of_it() {
        for (rows, different) in [(1, 1), (2, 1), (3, 3), (1000, 1000), (5000, 40), (1 << 16, 1), (1 << 16, 1 << 15)] {
            let keys: Vec<String> = (0..rows).map(|i| format!("{}", i * 7919 % different)).collect();
            let mut map: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
            (0u32..).zip(&keys).for_each(|(i, key)| map.entry(key).or_default().push(i));
            let (count, bytes) = encode(keys.iter().map(String::as_str)).unwrap();
            let wanted = Wanted::decode(&bytes, count).unwrap();
            assert!(wanted.distinct().eq(map.keys().map(|key| key.as_bytes())), "{rows}");
            assert!(map.iter().all(|(key, places)| wanted.of(key.as_bytes()) == places), "{rows}");
            assert!((0..1000).map(|i| format!("-{i}")).all(|key| wanted.of(key.as_bytes()).is_empty()), "{rows}");
        }
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
