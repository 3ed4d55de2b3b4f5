//! A batch of calls at one owner, on its way through the rounds with the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use tacit_mpc::{Flight, Source};
use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Offence, Party};
use tacit_secagg::stream::Pad;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step};
use zeroize::Zeroizing;

use super::super::super::circuit::{Circuit, Input};
use super::super::super::params::Unknown;
use super::super::super::shared::{Values, not_ours, pack};
use super::super::{Answer, cells, serial};
use super::Join;

/// What this party brings to a batch, or to what is done once.
pub(super) struct Brought<I> {
    pub circuit: Arc<Circuit<I>>,
    pub values: Box<dyn Values<I>>,
    /// Whether each row is shown as known.
    pub shown: Vec<bool>,
}

impl<I: Copy + Send + Sync> Source for Brought<I> {
    fn fill(&mut self, input: u32, first_row: u64, out: &mut [u64]) -> Result<(), Fault> {
        let row = first_row as usize;
        match self.circuit.inputs.get(input as usize).ok_or_else(not_ours)? {
            Input::Own(own) => self.values.fill(*own, row, out),
            Input::Rows => {
                pack(out, row, self.shown.len(), |r| self.shown.get(r).copied().unwrap_or(false));
                Ok(())
            }
        }
    }
}

/// Which rows are shown as known: with `refuse` all of a call or none.
pub(super) fn shown(unknown: Unknown, calls: &[usize], known: &[bool]) -> Vec<bool> {
    if unknown != Unknown::Refuse {
        return known.to_vec();
    }
    let (mut rest, mut shown) = (known, Vec::with_capacity(known.len()));
    for keys in calls {
        let (call, later) = rest.split_at(rest.len().min(*keys));
        rest = later;
        let whole = call.iter().all(|k| *k);
        shown.extend(call.iter().map(|_| whole));
    }
    shown
}

/// Steps of the rounds of a batch.
#[derive(Clone, Copy)]
pub(super) struct Rounds(pub u32);

impl Rounds {
    /// The step of a round.
    pub fn step(self, batch: u32, round: u32) -> Step {
        serial(batch * self.0 + round)
    }

    /// The batch and round of a step.
    pub fn of(self, step: Step) -> (u32, u32) {
        let number = step.0.saturating_sub(serial(0).0);
        (number / self.0.max(1), number % self.0.max(1))
    }
}

/// How far a batch is.
enum State {
    /// Under way, with whose words are waited for in this round.
    Flies(Box<Flight>, BTreeSet<usize>),
    /// What the recipient is told.
    Done(Answer),
}

/// One batch.
pub(super) struct Batch {
    number: u32,
    /// Keys of each call; none of a batch that is refused.
    calls: Vec<usize>,
    request: Hash,
    pad: Option<Pad>,
    state: State,
    /// When the recipient is told who is waited for.
    pub until: Millis,
    pub told: bool,
}

/// What all batches of a party have in common.
pub(super) struct Way<'a> {
    /// The seats that compute, in the plan's order, and which of them this one is.
    pub seats: &'a [Seat],
    pub me: usize,
    pub rounds: Rounds,
    pub unknown: Unknown,
    pub disclosure: &'a Disclosure,
}

impl Way<'_> {
    fn others(&self) -> impl Iterator<Item = (usize, Seat)> {
        let me = self.me;
        self.seats.iter().copied().enumerate().filter(move |(i, _)| *i != me)
    }
}

impl Batch {
    /// A batch that this party takes part in: tells the others.
    ///
    /// # Errors
    /// Those of [`Party::post`].
    pub fn begin(
        party: &mut Party,
        way: &Way<'_>,
        (number, until): (u32, Millis),
        (calls, request): (Vec<usize>, Hash),
        (flight, pad): (Flight, Pad),
    ) -> Result<Self, Abort> {
        let mut waits = BTreeSet::new();
        for (i, seat) in way.others() {
            let join = Join::Go { request, words: Blob(flight.words_for(i)) };
            party.post(seat, way.rounds.step(number, 0), wire::encode(&join))?;
            waits.insert(i);
        }
        let state = State::Flies(Box::new(flight), waits);
        Ok(Self { number, calls, request, pad: Some(pad), state, until, told: false })
    }

    /// A batch that this party refuses: tells the others.
    ///
    /// # Errors
    /// Those of [`Party::post`].
    pub fn refuse(
        party: &mut Party,
        way: &Way<'_>,
        (number, until): (u32, Millis),
        request: Hash,
        code: Code,
    ) -> Result<Self, Abort> {
        for (_, seat) in way.others() {
            party.post(seat, way.rounds.step(number, 0), wire::encode(&Join::Refused(code)))?;
        }
        let state = State::Done(Answer::Refused(code));
        Ok(Self { number, calls: Vec::new(), request, pad: None, state, until, told: false })
    }

