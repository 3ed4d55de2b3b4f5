//! What a model is. A [`Model`] was checked: every index is in range, every number finite, every tree is a tree, every
//! limit holds. So scoring it needs no check and cannot loop.

use std::collections::BTreeSet;

use tacit_types::{Code, Fault, Name, NodeId};

use crate::additive::Additive;
use crate::limits::{CATEGORIES_MAX, CATEGORIES_TOTAL_MAX, CATEGORY_BYTES_MAX, FEATURE_NAME_BYTES_MAX, FEATURES_MAX};
use crate::network::Network;
use crate::normed::Normed;
use crate::part::TreesPart;
use crate::tree::Trees;

/// Who a model belongs to and how it is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// The key of the organisation that publishes the model.
    pub owner: NodeId,
    /// The model's name at its owner.
    pub name: Name,
    /// Its number: a changed model gets the next one.
    pub version: u32,
}

/// One input of a model.
#[derive(Clone, PartialEq, Debug)]
pub struct Feature {
    /// The name of the column that holds it.
    pub name: String,
    /// Numbers or categories.
    pub kind: FeatureKind,
    /// The least and greatest value that the owner declares, for numbers. Scoring in floating point does not look at
    /// it; fixed point clips to it and takes its bounds from it.
    pub range: Option<(f64, f64)>,
}

impl Feature {
    /// A numeric feature without a declared range.
    pub fn numeric(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: FeatureKind::Numeric, range: None }
    }

    /// A categorical feature; the place of a category in the list is its code.
    pub fn categorical(name: impl Into<String>, categories: Vec<String>) -> Self {
        Self { name: name.into(), kind: FeatureKind::Categorical(categories), range: None }
    }

    /// The same with a declared range.
    #[must_use]
    pub fn within(mut self, least: f64, greatest: f64) -> Self {
        self.range = Some((least, greatest));
        self
    }

    /// The number of categories; zero for numbers.
    pub fn categories(&self) -> usize {
        match &self.kind {
            FeatureKind::Numeric => 0,
            FeatureKind::Categorical(list) => list.len(),
        }
    }
}

/// What the values of a feature are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FeatureKind {
    /// Numbers.
    Numeric,
    /// One of these texts; its place in the list is its code.
    Categorical(Vec<String>),
}

/// What turns a margin into a score. It is monotone and applied by the recipient in clear.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Link {
    /// The margin is the score.
    Identity,
    /// `1 / (1 + exp(-slope x))`.
    Logistic {
        /// Factor of the margin; 1 but for LightGBM's `sigmoid` parameter.
        slope: f64,
    },
    /// `exp(x)`.
    Exp,
}

impl Link {
    /// The score of a margin.
    pub fn apply(self, margin: f64) -> f64 {
        match self {
            Link::Identity => margin,
            Link::Logistic { slope } => 1.0 / (1.0 + (-slope * margin).exp()),
            Link::Exp => margin.exp(),
        }
    }
}

/// How the margin comes from the features.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A sum of one function per feature: linear models and scorecards.
    Additive(Additive),
    /// A linear model over features under one norm.
    Normed(Normed),
    /// A sum or mean over decision trees.
    Trees(Trees),
    /// Dense layers.
    Network(Network),
    /// One party's part of divided trees. Alone it scores nothing.
    Part(TreesPart),
}

/// A checked model.
#[derive(Clone, PartialEq, Debug)]
pub struct Model {
    meta: Meta,
    features: Vec<Feature>,
    link: Link,
    kind: Kind,
}

impl Model {
    /// Checks the parts and joins them.
    ///
    /// # Errors
    /// `model.features` for names that are empty, double or too long, for doubled or missing categories and for
    /// ranges that are not ranges; `model.too_large`, `model.not_finite`, `model.structure` for the rest.
    pub fn new(meta: Meta, features: Vec<Feature>, link: Link, kind: Kind) -> Result<Self, Fault> {
        // The values of leaves are a part also where no feature is this party's.
        let bare = matches!(&kind, Kind::Part(part) if part.leaves.is_some());
        if !(bare && features.is_empty()) {
            check_features(&features)?;
        }
        if let Link::Logistic { slope } = link
            && !(slope.is_finite() && slope > 0.0)
        {
            return Err(Fault::new(Code::ModelNotFinite, format!("the slope of the logistic link is {slope}")));
        }
        match &kind {
            Kind::Additive(additive) => additive.check(&features)?,
            Kind::Normed(normed) => normed.check(&features)?,
            Kind::Trees(trees) => trees.check(&features)?,
            Kind::Network(network) => network.check(&features)?,
            Kind::Part(part) => part.check(&features)?,
        }
        Ok(Self { meta, features, link, kind })
    }

