//! The decision at the owner's node. The order of the checks is part of the design: the first
//! failure is the refusal, so the same job gives the same code at every owner with the same terms.

use tacit_crypto::{Body, Statement};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, Hash, JobId, ModelVersionId, NodeId, UnixMillis};

use crate::align::{self, AlignFacts};
use crate::contract::{Contract, DatasetGrant, Role, SignedContract};
use crate::dataset::{DatasetDescriptor, Use};
use crate::job::{JobSpec, ProviderRef};
use crate::model::{ModelDescriptor, OnlineFacts, ScoreFacts};

/// How far a job's time of signing may lie ahead of this node's clock.
pub const CLOCK_SKEW_MAX_MS: u64 = 5 * 60 * 1000;

/// What the catalogue of kinds says about a job, for the decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobFacts {
    /// Columns that the job touches, with the use of each.
    pub uses: Vec<(String, Use)>,
    /// The fewest providers that the kind works with.
    pub providers_min: usize,
    /// Rows that one provider may have at most, where the job states it.
    pub rows_max: Option<u64>,
    /// What the job scores, if it does.
    pub score: Option<ScoreFacts>,
    /// Whether every node checks the sums that an aggregator makes; `None` for a job without such sums.
    pub checked: Option<bool>,
}

/// What this owner's own store knows.
pub struct Ledger<'a> {
    /// The owner's root key.
    pub owner: NodeId,
    /// Contracts known here, with their signatures.
    pub contracts: &'a [SignedContract],
    /// Ids that the owner has revoked.
    pub revoked: &'a [ContractId],
    /// The dataset version that the job names, as registered here.
    pub dataset: Option<&'a DatasetDescriptor>,
    /// The model versions that this owner holds.
    pub models: &'a [(ModelVersionId, ModelDescriptor)],
    /// Jobs already counted against each contract.
    pub jobs_used: &'a dyn Fn(&ContractId) -> u64,
    /// Rows already scored under each contract.
    pub rows_used: &'a dyn Fn(&ContractId) -> u64,
    /// Whether this job id was consumed before.
    pub consumed: bool,
    /// The latest time that this node has ever acted at.
    pub high_water: UnixMillis,
    /// The coordinator's root key, which may not be the demander.
    pub coordinator: NodeId,
}

/// What is asked of the node.
pub struct Request<'a> {
    /// The job, its signature checked.
    pub job: &'a Statement<JobSpec>,
    /// What the catalogue says of its kind and parameters, or why they are no good.
    pub facts: Result<JobFacts, Fault>,
    /// The window that it opens, where it opens one.
    pub online: Option<OnlineFacts>,
    /// The lists that it brings together, where it does.
    pub align: Option<AlignFacts>,
    /// The time.
    pub now: UnixMillis,
}

/// The owner's yes, signed by its node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Admission {
    /// The job.
    #[n(1)]
    pub job: JobId,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The contract that covers it.
    #[n(3)]
    pub contract: ContractId,
    /// The dataset version that will be read, if this owner has one in the job.
    #[n(4)]
    pub dataset: Option<DatasetVersionId>,
    /// When.
    #[n(5)]
    pub at: UnixMillis,
    /// Rows that are taken from the contract's allowance of scores; 0 for other jobs.
    #[n(6)]
    #[cbor(default, skip_if = "is_zero")]
    pub rows: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that the derive asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Body for Admission {
    const TYPE: &'static str = "admission";
}

/// The owner's no, signed by its node.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Refusal {
    /// The job, by the hash of the bytes that were offered.
    #[n(1)]
    pub job: JobId,
    /// The owner's root key.
    #[n(2)]
    pub owner: NodeId,
    /// The stable code.
    #[n(3)]
    pub code: Code,
    /// What exactly.
    #[n(4)]
    pub reason: String,
    /// When.
    #[n(5)]
    pub at: UnixMillis,
    /// Hash of the offered bytes, equal to the job id.
    #[n(6)]
    pub offered: Hash,
}

impl Body for Refusal {
    const TYPE: &'static str = "refusal";
}

