//! One body for each of many seats, side by side, with a bound on what is under way in all.

use core::future::poll_fn;
use core::task::Poll;
use std::collections::BTreeMap;
use std::sync::Arc;

use tacit_types::{Millis, Seat, Step};

use crate::abort::Abort;
use crate::party::{Core, Party};

/// A body on its way out.
#[derive(Default)]
struct Leaving {
    body: Option<Arc<[u8]>>,
    /// The chunk that is next.
    sequence: u32,
}

impl Core {
    /// Bytes that seats which are still there have not consumed.
    fn under_way(&self) -> u64 {
        let each = self.sent.iter().zip(&self.credited).enumerate();
        each.filter(|(i, _)| !self.gone.contains(&Seat(*i as u16)))
            .map(|(_, (sent, credited))| sent.saturating_sub(*credited))
            .sum()
    }
}

impl Party {
    /// Sends to each of several seats its body, side by side: each gets its next chunk as soon as its
    /// own window has room. Gives the seats whose window stayed full past `until`; a lost seat counts
    /// as served.
    ///
    /// # Errors
    /// The abort that stopped the machine.
    pub async fn fan_out(
        &mut self,
        step: Step,
        messages: &BTreeMap<Seat, Arc<[u8]>>,
        until: Millis,
    ) -> Result<Vec<Seat>, Abort> {
        let body = |seat| messages.get(&seat).cloned().unwrap_or_default();
        self.fan_out_with(step, messages.keys().copied(), body, until).await
    }

    /// As [`Party::fan_out`], of bodies that are made when their first chunk leaves and given up after their last.
    /// Among many seats no more than [`Seating::fan_out_bytes`] are under way at a time, so that a seat's body waits
    /// unmade until others have theirs. Seats that read slowly keep the rest waiting for an eighth of the time until
    /// `until`, no longer: twice as much may then be under way, and so on.
    ///
    /// # Errors
    /// The abort that stopped the machine.
    pub async fn fan_out_with(
        &mut self,
        step: Step,
        to: impl IntoIterator<Item = Seat>,
        mut body: impl FnMut(Seat) -> Arc<[u8]>,
        until: Millis,
    ) -> Result<Vec<Seat>, Abort> {
        let (chunk_bytes, most) = (self.seating().chunk_bytes(), self.seating().fan_out_bytes());
        let (me, start) = (self.seat(), self.now());
        let mut open: BTreeMap<Seat, Leaving> =
            to.into_iter().filter(|s| *s != me).map(|s| (s, Leaving::default())).collect();
        poll_fn(|_| {
            let mut core = self.core();
            if let Some(abort) = &core.stopped {
                return Poll::Ready(Err(abort.clone()));
            }
            let eighths = eighths(start, core.now, until);
            let most = most << eighths;
            let mut under_way = core.under_way();
            let mut full = false;
            open.retain(|seat, Leaving { body: made, sequence }| {
                loop {
                    if core.gone.contains(seat) {
                        return false;
                    }
                    if under_way >= most {
                        full = true;
                        return true;
                    }
                    let whole = made.get_or_insert_with(|| body(*seat));
                    let start = *sequence as usize * chunk_bytes;
                    if start >= whole.len() && *sequence > 0 {
                        return false;
                    }
                    let chunk = &whole[start..whole.len().min(start + chunk_bytes)]; // proof: start <= len unless ended.
                    let length = chunk.len() as u64;
                    if !core.has_room(*seat, length) {
                        return true;
                    }
                    core.send_chunk(*seat, step, *sequence, whole.len() as u64, chunk.to_vec());
                    under_way += length;
                    *sequence += 1;
                    if *sequence as usize * chunk_bytes >= whole.len() {
                        return false;
                    }
                }
            });
            if open.is_empty() || core.now >= until {
                return Poll::Ready(Ok(open.keys().copied().collect()));
            }
            core.want_timer(if full { later(start, eighths + 1, until) } else { until });
            Poll::Pending
        })
        .await
    }
}

/// Whole eighths of the time from `start` to `until` that have gone by.
fn eighths(start: Millis, now: Millis, until: Millis) -> u32 {
    let (gone, whole) = (now.0.saturating_sub(start.0), until.0.saturating_sub(start.0).max(1));
    (gone.saturating_mul(8) / whole).min(8) as u32
}

/// When so many eighths have gone by.
fn later(start: Millis, eighths: u32, until: Millis) -> Millis {
    let whole = until.0.saturating_sub(start.0);
    Millis(start.0 + whole.saturating_mul(u64::from(eighths)).div_ceil(8)).min(until)
}
