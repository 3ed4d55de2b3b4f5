//! `receipt promises`: what the coordinator has promised to log and this node has not seen in the log yet.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use tacit_node::promises::evidence_path;
use tacit_node::store::{PromiseRow, PromiseStanding};
use tacit_types::{Code, Fault};

use super::receipt::write;
use crate::cli::Cli;
use crate::home::{Party, folder};
use crate::output::Out;

#[derive(Args)]
pub struct PromisesArgs {
    /// The record's digest or its job's id, or the beginning of either.
    pub promise: Option<String>,
    /// Write that promise to a file, as `tacit log warn --promise` takes it.
    #[arg(long, value_name = "FILE", requires = "promise")]
    pub out: Option<std::path::PathBuf>,
    /// Write promise and log to a file that shows that it was not kept, for `tacit-verify`.
    #[arg(long, value_name = "FILE", requires = "promise")]
    pub evidence: Option<std::path::PathBuf>,
    /// Go on with this coordinator although it was not kept.
    #[arg(long, requires = "promise")]
    pub forgive: bool,
}

/// Lists the promises, or does with one what is asked.
pub async fn run(cli: &Cli, out: &Out, args: &PromisesArgs) -> Result<(), Fault> {
    let party = Party::open(cli).await?;
    let done = on(&folder(cli), &party, out, args).await;
    party.store.close().await;
    done
}

async fn on(home: &Path, party: &Party, out: &Out, args: &PromisesArgs) -> Result<(), Fault> {
    let chosen = |row: &PromiseRow| {
        args.promise.as_ref().is_none_or(|wanted| {
            wanted.len() >= 4 && (row.usage.to_string().starts_with(wanted) || row.job.to_string().starts_with(wanted))
        })
    };
    let mut rows: Vec<PromiseRow> = party.store.promises().await?.into_iter().filter(chosen).collect();
    if args.out.is_none() && args.evidence.is_none() && !args.forgive {
        return list(out, &rows);
    }
    let [row] = rows.as_mut_slice() else {
        let what = format!("{} promises fit; name one by its record or its job", rows.len());
        return Err(Fault::new(Code::ReceiptUnknown, what));
    };
    if let Some(file) = &args.out {
        put(out, file, &row.statement)?;
    }
    if let Some(file) = &args.evidence {
        let kept = evidence_path(home, &row.usage);
        let bytes = std::fs::read(&kept).map_err(|e| {
            let code = if e.kind() == std::io::ErrorKind::NotFound { Code::ReceiptUnknown } else { Code::IoFailed };
            Fault::new(code, format!("{}: {e}", kept.display()))
        })?;
        put(out, file, &bytes)?;
    }
    if args.forgive {
        if !party.store.forgive_promise(&row.usage).await? {
            return Err(Fault::new(Code::ReceiptUnknown, format!("the promise is {}", row.standing.word())));
        }
        row.standing = PromiseStanding::Forgiven;
        out.text(out.say("forgiven; the coordinator's jobs are taken again", "已谅解；将重新接受该协调方的作业"));
    }
    out.value(&line(row));
    Ok(())
}

fn put(out: &Out, file: &Path, bytes: &[u8]) -> Result<(), Fault> {
    write(file, bytes)?;
    out.text(file.display().to_string());
    Ok(())
}

fn list(out: &Out, rows: &[PromiseRow]) -> Result<(), Fault> {
    let standing = |row: &PromiseRow| match row.standing {
        PromiseStanding::Open if row.deadline < tacit_node::now() => out.say("overdue", "已逾期"),
        PromiseStanding::Open => out.say("open", "未到期"),
        PromiseStanding::Unkept => out.say("unkept", "未兑现"),
        PromiseStanding::Forgiven => out.say("forgiven", "已谅解"),
    };
    let head = [out.say("record", "记录"), out.say("job", "作业"), out.say("due", "期限"), out.say("standing", "状态")];
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| vec![row.usage.short(), row.job.short(), row.deadline.to_string(), standing(row).to_owned()])
        .collect();
    out.table(&head, &table);
    out.value(&rows.iter().map(line).collect::<Vec<Value>>());
    Ok(())
}

fn line(row: &PromiseRow) -> Value {
    let standing = match row.standing {
        PromiseStanding::Open if row.deadline < tacit_node::now() => "overdue",
        standing => standing.word(),
    };
    json!({
        "record": row.usage.to_string(), "job": row.job.to_string(), "deadline": row.deadline.0, "standing": standing,
    })
}
