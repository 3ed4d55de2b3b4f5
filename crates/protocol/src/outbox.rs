//! Messages that leave as the windows have room, while the protocol goes on: two seats that post to each
//! other and then receive never wait for each other, however long the messages are.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::VecDeque;

use tacit_types::{Code, Fault, Millis, Seat, Step};

use crate::abort::Abort;
use crate::party::{Core, Party};

/// A message on its way out.
struct Post {
    step: Step,
    body: Vec<u8>,
    sequence: u32,
}

/// The posted messages of one receiver, in order.
#[derive(Default)]
pub(crate) struct Outbox(VecDeque<Post>);

impl Core {
    /// Sends what the windows have room for.
    pub(crate) fn pump(&mut self) {
        let chunk_bytes = self.setup.seating.chunk_bytes();
        for index in 0..self.outboxes.len() {
            let to = Seat(index as u16);
            while let Some(post) = self.outboxes.get_mut(index).and_then(|o| o.0.pop_front()) {
                let lost = self.gone.contains(&to);
                let start = post.sequence as usize * chunk_bytes;
                let end = post.body.len().min(start + chunk_bytes);
                let ended = start >= post.body.len() && post.sequence > 0;
                if ended || lost {
                    continue;
                }
                let Post { step, body, sequence } = post;
                let total = body.len() as u64;
                if !self.has_room(to, (end - start) as u64) {
                    self.put_back(index, Post { step, body, sequence });
                    break;
                }
                let whole = sequence == 0 && end == body.len();
                if whole {
                    self.send_chunk(to, step, 0, total, body);
                } else {
                    self.send_chunk(to, step, sequence, total, body[start..end].to_vec()); // proof: start < len.
                    self.put_back(index, Post { step, body, sequence: sequence + 1 });
                }
            }
        }
    }

    fn put_back(&mut self, index: usize, post: Post) {
        if let Some(outbox) = self.outboxes.get_mut(index) {
            outbox.0.push_front(post);
        }
    }
}

impl Party {
    /// Posts a whole message: it leaves in order of posting, as far as the receiver's window has room
    /// now, the rest while the protocol waits for anything. Who posts bounds what it posts: a protocol
    /// that posts for one round and then gathers that round holds one round. A protocol ends with
    /// [`Party::flush`].
    ///
    /// # Errors
    /// [`Abort::Local`] for a seat that does not exist.
    pub fn post(&mut self, to: Seat, step: Step, body: Vec<u8>) -> Result<(), Abort> {
        let mut core = self.core();
        let Some(outbox) = core.outboxes.get_mut(to.index()) else {
            return Err(Abort::Local(Fault::new(Code::JobInternal, format!("there is no {to}"))));
        };
        outbox.0.push_back(Post { step, body, sequence: 0 });
        core.pump();
        Ok(())
    }

    /// Messages to a seat that were posted and have not left, or not to their end: their bodies are held in memory. A
    /// protocol that posts for as long as it hears something flushes above a number of them, for who sends need not consume.
    pub fn posted(&self, to: Seat) -> usize {
        self.core().outboxes.get(to.index()).map_or(0, |outbox| outbox.0.len())
    }

    /// Waits until everything that was posted has left.
    ///
    /// # Errors
    /// [`Abort::Missing`] with the seats whose windows stayed full past `until`.
    pub async fn flush(&mut self, until: Millis) -> Result<(), Abort> {
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            let full = core.outboxes.iter().enumerate().filter_map(|(i, o)| Some((Seat(i as u16), o.0.front()?.step)));
            let full: Vec<(Seat, Step)> = full.collect();
            let Some((_, step)) = full.first().copied() else { return Poll::Ready(Ok(())) };
            if core.now >= until {
                return Poll::Ready(Err(Abort::Missing { step, seats: full.into_iter().map(|(s, _)| s).collect() }));
            }
            core.want_timer(until);
            Poll::Pending
        })
        .await
    }

    /// Forgets the messages of every step before this one: the protocol has read them. Later repeats of
    /// them are ignored, and they no longer count among the steps that a seat may hold.
    pub fn forget(&mut self, before: Step) {
        let mut core = self.core();
        for inbox in &mut core.inboxes {
            inbox.forget(before);
        }
        core.ready = core.ready.split_off(&before);
    }

    /// As [`Party::forget`], of one seat alone: for protocols in which each pair of seats numbers its own messages.
    pub fn forget_of(&mut self, seat: Seat, before: Step) {
        let mut core = self.core();
        if let Some(inbox) = core.inboxes.get_mut(seat.index()) {
            inbox.forget(before);
        }
        core.ready.range_mut(..before).for_each(|(_, seats)| {
            seats.remove(&seat);
        });
        core.ready.retain(|_, seats| !seats.is_empty());
    }
}
