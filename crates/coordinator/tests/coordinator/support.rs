//! A coordinator, and nodes that play their part by a script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tacit_coordinator::{Coordinator, InitOptions, Running, init};
use tacit_crypto::{Rng, SealKey, SealPublic, Secret, SigningKey, Statement};
use tacit_engine::api::{FromCoordinator, ToCoordinator};
use tacit_engine::record::witness_threshold;
use tacit_engine::{
    Assignment, Finish, Finished, FromNode, JobView, LogInfo, Outlook, ToNode, WorkerContext, WorkerJob,
};
use tacit_governance::{Admission, Cohort, JobSpec, Meter, Metered, PartyCard, PartyRole, ProviderRef, Refusal};
use tacit_net::invite::Invite;
use tacit_net::{Config, Connection, Endpoint, Identity, Incoming, Purpose, Responder};
use tacit_receipts::receipt::next_link;
use tacit_receipts::{AddCheckpoint, Promise, Quorum, SeenCheckpoint, VerifierKey, Witness, WitnessRefusal};
use tacit_types::wire::{self, Blob};
use tacit_types::{
    Code, ContractId, DatasetVersionId, Fault, Hash, JobId, Name, NodeId, Seat, StatementId, Step, UnixMillis,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub const ORIGIN: &str = "tacit.test/usage/2026";

static SEED: AtomicU8 = AtomicU8::new(1);

pub fn now() -> UnixMillis {
    tacit_net::system_clock()()
}

pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(seconds), future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

/// A port that was free a moment ago, so that a coordinator can come back to it.
fn free_port() -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, tacit_net::free_port().unwrap()).into()
}

/// A home with short waits, and the daemon on it.
pub struct World {
    pub folder: TempDir,
    pub address: SocketAddr,
    pub running: Option<Running>,
    pub id: NodeId,
}

pub const LIMITS: &str =
    "[limits]\nadmit_ms = 1500\nqueue_ms = 20000\nreserve_ms = 4000\nsettle_ms = 4000\nloss_ms = 700\nclose_ms = 700\n";

impl World {
    pub async fn new() -> Self {
        Self::with_limits(LIMITS).await
    }

    pub async fn with_limits(limits: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_port();
        let made = init(folder.path(), InitOptions { listen: address, public: None, origin: ORIGIN.into() }).unwrap();
        let mut text = std::fs::read_to_string(&made.config).unwrap();
        text.push_str(limits);
        std::fs::write(&made.config, text).unwrap();
        let mut world = Self { folder, address, running: None, id: made.fingerprint };
        world.start().await;
        world
    }

    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> PathBuf {
        self.home().join("log")
    }

