//! A divided model gives the score of the whole, in floating and in fixed point.

mod common;

use common::{bytes, frame, import, meta, numeric_features, rows, text};
use tacit_models::import::{lightgbm, linear, onnx, xgboost};
use tacit_models::limits::OWNERS_MAX;
use tacit_models::{
    Additive, Division, Feature, Frame, Kind, LeafBits, Leaves, LinearPlan, Link, Local, Model, NetworkPlan, Precision,
    Rest, Shape, SumPlan, Term, TreesPart,
};
use tacit_types::Code;

/// The wanted error of linear models and trees, and of networks.
const FINE: f64 = 1e-6;
const COARSE: f64 = 1e-3;

fn trees() -> Vec<Model> {
    let read = |name: &str| {
        let text = text(name);
        if name.ends_with("json") {
            xgboost::read(import("m"), text.as_bytes()).unwrap()
        } else {
            lightgbm::read(import("m"), text.as_bytes()).unwrap()
        }
    };
    ["xgb-logistic.json", "xgb-squared.json", "lgb-binary.txt", "lgb-zero.txt", "lgb-none.txt", "lgb-forest.txt"]
        .map(read)
        .to_vec()
}

/// A model of linear terms whose features have ranges.
fn ranged_linear() -> Model {
    let mut import = import("m");
    import.features = numeric_features();
    linear::read(import, text("skl-logistic.json").as_bytes()).unwrap()
}

fn ranged_network() -> Model {
    let mut import = import("m");
    import.features = numeric_features();
    onnx::read(import, &bytes("onnx-mlp.onnx")).unwrap()
}

/// Rows of the fixtures without gaps and within the ranges.
fn tame(model: &Model) -> Vec<usize> {
    let frame = frame(model);
    let within = |row: usize| {
        model.features().iter().zip(0u32..).all(|(f, i)| {
            let (least, most) = f.range.unwrap();
            (least..=most).contains(&frame.value(row, i))
        })
    };
    let rows: Vec<usize> = (0..frame.rows()).filter(|row| within(*row)).collect();
    assert!(rows.len() > 30);
    rows
}

/// Margins of trees with exact sums.
fn exact(model: &Model, frame: &Frame) -> Vec<f64> {
    let Kind::Trees(trees) = model.kind() else { panic!() };
    (0..frame.rows())
        .map(|row| {
            let value = |f| {
                let value = frame.value(row, f);
                if trees.precision == Precision::Single { f64::from(value as f32) } else { value }
            };
            trees.base + trees.trees.iter().map(|t| t.leaf(value)).sum::<f64>() * trees.leaf_factor()
        })
        .collect()
}

#[test]
fn the_parties_bits_leave_one_leaf_a_tree_and_its_weight_is_the_trees() {
    for model in trees() {
        let count = model.features().len();
        for (parties, owners) in [
            (1, vec![0; count]),
            (2, (0..count).map(|f| f % 2).collect::<Vec<_>>()),
            (3, (0..count).map(|f| usize::from(f > 3) + usize::from(f > 7)).collect()),
            // The last party has no feature: its bits deny nothing.
            (4, (0..count).map(|f| f * 7 % 3).collect()),
        ] {
            let division = Division::new(&model, &owners, parties).unwrap();
            let mut all: Option<LeafBits> = None;
            for part in &division.parts {
                let frame = Frame::new(&part.features, &rows()).unwrap();
                let bits = part.leaf_bits(&frame).unwrap().unwrap();
                match &mut all {
                    None => all = Some(bits),
                    Some(all) => all.and(&bits),
                }
            }
            let all = all.unwrap();
            let Rest::Leaves(Leaves { trees, .. }) = &division.rest else { panic!() };
            let plan = SumPlan::of_leaves(&division, FINE).unwrap();
            let (weights, base) = plan.leaf_weights(&division.rest).unwrap();
            let frame = frame(&model);
            let (exact, margins) = (exact(&model, &frame), model.margins(&frame).unwrap());
            for row in 0..frame.rows() {
                let mut first = 0;
                for leaves in trees {
                    let set = (first..first + leaves.len()).filter(|leaf| all.bit(row, *leaf)).count();
                    assert_eq!(set, 1, "row {row}");
                    first += leaves.len();
                }
                let fixed = plan.decode(plan.select(&weights, base, &all, row));
                assert!((fixed - exact[row]).abs() <= plan.error, "row {row}: {fixed} and {}", exact[row]);
                // The source's own sum in singles is off by its roundings.
                let rounding = f64::from(f32::EPSILON) * (trees.len() + 1) as f64 * plan.bound;
                assert!((fixed - margins[row]).abs() <= FINE + rounding, "row {row}");
            }
            assert!(plan.error <= FINE);
        }
    }
}

