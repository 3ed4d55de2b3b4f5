//! Asking the witnesses. Each is asked for the newest head whenever it has not cosigned that yet,
//! one request at a time, so a slow witness holds up nobody but itself.

use std::collections::{BTreeMap, BTreeSet};

use tacit_engine::{FromNode, ToNode};
use tacit_receipts::merkle::consistency_proof;
use tacit_receipts::{AddCheckpoint, SignatureLine, SignedCheckpoint, TileReader, VerifierKey};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, Hash, NodeId};
use tokio::time::Instant;

use super::{Cached, LogService};
use crate::limits::{COSIGN_DEADLINE, COSIGN_RETRY};
use crate::nodes::ask;

/// What is known of a witness since the start.
#[derive(Default)]
pub(super) struct WitnessState {
    /// The size that it holds, as far as known.
    held: u64,
    /// Whether a request to it is under way.
    busy: bool,
    /// After a failure, when to ask again.
    pub not_before: Option<Instant>,
    /// It says that it has seen a log that does not fit this one.
    claims: bool,
    /// It has been asked to show it.
    asked: bool,
}

/// An answered request.
pub(super) struct Asked {
    node: NodeId,
    what: What,
    answer: Result<FromNode, Fault>,
}

/// What was asked.
enum What {
    /// To cosign, from one size on to another.
    Cosign { old: u64, size: u64 },
    /// To show what it has seen.
    Held,
}

impl LogService {
    /// The witnesses that have not cosigned the head.
    fn missing(&self) -> Vec<(NodeId, VerifierKey)> {
        let (roster, now) = (self.roster(), self.parts.clock.now());
        let mut witnesses = roster.witnesses(self.origin());
        let lines = self.head.note().signatures();
        let signed = |key: &VerifierKey| lines.iter().any(|line| key.owns(line));
        witnesses.retain(|(_, first)| !roster.cosigners(first, now).iter().any(signed));
        witnesses
    }

    /// Whether a cosignature may come in any moment.
    pub(super) fn expects_more(&self) -> bool {
        self.missing().iter().any(|(node, _)| self.witnesses.get(node).is_some_and(|w| w.busy))
    }

    /// Asks every connected witness that lacks the head.
    pub(super) fn ask_witnesses(&mut self) {
        let (now, size) = (Instant::now(), self.log.size());
        let mut proofs: BTreeMap<u64, Option<Vec<Hash>>> = BTreeMap::new();
        for (node, _) in self.missing() {
            let state = self.witnesses.entry(node).or_default();
            if state.busy || state.not_before.is_some_and(|at| now < at) {
                continue;
            }
            let Some(connection) = self.parts.nodes.get(&node) else { continue };
            let old = state.held.min(size);
            let folder = &self.parts.folder;
            let proof = proofs.entry(old).or_insert_with(|| {
                let files = Cached { folder, read: Default::default() };
                consistency_proof(&TileReader::new(&files, size), old, size)
                    .inspect_err(|fault| tracing::error!(%fault, "no proof for a witness"))
                    .ok()
            });
            let Some(proof) = proof.clone() else { continue };
            (state.busy, state.not_before) = (true, None);
            let body = AddCheckpoint { old, proof, note: self.head.to_bytes() }.to_bytes();
            let frame = wire::encode(&ToNode::Cosign { request: Blob(body) });
            self.asked.spawn(async move {
                let answer = ask(&connection, &frame, COSIGN_DEADLINE).await;
                Asked { node, what: What::Cosign { old, size }, answer }
            });
        }
    }

    /// Takes a witness's answer.
    pub(super) fn take_asked(&mut self, asked: Asked) {
        let ours = self.log.size();
        let key = self.roster().witnesses(self.origin()).into_iter().find(|(n, _)| *n == asked.node).map(|(_, k)| k);
        let (Some(state), Some(key)) = (self.witnesses.get_mut(&asked.node), key) else { return };
        let (old, size) = match asked.what {
            What::Cosign { old, size } => (old, size),
            What::Held => return self.take_held(asked.node, &key, asked.answer),
        };
        state.busy = false;
        let failed = match asked.answer {
            Ok(FromNode::Cosigned(line)) => {
                state.held = size;
                // A line for an older head is no use any more, and no fault.
                let line = SignatureLine::parse(&line).map_err(|f| f.what);
                let keys = self.parts.roster.borrow().cosigners(&key, self.parts.clock.now());
                let added = line.and_then(|line| add(&mut self.head, &keys, &line));
                if size == ours { added.err() } else { None }
            }
            Ok(FromNode::WitnessHolds(n)) if n > ours => {
                state.claims = true;
                Some(format!("it holds {n} leaves; here are {ours}"))
            }
            Ok(FromNode::WitnessHolds(n)) if n != old => {
                state.held = n;
                None
            }
            Ok(FromNode::Failed(fault)) => {
                state.claims |= matches!(fault.code, Code::LogRollback | Code::LogFork);
                Some(fault.to_string())
            }
            Ok(other) => Some(format!("an answer of another kind: {}", kind(&other))),
            Err(fault) => Some(fault.to_string()),
        };
        if let Some(what) = failed {
            tracing::debug!(witness = key.name(), what, "not cosigned");
            state.not_before = Some(Instant::now() + COSIGN_RETRY);
        }
        self.judge_claims();
    }

