//! Datasets at their owner's: registering in place, versions, what may be published, opening.

use serde::{Deserialize, Serialize};
use tacit_crypto::{Statement, sha256};
use tacit_data::{Dataset, Inspection, Options, Registration, Source, Sources, View};
use tacit_governance::{ColumnInfo, ColumnKind, DatasetDescriptor, Level};
use tacit_types::{Code, DatasetVersionId, Fault, Hash, Name, Predicate};

use crate::align::Found;
use crate::config::Keys;
use crate::store::{DatasetRow, Store};

/// What the owner decides when a dataset is registered.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// Columns that are text even where they look like numbers.
    pub text_columns: Vec<String>,
    /// Levels of each column, by name; a column without any may be used for nothing.
    pub levels: Vec<(String, Vec<Level>)>,
    /// Levels of every column that has none of its own.
    pub all: Option<Vec<Level>>,
    /// Views.
    pub views: Vec<View>,
    /// The owner's rule that every row must satisfy before anything reads it.
    pub consent: Option<Predicate>,
}

/// What the node keeps of a dataset version beside the registration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where it lies and which views it has.
    pub registration: Registration,
    /// The owner's rule.
    pub consent: Option<Predicate>,
    /// Alignments that narrow its rows, in the order in which they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aligned: Vec<Found>,
}

/// Registers a dataset version: reads the source once, strictly, and signs what others may know.
///
/// # Errors
/// Those of [`tacit_data::inspect()`]; `data.column_unknown` for a level of a column that is not
/// there; those of the database.
pub async fn add(
    store: &Store,
    keys: &Keys,
    name: &Name,
    source: Source,
    sources: &Sources,
    options: AddOptions,
) -> Result<(DatasetRow, Inspection), Fault> {
    let salt = commitment_salt(store).await?;
    let inspected = Options { text_columns: options.text_columns.clone(), salt };
    let inspection = tacit_data::inspect(&source, &inspected, sources).await?;
    let mut registration = Registration::new(name.clone(), source, &inspection);
    registration.views = options.views;
    // Opening plans every view, so that a broken one is found now and not in a job.
    let dataset = Dataset::open(registration.clone(), sources).await?;
    let public = inspection.public();
    let mut columns: Vec<ColumnInfo> = Vec::new();
    let views = registration.views.iter().map(|v| v.name.as_str());
    for view in core::iter::once(name.as_str()).chain(views) {
        for column in dataset.columns(view)? {
            if !columns.iter().any(|c| c.name == column.name) {
                columns.push(ColumnInfo { name: column.name.clone(), kind: kind(column.kind), levels: Vec::new() });
            }
        }
    }
    for (column, levels) in &options.levels {
        let info = columns.iter_mut().find(|c| c.name == *column).ok_or_else(|| {
            Fault::new(Code::DataColumnUnknown, format!("`{column}` is not a column of {name} or of its views"))
        })?;
        info.levels = levels.clone();
    }
    for info in &mut columns {
        let named = options.levels.iter().any(|(column, _)| *column == info.name);
        if let (false, Some(all)) = (named, &options.all) {
            info.levels = all.clone();
        }
        info.levels.sort_unstable();
        info.levels.dedup();
    }
    let version =
        store.datasets().await?.iter().filter(|d| d.name == name.as_str()).map(|d| d.version).max().unwrap_or(0) + 1;
    let mut names = vec![name.to_string()];
    names.extend(registration.views.iter().map(|v| v.name.to_string()));
    let now = crate::now();
    let descriptor = DatasetDescriptor {
        format: 1,
        owner: keys.root.id(),
        name: name.clone(),
        version,
        columns,
        row_bucket: public.row_bucket,
        commitment: Hash(public.commitment),
        views: names,
        aligned: None,
    };
    let signed = Statement::sign(&keys.root, name.as_str(), now, None, descriptor);
    let kept = Kept { registration, consent: options.consent, aligned: Vec::new() };
    let row = DatasetRow {
        name: name.to_string(),
        version,
        id: DatasetVersionId(sha256(signed.bytes()).0),
        registration: serde_json::to_string(&kept).map_err(|e| Fault::new(Code::Internal, e.to_string()))?,
        descriptor: signed.bytes().to_vec(),
        rows: inspection.rows,
        added_at: now,
    };
    store.put_dataset(&row).await?;
    Ok((row, inspection))
}

/// One salt for all datasets of a node, made once, kept in its database.
async fn commitment_salt(store: &Store) -> Result<[u8; 32], Fault> {
    let mut tx = store.begin().await?;
    if let Some(salt) = tx.meta("commitment_salt").await? {
        return salt.try_into().map_err(|_| Fault::new(Code::StoreCorrupt, "the commitment salt"));
    }
    let salt: [u8; 32] = crate::os_rng()?.bytes();
    tx.set_meta("commitment_salt", &salt).await?;
    tx.commit().await?;
    Ok(salt)
}

fn kind(kind: tacit_data::Kind) -> ColumnKind {
    match kind {
        tacit_data::Kind::Int => ColumnKind::Int,
        tacit_data::Kind::Float => ColumnKind::Float,
        tacit_data::Kind::Text => ColumnKind::Text,
    }
}

/// What the node keeps of a dataset version.
///
/// # Errors
/// `store.corrupt`.
pub fn kept(row: &DatasetRow) -> Result<Kept, Fault> {
    serde_json::from_str(&row.registration)
        .map_err(|e| Fault::new(Code::StoreCorrupt, format!("dataset {}: {e}", row.name)))
}

/// The signed descriptor of a dataset version.
///
/// # Errors
/// `store.corrupt`.
pub fn descriptor(row: &DatasetRow) -> Result<DatasetDescriptor, Fault> {
    Statement::<DatasetDescriptor>::verify(&row.descriptor)
        .map(Statement::into_body)
        .map_err(|e| Fault::new(Code::StoreCorrupt, format!("dataset {}: {e}", row.name)))
}

/// The row of a dataset version.
///
/// # Errors
/// `data.unknown`; those of the database.
pub async fn find(store: &Store, id: &DatasetVersionId) -> Result<DatasetRow, Fault> {
    store
        .datasets()
        .await?
        .into_iter()
        .find(|d| d.id == *id)
        .ok_or_else(|| Fault::new(Code::DataUnknown, format!("dataset version {}", id.short())))
}
