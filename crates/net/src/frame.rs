//! Frames on a stream: four bytes of length, little-endian, then that many raw bytes.
//!
//! The length is compared with the stream's cap and taken out of the connection's budget before anything
//! is allocated. The buffer is one step until a step has arrived, then as long as was declared.
//! A frame that has begun must keep a pace. A peer that breaks a rule loses the connection.

use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{CloseReason, FrameFault, NetError};
use crate::limits::FRAME_BYTES_PER_SECOND_MIN;
use crate::link::Link;

/// Bytes allocated before any have arrived.
const STEP_BYTES: usize = 64 << 10;

/// Time for a frame of `len` bytes.
pub(crate) fn frame_time(base: Duration, len: usize) -> Duration {
    base + Duration::from_millis((len as u64).saturating_mul(1000) / FRAME_BYTES_PER_SECOND_MIN as u64)
}

/// The writing half of a stream. Dropped before [`FrameWriter::finish`], it resets the stream, so
/// that the peer sees a sender that gave up and not an end.
pub(crate) struct FrameWriter {
    stream: SendStream,
    link: Arc<Link>,
    cap: usize,
    /// A write was cancelled inside a frame: nothing can follow.
    torn: bool,
    finished: bool,
}

impl FrameWriter {
    /// A writer of frames of at most `cap` bytes.
    pub fn new(stream: SendStream, link: Arc<Link>, cap: usize) -> Self {
        Self { stream, link, cap, torn: false, finished: false }
    }

    /// The same stream with another cap.
    pub fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// Writes one frame. Waits for the peer's window. Dropped half-way, it spoils the stream.
    pub async fn write(&mut self, frame: &[u8]) -> Result<(), NetError> {
        self.begin(frame.len()).await?;
        self.stream.write_all(frame).await.map_err(|e| self.link.explain(e))?;
        self.torn = false;
        Ok(())
    }

    /// As [`FrameWriter::write`], for a buffer that is given away: it is kept until the peer has
    /// acknowledged it, instead of being copied.
    pub async fn write_owned(&mut self, frame: Vec<u8>) -> Result<(), NetError> {
        self.begin(frame.len()).await?;
        self.stream.write_chunk(frame.into()).await.map_err(|e| self.link.explain(e))?;
        self.torn = false;
        Ok(())
    }

    /// Writes the length of a frame that follows at once.
    async fn begin(&mut self, frame: usize) -> Result<(), NetError> {
        let len = match u32::try_from(frame) {
            Ok(len) if len > 0 && frame <= self.cap => len,
            _ => return Err(NetError::FrameLen { len: frame, cap: self.cap }),
        };
        if self.torn {
            return Err(NetError::Abandoned { reason: CloseReason::GivenUp });
        }
        self.torn = true;
        self.stream.write_all(&len.to_le_bytes()).await.map_err(|e| self.link.explain(e))
    }

    /// Marks the end of the stream.
    pub fn finish(&mut self) -> Result<(), NetError> {
        if self.torn {
            return Err(NetError::Abandoned { reason: CloseReason::GivenUp });
        }
        self.finished = true;
        self.stream.finish().map_err(|e| self.link.explain(quinn::WriteError::from(e)))
    }

    /// Waits until the peer's transport has acknowledged all that was written.
    pub async fn acknowledged(&mut self) -> Result<(), NetError> {
        match self.stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(NetError::Abandoned { reason: CloseReason::from_code(code) }),
            Err(e) => Err(self.link.explain(quinn::WriteError::from(e))),
        }
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.stream.reset(CloseReason::GivenUp.code());
        }
    }
}

/// A frame, and the share of the connection's memory that it holds while the permit lives.
pub(crate) type Frame = (Vec<u8>, OwnedSemaphorePermit);

/// Reads frames off one stream. [`FrameReader::next`] may be dropped and called again at any point.
pub(crate) struct FrameReader {
    stream: RecvStream,
    link: Arc<Link>,
    budget: Arc<Semaphore>,
    cap: usize,
    head: [u8; 4],
    head_len: usize,
    body: Option<Body>,
    deadline: Option<Instant>,
    reserve_time: Option<Duration>,
}

