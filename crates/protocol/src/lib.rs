//! What a protocol is.
//!
//! A protocol is an `async fn` over a [`Party`], read top to bottom like the paper, and run as a
//! pure state machine by a [`Machine`]: `step(now, event)` polls the future once and gives the
//! effects. There is no executor, clock, file or socket inside, so the same code runs on a node, in
//! the deterministic simulator, and in a test where one seat cheats.

#![forbid(unsafe_code)]

pub mod abort;
mod ahead;
pub mod disclosure;
mod fan;
mod host;
pub mod inbox;
pub mod machine;
pub mod message;
mod outbox;
pub mod party;
pub mod seating;
mod widen;

pub use abort::{Abort, Blame, Offence, Offender};
pub use ahead::HashAhead;
pub use disclosure::{Audience, Concealed, Disclosure};
pub use host::{Next, Wanted};
pub use machine::{Effect, Event, Machine, Setup, pieces_of};
pub use message::{Address, Message, MessageError, chunk_buffer, keep_chunk_memory};
pub use party::{BLAMES_MAX, Chunk, Gathered, Party, TRANSCRIPTS_MAX, Usage};
pub use seating::{Member, Seating};
