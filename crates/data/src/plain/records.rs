//! Strict, streaming reading of CSV: RFC 4180, UTF-8, one header line, bounded memory.
//!
//! Lines end with LF, CRLF or CR; blank lines are skipped; a UTF-8 byte order mark before the header is skipped.
//! An empty field is NULL, quoted or not. The splitting is that of `csv-core`; everything that would be silently
//! repaired there (a ragged row, an unclosed quote, bytes that are not UTF-8) is refused here.

use std::io::Read;

use csv_core::ReadRecordResult;
use tacit_types::limits::{COLUMNS_MAX, CSV_LINE_BYTES_MAX};
use tacit_types::{Code, Fault};

use super::columns::check_header;
use super::infer::Place;

/// Bytes read from the file at a time.
const READ_BYTES: usize = 64 << 10;

/// The records of a CSV file, one at a time.
pub(crate) struct Records<R> {
    input: R,
    file: String,
    header: Vec<String>,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
    parser: csv_core::Reader,
    /// The fields of the current record, one after another.
    text: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    row: u64,
    /// The line at which the current record begins, and the one on which the reader stands.
    record_line: u64,
    line: u64,
}

impl<R: Read> Records<R> {
    /// Reads the header.
    pub(crate) fn new(input: R, file: String) -> Result<Self, Fault> {
        let mut records = Self {
            input,
            file,
            header: Vec::new(),
            buffer: vec![0; READ_BYTES],
            at: 0,
            filled: 0,
            ended: false,
            parser: csv_core::Reader::new(),
            text: vec![0; 4096],
            ends: vec![0; COLUMNS_MAX + 1],
            fields: 0,
            row: 0,
            record_line: 1,
            line: 1,
        };
        // why: the parser would skip another mark at its own beginning, when it gets it in one piece.
        let _ = records.parser.read_record(b"\n", &mut records.text, &mut records.ends);
        records.skip_byte_order_mark()?;
        if !records.read_record()? {
            return Err(Fault::new(Code::DataEmpty, format!("{}: the file is empty", records.file)));
        }
        let header: Vec<String> = (0..records.fields).map(|i| records.field(i).to_owned()).collect();
        let place = format!("{}: line {}", records.file, records.record_line);
        check_header(header.iter().map(String::as_str), &place)?;
        records.header = header;
        Ok(records)
    }

    /// The column names.
    pub(crate) fn header(&self) -> &[String] {
        &self.header
    }

    /// The file's name for messages.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Where the current record stands.
    pub(crate) fn place(&self) -> Place {
        Place { row: self.row, line: self.record_line }
    }

    /// The text of field `i` of the current record; empty past the last.
    pub(crate) fn field(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends.get(i - 1).copied().unwrap_or(0) };
        let end = self.ends.get(i).copied().unwrap_or(0);
        // proof: `check_utf8` has seen every field of the record; the fallback is never taken.
        self.text.get(start..end).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Moves to the next record; `false` at the end of the file.
    ///
    /// # Errors
    /// `data.row_ragged`, `data.line_too_long`, `data.not_utf8`, `data.file_malformed` (a quote that is never
    /// closed), `io.failed`.
    pub(crate) fn next(&mut self) -> Result<bool, Fault> {
        self.row += 1;
        if !self.read_record()? {
            return Ok(false);
        }
        if self.fields != self.header.len() {
            let what = format!("{} fields; the header has {}", self.fields, self.header.len());
            return Err(self.fault(Code::DataRowRagged, &what));
        }
        Ok(true)
    }

    /// A fault at the current record.
    pub(crate) fn fault(&self, code: Code, what: &str) -> Fault {
        let row = if self.header.is_empty() { "the header".to_owned() } else { format!("row {}", self.row) };
        Fault::new(code, format!("{}: {row}, line {}: {what}", self.file, self.record_line))
    }