#[test]
fn parts_are_models_of_their_own_and_one_holds_the_leaves() {
    for model in trees() {
        let count = model.features().len();
        let owners: Vec<usize> = (0..count).map(|f| f * 7 % 3).collect();
        let division = Division::new(&model, &owners, 4).unwrap();
        let metas = ["a", "b", "c", "d"].map(meta);
        let parts = division.models(model.link(), &metas, 3).unwrap();
        let mut leaves = 0;
        for (model, part) in parts.iter().zip(&division.parts) {
            let again = Model::decode(&model.encode()).unwrap();
            assert_eq!(&again, model);
            let Kind::Part(own) = again.kind() else { panic!() };
            leaves += usize::from(own.leaves.is_some());
            let frame = Frame::new(&part.features, &rows()).unwrap();
            let bits = part.leaf_bits(&frame).unwrap().unwrap();
            for row in 0..frame.rows() {
                let mut words = vec![0; own.leaf_count().div_ceil(64)];
                own.allowed(|f| frame.value(row, f), &mut words);
                assert_eq!(words, bits.row(row));
            }
            assert_eq!(again.margins(&frame).unwrap_err().code, Code::ModelUnsupported);
            assert_eq!(Division::new(&again, &[], 2).unwrap_err().code, Code::ModelUnsupported);
        }
        assert_eq!(leaves, 1);
        assert!(parts[3].features().is_empty(), "the leaves alone are a part too");
        assert_eq!(division.models(model.link(), &metas, 4).unwrap_err().code, Code::ModelFeatures);
        assert_eq!(division.models(model.link(), &metas[..3], 0).unwrap_err().code, Code::ModelFeatures);
    }
    let linear = ranged_linear();
    let whole = Division::new(&linear, &vec![0; linear.features().len()], 1).unwrap();
    assert_eq!(whole.models(linear.link(), &[meta("a")], 0).unwrap_err().code, Code::ModelUnsupported);
}

#[test]
fn a_part_that_is_of_no_tree_is_refused() {
    let model = &trees()[0];
    let division = Division::new(model, &vec![0; model.features().len()], 1).unwrap();
    let parts = division.models(model.link(), &[meta("a")], 0).unwrap();
    let Kind::Part(part) = parts[0].kind() else { panic!() };
    let code = |change: &dyn Fn(&mut TreesPart)| {
        let mut part = part.clone();
        change(&mut part);
        Model::new(meta("a"), parts[0].features().to_vec(), model.link(), Kind::Part(part))
            .map(|_| ())
            .err()
            .map(|f| f.code)
    };
    assert_eq!(code(&|_| {}), None);
    let wrong = Some(Code::ModelStructure);
    assert_eq!(code(&|p| p.trees[0].leaves -= 1), wrong, "a span past the last leaf");
    assert_eq!(code(&|p| p.trees[0].splits[0].yes.end += 1), wrong, "branches that overlap");
    assert_eq!(code(&|p| p.trees[0].splits[1].yes.start = p.trees[0].splits[1].yes.end), wrong, "an empty branch");
    let cross = |p: &mut TreesPart| {
        // The second split begins in the first branch of the root and ends in its second.
        let end = p.trees[0].splits[0].no.end;
        p.trees[0].splits[1].no.end = end;
    };
    assert_eq!(code(&cross), wrong);
    assert_eq!(code(&|p| p.trees[1].splits[0].feature = 99), wrong);
    assert_eq!(
        code(&|p| {
            p.leaves.as_mut().unwrap().trees[0].pop();
        }),
        wrong
    );
    assert_eq!(code(&|p| p.leaves.as_mut().unwrap().trees[0][0] = 0.1), Some(Code::ModelNotFinite), "not a single");
    assert_eq!(code(&|p| p.trees[0].leaves = u32::MAX), Some(Code::ModelTooLarge));
}

#[test]
fn a_party_alone_does_not_decide() {
    let model = &trees()[0];
    let owners: Vec<usize> = (0..model.features().len()).map(|f| f % 2).collect();
    let division = Division::new(model, &owners, 2).unwrap();
    for part in &division.parts {
        let Local::Conditions { trees, .. } = &part.local else { panic!() };
        let leaves: usize = trees.iter().map(|t| t.leaves as usize).sum();
        let frame = Frame::new(&part.features, &rows()).unwrap();
        let bits = part.leaf_bits(&frame).unwrap().unwrap();
        let allowed = (0..frame.rows()).map(|row| (0..leaves).filter(|l| bits.bit(row, *l)).count()).max().unwrap();
        assert!(allowed > trees.len(), "{allowed} leaves in {} trees", trees.len());
        assert!(part.features.len() < model.features().len());
        assert_eq!(part.partial(&frame).unwrap(), None);
    }
}

