//! Who may connect, and where streams of other seats wait for their attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tacit_net::config::Clock;
use tacit_net::limits::{DATA_FRAME_BYTES_MAX, DATA_STREAMS_MAX};
use tacit_net::{DataReceiver, Gate, Profile, Purpose};
use tacit_receipts::{KeyHistory, KeyRole};
use tacit_types::{Attempt, Code, JobId, NodeId};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Who may connect: the coordinator and the parties known by their cards, each with the keys that speak for it now.
#[derive(Clone)]
pub struct Known(Arc<Book>);

struct Book {
    ids: RwLock<BTreeSet<NodeId>>,
    keys: RwLock<Arc<KeyHistory>>,
    clock: Clock,
    /// Somebody showed a key that speaks for nobody known: the log may say whose it is.
    stranger: Notify,
}

impl Known {
    /// Nobody, of the keys that the log has named so far.
    pub fn new(keys: KeyHistory, clock: Clock) -> Self {
        let (ids, keys) = (RwLock::default(), RwLock::new(Arc::new(keys)));
        Self(Arc::new(Book { ids, keys, clock, stranger: Notify::new() }))
    }

    /// Takes a node in.
    pub fn insert(&self, node: NodeId) {
        self.0.ids.write().unwrap_or_else(PoisonError::into_inner).insert(node);
    }

    /// The keys that parties have had.
    pub fn keys(&self) -> Arc<KeyHistory> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them by what the log says now.
    pub fn follow(&self, keys: KeyHistory) {
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Has the log be read on: it may name a key that is not known here.
    pub fn read_on(&self) {
        self.0.stranger.notify_one();
    }

    /// Resolves when a key was shown that speaks for nobody known.
    pub async fn stranger(&self) {
        self.0.stranger.notified().await;
    }
}

impl Gate for Known {
    fn admit(&self, key: &NodeId, purpose: Purpose) -> Result<(), Code> {
        let (keys, now) = (self.keys(), (self.0.clock)());
        let id = keys.id_of(KeyRole::Node, key);
        let known = self.0.ids.read().unwrap_or_else(PoisonError::into_inner).contains(&id);
        if !known || purpose != Purpose::Member {
            self.0.stranger.notify_one();
            return Err(Code::NetRefused);
        }
        if keys.speaks(KeyRole::Node, &id, key, now) { Ok(()) } else { Err(Code::ReceiptKeyRetired) }
    }

    fn id_of(&self, key: &NodeId) -> NodeId {
        self.keys().id_of(KeyRole::Node, key)
    }

    fn keys_of(&self, peer: &NodeId) -> Vec<NodeId> {
        self.keys().holding(KeyRole::Node, peer, (self.0.clock)())
    }

    fn mismatch(&self, _: &NodeId, _: &NodeId) {
        self.0.stranger.notify_one();
    }
}

/// A stream of another seat.
pub struct PeerStream {
    /// Whose.
    pub peer: NodeId,
    /// Its frames.
    pub receiver: DataReceiver,
}

/// Streams of one peer that may wait for attempts that have not begun here: a peer may be told to start
/// first. Fewer than a connection carries, so that streams of attempts that run always find a place.
pub const WAITING_PER_PEER_MAX: usize = 16;
/// Streams of all peers that may wait.
pub const WAITING_MAX: usize = 1024;
/// Bytes that one peer can pin in streams that wait: nothing of them is read, so each holds QUIC's window.
pub const WAITING_BYTES_PER_PEER_MAX: u64 = WAITING_PER_PEER_MAX as u64 * Profile::Lan.stream_window() as u64;
/// How long a stream waits for its attempt.
pub const WAITING_TIME_MAX: Duration = Duration::from_secs(60);
/// Frames of one seat that wait for the machine of an attempt.
pub const FRAMES_PER_SEAT_MAX: usize = 4;
/// Bytes that one seat can pin in frames that wait for the machine of an attempt.
pub const FRAME_BYTES_PER_SEAT_MAX: usize = FRAMES_PER_SEAT_MAX * DATA_FRAME_BYTES_MAX;

const _: () = assert!(FRAME_BYTES_PER_SEAT_MAX <= 8 << 20);
const _: () = assert!(WAITING_PER_PEER_MAX < DATA_STREAMS_MAX as usize);
const _: () = assert!(WAITING_BYTES_PER_PEER_MAX <= Profile::Lan.receive_window() as u64 / 4 * 3);

type Key = (JobId, Attempt);

/// A stream that waits.
struct Waiting<S> {
    key: Key,
    peer: NodeId,
    since: Instant,
    stream: S,
}

struct Inner<S> {
    running: BTreeMap<Key, mpsc::UnboundedSender<S>>,
    /// In the order in which they came.
    waiting: Vec<Waiting<S>>,
}

/// Brings each incoming stream to its attempt.
pub struct Switchboard<S = PeerStream>(Arc<Mutex<Inner<S>>>);

impl<S> Default for Switchboard<S> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { running: BTreeMap::new(), waiting: Vec::new() })))
    }
}

