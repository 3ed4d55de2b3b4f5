//! Joint halves of real kinds between real machines, against a computation that shares no code.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret};
use tacit_governance::{Cohort, ColumnKind};
use tacit_jobs::{ColumnKinds, Plan};
use tacit_types::{Column, Columns, Seat, Values};

mod world;
use world::World;

/// One party's rows: a group, a whole number, a real number; `None` is NULL.
type Row = (Option<&'static str>, Option<i64>, Option<f64>);

fn columns(rows: &[Row]) -> Columns {
    let valid = |f: &dyn Fn(&Row) -> bool| Some(rows.iter().map(f).collect());
    Columns {
        rows: rows.len(),
        columns: vec![
            Column {
                name: "region".into(),
                values: Values::Text(rows.iter().map(|r| r.0.unwrap_or("").to_owned()).collect()),
                valid: valid(&|r| r.0.is_some()),
            },
            Column {
                name: "n".into(),
                values: Values::Int(rows.iter().map(|r| r.1.unwrap_or(0)).collect()),
                valid: valid(&|r| r.1.is_some()),
            },
            // The same once more, for a histogram: a column that is summed has none.
            Column {
                name: "m".into(),
                values: Values::Int(rows.iter().map(|r| r.1.unwrap_or(0)).collect()),
                valid: valid(&|r| r.1.is_some()),
            },
            Column {
                name: "x".into(),
                values: Values::Float(rows.iter().map(|r| r.2.unwrap_or(f64::NAN)).collect()),
                valid: valid(&|r| r.2.is_some()),
            },
        ],
    }
}

/// Each party's rows in batches of seven.
fn batches(rows: &[Vec<Row>]) -> Vec<Vec<Columns>> {
    rows.iter().map(|party| party.chunks(7).map(columns).collect()).collect()
}

fn kinds() -> ColumnKinds {
    [("region", ColumnKind::Text), ("n", ColumnKind::Int), ("m", ColumnKind::Int), ("x", ColumnKind::Float)]
        .into_iter()
        .map(|(n, k)| (n.to_owned(), k))
        .collect()
}

fn plan(kind: &str, params: Value) -> Box<dyn Plan> {
    let kind = tacit_jobs::kind(kind).unwrap();
    kind.plan(&kind.params(params, &kinds()).unwrap(), &tacit_jobs::Parts::default()).unwrap()
}

/// Uneven parties with negatives, NULLs, an unlisted group, an empty group and a party without rows.
fn rows() -> Vec<Vec<Row>> {
    let region = |i: usize| [Some("north"), Some("south"), Some("west"), None][i % 4];
    let party = |from: usize, count: usize| -> Vec<Row> {
        (from..from + count)
            .map(|i| {
                // Enough without a value in every group that the floor lets them follow.
                let n = (i / 4 % 4 != 0).then_some((i as i64 * 7919) % 2001 - 1000);
                let x = (i / 4 % 3 != 1).then_some(((i * 31) % 97) as f64 * 0.37 - 11.0);
                (region(i), n, x)
            })
            .collect()
    };
    vec![party(0, 40), party(40, 25), Vec::new(), party(65, 31)]
}

fn full_job() -> Value {
    json!({
        "group_by": {"column": "region", "values": ["north", "south", "east"]},
        "measures": [
            {"column": "n", "statistics": ["count", "sum", "mean", "variance", "stddev"]},
            {"column": "x", "statistics": ["count", "sum", "mean", "variance"], "bound": "1000"},
        ],
        "histograms": [{"column": "m", "edges": ["-1000", "-200", "350", "1000"]}],
        "quantiles": [
            {"column": "n", "probabilities": ["0.25", "0.5", "0.9"], "low": "-1000", "high": "1000"},
            {"column": "x", "probabilities": ["0.5"], "low": "-20", "high": "50"},
        ],
        "matrix": {"columns": ["n", "x"], "correlation": true},
    })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * b.abs().max(1e-9)
}

fn check_moments(joint: &Value, values: &[f64]) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    assert_eq!(joint["count"], json!(values.len()));
    assert!(close(joint["sum"].as_f64().unwrap(), values.iter().sum()), "{joint}");
    assert!(close(joint["mean"].as_f64().unwrap(), mean), "{joint} {mean}");
    assert!(close(joint["variance"].as_f64().unwrap(), variance), "{joint} {variance}");
}

