//! What both parties of a run agree on before anything else is sent.

use tacit_crypto::Transcript;
use tacit_protocol::{Abort, Disclosure, Party};
use tacit_types::{Code, Fault, Hash, Millis, Seat, Step};

/// Distinct keys of one party.
pub const ITEMS_MAX: u64 = 1 << 29;
/// Points of a batch, at the least.
pub const BATCH_ITEMS_MIN: u32 = 1 << 8;
/// Points of a batch, at the most.
pub const BATCH_ITEMS_MAX: u32 = 1 << 16;
/// Batches of either list for which a message may take the time of one step more, where whole lists are worked on before it.
pub const BATCHES_A_STEP: u64 = 64;
/// Batches between two records of the state, at the most.
pub const CHECKPOINT_BATCHES_MAX: u32 = 64;

/// How the two lists are brought together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Each key is masked by both parties. Either may learn.
    DoubleMask,
    /// One party evaluates a keyed function on the other's blinded keys. With [`Level::Both`] each does so on one half of
    /// the key space.
    Oprf,
}

/// What is revealed, beside the number of distinct keys on either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// L0: the receiver learns which of its keys the sender has.
    Receiver,
    /// L1: both learn which keys both have.
    Both,
    /// L2: the receiver, or both, learn how many keys both have.
    Cardinality {
        /// Whether the sender learns it too.
        both: bool,
    },
    /// L3: both get pseudorandom ids for the union of the keys and learn how many both have, but not which.
    Spine,
}

/// The terms of one run between two parties.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What is revealed.
    pub level: Level,
    /// By which means. [`Mode::Oprf`] has no form for [`Level::Cardinality`] and [`Level::Spine`].
    pub mode: Mode,
    /// The job and what the run is for in it. The same in every attempt that may continue an earlier one, and different
    /// in any other run.
    pub context: Hash,
    /// The party that learns at [`Level::Receiver`].
    pub receiver: Seat,
    /// The other party.
    pub sender: Seat,
    /// Under which the result is opened. It counts the answers that the level gives: one for each of the receiver's keys at
    /// L0, for each of both lists' at L1 and L3, one at L2.
    pub disclosure: Disclosure,
    /// A number to be booked in place of that, where it is the larger one: both parties' is the same, and what is attested of
    /// the opening then says less of the lists. Not among what both compare here.
    pub books: Option<u64>,
    /// Distinct keys that either party may bring, at the most [`ITEMS_MAX`].
    pub items_max: u64,
    /// Distinct keys that either party must bring: with few keys a party would ask about single ones.
    pub items_min: u64,
    /// Distinct keys that the peer has announced before the run, where it has: it may bring no other number. Each party's
    /// own matter, and not among what both compare.
    pub announced: Option<u64>,
    /// Points of a batch.
    pub batch: u32,
    /// Batches between two records of the state, 0 for none.
    pub checkpoint: u32,
    /// Steps are numbered from round `step_base` on, upwards and past it.
    pub step_base: u16,
    /// Milliseconds that the peer may take to begin.
    pub begin_ms: u64,
    /// Milliseconds that a message may take after that. One before which its sender masks or sorts whole lists may take as
    /// much more for each [`BATCHES_A_STEP`] batches of both.
    pub step_ms: u64,
    /// What this party says in place of the truth.
    #[cfg(test)]
    pub(crate) lie: Option<fn(crate::exchange::Said, &mut Vec<u8>)>,
    /// Of which keys this party asks for ids at L3, in place of those that it lacks.
    #[cfg(test)]
    pub(crate) asks: Option<crate::spine::Asks>,
}

/// The time of a step, and as much more for each [`BATCHES_A_STEP`] batches.
pub fn patience(step_ms: u64, batches: u64) -> u64 {
    step_ms.saturating_mul(1 + batches / BATCHES_A_STEP)
}

/// One of the two parties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Receiver,
    Sender,
}

impl Role {
    /// The peer's.
    pub(crate) fn other(self) -> Self {
        match self {
            Role::Receiver => Role::Sender,
            Role::Sender => Role::Receiver,
        }
    }
}

