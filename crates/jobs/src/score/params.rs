//! What a scoring job is signed over, and what a person writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use tacit_governance::Precision;
use tacit_types::limits::COLUMN_NAME_BYTES_MAX;
use tacit_types::{Code, Fault, NodeId};

use super::keys::KEYS_MAX;
use crate::decimal::Decimal;
use crate::kind::{Draft, Parts};

/// Owners of data in one scoring job.
pub const OWNERS_MAX: usize = 16;
/// Feature columns of one owner.
pub const FEATURES_MAX: usize = 4096;
/// Edges between bands.
pub const BANDS_MAX: usize = 16;
/// Values of features that one owner holds for a job on shares: rows times its features.
pub const CELLS_MAX: u64 = 1 << 26;
/// Digits after the point of a rounded score.
pub const DECIMALS_MAX: u8 = 6;

/// Who knows the weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Mode {
    /// Each owner holds the part of the model for its own features: a sum of partial scores.
    #[n(0)]
    Split,
    /// One owner holds the whole model and shows it to nobody.
    #[n(1)]
    Private,
}

/// What happens to a key that not every owner has a usable row for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Unknown {
    /// No row is scored when one is unknown.
    #[n(0)]
    Refuse,
    /// An owner without the row adds nothing; nobody learns that it has none.
    #[n(1)]
    Default,
    /// The row has no score; the recipient learns that some owner has none, not which.
    #[n(2)]
    Flag,
}

/// The function that the recipient applies to the opened sum. It is public.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum LinkWord {
    /// The sum is the score.
    #[n(0)]
    Identity,
    /// `1 / (1 + exp(-x))`.
    #[n(1)]
    Logistic,
    /// `exp(x)`.
    #[n(2)]
    Exp,
}

impl LinkWord {
    /// The score of a margin.
    pub fn apply(self, margin: f64) -> f64 {
        match self {
            LinkWord::Identity => margin,
            LinkWord::Logistic => 1.0 / (1.0 + (-margin).exp()),
            LinkWord::Exp => margin.exp(),
        }
    }
}

/// The public range of a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Range {
    /// The least value; what is below counts as it.
    #[n(1)]
    pub least: Decimal,
    /// The greatest value; what is above counts as it.
    #[n(2)]
    pub most: Decimal,
}

/// One owner's columns.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct OwnerColumns {
    /// The owner's root key.
    #[n(1)]
    pub owner: NodeId,
    /// The column that holds the key.
    #[n(2)]
    pub key: String,
    /// The columns that are features, ascending by name.
    #[n(3)]
    pub features: Vec<String>,
    /// The range of each feature, with a private model; none with a split one.
    #[n(4)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

/// What the recipient learns of each row.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Output {
    /// How much.
    #[n(1)]
    pub precision: Precision,
    /// Digits after the point, for a rounded score.
    #[n(2)]
    pub decimals: Option<u8>,
    /// On the scale before the link, ascending: the threshold of a decision, or the edges between bands.
    #[n(3)]
    #[cbor(default, skip_if = "Vec::is_empty")]
    pub edges: Vec<Decimal>,
}

/// The signed parameters of a scoring job.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct ScoreParams {
    /// Who knows the weights.
    #[n(1)]
    pub mode: Mode,
    /// Keys in the attached list.
    #[n(2)]
    pub rows: u64,
    /// Data owners, ascending by key.
    #[n(3)]
    pub owners: Vec<OwnerColumns>,
    /// What comes out.
    #[n(4)]
    pub output: Output,
    /// The rule for unknown keys.
    #[n(5)]
    pub unknown: Unknown,
    /// The link.
    #[n(6)]
    pub link: LinkWord,
    /// For a job on shares: the greatest magnitude of the score before the link, or of each part of a split model.
    #[n(7)]
    pub bound: Option<Decimal>,
    /// With a private model: how far a score before the link may be from the exact one; a millionth when absent.
    #[n(8)]
    pub error: Option<Decimal>,
}

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

