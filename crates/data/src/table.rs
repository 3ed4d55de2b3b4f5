//! A table of texts and exact numbers as a Parquet file: rows for other tools, written and read back without a float.
//!
//! A value is given and taken as its text. Counts and decimals have one text each, so what is read is what was written.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef, UInt64Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::file::metadata::KeyValue;
use datafusion::parquet::file::properties::WriterProperties;
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Code, Fault};

/// Digits of a decimal: every 64-bit number of the smallest unit fits.
const PRECISION: u8 = 20;
/// Decimals behind the point.
pub const SCALE_MAX: u8 = 9;
/// The key of the file's metadata that names the table.
const NAMED: &str = "tacit.table";

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellKind {
    /// A text: `Utf8`.
    Text,
    /// A whole number from 0 to 2^64 - 1: `UInt64`.
    Count,
    /// A decimal with so many digits behind the point, at most [`SCALE_MAX`]: `Decimal128(20, scale)`.
    Decimal(u8),
}

/// A column of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: CellKind,
}

/// A row: a value for each column, or none.
pub type TableRow = Vec<Option<String>>;

fn internal(error: impl ToString) -> Fault {
    Fault::new(Code::Internal, error.to_string())
}

/// The number of smallest units that a decimal says, if it is written as [`decimal`] writes it.
fn units(text: &str, scale: u8) -> Option<i128> {
    let number: i128 = match scale {
        0 => text.parse().ok()?,
        _ => {
            let (whole, rest) = text.split_once('.')?;
            (rest.len() == usize::from(scale)).then_some(())?;
            format!("{whole}{rest}").parse().ok()?
        }
    };
    (decimal(number, scale) == text && number.unsigned_abs() < 10u128.pow(u32::from(PRECISION))).then_some(number)
}

/// A number of smallest units with its point: `-12.05`.
fn decimal(units: i128, scale: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let one = 10u128.pow(u32::from(scale.min(SCALE_MAX)));
    let (whole, rest) = (units.unsigned_abs() / one, units.unsigned_abs() % one);
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0>width$}", width = usize::from(scale)),
    }
}

impl CellKind {
    fn arrow(self) -> DataType {
        match self {
            CellKind::Text => DataType::Utf8,
            CellKind::Count => DataType::UInt64,
            CellKind::Decimal(scale) => DataType::Decimal128(PRECISION, i8::try_from(scale).unwrap_or(i8::MAX)),
        }
    }

    fn of(found: &DataType) -> Option<Self> {
        match found {
            DataType::Utf8 => Some(CellKind::Text),
            DataType::UInt64 => Some(CellKind::Count),
            DataType::Decimal128(PRECISION, scale) => {
                u8::try_from(*scale).ok().filter(|scale| *scale <= SCALE_MAX).map(CellKind::Decimal)
            }
            _ => None,
        }
    }

    /// The values of one column of some rows.
    fn array(self, at: usize, name: &str, rows: &[TableRow]) -> Result<ArrayRef, Fault> {
        let cells = rows.iter().map(|row| row.get(at).and_then(Option::as_deref));
        let wrong = |text: &str| Fault::new(Code::DataValueType, format!("column {name}: {text:?} is not {self:?}"));
        Ok(match self {
            CellKind::Text => Arc::new(cells.collect::<StringArray>()),
            CellKind::Count => {
                let number = |text: &str| {
                    let number = text.parse::<u64>().ok().filter(|n| n.to_string() == text);
                    number.ok_or_else(|| wrong(text))
                };
                Arc::new(cells.map(|c| c.map(number).transpose()).collect::<Result<UInt64Array, Fault>>()?)
            }
            CellKind::Decimal(scale) => {
                let number = |text: &str| units(text, scale).ok_or_else(|| wrong(text));
                let numbers = cells.map(|c| c.map(number).transpose()).collect::<Result<Decimal128Array, Fault>>()?;
                Arc::new(numbers.with_data_type(self.arrow()))
            }
        })
    }

