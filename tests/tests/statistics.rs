//! Joint numbers equal those of the pooled rows, end to end through processes: the same numbers are
//! computed here in the plainest way from the same rows.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::shown;

#[path = "../../crates/data/tests/it/postgres_server.rs"]
mod postgres_server;

/// A row: a whole number, a real one, a group, a year.
type Row = (Option<i64>, Option<f64>, &'static str, i64);

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";

/// Numbers that look random and are the same in every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn rows(seed: u64, n: usize, year: impl Fn(u64) -> i64) -> Vec<Row> {
    let mut draw = Draw(seed);
    let mut row = || {
        let whole = (draw.below(10) != 0).then(|| draw.below(200_001) as i64 - 100_000);
        // Quarters, so that the text of a value is its exact value.
        let real = (draw.below(8) != 0).then(|| (draw.below(4_001) as f64 - 2_000.0) / 4.0);
        let group = ["north", "south", "west"][draw.below(3) as usize];
        (whole, real, group, year(draw.next()))
    };
    (0..n).map(|_| row()).collect()
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from("n,x,g,year\n");
    for (n, x, g, year) in rows {
        let (n, x) = (n.map_or(String::new(), |n| n.to_string()), x.map_or(String::new(), |x| x.to_string()));
        writeln!(text, "{n},{x},{g},{year}").unwrap();
    }
    text
}

fn close(found: &Value, wanted: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: {found} is no number"));
    let scale = wanted.abs().max(1e-9);
    assert!((found - wanted).abs() <= 1e-6 * scale, "{what}: {found} is not {wanted}");
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my)).sum::<f64>() / (x.len() - 1) as f64
}

/// A measure of one group against the pooled values.
fn check_measure(entry: &Value, values: &[f64], whole: bool, what: &str) {
    assert_eq!(entry["count"], json!(values.len()), "{what}");
    let sum: f64 = values.iter().sum();
    if whole {
        assert_eq!(entry["sum"], json!(values.iter().map(|v| *v as i64).sum::<i64>()), "{what}");
    } else {
        close(&entry["sum"], sum, what);
    }
    close(&entry["mean"], mean(values), what);
    let variance = covariance(values, values);
    close(&entry["variance"], variance, what);
    close(&entry["stddev"], variance.sqrt(), what);
}

const JOB: &str = r#"
kind = "stats/v1"
contract = "joint"
[params]
filter = "year >= 2020"
[[params.measures]]
column = "n"
statistics = ["count", "sum", "mean", "variance", "stddev"]
bound = "100001"
[[params.measures]]
column = "x"
statistics = ["count", "sum", "mean", "variance", "stddev"]
bound = "500"
[params.group_by]
column = "g"
values = ["north", "south", "nowhere", "west"]
[[params.quantiles]]
column = "n"
probabilities = ["0.1", "0.5", "0.9"]
low = "-100000"
high = "100000"
[params.matrix]
columns = ["n", "x"]
correlation = true
"#;

/// A column that is summed in a job has no histogram in it.
const HISTOGRAM: &str = r#"
kind = "stats/v1"
contract = "joint"
[params]
filter = "year >= 2020"
[[params.histograms]]
column = "n"
edges = ["-50000", "0", "50000"]
"#;

