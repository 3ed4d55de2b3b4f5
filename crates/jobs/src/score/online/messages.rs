//! The messages between recipient and owners, for who reads them outside of a window: a fuzzer, a second implementation.

use tacit_types::wire;

use super::{ANSWER_BYTES_MAX, Answer, Ask, BATCH_BYTES_MAX};

/// Reads what a recipient sends and writes it again; nothing for other bytes.
pub fn ask(bytes: &[u8]) -> Option<Vec<u8>> {
    wire::decode_capped::<Ask>(bytes, BATCH_BYTES_MAX).ok().map(|ask| wire::encode(&ask))
}

/// Reads what an owner sends and writes it again; nothing for other bytes.
pub fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    wire::decode_capped::<Answer>(bytes, ANSWER_BYTES_MAX).ok().map(|answer| wire::encode(&answer))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tacit_types::wire::Blob;
    use tacit_types::{Code, Hash, Seat};

    use super::super::AskedCall;
    use super::*;

    /// Bytes of a message as they are written down, in hex.
    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    #[test]
    fn messages_of_a_window_stay_the_same_bytes() {
        let call = |salt, keys: &[&str]| AskedCall {
            salt: Hash([salt; 32]),
            keys: keys.iter().map(|k| Blob(k.as_bytes().to_vec())).collect(),
        };
        let messages = [
            ("ask: one call", wire::encode(&Ask::Calls { at_ms: 512, calls: vec![call(7, &["C-1003"])] })),
            (
                "ask: two calls",
                wire::encode(&Ask::Calls { at_ms: 1 << 33, calls: vec![call(1, &["a", "bb"]), call(2, &["\u{e9}"])] }),
            ),
            (
                "ask: the end",
                wire::encode(&Ask::End { calls: 3, rows: 4, root: Hash([9; 32]), seats: vec![Seat(0), Seat(258)] }),
            ),
            ("answer: numbers", wire::encode(&Answer::Cells(Blob([1u64.to_le_bytes(), [0xff; 8]].concat())))),
            ("answer: too fast", wire::encode(&Answer::Refused(Code::RefusedPace))),
            ("answer: agreed", wire::encode(&Answer::Agreed)),
            (
                "ask: two calls, to an owner without rows",
                wire::encode(&Ask::Counted { at_ms: 512, calls: vec![(1, Hash([3; 32])), (1024, Hash([4; 32]))] }),
            ),
            ("answer: pieces dealt so far", wire::encode(&Answer::Stock(70_000))),
            ("answer: waits in vain", wire::encode(&Answer::Missing(vec![Seat(2), Seat(258)]))),
        ];
        let file: Value = serde_json::from_str(include_str!("../../../../../tests/vectors/jobs/window.json")).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), messages.len());
        let named =
            |name: &str| cases.iter().find(|c| c["name"] == name).map(|c| c["hex"].as_str().unwrap().to_owned());
        for (name, bytes) in &messages {
            assert_eq!(named(name).as_deref(), Some(hex(bytes).as_str()), "{name}");
        }
        // Each case of the file is read, by one side alone, and none with a byte more or less.
        for case in cases {
            let (name, bytes) = (case["name"].as_str().unwrap(), unhex(case["hex"].as_str().unwrap()));
            let read = if name.starts_with("ask: ") { ask } else { answer };
            assert_eq!(read(&bytes).as_ref(), Some(&bytes), "{name}");
            assert_eq!(read(&[&bytes[..], &[0]].concat()), None, "{name}");
            assert_eq!(read(&bytes[..bytes.len() - 1]), None, "{name}");
        }
    }

    #[test]
    fn a_message_one_byte_over_its_limit_is_none() {
        let blob = |bytes: usize| wire::encode(&Answer::Cells(Blob(vec![0; bytes])));
        let most = ANSWER_BYTES_MAX - blob(0).len();
        assert!(answer(&blob(most)).is_some() && answer(&blob(most + 1)).is_none());
        let long = |bytes: usize| {
            let calls = vec![AskedCall { salt: Hash([0; 32]), keys: vec![Blob(vec![0; bytes])] }];
            wire::encode(&Ask::Calls { at_ms: 0, calls })
        };
        let most = BATCH_BYTES_MAX - long(0).len();
        assert!(ask(&long(most)).is_some() && ask(&long(most + 1)).is_none());
    }
}
