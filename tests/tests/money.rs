//! What a partner's finance officer and a regulator do, through the programs: a plan that all have signed, jobs, a close
//! that survives the loss of its coordinator, a settlement to the last fen, a dispute, exports that verify.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::program::program;
use tacit_tests::world::{COORDINATOR, Done, START_WAIT, shown};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n75,north\n";
const JOB: &str = "kind = \"count/v1\"\ncontract = \"priced\"\n[params]\nfilter = \"age >= 40\"\n";
/// Fen: a subscription, a price a job with one free, a price a cell of the payees'.
const SUBSCRIPTION: u64 = 10_000;
const EACH_JOB: u64 = 500;
const EACH_CELL: u64 = 7;

/// Three nodes, an operator that pays, a regulator that arbitrates, and a plan in force.
fn world() -> World {
    let world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.join("authority", "regulator");
    let plan = "currency = \"CNY\"\npayer = \"lab\"\npayees = [\"a\", \"b\", \"c\"]\nsubscription = \"100.00\"\n\
                split = \"cell_in\"\narbiter = \"authority\"\ndispute_days = 30\n\
                [[prices]]\nunit = \"job\"\neach = \"5.00\"\nfree = 1\n\
                [[prices]]\nunit = \"cell_in\"\neach = \"0.07\"\ncounted = \"payees\"\n";
    let file = world.write("price.toml", plan);
    world.agree("priced", &OWNERS, 50, "price = \"price.toml\"");
    let other = world.write("other.toml", plan.replace("0.07", "0.08"));
    world.run("lab", &["price", "draft", &shown(&other), "--contract", "priced"]).fails("receipt.plan");
    // A contract that names a price is used once everyone has signed that price.
    let unsigned = |world: &World| {
        let refused = world.job(JOB);
        assert!(refused.status != 0 && refused.json.to_string().contains("refused.price_unsigned"), "{}", refused.json);
    };
    unsigned(&world);
    world.run("lab", &["price", "draft", &shown(&file), "--contract", "priced"]).ok();
    unsigned(&world);
    for owner in OWNERS {
        let plan = world.run("lab", &["price", "show", "priced"]).ok();
        assert!(plan["missing"].as_array().is_some_and(|names| names.contains(&json!(owner))), "{plan}");
        world.run(owner, &["price", "sign", "priced"]).ok();
    }
    let plan = world.run("a", &["price", "list"]).ok();
    assert_eq!(
        (&plan[0]["state"], &plan[0]["payer"], plan.as_array().map(Vec::len)),
        (&json!("in force"), &json!("lab"), Some(1))
    );
    world
}

/// This moment, as an argument.
fn now() -> String {
    let now = tacit_node::now();
    format!("{}.{:03}Z", now.to_string().trim_end_matches('Z'), now.0 % 1000)
}

/// Receipts with a result, by leaf.
fn receipts(world: &World) -> BTreeMap<u64, Value> {
    let list = world.run("lab", &["receipt", "list"]).ok();
    let good = list.as_array().unwrap().iter().filter(|r| r["status"] == json!("ok"));
    good.map(|r| (r["leaf"].as_u64().unwrap(), r.clone())).collect()
}

/// The places and quantities of a receipt's lines of a unit.
fn lines<'a>(receipt: &'a Value, unit: &'a str) -> impl Iterator<Item = (usize, &'a str, u64)> {
    let lines = receipt["lines"].as_array().unwrap().iter().enumerate();
    lines
        .filter(move |(_, l)| l["unit"] == json!(unit))
        .map(|(i, l)| (i, l["party"].as_str().unwrap(), l["quantity"].as_u64().unwrap()))
}

fn positions(settlement: &Value) -> BTreeMap<String, i64> {
    let positions = settlement["positions"].as_array().unwrap().iter();
    positions.map(|p| (p["party"].as_str().unwrap().to_owned(), p["fen"].as_i64().unwrap())).collect()
}

