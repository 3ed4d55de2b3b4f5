//! One strict pass over a whole source: its columns, its rows, and the commitment to its content.

use std::path::Path;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::error::DataFusionError;
use serde::{Deserialize, Serialize};
use tacit_types::limits::ROWS_MAX;
use tacit_types::{Code, Fault};

use crate::commit::Commitment;
use crate::config::Sources;
use crate::fault::from_datafusion;
use crate::kind::{ColumnDef, Kind, usable};
pub use crate::plain::{Inspected, Range};
use crate::plain::{check_text_columns, no_rows, survey, too_many_rows};
use crate::postgres::Order;
use crate::scan::{Scan, Sink, blocking};
use crate::source::Source;

/// How to read a source.
#[derive(Clone)]
pub struct Options {
    /// Columns to be taken as text whatever they hold (`--text COLUMN`): numbers that are names, such as a
    /// postal code with a leading zero.
    pub text_columns: Vec<String>,
    /// The owner's 32 secret bytes for the commitment. Without them the rows could be guessed and checked.
    pub salt: [u8; 32],
}

/// What is known of a source after [`inspect`]. It stays with the owner and has no `Serialize`;
/// [`Inspection::public`] gives what may leave.
#[derive(Clone, PartialEq, Debug)]
pub struct Inspection {
    /// The columns in the order of the source.
    pub columns: Vec<Inspected>,
    /// The exact number of rows, at least 1.
    pub rows: u64,
    /// The size of the file; `None` for a database.
    pub bytes: Option<u64>,
    /// The commitment to every row, as [`crate::commit`] defines it (BLAKE3 Merkle tree over keyed leaves).
    pub commitment: [u8; 32],
}

/// What may be published of a dataset.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    /// Names and kinds.
    pub columns: Vec<ColumnDef>,
    /// The least power of two that is not below the number of rows.
    pub row_bucket: u64,
    /// The commitment.
    pub commitment: [u8; 32],
}

impl Inspection {
    /// Names and kinds.
    pub fn defs(&self) -> Vec<ColumnDef> {
        self.columns.iter().map(|c| ColumnDef::new(&c.name, c.kind)).collect()
    }

    /// The only count that is published: the least power of two that is not below the number of rows.
    pub fn row_bucket(&self) -> u64 {
        self.rows.next_power_of_two()
    }

    /// What may leave the node.
    pub fn public(&self) -> Public {
        Public { columns: self.defs(), row_bucket: self.row_bucket(), commitment: self.commitment }
    }
}

/// Reads the whole source once, in bounded memory, and checks every row.
///
/// A CSV column is of whole numbers when every value is one of 64 bits, else of floating point when every value
/// is a finite number, else text; when at least 95 of 100 values are numbers and others are not, the first
/// other is refused instead. An empty field is NULL.
///
/// # Errors
/// `data.file_absent`, `data.file_malformed`, `data.empty`, `data.header_malformed`, `data.header_duplicate`,
/// `data.row_ragged`, `data.line_too_long`, `data.not_utf8`, `data.value_type`, `data.value_not_finite`,
/// `data.column_type`, `data.column_unknown` (in `text_columns`), `data.too_large` (over [`ROWS_MAX`] rows);
/// for a table also `data.source_unknown`, `data.source_unreachable`, `data.table_absent` and `config.malformed`.
pub async fn inspect(source: &Source, options: &Options, sources: &Sources) -> Result<Inspection, Fault> {
    match source {
        Source::Csv { path } => {
            let (path, options) = (path.clone(), options.clone());
            blocking(move || inspect_csv(&path, &options)).await
        }
        Source::Parquet { .. } | Source::Postgres { .. } => {
            inspect_typed(source, Scan::new(source, sources)?, options).await
        }
    }
}

fn inspect_csv(path: &Path, options: &Options) -> Result<Inspection, Fault> {
    let mut records = crate::csv::open(path)?;
    let mut commitment = Commitment::new(&options.salt);
    let (columns, rows) = survey(&mut records, &options.text_columns, |fields| {
        for field in fields {
            if field.is_empty() { commitment.null() } else { commitment.text(field) }
        }
        commitment.end_row();
    })?;
    finish(columns, rows, path.metadata().ok().map(|m| m.len()), commitment)
}

