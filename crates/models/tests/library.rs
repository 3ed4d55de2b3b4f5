//! Models that the real libraries trained score as those libraries say. The files of `fixtures/models` are written by
//! its `make.py`; versions and licence stand in its README.

mod common;

use common::{bytes, expected, frame, import, text};
use tacit_models::import::{lightgbm, linear, onnx, xgboost};
use tacit_models::limits::TERMS_MAX;
use tacit_models::{Division, Feature, Frame, Kind, LinearPlan, Link, Model, Norm, Normed, NormedColumn, Test};
use tacit_types::{Code, Column, Values};

/// The bits agree, as singles.
fn same_singles(name: &str, ours: &[f64], theirs: &[Option<f64>]) {
    for (row, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let b = b.expect("a margin");
        assert_eq!((*a as f32).to_bits(), (b as f32).to_bits(), "{name}, row {row}: {a} and {b}");
    }
}

fn close(name: &str, ours: &[f64], theirs: &[Option<f64>], error: f64) {
    assert_eq!(ours.len(), theirs.len());
    let mut compared = 0;
    for (row, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let Some(b) = b else { continue };
        compared += 1;
        assert!((a - b).abs() <= error, "{name}, row {row}: {a} and {b}");
    }
    assert!(compared > 20, "{name}: {compared} rows were compared");
}

fn sets(model: &Model) -> usize {
    let Kind::Trees(trees) = model.kind() else { return 0 };
    trees.trees.iter().flat_map(|t| t.splits()).filter(|(_, s)| matches!(s.test, Test::OneOf(_))).count()
}

#[test]
fn xgboost_margins_are_the_same_bits() {
    let mut with_sets = 0;
    for name in [
        "xgb-logistic",
        "xgb-logistic-base",
        "xgb-squared",
        "xgb-poisson",
        "xgb-rank",
        "xgb-logitraw",
        "xgb-gamma",
        "xgb-onehot",
        "xgb-logistic-1.7",
        "xgb-logistic-base-1.7",
        "xgb-logitraw-1.7",
        "xgb-squared-1.7",
        "xgb-poisson-1.7",
    ] {
        let model = xgboost::read(import(name), text(&format!("{name}.json")).as_bytes()).unwrap();
        with_sets += usize::from(sets(&model) > 0);
        let (frame, expected) = (frame(&model), expected(name));
        same_singles(name, &model.margins(&frame).unwrap(), expected.margins.as_ref().unwrap());
        close(name, &model.scores(&frame).unwrap(), expected.scores.as_ref().unwrap(), 1e-6);
    }
    assert!(with_sets >= 4, "{with_sets} models split on categories");
}

#[test]
fn xgboost_dart_weighs_its_trees() {
    let model = xgboost::read(import("xgb-dart"), text("xgb-dart.json").as_bytes()).unwrap();
    let expected = expected("xgb-dart");
    close("xgb-dart", &model.margins(&frame(&model)).unwrap(), expected.margins.as_ref().unwrap(), 1e-6);
    close("xgb-dart", &model.scores(&frame(&model)).unwrap(), expected.scores.as_ref().unwrap(), 1e-6);
}

#[test]
fn lightgbm_margins_are_the_same_bits() {
    let mut with_sets = 0;
    for name in ["lgb-binary", "lgb-binary-steep", "lgb-zero", "lgb-none", "lgb-poisson", "lgb-rank", "lgb-forest"] {
        let model = lightgbm::read(import(name), text(&format!("{name}.txt")).as_bytes()).unwrap();
        with_sets += usize::from(sets(&model) > 0);
        let (frame, expected) = (frame(&model), expected(name));
        let margins = model.margins(&frame).unwrap();
        for (row, (a, b)) in margins.iter().zip(expected.margins.iter().flatten()).enumerate() {
            assert_eq!(a.to_bits(), b.unwrap().to_bits(), "{name}, row {row}: {a} and {b:?}");
        }
        assert!(expected.margins.is_some() || name == "lgb-forest");
        close(name, &model.scores(&frame).unwrap(), expected.scores.as_ref().unwrap(), 1e-12);
    }
    assert!(with_sets >= 3, "{with_sets} models split on categories");
}

