//! Memos: what this node was told about the use of its data goes into the log, sealed to the node itself, and comes back from
//! there when the database is one of before.
//!
//! Told are revocations and suspensions, lists, reviews, assessments, regradings and words on them; that its owner revoked a
//! contract; that a contract takes the place of another; that an approver rejected one. All of these say no to
//! something: who forgets one admits what was stopped.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_crypto::agree::derive;
use tacit_crypto::{SealKey, Statement};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::{Order, SignedContract};
use tacit_net::Connection;
use tacit_receipts::Memo;
use tacit_receipts::memo::{MEMO_SEALED_BYTES_MAX, MEMOS_MAX};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, ContractId, Fault, Hash, NodeId, UnixMillis};

use crate::client;
use crate::daemon::Inner;
use crate::recount::Scan;
use crate::store::{Due, LackingRow, MemoRow, Store, Tx};

/// What is sealed is filled up to one of so many bytes: what a memo says is not to be told by its length.
const PADDED_TO: [usize; 3] = [4 << 10, 16 << 10, MEMO_SEALED_BYTES_MAX - tacit_crypto::seal::OVERHEAD];
/// Where the filling begins.
const END: u8 = 0x80;
/// The pause between two looks for what is to be noted, and the longest.
const MEMO_PAUSE: Duration = Duration::from_secs(1);
const MEMO_PAUSE_MAX: Duration = Duration::from_secs(60);
/// What the tag's key is derived for.
const TAG: &[u8] = b"tacit-node-memo/1";

/// What a node was told. These bytes stand in the log for good: a new case comes last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Told {
    /// A statement that its owner took in.
    Order(Blob),
    /// That its owner revoked a contract.
    Revoked(ContractId),
    /// That all have signed a contract which takes the place of another.
    Amended(ContractId),
    /// That an approver rejected a contract: the statement.
    Rejected(ContractId, Blob),
    /// That one approved a contract which takes the place of another: the statement.
    Approved(ContractId, Blob),
}

impl Told {
    /// What a memo carries of it.
    pub fn bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes).ok()
    }
}

/// The tag of what a node was told: who does not have the node's key cannot try what it may be.
pub fn tag(key: &SealKey, told: &[u8]) -> Hash {
    Hash(*derive::<32>(TAG, key.to_bytes().expose_secret(), &[told]).expose_secret())
}

/// Seals what a memo carries; `None` for what is too long.
pub(crate) fn sealed(key: &SealKey, rng: &mut tacit_crypto::Rng, origin: &str, told: &[u8]) -> Option<Vec<u8>> {
    let bytes = PADDED_TO.into_iter().find(|bytes| *bytes > told.len())?;
    let mut padded = told.to_vec();
    padded.push(END);
    padded.resize(bytes, 0);
    key.public().seal(rng, &context(origin), &padded)
}

/// What a memo carries, if this key opens it and its tag is of that.
fn opened(key: &SealKey, memo: &Memo) -> Option<Vec<u8>> {
    let mut told = key.open(&context(&memo.origin), memo.sealed.as_deref()?)?;
    let end = told.iter().rposition(|byte| *byte != 0)?;
    if told.get(end) != Some(&END) {
        return None;
    }
    told.truncate(end);
    (tag(key, &told) == memo.tag).then_some(told)
}

fn context(origin: &str) -> Vec<u8> {
    [TAG, &[0], origin.as_bytes()].concat()
}

/// Why no job is admitted: something that the log shows to have been told is neither here nor accepted as lost.
///
/// # Errors
/// `refused.ledger_behind`; those of the database.
pub async fn nothing_lacks(store: &Store) -> Result<(), Fault> {
    let lacking: Vec<_> = store.lacking().await?.into_iter().filter(|row| row.accepted.is_none()).collect();
    let Some(first) = lacking.first() else { return Ok(()) };
    let what = match lacking.iter().find(|row| row.tag.is_none()) {
        Some(LackingRow { number, .. }) => {
            format!("the log has later memos of this node than {number} and leaves that one out")
        }
        None => format!("memo {} of this node stands in the log, and what it says is not here", first.number),
    };
    let n = lacking.len();
    let what = format!(
        "{what}: {n} of what this node was told (a revocation, a list, a review) is lacking; `tacit list lacking` says what to do"
    );
    Err(Fault::new(Code::RefusedLedgerBehind, what))
}

