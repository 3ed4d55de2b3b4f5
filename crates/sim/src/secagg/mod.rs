//! Secure aggregation among machines: a set-up and several rounds, in one attempt or two, with
//! drop-outs and dishonest seats, against the sum in plain numbers.

mod check;
pub(crate) mod forge;
mod seat;
mod world;

use crate::run::{
    Options, Report, Scenario, TWIN_EVERY, usage_is_equal_for_different_inputs_of_equal_public_parameters,
};

/// Runs.
pub(crate) fn run(options: &Options) -> Report {
    let seats = (options.scenario == Scenario::Thousand).then_some(1_000);
    let mut report = world::World::new(options, seats, 0).run();
    if report.violation.is_none() && options.seed.is_multiple_of(TWIN_EVERY) && seats.is_none() {
        let twin = world::World::new(&Options { trace: false, ..options.clone() }, None, 1).run();
        let check = usage_is_equal_for_different_inputs_of_equal_public_parameters(&report.usage, &twin.usage);
        report.violation = check.err();
    }
    report
}

#[cfg(test)]
mod tests;
