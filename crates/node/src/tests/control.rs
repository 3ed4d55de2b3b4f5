//! What an owner holds over use: quota, lists, approvals, consent. Requests as they come over the wire.

use std::collections::BTreeMap;

use tacit_governance::control::{Answer, ApprovalRule, Control, Office, ReviewRule, Right, RightKind};
use tacit_governance::grade::{Basis, BasisKind, Class, ConsentFor, DatasetTerms, Grade, Sharing};
use tacit_governance::orders::{AlgorithmReview, Denied, NegativeList, RiskAssessment, Verdict};
use tacit_governance::{Lifecycle, Order, Refusal, Revocation, Rule};
use tacit_types::query::Compare;
use tacit_types::{Literal, LocalQuery, Predicate};

use super::*;
use crate::datasets;
use crate::store::{ORDERS_MAX, STOPS_MAX};

pub(super) const TRUSTEE: u8 = 20;
pub(super) const CDO: u8 = 21;

impl World {
    /// The usual contract with other terms, signed by everybody.
    pub(super) fn agreed(&self, change: impl FnOnce(&mut Contract)) -> SignedContract {
        let mut terms = self.contract("changed", 60_000, true).body().clone();
        change(&mut terms);
        let mut contract = SignedContract::draft(terms);
        for signer in [&key(1), &key(2), &key(4), &self.keys.root] {
            // Those that the changed terms leave out do not sign.
            let _ = contract.sign(signer, crate::now());
        }
        contract
    }

    /// One that a trustee and this owner's chief data officer approve.
    pub(super) fn controlled(&self) -> SignedContract {
        let until = crate::now().plus(60_000);
        let right = |kind, holder| Right { dataset: self.dataset, kind, holder, basis: Hash([1; 32]), until };
        let rule = |office, owner, approver| ApprovalRule { office, owner, keys: vec![key(approver).id()], need: 1 };
        let owner = self.keys.root.id();
        self.agreed(|c| {
            // The three owners of these tests share one version: the rights to it are the first one's.
            c.datasets.truncate(1);
            c.parties.retain(|p| p.root == owner || p.role == Role::Demander);
            c.control = Some(Control {
                rights: vec![
                    right(RightKind::Hold, owner),
                    right(RightKind::Process, owner),
                    right(RightKind::Operate, key(4).id()),
                ],
                declarations: vec![Answer::No; 4],
                venue: None,
                regions: Vec::new(),
                cross_border: None,
                approvals: vec![rule(Office::Trustee, None, TRUSTEE), rule(Office::ChiefDataOfficer, Some(owner), CDO)],
                emergency: None,
                delegation: 0,
                liability: Vec::new(),
                dispute: None,
                review: None,
                risk: None,
                scene: None,
            });
        })
    }

