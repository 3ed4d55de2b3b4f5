//! Attackers who know every row but one, ask whole jobs until their owners refuse, and guess whether that row is there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use serde_json::{Value, json};
use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
use tacit_governance::contract::{Cohort, ColumnGrant, DatasetGrant, Quota};
use tacit_governance::{
    ColumnInfo, ColumnKind, Contract, ContractParty, DatasetDescriptor, JobSpec, Ledger, Level, PrivacyCost,
    PrivacyLedger, PrivacyTerms, ProviderRef, Request, Role, SignedContract, User, admit,
};
use tacit_jobs::{ColumnKinds, Parts, Plan};
use tacit_types::{Code, Column, Columns, DatasetVersionId, Hash, JobId, Name, UnixMillis, Values};

mod world;
use world::World;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
/// The row that is asked about has this value; all others are known.
const TARGET: i64 = 37;
const OPERATOR: u8 = 9;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([n; 32]))
}

fn providers() -> Vec<ProviderRef> {
    let provider = |n| ProviderRef { owner: key(n).id(), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    [1, 2, 3].map(provider).to_vec()
}

fn contract(budget: PrivacyCost, job_epsilon_micro: u64) -> SignedContract {
    let party = |n: u8, role| ContractParty { name: Name::new(&format!("p{n}")).unwrap(), root: key(n).id(), role };
    let levels = vec![Level::AfterAggregate, Level::AfterCompare];
    let grant = |n: u8| DatasetGrant {
        owner: key(n).id(),
        dataset: DatasetVersionId([n; 32]),
        views: vec!["v".into()],
        columns: vec![ColumnGrant { name: "x".into(), levels: levels.clone() }],
    };
    let parties = vec![
        party(1, Role::Provider),
        party(2, Role::Provider),
        party(3, Role::Provider),
        party(OPERATOR, Role::Demander),
    ];
    let terms = Contract {
        version: 1,
        name: Name::new("counts").unwrap(),
        parties,
        datasets: [1, 2, 3].map(grant).to_vec(),
        kinds: vec!["stats/v1".into()],
        purpose: "counts".into(),
        recipients: vec![SealPublic([7; 32])],
        operators: vec![key(OPERATOR).id()],
        users: vec![User { root: key(OPERATOR).id(), node: key(OPERATOR).id(), seal: SealPublic([7; 32]) }],
        cohort: Cohort { rows: 3, contributors: 2 },
        quota: Quota { jobs: 1_000 },
        valid_from: UnixMillis(NOW.0 - 10),
        valid_until: UnixMillis(NOW.0 + 10),
        models: Vec::new(),
        scoring: None,
        alignment: None,
        checked: false,
        privacy: Some(PrivacyTerms { budget, job_epsilon_micro, only: true }),
        exact: None,
        price_plan: None,
        control: None,
        lifecycle: None,
    };
    let mut signed = SignedContract::draft(terms);
    [1, 2, 3, OPERATOR].iter().for_each(|n| drop(signed.sign(&key(*n), NOW).unwrap()));
    signed
}

/// The first owner's node: what it admits, what that has cost, and what was asked.
struct Owner {
    contract: SignedContract,
    dataset: DatasetDescriptor,
    spent: Cell<PrivacyCost>,
    asked: RefCell<BTreeMap<Hash, JobId>>,
    nonce: Cell<u8>,
}

impl Owner {
    fn new(budget: PrivacyCost, job_epsilon_micro: u64) -> Self {
        let column = ColumnInfo { name: "x".into(), kind: ColumnKind::Int, levels: Level::ALL.to_vec() };
        let dataset = DatasetDescriptor {
            format: 1,
            owner: key(1).id(),
            name: Name::new("rows").unwrap(),
            version: 1,
            columns: vec![column],
            row_bucket: 128,
            commitment: Hash([0; 32]),
            views: vec!["v".into()],
            aligned: None,
            terms: None,
        };
        let (spent, asked) = (Cell::default(), RefCell::default());
        Self { contract: contract(budget, job_epsilon_micro), dataset, spent, asked, nonce: Cell::new(0) }
    }

    /// Signs the job as the operator and decides as the owner.
    fn ask(&self, params: &[u8], plan: &dyn Plan) -> Result<(), Code> {
        self.nonce.set(self.nonce.get().wrapping_add(1));
        let spec = JobSpec {
            version: 1,
            kind: "stats/v1".into(),
            params: params.to_vec(),
            contracts: vec![self.contract.id()],
            providers: providers(),
            purpose: "counts".into(),
            recipient: SealPublic([7; 32]),
            cohort: Cohort { rows: 3, contributors: 2 },
            nonce: vec![self.nonce.get(); 16],
            created_at: UnixMillis(NOW.0 - 1),
            expires_at: UnixMillis(NOW.0 + 1),
            attempt_ms: 1000,
            models: Vec::new(),
            dealer: None,
            asker: None,
            attachments: Vec::new(),
        };
        let question = spec.question();
        let job = Statement::sign(&key(OPERATOR), "job", NOW, None, spec);
        let facts = Ok(plan.facts(&key(1).id()));
        let (feeds, rerun) = (plan.feeds(), tacit_jobs::review::runs as fn(&str) -> _);
        let request = Request { job: &job, facts, online: None, align: None, feeds, rerun, now: NOW };
        let contracts = [self.contract.clone()];
        let ledger = Ledger {
            owner: key(1).id(),
            contracts: &contracts,
            orders: &[],
            revoked: &[],
            dataset: Some(&self.dataset),
            sources: &[],
            models: &[],
            jobs_used: &|_| 0,
            rows_used: &|_| 0,
            privacy: PrivacyLedger {
                spent: &|_| self.spent.get(),
                asked: &|hash| self.asked.borrow().get(hash).copied(),
            },
            consumed: false,
            priced: &|_, _| true,
            speaker: &|key| Some(*key),
            unkept: None,
            high_water: NOW,
            coordinator: key(20).id(),
            site: None,
        };
        let admission = admit(&request, &ledger).map_err(|fault| fault.code)?;
        self.spent.set(self.spent.get().and(admission.privacy.unwrap()));
        self.asked.borrow_mut().insert(question, JobId([self.nonce.get(); 32]));
        Ok(())
    }
}

/// A question: its filter as it is written, and which values satisfy it.
struct Question {
    filter: String,
    keep: Box<dyn Fn(i64) -> bool>,
    /// How much the answer counts in the guess: a difference takes one from the other.
    weight: f64,
}

fn question(filter: String, weight: f64, keep: impl Fn(i64) -> bool + 'static) -> Question {
    Question { filter, keep: Box::new(keep), weight }
}

/// Values 0 to 39 at each owner; the first may lack the one that is asked about.
fn values(owner: usize, there: bool) -> Vec<i64> {
    let all = (0..40).filter(move |x| owner > 0 || *x != TARGET || there);
    all.collect()
}

fn batch(values: &[i64]) -> Vec<Columns> {
    let column = Column { name: "x".into(), values: Values::Int(values.to_vec()), valid: None };
    vec![Columns { rows: values.len(), columns: vec![column] }]
}

/// Asks until the owner refuses, and guesses. Gives the guess, the answers and what ended it.
fn attack(owner: &Owner, epsilon: &str, questions: &[Question], there: bool, seed: u64) -> (bool, usize, Code) {
    let (mut evidence, mut weight, mut answers) = (0.0, 0.0, 0);
    let mut end = Code::JobInternal;
    let kinds = ColumnKinds::from([("x".to_owned(), ColumnKind::Int)]);
    let kind = tacit_jobs::kind("stats/v1").unwrap();
    let providers = providers();
    for (i, asked) in questions.iter().enumerate() {
        let written = json!({
            "histograms": [{"column": "x", "edges": ["0", "1000"]}],
            "filter": asked.filter,
            "rows_max": 128,
            "privacy": {"epsilon": epsilon, "delta": "0.000000001"},
        });
        let params = kind.params(written, &kinds).unwrap();
        let plan = kind.plan(&params, &Parts { providers: &providers, ..Parts::default() }).unwrap();
        if let Err(code) = owner.ask(&params, plan.as_ref()) {
            end = code;
            // One repeat after the other is refused; only a budget that is spent ends it.
            match code {
                Code::RefusedRepeated => continue,
                _ => break,
            }
        }
        let kept = |owner: usize, there: bool| -> Vec<i64> {
            values(owner, there).into_iter().filter(|x| (asked.keep)(*x)).collect()
        };
        let world = World::new(3);
        world.seed.set(1 + seed * 1000 + i as u64);
        let rows: Vec<Vec<Columns>> = (0..3).map(|owner| batch(&kept(owner, there))).collect();
        let result: Value = world.open(plan.as_ref(), &world.run(plan.as_ref(), &rows, None));
        let known = (0..3).map(|owner| kept(owner, false).len()).sum::<usize>() as f64;
        let counts = [&result["rows"][0]["rows"], &result["histograms"][0]["bins"][1]["count"]];
        let mean = counts.iter().map(|count| count.as_f64().unwrap()).sum::<f64>() / 2.0;
        evidence += asked.weight * (mean - known);
        weight += asked.weight * f64::from(u8::from((asked.keep)(TARGET)));
        answers += 1;
    }
    (evidence > weight / 2.0, answers, end)
}

fn averaging() -> Vec<Question> {
    (0..12).map(|_| question("x >= 37 and x <= 37".into(), 1.0, |x| x == TARGET)).collect()
}

fn renamed() -> Vec<Question> {
    (0..12).map(|i| question(format!("x > 36 and x < 38 and x < {}", 1000 + i), 1.0, |x| x == TARGET)).collect()
}

fn differencing() -> Vec<Question> {
    let pair = |i: i64| {
        let low = i % 20;
        [
            question(format!("x >= {low} and x <= 37"), 1.0, move |x| (low..=TARGET).contains(&x)),
            question(format!("x >= {low} and x <= 36"), -1.0, move |x| (low..TARGET).contains(&x)),
        ]
    };
    (0..6).flat_map(pair).collect()
}

fn sliding() -> Vec<Question> {
    let window =
        |i: i64| question(format!("x >= {} and x <= {}", 37 - i, 45 - i), 1.0, move |x| (37 - i..=45 - i).contains(&x));
    (0..9).map(window).collect()
}

/// Trials of an attacker that must fail, and of one that must not.
const TRIALS: u64 = 60;
const CONTROLS: u64 = 16;

/// The share of right guesses over so many trials, with the answers of the first and what ended it.
fn accuracy(questions: fn() -> Vec<Question>, epsilon: &str, budget_micro: u64, trials: u64) -> (f64, usize, Code) {
    let micro = (epsilon.parse::<f64>().unwrap() * 1e6) as u64;
    let budget = PrivacyCost { epsilon_micro: budget_micro, delta_femto: 100_000_000 };
    let (mut right, mut first) = (0, None);
    for trial in 0..trials {
        // Both are as likely.
        let there = trial % 2 == 0;
        let owner = Owner::new(budget, micro);
        let (guess, answers, end) = attack(&owner, epsilon, &questions(), there, trial);
        assert!(owner.spent.get().within(budget), "{:?}", owner.spent.get());
        right += u64::from(guess == there);
        first.get_or_insert((answers, end));
    }
    let (answers, end) = first.unwrap();
    (right as f64 / trials as f64, answers, end)
}

/// With epsilon 0.4 in all nobody is right in more than e^0.4 / (1 + e^0.4), three in five; five standard errors above.
const MOST: f64 = 0.599 + 5.0 * 0.0632;

/// Attackers that have the budget for it succeed: what stops the others is the noise and its budget, not that they are dull.
const ENOUGH: f64 = 0.8;

#[test]
fn asking_again_gains_nothing() {
    let (share, answers, end) = accuracy(averaging, "0.1", 400_000, TRIALS);
    assert_eq!((answers, end), (1, Code::RefusedRepeated));
    assert!(share < MOST, "{share}");
    // Not even with a budget for all.
    let (_, answers, end) = accuracy(averaging, "0.1", 100_000_000, CONTROLS);
    assert_eq!((answers, end), (1, Code::RefusedRepeated));
}

#[test]
fn other_words_for_the_same_use_the_budget_up() {
    let (share, answers, end) = accuracy(renamed, "0.1", 400_000, TRIALS);
    assert_eq!((answers, end), (4, Code::RefusedBudget));
    assert!(share < MOST, "{share}");
    let (share, answers, _) = accuracy(renamed, "8", 96_000_000, CONTROLS);
    assert!(answers == 12 && share > ENOUGH, "{answers} answers, {share}");
}

#[test]
fn differences_tell_no_row() {
    let (share, answers, end) = accuracy(differencing, "0.1", 400_000, TRIALS);
    assert_eq!((answers, end), (4, Code::RefusedBudget));
    assert!(share < MOST, "{share}");
    let (share, ..) = accuracy(differencing, "8", 96_000_000, CONTROLS);
    assert!(share > ENOUGH, "{share}");
}

#[test]
fn sliding_windows_tell_no_row() {
    let (share, answers, end) = accuracy(sliding, "0.1", 400_000, TRIALS);
    assert_eq!((answers, end), (4, Code::RefusedBudget));
    assert!(share < MOST, "{share}");
    let (share, ..) = accuracy(sliding, "8", 96_000_000, CONTROLS);
    assert!(share > ENOUGH, "{share}");
}