/// The whole result of [`JOB`] against the pooled rows.
fn check(result: &Value, pool: &[Row]) {
    let kept: Vec<&Row> = pool.iter().filter(|r| r.3 >= 2020).collect();
    let groups = [None, Some("north"), Some("south"), Some("nowhere"), Some("west")];
    for (i, group) in groups.iter().enumerate() {
        let members: Vec<&&Row> = kept.iter().filter(|r| group.is_none_or(|g| r.2 == g)).collect();
        let rows = &result["rows"][i];
        assert_eq!(rows["group"], json!(group.unwrap_or("all")), "{result}");
        if members.is_empty() {
            // Below the floor: nothing is told, not even that it is empty.
            assert_eq!(rows["rows"], Value::Null, "{result}");
            assert_eq!(result["measures"][0]["groups"][i]["suppressed"], json!(true));
            assert_eq!(result["measures"][0]["groups"][i]["sum"], Value::Null);
            continue;
        }
        assert_eq!(rows["rows"], json!(members.len()), "{result}");
        let whole: Vec<f64> = members.iter().filter_map(|r| r.0.map(|n| n as f64)).collect();
        check_measure(&result["measures"][0]["groups"][i], &whole, true, "n");
        let real: Vec<f64> = members.iter().filter_map(|r| r.1).collect();
        check_measure(&result["measures"][1]["groups"][i], &real, false, "x");
    }
    let mut whole: Vec<i64> = kept.iter().filter_map(|r| r.0).collect();
    whole.sort_unstable();
    for (i, share) in [0.1, 0.5, 0.9].iter().enumerate() {
        let rank = (share * whole.len() as f64).ceil() as usize;
        close(&result["quantiles"][i]["value"], whole[rank - 1] as f64, "quantile");
    }
    let both: Vec<(f64, f64)> = kept.iter().filter_map(|r| Some((r.0? as f64, r.1?))).collect();
    let (x, y): (Vec<f64>, Vec<f64>) = both.into_iter().unzip();
    let matrix = &result["matrix"];
    assert_eq!(matrix["rows"], json!(x.len()));
    let correlation = covariance(&x, &y) / (covariance(&x, &x) * covariance(&y, &y)).sqrt();
    close(&matrix["covariance"][0][0], covariance(&x, &x), "covariance");
    close(&matrix["covariance"][0][1], covariance(&x, &y), "covariance");
    close(&matrix["covariance"][1][1], covariance(&y, &y), "covariance");
    close(&matrix["correlation"][1][0], correlation, "correlation");
}

/// The result of [`HISTOGRAM`] against the pooled rows.
fn check_histogram(result: &Value, pool: &[Row]) {
    let whole: Vec<i64> = pool.iter().filter(|r| r.3 >= 2020).filter_map(|r| r.0).collect();
    let count = |keep: &dyn Fn(i64) -> bool| whole.iter().filter(|n| keep(**n)).count();
    let bins = [
        count(&|n| n < -50_000),
        count(&|n| (-50_000..0).contains(&n)),
        count(&|n| (0..=50_000).contains(&n)),
        count(&|n| n > 50_000),
    ];
    for (i, bin) in bins.iter().enumerate() {
        assert_eq!(result["histograms"][0]["bins"][i]["count"], json!(bin), "bin {i}");
    }
}

/// Negatives, empty values, an empty group, and a party none of whose rows pass the filter.
#[test]
fn joint_statistics_are_the_pooled_ones() {
    let tables = [rows(1, 400, |_| 2021), rows(2, 311, |y| 2018 + (y % 5) as i64), rows(3, 97, |_| 2019)];
    let texts: Vec<String> = tables.iter().map(|t| csv(t)).collect();
    let named: Vec<(&str, &str)> = OWNERS.iter().zip(&texts).map(|(o, t)| (*o, t.as_str())).collect();
    let world = World::with_nodes(&named, LEVELS);
    world.agree("joint", &OWNERS, 20, "");
    let done = world.job(JOB).ok();
    check(&done["result"], &tables.concat());
    let done = world.job(HISTOGRAM).ok();
    check_histogram(&done["result"], &tables.concat());

    let done = world.job("kind = \"count/v1\"\ncontract = \"joint\"\n[params]\nfilter = \"g in ('north', 'west') and n is not null\"\n").ok();
    let counted = tables.concat().iter().filter(|r| ["north", "west"].contains(&r.2) && r.0.is_some()).count();
    assert_eq!(done["result"]["rows"], json!(counted), "{done}");
}

