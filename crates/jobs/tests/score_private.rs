//! `score-linear/v1` on shares between real machines: a private model and split ones, each output against plain
//! evaluation, every rule for unknown keys, lost seats, and what was opened.

#[path = "score_private/parties.rs"]
mod parties;
mod shares;

use parties::Job;
use serde_json::{Value, json};
use shares::{Fate, ONE};
use tacit_governance::{Precision, Use};
use tacit_jobs::{Decimal, score, session};
use tacit_protocol::Abort;
use tacit_types::{Code, NodeId, Seat, Step};

/// Data owners, whether the model's owner is one of them: two, three and five parties that compute.
const SHAPES: [(usize, bool); 5] = [(1, false), (2, true), (2, false), (4, false), (5, true)];
const KEYS: [&str; 5] = ["ann", "bob", "cid", "bob", "dot"];

fn with(more: Value) -> Value {
    let mut written = json!({"key": "id", "bound": "64"});
    for (name, value) in more.as_object().unwrap() {
        written[name] = value.clone();
    }
    written
}

fn numbers(opened: &Value, name: &str) -> Vec<Option<f64>> {
    opened[name].as_array().unwrap_or_else(|| panic!("{opened}")).iter().map(Value::as_f64).collect()
}

#[test]
fn scores_of_a_private_model_equal_plain_evaluation() {
    for (owners, both) in SHAPES {
        let job = Job::private(owners, both, &KEYS, with(json!({})));
        let opened = job.open();
        let scores = numbers(&opened, "scores");
        for (key, score) in KEYS.iter().zip(&scores) {
            let plain = job.plain(key).unwrap();
            assert!((score.unwrap() - plain).abs() <= 1e-6, "{owners} {both} {key}: {score:?}, not {plain}");
        }
        assert_eq!(scores[1], scores[3], "one row, one score");
        assert_eq!((&opened["unknown"], &opened["parties"]), (&json!(0), &json!(owners + usize::from(!both))));
    }
}

#[test]
fn many_rows_run_in_tiles() {
    let mut job = Job::private(2, false, &[], with(json!({})));
    let keys = job.fill(9000);
    let opened = job.with_keys(&keys.iter().map(String::as_str).collect::<Vec<_>>()).open();
    for (key, score) in keys.iter().zip(numbers(&opened, "scores")) {
        assert!((score.unwrap() - job.plain(key).unwrap()).abs() <= 1e-6, "{key}");
    }
}

#[test]
fn the_link_is_applied_by_the_recipient() {
    let job = Job::private(1, false, &["ann"], with(json!({"link": "logistic"})));
    let plain = 1.0 / (1.0 + (-job.plain("ann").unwrap()).exp());
    assert!((numbers(&job.open(), "scores")[0].unwrap() - plain).abs() <= 1e-6);
}

#[test]
fn values_beyond_their_ranges_count_as_the_ends_of_them() {
    for both in [true, false] {
        let mut job = Job::private(2, both, &["ann", "bob"], with(json!({})));
        job.owners[0].rows[0].1 = [Some(1e300), Some(f64::NEG_INFINITY)];
        job.owners[1].rows[1].1 = [Some(-0.0), Some(f64::MIN_POSITIVE)];
        let scores = numbers(&job.open(), "scores");
        for (key, score) in ["ann", "bob"].iter().zip(scores) {
            assert!((score.unwrap() - job.plain(key).unwrap()).abs() <= 1e-6, "{key}");
        }
    }
}

/// Margins of every key, for what is compared with them.
fn margins(job: &Job) -> Vec<f64> {
    KEYS.iter().map(|k| job.plain(k).unwrap()).collect()
}

