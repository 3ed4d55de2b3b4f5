//! What is published here, who may call, and what calls leave behind.

use tacit_receipts::Call;
use tacit_types::Hash;

use super::*;

/// Openings of calls that a node keeps; the oldest give way.
pub const CALLS_KEPT_MAX: i64 = 1 << 20;
/// Windows of which the hashes of the calls are kept; the oldest give way.
pub const WINDOWS_KEPT_MAX: i64 = 4096;
/// Models that one node publishes.
pub const PUBLISHED_MAX: usize = 64;
/// Callers that one node knows.
pub const CALLERS_MAX: usize = 1024;

/// A published model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedRow {
    /// Its name in the path.
    pub name: String,
    /// The body of the jobs that open its windows, canonical CBOR; each gets a nonce and times of its own.
    pub template: Vec<u8>,
    /// Milliseconds that a call waits for others.
    pub batch_ms: u64,
    /// When it was published.
    pub added_at: UnixMillis,
    /// What its node last said of it, JSON.
    pub status: String,
}

/// Who may call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerRow {
    /// What it is called here.
    pub name: String,
    /// Its key.
    pub key: NodeId,
    /// When it was enrolled.
    pub added_at: UnixMillis,
}

/// The opening of a call that was put to the owners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRow {
    /// Its window.
    pub job: JobId,
    /// Its number there.
    pub number: u64,
    /// The opening.
    pub call: Call,
    /// Who called.
    pub caller: String,
    /// When.
    pub at: UnixMillis,
}

/// A window that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowRow {
    /// Its job.
    pub job: JobId,
    /// The attempt.
    pub attempt: u32,
    /// The hashes of its calls.
    pub leaves: Vec<Hash>,
}

impl Store {
    /// Published models.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn published(&self) -> Result<Vec<PublishedRow>> {
        let sql = "SELECT name, template, batch_ms, added_at, status FROM published ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        let row = |row: sqlx::sqlite::SqliteRow| PublishedRow {
            name: row.get(0),
            template: row.get(1),
            batch_ms: row.get::<i64, _>(2).unsigned_abs(),
            added_at: UnixMillis(row.get::<i64, _>(3).unsigned_abs()),
            status: row.get(4),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Publishes a model, or replaces what was published under its name.
    ///
    /// # Errors
    /// `args.invalid` past [`PUBLISHED_MAX`]; those of the database.
    pub async fn publish(&self, row: &PublishedRow) -> Result<()> {
        let known = self.published().await?;
        if known.len() >= PUBLISHED_MAX && !known.iter().any(|p| p.name == row.name) {
            return Err(Fault::new(Code::ArgsInvalid, format!("{PUBLISHED_MAX} models are published already")));
        }
        sqlx::query(
            "INSERT OR REPLACE INTO published (name, template, batch_ms, added_at, status) VALUES (?, ?, ?, ?, '{}')",
        )
        .bind(&row.name)
        .bind(&row.template)
        .bind(row.batch_ms as i64)
        .bind(row.added_at.0 as i64)
        .execute(&self.pool)
        .await
        .map(|_| ())
        .map_err(|e| self.note(&e))
    }

