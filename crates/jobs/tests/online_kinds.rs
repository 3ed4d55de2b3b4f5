//! Windows of every kind of score between machines in one process: trees that are split and private, networks, yes or no.
//! Answers are those of the libraries, heavier rows go in smaller pieces, and owners whose contract limits different keys
//! count them before they answer.

#[path = "score_trees/ensembles.rs"]
#[allow(dead_code, reason = "parts of it")]
mod ensembles;
#[path = "../../models/tests/common/mod.rs"]
mod fixtures;
#[path = "score_network/networks.rs"]
#[allow(dead_code, reason = "parts of it")]
mod networks;
mod online_world;
mod shares;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ensembles::{Ensemble, Shape, exact, split_job};
use online_world::{World, window};
use serde_json::{Value, json};
use shares::{Job, Table};
use tacit_jobs::score::online::host::{Say, Tell};
use tacit_jobs::score::online::{ANSWER_MS_MAX, LOTS_MAX, STOCK_BYTES_MAX};
use tacit_models::Frame;
use tacit_types::{Code, Column, Columns, Values};

/// The same job as a window.
fn opened(mut job: Job) -> Job {
    (job.rows, job.keys) = (0, Vec::new());
    job.written["online"] = window(100_000, 100_000);
    job
}

fn ask(world: &mut World, keys: &[String]) -> Vec<Value> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    world.ask(&[&keys]).unwrap().remove(0)
}

/// Every row in calls of one key and of several, and what each seat counts.
fn rows_by_calls(mut world: World, rows: usize, per_row: u64) -> Vec<Value> {
    let keys = ensembles::keys(rows);
    let mut values = ask(&mut world, &keys[..1]);
    let (few, rest) = keys[1..].split_at(7);
    values.extend(ask(&mut world, few));
    values.extend(ask(&mut world, rest));
    world.say(&Say::Close);
    world.agree_all(3, rows as u64, rows as u64 * per_row);
    let cells = rows as u64 * per_row;
    let expected = world.owners().into_iter().chain([world.asker]).map(|s| (s, cells)).collect();
    assert_eq!(world.opened, expected, "summands, sums, and nothing else");
    values
}

