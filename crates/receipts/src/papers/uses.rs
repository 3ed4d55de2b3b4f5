//! One use: its receipt held against the papers, and the sentences that follow.

use std::collections::BTreeSet;

use tacit_types::{Code, ContractId, DatasetVersionId, Fault, JobId, Name, NodeId};

use super::read::{Answer, Order, Said, TermsParty};
use super::{Papers, Sentence, Use, approved, at};
use crate::bundle::Trust;
use crate::keys::{KeyHistory, KeyRole};
use crate::leaf::Leaf;
use crate::money::{Money, PricePlan};
use crate::opening;
use crate::receipt::JointReceipt;
use crate::record::{Audience, PartyEntry, Quantity, Role, Standing, Status, UsageRecord};

/// Characters of a text of others that a sentence repeats.
const TEXT_CHARS_MAX: usize = 256;

/// A plan with who signed it and where.
pub(super) struct PlanLeaf {
    index: u64,
    signer: NodeId,
    plan: PricePlan,
}

/// The price plans among the leaves.
pub(super) fn plans(leaves: &[(u64, &[u8])], keys: &KeyHistory) -> Vec<PlanLeaf> {
    let mut plans = Vec::new();
    for (index, bytes) in leaves {
        if let Ok(Leaf::Money(envelope, money)) = Leaf::read(bytes)
            && let Money::Plan(plan) = *money
        {
            plans.push(PlanLeaf { index: *index, signer: keys.spoken(&envelope).signer, plan });
        }
    }
    plans
}

/// A text that somebody else wrote, without what could upset a terminal or pass for another sentence.
pub(super) fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { '\u{fffd}' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(safe).collect()
}

pub(super) struct Telling<'a> {
    pub(super) trust: &'a Trust,
    pub(super) record: &'a UsageRecord,
    pub(super) shown: bool,
    sentences: Vec<Sentence>,
    faults: Vec<Fault>,
}

impl Telling<'_> {
    pub(super) fn say(&mut self, about: &'static str, en: String, zh: String) {
        self.sentences.push(Sentence { about, en, zh });
    }

    pub(super) fn lacks(&mut self, en: String, zh: String) {
        self.shown = false;
        self.say("not_shown", en, zh);
    }

    fn wrong(&mut self, what: String) {
        self.faults.push(Fault::new(Code::ReceiptPaper, what));
    }

    /// What contradicts a use with a result is wrong; of a job that was refused or aborted it is told, since that may be
    /// why.
    fn unfit(&mut self, what: String) {
        self.unfit_as(Code::ReceiptPaper, what);
    }

    /// An approval that a use with a result lacks, or that was none.
    pub(super) fn unapproved(&mut self, what: String) {
        self.unfit_as(Code::ReceiptApproval, what);
    }

    fn unfit_as(&mut self, code: Code, what: String) {
        if self.record.status == Status::Ok {
            return self.faults.push(Fault::new(code, what));
        }
        let zh = format!("不符之处：{what}。");
        self.say("not_shown", format!("It does not fit: {what}."), zh);
    }
}

/// Tells a use, and gives what is wrong with its papers.
pub(super) fn tell(
    papers: &mut Papers,
    leaf: u64,
    receipt: &JointReceipt,
    trust: &Trust,
    plans: &[PlanLeaf],
) -> (Use, Vec<Fault>) {
    let record = &receipt.record;
    let mut told = Telling { trust, record, shown: true, sentences: Vec::new(), faults: Vec::new() };
    ended(&mut told);
    let order = papers.jobs.get(&record.job).cloned();
    match &order {
        Some((order, paper)) => {
            papers.touch(*paper);
            ordered(papers, &mut told, order);
        }
        None => told.lacks(
            format!("The job {} itself is not in the evidence.", record.job),
            format!("证据中没有作业 {} 的原文。", record.job),
        ),
    }
    let order = order.map(|(order, _)| order);
    for id in &record.contracts {
        contract(papers, &mut told, id, order.as_ref());
    }
    for entry in &record.parties {
        party(papers, &mut told, receipt, entry, order.as_ref());
    }
    for model in order.iter().flat_map(|order| &order.models) {
        described(papers, &mut told, &model.owner, &DatasetVersionId(model.model.0), "model", "模型");
    }
    approved::lists(papers, &mut told, order.as_ref());
    others(papers, &mut told);
    opened(papers, &mut told);
    counted(&mut told);
    asserted(&mut told, receipt);
    priced(papers, &mut told, plans);
    let Telling { shown, sentences, faults, .. } = told;
    let shown = shown && faults.is_empty();
    (Use { leaf, job: record.job.to_string(), authority_shown: shown, sentences }, faults)
}

