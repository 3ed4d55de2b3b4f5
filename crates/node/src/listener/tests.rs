use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::*;

const LIMITS: Limits =
    Limits { connections: 8, body: 100, read: Duration::from_secs(20), write: Duration::from_secs(20) };
/// Long enough for whatever must not happen, short enough to wait for.
const SOON: Duration = Duration::from_millis(150);
/// When a test that waits is lost.
const NEVER: Duration = Duration::from_secs(15);
/// Bytes of the answer to `/big`: more than the buffers of a connection hold.
const BIG: usize = 16 << 20;

const GOOD: &str = "POST /good HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";

/// A listener whose requests are answered with what they are; `/gate` waits until it is opened.
struct Server {
    at: SocketAddr,
    /// Requests that were handed on.
    calls: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

async fn server(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (calls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let tasks = Arc::new(Mutex::new(JoinSet::new()));
    let (counted, gated, spawned) = (calls.clone(), gate.clone(), tasks.clone());
    let answer = move |request: Result<Request, Broken>| {
        let (calls, gate) = (counted.clone(), gated.clone());
        async move {
            let request = match request {
                Ok(request) => request,
                Err((status, what)) => return Answer::json(status, &json!({"what": what})),
            };
            calls.fetch_add(1, Ordering::SeqCst);
            if request.path == "/gate" {
                gate.acquire().await.unwrap().forget();
            }
            let body = if request.path == "/big" { "x".repeat(BIG).into() } else { request.body };
            let status = if request.path == "/busy" { 429 } else { 200 };
            Answer::json(status, &json!({"path": request.path, "body": String::from_utf8(body).unwrap()}))
        }
    };
    let serving = serve(listener, limits, move |task| drop(spawned.lock().unwrap().spawn(task)), answer);
    tasks.lock().unwrap().spawn(serving);
    Server { at, calls, gate, tasks }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// Says something, then nothing more, and gives all that comes back.
    async fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // why: a refusal may come, and the connection be gone, before all is said.
        let _ = stream.write_all(bytes.as_ref()).await;
        let _ = stream.shutdown().await;
        rest(&mut stream).await
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Connections that are served, and the listener itself.
    fn tasks(&self) -> usize {
        let mut tasks = self.tasks.lock().unwrap();
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }
}

/// Everything until the end.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(NEVER, stream.read_to_end(&mut bytes)).await.expect("the connection does not end");
    assert!(read.is_ok() || !bytes.is_empty() || read.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
    String::from_utf8(bytes).unwrap()
}

/// Reads until what was read ends so.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    while !text.ends_with(end) {
        let n = timeout(NEVER, stream.read(&mut piece)).await.expect("it does not come").unwrap();
        assert!(n > 0, "it ended with {text}");
        text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
    }
    text
}

/// The status of each answer.
fn statuses(text: &str) -> Vec<u16> {
    let answers = text.match_indices("HTTP/1.").map(|(at, _)| at + 9);
    answers.filter_map(|at| text.get(at..at + 3)?.parse().ok()).collect()
}

#[tokio::test]
async fn calls_of_one_connection_are_answered_in_order() {
    let server = server(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    let first = until(&mut stream, "}").await;
    let body = first.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str(body).ok());
    let wanted = serde_json::json!({"body": "body", "path": "/good"});
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && body == Some(wanted), "{first}");
    for field in ["content-type: application/json\r\n", "content-length: 30\r\n", "date: "] {
        assert!(first.contains(field), "{first}");
    }
    // Two at once, and a third that closes.
    let last = GOOD.replace("/good", "/last").replace("Host: x", "Connection: close");
    let busy = GOOD.replace("/good", "/busy?q=1").replace("?q=1", "");
    stream.write_all([GOOD, busy.as_str(), &last, GOOD].concat().as_bytes()).await.unwrap();
    let more = rest(&mut stream).await;
    assert_eq!(statuses(&more), [200, 429, 200], "{more}");
    let last = more.rsplit("\r\n\r\n").next().and_then(|body| serde_json::from_str::<serde_json::Value>(body).ok());
    assert!(more.contains("retry-after: 1\r\n") && last.is_some_and(|body| body["path"] == "/last"), "{more}");
    assert_eq!(server.calls(), 4);
}

#[tokio::test]
async fn one_call_of_a_connection_is_worked_on_at_a_time() {
    let server = server(LIMITS).await;
    let mut stream = server.connect().await;
    let gated = GOOD.replace("/good", "/gate");
    stream.write_all([gated.as_str(), &gated, &gated].concat().as_bytes()).await.unwrap();
    for done in 1..=3 {
        let begun = Instant::now();
        while server.calls() < done {
            assert!(begun.elapsed() < NEVER);
            tokio::task::yield_now().await;
        }
        sleep(Duration::from_millis(20)).await;
        assert_eq!(server.calls(), done, "another was begun before the answer");
        server.gate.add_permits(1);
        until(&mut stream, "}").await;
    }
}