/// Decides. Reserving the quota and marking the job consumed is the caller's, in one transaction
/// with reading the ledger.
///
/// # Errors
/// The refusal: a stable code and what exactly.
pub fn admit(request: &Request<'_>, ledger: &Ledger<'_>) -> Result<Admission, Fault> {
    let spec = request.job.body();
    let refuse = |code: Code, what: String| Err(Fault::new(code, what));
    check_time(spec, request.now, ledger.high_water)?;
    if !spec.seated().contains(&ledger.owner) {
        return refuse(Code::RefusedParties, "this owner has no part in the job".into());
    }
    let contract = find_contract(spec, ledger)?;
    check_signatures(contract, request.now, ledger)?;
    let terms = contract.body();
    if !terms.operators.contains(&request.job.signer()) {
        return refuse(Code::RefusedOperator, format!("operator {}", request.job.signer().short()));
    }
    check_roles(terms, ledger)?;
    let provided = spec.provider(&ledger.owner).map(|p| check_dataset(p, terms, ledger)).transpose()?;
    align::check_source(provided.and_then(|(_, dataset)| dataset.aligned.as_ref()), request.now)?;
    check_models(spec, terms, ledger)?;
    if spec.purpose != terms.purpose {
        return refuse(Code::RefusedPurpose, format!("`{}` is not `{}`", spec.purpose, terms.purpose));
    }
    if !terms.kinds.contains(&spec.kind) {
        return refuse(Code::RefusedKind, format!("`{}`; the contract allows {}", spec.kind, terms.kinds.join(", ")));
    }
    let facts = request.facts.as_ref().map_err(Clone::clone)?;
    if let Some((grant, dataset)) = provided {
        for (column, usage) in &facts.uses {
            check_column(terms, grant, dataset, column, *usage)?;
        }
        // By the published size and before anything is read: a job that failed on more rows than it allows
        // would tell whether a filter finds one row or two.
        if let Some(rows_max) = facts.rows_max.filter(|max| *max < dataset.row_bucket) {
            let what = format!("rows_max is {rows_max}, the dataset has up to {} rows", dataset.row_bucket);
            return refuse(Code::RefusedParameters, what);
        }
    }
    check_parties(spec, terms, facts)?;
    if spec.cohort.rows < terms.cohort.rows || spec.cohort.contributors < terms.cohort.contributors {
        return refuse(
            Code::RefusedCohort,
            format!(
                "the job's floor is {} rows and {} contributors, the contract's {} and {}",
                spec.cohort.rows, spec.cohort.contributors, terms.cohort.rows, terms.cohort.contributors
            ),
        );
    }
    if !terms.recipients.contains(&spec.recipient) {
        return refuse(Code::RefusedRecipient, "the sealing key is not one of the contract's recipients".into());
    }
    if ledger.consumed {
        return refuse(Code::RefusedReplayed, format!("job {}", JobSpec::id(request.job).short()));
    }
    let used = (ledger.jobs_used)(&contract.id());
    if used >= terms.quota.jobs {
        return refuse(Code::RefusedQuota, format!("{used} of {} jobs used", terms.quota.jobs));
    }
    if terms.checked && facts.checked == Some(false) {
        return refuse(Code::RefusedUnchecked, format!("contract `{}` wants every sum checked", terms.name));
    }
    check_online(spec, terms, request.online)?;
    align::check(terms, request.align.as_ref())?;
    let rows = check_score(spec, terms, facts, ledger, (ledger.rows_used)(&contract.id()))?;
    Ok(Admission {
        job: JobSpec::id(request.job),
        owner: ledger.owner,
        contract: contract.id(),
        dataset: spec.provider(&ledger.owner).map(|p| p.dataset),
        at: request.now,
        rows,
    })
}

fn check_dataset<'a>(
    provider: &ProviderRef,
    terms: &'a Contract,
    ledger: &Ledger<'a>,
) -> Result<(&'a DatasetGrant, &'a DatasetDescriptor), Fault> {
    let refuse = |what: String| Fault::new(Code::RefusedDataset, what);
    let version = provider.dataset.short();
    let grant = terms.grant(&ledger.owner, &provider.dataset);
    let grant = grant.ok_or_else(|| refuse(format!("dataset version {version}")))?;
    let dataset = ledger.dataset.ok_or_else(|| refuse(format!("dataset version {version} is not registered here")))?;
    if !grant.views.contains(&provider.view) || !dataset.views.contains(&provider.view) {
        return Err(refuse(format!("view `{}`", provider.view)));
    }
    Ok((grant, dataset))
}

