//! The sets of rows that a job's exact numbers are of, as an owner's node remembers them: as sketches under a key of its own,
//! never as rows. What is done with them is the node's; here is what depends on nothing but the rows.

use tacit_crypto::{Transcript, sha256};
use tacit_types::{Code, Column, Columns, Fault, Hash, Values};

mod sketch;

pub use sketch::{Apart, Sketch, Tag};

use crate::kind::Fold;

/// What numbers of rows themselves are of.
pub const ROWS: &str = "rows";

/// Sets of rows of one question.
pub const SETS_PER_QUESTION_MAX: usize = 512;

/// Turns a row into its tag: a keyed hash of the values of all columns of a view, the same whatever a question reads.
pub struct Tagger {
    key: [u8; 32],
    /// Name, and the word for what the values are.
    columns: Vec<(String, String)>,
    buffer: Vec<u8>,
}

impl Tagger {
    /// Of the columns of a view, each with what its values are, in any order, under a key that nobody else has.
    pub fn new(key: [u8; 32], columns: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut columns: Vec<(String, String)> = columns.into_iter().collect();
        columns.sort_unstable();
        Self { key, columns, buffer: Vec::new() }
    }

    /// The columns, by a hash. Rows of other columns, or of columns with other values, have tags that say nothing about each
    /// other.
    pub fn form(&self) -> Hash {
        let start = Transcript::new("tacit-difference/1/form").u64(self.columns.len() as u64);
        let write =
            |all: Transcript, (name, kind): &(String, String)| all.bytes(name.as_bytes()).bytes(kind.as_bytes());
        self.columns.iter().fold(start, write).finish()
    }

    /// The tag of each row of a batch that has all columns.
    ///
    /// # Errors
    /// `data.column_unknown`.
    pub fn tags(&mut self, batch: &Columns) -> Result<Vec<Tag>, Fault> {
        let find = |(name, _): &(String, String)| {
            batch.get(name).ok_or_else(|| Fault::new(Code::DataColumnUnknown, format!("`{name}`")))
        };
        let columns = self.columns.iter().map(find).collect::<Result<Vec<&Column>, Fault>>()?;
        let mut tags = Vec::with_capacity(batch.rows);
        for row in 0..batch.rows {
            self.buffer.clear();
            self.buffer.extend(self.key);
            for column in &columns {
                write(&mut self.buffer, column, row);
            }
            let [a, b, c, d, e, f, g, h, ..] = sha256(&self.buffer).0;
            tags.push(Tag::new(u64::from_be_bytes([a, b, c, d, e, f, g, h])));
        }
        Ok(tags)
    }
}

impl Drop for Tagger {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.key.zeroize();
        self.buffer.zeroize();
    }
}

/// A value, so that no two rows are written alike.
fn write(buffer: &mut Vec<u8>, column: &Column, row: usize) {
    match &column.values {
        _ if !column.is_valid(row) => buffer.push(0),
        Values::Int(all) => {
            buffer.push(1);
            buffer.extend(all.get(row).copied().unwrap_or_default().to_be_bytes());
        }
        Values::Float(all) => {
            buffer.push(2);
            buffer.extend(all.get(row).copied().unwrap_or_default().to_bits().to_be_bytes());
        }
        Values::Text(all) => {
            let text = all.get(row).map_or("", String::as_str);
            buffer.push(3);
            buffer.extend((text.len() as u64).to_be_bytes());
            buffer.extend(text.as_bytes());
        }
    }
}

/// The sets of one question, as they are read.
pub struct Asked {
    tagger: Tagger,
    sets: Vec<(String, Sketch)>,
}

impl Asked {
    /// Of a job whose local half names the sets, each by what its numbers are of.
    ///
    /// # Errors
    /// `refused.difference` for more than [`SETS_PER_QUESTION_MAX`] sets.
    pub fn new(tagger: Tagger, subjects: Vec<String>, change_min: u64) -> Result<Self, Fault> {
        if subjects.len() > SETS_PER_QUESTION_MAX {
            let what = format!(
                "numbers of {} sets of rows; {SETS_PER_QUESTION_MAX} are remembered of a question: ask for fewer groups or \
                 measures",
                subjects.len()
            );
            return Err(Fault::new(Code::RefusedDifference, what));
        }
        let sets = subjects.into_iter().map(|subject| (subject, Sketch::new(change_min))).collect();
        Ok(Self { tagger, sets })
    }

    /// Takes a batch with all columns.
    ///
    /// # Errors
    /// Those of [`Tagger::tags`] and of [`Fold::members`].
    pub fn take(&mut self, batch: &Columns, fold: &dyn Fold) -> Result<(), Fault> {
        self.take_with(batch, |each| fold.members(batch, each))
    }

