//! Files of strangers: one clear fault each, and nothing that grows past its cap. The own form is canonical.

mod common;

use common::{bytes, import, meta, numeric_features, text};
use tacit_models::format::{FORMAT_VERSION, HASH_LABEL};
use tacit_models::limits::*;
use tacit_models::{
    Activation, Additive, Feature, Format, Frame, Import, Kind, Layer, Link, Missing, Model, Network, Node, Precision,
    Shape, Split, Term, Test, Tree, Trees,
};
use tacit_types::{Code, Fault};

const FILES: &[(&str, Format)] = &[
    ("xgb-logistic.json", Format::XgBoost),
    ("xgb-onehot.json", Format::XgBoost),
    ("xgb-dart.json", Format::XgBoost),
    ("xgb-poisson-1.7.json", Format::XgBoost),
    ("lgb-binary.txt", Format::LightGbm),
    ("lgb-zero.txt", Format::LightGbm),
    ("lgb-forest.txt", Format::LightGbm),
    ("lgb-columns.txt", Format::LightGbm),
    ("lgb-codes.txt", Format::LightGbm),
    ("skl-logistic.json", Format::Linear),
    ("scorecard.json", Format::Scorecard),
    ("onnx-logistic.onnx", Format::Onnx),
    ("onnx-mlp.onnx", Format::Onnx),
    ("onnx-forest.onnx", Format::Onnx),
    ("onnx-boosted.onnx", Format::Onnx),
    ("onnx-gemm.onnx", Format::Onnx),
    ("onnx-ensemble5.onnx", Format::Onnx),
    ("onnx-turned-tree.onnx", Format::Onnx),
    ("onnx-normalizer.onnx", Format::Onnx),
    ("onnx-normalizer-l1.onnx", Format::Onnx),
];

fn told(file: &str) -> Import {
    let mut import = import("m");
    if file.starts_with("onnx") {
        import.features = numeric_features();
    }
    import
}

fn read(file: &str, format: Format) -> Model {
    format.read(told(file), &bytes(file)).unwrap_or_else(|f| panic!("{file}: {f}"))
}

fn code<T>(result: Result<T, Fault>) -> Result<(), Code> {
    result.map(drop).map_err(|f| f.code)
}

#[test]
fn the_own_form_comes_back_to_the_bit() {
    let mut hashes = std::collections::BTreeSet::new();
    for (file, format) in FILES {
        let model = read(file, *format);
        let encoded = model.encode();
        let again = Model::decode(&encoded).unwrap();
        assert_eq!(again, model, "{file}");
        assert_eq!(again.encode(), encoded, "{file}");
        assert!(hashes.insert(model.hash()), "{file}");
    }
    let signed = additive(vec![Term { feature: 0, shape: Shape::Linear { weight: -0.0, missing: Some(-0.0) } }], 1);
    let again = Model::decode(&signed.unwrap().encode()).unwrap();
    let Kind::Additive(Additive { terms, .. }) = again.kind() else { panic!() };
    let Shape::Linear { weight, missing } = terms[0].shape else { panic!() };
    assert_eq!([weight.to_bits(), missing.unwrap().to_bits()], [(-0.0f64).to_bits(); 2]);
    assert!(HASH_LABEL.ends_with(&format!("/{FORMAT_VERSION}")));
}

#[test]
fn the_form_of_version_one_stays_the_same_bytes() {
    let shape = Shape::Bins { edges: vec![1.0], points: vec![2.0, -0.5], missing: None };
    let model = additive(vec![Term { feature: 0, shape }], 1).unwrap();
    let wanted = concat!(
        "a70101025820070707070707070707070707070707070707070707070707070707070707070703616d04030581a1016161060008a2",
        "01000281a40100020103500000000000000040000000000000e0bf0448000000000000f03f",
    );
    let hex: String = model.encode().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, wanted);
    assert_eq!(model.hash().to_string(), "f746825124e63e4f371e6bdd880c205fce2a84b0a58870bd009d1b7665b64168");
}

