//! Jobs from their submission to the opened result: the engine's values with drivers, disks and
//! connections around them, real contracts, joint halves, log, witnesses and recipient.

mod attempt;
mod book;
mod cast;
mod coordinator;
mod data;
mod dealt;
mod honest;
mod late;
mod node;
mod old;
mod operator;
mod process;
mod report;
mod rogue;
mod score;
mod vote;
mod watch;
mod world;

use crate::run::{Options, Report, TWIN_EVERY, usage_is_equal_for_different_inputs_of_equal_public_parameters};

/// Runs.
pub(crate) fn run(options: &Options) -> Report {
    let mut report = world::World::new(options, 0).run();
    if report.violation.is_none() && options.seed.is_multiple_of(TWIN_EVERY) {
        let twin = world::World::new(&Options { trace: false, ..options.clone() }, 1).run();
        let check = usage_is_equal_for_different_inputs_of_equal_public_parameters(&report.usage, &twin.usage);
        report.violation = check.err();
    }
    report
}

#[cfg(test)]
mod tests;
