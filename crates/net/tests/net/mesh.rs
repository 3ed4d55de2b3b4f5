//! One connection per peer.

use std::time::{Duration, Instant};

use tacit_net::mesh::{Event, Events, Keep};
use tacit_net::{Address, Config, Endpoint, Mesh, NetError, Purpose, Timing};
use tacit_types::{Code, NodeId};

use crate::support::{address, echo, identity, loopback, node, open, within};

fn quick() -> Config {
    let timing = Timing {
        keep_alive: Duration::from_millis(200),
        idle: Duration::from_millis(1500),
        connect: Duration::from_secs(2),
        ..Timing::default()
    };
    Config { timing, ..open() }
}

/// Serves whatever comes up and passes on what happened.
fn serve(mut events: Events) -> tokio::sync::mpsc::UnboundedReceiver<(bool, NodeId)> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let told = match event {
                Event::Up(connection) => {
                    let peer = connection.peer();
                    echo(connection);
                    (true, peer)
                }
                Event::Down { peer, .. } => (false, peer),
                Event::Enrol(_) => continue,
            };
            if sender.send(told).is_err() {
                break;
            }
        }
    });
    receiver
}

struct Member {
    mesh: Mesh,
    events: tokio::sync::mpsc::UnboundedReceiver<(bool, NodeId)>,
    address: Address,
    id: NodeId,
}

fn member(n: u8) -> Member {
    let endpoint = node(n, quick());
    let (address, id) = (address(&endpoint), endpoint.id());
    let (mesh, events) = Mesh::start(endpoint);
    Member { mesh, events: serve(events), address, id }
}

#[tokio::test]
async fn a_peer_is_dialled_when_asked_for_and_once() {
    let (a, b) = (member(1), member(2));
    a.mesh.set_peer(b.id, Some(b.address.clone()), Keep::OnDemand);
    assert!(a.mesh.connected().is_empty());
    let (one, two) = tokio::join!(a.mesh.to(&b.id), a.mesh.to(&b.id));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.same(&two));
    assert_eq!(one.request(b"ab").await.unwrap(), b"ba");
    // The other side needs no address: the connection works both ways.
    b.mesh.set_peer(a.id, None, Keep::OnDemand);
    assert_eq!(b.mesh.to(&a.id).await.unwrap().request(b"cd").await.unwrap(), b"dc");
}

#[tokio::test]
async fn simultaneous_dials_settle_on_one_connection_at_both_ends() {
    for _ in 0..5 {
        let (a, b) = (member(1), member(2));
        a.mesh.set_peer(b.id, Some(b.address.clone()), Keep::Always);
        b.mesh.set_peer(a.id, Some(a.address.clone()), Keep::Always);
        // Whatever each side uses at first works.
        let (x, y) = tokio::join!(a.mesh.to(&b.id), b.mesh.to(&a.id));
        let (x, y) = (x.unwrap(), y.unwrap());
        let time = Duration::from_secs(3);
        let (x, y) = tokio::join!(x.request_within(b"12", time), y.request_within(b"34", time));
        assert_eq!((x.unwrap(), y.unwrap()), (b"21".to_vec(), b"43".to_vec()));
        tokio::time::sleep(Duration::from_millis(1800)).await;
        let (x, y) = (a.mesh.to(&b.id).await.unwrap(), b.mesh.to(&a.id).await.unwrap());
        assert_ne!(x.dialled(), y.dialled(), "the two ends use different connections");
        assert_eq!(x.request(b"ab").await.unwrap(), b"ba");
        assert_eq!(y.request(b"ab").await.unwrap(), b"ba");
    }
}

