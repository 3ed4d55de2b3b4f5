//! The sets of rows that exact answers were of, and the decision whether another question may be answered beside them.

use tacit_crypto::Transcript;
use tacit_jobs::difference::{Apart, Sketch};
use tacit_types::Hash;

use super::*;
use crate::align;

const DAY_MS: u64 = 86_400_000;
/// Days that a node remembers the rows of an exact answer.
pub const ROW_SETS_DAYS: u64 = 366;
/// Different sets of rows that a node remembers of one dataset.
pub const ROW_SETS_MAX: usize = 16_384;
/// Sets of questions that a node remembers of one dataset, one as often as another question asked about it.
pub const ROW_SETS_ASKED_MAX: usize = 1 << 18;
/// Of what other contracts leave of either, a contract may take one part of so many: there is always room for another one.
pub const ROW_SETS_SHARE: u64 = 2;
/// Cells of sketches that one question may be compared with: seconds of work.
pub const ROW_SET_CELLS_COMPARED_MAX: u64 = 1 << 27;
/// Sets that are compared at once.
const PAGE: i64 = 64;

/// A question whose rows have been read and that nothing has been said about yet.
#[derive(Clone, Copy, Debug)]
pub struct ExactQuestion<'a> {
    /// The job that asks.
    pub job: &'a JobId,
    /// The contract under which it was admitted here.
    pub contract: ContractId,
    /// What it asks: see [`tacit_governance::JobSpec::question`].
    pub question: Hash,
    /// The local name of the dataset, the same for its versions and for what alignments leave of them.
    pub dataset: &'a str,
    /// By which columns rows are known.
    pub form: Hash,
    /// The rows of a group.
    pub change_min: u64,
    /// The time.
    pub now: UnixMillis,
}

/// A set on its way to be remembered.
struct New<'a> {
    subject: &'a str,
    sketch: &'a Sketch,
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Store {
    /// Takes a question in, if each of its sets is one that was asked about or differs by a group from each that was, of the
    /// same subject. Sets of one question are not compared with each other: the floor holds for those. A question that was
    /// asked before, over the same rows, is one that was answered. What is taken in is durable when this returns; what a job
    /// asked in an attempt before is forgotten, for nothing of it has left the node.
    ///
    /// # Errors
    /// `refused.difference` with the job that is too near, or where too much is remembered; those of the database.
    pub async fn remember_rows(&self, asks: &ExactQuestion<'_>, sets: &[(String, Sketch)]) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM row_sets_asked WHERE job = ?")
            .bind(asks.job.0.as_slice())
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.drop_unasked().await?;
        let mut new: Vec<New<'_>> = sets.iter().map(|(subject, sketch)| New::of(asks, subject, sketch)).collect();
        new.sort_by_key(|set| set.digest);
        new.dedup_by_key(|set| set.digest);
        match tx.repeats(asks, &new).await? {
            Some(job) => tx.renew_rows(asks, &new, &job).await?,
            None => {
                tx.decide_rows(asks, &new).await?;
                tx.put_rows(asks, &new).await?;
            }
        }
        tx.commit().await
    }

    /// Forgets the sets that are too old to be remembered.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_row_sets(&self, now: UnixMillis) -> Result<()> {
        let before = now.0.saturating_sub(ROW_SETS_DAYS * DAY_MS);
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM row_sets_asked WHERE at < ?")
            .bind(before as i64)
            .execute(&mut *tx.0)
            .await
            .map_err(|e| fault(&e))?;
        tx.drop_unasked().await?;
        tx.commit().await
    }
}

impl<'a> New<'a> {
    fn of(asks: &ExactQuestion<'_>, subject: &'a str, sketch: &'a Sketch) -> Self {
        let bytes = sketch.to_bytes();
        let digest = Transcript::new("tacit-difference/1/set")
            .fixed(&asks.form.0)
            .bytes(subject.as_bytes())
            .bytes(&bytes)
            .finish();
        Self { subject, sketch, bytes, digest: digest.0 }
    }
}

