//! An owner's seat: looks up the rows of each call and answers under masks.

use std::collections::BTreeSet;

use tacit_crypto::sha256;
use tacit_protocol::{Abort, Blame, Concealed, Disclosure, Next, Offence, Party, Wanted};
use tacit_receipts::{Call, request_hash};
use tacit_secagg::stream::{Pad, Pads};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Columns, Fault, Millis, Seat, Step};
use zeroize::Zeroizing;

use super::super::keys::KEY_BYTES_MAX;
use super::super::params::{OwnerColumns, ScoreParams, Unknown};
use super::super::plan::result_disclosure;
use super::host::{self, Tell, told};
use super::index::{Builder, Index};
use super::tally::Tally;
use super::{
    Answer, Ask, AskedCall, BATCH_BYTES_MAX, BATCH_CALLS_MAX, BATCH_ROWS_MAX, CALL_KEYS_MAX, CALL_SKEW_MS_MAX, Online,
    READY, Roles, SETTLE, cells, serial,
};
use crate::kind::{Fold, JointContext, JointFuture, JointHalf, JointOutput};
use crate::session;

/// The local half: makes the index.
pub(super) struct OwnerFold {
    params: ScoreParams,
    online: Online,
    counts: bool,
    builder: Builder,
}

impl OwnerFold {
    /// For an owner with these columns and this part of the model.
    ///
    /// # Errors
    /// `refused.model` when the model is no part for these columns.
    pub fn new(params: ScoreParams, online: Online, columns: &OwnerColumns, model: &[u8]) -> Result<Self, Fault> {
        let builder = Builder::new(columns, model)?;
        Ok(Self { params, online, counts: false, builder })
    }
}

impl Fold for OwnerFold {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        self.builder.take(batch)
    }

    fn count_keys(&mut self) {
        self.counts = true;
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, online, counts, builder } = *self;
        Box::new(OwnerJoint { params, online, counts, index: builder.finish() })
    }
}

struct OwnerJoint {
    params: ScoreParams,
    online: Online,
    counts: bool,
    index: Index,
}

impl JointHalf for OwnerJoint {
    fn run(self: Box<Self>, party: Party, context: JointContext) -> JointFuture {
        Box::pin(serve(*self, party, context))
    }
}

/// Rows that may be asked for now: refilled with time, at most one second's.
pub(super) struct Pace {
    per_second: u64,
    /// In thousandths of a row.
    left: u64,
    at: Millis,
}

impl Pace {
    pub fn new(per_second: u64, now: Millis) -> Self {
        Self { per_second, left: per_second.saturating_mul(1000), at: now }
    }

    pub fn take(&mut self, rows: u64, now: Millis) -> bool {
        let full = self.per_second.saturating_mul(1000);
        let passed = now.0.saturating_sub(self.at.0);
        self.left = self.left.saturating_add(passed.saturating_mul(self.per_second)).min(full);
        self.at = now;
        let Some(left) = self.left.checked_sub(rows.saturating_mul(1000)) else { return false };
        self.left = left;
        true
    }
}

/// A batch whose keys this owner's node counts.
struct Waiting {
    step: Step,
    pad: Pad,
    calls: Vec<AskedCall>,
    rows: u64,
}

struct Serving {
    params: ScoreParams,
    disclosure: Disclosure,
    counts: bool,
    waiting: Option<Waiting>,
    index: Index,
    pads: Pads,
    pace: Pace,
    roles: Roles,
    opened_at: Millis,
    /// The time of the last batch, by the recipient.
    said_ms: u64,
    tally: Tally,
}

async fn serve(half: OwnerJoint, mut party: Party, context: JointContext) -> Result<JointOutput, Abort> {
    session::agree(&mut party, &context.session, context.step_ms).await?;
    let OwnerJoint { params, online, counts, index } = half;
    let roles = Roles::of(&context, &params, &online, None)?;
    let recipient = roles.recipient;
    let pads = roles.stream(&context).agree(&mut party).await?;
    party.progress(READY);
    party.post(recipient, READY, Vec::new())?;
    let until = party.now().plus(context.step_ms.saturating_mul(2));
    party.receive(recipient, READY, 0, until).await?;
    let now = party.now();
    let until = now.plus(online.seconds.saturating_mul(1000)).plus(context.step_ms);
    let mut serving = Serving {
        disclosure: result_disclosure(&params),
        params,
        counts,
        waiting: None,
        index,
        pads,
        pace: Pace::new(online.rows_per_second, now),
        roles,
        opened_at: now,
        said_ms: 0,
        tally: Tally::default(),
    };
    let mut wanted = Wanted::default();
    let mut number = 0;
    loop {
        let step = serial(number);
        // One batch after the other: the next is taken when the keys of this one are counted.
        wanted.host = serving.waiting.is_some();
        if !wanted.host {
            wanted.messages.insert((step, recipient));
        }
        match party.next(&mut wanted, BATCH_BYTES_MAX, until).await? {
            Next::Message { body, .. } => {
                party.forget(step);
                if let Some(seats) = serving.take(&mut party, step, &body).await? {
                    party.flush(until).await?;
                    return Ok(serving.finish(&mut party, seats));
                }
                number += 1;
            }
            Next::Lost(seat) if seat == recipient => return serving.settle(&mut party, &context).await,
            Next::Host(bytes) => serving.counted(&mut party, &bytes)?,
            // The recipient says how it goes on.
            Next::Lost(_) => {}
            Next::Time => return Err(Abort::Missing { step, seats: vec![recipient] }),
        }
    }
}

