//! The streams between an attempt's seats: one each way, written and read in tasks of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tacit_net::DataReceiver;
use tacit_protocol::{Event, HashAhead};
use tacit_types::wire;
use tacit_types::{Code, NodeId, Seat};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::daemon::Inner;
use crate::link::{LinkFrame, StreamHeader};
use crate::peers::{FRAMES_PER_SEAT_MAX, PeerStream};
use crate::runner::seal::LinkLog;

/// How long a peer may refuse this node's key before it counts as lost.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// An event of another seat, and the room that it takes among those of its seat.
pub(super) struct Arrived {
    pub(super) event: Event,
    _room: Option<OwnedSemaphorePermit>,
}

impl Arrived {
    pub(super) fn gone(seat: Seat) -> Self {
        Self { event: Event::Gone(seat), _room: None }
    }
}

/// A task that ends with its owner.
pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The way to one seat.
pub(super) struct Writer {
    pub(super) node: NodeId,
    /// What waits to be written.
    pub(super) queue: mpsc::UnboundedSender<Vec<u8>>,
    /// Whether nothing more may be written.
    hushed: Arc<AtomicBool>,
    /// What goes over the link.
    pub(super) log: Arc<LinkLog>,
    _task: AbortOnDrop<()>,
}

impl Writer {
    /// One whose stream is not up.
    #[cfg(test)]
    pub(super) fn waiting(node: NodeId, log: &Arc<LinkLog>) -> (Self, Frames) {
        let (queue, frames) = mpsc::unbounded_channel();
        let hushed = Arc::new(AtomicBool::new(false));
        let (task, log) = (AbortOnDrop(tokio::spawn(async {})), log.clone());
        (Self { node, queue, hushed: hushed.clone(), log, _task: task }, Frames { queue: frames, hushed })
    }

    /// What waits to be written, and what comes later, is not. The stream ends as one does that has said everything.
    pub(super) fn hush(&self) {
        self.hushed.store(true, Ordering::Relaxed);
    }
}

/// Opens the stream to a seat in a task of its own; what is queued before it is up waits.
pub(super) fn open_link(
    inner: &Arc<Inner>,
    (node, seat): (NodeId, Seat),
    header: StreamHeader,
    log: Arc<LinkLog>,
    events: &mpsc::Sender<Arrived>,
) -> Writer {
    let (queue, frames) = mpsc::unbounded_channel();
    let hushed = Arc::new(AtomicBool::new(false));
    let frames = Frames { queue: frames, hushed: hushed.clone() };
    let to = (node, seat, log.clone());
    let task = tokio::spawn(write_link(inner.clone(), to, header, frames, events.clone()));
    Writer { node, queue, hushed, log, _task: AbortOnDrop(task) }
}

/// What waits to be written to one seat.
pub(super) struct Frames {
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    hushed: Arc<AtomicBool>,
}

impl Frames {
    /// The next one; `None` at the end, or when nothing more may be written.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.queue.recv().await;
        frame.filter(|_| !self.is_hushed())
    }

    fn is_hushed(&self) -> bool {
        self.hushed.load(Ordering::Relaxed)
    }
}

/// Lets what is queued go out before the streams are dropped: the last message of a protocol is
/// another seat's end. What went over each link is sealed there as far as its other end answers.
pub(super) async fn finish_links(writers: Vec<Option<Writer>>) {
    let mut tasks = Vec::new();
    for Writer { queue, _task: mut task, .. } in writers.into_iter().flatten() {
        drop(queue);
        tasks.push(tokio::spawn(async move {
            let _ = tokio::time::timeout(Duration::from_secs(5), &mut task.0).await;
        }));
    }
    for task in tasks {
        let _ = task.await;
    }
}

/// Writes one seat's frames. A peer that cannot be reached or goes away is lost for this attempt.
async fn write_link(
    inner: Arc<Inner>,
    (node, seat, log): (NodeId, Seat, Arc<LinkLog>),
    header: StreamHeader,
    mut frames: Frames,
    events: mpsc::Sender<Arrived>,
) {
    let write = async {
        let connection = reach(&inner, &node).await?;
        write_frames(&connection, header, &mut frames, &log).await
    };
    let result: Result<(), tacit_net::NetError> = write.await;
    if let Err(error) = result {
        tracing::debug!(peer = %node.short(), %error, "the stream to a seat ended");
        let _ = events.send(Arrived::gone(seat)).await;
    }
}

