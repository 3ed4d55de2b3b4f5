//! A hundred thousand rows that the real libraries have scored as well: gaps, categories, values that are extreme. The
//! margins are the same bits; the fixture holds hashes of the libraries' own, a block of rows at a time.

mod common;

use common::{bytes, import, rows, text};
use tacit_crypto::sha256;
use tacit_models::import::{lightgbm, xgboost};
use tacit_models::{Frame, Model};
use tacit_types::{Column, Columns, Values};

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
        wards.push((draw.below(100) >= 5).then(|| format!("w{}", draw.below(40))));
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

#[test]
fn a_hundred_thousand_margins_are_the_libraries_own_bits() {
    let fixture: serde_json::Value = serde_json::from_slice(&bytes("many.json")).unwrap();
    let [count, block] = ["rows", "block"].map(|name| fixture[name].as_u64().unwrap() as usize);
    assert_eq!(count, 100_000);
    let columns = many(count);
    let margins = fixture["margins"].as_object().unwrap();
    assert_eq!(margins.len(), 14);
    for (name, hashes) in margins {
        let single = name.starts_with("xgb");
        let model: Model = match single {
            true => xgboost::read(import(name), text(&format!("{name}.json")).as_bytes()).unwrap(),
            false => lightgbm::read(import(name), text(&format!("{name}.txt")).as_bytes()).unwrap(),
        };
        let found = model.margins(&Frame::new(model.features(), &columns).unwrap()).unwrap();
        let word = |m: &f64| if single { (*m as f32).to_le_bytes().to_vec() } else { m.to_le_bytes().to_vec() };
        let hashes = hashes.as_array().unwrap();
        assert_eq!(hashes.len(), count / block);
        for (i, (found, wanted)) in found.chunks(block).zip(hashes).enumerate() {
            let hash = sha256(&found.iter().flat_map(word).collect::<Vec<u8>>()).to_string();
            assert_eq!(&hash[..16], wanted.as_str().unwrap(), "{name}, rows {} to {}", i * block, (i + 1) * block);
        }
    }
}
