//! `cross-stats/v1` between real machines: two owners with ids of one alignment and a dealer. What comes out is what a
//! plain join gives, less what too few rows carry; what is sent depends on nothing that is private.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tacit_crypto::{SealKey, Secret, SigningKey};
use tacit_governance::{Cohort, ColumnKind, Feeds, ModelRef, ProviderRef};
use tacit_jobs::align::{InMemory, KEPT_BYTES, KeyPart, params::schema};
use tacit_jobs::cross::params::{CROSS_COLUMNS_MAX, CROSS_ROWS_MAX, CROSS_ROWS_MIN};
use tacit_jobs::kind::{DraftProvider, OpenedVector};
use tacit_jobs::shares::{self, Room, Spine};
use tacit_jobs::{ColumnKinds, Draft, JointContext, JointHalf, JointOutput, Material, Parts, Plan, session};
use tacit_protocol::{Abort, Effect, Event, Machine, Seating, Setup, Usage};
use tacit_types::{
    Attempt, Code, Column, Columns, DatasetVersionId, Fault, Hash, JobId, Millis, ModelVersionId, NodeId, Seat, Step,
    Values,
};

const ALIGNMENT: JobId = JobId([7; 32]);
const FLOOR: u64 = 5;
const NAMES: [&str; 2] = ["bank", "telecom"];
/// The columns of each owner, with the ends of their ranges.
const COLUMNS: [[(&str, f64, f64); 2]; 2] =
    [[("spend", 0.0, 5000.0), ("visits", 0.0, 64.0)], [("age", 18.0, 100.0), ("minutes", -1.0, 2000.0)]];

/// A row of an owner: its key, none or one that nobody has brought too, and a value of each column.
#[derive(Clone)]
struct Row(Option<String>, [Option<f64>; 2]);

struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn signing(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([seed; 32]))
}

/// The keys of the two owners and the dealer: seats and the order of columns follow from them.
fn keys() -> [SigningKey; 3] {
    let mut keys = [signing(1), signing(2), signing(3)];
    keys.sort_by_key(SigningKey::id);
    keys
}

fn recipient() -> SealKey {
    SealKey::from_bytes(&Secret::new(core::array::from_fn(|i| u8::from(i == 0) * 9))).unwrap()
}

fn written(rows: u64) -> Value {
    let mut columns = json!({});
    for (name, own) in NAMES.iter().zip(COLUMNS) {
        for (column, least, most) in own {
            columns[*name][column] = json!([least.to_string(), most.to_string()]);
        }
    }
    json!({"alignment": ALIGNMENT.to_string(), "rows": rows, "columns": columns})
}

fn providers() -> Vec<ProviderRef> {
    let refer =
        |key: &SigningKey| ProviderRef { owner: key.id(), dataset: DatasetVersionId([1; 32]), view: "v".into() };
    keys()[..2].iter().map(refer).collect()
}

fn draft() -> Draft {
    let own = |i: usize| {
        let numbers = COLUMNS[i].iter().map(|(name, ..)| ((*name).to_owned(), ColumnKind::Float));
        numbers.chain([("id".to_owned(), ColumnKind::Text)]).collect()
    };
    let provider = |i: usize| DraftProvider { name: NAMES[i].into(), owner: keys()[i].id(), columns: own(i) };
    Draft { providers: vec![provider(1), provider(0)], dealer: Some(keys()[2].id()), ..Draft::default() }
}

fn plan_of(written: Value) -> Result<Box<dyn Plan>, Fault> {
    let kind = tacit_jobs::kind("cross-stats/v1").unwrap();
    let providers = providers();
    let params = kind.draft(written, &draft())?;
    kind.plan(&params, &Parts { providers: &providers, dealer: Some(keys()[2].id()), ..Parts::default() })
}

fn key_part() -> [KeyPart; 1] {
    [KeyPart { name: "id".into(), steps: vec!["trim/1".into()] }]
}

