//! `period close`, `period list`, `charge list`, `settlement list` and `show`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tacit_engine::api::PeriodClosed;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_net::{Purpose, keyfile};
use tacit_node::Client;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::amount::decimal;
use tacit_receipts::money::ledger::ChargeView;
use tacit_receipts::money::{Charge, ChargeLine, Item, Period, Settlement};
use tacit_receipts::{Leaf, Money};
use tacit_types::{Code, Fault, UnixMillis};

use super::{Books, PeriodCommand, SettlementCommand, money, say, signed, when};
use crate::cli::Cli;
use crate::commands::enrol::local;
use crate::home::{Party, folder, unexpected};
use crate::output::Out;
use crate::progress::Progress;

/// How long between two looks at a close that is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Whether the folder is a coordinator's.
pub(super) fn at_coordinator(cli: &Cli) -> bool {
    folder(cli).join("coordinator.toml").exists()
}

/// Has the coordinator end a period, and waits until everything is issued.
pub(super) async fn close(cli: &Cli, out: &Out, until: UnixMillis) -> Result<(), Fault> {
    let home = folder(cli);
    let config = tacit_coordinator::Config::read(&home.join("coordinator.toml"))?;
    let key = keyfile::read_signing(&home.join("root.key"))?;
    let client = Client::connect(&key, &local(config.listen), &key.id(), Purpose::Member).await?;
    let progress = Progress::new(out.json(), out.say("closing the period", "正在结账"));
    let closed = loop {
        match client.ask(&ToCoordinator::ClosePeriod { until }).await {
            Ok(FromCoordinator::Closed(closed)) if closed.done => break Ok(closed),
            Ok(FromCoordinator::Closed(closed)) => {
                let issued = closed.charges.len();
                progress.set(format!(
                    "{}: {issued}",
                    out.say("charges issued, waiting for witnesses", "已出账，等待见证方")
                ));
            }
            Ok(_) => break Err(unexpected()),
            Err(fault) if fault.code == Code::ReceiptPending => {}
            Err(fault) => break Err(fault),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    drop(progress);
    client.close().await;
    let PeriodClosed { until, as_of, charges, settlements, withheld, .. } = closed?;
    out.text(format!("{} {until}", out.say("closed until", "已结账至")));
    let places = |leaves: &[u64]| leaves.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    out.text(format!("{}: {}  ({})", out.say("charges", "费用"), charges.len(), places(&charges)));
    out.text(format!("{}: {}  ({})", out.say("settlements", "结算"), settlements.len(), places(&settlements)));
    for (plan, fault) in &withheld {
        out.text(format!("! {} {}: {fault}", out.say("not charged, plan", "未出账，价格方案"), plan.short()));
    }
    out.value(&json!({
        "until": until.0, "as_of": as_of, "charges": charges, "settlements": settlements,
        "withheld": withheld.iter().map(|(plan, f)| json!({"plan": plan.to_string(), "code": f.code.text(), "what": f.what})).collect::<Vec<_>>(),
    }));
    Ok(())
}

pub(super) async fn run(
    party: &Party,
    client: &Client,
    books: &Books,
    out: &Out,
    command: &PeriodCommand,
) -> Result<(), Fault> {
    match command {
        PeriodCommand::Close { until } => count(party, client, books, out, when::parse(until)?).await,
        PeriodCommand::List => list(books, out),
    }
}

/// Signs this party's own count of a period.
async fn count(party: &Party, client: &Client, books: &Books, out: &Out, until: UnixMillis) -> Result<(), Fault> {
    let us = party.keys.node_id;
    let size = books.leaves.len() as u64;
    let last = books.ledger.closed(&us);
    let close = if let Some(same) = last.filter(|last| last.until == until) {
        books.ledger.close(&us, same)?
    } else {
        if until > tacit_node::now() || last.is_some_and(|last| last.until > until) {
            let end = last.map_or_else(String::new, |last| format!("; the last close was until {}", last.until));
            return Err(Fault::new(
                Code::ReceiptPeriod,
                format!("{until} is not over, or lies before the last close{end}"),
            ));
        }
        // Where the coordinator ended the period, so that both speak of the same leaves.
        let charged = books.ledger.charges().find(|c| c.charge.period.until == until).map(|c| c.charge.period.end);
        let end = charged.unwrap_or_else(|| books.ledger.end(until, size));
        let (first, from) = last.map_or((0, UnixMillis(0)), |last| (last.end, last.until));
        books.ledger.close(&us, Period { first, end: end.max(first), from, until })?
    };
    // Whoever signed before signs nothing new.
    let leaf = say(party, client, out, close.clone()).await?;
    let period = close.period;
    out.text(format!("{} {leaf}", out.say("signed, leaf", "已签署，叶")));
    out.text(format!(
        "{}: {}  {}: {}..{}",
        out.say("own attestations", "本方证明"),
        close.count,
        out.say("leaves", "叶"),
        period.first,
        period.end
    ));
    let rows: Vec<Vec<String>> =
        close.sums.iter().map(|s| vec![s.contract.short(), s.unit.word().into(), s.quantity.to_string()]).collect();
    out.table(&[out.say("contract", "合同"), out.say("unit", "计量单位"), out.say("quantity", "数量")], &rows);
    if let Some(lines) = close.disputed {
        out.text(format!("{}: {lines}", left_out(out)));
    }
    let sums = |s: &tacit_receipts::money::UnitSum| json!({"contract": s.contract.to_string(), "unit": s.unit.word(), "quantity": s.quantity});
    out.value(&json!({
        "leaf": leaf, "first_leaf": period.first, "end_leaf": period.end, "until": until.0, "count": close.count,
        "first_seq": close.first_seq, "last_seq": close.last_seq, "sums": close.sums.iter().map(sums).collect::<Vec<_>>(),
        "disputed_lines": close.disputed.unwrap_or_default(),
    }));
    Ok(())
}

/// What lines are on which observers differ.
fn left_out(out: &Out) -> &'static str {
    out.say("lines left out, observers differ", "计数方所计不一而未计入的行")
}

/// The ends of the periods that were charged, in order: a period's number is its place here.
fn ends(books: &Books) -> Vec<UnixMillis> {
    let ends: BTreeSet<UnixMillis> = books.ledger.charges().map(|c| c.charge.period.until).collect();
    ends.into_iter().collect()
}

fn currency(books: &Books, charge: &Charge) -> String {
    books.ledger.plan_in_force(&charge.plan).map_or_else(|| "?".to_owned(), |plan| plan.currency.clone())
}

fn list(books: &Books, out: &Out) -> Result<(), Fault> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (number, until) in (1usize..).zip(ends(books)) {
        let charges: Vec<ChargeView<'_>> = books.ledger.charges().filter(|c| c.charge.period.until == until).collect();
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for c in &charges {
            let sum = sums.entry(currency(books, c.charge)).or_default();
            *sum = sum.saturating_add(c.charge.due);
        }
        let shown: Vec<String> = sums.iter().map(|(currency, fen)| money(*fen, currency)).collect();
        let unsettled = charges.iter().filter(|c| c.settled.is_none()).count();
        let closed: Vec<String> = books
            .trust
            .parties
            .iter()
            .filter(|p| books.ledger.closed(&p.key).is_some_and(|period| period.until >= until))
            .map(|p| p.name.to_string())
            .collect();
        let first = charges.iter().map(|c| c.charge.period.first).min().unwrap_or_default();
        let end = charges.iter().map(|c| c.charge.period.end).max().unwrap_or_default();
        rows.push(vec![
            number.to_string(),
            until.to_string(),
            format!("{first}..{end}"),
            charges.len().to_string(),
            shown.join(", "),
            unsettled.to_string(),
            closed.join(", "),
        ]);
        values.push(json!({
            "number": number, "until": until.0, "first_leaf": first, "end_leaf": end, "unsettled": unsettled, "closed_by": closed,
            "charges": charges.iter().map(|c| c.at.index).collect::<Vec<_>>(),
            "due": sums.iter().map(|(currency, fen)| (currency.clone(), Value::from(decimal(*fen)))).collect::<serde_json::Map<_, _>>(),
        }));
    }
    let head = [
        "#",
        out.say("until", "截止"),
        out.say("leaves", "叶"),
        out.say("charges", "费用"),
        out.say("due", "应付"),
        out.say("unsettled", "未结算"),
        out.say("closed by", "已结账方"),
    ];
    out.table(&head, &rows);
    out.value(&values);
    Ok(())
}

