//! `score-network/v1` between real machines: networks of ONNX against the runtime's predictions, values beyond their
//! ranges and missing ones, less than the score, and what is refused.

#[path = "../../models/tests/common/mod.rs"]
mod fixtures;
#[path = "score_network/networks.rs"]
mod networks;
mod shares;

use networks::{job, plain, read};
use serde_json::{Value, json};
use shares::{Fate, Job};
use tacit_governance::ModelFamily;
use tacit_models::{Activation, Feature, Kind, Layer, Link, Meta, Model, Network};
use tacit_types::{Code, Column, Columns, Name, Values};

fn numbers(opened: &Value) -> Vec<Option<f64>> {
    opened["scores"].as_array().unwrap_or_else(|| panic!("{opened}")).iter().map(Value::as_f64).collect()
}

/// Two inputs that are easily followed: relu(x - y), relu(y - x), and their sum.
fn distance() -> Model {
    let relu = Layer { weights: vec![1.0, -1.0, -1.0, 1.0], bias: vec![0.0; 2], activation: Activation::Relu };
    let last = Layer { weights: vec![1.0, 1.0], bias: vec![0.25], activation: Activation::Identity };
    let meta = Meta { owner: Job::party(20), name: Name::new("d").unwrap(), version: 1 };
    let features = ["x", "y"].map(|n| Feature::numeric(n).within(-8.0, 8.0)).to_vec();
    Model::new(meta, features, Link::Identity, Kind::Network(Network { layers: vec![relu, last] })).unwrap()
}

fn points(list: &[(f64, f64)]) -> Columns {
    let column = |name: &str, values: Vec<f64>| Column {
        name: name.into(),
        valid: Some(values.iter().map(|v| !v.is_nan()).collect()),
        values: Values::Float(values),
    };
    let columns =
        vec![column("x", list.iter().map(|p| p.0).collect()), column("y", list.iter().map(|p| p.1).collect())];
    Columns { rows: list.len(), columns }
}

#[test]
fn networks_score_as_the_runtime() {
    for (file, owners, both) in [
        ("onnx-mlp", 1, false),
        ("onnx-mlp", 2, true),
        ("onnx-mlp", 2, false),
        ("onnx-mlp", 4, false),
        ("onnx-mlp", 5, true),
    ] {
        let model = read(file);
        let rows = fixtures::rows();
        let frame = fixtures::frame(&model);
        let opened = job(&model, &rows, owners, both, json!({})).open();
        let predicted = fixtures::expected(file).scores.unwrap();
        let (mut compared, mut unknown) = (0, 0);
        for (row, score) in numbers(&opened).into_iter().enumerate() {
            let plain = plain(&model, &frame, row);
            assert_eq!(
                score.is_none(),
                plain.is_none(),
                "row {row}: a missing value makes a row unknown, nothing else"
            );
            let (Some(score), Some(plain)) = (score, plain) else {
                unknown += 1;
                continue;
            };
            assert!((score - plain).abs() <= 1e-3, "{file} {owners} {both}, row {row}: {score}, not {plain}");
            let within = model.features().iter().zip(0u32..).all(|(f, i)| {
                let (least, most) = f.range.unwrap();
                (least..=most).contains(&frame.value(row, i))
            });
            if let Some(theirs) = predicted[row].filter(|_| within) {
                compared += 1;
                let score = model.link().apply(score);
                assert!((score - theirs).abs() <= 1e-3, "row {row}: {score}, the runtime {theirs}");
            }
        }
        assert!(compared > 20 && unknown > 0, "{compared} compared, {unknown} unknown");
    }
}

#[test]
fn values_beyond_their_ranges_and_none_at_all() {
    let model = distance();
    let cases =
        [(3.0, 1.0), (-2.0, 5.5), (1e300, 0.0), (f64::NEG_INFINITY, 0.0), (f64::NAN, 0.0), (4.0, 4.0), (-0.0, 0.0)];
    let wanted = [Some(2.25), Some(7.75), Some(8.25), Some(8.25), None, Some(0.25), Some(0.25)];
    for both in [false, true] {
        let model_rows = points(&cases);
        let opened = job(&model, &model_rows, 2, both, json!({"bound": "64"})).open();
        for ((score, wanted), case) in numbers(&opened).into_iter().zip(wanted).zip(cases) {
            match (score, wanted) {
                (Some(score), Some(wanted)) => {
                    assert!((score - wanted).abs() < 1e-5, "{case:?}: {score}, not {wanted}")
                }
                (score, wanted) => assert_eq!(score.is_none(), wanted.is_none(), "{case:?}"),
            }
        }
    }
    // A network that is smaller than the public widths gives the same.
    let wider = job(&model, &points(&cases[..2]), 1, false, json!({"bound": "64", "layers": [7]})).open();
    assert!((numbers(&wider)[1].unwrap() - 7.75).abs() < 1e-5);
    let zero = job(&model, &points(&[(f64::NAN, 3.0)]), 2, false, json!({"bound": "64", "unknown": "default"})).open();
    assert!((numbers(&zero)[0].unwrap() - 3.25).abs() < 1e-5, "an owner without the row counts as zero");
}

