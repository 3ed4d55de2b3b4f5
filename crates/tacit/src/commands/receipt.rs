//! `receipt list`, `show`, `verify`, `export`, and `log fsck`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_engine::{FromCoordinator, LogInfo, ToCoordinator};
use tacit_node::Client;
use tacit_receipts::merkle::{inclusion_proof, leaf_hash};
use tacit_receipts::policy::Policy;
use tacit_receipts::{
    Bundle, JointReceipt, Leaf, LogProof, MemTree, PartyKey, Quantity, Role, Sighting, Standing, Status, Trust,
    UsageLine, UsageRecord, cose, verify_bundle_watched,
};
use tacit_types::{Code, Fault};

use super::fetch::Fetched;
use super::opening::{Shown, figures};
use crate::cli::{Cli, ExportFormat, ReceiptCommand};
use crate::home::{Party, unexpected};
use crate::output::Out;
use crate::progress::Progress;

/// Runs a `receipt` command and gives the exit status.
pub async fn run(cli: &Cli, out: &Out, command: &ReceiptCommand) -> Result<u8, Fault> {
    if let ReceiptCommand::Verify { bundle: Some(bundle), trust } = command {
        return verify_file(out, bundle, trust.as_deref());
    }
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = match command {
        ReceiptCommand::List => list(&client, out).await.map(|()| 0),
        ReceiptCommand::Show { receipt } => show(&client, out, receipt).await.map(|()| 0),
        // why: these are run without this, see `commands::run`.
        ReceiptCommand::Explain { .. }
        | ReceiptCommand::Page { .. }
        | ReceiptCommand::Evidence { .. }
        | ReceiptCommand::Link(_)
        | ReceiptCommand::Promises(_)
        | ReceiptCommand::Opening(_)
        | ReceiptCommand::Open(_)
        | ReceiptCommand::Forget { .. }
        | ReceiptCommand::Convict { .. } => Ok(0),
        ReceiptCommand::Verify { .. } => verify_log(&party, &client, out).await,
        ReceiptCommand::Export { receipt, out: file, trust, policy, format, papers } => {
            let one = receipt.as_deref().unwrap_or_default();
            let done = match format {
                ExportFormat::Bundle if *papers => super::papers::export(&party, &client, out, file, one).await,
                _ if *papers => Err(Fault::new(Code::ArgsInvalid, "--papers goes with --format bundle")),
                ExportFormat::Bundle => export(&party, &client, out, file, receipt.as_deref()).await,
                ExportFormat::TlogProof => export_proof(&client, out, file, one).await,
                ExportFormat::Cose => export_cose(&client, out, file, one).await,
            };
            match done {
                Ok(()) => keys(&party, &client, out, trust.as_deref(), policy.as_deref()).await.map(|()| 0),
                Err(fault) => Err(fault),
            }
        }
    };
    client.close().await;
    party.store.close().await;
    done
}

pub(super) fn receipts(leaves: &[Vec<u8>]) -> Vec<(u64, Statement<JointReceipt>)> {
    leaves
        .iter()
        .enumerate()
        .filter_map(|(i, leaf)| match Leaf::read(leaf) {
            Ok(Leaf::Receipt(receipt)) => Some((i as u64, *receipt)),
            _ => None,
        })
        .collect()
}

fn status(record: &UsageRecord) -> (&'static str, Option<Code>) {
    match &record.status {
        Status::Ok => ("ok", None),
        Status::Aborted { code, .. } => ("aborted", Some(*code)),
        Status::Refused { code, .. } => ("refused", Some(*code)),
    }
}

