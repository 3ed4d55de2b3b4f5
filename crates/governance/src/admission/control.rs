//! Rules over terms of control, over what an owner says of its data, and over what others say of the use. A rule whose terms
//! are absent asks nothing; one whose terms are there refuses whatever they do not allow.

use tacit_types::{Code, Fault, NodeId, UnixMillis};

use super::{JobFacts, Ledger, Request, steps::Provided};
use crate::contract::{Contract, Role, SignedContract};
use crate::control::{Office, RightKind, jurisdiction};
use crate::dataset::DatasetDescriptor;
use crate::grade::{ANONYMITY_K_MIN, BasisKind, Class, DatasetTerms, Grade, Guard, Product, Sharing, may};
use crate::job::{JobSpec, ProviderRef};
use crate::model::Precision;
use crate::orders::{AlgorithmReview, Denied, Order, Verdict};

fn terms_of<'a>(provided: Provided<'a>) -> Option<(&'a DatasetDescriptor, &'a DatasetTerms)> {
    let (_, dataset) = provided?;
    dataset.terms.as_ref().map(|terms| (dataset, terms))
}

fn refuse<T>(code: Code, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::new(code, what))
}

/// Every office has approved these bytes, and no trustee has rejected them.
pub fn approvals(contract: &SignedContract) -> Result<(), Fault> {
    match contract.unapproved().as_slice() {
        [] => Ok(()),
        lacking => refuse(Code::RefusedApproval, format!("contract {}: {}", contract.id().short(), lacking.join("; "))),
    }
}

/// Nothing that is on a list is used. A list that the owner took in denies whatever a contract allows.
pub fn lists(request: &Request<'_>, terms: &Contract, ledger: &Ledger<'_>) -> Result<(), Fault> {
    for order in ledger.orders {
        let Order::List(list) = order else { continue };
        let list = list.body();
        if list.until.is_some_and(|until| request.now >= until) {
            continue;
        }
        if let Some(item) = list.items.iter().position(|item| applies(item, request, terms, ledger)) {
            return refuse(Code::RefusedListed, format!("list `{}`, item {}: {}", list.name, item + 1, list.reason));
        }
    }
    Ok(())
}

fn applies(item: &Denied, request: &Request<'_>, terms: &Contract, ledger: &Ledger<'_>) -> bool {
    let (spec, signer) = (request.job.body(), request.job.signer());
    // A new key is no way out of a list.
    let signs = |key: &NodeId| signer == *key || (ledger.speaker)(&signer) == Some(*key);
    let party =
        |key: &NodeId| terms.parties.iter().any(|p| p.root == *key) || spec.seated().contains(key) || signs(key);
    let column = |name: &String| match &request.facts {
        Ok(facts) => facts.uses.iter().any(|(used, _)| used == name),
        // What the job touches is not known: the item may apply.
        Err(_) => true,
    };
    item.party.as_ref().is_none_or(party)
        && item.purpose.as_ref().is_none_or(|p| p.trim() == spec.purpose.trim())
        && item.dataset.is_none_or(|d| spec.providers.iter().any(|p| p.dataset == d))
        && item.column.as_ref().is_none_or(column)
        && item.kind.as_ref().is_none_or(|k| *k == spec.kind)
        && item.model.is_none_or(|m| spec.models.iter().any(|used| used.model == m))
}

/// The chain of three rights is whole for every dataset of the contract that the job uses.
pub fn rights(spec: &JobSpec, terms: &Contract, owner: &NodeId, now: UnixMillis) -> Result<(), Fault> {
    let Some(control) = &terms.control else { return Ok(()) };
    // What an owner that grants nothing here brings is another contract's matter, and whether this owner's own version is
    // granted is asked next.
    let here = |p: &&ProviderRef| match p.owner == *owner {
        true => terms.grant(owner, &p.dataset).is_some(),
        false => terms.datasets.iter().any(|d| d.owner == p.owner),
    };
    for provider in spec.providers.iter().filter(here) {
        for kind in RightKind::ALL {
            let code = match kind {
                RightKind::Hold => Code::RefusedRightHold,
                RightKind::Process => Code::RefusedRightProcess,
                RightKind::Operate => Code::RefusedRightOperate,
            };
            let dataset = provider.dataset.short();
            let Some(right) = control.right(&provider.dataset, kind) else {
                return refuse(code, format!("nobody holds it for dataset version {dataset}"));
            };
            if now >= right.until {
                return refuse(code, format!("it ended for dataset version {dataset} at {}", right.until));
            }
            let demander = terms.parties.iter().any(|p| p.root == right.holder && p.role == Role::Demander);
            let held = match kind {
                RightKind::Hold => right.holder == provider.owner,
                RightKind::Process => true,
                RightKind::Operate => demander,
            };
            if !held {
                return refuse(code, format!("{} may not hold it for {dataset}", right.holder.short()));
            }
        }
    }
    Ok(())
}