    /// Has who says that it has seen more of this log show it. Where no single witness can be believed without that, as among
    /// three, nobody is.
    fn judge_claims(&mut self) {
        let witnesses: BTreeSet<NodeId> = self.roster().witnesses(self.origin()).into_iter().map(|(n, _)| n).collect();
        let liars = witnesses.len().saturating_sub(1) / 3;
        let claims = self.witnesses.iter().filter(|(node, w)| w.claims && witnesses.contains(node)).count();
        if liars > 0 && claims > liars {
            return self
                .refuse(format!("{claims} witnesses have seen more of this log than its {} leaves", self.log.size()));
        }
        for (node, state) in
            self.witnesses.iter_mut().filter(|(node, w)| w.claims && !w.asked && witnesses.contains(node))
        {
            let Some(connection) = self.parts.nodes.get(node) else { continue };
            state.asked = true;
            let node = *node;
            self.asked.spawn(async move {
                let answer = ask(&connection, &wire::encode(&ToNode::Held), COSIGN_DEADLINE).await;
                Asked { node, what: What::Held, answer }
            });
        }
    }

    /// A checkpoint that this log has signed and does not have is proof enough, whoever shows it: an old state was restored
    /// here, and whatever would be signed next might be a second history.
    fn take_held(&mut self, node: NodeId, key: &VerifierKey, answer: Result<FromNode, Fault>) {
        let shown = match answer {
            Ok(FromNode::Held(note)) => note.and_then(|note| self.signed_here(&note)),
            // It may be asked again.
            Ok(_) | Err(_) => {
                if let Some(state) = self.witnesses.get_mut(&node) {
                    state.asked = false;
                }
                return;
            }
        };
        match shown {
            Some((size, root)) if !self.has(size, root) => {
                let (name, ours) = (key.name(), self.log.size());
                self.refuse(format!(
                    "{name} shows a checkpoint of {size} leaves that this log has signed; it has {ours}"
                ));
            }
            _ => {
                if let Some(state) = self.witnesses.get_mut(&node) {
                    (state.claims, state.asked) = (false, false);
                }
                tracing::warn!(witness = key.name(), "it says that it has seen another log and cannot show it");
            }
        }
    }

    /// Size and root of a checkpoint that this log has signed, with whichever of its keys.
    fn signed_here(&self, note: &[u8]) -> Option<(u64, Hash)> {
        let (head, _) = self.parts.keys.chain.open(note).ok()?;
        let head = head.checkpoint();
        (head.origin == self.origin()).then_some((head.size, head.root))
    }

    /// Whether this log was of that size with that root, or cannot say so now.
    fn has(&self, size: u64, root: Hash) -> bool {
        if size > self.log.size() {
            return false;
        }
        let files = Cached { folder: &self.parts.folder, read: Default::default() };
        tacit_receipts::merkle::root(&TileReader::new(&files, self.log.size()), size).map_or(true, |own| own == root)
    }

    /// Nothing is appended any more.
    fn refuse(&self, what: String) {
        if self.refused.borrow().is_none() {
            let fault = Fault::new(Code::LogRollback, what);
            tracing::error!(%fault, "nothing is appended any more: stop the coordinator and run `tacit log repair --from MIRROR`");
            self.refused.send_replace(Some(fault));
        }
    }
}

/// Adds the line of a witness, by whichever of its keys that hold now.
fn add(head: &mut SignedCheckpoint, keys: &[VerifierKey], line: &SignatureLine) -> Result<(), String> {
    let mut last = Err("none of its keys holds".to_owned());
    for key in keys.iter().rev() {
        last = head.add_cosignature(key, line.clone()).map_err(|f| f.what);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// The word of an answer, for the log: answers themselves may hold signed statements.
fn kind(answer: &FromNode) -> &'static str {
    match answer {
        FromNode::WitnessHolds(_) => "the same size again",
        FromNode::Busy => "busy",
        FromNode::Done => "done",
        _ => "a statement",
    }
}
