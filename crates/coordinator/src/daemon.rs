//! The daemon: what its tasks share, how it starts, how it stops.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_archive::Folder;
use tacit_crypto::{SealKey, SigningKey, Statement};
use tacit_engine::LogInfo;
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::invite::CodeBook;
use tacit_net::{Address, Endpoint, Identity, keyfile};
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::{KeyRole, VerifierKey};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Name, NodeId, UnixMillis};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::books::{self, Books};
use crate::clock::Clock;
use crate::config::Config;
use crate::depot::Depot;
use crate::driver::{self, Jobs};
use crate::home::{Home, os_rng};
use crate::log::{AppendRequest, Content, LogKeys, LogService, Parts, View};
use crate::nodes::Nodes;
use crate::party_keys::{self, Door, Taken};
use crate::roster::Roster;
use crate::rotation::LogSigners;
use crate::serve;
use crate::sign_key::Signer;
use crate::slots::Slots;
use crate::store::{Change, Fatal, Store, Writer};

/// Meta: the coordinator's own card.
const CARD: &str = "card";
/// How long a stop waits for the database to close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What the daemon's tasks share.
pub(crate) struct Shared {
    pub config: Config,
    /// The coordinator's key.
    pub id: NodeId,
    /// The coordinator's signed card.
    pub card: Blob,
    /// The address that invitations name.
    pub public: Address,
    pub log_key: VerifierKey,
    /// The signed changes of the log's key.
    pub rotations: Vec<Vec<u8>>,
    /// Signs promises.
    pub root: SigningKey,
    /// Signs what shows a leaf to be in the log.
    pub log_signer: SigningKey,
    pub clock: Arc<Clock>,
    pub store: Store,
    pub folder: Folder,
    /// Sealed bytes that are too large for a message.
    pub depot: Arc<Depot>,
    roster: watch::Sender<Arc<Roster>>,
    pub nodes: Arc<Nodes>,
    pub slots: Arc<Slots>,
    pub jobs: Jobs,
    pub appends: mpsc::Sender<AppendRequest>,
    /// What the log says about money.
    pub books: Books,
    /// Held while a late attestation is taken into its job.
    pub late: tokio::sync::Mutex<()>,
    /// Changes of parties' keys that were taken.
    pub party_keys: tokio::sync::Mutex<Taken>,
    pub log: View,
    pub invites: tokio::sync::Mutex<CodeBook>,
    /// `None` once the daemon stops: a task that ends late must not begin another.
    tasks: Mutex<Option<JoinSet<()>>>,
}

impl Shared {
    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.roster.borrow().clone()
    }

    /// Replaces the roster by what `change` makes of it.
    pub(crate) fn replace_roster(&self, change: impl FnOnce(&Roster) -> Roster) {
        self.roster.send_modify(|roster| *roster = Arc::new(change(roster)));
    }

    pub(crate) fn log_info(&self) -> LogInfo {
        let event = self.roster().key_event(self.id, &self.log_key);
        LogInfo {
            origin: self.log_key.name().to_owned(),
            coordinator: self.id,
            log_key: event.log_key,
            witnesses: event.witnesses,
            quorum: event.quorum,
            rotations: self.rotations.iter().map(|bytes| Blob(bytes.clone())).collect(),
        }
    }

    /// Runs a task until it ends or the daemon stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while let Some(ended) = tasks.try_join_next() {
                if let Err(e) = ended
                    && e.is_panic()
                {
                    tracing::error!(error = %e, "a task failed");
                }
            }
            tasks.spawn(task);
        }
    }
}

/// The coordinator daemon.
pub struct Coordinator;

/// A daemon that runs. Dropped, it stops without waiting.
pub struct Running {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    writer: Option<Writer>,
    fatal: mpsc::Receiver<Fault>,
    _lock: std::fs::File,
}

