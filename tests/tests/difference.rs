//! Four attackers who ask exact questions, against a contract that holds questions apart and against one that does not; and
//! an honest analyst.
//!
//! The rows are the same under both contracts. Under the one without the term each attacker gets what it is after, so that
//! what it fails at under the other is the term.

use std::cell::Cell;
use std::fmt::Write;

use serde_json::{Value, json};
use tacit_tests::World;
use tacit_tests::world::shown;

const OWNERS: [&str; 3] = ["a", "b", "c"];
const LEVELS: &str = "after_compare,after_aggregate,after_group_by";
const CODE: &str = "refused.difference";
/// Rows of a group.
const GROUP: u64 = 10;
/// The person that is asked about, a row of `a`.
const VICTIM: i64 = 17;

/// Id, amount, department, site. The last twelve of each owner have no amount.
type Row = (i64, Option<i64>, &'static str, &'static str);

fn rows(owner: i64) -> Vec<Row> {
    let row = |i: i64| {
        let amount = (i < 60).then_some(100 + (owner * 7919 + i * 6007) % 9001);
        let dept = if i >= 60 { "archive" } else { ["ward", "clinic"][(i % 2) as usize] };
        (owner * 1000 + i, amount, dept, ["north", "south", "west"][(i / 2 % 3) as usize])
    };
    (0..72).map(row).collect()
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::from("id,amount,dept,site\n");
    for (id, amount, dept, site) in rows {
        let amount = amount.map_or(String::new(), |amount| amount.to_string());
        writeln!(text, "{id},{amount},{dept},{site}").unwrap();
    }
    text
}

struct Case {
    world: World,
    rows: Vec<Row>,
    answers: Cell<usize>,
}

impl Case {
    fn new() -> Self {
        let tables: Vec<Vec<Row>> = (0..3).map(rows).collect();
        let texts: Vec<String> = tables.iter().map(|t| csv(t)).collect();
        let named: Vec<(&str, &str)> = OWNERS.iter().zip(&texts).map(|(o, t)| (*o, t.as_str())).collect();
        let world = World::with_nodes(&named, LEVELS);
        world.agree("free", &OWNERS, 99, "");
        world.agree("held", &OWNERS, 99, &format!("[exact]\nchange_min = {GROUP}\n"));
        Self { world, rows: tables.concat(), answers: Cell::new(0) }
    }

    fn victim(&self) -> i64 {
        self.rows.iter().find(|r| r.0 == VICTIM).unwrap().1.unwrap()
    }

    /// A job, or that it was refused for what it differs by, and what was said.
    fn ask(&self, contract: &str, kind: &str, params: &str) -> Result<Value, String> {
        let job = format!("kind = \"{kind}\"\ncontract = \"{contract}\"\n{params}");
        let done = self.world.job(&job);
        if done.status == 0 {
            self.answers.set(self.answers.get() + 1);
            return Ok(done.json["result"].clone());
        }
        let text = done.json.to_string();
        assert!(text.contains(CODE), "{params}: {text}{}", done.stderr);
        assert!(text.contains("10 rows") || text.contains("other columns"), "{text}");
        Err(text)
    }

    /// The sum of the amounts of the rows that a filter takes.
    fn sum(&self, contract: &str, filter: &str) -> Option<i64> {
        let filter = if filter.is_empty() { String::new() } else { format!("filter = \"{filter}\"\n") };
        let measure = "[[params.measures]]\ncolumn = \"amount\"\nstatistics = [\"sum\"]\nbound = \"100000\"\n";
        let result = self.ask(contract, "stats/v1", &format!("[params]\n{filter}{measure}")).ok()?;
        let sum = &result["measures"][0]["groups"][0]["sum"];
        Some(sum.as_i64().or_else(|| sum.as_f64().map(|s| s as i64)).unwrap_or_else(|| panic!("{result}")))
    }

    /// What somebody learns who takes two answers from each other.
    fn apart(&self, contract: &str, more: &str, less: &str) -> Option<i64> {
        Some(self.sum(contract, more)? - self.sum(contract, less)?)
    }
}