#[test]
fn only_canonical_bytes_are_read() {
    let encoded = read("xgb-logistic.json", Format::XgBoost).encode();
    for cut in [0, 1, 10, encoded.len() / 2, encoded.len() - 1] {
        assert_eq!(code(Model::decode(&encoded[..cut])), Err(Code::ModelMalformed), "{cut}");
    }
    assert_eq!(code(Model::decode(&[&encoded[..], &[0]].concat())), Err(Code::ModelMalformed));
    // Another version; and the same number in two bytes.
    let mut newer = encoded.clone();
    assert_eq!(newer[1..3], [1, 1]);
    newer[2] = 2;
    assert_eq!(code(Model::decode(&newer)), Err(Code::ModelVersion));
    let longer = [&encoded[..2], &[0x18, 0x01], &encoded[3..]].concat();
    assert_eq!(code(Model::decode(&longer)), Err(Code::ModelMalformed));
    // A list that announces more than there is.
    let bomb = [0xa1, 0x05, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(code(Model::decode(&bomb)), Err(Code::ModelTooLarge));
    assert_eq!(code(Model::decode(&vec![0; MODEL_BYTES_MAX + 1])), Err(Code::ModelTooLarge));
    assert_eq!(code(Model::decode(&vec![0; MODEL_BYTES_MAX])), Err(Code::ModelMalformed));
    // Any byte changed: refused, or another model with another hash.
    let hash = Model::decode(&encoded).unwrap().hash();
    for at in (0..encoded.len()).step_by(97) {
        let mut changed = encoded.clone();
        changed[at] ^= 0x41;
        if let Ok(model) = Model::decode(&changed) {
            assert_ne!(model.hash(), hash);
            assert_eq!(model.encode(), changed);
        }
    }
}

#[test]
fn a_cut_or_bent_file_is_one_fault() {
    for (file, format) in FILES {
        let whole = bytes(file);
        for cut in (0..whole.len()).step_by(whole.len() / 80 + 1) {
            match format.read(told(file), &whole[..cut]) {
                Ok(_) => assert!(whole[cut..].iter().all(u8::is_ascii_whitespace), "{file}, {cut}"),
                Err(fault) => assert!(fault.code.text().starts_with("model."), "{file}: {fault}"),
            }
        }
        for at in (0..whole.len()).step_by(whole.len() / 100 + 1) {
            let mut bent = whole.clone();
            bent[at] ^= 0x15;
            if let Ok(model) = format.read(told(file), &bent) {
                assert_eq!(Model::decode(&model.encode()).as_ref(), Ok(&model));
            }
        }
        assert_eq!(code(format.read(told(file), &vec![b' '; MODEL_FILE_BYTES_MAX + 1])), Err(Code::ModelTooLarge));
    }
}

/// What follows the trees names the categories: without it another model would be read.
#[test]
fn a_lightgbm_file_that_is_cut_after_its_trees_is_refused() {
    for file in ["lgb-binary.txt", "lgb-columns.txt", "lgb-codes.txt"] {
        let whole = text(file);
        let from = whole.find("end of trees").unwrap();
        let end = whole.trim_end().len();
        for cut in from..end {
            let fault = Format::LightGbm.read(import("m"), &whole.as_bytes()[..cut]).map(drop).expect_err("a cut file");
            let of = [Code::ModelMalformed, Code::ModelFeatures];
            assert!(of.contains(&fault.code), "{file}, {cut}: {fault}");
        }
        assert!(Format::LightGbm.read(import("m"), &whole.as_bytes()[..end]).is_ok());
    }
    let whole = text("lgb-binary.txt");
    let longer = |more: String| code(Format::LightGbm.read(import("m"), (whole.clone() + &more).as_bytes()));
    assert_eq!(longer("pandas_categorical:null\n".into()), Err(Code::ModelMalformed), "two such lines");
    assert_eq!(longer("x\n".into()), Err(Code::ModelMalformed), "something after it");
    let lines = TEXT_LINES_MAX - whole.lines().count();
    assert_eq!(longer("\n".repeat(lines)), Ok(()));
    assert_eq!(longer("\n".repeat(lines + 1)), Err(Code::ModelTooLarge));
}

/// A text changed in one place reads as this code.
fn changed(file: &str, format: Format, from: &str, to: &str) -> Result<(), Code> {
    let text = text(file);
    assert!(text.contains(from), "{file} has no {from}");
    code(format.read(told(file), text.replacen(from, to, 1).as_bytes()))
}

#[test]
fn each_lie_of_an_xgboost_file_is_named() {
    let lie = |from: &str, to: &str| changed("xgb-logistic.json", Format::XgBoost, from, to);
    assert_eq!(lie("\"left_children\":[1,", "\"left_children\":[0,"), Err(Code::ModelStructure), "a cycle");
    assert_eq!(lie("\"left_children\":[1,", "\"left_children\":[2,"), Err(Code::ModelStructure), "two parents");
    assert_eq!(lie("\"left_children\":[1,", "\"left_children\":[99999,"), Err(Code::ModelStructure));
    assert_eq!(lie("\"left_children\":[1,", "\"left_children\":[-7,"), Err(Code::ModelStructure));
    assert_eq!(lie("\"left_children\":[1,", "\"left_children\":["), Err(Code::ModelStructure), "one too few");
    // A leaf, and a split on a number; only a split on categories has no threshold.
    let file = text("xgb-logistic.json");
    let (_, values) = file.split_once("\"split_conditions\":[").unwrap();
    let values: Vec<&str> = values.split_once(']').unwrap().0.split(',').collect();
    let (_, kinds) = file.split_once("\"split_type\":[").unwrap();
    let kinds: Vec<bool> = kinds.split_once(']').unwrap().0.split(',').map(|kind| kind == "1").collect();
    for (i, categories) in kinds.iter().enumerate() {
        let mut bent = values.clone();
        bent[i] = "NaN";
        let end = lie(&values.join(","), &bent.join(","));
        assert_eq!(end, if *categories { Ok(()) } else { Err(Code::ModelNotFinite) }, "node {i}");
    }
    assert!(kinds.contains(&true));
    assert_eq!(lie("\"split_conditions\":[", "\"split_conditions\":[1e39,"), Err(Code::ModelNotFinite));
    assert_eq!(lie("\"split_indices\":[", "\"split_indices\":[-1,"), Err(Code::ModelStructure));
    assert_eq!(
        lie("\"num_feature\":\"11\",\"num_target\"", "\"num_feature\":\"12\",\"num_target\""),
        Err(Code::ModelFeatures)
    );
    assert_eq!(
        lie("\"num_feature\":\"11\",\"num_target\"", "\"num_feature\":\"4000000000\",\"num_target\""),
        Err(Code::ModelTooLarge)
    );
    assert_eq!(lie("\"mean_texture\"", "\"mean_radius\""), Err(Code::ModelFeatures), "a name twice");
    assert_eq!(lie("\"binary:logistic\"", "\"survival:cox\""), Err(Code::ModelUnsupported));
    assert_eq!(lie("\"gbtree\"", "\"gblinear\""), Err(Code::ModelUnsupported));
    assert_eq!(lie("\"num_target\":\"1\"", "\"num_target\":\"2\""), Err(Code::ModelUnsupported));
    assert_eq!(lie("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\""), Err(Code::ModelUnsupported));
    // Stopped early: the library scores with all trees or with the best, by how it is asked. The last round may be the best.
    let best = |round: &str| lie("\"attributes\":{}", &format!("\"attributes\":{{\"best_iteration\":\"{round}\"}}"));
    assert_eq!((best("10"), best("11")), (Err(Code::ModelUnsupported), Ok(())));
    let best = |trees: &str| {
        let old = "\"best_ntree_limit\":\"12\"";
        changed("xgb-logistic-1.7.json", Format::XgBoost, old, &format!("\"best_ntree_limit\":\"{trees}\""))
    };
    assert_eq!((best("11"), best("12")), (Err(Code::ModelUnsupported), Ok(())));
    assert_eq!(lie("\"base_score\":\"[3", "\"base_score\":\"[-3"), Err(Code::ModelNotFinite));
    assert_eq!(lie("\"categories_sizes\":[", "\"categories_sizes\":[9"), Err(Code::ModelStructure));
    assert_eq!(lie("\"categories\":[", "\"categories\":[4294967295,"), Err(Code::ModelFeatures));
    assert_eq!(
        lie("\"split_indices\":[7", "\"split_indices\":[10"),
        Err(Code::ModelStructure),
        "a threshold for categories"
    );
    let fault = Format::XgBoost.read(import("m"), b"{\"learner\":\n {\"objective\": 5}}").unwrap_err();
    assert!(fault.what.starts_with("line 2"), "{}", fault.what);
}

#[test]
fn each_lie_of_a_lightgbm_file_is_named() {
    let lie = |from: &str, to: &str| changed("lgb-binary.txt", Format::LightGbm, from, to);
    assert_eq!(lie("left_child=", "left_child=0 "), Err(Code::ModelStructure), "one too many");
    assert_eq!(lie("num_leaves=9", "num_leaves=8"), Err(Code::ModelStructure));
    assert_eq!(lie("leaf_value=", "leaf_value=nan "), Err(Code::ModelStructure));
    assert_eq!(lie("is_linear=0", "is_linear=1"), Err(Code::ModelUnsupported));
    assert_eq!(lie("num_class=1", "num_class=3"), Err(Code::ModelUnsupported));
    assert_eq!(lie("objective=binary", "objective=custom"), Err(Code::ModelUnsupported));
    assert_eq!(lie("version=v4", "version=v2"), Err(Code::ModelUnsupported));
    assert_eq!(lie("max_feature_idx=10", "max_feature_idx=11"), Err(Code::ModelFeatures));
    assert_eq!(lie("max_feature_idx=10", "max_feature_idx=18446744073709551615"), Err(Code::ModelTooLarge));
    assert_eq!(lie("mean_texture", "mean_radius"), Err(Code::ModelFeatures));
    assert_eq!(lie("tree\n", "wood\n"), Err(Code::ModelMalformed));
    assert_eq!(lie("sigmoid:1", "sigmoid:-1"), Err(Code::ModelNotFinite));
    assert_eq!(lie("cat_boundaries=0 ", "cat_boundaries=9 "), Err(Code::ModelStructure));
    // The first split leads back to itself.
    let text = text("lgb-binary.txt");
    let line = text.lines().find(|l| l.starts_with("left_child=")).unwrap();
    let (_, rest) = line.split_once(' ').unwrap();
    let cycle = text.replacen(line, &format!("left_child=0 {rest}"), 1);
    assert_eq!(code(Format::LightGbm.read(import("m"), cycle.as_bytes())), Err(Code::ModelStructure));
    let infinite = text.replacen("leaf_value=", "leaf_value=inf\nx=", 1);
    assert!(Format::LightGbm.read(import("m"), infinite.as_bytes()).is_err());
    let line = text.lines().find(|l| l.starts_with("leaf_value=")).unwrap();
    let (_, rest) = line.split_once(' ').unwrap();
    let nan = text.replacen(line, &format!("leaf_value=nan {rest}"), 1);
    assert_eq!(code(Format::LightGbm.read(import("m"), nan.as_bytes())), Err(Code::ModelNotFinite));
}

#[test]
fn declared_features_fit_the_file() {
    let file = bytes("xgb-squared.json");
    let good = read("xgb-squared.json", Format::XgBoost).features().to_vec();
    let told = |features: Vec<Feature>| code(Format::XgBoost.read(Import { features, ..import("m") }, &file));
    assert_eq!(told(good.clone()), Ok(()));
    assert_eq!(told(good[1..].to_vec()), Err(Code::ModelFeatures));
    let mut swapped = good.clone();
    swapped.swap(0, 1);
    assert_eq!(told(swapped), Err(Code::ModelFeatures));
    let mut other = good.clone();
    other[10] = Feature::categorical("ward", vec!["w0".into()]);
    assert_eq!(told(other), Err(Code::ModelFeatures));
    let mut ranged = good;
    ranged[0].range = Some((2.0, 1.0));
    assert_eq!(told(ranged), Err(Code::ModelFeatures));
}

/// With a scaler too: the number of a gap stands in the place of weight, mean and scale together.
#[test]
fn a_gap_adds_its_number_and_no_more() {
    let text = r#"{"format": "tacit-linear/1", "link": "identity", "features": ["a", "b"], "coefficients": [3, -8],
        "intercept": 100, "mean": [10, 6], "scale": [2, 4], "missing": [0.5, null]}"#;
    let model = Format::Linear.read(import("m"), text.as_bytes()).unwrap();
    let score = |values: [f64; 2]| model.scores(&Frame::row(model.features(), &values).unwrap());
    assert_eq!(score([12.0, 5.0]).unwrap(), [100.0 + 3.0 + 2.0]);
    assert_eq!(score([f64::NAN, 5.0]).unwrap(), [100.0 + 0.5 + 2.0]);
    assert_eq!(code(score([12.0, f64::NAN])), Err(Code::ModelValueMissing));
}