impl Coordinator {
    /// Starts the daemon of a home.
    ///
    /// # Errors
    /// `config.absent`, `config.malformed`, `config.key_permissions`; `store.locked` when another
    /// process serves this home; `store.corrupt`, `log.corrupt`, `log.fork` when what is stored does
    /// not hold together; `net.port_taken`.
    pub async fn start(home: &Path) -> Result<Running, Fault> {
        let paths = Home::new(home);
        let config = Config::read(&paths.config())?;
        let lock = paths.lock()?;
        let root = keyfile::read_signing(&paths.root_key())?;
        let clock = Arc::new(Clock::system());
        let mut signers = LogSigners::load(&paths, &config.origin)?;
        signers.retire(&paths, clock.now())?;
        let signer = Signer::load(&paths, &config.origin, &root)?;
        let LogSigners { key: log_signer, verifier: log_key, before, chain, rotations } = signers;
        let (fatal, fatal_receiver) = Fatal::channel();
        let (store, writer) = Store::open(paths.database(), fatal.clone()).await?;
        let roster = Roster::load(store.parties().await?)?;
        let (taken, roster, untold) = Taken::load(&store, &config.origin, roster, &signer.changes).await?;
        if taken.keys.newest(KeyRole::Coordinator, &root.id()) != signer.key.id() {
            let what = "sign.key is not the key that the log names for receipts";
            return Err(Fault::new(Code::ConfigMalformed, what));
        }
        let roster = Arc::new(roster);
        let card = own_card(store.clone(), root.share(), clock.now()).await?;
        let nodes = Arc::new(Nodes::new());
        let (roster, roster_view) = watch::channel(roster);
        let identity = Identity::from_signing_key(&root)?;
        let (id, promiser) = (root.id(), signer.key.share());
        let parts = Parts {
            keys: LogKeys {
                id,
                sign: signer.key,
                changes: signer.changes.iter().map(|change| change.bytes().to_vec()).collect(),
                log: log_signer.share(),
                verifier: log_key.clone(),
                before,
                chain,
                rotations: rotations.clone(),
            },
            folder: Folder::new(paths.log()),
            store: store.clone(),
            fatal,
            clock: clock.clone(),
            nodes: nodes.clone(),
            roster: roster_view.clone(),
        };
        let (service, appends, view) = LogService::open(parts).await?;
        let gate = Door { id, roster: roster_view, clock: clock.clone() };
        let endpoint = Endpoint::bind(config.listen, identity, tacit_net::Config::with_gate(gate))?;
        let origin = log_key.name().to_owned();
        let shared = Arc::new(Shared {
            id,
            card,
            public: public_address(&config, endpoint.local_addr()),
            log_key,
            rotations,
            root: promiser,
            log_signer,
            clock,
            folder: Folder::new(paths.log()),
            depot: Arc::new(Depot::open(paths.depot())?),
            roster,
            nodes,
            slots: Arc::default(),
            jobs: Jobs::default(),
            appends,
            books: Books::new(&origin, Folder::new(paths.log()), view.durable.clone()),
            late: tokio::sync::Mutex::default(),
            party_keys: tokio::sync::Mutex::new(taken),
            log: view,
            invites: tokio::sync::Mutex::new(code_book(store.clone()).await?),
            tasks: Mutex::new(Some(JoinSet::new())),
            store,
            config,
        });
        for party in shared.roster().parties().iter().filter(|p| p.row.slots > 0) {
            shared.slots.limit(party.row.node, party.row.slots);
        }
        // First of all: what the log signs from now on is signed with a key that only this explains.
        log_rotations(&shared).await?;
        for change in untold {
            shared.spawn(party_keys::put(shared.clone(), change, tokio::sync::oneshot::channel().0));
        }
        shared.spawn(service.run());
        shared.spawn(crate::log::patrol::patrol(shared.clone()));
        shared.spawn(books::read_ahead(shared.clone()));
        shared.spawn(party_keys::retire(shared.clone()));
        let open = shared.store.open_jobs().await?;
        tracing::info!(address = %endpoint.local_addr(), id = %id.short(), open = open.len(), "serving");
        open.into_iter().for_each(|job| driver::start(&shared, job, true));
        books::go_on(&shared).await?;
        shared.spawn(serve::accept(shared.clone(), endpoint.clone()));
        Ok(Running { shared, endpoint, writer: Some(writer), fatal: fatal_receiver, _lock: lock })
    }
}

impl Running {
    /// The address that the daemon has.
    pub fn local_addr(&self) -> SocketAddr {
        self.endpoint.local_addr()
    }

    /// The coordinator's key.
    pub fn fingerprint(&self) -> NodeId {
        self.shared.id
    }

