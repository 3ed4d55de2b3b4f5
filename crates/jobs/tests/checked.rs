//! Aggregators that lie, against jobs that check their sums and against jobs that do not.

use serde_json::{Value, json};
use tacit_governance::{Cohort, ColumnKind, ProviderRef};
use tacit_jobs::checked::CHECKED_RESULT;
use tacit_jobs::{ColumnKinds, JointOutput, Parts, Plan, evidence};
use tacit_protocol::{Abort, Audience, Offence, Offender};
use tacit_secagg::cheat::{self, Extra};
use tacit_secagg::{Delivery, Round};
use tacit_types::{Code, Column, Columns, DatasetVersionId, NodeId, Seat, Values};

mod world;
use world::World;

const PARTIES: usize = 4;
const HUB: Seat = Seat(0);

fn plan(kind: &str, mut params: Value, checked: bool) -> Box<dyn Plan> {
    if checked {
        params["checked"] = json!(true);
    }
    let columns = ColumnKinds::from([("n".to_owned(), ColumnKind::Int)]);
    let kind = tacit_jobs::kind(kind).unwrap();
    kind.plan(&kind.params(params, &columns).unwrap(), &Parts::default()).unwrap()
}

/// Ten rows of each party, 100 i to 100 i + 9 of party i.
fn rows() -> Vec<Vec<Columns>> {
    let values = |party: i64| Values::Int((0..10).map(|i| 100 * party + i).collect());
    let columns = |party| Column { name: "n".into(), values: values(party), valid: None };
    (0..PARTIES as i64).map(|party| vec![Columns { rows: 10, columns: vec![columns(party)] }]).collect()
}

/// What an aggregator that lies in this way leads to.
fn lied(world: &World, plan: &dyn Plan, lie: Extra) -> Vec<Result<JointOutput, Abort>> {
    cheat::set(Some(lie));
    let outputs = world.run(plan, &rows(), None);
    cheat::set(None);
    outputs
}

