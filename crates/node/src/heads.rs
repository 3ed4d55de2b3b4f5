//! What other nodes' witnesses have seen of the coordinator's log, asked of them over the same connections as jobs use. A
//! coordinator that shows a node a log of before must have every node that answers agree.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_governance::{PartyCard, PartyRole};
use tacit_net::Address;
use tacit_net::mesh::Keep;
use tacit_types::wire::{self, Blob};
use tacit_types::{Fault, NodeId};

use crate::daemon::Inner;
use crate::recount::Head;

/// Nodes that are asked.
const ASKED: usize = 16;
/// How long one is waited for, all at once.
const WAIT: Duration = Duration::from_millis(1_500);
/// The kind of these bytes in the ledger of what leaves.
const KIND: &str = "heads of the log";

/// What a node asks another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum ToPeer {
    /// The newest head of the coordinator's log that your witness has cosigned.
    Head,
}

/// What it answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum FromPeer {
    /// The head with the log's own signature; none before the first.
    Head(Option<Blob>),
}

impl Inner {
    /// The answer to another node; `None` for bytes that are no question.
    pub(crate) async fn answer_peer(&self, peer: NodeId, bytes: &[u8]) -> Option<Vec<u8>> {
        let ToPeer::Head = wire::decode(bytes).ok()?;
        let seen = self.witnesses.seen().await;
        let answer = wire::encode(&FromPeer::Head(seen.map(|seen| Blob(seen.note))));
        self.ledger.other(peer, KIND, answer.len() as u64);
        Some(answer)
    }

    /// The heads that other nodes' witnesses have seen, of those that answer soon: first the parties of the contracts that are
    /// kept here. Only what the log has signed counts, with a key that is not retired.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn seen_by_others(&self) -> Result<Vec<Head>, Fault> {
        let mut asked = tokio::task::JoinSet::new();
        let contracts = self.store.contracts().await?;
        let near: BTreeSet<NodeId> = contracts.iter().flat_map(|c| c.signatures()).map(|s| s.signer()).collect();
        let parties = self.store.parties().await?.into_iter();
        let others = parties.filter(|(_, card, _)| card.role == PartyRole::Partner && card.node != self.keys.node_id);
        let reached = |(_, card, address): (_, PartyCard, String)| Some((card, address.parse::<Address>().ok()?));
        let mut nodes: Vec<(PartyCard, Address)> = others.filter_map(reached).collect();
        nodes.sort_by_key(|(card, _)| !near.contains(&card.root));
        for (card, address) in nodes.into_iter().take(ASKED) {
            self.mesh.set_peer(card.node, Some(address), Keep::OnDemand);
            let (mesh, question) = (self.mesh.clone(), wire::encode(&ToPeer::Head));
            self.ledger.other(card.node, KIND, question.len() as u64);
            asked.spawn(async move {
                let answered = async {
                    let connection = mesh.to_within(&card.node, WAIT).await.ok()?;
                    connection.request_within(&question, WAIT).await.ok()
                };
                tokio::time::timeout(WAIT, answered).await.ok().flatten()
            });
        }
        let chain = self.log_chain();
        let head = |answer: Vec<u8>| {
            let FromPeer::Head(note) = wire::decode(&answer).ok()?;
            let (head, by) = chain.open(&note?).ok()?;
            let head = head.checkpoint();
            // The newest key signs as long as an older one does.
            let holds = head.origin == self.config.coordinator.origin && chain.check_held(&by, None, head.size).is_ok();
            holds.then_some((head.size, head.root))
        };
        Ok(asked.join_all().await.into_iter().flatten().filter_map(head).collect())
    }
}