#[test]
fn scorecards_say_what_they_add() {
    let card = r#"{"format": "tacit-scorecard/1", "base": 600, "characteristics": [
        {"feature": "age", "edges": [25, 40], "points": [-20, 0, 15], "missing": -5},
        {"feature": "home", "categories": ["own", "rent"], "points": [30, 10], "other": 1, "missing": 2},
        {"feature": "home_years", "weight": 2.5}]}"#;
    let model = Format::Scorecard.read(import("m"), card.as_bytes()).unwrap();
    let score = |values: [f64; 3]| model.scores(&Frame::row(model.features(), &values).unwrap());
    for (values, points) in [
        ([24.9, 0.0, 0.0], 610.0),
        ([25.0, 1.0, 2.0], 615.0),
        ([40.0, -1.0, 0.0], 616.0),
        ([f64::NAN, f64::NAN, 0.0], 597.0),
        ([1e300, 0.0, -4.0], 635.0),
    ] {
        assert_eq!(score(values).unwrap(), [points], "{values:?}");
    }
    assert_eq!(code(score([30.0, 0.0, f64::NAN])), Err(Code::ModelValueMissing));
    for (from, to, wanted) in [
        ("[25, 40]", "[40, 25]", Code::ModelStructure),
        ("[25, 40]", "[25, 25]", Code::ModelStructure),
        ("[25, 40]", "[25]", Code::ModelStructure),
        ("[30, 10]", "[30]", Code::ModelStructure),
        ("\"rent\"", "\"own\"", Code::ModelFeatures),
        ("\"home_years\"", "\"age\"", Code::ModelFeatures),
        ("\"weight\": 2.5", "\"wieght\": 2.5", Code::ModelMalformed),
        ("2.5", "1e999", Code::ModelNotFinite),
        ("scorecard/1", "scorecard/2", Code::ModelVersion),
        ("600", "600, \"base\": 1", Code::ModelMalformed),
        ("600", "600, \"link\": \"probit\"", Code::ModelUnsupported),
    ] {
        let bent = card.replacen(from, to, 1);
        assert_eq!(code(Format::Scorecard.read(import("m"), bent.as_bytes())), Err(wanted), "{to}");
    }
}

