//! The nodes that are connected. A node counts from its registration on: the same key may also dial
//! for a single question.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tacit_engine::{FromNode, ToNode};
use tacit_net::{CloseReason, Connection};
use tacit_types::{Code, Fault, NodeId, wire};
use tokio::sync::watch;

/// The current connection of each node.
pub(crate) struct Nodes {
    current: Mutex<BTreeMap<NodeId, Connection>>,
    changed: watch::Sender<u64>,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self { current: Mutex::default(), changed: watch::channel(0).0 }
    }

    fn current(&self) -> MutexGuard<'_, BTreeMap<NodeId, Connection>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection as its node's. Whether it was not before. The one before it is closed: a node
    /// that was killed and started again has another, and requests under way on the dead one would wait
    /// until its silence is long enough.
    pub(crate) fn up(&self, connection: &Connection) -> bool {
        let old = self.current().insert(connection.peer(), connection.clone());
        if old.as_ref().is_some_and(|old| old.same(connection)) {
            return false;
        }
        if let Some(old) = old {
            old.close(CloseReason::Replaced);
        }
        self.changed.send_modify(|n| *n += 1);
        true
    }

    /// Forgets a connection that has ended. Whether its node is away now.
    pub(crate) fn down(&self, connection: &Connection) -> bool {
        let mut current = self.current();
        let was = current.get(&connection.peer()).is_some_and(|c| c.same(connection));
        if was {
            current.remove(&connection.peer());
            drop(current);
            self.changed.send_modify(|n| *n += 1);
        }
        was
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<Connection> {
        self.current().get(node).filter(|c| c.end().is_none()).cloned()
    }

    /// Closes the connections that do not hold any more.
    pub(crate) fn close(&self, over: impl Fn(&Connection) -> bool) {
        self.current().values().filter(|c| over(c)).for_each(|c| c.close(CloseReason::Refused));
    }

    pub(crate) fn is_up(&self, node: &NodeId) -> bool {
        self.get(node).is_some()
    }

    /// Changes whenever a node comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The node's connection, once there is one.
    pub(crate) async fn wait(&self, node: &NodeId) -> Connection {
        let mut changes = self.changes();
        loop {
            if let Some(connection) = self.get(node) {
                return connection;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks a node that is connected.
    ///
    /// # Errors
    /// `job.unreachable` when it is not; the connection's codes; `net.frame` for an answer that cannot
    /// be read.
    pub(crate) async fn ask(&self, node: &NodeId, frame: &[u8], time: Duration) -> Result<FromNode, Fault> {
        let away = || Fault::new(Code::JobUnreachable, format!("node {} is not connected", node.short()));
        let connection = self.get(node).ok_or_else(away)?;
        ask(&connection, frame, time).await
    }
}

/// Asks over a connection.
///
/// # Errors
/// The connection's codes; `net.frame` for an answer that cannot be read.
pub(crate) async fn ask(connection: &Connection, frame: &[u8], time: Duration) -> Result<FromNode, Fault> {
    let answer = connection.request_within(frame, time).await.map_err(Fault::from)?;
    let malformed = |e: wire::WireError| Fault::new(Code::NetFrame, format!("{}: {e}", connection.peer().short()));
    wire::decode(&answer).map_err(malformed)
}

/// The word of a promise on its way.
pub(crate) const PROMISED: &str = "promised";

/// The word of a request's kind.
pub(crate) const fn word(request: &ToNode) -> &'static str {
    match request {
        ToNode::Admit { .. } => "admit",
        ToNode::Plan { .. } => "plan",
        ToNode::Reserve { .. } => "reserve",
        ToNode::Start { .. } => "start",
        ToNode::Cancel { .. } => "cancel",
        ToNode::Attest { .. } => "attest",
        ToNode::Cosign { .. } => "cosign",
        ToNode::Logged { .. } => "logged",
        ToNode::Close { .. } => "close",
        ToNode::Ping => "ping",
        ToNode::Held => "held",
        ToNode::Promised { .. } => PROMISED,
    }
}