fn check_all(result: &Value, pooled: &[Row]) {
    let in_group = |r: &&Row, g: &str| {
        g == "all"
            || (g == "(other)" && !["north", "south", "east"].map(Some).contains(&r.0))
            || r.0 == Some(g).filter(|g| !g.is_empty())
    };
    for (g, label) in ["all", "north", "south", "east", "(other)"].into_iter().enumerate() {
        let group: Vec<&Row> = pooled.iter().filter(|r| in_group(r, label)).collect();
        if label == "east" {
            assert_eq!(result["rows"][g]["rows"], Value::Null, "an empty group is suppressed");
            assert_eq!(result["measures"][0]["groups"][g]["suppressed"], json!(true));
            continue;
        }
        assert_eq!(result["rows"][g]["rows"], json!(group.len()), "{label}");
        let n: Vec<f64> = group.iter().filter_map(|r| r.1.map(|v| v as f64)).collect();
        let x: Vec<f64> = group.iter().filter_map(|r| r.2).collect();
        check_moments(&result["measures"][0]["groups"][g], &n);
        check_moments(&result["measures"][1]["groups"][g], &x);
        let exact: i64 = group.iter().filter_map(|r| r.1).sum();
        assert_eq!(result["measures"][0]["groups"][g]["sum"], json!(exact), "whole sums are exact");
    }
    let mut n: Vec<i64> = pooled.iter().filter_map(|r| r.1).collect();
    n.sort_unstable();
    let mut x: Vec<f64> = pooled.iter().filter_map(|r| r.2).collect();
    x.sort_by(f64::total_cmp);
    for (i, p) in [0.25, 0.5, 0.9].into_iter().enumerate() {
        let rank = (p * n.len() as f64).ceil() as usize;
        assert_eq!(result["quantiles"][i]["value"], json!(n[rank - 1] as f64), "{p}");
    }
    let rank = (0.5 * x.len() as f64).ceil() as usize;
    assert!(close(result["quantiles"][3]["value"].as_f64().unwrap(), x[rank - 1]));
    let bins = [(i64::MIN, -1000), (-1000, -200), (-200, 350), (350, 1001), (1001, i64::MAX)];
    for (i, (from, to)) in bins.into_iter().enumerate() {
        let count = n.iter().filter(|v| **v >= from && **v < to).count();
        let shown = &result["histograms"][0]["bins"][i]["count"];
        if count >= 3 {
            assert_eq!(*shown, json!(count), "bin {i}");
        } else {
            assert!(shown.is_null(), "bin {i}");
        }
    }
    let pairs: Vec<(f64, f64)> = pooled.iter().filter_map(|r| Some((r.1? as f64, r.2?))).collect();
    let m = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / m, pairs.iter().map(|p| p.1).sum::<f64>() / m);
    let cov = pairs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / (m - 1.0);
    assert_eq!(result["matrix"]["rows"], json!(pairs.len()));
    assert!(close(result["matrix"]["covariance"][0][1].as_f64().unwrap(), cov));
}

#[test]
fn statistics_equal_the_pooled_ones() {
    let world = World::new(4);
    let plan = plan("stats/v1", full_job());
    let rows = rows();
    let outputs = world.run(plan.as_ref(), &batches(&rows), None);
    for output in &outputs {
        assert_eq!(output.as_ref().map(|o| o.survivors.len()).map_err(ToString::to_string), Ok(4));
    }
    let pooled: Vec<Row> = rows.concat();
    check_all(&world.open(plan.as_ref(), &outputs), &pooled);
}

