//! `contract approve` and `contract test`.

use std::path::Path;

use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_engine::{PricePlans, ToCoordinator, Worker};
use tacit_governance::orders::Verdict;
use tacit_governance::{JobSpec, Rule, SignedContract, SitePolicy};
use tacit_node::ledger::{self, Whose};
use tacit_node::memos;
use tacit_node::site::Site;
use tacit_types::limits::JOB_BYTES_MAX;
use tacit_types::{Code, Fault, JobId, wire::Blob};

use super::contract::{contracts, pick, show_one};
use super::money::Books;
use crate::home::Party;
use crate::output::Out;

/// Approves or rejects a contract in the office that it gives this party.
pub async fn approve(party: &Party, out: &Out, wanted: &str, reject: bool, reason: &str) -> Result<(), Fault> {
    let client = party.connect().await?;
    let all = contracts(party, &client).await?;
    let mut contract = pick(&all, wanted)?.clone();
    let verdict = if reject { Verdict::Reject } else { Verdict::Approve };
    contract.approve(&party.keys.root, verdict, reason, tacit_node::now())?;
    // A signature comes along, which says what contract it is.
    let statements = contract.statements().map(|(_, bytes)| Blob(bytes.to_vec())).collect();
    client.ask(&ToCoordinator::PutContract(statements)).await?;
    client.close().await;
    show_one(out, &contract);
    Ok(())
}

/// Says what this owner's node would decide on a job now, and by which rule. Nothing is consumed.
pub async fn test(party: &Party, out: &Out, job: &str) -> Result<u8, Fault> {
    let bytes = bytes_of(party, job).await?;
    let job = JobSpec::verify(&bytes)?;
    memos::nothing_lacks(&party.store).await?;
    let keys = party.store.party_keys(&party.config.coordinator.origin).await?;
    // A contract that others have signed since is known at the coordinator; without it, what is here decides.
    let offered = match party.connect().await {
        Ok(client) => {
            let all = contracts(party, &client).await?;
            let named: Vec<SignedContract> =
                all.into_iter().filter(|c| job.body().contracts.contains(&c.id())).collect();
            let plans = match named.iter().any(|c| c.body().price_plan.is_some()) {
                true => Books::open(party, &client, out).await?.leaves.into_iter().map(Blob).collect(),
                false => Vec::new(),
            };
            client.close().await;
            (named, Worker::price_plans(&[plans], &keys))
        }
        Err(_) => (Vec::new(), PricePlans::default()),
    };
    let site = Site::open(&party.home, &party.config)?.map(|site| site.current());
    let site = site.as_ref().map(|site| &**site as &(dyn SitePolicy + Sync));
    let whose = Whose { owner: party.keys.root.id(), coordinator: party.config.coordinator_id()?, keys: &keys, site };
    let judged = ledger::test(&party.store, whose, &job, offered, tacit_node::now()).await?;
    say(out, &job, judged.rule, judged.decision.as_ref().err());
    Ok(if judged.decision.is_ok() { 0 } else { 3 })
}

fn say(out: &Out, job: &Statement<JobSpec>, rule: Rule, refusal: Option<&Fault>) {
    let kept = Rule::ALL.iter().filter(|r| **r < rule || refusal.is_none());
    let mut rows: Vec<Vec<String>> = kept
        .map(|r| vec![r.number().to_string(), out.say("kept", "通过").to_owned(), r.asks(out.lang()).to_owned()])
        .collect();
    if let Some(fault) = refusal {
        let asks = rule.asks(out.lang());
        rows.push(vec![rule.number().to_string(), out.say("refuses", "拒绝").to_owned(), asks.to_owned()]);
        out.table(&["", out.say("rule", "规则"), out.say("it asks that", "要求")], &rows);
        out.text(format!("{}: {} ({})", fault.code, fault.code.title(out.lang()), fault.what));
        out.text(format!("{}: {}", out.say("hint", "提示"), fault.code.hint(out.lang())));
    } else {
        out.table(&["", out.say("rule", "规则"), out.say("it asks that", "要求")], &rows);
        out.text(out.say("this node would admit it", "本节点将接受该作业"));
    }
    let code: Value = refusal.map_or(Value::Null, |f| json!(f.code.text()));
    out.value(&json!({
        "job": JobSpec::id(job).to_string(), "admits": refusal.is_none(), "rule": rule.word(), "number": rule.number(),
        "rules": Rule::ALL.len(), "code": code, "reason": refusal.map(|f| &f.what),
    }));
}

/// The signed job of a file, or of an id of which this node has the job.
async fn bytes_of(party: &Party, job: &str) -> Result<Vec<u8>, Fault> {
    let path = Path::new(job);
    if let Ok(meta) = std::fs::metadata(path) {
        if meta.len() > JOB_BYTES_MAX as u64 {
            return Err(Fault::new(Code::RefusedMalformed, format!("{} bytes, at most {JOB_BYTES_MAX}", meta.len())));
        }
        return std::fs::read(path).map_err(|e| Fault::new(Code::IoFailed, format!("{job}: {e}")));
    }
    let begins = |id: &JobId| job.len() >= 4 && id.to_string().starts_with(job);
    let known = party.store.job_ids().await?;
    let mut matching = known.iter().filter(|id| begins(id));
    let one = match (matching.next(), matching.next()) {
        (Some(_), Some(_)) => return Err(Fault::new(Code::ArgsInvalid, format!("several jobs begin with `{job}`"))),
        (Some(id), None) => party.store.job(id).await?,
        (None, _) => None,
    };
    let unknown = || Fault::new(Code::JobUnknown, format!("`{job}` is no file and no job of this node"));
    one.map(|job| job.bytes.0).ok_or_else(unknown)
}
