//! The node as a witness: of its coordinator's log always, of other logs where `node.toml` names them. The coordinator
//! asks over its connection; where `[witness]` stands in `node.toml`, anyone asks over HTTP, as C2SP `tlog-witness` has
//! it: `POST /add-checkpoint`. What was seen is on disk before a cosignature leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_receipts::fork::Prefix;
use tacit_receipts::note::check_name;
use tacit_receipts::witness::{REQUEST_BYTES_MAX, witness_name};
use tacit_receipts::{
    AddCheckpoint, KeyKind, LogChain, Seen, SignatureLine, SignedCheckpoint, VerifierKey, Witness, WitnessRefusal,
};
use tacit_types::{Code, Fault};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::config::{Config, Keys};
use crate::daemon::Inner;
use crate::listener::{self, Answer, Broken, Limits, Request};
use crate::log_keys;
use crate::store::Store;

/// Logs beside its coordinator's that a node witnesses.
pub const LOGS_MAX: usize = 64;
/// Connections to the witness at a time.
pub const WITNESS_CONNECTIONS_MAX: usize = 64;
/// Requests that the witness takes at once, after a silence; over time it takes [`REQUESTS_PER_SECOND`].
pub const REQUESTS_BURST_MAX: u32 = 200;
/// Requests a second that the witness takes over time. Each that holds costs a synced write.
pub const REQUESTS_PER_SECOND: u32 = 50;

/// The one path.
const PATH: &str = "/add-checkpoint";
/// Where the state of its coordinator's log is kept.
const SEEN: &str = "witness_seen";
const LIMITS: Limits = Limits {
    connections: WITNESS_CONNECTIONS_MAX,
    body: REQUEST_BYTES_MAX,
    read: Duration::from_secs(10),
    write: Duration::from_secs(10),
};

/// What stands under `[witness]` in `node.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// The TCP address of the witness, such as `127.0.0.1:7490`.
    #[serde(default = "listen_default")]
    pub listen: String,
    /// Logs to witness beside the coordinator's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<WitnessedLog>,
}

/// Another log that the node witnesses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessedLog {
    /// Its origin.
    pub origin: String,
    /// The verifier key of its checkpoints.
    pub key: String,
}

fn listen_default() -> String {
    "127.0.0.1:7490".into()
}

impl WitnessConfig {
    /// Checks the address and the logs.
    ///
    /// # Errors
    /// `config.malformed`.
    pub fn check(&self) -> Result<std::net::SocketAddr, Fault> {
        let malformed = |what: String| Fault::new(Code::ConfigMalformed, what);
        if self.logs.len() > LOGS_MAX {
            return Err(malformed(format!("witness.logs: {}; {LOGS_MAX} are allowed", self.logs.len())));
        }
        for log in &self.logs {
            log.verifier().map_err(|f| malformed(format!("witness.logs: {}: {}", log.origin, f.what)))?;
        }
        self.listen.parse().map_err(|_| malformed(format!("witness.listen: `{}`", self.listen)))
    }
}

impl WitnessedLog {
    fn verifier(&self) -> Result<VerifierKey, Fault> {
        check_name(&self.origin)?;
        VerifierKey::parse(&self.key)
    }
}

/// A witness of every log that the node follows, by origin.
pub(crate) struct Witnesses {
    own: String,
    logs: BTreeMap<String, tokio::sync::Mutex<Witness>>,
    pace: Mutex<Pace>,
}

/// A bucket of requests that fills over time.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    fn take(&mut self, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(REQUESTS_PER_SECOND);
        (self.left, self.at) = ((self.left + filled).min(f64::from(REQUESTS_BURST_MAX)), now);
        let room = self.left >= 1.0;
        if room {
            self.left -= 1.0;
        }
        room
    }
}

/// Where the two notes of a fork of a log are kept, and what the larger has in the smaller's place.
fn fork_keys(own: &str, origin: &str) -> [String; 3] {
    ["fork_held", "fork_offered", "fork_prefix"]
        .map(|key| if origin == own { key.into() } else { format!("{key}/{origin}") })
}

/// What shows two histories of a log that this node follows.
pub struct ForkEvidence {
    /// The log's keys.
    pub keys: LogChain,
    /// The note that this node held, and the one that it was offered.
    pub notes: [Vec<u8>; 2],
    /// What the larger has in the smaller's place, where their sizes differ.
    pub prefix: Option<Prefix>,
}

