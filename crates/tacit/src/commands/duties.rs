//! `contract duties` and `contract attest`: what a contract that has ended left behind, its deletion, and the signed word on
//! it.

use std::path::Path;

use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_governance::SignedContract;
use tacit_governance::lifecycle::{DECLARED_MAX, DeletionAttestation};
use tacit_node::duties::{self, Duties, Left};
use tacit_types::{Code, Fault, UnixMillis};

use super::contract::pick;
use super::lifecycle::Said;
use crate::home::Party;
use crate::output::Out;

/// Where a party keeps its attestation of a contract.
fn place(contract: &SignedContract) -> String {
    format!("deletion/{}", contract.id())
}

async fn kept(party: &Party, contract: &SignedContract) -> Result<Option<Statement<DeletionAttestation>>, Fault> {
    let bytes = party.store.meta(&place(contract)).await?;
    let read = |bytes: Vec<u8>| {
        Statement::verify(&bytes)
            .map_err(|e| Fault::new(Code::StoreCorrupt, format!("an attestation of deletion: {e}")))
    };
    bytes.map(read).transpose()
}

/// When what a contract left behind is to be gone.
fn due(contract: &SignedContract) -> Option<UnixMillis> {
    let days = contract.body().lifecycle.as_ref().and_then(|l| l.deletion_days)?;
    Some(contract.body().ends().plus(u64::from(days) * 86_400_000))
}

/// Runs `contract duties`.
pub async fn show(party: &Party, out: &Out, wanted: &str) -> Result<(), Fault> {
    let own = party.store.contracts().await?;
    let contract = pick(&own, wanted)?;
    let now = tacit_node::now();
    let found = duties::duties(&party.store, &party.home, contract, &own, now).await?;
    let (stage, _) = Said::read(party).await?.stage(contract, &own);
    let attested = kept(party, contract).await?;
    let rows: Vec<Vec<String>> = found.left.iter().map(|left| row(out, &own, left)).collect();
    let head = [out.say("held here", "本节点持有"), out.say("of job", "所属作业"), out.say("name", "名称"), ""];
    out.table(&head, &rows);
    out.text(format!(
        "{}: {}; {}: {}",
        out.say(
            "jobs that gave a result to the recipient, who answers for it",
            "已向接收方交付结果的作业数（由接收方负责）"
        ),
        found.results,
        out.say("jobs still open", "尚未结束的作业数"),
        found.open
    ));
    if let Some(due) = due(contract) {
        let late = if now >= due && attested.is_none() { out.say("overdue", "已逾期") } else { "" };
        out.text(format!("{}: {due} {late}", out.say("to be deleted until", "删除期限")).trim_end());
    }
    match &attested {
        Some(said) => out.text(format!("{}: {}", out.say("attested", "已声明"), said.envelope().issued_at)),
        None if stage == "terminated" => {
            out.text(out.say("not attested: `tacit contract attest`", "尚未声明：请执行 `tacit contract attest`"));
        }
        None => out.text(out.say("the contract has not ended", "合同尚未终止")),
    }
    out.value(&json!({
        "contract": contract.id().to_string(), "stage": stage, "due": due(contract).map(|t| t.0),
        "left": found.left.iter().map(view).collect::<Vec<_>>(), "results": found.results, "open": found.open,
        "attested": attested.as_ref().map(|s| s.envelope().issued_at.0),
    }));
    Ok(())
}

fn row(out: &Out, known: &[SignedContract], left: &Left) -> Vec<String> {
    let kind = match left.item.kind.word() {
        "aligned_keys" => out.say("keys that an alignment found", "对齐所得的键"),
        "cache" => out.say("a cache of another owner's keys", "其他所有者的键缓存"),
        _ => out.say("lists of an exchange", "交换过程中的列表"),
    };
    let stays = left.stays_for.map_or(String::new(), |id| {
        let name = known.iter().find(|c| c.id() == id).map_or_else(|| id.short(), |c| c.body().name.to_string());
        format!("{} {name}", out.say("stays for", "保留，因用于合同"))
    });
    vec![kind.to_owned(), left.item.job.short(), left.item.name.clone(), stays]
}

fn view(left: &Left) -> Value {
    json!({"kind": left.item.kind.word(), "job": left.item.job.to_string(), "name": left.item.name,
        "stays_for": left.stays_for.map(|id| id.to_string())})
}