fn summary(place: u64, receipt: &JointReceipt) -> Value {
    let record = &receipt.record;
    let (state, code) = status(record);
    json!({
        "leaf": place, "job": record.job.to_string(), "kind": record.kind.as_str(), "status": state,
        "code": code.map(|c| c.text()), "attempt": record.attempt.0,
        "parties": record.parties.iter().map(|p| json!({"name": p.name.as_str(), "role": role(p.role),
            "standing": standing(p.standing)})).collect::<Vec<_>>(),
        "attestations": receipt.attestations.len(), "started": record.started.0, "ended": record.ended.0,
        "lines": record.lines.iter().map(|l| json!({"unit": l.unit.word(), "party": record.parties.get(l.party.index()).map(|p| p.name.as_str()),
            "quantity": match l.quantity { Quantity::Plain(n) => json!(n), Quantity::Committed(h) => json!(h.to_string()) },
            "disputed": l.differing.iter().map(|s| json!({"party": record.parties.get(s.seat.index()).map(|p| p.name.as_str()),
                "counted": s.quantity})).collect::<Vec<_>>()})).collect::<Vec<_>>(),
        "disclosures": record.disclosures.iter().map(|d| json!({"what": d.what, "to": d.to.to_string(), "at_most": d.cardinality})).collect::<Vec<_>>(),
        "verified": record.disclosures.iter().any(|d| d.what == tacit_jobs::score::VERIFIED_RESULT),
        "checked": record.disclosures.iter().any(|d| tacit_jobs::checked::is_checked(&d.what)),
        "links": super::link::of_record(record),
        "convictions": record.convictions.iter().map(|c| json!({"offence": c.offence, "evidence": c.evidence.to_string(),
            "party": record.parties.get(c.seat.index()).map(|p| p.name.as_str())})).collect::<Vec<_>>(),
        "result": record.result.map(|h| h.to_string()),
    })
}

/// What observers counted who differ from a line, by name.
pub(super) fn differing(record: &UsageRecord, line: &UsageLine) -> String {
    let count = |s: &Sighting| {
        let name = record.parties.get(s.seat.index()).map_or("?", |p| p.name.as_str());
        format!("{name} {}", s.quantity)
    };
    line.differing.iter().map(count).collect::<Vec<_>>().join(", ")
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Input => "input",
        Role::Compute => "compute",
        Role::Result => "result",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::TookPart => "took part",
        Standing::Dropped { .. } => "dropped",
        Standing::Silent => "silent",
    }
}

async fn list(client: &Client, out: &Out) -> Result<(), Fault> {
    let Fetched { leaves, .. } = Fetched::all(client, out).await?;
    let all = receipts(&leaves);
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(place, r)| {
            let record = &r.body().record;
            let (state, code) = status(record);
            let parties: Vec<&str> = record.parties.iter().map(|p| p.name.as_str()).collect();
            vec![
                place.to_string(),
                record.job.short(),
                record.kind.to_string(),
                code.map_or_else(|| state.to_owned(), |c| format!("{state} {c}")),
                parties.join(", "),
                record.ended.to_string(),
            ]
        })
        .collect();
    let head = [
        out.say("leaf", "叶"),
        out.say("job", "作业"),
        out.say("kind", "类型"),
        out.say("status", "状态"),
        out.say("parties", "参与方"),
        out.say("ended", "结束时间"),
    ];
    out.table(&head, &rows);
    out.value(&all.iter().map(|(place, r)| summary(*place, r.body())).collect::<Vec<_>>());
    Ok(())
}

/// The receipt of a place, or of a job's id or its beginning.
pub(super) fn find<'a>(
    all: &'a [(u64, Statement<JointReceipt>)],
    wanted: &str,
) -> Result<&'a (u64, Statement<JointReceipt>), Fault> {
    let found = all.iter().find(|(place, r)| {
        wanted.parse::<u64>() == Ok(*place)
            || (wanted.len() >= 4 && r.body().record.job.to_string().starts_with(wanted))
    });
    found.ok_or_else(|| Fault::new(Code::ReceiptUnknown, wanted.to_owned()))
}

/// Writes the page that verifies receipts in a browser. It has no key and no address of anyone in it.
pub fn page(out: &Out, file: &Path) -> Result<(), Fault> {
    write(file, tacit_receipts::page::page().as_bytes())?;
    out.text(format!(
        "{}: {}",
        file.display(),
        out.say("open it in a browser; it sends nothing", "请用浏览器打开；该页面不发送任何数据")
    ));
    out.value(&json!({"page": file.display().to_string()}));
    Ok(())
}

