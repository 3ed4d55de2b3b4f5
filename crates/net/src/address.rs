//! Where a peer listens, as people write it: `host:port`, with IPv6 addresses in brackets.

use core::net::Ipv4Addr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tacit_types::{Code, Fault};

use crate::error::{NetError, plain};
use crate::limits::ADDRESSES_MAX;

/// Bytes of a host name (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Bytes of one label of a host name.
const LABEL_BYTES_MAX: usize = 63;

/// A host name or IP address, and a UDP port that is not 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host without brackets.
    pub fn host(&self) -> String {
        match &self.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Looks the host up. An address is its own answer. At most [`ADDRESSES_MAX`].
    ///
    /// # Errors
    /// [`NetError::Unresolved`] when the name has no address.
    pub async fn resolve(&self) -> Result<Vec<SocketAddr>, NetError> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => name,
        };
        let unresolved = |why: String| NetError::Unresolved { address: self.to_string(), why };
        let found = tokio::net::lookup_host((name.as_str(), self.port)).await;
        let found: Vec<SocketAddr> =
            found.map_err(|e| unresolved(plain(&e.to_string(), 200)))?.take(ADDRESSES_MAX).collect();
        if found.is_empty() { Err(unresolved("the name has no address".into())) } else { Ok(found) }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Ip(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let malformed = || Fault::new(Code::ArgsInvalid, format!("not host:port or [IPv6]:port: {}", plain(text, 80)));
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => Host::Ip(IpAddr::V6(inner.parse::<Ipv6Addr>().map_err(|_| malformed())?)),
            None => match host.parse::<std::net::Ipv4Addr>() {
                Ok(ip) => Host::Ip(IpAddr::V4(ip)),
                Err(_) if is_host_name(host) => Host::Name(host.to_owned()),
                Err(_) => return Err(malformed()),
            },
        };
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
        let port = if digits { port.parse().map_err(|_| malformed())? } else { return Err(malformed()) };
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for Address {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

/// Letters, digits and hyphens in dotted labels; the last label is not a number, so that a mistyped
/// IPv4 address is not looked up as a name.
fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        let edges = l.starts_with('-') || l.ends_with('-');
        let plain = l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        !l.is_empty() && l.len() <= LABEL_BYTES_MAX && plain && !edges
    };
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= HOST_BYTES_MAX && text.split('.').all(label) && !numeric
}

/// Ports that [`free_port`] takes from: below those that systems give to sockets that ask for none (from 32,768 on).
const FREE_PORTS: core::ops::Range<u16> = 20_000..32_000;

/// A port of the loopback address that nothing uses now, for demonstrations and tests. No socket that asks for any
/// port gets it while a daemon that it is meant for stops and starts; no two calls of one process give the same.
///
/// # Errors
/// What the system says of the last port that was tried.
pub fn free_port() -> std::io::Result<u16> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Processes begin far from each other, so that those of one moment seldom try the same.
    let begin = std::process::id().wrapping_mul(7919);
    let mut last = None;
    for _ in FREE_PORTS {
        let place =
            begin.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % u32::from(FREE_PORTS.end - FREE_PORTS.start);
        let port = FREE_PORTS.start + place as u16;
        let here = (Ipv4Addr::LOCALHOST, port);
        match std::net::UdpSocket::bind(here).and_then(|_| std::net::TcpListener::bind(here)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_parse() {
        for text in ["127.0.0.1:7400", "[::1]:7400", "[2001:db8::5]:1", "node-a.bank.example:65535", "localhost:80"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:9".parse::<Address>().unwrap().host(), "::1");
    }

    #[test]
    fn free_ports_differ_and_are_none_that_a_client_gets() {
        let ports: Vec<u16> = (0..64).map(|_| free_port().unwrap()).collect();
        let distinct: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), ports.len());
        assert!(ports.iter().all(|p| FREE_PORTS.contains(p)));
        // One in use is passed over.
        let next =
            FREE_PORTS.start + (free_port().unwrap() + 1 - FREE_PORTS.start) % (FREE_PORTS.end - FREE_PORTS.start);
        if let Ok(_taken) = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, next)) {
            assert_ne!(free_port().unwrap(), next);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let long = format!("{}.example:1", "a".repeat(LABEL_BYTES_MAX + 1));
        let longer = format!("{}a:1", "a.".repeat(HOST_BYTES_MAX / 2 + 1));
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:080",
            "host:65536",
            "host:+80",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[127.0.0.1]:80",
            "1.2.3:80",
            "1.2.3.256:80",
            "a b:80",
            "a/b:80",
            "-a:80",
            "a..b:80",
            "host:80 ",
            "[h]:80",
            &long,
            &longer,
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err().code, Code::ArgsInvalid, "{text}");
        }
    }
}
