//! Scores over the rows that an alignment found: of two owners who aligned a part of their tables, a private model scores
//! the people that both have in it, and everyone else is unknown to it, whatever the owners' whole tables say.

mod private;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use private::*;
use serde_json::{Value, json};
use tacit_tests::world::{COORDINATOR, shown};

const OWNERS: [&str; 2] = ["a", "b"];
/// What of an owner's last feature is in the part that is aligned.
const LEAST: f64 = -20.0;

/// The rows of a table that are in the part: what is known of each, by its key.
fn part(table: &Table) -> BTreeMap<String, Vec<Vec<Option<f64>>>> {
    let mut rows: BTreeMap<String, Vec<Vec<Option<f64>>>> = BTreeMap::new();
    for line in table.csv.lines().skip(1) {
        let (key, cells) = line.split_once(',').unwrap();
        let cells: Vec<Option<f64>> = cells.split(',').map(|cell| cell.parse().ok()).collect();
        if cells.last().copied().flatten().unwrap() >= LEAST {
            rows.entry(key.to_owned()).or_default().push(cells);
        }
    }
    rows
}

/// The score of a key by the aligned rows: both have it in their part, each once and without a gap.
fn plain(private: &Private, parts: &[BTreeMap<String, Vec<Vec<Option<f64>>>>], key: &str) -> Option<f64> {
    let mut sum = private.model.intercept;
    for (table, part) in private.tables.iter().zip(parts) {
        let [row] = &part.get(key)?[..] else { return None };
        for (name, value) in table.features.iter().zip(row) {
            sum += private.model.weights[name] * (*value)?.clamp(-RANGE, RANGE);
        }
    }
    Some(sum)
}

/// Drafts a contract as soon as what it names is offered, and has all sign.
fn agree(private: &Private, name: &str, text: &str, signers: &[&str]) {
    let file = shown(&private.world.write(&format!("{name}.contract.toml"), text));
    let begun = Instant::now();
    loop {
        let done = private.world.run("lab", &["contract", "draft", &file]);
        if done.status == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", done.json);
        std::thread::sleep(Duration::from_millis(200));
    }
    for signer in signers {
        private.world.run(signer, &["contract", "sign", name]).ok();
    }
}