/// Refused with the reason; what stands behind it on the connection is not even looked at.
#[tokio::test]
async fn what_a_call_is_not_is_refused_with_the_reason_and_ends_the_connection() {
    let server = server(LIMITS).await;
    let chunked = "Transfer-Encoding: chunked";
    for (from, to, status) in [
        ("POST", "GET", 405),
        ("POST", "HEAD", 405),
        ("POST", "post", 405),
        ("POST", "BREW", 405),
        ("POST /good", "CONNECT x:443", 405),
        ("POST /good", "OPTIONS *", 405),
        ("HTTP/1.1", "HTTP/1.0", 505),
        ("HTTP/1.1\r\nHost: x", "HTTP/1.0\r\nConnection: keep-alive", 505),
        ("/good", "http://x/good", 400),
        ("/good", "x:80", 400),
        ("Content-Length: 4", "Content-Type: x", 411),
        ("Content-Length: 4", "Content-Length: 101", 413),
        ("Content-Length: 4", "Content-Length: 101\r\nExpect: 100-continue", 413),
        // Framed in two ways, so that one may see another request in the body than the other.
        ("Content-Length: 4", chunked, 411),
        ("Content-Length: 4", "Transfer-Encoding: gzip, chunked", 411),
        ("Content-Length: 4", &format!("Content-Length: 4\r\n{chunked}"), 411),
        ("Content-Length: 4", &format!("{chunked}\r\nContent-Length: 4"), 411),
        ("Content-Length: 4", &format!("{chunked}\r\n{chunked}\r\nContent-Length: 0"), 411),
    ] {
        let text = server.ask(GOOD.replacen(from, to, 1) + GOOD).await;
        assert_eq!(statuses(&text), [status], "{to}: {text}");
        assert!(text.contains("connection: close"), "{to}: {text}");
        assert!(text.contains("{\"what\":\"") || to == "HEAD", "{to}: {text}");
        assert_eq!(text.contains("allow: POST\r\n"), status == 405, "{to}: {text}");
        assert!(!text.contains("100 Continue"), "{to}: {text}");
    }
    assert_eq!(server.calls(), 0);
    // Up to the limit it is a call.
    let most = GOOD.replace("4\r\n", "100\r\n").replace("body", &"b".repeat(100));
    assert_eq!(statuses(&server.ask(most).await), [200]);
    // The same length twice is one length.
    let twice = GOOD.replace("Content-Length: 4", "Content-Length: 4\r\nContent-Length: 4");
    assert_eq!(statuses(&server.ask(twice + GOOD).await), [200, 200]);
}