fn trees_are_exact(file: &str, ensemble: &Ensemble, values: &[Value]) {
    let (exact, predicted) = (exact(ensemble), ensemble.predicted());
    let mut compared = 0;
    for (row, value) in values.iter().enumerate() {
        let score = value.as_f64().unwrap_or_else(|| panic!("{file}, row {row}: {value}"));
        assert!((score - exact[row]).abs() <= 1e-6, "{file}, row {row}: {score}, not {}", exact[row]);
        if let Some(theirs) = predicted[row] {
            let error = (1e-6 + ensemble.rounding()) * theirs.abs().max(1.0);
            assert!((ensemble.score(score) - theirs).abs() <= error, "{file}, row {row}: the library {theirs}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{file}: {compared} rows were compared");
}

#[test]
fn split_ensembles_answer_as_their_libraries() {
    for (file, owners, apart) in
        [("xgb-logistic.json", 2, false), ("lgb-binary.txt", 2, true), ("xgb-onehot.json", 3, false)]
    {
        let ensemble = Ensemble::read(file);
        let world = World::new(opened(split_job(&ensemble, owners, apart, json!({}))));
        trees_are_exact(file, &ensemble, &rows_by_calls(world, ensemble.rows(), 2));
    }
}

#[test]
fn private_ensembles_answer_as_their_libraries() {
    for (file, library, shape) in [
        ("xgb-logistic.json", "xgboost", Shape::apart(2)),
        ("lgb-zero.txt", "lightgbm", Shape::both(3)),
        ("onnx-forest.onnx", "onnx", Shape::apart(1)),
    ] {
        let ensemble = Ensemble::read(file);
        let job = ensembles::job(&ensemble, shape, json!({"library": library, "unknown": "default"}));
        trees_are_exact(file, &ensemble, &rows_by_calls(World::new(opened(job)), ensemble.rows(), 1));
    }
}

#[test]
fn networks_answer_as_the_runtime() {
    let model = networks::read("onnx-mlp");
    let rows = fixtures::rows();
    let frame = fixtures::frame(&model);
    let predicted = fixtures::expected("onnx-mlp").scores.unwrap();
    for (owners, both) in [(2, true), (2, false), (3, true)] {
        let world = World::new(opened(networks::job(&model, &rows, owners, both, json!({}))));
        let (mut compared, mut unknown) = (0, 0);
        for (row, value) in rows_by_calls(world, rows.rows, 2).iter().enumerate() {
            let plain = networks::plain(&model, &frame, row);
            assert_eq!(value.as_f64().is_none(), plain.is_none(), "row {row}");
            let (Some(score), Some(plain)) = (value.as_f64(), plain) else {
                unknown += 1;
                continue;
            };
            assert!((score - plain).abs() <= 1e-3, "{owners} {both}, row {row}: {score}, not {plain}");
            let within = model.features().iter().zip(0u32..).all(|(f, i)| {
                let (least, most) = f.range.unwrap();
                (least..=most).contains(&frame.value(row, i))
            });
            if let Some(theirs) = predicted[row].filter(|_| within) {
                compared += 1;
                assert!((model.link().apply(score) - theirs).abs() <= 1e-3, "row {row}: the runtime {theirs}");
            }
        }
        assert!(compared > 20 && unknown > 0, "{compared} {unknown}");
    }
}

#[test]
fn less_than_the_score_comes_out_of_trees_and_networks() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let margins = exact(&ensemble);
    let keys = ensembles::keys(ensemble.rows());
    let decision = json!({"output": "decision", "threshold": "0"});
    let decided: Vec<Value> = margins.iter().map(|m| json!(*m >= 0.0)).collect();
    assert!(decided.contains(&json!(true)) && decided.contains(&json!(false)));
    let mut world = World::new(opened(split_job(&ensemble, 2, false, decision.clone())));
    assert_eq!(ask(&mut world, &keys), decided);
    let banded = json!({"output": "band", "bands": ["-0.5", "0.5"], "library": "xgboost"});
    let mut world = World::new(opened(ensembles::job(&ensemble, Shape::both(2), banded)));
    let bands: Vec<Value> = margins.iter().map(|m| json!(u8::from(*m >= -0.5) + u8::from(*m >= 0.5))).collect();
    assert_eq!(ask(&mut world, &keys), bands);

    let model = networks::read("onnx-mlp");
    let frame: Frame = fixtures::frame(&model);
    let mut world = World::new(opened(networks::job(&model, &fixtures::rows(), 2, false, decision)));
    for (row, value) in ask(&mut world, &ensembles::keys(frame.rows())).iter().enumerate() {
        match networks::plain(&model, &frame, row) {
            None => assert!(value.is_null()),
            Some(margin) => assert!(margin.abs() < 1e-3 || *value == json!(margin >= 0.0), "row {row}: {margin}"),
        }
    }
}

/// A row that is not there is told apart, decided as absent, or takes its call along.
#[test]
fn each_rule_for_unknown_keys_holds_for_trees() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let margins = exact(&ensemble);
    let call: Vec<String> = ["k2", "k3", "nobody", "k5"].map(String::from).to_vec();
    for private in [false, true] {
        for rule in ["flag", "default", "refuse"] {
            let mut job = match private {
                true => ensembles::job(&ensemble, Shape::both(2), json!({"unknown": rule, "library": "xgboost"})),
                false => split_job(&ensemble, 2, false, json!({"unknown": rule})),
            };
            ensembles::forget(&mut job.tables[1].columns, "k3");
            ensembles::repeat(&mut job.tables[0].columns, "k5");
            let mut world = World::new(opened(job));
            let values = ask(&mut world, &call);
            let near = |value: &Value, margin: f64| value.as_f64().is_some_and(|v| (v - margin).abs() <= 1e-6);
            match rule {
                "flag" => assert!(near(&values[0], margins[2]) && values[1..].iter().all(Value::is_null), "{values:?}"),
                "default" => {
                    let without = ensembles::without(&ensemble, 2, 1, 3);
                    assert!(near(&values[0], margins[2]) && near(&values[1], without), "{values:?}");
                    assert!(near(&values[3], ensembles::without(&ensemble, 2, 0, 5)), "{values:?}");
                }
                _ => assert!(values.iter().all(Value::is_null), "{values:?}"),
            }
            // A call without such a key is answered whole.
            let whole = ask(&mut world, &call[..1]);
            assert!(near(&whole[0], margins[2]), "{rule}: {whole:?}");
        }
    }
}