impl Serving {
    /// Takes a batch and answers it; at the end, who is there.
    async fn take(&mut self, party: &mut Party, step: Step, body: &[u8]) -> Result<Option<Vec<Seat>>, Abort> {
        let recipient = self.roles.recipient;
        let blame = |offence| Err(Blame::seat(recipient, offence).at(step));
        let Ok(ask) = wire::decode_capped::<Ask>(body, BATCH_BYTES_MAX) else { return blame(Offence::Malformed) };
        let (answer, end) = match ask {
            Ask::Calls { at_ms, calls } => {
                let Some(rows) = self.count(party.now(), at_ms, &calls) else { return blame(Offence::Malformed) };
                if self.tally.total_rows() > self.params.rows {
                    return blame(Offence::Flow);
                }
                match self.answer(party, step, (calls, rows), body)? {
                    Some(answer) => (answer, None),
                    None => return Ok(None),
                }
            }
            // Every owner of such a window has rows.
            Ask::Counted { .. } => return blame(Offence::Malformed),
            Ask::End { calls, rows, root, seats } => {
                let own = self.tally.window(self.params.unknown);
                if (calls, rows, root) != (own.calls, own.rows, own.root) {
                    return blame(Offence::BadSum);
                }
                if !seats.contains(&party.seat()) {
                    return Err(Abort::Missing { step, seats: vec![party.seat()] });
                }
                (Answer::Agreed, Some(seats))
            }
        };
        party.post(recipient, step, wire::encode(&answer))?;
        Ok(end)
    }

    /// Counts the calls of a batch, by itself, before it looks at them. Gives the rows; `None` for a batch that the
    /// recipient may not send.
    fn count(&mut self, now: Millis, at_ms: u64, calls: &[AskedCall]) -> Option<u64> {
        let own_ms = now.0.saturating_sub(self.opened_at.0);
        if at_ms < self.said_ms || at_ms.abs_diff(own_ms) > CALL_SKEW_MS_MAX {
            return None;
        }
        let rows: usize = calls.iter().map(|c| c.keys.len()).sum();
        let key = |k: &Blob| (1..=KEY_BYTES_MAX).contains(&k.len());
        let call = |c: &AskedCall| (1..=CALL_KEYS_MAX).contains(&c.keys.len()) && c.keys.iter().all(key);
        if !(1..=BATCH_CALLS_MAX).contains(&calls.len()) || rows > BATCH_ROWS_MAX || !calls.iter().all(call) {
            return None;
        }
        self.said_ms = at_ms;
        for call in calls {
            let plain: Vec<&[u8]> = call.keys.iter().map(|k| k.0.as_slice()).collect();
            let (keys, request) = (call.keys.len() as u32, request_hash(&plain));
            self.tally.add(&Call { at_ms, keys, request, salt: call.salt });
        }
        Some(rows as u64)
    }

    /// The answer to a batch; nothing yet where its keys are counted first.
    fn answer(
        &mut self,
        party: &mut Party,
        step: Step,
        (calls, rows): (Vec<AskedCall>, u64),
        body: &[u8],
    ) -> Result<Option<Answer>, Abort> {
        // The pad of this number is spent whatever becomes of the batch, at every owner alike.
        let pad = self.pads.next(&sha256(body));
        if !self.pace.take(rows, party.now()) {
            return Ok(Some(Answer::Refused(Code::RefusedPace)));
        }
        if self.counts {
            let keys = calls.iter().flat_map(|c| &c.keys).cloned().collect();
            party.tell_host(told(&Tell::Count { keys, rows }));
            self.waiting = Some(Waiting { step, pad, calls, rows });
            return Ok(None);
        }
        self.cells(party, pad, &calls, rows).map(Some)
    }

