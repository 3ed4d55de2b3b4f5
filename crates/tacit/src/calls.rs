//! A caller of a published model: signed requests over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tacit_crypto::SigningKey;
use tacit_node::online::signature::{self, Signed};
use tacit_types::{Code, Fault, NodeId};

/// Bytes of an answer with its head.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How long an answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// Who calls, and where. The connection is kept for as long as the node keeps it.
pub struct Calls {
    host: String,
    node: NodeId,
    key: SigningKey,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer as it came.
struct Answer {
    status: String,
    keep: bool,
    body: Vec<u8>,
}

impl Calls {
    /// Calls to the node with this key, at `HOST:PORT`.
    pub fn new(at: &str, node: NodeId, key: SigningKey) -> Self {
        let host = at.strip_prefix("http://").unwrap_or(at).to_owned();
        Self { host, node, key, stream: None }
    }

    /// Asks for the scores of keys and gives the whole answer. It is sent once: who repeats a call asks for its rows
    /// again.
    ///
    /// # Errors
    /// What the node says; `net.unreachable`, `net.frame`.
    pub fn ask(&mut self, name: &str, keys: &[impl AsRef<str>]) -> Result<Value, Fault> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        let body = json!({"keys": keys}).to_string();
        let answer = self
            .send(name, body.as_bytes())
            .map_err(|e| Fault::new(Code::NetUnreachable, format!("{}: {e}", self.host)))?;
        let value: Value = serde_json::from_slice(&answer.body)
            .map_err(|e| Fault::new(Code::NetFrame, format!("{}: {e}", answer.status)))?;
        match value["error"]["code"].as_str() {
            Some(code) => {
                Err(Fault::new(Code::parse(code), value["error"]["what"].as_str().unwrap_or_default().to_owned()))
            }
            None => Ok(value),
        }
    }

    fn send(&mut self, name: &str, body: &[u8]) -> std::io::Result<Answer> {
        let path = format!("/v1/score/{name}");
        let nonce = tacit_node::os_rng().map_err(|f| std::io::Error::other(f.what))?.bytes::<16>();
        let request = Signed { method: "POST", path: &path, body };
        let now = tacit_node::now().0 / 1000;
        let headers = signature::sign(&self.key, &self.node, &request, now, &hex::encode(nonce));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Content-Digest: {}\r\nSignature-Input: {}\r\nSignature: {}\r\n\r\n",
            self.host,
            body.len(),
            headers.digest,
            headers.input,
            headers.signature
        );
        // Taken out: what goes wrong ends the connection.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.host)?;
                stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let answer = read(&mut stream)?;
        self.stream = answer.keep.then_some(stream);
        Ok(answer)
    }
}

/// Reads one answer of a known length.
fn read(stream: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut bounded = stream.take(ANSWER_BYTES_MAX);
    let mut line = || -> std::io::Result<String> {
        let mut line = String::new();
        bounded.read_line(&mut line)?;
        if line.ends_with('\n') {
            return Ok(line.trim_end().to_owned());
        }
        Err(std::io::Error::other("the answer has no end"))
    };
    let (status, mut length, mut keep) = (line()?, None, true);
    loop {
        let line = line()?.to_ascii_lowercase();
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            _ if line.is_empty() => break,
            Some(("content-length", value)) => length = value.parse::<u64>().ok(),
            Some(("connection", value)) => keep = value != "close",
            _ => {}
        }
    }
    let length = length.filter(|n| *n <= ANSWER_BYTES_MAX);
    let length = length.ok_or_else(|| std::io::Error::other("the answer has no length, or is too long"))?;
    let mut body = Vec::new();
    if bounded.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(std::io::Error::other("the answer has no end"));
    }
    Ok(Answer { status, keep, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_says_and_one_without_an_end_is_none() {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 429 X\r\nconnection: close\r\ncontent-length: 3\r\n\r\n[1]";
        let mut stream = two.as_bytes();
        let first = read(&mut stream).unwrap();
        assert_eq!((first.status.as_str(), first.keep, first.body.as_slice()), ("HTTP/1.1 200 OK", true, &b"{}"[..]));
        let second = read(&mut stream).unwrap();
        assert_eq!((second.keep, second.body.as_slice()), (false, &b"[1]"[..]));
        let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_BYTES_MAX + 1);
        for wrong in ["", "HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", &long] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
