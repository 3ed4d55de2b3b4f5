//! Who calls: HTTP message signatures (RFC 9421) with Ed25519 over method, path and the digest of the body (RFC 9530).
//!
//! The signature names its key, the second in which it was made, a nonce, and in `tag` the node that it is for, so that
//! one node's call is none of another's.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tacit_crypto::{Signature, SigningKey, sha256, verify};
use tacit_types::{Code, Fault, NodeId};

/// Seconds that a call may be old.
pub const CALL_AGE_SECONDS_MAX: u64 = 30;
/// Seconds that a caller's clock may be ahead.
pub const CALL_AHEAD_SECONDS_MAX: u64 = 5;
/// Bytes of a nonce.
pub const NONCE_BYTES_MAX: usize = 64;
/// Calls that are remembered for as long as one of them could be made again.
pub const NONCES_MAX: usize = 1 << 18;
/// Bytes of the two signature headers together.
const HEADERS_BYTES_MAX: usize = 2048;

/// What must be signed, in this order or another.
const COVERED: [&str; 3] = ["@method", "@path", "content-digest"];

/// The headers of a signed request.
#[derive(Clone, Debug)]
pub struct Headers {
    /// `Content-Digest`.
    pub digest: String,
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
}

/// A request as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Method.
    pub method: &'a str,
    /// Path, without a query.
    pub path: &'a str,
    /// The whole body.
    pub body: &'a [u8],
}

/// Who signed, and what tells this call from another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The key.
    pub key: NodeId,
    /// When, in seconds of the epoch.
    pub created: u64,
    /// The nonce.
    pub nonce: String,
}

fn unsigned(what: impl Into<String>) -> Fault {
    Fault::new(Code::OnlineCaller, what)
}

/// What `Content-Digest` says of a body.
fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(sha256(body).0))
}

/// The tag of calls to a node.
fn tag(node: &NodeId) -> String {
    format!("tacit/{node}")
}

/// The signature base of RFC 9421, section 2.5. `input` is what stands after the label.
fn base(request: &Signed<'_>, digest: &str, covered: &[&str], input: &str) -> String {
    let mut text = String::new();
    for name in covered {
        let value = match *name {
            "@method" => request.method,
            "@path" => request.path,
            _ => digest,
        };
        text.push_str(&format!("\"{name}\": {value}\n"));
    }
    text.push_str(&format!("\"@signature-params\": {input}"));
    text
}

/// Signs a request to a node.
pub fn sign(key: &SigningKey, node: &NodeId, request: &Signed<'_>, created: u64, nonce: &str) -> Headers {
    let covered: Vec<String> = COVERED.iter().map(|c| format!("\"{c}\"")).collect();
    let input = format!(
        "({});created={created};nonce=\"{nonce}\";keyid=\"{}\";alg=\"ed25519\";tag=\"{}\"",
        covered.join(" "),
        key.id(),
        tag(node)
    );
    let digest = digest(request.body);
    let signature = key.sign(base(request, &digest, &COVERED, &input).as_bytes());
    Headers { digest, input: format!("sig1={input}"), signature: format!("sig1=:{}:", BASE64.encode(signature.0)) }
}

/// One entry of a structured field (RFC 8941) of the form that a single signature has.
struct Input<'a> {
    label: &'a str,
    covered: Vec<&'a str>,
    params: BTreeMap<&'a str, &'a str>,
    /// As it stands after the label.
    whole: &'a str,
}

impl<'a> Input<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (label, whole) = text.split_once('=')?;
        let list = whole.strip_prefix('(')?;
        let (list, mut rest) = list.split_once(')')?;
        let covered = list.split(' ').map(unquoted).collect::<Option<Vec<_>>>()?;
        let mut params = BTreeMap::new();
        while !rest.is_empty() {
            let (name, value) = rest.strip_prefix(';')?.split_once('=')?;
            let end = match value.strip_prefix('"') {
                Some(quoted) => quoted.find('"')? + 2,
                None => value.find(';').unwrap_or(value.len()),
            };
            let (value, more) = value.split_at_checked(end)?;
            let plain = if value.starts_with('"') { unquoted(value)? } else { value };
            if params.insert(name, plain).is_some() {
                return None;
            }
            rest = more;
        }
        Some(Self { label, covered, params, whole })
    }
}

/// The inside of a quoted string without escapes.
fn unquoted(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    let plain = |b: u8| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\';
    inside.bytes().all(plain).then_some(inside)
}

