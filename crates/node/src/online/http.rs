//! Calls: `POST /v1/score/NAME`, signed, with a JSON body. One verb, one path.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};
use tacit_types::code::Lang;
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault};
use tokio::net::TcpListener;

use super::body::{self, BODY_BYTES_MAX};
use super::link::Answered;
use super::series::Series;
use super::signature::{self, Headers, Signed};
use crate::daemon::Inner;
use crate::listener::{self, Answer, Broken, CONNECTIONS_MAX, Limits, Request};

/// What stands before the name of a model.
const PATH: &str = "/v1/score/";
/// What callers may cost.
const LIMITS: Limits = Limits {
    connections: CONNECTIONS_MAX,
    body: BODY_BYTES_MAX,
    read: Duration::from_secs(10),
    write: Duration::from_secs(10),
};

/// Takes calls as long as the node runs.
pub(super) async fn serve(inner: Arc<Inner>, listener: TcpListener) {
    let tasks = inner.clone();
    let answer = move |request: Result<Request, Broken>| {
        let inner = inner.clone();
        async move {
            let called = match request {
                Ok(request) => call(&inner, request).await.map_err(|fault| (status(fault.code), fault)),
                Err((status, what)) => Err((status, Fault::new(Code::OnlineRequest, what))),
            };
            match called {
                Ok(value) => Answer::json(200, &value),
                Err((status, fault)) => Answer::json(status, &error(&fault)),
            }
        }
    };
    listener::serve(listener, LIMITS, |task| tasks.spawn(task), answer).await;
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
        Code::OnlineBusy | Code::RefusedPace | Code::RefusedQuota | Code::RefusedDistinct => 429,
        Code::OnlineClosed | Code::JobPeerLost => 503,
        Code::OnlineDeadline => 504,
        _ => 500,
    }
}

/// Answers a call: who it is comes before what it is about.
async fn call(inner: &Inner, request: Request) -> Result<Value, Fault> {
    let signed = Signed { method: "POST", path: &request.path, body: &request.body };
    let caller = authorised(inner, headers(&request.headers), &signed)?;
    let unknown = || Fault::new(Code::OnlineUnknown, format!("`{}`", request.path));
    let name = request.path.strip_prefix(PATH).ok_or_else(unknown)?;
    score(inner, caller, name, &request.body).await
}

/// The fields of a signature.
fn headers(all: &HeaderMap) -> Result<Headers, Fault> {
    let field = |name: &'static str| {
        let missing = || Fault::new(Code::OnlineCaller, format!("there is no {name}, or more than one"));
        listener::one(all, &HeaderName::from_static(name)).map(str::to_owned).ok_or_else(missing)
    };
    Ok(Headers { digest: field("content-digest")?, input: field("signature-input")?, signature: field("signature")? })
}

/// The name of the caller, whose call is new.
fn authorised(inner: &Inner, headers: Result<Headers, Fault>, request: &Signed<'_>) -> Result<String, Fault> {
    let caller = signature::check(request, &headers?, &inner.keys.node_id)?;
    let name = inner.online.caller(&caller.key);
    let name =
        name.ok_or_else(|| Fault::new(Code::OnlineCaller, format!("key {} is not enrolled", caller.key.short())))?;
    let mut nonces = inner.online.nonces.lock().unwrap_or_else(PoisonError::into_inner);
    nonces.take(&caller, crate::now().0 / 1000)?;
    Ok(name)
}

async fn score(inner: &Inner, caller: String, name: &str, body: &[u8]) -> Result<Value, Fault> {
    let keys = body::keys(body)?;
    let series = inner.online.series(name).ok_or_else(|| Fault::new(Code::OnlineUnknown, format!("`{name}`")))?;
    let asked = keys.iter().map(|k| Blob(k.clone().into_bytes())).collect();
    let answered = series.call(asked, caller).await?;
    answer_body(&series, &keys, &answered)
}

fn answer_body(series: &Series, keys: &[String], answered: &Answered) -> Result<Value, Fault> {
    let scores = series.reading.scores(keys.len(), &answered.cells)?;
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

    #[test]
    fn a_field_of_a_signature_stands_once() {
        let all = |fields: &[(&'static str, &'static str)]| {
            let field =
                |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), value.parse().unwrap());
            let mut map = HeaderMap::new();
            for (name, value) in fields.iter().map(field) {
                map.append(name, value);
            }
            headers(&map)
        };
        let good = [("content-digest", "d"), ("signature-input", "i"), ("signature", "s")];
        let Headers { digest, input, signature } = all(&good).unwrap();
        assert_eq!([digest, input, signature], ["d", "i", "s"]);
        for at in 0..good.len() {
            let mut fields = good.to_vec();
            let field = fields.remove(at);
            assert_eq!(all(&fields).unwrap_err().code, Code::OnlineCaller, "without {}", field.0);
            fields.extend([field, (field.0, "other")]);
            assert_eq!(all(&fields).unwrap_err().code, Code::OnlineCaller, "{} twice", field.0);
        }
    }
}
