//! A diagnosis of the path to one peer: name, UDP and handshake, key, admission, clock, line.

use std::time::Duration;

use tacit_types::{Code, NodeId};
use tokio::time::{Instant, sleep};

use crate::address::Address;
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::{CloseReason, NetError};
use crate::hello::Purpose;

/// Time that the search for the path's packet size is watched.
const MTU_WAIT: Duration = Duration::from_secs(1);
/// How often it is looked at.
const MTU_POLL: Duration = Duration::from_millis(50);

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What was looked at: `address`, `path`, `key`, `admission`, `clock`, `line`.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// The stable code of what is wrong.
    pub code: Option<Code>,
    /// What was found, in words.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Looks at everything between here and a peer, in order, and stops at the first hop that fails.
pub async fn probe(endpoint: &Endpoint, address: &Address, peer: &NodeId, purpose: Purpose) -> Vec<Check> {
    let mut checks = Vec::new();
    let begun = Instant::now();
    let resolved = address.resolve().await;
    let found = resolved.map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let failed = found.is_err();
    checks.push(check("address", begun, found));
    if failed {
        return checks;
    }
    let begun = Instant::now();
    let connected = endpoint.connect(address, peer, purpose).await;
    checks.extend(read_connect(begun, &connected));
    if let Ok(connection) = connected {
        checks.push(clock(&connection));
        checks.push(line(&connection).await);
        connection.close(CloseReason::Done);
    }
    checks
}

/// How far a dial came, as findings of their own.
fn read_connect(begun: Instant, connected: &Result<Connection, NetError>) -> Vec<Check> {
    let path = |ok| check("path", begun, ok);
    let key = |ok| check("key", begun, ok);
    let reached = || path(Ok("UDP passes and the peer answers".into()));
    match connected {
        Ok(connection) => vec![
            reached(),
            key(Ok("the pinned key".into())),
            check("admission", begun, Ok(format!("version {}, {}", connection.version(), connection.software()))),
        ],
        Err(e @ NetError::Fingerprint { .. }) => vec![reached(), key(Err(e.clone()))],
        Err(e @ (NetError::Refused { .. } | NetError::Version { .. } | NetError::ClockSkew { .. })) => {
            vec![reached(), key(Ok("the pinned key".into())), check("admission", begun, Err(e.clone()))]
        }
        Err(e) => vec![path(Err(e.clone()))],
    }
}

fn clock(connection: &Connection) -> Check {
    let ahead = connection.clock_ahead_ms();
    let detail = if ahead < 0 {
        format!("the peer's clock is {} ms behind", ahead.unsigned_abs())
    } else {
        format!("the peer's clock is {ahead} ms ahead")
    };
    check("clock", Instant::now(), Ok(detail))
}

/// Waits until the path's packet size no longer grows.
async fn line(connection: &Connection) -> Check {
    let begun = Instant::now();
    let mut last = (connection.stats().mtu_bytes, Instant::now());
    while begun.elapsed() < MTU_WAIT && last.1.elapsed() < MTU_WAIT / 2 {
        sleep(MTU_POLL).await;
        let now = connection.stats().mtu_bytes;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    let stats = connection.stats();
    let detail = format!(
        "packets of {} bytes, round trip {} us, {} packets lost",
        stats.mtu_bytes,
        stats.round_trip.as_micros(),
        stats.lost_packets
    );
    check("line", begun, Ok(detail))
}

fn check(name: &'static str, begun: Instant, outcome: Result<String, NetError>) -> Check {
    let took_ms = begun.elapsed().as_millis() as u64;
    match outcome {
        Ok(detail) => Check { name, ok: true, code: None, detail, took_ms },
        Err(e) => Check { name, ok: false, code: Some(e.code()), detail: e.to_string(), took_ms },
    }
}
