//! Bulk between two nodes over the mesh beside raw quinn with its default settings, in one process and one run,
//! as JSON rows: `cargo xtask bench net`.
//!
//! Both send the same bytes over one stream on the loopback interface, in turn, so that whatever else the
//! machine does falls on both. Time is that of the wall, from the first byte to the receiver's last.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tacit_crypto::{Secret, SigningKey};
use tacit_net::mesh::{Event, Keep, Mesh};
use tacit_net::{Config, Connection, Endpoint, Identity, Incoming, Profile, Purpose};
use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Code, NodeId};

type AnyError = Box<dyn Error + Send + Sync>;

/// Pairs of runs; the median of each side is reported, and the median of the pairs' ratios.
const PAIRS: usize = 9;
const LOOPBACK: &str = "127.0.0.1:0";

fn main() -> Result<(), AnyError> {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if given("--check") {
        return Err("this bench has no exact counts".into());
    }
    let bytes = if given("--quick") { 16 * CHUNK_BYTES_MAX } else { 128 * CHUNK_BYTES_MAX };
    let json = given("--json");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let raw = Raw::connect().await?;
        for profile in [Profile::Lan, Profile::Wan] {
            let ours = Ours::connect(profile).await?;
            row(profile, bytes, &ours, &raw, json).await?;
        }
        Ok(())
    })
}

/// Measures one profile against raw quinn, and prints it.
async fn row(profile: Profile, bytes: usize, ours: &Ours, raw: &Raw, json: bool) -> Result<(), AnyError> {
    // The first of each warms up: packet sizes are still being found out.
    ours.send(bytes).await?;
    raw.send(bytes).await?;
    let (mut mine, mut limit, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (a, b) = (ours.send(bytes).await?, raw.send(bytes).await?);
        mine.push(a);
        limit.push(b);
        ratios.push(a / b);
    }
    let (seconds, limit_seconds, ratio) = (median(mine), median(limit), median(ratios));
    let case = format!("net_bulk_{}", format!("{profile:?}").to_lowercase());
    let note = format!(
        "wall time of one stream on loopback, both ends in this process; {:.0} MB/s; limit: raw quinn with default \
         settings, {:.0} MB/s; the ratio is the median of the pairs'",
        bytes as f64 / seconds / 1e6,
        bytes as f64 / limit_seconds / 1e6
    );
    if json {
        let row = serde_json::json!({
            "case": case, "n": 2, "d": 0, "parties": 2, "seconds": seconds, "bytes_sent": bytes, "rounds": 1,
            "limit_seconds": limit_seconds, "ratio_to_limit": ratio, "peak_mb": 0.0, "samples": PAIRS, "note": note,
        });
        println!("{row}");
    } else {
        println!("{case:40} {:10.3} ms, {ratio:5.2} x {:.3} ms\n    {note}", seconds * 1e3, limit_seconds * 1e3);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Two nodes of this product, each with its mesh.
struct Ours {
    from: Mesh,
    peer: NodeId,
    /// The receiving end of the connection.
    arrived: Connection,
    _to: Mesh,
}

fn node(seed: u8, profile: Profile) -> Result<Endpoint, AnyError> {
    let identity = Identity::from_signing_key(&SigningKey::from_seed(&Secret::new([seed; 32])))?;
    let gate = |_: &NodeId, _: Purpose| -> Result<(), Code> { Ok(()) };
    Ok(Endpoint::bind(LOOPBACK.parse()?, identity, Config { profile, ..Config::with_gate(gate) })?)
}

impl Ours {
    async fn connect(profile: Profile) -> Result<Self, AnyError> {
        let (a, b) = (node(1, profile)?, node(2, profile)?);
        let (peer, back, address) = (b.id(), a.id(), b.local_addr());
        let ((from, mut ups), (to, mut events)) = (Mesh::start(a), Mesh::start(b));
        to.set_peer(back, None, Keep::OnDemand);
        from.set_peer(peer, Some(address.into()), Keep::Always);
        tokio::spawn(async move { while ups.next().await.is_some() {} });
        let Some(Event::Up(arrived)) = events.next().await else { return Err("no connection came up".into()) };
        Ok(Self { from, peer, arrived, _to: to })
    }

    async fn send(&self, bytes: usize) -> Result<f64, AnyError> {
        let connection = self.from.to(&self.peer).await?;
        let arrived = self.arrived.clone();
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            let mut stream = connection.open_stream(b"bulk").await?;
            for _ in 0..bytes / CHUNK_BYTES_MAX {
                stream.send_owned(vec![7; CHUNK_BYTES_MAX]).await?;
            }
            stream.finish()
        });
        let receiving = tokio::spawn(async move {
            let Incoming::Stream { mut receiver, .. } = arrived.accept().await? else { return Ok(0) };
            let mut heard = 0;
            while let Some(frame) = receiver.next().await? {
                heard += frame.len();
            }
            Ok::<usize, tacit_net::NetError>(heard)
        });
        let heard = receiving.await??;
        let seconds = begun.elapsed().as_secs_f64();
        sending.await??;
        if heard == bytes { Ok(seconds) } else { Err(format!("{heard} of {bytes} bytes arrived").into()) }
    }
}

/// Two endpoints of quinn as it comes.
struct Raw {
    from: quinn::Connection,
    arrived: quinn::Connection,
    _endpoints: [quinn::Endpoint; 2],
}

impl Raw {
    async fn connect() -> Result<Self, AnyError> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let certificate = CertificateDer::from(made.cert);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone())?;
        let at: SocketAddr = LOOPBACK.parse()?;
        let server = quinn::Endpoint::server(quinn::ServerConfig::with_single_cert(vec![certificate], key)?, at)?;
        let client = quinn::Endpoint::client(at)?;
        let config = quinn::ClientConfig::with_root_certificates(Arc::new(roots))?;
        let dial = client.connect_with(config, server.local_addr()?, "localhost")?;
        let accept = async { Ok::<_, AnyError>(server.accept().await.ok_or("the endpoint is closed")?.await?) };
        let (from, arrived) = tokio::join!(dial, accept);
        Ok(Self { from: from?, arrived: arrived?, _endpoints: [client, server] })
    }

    async fn send(&self, bytes: usize) -> Result<f64, AnyError> {
        let (from, arrived) = (self.from.clone(), self.arrived.clone());
        let begun = Instant::now();
        let sending = tokio::spawn(async move {
            let mut stream = from.open_uni().await?;
            for _ in 0..bytes / CHUNK_BYTES_MAX {
                stream.write_chunk(vec![7; CHUNK_BYTES_MAX].into()).await?;
            }
            stream.finish()?;
            Ok::<(), AnyError>(())
        });
        let receiving = tokio::spawn(async move {
            let mut stream = arrived.accept_uni().await?;
            let mut heard = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
                heard += chunk.bytes.len();
            }
            Ok::<usize, AnyError>(heard)
        });
        let heard = receiving.await??;
        let seconds = begun.elapsed().as_secs_f64();
        sending.await??;
        if heard == bytes { Ok(seconds) } else { Err(format!("{heard} of {bytes} bytes arrived").into()) }
    }
}
