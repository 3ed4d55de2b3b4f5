//! Peers that are admitted, or nearly, and then break the rules.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tacit_net::limits::{DATA_FRAME_BYTES_MAX, HELLO_BYTES_MAX, STREAM_HEADER_BYTES_MAX};
use tacit_net::{Config, Connection, Endpoint, Incoming, Purpose, Timing};
use tacit_types::Code;
use tacit_types::limits::{CHUNK_BYTES_MAX, CONTROL_FRAME_BYTES_MAX};

use crate::raw::{Raw, frame, hello_bytes};
use crate::support::{address, echo, node, open, serve, within};

/// A raw member of a fresh endpoint, and the endpoint's end of the connection.
struct Attack {
    victim: Endpoint,
    _port: quinn::Endpoint,
    raw: quinn::Connection,
    connection: Connection,
}

async fn attack(config: Config) -> Attack {
    attack_by(Raw::default(), config).await
}

async fn attack_by(raw: Raw, config: Config) -> Attack {
    let victim = node(2, config);
    let ((port, raw), connection) = {
        let (member, accepted) = tokio::join!(raw.member(victim.local_addr()), victim.accept());
        (member.unwrap(), accepted.unwrap())
    };
    Attack { victim, _port: port, raw, connection }
}

/// Takes what comes and reads streams to their end.
fn drink(connection: Connection) {
    echo(connection);
}

fn peak_virtual_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Request,
    Header,
    Data,
}

/// Lengths that must end the connection at once, for a cap.
fn bombs(cap: usize) -> [u32; 4] {
    [0, cap as u32 + 1, 1 << 31, u32::MAX]
}

async fn plant(raw: &quinn::Connection, place: Place, declared: u32, body: &[u8]) {
    let bytes = [&declared.to_le_bytes(), body].concat();
    match place {
        Place::Request => {
            let (mut send, _recv) = raw.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            let _ = send.stopped().await;
        }
        Place::Header => {
            let mut send = raw.open_uni().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            let _ = send.stopped().await;
        }
        Place::Data => {
            let mut send = raw.open_uni().await.unwrap();
            send.write_all(&frame(b"header")).await.unwrap();
            send.write_all(&bytes).await.unwrap();
            let _ = send.stopped().await;
        }
    }
}

