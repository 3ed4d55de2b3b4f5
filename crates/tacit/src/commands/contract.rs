//! `contract draft`, `list`, `show`, `sign`, `approve`, `test`, `revoke`, `suspend`, `duties`,
//! `attest`, `attested`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use tacit_crypto::{Statement, sha256};
use tacit_engine::{FromCoordinator, ToCoordinator, api::dataset_id};
use tacit_governance::contract::{Cohort, ColumnGrant, DatasetGrant, Quota};
use tacit_governance::{
    Contract, ContractParty, DatasetDescriptor, DistinctTerms, ExactTerms, Level, ModelDescriptor, ModelGrant,
    OnlineTerms, PartyCard, Precision, Role, ScoringTerms, SignedContract, UnknownKeys, User,
};
use tacit_node::Client;
use tacit_types::{Code, Fault, Lang, ModelVersionId, Name, UnixMillis, wire::Blob};

use super::{alignment, approve, ask, control, duties, lifecycle, privacy};
use crate::cli::{Cli, ContractCommand};
use crate::home::{Party, unexpected};
use crate::output::Out;

/// What a person writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Name,
    purpose: String,
    kinds: Vec<String>,
    demander: Name,
    /// Operators besides the demander.
    #[serde(default)]
    operators: Vec<Name>,
    cohort: WrittenCohort,
    quota_jobs: u64,
    valid_days: u64,
    datasets: Vec<WrittenDataset>,
    #[serde(default)]
    models: Vec<WrittenModel>,
    /// Who may deal correlated randomness.
    #[serde(default)]
    dealers: Vec<Name>,
    scoring: Option<WrittenScoring>,
    /// Whether every node must check the sums of a job.
    #[serde(default)]
    checked: bool,
    /// What noisy results may cost; no noisy results when absent.
    privacy: Option<privacy::Written>,
    /// By how many rows exact questions differ, where they differ; not held when absent.
    exact: Option<WrittenExact>,
    alignment: Option<alignment::Written>,
    control: Option<control::Written>,
    lifecycle: Option<lifecycle::Written>,
    /// The file of its price plan, below the folder of this one.
    price: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenModel {
    owner: Name,
    model: Name,
    /// The newest when absent.
    version: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExact {
    /// Rows of an owner by which two questions differ, where they differ.
    change_min: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenScoring {
    /// Rows over all jobs.
    rows: u64,
    /// Rows of one job; as many as over all when absent.
    rows_per_job: Option<u64>,
    /// The most that a result may say: decision, band, rounded or score.
    precision: String,
    /// What may be scored online; nothing when absent.
    online: Option<WrittenOnline>,
    /// Whether every score must be verified.
    #[serde(default)]
    verified: bool,
    /// How many different keys may be asked for in a period.
    distinct: Option<WrittenDistinct>,
    /// Digits after the point of a rounded score, at most.
    decimals: Option<u8>,
    /// The most that may be told of unknown keys: default, refuse or flag.
    unknown: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDistinct {
    /// Keys in a period.
    keys: u64,
    /// Days of a period; those of the contract when absent.
    days: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOnline {
    /// Rows of one window.
    rows_per_window: u64,
    /// Rows a second.
    rows_per_second: u64,
}

impl WrittenScoring {
    fn terms(&self, valid_days: u64) -> Result<ScoringTerms, Fault> {
        let precision = Precision::ALL.into_iter().find(|p| p.word() == self.precision).ok_or_else(|| {
            let what = format!("scoring.precision: `{}`; one of decision, band, rounded, score", self.precision);
            Fault::new(Code::ArgsInvalid, what)
        })?;
        let unknown = self.unknown.as_deref().map(|word| {
            UnknownKeys::ALL.into_iter().find(|u| u.word() == word).ok_or_else(|| {
                let what = format!("scoring.unknown: `{word}`; one of default, refuse, flag");
                Fault::new(Code::ArgsInvalid, what)
            })
        });
        let online = self
            .online
            .as_ref()
            .map(|o| OnlineTerms { rows_per_window: o.rows_per_window, rows_per_second: o.rows_per_second });
        let distinct = self.distinct.as_ref();
        Ok(ScoringTerms {
            rows: self.rows,
            rows_per_job: self.rows_per_job.unwrap_or(self.rows),
            precision,
            online,
            verified: self.verified,
            distinct: distinct.map(|d| DistinctTerms { keys: d.keys, days: d.days.unwrap_or(valid_days) }),
            decimals: self.decimals,
            unknown: unknown.transpose()?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCohort {
    rows: u64,
    contributors: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDataset {
    owner: Name,
    dataset: Name,
    /// The newest when absent.
    version: Option<u32>,
    /// Levels of each column; all that the owner offers when absent.
    columns: Option<BTreeMap<String, Vec<Level>>>,
}

/// Runs a `contract` command.
pub async fn run(cli: &Cli, out: &Out, command: &ContractCommand) -> Result<u8, Fault> {
    let party = Party::open(cli).await?;
    let done = match command {
        ContractCommand::Draft { file, ask } => draft(&party, out, file, *ask).await.map(|()| 0),
        ContractCommand::List => list(&party, out).await.map(|()| 0),
        ContractCommand::Show { contract } => show(&party, out, contract).await.map(|()| 0),
        ContractCommand::Sign { contract } => sign(&party, out, contract).await.map(|()| 0),
        ContractCommand::Approve { contract, reject, reason } => {
            approve::approve(&party, out, contract, *reject, reason).await.map(|()| 0)
        }
        ContractCommand::Test { job } => approve::test(&party, out, job).await,
        ContractCommand::Revoke { contract, reason, out: to } => {
            let saying = lifecycle::Saying { reason, until: None, to: to.as_deref() };
            lifecycle::halt(&party, out, contract, &saying).await.map(|()| 0)
        }
        ContractCommand::Duties { contract } => duties::show(&party, out, contract).await.map(|()| 0),
        ContractCommand::Attest { contract, declare, out: to } => {
            duties::attest(&party, out, contract, declare, to.as_deref()).await.map(|()| 0)
        }
        ContractCommand::Attested { file } => duties::read(&party, out, file).await.map(|()| 0),
        ContractCommand::Suspend { contract, until, reason, out: to } => {
            let saying = lifecycle::Saying { reason, until: Some(until), to: to.as_deref() };
            lifecycle::halt(&party, out, contract, &saying).await.map(|()| 0)
        }
    };
    party.store.close().await;
    done
}

/// Signed descriptors of all dataset versions, with their ids; those that do not verify are left out.
pub async fn descriptors(client: &Client) -> Result<Vec<(tacit_types::DatasetVersionId, DatasetDescriptor)>, Fault> {
    let FromCoordinator::Datasets(list) = client.ask(&ToCoordinator::Datasets).await? else { return Err(unexpected()) };
    Ok(list
        .iter()
        .filter_map(|bytes| {
            let statement = Statement::<DatasetDescriptor>::verify(bytes).ok()?;
            (statement.signer() == statement.body().owner).then(|| (dataset_id(bytes), statement.into_body()))
        })
        .collect())
}

/// Signed descriptors of all model versions, with their ids; those that do not verify are left out.
pub async fn models(client: &Client) -> Result<Vec<(ModelVersionId, ModelDescriptor)>, Fault> {
    let FromCoordinator::Datasets(list) = client.ask(&ToCoordinator::Datasets).await? else { return Err(unexpected()) };
    Ok(list
        .iter()
        .filter_map(|bytes| {
            let statement = Statement::<ModelDescriptor>::verify(bytes).ok()?;
            let id = ModelVersionId(sha256(bytes).0);
            (statement.signer() == statement.body().owner).then(|| (id, statement.into_body()))
        })
        .collect())
}

/// Contracts kept at the coordinator, with what this party has of its own; what others have signed since is kept here too.
pub async fn contracts(party: &Party, client: &Client) -> Result<Vec<SignedContract>, Fault> {
    let FromCoordinator::Contracts(all) = client.ask(&ToCoordinator::Contracts).await? else {
        return Err(unexpected());
    };
    let mut found: Vec<SignedContract> = Vec::new();
    for signatures in &all {
        if let Ok(contract) = SignedContract::collect(signatures.iter().map(|b| b.0.as_slice())) {
            found.push(contract);
        }
    }
    for own in party.store.contracts().await? {
        match found.iter_mut().find(|c| c.id() == own.id()) {
            Some(contract) => {
                let known = (own.signatures().len(), own.approvals().len());
                contract.merge(&own)?;
                // What others have said since holds at this party's node from now on.
                if known != (contract.signatures().len(), contract.approvals().len()) {
                    party.store.put_contract(contract).await?;
                }
            }
            None => found.push(own),
        }
    }
    Ok(found)
}

/// The contract of that name or id.
pub fn pick<'a>(contracts: &'a [SignedContract], wanted: &str) -> Result<&'a SignedContract, Fault> {
    let matching: Vec<&SignedContract> = contracts
        .iter()
        .filter(|c| c.body().name.as_str() == wanted || (wanted.len() >= 4 && c.id().to_string().starts_with(wanted)))
        .collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => Err(Fault::new(Code::RefusedContractUnknown, wanted.to_owned())),
        several => {
            if let Some(one) = lifecycle::newest(several, tacit_node::now()) {
                return Ok(one);
            }
            let ids: Vec<String> = several.iter().map(|c| c.id().short()).collect();
            Err(Fault::new(Code::ArgsInvalid, format!("`{wanted}` is one of {}", ids.join(", "))))
        }
    }
}

fn parse(text: &str) -> Result<Written, Fault> {
    toml::from_str(text).map_err(|e| Fault::new(Code::ArgsInvalid, e.to_string().trim()))
}

/// Whether this is the text of a contract file.
#[cfg(test)]
pub fn parses(text: &str) -> Result<(), Fault> {
    parse(text).map(|_| ())
}

async fn draft(party: &Party, out: &Out, file: &Path, ask: bool) -> Result<(), Fault> {
    if ask {
        asked(party, out, file).await?;
    }
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let written = parse(&text).map_err(|f| Fault::new(f.code, format!("{}: {}", file.display(), f.what)))?;
    let client = party.connect().await?;
    let roster = party.roster(&client).await?;
    let offered = descriptors(&client).await?;
    let cards: Vec<PartyCard> = roster.into_iter().map(|(card, _)| card).collect();
    let known = if written.models.is_empty() { Vec::new() } else { models(&client).await? };
    let mut body = resolve(&written, &cards, &offered, &known)?;
    if let Some(price) = &written.price {
        let price = file.with_file_name("").join(price);
        let plan = super::money::plan_of_file(&price, &cards, body.valid_from, body.valid_until)?;
        super::money::cautions(out, &body, &plan).iter().for_each(|text| out.text(text));
        body.price_plan = Some(plan.terms());
    }
    if let Some(written) = &written.control {
        let over = control::Over { file, cards: &cards, datasets: &body.datasets, until: body.valid_until };
        body.control = Some(written.terms(&over)?);
    }
    if let Some(written) = &written.lifecycle {
        written.apply(&mut body, &contracts(party, &client).await?)?;
    }
    let mut contract = SignedContract::draft(body);
    let faults = contract.body().faults();
    if !faults.is_empty() {
        return Err(Fault::new(Code::ArgsInvalid, format!("{}: {}", file.display(), faults.join("; "))));
    }
    let signature = contract.sign(&party.keys.root, tacit_node::now())?;
    party.store.put_contract(&contract).await?;
    client.ask(&ToCoordinator::PutContract(vec![Blob(signature)])).await?;
    client.close().await;
    terms(out, &contract);
    out.value(&view(&contract));
    Ok(())
}

/// Asks for the terms and writes them to the file.
async fn asked(party: &Party, out: &Out, file: &Path) -> Result<(), Fault> {
    if file.exists() {
        let what = format!("{} is there already: without --ask it is drafted as it stands", file.display());
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let client = party.connect().await?;
    let cards: Vec<PartyCard> = party.roster(&client).await?.into_iter().map(|(card, _)| card).collect();
    let all = descriptors(&client).await?;
    // Nobody keeps a connection open while it thinks.
    client.close().await;
    let newest = |d: &DatasetDescriptor| {
        !all.iter().any(|(_, o)| (o.owner, &o.name) == (d.owner, &d.name) && o.version > d.version)
    };
    let owner = |d: &DatasetDescriptor| Some(cards.iter().find(|card| card.root == d.owner)?.name.clone());
    let mut offered: Vec<(Name, &DatasetDescriptor)> =
        all.iter().filter(|(_, d)| newest(d)).filter_map(|(_, d)| Some((owner(d)?, d))).collect();
    offered.sort_by(|a, b| (&a.0, &a.1.name).cmp(&(&b.0, &b.1.name)));
    let own = cards.iter().find(|card| card.root == party.keys.root.id()).map(|card| card.name.clone());
    let own = own.ok_or_else(unexpected)?;
    let parties: Vec<Name> = cards.iter().map(|card| card.name.clone()).collect();
    let known = ask::Known { own: &own, parties: &parties, offered: &offered };
    let text = ask::ask(out, &mut std::io::stdin().lock(), file, &known)?;
    super::receipt::write(file, text.as_bytes())
}

fn resolve(
    written: &Written,
    roster: &[PartyCard],
    offered: &[(tacit_types::DatasetVersionId, DatasetDescriptor)],
    known: &[(ModelVersionId, ModelDescriptor)],
) -> Result<Contract, Fault> {
    let card = |name: &Name| {
        roster
            .iter()
            .find(|c| c.name == *name)
            .ok_or_else(|| Fault::new(Code::RefusedParties, format!("`{name}` is not enrolled")))
    };
    let demander = card(&written.demander)?;
    let mut parties = vec![ContractParty { name: demander.name.clone(), root: demander.root, role: Role::Demander }];
    let mut datasets = Vec::new();
    for dataset in &written.datasets {
        let owner = card(&dataset.owner)?;
        let newest = offered
            .iter()
            .filter(|(_, d)| d.owner == owner.root && d.name == dataset.dataset)
            .filter(|(_, d)| dataset.version.is_none_or(|v| v == d.version))
            .max_by_key(|(_, d)| d.version)
            .ok_or_else(|| Fault::new(Code::DataUnknown, format!("{} offers no `{}`", owner.name, dataset.dataset)))?;
        seat(&mut parties, owner, Role::Provider);
        let columns = match &dataset.columns {
            Some(columns) => columns.iter().map(|(n, l)| ColumnGrant { name: n.clone(), levels: l.clone() }).collect(),
            None => newest
                .1
                .columns
                .iter()
                .filter(|c| !c.levels.is_empty())
                .map(|c| ColumnGrant { name: c.name.clone(), levels: c.levels.clone() })
                .collect(),
        };
        datasets.push(DatasetGrant { owner: owner.root, dataset: newest.0, views: newest.1.views.clone(), columns });
    }
    let mut models = Vec::new();
    for model in &written.models {
        let owner = card(&model.owner)?;
        let (id, _) = known
            .iter()
            .filter(|(_, m)| m.owner == owner.root && m.name == model.model)
            .filter(|(_, m)| model.version.is_none_or(|v| v == m.version))
            .max_by_key(|(_, m)| m.version)
            .ok_or_else(|| Fault::new(Code::RefusedModel, format!("{} offers no `{}`", owner.name, model.model)))?;
        seat(&mut parties, owner, Role::Provider);
        models.push(ModelGrant { owner: owner.root, model: *id });
    }
    for name in &written.dealers {
        seat(&mut parties, card(name)?, Role::Dealer);
    }
    let mut users = vec![user(demander)];
    for name in &written.operators {
        let operator = card(name)?;
        // Whoever uses what comes out signs for it.
        if !parties.iter().any(|p| p.root == operator.root) {
            seat(&mut parties, operator, Role::Demander);
        }
        if users.iter().all(|u| u.root != operator.root) {
            users.push(user(operator));
        }
    }
    let now = tacit_node::now();
    let alignment = written.alignment.as_ref().map(|a| alignment::terms(a, &parties)).transpose()?;
    Ok(Contract {
        version: 1,
        name: written.name.clone(),
        parties,
        datasets,
        kinds: written.kinds.clone(),
        purpose: written.purpose.clone(),
        recipients: users.iter().map(|u| u.seal).collect(),
        operators: users.iter().map(|u| u.node).collect(),
        users,
        cohort: Cohort { rows: written.cohort.rows, contributors: written.cohort.contributors },
        quota: Quota { jobs: written.quota_jobs },
        // A little earlier than now, so that clocks that differ agree that it has begun.
        valid_from: UnixMillis(now.0.saturating_sub(300_000)),
        valid_until: now.plus(written.valid_days.saturating_mul(86_400_000)),
        models,
        price_plan: None,
        control: None,
        lifecycle: None,
        scoring: written.scoring.as_ref().map(|s| s.terms(written.valid_days)).transpose()?,
        alignment,
        checked: written.checked,
        privacy: written.privacy.as_ref().map(privacy::terms).transpose()?,
        exact: written.exact.as_ref().map(|e| ExactTerms::new(e.change_min)).transpose()?,
    })
}

fn user(card: &PartyCard) -> User {
    User { root: card.root, node: card.node, seal: card.seal }
}

/// Adds a party in a role, once.
fn seat(parties: &mut Vec<ContractParty>, card: &PartyCard, role: Role) {
    if !parties.iter().any(|p| p.root == card.root && p.role == role) {
        parties.push(ContractParty { name: card.name.clone(), root: card.root, role });
    }
}

fn state(contract: &SignedContract) -> &'static str {
    match (contract.missing().is_empty(), contract.unapproved().is_empty()) {
        (true, true) => "in force",
        (true, false) => "unapproved",
        (false, _) => "unsigned",
    }
}

fn view(contract: &SignedContract) -> serde_json::Value {
    let body = contract.body();
    let missing: Vec<&str> = contract.missing().iter().map(|n| n.as_str()).collect();
    let grants: Vec<_> = body
        .datasets
        .iter()
        .map(|d| {
            let owner = body.parties.iter().find(|p| p.root == d.owner).map(|p| p.name.as_str());
            let columns: Vec<_> = d.columns.iter().map(|c| json!({"name": c.name, "levels": c.levels})).collect();
            json!({"owner": owner, "dataset": d.dataset.to_string(), "views": d.views, "columns": columns})
        })
        .collect();
    json!({
        "id": contract.id().to_string(), "name": body.name.as_str(), "purpose": body.purpose, "kinds": body.kinds,
        "parties": body.parties.iter().map(|p| json!({"name": p.name.as_str(), "root": p.root.to_string(),
            "role": format!("{:?}", p.role).to_lowercase()})).collect::<Vec<_>>(),
        "operators": body.users.iter().map(|u| body.parties.iter().find(|p| p.root == u.root)
            .map(|p| p.name.as_str())).collect::<Vec<_>>(),
        "models": body.models.iter().map(|m| json!({"owner": body.parties.iter().find(|p| p.root == m.owner)
            .map(|p| p.name.as_str()), "model": m.model.to_string()})).collect::<Vec<_>>(),
        "scoring": body.scoring.map(|s| json!({"rows": s.rows, "rows_per_job": s.rows_per_job,
            "precision": s.precision.word(), "decimals": s.decimals, "unknown": s.unknown.map(UnknownKeys::word),
            "verified": s.verified,
            "distinct": s.distinct.map(|d| json!({"keys": d.keys, "days": d.days})), "online": s.online.map(|o| json!({"rows_per_window": o.rows_per_window,
            "rows_per_second": o.rows_per_second}))})),
        "checked": body.checked,
        "privacy": body.privacy.as_ref().map(privacy::view),
        "exact": body.exact.map(|e| json!({"change_min": e.change_min})),
        "alignment": body.alignment.as_ref().map(|a| alignment::view(a, &body.parties)),
        "control": control::view(contract), "lifecycle": lifecycle::view(body),
        "datasets": grants, "cohort": {"rows": body.cohort.rows, "contributors": body.cohort.contributors},
        "price_plan": body.price_plan.map(|terms| terms.to_string()), "quota_jobs": body.quota.jobs, "valid_from": body.valid_from.0, "valid_until": body.valid_until.0,
        "state": state(contract), "missing": missing,
    })
}

fn terms(out: &Out, contract: &SignedContract) {
    let body = contract.body();
    let rows = |label: &str, value: String| vec![label.to_owned(), value];
    let mut lines = vec![
        rows(out.say("id", "编号"), contract.id().to_string()),
        rows(out.say("name", "名称"), body.name.to_string()),
        rows(out.say("purpose", "用途"), body.purpose.clone()),
        rows(out.say("job kinds", "作业类型"), body.kinds.join(", ")),
        rows(
            out.say("floor", "下限"),
            format!(
                "{} {}, {} {}",
                body.cohort.rows,
                out.say("rows", "行"),
                body.cohort.contributors,
                out.say("parties", "方")
            ),
        ),
        rows(out.say("quota", "配额"), format!("{} {}", body.quota.jobs, out.say("jobs", "个作业"))),
        rows(out.say("valid", "有效期"), format!("{} .. {}", body.valid_from, body.valid_until)),
    ];
    if body.checked {
        let value = out.say("every node checks the sums of every job", "每个作业的求和结果均由各节点核验");
        lines.push(rows(out.say("checked", "核验"), value.to_owned()));
    }
    if let Some(privacy) = &body.privacy {
        lines.push(rows(out.say("privacy budget", "隐私预算"), privacy::line(out, privacy)));
    }
    if let Some(exact) = &body.exact {
        lines.push(rows(out.say("exact answers", "精确结果"), apart(out, exact)));
    }
    if let Some(price) = &body.price_plan {
        let what = format!("{}  ({})", price.short(), out.say("see `tacit price show`", "见 `tacit price show`"));
        lines.push(rows(out.say("price plan", "价格方案"), what));
    }
    for party in &body.parties {
        let signed = if contract.signed_by(&party.root) {
            out.say("signed", "已签署")
        } else {
            out.say("not signed", "未签署")
        };
        lines.push(rows(
            &format!("{:?}", party.role).to_lowercase(),
            format!("{}  {}  {signed}", party.name, party.root.short()),
        ));
    }
    let using: Vec<&str> = body.using().map(|p| p.name.as_str()).collect();
    let value = format!("{}: {}", out.say("submit jobs, receive results", "提交作业、接收结果"), using.join(", "));
    lines.push(rows(out.say("users", "使用方"), value));
    if let Some(scoring) = body.scoring {
        let precision = match scoring.precision {
            Precision::Decision => out.say("yes or no", "是或否"),
            Precision::Band => out.say("a band", "分段"),
            Precision::Rounded => out.say("a rounded score", "舍入后的分数"),
            Precision::Score => out.say("the score", "分数"),
        };
        let digits = match (scoring.decimals, out.lang()) {
            (None, _) => String::new(),
            (Some(most), Lang::En) => format!(", at most {most} digits after the point"),
            (Some(most), Lang::Zh) => format!("，小数点后最多 {most} 位"),
        };
        let value = format!(
            "{} {}, {} {}; {precision}{digits}",
            scoring.rows,
            out.say("rows in all", "行（总计）"),
            scoring.rows_per_job,
            out.say("a job", "行（每个作业）")
        );
        lines.push(rows(out.say("scoring", "评分"), value));
        if let Some(DistinctTerms { keys, days }) = scoring.distinct {
            let value = match out.lang() {
                Lang::En => format!("{keys} different keys in {days} days, counted at each owner's node"),
                Lang::Zh => format!("每 {days} 天最多 {keys} 个不同的键，由各所有者节点计数"),
            };
            lines.push(rows(out.say("keys", "键"), value));
        }
        if let Some(unknown) = scoring.unknown {
            let value = match unknown {
                UnknownKeys::Hidden => out.say("nothing is told of them", "不告知任何信息"),
                UnknownKeys::Any => {
                    out.say("whether there is one, and then no scores", "仅告知是否存在，存在时不给出分数")
                }
                UnknownKeys::Each => out.say("which they are, not who lacks them", "告知是哪些键，不告知谁没有"),
            };
            lines.push(rows(out.say("unknown keys", "未知键"), value.to_owned()));
        }
        if scoring.verified {
            let value = out.say("of every score: who computes wrong is found", "每个分数均须验证：计算有误者会被发现");
            lines.push(rows(out.say("verified", "验证"), value.to_owned()));
        }
        if let Some(online) = scoring.online {
            let value = format!(
                "{} {}, {} {}; {}",
                online.rows_per_window,
                out.say("rows a window", "行/窗口"),
                online.rows_per_second,
                out.say("a second", "行/秒"),
                out.say("scores are learned before the receipt", "评分结果先于凭证得知")
            );
            lines.push(rows(out.say("online", "在线"), value));
        }
    }
    if let Some(terms) = &body.alignment {
        lines.push(rows(out.say("alignment", "键对齐"), alignment::line(out, terms, &body.parties)));
    }
    lines.extend(control::lines(out, contract));
    lines.extend(lifecycle::lines(out, contract));
    for model in &body.models {
        let owner = body.parties.iter().find(|p| p.root == model.owner).map_or("?", |p| p.name.as_str());
        lines.push(rows(out.say("model", "模型"), format!("{owner}  {}", model.model.short())));
    }
    for grant in &body.datasets {
        let owner = body.parties.iter().find(|p| p.root == grant.owner).map_or("?", |p| p.name.as_str());
        let columns: Vec<String> = grant
            .columns
            .iter()
            .map(|c| format!("{} ({})", c.name, c.levels.iter().map(|l| l.word()).collect::<Vec<_>>().join(" ")))
            .collect();
        lines.push(rows(&format!("{} {owner}", out.say("from", "来自")), columns.join(", ")));
    }
    out.table(&[out.say("term", "条款"), ""], &lines);
    let dealers: Vec<&str> = body.parties.iter().filter(|p| p.role == Role::Dealer).map(|p| p.name.as_str()).collect();
    if !dealers.is_empty() {
        out.text(format!("{}: {}", dealers.join(", "), dealer_warning(out)));
    }
}

/// By how much exact questions differ, in words.
pub fn apart(out: &Out, exact: &ExactTerms) -> String {
    let n = exact.change_min;
    match out.lang() {
        Lang::En => format!("two questions take the same rows of an owner, or rows that differ by {n} or more"),
        Lang::Zh => format!("任意两个问题所涉同一所有者的数据行须完全相同，或至少相差 {n} 行"),
    }
}

/// What everyone who names a dealer must know.
pub fn dealer_warning(out: &Out) -> &'static str {
    match out.lang() {
        Lang::En => {
            "the dealer knows every mask. Together with any one party that computes it can read all features and all \
             weights of a job. Sign only if it is with none of them."
        }
        Lang::Zh => {
            "随机数分发方掌握全部掩码。它与任何一个计算方串通即可读取作业中的全部特征和权重。仅当它与各方均无关联时才签署。"
        }
    }
}

/// Shows one contract.
pub fn show_one(out: &Out, contract: &SignedContract) {
    terms(out, contract);
    out.value(&view(contract));
}

async fn list(party: &Party, out: &Out) -> Result<(), Fault> {
    let client = party.connect().await?;
    let all = contracts(party, &client).await?;
    client.close().await;
    let said = lifecycle::Said::read(party).await?;
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|c| {
            let missing: Vec<&str> = c.missing().iter().map(|n| n.as_str()).collect();
            vec![c.id().short(), c.body().name.to_string(), said.line(out, c, &all), missing.join(", ")]
        })
        .collect();
    out.table(&["id", out.say("name", "名称"), out.say("state", "状态"), out.say("missing", "缺少签名")], &rows);
    out.value(&all.iter().map(|c| staged(&said, c, &all)).collect::<Vec<_>>());
    Ok(())
}

async fn show(party: &Party, out: &Out, wanted: &str) -> Result<(), Fault> {
    let client = party.connect().await?;
    let all = contracts(party, &client).await?;
    client.close().await;
    let contract = pick(&all, wanted)?;
    let said = lifecycle::Said::read(party).await?;
    terms(out, contract);
    out.text(format!("{}: {}", out.say("state", "状态"), said.line(out, contract, &all)));
    out.value(&staged(&said, contract, &all));
    Ok(())
}

/// A contract for programs, with its state.
fn staged(said: &lifecycle::Said, contract: &SignedContract, known: &[SignedContract]) -> serde_json::Value {
    let mut view = view(contract);
    said.put(&mut view, contract, known);
    view
}

async fn sign(party: &Party, out: &Out, wanted: &str) -> Result<(), Fault> {
    let client = party.connect().await?;
    let all = contracts(party, &client).await?;
    let mut contract = pick(&all, wanted)?.clone();
    let roster = party.roster(&client).await?;
    // The names in a contract are for people; that each stands for the key that this party knows
    // under it is checked here, before the signature.
    for p in &contract.body().parties {
        if roster.iter().any(|(card, _)| card.name == p.name && card.root != p.root) {
            return Err(Fault::new(Code::NetFingerprint, format!("the contract gives {} another key", p.name)));
        }
    }
    let signature = contract.sign(&party.keys.root, tacit_node::now())?;
    party.store.put_contract(&contract).await?;
    client.ask(&ToCoordinator::PutContract(vec![Blob(signature)])).await?;
    client.close().await;
    terms(out, &contract);
    out.value(&view(&contract));
    Ok(())
}
