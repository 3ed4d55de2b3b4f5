//! Lines on which observers differ: everyone sees who counted what, nothing is billed for them until a ruling, and the rest
//! settles.

mod common;

use common::shop::*;
use common::*;
use serde_json::Value;
use tacit_receipts::money::export::{Cell, Context, Table, rows};
use tacit_receipts::money::ledger::Cut;
use tacit_receipts::money::*;
use tacit_receipts::record::{RECORD_VERSION, RECORD_VERSION_DISPUTED, SIGHTINGS_MAX, Sighting};
use tacit_receipts::*;
use tacit_types::unit::Class;
use tacit_types::*;

/// Marks a line as disputed by the counts of seats.
fn differ(record: &mut UsageRecord, line: usize, counts: &[(u16, u64)]) {
    record.version = RECORD_VERSION_DISPUTED;
    let count = |(seat, quantity): &(u16, u64)| Sighting { seat: Seat(*seat), quantity: *quantity };
    record.lines[line].differing = counts.iter().map(count).collect();
}

fn line(unit: Unit, seat: u16, quantity: u64) -> UsageLine {
    let own = unit.class() == Class::C;
    UsageLine {
        unit,
        party: Seat(seat),
        quantity: Quantity::Plain(quantity),
        class: unit.class(),
        observers: if own { vec![Seat(seat)] } else { Vec::new() },
        differing: Vec::new(),
    }
}

impl Shop {
    /// Closes a job with a disputed line: the second of its record, of party 1.
    fn disputed_job(&mut self, job: u8, counts: &[(u16, u64)]) -> LeafRef {
        let mut record = self.world.record(job);
        differ(&mut record, 1, counts);
        self.close_record(record)
    }

    fn close_record(&mut self, record: UsageRecord) -> LeafRef {
        let index = self.world.close(record);
        self.follow().unwrap();
        self.at(index)
    }

    fn on_line(&self, plan: Hash, receipt: LeafRef, line: u32, outcome: Outcome) -> Ruling {
        Ruling { about: Some(About { plan, line }), ..self.ruling(receipt.index, outcome) }
    }

    #[track_caller]
    fn holds(&self) {
        let report = self.world.report();
        assert!(report.is_valid(), "{:#?}", report.faults);
    }
}

#[test]
fn counts_beside_disputed_lines_are_bounded() {
    let mut record = World::new(3).record(1);
    differ(&mut record, 1, &[(0, 7), (2, 8)]);
    let two = record.lines[1].clone();
    record.lines = vec![two.clone(); SIGHTINGS_MAX / 2];
    assert_eq!(record.check(), Ok(()));
    let one = UsageLine { differing: two.differing[..1].to_vec(), ..two };
    record.lines.push(one);
    assert_eq!(record.check().unwrap_err().code, Code::ReceiptRecord);
}

#[test]
fn a_record_without_a_disputed_line_has_the_bytes_of_before() {
    let record = World::new(3).record(1);
    assert_eq!(record.version, RECORD_VERSION);
    let mut disputed = record.clone();
    differ(&mut disputed, 1, &[(2, 8)]);
    let [plain, more] = [&record, &disputed].map(tacit_crypto::cbor::encode);
    // The line's map has a field more: its key, a list of one map of two.
    assert_eq!(more.len(), plain.len() + 1 + 1 + 1 + 2 + 2);
    assert_eq!(tacit_crypto::cbor::decode::<UsageRecord>(&plain).unwrap(), record);
    assert_eq!(tacit_crypto::cbor::decode::<UsageRecord>(&more).unwrap(), disputed);
}

