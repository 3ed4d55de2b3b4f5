//! What can go wrong between two daemons, as a closed enum, and the reasons with which a
//! connection is closed.

use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::hello::Versions;

/// A failure of the transport. Every variant has a stable code: see [`NetError::code`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetError {
    /// Nobody answered at the address.
    #[error("{address}: no answer within {waited_ms} ms")]
    Unreachable {
        /// Where the dial went.
        address: String,
        /// How long it waited.
        waited_ms: u64,
    },
    /// The host name has no usable address.
    #[error("{address}: {why}")]
    Unresolved {
        /// What was looked up.
        address: String,
        /// What the resolver said.
        why: String,
    },
    /// The peer has another key than the pinned one.
    #[error("expected the key {expected}, found {found}")]
    Fingerprint {
        /// The pinned key.
        expected: NodeId,
        /// The key in the peer's certificate.
        found: NodeId,
    },
    /// No protocol version is spoken by both.
    #[error("we speak versions {ours}, the peer speaks {theirs}")]
    Version {
        /// What this side speaks.
        ours: Versions,
        /// What the peer speaks.
        theirs: Versions,
    },
    /// The wall clocks differ by more than the limit.
    #[error("our clock reads {ours}, the peer's reads {theirs}")]
    ClockSkew {
        /// This side's wall clock.
        ours: UnixMillis,
        /// The peer's wall clock, as its hello gave it.
        theirs: UnixMillis,
    },
    /// The peer's gate said no.
    #[error("{what}")]
    Refused {
        /// The code that the peer gave.
        code: Code,
        /// What the peer said about it; control characters are taken out.
        what: String,
    },
    /// No secure connection could be agreed: certificate, key exchange, protocol name.
    #[error("{why}")]
    Handshake {
        /// The TLS or QUIC reason.
        why: String,
    },
    /// A peer broke the rules of framing.
    #[error("{0}")]
    Frame(FrameFault),
    /// The connection died: silence, reset, or an error of the peer's transport.
    #[error("connection lost: {why}")]
    Lost {
        /// The transport's reason.
        why: String,
    },
    /// One side closed the connection.
    #[error("connection closed by {}: {reason}", if *.by_peer { "the peer" } else { "this side" })]
    Closed {
        /// Whether it was the peer.
        by_peer: bool,
        /// Why.
        reason: CloseReason,
    },
    /// The peer gave up on this one stream or request; the connection lives.
    #[error("the peer gave the stream up: {reason}")]
    Abandoned {
        /// Why.
        reason: CloseReason,
    },
    /// Something did not happen in the time it had; the connection lives.
    #[error("{doing} took more than {waited_ms} ms")]
    Deadline {
        /// What was waited for.
        doing: &'static str,
        /// How long.
        waited_ms: u64,
    },
    /// The caller offered a frame that no peer would accept.
    #[error("a frame of {len} bytes, where 1 to {cap} are allowed")]
    FrameLen {
        /// Bytes offered.
        len: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// The mesh knows no address of this peer and has no connection to it.
    #[error("no address of {0} is known and it has not connected")]
    NoAddress(NodeId),
}

/// How a peer broke the rules of framing. Each ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameFault {
    /// A frame without content: it would cost nothing to send for ever.
    #[error("an empty frame")]
    Empty,
    /// A length over the cap.
    #[error("a frame of {len} bytes, over the cap of {cap}")]
    TooLong {
        /// Bytes declared.
        len: u64,
        /// Bytes allowed.
        cap: usize,
    },
    /// The stream ended inside a frame.
    #[error("a frame cut off after {got} of {len} bytes")]
    Cut {
        /// Bytes that came, the four of the length not counted.
        got: usize,
        /// Bytes declared; 0 when the length itself was cut.
        len: usize,
    },
    /// A frame came too slowly.
    #[error("a frame that stalled after {got} of {len} bytes")]
    Slow {
        /// Bytes that came.
        got: usize,
        /// Bytes declared; 0 when the length itself stalled.
        len: usize,
    },
    /// A frame that should have come did not.
    #[error("a stream that ended before its first frame")]
    Missing,
    /// The hello is not a hello.
    #[error("a malformed hello")]
    Hello,
}

