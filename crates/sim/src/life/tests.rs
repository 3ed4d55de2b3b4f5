//! Jobs under faults.

use crate::bug::Bug;
use crate::faults::{Crash, FaultKind, Faults, OldNode, Rogue, Trick};
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

/// Each mistake of an honest party that only a liar can use, the trick that uses it and whose it is, and the
/// invariant that then does not hold.
const USED_BY_LIARS: [(Bug, usize, Trick, &str); 8] = [
    (Bug::RunUnadmitted, 0, Trick::StartUnasked, "no_honest_node_runs_without_its_own_admission"),
    (Bug::ChangeAssignment, 0, Trick::StartTwice, "an_attempt_is_begun_once"),
    (Bug::AttestBlindly, 0, Trick::AlterRecord, "an_attestation_is_of_what_the_node_observed"),
    (Bug::AttestAnyEnd, 0, Trick::AccuseAParty, "no_party_is_accused_over_signatures_of_those_who_cannot_know"),
    (Bug::AcceptAnyRecord, 0, Trick::AlterRecord, "no_two_honest_nodes_finish_with_different_records"),
    (Bug::TrustProof, 0, Trick::ShowUnwitnessed, "no_part_of_a_key_leaves_without_a_receipt_in_a_cosigned_checkpoint"),
    (Bug::OpenUnproven, 0, Trick::ShowUnwitnessed, "no_result_is_opened_without_a_receipt_in_a_cosigned_checkpoint"),
    (Bug::LogUnchecked, 2, Trick::HandInJunk, "the_log_holds_nothing_else"),
];

#[test]
fn what_only_a_liar_can_use_is_found() {
    for (bug, process, trick, invariant) in USED_BY_LIARS {
        let found = (0..BUG_SEEDS).find(|seed| {
            let rogue = Some(Rogue { process, tricks: vec![trick] });
            let refuse = (bug == Bug::RunUnadmitted).then_some(1);
            let faults = Faults { delay: 20, rogue, refuse, ..Faults::default() };
            let options = Options { faults: Some(faults), bug: Some(bug), ..Options::new(Scenario::Life, *seed) };
            run(&options).violation.is_some_and(|violation| violation.invariant == invariant)
        });
        let seed = found.unwrap_or_else(|| panic!("{bug:?} was not found by {invariant} in {BUG_SEEDS} seeds"));
        println!("{bug:?}: seed {seed}, {invariant}");
    }
}

/// What a node must know again after a restart, and the invariant that finds that it does not.
const FORGOTTEN: [(Bug, &str); 2] = [
    (Bug::ForgetVote, "who_voted_says_what_it_voted_for"),
    (Bug::ForgetOwed, "a_job_whose_parties_all_came_back_ends_with_a_receipt_that_verifies"),
];

#[test]
fn what_is_forgotten_between_vote_and_attestation_is_found() {
    for (bug, invariant) in FORGOTTEN {
        let found = (0..BUG_SEEDS).find_map(|seed| {
            let violation = run(&Options { bug: Some(bug), ..Options::new(Scenario::Life, seed) }).violation?;
            Some((seed, violation.invariant))
        });
        let (seed, found) = found.unwrap_or_else(|| panic!("{bug:?} was not found in {BUG_SEEDS} seeds"));
        assert_eq!(found, invariant, "{bug:?}, seed {seed}");
    }
}

/// Parties die between their vote and their attestation, and results come of it all the same.
#[test]
fn a_party_that_dies_after_its_vote_costs_no_result() {
    let mut stood = 0;
    for seed in 0..60 {
        let crash =
            |effect| Crash { process: 2, chapter: Some("vote".into()), effect, after: true, restart: Some(900) };
        // Its second effect is that what it stands for is durable, its third that the vote leaves.
        let faults = Faults { delay: 20, crashes: vec![crash(3)], ..Faults::default() };
        let options = Options { faults: Some(faults), trace: true, ..Options::new(Scenario::Life, seed) };
        let report = run(&options);
        assert_eq!(report.violation, None, "seed {seed}");
        if report.lines.iter().any(|line| line.what.contains("stands by its vote")) {
            stood += usize::from(report.ends.iter().all(|end| !end.contains("job.peer_lost")));
        }
    }
    assert!(stood >= 10, "in {stood} runs only a party stood by its vote and no job was lost by it");
}

/// Runs in which the node that is asked first dies once its first job is over, and comes back with a disk that knows nothing of it.
fn with_an_old_node(seed: u64, bug: Option<Bug>) -> crate::run::Report {
    let crash = Crash { process: 1, chapter: Some("close".into()), effect: 2, after: true, restart: Some(400) };
    let old_node = Some(OldNode { node: 0, effect: 0 });
    let faults = Faults { delay: 20, crashes: vec![crash], old_node, ..Faults::default() };
    run(&Options { faults: Some(faults), bug, trace: true, ..Options::new(Scenario::Life, seed) })
}

