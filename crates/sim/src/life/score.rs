//! A score in the simulated world: a split model, or a private one with a dealer, a list of keys, and what the
//! scores must be.

use serde_json::json;
use tacit_governance::dataset::ColumnKind;
use tacit_governance::{AttachmentRef, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::keys;
use tacit_jobs::{Draft, Material, Opened};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_types::{Hash, ModelVersionId, Name, NodeId, Seat};

use super::cast::Cast;
use super::dealt;
use crate::run::{Check, holds};

/// The keys of every job that scores: row `i` of an owner has key `r<i>`, and nobody has the last.
pub const KEYS: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "nobody"];
/// Rows that a contract allows to be scored: enough for every job of a run.
pub const ROWS_ALLOWED: u64 = 1000 * KEYS.len() as u64;

/// The key of an owner's row.
pub fn key(row: usize) -> String {
    format!("r{row}")
}

/// Rows of one job.
pub fn rows() -> u64 {
    KEYS.len() as u64
}

/// The part of the model that the `i`-th owner made holds: digits of its own, sixteen to a digit.
pub fn model(i: usize, owner: NodeId) -> (ModelVersionId, ModelDescriptor, Vec<u8>) {
    let name = Name::new("credit").expect("why: it is a name");
    let weight = 16f64.powi(i as i32) / 128f64.powi(i as i32);
    let terms = vec![Term { feature: 0, shape: Shape::Linear { weight, missing: None } }];
    let meta = Meta { owner, name: name.clone(), version: 1 };
    let kind = Kind::Additive(Additive { intercept: 0.0, terms });
    let model =
        Model::new(meta, vec![Feature::numeric("amount")], Link::Identity, kind).expect("why: the model is sound");
    let descriptor = ModelDescriptor {
        format: 1,
        owner,
        name,
        version: 1,
        family: ModelFamily::Linear,
        features: vec!["amount".into()],
        commitment: Hash([i as u8; 32]),
    };
    (ModelVersionId([i as u8; 32]), descriptor, model.encode())
}

/// The version of the model that the first owner shows to nobody.
pub const WHOLE: ModelVersionId = ModelVersionId([99; 32]);
/// How far a score on shares may be from the exact one.
const ERROR: f64 = 1e-3;

/// Who has data where the last owner deals.
fn data_owners(cast: &Cast) -> &[super::cast::Owner] {
    &cast.owners[..cast.owners.len() - 1]
}

fn weight(seat: usize) -> f64 {
    16f64.powi(seat as i32)
}

/// The first owner's model over a column of each data owner: digits of their own, sixteen to a digit.
pub fn whole_model(cast: &Cast) -> (ModelDescriptor, Vec<u8>) {
    let (owner, name) = (cast.owners[0].root.id(), Name::new("whole").expect("why: it is a name"));
    let mut features: Vec<(String, f64)> =
        data_owners(cast).iter().enumerate().map(|(seat, o)| (o.own_column.clone(), weight(seat))).collect();
    features.sort_by(|a, b| a.0.cmp(&b.0));
    let term = |(i, (_, weight)): (usize, &(String, f64))| Term {
        feature: i as u32,
        shape: Shape::Linear { weight: *weight, missing: None },
    };
    let terms = features.iter().enumerate().map(term).collect();
    let named = features.iter().map(|(name, _)| Feature::numeric(name)).collect();
    let meta = Meta { owner, name: name.clone(), version: 1 };
    let kind = Kind::Additive(Additive { intercept: 0.0, terms });
    let model = Model::new(meta, named, Link::Identity, kind).expect("why: the model is sound");
    let descriptor = ModelDescriptor {
        format: 1,
        owner,
        name,
        version: 1,
        family: ModelFamily::Linear,
        features: features.into_iter().map(|(name, _)| name).collect(),
        commitment: Hash([99; 32]),
    };
    (descriptor, model.encode())
}

/// The signed parameters of a job with a dealer.
pub fn private_params(cast: &Cast, kind: &str) -> Vec<u8> {
    let provider = |o: &super::cast::Owner| DraftProvider {
        name: o.name.to_string(),
        owner: o.root.id(),
        columns: [(o.own_column.clone(), ColumnKind::Int), ("id".to_owned(), ColumnKind::Text)].into(),
    };
    let draft = Draft {
        providers: data_owners(cast).iter().map(provider).collect(),
        models: dealt::named(cast, kind),
        dealer: cast.owners.last().map(|o| o.root.id()),
        keys: Some(rows()),
    };
    let written = dealt::written(cast, kind);
    tacit_jobs::kind(kind).and_then(|k| k.draft(written, &draft)).expect("why: sound parameters")
}

