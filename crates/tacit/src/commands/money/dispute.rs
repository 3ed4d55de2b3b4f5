//! `dispute open`, `answer`, `resolve`, `list`.

use serde_json::{Value, json};
use tacit_node::Client;
use tacit_receipts::money::ledger::DisputeView;
use tacit_receipts::money::statement::MONEY_VERSION;
use tacit_receipts::money::{About, Answer, Correction, Dispute, Outcome, Ruling};
use tacit_receipts::{Leaf, Money, UsageRecord};
use tacit_types::{Code, Fault, Hash, NodeId};

use super::args::{OpenArgs, ResolveArgs};
use super::{Books, DisputeCommand, evidence, say};
use crate::commands::receipt::differing;
use crate::home::Party;
use crate::output::Out;

pub(super) async fn run(
    party: &Party,
    client: &Client,
    books: &Books,
    out: &Out,
    command: &DisputeCommand,
) -> Result<(), Fault> {
    match command {
        DisputeCommand::Open(args) => open(party, client, books, out, args).await,
        DisputeCommand::Answer { dispute, line, reason, evidence: files } => {
            let (evidence, mut leaves) = (evidence(files)?, Vec::new());
            for found in find(books, *dispute, *line, &party.keys.node_id)? {
                let body = Answer {
                    version: MONEY_VERSION,
                    origin: books.trust.origin.clone(),
                    dispute: found.at,
                    reason: reason.clone(),
                    evidence: evidence.clone(),
                    about: about(&found),
                };
                leaves.push(say(party, client, out, body).await?);
            }
            let places: Vec<String> = leaves.iter().map(u64::to_string).collect();
            out.text(format!("{} {}", out.say("answered, leaf", "已答复，叶"), places.join(", ")));
            out.value(&json!({"leaf": leaves.first(), "leaves": leaves, "dispute": dispute, "line": line}));
            Ok(())
        }
        DisputeCommand::Resolve(args) => resolve(party, client, books, out, args).await,
        DisputeCommand::List => list(books, out),
    }
}

/// The disputes that a command means: that of a leaf; or of a receipt's line on which observers differ those under the plans in
/// which this party has a say.
fn find(books: &Books, leaf: u64, line: Option<u32>, us: &NodeId) -> Result<Vec<DisputeView>, Fault> {
    let wrong = |what: String| Err(Fault::new(Code::ReceiptDispute, what));
    let of_leaf = books.ledger.disputes_at(leaf);
    if line.is_none() && of_leaf.iter().any(|d| d.automatic) {
        return wrong(format!("leaf {leaf} is a receipt: name the line on which observers differ with --line"));
    }
    let says = |d: &DisputeView| {
        let plan = books.ledger.plan_in_force(&d.plan);
        d.by.contains(us) || plan.is_some_and(|p| p.arbiter == Some(*us) || p.signers().any(|s| s == us))
    };
    let meant = |d: &DisputeView| if d.automatic { d.line == line && says(d) } else { line.is_none() };
    let found: Vec<DisputeView> = of_leaf.into_iter().filter(meant).collect();
    match (found.is_empty(), line) {
        (false, _) => Ok(found),
        (true, None) => wrong(format!("leaf {leaf} is no dispute")),
        (true, Some(line)) => wrong(format!("line {line} of leaf {leaf} is in no dispute of this party's")),
    }
}

/// What names a dispute beside its leaf.
fn about(dispute: &DisputeView) -> Option<About> {
    dispute.line.filter(|_| dispute.automatic).map(|line| About { plan: dispute.plan, line })
}

async fn open(party: &Party, client: &Client, books: &Books, out: &Out, args: &OpenArgs) -> Result<(), Fault> {
    let us = party.keys.node_id;
    let unknown = || Fault::new(Code::ReceiptUnknown, format!("leaf {} is no receipt", args.receipt));
    let (contracts, _, original) = books.ledger.receipt_at(args.receipt).ok_or_else(unknown)?;
    let plans: Vec<Hash> = contracts
        .iter()
        .flat_map(|contract| books.ledger.plans_of(contract))
        .filter(|(_, plan, since)| *since < args.receipt && plan.signers().any(|s| *s == us))
        .map(|(id, _, _)| *id)
        .collect();
    if plans.is_empty() {
        let what = format!("leaf {} is under no price plan of this party", args.receipt);
        return Err(Fault::new(Code::ReceiptUnagreed, what));
    }
    let (evidence, mut leaves) = (evidence(&args.evidence)?, Vec::new());
    for plan in plans {
        let body = Dispute {
            version: MONEY_VERSION,
            origin: books.trust.origin.clone(),
            plan,
            original,
            line: args.line,
            reason: args.reason.clone(),
            evidence: evidence.clone(),
        };
        leaves.push(say(party, client, out, body).await?);
    }
    for leaf in &leaves {
        out.text(format!("{} {leaf}", out.say("on hold from here, dispute of leaf", "自此暂停计费，异议所在叶")));
    }
    out.value(&json!({
        "dispute": leaves.first(), "leaves": leaves, "receipt": args.receipt, "line": args.line,
        "evidence": evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }));
    Ok(())
}

