//! Verified mode of every kind on shares between real machines: the same results as without, and what parties, a dealer
//! and who adds cannot change unnoticed.

#[path = "score_trees/ensembles.rs"]
#[allow(dead_code, reason = "shared with the tests of trees")]
mod ensembles;
#[path = "../../models/tests/common/mod.rs"]
mod fixtures;
#[path = "score_private/parties.rs"]
#[allow(dead_code, reason = "shared with the tests of private models")]
mod parties;
mod shares;

use ensembles::{Ensemble, Shape};
use parties::Job as Linear;
use serde_json::{Value, json};
use shares::{Fate, Handed, Job, Table, mutate};
use tacit_crypto::{Prg, Secret, Transcript};
use tacit_jobs::kind::OpenedVector;
use tacit_jobs::score::ScoreLinear;
use tacit_jobs::score::params::{AUDITS_MAX, ScoreParams, VERIFIED_NUMBERS_MAX};
use tacit_jobs::{Kind as _, session};
use tacit_models::{Activation, Feature, Kind, Layer, Link, Meta, Model, Network};
use tacit_protocol::{Abort, Blame, Message, Offence};
use tacit_types::{Code, Column, Columns, Name, Seat, Values};

const KEYS: [&str; 5] = ["ann", "bob", "cid", "bob", "dot"];
/// Words beside those of the numbers: the key, the seal's seed and its sums.
const REST: usize = 2 + 4 + 64;

/// The same job, verified.
fn verified(mut job: Job, audits: u8) -> Job {
    job.written["verified"] = json!(true);
    job.written["audits"] = json!(audits);
    job
}

fn with(more: &Value) -> Value {
    let mut written = json!({"key": "id", "bound": "64"});
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    written
}

fn linear(owners: usize, both: bool, more: Value) -> Job {
    Linear::private(owners, both, &KEYS, with(&more)).shares()
}

fn split(owners: usize, more: Value) -> Job {
    Linear::split(owners, &KEYS, with(&more)).shares()
}

/// Both modes of a job open the same.
fn same(name: &str, make: impl Fn() -> Job) {
    let plain = make().open();
    for audits in [0, 1] {
        assert_eq!(verified(make(), audits).open(), plain, "{name}, {audits} audits");
    }
}

/// A value between the margins of a model over so many owners' features.
fn between(owners: usize) -> String {
    let job = Linear::private(owners, true, &KEYS, with(&json!({})));
    let mut margins: Vec<f64> = KEYS.iter().map(|k| job.plain(k).unwrap()).collect();
    margins.sort_by(f64::total_cmp);
    format!("{:.7}", f64::midpoint(margins[0], margins[4]))
}

fn outputs(owners: usize) -> [Value; 4] {
    let edge = between(owners);
    [
        json!({}),
        json!({"output": "rounded", "decimals": 2}),
        json!({"output": "band", "bands": ["-60", edge, "60"]}),
        json!({"output": "decision", "threshold": edge}),
    ]
}

#[test]
fn linear_models_score_the_same_with_two_and_three_parties() {
    for (owners, both) in [(1, false), (2, false), (3, true)] {
        for output in outputs(owners) {
            same(&format!("private {owners} {output}"), || linear(owners, both, output.clone()));
        }
        for output in outputs(owners).into_iter().skip(1).filter(|_| owners > 1) {
            same(&format!("split {owners} {output}"), || split(owners, output.clone()));
        }
        let [.., decision] = outputs(owners);
        let opened = verified(linear(owners, both, decision), 0).open();
        let yes = opened["decisions"].as_array().unwrap().iter().filter(|d| **d == json!(true)).count();
        assert!((1..5).contains(&yes), "{opened}");
    }
}

#[test]
fn unknown_keys_are_treated_the_same() {
    for unknown in ["refuse", "flag", "default"] {
        let make = || {
            let written = with(&json!({"unknown": unknown}));
            let mut job = Linear::private(3, false, &["ann", "eve", "fay", "gus"], written);
            job.spoil();
            job.shares()
        };
        same(unknown, make);
    }
}

#[test]
fn trees_score_the_same_with_two_and_three_parties() {
    let ensemble = Ensemble::read("onnx-tree.onnx");
    let library = json!({"library": "onnx"});
    same("private, two", || ensembles::job(&ensemble, Shape::apart(1), library.clone()));
    same("private, three", || ensembles::job(&ensemble, Shape::apart(2), library.clone()));
    same("split, two", || ensembles::split_job(&ensemble, 2, false, json!({})));
    let output = json!({"output": "decision", "threshold": "0.1"});
    same("split, three", || ensembles::split_job(&ensemble, 2, true, output.clone()));
}