async fn show(client: &Client, out: &Out, wanted: &str) -> Result<(), Fault> {
    let Fetched { leaves, beside, .. } = Fetched::all(client, out).await?;
    let all = receipts(&leaves);
    let (place, receipt) = find(&all, wanted)?;
    let figures = figures(receipt.body(), &leaves, &beside);
    let record = &receipt.body().record;
    let (state, code) = status(record);
    out.text(format!("{} {place}  {} {}", out.say("leaf", "叶"), out.say("job", "作业"), record.job));
    out.text(format!("{}  {state} {}", record.kind, code.map(|c| c.to_string()).unwrap_or_default()));
    out.text(format!("{} .. {}", record.started, record.ended));
    let parties: Vec<Vec<String>> = record
        .parties
        .iter()
        .map(|p| {
            vec![
                p.name.to_string(),
                role(p.role).into(),
                standing(p.standing).into(),
                p.dataset.map(|d| d.short()).unwrap_or_default(),
                p.party.short(),
            ]
        })
        .collect();
    let head = [
        out.say("party", "参与方"),
        out.say("role", "角色"),
        out.say("standing", "情况"),
        out.say("dataset", "数据集"),
        out.say("key", "密钥"),
    ];
    out.table(&head, &parties);
    let lines: Vec<Vec<String>> = record
        .lines
        .iter()
        .map(|l| {
            let party = record.parties.get(l.party.index()).map(|p| p.name.to_string()).unwrap_or_default();
            let quantity = match l.quantity {
                Quantity::Plain(n) if l.is_disputed() => {
                    format!("{n} ({}: {})", out.say("disputed", "有异议"), differing(record, l))
                }
                Quantity::Plain(n) => n.to_string(),
                Quantity::Committed(h) => h.short(),
            };
            vec![l.unit.word().into(), party, quantity, format!("{:?}", l.class)]
        })
        .collect();
    out.table(
        &[
            out.say("unit", "计量单位"),
            out.say("party", "参与方"),
            out.say("quantity", "数量"),
            out.say("class", "类别"),
        ],
        &lines,
    );
    if !figures.is_empty() {
        let head = [
            out.say("committed to, not shown", "已承诺而未公开"),
            out.say("party", "参与方"),
            out.say("commitment", "承诺"),
            out.say("class", "类别"),
        ];
        out.table(&head, &figures.iter().map(|figure| figure.cells(out)).collect::<Vec<_>>());
    }
    for conviction in &record.convictions {
        let name = record.parties.get(conviction.seat.index()).map(|p| p.name.to_string()).unwrap_or_default();
        let (what, evidence) = (out.say("broke the protocol", "违反了协议"), out.say("evidence", "证据"));
        out.text(format!("{name} {what}: {} ({evidence} {})", conviction.offence, conviction.evidence));
    }
    for text in super::link::disputed(out, record) {
        out.text(text);
    }
    let mut shown = summary(*place, receipt.body());
    shown["figures"] = figures.iter().map(Shown::value).collect();
    out.value(&shown);
    Ok(())
}

/// The keys that a verification rests on, from what this party has pinned and from the cards.
pub(super) async fn trust(party: &Party, client: &Client) -> Result<Trust, Fault> {
    let info: LogInfo = party.log_info(client).await?;
    let (roster, (_, changes)) = (party.roster(client).await?, party.party_keys(client).await?);
    let parties = roster
        .iter()
        .map(|(card, _)| PartyKey { name: card.name.clone(), key: card.node, from: 0, until: None })
        .collect();
    let trust = Trust {
        version: 1,
        origin: info.origin,
        coordinator: info.coordinator,
        log_key: info.log_key,
        witnesses: info.witnesses,
        quorum: info.quorum,
        parties,
        rotations: info.rotations.into_iter().map(|bytes| bytes.0.into()).collect(),
        party_rotations: changes.into_iter().map(Into::into).collect(),
    };
    trust.check()?;
    Ok(trust)
}

async fn bundle(party: &Party, client: &Client, out: &Out) -> Result<(Bundle, Trust), Fault> {
    let (log, trust) = (Fetched::all(client, out).await?, trust(party, client).await?);
    Ok((log.bundle(trust.clone()), trust))
}

async fn export(party: &Party, client: &Client, out: &Out, file: &Path, receipt: Option<&str>) -> Result<(), Fault> {
    let (log, trust) = (Fetched::all(client, out).await?, trust(party, client).await?);
    let bundle = match receipt {
        None => log.bundle(trust.clone()),
        Some(wanted) => {
            let all = receipts(&log.leaves);
            let place = find(&all, wanted)?.0;
            log.single(trust.clone(), place)?
        }
    };
    write(file, &bundle.to_bytes())?;
    let count = bundle.leaves.len() + bundle.proven.len();
    out.text(format!("{}: {count} {}", file.display(), out.say("leaves", "个叶")));
    out.value(&json!({
        "bundle": file.display().to_string(), "leaves": count, "trust_fingerprint": trust.fingerprint().to_string(),
    }));
    Ok(())
}

