//! What the daemon reads back.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tacit_engine::Job;
use tacit_net::invite::Grant;
use tacit_receipts::money::ledger::Cut;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, ContractId, Fault, Hash, JobId, Name, NodeId, UnixMillis};

use super::{Store, fault};
use crate::limits::{ANSWER_BYTES_MAX, CONTRACTS_MAX, JOB_ROW_BYTES_MAX};

/// Meta: the newest checkpoint note that the log signed.
pub(super) const HEAD: &str = "head";
/// Meta: the time of its append, milliseconds, big-endian.
pub(super) const HEAD_AT: &str = "head_at";

/// Meta: the hash of the key event in force.
pub(super) const KEYS_EVENT: &str = "keys_event";

/// A party as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PartyRow {
    pub name: Name,
    pub root: NodeId,
    pub node: NodeId,
    pub card: Blob,
    pub address: String,
    pub slots: u32,
}

/// Whose jobs are listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// All.
    Everybody,
    /// Those that one of two keys of an operator signed.
    Signer(NodeId, NodeId),
    /// Those with a seat for a node, and those that it signed, with its own key or its root's.
    Party(NodeId, NodeId),
}

fn corrupt(what: impl Into<String>) -> Fault {
    Fault::new(Code::StoreCorrupt, what)
}

fn blob(row: &SqliteRow, column: &str) -> Result<Vec<u8>, Fault> {
    row.try_get(column).map_err(fault)
}

fn id(row: &SqliteRow, column: &str) -> Result<[u8; 32], Fault> {
    blob(row, column)?.try_into().map_err(|_| corrupt(format!("coordinator.db: {column} is not 32 bytes")))
}

