//! Lists, reviews, assessments and revocations in the database: what is said over the use of a contract beside it.

use tacit_governance::{Order, lifecycle};

use super::*;

/// Reviews, assessments and regradings that a node keeps.
pub const ORDERS_MAX: i64 = 1024;
/// Lists, revocations and suspensions that a node keeps. They end a use, so that nothing else takes their room.
pub const STOPS_MAX: i64 = 1024;

/// Whether it says no to a use, and nothing else.
const fn stops(order: &Order) -> bool {
    matches!(order, Order::List(_) | Order::Revocation(_))
}

/// Which of two on one subject is the later, as the database has it.
pub(super) fn number(order: &Order) -> i64 {
    i64::try_from(order.number()).unwrap_or(i64::MAX)
}

impl Store {
    /// Takes a list, a review or an assessment in. A later one of the same signer on the same subject takes its place.
    ///
    /// # Errors
    /// `args.invalid` for one that is not later than the one kept, or past [`ORDERS_MAX`] or [`STOPS_MAX`]; those of the
    /// database.
    pub async fn put_order(&self, order: &Order, at: UnixMillis) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.put_order(order, at).await?;
        tx.commit().await
    }

    /// Every list, review and assessment that is kept, in the order in which they were taken in.
    ///
    /// # Errors
    /// Those of the database; `store.corrupt` when one no longer verifies.
    pub async fn orders(&self) -> Result<Vec<Order>> {
        let mut tx = self.begin().await?;
        tx.orders().await
    }
}

impl Store {
    /// Open jobs that rest on a contract which was revoked or suspended since, each with the reason. A new version lets what
    /// runs under the old one end.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn halted_jobs(&self, now: UnixMillis) -> Result<Vec<(JobId, Fault)>> {
        let said = "SELECT j.id, j.contract FROM jobs j WHERE j.open = 1 AND j.contract IS NOT NULL AND \
                    (EXISTS (SELECT 1 FROM revocations r WHERE r.contract = j.contract) OR \
                    EXISTS (SELECT 1 FROM orders o WHERE o.kind = 'revocation' AND o.subject = lower(hex(j.contract))))";
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(said).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let (contracts, revoked, orders) = (tx.contracts().await?, tx.revoked().await?, tx.orders().await?);
        drop(tx);
        let mut halted = Vec::new();
        for (job, contract) in &rows {
            let (job, id) = (JobId(id32(job, "a job's id")?), ContractId(id32(contract, "a job's contract")?));
            let Some(contract) = contracts.iter().find(|c| c.id() == id) else { continue };
            if let Err(fault) = lifecycle::standing(contract, &[], &revoked, &orders, now) {
                halted.push((job, fault));
            }
        }
        Ok(halted)
    }
}

impl Store {
    /// Ids of the jobs that were admitted here, newest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn admitted_ids(&self) -> Result<Vec<JobId>> {
        let sql = "SELECT id FROM jobs WHERE contract IS NOT NULL ORDER BY seen_at DESC";
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(sql).fetch_all(&self.pool).await.map_err(|e| fault(&e))?;
        rows.iter().map(|bytes| id32(bytes, "a job's id").map(JobId)).collect()
    }
}

impl Tx<'_> {
    /// As [`Store::put_order`].
    ///
    /// # Errors
    /// Those of [`Store::put_order`].
    pub async fn put_order(&mut self, order: &Order, at: UnixMillis) -> Result<()> {
        let number = number(order);
        let subject = order.subject();
        let kept = self.kept_number(order).await?;
        if let Some(kept) = kept.filter(|kept| *kept >= number) {
            let what = format!("{} `{subject}`: number {number} is not later than {kept}", order.word());
            return Err(Fault::new(Code::ArgsInvalid, what));
        }
        let (most, words) = match stops(order) {
            true => (STOPS_MAX, "lists and revocations"),
            false => (ORDERS_MAX, "reviews, assessments and regradings"),
        };
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE (kind IN ('list', 'revocation')) = ?")
            .bind(stops(order))
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        if kept.is_none() && count >= most {
            return Err(Fault::new(Code::ArgsInvalid, format!("{most} {words} are kept; no more are taken")));
        }
        sqlx::query(
            "INSERT INTO orders (kind, signer, subject, number, statement, at) VALUES (?, ?, ?, ?, ?, ?) \
             ON CONFLICT (kind, signer, subject) DO UPDATE SET \
             number = excluded.number, statement = excluded.statement, at = excluded.at",
        )
        .bind(order.word())
        .bind(order.signer().0.as_slice())
        .bind(&subject)
        .bind(number)
        .bind(order.bytes())
        .bind(at.0 as i64)
        .execute(&mut *self.0)
        .await
        .map_err(|e| fault(&e))?;
        self.memo_due(&Due::Order(order.bytes().to_vec())).await
    }

    /// Whether a review is kept.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn has_reviews(&mut self) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM orders WHERE kind = 'review')")
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))
    }

    /// The number of the statement that is kept of the same signer on the same subject.
    pub(super) async fn kept_number(&mut self, order: &Order) -> Result<Option<i64>> {
        sqlx::query_scalar("SELECT number FROM orders WHERE kind = ? AND signer = ? AND subject = ?")
            .bind(order.word())
            .bind(order.signer().0.as_slice())
            .bind(order.subject())
            .fetch_optional(&mut *self.0)
            .await
            .map_err(|e| fault(&e))
    }

    /// As [`Store::orders`].
    ///
    /// # Errors
    /// Those of [`Store::orders`].
    pub async fn orders(&mut self) -> Result<Vec<Order>> {
        let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT statement FROM orders ORDER BY at, kind, subject")
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        rows.iter().map(|bytes| Order::read(bytes).map_err(|f| corrupt(&f.what))).collect()
    }
}