fn wrong(what: impl Into<String>) -> Abort {
    Abort::Local(Fault::new(Code::ArgsInvalid, what))
}

impl Terms {
    /// The hash that both parties compare.
    pub fn hash(&self) -> Hash {
        let (level, both) = match self.level {
            Level::Receiver => (0, false),
            Level::Both => (1, false),
            Level::Cardinality { both } => (2, both),
            Level::Spine => (3, false),
        };
        Transcript::new("tacit-psi/1/terms")
            .fixed(&self.context.0)
            .u64(level)
            .u64(both.into())
            .u64(match (self.mode, self.level) {
                // Both compare what they have found, or answers are proven; 0 was without that.
                (Mode::DoubleMask, Level::Both) => 2,
                (Mode::DoubleMask, Level::Receiver | Level::Spine) => 3,
                (Mode::DoubleMask, Level::Cardinality { .. }) => 0,
                (Mode::Oprf, _) => 1,
            })
            .u64(self.receiver.0.into())
            .u64(self.sender.0.into())
            .bytes(self.disclosure.what.as_bytes())
            .u64(self.disclosure.to as u64)
            .u64(self.disclosure.cells_max)
            .u64(self.items_max)
            .u64(self.items_min)
            .u64(self.batch.into())
            .u64(self.checkpoint.into())
            .u64(self.step_base.into())
            .finish()
    }

    /// Steps that a run takes at the most, from the first of `step_base` on.
    pub fn steps(&self) -> u64 {
        let batches = self.items_max.div_ceil(u64::from(self.batch.max(1)));
        // Two lanes of points and answers, two of lists, and what stands before and after.
        6 * batches + 64
    }

    /// This party's role, or a fault for terms that cannot be.
    pub(crate) fn check(&self, party: &Party) -> Result<Role, Abort> {
        if self.mode == Mode::Oprf && !matches!(self.level, Level::Receiver | Level::Both) {
            return Err(wrong("a keyed function can only reveal the set; counts and spines are of double masks"));
        }
        let seated = |s: Seat| s.index() < party.seating().len();
        if self.receiver == self.sender || !seated(self.receiver) || !seated(self.sender) {
            return Err(wrong("receiver and sender are not two seats of the job"));
        }
        if self.items_max == 0 || self.items_max > ITEMS_MAX || self.items_min > self.items_max {
            return Err(wrong(format!(
                "keys of a party: {} to {}, at most {ITEMS_MAX}",
                self.items_min, self.items_max
            )));
        }
        if !(BATCH_ITEMS_MIN..=BATCH_ITEMS_MAX).contains(&self.batch) || self.checkpoint > CHECKPOINT_BATCHES_MAX {
            return Err(wrong(format!("batches of {} with a record every {}", self.batch, self.checkpoint)));
        }
        if (u64::from(self.step_base) << 16) + self.steps() >= 1 << 32 {
            return Err(wrong("the steps do not fit after the first"));
        }
        match party.seat() {
            seat if seat == self.receiver => Ok(Role::Receiver),
            seat if seat == self.sender => Ok(Role::Sender),
            _ => Err(wrong("this seat is neither receiver nor sender")),
        }
    }

    /// Step number `i` of the run.
    pub(crate) fn step(&self, i: u64) -> Step {
        Step((u32::from(self.step_base) << 16) + i as u32) // proof: `check` has found that all steps fit.
    }

    pub(crate) fn until(&self, party: &Party) -> Millis {
        party.now().plus(self.step_ms)
    }

    /// Until when a message may take before which whole lists of these sizes are worked on.
    pub(crate) fn until_of_lists(&self, party: &Party, items: u64) -> Millis {
        party.now().plus(patience(self.step_ms, self.batches(items)))
    }

    /// Batches of a list.
    pub(crate) fn batches(&self, items: u64) -> u64 {
        items.div_ceil(u64::from(self.batch.max(1)))
    }

    /// Items of batch `k` of a list: number of the first and how many.
    pub(crate) fn batch_of(&self, items: u64, k: u64) -> (u64, usize) {
        let first = (k * u64::from(self.batch)).min(items);
        (first, (items - first).min(u64::from(self.batch)) as usize)
    }
}