impl<S> Clone for Switchboard<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Inner<S> {
    /// Drops what has waited too long, and makes room for one more of a peer: at its own cost when it has
    /// many, else at that of whoever has most.
    fn make_room(&mut self, peer: &NodeId, now: Instant) {
        self.waiting.retain(|w| now.duration_since(w.since) < WAITING_TIME_MAX);
        let mut count: BTreeMap<NodeId, usize> = BTreeMap::new();
        self.waiting.iter().for_each(|w| *count.entry(w.peer).or_default() += 1);
        let own = count.get(peer).copied().unwrap_or(0);
        let from = if own >= WAITING_PER_PEER_MAX {
            Some(*peer)
        } else if self.waiting.len() >= WAITING_MAX {
            count.into_iter().max_by_key(|(_, n)| *n).map(|(peer, _)| peer)
        } else {
            None
        };
        if let Some(oldest) = from.and_then(|from| self.waiting.iter().position(|w| w.peer == from)) {
            self.waiting.remove(oldest);
        }
    }
}

impl<S> Switchboard<S> {
    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a stream to its attempt, or keeps it until that begins. Dropped, a stream tells its sender
    /// to stop.
    pub fn deliver(&self, job: JobId, attempt: Attempt, peer: NodeId, stream: S) {
        self.deliver_at(Instant::now(), job, attempt, peer, stream);
    }

    fn deliver_at(&self, now: Instant, job: JobId, attempt: Attempt, peer: NodeId, stream: S) {
        let mut inner = self.inner();
        match inner.running.get(&(job, attempt)) {
            Some(sender) => drop(sender.send(stream)),
            None => {
                inner.make_room(&peer, now);
                inner.waiting.push(Waiting { key: (job, attempt), peer, since: now, stream });
            }
        }
    }

    /// Opens an attempt; streams that came before it are delivered at once.
    pub fn open(&self, job: JobId, attempt: Attempt) -> (mpsc::UnboundedReceiver<S>, Seat<S>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.inner();
        let key = (job, attempt);
        for waiting in inner.waiting.extract_if(.., |w| w.key == key) {
            let _ = sender.send(waiting.stream);
        }
        inner.running.insert(key, sender);
        (receiver, Seat { board: self.clone(), key })
    }
}

/// Closes the attempt on the switchboard when dropped.
pub struct Seat<S = PeerStream> {
    board: Switchboard<S>,
    key: Key,
}

impl<S> Drop for Seat<S> {
    fn drop(&mut self) {
        self.board.inner().running.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn job(n: u32) -> JobId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        JobId(id)
    }

    fn waiting(board: &Switchboard<u32>) -> Vec<u32> {
        board.inner().waiting.iter().map(|w| w.stream).collect()
    }

