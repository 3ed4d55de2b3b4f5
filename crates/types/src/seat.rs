//! Seats, attempts and steps: the coordinates of a message inside one job.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A party's number in one job, from 0. Seats are ordered by node id in the seating, so every
/// party derives the same numbers.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(transparent)]
pub struct Seat(#[n(0)] pub u16);

impl Seat {
    /// The seat as an index into a per-seat list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seat {}", self.0)
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The number of an attempt at a job, from 1. A crashed attempt is burned; the next has new keys.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(transparent)]
pub struct Attempt(#[n(0)] pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {}", self.0)
    }
}

/// A step of a protocol: the round in the high half, the phase within the round in the low half.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(transparent)]
pub struct Step(#[n(0)] pub u32);

impl Step {
    /// Phase `phase` of round `round`.
    pub const fn new(round: u16, phase: u16) -> Self {
        Self(((round as u32) << 16) | phase as u32)
    }

    /// The round.
    pub const fn round(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The phase within the round.
    pub const fn phase(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}.{}", self.round(), self.phase())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round(), self.phase())
    }
}
