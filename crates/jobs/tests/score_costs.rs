//! What scores on shares cost, and long lists. By hand, since they take minutes:
//!
//! ```text
//! cargo test --release -p tacit-jobs --test score_costs -- --ignored --nocapture --test-threads 1
//! ```

mod shares;

use serde_json::{Value, json};
use shares::{Fate, Job, Table};
use tacit_models::{
    Activation, Division, Feature, Frame, Kind, Layer, Link, Meta, Missing, Model, Network, Node, Precision, Split,
    Test, Tree, Trees,
};
use tacit_types::{Column, Columns, Name, NodeId, Values};

/// Numbers between -1 and 1 that look random.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn meta(owner: NodeId) -> Meta {
    Meta { owner, name: Name::new("m").unwrap(), version: 1 }
}

fn features(count: usize) -> Vec<Feature> {
    (0..count).map(|f| Feature::numeric(format!("f{f:03}")).within(-1.0, 1.0)).collect()
}

/// Full trees of depth `depth` over so many features.
fn ensemble(trees: usize, depth: usize, count: usize) -> Model {
    fn grow(tree: u64, depth: usize, count: usize, nodes: &mut Vec<Node>) {
        let at = nodes.len();
        let seed = tree * 1000 + at as u64;
        if depth == 0 {
            return nodes.push(Node::Leaf(f64::from(noise(seed) as f32 * 0.1)));
        }
        let feature = (seed.wrapping_mul(2_654_435_761) >> 7) % count as u64;
        let threshold = f64::from(noise(seed + 77) as f32 * 0.5);
        let missing = if seed.is_multiple_of(2) { Missing::Yes } else { Missing::No };
        nodes.push(Node::Split(Split { feature: feature as u32, test: Test::Below(threshold), missing, no: 0 }));
        grow(tree, depth - 1, count, nodes);
        let second = nodes.len() as u32;
        if let Node::Split(split) = &mut nodes[at] {
            split.no = second;
        }
        grow(tree, depth - 1, count, nodes);
    }
    let tree = |tree| {
        let mut nodes = Vec::new();
        grow(tree, depth, count, &mut nodes);
        Tree { nodes }
    };
    let trees = (0..trees as u64).map(tree).collect();
    let kind = Kind::Trees(Trees { precision: Precision::Single, base: 0.5, average: false, trees });
    Model::new(meta(Job::party(20)), features(count), Link::Identity, kind).unwrap()
}

fn network(widths: &[usize]) -> Model {
    let layer = |(i, pair): (usize, &[usize])| {
        let (inputs, outputs) = (pair[0], pair[1]);
        let scale = (3.0 / inputs as f64).sqrt();
        let weights = (0..inputs * outputs).map(|j| noise((i * 1_000_003 + j) as u64) * scale).collect();
        let activation = if i + 2 < widths.len() { Activation::Relu } else { Activation::Identity };
        Layer { weights, bias: vec![0.01; outputs], activation }
    };
    let layers = widths.windows(2).enumerate().map(layer).collect();
    Model::new(meta(Job::party(20)), features(widths[0]), Link::Identity, Kind::Network(Network { layers })).unwrap()
}

/// Rows of features from `first` on, `step` apart.
fn table(rows: usize, count: usize, first: usize, step: usize, owner: usize) -> Table {
    let ids = Values::Text((0..rows).map(|row| format!("k{row}")).collect());
    let mut columns = vec![Column { name: "id".into(), values: ids, valid: None }];
    for f in (first..count).step_by(step) {
        let values = (0..rows).map(|row| noise((row * 4096 + f) as u64)).collect();
        columns.push(Column { name: format!("f{f:03}"), values: Values::Float(values), valid: None });
    }
    Table { name: format!("p{owner}"), owner: Job::party(owner), columns: Columns { rows, columns } }
}

/// The same with gaps, numbers that are none, zeroes of both signs and extreme values.
fn odd(mut table: Table) -> Table {
    const ODD: [f64; 7] = [f64::NAN, 3e38, -3e38, 1e-36, -1e-36, 0.0, -0.0];
    for column in &mut table.columns.columns {
        let (Some(f), Values::Float(values)) = (column.name.strip_prefix('f'), &mut column.values) else { continue };
        let f: usize = f.parse().unwrap();
        let draw = |row: usize| (noise((row * 4096 + f) as u64 + 5).to_bits() >> 7) as usize % 64;
        values.iter_mut().enumerate().for_each(|(row, value)| *value = ODD.get(draw(row)).copied().unwrap_or(*value));
        column.valid = Some((0..values.len()).map(|row| draw(row) != 63).collect());
    }
    table
}

