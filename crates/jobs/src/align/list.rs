//! An owner's list of keys: from the rows of its view to the distinct keys that enter the exchange, padded where the job
//! says so.

use tacit_crypto::{Prg, agree::derive};
use tacit_psi::keyset::KeySet;
use tacit_psi::storage::{Log, Reader, Storage, Writer};
use tacit_psi::{KeySetBuilder, Schema};
use tacit_types::{Code, Columns, Fault, Hash};

use super::desk::Desk;
use super::params::{self, AlignParams};
use crate::kind::{Fold, JointHalf};

/// The file of the rows' keys: past every file of the protocol.
const ROWS_FILE: u32 = u32::MAX;
/// A row's record: whether it has a key, and the key.
const ROW_BYTES: usize = 1 + 32;

/// The local half.
pub(super) struct ListFold {
    pub params: AlignParams,
    schema: Schema,
    columns: Vec<String>,
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
        let schema = params::schema(&params.key)?;
        let rows = Writer::new(ROWS_FILE, ROW_BYTES);
        Ok(Self { params, schema, columns: columns.to_vec(), desk, rows, count: 0, left_out: 0, then })
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
        for key in self.schema.keys(&self.batch(batch)?)? {
            let (has, key) = key.map_or((0, [0; 32]), |key| (1, key));
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
        let own = self.build(&[])?;
        let distinct = own.len();
        if distinct < least || distinct > most {
            let what = format!("this list has fewer than {least} distinct keys, or more than {most}");
            return Err(Fault::new(Code::RefusedCohort, what));
        }
        if let Some(offered) = self.desk.offered.as_mut() {
            own.each(self.desk.storage.as_mut(), &mut |key| offered.put(key))?;
            offered.done(self.schema.digest())?;
        }
        let missing = size.map_or(0, |size| size.saturating_sub(distinct));
        if missing == 0 {
            return Ok((own, distinct));
        }
        // The same in every attempt, so that a state of an earlier one is of the same input.
        let seed = derive(b"tacit-align/1/padding", self.desk.key.expose_secret(), &[&self.desk.job.0]);
        let mut padding = vec![[0; 32]; missing as usize];
        Prg::new(&seed).keystream(0, padding.as_flattened_mut());
        Ok((self.build(&padding)?, distinct))
    }

    fn build(&mut self, padding: &[[u8; 32]]) -> Result<KeySet, Fault> {
        let storage = self.desk.storage.as_mut();
        let mut builder = KeySetBuilder::new(self.schema.clone(), self.desk.memory);
        let mut reader = Reader::new(&self.rows);
        while let Some(record) = reader.next(storage)? {
            let key = match record.split_first_chunk::<1>() {
                Some(([1], key)) => key.first_chunk::<32>().copied().ok_or(tacit_psi::schema::NoKey::Empty),
                _ => Err(tacit_psi::schema::NoKey::Empty),
            };
            builder.push_key(storage, key)?;
        }
        for key in padding {
            builder.push_key(storage, Ok(*key))?;
        }
        builder.finish(storage)
    }

    /// Counts what the others bring, where the contract limits it: before any key of this list has left in any form.
    ///
    /// # Errors
    /// Those of [`super::Offered::others`].
    pub fn others(&mut self, keys: u64) -> Result<(), Fault> {
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

    /// The key of a row.
    pub fn key_of(rows: &Log, storage: &mut dyn Storage, row: u64) -> Result<[u8; 32], Fault> {
        let record = rows.get(storage, row, 1)?;
        let key = record.last_chunk::<32>().copied();
        key.ok_or_else(|| Fault::new(Code::JobInternal, "a row's key is gone"))
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
            key: Secret::new([2; 32]),
            state: None,
            offered: None,
            lookup: None,
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
