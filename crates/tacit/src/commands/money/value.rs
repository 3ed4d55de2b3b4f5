//! `value ask`, `draft`, `sign`, `list`: what coalitions of payees are worth, for divisions by worth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tacit_crypto::{cbor, sha256};
use tacit_node::Client;
use tacit_receipts::money::ledger::Cut;
use tacit_receipts::money::statement::MONEY_VERSION;
use tacit_receipts::money::{CoalitionValue, Period, PricePlan, Split, Usage, Valuation, coalitions, share};
use tacit_receipts::{Leaf, Money, SeenCheckpoint};
use tacit_types::{Code, Fault, Hash, NodeId, UnixMillis};

use super::when::parse as parse_time;
use super::{Books, ValueCommand, say, write};
use crate::commands::contract::{contracts, pick};
use crate::home::Party;
use crate::output::Out;

/// What stands between the names of a coalition.
const AND: char = '+';
/// Bytes of a file with values.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a person fills in. Everything but the values is as `value ask` wrote it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The hash of the price plan.
    plan: String,
    first: u64,
    end: u64,
    from_ms: u64,
    until_ms: u64,
    /// The witnessed checkpoint from which orders of arrival are drawn, for sampling.
    checkpoint: Option<String>,
    /// By coalition: names with a plus between them.
    values: BTreeMap<String, u64>,
}

pub(super) async fn run(
    party: &Party,
    client: &Client,
    books: &Books,
    out: &Out,
    command: &ValueCommand,
) -> Result<(), Fault> {
    match command {
        ValueCommand::Ask { contract, until, out: file } => {
            let known = contracts(party, client).await?;
            let contract = pick(&known, contract)?.id();
            let plan = books.ledger.plans_of(&contract).next().map(|(id, plan, _)| (*id, plan.clone()));
            let none = || Fault::new(Code::ReceiptUnagreed, "no price plan of the contract is in force");
            let (id, plan) = plan.ok_or_else(none)?;
            ask(books, out, (id, &plan), parse_time(until)?, file)
        }
        ValueCommand::Draft { file } => {
            let valuation = draft(books, &read(file)?)?;
            signed(party, client, books, out, valuation).await
        }
        ValueCommand::Sign { leaf } => {
            let none = || Fault::new(Code::ReceiptUnknown, format!("leaf {leaf} is no valuation"));
            let found = all(books).into_iter().find(|(at, _, _)| at == leaf).ok_or_else(none)?;
            signed(party, client, books, out, found.2).await
        }
        ValueCommand::List => list(books, out),
    }
}

fn invalid(what: impl Into<String>) -> Fault {
    Fault::new(Code::ArgsInvalid, what)
}

/// Writes a file with every coalition that the division looks at, for a person to fill in.
fn ask(books: &Books, out: &Out, (id, plan): (Hash, &PricePlan), until: UnixMillis, file: &Path) -> Result<(), Fault> {
    if !plan.split.needs_valuation() {
        return Err(Fault::new(Code::ReceiptPlan, "the division of this plan is not by worth"));
    }
    let as_of = books.leaves.len() as u64;
    let none = || Fault::new(Code::ReceiptPeriod, format!("nothing is left to charge before {until}"));
    let period = books.ledger.upcoming(&id, Cut { until, as_of }).ok_or_else(none)?;
    let sampled = matches!(plan.split, Split::ShapleySampled { .. });
    let checkpoint = sampled.then(|| String::from_utf8_lossy(&books.checkpoint).into_owned());
    let seed = checkpoint.as_deref().map(|note| seed(books, note)).transpose()?;
    let wanted = coalitions(plan, &period, seed.as_ref());
    let written = Written {
        plan: id.to_string(),
        first: period.first,
        end: period.end,
        from_ms: period.from.0,
        until_ms: period.until.0,
        checkpoint,
        values: wanted.iter().map(|c| (named(books, plan, *c), 0)).collect(),
    };
    let body = toml::to_string(&written).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
    let head = "# What each coalition of payees is worth, in a scale of the parties' own: fill in the values.\n\
                # 填写各付款方联盟的价值（单位由各方自定），其余内容请勿改动。\n";
    write(file, format!("{head}{body}").as_bytes())?;
    out.text(format!("{}: {} {}", file.display(), wanted.len(), out.say("coalitions to fill in", "个联盟待填写")));
    out.value(&json!({"file": file.display().to_string(), "plan": id.to_string(), "coalitions": wanted.len()}));
    Ok(())
}

