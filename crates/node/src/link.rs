//! Frames between two seats of an attempt: one stream in each direction.

use serde::{Deserialize, Serialize};
use tacit_protocol::Message;
use tacit_receipts::link::LINK_SEAL_BYTES_MAX;
use tacit_types::{Attempt, JobId};

/// The first frame of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamHeader {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A frame after the header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkFrame {
    /// A chunk of a protocol message.
    Message(Message),
    /// Bytes that the sender of this frame has consumed of the other's, in all.
    Credit(u64),
    /// The sender's last message has gone before this.
    End,
    /// What the sender has sent and received, signed: it has heard the other's end.
    Seal(Vec<u8>),
}

const TAG_MESSAGE: u8 = 0;
const TAG_CREDIT: u8 = 1;
const TAG_END: u8 = 2;
const TAG_SEAL: u8 = 3;

/// Whether a frame carries a chunk of a message: such frames alone are what a link's seals are over.
pub fn is_message(frame: &[u8]) -> bool {
    frame.last() == Some(&TAG_MESSAGE)
}

impl LinkFrame {
    /// The frame's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            LinkFrame::Message(message) => {
                let mut frame = message.into_frame();
                frame.push(TAG_MESSAGE);
                frame
            }
            LinkFrame::Credit(consumed) => {
                let mut frame = consumed.to_le_bytes().to_vec();
                frame.push(TAG_CREDIT);
                frame
            }
            LinkFrame::End => vec![TAG_END],
            LinkFrame::Seal(mut frame) => {
                frame.push(TAG_SEAL);
                frame
            }
        }
    }

    /// Parses a frame; `None` for anything else.
    pub fn from_bytes(mut body: Vec<u8>) -> Option<Self> {
        match body.pop()? {
            TAG_MESSAGE => Message::from_frame(body).ok().map(LinkFrame::Message),
            TAG_CREDIT => Some(LinkFrame::Credit(u64::from_le_bytes(body.as_slice().try_into().ok()?))),
            TAG_END => body.is_empty().then_some(LinkFrame::End),
            TAG_SEAL => (body.len() <= LINK_SEAL_BYTES_MAX).then_some(LinkFrame::Seal(body)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_others_are_refused() {
        let credit = LinkFrame::Credit(1 << 40);
        assert_eq!(LinkFrame::from_bytes(credit.clone().into_bytes()), Some(credit));
        for bad in
            [&[][..], &[9], &[0; 4], &[0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0; 20], &[0, 2]]
        {
            assert_eq!(LinkFrame::from_bytes(bad.to_vec()), None, "{bad:?}");
        }
        let seal = |bytes| LinkFrame::Seal(vec![7; bytes]);
        for frame in [LinkFrame::End, seal(0), seal(LINK_SEAL_BYTES_MAX)] {
            assert_eq!(LinkFrame::from_bytes(frame.clone().into_bytes()), Some(frame));
        }
        assert_eq!(LinkFrame::from_bytes(seal(LINK_SEAL_BYTES_MAX + 1).into_bytes()), None);
    }
}
