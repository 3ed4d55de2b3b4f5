//! What must hold after every attempt, each as a sentence.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tacit_jobs::align::KEPT_BYTES;
use tacit_jobs::{JointOutput, session};
use tacit_protocol::Abort;
use tacit_types::{Code, Seat};

use super::case::{ALIGN, COUNT, Case, FLOOR};
use super::desk::held;
use super::world::{Ran, Side, recipient};
use crate::bug::Bug;
use crate::run::{Check, Options, Violation, holds};

/// Fails an invariant.
pub fn broken<T>(invariant: &str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant: invariant.to_owned(), what })
}

/// What is remembered over the attempts of a run.
pub struct Watch {
    /// Owners whose list is another than that of the state which they hold.
    pub changed: BTreeSet<usize>,
    /// What was metered and sent.
    pub usage: Vec<String>,
    /// Keys of others that an owner has taken part with, or queries that it has answered, over all attempts.
    brought: Vec<u64>,
    /// What owners have counted of that.
    used: Vec<u64>,
    /// Whether all owners hold the state of an earlier attempt.
    resumed: bool,
    had_state: Vec<bool>,
    /// Points of sessions that have begun, and whether they are of this session.
    points: BTreeSet<[u8; 32]>,
}

impl Watch {
    pub fn new(seats: usize) -> Self {
        Self {
            changed: BTreeSet::new(),
            usage: Vec::new(),
            brought: vec![0; seats],
            used: vec![0; seats],
            resumed: false,
            had_state: vec![false; seats],
            points: BTreeSet::new(),
        }
    }

    pub fn attempt_begins(&mut self, case: &Case, sides: &[Side]) {
        self.used = sides.iter().map(|side| *held(&side.used)).collect();
        self.had_state = sides.iter().map(|side| side.state.is_some()).collect();
        // Each pair goes on by itself: with three owners one pair may, and another not.
        let any = self.had_state.iter().any(|had| *had);
        self.resumed = if case.seats() > 2 { any } else { self.had_state.iter().all(|had| *had) };
    }

    /// Everything that must hold when an attempt has ended.
    pub fn attempt_ended(
        &mut self,
        case: &Case,
        sides: &[Side],
        ran: &Ran,
        cheat: Option<usize>,
        options: &Options,
    ) -> Check {
        for (seat, end) in ran.ends.iter().enumerate().filter(|(seat, _)| Some(*seat) != cheat) {
            what_is_kept_is_what_a_plain_join_gives(case, &sides[seat], seat)?;
            nothing_leaves_past_a_refusal(ran, seat, end.as_ref())?;
        }
        both_have_the_same_ids(case, sides, ran, cheat)?;
        blame_names_only_a_guilty_seat(ran, cheat)?;
        self.no_budget_is_exceeded(case, ran)?;
        self.no_two_sessions_share_a_point(ran)?;
        if cheat.is_none() && ran.died.is_none() {
            self.every_attempt_without_a_fault_gives_the_result(case, ran)?;
        }
        if let Some(ok) = all_well(&ran.ends).filter(|_| cheat.is_none()) {
            the_recipient_opens_what_is_so(case, &ok)?;
            what_is_metered_is_what_was_offered_and_told(case, &ok)?;
            what_is_booked_is_an_answer_to_each_key(case, ran)?;
        }
        if cheat.is_none() && !case.splits_keys() {
            self.meter(sides, ran, options);
        }
        Ok(())
    }