fn ended(told: &mut Telling<'_>) {
    let record = told.record;
    let (en, zh) = match &record.status {
        Status::Ok => ("gave a result".to_owned(), "得出结果".to_owned()),
        Status::Aborted { code, .. } => (format!("ended without a result [{code}]"), format!("未得出结果 [{code}]")),
        Status::Refused { code, .. } => (format!("was refused [{code}]"), format!("被拒绝 [{code}]")),
    };
    let (from, to) = (at(record.started), at(record.ended));
    told.say(
        "job",
        format!("Job {} of kind {} {en}, from {from} to {to}.", record.job, record.kind),
        format!("作业 {}（类型 {}）{zh}，自 {from} 至 {to}。", record.job, record.kind),
    );
}

fn ordered(papers: &Papers, told: &mut Telling<'_>, order: &Order) {
    let record = told.record;
    let (who, when, why) = (papers.name(&order.signer, told.trust), at(order.created_at), plain(&order.purpose));
    told.say(
        "job",
        format!("{who} ordered it at {when}, signed with the key {}, for the purpose \"{why}\".", order.key),
        format!("{who} 于 {when} 以密钥 {} 签署下达，用途为“{why}”。", order.key),
    );
    if order.spec != record.spec || order.contracts != record.contracts {
        told.wrong("the receipt is for another specification or other contracts than the job's".into());
    }
    let plain_kind: String = order.kind.chars().map(|c| if c == '/' { '.' } else { c }).collect();
    if plain_kind != record.kind.as_str() {
        told.wrong(format!("the job is of kind {}, the receipt of {}", plain(&order.kind), record.kind));
    }
}

pub(super) fn list(names: &[String], lang_zh: bool) -> String {
    names.join(if lang_zh { "、" } else { ", " })
}

fn contract(papers: &mut Papers, told: &mut Telling<'_>, id: &ContractId, order: Option<&Order>) {
    let Some(contract) = papers.contracts.get(id) else {
        return told.lacks(
            format!("The contract {id} that it rests on is not in the evidence."),
            format!("证据中没有其所依据的合同 {id}。"),
        );
    };
    let (terms, further) = (contract.terms.known.clone(), contract.terms.further.clone());
    let (signers, touched) = (contract.signers.clone(), contract.papers.clone());
    touched.into_iter().for_each(|paper| papers.touch(paper));
    let needed = || terms.parties.iter().filter(|p| p.signs());
    let names = |found: &mut dyn Iterator<Item = &TermsParty>| found.map(|p| p.name.to_string()).collect::<Vec<_>>();
    let signed = names(&mut needed().filter(|p| signers.contains(&p.root)));
    let missing = names(&mut needed().filter(|p| !signers.contains(&p.root)));
    let (from, until, purpose) = (at(terms.valid_from), at(terms.valid_until), plain(&terms.purpose));
    told.say(
        "contract",
        format!(
            "Authority: the contract {} ({id}), signed by {}, from {from} until {until}, for the purpose \"{purpose}\".",
            terms.name,
            list(&signed, false)
        ),
        format!(
            "依据：合同 {}（{id}），签署方：{}，有效期自 {from} 至 {until}，用途为“{purpose}”。",
            terms.name,
            list(&signed, true)
        ),
    );
    if !further.is_empty() {
        let fields: Vec<String> = further.iter().map(u64::to_string).collect();
        told.say(
            "contract",
            format!("It has further terms that are not put into words here: fields {}.", list(&fields, false)),
            format!("合同另有此处未以文字说明的条款：字段 {}。", list(&fields, true)),
        );
    }
    if !missing.is_empty() {
        told.unfit(format!("the contract {} lacks the signatures of {}", terms.name, list(&missing, false)));
    }
    approved::tell(papers, told, id, &terms, order);
    let Some(order) = order else { return };
    if !terms.operators.contains(&order.signer) {
        told.unfit(format!("the contract {} does not name the key that signed the job", terms.name));
    }
    let user = terms.users.iter().find(|u| u.node == order.signer);
    match user.and_then(|user| terms.parties.iter().find(|p| p.root == user.root)) {
        Some(party) => told.say(
            "contract",
            format!("By it the key that signed the job is that of {}.", party.name),
            format!("依该合同，签署作业的密钥属于 {}。", party.name),
        ),
        None if terms.users.is_empty() => {}
        None => told.unfit(format!("the contract {} does not say whose the key is that signed the job", terms.name)),
    }
    if terms.purpose != order.purpose {
        told.unfit(format!("the contract {} is for another purpose than the job", terms.name));
    }
    if !terms.kinds.contains(&order.kind) {
        told.unfit(format!("the contract {} does not allow jobs of kind {}", terms.name, plain(&order.kind)));
    }
    if order.created_at < terms.valid_from || order.created_at >= terms.valid_until {
        told.unfit(format!("the job was signed outside the time of the contract {}", terms.name));
    }
}

