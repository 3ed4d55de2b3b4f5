//! Alignments, searches and counts under faults.

use std::collections::{BTreeMap, BTreeSet};

use tacit_governance::{MatchesShown, Shown};
use tacit_protocol::Offence;
use tacit_types::JobId;

use super::case::{Case, LOOKUP};
use super::desk::held;
use super::world::{Order, Ran, STEP_MS, Side, World};
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{Cheat, Deed, FaultKind};
use crate::run::{Options, Scenario, run};
use crate::trace::Trace;

/// Seeds within which each planted bug is found.
const BUG_SEEDS: u64 = 300;

#[test]
fn what_is_kept_is_a_plain_join_or_nothing_whatever_happens() {
    let (mut ends, mut faults) = (BTreeMap::<String, u64>::new(), BTreeMap::<FaultKind, u64>::new());
    let mut broken = Vec::new();
    for seed in 0..300 {
        let report = run(&Options::new(Scenario::Align, seed));
        broken.extend(report.violation.map(|violation| (seed, violation)));
        report.ends.into_iter().for_each(|end| *ends.entry(end).or_default() += 1);
        report.coverage.into_iter().for_each(|(kind, times)| *faults.entry(kind).or_default() += times);
    }
    assert!(broken.is_empty(), "cargo xtask sim --scenario align --seeds 0..300: {broken:#?}");
    for kind in ["both", "receiver", "spine", "star", "count", "groups", "search"] {
        assert!(ends.get(&format!("{kind} done")).is_some_and(|n| *n >= 10), "{kind}: {ends:?}");
        assert!(ends.contains_key(&format!("{kind} cheated")), "{kind}: {ends:?}");
    }
    // What both keep of a spine is computed on, now and then without a seat.
    assert!(ends.get("cross-stats/v1 well").is_some_and(|n| *n >= 10), "{ends:?}");
    assert!(ends.contains_key("cross-stats/v1 without a seat"), "{ends:?}");
    for end in ["too few keys", "no more of that", "another list"] {
        assert!(ends.keys().any(|e| e.ends_with(end)), "{end}: {ends:?}");
    }
    for kind in [FaultKind::CrashBefore, FaultKind::CrashAfter, FaultKind::Cheat, FaultKind::Delay] {
        assert!(faults.get(&kind).is_some_and(|n| *n >= 20), "{kind:?}: {faults:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let options = Options { trace: true, ..Options::new(Scenario::Align, seed) };
        let (one, two) = (run(&options), run(&options));
        assert!(one.lines == two.lines && one.ends == two.ends && !one.lines.is_empty(), "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    let invariants = [
        (Bug::PersistWithoutSync, "every_attempt_without_a_fault_gives_the_result"),
        (Bug::ForgetSpent, "no_budget_is_exceeded"),
        (Bug::KeepLeftovers, "what_is_kept_is_what_a_plain_join_gives"),
        (Bug::ReuseSeed, "no_two_sessions_share_a_point"),
        (Bug::UndetectedCorruption, "blame_names_only_a_guilty_seat"),
        (Bug::MeterByInput, "usage_is_equal_for_different_inputs"),
    ];
    assert_eq!(invariants.map(|(bug, _)| bug)[..], *Bug::ALIGN);
    for (bug, invariant) in invariants {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let report = run(&Options { bug: Some(bug), ..Options::new(Scenario::Align, seed) });
            report.violation.filter(|v| v.invariant == invariant).map(|v| (seed, v.what))
        });
        let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {invariant}: {what}");
    }
}

/// The first drawn case of which this is true and that nothing keeps from being run.
fn case_of(wanted: impl Fn(&Case) -> bool) -> Case {
    let sound = |case: &Case| !(0..case.seats()).any(|seat| case.is_short(seat));
    let cases = (0..1000).map(|seed| Case::draw(&mut Dice::new(seed, "a case"), false));
    let mut case = cases.filter(sound).find(|case| wanted(case)).expect("why: one of a thousand");
    case.budget = u64::MAX;
    case
}

fn attempt(case: &Case, sides: &mut [Side], job: u8, cheats: &[Cheat]) -> Ran {
    World::new(case, sides, order(job, cheats)).run(sides, &mut Trace::new(false, &crate::Faults::default()))
}

