//! `job template`, `plan`, `submit`, `batch`, `watch`, `list`, `show`, `cancel`, `result`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use tacit_crypto::{Keyring, Statement};
use tacit_engine::api::PAGE_MAX;
use tacit_engine::{CancelOrder, FromCoordinator, JobView, Package, SealedResult, Terminal, ToCoordinator};
use tacit_governance::JobSpec;
use tacit_jobs::Opened;
use tacit_node::{Client, log_keys, trust};
use tacit_receipts::{JointReceipt, KeyRole, LogProof, VerifierKey};
use tacit_types::{Code, Fault, JobId, Lang, Name, NodeId, wire::Blob};

use super::batch;
use super::contract::{contracts, descriptors, models};
use super::fetch;
use super::job_file::{self, Known, Ready};
use super::scores;
use crate::cli::{Cli, JobCommand};
use crate::home::{Party, unexpected};
use crate::output::Out;
use crate::progress::Progress;

/// Digits of an id that name a job, at least.
const PREFIX_MIN: usize = 4;

/// Runs a `job` command.
pub async fn run(cli: &Cli, out: &Out, command: &JobCommand) -> Result<u8, Fault> {
    if let JobCommand::Template { kind, contract } = command {
        return template(out, kind.as_deref(), contract.as_deref()).map(|()| 0);
    }
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = match command {
        JobCommand::Template { .. } => Ok(0),
        JobCommand::Plan { file, signed } => super::plan::plan(&party, &client, out, file, signed.as_deref()).await,
        JobCommand::Submit { file, watch } => submit(&party, &client, out, file, *watch).await,
        JobCommand::Batch { file, out: to, part } => batch::run(&party, &client, out, file, to, *part).await,
        JobCommand::Watch { job } => watch(&client, out, job).await,
        JobCommand::List => list(&client, out).await.map(|()| 0),
        JobCommand::Show { job } => show(&client, out, job).await.map(|()| 0),
        JobCommand::Cancel { job } => cancel(&party, &client, out, job).await.map(|()| 0),
        JobCommand::Result { job, keys } => result(&party, &client, out, job, keys.as_deref()).await.map(|()| 0),
    };
    client.close().await;
    party.store.close().await;
    done
}

fn template(out: &Out, kind: Option<&str>, contract: Option<&str>) -> Result<(), Fault> {
    let Some(kind) = kind else {
        let rows: Vec<Vec<String>> =
            tacit_jobs::CATALOG.iter().map(|k| vec![k.id().to_owned(), k.title(out.lang()).to_owned()]).collect();
        out.table(&[out.say("kind", "类型"), out.say("what it does", "说明")], &rows);
        let list: Vec<Value> =
            tacit_jobs::CATALOG.iter().map(|k| json!({"kind": k.id(), "title": k.title(out.lang())})).collect();
        out.value(&list);
        return Ok(());
    };
    let kind = tacit_jobs::kind(kind)?;
    let contract = contract.unwrap_or("CONTRACT");
    let text = format!(
        "kind = \"{}\"\ncontract = \"{contract}\"\n\n# Floor for this job; at least the contract's.\n# [cohort]\n# rows = 10\n# contributors = 2\n\n{}",
        kind.id(),
        kind.template()
    );
    out.text(text.trim_end());
    out.value(&json!({"kind": kind.id(), "file": text}));
    Ok(())
}

/// Reads a job file; `publishes` is for one that opens windows.
pub async fn ready(party: &Party, client: &Client, file: &Path, publishes: bool) -> Result<Ready, Fault> {
    draft(party, client, |known| job_file::prepare(file, party, known, publishes)).await
}

/// Reads a job file, with these keys in place of its list.
pub async fn prepare(party: &Party, client: &Client, file: &Path, keys: Option<Vec<String>>) -> Result<Ready, Fault> {
    draft(party, client, |known| job_file::prepare_part(file, party, known, keys)).await
}

