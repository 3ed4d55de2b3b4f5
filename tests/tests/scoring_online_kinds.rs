//! Scores online of divided trees, of a private network and of a rule, end to end through processes: three owners of data,
//! a dealer, and `lab`, whose node takes calls. Scores are those of the libraries that made the models, each owner's node
//! counts different keys, and what becomes of both when a party is killed.

mod online;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use online::Online;
use serde_json::{Value, json};
use tacit_engine::Terminal;
use tacit_tests::world::shown;
use tacit_tests::{Wire, World};
use tacit_types::{Code, JobId};

/// Owners and the features of the models that they have rows of.
const OWNERS: [(&str, &str); 3] = [
    ("bank", "duration,amount,rate,credits,age,checking"),
    ("telecom", "residence,employment,phone"),
    ("shop", "plans,owner"),
];
/// Inputs of the network with their ranges, in its order.
const INPUTS: [(&str, &str, &str); 10] = [
    ("duration", "0", "72"),
    ("amount", "0", "20000"),
    ("rate", "1", "4"),
    ("credits", "1", "4"),
    ("age", "18", "80"),
    ("residence", "1", "4"),
    ("employment", "0", "4"),
    ("phone", "0", "1"),
    ("plans", "0", "1"),
    ("owner", "0", "1"),
];
const DEALER: &str = "notary";
const NODES: [&str; 4] = ["bank", "telecom", "shop", DEALER];
/// How far a score of the trees, and one of the network, may be from the library's.
const ERRORS: [f64; 2] = [1e-6, 1e-3];
/// Different keys that `lab` may ask about.
const DISTINCT: usize = 60;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/credit").join(name)
}

/// What a library predicts for each key of the example, in the example's order.
fn predicted(column: &str) -> Vec<(String, f64)> {
    let text = fs::read_to_string(example("expected.csv")).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[0].to_owned(), cells[place].parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

/// A table of an owner by key.
fn rows(owner: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(example(&format!("{owner}.csv"))).unwrap();
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = names.iter().zip(line.split(',')).map(|(n, c)| ((*n).to_owned(), c.to_owned()));
        (line.split(',').next().unwrap().to_owned(), cells.collect())
    };
    text.lines().skip(1).map(row).collect()
}

/// The parts of the trees at their owners, the network at the bank, and a contract that limits different keys. Gives what
/// dividing said.
fn begin() -> (Online, Value) {
    let world = World::with_coordinator();
    for (owner, features) in OWNERS {
        world.join(owner, "node");
        let table = shown(&example(&format!("{owner}.csv")));
        let levels: Vec<String> = features.split(',').map(|f| format!("{f}=score_only")).collect();
        let mut args = vec!["data", "add", "customers", &table, "--level", "id=align_key"];
        levels.iter().for_each(|level| args.extend(["--level", level]));
        world.run(owner, &args).ok();
    }
    world.join(DEALER, "node");
    let (trees, out) = (shown(&example("trees.json")), world.folder().join("parts"));
    let out_text = shown(&out);
    let mut args = vec!["model", "divide", "credit", &trees, "--format", "xgboost", "--out", &out_text];
    let given = OWNERS.map(|(party, features)| format!("{party}={features}"));
    given.iter().for_each(|owner| args.extend(["--owner", owner]));
    let divided = world.run("bank", &args).ok();
    for (owner, _) in OWNERS {
        let file = shown(&out.join(format!("{owner}.tacit")));
        world.run(owner, &["model", "import", "credit", &file, "--format", "tacit"]).ok();
    }
    let names = INPUTS.map(|(name, ..)| name).join(",");
    let network = shown(&example("network.onnx"));
    world.run("bank", &["model", "import", "network", &network, "--format", "onnx", "--features", &names]).ok();
    let mut contract = format!(
        "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-trees/v1\", \"score-network/v1\", \"verify/v1\"]\n\
         demander = \"lab\"\nquota_jobs = 100\nvalid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 3\n\
         contributors = 2\n[scoring]\nrows = 400000\nprecision = \"score\"\n\
         distinct = {{ keys = {DISTINCT}, days = 30 }}\n\
         online = {{ rows_per_window = 4000, rows_per_second = 2000 }}\n\
         [[models]]\nowner = \"bank\"\nmodel = \"network\"\n"
    );
    for (owner, _) in OWNERS {
        contract.push_str(&format!(
            "[[models]]\nowner = \"{owner}\"\nmodel = \"credit\"\n[[datasets]]\nowner = \"{owner}\"\n\
             dataset = \"customers\"\n"
        ));
    }
    (Online::new(world, &NODES, &contract), divided)
}