/// The dataset may be used by others at all: it is neither secret nor withheld, and its registration has not expired.
pub fn release(provided: Provided<'_>, now: UnixMillis) -> Result<(), Fault> {
    let Some((_, terms)) = terms_of(provided) else { return Ok(()) };
    if terms.secret || terms.sharing == Sharing::Withheld {
        let why = if terms.secret { "it is to be kept secret" } else { "its sharing attribute is `withheld`" };
        return refuse(Code::RefusedWithheld, why);
    }
    match terms.registration.as_ref().filter(|r| now >= r.until) {
        Some(r) => refuse(Code::RefusedRegistration, format!("{} of {} ended at {}", r.number, r.registrar, r.until)),
        None => Ok(()),
    }
}

/// This owner's chief data officer has a say where the data is important or personal.
pub fn officer(provided: Provided<'_>, grade: Option<Grade>, terms: &Contract, owner: &NodeId) -> Result<(), Fault> {
    let personal = terms_of(provided).is_some_and(|(_, data)| data.class == Class::Personal);
    if !personal && grade.is_none_or(|grade| grade < Grade::IMPORTANT) {
        return Ok(());
    }
    let mut rules = terms.control.iter().flat_map(|c| &c.approvals);
    if rules.any(|r| r.office == Office::ChiefDataOfficer && r.owner == Some(*owner)) {
        return Ok(());
    }
    refuse(Code::RefusedApproval, "the contract asks no approval of this owner's chief data officer (首席数据官)")
}

/// Personal data is used by consent, by law, by contract or made anonymous.
pub fn personal(provided: Provided<'_>, terms: &Contract, now: UnixMillis) -> Result<(), Fault> {
    let Some((_, data)) = terms_of(provided) else { return Ok(()) };
    if data.class != Class::Personal {
        return Ok(());
    }
    let no = |what: String| refuse(Code::RefusedPersonal, what);
    let Some(basis) = &data.basis else { return no("the dataset states no ground".into()) };
    if now >= basis.until {
        return no(format!("the ground `{}` ended at {}", basis.kind.word(), basis.until));
    }
    match basis.kind {
        BasisKind::Statutory | BasisKind::Contract => Ok(()),
        BasisKind::Anonymised => match &data.anonymised {
            // Columns that nothing was measured over are no ground.
            Some(a) if !a.quasi.is_empty() && a.measured.is_none() => no("k was not measured".into()),
            Some(a) if a.k() >= ANONYMITY_K_MIN && now < a.until => Ok(()),
            Some(a) => no(format!("k is {}, at least {ANONYMITY_K_MIN}; good until {}", a.k(), a.until)),
            None => no("nothing says how it was made anonymous".into()),
        },
        BasisKind::Consent | BasisKind::SeparateConsent => {
            let Some(rule) = data.consent.iter().find(|c| c.purpose == terms.purpose) else {
                return no(format!("no consent rule for `{}`", terms.purpose));
            };
            let named = basis.kind == BasisKind::SeparateConsent || !rule.recipients.is_empty();
            match terms.using().find(|p| named && !rule.recipients.contains(&p.root)) {
                Some(p) => no(format!("consent for `{}` does not name {}", terms.purpose, p.name)),
                None => Ok(()),
            }
        }
    }
}

/// What a job makes, for the table of grades.
pub fn product(request: &Request<'_>, facts: &JobFacts) -> Product {
    match (&request.align, facts.score) {
        (Some(_), _) => Product::Match,
        (None, Some(_)) if request.online.is_some() => Product::Online,
        (None, Some(score)) if score.precision == Precision::Decision => Product::Decision,
        (None, Some(_)) => Product::Score,
        (None, None) => Product::Aggregate,
    }
}

/// The grade of the data allows the product under the job's safeguard.
pub fn grade(grade: Option<Grade>, request: &Request<'_>, facts: &JobFacts) -> Result<(), Fault> {
    let Some(grade) = grade else { return Ok(()) };
    let product = product(request, facts);
    let found = facts.checked == Some(true) || facts.score.is_some_and(|s| s.verified);
    let guard = if found { Guard::Checked } else { Guard::Plain };
    if may(grade, product, guard) {
        return Ok(());
    }
    // No window is verified.
    let more = if product != Product::Online && may(grade, product, Guard::Checked) {
        ", unless it is checked or verified"
    } else {
        ""
    };
    refuse(Code::RefusedGrade, format!("grade `{}` gives no {}{more}", grade.word(), product.word()))
}