/// Makes a job of what the coordinator knows.
async fn draft(
    party: &Party,
    client: &Client,
    make: impl FnOnce(&Known<'_>) -> Result<Ready, Fault>,
) -> Result<Ready, Fault> {
    let contracts = contracts(party, client).await?;
    let (datasets, models) = (descriptors(client).await?, models(client).await?);
    let cards: Vec<_> = party.roster(client).await?.into_iter().map(|(card, _)| card).collect();
    let known = Known { contracts: &contracts, datasets: &datasets, models: &models, cards: &cards };
    make(&known)
}

/// Brings what a job needs to the coordinator, and hands it in.
pub async fn bring(client: &Client, out: &Out, ready: &Ready) -> Result<JobId, Fault> {
    for sealed in &ready.sealed {
        let progress = Progress::new(out.json(), out.say("bringing the sealed keys", "正在上传已密封的键列表"));
        client.deposit(sealed).await?;
        drop(progress);
    }
    let request = ToCoordinator::Submit { job: Blob(ready.job.bytes().to_vec()) };
    let FromCoordinator::Submitted(id) = client.ask(&request).await? else { return Err(unexpected()) };
    Ok(id)
}

async fn submit(party: &Party, client: &Client, out: &Out, file: &Path, watching: bool) -> Result<u8, Fault> {
    let ready = ready(party, client, file, false).await?;
    let id = bring(client, out, &ready).await?;
    if !watching {
        out.text(format!("{} {id}", out.say("submitted", "已提交")));
        out.value(&json!({"id": id.to_string()}));
        return Ok(0);
    }
    out.text(format!("{} {id}", out.say("submitted", "已提交")));
    let view = follow(client, out, id).await?;
    match &view.terminal {
        Some(Terminal::Succeeded) => {
            let opened = open(party, client, id).await?;
            print_result(out, &view, opened, ready.keys.as_deref())?;
            Ok(0)
        }
        _ => {
            describe(out, &view);
            out.value(&view_json(&view, out.lang()));
            Ok(ended(&view))
        }
    }
}

/// The exit status of a job that has ended.
pub fn ended(view: &JobView) -> u8 {
    view.terminal.as_ref().and_then(Terminal::code).map_or(0, Code::exit_status)
}

/// Waits for the end of a job, showing each step.
pub async fn follow(client: &Client, out: &Out, id: JobId) -> Result<JobView, Fault> {
    let progress = Progress::new(out.json(), id.short());
    let mut seen = 0;
    loop {
        let request = ToCoordinator::Watch { job: id, seen, wait_ms: 5_000 };
        let FromCoordinator::Job(view) = client.ask(&request).await? else { return Err(unexpected()) };
        for entry in view.timeline.iter().skip(seen as usize) {
            let party = entry.party.as_ref().map_or(String::new(), |p| format!(" {p}"));
            let detail = if entry.detail.is_empty() { String::new() } else { format!("  {}", entry.detail) };
            out.text(format!(
                "  {:>6} ms  {}{party}{detail}",
                entry.at.0.saturating_sub(view.submitted_at.0),
                entry.what
            ));
        }
        seen = view.timeline.len() as u32;
        let step = view.step.map_or(String::new(), |s| format!(" · {s} {}", tacit_jobs::session::phase_name(s)));
        progress.set(format!("{} {}{step}", id.short(), view.state));
        if view.terminal.is_some() && view.timeline.iter().any(|e| e.what == "ended") {
            return Ok(*view);
        }
    }
}

/// Every job that the coordinator shows, newest first: page after page.
async fn all(client: &Client) -> Result<Vec<JobView>, Fault> {
    let (mut jobs, mut known): (Vec<JobView>, BTreeSet<JobId>) = Default::default();
    loop {
        let before = jobs.last().map(|job| job.id);
        let FromCoordinator::Jobs(page) = client.ask(&ToCoordinator::Jobs { before, limit: PAGE_MAX }).await? else {
            return Err(unexpected());
        };
        if page.is_empty() {
            return Ok(jobs);
        }
        for job in page {
            // why: pages that lead in a circle would be asked for without end.
            if !known.insert(job.id) {
                return Err(unexpected());
            }
            jobs.push(job);
        }
    }
}

/// The job whose id begins like this.
pub async fn find(client: &Client, wanted: &str) -> Result<JobId, Fault> {
    if wanted.len() == 64 {
        return JobId::from_hex(wanted);
    }
    if wanted.len() < PREFIX_MIN {
        return Err(Fault::new(Code::JobUnknown, wanted.to_owned()));
    }
    let matching: Vec<JobId> =
        all(client).await?.iter().map(|j| j.id).filter(|id| id.to_string().starts_with(wanted)).collect();
    match matching.as_slice() {
        [one] => Ok(*one),
        [] => Err(Fault::new(Code::JobUnknown, wanted.to_owned())),
        _ => Err(Fault::new(Code::ArgsInvalid, format!("several jobs begin with `{wanted}`"))),
    }
}

async fn one(client: &Client, wanted: &str) -> Result<JobView, Fault> {
    let id = find(client, wanted).await?;
    let FromCoordinator::Job(view) = client.ask(&ToCoordinator::Job(id)).await? else { return Err(unexpected()) };
    Ok(*view)
}

async fn watch(client: &Client, out: &Out, wanted: &str) -> Result<u8, Fault> {
    let id = find(client, wanted).await?;
    let view = follow(client, out, id).await?;
    describe(out, &view);
    out.value(&view_json(&view, out.lang()));
    Ok(ended(&view))
}

async fn list(client: &Client, out: &Out) -> Result<(), Fault> {
    let jobs = all(client).await?;
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|j| {
            let code = j.terminal.as_ref().and_then(Terminal::code).map(|c| c.to_string()).unwrap_or_default();
            let receipt = j.receipt.map(|r| r.to_string()).unwrap_or_default();
            vec![
                j.id.short(),
                j.kind.clone(),
                j.state.clone(),
                code,
                receipt,
                j.submitted_at.to_string(),
                format!("{} ms", j.elapsed_ms),
            ]
        })
        .collect();
    let head = [
        out.say("job", "作业"),
        out.say("kind", "类型"),
        out.say("state", "状态"),
        out.say("code", "代码"),
        out.say("receipt", "凭证"),
        out.say("submitted", "提交时间"),
        out.say("took", "用时"),
    ];
    out.table(&head, &rows);
    out.value(&jobs.iter().map(|job| view_json(job, out.lang())).collect::<Vec<_>>());
    Ok(())
}

