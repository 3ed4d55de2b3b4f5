//! What is read of a CSV file before anything is an array: records, kinds, ranges. It names neither Arrow nor
//! DataFusion, so that the fuzzer compiles these very files without them.

mod columns;
mod infer;
mod records;
mod survey;

pub(crate) use columns::check_header;
pub use columns::{ColumnDef, Kind};
pub(crate) use infer::{Value, value};
pub(crate) use records::Records;
pub use survey::{Inspected, Range};
pub(crate) use survey::{check_text_columns, no_rows, survey, too_many_rows};