fn additive(terms: Vec<Term>, features: usize) -> Result<Model, Fault> {
    let features = (0..features).map(|i| Feature::numeric(if i == 0 { "a".into() } else { format!("f{i}") })).collect();
    Model::new(meta("m"), features, Link::Identity, Kind::Additive(Additive { intercept: 0.0, terms }))
}

fn trees(trees: Vec<Tree>, features: Vec<Feature>) -> Result<Model, Fault> {
    let kind = Kind::Trees(Trees { precision: Precision::Double, base: 0.0, average: false, trees });
    Model::new(meta("m"), features, Link::Identity, kind)
}

/// A tree that is a chain of that many splits.
fn chain(depth: usize) -> Tree {
    let mut nodes = Vec::new();
    for i in 0..depth {
        let no = (2 * depth - i) as u32;
        nodes.push(Node::Split(Split { feature: 0, test: Test::AtMost(0.0), missing: Missing::Yes, no }));
    }
    nodes.extend((0..=depth).map(|i| Node::Leaf(i as f64)));
    Tree { nodes }
}

#[test]
fn trees_have_caps() {
    let one = || vec![Feature::numeric("x")];
    assert_eq!(code(trees(vec![chain(TREE_DEPTH_MAX)], one())), Ok(()));
    assert_eq!(code(trees(vec![chain(TREE_DEPTH_MAX + 1)], one())), Err(Code::ModelTooLarge));
    let leaf = Tree { nodes: vec![Node::Leaf(1.0)] };
    assert_eq!(code(trees(vec![leaf.clone(); TREES_MAX], one())), Ok(()));
    assert_eq!(code(trees(vec![leaf.clone(); TREES_MAX + 1], one())), Err(Code::ModelTooLarge));
    let big = Tree { nodes: vec![Node::Leaf(1.0); NODES_MAX + 1] };
    assert_eq!(code(trees(vec![big], one())), Err(Code::ModelTooLarge));
    assert_eq!(code(trees(vec![Tree { nodes: vec![Node::Leaf(1.0); 2] }], one())), Err(Code::ModelStructure));
    assert_eq!(code(trees(vec![Tree { nodes: vec![] }], one())), Err(Code::ModelStructure));
    let mut broken = chain(3);
    let Node::Split(split) = &mut broken.nodes[1] else { panic!() };
    split.no = 0;
    assert_eq!(code(trees(vec![broken], one())), Err(Code::ModelStructure));
    let set = |codes: Vec<u32>, missing| {
        let split = Node::Split(Split { feature: 0, test: Test::OneOf(codes), missing, no: 2 });
        Tree { nodes: vec![split, Node::Leaf(0.0), Node::Leaf(1.0)] }
    };
    let many = || vec![Feature::categorical("c", (0..CATEGORIES_MAX).map(|i| i.to_string()).collect())];
    let full: Vec<u32> = (0..CATEGORIES_MAX as u32).collect();
    let count = SET_ENTRIES_MAX / CATEGORIES_MAX;
    assert_eq!(code(trees(vec![set(full.clone(), Missing::No); count], many())), Ok(()));
    assert_eq!(code(trees(vec![set(full, Missing::No); count + 1], many())), Err(Code::ModelTooLarge));
    assert_eq!(code(trees(vec![set(vec![CATEGORIES_MAX as u32], Missing::No)], many())), Err(Code::ModelStructure));
    assert_eq!(code(trees(vec![set(vec![2, 1], Missing::No)], many())), Err(Code::ModelStructure));
    assert_eq!(code(trees(vec![set(vec![1], Missing::Zero)], many())), Err(Code::ModelStructure));
    assert_eq!(code(trees(vec![set(vec![1], Missing::No)], one())), Err(Code::ModelStructure));
}