/// Writes until the queue ends or the connection does. The node at its other end may have been restarted long before,
/// and what was written be lost: that is learnt only later, when there is nothing more to write.
pub(super) async fn write_frames(
    connection: &tacit_net::Connection,
    header: StreamHeader,
    frames: &mut Frames,
    log: &LinkLog,
) -> Result<(), tacit_net::NetError> {
    let mut stream = connection.open_stream(&wire::encode(&header)).await?;
    loop {
        let frame = tokio::select! {
            frame = frames.next() => frame,
            error = connection.closed() => return Err(error),
        };
        match frame {
            Some(frame) => {
                log.writes(&frame);
                stream.send_owned(frame).await?;
            }
            None => break,
        }
    }
    // Of an attempt that was stopped nothing more leaves.
    if !frames.is_hushed() {
        log.close(&mut stream, connection).await?;
    }
    stream.finish()
}

/// The connection with a seat's node. A node that was not told of the attempt yet may refuse a key
/// that it does not know until then, so a first refusal is not the last word.
async fn reach(inner: &Inner, node: &NodeId) -> Result<tacit_net::Connection, tacit_net::NetError> {
    let begun = Instant::now();
    loop {
        match inner.mesh.to(node).await {
            Err(error) if error.code() == Code::NetRefused && begun.elapsed() < REFUSAL_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return other,
        }
    }
}

/// Takes the streams of the other seats in, one for each.
pub(super) async fn take_streams(
    mut streams: mpsc::UnboundedReceiver<PeerStream>,
    seats: Vec<(Seat, NodeId, Arc<LinkLog>)>,
    events: mpsc::Sender<Arrived>,
    ahead: Arc<HashAhead>,
) {
    let mut readers = tokio::task::JoinSet::new();
    let mut taken: Vec<Seat> = Vec::new();
    while let Some(PeerStream { peer, receiver }) = streams.recv().await {
        match seats.iter().find(|(_, node, _)| *node == peer) {
            Some((seat, _, log)) if !taken.contains(seat) => {
                taken.push(*seat);
                readers.spawn(read_link(receiver, *seat, log.clone(), events.clone(), ahead.clone()));
            }
            _ => receiver.stop(),
        }
    }
}

/// Reads one seat's frames. At most [`FRAMES_PER_SEAT_MAX`] of them wait for the machine: one that is
/// busy holds the stream, and QUIC holds the peer. What one seat sends takes no room of another's.
pub(super) async fn read_link(
    mut receiver: DataReceiver,
    seat: Seat,
    log: Arc<LinkLog>,
    events: mpsc::Sender<Arrived>,
    ahead: Arc<HashAhead>,
) {
    let room = Arc::new(Semaphore::new(FRAMES_PER_SEAT_MAX));
    loop {
        // why: nobody closes this semaphore.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let event = match receiver.next().await {
            Ok(Some(bytes)) => match log.reads(&bytes).then(|| LinkFrame::from_bytes(bytes)).flatten() {
                Some(LinkFrame::Message(message)) if message.address.from == seat => ahead.event(message),
                Some(LinkFrame::Credit(consumed)) => Event::Credit { from: seat, consumed },
                Some(LinkFrame::End) if log.ends() => continue,
                Some(LinkFrame::Seal(seal)) if log.seals(seal.clone()) => continue,
                _ => {
                    log.is_gone();
                    let _ = events.send(Arrived::gone(seat)).await;
                    return receiver.stop();
                }
            },
            // The peer has finished its attempt: everything it had to say is here.
            Ok(None) => return log.is_gone(),
            Err(_) => Event::Gone(seat),
        };
        let gone = matches!(event, Event::Gone(_));
        if gone {
            log.is_gone();
        }
        if events.send(Arrived { event, _room: Some(permit) }).await.is_err() || gone {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