/// Writes the trust file and the policy file that go with evidence, where they are wanted.
async fn keys(
    party: &Party,
    client: &Client,
    out: &Out,
    trust_file: Option<&Path>,
    policy: Option<&Path>,
) -> Result<(), Fault> {
    let trust = trust(party, client).await?;
    if let Some(path) = trust_file {
        write(path, &trust.to_bytes())?;
    }
    if let Some(path) = policy {
        write(path, Policy::write(&trust)?.as_bytes())?;
    }
    out.text(format!("{}: {}", out.say("fingerprint of the keys", "密钥指纹"), trust.fingerprint()));
    Ok(())
}

/// Writes a receipt, and beside it the proof that witnesses stand behind.
async fn export_proof(client: &Client, out: &Out, file: &Path, wanted: &str) -> Result<(), Fault> {
    let Fetched { checkpoint, leaves, .. } = Fetched::all(client, out).await?;
    let place = find(&receipts(&leaves), wanted)?.0;
    let mut tree = MemTree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf_hash(leaf)));
    let hashes = inclusion_proof(&tree, place, leaves.len() as u64)?;
    let proof = LogProof { extra: None, index: place, hashes, note: checkpoint };
    let leaf = leaves.get(place as usize).map(Vec::as_slice).unwrap_or_default();
    let mut beside = file.as_os_str().to_owned();
    beside.push(".tlog-proof");
    let beside = PathBuf::from(beside);
    write(file, leaf)?;
    write(&beside, proof.to_string().as_bytes())?;
    out.text(format!("{}, {}", file.display(), beside.display()));
    out.value(&json!({"receipt": file.display().to_string(), "proof": beside.display().to_string(), "leaf": place}));
    Ok(())
}

/// Writes a receipt that carries its proof as a COSE receipt.
async fn export_cose(client: &Client, out: &Out, file: &Path, wanted: &str) -> Result<(), Fault> {
    let Fetched { leaves, .. } = Fetched::all(client, out).await?;
    let place = find(&receipts(&leaves), wanted)?.0;
    let asked = client.ask(&ToCoordinator::CoseReceipt(place)).await?;
    let FromCoordinator::CoseReceipt(receipt) = asked else { return Err(unexpected()) };
    let leaf = leaves.get(place as usize).map(Vec::as_slice).unwrap_or_default();
    write(file, &cose::attach(leaf, &[receipt.0])?)?;
    out.text(file.display().to_string());
    out.value(&json!({"statement": file.display().to_string(), "leaf": place}));
    Ok(())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    tacit_node::files::write_whole(path, bytes)
}

fn verify_file(out: &Out, bundle: &Path, trust: Option<&Path>) -> Result<u8, Fault> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", path.display())));
    let trust = trust.map(|path| read(path).and_then(|bytes| Trust::parse(&bytes))).transpose()?;
    report(out, &read(bundle)?, trust.as_ref())
}

async fn verify_log(party: &Party, client: &Client, out: &Out) -> Result<u8, Fault> {
    let (bundle, trust) = bundle(party, client, out).await?;
    report(out, &bundle.to_bytes(), Some(&trust))
}

fn report(out: &Out, bundle: &[u8], trust: Option<&Trust>) -> Result<u8, Fault> {
    let progress = Progress::new(out.json(), out.say("verifying", "正在验证"));
    let report = verify_bundle_watched(bundle, trust, &mut |done, size| progress.at(done, size))?;
    drop(progress);
    out.text(format!(
        "{}: {}  {}: {}",
        out.say("receipts", "凭证"),
        report.receipts,
        out.say("valid", "有效"),
        report.valid
    ));
    for finding in &report.faults {
        out.text(format!("  {}", finding.sentence(out.lang())));
    }
    for notice in &report.notices {
        out.text(format!("  {}", notice.sentence(out.lang())));
    }
    out.value(&report);
    Ok(if report.is_valid() { 0 } else { Code::ReceiptInvalid.exit_status() })
}
