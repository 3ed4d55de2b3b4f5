//! Running a local query.
//!
//! The view is computed whole, and only then is the query's filter applied to its rows, outside of the plan. A planner
//! would move the filter below the view's own expressions, and a view that fails on some value would then fail or not
//! by what the filter leaves: an operator who picks filters could ask about one row that way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::common::DFSchema;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::lit;
use datafusion::physical_plan::PhysicalExpr;
use futures::StreamExt;
use tacit_types::limits::{COLUMNS_MAX, ROWS_MAX};
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Predicate, Values};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinHandle;

use crate::dataset::Dataset;
use crate::fault::{carry, from_datafusion};
use crate::filter::{self, canonical, unknown};
use crate::kind::{ColumnDef, Kind, cast_exactly, finite, schema_of};
use crate::{session, views};

/// What one run may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of intermediate results (sorts, groups, joins in a view). Batches in flight come on top.
    pub memory_bytes: usize,
    /// Rows that may be read, and rows that the view may have; at most [`ROWS_MAX`].
    pub rows_max: u64,
    /// The longest the run may take.
    pub time_max: Duration,
}

/// 1 GiB, [`ROWS_MAX`] rows, 10 minutes.
impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, rows_max: ROWS_MAX, time_max: Duration::from_secs(600) }
    }
}

/// What a run has read and kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunStats {
    /// Rows read of the source, before the consent rule; a view that joins `data` with itself reads it twice.
    pub rows_scanned: u64,
    /// Rows handed on.
    pub rows_kept: u64,
    /// Values of a view that were NaN or infinite, and were taken for NULL.
    pub not_finite: u64,
    /// The most bytes of intermediate results (sorts, groups, joins in a view) that were held at a time: what
    /// [`Limits::memory_bytes`] bounds. Batches in flight are not among them, nor what reading the source takes.
    pub memory_bytes: u64,
}

