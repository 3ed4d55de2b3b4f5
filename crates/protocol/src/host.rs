//! Protocols that serve: a party that answers its own host while it talks to the other seats.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::{BTreeMap, BTreeSet};

use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Millis, Seat, Step};

use crate::abort::{Abort, Blame, Offence};
use crate::machine::Effect;
use crate::party::{Core, Party};

/// What [`Party::next`] waits for.
#[derive(Default)]
pub struct Wanted {
    /// Whether the host is listened to.
    pub host: bool,
    /// Messages, by step and sender. One that was taken is no longer wanted.
    pub messages: BTreeSet<(Step, Seat)>,
    /// Seats whose loss was noticed before.
    pub lost: BTreeSet<Seat>,
    /// Messages of which a part was taken.
    partial: BTreeMap<(Step, Seat), Vec<u8>>,
}

/// What came next.
#[derive(Debug)]
pub enum Next {
    /// Bytes of the host.
    Host(Vec<u8>),
    /// A whole message.
    Message {
        /// Whose.
        from: Seat,
        /// At which step.
        step: Step,
        /// What it says.
        body: Vec<u8>,
    },
    /// A seat was lost that was not among those noticed.
    Lost(Seat),
    /// Nothing until then.
    Time,
}

impl Core {
    /// The next whole message among those wanted: of the lowest step first, so that an early one is never starved.
    fn take_wanted(&mut self, wanted: &mut Wanted, cap: u64) -> Result<Option<Next>, Abort> {
        let there = |core: &Self, (step, seat): &(Step, Seat)| core.ready.get(step).is_some_and(|s| s.contains(seat));
        while let Some((step, from)) = wanted.messages.iter().find(|w| there(self, w)).copied() {
            if self.inboxes.get(from.index()).and_then(|i| i.total(step)).is_some_and(|total| total > cap) {
                return Err(Blame::seat(from, Offence::Flow).at(step));
            }
            let Some(chunk) = self.take_chunk(from, step) else { return Ok(None) };
            let body = wanted.partial.entry((step, from)).or_default();
            body.extend_from_slice(&chunk.bytes);
            if chunk.last {
                wanted.messages.remove(&(step, from));
                let body = wanted.partial.remove(&(step, from)).unwrap_or_default();
                return Ok(Some(Next::Message { from, step, body }));
            }
        }
        Ok(None)
    }
}

impl Party {
    /// Hands bytes to this party's own host. They never leave the node.
    pub fn tell_host(&mut self, bytes: Vec<u8>) {
        self.core().effects.push(Effect::Host(bytes));
    }

    /// Waits for whatever comes first: a wanted message of at most `cap` bytes, the loss of a seat, bytes of the host,
    /// or the time `until`. Of what is there at once, messages come first and the host last, so that who asks
    /// without end does not keep the others from being answered.
    ///
    /// # Errors
    /// `Flow` blame for a message over `cap`; the abort that stopped the machine.
    pub async fn next(&mut self, wanted: &mut Wanted, cap: usize, until: Millis) -> Result<Next, Abort> {
        let cap = cap.min(MESSAGE_BYTES_MAX) as u64;
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            match core.take_wanted(wanted, cap) {
                Ok(None) => {}
                Ok(Some(next)) => return Poll::Ready(Ok(next)),
                Err(abort) => return Poll::Ready(Err(abort)),
            }
            if let Some(seat) = core.gone.iter().find(|s| !wanted.lost.contains(s)).copied() {
                wanted.lost.insert(seat);
                return Poll::Ready(Ok(Next::Lost(seat)));
            }
            if core.now >= until {
                return Poll::Ready(Ok(Next::Time));
            }
            if let (true, Some(bytes)) = (wanted.host, core.host.front_mut()) {
                let bytes = core::mem::take(bytes);
                core.host.pop_front();
                return Poll::Ready(Ok(Next::Host(bytes)));
            }
            core.want_timer(until);
            Poll::Pending
        })
        .await
    }
}
