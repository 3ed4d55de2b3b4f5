//! `job plan`: what a job would reveal, take and cost, and what every owner would say to it. Nothing is consumed.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tacit_engine::{FromCoordinator, PlanAnswer, ToCoordinator};
use tacit_governance::privacy::decimal;
use tacit_governance::{ExactTerms, JobSpec, MatchesShown, Meter, Metered, Rule, Shown, SignedContract};
use tacit_jobs::Safeguard;
use tacit_node::Client;
use tacit_protocol::Audience;
use tacit_receipts::money::amount;
use tacit_receipts::money::rate::{Item, Usage, rate};
use tacit_receipts::record::cardinality_bucket;
use tacit_types::{Code, Fault, Lang, NodeId, Unit, wire::Blob};

use super::alignment::{self, both_learn};
use super::contract::{apart, contracts, dealer_warning};
use super::job::ready;
use super::job_file::Ready;
use super::money::Books;
use crate::home::{Party, unexpected};
use crate::output::{Out, bytes};
use crate::progress::Progress;

/// Runs `job plan`.
pub async fn plan(party: &Party, client: &Client, out: &Out, file: &Path, signed: Option<&Path>) -> Result<u8, Fault> {
    let ready = ready(party, client, file, false).await?;
    if let Some(to) = signed {
        std::fs::write(to, ready.job.bytes())
            .map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
    }
    let progress = Progress::new(out.json(), out.say("asking every owner", "正在询问各所有者"));
    let request = ToCoordinator::Plan { job: Blob(ready.job.bytes().to_vec()) };
    let FromCoordinator::Planned(answers) = client.ask(&request).await? else { return Err(unexpected()) };
    drop(progress);
    let spec = ready.job.body();
    let estimate = ready.plan.estimate(spec.seated().len());
    let (revealed, in_words) = revealed(out, &ready);
    decisions(out, &answers);
    limits(out, &answers);
    out.text(format!(
        "{}: {} {}, {} {}, {}",
        out.say("cost of each node", "各节点开销"),
        estimate.cells,
        out.say("masked cells", "掩码单元"),
        estimate.rounds,
        out.say("exchanges", "轮交换"),
        bytes(estimate.bytes_up)
    ));
    let price = price(party, client, out, &ready).await?;
    let safeguard = ready.plan.safeguard(spec.seated().len());
    if let Some(safeguard) = &safeguard {
        out.text(verified_line(out, safeguard));
    }
    let checks = ready.plan.checks(spec.seated().len());
    if let Some(price) = &checks {
        out.text(checked_line(out, price.member, price.aggregator));
    }
    let noise = spec.providers.first().and_then(|p| ready.plan.facts(&p.owner).privacy);
    if let Some(cost) = &noise {
        out.text(format!("{}: {cost}", out.say("privacy cost for each dataset", "每个数据集的隐私开销")));
    }
    let known = contracts(party, client).await?;
    let exact = held_apart(&known, &ready);
    if let Some(exact) = &exact {
        out.text(format!("{}: {}", out.say("exact answers", "精确结果"), apart(out, exact)));
    }
    let shows = shown(&known, &ready);
    if let Some((shown, both)) = shows {
        out.text(format!("{}: {}", out.say("receipt", "凭证"), alignment::shown(out, shown, both)));
    }
    if let Some(name) = &ready.dealer {
        out.text(format!("{} {name}: {}", out.say("dealer", "随机数分发方"), dealer_warning(out)));
    }
    let refused = answers.iter().filter(|a| a.objection.is_some()).count();
    out.value(&json!({
        "kind": spec.kind,
        "dealer": ready.dealer.as_ref().map(|name| json!({"party": name, "warning": dealer_warning(out)})),
        "keys": ready.keys.as_ref().map(|keys| json!({"to": Audience::Nodes, "count": keys.len()})),
        "disclosures": revealed,
        "in_words": in_words,
        "owners": answers.iter().map(owner).collect::<Vec<_>>(),
        "verified": safeguard.map(|s| json!({"audits": s.audits, "bytes_sent": s.sent, "bytes_dealt": s.dealt})),
        "checked": checks.map(|price| json!({"bytes_sent": price.member, "bytes_aggregator": price.aggregator})),
        "privacy": noise.as_ref().map(super::privacy::cost),
        "exact": exact.map(|e| json!({"change_min": e.change_min})),
        "in_receipt": shows.map(|(shown, both)| alignment::shown_view(shown, both)),
        "estimate": {"cells": estimate.cells, "bytes_up": estimate.bytes_up, "rounds": estimate.rounds},
        "price": price,
    }));
    Ok(if refused == 0 { 0 } else { 3 })
}