    /// How the job has ended, if it has.
    pub fn end(&self, case: &Case, ran: &Ran, cheat: Option<usize>) -> Option<&'static str> {
        if all_well(&ran.ends).is_some() {
            return Some("done");
        }
        if let Some((_, code)) = self.refusal(case).filter(|_| ran.died.is_none()) {
            return Some(match code {
                Code::RefusedCohort => "too few keys",
                Code::RefusedAlignment => "no more of that",
                _ => "another list",
            });
        }
        cheat.map(|_| "cheated")
    }

    /// Who must refuse, and how.
    fn refusal(&self, case: &Case) -> Option<(usize, Code)> {
        let seats = 0..case.seats();
        let short = seats.clone().find(|seat| case.is_short(*seat)).map(|seat| (seat, Code::RefusedCohort));
        let past = |seat: &usize| self.used[*seat].saturating_add(more(case, *seat)) > case.budget;
        let spent = seats.clone().find(past).map(|seat| (seat, Code::RefusedAlignment));
        let other = |seat: &usize| self.changed.contains(seat) && self.had_state[*seat];
        let changed = seats.into_iter().find(other).map(|seat| (seat, Code::RefusedDataset));
        short.or(spent).or(changed)
    }

    fn every_attempt_without_a_fault_gives_the_result(&self, case: &Case, ran: &Ran) -> Check {
        const NAME: &str = "every_attempt_without_a_fault_gives_the_result";
        let refused = |seat: usize, code: Code| matches!(&ran.ends[seat], Some(Err(Abort::Local(f))) if f.code == code);
        match self.refusal(case) {
            Some((seat, code)) => holds(refused(seat, code) && all_well(&ran.ends).is_none(), NAME, || {
                format!("seat {seat} should end with {}, and all ended as {}", code.text(), ends(ran))
            }),
            None => holds(all_well(&ran.ends).is_some(), NAME, || ends(ran)),
        }
    }

    /// What an observer has seen go, against what owners allow, whatever they have counted.
    fn no_budget_is_exceeded(&mut self, case: &Case, ran: &Ran) -> Check {
        for seat in 0..case.seats() {
            let went = if case.holds(seat) { &ran.answered } else { &ran.left };
            if went.contains(&seat) {
                self.brought[seat] += more(case, seat);
            }
            holds(self.brought[seat] <= case.budget, "no_budget_is_exceeded", || {
                format!("seat {seat}: {} of {}", self.brought[seat], case.budget)
            })?;
        }
        Ok(())
    }

    /// One mask on two lists, or on one list twice, links them.
    fn no_two_sessions_share_a_point(&mut self, ran: &Ran) -> Check {
        let again = ran.elements.iter().find(|point| !self.resumed && self.points.contains(*point));
        holds(again.is_none(), "no_two_sessions_share_a_point", || format!("{again:?}"))?;
        self.points.extend(&ran.elements);
        Ok(())
    }

    fn meter(&mut self, sides: &[Side], ran: &Ran, options: &Options) {
        self.usage.push(format!("{:?}", ran.sent));
        for (seat, end) in ran.ends.iter().enumerate() {
            let Some(Ok(output)) = end else { continue };
            let told = if options.has(Bug::MeterByInput) { held(&sides[seat].found).records.len() } else { 0 };
            let numbers = (output.cells_in, output.payload_bytes, output.cells_out, told);
            self.usage.push(format!("seat {seat}: {numbers:?}"));
        }
    }
}

/// What an attempt uses of an owner's budget.
fn more(case: &Case, seat: usize) -> u64 {
    let others = (0..case.seats()).filter(|other| *other != seat).map(|other| case.offered(other));
    match case.kind {
        ALIGN | COUNT => others.sum(),
        _ if case.holds(seat) => others.sum(),
        _ => 0,
    }
}

