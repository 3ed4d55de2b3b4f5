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

/// Bytes after the body in a frame.
pub const HEADER_BYTES: usize = 32 + 4 + 4 + 2 + 2 + 4 + 8;
/// Bytes that a carrier may put after a frame without making its buffer longer.
const CARRIER_BYTES: usize = 8;

/// An empty buffer for a chunk of up to `bytes` bytes, with room for what turns it into a frame where it
/// lies.
pub fn chunk_buffer(bytes: usize) -> Vec<u8> {
    Vec::with_capacity(bytes + HEADER_BYTES + CARRIER_BYTES)
}

/// Bytes that the allocator is asked for once, below the most that glibc's thresholds follow (32 MiB).
const KEPT_BYTES: usize = 31 << 20;

/// Has the process keep the memory of freed chunks for the next ones; to be called once, when a program begins.
///
/// The allocator of glibc gives the memory of buffers as long as a chunk back to the system when they are freed, and asks
/// for it again page by page for the next: half as long again as adding a chunk to a sum takes. Its thresholds follow the
/// longest buffer that was mapped apart and freed, so one such buffer, of which no page is touched, is enough: freed
/// memory at the end of a heap is then kept up to twice its length. Other allocators are left as they are.
pub fn keep_chunk_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES)));
}

/// Bytes of the longest frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + CHUNK_BYTES_MAX;

/// A frame that is not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a frame of {0} bytes is not a message")]
pub struct MessageError(pub usize);

impl Message {
    /// The frame: the body, then job, attempt, step, from, to, sequence, total as little-endian integers.
    /// They stand last so that a body becomes a frame, and a frame a body, without being moved.
    pub fn into_frame(self) -> Vec<u8> {
        let a = &self.address;
        let mut frame = self.body;
        frame.extend_from_slice(a.job.as_bytes());
        frame.extend_from_slice(&a.attempt.0.to_le_bytes());
        frame.extend_from_slice(&a.step.0.to_le_bytes());
        frame.extend_from_slice(&a.from.0.to_le_bytes());
        frame.extend_from_slice(&a.to.0.to_le_bytes());
        frame.extend_from_slice(&a.sequence.to_le_bytes());
        frame.extend_from_slice(&self.total.to_le_bytes());
        frame
    }

    /// Parses a frame.
    ///
    /// # Errors
    /// [`MessageError`] when it is shorter than a header or longer than [`FRAME_BYTES_MAX`].
    pub fn from_frame(mut frame: Vec<u8>) -> Result<Self, MessageError> {
        let error = MessageError(frame.len());
        if frame.len() > FRAME_BYTES_MAX {
            return Err(error);
        }
        let header = *frame.last_chunk::<HEADER_BYTES>().ok_or(error)?;
        frame.truncate(frame.len() - HEADER_BYTES);
        let (job, rest) = header.split_first_chunk::<32>().ok_or(error)?;
        let (attempt, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (step, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (from, rest) = rest.split_first_chunk::<2>().ok_or(error)?;
        let (to, rest) = rest.split_first_chunk::<2>().ok_or(error)?;
        let (sequence, rest) = rest.split_first_chunk::<4>().ok_or(error)?;
        let (total, _) = rest.split_first_chunk::<8>().ok_or(error)?;
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
            body: frame,
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
        let frame = message.clone().into_frame();
        assert_eq!(frame.len(), HEADER_BYTES + 3);
        assert_eq!(frame[..3], [1, 2, 3]);
        assert_eq!(frame[3..35], [7; 32]);
        assert_eq!(Message::from_frame(frame.clone()).unwrap(), message);
        assert!(Message::from_frame(frame[..HEADER_BYTES - 1].to_vec()).is_err());
        assert!(Message::from_frame(vec![0; FRAME_BYTES_MAX]).is_ok());
        assert!(Message::from_frame(vec![0; FRAME_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_chunk_in_its_own_buffer_becomes_a_frame_where_it_lies() {
        let mut body = chunk_buffer(CHUNK_BYTES_MAX);
        body.resize(CHUNK_BYTES_MAX, 7);
        let before = body.as_ptr();
        let address = Address {
            job: JobId([7; 32]),
            attempt: Attempt(2),
            step: Step::new(3, 4),
            from: Seat(1),
            to: Seat(0),
            sequence: 0,
        };
        let mut frame = Message { address, total: CHUNK_BYTES_MAX as u64, body }.into_frame();
        frame.push(0);
        assert_eq!(frame.as_ptr(), before);
        frame.pop();
        assert_eq!(Message::from_frame(frame).unwrap().body.as_ptr(), before);
    }
}