async fn show(client: &Client, out: &Out, wanted: &str) -> Result<(), Fault> {
    let view = one(client, wanted).await?;
    describe(out, &view);
    let rows: Vec<Vec<String>> = view
        .timeline
        .iter()
        .map(|e| {
            let after = e.at.0.saturating_sub(view.submitted_at.0);
            vec![
                format!("{after} ms"),
                e.what.clone(),
                e.party.as_ref().map(ToString::to_string).unwrap_or_default(),
                e.detail.clone(),
            ]
        })
        .collect();
    out.table(&[out.say("after", "时刻"), out.say("what", "事件"), out.say("party", "参与方"), ""], &rows);
    out.value(&view_json(&view, out.lang()));
    Ok(())
}

/// A job in a few words: state, and for any end but success the code, who, where, and what to do.
pub fn describe(out: &Out, view: &JobView) {
    out.text(format!("{} {}  {}  {}", out.say("job", "作业"), view.id, view.kind, view.state));
    if let Some((end, code)) = view.terminal.as_ref().and_then(|end| Some((end, end.code()?))) {
        out.text(format!("  [{code}] {}", code.title(out.lang())));
        if let Some(party) = end.party() {
            out.text(format!("  {}: {party}", out.say("party", "参与方")));
        }
        if let Some(step) = end.step() {
            out.text(format!("  {step} ({})", tacit_jobs::session::phase_name(step)));
        }
        if let Some(text) = end.reason().filter(|text| !text.is_empty()) {
            out.text(format!("  {}", crate::output::plain(text)));
        }
        out.text(format!("  {}: {}", out.say("hint", "提示"), code.hint(out.lang())));
    }
    if let Some(checked) = view.checked {
        let word = if checked {
            out.say("checked by every node", "由各节点核验")
        } else {
            out.say("not checked", "不经核验")
        };
        out.text(format!("  {}: {word}", out.say("sums", "求和结果")));
    }
    if let Some(place) = view.receipt {
        out.text(format!("  {}: {} {place}", out.say("receipt", "凭证"), out.say("leaf", "叶")));
    }
}

