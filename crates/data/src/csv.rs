//! CSV files as batches of their registered columns. What reads the bytes is in [`crate::plain`].

use std::fs::File;
use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Code, Fault};

use crate::builder::{BATCH_TEXT_BYTES, Builder};
use crate::kind::{ColumnDef, schema_of};
use crate::plain::{Records, Value, value};

/// Opens a file and reads its header.
///
/// # Errors
/// `data.file_absent`, `data.empty` and those of the header.
pub(crate) fn open(path: &Path) -> Result<Records<File>, Fault> {
    let file = crate::source::open_file(path)?;
    Records::new(file, path.display().to_string())
}

/// The chosen columns of a CSV file, batch by batch.
pub(crate) struct CsvBatches {
    records: Records<File>,
    columns: Vec<ColumnDef>,
    positions: Vec<usize>,
    schema: SchemaRef,
}

impl CsvBatches {
    /// Opens the file for those columns.
    ///
    /// # Errors
    /// Those of [`open`]; `data.changed` when a column is gone.
    pub(crate) fn open(path: &Path, columns: &[ColumnDef]) -> Result<Self, Fault> {
        let records = open(path)?;
        let positions = columns
            .iter()
            .map(|c| {
                records.header().iter().position(|name| *name == c.name).ok_or_else(|| {
                    Fault::new(Code::DataChanged, format!("{}: column {:?} is gone", records.file(), c.name))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { records, columns: columns.to_vec(), positions, schema: schema_of(columns) })
    }

    /// The next batch of 1 to [`BATCH_ROWS`] rows; `None` at the end.
    ///
    /// # Errors
    /// Those of [`Records::next`]; `data.value_type` and `data.value_not_finite` for a value that its column's
    /// registered kind does not hold.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let mut builders: Vec<Builder> = self.columns.iter().map(|c| Builder::new(c.kind)).collect();
        let (mut rows, mut text_bytes) = (0usize, 0usize);
        while rows < BATCH_ROWS && text_bytes < BATCH_TEXT_BYTES && self.records.next()? {
            rows += 1;
            for ((builder, position), column) in builders.iter_mut().zip(&self.positions).zip(&self.columns) {
                let field = self.records.field(*position);
                text_bytes += field.len();
                match value(column.kind, field) {
                    Ok(value) => push(builder, value),
                    Err((code, why)) => {
                        return Err(self.records.fault(code, &format!("column {:?}{why}", column.name)));
                    }
                }
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> = builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options);
        batch.map(Some).map_err(|e| Fault::new(Code::Internal, e.to_string()))
    }
}

/// Appends a value of the column's kind.
fn push(builder: &mut Builder, value: Option<Value<'_>>) {
    match (builder, value) {
        (Builder::Int(b), Some(Value::Int(value))) => b.append_value(value),
        (Builder::Float(b), Some(Value::Float(value))) => b.append_value(value),
        (Builder::Text(b), Some(Value::Text(value))) => b.append_value(value),
        // proof: a value is of its column's kind, and so is the builder; what is left has no value.
        (Builder::Int(b), _) => b.append_null(),
        (Builder::Float(b), _) => b.append_null(),
        (Builder::Text(b), _) => b.append_null(),
    }
}