/// |x - y| and a quarter.
fn network(owners: usize, more: Value) -> Job {
    let relu = Layer { weights: vec![1.0, -1.0, -1.0, 1.0], bias: vec![0.0; 2], activation: Activation::Relu };
    let last = Layer { weights: vec![1.0, 1.0], bias: vec![0.25], activation: Activation::Identity };
    let meta = Meta { owner: Job::party(20), name: Name::new("d").unwrap(), version: 1 };
    let features = ["x", "y"].map(|n| Feature::numeric(n).within(-8.0, 8.0)).to_vec();
    let kind = Kind::Network(Network { layers: vec![relu, last] });
    let model = Model::new(meta, features, Link::Identity, kind).unwrap();
    let column = |name: &str, values: [f64; 3]| Column {
        name: name.into(),
        valid: None,
        values: Values::Float(values.to_vec()),
    };
    let ids =
        || Column { name: "id".into(), valid: None, values: Values::Text(["a", "b", "c"].map(String::from).to_vec()) };
    let (x, y) = (column("x", [1.5, -3.0, 8.0]), column("y", [4.0, -3.0, -8.0]));
    let table = |owner: usize, columns: Vec<Column>| Table {
        name: format!("p{owner}"),
        owner: Job::party(owner),
        columns: Columns { rows: 3, columns },
    };
    let tables = match owners {
        1 => vec![table(0, vec![ids(), x, y])],
        _ => vec![table(0, vec![ids(), x]), table(1, vec![ids(), y])],
    };
    let ranges = json!({"x": ["-8", "8"], "y": ["-8", "8"]});
    let mut written = json!({"key": "id", "bound": "64", "layers": [2], "ranges": ranges});
    written.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Job::new("score-network/v1", tables, vec![(Job::party(20), model)], written).keyed(&["a", "b", "c"])
}

#[test]
fn networks_score_the_same_with_two_and_three_parties() {
    for owners in [1, 2] {
        let opened = verified(network(owners, json!({})), 1).open();
        for (score, wanted) in opened["scores"].as_array().unwrap().iter().zip([2.75, 0.25, 16.25]) {
            assert!((score.as_f64().unwrap() - wanted).abs() < 1e-5, "{owners}: {opened}");
        }
        same("decisions", || network(owners, json!({"output": "decision", "threshold": "2"})));
    }
}

fn rule(owners: usize) -> Job {
    let table = |owner: usize, column: &str, values: [i64; 4]| {
        let ids = Values::Text(["a", "b", "c", "d"].map(String::from).to_vec());
        let columns = vec![
            Column { name: "id".into(), valid: None, values: ids },
            Column { name: column.into(), valid: None, values: Values::Int(values.to_vec()) },
        ];
        Table { name: format!("p{owner}"), owner: Job::party(owner), columns: Columns { rows: 4, columns } }
    };
    let tables = [table(0, "x", [1, 1, 0, 0]), table(1, "y", [1, 0, 1, 0]), table(2, "z", [0, 1, 1, 0])];
    let written = json!({"key": "id", "rule": (["x = 1 or y = 1", "x = 1 and y = 1 or z = 1"])[owners - 2]});
    Job::new("verify/v1", tables.into_iter().take(owners).collect(), Vec::new(), written).keyed(&["a", "b", "c", "e"])
}

#[test]
fn rules_answer_the_same_with_two_and_three_parties() {
    same("two", || rule(2));
    same("three", || rule(3));
    assert_eq!(verified(rule(3), 0).open()["decisions"], json!([true, true, true, false]));
    same("a threshold", || {
        let mut job = linear(2, false, json!({"threshold": between(2)}));
        job.kind = "verify/v1";
        job
    });
}

/// What is opened of a hand-over whose summed cells somebody changed. A sum is linear: what is added to it, one seat may
/// as well have added to its own summand.
fn changed(job: &Job, handed: &Handed, change: &dyn Fn(&mut Vec<u128>)) -> Result<Value, Code> {
    let unblind = |bytes: &[u8], releases: &_| -> Result<OpenedVector, tacit_types::Fault> {
        let mut opened = session::unblind(&shares::recipient(), bytes, releases)?;
        change(&mut opened.cells);
        Ok(opened)
    };
    job.open_handed(handed, &unblind).map_err(|f| f.code)
}

