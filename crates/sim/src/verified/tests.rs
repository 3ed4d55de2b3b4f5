//! Verified jobs in which one seat deviates.

use std::collections::BTreeMap;

use crate::bug::Bug;
use crate::run::{Options, Scenario, run};

/// Seeds within which each planted bug is found.
const BUG_SEEDS: u64 = 120;

#[test]
fn nothing_wrong_is_opened_whoever_deviates() {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..150 {
        let report = run(&Options::new(Scenario::Verified, seed));
        assert_eq!(report.violation, None, "cargo xtask sim --scenario verified --seeds {seed}..{}", seed + 1);
        *ends.entry(report.ends.concat()).or_default() += 1;
    }
    // It is found by the others' checks, and by the recipient's; and some do as they should.
    for (end, least) in [("job.misbehaved", 30), ("refused job.misbehaved", 10), ("sum", 5)] {
        assert!(ends.get(end).is_some_and(|n| *n >= least), "{end}: {ends:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..8 {
        let options = Options { trace: true, ..Options::new(Scenario::Verified, seed) };
        let (one, two) = (run(&options), run(&options));
        assert!(one.lines == two.lines && one.ends == two.ends, "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::VERIFIED {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let report = run(&Options { bug: Some(*bug), ..Options::new(Scenario::Verified, seed) });
            report.violation.map(|v| (seed, v))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {}: {}", violation.invariant, violation.what);
        assert_eq!(violation.invariant, "nothing_wrong_is_ever_opened", "{bug:?}");
    }
}
