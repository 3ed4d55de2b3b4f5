//! Aggregations under faults.

use super::world::World;
use crate::bug::Bug;
use crate::faults::Faults;
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
