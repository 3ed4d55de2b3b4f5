//! What an owner lets its node use for lists of keys.

use serde::{Deserialize, Serialize};
use tacit_jobs::align::LOOKUP_KEYS_MAX;
use tacit_types::{Code, Fault};

/// Megabytes that sorting one list may hold, unless a node says otherwise.
pub const ALIGN_MEMORY_MB_DEFAULT: u32 = 64;
/// The fewest megabytes that sorting may be given: a longer list takes more files.
pub const ALIGN_MEMORY_MB_MIN: u32 = 1;
/// The most megabytes that sorting one list may be given.
pub const ALIGN_MEMORY_MB_MAX: u32 = 1 << 16;
/// Distinct keys of one list that a node takes, unless it says otherwise: as many as any kind allows, which is the most.
pub const ALIGN_LIST_KEYS_MAX: u64 = LOOKUP_KEYS_MAX;
/// The fewest keys of a list to which a node may limit itself.
pub const ALIGN_LIST_KEYS_MIN: u64 = 1 << 10;

/// The section `[align]` of `node.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlignConfig {
    /// Megabytes that sorting one list may hold; what is longer is sorted in files. Each attempt sorts one list at a time.
    pub memory_mb: u32,
    /// Distinct keys of one list, this owner's or another's, that the node brings together with others.
    pub keys_max: u64,
}

impl Default for AlignConfig {
    fn default() -> Self {
        Self { memory_mb: ALIGN_MEMORY_MB_DEFAULT, keys_max: ALIGN_LIST_KEYS_MAX }
    }
}

impl AlignConfig {
    /// Checks the limits.
    ///
    /// # Errors
    /// `config.malformed` naming the key.
    pub fn check(&self) -> Result<(), Fault> {
        let malformed = |what: String| Err(Fault::new(Code::ConfigMalformed, what));
        if !(ALIGN_MEMORY_MB_MIN..=ALIGN_MEMORY_MB_MAX).contains(&self.memory_mb) {
            return malformed(format!("align.memory_mb is {ALIGN_MEMORY_MB_MIN} to {ALIGN_MEMORY_MB_MAX}"));
        }
        if !(ALIGN_LIST_KEYS_MIN..=ALIGN_LIST_KEYS_MAX).contains(&self.keys_max) {
            return malformed(format!("align.keys_max is {ALIGN_LIST_KEYS_MIN} to {ALIGN_LIST_KEYS_MAX}"));
        }
        Ok(())
    }

    /// Bytes that sorting one list may hold.
    pub(super) fn memory(self) -> usize {
        (self.memory_mb as usize).saturating_mul(1 << 20)
    }

    // why: serde hands a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_one_past_them() {
        let sound = |memory_mb, keys_max| match (AlignConfig { memory_mb, keys_max }).check() {
            Ok(()) => true,
            Err(fault) => {
                assert_eq!(fault.code, Code::ConfigMalformed);
                false
            }
        };
        let AlignConfig { memory_mb, keys_max } = AlignConfig::default();
        assert!(sound(memory_mb, keys_max));
        assert!(sound(ALIGN_MEMORY_MB_MIN, keys_max) && !sound(ALIGN_MEMORY_MB_MIN - 1, keys_max));
        assert!(sound(ALIGN_MEMORY_MB_MAX, keys_max) && !sound(ALIGN_MEMORY_MB_MAX + 1, keys_max));
        assert!(sound(memory_mb, ALIGN_LIST_KEYS_MIN) && !sound(memory_mb, ALIGN_LIST_KEYS_MIN - 1));
        assert!(sound(memory_mb, ALIGN_LIST_KEYS_MAX) && !sound(memory_mb, ALIGN_LIST_KEYS_MAX + 1));
        assert_eq!(AlignConfig { memory_mb: 3, keys_max }.memory(), 3 << 20);
    }
}