/// Everybody, and everybody but one.
#[test]
fn who_takes_two_answers_from_each_other_learns_no_single_row() {
    let case = Case::new();
    let but_one = format!("id != {VICTIM}");
    assert_eq!(case.apart("free", "", &but_one), Some(case.victim()));
    assert_eq!(case.apart("held", "", &but_one), None);
    // Also when somebody else asks, by number alone: who is in is as much a secret as what it has.
    let count = |filter: &str| case.ask("held", "count/v1", &format!("[params]\nfilter = \"{filter}\"\n"));
    assert!(count(&but_one).is_err());
    // Nine more, and all of one department: a group.
    let nine = format!("id < {VICTIM} or id > {}", VICTIM + 8);
    assert_eq!(case.sum("held", &nine), None);
    let ten = format!("id < {VICTIM} or id > {}", VICTIM + 9);
    assert!(case.sum("held", &ten).is_some());
    // What was answered under the contract without the term is not remembered, and what is asked there not held.
    assert!(case.sum("free", &but_one).is_some());
    // A new version of the dataset, of the same rows, is the same dataset.
    let file = shown(&case.world.folder().join("a.csv"));
    case.world.run("a", &["data", "add", "data", &file, "--all", LEVELS]).ok();
    case.world.agree("newer", &OWNERS, 9, &format!("[exact]\nchange_min = {GROUP}\n"));
    assert_eq!(case.sum("newer", &but_one), None);
    assert!(case.sum("newer", "").is_some());
}

/// The same question again and again: exact answers have nothing to average, and rows that move between two are seen.
#[test]
fn who_asks_the_same_again_gets_the_same_again_and_nothing_when_a_row_has_moved() {
    let case = Case::new();
    let total: i64 = case.rows.iter().filter_map(|r| r.1).sum();
    for contract in ["free", "held"] {
        for _ in 0..3 {
            assert_eq!(case.sum(contract, ""), Some(total), "{contract}");
        }
    }
    // One person comes, and the file is the same: the next answer would tell who.
    let mut more = rows(0);
    more.push((999, Some(4321), "ward", "north"));
    case.world.write("a.csv", csv(&more));
    assert_eq!(case.sum("free", ""), Some(total + 4321), "the new row, to the last digit");
    assert_eq!(case.sum("held", ""), None);
    // A group comes.
    more.extend((1..10).map(|i| (999 - i, Some(50 + i), "clinic", "south")));
    case.world.write("a.csv", csv(&more));
    assert!(case.sum("held", "").is_some());
}

/// A window of thirty rows that moves: each step takes one row out and another in.
#[test]
fn who_moves_a_window_row_by_row_gets_no_two_answers_that_overlap_so_nearly() {
    let case = Case::new();
    let window = |k: i64| format!("(id >= {k} and id < {}) or id >= 1000", k + 30);
    let amount = |id: i64| case.rows.iter().find(|r| r.0 == id).unwrap().1.unwrap();
    assert_eq!(case.apart("free", &window(1), &window(0)), Some(amount(30) - amount(0)));
    assert!(case.sum("held", &window(0)).is_some());
    for k in 1..5 {
        assert_eq!(case.sum("held", &window(k)), None, "{} rows", 2 * k);
    }
    assert!(case.sum("held", &window(5)).is_some(), "ten rows");
    // Nor from the other side.
    assert_eq!(case.sum("held", &window(4)), None);
}

/// The same rows but one, however it is written: by negation, by ranges, by lists, by groups, padded with the rows of others
/// and with rows that have no value.
#[test]
fn who_writes_the_filter_otherwise_is_refused_as_well() {
    let case = Case::new();
    let all = "id >= 0";
    for but_one in [
        format!("not (id = {VICTIM})"),
        format!("id < {VICTIM} or id > {VICTIM}"),
        format!("(dept = 'ward' or dept = 'clinic' or dept = 'archive') and id != {VICTIM}"),
        format!("not (id in ({VICTIM}))"),
    ] {
        assert_eq!(case.apart("free", all, &but_one), Some(case.victim()), "{but_one}");
        assert_eq!(case.apart("held", all, &but_one), None, "{but_one}");
    }
    // Twelve rows are added that have no amount: more than a group, and the sum differs by one row.
    let padded = "dept = 'clinic' or dept = 'archive'";
    let bare = format!("dept = 'clinic' and id != {VICTIM}");
    assert_eq!(case.apart("free", padded, &bare), Some(case.victim()));
    assert_eq!(case.apart("held", padded, &bare), None);
    // A group of one question beside the whole of another.
    let groups = "[params]\n[params.group_by]\ncolumn = \"dept\"\nvalues = [\"ward\", \"clinic\"]\n\
                  [[params.measures]]\ncolumn = \"amount\"\nstatistics = [\"sum\"]\nbound = \"100000\"\n";
    assert!(case.ask("held", "stats/v1", groups).is_ok());
    let bare = format!("dept = 'ward' and id != {}", VICTIM - 1);
    assert!(case.sum("free", &bare).is_some());
    assert_eq!(case.sum("held", &bare), None);
    // The one row of an owner among those of the others, which stand alone in the other question.
    let (with, without) = (format!("id = {VICTIM} or id >= 1000"), "id >= 1000");
    assert_eq!(case.apart("free", &with, without), Some(case.victim()));
    assert_eq!(case.apart("held", &with, without), None);
}