    pub async fn start(&mut self) {
        // A stopped daemon's socket closes when the last task that holds it has ended.
        let begun = std::time::Instant::now();
        self.running = loop {
            match Coordinator::start(self.home()).await {
                Err(fault) if fault.code == Code::NetPortTaken && begun.elapsed().as_secs() < 10 => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                started => break Some(started.unwrap()),
            }
        };
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            within(10, "stopping", running.stop()).await;
        }
    }

    pub async fn invite(&self, name: &str, role: &str) -> Invite {
        let line = self.running.as_ref().unwrap().invite(Name::new(name).unwrap(), role, 60_000).await.unwrap();
        line.parse().unwrap()
    }

    pub async fn node(&self, name: &str) -> Node {
        let keys = Keys::new(name, PartyRole::Partner);
        let info = self.enrol(&keys).await;
        Node::start(keys, self.id, self.address, info)
    }

    pub async fn nodes(&self, n: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        for i in 0..n {
            nodes.push(self.node(&format!("p{i}")).await);
        }
        for node in &nodes {
            node.up().await;
        }
        nodes
    }

    pub async fn operator(&self, name: &str) -> Client {
        let keys = Keys::new(name, PartyRole::Operator);
        self.enrol(&keys).await;
        Client::new(keys, self.id, self.address).await
    }

    /// Enrols with a fresh invitation.
    pub async fn enrol(&self, keys: &Keys) -> LogInfo {
        let invite = self.invite(keys.name.as_str(), keys.role.word()).await;
        match self.redeem(keys, &invite.code.expose_text(), keys.card()).await {
            Ok(FromCoordinator::Enrolled { log, .. }) => log,
            other => panic!("{other:?}"),
        }
    }

    pub async fn redeem(&self, keys: &Keys, code: &str, card: Vec<u8>) -> Result<FromCoordinator, Fault> {
        let endpoint = keys.endpoint();
        let connection = endpoint.connect(&self.address.into(), &self.id, Purpose::Enrol).await.unwrap();
        let request = ToCoordinator::Enrol { code: code.into(), card: card.into(), address: String::new() };
        ask(&connection, &request).await
    }

    /// Every leaf that is published.
    pub async fn leaves(&self, client: &Client) -> Vec<Vec<u8>> {
        let mut leaves = Vec::new();
        loop {
            let request = ToCoordinator::Leaves { from: leaves.len() as u64, limit: 100 };
            let FromCoordinator::Leaves(page) = client.ask(&request).await.unwrap() else { panic!() };
            if page.is_empty() {
                return leaves;
            }
            leaves.extend(page.into_iter().map(|b| b.0));
        }
    }
}

/// A party's keys.
pub struct Keys {
    pub name: Name,
    pub role: PartyRole,
    pub root: SigningKey,
    pub node: SigningKey,
    pub witness: SigningKey,
    pub seal: SealPublic,
}

impl Keys {
    pub fn new(name: &str, role: PartyRole) -> Self {
        let seed = SEED.fetch_add(1, Ordering::SeqCst);
        let mut rng = Rng::from_seed(&Secret::new([seed; 32]));
        Self {
            name: Name::new(name).unwrap(),
            role,
            root: SigningKey::generate(&mut rng),
            node: SigningKey::generate(&mut rng),
            witness: SigningKey::generate(&mut rng),
            seal: SealKey::generate(&mut rng).public(),
        }
    }

    pub fn card(&self) -> Vec<u8> {
        self.card_at(UnixMillis(1_700_000_000_000))
    }

    pub fn card_at(&self, issued_at: UnixMillis) -> Vec<u8> {
        let card = PartyCard {
            version: 1,
            name: self.name.clone(),
            root: self.root.id(),
            node: self.node.id(),
            seal: self.seal,
            witness: self.witness.id(),
            role: self.role,
            issued_at,
        };
        Statement::sign(&self.root, "card", issued_at, None, card).bytes().to_vec()
    }

    pub fn endpoint(&self) -> Endpoint {
        let identity = Identity::from_signing_key(&self.node).unwrap();
        Endpoint::bind("127.0.0.1:0".parse().unwrap(), identity, Config::default()).unwrap()
    }
}

pub async fn ask(connection: &Connection, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
    let answer = connection.request_within(&wire::encode(request), Duration::from_secs(30)).await?;
    match wire::decode(&answer).unwrap() {
        FromCoordinator::Failed(fault) => Err(fault),
        answer => Ok(answer),
    }
}

/// Somebody who asks.
pub struct Client {
    pub keys: Keys,
    endpoint: Endpoint,
    coordinator: NodeId,
    address: SocketAddr,
    connection: tokio::sync::Mutex<Connection>,
}

impl Client {
    pub async fn new(keys: Keys, coordinator: NodeId, address: SocketAddr) -> Self {
        let endpoint = keys.endpoint();
        let connection = endpoint.connect(&address.into(), &coordinator, Purpose::Member).await.unwrap();
        Self { keys, endpoint, coordinator, address, connection: tokio::sync::Mutex::new(connection) }
    }

