//! What must hold of an aggregation, as it goes on and at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use tacit_protocol::{Abort, Blame, Offence, Offender};
use tacit_secagg::{Release, Signed, Vector, unblind, verify_blame};
use tacit_types::{Hash, Seat, wire};

use super::seat::{Member, Result1, SETUP, Task};
use crate::ledger::Ledger;
use crate::run::{Check, broken, holds};
use crate::wiretap::record;

/// The word of a record.
pub fn record_kind(bytes: &[u8]) -> String {
    record(bytes).map_or_else(|| "other".into(), |r| r.kind.to_owned())
}

/// What is remembered of a run.
#[derive(Default)]
pub struct Watch {
    /// Cells opened by attempt, seat and disclosure.
    opened: BTreeMap<(u32, usize, String), u64>,
    /// What honest seats have given to their disks, by seat, kind, epoch and round.
    records: BTreeSet<(usize, String, [u8; 32], u16)>,
    /// Honest votes for a set.
    votes: BTreeMap<[u8; 32], usize>,
    /// The set that an honest seat has opened a round key for.
    decided: BTreeMap<([u8; 32], u16), [u8; 32]>,
    /// Results of an attempt's seat that have been looked at.
    seen: BTreeMap<(u32, usize), usize>,
    /// The survivors of an attempt's round, as the first honest seat had them.
    agreed: BTreeMap<(u32, u16), Vec<Seat>>,
}

impl Watch {
    /// Checks an opening against the job's list.
    pub fn opened(&mut self, task: &Task, seat: usize, attempt: u32, what: &str, cells: u64) -> Check {
        let total = self.opened.entry((attempt, seat, what.to_owned())).or_default();
        *total += cells;
        let listed = task.disclosures().into_iter().find(|d| d.what == what).map_or(0, |d| d.cells_max);
        holds(*total <= listed, "nothing_is_opened_outside_the_spec", || {
            format!("seat {seat}: {total} cells of {what}, listed {listed}")
        })
    }

    /// Checks that a seat counted no byte that was not delivered to it.
    pub fn received_fits(
        &self,
        ledger: &Ledger<(u32, usize, usize)>,
        attempt: u32,
        seat: usize,
        received: &BTreeMap<Seat, u64>,
    ) -> Check {
        for (from, bytes) in received {
            let flow = ledger.flow(&(attempt, from.index(), seat));
            holds(*bytes <= flow.received, "bytes_sent_are_received_or_lost", || {
                format!("seat {seat} counted {bytes} bytes of {from}, delivered {}", flow.received)
            })?;
        }
        Ok(())
    }

