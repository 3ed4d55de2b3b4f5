//! The node's database: SQLite, write-ahead log, every commit synced, one writer at a time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, Transaction};
use tacit_crypto::Statement;
use tacit_engine::{Terminal, WorkerJob};
use tacit_governance::{DatasetDescriptor, PartyCard, SignedContract};
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, JobId, NodeId, StatementId, UnixMillis, wire};
use tokio::sync::watch;

mod alignments;
mod asked;
mod asserted;
mod attestations;
mod bounds;
mod datasets;
mod evidence;
mod forgotten;
mod links;
mod memos;
mod models;
mod online;
mod orders;
mod party_rotations;
mod privacy;
mod promises;
mod recounted;
mod row_sets;

pub use alignments::{Counted, Past, With};
pub use asked::Limit;
pub use asserted::AssertedRow;
pub use attestations::AttestationRow;
pub use datasets::DatasetRow;
pub use evidence::{EVIDENCE_ROWS_MAX, EvidenceRow};
pub use forgotten::Forgotten;
pub use links::{LinkRow, Links};
pub use memos::{Due, DueRow, LackingRow, MEMO_LATE_MS, MemoRow};
pub use models::ModelRow;
pub use online::{
    CALLERS_MAX, CALLS_KEPT_MAX, CallRow, CallerRow, PUBLISHED_MAX, PublishedRow, WINDOWS_KEPT_MAX, WindowRow,
};
pub use orders::{ORDERS_MAX, STOPS_MAX};

pub use privacy::{Noisy, SpentRow};
pub use promises::{PROMISE_ROWS_MAX, PromiseRow, PromiseStanding};
pub use recounted::Recounted;

pub use row_sets::{ExactQuestion, ROW_SETS_DAYS, ROW_SETS_MAX, ROW_SETS_SHARE};

pub use bounds::{EGRESS_ROWS_MAX, EXPIRED_KEPT_MS, OPEN_ROWS_MAX, REFUSED_ROWS_MAX};

/// Parties that a node keeps. Its coordinator names them; the node does not let it fill the disk.
pub const PARTIES_MAX: i64 = 8192;
/// Bytes of one stored job.
const JOB_STATE_BYTES_MAX: usize = 64 << 20;

/// The database of one node.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    failed: Arc<watch::Sender<Option<Fault>>>,
}

/// What an admitted job takes from a contract.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    /// The contract. One of its jobs is used.
    pub contract: ContractId,
    /// Rows of its allowance of scores.
    pub rows: u64,
}

/// What left the node under one heading.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EgressRow {
    /// The job; zeroes for jobs long past, added up.
    pub job: String,
    /// The peer's name or short id.
    pub peer: String,
    /// What kind of bytes.
    pub kind: String,
    /// Payload bytes.
    pub bytes: u64,
}

/// Turns a database error into a fault: full disk, damage, or another failure.
pub fn fault(error: &sqlx::Error) -> Fault {
    /// Growing the shared index on a full disk.
    const SHMSIZE: &str = "4874";
    let text = error.to_string();
    let code = match error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned())).as_deref() {
        Some(SHMSIZE) => Code::StoreFull,
        // The low byte is the primary result code: 13 full, 11 corrupt, 26 not a database.
        Some(code) => match code.parse::<u32>().unwrap_or(0) & 0xff {
            13 => Code::StoreFull,
            11 | 26 => Code::StoreCorrupt,
            5 | 6 => Code::StoreLocked,
            _ => Code::StoreFailed,
        },
        None if matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => Code::StoreCorrupt,
        None => Code::StoreFailed,
    };
    Fault::new(code, text)
}

fn corrupt(what: &str) -> Fault {
    Fault::new(Code::StoreCorrupt, format!("node.db: {what}"))
}

fn id32(bytes: &[u8], what: &str) -> Result<[u8; 32], Fault> {
    bytes.try_into().map_err(|_| corrupt(what))
}

type Result<T, E = Fault> = core::result::Result<T, E>;

/// An open transaction.
pub struct Tx<'a>(Transaction<'a, Sqlite>, &'a watch::Sender<Option<Fault>>);