/// The last answer of a party to the job: one that was killed and asked again says the same.
fn answer(papers: &mut Papers, job: &JobId, node: &NodeId) -> Option<Answer> {
    let own = |(answer, _): &&(Answer, usize)| answer.job == *job && answer.signer == *node;
    let found = papers.answers.iter().rev().find(own)?.clone();
    papers.touch(found.1);
    Some(found.0)
}

fn party(
    papers: &mut Papers,
    told: &mut Telling<'_>,
    receipt: &JointReceipt,
    entry: &PartyEntry,
    order: Option<&Order>,
) {
    let record = told.record;
    let name = entry.name.clone();
    let card = papers.cards.values().find(|(card, _)| card.node == entry.party).cloned();
    if let Some((card, paper)) = &card {
        papers.touch(*paper);
        if card.name != name {
            told.wrong(format!("the card of {name} is made out to {}", card.name));
        }
    }
    match answer(papers, &record.job, &entry.party) {
        Some(answer) => {
            if card.as_ref().is_some_and(|(card, _)| card.root != answer.owner) {
                told.wrong(format!("{name} answered under another root key than that of its card"));
            }
            answered(papers, told, entry, &answer, order);
        }
        None if record.status == Status::Ok && entry.role != Role::Compute => told.lacks(
            format!("The answer of {name} to the job is not in the evidence."),
            format!("证据中没有 {name} 对该作业的答复。"),
        ),
        None => {}
    }
    part(told, receipt, entry);
}