/// Every model of the job is one of the contract's, and this owner holds its own.
fn check_models(spec: &JobSpec, terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let refuse = |what: String| Err(Fault::new(Code::RefusedModel, what));
    for model in &spec.models {
        if !terms.models.iter().any(|g| g.owner == model.owner && g.model == model.model) {
            return refuse(format!("model version {} is not in contract `{}`", model.model.short(), terms.name));
        }
        if model.owner == ledger.owner && !ledger.models.iter().any(|(id, _)| *id == model.model) {
            return refuse(format!("model version {} is not held here", model.model.short()));
        }
    }
    Ok(())
}

/// What a job scores is within the contract's terms; gives the rows to be taken from its allowance.
fn check_score(
    spec: &JobSpec,
    terms: &Contract,
    facts: &JobFacts,
    ledger: &Ledger<'_>,
    used: u64,
) -> Result<u64, Fault> {
    let Some(score) = facts.score else {
        return if spec.models.is_empty() && spec.dealer.is_none() {
            Ok(0)
        } else {
            Err(Fault::new(Code::RefusedParameters, "a kind that uses no model has one, or a dealer"))
        };
    };
    let refuse = |code: Code, what: String| Err(Fault::new(code, what));
    let Some(allowed) = terms.scoring else {
        return refuse(Code::RefusedPrecision, format!("contract `{}` has no terms of scoring", terms.name));
    };
    if score.precision > allowed.precision {
        let (asked, most) = (score.precision.word(), allowed.precision.word());
        return refuse(Code::RefusedPrecision, format!("the job asks for `{asked}`, the contract allows `{most}`"));
    }
    if allowed.verified && !score.verified {
        return refuse(Code::RefusedUnverified, format!("contract `{}` wants every score verified", terms.name));
    }
    let own = |m: &&crate::job::ModelRef| m.owner == ledger.owner;
    let families = spec.models.iter().filter(own).filter_map(|m| ledger.models.iter().find(|(id, _)| *id == m.model));
    if let Some((id, model)) = families.into_iter().find(|(_, model)| model.family != score.family) {
        let what =
            format!("model version {} is {}, the kind uses {}", id.short(), model.family.word(), score.family.word());
        return refuse(Code::RefusedModel, what);
    }
    let left = allowed.rows.saturating_sub(used);
    if score.rows > allowed.rows_per_job || score.rows > left {
        let what = format!(
            "{} rows to score; {} a job and {left} of {} are left",
            score.rows, allowed.rows_per_job, allowed.rows
        );
        return refuse(Code::RefusedQuota, what);
    }
    Ok(score.rows)
}

/// A window is one that the contract allows, and its recipient is the contract's demander.
fn check_online(spec: &JobSpec, terms: &Contract, online: Option<OnlineFacts>) -> Result<(), Fault> {
    let refuse = |code: Code, what: String| Err(Fault::new(code, what));
    let Some(asked) = online else {
        return match spec.asker {
            None => Ok(()),
            Some(_) => refuse(Code::RefusedParameters, "a job that opens no window has a seat for who asks".into()),
        };
    };
    if spec.asker != Some(asked.recipient) {
        return refuse(Code::RefusedParameters, "the seat of who asks is not the one of the parameters".into());
    }
    if !terms.parties.iter().any(|p| p.root == asked.recipient && p.role == Role::Demander) {
        return refuse(Code::RefusedParties, format!("{} is no demander of the contract", asked.recipient.short()));
    }
    let Some(allowed) = terms.scoring.and_then(|s| s.online) else {
        return refuse(Code::RefusedOnline, format!("contract `{}` has no online terms", terms.name));
    };
    if asked.rows > allowed.rows_per_window || asked.rows_per_second > allowed.rows_per_second {
        let what = format!(
            "a window of {} rows and {} a second; the contract allows {} and {}",
            asked.rows, asked.rows_per_second, allowed.rows_per_window, allowed.rows_per_second
        );
        return refuse(Code::RefusedOnline, what);
    }
    Ok(())
}

