//! Measures the transport on the loopback: bulk throughput, round trip, handshake.
//!
//! `cargo run --release -p tacit-net --example bulk`

use std::error::Error;
use std::time::{Duration, Instant};

use tacit_crypto::{Secret, SigningKey};
use tacit_net::{Config, Endpoint, Identity, Incoming, Profile, Purpose};
use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Code, NodeId};

const FRAMES: usize = 1024;
const ROUND_TRIPS: u32 = 2000;
const HANDSHAKES: u32 = 200;

fn endpoint(n: u8, profile: Profile) -> Result<Endpoint, Box<dyn Error>> {
    let identity = Identity::from_signing_key(&SigningKey::from_seed(&Secret::new([n; 32])))?;
    let gate = |_: &NodeId, _| -> Result<(), Code> { Ok(()) };
    Ok(Endpoint::bind("127.0.0.1:0".parse()?, identity, Config { profile, ..Config::with_gate(gate) })?)
}

fn serve(endpoint: Endpoint) {
    tokio::spawn(async move {
        while let Some(connection) = endpoint.accept().await {
            tokio::spawn(async move {
                while let Ok(incoming) = connection.accept().await {
                    tokio::spawn(async move {
                        match incoming {
                            Incoming::Request { bytes, responder } => drop(responder.respond(&bytes).await),
                            Incoming::Stream { mut receiver, .. } => while let Ok(Some(_)) = receiver.next().await {},
                        }
                    });
                }
            });
        }
    });
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    for profile in [Profile::Lan, Profile::Wan] {
        let (a, b) = (endpoint(1, profile)?, endpoint(2, profile)?);
        let (target, peer) = (b.local_addr().into(), b.id());
        serve(b);
        let connection = a.connect(&target, &peer, Purpose::Member).await?;
        let frame = vec![7u8; CHUNK_BYTES_MAX];
        let begun = Instant::now();
        let mut sender = connection.open_stream(b"bulk").await?;
        for _ in 0..FRAMES {
            sender.send_owned(frame.clone()).await?;
        }
        sender.finish_delivered().await?;
        let rate = (FRAMES * CHUNK_BYTES_MAX) as f64 / begun.elapsed().as_secs_f64() / 1e6;
        println!("{profile:?}: one stream {rate:.0} MB/s");

        let begun = Instant::now();
        for _ in 0..ROUND_TRIPS {
            connection.request_within(&[1; 64], Duration::from_secs(5)).await?;
        }
        println!(
            "{profile:?}: a request of 64 bytes {:.0} us",
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS)
        );

        let begun = Instant::now();
        for _ in 0..HANDSHAKES {
            let dialler = endpoint(3, profile)?;
            dialler.connect(&target, &peer, Purpose::Member).await?;
        }
        let each = begun.elapsed().as_secs_f64() * 1e3 / f64::from(HANDSHAKES);
        println!("{profile:?}: port, handshake and hello {each:.2} ms");
    }
    Ok(())
}
