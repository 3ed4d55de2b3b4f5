//! Endpoints for tests.

use std::net::SocketAddr;
use std::time::Duration;

use tacit_crypto::{Secret, SigningKey};
use tacit_net::{Address, Config, Connection, Endpoint, Identity, Incoming, Purpose};
use tacit_types::{Code, NodeId};

/// The identity of test node `n`.
pub fn identity(n: u8) -> Identity {
    Identity::from_signing_key(&SigningKey::from_seed(&Secret::new([n; 32]))).unwrap()
}

/// A configuration that admits everybody.
pub fn open() -> Config {
    Config::with_gate(|_: &NodeId, _| -> Result<(), Code> { Ok(()) })
}

/// Test node `n` on a free port.
pub fn node(n: u8, config: Config) -> Endpoint {
    Endpoint::bind(loopback(), identity(n), config).unwrap()
}

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn address(endpoint: &Endpoint) -> Address {
    endpoint.local_addr().into()
}

/// Two endpoints and both ends of one connection; the first dials.
pub struct Pair {
    pub endpoints: (Endpoint, Endpoint),
    pub dialler: Connection,
    pub acceptor: Connection,
}

pub async fn pair() -> Pair {
    pair_with(open(), open()).await
}

pub async fn pair_with(dialling: Config, accepting: Config) -> Pair {
    let (a, b) = (node(1, dialling), node(2, accepting));
    let target = address(&b);
    let peer = b.id();
    let (dialler, acceptor) = tokio::join!(a.connect(&target, &peer, Purpose::Member), b.accept());
    Pair { dialler: dialler.unwrap(), acceptor: acceptor.unwrap(), endpoints: (a, b) }
}

/// Answers every request with its bytes reversed; reads and drops every stream.
pub fn echo(connection: Connection) {
    tokio::spawn(async move {
        while let Ok(incoming) = connection.accept().await {
            match incoming {
                Incoming::Request { mut bytes, responder } => {
                    bytes.reverse();
                    tokio::spawn(async move { responder.respond(&bytes).await });
                }
                Incoming::Stream { mut receiver, .. } => {
                    tokio::spawn(async move { while let Ok(Some(_)) = receiver.next().await {} });
                }
            }
        }
    });
}

/// Serves everybody who comes with [`echo`].
pub fn serve(endpoint: &Endpoint) {
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while let Some(connection) = endpoint.accept().await {
            echo(connection);
        }
    });
}

pub async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}