fn publish(online: &Online, name: &str, kind: &str, models: &str, params: &str) {
    let window = "[params.online]\nrows = 4000\nrows_per_second = 2000\nseconds = 600\n";
    // Tables come after what stands alone.
    let (alone, tables) =
        params.split_once("[params.").map_or((params, String::new()), |(a, t)| (a, format!("[params.{t}")));
    let text = format!(
        "kind = \"{kind}\"\ncontract = \"credit\"\ndealer = \"{DEALER}\"\nmodels = [{models}]\n[params]\nkey = \"id\"\n\
         {alone}\n{window}{tables}"
    );
    online.publish(name, &text).ok();
}

fn publish_trees(online: &Online, divided: &Value) {
    let models = OWNERS.map(|(owner, _)| format!("\"{owner}/credit@1\"")).join(", ");
    let params = format!(
        "trees = {}\nleaves = {}\nbound = {}\nholder = {}\nlink = \"logistic\"\n",
        divided["trees"], divided["leaves"], divided["bound"], divided["holder"]
    );
    publish(online, "trees", "score-trees/v1", &models, &params);
}

/// What stands beside each key is what the library predicts.
fn check(answer: &Value, wanted: &[(String, f64)], error: f64) {
    let scores = answer["scores"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(scores.len(), wanted.len());
    for (row, (key, wanted)) in scores.iter().zip(wanted) {
        let found = row["score"].as_f64().unwrap_or_else(|| panic!("{row}"));
        assert!(row["key"] == json!(key) && (found - wanted).abs() <= error, "{row} is not {wanted}");
    }
}

fn keys(rows: &[(String, f64)]) -> Vec<String> {
    rows.iter().map(|(key, _)| key.clone()).collect()
}

/// What `model list` says of a published model, once it has told of so many calls.
fn listed(online: &Online, name: &str, calls: u64) -> Value {
    let begun = Instant::now();
    loop {
        let list = online.world.run("lab", &["model", "list"]).ok();
        let mut all = list.as_array().into_iter().flatten().map(|row| &row["published"]);
        let one = all.find(|m| m["name"] == name).unwrap_or_else(|| panic!("{list}")).clone();
        if one["calls"].as_u64().is_some_and(|n| n >= calls) {
            return one;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{one}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Trees, a network and a rule answer what their libraries, or the table of all columns, say; calls are counted in one
/// receipt a window and proven by it, and their durations are listed.
#[test]
fn trees_a_network_and_a_rule_answer_as_their_libraries() {
    let (online, divided) = begin();
    let (trees, network) = (predicted("trees"), predicted("network"));
    publish_trees(&online, &divided);
    check(&online.first("trees", &keys(&trees[..1])), &trees[..1], ERRORS[0]);
    check(&online.call("trees", &keys(&trees[..40])).ok(), &trees[..40], ERRORS[0]);
    let last = online.call("trees", &keys(&trees[1..2])).ok();
    check(&last, &trees[1..2], ERRORS[0]);
    let status = listed(&online, "trees", 3);
    let (half, most) = (status["p50_us"].as_u64().unwrap(), status["p99_us"].as_u64().unwrap());
    assert!(half > 0 && half <= most && status["rows"] == json!(42), "{status}");
    online.world.run("lab", &["model", "unpublish", "trees"]).ok();
    assert_eq!(online.windows(1), [("ok".to_owned(), 3, 42)]);
    let call = format!("{}/{}", last["call"]["window"].as_str().unwrap(), last["call"]["number"]);
    let proof = online.world.folder().join("call.proof");
    online.world.run("lab", &["model", "call", "prove", &call, "--out", &shown(&proof)]).ok();
    let proven = online.verify(&["--call", &shown(&proof), "--key", &trees[1].0]).ok();
    assert_eq!((&proven["ok"], &proven["keys"]), (&json!(true), &json!(1)));
    assert_eq!(online.verify(&["--call", &shown(&proof), "--key", &trees[2].0]).status, 6);

    let mut params = String::from("link = \"logistic\"\nlayers = [16, 8]\nbound = \"256\"\n[params.ranges]\n");
    INPUTS.iter().for_each(|(name, least, most)| params.push_str(&format!("{name} = [\"{least}\", \"{most}\"]\n")));
    publish(&online, "network", "score-network/v1", "\"bank/network@1\"", &params);
    check(&online.first("network", &keys(&network[..1])), &network[..1], ERRORS[1]);
    check(&online.call("network", &keys(&network[..40])).ok(), &network[..40], ERRORS[1]);
    assert!(listed(&online, "network", 2)["p99_us"].as_u64().unwrap() > 0);
    online.world.run("lab", &["model", "unpublish", "network"]).ok();
    assert_eq!(online.windows(2).iter().filter(|w| **w == ("ok".to_owned(), 2, 41)).count(), 1);

    let rule = "rule = \"duration <= 24 and employment >= 2 and owner = 1\"\n";
    publish(&online, "rule", "verify/v1", "", rule);
    let some = keys(&trees[..40]);
    let answer = online.first("rule", &some);
    let tables = OWNERS.map(|(owner, _)| rows(owner));
    let of = |owner: usize, key: &str, name: &str| tables[owner][key][name].parse::<f64>().unwrap();
    let wanted: Vec<bool> = some
        .iter()
        .map(|k| of(0, k, "duration") <= 24.0 && of(1, k, "employment") >= 2.0 && of(2, k, "owner") >= 1.0)
        .collect();
    assert!(wanted.contains(&true) && wanted.contains(&false));
    let found: Vec<bool> =
        answer["scores"].as_array().unwrap().iter().map(|row| row["score"].as_bool().unwrap()).collect();
    assert_eq!(found, wanted);
}

/// Different keys are counted by each owner's node, once, whatever is asked with them and whoever is killed; calls about
/// keys of before go on.
#[test]
fn different_keys_are_counted_once_in_spite_of_kills() {
    let (mut online, divided) = begin();
    let trees = predicted("trees");
    let all = keys(&trees[..=DISTINCT]);
    publish_trees(&online, &divided);
    check(&online.first("trees", &all[..40]), &trees[..40], ERRORS[0]);
    let mut windows = 0;
    for lost in ["telecom", "bank", DEALER] {
        online.world.kill(lost);
        // What was dealt lasts until the dealer's loss is noticed.
        let begun = Instant::now();
        let failed = loop {
            let done = online.call("trees", &all[..2]);
            assert!(begun.elapsed() < Duration::from_secs(10), "{lost}");
            if done.status != 0 {
                break done;
            }
        };
        assert!(["job.peer_lost", "online.closed"].contains(&failed.code()), "{lost}: {}", failed.code());
        windows += 1;
        assert!(online.windows(windows).iter().all(|w| w.0 == "ok"));
        online.back(lost);
        check(&online.first("trees", &all[..40]), &trees[..40], ERRORS[0]);
    }
    // The rest of the period, with keys of before; then one key more.
    check(&online.call("trees", &all[30..DISTINCT]).ok(), &trees[30..DISTINCT], ERRORS[0]);
    assert_eq!(online.call("trees", &all[DISTINCT..]).code(), "refused.distinct");
    let mixed = [all[0].clone(), all[DISTINCT].clone()];
    assert_eq!(online.call("trees", &mixed).code(), "refused.distinct");
    check(&online.call("trees", &all[..3]).ok(), &trees[..3], ERRORS[0]);
    online.world.kill("shop");
    online.back("shop");
    check(&online.first("trees", &all[..DISTINCT]), &trees[..DISTINCT], ERRORS[0]);
    assert_eq!(online.call("trees", &all[DISTINCT..]).code(), "refused.distinct");
    assert_eq!(online.verify(&[]).ok()["ok"], true);
}

/// How long a loss may take to become an end.
const LOSS_MAX: Duration = Duration::from_secs(10);

/// Trees, a network and a rule over a long list, of which the dealer, the model's owner or an owner of rows is killed while
/// the others compute: the job has its end by that name within ten seconds, and the next job of its kind works.
#[test]
fn whoever_is_lost_while_trees_a_network_or_a_rule_are_computed_ends_the_job_by_name() {
    let (mut online, divided) = begin();
    let (trees, network) = (predicted("trees"), predicted("network"));
    let models = OWNERS.map(|(owner, _)| format!("\"{owner}/credit@1\"")).join(", ");
    let trees_params = format!(
        "trees = {}\nleaves = {}\nbound = {}\nholder = {}\nlink = \"logistic\"\n",
        divided["trees"], divided["leaves"], divided["bound"], divided["holder"]
    );
    let mut network_params = String::from("link = \"logistic\"\nlayers = [16, 8]\nbound = \"256\"\n[params.ranges]\n");
    INPUTS
        .iter()
        .for_each(|(name, least, most)| writeln!(network_params, "{name} = [\"{least}\", \"{most}\"]").unwrap());
    let rule = "rule = \"duration <= 24 and employment >= 2 and owner = 1\"\n".to_owned();
    let job = |world: &World, (kind, models, params): &(&str, &str, String), rows: usize| {
        let list: Vec<&str> = trees.iter().take(40).map(|(key, _)| key.as_str()).cycle().take(rows).collect();
        world.write("keys.txt", list.join("\n"));
        let text = format!(
            "kind = \"{kind}\"\ncontract = \"credit\"\ndealer = \"{DEALER}\"\nkeys = \"keys.txt\"\nmodels = [{models}]\n\
             [params]\nkey = \"id\"\n{params}"
        );
        shown(&world.write("list.job.toml", text))
    };
    let wire = Wire::open(&online.world.home("lab")).unwrap();
    let kinds = [
        (("score-trees/v1", models.as_str(), trees_params), DEALER, 8_000),
        (("score-network/v1", "\"bank/network@1\"", network_params), "bank", 8_000),
        (("verify/v1", "", rule), "shop", 40_000),
    ];
    for (what, lost, rows) in &kinds {
        let done = online.world.run("lab", &["job", "submit", &job(&online.world, what, *rows)]).ok();
        let id = JobId::from_hex(done["id"].as_str().unwrap()).unwrap();
        wire.computing(id);
        online.world.kill(lost);
        let begun = Instant::now();
        let view = wire.ended(id).unwrap();
        let took = begun.elapsed();
        let Some(Terminal::Failed { code: Code::JobPeerLost, party: Some(party), .. }) = &view.terminal else {
            panic!("{}: {view:?}", what.0)
        };
        assert!(party.as_str() == *lost && took < LOSS_MAX, "{}, after {took:?}: {view:?}", what.0);
        online.back(lost);
        let next = online.world.run("lab", &["job", "submit", &job(&online.world, what, 40), "--watch"]).ok();
        match what.0 {
            "score-trees/v1" => check(&next["result"], &trees[..40], ERRORS[0]),
            "score-network/v1" => check(&next["result"], &network[..40], ERRORS[1]),
            _ => assert_eq!(next["result"]["decisions"].as_array().map(Vec::len), Some(40), "{next}"),
        }
    }
}