    async fn refused(&mut self, contract: &SignedContract) -> Refusal {
        let (_, job, contracts) = self.job(contract);
        match self.ask(&ToNode::Admit { job, contracts }).await {
            FromNode::Refused(bytes) => Statement::<Refusal>::verify(&bytes).unwrap().into_body(),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_jobs_at_once_a_quota_of_ten_admits_ten() {
    let mut world = World::new("hundred").await;
    let contract = world.agreed(|c| c.quota = Quota { jobs: 10 });
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (_, job, contracts) = world.job(&contract);
            let (inner, bytes) = (world.node.inner().clone(), wire::encode(&ToNode::Admit { job, contracts }));
            tokio::spawn(async move {
                let answer = inner.respond(key(COORDINATOR).id(), &bytes).await.unwrap();
                wire::decode::<FromNode>(&answer).unwrap()
            })
        })
        .collect();
    let mut admitted = 0;
    for answer in asked {
        match answer.await.unwrap() {
            FromNode::Admitted(_) => admitted += 1,
            FromNode::Refused(bytes) => {
                let refusal = Statement::<Refusal>::verify(&bytes).unwrap().into_body();
                assert_eq!((refusal.code, refusal.reason.as_str()), (Code::RefusedQuota, "10 of 10 jobs used"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(admitted, 10);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_taken_in_stops_a_grant_at_the_next_admission() {
    let mut world = World::new("listed").await;
    let contract = world.contract("good", 60_000, true);
    world.admit(&contract).await;
    let list = |number, purpose: &str| {
        let items = vec![Denied { purpose: Some(purpose.into()), ..Denied::default() }];
        let body = NegativeList { name: "ours".into(), number, items, reason: "order 17".into(), until: None };
        Order::read(Statement::sign(&key(30), "ours", crate::now(), None, body).bytes()).unwrap()
    };
    world.store().put_order(&list(2, "tests"), crate::now()).await.unwrap();
    let refusal = world.refused(&contract).await;
    assert_eq!(refusal.code, Code::RefusedListed);
    assert!(refusal.reason.contains("ours") && refusal.reason.contains("order 17"), "{}", refusal.reason);
    // An earlier list of the same name changes nothing; a later one takes its place.
    let earlier = world.store().put_order(&list(1, "else"), crate::now()).await;
    assert_eq!(earlier.unwrap_err().code, Code::ArgsInvalid);
    assert_eq!(world.refused(&contract).await.code, Code::RefusedListed);
    world.store().put_order(&list(3, "else"), crate::now()).await.unwrap();
    assert_eq!(world.store().orders().await.unwrap().len(), 1);
    world.admit(&contract).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_veto_stops_what_was_approved_and_reserved() {
    let mut world = World::new("veto").await;
    let mut contract = world.controlled();
    let now = crate::now();
    assert_eq!(world.judge(&contract).await, (Rule::Approvals, Some(Code::RefusedApproval)));
    contract.approve(&key(TRUSTEE), Verdict::Approve, "", now).unwrap();
    contract.approve(&key(CDO), Verdict::Approve, "", now).unwrap();
    // Approved, the job is judged by what comes later: it names owners that this contract does not.
    assert_eq!(world.judge(&contract).await, (Rule::Parties, Some(Code::RefusedParties)));
    world.store().put_contract(&contract).await.unwrap();
    let kept = world.store().contracts().await.unwrap();
    assert_eq!((kept[0].signatures().len(), kept[0].approvals().len()), (2, 2));
    assert!(kept[0].unapproved().is_empty());
    let mut vetoed = contract.clone();
    vetoed.approve(&key(TRUSTEE), Verdict::Reject, "not so", now).unwrap();
    world.store().put_contract(&vetoed).await.unwrap();
    // Whoever brings the approval again does not undo it.
    world.store().put_contract(&contract).await.unwrap();
    let kept = world.store().contracts().await.unwrap();
    assert_eq!(kept[0].unapproved(), ["a trustee has rejected it"]);
    assert_eq!(world.judge(&contract).await, (Rule::Approvals, Some(Code::RefusedApproval)));
    let id = contract.id();
    let mut tx = world.store().begin().await.unwrap();
    let start = crate::serve::in_force(&mut tx, &id, now).await;
    assert_eq!(start.unwrap_err().code, Code::RefusedApproval, "an attempt does not begin either");
    drop(tx);
    world.end().await;
}

impl World {
    /// What `contract test` says: nothing of it is kept.
    async fn judge(&mut self, contract: &SignedContract) -> (Rule, Option<Code>) {
        let (id, job, _) = self.job(contract);
        let job = JobSpec::verify(&job).unwrap();
        let whose = crate::ledger::Whose {
            owner: self.keys.root.id(),
            coordinator: key(COORDINATOR).id(),
            keys: tacit_receipts::KeyHistory::none(),
            site: None,
        };
        let offered = (vec![contract.clone()], tacit_engine::PricePlans::default());
        let judged = crate::ledger::test(self.store(), whose, &job, offered, crate::now()).await.unwrap();
        assert!(self.store().job(&id).await.unwrap().is_none(), "nothing is consumed");
        (judged.rule, judged.decision.err().map(|f| f.code))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_that_one_person_withdraws_takes_one_row_out_of_the_next_job() {
    let world = World::new("consent").await;
    let path = world.home.join("p.csv");
    let write = |agreed: [u8; 6]| {
        let rows: Vec<String> = agreed.iter().enumerate().map(|(i, a)| format!("{i},{a},1")).collect();
        std::fs::write(&path, format!("n,agreed,adult\n{}\n", rows.join("\n"))).unwrap();
    };
    write([1, 1, 1, 1, 0, 1]);
    let one = |column: &str| Predicate::Compare { column: column.into(), op: Compare::Eq, value: Literal::Int(1) };
    let terms = DatasetTerms {
        class: Class::Personal,
        grade: Grade(2),
        sharing: Sharing::Conditional,
        basis: Some(Basis { kind: BasisKind::Consent, document: Hash([1; 32]), until: crate::now().plus(60_000) }),
        consent: vec![ConsentFor { purpose: "tests".into(), recipients: Vec::new() }],
        anonymised: None,
        registration: None,
        region: None,
        export_controlled: false,
        secret: false,
    };
    let options = datasets::AddOptions {
        all: Some(vec![Level::AfterAggregate]),
        consent: Some(one("adult")),
        purposes: BTreeMap::from([("tests".to_owned(), one("agreed"))]),
        terms: Some(terms.clone()),
        ..Default::default()
    };
    let (called, sources) = (name("people"), Default::default());
    let source = tacit_data::Source::parse(path.to_str().unwrap()).unwrap();
    let (row, _) = datasets::add(world.store(), &world.keys, &called, source, &sources, options).await.unwrap();
    assert_eq!(datasets::descriptor(&row).unwrap().terms, Some(terms));
    // As a job reads it: registration and rule from the database, the file as it lies there.
    let read = async |purpose: &str| {
        let kept = datasets::kept(&datasets::find(world.store(), &row.id).await.unwrap()).unwrap();
        let dataset = tacit_data::Dataset::open(kept.registration.clone(), &sources).await.unwrap();
        dataset.check().await.unwrap();
        let query = LocalQuery { view: "people".into(), columns: vec!["n".into()], filter: None };
        let rule = kept.rule(purpose);
        let limits = tacit_data::Limits::default();
        dataset.run(&query, rule.as_ref(), &limits, |_| Ok(())).await.unwrap().rows_kept
    };
    assert_eq!((read("tests").await, read("another").await), (5, 6));
    write([1, 0, 1, 1, 0, 1]);
    assert_eq!((read("tests").await, read("another").await), (4, 6));
    world.end().await;
}

/// However many assessments there are: what ends a use is still taken in, up to a number of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_a_use_has_room_that_nothing_else_takes() {
    let world = World::new("room").await;
    let assessed = |n: i64| {
        let (party, report) = (NodeId([(n % 251) as u8; 32]), Hash([1; 32]));
        let body = RiskAssessment { party, score: 1, report, until: UnixMillis(n as u64) };
        Order::read(Statement::sign(&key((n / 251) as u8 + 1), "", UnixMillis(n as u64), None, body).bytes()).unwrap()
    };
    let list = |n: i64, number| {
        let items = vec![Denied { purpose: Some("none".into()), ..Denied::default() }];
        let body = NegativeList { name: n.to_string(), number, items, reason: "no".into(), until: None };
        Order::read(Statement::sign(&key(30), "ours", crate::now(), None, body).bytes()).unwrap()
    };
    let mut tx = world.store().begin().await.unwrap();
    for n in 0..ORDERS_MAX {
        tx.put_order(&assessed(n), UnixMillis(1)).await.unwrap();
    }
    assert_eq!(tx.put_order(&assessed(ORDERS_MAX), UnixMillis(1)).await.unwrap_err().code, Code::ArgsInvalid);
    for n in 0..STOPS_MAX {
        tx.put_order(&list(n, 1), UnixMillis(1)).await.unwrap();
    }
    assert_eq!(tx.put_order(&list(STOPS_MAX, 1), UnixMillis(1)).await.unwrap_err().code, Code::ArgsInvalid);
    tx.put_order(&list(7, 2), UnixMillis(2)).await.unwrap();
    drop(tx);
    world.end().await;
}

/// A statement of another party that this owner took in stops what was admitted under the contract, and its results.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_that_is_taken_in_stops_a_job_and_its_lifting_lets_the_next_begin() {
    let mut world = World::new("suspended").await;
    let contract = world.contract("good", 60_000, true);
    let say = |by: u8, until: Option<u64>, at: u64| {
        let body = Revocation { contract: contract.id(), reason: "under review".into(), until: until.map(UnixMillis) };
        Order::read(Statement::sign(&key(by), "", UnixMillis(at), None, body).bytes()).unwrap()
    };
    let now = crate::now().0;
    let job = world.admit(&contract).await;
    assert_eq!(world.store().halted_jobs(crate::now()).await.unwrap().len(), 0);
    // A stranger's word is kept and counts for nothing.
    world.store().put_order(&say(30, None, now), crate::now()).await.unwrap();
    assert_eq!(world.store().halted_jobs(crate::now()).await.unwrap().len(), 0);
    world.store().put_order(&say(1, Some(now + 60_000), now), crate::now()).await.unwrap();
    let halted = world.store().halted_jobs(crate::now()).await.unwrap();
    assert_eq!(halted.iter().map(|(id, f)| (*id, f.code)).collect::<Vec<_>>(), [(job, Code::RefusedContractSuspended)]);
    assert_eq!(code(&world.reserve(job, 1).await), Some(Code::RefusedContractSuspended));
    assert_eq!(world.refused(&contract).await.code, Code::RefusedContractSuspended);
    // Lifted by a later one, not by an earlier one.
    let earlier = world.store().put_order(&say(1, Some(now), now - 1000), crate::now()).await;
    assert_eq!(earlier.unwrap_err().code, Code::ArgsInvalid);
    world.store().put_order(&say(1, Some(now), now + 1000), crate::now()).await.unwrap();
    assert_eq!(world.reserve(job, 1).await, FromNode::Reserved);
    // For good: between reservation and start, and nothing takes it back.
    world.store().put_order(&say(2, None, now), crate::now()).await.unwrap();
    assert_eq!(code(&world.begin(job, 1, 101, 60_000).await), Some(Code::RefusedContractRevoked));
    let back = world.store().put_order(&say(2, Some(now), now + 9000), crate::now()).await;
    assert_eq!(back.unwrap_err().code, Code::ArgsInvalid);
    world.end().await;
}

/// A new version begins with what was used of the one before, which is used no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_what_was_used_of_the_one_before() {
    let mut world = World::new("version").await;
    let old = world.agreed(|c| c.quota = Quota { jobs: 3 });
    world.admit(&old).await;
    world.admit(&old).await;
    let new = world.agreed(|c| {
        c.quota = Quota { jobs: 3 };
        c.lifecycle = Some(Lifecycle { amends: Some(old.id()), ..Lifecycle::default() });
    });
    world.admit(&new).await;
    let refusal = world.refused(&new).await;
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::RefusedQuota, "3 of 3 jobs used"));
    assert_eq!(world.refused(&old).await.code, Code::RefusedContractReplaced);
    world.end().await;
}

/// A decision runs no test vectors: they were run before its transaction, where a review asks for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_vectors_are_run_before_a_decision_and_not_in_it() {
    let mut world = World::new("reviewed").await;
    let contract = world.controlled().body().clone();
    let until = crate::now().plus(60_000);
    let contract = {
        let mut body = contract;
        let control = body.control.as_mut().unwrap();
        control.approvals.clear();
        control.review = Some(ReviewRule { reviewers: vec![key(31).id(), key(32).id()], need: 2, rerun: true });
        let mut contract = SignedContract::draft(body);
        contract.sign(&key(4), crate::now()).unwrap();
        contract.sign(&world.keys.root, crate::now()).unwrap();
        contract
    };
    let reviewed = tacit_jobs::review::run("count/v1").unwrap();
    for n in [31, 32] {
        let body = AlgorithmReview {
            kind: "count/v1".into(),
            model: None,
            verdict: Verdict::Approve,
            grade_max: Grade(4),
            vectors: reviewed.vectors,
            until,
            runs: reviewed.runs.clone(),
        };
        let order = Order::read(Statement::sign(&key(n), "review", crate::now(), None, body).bytes()).unwrap();
        world.store().put_order(&order, crate::now()).await.unwrap();
    }
    let (_, job, contracts) = world.job(&contract);
    let parsed = JobSpec::verify(&job).unwrap();
    let keys = world.node.inner().known.keys();
    let whose = crate::ledger::Whose {
        owner: world.keys.root.id(),
        coordinator: key(COORDINATOR).id(),
        keys: &keys,
        site: None,
    };
    let offered = || (tacit_engine::Worker::contracts(&contracts), Default::default());
    let now = crate::now();
    let mut tx = world.store().begin().await.unwrap();
    let judged = crate::ledger::with(&mut tx, whose, parsed.body(), offered(), false, now, |ledger| {
        tacit_engine::Worker::judge(&parsed, ledger, now).rule
    });
    assert_eq!(judged.await.unwrap(), Rule::Review, "within the transaction nothing is run");
    drop(tx);
    assert!(!tacit_jobs::review::is_run("count/v1"));
    let judged = crate::ledger::test(world.store(), whose, &parsed, offered(), now).await.unwrap();
    assert!(judged.rule > Rule::Review, "{:?}", judged.rule);
    assert!(tacit_jobs::review::is_run("count/v1"));
    world.end().await;
}
