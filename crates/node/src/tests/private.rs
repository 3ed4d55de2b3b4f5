//! A privacy budget at a node: charged with the admission, for good, and refused past its end.

use tacit_governance::{PrivacyCost, PrivacyTerms};

use super::*;

const BUDGET: PrivacyCost = PrivacyCost { epsilon_micro: 1_000_000, delta_femto: 10_000_000 };

impl World {
    /// A contract with a budget.
    pub(super) fn private_contract(&self) -> SignedContract {
        let mut terms = self.contract("private", 60_000, true).body().clone();
        terms.kinds = vec!["stats/v1".into()];
        terms.privacy = Some(PrivacyTerms { budget: BUDGET, job_epsilon_micro: 500_000, only: true });
        let mut contract = SignedContract::draft(terms);
        for n in [1, 2, 4] {
            contract.sign(&key(n), crate::now()).unwrap();
        }
        contract.sign(&self.keys.root, crate::now()).unwrap();
        contract
    }

    /// A job that asks for a histogram with this upper edge, and this epsilon.
    pub(super) fn private_job(&mut self, contract: &SignedContract, epsilon: &str, edge: u32) -> (JobId, ToNode) {
        let (_, bytes, contracts) = self.job(contract);
        let mut spec = JobSpec::verify(&bytes).unwrap().into_body();
        let columns = std::collections::BTreeMap::from([("n".to_owned(), ColumnKind::Int)]);
        let written = serde_json::json!({
            "histograms": [{"column": "n", "edges": ["0", edge.to_string()]}],
            "privacy": {"epsilon": epsilon},
        });
        spec.kind = "stats/v1".into();
        spec.params = tacit_jobs::kind("stats/v1").unwrap().params(written, &columns).unwrap();
        let job = Statement::sign(&key(OPERATOR), "job", crate::now(), None, spec);
        (JobSpec::id(&job), ToNode::Admit { job: Blob(job.bytes().to_vec()), contracts })
    }

    /// What is answered to it.
    pub(super) async fn ask_private(
        &mut self,
        contract: &SignedContract,
        epsilon: &str,
        edge: u32,
    ) -> (JobId, FromNode) {
        let (id, request) = self.private_job(contract, epsilon, edge);
        (id, self.ask(&request).await)
    }

    async fn spent(&self) -> u64 {
        let rows = self.store().spent().await.unwrap();
        rows.iter().map(|row| row.cost.epsilon_micro).sum()
    }
}

/// The signed refusal.
fn refused(answer: &FromNode) -> (Code, String) {
    let FromNode::Refused(bytes) = answer else { panic!("{answer:?}") };
    let refusal = Statement::<tacit_governance::Refusal>::verify(bytes).unwrap().into_body();
    (refusal.code, refusal.reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_spent_job_by_job_and_then_says_what_is_left() {
    let mut world = World::new("budget").await;
    let contract = world.private_contract();
    let (first, answer) = world.ask_private(&contract, "0.4", 1).await;
    assert!(matches!(answer, FromNode::Admitted(_)), "{answer:?}");
    assert_eq!(world.spent().await, 400_000);
    // The same again, with another nonce: it is under way, and costs nothing.
    let (_, again) = world.ask_private(&contract, "0.4", 1).await;
    assert_eq!((refused(&again).0, world.spent().await), (Code::RefusedRepeated, 400_000));
    // It fails: what it cost stays, and it may be asked again for as much once more.
    let lost = Terminal::Failed { code: Code::JobPeerLost, party: None, step: None, hint: String::new() };
    assert_eq!(world.ask(&ToNode::Close { job: first, terminal: lost }).await, FromNode::Done);
    let (second, answer) = world.ask_private(&contract, "0.4", 1).await;
    assert!(matches!(answer, FromNode::Admitted(_)), "{answer:?}");
    assert_eq!(world.spent().await, 800_000);
    // This one has its answer: it is the answer.
    assert_eq!(world.ask(&ToNode::Close { job: second, terminal: Terminal::Succeeded }).await, FromNode::Done);
    assert_eq!(refused(&world.ask_private(&contract, "0.4", 1).await.1).0, Code::RefusedRepeated);
    // Another question does not fit any more, and a cheaper one takes the last of it.
    let (code, reason) = refused(&world.ask_private(&contract, "0.4", 2).await.1);
    assert!(code == Code::RefusedBudget && reason.contains("left are epsilon 0.2,"), "{code} {reason}");
    assert!(matches!(world.ask_private(&contract, "0.2", 3).await.1, FromNode::Admitted(_)));
    assert_eq!(refused(&world.ask_private(&contract, "0.1", 4).await.1).0, Code::RefusedBudget);
    assert_eq!(world.spent().await, 1_000_000);
    // A job without noise is none of this contract's.
    assert_eq!(world.rows("SELECT count(*) FROM jobs WHERE epsilon_micro > 0").await, 3);
    world.end().await;
}