/// Closes a period and loses the coordinator in the middle of it: without its witnesses the log takes the charge and
/// cannot publish it.
fn close_and_crash(world: &mut World, until: &str) -> Value {
    ["b", "c"].iter().for_each(|node| world.kill(node));
    let checkpoint = std::fs::read_to_string(world.home(COORDINATOR).join("log/checkpoint")).unwrap();
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let mut command = world.command(COORDINATOR, &["period", "close", "--until", until, "--json"]);
    let mut closing = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let next = world.home(COORDINATOR).join(format!("log/tile/entries/000.p/{}", size + 1));
    let begun = Instant::now();
    while !next.exists() {
        assert!(begun.elapsed() < START_WAIT, "nothing was issued: {}", world.log(COORDINATOR));
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill(COORDINATOR);
    closing.kill().unwrap();
    closing.wait().unwrap();
    [COORDINATOR, "b", "c"].iter().for_each(|daemon| world.start(daemon));
    world.wait_online("lab", OWNERS.len());
    let closed = world.run_soon(COORDINATOR, &["period", "close", "--until", until]);
    assert_eq!(world.run(COORDINATOR, &["period", "close", "--until", until]).ok(), closed);
    closed
}

fn verify(arguments: &[&str]) -> Done {
    World::finish(Command::new(program("tacit-verify")).args(arguments).arg("--json"))
}

/// Every table in every format verifies; one that was altered does not.
fn exports(world: &World) {
    let (bundle, trust) = (world.folder().join("log.bundle"), world.folder().join("group.trust"));
    let (bundle, trust) = (shown(&bundle), shown(&trust));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let report = verify(&[&bundle, "--trust", &trust]).ok();
    assert_eq!((&report["ok"], &report["notices"]), (&json!(true), &json!([])), "{report}");
    for table in ["usage", "focus", "shares", "payments"] {
        for format in ["jsonl", "csv", "html"] {
            let path = world.folder().join(format!("{table}.{format}"));
            let file = shown(&path);
            let wrote = world.run("a", &["export", table, "--format", format, "--out", &file]).ok();
            let found = verify(&[&bundle, "--trust", &trust, "--rows", &file]).ok();
            assert_eq!(found, json!({"ok": true, "table": table, "rows": wrote["rows"], "left_out": 0}));
            assert!(wrote["rows"].as_u64() >= Some(2), "{table}: {wrote}");
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("test.tacit/usage/2026") && text.contains(&leaf_hash_in(world, table)), "{text}");
            // One digit in one amount.
            let altered = text.replacen("7.", "8.", 1);
            let altered = if altered == text { text.replacen('1', "2", 1) } else { altered };
            std::fs::write(&path, altered).unwrap();
            let wrong = verify(&[&bundle, "--trust", &trust, "--rows", &file]);
            assert_eq!(
                (wrong.status != 0, &wrong.json["error"]["code"]),
                (true, &json!("log.proof")),
                "{table} {format}"
            );
            if format == "jsonl" {
                parquet(world, table, &text, [&bundle, &trust]);
            }
            // A row less is no wrong row, and is counted.
            if format == "jsonl" {
                std::fs::write(&path, text.split_once('\n').unwrap().1).unwrap();
                assert_eq!(verify(&[&bundle, "--trust", &trust, "--rows", &file]).ok()["left_out"], json!(1));
            }
        }
    }
}

/// A Parquet file read back has the lines that the log gives, to the byte; one of another table is refused.
fn parquet(world: &World, table: &str, lines: &str, [bundle, trust]: [&str; 2]) {
    let file = |end: &str| world.folder().join(format!("{table}-back.{end}"));
    let (columns, back) = (shown(&file("parquet")), shown(&file("jsonl")));
    let wrote = world.run("a", &["export", table, "--format", "parquet", "--out", &columns]).ok();
    assert!(std::fs::read(&columns).unwrap().starts_with(b"PAR1"));
    let again = world.run("a", &["export", table, "--from", &columns, "--out", &back]).ok();
    assert_eq!(wrote["rows"], again["rows"]);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), lines);
    let found = verify(&[bundle, "--trust", trust, "--rows", &back]).ok();
    assert_eq!(found, json!({"ok": true, "table": table, "rows": wrote["rows"], "left_out": 0}));
    let other = if table == "usage" { "focus" } else { "usage" };
    world.run("a", &["export", other, "--from", &columns, "--out", &back]).fails("data.file_malformed");
}

