//! Private statistics between real machines: what their noise is, and what is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tacit_governance::{ColumnKind, PrivacyCost, ProviderRef};
use tacit_jobs::checked::{CHECKED_NOISY_RESULT, NOISY_RESULT};
use tacit_jobs::stats::params::StatsParams;
use tacit_jobs::stats::private;
use tacit_jobs::{ColumnKinds, JointOutput, Parts, Plan, session};
use tacit_protocol::{Abort, Audience};
use tacit_types::{Code, Column, Columns, DatasetVersionId, Fault, NodeId, Seat, Values};

mod world;
use world::World;

const GROUPS: i64 = 300;

fn kinds() -> ColumnKinds {
    [("g", ColumnKind::Int), ("n", ColumnKind::Int), ("x", ColumnKind::Float), ("y", ColumnKind::Float)]
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect()
}

fn providers(parties: usize) -> Vec<ProviderRef> {
    let provider = |i| ProviderRef { owner: NodeId([i; 32]), dataset: DatasetVersionId([i; 32]), view: "v".into() };
    (1..=parties as u8).map(provider).collect()
}

fn params(written: Value) -> Result<Vec<u8>, Fault> {
    tacit_jobs::kind("stats/v1").unwrap().params(written, &kinds())
}

fn plan(written: Value, parties: usize) -> Result<Box<dyn Plan>, Fault> {
    let providers = providers(parties);
    tacit_jobs::kind("stats/v1")?.plan(&params(written)?, &Parts { providers: &providers, ..Parts::default() })
}

/// Ten rows of each group at each party, with values of their group.
fn rows(parties: usize) -> Vec<Vec<Columns>> {
    let of = |party: i64| {
        let groups: Vec<i64> = (0..10 * GROUPS).map(|i| i % GROUPS).collect();
        let values: Vec<i64> = groups.iter().map(|g| g % 7 - 3 + party % 2).collect();
        let reals: Vec<f64> = groups.iter().map(|g| *g as f64 / 10.0).collect();
        let column = |name: &str, values| Column { name: name.into(), values, valid: None };
        let columns =
            vec![column("g", Values::Int(groups)), column("n", Values::Int(values)), column("x", Values::Float(reals))];
        vec![Columns { rows: (10 * GROUPS) as usize, columns }]
    };
    (0..parties as i64).map(of).collect()
}

fn job(epsilon: &str) -> Value {
    json!({
        "group_by": {"column": "g", "values": (0..GROUPS).collect::<Vec<_>>()},
        "measures": [{"column": "n", "statistics": ["count", "sum", "variance"], "bound": "4"}],
        "histograms": [{"column": "x", "edges": ["0", "10", "20"]}],
        "privacy": {"epsilon": epsilon, "delta": "0.000001"},
    })
}

/// The sum that the recipient unblinds.
fn unblinded(world: &World, outputs: &[Result<JointOutput, Abort>]) -> (Vec<i128>, usize) {
    let good: Vec<(usize, &JointOutput)> =
        outputs.iter().enumerate().filter_map(|(i, o)| o.as_ref().ok().map(|o| (i, o))).collect();
    let package = good.iter().find_map(|(_, o)| o.package.clone()).expect("the aggregator finished");
    let releases: BTreeMap<Seat, Vec<u8>> = good
        .iter()
        .filter(|(i, _)| good[0].1.survivors.contains(&Seat(*i as u16)))
        .map(|(i, o)| (Seat(*i as u16), o.release.clone()))
        .collect();
    let opened = session::unblind(&world.recipient, &package, &releases).unwrap();
    (opened.cells.iter().map(|c| c.cast_signed()).collect(), opened.survivors)
}

fn noise(written: Value, parties: usize) -> tacit_dp::SumNoise {
    let params: StatsParams = tacit_crypto::cbor::decode(&params(written).unwrap()).unwrap();
    private::plan(&params, &params.privacy.unwrap(), parties).unwrap()
}