/// Each key that all data owners have is scored by the digits of their rows, and no other is.
pub fn the_scores_are_those_of_the_private_model(
    opened: &Opened,
    owners: usize,
    digit: impl Fn(usize, usize) -> Option<f64>,
) -> Check {
    for (row, key) in KEYS.iter().enumerate() {
        let parts: Option<Vec<f64>> = (0..owners - 1).map(|seat| Some(digit(seat, row)? * weight(seat))).collect();
        let expected = parts.filter(|_| *key != "nobody").map(|p| p.iter().sum::<f64>());
        let score = opened.json["scores"][row].as_f64();
        let right = match (score, expected) {
            (Some(score), Some(expected)) => (score - expected).abs() <= ERROR,
            (score, expected) => score.is_none() && expected.is_none(),
        };
        holds(right, "the_output_equals_the_plaintext_oracle", || format!("key {key}: {score:?}, not {expected:?}"))?;
    }
    Ok(())
}

/// What a job with a dealer has beside its parameters.
pub fn private_parts(cast: &Cast, kind: &str) -> (Vec<ProviderRef>, Vec<ModelRef>, Vec<AttachmentRef>) {
    let (mut providers, _, attachments) = parts(cast);
    providers.pop();
    (providers, dealt::named(cast, kind).into_iter().map(|(model, _)| model).collect(), attachments)
}

/// What a job that scores has beside its parameters.
pub fn parts(cast: &Cast) -> (Vec<ProviderRef>, Vec<ModelRef>, Vec<AttachmentRef>) {
    let provider = |o: &super::cast::Owner| ProviderRef { owner: o.root.id(), dataset: o.dataset, view: "v".into() };
    let model = |o: &super::cast::Owner| ModelRef { owner: o.root.id(), model: o.model.0 };
    let (hash, bytes) = (Hash([7; 32]), list().len() as u64);
    let keys = AttachmentRef { name: keys::ATTACHMENT.into(), plain: hash, sealed: hash, bytes };
    (cast.owners.iter().map(provider).collect(), cast.owners.iter().map(model).collect(), vec![keys])
}

fn list() -> Vec<u8> {
    keys::encode(KEYS).expect("why: the keys are sound").1
}

/// The signed parameters.
pub fn params(cast: &Cast) -> Vec<u8> {
    let columns = [("amount", ColumnKind::Int), ("grp", ColumnKind::Text), ("id", ColumnKind::Text)];
    let provider = |o: &super::cast::Owner| DraftProvider {
        name: o.name.to_string(),
        owner: o.root.id(),
        columns: columns.map(|(name, kind)| (name.to_owned(), kind)).into(),
    };
    let draft = Draft {
        providers: cast.owners.iter().map(provider).collect(),
        models: cast
            .owners
            .iter()
            .map(|o| (ModelRef { owner: o.root.id(), model: o.model.0 }, o.model.1.clone()))
            .collect(),
        keys: Some(rows()),
        ..Draft::default()
    };
    let kind = tacit_jobs::kind("score-linear/v1");
    kind.and_then(|k| k.draft(json!({"key": "id"}), &draft)).expect("why: sound parameters")
}

/// What an owner's node brings to its half.
pub fn material(cast: &Cast, owner: usize, private: bool, kind: &str) -> Material {
    let attachments = [(keys::ATTACHMENT.to_owned(), list())].into();
    let model = match private {
        true => dealt::bytes(cast, kind).filter(|_| owner == 0),
        false => Some(cast.owners[owner].model.2.clone()),
    };
    Material { model, attachments }
}

/// Each key that all owners have is scored by the sum of its rows' digits, and no other is.
pub fn the_scores_are_those_of_the_whole_model(
    opened: &Opened,
    survivors: &[Seat],
    digit: impl Fn(usize, usize) -> Option<f64>,
) -> Check {
    for (row, key) in KEYS.iter().enumerate() {
        let parts: Option<Vec<f64>> = survivors.iter().map(|s| digit(s.index(), row)).collect();
        let expected = parts.filter(|_| *key != "nobody").map(|p| p.iter().sum::<f64>());
        let score = opened.json["scores"][row].as_f64();
        holds(score == expected, "the_output_equals_the_plaintext_oracle", || {
            format!("key {key}: {score:?}, not {expected:?}")
        })?;
    }
    Ok(())
}
