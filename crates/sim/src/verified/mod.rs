//! Verified scores among machines in which one seat deviates: a party or the dealer says something else in one message
//! that the seed chooses, or adds to the sum that the recipient gets. Nothing wrong is ever opened.

mod deviation;
mod job;
mod world;

use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{Cheat, Coverage, Deed, FaultKind, Faults};
use crate::run::{Check, Options, Report, holds};
use crate::trace::Trace;
use crate::wiretap::phase_of;

use self::deviation::Deviation;
use self::job::Job;
use self::world::{Ran, World};

/// Runs: first as everyone should, then with the deviation.
pub(crate) fn run(options: &Options) -> Report {
    let mut dice = Dice::new(options.seed, "verified");
    let job = Job::draw(&mut dice, options.has(Bug::RunUnverified));
    let faults = faults(options, &mut dice, job.seats());
    let mut trace = Trace::new(options.trace, &faults);
    trace.note(0, || "everyone".into(), || job.describe());
    let honest = World::new(options.seed, &job, faults.delay, None).run(&mut Trace::new(false, &faults));
    let mut violation = the_result_is_right(&job, &honest).err();
    let (mut ran, mut coverage) = (honest, Coverage::new());
    if let Some(cheat) = faults.cheats.first().filter(|_| violation.is_none()) {
        let deviation = Deviation::draw(&mut dice, &job, cheat.seat, &ran);
        trace.note(0, || format!("seat {}", cheat.seat), || format!("deviates: {deviation:?}"));
        ran = World::new(options.seed, &job, faults.delay, Some(&deviation)).run(&mut trace);
        *coverage.entry(FaultKind::Cheat).or_default() += 1;
        let opened = job.open(&ran, Some(&deviation), options);
        violation = ran
            .violation
            .clone()
            .or_else(|| nothing_wrong_is_opened(&job, &opened).err())
            .or_else(|| blame_names_only_who_deviates(&job, &ran, cheat.seat).err());
        trace.note(ran.at, || "the recipient".into(), || format!("{opened:?}"));
        ran.end = job.end(&opened, &ran);
    }
    Report {
        convicted: Vec::new(),
        ends: vec![ran.end],
        coverage,
        violation,
        events: trace.count() + ran.events,
        lines: trace.into_lines(),
        faults,
        usage: Vec::new(),
    }
}

/// How slow messages are, and whether somebody deviates: one run in eight is as it should be.
fn faults(options: &Options, dice: &mut Dice, seats: usize) -> Faults {
    let (delay, quiet) = (*dice.pick(&[1, 10, 40]), dice.chance(125));
    let cheat = Cheat { seat: dice.below(seats as u64) as usize, phase: 0, deed: Deed::Alter };
    if let Some(faults) = &options.faults {
        return faults.clone();
    }
    let on = options.only.as_ref().is_none_or(|kinds| kinds.contains(&FaultKind::Cheat));
    Faults { delay, cheats: if on && !quiet { vec![cheat] } else { Vec::new() }, ..Faults::default() }
}

fn the_result_is_right(job: &Job, ran: &Ran) -> Check {
    if let Some(violation) = &ran.violation {
        return Err(violation.clone());
    }
    let opened = job.open(ran, None, &Options::new(crate::run::Scenario::Verified, 0));
    holds(matches!(&opened, Ok(json) if job.is_right(json)), "the_output_equals_the_plaintext_oracle", || {
        format!("{opened:?} where all do as they should")
    })
}

/// Whatever one seat says: the recipient gets the right result or none.
fn nothing_wrong_is_opened(job: &Job, opened: &Result<serde_json::Value, String>) -> Check {
    let wrong = opened.as_ref().is_ok_and(|json| !job.is_right(json));
    holds(!wrong, "nothing_wrong_is_ever_opened", || format!("{opened:?}"))
}

fn blame_names_only_who_deviates(job: &Job, ran: &Ran, cheat: usize) -> Check {
    for (seat, blamed, step) in &ran.blames {
        holds(*seat == cheat || *blamed == cheat, "blame_names_only_a_guilty_seat", || {
            let phase = phase_of(*step);
            format!("seat {seat} blames seat {blamed} of {} in {phase}, and seat {cheat} deviated", job.seats())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
