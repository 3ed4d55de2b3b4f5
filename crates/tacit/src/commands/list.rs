//! `list write`, `approve`, `add`, `show`: what is said over the use of a contract beside it.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_governance::grade::Grade;
use tacit_governance::orders::{AlgorithmReview, Denied, NegativeList, RiskAssessment, VectorRun, Verdict};
use tacit_governance::{Order, PartyCard, PartyRole};
use tacit_node::memos::{self, Told};
use tacit_node::store::LackingRow;
use tacit_types::wire::Blob;
use tacit_types::{Code, DatasetVersionId, Fault, Hash, ModelVersionId, Name, NodeId, UnixMillis};

use super::control::{document, root_of};
use super::money::when;
use super::{regrade, review};
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

/// What a file may hold.
const FILES: &str = "\
Example of a list:    kind = \"list\"\n                      name = \"no-minors\"\n                      number = 1\n                      \
reason = \"order 17 of the authority\"\n                      [[items]]\n                      purpose = \"marketing\"\n                      \
column = \"age\"\n\
An item denies a use to which every field that it gives applies: party, purpose, dataset, column, job_kind, model.\n\n\
Example of a review:  kind = \"review\"\n                      job_kind = \"stats/v1\"\n                      verdict = \"approve\"\n                      \
grade_max = \"important\"\n                      vectors = \"vectors.json\"\n                      until = \"2027-12-31\"\n\n\
Example of a risk:    kind = \"risk\"\n                      party = \"institute\"\n                      score = 20\n                      \
report = \"report.pdf\"\n                      until = \"2027-12-31\"\n\n\
Example: tacit list write no-minors.toml --out no-minors.list\n\
Example: tacit list add no-minors.list\n\
The second at each owner.";