fn name(row: &SqliteRow) -> Result<Name, Fault> {
    let text: String = row.try_get("name").map_err(fault)?;
    Name::new(&text).map_err(|f| corrupt(format!("coordinator.db: a name: {}", f.what)))
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, Fault> {
    let n: i64 = row.try_get(column).map_err(fault)?;
    u64::try_from(n).map_err(|_| corrupt(format!("coordinator.db: {column} is negative")))
}

fn job(row: &SqliteRow) -> Result<Job, Fault> {
    let id = JobId(id(row, "id")?);
    let job: Job = wire::decode_capped(&blob(row, "value")?, JOB_ROW_BYTES_MAX)
        .map_err(|e| corrupt(format!("coordinator.db: job {}: {e}", id.short())))?;
    if job.id() == id { Ok(job) } else { Err(corrupt(format!("coordinator.db: job {} holds another", id.short()))) }
}

impl Store {
    pub(crate) async fn parties(&self) -> Result<Vec<PartyRow>, Fault> {
        let sql = "SELECT name, root, node, card, address, slots FROM parties ORDER BY seq";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(fault)?;
        let row = |row: &SqliteRow| {
            Ok(PartyRow {
                name: name(row)?,
                root: NodeId(id(row, "root")?),
                node: NodeId(id(row, "node")?),
                card: Blob(blob(row, "card")?),
                address: row.try_get("address").map_err(fault)?,
                slots: row.try_get("slots").map_err(fault)?,
            })
        };
        rows.iter().map(row).collect()
    }

    pub(crate) async fn invitations(&self) -> Result<Vec<Grant>, Fault> {
        let rows = sqlx::query("SELECT hash, name, role, expires, used_by FROM invitations");
        let rows = rows.fetch_all(&self.readers).await;
        let grant = |row: &SqliteRow| {
            let role: String = row.try_get("role").map_err(fault)?;
            Ok(Grant {
                hash: Hash(id(row, "hash")?),
                expires: UnixMillis(unsigned(row, "expires")?),
                role: role.parse().map_err(|_| corrupt("coordinator.db: a role"))?,
                name: name(row)?,
                used_by: match row.try_get::<Option<Vec<u8>>, _>("used_by").map_err(fault)? {
                    Some(_) => Some(NodeId(id(row, "used_by")?)),
                    None => None,
                },
            })
        };
        rows.map_err(fault)?.iter().map(grant).collect()
    }

    /// Signed dataset descriptors, as many as an answer holds.
    pub(crate) async fn datasets(&self) -> Result<Vec<Blob>, Fault> {
        let sql = "SELECT descriptor FROM datasets ORDER BY node, id";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(fault)?;
        let mut left = ANSWER_BYTES_MAX;
        let mut descriptors = Vec::new();
        for row in rows {
            let descriptor = blob(&row, "descriptor")?;
            let Some(rest) = left.checked_sub(descriptor.len() + 8) else {
                tracing::warn!(shown = descriptors.len(), "there are more datasets than an answer holds");
                break;
            };
            left = rest;
            descriptors.push(Blob(descriptor));
        }
        Ok(descriptors)
    }

    /// The signatures over a contract.
    pub(crate) async fn contract(&self, contract: &ContractId) -> Result<Vec<Blob>, Fault> {
        let sql = "SELECT statement FROM contracts WHERE id = ? ORDER BY signer";
        let rows = sqlx::query(sql).bind(&contract.0[..]).fetch_all(&self.readers).await.map_err(fault)?;
        rows.iter().map(|row| blob(row, "statement").map(Blob)).collect()
    }

    /// What nodes answered to a job, in the order of their keys.
    pub(crate) async fn answers(&self, job: &JobId) -> Result<Vec<(NodeId, Blob)>, Fault> {
        let sql = "SELECT node, statement FROM answers WHERE job = ? ORDER BY node";
        let rows = sqlx::query(sql).bind(&job.0[..]).fetch_all(&self.readers).await.map_err(fault)?;
        rows.iter().map(|row| Ok((NodeId(id(row, "node")?), Blob(blob(row, "statement")?)))).collect()
    }

    /// Ids of all contracts, newest last.
    pub(crate) async fn contracts(&self) -> Result<Vec<ContractId>, Fault> {
        let sql = "SELECT id FROM contracts GROUP BY id ORDER BY min(rowid) LIMIT ?";
        let query = sqlx::query(sql).bind(i64::try_from(CONTRACTS_MAX).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await.map_err(fault)?;
        rows.iter().map(|row| id(row, "id").map(ContractId)).collect()
    }

    /// Jobs for which something is left to do, oldest first.
    pub(crate) async fn open_jobs(&self) -> Result<Vec<Job>, Fault> {
        let sql = "SELECT id, value FROM jobs WHERE over = 0 ORDER BY seq";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(fault)?;
        rows.iter().map(job).collect()
    }

    pub(crate) async fn job(&self, id: &JobId) -> Result<Option<Job>, Fault> {
        let sql = "SELECT id, value FROM jobs WHERE id = ?";
        let row = sqlx::query(sql).bind(&id.0[..]).fetch_optional(&self.readers).await.map_err(fault)?;
        row.as_ref().map(job).transpose()
    }

    pub(crate) async fn has_job(&self, id: &JobId) -> Result<bool, Fault> {
        let query = sqlx::query("SELECT 1 FROM jobs WHERE id = ?").bind(&id.0[..]);
        Ok(query.fetch_optional(&self.readers).await.map_err(fault)?.is_some())
    }

    /// Ids, newest first, of those submitted before one.
    pub(crate) async fn job_ids(&self, whose: &Whose, before: Option<JobId>, limit: u32) -> Result<Vec<JobId>, Fault> {
        let newest = "seq < COALESCE((SELECT seq FROM jobs WHERE id = ?), 9223372036854775807)";
        // A job that is not there is before nothing, as an unknown place in any list.
        let known = "(? IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE id = ?))";
        let rows = match whose {
            Whose::Everybody => format!("SELECT id FROM jobs WHERE {newest} AND {known} ORDER BY seq DESC LIMIT ?"),
            Whose::Signer(..) => {
                format!("SELECT id FROM jobs WHERE {newest} AND {known} AND signer IN (?, ?) ORDER BY seq DESC LIMIT ?")
            }
            Whose::Party(..) => format!(
                "SELECT id FROM jobs WHERE {newest} AND {known}
                 AND (id IN (SELECT job FROM job_nodes WHERE node = ?) OR signer IN (?, ?)) ORDER BY seq DESC LIMIT ?"
            ),
        };
        let before = before.map(|id| id.0.to_vec());
        let query = sqlx::query(sqlx::AssertSqlSafe(rows)).bind(before.clone()).bind(before.clone()).bind(before);
        let query = match whose {
            Whose::Everybody => query,
            Whose::Signer(one, other) => query.bind(one.0.to_vec()).bind(other.0.to_vec()),
            Whose::Party(node, root) => query.bind(node.0.to_vec()).bind(node.0.to_vec()).bind(root.0.to_vec()),
        };
        let rows = query.bind(limit).fetch_all(&self.readers).await.map_err(fault)?;
        rows.iter().map(|row| id(row, "id").map(JobId)).collect()
    }

    /// The place of a job's receipt.
    pub(crate) async fn receipt_place(&self, job: &JobId) -> Result<Option<u64>, Fault> {
        let query = sqlx::query("SELECT place FROM leaves WHERE job = ?").bind(&job.0[..]);
        let row = query.fetch_optional(&self.readers).await.map_err(fault)?;
        row.map(|row| unsigned(&row, "place")).transpose()
    }

    /// The place of a leaf by its hash.
    pub(crate) async fn leaf_place(&self, hash: &Hash) -> Result<Option<u64>, Fault> {
        let query = sqlx::query("SELECT place FROM leaves WHERE hash = ?").bind(&hash.0[..]);
        let row = query.fetch_optional(&self.readers).await.map_err(fault)?;
        row.map(|row| unsigned(&row, "place")).transpose()
    }

    /// Places that are known: leaves below this have a row.
    pub(crate) async fn leaves(&self) -> Result<u64, Fault> {
        let row = sqlx::query("SELECT count(*) AS n FROM leaves").fetch_one(&self.readers).await.map_err(fault)?;
        unsigned(&row, "n")
    }

    /// The place, leaf hash and job of every leaf from a place on, in order.
    pub(crate) async fn leaf_rows(&self, from: u64, limit: u32) -> Result<Vec<super::LeafRow>, Fault> {
        let sql = "SELECT place, hash, job FROM leaves WHERE place >= ? ORDER BY place LIMIT ?";
        let query = sqlx::query(sql).bind(i64::try_from(from).unwrap_or(i64::MAX)).bind(limit);
        let rows = query.fetch_all(&self.readers).await.map_err(fault)?;
        let row = |row: &SqliteRow| {
            let job: Option<Vec<u8>> = row.try_get("job").map_err(fault)?;
            let job = job.map(|job| job.try_into().map_err(|_| corrupt("coordinator.db: a leaf's job"))).transpose()?;
            Ok(super::LeafRow { place: unsigned(row, "place")?, hash: Hash(id(row, "hash")?), job: job.map(JobId) })
        };
        rows.iter().map(row).collect()
    }

    /// The close of a period with this end; without one, the last.
    pub(crate) async fn close_of(&self, until: Option<UnixMillis>) -> Result<Option<super::CloseRow>, Fault> {
        let sql = "SELECT until, as_of, done FROM closes WHERE until = COALESCE(?, (SELECT max(until) FROM closes))";
        let until = until.map(|until| i64::try_from(until.0).unwrap_or(i64::MAX));
        let row = sqlx::query(sql).bind(until).fetch_optional(&self.readers).await.map_err(fault)?;
        let close = |row: SqliteRow| {
            let cut = Cut { until: UnixMillis(unsigned(&row, "until")?), as_of: unsigned(&row, "as_of")? };
            Ok(super::CloseRow { cut, done: row.try_get("done").map_err(fault)? })
        };
        row.map(close).transpose()
    }

    pub(crate) async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        let query = sqlx::query("SELECT value FROM meta WHERE key = ?").bind(key);
        let row = query.fetch_optional(&self.readers).await.map_err(fault)?;
        row.map(|row| blob(&row, "value")).transpose()
    }

    /// The hash of the key event in force.
    pub(crate) async fn keys_event(&self) -> Result<Option<Hash>, Fault> {
        let hash = self.meta(KEYS_EVENT).await?;
        Ok(hash.and_then(|hash| hash.try_into().ok()).map(Hash))
    }

    /// The newest signed head and the time of its append.
    pub(crate) async fn head(&self) -> Result<Option<(Vec<u8>, UnixMillis)>, Fault> {
        let (Some(head), Some(at)) = (self.meta(HEAD).await?, self.meta(HEAD_AT).await?) else { return Ok(None) };
        let at = at.try_into().map_err(|_| corrupt("coordinator.db: the time of the log's head"))?;
        Ok(Some((head, UnixMillis(u64::from_be_bytes(at)))))
    }
}
