//! Gathering at the aggregator and waiting for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::limits::MESSAGE_BYTES_MAX;
use tacit_types::{Millis, Seat, Step, wire};

/// One whole message from each of several seats, in the order in which they are completed. A seat
/// that breaks the rules is left out and blamed; the others go on.
pub(crate) struct Collector {
    step: Step,
    cap: u64,
    waiting: BTreeSet<Seat>,
    partial: BTreeMap<Seat, Vec<u8>>,
    until: Millis,
}

impl Collector {
    pub fn new(step: Step, cap: usize, from: impl IntoIterator<Item = Seat>, until: Millis) -> Self {
        Self { step, cap: cap as u64, waiting: from.into_iter().collect(), partial: BTreeMap::new(), until }
    }

    /// The next message, or `None` when no more can come by the deadline.
    ///
    /// # Errors
    /// The abort that stopped the machine.
    pub async fn next(&mut self, party: &mut Party, blames: &mut Vec<Blame>) -> Result<Option<(Seat, Vec<u8>)>, Abort> {
        while let Some(chunk) = party.chunk(&self.waiting, self.step, self.until).await? {
            if chunk.total > self.cap {
                blames.push(Blame::seat(chunk.from, Offence::Flow));
                self.waiting.remove(&chunk.from);
                self.partial.remove(&chunk.from);
                continue;
            }
            let body = self.partial.entry(chunk.from).or_default();
            body.extend_from_slice(&chunk.bytes);
            if chunk.last {
                self.waiting.remove(&chunk.from);
                return Ok(self.partial.remove(&chunk.from).map(|body| (chunk.from, body)));
            }
        }
        Ok(None)
    }

    /// Those that have not delivered.
    pub fn missing(&self) -> Vec<Seat> {
        self.waiting.iter().copied().collect()
    }
}

/// Sends one body to many seats.
///
/// # Errors
/// The abort that stopped the machine. Seats that do not take it count as lost.
pub(crate) async fn spread(
    party: &mut Party,
    step: Step,
    to: impl IntoIterator<Item = Seat>,
    body: Vec<u8>,
    until: Millis,
) -> Result<(), Abort> {
    let body: Arc<[u8]> = body.into();
    let messages = to.into_iter().map(|seat| (seat, body.clone())).collect();
    party.fan_out(step, &messages, until).await.map(|_| ())
}

/// Waits for the aggregator's message.
///
/// # Errors
/// [`Abort::Missing`] that names it, `Flow` over the cap, `Malformed` when it is not a `T`.
pub(crate) async fn from_aggregator<T: DeserializeOwned>(
    party: &mut Party,
    aggregator: Seat,
    step: Step,
    cap: usize,
    until: Millis,
) -> Result<T, Abort> {
    party.progress(step);
    let bytes = party.receive(aggregator, step, cap, until).await?;
    wire::decode_capped(&bytes, MESSAGE_BYTES_MAX).map_err(|_| Blame::seat(aggregator, Offence::Malformed).at(step))
}