/// By how much the job's rows must differ from those of others at each owner, where one of its contracts says so and its numbers
/// are exact: the strictest of them.
fn held_apart(known: &[SignedContract], ready: &Ready) -> Option<ExactTerms> {
    let spec = ready.job.body();
    let facts = spec.providers.first().map(|p| ready.plan.facts(&p.owner))?;
    let sums = facts.checked.is_some() || ready.plan.on_shares().is_some();
    let exact = sums && facts.privacy.is_none();
    let named = known.iter().filter(|c| exact && spec.contracts.contains(&c.id()));
    named.filter_map(|c| c.body().exact).max_by_key(|e| e.change_min)
}

/// What the receipt of a job that brings lists together would show of them, and whether both parties learn how many keys match.
/// A search is metered by its queries alone.
fn shown(known: &[SignedContract], ready: &Ready) -> Option<(Shown, bool)> {
    let facts = ready.plan.aligns().filter(|facts| facts.lookup.is_none())?;
    Some((Shown::allowed(ready.job.body(), known), both_learn(facts.level)))
}

/// What is revealed, for programs, and the same in words.
fn revealed(out: &Out, ready: &Ready) -> (Vec<Value>, Vec<String>) {
    let to = |audience: Audience| match audience {
        Audience::Recipient => out.say("the recipient", "接收方"),
        Audience::Nodes => out.say("the providers' nodes", "各提供方节点"),
    };
    let disclosures = ready.plan.disclosures();
    let words = |what: &str| tacit_jobs::words::plain(what, out.lang()).to_owned();
    let mut rows: Vec<Vec<String>> =
        disclosures.iter().map(|d| vec![words(&d.what), to(d.to).to_owned(), d.cells_max.to_string()]).collect();
    if let Some(keys) = &ready.keys {
        let what = out.say("the list of keys", "键列表").to_owned();
        rows.push(vec![what, to(Audience::Nodes).to_owned(), keys.len().to_string()]);
    }
    let head = [out.say("revealed", "披露内容"), out.say("to", "对象"), out.say("numbers at most", "数值上限")];
    out.table(&head, &rows);
    let view = disclosures.iter().map(|d| json!({"what": d.what, "to": d.to, "cells_max": d.cells_max})).collect();
    (view, disclosures.iter().map(|d| words(&d.what)).collect())
}

fn decisions(out: &Out, answers: &[PlanAnswer]) {
    let row = |a: &PlanAnswer| {
        let decision = a.objection.as_ref().map_or_else(
            || out.say("would admit", "将接受").to_owned(),
            |f| format!("{}: {} ({})", f.code, f.code.title(out.lang()), f.what),
        );
        let rule = Rule::parse(&a.rule).map_or(String::new(), |r| format!("{}: {}", r.number(), r.asks(out.lang())));
        vec![a.party.to_string(), decision, rule]
    };
    let head = [out.say("owner", "所有者"), out.say("decision", "决定"), out.say("rule that decides", "决定所依规则")];
    out.table(&head, &answers.iter().map(row).collect::<Vec<_>>());
}