#[test]
fn decisions_bands_and_rounded_scores_are_those_of_plain_evaluation() {
    for (owners, both, split) in
        SHAPES.map(|(o, b)| (o, b, false)).into_iter().chain([(2, true, true), (3, true, true), (5, true, true)])
    {
        let make = |more: Value| match split {
            true => Job::split(owners, &KEYS, with(more)),
            false => Job::private(owners, both, &KEYS, with(more)),
        };
        let plain = margins(&make(json!({"output": "decision", "threshold": "0"})));
        let sorted = {
            let mut all = plain.clone();
            all.sort_by(f64::total_cmp);
            all.dedup();
            all
        };
        // Thresholds just above and below a margin, by more than the error: the wrong side would show.
        for (i, margin) in sorted.iter().enumerate() {
            for (by, above) in [(-2e-5, true), (2e-5, false)] {
                let threshold = format!("{:.7}", margin + by);
                let opened = make(json!({"output": "decision", "threshold": threshold})).open();
                let wanted: Vec<Value> = plain
                    .iter()
                    .map(|m| json!(if m.to_bits() == margin.to_bits() { above } else { m > &sorted[i] }))
                    .collect();
                assert_eq!(opened["decisions"], json!(wanted), "{owners} {split} {threshold}: {plain:?}");
            }
        }
        let edges: Vec<String> = sorted.iter().map(|m| format!("{:.7}", m - 2e-5)).collect();
        let opened = make(json!({"output": "band", "bands": edges})).open();
        let wanted: Vec<usize> = plain.iter().map(|m| sorted.iter().filter(|s| *s <= m).count()).collect();
        assert_eq!(opened["bands"], json!(wanted), "{owners} {split}");
        for decimals in [0u8, 2, 4] {
            let opened = make(json!({"output": "rounded", "decimals": decimals})).open();
            let unit = 10f64.powi(i32::from(decimals));
            for (score, margin) in numbers(&opened, "scores").into_iter().zip(&plain) {
                let (units, exact) = (score.unwrap() * unit, margin * unit);
                assert!((units - units.round()).abs() < 1e-6, "{units} is whole");
                assert!((units - exact).abs() <= 0.5 + 1.0 / 16.0, "{decimals}: {units}, not {exact}");
                let near_half = ((exact - exact.floor()) - 0.5).abs() < 0.07;
                assert!(near_half || (units - exact.round()).abs() < 1e-6, "{decimals}: {units}, not {exact}");
            }
        }
    }
}

#[test]
fn each_rule_for_unknown_keys_does_what_it_says_at_every_output() {
    // Nobody has `eve`; the second owner lacks `fay`; of `gus` a value is missing; `hal` is there twice.
    let keys = ["ann", "eve", "fay", "bob", "gus", "hal"];
    for (split, both) in [(false, false), (false, true), (true, true)] {
        let run = |rule: &str, keys: &[&str], output: Value| {
            let mut written = with(output);
            written["unknown"] = json!(rule);
            let mut job = if split { Job::split(3, keys, written) } else { Job::private(3, both, keys, written) };
            job.spoil();
            (job.open(), job)
        };
        let outputs = [
            ("scores", json!({"output": "rounded", "decimals": 3})),
            ("bands", json!({"output": "band", "bands": ["-1", "1"]})),
            ("decisions", json!({"output": "decision", "threshold": "-60"})),
        ];
        for (name, output) in &outputs {
            let (flagged, job) = run("flag", &keys, output.clone());
            let nulls: Vec<bool> = flagged[name].as_array().unwrap().iter().map(Value::is_null).collect();
            assert_eq!(nulls, [false, true, true, false, true, true], "{split} {both} {flagged}");
            // Nothing of an unknown row is in what is opened, and of who lacks it neither.
            let cells = job.cells();
            assert_eq!(cells[keys.len()..], [0, ONE, ONE, 0, ONE, ONE]);
            assert!([1, 2, 4, 5].iter().all(|row| cells[*row] == 0), "{cells:?}");
            let (refused, job) = run("refuse", &keys, output.clone());
            assert_eq!(job.cells(), [0, 0, 0, 0, 0, 0, ONE]);
            assert_eq!(refused["unknown"], json!(keys.len()), "{refused}");
            let (whole, _) = run("refuse", &["bob", "ann"], output.clone());
            assert_eq!(whole["unknown"], json!(0), "{whole}");
        }
        let (opened, job) = run("default", &keys, outputs[0].1.clone());
        for (key, score) in keys.iter().zip(numbers(&opened, "scores")) {
            let plain = job.with_zeroes(key);
            assert!((score.unwrap() - plain).abs() <= 6e-4, "{split} {both} {key}: {score:?}, not {plain}");
        }
    }
}