    /// Owner, name and version.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The same model under another owner, name and version.
    #[must_use]
    pub fn named(mut self, meta: Meta) -> Self {
        self.meta = meta;
        self
    }

    /// The features, in the order of training.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The link function.
    pub fn link(&self) -> Link {
        self.link
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The same model with declared ranges for some numeric features, by name.
    ///
    /// # Errors
    /// `model.features` when a name is not a numeric feature of the model or a range is not one.
    pub fn with_ranges(mut self, ranges: &[(&str, f64, f64)]) -> Result<Self, Fault> {
        for (name, least, greatest) in ranges {
            let found = self.features.iter_mut().find(|f| f.name == *name);
            let feature = found.ok_or_else(|| Fault::new(Code::ModelFeatures, format!("there is no {name:?}")))?;
            feature.range = Some((*least, *greatest));
        }
        check_features(&self.features)?;
        Ok(self)
    }
}

/// Checks names, categories and ranges.
fn check_features(features: &[Feature]) -> Result<(), Fault> {
    let fault = |what: String| Err(Fault::new(Code::ModelFeatures, what));
    if features.len() > FEATURES_MAX {
        return Err(Fault::new(Code::ModelTooLarge, format!("{} features; at most {FEATURES_MAX}", features.len())));
    }
    if features.is_empty() {
        return fault("a model has at least one feature".into());
    }
    let (mut names, mut categories) = (BTreeSet::new(), 0);
    for (i, feature) in features.iter().enumerate() {
        let name = &feature.name;
        if name.is_empty() || name.len() > FEATURE_NAME_BYTES_MAX {
            return fault(format!("feature {i}: a name has 1 to {FEATURE_NAME_BYTES_MAX} bytes"));
        }
        if !names.insert(name.as_str()) {
            return fault(format!("feature {i}: {name:?} is there twice"));
        }
        if let FeatureKind::Categorical(list) = &feature.kind {
            categories += list.len();
            check_categories(name, list)?;
        }
        match (feature.range, &feature.kind) {
            (None, _) => {}
            (Some((a, b)), FeatureKind::Numeric) if a.is_finite() && b.is_finite() && a <= b => {}
            (Some((a, b)), _) => return fault(format!("feature {name:?}: {a} to {b} is not a range of it")),
        }
    }
    if categories > CATEGORIES_TOTAL_MAX {
        let what = format!("{categories} categories in all; at most {CATEGORIES_TOTAL_MAX}");
        return Err(Fault::new(Code::ModelTooLarge, what));
    }
    Ok(())
}

fn check_categories(name: &str, list: &[String]) -> Result<(), Fault> {
    if list.len() > CATEGORIES_MAX {
        let what = format!("feature {name:?}: {} categories; at most {CATEGORIES_MAX}", list.len());
        return Err(Fault::new(Code::ModelTooLarge, what));
    }
    if let Some(long) = list.iter().position(|c| c.len() > CATEGORY_BYTES_MAX) {
        let what = format!("feature {name:?}: category {long} has more than {CATEGORY_BYTES_MAX} bytes");
        return Err(Fault::new(Code::ModelTooLarge, what));
    }
    let distinct: BTreeSet<&str> = list.iter().map(String::as_str).collect();
    if list.is_empty() || distinct.len() < list.len() {
        let what = format!("feature {name:?}: categories are at least one and all different");
        return Err(Fault::new(Code::ModelFeatures, what));
    }
    Ok(())
}

/// Refuses a number that is not finite.
pub(crate) fn finite(value: f64, place: impl FnOnce() -> String) -> Result<(), Fault> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Fault::new(Code::ModelNotFinite, format!("{}: {value}", place())))
}