    pub async fn ask(&self, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
        let mut connection = self.connection.lock().await;
        if connection.end().is_some() {
            let address = self.address.into();
            let dial = self.endpoint.connect(&address, &self.coordinator, Purpose::Member);
            *connection = dial.await.map_err(Fault::from)?;
        }
        let live = connection.clone();
        drop(connection);
        ask(&live, request).await
    }

    /// A signed job over some nodes' data.
    pub fn job(&self, nodes: &[Node], nonce: u8) -> Vec<u8> {
        let provider =
            |n: &Node| ProviderRef { owner: n.keys.root.id(), dataset: DatasetVersionId([1; 32]), view: "v".into() };
        let spec = JobSpec {
            version: 1,
            kind: "count/v1".into(),
            params: Vec::new(),
            contracts: vec![ContractId([1; 32])],
            providers: nodes.iter().map(provider).collect(),
            purpose: "test".into(),
            recipient: self.keys.seal,
            cohort: Cohort { rows: 3, contributors: 2 },
            nonce: vec![nonce; 16],
            created_at: now(),
            expires_at: now().plus(3_600_000),
            attempt_ms: 20_000,
            models: Vec::new(),
            dealer: None,
            asker: None,
            attachments: Vec::new(),
        };
        Statement::sign(&self.keys.node, "job", now(), None, spec).bytes().to_vec()
    }