fn item(out: &Out, line: &ChargeLine) -> String {
    let what = match line.item {
        Item::Use => out.say("use", "用量"),
        Item::Subscription => out.say("subscription", "订阅费"),
        Item::Minimum => out.say("up to the minimum", "补足最低"),
        Item::Maximum => out.say("down to the maximum", "降至最高"),
        Item::Permitted => out.say("down to the permitted revenue", "降至许可收入"),
    };
    line.unit.map_or_else(|| what.to_owned(), |unit| format!("{} {what}", unit.word()))
}

/// Charges with their lines.
pub(super) fn charges(books: &Books, out: &Out, number: Option<usize>) -> Result<(), Fault> {
    let until = match number {
        None => None,
        Some(number) => {
            let end = number.checked_sub(1).and_then(|i| ends(books).get(i).copied());
            let unknown =
                || Fault::new(Code::ArgsInvalid, format!("there is no period {number}; see `tacit period list`"));
            Some(end.ok_or_else(unknown)?)
        }
    };
    let wanted: Vec<ChargeView<'_>> =
        books.ledger.charges().filter(|c| until.is_none_or(|until| c.charge.period.until == until)).collect();
    let mut rows = Vec::new();
    for c in &wanted {
        let plan = books.ledger.plan_in_force(&c.charge.plan);
        let payer = plan.map_or_else(String::new, |p| books.name(&p.payer));
        let currency = currency(books, c.charge);
        let blank = || vec![String::new(); 3];
        let mut first = vec![c.at.index.to_string(), payer, c.charge.period.until.to_string()];
        for line in &c.charge.lines {
            let mut row = std::mem::replace(&mut first, blank());
            row.extend([item(out, line), line.quantity.to_string(), decimal(line.fen)]);
            rows.push(row);
        }
        if c.charge.before > 0 {
            let mut row = std::mem::replace(&mut first, blank());
            row.extend([
                out.say("charged before", "此前已计").to_owned(),
                String::new(),
                decimal(-signed(c.charge.before)),
            ]);
            rows.push(row);
        }
        if let Some(lines) = c.charge.disputed {
            let mut row = std::mem::replace(&mut first, blank());
            row.extend([left_out(out).to_owned(), lines.to_string(), String::new()]);
            rows.push(row);
        }
        let mut row = first;
        row.extend([out.say("due", "应付").to_owned(), String::new(), money(c.charge.due, &currency)]);
        rows.push(row);
        for share in &c.charge.shares {
            let to = format!("→ {}", books.name(&share.party));
            rows.push([blank(), vec![to, String::new(), decimal(share.fen)]].concat());
        }
    }
    let head = [
        out.say("leaf", "叶"),
        out.say("payer", "付款方"),
        out.say("period until", "周期截止"),
        out.say("what", "项目"),
        out.say("quantity", "数量"),
        out.say("amount", "金额"),
    ];
    out.table(&head, &rows);
    out.value(&wanted.iter().map(|c| charge_view(books, c)).collect::<Vec<_>>());
    Ok(())
}