    /// The text of a value.
    fn text(self, array: &ArrayRef, row: usize) -> Option<String> {
        if array.is_null(row) {
            return None;
        }
        Some(match self {
            CellKind::Text => array.as_string::<i32>().value(row).to_owned(),
            CellKind::Count => array.as_primitive::<UInt64Type>().value(row).to_string(),
            CellKind::Decimal(scale) => decimal(array.as_primitive::<Decimal128Type>().value(row), scale),
        })
    }
}

fn schema_of(columns: &[TableColumn]) -> Result<SchemaRef, Fault> {
    if let Some(column) = columns.iter().find(|c| matches!(c.kind, CellKind::Decimal(scale) if scale > SCALE_MAX)) {
        return Err(internal(format!("column {}: over {SCALE_MAX} digits behind the point", column.name)));
    }
    let field = |c: &TableColumn| Field::new(&c.name, c.kind.arrow(), true);
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())))
}

/// Writes rows as a Parquet file without compression; `BATCH_ROWS` of them are held at a time. Gives their number.
///
/// # Errors
/// `data.value_type` for a value that its column cannot hold to the digit; `internal` for a row of another width;
/// `io.failed`.
pub fn write_table(
    out: impl Write + Send,
    name: &str,
    columns: &[TableColumn],
    rows: impl IntoIterator<Item = TableRow>,
) -> Result<u64, Fault> {
    let failed = |e: datafusion::parquet::errors::ParquetError| Fault::new(Code::IoFailed, e.to_string());
    let schema = schema_of(columns)?;
    let named = vec![KeyValue::new(NAMED.to_owned(), name.to_owned())];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(named)).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(out, schema.clone(), options).map_err(failed)?;
    let mut count = 0u64;
    let mut rows = rows.into_iter();
    loop {
        let batch: Vec<TableRow> = rows.by_ref().take(BATCH_ROWS).collect();
        if let Some(row) = batch.iter().find(|row| row.len() != columns.len()) {
            return Err(internal(format!("a row of {} values for {} columns", row.len(), columns.len())));
        }
        if batch.is_empty() {
            writer.close().map_err(failed)?;
            return Ok(count);
        }
        count += batch.len() as u64;
        let arrays = columns.iter().enumerate().map(|(at, c)| c.kind.array(at, &c.name, &batch));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(internal)?;
        writer.write(&batch).map_err(failed)?;
    }
}

/// A file of [`write_table`], whose rows are still to be read.
pub struct TableFile {
    /// The name of the table.
    pub name: String,
    /// Its columns.
    pub columns: Vec<TableColumn>,
    builder: ParquetRecordBatchReaderBuilder<File>,
    place: String,
}