#[test]
fn partial_sums_add_up_in_fixed_point() {
    let model = ranged_linear();
    let owners: Vec<usize> = (0..model.features().len()).map(|f| f % 3).collect();
    let division = Division::new(&model, &owners, 3).unwrap();
    let plan = SumPlan::of_parts(&division, FINE).unwrap();
    let Rest::Intercept(intercept) = division.rest else { panic!() };
    let tame = tame(&model);
    let partials: Vec<Vec<i64>> = division
        .parts
        .iter()
        .map(|p| {
            let frame = pick(&Frame::new(&p.features, &rows()).unwrap(), p.features.as_slice(), &tame);
            plan.partials(p, &frame).unwrap()
        })
        .collect();
    let margins = model.margins(&pick(&frame(&model), model.features(), &tame)).unwrap();
    for (row, margin) in margins.iter().enumerate() {
        let sum = partials.iter().fold(plan.encode(intercept), |sum, p| sum.wrapping_add(p[row]));
        assert!((plan.decode(sum) - margin).abs() <= FINE, "row {row}");
    }
}

/// Some rows of a frame.
fn pick(frame: &Frame, features: &[Feature], rows: &[usize]) -> Frame {
    let columns = (0..features.len() as u32).map(|f| tacit_types::Column {
        name: features[f as usize].name.clone(),
        values: tacit_types::Values::Float(rows.iter().map(|row| frame.value(*row, f)).collect()),
        valid: None,
    });
    Frame::new(features, &tacit_types::Columns { rows: rows.len(), columns: columns.collect() }).unwrap()
}

#[test]
fn a_private_linear_model_keeps_the_error_that_its_plan_states() {
    let model = ranged_linear();
    let plan = LinearPlan::new(&model, FINE).unwrap();
    assert!(plan.error <= FINE);
    let frame = frame(&model);
    let count = model.features().len() as u32;
    let mut worst = 0.0f64;
    for row in tame(&model) {
        let inputs = plan.inputs(&model, &frame, row).unwrap();
        let fixed = plan.decode(plan.margin(&inputs));
        let values: Vec<f64> = (0..count).map(|f| frame.value(row, f)).collect();
        let margin = model.margins(&Frame::row(model.features(), &values).unwrap()).unwrap()[0];
        worst = worst.max((fixed - margin).abs());
    }
    assert!(worst <= plan.error, "{worst:e} over {:e}", plan.error);
    assert!(worst > 0.0);
    // A gap is named.
    let gap = (0..frame.rows()).find(|row| frame.value(*row, 0).is_nan()).unwrap();
    assert_eq!(plan.inputs(&model, &frame, gap).unwrap_err().code, Code::ModelValueMissing);
}

#[test]
fn inputs_beyond_their_range_are_clipped_to_it() {
    let model = ranged_linear();
    let plan = LinearPlan::new(&model, FINE).unwrap();
    let ends: Vec<f64> = model.features().iter().map(|f| f.range.unwrap().1).collect();
    let beyond: Vec<f64> = ends.iter().map(|v| v * 1e9).collect();
    let row = |values: &[f64]| Frame::row(model.features(), values).unwrap();
    let inputs = plan.inputs(&model, &row(&beyond), 0).unwrap();
    assert_eq!(inputs, plan.inputs(&model, &row(&ends), 0).unwrap());
    let clipped = row(&beyond).clipped(model.features());
    assert!((0..ends.len()).all(|f| clipped.value(0, f as u32).to_bits() == ends[f].to_bits()));
}