/// Runs `contract attest`.
pub async fn attest(
    party: &Party,
    out: &Out,
    wanted: &str,
    declared: &[String],
    to: Option<&Path>,
) -> Result<(), Fault> {
    let own = party.store.contracts().await?;
    let contract = pick(&own, wanted)?;
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let name = &contract.body().name;
    if !contract.body().parties.iter().any(|p| p.root == party.keys.root.id()) {
        return Err(invalid(format!("this party has no part in contract {name}")));
    }
    let (stage, _) = Said::read(party).await?.stage(contract, &own);
    if stage != "terminated" {
        return Err(invalid(format!("contract {name} is {stage}: nothing of it is deleted before its end")));
    }
    if declared.len() > DECLARED_MAX || declared.iter().any(|text| text.trim().is_empty()) {
        return Err(invalid(format!("--declare: an empty text, or more than {DECLARED_MAX}")));
    }
    let now = tacit_node::now();
    let found: Duties = duties::duties(&party.store, &party.home, contract, &own, now).await?;
    if found.open > 0 {
        return Err(invalid(format!("{} jobs of contract {name} have not ended here", found.open)));
    }
    let before = kept(party, contract).await?;
    let mut deleted: Vec<_> = before.iter().flat_map(|s| s.body().deleted.clone()).collect();
    deleted.extend(duties::delete(&party.home, &found)?);
    let stays = found.left.iter().filter(|l| l.stays_for.is_some()).map(|l| l.item.clone()).collect();
    let mut words: Vec<String> = before.iter().flat_map(|s| s.body().declared.clone()).collect();
    words.extend(declared.iter().filter(|text| !words.contains(text)).cloned().collect::<Vec<_>>());
    let body = DeletionAttestation { contract: contract.id(), deleted, stays, declared: words };
    let signed = Statement::sign(&party.keys.root, &contract.id().to_string(), now, None, body);
    party.store.set_meta(&place(contract), signed.bytes()).await?;
    if let Some(to) = to {
        std::fs::write(to, signed.bytes()).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
    }
    say(out, name.as_str(), &signed, to);
    Ok(())
}

fn say(out: &Out, name: &str, signed: &Statement<DeletionAttestation>, to: Option<&Path>) {
    let said = signed.body();
    out.text(format!(
        "{} {name}: {} {}, {} {}, {} {}",
        out.say("attested for", "已就合同作出删除声明："),
        said.deleted.len(),
        out.say("deleted", "项已删除"),
        said.stays.len(),
        out.say("stay", "项保留"),
        said.declared.len(),
        out.say("declared", "项声明")
    ));
    let items = |all: &[tacit_governance::lifecycle::Deleted]| -> Vec<Value> {
        all.iter().map(|d| json!({"kind": d.kind.word(), "job": d.job.to_string(), "name": d.name})).collect()
    };
    out.value(&json!({
        "contract": said.contract.to_string(), "signer": signed.signer().to_string(), "at": signed.envelope().issued_at.0,
        "deleted": items(&said.deleted), "stays": items(&said.stays), "declared": said.declared,
        "statement": to.map(|to| to.display().to_string()),
    }));
}

/// Runs `contract attested`: reads another party's attestation.
pub async fn read(party: &Party, out: &Out, file: &Path) -> Result<(), Fault> {
    let bytes = std::fs::read(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let signed = Statement::<DeletionAttestation>::verify(&bytes)
        .map_err(|e| Fault::new(Code::ArgsInvalid, format!("{}: {e}", file.display())))?;
    let own = party.store.contracts().await?;
    let contract = own.iter().find(|c| c.id() == signed.body().contract);
    let contract = contract.ok_or_else(|| {
        Fault::new(Code::RefusedContractUnknown, format!("contract {}", signed.body().contract.short()))
    })?;
    let by = contract.body().parties.iter().find(|p| p.root == signed.signer());
    let by = by.ok_or_else(|| {
        let what = format!("{} has no part in contract {}", signed.signer().short(), contract.body().name);
        Fault::new(Code::ArgsInvalid, what)
    })?;
    out.text(format!("{}: {}", out.say("signed by", "签署方"), by.name));
    say(out, contract.body().name.as_str(), &signed, None);
    Ok(())
}
