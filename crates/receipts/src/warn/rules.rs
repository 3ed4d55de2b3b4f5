//! The rules, one function each. Products of what a log says are in 128 bits, where they cannot overflow.

use std::collections::{BTreeMap, BTreeSet};

use tacit_types::{ContractId, DatasetVersionId, JobId, UnixMillis};

use super::watch::{Use, Watch, promise, rule_of};
use super::{Alert, LINKS_MAX, Level, Rule, Terms};
use crate::money::LeafRef;
use crate::record::{Audience, Role, Standing, Status};
use crate::report::Report;

const MINUTE: u64 = 60_000;

/// The newest of the leaves, ascending.
fn links(leaves: impl DoubleEndedIterator<Item = LeafRef>) -> Vec<LeafRef> {
    let mut newest: Vec<LeafRef> = leaves.rev().take(LINKS_MAX).collect();
    newest.reverse();
    newest
}

fn percent(part: u64, whole: u64) -> u128 {
    if whole == 0 { u128::from(part > 0) * 100 } else { u128::from(part) * 100 / u128::from(whole) }
}

/// Everything that the verifier found, under the rule it belongs to.
pub(super) fn findings(watch: &Watch<'_>, report: &Report, found: &mut Vec<Alert>) {
    for finding in &report.faults {
        found.push(Alert {
            rule: rule_of(finding.code),
            level: Level::Alarm,
            about: finding.code.text().to_owned(),
            what: finding.what.clone(),
            leaves: finding.leaf.and_then(|leaf| watch.hashes.get(&leaf).copied()).into_iter().collect(),
        });
    }
}

/// A witness that has not cosigned the newest checkpoint, or did so long ago.
pub(super) fn witnesses(watch: &Watch<'_>, times: &BTreeMap<String, Option<UnixMillis>>, found: &mut Vec<Alert>) {
    let (now, limit) = (watch.known.now, watch.known.thresholds.witness_lag_minutes.saturating_mul(MINUTE));
    for (name, at) in times {
        let what = match at {
            None => "it has not cosigned the newest checkpoint".to_owned(),
            Some(at) if at.plus(limit) < now => {
                format!("it cosigned last at {at}, {} minutes ago", now.0.saturating_sub(at.0) / MINUTE)
            }
            Some(_) => continue,
        };
        let leaves = watch.newest().into_iter().collect();
        found.push(Alert { rule: Rule::WitnessLag, level: Level::Warning, about: name.clone(), what, leaves });
    }
}

/// A promise that is due soon, or was due by the reader's clock. By the witnesses' clocks the verifier says it.
pub(super) fn promises(watch: &Watch<'_>, promises: &[Vec<u8>], found: &mut Vec<Alert>) {
    let soon = watch.known.now.plus(watch.known.thresholds.promise_soon_minutes.saturating_mul(MINUTE));
    for promise in promises.iter().filter_map(|bytes| promise(watch.trust, &watch.keys, bytes)) {
        if watch.digests.contains(&promise.usage) || soon < promise.deadline {
            continue;
        }
        let late = promise.deadline < watch.known.now;
        let what = format!("{} {}", if late { "it was due" } else { "it is due" }, promise.deadline);
        let level = if late { Level::Alarm } else { Level::Warning };
        let about = format!("record {}", promise.usage.short());
        found.push(Alert { rule: Rule::Promise, level, about, what, leaves: watch.newest().into_iter().collect() });
    }
}

/// A case that waits for an answer or a decision beyond the deadline, by the reader's clock.
pub(super) fn cases(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    for case in watch.cases.iter() {
        let Some(due) = case.overdue(watch.known.now) else { continue };
        let step = if due == case.opening.decide_by { "a decision" } else { "an answer" };
        let waited = watch.known.now.0.saturating_sub(due.0) / (60 * MINUTE);
        found.push(Alert {
            rule: Rule::CaseOverdue,
            level: Level::Warning,
            about: format!("case {}", case.at.index),
            what: format!("{step} was due {due}, {waited} hours ago"),
            leaves: vec![case.at],
        });
    }
}

