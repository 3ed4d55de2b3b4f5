//! Requests to the coordinator, from a daemon or from the command line.

use std::time::Duration;

use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_net::{Address, Closed, Config as NetConfig, Connection, Endpoint, Identity, Purpose};
use tacit_types::{Code, Fault, NodeId, wire};

/// A connection to the coordinator.
pub struct Client {
    endpoint: Endpoint,
    connection: Connection,
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
        Ok(Self { endpoint, connection })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Those of the connection; the fault that the coordinator answers with.
    pub async fn ask(&self, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
        ask(&self.connection, request).await
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes it.
    pub async fn close(self) {
        self.connection.close(tacit_net::CloseReason::Done);
        self.endpoint.close().await;
    }
}

/// Asks over a connection and waits for the answer.
///
/// # Errors
/// Those of the connection; the fault that the coordinator answers with.
pub async fn ask(connection: &Connection, request: &ToCoordinator) -> Result<FromCoordinator, Fault> {
    let wait = match request {
        ToCoordinator::Watch { wait_ms, .. } => Duration::from_millis(*wait_ms) + Duration::from_secs(10),
        _ => Duration::from_secs(15),
    };
    let answer = connection.request_within(&wire::encode(request), wait).await.map_err(Fault::from)?;
    match wire::decode(&answer).map_err(|e| Fault::new(Code::NetFrame, e.to_string()))? {
        FromCoordinator::Failed(fault) => Err(fault),
        answer => Ok(answer),
    }
}
