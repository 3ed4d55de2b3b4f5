//! Scores online of a model that stays private, end to end through processes: two owners of data, the model's owner, a
//! dealer, and `lab`, whose node takes calls. Scores, decisions, receipts and proofs, and what becomes of them when a party
//! is killed.

mod online;
mod private;

use std::time::{Duration, Instant};

use online::Online;
use private::{DEALER, ERROR, Model, RANGE, Table, keys, logistic, table};
use serde_json::{Value, json};
use tacit_tests::world::shown;
use tacit_tests::{Done, World};

const NODES: [&str; 4] = ["bank", "telecom", "risk", DEALER];
const ROWS: usize = 60;

struct Private {
    online: Online,
    tables: Vec<Table>,
    model: Model,
    /// Rows a second.
    pace: u64,
}

impl std::ops::Deref for Private {
    type Target = Online;

    fn deref(&self) -> &Online {
        &self.online
    }
}

impl std::ops::DerefMut for Private {
    fn deref_mut(&mut self) -> &mut Online {
        &mut self.online
    }
}

impl Private {
    /// `risk` has the model and no rows; the contract allows so much.
    fn new(precision: &str) -> Self {
        Self::at(precision, 2000)
    }

    fn at(precision: &str, pace: u64) -> Self {
        let tables = vec![table("bank", 5, ROWS, 3), table("telecom", 6, ROWS, 2)];
        let model = Model::of("risk", &tables);
        let world = World::with_coordinator();
        NODES.iter().for_each(|node| world.join(node, "node"));
        for table in &tables {
            let file = world.write(&format!("{}.csv", table.owner), &table.csv);
            let levels = ["data", "add", "data", &shown(&file), "--level", "id=align_key", "--all", "score_only"];
            world.run(table.owner, &levels).ok();
        }
        let file = world.write("model.json", model.json());
        world.run("risk", &["model", "import", "credit", &shown(&file), "--format", "linear"]).ok();
        let mut contract = format!(
            "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-linear/v1\"]\ndemander = \"lab\"\n\
             quota_jobs = 100\nvalid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 3\ncontributors = 2\n\
             [scoring]\nrows = 400000\nprecision = \"{precision}\"\n\
             online = {{ rows_per_window = 4000, rows_per_second = {pace} }}\n\
             [[models]]\nowner = \"risk\"\nmodel = \"credit\"\n"
        );
        for table in &tables {
            contract.push_str(&format!("[[datasets]]\nowner = \"{}\"\ndataset = \"data\"\n", table.owner));
        }
        Self { online: Online::new(world, &NODES, &contract), tables, model, pace }
    }

    fn publish(&self, name: &str, params: &str) -> Done {
        let mut text = format!(
            "kind = \"score-linear/v1\"\ncontract = \"credit\"\ndealer = \"{DEALER}\"\n[params]\nkey = \"id\"\n\
             bound = \"64\"\nlink = \"logistic\"\n{params}\n[params.online]\nrows = 4000\nrows_per_second = {}\n\
             seconds = 600\n[params.ranges]\n",
            self.pace
        );
        for name in self.tables.iter().flat_map(|t| &t.features) {
            text.push_str(&format!("{name} = [\"-{RANGE}\", \"{RANGE}\"]\n"));
        }
        self.online.publish(name, &text)
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
}

/// Scores are the plain model's, calls are counted in one receipt and proven by it, and decisions come out where a job
/// says so. What the contract does not allow is not published.
#[test]
fn calls_of_a_private_model_are_answered_counted_and_proven() {
    let online = Private::new("score");
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

/// However many names a model is published under: the rows a second are the contract's.
#[test]
fn names_of_one_contract_share_its_rows_a_second() {
    const PACE: u64 = 100;
    let online = Private::at("score", PACE);
    let names = ["one", "two", "three", "four"];
    let many: Vec<String> = keys(ROWS).into_iter().cycle().take(PACE as usize * 7 / 10).collect();
    for name in names {
        online.publish(name, "unknown = \"flag\"").ok();
        online.first(name, &many[..1]);
    }
    // Each name's own share is there again.
    std::thread::sleep(Duration::from_secs(2));
    let begun = Instant::now();
    let answers: Vec<Done> = names.into_iter().map(|name| online.call(name, &many)).collect();
    let most = PACE as f64 * (1.0 + begun.elapsed().as_secs_f64());
    let refused = answers.iter().filter(|done| done.status != 0);
    assert!(refused.clone().all(|done| done.code() == "refused.pace"), "{:?}", refused.map(Done::code).next());
    let answered = answers.iter().filter(|done| done.status == 0).count();
    assert!(
        answered > 0 && (answered * many.len()) as f64 <= most,
        "{answered} of {} rows, {most} at most",
        many.len()
    );
}

/// kill -9 of the dealer, of the model's owner and of the recipient: calls fail with a code, what was done is in a
/// receipt, and the next window, with randomness of its own, answers when the lost one is back.
#[test]
fn a_lost_party_ends_a_window_and_the_next_one_answers() {
    let mut online = Private::new("decision");
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
        online.back(lost);
        assert_eq!(online.first("credit", &few)["scores"], before, "after {lost} was back");
    }
    online.world.run("lab", &["model", "unpublish", "credit"]).ok();
    let windows = online.windows(4);
    assert!(windows.iter().all(|w| w.0 == "ok"), "{windows:?}");
    assert_eq!(online.verify(&[]).ok()["ok"], true);
}
