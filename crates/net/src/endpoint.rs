//! One UDP port that both accepts and dials.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use quinn::{ConnectionError, ServerConfig, TransportConfig, TransportErrorCode};
use tacit_types::{Code, Fault, NodeId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::address::Address;
use crate::config::{Config, transport};
use crate::connection::{About, Connection};
use crate::error::{CloseReason, FrameFault, NetError, plain};
use crate::frame::{FrameReader, FrameWriter};
use crate::hello::{Answer, Facts, Hello, Purpose, Verdict, judge, read_verdict, refusal};
use crate::identity::Identity;
use crate::limits::{
    ACCEPT_QUEUE, CLOSE_WAIT, CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX, ENROL_CONNECTIONS_MAX, HANDSHAKES_MAX,
    HELLO_BYTES_MAX, INCOMING_BUFFER_BYTES, INCOMING_BUFFER_TOTAL_BYTES, INCOMING_MAX, RETRY_ABOVE,
    SOCKET_BUFFER_BYTES, UDP_PAYLOAD_MAX,
};
use crate::link::Link;
use crate::tls;

/// Pause before a dial that was refused for load is tried again.
const REFUSED_PAUSE: Duration = Duration::from_millis(150);
/// Time that a refused client has to read why.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// A UDP port with an identity. Clones are handles to the same port; when the last is dropped, the
/// port closes.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    quic: quinn::Endpoint,
    local: SocketAddr,
    core: Arc<Core>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Connection>>,
    accepting: AbortHandle,
}

/// Asks the system for room: several peers that send at once overrun the default, and what is dropped
/// there is taken for congestion. Less than asked is no fault.
fn widen(socket: &UdpSocket) {
    let socket = socket2::SockRef::from(socket);
    for asked in [socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES), socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)] {
        if let Err(error) = asked {
            tracing::debug!(%error, "the system's own buffers stay");
        }
    }
}

/// What the accepting task and the dials share.
struct Core {
    identity: Identity,
    config: Config,
    transport: Arc<TransportConfig>,
    instance: u64,
    census: Arc<Census>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accepting.abort();
        self.quic.close(CloseReason::Shutdown.code(), b"");
    }
}