/// A contract that demands checked sums admits no other job; a checked one has the numbers of an unchecked one, and its
/// receipt says what it was.
#[test]
fn checked_sums_are_the_unchecked_ones_and_a_contract_can_demand_them() {
    let tables = [rows(1, 400, |_| 2021), rows(2, 311, |y| 2018 + (y % 5) as i64), rows(3, 97, |_| 2019)];
    let texts: Vec<String> = tables.iter().map(|t| csv(t)).collect();
    let named: Vec<(&str, &str)> = OWNERS.iter().zip(&texts).map(|(o, t)| (*o, t.as_str())).collect();
    let world = World::with_nodes(&named, LEVELS);
    world.agree("joint", &OWNERS, 20, "");
    world.agree("strict", &OWNERS, 20, "checked = true");
    let terms = |name: &str| world.run("lab", &["contract", "show", name]).ok()["checked"].clone();
    assert_eq!((terms("joint"), terms("strict")), (json!(false), json!(true)));
    let checked = |job: &str| job.replacen("[params]\n", "[params]\nchecked = true\n", 1);
    let strict = |job: &str| job.replace("contract = \"joint\"", "contract = \"strict\"");
    let receipt = |done: &Value| world.run("lab", &["receipt", "show", &done["receipt"].to_string()]).ok();

    let plain = world.job(JOB).ok();
    check(&plain["result"], &tables.concat());
    let done = world.job(&strict(&checked(JOB))).ok();
    assert_eq!(done["result"], plain["result"]);
    let (with, without) = (receipt(&done), receipt(&plain));
    assert_eq!((&with["checked"], &without["checked"]), (&json!(true), &json!(false)), "{with}");
    assert_eq!(with["lines"], without["lines"], "the same vectors are given");
    let opened = |receipt: &Value| -> Vec<String> {
        let all = receipt["disclosures"].as_array().unwrap();
        all.iter().map(|d| d["what"].as_str().unwrap().to_owned()).filter(|what| what.contains("result")).collect()
    };
    assert_eq!((opened(&with), opened(&without)), (vec!["checked result".to_owned()], vec!["result".to_owned()]));

    // Without it every node says no by its code, before anything runs.
    let refused = world.job(&strict(JOB));
    assert_eq!((refused.status, &refused.json["code"]), (3, &json!("refused.unchecked")), "{}", refused.json);
    let planned = |job: &str| world.run("lab", &["job", "plan", &shown(&world.write("plan.toml", job))]).json;
    let no = planned(&strict(JOB));
    let owners = no["owners"].as_array().unwrap();
    assert!(owners.len() == 3 && owners.iter().all(|o| o["code"] == json!("refused.unchecked")), "{no}");
    let yes = planned(&checked(JOB));
    for (lang, said) in [("en", "checked: every node checks each sum for itself"), ("zh", "经核验：各节点自行核验")]
    {
        let file = shown(&world.folder().join("plan.toml"));
        let text = world.command("lab", &["--lang", lang, "job", "plan", &file]).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(said), "{text}");
    }
    assert_eq!((&no["checked"], &no["estimate"]["rounds"]), (&Value::Null, &yes["estimate"]["rounds"]), "{yes}");
    let more = yes["estimate"]["bytes_up"].as_u64().unwrap() - no["estimate"]["bytes_up"].as_u64().unwrap();
    assert_eq!(yes["checked"]["bytes_sent"], json!(more), "{yes}");
    assert!(yes["checked"]["bytes_aggregator"].as_u64().unwrap() > 10 * more, "{yes}");

    let count = "kind = \"count/v1\"\ncontract = \"joint\"\n[params]\nfilter = \"g = 'north' and n is not null\"\n";
    let counted = tables.concat().iter().filter(|r| r.2 == "north" && r.0.is_some()).count();
    for job in [count.to_owned(), strict(&checked(count))] {
        assert_eq!(world.job(&job).ok()["result"]["rows"], json!(counted));
    }
}

/// A whole number that a double cannot hold, a real one far from zero with a small spread, a small one, a year.
type Strained = (i64, f64, f64, i64);

