//! Changes of parties' keys: a party hands one in, it becomes a leaf of the log, and from then on the next key speaks for the
//! party.
//!
//! A change is durable here before the log is given it, so that no other successor of the key is taken meanwhile; it counts
//! once it stands in a published head.

use std::sync::Arc;

use tacit_crypto::Statement;
use tacit_engine::FromCoordinator;
use tacit_governance::PartyRole;
use tacit_net::{Gate, Purpose};
use tacit_receipts::keys::{self, PARTY_ROTATIONS_MAX};
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::verify::CLOCK_SKEW_MILLIS_MAX;
use tacit_receipts::{KeyHistory, KeyRole, Leaf, PartyRotation, VerifierKey};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, NodeId};
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::daemon::Shared;
use crate::limits::{LATE_WAIT, RETIRE_PAUSE};
use crate::log::{AppendRequest, Content};
use crate::roster::{Party, Roster};
use crate::store::{Change, Store};

/// Meta: the changes that were taken, in their order.
const TAKEN: &str = "party_rotations";

/// The changes that were taken, those included that no published head has yet.
#[derive(Default)]
pub(crate) struct Taken {
    all: Vec<Statement<PartyRotation>>,
    pub(crate) keys: KeyHistory,
}

impl Taken {
    /// Reads what was taken, and the coordinator's `own` changes, has the roster follow what stands in the log, and gives what does not yet.
    ///
    /// # Errors
    /// `store.corrupt`; those of the database.
    pub(crate) async fn load(
        store: &Store,
        origin: &str,
        mut roster: Roster,
        own: &[Statement<PartyRotation>],
    ) -> Result<(Self, Roster, Vec<Statement<PartyRotation>>), Fault> {
        let corrupt = |f: Fault| Fault::new(Code::StoreCorrupt, format!("coordinator.db: {}", f.what));
        let mut all = match store.meta(TAKEN).await? {
            Some(bytes) => keys::from_file(&bytes, PARTY_ROTATIONS_MAX).map_err(corrupt)?,
            None => Vec::new(),
        };
        let new = own.iter().filter(|change| all.iter().all(|known| known.bytes() != change.bytes()));
        let new: Vec<_> = new.cloned().collect();
        if !new.is_empty() {
            all.extend(new);
            store.write(Self::file(&all)).await?;
        }
        let (mut keys, mut left) = (KeyHistory::new(origin), Vec::new());
        roster.begin(origin);
        for change in &all {
            keys.follow_any(change, None).map_err(corrupt)?;
            match store.leaf_place(&leaf_hash(change.bytes())).await? {
                Some(place) => roster = roster.following(change, place).map_err(corrupt)?,
                None => left.push(change.clone()),
            }
        }
        Ok((Self { all, keys }, roster, left))
    }

    fn file<'a>(all: impl IntoIterator<Item = &'a Statement<PartyRotation>>) -> Change {
        Change::PutMeta { key: TAKEN, value: keys::to_file(all.into_iter().map(Statement::bytes)) }
    }
}

/// Takes up changes that the log's files have and an older database does not.
///
/// # Errors
/// Those of the database; `store.corrupt`.
pub(crate) async fn enter<'a>(store: &Store, leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Fault> {
    let read = |leaf| match Leaf::read(leaf) {
        Ok(Leaf::PartyRotation(change)) => Some(change),
        _ => None,
    };
    let found: Vec<Statement<PartyRotation>> = leaves.into_iter().filter_map(read).collect();
    if found.is_empty() {
        return Ok(());
    }
    let mut all = match store.meta(TAKEN).await? {
        Some(bytes) => keys::from_file(&bytes, PARTY_ROTATIONS_MAX)?,
        None => Vec::new(),
    };
    let new: Vec<_> =
        found.into_iter().filter(|change| all.iter().all(|known| known.bytes() != change.bytes())).collect();
    all.extend(new);
    store.write(Taken::file(&all)).await.map(drop)
}

