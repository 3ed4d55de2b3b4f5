//! Who is enrolled, as one immutable value that is replaced when somebody joins.

use std::sync::Arc;

use tacit_crypto::Statement;
use tacit_engine::record::witness_threshold;
use tacit_engine::{Member, RosterEntry, Seated};
use tacit_governance::{PartyCard, PartyRole};
use tacit_receipts::bundle::{BUNDLE_VERSION, PartyKey, Trust};
use tacit_receipts::checkpoint::WITNESSES_MAX;
use tacit_receipts::witness::witness_name;
use tacit_receipts::{KeyCard, KeyEvent, KeyHistory, KeyKind, KeyRole, PartyRotation, Quorum, VerifierKey};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::store::PartyRow;

/// A party with its checked card.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub row: PartyRow,
    pub card: PartyCard,
    /// The keys that its node has had after the first.
    pub later: Vec<NodeId>,
}

impl Party {
    /// Whether a key is one of its own, or was: its root's, or one of its node's.
    pub(crate) fn speaks(&self, key: &NodeId) -> bool {
        self.row.node == *key || self.row.root == *key || self.later.contains(key)
    }
}

/// The parties in the order of their enrolment, and the keys that they have had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    parties: Vec<Party>,
    keys: Arc<KeyHistory>,
    /// The changes of keys that stand in the log, in its order.
    rotations: Vec<Blob>,
}

impl Roster {
    /// Checks stored parties: a card that does not verify any more was altered on disk.
    pub(crate) fn load(rows: Vec<PartyRow>) -> Result<Self, Fault> {
        let party = |row: PartyRow| {
            let card = PartyCard::verify(&row.card);
            let card = card.map_err(|f| Fault::new(Code::StoreCorrupt, format!("party {}: {}", row.name, f.what)))?;
            Ok(Party { card: card.into_body(), row, later: Vec::new() })
        };
        let parties = rows.into_iter().map(party).collect::<Result<_, Fault>>()?;
        Ok(Self { parties, ..Self::default() })
    }

    /// Begins with nobody's key changed.
    pub(crate) fn begin(&mut self, origin: &str) {
        (self.keys, self.rotations) = (Arc::new(KeyHistory::new(origin)), Vec::new());
    }

    /// With a change of a key that the log has at a leaf.
    ///
    /// # Errors
    /// `receipt.key_rotation` for one that does not follow.
    pub(crate) fn following(&self, change: &Statement<PartyRotation>, leaf: u64) -> Result<Self, Fault> {
        let (mut next, body) = (self.clone(), change.body());
        if self.rotations.iter().any(|known| known.0 == change.bytes()) {
            return Ok(next);
        }
        let mut keys = KeyHistory::clone(&self.keys);
        keys.follow_any(change, Some(leaf))?;
        next.keys = Arc::new(keys);
        next.rotations.push(Blob(change.bytes().to_vec()));
        let of = next.parties.iter_mut().find(|p| body.role == KeyRole::Node && p.row.node == body.id);
        if let Some(party) = of {
            party.later.push(body.new);
        }
        Ok(next)
    }

    /// The keys that parties have had.
    pub(crate) fn keys(&self) -> &Arc<KeyHistory> {
        &self.keys
    }

    /// The changes of keys, in the log's order.
    pub(crate) fn rotations(&self) -> &[Blob] {
        &self.rotations
    }

    /// Whether a key is a party's first in a role.
    pub(crate) fn has_id(&self, role: KeyRole, key: &NodeId) -> bool {
        self.parties.iter().any(|p| match role {
            KeyRole::Node => p.row.node == *key,
            KeyRole::Witness => p.card.witness == *key,
            KeyRole::Coordinator => false,
        })
    }

    /// The keys under which a witness may cosign now, the newest last.
    pub(crate) fn cosigners(&self, first: &VerifierKey, now: UnixMillis) -> Vec<VerifierKey> {
        let keys = self.keys.holding(KeyRole::Witness, &first.key(), now).into_iter();
        // why: a name that was good with one key is with another.
        keys.filter_map(|key| VerifierKey::new(first.name(), KeyKind::Cosignature, key).ok()).collect()
    }

    pub(crate) fn parties(&self) -> &[Party] {
        &self.parties
    }

    pub(crate) fn by_node(&self, node: &NodeId) -> Option<&Party> {
        self.parties.iter().find(|p| p.row.node == *node)
    }

    /// Whether jobs are taken that are signed with this key, its root's or its node's: of an operator, and of a node,
    /// which opens windows and may want other jobs too.
    pub(crate) fn submits(&self, signer: &NodeId, now: UnixMillis) -> bool {
        let node = self.keys.speaker(signer, now);
        let signs = |p: &Party| Some(p.row.node) == node || p.row.root == *signer;
        self.parties.iter().any(|p| matches!(p.card.role, PartyRole::Operator | PartyRole::Partner) && signs(p))
    }