    /// Makes an invitation, as the daemon's own operator would: `tacit1:...`, a secret until redeemed.
    ///
    /// # Errors
    /// `args.invalid`, `store.full`.
    pub async fn invite(&self, name: Name, role: &str, ttl_ms: u64) -> Result<String, Fault> {
        crate::enrol::invite(&self.shared, name, role, ttl_ms).await
    }

    /// Resolves when the daemon cannot go on, with the reason.
    pub async fn failed(&mut self) -> Fault {
        match self.fatal.recv().await {
            Some(fault) => fault,
            None => std::future::pending().await,
        }
    }

    /// Stops: closes the connections, ends the tasks, closes the database. What was under way is
    /// continued by the next start.
    pub async fn stop(mut self) {
        self.endpoint.close().await;
        let tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
        let writer = self.writer.take();
        // The writer ends when the last handle of the store is gone.
        drop(self);
        if let Some(writer) = writer
            && tokio::time::timeout(CLOSE_WAIT, writer.finish()).await.is_err()
        {
            tracing::warn!("the database is still busy");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(tasks);
    }
}

/// Serves a home until `shutdown` resolves.
///
/// # Errors
/// Those of [`Coordinator::start`]; `store.failed` or `io.failed` when the disk failed while serving:
/// the process must end then, and the next start finds out what is durable.
pub async fn run(home: &Path, shutdown: impl Future<Output = ()>) -> Result<(), Fault> {
    let mut running = Coordinator::start(home).await?;
    let end = tokio::select! {
        () = shutdown => Ok(()),
        fault = running.failed() => Err(fault),
    };
    running.stop().await;
    end
}

/// Hands changes of the log's key to the log that are not in it yet. The answer is of no use: the next start looks again.
async fn log_rotations(shared: &Arc<Shared>) -> Result<(), Fault> {
    let mut missing = Vec::new();
    for rotation in &shared.rotations {
        if shared.store.leaf_place(&leaf_hash(rotation)).await?.is_none() {
            missing.push(rotation.clone());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let appends = shared.appends.clone();
    // The queue has room for one, which is what there is but for a home that was restored: the first goes before all else.
    let mut requests = missing.into_iter().map(|rotation| {
        let content = Content::Statement { statement: Blob(rotation), reply: tokio::sync::oneshot::channel().0 };
        AppendRequest { nodes: Vec::new(), content }
    });
    if let Some(first) = requests.next() {
        let _ = appends.send(first).await;
    }
    let rest: Vec<AppendRequest> = requests.collect();
    shared.spawn(async move {
        for request in rest {
            let _ = appends.send(request).await;
        }
    });
    Ok(())
}

fn public_address(config: &Config, bound: SocketAddr) -> Address {
    let reachable = match bound.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => SocketAddr::from(([127, 0, 0, 1], bound.port())),
        ip if ip.is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, bound.port())),
        _ => bound,
    };
    config.public.clone().unwrap_or_else(|| reachable.into())
}

async fn code_book(store: Store) -> Result<CodeBook, Fault> {
    let mut book = CodeBook::default();
    for grant in store.invitations().await? {
        book.insert(grant)?;
    }
    Ok(book)
}

/// The coordinator's card: made at the first start, the same ever after. Nobody holds the key to which
/// its seal key would seal: a coordinator is sent nothing that is sealed.
async fn own_card(store: Store, root: SigningKey, now: UnixMillis) -> Result<Blob, Fault> {
    if let Some(card) = store.meta(CARD).await? {
        let own = PartyCard::verify(&card).is_ok_and(|card| card.signer() == root.id());
        return if own {
            Ok(Blob(card))
        } else {
            Err(Fault::new(Code::StoreCorrupt, "coordinator.db: the coordinator's card is not signed by root.key"))
        };
    }
    let card = PartyCard {
        version: 1,
        name: Name::new("coordinator")?,
        root: root.id(),
        node: root.id(),
        seal: SealKey::generate(&mut os_rng()?).public(),
        witness: root.id(),
        role: PartyRole::Coordinator,
        issued_at: now,
    };
    let bytes = Statement::sign(&root, "coordinator", now, None, card).bytes().to_vec();
    store.write(Change::PutMeta { key: CARD, value: bytes.clone() }).await?;
    Ok(Blob(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_can_be_spawned() {
        fn spawnable(_: impl Send) {}
        spawnable(Coordinator::start(Path::new("")));
        spawnable(run(Path::new(""), std::future::pending()));
    }
}