#[test]
fn an_aligned_version_is_scored_and_nobody_outside_it() {
    let tables = vec![table("a", 3, 90, 2), table("b", 4, 90, 2)];
    let private = Private::new(tables, "m", "rows = 5000\nprecision = \"score\"");
    let world = &private.world;
    let terms = |name: &str, kind: &str| {
        format!(
            "name = \"{name}\"\npurpose = \"tests\"\nkinds = [\"{kind}\"]\ndemander = \"lab\"\nquota_jobs = 9\n\
             valid_days = 30\n"
        )
    };
    let datasets = |dataset: &str| -> String {
        OWNERS.map(|owner| format!("[[datasets]]\nowner = \"{owner}\"\ndataset = \"{dataset}\"\n")).concat()
    };

    // Each has a part of its rows under a view, and both align by these.
    for owner in OWNERS {
        let file = shown(&world.folder().join(format!("{owner}.csv")));
        let view = format!("some=SELECT * FROM data WHERE {owner}1 >= {LEAST}");
        let add = ["data", "add", "people", &file, "--level", "id=align_key", "--all", "score_only", "--view", &view];
        world.run(owner, &add).ok();
    }
    let cohort = "[cohort]\nrows = 3\ncontributors = 2\n";
    let alignment = "[alignment]\nlevels = [\"both\"]\nkeys_min = 10\nkeep_days = 9\n";
    let text = format!("{}{cohort}{alignment}{}", terms("join", "align/v1"), datasets("people"));
    agree(&private, "join", &text, &OWNERS);
    let mut job = "kind = \"align/v1\"\ncontract = \"join\"\nview = \"some\"\nattempt_seconds = 120\n[params]\n\
         level = \"both\"\nmode = \"double_mask\"\nkeys_min = 10\nkeep_days = 9\n[params.key]\nid = [\"trim/1\"]\n"
        .to_owned();
    OWNERS.iter().for_each(|owner| write!(job, "[params.columns.{owner}]\nid = \"id\"\n").unwrap());
    let file = shown(&world.write("align.job.toml", job));
    world.run("lab", &["job", "submit", &file, "--watch"]).ok();

    // A contract of scores over what was found.
    let scoring = "dealers = [\"notary\"]\n";
    let rest = "[scoring]\nrows = 5000\nprecision = \"score\"\n[[models]]\nowner = \"m\"\nmodel = \"credit\"\n";
    let text = format!("{}{scoring}{cohort}{rest}{}", terms("aligned", "score-linear/v1"), datasets("people-aligned"));
    agree(&private, "aligned", &text, &private.nodes);

    let parts: Vec<_> = private.tables.iter().map(part).collect();
    let all = keys(90);
    let job = private.job("contract = \"aligned\"\ndealer = \"notary\"", &all, "");
    let done = world.run("lab", &["job", "submit", &shown(&job), "--watch"]).ok();
    private.check(&done, &all, |key| plain(&private, &parts, key));

    // The whole tables know more than was aligned, so the alignment is what decided.
    let whole: BTreeSet<&String> = all.iter().filter(|key| private.plain(key).is_some()).collect();
    let aligned: BTreeSet<&String> = all.iter().filter(|key| plain(&private, &parts, key).is_some()).collect();
    assert!(aligned.len() >= 10 && whole.difference(&aligned).count() >= 10, "{aligned:?} {whole:?}");
    let scored = private.submit(&all, "").ok();
    private.check(&scored, &all, |key| private.plain(key));

    // The same people without a list: what the alignment found are the rows, in the order that both owners have.
    let id = |owner: &str| {
        let listed = world.run(owner, &["data", "list"]).ok();
        let found = listed.as_array().unwrap().iter().find(|d| d["name"] == "people-aligned").cloned();
        found.unwrap()["aligned"]["job"].as_str().unwrap().to_owned()
    };
    let file = |contract: &str, more: &str, rows: u64| {
        let mut text = format!(
            "kind = \"score-linear/v1\"\ncontract = \"{contract}\"\ndealer = \"notary\"\n{more}[params]\n\
             aligned = \"{}\"\nrows = {rows}\nbound = \"64\"\n[params.ranges]\n",
            id("a")
        );
        for name in private.tables.iter().flat_map(|t| &t.features) {
            writeln!(text, "{name} = [\"-{RANGE}\", \"{RANGE}\"]").unwrap();
        }
        shown(&world.write("found.job.toml", text))
    };
    let room = 80;
    let done = world.run("lab", &["job", "submit", &file("aligned", "", room), "--watch"]).ok();
    assert_eq!(done["result"]["scores"].as_array().map(Vec::len), Some(room as usize));
    let known = |owner: &str| {
        let room = room.to_string();
        let listed = world.run(owner, &["data", "keys", "people-aligned", "--rows", &room]).ok();
        let keys: Vec<String> =
            listed["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect();
        keys
    };
    let found = known("a");
    assert_eq!(found, known("b"), "in one order");
    let both = |key: &String| parts.iter().all(|part| part.contains_key(key));
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), all.iter().filter(|key| both(key)).collect());
    let listed: Vec<String> =
        found.iter().cloned().chain((found.len()..room as usize).map(|i| format!("-{i}"))).collect();
    let lines = shown(&world.write("found.txt", listed.join("\n")));
    let shown_result = world.run("lab", &["job", "result", done["id"].as_str().unwrap(), "--keys", &lines]).ok();
    private.check(&shown_result, &listed, |key| plain(&private, &parts, key));
    // What does not go together is refused: too little room, a list beside, rows that no alignment found, a search for more.
    let refused = |file: &str, code: &str| {
        let done = world.run("lab", &["job", "submit", file, "--watch"]);
        assert!(done.status != 0 && done.json.to_string().contains(code), "{code}: {}", done.json);
    };
    refused(&file("aligned", "keys = \"keys.txt\"\n", room), "refused.parameters");
    refused(&file("credit", "", room), "refused.dataset");
    refused(&file("aligned", "", 0), "refused.parameters");
    // Whether there is room the others are not told in words; the owner's log says it.
    let tight = world.run("lab", &["job", "submit", &file("aligned", "", 9), "--watch"]);
    assert_eq!((tight.status != 0, &tight.json["code"]), (true, &json!("job.local")), "{}", tight.json);
    assert!(OWNERS.iter().any(|owner| world.log(owner).contains("room for 9 rows")), "{}", world.log("a"));
    // Of a model that does not fit a job nobody learns by how much.
    let text =
        std::fs::read_to_string(file("aligned", "", room)).unwrap().replace("bound = \"64\"", "bound = \"0.0001\"");
    let small = world.run("lab", &["job", "submit", &shown(&world.write("small.job.toml", text)), "--watch"]);
    assert_eq!(small.json["code"], json!("model.precision"), "{}", small.json);
    let id = small.json["id"].as_str().unwrap().to_owned();
    let told = world.run("lab", &["job", "show", &id]).ok().to_string() + &small.json.to_string();
    assert!(!told.contains("reaches") && !world.log(COORDINATOR).contains("reaches"), "{told}");
    assert!(world.log("m").contains("the model reaches"), "the owner's own log says it");
    assert_ne!(world.run("a", &["data", "keys", "people-aligned", "--rows", "9"]).status, 0);
    assert_ne!(world.run("a", &["data", "keys", "people"]).status, 0);

    assert!(audit(world)["valid"].as_u64() >= Some(4));
    let version = |owner: &str| -> Value {
        let listed = world.run(owner, &["data", "list"]).ok();
        let found = listed.as_array().unwrap().iter().find(|d| d["name"] == "people-aligned").cloned();
        found.unwrap_or_else(|| panic!("{listed}"))
    };
    for owner in OWNERS {
        assert_eq!(version(owner)["aligned"]["level"], json!("both"));
    }
}
