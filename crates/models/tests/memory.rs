//! What a file of a stranger makes a reader hold: every allocation is counted, and the most that was held at once stays
//! under a bound that follows from the size of the file.

#![expect(unsafe_code, reason = "an allocator that counts is the trait of one")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{bytes, import, numeric_features, text};
use tacit_models::limits::*;
use tacit_models::{Format, Import};
use tacit_types::Code;

/// Bytes held for each byte of a file, and beside them: what caps on categories, weights and nodes allow to a short one.
const BYTES_PER_BYTE: usize = 24;
const BYTES_BESIDE: usize = 64 << 20;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    MOST.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is handed to the system's allocator as it came; the counters do not touch memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller keeps the contract of this function, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above; `place` came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while the bytes move.
        more(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads a file: how it ended, and the most that was held for it.
fn read(format: Format, import: Import, file: &[u8]) -> (Result<(), Code>, usize) {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    let end = format.read(import, file).map(drop).map_err(|f| f.code);
    (end, MOST.load(Relaxed) - before)
}

fn list(n: usize, item: &str) -> String {
    format!("[{}]", vec![item; n].join(","))
}

/// A model of one categorical feature with this in the place of its trees.
fn xgboost(inner: &str) -> Vec<u8> {
    let rest = r#""objective":{"name":"binary:logistic"},"learner_model_param":{"base_score":"0.5","num_feature":"1"},"feature_types":["c"]"#;
    format!("{{\"learner\":{{{rest},\"gradient_booster\":{{\"name\":\"gbtree\",\"model\":{{{inner}}}}}}}}}")
        .into_bytes()
}

/// Protobuf: a field of bytes, and one of a number.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat()
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 128 {
        out.push((n % 128) as u8 | 128);
        n /= 128;
    }
    out.push(n as u8);
    out
}

/// A graph that takes `columns` numbers, with operators and constants.
fn graph(columns: usize, parts: &[Vec<u8>]) -> Vec<u8> {
    let dims = [part(1, &[]), part(1, &[&[8][..], &varint(columns)].concat())].concat();
    let input = [part(1, b"x"), part(2, &part(1, &[vec![8, 1], part(2, &dims)].concat()))].concat();
    part(7, &[vec![part(11, &input)], parts.to_vec()].concat().concat())
}

fn operator(name: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().map(|i| part(1, i.as_bytes()));
    let attributes = attributes.iter().map(|a| part(5, a));
    let rest = [part(2, output.as_bytes()), part(4, name.as_bytes())];
    part(1, &inputs.chain(rest).chain(attributes).collect::<Vec<_>>().concat())
}

fn constant(name: &str, dims: [usize; 2], values: &[u8]) -> Vec<u8> {
    let dims = dims.map(|d| [&[8][..], &varint(d)].concat()).concat();
    part(5, &[dims, vec![16, 1], part(8, name.as_bytes()), part(9, values)].concat())
}

