//! `score-linear/v1` between real machines: scores against the plain sum of the same model, and every rule for keys
//! that somebody does not have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{
    AttachmentRef, Cohort, ColumnKind, ModelDescriptor, ModelFamily, ModelRef, Precision, ProviderRef, Use,
};
use tacit_jobs::kind::DraftProvider;
use tacit_jobs::{ColumnKinds, Draft, JointContext, JointOutput, Material, Parts, Plan, score, session};
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Norm, Normed, NormedColumn, Shape, Term};
use tacit_protocol::{Abort, Effect, Event, Machine, Seating, Setup};
use tacit_types::{
    Attempt, Code, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, Name, NodeId, Seat,
    Values,
};

/// One owner: rows of a key, a number and a category; NULL is `None`.
struct Owner {
    key: SigningKey,
    rows: Vec<(&'static str, Option<f64>, Option<&'static str>)>,
    weight: f64,
    /// A second weight of the same number; zero is none.
    against: f64,
    /// Whether its number is divided by its own magnitude first.
    normed: bool,
}

fn owners(n: usize) -> Vec<Owner> {
    let rows = |i: usize| match i {
        0 => vec![("ann", Some(1.5), Some("a")), ("bob", Some(-2.0), Some("b")), ("cid", Some(1e-3), Some("z"))],
        1 => vec![("bob", Some(10.0), Some("b")), ("ann", Some(0.25), None), ("dot", Some(4.0), Some("a"))],
        _ => vec![("cid", None, Some("a")), ("bob", Some(3.0), Some("a")), ("ann", Some(7.0), Some("b"))],
    };
    let mut all: Vec<Owner> = (0..n)
        .map(|i| Owner {
            key: SigningKey::from_seed(&Secret::new([i as u8 + 1; 32])),
            rows: rows(i),
            weight: 0.0,
            against: 0.0,
            normed: false,
        })
        .collect();
    all.sort_by_key(|o| o.key.id());
    for (i, owner) in all.iter_mut().enumerate() {
        owner.weight = [0.7, -1.25, 3.5, -0.125, 2.0][i];
    }
    all
}

impl Owner {
    fn model(&self) -> Model {
        let mut terms = vec![
            Term { feature: 0, shape: Shape::Linear { weight: self.weight, missing: None } },
            Term {
                feature: 1,
                shape: Shape::Categories { points: vec![5.0, -6.5], other: Some(0.125), missing: Some(9.0) },
            },
        ];
        if self.against < 0.0 {
            terms.push(Term { feature: 0, shape: Shape::Linear { weight: self.against, missing: None } });
        }
        let meta = Meta { owner: self.key.id(), name: Name::new("credit").unwrap(), version: 1 };
        let features = vec![Feature::numeric("x"), Feature::categorical("c", vec!["a".into(), "b".into()])];
        let column = NormedColumn { feature: 0, offset: 0.0, scale: 1.0, weight: self.weight };
        let kind = match self.normed {
            true => Kind::Normed(Normed { norm: Norm::L1, intercept: 0.5, columns: vec![column] }),
            false => Kind::Additive(Additive { intercept: 0.5, terms }),
        };
        Model::new(meta, features, Link::Identity, kind).unwrap()
    }

    fn columns(&self) -> Columns {
        let column = |name: &str, values, valid| Column { name: name.into(), values, valid: Some(valid) };
        let rows = &self.rows;
        Columns {
            rows: rows.len(),
            columns: vec![
                column(
                    "x",
                    Values::Float(rows.iter().map(|r| r.1.unwrap_or(0.0)).collect()),
                    rows.iter().map(|r| r.1.is_some()).collect(),
                ),
                column(
                    "c",
                    Values::Text(rows.iter().map(|r| r.2.unwrap_or("").into()).collect()),
                    rows.iter().map(|r| r.2.is_some()).collect(),
                ),
                column("id", Values::Text(rows.iter().map(|r| r.0.into()).collect()), vec![true; rows.len()]),
            ],
        }
    }