/// What computes was reviewed, for data of this grade, by as many as the contract wants, and nobody of them rejected it. Of what
/// the reviewers ran the same comes out here.
pub fn review(request: &Request<'_>, terms: &Contract, grade: Option<Grade>, ledger: &Ledger<'_>) -> Result<(), Fault> {
    let Some(rule) = terms.control.as_ref().and_then(|c| c.review.as_ref()) else { return Ok(()) };
    let (spec, now) = (request.job.body(), request.now);
    let of = |order: &Order| match order {
        Order::Review(s) if rule.reviewers.contains(&s.signer()) && now < s.body().until => {
            Some((s.signer(), s.body().clone()))
        }
        _ => None,
    };
    let valid: Vec<(NodeId, AlgorithmReview)> = ledger.orders.iter().filter_map(of).collect();
    let ran = valid.iter().any(|(_, r)| r.kind == spec.kind && !r.runs.is_empty());
    let here = if ran { (request.rerun)(&spec.kind) } else { Vec::new() };
    let mut subjects: Vec<_> = spec.models.iter().map(|m| Some(m.model)).collect();
    if subjects.is_empty() {
        subjects.push(None);
    }
    for model in subjects {
        let what =
            model.map_or_else(|| format!("`{}`", spec.kind), |m| format!("model {} in `{}`", m.short(), spec.kind));
        let on = valid.iter().filter(|(_, r)| r.kind == spec.kind && r.model == model);
        if on.clone().any(|(_, r)| r.verdict == Verdict::Reject) {
            return refuse(Code::RefusedReview, format!("{what} was rejected"));
        }
        if let Some(run) = on.clone().find_map(|(_, r)| r.differs(&here)) {
            let what = format!("{what}: test vector `{}` gives something else here than at a reviewer", run.name);
            return refuse(Code::RefusedReview, what);
        }
        let run = |r: &AlgorithmReview| !rule.rerun || r.covers(&here);
        let enough = |r: &AlgorithmReview| grade.is_none_or(|g| g <= r.grade_max) && run(r);
        let agree: std::collections::BTreeSet<NodeId> = on.filter(|(_, r)| enough(r)).map(|(key, _)| *key).collect();
        if agree.len() < usize::from(rule.need) {
            let what = format!("{what} has {} of {} reviews that hold now", agree.len(), rule.need);
            return refuse(Code::RefusedReview, what);
        }
    }
    Ok(())
}

/// Each demander was assessed, and its risk is no greater than the contract takes.
pub fn risk(terms: &Contract, ledger: &Ledger<'_>, now: UnixMillis) -> Result<(), Fault> {
    let Some(rule) = terms.control.as_ref().and_then(|c| c.risk.as_ref()) else { return Ok(()) };
    for party in terms.using() {
        let of = |order: &Order| match order {
            Order::Risk(s) => {
                let body = s.body();
                let counts = body.party == party.root && now < body.until && rule.assessors.contains(&s.signer());
                counts.then_some(body.score)
            }
            _ => None,
        };
        // The worst word counts.
        match ledger.orders.iter().filter_map(of).max() {
            None => return refuse(Code::RefusedRisk, format!("no assessment of {} holds now", party.name)),
            Some(score) if score > rule.score_max => {
                return refuse(Code::RefusedRisk, format!("{}: {score}, at most {}", party.name, rule.score_max));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What is made of the data stays in its jurisdiction, or goes where an assessment lets it.
pub fn regions(terms: &Contract, provided: Provided<'_>, owner: &NodeId, now: UnixMillis) -> Result<(), Fault> {
    let control = terms.control.as_ref();
    let data = terms_of(provided).map(|(_, data)| data);
    let controlled = data.is_some_and(|d| d.export_controlled);
    let stated = control.is_some_and(|c| !c.regions.is_empty() || c.cross_border.is_some());
    let own = data.and_then(|d| d.region.as_deref()).or_else(|| control.and_then(|c| c.region(owner)));
    if provided.is_none() || (own.is_none() && !stated && !controlled) {
        return Ok(());
    }
    let code = if controlled { Code::RefusedExportControl } else { Code::RefusedRegion };
    let Some(own) = own else { return refuse(code, "nothing says where the data is") };
    for party in terms.parties.iter().filter(|p| p.root != *owner) {
        let Some(region) = control.and_then(|c| c.region(&party.root)) else {
            return refuse(code, format!("nothing says where {} is", party.name));
        };
        let there = jurisdiction(region);
        if there == jurisdiction(own) {
            continue;
        }
        if controlled {
            return refuse(code, format!("{} is in {there}", party.name));
        }
        let assessed = control.and_then(|c| c.cross_border.as_ref());
        let covers =
            assessed.is_some_and(|a| now < a.until && a.jurisdictions.iter().any(|j| jurisdiction(j) == there));
        if !covers {
            return refuse(code, format!("{} is in {there}, and no assessment that holds now covers it", party.name));
        }
    }
    Ok(())
}
