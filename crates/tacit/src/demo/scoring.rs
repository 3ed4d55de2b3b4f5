//! `tacit demo scoring`: a bank, a telecom and a shop score the same applicants with a scorecard of which each has its
//! part, with the bank's own trees and network, and answer a rule; then single applicants online.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_types::{Code, Fault, NodeId};

use super::Play;
use super::credit::{self, INPUTS, OWNERS};
use super::stage::Stage;
use crate::calls::Calls;

/// The demonstration.
pub const PLAY: Play = Play {
    play: |stage| Demo { stage, jobs: Vec::new(), opened: 0, divided: Value::Null }.play(),
    to_try: &[
        ("broker", "job list"),
        ("bank", "contract show credit"),
        ("lender", "model list"),
        ("broker", "receipt list"),
        ("telecom", "node egress"),
        ("notary", "doctor"),
    ],
};

/// Who asks for lists of applicants: an operator, without a node.
const RECIPIENT: &str = "broker";
/// Who asks for one applicant at a time: a node that takes calls.
const LENDER: &str = "lender";
/// Who deals randomness, and has neither rows nor a model.
const DEALER: &str = "notary";
const NODES: [&str; 5] = ["bank", "telecom", "shop", DEALER, LENDER];

/// The contracts of the broker and of the lender.
const CONTRACT: &str = "credit";
const ONLINE: &str = "credit-online";

/// The greatest difference between a score and the library's.
const EXACT: f64 = 1e-6;
const NETWORK: f64 = 1e-3;

/// Rows of a job that the contract allows.
const ROWS_PER_JOB: usize = 400;

/// Applicants that are shown of each job.
const SHOWN: usize = 3;

/// Calls that are timed.
const CALLS: usize = 200;

/// How long a window may take to open, and its receipt to stand in the log.
const WINDOW_WAIT: Duration = Duration::from_secs(30);

struct Demo<'a> {
    stage: &'a mut Stage,
    jobs: Vec<Value>,
    /// Numbers that the recipient could open in all jobs.
    opened: u64,
    /// What the bank learned of its ensemble when it divided it.
    divided: Value,
}

/// A job and what its result must be.
struct Case<'a> {
    kind: &'a str,
    /// None for a rule.
    models: Vec<String>,
    /// Whether somebody deals randomness.
    dealt: bool,
    /// What stands below `[params]`.
    params: &'a str,
    /// Where the result has what was asked, and one entry's name.
    list: (&'a str, &'a str),
    wanted: Vec<Value>,
    /// Whose the wanted numbers are.
    whose: &'a str,
    limit: f64,
}

