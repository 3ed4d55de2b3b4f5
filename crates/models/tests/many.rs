//! A hundred thousand rows that the real libraries have scored as well: gaps, categories that no model has seen, values
//! that are extreme. The margins are the same bits; the fixture holds hashes of the libraries' own, a block of rows at a
//! time. Where a library sums in another order, it holds the numbers for some of the rows.

mod common;

use common::{bytes, import, numeric_features, reach, rows};
use tacit_crypto::sha256;
use tacit_models::{Format, Frame, Import, Kind, Model};
use tacit_types::{Code, Column, Columns, Values};

/// Drawn as `make.py` draws them.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const ODD: [f64; 9] = [0.0, -0.0, 1e-36, -1e-36, 1e-30, 1e30, -1e30, 3e38, -3e38];
const MOST: [f64; 10] = [30.0, 40.0, 200.0, 2600.0, 0.2, 0.4, 0.5, 0.25, 0.35, 0.1];

fn many(count: usize) -> Columns {
    let names: Vec<String> = rows().columns.into_iter().map(|c| c.name).collect();
    let mut draw = Draw(2026);
    let mut numbers: Vec<Vec<Option<f64>>> = vec![Vec::new(); MOST.len()];
    let mut wards = Vec::new();
    for _ in 0..count {
        for (column, most) in numbers.iter_mut().zip(MOST) {
            column.push(match draw.below(100) {
                0..6 => None,
                6..9 => Some(ODD[draw.below(9) as usize]),
                _ => Some(draw.below(65536) as f64 / 65536.0 * most),
            });
        }
        wards.push((draw.below(100) >= 5).then(|| match draw.below(43) {
            ward @ 0..40 => format!("w{ward}"),
            strange => format!("x{}", strange - 40),
        }));
    }
    let mut columns: Vec<Column> = numbers
        .into_iter()
        .zip(&names)
        .map(|(values, name)| Column {
            name: name.clone(),
            valid: Some(values.iter().map(Option::is_some).collect()),
            values: Values::Float(values.into_iter().map(Option::unwrap_or_default).collect()),
        })
        .collect();
    columns.push(Column {
        name: "ward".into(),
        valid: Some(wards.iter().map(Option::is_some).collect()),
        values: Values::Text(wards.into_iter().map(Option::unwrap_or_default).collect()),
    });
    Columns { rows: count, columns }
}

/// The fixture of that name.
fn model(name: &str) -> Model {
    let (format, ending) = match name.split_once('-').unwrap().0 {
        "xgb" => (Format::XgBoost, "json"),
        "lgb" => (Format::LightGbm, "txt"),
        "skl" => (Format::Linear, "json"),
        _ => (Format::Onnx, "onnx"),
    };
    // A file of before 3.1 has the codes of its categories alone.
    let wards = || vec![("ward".to_owned(), (0..40).map(|i| format!("w{i}")).collect())];
    let categories = if name == "xgb-ward-1.7" { wards() } else { Vec::new() };
    let features = if format == Format::Onnx { numeric_features() } else { Vec::new() };
    let told = Import { categories, features, ..import("m") };
    format.read(told, &bytes(&format!("{name}.{ending}"))).unwrap_or_else(|f| panic!("{name}: {f}"))
}

fn fixture() -> serde_json::Value {
    serde_json::from_slice(&bytes("many.json")).unwrap()
}

#[test]
fn a_hundred_thousand_margins_are_the_libraries_own_bits() {
    let fixture = fixture();
    let [count, block] = ["rows", "block"].map(|name| fixture[name].as_u64().unwrap() as usize);
    assert_eq!(count, 100_000);
    let columns = many(count);
    let margins = fixture["margins"].as_object().unwrap();
    assert_eq!(margins.len(), 23);
    for (name, hashes) in margins {
        let double = name.starts_with("lgb");
        let model = model(name);
        let found = model.margins(&Frame::new(model.features(), &columns).unwrap()).unwrap();
        let word = |m: &f64| if double { m.to_le_bytes().to_vec() } else { (*m as f32).to_le_bytes().to_vec() };
        let hashes = hashes.as_array().unwrap();
        assert_eq!(hashes.len(), count / block);
        for (i, (found, wanted)) in found.chunks(block).zip(hashes).enumerate() {
            let hash = sha256(&found.iter().flat_map(word).collect::<Vec<u8>>()).to_string();
            assert_eq!(&hash[..16], wanted.as_str().unwrap(), "{name}, rows {} to {}", i * block, (i + 1) * block);
        }
    }
}

/// Scores to an absolute error: 1e-6 of trees and linear models, 1e-3 of networks. A sum of terms so great that their
/// own rounding is more, in the precision of the library, has that rounding.
#[test]
fn thousands_of_other_scores_are_the_libraries_own() {
    let fixture = fixture();
    let count = fixture["some"].as_u64().unwrap() as usize;
    let columns = many(count);
    let numbers: Vec<f64> = bytes("many.bin").as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect();
    let names = fixture["values"].as_array().unwrap();
    assert_eq!((names.len(), numbers.len()), (10, 10 * count));
    for (name, wanted) in names.iter().map(|n| n.as_str().unwrap()).zip(numbers.chunks(count)) {
        let model = model(name);
        let frame = Frame::new(model.features(), &columns).unwrap();
        let terms = model.features().len() as u32;
        let (error, precision) = match (model.kind(), name.starts_with("onnx")) {
            (Kind::Network(_), _) => (1e-3, 0.0),
            (_, true) => (1e-6, f64::from(f32::EPSILON)),
            (_, false) => (1e-6, f64::EPSILON),
        };
        let (mut compared, mut lost) = (0, 0);
        for (row, wanted) in wanted.iter().enumerate() {
            let values: Vec<f64> = (0..terms).map(|f| frame.value(row, f)).collect();
            let one = Frame::row(model.features(), &values).unwrap();
            let gap = values.iter().any(|v| v.is_nan());
            match model.scores(&one) {
                Ok(score) => {
                    assert!(!gap || matches!(model.kind(), Kind::Trees(_)), "{name}, row {row}: a gap was scored");
                    // The library's own sum of such values is no number.
                    if wanted.is_nan() {
                        lost += 1;
                        continue;
                    }
                    compared += 1;
                    let error = f64::max(error, f64::from(terms + 1) * precision * reach(&model, &one, 0));
                    assert!((score[0] - wanted).abs() <= error, "{name}, row {row}: {} and {wanted}", score[0]);
                }
                Err(fault) => {
                    assert_eq!((fault.code, gap), (Code::ModelValueMissing, true), "{name}, row {row}");
                    assert!(wanted.is_nan(), "{name}, row {row}: the library scores it");
                }
            }
        }
        assert!(compared > count / 2 && lost < count / 20, "{name}: {compared} rows, {lost} lost");
    }
}