/// Takes a party's change of its node's or its witness's key. The answer comes once it stands in a published head; the same
/// again is answered with its leaf.
///
/// # Errors
/// `receipt.key_rotation` for one that does not follow; `net.refused` for another party's, or a key that is somebody's;
/// `receipt.time` for one that does not hold from now on; `receipt.pending` while it waits for witnesses.
pub(crate) async fn rotate(shared: &Arc<Shared>, party: &Party, bytes: &Blob) -> Result<FromCoordinator, Fault> {
    let change = Statement::<PartyRotation>::verify(bytes)
        .map_err(|e| Fault::new(Code::ReceiptMalformed, format!("a change of a key: {e}")))?;
    let mut taken = shared.party_keys.lock().await;
    if !taken.all.iter().any(|known| known.bytes() == change.bytes()) {
        let roster = shared.roster();
        let mut keys = taken.keys.clone();
        check(shared, &roster, party, change.body())?;
        keys.follow(&change, None, &|role, key| roster.has_id(role, key))?;
        if taken.all.len() >= PARTY_ROTATIONS_MAX {
            return Err(Fault::new(Code::ReceiptKeyRotation, "too many changes"));
        }
        shared.store.write(Taken::file(taken.all.iter().chain([&change]))).await?;
        taken.all.push(change.clone());
        taken.keys = keys;
        let (name, role) = (&party.row.name, change.body().role.word());
        tracing::info!(%name, role, key = %change.body().new.short(), "a change of a key was taken");
    }
    drop(taken);
    let (reply, published) = oneshot::channel();
    shared.spawn(put(shared.clone(), change, reply));
    match tokio::time::timeout(LATE_WAIT, published).await {
        Ok(Ok(place)) => Ok(FromCoordinator::Said(place)),
        _ => Err(Fault::new(Code::ReceiptPending, "it waits for witnesses; ask again")),
    }
}

fn check(shared: &Shared, roster: &Roster, party: &Party, change: &PartyRotation) -> Result<(), Fault> {
    let refused = |what: String| Err(Fault::new(Code::NetRefused, what));
    let own = match change.role {
        KeyRole::Node => Some(party.row.node),
        KeyRole::Witness => Some(party.card.witness).filter(|_| party.card.role == PartyRole::Partner),
        KeyRole::Coordinator => None,
    };
    if own != Some(change.id) {
        return refused(format!("{} is no {} of {}", change.id.short(), change.role.word(), party.row.name));
    }
    // Trust files name so many witnesses; a change of another's key would be nobody's there.
    let named = |(_, key): &(NodeId, VerifierKey)| key.key() == change.id;
    if change.role == KeyRole::Witness && !roster.witnesses(shared.log_key.name()).iter().any(named) {
        return refused(format!("{} is none of the witnesses that the trust file names", change.id.short()));
    }
    let roots = roster.parties().iter().map(|p| p.row.root);
    if roots.chain([shared.id, shared.log_key.key()]).any(|key| key == change.new) {
        return refused("the key that comes is somebody's already".into());
    }
    let now = shared.clock.now();
    if now.0.abs_diff(change.from.0) > CLOCK_SKEW_MILLIS_MAX {
        return Err(Fault::new(Code::ReceiptTime, format!("it holds from {}; here it is {now}", change.from)));
    }
    Ok(())
}

/// Has the log take a change, and the roster follow it once it is published.
pub(crate) async fn put(shared: Arc<Shared>, change: Statement<PartyRotation>, reply: oneshot::Sender<u64>) {
    let (placed, place) = oneshot::channel();
    let content = Content::Statement { statement: Blob(change.bytes().to_vec()), reply: placed };
    // why: the log's task ends with the process, and the next start hands it in again.
    let _ = shared.appends.send(AppendRequest { nodes: Vec::new(), content }).await;
    // why: one that was handed in twice at once is answered to the other.
    let Ok(place) = place.await else { return };
    shared.replace_roster(|roster| match roster.following(&change, place) {
        Ok(next) => next,
        Err(fault) => {
            tracing::error!(%fault, "a change of a key that is in the log is not followed");
            roster.clone()
        }
    });
    // why: a party that has gone asks again.
    let _ = reply.send(place);
}

/// Closes connections of nodes that outlive the key with which they were made, as long as the daemon runs.
pub(crate) async fn retire(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(RETIRE_PAUSE).await;
        let (roster, now) = (shared.roster(), shared.clock.now());
        shared.nodes.close(|c| !roster.keys().speaks(KeyRole::Node, &c.peer(), &c.key(), now));
    }
}

/// Who may connect: the coordinator's own operator, and parties with a key that speaks for them now.
pub(crate) struct Door {
    pub id: NodeId,
    pub roster: watch::Receiver<Arc<Roster>>,
    pub clock: Arc<Clock>,
}

impl Gate for Door {
    fn admit(&self, key: &NodeId, purpose: Purpose) -> Result<(), Code> {
        if purpose == Purpose::Enrol || *key == self.id {
            return Ok(());
        }
        let roster = self.roster.borrow();
        let id = roster.keys().id_of(KeyRole::Node, key);
        match roster.by_node(&id) {
            None => Err(Code::NetRefused),
            Some(_) if roster.keys().speaks(KeyRole::Node, &id, key, self.clock.now()) => Ok(()),
            Some(_) => Err(Code::ReceiptKeyRetired),
        }
    }

    fn id_of(&self, key: &NodeId) -> NodeId {
        self.roster.borrow().keys().id_of(KeyRole::Node, key)
    }
}
