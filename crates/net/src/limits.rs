//! Every cap and every wait of the transport, in one place.
//!
//! The receiving side of a connection is sized by one rule: **data streams that nobody reads can
//! never fill the connection's window**. With at most [`DATA_STREAM_CREDIT`] data streams of one
//! stream window each, a quarter of the connection window always remains for requests and for the
//! stream that is being read, so a stalled reader delays itself alone. A quarter, because quinn
//! gives credit back in steps of an eighth: up to that much may be free and not yet announced. A
//! compile-time assertion beside [`Profile`](crate::Profile) holds the rule.

use std::time::Duration;

use tacit_types::limits::CHUNK_BYTES_MAX;

/// Bytes of the header frame that opens a data stream.
pub const STREAM_HEADER_BYTES_MAX: usize = 4096;
/// Bytes of one frame of a data stream: a whole chunk and the header its sender puts before it.
pub const DATA_FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX + STREAM_HEADER_BYTES_MAX;
/// Bytes of a hello frame, in either direction.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Bytes of the software version text in a hello.
pub const SOFTWARE_BYTES_MAX: usize = 64;
/// Bytes of the explanation that comes with a refusal.
pub const REFUSAL_BYTES_MAX: usize = 256;
/// Bytes of a peer's certificate. An Ed25519 certificate without extensions has about 230.
pub const CERTIFICATE_BYTES_MAX: usize = 2048;

/// Bytes of the largest datagram that a path is searched for. Ten of them are the most that are handed
/// to the system at once, and what is handed over has 16 bits of length: more would be refused whole.
/// Jumbo frames and the loopback carry it; elsewhere the search ends at what the path carries.
pub const UDP_PAYLOAD_MAX: u16 = 6_500;
const _: () = assert!(UDP_PAYLOAD_MAX as usize * 10 <= 65_507);
/// Bytes in flight before the path is known: room for a probe of the largest datagram, a whole datagram
/// and a handshake, so that the notice of a close never waits behind a probe (a closed connection takes
/// no acknowledgement in, and quinn holds the notice back while the window is full).
pub const INITIAL_WINDOW_BYTES: u64 = 32 << 10;
const _: () = assert!(INITIAL_WINDOW_BYTES >= 4 * UDP_PAYLOAD_MAX as u64);
/// Bytes that the system is asked to hold for one port in each direction. It may give less.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Requests for which a peer is given credit on one connection.
pub const REQUEST_STREAM_CREDIT: u32 = 32;
/// Requests that one connection surely carries at once.
pub const REQUESTS_MAX: u32 = usable(REQUEST_STREAM_CREDIT);
/// Data streams for which a peer is given credit on one connection.
pub const DATA_STREAM_CREDIT: u32 = 24;
/// Data streams that one connection surely carries at once in one direction. A daemon that runs more
/// jobs than this at once with one peer makes them wait for each other.
pub const DATA_STREAMS_MAX: u32 = usable(DATA_STREAM_CREDIT);

/// Streams that can be open whatever happened before. quinn announces freed credit only when more
/// than an eighth has gathered, so that up to an eighth may be free and not announced.
const fn usable(credit: u32) -> u32 {
    credit - credit / 8
}

/// Bytes of requests of one peer that are held until they are answered.
pub const REQUEST_BUDGET_BYTES: usize = 3 << 19;
/// Bytes of data frames of one peer that are being put together at once: two of the largest.
pub const DATA_BUDGET_BYTES: usize = 2 * DATA_FRAME_BYTES_MAX;

/// Requests that a peer may have open before it is admitted, or when it came to enrol.
pub const ENROL_STREAMS_MAX: u32 = 2;
/// Bytes of a request on a connection that came to enrol.
pub const ENROL_FRAME_BYTES_MAX: usize = 16 << 10;
/// Bytes in flight from a peer before it is admitted, or when it came to enrol.
pub const ENROL_WINDOW_BYTES: u32 = 64 << 10;
/// Life of a connection that came to enrol.
pub const ENROL_LIFETIME: Duration = Duration::from_secs(60);
/// Connections that came to enrol, at once.
pub const ENROL_CONNECTIONS_MAX: usize = 64;

/// Live connections of one key at once: one in use, one that loses a simultaneous dial, and room
/// for a restart that the old connection has not noticed yet.
pub const CONNECTIONS_PER_PEER_MAX: usize = 4;
/// Live connections of one endpoint.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Handshakes that wait for the endpoint to look at them (quinn's own queue).
pub const INCOMING_MAX: usize = 256;
/// Bytes that quinn holds for one handshake that waits.
pub const INCOMING_BUFFER_BYTES: u64 = 16 << 10;
/// Bytes that quinn holds for all handshakes that wait.
pub const INCOMING_BUFFER_TOTAL_BYTES: u64 = 4 << 20;
/// Handshakes in progress at once.
pub const HANDSHAKES_MAX: usize = 256;
/// Handshakes in progress above which a client must first prove its address (QUIC Retry, RFC 9000
/// section 8.1.2).
pub const RETRY_ABOVE: usize = 32;
/// Admitted connections that wait for the daemon to take them.
pub const ACCEPT_QUEUE: usize = 64;
/// Addresses of one host name that a dial tries.
pub const ADDRESSES_MAX: usize = 4;

/// Largest difference between two wall clocks that may work together, in milliseconds.
pub const CLOCK_SKEW_MAX_MS: u64 = 5 * 60 * 1000;

/// How often an idle connection shows that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Silence after which a connection is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a dial: name, handshake and hello together.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Time for a frame that has begun, beside what its length is given at [`FRAME_BYTES_PER_SECOND_MIN`].
pub const FRAME_DEADLINE: Duration = Duration::from_secs(20);
/// The slowest pace at which a frame may arrive. A 1 Mbit/s line carries seven such frames at once.
pub const FRAME_BYTES_PER_SECOND_MIN: usize = 16 << 10;
/// Time for a request whose caller states none.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// Time that [`Endpoint::close`](crate::Endpoint::close) waits for peers to hear of it.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
