//! Scores online of a model that stays private, end to end through processes: two owners of data, the model's owner, a
//! dealer, and `lab`, whose node takes calls. Scores, decisions, receipts and proofs, and what becomes of them when a party
//! is killed.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use private::{DEALER, ERROR, Model, RANGE, Table, keys, logistic, table};
use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::{START_WAIT, shown};
use tacit_tests::{Done, World};

mod private;

const NODES: [&str; 4] = ["bank", "telecom", "risk", DEALER];
const ROWS: usize = 60;

struct Online {
    world: World,
    tables: Vec<Table>,
    model: Model,
    at: String,
    node: String,
    app: PathBuf,
}

impl Online {
    /// `risk` has the model and no rows; the contract allows so much.
    fn new(precision: &str) -> Self {
        let tables = vec![table("bank", 5, ROWS, 3), table("telecom", 6, ROWS, 2)];
        let model = Model::of("risk", &tables);
        let mut world = World::with_coordinator();
        NODES.iter().for_each(|node| world.join(node, "node"));
        for table in &tables {
            let file = world.write(&format!("{}.csv", table.owner), &table.csv);
            let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
            world.run(table.owner, &levels).ok();
        }
        let file = world.write("model.json", model.json());
        world.run("risk", &["model", "import", "credit", &shown(&file), "--format", "linear"]).ok();
        world.join("lab", "node");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let at = format!("127.0.0.1:{}", listener.port());
        let config = world.home("lab").join("node.toml");
        let text = std::fs::read_to_string(&config).expect("node.toml");
        std::fs::write(&config, format!("{text}\n[online]\nlisten = \"{at}\"\n")).expect("node.toml");
        NODES.iter().chain(&["lab"]).for_each(|node| world.start(node));
        world.wait_there("lab", NODES.len() + 1);
        let mut contract = format!(
            "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\n\
             quota_jobs = 100\nvalid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 3\ncontributors = 2\n\
             [scoring]\nrows = 400000\nprecision = \"{precision}\"\n\
             online = {{ rows_per_window = 4000, rows_per_second = 2000 }}\n\
             [[models]]\nowner = \"risk\"\nmodel = \"credit\"\n"
        );
        for table in &tables {
            contract.push_str(&format!("[[datasets]]\nowner = \"{}\"\ndataset = \"data\"\n", table.owner));
        }
        let file = world.write("contract.toml", contract);
        world.run_soon("lab", &["contract", "draft", &shown(&file)]);
        for node in NODES {
            world.run(node, &["contract", "sign", "credit"]).ok();
        }
        let app = world.folder().join("app.key");
        let added = world.run("lab", &["model", "caller", "add", "app", "--new", &shown(&app)]).ok();
        let node = added["node"].as_str().unwrap().to_owned();
        Self { world, tables, model, at, node, app }
    }

    fn publish(&self, name: &str, params: &str) -> Done {
        let mut text = format!(
            "kind = \"score-linear/v1\"\ncontract = \"credit\"\ndealer = \"{DEALER}\"\n[params]\nkey = \"id\"\n\
             bound = \"64\"\nlink = \"logistic\"\n{params}\n[params.online]\nrows = 4000\nrows_per_second = 2000\n\
             seconds = 600\n[params.ranges]\n"
        );
        for name in self.tables.iter().flat_map(|t| &t.features) {
            text.push_str(&format!("{name} = [\"-{RANGE}\", \"{RANGE}\"]\n"));
        }
        let file = self.world.write(&format!("{name}.toml"), text);
        self.world.run("lab", &["model", "publish", name, &shown(&file)])
    }

