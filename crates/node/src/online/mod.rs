//! Scores online at the recipient's node: published models, callers, and the HTTP server that takes their calls.

mod body;
mod http;
mod link;
mod series;
pub mod signature;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault, JobId, NodeId, UnixMillis};
use tokio::sync::{mpsc, oneshot};

pub use crate::listener::CONNECTIONS_MAX;
pub use body::BODY_BYTES_MAX;
pub use link::CALLS_WAITING_MAX;
pub(crate) use link::HostLink;
use link::{Phase, Together, Window};
pub use series::LATENCIES_MAX;
use series::Series;
use signature::Nonces;

use crate::daemon::Inner;
use crate::store::{CallRow, PublishedRow};

/// Openings of calls that wait to be written down.
pub const OPENINGS_WAITING_MAX: usize = 1 << 16;
/// The longest time that a call may be made to wait for others, in milliseconds.
pub const BATCH_MS_MAX: u64 = 1_000;
/// How often the node looks what is published and who may call.
const FOLLOW: Duration = Duration::from_millis(500);
/// How long an opening may be missing on disk.
const OPENINGS_PAUSE: Duration = Duration::from_millis(100);

/// What stands under `[online]` in `node.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineConfig {
    /// The TCP address of the HTTP server.
    #[serde(default = "listen_default")]
    pub listen: String,
}

fn listen_default() -> String {
    "127.0.0.1:7480".into()
}

impl OnlineConfig {
    /// Checks the address.
    ///
    /// # Errors
    /// `config.malformed`.
    pub fn check(&self) -> Result<std::net::SocketAddr, Fault> {
        self.listen.parse().map_err(|_| Fault::new(Code::ConfigMalformed, format!("online.listen: `{}`", self.listen)))
    }
}

/// What is published, who may call, and the windows that are expected or open.
pub(crate) struct Online {
    series: RwLock<BTreeMap<String, Arc<Series>>>,
    callers: RwLock<BTreeMap<NodeId, String>>,
    nonces: Mutex<Nonces>,
    windows: Mutex<BTreeMap<JobId, Arc<Window>>>,
    openings: mpsc::Sender<CallRow>,
    waiting: Mutex<Option<mpsc::Receiver<CallRow>>>,
}

impl Online {
    pub fn new(started: UnixMillis) -> Self {
        let (openings, waiting) = mpsc::channel(OPENINGS_WAITING_MAX);
        Self {
            series: RwLock::default(),
            callers: RwLock::default(),
            nonces: Mutex::new(Nonces::new(started.0 / 1000)),
            windows: Mutex::default(),
            openings,
            waiting: Mutex::new(Some(waiting)),
        }
    }

    /// The seat's end of a window for an attempt that begins.
    pub fn link(&self, job: &JobId, attempt: u32) -> HostLink {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.get(job).map_or_else(|| HostLink::orphan(attempt), |window| window.link(attempt))
    }

    /// The window that a job will open here.
    fn awaited(&self, job: JobId, together: Together) -> Arc<Window> {
        let window = Window::new(job, together, self.openings.clone());
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).insert(job, window.clone());
        window
    }

    fn forget(&self, job: &JobId) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// Forgets a window that was told to close, and those before it that have.
    fn forget_when_ended(&self, window: &Window) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = |job: &JobId, w: &Window| *job != window.job || w.phase() == Phase::Opening;
        windows.retain(|job, w| keep(job, w) && w.phase() != Phase::Ended);
    }

    fn series(&self, name: &str) -> Option<Arc<Series>> {
        self.series.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn caller(&self, key: &NodeId) -> Option<String> {
        self.callers.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

/// Serves what is published, as long as the node runs. The listener is bound before the node says that it runs.
pub(crate) async fn serve(inner: Arc<Inner>, listener: tokio::net::TcpListener) {
    let waiting = inner.online.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(waiting) = waiting {
        inner.spawn(write_openings(inner.clone(), waiting));
    }
    inner.spawn(http::serve(inner.clone(), listener));
    follow(inner).await;
}

/// Starts and ends a series for each model that is published here.
async fn follow(inner: Arc<Inner>) {
    let mut running: BTreeMap<String, (PublishedRow, oneshot::Sender<()>)> = BTreeMap::new();
    loop {
        if let Ok(callers) = inner.store.callers().await {
            let callers = callers.into_iter().map(|c| (c.key, c.name)).collect();
            *inner.online.callers.write().unwrap_or_else(PoisonError::into_inner) = callers;
        }
        if let Ok(published) = inner.store.published().await {
            let same = |a: &PublishedRow, b: &PublishedRow| {
                (&a.template, a.batch_ms, a.added_at) == (&b.template, b.batch_ms, b.added_at)
            };
            let gone = |name: &String, row: &PublishedRow| !published.iter().any(|p| p.name == *name && same(p, row));
            // A dropped sender ends its series.
            let ended: Vec<String> = running.extract_if(.., |name, (row, _)| gone(name, row)).map(|(n, _)| n).collect();
            let mut series = inner.online.series.write().unwrap_or_else(PoisonError::into_inner);
            ended.iter().for_each(|name| drop(series.remove(name)));
            for row in published.into_iter().filter(|row| !running.contains_key(&row.name)).collect::<Vec<_>>() {
                match Series::new(row.clone()) {
                    Ok(one) => {
                        let (stop, stopped) = oneshot::channel();
                        series.insert(row.name.clone(), one.clone());
                        running.insert(row.name.clone(), (row, stop));
                        inner.spawn(series::run(inner.clone(), one, stopped));
                    }
                    Err(fault) => tracing::error!(%fault, "what is published cannot be served"),
                }
            }
        }
        tokio::time::sleep(FOLLOW).await;
    }
}

/// Writes openings down, many at a time.
async fn write_openings(inner: Arc<Inner>, mut waiting: mpsc::Receiver<CallRow>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, 4096).await > 0 {
        while let Err(fault) = inner.store.put_calls(&batch).await {
            tracing::error!(%fault, "the openings of calls could not be written down");
            if !matches!(fault.code, Code::StoreFull | Code::StoreLocked) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        batch.clear();
        tokio::time::sleep(OPENINGS_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tacit_receipts::Call;
    use tacit_types::Hash;

    use super::*;

    /// More openings than the disk takes in time are not waited for: a call goes on without its own.
    #[test]
    fn openings_wait_up_to_their_limit() {
        let online = Online::new(UnixMillis(0));
        let call = Call { at_ms: 0, keys: 1, request: Hash([0; 32]), salt: Hash([0; 32]) };
        let row = || CallRow { job: JobId([1; 32]), number: 0, call, caller: String::new(), at: UnixMillis(0) };
        for _ in 0..OPENINGS_WAITING_MAX {
            online.openings.try_send(row()).unwrap();
        }
        assert!(online.openings.try_send(row()).is_err(), "one past it");
    }
}