fn check_time(spec: &JobSpec, now: UnixMillis, high_water: UnixMillis) -> Result<(), Fault> {
    if now.plus(CLOCK_SKEW_MAX_MS) < high_water {
        return Err(Fault::new(Code::RefusedClock, format!("it shows {now}, after {high_water}")));
    }
    if now >= spec.expires_at {
        return Err(Fault::new(Code::RefusedJobExpired, format!("it expired at {}, now is {now}", spec.expires_at)));
    }
    if spec.created_at > now.plus(CLOCK_SKEW_MAX_MS) {
        return Err(Fault::new(Code::RefusedJobExpired, format!("it was signed at {}, now is {now}", spec.created_at)));
    }
    Ok(())
}

/// The contract that the job names and that grants this owner's dataset; else the first that it
/// names and that is known here.
fn find_contract<'a>(spec: &JobSpec, ledger: &'a Ledger<'_>) -> Result<&'a SignedContract, Fault> {
    let named = || ledger.contracts.iter().filter(|c| spec.contracts.contains(&c.id()));
    named().find(|c| c.body().datasets.iter().any(|d| d.owner == ledger.owner)).or_else(|| named().next()).ok_or_else(
        || {
            let ids: Vec<String> = spec.contracts.iter().map(ContractId::short).collect();
            Fault::new(Code::RefusedContractUnknown, format!("contract {}", ids.join(", ")))
        },
    )
}

fn check_signatures(contract: &SignedContract, now: UnixMillis, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let terms = contract.body();
    let id = contract.id().short();
    let missing = contract.missing();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|n| n.as_str()).collect();
        return Err(Fault::new(Code::RefusedContractIncomplete, format!("contract {id} lacks {}", names.join(", "))));
    }
    if !contract.signed_by(&ledger.owner) {
        return Err(Fault::new(Code::RefusedContractIncomplete, format!("contract {id} is not signed by this owner")));
    }
    let faults = terms.faults();
    if !faults.is_empty() {
        return Err(Fault::new(Code::RefusedContractIncomplete, format!("contract {id}: {}", faults.join("; "))));
    }
    if ledger.revoked.contains(&contract.id()) {
        return Err(Fault::new(Code::RefusedContractRevoked, format!("contract {id}")));
    }
    if now < terms.valid_from || now >= terms.valid_until {
        let what = format!("contract {id} is valid from {} until {}", terms.valid_from, terms.valid_until);
        return Err(Fault::new(Code::RefusedContractExpired, what));
    }
    Ok(())
}

fn check_roles(terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let conflict = terms.parties.iter().any(|p| p.root == ledger.coordinator && p.role != Role::Coordinator)
        || terms.operators.contains(&ledger.coordinator);
    if conflict { Err(Fault::new(Code::RefusedRoles, "the coordinator's key")) } else { Ok(()) }
}

fn check_column(
    terms: &Contract,
    grant: &DatasetGrant,
    dataset: &DatasetDescriptor,
    column: &str,
    usage: Use,
) -> Result<(), Fault> {
    let Some(granted) = grant.columns.iter().find(|c| c.name == column) else {
        return Err(Fault::new(Code::RefusedColumn, format!("column `{column}` is not in contract `{}`", terms.name)));
    };
    let Some(known) = dataset.column(column) else {
        return Err(Fault::new(Code::RefusedColumn, format!("column `{column}` is not in the dataset")));
    };
    let needed = usage.needs();
    if !granted.levels.contains(&needed) || !known.levels.contains(&needed) {
        return Err(Fault::new(Code::RefusedLevel, format!("column `{column}` needs level {}", needed.word())));
    }
    Ok(())
}

fn check_parties(spec: &JobSpec, terms: &Contract, facts: &JobFacts) -> Result<(), Fault> {
    if spec.providers.len() < facts.providers_min {
        let what = format!("{} providers; the kind needs {}", spec.providers.len(), facts.providers_min);
        return Err(Fault::new(Code::RefusedParties, what));
    }
    let has = |root: &NodeId, role: Role| terms.parties.iter().any(|c| c.root == *root && c.role == role);
    let owners = spec.providers.iter().map(|p| &p.owner).chain(spec.models.iter().map(|m| &m.owner));
    if let Some(owner) = owners.into_iter().find(|o| !has(o, Role::Provider)) {
        return Err(Fault::new(Code::RefusedParties, format!("provider {} is not in the contract", owner.short())));
    }
    match spec.dealer.filter(|d| !has(d, Role::Dealer)) {
        Some(d) => Err(Fault::new(Code::RefusedParties, format!("{} is no dealer in the contract", d.short()))),
        None => Ok(()),
    }
}
