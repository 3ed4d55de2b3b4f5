//! What callers send to a recipient's node, and what the parties of a window send each other.

use tacit_crypto::{Secret, SigningKey};
use tacit_jobs::score::keys::KEY_BYTES_MAX;
use tacit_jobs::score::online::{CALL_KEYS_MAX, messages};
use tacit_types::NodeId;

/// As the node reads it: the files know nothing of the rest of the node.
#[allow(dead_code)]
#[path = "../../crates/node/src/online/body.rs"]
mod body;
#[allow(dead_code)]
#[path = "../../crates/node/src/online/signature.rs"]
mod signature;

use signature::{Headers, Nonces, Signed};

const NODE: NodeId = NodeId([7; 32]);
const NOW: u64 = 1_800_000_000;

/// A body: what was read is within the limits, and written again it is read again.
pub fn call_body(bytes: &[u8]) {
    let Ok(keys) = body::keys(bytes) else { return };
    assert!((1..=CALL_KEYS_MAX).contains(&keys.len()));
    assert!(keys.iter().all(|k| (1..=KEY_BYTES_MAX).contains(&k.len())));
    let written = serde_json::json!({ "keys": keys }).to_string();
    assert_eq!(body::keys(written.as_bytes()).expect("what was read can be written"), keys);
}

/// Bodies to begin with.
pub fn call_body_seeds() -> Vec<Vec<u8>> {
    let bodies = ["{\"keys\":[\"C-1003\"]}", " { \"keys\" : [ \"\\u00e9\\n\" , -7, 9007199254740993, \"\" ] } "];
    bodies.map(|b| b.as_bytes().to_vec()).into()
}

/// Path, digest, input and signature in a line each, then the body: what was signed is the caller's and no other request,
/// and is good once.
pub fn call_signature(bytes: &[u8]) {
    let mut parts = bytes.splitn(5, |b| *b == b'\n');
    let mut text = || parts.next().and_then(|p| core::str::from_utf8(p).ok()).map(str::to_owned);
    let (Some(path), Some(digest), Some(input), Some(signature)) = (text(), text(), text(), text()) else { return };
    let body = parts.next().unwrap_or_default();
    let headers = Headers { digest, input, signature };
    let request = Signed { method: "POST", path: &path, body };
    let Ok(caller) = signature::check(&request, &headers, &NODE) else { return };
    assert!((8..=signature::NONCE_BYTES_MAX).contains(&caller.nonce.len()));
    let longer = [body, b" "].concat();
    for (other, node) in [
        (Signed { method: "PUT", ..request }, NODE),
        (Signed { path: "/v1/score/other", ..request }, NODE),
        (Signed { body: &longer, ..request }, NODE),
        (request, NodeId([8; 32])),
    ] {
        assert!(signature::check(&other, &headers, &node).is_err(), "another request has this signature");
    }
    let mut nonces = Nonces::new(0);
    if nonces.take(&caller, NOW).is_ok() {
        assert!(nonces.take(&caller, NOW).is_err(), "a call is good twice");
    }
}

/// Signed requests to begin with.
pub fn call_signature_seeds() -> Vec<Vec<u8>> {
    let key = SigningKey::from_seed(&Secret::new([3; 32]));
    let seed = |path: &str, body: &[u8], nonce: &str| {
        let request = Signed { method: "POST", path, body };
        let Headers { digest, input, signature } = signature::sign(&key, &NODE, &request, NOW, nonce);
        [format!("{path}\n{digest}\n{input}\n{signature}\n").as_bytes(), body].concat()
    };
    vec![seed("/v1/score/credit", b"{\"keys\":[\"a\"]}", "0123456789abcdef"), seed("/", b"", &"n".repeat(64))]
}

/// What a recipient sends to an owner: written again it is the same bytes.
pub fn window_ask(bytes: &[u8]) {
    if let Some(written) = messages::ask(bytes) {
        assert_eq!(written, bytes);
    }
}

/// What an owner sends to a recipient: written again it stays the same. A code that is not known is read as none.
pub fn window_answer(bytes: &[u8]) {
    if let Some(written) = messages::answer(bytes) {
        assert_eq!(messages::answer(&written).expect("what was read can be written"), written);
    }
}

/// The messages of the vectors that begin so.
fn vectors(side: &str) -> Vec<Vec<u8>> {
    let file = include_str!("../../tests/vectors/jobs/window.json");
    let file: serde_json::Value = serde_json::from_str(file).expect("JSON");
    let cases = file["cases"].as_array().expect("cases");
    let of_side = cases.iter().filter(|c| c["name"].as_str().is_some_and(|n| n.starts_with(side)));
    let digits = |text: &str| -> Option<Vec<u8>> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
    };
    of_side.map(|c| c["hex"].as_str().and_then(digits).expect("hex")).collect()
}

/// Messages of a recipient.
pub fn window_ask_seeds() -> Vec<Vec<u8>> {
    vectors("ask: ")
}

/// Messages of an owner.
pub fn window_answer_seeds() -> Vec<Vec<u8>> {
    vectors("answer: ")
}
