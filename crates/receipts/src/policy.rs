//! C2SP `tlog-policy`: which logs and which witnesses a reader believes, as a file that other tools read too.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use tacit_types::{Code, Fault, NodeId};

use crate::bundle::Trust;
use crate::checkpoint::SignedCheckpoint;
use crate::note::{KeyKind, SignedNote, VerifierKey};

/// Bytes of a policy file.
pub const POLICY_BYTES_MAX: usize = 256 << 10;
/// Logs, witnesses and groups of a policy, each.
pub const POLICY_ENTRIES_MAX: usize = 128;

/// A policy: the logs, and the rule by which witnesses count.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    members: Vec<Member>,
    /// The place of the quorum among the members; none when no witness is asked for.
    quorum: Option<usize>,
}

/// What the quorum or a group may name.
#[derive(Clone, Debug)]
enum Member {
    Witness(VerifierKey),
    Group { threshold: usize, members: Vec<usize> },
}

/// Names so far, with their place and whether a group has them.
type Names = BTreeMap<Vec<u8>, (usize, bool)>;

fn malformed(line: usize, what: &str) -> Fault {
    Fault::new(Code::LogMalformed, format!("a policy, line {line}: {what}"))
}

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// `log.malformed`, naming the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(malformed(0, "too long"));
        }
        let mut this = Self { logs: Vec::new(), members: Vec::new(), quorum: None };
        let (mut names, mut keys, mut quorum) = (Names::new(), Vec::new(), None);
        let body = bytes.strip_suffix(b"\n").ok_or_else(|| malformed(0, "no final newline"))?;
        for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
            if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
                return Err(malformed(number, "a control character"));
            }
            let words: Vec<&[u8]> = line.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).collect();
            let Some((word, rest)) = words.split_first().filter(|(word, _)| !word.starts_with(b"#")) else { continue };
            match (*word, rest) {
                (b"log", [key] | [key, _]) => {
                    this.logs.push(fresh_key(key, KeyKind::Ed25519, &mut keys).map_err(|e| malformed(number, &e))?);
                }
                (b"witness", [name, key] | [name, key, _]) => {
                    let key = fresh_key(key, KeyKind::Cosignature, &mut keys).map_err(|e| malformed(number, &e))?;
                    this.define(&mut names, name, Member::Witness(key)).map_err(|e| malformed(number, e))?;
                }
                (b"group", [name, threshold, members @ ..]) => {
                    let group = group(&mut names, threshold, members).map_err(|e| malformed(number, e))?;
                    this.define(&mut names, name, group).map_err(|e| malformed(number, e))?;
                }
                (b"quorum", [name]) if quorum.is_none() => {
                    let known = names.get(*name).map(|(at, _)| Some(*at)).or((*name == b"none").then_some(None));
                    quorum = Some(known.ok_or_else(|| malformed(number, "the quorum is not defined above"))?);
                }
                _ => return Err(malformed(number, "none of log, witness, group and one quorum")),
            }
            if this.logs.len().max(this.members.len()) > POLICY_ENTRIES_MAX {
                return Err(malformed(number, "too many logs, witnesses and groups"));
            }
        }
        this.quorum = quorum.ok_or_else(|| malformed(0, "no quorum"))?;
        Ok(this)
    }

    fn define(&mut self, names: &mut Names, name: &[u8], member: Member) -> Result<(), &'static str> {
        if name == b"none" || names.insert(name.to_vec(), (self.members.len(), false)).is_some() {
            return Err("the name is taken");
        }
        self.members.push(member);
        Ok(())
    }

    /// The logs that it accepts.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Opens a checkpoint that one of the logs signed and a quorum cosigned.
    ///
    /// # Errors
    /// `log.malformed`, `log.signature`, `log.quorum`.
    pub fn open(&self, note: &[u8]) -> Result<(SignedCheckpoint, &VerifierKey), Fault> {
        let none = || Fault::new(Code::LogSignature, "no log of the policy has signed it");
        let parsed = SignedNote::parse(note)?;
        let signed = |log: &&VerifierKey| matches!(parsed.check(log), Ok(Some(_)));
        let log = self.logs.iter().find(signed).ok_or_else(none)?;
        let opened = SignedCheckpoint::open(note, log)?;
        // The key's name is the origin of the log that it speaks for.
        if opened.checkpoint().origin != log.name() {
            return Err(none());
        }
        match self.quorum {
            Some(quorum) if !self.holds(opened.note()).get(quorum).copied().unwrap_or(false) => {
                Err(Fault::new(Code::LogQuorum, "the witnesses that cosigned are no quorum of the policy"))
            }
            _ => Ok((opened, log)),
        }
    }

    /// How many of its witnesses have cosigned a note.
    pub fn cosigned(&self, note: &SignedNote) -> usize {
        let held = self.holds(note);
        let witness = |(member, held): &(&Member, bool)| *held && matches!(member, Member::Witness(_));
        self.members.iter().zip(held).filter(witness).count()
    }

    /// Which members have cosigned a note. A group stands behind its members.
    fn holds(&self, note: &SignedNote) -> Vec<bool> {
        let mut held: Vec<bool> = Vec::new();
        for member in &self.members {
            held.push(match member {
                Member::Witness(key) => matches!(note.check(key), Ok(Some(_))),
                Member::Group { threshold, members } => {
                    members.iter().filter(|at| held.get(**at).copied().unwrap_or(false)).count() >= *threshold
                }
            });
        }
        held
    }

    /// The policy file of a trust file: its log and its witnesses with the newest keys that it knows, its quorum.
    ///
    /// # Errors
    /// `log.malformed` for a trust file that was not checked.
    pub fn write(trust: &Trust) -> Result<String, Fault> {
        let mut text = format!("log {}\n", trust.chain()?.newest());
        let quorum = trust.witness_quorum()?;
        for key in quorum.newest() {
            // why: writing into a string cannot fail.
            let _ = writeln!(text, "witness {} {key}", key.name());
        }
        if quorum.threshold() == 0 {
            text.push_str("quorum none\n");
        } else {
            let names: Vec<&str> = quorum.witnesses().iter().map(VerifierKey::name).collect();
            let _ = writeln!(text, "group witnesses {} {}\nquorum witnesses", quorum.threshold(), names.join(" "));
        }
        Ok(text)
    }
}

/// A key that no line before had.
fn fresh_key(text: &[u8], kind: KeyKind, keys: &mut Vec<NodeId>) -> Result<VerifierKey, String> {
    let text = core::str::from_utf8(text).map_err(|_| "a key is text".to_owned())?;
    let key = VerifierKey::parse(text).map_err(|fault| fault.what)?;
    if key.kind() != kind {
        return Err("a key of another type".into());
    }
    if keys.contains(&key.key()) {
        return Err("the key is there twice".into());
    }
    keys.push(key.key());
    Ok(key)
}

fn group(names: &mut Names, threshold: &[u8], members: &[&[u8]]) -> Result<Member, &'static str> {
    let mut places = Vec::new();
    for name in members {
        let (at, taken) = names.get_mut(*name).ok_or("a member is not defined above")?;
        if core::mem::replace(taken, true) {
            return Err("a member is in a group already");
        }
        places.push(*at);
    }
    let threshold = match threshold {
        b"all" => places.len(),
        b"any" => 1,
        digits if digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0") => {
            core::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or("a threshold")?
        }
        _ => return Err("a threshold is all, any or a number"),
    };
    if (1..=places.len()).contains(&threshold) {
        Ok(Member::Group { threshold, members: places })
    } else {
        Err("a group has members, and a threshold of 1 to their number")
    }
}
