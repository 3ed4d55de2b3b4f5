//! A plan that divides by worth, through the programs: the parties agree on what coalitions are worth, the coordinator
//! charges and settles by it, and the verifier holds it. Sampled orders come from a witnessed checkpoint that a file names.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, shown};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n75,north\n";
/// What coalitions are worth: a alone is worth much, b and c only together with somebody.
const WORTH: [(&str, u64); 7] = [("a", 60), ("b", 0), ("c", 0), ("a+b", 90), ("a+c", 60), ("b+c", 30), ("a+b+c", 120)];

fn now() -> String {
    let now = tacit_node::now();
    format!("{}.{:03}Z", now.to_string().trim_end_matches('Z'), now.0 % 1000)
}

/// A contract with a plan that divides so, in force, and used once.
fn plan(world: &World, name: &str, split: &str) {
    let text = format!(
        "currency = \"CNY\"\npayer = \"lab\"\npayees = [\"a\", \"b\", \"c\"]\nsubscription = \"100.00\"\n{split}\n\
         arbiter = \"authority\"\n"
    );
    let file = world.write(&format!("{name}.toml"), text);
    world.agree(name, &OWNERS, 50, &format!("price = \"{name}.toml\""));
    world.run("lab", &["price", "draft", &shown(&file), "--contract", name]).ok();
    OWNERS.iter().for_each(|owner| _ = world.run(owner, &["price", "sign", name]).ok());
    world.job(&format!("kind = \"count/v1\"\ncontract = \"{name}\"\n[params]\nfilter = \"age >= 40\"\n")).ok();
}

/// Fills in a file that `value ask` wrote. The coalitions in it are those that a division looks at.
fn fill(world: &World, name: &str, text: &str) -> (String, usize) {
    let mut count = 0;
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(" = 0") {
            Some((names, "")) => {
                count += 1;
                let names = names.trim_matches('"');
                let mut sorted: Vec<&str> = names.split('+').collect();
                sorted.sort_unstable();
                let sorted = sorted.join("+");
                let worth = WORTH.iter().find(|(n, _)| *n == sorted).unwrap_or_else(|| panic!("{names}")).1;
                format!("\"{names}\" = {worth}")
            }
            _ => line.to_owned(),
        })
        .collect();
    (shown(&world.write(&format!("{name}.value.toml"), lines.join("\n"))), count)
}

/// Signs a valuation by payer and payees; gives how a million is divided by it.
fn agree(world: &World, file: &str) -> BTreeMap<String, u64> {
    let drafted = world.run("lab", &["value", "draft", file]).ok();
    let leaf = drafted["leaf"].as_u64().unwrap().to_string();
    let listed = |state: &str| {
        let list = world.run("b", &["value", "list"]).ok();
        let found = list.as_array().unwrap().iter().find(|v| v["leaf"] == drafted["leaf"]).unwrap().clone();
        assert_eq!(found["state"], json!(state), "{found}");
        found
    };
    assert_eq!(listed("to be signed")["missing"], json!(["a", "b", "c"]));
    OWNERS.iter().for_each(|owner| _ = world.run(owner, &["value", "sign", &leaf]).ok());
    let parts = listed("in force")["parts_ppm"].clone();
    assert_eq!(parts, drafted["parts_ppm"]);
    serde_json::from_value(parts).unwrap()
}

fn shares(world: &World, contract: &str, charges: &Value) -> BTreeMap<String, i64> {
    let plan = world.run("lab", &["price", "show", contract]).ok()["plan"].clone();
    let charge = charges.as_array().unwrap().iter().find(|c| c["plan"] == plan).unwrap_or_else(|| panic!("{charges}"));
    let shares = charge["shares"].as_array().unwrap().iter();
    shares.map(|s| (s["party"].as_str().unwrap().to_owned(), s["fen"].as_i64().unwrap())).collect()
}

#[test]
fn payees_divide_by_what_they_are_worth_together() {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.join("authority", "regulator");
    plan(&world, "exact", "split = \"shapley\"");
    plan(&world, "without", "split = \"leave_one_out\"");
    plan(&world, "drawn", "split = \"shapley_sampled\"\nsamples = 40");
    plan(&world, "even", "split = \"equal\"");
    let until = now();
    let out = world.folder().join("ask.toml");
    let ask = |contract: &str| {
        world.run("lab", &["value", "ask", contract, "--until", &until, "--out", &shown(&out)]).ok();
        std::fs::read_to_string(&out).unwrap()
    };
    world.run("lab", &["value", "ask", "even", "--until", &until, "--out", &shown(&out)]).fails("receipt.plan");

    // The Shapley value of these: a 75, b 30, c 15 of 120; what is lost without each: a 90, b 60, c 30 of 180.
    let (file, count) = fill(&world, "exact", &ask("exact"));
    assert_eq!(count, 7);
    // Names stand in the order of keys.
    let whole = std::fs::read_to_string(&file).unwrap();
    let altered = ["\"a+c\"", "\"c+a\""].iter().fold(whole.clone(), |text, pair| text.replace(pair, "\"a+nobody\""));
    assert_ne!(altered, whole);
    let altered = shown(&world.write("altered.toml", altered));
    world.run("lab", &["value", "draft", &altered]).fails("args.invalid");
    assert_eq!(
        agree(&world, &file),
        [("a", 625_000), ("b", 250_000), ("c", 125_000)].map(|(n, p)| (n.to_owned(), p)).into()
    );
    let (file, count) = fill(&world, "without", &ask("without"));
    assert_eq!(count, 4);
    assert_eq!(
        agree(&world, &file),
        [("a", 500_000), ("b", 333_333), ("c", 166_667)].map(|(n, p)| (n.to_owned(), p)).into()
    );
    let text = ask("drawn");
    assert!(text.contains("checkpoint = ") && text.contains("test.tacit/usage/2026"), "{text}");
    let (file, count) = fill(&world, "drawn", &text);
    assert!((4..=7).contains(&count), "{count}");
    let drawn = agree(&world, &file);
    assert_eq!(drawn.values().sum::<u64>(), 1_000_000);
    assert!(drawn["a"] > drawn["b"] && drawn["b"] > drawn["c"], "{drawn:?}");

    let closed = world.run_soon(COORDINATOR, &["period", "close", "--until", &until]);
    assert_eq!((closed["charges"].as_array().map(Vec::len), &closed["withheld"]), (Some(4), &json!([])), "{closed}");
    let charges = world.run("lab", &["charge", "list"]).ok();
    let of = |a: i64, b: i64, c: i64| -> BTreeMap<String, i64> {
        [("a", a), ("b", b), ("c", c)].map(|(n, fen)| (n.to_owned(), fen)).into()
    };
    assert_eq!(shares(&world, "exact", &charges), of(6250, 2500, 1250));
    assert_eq!(shares(&world, "without", &charges), of(5000, 3333, 1667));
    let sampled = shares(&world, "drawn", &charges);
    assert_eq!(sampled.values().sum::<i64>(), 10_000);
    assert!(sampled.iter().all(|(name, fen)| (*fen - (drawn[name] / 100) as i64).abs() <= 1), "{sampled:?} {drawn:?}");
    assert_eq!(shares(&world, "even", &charges).values().sum::<i64>(), 10_000);

    let (bundle, trust) = (shown(&world.folder().join("worth.bundle")), shown(&world.folder().join("worth.trust")));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let report = World::finish(Command::new(program("tacit-verify")).args([&bundle, "--trust", &trust, "--json"])).ok();
    assert_eq!((&report["ok"], &report["faults"]), (&json!(true), &json!([])), "{report}");
}
