//! Trees that are divided among three owners by the command line score, end to end, what their own library predicts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::shown;

/// Owners and the features of the trees that they have rows of.
const OWNERS: [(&str, &str); 3] = [
    ("bank", "duration,amount,rate,credits,age,checking"),
    ("telecom", "residence,employment,phone"),
    ("shop", "plans,owner"),
];
/// Who deals.
const DEALER: &str = "notary";
/// How far a score may be from the library's.
const ERROR: f64 = 1e-6;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/credit").join(name)
}

/// `model divide` of the example's trees at the bank, with more arguments.
fn divide(trees: &str, out: &str, owners: &[String], more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> =
        ["model", "divide", "credit", trees, "--format", "xgboost", "--out", out].map(String::from).into();
    owners.iter().for_each(|owner| args.extend(["--owner".to_owned(), owner.clone()]));
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args
}

fn given() -> Vec<String> {
    OWNERS.map(|(party, features)| format!("{party}={features}")).into()
}

/// What the library predicts: the first `n` keys of the example, each with its probability.
fn predicted(n: usize) -> Vec<(String, f64)> {
    let text = fs::read_to_string(example("expected.csv")).unwrap();
    let place = text.lines().next().unwrap().split(',').position(|name| name == "trees").unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[0].to_owned(), cells[place].parse().unwrap())
    };
    text.lines().skip(1).take(n).map(row).collect()
}

