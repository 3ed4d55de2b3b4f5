//! What must hold of a window, as it goes on and at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tacit_jobs::JointOutput;
use tacit_jobs::score::online::host::{Asked, Reading};
use tacit_protocol::{Abort, Message, Offender};
use tacit_receipts::{Call, Window, request_hash};
use tacit_types::{Code, Hash, Seat};

use super::cast::{Cast, Expected};
use crate::run::{Check, broken, holds};

/// How far a score may be from the plain one: the parts are rounded to this and less.
const ERROR: f64 = 1e-6;

/// Which seats are honest, and which one asks.
pub struct Parties<'a> {
    pub honest: &'a [bool],
    pub recipient: usize,
}

impl Parties<'_> {
    fn all(&self) -> bool {
        self.honest.iter().all(|h| *h)
    }

    /// Whether the seat that asks is.
    fn recipient(&self) -> bool {
        self.honest[self.recipient]
    }
}

/// What is remembered of an attempt.
#[derive(Default)]
pub struct Watch {
    /// Openings by call, for every call that was put to the owners.
    asked: BTreeMap<u64, Call>,
    /// Calls that were answered with numbers.
    answered: BTreeSet<u64>,
    /// Numbers that each seat opened.
    opened: BTreeMap<usize, u64>,
    /// Steps in which a seat has sent something to another.
    sent: BTreeSet<(usize, usize, u32, u32)>,
    /// Hashes of the calls, as the recipient's node was told at the end.
    leaves: Option<Vec<Hash>>,
}

impl Watch {
    /// Checks an opening of an honest seat against the job's list, and an owner's against its pace.
    pub fn opened(&mut self, cast: &Cast, seat: usize, cells: u64, since_ms: u64) -> Check {
        let total = self.opened.entry(seat).or_default();
        *total += cells;
        holds(*total <= cast.cells_max(), "nothing_is_opened_outside_the_spec", || {
            format!("seat {seat}: {total} numbers, listed {}", cast.cells_max())
        })?;
        let most = cast.rows_per_second + cast.rows_per_second * since_ms / 1000;
        let rows = cast.rows_of(*total);
        holds(seat == cast.recipient || rows <= most, "no_owner_answers_faster_than_its_pace", || {
            format!("seat {seat}: {rows} rows within {since_ms} ms, at most {most}")
        })
    }

    /// Checks that an honest seat sends one message a step.
    pub fn sent(&mut self, seat: usize, message: &Message) -> Check {
        let address = &message.address;
        let new = self.sent.insert((seat, address.to.index(), address.step.0, address.sequence));
        holds(new, "a_step_is_answered_once", || format!("seat {seat} sends {} twice", address.step))
    }

    /// Checks what the recipient's node is told of a batch of calls.
    pub fn told(&mut self, cast: &Cast, parties: &Parties, calls: &[Vec<String>], told: Answered) -> Check {
        let Answered { asked, outcome } = told;
        let (Some(asked), true) = (asked, parties.recipient()) else { return Ok(()) };
        for (i, keys) in calls.iter().enumerate() {
            let number = asked.first + i as u64;
            let plain: Vec<&[u8]> = keys.iter().map(|k| k.as_bytes()).collect();
            let salt = asked.salts.get(i).copied().unwrap_or(Hash([0; 32]));
            let call = Call { at_ms: asked.at_ms, keys: keys.len() as u32, request: request_hash(&plain), salt };
            let new = self.asked.insert(number, call).is_none();
            holds(new, "each_call_is_counted_once", || format!("two calls have number {number}"))?;
        }
        let Ok(cells) = outcome else { return Ok(()) };
        self.answered.extend((asked.first..).take(calls.len()));
        if !parties.all() {
            return Ok(());
        }
        let reading = cast.reading();
        let pairs = calls.iter().zip(&cells);
        holds(calls.len() == cells.len(), "the_scores_are_those_of_the_plain_model", || {
            format!("{} calls, {} answers", calls.len(), cells.len())
        })?;
        pairs.into_iter().try_for_each(|(call, cells)| scores_are_plain(cast, &reading, call, cells))
    }

    /// The hashes of the calls, at the end.
    pub fn closed(&mut self, leaves: Vec<Hash>) {
        self.leaves = Some(leaves);
    }

