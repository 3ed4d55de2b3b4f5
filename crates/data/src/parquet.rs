//! Reading a Parquet file, batch by batch.

use std::fs::File;
use std::path::Path;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use tacit_types::limits::BATCH_ROWS;
use tacit_types::{Code, Fault};

use crate::kind::{ColumnDef, Found, Kind, check_header, normalise, schema_of};
use crate::source::open_file;

/// Bytes that a Parquet file ends with, and has at the least: magic, length of the footer, magic.
const MAGIC: &[u8; 4] = b"PAR1";

fn malformed(path: &Path, why: &str) -> Fault {
    Fault::new(Code::DataFileMalformed, format!("{}: {why}", path.display()))
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Fault> {
    builder_with(path, ArrowReaderOptions::new())
}

/// Opens the file and reads its footer.
pub(crate) fn builder_with(
    path: &Path,
    options: ArrowReaderOptions,
) -> Result<ParquetRecordBatchReaderBuilder<File>, Fault> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = open_file(path)?;
    let io = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{}: {}", path.display(), e.kind()));
    let bytes = file.metadata().map_err(io)?.len();
    if bytes == 0 {
        return Err(Fault::new(Code::DataEmpty, format!("{}: the file is empty", path.display())));
    }
    if bytes < 12 {
        return Err(malformed(path, "too short for a Parquet file"));
    }
    let mut magic = [0u8; 4];
    file.read_exact(&mut magic).map_err(io)?;
    if &magic != MAGIC {
        return Err(malformed(path, "not a Parquet file"));
    }
    file.seek(SeekFrom::End(-4)).and_then(|_| file.read_exact(&mut magic)).map_err(io)?;
    if &magic != MAGIC {
        return Err(malformed(path, "the Parquet file is cut short"));
    }
    file.rewind().map_err(io)?;
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|_| malformed(path, "the Parquet footer cannot be read"))
}

/// The columns of the file.
///
/// # Errors
/// `data.file_absent`, `data.file_malformed` and those of a header.
pub(crate) fn columns(path: &Path) -> Result<Vec<Found>, Fault> {
    let builder = builder(path)?;
    let fields = builder.schema().fields();
    check_header(fields.iter().map(|f| f.name().as_str()), &path.display().to_string())?;
    let found = |f: &FieldRef| Found {
        name: f.name().clone(),
        kind: Kind::of(f.data_type()),
        native: f.data_type().to_string(),
    };
    Ok(fields.iter().map(found).collect())
}

/// The chosen columns of a Parquet file, batch by batch.
pub(crate) struct ParquetBatches {
    reader: ParquetRecordBatchReader,
    columns: Vec<ColumnDef>,
    schema: SchemaRef,
    place: String,
    rows: u64,
}

impl ParquetBatches {
    /// Opens the file for those columns.
    ///
    /// # Errors
    /// `data.file_absent`, `data.file_malformed`; `data.changed` when a column is gone.
    pub(crate) fn open(path: &Path, columns: &[ColumnDef]) -> Result<Self, Fault> {
        let builder = builder(path)?;
        let place = path.display().to_string();
        let fields = builder.schema().fields().clone();
        let roots = columns
            .iter()
            .map(|c| {
                fields
                    .iter()
                    .position(|f| *f.name() == c.name)
                    .ok_or_else(|| Fault::new(Code::DataChanged, format!("{place}: column {:?} is gone", c.name)))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|_| malformed(path, "the Parquet file cannot be read"))?;
        Ok(Self { reader, columns: columns.to_vec(), schema: schema_of(columns), place, rows: 0 })
    }

    /// The next batch of 1 to [`BATCH_ROWS`] rows; `None` at the end.
    ///
    /// # Errors
    /// `data.file_malformed`, `data.value_type`, `data.value_not_finite`.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let batch = loop {
            match self.reader.next() {
                None => return Ok(None),
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => break batch,
                Some(Err(_)) => {
                    let what = format!("{}: damaged after row {}", self.place, self.rows);
                    return Err(Fault::new(Code::DataFileMalformed, what));
                }
            }
        };
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            // why: the reader gives columns in the order of the file, not in the one asked for.
            let array = batch.column_by_name(&column.name).ok_or_else(|| {
                Fault::new(Code::Internal, format!("{}: column {:?} was not read", self.place, column.name))
            })?;
            arrays.push(normalise(array, column, &self.place, Some(self.rows + 1))?);
        }
        self.rows += batch.num_rows() as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map(Some)
            .map_err(|e| Fault::new(Code::Internal, e.to_string()))
    }
}
