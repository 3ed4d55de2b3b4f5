//! Calls over HTTP/1.1: `POST /v1/score/NAME`, signed. One verb, one path, bodies of a stated length: the parser of heads
//! is `httparse`; what else the protocol can do is refused.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_jobs::score::keys::KEY_BYTES_MAX;
use tacit_jobs::score::online::{CALL_KEYS_MAX, host};
use tacit_types::code::Lang;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::link::Answered;
use super::series::Series;
use super::signature::{self, Headers, Signed};
use crate::daemon::Inner;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 512;
/// Bytes of a call's body.
pub const BODY_BYTES_MAX: usize = CALL_KEYS_MAX * (KEY_BYTES_MAX * 2 + 8);
/// Bytes of a call's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields of a call.
pub const HEADERS_MAX: usize = 64;
/// How long a connection may be silent before a call, and how long a call may take to arrive.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer may take to be taken.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a connection could not be taken, as when no file handle is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What stands before the name of a model.
const PATH: &str = "/v1/score/";

/// Takes connections as long as the node runs.
pub(super) async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // why: nobody closes this semaphore.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of a caller could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // why: without it an answer may wait for an acknowledgement; that it is only slower is no reason to refuse.
        let _ = stream.set_nodelay(true);
        let serving = inner.clone();
        inner.spawn(async move {
            Connection { stream, buffer: Vec::new() }.serve(&serving).await;
            drop(place);
        });
    }
}

/// A request as it came.
#[derive(Debug)]
struct Request {
    path: String,
    headers: Result<Headers, Fault>,
    body: Vec<u8>,
    /// Whether the caller may ask again over this connection.
    keep: bool,
}

/// What the head of a request says.
#[derive(Debug)]
struct Head {
    /// Where the body begins.
    bytes: usize,
    body: usize,
    expects: bool,
    request: Request,
}

/// An answer without a request that could be understood: a status and what is wrong. The connection ends with it.
type Broken = (u16, &'static str);

struct Connection {
    stream: TcpStream,
    /// What was read and not used.
    buffer: Vec<u8>,
}

impl Connection {
    async fn serve(&mut self, inner: &Inner) {
        loop {
            let (status, value, keep) = match self.request().await {
                Ok(Some(request)) => {
                    let keep = request.keep;
                    match call(inner, request).await {
                        Ok(value) => (200, value, keep),
                        Err(fault) => (status(fault.code), error(&fault), keep),
                    }
                }
                Ok(None) => return,
                Err((status, what)) => (status, error(&Fault::new(Code::OnlineRequest, what)), false),
            };
            let bytes = response(status, &value, keep);
            let sent = timeout(WRITE_DEADLINE, self.stream.write_all(&bytes)).await;
            if !keep || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The next request; none when the caller has gone or is silent.
    async fn request(&mut self) -> Result<Option<Request>, Broken> {
        let Ok(read) = timeout(READ_DEADLINE, self.read()).await else {
            return if self.buffer.is_empty() { Ok(None) } else { Err((408, "it was not sent in time")) };
        };
        read
    }

    async fn read(&mut self) -> Result<Option<Request>, Broken> {
        let head = loop {
            if let Some(head) = parse(&self.buffer)? {
                break head;
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err((431, "the head is too long"));
            }
            if !self.more(HEAD_BYTES_MAX).await {
                return Ok(None);
            }
        };
        if head.expects && self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return Ok(None);
        }
        let whole = head.bytes + head.body;
        while self.buffer.len() < whole {
            if !self.more(whole).await {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(whole);
        let mut body = core::mem::replace(&mut self.buffer, rest);
        body.drain(..head.bytes);
        Ok(Some(Request { body, ..head.request }))
    }

    /// Reads on, up to so many bytes in all. Whether there was more.
    async fn more(&mut self, most: usize) -> bool {
        let room = most.saturating_sub(self.buffer.len()).min(16 << 10);
        let before = self.buffer.len();
        self.buffer.resize(before + room, 0);
        let read = match self.buffer.get_mut(before..) {
            Some(free) => self.stream.read(free).await.unwrap_or(0),
            None => 0,
        };
        self.buffer.truncate(before + read);
        read > 0
    }
}

/// The head of a request, once it is there whole.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Broken> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let used = match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err((431, "too many header fields")),
        Err(_) => return Err((400, "it is no request of HTTP/1.1")),
    };
    let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err((400, "it is no request of HTTP/1.1"));
    };
    if version != 1 {
        return Err((505, "only HTTP/1.1"));
    }
    if method != "POST" {
        return Err((405, "only POST"));
    }
    // Of two values one could be checked and the other used.
    let one = |name: &str| {
        let mut all = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        let (first, more) = (all.next(), all.next());
        match (first, more) {
            (None, _) => Ok(None),
            (Some(field), None) => core::str::from_utf8(field.value).map(Some).map_err(|_| (400, "a field is no text")),
            (Some(_), Some(_)) => Err((400, "a field stands twice")),
        }
    };
    if one("transfer-encoding")?.is_some() {
        return Err((411, "content-length is needed, transfer-encoding is not taken"));
    }
    let Some(length) = one("content-length")? else { return Err((411, "content-length is needed")) };
    let digits = !length.is_empty() && length.len() <= 9 && length.bytes().all(|b| b.is_ascii_digit());
    let length: usize = length.parse().ok().filter(|_| digits).ok_or((400, "content-length is no number"))?;
    if length > BODY_BYTES_MAX {
        return Err((413, "the body is too long"));
    }
    let expects = one("expect")?.is_some_and(|v| v.eq_ignore_ascii_case("100-continue"));
    let keep = !one("connection")?.is_some_and(|v| v.eq_ignore_ascii_case("close"));
    let signed = |name: &str| {
        let missing = || Fault::new(Code::OnlineCaller, format!("there is no {name}"));
        one(name).ok().flatten().map(str::to_owned).ok_or_else(missing)
    };
    let headers = signed("content-digest")
        .and_then(|digest| Ok(Headers { digest, input: signed("signature-input")?, signature: signed("signature")? }));
    let request = Request { path: path.to_owned(), headers, body: Vec::new(), keep };
    Ok(Some(Head { bytes: used, body: length, expects, request }))
}

fn response(status: u16, value: &Value, keep: bool) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    };
    let body = value.to_string();
    let again = if matches!(status, 429 | 503) { "retry-after: 1\r\n" } else { "" };
    let allow = if status == 405 { "allow: POST\r\n" } else { "" };
    let end = if keep { "" } else { "connection: close\r\n" };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{again}{allow}{end}\r\n"
    );
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

