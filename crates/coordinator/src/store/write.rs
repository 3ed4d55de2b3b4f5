//! The changes that the daemon makes, each whole or not at all.

use sqlx::SqliteConnection;
use tacit_net::invite::Grant;
use tacit_receipts::money::ledger::Cut;
use tacit_types::wire::Blob;
use tacit_types::{ContractId, DatasetVersionId, Hash, JobId, NodeId, UnixMillis};

use super::read::PartyRow;

/// The place of a leaf.
#[derive(Clone, Debug)]
pub(crate) struct LeafRow {
    pub place: u64,
    pub hash: Hash,
    /// For a receipt, its job.
    pub job: Option<JobId>,
}

/// The close of a period.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloseRow {
    pub cut: Cut,
    /// Whether everything that it calls for is in the log.
    pub done: bool,
}

/// One change.
#[derive(Debug)]
pub(crate) enum Change {
    /// A job that was submitted, and whose nodes it concerns. `false` when it is there.
    InsertJob { id: JobId, signer: NodeId, nodes: Vec<NodeId>, state: String, at: UnixMillis, value: Vec<u8> },
    /// What nodes answered to a job. The last answer of a node stands.
    PutAnswers { id: JobId, answers: Vec<(NodeId, Blob)> },
    /// A job's next state.
    PutJob { id: JobId, state: String, over: bool, value: Vec<u8> },
    /// An invitation was redeemed. `false` when it is not there any more, or is another's.
    Enrol { hash: Hash, party: PartyRow },
    /// An invitation was made.
    Invite(Grant),
    /// Invitations are over.
    Uninvite(Vec<Hash>),
    /// A node is counted as one that has never come.
    Away { node: NodeId },
    /// What a node says of itself.
    Register { node: NodeId, address: String, slots: u32, datasets: Vec<(DatasetVersionId, Blob)> },
    /// Signatures over a contract and approvals of it; with `true`, one that takes the place of what its signer said before.
    PutContract(Vec<(ContractId, NodeId, Blob, bool)>),
    /// The log has grown to a signed head; `keys` is the hash of the key event in force.
    Append { leaves: Vec<LeafRow>, head: Vec<u8>, at: UnixMillis, keys: Option<Hash> },
    /// The close of a period was begun, or is done.
    PutClose(CloseRow),
    /// A single value.
    PutMeta { key: &'static str, value: Vec<u8> },
}

/// SQLite's integers are signed; times and places stay far below that.
fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Change {
    pub(super) async fn apply(&self, db: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        match self {
            Change::InsertJob { id, signer, nodes, state, at, value } => {
                let sql = "INSERT INTO jobs (id, signer, state, over, submitted_at, value)
                    VALUES (?, ?, ?, 0, ?, ?) ON CONFLICT (id) DO NOTHING";
                let query = sqlx::query(sql).bind(&id.0[..]).bind(&signer.0[..]).bind(state);
                let done = query.bind(integer(at.0)).bind(value).execute(&mut *db).await?;
                if done.rows_affected() == 0 {
                    return Ok(false);
                }
                for node in nodes {
                    let sql = "INSERT INTO job_nodes (node, job) VALUES (?, ?) ON CONFLICT DO NOTHING";
                    sqlx::query(sql).bind(&node.0[..]).bind(&id.0[..]).execute(&mut *db).await?;
                }
                Ok(true)
            }
            Change::PutAnswers { id, answers } => {
                for (node, statement) in answers {
                    let sql = "INSERT INTO answers (job, node, statement) VALUES (?, ?, ?)
                        ON CONFLICT (job, node) DO UPDATE SET statement = excluded.statement";
                    let query = sqlx::query(sql).bind(&id.0[..]).bind(&node.0[..]).bind(&statement.0);
                    query.execute(&mut *db).await?;
                }
                Ok(!answers.is_empty())
            }
            Change::PutJob { id, state, over, value } => {
                let query = sqlx::query("UPDATE jobs SET state = ?, over = ?, value = ? WHERE id = ?");
                let done = query.bind(state).bind(over).bind(value).bind(&id.0[..]).execute(db).await?;
                Ok(done.rows_affected() == 1)
            }
            Change::Enrol { hash, party } => enrol(db, hash, party).await,
            Change::Invite(grant) => {
                let query = sqlx::query("INSERT INTO invitations (hash, name, role, expires) VALUES (?, ?, ?, ?)");
                let query = query.bind(&grant.hash.0[..]).bind(grant.name.as_str()).bind(grant.role.text());
                query.bind(integer(grant.expires.0)).execute(db).await?;
                Ok(true)
            }
            Change::Uninvite(hashes) => {
                for hash in hashes {
                    sqlx::query("DELETE FROM invitations WHERE hash = ?").bind(&hash.0[..]).execute(&mut *db).await?;
                }
                Ok(!hashes.is_empty())
            }
            Change::Register { node, address, slots, datasets } => {
                let query = sqlx::query("UPDATE parties SET address = ?, slots = ? WHERE node = ?");
                query.bind(address).bind(slots).bind(&node.0[..]).execute(&mut *db).await?;
                sqlx::query("DELETE FROM datasets WHERE node = ?").bind(&node.0[..]).execute(&mut *db).await?;
                for (id, descriptor) in datasets {
                    let sql =
                        "INSERT INTO datasets (id, node, descriptor) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING";
                    let query = sqlx::query(sql).bind(&id.0[..]).bind(&node.0[..]);
                    query.bind(&descriptor.0).execute(&mut *db).await?;
                }
                Ok(true)
            }
            Change::Away { node } => {
                let query = sqlx::query("UPDATE parties SET slots = 0 WHERE node = ?").bind(&node.0[..]);
                Ok(query.execute(db).await?.rows_affected() == 1)
            }
            Change::PutContract(signatures) => {
                let mut fresh = false;
                for (id, signer, statement, replaces) in signatures {
                    let sql = match replaces {
                        false => {
                            "INSERT INTO contracts (id, signer, statement) VALUES (?, ?, ?) ON CONFLICT (id, signer) DO NOTHING"
                        }
                        true => {
                            "INSERT INTO contracts (id, signer, statement) VALUES (?, ?, ?) \
                             ON CONFLICT (id, signer) DO UPDATE SET statement = excluded.statement"
                        }
                    };
                    let query = sqlx::query(sql).bind(&id.0[..]).bind(&signer.0[..]).bind(&statement.0);
                    fresh |= query.execute(&mut *db).await?.rows_affected() == 1;
                }
                Ok(fresh)
            }
            Change::Append { leaves, head, at, keys } => {
                for leaf in leaves {
                    let sql = "INSERT INTO leaves (place, hash, job) VALUES (?, ?, ?)";
                    let query = sqlx::query(sql).bind(integer(leaf.place)).bind(&leaf.hash.0[..]);
                    query.bind(leaf.job.map(|job| job.0.to_vec())).execute(&mut *db).await?;
                }
                put_meta(db, super::read::HEAD, head).await?;
                put_meta(db, super::read::HEAD_AT, &at.0.to_be_bytes()).await?;
                if let Some(keys) = keys {
                    put_meta(db, super::read::KEYS_EVENT, &keys.0).await?;
                }
                Ok(true)
            }
            Change::PutClose(CloseRow { cut, done }) => {
                let sql = "INSERT INTO closes (until, as_of, done) VALUES (?, ?, ?)
                    ON CONFLICT (until) DO UPDATE SET done = excluded.done";
                let query = sqlx::query(sql).bind(integer(cut.until.0)).bind(integer(cut.as_of)).bind(*done);
                query.execute(db).await?;
                Ok(true)
            }
            Change::PutMeta { key, value } => put_meta(db, key, value).await.map(|()| true),
        }
    }
}

async fn put_meta(db: &mut SqliteConnection, key: &str, value: &[u8]) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(key).bind(value).execute(db).await.map(|_| ())
}

/// The code is used up in the transaction that makes its bearer known: neither without the other.
async fn enrol(db: &mut SqliteConnection, hash: &Hash, party: &PartyRow) -> Result<bool, sqlx::Error> {
    let sql = "UPDATE invitations SET used_by = ? WHERE hash = ? AND (used_by IS NULL OR used_by = ?)";
    let query = sqlx::query(sql).bind(&party.node.0[..]).bind(&hash.0[..]).bind(&party.node.0[..]);
    let used = query.execute(&mut *db).await?;
    if used.rows_affected() == 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO parties (name, root, node, card, address, slots) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET address = excluded.address WHERE card = excluded.card";
    let query = sqlx::query(sql).bind(party.name.as_str()).bind(&party.root.0[..]).bind(&party.node.0[..]);
    query.bind(&party.card.0).bind(&party.address).bind(party.slots).execute(db).await?;
    Ok(true)
}