    fn fill(&mut self) -> Result<(), Fault> {
        if self.at < self.filled || self.ended {
            return Ok(());
        }
        let read = loop {
            match self.input.read(&mut self.buffer) {
                Ok(read) => break read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::new(Code::IoFailed, format!("{}: {}", self.file, e.kind()))),
            }
        };
        (self.at, self.filled, self.ended) = (0, read, read == 0);
        Ok(())
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), Fault> {
        // why: a short first read may hold less than the mark, so it is gathered.
        let mut head = Vec::new();
        while head.len() < 3 && !self.ended {
            self.fill()?;
            head.extend_from_slice(self.buffer.get(self.at..self.filled).unwrap_or_default());
            self.at = self.filled;
        }
        self.at = if head.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.filled = head.len();
        head.resize(head.len().max(READ_BYTES), 0);
        self.buffer = head;
        self.ended = false;
        Ok(())
    }

    fn skip_blank_lines(&mut self) -> Result<(), Fault> {
        loop {
            self.fill()?;
            while let Some(byte @ (b'\n' | b'\r')) = self.buffer.get(self.at).filter(|_| self.at < self.filled) {
                self.line += u64::from(*byte == b'\n');
                self.at += 1;
            }
            if self.at < self.filled || self.ended {
                return Ok(());
            }
        }
    }

    fn read_record(&mut self) -> Result<bool, Fault> {
        self.skip_blank_lines()?;
        self.record_line = self.line;
        if self.ended {
            return Ok(false);
        }
        let (mut written, mut fields) = (0usize, 0usize);
        loop {
            self.fill()?;
            let ended = self.ended;
            // why: a line feed at the end closes a last line that lacks one, and is kept as data only by a quote
            // that is still open, which is how that is told apart.
            let input = if ended { b"\n" } else { self.buffer.get(self.at..self.filled).unwrap_or_default() };
            let text = self.text.get_mut(written..).unwrap_or_default();
            let ends = self.ends.get_mut(fields..).unwrap_or_default();
            let (result, read, wrote, ended_fields) = self.parser.read_record(input, text, ends);
            self.line += input.iter().take(read).filter(|b| **b == b'\n').count() as u64;
            self.at += if ended { 0 } else { read };
            written += wrote;
            fields += ended_fields;
            match result {
                ReadRecordResult::Record => break,
                ReadRecordResult::InputEmpty if ended => {
                    return Err(self.fault(Code::DataFileMalformed, "a quote is never closed"));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow()?,
                ReadRecordResult::OutputEndsFull if self.header.is_empty() => {
                    return Err(self.fault(Code::DataTooLarge, &format!("more than {COLUMNS_MAX} columns")));
                }
                ReadRecordResult::OutputEndsFull => {
                    let what = format!("more than {COLUMNS_MAX} fields; the header has {}", self.header.len());
                    return Err(self.fault(Code::DataRowRagged, &what));
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
        self.fields = fields;
        self.check_utf8(written)?;
        Ok(true)
    }

    fn grow(&mut self) -> Result<(), Fault> {
        // why: the parser asks for room even when only the line's end is left, hence the one byte more.
        if self.text.len() > CSV_LINE_BYTES_MAX {
            let what = format!("more than {} MiB without an end", CSV_LINE_BYTES_MAX >> 20);
            return Err(self.fault(Code::DataLineTooLong, &what));
        }
        self.text.resize((self.text.len() * 2).min(CSV_LINE_BYTES_MAX + 1), 0);
        Ok(())
    }

    fn check_utf8(&self, written: usize) -> Result<(), Fault> {
        let whole = std::str::from_utf8(self.text.get(..written).unwrap_or_default());
        let ends = self.ends.get(..self.fields).unwrap_or_default();
        // why: two halves of a character in neighbouring fields would look whole when the fields are joined.
        if whole.is_ok_and(|text| text.is_ascii() || ends.iter().all(|end| text.is_char_boundary(*end))) {
            return Ok(());
        }
        let mut start = 0;
        for (i, end) in ends.iter().enumerate() {
            if let Err(e) = std::str::from_utf8(self.text.get(start..*end).unwrap_or_default()) {
                return Err(self.fault(Code::DataNotUtf8, &format!("field {}, byte {}", i + 1, e.valid_up_to() + 1)));
            }
            start = *end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Vec<String>>, Fault> {
        let mut records = Records::new(bytes, "t.csv".into())?;
        let mut rows = vec![records.header().to_vec()];
        while records.next()? {
            rows.push((0..records.header().len()).map(|i| records.field(i).to_owned()).collect());
        }
        Ok(rows)
    }

    fn refused(bytes: &[u8]) -> (Code, String) {
        let fault = read(bytes).unwrap_err();
        (fault.code, fault.what)
    }

    #[test]
    fn quotes_line_ends_and_marks_are_read_as_rfc_4180_says() {
        let rows = read(b"\xef\xbb\xbfa,b\r\n\"x,\"\"y\"\"\r\nz\",2\n\n,\"\"\r3,last").unwrap();
        assert_eq!(rows, [["a", "b"], ["x,\"y\"\r\nz", "2"], ["", ""], ["3", "last"]]);
    }

    #[test]
    fn a_reader_that_gives_one_byte_at_a_time_changes_nothing() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let n = self.0.len().min(1);
                out[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let marks = ["\n\u{feff}a\nb", "\u{feff}\u{feff}a\nb", "\u{feff}\"\u{feff}a\"\nb"];
        for text in ["\u{feff}é,b\n1,\"2\n3\"\n", "a\n", "a", "\u{feff}a\nb"].into_iter().chain(marks) {
            let mut records = Records::new(Slow(text.as_bytes()), "t.csv".into()).unwrap();
            let whole = read(text.as_bytes()).unwrap();
            assert_eq!(records.header(), whole[0]);
            for row in &whole[1..] {
                assert!(records.next().unwrap());
                assert_eq!((0..row.len()).map(|i| records.field(i).to_owned()).collect::<Vec<_>>(), *row);
            }
            assert!(!records.next().unwrap());
        }
    }

    #[test]
    fn what_is_ragged_cut_or_not_utf8_is_named_by_row_and_line() {
        let (code, what) = refused(b"a,b\n1,\"x\ny\"\n\n3\n");
        assert_eq!(code, Code::DataRowRagged);
        assert!(what.contains("row 2, line 5: 1 fields; the header has 2"), "{what}");
        assert_eq!(refused(b"a,b\n1,2,3\n").0, Code::DataRowRagged);
        let (code, what) = refused(b"a,b\n1,2\n3,\"4\n5,6\n");
        assert_eq!(code, Code::DataFileMalformed);
        assert!(what.contains("row 2, line 3: a quote is never closed"), "{what}");
        let (code, what) = refused(b"a,b\n1,x\xff\n");
        assert_eq!(code, Code::DataNotUtf8);
        assert!(what.contains("row 1, line 2: field 2, byte 2"), "{what}");
        // Two halves of one character in neighbouring fields.
        assert_eq!(refused(b"a,b\n\xc3,\xa9\n").0, Code::DataNotUtf8);
        assert_eq!(refused("a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice()).0, {
            // UTF-16 without a mark is ASCII with zero bytes between: control characters in a name.
            Code::DataHeaderMalformed
        });
        assert_eq!(refused(b"\xff\xfea\0,\0b\0\n\0").0, Code::DataNotUtf8);
    }

    #[test]
    fn nothing_but_line_ends_is_empty() {
        for text in [&b""[..], b"\n\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"] {
            assert_eq!(refused(text).0, Code::DataEmpty);
        }
    }

    #[test]
    fn a_line_may_have_16_mib_and_not_a_byte_more() {
        let with = |n: usize| [b"a\n".as_slice(), &vec![b'x'; n], b"\n"].concat();
        assert_eq!(read(&with(CSV_LINE_BYTES_MAX)).unwrap()[1][0].len(), CSV_LINE_BYTES_MAX);
        assert_eq!(refused(&with(CSV_LINE_BYTES_MAX + 1)).0, Code::DataLineTooLong);
    }

    #[test]
    fn a_line_without_an_end_is_given_up_early_and_in_bounded_memory() {
        /// A file that never ends, and counts what is taken of it.
        struct Endless(usize, &'static [u8]);
        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                for (i, byte) in out.iter_mut().enumerate() {
                    *byte = self.1.get(self.0 + i).copied().unwrap_or(b'y');
                }
                self.0 += out.len();
                Ok(out.len())
            }
        }
        for start in [&b"a,b\n1,"[..], b"a,b\n1,\"", b""] {
            let mut input = Endless(0, start);
            let outcome = Records::new(&mut input, "t.csv".into()).and_then(|mut records| {
                let outcome = records.next();
                assert!(records.text.capacity() <= 2 * CSV_LINE_BYTES_MAX);
                outcome
            });
            assert_eq!(outcome.unwrap_err().code, Code::DataLineTooLong);
            assert!(input.0 <= CSV_LINE_BYTES_MAX + 2 * READ_BYTES, "{} bytes were read", input.0);
        }
    }

    #[test]
    fn columns_are_bounded() {
        let line = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
        assert!(read(format!("{}\n", line(COLUMNS_MAX)).as_bytes()).is_ok());
        for n in [COLUMNS_MAX + 1, COLUMNS_MAX + 2, 3 * COLUMNS_MAX] {
            assert_eq!(refused(line(n).as_bytes()).0, Code::DataTooLarge, "{n}");
            assert_eq!(refused(format!("a,b\n{}\n", line(n)).as_bytes()).0, Code::DataRowRagged, "{n}");
        }
    }
}