#[derive(Subcommand)]
pub enum ListCommand {
    /// Sign a negative list, a review of an algorithm or an assessment of a recipient's risk as this party.
    #[command(after_help = FILES)]
    Write {
        /// The file to read.
        file: PathBuf,
        /// The signed file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Approve or reject, as this party, that an owner grades its data anew.
    #[command(
        after_help = "Example: tacit list approve down --reason 'report read' --out yes\nThe owner takes the file in with `tacit list add yes`. It counts under contracts that let this party approve."
    )]
    Approve {
        /// A file that `data regrade` wrote.
        file: PathBuf,
        /// Reject instead. A rejection stays.
        #[arg(long)]
        reject: bool,
        /// Why.
        #[arg(long)]
        reason: String,
        /// The signed file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take a signed list, review, assessment, revocation, suspension or word on a regrading in at this party's node: it holds from the next admission on.
    #[command(
        after_help = "Example: tacit list add no-minors.list\nA list is taken of this party itself and of a regulator that it knows, reviews and assessments of anybody: they count where a contract names their signer. So are revocations and suspensions, which count where their signer signs the contract, and approvals of a regrading, which count where their signer approves the contract."
    )]
    Add {
        /// A file that `list write`, `list approve`, `contract revoke` or `contract suspend` wrote.
        file: PathBuf,
    },
    /// What this node was told before its database was put back to an older one, and the log has by hash alone: no job is admitted until it is taken in again.
    #[command(
        after_help = "Examples: tacit list lacking\n          tacit list add no-minors.list   (what is lacking, from whoever has the file)\n          tacit list lacking 7 --accept --reason 'the file is lost; contracts were looked through'\nWhat is accepted as lost is denied no more. A memo that the log leaves out has no tag: bring every file again, then accept it."
    )]
    Lacking {
        /// The number of one memo; all of them without it.
        #[arg(requires = "accept")]
        memo: Option<u64>,
        /// Have jobs admitted without what is lacking now.
        #[arg(long, requires = "reason")]
        accept: bool,
        /// Why that may be.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Lists, reviews, assessments and revocations that this node keeps.
    #[command(after_help = "Example: tacit list show --json")]
    Show,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    List {
        name: String,
        number: u64,
        reason: String,
        until: Option<String>,
        items: Vec<WrittenItem>,
    },
    Review {
        job_kind: String,
        model: Option<String>,
        verdict: String,
        grade_max: String,
        vectors: String,
        until: String,
        /// What each vector gave, of a reviewer that ran those of the program by other means than `review run`.
        #[serde(default)]
        runs: Vec<WrittenRun>,
    },
    Risk {
        party: Name,
        score: u8,
        report: String,
        until: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRun {
    name: String,
    /// The hash of the vector and of what it gave.
    result: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenItem {
    /// A name that this party knows, or a root key.
    party: Option<String>,
    purpose: Option<String>,
    dataset: Option<String>,
    column: Option<String>,
    job_kind: Option<String>,
    model: Option<String>,
}

/// Runs a `list` command.
pub async fn run(cli: &Cli, out: &Out, command: &ListCommand) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let done = match command {
        ListCommand::Write { file, out: to } => write(&party, out, file, to).await,
        ListCommand::Approve { file, reject, reason, out: to } => {
            let verdict = if *reject { Verdict::Reject } else { Verdict::Approve };
            let said = regrade::approve(&party, out, file, (verdict, reason), to);
            said.map(|order| {
                out.text(format!("{} {}", out.say("signed:", "已签署："), summary(out, &order)));
                out.value(&view(&order));
            })
        }
        ListCommand::Add { file } => add(&party, out, file).await,
        ListCommand::Lacking { memo, accept, reason } => {
            lacking(&party, out, *memo, reason.as_deref().filter(|_| *accept)).await
        }
        ListCommand::Show => show(&party, out).await,
    };
    party.store.close().await;
    done
}

async fn cards(party: &Party) -> Result<Vec<PartyCard>, Fault> {
    Ok(party.store.parties().await?.into_iter().map(|(_, card, _)| card).collect())
}

async fn write(party: &Party, out: &Out, file: &Path, to: &Path) -> Result<(), Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let named = |f: Fault| Fault::new(f.code, format!("{}: {}", file.display(), f.what));
    let mut known = cards(party).await?;
    // A name that this folder has not met yet is looked up where everyone is.
    if let Ok(client) = party.connect().await {
        known = party.roster(&client).await?.into_iter().map(|(card, _)| card).collect();
        client.close().await;
    }
    let bytes = sign(party, &text, file, &known, tacit_node::now()).map_err(named)?;
    let order = Order::read(&bytes).map_err(named)?;
    std::fs::write(to, &bytes).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
    out.text(format!("{} {}", out.say("signed:", "已签署："), summary(out, &order)));
    out.value(&view(&order));
    Ok(())
}

fn sign(party: &Party, text: &str, file: &Path, cards: &[PartyCard], at: UnixMillis) -> Result<Vec<u8>, Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let written: Written = toml::from_str(text).map_err(|e| invalid(e.to_string().trim().to_owned()))?;
    let key = &party.keys.root;
    Ok(match written {
        Written::List { name, number, reason, until, items } => {
            let until = until.as_deref().map(when::parse).transpose()?;
            let items = items.iter().map(|item| item.denied(cards)).collect::<Result<_, _>>()?;
            let body = NegativeList { name: name.clone(), number, items, reason, until };
            Statement::sign(key, &name, at, None, body).bytes().to_vec()
        }
        Written::Review { job_kind, model, verdict, grade_max, vectors, until, runs } => {
            let verdict = match verdict.as_str() {
                "approve" => Verdict::Approve,
                "reject" => Verdict::Reject,
                other => return Err(invalid(format!("verdict: `{other}`; approve or reject"))),
            };
            let grade = Grade::parse(&grade_max);
            let body = AlgorithmReview {
                kind: job_kind.clone(),
                model: model.as_deref().map(ModelVersionId::from_hex).transpose()?,
                verdict,
                grade_max: grade.ok_or_else(|| invalid(format!("grade_max: `{grade_max}`; general-1 to core")))?,
                vectors: document(file, &vectors)?,
                until: when::parse(&until)?,
                runs: runs
                    .into_iter()
                    .map(|run| Ok(VectorRun { name: run.name, result: Hash::from_hex(&run.result)? }))
                    .collect::<Result<_, Fault>>()?,
            };
            Statement::sign(key, &job_kind, at, None, body).bytes().to_vec()
        }
        Written::Risk { party, score, report, until } => {
            let root = root_of(cards, &party)?;
            let body =
                RiskAssessment { party: root, score, report: document(file, &report)?, until: when::parse(&until)? };
            Statement::sign(key, party.as_str(), at, None, body).bytes().to_vec()
        }
    })
}

impl WrittenItem {
    fn denied(&self, cards: &[PartyCard]) -> Result<Denied, Fault> {
        let party = |text: &String| match text.len() {
            64 => NodeId::from_hex(text),
            _ => root_of(cards, &Name::new(text)?),
        };
        Ok(Denied {
            party: self.party.as_ref().map(party).transpose()?,
            purpose: self.purpose.clone(),
            dataset: self.dataset.as_deref().map(DatasetVersionId::from_hex).transpose()?,
            column: self.column.clone(),
            kind: self.job_kind.clone(),
            model: self.model.as_deref().map(ModelVersionId::from_hex).transpose()?,
        })
    }
}