impl ScoreParams {
    /// Checks everything that does not rest on the job's parts.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn check(&self) -> Result<(), Fault> {
        if !(1..=KEYS_MAX).contains(&self.rows) {
            return wrong(format!("rows: {} of 1 to {KEYS_MAX}", self.rows));
        }
        if !(1..=OWNERS_MAX).contains(&self.owners.len()) {
            return wrong(format!("{} owners of 1 to {OWNERS_MAX}", self.owners.len()));
        }
        if !self.owners.windows(2).all(|pair| matches!(pair, [a, b] if a.owner < b.owner)) {
            return wrong("the owners do not ascend");
        }
        for columns in &self.owners {
            check_columns(columns)?;
        }
        self.output.check()?;
        self.check_shared()
    }

    /// Whether the score is computed on shares, with a dealer: for a private model, and wherever less than the score
    /// comes out.
    pub fn is_shared(&self) -> bool {
        self.mode == Mode::Private || self.output.precision != Precision::Score
    }

    /// Checks what makes formats and shapes public.
    fn check_shared(&self) -> Result<(), Fault> {
        let positive = |d: Decimal| d.is_valid() && d.units > 0;
        if self.bound.is_some() != self.is_shared() || !self.bound.is_none_or(positive) {
            return wrong("`bound`, above zero, goes with a private model and with less than the score, with no other");
        }
        let private = self.mode == Mode::Private;
        if self.error.is_some_and(|e| !private || !positive(e)) {
            return wrong("`error`, above zero, goes with a private model");
        }
        let mut names = std::collections::BTreeSet::new();
        for columns in &self.owners {
            if columns.ranges.len() != if private { columns.features.len() } else { 0 } {
                return wrong("a range for each feature goes with a private model, with no other");
            }
            let is_range = |r: &Range| r.least.is_valid() && r.most.is_valid() && r.least.cmp_value(r.most).is_le();
            if let Some((name, _)) = columns.features.iter().zip(&columns.ranges).find(|(_, r)| !is_range(r)) {
                return wrong(format!("ranges: that of `{name}` is none"));
            }
            if private && let Some(twice) = columns.features.iter().find(|name| !names.insert(name.as_str())) {
                return wrong(format!("`{twice}` is a feature of two owners; say under `features` whose it is"));
            }
            if private && self.rows.saturating_mul(columns.features.len() as u64) > CELLS_MAX {
                return wrong(format!("more than {CELLS_MAX} values of one owner's features in one job"));
            }
        }
        Ok(())
    }

    /// Checks that the parameters fit who has a part in the job.
    ///
    /// # Errors
    /// `refused.parameters`.
    pub fn fits(&self, parts: &Parts<'_>) -> Result<(), Fault> {
        let providers: std::collections::BTreeSet<NodeId> = parts.providers.iter().map(|p| p.owner).collect();
        if !self.owners.iter().map(|o| &o.owner).eq(providers.iter()) {
            return wrong("the owners of the columns are not the job's providers");
        }
        let mut models: Vec<NodeId> = parts.models.iter().map(|m| m.owner).collect();
        models.sort_unstable();
        let fits = match self.mode {
            Mode::Split => models.iter().eq(providers.iter()) && parts.dealer.is_some() == self.is_shared(),
            Mode::Private => models.len() == 1 && parts.dealer.is_some(),
        };
        if !fits {
            return wrong(match self.mode {
                Mode::Split if self.is_shared() => {
                    "less than the score of a split model has one part at each owner, and a dealer"
                }
                Mode::Split => "a split model has one part at each owner and no dealer",
                Mode::Private => "a private model is one model, with a dealer",
            });
        }
        if parts.dealer.is_some_and(|d| providers.contains(&d) || models.contains(&d)) {
            return wrong("the dealer has neither data nor a model in the job");
        }
        match parts.attachments {
            [one] if one.name == super::keys::ATTACHMENT => Ok(()),
            _ => wrong("there is one attachment, the list of keys"),
        }
    }

    /// An owner's columns.
    pub fn columns(&self, owner: &NodeId) -> Option<&OwnerColumns> {
        self.owners.iter().find(|o| o.owner == *owner)
    }
}

fn check_columns(columns: &OwnerColumns) -> Result<(), Fault> {
    let name = |n: &String| !n.is_empty() && n.len() <= COLUMN_NAME_BYTES_MAX;
    if !name(&columns.key) || !columns.features.iter().all(name) {
        return wrong("a column's name is empty or too long");
    }
    if columns.features.len() > FEATURES_MAX {
        return wrong(format!("{} features of one owner, at most {FEATURES_MAX}", columns.features.len()));
    }
    if !columns.features.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
        return wrong("the features do not ascend");
    }
    if columns.features.contains(&columns.key) {
        return wrong(format!("`{}` is key and feature", columns.key));
    }
    Ok(())
}

impl Output {
    fn check(&self) -> Result<(), Fault> {
        let edges = match self.precision {
            Precision::Decision => 1..=1,
            Precision::Band => 1..=BANDS_MAX,
            Precision::Rounded | Precision::Score => 0..=0,
        };
        let ascending =
            self.edges.windows(2).all(|pair| matches!(pair, [a, b] if a.cmp_value(*b) == core::cmp::Ordering::Less));
        if !edges.contains(&self.edges.len()) || !ascending || !self.edges.iter().all(|e| e.is_valid()) {
            return wrong(format!("output: {} edges for `{}`, ascending", self.edges.len(), self.precision.word()));
        }
        let decimals = self.decimals.is_some_and(|d| d <= DECIMALS_MAX);
        if (self.precision == Precision::Rounded) != self.decimals.is_some() || (self.decimals.is_some() && !decimals) {
            return wrong(format!(
                "output: `decimals`, 0 to {DECIMALS_MAX}, goes with `rounded` and with nothing else"
            ));
        }
        Ok(())
    }
}