/// Puts how a job ended into its JSON, alike at the coordinator's and at an owner's side: code, party, step, what exactly, and what
/// to do. What an end does not have is null, as all of it is while a job is open.
pub fn put_end(json: &mut Value, end: Option<&Terminal>, lang: Lang) {
    let code = end.and_then(Terminal::code);
    json["code"] = json!(code.map(Code::text));
    json["party"] = json!(end.and_then(Terminal::party).map(Name::as_str));
    json["step"] = json!(end.and_then(Terminal::step).map(|step| step.to_string()));
    json["reason"] = json!(end.and_then(Terminal::reason));
    json["hint"] = json!(code.map(|code| code.hint(lang)));
}

/// A job as JSON.
pub fn view_json(view: &JobView, lang: Lang) -> Value {
    let mut json = json!({
        "id": view.id.to_string(), "kind": view.kind, "purpose": view.purpose, "state": view.state,
        "attempt": view.attempt, "elapsed_ms": view.elapsed_ms, "receipt": view.receipt, "checked": view.checked,
        "progress": view.step.map(|s| json!({"round": s.round(), "phase": tacit_jobs::session::phase_name(s)})),
        "aggregator": view.aggregator.as_ref().map(|n| n.as_str()),
        "parties": view.parties.iter().map(|p| json!({"name": p.name.as_str(), "standing": p.standing})).collect::<Vec<_>>(),
    });
    put_end(&mut json, view.terminal.as_ref(), lang);
    json
}

async fn cancel(party: &Party, client: &Client, out: &Out, wanted: &str) -> Result<(), Fault> {
    let id = find(client, wanted).await?;
    let order = Statement::sign(&party.keys.node, &id.to_string(), tacit_node::now(), None, CancelOrder { job: id });
    client.ask(&ToCoordinator::Cancel(Blob(order.bytes().to_vec()))).await?;
    out.text(format!("{} {}", out.say("cancelling", "正在取消"), id.short()));
    out.value(&json!({"id": id.to_string(), "cancelling": true}));
    Ok(())
}

async fn result(party: &Party, client: &Client, out: &Out, wanted: &str, keys: Option<&Path>) -> Result<(), Fault> {
    let keys = keys.map(job_file::read_keys).transpose()?;
    let view = one(client, wanted).await?;
    match &view.terminal {
        None => return Err(Fault::new(Code::JobNotFinished, format!("job {} is {}", view.id.short(), view.state))),
        Some(Terminal::Succeeded) => {}
        Some(other) => {
            let code = other.code().unwrap_or(Code::JobNotFinished);
            return Err(Fault::new(code, format!("job {} {}; it has no result", view.id.short(), other.word())));
        }
    }
    let opened = open(party, client, view.id).await?;
    print_result(out, &view, opened, keys.as_deref())
}