/// What was said on a dispute and still stands to be signed or read.
fn said_on(books: &Books, dispute: &DisputeView) -> Vec<(u64, NodeId, Money)> {
    let (at, own) = (dispute.at.index, about(dispute));
    let said = |(leaf, bytes): (u64, &Vec<u8>)| {
        let Ok(Leaf::Money(envelope, money)) = Leaf::read(bytes) else { return None };
        let of = match money.as_ref() {
            Money::Answer(answer) => answer.dispute.index == at && answer.about == own,
            Money::Ruling(ruling) => ruling.dispute.index == at && ruling.about == own,
            Money::Correction(correction) => {
                let same = own.is_none_or(|own| (correction.plan, correction.line) == (own.plan, own.line));
                correction.dispute == Some(at) && same
            }
            _ => false,
        };
        of.then_some((leaf, envelope.signer, *money))
    };
    (0u64..).zip(&books.leaves).filter_map(said).collect()
}

async fn resolve(party: &Party, client: &Client, books: &Books, out: &Out, args: &ResolveArgs) -> Result<(), Fault> {
    let found = find(books, args.dispute, args.line, &party.keys.node_id)?;
    if let Some((ruled, _)) = found.iter().find_map(|dispute| dispute.ruled) {
        return Err(Fault::new(Code::ReceiptDispute, format!("leaf {} was resolved at leaf {ruled}", args.dispute)));
    }
    let mut leaves = Vec::new();
    for dispute in &found {
        leaves.extend(resolve_one(party, client, books, out, args, dispute).await?);
    }
    let places: Vec<String> = leaves.iter().map(u64::to_string).collect();
    out.text(format!("{} {}", out.say("signed, leaf", "已签署，叶"), places.join(", ")));
    out.value(&json!({"dispute": args.dispute, "line": args.line, "leaves": leaves}));
    Ok(())
}

async fn resolve_one(
    party: &Party,
    client: &Client,
    books: &Books,
    out: &Out,
    args: &ResolveArgs,
    dispute: &DisputeView,
) -> Result<Vec<u64>, Fault> {
    let mut leaves = Vec::new();
    if args.agree {
        let us = party.keys.node_id;
        let said = said_on(books, dispute);
        let theirs = said.iter().filter(|(_, by, _)| *by != us);
        // A later proposal takes the place of an earlier one.
        let correction =
            theirs.clone().rev().find_map(|(_, _, m)| if let Money::Correction(c) = m { Some(c) } else { None });
        let ruling = theirs.rev().find_map(|(_, _, m)| if let Money::Ruling(r) = m { Some(r) } else { None });
        let ruling = ruling.ok_or_else(|| Fault::new(Code::ReceiptDispute, "nobody has proposed how it ends"))?;
        if let Some(correction) = correction.filter(|_| ruling.outcome == Outcome::Stands) {
            leaves.push(say(party, client, out, correction.clone()).await?);
        }
        leaves.push(say(party, client, out, ruling.clone()).await?);
    } else {
        let reason = args.reason.clone().unwrap_or_default();
        let outcome = match args.outcome.as_deref().unwrap_or_default() {
            "stands" => Outcome::Stands,
            "void" => Outcome::Void,
            quantity => {
                let correction = correction(books, dispute, quantity, &reason)?;
                leaves.push(say(party, client, out, correction).await?);
                Outcome::Stands
            }
        };
        let (version, origin) = (MONEY_VERSION, books.trust.origin.clone());
        let (evidence, about) = (Vec::new(), about(dispute));
        let ruling = Ruling { version, origin, dispute: dispute.at, outcome, reason, evidence, about };
        leaves.push(say(party, client, out, ruling).await?);
    }
    Ok(leaves)
}

fn correction(books: &Books, dispute: &DisputeView, quantity: &str, reason: &str) -> Result<Correction, Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let quantity: u64 =
        quantity.parse().map_err(|_| invalid(format!("--outcome {quantity}: one of stands, void, a whole number")))?;
    let line = dispute.line.ok_or_else(|| invalid("a quantity is for a dispute of one line".into()))?;
    let lines = books.ledger.lines(&dispute.plan, dispute.receipt);
    let found = lines.iter().find(|(index, _)| *index == line).map(|(_, l)| l.now);
    let was = found.ok_or_else(|| invalid(format!("line {line} has no quantity that could be billed")))?;
    let original = books.ledger.receipt_at(dispute.receipt).map(|(_, _, at)| at);
    let original = original.ok_or_else(|| invalid(format!("leaf {} is no receipt", dispute.receipt)))?;
    Ok(Correction {
        version: MONEY_VERSION,
        origin: books.trust.origin.clone(),
        plan: dispute.plan,
        original,
        line,
        was,
        quantity,
        reason: reason.to_owned(),
        dispute: Some(dispute.at.index),
    })
}