    /// Checks what an honest seat gives to its disk, beside all that was given before.
    pub fn recorded(&mut self, task: &Task, dishonest: usize, seat: usize, bytes: &[u8]) -> Check {
        let Some(r) = record(bytes) else { return Ok(()) };
        let first = self.records.insert((seat, r.kind.to_owned(), r.epoch, r.round));
        holds(first, "a_round_key_is_used_once", || {
            format!("seat {seat}: {} twice for round key {}", r.kind, r.round)
        })?;
        match r.kind {
            "vote" => *self.votes.entry(r.about).or_default() += 1,
            "open" => {
                let first = *self.decided.entry((r.epoch, r.round)).or_insert(r.about);
                holds(first == r.about, "one_set_of_survivors_opens_a_round_key", || format!("seat {seat}"))?;
                let honest = self.votes.get(&r.about).copied().unwrap_or(0);
                has_a_quorum(task, honest, dishonest, &r.about)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks what a seat has come to since it was looked at last.
    pub fn came(&mut self, task: &Task, members: &[Member], seat: usize, attempt: u32, misreport: bool) -> Check {
        let member = &members[seat];
        let Some(run) = member.runs.last().filter(|run| run.attempt == attempt && member.honest) else { return Ok(()) };
        let results = run.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen.entry((attempt, seat)).or_default();
        for result in results.iter().skip(*seen) {
            for blame in &result.blames {
                is_just(task, members, seat, blame)?;
            }
            if result.round != SETUP {
                let survivors = reported(result, misreport && seat == 0);
                let first = self.agreed.entry((attempt, result.round)).or_insert_with(|| survivors.clone());
                result_holds(task, members, seat, result, &survivors, first)?;
            }
        }
        *seen = results.len();
        Ok(())
    }

    /// Checks what is left when everyone is through.
    pub fn at_the_end(&self, task: &Task, members: &[Member], ledger: &Ledger<(u32, usize, usize)>) -> Check {
        ledger.bytes_sent_are_received_or_lost()?;
        round_keys_are_used_once_and_open_for_one_set(task, members)?;
        let attempts: BTreeSet<u32> = members.iter().flat_map(|m| m.runs.iter().map(|r| r.attempt)).collect();
        for attempt in attempts {
            blame_names_only_a_guilty_seat(task, members, attempt)?;
            for round in 0..task.rounds {
                a_complete_result_opens(task, members, attempt, round)?;
            }
        }
        Ok(())
    }
}

fn round_keys_are_used_once_and_open_for_one_set(task: &Task, members: &[Member]) -> Check {
    let dishonest = members.iter().filter(|m| !m.honest).count();
    let mut opened: BTreeMap<([u8; 32], u16), [u8; 32]> = BTreeMap::new();
    let mut votes: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    for (seat, member) in members.iter().enumerate().filter(|(_, m)| m.honest) {
        let mut once = BTreeSet::new();
        for r in member.disk.all().values().filter_map(|bytes| record(bytes)) {
            if !once.insert((r.kind.to_owned(), r.epoch, r.round)) {
                let what = format!("seat {seat}: {} twice for round key {}", r.kind, r.round);
                return broken("a_round_key_is_used_once", what);
            }
            match r.kind {
                "vote" => *votes.entry(r.about).or_default() += 1,
                "open" => {
                    let first = *opened.entry((r.epoch, r.round)).or_insert(r.about);
                    holds(first == r.about, "one_set_of_survivors_opens_a_round_key", || format!("seat {seat}"))?;
                }
                _ => {}
            }
        }
    }
    for (about, honest) in opened.values().map(|about| (about, votes.get(about).copied().unwrap_or(0))) {
        has_a_quorum(task, honest, dishonest, about)?;
    }
    Ok(())
}

fn has_a_quorum(task: &Task, honest: usize, dishonest: usize, about: &[u8; 32]) -> Check {
    let need = usize::from(task.params.threshold());
    holds(honest + dishonest >= need, "nothing_opens_without_a_quorum_of_votes", || {
        format!("{honest} honest votes and {dishonest} others for {}, {need} needed", Hash(*about).short())
    })
}

fn blames_of(member: &Member, attempt: u32) -> Vec<Blame> {
    let mut blames = Vec::new();
    for run in member.runs.iter().filter(|r| r.attempt == attempt) {
        let results = run.sink.lock().unwrap_or_else(PoisonError::into_inner);
        blames.extend(results.iter().flat_map(|r| r.blames.iter().cloned()));
        if let Some(Abort::Misbehaved { blame, .. }) = &run.abort {
            blames.push(blame.clone());
        }
    }
    blames
}

fn blame_names_only_a_guilty_seat(task: &Task, members: &[Member], attempt: u32) -> Check {
    for (seat, member) in members.iter().enumerate().filter(|(_, m)| m.honest) {
        for blame in blames_of(member, attempt) {
            is_just(task, members, seat, &blame)?;
        }
    }
    Ok(())
}

fn is_just(task: &Task, members: &[Member], seat: usize, blame: &Blame) -> Check {
    let guilty = |seat: Seat| members.get(seat.index()).is_some_and(|m| !m.honest);
    let Offender::Seat(offender) = blame.offender else { return Ok(()) };
    let convicted = verify_blame(&task.seating, blame);
    // A missing deal may be the network's fault, and a bad one the word of who complains.
    let complaint = match blame.offence {
        Offence::MissingDeal => true,
        Offence::BadDeal => {
            let by = blame.evidence.first().and_then(|e| wire::decode::<Signed>(e).ok()).map(|s| s.seat);
            by.is_some_and(guilty)
        }
        _ => false,
    };
    let just = guilty(offender) || (complaint && !convicted);
    holds(just, "blame_names_only_a_guilty_seat", || {
        let proven = if convicted { "with proof" } else { "without proof" };
        format!("seat {seat} blames {offender} for {} {proven}", blame.offence.word())
    })
}

/// An honest seat's result is that of enough survivors, the same as others have, and the sum of just them.
fn result_holds(
    task: &Task,
    members: &[Member],
    seat: usize,
    result: &Result1,
    survivors: &[Seat],
    first: &[Seat],
) -> Check {
    let round = result.round;
    no_output_below_the_threshold(task, survivors)?;
    holds(first == survivors, "all_hold_the_same_survivors", || {
        format!("round {round}: {first:?} and, at seat {seat}, {survivors:?}")
    })?;
    match &result.sum {
        Some(sum) if hub_is_honest(task, members) || task.params.is_verified() => {
            equals_the_oracle(task, sum, survivors, round)
        }
        _ => Ok(()),
    }
}

fn hub_is_honest(task: &Task, members: &[Member]) -> bool {
    members[task.aggregator.index()].honest
}

/// A blinded sum with the release of everyone in it is the plain sum of just them.
fn a_complete_result_opens(task: &Task, members: &[Member], attempt: u32, round: u16) -> Check {
    let mut releases: BTreeMap<Seat, Release> = BTreeMap::new();
    let mut blinded = None;
    let hub_is_honest = hub_is_honest(task, members);
    for (i, member) in members.iter().enumerate() {
        for run in member.runs.iter().filter(|r| r.attempt == attempt) {
            let results = run.sink.lock().unwrap_or_else(PoisonError::into_inner);
            for result in results.iter().filter(|r| r.round == round && round != SETUP) {
                releases.extend(result.release.map(|r| (Seat(i as u16), r)));
                blinded = blinded.or(result.blinded.clone().filter(|_| hub_is_honest && member.honest));
            }
        }
    }
    let Some(blinded) = blinded else { return Ok(()) };
    let survivors = blinded.survivors();
    if !survivors.iter().all(|s| releases.contains_key(s)) {
        return Ok(());
    }
    match unblind(&task.recipient, &blinded, &releases) {
        Ok(sum) => equals_the_oracle(task, &sum, &survivors, round),
        Err(fault) => broken("a_complete_result_opens", fault.to_string()),
    }
}

fn reported(result: &Result1, misreport: bool) -> Vec<Seat> {
    let mut survivors = result.survivors.clone();
    if misreport {
        survivors.pop();
    }
    survivors
}

fn no_output_below_the_threshold(task: &Task, survivors: &[Seat]) -> Check {
    let need = usize::from(task.params.survivors_min());
    let have = survivors.len();
    holds(have >= need, "no_output_below_the_threshold", || format!("{have} survivors, {need} needed"))
}

fn equals_the_oracle(task: &Task, sum: &Vector, survivors: &[Seat], round: u16) -> Check {
    let found: Vec<i128> = (0..sum.len()).filter_map(|i| sum.signed(i)).collect();
    let oracle = task.oracle(survivors, round);
    holds(found == oracle, "the_output_equals_the_plaintext_oracle", || {
        format!("round {round} over {survivors:?}: {found:?}, not {oracle:?}")
    })
}