    /// With one more party, or another address of one that is there.
    pub(crate) fn with(&self, party: Party) -> Self {
        let mut parties = self.parties.clone();
        match parties.iter_mut().find(|p| p.row.name == party.row.name) {
            // Its keys are as they are here: they may have changed since the caller looked.
            Some(known) => *known = Party { later: core::mem::take(&mut known.later), ..party },
            None => parties.push(party),
        }
        Self { parties, ..self.clone() }
    }

    fn partners(&self) -> impl Iterator<Item = &Party> {
        self.parties.iter().filter(|p| p.card.role == PartyRole::Partner)
    }

    /// The partners as jobs seat them.
    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |p: &Party| Member {
            name: p.row.name.clone(),
            root: p.row.root,
            node: p.row.node,
            seated: Seated { card: p.row.card.clone(), address: p.row.address.clone() },
        };
        self.partners().map(member).collect()
    }

    /// The partners that may witness, the first [`WITNESSES_MAX`] of them.
    pub(crate) fn witnesses(&self, origin: &str) -> Vec<(NodeId, VerifierKey)> {
        let key = |p: &Party| Some((p.row.node, witness_key(&p.card, origin)?));
        self.partners().take(WITNESSES_MAX).filter_map(key).collect()
    }

    /// The quorum of all witnesses. A partner counts from its node's first registration on, so that
    /// one that has enrolled and never come holds up nobody.
    pub(crate) fn quorum(&self, origin: &str) -> Quorum {
        let come = self.partners().take(WITNESSES_MAX).filter(|p| p.row.slots > 0).count();
        quorum(self.witnesses(origin).into_iter().map(|(_, key)| key).collect(), come, &self.keys)
    }

    /// The quorum that the parties of one job ask for: that of their own witnesses.
    pub(crate) fn quorum_of(&self, nodes: &[NodeId], origin: &str) -> Quorum {
        let own = self.witnesses(origin).into_iter().filter(|(node, _)| nodes.contains(node));
        let own: Vec<VerifierKey> = own.map(|(_, key)| key).collect();
        let count = own.len();
        quorum(own, count, &self.keys)
    }

    /// What a key event says of this roster.
    pub(crate) fn key_event(&self, coordinator: NodeId, log_key: &VerifierKey) -> KeyEvent {
        let quorum = self.quorum(log_key.name());
        let parties = self.parties.iter().map(|p| KeyCard { name: p.row.name.clone(), key: p.row.node });
        KeyEvent {
            version: 1,
            coordinator,
            log_key: log_key.to_string(),
            witnesses: quorum.witnesses().iter().map(VerifierKey::to_string).collect(),
            quorum: u32::try_from(quorum.threshold()).unwrap_or(u32::MAX),
            parties: parties.collect(),
        }
    }

    /// The log's own view of its keys, for readers of the folder.
    pub(crate) fn trust(&self, coordinator: NodeId, log_key: &VerifierKey, rotations: &[Vec<u8>]) -> Trust {
        let event = self.key_event(coordinator, log_key);
        let party = |c: KeyCard| PartyKey { name: c.name, key: c.key, from: 0, until: None };
        Trust {
            version: BUNDLE_VERSION,
            origin: log_key.name().to_owned(),
            coordinator,
            log_key: event.log_key,
            witnesses: event.witnesses,
            quorum: event.quorum,
            parties: event.parties.into_iter().map(party).collect(),
            rotations: rotations.iter().map(|bytes| bytes.clone().into()).collect(),
            party_rotations: self.rotations.iter().map(|bytes| bytes.0.clone().into()).collect(),
        }
    }

    /// As listings show it.
    pub(crate) fn entries(&self, online: impl Fn(&NodeId) -> bool) -> Vec<RosterEntry> {
        let entry = |p: &Party| RosterEntry {
            card: p.row.card.clone(),
            address: p.row.address.clone(),
            online: online(&p.row.node),
        };
        self.parties.iter().map(entry).collect()
    }
}

fn witness_key(card: &PartyCard, origin: &str) -> Option<VerifierKey> {
    VerifierKey::new(&witness_name(card.name.as_str(), origin), KeyKind::Cosignature, card.witness).ok()
}

/// The threshold of `count` witnesses over the keys that may sign.
fn quorum(keys: Vec<VerifierKey>, count: usize, history: &KeyHistory) -> Quorum {
    let threshold = if count == 0 { 0 } else { witness_threshold(count) };
    // Names and keys of a roster are unique, so this holds; otherwise nothing reaches the quorum.
    let mut quorum = Quorum::new(keys, threshold).unwrap_or_default();
    quorum.follow(history);
    quorum
}