    /// Takes a published model back. Whether there was one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unpublish(&self, name: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM published WHERE name = ?").bind(name).execute(&self.pool).await;
        done.map(|d| d.rows_affected() > 0).map_err(|e| self.note(&e))
    }

    /// Keeps what is to be shown of a published model.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_status(&self, name: &str, status: &str) -> Result<()> {
        let sql = "UPDATE published SET status = ? WHERE name = ?";
        let done = sqlx::query(sql).bind(status).bind(name).execute(&self.pool).await;
        done.map(|_| ()).map_err(|e| self.note(&e))
    }

    /// Who may call.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn callers(&self) -> Result<Vec<CallerRow>> {
        let sql = "SELECT name, key, added_at FROM callers ORDER BY name";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.into_iter()
            .map(|row| {
                Ok(CallerRow {
                    name: row.get(0),
                    key: NodeId(id32(&row.get::<Vec<u8>, _>(1), "a caller's key")?),
                    added_at: UnixMillis(row.get::<i64, _>(2).unsigned_abs()),
                })
            })
            .collect()
    }

    /// Enrols a caller.
    ///
    /// # Errors
    /// `args.invalid` for a name or a key that is known, and past [`CALLERS_MAX`]; those of the database.
    pub async fn add_caller(&self, row: &CallerRow) -> Result<()> {
        let known = self.callers().await?;
        if let Some(same) = known.iter().find(|c| c.name == row.name || c.key == row.key) {
            return Err(Fault::new(Code::ArgsInvalid, format!("caller {} has that name or key", same.name)));
        }
        if known.len() >= CALLERS_MAX {
            return Err(Fault::new(Code::ArgsInvalid, format!("{CALLERS_MAX} callers are known already")));
        }
        let sql = "INSERT INTO callers (name, key, added_at) VALUES (?, ?, ?)";
        let query = sqlx::query(sql).bind(&row.name).bind(row.key.0.as_slice()).bind(row.added_at.0 as i64);
        query.execute(&self.pool).await.map(|_| ()).map_err(|e| self.note(&e))
    }

    /// Forgets a caller. Whether it was known.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn remove_caller(&self, name: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM callers WHERE name = ?").bind(name).execute(&self.pool).await;
        done.map(|d| d.rows_affected() > 0).map_err(|e| self.note(&e))
    }

    /// Keeps the openings of calls.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_calls(&self, calls: &[CallRow]) -> Result<()> {
        let mut tx = self.begin().await?;
        for CallRow { job, number, call, caller, at } in calls {
            sqlx::query("INSERT OR IGNORE INTO calls (job, number, opening, caller, at) VALUES (?, ?, ?, ?, ?)")
                .bind(job.0.as_slice())
                .bind(*number as i64)
                .bind(tacit_crypto::cbor::encode(call))
                .bind(caller)
                .bind(at.0 as i64)
                .execute(&mut *tx.0)
                .await
                .map_err(|e| fault(&e))?;
        }
        sqlx::query("DELETE FROM calls WHERE rowid <= (SELECT max(rowid) FROM calls) - ?")
            .bind(CALLS_KEPT_MAX)
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.commit().await
    }

    /// The newest calls.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn calls(&self, limit: u32) -> Result<Vec<CallRow>> {
        let sql = "SELECT job, number, opening, caller, at FROM calls ORDER BY rowid DESC LIMIT ?";
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.iter().map(call_row).collect()
    }

    /// One call.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn call(&self, job: &JobId, number: u64) -> Result<Option<CallRow>> {
        let sql = "SELECT job, number, opening, caller, at FROM calls WHERE job = ? AND number = ?";
        let query = sqlx::query(sql).bind(job.0.as_slice()).bind(i64::try_from(number).unwrap_or(-1));
        query.fetch_optional(&self.pool).await.map_err(|e| fault(&e))?.as_ref().map(call_row).transpose()
    }

    /// A window that has ended.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn window(&self, job: &JobId) -> Result<Option<WindowRow>> {
        let sql = "SELECT attempt, leaves FROM windows WHERE job = ?";
        let query = sqlx::query(sql).bind(job.0.as_slice());
        let Some(row) = query.fetch_optional(&self.pool).await.map_err(|e| fault(&e))? else { return Ok(None) };
        let attempt = u32::try_from(row.get::<i64, _>(0)).map_err(|_| corrupt("a window's attempt"))?;
        let leaves: Vec<u8> = row.get(1);
        Ok(Some(WindowRow { job: *job, attempt, leaves: leaves.as_chunks().0.iter().map(|h| Hash(*h)).collect() }))
    }
}

fn call_row(row: &sqlx::sqlite::SqliteRow) -> Result<CallRow> {
    let opening: Vec<u8> = row.get(2);
    Ok(CallRow {
        job: JobId(id32(&row.get::<Vec<u8>, _>(0), "a call's window")?),
        number: row.get::<i64, _>(1).unsigned_abs(),
        call: tacit_crypto::cbor::decode(&opening).map_err(corrupt)?,
        caller: row.get(3),
        at: UnixMillis(row.get::<i64, _>(4).unsigned_abs()),
    })
}

