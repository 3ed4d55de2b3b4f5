//! From a job file to a signed job.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tacit_crypto::Statement;
use tacit_governance::{
    AttachmentRef, Cohort, Contract, DatasetDescriptor, JobSpec, ModelDescriptor, ModelRef, PartyCard, ProviderRef,
    Role, SignedContract, attachment,
};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::score::keys;
use tacit_jobs::{Draft, Parts, Plan};
use tacit_types::{Code, DatasetVersionId, Fault, ModelVersionId, NodeId};

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
    /// A file with the keys of the rows to score, one a line, beside the job file.
    keys: Option<PathBuf>,
    /// `OWNER/NAME` or `OWNER/NAME@VERSION`; the contract's when absent, for kinds that score.
    models: Option<Vec<String>>,
    /// Who deals; nobody when absent.
    dealer: Option<String>,
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
    /// Sealed bytes that the coordinator must have before it takes the job.
    pub sealed: Vec<Vec<u8>>,
    /// The keys of the rows to score, for kinds that score.
    pub keys: Option<Vec<String>>,
    /// The dealer's name.
    pub dealer: Option<String>,
}

/// What names in a job file are looked up in.
pub struct Known<'a> {
    /// Contracts.
    pub contracts: &'a [SignedContract],
    /// Dataset versions.
    pub datasets: &'a [(DatasetVersionId, DatasetDescriptor)],
    /// Model versions.
    pub models: &'a [(ModelVersionId, ModelDescriptor)],
    /// Everyone's keys.
    pub cards: &'a [PartyCard],
}

/// Reads a job file.
///
/// # Errors
/// `io.failed`, `args.invalid` naming line and key.
fn read(file: &Path) -> Result<Written, Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    parse(&text).map_err(|fault| Fault::new(fault.code, format!("{}: {}", file.display(), fault.what)))
}

fn parse(text: &str) -> Result<Written, Fault> {
    toml::from_str(text).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string().trim()))
}

/// Whether this is the text of a job file.
#[cfg(test)]
pub fn parses(text: &str) -> Result<(), Fault> {
    parse(text).map(|_| ())
}

/// What opening and closing a window may take beside the time that it is open.
const WINDOW_MARGIN_SECONDS: u64 = 120;

/// Reads a job file, looks its names up, plans and signs it. With `publishes` this party is the recipient of the windows
/// that it opens.
///
/// # Errors
/// Those of reading; `refused.contract_unknown`; those of the kind.
pub fn prepare(file: &Path, party: &Party, known: &Known<'_>, publishes: bool) -> Result<Ready, Fault> {
    make(file, party, known, publishes, None)
}

/// As [`prepare`], with these keys in place of the file's list.
///
/// # Errors
/// Those of [`prepare`].
pub fn prepare_part(file: &Path, party: &Party, known: &Known<'_>, keys: Option<Vec<String>>) -> Result<Ready, Fault> {
    make(file, party, known, false, keys)
}

/// The list of keys that a job file names.
///
/// # Errors
/// Those of reading; `args.invalid` when it names none.
pub fn list_of(file: &Path) -> Result<PathBuf, Fault> {
    let none = || Fault::new(Code::ArgsInvalid, format!("{}: no list of `keys`", file.display()));
    read(file)?.keys.map(|keys| file.with_file_name(keys)).ok_or_else(none)
}

