//! What other nodes' witnesses have seen of the coordinator's log, asked of them over the same connections as jobs use. A
//! coordinator that shows a node a log of before must have every node that answers agree.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_governance::PartyRole;
use tacit_net::Address;
use tacit_net::mesh::Keep;
use tacit_types::wire::{self, Blob};
use tacit_types::{Fault, NodeId};

use crate::daemon::Inner;

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

    /// The most leaves that another node's witness has seen, of those that answer soon. Only what the log has signed counts.
    ///
    /// # Errors
    /// Those of the database.
    pub(crate) async fn seen_by_others(&self) -> Result<u64, Fault> {
        let mut asked = tokio::task::JoinSet::new();
        let parties = self.store.parties().await?.into_iter();
        let nodes = parties.filter(|(_, card, _)| card.role == PartyRole::Partner && card.node != self.signing.id());
        for (_, card, address) in nodes.take(ASKED) {
            let Ok(address) = address.parse::<Address>() else { continue };
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
        let mut most = 0;
        for answer in asked.join_all().await.into_iter().flatten() {
            let Ok(FromPeer::Head(Some(note))) = wire::decode(&answer) else { continue };
            if let Ok(head) = self.opened(&note) {
                most = most.max(head.checkpoint().size);
            }
        }
        Ok(most)
    }
}