/// Notes a failure after which nobody knows what the disk holds: only a restart finds out. A full disk
/// passes, and what was to be written is known not to be there.
fn note(failed: &watch::Sender<Option<Fault>>, error: &sqlx::Error) -> Fault {
    let fault = fault(error);
    let closed = matches!(error, sqlx::Error::PoolClosed);
    if matches!(fault.code, Code::StoreFailed | Code::StoreCorrupt) && !closed {
        failed.send_if_modified(|first| first.replace(fault.clone()).is_none());
    }
    fault
}

/// Connections that a full disk may leave unusable one after the other before it counts as a failure.
const STALE_CONNECTIONS: usize = 16;

impl Store {
    /// Opens or creates the database and checks it.
    ///
    /// # Errors
    /// `store.corrupt`, `store.full`, `store.failed`.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(|e| fault(&e))?;
        let check: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&pool).await.map_err(|e| fault(&e))?;
        if check != "ok" {
            return Err(corrupt(&check));
        }
        sqlx::migrate!("./migrations").run(&pool).await.map_err(|e| match e {
            sqlx::migrate::MigrateError::Execute(e) => fault(&e),
            other => Fault::new(Code::StoreFailed, format!("{}: {other}", path.display())),
        })?;
        Ok(Self { pool, failed: Arc::new(watch::channel(None).0) })
    }

    /// Resolves once a write has failed in such a way that the process must end, with the reason.
    pub async fn failed(&self) -> Fault {
        let mut failed = self.failed.subscribe();
        let fault = failed.wait_for(Option::is_some).await.ok().and_then(|f| f.clone());
        match fault {
            Some(fault) => fault,
            None => std::future::pending().await,
        }
    }

    fn note(&self, error: &sqlx::Error) -> Fault {
        note(&self.failed, error)
    }

    /// Closes it, with everything in the main file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that takes the write lock at once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<Tx<'_>> {
        let begin = || self.pool.begin_with("BEGIN IMMEDIATE");
        let mut tx = begin().await;
        // A full disk ends a transaction by itself, and then the connection's own count of them is wrong. While it is full
        // another task may have left the next connection so before this one begins.
        for _ in 0..STALE_CONNECTIONS {
            if !matches!(tx, Err(sqlx::Error::InvalidSavePointStatement)) {
                break;
            }
            let stale = self.pool.acquire().await.map_err(|e| self.note(&e))?;
            let _ = stale.close().await;
            tx = begin().await;
        }
        Ok(Tx(tx.map_err(|e| self.note(&e))?, &self.failed))
    }

    /// A value under a key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(key)
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| fault(&e))
    }

    /// Keeps a value under a key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_meta(&self, key: &str, value: &[u8]) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.set_meta(key, value).await?;
        tx.commit().await
    }

    /// Every party known, with its address.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn parties(&self) -> Result<Vec<(Vec<u8>, PartyCard, String)>> {
        let rows = sqlx::query("SELECT card, address FROM parties ORDER BY name")
            .fetch_all(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        rows.into_iter()
            .map(|row| {
                let card: Vec<u8> = row.get(0);
                let body = PartyCard::verify(&card).map_err(|f| corrupt(&f.what))?.into_body();
                Ok((card, body, row.get(1)))
            })
            .collect()
    }

    /// Takes a party in. A root that is known keeps its node key: another under it is refused. Of its cards the one that it
    /// signed last stays, whoever brings an older one, which may show a witness key of before; the address is new.
    ///
    /// # Errors
    /// `net.fingerprint` for other keys under a known root; `net.refused` past [`PARTIES_MAX`].
    pub async fn put_party(&self, card: &[u8], address: &str) -> Result<()> {
        let body = PartyCard::verify(card)?.into_body();
        let mut tx = self.begin().await?;
        let known: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT node, card FROM parties WHERE root = ?")
            .bind(body.root.0.as_slice())
            .fetch_optional(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        if known.is_none() {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM parties")
                .fetch_one(&mut *tx.0)
                .await
                .map_err(|e| fault(&e))?;
            if count >= PARTIES_MAX {
                return Err(Fault::new(Code::NetRefused, format!("{PARTIES_MAX} parties are kept; no more are taken")));
            }
        }
        let mut card = card;
        if let Some((node, kept)) = &known {
            if *node != body.node.0 {
                let what = format!("{} shows another node key than before", body.name);
                return Err(Fault::new(Code::NetFingerprint, what));
            }
            if PartyCard::verify(kept)?.body().issued_at >= body.issued_at {
                card = kept;
            }
        }
        sqlx::query(
            "INSERT INTO parties (root, node, name, card, address) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (root) DO UPDATE SET card = excluded.card, address = excluded.address",
        )
        .bind(body.root.0.as_slice())
        .bind(body.node.0.as_slice())
        .bind(body.name.as_str())
        .bind(card)
        .bind(address)
        .execute(&mut *tx.0)
        .await
        .map_err(|e| fault(&e))?;
        tx.commit().await
    }

    /// Keeps signatures over contracts; repeats change nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_contract(&self, contract: &SignedContract) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.put_contract(contract).await?;
        tx.commit().await
    }

    /// Every contract of which a signature is kept.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` when a kept signature no longer verifies.
    pub async fn contracts(&self) -> Result<Vec<SignedContract>> {
        let mut tx = self.begin().await?;
        tx.contracts().await
    }

    /// Revokes a contract as its owner.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke(&self, contract: &ContractId, at: UnixMillis) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.revoke(contract, at).await?;
        tx.commit().await
    }

    /// Contracts that the owner has revoked, and when.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revocations(&self) -> Result<Vec<(ContractId, UnixMillis)>> {
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as("SELECT contract, at FROM revocations ORDER BY at")
            .fetch_all(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        let one = |(bytes, at): &(Vec<u8>, i64)| {
            Ok((ContractId(id32(bytes, "a revocation")?), UnixMillis(u64::try_from(*at).unwrap_or_default())))
        };
        rows.iter().map(one).collect()
    }

    /// A job.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn job(&self, id: &JobId) -> Result<Option<WorkerJob>> {
        let mut tx = self.begin().await?;
        tx.job(id).await
    }

    /// Takes the end of a job. The job is read where it is written, so that nothing which happened to it
    /// since the end was asked for is undone. Whether the job is known here.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn close_job(&self, id: &JobId, terminal: Terminal) -> Result<bool> {
        let mut tx = self.begin().await?;
        let Some(mut job) = tx.job(id).await? else { return Ok(false) };
        job.close(terminal);
        if !job.owed {
            tx.forget_asserted(id).await?;
        }
        tx.put_job(id, &job).await?;
        tx.forget_records(id).await?;
        tx.fold_egress().await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The id of every job, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn job_ids(&self) -> Result<Vec<JobId>> {
        let sql = "SELECT id FROM jobs ORDER BY seen_at DESC, rowid DESC";
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.iter().map(|bytes| id32(bytes, "a job's id").map(JobId)).collect()
    }

    /// Keeps a protocol's record and returns once it is durable.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_record(&self, job: &JobId, attempt: u32, ticket: u64, record: &[u8]) -> Result<()> {
        sqlx::query("INSERT INTO protocol_records (job, attempt, ticket, record) VALUES (?, ?, ?, ?)")
            .bind(job.0.as_slice())
            .bind(i64::from(attempt))
            .bind(ticket as i64)
            .bind(record)
            .execute(&self.pool)
            .await
            .map(|_| ())
            .map_err(|e| self.note(&e))
    }

    /// Adds to the egress ledger.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_egress(&self, job: &JobId, entries: &[(NodeId, &'static str, u64)]) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.add_egress(job, entries).await?;
        tx.commit().await
    }

    /// The egress ledger.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn egress(&self) -> Result<Vec<EgressRow>> {
        let rows = sqlx::query(
            "SELECT e.job, COALESCE(p.name, lower(hex(substr(e.peer, 1, 4)))), e.kind, e.bytes \
             FROM (SELECT job, peer, kind, bytes FROM egress \
             UNION ALL SELECT zeroblob(32), peer, kind, bytes FROM egress_before) e \
             LEFT JOIN parties p ON p.node = e.peer ORDER BY e.job, 2, e.kind",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| fault(&e))?;
        rows.into_iter()
            .map(|row| {
                let job = JobId(id32(&row.get::<Vec<u8>, _>(0), "an egress row")?);
                Ok(EgressRow {
                    job: job.to_string(),
                    peer: row.get(1),
                    kind: row.get(2),
                    bytes: row.get::<i64, _>(3).unsigned_abs(),
                })
            })
            .collect()
    }
}

