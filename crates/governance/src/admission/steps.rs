//! One function for each rule of the decision, in no order of their own.

use tacit_types::{Code, ContractId, Fault, NodeId, UnixMillis};

use super::{JobFacts, Ledger, Request};
use crate::align::{self, AlignFacts, Feeds, MatchesShown};
use crate::contract::{Contract, DatasetGrant, Role, SignedContract};
use crate::dataset::{DatasetDescriptor, Use};
use crate::job::{JobSpec, ProviderRef};
use crate::lifecycle;
use crate::model::OnlineFacts;

/// How far a job's time of signing may lie ahead of this node's clock.
pub const CLOCK_SKEW_MAX_MS: u64 = 5 * 60 * 1000;

/// The version and the view are granted and registered here.
pub fn dataset<'a>(
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

/// What was aligned is still to be used, and for a job of this kind and these providers.
pub fn source(spec: &JobSpec, provided: Provided<'_>, request: &Request<'_>) -> Result<(), Fault> {
    let Some((_, dataset)) = provided else { return Ok(()) };
    align::check_source(dataset.aligned.as_ref(), request.feeds, &spec.providers, request.now)
}

/// The coordinator has kept what it promised to this node, or is forgiven.
pub fn promises(ledger: &Ledger<'_>) -> Result<(), Fault> {
    match ledger.unkept {
        None => Ok(()),
        Some(usage) => Err(Fault::new(Code::RefusedPromiseUnkept, format!("the receipt of record {usage}"))),
    }
}

/// The price that the contract names is signed by all whom it concerns.
pub fn price(contract: &SignedContract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let terms = contract.body();
    match terms.price_plan.filter(|price| !(ledger.priced)(&contract.id(), price)) {
        None => Ok(()),
        Some(price) => {
            let what = format!("contract `{}`, terms {}", terms.name, price.short());
            Err(Fault::new(Code::RefusedPriceUnsigned, what))
        }
    }
}

