//! `verify/v1` between real machines: rules over columns of several owners and linear thresholds, NULL and unknown
//! keys, what is opened, and what is refused.

mod shares;

use serde_json::{Value, json};
use shares::{Fate, Job, ONE, Table};
use tacit_governance::Precision;
use tacit_models::{Additive, Feature, Kind, Link, Meta, Model, Shape, Term};
use tacit_types::{Code, Column, Columns, Name, Values};

const KEYS: [&str; 7] = ["ann", "bob", "cid", "dot", "eve", "fay", "ann"];

/// A bank with incomes, a telecom with tenures and plans, a shop with a flag. `eve` is in no table of the telecom, `fay`
/// has no income, `dot` no plan.
fn tables(owners: usize) -> Vec<Table> {
    let text = |name: &str, list: &[&str], valid: Option<Vec<bool>>| Column {
        name: name.into(),
        values: Values::Text(list.iter().map(|s| s.to_string()).collect()),
        valid,
    };
    let incomes = Column {
        name: "income".into(),
        values: Values::Float(vec![5000.0, 4999.99, 9000.0, 5000.0, 7000.0, 0.0]),
        valid: Some(vec![true, true, true, true, true, false]),
    };
    let tenures = Column { name: "tenure".into(), values: Values::Int(vec![12, 40, 11, 12, 3]), valid: None };
    let bank = vec![text("id", &["ann", "bob", "cid", "dot", "eve", "fay"], None), incomes];
    let some = Some(vec![true, true, true, false, true]);
    let telecom = vec![
        text("id", &["ann", "bob", "cid", "dot", "fay"], None),
        tenures,
        text("plan", &["gold", "gold", "basic", "", "gold"], some),
    ];
    let shop = vec![
        text("id", &["fay", "eve", "dot", "cid", "bob", "ann"], None),
        Column { name: "orders".into(), values: Values::Int(vec![1, 2, 3, 4, 5, 0]), valid: None },
    ];
    let table = |(i, columns): (usize, Vec<Column>)| Table {
        name: format!("p{i}"),
        owner: Job::party(i),
        columns: Columns { rows: columns[1].values.len(), columns },
    };
    [bank, telecom, shop].into_iter().enumerate().map(table).take(owners).collect()
}

fn rule(owners: usize, rule: &str, more: Value) -> Job {
    let mut written = json!({"key": "id", "rule": rule});
    for (name, value) in more.as_object().unwrap() {
        written[name] = value.clone();
    }
    Job::new("verify/v1", tables(owners), Vec::new(), written).keyed(&KEYS)
}

#[test]
fn rules_answer_as_the_table_of_all_columns_would() {
    // Each answer is for ann, bob, cid, dot; eve and fay lack what is asked.
    let cases: [(usize, &str, [bool; 4]); 11] = [
        (2, "income >= 5000 and tenure >= 12", [true, false, false, true]),
        (2, "income >= 5000 or tenure >= 12", [true, true, true, true]),
        (2, "not (income >= 5000 and tenure >= 12)", [false, true, true, false]),
        (2, "income > 5000 or not tenure < 12", [true, true, true, true]),
        (2, "(income > 5000 or tenure > 12) and income < 9000", [false, true, false, false]),
        (2, "income >= 5000", [true, false, true, true]),
        (2, "tenure in (12, 40) and income <> 5000", [false, true, false, false]),
        (3, "income >= 5000 and tenure >= 12 and orders < 1", [true, false, false, false]),
        (3, "income < 5000 or tenure < 12 or orders >= 3", [false, true, true, true]),
        (3, "(income < 5000 and orders = 5) or (tenure = 11 and orders = 4)", [false, true, true, false]),
        (3, "not (orders > 3 or (income >= 5000 and not tenure = 12))", [true, false, false, true]),
    ];
    for (owners, text, wanted) in cases {
        let opened = rule(owners, text, json!({})).open();
        let mut answers: Vec<bool> = wanted.to_vec();
        // No, and nobody is told that they are unknown.
        let asked_income = text.contains("income");
        answers.extend([false, false, wanted[0]]);
        let found = opened["decisions"].as_array().unwrap();
        assert_eq!(found.len(), KEYS.len());
        for (i, (found, wanted)) in found.iter().zip(&answers).enumerate() {
            assert!(asked_income || i != 5);
            assert_eq!(found, &json!(wanted), "{text}: {}", KEYS[i]);
        }
        assert_eq!(opened["unknown"], json!(0), "nobody is told");
    }
}

#[test]
fn what_has_no_value_is_asked_for_by_name_or_unknown() {
    let flagged = |text: &str| rule(2, text, json!({"unknown": "flag"})).open();
    let opened = flagged("income >= 5000 and plan = 'gold'");
    assert_eq!(opened["decisions"], json!([true, false, false, null, null, null, true]));
    let opened = flagged("income >= 5000 and (plan is null or plan = 'gold')");
    assert_eq!(opened["decisions"], json!([true, false, false, true, null, null, true]));
    let opened = flagged("income is null and tenure >= 3");
    assert_eq!(opened["decisions"], json!([false, false, false, false, null, true, false]));
    let refused = rule(2, "income >= 5000 and tenure >= 12", json!({"unknown": "refuse"}));
    assert_eq!((refused.open()["unknown"].clone(), refused.cells()), (json!(7), vec![0, 0, 0, 0, 0, 0, 0, ONE]));
}