/// The noise of whole jobs: mean square and mean of what is left when the true numbers are taken off.
fn measured(parties: usize, runs: u64, lose: Option<(usize, usize)>) -> (f64, f64, usize) {
    let (world, plan, rows) = (World::new(parties), plan(job("1"), parties).unwrap(), rows(parties));
    let units = noise(job("1"), parties).units() as i128;
    let (mut squares, mut sum, mut n, mut survivors) = (0.0, 0.0, 0.0, 0);
    for run in 0..runs {
        world.seed.set(run + 1);
        let (cells, alive) = unblinded(&world, &world.run(plan.as_ref(), &rows, lose));
        survivors = alive;
        // The rows of the total and of each group are the first numbers.
        let truth = |cell: usize| alive as i128 * if cell == 0 { 10 * GROUPS as i128 } else { 10 };
        for (cell, value) in cells.iter().take(GROUPS as usize + 1).enumerate() {
            let off = (value - truth(cell) * units) as f64;
            (squares, sum, n) = (squares + off * off, sum + off, n + 1.0);
        }
    }
    (squares / n, sum / n, survivors)
}

/// Within seven standard errors of a variance that is estimated from so many numbers, and never that much less.
fn is_about(found: f64, stated: f64, numbers: f64) -> bool {
    (found / stated - 1.0).abs() < 7.0 * (2.0 / numbers).sqrt()
}

#[test]
fn the_noise_of_a_whole_job_has_the_stated_variance() {
    let noise = noise(job("1"), 3);
    let part = noise.part().num() as f64 / noise.part().den() as f64;
    let whole = noise.whole().num() as f64 / noise.whole().den() as f64;
    let (found, mean, survivors) = measured(3, 12, None);
    assert_eq!(survivors, 3);
    assert!(is_about(found, 3.0 * part, 3612.0), "{found}, stated {}", 3.0 * part);
    assert!(mean.abs() < 6.0 * (found / 3612.0).sqrt(), "{mean}");
    // One of three may collude: two parts are the whole, within a quarter's rounding.
    assert!(2.0 * part >= whole && 2.0 * part < whole * 1.001, "{part} {whole}");
}

#[test]
fn the_survivors_of_a_loss_carry_enough() {
    let noise = noise(job("1"), 4);
    let part = noise.part().num() as f64 / noise.part().den() as f64;
    let whole = noise.whole().num() as f64 / noise.whole().den() as f64;
    let lost = (5..60).map(|after| (3, after)).find(|lose| {
        let world = World::new(4);
        let outputs = world.run(plan(job("1"), 4).unwrap().as_ref(), &rows(4), Some(*lose));
        outputs.iter().take(3).all(Result::is_ok)
    });
    assert!(lost.is_some(), "a loss that the others outlive");
    let (found, _, survivors) = measured(4, 6, lost);
    assert!((3..=4).contains(&survivors), "{lost:?}");
    assert!(is_about(found, survivors as f64 * part, 1806.0), "{found}");
    // Of three survivors one may tell its own.
    assert!(2.0 * part >= whole, "{part} {whole}");
}

