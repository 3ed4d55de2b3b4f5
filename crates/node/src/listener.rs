//! Requests over HTTP/1.1, spoken by `hyper`. What `hyper` leaves open is bounded here: connections, the length of a body,
//! the time that a request may take to arrive and an answer to be taken. Upgrades and bodies without a length are refused.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep, timeout};

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 512;
/// Bytes of a call's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields of a call.
pub const HEADERS_MAX: usize = 64;
/// Pause after a connection could not be taken, as when no file handle is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at a time; further ones wait to be taken.
    pub connections: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long a connection may be silent before a request and take for its head; and again for its body.
    pub read: Duration,
    /// How long an answer may take to be taken.
    pub write: Duration,
}

/// A request as it came, whole.
#[derive(Debug)]
pub(crate) struct Request {
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What it is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self { status, content_type: "application/json", body: value.to_string() }
    }
}

/// Why a request is none that can be answered: a status and what is wrong. The connection ends with it.
pub(crate) type Broken = (u16, &'static str);

/// Takes connections and has `answer` answer their requests, those of one connection one after the other. Never ends; what it
/// does beside goes to `spawn`.
pub(crate) async fn serve<A, F>(
    listener: TcpListener,
    limits: Limits,
    spawn: impl Fn(Pin<Box<dyn Future<Output = ()> + Send>>),
    answer: A,
) where
    A: Fn(Result<Request, Broken>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        // why: nobody closes this semaphore.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection of a caller could not be taken");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // why: without it an answer may wait for an acknowledgement; that it is only slower is no reason to refuse.
        let _ = stream.set_nodelay(true);
        let answer = answer.clone();
        spawn(Box::pin(async move {
            connection(stream, limits, answer).await;
            drop(place);
        }));
    }
}

/// The requests of one connection. One that is no HTTP gets a bare status of `hyper`, one whose head does not come in time none.
async fn connection<A, F>(stream: TcpStream, limits: Limits, answer: A)
where
    A: Fn(Result<Request, Broken>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(|request| {
        let answer = answer.clone();
        async move {
            let request = read(request, limits).await;
            let keep = request.is_ok();
            let answer = answer(request).await;
            Ok::<_, Infallible>(response(answer, keep))
        }
    });
    let ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // why: who has said everything may still wait for its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.write)), service)
        .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of a caller ended");
    }
}

/// Reads the rest of a request whose head is there.
async fn read(request: hyper::Request<Incoming>, limits: Limits) -> Result<Request, Broken> {
    let (head, mut body) = request.into_parts();
    if head.version != Version::HTTP_11 {
        return Err((505, "only HTTP/1.1"));
    }
    if head.method != Method::POST {
        return Err((405, "only POST"));
    }
    let path = origin_form(&head.uri).ok_or((400, "the target is no path"))?;
    if length(&head.headers)? > limits.body {
        return Err((413, "the body is too long"));
    }
    match timeout(limits.read, whole(&mut body)).await {
        Ok(Some(body)) => Ok(Request { path, headers: head.headers, body }),
        Ok(None) => Err((400, "the body ended before its length")),
        Err(_) => Err((408, "it was not sent in time")),
    }
}

/// A target of the usual form: one that names a host could be signed as another.
fn origin_form(uri: &Uri) -> Option<String> {
    let plain = uri.scheme().is_none() && uri.authority().is_none();
    uri.path_and_query().filter(|_| plain).map(|path| path.as_str().to_owned())
}

/// The length that a head states. `hyper` has compared those of several.
fn length(headers: &HeaderMap) -> Result<usize, Broken> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err((411, "content-length is needed, transfer-encoding is not taken"));
    }
    let text = headers.get(header::CONTENT_LENGTH).ok_or((411, "content-length is needed"))?;
    text.to_str().ok().and_then(|text| text.parse().ok()).ok_or((400, "content-length is no number"))
}

/// A body as long as its head says; none when the connection ends before.
async fn whole(body: &mut Incoming) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let data = frame.ok()?.into_data().ok()?;
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}

/// The text of a field that stands once: of two values one could be checked and the other used.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).into_iter();
    let (first, more) = (all.next()?, all.next());
    if more.is_some() { None } else { first.to_str().ok() }
}

fn response(answer: Answer, keep: bool) -> Response<String> {
    let mut response = Response::new(answer.body);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if !keep {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A connection that fails when an answer is not taken in time, from its first byte that has to wait to its last.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    fn within<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() && self.waiting.is_none() {
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => written,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, bytes)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.within(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// All that there was to write is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