fn error(fault: &Fault) -> Value {
    let code = fault.code;
    json!({"error": {
        "code": code.text(), "what": fault.what,
        "title": code.title(Lang::En), "title_zh": code.title(Lang::Zh),
        "hint": code.hint(Lang::En), "hint_zh": code.hint(Lang::Zh),
    }})
}

/// The status of a fault.
fn status(code: Code) -> u16 {
    match code {
        Code::OnlineRequest => 400,
        Code::OnlineCaller | Code::OnlineReplayed => 401,
        Code::OnlineUnknown => 404,
        Code::OnlineBusy | Code::RefusedPace | Code::RefusedQuota => 429,
        Code::OnlineClosed | Code::JobPeerLost => 503,
        Code::OnlineDeadline => 504,
        _ => 500,
    }
}

/// Answers a call: who it is comes before what it is about.
async fn call(inner: &Inner, request: Request) -> Result<Value, Fault> {
    let signed = Signed { method: "POST", path: &request.path, body: &request.body };
    let caller = authorised(inner, request.headers, &signed)?;
    let unknown = || Fault::new(Code::OnlineUnknown, format!("`{}`", request.path));
    let name = request.path.strip_prefix(PATH).ok_or_else(unknown)?;
    score(inner, caller, name, &request.body).await
}

/// What a caller sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Text(String),
    Number(i64),
}

/// The name of the caller, whose call is new.
fn authorised(inner: &Inner, headers: Result<Headers, Fault>, request: &Signed<'_>) -> Result<String, Fault> {
    let caller = signature::check(request, &headers?, &inner.signing.id())?;
    let name = inner.online.caller(&caller.key);
    let name =
        name.ok_or_else(|| Fault::new(Code::OnlineCaller, format!("key {} is not enrolled", caller.key.short())))?;
    let mut nonces = inner.online.nonces.lock().unwrap_or_else(PoisonError::into_inner);
    nonces.take(&caller, crate::now().0 / 1000)?;
    Ok(name)
}

