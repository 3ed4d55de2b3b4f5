//! Scores of a split model, end to end through processes: equal to those computed here in the plainest way from the
//! same rows, for nobody but the recipient, and never more than the contract allows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_engine::{FromCoordinator, Terminal, ToCoordinator, WorkerJob};
use tacit_governance::JobSpec;
use tacit_node::Store;
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};
use tacit_tests::{Done, Wire, World, craft, repo};
use tacit_types::{Code, JobId};

const OWNERS: [&str; 3] = ["a", "b", "c"];
/// A key that stands nowhere but in the list, and one that owner `a` has too.
const CANARIES: [&str; 2] = ["Quetzalcoatlus-7319", "Hatzegopteryx-2208"];
/// How far a score may be from the plain sum.
const ERROR: f64 = 1e-6;

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Eighths between -50 and 50; nothing once in so many.
    fn value(&mut self, gap: u64) -> Option<f64> {
        (self.below(gap) != 0).then(|| (self.below(801) as f64 - 400.0) / 8.0)
    }
}

/// One owner's file, and what its part adds for each key that it has one usable row of.
struct Part {
    csv: String,
    model: String,
    format: &'static str,
    partial: BTreeMap<String, f64>,
}

/// The keys of an owner: most of all, two of them twice, in an order of its own.
fn keys_of(seed: u64, n: usize) -> Vec<String> {
    let mut draw = Draw(seed);
    let mut keys: Vec<String> = (0..n).filter(|_| draw.below(8) != 0).map(|i| format!("C-{i:06}")).collect();
    keys.extend([keys[3].clone(), keys[n / 2].clone()]);
    for i in (1..keys.len()).rev() {
        keys.swap(i, draw.below(i as u64 + 1) as usize);
    }
    keys
}

/// What each key adds, for keys that stand once in a row that can be scored.
fn partials(rows: impl Iterator<Item = (String, Option<f64>)>) -> BTreeMap<String, f64> {
    let mut found: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    rows.for_each(|(key, partial)| found.entry(key).or_default().push(partial));
    found.into_iter().filter_map(|(key, all)| Some((key, *all.first().filter(|_| all.len() == 1)?.as_ref()?))).collect()
}

/// Coefficients of scikit-learn with its scaler; a gap adds `missing`, or makes the row unusable.
fn regression(seed: u64, keys: &[String], features: [&str; 2], missing: Option<f64>) -> Part {
    let (weights, mean, scale, intercept) = ([0.03125, -0.7], [1.5, -3.0], [12.0, 0.75], 0.4);
    let mut draw = Draw(seed);
    let rows: Vec<_> = keys.iter().map(|key| (key, [draw.value(9), draw.value(11)])).collect();
    let mut csv = format!("id,{},{}\n", features[0], features[1]);
    for (key, values) in &rows {
        let shown = values.map(|v| v.map_or(String::new(), |v| v.to_string()));
        writeln!(csv, "{key},{},{}", shown[0], shown[1]).unwrap();
    }
    let partial = rows.iter().map(|(key, values)| {
        let mut sum = Some(intercept);
        for (i, value) in values.iter().enumerate() {
            let term = value.map(|v| weights[i] * (v - mean[i]) / scale[i]).or(missing);
            sum = sum.zip(term).map(|(s, t)| s + t);
        }
        ((*key).clone(), sum)
    });
    let mut model = json!({"format": "tacit-linear/1", "library": "scikit-learn 1.7.2", "link": "logistic", "features": features,
        "coefficients": weights, "intercept": intercept, "mean": mean, "scale": scale, "missing": missing.map(|m| [m, m])});
    if missing.is_none() {
        model.as_object_mut().unwrap().remove("missing");
    }
    Part { model: model.to_string(), format: "linear", partial: partials(partial), csv }
}

