//! Joins what a file says of its features with what the importer was told.

use std::collections::BTreeMap;

use tacit_types::{Code, Fault};

use super::Import;
use crate::frame::number_name;
use crate::limits::{CATEGORIES_MAX, CATEGORIES_TOTAL_MAX, FEATURES_MAX};
use crate::model::{Feature, FeatureKind};

/// What a file says of one feature.
#[derive(Clone, Default)]
pub struct Known {
    /// Its name, where there is one.
    pub name: Option<String>,
    /// Whether it has categories.
    pub categorical: bool,
    /// The categories by code, where the file has them.
    pub categories: Option<Vec<String>>,
    /// Without names of categories: whether the library takes the codes themselves as values.
    pub coded: bool,
    /// One more than the greatest code that the file uses.
    pub codes: usize,
}

impl Known {
    /// A number of that name.
    pub fn named(name: String) -> Self {
        Self { name: Some(name), ..Self::default() }
    }
}

/// Refuses a number of features over the cap before anything is made of it.
pub fn count(count: u64) -> Result<usize, Fault> {
    match usize::try_from(count) {
        Ok(n) if n <= FEATURES_MAX => Ok(n),
        _ => Err(Fault::new(Code::ModelTooLarge, format!("{count} features; at most {FEATURES_MAX}"))),
    }
}

/// The features of the model: those that were declared, or those of the file.
///
/// # Errors
/// `model.features` when they contradict each other, and for categories that nobody names; `model.too_large` for too
/// many categories.
pub fn resolve(known: Vec<Known>, import: &Import) -> Result<Vec<Feature>, Fault> {
    let fault = |what: String| Err(Fault::new(Code::ModelFeatures, what));
    let declared = &import.features;
    let mut named: BTreeMap<&str, &Vec<String>> = BTreeMap::new();
    for (name, list) in &import.categories {
        if named.insert(name, list).is_some() {
            return fault(format!("the categories of {name:?} are declared twice"));
        }
    }
    if !declared.is_empty() && declared.len() != known.len() {
        return fault(format!("{} are declared and the file has {}", declared.len(), known.len()));
    }
    let mut made = 0;
    let mut features = Vec::with_capacity(known.len());
    for (i, known) in known.into_iter().enumerate() {
        let told = declared.get(i);
        if let (Some(told), Some(name)) = (told, &known.name)
            && told.name != *name
        {
            return fault(format!("feature {i} is declared as {:?}, and the file calls it {name:?}", told.name));
        }
        let name = told.map(|t| t.name.clone()).or(known.name).unwrap_or_else(|| format!("f{i}"));
        let mut told_categories = told.and_then(|t| match &t.kind {
            FeatureKind::Categorical(list) => Some(list.clone()),
            FeatureKind::Numeric => None,
        });
        if let Some(list) = named.remove(name.as_str()) {
            if told_categories.as_ref().is_some_and(|told| told != list) {
                return fault(format!("feature {i}, {name:?}, is declared with two lists of categories"));
            }
            told_categories = Some(list.clone());
        }
        if told_categories.is_some() && !known.categorical {
            return fault(format!("feature {i}, {name:?}, has categories and is a number in the file"));
        }
        let kind = match (known.categorical, known.categories, told_categories) {
            (false, ..) => FeatureKind::Numeric,
            (true, Some(list), Some(told)) if list != told => {
                return fault(format!("feature {i}, {name:?}: the file has other categories than those declared"));
            }
            (true, Some(list), _) | (true, None, Some(list)) => FeatureKind::Categorical(list),
            (true, None, None) if !known.coded => {
                let what = "the file does not name them; declare them in the order of their codes (--categories)";
                return fault(format!("feature {i}, {name:?}, has categories: {what}"));
            }
            (true, None, None) => {
                made += known.codes.max(1);
                if known.codes > CATEGORIES_MAX || made > CATEGORIES_TOTAL_MAX {
                    let what = format!("feature {i}, {name:?}: code {} of a category", known.codes.saturating_sub(1));
                    return Err(Fault::new(Code::ModelTooLarge, what));
                }
                FeatureKind::Categorical((0..known.codes.max(1)).map(|code| code.to_string()).collect())
            }
        };
        if let FeatureKind::Categorical(list) = &kind
            && list.len() < known.codes
        {
            return fault(format!(
                "feature {i}, {name:?}: {} categories, and code {} is used",
                list.len(),
                known.codes - 1
            ));
        }
        features.push(Feature { name, kind, range: told.and_then(|t| t.range) });
    }
    if let Some(name) = named.keys().next() {
        return fault(format!("categories are declared of {name:?}, which is no feature of the file"));
    }
    Ok(features)
}

/// The name of a category that a file gives as a number.
pub fn number(text: &str) -> Option<String> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.to_string());
    }
    text.parse().ok().filter(|v: &f64| v.is_finite()).map(number_name)
}