/// One receipt in a file of its own, which a page in a browser verifies too.
fn one_receipt(world: &World) {
    let (leaf, receipt) = receipts(world).pop_last().unwrap();
    let (bundle, trust) = (world.folder().join("one.bundle"), world.folder().join("group.trust"));
    let (bundle, trust) = (shown(&bundle), shown(&trust));
    let wrote = world.run("authority", &["receipt", "export", &leaf.to_string(), "--out", &bundle]).ok();
    assert_eq!(wrote["leaves"], json!(1));
    let report = verify(&[&bundle, "--trust", &trust]).ok();
    assert_eq!((&report["scope"], &report["valid"]), (&json!("single_leaves"), &json!(1)), "{report}");
    let job = receipt["job"].as_str().unwrap();
    world.run("lab", &["receipt", "export", &job[..12], "--out", &bundle]).ok();
    assert_eq!(verify(&[&bundle, "--trust", &trust]).ok()["valid"], json!(1));
    world.run("lab", &["receipt", "export", "999", "--out", &bundle]).fails("receipt.unknown");
    let page = world.folder().join("verify.html");
    world.run("lab", &["receipt", "page", "--out", &shown(&page)]).ok();
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("script-src 'sha256-") && text.contains("receipt.attestation_missing"), "{text}");
}

