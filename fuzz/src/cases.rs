//! Statements of cases: what opens one, and a step.

use serde_json::Value;
use tacit_receipts::cases::{Opening, Said, Step};

use crate::signed::canonical;

const CASES: &str = include_str!("../../tests/vectors/receipts/cases.json");

fn checked(kind: &str, bytes: &[u8]) {
    if let Ok(Some(said)) = Said::read(kind, bytes) {
        let _ = said.check();
    }
}

/// A complaint, an incident or a conduct record.
pub fn opening(bytes: &[u8]) {
    canonical::<Opening>(bytes);
    ["complaint", "incident", "conduct-record"].iter().for_each(|kind| checked(kind, bytes));
}

/// A step.
pub fn step(bytes: &[u8]) {
    canonical::<Step>(bytes);
    checked("case-step", bytes);
}

fn bodies(step: bool) -> Vec<Vec<u8>> {
    let vectors: Value = serde_json::from_str(CASES).expect("the vectors are JSON");
    let all = vectors["statements"].as_array().into_iter().flatten();
    let of_kind = all.filter(|s| (s["type"] == "case-step") == step);
    let hex = |text: &str| -> Option<Vec<u8>> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
    };
    of_kind.filter_map(|s| hex(s["cbor"].as_str()?)).collect()
}

/// One of each kind.
pub fn opening_seeds() -> Vec<Vec<u8>> {
    bodies(false)
}

/// One of each act.
pub fn step_seeds() -> Vec<Vec<u8>> {
    bodies(true)
}