/// What a person writes under `[params]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: Option<String>,
    /// The key column of every owner, or by owner.
    key: OneOrEach,
    /// Features by owner; each owner's columns that the model names when absent.
    features: Option<BTreeMap<String, Vec<String>>>,
    output: Option<String>,
    decimals: Option<u8>,
    threshold: Option<String>,
    bands: Option<Vec<String>>,
    unknown: Option<String>,
    link: Option<String>,
    /// By feature, the least and the greatest value.
    ranges: Option<BTreeMap<String, [Decimal; 2]>>,
    bound: Option<Decimal>,
    error: Option<Decimal>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrEach {
    One(String),
    Each(BTreeMap<String, String>),
}

fn word<T: Copy>(field: &str, text: Option<&str>, words: &[(&str, T)], default: T) -> Result<T, Fault> {
    let Some(text) = text else { return Ok(default) };
    words.iter().find(|(w, _)| *w == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        Fault::new(Code::RefusedParameters, format!("{field}: `{text}`; one of {}", known.join(", ")))
    })
}

/// Turns what a person wrote into parameters.
///
/// # Errors
/// `refused.parameters` naming the field.
pub fn from_written(written: serde_json::Value, draft: &Draft) -> Result<ScoreParams, Fault> {
    let written: Written =
        serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))?;
    let default_mode = if draft.dealer.is_some() { Mode::Private } else { Mode::Split };
    let mode =
        word("mode", written.mode.as_deref(), &[("split", Mode::Split), ("private", Mode::Private)], default_mode)?;
    let rules = [("refuse", Unknown::Refuse), ("default", Unknown::Default), ("flag", Unknown::Flag)];
    let links = [("identity", LinkWord::Identity), ("logistic", LinkWord::Logistic), ("exp", LinkWord::Exp)];
    let precisions = Precision::ALL.map(|p| (p.word(), p));
    let edges = written.threshold.into_iter().chain(written.bands.into_iter().flatten());
    let output = Output {
        precision: word("output", written.output.as_deref(), &precisions, Precision::Score)?,
        decimals: written.decimals,
        edges: edges.map(|text| Decimal::parse(&text)).collect::<Result<_, _>>()?,
    };
    let mut owners = Vec::new();
    for provider in &draft.providers {
        let key = match &written.key {
            OneOrEach::One(key) => key.clone(),
            OneOrEach::Each(keys) => match keys.get(&provider.name) {
                Some(key) => key.clone(),
                None => return wrong(format!("key: none for `{}`", provider.name)),
            },
        };
        let mut features = match &written.features {
            Some(by_owner) => by_owner.get(&provider.name).cloned().unwrap_or_default(),
            None => named_by_models(mode, draft, provider, &key),
        };
        features.sort_unstable();
        if let Some(column) = core::iter::once(&key).chain(&features).find(|c| !provider.columns.contains_key(*c)) {
            let what = format!("`{column}` is not a column of {}", provider.name);
            return Err(Fault::new(Code::DataColumnUnknown, what));
        }
        let ranges = if mode == Mode::Private { ranges_of(&features, &written.ranges)? } else { Vec::new() };
        owners.push(OwnerColumns { owner: provider.owner, key, features, ranges });
    }
    if let Some(stranger) =
        written.features.iter().flat_map(BTreeMap::keys).find(|n| !draft.providers.iter().any(|p| p.name == **n))
    {
        return wrong(format!("features: `{stranger}` is not a provider of the contract"));
    }
    let strange = |name: &&String| !owners.iter().any(|o| !o.ranges.is_empty() && o.features.contains(*name));
    if let Some(name) = written.ranges.iter().flat_map(BTreeMap::keys).find(strange) {
        return wrong(format!("ranges: `{name}` is no feature of a private model"));
    }
    owners.sort_by_key(|o| o.owner);
    let params = ScoreParams {
        mode,
        rows: draft.keys.unwrap_or(0),
        owners,
        output,
        unknown: word("unknown", written.unknown.as_deref(), &rules, Unknown::Flag)?,
        link: word("link", written.link.as_deref(), &links, LinkWord::Identity)?,
        bound: written.bound,
        error: written.error,
    };
    params.check()?;
    Ok(params)
}

fn ranges_of(features: &[String], written: &Option<BTreeMap<String, [Decimal; 2]>>) -> Result<Vec<Range>, Fault> {
    let range = |name: &String| match written.as_ref().and_then(|all| all.get(name)) {
        Some([least, most]) => Ok(Range { least: *least, most: *most }),
        None => wrong(format!("ranges: none for `{name}`")),
    };
    features.iter().map(range).collect()
}

/// The provider's columns that the models name as features: of a split model those of its own part.
fn named_by_models(mode: Mode, draft: &Draft, provider: &crate::kind::DraftProvider, key: &str) -> Vec<String> {
    let models = draft.models.iter().filter(|(at, _)| mode == Mode::Private || at.owner == provider.owner);
    let mut named: Vec<String> = models
        .flat_map(|(_, model)| &model.features)
        .filter(|f| provider.columns.contains_key(*f) && *f != key)
        .cloned()
        .collect();
    named.sort_unstable();
    named.dedup();
    named
}
