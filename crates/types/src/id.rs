//! Identifiers: 32-byte hashes and keys with distinct types, and short human names.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};
use crate::limits::NAME_LEN_MAX;

/// Defines a 32-byte identifier that prints as hex, orders bytewise and travels as 32 raw bytes.
macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hex digits, for tables and logs.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }

            /// Parses 64 hex digits.
            ///
            /// # Errors
            /// `args.id_malformed` when the text is not exactly 64 hex digits.
            pub fn from_hex(text: &str) -> Result<Self, Fault> {
                let mut raw = [0u8; 32];
                hex::decode_to_slice(text, &mut raw)
                    .map_err(|_| Fault::new(Code::ArgsIdMalformed, text.chars().take(80).collect::<String>()))?;
                Ok(Self(raw))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(raw: [u8; 32]) -> Self {
                Self(raw)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let raw = d.bytes()?;
                raw.try_into()
                    .map(Self)
                    .map_err(|_| minicbor::decode::Error::message(concat!(stringify!($name), " is 32 bytes")))
            }
        }
    };
}

id32!(
    /// A SHA-256 digest of something that is not one of the named objects below.
    Hash
);
id32!(
    /// The hash of the exact signed bytes of a job.
    JobId
);
id32!(
    /// The hash of the exact bytes of a contract's body, the bytes that every signer signs.
    ContractId
);
id32!(
    /// The hash of the exact signed bytes of a dataset version's descriptor.
    DatasetVersionId
);
id32!(
    /// The hash of the exact signed bytes of a model version's descriptor.
    ModelVersionId
);
id32!(
    /// The hash of the exact signed bytes of any other statement.
    StatementId
);
id32!(
    /// An Ed25519 public key that names its holder: a node, an operator, a coordinator, a regulator.
    NodeId
);

/// A short human name: 1 to 64 of `a-z 0-9 - _ .`, beginning with a letter or digit.
///
/// Names label; keys identify. No decision rests on a name alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// `args.name_malformed` when the text is empty, too long or has another character.
    pub fn new(text: &str) -> Result<Self, Fault> {
        let ok = !text.is_empty()
            && text.len() <= NAME_LEN_MAX
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(Fault::new(Code::ArgsNameMalformed, text.chars().take(80).collect::<String>()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl core::str::FromStr for Name {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<C> minicbor::Encode<C> for Name {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?;
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Name {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("malformed name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        assert!(Name::new("bank-a").is_ok());
        assert!(Name::new(&"a".repeat(NAME_LEN_MAX)).is_ok());
        for bad in ["", "-a", "A", "a b", "a/b", "../a", "\u{9ed8}", &"a".repeat(NAME_LEN_MAX + 1)] {
            assert_eq!(Name::new(bad).unwrap_err().code, Code::ArgsNameMalformed, "{bad}");
        }
    }

    #[test]
    fn ids_round_trip_as_hex_and_cbor() {
        let id = JobId([0xab; 32]);
        assert_eq!(JobId::from_hex(&id.to_string()).unwrap(), id);
        assert!(JobId::from_hex("ab").is_err());
        let bytes = minicbor::to_vec(id).unwrap();
        assert_eq!(bytes.len(), 34);
        assert_eq!(minicbor::decode::<JobId>(&bytes).unwrap(), id);
    }
}
