//! A connection to one authenticated peer. Whoever dialled, both sides may ask and both may stream.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tacit_types::NodeId;
use tacit_types::limits::CONTROL_FRAME_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::error::{CloseReason, FrameFault, NetError};
use crate::frame::{FrameReader, FrameWriter};
use crate::hello::{Facts, Purpose};
use crate::limits::{
    DATA_FRAME_BYTES_MAX, DATA_STREAM_CREDIT, ENROL_FRAME_BYTES_MAX, REQUEST_STREAM_CREDIT, STREAM_HEADER_BYTES_MAX,
};
use crate::link::Link;
use crate::stream::{DataReceiver, DataSender, Incoming, Responder};

/// A connection that is up: the peer has proven its key and both sides have agreed in the hello.
///
/// Clones are handles to the same connection, which closes when the last of them is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    link: Arc<Link>,
    about: About,
    incoming: tokio::sync::Mutex<mpsc::Receiver<Incoming>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.link.close(CloseReason::Done);
    }
}

/// What the hello settled.
pub(crate) struct About {
    pub peer: NodeId,
    pub key: NodeId,
    pub dialled: bool,
    pub purpose: Purpose,
    pub version: u16,
    pub theirs: Facts,
    pub clock_ahead_ms: i64,
}

/// Counters of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Bytes in UDP payloads that were sent, headers and repetitions included.
    pub sent_bytes: u64,
    /// Bytes in UDP payloads that were received.
    pub received_bytes: u64,
    /// Packets taken for lost.
    pub lost_packets: u64,
    /// The current estimate of the round trip.
    pub round_trip: Duration,
    /// The largest UDP payload that the path is known to carry, in bytes.
    pub mtu_bytes: u16,
}

impl Connection {
    /// Begins to serve a connection whose hello is done. `held` lives until the connection has ended.
    pub(crate) fn start(link: Arc<Link>, about: About, held: impl Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel((REQUEST_STREAM_CREDIT + DATA_STREAM_CREDIT) as usize);
        let enrolling = about.purpose == Purpose::Enrol && !about.dialled;
        let serving = link.clone();
        tokio::spawn(async move {
            if enrolling {
                tokio::select! {
                    () = serve(&serving, sender, ENROL_FRAME_BYTES_MAX) => {}
                    () = sleep(serving.timing.enrol) => serving.close(CloseReason::Limit),
                }
            } else {
                serve(&serving, sender, CONTROL_FRAME_BYTES_MAX).await;
            }
            drop(held);
        });
        Self(Arc::new(Inner { link, about, incoming: tokio::sync::Mutex::new(receiver) }))
    }

    /// The peer's id: its key, or the first that it had.
    pub fn peer(&self) -> NodeId {
        self.0.about.peer
    }

    /// The key that the peer has proven.
    pub fn key(&self) -> NodeId {
        self.0.about.key
    }