    /// A peer that opens streams without end loses its own, never another's.
    #[test]
    fn a_peer_with_many_streams_takes_no_place_of_another() {
        let board = Switchboard::<u32>::default();
        board.deliver(job(7), Attempt(1), peer(1), 7);
        let flood = 10_000..10_000 + 3 * WAITING_MAX as u32;
        flood.clone().for_each(|n| board.deliver(job(n), Attempt(1), peer(2), n));
        let kept = waiting(&board);
        assert_eq!(kept.len(), 1 + WAITING_PER_PEER_MAX);
        assert_eq!((kept[0], kept[kept.len() - 1]), (7, flood.end - 1), "the newest stay");
        let (mut streams, _seat) = board.open(job(7), Attempt(1));
        assert_eq!(streams.try_recv(), Ok(7));
    }

    /// Many peers together push out those who hold most.
    #[test]
    fn many_peers_together_push_out_who_holds_most() {
        let board = Switchboard::<u32>::default();
        board.deliver(job(7), Attempt(1), peer(255), 7);
        for n in 0..250u8 {
            for k in 0..WAITING_PER_PEER_MAX as u32 {
                let n = u32::from(n);
                board.deliver(job(1_000 + n * 100 + k), Attempt(1), peer(n as u8), 1_000 + n * 100 + k);
            }
        }
        let kept = waiting(&board);
        assert_eq!((kept.len(), kept[0]), (WAITING_MAX, 7));
    }

    #[test]
    fn a_stream_waits_for_a_time() {
        let (board, begun) = (Switchboard::<u32>::default(), Instant::now());
        board.deliver_at(begun, job(1), Attempt(1), peer(1), 1);
        board.deliver_at(begun + WAITING_TIME_MAX - Duration::from_millis(1), job(2), Attempt(1), peer(2), 2);
        assert_eq!(waiting(&board), [1, 2]);
        board.deliver_at(begun + WAITING_TIME_MAX, job(3), Attempt(1), peer(3), 3);
        assert_eq!(waiting(&board), [2, 3]);
    }

    #[test]
    fn a_peer_has_the_keys_that_hold_now() {
        use std::sync::atomic::{AtomicU64, Ordering};
        use tacit_crypto::{Secret, SigningKey};
        use tacit_receipts::PartyRotation;
        use tacit_types::UnixMillis;

        let key = |seed: u8| SigningKey::from_seed(&Secret::new([seed; 32]));
        let (old, new) = (key(1), key(2));
        let time = Arc::new(AtomicU64::new(0));
        let clock = time.clone();
        let known = Known::new(KeyHistory::new("l"), Arc::new(move || UnixMillis(clock.load(Ordering::SeqCst))));
        known.insert(old.id());
        let admit = |key: &SigningKey| known.admit(&key.id(), Purpose::Member);
        assert_eq!((admit(&old), admit(&new)), (Ok(()), Err(Code::NetRefused)));
        assert_eq!(known.keys_of(&old.id()), [old.id()]);

        let (from, until) = (UnixMillis(1_000_000), UnixMillis(2_000_000));
        let change = PartyRotation::sign("l", (KeyRole::Node, old.id()), (&old, &new), (from, until));
        let mut keys = KeyHistory::clone(&known.keys());
        keys.follow_any(&change, Some(3)).unwrap();
        known.follow(keys);
        time.store(until.0, Ordering::SeqCst);
        assert_eq!((admit(&old), admit(&new)), (Ok(()), Ok(())));
        assert_eq!((known.keys_of(&old.id()), known.id_of(&new.id())), (vec![old.id(), new.id()], old.id()));
        assert_eq!(known.admit(&new.id(), Purpose::Enrol), Err(Code::NetRefused));
        time.store(until.0 + 1, Ordering::SeqCst);
        assert_eq!((admit(&old), admit(&new)), (Err(Code::ReceiptKeyRetired), Ok(())));
        assert_eq!(known.keys_of(&old.id()), [new.id()]);
    }
}
