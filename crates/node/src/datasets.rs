//! Datasets at their owner's: registering in place, versions, what may be published, opening.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tacit_crypto::{Statement, sha256};
use tacit_data::{Dataset, Inspection, Options, Registration, Source, Sources, View};
use tacit_governance::{ColumnInfo, ColumnKind, DatasetDescriptor, DatasetTerms, Level};
use tacit_types::{Code, DatasetVersionId, Fault, Hash, Name, Predicate};

use crate::align::Found;
use crate::anonymity;
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
    /// Rules for single purposes: a job reads the rows that its purpose's rule finds as well.
    pub purposes: BTreeMap<String, Predicate>,
    /// What the owner says of class, grade, lawful basis, registration and sharing.
    pub terms: Option<DatasetTerms>,
}

/// What the node keeps of a dataset version beside the registration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where it lies and which views it has.
    pub registration: Registration,
    /// The owner's rule.
    pub consent: Option<Predicate>,
    /// Its rules for single purposes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub purposes: BTreeMap<String, Predicate>,
    /// Alignments that narrow its rows, in the order in which they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aligned: Vec<Found>,
    /// What was measured of its anonymity, as the text whose hash the descriptor has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymity: Option<String>,
}

impl Kept {
    /// The rule that rows must satisfy before anything reads them for this purpose.
    pub fn rule(&self, purpose: &str) -> Option<Predicate> {
        let rules: Vec<Predicate> = self.consent.iter().chain(self.purposes.get(purpose)).cloned().collect();
        match rules.len() {
            0 | 1 => rules.into_iter().next(),
            _ => Some(Predicate::And(rules)),
        }
    }
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
    mut options: AddOptions,
) -> Result<(DatasetRow, Inspection), Fault> {
    let salt = commitment_salt(store).await?;
    let inspected = Options { text_columns: options.text_columns.clone(), salt };
    let inspection = tacit_data::inspect(&source, &inspected, sources).await?;
    let mut registration = Registration::new(name.clone(), source, &inspection);
    registration.views = options.views;
    // Opening plans every view, so that a broken one is found now and not in a job.
    let mut dataset = Dataset::open(registration.clone(), sources).await?;
    let anonymity = measured(&mut dataset, options.consent.as_ref(), &mut options.terms).await?;
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
        terms: options.terms,
    };
    let signed = Statement::sign(&keys.root, name.as_str(), now, None, descriptor);
    let kept =
        Kept { registration, consent: options.consent, purposes: options.purposes, aligned: Vec::new(), anonymity };
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

/// Measures k where the owner names the columns by which persons could be known, and puts what was found and the hash of its
/// report into the terms.
///
/// # Errors
/// `data.anonymity` where it is less than the owner states; those of [`anonymity::measure`].
async fn measured(
    dataset: &mut Dataset,
    consent: Option<&Predicate>,
    terms: &mut Option<DatasetTerms>,
) -> Result<Option<String>, Fault> {
    let stated = terms.as_mut().and_then(|t| t.anonymised.as_mut()).filter(|a| !a.quasi.is_empty());
    let Some(stated) = stated else { return Ok(None) };
    let found = anonymity::measure(dataset, consent, &stated.quasi).await?;
    found.holds(stated.k)?;
    let report = serde_json::to_string(&found).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    stated.measured = Some(u32::try_from(found.k).unwrap_or(u32::MAX));
    stated.report = sha256(report.as_bytes());
    Ok(Some(report))
}

/// Measures the anonymity of a version again, over the rows as they are now; `None` for one of which none is stated.
///
/// # Errors
/// Those of registering it.
pub async fn measure_again(row: &DatasetRow, sources: &Sources) -> Result<Option<anonymity::Measured>, Fault> {
    let stated = descriptor(row)?.terms.and_then(|t| t.anonymised).filter(|a| !a.quasi.is_empty());
    let Some(stated) = stated else { return Ok(None) };
    let kept = kept(row)?;
    let mut dataset = Dataset::open(kept.registration, sources).await?;
    let found = anonymity::measure(&mut dataset, kept.consent.as_ref(), &stated.quasi).await?;
    found.holds(stated.k)?;
    Ok(Some(found))
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