    /// Checks how the seats' machines ended.
    pub fn at_the_end(
        &self,
        cast: &Cast,
        parties: &Parties,
        ends: &BTreeMap<usize, Result<JointOutput, Abort>>,
    ) -> Check {
        let honest = ends.iter().filter(|(seat, _)| parties.honest[**seat]);
        let mut whole: Vec<(usize, &JointOutput)> = Vec::new();
        for (seat, end) in honest {
            match end {
                Ok(output) => whole.push((*seat, output)),
                Err(abort) => the_cause_is_no_honest_seat(parties, cast.is_shared(), *seat, abort)?,
            }
        }
        let asker = whole.iter().find(|(seat, _)| *seat == parties.recipient);
        // Where a seat lies, records that differ are found by the attestations, after the window.
        let agree = parties.all() || asker.is_some();
        if let (Some((first, one)), true) = (whole.first(), agree) {
            for (seat, other) in &whole {
                holds(one == other, "all_who_end_a_window_well_counted_the_same", || {
                    format!("seats {first} and {seat}: {one:?}, {other:?}")
                })?;
            }
            self.counts_fit(parties, one, asker.is_some())?;
        }
        Ok(())
    }

    /// What was counted is what the recipient's node knows of.
    fn counts_fit(&self, parties: &Parties, output: &JointOutput, asker: bool) -> Check {
        if !parties.recipient() {
            return Ok(());
        }
        let Ok(window) = Window::parse(output.package.as_deref().unwrap_or_default()) else {
            return broken("each_call_is_counted_once", "a seat ended well with no window");
        };
        let name = "each_call_is_counted_once";
        let last = self.answered.last().map_or(0, |n| n + 1);
        holds(last <= window.calls, name, || format!("call {last} was answered, {} are counted", window.calls))?;
        if !asker {
            // The owners settled without the recipient: on no more than it put to them.
            return Ok(());
        }
        let asked = self.asked.len() as u64;
        let rows: u64 = self.asked.values().map(|c| u64::from(c.keys)).sum();
        holds((window.calls, window.rows) == (asked, rows), name, || {
            format!("{} calls of {} rows are counted, {asked} of {rows} were put", window.calls, window.rows)
        })?;
        let leaves = self.leaves.as_deref().unwrap_or_default();
        let mut tree = tacit_receipts::MemTree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        let fit = self.asked.iter().all(|(n, call)| leaves.get(*n as usize) == Some(&call.leaf()));
        holds(fit && tree.root() == window.root, "each_call_can_be_shown_to_be_counted", || {
            format!("{} leaves for {asked} calls", leaves.len())
        })
    }
}

/// What the recipient's node is told of a batch.
pub struct Answered {
    pub asked: Option<Asked>,
    pub outcome: Result<Vec<Vec<u64>>, Code>,
}

fn scores_are_plain(cast: &Cast, reading: &Reading, call: &[String], cells: &[u64]) -> Check {
    let name = "the_scores_are_those_of_the_plain_model";
    let scores = match reading.scores(call.len(), cells) {
        Ok(scores) => scores,
        Err(fault) => return broken(name, fault.to_string()),
    };
    let plain = cast.plain(call);
    let fits = |(found, expected): (&Value, &Expected)| match expected {
        Expected::Anything => found.is_number(),
        Expected::Nothing => found.is_null(),
        Expected::Score(score) => found.as_f64().is_some_and(|found| (found - score).abs() < ERROR),
    };
    let all = scores.len() == plain.len() && scores.iter().zip(&plain).all(fits);
    holds(all, name, || format!("{call:?}: {scores:?}, expected {plain:?}"))
}

fn the_cause_is_no_honest_seat(parties: &Parties, shared: bool, seat: usize, abort: &Abort) -> Check {
    let name = "blame_names_only_a_guilty_seat";
    let guilty = |seat: &Seat| parties.honest.get(seat.index()).is_some_and(|honest| !honest);
    match abort {
        Abort::Misbehaved { blame, .. } => {
            let just = matches!(&blame.offender, Offender::Seat(other) if guilty(other));
            holds(just, name, || format!("seat {seat}: {abort}"))
        }
        Abort::Missing { .. } | Abort::Quorum { .. } => Ok(()),
        // On shares who was asked something else disagrees with who was not: it may be the recipient that lies.
        Abort::Disagreement { seats } => {
            let just = seats.iter().any(guilty) || (shared && !parties.recipient());
            holds(just, name, || format!("seat {seat} disagrees with {seats:?}"))
        }
        Abort::Cancelled(_) | Abort::Undisclosed(_) | Abort::Local(_) => broken(name, format!("seat {seat}: {abort}")),
    }
}