fn print_result(out: &Out, view: &JobView, opened: (Opened, u64), keys: Option<&[String]>) -> Result<(), Fault> {
    let (mut opened, receipt) = opened;
    if let Some(keys) = keys {
        scores::name(&mut opened.json, keys)?;
    }
    if !scores::print(out, &opened.json) {
        for table in &opened.tables {
            out.text(format!("\n{}", table.title));
            let head: Vec<&str> = table.head.iter().map(String::as_str).collect();
            out.table(&head, &table.rows);
        }
    }
    out.text(format!(
        "{}: {} {receipt}  {}",
        out.say("receipt", "凭证"),
        out.say("leaf", "叶"),
        out.say("verified: in a cosigned checkpoint, over this very result", "已验证：位于联署检查点内，对应此结果")
    ));
    let mut json = view_json(view, out.lang());
    json["result"] = opened.json;
    json["receipt"] = json!(receipt);
    out.value(&json);
    Ok(())
}

/// Fetches a sealed result, verifies its receipt, and only then opens it. Gives the result and the
/// receipt's place.
///
/// # Errors
/// `receipt.invalid` and the codes of the log; `job.not_ours`.
pub async fn open(party: &Party, client: &Client, id: JobId) -> Result<(Opened, u64), Fault> {
    let info = party.log_info(client).await?;
    party.roster(client).await?;
    let FromCoordinator::Result(sealed) = client.ask(&ToCoordinator::Result(id)).await? else {
        return Err(unexpected());
    };
    let SealedResult { job, package, releases, leaf, proof } = *sealed;
    let invalid = |what: &str| Fault::new(Code::ReceiptInvalid, what.to_owned());
    let job = JobSpec::verify(&job)?;
    if JobSpec::id(&job) != id {
        return Err(invalid("the coordinator gave another job"));
    }
    let spec = job.body();
    if spec.recipient != party.keys.seal_public() {
        return Err(Fault::new(Code::JobNotOurs, format!("job {}", id.short())));
    }
    let receipt = Statement::<JointReceipt>::verify(&leaf).map_err(|e| invalid(&e.to_string()))?;
    let record = &receipt.body().record;
    let (keys, _) = party.party_keys(client).await?;
    if !keys.signed_for(KeyRole::Coordinator, &info.coordinator, receipt.envelope()) || record.job != id {
        return Err(invalid("the receipt is of another job or not signed by the coordinator"));
    }
    if record.result != Some(package.hash()) {
        return Err(invalid("the sealed result is not the one in the receipt"));
    }
    let id_of = |key: &NodeId| keys.id_of(KeyRole::Node, key);
    // Those of a job of many parties stand beside its receipt.
    let beside = fetch::beside(client, core::slice::from_ref(&leaf.0), &Progress::none()).await?;
    let attested = receipt.body().attested_with(&|id| beside.get(id).cloned(), &Keyring::default(), &id_of);
    let signers = attested.held.iter().map(|said| id_of(&said.signer())).collect();
    if !attested.faults.is_empty() || !receipt.body().complete(&signers) {
        return Err(invalid("an attestation is missing or broken"));
    }
    let listed: Vec<VerifierKey> = info.witnesses.iter().filter_map(|w| VerifierKey::parse(w).ok()).collect();
    let quorum = trust::provider_quorum(spec, &party.store.parties().await?, &listed, &keys)?;
    let proof = LogProof::parse(&proof)?;
    let log = log_keys::shown(&party.config, &party.store, &info).await?.key_of(&proof, &quorum)?;
    let included = proof.verify_behind(&leaf, &info.origin, &log, &quorum, record.ended)?;
    let releases: BTreeMap<_, _> = releases.into_iter().map(|(seat, blob)| (seat, blob.0)).collect();
    let plan = tacit_jobs::kind(&spec.kind)?.plan(&spec.params, &tacit_jobs::Parts::of(spec))?;
    let package = match package {
        Package::Inline(bytes) => bytes.0,
        Package::Deposited { hash, .. } => client.fetch(&hash).await?,
        Package::Known { .. } => return Err(Fault::new(Code::ReceiptInvalid, "the coordinator gave no result")),
    };
    let opened = plan.open(&package, &|package| tacit_jobs::session::unblind(&party.keys.seal, package, &releases))?;
    Ok((opened, included.index()))
}