/// Yes or no: a rule over the columns of two owners, and a threshold of a private linear model.
#[test]
fn rules_answer_yes_or_no_and_nobody_is_told_of_an_unknown_key() {
    let text = |list: &[&str]| Values::Text(list.iter().map(|s| (*s).to_owned()).collect());
    let column = |name: &str, values| Column { name: name.into(), values, valid: None };
    let table = |i: usize, columns: Vec<Column>| Table {
        name: format!("p{i}"),
        owner: Job::party(i),
        columns: Columns { rows: columns[0].values.len(), columns },
    };
    let names = ["ann", "bob", "cid", "dot"];
    let make = |more: Value| {
        let bank = vec![column("id", text(&names)), column("income", Values::Int(vec![5000, 4999, 9000, 7000]))];
        let telecom = vec![column("id", text(&names[..3])), column("tenure", Values::Int(vec![12, 40, 11]))];
        let mut written = json!({"key": "id", "rule": "income >= 5000 and not tenure < 12"});
        more.as_object().unwrap().iter().for_each(|(name, value)| written[name] = value.clone());
        opened(Job::new("verify/v1", vec![table(0, bank), table(1, telecom)], Vec::new(), written))
    };
    let call = ["ann", "bob", "cid", "dot", "eve", "ann"].map(String::from);
    let mut world = World::new(make(json!({})));
    assert_eq!(ask(&mut world, &call), [true, false, false, false, false, true].map(|b| json!(b)));
    world.say(&Say::Close);
    world.agree_all(1, 6, 6);
    let mut world = World::new(make(json!({"unknown": "flag"})));
    let flagged = [json!(true), json!(false), json!(false), Value::Null, Value::Null, json!(true)];
    assert_eq!(ask(&mut world, &call), flagged);
}

/// The more a row takes, the fewer rows are computed for a call of one key, and the fewer are held ahead.
#[test]
fn heavy_rows_go_in_small_pieces_and_a_window_holds_no_more_than_its_limit() {
    let ensemble = Ensemble::read("xgb-logistic.json");
    let job = opened(ensembles::job(&ensemble, Shape::apart(2), json!({"library": "xgboost", "unknown": "default"})));
    let reading = job.plan().unwrap().window().unwrap();
    assert!(reading.batch_rows() < 4096, "{}", reading.batch_rows());
    let mut world = World::unopened(job, Box::new(|_| true));
    let (corrected, dealer) = (world.corrected(), world.dealer);
    let dealt = Arc::new(Mutex::new(Vec::new()));
    let tap = dealt.clone();
    world.hook = Box::new(move |m| {
        if (m.address.from.index(), m.address.to.index()) == (dealer, corrected) {
            tap.lock().unwrap().push(m.body.len());
        }
        true
    });
    world.run();
    let sizes = dealt.lock().unwrap().clone();
    let lot = *sizes.last().unwrap();
    let ahead: usize = sizes.iter().filter(|s| **s == lot).sum();
    assert!(lot > 4096 && ahead <= STOCK_BYTES_MAX, "{ahead} in messages of {lot}");
    assert!(ahead > STOCK_BYTES_MAX / 2 || lot < STOCK_BYTES_MAX / LOTS_MAX as usize, "{ahead} of {lot}");
    // More rows than there is randomness for at a time are not put to the owners.
    world.told.clear();
    let many = vec!["k1"; reading.batch_rows() + 1];
    let calls: Vec<&[&str]> = many.chunks(512).collect();
    assert_eq!(world.ask(&calls), Err(Code::OnlineRequest));
    assert!(world.ask(&[&many[..512]]).is_ok());
}

/// The loss of any party ends a window of trees with what was done.
#[test]
fn the_loss_of_a_party_ends_a_window_of_trees() {
    let ensemble = Ensemble::read("xgb-squared.json");
    for who in 0..3 {
        let mut world = World::new(opened(split_job(&ensemble, 2, false, json!({}))));
        ask(&mut world, &ensembles::keys(2));
        let lost = [world.owners()[0], world.owners()[1], world.dealer][who];
        if who == 0 {
            world.dead.insert(lost);
            assert_eq!(world.calls(9, &[&["k1"]]), []);
            world.wait(ANSWER_MS_MAX);
            assert!(matches!(world.told[0], Tell::Answered { tag: 9, outcome: Err(Code::JobPeerLost), .. }));
        } else {
            world.kill(lost);
        }
        let asked = if who == 0 { (2, 3) } else { (1, 2) };
        let left: Vec<usize> = world.all().into_iter().filter(|s| *s != lost).collect();
        world.agree(&left, asked.0, asked.1, 2 * asked.1);
    }
}

/// Keys that an owner's node counted, by seat and batch.
type Counted = Arc<Mutex<Vec<(usize, Vec<String>)>>>;

