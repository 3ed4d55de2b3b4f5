//! Starting, connecting, dispatching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_engine::{FromCoordinator, LogInfo, ToCoordinator, WorkerContext, record};
use tacit_net::mesh::{Event, Events, Keep};
use tacit_net::{Address, Config as NetConfig, Connection, Endpoint, Identity, Incoming, Mesh};
use tacit_receipts::{KeyRole, LogChain};
use tacit_types::{Attempt, Code, Fault, JobId, NodeId, StatementId, UnixMillis, wire};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::asked::Paces;
use crate::client;
use crate::config::{Config, Keys};
use crate::egress::Ledger;
use crate::key_change;
use crate::link::StreamHeader;
use crate::log_keys;
use crate::mirror;
use crate::online::{self, Online};
use crate::peers::{Known, PeerStream, Switchboard};
use crate::promises;
use crate::recount::Recount;
use crate::serve::Refused;
use crate::site::Site;
use crate::store::{AttestationRow, Store};
use crate::witness::{self, Witnesses};

/// The database's file name.
pub const DATABASE_FILE: &str = "node.db";
/// How often the node looks whether its owner has registered a dataset or revoked a contract.
const OWNER_PAUSE: Duration = Duration::from_secs(1);
/// How long what has left may be missing in the ledger on disk: a crash loses that much of it.
pub(crate) const LEDGER_PAUSE: Duration = Duration::from_millis(200);
/// How often the node notes what time it is.
const TIME_PAUSE: Duration = Duration::from_secs(60);
/// Pause between two tries to deliver a report.
const REPORT_PAUSE: Duration = Duration::from_millis(500);
/// Pause between two looks for attestations that are not in the log.
const HAND_IN_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause, when the coordinator takes none.
const HAND_IN_PAUSE_MAX: Duration = Duration::from_secs(60);

/// A running node.
pub struct Node {
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
    _lock: std::fs::File,
}

/// A slot that is kept for an attempt or used by it.
pub(crate) struct Slot {
    pub(crate) attempt: Attempt,
    pub(crate) until: UnixMillis,
    /// To the running attempt, once it runs.
    pub(crate) cancel: Option<mpsc::Sender<Code>>,
}

pub(crate) struct Inner {
    pub(crate) home: PathBuf,
    pub(crate) config: Config,
    pub(crate) coordinator: NodeId,
    pub(crate) keys: Keys,
    pub(crate) signing: Arc<tacit_crypto::SigningKey>,
    pub(crate) store: Store,
    pub(crate) mesh: Mesh,
    pub(crate) known: Known,
    pub(crate) board: Switchboard,
    /// The log's keys, as far as they were followed.
    pub(crate) log_keys: Mutex<LogChain>,
    pub(crate) witnesses: Witnesses,
    pub(crate) log: Mutex<Option<LogInfo>>,
    pub(crate) slots: Mutex<BTreeMap<JobId, Slot>>,
    pub(crate) refused: Refused,
    pub(crate) to_coordinator: watch::Sender<Option<Connection>>,
    pub(crate) tasks: Mutex<Option<JoinSet<()>>>,
    /// Wakes the task that delivers reports.
    pub(crate) reports: tokio::sync::Notify,
    /// How a job ended was told here and could not be stored: it is asked for again.
    pub(crate) unclosed: AtomicBool,
    pub(crate) online: Online,
    /// What is left of each contract's rows a second.
    pub(crate) paces: Arc<Paces>,
    /// What went to the coordinator and is not written down yet.
    pub(crate) ledger: Ledger,
    /// What the log shows that this node has used.
    pub(crate) recount: Recount,
    /// The site's own policy.
    pub(crate) site: Option<Arc<Site>>,
}