#[test]
fn what_cannot_be_scored_is_refused_by_name() {
    let refusals = [
        (xgboost::read(import("m"), text("xgb-multi.json").as_bytes()), "multi:softprob"),
        (lightgbm::read(import("m"), text("lgb-multi.txt").as_bytes()), "3 scores"),
        (lightgbm::read(import("m"), text("lgb-linear-trees.txt").as_bytes()), "linear trees"),
        (onnx::read(import("m"), &bytes("onnx-pairs-bare.onnx")), "may not sum to one"),
        (onnx::read(import("m"), &bytes("onnx-normalizer-tree.onnx")), "under a norm"),
    ];
    for (refusal, reason) in refusals {
        let fault = refusal.unwrap_err();
        assert_eq!(fault.code, Code::ModelUnsupported);
        assert!(fault.what.contains(reason), "{}", fault.what);
    }
}

#[test]
fn scikit_learn_coefficients_score_as_scikit_learn() {
    for name in ["skl-logistic", "skl-linear"] {
        let model = linear::read(import(name), text(&format!("{name}.json")).as_bytes()).unwrap();
        let expected = expected(name);
        let margins = common::each_row(&model, |m| m.margin);
        close(name, &margins, expected.margins.as_ref().unwrap(), 1e-6);
        let scores = common::each_row(&model, |m| m.score);
        close(name, &scores, expected.scores.as_ref().unwrap(), 1e-6);
        // A gap has no rule here: it is refused by row and feature.
        let fault = model.margins(&frame(&model)).unwrap_err();
        assert_eq!(fault.code, Code::ModelValueMissing);
        assert!(fault.what.starts_with("row ") && fault.what.contains("mean_"), "{}", fault.what);
    }
}

#[test]
fn onnx_scores_are_those_of_the_runtime() {
    for (name, error) in [
        ("onnx-logistic", 1e-6),
        ("onnx-linear", 1e-5),
        ("onnx-mlp", 1e-5),
        ("onnx-mlp-tanh", 1e-5),
        ("onnx-forest", 1e-6),
        ("onnx-forest-class", 1e-6),
        ("onnx-boosted", 1e-6),
        ("onnx-tree", 1e-6),
        ("onnx-gemm", 1e-5),
        ("onnx-pairs", 1e-6),
        ("onnx-normalizer", 1e-6),
        ("onnx-normalizer-l1", 1e-6),
        ("onnx-normalizer-max", 1e-6),
    ] {
        let mut import = import(name);
        import.features = common::numeric_features();
        let model = onnx::read(import, &bytes(&format!("{name}.onnx"))).unwrap_or_else(|f| panic!("{name}: {f}"));
        let scores = common::each_row(&model, |m| m.score);
        let expected = expected(name).scores.unwrap();
        // A row that is divided by a small number may score thousands, which the runtime holds in singles.
        let great = |b: &Option<f64>| if name == "onnx-normalizer-max" { b.unwrap_or(1.0).abs().max(1.0) } else { 1.0 };
        let ours: Vec<f64> = scores.iter().zip(&expected).map(|(a, b)| a / great(b)).collect();
        let theirs: Vec<Option<f64>> = expected.iter().map(|b| b.map(|v| v / great(b))).collect();
        close(name, &ours, &theirs, error);
    }
}

#[test]
fn what_norms_a_row_is_one_owners_and_whole() {
    let mut told = import("m");
    told.features = common::numeric_features();
    let model = onnx::read(told, &bytes("onnx-normalizer.onnx")).unwrap();
    let count = model.features().len();
    let ranges: Vec<(String, f64, f64)> = model.features().iter().map(|f| (f.name.clone(), 0.0, 1e3)).collect();
    let ranges: Vec<(&str, f64, f64)> = ranges.iter().map(|(name, a, b)| (name.as_str(), *a, *b)).collect();
    let fault = Division::new(&model, &vec![0; count], 2).unwrap_err();
    assert!(fault.code == Code::ModelUnsupported && fault.what.contains("one owner"), "{fault}");
    let fault = LinearPlan::new(&model.with_ranges(&ranges).unwrap(), 1e-6).unwrap_err();
    assert_eq!(fault.code, Code::ModelUnsupported);
}