    pub async fn submit(&self, job: Vec<u8>) -> Result<JobId, Fault> {
        match self.ask(&ToCoordinator::Submit { job: job.into() }).await? {
            FromCoordinator::Submitted(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    pub async fn view(&self, job: JobId) -> JobView {
        match self.ask(&ToCoordinator::Job(job)).await.unwrap() {
            FromCoordinator::Job(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    /// Watches a job to its end; a coordinator that is away is waited for.
    pub async fn end(&self, job: JobId) -> JobView {
        let watch = async {
            let mut seen = 0;
            loop {
                match self.ask(&ToCoordinator::Watch { job, seen, wait_ms: 2_000 }).await {
                    Ok(FromCoordinator::Job(view)) => {
                        let word = view.terminal.as_ref().map(tacit_engine::Terminal::word);
                        if word == Some(view.state.as_str()) {
                            return *view;
                        }
                        seen = view.timeline.len() as u32;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        within(40, "the job", watch).await
    }
}

/// The files of a log.
pub struct Files(pub PathBuf);

impl tacit_receipts::TileRead for Files {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(path)).ok()
    }
}

/// What a node does out of the ordinary.
#[derive(Default)]
pub struct Script {
    /// Refuses every job.
    pub refuse: bool,
    /// Does not answer requests of these kinds while they are here.
    pub hold: BTreeSet<&'static str>,
    /// Carries requests of these kinds out and does not answer.
    pub lose: BTreeSet<&'static str>,
    /// Reports this instead of a result.
    pub fail: Option<Code>,
    /// Cells that it counts beyond those of the others.
    pub more: u64,
    /// Keeps its reports back.
    pub mute: bool,
    /// Lies about the size that its witness holds.
    pub lie: Option<u64>,
    /// Kinds of requests that came.
    pub came: Vec<&'static str>,
}

struct State {
    jobs: BTreeMap<JobId, WorkerJob>,
    chain: Option<(u64, StatementId)>,
    witness: Option<Witness>,
    promises: Vec<(JobId, Blob)>,
}

pub struct Node {
    pub keys: Keys,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    key: SigningKey,
    root: NodeId,
    cosign: SigningKey,
    coordinator: NodeId,
    address: SocketAddr,
    state: Mutex<State>,
    script: Mutex<Script>,
    log: Mutex<LogInfo>,
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub fn start(keys: Keys, coordinator: NodeId, address: SocketAddr, log: LogInfo) -> Self {
        let inner = Arc::new(Inner {
            key: keys.node.share(),
            root: keys.root.id(),
            cosign: keys.witness.share(),
            coordinator,
            address,
            state: Mutex::new(State { jobs: BTreeMap::new(), chain: None, witness: None, promises: Vec::new() }),
            script: Mutex::default(),
            log: Mutex::new(log),
            endpoint: keys.endpoint(),
            connection: Mutex::default(),
        });
        let task = tokio::spawn(inner.clone().run());
        Self { keys, inner, task }
    }

    pub fn id(&self) -> NodeId {
        self.keys.node.id()
    }

    /// What it has signed of a job's record.
    pub fn attestation(&self, job: &JobId) -> Option<Blob> {
        let state = self.inner.state.lock().unwrap();
        state.jobs.get(job).and_then(|job| job.attested.clone()).map(|(_, statement)| statement)
    }

    /// The promises of a job's receipt that it was given.
    pub fn promises(&self, job: &JobId) -> Vec<Promise> {
        let state = self.inner.state.lock().unwrap();
        let of = state.promises.iter().filter(|(about, _)| about == job);
        of.map(|(_, bytes)| Statement::verify(bytes).unwrap().into_body()).collect()
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap()
    }

    /// The connection, once the node is registered.
    pub async fn up(&self) -> Connection {
        within(10, "registering", async {
            loop {
                if let Some(connection) = self.inner.connection.lock().unwrap().clone().filter(|c| c.end().is_none()) {
                    return connection;
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// Waits for a request of a kind.
    pub async fn came(&self, word: &str) {
        within(10, word, async {
            while !self.script().came.contains(&word) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

impl Inner {
    async fn run(self: Arc<Self>) {
        loop {
            let address = self.address.into();
            let dial = self.endpoint.connect(&address, &self.coordinator, Purpose::Member);
            if let Ok(connection) = dial.await {
                self.serve(&connection).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn serve(self: &Arc<Self>, connection: &Connection) {
        let hello = self.clone();
        let greeting = connection.clone();
        let greet = tokio::spawn(async move {
            let address = hello.endpoint.local_addr().to_string();
            ask(&greeting, &ToCoordinator::Register { address, datasets: vec![], slots: 4 }).await.unwrap();
            // Reports that nobody acknowledged, again and again; and who witnesses by now.
            while greeting.end().is_none() {
                let Ok(FromCoordinator::LogInfo(log)) = ask(&greeting, &ToCoordinator::LogInfo).await else { return };
                *hello.log.lock().unwrap() = log;
                *hello.connection.lock().unwrap() = Some(greeting.clone());
                hello.report(&greeting).await;
                sleep(Duration::from_millis(20)).await;
            }
        });
        while let Ok(incoming) = connection.accept().await {
            if let Incoming::Request { bytes, responder } = incoming {
                tokio::spawn(self.clone().handle(bytes, responder));
            }
        }
        greet.abort();
    }

    async fn report(&self, connection: &Connection) {
        if self.script.lock().unwrap().mute {
            return;
        }
        let open: Vec<Finish> =
            self.state.lock().unwrap().jobs.iter().filter_map(|(id, job)| job.report(*id)).collect();
        for finish in open {
            let id = finish.job;
            let progress = ToCoordinator::Progress { job: id, step: Step(2) };
            let _ = ask(connection, &progress).await;
            if ask(connection, &ToCoordinator::Report(finish)).await.is_ok()
                && let Some(job) = self.state.lock().unwrap().jobs.get_mut(&id)
            {
                job.reported = true;
            }
        }
    }

    async fn handle(self: Arc<Self>, bytes: Vec<u8>, responder: Responder) {
        let request: ToNode = wire::decode(&bytes).unwrap();
        let word = word(&request);
        self.script.lock().unwrap().came.push(word);
        while self.script.lock().unwrap().hold.contains(word) {
            sleep(Duration::from_millis(10)).await;
        }
        let answer = self.answer(request).unwrap_or_else(FromNode::Failed);
        if self.script.lock().unwrap().lose.contains(word) {
            return;
        }
        let _ = responder.respond(&wire::encode(&answer)).await;
    }

    fn context(&self) -> WorkerContext<'_> {
        WorkerContext {
            key: &self.key,
            node: self.key.id(),
            keys: Default::default(),
            owner: self.root,
            origin: ORIGIN,
            coordinator: self.coordinator,
            now: now(),
        }
    }

    fn answer(&self, request: ToNode) -> Result<FromNode, Fault> {
        let mut state = self.state.lock().unwrap();
        let unknown = || Fault::new(Code::JobUnknown, "");
        match request {
            ToNode::Admit { job, .. } => {
                let id = JobSpec::id(&JobSpec::verify(&job)?);
                let decided = state.jobs.entry(id).or_insert_with(|| self.decide(id, job));
                Ok(decided.decision())
            }
            ToNode::Plan { .. } => {
                let refuses = self.script.lock().unwrap().refuse;
                let objection = refuses.then(|| Fault::new(Code::RefusedPurpose, "no"));
                // What a node says of rules and limits is passed on as far as it can be true.
                let meter = Meter { what: Metered::Jobs, limit: 10, used: 3, takes: 1, until: None };
                let rule = if refuses { "purpose" } else { "none such" };
                Ok(FromNode::Planned(Outlook { objection, rule: rule.into(), meters: vec![meter; 3] }))
            }
            ToNode::Reserve { .. } => Ok(FromNode::Reserved),
            ToNode::Start { assignment } => {
                let job = state.jobs.get_mut(&assignment.job).ok_or_else(unknown)?;
                if job.attempt < assignment.attempt.0 {
                    job.begin(assignment.attempt, now())?;
                    self.play(job, &assignment);
                }
                Ok(FromNode::Started)
            }
            ToNode::Cancel { job, attempt, code } => {
                let job = state.jobs.get_mut(&job).ok_or_else(unknown)?;
                if job.decline(attempt, code) {
                    return Ok(FromNode::Done);
                }
                job.finish(attempt, failed(code), None);
                Ok(FromNode::Started)
            }
            ToNode::Attest { job, record, evidence } => {
                let seen = state.witness.as_ref().and_then(Witness::seen);
                let seen = seen.map(|s| SeenCheckpoint { size: s.size, root: s.root });
                let link = next_link(state.chain);
                let job = state.jobs.get_mut(&job).ok_or_else(unknown)?;
                let (answer, attested) = job.attest(&record, &evidence, link, seen, &self.context())?;
                if let Some(attested) = attested {
                    state.chain = Some((attested.seq, attested.id));
                }
                Ok(answer)
            }
            ToNode::Cosign { request } => self.cosign(&mut state, &request),
            ToNode::Logged { job, leaf, proof, beside } => {
                let job = state.jobs.get_mut(&job).ok_or_else(unknown)?;
                let log = self.log.lock().unwrap().clone();
                let quorum = self.quorum(job, &log)?;
                job.release(&leaf, &proof, &beside, &VerifierKey::parse(&log.log_key)?, &quorum, &self.context())
            }
            ToNode::Close { job, terminal } => {
                if let Some(job) = state.jobs.get_mut(&job) {
                    job.close(terminal);
                }
                Ok(FromNode::Done)
            }
            ToNode::Ping => Ok(FromNode::Done),
            ToNode::Held => {
                let seen = state.witness.as_ref().and_then(|witness| witness.seen());
                Ok(FromNode::Held(seen.map(|seen| Blob(seen.note.clone()))))
            }
            ToNode::Promised { job, promise } => {
                state.jobs.get(&job).ok_or_else(unknown)?.promised(&promise, &self.context())?;
                state.promises.push((job, promise));
                Ok(FromNode::Done)
            }
        }
    }

    fn decide(&self, id: JobId, bytes: Blob) -> WorkerJob {
        let refuse = self.script.lock().unwrap().refuse;
        let answer = if refuse {
            let refusal = Refusal {
                job: id,
                owner: self.root,
                code: Code::RefusedPurpose,
                reason: "not for that".into(),
                at: now(),
                offered: Hash(id.0),
            };
            Statement::sign(&self.key, "r", now(), None, refusal).bytes().to_vec()
        } else {
            let admission = Admission {
                job: id,
                owner: self.root,
                contract: ContractId([1; 32]),
                dataset: Some(DatasetVersionId([1; 32])),
                rows: 0,
                privacy: None,
                at: now(),
            };
            Statement::sign(&self.key, "a", now(), None, admission).bytes().to_vec()
        };
        WorkerJob {
            bytes,
            answer: answer.into(),
            admitted: !refuse,
            attempt: 0,
            began: UnixMillis(0),
            input_sent: false,
            finished: None,
            saw: Default::default(),
            reported: true,
            release: None,
            attested: None,
            receipt: None,
            terminal: None,
            kept: None,
            untold: false,
            owed: false,
            each: Vec::new(),
        }
    }

    /// The attempt, without any data.
    fn play(&self, job: &mut WorkerJob, assignment: &Assignment) {
        let script = self.script.lock().unwrap();
        let finished = match script.fail {
            Some(code) => failed(code),
            None => Finished::Ok {
                package: (assignment.aggregator == self.key.id())
                    .then(|| tacit_engine::Package::Inline(Blob(b"sealed".to_vec()))),
                survivors: (0..assignment.seats.len() as u16).map(Seat).collect(),
                cells_in: 5 + script.more,
                payload_bytes: 40,
                cells_out: 4,
                cells_suppressed: 1,
                opened: Vec::new(),
            },
        };
        job.finish(assignment.attempt, finished, Some(self.key.id().0.to_vec()));
    }

    fn cosign(&self, state: &mut State, request: &[u8]) -> Result<FromNode, Fault> {
        if let Some(size) = self.script.lock().unwrap().lie {
            return Ok(FromNode::WitnessHolds(size));
        }
        let log = self.log.lock().unwrap().clone();
        if state.witness.is_none() {
            let keys = log.witnesses.iter().map(|text| VerifierKey::parse(text).unwrap());
            let own = keys.into_iter().find(|key| key.key() == self.cosign.id());
            let own = own.ok_or_else(|| Fault::new(Code::LogUnknown, "not yet"))?;
            state.witness = Some(Witness::new(own, VerifierKey::parse(&log.log_key)?, ORIGIN, None)?);
        }
        let witness = state.witness.as_mut().unwrap();
        match witness.prepare(&AddCheckpoint::parse(request)?, now()) {
            Ok(prepared) => {
                let line = witness.release(prepared, &self.cosign).unwrap();
                Ok(FromNode::Cosigned(line.to_string()))
            }
            Err(WitnessRefusal::Stale(size)) => Ok(FromNode::WitnessHolds(size)),
            Err(refusal) => Err(Fault::new(refusal.code(), refusal.to_string())),
        }
    }

    /// As a node asks for it: the witnesses of the job's own parties.
    fn quorum(&self, job: &WorkerJob, log: &LogInfo) -> Result<Quorum, Fault> {
        let n = job.job()?.body().seated().len();
        let keys: Vec<VerifierKey> = log.witnesses.iter().map(|text| VerifierKey::parse(text).unwrap()).collect();
        Quorum::new(keys, witness_threshold(n))
    }
}

fn failed(code: Code) -> Finished {
    Finished::Failed { code, step: None, seat: None, hint: "scripted".into(), input_sent: false }
}

pub fn word(request: &ToNode) -> &'static str {
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
        ToNode::Promised { .. } => "promised",
    }
}

/// Starts a second daemon on a home.
pub async fn start_again(home: &Path) -> Result<(), Fault> {
    Coordinator::start(home).await.map(drop)
}