/// Checked, a job has the same numbers to the last digit, in as many exchanges.
#[test]
fn checked_sums_are_number_for_number_the_unchecked_ones() {
    let rows = rows();
    for (kind, mut params) in [("stats/v1", full_job()), ("count/v1", json!({"filter": "n > 0"}))] {
        let (plain_world, checked_world) = (World::new(4), World::new(4));
        let unchecked = plan(kind, params.clone());
        params["checked"] = json!(true);
        let checked = plan(kind, params);
        let plain = plain_world.run(unchecked.as_ref(), &batches(&rows), None);
        let all = checked_world.run(checked.as_ref(), &batches(&rows), None);
        assert_eq!(checked_world.open(checked.as_ref(), &all), plain_world.open(unchecked.as_ref(), &plain), "{kind}");
        let outputs: Vec<_> = all.iter().zip(&plain).map(|(a, b)| (a.as_ref().unwrap(), b.as_ref().unwrap())).collect();
        // Every other survivor has made the package for itself.
        let made = outputs[0].0.package.as_ref().map(|package| tacit_crypto::sha256(package));
        assert!(made.is_some() && outputs[0].0.made.is_none(), "{kind}");
        assert!(outputs[1..].iter().all(|(a, _)| a.made == made && a.package.is_none()), "{kind}");
        assert!(outputs.iter().all(|(_, b)| b.made.is_none()), "{kind}");
        for (a, b) in outputs {
            assert_eq!((a.cells_in, a.payload_bytes, a.cells_out), (b.cells_in, b.payload_bytes, b.cells_out));
        }
        // What the plan says, to the byte.
        let more = |seat: Seat| checked_world.sent_by(seat) - plain_world.sent_by(seat);
        let price = checked.checks(4).unwrap();
        let (estimated, plainly) = (checked.estimate(4), unchecked.estimate(4));
        assert!(unchecked.checks(4).is_none());
        for seat in (1..4).map(Seat) {
            assert_eq!(more(seat), price.member, "{kind}");
        }
        assert_eq!(more(Seat(0)), price.aggregator, "{kind}");
        assert_eq!((estimated.bytes_up - plainly.bytes_up, estimated.rounds), (price.member, plainly.rounds), "{kind}");
        println!("{kind}: {price:?} beside {} and {}", plain_world.sent_by(Seat(1)), plain_world.sent_by(Seat(0)));
    }
}

/// A seat is lost after each possible number of its effects: either the result is that of the parties
/// that are left, or of all, or there is none; never a mixture.
#[test]
fn a_seat_lost_anywhere_never_bends_the_result() {
    lose_a_seat_anywhere(plan("stats/v1", full_job()).as_ref());
}

/// The same where sums are checked, in which a seat sends more.
#[test]
fn a_seat_lost_anywhere_never_bends_a_checked_result() {
    let mut job = full_job();
    job["checked"] = json!(true);
    lose_a_seat_anywhere(plan("stats/v1", job).as_ref());
}

fn lose_a_seat_anywhere(plan: &dyn Plan) {
    let world = World::new(4);
    let rows = rows();
    let mut ends = BTreeMap::new();
    for after in (0..400).step_by(5) {
        let outputs = world.run(plan, &batches(&rows), Some((3, after)));
        let survivors: Vec<usize> =
            outputs.iter().take(3).map(|o| o.as_ref().map_or(0, |o| o.survivors.len())).collect();
        assert!(survivors.iter().all(|s| *s == survivors[0]), "lost after {after}: {survivors:?}");
        *ends.entry(survivors[0]).or_insert(0) += 1;
        let pooled = match survivors[0] {
            3 => rows[..3].concat(),
            4 if outputs[3].is_ok() => rows.concat(),
            // Lost after its last vote: its release is durable in its own database, not here.
            4 => continue,
            _ => continue,
        };
        check_all(&world.open(plan, &outputs), &pooled);
    }
    assert!(ends.contains_key(&3), "some were finished without the lost seat: {ends:?}");
}