fn add(cells: &mut [u128], at: usize, more: u64) {
    cells[at] = u128::from((cells[at] as u64).wrapping_add(more));
}

/// Seals changed words anew, as a party can that knows the seed.
fn reseal(cells: &mut [u128], numbers: usize) {
    let seed: Vec<u8> = cells[4 * numbers + 2..][..4].iter().flat_map(|c| (*c as u64).to_le_bytes()).collect();
    let hash = Transcript::new("tacit-score/1/seal").fixed(&seed.try_into().unwrap()).finish();
    let key = core::array::from_fn(|i| hash.0.get(i).copied().unwrap_or(0));
    let mut subsets = vec![0u64; 4 * numbers + 2];
    Prg::new(&Secret::new(key)).apply(0, &mut subsets, false);
    for tag in 0..64 {
        let chosen = subsets.iter().zip(&*cells).filter(|(subsets, _)| **subsets >> tag & 1 == 1);
        let sum = chosen.fold(0, |sum: u64, (_, cell)| sum.wrapping_add(*cell as u64));
        cells[4 * numbers + 6 + tag] = sum.into();
    }
}

#[test]
fn a_summand_that_a_seat_changes_is_found_by_the_recipient() {
    let decision = json!({"output": "decision", "threshold": between(3)});
    for job in [linear(1, false, json!({})), linear(3, false, decision)] {
        let job = verified(job, 0);
        let handed = job.handed();
        let whole = changed(&job, &handed, &|_| {}).unwrap();
        let numbers = 2 * KEYS.len();
        assert_eq!(changed(&job, &handed, &|cells| reseal(cells, numbers)).as_ref(), Ok(&whole), "sealed so before");
        for (at, sealed) in (0..4 * numbers + REST).flat_map(|at| [(at, false), (at, true)]) {
            for more in [1, 1 << 31, 1 << 63, u64::MAX] {
                let found = changed(&job, &handed, &|cells| {
                    add(cells, at, more);
                    if sealed {
                        reseal(cells, numbers);
                    }
                });
                // Under a new seal, what is no number's own word may change where the numbers still fit: what comes out
                // is the same.
                let own = !sealed || (at < 4 * numbers && at % 4 == 0);
                let harmless = !own && found.as_ref() == Ok(&whole);
                assert!(harmless || found == Err(Code::JobMisbehaved), "{at} {more:x} {sealed}: {found:?}");
            }
        }
        let short = |cells: &mut Vec<u128>| cells.truncate(cells.len() - 1);
        let (long, wide) = (|cells: &mut Vec<u128>| cells.push(0), |cells: &mut Vec<u128>| cells[3] += 1 << 64);
        for change in [&short as &dyn Fn(&mut Vec<u128>), &long, &wide] {
            assert_eq!(changed(&job, &handed, change), Err(Code::ReceiptInvalid));
        }
        // Two rows that change places keep their codes, and not the seal.
        let swapped = changed(&job, &handed, &|cells| (0..4).for_each(|i| cells.swap(i, 4 + i)));
        assert_eq!(swapped, Err(Code::JobMisbehaved));
    }
}

#[test]
fn a_dealer_that_changes_the_sum_knows_the_codes_and_not_the_seal() {
    let job = verified(linear(2, false, json!({})), 0);
    let handed = job.handed();
    let numbers = 2 * KEYS.len();
    for (more, row) in [(1u64, 0), (1 << 28, 3), (1 << 63, 4)] {
        let forge = |cells: &mut Vec<u128>| {
            let alpha = cells[4 * numbers] + (cells[4 * numbers + 1] << 32);
            let word = |cells: &[u128], at: usize| cells[at] | cells[at + 1] << 64;
            for (at, by) in [(4 * row, 1), (4 * row + 2, alpha)] {
                let sum = word(cells, at).wrapping_add(by.wrapping_mul(more.into()));
                (cells[at], cells[at + 1]) = (sum & u128::from(u64::MAX), sum >> 64);
            }
        };
        assert_eq!(changed(&job, &handed, &forge), Err(Code::JobMisbehaved), "{more}");
        let mut opened = session::unblind(&shares::recipient(), &handed.package, &handed.releases).unwrap().cells;
        let before = opened[4 * row] as u64;
        forge(&mut opened);
        let words: Vec<u64> = opened.iter().map(|c| *c as u64).collect();
        let key = [words[4 * numbers], words[4 * numbers + 1]];
        let taken = tacit_mpc::open_handed(&words[..4 * numbers], &key, 3).unwrap();
        assert_eq!(taken[row], before.wrapping_add(more), "the codes alone fit");
    }
}

