//! One face over the three kinds of source: its columns, and a stream of batches of some of them.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use tacit_types::{Code, Fault, Name};
use tokio::sync::mpsc::Sender;

use crate::config::{PostgresConfig, Sources};
use crate::csv::CsvBatches;
use crate::fault::carry;
use crate::kind::{ColumnDef, Found, Kind, schema_of};
use crate::parquet::ParquetBatches;
use crate::postgres::{self, Order};
use crate::source::Source;

/// Batches that a reader may be ahead of its consumer.
const BATCHES_AHEAD: usize = 2;

/// A source with what is needed to read it.
#[derive(Clone)]
pub(crate) enum Scan {
    Csv { path: PathBuf },
    Parquet { path: PathBuf },
    Postgres { name: Name, config: Arc<PostgresConfig>, schema: String, table: String },
}

impl Scan {
    /// Looks the source's database up.
    ///
    /// # Errors
    /// `data.source_unknown`.
    pub(crate) fn new(source: &Source, sources: &Sources) -> Result<Self, Fault> {
        Ok(match source {
            Source::Csv { path } => Scan::Csv { path: path.clone() },
            Source::Parquet { path } => Scan::Parquet { path: path.clone() },
            Source::Postgres { source, schema, table } => Scan::Postgres {
                name: source.clone(),
                config: sources.get(source)?,
                schema: schema.clone(),
                table: table.clone(),
            },
        })
    }

    /// The source's columns as it has them now. Of a CSV file only the names are known without reading it all:
    /// its columns are given as text.
    ///
    /// # Errors
    /// Those of opening the source, and of its header.
    pub(crate) async fn columns(&self) -> Result<Vec<Found>, Fault> {
        match self.clone() {
            Scan::Csv { path } => {
                let names = blocking(move || Ok(crate::csv::open(&path)?.header().to_vec())).await?;
                let found = |name| Found { name, kind: Some(Kind::Text), native: "text".to_owned() };
                Ok(names.into_iter().map(found).collect())
            }
            Scan::Parquet { path } => blocking(move || crate::parquet::columns(&path)).await,
            Scan::Postgres { name, config, schema, table } => {
                let relation = postgres::Relation { name: &name, schema: &schema, table: &table };
                postgres::columns(&config, relation).await
            }
        }
    }

    /// Reads all rows of those columns into `sink` from a blocking thread or a task, until the end, a fault
    /// (which is the last item) or the sink is closed.
    pub(crate) async fn read(self, columns: Vec<ColumnDef>, order: Order, sink: Sink) {
        let last = sink.clone();
        let outcome = match self {
            Scan::Csv { path } => {
                blocking(move || {
                    let mut batches = CsvBatches::open(&path, &columns)?;
                    sink.drain(|| batches.next_batch())
                })
                .await
            }
            Scan::Parquet { path } => {
                blocking(move || {
                    let mut batches = ParquetBatches::open(&path, &columns)?;
                    sink.drain(|| batches.next_batch())
                })
                .await
            }
            Scan::Postgres { name, config, schema, table } => {
                let relation = postgres::Relation { name: &name, schema: &schema, table: &table };
                postgres::read(&config, relation, &columns, order, &sink).await
            }
        };
        if let Err(fault) = outcome {
            // why: a consumer that has gone does not want the fault either.
            let _ = last.0.send(Err(carry(fault))).await;
        }
    }
}

/// Runs `work` on a blocking thread. A panic there is taken for a damaged file: the readers below are not ours,
/// and a file must not be able to end the node.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let damaged = || Err(Fault::new(Code::DataFileMalformed, "the reader gave up on the file"));
    let guarded = move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_: Box<dyn Any + Send>| damaged());
    match tokio::task::spawn_blocking(guarded).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::new(Code::Internal, "the reader's thread was ended")),
    }
}

/// Where a reader puts its batches.
#[derive(Clone)]
pub(crate) struct Sink(Sender<DataFusionResult<RecordBatch>>);

impl Sink {
    pub(crate) fn new(sender: Sender<DataFusionResult<RecordBatch>>) -> Self {
        Self(sender)
    }

    /// Hands a batch on, waiting for room; `false` when nobody listens any more.
    pub(crate) async fn send(&self, batch: RecordBatch) -> bool {
        self.0.send(Ok(batch)).await.is_ok()
    }

    fn drain(&self, mut next: impl FnMut() -> Result<Option<RecordBatch>, Fault>) -> Result<(), Fault> {
        while let Some(batch) = next()? {
            if self.0.blocking_send(Ok(batch)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The table `data` for one run: it reads only the columns that the plan needs, and counts its rows.
pub(crate) struct SourceTable {
    scan: Scan,
    columns: Vec<ColumnDef>,
    schema: SchemaRef,
    rows: Arc<AtomicU64>,
    rows_max: u64,
}

impl SourceTable {
    /// A table over the source; `rows` is increased by every row that is read.
    pub(crate) fn new(scan: Scan, columns: &[ColumnDef], rows: Arc<AtomicU64>, rows_max: u64) -> Self {
        Self { scan, columns: columns.to_vec(), schema: schema_of(columns), rows, rows_max }
    }
}

impl fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceTable").field("columns", &self.columns).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            Some(positions) => positions.iter().filter_map(|i| self.columns.get(*i).cloned()).collect(),
            None => self.columns.clone(),
        };
        let schema = schema_of(&columns);
        let partition = Partition {
            scan: self.scan.clone(),
            columns,
            schema: schema.clone(),
            rows: self.rows.clone(),
            rows_max: self.rows_max,
        };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(partition)], None, [], false, limit)?))
    }
}

/// The single partition of a [`SourceTable`].
struct Partition {
    scan: Scan,
    columns: Vec<ColumnDef>,
    schema: SchemaRef,
    rows: Arc<AtomicU64>,
    rows_max: u64,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_AHEAD);
        let (to_plan, mut from_reader) = (stream.tx(), tokio::sync::mpsc::channel(1));
        let (scan, columns) = (self.scan.clone(), self.columns.clone());
        stream.spawn(async move {
            scan.read(columns, Order::Any, Sink::new(from_reader.0)).await;
            Ok(())
        });
        let (rows, rows_max) = (self.rows.clone(), self.rows_max);
        stream.spawn(async move {
            let mut own_rows = 0u64;
            while let Some(item) = from_reader.1.recv().await {
                let item = item.and_then(|batch| {
                    own_rows += batch.num_rows() as u64;
                    rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                    if own_rows > rows_max {
                        let what = format!("the source has more than {rows_max} rows");
                        return Err(carry(Fault::new(Code::DataTooLarge, what)));
                    }
                    Ok(batch)
                });
                let failed = item.is_err();
                if to_plan.send(item).await.is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
