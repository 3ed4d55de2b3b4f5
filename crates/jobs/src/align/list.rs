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
pub(super) type Then = fn(Result<(AlignParams, List), Fault>) -> Box<dyn JointHalf>;

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

    fn list(mut self) -> Result<(AlignParams, List), Fault> {
        let rows = self.rows.finish(self.desk.storage.as_mut())?;
        Ok((self.params, List { desk: self.desk, schema: self.schema, rows }))
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
        let then = self.then;
        then(self.list())
    }
}

impl List {
    /// The distinct keys, and how many of them are the owner's own.
    ///
    /// # Errors
    /// `refused.cohort` for fewer than the job wants; `refused.alignment` for a list that may not follow on an earlier one;
    /// those of the storage.
    pub fn keys(&mut self, params: &AlignParams) -> Result<(KeySet, u64), Fault> {
        let own = self.build(&[])?;
        let distinct = own.len();
        if distinct < params.keys_min || distinct > params.keys_max() {
            let what = format!(
                "this list has fewer than {} distinct keys, or more than {}",
                params.keys_min,
                params.keys_max()
            );
            return Err(Fault::new(Code::RefusedCohort, what));
        }
        if let Some(offered) = self.desk.offered.as_mut() {
            own.each(self.desk.storage.as_mut(), &mut |key| offered.put(key))?;
            offered.done(self.schema.digest())?;
        }
        let missing = params.size.map_or(0, |size| size - distinct); // proof: at most `keys_max`, which is the size.
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

    /// What the exchange of this job is for: the same at both parties and in every attempt.
    pub fn context(&self, label: &'static str) -> Hash {
        tacit_crypto::Transcript::new(label).fixed(&self.desk.job.0).finish()
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
