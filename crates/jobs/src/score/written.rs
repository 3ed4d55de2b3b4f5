//! What a person writes under `[params]` of a scoring job, and its signed form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tacit_crypto::cbor;
use tacit_governance::Precision;
use tacit_types::{Code, Fault, JobId};

use super::online::WrittenOnline;
use super::params::{AUDITS_DEFAULT, LinkWord, Mode, Output, OwnerColumns, Range, ScoreParams, Unknown};
use crate::align::FOUND_COLUMN;
use crate::decimal::Decimal;
use crate::kind::{Draft, DraftProvider, Kind};

fn wrong<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(Code::RefusedParameters, what.into()))
}

/// What all kinds of score have in common.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    mode: Option<String>,
    /// The key column of every owner, or by owner; none where an alignment found the keys.
    key: Option<OneOrEach>,
    /// The alignment that found the keys.
    aligned: Option<String>,
    /// Room for the keys that an alignment found.
    rows: Option<u64>,
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
    /// By feature, its categories.
    categories: Option<BTreeMap<String, Vec<String>>>,
    bound: Option<Decimal>,
    error: Option<Decimal>,
    /// Whether parties that deviate are found.
    verified: Option<bool>,
    /// How many deals of a verified job are opened and derived again.
    audits: Option<u8>,
    /// The window that is opened.
    online: Option<WrittenOnline>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrEach {
    One(String),
    Each(BTreeMap<String, String>),
}

pub(super) fn word<T: Copy>(field: &str, text: Option<&str>, words: &[(&str, T)], default: T) -> Result<T, Fault> {
    let Some(text) = text else { return Ok(default) };
    words.iter().find(|(w, _)| *w == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(w, _)| *w).collect();
        Fault::new(Code::RefusedParameters, format!("{field}: `{text}`; one of {}", known.join(", ")))
    })
}

/// Scores are written with more than columns.
pub(super) fn alone() -> Fault {
    Fault::new(Code::RefusedParameters, "a score is written with its providers, models and keys")
}

/// Reads signed parameters.
///
/// # Errors
/// `refused.parameters` for what is not canonical.
pub(super) fn signed<P>(kind: &dyn Kind, bytes: &[u8]) -> Result<P, Fault>
where
    P: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let refused = |e| Fault::new(Code::RefusedParameters, format!("the parameters of {} are {e}", kind.id()));
    cbor::decode(bytes).map_err(refused)
}

/// How a kind reads what all have in common.
#[derive(Clone, Copy)]
pub(super) struct Habits {
    /// The modes that it has; the first stands where the job names none.
    pub modes: &'static [Mode],
    /// The rule for unknown keys where the job names none.
    pub unknown: Unknown,
    /// Whether features of a private model have ranges.
    pub ranges: bool,
    /// Whether features of a private model may have categories.
    pub categories: bool,
}

/// Takes the fields of one kind alone out of what a person wrote.
///
/// # Errors
/// `refused.parameters` naming the field.
pub(super) fn apart<T: DeserializeOwned>(written: &mut serde_json::Value, fields: &[&str]) -> Result<T, Fault> {
    let mut own = serde_json::Map::new();
    if let Some(all) = written.as_object_mut() {
        own.extend(fields.iter().filter_map(|name| all.remove(*name).map(|value| ((*name).to_owned(), value))));
    }
    serde_json::from_value(own.into()).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))
}

/// Turns what a person wrote into parameters, which are still to be checked.
///
/// # Errors
/// `refused.parameters` naming the field; `data.column_unknown`.
pub(super) fn read(written: serde_json::Value, draft: &Draft, habits: Habits) -> Result<ScoreParams, Fault> {
    let written: Written =
        serde_json::from_value(written).map_err(|e| Fault::new(Code::RefusedParameters, format!("params: {e}")))?;
    let modes: Vec<(&str, Mode)> = habits.modes.iter().map(|mode| (mode.word(), *mode)).collect();
    let default = modes.first().map_or(Mode::Split, |(_, mode)| *mode);
    let mode = word("mode", written.mode.as_deref(), &modes, default)?;
    let rules = [("refuse", Unknown::Refuse), ("default", Unknown::Default), ("flag", Unknown::Flag)];
    let links = [("identity", LinkWord::Identity), ("logistic", LinkWord::Logistic), ("exp", LinkWord::Exp)];
    let precisions = Precision::ALL.map(|p| (p.word(), p));
    let edges = written.threshold.iter().chain(written.bands.iter().flatten());
    let output = Output {
        precision: word("output", written.output.as_deref(), &precisions, Precision::Score)?,
        decimals: written.decimals,
        edges: edges.map(|text| Decimal::parse(text)).collect::<Result<_, _>>()?,
    };
    let owners = owners(&written, draft, mode, habits)?;
    let aligned = written.aligned.as_deref().map(|job| {
        JobId::from_hex(job).map_err(|f| Fault::new(Code::RefusedParameters, format!("aligned: {}", f.what)))
    });
    if written.rows.is_some() != written.aligned.is_some() {
        return wrong("`rows`, the room for the keys that an alignment found, goes with `aligned`");
    }
    Ok(ScoreParams {
        mode,
        rows: written.online.as_ref().map(|o| o.rows).or(written.rows).or(draft.keys).unwrap_or(0),
        aligned: aligned.transpose()?,
        online: written.online.as_ref().map(WrittenOnline::online).transpose()?,
        owners,
        output,
        unknown: word("unknown", written.unknown.as_deref(), &rules, habits.unknown)?,
        link: word("link", written.link.as_deref(), &links, LinkWord::Identity)?,
        bound: written.bound,
        error: written.error,
        verified: verified(&written)?,
    })
}

