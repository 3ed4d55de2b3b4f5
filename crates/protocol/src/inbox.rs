//! What has arrived from one seat and was not consumed yet: reordered, deduplicated, bounded.

use std::collections::BTreeMap;

use tacit_crypto::Pieces;
use tacit_types::Step;

use crate::abort::Offence;

/// Steps of which a seat may hold unread chunks.
const STEPS_MAX: usize = 4096;

/// One message on its way in.
#[derive(Default)]
struct Arriving {
    total: u64,
    /// Chunks not consumed, by number.
    chunks: BTreeMap<u32, Vec<u8>>,
    /// Of some of those.
    pieces: BTreeMap<u32, Pieces>,
    /// The next chunk to consume.
    next: u32,
    /// Bytes consumed.
    consumed: u64,
}

impl Arriving {
    fn finished(&self) -> bool {
        self.next > 0 && self.consumed == self.total
    }
}

/// The unread chunks of one seat.
#[derive(Default)]
pub struct Inbox {
    messages: BTreeMap<Step, Arriving>,
    /// Messages of earlier steps were read and are forgotten.
    floor: Option<Step>,
    /// Bytes accepted and not consumed.
    held: u64,
    /// Bytes consumed since the start, the credit that the sender is told.
    credit: u64,
    /// The most that the sender was told instead, to widen its window.
    granted: u64,
}

impl Inbox {
    /// Takes a chunk in. `Ok(false)` for a repeat of what is known.
    ///
    /// # Errors
    /// `Equivocation` for other bytes under a known address, `Malformed` for lengths that do not add
    /// up, `Flow` beyond `window`.
    pub fn accept(
        &mut self,
        step: Step,
        sequence: u32,
        total: u64,
        body: Vec<u8>,
        chunk_bytes: usize,
        window: u64,
    ) -> Result<bool, Offence> {
        if self.floor.is_some_and(|floor| step < floor) {
            return Ok(false);
        }
        let (chunk, window) = (chunk_bytes as u64, window + self.ahead());
        let start = u64::from(sequence) * chunk;
        let length = total.saturating_sub(start).min(chunk);
        let in_range = start < total || (total == 0 && sequence == 0);
        if !in_range || body.len() as u64 != length {
            return Err(Offence::Malformed);
        }
        if !self.messages.contains_key(&step) && self.messages.len() >= STEPS_MAX {
            return Err(Offence::Flow);
        }
        let message = self.messages.entry(step).or_insert_with(|| Arriving { total, ..Arriving::default() });
        if message.total != total {
            return Err(Offence::Equivocation);
        }
        if sequence < message.next {
            return Ok(false);
        }
        if let Some(known) = message.chunks.get(&sequence) {
            return if *known == body { Ok(false) } else { Err(Offence::Equivocation) };
        }
        // An empty message still takes a slot, so that it cannot be sent without bound.
        if self.held + length > window {
            return Err(Offence::Flow);
        }
        self.held += length;
        message.chunks.insert(sequence, body);
        Ok(true)
    }

    /// Keeps the hashes of a chunk's pieces with a chunk that was taken in.
    pub fn attach(&mut self, step: Step, sequence: u32, pieces: Pieces) {
        if let Some(message) = self.messages.get_mut(&step).filter(|m| m.chunks.contains_key(&sequence)) {
            message.pieces.insert(sequence, pieces);
        }
    }

    /// The hashes kept with the next chunk in order; to be asked for before it is consumed.
    pub fn take_pieces(&mut self, step: Step) -> Pieces {
        let next = self.messages.get_mut(&step).and_then(|m| m.pieces.remove(&m.next));
        next.unwrap_or_default()
    }

    /// Consumes the next chunk in order: its offset, its bytes, the total, and whether it is the last.
    pub fn next_chunk(&mut self, step: Step, chunk_bytes: usize) -> Option<(u64, Vec<u8>, u64, bool)> {
        let message = self.messages.get_mut(&step)?;
        let body = message.chunks.remove(&message.next)?;
        let offset = u64::from(message.next) * chunk_bytes as u64;
        message.next += 1;
        message.consumed += body.len() as u64;
        self.held -= body.len() as u64;
        self.credit += body.len() as u64;
        Some((offset, body, message.total, message.finished()))
    }

    /// Whether the next chunk in order is there.
    pub fn has_next(&self, step: Step) -> bool {
        self.messages.get(&step).is_some_and(|m| m.chunks.contains_key(&m.next))
    }

    /// The stated length of a message of which something has arrived.
    pub fn total(&self, step: Step) -> Option<u64> {
        self.messages.get(&step).map(|m| m.total)
    }

    /// Whether the message was consumed to its end.
    pub fn finished(&self, step: Step) -> bool {
        self.messages.get(&step).is_some_and(Arriving::finished)
    }