/// What people ask who are after nobody: totals, groups, filters, counts, again and with other measures.
#[test]
fn who_asks_about_groups_is_answered() {
    let case = Case::new();
    let group = |column: &str, values: &str| format!("[params.group_by]\ncolumn = \"{column}\"\nvalues = [{values}]\n");
    let mean = "[[params.measures]]\ncolumn = \"amount\"\nstatistics = [\"count\", \"mean\"]\nbound = \"100000\"\n";
    let ids = "[[params.measures]]\ncolumn = \"id\"\nstatistics = [\"mean\"]\nbound = \"10000\"\n";
    let (dept, site) =
        (group("dept", "\"ward\", \"clinic\", \"archive\""), group("site", "\"north\", \"south\", \"west\""));
    let questions = [
        ("stats/v1", format!("[params]\n{mean}")),
        ("stats/v1", format!("[params]\n{dept}{mean}")),
        ("stats/v1", format!("[params]\n{dept}{mean}")),
        ("stats/v1", format!("[params]\n{site}{mean}")),
        ("stats/v1", format!("[params]\n{site}")),
        ("stats/v1", format!("[params]\nfilter = \"dept = 'ward'\"\n{mean}")),
        ("stats/v1", format!("[params]\nfilter = \"amount >= 5000\"\n{mean}")),
        ("stats/v1", format!("[params]\nfilter = \"site = 'north'\"\n{mean}{ids}")),
        (
            "stats/v1",
            "[params]\n[[params.histograms]]\ncolumn = \"amount\"\nedges = [\"0\", \"3000\", \"6000\", \"10000\"]\n"
                .into(),
        ),
        ("count/v1", "[params]\n".into()),
        ("count/v1", "[params]\nfilter = \"dept = 'clinic'\"\n".into()),
    ];
    for (kind, params) in &questions {
        let free = case.ask("free", kind, params).unwrap();
        let held = case.ask("held", kind, params).unwrap_or_else(|said| panic!("{params}: {said}"));
        assert_eq!(free, held, "{params}");
    }
    assert_eq!(case.answers.get(), 2 * questions.len());
    // The terms say so, in both languages; a plan says it of a job.
    let contract = case.world.run("b", &["contract", "show", "held"]).ok();
    assert_eq!(contract["exact"], json!({"change_min": GROUP}), "{contract}");
    assert_eq!(case.world.run("b", &["contract", "show", "free"]).ok()["exact"], Value::Null);
    let say = |lang: &str, arguments: &[&str]| {
        let output = case.world.command("lab", &[&["--lang", lang][..], arguments].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(say("en", &["contract", "show", "held"]).contains("rows that differ by 10 or more"));
    assert!(say("zh", &["contract", "show", "held"]).contains("至少相差 10 行"));
    let file = |contract: &str| {
        shown(&case.world.write("plan.toml", format!("kind = \"count/v1\"\ncontract = \"{contract}\"\n[params]\n")))
    };
    assert!(say("en", &["job", "plan", &file("held")]).contains("rows that differ by 10 or more"));
    assert!(!say("en", &["job", "plan", &file("free")]).contains("rows that differ by"));
    let terms = |n: u64| case.world.draft("other", &OWNERS, 9, &format!("[exact]\nchange_min = {n}\n"));
    terms(1).fails("args.invalid");
    terms(257).fails("args.invalid");
    terms(256).ok();
}
