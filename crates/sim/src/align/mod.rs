//! Owners bring their keys together, search among them, count them and compute across ids, in one to three jobs, while messages come late, seats
//! die and begin again, lists change, and one says something else than it should: what each keeps is what a plain join
//! gives, or nothing.

mod case;
mod check;
mod cross;
mod desk;
mod world;

use tacit_types::JobId;

use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::{Cheat, Coverage, Crash, Deed, FaultKind, Faults};
use crate::run::{
    Options, Report, TWIN_EVERY, Violation, usage_is_equal_for_different_inputs_of_equal_public_parameters,
};
use crate::trace::Trace;

use self::case::Case;
use self::check::Watch;
use self::cross::{CROSS, Cross};
use self::desk::{Found, held};
use self::world::{Order, Ran, STEP_MS, Side, World};

/// Attempts at a job: more than seats die.
const ATTEMPTS_MAX: u32 = 6;
/// Milliseconds that one seat reads its rows for, after the others have begun.
const READS_MS: u64 = 8 * STEP_MS;
/// Milliseconds of the world's clock between two jobs.
const BETWEEN_MS: u64 = 3_600_000;

/// Runs, and one run in eight again with other keys.
pub(crate) fn run(options: &Options) -> Report {
    let mut report = Runner::new(options, false).run();
    let twin = options.seed.is_multiple_of(TWIN_EVERY) && report.faults.cheats.is_empty();
    if twin && report.violation.is_none() && !report.usage.is_empty() {
        let usage = Runner::new(options, true).run().usage;
        let check = usage_is_equal_for_different_inputs_of_equal_public_parameters(&report.usage, &usage);
        report.violation = check.err();
    }
    report
}

/// How slow messages are, who dies when, and whether somebody cheats: one run in eight is as it should be.
fn draw(dice: &mut Dice, seats: usize) -> Faults {
    let mut faults = Faults { delay: *dice.pick(&[1, 10, 40]), ..Faults::default() };
    if dice.chance(125) {
        return faults;
    }
    for _ in 0..dice.below(4) {
        let (process, after) = (dice.below(seats as u64) as usize, dice.chance(500));
        let far = *dice.pick(&[12, 40, 90]);
        let effect = dice.between(1, far);
        faults.crashes.push(Crash { process, chapter: None, effect, after, restart: Some(1_000) });
    }
    if dice.chance(300) {
        let seat = dice.below(seats as u64) as usize;
        let deeds = [Deed::Alter, Deed::Alter, Deed::Drop, Deed::Equivocate, Deed::Forge, Deed::Split, Deed::Late];
        for _ in 0..dice.between(1, 2) {
            let phase = dice.below(24) as usize;
            faults.cheats.push(Cheat { seat, phase, deed: *dice.pick(&deeds) });
        }
    }
    faults
}

/// One run.
struct Runner<'a> {
    options: &'a Options,
    dice: Dice,
    case: Case,
    faults: Faults,
    sides: Vec<Side>,
    watch: Watch,
    now: u64,
    trace: Trace,
    coverage: Coverage,
    events: u64,
    ends: Vec<String>,
}

impl<'a> Runner<'a> {
    fn new(options: &'a Options, twin: bool) -> Self {
        let case = Case::draw(&mut Dice::new(options.seed, "align"), twin);
        let mut faults = options.faults.clone().unwrap_or_else(|| {
            let mut drawn = draw(&mut Dice::new(options.seed, "align faults"), case.seats());
            options.only.iter().for_each(|kinds| drawn.only(kinds));
            drawn
        });
        faults.crashes.retain(|c| c.process < case.seats());
        let seats = case.seats();
        Self {
            options,
            dice: Dice::new(options.seed, "align world"),
            sides: (0..seats).map(|_| Side::new(options.has(Bug::PersistWithoutSync))).collect(),
            watch: Watch::new(seats),
            now: 1 << 40,
            trace: Trace::new(options.trace && !twin, &faults),
            coverage: Coverage::new(),
            events: 0,
            ends: Vec::new(),
            case,
            faults,
        }
    }

    fn run(mut self) -> Report {
        self.trace.note(0, || "everyone".into(), || self.case.describe());
        let mut crashes = self.faults.crashes.clone().into_iter();
        let mut violation = None;
        for number in 0..self.dice.between(1, 3) {
            violation = self.job(number as u8 + 1, &mut crashes).err();
            if violation.is_some() {
                break;
            }
            self.now += BETWEEN_MS;
            for side in &mut self.sides {
                held(&side.lists).clear();
                *held(&side.found) = Found::default();
                side.state = None;
            }
            if self.dice.chance(400) {
                self.change();
            }
        }
        if self.faults.delay > 1 {
            *self.coverage.entry(FaultKind::Delay).or_default() += 1;
        }
        Report {
            convicted: Vec::new(),
            ends: self.ends,
            coverage: self.coverage,
            violation,
            events: self.trace.count() + self.events,
            lines: self.trace.into_lines(),
            faults: self.faults,
            usage: self.watch.usage,
        }
    }