fn make(
    file: &Path,
    party: &Party,
    known: &Known<'_>,
    publishes: bool,
    part: Option<Vec<String>>,
) -> Result<Ready, Fault> {
    let written = read(file)?;
    let contract = super::contract::pick(known.contracts, &written.contract)?;
    let terms = contract.body();
    let mut providers = Vec::new();
    let mut draft = Draft::default();
    for grant in &terms.datasets {
        let (_, dataset) =
            known.datasets.iter().find(|(id, d)| *id == grant.dataset && d.owner == grant.owner).ok_or_else(|| {
                Fault::new(Code::RefusedDataset, format!("version {} is not offered", grant.dataset.short()))
            })?;
        let view = written.view.clone().unwrap_or_else(|| dataset.name.to_string());
        providers.push(ProviderRef { owner: grant.owner, dataset: grant.dataset, view });
        let owner = terms.parties.iter().find(|p| p.root == grant.owner).map_or("?", |p| p.name.as_str());
        let columns = dataset.columns.iter().map(|c| (c.name.clone(), c.kind)).collect();
        draft.providers.push(DraftProvider { name: owner.to_owned(), owner: grant.owner, columns });
    }
    draft.models = models(&written, terms, known)?;
    let dealer = |name: &String| {
        let found = terms.parties.iter().find(|p| p.name.as_str() == name && p.role == Role::Dealer);
        found
            .map(|p| p.root)
            .ok_or_else(|| Fault::new(Code::RefusedParties, format!("`{name}` is no dealer of the contract")))
    };
    draft.dealer = written.dealer.as_ref().map(dealer).transpose()?;
    let beside = written.keys.as_ref().map(|keys| file.with_file_name(keys));
    let keys = match part {
        Some(part) => Some(part),
        None => beside.as_deref().map(read_keys).transpose()?,
    };
    keys.iter().try_for_each(|keys| different(keys, terms))?;
    let attached = match beside.iter().zip(&keys).next() {
        Some((file, keys)) => Some(attach(file, keys, &providers, known.cards, &mut draft)?),
        None => None,
    };
    let kind = tacit_jobs::kind(&written.kind)?;
    let mut params = serde_json::to_value(&written.params).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string()))?;
    let mut attempt_seconds = written.attempt_seconds;
    if let (true, Some(online)) = (publishes, params.get_mut("online").and_then(serde_json::Value::as_object_mut)) {
        online.insert("recipient".into(), party.keys.root.id().to_string().into());
        let seconds = online.get("seconds").and_then(serde_json::Value::as_u64).unwrap_or(0);
        attempt_seconds = attempt_seconds.max(seconds.saturating_add(WINDOW_MARGIN_SECONDS));
    }
    let params = kind.draft(params, &draft)?;
    let models: Vec<ModelRef> = draft.models.into_iter().map(|(named, _)| named).collect();
    let (attachments, sealed): (Vec<_>, Vec<_>) = attached.into_iter().unzip();
    let parts = Parts { providers: &providers, models: &models, dealer: draft.dealer, attachments: &attachments };
    let plan = kind.plan(&params, &parts)?;
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
        attempt_ms: attempt_seconds.saturating_mul(1000),
        models,
        dealer: draft.dealer,
        attachments,
        asker: plan.online().map(|o| o.recipient),
    };
    let job = Statement::sign(&party.keys.node, &spec.kind.clone(), now, None, spec);
    // What this tool signs, it must itself be able to read.
    JobSpec::verify(job.bytes())?;
    Ok(Ready { job, plan, sealed, keys, dealer: written.dealer })
}

/// The models of a job: those that the file names, or the contract's for a kind that scores.
fn models(written: &Written, terms: &Contract, known: &Known<'_>) -> Result<Vec<(ModelRef, ModelDescriptor)>, Fault> {
    let named = |owner: &NodeId| terms.parties.iter().find(|p| p.root == *owner).map_or("?", |p| p.name.as_str());
    let all: Vec<(ModelRef, ModelDescriptor)> = terms
        .models
        .iter()
        .filter_map(|grant| known.models.iter().find(|(id, m)| *id == grant.model && m.owner == grant.owner))
        .map(|(id, model)| (ModelRef { owner: model.owner, model: *id }, model.clone()))
        .collect();
    let Some(wanted) = &written.models else {
        return Ok(if written.kind.starts_with("score-") || written.kind.starts_with("verify/") {
            all
        } else {
            Vec::new()
        });
    };
    wanted
        .iter()
        .map(|text| {
            let (name, version) = text.split_once('@').map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
            let fits = |(_, m): &&(ModelRef, ModelDescriptor)| {
                name == format!("{}/{}", named(&m.owner), m.name) && version.is_none_or(|v| v == m.version.to_string())
            };
            let found = all.iter().filter(fits).max_by_key(|(_, m)| m.version).cloned();
            found.ok_or_else(|| Fault::new(Code::RefusedModel, format!("`{text}` is not a model of the contract")))
        })
        .collect()
}

/// The keys of a list: its lines without the space around them; empty lines are none.
///
/// # Errors
/// `io.failed`.
pub fn read_keys(file: &Path) -> Result<Vec<String>, Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// More different keys than a whole period has are refused before any leaves.
fn different(keys: &[String], terms: &Contract) -> Result<(), Fault> {
    let Some(allowed) = terms.scoring.and_then(|s| s.distinct) else { return Ok(()) };
    let different = keys.iter().collect::<BTreeSet<_>>().len() as u64;
    if different <= allowed.keys {
        return Ok(());
    }
    let what = format!("{different} different keys; the contract allows {} in {} days", allowed.keys, allowed.days);
    Err(Fault::new(Code::RefusedDistinct, what))
}

/// Seals the list of keys to the providers' nodes.
fn attach(
    file: &Path,
    list: &[String],
    providers: &[ProviderRef],
    cards: &[PartyCard],
    draft: &mut Draft,
) -> Result<(AttachmentRef, Vec<u8>), Fault> {
    let (rows, list) = keys::encode(list.iter().map(String::as_str))
        .map_err(|f| Fault::new(f.code, format!("{}: {}", file.display(), f.what)))?;
    draft.keys = Some(rows);
    let seals = providers
        .iter()
        .map(|p| cards.iter().find(|c| c.root == p.owner).map(|c| c.seal))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Fault::new(Code::RefusedParties, "a provider of the contract is not enrolled"))?;
    attachment::seal(&mut tacit_node::os_rng()?, keys::ATTACHMENT, &list, &seals)
}