#[test]
fn an_older_disk_gives_no_quota_back() {
    let (mut counted, mut refused) = (0, 0);
    for seed in 0..80 {
        let report = with_an_old_node(seed, None);
        assert_eq!(report.violation, None, "seed {seed}");
        counted += usize::from(report.lines.iter().any(|line| line.what.contains("from the log")));
        refused += usize::from(report.ends.iter().any(|end| end.contains("refused.quota")));
    }
    assert!(
        counted > 5 && refused > 5,
        "{counted} runs in which jobs were counted, {refused} in which one was refused"
    );
    // A node that does not read the log is found.
    let found = (0..80).filter_map(|seed| with_an_old_node(seed, Some(Bug::ForgetLog)).violation);
    let found: Vec<_> = found.map(|violation| violation.invariant).collect();
    assert!(found.len() > 2 && found.iter().all(|name| *name == "an_old_node_admits_what_the_log_leaves"), "{found:?}");
}

#[test]
fn every_trick_is_survived() {
    // The first seat aggregates in the first attempt.
    let process = |trick: Trick| if trick == Trick::GiveWrongSum { 1 } else { 2 };
    let nodes = Trick::NODE.iter().map(|trick| (process(*trick), *trick));
    let all: Vec<(usize, Trick)> = nodes.chain(Trick::COORDINATOR.iter().map(|trick| (0, *trick))).collect();
    for (process, trick) in all {
        let mut played = 0;
        for seed in 0..40 {
            if seed >= 6 && played > 0 {
                break;
            }
            let rogue = Some(Rogue { process, tricks: vec![trick] });
            let faults = Faults { delay: 20, rogue, ..Faults::default() };
            let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Life, seed) });
            assert_eq!(report.violation, None, "{trick:?}, seed {seed}");
            let kinds = [FaultKind::RogueNode, FaultKind::RogueCoordinator];
            played += kinds.iter().filter_map(|kind| report.coverage.get(kind)).sum::<u64>();
        }
        assert!(played > 0, "{trick:?} was never played");
    }
}

/// A node that counts otherwise than the others stands in the receipt with its count, and the result opens all the same.
#[test]
fn a_count_that_differs_costs_no_result() {
    let mut opened = 0;
    for seed in 0..200 {
        let rogue = Some(Rogue { process: 2, tricks: vec![Trick::CountAnother] });
        let faults = Faults { delay: 20, rogue, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Life, seed) });
        assert_eq!(report.violation, None, "seed {seed}");
        let with_result: Vec<&String> = report.usage.iter().filter(|line| line.starts_with("Ok ")).collect();
        let results = report.ends.iter().filter(|end| end.starts_with("succeeded")).count();
        assert_eq!(with_result.len(), results, "seed {seed}: {:?}", report.ends);
        opened += with_result.iter().filter(|line| line.contains("Sighting")).count();
        if opened > 4 {
            return;
        }
    }
    panic!("only {opened} results have a disputed line");
}

/// A dealer that shows two roots is left out, and convicted in the receipt over the signatures of the others.
#[test]
fn a_cheat_is_in_the_receipt_and_convicts() {
    let mut convicted = 0;
    for seed in 0..200 {
        let rogue = Some(Rogue { process: 2, tricks: vec![Trick::TellTwoRoots] });
        let faults = Faults { delay: 20, rogue, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Life, seed) });
        assert_eq!(report.violation, None, "seed {seed}");
        convicted += report.convicted.iter().filter(|(ok, attested)| *ok && *attested >= 2).count();
        if convicted > 4 {
            return;
        }
    }
    panic!("only {convicted} receipts with a result convict a party");
}

/// An aggregator that gives out a checked sum with a lie ends the attempt, and stands in its receipt over the signatures
/// of those who found it.
#[test]
fn who_lies_about_a_checked_sum_gives_no_result_and_is_convicted() {
    let mut convicted = 0;
    for seed in 0..400 {
        // The first seat aggregates in the first attempt.
        let rogue = Some(Rogue { process: 1, tricks: vec![Trick::GiveWrongSum] });
        let faults = Faults { delay: 20, rogue, ..Faults::default() };
        let report = run(&Options { faults: Some(faults), ..Options::new(Scenario::Life, seed) });
        assert_eq!(report.violation, None, "seed {seed}");
        convicted += report.convicted.iter().filter(|(ok, attested)| !ok && *attested >= 2).count();
        if convicted > 4 {
            return;
        }
    }
    panic!("only {convicted} receipts without a result convict the aggregator");
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
