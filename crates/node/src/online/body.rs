//! The body of a call: `{"keys": [...]}`, texts or whole numbers.

use serde::Deserialize;
use tacit_jobs::score::keys::KEY_BYTES_MAX;
use tacit_jobs::score::online::CALL_KEYS_MAX;
use tacit_types::{Code, Fault};

/// Bytes of a call's body.
pub const BODY_BYTES_MAX: usize = CALL_KEYS_MAX * (KEY_BYTES_MAX * 2 + 8);

/// What a caller sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Number(i64),
}

/// The keys that a call asks for, 1 to [`CALL_KEYS_MAX`] of 1 to [`KEY_BYTES_MAX`] bytes each; numbers in decimal.
///
/// # Errors
/// `online.request` saying what is wrong.
pub fn keys(body: &[u8]) -> Result<Vec<String>, Fault> {
    let wrong = |what: String| Fault::new(Code::OnlineRequest, what);
    let call: Call = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
    if !(1..=CALL_KEYS_MAX).contains(&call.keys.len()) {
        return Err(wrong(format!("{} keys; 1 to {CALL_KEYS_MAX}", call.keys.len())));
    }
    let text = |key: Key| match key {
        Key::Text(text) => text,
        Key::Number(number) => number.to_string(),
    };
    let keys: Vec<String> = call.keys.into_iter().map(text).collect();
    match keys.iter().enumerate().find(|(_, k)| !(1..=KEY_BYTES_MAX).contains(&k.len())) {
        Some((i, key)) => Err(wrong(format!("key {} has {} bytes, of 1 to {KEY_BYTES_MAX}", i + 1, key.len()))),
        None => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_texts_and_whole_numbers_within_their_limits() {
        let read = |body: serde_json::Value| keys(body.to_string().as_bytes());
        assert_eq!(read(json!({"keys": ["a", 7, -7, " ", "é"]})).unwrap(), ["a", "7", "-7", " ", "é"]);
        assert!(read(json!({"keys": vec!["x".repeat(KEY_BYTES_MAX); CALL_KEYS_MAX]})).is_ok());
        for (what, body) in [
            ("one key too many", json!({"keys": vec!["x"; CALL_KEYS_MAX + 1]})),
            ("no key", json!({"keys": []})),
            ("an empty key", json!({"keys": ["a", ""]})),
            ("a key one byte too long", json!({"keys": ["x".repeat(KEY_BYTES_MAX + 1)]})),
            ("a fraction", json!({"keys": [1.5]})),
            ("a number past 64 bits", json!({"keys": [u64::MAX]})),
            ("no text", json!({"keys": [null]})),
            ("another field", json!({"keys": ["a"], "x": 1})),
            ("no keys", json!({})),
            ("no list", json!({"keys": "a"})),
        ] {
            assert_eq!(read(body).unwrap_err().code, Code::OnlineRequest, "{what}");
        }
        for text in ["{\"keys\":[\"a\"],\"keys\":[\"b\"]}", "{\"keys\":[\"a\"]}x", "", "{\"keys\":[\"\\ud800\"]}"] {
            assert_eq!(keys(text.as_bytes()).unwrap_err().code, Code::OnlineRequest, "{text}");
        }
        assert!(keys(b"{\"keys\":[\"\xff\"]}").is_err());
        // Whatever a call may ask for fits, even where each byte is written as an escape of two.
        let most = format!(
            "{{\"keys\":[{}]}}",
            vec![format!("\"{}\"", "\\\"".repeat(KEY_BYTES_MAX)); CALL_KEYS_MAX].join(", ")
        );
        assert!(most.len() <= BODY_BYTES_MAX && keys(most.as_bytes()).is_ok(), "{}", most.len());
    }
}