/// Finds out who signed a request to `node`. Whether the key is enrolled, and the call new, is not looked at.
///
/// # Errors
/// `online.caller` saying what is wrong with the headers or the signature.
pub fn check(request: &Signed<'_>, headers: &Headers, node: &NodeId) -> Result<Caller, Fault> {
    if headers.input.len() + headers.signature.len() + headers.digest.len() > HEADERS_BYTES_MAX {
        return Err(unsigned(format!("more than {HEADERS_BYTES_MAX} bytes of signature headers")));
    }
    if headers.digest != digest(request.body) {
        return Err(unsigned("content-digest is not `sha-256=:…:` of the body"));
    }
    let input = Input::parse(&headers.input).ok_or_else(|| unsigned("signature-input is not one of RFC 9421"))?;
    let mut covered = input.covered.clone();
    covered.sort_unstable();
    if covered != COVERED {
        return Err(unsigned(format!("signed are {}, to be signed are {}", covered.join(" "), COVERED.join(" "))));
    }
    let param = |name: &str| input.params.get(name).copied().ok_or_else(|| unsigned(format!("`{name}` is missing")));
    if input.params.get("alg").is_some_and(|alg| *alg != "ed25519") {
        return Err(unsigned("`alg` is not ed25519"));
    }
    if param("tag")? != tag(node) {
        return Err(unsigned(format!("`tag` is not that of this node, {}", tag(node))));
    }
    let key = NodeId::from_hex(param("keyid")?).map_err(|_| unsigned("`keyid` is not 64 hex digits"))?;
    let created = param("created")?;
    let digits = !created.is_empty() && created.len() <= 12 && created.bytes().all(|b| b.is_ascii_digit());
    let created = created.parse::<u64>().ok().filter(|_| digits).ok_or_else(|| unsigned("`created` is no time"))?;
    let nonce = param("nonce")?;
    if !(8..=NONCE_BYTES_MAX).contains(&nonce.len()) {
        return Err(unsigned(format!("`nonce` has 8 to {NONCE_BYTES_MAX} characters")));
    }
    let label = headers.signature.strip_prefix(input.label).and_then(|rest| rest.strip_prefix("=:"));
    let signature = label.and_then(|rest| rest.strip_suffix(':')).and_then(|text| BASE64.decode(text).ok());
    let signature = signature.and_then(|bytes| <[u8; 64]>::try_from(bytes).ok());
    let signature = signature.ok_or_else(|| unsigned("signature is not `LABEL=:…:` with 64 bytes"))?;
    let base = base(request, &headers.digest, &input.covered, input.whole);
    if !verify(&key, base.as_bytes(), &Signature(signature)) {
        return Err(unsigned("the signature is not that of the key over this request"));
    }
    Ok(Caller { key, created, nonce: nonce.to_owned() })
}

/// The calls that could be made again.
pub struct Nonces {
    /// Nothing up to this second is taken: before it this node may have known calls that it does not know any more.
    from: u64,
    seen: BTreeMap<u64, BTreeSet<[u8; 16]>>,
    count: usize,
}

impl Nonces {
    /// For a node that starts at this second.
    pub fn new(started: u64) -> Self {
        Self { from: started + CALL_AHEAD_SECONDS_MAX, seen: BTreeMap::new(), count: 0 }
    }

