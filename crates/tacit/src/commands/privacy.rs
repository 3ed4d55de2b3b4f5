//! A contract's terms of privacy as a person writes and reads them, and what has been spent.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use tacit_governance::privacy::decimal;
use tacit_governance::{PrivacyCost, PrivacyTerms};
use tacit_types::{Code, DatasetVersionId, Fault};

use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

/// What a person writes under `[privacy]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Epsilon of each dataset version, over all jobs.
    epsilon: String,
    /// Delta of each dataset version, over all jobs.
    delta: String,
    /// Epsilon of one job; that of all when absent.
    job_epsilon: Option<String>,
    /// Whether jobs without noise are refused.
    #[serde(default)]
    only: bool,
}

/// Digits after the point of an epsilon and of a delta.
const EPSILON_PLACES: u32 = 6;
const DELTA_PLACES: u32 = 15;

/// A decimal in parts of ten to the minus `places`.
fn parts(name: &str, text: &str, places: u32) -> Result<u64, Fault> {
    let wrong = || {
        let what = format!("privacy.{name}: `{text}`; a decimal above 0 with at most {places} digits after the point");
        Fault::new(Code::ArgsInvalid, what)
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > places as usize {
        return Err(wrong());
    }
    let all = format!("{whole}{fraction:0<width$}", width = places as usize);
    all.parse().ok().filter(|parts| *parts > 0).ok_or_else(wrong)
}

/// The terms.
///
/// # Errors
/// `args.invalid` naming the field.
pub fn terms(written: &Written) -> Result<PrivacyTerms, Fault> {
    let epsilon_micro = parts("epsilon", &written.epsilon, EPSILON_PLACES)?;
    let delta_femto = parts("delta", &written.delta, DELTA_PLACES)?;
    let job = written.job_epsilon.as_deref().map(|text| parts("job_epsilon", text, EPSILON_PLACES)).transpose()?;
    Ok(PrivacyTerms {
        budget: PrivacyCost { epsilon_micro, delta_femto },
        job_epsilon_micro: job.unwrap_or(epsilon_micro),
        only: written.only,
    })
}

/// A cost for programs: decimals as text.
pub fn cost(cost: &PrivacyCost) -> serde_json::Value {
    json!({"epsilon": decimal(cost.epsilon_micro, EPSILON_PLACES), "delta": decimal(cost.delta_femto, DELTA_PLACES)})
}

/// The terms for programs.
pub fn view(terms: &PrivacyTerms) -> serde_json::Value {
    let mut view = cost(&terms.budget);
    view["job_epsilon"] = decimal(terms.job_epsilon_micro, EPSILON_PLACES).into();
    view["only"] = terms.only.into();
    view
}

/// The terms in a line.
pub fn line(out: &Out, terms: &PrivacyTerms) -> String {
    let most = decimal(terms.job_epsilon_micro, EPSILON_PLACES);
    let only = if terms.only { out.say("; no exact results", "；不提供精确结果") } else { "" };
    format!("{}{} {most}{only}", terms.budget, out.say("; one job at most", "；单个作业最多"))
}

/// What noisy results have cost each dataset of this node, and what is left.
///
/// # Errors
/// Those of the store.
pub async fn spent(cli: &Cli, out: &Out) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let (rows, contracts, datasets) =
        (party.store.spent().await?, party.store.contracts().await?, party.store.datasets().await?);
    party.store.close().await;
    let mut totals: BTreeMap<DatasetVersionId, (u64, PrivacyCost)> = BTreeMap::new();
    for row in &rows {
        let (jobs, all) = totals.entry(row.dataset).or_default();
        (*jobs, *all) = (*jobs + row.jobs, all.and(row.cost));
    }
    let owner = party.keys.root.id();
    let (mut lines, mut list) = (Vec::new(), Vec::new());
    for contract in contracts.iter().filter(|c| c.missing().is_empty()) {
        let (body, Some(terms)) = (contract.body(), contract.body().privacy) else { continue };
        for grant in body.datasets.iter().filter(|grant| grant.owner == owner) {
            let known = datasets.iter().find(|row| row.id == grant.dataset);
            let name = known.map_or_else(|| grant.dataset.short(), |row| row.name.clone());
            let (jobs, all) = totals.get(&grant.dataset).copied().unwrap_or_default();
            let left = terms.budget.left(all);
            lines.push(vec![name.clone(), body.name.to_string(), jobs.to_string(), all.to_string(), left.to_string()]);
            list.push(json!({
                "dataset": grant.dataset.to_string(), "name": name, "contract": body.name.as_str(), "jobs": jobs,
                "spent": cost(&all), "budget": cost(&terms.budget), "left": cost(&left),
            }));
        }
    }
    let head = [
        out.say("dataset", "数据集"),
        out.say("contract", "合同"),
        out.say("jobs", "作业"),
        out.say("spent", "已用"),
        out.say("left", "剩余"),
    ];
    out.table(&head, &lines);
    out.value(&list);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PrivacyTerms, Code> {
        terms(&toml::from_str(text).unwrap()).map_err(|fault| fault.code)
    }

    #[test]
    fn terms_are_read_to_the_last_digit() {
        let budget = PrivacyCost { epsilon_micro: 3_500_000, delta_femto: 1_000_000 };
        let all = PrivacyTerms { budget, job_epsilon_micro: 3_500_000, only: false };
        assert_eq!(read("epsilon = '3.5'\ndelta = '0.000000001'"), Ok(all));
        let some = PrivacyTerms { job_epsilon_micro: 250_001, only: true, ..all };
        assert_eq!(read("epsilon = '3.5'\ndelta = '0.000000001'\njob_epsilon = '0.250001'\nonly = true"), Ok(some));
        assert_eq!(
            view(&some),
            json!({"epsilon": "3.5", "delta": "0.000000001", "job_epsilon": "0.250001", "only": true})
        );
        for bad in ["0", "-1", "1e3", "1.", ".5", "0.0000001", "", "99999999999999999999"] {
            assert_eq!(read(&format!("epsilon = '{bad}'\ndelta = '0.1'")), Err(Code::ArgsInvalid), "{bad}");
        }
    }
}
