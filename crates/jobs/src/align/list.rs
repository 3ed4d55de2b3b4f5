//! An owner's list of keys: from the rows of its view to the distinct keys that enter the exchange, padded where the job
//! says so.

use tacit_crypto::{Prg, agree::derive};
use tacit_psi::keyset::KeySet;
use tacit_psi::storage::{Log, Reader, Storage, Writer};
use tacit_psi::{GroupSet, GroupSetBuilder, KeySetBuilder, Schema};
use tacit_types::{Code, Columns, Fault, Hash};

use super::desk::Desk;
use super::params::{self, AlignParams};
use crate::kind::{Fold, JointHalf};
use crate::stats::groups::GroupFinder;

/// The file of the rows' keys: past every file of the protocol.
pub(super) const ROWS_FILE: u32 = u32::MAX;
/// Random keys that are made at a time.
const PADDING_KEYS: u64 = 1 << 12;
/// A row's record: 0 without a key, else 1 and the number of its group; the key.
const ROW_BYTES: usize = 1 + 32;

/// The local half.
pub(super) struct ListFold {
    pub params: AlignParams,
    schema: Schema,
    columns: Vec<String>,
    /// Which group a row stands in, where the owner's rows make groups.
    groups: Option<GroupFinder>,
    desk: Desk,
    rows: Writer,
    count: u64,
    left_out: u64,
    then: Then,
}

/// The joint half that follows.
pub(super) type Then = Box<dyn FnOnce(Result<(AlignParams, List), Fault>) -> Box<dyn JointHalf> + Send>;

/// What the local half gives.
pub(super) struct List {
    pub desk: Desk,
    schema: Schema,
    rows: Log,
}

impl ListFold {
    pub fn new(params: AlignParams, columns: &[String], desk: Desk, then: Then) -> Result<Self, Fault> {
        // What is known before any row is read.
        params.size.map_or(Ok(()), |size| has_room(&desk, "a padded list", size))?;
        let schema = params::schema(&params.key)?;
        let rows = Writer::new(ROWS_FILE, ROW_BYTES);
        let (columns, groups) = (columns.to_vec(), None);
        Ok(Self { params, schema, columns, groups, desk, rows, count: 0, left_out: 0, then })
    }

    /// With the group of each row.
    pub fn grouped(self, groups: Option<GroupFinder>) -> Self {
        Self { groups, ..self }
    }

    fn batch(&self, batch: &Columns) -> Result<Columns, Fault> {
        let column = |name: &String| {
            batch.get(name).cloned().ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        Ok(Columns { rows: batch.rows, columns: self.columns.iter().map(column).collect::<Result<_, _>>()? })
    }
}

impl Fold for ListFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let groups = self.groups.as_ref().map(|groups| groups.of(batch)).transpose()?.unwrap_or_default();
        for (row, key) in self.schema.keys(&self.batch(batch)?)?.into_iter().enumerate() {
            let group = groups.get(row).copied().unwrap_or(0) as u8; // proof: there are fewer groups.
            let (has, key) = key.map_or((0, [0; 32]), |key| (1 + group, key));
            self.left_out += u64::from(has == 0);
            self.count += 1;
            self.rows.push(self.desk.storage.as_mut(), &[&[has], &key])?;
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        match self.left_out {
            0 => Vec::new(),
            n => vec![format!(
                "{n} of {} rows have no key, for an absent value or one without the agreed form",
                self.count
            )],
        }
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, schema, mut desk, rows, then, .. } = *self;
        let rows = rows.finish(desk.storage.as_mut());
        then(rows.map(|rows| (params, List { desk, schema, rows })))
    }
}

/// Whether this node brings lists of so many keys together.
fn has_room(desk: &Desk, whose: &str, keys: u64) -> Result<(), Fault> {
    let most = desk.keys_max;
    let what = || format!("{whose} has {keys} distinct keys, and this node takes {most}");
    if keys <= most { Ok(()) } else { Err(Fault::new(Code::DataTooLarge, what())) }
}

impl List {
    /// The distinct keys, and how many of them are the owner's own.
    ///
    /// # Errors
    /// `refused.cohort` for fewer than the job wants; `refused.alignment` for a list that may not follow on an earlier one;
    /// those of the storage.
    pub fn keys(&mut self, params: &AlignParams) -> Result<(KeySet, u64), Fault> {
        self.keys_of(params.keys_min, params.keys_max(), params.size)
    }

