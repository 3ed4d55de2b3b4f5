//! Secure aggregation among machines: a set-up and several rounds, in one attempt or two, with
//! drop-outs and dishonest seats, against the sum in plain numbers.

mod check;
mod forge;
mod seat;
mod world;

use crate::run::{Options, Report};

/// Runs.
pub(crate) fn run(options: &Options) -> Report {
    world::World::new(options, None).run()
}

#[cfg(test)]
mod tests;