impl TableFile {
    /// Opens a file and reads what its columns are.
    ///
    /// # Errors
    /// `data.file_absent`; `data.file_malformed` for one that [`write_table`] does not write.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        // What arrow writes of its own schema is passed over: the types of Parquet say all of it.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = crate::parquet::builder_with(path, options)?;
        let place = path.display().to_string();
        let wrong = |what: &str| Fault::new(Code::DataFileMalformed, format!("{place}: {what}"));
        let notes = builder.metadata().file_metadata().key_value_metadata();
        let name = notes.and_then(|all| all.iter().find(|n| n.key == NAMED)).and_then(|n| n.value.clone());
        let name = name.ok_or_else(|| wrong("it does not say of which table its rows are"))?;
        let column = |field: &arrow::datatypes::FieldRef| {
            let kind = CellKind::of(field.data_type());
            let kind = kind.ok_or_else(|| wrong(&format!("column {:?} is {}", field.name(), field.data_type())))?;
            Ok(TableColumn { name: field.name().clone(), kind })
        };
        let columns = builder.schema().fields().iter().map(column).collect::<Result<Vec<_>, Fault>>()?;
        Ok(Self { name, columns, builder, place })
    }

    /// Reads the rows in order, `BATCH_ROWS` at a time.
    ///
    /// # Errors
    /// `data.file_malformed`, naming the row; what `take` gives.
    pub fn rows(self, mut take: impl FnMut(TableRow) -> Result<(), Fault>) -> Result<u64, Fault> {
        let Self { columns, builder, place, .. } = self;
        let damaged = |rows: u64| Fault::new(Code::DataFileMalformed, format!("{place}: damaged after row {rows}"));
        let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|_| damaged(0))?;
        let mut read = 0u64;
        for batch in reader {
            let batch = batch.map_err(|_| damaged(read))?;
            for row in 0..batch.num_rows() {
                take(columns.iter().zip(batch.columns()).map(|(c, array)| c.kind.text(array, row)).collect())?;
                read += 1;
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: CellKind) -> TableColumn {
        TableColumn { name: name.into(), kind }
    }

    fn columns() -> Vec<TableColumn> {
        vec![
            column("Who", CellKind::Text),
            column("Count", CellKind::Count),
            column("Cost", CellKind::Decimal(2)),
            column("Price", CellKind::Decimal(6)),
        ]
    }

    fn row(cells: [Option<&str>; 4]) -> TableRow {
        cells.map(|cell| cell.map(str::to_owned)).to_vec()
    }

    fn written(rows: Vec<TableRow>) -> Result<(tempfile::NamedTempFile, u64), Fault> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let count = write_table(file.reopen().unwrap(), "focus", &columns(), rows)?;
        Ok((file, count))
    }

    fn back(path: &Path) -> Result<Vec<TableRow>, Fault> {
        let mut rows = Vec::new();
        TableFile::open(path)?.rows(|row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    #[test]
    fn what_is_read_is_what_was_written_to_the_digit() {
        let largest = u64::MAX.to_string();
        let rows = vec![
            row([Some("银行"), Some("0"), Some("-0.05"), Some("0.000001")]),
            row([None, None, None, None]),
            row([Some(""), Some(&largest), Some("-92233720368547758.08"), Some("1000000000.000000")]),
            row([Some("a,\"b\"\n"), Some("7"), Some("0.00"), Some("12.050000")]),
        ];
        let (file, count) = written(rows.clone()).unwrap();
        assert_eq!(count, 4);
        let opened = TableFile::open(file.path()).unwrap();
        assert_eq!((opened.name.as_str(), &opened.columns), ("focus", &columns()));
        assert_eq!(back(file.path()).unwrap(), rows);
    }

    #[test]
    fn batches_keep_their_order_and_an_empty_table_has_its_columns() {
        let line = |n: usize| row([Some("x"), Some(&n.to_string()), None, None]);
        let rows: Vec<TableRow> = (0..2 * BATCH_ROWS + 3).map(line).collect();
        let (file, count) = written(rows.clone()).unwrap();
        assert_eq!(count, rows.len() as u64);
        assert_eq!(back(file.path()).unwrap(), rows);
        let (file, count) = written(Vec::new()).unwrap();
        assert_eq!((count, back(file.path()).unwrap().len()), (0, 0));
        assert_eq!(TableFile::open(file.path()).unwrap().columns, columns());
    }

    #[test]
    fn what_would_lose_a_digit_is_refused() {
        for (count, cost) in [
            (Some("-1"), None),
            (Some("01"), None),
            (Some("18446744073709551616"), None),
            (None, Some("1.5")),
            (None, Some("1.005")),
            (None, Some("1")),
            (None, Some("-0.00")),
            (None, Some("1e3.00")),
            (None, Some("1000000000000000000.00")),
        ] {
            let fault = written(vec![row([None, count, cost, None])]).map(|_| ()).unwrap_err();
            assert_eq!(fault.code, Code::DataValueType, "{count:?} {cost:?}");
        }
        assert!(written(vec![row([None, None, Some("999999999999999999.99"), None])]).is_ok());
        let short = write_table(Vec::new(), "x", &columns(), vec![vec![None]]).unwrap_err();
        assert_eq!(short.code, Code::Internal);
        let wide = [column("x", CellKind::Decimal(SCALE_MAX + 1))];
        assert_eq!(write_table(Vec::new(), "x", &wide, Vec::new()).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_refused_and_altered_bytes_never_panic() {
        let (file, _) = written((0..50).map(|n| row([Some("x"), Some(&n.to_string()), None, None])).collect()).unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        let other = tempfile::NamedTempFile::new().unwrap();
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            std::fs::write(other.path(), &changed).unwrap();
            let _ = back(other.path());
            std::fs::write(other.path(), &bytes[..at]).unwrap();
            assert!(back(other.path()).is_err(), "cut at {at}");
        }
    }
}