/// Why a connection or a stream was closed. Travels as a QUIC application error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    /// Nothing more to say.
    #[error("done")]
    Done,
    /// The daemon stops.
    #[error("shutting down")]
    Shutdown,
    /// The other side broke the rules of framing.
    #[error("a frame broke the rules")]
    Frame,
    /// The hello was refused.
    #[error("refused")]
    Refused,
    /// Another connection of the same two nodes is in use.
    #[error("duplicate connection")]
    Duplicate,
    /// A newer connection of the same peer took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// A cap on connections, requests or lifetime.
    #[error("over a limit")]
    Limit,
    /// The side that held the stream dropped it before its end.
    #[error("given up")]
    GivenUp,
    /// A reason of a newer version.
    #[error("unknown reason")]
    Unknown,
}

impl CloseReason {
    const TABLE: [(u32, CloseReason); 8] = [
        (0, CloseReason::Done),
        (1, CloseReason::Shutdown),
        (2, CloseReason::Frame),
        (3, CloseReason::Refused),
        (4, CloseReason::Duplicate),
        (5, CloseReason::Replaced),
        (6, CloseReason::Limit),
        (7, CloseReason::GivenUp),
    ];

    pub(crate) fn code(self) -> VarInt {
        VarInt::from_u32(Self::TABLE.iter().find(|(_, r)| *r == self).map_or(u32::MAX, |(code, _)| *code))
    }

    pub(crate) fn from_code(code: VarInt) -> Self {
        let found = Self::TABLE.iter().find(|(c, _)| u64::from(*c) == code.into_inner());
        found.map_or(CloseReason::Unknown, |(_, reason)| *reason)
    }
}

impl NetError {
    /// The stable code under which people see the error.
    pub fn code(&self) -> Code {
        match self {
            NetError::Unreachable { .. } | NetError::Unresolved { .. } | NetError::NoAddress(_) => Code::NetUnreachable,
            NetError::Fingerprint { .. } => Code::NetFingerprint,
            NetError::Version { .. } => Code::NetVersion,
            NetError::ClockSkew { .. } => Code::ClockSkew,
            NetError::Refused { code, .. } => *code,
            NetError::Handshake { .. } => Code::NetHandshake,
            NetError::Frame(_) => Code::NetFrame,
            NetError::Lost { .. } | NetError::Closed { .. } | NetError::Abandoned { .. } => Code::NetLost,
            NetError::Deadline { .. } => Code::NetDeadline,
            NetError::FrameLen { .. } => Code::Internal,
        }
    }

    /// Whether the same call may well succeed a little later without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            NetError::Unreachable { .. }
                | NetError::Unresolved { .. }
                | NetError::Lost { .. }
                | NetError::Closed { .. }
                | NetError::Abandoned { .. }
                | NetError::Deadline { .. }
        )
    }
}

impl From<NetError> for Fault {
    fn from(error: NetError) -> Fault {
        Fault::new(error.code(), error.to_string())
    }
}

impl From<ConnectionError> for NetError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => match CloseReason::from_code(close.error_code) {
                CloseReason::Frame => NetError::Lost { why: "the peer says that we broke the rules of framing".into() },
                reason => NetError::Closed { by_peer: true, reason },
            },
            ConnectionError::LocallyClosed => NetError::Closed { by_peer: false, reason: CloseReason::Done },
            ConnectionError::TimedOut => NetError::Lost { why: "the peer fell silent".into() },
            other => NetError::Lost { why: plain(&other.to_string(), 200) },
        }
    }
}

impl From<ReadError> for NetError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => NetError::Abandoned { reason: CloseReason::from_code(code) },
            ReadError::ConnectionLost(error) => error.into(),
            other => NetError::Lost { why: other.to_string() },
        }
    }
}

impl From<WriteError> for NetError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => NetError::Abandoned { reason: CloseReason::from_code(code) },
            WriteError::ConnectionLost(error) => error.into(),
            other => NetError::Lost { why: other.to_string() },
        }
    }
}

/// A peer's text made fit for a log or a terminal: at most `max` bytes, no control characters.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reasons_survive_the_wire() {
        for (_, reason) in CloseReason::TABLE {
            assert_eq!(CloseReason::from_code(reason.code()), reason);
        }
        assert_eq!(CloseReason::from_code(VarInt::from_u32(4_000_000)), CloseReason::Unknown);
        assert_eq!(CloseReason::from_code(CloseReason::Unknown.code()), CloseReason::Unknown);
    }

    #[test]
    fn a_peers_text_loses_its_escapes_and_its_length() {
        assert_eq!(plain("\u{1b}[31mred\n\u{7}", 64), "[31mred");
        assert_eq!(plain(&"\u{9ed8}".repeat(10), 8), "\u{9ed8}\u{9ed8}");
    }
}
