//! What everything on one connection shares: the QUIC connection, why it ended, its memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use quinn::VarInt;
use tokio::sync::Semaphore;

use crate::config::{Profile, Timing};
use crate::error::{CloseReason, FrameFault, NetError};
use crate::limits::{DATA_BUDGET_BYTES, DATA_STREAM_CREDIT, REQUEST_BUDGET_BYTES, REQUEST_STREAM_CREDIT};

pub(crate) struct Link {
    pub quic: quinn::Connection,
    pub timing: Timing,
    /// Bytes of the peer's requests, from their length until they are answered.
    pub requests: Arc<Semaphore>,
    /// Bytes of answers to our requests, while they arrive.
    pub answers: Arc<Semaphore>,
    /// Bytes of data frames, while they arrive.
    pub data: Arc<Semaphore>,
    cause: OnceLock<NetError>,
    busy: AtomicUsize,
}

impl Link {
    pub fn new(quic: quinn::Connection, timing: Timing) -> Arc<Self> {
        Arc::new(Self {
            quic,
            timing,
            requests: Arc::new(Semaphore::new(REQUEST_BUDGET_BYTES)),
            answers: Arc::new(Semaphore::new(REQUEST_BUDGET_BYTES)),
            data: Arc::new(Semaphore::new(DATA_BUDGET_BYTES)),
            cause: OnceLock::new(),
            busy: AtomicUsize::new(0),
        })
    }

    /// Gives the peer the limits of a member, in place of those of a stranger.
    pub fn widen(&self, profile: Profile) {
        self.quic.set_max_concurrent_bi_streams(VarInt::from_u32(REQUEST_STREAM_CREDIT));
        self.quic.set_max_concurrent_uni_streams(VarInt::from_u32(DATA_STREAM_CREDIT));
        self.quic.set_receive_window(VarInt::from_u32(profile.receive_window()));
    }

    /// Closes the connection; the first reason stands.
    pub fn close(&self, reason: CloseReason) {
        self.close_because(reason, NetError::Closed { by_peer: false, reason });
    }

    /// Closes the connection because of what the peer sent.
    pub fn blame(&self, fault: FrameFault) -> NetError {
        let cause = NetError::Frame(fault);
        self.close_because(CloseReason::Frame, cause.clone());
        cause
    }

    fn close_because(&self, reason: CloseReason, cause: NetError) {
        if self.quic.close_reason().is_none() {
            let _ = self.cause.set(cause);
            self.quic.close(reason.code(), reason.to_string().as_bytes());
        }
    }

    /// The error with this side's own reason put in, where this side ended the connection.
    pub fn explain(&self, error: impl Into<NetError>) -> NetError {
        match (error.into(), self.cause.get()) {
            (NetError::Closed { by_peer: false, .. }, Some(cause)) => cause.clone(),
            (error, _) => error,
        }
    }

    /// Why the connection ended, once it has.
    pub fn end(&self) -> Option<NetError> {
        self.quic.close_reason().map(|e| self.explain(e))
    }

    /// Counts one request or stream as under way while the guard lives.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Requests and streams under way.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }
}

/// One request or stream under way.
pub(crate) struct Busy(Arc<Link>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}