/// Every model of the job is one of the contract's, and this owner holds its own.
pub fn models(spec: &JobSpec, terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
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
pub fn scores(
    request: &Request<'_>,
    terms: &Contract,
    facts: &JobFacts,
    ledger: &Ledger<'_>,
    used: u64,
) -> Result<u64, Fault> {
    let spec = request.job.body();
    let Some(score) = facts.score else {
        let on_shares = matches!(request.feeds, Feeds::Shares { .. });
        return if spec.models.is_empty() && spec.dealer.is_some() == on_shares {
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
    if let (Some(most), Some(asked)) = (allowed.decimals, score.decimals)
        && asked > most
    {
        let what = format!(
            "the job asks for {asked} digits after the point, in its scores or edges; the contract allows {most}"
        );
        return refuse(Code::RefusedPrecision, what);
    }
    if let Some(most) = allowed.unknown
        && score.unknown > most
    {
        let (asked, most) = (score.unknown.word(), most.word());
        let what = format!("the job says `unknown = \"{asked}\"`, the contract allows `{most}`");
        return refuse(Code::RefusedPrecision, what);
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
pub fn online(spec: &JobSpec, terms: &Contract, online: Option<OnlineFacts>) -> Result<(), Fault> {
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

/// The job is to be decided on now.
pub fn time(spec: &JobSpec, now: UnixMillis, high_water: UnixMillis) -> Result<(), Fault> {
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
pub fn find_contract<'a>(spec: &JobSpec, ledger: &'a Ledger<'_>) -> Result<&'a SignedContract, Fault> {
    let named = || ledger.contracts.iter().filter(|c| spec.contracts.contains(&c.id()));
    named().find(|c| c.body().datasets.iter().any(|d| d.owner == ledger.owner)).or_else(|| named().next()).ok_or_else(
        || {
            let ids: Vec<String> = spec.contracts.iter().map(ContractId::short).collect();
            Fault::new(Code::RefusedContractUnknown, format!("contract {}", ids.join(", ")))
        },
    )
}

/// Every signature is there, this owner's among them.
pub fn signatures(contract: &SignedContract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let id = contract.id().short();
    let missing = contract.missing();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|n| n.as_str()).collect();
        return Err(Fault::new(Code::RefusedContractIncomplete, format!("contract {id} lacks {}", names.join(", "))));
    }
    if !contract.signed_by(&ledger.owner) {
        return Err(Fault::new(Code::RefusedContractIncomplete, format!("contract {id} is not signed by this owner")));
    }
    Ok(())
}

/// The terms can be kept to. Tools of others may have signed what this one would not.
pub fn terms(contract: &SignedContract) -> Result<(), Fault> {
    let faults = contract.body().faults();
    if faults.is_empty() {
        return Ok(());
    }
    let what = format!("contract {}: {}", contract.id().short(), faults.join("; "));
    Err(Fault::new(Code::RefusedContractIncomplete, what))
}

/// No party has revoked or suspended it, as far as this owner's own store says, with or without a connection; and no later
/// version has begun.
pub fn revocation(contract: &SignedContract, ledger: &Ledger<'_>, now: UnixMillis) -> Result<(), Fault> {
    lifecycle::standing(contract, ledger.contracts, ledger.revoked, ledger.orders, now)
}

/// It has begun and not ended.
pub fn validity(contract: &SignedContract, now: UnixMillis) -> Result<(), Fault> {
    let terms = contract.body();
    if now >= terms.valid_from && now < terms.ends() {
        return Ok(());
    }
    let id = contract.id().short();
    let what = format!("contract {id} is valid from {} until {}", terms.valid_from, terms.ends());
    Err(Fault::new(Code::RefusedContractExpired, what))
}

/// The key that signed the job speaks for an operator.
pub fn operator(request: &Request<'_>, terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let signer = request.job.signer();
    match (ledger.speaker)(&signer) {
        Some(id) if terms.operators.contains(&id) => Ok(()),
        Some(_) => Err(Fault::new(Code::RefusedOperator, format!("operator {}", signer.short()))),
        None => Err(Fault::new(Code::RefusedOperator, format!("the key {} is over", signer.short()))),
    }
}

/// Neither the coordinator nor who runs the exchange is anybody else in the contract (功能分离).
pub fn roles(terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let conflict = terms.parties.iter().any(|p| p.root == ledger.coordinator && p.role != Role::Coordinator)
        || terms.operators.contains(&ledger.coordinator);
    if conflict {
        return Err(Fault::new(Code::RefusedRoles, "the coordinator's key"));
    }
    let exchange = terms.control.as_ref().and_then(|c| c.venue.as_ref()).and_then(|v| v.operator);
    match exchange.filter(|e| terms.parties.iter().any(|p| p.root == *e) || terms.operators.contains(e)) {
        Some(_) => Err(Fault::new(Code::RefusedRoles, "the exchange's key")),
        None => Ok(()),
    }
}

/// A column is granted, is there, and may be used so.
fn column(
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

/// Everyone who has a part stands in the contract in that role, and they are enough for the kind.
pub fn parties(spec: &JobSpec, terms: &Contract, facts: &JobFacts) -> Result<(), Fault> {
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

/// This owner has a part in the job.
pub fn seat(spec: &JobSpec, ledger: &Ledger<'_>) -> Result<(), Fault> {
    if spec.seated().contains(&ledger.owner) {
        return Ok(());
    }
    Err(Fault::new(Code::RefusedParties, "this owner has no part in the job"))
}

/// The purpose is the contract's, to the letter.
pub fn purpose(spec: &JobSpec, terms: &Contract) -> Result<(), Fault> {
    if spec.purpose == terms.purpose {
        return Ok(());
    }
    Err(Fault::new(Code::RefusedPurpose, format!("`{}` is not `{}`", spec.purpose, terms.purpose)))
}

/// The kind is one that the contract allows.
pub fn kind(spec: &JobSpec, terms: &Contract) -> Result<(), Fault> {
    if terms.kinds.contains(&spec.kind) {
        return Ok(());
    }
    let what = format!("`{}`; the contract allows {}", spec.kind, terms.kinds.join(", "));
    Err(Fault::new(Code::RefusedKind, what))
}

/// What this owner brings to a job, if it brings data.
pub type Provided<'a> = Option<(&'a DatasetGrant, &'a DatasetDescriptor)>;

/// The job touches columns of the contract alone, each as its level allows.
pub fn columns(terms: &Contract, provided: Provided<'_>, facts: &JobFacts) -> Result<(), Fault> {
    let Some((grant, dataset)) = provided else { return Ok(()) };
    facts.uses.iter().try_for_each(|(name, usage)| column(terms, grant, dataset, name, *usage))
}

/// The dataset is not larger than the job allows. By the published size and before anything is read: a job that failed on
/// more rows than it allows would tell whether a filter finds one row or two.
pub fn rows(provided: Provided<'_>, facts: &JobFacts) -> Result<(), Fault> {
    let Some((_, dataset)) = provided else { return Ok(()) };
    match facts.rows_max.filter(|max| *max < dataset.row_bucket) {
        None => Ok(()),
        Some(max) => {
            let what = format!("rows_max is {max}, the dataset has up to {} rows", dataset.row_bucket);
            Err(Fault::new(Code::RefusedParameters, what))
        }
    }
}

/// The job's floor is at least the contract's; where it decides what a receipt shows of matches, it is the contract's.
pub fn cohort(spec: &JobSpec, terms: &Contract, align: Option<&AlignFacts>) -> Result<(), Fault> {
    let shown = terms.alignment.as_ref().is_some_and(|a| a.matches != MatchesShown::Never);
    if align.is_some() && shown && spec.cohort.rows > terms.cohort.rows {
        let what = format!(
            "the job's floor is {} rows, and the contract has the matches in its receipt from {} on",
            spec.cohort.rows, terms.cohort.rows
        );
        return Err(Fault::new(Code::RefusedCohort, what));
    }
    if spec.cohort.rows >= terms.cohort.rows && spec.cohort.contributors >= terms.cohort.contributors {
        return Ok(());
    }
    let what = format!(
        "the job's floor is {} rows and {} contributors, the contract's {} and {}",
        spec.cohort.rows, spec.cohort.contributors, terms.cohort.rows, terms.cohort.contributors
    );
    Err(Fault::new(Code::RefusedCohort, what))
}

/// The result is sealed to one of the contract's keys; sums over ids not to an owner of columns in them, unless the contract
/// allows that by name.
pub fn recipient(request: &Request<'_>, terms: &Contract) -> Result<(), Fault> {
    let spec = request.job.body();
    let refuse = |what: String| Err(Fault::new(Code::RefusedRecipient, what));
    if !terms.recipients.contains(&spec.recipient) {
        return refuse("the sealing key is not one of the contract's recipients".into());
    }
    if !matches!(request.feeds, Feeds::Shares { .. }) {
        return Ok(());
    }
    let allowed = |root: &NodeId| terms.alignment.as_ref().is_some_and(|a| a.recipients_with_columns.contains(root));
    let mut theirs = terms.users.iter().filter(|user| user.seal == spec.recipient);
    match theirs.find(|user| spec.provider(&user.root).is_some() && !allowed(&user.root)) {
        None => Ok(()),
        Some(user) => {
            let named = terms.parties.iter().find(|p| p.root == user.root).map_or("?", |p| p.name.as_str());
            refuse(format!(
                "{named} has columns in the sums, and by them would learn which of its keys match: the contract would have to \
                 name it in alignment.recipients_with_columns"
            ))
        }
    }
}

/// The job's id was not consumed before.
pub fn replay(request: &Request<'_>, ledger: &Ledger<'_>) -> Result<(), Fault> {
    if !ledger.consumed {
        return Ok(());
    }
    Err(Fault::new(Code::RefusedReplayed, format!("job {}", JobSpec::id(request.job).short())))
}

/// A job is left of the contract's quota.
pub fn quota(terms: &Contract, used: u64) -> Result<(), Fault> {
    if used < terms.quota.jobs {
        return Ok(());
    }
    Err(Fault::new(Code::RefusedQuota, format!("{used} of {} jobs used", terms.quota.jobs)))
}

/// Every sum is checked where the contract wants that.
pub fn checked(terms: &Contract, facts: &JobFacts) -> Result<(), Fault> {
    if !terms.checked || facts.checked != Some(false) {
        return Ok(());
    }
    Err(Fault::new(Code::RefusedUnchecked, format!("contract `{}` wants every sum checked", terms.name)))
}