#[test]
fn a_properly_marked_dispute_is_a_notice_and_no_other_is() {
    let mut world = World::new(3);
    world.job(1);
    let mut record = world.record(2);
    differ(&mut record, 1, &[(0, 7), (2, 8)]);
    let leaf = world.close(record.clone());
    let notice = Notice::LinesDisputed { leaf, count: 1 };
    let report = world.report();
    assert!(report.is_valid() && report.valid == 2, "{:#?}", report.faults);
    assert_eq!(report.notices, std::slice::from_ref(&notice));
    let single = verify_bundle(&world.single(&[leaf]).to_bytes(), Some(&world.trust())).unwrap();
    assert!(single.is_valid(), "{:#?}", single.faults);
    assert_eq!(single.notices, [Notice::Single, notice]);

    // Marked, and not said so by the version.
    let mut world = World::new(3);
    record.version = RECORD_VERSION;
    let attestations = world.attest_all(&record);
    let carried = attestations.iter().map(|a| a.bytes().to_vec().into()).collect();
    let receipt = JointReceipt { record, attestations: carried, price_plan: None, charges: None, absent: Vec::new() };
    world.publish(receipt);
    assert_eq!((codes(&world.report()), world.report().notices), (vec![Code::ReceiptRecord], vec![]));

    // One that has not signed what it is said to have counted.
    let mut world = World::new(3);
    let mut record = world.record(2);
    differ(&mut record, 1, &[(2, 8)]);
    let attestations = [world.attest(0, &record), world.attest(1, &record)];
    let away = Absent { party: world.party(2).id(), code: Code::JobUnreachable };
    let receipt = assemble(record.clone(), &attestations, vec![away]).unwrap().receipt;
    let leaf = world.publish(receipt);
    let report = world.report();
    // Nobody is said to have signed what it has not.
    assert_eq!((codes(&report), report.notices), (vec![Code::ReceiptAttestationMissing], vec![]));
    let single = verify_bundle(&world.single(&[leaf]).to_bytes(), Some(&world.trust())).unwrap();
    assert_eq!(single.notices, [Notice::Single]);
    let late = world.attest(2, &record);
    world.append(late.bytes().to_vec());
    let report = world.report();
    assert!(report.is_valid(), "{:#?}", report.faults);
    assert_eq!(report.notices, [Notice::LinesDisputed { leaf, count: 1 }]);
}

#[test]
fn what_stands_once_is_the_number_of_the_first_seat_that_took_part() {
    let with = |change: &dyn Fn(&mut UsageRecord)| {
        let mut record = World::new(3).record(1);
        record.lines = record::SINGLE_UNITS.map(|unit| line(unit, 0, 1)).to_vec();
        change(&mut record);
        record.check().map_err(|fault| fault.code)
    };
    let wrong = Err(Code::ReceiptRecord);
    let lost = Standing::Dropped { step: Step(4) };
    assert_eq!(with(&|_| {}), Ok(()));
    for i in 0..record::SINGLE_UNITS.len() {
        assert_eq!(with(&|r| r.lines[i].party = Seat(1)), wrong, "{:?}", record::SINGLE_UNITS[i]);
        assert_eq!(with(&|r| r.lines.push(r.lines[i].clone())), wrong, "{:?}", record::SINGLE_UNITS[i]);
    }
    // Of an attempt from which the first was lost, the next one's.
    assert_eq!(with(&|r| r.parties[0].standing = lost), wrong);
    assert_eq!(
        with(&|r| {
            r.parties[0].standing = lost;
            r.lines.iter_mut().for_each(|line| line.party = Seat(1));
        }),
        Ok(())
    );
    // A line of each party may be any party's.
    assert_eq!(with(&|r| r.lines.push(line(Unit::CellIn, 2, 1))), Ok(()));
}

/// `money.py` computes the same from lines, rulings and corrections alone.
#[test]
fn what_is_rated_is_what_the_second_implementation_rates() {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/vectors/receipts/disputed.json")).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let number = |value: &Value| value.as_u64().unwrap();
    let cases = list(&vectors["cases"]);
    assert_eq!(cases.len(), 10);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (mut shop, plan) = Shop::with(3, |_| {});
        let mut record = shop.world.record(1);
        record.lines.clear();
        for (i, said) in list(&case["lines"]).iter().enumerate() {
            let unit = *Unit::ALL.iter().find(|unit| said[0] == unit.word()).unwrap();
            record.lines.push(line(unit, number(&said[1]) as u16, number(&said[2])));
            let counts: Vec<(u16, u64)> =
                list(&said[3]).iter().map(|count| (number(&count[0]) as u16, number(&count[1]))).collect();
            if !counts.is_empty() {
                differ(&mut record, i, &counts);
            }
        }
        let receipt = shop.close_record(record.clone());
        for said in list(&case["corrections"]) {
            let (line, quantity) = (number(&said[0]) as u32, number(&said[1]));
            let Quantity::Plain(was) = record.lines[line as usize].quantity else { unreachable!("in the open") };
            let dispute = Some(receipt.index);
            let correction = Correction { line, dispute, ..shop.correction(plan, receipt, was, quantity) };
            shop.agree(&correction);
        }
        for said in list(&case["rulings"]) {
            let outcome = if said[1] == "void" { Outcome::Void } else { Outcome::Stands };
            let ruling = shop.on_line(plan, receipt, number(&said[0]) as u32, outcome);
            shop.agree(&ruling);
        }
        let period = shop.period(2, START);
        let (_, charge) = shop.charge(plan, period);
        let disputed = charge.disputed.unwrap_or_default();
        assert_eq!((charge.total, disputed), (number(&case["total"]), number(&case["disputed"])), "{name}");
        shop.holds();
    }
}

