//! `receipt explain`: one receipt in words. Who used what, for what, under which signed authority, what left, what was
//! counted by whom, and what it costs.

use std::collections::BTreeMap;

use serde_json::json;
use tacit_governance::SignedContract;
use tacit_receipts::money::ledger::LineView;
use tacit_receipts::{Audience, JointReceipt, Leaf, PartyEntry, Quantity, Role, Standing, Status};
use tacit_types::unit::Class;
use tacit_types::{Code, Fault, Hash};

use super::contract::contracts;
use super::money::Books;
use super::opening::figures;
use super::receipt::differing;
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

/// Explains the receipt of a leaf, or of a job's id or its beginning.
pub async fn explain(cli: &Cli, out: &Out, wanted: &str) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let client = party.connect().await?;
    let done = async {
        let books = Books::open(&party, &client, out).await?;
        // A regulator may not read contracts here: it has them from the parties, and the receipt names each by its hash.
        let known = match contracts(&party, &client).await {
            Err(fault) if fault.code == Code::NetRefused => Vec::new(),
            known => known?,
        };
        let (leaf, receipt) = find(&books, wanted)?;
        say(out, &books, &known, leaf, &receipt);
        Ok(())
    }
    .await;
    client.close().await;
    party.store.close().await;
    done
}

fn find(books: &Books, wanted: &str) -> Result<(u64, JointReceipt), Fault> {
    for (index, bytes) in (0u64..).zip(&books.leaves) {
        if let Ok(Leaf::Receipt(receipt)) = Leaf::read(bytes)
            && (wanted.parse() == Ok(index)
                || (wanted.len() >= 4 && receipt.body().record.job.to_string().starts_with(wanted)))
        {
            return Ok((index, receipt.into_body()));
        }
    }
    Err(Fault::new(Code::ReceiptUnknown, wanted.to_owned()))
}

fn say(out: &Out, books: &Books, known: &[SignedContract], leaf: u64, receipt: &JointReceipt) {
    let (record, (comma, stop)) = (&receipt.record, marks(out));
    let mut sentences = vec![ended(out, leaf, receipt)];
    for id in &record.contracts {
        sentences.push(match known.iter().find(|c| c.id() == *id) {
            Some(contract) => {
                let body = contract.body();
                let signed: Vec<&str> =
                    body.parties.iter().filter(|p| contract.signed_by(&p.root)).map(|p| p.name.as_str()).collect();
                format!(
                    "{} {} ({}){comma}{} {}{stop}{}: {}{stop}",
                    out.say("Authority: the contract", "依据：合同"),
                    body.name,
                    id.short(),
                    out.say("signed by", "签署方："),
                    signed.join(", "),
                    out.say("Its purpose, the same in every job under it", "用途（其下每个作业均须相同）"),
                    body.purpose
                )
            }
            None => format!("{} {id}{stop}", out.say("Authority: the contract of the hash", "依据：合同，哈希")),
        });
    }
    sentences.extend(record.parties.iter().map(|entry| took_part(out, entry)));
    for d in &record.disclosures {
        sentences.push(format!(
            "{} {}{comma}{} {}{comma}{} {}{stop}",
            out.say("What was revealed:", "披露内容："),
            d.what,
            out.say("to", "披露给"),
            match d.to {
                Audience::Seats => out.say("every party that took part", "所有参与方").to_owned(),
                Audience::Party(key) => key.to_string(),
            },
            out.say("numbers at most:", "数值至多"),
            d.cardinality
        ));
    }
    for conviction in &record.convictions {
        let name = record.parties.get(conviction.seat.index()).map(|p| p.name.to_string()).unwrap_or_default();
        sentences.push(format!(
            "{name} {}: {}{comma}{} {}{stop}",
            out.say(
                "broke the protocol, which every party that signed has seen shown",
                "违反了协议，所有签署方均已查验证据"
            ),
            conviction.offence,
            out.say("by the evidence of the hash", "证据哈希"),
            conviction.evidence
        ));
    }
    sentences.extend(super::link::disputed(out, record).map(|text| format!("{text}{stop}")));
    for shown in figures(receipt, &books.leaves, &BTreeMap::new()) {
        let [what, name, hash, class] = &shown.cells(out)[..] else { continue };
        let own = match class.is_empty() {
            true => String::new(),
            false => format!(
                "{comma}{} {class}{}",
                out.say("class", "类别"),
                out.say(": its own word, which is never billed", "：单方自述，不计费")
            ),
        };
        sentences.push(format!(
            "{}: {what}{comma}{name} ({hash}){own}{stop}",
            out.say("Committed to without being shown", "已承诺而未公开")
        ));
    }
    for i in record.disputed() {
        let Some(line) = record.lines.get(i) else { continue };
        let Quantity::Plain(stated) = line.quantity else { continue };
        sentences.push(format!(
            "{} {i} ({}): {} {stated}{comma}{} {}{stop}{}{stop}",
            out.say("Observers differ on line", "计数方所计不一，行"),
            line.unit.word(),
            out.say("it says", "该行为"),
            out.say("others counted:", "他方所计："),
            differing(record, line),
            if books.ledger.is_whole(leaf) {
                out.say(
                    "Each has signed its count; the line is not billed until a ruling, the others are",
                    "各方均已签署自身计数；该行裁定前不计费，其余各行照常",
                )
            } else {
                out.say(
                    "Not everyone who took part has signed; nothing of this receipt is billed until all have",
                    "尚有参与方未签署；全部签署之前，本凭证各行均不计费",
                )
            }
        ));
    }
    let (plans, lines) = billed(books, leaf, receipt);
    sentences.push(costs(out, books, leaf, &plans));
    sentences.iter().for_each(|sentence| out.text(sentence.trim_end()));
    table(out, receipt, &lines);
    out.value(&json!({
        "leaf": leaf, "job": record.job.to_string(), "specification": record.spec.to_string(), "sentences": sentences,
        "contracts": record.contracts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "plans": plans.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }));
}

