//! One connection per peer, kept alive: dials with backoff, settles simultaneous dials, tells the
//! daemon who came and who went.
//!
//! Two nodes that dial each other at the same moment get two connections. Both ends then use the one
//! that the smaller key dialled. The side that dialled the other one closes it, once nothing runs on
//! it, and only while it holds the one in use: so a side that still believes in a dead connection
//! never takes away its peer's live one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tacit_types::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::address::Address;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::{CloseReason, NetError};
use crate::hello::Purpose;

/// Pause after the first failed dial; doubles with each further one.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two dials.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// Events that wait for the daemon.
const EVENT_QUEUE: usize = 256;
/// Time in which both ends have surely chosen between two connections.
const DRAIN_MIN: Duration = Duration::from_secs(1);
/// Longest life of a connection that was not chosen.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How a peer is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Dial when somebody asks for the peer.
    #[default]
    OnDemand,
    /// Dial at once and again whenever the connection is lost.
    Always,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection with a member is up, dialled by either side. The daemon serves it: it calls
    /// [`Connection::accept`] on it until that fails. A peer may briefly have two. The mesh holds
    /// back new connections while 256 events wait, so the task that reads events should not itself
    /// wait for [`Mesh::to`].
    Up(Connection),
    /// The last connection with a peer has ended.
    Down {
        /// The peer.
        peer: NodeId,
        /// Why.
        why: NetError,
    },
    /// Somebody connected to redeem an invitation. Not part of the mesh; closes by itself.
    Enrol(Connection),
}