/// A contract whose jobs are over, nearly over, or used faster than its validity allows.
pub(super) fn quotas(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    let limits = &watch.known.thresholds;
    for terms in &watch.known.contracts {
        let Some(allowed) = terms.jobs else { continue };
        let jobs = watch.jobs_of(&terms.contract);
        let used = jobs.len() as u64;
        let fast = ahead(terms, used, allowed, watch);
        let (level, what) = if used > allowed {
            (Level::Alarm, format!("{used} jobs; {allowed} are allowed"))
        } else if used > 0 && percent(used, allowed) >= u128::from(limits.quota_used_percent) {
            (Level::Warning, format!("{used} of {allowed} jobs are used"))
        } else if used >= limits.rate_uses_min && fast >= u128::from(limits.quota_rate_percent) {
            (Level::Warning, format!("{used} of {allowed} jobs are used, at {fast} percent of the pace that lasts"))
        } else {
            continue;
        };
        let leaves = links(jobs.iter().map(|u| u.at));
        found.push(Alert { rule: Rule::QuotaBurn, level, about: terms.name.clone(), what, leaves });
    }
}

/// How fast a contract is used, in percent of the pace at which it lasts until its end.
fn ahead(terms: &Terms, used: u64, allowed: u64, watch: &Watch<'_>) -> u128 {
    let elapsed = watch.known.now.0.saturating_sub(terms.valid_from.0).max(1);
    let whole = terms.valid_until.0.saturating_sub(terms.valid_from.0);
    let even = u128::from(allowed).saturating_mul(u128::from(elapsed));
    (u128::from(used) * 100).saturating_mul(u128::from(whole)).checked_div(even).unwrap_or_default()
}

/// A dataset whose privacy budget is over or nearly over.
pub(super) fn budgets(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    let mut spent: BTreeMap<DatasetVersionId, (u64, Vec<LeafRef>)> = BTreeMap::new();
    // A node charges a job once, however many attempts it has.
    let mut charged: BTreeSet<(JobId, DatasetVersionId)> = BTreeSet::new();
    for one in &watch.uses {
        for charge in &one.record.privacy {
            if !charged.insert((one.record.job, charge.dataset)) {
                continue;
            }
            let (sum, leaves) = spent.entry(charge.dataset).or_default();
            *sum = sum.saturating_add(charge.epsilon_micro);
            if leaves.last() != Some(&one.at) {
                leaves.push(one.at);
            }
        }
    }
    for (dataset, (sum, leaves)) in spent {
        let id = dataset.to_string();
        let Some(budget) = watch.known.budgets.get(&id).copied() else { continue };
        let level = match percent(sum, budget) {
            _ if sum > budget => Level::Alarm,
            used if used >= u128::from(watch.known.thresholds.budget_used_percent) => Level::Warning,
            _ => continue,
        };
        let what = format!("{sum} of {budget} millionths of epsilon are spent");
        let leaves = links(leaves.into_iter());
        found.push(Alert {
            rule: Rule::BudgetBurn,
            level,
            about: format!("dataset {}", dataset.short()),
            what,
            leaves,
        });
    }
}

/// Refusals under one contract in the hours before now.
pub(super) fn refusals(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    let limits = &watch.known.thresholds;
    let since = watch.known.now.0.saturating_sub(limits.refusals_hours.saturating_mul(60 * MINUTE));
    let mut refused: BTreeMap<Option<ContractId>, Vec<&Use>> = BTreeMap::new();
    for one in watch.uses.iter().filter(|u| u.record.ended.0 >= since) {
        if matches!(one.record.status, Status::Refused { .. }) {
            let named: Vec<_> = one.record.contracts.iter().copied().map(Some).collect();
            let of = if named.is_empty() { vec![None] } else { named };
            of.into_iter().for_each(|contract| refused.entry(contract).or_default().push(one));
        }
    }
    for (contract, uses) in refused {
        if (uses.len() as u64) < limits.refusals_count.max(1) {
            continue;
        }
        let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
        for one in &uses {
            if let Status::Refused { code, .. } = &one.record.status {
                *codes.entry(code.text()).or_default() += 1;
            }
        }
        let codes: Vec<String> = codes.iter().map(|(code, n)| format!("{code} {n}")).collect();
        let what = format!("{} in {} hours: {}", uses.len(), limits.refusals_hours, codes.join(", "));
        let about = contract.map_or_else(|| "no contract".to_owned(), |id| called(watch, &id));
        let leaves = links(uses.iter().map(|u| u.at));
        found.push(Alert { rule: Rule::Refusals, level: Level::Warning, about, what, leaves });
    }
}