impl Inner {
    /// As [`Inner::caught_up`], and holds what needs to know all that the node was told.
    ///
    /// # Errors
    /// `refused.ledger_behind` with what is missing.
    pub(crate) async fn knows_all(&self) -> Result<(), Fault> {
        self.caught_up().await?;
        let connection = self.to_coordinator.borrow().clone();
        let waiting = self.store.lacking().await?.into_iter().filter(|row| row.accepted.is_none());
        for LackingRow { number, tag, told, .. } in waiting {
            let (Some(told), Some(tag)) = (told.as_deref().and_then(Told::read), tag) else { continue };
            let contract = self.needs(connection.as_ref(), &told).await?;
            let mut tx = self.store.begin().await?;
            if self.again(&mut tx, &told, contract, crate::now()).await? {
                tx.not_lacking(&tag).await?;
                tx.commit().await?;
                tracing::info!(number, "what this node was told before is here again");
            }
        }
        nothing_lacks(&self.store).await
    }

    /// Notes what this node is told as it comes, less and less often while the coordinator does not take it.
    pub(crate) async fn keep_memos(self: Arc<Self>) {
        let (mut pause, mut late) = (MEMO_PAUSE, 0);
        loop {
            tokio::time::sleep(pause).await;
            let (before, noted) = (pause, self.note_told().await);
            pause = if noted.is_ok() { MEMO_PAUSE } else { (pause * 2).min(MEMO_PAUSE_MAX) };
            if let (true, Err(fault)) = (before < MEMO_PAUSE_MAX && pause == MEMO_PAUSE_MAX, noted) {
                tracing::warn!(
                    %fault,
                    "the log has no memo of what this node was told: an older database would forget it; `tacit doctor` says how \
                     much"
                );
            }
            let withheld = self.store.memos_withheld(crate::now()).await.unwrap_or_default();
            if withheld.len() > late {
                tracing::error!(fault = %withheld_fault(&withheld), "what an older database would forget is not in the log");
            }
            late = withheld.len();
        }
    }

    /// Notes in the log what this node was told, and looks for it there.
    ///
    /// # Errors
    /// What keeps something from being noted.
    pub(crate) async fn note_told(&self) -> Result<(), Fault> {
        let connection = self.to_coordinator.borrow().clone();
        let (Some(connection), true) = (connection, self.is_caught_up()) else { return Ok(()) };
        // What is noted takes the numbers that are free: it would hide that one was left out.
        if self.store.lacking().await?.iter().any(|row| row.tag.is_none() && row.accepted.is_none()) {
            return nothing_lacks(&self.store).await;
        }
        let prepared = self.prepare_memos().await;
        for row in self.store.memos_unlogged().await? {
            let said = self.say_memo(&connection, &row).await;
            let mut tx = self.store.begin().await?;
            match said {
                Ok(()) => tx.memo_said(&row, crate::now()).await?,
                Err(fault) if fault.code == Code::LogFull && row.sealed.is_some() => tx.memo_bare(&row).await?,
                Err(fault) => return Err(fault),
            }
            tx.commit().await?;
        }
        if !self.store.memos_unlogged().await?.is_empty() {
            // A memo is in the log once it was met there, whatever the coordinator says.
            match client::ask(&connection, &self.ledger, &ToCoordinator::Checkpoint).await? {
                FromCoordinator::Checkpoint(note) => self.recount(Some(&note)).await?,
                _ => return Err(unexpected()),
            }
        }
        prepared?;
        match self.store.memos_waiting().await? {
            0 => Ok(()),
            n => Err(Fault::new(Code::ReceiptPending, format!("{n} memos are not in the log"))),
        }
    }