/// What observers counted on whose counts a line is disputed.
fn counts(out: &Out, record: &UsageRecord, line: Option<u32>) -> String {
    let line = line.and_then(|line| usize::try_from(line).ok()).and_then(|line| record.lines.get(line));
    line.map_or_else(String::new, |line| {
        format!("{}: {}", out.say("observers counted otherwise", "计数方所计不同"), differing(record, line))
    })
}

fn word(out: &Out, dispute: &DisputeView) -> &'static str {
    match dispute.ruled {
        None => out.say("open: not billed", "未决：暂不计费"),
        Some((_, Outcome::Stands)) => out.say("resolved: billed", "已决：计费"),
        Some((_, Outcome::Void)) => out.say("resolved: not billed", "已决：不计费"),
    }
}

fn list(books: &Books, out: &Out) -> Result<(), Fault> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for dispute in books.ledger.disputes() {
        let bytes = usize::try_from(dispute.at.index).ok().and_then(|i| books.leaves.get(i));
        let body = bytes.and_then(|bytes| Leaf::read(bytes).ok());
        let (reason, evidence) = match body {
            Some(Leaf::Money(_, money)) => match *money {
                Money::Dispute(d) => (d.reason, d.evidence),
                _ => Default::default(),
            },
            Some(Leaf::Receipt(receipt)) => (counts(out, &receipt.body().record, dispute.line), Vec::new()),
            _ => Default::default(),
        };
        let by = dispute.by.iter().map(|key| books.name(key)).collect::<Vec<_>>().join(", ");
        let line = dispute.line.map_or_else(|| out.say("all", "全部").to_owned(), |l| l.to_string());
        let cells = |leaf: u64, [of, line]: [String; 2], who: String, what: &str, text: &str, files: usize| {
            vec![leaf.to_string(), of, line, who, what.to_owned(), text.to_owned(), files.to_string()]
        };
        let row = |leaf, who: &NodeId, what: &str, text: &str, files| {
            cells(leaf, Default::default(), books.name(who), what, text, files)
        };
        let of = [dispute.receipt.to_string(), line];
        rows.push(cells(dispute.at.index, of, by.clone(), word(out, &dispute), &reason, evidence.len()));
        let said = said_on(books, &dispute);
        rows.extend(said.iter().map(|(leaf, by, m)| match m {
            Money::Answer(a) => row(*leaf, by, out.say("answers", "答复"), &a.reason, a.evidence.len()),
            Money::Ruling(r) if r.outcome == Outcome::Stands => {
                row(*leaf, by, out.say("signs: it stands", "签署：维持"), &r.reason, r.evidence.len())
            }
            Money::Ruling(r) => row(*leaf, by, out.say("signs: it is void", "签署：作废"), &r.reason, r.evidence.len()),
            Money::Correction(c) => {
                let what = format!("{} {} → {}", out.say("corrects", "更正"), c.was, c.quantity);
                row(*leaf, by, &what, &c.reason, 0)
            }
            _ => Vec::new(),
        }));
        values.push(json!({
            "dispute": dispute.at.index, "hash": dispute.at.hash.to_string(), "receipt": dispute.receipt, "line": dispute.line,
            "automatic": dispute.automatic, "by": by, "reason": reason, "evidence": evidence.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "state": match dispute.ruled { None => "open", Some((_, Outcome::Stands)) => "stands", Some((_, Outcome::Void)) => "void" },
            "said": said.iter().map(|(leaf, by, m)| said_view(books, *leaf, by, m)).collect::<Vec<_>>(),
        }));
    }
    let head = [
        out.say("leaf", "叶"),
        out.say("receipt", "凭证"),
        out.say("line", "行"),
        out.say("party", "参与方"),
        out.say("state", "状态"),
        out.say("reason", "理由"),
        out.say("documents", "文件"),
    ];
    out.table(&head, &rows);
    out.value(&values);
    Ok(())
}

fn said_view(books: &Books, leaf: u64, by: &NodeId, money: &Money) -> Value {
    let (what, reason) = match money {
        Money::Answer(a) => ("answer", &a.reason),
        Money::Ruling(r) if r.outcome == Outcome::Stands => ("stands", &r.reason),
        Money::Ruling(r) => ("void", &r.reason),
        Money::Correction(c) => ("correction", &c.reason),
        _ => return Value::Null,
    };
    json!({"leaf": leaf, "by": books.name(by), "what": what, "reason": reason})
}

#[cfg(test)]
mod tests;