struct Body {
    len: usize,
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl FrameReader {
    /// A reader of frames of at most `cap` bytes, which share `budget` with the other readers of
    /// the connection. The budget must hold at least one frame of `cap` bytes.
    pub fn new(stream: RecvStream, link: Arc<Link>, budget: Arc<Semaphore>, cap: usize) -> Self {
        Self { stream, link, budget, cap, head: [0; 4], head_len: 0, body: None, deadline: None, reserve_time: None }
    }

    /// The same stream with another cap and budget. Only between frames.
    pub fn reset(self, budget: Arc<Semaphore>, cap: usize) -> Self {
        Self { budget, cap, ..self }
    }

    /// Begins the clock before the first byte, for a frame that must come.
    pub fn expect(mut self) -> Self {
        self.deadline = Some(Instant::now() + self.link.timing.frame);
        self
    }

    /// Gives the stream up when our own memory stays short for `time`.
    pub fn shed_after(mut self, time: Duration) -> Self {
        self.reserve_time = Some(time);
        self
    }

    /// The next frame; `None` when the stream has ended between two frames.
    pub async fn next(&mut self) -> Result<Option<Frame>, NetError> {
        let len = match &self.body {
            Some(body) => body.len,
            None => match self.read_head().await? {
                Some(len) => len,
                None => return Ok(None),
            },
        };
        self.read_body(len).await.map(Some)
    }

    /// Gives the stream up; the peer's writes fail with the reason.
    pub fn stop(&mut self, reason: CloseReason) {
        let _ = self.stream.stop(reason.code());
    }

    async fn read_head(&mut self) -> Result<Option<usize>, NetError> {
        while self.head_len < self.head.len() {
            let rest = self.head.get_mut(self.head_len..).unwrap_or_default();
            match before(self.deadline, self.stream.read(rest)).await {
                None => return Err(self.blame(FrameFault::Slow { got: 0, len: 0 })),
                Some(read) => match read.map_err(|e| self.link.explain(e))? {
                    None if self.head_len == 0 => return Ok(None),
                    None => return Err(self.blame(FrameFault::Cut { got: 0, len: 0 })),
                    Some(n) => self.head_len += n,
                },
            }
            self.deadline.get_or_insert_with(|| Instant::now() + self.link.timing.frame);
        }
        let declared = u32::from_le_bytes(self.head);
        let len = declared as usize;
        if len == 0 {
            return Err(self.blame(FrameFault::Empty));
        }
        if len > self.cap {
            return Err(self.blame(FrameFault::TooLong { len: u64::from(declared), cap: self.cap }));
        }
        self.body = Some(Body { len, bytes: Vec::new(), permit: None });
        self.deadline = None;
        Ok(Some(len))
    }

    async fn read_body(&mut self, len: usize) -> Result<Frame, NetError> {
        let deadline = self.reserve(len).await?;
        loop {
            let Some(body) = &mut self.body else { return Err(NetError::Frame(FrameFault::Missing)) };
            let missing = len - body.bytes.len();
            if missing == 0 {
                break;
            }
            let got = body.bytes.len();
            match before(Some(deadline), self.stream.read_chunk(missing, true)).await {
                None => return Err(self.blame(FrameFault::Slow { got, len })),
                Some(chunk) => match chunk.map_err(|e| self.link.explain(e))? {
                    None => return Err(self.blame(FrameFault::Cut { got, len })),
                    Some(chunk) => append(&mut body.bytes, &chunk.bytes, len),
                },
            }
        }
        self.head_len = 0;
        self.deadline = None;
        match self.body.take() {
            Some(Body { bytes, permit: Some(permit), .. }) => Ok((bytes, permit)),
            _ => Err(NetError::Frame(FrameFault::Missing)),
        }
    }

    /// Waits for a share of the connection's memory, then starts the clock of the body: waiting for
    /// our own memory is not the peer's fault. The wait ends, because every frame that holds a
    /// share is either on the clock or in the hands of the daemon.
    async fn reserve(&mut self, len: usize) -> Result<Instant, NetError> {
        let held = self.body.as_ref().is_some_and(|body| body.permit.is_some());
        if !held {
            let share = u32::try_from(len).unwrap_or(u32::MAX);
            let permit = self.budget.clone().acquire_many_owned(share);
            let permit = match self.reserve_time {
                Some(time) => timeout(time, permit).await.ok(),
                None => Some(permit.await),
            };
            let Some(Ok(permit)) = permit else {
                self.stop(CloseReason::Limit);
                return Err(NetError::Abandoned { reason: CloseReason::Limit });
            };
            if let Some(body) = &mut self.body {
                body.permit = Some(permit);
            }
        }
        let time = frame_time(self.link.timing.frame, len);
        Ok(*self.deadline.get_or_insert_with(|| Instant::now() + time))
    }

    fn blame(&self, fault: FrameFault) -> NetError {
        self.link.blame(fault)
    }
}

/// Appends to a buffer of [`STEP_BYTES`] at first, and of the whole `len` once that is not enough: the
/// connection's budget has been charged with all of it, and growing by and by would copy it again.
fn append(bytes: &mut Vec<u8>, chunk: &[u8], len: usize) {
    let needed = bytes.len() + chunk.len();
    if needed > bytes.capacity() {
        let target = if needed <= STEP_BYTES { len.min(STEP_BYTES) } else { len };
        bytes.reserve_exact(target - bytes.len());
    }
    bytes.extend_from_slice(chunk);
}

/// The future's output, or `None` when the deadline passes first.
async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_a_step_until_a_step_has_arrived_and_never_longer_than_the_frame() {
        for len in [1_000_003, STEP_BYTES + 1, STEP_BYTES, 9] {
            let mut bytes = Vec::new();
            while bytes.len() < len {
                let chunk = vec![1u8; 1200.min(len - bytes.len())];
                append(&mut bytes, &chunk, len);
                let most = if bytes.len() <= STEP_BYTES { len.min(STEP_BYTES) } else { len };
                assert_eq!(bytes.capacity(), most);
            }
        }
    }

    #[test]
    fn long_frames_get_more_time() {
        assert_eq!(frame_time(Duration::from_secs(20), 0), Duration::from_secs(20));
        assert_eq!(frame_time(Duration::from_secs(20), 1 << 20), Duration::from_secs(20 + 64));
    }
}