#[tokio::test]
async fn a_kept_peer_comes_back_after_its_restart() {
    let mut a = member(1);
    let b = member(2);
    let (id, at) = (b.id, b.address.clone());
    a.mesh.set_peer(id, Some(at.clone()), Keep::Always);
    assert_eq!(within(3, "up", a.events.recv()).await, Some((true, id)));
    b.mesh.close().await;
    drop(b);
    assert_eq!(within(5, "down", a.events.recv()).await, Some((false, id)));
    let error = a.mesh.to_within(&id, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.code(), Code::NetUnreachable, "{error:?}");

    let socket: std::net::SocketAddr = at.to_string().parse().unwrap();
    let again = within(5, "the port", async {
        loop {
            match Endpoint::bind(socket, identity(2), quick()) {
                Ok(endpoint) => break endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    let (_mesh, events) = Mesh::start(again);
    let _served = serve(events);
    assert_eq!(within(10, "up again", a.events.recv()).await, Some((true, id)));
    assert_eq!(a.mesh.to(&id).await.unwrap().request(b"ab").await.unwrap(), b"ba");
    assert_eq!(a.mesh.last_error(&id), None);
}

#[tokio::test]
async fn a_restarted_peer_that_dials_replaces_its_dead_connection_at_once() {
    // Node 1 dialled and holds the connection that would win; node 2 dies silently and dials anew.
    let doomed = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap()).join().unwrap();
    let patient = Timing { idle: Duration::from_secs(60), ..Timing::default() };
    let endpoint = node(1, Config { timing: patient, ..open() });
    let (at, id) = (address(&endpoint), endpoint.id());
    let (mesh, events) = Mesh::start(endpoint);
    let mut events = serve(events);
    let old = doomed.block_on_elsewhere(move || async move { node(2, Config { timing: patient, ..open() }) });
    let peer = old.id();
    mesh.set_peer(peer, Some(address(&old)), Keep::OnDemand);
    let accepting = old.clone();
    doomed.spawn(async move {
        let connection = accepting.accept().await.unwrap();
        connection.closed().await;
    });
    let dead = mesh.to(&peer).await.unwrap();
    assert_eq!(within(2, "up", events.recv()).await, Some((true, peer)));
    doomed.shutdown_background();
    assert_eq!(dead.end(), None, "nobody has noticed yet");

    let new = node(2, open());
    let connection = new.connect(&at, &id, Purpose::Member).await.unwrap();
    echo(connection);
    assert_eq!(within(2, "up again", events.recv()).await, Some((true, peer)));
    assert_eq!(mesh.to(&peer).await.unwrap().request(b"ab").await.unwrap(), b"ba");
    drop(old);
}

/// Runs a future on a runtime from within another.
trait Elsewhere {
    fn block_on_elsewhere<F, T>(&self, make: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static;
}

impl Elsewhere for tokio::runtime::Runtime {
    fn block_on_elsewhere<F, T>(&self, make: impl FnOnce() -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let handle = self.handle().clone();
        std::thread::spawn(move || handle.block_on(make())).join().unwrap()
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_said_in_time() {
    let a = member(1);
    let unknown = identity(9).id();
    assert_eq!(a.mesh.to(&unknown).await.unwrap_err(), NetError::NoAddress(unknown));

    a.mesh.set_peer(unknown, None, Keep::Always);
    let error = a.mesh.to_within(&unknown, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error, NetError::NoAddress(unknown));

    let silent = std::net::UdpSocket::bind(loopback()).unwrap();
    a.mesh.set_peer(unknown, Some(silent.local_addr().unwrap().into()), Keep::OnDemand);
    let begun = Instant::now();
    let error = a.mesh.to_within(&unknown, Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.code(), Code::NetUnreachable);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(a.mesh.last_error(&unknown), Some(error));
}

#[tokio::test]
async fn a_removed_peer_is_gone_and_reported_once() {
    let (mut a, b) = (member(1), member(2));
    a.mesh.set_peer(b.id, Some(b.address.clone()), Keep::Always);
    assert_eq!(within(3, "up", a.events.recv()).await, Some((true, b.id)));
    let connection = a.mesh.to(&b.id).await.unwrap();
    a.mesh.remove_peer(&b.id);
    within(2, "closing", connection.closed()).await;
    assert_eq!(within(2, "down", a.events.recv()).await, Some((false, b.id)));
    assert_eq!(a.mesh.to(&b.id).await.unwrap_err(), NetError::NoAddress(b.id));
    let more = tokio::time::timeout(Duration::from_millis(700), a.events.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_dropped_mesh_frees_its_port() {
    let (a, b) = (member(1), member(2));
    a.mesh.set_peer(b.id, Some(b.address.clone()), Keep::Always);
    a.mesh.to(&b.id).await.unwrap();
    let socket: std::net::SocketAddr = a.address.to_string().parse().unwrap();
    drop(a);
    within(5, "freeing the port", async {
        while std::net::UdpSocket::bind(socket).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A process that is killed says nothing. Started again, it tells its peers, which need not wait until the
/// silence is long enough.
#[tokio::test]
async fn a_peer_that_was_killed_and_runs_again_is_noticed_at_once() {
    let timing = Timing { keep_alive: Duration::from_millis(200), idle: Duration::from_secs(60), ..Timing::default() };
    let config = Config { timing, ..open() };
    let killed = tokio::runtime::Runtime::new().unwrap();
    let (endpoint, serving) = killed
        .spawn({
            let config = config.clone();
            async move {
                let endpoint = node(2, config);
                (endpoint.clone(), endpoint.local_addr())
            }
        })
        .await
        .unwrap();
    let a = node(1, config.clone());
    let accepting = endpoint.clone();
    let accepted = killed.spawn(async move { accepting.accept().await.unwrap() });
    let connection = a.connect(&serving.into(), &endpoint.id(), Purpose::Member).await.unwrap();
    let theirs = accepted.await.unwrap();
    // Its tasks end first, so that nothing is sent any more.
    killed.shutdown_background();
    drop((theirs, endpoint));
    let begun = Instant::now();
    let again = within(5, "the port", async {
        loop {
            match Endpoint::bind(serving, identity(2), config.clone()) {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert!(connection.end().is_none(), "nobody has told it");
    within(5, "the reset", connection.closed()).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(again);
}
