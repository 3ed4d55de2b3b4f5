//! Scores online: `model publish`, `unpublish`, `caller`, `call`, `score`.

use std::path::Path;

use serde_json::{Value, json};
use tacit_crypto::{SigningKey, Statement, cbor};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_node::online::BATCH_MS_MAX;
use tacit_node::store::{CallerRow, PublishedRow};
use tacit_receipts::merkle::inclusion_proof;
use tacit_receipts::{CallProof, JointReceipt, MemTree, Window};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, JobId, Name, NodeId};

use crate::calls::Calls;
use crate::cli::{CallCommand, CallerCommand, PublishArgs, ScoreArgs};
use crate::home::{Party, unexpected};
use crate::output::Out;

/// Calls of a listing.
const CALLS_SHOWN: u32 = 100;

/// Publishes a model at this node: signs nothing yet, asks every owner how it would decide.
pub async fn publish(party: &Party, out: &Out, args: &PublishArgs) -> Result<(), Fault> {
    let name = Name::new(&args.name)?;
    if args.batch_ms > BATCH_MS_MAX {
        return Err(Fault::new(Code::ArgsInvalid, format!("--batch-ms {}: at most {BATCH_MS_MAX}", args.batch_ms)));
    }
    if party.config.online.is_none() {
        let what = "node.toml has no [online]: add it with `listen`, and start the node again";
        return Err(Fault::new(Code::ConfigMalformed, what));
    }
    let client = party.connect().await?;
    let ready = super::job::ready(party, &client, &args.file, true).await?;
    if ready.plan.online().is_none() {
        let what = format!("{}: it has no [params.online]", args.file.display());
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let request = ToCoordinator::Plan { job: Blob(ready.job.bytes().to_vec()) };
    let FromCoordinator::Planned(answers) = client.ask(&request).await? else { return Err(unexpected()) };
    client.close().await;
    if let Some((who, fault)) = answers.iter().find_map(|a| Some((&a.party, a.objection.clone()?))) {
        return Err(Fault::new(fault.code, format!("{who}: {}", fault.what)));
    }
    let row = PublishedRow {
        name: name.to_string(),
        template: cbor::encode(ready.job.body()),
        batch_ms: args.batch_ms,
        added_at: tacit_node::now(),
        status: String::new(),
    };
    party.store.publish(&row).await?;
    let listen = party.config.online.as_ref().map(|o| o.listen.clone()).unwrap_or_default();
    out.text(format!("{} POST http://{listen}/v1/score/{name}", out.say("published", "已发布")));
    out.text(out.say(
        "Scores are learned at once, before the window's receipt. Enrol callers with `tacit model caller add`.",
        "评分结果即时得知，早于窗口凭证。请用 `tacit model caller add` 登记调用方。",
    ));
    out.value(&json!({"name": row.name, "listen": listen, "node": party.keys.node_id.to_string()}));
    Ok(())
}

/// Ends a published model after what is under way.
pub async fn unpublish(party: &Party, out: &Out, name: &str) -> Result<(), Fault> {
    if !party.store.unpublish(name).await? {
        return Err(Fault::new(Code::OnlineUnknown, format!("`{name}`")));
    }
    out.text(format!("{} {name}", out.say("no longer published:", "已取消发布：")));
    out.value(&json!({"name": name}));
    Ok(())
}

/// What is published, as its node last said.
pub async fn published(party: &Party, out: &Out) -> Result<Vec<Value>, Fault> {
    let rows = party.store.published().await?;
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    for row in rows {
        let mut status: Value = serde_json::from_str(&row.status).unwrap_or_else(|_| json!({}));
        let text = |name: &str| match &status[name] {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let window = text("window").chars().take(8).collect();
        lines.push(vec![
            row.name.clone(),
            text("state"),
            window,
            text("rows_left"),
            text("calls"),
            text("failed"),
            text("p50_us"),
            text("p99_us"),
            text("code"),
        ]);
        status["name"] = json!(row.name);
        status["batch_ms"] = json!(row.batch_ms);
        values.push(status);
    }
    if !lines.is_empty() {
        let head = [
            out.say("published", "已发布"),
            out.say("state", "状态"),
            out.say("window", "窗口"),
            out.say("rows left", "剩余行数"),
            out.say("calls", "调用"),
            out.say("failed", "失败"),
            "p50 us",
            "p99 us",
            out.say("code", "代码"),
        ];
        out.table(&head, &lines);
    }
    Ok(values)
}

/// Runs a `model caller` command.
pub async fn caller(party: &Party, out: &Out, command: &CallerCommand) -> Result<(), Fault> {
    match command {
        CallerCommand::Add { name, key, new } => {
            let name = Name::new(name)?;
            let key = match (key, new) {
                (Some(key), None) => NodeId::from_hex(key)?,
                (None, Some(file)) => {
                    let key = SigningKey::generate(&mut tacit_node::os_rng()?);
                    tacit_net::keyfile::write_new(file, &key.to_seed())?;
                    key.id()
                }
                _ => return Err(Fault::new(Code::ArgsInvalid, "one of --key and --new is needed")),
            };
            let row = CallerRow { name: name.to_string(), key, added_at: tacit_node::now() };
            party.store.add_caller(&row).await?;
            let node = party.keys.node_id;
            out.text(format!("{} {name}  keyid {key}  tag tacit/{node}", out.say("enrolled", "已登记")));
            out.value(&json!({"name": row.name, "key": key.to_string(), "node": node.to_string()}));
            Ok(())
        }
        CallerCommand::List => {
            let rows = party.store.callers().await?;
            let line = |r: &CallerRow| vec![r.name.clone(), r.key.to_string(), r.added_at.to_string()];
            let head = [out.say("caller", "调用方"), out.say("key", "密钥"), out.say("enrolled", "登记时间")];
            out.table(&head, &rows.iter().map(line).collect::<Vec<_>>());
            let value = |r: &CallerRow| json!({"name": r.name, "key": r.key.to_string()});
            out.value(&rows.iter().map(value).collect::<Vec<_>>());
            Ok(())
        }
        CallerCommand::Remove { name } => {
            if !party.store.remove_caller(name).await? {
                return Err(Fault::new(Code::OnlineCaller, format!("no caller `{name}` is enrolled")));
            }
            out.text(format!("{} {name}", out.say("forgotten:", "已移除：")));
            out.value(&json!({"name": name}));
            Ok(())
        }
    }
}

/// Runs a `model call` command.
pub async fn call(party: &Party, out: &Out, command: &CallCommand) -> Result<(), Fault> {
    match command {
        CallCommand::List => {
            let rows = party.store.calls(CALLS_SHOWN).await?;
            let lines: Vec<Vec<String>> = rows
                .iter()
                .map(|r| {
                    let id = format!("{}/{}", r.job, r.number);
                    vec![id, r.at.to_string(), r.caller.clone(), r.call.keys.to_string()]
                })
                .collect();
            let head =
                [out.say("call", "调用"), out.say("at", "时间"), out.say("caller", "调用方"), out.say("keys", "键数")];
            out.table(&head, &lines);
            let value = |r: &tacit_node::store::CallRow| {
                json!({"id": format!("{}/{}", r.job, r.number), "at": r.at.0, "caller": r.caller,
                    "keys": r.call.keys, "at_ms": r.call.at_ms, "request": r.call.request.to_string(),
                    "salt": r.call.salt.to_string()})
            };
            out.value(&rows.iter().map(value).collect::<Vec<_>>());
            Ok(())
        }
        CallCommand::Prove { call, out: file } => prove(party, out, call, file).await,
    }
}

/// Writes the proof that a call is in the receipt of its window.
async fn prove(party: &Party, out: &Out, id: &str, file: &Path) -> Result<(), Fault> {
    let wrong = || Fault::new(Code::ArgsInvalid, format!("`{id}`: WINDOW/NUMBER, as `tacit model call list` shows it"));
    let (job, number) = id.split_once('/').ok_or_else(wrong)?;
    let (job, number) = (JobId::from_hex(job)?, number.parse::<u64>().map_err(|_| wrong())?);
    let unknown = |what: &str| Fault::new(Code::ReceiptUnknown, format!("call {id}: {what}"));
    let call = party.store.call(&job, number).await?.ok_or_else(|| unknown("it is not known here"))?;
    let ended = party.store.window(&job).await?.ok_or_else(|| unknown("its window has not ended here"))?;
    let known = party.store.job(&job).await?.ok_or_else(|| unknown("its window is not known here"))?;
    let (place, leaf, _) = known.receipt.ok_or_else(|| unknown("its window has no receipt yet"))?;
    let receipt =
        Statement::<JointReceipt>::verify(&leaf).map_err(|e| Fault::new(Code::ReceiptInvalid, e.to_string()))?;
    let record = &receipt.body().record;
    let mut tree = MemTree::default();
    ended.leaves.iter().for_each(|leaf| tree.push(*leaf));
    let counted = |unit| {
        let line = record.lines.iter().find(|l| l.unit == unit);
        line.and_then(|l| if let tacit_receipts::Quantity::Plain(n) = l.quantity { Some(n) } else { None })
    };
    let cells = counted(tacit_types::Unit::CellIn).unwrap_or(0);
    let rows = counted(tacit_types::Unit::RowAsked).unwrap_or(0);
    let window = Window { calls: tree.size(), rows, cells, root: tree.root() };
    let path = inclusion_proof(&tree, number, tree.size())?;
    let attempt = tacit_types::Attempt(ended.attempt);
    let proof = CallProof { version: 1, job, attempt, number, call: call.call, window, path };
    // What this tool writes, it must itself be able to check.
    proof.verify(record)?;
    tacit_node::files::write_whole(file, &cbor::encode(&proof))?;
    out.text(format!("{} {}  {} {place}", out.say("written", "已写入"), file.display(), out.say("leaf", "叶")));
    out.value(&json!({"call": id, "file": file.display().to_string(), "leaf": place}));
    Ok(())
}

/// Calls a published model with a caller's key.
pub fn score(out: &Out, args: &ScoreArgs) -> Result<(), Fault> {
    let key = tacit_net::keyfile::read_signing(&args.key)?;
    let value = Calls::new(&args.at, NodeId::from_hex(&args.node)?, key).ask(&args.name, &args.keys)?;
    let lines: Vec<Vec<String>> = value["scores"].as_array().into_iter().flatten().map(line).collect();
    out.table(&[out.say("key", "键"), out.say("score", "评分")], &lines);
    let id = format!("{}/{}", value["call"]["window"].as_str().unwrap_or(""), value["call"]["number"]);
    out.text(format!("{} {id}", out.say("call", "调用")));
    out.value(&value);
    Ok(())
}

fn line(score: &Value) -> Vec<String> {
    let value = match &score["score"] {
        Value::Null => "-".to_owned(),
        // A band is a whole number, a score is none.
        Value::Number(n) if n.is_f64() => format!("{:.6}", n.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    };
    vec![score["key"].as_str().unwrap_or("").to_owned(), value]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_shown_by_its_key() {
        assert_eq!(line(&json!({"key": "a", "score": 0.5})), ["a", "0.500000"]);
        assert_eq!(line(&json!({"key": "b", "score": null})), ["b", "-"]);
        assert_eq!(line(&json!({"key": "c", "score": 2})), ["c", "2"]);
        assert_eq!(line(&json!({"key": "d", "score": true})), ["d", "true"]);
    }
}
