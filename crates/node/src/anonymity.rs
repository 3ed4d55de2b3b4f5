//! How anonymous a dataset is, measured over its own rows: how many rows share each combination of the columns that others
//! could know a person by.

use std::collections::BTreeSet;

use serde::Serialize;
use tacit_data::{Dataset, Limits, View};
use tacit_types::{Code, Fault, LocalQuery, Name, Predicate, Values};

/// The name of the view that counts.
const VIEW: &str = "tacit_groups";
/// The column of the counts.
const COUNT: &str = "n";
/// Columns by which persons could be known, at most.
pub const QUASI_MAX: usize = 32;

/// What was measured. It says how many rows share a combination, never which.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Measured {
    /// The columns by which persons could be known.
    pub quasi_identifiers: Vec<String>,
    /// Rows of the smallest group: the k of k-anonymity. 0 where there are no rows.
    pub k: u64,
    /// Groups.
    pub groups: u64,
    /// Rows of them all.
    pub rows: u64,
    /// Groups by size: of fewer than 2, 5, 10, 100 rows, each without the ones before, and of more.
    pub groups_by_size: [u64; 5],
}

/// Measures the rows that any job could read of a dataset. A value that is missing counts as a value of its own.
///
/// # Errors
/// `data.column_unknown` for a column that is not there; `args.invalid` for none, one twice or more than [`QUASI_MAX`]; those of
/// reading the source.
pub async fn measure(dataset: &mut Dataset, consent: Option<&Predicate>, quasi: &[String]) -> Result<Measured, Fault> {
    let once: BTreeSet<&String> = quasi.iter().collect();
    if quasi.is_empty() || once.len() != quasi.len() || quasi.len() > QUASI_MAX {
        let what = format!("quasi-identifiers: none, one twice, or more than {QUASI_MAX}");
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let place = dataset.registration().name.to_string();
    for column in quasi {
        if !dataset.columns(&place)?.iter().any(|c| c.name == *column) {
            return Err(Fault::new(Code::DataColumnUnknown, format!("{place}: quasi-identifier {column:?}")));
        }
    }
    let quoted: Vec<String> = quasi.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
    let sql = format!("SELECT count(*) AS {COUNT} FROM data GROUP BY {}", quoted.join(", "));
    dataset.add_view(View { name: Name::new(VIEW)?, sql }).await?;
    let query = LocalQuery { view: VIEW.into(), columns: vec![COUNT.into()], filter: None };
    let mut measured = Measured { quasi_identifiers: quasi.to_vec(), k: 0, groups: 0, rows: 0, groups_by_size: [0; 5] };
    dataset
        .run(&query, consent, &Limits::default(), |batch| {
            for column in &batch.columns {
                let Values::Int(sizes) = &column.values else {
                    return Err(Fault::new(Code::Internal, "a count that is no whole number"));
                };
                sizes.iter().for_each(|size| measured.add(size.unsigned_abs()));
            }
            Ok(())
        })
        .await?;
    Ok(measured)
}

impl Measured {
    /// Whether it is as anonymous as is stated.
    ///
    /// # Errors
    /// `data.anonymity`.
    pub fn holds(&self, stated: u32) -> Result<(), Fault> {
        if self.k >= u64::from(stated) {
            return Ok(());
        }
        let columns = self.quasi_identifiers.join(", ");
        let what = format!("k over {columns} is {}, stated is {stated}; {} groups in all", self.k, self.groups);
        Err(Fault::new(Code::DataAnonymity, what))
    }

    fn add(&mut self, size: u64) {
        self.k = if self.groups == 0 { size } else { self.k.min(size) };
        self.groups += 1;
        self.rows += size;
        let class = [2, 5, 10, 100].iter().position(|bound| size < *bound).unwrap_or(4);
        if let Some(count) = self.groups_by_size.get_mut(class) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_data::{Options, Registration, Source, Sources};

    async fn dataset(text: &str) -> (tempfile::TempDir, Dataset) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.csv");
        std::fs::write(&path, text).unwrap();
        let source = Source::Csv { path };
        let inspection =
            tacit_data::inspect(&source, &Options { text_columns: Vec::new(), salt: [0; 32] }, &Sources::default())
                .await
                .unwrap();
        let registration = Registration::new(Name::new("people").unwrap(), source, &inspection);
        let dataset = Dataset::open(registration, &Sources::default()).await.unwrap();
        (folder, dataset)
    }

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[tokio::test]
    async fn k_is_the_smallest_group_and_a_missing_value_is_one_of_its_own() {
        let mut text = String::from("age,region,\"odd \"\"name\",income\n");
        // Groups of 3, 2 and 1 rows; the last has no region.
        for (age, region, n) in [(30, "north", 3), (40, "north", 2), (40, "", 1)] {
            (0..n).for_each(|i| text.push_str(&format!("{age},{region},x,{i}\n")));
        }
        let (_folder, mut data) = dataset(&text).await;
        let found = measure(&mut data, None, &columns(&["age", "region"])).await.unwrap();
        assert_eq!((found.k, found.groups, found.rows, found.groups_by_size), (1, 3, 6, [1, 2, 0, 0, 0]));
        for (names, k) in [(&["age"][..], 3), (&["region"], 1), (&["odd \"name"], 6), (&["age", "income"], 1)] {
            let (_folder, mut data) = dataset(&text).await;
            assert_eq!(measure(&mut data, None, &columns(names)).await.unwrap().k, k, "{names:?}");
        }
        // The rows that the owner's rule leaves out are read by no job.
        let (_folder, mut data) = dataset(&text).await;
        let rule = Predicate::Not(Box::new(Predicate::IsNull { column: "region".into() }));
        assert_eq!(measure(&mut data, Some(&rule), &columns(&["age", "region"])).await.unwrap().k, 2);
        for wrong in [&[][..], &["age", "age"], &["nobody"]] {
            let (_folder, mut data) = dataset(&text).await;
            assert!(measure(&mut data, None, &columns(wrong)).await.is_err(), "{wrong:?}");
        }
        let (_folder, mut data) = dataset(&text).await;
        assert!(measure(&mut data, None, &vec!["age".into(); QUASI_MAX + 1]).await.is_err());
    }
}
