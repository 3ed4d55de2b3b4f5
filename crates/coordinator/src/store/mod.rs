//! The database: SQLite with a write-ahead log and a synchronous commit, one writer.
//!
//! Changes that wait at the same moment share one transaction, so a busy daemon pays one fsync for
//! many jobs. A change is durable when its call returns.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use tacit_types::{Code, Fault};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::limits::{DB_BUSY, WRITES_TOGETHER_MAX, WRITES_WAITING_MAX};

pub(crate) use read::{PartyRow, Whose};
pub(crate) use write::{Change, CloseRow, LeafRow};

/// Connections that read at once.
const READERS: u32 = 4;
/// How often a change is tried again while another program holds the database.
const BUSY_TRIES: u32 = 5;

/// Where a failure that must end the process is reported.
#[derive(Clone)]
pub(crate) struct Fatal(mpsc::Sender<Fault>);

impl Fatal {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Fault>) {
        let (sender, receiver) = mpsc::channel(4);
        (Self(sender), receiver)
    }

    pub(crate) fn report(&self, fault: &Fault) {
        tracing::error!(code = fault.code.text(), what = %fault.what, "this cannot go on");
        // why: a full channel already holds the reason to stop.
        let _ = self.0.try_send(fault.clone());
    }
}

/// The open database.
#[derive(Clone)]
pub(crate) struct Store {
    readers: SqlitePool,
    writes: mpsc::Sender<Waiting>,
}

struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<bool, Fault>>,
}

/// The task that writes. It ends once every handle of the store is gone.
pub(crate) struct Writer(JoinHandle<()>);

impl Writer {
    /// Waits until what was begun is written and the database is closed.
    pub(crate) async fn finish(self) {
        let _ = self.0.await;
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(DB_BUSY)
        .foreign_keys(true)
        .disable_statement_logging()
}

impl Store {
    /// Opens the database, checks it, and brings its tables up to date.
    ///
    /// # Errors
    /// `store.corrupt` when the check finds damage, `store.full`, `store.failed`.
    pub(crate) async fn open(path: PathBuf, fatal: Fatal) -> Result<(Self, Writer), Fault> {
        let shown = path.display().to_string();
        let named = |e: sqlx::Error| named(&shown, fault(e));
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.map_err(named)?;
        quick_check(&mut connection, &shown).await?;
        sqlx::migrate!("./migrations").run_direct(None, &mut connection, false).await.map_err(|e| match e {
            sqlx::migrate::MigrateError::Execute(e) => named(e),
            other => Fault::new(Code::StoreFailed, format!("{shown}: {other}")),
        })?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(Duration::from_secs(10));
        let readers = readers.connect_with(options(&path).read_only(true)).await.map_err(named)?;
        let (writes, waiting) = mpsc::channel(WRITES_WAITING_MAX);
        let pool = readers.clone();
        let writer = tokio::spawn(async move {
            if write_all(&mut connection, waiting, fatal).await {
                // The writer closes last: what is in the write-ahead log goes into the database.
                pool.close().await;
                let _ = connection.close().await;
            }
        });
        Ok((Self { readers, writes }, Writer(writer)))
    }

