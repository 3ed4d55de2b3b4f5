//! Aggregations under faults.

use std::collections::BTreeMap;

use super::world::World;
use crate::bug::Bug;
use crate::faults::{FaultKind, Faults, LOST_SHARE};
use crate::run::{Options, Scenario, run};

/// Seeds within which each planted bug is found.
const BUG_SEEDS: u64 = 200;

#[test]
fn aggregations_hold_under_faults() {
    let mut sums = 0;
    for seed in 0..300 {
        let report = run(&Options::new(Scenario::Secagg, seed));
        assert_eq!(
            report.violation,
            None,
            "seed {seed}: cargo xtask sim --scenario secagg --seeds {seed}..{}",
            seed + 1
        );
        sums += report.ends.iter().filter(|e| *e == "sum").count();
    }
    assert!(sums > 100, "only {sums} aggregations gave a sum");
}

#[test]
fn without_faults_every_aggregation_gives_its_sum() {
    for seed in 0..30 {
        let faults = Faults { delay: 20, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Secagg, seed) });
        assert_eq!((report.violation, report.ends), (None, vec!["sum".to_owned()]), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let options = Options { trace: true, ..Options::new(Scenario::Secagg, seed) };
        let (one, two) = (run(&options), run(&options));
        assert_eq!(one.lines, two.lines, "seed {seed}");
        assert!(one.lines.len() > 20);
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::SECAGG {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let report = run(&Options { bug: Some(*bug), ..Options::new(Scenario::Secagg, seed) });
            report.violation.map(|v| (seed, v))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {}: {}", violation.invariant, violation.what);
    }
}

#[test]
fn a_drawn_graph_holds_under_faults() {
    for seed in 0..2 {
        let report = World::new(&Options::new(Scenario::Secagg, seed), Some(140), 0).run();
        assert_eq!(report.violation, None, "seed {seed}");
    }
}

#[test]
fn a_drawn_graph_bears_the_losses_that_it_is_made_for() {
    const SEATS: usize = 140;
    for seed in 0..3 {
        let options = Options { trace: true, ..Options::new(Scenario::Thousand, seed) };
        let report = World::new(&options, Some(SEATS), 0).run();
        // Who gave up, and why, but for those that waited for the same.
        let mut aborts: BTreeMap<&str, &str> = BTreeMap::new();
        let given_up = report.lines.iter().filter(|line| line.what.starts_with("aborts"));
        given_up.for_each(|line| _ = aborts.insert(&line.what, &line.who));
        assert_eq!(report.violation, None, "seed {seed}");
        assert_eq!(report.ends, ["sum"], "seed {seed}: {aborts:?}");
        let count = |kind| report.coverage.get(&kind).copied().unwrap_or(0);
        let lost = (SEATS / LOST_SHARE) as u64;
        let crashed = count(FaultKind::CrashBefore) + count(FaultKind::CrashAfter);
        assert_eq!((crashed, count(FaultKind::NeverBack)), (lost - 1, lost - 2), "seed {seed}");
        assert!(count(FaultKind::Cheat) > 0, "seed {seed}");
    }
}

#[test]
fn a_panic_leaves_the_faults_and_the_events_before_it() {
    let panics = |seed| Options { trace: true, bug: Some(Bug::Panic), ..Options::new(Scenario::Secagg, seed) };
    let report = (0..50).map(|seed| (seed, run(&panics(seed)))).find(|(_, report)| !report.faults.crashes.is_empty());
    let (seed, report) = report.expect("a seed with a death");
    let sound = run(&Options { bug: None, ..panics(seed) });
    let violation = report.violation.expect("it panics");
    assert_eq!(violation.invariant, "nothing_panics");
    assert!(violation.what.contains("cannot persist"), "{}", violation.what);
    // Up to there it is the run without the bug.
    assert_eq!(report.faults, sound.faults);
    assert!(report.lines.len() > 5 && report.lines.len() < sound.lines.len(), "{} lines", report.lines.len());
    assert_eq!(report.lines, sound.lines[..report.lines.len()]);
    assert_eq!(report.events, report.lines.len() as u64);
    assert!(report.lines.last().is_some_and(|line| line.what.contains("persists")), "{:?}", report.lines.last());
}