    /// As [`List::keys`], with at least and at most so many, padded to `size` where it is given.
    ///
    /// # Errors
    /// Those of [`List::keys`].
    pub fn keys_of(&mut self, least: u64, most: u64, size: Option<u64>) -> Result<(KeySet, u64), Fault> {
        let own = self.own(least, most)?;
        let distinct = own.len();
        self.offer(&own, None)?;
        let missing = size.map_or(0, |size| size.saturating_sub(distinct));
        if missing == 0 {
            return Ok((own, distinct));
        }
        Ok((self.build(missing)?, distinct))
    }

    /// The distinct keys of an owner whose rows make groups, each key in one: of fewer than the job wants in the last.
    ///
    /// # Errors
    /// Those of [`List::keys`].
    pub fn groups(&mut self, params: &AlignParams) -> Result<GroupSet, Fault> {
        let own = self.own(params.keys_min, params.keys_max())?;
        let mut builder = GroupSetBuilder::new(self.schema.digest(), params.groups(), self.desk.memory);
        let mut reader = Reader::new(&self.rows);
        while let Some(record) = reader.next(self.desk.storage.as_mut())? {
            if let Some(([has @ 1..=u8::MAX], key)) = record.split_first_chunk::<1>()
                && let Some(key) = key.first_chunk::<32>()
            {
                let (key, group) = (*key, usize::from(has - 1));
                builder.push(self.desk.storage.as_mut(), &key, group)?;
            }
        }
        let mut groups = builder.finish(self.desk.storage.as_mut(), params.keys_min)?;
        self.offer(&own, Some(&groups))?;
        if let Some(size) = params.size {
            let seed = derive(b"tacit-match-count/1/padding", self.desk.key.expose_secret(), &[&self.desk.job.0]);
            groups.pad(self.desk.storage.as_mut(), size, &Prg::new(&seed))?;
        }
        Ok(groups)
    }

    /// The owner's own distinct keys.
    fn own(&mut self, least: u64, most: u64) -> Result<KeySet, Fault> {
        let own = self.build(0)?;
        if own.len() < least || own.len() > most {
            let what = format!("this list has fewer than {least} distinct keys, or more than {most}");
            return Err(Fault::new(Code::RefusedCohort, what));
        }
        has_room(&self.desk, "this list", own.len())?;
        Ok(own)
    }

    /// Has the node decide whether a list may be offered, with each of the groups in which it stands.
    fn offer(&mut self, own: &KeySet, groups: Option<&GroupSet>) -> Result<(), Fault> {
        let Some(offered) = self.desk.offered.as_mut() else { return Ok(()) };
        let storage = self.desk.storage.as_mut();
        own.each(storage, &mut |key| offered.put(key))?;
        for (group, size) in groups.into_iter().flat_map(|g| g.sizes().iter().enumerate()) {
            if *size > 0 {
                offered.next()?;
                groups.map_or(Ok(()), |g| g.each(storage, group, &mut |key| offered.put(key)))?;
            }
        }
        offered.done(self.schema.digest())
    }

    /// The list of the rows' keys and of so many random ones, which are the same in every attempt: so a state of an earlier
    /// one is of the same input.
    fn build(&mut self, padding: u64) -> Result<KeySet, Fault> {
        let seed = derive(b"tacit-align/1/padding", self.desk.key.expose_secret(), &[&self.desk.job.0]);
        let storage = self.desk.storage.as_mut();
        let mut builder = KeySetBuilder::new(self.schema.clone(), self.desk.memory);
        let mut reader = Reader::new(&self.rows);
        while let Some(record) = reader.next(storage)? {
            let key = match record.split_first_chunk::<1>() {
                Some(([1..=u8::MAX], key)) => key.first_chunk::<32>().copied().ok_or(tacit_psi::schema::NoKey::Empty),
                _ => Err(tacit_psi::schema::NoKey::Empty),
            };
            builder.push_key(storage, key)?;
        }
        let random = Prg::new(&seed);
        let mut made = 0;
        while made < padding {
            let mut keys = vec![[0; 32]; PADDING_KEYS.min(padding - made) as usize];
            random.keystream(32 * made, keys.as_flattened_mut());
            keys.iter().try_for_each(|key| builder.push_key(storage, Ok(*key)))?;
            made += keys.len() as u64;
        }
        builder.finish(storage)
    }

