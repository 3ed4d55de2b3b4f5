//! `review run` and `review check`: a reviewer runs the program's own kinds over their test vectors and signs what came out.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_governance::Order;
use tacit_governance::grade::Grade;
use tacit_governance::orders::{AlgorithmReview, VectorRun, Verdict};
use tacit_jobs::review::{self, Reviewed};
use tacit_types::{Code, Fault, ModelVersionId};

use super::list;
use super::money::when;
use crate::cli::Cli;
use crate::home::Party;
use crate::output::Out;

#[derive(Subcommand)]
pub enum ReviewCommand {
    /// Run this program's own implementation of a kind of job over the kind's test vectors, and sign what came out.
    #[command(
        after_help = "Examples: tacit review run stats/v1   (what each vector gives; nothing is signed)\n          tacit --home lab-1 review run stats/v1 --grade-max important --until 2027-12-31 --out stats.review\n          tacit --home bank list add stats.review   (at each owner whose contract names this reviewer)"
    )]
    Run {
        /// The kind with its version, such as `stats/v1`.
        kind: String,
        /// The model version that was reviewed with it.
        #[arg(long, value_name = "ID")]
        model: Option<String>,
        /// The highest grade of data that it may be used on.
        #[arg(long, value_name = "GRADE", requires = "out")]
        grade_max: Option<String>,
        /// Until when the review holds.
        #[arg(long, value_name = "DATE", requires = "out")]
        until: Option<String>,
        /// Reject instead.
        #[arg(long, requires = "out")]
        reject: bool,
        /// The signed file to write.
        #[arg(long, value_name = "FILE", requires = "grade_max", requires = "until")]
        out: Option<PathBuf>,
    },
    /// Run the vectors of a signed review with this program, and say whether the same comes out. Exit status 3 where it does not.
    #[command(after_help = "Example: tacit review check stats.review")]
    Check {
        /// A file that `review run` wrote.
        file: PathBuf,
    },
}

/// Runs a `review` command.
///
/// # Errors
/// `refused.kind`; `args.invalid`; those of the files.
pub async fn run(cli: &Cli, out: &Out, command: &ReviewCommand) -> Result<u8, Fault> {
    match command {
        ReviewCommand::Run { kind, model, grade_max, until, reject, out: to } => {
            let reviewed = review::run(kind)?;
            table(out, &reviewed.runs);
            let signed = match (to, grade_max, until) {
                (Some(to), Some(grade), Some(until)) => {
                    let party = Party::open(cli).await?;
                    let signed = sign(&party, kind, &reviewed, (model.as_deref(), grade, until, *reject));
                    party.store.close().await;
                    let order = signed?;
                    std::fs::write(to, order.bytes())
                        .map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
                    out.text(format!("{} {}", out.say("signed:", "已签署："), list::summary(out, &order)));
                    Some(to.display().to_string())
                }
                _ => None,
            };
            out.value(&json!({"kind": kind, "vectors": reviewed.vectors.to_string(), "runs": runs(&reviewed.runs),
                "statement": signed}));
            Ok(0)
        }
        ReviewCommand::Check { file } => check(out, file),
    }
}

fn sign(
    party: &Party,
    kind: &str,
    reviewed: &Reviewed,
    (model, grade, until, reject): (Option<&str>, &str, &str, bool),
) -> Result<Order, Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    let body = AlgorithmReview {
        kind: kind.to_owned(),
        model: model.map(ModelVersionId::from_hex).transpose()?,
        verdict: if reject { Verdict::Reject } else { Verdict::Approve },
        grade_max: Grade::parse(grade).ok_or_else(|| invalid(format!("--grade-max `{grade}`; general-1 to core")))?,
        vectors: reviewed.vectors,
        until: when::parse(until)?,
        runs: reviewed.runs.clone(),
    };
    Order::read(Statement::sign(&party.keys.root, kind, tacit_node::now(), None, body).bytes())
}

fn check(out: &Out, file: &Path) -> Result<u8, Fault> {
    let bytes = std::fs::read(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    let named = |what: &str| Fault::new(Code::ArgsInvalid, format!("{}: {what}", file.display()));
    let Order::Review(review) = Order::read(&bytes).map_err(|f| named(&f.what))? else {
        return Err(named("it is no review"));
    };
    let body = review.body();
    if body.runs.is_empty() {
        return Err(named("it has no results: it was not made by `review run`"));
    }
    let differs = differs(body);
    match &differs {
        Some(vector) => out.text(warning(out, vector)),
        None => out.text(out.say("every test vector gives the same here", "各测试向量在此得出相同结果")),
    }
    out.value(&json!({"kind": body.kind, "runs": runs(&body.runs), "differs": differs}));
    Ok(if differs.is_none() { 0 } else { 3 })
}

/// The first test vector of a review that gives something else with this program.
pub fn differs(body: &AlgorithmReview) -> Option<String> {
    let here = if body.runs.is_empty() { Vec::new() } else { review::runs(&body.kind) };
    body.differs(&here).map(|run| run.name.clone())
}

/// What is said of it.
pub fn warning(out: &Out, vector: &str) -> String {
    let what = out.say(
        "a test vector gives something else with this program; jobs that need this review are refused:",
        "有测试向量在本程序中得出不同结果；须经此审查的作业将被拒绝：",
    );
    format!("{what} {vector}")
}

/// Vectors and what they gave, for programs.
pub fn runs(runs: &[VectorRun]) -> Value {
    runs.iter().map(|run| json!({"name": run.name, "result": run.result.to_string()})).collect()
}

fn table(out: &Out, runs: &[VectorRun]) {
    let rows: Vec<Vec<String>> = runs.iter().map(|run| vec![run.name.clone(), run.result.to_string()]).collect();
    out.table(&[out.say("test vector", "测试向量"), out.say("result", "结果")], &rows);
}