#[test]
fn features_have_caps() {
    let model = |features: Vec<Feature>| trees(vec![chain(1)], features);
    let numbered = |n: usize| (0..n).map(|i| Feature::numeric(i.to_string())).collect::<Vec<_>>();
    assert_eq!(code(model(numbered(FEATURES_MAX))), Ok(()));
    assert_eq!(code(model(numbered(FEATURES_MAX + 1))), Err(Code::ModelTooLarge));
    assert_eq!(code(model(vec![])), Err(Code::ModelFeatures));
    assert_eq!(code(model(vec![Feature::numeric("a".repeat(FEATURE_NAME_BYTES_MAX))])), Ok(()));
    assert_eq!(code(model(vec![Feature::numeric("a".repeat(FEATURE_NAME_BYTES_MAX + 1))])), Err(Code::ModelFeatures));
    let with = |lists: Vec<Vec<String>>| {
        let listed = lists.into_iter().enumerate().map(|(i, l)| Feature::categorical(i.to_string(), l));
        model([Feature::numeric("x")].into_iter().chain(listed).collect())
    };
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    assert_eq!(code(with(vec![list(CATEGORIES_MAX)])), Ok(()));
    assert_eq!(code(with(vec![list(CATEGORIES_MAX + 1)])), Err(Code::ModelTooLarge));
    let full = CATEGORIES_TOTAL_MAX / CATEGORIES_MAX;
    assert_eq!(code(with(vec![list(CATEGORIES_MAX); full])), Ok(()));
    assert_eq!(code(with([vec![list(CATEGORIES_MAX); full], vec![list(1)]].concat())), Err(Code::ModelTooLarge));
    assert_eq!(code(with(vec![vec!["a".repeat(CATEGORY_BYTES_MAX)]])), Ok(()));
    assert_eq!(code(with(vec![vec!["a".repeat(CATEGORY_BYTES_MAX + 1)]])), Err(Code::ModelTooLarge));
    assert_eq!(code(with(vec![vec![]])), Err(Code::ModelFeatures));
}

