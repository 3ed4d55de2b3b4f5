//! One pass over the records: how many there are, and what each column holds.

use std::io::Read;

use tacit_types::limits::ROWS_MAX;
use tacit_types::{Code, Fault};

use super::columns::Kind;
use super::infer::Guess;
use super::records::Records;

/// The least and the greatest value of a column. It stays with the owner and has no `Serialize`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Range {
    /// Of a column of whole numbers.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// Of a column of floating point.
    Float {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
}

/// What is known of one column.
#[derive(Clone, PartialEq, Debug)]
pub struct Inspected {
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: Kind,
    /// Whether a row has no value.
    pub nullable: bool,
    /// The range of a numeric column that has a value.
    pub range: Option<Range>,
}

/// A source with more rows than are read.
pub(crate) fn too_many_rows(place: &str) -> Fault {
    Fault::new(Code::DataTooLarge, format!("{place}: more than {ROWS_MAX} rows"))
}

/// A source without a row.
pub(crate) fn no_rows(place: &str) -> Fault {
    Fault::new(Code::DataEmpty, format!("{place}: there are no rows"))
}

/// Refuses columns to be taken as text that are not there.
///
/// # Errors
/// `data.column_unknown`.
pub(crate) fn check_text_columns(text: &[String], names: &[&str], place: &str) -> Result<(), Fault> {
    match text.iter().find(|text| !names.contains(&text.as_str())) {
        Some(text) => Err(Fault::new(Code::DataColumnUnknown, format!("{place}: {text:?}, given as text"))),
        None => Ok(()),
    }
}

/// Reads every record and shows the fields of each. The columns, and how many rows there are.
///
/// # Errors
/// Those of [`Records::next`] and of the guess at each column's kind; `data.column_unknown` in `text`, `data.empty`,
/// `data.too_large`.
pub(crate) fn survey<R: Read>(
    records: &mut Records<R>,
    text: &[String],
    mut each: impl FnMut(&mut dyn Iterator<Item = &str>),
) -> Result<(Vec<Inspected>, u64), Fault> {
    let header = records.header().to_vec();
    let file = records.file().to_owned();
    check_text_columns(text, &header.iter().map(String::as_str).collect::<Vec<_>>(), &file)?;
    let mut guesses: Vec<Guess> = header.iter().map(|name| Guess::new(text.contains(name))).collect();
    let mut rows = 0u64;
    while records.next()? {
        rows += 1;
        if rows > ROWS_MAX {
            return Err(too_many_rows(&file));
        }
        let place = records.place();
        for (i, guess) in guesses.iter_mut().enumerate() {
            guess.observe(records.field(i), place);
        }
        each(&mut (0..guesses.len()).map(|i| records.field(i)));
    }
    if rows == 0 {
        return Err(no_rows(&file));
    }
    let columns = header
        .into_iter()
        .zip(&guesses)
        .map(|(name, guess)| {
            let (kind, range) = guess.decide(&name, &file)?;
            Ok(Inspected { name, kind, nullable: guess.nulls > 0, range })
        })
        .collect::<Result<Vec<_>, Fault>>()?;
    Ok((columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Code {
        let read = Records::new(bytes, "t.csv".into()).and_then(|mut records| survey(&mut records, &[], |_| ()));
        read.map(|(columns, rows)| panic!("{rows} rows of {columns:?}")).unwrap_err().code
    }

    #[test]
    fn each_sort_of_bad_file_keeps_its_code() {
        let late = [b"x\n".as_slice(), &b"1\n".repeat(20), b"n/a\n"].concat();
        let cases: [(&[u8], Code); 17] = [
            (b"", Code::DataEmpty),
            (b"\xef\xbb\xbf", Code::DataEmpty),
            (b"a,b\n", Code::DataEmpty),
            (b"a,,c\n1,2,3\n", Code::DataHeaderMalformed),
            (b"a\x1b,b\n1,2\n", Code::DataHeaderMalformed),
            (b"a,b,a\n1,2,3\n", Code::DataHeaderDuplicate),
            (b"a,b\n1\n", Code::DataRowRagged),
            (b"a,b\n1,2,3\n", Code::DataRowRagged),
            (b"a,b\n1,\"2\n", Code::DataFileMalformed),
            (b"\"a,b\n1,2\n", Code::DataFileMalformed),
            (b"a,b\n1,\xff\n", Code::DataNotUtf8),
            (b"\xff\xfea\0,\0b\0\n\0", Code::DataNotUtf8),
            (b"x\n1.5\nNaN\n", Code::DataValueNotFinite),
            (b"x\n1\n-inf\n", Code::DataValueNotFinite),
            (b"x\n1e999\n", Code::DataValueNotFinite),
            (b"x\n9223372036854775808\n", Code::DataValueType),
            (&late, Code::DataValueType),
        ];
        for (bytes, expected) in cases {
            assert_eq!(code(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