    /// The plain part of a row's score; `None` when the row is not there, twice there, or has no number.
    fn part(&self, key: &str) -> Option<f64> {
        let mut rows = self.rows.iter().filter(|r| r.0 == key);
        let (row, more) = (rows.next()?, rows.next());
        let points = match row.2 {
            Some("a") => 5.0,
            Some("b") => -6.5,
            Some(_) => 0.125,
            None => 9.0,
        };
        if more.is_none() && self.normed {
            return Some(0.5 + self.weight * row.1?.signum());
        }
        if more.is_some() { None } else { Some(0.5 + self.weight * row.1? + points) }
    }
}

struct Job {
    owners: Vec<Owner>,
    providers: Vec<ProviderRef>,
    models: Vec<ModelRef>,
    attachments: Vec<AttachmentRef>,
    keys: Vec<u8>,
    written: Value,
    rows: u64,
}

fn kind() -> &'static dyn tacit_jobs::Kind {
    tacit_jobs::kind("score-linear/v1").unwrap()
}

impl Job {
    fn new(owners: Vec<Owner>, keys: &[&str], written: Value) -> Self {
        let (rows, keys) = score::keys::encode(keys.iter().copied()).unwrap();
        let provider =
            |o: &Owner| ProviderRef { owner: o.key.id(), dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let hash = Hash([1; 32]);
        Self {
            providers: owners.iter().map(provider).collect(),
            models: owners.iter().map(|o| ModelRef { owner: o.key.id(), model: ModelVersionId([1; 32]) }).collect(),
            attachments: vec![AttachmentRef {
                name: "keys".into(),
                plain: hash,
                sealed: hash,
                bytes: keys.len() as u64,
            }],
            owners,
            keys,
            written,
            rows,
        }
    }

    fn draft(&self) -> Draft {
        let columns: ColumnKinds = [("x", ColumnKind::Float), ("c", ColumnKind::Text), ("id", ColumnKind::Text)]
            .map(|(n, k)| (n.to_owned(), k))
            .into();
        let named = |(i, o): (usize, &Owner)| DraftProvider {
            name: format!("p{i}"),
            owner: o.key.id(),
            columns: columns.clone(),
        };
        let model = |o: &Owner| ModelDescriptor {
            format: 1,
            owner: o.key.id(),
            name: Name::new("credit").unwrap(),
            version: 1,
            family: ModelFamily::Linear,
            features: vec!["x".into(), "c".into()],
            commitment: Hash([0; 32]),
        };
        Draft {
            providers: self.owners.iter().enumerate().map(named).collect(),
            models: self.models.iter().cloned().zip(self.owners.iter().map(model)).collect(),
            dealer: None,
            keys: Some(self.rows),
        }
    }

    fn parts(&self) -> Parts<'_> {
        Parts { providers: &self.providers, models: &self.models, dealer: None, attachments: &self.attachments }
    }

    fn plan(&self) -> Result<Box<dyn Plan>, Fault> {
        kind().plan(&kind().draft(self.written.clone(), &self.draft())?, &self.parts())
    }

