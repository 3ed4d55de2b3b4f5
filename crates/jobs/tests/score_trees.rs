//! `score-trees/v1` between real machines: split and private ensembles of XGBoost, LightGBM and ONNX against the
//! libraries' own predictions, missing values and categories, less than the score, and what is refused.

#[path = "score_trees/ensembles.rs"]
mod ensembles;
#[path = "../../models/tests/common/mod.rs"]
mod fixtures;
mod shares;

use ensembles::{Ensemble, Shape, exact, job, keys, split_job};
use serde_json::{Value, json};
use shares::Fate;
use tacit_governance::{ModelFamily, Use};
use tacit_types::Code;

/// Every file whose trees score, and the library whose rules it follows.
const FILES: [(&str, &str); 17] = [
    ("xgb-logistic.json", "xgboost"),
    ("xgb-logistic-base.json", "xgboost"),
    ("xgb-squared.json", "xgboost"),
    ("xgb-poisson-1.7.json", "xgboost"),
    ("xgb-rank.json", "xgboost"),
    ("xgb-gamma.json", "xgboost"),
    ("xgb-onehot.json", "xgboost"),
    ("lgb-binary.txt", "lightgbm"),
    ("lgb-binary-steep.txt", "lightgbm"),
    ("lgb-zero.txt", "lightgbm"),
    ("lgb-none.txt", "lightgbm"),
    ("lgb-poisson.txt", "lightgbm"),
    ("lgb-forest.txt", "lightgbm"),
    ("onnx-forest.onnx", "onnx"),
    ("onnx-forest-class.onnx", "onnx"),
    ("onnx-boosted.onnx", "onnx"),
    ("onnx-tree.onnx", "onnx"),
];

fn numbers(opened: &Value, name: &str) -> Vec<Option<f64>> {
    opened[name].as_array().unwrap_or_else(|| panic!("{opened}")).iter().map(Value::as_f64).collect()
}

