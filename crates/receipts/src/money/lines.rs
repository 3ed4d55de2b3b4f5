//! Exported rows as files of lines, and such files checked against the log: every line is made again from a leaf, so an
//! altered amount, a row of another log or one written twice shows, and so does a row that was left out.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault};

use super::export::{Cell, Context, Row, Table, rows};

/// How rows are written: each is one line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// JSON Lines.
    JsonLines,
    /// CSV (RFC 4180) with a header.
    Csv,
    /// A page with one table and no script.
    Html,
}

/// What stands before and after the rows of a page. Nothing of it depends on the rows.
const PAGE_HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
    <title>Tacit</title>\n\
    <style>body{font:13px sans-serif}table{border-collapse:collapse}th,td{border:1px solid #999;padding:2px 6px;\
    text-align:left;overflow-wrap:anywhere}thead{position:sticky;top:0;background:#eee}</style>\n\
    </head>\n<body>\n<table>\n";
const PAGE_TAIL: &str = "</tbody>\n</table>\n</body>\n</html>\n";

impl Table {
    /// Every table.
    pub const ALL: [Table; 4] = [Table::Usage, Table::Focus, Table::Shares, Table::Payments];

    /// What it is called.
    pub const fn word(self) -> &'static str {
        match self {
            Table::Usage => "usage",
            Table::Focus => "focus",
            Table::Shares => "shares",
            Table::Payments => "payments",
        }
    }
}

impl Format {
    /// The file of some rows of one table.
    pub fn file(self, table: Table, rows: &[Row]) -> String {
        let mut text = rows.first().map_or_else(|| self.head(table, None), |row| self.head(table, Some(row)));
        rows.iter().for_each(|row| text.push_str(&self.line(row)));
        text.push_str(self.tail());
        text
    }

    fn head(self, table: Table, row: Option<&Row>) -> String {
        match self {
            Format::JsonLines => String::new(),
            Format::Csv => row.map_or_else(String::new, Row::csv_header),
            Format::Html => {
                let mut text = format!("{PAGE_HEAD}<caption>{}</caption>\n<thead><tr>", table.word());
                for (column, _) in row.map_or(&[][..], |row| &row.cells) {
                    text.push_str(&format!("<th scope=\"col\">{column}</th>"));
                }
                text.push_str("</tr></thead>\n<tbody>\n");
                text
            }
        }
    }

    const fn tail(self) -> &'static str {
        match self {
            Format::JsonLines | Format::Csv => "",
            Format::Html => PAGE_TAIL,
        }
    }

    /// A row's line, with its end.
    pub fn line(self, row: &Row) -> String {
        match self {
            Format::JsonLines => row.json_line(),
            Format::Csv => row.csv_line(),
            Format::Html => {
                let mut text = String::from("<tr>");
                for (_, cell) in &row.cells {
                    let value = match cell {
                        Cell::Null => String::new(),
                        Cell::Number(value) | Cell::Text(value) => escaped(value),
                    };
                    text.push_str(&format!("<td>{value}</td>"));
                }
                text.push_str("</tr>\n");
                text
            }
        }
    }

    /// The format of a file, by how it begins.
    fn of(text: &str) -> Self {
        match text {
            _ if text.starts_with('{') => Format::JsonLines,
            _ if text.starts_with("<!doctype html>") => Format::Html,
            _ => Format::Csv,
        }
    }
}

/// Text without a character that HTML gives a meaning, on one line.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// What a check of a file found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Which table it has; none for an empty file.
    pub table: Option<Table>,
    /// Rows that the leaves give, each once.
    pub rows: u64,
    /// Rows of that table that the leaves give and the file does not have.
    pub left_out: u64,
}

/// Checks a file of rows against the leaves of a log.
///
/// # Errors
/// `log.proof`, naming the line, for one that no leaf gives or that is there twice, and when something stands around the
/// rows that does not belong there; what [`rows`] gives.
pub fn check<'a>(
    text: &str,
    leaves: impl Iterator<Item = (u64, &'a [u8])> + Clone,
    context: &Context<'_>,
) -> Result<Checked, Fault> {
    let format = Format::of(text);
    let mut first = None;
    for table in Table::ALL {
        let mut lines: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        let mut sample = None;
        for (index, leaf) in leaves.clone() {
            for row in rows(table, index, leaf, context)? {
                lines.insert(format.line(&row), (index, false));
                sample.get_or_insert(row);
            }
        }
        let frame = (format.head(table, sample.as_ref()), format.tail());
        match checked(text, &frame, &mut lines) {
            Ok(rows) => {
                let left_out = lines.values().filter(|(_, seen)| !seen).count() as u64;
                let table = (!text.is_empty() && (rows > 0 || format == Format::Html)).then_some(table);
                return Ok(Checked { table, rows, left_out: if table.is_some() { left_out } else { 0 } });
            }
            // The file is of the table of which the most lines were right.
            Err(wrong) if first.as_ref().is_none_or(|(right, _): &(u64, Fault)| wrong.0 > *right) => {
                first = Some(wrong)
            }
            Err(_) => {}
        }
    }
    Err(first.map_or_else(|| Fault::new(Code::LogProof, "no row of the log"), |(_, fault)| fault))
}

/// Counts the rows of a file that are all there once; else how many were right, and what was wrong then.
fn checked(
    text: &str,
    (head, tail): &(String, &str),
    lines: &mut BTreeMap<String, (u64, bool)>,
) -> Result<u64, (u64, Fault)> {
    let wrong = |right: u64, what: String| (right, Fault::new(Code::LogProof, what));
    if text.is_empty() {
        return Ok(0);
    }
    let body = text.strip_prefix(head.as_str()).and_then(|rest| rest.strip_suffix(tail));
    let body = body.ok_or_else(|| wrong(0, "the file does not begin and end as an export of this log does".into()))?;
    let (mut right, mut number) = (0u64, head.lines().count());
    for line in body.split_inclusive('\n') {
        number += 1;
        match lines.get_mut(line) {
            Some((_, seen)) if !*seen => *seen = true,
            Some((leaf, _)) => {
                return Err(wrong(right, format!("line {number}: the row of leaf {leaf} is there twice")));
            }
            None => return Err(wrong(right, format!("line {number}: no leaf gives this row"))),
        }
        right += 1;
    }
    Ok(right)
}
