//! Messages: an address, the length of the whole, and one chunk of bytes.

use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Attempt, JobId, Seat, Step};

/// Where a chunk belongs. Arrival order means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The step.
    pub step: Step,
    /// The sender.
    pub from: Seat,
    /// The receiver.
    pub to: Seat,
    /// The chunk's number within the message, from 0.
    pub sequence: u32,
}

/// One chunk of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where it belongs.
    pub address: Address,
    /// Bytes of the whole message.
    pub total: u64,
    /// This chunk's bytes.
    pub body: Vec<u8>,
}

/// Bytes before the body in a frame.
pub const HEADER_BYTES: usize = 32 + 4 + 4 + 2 + 2 + 4 + 8;
/// Bytes of the longest frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + CHUNK_BYTES_MAX;

/// A frame that is not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {0} bytes is not a message")]
pub struct MessageError(pub usize);

impl Message {
    /// The frame: job, attempt, step, from, to, sequence, total as little-endian integers, then the body.
    pub fn to_frame(&self) -> Vec<u8> {
        let a = &self.address;
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.body.len());
        frame.extend_from_slice(a.job.as_bytes());
        frame.extend_from_slice(&a.attempt.0.to_le_bytes());
        frame.extend_from_slice(&a.step.0.to_le_bytes());
        frame.extend_from_slice(&a.from.0.to_le_bytes());
        frame.extend_from_slice(&a.to.0.to_le_bytes());
        frame.extend_from_slice(&a.sequence.to_le_bytes());
        frame.extend_from_slice(&self.total.to_le_bytes());
        frame.extend_from_slice(&self.body);
        frame
    }

    /// Parses a frame.
    ///
    /// # Errors
    /// [`MessageError`] when it is shorter than a header or longer than [`FRAME_BYTES_MAX`].
    pub fn from_frame(frame: &[u8]) -> Result<Self, MessageError> {
        let error = MessageError(frame.len());
        if frame.len() > FRAME_BYTES_MAX {
            return Err(error);
        }
        let (job, rest) = frame.split_first_chunk::<32>().ok_or(error)?;
        let (attempt, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (step, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (from, rest) = rest.split_first_chunk::<2>().ok_or(error)?;
        let (to, rest) = rest.split_first_chunk::<2>().ok_or(error)?;
        let (sequence, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (total, body) = rest.split_first_chunk::<8>().ok_or(error)?;
        Ok(Self {
            address: Address {
                job: JobId(*job),
                attempt: Attempt(u32::from_le_bytes(*attempt)),
                step: Step(u32::from_le_bytes(*step)),
                from: Seat(u16::from_le_bytes(*from)),
                to: Seat(u16::from_le_bytes(*to)),
                sequence: u32::from_le_bytes(*sequence),
            },
            total: u64::from_le_bytes(*total),
            body: body.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_short_or_long_ones_are_refused() {
        let message = Message {
            address: Address {
                job: JobId([7; 32]),
                attempt: Attempt(2),
                step: Step::new(3, 4),
                from: Seat(1),
                to: Seat(0),
                sequence: 9,
            },
            total: 1 << 40,
            body: vec![1, 2, 3],
        };
        let frame = message.to_frame();
        assert_eq!(frame.len(), HEADER_BYTES + 3);
        assert_eq!(Message::from_frame(&frame).unwrap(), message);
        assert!(Message::from_frame(&frame[..HEADER_BYTES - 1]).is_err());
        assert!(Message::from_frame(&vec![0; FRAME_BYTES_MAX]).is_ok());
        assert!(Message::from_frame(&vec![0; FRAME_BYTES_MAX + 1]).is_err());
    }
}
