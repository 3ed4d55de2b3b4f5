//! Files of models. What was read is a checked model: its own form comes back to the bit, rows of every kind of number
//! are scored without a panic, and a division among owners leaves one leaf a tree.

use tacit_models::{Division, Format, Frame, Import, Kind, Leaves, Local, Meta, Model, Rest};
use tacit_types::{Name, NodeId};

fn import() -> Import {
    let name = Name::new("m").unwrap_or_else(|_| unreachable!());
    Import::new(Meta { owner: NodeId([1; 32]), name, version: 1 })
}

fn read(format: Format, bytes: &[u8]) {
    match format.read(import(), bytes) {
        Ok(model) => check(&model, bytes),
        Err(fault) => {
            assert!(fault.code.text().starts_with("model."), "{fault}");
            // A fault does not repeat a stranger's file.
            assert!(fault.what.len() < 8192, "{} bytes", fault.what.len());
        }
    }
}

fn check(model: &Model, bytes: &[u8]) {
    let encoded = model.encode();
    let again = Model::decode(&encoded);
    assert_eq!(again.as_ref().map(Model::encode).as_ref(), Ok(&encoded));
    assert_eq!(again.map(|m| m.hash()), Ok(model.hash()));
    let count = model.features().len();
    // Hundreds of features are no different from some, and take long.
    if count > 64 {
        return;
    }
    let numbers = [f64::NAN, 0.0, -0.0, 1.0, -1.0, 1e-36, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 3.0];
    let turn = bytes.len();
    for row in 0..4 {
        let values: Vec<f64> = (0..count).map(|i| numbers[(i * 7 + row * 3 + turn) % numbers.len()]).collect();
        let Ok(frame) = Frame::row(model.features(), &values) else { unreachable!() };
        let _ = model.scores(&frame);
        if let Kind::Part(part) = model.kind() {
            let mut words = vec![0; part.leaf_count().div_ceil(64)];
            part.allowed(|feature| frame.value(0, feature), &mut words);
            continue;
        }
        let owners: Vec<usize> = (0..count).map(|i| (i + turn) % 3).collect();
        let Ok(division) = Division::new(model, &owners, 3) else { unreachable!() };
        if let Kind::Trees(_) = model.kind() {
            one_leaf_a_tree(&division, &owners, &values);
        }
    }
}

fn one_leaf_a_tree(division: &Division, owners: &[usize], values: &[f64]) {
    let mut all = None;
    for (party, part) in division.parts.iter().enumerate() {
        assert!(matches!(part.local, Local::Conditions { .. }));
        let own: Vec<f64> = owners.iter().zip(values).filter(|(o, _)| **o == party).map(|(_, v)| *v).collect();
        let Ok(Some(bits)) = Frame::row(&part.features, &own).and_then(|f| part.leaf_bits(&f)) else { unreachable!() };
        match &mut all {
            None => all = Some(bits),
            Some(all) => all.and(&bits),
        }
    }
    let (Some(all), Rest::Leaves(Leaves { trees, .. })) = (all, &division.rest) else { unreachable!() };
    let mut first = 0;
    for leaves in trees {
        assert_eq!((first..first + leaves.len()).filter(|leaf| all.bit(0, *leaf)).count(), 1);
        first += leaves.len();
    }
}

/// XGBoost's JSON.
pub fn xgboost(bytes: &[u8]) {
    read(Format::XgBoost, bytes);
}

/// LightGBM's text.
pub fn lightgbm(bytes: &[u8]) {
    read(Format::LightGbm, bytes);
}

/// Coefficients.
pub fn linear(bytes: &[u8]) {
    read(Format::Linear, bytes);
}

/// Scorecards.
pub fn scorecard(bytes: &[u8]) {
    read(Format::Scorecard, bytes);
}

/// ONNX.
pub fn onnx(bytes: &[u8]) {
    read(Format::Onnx, bytes);
}

/// The own form: what is read is written as the same bytes.
pub fn own(bytes: &[u8]) {
    if let Ok(model) = Model::decode(bytes) {
        assert_eq!(model.encode(), bytes);
    }
    read(Format::Own, bytes);
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../crates/models/tests/fixtures/models/", $name)).to_vec()
    };
}

/// A small model of each library, and hand-made ones where theirs are large.
pub fn xgboost_seeds() -> Vec<Vec<u8>> {
    let tree = r#"{"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[1,0,0],"split_conditions":[1.5,-0.5,2],"default_left":[1,0,0],"split_type":[1,0,0],"categories":[0,2],"categories_nodes":[0],"categories_segments":[0],"categories_sizes":[2],"tree_param":{"size_leaf_vector":"1"}}"#;
    let small = format!(
        r#"{{"learner":{{"learner_model_param":{{"base_score":"[5E-1]","num_class":"0","num_feature":"2","num_target":"1"}},"objective":{{"name":"binary:logistic"}},"feature_names":["a","b"],"feature_types":["float","c"],"gradient_booster":{{"name":"gbtree","model":{{"trees":[{tree}],"tree_info":[0],"cats":{{"enc":[{{"offsets":[],"values":[]}},{{"offsets":[0,1,2,3],"values":[120,121,122]}}]}}}}}}}},"version":[3,2,0]}}"#
    );
    vec![small.into_bytes(), fixture!("xgb-poisson-1.7.json")]
}

/// LightGBM's text.
pub fn lightgbm_seeds() -> Vec<Vec<u8>> {
    let small = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=binary sigmoid:1\nfeature_names=a b\nfeature_infos=[0:1] 0:1:2\n\nTree=0\nnum_leaves=3\nnum_cat=1\nsplit_feature=0 1\nthreshold=0.5 0\ndecision_type=10 1\nleft_child=1 -1\nright_child=-2 -3\nleaf_value=0.1 -0.2 0.3\ncat_boundaries=0 1\ncat_threshold=5\nis_linear=0\n\n\nend of trees\n\npandas_categorical:[[\"x\", \"y\", \"z\"]]\n";
    vec![small.as_bytes().to_vec(), fixture!("lgb-rank.txt")]
}

/// Coefficients.
pub fn linear_seeds() -> Vec<Vec<u8>> {
    vec![fixture!("skl-logistic.json"), fixture!("skl-linear.json")]
}

/// Scorecards.
pub fn scorecard_seeds() -> Vec<Vec<u8>> {
    let card = r#"{"format":"tacit-scorecard/1","base":600,"link":"identity","characteristics":[{"feature":"age","edges":[25,40],"points":[-20,0,15],"missing":-5,"range":[0,120]},{"feature":"home","categories":["own","rent"],"points":[30,10],"other":1,"missing":2},{"feature":"years","weight":2.5}]}"#;
    vec![card.as_bytes().to_vec()]
}

/// ONNX.
pub fn onnx_seeds() -> Vec<Vec<u8>> {
    vec![
        fixture!("onnx-logistic.onnx"),
        fixture!("onnx-gemm.onnx"),
        fixture!("onnx-tree.onnx"),
        fixture!("onnx-mlp.onnx"),
        fixture!("onnx-linear.onnx"),
    ]
}

/// The own form of the others.
pub fn own_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        (Format::XgBoost, xgboost_seeds()),
        (Format::LightGbm, lightgbm_seeds()),
        (Format::Linear, linear_seeds()),
        (Format::Scorecard, scorecard_seeds()),
        (Format::Onnx, onnx_seeds()),
    ];
    let read = |(format, seeds): (Format, Vec<Vec<u8>>)| {
        seeds.into_iter().filter_map(move |seed| format.read(import(), &seed).ok()).map(|m| m.encode())
    };
    seeds.into_iter().flat_map(read).collect()
}