#[test]
fn those_who_differ_may_together_say_that_it_stands_and_nobody_alone_more() {
    // Party 3 computes along and has no part in the plan.
    let mut shop = Shop::new(4);
    let mut plan = shop.plan();
    let stranger = shop.id(3);
    plan.payees.retain(|payee| *payee != stranger);
    shop.agree_of(3, &plan);
    let plan = plan.id();
    let receipt = shop.disputed_job(1, &[(2, 900), (3, 901)]);
    let [found] = shop.ledger.disputes().collect::<Vec<_>>().try_into().unwrap();
    let by = std::collections::BTreeSet::from([shop.id(2), shop.id(3)]);
    assert_eq!((found.at, found.automatic, found.receipt, found.line), (receipt, true, receipt.index, Some(1)));
    assert_eq!((found.by.into_iter().collect(), found.ruled), (by, None));
    let ruled = |shop: &Shop| shop.ledger.disputes().next().unwrap().ruled;
    let code = |said: (u64, Result<(), Fault>)| said.1.map_err(|fault| fault.code);
    let stands = shop.on_line(plan, receipt, 1, Outcome::Stands);
    let void = shop.on_line(plan, receipt, 1, Outcome::Void);
    // Whose line it is cannot end the dispute, nor one of two that differ, nor a stranger make it void.
    assert_eq!((code(shop.says(1, stands.clone())), ruled(&shop)), (Ok(()), None));
    assert_eq!((code(shop.says(2, stands.clone())), ruled(&shop)), (Ok(()), None));
    assert_eq!(code(shop.says(3, void.clone())), Err(Code::ReceiptUnagreed));
    // A ruling on the receipt as such, on another line, or under another plan is on no dispute.
    for other in [
        Ruling { about: None, ..void.clone() },
        shop.on_line(plan, receipt, 0, Outcome::Void),
        shop.on_line(Hash([9; 32]), receipt, 1, Outcome::Void),
    ] {
        assert_eq!(code(shop.says(0, other)), Err(Code::ReceiptDispute));
    }
    let answer = Answer {
        version: 1,
        origin: ORIGIN.into(),
        dispute: receipt,
        reason: "we counted twice".into(),
        evidence: Vec::new(),
        about: stands.about,
    };
    assert_eq!(code(shop.says(1, answer.clone())), Ok(()));
    let (last, said) = shop.says(3, stands.clone());
    assert_eq!((said, ruled(&shop)), (Ok(()), Some((last, Outcome::Stands))));
    assert_eq!(code(shop.says(0, void)), Err(Code::ReceiptDispute), "it is ruled");
    assert_eq!(code(shop.says(1, answer)), Err(Code::ReceiptDispute));
    let lines = shop.ledger.lines(&plan, receipt.index);
    assert!(lines.iter().all(|(_, line)| !line.held && !line.void), "{lines:?}");
}

#[test]
fn a_close_a_charge_and_a_settlement_say_what_they_leave_out() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    shop.job(1);
    let receipt = shop.disputed_job(2, &[(0, 1000)]);
    let until = shop.world.now.plus(1);
    let cut = Cut { until, as_of: shop.size() };
    let [charge] = shop.ledger.due(cut).0.try_into().unwrap();
    // Two jobs at 5.00, and 1001 cells at 0.001234 of the one whose line nobody disputes.
    assert_eq!((charge.total, charge.disputed, charge.causes.len()), (1000 + 124, Some(1), 0));
    let charged = shop.coordinator_says(charge.clone());
    shop.settle(&[charged]);
    let close = shop.ledger.close(&shop.id(1), Period { first: 0, from: UnixMillis(0), ..charge.period }).unwrap();
    let cells = close.sums.iter().find(|sum| sum.unit == Unit::CellIn).unwrap();
    assert_eq!((cells.quantity, close.disputed), (1001, Some(1)));
    shop.says(1, close.clone()).1.unwrap();
    shop.holds();
    // A ruling has the next close charge the difference: 1002 cells more.
    let ruling = shop.on_line(plan, receipt, 1, Outcome::Stands);
    let (ruled, said) = shop.says(0, ruling);
    said.unwrap();
    shop.world.now = shop.world.now.plus(1_000);
    let cut = Cut { until: shop.world.now, as_of: shop.size() };
    let again: Vec<_> = shop.ledger.due(cut).0.into_iter().filter(|c| c.period == charge.period).collect();
    let [again] = again.try_into().unwrap();
    assert_eq!((again.due, again.disputed, &again.causes[..]), (247 - 124, None, &[ruled][..]));
    shop.coordinator_says(again);
    shop.holds();
}