fn answered(papers: &mut Papers, told: &mut Telling<'_>, entry: &PartyEntry, answer: &Answer, order: Option<&Order>) {
    let (name, when) = (&entry.name, at(answer.at));
    let (contract, dataset) = match &answer.said {
        Said::Yes(contract, dataset) => (contract, dataset),
        Said::No(code, reason) => {
            let reason = plain(reason);
            told.say(
                "answer",
                format!("{name} refused it at {when}: {reason} [{code}]."),
                format!("{name} 于 {when} 拒绝：{reason} [{code}]。"),
            );
            match &told.record.status {
                Status::Refused { .. } => {}
                Status::Aborted { .. } => {}
                Status::Ok => told.wrong(format!("{name} refused a job that gave a result")),
            }
            return;
        }
    };
    let known = papers.contracts.get(contract).map_or_else(|| contract.short(), |c| c.terms.known.name.to_string());
    told.say(
        "answer",
        format!("{name} admitted it at {when} under the contract {known}, signed with its node's key."),
        format!("{name} 于 {when} 依合同 {known} 准入，并以其节点密钥签署。"),
    );
    if !told.record.contracts.contains(contract) {
        told.wrong(format!("{name} admitted it under a contract that the receipt does not name"));
    }
    if *dataset != entry.dataset {
        told.wrong(format!("{name} admitted another dataset version than the receipt has"));
    }
    if let Some(found) = papers.contracts.get(contract)
        && !found.terms.known.parties.iter().any(|p| p.root == answer.owner && p.signs())
    {
        told.wrong(format!("the root key of {name} is not of the contract that it admitted the job under"));
    }
    let Some(dataset) = dataset else { return };
    let granted = papers.contracts.get(contract).map(|found| {
        let all = &found.terms.known.datasets;
        all.iter().find(|d| d.owner == answer.owner && d.dataset == *dataset).cloned()
    });
    described(papers, told, &answer.owner, dataset, "data", "数据");
    let asked = order.and_then(|order| order.providers.iter().find(|p| p.owner == answer.owner));
    match granted {
        Some(Some(grant)) => {
            let columns: Vec<String> = grant.columns.iter().map(|c| plain(&c.name)).collect();
            let view = asked.map(|part| part.view.clone()).unwrap_or_default();
            let shown = plain(&view);
            told.say(
                "data",
                format!(
                    "The job reads the view \"{shown}\"; the contract grants the columns {}.",
                    list(&columns, false)
                ),
                format!("作业读取视图“{shown}”；合同授权的列为 {}。", list(&columns, true)),
            );
            if asked.is_some() && !grant.views.contains(&view) {
                told.unfit(format!("the contract does not grant the view \"{shown}\" of {name}"));
            }
        }
        Some(None) => told.unfit(format!("the contract does not grant the dataset version of {name}")),
        None => {}
    }
    if order.is_some() && asked.is_none_or(|part| part.dataset != *dataset) {
        told.wrong(format!("the job names another dataset version of {name} than the receipt"));
    }
}

/// A dataset or model by the name that its owner signed.
fn described(papers: &mut Papers, told: &mut Telling<'_>, owner: &NodeId, id: &DatasetVersionId, en: &str, zh: &str) {
    let who = papers.name(owner, told.trust);
    let Some((described, paper)) = papers.described.get(id).cloned() else {
        return told.say(
            "data",
            format!("The {en} of {who}: version {id}, which is not described in the evidence."),
            format!("{who} 的{zh}：版本 {id}，证据中没有其说明。"),
        );
    };
    papers.touch(paper);
    if described.owner != *owner {
        told.wrong(format!("the version {} is of another owner", id.short()));
    }
    let (name, version) = (&described.name, described.version);
    told.say(
        "data",
        format!("The {en} of {who}: {name}, version {version} ({id}), as its owner has signed it."),
        format!("{who} 的{zh}：{name} 第 {version} 版（{id}），由其所有者签署。"),
    );
}

fn part(told: &mut Telling<'_>, receipt: &JointReceipt, entry: &PartyEntry) {
    let name: &Name = &entry.name;
    let (en, zh) = match entry.role {
        Role::Input => ("brought data", "提供数据"),
        Role::Compute => ("computed without data", "仅参与计算"),
        Role::Result => ("received the result", "接收结果"),
    };
    let (stood, stood_zh) = match entry.standing {
        Standing::TookPart => ("took part to the end", "全程参与"),
        Standing::Dropped { .. } => ("was lost on the way", "中途失联"),
        Standing::Silent => ("never answered", "从未应答"),
    };
    let absent = receipt.absent.iter().find(|a| a.party == entry.party);
    let (signed, signed_zh) = match absent {
        Some(absent) => {
            (format!("its attestation is absent [{}]", absent.code), format!("缺少其证明 [{}]", absent.code))
        }
        None => ("signed what it counted".to_owned(), "已签署其计数".to_owned()),
    };
    told.say(
        "part",
        format!("{name}, whose key is {}, {en}, {stood}; {signed}.", entry.party),
        format!("{name}（密钥 {}）{zh}，{stood_zh}；{signed_zh}。", entry.party),
    );
}

