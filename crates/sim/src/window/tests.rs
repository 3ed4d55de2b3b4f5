//! Windows under faults.

use crate::bug::Bug;
use crate::faults::{FaultKind, Faults};
use crate::run::{Options, Scenario, run};

/// Seeds within which each planted bug is found.
const BUG_SEEDS: u64 = 200;

#[test]
fn windows_hold_under_faults() {
    let (mut ends, mut cheats) = (std::collections::BTreeMap::new(), 0);
    for seed in 0..400 {
        let report = run(&Options::new(Scenario::Window, seed));
        assert_eq!(
            report.violation,
            None,
            "seed {seed}: cargo xtask sim --scenario window --seeds {seed}..{}",
            seed + 1
        );
        cheats += u64::from(report.coverage.contains_key(&FaultKind::Cheat));
        report.ends.into_iter().for_each(|end| *ends.entry(end).or_insert(0) += 1);
    }
    println!("{ends:?}, {cheats} with a liar");
    assert!(cheats > 50, "{cheats}");
    for (end, most) in [("window", 90), ("settled", 5), ("no window", 5)] {
        for of in [end.to_owned(), format!("{end} on shares")] {
            assert!(ends.get(&of).is_some_and(|n| *n > most), "{of}: {ends:?}");
        }
    }
}

#[test]
fn without_faults_every_window_ends_well() {
    for seed in 0..40 {
        let faults = Faults { delay: 20, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Window, seed) });
        assert_eq!((report.violation, report.ends[0].starts_with("window")), (None, true), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let options = Options { trace: true, ..Options::new(Scenario::Window, seed) };
        let (one, two) = (run(&options), run(&options));
        assert_eq!(one.lines, two.lines, "seed {seed}");
        assert!(one.lines.len() > 20);
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::WINDOW {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let report = run(&Options { bug: Some(*bug), ..Options::new(Scenario::Window, seed) });
            report.violation.map(|v| (seed, v))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {}: {}", violation.invariant, violation.what);
    }
}