fn finish(columns: Vec<Inspected>, rows: u64, bytes: Option<u64>, commitment: Commitment) -> Result<Inspection, Fault> {
    let defs: Vec<ColumnDef> = columns.iter().map(|c| ColumnDef::new(&c.name, c.kind)).collect();
    Ok(Inspection { columns, rows, bytes, commitment: commitment.finish(&defs) })
}

async fn inspect_typed(source: &Source, scan: Scan, options: &Options) -> Result<Inspection, Fault> {
    let place = source.to_string();
    let mut columns = usable(&scan.columns().await?, &place)?;
    check_text_columns(&options.text_columns, &columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), &place)?;
    for column in columns.iter_mut().filter(|c| options.text_columns.contains(&c.name)) {
        column.kind = Kind::Text;
    }
    let bytes = match source {
        Source::Parquet { path } => path.metadata().ok().map(|m| m.len()),
        _ => None,
    };
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch, DataFusionError>>(2);
    let mut tally = Tally::new(&columns, &options.salt);
    let consumer = blocking(move || {
        while let Some(item) = receiver.blocking_recv() {
            let batch = item.map_err(|e| from_datafusion(&e, Code::DataQueryFailed, &place))?;
            tally.absorb(&batch);
            if tally.rows > ROWS_MAX {
                return Err(too_many_rows(&place));
            }
        }
        if tally.rows == 0 { Err(no_rows(&place)) } else { Ok(tally) }
    });
    let ((), tally) = tokio::join!(scan.read(columns, Order::Canonical, Sink::new(sender)), consumer);
    let tally = tally?;
    finish(tally.columns, tally.rows, bytes, tally.commitment)
}

/// What batches of known kinds add up to.
struct Tally {
    columns: Vec<Inspected>,
    rows: u64,
    commitment: Commitment,
}

/// The values of one column of a batch.
enum Cells<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Text(&'a StringArray),
}

impl Tally {
    fn new(columns: &[ColumnDef], salt: &[u8; 32]) -> Self {
        let inspected = |c: &ColumnDef| Inspected { name: c.name.clone(), kind: c.kind, nullable: false, range: None };
        Self { columns: columns.iter().map(inspected).collect(), rows: 0, commitment: Commitment::new(salt) }
    }

    fn absorb(&mut self, batch: &RecordBatch) {
        let mut cells = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.nullable |= array.null_count() > 0;
            cells.push(match column.kind {
                Kind::Int => Cells::Int(array.as_primitive::<Int64Type>()),
                Kind::Float => Cells::Float(array.as_primitive::<Float64Type>()),
                Kind::Text => Cells::Text(array.as_string::<i32>()),
            });
        }
        for (column, cells) in self.columns.iter_mut().zip(&cells) {
            column.range = widen(column.range, cells);
        }
        for row in 0..batch.num_rows() {
            for cells in &cells {
                match cells {
                    Cells::Int(a) if a.is_valid(row) => self.commitment.int(a.value(row)),
                    Cells::Float(a) if a.is_valid(row) => self.commitment.float(a.value(row)),
                    Cells::Text(a) if a.is_valid(row) => self.commitment.text(a.value(row)),
                    _ => self.commitment.null(),
                }
            }
            self.commitment.end_row();
        }
        self.rows += batch.num_rows() as u64;
    }
}

fn widen(range: Option<Range>, cells: &Cells<'_>) -> Option<Range> {
    match (cells, range) {
        (Cells::Int(array), old) => {
            let (Some(low), Some(high)) = (arrow::compute::min(array), arrow::compute::max(array)) else { return old };
            Some(match old {
                Some(Range::Int { min, max }) => Range::Int { min: min.min(low), max: max.max(high) },
                _ => Range::Int { min: low, max: high },
            })
        }
        (Cells::Float(array), old) => {
            let (Some(low), Some(high)) = (arrow::compute::min(array), arrow::compute::max(array)) else { return old };
            Some(match old {
                Some(Range::Float { min, max }) => Range::Float { min: min.min(low), max: max.max(high) },
                _ => Range::Float { min: low, max: high },
            })
        }
        (Cells::Text(_), _) => None,
    }
}