    /// Counts what the others bring, by seat, where the contract limits it: before any key of this list has left in any form.
    ///
    /// # Errors
    /// `data.too_large` for a list of more keys than this node takes; those of [`super::Offered::others`].
    pub fn others(&mut self, lists: &[u64], own: u64) -> Result<(), Fault> {
        lists.iter().try_for_each(|keys| has_room(&self.desk, "a list", *keys))?;
        let keys = lists.iter().fold(0u64, |sum, list| sum.saturating_add(*list)).saturating_sub(own);
        self.desk.offered.as_mut().map_or(Ok(()), |offered| offered.others(keys))
    }

    /// What the exchange of this job is for: the same at both parties and in every attempt.
    pub fn context(&self, label: &'static str) -> Hash {
        tacit_crypto::Transcript::new(label).fixed(&self.desk.job.0).finish()
    }

    /// As [`List::context`], of one exchange of several.
    pub fn context_of(&self, label: &'static str, number: u64) -> Hash {
        tacit_crypto::Transcript::new(label).fixed(&self.desk.job.0).u64(number).finish()
    }

    /// The key of the rows that have one together; none of what was padded, which has no row. A peer that lies can make that
    /// match, and must not be told.
    pub fn own_key(rows: &Log, storage: &mut dyn Storage, at: &[u64]) -> Result<Option<[u8; 32]>, Fault> {
        let Some(first) = at.first().filter(|row| **row < rows.count) else { return Ok(None) };
        let record = rows.get(storage, *first, 1)?;
        let key = record.last_chunk::<32>().copied();
        key.map(Some).ok_or_else(|| Fault::new(Code::JobInternal, "a row's key is gone"))
    }

