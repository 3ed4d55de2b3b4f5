//! Hashing with labels. Every preimage begins with a length-prefixed label, and every field is
//! length-prefixed or of fixed width, so that no two different inputs give the same bytes.

use sha2::{Digest, Sha256};
use tacit_types::Hash;

/// SHA-256 (FIPS 180-4) of bytes as they are.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// A labelled SHA-256 over fields.
#[derive(Clone)]
pub struct Transcript(Sha256);

impl Transcript {
    /// Begins with a label such as `"tacit-secagg/1/T0"`.
    pub fn new(label: &str) -> Self {
        Self(Sha256::new()).bytes(label.as_bytes())
    }

    /// Adds a field of any length.
    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn u64(mut self, field: u64) -> Self {
        self.0.update(field.to_le_bytes());
        self
    }

    /// Adds a 32-byte field without a length.
    #[must_use]
    pub fn fixed(mut self, field: &[u8; 32]) -> Self {
        self.0.update(field);
        self
    }

    /// The digest.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_known_answer() {
        // FIPS 180-4, example "abc".
        assert_eq!(sha256(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Transcript::new("t").bytes(b"ab").bytes(b"c").finish();
        let two = Transcript::new("t").bytes(b"a").bytes(b"bc").finish();
        let three = Transcript::new("tab").bytes(b"c").finish();
        assert!(one != two && one != three && two != three);
    }
}