/// Whether a message is one of the computation from a seat.
fn computes(m: &Message, from: Seat) -> bool {
    m.address.from == from && session::phase_name(m.address.step) == "compute" && !m.body.is_empty()
}

#[test]
fn a_wrong_dealer_is_blamed_where_it_is_audited() {
    let job = linear(1, false, json!({"output": "decision", "threshold": "0"}));
    let dealer = Seat(job.seated.iter().position(|k| Some(k.id()) == job.dealer).unwrap() as u16);
    let job = verified(job, 1);
    let last = |run: &shares::Run| run.outcomes.iter().all(Result::is_ok);
    let mut from_dealer = 0;
    assert!(last(&job.run_with(Fate::Well, &mut |m| from_dealer += usize::from(computes(m, dealer)))));
    assert!(from_dealer > 2);
    for at in 0..from_dealer {
        let mut seen = 0;
        let run = job.run_with(Fate::Well, &mut |m| {
            if computes(m, dealer) {
                let middle = m.body.len() / 2;
                m.body[middle] ^= u8::from(seen == at);
                seen += 1;
            }
        });
        // What it corrects, or what it opens for the audit.
        let wrong = [Offence::BadDeal, Offence::BadOpening].map(|offence| Blame::seat(dealer, offence));
        let blames = |o: &Result<_, Abort>| matches!(o, Err(Abort::Misbehaved { blame, .. }) if wrong.contains(blame));
        assert!(run.outcomes.iter().any(blames), "{at}: {:?}", run.outcomes.iter().map(|o| o.as_ref().err()));
        assert!(run.outcomes.iter().all(Result::is_err), "{at}");
    }
}

#[test]
fn a_party_that_computes_wrong_gets_no_result_opened() {
    let make = || linear(1, false, json!({"output": "decision", "threshold": between(1)}));
    let party = |job: &Job| Seat(job.seated.iter().position(|k| k.id() == Job::party(20)).unwrap() as u16);
    let altered = |job: &Job, at: usize| {
        let (seat, mut seen) = (party(job), 0);
        let run = job.run_with(Fate::Well, &mut |m| {
            if computes(m, seat) {
                m.body[0] ^= u8::from(seen == at);
                seen += 1;
            }
        });
        (run.outcomes.iter().any(Result::is_ok), seen)
    };
    let plain = make();
    assert!((0..3).any(|at| altered(&plain, at).0), "unnoticed where nothing is verified");
    let job = verified(make(), 0);
    let messages = altered(&job, usize::MAX).1;
    assert!(messages > 6);
    for at in 0..messages {
        assert!(!altered(&job, at).0, "message {at} of {messages}");
    }
}