#[test]
fn less_than_the_score_is_that_of_plain_evaluation() {
    let model = distance();
    let rows = points(&[(3.0, 1.0), (-2.0, 5.5), (4.0, 4.0)]);
    let with = |more: Value| {
        let mut more = more;
        more["bound"] = json!("64");
        job(&model, &rows, 2, false, more).open()
    };
    for (threshold, wanted) in [("2.24", [true, true, false]), ("2.26", [false, true, false]), ("0.24", [true; 3])] {
        assert_eq!(with(json!({"output": "decision", "threshold": threshold}))["decisions"], json!(wanted));
    }
    assert_eq!(with(json!({"output": "band", "bands": ["1", "7"]}))["bands"], json!([1, 2, 0]));
    assert_eq!(numbers(&with(json!({"output": "rounded", "decimals": 1}))).len(), 3);
    let rounded = numbers(&with(json!({"output": "rounded", "decimals": 0})));
    assert_eq!(rounded, [Some(2.0), Some(8.0), Some(0.0)]);
}

#[test]
fn nothing_is_opened_but_what_the_disclosures_list() {
    let model = distance();
    let rows = points(&[(3.0, 1.0), (-2.0, 5.5), (4.0, 4.0)]);
    for (more, cells) in [(json!({"bound": "64"}), 6), (json!({"bound": "64", "unknown": "refuse"}), 4)] {
        let job = job(&model, &rows, 2, false, more);
        let listed: Vec<(String, u64)> =
            job.plan().unwrap().disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
        assert_eq!(listed, [("result".to_owned(), cells)]);
        let run = job.run(Fate::Well);
        for usage in &run.usage {
            assert_eq!(usage.opened.clone().into_iter().collect::<Vec<_>>(), listed);
        }
        assert_eq!(run.outcomes[0].as_ref().unwrap().cells_in, cells);
        for (seat, whole) in run.messages.into_iter().enumerate() {
            let run = job.run(Fate::Lost { seat, after: whole / 2 });
            assert!(run.outcomes.iter().enumerate().all(|(i, o)| i == seat || o.is_err()), "{seat}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = distance();
    let rows = points(&[(3.0, 1.0)]);
    let make = |more: Value| job(&model, &rows, 2, false, more);
    let code = |more: Value| make(more).plan().map(|_| ()).unwrap_err().code;
    assert!(make(json!({})).plan().is_ok());
    for (more, wanted) in [
        (json!({"layers": []}), Code::RefusedParameters),
        (json!({"layers": [0]}), Code::RefusedParameters),
        (json!({"layers": [4097]}), Code::RefusedParameters),
        (json!({"layers": vec![2; 16]}), Code::RefusedParameters),
        (json!({"layers": [4096, 4096]}), Code::ModelTooLarge),
        (json!({"layers": "two"}), Code::RefusedParameters),
        (json!({"mode": "split"}), Code::RefusedParameters),
        (json!({"bound": null}), Code::RefusedParameters),
        (json!({"bound": "0"}), Code::RefusedParameters),
        (json!({"bound": "1000000000000"}), Code::ModelPrecision),
        (json!({"ranges": {"x": ["0", "1"]}}), Code::RefusedParameters),
        (json!({"ranges": {"x": ["1", "0"], "y": ["0", "1"]}}), Code::RefusedParameters),
        (json!({"categories": {"x": ["a"]}}), Code::RefusedParameters),
        (json!({"output": "decision", "threshold": "1000000"}), Code::RefusedOverflow),
    ] {
        assert_eq!(code(more.clone()), wanted, "{more}");
    }
    let fold = |job: &Job| {
        let owner = Job::party(20);
        job.plan().unwrap().fold(&owner, job.material(&owner)).map(|_| ()).unwrap_err().code
    };
    assert_eq!(fold(&make(json!({"bound": "8"}))), Code::ModelPrecision, "it reaches beyond the bound");
    assert_eq!(fold(&make(json!({"error": "0.0000000001"}))), Code::ModelPrecision);
    assert_eq!(fold(&make(json!({"layers": [1]}))), Code::ModelTooLarge);
    assert_eq!(fold(&make(json!({"layers": [2, 2]}))), Code::ModelUnsupported);
    let tanh = read("onnx-mlp-tanh");
    assert_eq!(fold(&job(&tanh, &fixtures::rows(), 2, false, json!({}))), Code::ModelUnsupported);
    let plan = make(json!({})).plan().unwrap();
    assert_eq!(plan.facts(&Job::party(0)).score.unwrap().family, ModelFamily::Network);
    let params = make(json!({})).params().unwrap();
    shares::mutate(&params, |bytes| {
        if let Err(fault) = make(json!({})).plan_of(bytes) {
            let code = fault.code.text();
            assert!(code.starts_with("refused.") || code.starts_with("model."), "{fault}");
        }
    });
}
