//! The keys that an alignment found, as they stand in this owner's rows today: what the rows of a job over them are.

use std::path::Path;

use tacit_data::{Dataset, Limits, Sources};
use tacit_jobs::align::FOUND_COLUMN;
use tacit_jobs::score::keys::KEYS_MAX;
use tacit_types::{Code, Column, Fault, LocalQuery, Values};

use super::{found_keys, key_of};
use crate::datasets;
use crate::store::Store;

/// The keys of an aligned version, in the order that both owners have; `None` for one that no row of today has. `version` is
/// the newest when absent.
///
/// # Errors
/// `data.unknown` for a version that is not there or that no alignment of this kind left; `data.too_large` for one of more keys
/// than a job may have rows; those of the source.
pub async fn keys(
    store: &Store,
    home: &Path,
    sources: &Sources,
    name: &str,
    version: Option<u32>,
) -> Result<Vec<Option<String>>, Fault> {
    let rows = store.datasets().await?;
    let named = rows.iter().filter(|row| row.name == name && version.is_none_or(|v| row.version == v));
    let unknown = || Fault::new(Code::DataUnknown, format!("{name}: no version that an alignment left"));
    let row = named.max_by_key(|row| row.version).ok_or_else(unknown)?;
    let kept = datasets::kept(row)?;
    let last = kept.aligned.last().ok_or_else(unknown)?;
    let found = found_keys(home, &kept.aligned, &last.job, KEYS_MAX)?;
    let words = found.words();
    let (_, columns) = key_of(last);
    let dataset = Dataset::open(kept.registration.clone(), sources).await?;
    let mut query = LocalQuery { view: last.view.clone(), columns: columns.clone(), filter: None };
    found.widen(&mut query);
    let mut keys: Vec<Option<String>> = vec![None; words.len()];
    let take = |batch| {
        let batch = found.mark(batch)?;
        let Some(Column { values: Values::Text(marks), .. }) = batch.get(FOUND_COLUMN) else { return Ok(()) };
        let of_key: Vec<&Column> = columns.iter().filter_map(|name| batch.get(name)).collect();
        for (row, mark) in marks.iter().enumerate() {
            if let Ok(at) = words.binary_search(mark)
                && let Some(slot @ None) = keys.get_mut(at)
            {
                *slot = Some(of_key.iter().map(|column| text(column, row)).collect::<Vec<_>>().join("\t"));
            }
        }
        Ok(())
    };
    // The owner's own rows for its own eyes: no purpose, and so no rule but the dataset's.
    dataset.run(&query, kept.consent.as_ref(), &Limits::default(), take).await?;
    Ok(keys)
}

/// A value on one line.
fn text(column: &Column, row: usize) -> String {
    let line = |text: &String| text.replace(['\n', '\r', '\t'], " ");
    match &column.values {
        Values::Int(list) => list.get(row).map(i64::to_string).unwrap_or_default(),
        Values::Float(list) => list.get(row).map(f64::to_string).unwrap_or_default(),
        Values::Text(list) => list.get(row).map(line).unwrap_or_default(),
    }
}
