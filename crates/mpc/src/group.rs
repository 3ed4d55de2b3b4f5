//! Sets of the computing parties, by their number in the plan.

use serde::{Deserialize, Serialize};

/// The most computing parties of a plan, the dealer not counted.
pub const PARTIES_MAX: usize = 16;

/// A set of computing parties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Group(u16);

impl Group {
    /// Nobody.
    pub const NONE: Group = Group(0);

    /// The first `n` parties; at most [`PARTIES_MAX`].
    pub const fn first(n: usize) -> Self {
        Self(if n >= PARTIES_MAX { u16::MAX } else { (1 << n) - 1 })
    }

    /// One party; nobody for a number past [`PARTIES_MAX`].
    pub const fn one(party: usize) -> Self {
        Self(if party < PARTIES_MAX { 1 << party } else { 0 })
    }

    /// This set and a party.
    #[must_use]
    pub const fn with(self, party: usize) -> Self {
        Self(self.0 | Self::one(party).0)
    }

    /// Whether the party is in the set.
    pub const fn has(self, party: usize) -> bool {
        Self::one(party).0 & self.0 != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every party of the set is in the other.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The parties, in order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..PARTIES_MAX).filter(move |p| self.has(*p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_they_were_given_and_nothing_past_the_end() {
        let set = Group::one(0).with(3).with(PARTIES_MAX);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 3]);
        assert!(Group::one(PARTIES_MAX).is_empty() && !set.has(PARTIES_MAX));
        assert_eq!(Group::first(PARTIES_MAX).iter().count(), PARTIES_MAX);
        assert!(set.is_within(Group::first(4)) && !set.is_within(Group::first(3)));
    }
}