/// What is no HTTP/1.1, or could be read in two ways, is answered with a bare status or not at all.
#[tokio::test]
async fn what_is_no_request_is_never_handed_on() {
    let server = server(LIMITS).await;
    for (from, to) in [
        ("POST /good", "PO ST /good"),
        ("POST /good", "POST"),
        ("POST", "P\0ST"),
        ("/good", "/go\x7fod\x01"),
        ("HTTP/1.1", "HTTP/1.2"),
        ("HTTP/1.1", "HTTP/2.0"),
        ("HTTP/1.1", ""),
        ("HTTP/1.1", "HTTP/1.1 "),
        ("Content-Length: 4", "Content-Length : 4"),
        ("Content-Length: 4", "Content-Length: 4\r\n folded"),
        ("Content-Length: 4", "Content-Length: 4\r\nX\0: y"),
        ("Content-Length: 4", "Content-Length: 4\r\nX: a\rb"),
        ("Content-Length: 4", "Content-Length: 4\r\nno colon"),
        ("Content-Length: 4", "Content-Length: 4\r\nContent-Length: 5"),
        ("Content-Length: 4", "Content-Length: 4, 4"),
        ("Content-Length: 4", "Content-Length: +4"),
        ("Content-Length: 4", "Content-Length: -4"),
        ("Content-Length: 4", "Content-Length: 0x4"),
        ("Content-Length: 4", "Content-Length: 4 4"),
        ("Content-Length: 4", "Content-Length:"),
        ("Content-Length: 4", "Content-Length: 18446744073709551616"),
        ("Content-Length: 4", "Content-Length: 18446744073709551615"),
        ("Content-Length: 4", "Transfer-Encoding: identity"),
        ("Content-Length: 4", "Transfer-Encoding: xchunked"),
        ("Content-Length: 4", "Transfer-Encoding: chunked, identity"),
        ("Content-Length: 4", "Content-Length: 4\r\nTransfer-Encoding: \x0bchunked"),
    ] {
        let text = server.ask(GOOD.replacen(from, to, 1) + GOOD).await;
        assert!(matches!(statuses(&text)[..], [400 | 431] | []), "{to:?}: {text}");
    }
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-x\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"",
    ] {
        let text = server.ask(bytes).await;
        assert!(matches!(statuses(&text)[..], [400] | []), "{bytes:?}: {text}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_head_past_its_limits_is_refused() {
    let server = server(LIMITS).await;
    let long = |bytes: usize| {
        let room = bytes - (GOOD.len() - 4) - 5;
        GOOD.replacen("Host: x\r\n", &format!("Host: x\r\nX: {}\r\n", "y".repeat(room)), 1)
    };
    assert_eq!(long(HEAD_BYTES_MAX).split_once("\r\n\r\n").unwrap().0.len() + 4, HEAD_BYTES_MAX);
    assert_eq!(statuses(&server.ask(long(HEAD_BYTES_MAX)).await), [200]);
    assert_eq!(statuses(&server.ask(long(HEAD_BYTES_MAX + 1)).await), [431]);
    // One that never ends is not read to its end.
    assert_eq!(statuses(&server.ask(long(HEAD_BYTES_MAX * 64)).await), [431]);
    let many = |fields: usize| GOOD.replacen("Host: x\r\n", &"X: y\r\n".repeat(fields - 1), 1);
    assert_eq!(statuses(&server.ask(many(HEADERS_MAX)).await), [200]);
    assert_eq!(statuses(&server.ask(many(HEADERS_MAX + 1)).await), [431]);
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn what_comes_slowly_is_not_waited_for() {
    let server = server(Limits { read: SOON, ..LIMITS }).await;
    let dribble = async |first: &str| {
        let mut stream = server.connect().await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let (mut read, mut write) = stream.split();
        let mut text = String::new();
        // A byte now and then, for as long as it is let.
        let talk = async {
            while begun.elapsed() < NEVER && write.write_all(b"x").await.is_ok() {
                sleep(SOON / 10).await;
            }
        };
        tokio::select! {
            _ = read.read_to_string(&mut text) => {}
            () = talk => {}
        }
        assert!(begun.elapsed() >= SOON / 2 && begun.elapsed() < NEVER / 2, "{:?}", begun.elapsed());
        text
    };
    assert_eq!(dribble("POST /good HTTP/1.1\r\nX: ").await, "", "a head");
    let body = dribble("POST /good HTTP/1.1\r\nContent-Length: 100\r\n\r\n").await;
    assert_eq!(statuses(&body), [408], "{body}");
    assert!(body.contains("it was not sent in time"), "{body}");
    assert_eq!(rest(&mut server.connect().await).await, "", "nothing at all");
    // Nor after an answer.
    let mut stream = server.connect().await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    assert_eq!(statuses(&rest(&mut stream).await), [200]);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_frees_its_place() {
    let server = server(Limits { connections: 1, write: SOON, ..LIMITS }).await;
    let mut deaf = server.connect().await;
    deaf.write_all(GOOD.replace("/good", "/big").as_bytes()).await.unwrap();
    assert_eq!(statuses(&server.ask(GOOD).await), [200], "who waits for its place gets it");
    assert_eq!(server.calls(), 2);
    let mut bytes = Vec::new();
    let _ = deaf.read_to_end(&mut bytes).await;
    assert!(!bytes.is_empty() && bytes.len() < BIG, "{} bytes", bytes.len());
}

#[tokio::test]
async fn who_has_said_everything_still_gets_the_answer() {
    let server = server(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(GOOD.replace("/good", "/gate").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    sleep(Duration::from_millis(20)).await;
    server.gate.add_permits(1);
    assert_eq!(statuses(&rest(&mut stream).await), [200]);
    // One that ends within its body, or its head, is no call.
    for end in 1..GOOD.len() {
        let text = server.ask(&GOOD[..end]).await;
        assert!(matches!(statuses(&text)[..], [400] | []), "{end}: {text}");
    }
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is() {
    let server = server(LIMITS).await;
    let mut stream = server.connect().await;
    let head = GOOD.replace("Host: x", "Expect: 100-Continue").replace("body", "");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    assert_eq!(statuses(&until(&mut stream, "}").await), [200]);
}

#[tokio::test]
async fn one_connection_too_many_waits_for_a_place() {
    let server = server(Limits { connections: 3, ..LIMITS }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        stream.write_all(GOOD.as_bytes()).await.unwrap();
        until(&mut stream, "}").await;
        held.push(stream);
    }
    let mut fourth = server.connect().await;
    fourth.write_all(GOOD.as_bytes()).await.unwrap();
    assert!(timeout(SOON, fourth.readable()).await.is_err(), "there is no place");
    assert_eq!((server.calls(), server.tasks()), (3, 4));
    drop(held.pop());
    assert_eq!(statuses(&until(&mut fourth, "}").await), [200]);
}

/// Many that say nothing hold a call up no longer than each of them is waited for, one roomful after the other.
#[tokio::test]
async fn hundreds_that_say_nothing_keep_nobody_out() {
    let server = server(Limits { connections: 100, read: Duration::from_millis(50), ..LIMITS }).await;
    let mut idle = Vec::new();
    for _ in 0..700 {
        idle.push(server.connect().await);
    }
    let mut stream = server.connect().await;
    stream.write_all(GOOD.as_bytes()).await.unwrap();
    assert_eq!(statuses(&until(&mut stream, "}").await), [200]);
    assert!(server.tasks() <= 101);
    drop(idle);
}
