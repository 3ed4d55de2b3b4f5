//! What owners' ledgers have spent of their privacy budgets beside what the receipts of the log say, added up by the auditor's
//! program. Each job costs another power of two, so that a sum tells which jobs are in it.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::program::program;
use tacit_tests::world::{START_WAIT, shown};
use tacit_tests::{Done, World};

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const TABLE: &str = "age,region\n31,north\n42,south\n53,north\n64,south\n";
/// Millionths of epsilon that the first job costs; each further one costs twice as much.
const UNIT: u64 = 50_000;

fn micro(decimal: &str) -> u64 {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    format!("{whole}{fraction:0<6}").parse().unwrap()
}

fn decimal(micro: u64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// The jobs whose costs make a sum.
fn jobs(sum: u64) -> Vec<u32> {
    assert_eq!(sum % UNIT, 0, "{sum}");
    (0..64).filter(|n| ((sum / UNIT) >> n) & 1 == 1).collect()
}

/// A question of its own, which costs what its number says.
fn question(n: u32) -> String {
    format!(
        "kind = \"stats/v1\"\ncontract = \"noisy\"\n[params]\nfilter = \"age >= {}\"\n[[params.measures]]\n\
         column = \"age\"\nstatistics = [\"count\"]\nbound = \"100\"\n[params.privacy]\nepsilon = \"{}\"\n\
         delta = \"0.000000001\"\n",
        18 + n,
        decimal(UNIT << n)
    )
}

/// What an owner's ledger has spent, with the dataset version.
fn ledger(world: &World, owner: &str) -> (String, u64) {
    let spent = world.run(owner, &["node", "privacy"]).ok();
    let [row] = spent.as_array().unwrap().as_slice() else { panic!("{spent}") };
    (row["dataset"].as_str().unwrap().to_owned(), micro(row["spent"]["epsilon"].as_str().unwrap()))
}

/// The auditor's program over the whole log, with these budgets.
fn verify(world: &World, budgets: &[(String, u64)]) -> Done {
    let [bundle, trust] = ["all.bundle", "all.trust"].map(|name| shown(&world.folder().join(name)));
    world.run("lab", &["receipt", "export", "--out", &bundle, "--trust", &trust]).ok();
    let mut command = Command::new(program("tacit-verify"));
    command.args([&bundle, "--trust", &trust, "--json"]);
    for (dataset, most) in budgets {
        command.args(["--budget", &format!("{dataset}={}", decimal(*most))]);
    }
    World::finish(&mut command)
}

/// What the receipts say that each dataset has cost: the last sum that the auditor's program finds past a budget of nothing.
fn receipts(world: &World, datasets: &[String]) -> Vec<u64> {
    let none: Vec<_> = datasets.iter().map(|dataset| (dataset.clone(), 0)).collect();
    let report = verify(world, &none).json;
    let faults: Vec<&Value> = report["faults"].as_array().into_iter().flatten().collect();
    assert!(faults.iter().all(|fault| fault["code"] == json!("receipt.budget")), "{report}");
    let sum = |dataset: &String| {
        let of = faults.iter().filter_map(|fault| {
            let rest = fault["what"].as_str()?.strip_prefix(&format!("dataset {}: ", &dataset[..dataset.len().min(8)]));
            rest?.split_once(" of 0 ")?.0.parse::<u64>().ok()
        });
        of.max().unwrap_or(0)
    };
    datasets.iter().map(sum).collect()
}

/// How a job ended.
fn end(world: &World, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let shown = world.run("lab", &["job", "show", id]).ok();
        if ["succeeded", "failed", "refused", "cancelled", "expired"].iter().any(|end| shown["state"] == *end) {
            return shown;
        }
        assert!(begun.elapsed() < START_WAIT, "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_the_ledgers_have_spent_is_what_the_receipts_say() {
    let mut world = World::with_nodes(&OWNERS.map(|name| (name, TABLE)), LEVELS);
    world.agree("noisy", &OWNERS, 100, "[privacy]\nepsilon = \"100\"\ndelta = \"0.0001\"\n");
    for n in 0..3 {
        world.job(&question(n)).ok();
    }
    let datasets: Vec<String> = OWNERS.iter().map(|owner| ledger(&world, owner).0).collect();
    let ledgers = |world: &World| OWNERS.map(|owner| ledger(world, owner).1);
    let (spent, said) = (ledgers(&world), receipts(&world, &datasets));
    assert_eq!(said, spent, "every job has its answer: they are equal");
    assert_eq!(jobs(said[0]), [0, 1, 2]);
    // To the millionth.
    let exactly: Vec<_> = datasets.iter().cloned().zip(spent).collect();
    verify(&world, &exactly).ok();
    let mut less = exactly.clone();
    less[1].1 -= 1;
    let report = verify(&world, &less);
    assert_ne!(report.status, 0);
    assert_eq!(report.json["faults"].as_array().map(Vec::len), Some(1), "{}", report.json);

    // One dies in its attempt: an owner's rows are gone. What it cost is spent, and its receipt says so.
    let rows = world.folder().join("b.csv");
    assert!(rows.is_file());
    let kept = world.folder().join("b.kept");
    std::fs::rename(&rows, &kept).unwrap();
    assert_ne!(world.job(&question(3)).status, 0);
    std::fs::rename(&kept, &rows).unwrap();
    // One is cancelled before an attempt, after two owners have admitted it: no charge in a receipt.
    assert_eq!(world.stop("c"), 0);
    let file = shown(&world.write("waits.toml", question(4)));
    let waits = world.run("lab", &["job", "submit", &file]).ok()["id"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    while !["a", "b"].iter().all(|owner| jobs(ledger(&world, owner).1).contains(&4)) {
        assert!(begun.elapsed() < START_WAIT, "{}", world.log("a"));
        std::thread::sleep(Duration::from_millis(100));
    }
    world.run("lab", &["job", "cancel", &waits]).ok();
    end(&world, &waits);
    world.start("c");
    world.wait_online("lab", OWNERS.len());
    // One runs into the death of every owner, wherever each is.
    let file = shown(&world.write("killed.toml", question(5)));
    let killed = world.run("lab", &["job", "submit", &file]).ok()["id"].as_str().unwrap().to_owned();
    OWNERS.iter().for_each(|owner| world.kill(owner));
    OWNERS.iter().for_each(|owner| world.start(owner));
    world.wait_online("lab", OWNERS.len());
    let ended = end(&world, &killed);
    world.job(&question(6)).ok();

    let (spent, said) = (ledgers(&world), receipts(&world, &datasets));
    for (owner, (spent, said)) in OWNERS.iter().zip(spent.into_iter().zip(&said)) {
        let (spent, said) = (jobs(spent), jobs(*said));
        assert!(said.iter().all(|n| spent.contains(n)), "{owner}: {said:?} of {spent:?}");
        let only: Vec<u32> = spent.iter().copied().filter(|n| !said.contains(n)).collect();
        // Beyond the receipts: what had no attempt, and nothing else.
        let waited = [4].into_iter().filter(|_| *owner != "c");
        let killed = [5].into_iter().filter(|n| !said.contains(n) && spent.contains(n));
        assert_eq!(only, waited.chain(killed).collect::<Vec<_>>(), "{owner}: {ended}");
        assert!([0, 1, 2, 3, 6].iter().all(|n| said.contains(n)), "{owner}: {said:?}");
        if ended["state"] == json!("succeeded") {
            assert!(said.contains(&5), "{owner}: {ended}");
        }
    }
    assert!(said.iter().all(|sum| *sum == said[0]), "one job costs each owner the same: {said:?}");
}