impl Tx<'_> {
    /// Forgets the sets that no job asked about, or none but one that asks anew.
    async fn drop_unasked(&mut self) -> Result<()> {
        sqlx::query(
            "DELETE FROM row_sets WHERE NOT EXISTS (SELECT 1 FROM row_sets_asked a \
             WHERE a.dataset = row_sets.dataset AND a.digest = row_sets.digest)",
        )
        .execute(&mut *self.0)
        .await
        .map(|_| ())
        .map_err(|e| fault(&e))
    }

    /// Forgets the sets of a job of whose rows nothing has left.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn forget_rows_of(&mut self, job: &JobId) -> Result<()> {
        let gone = sqlx::query("DELETE FROM row_sets_asked WHERE job = ?").bind(job.0.as_slice()).execute(&mut *self.0);
        match gone.await.map_err(|e| fault(&e))?.rows_affected() {
            0 => Ok(()),
            _ => self.drop_unasked().await,
        }
    }

    /// The job that asked the same, each of whose sets was the same, and of which something has left: what is remembered of it
    /// is not forgotten again.
    async fn repeats(&mut self, asks: &ExactQuestion<'_>, new: &[New<'_>]) -> Result<Option<Vec<u8>>> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT job, digest FROM row_sets_asked WHERE dataset = ? AND question = ?")
                .bind(asks.dataset)
                .bind(asks.question.0.as_slice())
                .fetch_all(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        let jobs: BTreeSet<&[u8]> = rows.iter().map(|(job, _)| job.as_slice()).collect();
        let wanted: BTreeSet<&[u8]> = new.iter().map(|set| set.digest.as_slice()).collect();
        let sets = |of: &[u8]| -> BTreeSet<&[u8]> {
            rows.iter().filter(|(job, _)| job == of).map(|(_, digest)| digest.as_slice()).collect()
        };
        for job in jobs.into_iter().filter(|job| sets(job) == wanted) {
            let asked = self.job(&JobId(id32(job, "the job of a set of rows")?)).await?;
            // What is not there any more has ended long ago.
            if asked.is_none_or(|job| job.input_sent || matches!(job.finished, Some(tacit_engine::Finished::Ok { .. })))
            {
                return Ok(Some(job.to_vec()));
            }
        }
        Ok(None)
    }

    /// Has the sets of a job that asked the same remembered from now on, under the stricter term of both.
    async fn renew_rows(&mut self, asks: &ExactQuestion<'_>, new: &[New<'_>], job: &[u8]) -> Result<()> {
        sqlx::query("UPDATE row_sets_asked SET at = max(at, ?) WHERE dataset = ? AND job = ?")
            .bind(asks.now.0 as i64)
            .bind(asks.dataset)
            .bind(job)
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        for set in new {
            self.put_set(asks, set).await?;
        }
        Ok(())
    }

    async fn decide_rows(&mut self, asks: &ExactQuestion<'_>, new: &[New<'_>]) -> Result<()> {
        let other: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT digest FROM row_sets WHERE dataset = ? AND form != ? LIMIT 1")
                .bind(asks.dataset)
                .bind(asks.form.0.as_slice())
                .fetch_optional(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
        if let Some(digest) = other {
            let job = self.who_asked(asks, &digest).await?;
            let what = format!(
                "its view has other columns, or other kinds of values in them, than that of {job}, so that nobody can tell by how \
                 many rows the two differ"
            );
            return Err(Fault::new(Code::RefusedDifference, what));
        }
        let most: Option<i64> = sqlx::query_scalar("SELECT max(change_min) FROM row_sets WHERE dataset = ?")
            .bind(asks.dataset)
            .fetch_one(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        let reach = most.map_or(0, i64::unsigned_abs).max(asks.change_min) - 1;
        let mut left = ROW_SET_CELLS_COMPARED_MAX;
        for set in new {
            left = self.compare(asks, set, reach, left).await?;
        }
        Ok(())
    }

    /// Compares a set with each that has nearly as many rows. Gives how many cells may be compared after it.
    async fn compare(&mut self, asks: &ExactQuestion<'_>, set: &New<'_>, reach: u64, mut left: u64) -> Result<u64> {
        let rows = set.sketch.rows();
        let (low, high) = (rows.saturating_sub(reach) as i64, rows.saturating_add(reach) as i64);
        let mut after = Vec::new();
        loop {
            let page: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
                "SELECT digest, change_min, sketch FROM row_sets WHERE dataset = ? AND subject = ? \
                 AND rows BETWEEN ? AND ? AND digest > ? ORDER BY digest LIMIT ?",
            )
            .bind(asks.dataset)
            .bind(set.subject)
            .bind(low)
            .bind(high)
            .bind(after.as_slice())
            .bind(PAGE)
            .fetch_all(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
            let near = align::apart(|| -> Result<_> {
                for (digest, change_min, sketch) in page.iter().filter(|(digest, ..)| *digest != set.digest) {
                    let change_min = asks.change_min.max(change_min.unsigned_abs());
                    let sketch = Sketch::from_bytes(sketch)?;
                    left = left.checked_sub(sketch.cells() as u64).ok_or_else(too_much)?;
                    if set.sketch.apart(&sketch, change_min) == Apart::Few {
                        return Ok(Some((digest.clone(), change_min)));
                    }
                }
                Ok(None)
            })?;
            if let Some((digest, change_min)) = near {
                let job = self.who_asked(asks, &digest).await?;
                let what = format!(
                    "rows of this owner that it asks about are neither those of {job} nor at least {change_min} rows \
                     apart from them: two answers would tell of single rows"
                );
                return Err(Fault::new(Code::RefusedDifference, what));
            }
            match page.into_iter().next_back() {
                Some((digest, ..)) => after = digest,
                None => return Ok(left),
            }
        }
    }

    /// The job that asked about a set last, in words.
    async fn who_asked(&mut self, asks: &ExactQuestion<'_>, digest: &[u8]) -> Result<String> {
        let row: Option<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT job, at FROM row_sets_asked WHERE dataset = ? AND digest = ? ORDER BY at DESC, rowid DESC LIMIT 1",
        )
        .bind(asks.dataset)
        .bind(digest)
        .fetch_optional(&mut *self.0)
        .await
        .map_err(|e| fault(&e))?;
        let (job, at) = row.ok_or_else(|| corrupt("a set of rows that nobody asked about"))?;
        let job = JobId(id32(&job, "the job of a set of rows")?);
        Ok(format!("job {} of {}", job.short(), UnixMillis(at.unsigned_abs())))
    }

    async fn put_set(&mut self, asks: &ExactQuestion<'_>, set: &New<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO row_sets (dataset, digest, subject, form, rows, change_min, sketch) \
             VALUES (?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT DO UPDATE SET change_min = max(change_min, excluded.change_min)",
        )
        .bind(asks.dataset)
        .bind(set.digest.as_slice())
        .bind(set.subject)
        .bind(asks.form.0.as_slice())
        .bind(set.sketch.rows() as i64)
        .bind(asks.change_min as i64)
        .bind(set.bytes.as_slice())
        .execute(&mut *self.0)
        .await
        .map(|_| ())
        .map_err(|e| fault(&e))
    }

    /// What is remembered of a dataset, and how much of it under one contract: different sets, and sets of questions.
    async fn remembered(&mut self, asks: &ExactQuestion<'_>) -> Result<[(u64, u64); 2]> {
        let mut found = [(0, 0); 2];
        for ((all, own), numbers) in [
            (
                "SELECT count(*) FROM row_sets WHERE dataset = ?",
                "SELECT count(DISTINCT digest) FROM row_sets_asked WHERE dataset = ? AND contract = ?",
            ),
            (
                "SELECT count(*) FROM row_sets_asked WHERE dataset = ?",
                "SELECT count(*) FROM row_sets_asked WHERE dataset = ? AND contract = ?",
            ),
        ]
        .into_iter()
        .zip(&mut found)
        {
            let all: i64 =
                sqlx::query_scalar(all).bind(asks.dataset).fetch_one(&mut *self.0).await.map_err(|e| fault(&e))?;
            let own: i64 = sqlx::query_scalar(own)
                .bind(asks.dataset)
                .bind(asks.contract.0.as_slice())
                .fetch_one(&mut *self.0)
                .await
                .map_err(|e| fault(&e))?;
            *numbers = (all.unsigned_abs(), own.unsigned_abs());
        }
        Ok(found)
    }

    async fn put_rows(&mut self, asks: &ExactQuestion<'_>, new: &[New<'_>]) -> Result<()> {
        let before = self.remembered(asks).await?;
        for set in new {
            self.put_set(asks, set).await?;
            sqlx::query(
                "INSERT INTO row_sets_asked (dataset, digest, job, question, at, contract) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(asks.dataset)
            .bind(set.digest.as_slice())
            .bind(asks.job.0.as_slice())
            .bind(asks.question.0.as_slice())
            .bind(asks.now.0 as i64)
            .bind(asks.contract.0.as_slice())
            .execute(&mut *self.0)
            .await
            .map_err(|e| fault(&e))?;
        }
        let limits = [(ROW_SETS_MAX, "different sets of rows"), (ROW_SETS_ASKED_MAX, "sets of questions")];
        for (((most, what), (_, had)), (all, own)) in limits.into_iter().zip(before).zip(self.remembered(asks).await?) {
            let others = all.saturating_sub(own);
            let share = (most as u64).saturating_sub(others).div_ceil(ROW_SETS_SHARE);
            if own > had && own > share {
                let what = format!(
                    "{had} {what} of this contract are remembered of this dataset and {others} of others, of {most} in all: one \
                     contract may have {share} then, and no further one can be compared with all that come later; the \
                     oldest are forgotten {ROW_SETS_DAYS} days after they were asked about"
                );
                return Err(Fault::new(Code::RefusedDifference, what));
            }
        }
        Ok(())
    }
}

