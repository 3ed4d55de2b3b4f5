//! `coordinator.toml`.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use tacit_engine::Limits;
use tacit_net::Address;
use tacit_receipts::VerifierKey;
use tacit_types::{Code, Fault, NodeId};

use crate::limits::QUEUE_MAX;

/// Bytes of a configuration file that are read.
pub const CONFIG_BYTES_MAX: u64 = 64 << 10;

/// The checked configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where the daemon listens, UDP.
    pub listen: SocketAddr,
    /// The address in invitations; the listening address when absent.
    pub public: Option<Address>,
    /// The log's name, such as `tacit.local/usage/2026`.
    pub origin: String,
    /// Jobs that may be open at once, at most [`QUEUE_MAX`].
    pub open_jobs: usize,
    /// How long each phase of a job may take.
    pub limits: Limits,
    /// By when a receipt is promised to be in the log, in milliseconds from the first attestation.
    pub promise_ms: u64,
}

/// The file's form. Unknown keys are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: SocketAddr,
    public: Option<String>,
    origin: String,
    #[serde(default)]
    limits: JobLimits,
}

/// The optional section `[limits]`; the phases in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLimits {
    /// Jobs that may be open at once.
    pub open_jobs: Option<usize>,
    /// Until every owner has decided.
    pub admit_ms: Option<u64>,
    /// Until a slot was free on every node.
    pub queue_ms: Option<u64>,
    /// That a node keeps a slot for a reservation.
    pub reserve_ms: Option<u64>,
    /// Until every party has attested, and until it has released its part of the key.
    pub settle_ms: Option<u64>,
    /// After a party was lost, until the attempt counts as failed.
    pub loss_ms: Option<u64>,
    /// Until each party has heard of the end.
    pub close_ms: Option<u64>,
    /// Until the receipt is in the log, as each party is promised that attests; [`PROMISE_MS_DEFAULT`] without.
    pub promise_ms: Option<u64>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `config.absent`; `config.malformed` naming the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self, Fault> {
        let shown = path.display();
        let absent = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Fault::new(Code::ConfigAbsent, shown.to_string()),
            _ => Fault::new(Code::IoFailed, format!("{shown}: {e}")),
        };
        let len = std::fs::metadata(path).map_err(absent)?.len();
        if len > CONFIG_BYTES_MAX {
            let what = format!("{shown}: {len} bytes; at most {CONFIG_BYTES_MAX} are read");
            return Err(Fault::new(Code::ConfigMalformed, what));
        }
        Self::parse(&shown.to_string(), &std::fs::read_to_string(path).map_err(absent)?)
    }

    /// Parses the text of the file `name`.
    ///
    /// # Errors
    /// `config.malformed` naming the file, the line and the key.
    pub fn parse(name: &str, text: &str) -> Result<Self, Fault> {
        let raw: Raw = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            let line = line_of(text, at);
            let shown = text.lines().nth(line - 1).unwrap_or_default().trim();
            let shown: String = shown.chars().take(80).collect();
            Fault::new(Code::ConfigMalformed, format!("{name}:{line}: `{shown}`: {}", e.message()))
        })?;
        let key = |key: &str, what: String| {
            let line = text.lines().position(|l| l.trim_start().starts_with(key)).map_or(1, |i| i + 1);
            Fault::new(Code::ConfigMalformed, format!("{name}:{line}: {key}: {what}"))
        };
        let public = raw.public.map(|p| p.parse().map_err(|f: Fault| key("public", f.what))).transpose()?;
        check_origin(&raw.origin).map_err(|f| key("origin", f.what))?;
        let open_jobs = raw.limits.open_jobs.unwrap_or(QUEUE_MAX);
        if open_jobs == 0 || open_jobs > QUEUE_MAX {
            return Err(key("open_jobs", format!("{open_jobs}, where 1 to {QUEUE_MAX} are allowed")));
        }
        let (given, default) = (raw.limits, Limits::default());
        let phases = [
            ("admit_ms", given.admit_ms),
            ("queue_ms", given.queue_ms),
            ("reserve_ms", given.reserve_ms),
            ("settle_ms", given.settle_ms),
            ("loss_ms", given.loss_ms),
            ("close_ms", given.close_ms),
            ("promise_ms", given.promise_ms),
        ];
        if let Some((name, ms)) = phases.iter().find(|(_, ms)| ms.is_some_and(|ms| ms == 0 || ms > PHASE_MS_MAX)) {
            let what = format!("{}, where 1 to {PHASE_MS_MAX} are allowed", ms.unwrap_or_default());
            return Err(key(name, what));
        }
        let limits = Limits {
            admit_ms: given.admit_ms.unwrap_or(default.admit_ms),
            queue_ms: given.queue_ms.unwrap_or(default.queue_ms),
            reserve_ms: given.reserve_ms.unwrap_or(default.reserve_ms),
            settle_ms: given.settle_ms.unwrap_or(default.settle_ms),
            loss_ms: given.loss_ms.unwrap_or(default.loss_ms),
            close_ms: given.close_ms.unwrap_or(default.close_ms),
        };
        let promise_ms = given.promise_ms.unwrap_or(PROMISE_MS_DEFAULT);
        Ok(Self { listen: raw.listen, public, origin: raw.origin, open_jobs, limits, promise_ms })
    }
}