fn called(watch: &Watch<'_>, contract: &ContractId) -> String {
    let terms = watch.known.contracts.iter().find(|t| t.contract == *contract);
    terms.map_or_else(|| format!("contract {}", contract.short()), |t| t.name.clone())
}

/// Uses that began under a contract before or after its validity, or after it was revoked.
pub(super) fn in_force(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    for terms in &watch.known.contracts {
        let end = terms.revoked.map_or(terms.valid_until, |at| at.min(terms.valid_until));
        let outside = |u: &&Use| {
            u.record.contracts.contains(&terms.contract)
                && u.record.status == Status::Ok
                && (u.record.started < terms.valid_from || u.record.started >= end)
        };
        let uses: Vec<&Use> = watch.uses.iter().filter(outside).collect();
        let Some(first) = uses.first() else { continue };
        let revoked = terms.revoked.is_some_and(|at| at == end && first.record.started >= at);
        let why = if revoked {
            format!("revoked at {end}")
        } else {
            format!("in force from {} to {}", terms.valid_from, terms.valid_until)
        };
        let what = format!("{} uses, the first began at {}; {why}", uses.len(), first.record.started);
        let leaves = links(uses.iter().map(|u| u.at));
        let about = terms.name.clone();
        found.push(Alert { rule: Rule::RevokedButUsed, level: Level::Alarm, about, what, leaves });
    }
}

/// Uses whose input is of another country than one to whom something was revealed.
pub(super) fn borders(watch: &Watch<'_>, found: &mut Vec<Alert>) {
    let country = |region: &str| region.split('-').next().unwrap_or_default().to_owned();
    let mut crossed: BTreeMap<(String, String), Vec<LeafRef>> = BTreeMap::new();
    for one in &watch.uses {
        let region = |key: &tacit_types::NodeId| {
            let entry = one.record.party(key).map(|p| &p.name);
            let known = || watch.trust.parties.iter().find(|p| p.key == *key).map(|p| &p.name);
            entry.or_else(known).and_then(|name| watch.known.regions.get(name))
        };
        let inputs: Vec<&String> =
            one.record.parties.iter().filter(|p| p.role == Role::Input).filter_map(|p| region(&p.party)).collect();
        let results = one.record.parties.iter().filter(|p| p.role == Role::Result).map(|p| p.party);
        let seats = || one.record.parties.iter().filter(|p| p.standing == Standing::TookPart).map(|p| p.party);
        let shown = one.record.disclosures.iter().flat_map(|d| match d.to {
            Audience::Party(key) => vec![key],
            Audience::Seats => seats().collect(),
        });
        for to in shown.chain(results) {
            let Some(to) = region(&to) else { continue };
            for from in inputs.iter().filter(|from| country(from) != country(to)) {
                let leaves = crossed.entry(((*from).clone(), to.clone())).or_default();
                if leaves.last() != Some(&one.at) {
                    leaves.push(one.at);
                }
            }
        }
    }
    for ((from, to), leaves) in crossed {
        let what = format!("{} uses", leaves.len());
        let leaves = links(leaves.into_iter());
        found.push(Alert {
            rule: Rule::CrossBorder,
            level: Level::Warning,
            about: format!("{from} -> {to}"),
            what,
            leaves,
        });
    }
}