#[test]
fn nothing_is_opened_but_what_the_disclosures_list() {
    let outputs = [
        json!({}),
        json!({"output": "rounded", "decimals": 1}),
        json!({"output": "band", "bands": ["0", "1"]}),
        json!({"output": "decision", "threshold": "0", "unknown": "refuse"}),
        json!({"unknown": "default"}),
    ];
    for (output, cells) in outputs.into_iter().zip([10, 10, 10, 6, 5]) {
        let job = Job::private(2, false, &KEYS, with(output));
        let plan = job.plan().unwrap();
        let listed: Vec<(String, u64)> = plan.disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
        assert_eq!(listed, [("result".to_owned(), cells)]);
        let run = job.run(Fate::Well);
        for usage in &run.usage {
            let opened: Vec<(String, u64)> = usage.opened.clone().into_iter().collect();
            assert_eq!(opened, listed, "at every seat, the dealer's too");
        }
        for output in run.outcomes.iter().map(|o| o.as_ref().unwrap()) {
            assert_eq!((output.cells_in, output.payload_bytes, output.cells_out), (cells, cells * 8, 5));
        }
    }
}

#[test]
fn what_an_owner_sends_has_one_size_whatever_it_has() {
    let sizes = |spoil: bool, keys: &[&str]| {
        let mut job = Job::private(3, false, keys, with(json!({"output": "decision", "threshold": "0"})));
        if spoil {
            job.spoil();
        }
        job.run(Fate::Well).usage.into_iter().map(|u| u.sent).collect::<Vec<_>>()
    };
    assert_eq!(sizes(false, &["ann", "bob"]), sizes(true, &["eve", "gus"]));
}

#[test]
fn a_lost_seat_or_dealer_ends_the_attempt_by_name_within_a_steps_time() {
    let job = Job::private(3, false, &KEYS, with(json!({"output": "band", "bands": ["0"]})));
    let seats = job.seats();
    let whole = job.run(Fate::Well).messages;
    for (lost, whole) in whole.into_iter().enumerate() {
        for part in [0, 1, 2, 3, 5, 7] {
            let run = job.run(Fate::Lost { seat: lost, after: whole * part / 8 });
            let collecting = run.steps.iter().any(|s| s.round() == session::COLLECT_ROUND);
            let mut names = 0;
            for (seat, outcome) in run.outcomes.iter().enumerate().filter(|(seat, _)| *seat != lost) {
                let Err(Abort::Missing { seats, .. }) = outcome else {
                    panic!("{lost} after {part}/8, seen by {seat}: {outcome:?}")
                };
                names += usize::from(seats.contains(&Seat(lost as u16)));
            }
            // Who waits for the collector may learn no more than that it gave up.
            let least = if collecting { 1 } else { seats - 1 };
            assert!(names >= least, "{lost} after {part}/8: {:?}", run.outcomes);
            // Vectors come to the collector one after the other, so that each has a step's time there.
            let steps = if collecting { seats as u64 + 1 } else { 2 };
            assert!(run.now.0 <= steps * shares::STEP_MS, "{lost} after {part}/8: {} ms", run.now.0);
        }
        let run = job.run(Fate::Silent { seat: lost, after: whole / 2 });
        let named = |o: &Result<_, Abort>| matches!(o, Err(Abort::Missing { .. }));
        assert!(run.outcomes.iter().enumerate().all(|(seat, o)| seat == lost || named(o)));
        assert!(run.now.0 <= 10 * shares::STEP_MS, "{} ms", run.now.0);
    }
}

#[test]
fn steps_do_not_collide_and_all_have_names() {
    let job = Job::private(2, true, &KEYS, with(json!({})));
    let steps = job.run(Fate::Well).steps;
    let named = |name: &str| steps.iter().filter(|s| session::phase_name(**s) == name).count();
    assert!(["terms", "seeds", "compute", "point", "share", "collected"].iter().all(|n| named(n) > 0));
    let unnamed: Vec<&Step> = steps.iter().filter(|s| session::phase_name(**s) == "protocol").collect();
    assert!(unnamed.iter().all(|s| **s == session::AGREE || session::is_confirmation(**s)), "{unnamed:?}");
    let input = |s: &Step| ["compute", "share"].contains(&session::phase_name(*s));
    assert!(steps.iter().all(|s| session::is_input(*s) == input(s)));
}

