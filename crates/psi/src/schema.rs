//! What a key is made of: columns under agreed names, each with its steps, encoded so that no two keys share bytes.

use tacit_crypto::Transcript;
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Column, Columns, Fault, Hash, Values};

use crate::hash::KeyHash;
use crate::normalise::{Step, VALUE_BYTES_MAX};

/// Columns of a key.
pub const KEY_COLUMNS_MAX: usize = 16;
/// Steps of one column.
pub const STEPS_MAX: usize = 8;

/// One column of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyColumn {
    /// The name that both owners use for it, whatever it is called in their tables.
    pub name: String,
    /// What is done with its values, in order.
    pub steps: Vec<Step>,
}

/// The columns of a key, in order. Both owners hold the same, or nothing begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    columns: Vec<KeyColumn>,
    digest: Hash,
}

/// Why a row has no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoKey {
    /// A value is absent, or empty after its steps.
    Empty,
    /// A step found no form of a value, or the value is over [`VALUE_BYTES_MAX`].
    Unusable,
}

impl Schema {
    /// A schema of 1 to [`KEY_COLUMNS_MAX`] columns.
    ///
    /// # Errors
    /// `args.invalid` when there are too few or too many, a name is empty, long or there twice, or a column has more than
    /// [`STEPS_MAX`] steps.
    pub fn new(columns: Vec<KeyColumn>) -> Result<Self, Fault> {
        let wrong = |what: String| Err(Fault::new(Code::ArgsInvalid, what));
        if columns.is_empty() || columns.len() > KEY_COLUMNS_MAX {
            return wrong(format!("a key has 1 to {KEY_COLUMNS_MAX} columns, not {}", columns.len()));
        }
        for (i, column) in columns.iter().enumerate() {
            if column.name.is_empty() || column.name.len() > COLUMN_NAME_BYTES_MAX {
                return wrong(format!("key column {} has no usable name", i + 1));
            }
            if columns.iter().take(i).any(|c| c.name == column.name) {
                return wrong(format!("key column `{}` is there twice", column.name));
            }
            if column.steps.len() > STEPS_MAX {
                return wrong(format!("key column `{}` has more than {STEPS_MAX} steps", column.name));
            }
        }
        let mut digest = Transcript::new("tacit-psi/1/schema").u64(columns.len() as u64);
        for column in &columns {
            digest = digest.bytes(column.name.as_bytes()).u64(column.steps.len() as u64);
            for step in &column.steps {
                digest = digest.bytes(step.name().as_bytes());
            }
        }
        Ok(Self { columns, digest: digest.finish() })
    }

    /// The columns.
    pub fn columns(&self) -> &[KeyColumn] {
        &self.columns
    }

    /// What both owners compare before anything else.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// Hashes one row's key.
    ///
    /// # Errors
    /// Why it has none.
    pub fn key<'a>(&self, values: impl IntoIterator<Item = Option<&'a str>>) -> Result<KeyHash, NoKey> {
        let mut encoded = Vec::with_capacity(128);
        encoded.extend_from_slice(&(self.columns.len() as u32).to_le_bytes());
        encoded.extend_from_slice(&self.digest.0);
        let mut values = values.into_iter();
        for column in &self.columns {
            let value = values.next().flatten().ok_or(NoKey::Empty)?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(NoKey::Unusable);
            }
            let mut form = value.to_owned();
            for step in &column.steps {
                form = step.apply(&form).ok_or(if value.trim().is_empty() { NoKey::Empty } else { NoKey::Unusable })?;
            }
            if form.is_empty() {
                return Err(NoKey::Empty);
            }
            encoded.extend_from_slice(&(form.len() as u32).to_le_bytes());
            encoded.extend_from_slice(form.as_bytes());
        }
        Ok(Transcript::new("tacit-psi/1/key").bytes(&encoded).finish().0)
    }

    /// Hashes the keys of a batch, whose columns stand in the schema's order under any names.
    ///
    /// # Errors
    /// `data.column_type` for another number of columns, or one of real numbers: they have no one written form.
    pub fn keys(&self, batch: &Columns) -> Result<Vec<Result<KeyHash, NoKey>>, Fault> {
        if batch.columns.len() != self.columns.len() {
            let what = format!("{} columns for a key of {}", batch.columns.len(), self.columns.len());
            return Err(Fault::new(Code::DataColumnType, what));
        }
        if let Some(column) = batch.columns.iter().find(|c| matches!(c.values, Values::Float(_))) {
            let what = format!("`{}` holds real numbers, which are no key", column.name);
            return Err(Fault::new(Code::DataColumnType, what));
        }
        Ok((0..batch.rows)
            .map(|row| {
                let texts: Vec<Option<String>> = batch.columns.iter().map(|c| text(c, row)).collect();
                self.key(texts.iter().map(Option::as_deref))
            })
            .collect())
    }
}

