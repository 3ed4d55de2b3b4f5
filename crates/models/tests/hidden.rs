//! Formats of private ensembles and networks give what the model gives, over the rows of the fixtures, in plain whole
//! numbers; and refuse what they do not hold.

mod common;

use common::{bytes, frame, import, numeric_features, text};
use tacit_models::import::{lightgbm, onnx, xgboost};
use tacit_models::{Feature, Frame, HiddenTrees, Kind, Model, NetworkShape, Precision, Rules, TreesShape, hidden};
use tacit_types::Code;

const SINGLE: Rules = Rules { precision: Precision::Single, zeroes: false };
const DOUBLE: Rules = Rules { precision: Precision::Double, zeroes: true };

fn ensembles() -> Vec<(Model, Rules)> {
    let xgb = ["xgb-logistic.json", "xgb-onehot.json", "xgb-squared.json"];
    let lgb = ["lgb-binary.txt", "lgb-binary-steep.txt", "lgb-zero.txt", "lgb-none.txt", "lgb-forest.txt"];
    let xgb = xgb.map(|f| (xgboost::read(import("m"), text(f).as_bytes()).unwrap(), SINGLE));
    let lgb = lgb.map(|f| (lightgbm::read(import("m"), text(f).as_bytes()).unwrap(), DOUBLE));
    xgb.into_iter().chain(lgb).collect()
}

/// What the shared computation does, in plain whole numbers.
fn margin(shape: &TreesShape, hidden: &HiddenTrees, values: &[f64]) -> i64 {
    let mut columns = vec![0; shape.columns(values.len()).end];
    for (feature, value) in values.iter().enumerate() {
        shape.encode(feature, *value, &mut columns[shape.columns(feature)]);
    }
    let mut sum = hidden.base;
    for tree in &hidden.trees {
        let asked = |s: &hidden::HiddenSplit| s.terms.iter().map(|(c, f)| columns[*c as usize] * f).sum::<i64>();
        let holds: Vec<bool> = tree.splits.iter().map(|s| asked(s) - s.threshold < 0).collect();
        let reached = tree.leaves.iter().filter(|l| l.way.iter().all(|(s, wanted)| holds[*s as usize] == *wanted));
        let reached: Vec<i64> = reached.map(|l| l.value).collect();
        assert_eq!(reached.len(), 1, "one leaf a tree");
        sum += reached[0];
    }
    sum
}

fn exact(model: &Model, values: &[f64]) -> f64 {
    let Kind::Trees(trees) = model.kind() else { panic!() };
    let value = |f: u32| match trees.precision {
        Precision::Single => f64::from(values[f as usize] as f32),
        Precision::Double => values[f as usize],
    };
    let sum = trees.trees.iter().map(|t| t.leaf(value)).sum::<f64>();
    (trees.base + sum * trees.leaf_factor()) * hidden::slope(model)
}

#[test]
fn private_ensembles_give_the_exact_sums_for_every_row_and_odd_value() {
    for (model, rules) in ensembles() {
        let shape = TreesShape::new(model.features().to_vec(), rules, (16, 16), 4096.0, 1e-6).unwrap();
        let hidden = shape.weights(&model, 1.0).unwrap();
        let frame = frame(&model);
        let count = model.features().len() as u32;
        let mut rows: Vec<Vec<f64>> =
            (0..frame.rows()).map(|row| (0..count).map(|f| frame.value(row, f)).collect()).collect();
        let odd = [f64::NAN, 0.0, -0.0, 1e-36, -1e-35, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0];
        // A category is one of its list, another, or missing.
        let value = |f: usize, value: f64| match model.features()[f].categories() {
            0 => value,
            _ if value.is_nan() => value,
            _ if value < 0.0 => -1.0,
            count => (f * 5 + value.to_bits() as usize % 7) as f64 % count as f64,
        };
        rows.extend(
            (0..odd.len()).map(|i| (0..count as usize).map(|f| value(f, odd[(i + f * 3) % odd.len()])).collect()),
        );
        // At every threshold itself, and at the next numbers of its width.
        let Kind::Trees(trees) = model.kind() else { panic!() };
        for (_, split) in trees.trees.iter().flat_map(|t| t.splits()).take(60) {
            let (tacit_models::Test::Below(t) | tacit_models::Test::AtMost(t)) = split.test else { continue };
            let near = match rules.precision {
                Precision::Single => [t, f64::from((t as f32).next_up()), f64::from((t as f32).next_down())],
                // Two that agree in all but the last three bits count as one.
                Precision::Double => [t, t + t.abs() * 1e-14, t - t.abs() * 1e-14],
            };
            for value in near {
                let mut row = rows[5].clone();
                row[split.feature as usize] = value;
                rows.push(row);
            }
        }
        for values in rows {
            let found = shape.sum.decode(margin(&shape, &hidden, &values));
            let wanted = exact(&model, &values);
            assert!((found - wanted).abs() <= shape.sum.error * 2.0, "{found}, not {wanted}: {values:?}");
        }
    }
}