    /// Makes memos of what waits for it: numbered and sealed before anything is sent, so that the same is sent again.
    ///
    /// # Errors
    /// `log.full` when there is no number for one, which goes on waiting; those of the database.
    pub(crate) async fn prepare_memos(&self) -> Result<(), Fault> {
        let (key, origin) = (&self.keys.seal, &self.config.coordinator.origin);
        let mut tx = self.store.begin().await?;
        tx.close_ranks().await?;
        tx.commit().await?;
        for row in self.store.memos_due().await? {
            let mut rng = crate::os_rng()?;
            let mut tx = self.store.begin().await?;
            for told in self.told(&mut tx, row.due).await? {
                let told = told.bytes();
                tx.put_memo(&tag(key, &told), sealed(key, &mut rng, origin, &told).as_deref()).await?;
            }
            tx.memo_done(row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn told(&self, tx: &mut Tx<'_>, due: Due) -> Result<Vec<Told>, Fault> {
        Ok(match due {
            Due::Order(statement) => vec![Told::Order(Blob(statement))],
            // A revocation for good is its statement, and one memo as a suspension is.
            Due::Revoked(contract) => {
                match tx.orders().await?.iter().any(|order| self.revokes(order) == Some(contract)) {
                    true => Vec::new(),
                    false => vec![Told::Revoked(contract)],
                }
            }
            Due::Contract(id) => {
                let contracts = tx.contracts().await?;
                contracts.iter().find(|c| c.id() == id).map_or_else(Vec::new, |c| said_of(c, &self.keys.root.id()))
            }
        })
    }

    /// Has the coordinator put a memo into the log. The same memo again is answered with its leaf.
    async fn say_memo(&self, connection: &Connection, row: &MemoRow) -> Result<(), Fault> {
        let memo = Memo {
            version: 1,
            origin: self.config.coordinator.origin.clone(),
            number: row.number,
            tag: row.tag,
            sealed: row.sealed.clone().map(Into::into),
        };
        let subject = format!("memo/{}/{}", self.keys.node_id, row.number);
        let said = Statement::sign(&self.signing, &subject, crate::now(), None, memo);
        let request = ToCoordinator::Say(Blob(said.bytes().to_vec()));
        match client::ask(connection, &self.ledger, &request).await? {
            FromCoordinator::Said(_) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Takes a memo of this node from the log: what it carries is told again where this database has not noted it. Whether
    /// it had not. That it was met is noted with the root that the leaves lead to.
    ///
    /// # Errors
    /// Those of the database, and of the connection where a contract is to be had.
    pub(crate) async fn take_memo(
        &self,
        connection: Option<&Connection>,
        scan: &mut Scan,
        said: &Statement<Memo>,
    ) -> Result<bool, Fault> {
        let (memo, at) = (said.body(), said.envelope().issued_at.min(crate::now()));
        if memo.check(&self.config.coordinator.origin).is_err() {
            return Ok(false);
        }
        let bytes = opened(&self.keys.seal, memo);
        let told = bytes.as_deref().and_then(Told::read);
        let mut tx = self.store.begin().await?;
        let news = !tx.has_memo(&memo.tag).await?;
        let mut contract = None;
        if let (true, Some(told)) = (news, &told) {
            // why: the transaction holds the one connection of the database.
            drop(tx);
            contract = self.needs(connection, told).await?;
            tx = self.store.begin().await?;
        }
        if news {
            let here = match &told {
                Some(told) => self.again(&mut tx, told, contract, at).await?,
                None => false,
            };
            if !here {
                tx.put_lacking(memo.number, &memo.tag, told.and(bytes).as_deref()).await?;
            }
            tx.commit().await?;
        }
        scan.meet_memo(memo);
        Ok(news)
    }

    /// The contract that what was told is about, where it takes one: as it is here, and else as the coordinator has it.
    async fn needs(&self, connection: Option<&Connection>, told: &Told) -> Result<Option<SignedContract>, Fault> {
        let (Told::Amended(id) | Told::Rejected(id, _) | Told::Approved(id, _)) = told else { return Ok(None) };
        let mut known = self.store.contracts().await?.into_iter().find(|c| c.id() == *id);
        if known.as_ref().is_some_and(|c| c.missing().is_empty()) {
            return Ok(known);
        }
        let Some(connection) = connection else { return Ok(known) };
        match client::ask(connection, &self.ledger, &ToCoordinator::Contract(*id)).await {
            Ok(FromCoordinator::Contract(statements)) if !statements.is_empty() => {
                let theirs = SignedContract::collect(statements.iter().map(|s| s.0.as_slice()));
                if let Some(theirs) = theirs.ok().filter(|c| c.id() == *id) {
                    match &mut known {
                        Some(known) => known.merge(&theirs)?,
                        None => known = Some(theirs),
                    }
                }
            }
            Err(fault) if connection.end().is_some() => return Err(fault),
            _ => {}
        }
        Ok(known)
    }
}

fn unexpected() -> Fault {
    Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")
}

/// What is wrong when the log does not show memos that the coordinator said it has, or has no room for more.
///
/// # Errors
/// `log.withheld`, `log.full`; those of the database.
pub async fn nothing_withheld(store: &Store, now: UnixMillis) -> Result<(), Fault> {
    if store.memos_full().await? {
        return Err(Fault::new(Code::LogFull, format!("{MEMOS_MAX} memos; what this node is told now has none")));
    }
    match store.memos_withheld(now).await?.as_slice() {
        [] => Ok(()),
        rows => Err(withheld_fault(rows)),
    }
}

fn withheld_fault(rows: &[MemoRow]) -> Fault {
    let one = |row: &MemoRow| format!("{} ({})", row.number, row.said.unwrap_or_default());
    let rows: Vec<String> = rows.iter().map(one).collect();
    Fault::new(Code::LogWithheld, format!("memos of this node, and when the coordinator said so: {}", rows.join(", ")))
}

/// What is to be noted of a contract that this owner has signed: that it takes the place of another, who approved it then, and
/// who rejected it.
fn said_of(contract: &SignedContract, owner: &NodeId) -> Vec<Told> {
    let id = contract.id();
    let amends = contract.body().lifecycle.as_ref().is_some_and(|l| l.amends.is_some());
    let whole = amends && contract.signed_by(owner) && contract.missing().is_empty();
    let said = contract.approvals().iter().filter_map(|said| {
        let bytes = Blob(said.bytes().to_vec());
        match contract.rejected_by(&said.signer()) {
            true => Some(Told::Rejected(id, bytes)),
            false => whole.then_some(Told::Approved(id, bytes)),
        }
    });
    whole.then_some(Told::Amended(id)).into_iter().chain(said).collect()
}

impl Inner {
    /// The contract that a statement of this owner's own revokes for good.
    fn revokes(&self, order: &Order) -> Option<ContractId> {
        match order {
            Order::Revocation(said) if said.signer() == self.keys.root.id() && said.body().until.is_none() => {
                Some(said.body().contract)
            }
            _ => None,
        }
    }

    /// Takes in again what this node was told, noted at a time. Whether that is done.
    async fn again(
        &self,
        tx: &mut Tx<'_>,
        told: &Told,
        contract: Option<SignedContract>,
        at: UnixMillis,
    ) -> Result<bool, Fault> {
        match (told, contract) {
            (Told::Order(statement), _) => {
                let Ok(order) = Order::read(statement) else { return Ok(false) };
                if let (Some(contract), Order::Revocation(said)) = (self.revokes(&order), &order) {
                    tx.revoke(&contract, said.envelope().issued_at.min(crate::now())).await?;
                }
                match tx.put_order_again(&order, at).await {
                    Err(fault) if fault.code == Code::ArgsInvalid => Ok(false),
                    done => done.map(|()| true),
                }
            }
            (Told::Revoked(contract), _) => tx.revoke(contract, at).await.map(|()| true),
            (Told::Amended(_), Some(contract)) if contract.missing().is_empty() => {
                tx.put_contract(&contract).await.map(|()| true)
            }
            (Told::Rejected(_, said) | Told::Approved(_, said), Some(contract)) => {
                let all = contract.statements().map(|(_, bytes)| bytes).chain([said.0.as_slice()]);
                match SignedContract::collect(all) {
                    Ok(said) => tx.put_contract(&said).await.map(|()| true),
                    Err(_) => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Rng, Secret};

    fn memo(key: &SealKey, told: &[u8]) -> Memo {
        let mut rng = Rng::from_seed(&Secret::new([5; 32]));
        let sealed = sealed(key, &mut rng, "log.example", told).map(Into::into);
        Memo { version: 1, origin: "log.example".into(), number: 1, tag: tag(key, told), sealed }
    }

    #[test]
    fn a_memo_is_opened_by_who_noted_it_alone() {
        let [own, other] = [1, 2].map(|n| SealKey::generate(&mut Rng::from_seed(&Secret::new([n; 32]))));
        for length in [0, 1, 4, 510, 511, 512, 1000] {
            // What ends like a filling is told from one.
            for told in [vec![7; length], vec![0; length], vec![END; length]] {
                let memo = memo(&own, &told);
                assert_eq!(opened(&own, &memo), Some(told.clone()), "{length}");
                let sealed = memo.sealed.as_ref().unwrap().len();
                assert_eq!(
                    sealed,
                    PADDED_TO[0] + tacit_crypto::seal::OVERHEAD,
                    "whatever is said in few words is as long"
                );
                assert_eq!(opened(&other, &memo), None);
                assert_ne!(tag(&own, &told), tag(&other, &told), "nobody else can try what it may be");
                let elsewhere = Memo { origin: "log.other".into(), ..memo.clone() };
                assert_eq!(opened(&own, &elsewhere), None);
                let another = Memo { tag: tag(&own, b"another"), ..memo };
                assert_eq!(opened(&own, &another), None);
            }
        }
        let bytes = |length| memo(&own, &vec![1; length]).sealed.map(|sealed| sealed.len());
        for (i, padded) in PADDED_TO.into_iter().enumerate() {
            assert_eq!(bytes(padded - 1), Some(padded + tacit_crypto::seal::OVERHEAD));
            let next = PADDED_TO.get(i + 1).map(|next| next + tacit_crypto::seal::OVERHEAD);
            assert_eq!(bytes(padded), next, "the longest has its tag alone");
        }
        assert_eq!(bytes(PADDED_TO[2] - 1), Some(MEMO_SEALED_BYTES_MAX));
    }

    #[test]
    fn what_was_noted_can_be_read_for_good() {
        let long = |n: u8| [n, 0, 0, 0, 0, 0, 0, 0];
        let (contract, id) = (ContractId([3; 32]), [3; 32]);
        let told = [
            (Told::Order(Blob(vec![1, 2])), [&[0, 0, 0, 0], &long(2)[..], &[1, 2]].concat()),
            (Told::Revoked(contract), [&[1, 0, 0, 0], &id[..]].concat()),
            (Told::Amended(contract), [&[2, 0, 0, 0], &id[..]].concat()),
            (Told::Rejected(contract, Blob(vec![9])), [&[3, 0, 0, 0], &id[..], &long(1), &[9]].concat()),
            (Told::Approved(contract, Blob(vec![9])), [&[4, 0, 0, 0], &id[..], &long(1), &[9]].concat()),
        ];
        for (told, bytes) in told {
            assert_eq!(told.bytes(), bytes);
            assert_eq!(Told::read(&bytes), Some(told));
        }
        assert_eq!((Told::read(&[5, 0, 0, 0]), Told::read(&[])), (None, None));
    }
}