#[test]
fn what_does_not_fit_is_refused_before_anything_runs() {
    let code = |job: &Job| job.plan().map(|_| ()).unwrap_err().code;
    let private = |written: Value| code(&Job::private(2, false, &KEYS, written));
    assert!(Job::private(2, false, &KEYS, with(json!({}))).plan().is_ok());
    assert_eq!(private(json!({"key": "id"})), Code::RefusedParameters, "no bound");
    for (more, wanted) in [
        (json!({"bound": "0"}), Code::RefusedParameters),
        (json!({"bound": "1000000000"}), Code::ModelPrecision),
        (json!({"error": "0"}), Code::RefusedParameters),
        (json!({"error": "0.000000000001"}), Code::ModelPrecision),
        (json!({"output": "decision", "threshold": "1000"}), Code::RefusedOverflow),
        (json!({"output": "rounded"}), Code::RefusedParameters),
        (json!({"ranges": {"a0": ["0", "1"]}}), Code::RefusedParameters),
    ] {
        assert_eq!(private(with(more.clone())), wanted, "{more}");
    }
    let change = |change: fn(&mut Job)| {
        let mut job = Job::private(2, false, &KEYS, with(json!({})));
        change(&mut job);
        code(&job)
    };
    assert_eq!(change(|j| j.dealer = None), Code::RefusedParameters);
    assert_eq!(change(|j| j.dealer = Some(j.owners[0].id())), Code::RefusedParameters);
    assert_eq!(change(|j| j.dealer = Some(j.models[0].owner)), Code::RefusedParameters);
    assert_eq!(change(|j| j.models.push(j.models[0].clone())), Code::RefusedParameters);
    // The owner of the model alone has features: it needs nobody.
    assert_eq!(code(&Job::private(1, true, &KEYS, with(json!({})))), Code::RefusedParameters);
    // A split model opens its score without a dealer, and less with one.
    let split = |written: Value, dealer: bool| {
        let mut job = Job::split(2, &KEYS, written);
        if !dealer {
            job.dealer = None;
        }
        job.plan().is_ok()
    };
    let less = with(json!({"output": "decision", "threshold": "0"}));
    assert!(split(less.clone(), true) && !split(less, false) && !split(json!({"key": "id"}), true));
    assert!(split(json!({"key": "id"}), false) && !split(with(json!({})), false));
    // A model that reaches beyond the bound is refused by its own owner's node.
    let job = Job::private(2, false, &KEYS, with(json!({"bound": "1"})));
    let fold = |owner: &NodeId| job.plan().unwrap().fold(owner, job.material(owner)).map(|_| ()).unwrap_err().code;
    assert_eq!(fold(&job.models[0].owner), Code::ModelPrecision);
    assert_eq!(fold(&NodeId([9; 32])), Code::RefusedParties);
    let features = |count: u64| {
        let names: Vec<String> = (0..count).map(|i| format!("f{i:03}")).collect();
        let range = score::params::Range { least: Decimal::whole(0), most: Decimal::whole(1) };
        let columns = score::params::OwnerColumns {
            owner: NodeId([1; 32]),
            key: "id".into(),
            ranges: vec![range; names.len()],
            features: names,
            categories: Vec::new(),
        };
        score::params::ScoreParams {
            mode: score::params::Mode::Private,
            rows: score::keys::KEYS_MAX,
            owners: vec![columns],
            output: score::params::Output { precision: Precision::Score, decimals: None, edges: Vec::new() },
            unknown: score::params::Unknown::Flag,
            link: score::params::LinkWord::Identity,
            bound: Some(Decimal::whole(8)),
            error: None,
            online: None,
            verified: None,
            aligned: None,
        }
    };
    let most = score::params::CELLS_MAX / score::keys::KEYS_MAX;
    assert!(features(most).check().is_ok());
    assert_eq!(features(most + 1).check().unwrap_err().code, Code::RefusedParameters);
    let backwards = score::params::Range { least: Decimal::whole(1), most: Decimal::whole(0) };
    let mut odd = features(2);
    odd.owners[0].ranges[1] = backwards;
    assert!(odd.check().unwrap_err().what.contains("f001"));
}

#[test]
fn the_decision_hears_of_each_role() {
    let job = Job::private(2, false, &KEYS, with(json!({"output": "decision", "threshold": "0"})));
    let plan = job.plan().unwrap();
    let facts = plan.facts(&job.owners[0].id());
    let mut uses = facts.uses;
    uses.sort_unstable();
    assert_eq!(uses, [("a0".into(), Use::Score), ("b0".into(), Use::Score), ("id".into(), Use::Key)]);
    let score = facts.score.unwrap();
    assert_eq!((score.rows, score.precision, facts.providers_min), (5, Precision::Decision, 1));
    for other in [job.models[0].owner, job.dealer.unwrap()] {
        assert!(plan.facts(&other).uses.is_empty() && plan.facts(&other).score.is_some());
        assert!(plan.fold(&other, job.material(&other)).is_ok(), "without keys or rows");
    }
    assert!(plan.estimate(4).bytes_up > 80 && plan.estimate(4).rounds > 6);
}