/// What every owner's node has left before the job and would have after it.
fn limits(out: &Out, answers: &[PlanAnswer]) {
    let number = |meter: &Meter, n: u64| decimal(n, meter.what.places());
    let row = |a: &PlanAnswer, m: &Meter| {
        let name = match m.what {
            Metered::Jobs => out.say("jobs of the contract", "合同作业数"),
            Metered::Rows => out.say("rows to score", "可评分行数"),
            Metered::Epsilon => out.say("privacy budget, epsilon", "隐私预算 ε"),
            Metered::Delta => out.say("privacy budget, delta", "隐私预算 δ"),
            Metered::Keys => out.say("different keys", "不同的键"),
            Metered::Runs => out.say("alignments of these owners", "这些所有者的对齐次数"),
            Metered::OthersKeys => out.say("keys of the other owners", "其他所有者的键"),
            Metered::Queries => out.say("queries of who asks", "查询方的查询数"),
        };
        let until = m.until.map_or(String::new(), |t| format!(" ({} {t})", out.say("until", "至")));
        let most = match m.what {
            Metered::Keys => out.say("at most ", "至多 "),
            Metered::OthersKeys => out.say("at least ", "至少 "),
            _ => "",
        };
        let after = m.after().map_or_else(|| out.say("too few are left", "余量不足").into(), |left| number(m, left));
        let limit = format!("{}{until}", number(m, m.limit));
        let takes = format!("{most}{}", number(m, m.takes));
        vec![a.party.to_string(), name.to_owned(), limit, number(m, m.before()), takes, after]
    };
    let rows: Vec<_> =
        answers.iter().flat_map(|a| a.meters.iter().map(move |m| (a, m))).map(|(a, m)| row(a, m)).collect();
    if rows.is_empty() {
        return;
    }
    let head = [
        out.say("owner", "所有者"),
        out.say("limit on", "限额项目"),
        out.say("limit", "限额"),
        out.say("left before", "作业前余量"),
        out.say("taken", "占用"),
        out.say("left after", "作业后余量"),
    ];
    out.table(&head, &rows);
}

fn owner(a: &PlanAnswer) -> Value {
    let number = |m: &Meter, n: u64| decimal(n, m.what.places());
    let limits = a.meters.iter().map(|m| {
        json!({"what": m.what.word(), "limit": number(m, m.limit), "before": number(m, m.before()),
            "takes": number(m, m.takes), "after": m.after().map(|left| number(m, left)), "until": m.until.map(|t| t.0)})
    });
    let rule = Some(&a.rule).filter(|rule| !rule.is_empty());
    json!({"party": a.party.as_str(), "admits": a.objection.is_none(), "rule": rule,
        "code": a.objection.as_ref().map(|f| f.code.text()), "reason": a.objection.as_ref().map(|f| &f.what),
        "limits": limits.collect::<Vec<_>>()})
}

/// The cells that the receipt would have as released at the most. Of an alignment these are the matches of lists of so many
/// keys, as far as it shows them.
fn released(ready: &Ready, known: &[SignedContract], keys: u64) -> u64 {
    let to_recipient = |d: &tacit_protocol::Disclosure| d.to == Audience::Recipient;
    if ready.plan.kept().is_none() {
        return ready.plan.disclosures().into_iter().filter(to_recipient).map(|d| d.cells_max).sum();
    }
    match shown(known, ready).filter(|(_, both)| *both).map(|(shown, _)| shown.matches) {
        None | Some(MatchesShown::Never) => 0,
        Some(MatchesShown::Bucket) => cardinality_bucket(keys),
        Some(MatchesShown::Exact) => keys,
    }
}

/// What a job uses at the most, unit by unit, as its receipt would have it.
fn usage(ready: &Ready, known: &[SignedContract], nodes: &BTreeMap<NodeId, NodeId>) -> Result<Usage, Fault> {
    let spec: &JobSpec = ready.job.body();
    let (mut usage, estimate) = (Usage::default(), ready.plan.estimate(spec.seated().len()));
    let inputs: Vec<&NodeId> = spec.providers.iter().filter_map(|p| nodes.get(&p.owner)).collect();
    // Of lists without a line for each, every party's line is the sum of all.
    let lists = if shown(known, ready).is_some_and(|(shown, _)| !shown.each_list) { inputs.len() as u64 } else { 1 };
    for node in &inputs {
        usage.add(Unit::CellIn, **node, estimate.cells.saturating_mul(lists))?;
        usage.add(Unit::PayloadByte, **node, estimate.bytes_up)?;
    }
    // What stands once is the first seat's, in the order of the nodes' keys.
    if let Some(first) = spec.seated().iter().filter_map(|root| nodes.get(root)).min() {
        let released = released(ready, known, estimate.cells);
        usage.add(Unit::Job, *first, 1)?;
        usage.add(Unit::Party, *first, spec.seated().len() as u64)?;
        usage.add(Unit::CellOut, *first, released)?;
        if let Some(online) = ready.plan.online() {
            usage.add(Unit::RowAsked, *first, online.rows)?;
        }
    }
    Ok(usage)
}