async fn score(inner: &Inner, caller: String, name: &str, body: &[u8]) -> Result<Value, Fault> {
    let wrong = |what: String| Fault::new(Code::OnlineRequest, what);
    let call: Call = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
    if !(1..=CALL_KEYS_MAX).contains(&call.keys.len()) {
        return Err(wrong(format!("{} keys; 1 to {CALL_KEYS_MAX}", call.keys.len())));
    }
    let text = |key: Key| match key {
        Key::Text(text) => text,
        Key::Number(number) => number.to_string(),
    };
    let keys: Vec<String> = call.keys.into_iter().map(text).collect();
    if let Some((i, key)) = keys.iter().enumerate().find(|(_, k)| !(1..=KEY_BYTES_MAX).contains(&k.len())) {
        return Err(wrong(format!("key {} has {} bytes, of 1 to {KEY_BYTES_MAX}", i + 1, key.len())));
    }
    let series = inner.online.series(name).ok_or_else(|| Fault::new(Code::OnlineUnknown, format!("`{name}`")))?;
    let asked = keys.iter().map(|k| Blob(k.clone().into_bytes())).collect();
    let answered = series.call(asked, caller).await?;
    answer_body(&series, &keys, &answered)
}

fn answer_body(series: &Series, keys: &[String], answered: &Answered) -> Result<Value, Fault> {
    let scores = host::scores(&series.params, keys.len(), &answered.cells)?;
    let named = |(key, score): (&String, Value)| json!({"key": key, "score": score});
    let scores: Vec<Value> = keys.iter().zip(scores).map(named).collect();
    let Answered { job, attempt, number, call, .. } = answered;
    Ok(json!({"scores": scores, "call": {
        "window": job.to_string(), "attempt": attempt, "number": number, "at_ms": call.at_ms, "keys": call.keys,
        "request": call.request.to_string(), "salt": call.salt.to_string(),
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Broken> {
        parse(text.replace('\n', "\r\n").as_bytes())
    }

    const GOOD: &str = "POST /v1/score/credit HTTP/1.1\nHost: x\nContent-Length: 12\nContent-Digest: d\n\
                        Signature-Input: i\nSignature: s\n\n";

    #[test]
    fn a_request_is_read_when_it_is_there_whole() {
        for end in 1..GOOD.len() {
            assert!(head(&GOOD[..end]).unwrap().is_none(), "{end}");
        }
        let read = head(&format!("{GOOD}{{}}")).unwrap().unwrap();
        assert_eq!((read.body, read.expects, read.request.keep), (12, false, true));
        assert_eq!(read.bytes, GOOD.replace('\n', "\r\n").len());
        let headers = read.request.headers.unwrap();
        assert_eq!([headers.digest, headers.input, headers.signature], ["d", "i", "s"]);
        let close = head(&GOOD.replace("Host: x", "Connection: Close\nExpect: 100-continue")).unwrap().unwrap();
        assert!(close.expects && !close.request.keep);
    }

    #[test]
    fn what_a_call_is_not_is_refused() {
        let most = BODY_BYTES_MAX;
        for (from, to, status) in [
            ("POST", "GET", 405),
            ("HTTP/1.1", "HTTP/1.0", 505),
            ("HTTP/1.1", "HTTP/2", 400),
            ("Content-Length: 12", "Content-Length: 12\nContent-Length: 12", 400),
            ("Content-Length: 12", "Content-Length: +12", 400),
            ("Content-Length: 12", "Content-Length:", 400),
            ("Content-Length: 12", "Content-Type: x", 411),
            ("Content-Length: 12", "Content-Length: 12\nTransfer-Encoding: chunked", 411),
            ("12", &(most + 1).to_string(), 413),
        ] {
            let answer = head(&GOOD.replacen(from, to, 1));
            assert_eq!(answer.map(|_| ()).unwrap_err().0, status, "{to}");
        }
        assert!(head(&GOOD.replace("12", &most.to_string())).unwrap().is_some());
        let many = |n: usize| GOOD.replace("Host: x", "X: y\n".repeat(n).trim_end());
        assert!(head(&many(HEADERS_MAX - 4)).unwrap().is_some());
        assert_eq!(head(&many(HEADERS_MAX - 3)).unwrap_err().0, 431);
        // A signature that stands twice is none.
        let twice = head(&GOOD.replace("Signature: s", "Signature: s\nSignature: t")).unwrap().unwrap();
        assert_eq!(twice.request.headers.unwrap_err().code, Code::OnlineCaller);
    }

    #[test]
    fn answers_have_a_length_and_say_when_to_ask_again() {
        let text = |status, keep| String::from_utf8(response(status, &json!({}), keep)).unwrap();
        assert_eq!(text(200, true), "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}");
        assert!(text(429, false).contains("\r\nretry-after: 1\r\nconnection: close\r\n\r\n{}"));
    }
}
