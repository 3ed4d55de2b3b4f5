//! The credit table of the demonstration: who has which columns, the models, and what their own libraries predict.

use std::collections::BTreeMap;

/// An owner of rows: its table, the features that may be scored, and its part of the scorecard.
pub struct Owner {
    pub name: &'static str,
    pub table: &'static str,
    pub features: &'static [&'static str],
    pub scorecard: &'static str,
}

/// Owners. The bank's `bad`, whether a loan went bad, is not among the features: no job can read it.
pub const OWNERS: [Owner; 3] = [
    Owner {
        name: "bank",
        table: include_str!("../../../../examples/credit/bank.csv"),
        features: &["duration", "amount", "rate", "credits", "age", "checking", "history"],
        scorecard: include_str!("../../../../examples/credit/scorecard-bank.json"),
    },
    Owner {
        name: "telecom",
        table: include_str!("../../../../examples/credit/telecom.csv"),
        features: &["residence", "employment", "phone", "job"],
        scorecard: include_str!("../../../../examples/credit/scorecard-telecom.json"),
    },
    Owner {
        name: "shop",
        table: include_str!("../../../../examples/credit/shop.csv"),
        features: &["plans", "owner", "purpose"],
        scorecard: include_str!("../../../../examples/credit/scorecard-shop.json"),
    },
];

/// The ensemble, as XGBoost wrote it.
pub const TREES: &str = include_str!("../../../../examples/credit/trees.json");

/// Which owner has which features of the ensemble.
pub const DIVIDED: [&str; 3] =
    ["bank=duration,amount,rate,credits,age,checking", "telecom=residence,employment,phone", "shop=plans,owner"];

/// The network, as ONNX.
pub const NETWORK: &[u8] = include_bytes!("../../../../examples/credit/network.onnx");

/// The inputs of the network in their order, which its file does not name, with the ranges that a job declares.
pub const INPUTS: [(&str, &str, &str); 10] = [
    ("duration", "0", "72"),
    ("amount", "0", "20000"),
    ("rate", "1", "4"),
    ("credits", "1", "4"),
    ("age", "18", "80"),
    ("residence", "1", "4"),
    ("employment", "0", "4"),
    ("phone", "0", "1"),
    ("plans", "0", "1"),
    ("owner", "0", "1"),
];

/// Keys that nobody has a row for.
pub const UNKNOWN: [&str; 2] = ["X-0001", "X-0002"];

/// What a library predicts for each applicant: the column of `expected.csv`, in the order of [`applicants`].
pub fn predicted(model: &str) -> Vec<Option<f64>> {
    let (names, rows) = table(include_str!("../../../../examples/credit/expected.csv"));
    let place = names.iter().position(|n| *n == model).unwrap_or(usize::MAX);
    let known = rows.iter().map(|row| row.get(place).and_then(|text| text.parse().ok()));
    known.chain(UNKNOWN.map(|_| None)).collect()
}

/// The applicants that no model was trained on, and after them the unknown keys.
pub fn applicants() -> Vec<&'static str> {
    let (_, rows) = table(include_str!("../../../../examples/credit/expected.csv"));
    rows.iter().filter_map(|row| row.first().copied()).chain(UNKNOWN).collect()
}

/// Every customer of the bank.
pub fn customers() -> Vec<&'static str> {
    table(OWNERS[0].table).1.iter().filter_map(|row| row.first().copied()).collect()
}

/// Whether a rule holds for each applicant, computed here over all tables in one place; no for unknown keys.
pub fn answers(rule: impl Fn(&dyn Fn(&str) -> f64) -> bool) -> Vec<bool> {
    let mut rows: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for owner in &OWNERS {
        let (names, lines) = table(owner.table);
        for line in lines {
            let row = rows.entry(line.first().copied().unwrap_or_default()).or_default();
            row.extend(names.iter().zip(&line).filter_map(|(name, text)| Some((*name, text.parse::<f64>().ok()?))));
        }
    }
    let value = |row: &BTreeMap<&str, f64>, name: &str| row.get(name).copied().unwrap_or(f64::NAN);
    applicants().iter().map(|key| rows.get(key).is_some_and(|row| rule(&|name| value(row, name)))).collect()
}

/// Names and rows of a text without quoted fields.
fn table(text: &'static str) -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let mut lines = text.lines().map(|line| line.split(',').collect());
    (lines.next().unwrap_or_default(), lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_predictions_are_those_of_the_same_applicants() {
        let keys = applicants();
        assert_eq!((keys.len(), keys[300], customers().len()), (302, "X-0001", 1000));
        for model in ["scorecard", "trees", "network"] {
            let scores = predicted(model);
            assert!(scores.len() == 302 && scores[..300].iter().all(Option::is_some) && scores[300].is_none());
        }
        let old = answers(|of| of("age") >= 65.0 && of("owner") >= 0.0);
        assert!(old.iter().any(|a| *a) && old.iter().any(|a| !*a) && !old[300]);
        assert!(answers(|of| of("bad") >= 0.0 && of("phone") >= 0.0)[..300].iter().all(|a| *a));
    }

    #[test]
    fn every_declared_range_holds_every_value() {
        for owner in &OWNERS {
            let (names, rows) = table(owner.table);
            for (name, least, most) in INPUTS {
                let Some(place) = names.iter().position(|n| *n == name) else { continue };
                let values: Vec<f64> = rows.iter().map(|r| r[place].parse().unwrap()).collect();
                let (least, most): (f64, f64) = (least.parse().unwrap(), most.parse().unwrap());
                assert!(values.iter().all(|v| (least..=most).contains(v)), "{name}");
            }
        }
    }
}