#[test]
fn sums_and_networks_have_caps() {
    let term = || Term { feature: 0, shape: Shape::Linear { weight: 1.0, missing: None } };
    assert_eq!(code(additive(vec![term(); TERMS_MAX], 1)), Ok(()));
    assert_eq!(code(additive(vec![term(); TERMS_MAX + 1], 1)), Err(Code::ModelTooLarge));
    let bins =
        |n: usize| Shape::Bins { edges: (1..n).map(|i| i as f64).collect(), points: vec![1.0; n], missing: None };
    let binned = |n: usize, count: usize| additive(vec![Term { feature: 0, shape: bins(n) }; count], 1);
    assert_eq!(code(binned(BINS_MAX, 1)), Ok(()));
    assert_eq!(code(binned(BINS_MAX + 1, 1)), Err(Code::ModelTooLarge));
    assert_eq!(code(binned(BINS_MAX, POINTS_TOTAL_MAX / BINS_MAX)), Ok(()));
    assert_eq!(code(binned(BINS_MAX, POINTS_TOTAL_MAX / BINS_MAX + 1)), Err(Code::ModelTooLarge));
    assert_eq!(code(additive(vec![Term { feature: 1, ..term() }], 1)), Err(Code::ModelStructure));
    let not_finite = Shape::Linear { weight: 1.0, missing: Some(f64::INFINITY) };
    assert_eq!(code(additive(vec![Term { feature: 0, shape: not_finite }], 1)), Err(Code::ModelNotFinite));

    let layer = |inputs: usize, outputs: usize| Layer {
        weights: vec![0.5; inputs * outputs],
        bias: vec![0.0; outputs],
        activation: if outputs == 1 { Activation::Identity } else { Activation::Relu },
    };
    let network = |widths: &[usize]| {
        let layers = widths.windows(2).map(|w| layer(w[0], w[1])).collect();
        let features = (0..widths[0]).map(|i| Feature::numeric(i.to_string())).collect();
        code(Model::new(meta("m"), features, Link::Identity, Kind::Network(Network { layers })))
    };
    assert_eq!(network(&[2, LAYER_WIDTH_MAX, 1]), Ok(()));
    assert_eq!(network(&[2, LAYER_WIDTH_MAX + 1, 1]), Err(Code::ModelTooLarge));
    assert_eq!(network(&[1; LAYERS_MAX + 1]), Ok(()));
    assert_eq!(network(&[1; LAYERS_MAX + 2]), Err(Code::ModelTooLarge));
    assert_eq!(network(&[1024, 2048, 1023, 1]), Err(Code::ModelTooLarge));
    assert_eq!(network(&[NETWORK_WEIGHTS_MAX / 1024 - 1, 1023, 1]), Ok(()));
    assert_eq!(network(&[2, 3]), Err(Code::ModelStructure));
}