fn charge_view(books: &Books, view: &ChargeView<'_>) -> Value {
    let c = view.charge;
    let line = |l: &ChargeLine| json!({"item": format!("{:?}", l.item).to_lowercase(), "unit": l.unit.map(|u| u.word()), "quantity": l.quantity, "fen": l.fen});
    json!({
        "leaf": view.at.index, "hash": view.at.hash.to_string(), "plan": c.plan.to_string(), "settled": view.settled,
        "payer": books.ledger.plan_in_force(&c.plan).map(|p| books.name(&p.payer)), "currency": currency(books, c),
        "first_leaf": c.period.first, "end_leaf": c.period.end, "until": c.period.until.0, "as_of": c.as_of,
        "lines": c.lines.iter().map(line).collect::<Vec<_>>(), "total_fen": c.total, "before_fen": c.before, "due_fen": c.due,
        "shares": c.shares.iter().map(|s| json!({"party": books.name(&s.party), "fen": s.fen})).collect::<Vec<_>>(),
        "causes": c.causes, "disputed_lines": c.disputed.unwrap_or_default(),
    })
}

/// The settlements in the log that stand.
fn all_settlements(books: &Books) -> Vec<(u64, tacit_types::Hash, Settlement)> {
    let taken: BTreeSet<u64> = books.ledger.charges().filter_map(|c| c.settled).collect();
    let read = |leaf: u64| {
        let bytes = usize::try_from(leaf).ok().and_then(|i| books.leaves.get(i))?;
        match Leaf::read(bytes) {
            Ok(Leaf::Money(_, money)) => match *money {
                Money::Settlement(settlement) => Some((leaf, leaf_hash(bytes), settlement)),
                _ => None,
            },
            _ => None,
        }
    };
    taken.into_iter().filter_map(read).collect()
}

