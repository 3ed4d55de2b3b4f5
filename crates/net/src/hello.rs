//! The first exchange on a connection, on its first bidirectional stream: who comes for what, which
//! protocol version both speak, and whether the clocks agree.
//!
//! Under TLS 1.3 a client believes itself connected before the server has looked at its
//! certificate. So a connection counts as up only after the server's answer has been read. The form
//! of these two frames is that of every version to come.

use std::fmt;

use serde::{Deserialize, Serialize};
use tacit_types::{Code, UnixMillis, wire};

use crate::error::{FrameFault, NetError, plain};
use crate::limits::{HELLO_BYTES_MAX, REFUSAL_BYTES_MAX, SOFTWARE_BYTES_MAX};

/// The first bytes of every hello.
const MAGIC: [u8; 8] = *b"tacit hi";

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// To work: both sides know each other's key.
    Member,
    /// To redeem an invitation: the server does not know the key yet and gives tiny limits.
    Enrol,
}

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Versions {
    /// The lowest.
    pub min: u16,
    /// The highest.
    pub max: u16,
}

impl Versions {
    /// What this software speaks.
    pub const OURS: Versions = Versions { min: 1, max: 1 };

    /// The highest version in both ranges.
    pub fn common(self, other: Versions) -> Option<u16> {
        let highest = self.max.min(other.max);
        (highest >= self.min.max(other.min)).then_some(highest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{} to {}", self.min, self.max) }
    }
}

/// What each side says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub versions: Versions,
    pub software: String,
    pub clock: UnixMillis,
    /// A random number of the process, new at each start.
    pub instance: u64,
}

/// The client's frame.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello {
    magic: [u8; 8],
    pub purpose: Purpose,
    pub facts: Facts,
}

/// The server's frame.
#[derive(Serialize, Deserialize)]
pub(crate) struct Answer {
    magic: [u8; 8],
    pub facts: Facts,
    pub verdict: Verdict,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Accept { version: u16 },
    Refuse { code: String, what: String },
}

impl Facts {
    fn bounded(mut self) -> Self {
        self.software = plain(&self.software, SOFTWARE_BYTES_MAX);
        self
    }
}

impl Hello {
    pub fn new(purpose: Purpose, facts: Facts) -> Self {
        Self { magic: MAGIC, purpose, facts: facts.bounded() }
    }

    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NetError> {
        let hello: Self =
            wire::decode_capped(bytes, HELLO_BYTES_MAX).map_err(|_| NetError::Frame(FrameFault::Hello))?;
        if hello.magic != MAGIC {
            return Err(NetError::Frame(FrameFault::Hello));
        }
        Ok(Self { facts: hello.facts.bounded(), ..hello })
    }
}

impl Answer {
    pub fn new(facts: Facts, verdict: Verdict) -> Self {
        Self { magic: MAGIC, facts: facts.bounded(), verdict }
    }

    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NetError> {
        let answer: Self =
            wire::decode_capped(bytes, HELLO_BYTES_MAX).map_err(|_| NetError::Frame(FrameFault::Hello))?;
        if answer.magic != MAGIC {
            return Err(NetError::Frame(FrameFault::Hello));
        }
        Ok(Self { facts: answer.facts.bounded(), ..answer })
    }
}

/// The server's judgement of a hello: the version to speak, or the error that the client is told.
///
/// `gate` is asked after the version, so that a client too old to be understood is told so.
pub(crate) fn judge(
    ours: &Facts,
    theirs: &Facts,
    skew_max_ms: u64,
    gate: impl FnOnce() -> Result<(), Code>,
) -> Result<u16, NetError> {
    let version = agree(ours.versions, theirs.versions)?;
    gate().map_err(|code| NetError::Refused { code, what: "the peer does not admit this key".into() })?;
    compare_clocks(ours.clock, theirs.clock, skew_max_ms)?;
    Ok(version)
}

/// The client's reading of an answer: the version to speak, or why there is no connection.
pub(crate) fn read_verdict(ours: &Facts, answer: &Answer, skew_max_ms: u64) -> Result<u16, NetError> {
    let theirs = &answer.facts;
    match &answer.verdict {
        Verdict::Accept { version } => {
            let within = (ours.versions.min..=ours.versions.max).contains(version);
            if !within {
                return Err(NetError::Version { ours: ours.versions, theirs: theirs.versions });
            }
            compare_clocks(ours.clock, theirs.clock, skew_max_ms)?;
            Ok(*version)
        }
        Verdict::Refuse { code, what } => Err(match Code::parse(code) {
            Code::NetVersion => NetError::Version { ours: ours.versions, theirs: theirs.versions },
            Code::ClockSkew => NetError::ClockSkew { ours: ours.clock, theirs: theirs.clock },
            code => NetError::Refused { code, what: plain(what, REFUSAL_BYTES_MAX) },
        }),
    }
}

