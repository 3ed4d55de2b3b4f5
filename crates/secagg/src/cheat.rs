//! An aggregator that lies, for tests of those who should find it: compiled for tests and with the feature `cheat`,
//! which no program that is shipped has.

use core::cell::Cell;

use crate::plan::Round;

/// What an aggregator adds to the sum of a round beside the vectors that came: a vector of the round's elements in
/// little-endian bytes. `None` for a round in which it does not lie.
pub type Extra = fn(&Round) -> Option<Vec<u8>>;

thread_local! {
    static EXTRA: Cell<Option<Extra>> = const { Cell::new(None) };
}

/// From now on every aggregator that runs on this thread lies like this; with `None`, none does.
pub fn set(extra: Option<Extra>) {
    EXTRA.set(extra);
}

pub(crate) fn extra(round: &Round) -> Option<Vec<u8>> {
    EXTRA.get().and_then(|extra| extra(round))
}
