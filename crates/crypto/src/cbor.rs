//! Deterministic CBOR (RFC 8949, section 4.2.1) for everything that is signed.
//!
//! Bodies are structs encoded as maps with small integer keys in ascending order, by derive. A
//! decoder accepts only bytes that encode again to themselves, so one value has one encoding.

use minicbor::data::Token;

/// Nesting of arrays and maps that a decoder enters.
pub const DEPTH_MAX: usize = 40;

/// Encodes a body.
pub fn encode<T: minicbor::Encode<()>>(value: &T) -> Vec<u8> {
    // why: writing into a vector cannot fail, and no body type has a failing encoder.
    minicbor::to_vec(value).unwrap_or_default()
}

/// Decodes a body; refuses other than canonical bytes.
///
/// # Errors
/// A short reason: nesting, malformed, or not canonical.
pub fn decode<T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Result<T, &'static str> {
    if !shallow(bytes) {
        return Err("nested too deeply or malformed");
    }
    let value: T = minicbor::decode(bytes).map_err(|_| "malformed")?;
    if encode(&value) == bytes { Ok(value) } else { Err("not the canonical encoding") }
}

/// Whether the bytes are one well-formed item of definite lengths and nesting up to [`DEPTH_MAX`].
fn shallow(bytes: &[u8]) -> bool {
    // Items still open at each level of nesting.
    let mut open: Vec<u64> = vec![1];
    for token in minicbor::decode::Tokenizer::new(bytes) {
        let children = match token {
            Ok(Token::Array(n)) => Some(n),
            Ok(Token::Map(n)) => match n.checked_mul(2) {
                Some(n) => Some(n),
                None => return false,
            },
            Ok(Token::Tag(_)) => Some(1),
            Ok(Token::BeginArray | Token::BeginMap | Token::BeginBytes | Token::BeginString | Token::Break)
            | Err(_) => {
                return false;
            }
            Ok(_) => None,
        };
        match open.last_mut() {
            Some(n) if *n > 0 => *n -= 1,
            _ => return false,
        }
        if let Some(n) = children {
            open.push(n);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > DEPTH_MAX {
            return false;
        }
    }
    open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
    #[cbor(map)]
    struct Sample {
        #[n(1)]
        a: u64,
        #[n(2)]
        b: Option<Vec<String>>,
    }

    #[test]
    fn one_value_one_encoding() {
        let sample = Sample { a: 1, b: Some(vec!["x".into()]) };
        let bytes = encode(&sample);
        assert_eq!(bytes, [0xa2, 0x01, 0x01, 0x02, 0x81, 0x61, b'x']);
        assert_eq!(decode::<Sample>(&bytes).unwrap(), sample);
        // A longer integer, a swapped order, an unknown key, a trailing byte, an indefinite map.
        for bad in [
            &[0xa2, 0x01, 0x18, 0x01, 0x02, 0x81, 0x61, b'x'][..],
            &[0xa2, 0x02, 0x81, 0x61, b'x', 0x01, 0x01],
            &[0xa3, 0x01, 0x01, 0x02, 0x81, 0x61, b'x', 0x03, 0x00],
            &[0xa2, 0x01, 0x01, 0x02, 0x81, 0x61, b'x', 0x00],
            &[0xbf, 0x01, 0x01, 0x02, 0x81, 0x61, b'x', 0xff],
        ] {
            assert!(decode::<Sample>(bad).is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn nesting_is_capped() {
        let nest = |n: usize| [vec![0x81; n], vec![0x00]].concat();
        assert!(shallow(&nest(DEPTH_MAX - 1)));
        assert!(!shallow(&nest(DEPTH_MAX)));
        assert!(!shallow(&nest(100_000)));
        assert!(!shallow(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }
}
