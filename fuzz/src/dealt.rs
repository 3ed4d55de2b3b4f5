//! Decoders of scoring jobs with a dealer: trees, networks, verifications, and parts of divided trees.

use serde_json::{Value, json};
use tacit_governance::{AttachmentRef, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef};
use tacit_jobs::cross::params::CROSS_COLUMNS_MAX;
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::keys;
use tacit_jobs::{Draft, Material, Parts};
use tacit_types::{DatasetVersionId, Hash, ModelVersionId, Name, NodeId};

const OWNERS: [(&str, NodeId); 2] = [("bank", NodeId([1; 32])), ("telecom", NodeId([2; 32]))];
const DEALER: NodeId = NodeId([3; 32]);

fn models(count: usize) -> Vec<ModelRef> {
    OWNERS.iter().take(count).map(|(_, owner)| ModelRef { owner: *owner, model: ModelVersionId([1; 32]) }).collect()
}

/// What is planned is bounded, and every column that is read is decided on; of whoever has a model, and with no model.
fn params(kind: &str, bytes: &[u8]) {
    // proof: the kind is in the catalogue.
    let kind = tacit_jobs::kind(kind).expect("a known kind");
    let provider = |(_, owner)| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
    let (providers, hash) = (OWNERS.map(provider), Hash([0; 32]));
    let attachments = [AttachmentRef { name: keys::ATTACHMENT.into(), plain: hash, sealed: hash, bytes: 1 }];
    for count in 0..=OWNERS.len() {
        let models = models(count);
        let parts = Parts { providers: &providers, models: &models, dealer: Some(DEALER), attachments: &attachments };
        let Ok(plan) = kind.plan(bytes, &parts) else { continue };
        for (_, owner) in OWNERS {
            let (facts, query) = (plan.facts(&owner), plan.local_query(&owner, "data"));
            assert!(
                query.columns.iter().all(|c| facts.uses.iter().any(|(used, _)| used == c)),
                "a column is not decided on"
            );
            assert!(facts.score.is_some_and(|s| s.rows > 0 && s.rows <= keys::KEYS_MAX));
            assert!(plan.fold(&owner, Material::default()).is_err(), "a half without keys and model");
        }
        assert!(plan.disclosures().iter().all(|d| d.cells_max <= 2 * keys::KEYS_MAX));
    }
}

fn seed(kind: &str, models_count: usize, written: Value) -> Vec<u8> {
    let columns = [("id", ColumnKind::Text), ("x", ColumnKind::Float), ("y", ColumnKind::Float)];
    let own = |name: &str| columns.iter().filter(|(n, _)| *n != name).map(|(n, k)| ((*n).to_owned(), *k)).collect();
    let descriptor = |owner| ModelDescriptor {
        format: 1,
        owner,
        name: Name::new("credit").expect("a name"),
        version: 1,
        family: ModelFamily::Trees,
        features: vec!["x".into(), "y".into()],
        commitment: Hash([0; 32]),
    };
    let provider = |((name, owner), other): ((&str, NodeId), &str)| DraftProvider {
        name: name.into(),
        owner,
        columns: own(other),
    };
    let draft = Draft {
        providers: OWNERS.into_iter().zip(["y", "x"]).map(provider).collect(),
        models: models(models_count).into_iter().map(|at| (at.clone(), descriptor(at.owner))).collect(),
        dealer: Some(DEALER),
        keys: Some(3),
        ..Draft::default()
    };
    let kind = tacit_jobs::kind(kind).expect("a known kind");
    kind.draft(written, &draft).expect("sound parameters")
}

/// Parameters of `cross-stats/v1`: what is planned is bounded, every column that is read is decided on, and no half but one on
/// shares is given.
pub fn cross(bytes: &[u8]) {
    // proof: the kind is in the catalogue.
    let kind = tacit_jobs::kind("cross-stats/v1").expect("a known kind");
    let providers =
        OWNERS.map(|(_, owner)| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() });
    let parts = Parts { providers: &providers, dealer: Some(DEALER), ..Parts::default() };
    let Ok(plan) = kind.plan(bytes, &parts) else { return };
    let on = plan.on_shares().expect("it computes on shares");
    for (_, owner) in OWNERS {
        let (facts, query) = (plan.facts(&owner), plan.local_query(&owner, "data"));
        assert!(
            query.columns.iter().all(|c| facts.uses.iter().any(|(used, _)| used == c)),
            "a column is not decided on"
        );
        assert!(plan.fold(&owner, Material::default()).is_err(), "a half that reads rows");
        assert!(on.fold(&owner, 2).is_ok() && on.fold(&owner, u64::MAX).is_err());
    }
    let most = (2 + 3 * 2 * CROSS_COLUMNS_MAX + 2 * CROSS_COLUMNS_MAX * CROSS_COLUMNS_MAX) as u64;
    assert!(plan.disclosures().iter().all(|d| d.cells_max <= most));
}

/// Parameters to begin with.
pub fn cross_seeds() -> Vec<Vec<u8>> {
    let written = json!({"alignment": "07".repeat(32), "rows": 1000,
        "columns": {"bank": {"x": ["0", "99.5"]}, "telecom": {"y": ["-2.5", "2.5"]}}});
    vec![seed("cross-stats/v1", 0, written)]
}

/// Parameters of `score-trees/v1`.
pub fn trees(bytes: &[u8]) {
    params("score-trees/v1", bytes);
}

/// Parameters to begin with.
pub fn trees_seeds() -> Vec<Vec<u8>> {
    let private = json!({"key": "id", "library": "lightgbm", "trees": 3, "leaves": 4, "bound": "8"});
    let split = json!({"key": "id", "trees": 3, "leaves": 12, "holder": "bank", "bound": "8", "output": "band", "bands": ["0"]});
    vec![seed("score-trees/v1", 1, private), seed("score-trees/v1", 2, split)]
}

/// Parameters of `score-network/v1`.
pub fn network(bytes: &[u8]) {
    params("score-network/v1", bytes);
}

/// Parameters to begin with.
pub fn network_seeds() -> Vec<Vec<u8>> {
    let ranges = json!({"x": ["0", "1"], "y": ["-2.5", "2.5"]});
    vec![seed("score-network/v1", 1, json!({"key": "id", "layers": [4, 2], "bound": "64", "ranges": ranges}))]
}

/// Parameters of `verify/v1`.
pub fn verify(bytes: &[u8]) {
    params("verify/v1", bytes);
}

/// Parameters to begin with.
pub fn verify_seeds() -> Vec<Vec<u8>> {
    let ranges = json!({"x": ["0", "1"], "y": ["-2.5", "2.5"]});
    vec![
        seed("verify/v1", 0, json!({"key": "id", "rule": "x >= 3 and not (y < 2.5 or x in (7, 8))"})),
        seed("verify/v1", 1, json!({"key": "id", "threshold": "1.5", "bound": "32", "ranges": ranges})),
    ]
}