#[test]
fn a_norm_of_nothing_leaves_a_row_as_it_is_and_one_of_too_much_has_no_number() {
    let column = |feature| NormedColumn { feature, offset: 1.0, scale: 2.0, weight: 0.5 };
    let features = || vec![Feature::numeric("a"), Feature::numeric("b")];
    let margin = |norm, row: [f64; 2]| {
        let kind = Kind::Normed(Normed { norm, intercept: 0.25, columns: vec![column(0), column(1)] });
        let model = Model::new(import("m").meta, features(), Link::Identity, kind).unwrap();
        model.margins(&Frame::row(model.features(), &row).unwrap()).map(|m| m[0])
    };
    for norm in [Norm::Max, Norm::L1, Norm::L2] {
        assert_eq!(margin(norm, [1.0, 1.0]), Ok(0.25));
        assert_eq!(margin(norm, [1.0, f64::NAN]).unwrap_err().code, Code::ModelValueMissing);
    }
    // (2, -6), by its greatest number, the sum of its magnitudes, its length.
    assert_eq!(margin(Norm::Max, [2.0, -2.0]), Ok(0.25 + 0.5 - 1.5));
    assert_eq!(margin(Norm::L1, [2.0, -2.0]), Ok(0.25 + 0.125 - 0.375));
    let length = (margin(Norm::L2, [2.0, -2.0]).unwrap() - 0.25 + 2.0 / 40f64.sqrt()).abs();
    assert!(length < 1e-7, "{length}");
    // Squares without a single, as the runtime has it.
    assert!(margin(Norm::L2, [1e30, 0.0]).unwrap().is_nan());
}

#[test]
fn columns_under_a_norm_are_of_the_model_and_within_the_cap() {
    let check = |columns: Vec<NormedColumn>| {
        let features = vec![Feature::numeric("a"), Feature::categorical("c", vec!["x".into()])];
        let kind = Kind::Normed(Normed { norm: Norm::L2, intercept: 0.0, columns });
        Model::new(import("m").meta, features, Link::Identity, kind).map(drop).map_err(|f| f.code)
    };
    let column = NormedColumn { feature: 0, offset: 0.0, scale: 1.0, weight: 1.0 };
    assert_eq!(check(vec![column; TERMS_MAX]), Ok(()));
    assert_eq!(check(vec![column; TERMS_MAX + 1]), Err(Code::ModelTooLarge));
    assert_eq!(check(vec![NormedColumn { feature: 1, ..column }]), Err(Code::ModelStructure));
    assert_eq!(check(vec![NormedColumn { feature: 2, ..column }]), Err(Code::ModelStructure));
    assert_eq!(check(vec![NormedColumn { scale: f64::INFINITY, ..column }]), Err(Code::ModelNotFinite));
}

/// As converters of XGBoost and LightGBM write them, behind scalers, of version 5 of the operators; gaps included.
#[test]
fn onnx_trees_of_converters_score_as_the_runtime_does() {
    let mut batch = common::rows();
    let Values::Text(wards) = &batch.get("ward").unwrap().values else { panic!() };
    let codes = wards.iter().map(|w| w.trim_start_matches('w').parse().unwrap_or(0.0)).collect();
    let valid = batch.get("ward").unwrap().valid.clone();
    batch.columns.push(Column { name: "ward_code".into(), values: Values::Float(codes), valid });
    for name in [
        "onnx-xgb",
        "onnx-xgb-value",
        "onnx-lgb",
        "onnx-lgb-plain",
        "onnx-lgb-value",
        "onnx-lgb-equal",
        "onnx-scaled-forest",
        "onnx-turned-tree",
        "onnx-ensemble5",
    ] {
        let mut import = import(name);
        import.features = common::numeric_features();
        if name == "onnx-lgb-equal" {
            import.features = ["mean_radius", "ward_code"].map(Feature::numeric).to_vec();
        }
        let model = onnx::read(import, &bytes(&format!("{name}.onnx"))).unwrap_or_else(|f| panic!("{name}: {f}"));
        let scores = model.scores(&Frame::new(model.features(), &batch).unwrap()).unwrap();
        let expected = expected(name).scores.unwrap();
        assert!(expected.iter().all(Option::is_some), "{name}: a row without a score");
        close(name, &scores, &expected, 1e-6);
    }
}

/// What is done to a feature before trees becomes part of the thresholds: exact to one single.
#[test]
fn scaled_thresholds_are_exact() {
    for name in ["onnx-scaled-forest", "onnx-turned-tree"] {
        let model = onnx::read(import("m"), &bytes(&format!("{name}.onnx"))).unwrap();
        let rows = bytes(&format!("{name}.edges.bin"));
        let values: Vec<f64> = rows.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect();
        let mut scores = std::collections::BTreeSet::new();
        for (row, values) in values.chunks(11).enumerate() {
            let score = model.scores(&Frame::row(model.features(), &values[..10]).unwrap()).unwrap()[0];
            assert!((score - values[10]).abs() <= 1e-6, "{name}, row {row}: {score} and {}", values[10]);
            scores.insert(score.to_bits());
        }
        assert!(values.len() / 11 > 100 && scores.len() > 5);
    }
}