/// What shows two histories of a log that this node follows, when it was offered a second one.
///
/// # Errors
/// `config.malformed`, those of the database.
pub async fn fork_evidence(config: &Config, store: &Store) -> Result<Option<ForkEvidence>, Fault> {
    let malformed = |f: Fault| Fault::new(Code::ConfigMalformed, f.what);
    let pin = &config.coordinator;
    let mut logs = vec![(pin.origin.as_str(), log_keys::followed(config, store).await?)];
    for log in config.witness.iter().flat_map(|w| &w.logs) {
        logs.push((log.origin.as_str(), log.verifier().map_err(malformed)?.into()));
    }
    for (origin, keys) in logs {
        let [held, offered, prefix] = fork_keys(&pin.origin, origin);
        if let (Some(held), Some(offered)) = (store.meta(&held).await?, store.meta(&offered).await?) {
            let prefix = store.meta(&prefix).await?.filter(|bytes| !bytes.is_empty());
            let prefix = prefix.map(|bytes| Prefix::parse(&bytes)).transpose()?;
            return Ok(Some(ForkEvidence { keys, notes: [held, offered], prefix }));
        }
    }
    Ok(None)
}

/// Where the state of a log is kept.
fn seen_key(own: &str, origin: &str) -> String {
    if origin == own { SEEN.into() } else { format!("{SEEN}/{origin}") }
}

impl Witnesses {
    /// The witnesses with what each saw last.
    ///
    /// # Errors
    /// `config.malformed`, those of the database.
    pub async fn open(config: &Config, keys: &Keys, log_key: &VerifierKey, store: &Store) -> Result<Self, Fault> {
        let own = config.coordinator.origin.clone();
        let malformed = |f: Fault| Fault::new(Code::ConfigMalformed, f.what);
        let name = witness_name(config.name.as_str(), &own);
        let key = VerifierKey::new(&name, KeyKind::Cosignature, keys.witness.id()).map_err(malformed)?;
        let mut followed = vec![(own.clone(), log_key.clone())];
        for log in config.witness.iter().flat_map(|w| &w.logs) {
            followed.push((log.origin.clone(), log.verifier().map_err(malformed)?));
        }
        let mut logs = BTreeMap::new();
        for (origin, log) in followed {
            let seen =
                match store.meta(&seen_key(&own, &origin)).await? {
                    Some(bytes) => Some(tacit_crypto::cbor::decode::<Seen>(&bytes).map_err(|e| {
                        Fault::new(Code::StoreCorrupt, format!("the witness's state of {origin} is {e}"))
                    })?),
                    None => None,
                };
            let witness = Witness::new(key.clone(), log, &origin, seen).map_err(malformed)?;
            if logs.insert(origin.clone(), tokio::sync::Mutex::new(witness)).is_some() {
                return Err(Fault::new(Code::ConfigMalformed, format!("witness.logs: {origin} is there twice")));
            }
        }
        let pace = Pace { left: f64::from(REQUESTS_BURST_MAX), at: Instant::now() };
        Ok(Self { own, logs, pace: Mutex::new(pace) })
    }

    /// Follows the coordinator's own log to its next key.
    pub async fn rekey(&self, key: &VerifierKey) -> Result<(), Fault> {
        match self.logs.get(&self.own) {
            Some(witness) => witness.lock().await.rekey(key.clone()),
            None => Ok(()),
        }
    }

    /// What was seen last of the coordinator's own log.
    pub async fn seen(&self) -> Option<Seen> {
        self.logs.get(&self.own)?.lock().await.seen().cloned()
    }

    /// Takes up what this node has cosigned of the coordinator's own log and does not remember, as a head shows that was
    /// found to follow from what it does. Whether there is such. The state is durable before it counts.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn recall(&self, store: &Store, head: &SignedCheckpoint) -> Result<bool, Fault> {
        let Some(witness) = self.logs.get(&self.own) else { return Ok(false) };
        let mut witness = witness.lock().await;
        let Some(seen) = witness.forgotten(head) else { return Ok(false) };
        store.set_meta(SEEN, &tacit_crypto::cbor::encode(&seen)).await?;
        witness.remember(seen);
        Ok(true)
    }

    /// What was seen last of a log.
    async fn size(&self, origin: &str) -> u64 {
        match self.logs.get(origin) {
            Some(witness) => witness.lock().await.seen().map_or(0, |seen| seen.size),
            None => 0,
        }
    }
}