#[test]
fn whoever_bills_or_sums_up_a_disputed_line_is_found() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    shop.disputed_job(1, &[(0, 1000)]);
    let period = shop.period(2, START);
    let good = shop.ledger.charge(&plan, period, shop.size()).unwrap();
    let hidden = shop.coordinator_says(Charge { disputed: None, ..good.clone() });
    let more = shop.coordinator_says(Charge { disputed: Some(2), ..good.clone() });
    let close = shop.ledger.close(&shop.id(2), Period { first: 0, from: UnixMillis(0), ..period }).unwrap();
    let (unsaid, said) = shop.says(2, PeriodClose { disputed: None, ..close.clone() });
    assert_eq!(said.unwrap_err().code, Code::ReceiptPeriodClose);
    let mut sums = close.sums.clone();
    sums.push(UnitSum { contract: sums[0].contract, unit: Unit::CellIn, quantity: 1001 });
    let (summed, said) = shop.says(1, PeriodClose { sums, disputed: None, ..close });
    assert_eq!(said.unwrap_err().code, Code::ReceiptPeriodClose);
    let expected = [
        (hidden, Code::ReceiptCharge),
        (more, Code::ReceiptCharge),
        (unsaid, Code::ReceiptPeriodClose),
        (summed, Code::ReceiptPeriodClose),
    ];
    shop.found(&expected);
}

#[test]
fn a_line_is_in_dispute_once_under_the_plan_that_holds() {
    let mut shop = Shop::new(3);
    let skew = verify::CLOCK_SKEW_MILLIS_MAX;
    let over = PricePlan { valid_from: UnixMillis(0), valid_until: UnixMillis(START.0 - skew), ..shop.plan() };
    let later = PricePlan { valid_from: START.plus(60_001 + skew), ..shop.plan() };
    let elsewhere = PricePlan { contract: ContractId([8; 32]), ..shop.plan() };
    let holds = shop.plan();
    [&over, &later, &elsewhere, &holds].into_iter().for_each(|plan| _ = shop.agree(plan));
    let receipt = shop.disputed_job(1, &[(2, 900)]);
    // One that comes into force after the receipt rates it as little.
    let late = PricePlan { subscription: 7, ..shop.plan() };
    shop.agree(&late);
    let found: Vec<(Hash, Option<u32>)> = shop.ledger.disputes().map(|d| (d.plan, d.line)).collect();
    assert_eq!(found, [(holds.id(), Some(1))]);
    for plan in [&over, &later, &elsewhere, &late].map(PricePlan::id) {
        let ruling = shop.on_line(plan, receipt, 1, Outcome::Void);
        assert_eq!(shop.says(0, ruling).1.map_err(|fault| fault.code), Err(Code::ReceiptDispute));
        assert!(shop.ledger.lines(&plan, receipt.index).iter().all(|(_, line)| !line.held));
    }
    let correction = Correction { dispute: Some(receipt.index), ..shop.correction(over.id(), receipt, 1001, 900) };
    assert_eq!(shop.says(0, correction).1.map_err(|fault| fault.code), Err(Code::ReceiptCorrection));
    let ruling = shop.on_line(holds.id(), receipt, 1, Outcome::Void);
    shop.agree(&ruling);
    assert_eq!(shop.ledger.disputes().filter(|d| d.ruled.is_some()).count(), 1);
}

