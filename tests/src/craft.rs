//! Jobs made by hand, right or wrong in one place.

use std::collections::BTreeMap;

use serde_json::Value;
use tacit_crypto::{SealPublic, SigningKey, Statement};
use tacit_governance::{Cohort, ColumnKind, JobSpec, ProviderRef};
use tacit_types::{ContractId, DatasetVersionId, NodeId, UnixMillis};

use crate::world::World;

/// What a contract offers, as `contract show` tells it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The contract.
    pub contract: ContractId,
    /// Its purpose.
    pub purpose: String,
    /// Its datasets.
    pub providers: Vec<ProviderRef>,
    /// Its floor.
    pub cohort: Cohort,
    /// Kinds of its columns; all numeric ones are taken as whole numbers.
    pub kinds: BTreeMap<String, ColumnKind>,
}

impl Offer {
    /// Reads a contract as `lab` sees it.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn of(world: &World, contract: &str, kinds: &[(&str, ColumnKind)]) -> Self {
        let shown = world.run_soon("lab", &["contract", "show", contract]);
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{shown}")).to_owned();
        let root = |name: &Value| {
            let party = shown["parties"].as_array().into_iter().flatten().find(|p| p["name"] == *name);
            NodeId::from_hex(&text(&party.unwrap_or_else(|| panic!("{shown}"))["root"]))
                .unwrap_or_else(|f| panic!("{f}"))
        };
        let providers = shown["datasets"].as_array().into_iter().flatten().map(|d| ProviderRef {
            owner: root(&d["owner"]),
            dataset: DatasetVersionId::from_hex(&text(&d["dataset"])).unwrap_or_else(|f| panic!("{f}")),
            view: text(&d["views"][0]),
        });
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{shown}"));
        Self {
            contract: ContractId::from_hex(&text(&shown["id"])).unwrap_or_else(|f| panic!("{f}")),
            purpose: text(&shown["purpose"]),
            providers: providers.collect(),
            cohort: Cohort {
                rows: number(&shown["cohort"]["rows"]),
                contributors: number(&shown["cohort"]["contributors"]) as u16,
            },
            kinds: kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        }
    }

    /// A job over all of it. The nonce tells jobs with equal terms apart.
    ///
    /// # Panics
    /// When the parameters are no good.
    #[track_caller]
    pub fn spec(&self, kind: &str, params: Value, recipient: SealPublic, nonce: u64) -> JobSpec {
        let catalogued = tacit_jobs::kind(kind).unwrap_or_else(|f| panic!("{f}"));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&nonce.to_be_bytes());
        let now = now();
        JobSpec {
            version: 1,
            kind: kind.to_owned(),
            params: catalogued.params(params, &self.kinds).unwrap_or_else(|f| panic!("{f}")),
            contracts: vec![self.contract],
            providers: self.providers.clone(),
            purpose: self.purpose.clone(),
            recipient,
            cohort: self.cohort,
            nonce: bytes.to_vec(),
            created_at: now,
            expires_at: now.plus(3_600_000),
            attempt_ms: 60_000,
            models: Vec::new(),
            dealer: None,
            asker: None,
            attachments: Vec::new(),
        }
    }
}

/// Signs a job.
pub fn sign(key: &SigningKey, spec: &JobSpec) -> Vec<u8> {
    Statement::sign(key, &spec.kind, spec.created_at, None, spec.clone()).bytes().to_vec()
}

/// The wall clock.
pub fn now() -> UnixMillis {
    (tacit_net::system_clock())()
}