#[test]
fn the_answers_alone_are_opened() {
    for (more, cells) in [(json!({}), 7), (json!({"unknown": "flag"}), 14), (json!({"unknown": "refuse"}), 8)] {
        let job = rule(3, "income >= 5000 and (tenure >= 12 or orders > 2)", more);
        let plan = job.plan().unwrap();
        let listed: Vec<(String, u64)> = plan.disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
        assert_eq!(listed, [("result".to_owned(), cells)]);
        let facts = plan.facts(&Job::party(1));
        assert_eq!((facts.score.unwrap().precision, facts.score.unwrap().rows), (Precision::Decision, 7));
        assert_eq!(facts.uses.len(), 2);
        let run = job.run(Fate::Well);
        for usage in &run.usage {
            assert_eq!(usage.opened.clone().into_iter().collect::<Vec<_>>(), listed, "at every seat");
        }
        assert!(job.cells().iter().all(|cell| [0, ONE].contains(cell)));
        for (seat, whole) in run.messages.into_iter().enumerate() {
            let run = job.run(Fate::Lost { seat, after: whole / 2 });
            assert!(run.outcomes.iter().enumerate().all(|(i, o)| i == seat || o.is_err()), "{seat}");
        }
    }
}

#[test]
fn what_an_owner_sends_has_one_size_whatever_it_answers() {
    let sizes =
        |text: &str| rule(2, text, json!({})).run(Fate::Well).usage.into_iter().map(|u| u.sent).collect::<Vec<_>>();
    assert_eq!(sizes("income >= 5000 and tenure >= 12"), sizes("income >= 1 and tenure >= 9000"));
}

fn linear(names: &[&str], weights: &[f64]) -> Model {
    let meta = Meta { owner: Job::party(20), name: Name::new("credit").unwrap(), version: 1 };
    let terms = weights.iter().enumerate();
    let terms = terms.map(|(i, w)| Term { feature: i as u32, shape: Shape::Linear { weight: *w, missing: None } });
    let kind = Kind::Additive(Additive { intercept: 0.0, terms: terms.collect() });
    Model::new(meta, names.iter().copied().map(Feature::numeric).collect(), Link::Identity, kind).unwrap()
}

/// income / 1000 + tenure / 4: ann 8, bob about 15, cid 11.75, dot 8.
fn score(split: bool, more: Value) -> Job {
    let models = if split {
        vec![(Job::party(0), linear(&["income"], &[0.001])), (Job::party(1), linear(&["tenure"], &[0.25]))]
    } else {
        vec![(Job::party(20), linear(&["tenure", "income"], &[0.25, 0.001]))]
    };
    let mut written = json!({"key": "id", "bound": "64", "threshold": "8.5"});
    if !split {
        written["ranges"] = json!({"income": ["0", "20000"], "tenure": ["0", "60"]});
    }
    for (name, value) in more.as_object().unwrap() {
        written[name] = value.clone();
    }
    Job::new("verify/v1", tables(2), models, written).keyed(&KEYS)
}

#[test]
fn a_score_is_compared_with_a_threshold_and_nothing_more_is_said() {
    for split in [true, false] {
        let opened = score(split, json!({})).open();
        assert_eq!(opened["decisions"], json!([false, true, true, false, false, false, false]), "{split}");
        assert_eq!(opened["unknown"], json!(0));
        let job = score(split, json!({"threshold": "7.9999"}));
        assert_eq!(job.open()["decisions"], json!([true, true, true, true, false, false, true]));
        assert_eq!(job.cells().len(), 7);
        let flagged = score(split, json!({"unknown": "flag"})).open();
        assert_eq!(flagged["decisions"], json!([false, true, true, false, null, null, false]));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let code = |job: Job| job.plan().map(|_| ()).unwrap_err().code;
    for (text, more, wanted) in [
        ("income >=", json!({}), Code::RefusedParameters),
        ("age >= 3 and tenure > 2", json!({}), Code::DataColumnUnknown),
        ("id = 'ann' and tenure > 2", json!({}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"output": "score"}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"link": "exp"}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"threshold": "3"}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"bound": "3"}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"mode": "private"}), Code::RefusedParameters),
        ("income >= 3 and tenure > 2", json!({"features": {"p0": ["income"]}}), Code::RefusedParameters),
    ] {
        assert_eq!(code(rule(2, text, more.clone())), wanted, "{text} {more}");
    }
    let mut dealt = rule(2, "income >= 3 and tenure > 2", json!({}));
    dealt.dealer = None;
    assert_eq!(code(dealt), Code::RefusedParameters);
    let mut modelled = rule(2, "income >= 3 and tenure > 2", json!({}));
    modelled.models.push(shares::model_ref(Job::party(0)));
    assert_eq!(code(modelled), Code::RefusedParameters);
    assert_eq!(code(score(true, json!({"threshold": null}))), Code::RefusedParameters);
    // A column of another kind than its literal ends the job before any row is looked at.
    let odd = rule(2, "income >= 3 and plan = 7", json!({}));
    let owner = Job::party(1);
    let mut fold = odd.plan().unwrap().fold(&owner, odd.material(&owner)).unwrap();
    let mut empty = odd.tables[1].columns.clone();
    for column in &mut empty.columns {
        column.valid = None;
        column.values = match &column.values {
            Values::Int(_) => Values::Int(Vec::new()),
            Values::Float(_) => Values::Float(Vec::new()),
            Values::Text(_) => Values::Text(Vec::new()),
        };
    }
    empty.rows = 0;
    assert_eq!(fold.take(&empty).unwrap_err().code, Code::DataColumnType);
    for job in [rule(3, "income >= 3 and (tenure > 2 or not orders = 1)", json!({})), score(false, json!({}))] {
        let params = job.params().unwrap();
        shares::mutate(&params, |bytes| {
            if let Err(fault) = job.plan_of(bytes) {
                let code = fault.code.text();
                assert!(code.starts_with("refused.") || code.starts_with("model."), "{fault}");
            }
        });
    }
}
