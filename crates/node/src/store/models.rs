//! Models in the database, and the rows that were scored with them.

use tacit_governance::ModelDescriptor;
use tacit_types::ModelVersionId;

use super::*;

/// A model version as it is stored, without the model: listings read no more than this.
#[derive(Clone)]
pub struct ModelRow {
    /// Local name.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Id.
    pub id: ModelVersionId,
    /// The signed descriptor.
    pub descriptor: Vec<u8>,
    /// When it was added.
    pub added_at: UnixMillis,
}

impl Store {
    /// Model versions, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn models(&self) -> Result<Vec<ModelRow>> {
        let sql = "SELECT name, version, id, descriptor, added_at FROM models ORDER BY name, version DESC";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.into_iter()
            .map(|row| {
                Ok(ModelRow {
                    name: row.get(0),
                    version: u32::try_from(row.get::<i64, _>(1)).map_err(|_| corrupt("a model's version"))?,
                    id: ModelVersionId(id32(&row.get::<Vec<u8>, _>(2), "a model's id")?),
                    descriptor: row.get(3),
                    added_at: UnixMillis(row.get::<i64, _>(4).unsigned_abs()),
                })
            })
            .collect()
    }

    /// Keeps a model version: its canonical bytes, and the salt with which the descriptor commits to them.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn put_model(&self, row: &ModelRow, salt: &[u8], model: &[u8]) -> Result<()> {
        let sql =
            "INSERT INTO models (name, version, id, descriptor, salt, model, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let mut tx = self.begin().await?;
        sqlx::query(sql)
            .bind(&row.name)
            .bind(row.version)
            .bind(row.id.0.as_slice())
            .bind(&row.descriptor)
            .bind(salt)
            .bind(model)
            .bind(row.added_at.0 as i64)
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.commit().await
    }
}

impl Store {
    /// The canonical bytes of a model version.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn model(&self, id: &ModelVersionId) -> Result<Option<Vec<u8>>> {
        sqlx::query_scalar("SELECT model FROM models WHERE id = ?")
            .bind(id.0.as_slice())
            .fetch_optional(&self.pool)
            .await
            .map_err(|e| fault(&e))
    }
}

impl Tx<'_> {
    /// The model versions that are held here.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` when a descriptor no longer verifies.
    pub async fn models(&mut self) -> Result<Vec<(ModelVersionId, ModelDescriptor)>> {
        let rows =
            sqlx::query("SELECT id, descriptor FROM models").fetch_all(&mut *self.0).await.map_err(|e| fault(&e))?;
        rows.into_iter()
            .map(|row| {
                let id = ModelVersionId(id32(&row.get::<Vec<u8>, _>(0), "a model's id")?);
                let descriptor = Statement::<ModelDescriptor>::verify(&row.get::<Vec<u8>, _>(1));
                Ok((id, descriptor.map_err(|e| corrupt(&e.to_string()))?.into_body()))
            })
            .collect()
    }

    /// Rows that admitted jobs have taken from a contract's allowance of scores.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn rows_used(&mut self, contract: &ContractId) -> Result<u64> {
        let sql = "SELECT coalesce(sum(scored_rows), 0) FROM (SELECT scored_rows FROM jobs WHERE contract = ?1 \
                   UNION ALL SELECT scored_rows FROM recounted WHERE contract = ?1)";
        let rows: i64 =
            sqlx::query_scalar(sql).bind(contract.0.as_slice()).fetch_one(&mut *self.0).await.map_err(|e| fault(&e))?;
        Ok(rows.unsigned_abs())
    }
}