#[test]
fn what_is_disclosed_metered_and_estimated_is_what_happens() {
    for (unknown, numbers) in [("refuse", 6), ("default", 5), ("flag", 10)] {
        let job = verified(linear(2, false, json!({"unknown": unknown})), 2);
        let (plan, cells) = (job.plan().unwrap(), 4 * numbers + REST as u64);
        let listed: Vec<(String, u64)> = plan.disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
        assert_eq!(listed, [("verified result".to_owned(), cells)]);
        let estimate = plan.estimate(job.seats());
        let run = job.run(Fate::Well);
        for (usage, outcome) in run.usage.iter().zip(&run.outcomes) {
            let opened: Vec<(String, u64)> = usage.opened.clone().into_iter().collect();
            assert_eq!(opened, listed, "at every seat, the dealer's too");
            let output = outcome.as_ref().unwrap();
            assert_eq!((output.cells_in, output.payload_bytes, output.cells_out), (cells, cells * 8, 5));
        }
        let most = run.usage.iter().map(|u| u.sent.values().sum::<u64>()).max().unwrap();
        assert!(estimate.cells == cells && estimate.bytes_up >= most, "{estimate:?}, {most}");
        assert!(estimate.bytes_up - most < 500 * job.seats() as u64, "{estimate:?}, {most}");
        let computes = |i: &usize| job.dealer != Some(job.seated[*i].id());
        let sent =
            |of: bool| (0..job.seats()).filter(move |i| computes(i) == of).map(|i| run.usage[i].sent.values().sum());
        let safeguard = plan.safeguard(job.seats()).unwrap();
        let (party, dealer): (u64, u64) = (sent(true).max().unwrap(), sent(false).sum());
        assert_eq!(safeguard.audits, 2);
        assert!(safeguard.sent >= party && safeguard.sent - party < 500 * job.seats() as u64, "{safeguard:?} {party}");
        // The dealer sends zeroes to the sum as well, and what it opens for the audits.
        let beside = dealer - cells * 8;
        assert!(safeguard.dealt <= beside && beside < safeguard.dealt + 1500, "{safeguard:?} {beside}");
        let plain = linear(2, false, json!({"unknown": unknown}));
        assert!(plain.plan().unwrap().safeguard(4).is_none());
        let plain = plain.plan().unwrap().estimate(4);
        assert!(estimate.rounds > plain.rounds + 8, "{} and {}", estimate.rounds, plain.rounds);
        let named = run.steps.iter().filter(|s| session::phase_name(**s) == "seal").count();
        assert_eq!(named, 1);
        assert!(plan.facts(&Job::party(0)).score.unwrap().verified);
    }
    assert!(!linear(2, false, json!({})).plan().unwrap().facts(&Job::party(0)).score.unwrap().verified);
}

#[test]
fn what_cannot_be_verified_is_refused() {
    let code = |job: Job| job.plan().map(|_| ()).map_err(|f| f.code);
    let with = |more: Value| code(linear(2, false, more));
    assert_eq!(with(json!({"verified": true, "audits": AUDITS_MAX})), Ok(()));
    assert_eq!(with(json!({"verified": true, "audits": AUDITS_MAX + 1})), Err(Code::RefusedParameters));
    assert_eq!(with(json!({"audits": 1})), Err(Code::RefusedParameters));
    assert_eq!(with(json!({"verified": false, "audits": 1})), Err(Code::RefusedParameters));
    assert_eq!(with(json!({"verified": "yes"})), Err(Code::RefusedParameters));
    // A sum of parts has no dealer, and nothing that is verified.
    let mut sum = Linear::split(2, &KEYS, json!({"key": "id", "verified": true}));
    sum.dealer = None;
    assert_eq!(code(sum.shares()), Err(Code::RefusedParameters));
    let params: ScoreParams = tacit_crypto::cbor::decode(&linear(2, false, json!({})).params().unwrap()).unwrap();
    assert_eq!(params.verified, None);
    let read: ScoreParams =
        tacit_crypto::cbor::decode(&linear(2, false, json!({"verified": true})).params().unwrap()).unwrap();
    assert_eq!(read.verified, Some(1), "one audit where none is named");
    let rows = |rows| ScoreParams { rows, ..read.clone() }.check().map_err(|f| f.code);
    assert_eq!(rows(VERIFIED_NUMBERS_MAX / 2), Ok(()));
    assert_eq!(rows(VERIFIED_NUMBERS_MAX / 2 + 1), Err(Code::RefusedParameters));
}

#[test]
fn mutated_parameters_are_refused_or_another_job() {
    let job = verified(linear(2, false, json!({})), 3);
    let bytes = job.params().unwrap();
    let (mut refused, mut other) = (0, 0);
    mutate(&bytes, |bytes| {
        let Ok(params) = tacit_crypto::cbor::decode::<ScoreParams>(bytes) else {
            assert!(job.plan_of(bytes).is_err());
            return refused += 1;
        };
        assert_eq!(tacit_crypto::cbor::encode(&params), bytes, "one encoding alone");
        match job.plan_of(bytes) {
            Ok(plan) => {
                other += 1;
                let cells = plan.disclosures()[0].cells_max;
                let told = plan.facts(&Job::party(0)).score.unwrap();
                assert_eq!((told.verified, cells >= REST as u64), (params.verified.is_some(), told.verified));
                assert!(params.verified.is_none_or(|audits| audits <= AUDITS_MAX));
            }
            Err(_) => refused += 1,
        }
    });
    assert!(refused > 100 && other > 0, "{refused} {other}");
    assert_eq!(ScoreLinear.id(), job.kind);
}
