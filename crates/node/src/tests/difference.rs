//! Exact questions at a node whose peers never answer: what it decides when it has read its rows, and before it says anything.

use tacit_governance::ExactTerms;

use super::*;

impl World {
    /// A contract that holds exact questions apart by so many rows, or does not.
    fn held(&self, called: &str, change_min: Option<u64>) -> SignedContract {
        let mut terms = self.contract(called, 60_000, true).body().clone();
        terms.exact = change_min.map(|change_min| ExactTerms { change_min });
        let mut contract = SignedContract::draft(terms);
        for n in [1, 2, 4] {
            contract.sign(&key(n), crate::now()).unwrap();
        }
        contract.sign(&self.keys.root, crate::now()).unwrap();
        contract
    }

    /// How a count of all rows ends here, and whether this node had sent anything of them; the file has so many rows.
    async fn count(&mut self, contract: &SignedContract, rows: usize) -> (JobId, Code, String) {
        let text: String = (0..rows).map(|n| format!("{n}\n")).collect();
        std::fs::write(self.home.join("t.csv"), format!("n\n{text}")).unwrap();
        let job = self.admit(contract).await;
        assert_eq!(self.reserve(job, 1).await, FromNode::Reserved);
        assert_eq!(self.begin(job, 1, 101, 3_000).await, FromNode::Started);
        let Finished::Failed { code, hint, input_sent, .. } = self.finished(job).await else { panic!("no peers") };
        assert!(!input_sent);
        assert_eq!(self.ask(&ToNode::Close { job, terminal: Terminal::Expired }).await, FromNode::Done);
        (job, code, hint)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_differs_by_a_few_rows_ends_before_anything_leaves() {
    let mut world = World::new("difference").await;
    world.readable().await;
    let (held, free) = (world.held("held", Some(10)), world.held("free", None));
    let strict = world.held("strict", Some(20));
    // Nobody answers: the job ends at its deadline. Nothing of its rows has left, so nothing is remembered.
    assert_eq!(world.count(&held, 100).await.1, Code::JobDeadline);
    assert_eq!(world.rows("SELECT count(*) FROM row_sets").await, 0);
    // From here on as if jobs were answered: what they asked stays asked.
    let answered = "CREATE TRIGGER answered BEFORE DELETE ON row_sets_asked BEGIN SELECT RAISE(IGNORE); END";
    let pool =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", world.home.join(DATABASE_FILE).display())).await.unwrap();
    sqlx::query(answered).execute(&pool).await.unwrap();
    pool.close().await;
    let (first, code, _) = world.count(&held, 101).await;
    assert_eq!(code, Code::JobDeadline);
    assert_eq!(world.rows("SELECT count(*) FROM row_sets").await, 1);
    let (_, code, hint) = world.count(&held, 100).await;
    assert_eq!(code, Code::RefusedDifference);
    assert!(hint.contains(&first.short()) && hint.contains("10 rows"), "{hint}");
    // Under a contract without the term nothing is compared or remembered; under a stricter one more.
    assert_eq!(world.count(&free, 100).await.1, Code::JobDeadline);
    assert_eq!(world.count(&strict, 115).await.1, Code::RefusedDifference);
    assert_eq!(world.count(&held, 101).await.1, Code::JobDeadline, "the same rows");
    assert_eq!(world.count(&held, 111).await.1, Code::JobDeadline, "a group more");
    assert_eq!(world.rows("SELECT count(*) FROM row_sets").await, 2);
    assert_eq!(
        world.rows("SELECT count(*) FROM row_sets_asked").await,
        3,
        "a question of which nothing has left may be forgotten again, so the same is remembered for itself"
    );
    world.end().await;
}