async fn add(party: &Party, out: &Out, file: &Path) -> Result<(), Fault> {
    let bytes = std::fs::read(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let order = Order::read(&bytes).map_err(|f| Fault::new(f.code, format!("{}: {}", file.display(), f.what)))?;
    if let Order::List(list) = &order
        && list.signer() != party.keys.root.id()
    {
        let regulator =
            |cards: &[PartyCard]| cards.iter().any(|c| c.root == list.signer() && c.role == PartyRole::Regulator);
        if !regulator(&cards(party).await?) {
            // The regulator may have joined since: its card is asked for once.
            let client = party.connect().await?;
            let roster: Vec<_> = party.roster(&client).await?.into_iter().map(|(card, _)| card).collect();
            client.close().await;
            if !regulator(&roster) {
                let what = format!("{} is neither this party nor a regulator that it knows", list.signer().short());
                return Err(Fault::new(Code::ArgsInvalid, what));
            }
        }
    }
    if let Order::Regrading(regrading) = &order
        && regrading.signer() != party.keys.root.id()
    {
        return Err(Fault::new(Code::ArgsInvalid, "a regrading of another owner's data"));
    }
    let told = Told::Order(Blob(order.bytes().to_vec())).bytes();
    party.store.put_told(&order, &memos::tag(&party.keys.seal, &told), tacit_node::now()).await?;
    out.text(format!("{} {}", out.say("taken in:", "已录入："), summary(out, &order)));
    let mut shown = view(&order);
    if let Order::Review(review) = &order {
        let differs = review::differs(review.body());
        if let Some(vector) = &differs {
            out.text(review::warning(out, vector));
        }
        shown["differs"] = differs.into();
    }
    out.value(&shown);
    Ok(())
}

/// Lists what the log has by hash alone, or leaves out, or accepts that it is lost.
async fn lacking(party: &Party, out: &Out, memo: Option<u64>, accept: Option<&str>) -> Result<(), Fault> {
    if let Some(reason) = accept {
        party.store.accept_lacking(memo, reason, tacit_node::now()).await?;
    }
    let rows = party.store.lacking().await?;
    let row = |row: &LackingRow| {
        let state = match &row.accepted {
            Some((at, reason)) => format!("{} {at}: {reason}", out.say("accepted as lost", "已确认遗失")),
            None => out.say("no job is admitted", "不接受任何作业").to_owned(),
        };
        let left_out = || out.say("left out by the log", "日志中缺失").to_owned();
        vec![row.number.to_string(), row.tag.map_or_else(left_out, |tag| tag.to_string()), state]
    };
    let head = [out.say("memo", "备忘"), out.say("tag", "标记"), out.say("state", "状态")];
    out.table(&head, &rows.iter().map(row).collect::<Vec<_>>());
    let list = rows.iter().map(|row| {
        json!({"number": row.number, "tag": row.tag.map(|tag| tag.to_string()), "waits": row.accepted.is_none(),
            "accepted": row.accepted.as_ref().map(|(at, reason)| json!({"at": at.0, "reason": reason}))})
    });
    out.value(&list.collect::<Vec<_>>());
    Ok(())
}

async fn show(party: &Party, out: &Out) -> Result<(), Fault> {
    let orders = party.store.orders().await?;
    let known = cards(party).await?;
    let name = |key: NodeId| match known.iter().find(|c| c.root == key) {
        Some(card) => card.name.to_string(),
        None if key == party.keys.root.id() => party.config.name.to_string(),
        None => key.short(),
    };
    let rows: Vec<Vec<String>> = orders.iter().map(|o| vec![name(o.signer()), summary(out, o)]).collect();
    out.table(&[out.say("signed by", "签署方"), out.say("what", "内容")], &rows);
    out.value(&orders.iter().map(view).collect::<Vec<_>>());
    Ok(())
}

pub(super) fn summary(out: &Out, order: &Order) -> String {
    let until = |t: UnixMillis| format!("{} {t}", out.say("until", "有效至"));
    match order {
        Order::List(s) => {
            let list = s.body();
            let kind = out.say("negative list", "负面清单");
            let end = list.until.map_or(String::new(), |t| format!(", {}", until(t)));
            let items = out.say("items", "项");
            format!("{kind} {} {}: {} {items}, {}{end}", list.name, list.number, list.items.len(), list.reason)
        }
        Order::Review(s) => {
            let review = s.body();
            let verdict = match review.verdict {
                Verdict::Approve => out.say("approved", "通过"),
                Verdict::Reject => out.say("rejected", "不通过"),
            };
            let model = review.model.map_or(String::new(), |m| format!(" {}", m.short()));
            let kind = out.say("algorithm review", "算法审查");
            format!("{kind} {}{model}: {verdict}, {}, {}", review.kind, review.grade_max.word(), until(review.until))
        }
        Order::Risk(s) => {
            let risk = s.body();
            let kind = out.say("risk assessment", "风险评估");
            format!("{kind} {}: {}, {}", risk.party.short(), risk.score, until(risk.until))
        }
        Order::Revocation(s) => {
            let said = s.body();
            let kind = match said.until {
                None => out.say("revocation", "撤销").to_owned(),
                Some(t) => format!("{} {}", out.say("suspension", "中止"), until(t)),
            };
            format!("{kind} {}: {}", said.contract.short(), said.reason)
        }
        Order::Regrading(s) => regrade::summary(out, s.body()),
        Order::RegradingApproval(s) => {
            let said = s.body();
            let verdict = match said.verdict {
                Verdict::Approve => out.say("regrading approved", "批准重新定级"),
                Verdict::Reject => out.say("regrading rejected", "否决重新定级"),
            };
            format!("{verdict} {}: {}", said.regrading.short(), said.reason)
        }
    }
}

fn view(order: &Order) -> Value {
    let signer = order.signer().to_string();
    match order {
        Order::List(s) => {
            let list = s.body();
            let items: Vec<_> = list
                .items
                .iter()
                .map(|i| {
                    json!({"party": i.party.map(|p| p.to_string()), "purpose": i.purpose, "column": i.column,
                        "dataset": i.dataset.map(|d| d.to_string()), "job_kind": i.kind,
                        "model": i.model.map(|m| m.to_string())})
                })
                .collect();
            json!({"kind": "list", "signer": signer, "name": list.name, "number": list.number, "reason": list.reason,
                "items": items, "until": list.until.map(|t| t.0)})
        }
        Order::Review(s) => {
            let said = s.body();
            let verdict = if said.verdict == Verdict::Approve { "approve" } else { "reject" };
            json!({"kind": "review", "signer": signer, "job_kind": said.kind, "model": said.model.map(|m| m.to_string()),
                "verdict": verdict, "grade_max": said.grade_max.word(), "vectors": said.vectors.to_string(),
                "until": said.until.0, "runs": review::runs(&said.runs)})
        }
        Order::Risk(s) => {
            let risk = s.body();
            json!({"kind": "risk", "signer": signer, "party": risk.party.to_string(), "score": risk.score,
                "report": risk.report.to_string(), "until": risk.until.0})
        }
        Order::Revocation(s) => {
            let said = s.body();
            json!({"kind": "revocation", "signer": signer, "contract": said.contract.to_string(), "reason": said.reason,
                "until": said.until.map(|t| t.0)})
        }
        Order::Regrading(s) => {
            let body = s.body();
            json!({"kind": order.word(), "signer": signer, "dataset": body.dataset.to_string(), "column": body.column,
                "number": body.number, "from": body.from.word(), "to": body.to.word(),
                "evidence": body.evidence.to_string(), "reason": body.reason})
        }
        Order::RegradingApproval(s) => {
            let said = s.body();
            let verdict = if said.verdict == Verdict::Approve { "approve" } else { "reject" };
            json!({"kind": order.word(), "signer": signer, "regrading": said.regrading.to_string(), "verdict": verdict,
                "reason": said.reason})
        }
    }
}

/// Whether every example in the help is a file that `list write` reads.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_help_are_files() {
        let mut files = Vec::new();
        for part in FILES.split("Example of a ").skip(1) {
            let file = part.split_once(':').unwrap().1;
            let file = file.split("\n\n").next().unwrap().split("\nAn item").next().unwrap();
            files.push(toml::from_str::<Written>(file).unwrap_or_else(|e| panic!("{file}: {e}")));
        }
        assert!(matches!(files[..], [Written::List { .. }, Written::Review { .. }, Written::Risk { .. }]));
        assert!(toml::from_str::<Written>("kind = \"risk\"\nparty = \"a\"\n").is_err());
    }
}