fn too_much() -> Fault {
    let what = "its sets of rows are too many to be compared with all that are remembered of this dataset: ask for fewer groups";
    Fault::new(Code::RefusedDifference, what)
}

#[cfg(test)]
mod tests {
    use tacit_jobs::difference::Tag;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    struct Case {
        _folder: tempfile::TempDir,
        store: Store,
        path: std::path::PathBuf,
        jobs: u8,
        contract: u8,
    }

    fn rows(of: impl IntoIterator<Item = u64>, change_min: u64) -> Sketch {
        let mut sketch = Sketch::new(change_min);
        of.into_iter().for_each(|n: u64| {
            let [a, b, c, d, e, f, g, h, ..] = tacit_crypto::sha256(&n.to_be_bytes()).0;
            sketch.put(Tag::new(u64::from_be_bytes([a, b, c, d, e, f, g, h])));
        });
        sketch
    }

    impl Case {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("node.db");
            Self { store: Store::open(&path).await.unwrap(), _folder: folder, path, jobs: 0, contract: 1 }
        }

        /// Another job that asks, with this change to its question.
        async fn ask(
            &mut self,
            sets: &[(&str, Sketch)],
            change: impl for<'a> FnOnce(&mut ExactQuestion<'a>),
        ) -> std::result::Result<(), Fault> {
            self.jobs += 1;
            let job = JobId([self.jobs; 32]);
            let mut asks = ExactQuestion {
                job: &job,
                contract: ContractId([self.contract; 32]),
                question: Hash([self.jobs; 32]),
                dataset: "data",
                form: Hash([1; 32]),
                change_min: 10,
                now: NOW,
            };
            change(&mut asks);
            let sets: Vec<_> = sets.iter().map(|(subject, sketch)| ((*subject).to_owned(), sketch.clone())).collect();
            self.store.remember_rows(&asks, &sets).await
        }

        async fn whole(&mut self, of: impl IntoIterator<Item = u64>) -> Option<Code> {
            self.ask(&[("rows", rows(of, 10))], |_| {}).await.err().map(|f| f.code)
        }
    }

    const REFUSED: Option<Code> = Some(Code::RefusedDifference);

    #[tokio::test]
    async fn a_question_takes_the_rows_of_one_before_or_differs_by_a_group() {
        let mut case = Case::new().await;
        assert_eq!(case.whole(0..500).await, None);
        assert_eq!(case.whole(0..500).await, None, "the same");
        for near in [1..500, 0..501, 0..491, 5..504] {
            assert_eq!(case.whole(near.clone()).await, REFUSED, "{near:?}");
        }
        assert_eq!(case.whole(0..490).await, None, "ten fewer");
        assert_eq!(case.whole(0..495).await, REFUSED, "between both");
        // Of other numbers, and of another dataset, nothing is known.
        assert!(case.ask(&[("sum n", rows(1..500, 10))], |_| {}).await.is_ok());
        assert!(case.ask(&[("rows", rows(1..500, 10))], |asks| asks.dataset = "other").await.is_ok());
        // It outlives the process.
        case.store.close().await;
        case.store = Store::open(&case.path).await.unwrap();
        assert_eq!(case.whole(1..500).await, REFUSED);
        let said = case.ask(&[("rows", rows(1..500, 10))], |_| {}).await.unwrap_err().what;
        let first = JobId([2; 32]).short();
        assert!(said.contains(&first) && said.contains("10 rows") && !said.contains("499"), "{said}");
        case.store.close().await;
    }

    #[tokio::test]
    async fn sets_of_one_question_stand_beside_each_other_and_not_beside_anothers() {
        let mut case = Case::new().await;
        let groups = || [("rows", rows(0..500, 10)), ("rows", rows(0..497, 10)), ("rows", rows(497..500, 10))];
        assert!(case.ask(&groups(), |_| {}).await.is_ok(), "the floor holds for these");
        // The very same question again, by another job; and one of its sets as another question.
        assert!(case.ask(&groups(), |asks| asks.question = Hash([1; 32])).await.is_ok());
        assert_eq!(case.ask(&groups(), |_| {}).await.err().map(|f| f.code), REFUSED);
        assert_eq!(case.whole(0..497).await, REFUSED);
        // The same question over rows that have moved.
        let moved = [("rows", rows(0..501, 10)), ("rows", rows(0..497, 10)), ("rows", rows(497..501, 10))];
        let same = case.ask(&moved, |asks| asks.question = Hash([1; 32])).await;
        assert_eq!(same.err().map(|f| f.code), REFUSED);
        case.store.close().await;
    }

    #[tokio::test]
    async fn the_strictest_terms_hold_and_other_columns_cannot_be_compared() {
        let mut case = Case::new().await;
        assert!(case.ask(&[("rows", rows(0..500, 100))], |asks| asks.change_min = 100).await.is_ok());
        assert_eq!(case.whole(0..450).await, REFUSED, "fifty, and the other contract wants a hundred");
        assert_eq!(case.whole(0..400).await, None);
        let strict = case.ask(&[("rows", rows(0..250, 200))], |asks| asks.change_min = 200).await;
        assert_eq!(strict.err().map(|f| f.code), REFUSED, "a hundred and fifty from the last");
        let other = case.ask(&[("rows", rows(0..9000, 10))], |asks| asks.form = Hash([2; 32])).await.unwrap_err();
        assert!(other.code == Code::RefusedDifference && other.what.contains("other columns"), "{other}");
        case.store.close().await;
    }

    #[tokio::test]
    async fn another_attempt_takes_the_place_of_the_one_before_and_a_refusal_leaves_nothing() {
        let mut case = Case::new().await;
        let job = JobId([99; 32]);
        let asks = ExactQuestion {
            job: &job,
            contract: ContractId([1; 32]),
            question: Hash([99; 32]),
            dataset: "data",
            form: Hash([1; 32]),
            change_min: 10,
            now: NOW,
        };
        let set = |n: u64| [("rows".to_owned(), rows(0..n, 10))];
        case.store.remember_rows(&asks, &set(500)).await.unwrap();
        case.store.remember_rows(&asks, &set(501)).await.unwrap();
        assert_eq!(case.whole(0..500).await, REFUSED);
        assert_eq!(case.whole(0..501).await, None);
        assert_eq!(case.whole(0..510).await, REFUSED, "refused, and not remembered");
        assert_eq!(case.whole(0..511).await, None);
        // A refused attempt leaves what stood.
        assert!(case.store.remember_rows(&asks, &set(502)).await.is_err());
        assert_eq!(case.whole(0..520).await, REFUSED);
        case.store.close().await;
    }

    #[tokio::test]
    async fn rows_are_forgotten_in_a_year_and_never_before() {
        let mut case = Case::new().await;
        let last = NOW.plus(ROW_SETS_DAYS * DAY_MS);
        assert_eq!(case.whole(0..500).await, None);
        let near = [("rows", rows(0..499, 10))];
        assert!(case.ask(&near, |asks| asks.now = last).await.is_err());
        case.store.forget_row_sets(last).await.unwrap();
        assert!(case.ask(&near, |asks| asks.now = last).await.is_err());
        case.store.forget_row_sets(last.plus(1)).await.unwrap();
        assert!(case.ask(&near, |asks| asks.now = last).await.is_ok());
        case.store.close().await;
    }

    #[tokio::test]
    async fn a_repeat_is_remembered_by_the_question_before_and_what_was_not_answered_is_forgotten() {
        let mut case = Case::new().await;
        let asked = async |case: &Case| -> i64 {
            sqlx::query_scalar("SELECT count(*) FROM row_sets_asked").fetch_one(&case.store.pool).await.unwrap()
        };
        let set = [("rows", rows(0..500, 10))];
        assert!(case.ask(&set, |asks| asks.question = Hash([7; 32])).await.is_ok());
        let later = NOW.plus(DAY_MS);
        for _ in 0..3 {
            let strict =
                |asks: &mut ExactQuestion<'_>| (asks.question, asks.now, asks.change_min) = (Hash([7; 32]), later, 20);
            assert!(case.ask(&set, strict).await.is_ok());
        }
        assert_eq!(asked(&case).await, 1);
        assert_eq!(case.whole(0..485).await, REFUSED, "fifteen, and the repeat wanted twenty");
        // Remembered since the last of them.
        case.store.forget_row_sets(NOW.plus(ROW_SETS_DAYS * DAY_MS + 1)).await.unwrap();
        assert_eq!(asked(&case).await, 1);

        assert_eq!(case.whole(0..400).await, None);
        let job = JobId([case.jobs; 32]);
        assert_eq!(case.whole(0..399).await, REFUSED);
        let mut tx = case.store.begin().await.unwrap();
        tx.forget_rows_of(&job).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(case.whole(0..399).await, None, "of the one before nothing has left");
        case.store.close().await;
    }

    #[tokio::test]
    async fn so_much_is_compared_and_no_more() {
        let mut case = Case::new().await;
        // So many sets of the largest group, each far from all others, so that each is compared.
        let large = |i: u64| [("rows", rows((0..300).map(|n| i * 300 + n), 256))];
        let ask = |asks: &mut ExactQuestion<'_>| asks.change_min = 256;
        for i in 0..3 {
            assert!(case.ask(&large(i), ask).await.is_ok());
        }
        let cells = rows([], 256).cells() as u64;
        let (set, asks) = (rows(9000..9300, 256), JobId([99; 32]));
        let asks = ExactQuestion {
            job: &asks,
            contract: ContractId([1; 32]),
            question: Hash([99; 32]),
            dataset: "data",
            form: Hash([1; 32]),
            change_min: 256,
            now: NOW,
        };
        let new = New::of(&asks, "rows", &set);
        let mut tx = case.store.begin().await.unwrap();
        assert_eq!(tx.compare(&asks, &new, 255, 3 * cells).await.map_err(|f| f.code), Ok(0));
        let past = tx.compare(&asks, &new, 255, 3 * cells - 1).await.map_err(|f| f.code);
        assert_eq!(past, Err(Code::RefusedDifference), "one past it");
        drop(tx);
        case.store.close().await;
    }

    impl Case {
        /// So many different sets, far from all others, that a contract asked about.
        async fn fill(&self, sets: usize, contract: u8) {
            let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                        INSERT INTO row_sets SELECT 'data', randomblob(32), 'rows', ?, 1000000 + i, 10, x'00' FROM n";
            let asked = "INSERT INTO row_sets_asked (dataset, digest, job, question, at, contract) \
                         SELECT dataset, digest, randomblob(32), randomblob(32), ?, ? FROM row_sets s WHERE NOT EXISTS \
                         (SELECT 1 FROM row_sets_asked a WHERE a.dataset = s.dataset AND a.digest = s.digest)";
            let query = sqlx::query(fill).bind(sets as i64).bind([1u8; 32].as_slice());
            query.execute(&self.store.pool).await.unwrap();
            let query = sqlx::query(asked).bind(NOW.0 as i64).bind([contract; 32].as_slice());
            query.execute(&self.store.pool).await.unwrap();
        }

        /// So many sets of questions of a contract, all about one set of rows.
        async fn fill_asked(&self, sets: usize, contract: u8) {
            let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                        INSERT INTO row_sets_asked (dataset, digest, job, question, at, contract) \
                        SELECT 'data', digest, randomblob(32), randomblob(32), 0, ? \
                        FROM n, (SELECT digest FROM row_sets LIMIT 1)";
            let query = sqlx::query(fill).bind(sets as i64).bind([contract; 32].as_slice());
            query.execute(&self.store.pool).await.unwrap();
        }
    }

    #[tokio::test]
    async fn so_many_sets_are_remembered_and_no_more() {
        let mut case = Case::new().await;
        case.fill(ROW_SETS_MAX - 1, 9).await;
        assert_eq!(case.whole(0..500).await, None, "the last");
        assert_eq!(case.whole(0..400).await, REFUSED, "one past it");
        assert_eq!(case.whole(0..500).await, None, "it is there");
        let known: i64 =
            sqlx::query_scalar("SELECT count(*) FROM row_sets_asked").fetch_one(&case.store.pool).await.unwrap();
        case.fill_asked(ROW_SETS_ASKED_MAX - 1 - known as usize, 9).await;
        // Of another contract, which has not asked yet.
        case.contract = 2;
        assert_eq!(case.whole(0..500).await, None, "the last");
        assert_eq!(case.whole(0..500).await, REFUSED, "one past it");
        case.contract = 3;
        assert_eq!(case.whole(0..500).await, REFUSED, "whoever asks");
        case.store.close().await;
    }

    /// One contract cannot use up what others need: it gets a half of what they leave.
    #[tokio::test]
    async fn a_contract_leaves_room_for_the_others() {
        assert_eq!(ROW_SETS_SHARE, 2);
        let mut case = Case::new().await;
        case.fill(ROW_SETS_MAX / 2 - 1, 1).await;
        assert_eq!(case.whole(0..500).await, None, "a half");
        assert_eq!(case.whole(0..400).await, REFUSED, "one past it");
        let said = case.ask(&[("rows", rows(0..400, 10))], |_| {}).await.unwrap_err().what;
        assert!(
            said.contains("8192 different sets of rows of this contract") && said.contains("may have 8192"),
            "{said}"
        );
        // The next one has a half of the other half, and what both have asked about is nobody's loss.
        case.contract = 2;
        assert_eq!(case.whole(0..500).await, None);
        case.fill(ROW_SETS_MAX / 4 - 1, 2).await;
        assert_eq!(case.whole(0..400).await, None, "a quarter and one");
        assert_eq!(case.whole(0..300).await, REFUSED, "one past it");
        // The first one still has what it asked about, and can ask about that otherwise.
        case.contract = 1;
        assert_eq!(case.whole(0..500).await, None);
        case.contract = 3;
        assert_eq!(case.whole(0..300).await, None);
        // Questions are shared out alike.
        case.contract = 4;
        let asked = sqlx::query_scalar("SELECT count(*) FROM row_sets_asked");
        let others: i64 = asked.fetch_one(&case.store.pool).await.unwrap();
        let share = (ROW_SETS_ASKED_MAX - others as usize).div_ceil(2);
        case.fill_asked(share - 1, 4).await;
        assert_eq!(case.whole(0..500).await, None, "a half of what is left");
        assert_eq!(case.whole(0..500).await, REFUSED, "one past it");
        case.contract = 5;
        assert_eq!(case.whole(0..500).await, None);
        case.store.close().await;
    }
}