impl Node {
    /// Opens a home folder and begins to serve.
    ///
    /// # Errors
    /// Those of configuration, keys and database; `store.locked` when another process serves this
    /// folder; `net.port_taken`.
    pub async fn start(home: &Path) -> Result<Self, Fault> {
        let config = Config::read(home)?;
        let keys = Keys::read(home)?;
        let site = Site::open(home, &config)?;
        let lock = lock(home)?;
        let store = Store::open(&home.join(DATABASE_FILE)).await?;
        let coordinator = config.coordinator_id()?;
        let party_keys = store.party_keys(&config.coordinator.origin).await?;
        key_change::retire(home, &party_keys, crate::now())?;
        let known = Known::new(party_keys, tacit_net::system_clock());
        known.insert(coordinator);
        for (_, card, _) in store.parties().await? {
            known.insert(card.node);
        }
        let callers = match &config.online {
            Some(online) => Some(listen_on(online.check()?, "online.listen").await?),
            None => None,
        };
        let asking = match &config.witness {
            Some(witness) => Some(listen_on(witness.check()?, "witness.listen").await?),
            None => None,
        };
        let signing = Arc::new(keys.node.share());
        let identity = Identity::from_signing_key(&signing)?.speaking_for(keys.node_id);
        // why: Config::parse has checked the address.
        let listen = config.listen.parse().map_err(|_| Fault::new(Code::ConfigMalformed, config.listen.clone()))?;
        let endpoint = Endpoint::bind(listen, identity, NetConfig::with_gate(known.clone()))?;
        let (mesh, events) = Mesh::start(endpoint);
        let log_keys = log_keys::followed(&config, &store).await?;
        let address: Address = config.coordinator.address.parse()?;
        let witnesses = Witnesses::open(&config, &keys, log_keys.newest(), &store).await?;
        let inner = Arc::new(Inner {
            home: home.to_owned(),
            coordinator,
            signing,
            store,
            mesh,
            known,
            board: Switchboard::default(),
            log_keys: Mutex::new(log_keys),
            witnesses,
            log: Mutex::default(),
            slots: Mutex::default(),
            refused: Refused::default(),
            to_coordinator: watch::channel(None).0,
            tasks: Mutex::new(Some(JoinSet::new())),
            reports: tokio::sync::Notify::new(),
            unclosed: AtomicBool::new(false),
            online: Online::new(crate::now()),
            paces: Arc::default(),
            ledger: Ledger::default(),
            recount: Recount::default(),
            site,
            config,
            keys,
        });
        inner.burn().await?;
        inner.mesh.set_peer(coordinator, Some(address), Keep::Always);
        if let Some(listener) = callers {
            inner.spawn(online::serve(inner.clone(), listener));
        }
        if inner.config.mirror {
            inner.spawn(mirror::follow(inner.clone()));
            inner.spawn(promises::watch(inner.clone()));
        }
        if let Some(listener) = asking {
            inner.spawn(witness::serve(inner.clone(), listener));
        }
        let (stop, stopped) = watch::channel(false);
        let done = tokio::spawn(serve(inner.clone(), events, stopped));
        Ok(Self { inner, stop, done, _lock: lock })
    }

    #[cfg(test)]
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Where it listens.
    pub fn local_addr(&self) -> std::net::SocketAddr {
        self.inner.mesh.endpoint().local_addr()
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.inner.keys.node_id
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.inner.home
    }

    /// Whether it is connected to its coordinator.
    pub fn is_connected(&self) -> bool {
        self.inner.to_coordinator.borrow().is_some()
    }

    /// Resolves when the node cannot go on, with the reason: after a failed write only a restart finds out
    /// what is durable.
    pub async fn failed(&self) -> Fault {
        self.inner.store.failed().await
    }

    /// Stops serving: running attempts end as if the node were lost, then everything is closed.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.done.await;
        let tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(tasks);
        self.inner.mesh.close().await;
        self.inner.write_ledger().await;
        self.inner.store.close().await;
    }
}

/// Binds an address that the configuration has under a key.
async fn listen_on(address: std::net::SocketAddr, key: &str) -> Result<tokio::net::TcpListener, Fault> {
    tokio::net::TcpListener::bind(address).await.map_err(|e| {
        let code = if e.kind() == std::io::ErrorKind::AddrInUse { Code::NetPortTaken } else { Code::IoFailed };
        Fault::new(code, format!("{key} {address}: {e}"))
    })
}