#[test]
fn lists_of_files_have_caps() {
    // One past each cap of the readers, without the rest of a model.
    let xgboost = |inner: String| {
        let text = format!("{{\"learner\":{{\"gradient_booster\":{{\"model\":{{{inner}}}}}}}}}");
        code(Format::XgBoost.read(import("m"), text.as_bytes()))
    };
    let list = |n: usize, item: &str| format!("[{}]", vec![item; n].join(","));
    assert_eq!(xgboost(format!("\"trees\":{}", list(TREES_MAX + 1, "{}"))), Err(Code::ModelTooLarge));
    assert_eq!(
        xgboost(format!("\"trees\":[{{\"left_children\":{}}}]", list(NODES_MAX + 1, "0"))),
        Err(Code::ModelTooLarge)
    );
    let sets = list(SET_ENTRIES_MAX + 1, "0");
    assert_eq!(xgboost(format!("\"trees\":[{{\"categories\":{sets}}}]")), Err(Code::ModelTooLarge));
    // Sets that overlap in the file count each time.
    let nodes = 128;
    let overlap = format!(
        "\"categories\":{},\"categories_nodes\":{n},\"categories_segments\":{n},\"categories_sizes\":{}",
        list(1 << 16, "0"),
        list(nodes, "65536"),
        n = list(nodes, "0"),
    );
    assert_eq!(xgboost(format!("\"trees\":[{{{overlap}}}]")), Err(Code::ModelTooLarge));
    let lines = "tree\n".to_owned() + &"a=b\n".repeat(TEXT_LINES_MAX);
    assert_eq!(code(Format::LightGbm.read(import("m"), lines.as_bytes())), Err(Code::ModelTooLarge));
}

