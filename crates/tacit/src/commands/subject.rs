//! `data subject`: in which jobs a person's record was eligible. It reads this node's own store and rows, and tells nobody.

use serde_json::{Value, json};
use tacit_node::subject::{self, Eligible, Subject, Use};
use tacit_types::Fault;

use crate::home::Party;
use crate::output::Out;
use crate::progress::Progress;

/// Runs `data subject`.
pub async fn run(party: &Party, out: &Out, subject: &Subject<'_>) -> Result<(), Fault> {
    let owner = party.keys.root.id();
    let progress = Progress::new(out.json(), out.say("looking through the rows of each job", "正在逐个作业核查数据行"));
    let (uses, looked_at) = subject::uses(&party.store, &party.home, &party.config.sources, &owner, subject).await?;
    drop(progress);
    let contracts = party.store.contracts().await?;
    let name = |u: &Use| {
        let known = contracts.iter().find(|c| c.id() == u.contract);
        known.map_or_else(|| u.contract.short(), |c| c.body().name.to_string())
    };
    let rows: Vec<Vec<String>> = uses
        .iter()
        .map(|u| {
            let eligible = match &u.eligible {
                Eligible::Rows(n) => format!("{n} {}", out.say("rows", "行")),
                Eligible::Unknown(fault) => format!("{}: {}", out.say("cannot be told", "无法判定"), fault.code),
            };
            let state = match (u.began, u.ended) {
                (false, None) => out.say("admitted", "已接受"),
                (false, Some(_)) => out.say("never began", "未开始"),
                (true, None) => out.say("running", "运行中"),
                (true, Some(word)) => word,
            };
            let receipt = u.receipt.map(|place| place.to_string()).unwrap_or_default();
            let dataset = format!("{} v{}", u.dataset.0, u.dataset.1);
            vec![
                u.admitted.to_string(),
                u.job.short(),
                u.kind.clone(),
                u.purpose.clone(),
                name(u),
                dataset,
                eligible,
                state.to_owned(),
                receipt,
            ]
        })
        .collect();
    let head = [
        out.say("when", "时间"),
        out.say("job", "作业"),
        out.say("kind", "类型"),
        out.say("purpose", "用途"),
        out.say("contract", "合同"),
        out.say("dataset", "数据集"),
        out.say("eligible", "符合条件"),
        out.say("state", "状态"),
        out.say("receipt", "凭证"),
    ];
    out.table(&head, &rows);
    out.text(format!(
        "{looked_at} {}",
        out.say(
            "jobs of this dataset were looked at, over the rows as they are now; nothing has left this node",
            "个涉及该数据集的作业已按当前数据核查；未有任何信息离开本节点"
        )
    ));
    let view = |u: &Use| -> Value {
        let (rows, unknown) = match &u.eligible {
            Eligible::Rows(n) => (Some(*n), None),
            Eligible::Unknown(fault) => (None, Some(json!({"code": fault.code.text(), "what": fault.what}))),
        };
        json!({
            "job": u.job.to_string(), "kind": u.kind, "purpose": u.purpose, "contract": u.contract.to_string(),
            "contract_name": name(u), "dataset": u.dataset.0, "version": u.dataset.1, "admitted": u.admitted.0,
            "began": u.began, "ended": u.ended, "receipt": u.receipt, "rows": rows, "unknown": unknown,
        })
    };
    out.value(&json!({"looked_at": looked_at, "uses": uses.iter().map(view).collect::<Vec<_>>()}));
    Ok(())
}