/// What the use comes to by the price plan that the contract names, before what is free, least or most in a period.
async fn price(party: &Party, client: &Client, out: &Out, ready: &Ready) -> Result<Value, Fault> {
    let spec = ready.job.body();
    let known = contracts(party, client).await?;
    let named = known.iter().filter(|c| spec.contracts.contains(&c.id()));
    let Some((contract, terms)) = named.filter_map(|c| Some((c.id(), c.body().price_plan?))).next() else {
        return Ok(Value::Null);
    };
    let books = Books::open(party, client, out).await?;
    let Some((id, plan, _)) = books.ledger.plans_of(&contract).find(|(_, plan, _)| plan.terms() == terms) else {
        out.text(out.say("the contract's price is not signed by all yet", "合同所指价格方案尚未全部签署"));
        return Ok(Value::Null);
    };
    let cards = party.store.parties().await?;
    let nodes = cards.iter().map(|(_, card, _)| (card.root, card.node)).collect();
    let mut each = plan.clone();
    each.prices.iter_mut().for_each(|price| price.free = 0);
    let rated = rate(&each, &usage(ready, &known, &nodes)?, 0)?;
    let lines: Vec<_> = rated.lines.iter().filter(|line| line.item == Item::Use).collect();
    let total: i64 = lines.iter().map(|line| line.fen).sum();
    out.text(format!(
        "{}: {} {} ({} {}; {})",
        out.say("price of its use at most", "其用量价格上限"),
        amount::decimal(total),
        plan.currency,
        out.say("price plan", "价格方案"),
        id.short(),
        out.say(
            "before what a period has free, and without its subscription, least and most",
            "未计周期免费额度、订阅费及最低与最高额"
        )
    ));
    let lines: Vec<_> = lines
        .iter()
        .map(|l| json!({"unit": l.unit.map(Unit::word), "quantity": l.quantity, "amount": amount::decimal(l.fen)}))
        .collect();
    Ok(json!({"plan": id.to_string(), "currency": plan.currency, "at_most": amount::decimal(total), "lines": lines}))
}

/// What a verified job holds against, and its bytes.
fn verified_line(out: &Out, safeguard: &Safeguard) -> String {
    let (sent, dealt, all) = (bytes(safeguard.sent), bytes(safeguard.dealt), u32::from(safeguard.audits) + 1);
    match out.lang() {
        Lang::En => format!(
            "verified: a party that computes wrong is found before a result is taken, a dealer that deals wrong values in \
             {} of {all} cases; {sent} from each party at most, {dealt} from the dealer",
            safeguard.audits
        ),
        Lang::Zh => format!(
            "经验证：参与方计算有误会在取得结果之前被发现，分发方分发错误数值在 {all} 次中有 {} 次被发现；每方最多发送 {sent}，分发方发送 {dealt}",
            safeguard.audits
        ),
    }
}

/// What a checked job holds against, and its bytes.
fn checked_line(out: &Out, member: u64, aggregator: u64) -> String {
    let (member, aggregator) = (bytes(member), bytes(aggregator));
    match out.lang() {
        Lang::En => format!(
            "checked: every node checks each sum for itself, so an aggregator that gives a wrong one is found before a result \
             opens; {member} more from each node, {aggregator} more from the aggregator"
        ),
        Lang::Zh => format!(
            "经核验：各节点自行核验每个求和结果，聚合方给出错误结果会在结果打开之前被发现；各节点多发送 {member}，聚合方多发送 {aggregator}"
        ),
    }
}
