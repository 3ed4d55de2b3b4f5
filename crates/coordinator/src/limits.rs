//! Every cap and every wait of the daemon, in one place.

use std::time::Duration;

/// Parties of one roster.
pub const PARTIES_MAX: usize = 1024;
/// Jobs that are not over, at once. Further submissions are told to wait.
pub const QUEUE_MAX: usize = 1024;
/// Signed descriptors of datasets and models that one node offers.
pub const DATASETS_PER_NODE_MAX: usize = 256;
/// Contracts of which signatures are kept.
pub const CONTRACTS_MAX: usize = 4096;
/// Bytes of an address in a registration.
pub const ADDRESS_BYTES_MAX: usize = 280;
/// Attempts that a node may say it runs at a time.
pub const SLOTS_MAX: u32 = 1024;
/// Bytes of a node's report beside a sealed result.
pub const FINISH_BYTES_MAX: usize = 16 << 10;
/// Bytes of one party's part of a result's key.
pub const RELEASE_BYTES_MAX: usize = 4 << 10;
/// Bytes that an answer's lists may take, under the cap of a frame.
pub const ANSWER_BYTES_MAX: usize = 960 << 10;
/// Bytes of a signed answer to a job that is kept.
pub const PAPER_BYTES_MAX: usize = 4096;
/// Bytes of a stored job.
pub const JOB_ROW_BYTES_MAX: usize = 48 << 20;
/// The longest life of an invitation.
pub const INVITE_TTL_MS_MAX: u64 = 30 * 86_400_000;

/// Bytes of sealed items that one party may have lying here, those on their way counted whole.
pub const DEPOSITS_PER_PARTY_BYTES_MAX: u64 = 1 << 30;
/// How long a sealed item is kept.
pub const DEPOSIT_KEEP: Duration = Duration::from_secs(30 * 86_400);
/// After so long without a further piece, an item that is not whole is dropped when its bringer needs the room.
pub const DEPOSIT_IDLE: Duration = Duration::from_secs(600);

/// Receipts of one append.
pub const BATCH_MAX: usize = 256;
/// Receipts that wait for the log; beyond, jobs wait to hand theirs in.
pub const APPENDS_WAITING_MAX: usize = 1024;
/// Plans that the answer to a close names as not charged.
pub const WITHHELD_MAX: usize = 100;
/// Inputs that wait for one job's task.
pub const INBOX_MAX: usize = 256;
/// Changes that wait for the database.
pub const WRITES_WAITING_MAX: usize = 1024;
/// Changes that one transaction takes together.
pub const WRITES_TOGETHER_MAX: usize = 256;

/// The first pause before a node is asked again; it doubles to [`RETRY_MAX`].
pub const RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest pause before a node is asked again.
pub const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long a node may take over one request.
pub const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// How long an owner may take to say how it would decide.
pub const PLAN_DEADLINE: Duration = Duration::from_secs(5);
/// How long a witness may take to cosign.
pub const COSIGN_DEADLINE: Duration = Duration::from_secs(3);
/// How long a checkpoint that has its quorum waits for the witnesses that are left.
pub const STRAGGLER_WAIT: Duration = Duration::from_millis(25);
/// How long a receipt waits for the witnesses of its own parties, once it has the quorum of all.
pub const OWN_QUORUM_WAIT: Duration = Duration::from_secs(5);
/// Bytes that the memos of one node carry under seal in a log, all together.
pub const MEMO_BYTES_MAX: u64 = 64 << 20;
/// Pause of the books between two looks at what the log has grown by, and after a failed one.
pub const BOOKS_PAUSE: Duration = Duration::from_secs(1);
/// How long a party that hands in a late attestation is kept waiting for the log.
pub const LATE_WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks for connections whose key is over.
pub const RETIRE_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a witness that failed is asked again.
pub const COSIGN_RETRY: Duration = Duration::from_millis(500);
/// After the start, how long a node has to come back before it counts as lost.
pub const RETURN_GRACE: Duration = Duration::from_secs(5);
/// Pause before a full disk is tried again.
pub const FULL_RETRY: Duration = Duration::from_millis(500);
/// Pause between two bundles of the log that are read again.
pub const PATROL_PAUSE: Duration = Duration::from_secs(1);
/// How long a caller is kept waiting for the database of a busy daemon.
pub const DB_BUSY: Duration = Duration::from_secs(5);