    /// Makes a change durable. `false` when it was there already or had nothing to change.
    ///
    /// # Errors
    /// `store.full`, after which the same change may be tried again; `store.failed` or
    /// `store.corrupt` when the process is ending.
    pub(crate) async fn write(&self, change: Change) -> Result<bool, Fault> {
        let stopped = || Fault::new(Code::StoreFailed, "the database is closed");
        let (done, result) = oneshot::channel();
        self.writes.send(Waiting { change, done }).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

async fn quick_check(connection: &mut SqliteConnection, shown: &str) -> Result<(), Fault> {
    let rows = sqlx::query("PRAGMA quick_check(1)").fetch_all(connection).await.map_err(|e| named(shown, fault(e)))?;
    let text: String = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
    if text == "ok" {
        return Ok(());
    }
    let text: String = text.chars().take(200).collect();
    Err(Fault::new(Code::StoreCorrupt, format!("{shown}: {text}")))
}

fn named(shown: &str, fault: Fault) -> Fault {
    Fault::new(fault.code, format!("{shown}: {}", fault.what))
}

/// The code for a failure of the database. `store.full` passes; `internal` is a change that the
/// tables refuse; every other code is fatal.
fn fault(error: sqlx::Error) -> Fault {
    let number = match &error {
        sqlx::Error::Database(e) => e.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or_default(),
        _ => 0,
    };
    /// Growing the shared index on a full disk.
    const SHMSIZE: u32 = 4874;
    let code = match (number, number & 0xff) {
        (SHMSIZE, _) | (_, 13) => Code::StoreFull,
        (_, 11 | 26) => Code::StoreCorrupt,
        (_, 19) => Code::Internal,
        (_, 5 | 6) => Code::StoreLocked,
        _ => Code::StoreFailed,
    };
    Fault::new(code, error.to_string())
}

/// Writes until every handle of the store is gone; `false` when the database failed before.
async fn write_all(connection: &mut SqliteConnection, mut waiting: mpsc::Receiver<Waiting>, fatal: Fatal) -> bool {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, WRITES_TOGETHER_MAX).await > 0 {
        let changes: Vec<&Change> = batch.iter().map(|w| &w.change).collect();
        let mut results = match write_patiently(connection, &changes).await {
            Ok(done) => done.into_iter().map(Ok).collect::<Vec<_>>(),
            // One that the tables refuse must not fail those beside it.
            Err(f) if f.code == Code::Internal && batch.len() > 1 => {
                let mut each = Vec::new();
                for change in changes {
                    let one = write_patiently(connection, &[change]).await;
                    each.push(one.map(|done| done.first().copied().unwrap_or_default()));
                }
                each
            }
            Err(f) => changes.iter().map(|_| Err(f.clone())).collect(),
        };
        let stop = results.iter().find_map(|r| r.as_ref().err().filter(|f| is_fatal(f)).cloned());
        for (waiting, result) in batch.drain(..).zip(results.drain(..)) {
            let _ = waiting.done.send(result);
        }
        if let Some(fault) = stop {
            // After a failed fsync nobody knows what the disk holds: only a restart finds out.
            fatal.report(&fault);
            return false;
        }
    }
    true
}

fn is_fatal(fault: &Fault) -> bool {
    matches!(fault.code, Code::StoreFailed | Code::StoreCorrupt)
}

async fn write_patiently(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<Vec<bool>, Fault> {
    let mut tries = 0;
    loop {
        match write_once(connection, changes).await.map_err(fault) {
            Err(f) if f.code == Code::StoreLocked && tries < BUSY_TRIES => tries += 1,
            other => return other,
        }
    }
}

async fn write_once(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<Vec<bool>, sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let done = apply_all(connection, changes).await;
    if done.is_err() {
        // why: a full disk may have ended the transaction already; then there is nothing to roll back.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    done
}

async fn apply_all(connection: &mut SqliteConnection, changes: &[&Change]) -> Result<Vec<bool>, sqlx::Error> {
    let mut done = Vec::with_capacity(changes.len());
    for change in changes {
        done.push(change.apply(connection).await?);
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_types::{JobId, NodeId, UnixMillis};

    fn job(n: u8, bytes: usize) -> Change {
        let (id, signer) = (JobId([n; 32]), NodeId([0; 32]));
        let (nodes, state) = (vec![NodeId([n; 32])], "admitting".into());
        Change::InsertJob { id, signer, nodes, state, at: UnixMillis(1), value: vec![n; bytes] }
    }

    fn leaf(place: u64, hash: u8) -> Change {
        let leaves = vec![LeafRow { place, hash: tacit_types::Hash([hash; 32]), job: None }];
        Change::Append { leaves, head: vec![hash], at: UnixMillis(place), keys: None }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_apart_and_passes() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("coordinator.db");
        let (fatal, mut reports) = Fatal::channel();
        let (store, writer) = Store::open(path.clone(), fatal).await.unwrap();
        store.write(job(1, 10)).await.unwrap();
        drop(store);
        writer.finish().await;
        let mut connection = SqliteConnection::connect_with(&options(&path)).await.unwrap();
        let pages = |n: u32| sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {n}")));
        pages(1).execute(&mut connection).await.unwrap();
        let change = job(2, 100_000);
        let full = write_patiently(&mut connection, &[&change]).await.unwrap_err();
        assert_eq!(full.code, Code::StoreFull);
        assert!(!is_fatal(&full));
        pages(1_000_000).execute(&mut connection).await.unwrap();
        assert_eq!(write_patiently(&mut connection, &[&change, &job(1, 9)]).await.unwrap(), [true, false]);
        assert!(reports.try_recv().is_err());
    }

    #[tokio::test]
    async fn each_lists_its_own_jobs() {
        let folder = tempfile::TempDir::new().unwrap();
        let (store, writer) = Store::open(folder.path().join("coordinator.db"), Fatal::channel().0).await.unwrap();
        for n in 1..=4 {
            let (id, nodes) = (JobId([n; 32]), vec![NodeId([n % 2; 32]), NodeId([9; 32])]);
            let (signer, state) = (NodeId([n / 3; 32]), "admitting".into());
            store
                .write(Change::InsertJob { id, signer, nodes, state, at: UnixMillis(1), value: vec![] })
                .await
                .unwrap();
        }
        let ids = async |whose: Whose, before: Option<u8>, limit: u32| -> Vec<u8> {
            let before = before.map(|n| JobId([n; 32]));
            store.job_ids(&whose, before, limit).await.unwrap().iter().map(|id| id.0[0]).collect()
        };
        assert_eq!(ids(Whose::Everybody, None, 9).await, [4, 3, 2, 1]);
        assert_eq!(ids(Whose::Everybody, Some(3), 1).await, [2]);
        assert_eq!(ids(Whose::Everybody, Some(77), 9).await, [0u8; 0]);
        assert_eq!(ids(Whose::Signer(NodeId([1; 32]), NodeId([7; 32])), None, 9).await, [4, 3]);
        assert_eq!(ids(Whose::Signer(NodeId([7; 32]), NodeId([0; 32])), Some(2), 9).await, [1]);
        let party = |node, root| Whose::Party(NodeId([node; 32]), NodeId([root; 32]));
        // Those with a seat for it, those that it signed with either key, and each once.
        assert_eq!(ids(party(1, 8), None, 9).await, [4, 3, 1]);
        assert_eq!(ids(party(8, 1), None, 9).await, [4, 3]);
        assert_eq!(ids(party(9, 1), Some(4), 2).await, [3, 2]);
        assert_eq!(ids(party(8, 7), None, 9).await, [0u8; 0]);
        drop(store);
        writer.finish().await;
    }

    #[tokio::test]
    async fn answers_are_kept_by_job_and_node_and_the_last_one_stands() {
        let folder = tempfile::TempDir::new().unwrap();
        let (store, _writer) = Store::open(folder.path().join("coordinator.db"), Fatal::channel().0).await.unwrap();
        let (job, other) = (JobId([1; 32]), JobId([2; 32]));
        let put = |id, node: u8, byte: u8| Change::PutAnswers {
            id,
            answers: vec![(NodeId([node; 32]), tacit_types::wire::Blob(vec![byte]))],
        };
        for change in [put(job, 2, 7), put(job, 1, 8), put(other, 1, 9), put(job, 2, 10)] {
            assert!(store.write(change).await.unwrap());
        }
        let kept = |rows: Vec<(NodeId, tacit_types::wire::Blob)>| -> Vec<(u8, u8)> {
            rows.iter().map(|(node, bytes)| (node.0[0], bytes[0])).collect()
        };
        assert_eq!(kept(store.answers(&job).await.unwrap()), [(1, 8), (2, 10)]);
        assert_eq!(kept(store.answers(&other).await.unwrap()), [(1, 9)]);
        assert!(store.answers(&JobId([3; 32])).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_the_tables_refuse_fails_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let (fatal, mut reports) = Fatal::channel();
        let (store, writer) = Store::open(folder.path().join("coordinator.db"), fatal).await.unwrap();
        store.write(leaf(0, 1)).await.unwrap();
        // One after the other into the queue, so that they share a transaction.
        let changes = [job(1, 10), leaf(0, 2), job(2, 10), leaf(1, 3)];
        let results: Vec<_> = {
            let mut set = tokio::task::JoinSet::new();
            for (i, change) in changes.into_iter().enumerate() {
                let store = store.clone();
                set.spawn(async move { (i, store.write(change).await.map_err(|f| f.code)) });
            }
            let mut all = set.join_all().await;
            all.sort_by_key(|(i, _)| *i);
            all.into_iter().map(|(_, result)| result).collect()
        };
        assert_eq!(results, [Ok(true), Err(Code::Internal), Ok(true), Ok(true)]);
        assert_eq!(store.leaves().await.unwrap(), 2);
        assert_eq!(store.head().await.unwrap(), Some((vec![3], UnixMillis(1))));
        assert!(reports.try_recv().is_err());
        drop(store);
        writer.finish().await;
    }
}