    /// The rows' keys.
    pub fn rows(&self) -> Log {
        self.rows.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tacit_crypto::Secret;
    use tacit_psi::{InMemory, Inline};
    use tacit_types::JobId;

    use super::super::desk::{Keep, Kept};
    use super::super::params::KeyPart;
    use super::*;

    struct Nowhere;

    impl Keep for Nowhere {
        fn put(&mut self, _: &[u8]) -> Result<(), Fault> {
            Ok(())
        }

        fn done(&mut self, _: Kept) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn list(keys: u64) -> List {
        let schema = params::schema(&[KeyPart { name: "id".into(), steps: vec![] }]).unwrap();
        let mut desk = Desk {
            job: JobId([1; 32]),
            storage: Box::new(InMemory::default()),
            workers: Arc::new(Inline),
            memory: 1 << 20,
            keys_max: u64::MAX,
            key: Secret::new([2; 32]),
            state: None,
            offered: None,
            lookup: None,
            shown: Default::default(),
            sole: true,
            keep: Box::new(Nowhere),
        };
        let mut rows = Writer::new(ROWS_FILE, ROW_BYTES);
        // Each key twice, and a row without one.
        for n in (0..2 * keys).map(|n| n / 2) {
            let key = schema.key([Some(n.to_string().as_str())]).unwrap();
            rows.push(desk.storage.as_mut(), &[&[1], &key]).unwrap();
        }
        rows.push(desk.storage.as_mut(), &[&[0], &[0; 32]]).unwrap();
        let rows = rows.finish(desk.storage.as_mut()).unwrap();
        List { desk, schema, rows }
    }

    /// A count by groups of one owner, and the owner.
    fn counted() -> (AlignParams, tacit_types::NodeId) {
        let written = serde_json::json!({
            "collector": "bank", "keys_min": 2, "key": {"id": []},
            "group": {"provider": "bank", "column": "region", "values": ["north", "south"]},
        });
        let kinds = ["id", "region"].map(|name| (name.to_owned(), tacit_governance::ColumnKind::Text));
        let owner = tacit_types::NodeId([1; 32]);
        let provider = crate::kind::DraftProvider { name: "bank".into(), owner, columns: kinds.into() };
        let draft = crate::kind::Draft { providers: vec![provider], ..Default::default() };
        (params::read(written).and_then(|w| w.params(tacit_governance::AlignLevel::Count, &draft)).unwrap(), owner)
    }

    #[test]
    fn rows_without_a_listed_value_stand_in_the_last_group() {
        let (params, owner) = counted();
        let finder = GroupFinder::new(params.group_of(&owner).unwrap());
        let desk = list(0).desk;
        let then: Then = Box::new(|_| unreachable!("the rows are looked at before"));
        let mut fold = ListFold::new(params.clone(), &["id".into()], desk, then).unwrap().grouped(Some(finder));
        let column = |name: &str, values: [Option<&str>; 9]| tacit_types::Column {
            name: name.into(),
            valid: Some(values.iter().map(Option::is_some).collect()),
            values: tacit_types::Values::Text(values.map(|v| v.unwrap_or_default().to_owned()).into()),
        };
        let ids = [Some("a"), Some("b"), Some("c"), Some("a"), Some("d"), Some("e"), None, Some("f"), Some("d")];
        let regions = [
            Some("south"),
            Some("north"),
            None,
            Some("north"),
            Some("south"),
            Some("east"),
            Some("north"),
            Some("south"),
            None,
        ];
        let columns = vec![column("region", regions), column("id", ids)];
        fold.take(&Columns { rows: 9, columns }).unwrap();
        let ListFold { mut desk, rows, schema, .. } = fold;
        let rows = rows.finish(desk.storage.as_mut()).unwrap();
        // North has a and b, south d and f, the last c and e.
        let mut list = List { desk, schema, rows };
        assert_eq!(list.groups(&params).unwrap().sizes(), [2, 2, 2]);
        let padded = AlignParams { size: Some(9), ..params.clone() };
        assert_eq!(list.groups(&padded).unwrap().sizes(), [9, 9, 9]);
        let more = AlignParams { keys_min: 3, ..params.clone() };
        assert_eq!(list.groups(&more).unwrap().sizes(), [0, 0, 6]);
        let few = AlignParams { keys_min: 7, ..params };
        assert_eq!(list.groups(&few).map(|g| g.len()).map_err(|f| f.code), Err(Code::RefusedCohort));
    }

    #[test]
    fn a_node_takes_lists_of_as_many_keys_as_it_is_told() {
        let with = |room: u64| {
            let mut list = list(20);
            list.desk.keys_max = room;
            list
        };
        let own = |room: u64| with(room).keys_of(1, 30, None).map(|(set, _)| set.len()).map_err(|f| f.code);
        assert_eq!([own(20), own(19)], [Ok(20), Err(Code::DataTooLarge)]);
        let others = |room: u64| with(room).others(&[20, 25], 20).map_err(|f| f.code);
        assert_eq!([others(25), others(24)], [Ok(()), Err(Code::DataTooLarge)]);
        // A size that the job states is known before any row is read.
        let begins = |room: u64| {
            let params = AlignParams { size: Some(40), ..counted().0 };
            let then: Then = Box::new(|_| unreachable!("no row is read"));
            ListFold::new(params, &["id".into()], with(room).desk, then).map(|_| ()).map_err(|f| f.code)
        };
        assert_eq!([begins(40), begins(39)], [Ok(()), Err(Code::DataTooLarge)]);
    }

    /// Written down once: a state of an attempt goes on with the same random keys.
    #[test]
    fn padding_is_the_same_however_it_is_made() {
        let mut list = list(7);
        let size = 7 + 2 * PADDING_KEYS + 3;
        let (padded, own) = list.keys_of(1, size, Some(size)).unwrap();
        assert_eq!((padded.len(), own), (size, 7));
        let seed = derive(b"tacit-align/1/padding", list.desk.key.expose_secret(), &[&list.desk.job.0]);
        let mut random = vec![[0u8; 32]; (size - 7) as usize];
        Prg::new(&seed).keystream(0, random.as_flattened_mut());
        let own = (0..7).map(|n| list.schema.key([Some(n.to_string().as_str())]).unwrap());
        let mut all: Vec<[u8; 32]> = own.chain(random).collect();
        all.sort_unstable_by_key(|key| (key[31] & 1, *key));
        let mut each = Vec::new();
        padded
            .each(list.desk.storage.as_mut(), &mut |key| {
                each.push(*key);
                Ok(())
            })
            .unwrap();
        assert!(each == all, "{} keys", each.len());
    }

    #[test]
    fn a_list_of_one_key_too_few_or_too_many_is_refused() {
        let of = |keys: u64| list(keys).keys_of(5, 9, None).map(|(set, own)| (set.len(), own)).map_err(|f| f.code);
        assert_eq!([of(4), of(10)], [Err(Code::RefusedCohort); 2]);
        assert_eq!([of(5), of(9)], [Ok((5, 5)), Ok((9, 9))]);
        // Padding makes no list of too few.
        let padded =
            |keys: u64| list(keys).keys_of(5, 9, Some(9)).map(|(set, own)| (set.len(), own)).map_err(|f| f.code);
        assert_eq!([padded(4), padded(5)], [Err(Code::RefusedCohort), Ok((9, 5))]);
    }
}