/// Papers of types that are not put into words, where they name this job or one of its contracts.
fn others(papers: &mut Papers, told: &mut Telling<'_>) {
    let record = told.record;
    let ids: BTreeSet<String> =
        record.contracts.iter().map(ToString::to_string).chain([record.job.to_string()]).collect();
    for at_paper in papers.others.clone() {
        let Some(paper) = papers.all.get(at_paper) else { continue };
        let (kind, signer) = (plain(&paper.envelope.kind), paper.envelope.signer);
        let (subject, when) = (plain(&paper.envelope.subject), at(paper.envelope.issued_at));
        if !ids.iter().any(|id| paper.envelope.subject.contains(id)) {
            continue;
        }
        let who = papers.name(&signer, told.trust);
        papers.touch(at_paper);
        told.say(
            "paper",
            format!(
                "A statement of type {kind} about {subject}, signed by {who} at {when}; its terms are not read here."
            ),
            format!("{who} 于 {when} 签署的 {kind} 类声明，关于 {subject}；此处不解读其内容。"),
        );
    }
}

fn opened(papers: &Papers, told: &mut Telling<'_>) {
    for disclosure in &told.record.disclosures {
        let (to, to_zh) = match disclosure.to {
            Audience::Seats => ("every party that took part".to_owned(), "所有参与方".to_owned()),
            Audience::Party(key) => {
                let who = papers.name(&key, told.trust);
                (who.clone(), who)
            }
        };
        let (what, most) = (plain(&disclosure.what), disclosure.cardinality);
        told.say(
            "opened",
            format!("Revealed: {what}, at most {most} numbers, to {to}."),
            format!("披露：{what}，至多 {most} 个数值，披露给 {to_zh}。"),
        );
    }
}

fn counted(told: &mut Telling<'_>) {
    let record = told.record;
    for line in &record.lines {
        let name = record.parties.get(line.party.index()).map(|p| p.name.to_string()).unwrap_or_default();
        let quantity = match line.quantity {
            Quantity::Plain(n) => n.to_string(),
            Quantity::Committed(hash) => format!("({})", hash.short()),
        };
        let (unit, class) = (line.unit.word(), line.class);
        told.say(
            "counted",
            format!("Counted: {quantity} {unit} of {name}, class {class:?}."),
            format!("计量：{name} {quantity} {unit}，{class:?} 类。"),
        );
    }
}

/// What parties committed to in the attestations that the receipt itself carries, without showing it.
fn asserted(told: &mut Telling<'_>, receipt: &JointReceipt) {
    let history = told.trust.history().unwrap_or_default();
    let of = |key: &NodeId| history.id_of(KeyRole::Node, key);
    for found in opening::committed(receipt, &|_| None, &of) {
        let name = told.record.party(&found.party).map(|p| p.name.to_string()).unwrap_or_default();
        let ((en, zh), hash) = (opening::word(found.figure.what), found.figure.commitment.short());
        let (class, class_zh) = match opening::class_of(found.figure.what) {
            Some(class) => (
                format!(", class {class:?}: its own word, which is never billed"),
                format!("，{class:?} 类：单方自述，不计费"),
            ),
            None => (String::new(), String::new()),
        };
        told.say(
            "counted",
            format!("Committed to without being shown: {en} of {name} ({hash}){class}."),
            format!("已承诺而未公开：{name} 的{zh}（{hash}）{class_zh}。"),
        );
    }
}

fn priced(papers: &Papers, told: &mut Telling<'_>, plans: &[PlanLeaf]) {
    let mut seen = BTreeSet::new();
    for found in plans.iter().filter(|found| told.record.contracts.contains(&found.plan.contract)) {
        let id = found.plan.id();
        if !seen.insert(id) {
            continue;
        }
        let same = || plans.iter().filter(|other| other.plan.id() == id);
        let signers: Vec<String> = same().map(|p| papers.name(&p.signer, told.trust)).collect();
        let leaves: Vec<String> = same().map(|p| p.index.to_string()).collect();
        told.say(
            "price",
            format!(
                "The price plan {id} is for that contract; signed by {} at leaves {}.",
                list(&signers, false),
                list(&leaves, false)
            ),
            format!("该合同的价格方案为 {id}；签署方：{}，位于条目 {}。", list(&signers, true), list(&leaves, true)),
        );
    }
}