fn order(job: u8, cheats: &[Cheat]) -> Order<'_> {
    Order {
        job: JobId([job; 32]),
        attempt: 1,
        now: (1 << 40) + u64::from(job) * 60_000,
        seeds: 1,
        delay: 5,
        crash: None,
        reads: None,
        one_key: false,
        cheats,
        corrupt: 0,
        alike: false,
        leftovers: false,
    }
}

/// An attempt of fresh sides that is as it should be but for that.
fn unusual(case: &Case, change: impl FnOnce(&mut Order<'_>)) -> (Vec<Side>, Ran) {
    let mut sides: Vec<Side> = (0..case.seats()).map(|_| Side::new(false)).collect();
    let mut order = order(1, &[]);
    change(&mut order);
    let ran = World::new(case, &sides, order).run(&mut sides, &mut Trace::new(false, &crate::Faults::default()));
    (sides, ran)
}

#[test]
fn who_still_reads_its_rows_is_waited_for() {
    for wanted in ["both", "receiver", "spine", "star", "count", "groups", "search"] {
        let case = case_of(|case| case.word() == wanted);
        for seat in 0..case.seats() {
            let (_, ran) = unusual(&case, |order| order.reads = Some((seat, 5 * STEP_MS)));
            assert!(ran.ends.iter().all(|end| matches!(end, Some(Ok(_)))), "{wanted}, seat {seat}: {:?}", ran.ends);
        }
    }
}

/// Nobody who works as it should makes that happen; one who lies can, and learns from an end like no other that it has.
#[test]
fn padding_that_matches_is_no_row_and_ends_nothing() {
    for wanted in ["both", "receiver", "star"] {
        let wants = |case: &Case| case.word() == wanted && !case.written["size"].is_null() && !case.joined().is_empty();
        let case = case_of(wants);
        let ((sides, ran), (others, _)) = (unusual(&case, |order| order.one_key = true), unusual(&case, |_| {}));
        assert!(ran.ends.iter().all(|end| matches!(end, Some(Ok(_)))), "{wanted}: {:?}", ran.ends);
        let mut found = 0;
        for (side, other) in sides.iter().zip(&others) {
            let (side, other) = (held(&side.found), held(&other.found));
            let sorted = |records: &[Vec<u8>]| records.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&side.records), sorted(&other.records), "{wanted}");
            assert_eq!(side.kept, other.kept, "{wanted}");
            found += side.records.len();
        }
        assert!(found > 0, "{wanted}");
    }
}

/// What a receipt shows of the number of matches is the least that any of the contracts allows, the same at both; where both
/// do not learn it, and of fewer than the floor, nothing.
#[test]
fn a_receipt_shows_as_much_of_the_matches_as_all_contracts_allow() {
    let enough = |case: &Case| case.joined().len() > 4 && !case.joined().len().is_power_of_two();
    let few = |case: &Case| !case.joined().is_empty() && case.joined().len() < 3;
    let shown = |case: &mut Case, one: usize, other: usize| {
        case.shown = [one, other].map(|n| Shown { matches: MatchesShown::ALL[n], each_list: false }).to_vec();
        let (_, ran) = unusual(case, |_| {});
        let cells = |end: Option<Result<tacit_jobs::JointOutput, _>>| end.and_then(Result::ok).map(|o| o.cells_out);
        let told: Vec<Option<u64>> = ran.ends.into_iter().map(cells).collect();
        assert_eq!((told.len(), told[0]), (2, told[1]));
        told[0].unwrap_or_else(|| panic!("{} and {}", MatchesShown::ALL[one].word(), MatchesShown::ALL[other].word()))
    };
    for level in ["both", "spine", "receiver"] {
        let mut case = case_of(|case| case.word() == level && enough(case));
        let matches = case.joined().len() as u64;
        let told = if level == "receiver" { [0; 3] } else { [0, matches.next_power_of_two(), matches] };
        for (one, other) in (0..3).flat_map(|one| (0..3).map(move |other| (one, other))) {
            assert_eq!(shown(&mut case, one, other), told[one.min(other)], "{level}: {one} and {other}");
        }
        let mut case = case_of(|case| case.word() == level && few(case));
        assert_eq!([1, 2].map(|form| shown(&mut case, form, form)), [0; 2], "{level}, a few");
    }
}

