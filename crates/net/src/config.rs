//! What an endpoint is told: who may come in, how wide the windows are, how long things may take.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::congestion::CubicConfig;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::hello::{Purpose, Versions};
use crate::limits::{
    CLOCK_SKEW_MAX_MS, CONNECT_DEADLINE, DATA_BUDGET_BYTES, DATA_STREAM_CREDIT, ENROL_LIFETIME, ENROL_STREAMS_MAX,
    ENROL_WINDOW_BYTES, FRAME_DEADLINE, IDLE_TIMEOUT, INITIAL_WINDOW_BYTES, KEEP_ALIVE, REQUEST_BUDGET_BYTES,
    REQUEST_DEADLINE, UDP_PAYLOAD_MAX,
};

/// Decides which keys may connect, and for whom they speak. A peer has one id for ever, its first key; where keys change, others
/// speak for it.
pub trait Gate: Send + Sync + 'static {
    /// Whether the holder of a key may connect for this purpose. Called once per connection, after the peer has proven it.
    ///
    /// # Errors
    /// The code that the peer is told, such as `net.refused`.
    fn admit(&self, peer: &NodeId, purpose: Purpose) -> Result<(), Code>;

    /// The id for which a key speaks: under it the connection is known. Asked once the key is admitted.
    fn id_of(&self, key: &NodeId) -> NodeId {
        *key
    }

    /// A peer that was dialled showed a key that is not among those that may speak for it.
    fn mismatch(&self, peer: &NodeId, key: &NodeId) {
        let _ = (peer, key);
    }

    /// The keys that may speak for a peer now: what a dial takes for an answer.
    fn keys_of(&self, peer: &NodeId) -> Vec<NodeId> {
        vec![*peer]
    }
}

/// A gate that a closure decides.
impl<F> Gate for F
where
    F: Fn(&NodeId, Purpose) -> Result<(), Code> + Send + Sync + 'static,
{
    fn admit(&self, peer: &NodeId, purpose: Purpose) -> Result<(), Code> {
        self(peer, purpose)
    }
}

/// The gate of an endpoint that only dials: nobody comes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closed;

impl Gate for Closed {
    fn admit(&self, _: &NodeId, _: Purpose) -> Result<(), Code> {
        Err(Code::NetRefused)
    }
}

/// A wall clock.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The operating system's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// How wide the windows of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// Machines in one building or one city. A peer can make this side hold 16 MiB: 8 on their way in,
    /// 4 on their way out, the rest in requests and in frames half arrived. At 1 ms of round trip one
    /// stream may carry 250 MB/s.
    #[default]
    Lan,
    /// Links of tens of milliseconds: 64 MiB in and 32 MiB out. At 40 ms one stream may carry 50 MB/s.
    Wan,
}

impl Profile {
    /// Bytes in flight to this side on one stream.
    pub const fn stream_window(self) -> u32 {
        match self {
            Profile::Lan => 256 << 10,
            Profile::Wan => 2 << 20,
        }
    }

    /// Bytes in flight to this side on one connection: what a peer can make this side hold.
    pub const fn receive_window(self) -> u32 {
        match self {
            Profile::Lan => 8 << 20,
            Profile::Wan => 64 << 20,
        }
    }

    /// Bytes that this side holds for one peer until the peer acknowledges them.
    pub const fn send_window(self) -> u32 {
        self.receive_window() / 2
    }
}

/// The rule of [`crate::limits`]: unread data streams leave a quarter of the window.
const fn unread_streams_leave_room(profile: Profile) -> bool {
    DATA_STREAM_CREDIT * profile.stream_window() <= profile.receive_window() / 4 * 3
}
const _: () = assert!(
    Profile::Lan.receive_window() as usize
        + Profile::Lan.send_window() as usize
        + REQUEST_BUDGET_BYTES
        + DATA_BUDGET_BYTES
        <= 16 << 20
);
const _: () = assert!(unread_streams_leave_room(Profile::Lan) && unread_streams_leave_room(Profile::Wan));

/// The waits of an endpoint. The defaults are those of [`crate::limits`]; tests shorten them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// How often an idle connection shows that it lives.
    pub keep_alive: Duration,
    /// Silence after which a connection is dead.
    pub idle: Duration,
    /// Time for a dial: name, handshake and hello together; and for a client's hello to arrive.
    pub connect: Duration,
    /// Time for a frame that has begun, beside what its length is given.
    pub frame: Duration,
    /// Time for a request whose caller states none.
    pub request: Duration,
    /// Life of a connection that came to enrol.
    pub enrol: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            keep_alive: KEEP_ALIVE,
            idle: IDLE_TIMEOUT,
            connect: CONNECT_DEADLINE,
            frame: FRAME_DEADLINE,
            request: REQUEST_DEADLINE,
            enrol: ENROL_LIFETIME,
        }
    }
}

/// The configuration of an endpoint.
#[derive(Clone)]
pub struct Config {
    /// Who may come in. [`Closed`] by default.
    pub gate: Arc<dyn Gate>,
    /// The wall clock that hellos compare.
    pub clock: Clock,
    /// Largest difference between two wall clocks, in milliseconds.
    pub clock_skew_max_ms: u64,
    /// The widths of the windows.
    pub profile: Profile,
    /// The waits.
    pub timing: Timing,
    /// The protocol versions that this side speaks.
    pub versions: Versions,
    /// Name and version of the software, shown to the peer; cut to 64 bytes.
    pub software: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gate: Arc::new(Closed),
            clock: system_clock(),
            clock_skew_max_ms: CLOCK_SKEW_MAX_MS,
            profile: Profile::default(),
            timing: Timing::default(),
            versions: Versions::OURS,
            software: concat!("tacit/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Config {
    /// The defaults with a gate.
    pub fn with_gate(gate: impl Gate) -> Self {
        Self { gate: Arc::new(gate), ..Self::default() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("profile", &self.profile)
            .field("timing", &self.timing)
            .field("versions", &self.versions)
            .field("software", &self.software)
            .finish_non_exhaustive()
    }
}

/// The transport of a connection whose peer is not yet admitted: tiny on the receiving side.
/// [`crate::connection`] widens it after the hello.
pub(crate) fn transport(config: &Config) -> Result<Arc<TransportConfig>, Fault> {
    let idle = IdleTimeout::try_from(config.timing.idle)
        .map_err(|_| Fault::new(Code::ConfigMalformed, "the idle timeout is beyond what QUIC can say"))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(ENROL_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(config.profile.stream_window()))
        .receive_window(VarInt::from_u32(ENROL_WINDOW_BYTES))
        .send_window(u64::from(config.profile.send_window()))
        .keep_alive_interval(Some(config.timing.keep_alive))
        .max_idle_timeout(Some(idle))
        .datagram_receive_buffer_size(None)
        .allow_spin(false)
        .enable_segmentation_offload(true);
    let mut search = MtuDiscoveryConfig::default();
    search.upper_bound(UDP_PAYLOAD_MAX);
    transport.mtu_discovery_config(Some(search));
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW_BYTES);
    transport.congestion_controller_factory(Arc::new(cubic));
    Ok(Arc::new(transport))
}