    fn call(&self, name: &str, keys: &[String]) -> Done {
        let app = shown(&self.app);
        let words = ["model", "score", name].into_iter().chain(keys.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(["--at", &self.at, "--node", &self.node, "--key", &app]).collect();
        self.world.run("lab", &words)
    }

    /// Calls until a window is open.
    fn first(&self, name: &str, keys: &[String]) -> Value {
        let begun = Instant::now();
        loop {
            let done = self.call(name, keys);
            if done.status == 0 {
                return done.ok();
            }
            let waits = ["online.closed", "online.replayed", "online.unknown", "online.caller", "job.peer_lost"];
            assert!(
                waits.contains(&done.code()) && begun.elapsed() < START_WAIT * 3,
                "{} {}\n{}",
                done.code(),
                done.what(),
                NODES.iter().chain(&["lab", "coordinator"]).map(|p| self.world.log(p)).collect::<Vec<_>>().join("\n")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn plain(&self, key: &str) -> Option<f64> {
        self.model.plain(&self.tables, key, None)
    }

    /// What stands beside each key is the plain score.
    fn check(&self, answer: &Value, keys: &[String]) {
        let scores = answer["scores"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(scores.len(), keys.len());
        for (row, key) in scores.iter().zip(keys) {
            match (row["score"].as_f64(), self.plain(key)) {
                (Some(found), Some(wanted)) => assert!((found - logistic(wanted)).abs() <= ERROR, "{key}: {found}"),
                (None, None) => assert_eq!(row["score"], Value::Null),
                other => panic!("{key}: {other:?}"),
            }
        }
    }

    /// The windows with receipts in which there was a call: state, calls and rows, once there are so many.
    fn windows(&self, wanted: usize) -> Vec<(String, u64, u64)> {
        let begun = Instant::now();
        loop {
            let list = self.world.run_soon("lab", &["receipt", "list"]);
            let count = |r: &Value, unit: &str| {
                let lines = r["lines"].as_array().into_iter().flatten();
                lines.filter(|l| l["unit"] == unit).filter_map(|l| l["quantity"].as_u64()).sum::<u64>()
            };
            let one = |r: &Value| (r["status"].as_str().unwrap().to_owned(), count(r, "call"), count(r, "row_asked"));
            let all: Vec<_> = list.as_array().unwrap().iter().map(one).filter(|w| w.1 > 0).collect();
            if all.len() >= wanted {
                return all;
            }
            assert!(begun.elapsed() < START_WAIT * 3, "{list}\n{}", self.world.log("lab"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The log as `tacit-verify` reads it, with more arguments.
    fn verify(&self, more: &[&str]) -> Done {
        let (bundle, trust) = (self.world.folder().join("log.bundle"), self.world.folder().join("group.trust"));
        self.world.run("lab", &["receipt", "export", "--out", &shown(&bundle), "--trust", &shown(&trust)]).ok();
        let mut verify = Command::new(program("tacit-verify"));
        World::finish(verify.arg(&bundle).arg("--trust").arg(&trust).arg("--json").args(more))
    }
}

/// Scores are the plain model's, calls are counted in one receipt and proven by it, and decisions come out where a job
/// says so. What the contract does not allow is not published.
#[test]
fn calls_of_a_private_model_are_answered_counted_and_proven() {
    let online = Online::new("score");
    let all = keys(ROWS);
    assert!(all.iter().any(|k| online.plain(k).is_none()), "some keys are unknown");
    online.publish("credit", "unknown = \"flag\"").ok();
    online.check(&online.first("credit", &all[..7]), &all[..7]);
    // More than a piece, less than one, and a key that nobody has.
    online.check(&online.call("credit", &all).ok(), &all);
    let stranger = ["nobody".to_owned(), all[0].clone()];
    let last = online.call("credit", &stranger).ok();
    online.check(&last, &stranger);
    let listed = online.world.run("lab", &["model", "list"]).ok();
    assert!(listed.to_string().contains("p99_us"), "{listed}");

    online.world.run("lab", &["model", "unpublish", "credit"]).ok();
    let rows = (7 + ROWS + 2) as u64;
    assert_eq!(online.windows(1), [("ok".to_owned(), 3, rows)]);
    let call = format!("{}/{}", last["call"]["window"].as_str().unwrap(), last["call"]["number"]);
    let proof = online.world.folder().join("call.proof");
    online.world.run("lab", &["model", "call", "prove", &call, "--out", &shown(&proof)]).ok();
    let proven = online.verify(&["--call", &shown(&proof), "--key", "nobody", "--key", &all[0]]).ok();
    assert_eq!((&proven["ok"], &proven["keys"]), (&json!(true), &json!(2)));
    assert_eq!(online.verify(&["--call", &shown(&proof), "--key", &all[1], "--key", &all[0]]).status, 6);

    online.publish("yes", "output = \"decision\"\nthreshold = \"-0.4\"").ok();
    let answer = online.first("yes", &all);
    for (row, key) in answer["scores"].as_array().unwrap().iter().zip(&all) {
        // None of these lies so near that an error would tell.
        let decided = online.plain(key).map_or(Value::Null, |margin| json!(margin >= -0.4));
        assert_eq!(row["score"], decided, "{key}");
    }
}

/// kill -9 of the dealer, of the model's owner and of the recipient: calls fail with a code, what was done is in a
/// receipt, and the next window, with randomness of its own, answers when the lost one is back.
#[test]
fn a_lost_party_ends_a_window_and_the_next_one_answers() {
    let mut online = Online::new("decision");
    let few = keys(4);
    online.publish("credit", "unknown = \"flag\"").fails("refused.precision");
    online.publish("credit", "output = \"decision\"\nthreshold = \"-0.4\"").ok();
    let before = online.first("credit", &few)["scores"].clone();
    for (number, lost) in [DEALER, "risk", "lab"].into_iter().enumerate() {
        online.world.kill(lost);
        if lost != "lab" {
            // What was dealt lasts until the dealer's loss is noticed.
            let (begun, mut answered) = (Instant::now(), 1);
            let failed = loop {
                let done = online.call("credit", &few);
                assert!(begun.elapsed() < Duration::from_secs(10), "{lost}: {:?}", begun.elapsed());
                if done.status != 0 {
                    break done;
                }
                assert_eq!((lost, &done.json["scores"]), (DEALER, &before));
                answered += 1;
            };
            assert!(["job.peer_lost", "online.closed"].contains(&failed.code()), "{lost}: {}", failed.code());
            // The call that failed may have been put to the others: it counts then.
            let (status, calls, rows) = online.windows(number + 1)[number].clone();
            assert!(status == "ok" && (answered..=answered + 1).contains(&calls), "{lost}: {calls} of {answered}");
            assert_eq!(rows, 4 * calls);
        }
        online.world.start(lost);
        online.world.wait_there("lab", NODES.len() + 1);
        assert_eq!(online.first("credit", &few)["scores"], before, "after {lost} was back");
    }
    online.world.run("lab", &["model", "unpublish", "credit"]).ok();
    let windows = online.windows(4);
    assert!(windows.iter().all(|w| w.0 == "ok"), "{windows:?}");
    assert_eq!(online.verify(&[]).ok()["ok"], true);
}
