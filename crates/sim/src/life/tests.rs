//! Jobs under faults.

use crate::bug::Bug;
use crate::faults::Faults;
use crate::run::{Options, Scenario, run};

/// Seeds within which each planted bug is found.
const BUG_SEEDS: u64 = 200;

#[test]
fn jobs_hold_under_faults() {
    let (mut succeeded, mut private) = (0, 0);
    for seed in 0..100 {
        let report = run(&Options::new(Scenario::Life, seed));
        assert_eq!(report.violation, None, "seed {seed}: cargo xtask sim --scenario life --seeds {seed}..{}", seed + 1);
        succeeded += report.ends.iter().filter(|e| e.starts_with("succeeded")).count();
        private += report.ends.iter().filter(|e| *e == "succeeded, private").count();
    }
    assert!(private > 5, "only {private} scores with a private model");
    assert!(succeeded > 30, "only {succeeded} jobs succeeded");
}

#[test]
fn without_faults_every_sound_job_succeeds() {
    for seed in 0..20 {
        let faults = Faults { delay: 20, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Life, seed) });
        assert_eq!(report.violation, None, "seed {seed}");
        assert!(
            report.ends.iter().all(|end| end.starts_with("succeeded") || end.starts_with("refused")),
            "seed {seed}: {:?}",
            report.ends
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let options = Options { trace: true, ..Options::new(Scenario::Life, seed) };
        let (one, two) = (run(&options), run(&options));
        assert_eq!(one.lines, two.lines, "seed {seed}");
        assert!(one.lines.len() > 20);
    }
}

#[test]
fn one_half_of_the_planted_bugs_is_found() {
    are_found(Bug::LIFE.iter().step_by(2));
}

#[test]
fn the_other_half_of_the_planted_bugs_is_found() {
    are_found(Bug::LIFE.iter().skip(1).step_by(2));
}

#[test]
fn what_only_a_liar_can_use_is_found() {
    are_found(Bug::ROGUE.iter());
}

fn are_found<'a>(bugs: impl Iterator<Item = &'a Bug>) {
    for bug in bugs {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let report = run(&Options { bug: Some(*bug), ..Options::new(Scenario::Life, seed) });
            report.violation.map(|violation| (seed, violation.invariant))
        });
        let (seed, invariant) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {invariant}");
    }
}