fn decode_job(bytes: &[u8]) -> Result<WorkerJob> {
    wire::decode_capped(bytes, JOB_STATE_BYTES_MAX).map_err(|e| corrupt(&format!("a job: {e}")))
}

impl Tx<'_> {
    /// Makes everything durable.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(self) -> Result<()> {
        let Self(tx, failed) = self;
        tx.commit().await.map_err(|e| note(failed, &e))
    }

    /// Keeps a value under a key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<()> {
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *self.0)
        .await
        .map(|_| ())
        .map_err(|e| fault(&e))
    }

    /// A value under a key.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn meta(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT value FROM meta WHERE key = ?")
            .bind(key)
            .fetch_optional(&mut *self.0)
            .await
            .map_err(|e| fault(&e))
    }

    /// A job.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn job(&mut self, id: &JobId) -> Result<Option<WorkerJob>> {
        let state: Option<Vec<u8>> = sqlx::query_scalar("SELECT state FROM jobs WHERE id = ?")
            .bind(id.0.as_slice())
            .fetch_optional(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        state.map(|bytes| decode_job(&bytes)).transpose()
    }

    /// Takes a job in. `contract` is the contract whose quota it uses; `None` for a refused one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn insert_job(
        &mut self,
        id: &JobId,
        job: &WorkerJob,
        contract: Option<Charge>,
        expires: UnixMillis,
        now: UnixMillis,
    ) -> Result<()> {
        let sql =
            "INSERT INTO jobs (id, state, contract, open, seen_at, expires, scored_rows) VALUES (?, ?, ?, 1, ?, ?, ?)";
        sqlx::query(sql)
            .bind(id.0.as_slice())
            .bind(wire::encode(job))
            .bind(contract.map(|c| c.contract.0.to_vec()))
            .bind(now.0 as i64)
            .bind(i64::try_from(expires.0).unwrap_or(i64::MAX))
            .bind(contract.map_or(0, |c| i64::try_from(c.rows).unwrap_or(i64::MAX)))
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Keeps the new state of a job that is there.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_job(&mut self, id: &JobId, job: &WorkerJob) -> Result<()> {
        // A question that got no answer may be asked again.
        let unanswered = job.terminal.as_ref().is_some_and(|end| *end != Terminal::Succeeded);
        let sql = "UPDATE jobs SET state = ?, open = ?, reported = ?, owed = ?, \
                   question = CASE WHEN ? THEN NULL ELSE question END WHERE id = ?";
        sqlx::query(sql)
            .bind(wire::encode(job))
            .bind(i64::from(job.terminal.is_none()))
            .bind(i64::from(job.reported))
            .bind(i64::from(job.owed))
            .bind(unanswered)
            .bind(id.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }

    /// Adds to the egress ledger.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn add_egress(&mut self, job: &JobId, entries: &[(NodeId, &'static str, u64)]) -> Result<()> {
        for (peer, kind, bytes) in entries {
            sqlx::query(
                "INSERT INTO egress (job, peer, kind, bytes) VALUES (?, ?, ?, ?) \
                 ON CONFLICT (job, peer, kind) DO UPDATE SET bytes = bytes + excluded.bytes",
            )
            .bind(job.0.as_slice())
            .bind(peer.0.as_slice())
            .bind(*kind)
            .bind(*bytes as i64)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        }
        Ok(())
    }

    /// Jobs counted against a contract, those that only the log shows among them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn jobs_used(&mut self, contract: &ContractId) -> Result<u64> {
        let sql = "SELECT (SELECT count(*) FROM jobs WHERE contract = ?1) \
                   + (SELECT count(*) FROM recounted WHERE contract = ?1)";
        let n: i64 =
            sqlx::query_scalar(sql).bind(contract.0.as_slice()).fetch_one(&mut *self.0).await.map_err(|e| fault(&e))?;
        Ok(n.unsigned_abs())
    }

    /// The descriptor of a dataset version.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` when it no longer verifies.
    pub async fn descriptor(&mut self, id: &DatasetVersionId) -> Result<Option<DatasetDescriptor>> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar("SELECT descriptor FROM datasets WHERE id = ?")
            .bind(id.0.as_slice())
            .fetch_optional(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        bytes
            .map(|b| {
                Statement::<DatasetDescriptor>::verify(&b)
                    .map(Statement::into_body)
                    .map_err(|e| corrupt(&e.to_string()))
            })
            .transpose()
    }

    /// As [`Store::revoke`].
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke(&mut self, contract: &ContractId, at: UnixMillis) -> Result<()> {
        let done = sqlx::query("INSERT OR IGNORE INTO revocations (contract, at) VALUES (?, ?)")
            .bind(contract.0.as_slice())
            .bind(at.0 as i64)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        match done.rows_affected() {
            0 => Ok(()),
            _ => self.memo_due(&Due::Revoked(*contract)).await,
        }
    }

    /// Contracts that the owner has revoked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoked(&mut self) -> Result<Vec<ContractId>> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT contract FROM revocations")
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        rows.iter().map(|bytes| id32(bytes, "a revocation").map(ContractId)).collect()
    }

    /// Every contract of which a signature is kept.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` when a kept signature no longer verifies.
    pub async fn contracts(&mut self) -> Result<Vec<SignedContract>> {
        let rows = sqlx::query("SELECT contract, statement FROM contract_signatures ORDER BY contract")
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let mut grouped: Vec<(Vec<u8>, Vec<Vec<u8>>)> = Vec::new();
        for row in rows {
            let (contract, statement): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
            match grouped.last_mut() {
                Some((id, list)) if *id == contract => list.push(statement),
                _ => grouped.push((contract, vec![statement])),
            }
        }
        grouped
            .iter()
            .map(|(_, list)| SignedContract::collect(list.iter().map(Vec::as_slice)).map_err(|f| corrupt(&f.what)))
            .collect()
    }

    /// Keeps signatures over a contract and approvals of it; repeats change nothing. A rejection takes the place of the same
    /// key's approval, and never the other way.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_contract(&mut self, contract: &SignedContract) -> Result<()> {
        let mut news = false;
        for (signer, statement) in contract.statements() {
            let sql = match contract.rejected_by(&signer) {
                false => "INSERT OR IGNORE INTO contract_signatures (contract, signer, statement) VALUES (?, ?, ?)",
                true => {
                    "INSERT INTO contract_signatures (contract, signer, statement) VALUES (?, ?, ?) \
                     ON CONFLICT (contract, signer) DO UPDATE SET statement = excluded.statement WHERE statement <> excluded.statement"
                }
            };
            let done = sqlx::query(sql)
                .bind(contract.id().0.as_slice())
                .bind(signer.0.as_slice())
                .bind(statement)
                .execute(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
            news |= done.rows_affected() > 0;
        }
        match news {
            true => self.memo_due(&Due::Contract(contract.id())).await,
            false => Ok(()),
        }
    }

    /// The issuer's chain: number and id of the last attestation.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn chain(&mut self) -> Result<Option<(u64, StatementId)>> {
        let Some(bytes) = self.meta("chain").await? else { return Ok(None) };
        wire::decode::<(u64, [u8; 32])>(&bytes)
            .map(|(seq, id)| Some((seq, StatementId(id))))
            .map_err(|e| corrupt(&format!("the attestation chain: {e}")))
    }

    /// Moves the issuer's chain on.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_chain(&mut self, seq: u64, id: StatementId) -> Result<()> {
        self.set_meta("chain", &wire::encode(&(seq, id.0))).await
    }

    /// The latest time that this node has acted at, moved on to `now`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn high_water(&mut self, now: UnixMillis) -> Result<UnixMillis> {
        let before = match self.meta("high_water").await? {
            Some(bytes) => wire::decode::<UnixMillis>(&bytes).map_err(|e| corrupt(&format!("the clock: {e}")))?,
            None => UnixMillis(0),
        };
        if now > before {
            self.set_meta("high_water", &wire::encode(&now)).await?;
        }
        Ok(before)
    }
}
