//! A party's connection to its coordinator, without the command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tacit_crypto::{SealKey, SigningKey};
use tacit_engine::control::{FromNode, ToNode};
use tacit_engine::{FromCoordinator, JobView, Package, ToCoordinator};
use tacit_governance::JobSpec;
use tacit_net::{Closed, Config, Connection, Endpoint, Identity, Purpose, keyfile};
use tacit_types::{Code, Fault, Hash, JobId, NodeId, wire};
use tokio::runtime::Runtime;

/// How long a job of a test may take.
const JOB_WAIT: Duration = Duration::from_secs(90);

/// A connection.
pub struct Wire {
    // why: dropped last, after what lives in it.
    endpoint: Endpoint,
    connection: Connection,
    runtime: Runtime,
    home: PathBuf,
}

#[derive(Deserialize)]
struct Written {
    coordinator: Pin,
}

#[derive(Deserialize)]
struct Pin {
    address: String,
    fingerprint: String,
}

impl Wire {
    /// Connects as the party whose folder this is.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn open(home: &Path) -> Result<Self, Fault> {
        Self::open_as(home, &signing_key(home, "node.key"))
    }

    /// Connects to the coordinator of a folder with another key.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn open_as(home: &Path, key: &SigningKey) -> Result<Self, Fault> {
        let text =
            std::fs::read_to_string(home.join("node.toml")).unwrap_or_else(|e| panic!("{}: {e}", home.display()));
        let pin = toml::from_str::<Written>(&text).unwrap_or_else(|e| panic!("{e}")).coordinator;
        let runtime = Runtime::new().map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
        let connecting = async {
            let config = Config { gate: Arc::new(Closed), ..Config::default() };
            let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let endpoint = Endpoint::bind(any, Identity::from_signing_key(key)?, config)?;
            let coordinator = NodeId::from_hex(&pin.fingerprint)?;
            let connection = endpoint.connect(&pin.address.parse()?, &coordinator, Purpose::Member).await?;
            Ok::<_, Fault>((endpoint, connection))
        };
        let (endpoint, connection) = runtime.block_on(connecting)?;
        Ok(Self { endpoint, connection, runtime, home: home.to_owned() })
    }

    /// Connects to a node with the coordinator's key, as the coordinator would.
    ///
    /// # Panics
    /// When the node is not there in time.
    pub fn dial(address: &str, node: NodeId, key: &SigningKey) -> Self {
        let runtime = Runtime::new().unwrap_or_else(|e| panic!("{e}"));
        let begun = Instant::now();
        let connecting = async {
            let config = Config { gate: Arc::new(Closed), ..Config::default() };
            let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let endpoint = Endpoint::bind(any, Identity::from_signing_key(key)?, config)?;
            loop {
                match endpoint.connect(&address.parse()?, &node, Purpose::Member).await {
                    Ok(connection) => return Ok::<_, Fault>((endpoint, connection)),
                    Err(error) if begun.elapsed() > JOB_WAIT => return Err(error.into()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        let (endpoint, connection) = runtime.block_on(connecting).unwrap_or_else(|f| panic!("{address}: {f}"));
        Self { endpoint, connection, runtime, home: PathBuf::new() }
    }

    /// What a node answers to the coordinator.
    ///
    /// # Panics
    /// When it gives no answer.
    pub fn order(&self, request: &ToNode) -> FromNode {
        let frame = wire::encode(request);
        let asking = self.connection.request_within(&frame, Duration::from_secs(20));
        let answer = self.runtime.block_on(asking).unwrap_or_else(|e| panic!("{request:?}: {e}"));
        wire::decode(&answer).unwrap_or_else(|e| panic!("{request:?}: {e}"))
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Those of the connection; the fault that the coordinator answers with.
    pub fn ask(&self, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
        self.runtime.block_on(ask(&self.connection, request))
    }

    /// Asks all at once; answers in the order of the requests.
    pub fn ask_all(&self, requests: &[ToCoordinator]) -> Vec<Result<FromCoordinator, Fault>> {
        let asking = requests.iter().cloned().map(|request| {
            let connection = self.connection.clone();
            self.runtime.spawn(async move { ask(&connection, &request).await })
        });
        let asking: Vec<_> = asking.collect();
        let ended = |e| Err(Fault::new(Code::Internal, format!("{e}")));
        asking.into_iter().map(|task| self.runtime.block_on(task).unwrap_or_else(ended)).collect()
    }

    /// How many nodes are connected and offer a dataset.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub fn offering(&self) -> Result<usize, Fault> {
        let FromCoordinator::Roster(roster) = self.ask(&ToCoordinator::Roster)? else { return Err(other()) };
        let FromCoordinator::Datasets(datasets) = self.ask(&ToCoordinator::Datasets)? else { return Err(other()) };
        let online = roster.iter().filter(|entry| entry.online && !entry.address.is_empty()).count();
        Ok(online.min(datasets.len()))
    }

    /// How many nodes are connected.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub fn there(&self) -> Result<usize, Fault> {
        let FromCoordinator::Roster(roster) = self.ask(&ToCoordinator::Roster)? else { return Err(other()) };
        Ok(roster.iter().filter(|entry| entry.online && !entry.address.is_empty()).count())
    }

    /// Submits signed bytes.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub fn submit(&self, job: &[u8]) -> Result<JobId, Fault> {
        match self.ask(&ToCoordinator::Submit { job: wire::Blob(job.to_vec()) })? {
            FromCoordinator::Submitted(id) => Ok(id),
            _ => Err(other()),
        }
    }

    /// Waits until the parties of a job say that they compute on shares.
    ///
    /// # Panics
    /// When the job ends before, or does not get there within a minute.
    pub fn computing(&self, id: JobId) {
        let begun = Instant::now();
        loop {
            let view = self.job(id).unwrap_or_else(|fault| panic!("{fault}"));
            assert!(view.terminal.is_none() && begun.elapsed() < Duration::from_secs(60), "{view:?}");
            if view.step.is_some_and(|step| tacit_jobs::session::phase_name(step) == "compute") {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub fn job(&self, id: JobId) -> Result<JobView, Fault> {
        match self.ask(&ToCoordinator::Job(id))? {
            FromCoordinator::Job(view) => Ok(*view),
            _ => Err(other()),
        }
    }

    /// Every job, newest first.
    ///
    /// # Errors
    /// As [`Wire::ask`].
    pub fn jobs(&self) -> Result<Vec<JobView>, Fault> {
        let mut all: Vec<JobView> = Vec::new();
        loop {
            let before = all.last().map(|j| j.id);
            let FromCoordinator::Jobs(page) = self.ask(&ToCoordinator::Jobs { before, limit: 100 })? else {
                return Err(other());
            };
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Waits until a job has ended and been receipted, or not.
    ///
    /// # Errors
    /// As [`Wire::ask`]; `job.deadline` when it takes longer than a job of a test may.
    pub fn ended(&self, id: JobId) -> Result<JobView, Fault> {
        let (begun, mut seen) = (Instant::now(), 0);
        loop {
            let FromCoordinator::Job(view) = self.ask(&ToCoordinator::Watch { job: id, seen, wait_ms: 5_000 })? else {
                return Err(other());
            };
            if view.terminal.is_some() && view.timeline.iter().any(|e| e.what == "ended") {
                return Ok(*view);
            }
            if begun.elapsed() > JOB_WAIT {
                return Err(Fault::new(Code::JobDeadline, format!("{view:?}")));
            }
            seen = view.timeline.len() as u32;
        }
    }

    /// Opens the result of a job that succeeded. The receipt is not verified here: the command line does that.
    ///
    /// # Errors
    /// As [`Wire::ask`]; those of opening.
    pub fn result(&self, id: JobId) -> Result<serde_json::Value, Fault> {
        let FromCoordinator::Result(sealed) = self.ask(&ToCoordinator::Result(id))? else { return Err(other()) };
        let job = JobSpec::verify(&sealed.job)?;
        let releases = sealed.releases.into_iter().map(|(seat, blob)| (seat, blob.0)).collect();
        let plan = tacit_jobs::kind(&job.body().kind)?.plan(&job.body().params, &tacit_jobs::Parts::of(job.body()))?;
        let seal = self.seal();
        let open = |package: &[u8]| tacit_jobs::session::unblind(&seal, package, &releases);
        let package = match &sealed.package {
            Package::Inline(bytes) => bytes.0.clone(),
            Package::Deposited { hash, bytes } => self.fetch(*hash, *bytes)?,
            Package::Known { hash } => panic!("a result by its hash {} alone", hash.short()),
        };
        Ok(plan.open(&package, &open)?.json)
    }

    fn fetch(&self, hash: Hash, bytes: u64) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        while (all.len() as u64) < bytes {
            match self.ask(&ToCoordinator::Fetch { hash, offset: all.len() as u64 })? {
                FromCoordinator::Fetched { bytes: piece, .. } if !piece.is_empty() => all.extend_from_slice(&piece),
                _ => return Err(other()),
            }
        }
        Ok(all)
    }

    /// The key that signs this party's jobs.
    pub fn key(&self) -> SigningKey {
        signing_key(&self.home, "node.key")
    }

    /// The key to which this party's results are sealed.
    pub fn seal(&self) -> SealKey {
        let path = self.home.join("seal.key");
        let seed = keyfile::read(&path).unwrap_or_else(|f| panic!("{f}"));
        SealKey::from_bytes(&seed).unwrap_or_else(|| panic!("{}: no scalar", path.display()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.close(tacit_net::CloseReason::Done);
        self.runtime.block_on(self.endpoint.close());
    }
}

/// A signing key of a folder.
pub fn signing_key(home: &Path, file: &str) -> SigningKey {
    keyfile::read_signing(&home.join(file)).unwrap_or_else(|f| panic!("{f}"))
}

async fn ask(connection: &Connection, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
    let answer = connection.request_within(&wire::encode(request), Duration::from_secs(20)).await?;
    match wire::decode(&answer).map_err(|e| Fault::new(Code::NetFrame, e.to_string()))? {
        FromCoordinator::Failed(fault) => Err(fault),
        answer => Ok(answer),
    }
}

fn other() -> Fault {
    Fault::new(Code::NetFrame, "an answer of another kind")
}
