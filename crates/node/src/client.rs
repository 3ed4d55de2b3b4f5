//! Requests to the coordinator, from a daemon or from the command line.

use std::time::Duration;

use tacit_engine::api::{DEPOSIT_BYTES_MAX, DEPOSIT_CHUNK_BYTES_MAX};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_net::{Address, Closed, Config as NetConfig, Connection, Endpoint, Identity, Purpose};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash, JobId, NodeId};

use crate::egress::Ledger;
use crate::store::Store;

/// A connection to the coordinator.
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
    ledger: Ledger,
    store: Option<Store>,
}

impl Client {
    /// Connects as the holder of a key to a coordinator whose key is pinned.
    ///
    /// # Errors
    /// `net.unreachable`, `net.fingerprint`, `net.refused`, `clock.skew`, `config.malformed`.
    pub async fn connect(
        key: &tacit_crypto::SigningKey,
        address: &str,
        coordinator: &NodeId,
        purpose: Purpose,
    ) -> Result<Self, Fault> {
        let address: Address = address.parse()?;
        let any = if address.host().starts_with('[') || address.host().contains("::") { "[::]:0" } else { "0.0.0.0:0" };
        let bind = any.parse().map_err(|_| Fault::new(Code::Internal, any))?;
        let config = NetConfig { gate: std::sync::Arc::new(Closed), ..NetConfig::default() };
        let endpoint = Endpoint::bind(bind, Identity::from_signing_key(key)?, config)?;
        let connection = endpoint.connect(&address, coordinator, purpose).await.map_err(Fault::from)?;
        Ok(Self { endpoint, connection, ledger: Ledger::default(), store: None })
    }

    /// Writes down in a party's ledger what goes out: requests before they do, bytes to keep and fetch once they did.
    #[must_use]
    pub fn counted_in(mut self, store: &Store) -> Self {
        self.store = Some(store.clone());
        self
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Those of the connection; the fault that the coordinator answers with.
    pub async fn ask(&self, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
        let bytes = wire::encode(request);
        self.ledger.request(self.connection.peer(), request, bytes.len() as u64);
        self.write_ledger().await?;
        asked(&self.connection, request, &bytes).await
    }

    /// Brings bytes to the coordinator under their hash, which it gives.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub async fn deposit(&self, bytes: &[u8]) -> Result<Hash, Fault> {
        let deposited = deposit(&self.connection, &self.ledger, None, bytes).await;
        self.write_ledger().await?;
        deposited
    }

    /// Fetches the bytes of a hash from the coordinator and checks that they have it.
    ///
    /// # Errors
    /// Those of [`Self::ask`]; `net.frame` for other bytes.
    pub async fn fetch(&self, hash: &Hash) -> Result<Vec<u8>, Fault> {
        let fetched = fetch(&self.connection, &self.ledger, hash).await;
        self.write_ledger().await?;
        fetched
    }

    async fn write_ledger(&self) -> Result<(), Fault> {
        match &self.store {
            Some(store) => self.ledger.write(store).await,
            None => Ok(()),
        }
    }

    /// Closes it.
    pub async fn close(self) {
        self.connection.close(tacit_net::CloseReason::Done);
        self.endpoint.close().await;
    }
}

/// Brings bytes to the coordinator under their hash, which it gives.
///
/// # Errors
/// Those of the connection; the fault that the coordinator answers with.
pub(crate) async fn deposit(
    connection: &Connection,
    ledger: &Ledger,
    job: Option<JobId>,
    bytes: &[u8],
) -> Result<Hash, Fault> {
    let hash = tacit_crypto::sha256(bytes);
    let total = bytes.len() as u64;
    let mut at = 0;
    loop {
        let piece = bytes.get(at as usize..).unwrap_or_default();
        let piece = Blob(piece.get(..piece.len().min(DEPOSIT_CHUNK_BYTES_MAX)).unwrap_or_default().to_vec());
        let request = ToCoordinator::Deposit { hash, total, offset: at, bytes: piece };
        let encoded = wire::encode(&request);
        ledger.deposit(connection.peer(), job, encoded.len() as u64);
        let FromCoordinator::Deposited(have) = asked(connection, &request, &encoded).await? else {
            return Err(unexpected());
        };
        if have == total {
            return Ok(hash);
        }
        if have > total || (have <= at && have != 0) {
            return Err(Fault::new(Code::NetFrame, format!("the coordinator holds {have} of {total} bytes")));
        }
        at = have;
    }
}

/// Fetches the bytes of a hash from the coordinator and checks that they have it.
///
/// # Errors
/// Those of the connection; the fault that the coordinator answers with; `net.frame` for other bytes.
pub(crate) async fn fetch(connection: &Connection, ledger: &Ledger, hash: &Hash) -> Result<Vec<u8>, Fault> {
    let wrong =
        || Fault::new(Code::NetFrame, format!("the coordinator gave other bytes than those of {}", hash.short()));
    let mut all = Vec::new();
    loop {
        let request = ToCoordinator::Fetch { hash: *hash, offset: all.len() as u64 };
        let FromCoordinator::Fetched { total, bytes } = ask(connection, ledger, &request).await? else {
            return Err(unexpected());
        };
        all.extend_from_slice(&bytes);
        let len = all.len() as u64;
        if total > DEPOSIT_BYTES_MAX || len > total || (bytes.is_empty() && len < total) {
            return Err(wrong());
        }
        if len == total {
            return if tacit_crypto::sha256(&all) == *hash { Ok(all) } else { Err(wrong()) };
        }
    }
}

fn unexpected() -> Fault {
    Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")
}

/// Asks over a connection and waits for the answer. What goes out is counted first.
///
/// # Errors
/// Those of the connection; the fault that the coordinator answers with.
pub(crate) async fn ask(
    connection: &Connection,
    ledger: &Ledger,
    request: &ToCoordinator,
) -> Result<FromCoordinator, Fault> {
    let bytes = wire::encode(request);
    ledger.request(connection.peer(), request, bytes.len() as u64);
    asked(connection, request, &bytes).await
}

async fn asked(connection: &Connection, request: &ToCoordinator, bytes: &[u8]) -> Result<FromCoordinator, Fault> {
    let wait = match request {
        ToCoordinator::Watch { wait_ms, .. } => Duration::from_millis(*wait_ms) + Duration::from_secs(10),
        _ => Duration::from_secs(15),
    };
    let answer = connection.request_within(bytes, wait).await.map_err(Fault::from)?;
    match wire::decode(&answer).map_err(|e| Fault::new(Code::NetFrame, e.to_string()))? {
        FromCoordinator::Failed(fault) => Err(fault),
        answer => Ok(answer),
    }
}