/// The audits of a verified job.
fn verified(written: &Written) -> Result<Option<u8>, Fault> {
    match (written.verified.unwrap_or(false), written.audits) {
        (true, audits) => Ok(Some(audits.unwrap_or(AUDITS_DEFAULT))),
        (false, None) => Ok(None),
        (false, Some(_)) => wrong("audits: with `verified = true` alone"),
    }
}

/// The columns of each provider.
fn owners(written: &Written, draft: &Draft, mode: Mode, habits: Habits) -> Result<Vec<OwnerColumns>, Fault> {
    let private = mode == Mode::Private;
    let mut owners = Vec::new();
    for provider in &draft.providers {
        let key = match &written.key {
            None if written.aligned.is_some() => FOUND_COLUMN.to_owned(),
            None => return wrong("key: the column with the key, of all owners or by owner"),
            Some(_) if written.aligned.is_some() => {
                return wrong("key: the alignment has said which columns are the key");
            }
            Some(OneOrEach::One(key)) => key.clone(),
            Some(OneOrEach::Each(keys)) => match keys.get(&provider.name) {
                Some(key) => key.clone(),
                None => return wrong(format!("key: none for `{}`", provider.name)),
            },
        };
        let mut features = match &written.features {
            Some(by_owner) => by_owner.get(&provider.name).cloned().unwrap_or_default(),
            None => named_by_models(mode, draft, provider, &key),
        };
        features.sort_unstable();
        let own_key = Some(&key).filter(|_| written.aligned.is_none());
        if let Some(column) = own_key.into_iter().chain(&features).find(|c| !provider.columns.contains_key(*c)) {
            let what = format!("`{column}` is not a column of {}", provider.name);
            return Err(Fault::new(Code::DataColumnUnknown, what));
        }
        let ranges = if private && habits.ranges { ranges_of(&features, &written.ranges)? } else { Vec::new() };
        let categories = if private && habits.categories { categories_of(&features, written) } else { Vec::new() };
        owners.push(OwnerColumns { owner: provider.owner, key, features, ranges, categories });
    }
    if let Some(stranger) =
        written.features.iter().flat_map(BTreeMap::keys).find(|n| !draft.providers.iter().any(|p| p.name == **n))
    {
        return wrong(format!("features: `{stranger}` is not a provider of the contract"));
    }
    let held =
        |name: &String, some: fn(&OwnerColumns) -> bool| owners.iter().any(|o| some(o) && o.features.contains(name));
    if let Some(name) = written.ranges.iter().flat_map(BTreeMap::keys).find(|n| !held(n, |o| !o.ranges.is_empty())) {
        return wrong(format!("ranges: `{name}` is no feature of a private model"));
    }
    let listed = written.categories.iter().flatten().filter(|(_, list)| !list.is_empty());
    if let Some((name, _)) = listed.into_iter().find(|(n, _)| !held(n, |o| !o.categories.is_empty())) {
        return wrong(format!("categories: `{name}` is no feature of a private model of trees"));
    }
    owners.sort_by_key(|o| o.owner);
    Ok(owners)
}

/// The categories of each feature, or nothing where all are numbers.
fn categories_of(features: &[String], written: &Written) -> Vec<Vec<String>> {
    let list = |name: &String| written.categories.as_ref().and_then(|all| all.get(name)).cloned().unwrap_or_default();
    let all: Vec<Vec<String>> = features.iter().map(list).collect();
    if all.iter().all(Vec::is_empty) { Vec::new() } else { all }
}

fn ranges_of(features: &[String], written: &Option<BTreeMap<String, [Decimal; 2]>>) -> Result<Vec<Range>, Fault> {
    let range = |name: &String| match written.as_ref().and_then(|all| all.get(name)) {
        Some([least, most]) => Ok(Range { least: *least, most: *most }),
        None => wrong(format!("ranges: none for `{name}`")),
    };
    features.iter().map(range).collect()
}

/// The provider's columns that the models name as features: of a split model those of its own part.
fn named_by_models(mode: Mode, draft: &Draft, provider: &DraftProvider, key: &str) -> Vec<String> {
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
