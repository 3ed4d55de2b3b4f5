//! Stands in the middle of connections and keeps every frame in clear. It can, because it has the keys of both ends: a
//! test made them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_net::{CloseReason, Config, Connection, Endpoint, Identity, Incoming, NetError, Purpose};
use tacit_types::{Code, NodeId};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::wire::signing_key;
use crate::world::COORDINATOR;

/// How long an answer may take on its way through.
const ANSWER_WAIT: Duration = Duration::from_secs(90);

/// Frames that one party sent to another in one request, answer or stream, one after the other.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// Who sent them.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The frames.
    pub bytes: Vec<u8>,
}

/// Connections in clear.
pub struct Tap {
    // why: dropped first; what runs in it uses the rest.
    runtime: Runtime,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// By key: the name, and the endpoint that is the party to others. One for what comes in and what goes out, because a
    /// process has one.
    parties: Mutex<BTreeMap<NodeId, (String, Endpoint)>>,
    tapped: Mutex<Vec<Tapped>>,
}

impl Tap {
    /// Knows nobody yet.
    ///
    /// # Panics
    /// When there is no runtime.
    pub fn new() -> Self {
        Self { runtime: Runtime::new().unwrap_or_else(|e| panic!("{e}")), shared: Arc::default() }
    }

    /// Stands before a daemon, at an address of its own: whoever dials that reaches the daemon. Parties that dial have to be
    /// known: by this, or by [`Tap::know`].
    ///
    /// # Panics
    /// When the address cannot be had.
    pub fn before(&self, name: &str, home: &Path, daemon: SocketAddr) -> SocketAddr {
        let endpoint = self.know(name, home);
        let (shared, name, address) = (self.shared.clone(), name.to_owned(), endpoint.local_addr());
        self.runtime.spawn(async move {
            while let Some(dialled) = endpoint.accept().await {
                let (shared, name, peer) = (shared.clone(), name.clone(), endpoint.id());
                tokio::spawn(async move { shared.pass(dialled, &name, peer, daemon).await });
            }
        });
        address
    }

    /// From now on this party's connections may pass.
    ///
    /// # Panics
    /// When it has no key.
    pub fn know(&self, name: &str, home: &Path) -> Endpoint {
        let key = signing_key(home, if name == COORDINATOR { "root.key" } else { "node.key" });
        let _inside = self.runtime.enter();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config::with_gate(|_: &NodeId, _: Purpose| Ok::<(), Code>(()));
        let endpoint = Identity::from_signing_key(&key).and_then(|identity| Endpoint::bind(any, identity, config));
        let endpoint = endpoint.unwrap_or_else(|f| panic!("{f}"));
        lock(&self.shared.parties).insert(key.id(), (name.to_owned(), endpoint.clone()));
        endpoint
    }

    /// What has passed so far.
    pub fn tapped(&self) -> Vec<Tapped> {
        lock(&self.shared.tapped).clone()
    }
}

impl Default for Tap {
    fn default() -> Self {
        Self::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Dials on as who dialled, and hands everything over until one of the two ends.
    async fn pass(self: Arc<Self>, dialled: Connection, to: &str, peer: NodeId, daemon: SocketAddr) {
        let known = lock(&self.parties).get(&dialled.key()).cloned();
        let Some((from, endpoint)) = known else { panic!("an unknown party dials {to}") };
        let address = daemon.to_string().parse().unwrap_or_else(|f| panic!("{f}"));
        let dialling = endpoint.connect(&address, &peer, dialled.purpose()).await;
        let Ok(on) = dialling else { return dialled.close(CloseReason::Done) };
        // Whoever ends it, the other hears why.
        let why = tokio::select! {
            why = self.clone().one_way(&dialled, &on, (&from, to)) => why,
            why = self.clone().one_way(&on, &dialled, (to, &from)) => why,
        };
        let reason = if let NetError::Closed { reason, .. } = why { reason } else { CloseReason::Done };
        on.close(reason);
        dialled.close(reason);
    }

    async fn one_way(self: Arc<Self>, side: &Connection, other: &Connection, (from, to): (&str, &str)) -> NetError {
        let mut under_way = JoinSet::new();
        loop {
            let incoming = match side.accept().await {
                Ok(incoming) => incoming,
                Err(why) => return why,
            };
            let (shared, other) = (self.clone(), other.clone());
            let (from, to) = (from.to_owned(), to.to_owned());
            under_way.spawn(async move {
                match incoming {
                    Incoming::Request { bytes, responder } => {
                        shared.keep(&from, &to, &bytes);
                        if let Ok(answer) = other.request_within(&bytes, ANSWER_WAIT).await {
                            shared.keep(&to, &from, &answer);
                            let _ = responder.respond(&answer).await;
                        }
                    }
                    Incoming::Stream { header, mut receiver } => {
                        let at = shared.keep(&from, &to, &header);
                        let Ok(mut sender) = other.open_stream(&header).await else { return };
                        while let Ok(frame) = receiver.next().await {
                            let Some(frame) = frame else { return drop(sender.finish()) };
                            shared.more(at, &frame);
                            if sender.send_owned(frame).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    }

    /// What begins; gives where it is kept.
    fn keep(&self, from: &str, to: &str, bytes: &[u8]) -> usize {
        let mut tapped = lock(&self.tapped);
        tapped.push(Tapped { from: from.to_owned(), to: to.to_owned(), bytes: bytes.to_vec() });
        tapped.len() - 1
    }

    fn more(&self, at: usize, frame: &[u8]) {
        if let Some(tapped) = lock(&self.tapped).get_mut(at) {
            tapped.bytes.extend_from_slice(frame);
        }
    }
}
