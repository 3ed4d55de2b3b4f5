//! Requests and data streams between honest peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tacit_net::limits::{DATA_FRAME_BYTES_MAX, DATA_STREAM_CREDIT, DATA_STREAMS_MAX, STREAM_HEADER_BYTES_MAX};
use tacit_net::{CloseReason, Config, DataReceiver, Incoming, NetError, Profile, Purpose, Timing};
use tacit_types::Code;
use tacit_types::limits::{CHUNK_BYTES_MAX, CONTROL_FRAME_BYTES_MAX};

use crate::support::{Pair, address, echo, node, open, pair, pair_with, within};

async fn stream(connection: &tacit_net::Connection) -> (Vec<u8>, DataReceiver) {
    match connection.accept().await.unwrap() {
        Incoming::Stream { header, receiver } => (header, receiver),
        Incoming::Request { .. } => panic!("a request, where a stream was expected"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_sender_back_and_gets_everything() {
    const FRAMES: usize = 64;
    let p = pair().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut sender = p.dialler.open_stream(b"bulk").await.unwrap();
    let counting = sent.clone();
    let sending = tokio::spawn(async move {
        for n in 0..FRAMES {
            sender.send(&vec![n as u8; CHUNK_BYTES_MAX]).await.unwrap();
            counting.fetch_add(1, Ordering::SeqCst);
        }
        sender.finish().unwrap();
    });
    let (header, mut receiver) = stream(&p.acceptor).await;
    assert_eq!(header, b"bulk");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let window = Profile::Lan.send_window() as usize + Profile::Lan.stream_window() as usize;
    let ahead_max = window.div_ceil(CHUNK_BYTES_MAX) + 1;
    let ahead = sent.load(Ordering::SeqCst);
    assert!(ahead <= ahead_max, "{ahead} frames taken with nobody reading");
    for n in 0..FRAMES {
        let frame = within(20, "a frame", receiver.next()).await.unwrap().unwrap();
        assert_eq!(frame.len(), CHUNK_BYTES_MAX);
        assert!(frame.iter().all(|b| *b == n as u8));
        assert!(sent.load(Ordering::SeqCst) <= n + 1 + ahead_max);
        if n % 16 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(receiver.next().await.unwrap(), None);
    sending.await.unwrap();
}

#[tokio::test]
async fn streams_run_both_ways_with_frames_of_every_size() {
    let p = pair().await;
    for (from, to) in [(&p.dialler, &p.acceptor), (&p.acceptor, &p.dialler)] {
        let sizes = [1, 2, 3, 4, 5, 1200, 65_535, 65_536, 65_537, CHUNK_BYTES_MAX, DATA_FRAME_BYTES_MAX];
        let send = async {
            let mut sender = from.open_stream(&[9; STREAM_HEADER_BYTES_MAX]).await.unwrap();
            for size in sizes {
                sender.send(&vec![(size % 251) as u8; size]).await.unwrap();
            }
            sender.finish().unwrap();
        };
        let receive = async {
            let (header, mut receiver) = stream(to).await;
            assert_eq!(header, [9; STREAM_HEADER_BYTES_MAX]);
            for size in sizes {
                let frame = receiver.next().await.unwrap().unwrap();
                assert_eq!(frame.len(), size);
                assert!(frame.iter().all(|b| *b == (size % 251) as u8));
            }
            assert_eq!(receiver.next().await.unwrap(), None);
        };
        within(20, "streams", async { tokio::join!(send, receive) }).await;
    }
}

#[tokio::test]
async fn frames_out_of_bounds_are_refused_before_they_are_sent() {
    let p = pair().await;
    echo(p.acceptor.clone());
    let refused = |result: Result<(), NetError>, bad_len, bad_cap| {
        assert_eq!(result, Err(NetError::FrameLen { len: bad_len, cap: bad_cap }));
    };
    let request = |len| {
        let dialler = p.dialler.clone();
        async move { dialler.request(&vec![1; len]).await }
    };
    assert_eq!(request(CONTROL_FRAME_BYTES_MAX).await.unwrap().len(), CONTROL_FRAME_BYTES_MAX);
    for len in [0, CONTROL_FRAME_BYTES_MAX + 1] {
        refused(request(len).await.map(drop), len, CONTROL_FRAME_BYTES_MAX);
    }
    for len in [0, STREAM_HEADER_BYTES_MAX + 1] {
        refused(p.dialler.open_stream(&vec![1; len]).await.map(drop), len, STREAM_HEADER_BYTES_MAX);
    }
    let mut sender = p.dialler.open_stream(b"h").await.unwrap();
    for len in [0, DATA_FRAME_BYTES_MAX + 1] {
        refused(sender.send(&vec![1; len]).await, len, DATA_FRAME_BYTES_MAX);
    }
    sender.send(b"still good").await.unwrap();
    sender.finish().unwrap();
    assert_eq!(p.dialler.end(), None);
}

#[tokio::test]
async fn a_sender_that_is_dropped_is_not_an_end() {
    let p = pair().await;
    let mut sender = p.dialler.open_stream(b"h").await.unwrap();
    sender.send(b"one").await.unwrap();
    let (_, mut receiver) = stream(&p.acceptor).await;
    assert_eq!(receiver.next().await.unwrap().unwrap(), b"one");
    drop(sender);
    let error = within(2, "the reset", receiver.next()).await.unwrap_err();
    assert_eq!(error, NetError::Abandoned { reason: CloseReason::GivenUp });
    assert_eq!(p.acceptor.end(), None);
}

#[tokio::test]
async fn a_receiver_that_is_dropped_stops_the_sender() {
    let p = pair().await;
    let mut sender = p.dialler.open_stream(b"h").await.unwrap();
    let (_, receiver) = stream(&p.acceptor).await;
    receiver.stop();
    let sending = async {
        loop {
            if let Err(e) = sender.send(&[0; 1000]).await {
                return e;
            }
        }
    };
    let error = within(2, "stopping", sending).await;
    assert_eq!(error, NetError::Abandoned { reason: CloseReason::GivenUp });
}

#[tokio::test]
async fn a_send_that_was_cancelled_spoils_the_stream_and_nothing_else() {
    let p = pair().await;
    echo(p.acceptor.clone());
    let q = pair().await;
    let mut sender = q.dialler.open_stream(b"h").await.unwrap();
    let (_, mut receiver) = stream(&q.acceptor).await;
    // More than all windows together: some send stays half-way.
    let flood = async {
        loop {
            sender.send(&vec![1; CHUNK_BYTES_MAX]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), flood).await.is_err());
    assert_eq!(sender.send(b"x").await, Err(NetError::Abandoned { reason: CloseReason::GivenUp }));
    assert_eq!(sender.finish(), Err(NetError::Abandoned { reason: CloseReason::GivenUp }));
    let error = within(5, "the reset", async {
        loop {
            if let Err(e) = receiver.next().await {
                return e;
            }
        }
    });
    assert_eq!(error.await, NetError::Abandoned { reason: CloseReason::GivenUp });
    assert_eq!(q.acceptor.end(), None);
}

#[tokio::test]
async fn a_receive_that_is_cancelled_loses_nothing() {
    let p = pair().await;
    let mut sender = p.dialler.open_stream(b"h").await.unwrap();
    let sending = tokio::spawn(async move {
        for n in 0..20u8 {
            sender.send(&vec![n; 300_000]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        sender.finish().unwrap();
    });
    let (_, mut receiver) = stream(&p.acceptor).await;
    let mut frames = 0u8;
    let mut cancelled = 0;
    loop {
        match tokio::time::timeout(Duration::from_micros(300), receiver.next()).await {
            Err(_) => cancelled += 1,
            Ok(Ok(Some(frame))) => {
                assert!(frame.len() == 300_000 && frame.iter().all(|b| *b == frames));
                frames += 1;
            }
            Ok(Ok(None)) => break,
            Ok(Err(e)) => panic!("{e}"),
        }
    }
    assert_eq!(frames, 20);
    assert!(cancelled > 5, "the test cancelled {cancelled} times only");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_or_when_it_is_dropped() {
    let p = pair().await;
    let begun = Instant::now();
    let error = p.dialler.request_within(b"?", Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error.code(), Code::NetDeadline);
    assert!(begun.elapsed() < Duration::from_secs(2));
    let Incoming::Request { responder, .. } = p.acceptor.accept().await.unwrap() else { panic!() };
    // The asker has gone; the answer has nowhere to go, and that is not an error of the connection.
    let _ = responder.respond(b"late").await;

    let asking = p.dialler.request(b"?");
    let dropping = async { drop(p.acceptor.accept().await.unwrap()) };
    let (answer, ()) = within(2, "dropping", async { tokio::join!(asking, dropping) }).await;
    assert_eq!(answer.unwrap_err(), NetError::Abandoned { reason: CloseReason::GivenUp });
    assert_eq!((p.dialler.end(), p.acceptor.end()), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_streams_pass_while_one_stays_unread() {
    let p = pair().await;
    let mut stuck = p.dialler.open_stream(b"stuck").await.unwrap();
    let filling = tokio::spawn(async move {
        // Fills its own window and waits for ever.
        while stuck.send(&[0; 10_000]).await.is_ok() {}
    });
    let (header, _unread) = stream(&p.acceptor).await;
    assert_eq!(header, b"stuck");
    let serving = {
        let acceptor = p.acceptor.clone();
        tokio::spawn(async move {
            // In the order in which headers arrive, which need not be that of the opening.
            let mut seen = vec![false; 2000];
            for _ in 0..2000 {
                let (header, mut receiver) = stream(&acceptor).await;
                let n = u32::from_le_bytes(header.try_into().unwrap());
                assert!(!std::mem::replace(&mut seen[n as usize], true));
                assert_eq!(receiver.next().await.unwrap().unwrap(), [n as u8; 2000]);
                assert_eq!(receiver.next().await.unwrap(), None);
            }
        })
    };
    within(60, "2,000 streams", async {
        let begun = Instant::now();
        for n in 0..2000u32 {
            let mut sender = p.dialler.open_stream(&n.to_le_bytes()).await.unwrap();
            sender.send(&[n as u8; 2000]).await.unwrap();
            sender.finish().unwrap();
        }
        serving.await.unwrap();
        println!("2,000 streams in {:?}", begun.elapsed());
    })
    .await;
    filling.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_streams_but_one_unread_leave_room_for_the_one_and_for_requests() {
    let p = pair().await;
    let mut unread = Vec::new();
    let mut filling = Vec::new();
    for n in 0..DATA_STREAMS_MAX - 1 {
        let mut sender = p.dialler.open_stream(&n.to_le_bytes()).await.unwrap();
        filling.push(tokio::spawn(async move { while sender.send(&[0; 100_000]).await.is_ok() {} }));
        unread.push(stream(&p.acceptor).await.1);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut last = within(5, "the last stream", p.dialler.open_stream(b"last")).await.unwrap();
    let (_, mut receiver) = within(5, "its header", stream(&p.acceptor)).await;
    let reading = tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(frame) = receiver.next().await.unwrap() {
            bytes += frame.len();
        }
        bytes
    });
    echo(p.acceptor.clone());
    within(20, "the last stream and requests", async {
        for n in 0..8u8 {
            last.send(&vec![n; CHUNK_BYTES_MAX]).await.unwrap();
            assert_eq!(p.dialler.request(&[n, 1]).await.unwrap(), [1, n]);
        }
        last.finish().unwrap();
    })
    .await;
    assert_eq!(reading.await.unwrap(), 8 * CHUNK_BYTES_MAX);
    // The one that ended makes room for another; the credit ends somewhere.
    let _one = within(5, "a freed stream", p.dialler.open_stream(b"one")).await.unwrap();
    let mut more = Vec::new();
    while let Ok(sender) = tokio::time::timeout(Duration::from_millis(300), p.dialler.open_stream(b"more")).await {
        more.push(sender.unwrap());
    }
    assert!(DATA_STREAMS_MAX as usize + more.len() <= DATA_STREAM_CREDIT as usize, "{}", more.len());
    filling.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn requests_that_nobody_answers_do_not_stop_data() {
    let timing = Timing { frame: Duration::from_millis(800), ..Timing::default() };
    let quick = || Config { timing, ..open() };
    let p = pair_with(quick(), quick()).await;
    let mut asking = Vec::new();
    for n in 0..24u8 {
        let dialler = p.dialler.clone();
        asking.push(tokio::spawn(async move { dialler.request(&vec![n; CONTROL_FRAME_BYTES_MAX]).await }));
    }
    let mut held = Vec::new();
    let mut sender = None;
    let mut receiver = None;
    // The daemon takes whatever arrives and answers nothing.
    within(10, "the stream", async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let opening = async { sender = Some(p.dialler.open_stream(b"data").await.unwrap()) };
        let taking = async {
            loop {
                match p.acceptor.accept().await.unwrap() {
                    Incoming::Request { responder, .. } => held.push(responder),
                    Incoming::Stream { receiver: r, .. } => break receiver = Some(r),
                }
            }
        };
        tokio::join!(opening, taking);
    })
    .await;
    assert!(held.len() <= 2, "{} requests of 1 MiB are held", held.len());
    let (mut sender, mut receiver) = (sender.unwrap(), receiver.unwrap());
    within(10, "data", async {
        let send = async {
            for _ in 0..4 {
                sender.send(&vec![5; CHUNK_BYTES_MAX]).await.unwrap();
            }
            sender.finish().unwrap();
        };
        let receive = async { while receiver.next().await.unwrap().is_some() {} };
        tokio::join!(send, receive)
    })
    .await;
    drop(held);
    for task in asking {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, NetError::Abandoned { .. } | NetError::Deadline { .. }), "{error:?}");
    }
    assert_eq!(p.dialler.end(), None);
}

#[tokio::test]
async fn the_wide_profile_carries_the_same_frames() {
    let wide = || Config { profile: Profile::Wan, ..open() };
    let p = pair_with(wide(), wide()).await;
    let mut sender = p.dialler.open_stream(b"w").await.unwrap();
    let (_, mut receiver) = stream(&p.acceptor).await;
    // Two frames fit a wide window with nobody reading.
    within(5, "sending", async {
        sender.send(&vec![1; CHUNK_BYTES_MAX]).await.unwrap();
        sender.send(&vec![2; 500_000]).await.unwrap();
        sender.finish().unwrap();
    })
    .await;
    assert_eq!(receiver.next().await.unwrap().unwrap().len(), CHUNK_BYTES_MAX);
    assert_eq!(receiver.next().await.unwrap().unwrap(), vec![2; 500_000]);
    assert_eq!(receiver.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_path_is_searched_up_to_the_largest_datagram_and_carries_owned_frames() {
    let p = pair().await;
    let mut sender = p.dialler.open_stream(b"m").await.unwrap();
    let (_, mut receiver) = stream(&p.acceptor).await;
    within(10, "sending", async {
        for n in 1..=20u8 {
            let frame = vec![n; CHUNK_BYTES_MAX];
            let (sent, got) = tokio::join!(sender.send_owned(frame.clone()), receiver.next());
            sent.unwrap();
            assert_eq!(got.unwrap().unwrap(), frame);
        }
    })
    .await;
    // The loopback carries more than is ever tried.
    assert_eq!(p.dialler.stats().mtu_bytes, tacit_net::limits::UDP_PAYLOAD_MAX);
    let long = vec![0; tacit_net::limits::DATA_FRAME_BYTES_MAX + 1];
    assert!(matches!(sender.send_owned(long).await, Err(NetError::FrameLen { .. })));
    assert!(matches!(sender.send_owned(Vec::new()).await, Err(NetError::FrameLen { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_while_its_path_is_searched_is_closed_at_the_peer() {
    for n in 0..40u32 {
        let Pair { dialler, acceptor, endpoints: _endpoints } = pair().await;
        tokio::time::sleep(Duration::from_micros(100 * u64::from(n))).await;
        dialler.close(CloseReason::Done);
        let end = within(2, "the close", acceptor.closed()).await;
        assert_eq!(end, NetError::Closed { by_peer: true, reason: CloseReason::Done });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_floods_all_its_streams_takes_nothing_from_another() {
    let (here, loud, quiet) = (node(2, open()), node(1, open()), node(3, open()));
    let (target, id) = (address(&here), here.id());
    let (flooding, from_loud) = tokio::join!(loud.connect(&target, &id, Purpose::Member), here.accept());
    let (flooding, from_loud) = (flooding.unwrap(), from_loud.unwrap());
    let (dialler, from_quiet) = tokio::join!(quiet.connect(&target, &id, Purpose::Member), here.accept());
    let (dialler, from_quiet) = (dialler.unwrap(), from_quiet.unwrap());
    const FRAME: usize = 100_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let (mut unread, mut tasks) = (Vec::new(), Vec::new());
    for n in 0..DATA_STREAMS_MAX {
        let mut sender = flooding.open_stream(&n.to_le_bytes()).await.unwrap();
        let taken = taken.clone();
        tasks.push(tokio::spawn(async move {
            while sender.send(&[0; FRAME]).await.is_ok() {
                taken.fetch_add(FRAME, Ordering::SeqCst);
            }
        }));
        unread.push(stream(&from_loud).await.1);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let full = taken.load(Ordering::SeqCst);
    // What is not read is held here up to the window, and at the sender up to its own.
    let most = Profile::Lan.receive_window() as usize + Profile::Lan.send_window() as usize;
    assert!(full > FRAME && full <= most, "{full} bytes of at most {most}");
    let reading = tokio::spawn(async move {
        let (_, mut receiver) = stream(&from_quiet).await;
        let mut bytes = 0;
        while let Some(frame) = receiver.next().await.unwrap() {
            bytes += frame.len();
        }
        bytes
    });
    within(20, "the other peer's stream", async {
        let mut sender = dialler.open_stream(b"quiet").await.unwrap();
        for n in 0..8u8 {
            sender.send(&vec![n; CHUNK_BYTES_MAX]).await.unwrap();
        }
        sender.finish().unwrap();
    })
    .await;
    assert_eq!(within(20, "its bytes", reading).await.unwrap(), 8 * CHUNK_BYTES_MAX);
    assert_eq!(taken.load(Ordering::SeqCst), full, "and the flood has got nothing more");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}
