//! What one seat sends takes no room of another's.

use tacit_crypto::{Secret, SigningKey};
use tacit_net::{Address, Config, Connection, DataSender, Endpoint, Identity, Incoming, Purpose};
use tacit_types::limits::CHUNK_BYTES_MAX;

use super::*;

fn node(n: u8) -> Endpoint {
    let key = SigningKey::from_seed(&Secret::new([n; 32]));
    let everybody = Config::with_gate(|_: &NodeId, _| -> Result<(), Code> { Ok(()) });
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), Identity::from_signing_key(&key).unwrap(), everybody).unwrap()
}

/// Both ends of a connection between two nodes.
async fn connect(from: &Endpoint, to: &Endpoint) -> (Connection, Connection) {
    let (target, id) = (Address::from(to.local_addr()), to.id());
    let (dialler, acceptor) = tokio::join!(from.connect(&target, &id, Purpose::Member), to.accept());
    (dialler.unwrap(), acceptor.unwrap())
}

async fn stream((dialler, acceptor): &(Connection, Connection)) -> (DataSender, DataReceiver) {
    let sender = dialler.open_stream(b"header").await.unwrap();
    let Incoming::Stream { receiver, .. } = acceptor.accept().await.unwrap() else { panic!("a request") };
    (sender, receiver)
}

/// What goes over a link of the node of this key, of which these tests ask nothing.
fn log(there: NodeId) -> Arc<LinkLog> {
    let key = SigningKey::from_seed(&Secret::new([9; 32]));
    let (job, attempt) = (tacit_types::JobId([1; 32]), tacit_types::Attempt(1));
    let scope = tacit_receipts::LinkScope { job, attempt, session: tacit_types::Hash([0; 32]) };
    LinkLog::new(scope, key.id(), there, Arc::new(key))
}

