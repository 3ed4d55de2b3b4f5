//! Values that occur nowhere else stand in the rows of one party, and are looked for in every message body of a job as its
//! protocol made it, before a transport seals it. A test of whole processes looks at everything that is kept
//! (`tests/canary.rs` of the workspace's tests); what only passes by is seen here.

// Of these, other tests use more.
#[allow(dead_code)]
#[path = "score_private/parties.rs"]
mod parties;
mod shares;
#[allow(dead_code)]
mod world;

use serde_json::json;
use shares::Fate;
use tacit_governance::ColumnKind;
use tacit_jobs::ColumnKinds;
use tacit_types::{Column, Columns, Values};
use world::World;

const TEXT: &str = "Quetzalcoatlus-7319";
const WHOLE: i64 = 730_218_649_513;
const REAL: f64 = 48_213.718_753_331;

/// The bytes of a number without the zeroes around them, in either order.
fn core(number: u128) -> [Vec<u8>; 2] {
    let little = number.to_le_bytes();
    let start = little.iter().position(|b| *b != 0).unwrap_or(0);
    let end = little.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    let little = little[start..end].to_vec();
    [little.iter().rev().copied().collect(), little]
}

/// What the values look like: as they are, as text, and in fixed point with up to 40 binary digits after the point.
fn shapes() -> Vec<Vec<u8>> {
    let mut shapes = vec![TEXT.as_bytes().to_vec(), WHOLE.to_string().into_bytes(), b"48213.718753331".to_vec()];
    shapes.extend([REAL.to_le_bytes().to_vec(), REAL.to_be_bytes().to_vec()]);
    shapes.extend((0..8).flat_map(|bits| core((WHOLE as u128) << bits)));
    shapes.extend((0..8).flat_map(|bits| core((WHOLE as u128).pow(2) << bits)));
    shapes.extend((24..=40).flat_map(|bits| core((REAL * 2f64.powi(bits)).round_ties_even() as u128)));
    // A random hit on a shorter shape would not be rare enough.
    assert!(shapes.iter().all(|s| s.len() >= 5), "{shapes:?}");
    shapes
}

fn hit(body: &[u8], shapes: &[Vec<u8>]) -> Option<Vec<u8>> {
    shapes.iter().find(|s| body.windows(s.len()).any(|w| w == &s[..])).cloned()
}

fn rows(all: &[(&str, i64, f64)]) -> Vec<Columns> {
    let column = |name: &str, values| Column { name: name.into(), values, valid: None };
    let columns = vec![
        column("name", Values::Text(all.iter().map(|r| r.0.to_owned()).collect())),
        column("n", Values::Int(all.iter().map(|r| r.1).collect())),
        column("m", Values::Int(all.iter().map(|r| r.1).collect())),
        column("x", Values::Float(all.iter().map(|r| r.2).collect())),
    ];
    vec![Columns { rows: all.len(), columns }]
}

#[test]
fn what_is_looked_for_is_found_where_it_is() {
    let shapes = shapes();
    for plain in [
        format!("a row of {TEXT} and others").into_bytes(),
        [&[7; 3][..], &(WHOLE as u64).to_le_bytes(), &[9; 3]].concat(),
        [&[7; 3][..], &((WHOLE as u128) << 24).to_le_bytes()].concat(),
        [&[7; 5][..], &REAL.to_be_bytes()].concat(),
        [&[7; 5][..], &((REAL * 2f64.powi(33)).round_ties_even() as i64).to_le_bytes()].concat(),
    ] {
        assert!(hit(&plain, &shapes).is_some(), "{plain:?}");
    }
    assert_eq!(hit(&[7; 64], &shapes), None);
}

#[test]
fn no_message_of_a_statistic_holds_a_value_of_a_row() {
    let shapes = shapes();
    let kinds: ColumnKinds =
        [("name", ColumnKind::Text), ("n", ColumnKind::Int), ("m", ColumnKind::Int), ("x", ColumnKind::Float)]
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
    let everything = json!({
        "group_by": {"column": "name", "values": ["a", "b"]},
        "measures": [
            {"column": "n", "statistics": ["count", "sum", "mean", "variance"]},
            {"column": "x", "statistics": ["count", "sum", "mean", "variance"], "bound": "16777216"},
        ],
        "histograms": [{"column": "m", "edges": ["0", "10", "1000000000000"]}],
        "quantiles": [{"column": "x", "probabilities": ["0.5"], "low": "0", "high": "65536"}],
        "matrix": {"columns": ["n", "x"], "correlation": true},
    });
    let ordinary = |from: i64| -> Vec<(&'static str, i64, f64)> {
        (from..from + 40).map(|i| (["a", "b"][i as usize % 2], i, i as f64 * 1.5)).collect()
    };
    let mut checked = everything.clone();
    checked["checked"] = json!(true);
    let count = |checked: bool| json!({"filter": "n > 5", "checked": checked});
    let jobs = [("stats/v1", everything), ("stats/v1", checked), ("count/v1", count(false)), ("count/v1", count(true))];
    for (kind, params) in jobs {
        let kind = tacit_jobs::kind(kind).unwrap();
        let plan = kind.plan(&kind.params(params, &kinds).unwrap(), &tacit_jobs::Parts::default()).unwrap();
        // The first has that row alone: what it contributes is that row.
        let canary = rows(&[(TEXT, WHOLE, REAL)]);
        let parties = [canary, rows(&ordinary(0)), rows(&ordinary(40)), rows(&ordinary(80))];
        let world = World::new(parties.len());
        let outputs = world.run(plan.as_ref(), &parties, None);
        assert!(outputs.iter().all(Result::is_ok), "{:?}", outputs.iter().map(Result::is_ok).collect::<Vec<_>>());
        let bodies = world.bodies.borrow();
        let said: usize = bodies.iter().filter(|(from, _)| from.index() == 0).map(|(_, body)| body.len()).sum();
        assert!(said > 1000, "{said} bytes of the party with the row");
        for (from, body) in bodies.iter() {
            assert_eq!(hit(body, &shapes), None, "{} in a message of {from:?}", kind.id());
        }
    }
}

#[test]
fn no_message_of_a_private_score_holds_a_key_or_a_number_of_a_row_that_was_not_asked_for() {
    let shapes = shapes();
    let mut job = parties::Job::private(2, false, &["ann", "bob"], json!({"key": "id", "bound": "64"}));
    let plain = 100.718_753_331_7;
    job.owners[0].rows.push((TEXT.to_owned(), [Some(1.0), Some(plain)]));
    job.owners[0].rows.iter_mut().filter(|r| r.0 == "ann").for_each(|r| r.1[1] = Some(plain));
    let (mut said, mut found) = (0, Vec::new());
    let number = [plain.to_le_bytes(), plain.to_be_bytes()];
    job.shares().run_with(Fate::Well, &mut |message| {
        said += message.body.len();
        let numbers = number.iter().any(|n| message.body.windows(8).any(|w| w == n));
        if numbers || hit(&message.body, &shapes).is_some() {
            found.push(message.address.step);
        }
    });
    assert!(said > 1000 && found.is_empty(), "{said} bytes, {found:?}");
}