fn strained(seed: u64, n: usize, year: i64) -> Vec<Strained> {
    let mut draw = Draw(seed);
    let mut row = || {
        let big = (1 << 53) + 1 + 2 * draw.below(1_000_000) as i64;
        // Decimals that no binary fraction is.
        let near = (99_999_500 + draw.below(1_000) as i64) as f64 / 10_000.0;
        let small = (1 + draw.below(9_999)) as f64 / 3_000_000.0;
        (if draw.below(2) == 0 { big } else { -big - 2 }, near, small, year)
    };
    (0..n).map(|_| row()).collect()
}

const STRAINED: &str = r#"
kind = "stats/v1"
contract = "joint"
view = "recent"
[params]
rows_max = 128
[[params.measures]]
column = "big"
statistics = ["count", "sum", "mean"]
bound = "18014398509481983"
[[params.measures]]
column = "near"
statistics = ["count", "sum", "mean", "variance", "stddev"]
bound = "16384"
[[params.measures]]
column = "small"
statistics = ["count", "sum", "mean", "variance", "stddev"]
bound = "0.01"
"#;

fn check_strained(result: &Value, pool: &[Strained]) {
    let group = |i: usize| &result["measures"][i]["groups"][0];
    let big: Vec<i64> = pool.iter().map(|r| r.0).collect();
    let sum: i64 = big.iter().sum();
    assert_ne!(sum as f64 as i64, sum, "a sum that a double holds shows nothing");
    assert_eq!((&group(0)["count"], &group(0)["sum"]), (&json!(big.len()), &json!(sum)), "{result}");
    close(&group(0)["mean"], (i128::from(sum) as f64) / big.len() as f64, "mean of whole numbers");
    let near: Vec<f64> = pool.iter().map(|r| r.1).collect();
    check_measure(group(1), &near, false, "near");
    let small: Vec<f64> = pool.iter().map(|r| r.2).collect();
    check_measure(group(2), &small, false, "small");
}

/// Counts that differ by what a double rounds away.
fn check_counts(world: &World, pool: &[Strained]) {
    let mut big: Vec<i64> = pool.iter().map(|r| r.0).collect();
    big.sort_unstable();
    let edge = big[big.len() / 2];
    for least in [edge - 1, edge, edge + 1] {
        let job = format!(
            "kind = \"count/v1\"\ncontract = \"joint\"\nview = \"recent\"\n[params]\nfilter = \"big >= {least}\"\n"
        );
        let done = world.job(&job).ok();
        assert_eq!(done["result"]["rows"], json!(big.iter().filter(|n| **n >= least).count()), "{least}");
    }
}

fn strained_csv(rows: &[Strained]) -> String {
    let mut text = String::from("big,near,small,year\n");
    for (big, near, small, year) in rows {
        writeln!(text, "{big},{near},{small},{year}").unwrap();
    }
    text
}

const RECENT: &str = "recent=SELECT big, near, small FROM data WHERE year >= 2020";

/// Whole numbers beyond 2^53, reals whose spread is a millionth of their size, and a party whose view has no row.
#[test]
fn numbers_that_strain_the_arithmetic_are_the_pooled_ones() {
    let tables = [strained(11, 128, 2021), strained(12, 100, 2022), strained(13, 90, 2019)];
    let mut world = World::with_coordinator();
    for (name, table) in OWNERS.iter().zip(&tables) {
        world.join(name, "node");
        let file = world.write(&format!("{name}.csv"), strained_csv(table));
        world.run(name, &["data", "add", "data", &shown(&file), "--all", LEVELS, "--view", RECENT]).ok();
        world.start(name);
    }
    world.join("lab", "operator");
    world.wait_online("lab", OWNERS.len());
    world.agree("joint", &OWNERS, 20, "");
    let pool = tables[..2].concat();
    let done = world.job(STRAINED).ok();
    check_strained(&done["result"], &pool);
    check_counts(&world, &pool);
}