    /// Takes a call that is new.
    ///
    /// # Errors
    /// `online.replayed` for one that is old, from the future or known; `online.busy` when as many are remembered as can be.
    pub fn take(&mut self, caller: &Caller, now: u64) -> Result<(), Fault> {
        let replayed = |what: String| Err(Fault::new(Code::OnlineReplayed, what));
        let created = caller.created;
        let oldest = now.saturating_sub(CALL_AGE_SECONDS_MAX);
        while let Some(first) = self.seen.first_entry().filter(|e| *e.key() < oldest) {
            self.count -= first.remove().len();
        }
        if created < oldest || created > now + CALL_AHEAD_SECONDS_MAX {
            return replayed(format!("it was signed at {created}, now is {now}"));
        }
        if created <= self.from {
            return replayed(format!("it was signed at {created}; this node takes calls from {} on", self.from + 1));
        }
        if self.count >= NONCES_MAX {
            return Err(Fault::new(Code::OnlineBusy, format!("{NONCES_MAX} calls within {CALL_AGE_SECONDS_MAX} s")));
        }
        let whole = sha256(&[caller.key.0.as_slice(), caller.nonce.as_bytes()].concat()).0;
        let mut mark = [0; 16];
        mark.copy_from_slice(&whole[..16]); // proof: a hash has 32 bytes.
        if self.seen.values().any(|marks| marks.contains(&mark)) {
            return replayed("its nonce was used before".into());
        }
        self.seen.entry(created).or_default().insert(mark);
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tacit_crypto::Secret;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const NODE: NodeId = NodeId([7; 32]);
    const REQUEST: Signed<'static> = Signed { method: "POST", path: "/v1/score/credit", body: b"{\"keys\":[\"a\"]}" };

    fn key() -> SigningKey {
        SigningKey::from_seed(&Secret::new([3; 32]))
    }

    fn signed() -> Headers {
        sign(&key(), &NODE, &REQUEST, NOW, "0123456789abcdef")
    }

    #[test]
    fn a_signed_request_names_its_caller() {
        let headers = signed();
        let caller = check(&REQUEST, &headers, &NODE).unwrap();
        assert_eq!(caller, Caller { key: key().id(), created: NOW, nonce: "0123456789abcdef".into() });
    }

    #[test]
    fn the_base_is_that_of_the_rfc() {
        let input = "(\"@method\" \"@path\" \"content-digest\");created=1";
        let expected = "\"@method\": POST\n\"@path\": /v1/score/credit\n\"content-digest\": sha-256=:x:\n\
                        \"@signature-params\": (\"@method\" \"@path\" \"content-digest\");created=1";
        assert_eq!(base(&REQUEST, "sha-256=:x:", &COVERED, input), expected);
    }

    #[test]
    fn each_change_of_a_signed_request_is_found() {
        let other = |request: Signed<'static>| check(&request, &signed(), &NODE);
        assert!(other(Signed { method: "GET", ..REQUEST }).is_err());
        assert!(other(Signed { path: "/v1/score/other", ..REQUEST }).is_err());
        assert!(other(Signed { body: b"{\"keys\":[\"b\"]}", ..REQUEST }).is_err());
        assert!(check(&REQUEST, &signed(), &NodeId([8; 32])).is_err(), "another node's call");
        type Change = fn(&mut Headers);
        let changes: [(&str, Change); 14] = [
            ("time", |h| h.input = h.input.replace("created=18", "created=17")),
            ("nonce", |h| h.input = h.input.replace("abcdef", "abcdee")),
            ("key", |h| h.input = h.input.replace("keyid=\"", "keyid=\"0")),
            ("label", |h| h.signature = h.signature.replace("sig1", "sig2")),
            ("signature", |h| h.signature = h.signature.replacen(":", ":AA", 1)),
            ("no signature", |h| h.signature.clear()),
            ("uncovered body", |h| h.input = h.input.replace(" \"content-digest\"", "")),
            ("twice", |h| h.input = h.input.replace("(\"@method\"", "(\"@method\" \"@method\"")),
            ("two entries", |h| h.input.push_str(", sig2=()")),
            ("algorithm", |h| h.input = h.input.replace("ed25519", "rsa-v1_5-sha256")),
            ("no nonce", |h| h.input = h.input.replace("nonce", "notes")),
            ("short nonce", |h| h.input = h.input.replace("0123456789abcdef", "0123456")),
            ("a parameter twice", |h| h.input.push_str(";created=1")),
            ("a long nonce", |h| h.input = h.input.replace("0123456789abcdef", &"n".repeat(NONCE_BYTES_MAX + 1))),
        ];
        for (what, change) in changes {
            let mut headers = signed();
            change(&mut headers);
            assert_eq!(check(&REQUEST, &headers, &NODE).map_err(|f| f.code), Err(Code::OnlineCaller), "{what}");
        }
    }

    #[test]
    fn nonces_and_headers_are_taken_up_to_their_limits() {
        for (bytes, taken) in [(7, false), (8, true), (NONCE_BYTES_MAX, true), (NONCE_BYTES_MAX + 1, false)] {
            let headers = sign(&key(), &NODE, &REQUEST, NOW, &"n".repeat(bytes));
            assert_eq!(check(&REQUEST, &headers, &NODE).is_ok(), taken, "{bytes}");
        }
        let long = |bytes: usize| {
            let mut headers = signed();
            let rest = headers.digest.len() + headers.input.len() + headers.signature.len();
            headers.digest.push_str(&"x".repeat(bytes - rest));
            check(&REQUEST, &headers, &NODE).unwrap_err().what
        };
        assert!(long(HEADERS_BYTES_MAX).contains("content-digest is not"), "it is looked at");
        assert!(long(HEADERS_BYTES_MAX + 1).contains("bytes of signature headers"), "one past it");
    }

    #[test]
    fn a_call_is_taken_once_and_in_time() {
        let caller = |created, nonce: &str| Caller { key: NODE, created, nonce: nonce.into() };
        let mut nonces = Nonces::new(NOW - 100);
        assert!(nonces.take(&caller(NOW, "a"), NOW).is_ok());
        assert_eq!(nonces.take(&caller(NOW, "a"), NOW).unwrap_err().code, Code::OnlineReplayed);
        assert!(nonces.take(&caller(NOW + 1, "a"), NOW).is_err(), "the nonce, whatever time it has");
        assert!(nonces.take(&Caller { key: NodeId([1; 32]), ..caller(NOW, "a") }, NOW).is_ok(), "another's nonce");
        for (created, taken) in [(NOW - 30, true), (NOW - 31, false), (NOW + 5, true), (NOW + 6, false)] {
            assert_eq!(nonces.take(&caller(created, &created.to_string()), NOW).is_ok(), taken, "{created}");
        }
        // Remembered for as long as it could be made again, and no longer.
        assert!(nonces.take(&caller(NOW + 5, &(NOW + 5).to_string()), NOW + 35).is_err());
        assert!(nonces.take(&caller(NOW + 36, "z"), NOW + 36).is_ok());
        assert_eq!(nonces.count, 1);
        // After a start nothing that could have been taken before it.
        let mut fresh = Nonces::new(NOW);
        assert!(
            fresh.take(&caller(NOW + 5, "b"), NOW + 3).is_err() && fresh.take(&caller(NOW + 6, "b"), NOW + 3).is_ok()
        );
        fresh.count = NONCES_MAX;
        assert_eq!(fresh.take(&caller(NOW + 6, "c"), NOW + 6).unwrap_err().code, Code::OnlineBusy);
    }
}