    /// An owner's list changes.
    fn change(&mut self) {
        let seat = self.dice.below(self.sides.len() as u64) as usize;
        self.case.change(seat, &mut self.dice);
        // Without a state of the list before, nothing tells that it was another.
        if self.sides[seat].state.is_some() {
            self.watch.changed.insert(seat);
        }
        self.trace.note(self.now, || format!("seat {seat}"), || "has another list".into());
    }

    /// One job, until it has ended well or is refused.
    fn job(&mut self, number: u8, crashes: &mut impl Iterator<Item = Crash>) -> Result<(), Violation> {
        self.watch.changed.clear();
        for attempt in 1..=ATTEMPTS_MAX {
            let crash = crashes.next();
            let ran = self.attempt(number, attempt, crash.as_ref());
            self.events += ran.events;
            self.note(&ran, crash.as_ref());
            if let Some(violation) = &ran.violation {
                return Err(violation.clone());
            }
            let cheat = self.faults.cheats.first().map(|c| c.seat).filter(|_| ran.cheated > 0);
            self.watch.attempt_ended(&self.case, &self.sides, &ran, cheat, self.options)?;
            if let Some(end) = self.watch.end(&self.case, &ran, cheat) {
                self.ends.push(format!("{} {end}", self.case.word()));
                return self.cross(number, attempt);
            }
            self.after_death(&ran);
        }
        check::broken("a_job_ends_once_nobody_dies", format!("not after {ATTEMPTS_MAX} attempts"))
    }

    /// Statistics across both owners, where both have kept the ids of a job that has just ended.
    fn cross(&mut self, number: u8, attempt: u32) -> Result<(), Violation> {
        let kept = self.sides.iter().all(|side| held(&side.found).kept.is_some());
        if self.case.written["level"] != "spine" || !kept || !self.faults.cheats.is_empty() {
            return Ok(());
        }
        let mut dice = Dice::new(self.options.seed, &format!("{CROSS} {number} {attempt}"));
        let (case, sides) = (&self.case, &self.sides);
        let usage = Cross::new(case, sides, JobId([number; 32]), &mut dice).run(&mut dice)?;
        self.trace.note(self.now, || "everyone".into(), || format!("{CROSS} over what both have kept: {usage:?}"));
        self.ends.push(format!("{CROSS} {}", if usage.is_empty() { "without a seat" } else { "well" }));
        self.watch.usage.extend(usage);
        Ok(())
    }

    fn attempt(&mut self, number: u8, attempt: u32, crash: Option<&Crash>) -> Ran {
        let has = |bug| self.options.has(bug);
        let mut reading = Dice::new(self.options.seed, &format!("align reading {number} {attempt}"));
        let seats = self.case.seats() as u64;
        let reads = reading.chance(200).then(|| (reading.below(seats) as usize, reading.between(1, READS_MS)));
        let order = Order {
            job: JobId([number; 32]),
            attempt,
            now: self.now,
            seeds: self.options.seed,
            delay: self.faults.delay,
            crash,
            reads,
            one_key: false,
            cheats: &self.faults.cheats,
            corrupt: if has(Bug::UndetectedCorruption) { 20 } else { 0 },
            alike: has(Bug::ReuseSeed),
            leftovers: has(Bug::KeepLeftovers),
        };
        self.trace.note(self.now, || "everyone".into(), || format!("attempt {attempt} at job {number}"));
        self.watch.attempt_begins(&self.case, &self.sides);
        World::new(&self.case, &self.sides, order).run(&mut self.sides, &mut self.trace)
    }

    fn note(&mut self, ran: &Ran, crash: Option<&Crash>) {
        if let (Some(_), Some(crash)) = (ran.died, crash) {
            let kind = if crash.after { FaultKind::CrashAfter } else { FaultKind::CrashBefore };
            *self.coverage.entry(kind).or_default() += 1;
        }
        if ran.cheated > 0 {
            *self.coverage.entry(FaultKind::Cheat).or_default() += ran.cheated;
        }
    }

    /// Who died comes back with what its disks have; now and then with another list.
    fn after_death(&mut self, ran: &Ran) {
        let Some(seat) = ran.died else { return };
        let side = &mut self.sides[seat];
        held(&side.lists).crash(&mut self.dice);
        held(&side.shelf).crash(&mut self.dice);
        if self.options.has(Bug::ForgetSpent) {
            *held(&side.used) = 0;
        }
        if self.dice.chance(100) {
            self.change();
        }
    }
}

#[cfg(test)]
mod tests;
