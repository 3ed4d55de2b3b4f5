//! Where a driver's readers and its machine meet: whose chunks are to be hashed where they arrive.

use std::sync::atomic::{AtomicU64, Ordering};

use tacit_types::Step;

use crate::machine::{Event, pieces_of};
use crate::message::Message;

/// No step: steps have 32 bits.
const NONE: u64 = u64::MAX;

/// The step whose chunks the machine will hash, as its readers see it; see
/// [`Machine::hash_ahead`](crate::Machine::hash_ahead). A reader that sees it late leaves the work to the
/// machine.
pub struct HashAhead {
    step: AtomicU64,
    chunk_bytes: usize,
}

impl HashAhead {
    /// For an attempt whose chunks have so many bytes.
    pub fn new(chunk_bytes: usize) -> Self {
        Self { step: AtomicU64::new(NONE), chunk_bytes }
    }

    /// Tells the readers what the machine wants.
    pub fn want(&self, step: Option<Step>) {
        self.step.store(step.map_or(NONE, |s| u64::from(s.0)), Ordering::Relaxed);
    }

    /// The event of a chunk that has arrived, hashed here if that is wanted.
    pub fn event(&self, message: Message) -> Event {
        if self.step.load(Ordering::Relaxed) != u64::from(message.address.step.0) {
            return Event::Received(message);
        }
        let pieces = pieces_of(&message, self.chunk_bytes);
        Event::Hashed { message, pieces }
    }
}

#[cfg(test)]
mod tests {
    use tacit_types::{Attempt, JobId, Seat};

    use super::*;
    use crate::message::Address;

    #[test]
    fn chunks_of_the_wanted_step_are_hashed_at_their_place_and_others_are_not() {
        let message = |step, sequence| {
            let (from, to) = (Seat(1), Seat(0));
            let address = Address { job: JobId([7; 32]), attempt: Attempt(2), step, from, to, sequence };
            Message { address, total: 1 << 20, body: vec![5; 1 << 16] }
        };
        let ahead = HashAhead::new(1 << 16);
        let (wanted, other) = (Step::new(2, 2), Step::new(2, 3));
        assert_eq!(ahead.event(message(wanted, 0)), Event::Received(message(wanted, 0)));
        ahead.want(Some(wanted));
        assert_eq!(ahead.event(message(other, 0)), Event::Received(message(other, 0)));
        let Event::Hashed { message: kept, pieces } = ahead.event(message(wanted, 3)) else { panic!("not hashed") };
        assert_eq!(kept, message(wanted, 3));
        assert_eq!(pieces, tacit_crypto::Pieces::of(3 << 16, &kept.body));
        ahead.want(None);
        assert_eq!(ahead.event(message(wanted, 0)), Event::Received(message(wanted, 0)));
    }
}