#[test]
fn what_a_shape_does_not_hold_is_refused() {
    let (model, _) = ensembles().remove(0);
    let features = model.features().to_vec();
    let shape = |rules, size, bound| TreesShape::new(features.clone(), rules, size, bound, 1e-6);
    let refused = |shape: TreesShape| shape.weights(&model, 1.0).map(|_| ()).unwrap_err().code;
    assert_eq!(refused(shape(DOUBLE, (16, 16), 64.0).unwrap()), Code::ModelUnsupported);
    assert_eq!(refused(shape(SINGLE, (16, 4), 64.0).unwrap()), Code::ModelTooLarge);
    assert_eq!(refused(shape(SINGLE, (11, 16), 64.0).unwrap()), Code::ModelPrecision);
    assert_eq!(refused(shape(SINGLE, (16, 16), 0.01).unwrap()), Code::ModelPrecision);
    assert_eq!(shape(SINGLE, (0, 16), 64.0).unwrap_err().code, Code::ModelTooLarge);
    assert_eq!(shape(SINGLE, (10_001, 16), 64.0).unwrap_err().code, Code::ModelTooLarge);
    assert_eq!(shape(SINGLE, (16, 16), 1e15).unwrap_err().code, Code::ModelPrecision);
    let fewer = TreesShape::new(features[1..].to_vec(), SINGLE, (16, 16), 64.0, 1e-6).unwrap();
    assert_eq!(refused(fewer), Code::ModelFeatures);
    let mut other = features.clone();
    other[0] = Feature::numeric("another");
    assert_eq!(refused(TreesShape::new(other, SINGLE, (16, 16), 64.0, 1e-6).unwrap()), Code::ModelFeatures);
    let zeroes = lightgbm::read(import("m"), text("lgb-zero.txt").as_bytes()).unwrap();
    let rules = Rules { precision: Precision::Double, zeroes: false };
    let without = TreesShape::new(zeroes.features().to_vec(), rules, (16, 16), 4096.0, 1e-6).unwrap();
    assert_eq!(without.weights(&zeroes, 1.0).map(|_| ()).unwrap_err().code, Code::ModelUnsupported);
}

/// What the shared computation does, in plain whole numbers and without the unit of a truncation.
fn network_margin(shape: &NetworkShape, layers: &[tacit_models::HiddenLayer], values: &[f64]) -> f64 {
    let mut now: Vec<i64> = values.iter().enumerate().map(|(i, v)| i64::from(shape.input(i, *v).unwrap())).collect();
    for (i, layer) in layers.iter().enumerate() {
        let mut sums = layer.bias.clone();
        for (x, row) in now.iter().zip(layer.weights.chunks_exact(sums.len())) {
            sums.iter_mut().zip(row).for_each(|(sum, w)| *sum += x * w);
        }
        assert!(sums.iter().all(|s| s.unsigned_abs() >> (shape.sum_width() - 1) == 0));
        now = if i + 1 < layers.len() { sums.iter().map(|s| (s >> shape.bits).max(0)).collect() } else { sums };
    }
    now[0] as f64 / 2f64.powi(2 * shape.bits.cast_signed())
}

#[test]
fn private_networks_keep_their_error_and_are_refused_beyond_the_bound() {
    let mut import = import("m");
    import.features = numeric_features();
    let model = onnx::read(import, &bytes("onnx-mlp.onnx")).unwrap();
    let ranges: Vec<(f64, f64)> = model.features().iter().rev().map(|f| f.range.unwrap()).collect();
    let names: Vec<&str> = model.features().iter().rev().map(|f| f.name.as_str()).collect();
    let Kind::Network(network) = model.kind() else { panic!() };
    let widths: Vec<usize> = network.layers.iter().map(|l| l.bias.len() + 3).collect();
    let hidden = &widths[..widths.len() - 1];
    let shape = NetworkShape::new(&ranges, hidden, 4096.0).unwrap();
    let layers = shape.weights(&model, &names, 1.0, 1e-3).unwrap();
    let frame = frame(&model).clipped(model.features());
    let count = model.features().len() as u32;
    let mut compared = 0;
    for row in 0..frame.rows() {
        let values: Vec<f64> = (0..count).map(|f| frame.value(row, f)).collect();
        let Ok(margins) = model.margins(&Frame::row(model.features(), &values).unwrap()) else { continue };
        let turned: Vec<f64> = values.into_iter().rev().collect();
        let found = network_margin(&shape, &layers, &turned);
        assert!((found - margins[0]).abs() <= 1e-3, "row {row}: {found}, not {}", margins[0]);
        compared += 1;
    }
    assert!(compared > 20);
    let code = |bound: f64, error: f64| {
        NetworkShape::new(&ranges, hidden, bound)
            .unwrap()
            .weights(&model, &names, 1.0, error)
            .map(|_| ())
            .unwrap_err()
            .code
    };
    assert_eq!(code(0.5, 1e-3), Code::ModelPrecision);
    assert_eq!(code(4096.0, 1e-12), Code::ModelPrecision);
    assert_eq!(shape.weights(&model, &names[1..], 1.0, 1e-3).map(|_| ()).unwrap_err().code, Code::ModelFeatures);
    assert_eq!(NetworkShape::new(&ranges, &[], 8.0).unwrap_err().code, Code::ModelTooLarge);
    assert_eq!(NetworkShape::new(&ranges, &[4097], 8.0).unwrap_err().code, Code::ModelTooLarge);
    assert_eq!(NetworkShape::new(&ranges, &[4], f64::INFINITY).unwrap_err().code, Code::ModelPrecision);
    assert_eq!(NetworkShape::new(&[(1.0, 0.0)], &[4], 8.0).unwrap_err().code, Code::ModelPrecision);
}