struct World {
    rows: u64,
    tables: [Vec<Row>; 2],
    /// The ids that each owner holds: which of them are its keys.
    ids: [Vec<Option<String>>; 2],
    floor: Cohort,
}

impl World {
    /// Keys from `shift` on: some of the first owner alone, some of both, some of the second alone, some of nobody (padding).
    fn new(seed: u64, [first, both, second, padding]: [usize; 4], rows: u64) -> Self {
        let mut draw = Draw(seed);
        let all = first + both + second + padding;
        let name = |i: usize| format!("k{seed}-{i}");
        let mut order: Vec<usize> = (0..all).collect();
        (1..all).rev().for_each(|i| order.swap(i, draw.below(i as u64 + 1) as usize));
        let has = [|i: usize, f: usize, b: usize, _: usize| i < f + b, |i, f, b, s| (f..f + b + s).contains(&i)];
        let ids = has.map(|has| {
            order.iter().map(|i| has(*i, first, both, second).then(|| name(*i))).collect::<Vec<Option<String>>>()
        });
        let tables = [0, 1].map(|owner| {
            let mut rows = Vec::new();
            for key in ids[owner].iter().flatten() {
                for _ in 0..1 + u64::from(draw.below(9) == 0) {
                    rows.push(Row(Some(key.clone()), row(&mut draw, owner)));
                }
            }
            rows.push(Row(Some("came later".into()), row(&mut draw, owner)));
            rows.push(Row(None, row(&mut draw, owner)));
            rows
        });
        Self { rows, tables, ids, floor: Cohort { rows: FLOOR, contributors: 2 } }
    }

    fn spine(&self, owner: usize) -> Spine {
        let schema = schema(&key_part()).unwrap();
        let kept = |key: &Option<String>| key.as_ref().map_or([0; 32], |key| schema.key([Some(key.as_str())]).unwrap());
        let mut records = Vec::new();
        for (i, key) in self.ids[owner].iter().enumerate() {
            records.extend((i as u128 + 1).to_be_bytes());
            records.extend(&kept(key)[..KEPT_BYTES]);
        }
        // The second owner has no room for them in memory.
        let room = Room { memory: [1 << 20, 0][owner], storage: Box::new(InMemory::default()) };
        Spine::new(&key_part(), &["id".into()], &records, room).unwrap()
    }

    fn half(&self, plan: &dyn Plan, seat: usize) -> Box<dyn JointHalf> {
        let on = plan.on_shares().unwrap();
        if seat == 2 {
            return shares::deals(on);
        }
        let mut spine = self.spine(seat);
        let mut fold = on.fold(&keys()[seat].id(), spine.ids()).unwrap();
        for rows in self.tables[seat].chunks(100) {
            let ids = Values::Text(rows.iter().map(|r| r.0.clone().unwrap_or_default()).collect());
            let valid = Some(rows.iter().map(|r| r.0.is_some()).collect());
            let mut columns = vec![Column { name: "id".into(), values: ids, valid }];
            for (i, (name, ..)) in COLUMNS[seat].iter().enumerate() {
                let values = Values::Float(rows.iter().map(|r| r.1[i].unwrap_or(f64::from(i as u8))).collect());
                let valid = Some(rows.iter().map(|r| r.1[i].is_some()).collect());
                columns.push(Column { name: (*name).into(), values, valid });
            }
            fold.take(&spine.place(Columns { rows: rows.len(), columns }).unwrap(), &mut |_, _| ()).unwrap();
        }
        shares::brings(on, &spine, fold.finish())
    }