/// Scores of every row are those of exact sums to a millionth, and the library's own but for its roundings.
fn equal(name: &str, ensemble: &Ensemble, opened: &Value) {
    let scores = numbers(opened, "scores");
    assert_eq!(scores.len(), ensemble.rows());
    let exact = exact(ensemble);
    let predicted = ensemble.predicted();
    let mut compared = 0;
    for (row, score) in scores.iter().enumerate() {
        let score = score.unwrap_or_else(|| panic!("{name}, row {row} is unknown"));
        assert!((score - exact[row]).abs() <= 1e-6, "{name}, row {row}: {score}, not {}", exact[row]);
        if let Some(theirs) = predicted[row] {
            let (score, error) = (ensemble.score(score), 1e-6 + ensemble.rounding());
            let error = error * theirs.abs().max(1.0);
            assert!((score - theirs).abs() <= error, "{name}, row {row}: {score}, the library {theirs}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{name}: {compared} rows were compared");
}

#[test]
fn split_ensembles_score_as_their_libraries() {
    for (i, (file, _)) in FILES.into_iter().enumerate() {
        let ensemble = Ensemble::read(file);
        // Two, three and five owners of data; the leaves at one of them, or at a party without data.
        let (owners, apart) = [(2, false), (3, false), (5, false), (1, true), (2, true)][i % 5];
        let job = split_job(&ensemble, owners, apart, json!({}));
        equal(file, &ensemble, &job.open());
    }
}

#[test]
fn private_ensembles_score_as_their_libraries() {
    for (i, (file, library)) in FILES.into_iter().enumerate() {
        let ensemble = Ensemble::read(file);
        let shape = [Shape::apart(1), Shape::both(2), Shape::apart(2), Shape::both(3), Shape::apart(4)][i % 5];
        let job = job(&ensemble, shape, json!({"library": library}));
        equal(file, &ensemble, &job.open());
    }
}

#[test]
fn decisions_and_bands_are_those_of_the_exact_margins() {
    for (file, library) in [("xgb-logistic.json", "xgboost"), ("lgb-zero.txt", "lightgbm")] {
        let ensemble = Ensemble::read(file);
        let exact = exact(&ensemble);
        // At a margin, and just beyond it on both sides: the stated rounding is a millionth.
        let at = exact[7];
        for (by, above) in [(-2e-6, true), (2e-6, false)] {
            let written = json!({"library": library, "output": "decision", "threshold": format!("{:.9}", at + by)});
            for split in [true, false] {
                let mut written = written.clone();
                if split {
                    written.as_object_mut().unwrap().remove("library");
                }
                let job = if split {
                    split_job(&ensemble, 2, false, written)
                } else {
                    job(&ensemble, Shape::apart(2), written)
                };
                let opened = job.open();
                for (row, margin) in exact.iter().enumerate() {
                    let wanted = if (margin - at).abs() < 1e-9 { above } else { *margin >= at + by };
                    assert_eq!(opened["decisions"][row], json!(wanted), "{file} {split}, row {row}: {margin}");
                }
            }
        }
        let mut sorted = exact.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup_by(|a, b| (*a - *b).abs() < 1e-5);
        let edges: Vec<String> = [3, 7, 9].map(|i| format!("{:.7}", f64::midpoint(sorted[i], sorted[i + 1]))).to_vec();
        let opened = split_job(&ensemble, 3, false, json!({"output": "band", "bands": edges})).open();
        for (row, margin) in exact.iter().enumerate() {
            let wanted = edges.iter().filter(|e| e.parse::<f64>().unwrap() <= *margin).count();
            assert_eq!(opened["bands"][row], json!(wanted));
        }
        let rounded = split_job(&ensemble, 2, true, json!({"output": "rounded", "decimals": 2})).open();
        for (score, margin) in numbers(&rounded, "scores").into_iter().zip(&exact) {
            let near_half = ((margin * 100.0 - (margin * 100.0).floor()) - 0.5).abs() < 1e-3;
            assert!(near_half || (score.unwrap() * 100.0 - (margin * 100.0 + 0.5).floor()).abs() < 1e-6);
        }
    }
}

#[test]
fn each_rule_for_unknown_keys_does_what_it_says() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let exact = exact(&ensemble);
    for private in [false, true] {
        let make = |rule: &str| {
            let mut written = json!({"unknown": rule});
            if private {
                written["library"] = json!("xgboost");
            }
            let mut job =
                if private { job(&ensemble, Shape::both(3), written) } else { split_job(&ensemble, 3, false, written) };
            // Row 3 is gone at the second owner; row 5 stands twice at the first.
            ensembles::forget(&mut job.tables[1].columns, "k3");
            ensembles::repeat(&mut job.tables[0].columns, "k5");
            job
        };
        let job = make("flag");
        let opened = job.open();
        for (row, score) in numbers(&opened, "scores").into_iter().enumerate() {
            assert_eq!(score.is_none(), [3, 5].contains(&row), "{private} {row}");
        }
        let cells = job.cells();
        assert_eq!(
            (cells[3], cells[5], cells.len()),
            (0, 0, 2 * ensemble.rows()),
            "nothing of an unknown row is opened"
        );
        assert_eq!(make("refuse").open()["unknown"], json!(ensemble.rows()));
        let scores = numbers(&make("default").open(), "scores");
        assert!((scores[4].unwrap() - exact[4]).abs() < 1e-6);
        // The features of the owner without the row are missing ones.
        let gone = ensembles::without(&ensemble, 3, 1, 3);
        assert!((scores[3].unwrap() - gone).abs() < 1e-6, "{private}: {:?}, not {gone}", scores[3]);
    }
}

#[test]
fn nothing_is_opened_but_what_the_disclosures_list() {
    let ensemble = Ensemble::read("lgb-none.txt");
    let rows = ensemble.rows() as u64;
    let outputs = [
        (json!({}), 2 * rows),
        (json!({"output": "decision", "threshold": "0", "unknown": "refuse"}), rows + 1),
        (json!({"output": "band", "bands": ["-1", "1"], "unknown": "default"}), rows),
    ];
    for (written, cells) in outputs {
        let mut private = written.clone();
        private["library"] = json!("lightgbm");
        for job in [split_job(&ensemble, 2, true, written), job(&ensemble, Shape::apart(2), private)] {
            let listed: Vec<(String, u64)> =
                job.plan().unwrap().disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
            assert_eq!(listed, [("result".to_owned(), cells)]);
            let run = job.run(Fate::Well);
            for usage in &run.usage {
                let opened: Vec<(String, u64)> = usage.opened.clone().into_iter().collect();
                assert_eq!(opened, listed, "at every seat, the dealer's too");
            }
            for output in run.outcomes.iter().map(|o| o.as_ref().unwrap()) {
                assert_eq!((output.cells_in, output.payload_bytes, output.cells_out), (cells, cells * 8, rows));
            }
        }
    }
}

#[test]
fn what_a_party_sends_has_one_size_whatever_the_rows_and_the_model_are() {
    let sizes = |file: &str, spoil: bool| {
        let ensemble = Ensemble::read(file);
        let mut job = job(&ensemble, Shape::apart(2), json!({"library": "xgboost", "trees": 16, "leaves": 16}));
        if spoil {
            ensembles::forget(&mut job.tables[1].columns, "k3");
        }
        job.run(Fate::Well).usage.into_iter().map(|u| u.sent).collect::<Vec<_>>()
    };
    let one = sizes("xgb-logistic.json", false);
    assert_eq!(one, sizes("xgb-logistic.json", true));
    assert_eq!(one, sizes("xgb-rank.json", false), "another ensemble of the same features");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let private = |more: Value| {
        let mut written = json!({"library": "xgboost"});
        written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job(&ensemble, Shape::apart(2), written)
    };
    let code = |job: &shares::Job| job.plan().map(|_| ()).unwrap_err().code;
    for (more, wanted) in [
        (json!({"trees": 0}), Code::RefusedParameters),
        (json!({"trees": 10_001}), Code::RefusedParameters),
        (json!({"leaves": 1}), Code::RefusedParameters),
        (json!({"leaves": 48}), Code::RefusedParameters),
        (json!({"leaves": 1 << 17}), Code::RefusedParameters),
        (json!({"library": "catboost"}), Code::RefusedParameters),
        (json!({"holder": "p0"}), Code::RefusedParameters),
        (json!({"bound": "1e3"}), Code::RefusedParameters),
        (json!({"bound": "10000000000000"}), Code::ModelPrecision),
        (json!({"error": "0"}), Code::RefusedParameters),
        (json!({"categories": {"nobody": ["a"]}}), Code::RefusedParameters),
        (json!({"ranges": {"nobody": ["0", "1"]}}), Code::RefusedParameters),
        (json!({"trees": "twelve"}), Code::RefusedParameters),
        (json!({"output": "decision", "threshold": "100000"}), Code::RefusedOverflow),
    ] {
        assert_eq!(code(&private(more.clone())), wanted, "{more}");
    }
    let fold = |job: &shares::Job, number: usize| {
        let owner = shares::Job::party(number);
        job.plan().unwrap().fold(&owner, job.material(&owner)).map(|_| ()).unwrap_err().code
    };
    assert_eq!(fold(&private(json!({"bound": "0.125"})), 20), Code::ModelPrecision);
    assert_eq!(fold(&private(json!({"trees": 11})), 20), Code::ModelPrecision);
    assert_eq!(fold(&private(json!({"leaves": 8})), 20), Code::ModelTooLarge);
    assert_eq!(fold(&private(json!({"library": "lightgbm"})), 20), Code::ModelUnsupported);
    assert_eq!(fold(&private(json!({})), 9), Code::RefusedParties);
    let zeroes = job(&Ensemble::read("lgb-zero.txt"), Shape::apart(2), json!({"library": "xgboost"}));
    assert_eq!(fold(&zeroes, 20), Code::ModelUnsupported);
    // A part that is another's, a whole model, leaves where they should not be.
    let split = |more: Value| split_job(&ensemble, 2, true, more);
    assert_eq!(fold(&split(json!({"leaves": 64})), 0), Code::RefusedModel);
    assert_eq!(fold(&split(json!({"trees": 3})), 0), Code::RefusedModel);
    let mut odd = split(json!({}));
    let (a, b) = (shares::Job::party(0), shares::Job::party(20));
    let part = odd.held[&a].clone();
    odd.held.insert(b, part.clone());
    assert_eq!(fold(&odd, 20), Code::RefusedModel, "no leaves at their holder");
    odd.held.insert(b, ensemble.model.clone());
    assert_eq!(fold(&odd, 20), Code::RefusedModel, "a whole ensemble is no part");
    let mut alone = split(json!({}));
    alone.dealer = None;
    assert_eq!(code(&alone), Code::RefusedParameters);
    let mut short = split(json!({}));
    short.models.pop();
    assert!(short.plan().is_err());
}

#[test]
fn mutated_parameters_are_refused_or_planned_and_never_panic() {
    let ensemble = Ensemble::read("xgb-onehot.json");
    for job in [
        split_job(&ensemble, 2, true, json!({})),
        job(&ensemble, Shape::both(2), json!({"library": "xgboost", "output": "decision", "threshold": "0.5"})),
    ] {
        let params = job.params().unwrap();
        shares::mutate(&params, |bytes| {
            if let Err(fault) = job.plan_of(bytes) {
                let code = fault.code.text();
                assert!(code.starts_with("refused.") || code.starts_with("model."), "{fault}");
            }
        });
    }
}

#[test]
fn a_lost_party_or_dealer_ends_the_attempt() {
    let ensemble = Ensemble::read("xgb-rank.json");
    for job in
        [split_job(&ensemble, 2, true, json!({})), job(&ensemble, Shape::apart(1), json!({"library": "xgboost"}))]
    {
        let whole = job.run(Fate::Well).messages;
        for (seat, whole) in whole.into_iter().enumerate() {
            let run = job.run(Fate::Lost { seat, after: whole / 2 });
            assert!(run.outcomes.iter().enumerate().all(|(i, o)| i == seat || o.is_err()), "{seat}");
        }
    }
}

#[test]
fn the_decision_hears_of_each_role() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let job = job(&ensemble, Shape::apart(2), json!({"library": "xgboost"}));
    let plan = job.plan().unwrap();
    let facts = plan.facts(&job.tables[0].owner);
    assert!(facts.uses.contains(&("id".into(), Use::Key)) && facts.uses.len() > 3);
    let score = facts.score.unwrap();
    assert_eq!((score.rows, score.family, facts.providers_min), (ensemble.rows() as u64, ModelFamily::Trees, 1));
    let model = shares::Job::party(20);
    assert!(plan.facts(&model).uses.is_empty() && plan.fold(&model, job.material(&model)).is_ok());
    assert!(plan.estimate(4).bytes_up > 1000 && plan.estimate(4).rounds > 10);
    assert_eq!(keys(3), ["k0", "k1", "k2"]);
}