/// What reading a hello and reading an answer makes of bytes, written again: what a fuzzer compares.
#[doc(hidden)]
pub fn rewrite(bytes: &[u8]) -> [Option<Vec<u8>>; 2] {
    [Hello::decode(bytes).ok().map(|hello| hello.encode()), Answer::decode(bytes).ok().map(|answer| answer.encode())]
}

/// Valid frames for a fuzzer to begin with.
#[doc(hidden)]
pub fn samples() -> Vec<Vec<u8>> {
    let facts =
        || Facts { versions: Versions::OURS, software: "tacit/1".into(), clock: UnixMillis(1 << 40), instance: 7 };
    let refuse = Verdict::Refuse { code: "net.refused".into(), what: "no".into() };
    vec![
        Hello::new(Purpose::Member, facts()).encode(),
        Hello::new(Purpose::Enrol, facts()).encode(),
        Answer::new(facts(), Verdict::Accept { version: 1 }).encode(),
        Answer::new(facts(), refuse).encode(),
    ]
}

/// The verdict that tells the peer of an error.
pub(crate) fn refusal(error: &NetError) -> Verdict {
    Verdict::Refuse { code: error.code().text().to_owned(), what: plain(&error.to_string(), REFUSAL_BYTES_MAX) }
}

fn agree(ours: Versions, theirs: Versions) -> Result<u16, NetError> {
    ours.common(theirs).ok_or(NetError::Version { ours, theirs })
}

fn compare_clocks(ours: UnixMillis, theirs: UnixMillis, max_ms: u64) -> Result<(), NetError> {
    if ours.0.abs_diff(theirs.0) > max_ms { Err(NetError::ClockSkew { ours, theirs }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(min: u16, max: u16, clock: u64) -> Facts {
        Facts { versions: Versions { min, max }, software: "t/1".into(), clock: UnixMillis(clock), instance: 7 }
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        let v = |min, max| Versions { min, max };
        assert_eq!(v(1, 3).common(v(2, 5)), Some(3));
        assert_eq!(v(2, 5).common(v(1, 3)), Some(3));
        assert_eq!(v(4, 5).common(v(1, 3)), None);
        assert_eq!(v(1, 3).common(v(4, 5)), None);
        assert_eq!(v(5, 4).common(v(1, 9)), None);
    }

    #[test]
    fn clocks_may_differ_by_the_limit_and_not_by_one_more() {
        let judge_at = |theirs| judge(&facts(1, 1, 10_000), &facts(1, 1, theirs), 300, || Ok(()));
        assert_eq!(judge_at(10_300), Ok(1));
        assert_eq!(judge_at(9_700), Ok(1));
        for theirs in [10_301, 9_699, 0, u64::MAX] {
            let expected = NetError::ClockSkew { ours: UnixMillis(10_000), theirs: UnixMillis(theirs) };
            assert_eq!(judge_at(theirs), Err(expected));
        }
    }

    #[test]
    fn an_unknown_key_learns_the_version_but_nothing_of_the_clock() {
        let no = || Err(Code::NetRefused);
        let old = judge(&facts(2, 2, 0), &facts(1, 1, 0), 300, no).unwrap_err();
        assert_eq!(old.code(), Code::NetVersion);
        let skewed = judge(&facts(1, 1, 0), &facts(1, 1, 9_999_999), 300, no).unwrap_err();
        assert_eq!(skewed.code(), Code::NetRefused);
    }

    #[test]
    fn a_version_that_was_not_offered_is_not_spoken() {
        let answer = Answer::new(facts(1, 9, 0), Verdict::Accept { version: 9 });
        assert_eq!(read_verdict(&facts(1, 2, 0), &answer, 300).unwrap_err().code(), Code::NetVersion);
    }

    #[test]
    fn a_hello_is_short_and_exact() {
        let longest = Facts { software: "x".repeat(500), ..facts(1, 1, u64::MAX) };
        let bytes = Hello::new(Purpose::Enrol, longest.clone()).encode();
        assert!(bytes.len() <= HELLO_BYTES_MAX);
        let hello = Hello::decode(&bytes).unwrap();
        assert_eq!((hello.purpose, hello.facts.software.len()), (Purpose::Enrol, SOFTWARE_BYTES_MAX));
        let refuse = Verdict::Refuse { code: "net.refused".into(), what: "y".repeat(REFUSAL_BYTES_MAX) };
        assert!(Answer::new(longest, refuse).encode().len() <= HELLO_BYTES_MAX);

        for cut in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        for (at, replacement) in [(0, 0u8), (7, b'j'), (8, 2)] {
            let mut bad = bytes.clone();
            bad[at] = replacement;
            assert!(Hello::decode(&bad).is_err(), "{at}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Hello::decode(&longer).is_err());
    }
}
