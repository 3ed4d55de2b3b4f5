//! A whole aggregation round between parties that talk QUIC on loopback, keys dealt ahead: real
//! sockets, real handshakes, wall time. The limit is the same vectors sent plainly over the same
//! connections.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use tacit_benches::case::{Case, median};
use tacit_crypto::{Rng, SealKey, Secret, SigningKey};
use tacit_net::{Config, Connection, DataReceiver, DataSender, Endpoint, Identity, Incoming, Purpose};
use tacit_protocol::{Audience, Disclosure, Effect, Event, HashAhead, Machine, Message, Seating, Setup};
use tacit_secagg::{Delivery, Params, Plan, Round, Slots, Source, Width};
use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Attempt, Fault, Hash, JobId, Millis, Seat};
use tokio::sync::mpsc;

#[derive(Parser)]
struct Arguments {
    /// JSON lines.
    #[arg(long)]
    json: bool,
    /// A tenth of the elements.
    #[arg(long)]
    quick: bool,
}

const PARTIES: usize = 10;
const ROUNDS: u16 = 9;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let d = if arguments.quick { 100_000 } else { 1_000_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(AnyError::from).and_then(|runtime| runtime.block_on(bench(d, arguments.json))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("secagg_quic: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(d: usize, json: bool) -> Result<(), AnyError> {
    let mesh = Mesh::connect().await?;
    let plain = mesh.plain(d * 4).await?;
    let (seconds, bytes_up) = mesh.aggregate(d).await?;
    let case = Case {
        case: format!("secagg_quic_{PARTIES}x{d}"),
        n: PARTIES,
        d,
        parties: PARTIES,
        seconds,
        bytes_sent: bytes_up,
        rounds: 4,
        limit_seconds: plain,
        samples: usize::from(ROUNDS) - 1,
        note: format!(
            "wall time of a round on the machine's cores, all {PARTIES} parties in this process; bytes are one party's; \
             {:.4} of the vector; the limit is the same vectors sent plainly",
            bytes_up as f64 / (d * 4) as f64
        ),
        ..Case::default()
    };
    case.print(json);
    Ok(())
}

/// One connection between every two parties. Seat 0 aggregates.
struct Mesh {
    keys: Vec<Arc<SigningKey>>,
    /// The ends of each party, by the seat at the other end.
    ends: Vec<BTreeMap<usize, Connection>>,
    _endpoints: Vec<Endpoint>,
}

impl Mesh {
    async fn connect() -> Result<Self, AnyError> {
        let mut keys: Vec<_> = (0..PARTIES).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        let open = |_: &tacit_types::NodeId, _: Purpose| Ok(());
        let mut endpoints = Vec::new();
        for key in &keys {
            let identity = Identity::from_signing_key(key)?;
            endpoints.push(Endpoint::bind("127.0.0.1:0".parse()?, identity, Config::with_gate(open))?);
        }
        let mut ends = vec![BTreeMap::new(); PARTIES];
        for to in 0..PARTIES {
            let (address, key) = (endpoints[to].local_addr().into(), keys[to].id());
            for from in to + 1..PARTIES {
                let dial = endpoints[from].connect(&address, &key, Purpose::Member);
                let (accepted, connected) = tokio::join!(endpoints[to].accept(), dial);
                ends[to].insert(from, accepted.ok_or("the endpoint is closed")?);
                ends[from].insert(to, connected?);
            }
        }
        Ok(Self { keys, ends, _endpoints: endpoints })
    }

    /// Sends a vector of so many bytes from every party to the aggregator, and gives the median
    /// seconds until it has them all.
    async fn plain(&self, bytes: usize) -> Result<f64, AnyError> {
        let mut seconds = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for (seat, hub) in &self.ends[0] {
                let (ray, hub) = (self.ends[*seat][&0].clone(), hub.clone());
                tasks.spawn(async move {
                    let mut stream = ray.open_stream(b"plain").await?;
                    for at in (0..bytes).step_by(CHUNK_BYTES_MAX) {
                        stream.send_owned(vec![7u8; CHUNK_BYTES_MAX.min(bytes - at)]).await?;
                    }
                    stream.finish()
                });
                tasks.spawn(async move {
                    let Incoming::Stream { mut receiver, .. } = hub.accept().await? else { return Ok(()) };
                    while receiver.next().await?.is_some() {}
                    Ok(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            seconds.push(begun.elapsed().as_secs_f64());
        }
        Ok(median(seconds))
    }

    /// Median seconds of a round at the aggregator, and the bytes that one party sends in it.
    async fn aggregate(&self, d: usize) -> Result<(f64, u64), AnyError> {
        let ends: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let sent: Arc<Mutex<BTreeMap<usize, u64>>> = Arc::default();
        let mut tasks = tokio::task::JoinSet::new();
        for seat in 0..PARTIES {
            let links = self.ends[seat].clone();
            let machine = self.machine(seat, d, ends.clone());
            let sent = sent.clone();
            tasks.spawn(async move {
                let bytes = drive(machine, links).await?;
                if let Ok(mut sent) = sent.lock() {
                    sent.insert(seat, bytes);
                }
                Ok::<_, AnyError>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        let ends = ends.lock().map_err(|_| "poisoned")?.clone();
        let rounds = ends.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let total = sent.lock().map_err(|_| "poisoned")?.get(&1).copied().unwrap_or(0);
        Ok((median(rounds), total / u64::from(ROUNDS)))
    }

    fn machine(&self, seat: usize, d: usize, ends: Arc<Mutex<Vec<Instant>>>) -> Machine<()> {
        let disclosure = Disclosure { what: "sum".into(), to: Audience::Recipient, cells_max: u64::MAX };
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            // why: the keys are distinct, so they can be seated.
            seating: Seating::new(self.keys.iter().map(|k| k.id()).collect()).unwrap_or_else(|| std::process::abort()),
            disclosures: vec![disclosure.clone()],
            stream_bytes_max: 1 << 32,
        };
        let seed = Secret::new([seat as u8 + 50; 32]);
        // The sum goes to a recipient without a seat: the aggregator ends with a vector that it cannot read.
        let recipient = SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32]))).public();
        Machine::new(setup, &seed, self.keys[seat].clone(), Millis(0), move |mut party| async move {
            let params = Params::new(PARTIES as u16)?;
            let plan = Plan {
                params,
                context: Hash([3; 32]),
                rounds: ROUNDS,
                aggregator: Seat(0),
                step_ms: 30_000,
                step_base: 1,
            };
            let mut epoch = tacit_secagg::setup(&mut party, &plan).await?;
            for index in 0..ROUNDS {
                let round = Round {
                    index,
                    query: Hash([index as u8; 32]),
                    model_root: None,
                    width: Width::W32,
                    len: d,
                    delivery: Delivery::Recipient { key: recipient, disclosure: disclosure.clone() },
                };
                let outcome = tacit_secagg::aggregate(&mut party, &mut epoch, &round, Ones(d)).await?;
                if party.seat() == Seat(0)
                    && let Ok(mut ends) = ends.lock()
                {
                    ends.push(Instant::now());
                }
                assert_eq!(outcome.survivors.len(), PARTIES);
                assert_eq!(outcome.blinded.is_some(), party.seat() == Seat(0));
            }
            Ok(())
        })
    }
}

/// A vector of ones.
struct Ones(usize);

impl Source for Ones {
    fn width(&self) -> Width {
        Width::W32
    }

    fn len(&self) -> usize {
        self.0
    }

    fn fill(&mut self, _: usize, out: Slots<'_>) -> Result<(), Fault> {
        if let Slots::W32(out) = out {
            out.fill(1);
        }
        Ok(())
    }
}

/// Credit frames are eight bytes; a message's frame is longer.
const CREDIT_BYTES: usize = 8;

async fn drive(mut machine: Machine<()>, links: BTreeMap<usize, Connection>) -> Result<u64, AnyError> {
    let began = Instant::now();
    let now = || Millis(began.elapsed().as_millis() as u64);
    let (events, mut received) = mpsc::channel(64);
    let ahead = Arc::new(machine.ahead());
    let mut writers = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    for (other, connection) in links {
        let (queue, frames) = mpsc::unbounded_channel::<Vec<u8>>();
        writers.insert(other, queue);
        let sender = connection.open_stream(b"link").await?;
        tasks.spawn(write(sender, frames));
        let (events, ahead) = (events.clone(), ahead.clone());
        tasks.spawn(async move {
            if let Ok(Incoming::Stream { receiver, .. }) = connection.accept().await {
                read(receiver, other, events, &ahead).await;
            }
        });
    }
    let mut pending = vec![Event::Start];
    let mut sent = 0;
    while !machine.is_finished() {
        for event in std::mem::take(&mut pending) {
            let effects = machine.step(now(), event);
            ahead.want(machine.hash_ahead());
            for effect in effects {
                match effect {
                    Effect::Send(message) => {
                        let to = message.address.to.index();
                        let frame = message.into_frame();
                        sent += frame.len() as u64;
                        writers.get(&to).ok_or("no link to a seat")?.send(frame)?;
                    }
                    Effect::Credit { to, consumed } => {
                        writers.get(&to.index()).ok_or("no link to a seat")?.send(consumed.to_le_bytes().to_vec())?;
                    }
                    Effect::Persist { ticket, .. } => pending.push(Event::Persisted { ticket }),
                    _ => {}
                }
            }
        }
        if pending.is_empty() && !machine.is_finished() {
            pending.push(received.recv().await.ok_or("every link has ended")?);
        }
    }
    machine.take_outcome().ok_or("no outcome")??;
    drop(writers);
    // The last words of a seat go out before its links are dropped.
    tokio::time::timeout(std::time::Duration::from_secs(2), async { while tasks.join_next().await.is_some() {} })
        .await
        .ok();
    Ok(sent)
}

async fn write(mut sender: DataSender, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        if sender.send_owned(frame).await.is_err() {
            return;
        }
    }
    let _ = sender.finish();
}

async fn read(mut receiver: DataReceiver, from: usize, events: mpsc::Sender<Event>, ahead: &HashAhead) {
    while let Ok(Some(frame)) = receiver.next().await {
        let event = match <[u8; CREDIT_BYTES]>::try_from(frame.as_slice()) {
            Ok(consumed) => Event::Credit { from: Seat(from as u16), consumed: u64::from_le_bytes(consumed) },
            Err(_) => match Message::from_frame(frame) {
                Ok(message) => ahead.event(message),
                Err(_) => return,
            },
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