impl Demo<'_> {
    fn play(&mut self) -> Result<Value, Fault> {
        self.enrol()?;
        self.register()?;
        self.agree()?;
        let batch = self.scorecard()?;
        self.trees()?;
        self.split_trees()?;
        self.network()?;
        self.rule()?;
        let refused = self.refused()?;
        let online = self.online(&batch)?;
        let receipts = self.stage.verify(RECIPIENT, "organisations")?;
        let proof = self.stage.verify_call(&online["proof"], credit::applicants()[0])?;
        let egress = self.stage.egress(&NODES)?;
        self.learned();
        let seconds = self.stage.seconds();
        let held = |v: &Value| v["max_absolute_error"].as_f64().zip(v["limit"].as_f64()).is_some_and(|(e, l)| e <= l);
        let sound = self.jobs.iter().all(|j| j["state"] == json!("succeeded") && held(j))
            && refused["state"] == json!("refused")
            && held(&online)
            && proof["ok"] == json!(true)
            && Stage::verified(&receipts);
        self.stage.chapter(if sound { "All of it held." } else { "Something did not hold: see above." });
        Ok(json!({
            "jobs": self.jobs, "refused": [refused], "receipts": receipts, "egress": egress, "online": online,
            "call": proof,
            "seconds": seconds, "sound": sound,
        }))
    }

    fn enrol(&mut self) -> Result<(), Fault> {
        self.stage.chapter(
            "A coordinator; a bank, a telecom and a shop with the same customers; a notary that deals randomness; a \
             broker and a lender that want scores. Each is a process with its own keys and database.",
        );
        self.stage.coordinate()?;
        NODES.iter().try_for_each(|name| self.stage.join(name, "node"))?;
        self.stage.join(RECIPIENT, "operator")
    }

    fn register(&mut self) -> Result<(), Fault> {
        self.stage.chapter(
            "Each registers its own columns of a real credit table in place. Features may be scored, and nothing else; \
             the bank's labels may not even be read.",
        );
        for owner in &OWNERS {
            let file = self.stage.world.write(&format!("{}.csv", owner.name), owner.table)?.display().to_string();
            let levels: Vec<String> = owner.features.iter().map(|f| format!("{f}=score_only")).collect();
            let mut args = vec!["data", "add", "customers", file.as_str(), "--level", "id=align_key"];
            levels.iter().for_each(|level| args.extend(["--level", level.as_str()]));
            let added = self.stage.world.run(owner.name, &args)?;
            self.stage.say(format!("    {} rows; others learn only: at most {}", added["rows"], added["row_bucket"]));
        }
        self.stage.chapter(
            "Models come from the files of their libraries and stay where they are: a scorecard in three parts, the \
             bank's XGBoost ensemble, whole and divided among the three, and its ONNX network.",
        );
        for owner in &OWNERS {
            self.import(owner.name, "scorecard", "scorecard", owner.scorecard.as_bytes(), &[])?;
        }
        self.import("bank", "trees", "xgboost", credit::TREES.as_bytes(), &[])?;
        self.divide()?;
        let names = INPUTS.map(|(name, ..)| name).join(",");
        self.import("bank", "network", "onnx", credit::NETWORK, &["--features", &names])?;
        self.stage.world.append(LENDER, "node.toml", &format!("\n[online]\nlisten = \"{}\"\n", free_address()?))?;
        NODES.iter().try_for_each(|name| self.stage.world.daemon(name, &["node", "run"]))
    }

    /// Divides the bank's ensemble among the owners of its features. Each imports its own part.
    fn divide(&mut self) -> Result<(), Fault> {
        let world = &self.stage.world;
        let file = world.write("bank-whole", credit::TREES)?.display().to_string();
        let out = world.folder().join("parts");
        let shown = out.display().to_string();
        let mut args = vec!["model", "divide", "divided", &file, "--format", "xgboost", "--out", &shown];
        for given in credit::DIVIDED {
            args.extend(["--owner", given]);
        }
        let divided = world.run("bank", &args)?;
        for owner in &OWNERS {
            let part = out.join(format!("{}.tacit", owner.name)).display().to_string();
            world.run(owner.name, &["model", "import", "divided", &part, "--format", "tacit"])?;
        }
        self.divided = divided;
        Ok(())
    }

    fn import(&self, owner: &str, name: &str, format: &str, bytes: &[u8], more: &[&str]) -> Result<(), Fault> {
        let file = self.stage.world.write(&format!("{owner}-{name}"), bytes)?.display().to_string();
        let args = [&["model", "import", name, &file, "--format", format], more].concat();
        self.stage.world.run(owner, &args).map(|_| ())
    }

    fn agree(&mut self) -> Result<(), Fault> {
        self.stage.chapter(
            "A contract: whose columns and which versions of which models, how many rows, who deals. In force when all \
             of them have signed it, the notary too.",
        );
        let kinds = ["score-linear/v1", "score-trees/v1", "score-network/v1", "verify/v1"];
        let terms = format!("rows = 20000\nrows_per_job = {ROWS_PER_JOB}\nprecision = \"score\"\n");
        let mut text = contract(CONTRACT, RECIPIENT, &kinds, &[DEALER], &terms);
        for model in ["trees", "network"] {
            text.push_str(&format!("\n[[models]]\nowner = \"bank\"\nmodel = \"{model}\"\n"));
        }
        for owner in &OWNERS {
            text.push_str(&format!("\n[[models]]\nowner = \"{}\"\nmodel = \"divided\"\n", owner.name));
        }
        let signers = ["bank", "telecom", "shop", DEALER];
        self.stage.agree(RECIPIENT, CONTRACT, &text, &signers)?;
        self.stage.world.write("applicants.txt", credit::applicants().join("\n")).map(|_| ())
    }

    /// Gives the scores as they came.
    fn scorecard(&mut self) -> Result<Vec<Value>, Fault> {
        self.stage.chapter(
            "Job 1: 300 applicants and two unknown keys, by the scorecard. Each owner adds its own part under masks.",
        );
        self.job(Case {
            kind: "score-linear/v1",
            models: scorecard(),
            dealt: false,
            params: "link = \"logistic\"\n",
            list: ("scores", "score"),
            wanted: scores("scorecard"),
            whose: "scikit-learn",
            limit: EXACT,
        })
    }

    fn trees(&mut self) -> Result<Vec<Value>, Fault> {
        self.stage.chapter(
            "Job 2: the same by the bank's 40 trees, over the features of all three. Nobody else sees a split, and the \
             bank sees no feature of others.",
        );
        self.job(Case {
            kind: "score-trees/v1",
            models: vec!["bank/trees@1".to_owned()],
            dealt: true,
            params: "link = \"logistic\"\nlibrary = \"xgboost\"\ntrees = 40\nleaves = 16\nbound = \"64\"\n",
            list: ("scores", "score"),
            wanted: scores("trees"),
            whose: "xgboost",
            limit: EXACT,
        })
    }

    fn split_trees(&mut self) -> Result<Vec<Value>, Fault> {
        self.stage.chapter(
            "Job 3: the same trees, divided. Each owner knows the splits on its own columns and no others; the bank knows \
             what the leaves are worth.",
        );
        let divided = &self.divided;
        let params = format!(
            "link = \"logistic\"\ntrees = {}\nleaves = {}\nbound = {}\nholder = {}\n",
            divided["trees"], divided["leaves"], divided["bound"], divided["holder"]
        );
        self.job(Case {
            kind: "score-trees/v1",
            models: OWNERS.iter().map(|o| format!("{}/divided@1", o.name)).collect(),
            dealt: true,
            params: &params,
            list: ("scores", "score"),
            wanted: scores("trees"),
            whose: "xgboost",
            limit: EXACT,
        })
    }

    fn network(&mut self) -> Result<Vec<Value>, Fault> {
        self.stage.chapter("Job 4: the same by the bank's network of 10, 16, 8 and 1.");
        let mut params = String::from("link = \"logistic\"\nlayers = [16, 8]\nbound = \"256\"\n\n[params.ranges]\n");
        INPUTS.iter().for_each(|(name, least, most)| params.push_str(&format!("{name} = [\"{least}\", \"{most}\"]\n")));
        self.job(Case {
            kind: "score-network/v1",
            models: vec!["bank/network@1".to_owned()],
            dealt: true,
            params: &params,
            list: ("scores", "score"),
            wanted: scores("network"),
            whose: "onnxruntime",
            limit: NETWORK,
        })
    }

    fn rule(&mut self) -> Result<Vec<Value>, Fault> {
        self.stage.chapter("Job 5: yes or no to a rule over columns of all three, and not which part of it failed.");
        let rule = |of: &dyn Fn(&str) -> f64| of("duration") <= 24.0 && of("employment") >= 2.0 && of("owner") >= 1.0;
        self.job(Case {
            kind: "verify/v1",
            models: Vec::new(),
            dealt: true,
            params: "rule = \"duration <= 24 and employment >= 2 and owner = 1\"\n",
            list: ("decisions", "decision"),
            wanted: credit::answers(rule).into_iter().map(Value::Bool).collect(),
            whose: "in one place",
            limit: 0.0,
        })
    }

    /// Plans and runs a job, compares it, and gives what came out for each key.
    fn job(&mut self, case: Case<'_>) -> Result<Vec<Value>, Fault> {
        let head = head(&case.models, case.dealt) + "keys = \"applicants.txt\"\n";
        let text = job_file(case.kind, CONTRACT, &head, case.params);
        let file = format!("job-{}.toml", self.jobs.len() + 1);
        let path = self.stage.world.write(&file, &text)?.display().to_string();
        // The dealer may be the last to be connected.
        let plan = self.stage.world.run_soon(RECIPIENT, &["job", "plan", &path])?;
        self.disclosed(&plan);
        let (done, _) = self.stage.world.try_run(RECIPIENT, &["job", "submit", &path, "--watch"])?;
        let (list, one) = case.list;
        let rows = done["result"][list].as_array().cloned().unwrap_or_default();
        let keys = credit::applicants();
        let mut error = if rows.len() == keys.len() { 0.0 } else { f64::INFINITY };
        for (i, ((row, key), wanted)) in rows.iter().zip(&keys).zip(&case.wanted).enumerate() {
            let off = if row["key"] == json!(key) { difference(&row[one], wanted) } else { f64::INFINITY };
            error = f64::max(error, off);
            if i < SHOWN || i + 1 == keys.len() {
                let (found, wanted) = (short(&row[one]), short(wanted));
                self.stage.say(format!("        {key:<10} {found:>14}   {} {wanted:>14}", case.whose));
            }
        }
        if done["state"] == json!("succeeded") {
            let known = case.wanted.iter().filter(|w| !w.is_null()).count();
            let compared = if one == "decision" {
                let same = if error <= case.limit { "are the same" } else { "ARE NOT ALL THE SAME" };
                format!("{known} answers {same} as {}", case.whose)
            } else {
                format!(
                    "{known} scores; the furthest from {} by {error:.1e}, of at most {:.0e}",
                    case.whose, case.limit
                )
            };
            self.stage.say(format!("    {compared}; {} ms; receipt at leaf {}", done["elapsed_ms"], done["receipt"]));
        } else {
            self.stage.say(format!("    {}: [{}] {}", done["state"], done["code"], done["reason"]));
        }
        self.jobs.push(json!({
            "id": done["id"], "kind": case.kind, "state": done["state"], "code": done["code"], "reason": done["reason"],
            "model": case.models.join(", "), "rows": rows.len(), "max_absolute_error": error, "limit": case.limit,
            "receipt": done["receipt"], "elapsed_ms": done["elapsed_ms"],
        }));
        Ok(rows)
    }

    /// What a plan says of who will learn what.
    fn disclosed(&mut self, plan: &Value) {
        let mut told = Vec::new();
        for disclosure in plan["disclosures"].as_array().into_iter().flatten() {
            let cells = disclosure["cells_max"].as_u64().unwrap_or(0);
            self.opened += cells;
            told.push(format!("the recipient opens {cells} numbers at most"));
        }
        let keys = plan["keys"]["count"].as_u64().unwrap_or(0);
        told.push(format!("the owners see {keys} keys"));
        if let Some(dealer) = plan["dealer"]["party"].as_str() {
            told.push(format!("{dealer} deals"));
        }
        self.stage.say(format!("    planned: {}", told.join(", ")));
    }

    fn refused(&mut self) -> Result<Value, Fault> {
        self.stage.chapter(
            "Job 6 asks for all 1,000 customers at once. The contract allows 400 rows a job: the owners' nodes refuse.",
        );
        self.stage.world.write("everyone.txt", credit::customers().join("\n"))?;
        let text =
            job_file("score-linear/v1", CONTRACT, &(head(&scorecard(), false) + "keys = \"everyone.txt\"\n"), "");
        self.stage.refused(RECIPIENT, "job-6.toml", &text)
    }

    fn learned(&mut self) {
        self.stage.chapter("What each learned.");
        let (opened, keys) = (self.opened, credit::applicants().len());
        let owner =
            format!("which {keys} keys were asked for, and each call's; no score, no feature or model of others");
        for (who, what) in [
            (RECIPIENT, format!("scores and answers, {opened} numbers at most in its jobs; no feature, no weight")),
            (LENDER, "the scores that it called for; no feature, no weight".to_owned()),
            ("bank", owner),
            ("telecom", "the same".to_owned()),
            ("shop", "the same".to_owned()),
            (
                DEALER,
                "jobs with their names and sizes. Together with any one owner it could read everything".to_owned(),
            ),
            ("coordinator", "who asked whom for what and when; no key, no score, no feature, no weight".to_owned()),
        ] {
            self.stage.say(format!("    {who:<12} {what}"));
        }
    }

    /// Publishes the scorecard at the recipient's node, and times signed calls for one applicant each.
    fn online(&mut self, batch: &[Value]) -> Result<Value, Fault> {
        self.stage.chapter("The scorecard online: an application of the lender's asks for one applicant at a time.");
        let terms = "rows = 5000\nprecision = \"score\"\n\
                     online = { rows_per_window = 2000, rows_per_second = 2000 }\n";
        let text = contract(ONLINE, LENDER, &["score-linear/v1"], &[], terms);
        self.stage.agree(LENDER, ONLINE, &text, &OWNERS.map(|o| o.name))?;
        let window = "link = \"logistic\"\n\n[params.online]\nrows = 2000\nrows_per_second = 2000\nseconds = 300\n";
        let text = job_file("score-linear/v1", ONLINE, &head(&scorecard(), false), window);
        let file = self.stage.world.write("online.toml", &text)?.display().to_string();
        let published = self.stage.world.run(LENDER, &["model", "publish", "scorecard", &file])?;
        let key = self.stage.world.folder().join("application.key");
        let shown = key.display().to_string();
        self.stage.world.run(LENDER, &["model", "caller", "add", "application", "--new", &shown])?;
        let text = |name: &str| published[name].as_str().unwrap_or_default().to_owned();
        let key = tacit_net::keyfile::read_signing(&key)?;
        let mut calls = Calls::new(&text("listen"), NodeId::from_hex(&text("node"))?, key);
        let first = first(&mut calls)?;
        let called = call(&mut calls, batch)?;
        self.stage.say(format!(
            "    {CALLS} signed calls over HTTP: half within {:.1} ms, 99 of 100 within {:.1} ms; largest difference {:.1e}",
            called.p50, called.p99, called.error
        ));
        let per_row = self.jobs.first().and_then(|j| j["elapsed_ms"].as_f64()).unwrap_or(f64::NAN) / batch.len() as f64;
        self.stage.say(format!("    in the batch a score took {per_row:.1} ms, its receipt included"));
        let window = first["call"]["window"].as_str().unwrap_or_default().to_owned();
        let call = format!("{window}/{}", first["call"]["number"]);
        self.stage.world.run(LENDER, &["model", "unpublish", "scorecard"])?;
        let receipt = self.receipt_of(&window)?;
        let proof = self.stage.world.folder().join("call.proof").display().to_string();
        self.stage.world.run(LENDER, &["model", "call", "prove", &call, "--out", &proof])?;
        let count = receipt["lines"].as_array().into_iter().flatten().find(|l| l["unit"] == json!("call"));
        let count = count.map_or(Value::Null, |l| l["quantity"].clone());
        self.stage.say(format!("    the window's receipt, at leaf {}, counts {count} calls", receipt["leaf"]));
        Ok(json!({
            "window": window, "calls": CALLS, "p50_ms": called.p50, "p99_ms": called.p99,
            "max_absolute_error": called.error, "limit": EXACT, "receipt": receipt["leaf"], "counted": count,
            "proof": proof,
        }))
    }

    /// Waits for the receipt of a window.
    fn receipt_of(&self, window: &str) -> Result<Value, Fault> {
        let begun = Instant::now();
        loop {
            let (list, _) = self.stage.world.quiet(LENDER, &["receipt", "list"])?;
            let found = list.as_array().into_iter().flatten().find(|r| r["job"] == json!(window));
            match found {
                Some(receipt) => return Ok(receipt.clone()),
                None if begun.elapsed() > WINDOW_WAIT => {
                    return Err(Fault::new(Code::Internal, format!("window {window} has no receipt")));
                }
                None => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}

/// Calls until the window is open.
fn first(calls: &mut Calls) -> Result<Value, Fault> {
    let begun = Instant::now();
    loop {
        match calls.ask("scorecard", &credit::applicants()[..1]) {
            Err(fault) if begun.elapsed() > WINDOW_WAIT => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
            done => return done,
        }
    }
}

/// Milliseconds of calls, and by how much they were off.
struct Called {
    p50: f64,
    p99: f64,
    error: f64,
}

/// Times calls one after the other and compares each score with the library's and with the batch's.
fn call(calls: &mut Calls, batch: &[Value]) -> Result<Called, Fault> {
    let (keys, wanted) = (credit::applicants(), scores("scorecard"));
    let (mut times, mut error) = (Vec::new(), 0.0f64);
    for i in 0..CALLS {
        // The last ones, the unknown among them.
        let at = keys.len() - 1 - i % keys.len();
        let begun = Instant::now();
        let answer = calls.ask("scorecard", &keys[at..=at])?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        let score = &answer["scores"][0]["score"];
        let before = batch.get(at).map_or(&Value::Null, |row| &row["score"]);
        error = error.max(difference(score, &wanted[at])).max(difference(score, before));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let time = times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        (time * 100.0).round() / 100.0
    };
    Ok(Called { p50: at(0.5), p99: at(0.99), error })
}

/// How far a score is from the wanted one; no score only equals none, and an answer only the same.
fn difference(found: &Value, wanted: &Value) -> f64 {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => (found - wanted).abs(),
        _ if found == wanted => 0.0,
        _ => f64::INFINITY,
    }
}

fn scores(model: &str) -> Vec<Value> {
    credit::predicted(model).into_iter().map(|score| json!(score)).collect()
}

/// The parts of the scorecard.
fn scorecard() -> Vec<String> {
    OWNERS.iter().map(|o| format!("{}/scorecard@1", o.name)).collect()
}

/// The lines of a job file that name models and who deals.
fn head(models: &[String], dealt: bool) -> String {
    let dealer = if dealt { format!("dealer = \"{DEALER}\"\n") } else { String::new() };
    format!("models = {models:?}\n{dealer}")
}

/// A contract over all features and all parts of the scorecard.
fn contract(name: &str, demander: &str, kinds: &[&str], dealers: &[&str], terms: &str) -> String {
    let mut text = format!(
        "name = \"{name}\"\npurpose = \"credit decisions\"\nkinds = {kinds:?}\ndemander = \"{demander}\"\n\
         dealers = {dealers:?}\nquota_jobs = 50\nvalid_days = 30\ncohort = {{ rows = 10, contributors = 2 }}\n\n\
         [scoring]\n{terms}"
    );
    for owner in &OWNERS {
        text.push_str(&format!("\n[[datasets]]\nowner = \"{}\"\ndataset = \"customers\"\n", owner.name));
        text.push_str(&format!("\n[[models]]\nowner = \"{}\"\nmodel = \"scorecard\"\n", owner.name));
    }
    text
}

fn job_file(kind: &str, contract: &str, head: &str, params: &str) -> String {
    format!("kind = \"{kind}\"\ncontract = \"{contract}\"\n{head}\n[params]\nkey = \"id\"\n{params}")
}

fn short(value: &Value) -> String {
    match value {
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), |f| format!("{f:.9}")),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// An address for calls, on a TCP port of this machine that is free now.
fn free_address() -> Result<String, Fault> {
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    address.map(|a| a.to_string()).map_err(|e| Fault::new(Code::Internal, format!("a free port: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_score_and_no_answer_counts_as_equal_to_another() {
        assert!((difference(&json!(0.5), &json!(0.25)) - 0.25).abs() < 1e-12);
        assert!(difference(&Value::Null, &Value::Null).abs() < 1e-12);
        assert!(difference(&json!(true), &json!(true)).abs() < 1e-12);
        for (found, wanted) in [(json!(0.5), Value::Null), (Value::Null, json!(0.5)), (json!(true), json!(false))] {
            assert!(difference(&found, &wanted).is_infinite());
        }
    }
}
