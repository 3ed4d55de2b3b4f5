//! Jobs with a dealer in the simulated world: the first owner's private models, a rule of all, and what comes of them.

use serde_json::{Value, json};
use tacit_governance::{ModelDescriptor, ModelFamily, ModelRef};
use tacit_jobs::Opened;
use tacit_models::{
    Activation, Feature, Frame, Kind, Layer, Link, Meta, Missing, Model, Network, Node, Precision, Split, Test, Tree,
    Trees,
};
use tacit_types::{Hash, ModelVersionId, Name};

use super::cast::Cast;
use super::score;
use crate::run::{Check, holds};

/// The kinds that are drawn beside scores of a linear model.
pub const KINDS: [&str; 3] = ["score-trees/v1", "score-network/v1", "verify/v1"];

/// The versions of the first owner's trees and network.
const TREES: ModelVersionId = ModelVersionId([98; 32]);
const NETWORK: ModelVersionId = ModelVersionId([97; 32]);
/// How far a score may be from the exact one.
const ERROR: f64 = 1e-3;
/// What a rule asks of every owner's number.
const LEAST: f64 = 3.0;

/// The columns that data owners bring, ascending, with the seat of each.
fn columns(cast: &Cast) -> Vec<(String, usize)> {
    let data = &cast.owners[..cast.owners.len() - 1];
    let mut all: Vec<(String, usize)> = data.iter().enumerate().map(|(seat, o)| (o.own_column.clone(), seat)).collect();
    all.sort();
    all
}

/// A tree that tells numbers below two, below five and others apart.
fn tree(feature: u32, weight: f64) -> Tree {
    let split =
        |threshold: f64, no| Node::Split(Split { feature, test: Test::Below(threshold), missing: Missing::No, no });
    let leaf = |value: f64| Node::Leaf(value * weight);
    Tree { nodes: vec![split(5.0, 4), split(2.0, 3), leaf(1.0), leaf(2.0), leaf(-1.5)] }
}

/// The first owner's model of a kind that has one, with what others know of it.
fn model(cast: &Cast, kind: &str) -> Option<(ModelVersionId, ModelDescriptor, Model)> {
    let columns = columns(cast);
    let (version, name, family, of) = match kind {
        "score-trees/v1" => {
            let trees = columns.iter().enumerate().map(|(i, (_, seat))| tree(i as u32, 4f64.powi(*seat as i32)));
            let trees = Trees { precision: Precision::Single, base: 0.25, average: false, trees: trees.collect() };
            (TREES, "trees", ModelFamily::Trees, Kind::Trees(trees))
        }
        "score-network/v1" => {
            // How far the sum of all numbers is above nine, and twice how far below.
            let weights = columns.iter().flat_map(|_| [1.0, -1.0]).collect();
            let first = Layer { weights, bias: vec![-9.0, 9.0], activation: Activation::Relu };
            let last = Layer { weights: vec![1.0, 2.0], bias: vec![0.0], activation: Activation::Identity };
            (NETWORK, "network", ModelFamily::Network, Kind::Network(Network { layers: vec![first, last] }))
        }
        _ => return None,
    };
    let (owner, name) = (cast.owners[0].root.id(), Name::new(name).expect("why: it is a name"));
    let features = columns.iter().map(|(name, _)| Feature::numeric(name)).collect();
    let meta = Meta { owner, name: name.clone(), version: 1 };
    let model = Model::new(meta, features, Link::Identity, of).expect("why: the model is sound");
    let features = columns.into_iter().map(|(name, _)| name).collect();
    let commitment = Hash(version.0);
    let descriptor = ModelDescriptor { format: 1, owner, name, version: 1, family, features, commitment };
    Some((version, descriptor, model))
}

/// Every private model of the first owner.
pub fn held(cast: &Cast) -> Vec<(ModelVersionId, ModelDescriptor)> {
    let others = KINDS.iter().filter_map(|kind| model(cast, kind)).map(|(id, descriptor, _)| (id, descriptor));
    core::iter::once((score::WHOLE, score::whole_model(cast).0)).chain(others).collect()
}

/// The versions of those models, which a contract names.
pub const VERSIONS: [ModelVersionId; 3] = [score::WHOLE, TREES, NETWORK];

/// The models that a job of a kind names, with what others know of them.
pub fn named(cast: &Cast, kind: &str) -> Vec<(ModelRef, ModelDescriptor)> {
    let owner = cast.owners[0].root.id();
    match kind {
        "score-linear/v1" => vec![(ModelRef { owner, model: score::WHOLE }, score::whole_model(cast).0)],
        _ => model(cast, kind).into_iter().map(|(model, d, _)| (ModelRef { owner, model }, d)).collect(),
    }
}

/// The canonical bytes of the first owner's model.
pub fn bytes(cast: &Cast, kind: &str) -> Option<Vec<u8>> {
    match kind {
        "score-linear/v1" => Some(score::whole_model(cast).1),
        _ => model(cast, kind).map(|(_, _, model)| model.encode()),
    }
}

/// What a person writes for a job of a kind.
pub fn written(cast: &Cast, kind: &str) -> Value {
    let columns = columns(cast);
    let ranges: serde_json::Map<_, _> = columns.iter().map(|(name, _)| (name.clone(), json!(["0", "8"]))).collect();
    match kind {
        "score-trees/v1" => {
            json!({"key": "id", "library": "xgboost", "trees": columns.len(), "leaves": 4, "bound": "2048"})
        }
        "score-network/v1" => json!({"key": "id", "layers": [2], "bound": "256", "ranges": ranges}),
        "verify/v1" => {
            let asked: Vec<String> = columns.iter().map(|(name, _)| format!("{name} >= {LEAST}")).collect();
            json!({"key": "id", "rule": asked.join(" and ")})
        }
        _ => json!({"key": "id", "mode": "private", "ranges": ranges, "bound": "131072", "error": "0.001"}),
    }
}

/// Each key that all data owners have is scored as the model scores it, or answered as the rule has it; no other is.
pub fn the_output_is_that_of_the_whole_table(
    cast: &Cast,
    kind: &str,
    opened: &Opened,
    digit: impl Fn(usize, usize) -> Option<f64>,
) -> Check {
    let columns = columns(cast);
    for (row, key) in score::KEYS.iter().enumerate() {
        let values: Option<Vec<f64>> = columns.iter().map(|(_, seat)| digit(*seat, row)).collect();
        let values = values.filter(|_| *key != "nobody");
        let (right, found) = match model(cast, kind) {
            None => {
                let wanted = values.as_ref().is_some_and(|all| all.iter().all(|v| *v >= LEAST));
                (opened.json["decisions"][row] == json!(wanted), opened.json["decisions"][row].clone())
            }
            Some((_, _, model)) => {
                let margin = values.as_ref().and_then(|all| {
                    let frame = Frame::row(model.features(), all).ok()?;
                    model.margins(&frame).ok()?.first().copied()
                });
                let score = opened.json["scores"][row].clone();
                let right = match (score.as_f64(), margin) {
                    (Some(score), Some(margin)) => (score - margin).abs() <= ERROR,
                    (score, margin) => score.is_none() && margin.is_none(),
                };
                (right, score)
            }
        };
        holds(right, "the_output_equals_the_plaintext_oracle", || format!("{kind}, key {key}: {found} of {values:?}"))?;
    }
    Ok(())
}