#[test]
fn whoever_was_not_asked_may_dispute_a_line_that_others_let_stand() {
    let window = 3_600_000;
    let (mut shop, plan) = Shop::with(3, |_| {});
    let receipt = shop.disputed_job(1, &[(2, 900)]);
    let code = |said: (u64, Result<(), Fault>)| said.1.map_err(|fault| fault.code);
    let wrong = Err(Code::ReceiptDispute);
    // The window after the receipt is over long before the one who differs gives in.
    shop.world.now = shop.world.now.plus(2 * window);
    shop.job(2);
    let body = shop.dispute(plan, receipt, Some(1));
    assert_eq!(code(shop.says(0, body.clone())), wrong);
    let stands = shop.on_line(plan, receipt, 1, Outcome::Stands);
    assert_eq!(code(shop.says(2, stands)), Ok(()));
    let held = |shop: &Shop| shop.ledger.lines(&plan, receipt.index)[1].1.held;
    assert!(!held(&shop));
    // Who let it stand was asked, and of nothing else the window begins anew.
    assert_eq!(code(shop.says(2, body.clone())), wrong);
    for line in [None, Some(0)] {
        let other = shop.dispute(plan, receipt, line);
        assert_eq!(code(shop.says(0, other)), wrong, "{line:?}");
    }
    // As long as no receipt follows, no window has begun to run, whatever time the ruling bears.
    shop.world.now = shop.world.now.plus(10 * window);
    let (at, said) = shop.says(0, body.clone());
    assert_eq!((said, held(&shop)), (Ok(()), true));
    let period = shop.period(2, START);
    assert_eq!(shop.ledger.charge(&plan, period, shop.size()).unwrap().total, 2 * 500 + 124);
    let ruling = shop.ruling(at, Outcome::Stands);
    assert_eq!(code(shop.says(0, ruling)), Ok(()));
    assert!(!held(&shop));
    // The other payee has the window from the next receipt on, and no longer.
    shop.job(3);
    shop.world.now = shop.world.now.plus(window + verify::CLOCK_SKEW_MILLIS_MAX - 60_000);
    shop.job(4);
    assert_eq!(code(shop.says(1, body.clone())), Ok(()));
    shop.job(5);
    assert_eq!(code(shop.says(1, body)), wrong);

    // Where payer and payees, or the arbiter, have let it stand, everyone was heard.
    let (mut shop, plan) = Shop::with(3, |_| {});
    let receipt = shop.disputed_job(1, &[(2, 900)]);
    shop.world.now = shop.world.now.plus(2 * window);
    shop.job(2);
    let stands = shop.on_line(plan, receipt, 1, Outcome::Stands);
    // The one who differs signs last: until then the line is in dispute.
    for i in [0, 1, 2] {
        assert_eq!(code(shop.says(i, stands.clone())), Ok(()));
    }
    let body = shop.dispute(plan, receipt, Some(1));
    assert_eq!(code(shop.says(0, body)), wrong);
}

/// A payee that counts otherwise than the others disputes its own line with theirs, so its part by use does not grow.
#[test]
fn a_payee_that_disputes_the_others_use_gets_no_larger_part() {
    let parts = |lies: bool| {
        let (mut shop, plan) = Shop::with(3, |plan| {
            (plan.subscription, plan.split) = (9_000, Split::Proportional { unit: Unit::CellIn });
        });
        let mut both = shop.world.record(1);
        both.lines = vec![line(Unit::CellIn, 1, 1000), line(Unit::CellIn, 2, if lies { 7 } else { 1000 })];
        if lies {
            differ(&mut both, 0, &[(2, 7)]);
            differ(&mut both, 1, &[(0, 1000), (1, 1000)]);
        }
        let mut first = shop.world.record(2);
        first.lines = vec![line(Unit::CellIn, 1, 1000)];
        [both, first].into_iter().for_each(|record| _ = shop.close_record(record));
        let period = shop.period(2, START);
        let (_, charge) = shop.charge(plan, period);
        let of = |i: usize| charge.shares.iter().find(|due| due.party == shop.id(i)).map_or(0, |due| due.fen);
        (of(1), of(2))
    };
    let (honest, lying) = (parts(false), parts(true));
    // 2000 to 1000 of 90.00 and what the cells cost; then all of it to the one whose other use nobody disputes.
    assert_eq!((honest, lying), ((6247, 3123), (9123, 0)));
}

#[test]
fn exports_and_the_report_sum_up_no_disputed_line() {
    let (mut shop, plan) = Shop::with(3, |_| {});
    let receipt = shop.disputed_job(1, &[(0, 1000)]);
    let context = Context { origin: ORIGIN, name: &|_| None, plan: &|_| None };
    let all = rows(Table::Usage, receipt.index, &shop.world.leaves[receipt.index as usize], &context).unwrap();
    let cell = |row: usize, column: &str| all[row].cells.iter().find(|(name, _)| *name == column).unwrap().1.clone();
    assert_eq!((cell(0, "Quantity"), cell(0, "Class")), (Cell::Number("1".into()), Cell::Text("B".into())));
    assert_eq!((cell(1, "Quantity"), cell(1, "Class")), (Cell::Null, Cell::Text("A, disputed".into())));
    let until = shop.world.now.plus(1);
    let page = |shop: &Shop| printed::report(&shop.world.bundle(), &shop.world.trust(), START, until).unwrap();
    let text = page(&shop);
    assert!(text.contains("计数不一，未决 / counts differ, open"), "{text}");
    assert!(!text.contains(">1001<"), "{text}");
    printed::check(&text, &shop.world.bundle(), &shop.world.trust()).unwrap();
    let ruling = shop.on_line(plan, receipt, 1, Outcome::Void);
    let ruled = shop.agree(&ruling);
    assert!(page(&shop).contains(&format!("Void, {ruled}")));
}