fn ends(ran: &Ran) -> String {
    let word = |end: &Option<Result<JointOutput, Abort>>| match end {
        None => "dead".to_owned(),
        Some(Ok(_)) => "well".to_owned(),
        Some(Err(abort)) => abort.to_string(),
    };
    ran.ends.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn all_well(ends: &[Option<Result<JointOutput, Abort>>]) -> Option<Vec<&JointOutput>> {
    ends.iter().map(|end| end.as_ref().and_then(|e| e.as_ref().ok())).collect()
}

fn what_is_kept_is_what_a_plain_join_gives(case: &Case, side: &Side, seat: usize) -> Check {
    const NAME: &str = "what_is_kept_is_what_a_plain_join_gives";
    let found = held(&side.found);
    let Some(kept) = found.kept else { return Ok(()) };
    holds(case.learns(seat), "who_may_learn_nothing_keeps_nothing", || format!("seat {seat}"))?;
    let total = found.records.len();
    holds(kept.records == total as u64, NAME, || format!("seat {seat}: {} said, {total} kept", kept.records))?;
    if case.written["level"] == "spine" {
        return the_spine_is_the_union(case, &found.records, seat);
    }
    let records: BTreeSet<&Vec<u8>> = found.records.iter().collect();
    let joined = case.joined();
    let oracle: BTreeSet<Vec<u8>> = joined.iter().map(|key| case.kept(key)).collect();
    let same = records.len() == total && records.iter().copied().eq(&oracle);
    holds(same, NAME, || format!("seat {seat} keeps {total}, a join has {}", oracle.len()))?;
    let rows = case.lists[seat].iter().filter(|row| row.key.as_ref().is_some_and(|key| joined.contains(key))).count();
    holds(kept.rows == rows as u64, NAME, || format!("seat {seat}: {} rows, a join has {rows}", kept.rows))
}

/// Each of the owner's keys has one id, and there are as many ids as keys in either list.
fn the_spine_is_the_union(case: &Case, records: &[Vec<u8>], seat: usize) -> Check {
    let own: Vec<&[u8]> = records.iter().map(|r| &r[KEPT_BYTES..]).filter(|key| **key != [0; KEPT_BYTES]).collect();
    let distinct: BTreeSet<Vec<u8>> = own.iter().map(|key| key.to_vec()).collect();
    let oracle: BTreeSet<Vec<u8>> = case.plain(seat).iter().map(|key| case.kept(key)).collect();
    let union = case.offered(0) + case.offered(1) - case.joined().len() as u64;
    let fine = own.len() == oracle.len() && distinct == oracle && records.len() as u64 == union;
    holds(fine, "the_spine_is_the_union", || {
        let (own, all) = (own.len(), records.len());
        format!("seat {seat} has {own} keys in {all} ids, of {} in {union}", oracle.len())
    })
}

fn both_have_the_same_ids(case: &Case, sides: &[Side], ran: &Ran, cheat: Option<usize>) -> Check {
    if case.written["level"] != "spine" || cheat.is_some() || all_well(&ran.ends).is_none() {
        return Ok(());
    }
    let ids = |seat: usize| -> Vec<Vec<u8>> {
        held(&sides[seat].found).records.iter().map(|record| record[..KEPT_BYTES].to_vec()).collect()
    };
    holds(ids(0) == ids(1), "both_have_the_same_ids", || "in the same order".into())
}

/// A list that is too short, that changed, or that nobody may bring any more: nothing of it leaves in any form.
fn nothing_leaves_past_a_refusal(ran: &Ran, seat: usize, end: Option<&Result<JointOutput, Abort>>) -> Check {
    let refused = match end {
        Some(Err(Abort::Local(fault))) => {
            matches!(fault.code, Code::RefusedCohort | Code::RefusedAlignment | Code::RefusedDataset)
        }
        _ => false,
    };
    holds(!(refused && ran.left.contains(&seat)), "nothing_leaves_past_a_refusal", || format!("seat {seat}"))
}

fn blame_names_only_a_guilty_seat(ran: &Ran, cheat: Option<usize>) -> Check {
    let wrong = ran.blames.iter().find(|(who, whom, _)| ![Some(*who), Some(*whom)].contains(&cheat));
    holds(wrong.is_none(), "blame_names_only_a_guilty_seat", || format!("{wrong:?}, and {cheat:?} cheated"))
}

fn the_recipient_opens_what_is_so(case: &Case, ok: &[&JointOutput]) -> Check {
    const NAME: &str = "the_recipient_opens_what_is_so";
    let releases: BTreeMap<Seat, Vec<u8>> =
        ok.iter().enumerate().map(|(seat, output)| (Seat(seat as u16), output.release.clone())).collect();
    let open = |package: &[u8]| session::unblind(&recipient(), package, &releases);
    let Some(package) = ok.first().and_then(|o| o.package.as_ref()) else {
        return broken(NAME, "there is no package".into());
    };
    let opened = match case.plan().open(package, &open) {
        Ok(opened) => opened.json,
        Err(fault) => return broken(NAME, fault.to_string()),
    };
    let (mut opened, expected) = (opened, expected(case));
    if case.groups() > 0 {
        groups_are_told_but_the_small(case, &opened)?;
        opened.as_object_mut().map(|all| (all.remove("groups"), all.remove("suppressed_groups")));
    }
    holds(opened == expected, NAME, || format!("{opened} for {expected}"))
}

/// The least number that the recipient is told.
fn least(case: &Case) -> u64 {
    case.written["count_min"].as_u64().unwrap_or(0).max(FLOOR)
}

/// What is told is what a group-by gives, and what is not told cannot be told from the rest: it is nothing, or two groups and
/// more that are enough together. Where no group is small, all are told.
fn groups_are_told_but_the_small(case: &Case, opened: &Value) -> Check {
    const NAME: &str = "groups_are_told_but_the_small";
    let truth = case.grouped();
    let told: Vec<Option<u64>> =
        opened["groups"].as_array().into_iter().flatten().map(|g| g["keys"].as_u64()).collect();
    let all: u64 = truth.iter().sum();
    let hidden: Vec<u64> = truth.iter().zip(&told).filter(|(n, t)| t.is_none() && **n > 0).map(|(n, _)| *n).collect();
    let rest: u64 = hidden.iter().sum();
    let right = told.len() == truth.len()
        && truth.iter().zip(&told).all(|(n, t)| t.is_none_or(|t| t == *n && t >= least(case)));
    let hides = rest == 0 || (hidden.len() > 1 && rest >= least(case)) || all < least(case);
    let none_is_small = all >= least(case) && truth.iter().all(|n| *n == 0 || *n >= least(case));
    let number = opened["suppressed_groups"].as_u64() == Some(told.iter().filter(|t| t.is_none()).count() as u64);
    holds(right && hides && number && (!none_is_small || rest == 0), NAME, || format!("{opened} for {truth:?}"))
}

fn expected(case: &Case) -> Value {
    let parties = case.seats();
    match case.kind {
        ALIGN => json!({"parties": parties, "level": case.written["level"], "aligned": true}),
        COUNT => {
            let count = case.joined().len() as u64;
            let told = (count >= least(case)).then_some(count);
            json!({"parties": parties, "keys": told, "suppressed": told.is_none()})
        }
        _ => json!({"parties": parties, "queries": case.written["queries"], "searched": true}),
    }
}

/// The longest list that a job may have which is not padded.
const LIST_MAX: u64 = 1 << 24;

/// All book the same: an answer to each key of who learns, and where no receipt may show a single list no less than that and
/// nothing but what follows from all lists together.
fn what_is_booked_is_an_answer_to_each_key(case: &Case, ran: &Ran) -> Check {
    if case.kind != ALIGN {
        return Ok(());
    }
    let seats = case.seats();
    let all: u64 = (0..seats).map(|seat| case.offered(seat)).sum();
    let answers = match case.written["level"].as_str() {
        Some("receiver") => {
            let receiver = (0..seats).find(|seat| case.learns(*seat)).unwrap_or(seats);
            let most = case.written["size"].as_u64().unwrap_or(LIST_MAX);
            let one = if case.gives_each() { case.offered(receiver) } else { all.min(most) };
            one * (seats as u64 - 1)
        }
        _ => all,
    };
    let sizes = "sizes of the lists";
    let booked =
        |seat: usize| ran.opened.iter().filter(move |((of, what), _)| *of == seat && what != sizes && what != "result");
    let fine = (0..seats).all(|seat| booked(seat).map(|(_, cells)| *cells).eq([answers]));
    holds(fine, "what_is_booked_is_an_answer_to_each_key", || format!("{:?} for {answers}", ran.opened))
}

fn what_is_metered_is_what_was_offered_and_told(case: &Case, ok: &[&JointOutput]) -> Check {
    let given = case.given();
    let told = match case.kind {
        ALIGN => case.metered(),
        COUNT => 1 + case.groups() as u64,
        _ => 0,
    };
    // Each knows what it is metered by, and where that differs what every other is.
    let each = if case.gives_each() { given.clone() } else { Vec::new() };
    let fits = |(output, own): (&&JointOutput, &u64)| {
        let (cells, bytes): (Vec<u64>, Vec<u64>) = output.each.iter().map(|given| (given.cells, given.bytes)).unzip();
        let mine = (output.cells_in, output.payload_bytes, output.cells_out) == (*own, 32 * own, told);
        mine && cells == each && bytes.iter().zip(&cells).all(|(bytes, cells)| *bytes == 32 * cells)
    };
    let fine = ok.len() == given.len() && ok.iter().zip(&given).all(fits);
    holds(fine, "what_is_metered_is_what_was_offered_and_told", || {
        let metered = |o: &&JointOutput| (o.cells_in, o.payload_bytes, o.cells_out, o.each.clone());
        format!("{:?} for {given:?} and {told}", ok.iter().map(metered).collect::<Vec<_>>())
    })
}
