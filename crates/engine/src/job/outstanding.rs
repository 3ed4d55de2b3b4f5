//! What is still to be done in the present state. Asking twice is harmless.

use tacit_crypto::sha256;
use tacit_types::Hash;

use super::*;

impl Job {
    /// Everything that the present state waits for. The driver keeps at most one request to a node
    /// under way at a time, and asks again after a pause when a node does not answer.
    pub fn outstanding(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut ask = |p: &PartyState, request: ToNode| {
            commands.push(Command::Ask { node: p.member.node, request });
        };
        match &self.state {
            State::Admitting { until } => {
                for p in self.parties.iter().filter(|p| self.may_decide(p)) {
                    ask(p, ToNode::Admit { job: self.bytes.clone(), contracts: self.contracts.clone() });
                }
                commands.push(Command::WakeAt(*until));
            }
            State::Queued { from, until } => commands.push(Command::WakeAt(*from.min(until))),
            State::Reserving { until, .. } => {
                for p in self.parties.iter().filter(|p| !p.reserved) {
                    ask(
                        p,
                        ToNode::Reserve {
                            job: self.id,
                            attempt: Attempt(self.attempt),
                            ttl_ms: self.limits.reserve_ms * 2,
                        },
                    );
                }
                commands.push(Command::WakeAt(*until));
            }
            State::Running { until, .. } => {
                for p in self.parties.iter().filter(|p| p.finished.is_none()) {
                    if let Some(code) = self.stopping {
                        ask(p, ToNode::Cancel { job: self.id, attempt: Attempt(self.attempt), code });
                    } else if let (false, Some(assignment)) = (p.started, self.assignment()) {
                        ask(p, ToNode::Start { assignment });
                    }
                }
                let losses = self.parties.iter().filter(|p| p.finished.is_none()).filter_map(|p| p.lost_at);
                let patience = [self.limits.loss_ms, self.limits.settle_ms];
                commands.extend(losses.flat_map(|at| patience.map(|ms| Command::WakeAt(at.plus(ms)))));
                commands.push(Command::WakeAt(until.plus(self.limits.loss_ms)));
            }
            State::Attesting { until } => {
                let Some(record) = &self.record else { return commands };
                for p in self.parties.iter().filter(|p| p.attestation.is_none() && self.must_attest(p)) {
                    let (record, evidence) = (record.clone(), self.evidence.clone());
                    ask(p, ToNode::Attest { job: self.id, record, evidence });
                }
                commands.push(Command::WakeAt(*until));
            }
            State::Logging => {
                let Some(record) = &self.record else { return commands };
                let attestations = self.parties.iter().filter_map(|p| p.attestation.clone()).collect();
                let absent = self.parties.iter().filter(|p| p.attestation.is_none());
                commands.push(Command::Append {
                    record: record.clone(),
                    attestations,
                    absent: absent.map(|p| (p.member.node, Code::JobUnreachable)).collect(),
                });
            }
            State::Releasing { until } => {
                let Some((_, leaf, proof)) = &self.receipt else { return commands };
                let beside = || self.parties.iter().filter_map(|p| p.attestation.clone()).filter(|_| self.by_hash);
                for p in self.parties.iter().filter(|p| p.release.is_none() && p.attestation.is_some()) {
                    let (leaf, proof, beside) = (leaf.clone(), proof.clone(), beside().collect());
                    ask(p, ToNode::Logged { job: self.id, leaf, proof, beside });
                }
                commands.push(Command::WakeAt(*until));
            }
            State::Closed { until } => {
                let Some(terminal) = &self.terminal else { return commands };
                for p in self.parties.iter().filter(|p| !p.closed) {
                    ask(p, ToNode::Close { job: self.id, terminal: terminal.clone() });
                }
                if self.parties.iter().any(|p| !p.closed) {
                    commands.push(Command::WakeAt(*until));
                }
            }
        }
        commands
    }

    /// The digest of the record whose receipt is on its way to the log, and who has attested it: these are promised the
    /// receipt. `None` in every other state, and for a record that could be too long for a leaf.
    pub fn promises(&self) -> Option<(Hash, Vec<NodeId>)> {
        if !matches!(self.state, State::Attesting { .. } | State::Logging) {
            return None;
        }
        let record = self.record.as_ref()?;
        let attested: Vec<NodeId> =
            self.parties.iter().filter(|p| p.attestation.is_some()).map(|p| p.member.node).collect();
        (!attested.is_empty() && record::is_leaf(record.len(), self.parties.len())).then(|| (sha256(record), attested))
    }

    fn assignment(&self) -> Option<Assignment> {
        let State::Running { since, until } = &self.state else { return None };
        let budget_ms = until.0.saturating_sub(since.0);
        Some(Assignment {
            job: self.id,
            attempt: Attempt(self.attempt),
            seats: self.parties.iter().map(|p| p.member.seated.clone()).collect(),
            aggregator: self.aggregator?,
            budget_ms,
            step_ms: (budget_ms / 4).clamp(1_000, 60_000),
        })
    }
}
