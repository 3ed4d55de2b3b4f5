//! Models at their owner's: import, versions, what may be published, reading for a job.

use tacit_crypto::{Statement, Transcript, sha256};
use tacit_governance::{ModelDescriptor, ModelFamily};
use tacit_models::{Kind, Meta, Model};
use tacit_types::{Code, Fault, ModelVersionId, Name};

use crate::config::Keys;
use crate::store::{ModelRow, Store};

/// Keeps a model as the next version of its name, and signs what others may know of it. `make` gets owner, name and
/// version and gives the model.
///
/// # Errors
/// Those of `make`; those of the database.
pub async fn add(
    store: &Store,
    keys: &Keys,
    name: &Name,
    make: impl FnOnce(Meta) -> Result<Model, Fault>,
) -> Result<(ModelRow, Model), Fault> {
    let known = store.models().await?;
    let version = known.iter().filter(|m| m.name == name.as_str()).map(|m| m.version).max().unwrap_or(0) + 1;
    let owner = keys.root.id();
    let model = make(Meta { owner, name: name.clone(), version })?;
    let bytes = model.encode();
    let salt: [u8; 32] = crate::os_rng()?.bytes();
    let now = crate::now();
    let descriptor = ModelDescriptor {
        format: 1,
        owner,
        name: name.clone(),
        version,
        family: family(&model),
        features: model.features().iter().map(|f| f.name.clone()).collect(),
        commitment: Transcript::new("tacit-model/1/commitment").fixed(&salt).bytes(&bytes).finish(),
    };
    let signed = Statement::sign(&keys.root, name.as_str(), now, None, descriptor);
    let row = ModelRow {
        name: name.to_string(),
        version,
        id: ModelVersionId(sha256(signed.bytes()).0),
        descriptor: signed.bytes().to_vec(),
        added_at: now,
    };
    store.put_model(&row, &salt, &bytes).await?;
    Ok((row, model))
}

/// The family that a contract and a job kind know a model by.
pub fn family(model: &Model) -> ModelFamily {
    match model.kind() {
        Kind::Additive(_) | Kind::Normed(_) => ModelFamily::Linear,
        Kind::Trees(_) | Kind::Part(_) => ModelFamily::Trees,
        Kind::Network(_) => ModelFamily::Network,
    }
}

/// The signed descriptor of a model version.
///
/// # Errors
/// `store.corrupt`.
pub fn descriptor(row: &ModelRow) -> Result<ModelDescriptor, Fault> {
    Statement::<ModelDescriptor>::verify(&row.descriptor)
        .map(Statement::into_body)
        .map_err(|e| Fault::new(Code::StoreCorrupt, format!("model {}: {e}", row.name)))
}

/// The canonical bytes of a model version.
///
/// # Errors
/// `refused.model` when it is not held here; those of the database.
pub async fn find(store: &Store, id: &ModelVersionId) -> Result<Vec<u8>, Fault> {
    store
        .model(id)
        .await?
        .ok_or_else(|| Fault::new(Code::RefusedModel, format!("model version {} is not held here", id.short())))
}
