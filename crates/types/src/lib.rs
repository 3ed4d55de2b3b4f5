//! Words that every other crate speaks: identifiers, seats, units, time, limits, stable codes, plain
//! columns, local queries, and the one wire codec.
//!
//! This crate does no IO, reads no clock and knows no cryptography beyond the width of a hash.

#![forbid(unsafe_code)]

pub mod code;
pub mod columns;
pub mod id;
pub mod limits;
pub mod query;
pub mod seat;
pub mod time;
pub mod unit;
pub mod wire;

pub use code::{Code, Fault, Lang};
pub use columns::{Column, Columns, Values};
pub use id::{ContractId, DatasetVersionId, Hash, JobId, ModelVersionId, Name, NodeId, StatementId};
pub use query::{Literal, LocalQuery, Predicate};
pub use seat::{Attempt, Seat, Step};
pub use time::{Millis, UnixMillis};
pub use unit::Unit;