/// A scorecard with intervals, one of whose edges is met exactly, and categories, one of which it does not list.
fn scorecard(seed: u64, keys: &[String]) -> Part {
    let mut draw = Draw(seed);
    let rows = keys.iter().map(|key| (key, draw.below(40), ["own", "rent", "boat"][draw.below(3) as usize]));
    let rows: Vec<_> = rows.collect();
    let mut csv = String::from("id,years,home\n");
    rows.iter().for_each(|(key, years, home)| writeln!(csv, "{key},{years},{home}").unwrap());
    let partial = rows.iter().map(|(key, years, home)| {
        let years = [-0.25, 0.5, 1.125][[12, 25].iter().filter(|edge| years >= edge).count()];
        let home = [("own", 0.75), ("rent", -0.5)].iter().find(|(name, _)| name == home).map_or(-0.0625, |h| h.1);
        ((*key).clone(), Some(2.0 + years + home))
    });
    let model = json!({"format": "tacit-scorecard/1", "base": 2, "link": "identity", "characteristics": [
        {"feature": "years", "edges": [12, 25], "points": [-0.25, 0.5, 1.125]},
        {"feature": "home", "categories": ["own", "rent"], "points": [0.75, -0.5], "other": -0.0625}]});
    Part { model: model.to_string(), format: "scorecard", partial: partials(partial), csv }
}

/// A world of some owners with their parts, whose contract `credit` has these terms of scoring.
fn world(parts: &[(&str, &Part)], terms: &[(&str, &str)]) -> World {
    let mut world = World::with_coordinator();
    for (owner, part) in parts {
        world.join(owner, "node");
        let file = world.write(&format!("{owner}.csv"), &part.csv);
        let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
        world.run(owner, &levels).ok();
        let model = world.write(&format!("{owner}.json"), &part.model);
        world.run(owner, &["model", "import", "credit", &shown(&model), "--format", part.format]).ok();
        world.start(owner);
    }
    world.join("lab", "operator");
    world.wait_online("lab", parts.len());
    let owners: Vec<&str> = parts.iter().map(|(owner, _)| *owner).collect();
    for (name, scoring) in terms {
        agree(&world, name, &owners, scoring);
    }
    world
}

fn agree(world: &World, name: &str, owners: &[&str], scoring: &str) {
    let mut text = format!(
        "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\n\
         quota_jobs = 100\nvalid_days = 30\n[cohort]\nrows = 3\ncontributors = 2\n[scoring]\n{scoring}\n"
    );
    for owner in owners {
        write!(text, "[[datasets]]\nowner = \"{owner}\"\ndataset = \"data\"\n").unwrap();
        write!(text, "[[models]]\nowner = \"{owner}\"\nmodel = \"credit\"\nversion = 1\n").unwrap();
    }
    let file = world.write(&format!("{name}.contract.toml"), text);
    world.run_soon("lab", &["contract", "draft", &shown(&file)]);
    for owner in owners {
        world.run(owner, &["contract", "sign", name]).ok();
    }
}

/// Writes the job and its list of keys.
fn job(world: &World, contract: &str, keys: &[String], params: &str) -> PathBuf {
    world.write("keys.txt", keys.join("\n"));
    let head = format!("kind = \"score-linear/v1\"\ncontract = \"{contract}\"\nkeys = \"keys.txt\"\n");
    world.write("job.toml", format!("{head}[params]\nkey = \"id\"\n{params}\n"))
}

fn submit(world: &World, contract: &str, keys: &[String], params: &str) -> Done {
    world.run("lab", &["job", "submit", &shown(&job(world, contract, keys, params)), "--watch"])
}

/// Submits without waiting for the end.
fn begin(world: &World, contract: &str, keys: &[String]) -> JobId {
    let done = world.run("lab", &["job", "submit", &shown(&job(world, contract, keys, ""))]).ok();
    JobId::from_hex(done["id"].as_str().unwrap()).unwrap()
}

/// What a node that does not run has on disk of a job.
fn stored(world: &World, node: &str, id: JobId) -> WorkerJob {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(&world.home(node).join("node.db")).await.unwrap();
        let job = store.job(&id).await.unwrap().unwrap();
        store.close().await;
        job
    })
}