#[test]
fn trees_divided_among_three_owners_score_what_their_library_predicts() {
    let mut world = World::with_coordinator();
    for (owner, features) in OWNERS {
        world.join(owner, "node");
        let table = shown(&example(&format!("{owner}.csv")));
        let levels: Vec<String> = features.split(',').map(|f| format!("{f}=score_only")).collect();
        let mut args = vec!["data", "add", "customers", &table, "--level", "id=align_key"];
        levels.iter().for_each(|level| args.extend(["--level", level]));
        world.run(owner, &args).ok();
    }
    world.join(DEALER, "node");
    world.join("lab", "operator");

    // At the bank: the file of its library becomes three.
    let (trees, out) = (shown(&example("trees.json")), world.folder().join("parts"));
    let args = divide(&trees, &shown(&out), &given(), &[]);
    let done = world.run("bank", &args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    assert_eq!((&done["trees"], &done["holder"]), (&json!(40), &json!("bank")), "{done}");
    let parts = done["parts"].as_array().unwrap();
    let seen: Vec<(&str, String, bool)> = parts
        .iter()
        .map(|part| {
            let names: Vec<&str> = part["features"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
            (part["party"].as_str().unwrap(), names.join(","), part["leaves"].as_bool().unwrap())
        })
        .collect();
    let wanted: Vec<(&str, String, bool)> = OWNERS.iter().map(|(p, f)| (*p, (*f).to_owned(), *p == "bank")).collect();
    assert_eq!(seen, wanted);
    assert!(parts.iter().all(|part| part["splits"].as_u64().unwrap() > 0), "{done}");
    // A binary tree has one leaf more than splits.
    let splits: u64 = parts.iter().map(|part| part["splits"].as_u64().unwrap()).sum();
    assert_eq!(done["leaves"], json!(splits + 40));
    for (owner, features) in OWNERS {
        let file = out.join(format!("{owner}.tacit"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(&file).unwrap();
        // Nobody is told what others have columns of.
        for (_, others) in OWNERS.iter().filter(|(other, _)| *other != owner) {
            for name in others.split(',') {
                assert!(!bytes.windows(name.len()).any(|w| w == name.as_bytes()), "{name} is in the part of {owner}");
            }
        }
        let part = world.run(owner, &["model", "import", "credit", &shown(&file), "--format", "tacit"]).ok();
        assert_eq!(part["features"], json!(features.split(',').collect::<Vec<_>>()));
    }

    let nodes = ["bank", "telecom", "shop", DEALER];
    nodes.iter().for_each(|node| world.start(node));
    world.wait_there("lab", nodes.len());
    let mut text = format!(
        "name = \"credit\"\npurpose = \"tests\"\nkinds = [\"score-trees/v1\"]\ndemander = \"lab\"\nquota_jobs = 10\n\
         valid_days = 30\ndealers = [\"{DEALER}\"]\n[cohort]\nrows = 3\ncontributors = 2\n[scoring]\nrows = 5000\n\
         precision = \"score\"\n"
    );
    for (owner, _) in OWNERS {
        text.push_str(&format!(
            "[[models]]\nowner = \"{owner}\"\nmodel = \"credit\"\n[[datasets]]\nowner = \"{owner}\"\ndataset = \"customers\"\n"
        ));
    }
    let contract = world.write("contract.toml", text);
    world.run("lab", &["contract", "draft", &shown(&contract)]).ok();
    nodes.iter().for_each(|node| drop(world.run(node, &["contract", "sign", "credit"]).ok()));

    let predicted = predicted(64);
    let mut keys: Vec<&str> = predicted.iter().map(|(key, _)| key.as_str()).collect();
    keys.push("X-0001");
    world.write("keys.txt", keys.join("\n"));
    let job = format!(
        "kind = \"score-trees/v1\"\ncontract = \"credit\"\nkeys = \"keys.txt\"\ndealer = \"{DEALER}\"\n\
         models = [\"bank/credit@1\", \"telecom/credit@1\", \"shop/credit@1\"]\n[params]\nkey = \"id\"\n\
         trees = {}\nleaves = {}\nbound = {}\nholder = {}\nlink = \"logistic\"\n",
        done["trees"], done["leaves"], done["bound"], done["holder"]
    );
    let scored = world.job(&job).ok();
    let scores = scored["result"]["scores"].as_array().unwrap_or_else(|| panic!("{scored}"));
    assert_eq!(scores.len(), keys.len());
    for (row, (key, wanted)) in scores.iter().zip(&predicted) {
        let found = row["score"].as_f64().unwrap_or_else(|| panic!("{row}"));
        assert!(row["key"] == json!(key) && (found - wanted).abs() <= ERROR, "{key}: {row} is not {wanted}");
    }
    assert_eq!(scores[64]["score"], Value::Null, "nobody has a row of it");
}

#[test]
fn what_does_not_divide_is_named_and_leaves_nothing_behind() {
    let world = World::with_coordinator();
    world.join("bank", "node");
    let (trees, out) = (shown(&example("trees.json")), world.folder().join("parts"));
    let run = |file: &str, owners: &[String], more: &[&str]| {
        let args = divide(file, &shown(&out), owners, more);
        world.run("bank", &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let all = given();
    let with = |more: &str| [all.as_slice(), &[more.to_owned()]].concat();
    let fails = |file: &str, owners: &[String], more: &[&str], code: &str, place: &str| {
        let what = run(file, owners, more).fails(code);
        assert!(what.contains(place), "`{what}` does not name `{place}`");
        assert!(!out.exists(), "{place} left something behind");
    };
    fails(&trees, &all[..2], &[], "model.features", "plans, owner");
    fails(&trees, &with("shop=income"), &[], "model.features", "\"income\"");
    fails(&trees, &with("shop=age"), &[], "model.features", "\"age\" is given to bank and to shop");
    fails(&trees, &with("shop=plans"), &[], "model.features", "shop is given \"plans\" twice");
    fails(&trees, &with("shop"), &[], "args.invalid", "PARTY=FEATURE");
    fails(&trees, &with("A Shop=age"), &[], "args.name_malformed", "");
    let everything = OWNERS.map(|(_, features)| format!("bank={features}"));
    fails(&trees, &everything, &[], "args.invalid", "nothing to divide");
    let half = fs::read(&trees).unwrap();
    let half = shown(&world.write("half.json", &half[..half.len() / 2]));
    fails(&half, &all, &[], "model.malformed", "half.json");
    fails("absent.json", &all, &[], "io.failed", "absent.json");
    let card = shown(&example("scorecard-bank.json"));
    let args = ["model", "divide", "card", &card, "--format", "scorecard", "--owner", "bank=age", "--out"];
    let what = world.run("bank", &[&args[..], &[&shown(&out)]].concat()).fails("model.unsupported");
    assert!(what.contains("trees") && !out.exists(), "{what}");

    // A holder without features gets the leaves alone; an empty folder is taken, one with a file in it is not.
    fs::create_dir(&out).unwrap();
    let done = run(&trees, &all, &["--holder", "vault"]).ok();
    let last = &done["parts"][3];
    assert_eq!((&last["party"], &last["leaves"], &last["splits"]), (&json!("vault"), &json!(true), &json!(0)));
    let kept = fs::read(out.join("vault.tacit")).unwrap();
    let what = run(&trees, &all, &[]).fails("io.failed");
    assert!(what.contains("not overwritten"), "{what}");
    assert_eq!((fs::read(out.join("vault.tacit")).unwrap(), out.join("telecom.tacit").exists()), (kept, true));

    let mut command = world.command("bank", &["--lang", "zh"]);
    let other = shown(&world.folder().join("other"));
    let output = command.args(divide(&trees, &other, &all, &[])).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("已拆分 credit") && text.contains("telecom.tacit"), "{text}");
}

/// A file of XGBoost before 3.1 has the codes of its categories alone: whoever imports or divides it declares them.
#[test]
fn categories_that_a_file_does_not_name_are_declared() {
    let world = World::with_coordinator();
    world.join("bank", "node");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/models/tests/fixtures/models");
    let file = shown(&folder.join("xgb-ward-1.7.json"));
    let wards = format!("ward={}", (0..40).map(|i| format!("w{i}")).collect::<Vec<_>>().join(","));
    let import = ["model", "import", "wards", &file, "--format", "xgboost"];
    let what = world.run("bank", &import).fails("model.features");
    assert!(what.contains("\"ward\"") && what.contains("--categories"), "{what}");
    world.run("bank", &[&import[..], &["--categories", "ward"]].concat()).fails("args.invalid");
    world
        .run("bank", &[&import[..], &["--categories", &wards, "--categories", "room=a,b"]].concat())
        .fails("model.features");
    let done = world.run("bank", &[&import[..], &["--categories", &wards]].concat()).ok();
    assert_eq!(done["features"].as_array().map(Vec::len), Some(11), "{done}");

    let names: Vec<&str> = done["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let owners = [format!("bank={}", names[..10].join(",")), "clinic=ward".to_owned()];
    let out = world.folder().join("parts");
    let run = |more: &[&str]| {
        let args = divide(&file, &shown(&out), &owners, more);
        world.run("bank", &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&[]).fails("model.features");
    assert!(!out.exists());
    let done = run(&["--categories", &wards]).ok();
    assert_eq!(done["parts"][1]["features"], json!(["ward"]), "{done}");
}