/// By when a receipt is promised without another word: a day, in which a coordinator that is down can be repaired.
pub const PROMISE_MS_DEFAULT: u64 = 86_400_000;

/// The longest phase: one day.
pub const PHASE_MS_MAX: u64 = 86_400_000;

/// The line, from 1, of a byte of a text.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Checks that a log may have this name.
///
/// # Errors
/// `log.malformed`.
pub(crate) fn check_origin(origin: &str) -> Result<(), Fault> {
    VerifierKey::new(origin, tacit_receipts::KeyKind::Ed25519, NodeId([0; 32])).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "listen = \"127.0.0.1:7400\"\npublic = \"c.example:7400\"\norigin = \"c.example/usage/2026\"\n";

    #[test]
    fn a_file_is_read_with_its_defaults() {
        let config = Config::parse("coordinator.toml", GOOD).unwrap();
        assert_eq!(config.public.unwrap().to_string(), "c.example:7400");
        assert_eq!((config.open_jobs, config.limits), (QUEUE_MAX, Limits::default()));
        assert_eq!(config.promise_ms, PROMISE_MS_DEFAULT);
        let promised = Config::parse("c", &format!("{GOOD}[limits]\npromise_ms = 1500\n")).unwrap();
        assert_eq!((promised.promise_ms, promised.limits), (1500, Limits::default()));
        let config = Config::parse("c", &format!("{GOOD}[limits]\nadmit_ms = 7\nopen_jobs = 3\n")).unwrap();
        assert_eq!((config.limits.admit_ms, config.limits.queue_ms, config.open_jobs), (7, 60_000, 3));
    }

    #[test]
    fn a_fault_names_the_file_the_line_and_the_key() {
        let cases = [
            (format!("{GOOD}colour = \"red\"\n"), "c.toml:4: `colour"),
            (GOOD.replace("127.0.0.1:7400", "here"), "c.toml:1: `listen"),
            (GOOD.replace("c.example:7400", "c.example"), "c.toml:2: public"),
            (GOOD.replace("c.example/usage", "c example"), "c.toml:3: origin"),
            (format!("{GOOD}[limits]\nopen_jobs = {}\n", QUEUE_MAX + 1), "c.toml:5: open_jobs"),
            (format!("{GOOD}[limits]\nloss_ms = {}\n", PHASE_MS_MAX + 1), "c.toml:5: loss_ms"),
            (format!("{GOOD}[limits]\nloss = 5\n"), "c.toml:5: `loss"),
            (GOOD.replace("listen", "listen = 3 #"), "c.toml:1"),
            (GOOD.replace("origin = ", "origin "), "c.toml:3"),
        ];
        for (text, begins) in cases {
            let fault = Config::parse("c.toml", &text).unwrap_err();
            assert_eq!(fault.code, Code::ConfigMalformed);
            assert!(fault.what.starts_with(begins), "{}: {text}", fault.what);
        }
        assert!(Config::parse("c", &format!("{GOOD}[limits]\nopen_jobs = {QUEUE_MAX}\n")).is_ok());
    }
}
