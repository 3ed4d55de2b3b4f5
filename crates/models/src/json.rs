//! A pull reader for JSON (RFC 8259) of strangers: nothing is kept that the caller does not ask for, numbers keep their
//! text so that each is rounded once, names are unique, depth is bounded, and every fault names its line.

use std::collections::BTreeSet;

use tacit_types::{Code, Fault};

use crate::limits::{JSON_DEPTH_MAX, JSON_KEYS_MAX, JSON_STRING_BYTES_MAX};

/// Bytes of the text of one number.
const NUMBER_BYTES_MAX: usize = 400;

pub(crate) struct Json<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, Fault>;

impl<'a> Json<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// A fault at the reader's place.
    pub fn fault(&self, code: Code, what: impl core::fmt::Display) -> Fault {
        let before = self.bytes.get(..self.at).unwrap_or(self.bytes);
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|b| **b != b'\n').count();
        Fault::new(code, format!("line {line}, byte {column}: {what}"))
    }

    fn malformed(&self, what: &str) -> Fault {
        self.fault(Code::ModelMalformed, what)
    }

    /// The next byte that is not white space, without taking it.
    pub fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, wanted: u8) -> Read<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        let found = match self.bytes.get(self.at) {
            None => "the file ends".to_owned(),
            Some(b) => format!("{:?} stands", char::from(*b)),
        };
        Err(self.fault(Code::ModelMalformed, format_args!("{found} where {:?} is expected", char::from(wanted))))
    }

    fn enter(&mut self, bracket: u8) -> Read<()> {
        self.take(bracket)?;
        self.depth += 1;
        if self.depth > JSON_DEPTH_MAX {
            return Err(self.fault(Code::ModelTooLarge, format_args!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(())
    }

    /// Reads an object; `each` reads one value, and may skip it.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, &str) -> Read<()>) -> Read<()> {
        self.enter(b'{')?;
        let mut seen = BTreeSet::new();
        if self.peek() != Some(b'}') {
            loop {
                let key = self.string(JSON_STRING_BYTES_MAX)?;
                self.take(b':')?;
                if seen.len() == JSON_KEYS_MAX {
                    return Err(self.fault(Code::ModelTooLarge, format_args!("more than {JSON_KEYS_MAX} names")));
                }
                each(self, &key)?;
                if seen.contains(&key) {
                    return Err(self.fault(Code::ModelMalformed, format_args!("{key:?} is there twice")));
                }
                seen.insert(key);
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b'}')
    }

    /// Reads an array of up to `max` elements; `each` reads one.
    pub fn array(&mut self, max: usize, what: &str, mut each: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.enter(b'[')?;
        let mut count = 0;
        if self.peek() != Some(b']') {
            loop {
                if count == max {
                    return Err(self.fault(Code::ModelTooLarge, format_args!("{what}: more than {max}")));
                }
                count += 1;
                each(self)?;
                if self.peek() != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
        self.depth -= 1;
        self.take(b']')
    }

    /// Reads a list of up to `max` values.
    pub fn list<T>(&mut self, max: usize, what: &str, mut each: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut list = Vec::new();
        self.array(max, what, |json| {
            list.push(each(json)?);
            Ok(())
        })?;
        Ok(list)
    }

    /// Reads a string of up to `max` bytes.
    pub fn string(&mut self, max: usize) -> Read<String> {
        self.take(b'"')?;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let Some(byte) = self.bytes.get(self.at).copied() else {
                return Err(self.malformed("the file ends within a string"));
            };
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let mut utf8 = [0; 4];
                    text.extend_from_slice(self.escape()?.encode_utf8(&mut utf8).as_bytes());
                }
                0..=0x1f => return Err(self.malformed("a control character within a string")),
                _ => text.push(byte),
            }
            if text.len() > max {
                return Err(self.fault(Code::ModelTooLarge, format_args!("a string of more than {max} bytes")));
            }
        }
        String::from_utf8(text).map_err(|_| self.malformed("a string that is not UTF-8"))
    }

    fn escape(&mut self) -> Read<char> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        Ok(match byte {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&high) && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
                    self.at += 2;
                    let low = self.hex4()?;
                    0x1_0000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00) % 0x400
                } else {
                    high
                };
                char::from_u32(code).ok_or_else(|| self.malformed("half of a surrogate pair"))?
            }
            _ => return Err(self.malformed("an unknown escape within a string")),
        })
    }

    fn hex4(&mut self) -> Read<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|b| core::str::from_utf8(b).ok());
        let digits = digits.filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|t| u32::from_str_radix(t, 16).ok());
        let code = code.ok_or_else(|| self.malformed("four hex digits are expected"))?;
        self.at += 4;
        Ok(code)
    }

    /// The text of a number.
    pub fn number(&mut self) -> Read<&'a str> {
        if matches!(self.peek(), Some(b'N' | b'I' | b'n')) || self.bytes.get(self.at..self.at + 2) == Some(b"-I") {
            return Err(self.fault(Code::ModelNotFinite, "not a finite number"));
        }
        let from = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = self.bytes.get(from..self.at).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default();
        if text.is_empty() || text.len() > NUMBER_BYTES_MAX {
            return Err(self.malformed("a number is expected"));
        }
        Ok(text)
    }

    /// A finite number in double precision.
    pub fn f64(&mut self) -> Read<f64> {
        let text = self.number()?;
        let value: f64 = text.parse().map_err(|_| self.malformed("a number is expected"))?;
        if value.is_finite() { Ok(value) } else { Err(self.fault(Code::ModelNotFinite, text)) }
    }

    /// A finite number rounded once to single precision.
    pub fn f32(&mut self) -> Read<f32> {
        let text = self.number()?;
        let value: f32 = text.parse().map_err(|_| self.malformed("a number is expected"))?;
        if value.is_finite() { Ok(value) } else { Err(self.fault(Code::ModelNotFinite, text)) }
    }

    /// A whole number; `true` and `false` count as 1 and 0.
    pub fn i64(&mut self) -> Read<i64> {
        for (word, value) in [("true", 1), ("false", 0)] {
            if self.peek() == word.bytes().next() && self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let text = self.number()?;
        text.parse().map_err(|_| self.malformed("a whole number is expected"))
    }

    /// Passes over a value of any kind.
    pub fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(|json, _| json.skip()),
            Some(b'[') => self.array(usize::MAX, "a list", Self::skip),
            // What is not asked for may be long, such as a library's own notes.
            Some(b'"') => self.string(self.bytes.len()).map(drop),
            Some(b'N') => self.word("NaN"),
            Some(b'I') => self.word("Infinity"),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ if self.rest().starts_with(b"-Infinity") => self.word("-Infinity"),
            _ => self.number().map(drop),
        }
    }

    /// Takes a literal word.
    pub fn word(&mut self, word: &str) -> Read<()> {
        self.peek();
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault(Code::ModelMalformed, format_args!("{word} is expected")));
        }
        self.at += word.len();
        Ok(())
    }

    /// Checks that nothing follows.
    pub fn finish(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the end of the model")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_and_the_rest_is_passed_over() {
        let text = r#" {"a": [1, 2.5e0], "skip": {"x": [null, true, "q\"", NaN, -Infinity, {}]}, "s": "\u00e9\ud83d\ude00\n"} "#;
        let mut json = Json::new(text.as_bytes());
        let (mut a, mut s) = (Vec::new(), String::new());
        json.object(|json, key| {
            match key {
                "a" => a = json.list(2, "a", Json::f64)?,
                "s" => s = json.string(9)?,
                _ => json.skip()?,
            }
            Ok(())
        })
        .unwrap();
        json.finish().unwrap();
        assert_eq!((a, s.as_str()), (vec![1.0, 2.5], "é😀\n"));
    }

    #[test]
    fn hostile_text_is_one_fault_with_its_place() {
        let code = |text: &str| Json::new(text.as_bytes()).skip().map_err(|f| f.code);
        let nest = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(code(&nest(JSON_DEPTH_MAX)), Ok(()));
        assert_eq!(code(&nest(JSON_DEPTH_MAX + 1)), Err(Code::ModelTooLarge));
        let keys = |n: usize| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
        assert_eq!(code(&keys(JSON_KEYS_MAX)), Ok(()));
        assert_eq!(code(&keys(JSON_KEYS_MAX + 1)), Err(Code::ModelTooLarge));
        for bad in ["", "{", "[1,", "[1 2]", "{\"a\":1,\"a\":2}", "\"\\x\"", "\"\\ud800\"", "\"\u{1}\"", "{1:2}", "tru"]
        {
            assert_eq!(code(bad), Err(Code::ModelMalformed), "{bad}");
        }
        let fault = Json::new(b"[1,\n 2,\n x]").skip().unwrap_err();
        assert!(fault.what.starts_with("line 3, byte 2:"), "{}", fault.what);
        let long = format!("\"{}\"", "a".repeat(JSON_STRING_BYTES_MAX + 1));
        assert_eq!(
            Json::new(long.as_bytes()).string(JSON_STRING_BYTES_MAX).map_err(|f| f.code),
            Err(Code::ModelTooLarge)
        );
        assert_eq!(Json::new(&long.as_bytes()[1..]).f64().map_err(|f| f.code), Err(Code::ModelMalformed));
        for not_finite in ["NaN", "Infinity", "-Infinity", "null", "1e999"] {
            assert_eq!(Json::new(not_finite.as_bytes()).f64().map_err(|f| f.code), Err(Code::ModelNotFinite));
        }
        // Between two singles, nearer to the upper; rounding to double first would lose the last digit.
        let text = b"1.00000005960464477539062500001";
        assert_eq!(Json::new(text).f32().unwrap().to_bits(), 1f32.to_bits() + 1);
    }
}
