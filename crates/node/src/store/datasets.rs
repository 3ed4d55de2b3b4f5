//! Dataset versions in the database.

use super::*;

/// A dataset version as it is stored.
#[derive(Clone, Debug)]
pub struct DatasetRow {
    /// Local name.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Id.
    pub id: DatasetVersionId,
    /// The local registration, JSON.
    pub registration: String,
    /// The signed descriptor.
    pub descriptor: Vec<u8>,
    /// Exact rows, which never leave.
    pub rows: u64,
    /// When it was added.
    pub added_at: UnixMillis,
}

impl Store {
    /// Dataset versions, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn datasets(&self) -> Result<Vec<DatasetRow>> {
        read(sqlx::query(LIST).fetch_all(&self.pool).await)
    }

    /// Keeps a dataset version.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_dataset(&self, row: &DatasetRow) -> Result<()> {
        insert(row).execute(&self.pool).await.map(|_| ()).map_err(|e| self.note(&e))
    }
}

impl Tx<'_> {
    /// Dataset versions, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn datasets(&mut self) -> Result<Vec<DatasetRow>> {
        read(sqlx::query(LIST).fetch_all(&mut *self.0).await)
    }

    /// Keeps a dataset version.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_dataset(&mut self, row: &DatasetRow) -> Result<()> {
        insert(row).execute(&mut *self.0).await.map(|_| ()).map_err(|e| fault(&e))
    }
}

const LIST: &str =
    "SELECT name, version, id, registration, descriptor, rows, added_at FROM datasets ORDER BY name, version DESC";

fn read(rows: Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error>) -> Result<Vec<DatasetRow>> {
    let rows = rows.map_err(|e| fault(&e))?;
    rows.into_iter()
        .map(|row| {
            Ok(DatasetRow {
                name: row.get(0),
                version: u32::try_from(row.get::<i64, _>(1)).map_err(|_| corrupt("a dataset's version"))?,
                id: DatasetVersionId(id32(&row.get::<Vec<u8>, _>(2), "a dataset's id")?),
                registration: row.get(3),
                descriptor: row.get(4),
                rows: row.get::<i64, _>(5).unsigned_abs(),
                added_at: UnixMillis(row.get::<i64, _>(6).unsigned_abs()),
            })
        })
        .collect()
}

fn insert(row: &DatasetRow) -> sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments> {
    sqlx::query(
        "INSERT INTO datasets (name, version, id, registration, descriptor, rows, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&row.name)
    .bind(i64::from(row.version))
    .bind(row.id.0.as_slice())
    .bind(&row.registration)
    .bind(&row.descriptor)
    .bind(row.rows as i64)
    .bind(row.added_at.0 as i64)
}