fn keyed(job: Job, rows: usize) -> Job {
    let keys: Vec<String> = (0..rows).map(|row| format!("k{row}")).collect();
    job.keyed(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

fn size(model: &Model) -> (usize, usize) {
    let Kind::Trees(trees) = model.kind() else { panic!("no trees") };
    (trees.trees.len(), trees.trees.iter().map(|t| t.leaves().count()).max().unwrap())
}

/// A whole ensemble at a party without data.
fn private(model: &Model, rows: usize, more: Value) -> Job {
    let (trees, leaves) = size(model);
    let mut written = json!({"key": "id", "mode": "private", "library": "xgboost", "trees": trees, "leaves": leaves, "bound": "64", "unknown": "default"});
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let tables = vec![odd(table(rows, model.features().len(), 0, 1, 0))];
    keyed(Job::new("score-trees/v1", tables, vec![(Job::party(20), model.clone())], written), rows)
}

/// Divided among two owners, the leaves at the first.
fn split(model: &Model, rows: usize, more: Value) -> Job {
    let (trees, leaves) = size(model);
    let ids = [Job::party(0), Job::party(1)];
    let owners: Vec<usize> = (0..model.features().len()).map(|f| f % 2).collect();
    let parts = Division::new(model, &owners, 2).unwrap().models(Link::Identity, &ids.map(meta), 0).unwrap();
    let mut written = json!({"key": "id", "mode": "split", "holder": "p0", "trees": trees, "leaves": trees * leaves, "bound": "64", "unknown": "default"});
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let count = model.features().len();
    let tables = vec![odd(table(rows, count, 0, 2, 0)), odd(table(rows, count, 1, 2, 1))];
    keyed(Job::new("score-trees/v1", tables, ids.into_iter().zip(parts).collect(), written), rows)
}

fn dense(model: &Model, layers: &[usize], rows: usize) -> Job {
    let ranges: serde_json::Map<_, _> = model.features().iter().map(|f| (f.name.clone(), json!(["-1", "1"]))).collect();
    let written = json!({"key": "id", "layers": layers, "bound": "1000", "error": "0.01", "ranges": ranges, "unknown": "default"});
    let tables = vec![table(rows, model.features().len(), 0, 1, 0)];
    keyed(Job::new("score-network/v1", tables, vec![(Job::party(20), model.clone())], written), rows)
}

/// Bytes that each seat sends to each other one.
fn sent(job: &Job) -> Vec<Vec<u64>> {
    let run = job.run(Fate::Well);
    assert!(run.outcomes.iter().all(Result::is_ok), "{:?}", run.outcomes.iter().find(|o| o.is_err()));
    let seats = job.seats() as u16;
    let to = |u: &tacit_protocol::Usage| {
        (0..seats).map(|s| u.sent.get(&tacit_types::Seat(s)).copied().unwrap_or(0)).collect()
    };
    run.usage.iter().map(to).collect()
}

/// What 64 rows more cost, by the row.
fn per_row(name: &str, make: impl Fn(usize) -> Job) {
    let (one, two) = (make(64), make(128));
    let (a, b) = (sent(&one), sent(&two));
    let difference: Vec<Vec<f64>> =
        b.iter().zip(&a).map(|(b, a)| b.iter().zip(a).map(|(b, a)| (b - a) as f64 / 64.0).collect()).collect();
    let rounds = one.plan().unwrap().estimate(one.seats()).rounds;
    println!(
        "{name}: {rounds} rounds with agreement and hand-over; bytes a row, by sender and receiver {difference:?}"
    );
    println!("    of 64 rows {a:?}");
}

#[test]
#[ignore = "by hand: prints bytes and times and asserts none, which other tests do"]
fn bytes_of_a_row() {
    for trees in [10, 100] {
        let model = ensemble(trees, 6, 100);
        per_row(&format!("split, {trees} trees of 64"), |rows| split(&model, rows, json!({})));
        per_row(&format!("private, {trees} trees of 64"), |rows| private(&model, rows, json!({})));
    }
    let model = network(&[100, 64, 32, 1]);
    per_row("network 100-64-32-1", |rows| dense(&model, &[64, 32], rows));
}

#[test]
#[ignore = "by hand: prints bytes and times and asserts none, which other tests do"]
fn bytes_of_a_verified_row() {
    let verified = |mut job: Job| {
        job.written["verified"] = json!(true);
        job
    };
    let model = ensemble(10, 6, 100);
    per_row("split, 10 trees of 64, verified", |rows| verified(split(&model, rows, json!({}))));
    per_row("private, 10 trees of 64, verified", |rows| verified(private(&model, rows, json!({}))));
    let model = network(&[100, 64, 32, 1]);
    per_row("network 100-64-32-1, verified", |rows| verified(dense(&model, &[64, 32], rows)));
}

fn time(name: &str, rows: usize, job: &Job) {
    let run = job.run(Fate::Well);
    assert!(run.outcomes.iter().all(Result::is_ok));
    let dealer = Job::party(21);
    let seats = job.seated.iter().map(|k| if k.id() == dealer { "dealer" } else { "party" });
    let all: Vec<(&str, f64)> = seats.zip(run.cpu.iter().map(|ns| *ns as f64 / 1e9)).collect();
    println!("{name}, {rows} rows: seconds of processor time {all:?}");
}

#[test]
#[ignore = "by hand: prints times for minutes and asserts no figure"]
fn processor_time_of_ten_thousand_rows() {
    let rows = 10_000;
    let ten = ensemble(10, 6, 100);
    time("split, 10 trees of 64", rows, &split(&ten, rows, json!({})));
    time("private, 10 trees of 64", rows, &private(&ten, rows, json!({})));
    time("network 100-64-32-1", rows, &dense(&network(&[100, 64, 32, 1]), &[64, 32], rows));
    let hundred = ensemble(100, 6, 100);
    time("split, 100 trees of 64", rows, &split(&hundred, rows, json!({})));
    time("private, 100 trees of 64", 1000, &private(&hundred, 1000, json!({})));
}

fn equal(model: &Model, job: &Job, rows: usize, error: f64) {
    let whole = table(rows, model.features().len(), 0, 1, 0);
    let whole = if matches!(model.kind(), Kind::Trees(_)) { odd(whole) } else { whole };
    let frame = Frame::new(model.features(), &whole.columns).unwrap();
    let margins = model.margins(&frame).unwrap();
    let opened = job.open();
    let scores = opened["scores"].as_array().unwrap();
    assert_eq!(scores.len(), rows);
    for (row, (score, margin)) in scores.iter().zip(margins).enumerate() {
        assert!((score.as_f64().unwrap() - margin).abs() <= error, "row {row}: {score}, not {margin}");
    }
}

/// Several tiles, with rows left over.
#[test]
fn a_thousand_rows_equal_plain_evaluation() {
    let model = ensemble(6, 3, 5);
    equal(&model, &split(&model, 1000, json!({})), 1000, 1e-6);
    equal(&model, &private(&model, 1000, json!({})), 1000, 1e-6);
    let model = network(&[5, 8, 4, 1]);
    equal(&model, &dense(&model, &[8, 4], 1000), 1000, 1e-3);
}

/// 32,000 leaves: more is dealt for the 64 rows of a tile than fits a message.
#[test]
fn a_private_ensemble_of_five_hundred_trees_of_depth_six_scores_as_it_would_alone() {
    let model = ensemble(500, 6, 12);
    let job = private(&model, 2, json!({}));
    equal(&model, &job, 2, 1e-6);
}

/// As many leaves as the documentation says; what is too large is refused with what to do about it.
#[test]
fn how_many_leaves_of_private_trees_fit() {
    let model = ensemble(2, 6, 12);
    let fits = |trees: usize, verified: bool| {
        let mut job = private(&model, 2, json!({"trees": trees}));
        job.written["verified"] = json!(verified);
        job.plan().map(|_| String::new()).unwrap_or_else(|f| f.to_string())
    };
    assert_eq!((fits(1024, false), fits(120, true)), (String::new(), String::new()));
    let refused = fits(160, true);
    for part in ["refused.parameters", "160 private trees", "leave `verified` out", "tacit model divide"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(fits(1025, false).contains("65600 of at most 65536; an ensemble of more"), "{}", fits(1025, false));
}

#[test]
#[ignore = "takes 0.8 GiB: `cargo xtask long scores`"]
fn sixty_six_rows_of_five_hundred_trees_take_two_tiles() {
    let model = ensemble(500, 6, 12);
    equal(&model, &private(&model, 66, json!({})), 66, 1e-6);
    println!("{} MiB at the most", peak_mib());
}

/// The most memory of this process so far; 0 where the system does not say.
#[expect(clippy::disallowed_methods, reason = "a test reads its own costs")]
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
#[ignore = "takes minutes: `cargo xtask long scores`; the same with a thousand rows runs in each build"]
fn a_hundred_thousand_rows_equal_plain_evaluation() {
    let rows = 100_000;
    let model = ensemble(10, 4, 10);
    equal(&model, &split(&model, rows, json!({})), rows, 1e-6);
    let model = ensemble(3, 3, 6);
    equal(&model, &private(&model, rows, json!({})), rows, 1e-6);
    let model = network(&[10, 8, 1]);
    equal(&model, &dense(&model, &[8], rows), rows, 1e-3);
}