impl Dataset {
    /// Runs a query and hands the rows on, in batches of at most [`tacit_types::limits::BATCH_ROWS`], in the order of
    /// the view. Columns are those of the query, in its order; a query without columns gives batches that have only
    /// a number of rows. A first batch without rows shows the columns, so that who takes them can refuse them before
    /// anything depends on the rows.
    ///
    /// `consent` is over the columns of the dataset itself and is applied to `data` beneath every view. Dropping the
    /// future stops the run and closes file or connection.
    ///
    /// # Errors
    /// `data.unknown` (no such view), `data.column_unknown`, `data.column_type`, `args.invalid` (a column twice),
    /// `data.too_large` (rows, memory, predicate), `data.changed`, `data.query_failed` (a view that fails on a value,
    /// time), those of reading the source as in [`crate::inspect()`], and any of `on_batch`. None of these depends on
    /// which rows the query's filter keeps.
    pub async fn run(
        &self,
        query: &LocalQuery,
        consent: Option<&Predicate>,
        limits: &Limits,
        on_batch: impl FnMut(Columns) -> Result<(), Fault> + Send,
    ) -> Result<RunStats, Fault> {
        match tokio::time::timeout(limits.time_max, self.run_untimed(query, consent, limits, on_batch)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let what = format!("{}: longer than {} s", self.registration().name, limits.time_max.as_secs());
                Err(Fault::new(Code::DataQueryFailed, what))
            }
        }
    }

    async fn run_untimed(
        &self,
        query: &LocalQuery,
        consent: Option<&Predicate>,
        limits: &Limits,
        mut on_batch: impl FnMut(Columns) -> Result<(), Fault> + Send,
    ) -> Result<RunStats, Fault> {
        let place = self.place(query);
        let (rows, peak) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let limits = Limits { rows_max: limits.rows_max.min(ROWS_MAX), ..*limits };
        let (frame, kept) = self.frame(query, consent, &limits, rows.clone(), peak.clone()).await?;
        let (columns, not_finite) = (kept.wanted.clone(), kept.not_finite.clone());
        on_batch(plain(&RecordBatch::new_empty(schema_of(&columns)), &columns))?;
        let (mut batches, worker) = execute(frame, kept);
        let mut rows_kept = 0u64;
        while let Some(batch) = batches.recv().await {
            let batch = batch.map_err(|e| from_datafusion(&e, Code::DataQueryFailed, &place))?;
            rows_kept += batch.num_rows() as u64;
            on_batch(plain(&batch, &columns))?;
        }
        // why: a worker that ended by a panic has sent no error, and its rows are not all.
        worker.await.map_err(|_| Fault::new(Code::Internal, format!("{place}: the query's thread was ended")))?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(RunStats {
            rows_scanned: count(&rows),
            rows_kept,
            not_finite: count(&not_finite),
            memory_bytes: count(&peak),
        })
    }

    fn place(&self, query: &LocalQuery) -> String {
        let view: String = query.view.chars().take(80).collect();
        format!("{}: {view}", self.registration().name)
    }

    /// The view as a DataFusion plan, with the columns that the query and its filter need, and what is kept of it.
    async fn frame(
        &self,
        query: &LocalQuery,
        consent: Option<&Predicate>,
        limits: &Limits,
        rows: Arc<AtomicU64>,
        peak: Arc<AtomicU64>,
    ) -> Result<(DataFrame, Kept), Fault> {
        let (place, rows_max) = (self.place(query), limits.rows_max);
        let view_count = self.position(&query.view)?.map_or(0, |i| i + 1);
        let all = self.columns(&query.view)?;
        let wanted = chosen(query, all, &place)?;
        let filter = query.filter.as_ref().map(|f| filter::expression(f, all, &place)).transpose()?;
        let filtered = query.filter.iter().flat_map(Predicate::columns);
        let needed = |c: &&ColumnDef| wanted.contains(c) || filtered.clone().any(|name| *name == c.name);
        let read: Vec<ColumnDef> = all.iter().filter(needed).cloned().collect();
        let session = session::new(limits.memory_bytes, peak)?;
        let plan = self.tables(&session, consent, rows, rows_max, view_count).await?;
        // why: the kinds of `all` were fixed when the view was added; a plan that now differs is a defect.
        if views::columns_of(&plan, &place)? != all {
            return Err(Fault::new(Code::Internal, format!("{place}: the view's columns moved")));
        }
        let failed = |e| from_datafusion(&e, Code::DataQueryFailed, &place);
        let fields = plan.schema().fields().clone();
        let typed = |c: &ColumnDef| {
            let from = fields.iter().find(|f| *f.name() == c.name).map(|f| f.data_type().clone());
            canonical(&c.name, c.kind, &from.unwrap_or_else(|| c.kind.arrow()))
        };
        // why: a plan needs a column to carry the number of rows when the query wants none.
        let list = if read.is_empty() { vec![lit(1i64).alias("rows")] } else { read.iter().map(typed).collect() };
        let frame = DataFrame::new(session.state(), plan).select(list).map_err(failed)?;
        let filter = match filter {
            None => None,
            Some(filter) => {
                let schema = DFSchema::try_from(schema_of(&read)).map_err(failed)?;
                Some(session.create_physical_expr(filter, &schema).map_err(failed)?)
            }
        };
        let kept = Kept { place, read, wanted, filter, rows_max, rows: 0, not_finite: Arc::default() };
        Ok((frame, kept))
    }
}

/// What is kept of a view's rows.
struct Kept {
    place: String,
    /// The columns of the plan.
    read: Vec<ColumnDef>,
    /// The columns of the query.
    wanted: Vec<ColumnDef>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    rows_max: u64,
    /// Rows of the view so far.
    rows: u64,
    not_finite: Arc<AtomicU64>,
}