#[test]
fn frames_take_columns_by_name_and_kind() {
    use tacit_types::{Column, Columns, Values};
    let features = vec![Feature::numeric("n"), Feature::categorical("c", vec!["7".into(), "x".into()])];
    let column =
        |name: &str, values: Values| Column { name: name.into(), values, valid: Some(vec![true, true, false]) };
    let batch = |n: Values, c: Values| Columns { rows: 3, columns: vec![column("c", c), column("n", n)] };
    let frame = Frame::new(&features, &batch(Values::Int(vec![1, 2, 3]), Values::Int(vec![7, 8, 7]))).unwrap();
    assert_eq!((frame.value(0, 0), frame.value(1, 0)), (1.0, 2.0));
    assert_eq!((frame.value(0, 1), frame.value(1, 1)), (0.0, tacit_models::UNKNOWN_CATEGORY));
    assert!(frame.value(2, 0).is_nan() && frame.value(2, 1).is_nan());
    let texts = || Values::Text(vec!["x".into(), "y".into(), String::new()]);
    let floats = || Values::Float(vec![0.5, 1.5, 0.0]);
    assert_eq!(Frame::new(&features, &batch(floats(), texts())).unwrap().value(0, 1).to_bits(), 1f64.to_bits());
    assert_eq!(code(Frame::new(&features, &batch(texts(), texts()))), Err(Code::ModelInput));
    assert_eq!(code(Frame::new(&features, &batch(floats(), floats()))), Err(Code::ModelInput));
    assert_eq!(code(Frame::new(&features, &Columns { rows: 3, columns: vec![] })), Err(Code::ModelInput));
    assert_eq!(code(Frame::new(&features, &batch(Values::Int(vec![1]), texts()))), Err(Code::ModelInput));
    assert_eq!(code(Frame::row(&features, &[1.0])), Err(Code::ModelInput));
}
