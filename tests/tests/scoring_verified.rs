//! Verified scores through the programs, with a dealer that the contract names: the results are the plain models', the
//! plan says what it costs and every party's receipt that it was so; and a contract that demands it refuses all else.

mod private;

use std::path::Path;

use private::{DEALER, HEAD, Private, audit, id_of, keys, kinds, ledger, logistic, table};
use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::shown;

/// What the plan says of a verified job, of so many audits.
fn planned(world: &World, file: &Path, audits: u64) -> Value {
    let planned = world.run("lab", &["job", "plan", &shown(file)]).ok();
    assert_eq!(planned["disclosures"][0]["what"], json!("verified result"), "{planned}");
    assert_eq!(planned["verified"]["audits"], json!(audits), "{planned}");
    let text = |lang: &str| {
        let mut command = world.command("lab", &["--lang", lang, "job", "plan", &shown(file)]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(text("en").contains("verified: a party that computes wrong is found"), "{}", text("en"));
    assert!(text("zh").contains("经验证"));
    planned
}

/// The receipt says that the job was verified; gives it.
fn receipt(world: &World, done: &Value) -> Value {
    let receipt = world.run("lab", &["receipt", "show", &id_of(done).to_string()]).ok();
    assert_eq!((&receipt["verified"], &receipt["disclosures"][0]["what"]), (&json!(true), &json!("verified result")));
    receipt
}

/// A linear model of one party over another's features, and over those of two, by every node's own rules.
#[test]
fn verified_linear_scores_are_the_plain_models_and_a_contract_can_demand_them() {
    let demanded = "rows = 5000\nprecision = \"score\"\nverified = true";
    for tables in [vec![table("telecom", 3, 60, 3)], vec![table("telecom", 5, 60, 2), table("shop", 6, 60, 3)]] {
        let parties = tables.len() + 1;
        let private = Private::new(tables, "bank", demanded);
        let (world, keys) = (&private.world, keys(64));
        let shown_contract = world.run("lab", &["contract", "show", "credit"]).ok();
        assert_eq!(shown_contract["scoring"]["verified"], json!(true), "{shown_contract}");

        // Without it every node says no, by its code, before anything runs.
        let refused = private.submit(&keys, "");
        assert_eq!((refused.status, &refused.json["code"]), (3, &json!("refused.unverified")), "{}", refused.json);
        let plain = private.job(HEAD, &keys, "");
        let asked = world.run("lab", &["job", "plan", &shown(&plain)]);
        let owners = asked.json["owners"].as_array().unwrap();
        assert!(owners.iter().all(|o| o["code"] == json!("refused.unverified")), "{}", asked.json);
        assert_eq!((owners.len(), &asked.json["verified"]), (parties + 1, &Value::Null), "{}", asked.json);

        let verified = private.job(HEAD, &keys, "link = \"logistic\"\nverified = true\naudits = 2");
        let planned = planned(world, &verified, 2);
        let done = world.run("lab", &["job", "submit", &shown(&verified), "--watch"]).ok();
        private.check(&done, &keys, |key| private.plain(key).map(logistic));
        // The plan's bytes are those of the ledgers; headers and the like come on top.
        let sent = |node: &str| kinds(&ledger(world, node, id_of(&done))).values().sum::<u64>();
        let most = private.nodes.iter().filter(|n| **n != DEALER).map(|n| sent(n)).max().unwrap();
        let said = planned["verified"]["bytes_sent"].as_u64().unwrap();
        assert!(most > said / 2 && most < said * 2, "{most} bytes sent, {said} planned");
        let dealt = kinds(&ledger(world, DEALER, id_of(&done)))["randomness"];
        let said = planned["verified"]["bytes_dealt"].as_u64().unwrap();
        assert!(dealt >= said * 9 / 10 && dealt < said + 8192, "{dealt} bytes dealt, {said} planned");

        let receipt = receipt(world, &done);
        assert_eq!(receipt["attestations"], json!(parties + 1), "all attest it, the dealer too");
        let decided = private.submit(&keys, "output = \"decision\"\nthreshold = \"0\"\nverified = true").ok();
        let wanted: Vec<Value> =
            keys.iter().map(|key| json!({"key": key, "decision": private.plain(key).map(|m| m >= 0.0)})).collect();
        assert_eq!(decided["result"]["decisions"], json!(wanted));
        let report = audit(world);
        assert_eq!((&report["receipts"], &report["valid"]), (&json!(3), &json!(3)), "{report}");
    }
    // Where nothing demands it, an unverified job's receipt says that it was none.
    let private = Private::new(vec![table("telecom", 3, 30, 2)], "bank", "rows = 500\nprecision = \"score\"");
    let done = private.submit(&keys(30), "").ok();
    let receipt = private.world.run("lab", &["receipt", "show", &id_of(&done).to_string()]).ok();
    assert_eq!((&receipt["verified"], &receipt["disclosures"][0]["what"]), (&json!(false), &json!("result")));
}

fn example(name: &str) -> String {
    shown(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/credit").join(name))
}

/// The example's ensemble of 40 trees at the bank, over features of two others and of its own.
#[test]
fn verified_trees_score_what_their_library_predicts() {
    let owners = [
        ("bank", "duration,amount,rate,credits,age,checking"),
        ("telecom", "residence,employment,phone"),
        ("shop", "plans,owner"),
    ];
    let mut world = World::with_coordinator();
    for (owner, features) in owners {
        world.join(owner, "node");
        let table = example(&format!("{owner}.csv"));
        let levels: Vec<String> = features.split(',').map(|f| format!("{f}=score_only")).collect();
        let mut args = vec!["data", "add", "customers", &table, "--level", "id=align_key"];
        levels.iter().for_each(|level| args.extend(["--level", level]));
        world.run(owner, &args).ok();
    }
    world.run("bank", &["model", "import", "trees", &example("trees.json"), "--format", "xgboost"]).ok();
    world.join(DEALER, "node");
    world.join("lab", "operator");
    let nodes = ["bank", "telecom", "shop", DEALER];
    nodes.iter().for_each(|node| world.start(node));
    world.wait_there("lab", nodes.len());
    let mut text = format!(
        "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-trees/v1\"]\ndemander = \"lab\"\nquota_jobs = 10\n\
         valid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 3\ncontributors = 2\n[scoring]\nrows = 5000\n\
         precision = \"score\"\nverified = true\n[[models]]\nowner = \"bank\"\nmodel = \"trees\"\n"
    );
    for (owner, _) in owners {
        text.push_str(&format!("[[datasets]]\nowner = \"{owner}\"\ndataset = \"customers\"\n"));
    }
    let contract = world.write("contract.toml", text);
    world.run("lab", &["contract", "draft", &shown(&contract)]).ok();
    nodes.iter().for_each(|node| drop(world.run(node, &["contract", "sign", "credit"]).ok()));

    let expected = std::fs::read_to_string(example("expected.csv")).unwrap();
    let rows: Vec<Vec<&str>> = expected.lines().take(65).map(|line| line.split(',').collect()).collect();
    let place = rows[0].iter().position(|name| *name == "trees").unwrap();
    let mut keys: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    keys.push("X-0001");
    world.write("keys.txt", keys.join("\n"));
    let job = |verified: bool| {
        let text = format!(
            "kind = \"score-trees/v1\"\n{HEAD}\nkeys = \"keys.txt\"\nmodels = [\"bank/trees@1\"]\n[params]\nkey = \"id\"\n\
             library = \"xgboost\"\ntrees = 40\nleaves = 16\nbound = \"64\"\nlink = \"logistic\"\nverified = {verified}\n"
        );
        world.write("job.toml", text)
    };
    let refused = world.run("lab", &["job", "submit", &shown(&job(false)), "--watch"]);
    assert_eq!((refused.status, &refused.json["code"]), (3, &json!("refused.unverified")), "{}", refused.json);
    let file = job(true);
    let planned = planned(&world, &file, 1);
    assert!(planned["verified"]["bytes_dealt"].as_u64().unwrap() > 1 << 24, "{planned}");
    let done = world.run("lab", &["job", "submit", &shown(&file), "--watch"]).ok();
    let scores = done["result"]["scores"].as_array().unwrap_or_else(|| panic!("{done}"));
    assert_eq!(scores.len(), keys.len());
    for (row, wanted) in scores.iter().zip(&rows[1..]) {
        let (found, plain): (f64, f64) = (row["score"].as_f64().unwrap(), wanted[place].parse().unwrap());
        assert!(row["key"] == json!(wanted[0]) && (found - plain).abs() <= 1e-6, "{row} is not {plain}");
    }
    assert_eq!(scores[64]["score"], Value::Null, "nobody has a row of it");
    receipt(&world, &done);
    assert_eq!(audit(&world)["valid"], json!(2));
}