/// The score of a key where each owner that has none adds `absent`, or the key has no score.
fn plain(parts: &[&Part], key: &str, absent: Option<f64>) -> Option<f64> {
    parts.iter().map(|part| part.partial.get(key).copied().or(absent)).sum()
}

/// Every score of a result beside its key is the plain one.
fn check(done: &Value, keys: &[String], plain: impl Fn(&str) -> Option<f64>) {
    let scores = done["result"]["scores"].as_array().unwrap_or_else(|| panic!("{done}"));
    assert_eq!(scores.len(), keys.len());
    for (row, key) in scores.iter().zip(keys) {
        assert_eq!(row["key"], json!(key));
        match (row["score"].as_f64(), plain(key)) {
            (Some(found), Some(wanted)) => assert!((found - wanted).abs() <= ERROR, "{key}: {found} is not {wanted}"),
            (None, None) => assert_eq!(row["score"], Value::Null),
            other => panic!("{key}: {other:?}"),
        }
    }
    let unknown = keys.iter().filter(|key| plain(key).is_none()).count();
    assert_eq!((&done["result"]["rows"], &done["result"]["unknown"]), (&json!(keys.len()), &json!(unknown)));
}

fn logistic(margin: f64) -> f64 {
    1.0 / (1.0 + (-margin).exp())
}

/// `tacit-verify` accepts the log; gives its report.
fn audit(world: &World) -> Value {
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("group.trust"));
    world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
    let mut verify = Command::new(program("tacit-verify"));
    World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json")).ok()
}

/// Whether any file below a folder has these bytes, or their hex.
fn is_below(folder: &Path, text: &str) -> Option<PathBuf> {
    let hex = hex::encode(text);
    std::fs::read_dir(folder).unwrap().flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_below(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        let has = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
        (has(text.as_bytes()) || has(hex.as_bytes())).then_some(path)
    })
}

fn three_parts() -> [Part; 3] {
    let mut keys = [11, 12, 13].map(|seed| keys_of(seed, 160));
    keys[0].push(CANARIES[1].to_owned());
    [
        regression(1, &keys[0], ["age", "income"], None),
        scorecard(2, &keys[1]),
        regression(3, &keys[2], ["calls", "debt"], Some(-0.375)),
    ]
}

/// Three owners; keys that none, one or two of them have, twice in the list, twice in a table, with gaps.
#[test]
fn scores_are_those_of_the_whole_model_and_the_keys_are_nobody_elses() {
    let parts = three_parts();
    let named: Vec<(&str, &Part)> = OWNERS.iter().copied().zip(&parts).collect();
    let mut world = world(&named, &[("credit", "rows = 5000\nprecision = \"score\"")]);
    for party in [COORDINATOR, "a"] {
        world.kill(party);
        world.level = "trace";
        world.start(party);
    }
    world.wait_online("lab", 3);
    let all: Vec<&Part> = parts.iter().collect();
    let mut keys: Vec<String> = (0..160).rev().map(|i| format!("C-{i:06}")).collect();
    keys.extend(CANARIES.map(str::to_owned));
    keys.extend(["C-000007".into(), "c-000007".into(), "7".into()]);
    let complete: Vec<String> = keys.iter().filter(|k| plain(&all, k, None).is_some()).cloned().collect();
    assert!(complete.len() > 60 && complete.len() < 140, "{}", complete.len());

    let planned = world.run("lab", &["job", "plan", &shown(&job(&world, "credit", &keys, ""))]).ok();
    assert_eq!(planned["disclosures"], json!([{"what": "result", "to": "Recipient", "cells_max": 2 * keys.len()}]));
    assert!(planned["owners"].as_array().unwrap().iter().all(|o| o["admits"] == json!(true)), "{planned}");

    let flag = submit(&world, "credit", &keys, "link = \"logistic\"\nunknown = \"flag\"").ok();
    check(&flag, &keys, |key| plain(&all, key, None).map(logistic));
    let default = submit(&world, "credit", &keys, "unknown = \"default\"").ok();
    check(&default, &keys, |key| plain(&all, key, Some(0.0)));
    let refuse = submit(&world, "credit", &keys, "unknown = \"refuse\"").ok();
    check(&refuse, &keys, |_| None);
    let refuse = submit(&world, "credit", &complete, "unknown = \"refuse\"").ok();
    check(&refuse, &complete, |key| plain(&all, key, None));

    let report = audit(&world);
    assert_eq!((&report["receipts"], &report["valid"]), (&json!(4), &json!(4)), "{report}");
    assert!(world.log(COORDINATOR).contains("TRACE"));
    for canary in CANARIES {
        assert_eq!(is_below(&world.home(COORDINATOR), canary), None);
        assert!(!world.log(COORDINATOR).contains(canary) && !world.log("a").contains(canary));
        let bundle = std::fs::read(world.folder().join("log.bundle")).unwrap();
        assert!(!bundle.windows(canary.len()).any(|w| w == canary.as_bytes()));
    }
    // The search finds what is there.
    assert!(is_below(world.folder(), CANARIES[1]).is_some());
}

