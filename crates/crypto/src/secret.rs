//! Secrets as types: no `Debug`, no `Clone`, no `Serialize`, no `PartialEq`; zeroized on drop.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret value of `T`, erased when dropped.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes a secret in.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// Lends the secret out. The name is long so that each use is seen in review.
    pub fn expose_secret(&self) -> &T {
        &self.0
    }
}

impl<const N: usize> Secret<[u8; N]> {
    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}