/// Files that ask for much: long lists, lists that announce more than there is, sets that overlap, wide matrices.
fn bombs() -> Vec<(&'static str, Format, Vec<u8>)> {
    let zeroes = list(NODES_MAX, "0");
    let columns =
        ["left_children", "right_children", "split_indices", "split_conditions", "default_left", "split_type"];
    let tree = columns.map(|c| format!("\"{c}\":{zeroes}")).join(",");
    // Sixty-three splits, each with all codes.
    let splits = 63;
    let each = |of: &dyn Fn(usize) -> i64| (0..2 * splits + 1).map(|i| of(i).to_string()).collect::<Vec<_>>().join(",");
    let codes = (0..CATEGORIES_MAX).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    let inner = |i: usize| i < 2 * splits && i.is_multiple_of(2);
    let overlap = format!(
        "\"left_children\":[{}],\"right_children\":[{}],\"split_indices\":[{zero}],\"split_conditions\":[{zero}],\
         \"default_left\":[{zero}],\"split_type\":[{}],\"categories\":[{codes}],\"categories_nodes\":[{}],\
         \"categories_segments\":{},\"categories_sizes\":{}",
        each(&|i| if inner(i) { i as i64 + 1 } else { -1 }),
        each(&|i| if inner(i) { i as i64 + 2 } else { -1 }),
        each(&|_| 1),
        (0..splits).map(|i| (2 * i).to_string()).collect::<Vec<_>>().join(","),
        list(splits, "0"),
        list(splits, "65536"),
        zero = each(&|_| 0),
    );
    // Every split of one tree names the same set of all codes.
    let words = vec!["4294967295"; CATEGORIES_MAX / 32].join(" ");
    let row = |item: &str, n: usize| vec![item; n].join(" ");
    let shared = format!(
        "tree\nversion=v4\nmax_feature_idx=0\n\nTree=0\nnum_leaves={}\nsplit_feature={}\nthreshold={}\ndecision_type={}\n\
         left_child={}\nright_child={}\nleaf_value={}\ncat_boundaries=0 {}\ncat_threshold={words}\n\nend of trees\n\n\
         pandas_categorical:null\n",
        splits + 1,
        row("0", splits),
        row("0", splits),
        row("1", splits),
        (0..splits).map(|i| (!(i as i64)).to_string()).collect::<Vec<_>>().join(" "),
        (0..splits)
            .map(|i| if i + 1 == splits { !(splits as i64) } else { i as i64 + 1 }.to_string())
            .collect::<Vec<_>>()
            .join(" "),
        row("1", splits + 1),
        CATEGORIES_MAX / 32,
    );
    let lines = format!("tree\n{}", "a\n".repeat(TEXT_LINES_MAX));
    let names = format!("tree\nfeature_names={}\n", row("a", 1 << 20));
    let numbers = format!("tree\nTree=0\nsplit_feature={}\n", row("0", NODES_MAX + 1));
    let quoted = list(1 << 20, "\"\"");
    let frame = text("lgb-binary.txt");
    let (trees, _) = frame.split_once("pandas_categorical:").unwrap();
    let card = format!(
        "{{\"format\":\"tacit-scorecard/1\",\"characteristics\":[{}",
        list(TERMS_MAX, "{\"feature\":\"a\",\"weight\":1}")
    );
    let linear = format!("{{\"format\":\"tacit-linear/1\",\"features\":{}", list(FEATURES_MAX + 1, "\"a\""));
    let wide = graph(
        1024,
        &[
            constant("w", [1024, 4095], &vec![0; 4 * 1024 * 4095]),
            operator("MatMul", &["x", "w"], "h", &[]),
            part(12, &part(1, b"h")),
        ],
    );
    let ints = [part(1, b"nodes_treeids"), part(8, &vec![0; ONNX_VALUES_MAX])].concat();
    let texts = [part(1, b"nodes_modes"), [74, 0].repeat(1 << 20)].concat();
    let trees_of = |attribute: Vec<u8>| graph(10, &[operator("TreeEnsembleRegressor", &["x"], "y", &[attribute])]);
    // A chain of equalities of ten features: each has what follows it twice.
    let length = 100;
    let listed = |name: &str, item: &dyn Fn(usize) -> Vec<u8>| {
        [part(1, name.as_bytes()), (0..=2 * length).flat_map(item).collect()].concat()
    };
    let whole = |n: usize| [vec![64], varint(n)].concat();
    let next = |i: usize| if i + 1 < length { i + 1 } else { 2 * length };
    let equality = [
        listed("nodes_treeids", &|_| whole(0)),
        listed("nodes_nodeids", &|i| whole(i)),
        listed("nodes_featureids", &|i| whole(i % 10)),
        listed("nodes_modes", &|i| part(9, if i < length { b"BRANCH_EQ" } else { b"LEAF" })),
        listed("nodes_values", &|i| [&[61][..], &(i as f32).to_le_bytes()].concat()),
        listed("nodes_truenodeids", &|i| whole(length + i % length)),
        listed("nodes_falsenodeids", &|i| whole(next(i % length))),
    ];
    let chain = graph(10, &[operator("TreeEnsembleRegressor", &["x"], "y", &equality), part(12, &part(1, b"y"))]);
    let many = graph(10, &vec![operator("Identity", &["x"], "y", &[]); 1 << 16]);
    vec![
        (
            "a node that leads back, of as many as there may be",
            Format::XgBoost,
            xgboost(&format!("\"trees\":[{{{tree}}}]")),
        ),
        ("sets that overlap", Format::XgBoost, xgboost(&format!("\"trees\":[{{{overlap}}}]"))),
        ("lists in lists", Format::XgBoost, "[".repeat(1 << 20).into_bytes()),
        ("a long text", Format::XgBoost, format!("{{\"learner\":\"{}", "a".repeat(1 << 22)).into_bytes()),
        (
            "bytes of categories",
            Format::XgBoost,
            xgboost(&format!("\"cats\":{{\"enc\":[{{\"values\":{}", list(1 << 20, "0"))),
        ),
        ("a set that is named often", Format::LightGbm, shared.into_bytes()),
        ("lines", Format::LightGbm, lines.into_bytes()),
        ("names", Format::LightGbm, names.into_bytes()),
        ("numbers", Format::LightGbm, numbers.into_bytes()),
        ("categories", Format::LightGbm, format!("{trees}pandas_categorical:[{quoted}]\n").into_bytes()),
        ("characteristics", Format::Scorecard, card.into_bytes()),
        ("features", Format::Linear, linear.into_bytes()),
        ("a wide matrix", Format::Onnx, wide),
        ("whole numbers of one byte", Format::Onnx, trees_of(ints)),
        ("empty texts", Format::Onnx, trees_of(texts)),
        ("equalities", Format::Onnx, chain),
        ("operators", Format::Onnx, many),
        ("a list that announces more than there is", Format::Own, vec![0xa1, 0x05, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0]),
        ("zeroes", Format::Own, vec![0; MODEL_BYTES_MAX]),
    ]
}