    fn cells(&mut self, party: &mut Party, pad: Pad, calls: &[AskedCall], rows: u64) -> Result<Answer, Abort> {
        let numbers = self.numbers(party, calls);
        let count = cells(self.params.unknown, calls.len() as u64, rows);
        debug_assert_eq!(numbers.len() as u64, count);
        let masked = party.reveal(&self.disclosure, count, Concealed::new(pad.mask(&numbers)))?;
        Ok(Answer::Cells(Blob(masked.into_bytes())))
    }

    /// Answers the batch that waited, now that this owner's node has counted its keys.
    fn counted(&mut self, party: &mut Party, said: &[u8]) -> Result<(), Abort> {
        let outcome = host::counted(said).map_err(Abort::Local)?;
        let Some(Waiting { step, pad, calls, rows }) = self.waiting.take() else { return Ok(()) };
        let answer = match outcome {
            Ok(()) => self.cells(party, pad, &calls, rows)?,
            Err(code) => Answer::Refused(code),
        };
        party.post(self.roles.recipient, step, wire::encode(&answer))
    }

    /// This owner's numbers: partial scores, then what tells unknown keys apart. Random ones stand for what an owner
    /// does not have, as in a job without a window.
    fn numbers(&self, party: &mut Party, calls: &[AskedCall]) -> Zeroizing<Vec<u64>> {
        let mut random = || u64::from_le_bytes(party.rng().bytes());
        let (mut numbers, mut flags) = (Zeroizing::new(Vec::new()), Vec::new());
        for call in calls {
            let first = numbers.len();
            let mut missing = false;
            for key in &call.keys {
                // Two draws for every row, so that time tells nothing of which rows there are.
                let (noise, mark) = (random(), random());
                let found = self.index.find(key);
                missing |= found.is_none();
                let spoiled = found.is_none() && self.params.unknown == Unknown::Flag;
                let partial = found.unwrap_or(0) as u64;
                numbers.push(partial.wrapping_add(if spoiled { noise } else { 0 }));
                if self.params.unknown == Unknown::Flag {
                    flags.push(if spoiled { mark } else { 0 });
                }
            }
            if self.params.unknown == Unknown::Refuse {
                // As many draws whether a row is missing or not, so that time tells nothing of it.
                let spoiled = u64::from(missing).wrapping_neg();
                for number in numbers.iter_mut().skip(first) {
                    *number = number.wrapping_add(random() & spoiled);
                }
                flags.push(random() & spoiled);
            }
        }
        numbers.extend(flags);
        numbers
    }

    fn finish(self, party: &mut Party, seats: Vec<Seat>) -> JointOutput {
        let (output, closed) = self.tally.finish(self.params.unknown, seats);
        party.tell_host(closed);
        output
    }

    /// The recipient is lost: the owners settle on the calls that all of them have heard.
    async fn settle(mut self, party: &mut Party, context: &JointContext) -> Result<JointOutput, Abort> {
        settle(party, context, &self.roles.owners, &mut self.tally).await?;
        let seats: BTreeSet<Seat> = self.roles.owners.iter().copied().collect();
        Ok(self.finish(party, seats.into_iter().collect()))
    }
}

/// Keeps the calls that all owners have heard, once the recipient is lost.
///
/// # Errors
/// [`Abort::Missing`] for an owner that is lost as well.
pub(super) async fn settle(
    party: &mut Party,
    context: &JointContext,
    owners: &[Seat],
    tally: &mut Tally,
) -> Result<(), Abort> {
    party.progress(SETTLE);
    let others: Vec<Seat> = owners.iter().copied().filter(|s| *s != party.seat()).collect();
    let until = party.now().plus(context.step_ms);
    for seat in &others {
        party.post(*seat, SETTLE, wire::encode(&tally.calls()))?;
    }
    let heard = party.gather(&others, SETTLE, 16, until).await?.all(SETTLE)?;
    let mut least = tally.calls();
    for (seat, body) in heard {
        let calls: u64 = wire::decode(&body).map_err(|_| Blame::seat(seat, Offence::Malformed).at(SETTLE))?;
        least = least.min(calls);
    }
    tally.keep(least);
    party.flush(until).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_refills_with_time_and_holds_one_second() {
        let mut pace = Pace::new(10, Millis(0));
        assert!(pace.take(10, Millis(0)) && !pace.take(1, Millis(99)));
        assert!(pace.take(1, Millis(100)) && !pace.take(1, Millis(199)) && pace.take(1, Millis(200)));
        assert!(!pace.take(11, Millis(60_000)) && pace.take(10, Millis(60_000)), "a long rest is no longer burst");
    }
}
