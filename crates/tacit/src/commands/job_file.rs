//! From a job file to a signed job.

use std::path::Path;

use serde::Deserialize;
use tacit_crypto::Statement;
use tacit_governance::{Cohort, ColumnKind, DatasetDescriptor, JobSpec, ProviderRef, SignedContract};
use tacit_jobs::{ColumnKinds, Plan};
use tacit_types::{Code, DatasetVersionId, Fault};

use crate::home::Party;

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    contract: String,
    /// The contract's purpose when absent.
    purpose: Option<String>,
    /// The view to read at every provider; each dataset itself when absent.
    view: Option<String>,
    cohort: Option<WrittenCohort>,
    #[serde(default = "attempt_seconds")]
    attempt_seconds: u64,
    #[serde(default = "expires_minutes")]
    expires_minutes: u64,
    #[serde(default)]
    params: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCohort {
    rows: u64,
    contributors: u16,
}

fn attempt_seconds() -> u64 {
    60
}

fn expires_minutes() -> u64 {
    60
}

/// A job ready to be submitted.
pub struct Ready {
    /// The signed job.
    pub job: Statement<JobSpec>,
    /// Its plan.
    pub plan: Box<dyn Plan>,
    /// Names of the providers.
    pub providers: Vec<String>,
}

/// Reads a job file.
///
/// # Errors
/// `io.failed`, `args.invalid` naming line and key.
fn read(file: &Path) -> Result<Written, Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    toml::from_str(&text)
        .map_err(|e| Fault::new(Code::ArgsInvalid, format!("{}: {}", file.display(), e.to_string().trim())))
}

/// Reads a job file, looks its names up, plans and signs it.
///
/// # Errors
/// Those of reading; `refused.contract_unknown`; those of the kind.
pub fn prepare(
    file: &Path,
    party: &Party,
    contracts: &[SignedContract],
    offered: &[(DatasetVersionId, DatasetDescriptor)],
) -> Result<Ready, Fault> {
    let written = read(file)?;
    let contract = super::contract::pick(contracts, &written.contract)?;
    let terms = contract.body();
    let mut providers = Vec::new();
    let mut names = Vec::new();
    let mut kinds: Option<ColumnKinds> = None;
    for grant in &terms.datasets {
        let (_, dataset) =
            offered.iter().find(|(id, d)| *id == grant.dataset && d.owner == grant.owner).ok_or_else(|| {
                Fault::new(Code::RefusedDataset, format!("version {} is not offered", grant.dataset.short()))
            })?;
        let view = written.view.clone().unwrap_or_else(|| dataset.name.to_string());
        providers.push(ProviderRef { owner: grant.owner, dataset: grant.dataset, view });
        let owner = terms.parties.iter().find(|p| p.root == grant.owner).map_or("?", |p| p.name.as_str());
        names.push(owner.to_owned());
        kinds = Some(common(kinds, dataset));
    }
    let kind = tacit_jobs::kind(&written.kind)?;
    let params = serde_json::to_value(&written.params).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string()))?;
    let params = kind.params(params, &kinds.unwrap_or_default())?;
    let plan = kind.plan(&params, &Parts::default())?;
    let now = tacit_node::now();
    let spec = JobSpec {
        version: 1,
        kind: written.kind,
        params,
        contracts: vec![contract.id()],
        providers,
        purpose: written.purpose.unwrap_or_else(|| terms.purpose.clone()),
        recipient: party.keys.seal_public(),
        cohort: written.cohort.map_or(terms.cohort, |c| Cohort { rows: c.rows, contributors: c.contributors }),
        nonce: tacit_node::os_rng()?.bytes::<16>().to_vec(),
        created_at: now,
        expires_at: now.plus(written.expires_minutes.saturating_mul(60_000)),
        attempt_ms: written.attempt_seconds.saturating_mul(1000),
        models: Vec::new(),
        dealer: None,
        attachments: Vec::new(),
    };
    let job = Statement::sign(&party.keys.node, &spec.kind.clone(), now, None, spec);
    // What this tool signs, it must itself be able to read.
    JobSpec::verify(job.bytes())?;
    Ok(Ready { job, plan, providers: names })
}

/// Columns that all providers have: whole numbers only where all have whole numbers.
fn common(so_far: Option<ColumnKinds>, dataset: &DatasetDescriptor) -> ColumnKinds {
    let own: ColumnKinds = dataset.columns.iter().map(|c| (c.name.clone(), c.kind)).collect();
    let Some(so_far) = so_far else { return own };
    so_far
        .into_iter()
        .filter_map(|(name, kind)| {
            let other = *own.get(&name)?;
            let merged = match (kind, other) {
                (a, b) if a == b => a,
                (ColumnKind::Text, _) | (_, ColumnKind::Text) => ColumnKind::Text,
                _ => ColumnKind::Float,
            };
            Some((name, merged))
        })
        .collect()
}