impl Inner {
    /// Cosigns what follows from what this node has seen. The new state is durable before the line leaves, and two
    /// notes that show two histories are kept.
    pub(crate) async fn cosign(&self, request: &AddCheckpoint) -> Result<Result<SignatureLine, WitnessRefusal>, Fault> {
        let origin = match request.origin() {
            Ok(origin) => origin,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let witnesses = &self.witnesses;
        let Some(witness) = witnesses.logs.get(&origin) else {
            return Ok(Err(WitnessRefusal::UnknownLog(witnesses.own.clone())));
        };
        let mut witness = witness.lock().await;
        let prepared = match witness.prepare(request, crate::now()) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                if let WitnessRefusal::Fork { held, offered, prefix } = &refusal {
                    tracing::error!(%origin, "the log shows two histories, both signed");
                    let [first, second, third] = fork_keys(&witnesses.own, &origin);
                    let prefix = prefix.as_ref().map(Prefix::to_text).unwrap_or_default();
                    self.store.set_meta(&third, prefix.as_bytes()).await?;
                    self.store.set_meta(&first, held).await?;
                    self.store.set_meta(&second, offered).await?;
                }
                return Ok(Err(refusal));
            }
        };
        let state = tacit_crypto::cbor::encode(prepared.seen());
        self.store.set_meta(&seen_key(&witnesses.own, &origin), &state).await?;
        Ok(witness.release(prepared, &self.keys.witness))
    }
}

/// Takes requests as long as the node runs.
pub(crate) async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    let tasks = inner.clone();
    let answer = move |request: Result<Request, Broken>| {
        let inner = inner.clone();
        async move {
            match request {
                Ok(request) => add_checkpoint(&inner, &request).await,
                Err((status, what)) => plain(status, what),
            }
        }
    };
    listener::serve(listener, LIMITS, |task| tasks.spawn(task), answer).await;
}

fn plain(status: u16, what: &str) -> Answer {
    Answer { status, content_type: "text/plain; charset=utf-8", body: format!("{what}\n") }
}

async fn add_checkpoint(inner: &Inner, request: &Request) -> Answer {
    if request.path != PATH {
        return plain(404, "only /add-checkpoint");
    }
    if !inner.witnesses.pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
        return plain(429, "too many requests");
    }
    let request = match AddCheckpoint::parse(&request.body) {
        Ok(request) => request,
        Err(fault) => return plain(400, &fault.what),
    };
    match inner.cosign(&request).await {
        Ok(Ok(line)) => plain(200, &line.to_string()),
        Ok(Err(refusal)) if refusal.status() == 409 => {
            let origin = request.origin().unwrap_or_default();
            let size = inner.witnesses.size(&origin).await;
            Answer { status: 409, content_type: "text/x.tlog.size", body: format!("{size}\n") }
        }
        Ok(Err(refusal)) => plain(refusal.status(), &refusal.to_string()),
        Err(fault) => {
            tracing::error!(%fault, "the witness's state could not be written");
            plain(503, fault.code.text())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_paced() {
        let start = Instant::now();
        let mut pace = Pace { left: f64::from(REQUESTS_BURST_MAX), at: start };
        let taken = |pace: &mut Pace, now| (0..1000).filter(|_| pace.take(now)).count() as u32;
        assert_eq!(taken(&mut pace, start), REQUESTS_BURST_MAX);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(1)), REQUESTS_PER_SECOND);
        assert_eq!(taken(&mut pace, start + Duration::from_secs(100)), REQUESTS_BURST_MAX);
    }

    #[test]
    fn the_configuration_is_checked() {
        let log = |i: usize| WitnessedLog {
            origin: format!("log.example/{i}"),
            key: "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".into(),
        };
        let config = |logs: Vec<WitnessedLog>| WitnessConfig { listen: listen_default(), logs };
        assert!(config((0..LOGS_MAX).map(log).collect()).check().is_ok());
        assert!(config((0..=LOGS_MAX).map(log).collect()).check().is_err());
        assert!(config(vec![WitnessedLog { key: "nothing".into(), ..log(0) }]).check().is_err());
        assert!(config(vec![WitnessedLog { origin: "a b".into(), ..log(0) }]).check().is_err());
        assert!(WitnessConfig { listen: "nowhere".into(), logs: Vec::new() }.check().is_err());
    }
}
