//! A window of scores online among machines: calls arrive while connections break, parties die and one of them may lie;
//! against the model in plain numbers and the calls as they were handed in.

mod cast;
mod check;
mod world;

use crate::run::{Options, Report};

/// Runs.
pub(crate) fn run(options: &Options) -> Report {
    world::World::new(options).run()
}

#[cfg(test)]
mod tests;