    fn machine(&self, plan: &dyn Plan, seat: usize) -> Machine<JointOutput> {
        let owners: Vec<NodeId> = keys().iter().map(SigningKey::id).collect();
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(owners.clone()).unwrap(),
            disclosures: plan.disclosures(),
            stream_bytes_max: 1 << 36,
        };
        let context = JointContext {
            session: Hash([5; 32]),
            aggregator: Seat(0),
            step_ms: 1000,
            cohort: self.floor,
            recipient: recipient().public(),
            owners,
        };
        let (half, seed) = (self.half(plan, seat), Secret::new([40 + seat as u8; 32]));
        let key = keys().into_iter().nth(seat).unwrap();
        Machine::new(setup, &seed, Arc::new(key), Millis(0), |p| half.run(p, context))
    }

    /// Runs all seats; the one that is lost says nothing after so many messages, and the others hear of it.
    fn run(&self, lost: Option<(usize, usize)>) -> (Vec<Result<JointOutput, Abort>>, Vec<Usage>, Vec<usize>) {
        let plan = plan_of(written(self.rows)).unwrap();
        let mut machines: Vec<_> = (0..3).map(|seat| self.machine(plan.as_ref(), seat)).collect();
        let mut events: VecDeque<(usize, Event)> = (0..3).map(|i| (i, Event::Start)).collect();
        let (mut timers, mut sent) = (BTreeMap::<usize, Millis>::new(), vec![0; 3]);
        let (mut gone, mut now) = (None, Millis(0));
        loop {
            while let Some((to, event)) = events.pop_front() {
                if gone == Some(to) {
                    continue;
                }
                for effect in machines[to].step(now, event) {
                    match effect {
                        Effect::Send(_) if gone == Some(to) => {}
                        Effect::Send(m) => {
                            sent[to] += 1;
                            if lost.is_some_and(|(seat, after)| seat == to && sent[to] > after) {
                                gone = Some(to);
                                events.extend((0..3).filter(|i| *i != to).map(|i| (i, Event::Gone(Seat(to as u16)))));
                            } else {
                                events.push_back((m.address.to.index(), Event::Received(m)));
                            }
                        }
                        Effect::Credit { to: sender, consumed } => {
                            events.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                        }
                        Effect::Persist { ticket, .. } => events.push_back((to, Event::Persisted { ticket })),
                        Effect::SetTimer(at) => drop(timers.insert(to, at)),
                        _ => {}
                    }
                }
            }
            let alive = |i: &usize| gone != Some(*i) && !machines[*i].is_finished();
            let Some((at, who)) = timers.iter().filter(|(i, _)| alive(i)).map(|(i, at)| (*at, *i)).min() else { break };
            timers.remove(&who);
            now = now.max(at);
            events.push_back((who, Event::Timer));
        }
        let missing = || Err(Abort::Missing { step: Step(0), seats: Vec::new() });
        let ends = machines.iter_mut().map(|m| m.take_outcome().unwrap_or_else(missing)).collect();
        (ends, machines.iter().map(|m| m.usage().clone()).collect(), sent)
    }

    /// What the recipient opens, changed on the way.
    fn open_with(&self, change: impl Fn(&mut OpenedVector)) -> Result<Value, Fault> {
        let outputs: Vec<JointOutput> = self.run(None).0.into_iter().map(Result::unwrap).collect();
        let releases = outputs.iter().enumerate().map(|(i, o)| (Seat(i as u16), o.release.clone())).collect();
        let open = |bytes: &[u8]| {
            let mut opened = session::unblind(&recipient(), bytes, &releases)?;
            change(&mut opened);
            Ok(opened)
        };
        let plan = plan_of(written(self.rows)).unwrap();
        plan.open(outputs[0].package.as_ref().unwrap(), &open).map(|opened| opened.json)
    }

    fn open(&self) -> Value {
        self.open_with(|_| {}).unwrap()
    }

    /// A plain join of what is usable: keys that are in one complete row at each.
    fn joined(&self) -> Vec<[[f64; 2]; 2]> {
        let usable = |owner: usize| -> BTreeMap<&String, Vec<[f64; 2]>> {
            let ids: BTreeSet<&String> = self.ids[owner].iter().flatten().collect();
            let mut by_key: BTreeMap<&String, Vec<[f64; 2]>> = BTreeMap::new();
            for Row(key, values) in &self.tables[owner] {
                if let (Some(key), [Some(a), Some(b)]) = (key, values)
                    && ids.contains(key)
                {
                    let clamped = [(*a, 0), (*b, 1)].map(|(v, i)| v.clamp(COLUMNS[owner][i].1, COLUMNS[owner][i].2));
                    by_key.entry(key).or_default().push(clamped);
                }
            }
            by_key
        };
        let (first, second) = (usable(0), usable(1));
        let pair = |(key, a): (&&String, &Vec<[f64; 2]>)| match (&a[..], second.get(*key).map(Vec::as_slice)) {
            ([a], Some([b])) => Some([*a, *b]),
            _ => None,
        };
        first.iter().filter_map(pair).collect()
    }
}

