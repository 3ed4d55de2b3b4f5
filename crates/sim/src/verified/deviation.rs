//! What one seat does in place of what it should.

use tacit_protocol::Message;

use super::job::Job;
use super::world::Ran;
use crate::dice::Dice;

/// A deviation of one seat.
#[derive(Clone, Debug)]
pub enum Deviation {
    /// It says something else in a message.
    Message {
        seat: usize,
        /// Which of its messages with a body, from 0.
        which: usize,
        /// Whether it says the same to all that it tells this step, and not to one alone.
        to_all: bool,
        change: Change,
    },
    /// It adds to what is handed to the recipient.
    Sum(Summand),
}

/// What is added to which word of the sum.
#[derive(Clone, Debug)]
pub struct Summand {
    pub seat: usize,
    pub at: usize,
    pub more: u64,
}

/// Something else.
#[derive(Clone, Debug)]
pub enum Change {
    Flip {
        at: usize,
        bit: u8,
    },
    /// Added to a word, as little-endian numbers.
    Add {
        at: usize,
        more: u64,
    },
    Other([u8; 32]),
    Zero,
    /// Two words change places.
    Swap {
        one: usize,
        other: usize,
    },
    Short,
    Nothing,
}

impl Deviation {
    /// Draws what a seat does, of what it sends in a run in which it does as it should.
    pub fn draw(dice: &mut Dice, job: &Job, seat: usize, honest: &Ran) -> Self {
        if dice.chance(250) {
            let more = *dice.pick(&[1, 1 << 20, 1 << 40, 1 << 63, u64::MAX]);
            return Self::Sum(Summand { seat, at: dice.below(1 << 16) as usize, more });
        }
        let sent = honest.sent.get(seat).copied().unwrap_or(0);
        let which = dice.below(sent as u64) as usize;
        let at = dice.below(1 << 16) as usize;
        let change = match dice.below(16) {
            0..4 => Change::Flip { at, bit: dice.below(8) as u8 },
            4..9 => Change::Add { at, more: *dice.pick(&[1, 1 << 13, 1 << 20, 1 << 32, 1 << 63, u64::MAX]) },
            9..11 => Change::Other(dice.bytes()),
            11 => Change::Zero,
            12..14 => Change::Swap { one: at, other: dice.below(1 << 16) as usize },
            14 => Change::Short,
            _ => Change::Nothing,
        };
        // With two that compute there is one other to tell.
        Self::Message { seat, which, to_all: job.seats() < 4 || dice.chance(600), change }
    }
}

impl Change {
    /// The message as it is said; none where nothing is.
    pub fn apply(&self, mut message: Message) -> Option<Message> {
        let body = &mut message.body;
        let words = body.len() / 8;
        match self {
            Change::Nothing => return None,
            Change::Flip { at, bit } => {
                let at = at % body.len().max(1);
                body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Change::Add { at, more } if words > 0 => {
                let at = at % words * 8;
                let word = u64::from_le_bytes(body[at..at + 8].try_into().unwrap_or_default());
                body[at..at + 8].copy_from_slice(&word.wrapping_add(*more).to_le_bytes());
            }
            Change::Swap { one, other } if words > 0 => {
                let (one, other) = (one % words * 8, other % words * 8);
                (0..8).for_each(|i| body.swap(one + i, other + i));
            }
            Change::Add { more, .. } => {
                body.iter_mut().take(1).for_each(|byte| *byte = byte.wrapping_add(*more as u8 | 1))
            }
            Change::Swap { .. } => body.reverse(),
            Change::Other(bytes) => body.iter_mut().zip(bytes.iter().cycle()).for_each(|(byte, other)| *byte = *other),
            Change::Zero => body.fill(0),
            Change::Short => {
                body.pop();
                message.total = message.total.saturating_sub(1);
            }
        }
        Some(message)
    }
}
