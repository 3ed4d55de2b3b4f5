//! What goes over a link is signed by both of its ends, and an end that signs otherwise, or not, is seen.

use tacit_crypto::Secret;
use tacit_net::{Config, DataReceiver, Endpoint, Identity, Incoming, Purpose};
use tacit_protocol::message::Address;
use tacit_protocol::{HashAhead, Message};
use tacit_receipts::link::{Flow, LINK_SEAL_BYTES_MAX, links_root};
use tacit_types::limits::CHUNK_BYTES_MAX;
use tacit_types::{Attempt, Code, Hash, JobId, Seat, Step};

use super::super::links::{read_link, write_frames};
use super::*;
use crate::link::StreamHeader;

const HERE: u8 = 1;
const THERE: u8 = 2;
const FRAMES: u64 = 3;

fn key(n: u8) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_seed(&Secret::new([n; 32])))
}

fn node(n: u8) -> Endpoint {
    let everybody = Config::with_gate(|_: &NodeId, _| -> Result<(), Code> { Ok(()) });
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), Identity::from_signing_key(&key(n)).unwrap(), everybody).unwrap()
}

/// Both ends of a connection between two nodes.
async fn connect(from: &Endpoint, to: &Endpoint) -> (Connection, Connection) {
    let (target, id) = (tacit_net::Address::from(to.local_addr()), to.id());
    let (dialler, acceptor) = tokio::join!(from.connect(&target, &id, Purpose::Member), to.accept());
    (dialler.unwrap(), acceptor.unwrap())
}

fn scope() -> LinkScope {
    LinkScope { job: JobId([1; 32]), attempt: Attempt(2), session: Hash([3; 32]) }
}

fn log(here: u8, there: u8) -> Arc<LinkLog> {
    LinkLog::new(scope(), key(here).id(), key(there).id(), key(here))
}

/// A message of the seat at this end.
fn message(n: u64, from: u8) -> Vec<u8> {
    let LinkScope { job, attempt, .. } = scope();
    let (from, to) = if from == HERE { (Seat(0), Seat(1)) } else { (Seat(1), Seat(0)) };
    let address = Address { job, attempt, step: Step(7), from, to, sequence: n as u32 };
    LinkFrame::Message(Message { address, total: 40, body: vec![n as u8; 40] }).into_bytes()
}

/// What this end has written, as an honest other end counts it.
fn flow(from: u8, to: u8, frames: u64) -> Flow {
    let mut chain = FlowChain::new(&scope(), &key(from).id(), &key(to).id());
    (0..frames).for_each(|n| chain.take(&message(n, from)));
    chain.flow()
}

/// An end of a link as the product has it: it writes its messages and reads the other's, and says what it holds of both.
async fn honest(log: Arc<LinkLog>, seat: u8, connection: Connection, wait: Duration) -> (LinkRow, Duration) {
    let began = Instant::now();
    let (writer, mut frames) = Writer::waiting(log.there, &log);
    (0..FRAMES).for_each(|n| drop(writer.queue.send(message(n, seat))));
    // What bounds how fast the other end may send counts in neither.
    let _ = writer.queue.send(LinkFrame::Credit(1).into_bytes());
    log.wait_until(began + wait);
    drop(writer);
    let other = Seat(u16::from(seat == HERE));
    let (events, mut arrived) = mpsc::channel(1);
    let (into, there) = (connection.clone(), log.clone());
    let reading = tokio::spawn(async move {
        let Ok(Incoming::Stream { receiver, .. }) = into.accept().await else { return };
        read_link(receiver, other, there, events, Arc::new(HashAhead::new(CHUNK_BYTES_MAX))).await;
    });
    let header = StreamHeader { job: scope().job, attempt: scope().attempt };
    let draining = tokio::spawn(async move { while arrived.recv().await.is_some() {} });
    let _ = write_frames(&connection, header, &mut frames, &log).await;
    let took = began.elapsed();
    reading.abort();
    draining.abort();
    (log.row(KeyHistory::none()), took)
}