#[test]
fn nobody_opens_without_every_release_or_with_another_key() {
    let world = World::new(3);
    let plan = plan("count/v1", json!({}));
    let rows: Vec<Vec<Row>> = rows().into_iter().take(3).collect();
    let outputs = world.run(plan.as_ref(), &batches(&rows), None);
    assert_eq!(world.open(plan.as_ref(), &outputs)["rows"], json!(65));
    let package = outputs[0].as_ref().unwrap().package.clone().unwrap();
    let release = |i: usize| (Seat(i as u16), outputs[i].as_ref().unwrap().release.clone());
    let all: BTreeMap<Seat, Vec<u8>> = (0..3).map(release).collect();
    assert!(tacit_jobs::session::unblind(&world.recipient, &package, &all).is_ok());
    for missing in 0..3 {
        let some: BTreeMap<Seat, Vec<u8>> = (0..3).filter(|i| *i != missing).map(release).collect();
        assert!(tacit_jobs::session::unblind(&world.recipient, &package, &some).is_err());
    }
    let mut swapped = all.clone();
    swapped.insert(Seat(0), all[&Seat(1)].clone());
    assert!(tacit_jobs::session::unblind(&world.recipient, &package, &swapped).is_err());
    let other = SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 8))).unwrap();
    let opened = tacit_jobs::session::unblind(&other, &package, &all);
    assert!(opened.map_or(true, |o| o.cells != [1, 65]), "another key sees noise or nothing");
}

#[test]
fn counts_below_the_floor_are_suppressed() {
    let mut world = World::new(3);
    world.floor = Cohort { rows: 66, contributors: 2 };
    let rows: Vec<Vec<Row>> = rows().into_iter().take(3).collect();
    let plan = plan("count/v1", json!({}));
    assert_eq!(world.open(plan.as_ref(), &world.run(plan.as_ref(), &batches(&rows), None))["rows"], Value::Null);
    world.floor = Cohort { rows: 65, contributors: 3 };
    assert_eq!(world.open(plan.as_ref(), &world.run(plan.as_ref(), &batches(&rows), None))["rows"], Value::Null);
    world.floor = Cohort { rows: 65, contributors: 2 };
    assert_eq!(world.open(plan.as_ref(), &world.run(plan.as_ref(), &batches(&rows), None))["rows"], json!(65));
}

/// The metered bytes are those of the vectors on the way, whatever is in them.
#[test]
fn payload_bytes_are_metered_alike_by_all_and_for_all_inputs() {
    let mut header = None;
    let jobs = [
        ("count/v1", json!({})),
        ("stats/v1", full_job()),
        ("stats/v1", json!({"matrix": {"columns": ["n", "x"], "bound": "1000"}})),
    ];
    for (kind, params) in jobs {
        let plan = plan(kind, params);
        let mut metered = Vec::new();
        let few: Vec<Vec<Row>> =
            vec![vec![(None, None, None)], Vec::new(), vec![(Some("east"), Some(5), None)], Vec::new()];
        for rows in [rows(), few] {
            let world = World::new(4);
            let outputs = world.run(plan.as_ref(), &batches(&rows), None);
            let bytes: Vec<u64> = outputs.iter().map(|o| o.as_ref().unwrap().payload_bytes).collect();
            // Seat 0 adds, and sends its vectors to nobody.
            let masked = world.masked.borrow();
            assert_eq!(masked.keys().copied().collect::<Vec<_>>(), [Seat(1), Seat(2), Seat(3)], "{kind}");
            for (messages, sent) in masked.values() {
                let rest = sent - bytes[0];
                assert_eq!(rest % messages, 0, "{kind}: a header for each vector, and the vector");
                assert_eq!(*header.get_or_insert(rest / messages), rest / messages, "{kind}");
            }
            metered.extend(bytes);
        }
        assert!(metered.iter().all(|b| *b == metered[0] && *b > 0), "{kind}: {metered:?}");
    }
}
