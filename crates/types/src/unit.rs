//! Metered units and who observes them.

use serde::{Deserialize, Serialize};

/// Something a job kind meters. The numbers are part of the receipt format and never reused.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
pub enum Unit {
    /// One job. Class B.
    #[n(0)]
    Job,
    /// Parties seated, drop-outs included. Class A.
    #[n(1)]
    Party,
    /// Vector cells contributed under a mask. Class A: each peer sees the length.
    #[n(2)]
    CellIn,
    /// Cells opened to the recipient. Class A.
    #[n(3)]
    CellOut,
    /// Cells suppressed by a cohort floor. Class A.
    #[n(4)]
    CellSuppressed,
    /// Application payload bytes on a link, without transport overhead. Class A: both ends count.
    #[n(5)]
    PayloadByte,
    /// Rows that a party's local query read. Class C: self-asserted, never billed.
    #[n(6)]
    RowScanned,
    /// Calls of an online window. Class A: every seat counts them.
    #[n(7)]
    Call,
    /// Rows that those calls asked for. Class A.
    #[n(8)]
    RowAsked,
    /// Milliseconds of processor time that a party's local and joint halves took. Class C.
    #[n(9)]
    CpuMilli,
    /// The most bytes that a party's local query held for intermediate results. Class C.
    #[n(10)]
    MemoryByte,
}

/// How far a metered quantity can be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Class {
    /// Two or more parties observe the same number.
    #[n(0)]
    A,
    /// Follows from the signed specification.
    #[n(1)]
    B,
    /// Self-asserted by one party.
    #[n(2)]
    C,
}

impl Unit {
    /// Every unit, in order of number.
    pub const ALL: [Unit; 11] = [
        Unit::Job,
        Unit::Party,
        Unit::CellIn,
        Unit::CellOut,
        Unit::CellSuppressed,
        Unit::PayloadByte,
        Unit::RowScanned,
        Unit::Call,
        Unit::RowAsked,
        Unit::CpuMilli,
        Unit::MemoryByte,
    ];

    /// The class of the unit.
    pub const fn class(self) -> Class {
        match self {
            Unit::Job => Class::B,
            Unit::RowScanned | Unit::CpuMilli | Unit::MemoryByte => Class::C,
            _ => Class::A,
        }
    }

    /// The UCUM code printed beside quantities.
    pub const fn ucum(self) -> &'static str {
        match self {
            Unit::Job => "{job}",
            Unit::Party => "{party}",
            Unit::CellIn | Unit::CellOut | Unit::CellSuppressed => "{cell}",
            Unit::PayloadByte | Unit::MemoryByte => "By",
            Unit::RowScanned | Unit::RowAsked => "{row}",
            Unit::Call => "{call}",
            Unit::CpuMilli => "ms",
        }
    }

    /// A stable word for JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Unit::Job => "job",
            Unit::Party => "party",
            Unit::CellIn => "cell_in",
            Unit::CellOut => "cell_out",
            Unit::CellSuppressed => "cell_suppressed",
            Unit::PayloadByte => "payload_byte",
            Unit::RowScanned => "row_scanned",
            Unit::Call => "call",
            Unit::RowAsked => "row_asked",
            Unit::CpuMilli => "cpu_ms",
            Unit::MemoryByte => "memory_byte",
        }
    }
}