/// Sends as many frames as are taken.
async fn flood(mut sender: DataSender, frames: u64) {
    for n in 0..frames {
        if sender.send(&LinkFrame::Credit(n).into_bytes()).await.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn next(events: &mut mpsc::Receiver<Arrived>) -> Arrived {
    tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("an event comes").expect("open")
}

async fn nothing_comes(events: &mut mpsc::Receiver<Arrived>) {
    assert!(tokio::time::timeout(Duration::from_millis(300), events.recv()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_frame_more_than_a_seat_has_room_for_waits_and_holds_nobody_else_up() {
    let (here, loud, quiet) = (node(1), node(2), node(3));
    let (of_loud, of_quiet) = (connect(&loud, &here).await, connect(&quiet, &here).await);
    let (events, mut arrived) = mpsc::channel(2 * FRAMES_PER_SEAT_MAX);
    let ahead = Arc::new(HashAhead::new(CHUNK_BYTES_MAX));
    let (sender, receiver) = stream(&of_loud).await;
    tokio::spawn(flood(sender, 1000));
    tokio::spawn(read_link(receiver, Seat(1), log(loud.id()), events.clone(), ahead.clone()));
    // The machine has taken these and is busy with them.
    let mut held = Vec::new();
    for n in 0..FRAMES_PER_SEAT_MAX {
        let event = next(&mut arrived).await;
        assert!(matches!(event.event, Event::Credit { from: Seat(1), consumed } if consumed == n as u64));
        held.push(event);
    }
    nothing_comes(&mut arrived).await;

    let (sender, receiver) = stream(&of_quiet).await;
    tokio::spawn(flood(sender, 1000));
    tokio::spawn(read_link(receiver, Seat(2), log(quiet.id()), events, ahead));
    for _ in 0..3 * FRAMES_PER_SEAT_MAX {
        let event = next(&mut arrived).await;
        assert!(matches!(event.event, Event::Credit { from: Seat(2), .. }), "it goes on at its own pace");
    }
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(300), arrived.recv()).await {
        held.push(event);
        assert!(held.len() <= 2 * FRAMES_PER_SEAT_MAX);
    }
    // One that is done with makes room for one.
    drop(held.remove(0));
    let event = next(&mut arrived).await;
    assert!(matches!(event.event, Event::Credit { from: Seat(1), consumed } if consumed == FRAMES_PER_SEAT_MAX as u64));
    nothing_comes(&mut arrived).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_has_one_stream_however_many_it_opens() {
    let (here, loud, quiet) = (node(1), node(2), node(3));
    let (of_loud, of_quiet) = (connect(&loud, &here).await, connect(&quiet, &here).await);
    let (events, mut arrived) = mpsc::channel(64);
    let (board, streams) = mpsc::unbounded_channel();
    let seats = vec![(Seat(1), loud.id(), log(loud.id())), (Seat(2), quiet.id(), log(quiet.id()))];
    tokio::spawn(take_streams(streams, seats, events, Arc::new(HashAhead::new(CHUNK_BYTES_MAX))));
    let mut more = Vec::new();
    for n in 0..4 {
        let (sender, receiver) = stream(&of_loud).await;
        assert!(board.send(PeerStream { peer: loud.id(), receiver }).is_ok());
        let sending = tokio::spawn(flood(sender, if n == 0 { 1000 } else { u64::MAX }));
        if n > 0 {
            more.push(sending);
        }
    }
    for sending in more {
        let given_up = tokio::time::timeout(Duration::from_secs(10), sending).await;
        assert!(given_up.is_ok(), "a second stream of a seat is refused");
    }
    let mut held = Vec::new();
    for _ in 0..FRAMES_PER_SEAT_MAX {
        held.push(next(&mut arrived).await);
    }
    nothing_comes(&mut arrived).await;
    let (sender, receiver) = stream(&of_quiet).await;
    assert!(board.send(PeerStream { peer: quiet.id(), receiver }).is_ok());
    tokio::spawn(flood(sender, 1));
    assert!(matches!(next(&mut arrived).await.event, Event::Credit { from: Seat(2), consumed: 0 }));
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_gone_is_noticed_when_there_is_nothing_more_to_write() {
    let (here, there) = (node(1), node(2));
    let both = connect(&here, &there).await;
    let (queue, frames) = mpsc::unbounded_channel();
    let header = StreamHeader { job: tacit_types::JobId([1; 32]), attempt: tacit_types::Attempt(1) };
    let connection = both.0.clone();
    let mut frames = Frames { queue: frames, hushed: Default::default() };
    let log = log(there.id());
    let writing = tokio::spawn(async move { write_frames(&connection, header, &mut frames, &log).await });
    queue.send(LinkFrame::Credit(1).into_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!writing.is_finished(), "it waits for more");
    both.1.close(tacit_net::CloseReason::Done);
    let ended = tokio::time::timeout(Duration::from_secs(10), writing).await.expect("it ends").unwrap();
    assert!(ended.is_err(), "{ended:?}");
    drop(queue);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_written_stays_here_when_the_attempt_is_stopped() {
    let (here, there) = (node(1), node(2));
    let (dialler, acceptor) = connect(&here, &there).await;
    let header = StreamHeader { job: tacit_types::JobId([1; 32]), attempt: tacit_types::Attempt(1) };
    for stopped in [false, true] {
        let (writer, mut frames) = Writer::waiting(there.id(), &log(there.id()));
        // Queued before the stream is up, as everything is that one step of a machine sends.
        for n in 0..3u64 {
            writer.queue.send(LinkFrame::Credit(n).into_bytes()).unwrap();
        }
        if stopped {
            writer.hush();
        }
        drop(writer);
        write_frames(&dialler, header, &mut frames, &log(there.id())).await.unwrap();
        let Incoming::Stream { mut receiver, .. } = acceptor.accept().await.unwrap() else { panic!("a request") };
        let mut read = 0;
        // The stream ends well either way: the other seat is not told that this one is lost.
        while receiver.next().await.unwrap().is_some() {
            read += 1;
        }
        // The three, and the word that there is no fourth.
        assert_eq!(read, if stopped { 0 } else { 4 });
    }
}