#[test]
fn a_result_says_its_numbers_with_their_noise() {
    let (world, plan, rows) = (World::new(3), plan(job("20"), 3).unwrap(), rows(3));
    let outputs = world.run(plan.as_ref(), &rows, None);
    let result = world.open(plan.as_ref(), &outputs);
    let noise = noise(job("20"), 3);
    let part = noise.part().num() as f64 / noise.part().den() as f64;
    let deviation = (3.0 * part).sqrt() / noise.units() as f64;
    assert_eq!(result["privacy"], json!({"epsilon": 20.0, "delta": 1e-6, "mechanism": "skellam", "noise": deviation}));
    let near = |found: &Value, want: f64, deviations: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - want).abs() < 6.0 * deviations * deviation + 1.0, "{found}, not {want} (noise {deviation})");
    };
    near(&result["rows"][0]["rows"], 9000.0, 1.0);
    near(&result["rows"][3]["rows"], 30.0, 1.0);
    let all = &result["measures"][0]["groups"][0];
    // Values from -3 to 3 at two parties, from -2 to 4 at one: their mean is a third above that of the first.
    let base: i64 = (0..GROUPS).map(|g| g % 7 - 3).sum::<i64>() * 30;
    near(&all["sum"], base as f64 + 3000.0, 4.0);
    near(&all["count"], 9000.0, 1.0);
    assert_eq!(all["sum_noise"], json!(deviation * 4.0));
    let variance = all["variance"].as_f64().unwrap();
    assert!((variance - 4.2).abs() < 0.3, "{variance}");
    near(&result["histograms"][0]["bins"][1]["count"], 3000.0, 1.0);
    assert_eq!(result["suppressed_cells"], json!(0));
}

/// A single number, no flag, no count and nothing for the nodes.
#[test]
fn nothing_is_opened_beside_the_noisy_numbers() {
    for (checked, name) in [(false, NOISY_RESULT), (true, CHECKED_NOISY_RESULT)] {
        let mut written = job("1");
        written["checked"] = json!(checked);
        let (world, plan) = (World::new(3), plan(written, 3).unwrap());
        let cells = 302 * 4 + 4;
        let opened = plan.disclosures();
        assert_eq!(opened.len(), 1);
        assert_eq!((opened[0].what.as_str(), opened[0].to, opened[0].cells_max), (name, Audience::Recipient, cells));
        let outputs = world.run(plan.as_ref(), &rows(3), None);
        for output in &outputs {
            let output = output.as_ref().unwrap();
            assert_eq!((output.cells_in, output.cells_out, output.cells_suppressed), (cells, cells, 0));
            assert_eq!(output.payload_bytes, 16 * cells);
        }
        assert_eq!(plan.estimate(3).cells, cells);
        let cost = PrivacyCost { epsilon_micro: 1_000_000, delta_femto: 1_000_000_000 };
        assert_eq!(plan.facts(&NodeId([1; 32])).privacy, Some(cost));
    }
}

/// The same rows, whether there are any or none: sizes and numbers of messages do not tell.
#[test]
fn an_empty_table_looks_like_a_full_one() {
    let plan = plan(job("1"), 3).unwrap();
    let sent = |rows: &[Vec<Columns>]| {
        let world = World::new(3);
        assert!(world.run(plan.as_ref(), rows, None).iter().all(Result::is_ok));
        (0..3).map(|seat| world.sent_by(Seat(seat))).collect::<Vec<_>>()
    };
    assert_eq!(sent(&rows(3)), sent(&vec![Vec::new(); 3]));
}

#[test]
fn fewer_contributors_than_the_floor_end_the_job() {
    let mut world = World::new(3);
    world.floor.contributors = 4;
    let outputs = world.run(plan(job("1"), 3).unwrap().as_ref(), &rows(3), None);
    assert!(outputs.iter().all(|o| o.as_ref().is_err_and(|abort| abort.code() == Code::JobPeerLost)));
}

