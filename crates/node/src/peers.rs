//! Who may connect, and where streams of other seats wait for their attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tacit_net::{DataReceiver, Gate, Purpose};
use tacit_types::{Attempt, Code, JobId, NodeId};
use tokio::sync::mpsc;

/// Keys that may connect: the coordinator and the parties known by their cards.
#[derive(Clone, Default)]
pub struct Known(Arc<RwLock<BTreeSet<NodeId>>>);

impl Known {
    /// Takes a key in.
    pub fn insert(&self, node: NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(node);
    }
}

impl Gate for Known {
    fn admit(&self, peer: &NodeId, purpose: Purpose) -> Result<(), Code> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).contains(peer);
        if known && purpose == Purpose::Member { Ok(()) } else { Err(Code::NetRefused) }
    }
}

/// A stream of another seat.
pub struct PeerStream {
    /// Whose.
    pub peer: NodeId,
    /// Its frames.
    pub receiver: DataReceiver,
}

/// Streams that may wait for an attempt that has not begun here: a peer may be told to start first.
const WAITING_MAX: usize = 256;

type Key = (JobId, Attempt);

#[derive(Default)]
struct Inner {
    running: BTreeMap<Key, mpsc::UnboundedSender<PeerStream>>,
    waiting: Vec<(Key, PeerStream)>,
}

/// Brings each incoming stream to its attempt.
#[derive(Clone, Default)]
pub struct Switchboard(Arc<Mutex<Inner>>);

impl Switchboard {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a stream to its attempt, or keeps it until that begins. The oldest gives way when too
    /// many wait; nothing of a waiting stream is read, so it holds no more than QUIC's window.
    pub fn deliver(&self, job: JobId, attempt: Attempt, stream: PeerStream) {
        let mut inner = self.inner();
        match inner.running.get(&(job, attempt)) {
            Some(sender) => drop(sender.send(stream)),
            None => {
                if inner.waiting.len() >= WAITING_MAX {
                    inner.waiting.remove(0);
                }
                inner.waiting.push(((job, attempt), stream));
            }
        }
    }

    /// Opens an attempt; streams that came before it are delivered at once.
    pub fn open(&self, job: JobId, attempt: Attempt) -> (mpsc::UnboundedReceiver<PeerStream>, Seat) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.inner();
        let key = (job, attempt);
        let (now, later) = core::mem::take(&mut inner.waiting).into_iter().partition(|(k, _)| *k == key);
        inner.waiting = later;
        let now: Vec<(Key, PeerStream)> = now;
        for (_, stream) in now {
            let _ = sender.send(stream);
        }
        inner.running.insert(key, sender);
        (receiver, Seat { board: self.clone(), key })
    }
}

/// Closes the attempt on the switchboard when dropped.
pub struct Seat {
    board: Switchboard,
    key: Key,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.inner().running.remove(&self.key);
    }
}