/// What parts and what ends a sentence.
fn marks(out: &Out) -> (&'static str, &'static str) {
    (out.say(", ", "，"), out.say(". ", "。"))
}

fn ended(out: &Out, leaf: u64, receipt: &JointReceipt) -> String {
    let (record, (comma, stop)) = (&receipt.record, marks(out));
    let end = match &record.status {
        Status::Ok => out.say("It gave a result", "已得出结果").to_owned(),
        Status::Aborted { code, .. } => format!("{} [{code}]", out.say("It ended without a result", "未得出结果")),
        Status::Refused { code, .. } => format!("{} [{code}]", out.say("It was refused", "已被拒绝")),
    };
    format!(
        "{} {leaf}: {} {}{comma}{} {} {} {}{stop}{end}{stop}{} {}{stop}",
        out.say("Leaf", "叶"),
        record.kind,
        out.say("was computed", "的计算"),
        out.say("from", "自"),
        record.started,
        out.say("to", "至"),
        record.ended,
        out.say("The job's signed specification has the hash", "作业的已签署说明书哈希为"),
        record.spec
    )
}

fn took_part(out: &Out, entry: &PartyEntry) -> String {
    let role = match entry.role {
        Role::Input => out.say("brought data", "提供数据"),
        Role::Compute => out.say("computed without data", "仅参与计算"),
        Role::Result => out.say("received the result", "接收结果"),
    };
    let standing = match entry.standing {
        Standing::TookPart => out.say("took part to the end and signed what it counted", "全程参与并签署了自身计数"),
        Standing::Dropped { .. } => out.say("was lost on the way", "中途失联"),
        Standing::Silent => out.say("never answered", "从未应答"),
    };
    let dataset =
        entry.dataset.map(|d| format!(" ({} {})", out.say("dataset", "数据集"), d.short())).unwrap_or_default();
    let (comma, stop) = marks(out);
    format!("{} {role}{dataset}{comma}{standing}{stop}", entry.name)
}

type Lines = Vec<(u32, LineView)>;

/// The plans that rate the receipt, and its lines as the first of them has them.
fn billed(books: &Books, leaf: u64, receipt: &JointReceipt) -> (Vec<Hash>, Lines) {
    let of = |contract| books.ledger.plans_of(contract).filter(|(_, _, since)| *since < leaf).map(|(id, _, _)| *id);
    let plans: Vec<Hash> = receipt.record.contracts.iter().flat_map(of).collect();
    let lines = plans.first().map(|plan| books.ledger.lines(plan, leaf)).unwrap_or_default();
    (plans, lines)
}

fn costs(out: &Out, books: &Books, leaf: u64, plans: &[Hash]) -> String {
    let Some(plan) = plans.first() else {
        return out.say("No price plan rates it.", "无价格方案对其计费。").to_owned();
    };
    let charges: Vec<String> = books
        .ledger
        .charges()
        .filter(|c| plans.contains(&c.charge.plan) && c.charge.period.holds(leaf))
        .map(|c| c.at.index.to_string())
        .collect();
    let charged = if charges.is_empty() {
        out.say("it is not charged yet", "尚未出账").to_owned()
    } else {
        format!("{} {}", out.say("charged with its period at leaf", "随其周期出账，叶"), charges.join(", "))
    };
    let (comma, stop) = marks(out);
    format!("{} {}{comma}{charged}{stop}", out.say("It is rated by price plan", "适用价格方案"), plan.short())
}

fn table(out: &Out, receipt: &JointReceipt, billed: &[(u32, LineView)]) {
    let record = &receipt.record;
    let row = |(number, line): (u32, &tacit_receipts::UsageLine)| {
        let quantity = match line.quantity {
            Quantity::Plain(n) => n.to_string(),
            Quantity::Committed(hash) => hash.short(),
        };
        let counted = match line.class {
            _ if line.is_disputed() => out.say("observers counted different numbers", "计数方所计不一"),
            Class::A => out.say("two parties or more count the same", "至少两方计数一致"),
            Class::B => out.say("follows from the signed job", "由已签署的作业得出"),
            Class::C => out.say("one party says so; never billed", "单方自报，不计费"),
        };
        let state = match billed.iter().find(|(n, _)| *n == number).map(|(_, view)| view) {
            Some(view) if view.void => out.say("void", "作废").to_owned(),
            Some(view) if view.held => out.say("on hold", "暂停计费").to_owned(),
            Some(view) if view.now != view.recorded => format!("{} {}", out.say("corrected to", "更正为"), view.now),
            _ => String::new(),
        };
        let party = record.parties.get(line.party.index()).map(|p| p.name.to_string()).unwrap_or_default();
        vec![number.to_string(), line.unit.word().into(), party, quantity, counted.into(), state]
    };
    let head = [
        out.say("line", "行"),
        out.say("unit", "计量单位"),
        out.say("party", "参与方"),
        out.say("quantity", "数量"),
        out.say("who counted", "计数方式"),
        out.say("state", "状态"),
    ];
    out.table(&head, &(0u32..).zip(&record.lines).map(row).collect::<Vec<_>>());
}