/// A value as text, `None` where there is none.
fn text(column: &Column, row: usize) -> Option<String> {
    match &column.values {
        _ if !column.is_valid(row) => None,
        Values::Int(all) => all.get(row).map(i64::to_string),
        Values::Text(all) => all.get(row).cloned(),
        Values::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, steps: &[&str]) -> KeyColumn {
        KeyColumn { name: name.into(), steps: steps.iter().map(|s| Step::parse(s).unwrap()).collect() }
    }

    fn schema(columns: &[(&str, &[&str])]) -> Schema {
        Schema::new(columns.iter().map(|(n, s)| column(n, s)).collect()).unwrap()
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        let two = schema(&[("a", &[]), ("b", &[])]);
        let key = |values: [&str; 2]| two.key(values.map(Some)).unwrap();
        assert_ne!(key(["a,b", "c"]), key(["a", "b,c"]));
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        let one = schema(&[("a", &[])]);
        assert_ne!(one.key([Some("a")]).unwrap(), schema(&[("b", &[])]).key([Some("a")]).unwrap());
    }

    #[test]
    fn absent_and_empty_values_never_match() {
        let s = schema(&[("name", &["nfkc/1", "trim/1", "fold/1"]), ("phone", &["e164/1:86"])]);
        assert!(s.key([Some(" Ann"), Some("13800138000")]).is_ok());
        assert_eq!(s.key([None, Some("13800138000")]), Err(NoKey::Empty));
        assert_eq!(s.key([Some("Ann"), None]), Err(NoKey::Empty));
        assert_eq!(s.key([Some("Ann")]), Err(NoKey::Empty));
        assert_eq!(s.key([Some(" \u{3000}"), Some("13800138000")]), Err(NoKey::Empty));
        assert_eq!(s.key([Some("Ann"), Some(" ")]), Err(NoKey::Empty));
        assert_eq!(s.key([Some("Ann"), Some("none")]), Err(NoKey::Unusable));
        let long = "a".repeat(VALUE_BYTES_MAX + 1);
        assert_eq!(s.key([Some(long.as_str()), Some("13800138000")]), Err(NoKey::Unusable));
        assert!(s.key([Some(&long[1..]), Some("13800138000")]).is_ok());
    }

    #[test]
    fn every_part_of_a_schema_is_in_its_digest() {
        let all = [
            schema(&[("a", &["trim/1"]), ("b", &[])]),
            schema(&[("b", &[]), ("a", &["trim/1"])]),
            schema(&[("a", &[]), ("b", &["trim/1"])]),
            schema(&[("a", &["trim/1", "fold/1"]), ("b", &[])]),
            schema(&[("a", &["fold/1", "trim/1"]), ("b", &[])]),
            schema(&[("a", &["trim/1"])]),
            schema(&[("p", &["e164/1:1"])]),
            schema(&[("p", &["e164/1:86"])]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a.digest() != b.digest()), "{i}");
        }
    }

    #[test]
    fn limits_of_a_schema_hold_one_past_them() {
        let many = |n: usize| Schema::new((0..n).map(|i| column(&i.to_string(), &[])).collect());
        assert!(many(KEY_COLUMNS_MAX).is_ok() && many(KEY_COLUMNS_MAX + 1).is_err() && many(0).is_err());
        let steps = |n: usize| Schema::new(vec![column("a", &vec!["trim/1"; n])]);
        assert!(steps(STEPS_MAX).is_ok() && steps(STEPS_MAX + 1).is_err());
        let name = |n: usize| Schema::new(vec![column(&"a".repeat(n), &[])]);
        assert!(name(COLUMN_NAME_BYTES_MAX).is_ok() && name(COLUMN_NAME_BYTES_MAX + 1).is_err() && name(0).is_err());
        assert!(Schema::new(vec![column("a", &[]), column("a", &[])]).is_err());
    }

    #[test]
    fn whole_numbers_and_text_match_and_real_numbers_are_refused() {
        let s = schema(&[("id", &["trim/1"])]);
        let batch = |values: Values| {
            let rows = values.len();
            let column = Column { name: "x".into(), values, valid: Some(vec![true, false]) };
            s.keys(&Columns { rows, columns: vec![column] })
        };
        let numbers = batch(Values::Int(vec![-17, 0])).unwrap();
        let texts = batch(Values::Text(vec![" -17".into(), "0".into()])).unwrap();
        assert_eq!(numbers, texts);
        assert_eq!(numbers[1], Err(NoKey::Empty));
        assert_eq!(batch(Values::Float(vec![1.0, 2.0])).unwrap_err().code, Code::DataColumnType);
        assert_eq!(s.keys(&Columns::default()).unwrap_err().code, Code::DataColumnType);
    }
}