/// The nodes of the owners let no key past so many different ones through.
fn limited(most: usize, split: bool) -> (World, Counted) {
    let ensemble = Ensemble::read("xgb-squared.json");
    let mut job = match split {
        true => opened(split_job(&ensemble, 2, true, json!({}))),
        false => opened(ensembles::job(&ensemble, Shape::both(2), json!({"library": "xgboost"}))),
    };
    job.counts = true;
    let mut world = World::new(job);
    let counted = Counted::default();
    let (log, mut seen) = (counted.clone(), BTreeSet::new());
    world.counting = Box::new(move |seat, keys| {
        let keys: Vec<String> = keys.iter().map(|k| String::from_utf8(k.0.clone()).unwrap()).collect();
        log.lock().unwrap().push((seat, keys.clone()));
        let more: BTreeSet<(usize, String)> = keys.into_iter().map(|k| (seat, k)).collect();
        let all: BTreeSet<_> = seen.union(&more).cloned().collect();
        if all.iter().filter(|(s, _)| *s == seat).count() > most {
            return Err(Code::RefusedDistinct);
        }
        seen = all;
        Ok(())
    });
    (world, counted)
}

/// Each owner of rows asks its node before it answers; who has none is asked nothing. A batch that is refused takes its
/// pieces along, and the next is answered right.
#[test]
fn owners_count_keys_before_they_answer() {
    for split in [true, false] {
        let margins = exact(&Ensemble::read("xgb-squared.json"));
        let (mut world, counted) = limited(3, split);
        let near = |values: &[Vec<Value>], rows: &[usize]| {
            let found = values.iter().flatten();
            assert_eq!(found.clone().count(), rows.len());
            found.zip(rows).for_each(|(v, r)| assert!((v.as_f64().unwrap() - margins[*r]).abs() < 1e-6, "{r}: {v}"));
        };
        near(&world.ask(&[&["k1", "k2"]]).unwrap(), &[1, 2]);
        let seats: Vec<usize> = counted.lock().unwrap().iter().map(|(seat, _)| *seat).collect();
        let owners = world.owners();
        assert!(seats.len() == 2 && seats.iter().all(|s| owners.contains(s)), "{seats:?} of {owners:?}");
        assert!(counted.lock().unwrap().iter().all(|(_, keys)| *keys == ["k1", "k2"]));
        assert_eq!(world.ask(&[&["k3", "k4"]]), Err(Code::RefusedDistinct));
        near(&world.ask(&[&["k2"], &["k1", "k3"]]).unwrap(), &[2, 1, 3]);
        assert_eq!(world.ask(&[&["k4"]]), Err(Code::RefusedDistinct));
        world.say(&Say::Close);
        world.agree_all(5, 8, 16);
    }
}

/// One node takes its time: batches wait for it in their order, each with its own answer; what one node refuses nobody
/// answers.
#[test]
fn batches_wait_for_a_node_that_counts_slowly() {
    let margins = exact(&Ensemble::read("xgb-squared.json"));
    for split in [true, false] {
        let (mut world, counted) = limited(2, split);
        let one = counted_seat(&mut world, &counted);
        world.slow = Some(one);
        let calls = ["k1", "k2", "k7", "k2"];
        for (tag, key) in calls.iter().enumerate() {
            assert_eq!(world.calls(tag as u64, &[&[*key]]), [], "{tag}");
        }
        world.release();
        let told = core::mem::take(&mut world.told);
        assert_eq!(told.len(), 4, "{told:?}");
        for (tell, (tag, key)) in told.iter().zip(calls.iter().enumerate()) {
            let Tell::Answered { tag: own, outcome, .. } = tell else { panic!("{tell:?}") };
            assert_eq!(*own, tag as u64);
            if *key == "k7" {
                assert_eq!(outcome, &Err(Code::RefusedDistinct));
                continue;
            }
            let value = world.values(&[&[*key]], outcome.as_ref().unwrap()).remove(0).remove(0);
            let margin = margins[key[1..].parse::<usize>().unwrap()];
            assert!((value.as_f64().unwrap() - margin).abs() < 1e-6, "{split} {key}: {value}, not {margin}");
        }
        world.say(&Say::Close);
        world.agree_all(5, 5, 10);
    }
}

/// A seat whose node counts: the first that did for a call of `k1`.
fn counted_seat(world: &mut World, counted: &Counted) -> usize {
    assert!(world.ask(&[&["k1"]]).is_ok());
    counted.lock().unwrap()[0].0
}