/// One test in this file: another at the same time would be counted too.
#[test]
fn a_reader_holds_no_more_than_its_bound() {
    let mut greatest: f64 = 0.0;
    for (what, format, file) in bombs() {
        let (end, held) = read(format, import("m"), &file);
        assert!(
            held <= BYTES_PER_BYTE * file.len() + BYTES_BESIDE,
            "{what}: {held} bytes for a file of {}",
            file.len()
        );
        eprintln!("{what}: {end:?}, {held} bytes for {}", file.len());
        greatest = greatest.max(held as f64);
        assert!(end.is_err() || what == "a set that is named often", "{what}");
    }
    // The bound is one that is reached within a small factor, not a number that nothing comes near.
    assert!(greatest > (32 << 20) as f64, "{greatest}");
    // Cut and bent files of the real libraries.
    let files = [
        ("xgb-logistic.json", Format::XgBoost),
        ("lgb-columns.txt", Format::LightGbm),
        ("skl-logistic.json", Format::Linear),
        ("scorecard.json", Format::Scorecard),
        ("onnx-gemm.onnx", Format::Onnx),
        ("onnx-forest.onnx", Format::Onnx),
    ];
    for (file, format) in files {
        let whole = bytes(file);
        let told =
            || Import { features: if format == Format::Onnx { numeric_features() } else { vec![] }, ..import("m") };
        for at in (0..whole.len()).step_by(whole.len() / 200 + 1) {
            let mut bent = whole.clone();
            bent[at] ^= 0x15;
            for file in [&whole[..at], &bent[..]] {
                let (_, held) = read(format, told(), file);
                assert!(held <= BYTES_PER_BYTE * whole.len() + (1 << 20), "{held} bytes");
            }
        }
    }
}