/// Under one contract whoever says that it shows less, or more, is to blame, before any key has left.
#[test]
fn under_one_contract_nobody_lowers_what_is_metered() {
    for wanted in ["both", "star", "count"] {
        let mut case = case_of(|case| case.word() == wanted);
        case.sole = true;
        let all = Shown { matches: MatchesShown::Exact, each_list: true };
        case.shown = vec![all; case.seats()];
        let (_, ran) = unusual(&case, |_| {});
        assert!(ran.ends.into_iter().all(|end| matches!(end, Some(Ok(_)))), "{wanted}");
        for less in [Shown { matches: MatchesShown::Never, ..all }, Shown { each_list: false, ..all }] {
            case.shown[0] = less;
            let (_, ran) = unusual(&case, |_| {});
            assert!(!ran.ends.into_iter().any(|end| matches!(end, Some(Ok(_)))), "{wanted}: {less:?}");
        }
    }
}

/// Where all contracts show each list, each party is metered by its own; where one does not, by the sum of all.
#[test]
fn a_receipt_shows_each_list_where_all_contracts_do() {
    for wanted in ["both", "star", "count", "groups", "search"] {
        let mut case = case_of(|case| case.word() == wanted && case.plain(0).len() != case.plain(1).len());
        let seats = case.seats();
        let lists: Vec<u64> = (0..seats).map(|seat| case.offered(seat)).collect();
        for without in 0..=seats {
            let of = |seat| Shown { matches: MatchesShown::Never, each_list: seat != without };
            case.shown = (0..seats).map(of).collect();
            let (_, ran) = unusual(&case, |_| {});
            let outputs =
                ran.ends.into_iter().map(|end| end.and_then(Result::ok).unwrap_or_else(|| panic!("{wanted}")));
            let (given, each): (Vec<u64>, Vec<usize>) = outputs.map(|o| (o.cells_in, o.each.len())).unzip();
            let all = if wanted == "search" { case.offered(usize::from(case.holds(0))) } else { lists.iter().sum() };
            let told = without == seats && wanted != "search";
            let expected = if told { (lists.clone(), vec![seats; seats]) } else { (vec![all; seats], vec![0; seats]) };
            assert_eq!((given, each), expected, "{wanted}, without {without}");
        }
    }
}

#[test]
fn a_cache_is_shipped_once_until_the_list_changes() {
    let mut case = case_of(|case| case.kind == LOOKUP && case.plain(0).len().min(case.plain(1).len()) > 40);
    let holder = usize::from(case.holds(1));
    let mut sides: Vec<Side> = (0..2).map(|_| Side::new(false)).collect();
    let mut shipped = |case: &Case, job: u8| -> usize {
        let ran = attempt(case, &mut sides, job, &[]);
        assert!(ran.ends.iter().all(|end| matches!(end, Some(Ok(_)))), "job {job}");
        ran.sent.iter().filter(|((seat, _), _)| *seat == holder).map(|(_, bytes)| bytes).sum()
    };
    let (first, second) = (shipped(&case, 1), shipped(&case, 2));
    assert!(first >= second + 40 * 8, "{first} bytes with the cache, {second} without");
    // Others are asked for: the cache is the same.
    case.change(1 - holder, &mut Dice::new(1, "asked"));
    assert_eq!(shipped(&case, 3), second);
    case.change(holder, &mut Dice::new(1, "held"));
    assert_eq!(shipped(&case, 4), first);
}

#[test]
fn who_announces_fewer_keys_than_it_brings_is_found_before_a_key_of_the_other_leaves() {
    for wanted in ["both", "receiver", "spine", "count", "groups"] {
        let case = case_of(|case| case.word() == wanted && case.seats() == 2 && case.written["size"].is_null());
        // One of the first messages says how many keys come.
        let mut found = 0;
        for phase in 0..6 {
            let mut sides: Vec<Side> = (0..2).map(|_| Side::new(false)).collect();
            let ran = attempt(&case, &mut sides, 1, &[Cheat { seat: 1, phase, deed: Deed::Forge }]);
            if ran.blames.contains(&(0, 1, Offence::BadSize)) && !ran.left.contains(&0) {
                found += 1;
            }
        }
        assert_eq!(found, 1, "{wanted}");
    }
}