impl Kept {
    /// The rows of a batch that pass the filter, with the columns of the query.
    fn of(&mut self, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
        self.rows += batch.num_rows() as u64;
        if self.rows > self.rows_max {
            let what = format!("{}: more than {} rows", self.place, self.rows_max);
            return Err(carry(Fault::new(Code::DataTooLarge, what)));
        }
        let mut arrays = Vec::with_capacity(self.read.len());
        for (def, array) in self.read.iter().zip(batch.columns()) {
            let (array, dropped) = finite(cast_exactly(array, def.kind)?);
            self.not_finite.fetch_add(dropped, Ordering::Relaxed);
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mut batch = RecordBatch::try_new_with_options(schema_of(&self.read), arrays, &options)?;
        if let Some(filter) = &self.filter {
            let passes = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
            let passes = passes.as_boolean_opt().ok_or_else(|| {
                carry(Fault::new(Code::Internal, format!("{}: the filter gives no truth value", self.place)))
            })?;
            batch = filter_record_batch(&batch, passes)?;
        }
        let position = |c: &ColumnDef| self.read.iter().position(|r| r == c);
        Ok(batch.project(&self.wanted.iter().filter_map(position).collect::<Vec<_>>())?)
    }
}

/// Executes a plan on a thread of its own, because a view may compute for long between two batches, and neither the
/// caller's other tasks nor its time limit may wait for that. The thread ends when the receiver is dropped, at the
/// plan's next batch or join.
fn execute(frame: DataFrame, kept: Kept) -> (Receiver<DataFusionResult<RecordBatch>>, JoinHandle<()>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let runtime = tokio::runtime::Handle::current();
    let worker = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                () = send_all(frame, kept, &sender) => {}
            }
        });
    });
    (receiver, worker)
}

async fn send_all(frame: DataFrame, mut kept: Kept, sender: &Sender<DataFusionResult<RecordBatch>>) {
    let mut stream = match frame.execute_stream().await {
        Ok(stream) => stream,
        Err(error) => {
            // why: a receiver that has gone does not want the error either.
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
        let batch = batch.and_then(|batch| kept.of(&batch));
        let failed = batch.is_err();
        let empty = batch.as_ref().is_ok_and(|b| b.num_rows() == 0);
        if !empty && sender.send(batch).await.is_err() || failed {
            break;
        }
    }
}

/// The columns that a query names, checked.
fn chosen(query: &LocalQuery, all: &[ColumnDef], place: &str) -> Result<Vec<ColumnDef>, Fault> {
    if query.columns.len() > COLUMNS_MAX {
        return Err(Fault::new(Code::DataTooLarge, format!("{place}: more than {COLUMNS_MAX} columns")));
    }
    let mut columns: Vec<ColumnDef> = Vec::with_capacity(query.columns.len());
    for name in &query.columns {
        let known = all.iter().find(|c| c.name == *name).ok_or_else(|| unknown(place, name))?;
        if columns.contains(known) {
            return Err(Fault::new(Code::ArgsInvalid, format!("{place}: column {name:?} twice")));
        }
        columns.push(known.clone());
    }
    Ok(columns)
}

/// A batch in plain vectors. Its columns have the types of their kinds.
fn plain(batch: &RecordBatch, columns: &[ColumnDef]) -> Columns {
    let columns = columns.iter().zip(batch.columns()).map(|(def, array)| {
        let values = match def.kind {
            Kind::Int => Values::Int(array.as_primitive::<Int64Type>().values().to_vec()),
            Kind::Float => Values::Float(array.as_primitive::<Float64Type>().values().to_vec()),
            Kind::Text => {
                let texts = array.as_string::<i32>();
                Values::Text(texts.iter().map(|t| t.unwrap_or_default().to_owned()).collect())
            }
        };
        let valid = array.nulls().filter(|n| n.null_count() > 0).map(|n| n.iter().collect());
        Column { name: def.name.clone(), values, valid }
    });
    Columns { rows: batch.num_rows(), columns: columns.collect() }
}
