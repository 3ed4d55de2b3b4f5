//! Decoders of scoring jobs: parameters, the list of keys, sealed attachments.

use serde_json::json;
use tacit_crypto::{Rng, SealKey, Secret, cbor};
use tacit_governance::{AttachmentRef, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, ProviderRef, attachment};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::keys::{self, Wanted};
use tacit_jobs::{Draft, Material, Parts};
use tacit_types::{Column, DatasetVersionId, Hash, ModelVersionId, Name, NodeId, Values};

const OWNERS: [(&str, NodeId); 2] = [("bank", NodeId([1; 32])), ("telecom", NodeId([2; 32]))];

fn providers() -> Vec<ProviderRef> {
    let provider = |(_, owner)| ProviderRef { owner, dataset: DatasetVersionId([1; 32]), view: "v".into() };
    OWNERS.map(provider).to_vec()
}

fn models() -> Vec<ModelRef> {
    OWNERS.map(|(_, owner)| ModelRef { owner, model: ModelVersionId([1; 32]) }).to_vec()
}

/// Parameters of `score-linear/v1`: what is planned is bounded, and every column that is read is decided on.
pub fn params(bytes: &[u8]) {
    // proof: the kind is in the catalogue.
    let kind = tacit_jobs::kind("score-linear/v1").expect("a known kind");
    let (providers, models) = (providers(), models());
    let hash = Hash([0; 32]);
    let attachments = [AttachmentRef { name: keys::ATTACHMENT.into(), plain: hash, sealed: hash, bytes: 1 }];
    let parts = Parts { providers: &providers, models: &models, dealer: None, attachments: &attachments };
    let Ok(plan) = kind.plan(bytes, &parts) else { return };
    for (_, owner) in OWNERS {
        let (facts, query) = (plan.facts(&owner), plan.local_query(&owner, "data"));
        assert!(
            query.columns.iter().all(|c| facts.uses.iter().any(|(used, _)| used == c)),
            "a column is not decided on"
        );
        assert!(facts.score.is_some_and(|s| s.rows > 0 && s.rows <= keys::KEYS_MAX));
        assert!(plan.fold(&owner, Material::default()).is_err(), "a half without keys and model");
    }
    assert!(plan.disclosures().iter().all(|d| d.cells_max <= 2 * keys::KEYS_MAX + 1));
}

/// Parameters to begin with.
pub fn params_seeds() -> Vec<Vec<u8>> {
    let columns = [("id", ColumnKind::Text), ("x", ColumnKind::Float)].map(|(n, k)| (n.to_owned(), k));
    let descriptor = |owner| ModelDescriptor {
        format: 1,
        owner,
        name: Name::new("credit").expect("a name"),
        version: 1,
        family: ModelFamily::Linear,
        features: vec!["x".into()],
        commitment: Hash([0; 32]),
    };
    let provider =
        |(name, owner): (&str, NodeId)| DraftProvider { name: name.into(), owner, columns: columns.clone().into() };
    let draft = Draft {
        providers: OWNERS.map(provider).to_vec(),
        models: models().into_iter().map(|at| (at.clone(), descriptor(at.owner))).collect(),
        dealer: None,
        keys: Some(3),
    };
    let kind = tacit_jobs::kind("score-linear/v1").expect("a known kind");
    [json!({"key": "id"}), json!({"key": "id", "unknown": "refuse", "link": "logistic"})]
        .map(|written| kind.draft(written, &draft).expect("sound parameters"))
        .to_vec()
}

/// A list of keys: its first four bytes say how many the job names.
pub fn key_list(bytes: &[u8]) {
    let Some((rows, list)) = bytes.split_first_chunk::<4>() else { return };
    let Ok(wanted) = Wanted::decode(list, u64::from(u32::from_le_bytes(*rows))) else { return };
    let column = Column { name: "id".into(), values: Values::Text(vec!["a".into(), String::new()]), valid: None };
    for row in 0..3 {
        assert!(wanted.places(&column, row).iter().all(|place| (*place as usize) < wanted.rows()));
    }
}

/// Lists to begin with.
pub fn key_list_seeds() -> Vec<Vec<u8>> {
    let list = |keys: &[&str]| {
        let (rows, bytes) = keys::encode(keys.iter().copied()).expect("sound keys");
        [(rows as u32).to_le_bytes().as_slice(), &bytes].concat()
    };
    vec![list(&["a"]), list(&["a", "bb", "a", "1000000007"])]
}

fn key() -> SealKey {
    SealKey::generate(&mut Rng::from_seed(&Secret::new([3; 32])))
}

/// A sealed attachment, with a reference that names whatever bytes come: only what was sealed opens.
pub fn sealed_attachment(bytes: &[u8]) {
    let good = attachment_seed();
    let reference = AttachmentRef { sealed: tacit_crypto::sha256(bytes), ..good.0 };
    if let Ok(plain) = attachment::open(&reference, bytes, &key()) {
        assert_eq!(plain, b"keys", "something else opened");
    }
}

fn attachment_seed() -> (AttachmentRef, Vec<u8>) {
    let mut rng = Rng::from_seed(&Secret::new([4; 32]));
    attachment::seal(&mut rng, "keys", b"keys", &[key().public()]).expect("a small attachment")
}

/// A sealed attachment to begin with.
pub fn sealed_attachment_seeds() -> Vec<Vec<u8>> {
    vec![attachment_seed().1]
}

/// A model version's descriptor.
pub fn model_descriptor(bytes: &[u8]) {
    if let Ok(descriptor) = cbor::decode::<ModelDescriptor>(bytes) {
        assert_eq!(cbor::encode(&descriptor), bytes);
    }
}

/// A descriptor to begin with.
pub fn model_descriptor_seeds() -> Vec<Vec<u8>> {
    let descriptor = ModelDescriptor {
        format: 1,
        owner: NodeId([1; 32]),
        name: Name::new("credit").expect("a name"),
        version: 2,
        family: ModelFamily::Trees,
        features: vec!["x".into(), "y".into()],
        commitment: Hash([7; 32]),
    };
    vec![cbor::encode(&descriptor)]
}
