//! The sets of rows that a job's exact numbers are of, as an owner's node remembers them: as sketches under a key of its own,
//! never as rows. What is done with them is the node's; here is what depends on nothing but the rows.

use tacit_crypto::{Transcript, sha256};
use tacit_types::{Code, Column, Columns, Fault, Hash, Values};

mod sketch;

pub use sketch::{Apart, Sketch, Tag};

use crate::kind::Fold;
use crate::shares::{Placed, SharesFold};

/// What numbers of rows themselves are of.
pub const ROWS: &str = "rows";

/// Sets of rows of a question on ids, of which a row may stand in each.
pub const PLACED_SETS_MAX: usize = 32;

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
    /// By place, where rows have places.
    placed: Vec<AtPlace>,
}

/// What stands at a place.
#[derive(Clone, Copy, Default)]
struct AtPlace {
    /// Rows in sets, two for more.
    rows: u8,
    /// The sets of the last one, a bit each.
    sets: u32,
    tag: Option<Tag>,
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
        Ok(Self { tagger, sets, placed: Vec::new() })
    }

    /// Takes a batch with all columns.
    ///
    /// # Errors
    /// Those of [`Tagger::tags`] and of [`Fold::members`].
    pub fn take(&mut self, batch: &Columns, fold: &dyn Fold) -> Result<(), Fault> {
        let tags = self.tagger.tags(batch)?;
        let sets = &mut self.sets;
        fold.members(batch, &mut |set, row| {
            if let (Some((_, sketch)), Some(tag)) = (sets.get_mut(set), tags.get(row)) {
                sketch.put(*tag);
            }
        })
    }

    /// As [`Asked::take`], of rows with places, which the fold takes in the same pass. Where more than one stands at a place
    /// none counts, so none pads a set: they are put into the sets once [all](Asked::all) are there.
    ///
    /// # Errors
    /// Those of [`Tagger::tags`] and of the fold.
    pub fn take_placed(&mut self, batch: &Columns, rows: &Placed, fold: &mut dyn SharesFold) -> Result<(), Fault> {
        let tags = self.tagger.tags(batch)?;
        let placed = &mut self.placed;
        let mut last = None;
        fold.take(rows, &mut |set, row| {
            let (Some(place), Some(tag)) = (rows.place(row), tags.get(row)) else { return };
            if placed.len() <= place {
                placed.resize(place + 1, AtPlace::default());
            }
            let Some(at) = placed.get_mut(place) else { return };
            if last.replace(row) != Some(row) {
                *at = AtPlace { rows: at.rows.saturating_add(1).min(2), sets: 0, tag: Some(*tag) };
            }
            at.sets |= u32::try_from(set).ok().and_then(|set| 1u32.checked_shl(set)).unwrap_or(0);
        })
    }

    /// All rows were taken.
    pub fn all(&mut self) {
        for at in core::mem::take(&mut self.placed).into_iter().filter(|at| at.rows == 1) {
            for (set, (_, sketch)) in self.sets.iter_mut().enumerate().take(PLACED_SETS_MAX) {
                if let (true, Some(tag)) = (at.sets >> set & 1 == 1, at.tag) {
                    sketch.put(tag);
                }
            }
        }
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
    fn of_rows_at_one_place_none_counts() {
        use crate::align::KeyPart;
        use crate::shares::{Room, Spine, Values as Brought};

        /// Every row stands in the set of all, and in one more if its number is odd.
        struct Odd;
        impl SharesFold for Odd {
            fn take(&mut self, batch: &Placed, members: &mut dyn FnMut(usize, usize)) -> Result<(), Fault> {
                let Values::Int(n) = &batch.column("n")?.values else { panic!("no numbers") };
                for (row, n) in n.iter().enumerate().filter(|(row, _)| batch.place(*row).is_some()) {
                    (0..1 + *n as usize % 2).for_each(|set| members(set, row));
                }
                Ok(())
            }
            fn notes(&self) -> Vec<String> {
                Vec::new()
            }
            fn sets(&self) -> Vec<String> {
                vec![ROWS.into(), "odd".into()]
            }
            fn finish(self: Box<Self>) -> Box<dyn Brought> {
                panic!("not asked for")
            }
        }
        let key = [KeyPart { name: "id".into(), steps: vec!["trim/1".into()] }];
        let keys = ["a", "b", "c", "d"];
        let schema = crate::align::params::schema(&key).unwrap();
        let record =
            |(i, k): (usize, &&str)| [[i as u8; 16], *schema.key([Some(*k)]).unwrap().first_chunk().unwrap()].concat();
        let records: Vec<u8> = keys.iter().enumerate().flat_map(record).collect();
        let room = Room { memory: 1 << 20, storage: Box::new(tacit_psi::InMemory::default()) };
        let mut spine = Spine::new(&key, &["id".into()], &records, room).unwrap();
        let mut asked = |batches: &[&[(&str, i64)]]| {
            let mut asked = Asked::new(tagger(1, &["id", "n"]), Odd.sets(), 10).unwrap();
            for rows in batches {
                let ids: Vec<&str> = rows.iter().map(|(id, _)| *id).collect();
                let n = Values::Int(rows.iter().map(|(_, n)| *n).collect());
                let all = batch(vec![("id", texts(&ids), None), ("n", n, None)]);
                let placed = spine.place(all.clone()).unwrap();
                asked.take_placed(&all, &placed, &mut Odd).unwrap();
            }
            asked.all();
            asked
        };
        let apart = |a: &Asked, b: &Asked| -> Vec<Apart> {
            let pairs = a.sets().iter().zip(b.sets());
            pairs.map(|((_, a), (_, b))| a.apart(b, 10)).collect()
        };
        let plain = asked(&[&[("a", 1), ("b", 2)]]);
        // A key without a place, keys that stand twice, in one batch or in two, and a row that is there twice.
        let padded = asked(&[&[("a", 1), ("x", 3), ("c", 5), ("c", 6)], &[("b", 2), ("d", 7)], &[("d", 7)]]);
        assert_eq!(apart(&plain, &padded), [Apart::Same, Apart::Same]);
        assert_eq!(apart(&plain, &asked(&[&[("a", 1)], &[("b", 4)]])), [Apart::Few, Apart::Same]);
        assert_eq!(apart(&plain, &asked(&[&[("b", 2)]])), [Apart::Few, Apart::Few]);
    }

    #[test]
    fn a_question_has_so_many_sets() {
        let subjects = |n: usize| vec!["rows".to_owned(); n];
        assert!(Asked::new(tagger(1, &["n"]), subjects(SETS_PER_QUESTION_MAX), 10).is_ok());
        let more = Asked::new(tagger(1, &["n"]), subjects(SETS_PER_QUESTION_MAX + 1), 10);
        assert_eq!(more.map(|_| ()).map_err(|f| f.code), Err(Code::RefusedDifference));
    }
}
