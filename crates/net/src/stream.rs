//! The ends of one stream or request, as the daemons hold them.

use std::fmt;

use tacit_types::limits::CONTROL_FRAME_BYTES_MAX;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::error::{CloseReason, NetError};
use crate::frame::{FrameReader, FrameWriter, frame_time};
use crate::link::Busy;

/// The sending end of a data stream. Dropped without [`DataSender::finish`], it tells the peer that
/// the stream was given up.
pub struct DataSender {
    pub(crate) writer: FrameWriter,
    pub(crate) _busy: Busy,
}

impl DataSender {
    /// Sends one frame of 1 to [`DATA_FRAME_BYTES_MAX`](crate::limits::DATA_FRAME_BYTES_MAX) bytes.
    /// Returns when QUIC has taken it, which waits for the peer's window: this is the back-pressure,
    /// and it has no deadline of its own. A call that is dropped half-way spoils the stream.
    ///
    /// # Errors
    /// [`NetError::FrameLen`] for a frame out of bounds, [`NetError::Abandoned`] when the peer
    /// stopped reading, or how the connection ended.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), NetError> {
        self.writer.write(frame).await
    }

    /// As [`DataSender::send`], for a frame that is given away: it is not copied.
    ///
    /// # Errors
    /// As [`DataSender::send`].
    pub async fn send_owned(&mut self, frame: Vec<u8>) -> Result<(), NetError> {
        self.writer.write_owned(frame).await
    }

    /// Ends the stream. What was sent is on its way and arrives while the connection lives.
    ///
    /// # Errors
    /// As [`DataSender::send`].
    pub fn finish(mut self) -> Result<(), NetError> {
        self.writer.finish()
    }

    /// Ends the stream and waits until the peer's transport holds all of it, which takes at least a
    /// round trip and up to 25 ms more. For a sender that closes the connection next.
    ///
    /// # Errors
    /// As [`DataSender::send`].
    pub async fn finish_delivered(mut self) -> Result<(), NetError> {
        self.writer.finish()?;
        self.writer.acknowledged().await
    }
}

impl fmt::Debug for DataSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataSender")
    }
}

/// The receiving end of a data stream. Dropped before its end, it tells the sender to stop.
pub struct DataReceiver {
    pub(crate) reader: FrameReader,
    pub(crate) _busy: Busy,
}

impl DataReceiver {
    /// The next frame, of at most [`DATA_FRAME_BYTES_MAX`](crate::limits::DATA_FRAME_BYTES_MAX)
    /// bytes; `None` at the end that the sender marked. May be dropped and called again without loss.
    ///
    /// # Errors
    /// [`NetError::Abandoned`] when the sender gave up, [`NetError::Frame`] when it broke the rules
    /// (the connection is closed then), or how the connection ended.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, NetError> {
        Ok(self.reader.next().await?.map(|(bytes, _)| bytes))
    }

    /// Gives the stream up and tells the sender.
    pub fn stop(mut self) {
        self.reader.stop(CloseReason::GivenUp);
    }
}

impl fmt::Debug for DataReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataReceiver")
    }
}

/// The duty to answer one request. Dropped without an answer, it tells the peer that the request was
/// given up. While it lives, the request's bytes count against the peer's share of memory.
pub struct Responder {
    pub(crate) writer: FrameWriter,
    pub(crate) timing_frame: std::time::Duration,
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) _busy: Busy,
}

impl Responder {
    /// Answers with one frame of 1 to
    /// [`CONTROL_FRAME_BYTES_MAX`](tacit_types::limits::CONTROL_FRAME_BYTES_MAX) bytes. A peer that
    /// does not take its answer is not waited for longer than the frame's own deadline.
    ///
    /// # Errors
    /// [`NetError::FrameLen`] for an answer out of bounds, [`NetError::Abandoned`] when the peer no
    /// longer waits, [`NetError::Deadline`], or how the connection ended.
    pub async fn respond(mut self, answer: &[u8]) -> Result<(), NetError> {
        self.writer.set_cap(CONTROL_FRAME_BYTES_MAX);
        let time = frame_time(self.timing_frame, answer.len());
        let late = NetError::Deadline { doing: "sending an answer", waited_ms: time.as_millis() as u64 };
        timeout(time, self.writer.write(answer)).await.map_err(|_| late)??;
        self.writer.finish()
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

/// What a peer began.
#[derive(Debug)]
pub enum Incoming {
    /// A request, to be answered through the responder.
    Request {
        /// The request's one frame.
        bytes: Vec<u8>,
        /// The way back.
        responder: Responder,
    },
    /// A data stream.
    Stream {
        /// The stream's first frame, of at most
        /// [`STREAM_HEADER_BYTES_MAX`](crate::limits::STREAM_HEADER_BYTES_MAX) bytes.
        header: Vec<u8>,
        /// The frames after it.
        receiver: DataReceiver,
    },
}
