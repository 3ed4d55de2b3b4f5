//! Datasets in place, and local queries over them.
//!
//! A dataset is a CSV file, a Parquet file or a PostgreSQL table that stays where it is: nothing of it is
//! copied or written, nothing is fetched over HTTP. [`inspect()`] reads the whole source once,
//! refuses what is malformed with one clear code, and gives what may be published of it. [`Dataset`] runs
//! a [`tacit_types::LocalQuery`], a tree of known shapes, over the table `data` or over a view that the
//! owner wrote, with the owner's consent rule in front of everything, and hands batches of
//! [`tacit_types::Columns`] to its caller. No SQL text of a remote party exists.
//!
//! Apart from datasets, [`table`] writes rows for other tools as Parquet and reads them back.
//!
//! A [`tacit_types::Fault`] from here names the file, row and column at fault, and never a value: yet it
//! is about the owner's data, so a node keeps its text and tells others the code `job.local`.

#![forbid(unsafe_code)]

mod builder;
pub mod commit;
mod config;
mod csv;
mod dataset;
mod fault;
mod filter;
pub mod inspect;
mod kind;
mod memory;
mod origins;
mod parquet;
mod plain;
mod postgres;
mod run;
mod scan;
mod session;
mod source;
pub mod table;
mod views;
mod yielding;

pub use config::{Password, PostgresConfig, Sources};
pub use dataset::{Dataset, Registration};
pub use inspect::{Inspected, Inspection, Options, Public, inspect};
pub use kind::{ColumnDef, Kind};
pub use origins::Origin;
pub use run::{Limits, RunStats};
pub use source::Source;
pub use views::View;