/// The checkpoint of a note, when the log and its witnesses signed it.
fn seed(books: &Books, note: &str) -> Result<SeenCheckpoint, Fault> {
    let chain = books.trust.chain()?;
    let (signed, held) = chain.open(note.as_bytes())?;
    let cosigned = books.trust.witness_quorum()?.check(signed.note())?;
    let head = signed.checkpoint();
    chain.check_held(&held, cosigned.latest(), head.size)?;
    Ok(SeenCheckpoint { size: head.size, root: head.root })
}

fn named(books: &Books, plan: &PricePlan, coalition: u32) -> String {
    let mut names: Vec<String> = (0u32..)
        .zip(&plan.payees)
        .filter(|(i, _)| coalition & 1u32.checked_shl(*i).unwrap_or_default() != 0)
        .map(|(_, key)| books.name(key))
        .collect();
    names.sort_unstable();
    names.join(&AND.to_string())
}

fn read(file: &Path) -> Result<Written, Fault> {
    let failed = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{}: {e}", file.display()));
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(invalid(format!("{}: over {FILE_BYTES_MAX} bytes", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    toml::from_str(&text).map_err(|e| invalid(format!("{}: {}", file.display(), e.to_string().trim())))
}

/// The valuation of a file: exactly the coalitions that the plan looks at.
fn draft(books: &Books, written: &Written) -> Result<Valuation, Fault> {
    let id = Hash::from_hex(&written.plan)?;
    let unknown = || Fault::new(Code::ReceiptUnagreed, format!("price plan {} is not in force", id.short()));
    let plan = books.ledger.plan_in_force(&id).ok_or_else(unknown)?;
    let (from, until) = (UnixMillis(written.from_ms), UnixMillis(written.until_ms));
    let period = Period { first: written.first, end: written.end, from, until };
    let seed = written.checkpoint.as_deref().map(|note| seed(books, note)).transpose()?;
    let places: BTreeMap<String, u32> = (0u32..).zip(&plan.payees).map(|(i, key)| (books.name(key), i)).collect();
    let mut values = BTreeMap::new();
    for (names, value) in &written.values {
        let mut coalition = 0u32;
        for name in names.split(AND) {
            let place = places.get(name.trim()).ok_or_else(|| invalid(format!("{names}: {name} is no payee")))?;
            coalition |= 1u32.checked_shl(*place).unwrap_or_default();
        }
        if values.insert(coalition, *value).is_some() {
            return Err(invalid(format!("{names}: the same coalition stands there twice")));
        }
    }
    let wanted: BTreeSet<u32> = coalitions(plan, &period, seed.as_ref());
    if let Some(coalition) = wanted.iter().find(|c| !values.contains_key(c)) {
        return Err(invalid(format!("{} has no value", named(books, plan, *coalition))));
    }
    if let Some(coalition) = values.keys().find(|c| !wanted.contains(c)) {
        return Err(invalid(format!("{} is not looked at by the division", named(books, plan, *coalition))));
    }
    let valuation = Valuation {
        version: MONEY_VERSION,
        origin: books.trust.origin.clone(),
        plan: id,
        period,
        seed,
        values: values.into_iter().map(|(coalition, value)| CoalitionValue { coalition, value }).collect(),
        note: written.checkpoint.as_ref().map(|note| note.clone().into_bytes().into()),
    };
    valuation.check()?;
    Ok(valuation)
}

async fn signed(party: &Party, client: &Client, books: &Books, out: &Out, valuation: Valuation) -> Result<(), Fault> {
    let parts = parts(books, &valuation);
    let leaf = say(party, client, out, valuation).await?;
    out.text(format!("{} {leaf}", out.say("signed, leaf", "已签署，叶")));
    parts.iter().for_each(|(name, ppm)| out.text(format!("  {name} {}.{:04} %", ppm / 10_000, ppm % 10_000)));
    out.value(&json!({"leaf": leaf, "parts_ppm": parts}));
    Ok(())
}

/// How a million would be divided by a valuation, the commission aside.
fn parts(books: &Books, valuation: &Valuation) -> BTreeMap<String, u64> {
    let Some(plan) = books.ledger.plan_in_force(&valuation.plan) else { return BTreeMap::new() };
    let plan = PricePlan { commission: None, ..plan.clone() };
    let shares = share(&plan, 1_000_000, &Usage::default(), Some(valuation)).unwrap_or_default();
    shares.into_iter().map(|s| (books.name(&s.party), s.fen)).collect()
}

/// Every valuation in the log: its leaf, who signed it, what it says. One that several signed is there several times.
fn all(books: &Books) -> Vec<(u64, NodeId, Valuation)> {
    let one = |(leaf, bytes): (u64, &Vec<u8>)| match Leaf::read(bytes) {
        Ok(Leaf::Money(envelope, money)) => match *money {
            Money::Valuation(valuation) => Some((leaf, envelope.signer, valuation)),
            _ => None,
        },
        _ => None,
    };
    (0u64..).zip(&books.leaves).filter_map(one).collect()
}

fn list(books: &Books, out: &Out) -> Result<(), Fault> {
    let mut first: BTreeMap<Hash, (u64, Valuation)> = BTreeMap::new();
    for (leaf, _, valuation) in all(books) {
        first.entry(sha256(&cbor::encode(&valuation))).or_insert((leaf, valuation));
    }
    let mut found: Vec<(u64, Hash, Valuation)> = first.into_iter().map(|(id, (leaf, v))| (leaf, id, v)).collect();
    found.sort_by_key(|(leaf, ..)| *leaf);
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (leaf, id, valuation) in &found {
        let by = books.ledger.signed(id);
        let plan = books.ledger.plan_in_force(&valuation.plan);
        let mut missing: Vec<String> =
            plan.iter().flat_map(|p| p.signers()).filter(|s| !by.contains(*s)).map(|s| books.name(s)).collect();
        missing.sort_unstable();
        let arbitrated = plan.and_then(|p| p.arbiter).is_some_and(|arbiter| by.contains(&arbiter));
        let in_force = plan.is_some() && (missing.is_empty() || arbitrated);
        let state = if in_force { out.say("in force", "生效") } else { out.say("to be signed", "待签署") };
        let parts = parts(books, valuation);
        let shown: Vec<String> =
            parts.iter().map(|(name, ppm)| format!("{name} {}.{:04} %", ppm / 10_000, ppm % 10_000)).collect();
        let until = valuation.period.until;
        rows.push(vec![leaf.to_string(), valuation.plan.short(), until.to_string(), state.into(), shown.join(", ")]);
        values.push(view(books, *leaf, valuation, in_force, (missing.as_slice(), &parts)));
    }
    let head = [
        out.say("leaf", "叶"),
        out.say("plan", "价格方案"),
        out.say("period until", "周期止"),
        out.say("state", "状态"),
        out.say("parts", "份额"),
    ];
    out.table(&head, &rows);
    out.value(&values);
    Ok(())
}

fn view(
    books: &Books,
    leaf: u64,
    valuation: &Valuation,
    in_force: bool,
    (missing, parts): (&[String], &BTreeMap<String, u64>),
) -> Value {
    let plan = books.ledger.plan_in_force(&valuation.plan);
    let name = |coalition| plan.map(|p| named(books, p, coalition)).unwrap_or_default();
    let worth: BTreeMap<String, u64> = valuation.values.iter().map(|v| (name(v.coalition), v.value)).collect();
    json!({
        "leaf": leaf, "plan": valuation.plan.to_string(), "state": if in_force { "in force" } else { "to be signed" },
        "missing": missing, "parts_ppm": parts, "values": worth,
        "period": {"first": valuation.period.first, "end": valuation.period.end,
            "from": valuation.period.from.to_string(), "until": valuation.period.until.to_string()},
        "checkpoint": valuation.seed.map(|s| json!({"size": s.size, "root": s.root.to_string()})),
    })
}