    /// Rows that are computed for it.
    pub fn rows(&self) -> u64 {
        self.calls.iter().sum::<usize>() as u64
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is waited for: steps and the parties' numbers.
    pub fn awaited(&self, rounds: Rounds) -> Vec<(Step, usize)> {
        match &self.state {
            State::Flies(flight, waits) => {
                let step = rounds.step(self.number, flight.round());
                waits.iter().map(|i| (step, *i)).collect()
            }
            State::Done(_) => Vec::new(),
        }
    }

    /// Whether the recipient can be told.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// What the recipient is told.
    pub fn answer(self) -> Option<Answer> {
        if let State::Done(answer) = self.state { Some(answer) } else { None }
    }

    /// Takes what a party says in the round that is under way, and goes on as far as it can.
    ///
    /// # Errors
    /// [`Abort::Misbehaved`] for words of another length, [`Abort::Disagreement`] when it was asked something else.
    pub fn take(&mut self, party: &mut Party, way: &Way<'_>, from: usize, body: &[u8]) -> Result<(), Abort> {
        let State::Flies(flight, waits) = &mut self.state else { return Ok(()) };
        let seat = way.seats.get(from).copied().unwrap_or(Seat(u16::MAX));
        let malformed = || Blame::seat(seat, Offence::Malformed).at(way.rounds.step(self.number, 0));
        let fits = if flight.round() == 0 {
            match wire::decode_capped::<Join>(body, body.len()).map_err(|_| malformed())? {
                Join::Go { request, .. } if request != self.request => {
                    return Err(Abort::Disagreement { seats: vec![seat] });
                }
                Join::Go { words, .. } => flight.take(from, &words.0),
                Join::Refused(code) => {
                    self.state = State::Done(Answer::Refused(code));
                    return Ok(());
                }
            }
        } else {
            flight.take(from, body)
        };
        if !fits {
            return Err(malformed());
        }
        waits.remove(&from);
        self.go_on(party, way)
    }

    fn go_on(&mut self, party: &mut Party, way: &Way<'_>) -> Result<(), Abort> {
        while let State::Flies(flight, waits) = &mut self.state {
            if !waits.is_empty() {
                return Ok(());
            }
            flight.proceed(party)?;
            if flight.is_done() {
                return self.finish(party, way);
            }
            let step = way.rounds.step(self.number, flight.round());
            for (i, seat) in way.others() {
                let words = flight.words_for(i);
                if !words.is_empty() {
                    party.post(seat, step, words)?;
                }
                if flight.awaits(i) {
                    waits.insert(i);
                }
            }
        }
        Ok(())
    }

    /// This party's summands of the numbers that the recipient may open: one a row, then what tells unknown rows apart.
    fn finish(&mut self, party: &mut Party, way: &Way<'_>) -> Result<(), Abort> {
        let none = State::Done(Answer::Refused(Code::JobInternal));
        let (State::Flies(flight, _), Some(pad)) = (core::mem::replace(&mut self.state, none), self.pad.take()) else {
            return Ok(());
        };
        let rows: usize = self.calls.iter().sum();
        let mut outputs = flight.summands().into_values();
        let (values, unknown) = (outputs.next().unwrap_or_default(), outputs.next().unwrap_or_default());
        let count = cells(way.unknown, self.calls.len() as u64, rows as u64);
        let mut numbers = Zeroizing::new(Vec::with_capacity(count as usize));
        numbers.extend(values.iter().take(rows));
        match way.unknown {
            Unknown::Default => {}
            Unknown::Flag => numbers.extend(unknown.iter().take(rows)),
            // Of a call every row is unknown or none is, so that its first one tells it.
            Unknown::Refuse => {
                let firsts = self.calls.iter().scan(0, |next, keys| Some(core::mem::replace(next, *next + keys)));
                numbers.extend(firsts.filter_map(|row| unknown.get(row)));
            }
        }
        if numbers.len() as u64 != count {
            return Err(Abort::Local(Fault::new(Code::JobInternal, "a batch gave another number of rows")));
        }
        let masked = party.reveal(way.disclosure, count, Concealed::new(pad.mask(&numbers)))?;
        self.state = State::Done(Answer::Cells(Blob(masked.into_bytes())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_with_an_unknown_key_is_unknown_as_a_whole_where_it_is_refused() {
        let known = [true, false, true, true, true];
        assert_eq!(shown(Unknown::Flag, &[3, 2], &known), known);
        assert_eq!(shown(Unknown::Refuse, &[3, 2], &known), [false, false, false, true, true]);
        assert_eq!(shown(Unknown::Refuse, &[1, 1, 3], &known), [true, false, true, true, true]);
    }

    #[test]
    fn rounds_of_batches_have_steps_of_their_own() {
        let rounds = Rounds(3);
        let all: BTreeSet<Step> = (0..4).flat_map(|b| (0..3).map(move |r| rounds.step(b, r))).collect();
        assert_eq!((all.len(), rounds.of(rounds.step(7, 2))), (12, (7, 2)));
    }
}