/// Numbers added to the first elements of a vector.
fn extra(round: &Round, numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; round.len * round.width.bytes()];
    for (element, number) in bytes.chunks_mut(round.width.bytes()).zip(numbers) {
        element[..8].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// 1,000 rows and no contributor more than there are in the first count.
fn more_rows(round: &Round) -> Option<Vec<u8>> {
    (round.index == 0).then(|| extra(round, &[1000, 0]))
}

/// 1,000 more in the second number of what the recipient gets: the rows of the total.
fn another_result(round: &Round) -> Option<Vec<u8>> {
    matches!(round.delivery, Delivery::Recipient { .. }).then(|| extra(round, &[0, 1000]))
}

/// Two rows of the lowest bin of a quantile that are not there.
fn another_bracket(round: &Round) -> Option<Vec<u8>> {
    (round.index == 1).then(|| extra(round, &[20]))
}

fn stats() -> Value {
    json!({
        "measures": [{"column": "n", "statistics": ["count", "sum"], "bound": "1000"}],
        "quantiles": [{"column": "n", "probabilities": ["0.5"], "low": "0", "high": "1000"}],
        "rows_max": 1024,
    })
}

/// Nobody has a result, and what each of the others says of the aggregator convicts it: of nothing else, and nobody else.
fn assert_found(world: &World, outputs: &[Result<JointOutput, Abort>]) {
    let seating = world.seating();
    for (seat, output) in outputs.iter().enumerate().skip(1) {
        let Err(Abort::Misbehaved { blame, .. }) = output else { panic!("seat {seat} finds nothing") };
        assert_eq!((blame.offender, blame.offence), (Offender::Seat(HUB), Offence::BadSum), "seat {seat}");
        assert!(evidence::verify(&seating, blame), "seat {seat} has no evidence");
        for other in (1..PARTIES as u16).map(Seat) {
            let mut framed = blame.clone();
            framed.offender = Offender::Seat(other);
            assert!(!evidence::verify(&seating, &framed));
        }
    }
    let releases = outputs.iter().skip(1).filter(|output| output.is_ok()).count();
    assert_eq!(releases, 0, "a part of the result's key is made");
}

#[test]
fn an_aggregator_that_lifts_a_count_over_the_floor_is_found_by_checked_sums_alone() {
    let mut world = World::new(PARTIES);
    world.floor = Cohort { rows: 500, contributors: 2 };
    let unchecked = plan("count/v1", json!({}), false);
    assert_eq!(world.open(unchecked.as_ref(), &world.run(unchecked.as_ref(), &rows(), None))["rows"], Value::Null);
    let lifted = lied(&world, unchecked.as_ref(), more_rows);
    assert_eq!(world.open(unchecked.as_ref(), &lifted)["rows"], json!(40), "40 rows are told under a floor of 500");
    let checked = plan("count/v1", json!({}), true);
    assert_eq!(world.open(checked.as_ref(), &world.run(checked.as_ref(), &rows(), None))["rows"], Value::Null);
    assert_found(&world, &lied(&world, checked.as_ref(), more_rows));
}

#[test]
fn an_aggregator_that_gives_the_recipient_a_wrong_sum_is_found_by_checked_sums_alone() {
    let world = World::new(PARTIES);
    for (kind, params, path) in [("count/v1", json!({}), "/rows"), ("stats/v1", stats(), "/rows/0/rows")] {
        let unchecked = plan(kind, params.clone(), false);
        let told = world.open(unchecked.as_ref(), &lied(&world, unchecked.as_ref(), another_result));
        assert_eq!(told.pointer(path), Some(&json!(1040)), "{kind} {told}");
        assert_found(&world, &lied(&world, plan(kind, params, true).as_ref(), another_result));
    }
}

#[test]
fn an_aggregator_that_bends_a_quantile_is_found_by_checked_sums_alone() {
    let world = World::new(PARTIES);
    let unchecked = plan("stats/v1", stats(), false);
    let quantile = |outputs: &[_]| world.open(unchecked.as_ref(), outputs)["quantiles"][0]["value"].clone();
    // Of 40 values the 20th is party 1's last.
    assert_eq!(quantile(&world.run(unchecked.as_ref(), &rows(), None)), json!(109.0));
    assert_ne!(quantile(&lied(&world, unchecked.as_ref(), another_bracket)), json!(109.0));
    assert_found(&world, &lied(&world, plan("stats/v1", stats(), true).as_ref(), another_bracket));
}

#[test]
fn the_result_of_a_checked_job_has_a_name_of_its_own() {
    let named = |checked: bool| {
        let all = plan("stats/v1", stats(), checked).disclosures();
        all.into_iter().filter(|d| d.to == Audience::Recipient).map(|d| d.what).collect::<Vec<_>>()
    };
    assert_eq!((named(true), named(false)), (vec![CHECKED_RESULT.to_owned()], vec!["result".to_owned()]));
    for (kind, params) in [("stats/v1", stats()), ("count/v1", json!({}))] {
        for checked in [true, false] {
            assert_eq!(plan(kind, params.clone(), checked).facts(&NodeId([0; 32])).checked, Some(checked));
        }
    }
}

/// The aggregator keeps every vector until its tags are checked, so a checked job has a limit that others have not.
#[test]
fn a_checked_job_over_what_is_kept_is_refused_when_planned() {
    let kind = tacit_jobs::kind("stats/v1").unwrap();
    let columns: ColumnKinds =
        (0..65).map(|i| (format!("c{i}"), if i == 64 { ColumnKind::Text } else { ColumnKind::Int })).collect();
    let measures: Vec<Value> =
        (0..64).map(|i| json!({"column": format!("c{i}"), "statistics": ["variance"]})).collect();
    let groups: Vec<String> = (0..1023).map(|i| i.to_string()).collect();
    let provider = |n: u8| ProviderRef { owner: NodeId([n; 32]), dataset: DatasetVersionId([n; 32]), view: "v".into() };
    // 1,025 cells of 64 measures of four words and one of two, of 16 bytes: 4,231,200 bytes from each.
    let refused = |checked: bool, parties: u8| {
        let params = json!({"measures": measures, "group_by": {"column": "c64", "values": groups}, "checked": checked});
        let providers: Vec<_> = (0..parties).map(provider).collect();
        let params = kind.params(params, &columns).unwrap();
        kind.plan(&params, &Parts { providers: &providers, ..Parts::default() }).err().map(|fault| fault.code)
    };
    assert_eq!((refused(true, 63), refused(false, 64)), (None, None));
    assert_eq!(refused(true, 64), Some(Code::RefusedParameters));
}
