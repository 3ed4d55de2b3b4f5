//! Parties that talk QUIC on loopback: real sockets, real handshakes, each party a task of its own that drives the
//! protocol's machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tacit_crypto::{Secret, SigningKey};
use tacit_net::{Config, Connection, DataReceiver, DataSender, Endpoint, Identity, Incoming, Purpose};
use tacit_protocol::{Disclosure, Effect, Event, HashAhead, Machine, Message, Party, Seating, Setup};
use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Attempt, JobId, Millis, NodeId, Seat};
use tokio::sync::mpsc;

use crate::case::{SAMPLES, median};

/// What ends a bench.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// One connection between every two parties.
pub struct Mesh {
    keys: Vec<Arc<SigningKey>>,
    /// The ends of each party, by the seat at the other end.
    ends: Vec<BTreeMap<usize, Connection>>,
    _endpoints: Vec<Endpoint>,
}

impl Mesh {
    /// Connects so many parties.
    ///
    /// # Errors
    /// What the network says.
    pub async fn connect(parties: usize) -> Result<Self, AnyError> {
        let mut keys: Vec<_> = (0..parties).map(|i| SigningKey::from_seed(&Secret::new([i as u8 + 1; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        let open = |_: &NodeId, _: Purpose| Ok(());
        let mut endpoints = Vec::new();
        for key in &keys {
            let identity = Identity::from_signing_key(key)?;
            endpoints.push(Endpoint::bind("127.0.0.1:0".parse()?, identity, Config::with_gate(open))?);
        }
        let mut ends = vec![BTreeMap::new(); parties];
        for to in 0..parties {
            let (address, key) = (endpoints[to].local_addr().into(), keys[to].id());
            for from in to + 1..parties {
                let dial = endpoints[from].connect(&address, &key, Purpose::Member);
                let (accepted, connected) = tokio::join!(endpoints[to].accept(), dial);
                ends[to].insert(from, accepted.ok_or("the endpoint is closed")?);
                ends[from].insert(to, connected?);
            }
        }
        Ok(Self { keys, ends, _endpoints: endpoints })
    }

    /// One end of two, of which the other is another process: seat 0 listens and says where, seat 1 is told.
    ///
    /// # Errors
    /// What the network says.
    pub async fn end(peer: Option<&str>, says: impl FnOnce(std::net::SocketAddr)) -> Result<Self, AnyError> {
        let mut keys: Vec<_> = (1..=2).map(|i| SigningKey::from_seed(&Secret::new([i; 32]))).collect();
        keys.sort_by_key(SigningKey::id);
        let keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        let seat = usize::from(peer.is_some());
        let identity = Identity::from_signing_key(&keys[seat])?;
        let open = |_: &NodeId, _: Purpose| Ok(());
        let endpoint = Endpoint::bind("127.0.0.1:0".parse()?, identity, Config::with_gate(open))?;
        let connection = match peer {
            None => {
                says(endpoint.local_addr());
                endpoint.accept().await.ok_or("the endpoint is closed")?
            }
            Some(peer) => {
                let peer: std::net::SocketAddr = peer.parse()?;
                endpoint.connect(&peer.into(), &keys[0].id(), Purpose::Member).await?
            }
        };
        let mut ends = vec![BTreeMap::new(); 2];
        ends[seat].insert(1 - seat, connection);
        Ok(Self { keys, ends, _endpoints: vec![endpoint] })
    }

    /// Runs a protocol to its end at this process's own seat.
    ///
    /// # Errors
    /// As those of [`Mesh::run`].
    pub async fn run_own<T, F>(
        &self,
        disclosures: &[Disclosure],
        protocol: impl FnOnce(Party) -> F,
    ) -> Result<(T, u64), AnyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tacit_protocol::Abort>> + Send + 'static,
    {
        let seat = self.ends.iter().position(|links| !links.is_empty()).ok_or("no end of this process")?;
        let setup = Setup {
            job: JobId([1; 32]),
            attempt: Attempt(1),
            seat: Seat(seat as u16),
            seating: Seating::new(self.keys.iter().map(|k| k.id()).collect()).ok_or("the parties have no seats")?,
            disclosures: disclosures.to_vec(),
            stream_bytes_max: 1 << 40,
        };
        let seed = Secret::new([seat as u8 + 50; 32]);
        let machine = Machine::new(setup, &seed, self.keys[seat].clone(), Millis(0), protocol);
        tokio::spawn(drive(machine, self.ends[seat].clone(), None)).await?
    }

    /// Sends so many bytes plainly along each link (from, to, bytes), all at once, and gives the median seconds until
    /// they have all come.
    ///
    /// # Errors
    /// What the network says.
    pub async fn plain(&self, links: &[(usize, usize, u64)]) -> Result<f64, AnyError> {
        let mut seconds = Vec::new();
        for _ in 0..SAMPLES {
            let begun = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for (from, to, bytes) in links.iter().copied() {
                let (near, far) = (self.ends[from][&to].clone(), self.ends[to][&from].clone());
                tasks.spawn(async move {
                    let mut stream = near.open_stream(b"plain").await?;
                    let mut left = bytes as usize;
                    while left > 0 {
                        let piece = CHUNK_BYTES_MAX.min(left);
                        stream.send_owned(vec![7u8; piece]).await?;
                        left -= piece;
                    }
                    stream.finish()
                });
                tasks.spawn(async move {
                    let Incoming::Stream { mut receiver, .. } = far.accept().await? else { return Ok(()) };
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

    /// Runs a protocol to its end at every party. Gives each one's outcome and the bytes of the messages that it sent,
    /// by seat.
    ///
    /// # Errors
    /// A party's abort, or what the network says.
    pub async fn run<T, F>(
        &self,
        disclosures: &[Disclosure],
        protocol: impl Fn(Party) -> F,
    ) -> Result<Vec<(T, u64)>, AnyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tacit_protocol::Abort>> + Send + 'static,
    {
        let mut tasks = Vec::new();
        for (seat, links) in self.ends.iter().enumerate() {
            let setup = Setup {
                job: JobId([1; 32]),
                attempt: Attempt(1),
                seat: Seat(seat as u16),
                seating: Seating::new(self.keys.iter().map(|k| k.id()).collect()).ok_or("the parties have no seats")?,
                disclosures: disclosures.to_vec(),
                stream_bytes_max: 1 << 40,
            };
            let seed = Secret::new([seat as u8 + 50; 32]);
            let machine = Machine::new(setup, &seed, self.keys[seat].clone(), Millis(0), &protocol);
            tasks.push(tokio::spawn(drive(machine, links.clone(), None)));
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await??);
        }
        Ok(outcomes)
    }
}

impl Mesh {
    /// The parties' keys, by seat.
    pub fn keys(&self) -> &[Arc<SigningKey>] {
        &self.keys
    }

    /// Runs a machine at each seat to its end, one of them with a host.
    pub fn serve<T: Send + 'static>(&self, machines: Vec<Machine<T>>, asker: usize, host: Host) -> Served<T> {
        let mut host = Some(host);
        let seats = machines.into_iter().zip(&self.ends).enumerate();
        seats
            .map(|(seat, (machine, links))| {
                let host = if seat == asker { host.take() } else { None };
                tokio::spawn(drive(machine, links.clone(), host))
            })
            .collect()
    }
}

/// Parties under way: the outcome of each, and the bytes of the messages that it sent.
pub type Served<T> = Vec<tokio::task::JoinHandle<Result<(T, u64), AnyError>>>;

/// What a seat's own node says to it, and hears from it.
pub struct Host {
    /// To the seat.
    pub says: mpsc::UnboundedReceiver<Vec<u8>>,
    /// From the seat.
    pub hears: mpsc::UnboundedSender<Vec<u8>>,
}

/// Credit frames are eight bytes; a message's frame is longer.
const CREDIT_BYTES: usize = 8;

async fn drive<T: Send + 'static>(
    mut machine: Machine<T>,
    links: BTreeMap<usize, Connection>,
    mut host: Option<Host>,
) -> Result<(T, u64), AnyError> {
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
    let (mut sent, mut timer) = (0, None::<Millis>);
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
                        // A seat that has ended takes nothing more: its last words say whether it ended well.
                        let _ = writers.get(&to).ok_or("no link to a seat")?.send(frame);
                    }
                    Effect::Credit { to, consumed } => {
                        let frame = consumed.to_le_bytes().to_vec();
                        let _ = writers.get(&to.index()).ok_or("no link to a seat")?.send(frame);
                    }
                    Effect::SetTimer(at) => timer = Some(at),
                    Effect::Persist { ticket, .. } => pending.push(Event::Persisted { ticket }),
                    Effect::Host(bytes) => {
                        if let Some(host) = &host {
                            host.hears.send(bytes)?;
                        }
                    }
                    _ => {}
                }
            }
        }
        if pending.is_empty() && !machine.is_finished() {
            let wake = began + Duration::from_millis(timer.map_or(0, |at| at.0));
            tokio::select! {
                event = received.recv() => pending.push(event.ok_or("every link has ended")?),
                Some(said) = said(host.as_mut()) => pending.push(Event::Host(said)),
                () = tokio::time::sleep_until(wake.into()), if timer.is_some() => {
                    timer = None;
                    pending.push(Event::Timer);
                }
            }
        }
    }
    let outcome = machine.take_outcome().ok_or("no outcome")??;
    drop((writers, events));
    linger(received, tasks).await;
    Ok((outcome, sent))
}

/// Keeps the links until the others have ended. They may be at work for long: they read what is under way to them, and say
/// what this seat no longer needs. A link that is dropped before is reset, with what is on it, and whoever writes to it
/// finds it closed. So this seat takes their words until each has said its last, having ended or failed as well.
async fn linger(mut received: mpsc::Receiver<Event>, mut tasks: tokio::task::JoinSet<()>) {
    while received.recv().await.is_some() {}
    while tasks.join_next().await.is_some() {}
}

async fn said(host: Option<&mut Host>) -> Option<Vec<u8>> {
    match host {
        Some(host) => host.says.recv().await,
        None => std::future::pending().await,
    }
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
    loop {
        let frame = match receiver.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(_) => {
                let _ = events.send(Event::Gone(Seat(from as u16))).await;
                return;
            }
        };
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

#[cfg(test)]
mod tests {
    use tacit_protocol::Abort;
    use tacit_types::{Code, Fault, Step};

    use super::*;

    const TURNS: u32 = 30;
    const PAUSE: Duration = Duration::from_millis(100);

    /// Two seats take turns for three seconds; one of them tells the third, which has nothing to do, each time.
    async fn turns(mut party: Party) -> Result<u32, Abort> {
        let until = Millis(60_000);
        for turn in 0..TURNS {
            match party.seat().0 {
                0 => {
                    party.post(Seat(1), Step(turn), vec![1; 1000])?;
                    party.post(Seat(2), Step(turn), vec![2])?;
                    party.receive(Seat(2), Step(turn), 1, until).await?;
                }
                1 => return Ok(0),
                _ => {
                    party.receive(Seat(0), Step(turn), 1, until).await?;
                    std::thread::sleep(PAUSE);
                    party.post(Seat(0), Step(turn), vec![3])?;
                }
            }
        }
        party.flush(until).await?;
        Ok(TURNS)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_seat_that_ends_long_before_the_others_takes_its_links_from_nobody() {
        let mesh = Mesh::connect(3).await.unwrap();
        for _ in 0..2 {
            let outcomes = mesh.run(&[], turns).await.unwrap();
            let done: Vec<u32> = outcomes.into_iter().map(|(done, _)| done).collect();
            assert_eq!(done, [TURNS, 0, TURNS]);
        }
    }

    /// A seat that fails is lost to those that wait for it, and they say so instead of waiting for ever.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_seat_that_fails_is_lost_to_the_others() {
        let mesh = Mesh::connect(3).await.unwrap();
        let protocol = |mut party: Party| async move {
            if party.seat().0 == 2 {
                return Err(Abort::Local(Fault::new(Code::JobInternal, "it fails")));
            }
            party.receive(Seat(2), Step(0), 1, Millis(1000)).await.map(|_| ())
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), mesh.run(&[], protocol)).await;
        let error = ended.expect("nobody hangs").unwrap_err();
        let lost = matches!(error.downcast_ref(), Some(Abort::Missing { seats, .. }) if *seats == [Seat(2)]);
        assert!(lost, "{error}");
    }
}