    fn run(&self) -> Vec<Result<JointOutput, Abort>> {
        let plan = self.plan().unwrap();
        let n = self.owners.len();
        let seating = Seating::new(self.owners.iter().map(|o| o.key.id()).collect()).unwrap();
        let mut machines: Vec<Machine<JointOutput>> = Vec::new();
        for (seat, owner) in self.owners.iter().enumerate() {
            let attachments = BTreeMap::from([("keys".to_owned(), self.keys.clone())]);
            let material = Material { model: Some(owner.model().encode()), attachments };
            let mut fold = plan.fold(&owner.key.id(), material).unwrap();
            fold.take(&owner.columns()).unwrap();
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(seat as u16),
                seating: seating.clone(),
                disclosures: plan.disclosures(),
                stream_bytes_max: 1 << 30,
            };
            let context = JointContext {
                session: Hash([5; 32]),
                aggregator: Seat(0),
                step_ms: 1000,
                cohort: Cohort { rows: 3, contributors: 2 },
                recipient: recipient().public(),
                owners: self.owners.iter().map(|o| o.key.id()).collect(),
            };
            let half = fold.finish();
            let key = Arc::new(SigningKey::from_seed(&Secret::new([owner_seed(&owner.key); 32])));
            machines.push(Machine::new(setup, &Secret::new([40 + seat as u8; 32]), key, Millis(0), |p| {
                half.run(p, context)
            }));
        }
        let mut events: VecDeque<(usize, Event)> = (0..n).map(|i| (i, Event::Start)).collect();
        let mut left = Vec::new();
        while let Some((to, event)) = events.pop_front() {
            for effect in machines[to].step(Millis(0), event) {
                match effect {
                    Effect::Send(m) => {
                        if session::is_input(m.address.step) && m.address.sequence == 0 {
                            left.push(m.address.from);
                        }
                        events.push_back((m.address.to.index(), Event::Received(m)));
                    }
                    Effect::Credit { to: sender, consumed } => {
                        events.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    Effect::Persist { ticket, .. } => events.push_back((to, Event::Persisted { ticket })),
                    _ => {}
                }
            }
        }
        // Each vector that leaves is known as one, so that no attempt after it is repeated.
        left.sort_unstable();
        assert_eq!(left, (1..n as u16).map(Seat).collect::<Vec<_>>());
        machines.iter_mut().map(|m| m.take_outcome().expect("nobody waits for ever")).collect()
    }

    fn open(&self) -> Value {
        let outputs: Vec<JointOutput> = self.run().into_iter().map(Result::unwrap).collect();
        assert!(outputs.iter().all(|o| o.survivors.len() == self.owners.len() && o.cells_out == self.rows));
        let releases = outputs.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
        let package = outputs[0].package.clone().unwrap();
        let open = |bytes: &[u8]| session::unblind(&recipient(), bytes, &releases);
        self.plan().unwrap().open(&package, &open).unwrap().json
    }

    /// What plain addition gives.
    fn plain(&self, key: &str) -> Vec<Option<f64>> {
        self.owners.iter().map(|o| o.part(key)).collect()
    }
}

fn owner_seed(key: &SigningKey) -> u8 {
    (1..9).find(|s| SigningKey::from_seed(&Secret::new([*s; 32])).id() == key.id()).unwrap()
}

fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

#[test]
fn two_three_and_five_owners_score_as_the_whole_model_does() {
    for n in [2, 3, 5] {
        let keys = ["bob", "ann", "bob"];
        let job = Job::new(owners(n), &keys, json!({"key": "id"}));
        let opened = job.open();
        for (i, key) in keys.iter().enumerate() {
            let plain: f64 = job.plain(key).into_iter().map(Option::unwrap).sum();
            let score = opened["scores"][i].as_f64().unwrap();
            assert!((score - plain).abs() < 1e-8, "{key}: {score}, not {plain}");
        }
        assert_eq!((opened["unknown"].clone(), opened["parties"].clone()), (json!(0), json!(n)));
    }
}

#[test]
fn an_owners_part_may_divide_a_row_by_its_norm() {
    let mut owners = owners(2);
    owners[1].normed = true;
    let job = Job::new(owners, &["bob", "ann"], json!({"key": "id"}));
    let opened = job.open();
    for (i, key) in ["bob", "ann"].iter().enumerate() {
        let plain: f64 = job.plain(key).into_iter().map(Option::unwrap).sum();
        assert!((opened["scores"][i].as_f64().unwrap() - plain).abs() < 1e-8, "{key}");
    }
}

#[test]
fn the_link_is_applied_by_the_recipient() {
    let job = Job::new(owners(3), &["ann"], json!({"key": "id", "link": "logistic"}));
    let plain: f64 = job.plain("ann").into_iter().map(Option::unwrap).sum();
    let score = job.open()["scores"][0].as_f64().unwrap();
    assert!((score - 1.0 / (1.0 + (-plain).exp())).abs() < 1e-9);
}