/// The events of a mesh, in order.
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` once the mesh is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// The connections of one endpoint. Clones are handles; when the last is dropped, the tasks end.
#[derive(Clone)]
pub struct Mesh(Arc<Handle>);

struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Inner {
    endpoint: Endpoint,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    events: mpsc::Sender<Event>,
    /// `None` once the mesh has stopped: a task that ends late must not begin another.
    tasks: Mutex<Option<JoinSet<()>>>,
}

#[derive(Default)]
struct Peer {
    /// Set by the caller; a peer that merely came in has no book entry and is forgotten when it goes.
    listed: bool,
    address: Option<Address>,
    keep: Keep,
    current: Option<Connection>,
    standby: Option<Connection>,
    dialling: bool,
    failures: u64,
    last_error: Option<NetError>,
    /// Wakes those who wait for the peer.
    changed: Arc<Notify>,
    /// Wakes the dialling task from its pause.
    wanted: Arc<Notify>,
}

impl Peer {
    fn live(&self) -> Option<&Connection> {
        self.current.as_ref().filter(|c| c.end().is_none())
    }
}

impl Mesh {
    /// Takes over the endpoint's accepting side. Must be called within a tokio runtime.
    pub fn start(endpoint: Endpoint) -> (Self, Events) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let inner =
            Arc::new(Inner { endpoint, peers: Mutex::default(), events, tasks: Mutex::new(Some(JoinSet::new())) });
        inner.spawn(accept(inner.clone()));
        (Self(Arc::new(Handle(inner))), Events(receiver))
    }

    /// The endpoint under the mesh.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.0.endpoint
    }

    /// Enters a peer in the address book or changes its entry. A peer without an address can only
    /// come in by itself.
    pub fn set_peer(&self, peer: NodeId, address: Option<Address>, keep: Keep) {
        let inner = &self.0.0;
        if peer == inner.endpoint.id() {
            return;
        }
        {
            let mut peers = inner.peers();
            let entry = peers.entry(peer).or_default();
            entry.listed = true;
            entry.address = address;
            entry.keep = keep;
            entry.wanted.notify_one();
        }
        if keep == Keep::Always {
            inner.dial(peer);
        }
    }

    /// Takes a peer out of the book and closes its connections.
    pub fn remove_peer(&self, peer: &NodeId) {
        let closing = {
            let mut peers = self.0.0.peers();
            let Some(entry) = peers.get_mut(peer) else { return };
            (entry.listed, entry.address, entry.keep) = (false, None, Keep::OnDemand);
            entry.changed.notify_waiters();
            entry.wanted.notify_one();
            let closing = [entry.current.clone(), entry.standby.clone()];
            if entry.current.is_none() {
                peers.remove(peer);
            }
            closing
        };
        for connection in closing.into_iter().flatten() {
            connection.close(CloseReason::Done);
        }
    }

    /// The connection with a peer, dialled if need be, within the endpoint's connect time.
    ///
    /// # Errors
    /// As [`Mesh::to_within`].
    pub async fn to(&self, peer: &NodeId) -> Result<Connection, NetError> {
        let time = self.0.0.endpoint.config().timing.connect;
        self.to_within(peer, time).await
    }

    /// The connection with a peer, dialled if need be, within `time`.
    ///
    /// # Errors
    /// [`NetError::NoAddress`] for a peer that is not in the book, or that has no address and does
    /// not come in in time; how the dial failed; [`NetError::Deadline`].
    pub async fn to_within(&self, peer: &NodeId, time: Duration) -> Result<Connection, NetError> {
        let deadline = Instant::now() + time;
        let inner = &self.0.0;
        let mut failures_before = None;
        loop {
            let changed = {
                let mut peers = inner.peers();
                let entry = peers.get_mut(peer).ok_or(NetError::NoAddress(*peer))?;
                if let Some(connection) = entry.live() {
                    return Ok(connection.clone());
                }
                if !entry.listed {
                    return Err(NetError::NoAddress(*peer));
                }
                let before = *failures_before.get_or_insert(entry.failures);
                if let Some(error) = entry.last_error.clone().filter(|_| entry.failures > before) {
                    return Err(error);
                }
                entry.wanted.notify_one();
                entry.changed.clone().notified_owned()
            };
            inner.dial(*peer);
            if timeout_at(deadline, changed).await.is_err() {
                return Err(inner.late(peer, time));
            }
        }
    }

    /// The connections in use, one per peer.
    pub fn connected(&self) -> Vec<Connection> {
        self.0.0.peers().values().filter_map(|entry| entry.live().cloned()).collect()
    }

    /// Why the last dial of a peer failed, if no connection came since.
    pub fn last_error(&self, peer: &NodeId) -> Option<NetError> {
        self.0.0.peers().get(peer).and_then(|entry| entry.last_error.clone())
    }

    /// Ends the tasks and closes the endpoint.
    pub async fn close(&self) {
        self.0.0.stop();
        self.0.0.endpoint.close().await;
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mesh({:?}, {} peers)", self.endpoint(), self.0.0.peers().len())
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

impl Inner {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Aborts all tasks, outside the lock: what they hold may want it.
    fn stop(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(tasks);
    }

    fn late(&self, peer: &NodeId, time: Duration) -> NetError {
        match self.peers().get(peer) {
            Some(entry) if entry.address.is_some() => {
                NetError::Deadline { doing: "connecting to a peer", waited_ms: time.as_millis() as u64 }
            }
            _ => NetError::NoAddress(*peer),
        }
    }

    /// Begins to dial, unless somebody does already or there is no need.
    fn dial(self: &Arc<Self>, peer: NodeId) {
        {
            let mut peers = self.peers();
            match peers.get_mut(&peer) {
                Some(entry) if !entry.dialling && entry.address.is_some() && entry.live().is_none() => {
                    entry.dialling = true;
                }
                _ => return,
            }
        }
        self.spawn(dial(self.clone(), peer));
    }

    /// What the dialling task does next: the address to try, or nothing.
    fn next_address(&self, peer: &NodeId) -> Option<Address> {
        let mut peers = self.peers();
        let entry = peers.get_mut(peer)?;
        if entry.live().is_none()
            && let Some(address) = entry.address.clone()
        {
            return Some(address);
        }
        entry.dialling = false;
        None
    }

    /// Notes a failed dial; the signal that cuts the pause short, or `None` to stop dialling.
    fn dial_failed(&self, peer: &NodeId, error: NetError) -> Option<Arc<Notify>> {
        let mut peers = self.peers();
        let entry = peers.get_mut(peer)?;
        entry.failures += 1;
        entry.last_error = Some(error);
        entry.changed.notify_waiters();
        if entry.keep == Keep::Always {
            return Some(entry.wanted.clone());
        }
        entry.dialling = false;
        None
    }

    /// Gives a new connection its place beside the one that is there. The event's slot is taken
    /// before the change, so that events come in the order of the changes.
    async fn settle(self: &Arc<Self>, connection: Connection) {
        let peer = connection.peer();
        let Ok(slot) = self.events.reserve().await else { return };
        let loser = {
            let mut peers = self.peers();
            let entry = peers.entry(peer).or_default();
            entry.last_error = None;
            let loser = place(entry, connection.clone(), self.endpoint.id() < peer);
            entry.changed.notify_waiters();
            slot.send(Event::Up(connection.clone()));
            loser
        };
        if let Some(loser) = loser.filter(Connection::dialled) {
            self.spawn(drain(self.clone(), loser));
        }
        self.spawn(watch(self.clone(), connection));
    }

    /// Takes an ended connection out, and reports when it was the peer's last. Whether to dial again.
    async fn ended(&self, connection: &Connection, why: NetError) -> bool {
        let peer = connection.peer();
        let Ok(slot) = self.events.reserve().await else { return false };
        let mut peers = self.peers();
        let Some(entry) = peers.get_mut(&peer) else { return false };
        if entry.standby.as_ref().is_some_and(|c| c.same(connection)) {
            entry.standby = None;
        }
        if entry.current.as_ref().is_none_or(|c| !c.same(connection)) {
            return false;
        }
        entry.current = entry.standby.take();
        entry.changed.notify_waiters();
        if entry.current.is_some() {
            return false;
        }
        slot.send(Event::Down { peer, why });
        let again = entry.keep == Keep::Always;
        if !entry.listed {
            peers.remove(&peer);
        }
        again
    }

    /// Whether another connection than this one is in use with its peer.
    fn uses_another(&self, connection: &Connection) -> bool {
        let peers = self.peers();
        peers.get(&connection.peer()).and_then(Peer::live).is_some_and(|c| !c.same(connection))
    }

    fn dialled(&self, peer: &NodeId) {
        if let Some(entry) = self.peers().get_mut(peer) {
            entry.dialling = false;
        }
    }

    fn lists(&self, peer: &NodeId) -> bool {
        self.peers().get(peer).is_some_and(|entry| entry.listed)
    }
}

/// Puts a connection into a peer's entry. `we_are_smaller` compares our key with the peer's. The
/// loser of a simultaneous dial is returned; connections that can only be dead are closed.
fn place(entry: &mut Peer, new: Connection, we_are_smaller: bool) -> Option<Connection> {
    let Some(old) = entry.live().cloned() else {
        entry.current = Some(new);
        return None;
    };
    // The peer's process is another one, or the same side dialled again: it has lost the old one.
    if old.instance() != new.instance() || old.dialled() == new.dialled() {
        old.close(CloseReason::Replaced);
        entry.current = Some(new);
        return None;
    }
    let new_wins = new.dialled() == we_are_smaller;
    let (winner, loser) = if new_wins { (new, old) } else { (old, new) };
    entry.current = Some(winner);
    if let Some(older) = entry.standby.replace(loser.clone()) {
        older.close(CloseReason::Replaced);
    }
    Some(loser)
}

async fn accept(mesh: Arc<Inner>) {
    while let Some(connection) = mesh.endpoint.accept().await {
        match connection.purpose() {
            Purpose::Member => mesh.settle(connection).await,
            Purpose::Enrol => {
                let _ = mesh.events.send(Event::Enrol(connection)).await;
            }
        }
    }
}

async fn dial(mesh: Arc<Inner>, peer: NodeId) {
    let (mut failed, mut told) = (0, None);
    while let Some(address) = mesh.next_address(&peer) {
        match mesh.endpoint.connect(&address, &peer, Purpose::Member).await {
            Ok(connection) => {
                mesh.dialled(&peer);
                if mesh.lists(&peer) {
                    mesh.settle(connection).await;
                } else {
                    connection.close(CloseReason::Done);
                }
                return;
            }
            Err(error) => {
                let code = error.code();
                // Whoever reads the log learns the cause, once and not with every try.
                if told == Some(code) {
                    tracing::debug!(peer = %peer.short(), %address, %error, "a dial failed");
                } else {
                    tracing::warn!(peer = %peer.short(), %address, %code, %error, "a dial failed; it is tried again");
                    told = Some(code);
                }
                let Some(wanted) = mesh.dial_failed(&peer, error) else { return };
                pause(failed, &wanted).await;
                failed += 1;
            }
        }
    }
}

/// Waits after a failed dial: never less than [`BACKOFF_MIN`], then until somebody wants the peer or
/// the jittered backoff is over.
async fn pause(failed: u32, wanted: &Notify) {
    let begun = Instant::now();
    let most = backoff(failed, crate::tls::random_u64().unwrap_or(0));
    sleep(BACKOFF_MIN).await;
    tokio::select! {
        () = wanted.notified() => {}
        () = sleep_until(begun + most) => {}
    }
}

/// Between a half and the whole of the doubled pause.
fn backoff(failed: u32, random: u64) -> Duration {
    let whole = BACKOFF_MIN.saturating_mul(1 << failed.min(16)).min(BACKOFF_MAX);
    let half = whole / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

/// Waits for a connection's end and dials again if the peer is to be kept.
async fn watch(mesh: Arc<Inner>, connection: Connection) {
    let why = connection.closed().await;
    if mesh.ended(&connection, why).await {
        sleep(backoff(0, crate::tls::random_u64().unwrap_or(0))).await;
        mesh.dial(connection.peer());
    }
}

/// Closes a connection that we dialled and that was not chosen, once nothing runs on it.
async fn drain(mesh: Arc<Inner>, loser: Connection) {
    let wait = async {
        sleep(DRAIN_MIN).await;
        while !loser.is_idle() {
            sleep(DRAIN_MIN / 4).await;
        }
    };
    let _ = timeout(DRAIN_MAX, wait).await;
    if mesh.uses_another(&loser) {
        loser.close(CloseReason::Duplicate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_stay_within_bounds() {
        assert_eq!(backoff(0, u64::MAX), BACKOFF_MIN);
        assert_eq!(backoff(0, 0), BACKOFF_MIN / 2);
        assert_eq!(backoff(3, u64::MAX), BACKOFF_MIN * 8);
        for failed in [7, 16, 17, 1000, u32::MAX] {
            assert_eq!(backoff(failed, u64::MAX), BACKOFF_MAX, "{failed}");
        }
    }
}
