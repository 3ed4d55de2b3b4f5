//! `receipt evidence` and `receipt convict`: what shows that a party broke a protocol, out of the node that keeps it, and
//! checked by anyone, offline, beside the receipt.

use std::path::Path;

use serde_json::json;
use tacit_engine::evidence::{self, Convicted};
use tacit_node::store::EvidenceRow;
use tacit_receipts::Trust;
use tacit_types::{Code, Fault};

use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

/// Lists the evidence that this node keeps, or writes one piece to a file.
pub async fn kept(cli: &Cli, out: &Out, wanted: Option<&str>, file: Option<&Path>) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let all = party.store.evidence().await;
    party.store.close().await;
    let chosen = |row: &EvidenceRow| {
        wanted.is_none_or(|hash| {
            hash.len() >= 4 && (row.hash.to_string().starts_with(hash) || row.job.to_string().starts_with(hash))
        })
    };
    let rows: Vec<EvidenceRow> = all?.into_iter().filter(chosen).collect();
    if let Some(file) = file {
        let [row] = rows.as_slice() else {
            let what = format!("{} pieces of evidence fit; name one by its hash or its job", rows.len());
            return Err(Fault::new(Code::ReceiptUnknown, what));
        };
        super::receipt::write(file, &row.blame)?;
        out.text(format!("{}: {} {}", file.display(), row.offence, row.hash));
        out.value(&line(row));
        return Ok(());
    }
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let seat = row.seat.to_string();
            vec![
                row.hash.short(),
                row.job.short(),
                row.attempt.0.to_string(),
                seat,
                row.offence.clone(),
                row.at.to_string(),
            ]
        })
        .collect();
    let head = [
        out.say("evidence", "证据"),
        out.say("job", "作业"),
        out.say("attempt", "尝试"),
        out.say("seat", "席位"),
        out.say("offence", "违规"),
        out.say("seen", "发现时间"),
    ];
    out.table(&head, &table);
    out.value(&rows.iter().map(line).collect::<Vec<_>>());
    Ok(())
}

fn line(row: &EvidenceRow) -> serde_json::Value {
    json!({
        "evidence": row.hash.to_string(), "job": row.job.to_string(), "attempt": row.attempt.0, "seat": row.seat,
        "offence": row.offence, "seen": row.at.0, "bytes": row.blame.len(),
    })
}

/// Checks evidence beside the receipts of a bundle, and gives the exit status. It reads these files and nothing else.
pub fn convict(out: &Out, file: &Path, bundle: &Path, trust: Option<&Path>) -> Result<u8, Fault> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())));
    let trust = trust.map(|path| read(path).and_then(|bytes| Trust::parse(&bytes))).transpose()?;
    let Convicted { leaf, record, conviction } = evidence::convict(&read(file)?, &read(bundle)?, trust.as_ref())?;
    let pinned = trust.is_some();
    let party = record.parties.get(conviction.seat.index());
    let name = party.map(|p| p.name.to_string()).unwrap_or_default();
    out.text(format!(
        "{} {leaf}: {name} {}: {} [{}]",
        out.say("leaf", "叶"),
        out.say("broke the protocol, and its own signatures show it", "违反了协议，其自身签名可以证明"),
        conviction.offence,
        conviction.evidence
    ));
    if !pinned {
        out.text(out.say(
            "The keys came with the bundle: without --trust anyone could have made it.",
            "密钥来自该证据包本身：未指定 --trust 时，任何人都可能伪造它。",
        ));
    }
    out.value(&json!({
        "leaf": leaf, "job": record.job.to_string(), "attempt": record.attempt.0, "party": name,
        "key": party.map(|p| p.party.to_string()), "offence": conviction.offence, "evidence": conviction.evidence.to_string(),
        "convicts": true, "pinned": pinned,
    }));
    Ok(0)
}
