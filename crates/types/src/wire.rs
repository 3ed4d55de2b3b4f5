//! The one wire codec: bincode with fixed-width little-endian integers, a byte cap, and no
//! trailing bytes. Nothing else in the product names the codec, so that it can be replaced byte
//! for byte.

use core::fmt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::limits::CONTROL_FRAME_BYTES_MAX;

/// Why bytes were not a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than the cap allows.
    #[error("{len} bytes are over the cap of {cap}")]
    TooLong {
        /// Bytes offered.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// Not an encoding of the type.
    #[error("malformed encoding")]
    Malformed,
    /// A value, then something more.
    #[error("{0} trailing bytes")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<{ 64 << 20 }>()
}

/// Encodes a value.
///
/// The types of this product always encode: they hold no map with unsized keys and no failing
/// `Serialize`; an encoding beyond the codec's limit gives an empty vector, which no decoder accepts.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config()).unwrap_or_default()
}

/// Decodes a value of at most [`CONTROL_FRAME_BYTES_MAX`] bytes.
///
/// # Errors
/// See [`decode_capped`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    decode_capped(bytes, CONTROL_FRAME_BYTES_MAX)
}

/// Decodes a value of at most `cap` bytes and refuses trailing bytes.
///
/// # Errors
/// [`WireError`] when the input is too long, malformed, or has bytes left over.
pub fn decode_capped<T: DeserializeOwned>(bytes: &[u8], cap: usize) -> Result<T, WireError> {
    if bytes.len() > cap {
        return Err(WireError::TooLong { len: bytes.len(), cap });
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, config()).map_err(|_| WireError::Malformed)?;
    match bytes.len() - used {
        0 => Ok(value),
        rest => Err(WireError::Trailing(rest)),
    }
}

/// Bytes that travel as one length-prefixed run instead of element by element.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl core::ops::Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<Blob, E> {
                Ok(Blob(v.to_vec()))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, v: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(v))
            }
        }
        d.deserialize_byte_buf(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_bytes_and_caps_are_refused() {
        let bytes = encode(&(7u32, Blob(vec![1, 2, 3])));
        assert_eq!(decode::<(u32, Blob)>(&bytes).unwrap().0, 7);
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<(u32, Blob)>(&longer), Err(WireError::Trailing(1)));
        assert_eq!(
            decode_capped::<(u32, Blob)>(&bytes, bytes.len() - 1),
            Err(WireError::TooLong { len: bytes.len(), cap: bytes.len() - 1 })
        );
    }

    #[test]
    fn a_lying_length_allocates_nothing() {
        for lie in [u64::MAX, 1 << 63, 1 << 32, (1 << 31) + 1, 5] {
            let mut bytes = lie.to_le_bytes().to_vec();
            bytes.extend_from_slice(&[0; 4]);
            assert_eq!(decode::<Blob>(&bytes), Err(WireError::Malformed), "{lie}");
            assert_eq!(decode::<Vec<u64>>(&bytes), Err(WireError::Malformed), "{lie}");
            assert_eq!(decode::<String>(&bytes), Err(WireError::Malformed), "{lie}");
        }
    }

    #[test]
    fn integers_are_fixed_width_little_endian() {
        assert_eq!(encode(&1u32), [1, 0, 0, 0]);
        assert_eq!(encode(&(1u64, true)), [1, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