#[test]
fn a_network_keeps_the_error_that_its_plan_states_and_its_first_layer_divides() {
    let model = ranged_network();
    let plan = NetworkPlan::new(&model, COARSE).unwrap();
    assert!(plan.error <= COARSE && (16..=20).contains(&plan.bits));
    let frame = frame(&model);
    let owners: Vec<usize> = (0..model.features().len()).map(|f| f % 2).collect();
    let division = Division::new(&model, &owners, 2).unwrap();
    let Rest::Layers(layers) = &division.rest else { panic!() };
    assert!(layers[0].weights.is_empty());
    let Kind::Network(network) = model.kind() else { panic!() };
    let mut worst = 0.0f64;
    for row in tame(&model) {
        let values: Vec<f64> = (0..10).map(|f| frame.value(row, f)).collect();
        let margin = model.margins(&Frame::row(model.features(), &values).unwrap()).unwrap()[0];
        let fixed = plan.decode(plan.margin(&plan.inputs(&model, &frame, row).unwrap()));
        worst = worst.max((fixed - margin).abs());
        // The parts' products and the bias are the first layer; the rest follows.
        let mut sums = layers[0].bias.clone();
        for (party, part) in division.parts.iter().enumerate() {
            let own: Vec<f64> = (0..10).filter(|f| owners[*f] == party).map(|f| values[f]).collect();
            let product = part.partial(&Frame::row(&part.features, &own).unwrap()).unwrap().unwrap();
            sums.iter_mut().zip(product).for_each(|(s, p)| *s += p);
        }
        let hidden: Vec<f64> = sums.into_iter().map(|s| layers[0].activation.apply(s)).collect();
        let tail = tacit_models::Network { layers: network.layers[1..].to_vec() };
        let again = tail.margin(hidden.len(), |f| hidden[f as usize]).unwrap();
        assert!((again - margin).abs() < 1e-9, "row {row}: {again} and {margin}");
    }
    assert!(worst <= plan.error && worst > 0.0, "{worst:e} over {:e}", plan.error);
}

fn one_term(weight: f64, range: Option<(f64, f64)>) -> Model {
    let feature = Feature { range, ..Feature::numeric("x") };
    let term = Term { feature: 0, shape: Shape::Linear { weight, missing: None } };
    let kind = Kind::Additive(Additive { intercept: 0.5, terms: vec![term] });
    Model::new(meta("m"), vec![feature], Link::Identity, kind).unwrap()
}

#[test]
fn what_fixed_point_cannot_hold_is_refused() {
    let code = |model: &Model, error| LinearPlan::new(model, error).map(drop).map_err(|f| f.code);
    assert_eq!(code(&one_term(1.0, Some((-1.0, 1.0))), FINE), Ok(()));
    for (model, error) in [
        (one_term(1.0, None), FINE),
        (one_term(1e6, Some((-1e6, 1e6))), FINE),
        (one_term(1.0, Some((-1.0, 1.0))), 0.0),
        (one_term(1.0, Some((-1.0, 1.0))), f64::NAN),
        (one_term(1.0, Some((-1.0, 1.0))), 1e-30),
    ] {
        assert_eq!(code(&model, error), Err(Code::ModelPrecision));
    }
    // At the ends of the greatest range that is accepted, the margin stays within 62 bits.
    let (mut low, mut high) = (1.0f64, 1e12f64);
    while high / low > 1.001 {
        let middle = (low * high).sqrt();
        if code(&one_term(1.0, Some((-middle, middle))), FINE).is_ok() { low = middle } else { high = middle }
    }
    let model = one_term(1.0, Some((-low, low)));
    let plan = LinearPlan::new(&model, FINE).unwrap();
    for end in [-low, low] {
        let inputs = plan.inputs(&model, &Frame::row(model.features(), &[end]).unwrap(), 0).unwrap();
        assert!(plan.margin(&inputs).unsigned_abs() < 1 << 62);
        assert!((plan.decode(plan.margin(&inputs)) - (end + 0.5)).abs() <= FINE);
    }
    assert!(SumPlan::new(1, 1e30, FINE).is_err());
    assert_eq!(NetworkPlan::new(&one_term(1.0, None), COARSE).unwrap_err().code, Code::ModelUnsupported);
    assert_eq!(LinearPlan::new(&ranged_network(), FINE).unwrap_err().code, Code::ModelUnsupported);
}

#[test]
fn owners_are_one_a_feature_and_known() {
    let model = one_term(1.0, None);
    let code = |owners: &[usize], parties| Division::new(&model, owners, parties).map(drop).map_err(|f| f.code);
    assert_eq!(code(&[0], OWNERS_MAX), Ok(()));
    assert_eq!(code(&[0], OWNERS_MAX + 1), Err(Code::ModelTooLarge));
    assert_eq!(code(&[], 1), Err(Code::ModelFeatures));
    assert_eq!(code(&[1], 1), Err(Code::ModelFeatures));
}

#[test]
fn the_order_of_singles_is_that_of_whole_numbers() {
    let values =
        [f32::MIN, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.0, f32::from_bits(1f32.to_bits() + 1), f32::MAX, f32::INFINITY];
    for a in values {
        for b in values {
            let (x, y) = (tacit_models::fixed::ordered(a).unwrap(), tacit_models::fixed::ordered(b).unwrap());
            assert_eq!(a < b, x < y, "{a} and {b}");
        }
    }
    assert_eq!(tacit_models::fixed::ordered(f32::NAN), None);
}