impl Endpoint {
    /// Binds the port and begins to accept. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `net.port_taken` when another program has the port, `io.failed` when the address cannot be
    /// bound for another reason.
    pub fn bind(address: SocketAddr, identity: Identity, config: Config) -> Result<Self, Fault> {
        let transport = transport(&config)?;
        let socket = UdpSocket::bind(address).map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => Fault::new(Code::NetPortTaken, format!("udp {address}")),
            _ => Fault::new(Code::IoFailed, format!("udp {address}: {e}")),
        })?;
        let failed = |e: std::io::Error| Fault::new(Code::IoFailed, format!("udp {address}: {e}"));
        widen(&socket);
        let local = socket.local_addr().map_err(failed)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls::server(&identity)?));
        server
            .transport_config(transport.clone())
            .migration(false)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL_BYTES);
        let mut port = identity.reset().endpoint(local.port())?;
        port.supported_versions(vec![QUIC_VERSION]);
        port.max_udp_payload_size(UDP_PAYLOAD_MAX).map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        let runtime = quinn::default_runtime()
            .ok_or_else(|| Fault::new(Code::Internal, "an endpoint needs a running tokio runtime"))?;
        let quic = quinn::Endpoint::new(port, Some(server), socket, runtime).map_err(failed)?;
        let core = Arc::new(Core { identity, config, transport, instance: tls::random_u64()?, census: Arc::default() });
        let (sender, receiver) = mpsc::channel(ACCEPT_QUEUE);
        let accepting = tokio::spawn(accept_all(quic.clone(), core.clone(), sender)).abort_handle();
        let accepted = tokio::sync::Mutex::new(receiver);
        Ok(Self(Arc::new(Inner { quic, local, core, accepted, accepting })))
    }

    /// The address that the port has.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// This endpoint's own id: its key, or the first that it had.
    pub fn id(&self) -> NodeId {
        self.0.core.identity.id()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.core.config
    }

    /// The next connection that came in and passed the gate; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Connection> {
        self.0.accepted.lock().await.recv().await
    }

    /// Dials a peer whose id, and with it whose keys, are known, within the time of the configuration.
    ///
    /// # Errors
    /// [`NetError::Unresolved`], [`NetError::Unreachable`], [`NetError::Fingerprint`] when another
    /// key answers, [`NetError::Handshake`], [`NetError::Refused`], [`NetError::Version`],
    /// [`NetError::ClockSkew`].
    pub async fn connect(&self, address: &Address, peer: &NodeId, purpose: Purpose) -> Result<Connection, NetError> {
        let begun = Instant::now();
        let time = self.0.core.config.timing.connect;
        let unreachable =
            || NetError::Unreachable { address: address.to_string(), waited_ms: begun.elapsed().as_millis() as u64 };
        let found = timeout(time, address.resolve()).await.map_err(|_| unreachable())??;
        let usable: Vec<SocketAddr> = found.into_iter().filter(|a| self.0.local.is_ipv6() || a.is_ipv4()).collect();
        let mut last = NetError::Unresolved {
            address: address.to_string(),
            why: "the name has no address of the kind that this endpoint is bound to".into(),
        };
        for (tried, target) in usable.iter().enumerate() {
            // The time that is left is shared evenly by the addresses that are left.
            let left = time.saturating_sub(begun.elapsed());
            let share = left / u32::try_from(usable.len() - tried).unwrap_or(1);
            match self.dial(*target, peer, purpose, begun + (time - left) + share).await {
                Ok(connection) => return Ok(connection),
                Err(NetError::Unreachable { .. }) => last = unreachable(),
                // A peer that answered has answered for all its addresses.
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    /// One address, again and again while the peer refuses for load: at once, or by dropping a
    /// handshake or a hello half-way.
    async fn dial(
        &self,
        target: SocketAddr,
        peer: &NodeId,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Connection, NetError> {
        let core = &self.0.core;
        let unreachable = || NetError::Unreachable { address: target.to_string(), waited_ms: 0 };
        loop {
            let found = Arc::new(OnceLock::new());
            let pinned = core.config.gate.keys_of(peer);
            let crypto = tls::client(&core.identity, pinned.clone(), found.clone())
                .map_err(|fault| NetError::Handshake { why: fault.what })?;
            let mut client = quinn::ClientConfig::new(Arc::new(crypto));
            client.transport_config(core.transport.clone());
            let connecting = self
                .0
                .quic
                .connect_with(client, target, tls::SERVER_NAME)
                .map_err(|e| NetError::Unresolved { address: target.to_string(), why: e.to_string() })?;
            let failure = match timeout_at(deadline, connecting).await {
                Err(_) => return Err(unreachable()),
                Ok(Ok(quic)) => match core.greet(quic, (peer, &pinned), purpose, deadline).await {
                    Err(NetError::Closed { by_peer: true, reason: CloseReason::Done }) => {
                        rest(deadline).await.ok_or_else(unreachable)?;
                        continue;
                    }
                    greeted => return greeted,
                },
                Ok(Err(e)) => e,
            };
            match (found.get(), failure) {
                (Some(key), _) if !pinned.contains(key) => {
                    core.config.gate.mismatch(peer, key);
                    return Err(NetError::Fingerprint { expected: *peer, found: *key });
                }
                (_, ConnectionError::TimedOut) => return Err(unreachable()),
                (_, ConnectionError::ConnectionClosed(close))
                    if matches!(
                        close.error_code,
                        TransportErrorCode::CONNECTION_REFUSED | TransportErrorCode::APPLICATION_ERROR
                    ) =>
                {
                    rest(deadline).await.ok_or_else(unreachable)?;
                }
                (_, failure) => return Err(handshake_error(failure)),
            }
        }
    }

    /// Closes every connection with [`CloseReason::Shutdown`], tells the peers, and waits a bounded
    /// time for them to hear it.
    pub async fn close(&self) {
        self.0.accepting.abort();
        self.0.quic.close(CloseReason::Shutdown.code(), b"shutting down");
        let _ = timeout(CLOSE_WAIT, self.0.quic.wait_idle()).await;
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({} at {})", self.id().short(), self.0.local)
    }
}

/// A short pause; `None` when the deadline passes in it.
async fn rest(deadline: Instant) -> Option<()> {
    timeout_at(deadline, sleep(REFUSED_PAUSE)).await.ok()
}

/// QUIC version 1 (RFC 9000), the only one spoken.
const QUIC_VERSION: u32 = 1;

/// How a handshake failed, in the words of whoever ended it.
fn handshake_error(error: ConnectionError) -> NetError {
    match error {
        ConnectionError::TransportError(e) => NetError::Handshake { why: plain(&e.to_string(), 200) },
        ConnectionError::ConnectionClosed(e) => NetError::Handshake { why: plain(&format!("the peer: {e}"), 200) },
        ConnectionError::VersionMismatch => NetError::Handshake { why: "the peer speaks no QUIC version 1".into() },
        other => other.into(),
    }
}

async fn accept_all(quic: quinn::Endpoint, core: Arc<Core>, sender: mpsc::Sender<Connection>) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = quic.accept().await {
        let in_progress = HANDSHAKES_MAX - slots.available_permits();
        if in_progress >= RETRY_ABOVE && incoming.may_retry() && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (core, sender) = (core.clone(), sender.clone());
        tokio::spawn(async move {
            let time = core.config.timing.connect;
            // Under load a slow handshake must not hold for long what others wait for.
            let patience = if in_progress >= RETRY_ABOVE { time / 4 } else { time };
            let from = incoming.remote_address();
            match timeout(patience, core.welcome(incoming)).await {
                Ok(Ok(connection)) => {
                    // A daemon that does not take connections must not keep handshakes alive.
                    if timeout(time, sender.send(connection.clone())).await.is_err() {
                        connection.close(CloseReason::Limit);
                    }
                }
                Ok(Err(e)) => tracing::debug!(%from, error = %e, "a handshake failed"),
                Err(_) => tracing::debug!(%from, "a handshake took too long"),
            }
            drop(slot);
        });
    }
}

impl Core {
    fn facts(&self) -> Facts {
        Facts {
            versions: self.config.versions,
            software: self.config.software.clone(),
            clock: (self.config.clock)(),
            instance: self.instance,
        }
    }

    /// The client's half of the hello.
    async fn greet(
        &self,
        quic: quinn::Connection,
        (peer, pinned): (&NodeId, &[NodeId]),
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Connection, NetError> {
        // The verifier has compared the keys; this holds should TLS ever skip it.
        let key = match tls::peer_key(&quic) {
            Some(key) if pinned.contains(&key) => key,
            Some(key) => return Err(NetError::Fingerprint { expected: *peer, found: key }),
            None => return Err(NetError::Handshake { why: "the peer showed no key".into() }),
        };
        let link = Link::new(quic, self.config.timing);
        let time = self.config.timing.connect;
        let late = NetError::Deadline { doing: "the hello", waited_ms: time.as_millis() as u64 };
        let ours = self.facts();
        let answer = match timeout_at(deadline, exchange_hello(&link, purpose, &ours)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => return Err(link.quic.close_reason().map_or(e, |reason| link.explain(late_refusal(reason)))),
            Err(_) => {
                link.close(CloseReason::GivenUp);
                return Err(late);
            }
        };
        let version = match read_verdict(&ours, &answer, self.config.clock_skew_max_ms) {
            Ok(version) => version,
            Err(e) => {
                link.close(CloseReason::Refused);
                return Err(e);
            }
        };
        link.widen(self.config.profile);
        let clock_ahead_ms = difference(answer.facts.clock.0, (self.config.clock)().0);
        let about = About { peer: *peer, key, dialled: true, purpose, version, theirs: answer.facts, clock_ahead_ms };
        Ok(Connection::start(link, about, ()))
    }

    /// The server's half: TLS, hello, judgement.
    async fn welcome(&self, incoming: quinn::Incoming) -> Result<Connection, NetError> {
        let quic = incoming.accept().map_err(handshake_error)?.await.map_err(handshake_error)?;
        let key = tls::peer_key(&quic).ok_or(NetError::Handshake { why: "the peer showed no key".into() })?;
        let link = Link::new(quic, self.config.timing);
        let (send, recv) = link.quic.accept_bi().await?;
        let mut writer = FrameWriter::new(send, link.clone(), HELLO_BYTES_MAX);
        let mut reader = FrameReader::new(recv, link.clone(), link.requests.clone(), HELLO_BYTES_MAX).expect();
        let (bytes, _) = reader.next().await?.ok_or_else(|| link.blame(FrameFault::Missing))?;
        let hello = Hello::decode(&bytes).map_err(|_| link.blame(FrameFault::Hello))?;
        let ours = self.facts();
        let gate = || self.config.gate.admit(&key, hello.purpose);
        let peer = self.config.gate.id_of(&key);
        let judged = judge(&ours, &hello.facts, self.config.clock_skew_max_ms, gate)
            .and_then(|version| Ok((version, self.census.clone().enter(peer, hello.purpose)?)));
        let (version, place) = match judged {
            Ok(accepted) => accepted,
            Err(e) => {
                writer.write(&Answer::new(ours, refusal(&e)).encode()).await?;
                writer.finish()?;
                // The client closes once it has read why.
                let _ = timeout(REFUSAL_WAIT, link.quic.closed()).await;
                link.close(CloseReason::Refused);
                return Err(e);
            }
        };
        if hello.purpose == Purpose::Member {
            link.widen(self.config.profile);
        }
        let clock_ahead_ms = difference(hello.facts.clock.0, ours.clock.0);
        writer.write(&Answer::new(ours, Verdict::Accept { version }).encode()).await?;
        writer.finish()?;
        let about =
            About { peer, key, dialled: false, purpose: hello.purpose, version, theirs: hello.facts, clock_ahead_ms };
        Ok(Connection::start(link, about, place))
    }
}

async fn exchange_hello(link: &Arc<Link>, purpose: Purpose, ours: &Facts) -> Result<Answer, NetError> {
    let (send, recv) = link.quic.open_bi().await?;
    let mut writer = FrameWriter::new(send, link.clone(), HELLO_BYTES_MAX);
    let mut reader = FrameReader::new(recv, link.clone(), link.answers.clone(), HELLO_BYTES_MAX);
    writer.write(&Hello::new(purpose, ours.clone()).encode()).await?;
    writer.finish()?;
    let (bytes, _) = reader.next().await?.ok_or_else(|| link.blame(FrameFault::Missing))?;
    Answer::decode(&bytes).map_err(|_| link.blame(FrameFault::Hello))
}

/// A server that does not like the client's certificate says so after the client's handshake is done.
fn late_refusal(error: ConnectionError) -> NetError {
    match error {
        ConnectionError::ConnectionClosed(_) | ConnectionError::TransportError(_) => handshake_error(error),
        other => other.into(),
    }
}

fn difference(theirs: u64, ours: u64) -> i64 {
    i64::try_from(i128::from(theirs) - i128::from(ours)).unwrap_or(i64::MAX)
}

/// How many connections came in and still live, by key.
#[derive(Default)]
struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    by_peer: HashMap<NodeId, usize>,
    total: usize,
    enrolling: usize,
}

/// One connection's place; given back on drop.
struct Place {
    census: Arc<Census>,
    peer: NodeId,
    purpose: Purpose,
}

impl Census {
    fn enter(self: Arc<Self>, peer: NodeId, purpose: Purpose) -> Result<Place, NetError> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = counts.by_peer.get(&peer).copied().unwrap_or(0);
        let what = if of_peer >= CONNECTIONS_PER_PEER_MAX {
            "this key has too many connections"
        } else if counts.total >= CONNECTIONS_MAX
            || purpose == Purpose::Enrol && counts.enrolling >= ENROL_CONNECTIONS_MAX
        {
            "the peer has too many connections"
        } else {
            counts.by_peer.insert(peer, of_peer + 1);
            counts.total += 1;
            counts.enrolling += usize::from(purpose == Purpose::Enrol);
            drop(counts);
            return Ok(Place { census: self, peer, purpose });
        };
        Err(NetError::Refused { code: Code::NetRefused, what: what.into() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        counts.enrolling -= usize::from(self.purpose == Purpose::Enrol);
        let left = counts.by_peer.get(&self.peer).map_or(0, |n| n - 1);
        if left == 0 {
            counts.by_peer.remove(&self.peer);
        } else {
            counts.by_peer.insert(self.peer, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_the_newcomers_have_their_caps() {
        let census = Arc::new(Census::default());
        let mut places: Vec<_> = (0..CONNECTIONS_PER_PEER_MAX)
            .map(|_| census.clone().enter(NodeId([1; 32]), Purpose::Member).unwrap())
            .collect();
        assert!(census.clone().enter(NodeId([1; 32]), Purpose::Member).is_err());
        places.pop();
        places.push(census.clone().enter(NodeId([1; 32]), Purpose::Member).unwrap());

        let key = |i: usize| NodeId([u8::try_from(i % 250).unwrap() + 2; 32]);
        let newcomers: Vec<_> =
            (0..ENROL_CONNECTIONS_MAX).map(|i| census.clone().enter(key(i), Purpose::Enrol).unwrap()).collect();
        assert!(census.clone().enter(key(200), Purpose::Enrol).is_err());
        assert!(census.clone().enter(key(200), Purpose::Member).is_ok());
        drop((places, newcomers));
        let counts = census.counts.lock().unwrap();
        assert_eq!((counts.total, counts.enrolling, counts.by_peer.len()), (0, 0, 0));
    }
}