#[tokio::test]
async fn length_bombs_end_the_connection_and_allocate_nothing() {
    let before = peak_virtual_kib();
    let places = [
        (Place::Request, CONTROL_FRAME_BYTES_MAX),
        (Place::Header, STREAM_HEADER_BYTES_MAX),
        (Place::Data, DATA_FRAME_BYTES_MAX),
    ];
    for (place, cap) in places {
        for declared in bombs(cap) {
            let a = attack(open()).await;
            drink(a.connection.clone());
            let begun = Instant::now();
            let raw = a.raw.clone();
            let planting = tokio::spawn(async move { plant(&raw, place, declared, b"xx").await });
            let what = format!("{place:?} of {declared}");
            let why = within(3, &what, a.connection.closed()).await;
            assert_eq!(why.code(), Code::NetFrame, "{what}: {why:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "{what}");
            let told = within(3, &what, a.raw.closed()).await;
            assert!(matches!(told, quinn::ConnectionError::ApplicationClosed(_)), "{what}: {told:?}");
            planting.abort();
            a.victim.close().await;
        }
        // The cap itself is a legal length; what follows must still come.
        let timing = Timing { frame: Duration::from_millis(300), ..Timing::default() };
        let a = attack(Config { timing, ..open() }).await;
        drink(a.connection.clone());
        let raw = a.raw.clone();
        tokio::spawn(async move { plant(&raw, place, cap as u32, b"xx").await });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(a.connection.end(), None, "{place:?} of the cap");
    }
    let grown = peak_virtual_kib() - before;
    assert!(grown < 1 << 20, "the address space grew by {grown} KiB");
}

#[tokio::test]
async fn a_frame_cut_short_ends_the_connection() {
    for (place, head) in [(Place::Request, 4), (Place::Header, 4), (Place::Request, 2), (Place::Data, 4)] {
        let a = attack(open()).await;
        drink(a.connection.clone());
        let declared = 100u32.to_le_bytes();
        let bytes = if head == 4 { [&declared[..], b"only this"].concat() } else { declared[..head].to_vec() };
        if let Place::Request = place {
            let (mut send, _recv) = a.raw.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            let why = within(3, "a cut request", a.connection.closed()).await;
            assert_eq!(why.code(), Code::NetFrame);
        } else {
            let mut send = a.raw.open_uni().await.unwrap();
            if let Place::Data = place {
                send.write_all(&frame(b"header")).await.unwrap();
            }
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            let why = within(3, "a cut stream", a.connection.closed()).await;
            assert_eq!(why.code(), Code::NetFrame);
        }
    }
}

#[tokio::test]
async fn a_stream_or_request_without_a_frame_ends_the_connection() {
    let a = attack(open()).await;
    drink(a.connection.clone());
    a.raw.open_uni().await.unwrap().finish().unwrap();
    assert_eq!(within(3, "an empty stream", a.connection.closed()).await.code(), Code::NetFrame);
    let a = attack(open()).await;
    let (mut send, _recv) = a.raw.open_bi().await.unwrap();
    send.finish().unwrap();
    assert_eq!(within(3, "an empty request", a.connection.closed()).await.code(), Code::NetFrame);
}

#[tokio::test]
async fn an_answer_that_is_no_frame_ends_the_connection() {
    for bytes in [vec![], vec![1], u32::MAX.to_le_bytes().to_vec(), 0u32.to_le_bytes().to_vec()] {
        let a = attack(open()).await;
        let raw = a.raw.clone();
        let answering = tokio::spawn(async move {
            let (mut send, _recv) = raw.accept_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
            raw.closed().await;
        });
        let error = within(3, "an answer", a.connection.request(b"?")).await.unwrap_err();
        assert_eq!(error.code(), Code::NetFrame, "{error:?}");
        assert_eq!(a.connection.end().unwrap().code(), Code::NetFrame);
        answering.abort();
    }
}

#[tokio::test]
async fn a_slow_trickle_is_dropped_wherever_it_trickles() {
    let timing = Timing { frame: Duration::from_millis(600), ..Timing::default() };
    for place in [Place::Request, Place::Header, Place::Data] {
        let a = attack(Config { timing, ..open() }).await;
        drink(a.connection.clone());
        let raw = a.raw.clone();
        let trickling = tokio::spawn(async move {
            let mut send = match place {
                Place::Request => raw.open_bi().await.unwrap().0,
                _ => raw.open_uni().await.unwrap(),
            };
            if let Place::Data = place {
                send.write_all(&frame(b"header")).await.unwrap();
            }
            for byte in [200, 0, 0, 0].into_iter().chain([7; 200]) {
                if send.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let begun = Instant::now();
        let why = within(5, "a trickle", a.connection.closed()).await;
        assert_eq!(why.code(), Code::NetFrame, "{place:?}: {why:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{place:?}: {:?}", begun.elapsed());
        trickling.abort();
    }
}

#[tokio::test]
async fn an_idle_stream_between_frames_may_rest() {
    let timing = Timing { frame: Duration::from_millis(200), ..Timing::default() };
    let a = attack(Config { timing, ..open() }).await;
    drink(a.connection.clone());
    let mut send = a.raw.open_uni().await.unwrap();
    send.write_all(&frame(b"header")).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        send.write_all(&frame(b"data")).await.unwrap();
    }
    assert_eq!(a.connection.end(), None);
}

async fn hello_outcome(target: SocketAddr, bytes: &[u8], finish: bool) -> quinn::ConnectionError {
    let (_port, connection) = Raw::default().connect(target).await.unwrap();
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if finish {
        send.finish().unwrap();
    }
    within(5, "a bad hello", connection.closed()).await
}

#[tokio::test]
async fn a_malformed_hello_gets_no_further() {
    let timing = Timing { connect: Duration::from_millis(800), ..Timing::default() };
    let victim = node(2, Config { timing, ..open() });
    let good = hello_bytes(0);
    let mut wrong_magic = good.clone();
    wrong_magic[0] ^= 1;
    let mut trailing = good.clone();
    trailing.push(0);
    let mut lying_text = good.clone();
    lying_text[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    for bytes in [
        frame(&wrong_magic),
        frame(&trailing),
        frame(&lying_text),
        frame(&hello_bytes(2)),
        frame(b"GET / HTTP/1.1\r\n\r\n"),
        frame(&vec![0; HELLO_BYTES_MAX + 1]),
        0u32.to_le_bytes().to_vec(),
        u32::MAX.to_le_bytes().to_vec(),
        frame(&good)[..20].to_vec(),
    ] {
        hello_outcome(victim.local_addr(), &bytes, true).await;
    }
    // A hello that never comes to its end.
    let begun = Instant::now();
    hello_outcome(victim.local_addr(), &frame(&good)[..20], false).await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    let none = tokio::time::timeout(Duration::from_millis(100), victim.accept()).await;
    assert!(none.is_err(), "a connection came up without a hello");
}

#[tokio::test]
async fn before_the_hello_a_peer_has_next_to_no_credit() {
    let victim = node(2, open());
    let (_port, connection) = Raw::default().connect(victim.local_addr()).await.unwrap();
    let uni = tokio::time::timeout(Duration::from_millis(300), connection.open_uni()).await;
    assert!(uni.is_err(), "a data stream before the hello");
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    let flood = async {
        let mut taken = 0;
        while let Ok(n) = send.write(&[0; 4096]).await {
            taken += n;
            if taken > 1 << 20 {
                break;
            }
        }
        taken
    };
    let taken = tokio::time::timeout(Duration::from_secs(1), flood).await.unwrap_or(0);
    assert!(taken <= 1 << 20, "{taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_never_read_do_not_slow_an_honest_one() {
    const BYTES: usize = 8 * CHUNK_BYTES_MAX;
    async fn honest(victim: &Endpoint, n: u8) -> Duration {
        let client = node(n, open());
        let connection = client.connect(&address(victim), &victim.id(), Purpose::Member).await.unwrap();
        let begun = Instant::now();
        let mut sender = connection.open_stream(b"work").await.unwrap();
        for n in 0..BYTES / CHUNK_BYTES_MAX {
            sender.send(&vec![n as u8; CHUNK_BYTES_MAX]).await.unwrap();
            assert_eq!(connection.request(b"ab").await.unwrap(), b"ba");
        }
        sender.finish_delivered().await.unwrap();
        begun.elapsed()
    }
    let victim = node(2, open());
    let accepting = victim.clone();
    tokio::spawn(async move {
        while let Some(connection) = accepting.accept().await {
            // The victim also sends to whoever comes, and never stops.
            let flooding = connection.clone();
            tokio::spawn(async move {
                let Ok(mut sender) = flooding.open_stream(b"flood").await else { return };
                while sender.send(&[0; 50_000]).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            });
            echo(connection);
        }
    });
    let alone = within(30, "an honest peer alone", honest(&victim, 10)).await;
    let mut hostile = Vec::new();
    for _ in 0..10 {
        let (port, raw) = Raw::default().member(victim.local_addr()).await.unwrap();
        // Opens requests whose answers it never reads, and accepts no stream.
        for _ in 0..8 {
            let (mut send, recv) = raw.open_bi().await.unwrap();
            send.write_all(&frame(&vec![1; 100_000])).await.unwrap();
            hostile.push((port.clone(), raw.clone(), send, recv));
        }
    }
    let beside = within(30, "an honest peer among hostile ones", honest(&victim, 11)).await;
    assert!(beside < alone * 4 + Duration::from_secs(2), "alone {alone:?}, among hostile ones {beside:?}");
}

#[tokio::test]
async fn an_answer_that_is_never_read_is_given_up() {
    let timing = Timing { frame: Duration::from_millis(300), ..Timing::default() };
    let a = attack_by(Raw { window: 2000, ..Raw::default() }, Config { timing, ..open() }).await;
    let (mut send, _recv) = a.raw.open_bi().await.unwrap();
    send.write_all(&frame(b"?")).await.unwrap();
    let Incoming::Request { responder, .. } = a.connection.accept().await.unwrap() else { panic!() };
    // 16 KiB at the slowest pace allowed: one second beside the 300 ms.
    let outcome = within(3, "an answer", responder.respond(&[0; 16 << 10])).await;
    assert_eq!(outcome.unwrap_err().code(), Code::NetDeadline);
    assert_eq!(a.connection.end(), None);
}

#[tokio::test]
async fn garbage_on_the_port_changes_nothing() {
    let victim = node(2, open());
    serve(&victim);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seed = 1u64;
    for len in (0..1400).step_by(7) {
        let noise: Vec<u8> = (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) as u8
            })
            .collect();
        socket.send_to(&noise, victim.local_addr()).unwrap();
    }
    let client = node(3, open());
    let connection = client.connect(&address(&victim), &victim.id(), Purpose::Member).await.unwrap();
    assert_eq!(connection.request(b"ab").await.unwrap(), b"ba");
}

#[tokio::test]
async fn half_open_handshakes_do_not_keep_an_honest_peer_out() {
    let victim = node(2, open());
    serve(&victim);
    let mut held = Vec::new();
    for _ in 0..300 {
        // TLS completes; the hello never comes.
        let endpoint = Raw::endpoint();
        let connecting = endpoint.connect_with(Raw::default().client(), victim.local_addr(), "tacit").unwrap();
        held.push((endpoint, tokio::spawn(connecting)));
    }
    let client = node(3, open());
    let begun = Instant::now();
    let mut tries = 0;
    let connection = loop {
        tries += 1;
        match client.connect(&address(&victim), &victim.id(), Purpose::Member).await {
            Ok(connection) => break connection,
            Err(e) => assert!(e.is_transient() && begun.elapsed() < Duration::from_secs(15), "kept out: {e:?}"),
        }
    };
    assert!(tries <= 3, "{tries} tries in {:?}", begun.elapsed());
    assert_eq!(connection.request(b"ab").await.unwrap(), b"ba");
}