/// The report of the time follows from the bundle, and a changed amount does not.
fn reported(world: &World) {
    let (page, bundle) = (world.folder().join("q4.html"), world.folder().join("q4.bundle"));
    let (page, bundle) = (shown(&page), shown(&bundle));
    let trust = shown(&world.folder().join("group.trust"));
    let times = ["--from", "2020-01-01", "--until", "2099-01-01"];
    let wrote =
        world.run("authority", &[&["report"], &times[..], &["--out", &page, "--bundle", &bundle]].concat()).ok();
    let held = verify(&[&bundle, "--trust", &trust, "--report", &page]).ok();
    assert_eq!(held["proofs"], wrote["proofs"]);
    assert!(held["proofs"].as_u64() >= Some(6), "{held}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("100.00 CNY"), "{text}");
    std::fs::write(&page, text.replacen("100.00 CNY", "100.01 CNY", 1)).unwrap();
    let wrong = verify(&[&bundle, "--trust", &trust, "--report", &page]);
    assert_eq!((wrong.status, &wrong.json["error"]["code"]), (6, &json!("log.proof")));
}

/// The hash of a leaf that a table has rows of.
fn leaf_hash_in(world: &World, table: &str) -> String {
    let first =
        |arguments: &[&str]| world.run("lab", arguments).ok()[0]["hash"].as_str().unwrap_or_default().to_owned();
    match table {
        "usage" => String::new(),
        "payments" => first(&["settlement", "list"]),
        _ => first(&["charge", "list"]),
    }
}

#[test]
fn a_period_is_used_disputed_closed_settled_and_exported() {
    let mut world = world();
    (0..3).for_each(|_| {
        world.job(JOB).ok();
    });
    let used = receipts(&world);
    assert_eq!(used.len(), 3);
    let cells = |receipts: &BTreeMap<u64, Value>, whose: Option<&str>| -> u64 {
        let all = receipts.values().flat_map(|r| lines(r, "cell_in"));
        all.filter(|(_, party, _)| whose.is_none_or(|w| w == *party)).map(|(_, _, n)| n).sum()
    };

    // One party disputes its own line of the second use; another answers.
    let (receipt, of) = used.iter().nth(1).unwrap();
    let (line, _, quantity) = lines(of, "cell_in").find(|(_, party, _)| *party == "a").unwrap();
    let proof = world.write("count.csv", "cells\n0\n");
    let arguments = [
        "dispute",
        "open",
        &receipt.to_string(),
        "--line",
        &line.to_string(),
        "--reason",
        "we gave none",
        "--evidence",
        &shown(&proof),
    ];
    let dispute = world.run("a", &arguments).ok()["dispute"].as_u64().unwrap().to_string();
    world.run("b", &["dispute", "answer", &dispute, "--reason", "our count says otherwise"]).ok();
    world.run("a", &["dispute", "open", "0", "--reason", "x"]).fails("receipt.unknown");
    let stranger = ["dispute", "open", &receipt.to_string(), "--reason", "x"];
    world.run("authority", &stranger).fails("receipt.unagreed");
    world.run(COORDINATOR, &["period", "close", "--until", "2999-01-01"]).fails("receipt.period");

    let until = now();
    let closed = close_and_crash(&mut world, &until);
    assert_eq!(
        (closed["charges"].as_array().map(Vec::len), closed["settlements"].as_array().map(Vec::len)),
        (Some(1), Some(1))
    );
    let charges = world.run("c", &["charge", "list", "--period", "1"]).ok();
    let total = SUBSCRIPTION + 2 * EACH_JOB + EACH_CELL * (cells(&used, None) - quantity);
    assert_eq!((&charges[0]["total_fen"], &charges[0]["payer"]), (&json!(total), &json!("lab")), "{charges}");
    // Divided by each one's own cells: nobody gets or gives a fen more than its part, rounded.
    let settlement = world.run("b", &["settlement", "show", &closed["settlements"][0].to_string()]).ok();
    let positions_then = positions(&settlement);
    assert_eq!(positions_then["lab"], -(total as i64));
    assert_eq!(positions_then.values().sum::<i64>(), 0);
    let all = cells(&used, None) - quantity;
    for owner in OWNERS {
        let own = cells(&used, Some(owner)) - if owner == "a" { quantity } else { 0 };
        let exact = total * own / all;
        let got = positions_then[owner] as u64;
        assert!(got == exact || got == exact + 1, "{owner} gets {got} of {total}, by {own} of {all}");
    }
    // Each party signs its own count of the same leaves, once: three uses, and of the two refusals from before the price was
    // signed the one who refused.
    let mut counts = BTreeMap::new();
    for party in ["a", "b", "c", "lab"] {
        let count = world.run(party, &["period", "close", "--until", &until]).ok();
        assert_eq!(world.run(party, &["period", "close", "--until", &until]).ok(), count);
        assert_eq!(count["end_leaf"], charges[0]["end_leaf"]);
        counts.insert(party, count["count"].as_u64().unwrap());
    }
    assert_eq!(counts.remove("lab"), Some(0));
    assert!(counts.values().all(|n| *n >= 3) && counts.values().sum::<u64>() == 3 * 3 + 2, "{counts:?}");
    let periods = world.run("authority", &["period", "list"]).ok();
    assert_eq!(periods[0]["closed_by"], json!(["a", "b", "c", "lab"]));

    resolve(&world, &dispute, quantity);
    let until = now();
    let closed = world.run(COORDINATOR, &["period", "close", "--until", &until]).ok();
    let charges = world.run("lab", &["charge", "list"]).ok();
    let again: Vec<(u64, i64)> = charges.as_array().unwrap()[1..]
        .iter()
        .map(|c| (c["before_fen"].as_u64().unwrap(), c["due_fen"].as_i64().unwrap()))
        .collect();
    // The next period has no use; of the line that was held, what was agreed is due.
    let agreed = (EACH_CELL * (quantity - 1)) as i64;
    assert_eq!(again, [(0, SUBSCRIPTION as i64), (total, agreed)]);
    let settlement = world.run("lab", &["settlement", "show", &closed["settlements"][0].to_string()]).ok();
    assert_eq!(positions(&settlement)["lab"], -(SUBSCRIPTION as i64 + agreed));
    exports(&world);
    one_receipt(&world);
    reported(&world);
    speaks(&world);
}

/// Payer and arbiter end the dispute: all but one of the cells were given.
fn resolve(world: &World, dispute: &str, quantity: u64) {
    let state = |world: &World| world.run("c", &["dispute", "list"]).ok()[0]["state"].clone();
    assert_eq!(state(world), json!("open"));
    let outcome = (quantity - 1).to_string();
    world.run("lab", &["dispute", "resolve", dispute, "--outcome", &outcome, "--reason", "one was a header"]).ok();
    assert_eq!(state(world), json!("open"));
    world.run("authority", &["dispute", "resolve", dispute, "--agree"]).ok();
    assert_eq!(state(world), json!("stands"));
    world.run("b", &["dispute", "resolve", dispute, "--agree"]).fails("receipt.dispute");
}

/// Tables are for people, in both languages.
fn speaks(world: &World) {
    for (lang, words) in [("en", ["due", "subscription"]), ("zh", ["应付", "订阅费"])] {
        let output = world.command("lab", &["charge", "list", "--lang", lang]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

#[test]
fn the_commands_of_the_page_are_those_of_the_program() {
    let page = include_str!("../../docs/MONEY.md");
    let lines = page.lines().filter(|line| line.starts_with("tacit ") && !line.starts_with("tacit-verify"));
    let mut seen = 0;
    for line in lines {
        let words: Vec<&str> =
            line.split_whitespace().skip(1).skip_while(|w| *w == "--home" || w.starts_with('/')).collect();
        let verb: Vec<&str> = match words[0] {
            one @ ("export" | "report") => vec![one],
            _ => words[..2].to_vec(),
        };
        let output = Command::new(program("tacit")).args(&verb).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}");
        for option in words.iter().filter(|w| w.starts_with("--")) {
            assert!(help.contains(option), "{line}: {option}");
        }
        assert!(help.contains(&format!("Usage: tacit {}", verb.join(" "))), "{line}: {help}");
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}