#[test]
fn each_rule_for_unknown_keys_does_what_it_says() {
    // Nobody has `eve`; only two have `cid`, of whom one has no number for it; one has `dot`.
    let keys = ["ann", "cid", "dot", "eve", "bob"];
    let run = |rule: &str, keys: &[&str]| Job::new(owners(3), keys, json!({"key": "id", "unknown": rule})).open();
    let flagged = run("flag", &keys);
    assert_eq!(flagged["unknown"], json!(3));
    assert!([1, 2, 3].iter().all(|i| flagged["scores"][*i].is_null()));
    assert!([0, 4].iter().all(|i| flagged["scores"][*i].is_f64()));
    let refused = run("refuse", &keys);
    assert!((0..5).all(|i| refused["scores"][i].is_null()), "{refused}");
    assert!(run("refuse", &["ann", "bob"])["scores"][1].is_f64());
    let job = Job::new(owners(3), &keys, json!({"key": "id", "unknown": "default"}));
    let opened = job.open();
    for (i, key) in keys.iter().enumerate() {
        let plain: f64 = job.plain(key).into_iter().flatten().sum();
        assert!((opened["scores"][i].as_f64().unwrap() - plain).abs() < 1e-8, "{key}");
    }
}

#[test]
fn a_key_that_stands_twice_in_the_data_is_as_good_as_none() {
    let mut owners = owners(2);
    let again = owners[1].rows[1];
    owners[1].rows.push(again);
    let opened = Job::new(owners, &["ann", "bob"], json!({"key": "id"})).open();
    assert_eq!(opened["unknown"], json!(1));
}

#[test]
fn extreme_values_are_clamped_and_never_wrap() {
    let mut owners = owners(2);
    owners[0].rows[1].1 = Some(1e300);
    owners[1].rows[0].1 = Some(1e300);
    let ids: Vec<f64> =
        owners.iter().map(|o| o.part(o.rows.iter().find(|r| r.1 == Some(1e300)).unwrap().0).unwrap()).collect();
    let job = Job::new(owners, &["bob", "ann"], json!({"key": "id"}));
    let score = job.open()["scores"][0].as_f64().unwrap();
    let most = f64::from(1u32 << score::PARTIAL_BITS);
    let expected: f64 = job.plain("bob").into_iter().flatten().map(|p| p.clamp(-most, most)).sum();
    assert!((score - expected).abs() < 1e-6, "{score} {expected} {ids:?}");
}

/// Finite weights of a finite value whose terms overflow to both sides: their sum is no number, and no score of zero.
#[test]
fn a_sum_that_is_no_number_is_as_good_as_none() {
    let mut owners = owners(2);
    (owners[0].weight, owners[0].against) = (1e300, -1e300);
    let Some(bob) = owners[0].rows.iter_mut().find(|r| r.0 == "bob") else { panic!() };
    bob.1 = Some(1e300);
    let opened = Job::new(owners, &["ann", "bob"], json!({"key": "id"})).open();
    assert_eq!(opened["unknown"], json!(1), "{opened}");
    assert!(opened["scores"][0].is_f64() && opened["scores"][1].is_null(), "{opened}");
}