    /// As [`Asked::take`], of rows whose sets `members` names.
    ///
    /// # Errors
    /// Those of [`Tagger::tags`] and of `members`.
    pub fn take_with(
        &mut self,
        batch: &Columns,
        members: impl FnOnce(&mut dyn FnMut(usize, usize)) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let tags = self.tagger.tags(batch)?;
        let sets = &mut self.sets;
        members(&mut |set, row| {
            if let (Some((_, sketch)), Some(tag)) = (sets.get_mut(set), tags.get(row)) {
                sketch.put(*tag);
            }
        })
    }

    /// What the rows' tags are made of.
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// The sets: what their numbers are of, and their rows.
    pub fn sets(&self) -> &[(String, Sketch)] {
        &self.sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(columns: Vec<(&str, Values, Option<Vec<bool>>)>) -> Columns {
        let columns: Vec<Column> =
            columns.into_iter().map(|(name, values, valid)| Column { name: name.into(), values, valid }).collect();
        Columns { rows: columns[0].values.len(), columns }
    }

    fn tagger(key: u8, columns: &[&str]) -> Tagger {
        Tagger::new([key; 32], columns.iter().map(|c| ((*c).to_owned(), "whole".to_owned())))
    }

    fn texts(all: &[&str]) -> Values {
        Values::Text(all.iter().map(|t| (*t).to_owned()).collect())
    }

    #[test]
    fn a_row_is_its_values_and_nothing_else() {
        let a = batch(vec![("n", Values::Int(vec![1, 1, 2]), None), ("t", texts(&["x", "x", "x"]), None)]);
        let tags = tagger(1, &["n", "t"]).tags(&a).unwrap();
        assert!(tags[0] == tags[1] && tags[0] != tags[2]);
        // In another order, and beside columns that are none of it.
        let b = batch(vec![
            ("t", texts(&["x"]), None),
            ("z", Values::Int(vec![9]), None),
            ("n", Values::Int(vec![2]), None),
        ]);
        assert_eq!(tagger(1, &["t", "n"]).tags(&b).unwrap(), [tags[2]]);
        assert_ne!(tagger(2, &["t", "n"]).tags(&b).unwrap(), [tags[2]], "under another key");
        assert!(tagger(1, &["t", "none"]).tags(&b).is_err());
        assert_eq!(tagger(1, &["t", "n"]).form(), tagger(2, &["n", "t"]).form());
        assert_ne!(tagger(1, &["t", "n"]).form(), tagger(1, &["n"]).form());
        // A column whose values are of another kind writes each of them in another way.
        let real = Tagger::new([1; 32], ["t", "n"].map(|c| (c.to_owned(), "real".to_owned())));
        assert_ne!(tagger(1, &["t", "n"]).form(), real.form());
    }

    #[test]
    fn no_two_rows_are_written_alike() {
        let none = Some(vec![false]);
        let rows = [
            vec![("a", texts(&["x"]), None), ("b", texts(&["yz"]), None)],
            vec![("a", texts(&["xy"]), None), ("b", texts(&["z"]), None)],
            vec![("a", texts(&[""]), None), ("b", texts(&["xyz"]), None)],
            vec![("a", texts(&[""]), none.clone()), ("b", texts(&["xyz"]), None)],
            vec![("a", Values::Int(vec![0]), None), ("b", texts(&["xyz"]), None)],
            vec![("a", Values::Int(vec![1]), None), ("b", texts(&["xyz"]), None)],
            vec![("a", Values::Float(vec![1.0]), None), ("b", texts(&["xyz"]), None)],
        ];
        let tags: Vec<Tag> = rows.into_iter().map(|row| tagger(1, &["a", "b"]).tags(&batch(row)).unwrap()[0]).collect();
        for (i, tag) in tags.iter().enumerate() {
            assert!(!tags[i + 1..].contains(tag), "{i}");
        }
        // What stands at a place without a value is no value.
        let hidden = |n| batch(vec![("a", Values::Int(vec![n]), none.clone()), ("b", texts(&["x"]), None)]);
        assert_eq!(tagger(1, &["a", "b"]).tags(&hidden(1)).unwrap(), tagger(1, &["a", "b"]).tags(&hidden(2)).unwrap());
    }

    #[test]
    fn a_question_has_so_many_sets() {
        let subjects = |n: usize| vec!["rows".to_owned(); n];
        assert!(Asked::new(tagger(1, &["n"]), subjects(SETS_PER_QUESTION_MAX), 10).is_ok());
        let more = Asked::new(tagger(1, &["n"]), subjects(SETS_PER_QUESTION_MAX + 1), 10);
        assert_eq!(more.map(|_| ()).map_err(|f| f.code), Err(Code::RefusedDifference));
    }
}