    /// Drops the messages of every step before this one, and whatever comes of them later.
    pub fn forget(&mut self, before: Step) {
        let kept = self.messages.split_off(&before);
        let dropped = core::mem::replace(&mut self.messages, kept);
        let unread: u64 = dropped.values().flat_map(|m| m.chunks.values()).map(|c| c.len() as u64).sum();
        self.held -= unread;
        self.credit += unread;
        self.floor = self.floor.max(Some(before));
    }

    /// What the sender is told: bytes consumed since the start, or more where its window is widened.
    pub fn credit(&self) -> u64 {
        self.credit.max(self.granted)
    }

    /// Bytes by which the sender's window is widened now.
    pub fn ahead(&self) -> u64 {
        self.granted.saturating_sub(self.credit)
    }

    /// Widens the sender's window to `bytes` more than it has by itself; never narrows it.
    pub fn grant(&mut self, bytes: u64) {
        self.granted = self.granted.max(self.credit + bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step::new(0, 1);

    fn put(inbox: &mut Inbox, sequence: u32, total: u64, body: &[u8]) -> Result<bool, Offence> {
        inbox.accept(STEP, sequence, total, body.to_vec(), 4, 8)
    }

    #[test]
    fn chunks_are_ordered_and_repeats_ignored() {
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, 1, 6, b"ef"), Ok(true));
        assert!(inbox.next_chunk(STEP, 4).is_none());
        assert_eq!(put(&mut inbox, 1, 6, b"ef"), Ok(false));
        assert_eq!(put(&mut inbox, 0, 6, b"abcd"), Ok(true));
        assert_eq!(inbox.next_chunk(STEP, 4), Some((0, b"abcd".to_vec(), 6, false)));
        assert_eq!(put(&mut inbox, 0, 6, b"abcd"), Ok(false), "a repeat after consumption");
        assert_eq!(inbox.next_chunk(STEP, 4), Some((4, b"ef".to_vec(), 6, true)));
        assert!(inbox.finished(STEP));
        assert_eq!(inbox.credit(), 6);
    }

    #[test]
    fn an_empty_message_is_one_empty_chunk() {
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, 0, 0, b""), Ok(true));
        assert_eq!(inbox.next_chunk(STEP, 4), Some((0, vec![], 0, true)));
        assert_eq!(put(&mut inbox, 1, 0, b""), Err(Offence::Malformed));
    }

    #[test]
    fn lies_are_named() {
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, 0, 6, b"abc"), Err(Offence::Malformed), "a short chunk");
        assert_eq!(put(&mut inbox, 2, 6, b""), Err(Offence::Malformed), "past the end");
        assert_eq!(put(&mut inbox, u32::MAX, u64::MAX, b"abcd"), Ok(true));
        assert_eq!(put(&mut inbox, 0, 6, b"abcd"), Err(Offence::Equivocation), "another total");
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, 0, 6, b"abcd"), Ok(true));
        assert_eq!(put(&mut inbox, 0, 6, b"abce"), Err(Offence::Equivocation));
    }

    #[test]
    fn the_window_holds_one_past_it() {
        let mut inbox = Inbox::default();
        assert_eq!(put(&mut inbox, 0, 12, b"abcd"), Ok(true));
        assert_eq!(put(&mut inbox, 1, 12, b"abcd"), Ok(true));
        assert_eq!(put(&mut inbox, 2, 12, b"abcd"), Err(Offence::Flow));
        inbox.next_chunk(STEP, 4).unwrap();
        assert_eq!(put(&mut inbox, 2, 12, b"abcd"), Ok(true));
    }

    #[test]
    fn what_is_forgotten_leaves_room_and_does_not_come_back() {
        let mut inbox = Inbox::default();
        for i in 0..STEPS_MAX as u32 {
            assert_eq!(inbox.accept(Step(i), 0, 0, vec![], 4, 8), Ok(true));
        }
        inbox.forget(Step(2));
        assert_eq!(inbox.accept(Step(1), 0, 0, vec![], 4, 8), Ok(false), "a repeat of what is forgotten");
        assert_eq!(inbox.accept(Step(9999), 0, 4, b"abcd".to_vec(), 4, 4), Ok(true));
        assert_eq!(inbox.accept(Step(9998), 0, 4, b"abcd".to_vec(), 4, 4), Err(Offence::Flow), "the window is full");
        inbox.forget(Step(10_000));
        assert_eq!(inbox.credit(), 4);
        assert_eq!(inbox.accept(Step(10_000), 0, 4, b"abcd".to_vec(), 4, 4), Ok(true));
    }

    #[test]
    fn steps_are_bounded() {
        let mut inbox = Inbox::default();
        for i in 0..STEPS_MAX as u32 {
            assert_eq!(inbox.accept(Step(i), 0, 0, vec![], 4, 8), Ok(true));
        }
        assert_eq!(inbox.accept(Step(STEPS_MAX as u32), 0, 0, vec![], 4, 8), Err(Offence::Flow));
    }
}