#[test]
fn what_has_no_private_form_is_refused_when_planned() {
    let with = |key: &str, value: Value| {
        let mut written = job("1");
        written[key] = value;
        plan(written, 3).map(|_| ()).map_err(|fault| fault.code)
    };
    let quantiles = json!([{"column": "x", "probabilities": ["0.5"], "low": "0", "high": "50"}]);
    assert_eq!(with("quantiles", quantiles), Err(Code::RefusedStatistic));
    assert_eq!(with("matrix", json!({"columns": ["n", "y"], "bound": "4"})), Err(Code::RefusedStatistic));
    for privacy in [
        json!({"epsilon": "0"}),
        json!({"epsilon": "-1"}),
        json!({"epsilon": "20.000001"}),
        json!({"epsilon": "0.0000001"}),
        json!({"epsilon": "0.001"}),
        json!({"epsilon": "1", "delta": "0"}),
        json!({"epsilon": "1", "delta": "0.00001000000001"}),
        json!({"epsilon": "1", "colluders": 0}),
        json!({"epsilon": "1", "colluders": 3}),
    ] {
        assert_eq!(with("privacy", privacy.clone()), Err(Code::RefusedParameters), "{privacy}");
    }
    assert_eq!(with("privacy", json!({"epsilon": "1", "colluders": 2})), Ok(()));
    assert_eq!(with("privacy", json!({"epsilon": "20", "delta": "0.00001"})), Ok(()));
    let measure = |bound: Value| with("measures", json!([{"column": "y", "statistics": ["sum"], "bound": bound}]));
    assert_eq!(measure(Value::Null), Err(Code::RefusedParameters), "noise is measured by a bound that the job states");
    assert_eq!(measure(json!("0")), Err(Code::RefusedParameters));
    assert_eq!(measure(json!("50")), Ok(()));
    assert_eq!(with("measures", json!([{"column": "y", "statistics": ["count"]}])), Ok(()), "a count needs none");
    let many = json!([{"column": "x", "edges": (0..1000).map(|i| i.to_string()).collect::<Vec<_>>()}]);
    assert_eq!(with("histograms", many), Ok(()));
    assert_eq!(plan(job("1"), 2).map(|_| ()).unwrap_err().code, Code::RefusedParties);
}

/// What no number of parties would allow is refused while it is written, before anyone signs it.
#[test]
fn what_no_parties_could_run_is_not_written() {
    let write = |key: &str, value: Value| {
        let mut written = job("1");
        written[key] = value;
        params(written).map(|_| ()).map_err(|fault| fault.code)
    };
    let private = |epsilon: &str, delta: &str| write("privacy", json!({"epsilon": epsilon, "delta": delta}));
    assert_eq!(private("20", "0.00001"), Ok(()));
    assert_eq!(private("20.000001", "0.00001"), Err(Code::RefusedParameters));
    assert_eq!(private("20", "0.000010000000001"), Err(Code::RefusedParameters));
    assert_eq!(private("20", "0.08"), Err(Code::RefusedParameters));
    assert_eq!(write("matrix", json!({"columns": ["n", "y"], "bound": "4"})), Err(Code::RefusedStatistic));
    let bound = |bound: &str| write("measures", json!([{"column": "y", "statistics": ["sum"], "bound": bound}]));
    assert_eq!((bound("0"), bound("1")), (Err(Code::RefusedParameters), Ok(())));
}

/// More parties that may collude, more noise; the whole is the same.
#[test]
fn who_may_collude_takes_no_noise_from_the_others() {
    let with = |parties: usize, colluders: Value| {
        let mut written = job("1");
        written["privacy"]["colluders"] = colluders;
        let noise = noise(written, parties);
        noise.part().num() as f64 / noise.part().den() as f64 / (noise.units() as f64).powi(2)
    };
    let (one, two) = (with(3, json!(1)), with(3, json!(2)));
    assert_eq!(one.to_bits(), with(3, Value::Null).to_bits());
    assert!((two / one - 2.0).abs() < 0.1, "{two} {one}");
    // Of ten seven survive, and three of those collude: four parts are the whole.
    assert!((with(10, Value::Null) / two - 0.25).abs() < 0.02);
}

/// What is signed for a private job, to the byte.
#[test]
fn the_signed_parameters_are_what_they_were() {
    let written = json!({
        "histograms": [{"column": "x", "edges": ["0", "9"]}],
        "privacy": {"epsilon": "0.25", "delta": "0.000000001"},
    });
    let hex: String = params(written).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let histogram = "a20161780282a201000200a201090200";
    assert_eq!(hex, format!("a50280 0381{histogram} 0480 071a01000000 09a2011a0003d090021a000f4240").replace(' ', ""));
}
