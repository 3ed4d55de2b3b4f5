//! Every cap in one place. Each has a test one past it, beside the code that enforces it.

/// Bytes of a human name.
pub const NAME_LEN_MAX: usize = 64;
/// Bytes of a control frame on the wire.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of payload in one chunk of a protocol message.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes a peer may have in flight to one seat before it must wait for credit.
pub const WINDOW_BYTES: usize = 4 << 20;
/// Bytes of a protocol message that is received whole instead of as a stream.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Seats in one job on real nodes.
pub const SEATS_MAX: usize = 1024;
/// Bytes of a signed job.
pub const JOB_BYTES_MAX: usize = 64 << 10;
/// Bytes of a signed statement that goes into the log as a leaf.
pub const LEAF_BYTES_MAX: usize = 60_000;
/// Columns of a dataset.
pub const COLUMNS_MAX: usize = 4096;
/// Bytes of a column name.
pub const COLUMN_NAME_BYTES_MAX: usize = 128;
/// Bytes of a text value in a predicate or group list.
pub const LITERAL_TEXT_BYTES_MAX: usize = 256;
/// Nodes of a predicate tree.
pub const PREDICATE_NODES_MAX: usize = 256;
/// Depth of a predicate tree.
pub const PREDICATE_DEPTH_MAX: usize = 16;
/// Bytes of one line of a CSV file.
pub const CSV_LINE_BYTES_MAX: usize = 16 << 20;
/// Rows of one party in one job.
pub const ROWS_MAX: u64 = 1 << 30;
/// Rows handed on at a time by a local query.
pub const BATCH_ROWS: usize = 8192;
