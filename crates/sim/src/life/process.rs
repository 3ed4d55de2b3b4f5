//! A process as such: whether it lives, and how often it has.

use std::collections::BTreeMap;

/// A process.
pub(super) struct Life {
    pub up: bool,
    /// Counted up at each death, so that what an earlier life waited for does not wake a later one.
    pub number: u32,
    /// Effects since the run began.
    pub effects: u64,
    /// What it is doing, in a word, and its effects while it did that.
    pub chapter: &'static str,
    pub chapters: BTreeMap<&'static str, u64>,
}

impl Default for Life {
    fn default() -> Self {
        Self { up: true, number: 0, effects: 0, chapter: "", chapters: BTreeMap::new() }
    }
}

/// The process died in the middle of what it was doing.
pub(super) struct Dead;

/// What a process does as long as it lives.
pub(super) type Alive<T = ()> = Result<T, Dead>;
