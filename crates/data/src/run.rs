//! Running a local query.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::lit;
use futures::StreamExt;
use tacit_types::limits::{COLUMNS_MAX, ROWS_MAX};
use tacit_types::{Code, Column, Columns, Fault, LocalQuery, Predicate, Values};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinHandle;

use crate::dataset::Dataset;
use crate::fault::from_datafusion;
use crate::filter::{self, canonical, column, unknown};
use crate::kind::{ColumnDef, Kind, normalise};
use crate::{session, views};

/// What one run may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of intermediate results (sorts, groups, joins in a view). Batches in flight come on top.
    pub memory_bytes: usize,
    /// Rows that may be read, and rows that may be handed on; at most [`ROWS_MAX`].
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
}

impl Dataset {
    /// Runs a query and hands the rows on, in batches of at most [`tacit_types::limits::BATCH_ROWS`], in the order of
    /// the view. Columns are those of the query, in its order; a query without columns gives batches that have only
    /// a number of rows.
    ///
    /// `consent` is over the columns of the dataset itself and is applied to `data` beneath every view. Dropping the
    /// future stops the run and closes file or connection.
    ///
    /// # Errors
    /// `data.unknown` (no such view), `data.column_unknown`, `data.column_type`, `args.invalid` (a column twice),
    /// `data.too_large` (rows, memory, predicate), `data.value_not_finite`, `data.changed`, `data.query_failed` (a view
    /// that fails on a value, time), those of reading the source as in [`crate::inspect()`], and any of `on_batch`.
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
        let rows = Arc::new(AtomicU64::new(0));
        let rows_max = limits.rows_max.min(ROWS_MAX);
        let (frame, columns) = self.frame(query, consent, limits, rows_max, rows.clone()).await?;
        let (mut batches, worker) = execute(frame);
        let mut rows_kept = 0u64;
        while let Some(batch) = batches.recv().await {
            let batch = batch.map_err(|e| from_datafusion(&e, Code::DataQueryFailed, &place))?;
            rows_kept += batch.num_rows() as u64;
            if rows_kept > rows_max {
                return Err(Fault::new(Code::DataTooLarge, format!("{place}: more than {rows_max} rows")));
            }
            on_batch(plain(&batch, &columns, &place)?)?;
        }
        // why: a worker that ended by a panic has sent no error, and its rows are not all.
        worker.await.map_err(|_| Fault::new(Code::Internal, format!("{place}: the query's thread was ended")))?;
        Ok(RunStats { rows_scanned: rows.load(Ordering::Relaxed), rows_kept })
    }

    fn place(&self, query: &LocalQuery) -> String {
        let view: String = query.view.chars().take(80).collect();
        format!("{}: {view}", self.registration().name)
    }

    /// The whole query as a DataFusion plan, and the columns it gives.
    async fn frame(
        &self,
        query: &LocalQuery,
        consent: Option<&Predicate>,
        limits: &Limits,
        rows_max: u64,
        rows: Arc<AtomicU64>,
    ) -> Result<(DataFrame, Vec<ColumnDef>), Fault> {
        let place = self.place(query);
        let view_count = self.position(&query.view)?.map_or(0, |i| i + 1);
        let all = self.columns(&query.view)?;
        let columns = chosen(query, all, &place)?;
        let kept = query.filter.as_ref().map(|f| filter::expression(f, all, &place)).transpose()?;
        let session = session::new(limits.memory_bytes)?;
        let plan = self.tables(&session, consent, rows, rows_max, view_count).await?;
        // why: the kinds of `all` were fixed when the view was added; a plan that now differs is a defect.
        if views::columns_of(&plan, &place)? != all {
            return Err(Fault::new(Code::Internal, format!("{place}: the view's columns moved")));
        }
        let failed = |e| from_datafusion(&e, Code::DataQueryFailed, &place);
        let typed: Vec<_> =
            plan.schema().fields().iter().zip(all).map(|(f, c)| canonical(&c.name, c.kind, f.data_type())).collect();
        let mut frame = DataFrame::new(session.state(), plan).select(typed).map_err(failed)?;
        if let Some(kept) = kept {
            frame = frame.filter(kept).map_err(failed)?;
        }
        // why: a plan needs a column to carry the number of rows when the query wants none.
        let list = if columns.is_empty() {
            vec![lit(1i64).alias("rows")]
        } else {
            columns.iter().map(|c| column(&c.name)).collect()
        };
        Ok((frame.select(list).map_err(failed)?, columns))
    }
}

/// Executes a plan on a thread of its own, because a view may compute for long between two batches, and neither the
/// caller's other tasks nor its time limit may wait for that. The thread ends when the receiver is dropped, at the
/// plan's next batch or join.
fn execute(frame: DataFrame) -> (Receiver<DataFusionResult<RecordBatch>>, JoinHandle<()>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let runtime = tokio::runtime::Handle::current();
    let worker = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = sender.closed() => {}
                () = send_all(frame, &sender) => {}
            }
        });
    });
    (receiver, worker)
}

async fn send_all(frame: DataFrame, sender: &Sender<DataFusionResult<RecordBatch>>) {
    let mut stream = match frame.execute_stream().await {
        Ok(stream) => stream,
        Err(error) => {
            // why: a receiver that has gone does not want the error either.
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    while let Some(batch) = stream.next().await {
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

/// A batch in plain vectors.
fn plain(batch: &RecordBatch, columns: &[ColumnDef], place: &str) -> Result<Columns, Fault> {
    let columns = columns.iter().zip(batch.columns()).map(|(def, array)| {
        let array = normalise(array, def, place, None)?;
        let values = match def.kind {
            Kind::Int => Values::Int(array.as_primitive::<Int64Type>().values().to_vec()),
            Kind::Float => Values::Float(array.as_primitive::<Float64Type>().values().to_vec()),
            Kind::Text => {
                let texts = array.as_string::<i32>();
                Values::Text(texts.iter().map(|t| t.unwrap_or_default().to_owned()).collect())
            }
        };
        let valid = array.nulls().filter(|n| n.null_count() > 0).map(|n| n.iter().collect());
        Ok(Column { name: def.name.clone(), values, valid })
    });
    Ok(Columns { rows: batch.num_rows(), columns: columns.collect::<Result<_, Fault>>()? })
}