    /// The peer's address.
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.link.quic.remote_address()
    }

    /// What the connection is for, as the dialling side said.
    pub fn purpose(&self) -> Purpose {
        self.0.about.purpose
    }

    /// Whether this side dialled.
    pub fn dialled(&self) -> bool {
        self.0.about.dialled
    }

    /// The protocol version that both speak.
    pub fn version(&self) -> u16 {
        self.0.about.version
    }

    /// The name and version of the peer's software, in its own words.
    pub fn software(&self) -> &str {
        &self.0.about.theirs.software
    }

    /// By how many milliseconds the peer's clock was ahead of ours at the hello, the time on the line
    /// included.
    pub fn clock_ahead_ms(&self) -> i64 {
        self.0.about.clock_ahead_ms
    }

    pub(crate) fn instance(&self) -> u64 {
        self.0.about.theirs.instance
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.0.link.busy() == 0
    }

    /// Whether both are handles to one connection.
    pub fn same(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The counters so far.
    pub fn stats(&self) -> Stats {
        let stats = self.0.link.quic.stats();
        Stats {
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            lost_packets: stats.path.lost_packets,
            round_trip: stats.path.rtt,
            mtu_bytes: stats.path.current_mtu,
        }
    }

    /// Asks with one frame and waits for one frame, for the time that the configuration gives.
    ///
    /// # Errors
    /// As [`Connection::request_within`].
    pub async fn request(&self, frame: &[u8]) -> Result<Vec<u8>, NetError> {
        self.request_within(frame, self.0.link.timing.request).await
    }

    /// Asks with one frame of 1 to
    /// [`CONTROL_FRAME_BYTES_MAX`](tacit_types::limits::CONTROL_FRAME_BYTES_MAX) bytes and waits for
    /// one frame of as many, at most for `time`.
    ///
    /// # Errors
    /// [`NetError::FrameLen`] for a request out of bounds, [`NetError::Deadline`],
    /// [`NetError::Abandoned`] when the peer dropped the request, or how the connection ended.
    pub async fn request_within(&self, frame: &[u8], time: Duration) -> Result<Vec<u8>, NetError> {
        let late = NetError::Deadline { doing: "a request", waited_ms: time.as_millis() as u64 };
        timeout(time, self.exchange(frame)).await.map_err(|_| late)?
    }

    async fn exchange(&self, frame: &[u8]) -> Result<Vec<u8>, NetError> {
        let link = &self.0.link;
        let _busy = link.begin();
        let (send, recv) = link.quic.open_bi().await.map_err(|e| link.explain(e))?;
        let mut writer = FrameWriter::new(send, link.clone(), CONTROL_FRAME_BYTES_MAX);
        let mut reader = FrameReader::new(recv, link.clone(), link.answers.clone(), CONTROL_FRAME_BYTES_MAX);
        writer.write(frame).await?;
        writer.finish()?;
        match reader.next().await? {
            Some((answer, _)) => Ok(answer),
            None => Err(link.blame(FrameFault::Missing)),
        }
    }

    /// Opens a data stream with a header frame of 1 to
    /// [`STREAM_HEADER_BYTES_MAX`](crate::limits::STREAM_HEADER_BYTES_MAX) bytes. May wait while
    /// [`DATA_STREAMS_MAX`](crate::limits::DATA_STREAMS_MAX) streams to this peer are open.
    ///
    /// # Errors
    /// [`NetError::FrameLen`] for a header out of bounds, or how the connection ended.
    pub async fn open_stream(&self, header: &[u8]) -> Result<DataSender, NetError> {
        let link = &self.0.link;
        let busy = link.begin();
        let send = link.quic.open_uni().await.map_err(|e| link.explain(e))?;
        let mut writer = FrameWriter::new(send, link.clone(), STREAM_HEADER_BYTES_MAX);
        writer.write(header).await?;
        writer.set_cap(DATA_FRAME_BYTES_MAX);
        Ok(DataSender { writer, _busy: busy })
    }

    /// The next request or stream that the peer began, in the order in which their first frames were
    /// complete. One task at a time should call this and hand the work on: what is not taken holds
    /// the peer's window.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept(&self) -> Result<Incoming, NetError> {
        match self.0.incoming.lock().await.recv().await {
            Some(incoming) => Ok(incoming),
            None => Err(self.closed().await),
        }
    }

    /// Resolves when the connection has ended, with the reason.
    pub async fn closed(&self) -> NetError {
        let error = self.0.link.quic.closed().await;
        self.0.link.explain(error)
    }

    /// Why the connection ended; `None` while it lives.
    pub fn end(&self) -> Option<NetError> {
        self.0.link.end()
    }

    /// Closes the connection. Requests and streams under way end with [`NetError::Closed`].
    pub fn close(&self, reason: CloseReason) {
        self.0.link.close(reason);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.dialled() { "to" } else { "from" };
        write!(f, "Connection({direction} {} at {})", self.peer().short(), self.remote_addr())
    }
}

/// Takes streams as the peer opens them. At most as many tasks run as streams may be open.
async fn serve(link: &Arc<Link>, sender: mpsc::Sender<Incoming>, request_cap: usize) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            stream = link.quic.accept_bi() => match stream {
                Ok((send, recv)) => tasks.spawn(take_request(link.clone(), send, recv, request_cap, sender.clone())),
                Err(_) => break,
            },
            stream = link.quic.accept_uni() => match stream {
                Ok(recv) => tasks.spawn(take_stream(link.clone(), recv, sender.clone())),
                Err(_) => break,
            },
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                if let Err(e) = ended {
                    tracing::error!(error = %e, "a stream task failed");
                    link.close(CloseReason::Unknown);
                }
                continue;
            }
        };
    }
}

async fn take_request(
    link: Arc<Link>,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    cap: usize,
    sender: mpsc::Sender<Incoming>,
) {
    let busy = link.begin();
    let timing_frame = link.timing.frame;
    let mut reader = FrameReader::new(recv, link.clone(), link.requests.clone(), cap).expect().shed_after(timing_frame);
    let writer = FrameWriter::new(send, link.clone(), cap);
    match reader.next().await {
        Ok(Some((bytes, permit))) => {
            let responder = Responder { writer, timing_frame, _permit: permit, _busy: busy };
            let _ = sender.send(Incoming::Request { bytes, responder }).await;
        }
        Ok(None) => drop(link.blame(FrameFault::Missing)),
        Err(e) => tracing::debug!(error = %e, "a request did not arrive"),
    }
}

async fn take_stream(link: Arc<Link>, recv: quinn::RecvStream, sender: mpsc::Sender<Incoming>) {
    let busy = link.begin();
    let mut reader = FrameReader::new(recv, link.clone(), link.data.clone(), STREAM_HEADER_BYTES_MAX).expect();
    match reader.next().await {
        Ok(Some((header, _))) => {
            let reader = reader.reset(link.data.clone(), DATA_FRAME_BYTES_MAX);
            let _ = sender.send(Incoming::Stream { header, receiver: DataReceiver { reader, _busy: busy } }).await;
        }
        Ok(None) => drop(link.blame(FrameFault::Missing)),
        Err(e) => tracing::debug!(error = %e, "a stream's header did not arrive"),
    }
}