impl Tx<'_> {
    /// Keeps the hashes of a window's calls, and gives the rows back to the contract that were not asked for.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end_window(&mut self, window: &WindowRow, rows: u64) -> Result<()> {
        let leaves: Vec<u8> = window.leaves.iter().flat_map(|h| h.0).collect();
        sqlx::query("INSERT OR REPLACE INTO windows (job, attempt, leaves) VALUES (?, ?, ?)")
            .bind(window.job.0.as_slice())
            .bind(i64::from(window.attempt))
            .bind(leaves)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        sqlx::query("DELETE FROM windows WHERE rowid <= (SELECT max(rowid) FROM windows) - ?")
            .bind(WINDOWS_KEPT_MAX)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        sqlx::query("UPDATE jobs SET scored_rows = min(scored_rows, ?) WHERE id = ?")
            .bind(i64::try_from(rows).unwrap_or(i64::MAX))
            .bind(window.job.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map(|_| ())
            .map_err(|e| fault(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store in a folder of its own.
    async fn store(name: &str) -> (Store, std::path::PathBuf) {
        let folder = std::env::temp_dir().join(format!("tacit-online-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        (Store::open(&folder.join("node.db")).await.unwrap(), folder)
    }

    async fn close((store, folder): (Store, std::path::PathBuf)) {
        store.close().await;
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn one_model_or_caller_too_many_is_refused() {
        let at = store("named").await;
        let row = |i: usize| PublishedRow {
            name: format!("m{i}"),
            template: vec![1],
            batch_ms: 0,
            added_at: UnixMillis(1),
            status: String::new(),
        };
        for i in 0..PUBLISHED_MAX {
            at.0.publish(&row(i)).await.unwrap();
        }
        assert_eq!(at.0.publish(&row(PUBLISHED_MAX)).await.unwrap_err().code, Code::ArgsInvalid);
        at.0.publish(&PublishedRow { template: vec![2], ..row(0) }).await.unwrap();
        assert!(at.0.unpublish("m1").await.unwrap());
        at.0.publish(&row(PUBLISHED_MAX)).await.unwrap();
        assert_eq!(at.0.published().await.unwrap().len(), PUBLISHED_MAX);

        let caller = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(i as u64).to_le_bytes());
            CallerRow { name: format!("c{i}"), key: NodeId(key), added_at: UnixMillis(1) }
        };
        // As many as there may be, but one, at once: each that is enrolled looks at all of them.
        let mut tx = at.0.begin().await.unwrap();
        for i in 1..CALLERS_MAX {
            let CallerRow { name, key, added_at } = caller(i);
            let query = sqlx::query("INSERT INTO callers (name, key, added_at) VALUES (?, ?, ?)");
            query.bind(name).bind(key.0.to_vec()).bind(added_at.0 as i64).execute(&mut *tx.0).await.unwrap();
        }
        tx.commit().await.unwrap();
        at.0.add_caller(&caller(0)).await.unwrap();
        assert_eq!(at.0.add_caller(&caller(CALLERS_MAX)).await.unwrap_err().code, Code::ArgsInvalid);
        assert_eq!(at.0.callers().await.unwrap().len(), CALLERS_MAX);
        assert!(at.0.remove_caller("c0").await.unwrap());
        assert!(at.0.add_caller(&CallerRow { name: "other".into(), ..caller(1) }).await.is_err(), "a key twice");
        at.0.add_caller(&caller(CALLERS_MAX)).await.unwrap();
        close(at).await;
    }

    /// The second is moved to the last place that is kept beside the first; with a third the first gives way.
    #[tokio::test]
    async fn of_calls_and_windows_the_oldest_give_way() {
        let at = store("kept").await;
        let call = |number: u64| CallRow {
            job: JobId([1; 32]),
            number,
            call: Call { at_ms: number, keys: 1, request: Hash([2; 32]), salt: Hash([3; 32]) },
            caller: "app".into(),
            at: UnixMillis(1),
        };
        at.0.put_calls(&[call(0), call(1)]).await.unwrap();
        let moved = async |sql: &'static str, place: i64| {
            sqlx::query(sql).bind(place).execute(&at.0.pool).await.unwrap();
        };
        moved("UPDATE calls SET rowid = ? WHERE number = 1", CALLS_KEPT_MAX - 1).await;
        at.0.put_calls(&[call(2)]).await.unwrap();
        assert_eq!(at.0.calls(9).await.unwrap(), [call(2), call(1), call(0)], "as many as are kept");
        at.0.put_calls(&[call(3)]).await.unwrap();
        assert_eq!(at.0.calls(9).await.unwrap(), [call(3), call(2), call(1)]);
        assert_eq!(at.0.call(&JobId([1; 32]), 0).await.unwrap(), None);

        let window = |n: u8| WindowRow { job: JobId([n; 32]), attempt: 1, leaves: vec![Hash([n; 32])] };
        let end = async |n: u8| {
            let mut tx = at.0.begin().await.unwrap();
            tx.end_window(&window(n), 1).await.unwrap();
            tx.commit().await.unwrap();
        };
        end(0).await;
        end(1).await;
        moved("UPDATE windows SET rowid = ? WHERE rowid = 2", WINDOWS_KEPT_MAX - 1).await;
        end(2).await;
        assert_eq!(at.0.window(&JobId([0; 32])).await.unwrap(), Some(window(0)));
        end(3).await;
        assert_eq!(at.0.window(&JobId([0; 32])).await.unwrap(), None);
        for n in 1..=3 {
            assert_eq!(at.0.window(&JobId([n; 32])).await.unwrap(), Some(window(n)));
        }
        close(at).await;
    }
}
