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

/// Decodes the fields of a map that `T` names and passes over the others, so that a reader of an earlier version reads
/// what it knows of a later one. The bytes are held to the deterministic encoding all the same.
///
/// # Errors
/// A short reason: not deterministic, or malformed where `T` reads.
pub fn decode_part<T: for<'b> minicbor::Decode<'b, ()>>(bytes: &[u8]) -> Result<T, &'static str> {
    if !shallow(bytes) || item(bytes, DEPTH_MAX).is_none_or(|rest| !rest.is_empty()) {
        return Err("nested too deeply, malformed or not deterministic");
    }
    minicbor::decode(bytes).map_err(|_| "malformed")
}

/// The whole-numbered keys of a map, in its order; none of another item.
pub fn keys(bytes: &[u8]) -> Vec<u64> {
    let read = |bytes: &[u8]| {
        let (5, pairs, mut rest) = head(bytes)? else { return None };
        let mut keys = Vec::new();
        for _ in 0..pairs {
            if let Some((0, key, _)) = head(rest) {
                keys.push(key);
            }
            rest = item(item(rest, DEPTH_MAX)?, DEPTH_MAX)?;
        }
        Some(keys)
    };
    read(bytes).unwrap_or_default()
}

/// The head of an item: major type, argument in its shortest form, and what follows.
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (major, info) = (first >> 5, first & 31);
    let (argument, rest, least) = match info {
        0..=23 => (u64::from(info), rest, 0),
        24..=27 => {
            let (bytes, rest) = rest.split_at_checked(1 << (info - 24))?;
            let argument = bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
            (argument, rest, if info == 24 { 24 } else { 1 << (4 << (info - 24)) })
        }
        _ => return None,
    };
    // Simple values are those of one byte: false, true, null.
    let shortest = argument >= least && (major != 7 || (20..=22).contains(&info));
    shortest.then_some((major, argument, rest))
}

/// What follows one deterministic item.
fn item(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let inner = depth.checked_sub(1)?;
    let (major, argument, mut rest) = head(bytes)?;
    match major {
        0 | 1 | 7 => {}
        2 | 3 => {
            let (text, after) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
            if major == 3 {
                core::str::from_utf8(text).ok()?;
            }
            rest = after;
        }
        4 => {
            for _ in 0..argument {
                rest = item(rest, inner)?;
            }
        }
        5 => {
            let mut before: &[u8] = &[];
            for _ in 0..argument {
                let after = item(rest, inner)?;
                let key = rest.get(..rest.len() - after.len())?;
                if key <= before {
                    return None;
                }
                (before, rest) = (key, item(after, inner)?);
            }
        }
        _ => rest = item(rest, inner)?,
    }
    Some(rest)
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

    #[derive(Debug, PartialEq, minicbor::Decode)]
    #[cbor(map)]
    struct Part {
        #[n(2)]
        b: Vec<String>,
    }

    #[test]
    fn a_part_is_read_of_deterministic_bytes_alone() {
        // {1: [-1, true, null], 2: ["x"], 300: {h'00': 1}}
        let whole =
            [0xa3, 0x01, 0x83, 0x20, 0xf5, 0xf6, 0x02, 0x81, 0x61, b'x', 0x19, 0x01, 0x2c, 0xa1, 0x41, 0x00, 0x01];
        assert_eq!(decode_part::<Part>(&whole), Ok(Part { b: vec!["x".into()] }));
        assert_eq!(keys(&whole), [1, 2, 300]);
        assert_eq!((keys(&[0x01]), keys(&[])), (vec![], vec![]));
        for cut in 0..whole.len() {
            assert!(decode_part::<Part>(&whole[..cut]).is_err(), "{cut}");
        }
        for bad in [
            // A longer integer, keys out of order, a key twice, a float, an undefined, no text, bytes after it.
            &[0xa2, 0x01, 0x18, 0x17, 0x02, 0x81, 0x61, b'x'][..],
            &[0xa2, 0x02, 0x81, 0x61, b'x', 0x01, 0x00],
            &[0xa2, 0x02, 0x81, 0x61, b'x', 0x02, 0x81, 0x61, b'x'],
            &[0xa2, 0x01, 0xf9, 0x00, 0x00, 0x02, 0x81, 0x61, b'x'],
            &[0xa2, 0x01, 0xf7, 0x02, 0x81, 0x61, b'x'],
            &[0xa2, 0x01, 0x61, 0xff, 0x02, 0x81, 0x61, b'x'],
            &[0xa1, 0x02, 0x81, 0x61, b'x', 0x00],
            &[0xa2, 0x01, 0x19, 0x00, 0xff, 0x02, 0x81, 0x61, b'x'],
            &[0xa2, 0x01, 0x1a, 0x00, 0x00, 0xff, 0xff, 0x02, 0x81, 0x61, b'x'],
        ] {
            assert!(decode_part::<Part>(bad).is_err(), "{bad:02x?}");
        }
        assert!(decode_part::<Part>(&[0xa2, 0x01, 0x19, 0x01, 0x00, 0x02, 0x81, 0x61, b'x']).is_ok());
        let deep = |n: usize| [&[0xa2, 0x01][..], &vec![0x81; n], &[0x00, 0x02, 0x81, 0x61, b'x']].concat();
        assert!(decode_part::<Part>(&deep(DEPTH_MAX - 2)).is_ok());
        assert!(decode_part::<Part>(&deep(DEPTH_MAX - 1)).is_err());
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