#[test]
fn a_job_whose_parts_do_not_fit_is_refused() {
    let good = || Job::new(owners(3), &["ann"], json!({"key": "id"}));
    assert!(good().plan().is_ok());
    let refused = |job: Job| job.plan().map(|_| ()).unwrap_err().code;
    let with = |written: Value| refused(Job::new(owners(3), &["ann"], written));
    assert_eq!(with(json!({})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "nope"})), Code::DataColumnUnknown);
    assert_eq!(with(json!({"key": "id", "unknown": "guess"})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "id", "output": "decision"})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "id", "threshold": "1"})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "id", "output": "rounded", "decimals": 7})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "id", "output": "band", "bands": ["2", "1"]})), Code::RefusedParameters);
    assert_eq!(with(json!({"key": "id", "features": {"stranger": ["x"]}})), Code::RefusedParameters);
    let change = |change: fn(&mut Job)| {
        let mut job = good();
        change(&mut job);
        refused(job)
    };
    assert_eq!(change(|j| j.models.truncate(j.models.len() - 1)), Code::RefusedParameters);
    assert_eq!(change(|j| j.models[0].owner = NodeId([9; 32])), Code::RefusedParameters);
    assert_eq!(change(|j| j.attachments.clear()), Code::RefusedParameters);
    assert_eq!(change(|j| j.attachments[0].name = "other".into()), Code::RefusedParameters);
    assert_eq!(change(|j| j.rows = 0), Code::RefusedParameters);
    assert_eq!(change(|j| j.rows = score::keys::KEYS_MAX + 1), Code::RefusedParameters);
    // Fewer keys than the job names, a model with other features, no model: found before anything is read.
    let fold = |material: Material, job: &Job| {
        job.plan().unwrap().fold(&job.owners[0].key.id(), material).map(|_| ()).unwrap_err().code
    };
    let job = Job::new(
        owners(3),
        &["ann", "bob"],
        json!({"key": "id", "features": {"p0": ["x"], "p1": ["x", "c"], "p2": ["x", "c"]}}),
    );
    let keys =
        |list: &[&str]| BTreeMap::from([("keys".to_owned(), score::keys::encode(list.iter().copied()).unwrap().1)]);
    let model = Some(job.owners[0].model().encode());
    assert_eq!(fold(Material { model: model.clone(), attachments: keys(&["ann"]) }, &job), Code::RefusedParameters);
    assert_eq!(fold(Material { model: None, attachments: keys(&["ann", "bob"]) }, &job), Code::RefusedModel);
    assert_eq!(fold(Material { model, attachments: keys(&["ann", "bob"]) }, &job), Code::RefusedModel);
}

#[test]
fn the_decision_hears_of_every_column_and_of_the_rows() {
    let job = Job::new(owners(2), &["ann", "bob"], json!({"key": "id"}));
    let plan = job.plan().unwrap();
    let owner = job.owners[0].key.id();
    let facts = plan.facts(&owner);
    let mut uses = facts.uses;
    uses.sort_unstable();
    assert_eq!(uses, [("c".into(), Use::Score), ("id".into(), Use::Key), ("x".into(), Use::Score)]);
    let score = facts.score.unwrap();
    assert_eq!((score.rows, score.precision, facts.providers_min), (2, Precision::Score, 2));
    let mut read = plan.local_query(&owner, "v").columns;
    read.sort_unstable();
    assert_eq!(read, ["c", "id", "x"]);
    assert_eq!(plan.disclosures()[0].cells_max, 4);
    assert!(plan.facts(&NodeId([9; 32])).uses.is_empty());
}

#[test]
fn kinds_of_columns_are_checked_before_rows_so_no_failure_tells_of_a_key() {
    let job = Job::new(owners(2), &["ann"], json!({"key": "id"}));
    let plan = job.plan().unwrap();
    let owner = &job.owners[0];
    let fold = || {
        let attachments = BTreeMap::from([("keys".to_owned(), job.keys.clone())]);
        let material = Material { model: Some(owner.model().encode()), attachments };
        plan.fold(&owner.key.id(), material).unwrap()
    };
    let empty = |x: Values, id: Values| {
        let column = |name: &str, values| Column { name: name.into(), values, valid: None };
        let columns = vec![column("x", x), column("c", Values::Text(vec![])), column("id", id)];
        Columns { rows: 0, columns }
    };
    assert!(fold().take(&empty(Values::Int(vec![]), Values::Int(vec![]))).is_ok());
    let wrong = |x, id| fold().take(&empty(x, id)).unwrap_err().code;
    assert_eq!(wrong(Values::Text(vec![]), Values::Text(vec![])), Code::ModelInput);
    assert_eq!(wrong(Values::Float(vec![]), Values::Float(vec![])), Code::DataColumnType);
    // What a row holds makes nothing fail: NULL keys, keys that nobody asked for, values without end.
    let mut rows = owner.columns();
    rows.columns[0].values = Values::Float(vec![f64::MAX, -f64::MAX, f64::NAN]);
    rows.columns[2].valid = Some(vec![true, false, true]);
    assert!(fold().take(&rows).is_ok());
}
