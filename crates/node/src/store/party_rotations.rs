//! Changes of parties' keys that the log has.

use sqlx::Row;
use tacit_crypto::Statement;
use tacit_receipts::KeyHistory;

use super::{Result, Store, Tx, corrupt, fault};

impl Store {
    /// The keys that parties and witnesses have had, as far as the log was read.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` for changes that do not follow.
    pub async fn party_keys(&self, origin: &str) -> Result<KeyHistory> {
        let rows = sqlx::query("SELECT leaf, statement FROM party_rotations ORDER BY leaf")
            .fetch_all(&self.pool)
            .await
            .map_err(|e| fault(&e))?;
        let mut keys = KeyHistory::new(origin);
        for row in rows {
            let (leaf, bytes): (i64, Vec<u8>) = (row.get(0), row.get(1));
            let change = Statement::verify(&bytes).map_err(|e| corrupt(&e.to_string()))?;
            keys.follow_any(&change, Some(leaf as u64)).map_err(|f| corrupt(&f.what))?;
        }
        Ok(keys)
    }
}

impl Tx<'_> {
    /// Keeps a change that the log has at a leaf.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_party_rotation(&mut self, leaf: u64, statement: &[u8]) -> Result<()> {
        sqlx::query("INSERT INTO party_rotations (leaf, statement) VALUES (?, ?) ON CONFLICT (leaf) DO NOTHING")
            .bind(leaf as i64)
            .bind(statement)
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }
}