pub(super) fn settlements(books: &Books, out: &Out, command: &SettlementCommand) -> Result<(), Fault> {
    let all = all_settlements(books);
    // How many lines its charges leave out, in all.
    let disputed = |s: &Settlement| -> u64 {
        let taken = |c: &ChargeView<'_>| s.charges.iter().any(|of| of.index == c.at.index);
        books.ledger.charges().filter(taken).filter_map(|c| c.charge.disputed).fold(0, u64::saturating_add)
    };
    let value = |(leaf, hash, s): &(u64, tacit_types::Hash, Settlement)| {
        json!({
            "disputed_lines": disputed(s),
            "leaf": leaf, "hash": hash.to_string(), "currency": s.currency, "charges": s.charges.iter().map(|c| c.index).collect::<Vec<_>>(),
            "positions": s.positions.iter().map(|p| json!({"party": books.name(&p.party), "fen": p.fen})).collect::<Vec<_>>(),
            "payments": s.transfers.iter().map(|t| json!({"from": books.name(&t.from), "to": books.name(&t.to), "fen": t.fen})).collect::<Vec<_>>(),
        })
    };
    let party = out.say("party", "参与方");
    match command {
        SettlementCommand::List => {
            let row = |(leaf, _, s): &(u64, tacit_types::Hash, Settlement)| {
                let positions: Vec<String> =
                    s.positions.iter().map(|p| format!("{} {}", books.name(&p.party), decimal(p.fen))).collect();
                vec![leaf.to_string(), s.currency.clone(), s.charges.len().to_string(), positions.join(", ")]
            };
            let head = [
                out.say("leaf", "叶"),
                out.say("currency", "币种"),
                out.say("charges", "费用"),
                out.say("positions", "净额"),
            ];
            out.table(&head, &all.iter().map(row).collect::<Vec<_>>());
            out.value(&all.iter().map(value).collect::<Vec<_>>());
        }
        SettlementCommand::Show { leaf } => {
            let found = all.iter().find(|(at, _, _)| at == leaf);
            let found =
                found.ok_or_else(|| Fault::new(Code::ReceiptUnknown, format!("leaf {leaf} is no settlement")))?;
            let (at, hash, s) = found;
            out.text(format!("{} {at}  {hash}", out.say("leaf", "叶")));
            let charges: Vec<String> = s.charges.iter().map(|c| c.index.to_string()).collect();
            out.text(format!("{}: {}", out.say("charges of leaves", "费用所在叶"), charges.join(", ")));
            if disputed(s) > 0 {
                out.text(format!("{}: {}", left_out(out), disputed(s)));
            }
            let positions: Vec<Vec<String>> =
                s.positions.iter().map(|p| vec![books.name(&p.party), money(p.fen, &s.currency)]).collect();
            out.table(&[party, out.say("gets (below zero: gives)", "应收（负数为应付）")], &positions);
            let payments: Vec<Vec<String>> = s
                .transfers
                .iter()
                .map(|t| vec![books.name(&t.from), books.name(&t.to), money(signed(t.fen), &s.currency)])
                .collect();
            out.table(&[out.say("from", "付款方"), out.say("to", "收款方"), out.say("amount", "金额")], &payments);
            out.value(&value(found));
        }
    }
    Ok(())
}