/// The job waits for a node that is away; the coordinator and the others are restarted while it does, and again
/// between the end and the opening.
#[test]
fn restarts_between_submission_and_result_lose_nothing() {
    let parts = three_parts();
    let named: Vec<(&str, &Part)> = OWNERS[..2].iter().copied().zip(&parts).collect();
    let mut world = world(&named, &[("credit", "rows = 400\nprecision = \"score\"")]);
    let all: Vec<&Part> = parts[..2].iter().collect();
    let keys: Vec<String> = (0..160).map(|i| format!("C-{i:06}")).collect();
    world.kill("b");
    let id = begin(&world, "credit", &keys).to_string();
    world.kill(COORDINATOR);
    world.start(COORDINATOR);
    world.kill("a");
    world.start("a");
    world.start("b");
    let watched = world.run_soon("lab", &["job", "watch", &id]);
    assert_eq!(watched["state"], json!("succeeded"), "{watched}");
    for party in ["a", "b", COORDINATOR] {
        world.kill(party);
        world.start(party);
    }
    let list = shown(&world.folder().join("keys.txt"));
    let opened = world.run_soon("lab", &["job", "result", &id, "--keys", &list]);
    check(&opened, &keys, |key| plain(&all, key, None));
    // Without the list the scores stand alone; with another list nothing is shown.
    let bare = world.run("lab", &["job", "result", &id]).ok();
    assert!(bare["result"]["scores"].as_array().unwrap().iter().all(|s| s.is_number() || s.is_null()));
    let other = shown(&world.write("other.txt", "C-000001\n"));
    let what = world.run("lab", &["job", "result", &id, "--keys", &other]).fails("args.invalid");
    assert!(what.contains("1 keys") && what.contains("160 rows"), "{what}");
    assert_eq!(world.run("lab", &["job", "result", &id, "--keys", "/nowhere"]).code(), "io.failed");
    // For people, in their language.
    let text = |lang: &str| {
        let mut command = world.command("lab", &["--lang", lang, "job", "result", &id, "--keys", &list]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(text("en").contains("C-000001") && text("zh").contains("未知"), "{}{}", text("en"), text("zh"));
}

/// What the contract does not name is refused with its code, by the tool that writes the job or by the owners' nodes.
#[test]
fn a_model_a_precision_and_rows_outside_the_contract_are_refused() {
    let parts = three_parts();
    let named: Vec<(&str, &Part)> = OWNERS[..2].iter().copied().zip(&parts).collect();
    let fine = ("credit", "rows = 500\nrows_per_job = 20\nprecision = \"score\"");
    let world = world(&named, &[fine, ("coarse", "rows = 500\nprecision = \"band\"")]);
    let keys: Vec<String> = (0..20).map(|i| format!("C-{i:06}")).collect();
    let more: Vec<String> = (0..21).map(|i| format!("C-{i:06}")).collect();
    for (contract, keys, code) in [("coarse", &keys, "refused.precision"), ("credit", &more, "refused.quota")] {
        let planned = world.run("lab", &["job", "plan", &shown(&job(&world, contract, keys, ""))]);
        assert_eq!((planned.status, &planned.json["owners"][0]["code"]), (3, &json!(code)));
        let done = submit(&world, contract, keys, "");
        assert_eq!((done.status, &done.json["state"], &done.json["code"]), (3, &json!("refused"), &json!(code)));
    }

    // A model that its owner holds and the contract does not name: the tool says so.
    let file = shown(&world.write("second.json", &parts[0].model));
    let second = world.run("a", &["model", "import", "credit", &file, "--format", "linear"]).ok();
    let file = job(&world, "credit", &keys, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let named = world.write("named.toml", format!("models = [\"a/credit@2\", \"b/credit@1\"]\n{text}"));
    world.run("lab", &["job", "submit", &shown(&named)]).fails("refused.model");
    let named = world.write("named.toml", format!("models = [\"a/credit@1\", \"b/credit\"]\n{text}"));
    let good = world.run("lab", &["job", "submit", &shown(&named), "--watch"]).ok();

    // And so do the nodes, to whom nobody's tool matters.
    let wire = Wire::open(&world.home("lab")).unwrap();
    let id = JobId::from_hex(good["id"].as_str().unwrap()).unwrap();
    let FromCoordinator::Result(sealed) = wire.ask(&ToCoordinator::Result(id)).unwrap() else { panic!() };
    let mut spec = JobSpec::verify(&sealed.job).unwrap().body().clone();
    let held = JobId::from_hex(second["id"].as_str().unwrap()).unwrap();
    let root = tacit_tests::wire::signing_key(&world.home("a"), "root.key").id();
    let model = spec.models.iter_mut().find(|m| m.owner == root).unwrap();
    model.model = tacit_types::ModelVersionId(held.0);
    spec.nonce = vec![9; 16];
    let id = wire.submit(&craft::sign(&wire.key(), &spec)).unwrap();
    let view = wire.ended(id).unwrap();
    assert!(matches!(&view.terminal, Some(Terminal::Refused { code: Code::RefusedModel, .. })), "{view:?}");
}

/// Rows are taken from the allowance on disk before a node admits: neither kill -9 nor many jobs at once give more.
#[test]
fn the_allowance_of_rows_survives_kills_and_is_never_exceeded() {
    let parts = three_parts();
    let named: Vec<(&str, &Part)> = OWNERS[..2].iter().copied().zip(&parts).collect();
    let allowed = "rows = 150\nprecision = \"score\"";
    let mut world = world(&named, &[("credit", allowed), ("burst", allowed)]);
    let keys = |n: usize| (0..n).map(|i| format!("C-{i:06}")).collect::<Vec<_>>();
    submit(&world, "credit", &keys(100), "").ok();
    let kill = |world: &mut World, party: &str| {
        world.kill(party);
        world.start(party);
        world.wait_online("lab", 2);
    };
    kill(&mut world, "a");
    let refused = submit(&world, "credit", &keys(51), "");
    assert_eq!((refused.status, &refused.json["code"]), (3, &json!("refused.quota")), "{}", refused.json);
    assert!(refused.json["reason"].as_str().unwrap().contains("50 of 150 are left"), "{}", refused.json);
    submit(&world, "credit", &keys(50), "").ok();
    kill(&mut world, "b");
    assert_eq!(submit(&world, "credit", &keys(1), "").json["code"], json!("refused.quota"));

    let ids: Vec<JobId> = (0..8)
        .map(|i| {
            if i == 2 {
                kill(&mut world, "a");
            }
            begin(&world, "burst", &keys(40))
        })
        .collect();
    let wire = Wire::open(&world.home("lab")).unwrap();
    let ends: Vec<Terminal> = ids.iter().map(|id| wire.ended(*id).unwrap().terminal.unwrap()).collect();
    let succeeded = ends.iter().filter(|end| **end == Terminal::Succeeded).count();
    let refused = ends.iter().filter(|end| end.code() == Some(Code::RefusedQuota)).count();
    assert!((1..=3).contains(&succeeded) && refused >= 5, "{ends:?}");
    assert_eq!(submit(&world, "burst", &keys(40), "").json["code"], json!("refused.quota"));
    let report = audit(&world);
    assert_eq!(report["valid"], report["receipts"], "{report}");
}

/// A result that fits no message: the node brings it, sealed, to the coordinator, and the recipient fetches it.
#[test]
fn a_hundred_thousand_rows_are_one_job() {
    let keys: Vec<String> = (0..100_000).map(|i| format!("C-{i:06}")).collect();
    let parts = [regression(5, &keys_of(21, 100_000), ["age", "income"], None), scorecard(6, &keys_of(22, 100_000))];
    let named: Vec<(&str, &Part)> = OWNERS[..2].iter().copied().zip(&parts).collect();
    let world = world(&named, &[("credit", "rows = 100000\nprecision = \"score\"")]);
    let begun = Instant::now();
    let done = submit(&world, "credit", &keys, "link = \"logistic\"").ok();
    let took = begun.elapsed();
    eprintln!("100,000 rows in {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let all: Vec<&Part> = parts.iter().collect();
    check(&done, &keys, |key| plain(&all, key, None).map(logistic));
    let deposited = std::fs::read_dir(world.home(COORDINATOR).join("depot")).unwrap().count();
    assert_eq!(deposited, 2, "the list of keys and the result");
    let list = shown(&world.folder().join("keys.txt"));
    let again = world.run("lab", &["job", "result", done["id"].as_str().unwrap(), "--keys", &list]).ok();
    assert_eq!(again["result"], done["result"]);
    assert_eq!(audit(&world)["valid"], json!(1));
    assert_eq!(submit(&world, "credit", &keys[..1], "").json["code"], json!("refused.quota"));
}

/// Jobs within which a process dies between its vote and its end, which is a matter of milliseconds.
const TRIES: u64 = 20;

/// Who aggregates is killed right after its vote for a result that fits no message. It has brought it to the coordinator before,
/// so it reports it when it is back, and nothing is computed again.
#[test]
fn a_large_result_is_kept_before_the_vote_for_it() {
    const ROWS: usize = 45_000;
    let keys: Vec<String> = (0..ROWS).map(|i| format!("C-{i:06}")).collect();
    let parts = [regression(5, &keys_of(21, ROWS), ["age", "income"], None), scorecard(6, &keys_of(22, ROWS))];
    let all: Vec<&Part> = parts.iter().collect();
    let owners = &OWNERS[..2];
    let named: Vec<(&str, &Part)> = owners.iter().copied().zip(&parts).collect();
    let mut world = world(&named, &[("credit", "rows = 5000000\nprecision = \"score\"")]);
    world.level = "debug";
    for owner in owners {
        world.kill(owner);
        world.start(owner);
    }
    world.wait_there("lab", owners.len());
    let wire = Wire::open(&world.home("lab")).unwrap();
    for k in 0..TRIES {
        let id = begin(&world, "credit", &keys);
        let short = id.short().to_string();
        let votes = |line: &str| ["a vote is durable", &short, "aggregates=true"].iter().all(|w| line.contains(w));
        let begun = Instant::now();
        let aggregator = loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", wire.job(id));
            match owners.iter().find(|owner| world.log(owner).lines().any(votes)) {
                Some(owner) => break *owner,
                None => std::thread::sleep(Duration::from_micros(300)),
            }
        };
        std::thread::sleep(Duration::from_micros((k + 2) % 5 * 400));
        world.kill(aggregator);
        let died = stored(&world, aggregator, id);
        world.start(aggregator);
        let view = wire.ended(id).unwrap();
        eprintln!("job {k}: kept {}, ended {}, {:?}", died.kept.is_some(), died.finished.is_some(), view.terminal);
        assert!(died.kept.is_some() || died.finished.is_some(), "a vote without what it is for");
        if died.finished.is_none() && view.terminal == Some(Terminal::Succeeded) {
            assert!(world.log(aggregator).contains("the end that it voted for stands"));
            let list = shown(&world.folder().join("keys.txt"));
            let opened = world.run_soon("lab", &["job", "result", &id.to_string(), "--keys", &list]);
            check(&opened, &keys, |key| plain(&all, key, None));
            return;
        }
        world.wait_there("lab", owners.len());
    }
    panic!("in {TRIES} jobs no aggregator died between its vote and its end, and was waited for");
}

/// The worked example of docs/SCORING.md, file by file and command by command.
#[test]
fn the_worked_example_works_as_it_stands() {
    let page = repo::text(Path::new("docs/SCORING.md"));
    // From there on it is another group: `scoring_examples`.
    let page = page.split_once("\n## 9. ").unwrap().0;
    let mut world = World::with_coordinator();
    for (party, role) in [("bank", "node"), ("telecom", "node"), ("notary", "node"), ("lab", "operator")] {
        world.join(party, role);
    }
    for file in [
        "bank.csv",
        "telecom.csv",
        "bank-credit.json",
        "telecom-credit.json",
        "contract.toml",
        "customers.txt",
        "job.toml",
        "bank-private.json",
        "private-contract.toml",
        "private-job.toml",
    ] {
        world.write(file, repo::snippet(page, file));
    }
    let (mut id, mut decided) = (String::new(), false);
    for block in page.split("```console\n").skip(1).map(|b| b.split_once("```").unwrap().0) {
        for line in block.lines() {
            let (party, command) = line.split_once("$ ").unwrap();
            let words: Vec<&str> =
                command.split_whitespace().map(|word| if word == "JOB" { id.as_str() } else { word }).collect();
            let mut command = match words[0] {
                "tacit" => world.command(party, &words[1..]),
                name => {
                    let mut command = Command::new(program(name));
                    command.args(&words[1..]);
                    command
                }
            };
            command.current_dir(world.folder());
            if !words.contains(&"--json") {
                command.arg("--json");
            }
            let done = World::finish(&mut command).ok();
            if words[1..].starts_with(&["job", "submit"]) {
                done["id"].as_str().unwrap().clone_into(&mut id);
            }
            if let Some(decisions) = done["result"]["decisions"].as_array() {
                let wanted = [("C-1003", json!(true)), ("C-1001", json!(false)), ("C-1002", Value::Null)];
                let wanted = wanted.map(|(key, decision)| json!({"key": key, "decision": decision}));
                assert_eq!(decisions, &wanted);
                assert!(page.contains("The decision for `C-1003` is yes, for `C-1001` no, and `C-1002` is unknown."));
                decided = true;
            }
            if line == "notary$ tacit node egress" {
                let kinds: Vec<&str> = done.as_array().unwrap().iter().map(|r| r["kind"].as_str().unwrap()).collect();
                assert!(["dealt seeds", "randomness"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
            }
            if let Some(scores) = done["result"]["scores"].as_array() {
                let margins =
                    [0.8 * -1.3 - 0.3 * 16_000.5 / 20_000.0 - 0.2 + 0.6 + 0.2, 0.8 * -0.6 - 0.105 - 0.2 - 0.5 - 0.4];
                for (row, (key, margin)) in scores.iter().zip([("C-1003", margins[0]), ("C-1001", margins[1])]) {
                    assert_eq!(row["key"], json!(key));
                    assert!((row["score"].as_f64().unwrap() - logistic(margin)).abs() < ERROR, "{row}");
                    let shown = format!("{:.6}", logistic(margin));
                    assert!(page.contains(&shown), "the page does not say that {key} scores {shown}");
                }
                assert_eq!(scores[2], json!({"key": "C-1002", "score": null}));
            }
        }
        // The page has the nodes run once the data is there, and the model offered within a second.
        if !world.runs("bank") {
            world.start("bank");
            world.start("telecom");
            world.start("notary");
            world.wait_online("lab", 2);
        }
        if block.contains("model import") {
            std::thread::sleep(Duration::from_secs(2));
        }
    }
    assert!(!id.is_empty() && decided);
}
