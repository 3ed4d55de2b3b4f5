//! CSV files as owners have them: whatever the bytes, one clear code or rows that are read alike again.

use std::io::Read;

use tacit_types::{Code, Fault};

/// The reader's own files, without the arrays around them.
#[path = "../../crates/data/src/plain/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what the crate around them uses")]
mod plain;

use plain::{Inspected, Kind, Range, Records, Value, survey, value};

/// What a malformed file may be refused with.
const CODES: [Code; 10] = [
    Code::DataEmpty,
    Code::DataHeaderMalformed,
    Code::DataHeaderDuplicate,
    Code::DataRowRagged,
    Code::DataLineTooLong,
    Code::DataNotUtf8,
    Code::DataFileMalformed,
    Code::DataValueType,
    Code::DataValueNotFinite,
    Code::DataTooLarge,
];

/// A file that comes a few bytes at a time.
struct Pieces<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.step.min(out.len()).min(self.rest.len());
        let (now, rest) = self.rest.split_at(n);
        out[..n].copy_from_slice(now);
        self.rest = rest;
        Ok(n)
    }
}

type Rows = Vec<Vec<String>>;

fn read(input: impl Read, text: bool) -> Result<(Vec<Inspected>, Rows), Fault> {
    let mut records = Records::new(input, "f.csv".into())?;
    let names = if text { records.header().to_vec() } else { Vec::new() };
    let mut rows = Rows::new();
    let (columns, count) = survey(&mut records, &names, |fields| rows.push(fields.map(str::to_owned).collect()))?;
    assert_eq!(count, rows.len() as u64);
    Ok((columns, rows))
}

/// How many bytes come at a time changes nothing; a refusal has one of the codes; what a column's kind was found
/// to be holds each of its values; rows written with quotes are the same rows.
pub fn inspect(bytes: &[u8]) {
    let whole = read(bytes, false);
    for step in [1, 3] {
        assert_eq!(read(Pieces { rest: bytes, step }, false), whole);
    }
    let (columns, rows) = match whole {
        Ok(found) => found,
        Err(fault) => return assert!(CODES.contains(&fault.code), "{fault}"),
    };
    assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == columns.len()));
    for (i, column) in columns.iter().enumerate() {
        let fields = || rows.iter().map(|row| row[i].as_str());
        assert_eq!(column.nullable, fields().any(str::is_empty));
        for field in fields() {
            let value = value(column.kind, field)
                .unwrap_or_else(|(code, _)| panic!("{field:?} is no {:?}: {code}", column.kind));
            assert_eq!(value.is_none(), field.is_empty());
            let within = match (value, column.range) {
                (Some(Value::Int(x)), Some(Range::Int { min, max })) => min <= x && x <= max,
                (Some(Value::Float(x)), Some(Range::Float { min, max })) => x.is_finite() && min <= x && x <= max,
                (Some(Value::Int(_) | Value::Float(_)), _) => false,
                _ => true,
            };
            assert!(within, "{field:?} is outside {:?}", column.range);
        }
    }
    let header: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let (texts, again) = read(written(&header, &rows).as_slice(), true).expect("quoted text is read");
    assert!(texts.iter().all(|c| c.kind == Kind::Text) && texts.iter().map(|c| &c.name).eq(&header));
    assert_eq!(again, rows);
}

fn written(header: &[String], rows: &Rows) -> Vec<u8> {
    let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
    let line = |row: &[String]| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
    std::iter::once(header).chain(rows.iter().map(Vec::as_slice)).map(line).collect::<String>().into_bytes()
}

/// Good files and one of each sort of bad ones.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 22] = [
        b"id,amount,note\n1,2.5,\"a, \"\"b\"\"\"\n2,,x\n",
        b"\xef\xbb\xbfa,b\r\n\"x\r\ny\",1\r\n\r\n,2\r",
        b"n\n9223372036854775807\n-9223372036854775808\n",
        b"x\n1e3\n.5\n-0.0\n",
        b"",
        b"a,b\n",
        b"a,,c\n1,2,3\n",
        b"a\x1b,b\n1,2\n",
        b"a,a\n1,2\n",
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b"a,b\n1,\"2\n",
        b"a,b\n1,\xff\n",
        b"a,b\n\xc3,\xa9\n",
        b"\xff\xfea\0,\0b\0\n\0",
        b"x\n1.5\nNaN\n",
        b"x\n1\ninf\n",
        b"x\n1e999\n",
        b"x\n9223372036854775808\n",
        b"x\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\nn/a\n",
        b"\"a\"\"b\",c\n\"\",\"\"\n",
        b"a\n\"1\"2\n\"x\"y\"\n",
    ];
    texts.map(<[u8]>::to_vec).into()
}