/// The other end, which answers as it likes: it is given what it hears, and its stream.
async fn met<F: Future<Output = ()> + Send + 'static>(
    wait: Duration,
    other: impl FnOnce(DataReceiver, DataSender) -> F + Send + 'static,
) -> (LinkRow, Duration) {
    let (here, there) = (node(HERE), node(THERE));
    let (own, far) = connect(&here, &there).await;
    tokio::spawn(async move {
        let sender = far.open_stream(b"header").await.unwrap();
        let Incoming::Stream { receiver, .. } = far.accept().await.unwrap() else { panic!("a request") };
        other(receiver, sender).await;
        std::future::pending::<()>().await;
        drop(far);
    });
    honest(log(HERE, THERE), HERE, own, wait).await
}

/// Sends messages and the end, reads what comes up to the other's seal, and answers with this.
async fn answers(mut receiver: DataReceiver, mut sender: DataSender, seal: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
    for n in 0..FRAMES {
        sender.send_owned(message(n, THERE)).await.unwrap();
    }
    sender.send_owned(LinkFrame::End.into_bytes()).await.unwrap();
    loop {
        let bytes = receiver.next().await.unwrap().expect("a seal comes");
        if let Some(LinkFrame::Seal(theirs)) = LinkFrame::from_bytes(bytes) {
            if let Some(answer) = seal(&theirs) {
                let _ = sender.send_owned(LinkFrame::Seal(answer).into_bytes()).await;
            }
            break;
        }
    }
    std::future::pending().await
}