/// Takes the folder for this process.
fn lock(home: &Path) -> Result<std::fs::File, Fault> {
    let path = home.join("lock");
    let io = |e: std::io::Error| Fault::new(Code::IoFailed, format!("{}: {e}", path.display()));
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Fault::new(Code::StoreLocked, home.display().to_string())),
        Err(std::fs::TryLockError::Error(e)) => Err(io(e)),
    }
}

impl Inner {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    pub(crate) fn context(&self, now: UnixMillis) -> WorkerContext<'_> {
        WorkerContext {
            key: &self.signing,
            node: self.keys.node_id,
            keys: self.known.keys(),
            owner: self.keys.root.id(),
            origin: &self.config.coordinator.origin,
            coordinator: self.coordinator,
            now,
        }
    }

    /// Writes down what went to the coordinator, [`LEDGER_PAUSE`] after it did at the latest.
    async fn keep_ledger(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LEDGER_PAUSE).await;
            self.write_ledger().await;
        }
    }

    async fn write_ledger(&self) {
        if let Err(fault) = self.ledger.write(&self.store).await {
            tracing::debug!(%fault, "what went to the coordinator could not be written down yet");
        }
    }

    /// After a restart, every attempt that was running is over: as this node had voted, or without an end.
    async fn burn(&self) -> Result<(), Fault> {
        for id in self.store.open_ids().await? {
            let mut tx = self.store.begin().await?;
            let Some(mut job) = tx.job(&id).await? else { continue };
            if job.burn() {
                match job.untold {
                    true => {
                        tracing::warn!(job = %id.short(), "the node stopped after its vote; the end that it voted for stands")
                    }
                    false => {
                        tracing::warn!(job = %id.short(), "an attempt was running when the node stopped; it is burned")
                    }
                }
                tx.put_job(&id, &job).await?;
                tx.forget_records(&id).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Says hello to the coordinator and learns the roster and the log.
    async fn register(&self, connection: &Connection) -> Result<(), Fault> {
        let mut datasets = Vec::new();
        for row in self.store.datasets().await? {
            datasets.push(wire::Blob(row.descriptor));
        }
        datasets.extend(self.store.models().await?.into_iter().map(|row| wire::Blob(row.descriptor)));
        let address = if self.config.public.is_empty() {
            self.mesh.endpoint().local_addr().to_string()
        } else {
            self.config.public.clone()
        };
        let register = ToCoordinator::Register { address, datasets, slots: self.config.slots };
        client::ask(connection, &self.ledger, &register).await?;
        if let FromCoordinator::LogInfo(info) = client::ask(connection, &self.ledger, &ToCoordinator::LogInfo).await? {
            self.take_log(info).await?;
        }
        if let FromCoordinator::Roster(roster) = client::ask(connection, &self.ledger, &ToCoordinator::Roster).await? {
            for entry in roster {
                if let Err(fault) = self.store.put_party(&entry.card, &entry.address).await {
                    tracing::error!(%fault, "the coordinator's roster has a card that is not believed");
                    continue;
                }
                let card = tacit_governance::PartyCard::verify(&entry.card)?.into_body();
                self.known.insert(card.node);
            }
        }
        self.note_time().await?;
        self.catch_up(connection).await;
        self.reports.notify_one();
        Ok(())
    }

    /// Notes what time it is, so that a clock that is turned back later, the node running or not, brings no expired
    /// contract back. Only with a coordinator whose clock agrees: one that was wrong for once would lock the node.
    async fn note_time(&self) -> Result<(), Fault> {
        let mut tx = self.store.begin().await?;
        tx.high_water(crate::now()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes what may not be kept any longer. By the same clock as above, that one which is wrong for once removes nothing.
    async fn forget(&self) -> Result<(), Fault> {
        let rows = self.store.forget_row_sets(crate::now()).await;
        let found = crate::align::expire(&self.store, &self.home, crate::now()).await;
        rows.and(found)
    }

    /// Registers again whenever the owner's datasets or models have changed, so that others learn of them without
    /// a restart, and ends running attempts whose contract was revoked or suspended.
    async fn follow_owner(self: Arc<Self>) {
        let mut published = self.published_ids().await;
        let mut noted = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(OWNER_PAUSE).await;
            if noted.elapsed() >= TIME_PAUSE && self.to_coordinator.borrow().is_some() {
                noted = tokio::time::Instant::now();
                if let Err(fault) = self.note_time().await {
                    tracing::debug!(%fault, "the time could not be noted");
                }
                if let Err(fault) = self.forget().await {
                    tracing::warn!(%fault, "not all that has expired could be removed; `tacit doctor` says more");
                }
            }
            self.close_retired();
            for (job, why) in self.store.halted_jobs(crate::now()).await.unwrap_or_default() {
                self.cancel(&job, why.code);
            }
            let now = self.published_ids().await;
            let connection = self.to_coordinator.borrow().clone();
            if let (true, Some(connection)) = (now != published, connection)
                && self.register(&connection).await.is_ok()
            {
                published = now;
            }
        }
    }

    /// Closes connections that outlive the key with which they were made.
    fn close_retired(&self) {
        let (keys, now) = (self.known.keys(), crate::now());
        let over = |c: &Connection| !keys.speaks(KeyRole::Node, &c.peer(), &c.key(), now);
        self.mesh.connected().iter().filter(|c| over(c)).for_each(|c| c.close(tacit_net::CloseReason::Refused));
    }

    /// Offers what the coordinator does not take now again, less and less often.
    async fn hand_in_attestations(self: Arc<Self>) {
        let mut pause = HAND_IN_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let all =
                self.catches_up().await & self.attest_late().await & self.hand_in().await & self.closes_again().await;
            pause = if all { HAND_IN_PAUSE } else { (pause * 2).min(HAND_IN_PAUSE_MAX) };
        }
    }

    /// Asks for the ends of jobs that were told while they could not be stored, as on a full disk. Whether none is left.
    async fn closes_again(&self) -> bool {
        let Some(connection) = self.to_coordinator.borrow().clone() else { return true };
        if self.unclosed.swap(false, Ordering::Relaxed) {
            self.catch_up(&connection).await;
        }
        !self.unclosed.load(Ordering::Relaxed)
    }

    /// Attests records of jobs that have ended without it, though it ended the attempt well: it was away when it would have
    /// been asked. Whether none is left.
    async fn attest_late(&self) -> bool {
        let Some(connection) = self.to_coordinator.borrow().clone() else { return true };
        let Ok(owed) = self.store.owed().await else { return false };
        let mut all = true;
        for id in owed.into_iter().filter(|_| self.is_caught_up()) {
            let answer = client::ask(&connection, &self.ledger, &ToCoordinator::Record(id)).await;
            let settled = match answer {
                Ok(FromCoordinator::Record { record, .. }) if record::is_ahead(&record, crate::now()) => {
                    Err(Fault::new(Code::ClockSkew, "the record ends in the future"))
                }
                Ok(FromCoordinator::Record { record, evidence }) => {
                    match self.attest(&id, &record, &evidence).await {
                        // It would say the same of this record whenever it is asked.
                        Err(fault) if !passes(fault.code) => {
                            tracing::error!(%fault, job = %id.short(), "a record with a result is not attested");
                            self.forgive(&id).await
                        }
                        done => done.map(|_| tracing::info!(job = %id.short(), "attested late")),
                    }
                }
                Ok(_) => self.forgive(&id).await,
                Err(fault) if fault.code == Code::JobUnknown => self.forgive(&id).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = settled {
                tracing::debug!(job = %id.short(), %fault, "a record was not attested yet");
                all = false;
            }
        }
        all
    }

    /// There is nothing to attest of a job that has ended.
    async fn forgive(&self, id: &JobId) -> Result<(), Fault> {
        let mut tx = self.store.begin().await?;
        let Some(mut job) = tx.job(id).await? else { return Ok(()) };
        job.forgive();
        tx.put_job(id, &job).await?;
        tx.commit().await
    }

    /// Brings attestations to the log that their receipts were closed without, or whose answer was lost. Whether
    /// none is left.
    async fn hand_in(&self) -> bool {
        let Some(connection) = self.to_coordinator.borrow().clone() else { return true };
        let Ok(late) = self.store.late_attestations().await else { return false };
        let mut all = true;
        for AttestationRow { job, id, statement } in late {
            let request = ToCoordinator::Attested { job, attestation: wire::Blob(statement) };
            let taken = match client::ask(&connection, &self.ledger, &request).await {
                Ok(_) => self.attestation_logged(&id).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                tracing::debug!(job = %job.short(), %fault, "an attestation is not in the log yet");
                all = false;
            }
        }
        all
    }

    async fn attestation_logged(&self, id: &StatementId) -> Result<(), Fault> {
        let mut tx = self.store.begin().await?;
        tx.attestation_logged(id).await?;
        tx.commit().await
    }

    /// Ids of what is published: dataset versions and model versions.
    async fn published_ids(&self) -> Vec<[u8; 32]> {
        let datasets = self.store.datasets().await.unwrap_or_default();
        let models = self.store.models().await.unwrap_or_default();
        datasets.into_iter().map(|d| d.id.0).chain(models.into_iter().map(|m| m.id.0)).collect()
    }

    /// The log's keys, as far as they were followed.
    pub(crate) fn log_chain(&self) -> LogChain {
        self.log_keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the log that the configuration names, from key to key; another one is refused.
    async fn take_log(&self, info: LogInfo) -> Result<(), Fault> {
        let chain = log_keys::shown(&self.config, &self.store, &info).await?;
        if chain != self.log_chain() {
            log_keys::keep(&self.store, &info).await?;
            self.witnesses.rekey(chain.newest()).await?;
            tracing::info!(key = %chain.newest(), "the log has changed its key");
            *self.log_keys.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        }
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Some(info);
        Ok(())
    }

    /// Asks the coordinator for the log's keys again: its list of witnesses grows with the parties.
    pub(crate) async fn refresh_log(&self) -> Result<(), Fault> {
        let connection = self.to_coordinator.borrow().clone();
        let connection = connection.ok_or_else(|| Fault::new(Code::NetUnreachable, "the coordinator"))?;
        match client::ask(&connection, &self.ledger, &ToCoordinator::LogInfo).await? {
            FromCoordinator::LogInfo(info) => self.take_log(info).await,
            _ => Err(Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")),
        }
    }

    /// Asks how jobs ended that are open here.
    async fn catch_up(&self, connection: &Connection) {
        let Ok(open) = self.store.open_ids().await else { return };
        for id in open {
            let Ok(FromCoordinator::Job(view)) = client::ask(connection, &self.ledger, &ToCoordinator::Job(id)).await
            else {
                continue;
            };
            let ended = view.timeline.iter().any(|e| e.what == "ended");
            let Some(terminal) = view.terminal.filter(|_| ended) else { continue };
            crate::align::forget(&self.home, &id, terminal == tacit_engine::Terminal::Succeeded);
            // The answer may come when the job has gone on here.
            if let Err(fault) = self.store.close_job(&id, terminal).await {
                tracing::error!(%fault, job = %id.short(), "the end of a job could not be stored");
                self.unclosed.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Delivers reports until each is acknowledged.
    async fn deliver_reports(self: Arc<Self>) {
        loop {
            self.reports.notified().await;
            while !self.deliver_once().await {
                tokio::time::sleep(REPORT_PAUSE).await;
            }
        }
    }

    /// Whether nothing is left to deliver. A report that is not taken does not hold up the others.
    async fn deliver_once(&self) -> bool {
        let Some(connection) = self.to_coordinator.borrow().clone() else { return true };
        let Ok(waiting) = self.store.unreported().await else { return false };
        let mut all = true;
        for id in waiting {
            let Ok(Some(job)) = self.store.job(&id).await else { return false };
            let mut report = job.report(id);
            let attempt = job.attempt;
            if let Some(finish) = &mut report {
                let Ok(links) = self.store.links(&id).await else { return false };
                let links = links.filter(|links| links.attempt.0 == attempt);
                finish.links = links.and_then(|links| links.linked(&self.keys.node_id));
            }
            if let Some(finish) = report
                && let Err(fault) = client::ask(&connection, &self.ledger, &ToCoordinator::Report(finish)).await
            {
                tracing::debug!(job = %id.short(), %fault, "a report was not taken");
                if connection.end().is_some() {
                    return false;
                }
                all = false;
                continue;
            }
            if self.reported(&id, attempt).await.is_err() {
                return false;
            }
        }
        all
    }

    async fn reported(&self, id: &JobId, attempt: u32) -> Result<(), Fault> {
        let mut tx = self.store.begin().await?;
        let Some(mut job) = tx.job(id).await? else { return Ok(()) };
        if job.attempt == attempt {
            job.reported = true;
        }
        tx.put_job(id, &job).await?;
        tx.commit().await
    }
}

/// Whether what kept a record from being attested lies with this node's disk and may pass.
fn passes(code: Code) -> bool {
    code.text().starts_with("store.")
}

async fn serve(inner: Arc<Inner>, mut events: Events, mut stopped: watch::Receiver<bool>) {
    inner.spawn(inner.clone().deliver_reports());
    inner.spawn(inner.clone().follow_owner());
    inner.spawn(inner.clone().hand_in_attestations());
    inner.spawn(inner.clone().keep_ledger());
    inner.spawn(inner.clone().follow_strangers());
    inner.spawn(inner.clone().keep_memos());
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = stopped.changed() => return,
        };
        match event {
            Some(Event::Up(connection)) => {
                inner.spawn(serve_connection(inner.clone(), connection.clone()));
                if connection.peer() == inner.coordinator {
                    tracing::info!("connected to the coordinator");
                    inner.to_coordinator.send_replace(Some(connection.clone()));
                    let inner = inner.clone();
                    inner.clone().spawn(async move {
                        if let Err(fault) = inner.register(&connection).await {
                            tracing::error!(%fault, "registering with the coordinator");
                        }
                        if let Err(fault) = inner.recount(None).await {
                            tracing::warn!(%fault, "what this node has used is not counted: no job is admitted yet");
                        }
                    });
                }
            }
            Some(Event::Down { peer, why }) => {
                tracing::info!(peer = %peer.short(), %why, "a connection ended");
                if peer == inner.coordinator {
                    inner.to_coordinator.send_replace(None);
                }
            }
            Some(Event::Enrol(connection)) => connection.close(tacit_net::CloseReason::Refused),
            None => return,
        }
    }
}

async fn serve_connection(inner: Arc<Inner>, connection: Connection) {
    let peer = connection.peer();
    while let Ok(incoming) = connection.accept().await {
        match incoming {
            Incoming::Request { bytes, responder } if peer == inner.coordinator => {
                let serving = inner.clone();
                inner.spawn(async move {
                    if let Some(answer) = serving.respond(peer, &bytes).await {
                        let _ = responder.respond(&answer).await;
                    }
                });
            }
            Incoming::Request { bytes, responder } => {
                let serving = inner.clone();
                inner.spawn(async move {
                    if let Some(answer) = serving.answer_peer(peer, &bytes).await {
                        let _ = responder.respond(&answer).await;
                    }
                });
            }
            Incoming::Stream { header, receiver } => match wire::decode::<StreamHeader>(&header) {
                Ok(header) => inner.board.deliver(header.job, header.attempt, peer, PeerStream { peer, receiver }),
                Err(_) => receiver.stop(),
            },
        }
    }
}
