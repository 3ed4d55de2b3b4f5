//! One function per feature, so that a change of the interface touches one place.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use tacit_data::{Dataset, Inspection, Limits, Options, Registration, RunStats, Source, Sources, View};
use tacit_types::{Columns, Fault, LocalQuery, Name, Predicate, Values};

pub const SALT: [u8; 32] = [9; 32];

/// A file of that name in a new folder, which lives as long as the folder's handle.
pub fn file(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

pub fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub fn parquet(columns: Vec<(&str, ArrayRef)>) -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = file("t.parquet", b"");
    write_parquet(&path, columns);
    (folder, path)
}

pub fn array<A: arrow::array::Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

pub async fn inspect(path: &Path, text_columns: &[&str]) -> Result<Inspection, Fault> {
    let source = Source::parse(path.to_str().unwrap())?;
    inspect_source(&source, text_columns, &Sources::default()).await
}

pub async fn inspect_source(source: &Source, text: &[&str], sources: &Sources) -> Result<Inspection, Fault> {
    let text_columns = text.iter().map(|t| (*t).to_owned()).collect();
    tacit_data::inspect(source, &Options { text_columns, salt: SALT }, sources).await
}

/// Inspects and opens a source under the name `claims`.
pub async fn open_source(source: Source, views: &[(&str, &str)], sources: &Sources) -> Result<Dataset, Fault> {
    let inspection = inspect_source(&source, &[], sources).await?;
    let mut registration = Registration::new(Name::new("claims").unwrap(), source, &inspection);
    registration.views = views.iter().map(|(name, sql)| view(name, sql)).collect();
    Dataset::open(registration, sources).await
}

pub async fn open(path: &Path, views: &[(&str, &str)]) -> Result<Dataset, Fault> {
    open_source(Source::parse(path.to_str().unwrap())?, views, &Sources::default()).await
}

pub fn view(name: &str, sql: &str) -> View {
    View { name: Name::new(name).unwrap(), sql: sql.to_owned() }
}

pub fn query(view: &str, columns: &[&str], filter: Option<Predicate>) -> LocalQuery {
    LocalQuery { view: view.into(), columns: columns.iter().map(|c| (*c).to_owned()).collect(), filter }
}

/// All batches of a run, with what it counted.
pub async fn run_with(
    dataset: &Dataset,
    query: &LocalQuery,
    consent: Option<&Predicate>,
    limits: &Limits,
) -> Result<(Vec<Columns>, RunStats), Fault> {
    let mut batches = Vec::new();
    let stats = dataset
        .run(query, consent, limits, |batch| {
            batches.push(batch);
            Ok(())
        })
        .await?;
    Ok((batches, stats))
}

pub async fn run(dataset: &Dataset, query: &LocalQuery) -> Result<Vec<Columns>, Fault> {
    run_with(dataset, query, None, &Limits::default()).await.map(|(batches, _)| batches)
}

/// One cell as text; `NULL` where there is no value.
pub fn rows(batches: &[Columns]) -> Vec<Vec<String>> {
    let cell = |column: &tacit_types::Column, row: usize| match &column.values {
        _ if !column.is_valid(row) => "NULL".to_owned(),
        Values::Int(v) => v[row].to_string(),
        Values::Float(v) => format!("{:?}", v[row]),
        Values::Text(v) => v[row].clone(),
    };
    batches.iter().flat_map(|b| (0..b.rows).map(|r| b.columns.iter().map(|c| cell(c, r)).collect())).collect()
}

/// A small generator with a fixed beginning (Marsaglia's xorshift64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