/// The other end's seal of these, by this key.
fn sealed(by: u8, scope: LinkScope, (from, to): (u8, u8), (sent, received): (Flow, Flow)) -> Vec<u8> {
    let ends = (key(from).id(), key(to).id());
    LinkSeal::sign(&key(by), &scope, ends, (sent, received), crate::now()).bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_hold_the_same_leaf_signed_by_both() {
    let (here, there) = (node(HERE), node(THERE));
    let (own, far) = connect(&here, &there).await;
    // Connections outlast attempts: what was written last still arrives.
    let _kept = (own.clone(), far.clone());
    let far = tokio::spawn(honest(log(THERE, HERE), THERE, far, SEAL_TIME_MAX));
    let (one, _) = honest(log(HERE, THERE), HERE, own, SEAL_TIME_MAX).await;
    let (other, _) = far.await.unwrap();
    assert_eq!((one.state, other.state), (LinkState::Sealed, LinkState::Sealed));
    assert_eq!(one.leaf, other.leaf, "one leaf, whoever shows it");
    let leaf = LinkLeaf::parse(&one.leaf).unwrap();
    let ends = (key(HERE).id(), key(THERE).id());
    let link = leaf.read((scope().job, scope().attempt), (&ends.0, &ends.1), &|id, by| by.signer == *id).unwrap();
    let seal = link.here.unwrap();
    assert_eq!((seal.sent, seal.received), (flow(HERE, THERE, FRAMES), flow(THERE, HERE, FRAMES)));
    assert_eq!((seal.sent.frames, seal.sent.bytes), (FRAMES, FRAMES * message(0, HERE).len() as u64));
    assert_ne!(seal.sent.chain, seal.received.chain);
    assert!(links_root([one.leaf.as_slice()]).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_signs_another_count_or_hash_is_named() {
    let (sent, received) = (flow(THERE, HERE, FRAMES), flow(HERE, THERE, FRAMES));
    let more = |flow: Flow| Flow { frames: flow.frames + 1, ..flow };
    let longer = |flow: Flow| Flow { bytes: flow.bytes + 1, ..flow };
    let other = |flow: Flow| Flow { chain: Hash([9; 32]), ..flow };
    let lies = [
        (more(sent), received),
        (sent, more(received)),
        (longer(sent), received),
        (sent, longer(received)),
        (other(sent), received),
        (sent, other(received)),
        (received, sent),
    ];
    for lie in lies {
        let seal = sealed(THERE, scope(), (THERE, HERE), lie);
        let (row, took) = met(SEAL_TIME_MAX, move |r, s| answers(r, s, |_| Some(seal))).await;
        assert_eq!((row.peer, row.state), (key(THERE).id(), LinkState::Differs), "{lie:?}");
        assert!(took < SEAL_TIME_MAX, "it is not waited for twice");
        // What it signed stays, as evidence of what it said.
        let ends = (key(HERE).id(), key(THERE).id());
        let speaks = |id: &NodeId, by: &tacit_crypto::statement::Envelope| by.signer == *id;
        let leaf = LinkLeaf::parse(&row.leaf).unwrap();
        let link = leaf.read((scope().job, scope().attempt), (&ends.0, &ends.1), &speaks).unwrap();
        assert_eq!(link.there.map(|seal| (seal.sent, seal.received)), Some(lie));
    }
    let seal = sealed(THERE, scope(), (THERE, HERE), (sent, received));
    let (row, _) = met(SEAL_TIME_MAX, move |r, s| answers(r, s, |_| Some(seal))).await;
    assert_eq!(row.state, LinkState::Sealed, "the truth is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_of_another_link_or_key_is_no_seal() {
    let flows = (flow(THERE, HERE, FRAMES), flow(HERE, THERE, FRAMES));
    let (here, attempt, session) = (scope(), Attempt(1), Hash([4; 32]));
    let of = |scope| sealed(THERE, scope, (THERE, HERE), flows);
    let strangers = [
        ("another session", of(LinkScope { session, ..here })),
        ("another attempt", of(LinkScope { attempt, ..here })),
        ("another job", of(LinkScope { job: JobId([2; 32]), ..here })),
        ("its link with a third", sealed(THERE, here, (THERE, 3), flows)),
        ("a third's link", sealed(THERE, here, (3, HERE), flows)),
        ("the other direction", sealed(THERE, here, (HERE, THERE), (flows.1, flows.0))),
        ("another key", sealed(3, here, (THERE, HERE), flows)),
        ("this end's key", sealed(HERE, here, (THERE, HERE), flows)),
        ("nothing", Vec::new()),
        ("too much", vec![7; LINK_SEAL_BYTES_MAX + 1]),
    ];
    let mut refused = Vec::new();
    for (what, seal) in strangers {
        refused.push(tokio::spawn(async move {
            let (row, _) = met(SEAL_TIME_MAX, move |r, s| answers(r, s, |_| Some(seal))).await;
            (what, row.state)
        }));
    }
    // This end's own, sent back.
    refused.push(tokio::spawn(async {
        let (row, _) = met(SEAL_TIME_MAX, |r, s| answers(r, s, |own| Some(own.to_vec()))).await;
        ("its own", row.state)
    }));
    for one in refused {
        let (what, state) = one.await.unwrap();
        assert_eq!(state, LinkState::Unsealed, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_does_not_answer_is_waited_for_once_and_no_longer() {
    let wait = Duration::from_millis(300);
    let bounded = |took: Duration| took >= wait && took < wait + Duration::from_secs(5);
    let (row, took) = met(wait, |r, s| answers(r, s, |_| None)).await;
    assert_eq!(row.state, LinkState::Unsealed, "no seal");
    assert!(bounded(took), "{took:?}");
    let (row, took) = met(wait, |receiver, sender| async move {
        let _open = (receiver, sender);
        std::future::pending().await
    })
    .await;
    assert_eq!(row.state, LinkState::Unsealed, "nothing at all");
    assert!(bounded(took), "{took:?}");
    // One that has finished its stream says no more, and is not waited for.
    let (row, took) = met(Duration::from_secs(60), |_receiver, sender| async move {
        sender.finish().unwrap();
        std::future::pending().await
    })
    .await;
    assert_eq!(row.state, LinkState::Unsealed);
    assert!(took < Duration::from_secs(30), "{took:?}");
    // This end's own word stays.
    let ends = (key(HERE).id(), key(THERE).id());
    let leaf = LinkLeaf::parse(&row.leaf).unwrap();
    let link = leaf.read((scope().job, scope().attempt), (&ends.0, &ends.1), &|id, by| by.signer == *id).unwrap();
    assert_eq!(link.here.map(|seal| seal.sent), Some(flow(HERE, THERE, FRAMES)));
    assert_eq!(link.there, None);
}

#[test]
fn nothing_follows_an_end_and_nothing_comes_twice() {
    let log = log(HERE, THERE);
    assert!(log.reads(&message(0, THERE)));
    assert!(!log.seals(vec![7]), "a seal before the end");
    assert!(log.ends());
    assert!(!log.ends(), "an end twice");
    assert!(!log.reads(&message(1, THERE)), "a message after the end");
    assert!(log.reads(&LinkFrame::Credit(1).into_bytes()));
    assert!(log.seals(vec![7]));
    assert!(!log.seals(vec![7]), "a seal twice");
    assert_eq!(lock(&log.received).flow(), flow(THERE, HERE, 1));
}