/// A million rows, in bounded time with the development build.
#[test]
fn a_million_rows_are_one_job() {
    let tables = [333_334, 333_333, 333_333].map(|n| rows(n as u64, n, |y| 2018 + (y % 5) as i64));
    let texts = tables.each_ref().map(|t| csv(t));
    let named: Vec<(&str, &str)> = OWNERS.iter().zip(&texts).map(|(o, t)| (*o, t.as_str())).collect();
    let world = World::with_nodes(&named, LEVELS);
    world.agree("joint", &OWNERS, 20, "");
    let begun = Instant::now();
    let done = world.job(JOB).ok();
    let took = begun.elapsed();
    eprintln!("a job over 1,000,000 rows: {took:?}");
    assert!(took < Duration::from_secs(90), "{took:?}");
    check(&done["result"], &tables.concat());
}

/// The database's view has no row, and whole numbers beyond 2^53 come out of another's as they went in.
#[test]
fn a_view_of_postgresql_may_have_no_row() {
    let Some(server) = postgres_server::Server::start() else { return };
    let tables = [strained(21, 120, 2022), strained(22, 110, 2021), strained(23, 100, 2019)];
    let mut world = World::with_coordinator();
    let source = format!(
        "\n[sources.ehr]\nhost = '{}'\nport = {}\nuser = '{}'\ndatabase = 'postgres'\npassword = '{}'\n",
        shown(server.host()),
        postgres_server::PORT,
        postgres_server::USER,
        postgres_server::PASSWORD
    );
    for (name, table) in OWNERS.iter().zip(&tables) {
        world.join(name, "node");
        let file = shown(&world.write(&format!("{name}.csv"), strained_csv(table)));
        let from = if *name == "a" { file } else { format!("postgres://ehr/{name}") };
        if *name != "a" {
            let mut sql = format!("CREATE TABLE {name} (big bigint, near float8, small float8, year int);");
            for (big, near, small, year) in table {
                write!(sql, "INSERT INTO {name} VALUES ({big}, {near}, {small}, {year});").unwrap();
            }
            server.execute(&sql);
            let config = world.home(name).join("node.toml");
            std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &source).unwrap();
        }
        world.run(name, &["data", "add", "data", &from, "--all", LEVELS, "--view", RECENT]).ok();
        world.start(name);
    }
    world.join("lab", "operator");
    world.wait_online("lab", OWNERS.len());
    world.agree("joint", &OWNERS, 20, "");
    let pool = tables[..2].concat();
    let done = world.job(STRAINED).ok();
    check_strained(&done["result"], &pool);
    check_counts(&world, &pool);
}

/// One party's rows stay in its database; another party's in a file.
#[test]
fn a_party_may_keep_its_rows_in_postgresql() {
    let Some(server) = postgres_server::Server::start() else { return };
    let tables = [rows(5, 200, |_| 2022), rows(6, 200, |_| 2022), rows(7, 200, |y| 2018 + (y % 5) as i64)];
    let texts: Vec<String> = tables[..2].iter().map(|t| csv(t)).collect();
    let mut world = World::with_nodes(&[("a", &texts[0]), ("b", &texts[1])], LEVELS);
    world.join("c", "node");
    let mut sql = String::from("CREATE TABLE visits (n bigint, x float8, g text, year int);");
    for (n, x, g, year) in &tables[2] {
        let (n, x) = (n.map_or("NULL".into(), |n| n.to_string()), x.map_or("NULL".into(), |x| x.to_string()));
        write!(sql, "INSERT INTO visits VALUES ({n}, {x}, '{g}', {year});").unwrap();
    }
    server.execute(&sql);
    let config = world.home("c").join("node.toml");
    let source = format!(
        "\n[sources.ehr]\nhost = '{}'\nport = {}\nuser = '{}'\ndatabase = 'postgres'\npassword = '{}'\n",
        shown(server.host()),
        postgres_server::PORT,
        postgres_server::USER,
        postgres_server::PASSWORD
    );
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + &source).unwrap();
    world.run("c", &["data", "add", "data", "postgres://ehr/visits", "--all", LEVELS]).ok();
    world.start("c");
    world.wait_online("lab", 3);
    world.agree("joint", &OWNERS, 20, "");
    let done = world.job(JOB).ok();
    check(&done["result"], &tables.concat());
    // The password is nobody else's business, and not the log's either.
    assert!(!world.log("c").contains(postgres_server::PASSWORD));
}