/// Values, now and then none or beyond the range; the second column of each owner goes with the first.
fn row(draw: &mut Draw, owner: usize) -> [Option<f64>; 2] {
    let base = draw.below(50) as f64;
    let values = match owner {
        0 => [base * 90.0 + draw.below(1000) as f64 / 4.0, base.floor()],
        _ => [18.0 + base + draw.below(9) as f64, base * 30.0 + draw.below(300) as f64],
    };
    values.map(|value| match draw.below(23) {
        0 => None,
        1 => Some(1e7),
        _ => Some(value),
    })
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let (a, b) = (mean(x), mean(y));
    x.iter().zip(y).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (x.len() as f64 - 1.0)
}

fn near(found: &Value, wanted: f64, what: &str) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{what}: {found} for {wanted}"));
    assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{what}: {found}, not {wanted}");
}

fn check(world: &World, opened: &Value) {
    let joined = world.joined();
    assert_eq!((&opened["rows"], &opened["suppressed"]), (&json!(joined.len()), &json!(false)), "{opened}");
    let of = |owner: usize, i: usize| -> Vec<f64> { joined.iter().map(|pair| pair[owner][i]).collect() };
    for (at, column) in opened["columns"].as_array().unwrap().iter().enumerate() {
        let (owner, i) = (at / 2, at % 2);
        let values = of(owner, i);
        assert_eq!(column["column"], COLUMNS[owner][i].0);
        assert_eq!(column["owner"], keys()[owner].id().to_string());
        near(&column["mean"], mean(&values), "mean");
        near(&column["variance"], covariance(&values, &values), "variance");
    }
    let pairs = opened["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 4);
    for (at, pair) in pairs.iter().enumerate() {
        let (x, y) = (of(0, at / 2), of(1, at % 2));
        assert_eq!(pair["columns"], json!([COLUMNS[0][at / 2].0, COLUMNS[1][at % 2].0]));
        near(&pair["covariance"], covariance(&x, &y), "covariance");
        near(
            &pair["correlation"],
            covariance(&x, &y) / (covariance(&x, &x) * covariance(&y, &y)).sqrt(),
            "correlation",
        );
    }
}

#[test]
fn sums_over_matched_rows_are_those_of_a_plain_join() {
    for (seed, parts) in [(1, [60, 90, 70, 20]), (2, [0, 40, 0, 0]), (3, [200, 30, 5, 0])] {
        let world = World::new(seed, parts, 300);
        let joined = world.joined().len();
        assert!(joined >= FLOOR as usize && joined < parts[1], "some rows are not usable: {joined}");
        check(&world, &world.open());
    }
}

#[test]
fn ids_of_more_than_one_block_are_summed_over_all() {
    let world = World::new(4, [10, 65_560, 10, 0], 65_600);
    assert!(world.joined().len() > 30_000);
    check(&world, &world.open());
}

/// Gives each owner's rows at the first `n` matched keys one complete row, and takes every other from it.
fn matched(world: &mut World, n: usize) {
    let both = |key: &String| world.ids[0].contains(&Some(key.clone())) && world.ids[1].contains(&Some(key.clone()));
    let keys: Vec<String> = world.ids[0].iter().flatten().filter(|key| both(key)).take(n).cloned().collect();
    assert_eq!(keys.len(), n);
    for (owner, table) in world.tables.iter_mut().enumerate() {
        let own = |i: usize, column: usize| Some(COLUMNS[owner][column].1.max(0.0) + 3.0 + (i % 7) as f64);
        *table = keys.iter().enumerate().map(|(i, k)| Row(Some(k.clone()), [own(i, 0), own(i, 1)])).collect();
    }
}

#[test]
fn nothing_is_told_below_the_floor_and_nothing_that_too_few_rows_carry() {
    let mut world = World::new(5, [20, 30, 20, 3], 100);
    matched(&mut world, FLOOR as usize);
    check(&world, &world.open());
    // One of these keys is no longer in any usable row.
    world.tables[1][0].1[1] = None;
    let opened = world.open();
    assert_eq!((&opened["rows"], &opened["suppressed"]), (&Value::Null, &json!(true)), "{opened}");
    let all = |list: &str| opened[list].as_array().unwrap().clone();
    assert!(all("columns").iter().all(|c| c["suppressed"] == true && c["mean"].is_null() && c["variance"].is_null()));
    assert!(all("pairs").iter().all(|p| p["suppressed"] == true && p["covariance"].is_null()));
    assert_eq!((all("columns").len(), all("pairs").len()), (4, 4));
    // A value that all but four rows have at nothing, or at the end of the range, is those four's.
    matched(&mut world, 20);
    world.tables[0].iter_mut().skip(4).enumerate().for_each(|(i, r)| r.1[0] = Some([0.0, 9e9][i % 2]));
    let opened = world.open();
    let told = |list: &str| -> Vec<bool> {
        opened[list].as_array().unwrap().iter().map(|v| v["suppressed"] == false).collect()
    };
    assert_eq!(opened["rows"], json!(20));
    assert_eq!(told("columns"), [false, true, true, true]);
    assert_eq!(told("pairs"), [false, false, true, true]);
    // Five are enough.
    world.tables[0][4].1[0] = Some(1.0);
    let opened = world.open();
    assert!(opened["columns"][0]["suppressed"] == false && opened["pairs"][0]["suppressed"] == false, "{opened}");
    // A pair is carried by the rows that carry both: of five and ten, four.
    world.tables[1].iter_mut().for_each(|r| r.1[0] = Some(18.0));
    world.tables[1].iter_mut().skip(1).take(10).for_each(|r| r.1[0] = Some(30.0));
    let opened = world.open();
    let told = |list: &str, i: usize| opened[list][i]["suppressed"] == false;
    assert_eq!([told("columns", 0), told("columns", 2), told("pairs", 0), told("pairs", 1)], [true, true, false, true]);
    // A floor that no job of two owners meets, and one above all rows.
    world.floor = Cohort { rows: FLOOR, contributors: 3 };
    let refused =
        |end: &Result<JointOutput, Abort>| matches!(end, Err(Abort::Local(f)) if f.code == Code::RefusedCohort);
    assert!(world.run(None).0.iter().all(refused));
    world.floor = Cohort { rows: u64::MAX, contributors: 2 };
    assert_eq!(world.open()["suppressed"], json!(true));
}

#[test]
fn owners_with_ids_of_two_alignments_find_out_before_anything_is_computed() {
    let mut world = World::new(6, [20, 30, 20, 0], 100);
    world.ids[1].push(None);
    let (ends, usage, _) = world.run(None);
    for (seat, end) in ends.iter().enumerate() {
        match end {
            Err(Abort::Local(fault)) if seat < 2 => assert_eq!(fault.code, Code::RefusedDataset, "{fault}"),
            Err(_) if seat == 2 => {}
            other => panic!("seat {seat}: {other:?}"),
        }
    }
    assert!(usage.iter().all(|u| u.opened.is_empty()));
    let (_, whole, _) = World::new(6, [20, 30, 20, 0], 100).run(None);
    assert!(whole[..2].iter().all(|u| u.opened.values().eq([&22])), "{:?}", whole[0].opened);
}

#[test]
fn what_is_sent_does_not_depend_on_who_matches_or_on_values() {
    let usage = |world: &World| -> Vec<String> {
        let (ends, usage, _) = world.run(None);
        let numbers = ends.into_iter().map(|e| e.unwrap()).map(|o| (o.cells_in, o.payload_bytes, o.cells_out));
        numbers.zip(usage).map(|(n, u)| format!("{n:?} {:?} {:?} {:?}", u.sent, u.opened, u.units)).collect()
    };
    let first = usage(&World::new(7, [60, 40, 50, 0], 200));
    // All match, none does, one owner has two keys, and the values are others: within the same room.
    for (seed, parts) in [(8, [0, 150, 0, 0]), (9, [75, 0, 75, 0]), (10, [2, 0, 148, 0]), (11, [0, 1, 0, 0])] {
        assert_eq!(first, usage(&World::new(seed, parts, 200)), "{parts:?}");
    }
}

#[test]
fn a_seat_that_is_lost_ends_the_attempt_for_all() {
    let world = World::new(12, [10, 20, 10, 0], 64);
    let (_, _, sent) = world.run(None);
    for (seat, whole) in sent.into_iter().enumerate() {
        for after in [0, whole / 2, whole - 1] {
            let (ends, ..) = world.run(Some((seat, after)));
            // Whoever has heard of every vote may have its result when the last message is lost.
            let others = ends.iter().enumerate().filter(|(i, _)| *i != seat);
            assert!(after == whole - 1 || others.into_iter().all(|(_, e)| e.is_err()), "{seat} after {after}");
        }
    }
}

#[test]
fn a_sum_that_no_rows_can_have_is_refused() {
    let mut world = World::new(13, [5, 30, 5, 0], 64);
    matched(&mut world, 20);
    let code = |change: &dyn Fn(&mut OpenedVector)| world.open_with(change).map_err(|f| f.code);
    let invalid = Err(Code::ReceiptInvalid);
    assert!(world.open_with(|o| assert_eq!(o.cells.len(), 22)).is_ok());
    for at in 0..22 {
        // What is no number: low bits, a sign, and more than a word.
        assert_eq!(code(&|o| o.cells[at] = 1), invalid, "cell {at}");
        assert_eq!(code(&|o| o.cells[at] = 1 << 63), invalid, "cell {at}");
        assert_eq!(code(&|o| o.cells[at] = 1 << 64), invalid, "cell {at}");
    }
    // The first column is told, then its sum and its squares. What no rows can have, in units of what is handed out.
    let circuit = plan_of(written(world.rows)).unwrap().on_shares().unwrap().circuit(world.floor).unwrap();
    let unit = |output: u32| {
        let handed = circuit.plan.handed(output).unwrap();
        (0..64).map(|bit| 1u64 << bit).find(|unit| handed.number(*unit) == Some(1)).map(u128::from).unwrap()
    };
    let (sum, squares, product) = (unit(3), unit(4), unit(12));
    let invalid_end = Err(Code::ReceiptInvalid);
    let ok = |change: &dyn Fn(&mut OpenedVector)| code(change).map(|_| ());
    assert_eq!(ok(&|o| o.cells[4] += squares), Ok(()), "other squares");
    assert_eq!(ok(&|o| o.cells[4] = o.cells[3] / sum * squares), invalid_end, "fewer than the sum needs");
    assert_eq!(ok(&|o| o.cells[4] = (((o.cells[3] / sum) << 20) | 1) * squares), invalid_end, "more than it allows");
    assert_eq!(ok(&|o| o.cells[3] = ((20 << 20) | 1) * sum), invalid_end, "beyond the range");
    assert_eq!(ok(&|o| o.cells[16] += product), Ok(()), "another product");
    assert_eq!(ok(&|o| o.cells[16] = ((20 << 40) | 1) * product), invalid_end, "beyond both ranges");
    assert_eq!(ok(&|o| o.cells[2..5].fill(0)), invalid_end, "a pair of a column that is not told");
    assert_eq!(ok(&|o| (2..5).chain(14..18).for_each(|at| o.cells[at] = 0)), Ok(()), "nor it nor its pairs");
    assert_eq!(code(&|o| o.cells[0] = 0), invalid, "rows without their flag");
    assert_eq!(code(&|o| o.cells.truncate(21)), invalid);
    assert_eq!(code(&|o| o.cells.push(0)), invalid);
    assert_eq!(code(&|o| o.survivors = 2), invalid);
    assert_eq!(code(&|o| o.cells.iter_mut().for_each(|c| *c = 0)).unwrap()["suppressed"], json!(true));
}

#[test]
fn the_plan_says_that_it_computes_on_shares_and_gives_no_other_half() {
    let plan = plan_of(written(100)).unwrap();
    assert_eq!(plan.feeds(), Feeds::Shares { alignment: ALIGNMENT });
    let owner = keys()[0].id();
    assert!(plan.fold(&owner, Material::default()).is_err());
    let facts = plan.facts(&owner);
    let mut uses: Vec<String> = facts.uses.into_iter().map(|(column, _)| column).collect();
    uses.sort_unstable();
    assert_eq!((uses, facts.providers_min), (vec!["spend".to_owned(), "visits".to_owned()], 2));
    assert_eq!(plan.local_query(&owner, "v").columns, ["spend", "visits"]);
    assert_eq!(plan.local_query(&keys()[2].id(), "v").columns, Vec::<String>::new());
    let listed: Vec<(String, u64)> = plan.disclosures().into_iter().map(|d| (d.what, d.cells_max)).collect();
    // Two for the rows, three for each column, two for each pair.
    assert_eq!(listed, [("result".to_owned(), 2 + 3 * 4 + 2 * 4)]);
    let on = plan.on_shares().unwrap();
    // The same names as other kinds give the same numbers, so that theirs and these are compared.
    assert_eq!(on.fold(&owner, 100).unwrap().sets(), ["rows", "sum spend", "sum visits"]);
    let refused = |owner: &NodeId, ids: u64| on.fold(owner, ids).map(|_| ()).map_err(|f| f.code);
    assert_eq!(refused(&owner, 101), Err(Code::RefusedParameters));
    assert_eq!(refused(&keys()[2].id(), 10), Err(Code::RefusedParties));
    let count = tacit_jobs::kind("count/v1").unwrap();
    let params = count.params(json!({}), &ColumnKinds::new()).unwrap();
    let plan = count.plan(&params, &Parts { providers: &providers(), ..Parts::default() }).unwrap();
    assert_eq!((plan.feeds(), plan.on_shares().is_none()), (Feeds::Rows, true));
}

#[test]
fn parameters_hold_at_their_limits_and_one_past_is_refused() {
    let code = |written: Value| plan_of(written).map(|_| ()).map_err(|f| f.code);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut all = written(100);
        change(&mut all);
        code(all)
    };
    let refused = Err(Code::RefusedParameters);
    assert_eq!([code(written(CROSS_ROWS_MIN)), code(written(CROSS_ROWS_MIN - 1))], [Ok(()), refused]);
    // One column each is what the most rows have room for.
    let narrow = |rows: u64| {
        json!({"alignment": ALIGNMENT.to_string(), "rows": rows,
            "columns": {"bank": {"spend": ["0", "9"]}, "telecom": {"age": ["0", "9"]}}})
    };
    assert_eq!([code(narrow(CROSS_ROWS_MAX)), code(narrow(CROSS_ROWS_MAX + 1))], [Ok(()), refused]);
    let bad_columns: [&dyn Fn(&mut Value); 8] = [
        &|w| w["columns"]["bank"]["spend"] = json!(["9", "9"]),
        &|w| w["columns"]["bank"]["spend"] = json!(["9", "8"]),
        &|w| w["columns"]["bank"] = json!({}),
        &|w| drop(w["columns"].as_object_mut().unwrap().remove("bank")),
        &|w| w["columns"]["shop"] = json!({"x": ["0", "1"]}),
        &|w| w["alignment"] = json!("77"),
        &|w| drop(w["alignment"].take()),
        &|w| w["more"] = json!(1),
    ];
    for (i, change) in bad_columns.into_iter().enumerate() {
        assert_eq!(with(change), refused, "{i}");
    }
    assert_eq!(with(&|w| w["columns"]["bank"]["none"] = json!(["0", "1"])), Err(Code::DataColumnUnknown));
    assert_eq!(with(&|w| w["columns"]["bank"]["id"] = json!(["0", "1"])), Err(Code::DataColumnType));
    // Who takes part.
    let kind = tacit_jobs::kind("cross-stats/v1").unwrap();
    let params = kind.draft(written(100), &draft()).unwrap();
    let (all, dealer) = (providers(), keys()[2].id());
    let of = |providers: &[ProviderRef], dealer: Option<NodeId>, models: &[ModelRef]| {
        let parts = Parts { providers, dealer, models, ..Parts::default() };
        kind.plan(&params, &parts).map(|_| ()).map_err(|f| f.code)
    };
    assert_eq!(of(&all, Some(dealer), &[]), Ok(()));
    assert_eq!(of(&all, None, &[]), refused);
    assert_eq!(of(&all, Some(all[0].owner), &[]), refused);
    assert_eq!(of(&all[..1], Some(dealer), &[]), refused);
    assert_eq!(of(&all, Some(dealer), &[ModelRef { owner: all[0].owner, model: ModelVersionId([1; 32]) }]), refused);
    for at in 0..params.len() {
        assert!(kind.plan(&params[..at], &Parts::default()).is_err());
    }
    // So many columns, and no more.
    let wide_for = |n: usize, rows: u64| {
        let columns: BTreeMap<String, [&str; 2]> = (0..n).map(|i| (format!("c{i:02}"), ["0", "1"])).collect();
        let mut draft = draft();
        draft.providers.iter_mut().for_each(|p| {
            p.columns = columns.keys().map(|c| (c.clone(), ColumnKind::Int)).collect();
        });
        let written = json!({"alignment": ALIGNMENT.to_string(), "rows": rows,
            "columns": {"bank": &columns, "telecom": &columns}});
        let params = kind.draft(written, &draft).map_err(|f| f.code)?;
        let parts = Parts { providers: &all, dealer: Some(dealer), ..Parts::default() };
        kind.plan(&params, &parts).map(|plan| plan.disclosures()[0].cells_max).map_err(|f| f.code)
    };
    let wide = |n: usize| wide_for(n, 1000);
    let numbers = (2 + 3 * 2 * CROSS_COLUMNS_MAX + 2 * CROSS_COLUMNS_MAX * CROSS_COLUMNS_MAX) as u64;
    assert_eq!([wide(CROSS_COLUMNS_MAX), wide(CROSS_COLUMNS_MAX + 1)], [Ok(numbers), Err(Code::RefusedParameters)]);
    // What an owner sends has to fit into a message.
    assert_eq!(wide_for(2, CROSS_ROWS_MAX).map(|_| ()), Ok(()));
    assert_eq!(wide_for(CROSS_COLUMNS_MAX, CROSS_ROWS_MAX), Err(Code::RefusedParameters));
}
